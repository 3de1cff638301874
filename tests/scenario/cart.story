# The shopping cart of the Dynamo paper (figure 3): Ann fills it, the network breaks, she adds on one
# side and her phone on the other.  Neither is lost: the next reader sees both carts, and puts one.
nodes 5
key cart n1 n2 n3
begin

ann put cart milk at n1 -> stored
ann get cart at n2 -> milk
phone get cart at n3 -> milk

cut n1 n4 | n2 n3 n5
run 10s                                         # both sides have noticed
ann put cart milk+eggs at n1 -> stored
| n1 cart: 4 stands in for 2
| n1 cart: 2 of 2 stored, 0 refused -> answer done
phone put cart milk+bread at n3 -> stored
ann get cart at n4 -> milk+eggs
phone get cart at n5 -> milk+bread

heal
run 20s
ann get cart at n2 -> milk+bread, milk+eggs
ann put cart all at n2 -> stored
phone get cart at n3 -> all
run 5s
n1 holds cart -> all
n2 holds cart -> all
n3 holds cart -> all
