# A node whose memory for hints is full refuses to stand in for more owners: the next node does.  No
# hint is dropped for another.
nodes 5
key a n1 n2 n3
key b n1 n2 n3
begin

hints 1
crash n2
run 5s
ann set a one at n1 -> stored
run 1s
n4 holds a -> one
ann set b two at n1 -> stored
run 1s
n4 holds a -> one
n4 holds b -> nothing
n5 holds b -> two
start n2
run 40s
n2 holds a -> one
n2 holds b -> two
n4 holds a -> nothing
n5 holds b -> nothing
