# A coordinator with a slow clock, under last-write-wins: n1, whose clock is fast, wrote
# to n3 while n2 was cut off; then n2's time comes before that of the write that n3 holds.  n3 would not keep the new write, so it refuses it; n2 writes
# it once more, later.
key k lww n1 n2 n3
begin

ann set k one at n1 -> stored
clock n1 20s
cut n2 | n1 n3
ann set k two at n1 -> stored
heal
crash n1
n2 holds k -> one
bob set k three at n2 -> stored
| n2 k: writes it again as write 3
n2 holds k -> three
n3 holds k -> three
bob get k at n3 -> three
