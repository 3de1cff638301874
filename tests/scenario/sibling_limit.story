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
ann put k v17 at n1 -> stored
ann put k v18 at n1 -> stored
ann put k v19 at n1 -> stored
ann put k v20 at n1 -> stored
ann put k v21 at n1 -> stored
ann put k v22 at n1 -> stored
ann put k v23 at n1 -> stored
ann put k v24 at n1 -> stored
ann put k v25 at n1 -> stored
ann put k v26 at n1 -> stored
ann put k v27 at n1 -> stored
ann put k v28 at n1 -> stored
ann put k v29 at n1 -> stored
ann put k v30 at n1 -> stored
ann put k v31 at n1 -> stored
ann put k v32 at n1 -> stored
ann put k v33 at n1 -> too many siblings
bob get k at n2
bob put k one at n2 -> stored
ann put k v34 at n1 -> stored
ann get k at n3 -> one, v34
