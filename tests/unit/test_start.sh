#!/bin/bash
# The start of the server as scripts see it: exit codes, what it says, pid file, port file, daemon,
# signals, systemd.  Only loopback, only ports that the system picks.
set -u

server=$PWD/ringcached
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

[ -x "$server" ] || { echo "$server is missing: run make first, in the build folder"; exit 1; }
own=()
[ "$(id -u)" != 0 ] || own=(-u root)

ok() {
    passed=$((passed + 1))
    printf 'ok: %s\n' "$1"
}

not_ok() {
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$*"
}

# refuses CODE TEXT OPTION...: it ends at once with that exit code, and what it says has the text.
refuses() {
    local code=$1 text=$2 says got
    shift 2
    says=$(timeout 10 "$server" "$@" 2>&1 </dev/null)
    got=$?
    if [ $got = "$code" ] && [[ $says == *"$text"* ]]; then
        ok "$* is refused with $code"
    else
        not_ok "$*: exit code $got, not $code, or no \"$text\" in: $says"
    fi
}

# Starts a server in the background on a free port: its pid is then in $pid, its port in $port, what
# it says in $folder/says.
start() {
    rm -f "$folder/ports"
    MEMCACHED_PORT_FILENAME=$folder/ports "$server" -l 127.0.0.1 -p -1 "${own[@]}" "$@" \
        2>"$folder/says" </dev/null &
    pid=$!
    for _ in $(seq 100); do
        [ ! -s "$folder/ports" ] || break
        sleep 0.1
    done
    port=$(sed -n 's/^TCP INET: //p' "$folder/ports")
}

# Whether the server at $port answers a client.
answers() {
    local reply=
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 1
    printf 'version\r\n' >&3
    read -r -t 5 reply <&3
    exec 3<&-
    [[ $reply == VERSION* ]]
}

# ends CODE SIGNAL NAME
ends() {
    local got
    kill -"$2" "$pid"
    wait "$pid"
    got=$?
    if [ $got = "$1" ]; then ok "$3"; else not_ok "$3: exit code $got; it said: $(cat "$folder/says")"; fi
}

check() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else not_ok "$name"; fi
}

refuses 0 "unix-socket" -h
refuses 0 "1.6.45" -V
refuses 1 'Illegal argument "?"' --nonsense
refuses 1 'Illegal suboption "nonsense"' -o nonsense
refuses 64 "1/2 of memory max" -m 64 -I 33m
refuses 71 "not-a-host.invalid" "${own[@]}" -l not-a-host.invalid -p -1
refuses 71 "make that folder first" "${own[@]}" -s /nonexistent/socket
refuses 71 "open files" "${own[@]}" -c 2000000000 -l 127.0.0.1 -p -1
refuses 1 "/nonexistent" "${own[@]}" -Y /nonexistent -l 127.0.0.1 -p -1
refuses 71 "no interface of this machine" -d "${own[@]}" -l 192.0.2.1 -p -1
if [ "$(id -u)" = 0 ]; then
    refuses 64 "-u root" -l 127.0.0.1 -p -1
    refuses 67 "no-such-user" -u no-such-user -l 127.0.0.1 -p -1
fi
printf 'user without colon\n' >"$folder/logins"
refuses 1 "line 1" "${own[@]}" -Y "$folder/logins" -l 127.0.0.1 -p -1

start
check "the port file names the port" test -n "$port"
check "it answers there" answers
check "it says where it listens" grep -q "listens on 127.0.0.1:$port" "$folder/says"
check "loopback needs no warning" bash -c "! grep -q warning '$folder/says'"
refuses 71 "$port (-l 127.0.0.1): Address already in use: stop the server" "${own[@]}" -l 127.0.0.1 -p "$port"
ends 0 TERM "SIGTERM ends it with 0"

start -P "$folder/pid"
answers
check "the pid file has its pid" test "$(cat "$folder/pid")" = "$pid"
ends 0 INT "SIGINT ends it with 0"
check "the pid file is gone" test ! -e "$folder/pid"

start
ends 0 USR1 "SIGUSR1 ends it with 0"

printf 'user:one\n' >"$folder/logins"
start -v -Y "$folder/logins"
answers # whatever it says to that, it is up
printf 'user:two\n' >"$folder/logins"
kill -HUP "$pid"
for _ in $(seq 50); do
    ! grep -q "logins reloaded" "$folder/says" || break
    sleep 0.1
done
check "SIGHUP reloads the logins" grep -q "logins reloaded" "$folder/says"
printf 'nonsense\n' >"$folder/logins"
kill -HUP "$pid"
for _ in $(seq 50); do
    ! grep -q "line 1" "$folder/says" || break
    sleep 0.1
done
check "a bad file at SIGHUP is told, and survived" grep -q "line 1" "$folder/says"
ends 0 TERM "it ends well after reloads"

"$server" -d -l 127.0.0.1 -p -1 -P "$folder/pid" "${own[@]}" 2>/dev/null
check "a daemon's parent ends with 0 once it listens" test $? = 0
check "the daemon has written its pid" test -s "$folder/pid"
daemon=$(cat "$folder/pid")
kill -TERM "$daemon"
for _ in $(seq 100); do
    [ -e "$folder/pid" ] || break
    sleep 0.1
done
check "the daemon ends at SIGTERM" test ! -e "$folder/pid"

if command -v python3 >/dev/null; then
    python3 - "$folder/notify" "$folder/heard" <<'END' &
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.bind(sys.argv[1])
    s.settimeout(20)
    for wanted in (b"READY=1", b"STOPPING=1"):
        got = s.recv(100)
        with open(sys.argv[2], "ab") as heard:
            heard.write(got + b"\n")
END
    systemd=$!
    for _ in $(seq 50); do
        [ ! -e "$folder/notify" ] || break
        sleep 0.1
    done
    export NOTIFY_SOCKET=$folder/notify
    start
    unset NOTIFY_SOCKET
    for _ in $(seq 50); do
        [ ! -s "$folder/heard" ] || break
        sleep 0.1
    done
    check "systemd hears when it is ready" grep -qx "READY=1" "$folder/heard"
    ends 0 TERM "it ends well under systemd"
    wait $systemd
    check "systemd hears when it stops" grep -qx "STOPPING=1" "$folder/heard"
fi

printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
