#!/bin/sh
# The stories beside this script come out as they say: those of clusters, and those of members and
# tables.
set -u
here=${srcdir:-.}/tests/scenario
code=0

tests/scenario/scenario "$here"/*.story >tests/scenario/stories.out 2>&1 || code=1
tests/scenario/members "$here"/*.members >tests/scenario/members.out 2>&1 || code=1
cat tests/scenario/stories.out tests/scenario/members.out | grep -v '^[0-9]* passed, '
awk '/^[0-9]+ passed, / { passed += $1; failed += $3 } END { print passed + 0 " passed, " failed + 0 " failed" }' \
    tests/scenario/stories.out tests/scenario/members.out
rm -f tests/scenario/stories.out tests/scenario/members.out
exit $code
