#!/bin/sh
# Siblings: a shopping cart that two people fill while the nodes are cut off from each other.
# quickstart.sh has the cluster for it, on ports 11211 to 11213; PORT is the first of them.
p1=${PORT:-11211} p2=$((${PORT:-11211} + 1)) p3=$((${PORT:-11211} + 2))

# ask PORT LINE...: sends a node these lines, and shows its answers.
ask() { port=$1 && shift && printf '%s\r\n' "$@" quit | nc 127.0.0.1 "$port"; }
# context PORT KEY: what the node shows of a key, in the form that a later write says what it has seen.
context() { ask "$1" "vget $2" | tr -d '\r' | awk '/^VALUE/ { print $5; exit }'; }

# What one node stored, every node has.
ask "$p1" 'set cart:ann 0 0 4' 'milk'
ask "$p3" 'get cart:ann'
seen=$(context "$p1" cart:ann)

# Now the third node is alone: all between it and the others is dropped.
ask "$p3" 'debug cut n1' 'debug cut n2'

# Both sides go on, each from the cart that it has seen.
ask "$p1" "cas cart:ann 0 0 10 $seen" 'milk bread'
ask "$p3" "cas cart:ann 0 0 11 $seen" 'milk butter'

# They find each other again.  Neither write is lost: they have become siblings.
ask "$p3" 'debug heal n1' 'debug heal n2'
until [ "$(ask "$p2" 'vget cart:ann' | grep -c '^VALUE')" = 2 ]; do sleep 0.1; done
ask "$p2" 'vget cart:ann'

# Who knows what a cart is puts them together, and writes that in place of what was seen.
ask "$p2" "cas cart:ann 0 0 17 $(context "$p2" cart:ann)" 'milk bread butter'
ask "$p3" 'vget cart:ann'
