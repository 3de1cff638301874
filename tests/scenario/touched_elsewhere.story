# A touch changes no version: it is merged like any write, and a token that was shown before it still
# names the state.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
ann get k at n1 -> one
bob touch k at n4 -> touched
ann cas k two at n2 -> stored
bob touch k at n3 -> touched
run 1s
n1 holds k -> two
n2 holds k -> two
n3 holds k -> two
cia touch k at n2 -> touched
ann erase k at n3 -> deleted
cia touch k at n2 -> not found
