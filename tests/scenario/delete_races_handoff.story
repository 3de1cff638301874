# A hint with an old value is on its way to its owner when the value is deleted.  The owner hears of
# the delete first; the value, which comes late, has been seen and stays gone.
nodes 4
key k n1 n2 n3
begin

ann put k one at n1 -> stored
cut n1 | n2 n3 n4
run 10s
ann get k at n2 -> one
ann put k two at n2 -> stored
run 1s
n4 holds k -> two
n1 holds k -> one
ann get k at n2 -> two
slow n4 > n1 2s
heal n1 n2
heal n1 n3
heal n1 n4
run 3s
ann remove k at n2 -> deleted
run 30s
n1 holds k -> deleted
n2 holds k -> deleted
n4 holds k -> nothing
ann get k at n1 -> nothing
