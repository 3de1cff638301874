# The coordinator crashes between its own write and the replication.  Its client does not know what
# became of the write, and is told so by the lost connection; nobody else has it, so it is gone.
# Where one replica got it before the crash, it is as good as any other write.
key a n1 n2 n3
key b n1 n2 n3
begin

ann put a old at n1 -> stored
ann put b old at n1 -> stored
run 1s

cut n1 | n2 n3
ann begins put a new at n1
| n1 a: applies put as write 1
crash n1
ann hears -> connection lost
heal
run 10s
bob get a at n2 -> old

start n1
run 10s
cut n1 > n3
slow n2 > n1 500ms
ann forgets b
ann get b at n2 -> old
ann begins put b new at n1
run 100ms
crash n1
ann hears -> connection lost
n2 holds b -> new
n3 holds b -> old
heal
bob get b at n3 -> new
run 10s
n3 holds b -> new                      # repaired behind bob's back
