#!/bin/sh
# ringbench against ringecho, which answers like a server that holds every key: a run that goes
# well must say so, and one that does not must fail. Run in the build folder; takes some seconds.

folder=$(mktemp -d) || exit 1
echo_pid=
failures=0

stop_echo() {
    [ -z "$echo_pid" ] || { kill "$echo_pid"; wait "$echo_pid" 2>/dev/null; }
    echo_pid=
}
trap 'stop_echo; rm -rf "$folder"' EXIT

# start_echo OPTION...: an echo of its own on a port of its own
start_echo() {
    stop_echo
    : > "$folder/port"
    ./ringecho --port 0 "$@" > "$folder/port" &
    echo_pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\)$/\1/p' "$folder/port")
        [ -z "$port" ] || return 0
        sleep 0.1
    done
    echo "ringecho $* did not start"
    exit 1
}

# expect STATUS OPTION...: ringbench must end with that status
expect() {
    wanted=$1
    shift
    ./ringbench --server "127.0.0.1:$port" --requests 2000 --connections 4 --timeout 1 "$@" > "$folder/out" 2>&1
    got=$?
    [ $got -eq "$wanted" ] && return 0
    echo "FAILED: ringbench $* ended with $got, not $wanted:"
    cat "$folder/out"
    failures=$((failures + 1))
}

# says TEXT: the last run must have printed it
says() {
    grep -q -e "$1" "$folder/out" && return 0
    echo "FAILED: no \"$1\" in:"
    cat "$folder/out"
    failures=$((failures + 1))
}

for protocol in text meta binary; do
    start_echo --protocol $protocol
    expect 0 --protocol $protocol --keys 1 --verify
    says "2000 hits, 0 misses"
    expect 0 --protocol $protocol --keys 1 --verify --pipeline 17 --threads 2
    expect 0 --protocol $protocol --keys 1 --verify --pipeline 17 --refill
    expect 0 --protocol $protocol --keys 1 --rate 20000 --burst 7 --pipeline 7 --server-pid $echo_pid
    says "CPU seconds"
    expect 0 --protocol $protocol --keys 1 --idle 20 --json
    says '"clean": true'
    expect 1 --protocol $protocol --keys 2 --verify # the echo always sends key 0
    says "failures: .*first"
    expect 1 --protocol $protocol --mix set=1 --value-bytes 78 # no reply to a set
    start_echo --protocol $protocol --operation set --value-bytes 5000
    expect 0 --protocol $protocol --mix set=1 --value-bytes 5000 --pipeline 3
    expect 0 --protocol $protocol --preload-only --value-bytes 5000 --keys 100
    says "100 requests"
done

start_echo --multiget 30
expect 0 --multiget 30 --keys 30 --popularity sequential --connections 1 --verify
says "60000 hits, 0 misses"

stop_echo
expect 1 --keys 1
says "cannot connect"
expect 2 --no-such-option
expect 2 --keys 0
expect 2 --keys 100 --key-bytes 2
expect 0 --help

[ $failures -eq 0 ] && echo "ringbench reports what happens"
exit $((failures > 0))
