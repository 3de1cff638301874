# An owner stays away for longer than hints are kept.  The hint is dropped; the copy is one that its
# holder does not own, and which it may give up only when all owners have it.
nodes 4
key k n1 n2 n3
begin

ann set k one at n1 -> stored
run 1s
cut n3 | n1 n2 n4
run 10s
ann set k two at n1 -> stored
run 1s
n4 holds k -> two
run 20m                                  # the hint has gone, not the copy: an owner lacks it
n4 holds k -> two
n3 holds k -> one
heal
run 1m
n3 holds k -> two
n4 holds k -> nothing
bob get k at n3 -> two
