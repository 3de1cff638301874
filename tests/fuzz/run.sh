#!/bin/bash
# usage: tests/fuzz/run.sh [SECONDS [BUILD_DIRECTORY]]
#
# Builds the libFuzzer targets with clang, AddressSanitizer and UBSan, out of tree, and runs each
# for SECONDS (30) on top of the kept corpus.  New inputs stay in BUILD_DIRECTORY/corpus, what
# breaks a target in BUILD_DIRECTORY/findings.  Exit status 0: nothing was found.
set -euo pipefail

seconds=${1:-30}
source_directory=$(cd "$(dirname "$0")/../.." && pwd)
build_directory=${2:-$source_directory/build-fuzz}
case $seconds in
    ''|*[!0-9]*) echo "run.sh: SECONDS must be a number, not '$seconds'" >&2; exit 2 ;;
esac
if ! command -v clang >/dev/null; then
    echo "run.sh: clang is missing: apt install clang libclang-rt-14-dev" >&2
    exit 2
fi

[ -x "$source_directory/configure" ] || (cd "$source_directory" && ./autogen.sh)
mkdir -p "$build_directory/findings"
cd "$build_directory"
[ -e Makefile ] || "$source_directory/configure" --quiet CC=clang CFLAGS="-O1 -g" --enable-fuzz \
    --enable-sanitize=address,undefined --disable-tls --disable-sasl
targets=(text meta binary table membership peer resolver)
make --quiet -j"$(nproc)" "${targets[@]/#/tests/fuzz/fuzz_}"

# One target, its log in findings/; several run at the same time.
fuzz() {
    local target=$1 dictionary=$source_directory/tests/fuzz/text.dict

    [ "$target" != binary ] || dictionary=$source_directory/tests/fuzz/binary.dict
    mkdir -p "corpus/$target"
    "tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=2048 -dict="$dictionary" -artifact_prefix=findings/ -verbosity=0 \
        -print_final_stats=1 "corpus/$target" "$source_directory/tests/fuzz/corpus/$target" \
        >"findings/$target.log" 2>&1
}

status=0
at_once=$(nproc)
for ((first = 0; first < ${#targets[@]}; first += at_once)); do
    processes=()
    for target in "${targets[@]:first:at_once}"; do
        echo "fuzz_$target: $seconds s"
        fuzz "$target" &
        processes+=($!)
    done
    for i in "${!processes[@]}"; do
        target=${targets[first + i]}
        if ! wait "${processes[i]}"; then
            echo "fuzz_$target FAILED: see $build_directory/findings/$target.log" >&2
            tail -40 "findings/$target.log" >&2
            status=1
        fi
        grep -E 'number_of_executed_units|new_units_added' "findings/$target.log" || true
    done
done
exit $status
