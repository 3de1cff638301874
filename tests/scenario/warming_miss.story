# An owner that came back empty is asked at once.  It does not have the key, and does not say so as if
# that meant something: who owns it and is warm is asked as well.
nodes 4
key k n1 n2 n3
begin

ann set k one at n1 -> stored
run 1s
crash n1
crash n2
start n1
start n2
run 100ms
ann get k at n1 -> one
ann get k at n2 -> one
run 30s
n1 holds k -> one
n2 holds k -> one
