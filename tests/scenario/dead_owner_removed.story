# An owner died for good.  An operator removes it, and another node takes its place in the table, and
# gets its copies from those who are left.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
run 1s
crash n2
run 20s
n4 holds k -> nothing
remove n2 at n1
run 2m
n1 holds k -> one
n3 holds k -> one
n4 holds k -> one
