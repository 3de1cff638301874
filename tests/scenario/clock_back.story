# A node restarts with its clock set back by half a minute.  No dot is given twice, and what it
# writes now still replaces what it wrote before.
key k n1 n2 n3
begin

ann set k one at n1 -> stored
ann set k two at n1 -> stored
run 1s
crash n1
clock n1 -30s
start n1
run 20s
ann set k three at n1 -> stored
run 1s
n1 holds k -> three
n2 holds k -> three
n3 holds k -> three
