# A client keeps what it was shown for long, and writes with it when others have moved on: its write
# replaces what it had seen, and leaves what it had not.
key k n1 n2 n3
begin

ann put k one at n1 -> stored
old get k at n1 -> one
ann get k at n1 -> one
ann put k two at n2 -> stored
run 1h
old put k late at n3 -> stored
ann get k at n1 -> late, two
ann put k both at n1 -> stored
old get k at n2 -> both
