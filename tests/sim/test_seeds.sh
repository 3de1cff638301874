#!/bin/sh
# The simulated cluster keeps its promises, for SIM_SEEDS seeds (default 40) of SIM_HOURS virtual
# hours each (default 0.3), from SIM_SEED on (default 1); half of them beside the other half.
set -u

: "${SIM_SEEDS:=40}" "${SIM_HOURS:=0.3}" "${SIM_SEED:=1}"
half=$((SIM_SEEDS / 2))
[ $half -gt 0 ] || half=1

tests/sim/sim --seed "$SIM_SEED" --seeds $half --hours "$SIM_HOURS" --quiet >tests/sim/first_half.out &
first=$!
tests/sim/sim --seed $((SIM_SEED + half)) --seeds $half --hours "$SIM_HOURS" --quiet
second_code=$?
wait $first
first_code=$?
cat tests/sim/first_half.out
rm -f tests/sim/first_half.out
[ $first_code = 0 ] && [ $second_code = 0 ]
