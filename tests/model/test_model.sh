#!/bin/sh
# The model in cell.py keeps its promises over random histories, each rule that is broken is found,
# and tests/unit/cell_model_cases.h is what make_cases.py writes today.
#
# In the environment: MODEL_HISTORIES (of each variant, default 20).

here=${srcdir:-.}/tests/model
passed=0 failed=0
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

if ! command -v python3 >/dev/null; then
    echo "skipped: no python3"
    exit 77
fi

check() { # what happened: yes or no
    if [ "$2" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}

if python3 "$here/make_cases.py" | cmp - "$here/../unit/cell_model_cases.h"; then same=yes; else same=no; fi
check "the cases are those of the model" $same

if python3 "$here/explore.py" --histories "${MODEL_HISTORIES:-20}"; then holds=yes; else holds=no; fi
check "no promise of the model breaks" $holds

for rule in naive nolive nocut keepcontext norefill register expirecontext forgetkeep forgetlive \
    foldjoin noflush covered again time; do
    if python3 "$here/explore.py" --histories 40 --break $rule >/dev/null; then found=no; else found=yes; fi
    check "the histories find the broken rule $rule" $found
done

echo "$passed passed, $failed failed"
[ $failed = 0 ]
