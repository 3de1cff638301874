# An owner is away; a fallback keeps what it would have stored, with a hint, and gives it to the owner
# when it is back.  Only the owner's acknowledgement ends the hint; then the fallback has no copy.
nodes 5
key k n1 n2 n3
begin

crash n2
run 5s
ann set k one at n1 -> stored
| n1 k: 4 stands in for 2
run 1s
n4 holds k -> one
start n2
run 30s
n2 holds k -> one
n4 holds k -> nothing
