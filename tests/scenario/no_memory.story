# A replica finds no memory for the write: it says so at once, and the next node stands in.
nodes 4
key k n1 n2 n3
begin

starve n3
ann set k one at n1 -> stored
| n1 k: 4 stands in for 3
| n1 k: 2 of 2 stored, 1 refused -> answer done
run 1s
n1 holds k -> one
n2 holds k -> one
n3 holds k -> nothing
n4 holds k -> one
feed n3
