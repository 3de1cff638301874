# With one of three nodes left, W = 2 and R = 2 cannot be met: the client hears how many there were.
# Failed does not mean undone: what the one node stored lives on.
key k n1 n2 n3
begin

ann set k one at n1 -> stored
run 1s
crash n2
crash n3
run 10s
ann set k two at n1 -> write quorum not met: 1 of 2
ann get k at n1 -> read quorum not met: 1 of 2
start n2
start n3
run 20s
ann get k at n1 -> two
