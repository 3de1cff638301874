# A command was passed on, and no answer came back.  What is harmless to repeat is repeated; of what
# is not, the client hears that nobody knows.
nodes 4
key a n1 n2 n3
key b n1 n2 n3
begin

ann set a one at n4 -> stored
run 1s
cut n1 > n4
ann add b one at n4 -> outcome unknown
| n4 b: pass it on to 1
| n1 b: applies add as write 0
| n4 b: passed on to 1 nodes -> answer unknown
n1 holds b -> one                      # it was done
heal
run 20s
cut n1 > n4
ann set a two at n4 -> stored
| n4 a: pass it on to 1
| n4 a: pass it on to 2
bob get a at n2 -> two
