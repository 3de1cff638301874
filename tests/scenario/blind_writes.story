# What memcached's clients do: set replaces what the coordinator holds, seen or not.  One node
# coordinates a key, so the last set wins.
nodes 4
key k n1 n2 n3
begin

ann set k one at n4 -> stored
| n4 k: pass it on to 1
| n1 k: applies set as write 0
bob set k two at n2 -> stored
| n2 k: pass it on to 1
ann get k at n3 -> two
bob delete k at n4 -> deleted
ann get k at n1 -> nothing
run 1s
n1 holds k -> deleted
n2 holds k -> deleted
n3 holds k -> deleted
