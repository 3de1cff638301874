#!/bin/sh
# ring/ and protocol/ are pure: no clock, socket, thread, file, random source or allocation.  So
# says `nm`: everything they need from outside is on the list below.
#
# usage: test_purity.sh [LIBRARY...]    (default: libring.a libprotocol.a, in the build folder)
set -u

NM=${NM:-nm}
[ $# -gt 0 ] || set -- libring.a libprotocol.a
for library in "$@"; do
    [ -e "$library" ] || { echo "$library is missing: run make first, in the build folder"; exit 1; }
done

# Copying, comparing and searching memory; formatting into it; assertions; xxHash on the caller's own state; what
# compilers and sanitizers add.
allowed='^(mem(cpy|move|set|cmp|chr|rchr|mem)|bcmp|__mem(cpy|move|set)_chk|strn?len|__assert_fail
|v?snprintf|__v?snprintf_chk
|XXH[0-9A-Za-z_]*|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|sanitizer|sancov)_.*
|__start___sancov_.*|__stop___sancov_.*|__gcov_.*|_ITM_.*|__tls_get_addr)$'
allowed=$(printf %s "$allowed" | tr -d '\n')

needed=$("$NM" -g "$@" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
defined=$("$NM" -g "$@" 2>/dev/null | awk 'NF == 3 && $2 != "U" { print $3 }' | sort -u)
[ -n "$defined" ] || { echo "$NM finds no functions in: $*"; exit 1; }

foreign=$(for name in $needed; do
    echo "$defined" | grep -qxF "$name" || echo "$name"
done | grep -vE "$allowed")
if [ -n "$foreign" ]; then
    echo "ring/ or protocol/ reach outside (move that to server/, or pass it in as data):"
    echo "$foreign"
    exit 1
fi

# Constant tables are fine; anything that can be written would be global state.  Sanitizers make
# some of their own.
state=$("$NM" -f sysv "$@" 2>/dev/null | awk -F '|' '
    $7 ~ /^\.(data|bss|tdata|tbss)/ && $7 !~ /^\.data\.rel\.ro/ && $4 ~ /OBJECT|TLS/ { print $1 }' |
    sort -u)
if [ -n "$state" ] && ! echo "$needed" | grep -qE '^__(asan|tsan|ubsan|sanitizer)_'; then
    echo "ring/ or protocol/ keep global state (the caller has to hold it):"
    echo "$state"
    exit 1
fi
echo "pure: $*"
