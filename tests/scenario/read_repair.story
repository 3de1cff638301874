# A reader meets replicas that differ: it is answered with all there is, and behind its back those that
# lack some of it get it, the one that it asked included.
key k n1 n2 n3
begin

ann put k one at n1 -> stored
run 1s
drop n3 k
bob get k at n3 -> one
run 20ms
| n3 k: repair 0 stale replicas and the own one
n3 holds k -> one

drop n2 k
bob get k at n3 -> one
run 20ms
| n3 k: repair 1 stale replicas
n2 holds k -> one
