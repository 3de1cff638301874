# Messages from n1 to n2 are lost, those from n2 to n1 arrive.  Being heard is what counts: both stop
# relying on each other, and neither waits.
nodes 4
key k n1 n2 n3
begin

cut n1 > n2
run 10s
| n1: node 2 is unreachable
| n2: node 1 is unreachable
ann set k one at n1 -> stored
| n1 k: 4 stands in for 2
| n4 k: sends the hint for 2             # n4 does reach n2
run 5s
n1 holds k -> one
n2 holds k -> one
n3 holds k -> one
n4 holds k -> nothing
bob get k at n2 -> one
