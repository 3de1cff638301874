# The example of docs/RING.md: why a cache must not use version vectors.  n1 forgets the cell, and
# writes to it without having seen what it wrote before; a vector would claim that it had.
key cart n1 n2 n3
begin

ann put cart milk at n1 -> stored
run 1s
cut n1 | n2 n3
drop n1 cart
run 10s
bob put cart bread at n1 -> write quorum not met: 1 of 2
n1 holds cart -> bread
n2 holds cart -> milk
heal
run 20s
bob get cart at n1 -> bread, milk
