# A node that restarts empty is filled by the others, whether or not anybody asks for the keys; until
# then it coordinates nothing.
nodes 4
key a n1 n2 n3
key b n1 n3 n4
key c n3 n1 n4
begin

ann set a one at n1 -> stored
ann set b two at n2 -> stored
ann set c three at n2 -> stored
run 1s
crash n1
run 10s
ann set a four at n4 -> stored
start n1
run 30s
n1 holds a -> four
n1 holds b -> two
n1 holds c -> three
n4 holds a -> nothing
