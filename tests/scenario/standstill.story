# The coordinator stands still for a while, with a client's write under way.  A blind write is taken
# elsewhere; when the node goes on, what it does late is merged, and replaces nothing newer.
nodes 4
key k n1 n2 n3
begin

ann set k one at n4 -> stored
run 1s
pause n1 20s
ann set k two at n4 -> stored
| n4 k: pass it on to 1
| n4 k: pass it on to 2
bob get k at n2 -> two
run 40s
bob get k at n1 -> two
