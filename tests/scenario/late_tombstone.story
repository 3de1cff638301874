# A delete that arrives after the key was written anew by somebody who knew of the delete: it is
# older news, and changes nothing.
nodes 3
key k n1 n2 n3
begin

ann put k old at n1 -> stored
ann get k at n1 -> old
run 1s
slow n1 > n3 3s
ann begins remove k at n1
run 100ms
ann hears -> deleted
n3 holds k -> old
ann get k at n2 -> nothing
ann put k new at n2 -> stored
heal
run 5s
n1 holds k -> new
n2 holds k -> new
n3 holds k -> new
