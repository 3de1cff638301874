# Two clients read the same state and want to replace it: the first one does, the second one hears
# that it exists.  In a healthy cluster one node decides, as in one memcached.
nodes 4
key k n1 n2 n3
begin

ann add k zero at n4 -> stored
bob add k none at n2 -> not stored
ann get k at n2 -> zero
bob get k at n3 -> zero
ann cas k ann at n2 -> stored
bob cas k bob at n3 -> exists
bob get k at n4 -> ann
bob cas k bob at n4 -> stored
ann erase k at n1 -> deleted
ann erase k at n2 -> not found
bob cas k late at n3 -> not found
