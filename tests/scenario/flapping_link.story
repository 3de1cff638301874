# A link that comes and goes is trusted again only after it has behaved for a while: after each loss
# for longer.
nodes 4
key k n1 n2 n3
begin

cut n1 | n2
run 10s
heal
run 3s
| n1: node 2 is reachable
cut n1 | n2
run 10s
heal
run 3s
cut n1 | n2
run 10s
heal
run 1s
ann set k one at n1 -> stored          # not yet: it came and went twice
| n1 k: 4 stands in for 2
n4 holds k -> one
run 20s
| n1: node 2 is reachable
ann set k two at n1 -> stored
run 1s
n2 holds k -> two
