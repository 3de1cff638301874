# N, R, W = 3, 1, 1: each side of a partition serves alone, whoever is left.  Afterwards all that was
# written is there.
quorum 3 1 1
key k n1 n2 n3
begin

ann put k one at n1 -> stored
run 1s
ann get k at n1 -> one
bob get k at n2 -> one
cia get k at n3 -> one
cut n1 | n2
cut n2 | n3
cut n1 | n3
run 10s
ann put k left at n1 -> stored
bob put k middle at n2 -> stored
cia put k right at n3 -> stored
ann get k at n1 -> left
bob get k at n2 -> middle
cia get k at n3 -> right
heal
run 40s
ann get k at n1 -> left, middle, right
ann put k all at n1 -> stored
run 1s
n1 holds k -> all
n2 holds k -> all
n3 holds k -> all
