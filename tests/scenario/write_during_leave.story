# While partitions change hands, an owner crashes and clients go on writing.  Whoever owns the key in
# the end holds what was written last.
nodes 5
key k n1 n2 n3
begin

ann set k one at n2 -> stored
leave n1 at n5
run 1s
ann set k two at n4 -> stored
crash n2
run 5s
ann set k three at n4 -> stored
start n2
run 3m
bob get k at n3 -> three
bob get k at n2 -> three
n1 holds k -> nothing
