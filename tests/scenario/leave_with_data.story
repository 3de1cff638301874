# An owner leaves.  Somebody else becomes one of the owners, is filled, and only then counts; who
# leaves gives what it holds to all the owners before it has gone.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
ann get k at n1 -> one
run 1s
leave n3 at n1
run 2m
n1 holds k -> one
n2 holds k -> one
n3 holds k -> nothing
n4 holds k -> one
ann put k two at n2 -> stored
bob get k at n4 -> two
