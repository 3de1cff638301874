# Of three copies one is left, without anybody having asked since: comparing trees finds it, and the
# others hold it again.
nodes 3
key k n1 n2 n3
begin

ann put k one at n1 -> stored
run 1s
drop n1 k
drop n3 k
run 2m
n1 holds k -> one
n2 holds k -> one
n3 holds k -> one
