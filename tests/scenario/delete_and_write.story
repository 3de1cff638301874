# A delete and a write that did not know of each other: both are kept, and readers are shown the
# value.  Who has seen both may delete.
nodes 5
key k n1 n2 n3
begin

ann put k one at n1 -> stored
ann get k at n1 -> one
bob get k at n2 -> one
cut n1 n4 | n2 n3 n5
run 10s
ann remove k at n1 -> deleted
bob put k two at n2 -> stored
ann get k at n4 -> nothing
bob get k at n5 -> two
heal
run 20s
ann get k at n1 -> two
run 1s
n1 holds k -> deleted, two
ann remove k at n1 -> deleted
run 1s
n2 holds k -> deleted
bob get k at n2 -> nothing
