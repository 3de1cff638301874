# A key with the lww policy: no siblings, also after a partition.  The later write wins, whoever made
# it.
nodes 5
key k lww n1 n2 n3
begin

ann set k one at n1 -> stored
cut n1 n4 | n2 n3 n5
run 10s
ann set k left at n1 -> stored
run 1s
bob set k right at n2 -> stored
heal
run 20s
ann get k at n1 -> right
run 1s
n1 holds k -> right
n2 holds k -> right
