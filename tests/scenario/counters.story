# A counter is counted on both sides of a partition, each coordinator in a share of its own; the
# value is their sum.  Nothing counted is lost.
nodes 5
key hits counter n1 n2 n3
begin

ann incr hits 5 at n1 -> counted
ann incr hits 5 at n2 -> counted
ann get hits at n3 -> 10
cut n1 n4 | n2 n3 n5
run 10s
ann incr hits 1 at n1 -> counted
bob incr hits 100 at n3 -> counted
ann get hits at n4 -> 11
bob get hits at n5 -> 110
heal
run 20s
ann get hits at n2 -> 111
bob incr hits 1000 at n3 -> counted
ann get hits at n1 -> 1111
