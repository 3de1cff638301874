# A delete is remembered for a while, and then forgotten by all; the key is as if it had never been.
key k n1 n2 n3
begin

ann set k one at n1 -> stored
ann delete k at n1 -> deleted
run 1s
n1 holds k -> deleted
n2 holds k -> deleted
run 30m
n1 holds k -> nothing
n2 holds k -> nothing
n3 holds k -> nothing
bob get k at n2 -> nothing
bob add k new at n3 -> stored
