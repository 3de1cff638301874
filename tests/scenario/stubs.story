# Evicted is not deleted.  Who holds a stub knows of a value and does not have it: it is fetched from
# a peer; where nobody has it any more it reads as a miss, and no client may replace it unseen.
key k n1 n2 n3
begin

ann put k gold at n1 -> stored
run 1s
evict n1 k
n1 holds k -> (gold)
bob get k at n1 -> gold
run 1s
n1 holds k -> gold                     # refilled

evict n1 k
evict n2 k
evict n3 k
cia get k at n2 -> nothing
cia put k silver at n1 -> stored
run 1s
n1 holds k -> (gold), silver           # cia was not shown gold: she did not replace it
cia get k at n3 -> silver
