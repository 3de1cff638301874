#!/bin/bash
# usage: check_spin.sh [MODEL.pml...]    (default: all in this folder)
#
# Checks each model exhaustively with Spin, in the settings that its first comment lists:
#
#    *   holds  -DFLAG...          no promise can be broken
#    *   breaks -DFLAG... words    one is: Spin has to find it
#
# Where one setting is enough, a first line `/* mutations: FLAG...` lists all that breaks it.  Those
# marked holds-long and breaks-long are for SPIN_LONG=1 only.  Exit status: 0 if all is so, 77
# if Spin or a C compiler is missing.
set -u

CC=${CC:-cc}
if ! command -v spin >/dev/null || ! command -v "${CC%% *}" >/dev/null; then
    echo "spin or a C compiler is missing: the models are not checked"
    exit 77
fi
folder=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- "$folder"/*.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check MODEL holds|breaks FLAG...: fails unless the model does so.
check() {
    local model=$1 wanted=$2 found output
    shift 2
    rm -rf "$work/run" && mkdir "$work/run" && cd "$work/run" || return
    if ! output=$(spin -a "$@" "$model" 2>&1); then
        echo "$output"
        return 1
    fi
    # The checker's own source is not ours to be warned about.
    $CC -w -O1 -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=2000 -o pan pan.c || return
    output=$(./pan -m1000000 2>&1)
    if grep -q 'Search not completed\|max search depth too small\|out of memory' <<<"$output" &&
        [ "$wanted" = holds ]; then
        found="is not searched to the end, or breaks"
    elif grep -q 'errors: 0$' <<<"$output"; then
        found=holds
    elif grep -q 'assertion violated\|invalid end state' <<<"$output"; then
        found=breaks
    else
        found="does not run"
    fi
    [ "$found" = "$wanted" ] && return
    echo "$output" | head -20
    return 1
}

# The settings of a model, as the lines above.
settings() {
    local mutations mutation
    mutations=$(sed -n '1s|^/\* mutations:||p' "$1")
    if [ -n "$mutations" ]; then
        echo "holds"
        for mutation in $mutations; do
            echo "breaks -D$mutation"
        done
    fi
    grep -E '^ \* +(holds|breaks)(-long)? +-D' "$1" | sed 's/^ \* *//'
}

for model in "$@"; do
    while read -r kind rest; do
        if [[ $kind = *-long ]]; then
            [ "${SPIN_LONG:-0}" = 1 ] || continue
            kind=${kind%-long}
        fi
        read -ra words <<<"$rest"
        flags=()
        for word in "${words[@]}"; do
            [[ $word != -D* ]] || flags+=("$word")
        done
        if check "$model" "$kind" "${flags[@]}"; then
            echo "ok: ${model##*/} $kind ${flags[*]}"
            passed=$((passed + 1))
        else
            echo "FAILED: ${model##*/} $kind ${flags[*]}"
            failed=$((failed + 1))
        fi
    done < <(settings "$model")
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
