# A replica that takes long is not waited for: after a multiple of its usual time the next node of
# the preference list is asked in its stead.  The late copy arrives all the same.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
run 5s
slow n3 1500ms
slow n2 1500ms
ann get k at n1 -> one
ann put k two at n1 -> stored
| n1 k: 4 stands in for 2
| n1 k: 2 of 2 stored, 0 refused -> answer done
run 5s
n1 holds k -> two
n2 holds k -> two
n3 holds k -> two
