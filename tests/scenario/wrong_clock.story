# A node whose clock is five minutes ahead, more than the drift allowed: the others refuse what it
# writes, and its time goes nowhere.
key k n1 n2 n3
begin

ann set k one at n1 -> stored
run 1s
clock n1 5m
bob set k two at n1 -> write quorum not met: 1 of 2
| n1 k: 1 of 2 stored, 2 refused -> answer write failed
n2 holds k -> one
n3 holds k -> one
