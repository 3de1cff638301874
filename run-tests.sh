#!/bin/bash
# Runs every test: installs what is missing, builds in ./build, and prints for each suite how many
# tests passed.  The last line sums up; the exit code is 0 when nothing failed.
#
#   ./run-tests.sh              all suites
#   ./run-tests.sh gcc fuzz     some of them; --list names them
#
# In the environment: FUZZ_SECONDS (per fuzz target, default 12), EXPLORE_HISTORIES (random histories
# of a cell, default 100000), SIM_SEEDS and SIM_HOURS (simulated clusters and the virtual hours of
# each, default 1200 and 0.35), KEEP_GOING=no (stop at the first suite that fails).
set -u
cd "$(dirname "$0")" || exit 1
. ./setup.sh

: "${FUZZ_SECONDS:=12}" "${EXPLORE_HISTORIES:=100000}" "${KEEP_GOING:=yes}"
: "${SIM_SEEDS:=1200}" "${SIM_HOURS:=0.35}"
export FUZZ_SECONDS EXPLORE_HISTORIES

sources=$PWD
logs=$PWD/build/test-logs
SUITES=(scripts gcc asan tsan clang cluster cluster_tsan sim fuzz distcheck)

# Each suite is a function suite_NAME that prints its log, sets `passed`, `failed` and `skipped` to
# numbers of tests, and returns whether it did all it wanted to.
passed=0 failed=0 skipped=0

# Adds up what `make check` in a folder left behind: the tests of each cmocka program, what a script
# sums up as `N passed, N failed`, or else 1 for the script.  A program that ended badly without
# naming a test counts as 1 failed; one that had to fail, and did, as 1 passed.
count_check() {
    local folder=$1 result log ok bad out line
    while IFS= read -r result; do
        log=${result%.trs}.log
        ok=$(grep -c '^\[       OK \]' "$log")
        out=$(grep -c '^\[  SKIPPED \]' "$log")
        bad=$(sed -n 's/^.* \([0-9]*\) FAILED TEST(S)$/\1/p' "$log" | tail -1)
        bad=${bad:-0}
        if [ $((ok + out + bad)) = 0 ] && line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log"); then
            read -r ok _ bad _ out _ <<<"${line//,/} 0"
            grep '^skipped: ' "$log"
        fi
        case $(sed -n 's/^:test-result: //p' "$result") in
        PASS) [ $((ok + out)) -gt 0 ] || ok=1 ;;
        SKIP) [ "$out" -gt 0 ] || out=1 ;;
        XFAIL) ok=1 bad=0 out=0 ;;
        *) [ "$bad" -gt 0 ] || bad=1 ;;
        esac
        passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + out))
        [ "$bad" = 0 ] || show_log "$log"
    done < <(find "$folder" -name '*.trs' | sort)
    [ $((passed + failed)) -gt 0 ]
}

# Takes the last line `N passed, N failed[, N skipped]` of a suite's own runner.
count_summary() {
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -1)
    [ -n "$line" ] || return 1
    read -r passed _ failed _ skipped _ <<<"${line//,/} 0"
}

# The same of several, added up.
count_summaries() {
    local file sum=(0 0 0)
    for file in "$@"; do
        count_summary "$file" || return 1
        sum=($((sum[0] + passed)) $((sum[1] + failed)) $((sum[2] + skipped)))
    done
    passed=${sum[0]} failed=${sum[1]} skipped=${sum[2]}
}

# What to look at in the log of a test that failed.
show_log() {
    printf -- '--- %s\n' "$1"
    grep -nE 'FAILED|ERROR|error:|Error|assert|WARNING: ThreadSanitizer|runtime error' "$1" | head -20
    printf -- '--- its end:\n'
    tail -25 "$1"
}

# Has make build and run the tests in a folder.
check_in() {
    local folder=$1
    shift
    build_in "$folder" "$@" && make_check "$folder"
}

# Runs `make check` with these arguments, and counts.  TSan and ASan cannot place their shadow memory
# under every randomisation of addresses, so the programs run without it.
make_check() {
    local folder=$1 code
    shift
    find "$folder" -name '*.trs' -delete 2>/dev/null
    without_randomisation make -C "$folder" -j"$(nproc)" check "$@"
    code=$?
    count_check "$folder" && [ $code = 0 ]
}

# The tests in which there is more than one thread: those that can make one, and the scripts that start
# the server.
threaded_tests() {
    local folder=$1 name
    for name in $(make -s --no-print-directory -C "$folder" print-tests); do
        case $name in
        *.py) echo "$name" ;;
        *) ! nm "$folder/$name" 2>/dev/null | grep -q pthread_create || echo "$name" ;;
        esac
    done
}

without_randomisation() {
    if setarch -R true 2>/dev/null; then
        setarch -R "$@"
    else
        "$@"
    fi
}

suite_scripts() {
    local script
    if ! command -v shellcheck; then
        echo "shellcheck is not installed"
        skipped=1
        return
    fi
    while IFS= read -r script; do
        if shellcheck -x "$script"; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
        fi
    done < <(find . -path ./build -prune -o \( -name '*.sh' -o -path './.ci/run' \) -type f -print | sort)
}

suite_gcc() {
    check_in build/gcc --enable-development CC=gcc
}

suite_asan() {
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
        EXPLORE_HISTORIES=2000 SIM_SEEDS=4 SIM_MUTATIONS=no \
        check_in build/asan --enable-development --enable-sanitize=address,undefined CC=gcc
}

suite_tsan() {
    local folder=build/tsan
    build_in $folder --enable-development --enable-sanitize=thread CC=gcc &&
        make -C $folder -j"$(nproc)" check TESTS= &&
        TSAN_OPTIONS=halt_on_error=1 make_check $folder TESTS="$(threaded_tests $folder | xargs)"
}

