# It is a cache: when all who held a value have lost it, the key is a miss, and nothing is an error.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
ann get k at n1 -> one
run 1s
crash n1
crash n2
crash n3
start n1
start n2
start n3
run 30s
bob get k at n4 -> nothing
ann put k two at n2 -> stored             # what she had seen does not matter
bob get k at n4 -> two
