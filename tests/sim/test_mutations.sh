#!/bin/bash
# The simulator notices when a rule is broken: for each promise at least one mutation, which has to
# be caught within a minute of processor time.  tests/sim/broken_NAME is the simulator with a module of ring/ that
# was compiled without one rule; sim --break NAME breaks a rule of the nodes' glue.
#
# SIM_MUTATIONS=no in the environment skips them: sanitizers would need longer than a minute.
set -u

[ "${SIM_MUTATIONS:-yes}" = yes ] || exit 77

passed=0 failed=0

# usage: expect PROMISE COMMAND...: the command has to report just this promise as broken.
expect() {
    local promise=$1 out started=$SECONDS
    shift
    out=$(ulimit -t 60 && "$@" --seeds 100000 --hours 0.3 --quiet 2>&1 | grep '^BROKEN promise')
    if grep -q "^BROKEN promise $promise " <<<"$out"; then
        echo "promise $promise, $((SECONDS - started)) s: $*"
        passed=$((passed + 1))
    else
        echo "FAILED: promise $promise was not seen to be broken by $*: ${out:-nothing was}"
        failed=$((failed + 1))
    fi
}

cd tests/sim || exit 1

expect 1 ./broken_naive
expect 1 ./broken_nolive --workload context --faults memory,crash
expect 1 ./broken_nocut
expect 1 ./broken_ack_early
expect 1 ./sim --break reuse-dots --faults crash,clock
expect 1 ./broken_no_ceiling --faults crash,clock
expect 2 ./broken_comeback
expect 2 ./broken_keepcontext
expect 2 ./sim --break reap-early --workload blind,delete --faults cut,one-way
expect 3 ./sim --break keep-copies --faults cut
expect 4 ./sim --break forget-hints --faults cut,pause --workload blind
expect 5 ./broken_lower_epoch --faults members,cut
expect 5 ./broken_loser --faults members
expect 5 ./sim --break deaf --faults crash
expect 6 ./sim --break no-limit --workload context
expect 7 ./sim --break answer-twice
expect 7 ./sim --break keep-quiet
expect 7 ./sim --break ask-the-dead
expect 8 ./broken_read_early --faults none
expect 8 ./broken_ignore_digest --faults none
expect 9 ./sim --break chatter
expect 10 ./broken_no_hedge

echo "$passed passed, $failed failed"
[ $failed = 0 ]