# That clang has nothing to complain about; the tests themselves have run in the other builds.
suite_clang() {
    build_in build/clang --enable-development CC=clang &&
        make -C build/clang -j"$(nproc)" check TESTS= && passed=1
}

suite_fuzz() {
    local out=build/test-logs/fuzz.out code
    tests/fuzz/run.sh "$FUZZ_SECONDS" "$sources/build/fuzz" 2>&1 | tee $out
    code=${PIPESTATUS[0]}
    failed=$(grep -c '^fuzz_[a-z_]* FAILED' $out)
    passed=$(($(grep -c '^fuzz_[a-z_]*: [0-9]* s$' $out) - failed))
    return "$code"
}

# What clients see, alone; `make check` of the other suites has all of it too.
suite_conformance() {
    local python=/usr/bin/python3 # the one that Debian's packages of clients are for
    [ -x $python ] || python=python3
    build_in build/gcc --enable-development CC=gcc || return
    make -C build/gcc -j"$(nproc)" check TESTS= || return
    "$python" tests/conformance/run.py --server build/gcc/ringcached --build-dir build/gcc/tests/conformance |
        tee build/test-logs/conformance.out
    local code=${PIPESTATUS[0]}
    count_summary build/test-logs/conformance.out
    return "$code"
}

# Clusters of real processes under real faults; then what clients see at one node of three.
suite_cluster() {
    local python=/usr/bin/python3 code=0
    [ -x $python ] || python=python3
    build_in build/gcc --enable-development CC=gcc || return
    make -C build/gcc -j"$(nproc)" check TESTS= || return
    # Side by side: both spend most of their time waiting.
    $python tests/conformance/run.py --cluster --server build/gcc/ringcached \
        --build-dir build/gcc/tests/conformance >"$logs/cluster-conformance.out" 2>&1 &
    $python tests/cluster/run.py --server build/gcc/ringcached >"$logs/cluster.out" 2>&1 || code=1
    wait $! || code=1
    cat "$logs/cluster.out" "$logs/cluster-conformance.out"
    count_summaries "$logs/cluster.out" "$logs/cluster-conformance.out" && [ $code = 0 ]
}

# The clusters again, of processes that watch for races.
suite_cluster_tsan() {
    local python=/usr/bin/python3 code=0
    [ -x $python ] || python=python3
    build_in build/tsan --enable-development --enable-sanitize=thread CC=gcc || return
    TSAN_OPTIONS=halt_on_error=1 without_randomisation $python tests/cluster/run.py \
        --server build/tsan/ringcached >"$logs/cluster_tsan.out" 2>&1 || code=1
    cat "$logs/cluster_tsan.out"
    count_summaries "$logs/cluster_tsan.out" && [ $code = 0 ]
}

# Simulated clusters: many more seeds than `make check` has.
suite_sim() {
    local out=$logs/sim.out code
    build_in build/gcc --enable-development CC=gcc || return
    make -C build/gcc -j"$(nproc)" tests/sim/sim || return
    (cd build/gcc && SIM_SEEDS=$SIM_SEEDS SIM_HOURS=$SIM_HOURS "$sources/tests/sim/test_seeds.sh") | tee "$out"
    code=${PIPESTATUS[0]}
    passed=$(awk '/^[0-9]+ seeds, / { seeds += $1 } END { print seeds + 0 }' "$out")
    failed=$(grep -c '^BROKEN' "$out")
    return "$code"
}

suite_distcheck() {
    EXPLORE_HISTORIES=1000 SIM_SEEDS=4 SIM_MUTATIONS=no make -C build/gcc -j"$(nproc)" distcheck && passed=1
}

# --- running them ---

all_passed=0 all_failed=0 all_skipped=0
report=()

run_suite() {
    local name=$1 log=$logs/$1.log started=$SECONDS verdict=ok
    passed=0 failed=0 skipped=0
    say "$name (log: ${log#"$sources"/})"
    if ! "suite_$name" >"$log" 2>&1 </dev/null || [ "$failed" -gt 0 ]; then
        [ "$failed" -gt 0 ] || failed=1
        verdict=FAILED
        grep -E '^--- ' "$log" >/dev/null || show_log "$log"
        sed -n '/^--- /,$p' "$log" | head -200
    fi
    report+=("$(printf '%-12s %-7s %6d passed %4d failed %4d skipped %5d s' "$name" $verdict \
        "$passed" "$failed" "$skipped" $((SECONDS - started)))")
    printf '%s\n' "${report[-1]}"
    all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
    all_skipped=$((all_skipped + skipped))
}

case ${1-} in
--list) printf '%s\n' "${SUITES[@]}" && exit ;;
-*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
esac
for name in "$@"; do
    declare -F "suite_$name" >/dev/null || give_up "there is no suite $name: ./run-tests.sh --list"
done
[ $# -gt 0 ] || set -- "${SUITES[@]}"

say "Packages"
install_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
install_optional_packages "${PACKAGES_TEST_CLIENTS[@]}"
mkdir -p "$logs"

for name in "$@"; do
    run_suite "$name"
    [ $all_failed = 0 ] || [ "$KEEP_GOING" = yes ] || break
done

say "All suites, in $SECONDS s"
printf '%s\n' "${report[@]}"
for name in "$@"; do # why tests were skipped, and how many for each reason
    sed -n 's/^skipped: [^:]*: /skipped: /p' "$logs/$name.log" 2>/dev/null
done | sort | uniq -c
printf '%d passed, %d failed, %d skipped\n' $all_passed $all_failed $all_skipped
[ $all_failed = 0 ]
