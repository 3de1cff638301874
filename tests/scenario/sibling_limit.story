# Clients that never look leave siblings behind.  Their number is bounded, for clients: the next one is
# told so, and whoever has seen them all may put one in their place.
key k n1 n2 n3
begin

ann put k v01 at n1 -> stored
ann put k v02 at n1 -> stored
ann put k v03 at n1 -> stored
ann put k v04 at n1 -> stored
ann put k v05 at n1 -> stored
ann put k v06 at n1 -> stored
ann put k v07 at n1 -> stored
ann put k v08 at n1 -> stored
ann put k v09 at n1 -> stored
ann put k v10 at n1 -> stored
ann put k v11 at n1 -> stored
ann put k v12 at n1 -> stored
ann put k v13 at n1 -> stored
ann put k v14 at n1 -> stored
ann put k v15 at n1 -> stored
ann put k v16 at n1 -> stored
ann put k v17 at n1 -> too many siblings
bob get k at n2
bob put k one at n2 -> stored
ann put k v18 at n1 -> stored
ann get k at n3 -> one, v18
