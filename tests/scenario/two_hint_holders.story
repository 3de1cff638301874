# Two nodes hold hints for each other, and cannot reach each other.  When they can, each gets what is
# its own, and keeps nothing of the other's.
nodes 4
key a n1 n2 n3
key b n4 n2 n3
begin

cut n1 | n2 n3 n4
run 10s
ann set a one at n2 -> stored
| n2 a: 4 stands in for 1
run 1s
n4 holds a -> one
cut n1 | n4
heal n1 n2
heal n1 n3
cut n4 | n2 n3
run 20s
ann set b two at n2 -> stored
| n2 b: 1 stands in for 4
run 1s
n1 holds b -> two
n4 holds a -> one
heal
run 40s
n1 holds a -> one
n1 holds b -> nothing
n4 holds b -> two
n4 holds a -> nothing
