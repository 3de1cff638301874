#!/bin/bash
# Installs what is missing, builds ringcached in ./build and starts a cluster on this machine's loopback.
set -eu
cd "$(dirname "$0")"
. ./setup.sh

usage() {
    cat <<END
usage: ./quickstart.sh [--nodes N] [--port NUM] [--no-start] [-- options for ringcached]

  --nodes N    how many servers, 1 to 9 (default 3); 1 is one server that is no node of a cluster
  --port NUM   the first listens on this port, the next on the one after it (default 11211); the
               servers talk to each other 10000 above
  --no-start   install and build only
  --           what follows is for the servers, such as -m 1024
END
}

nodes=3
port=11211
starts=yes
while [ $# -gt 0 ]; do
    case $1 in
    --nodes) [[ ${2-} =~ ^[1-9]$ ]] || give_up "--nodes needs a number from 1 to 9"; nodes=$2; shift ;;
    --port) [[ ${2-} =~ ^[0-9]+$ ]] || give_up "--port needs a number"; port=$2; shift ;;
    --no-start) starts=no ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) usage >&2 && give_up "there is no option $1" ;;
    esac
    shift
done
[ $((port + 10000 + nodes)) -le 65535 ] || [ "$nodes" = 1 ] ||
    give_up "--port $port leaves no room for the ports between servers: take one below $((55535 - nodes))"

say "Packages"
install_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_TRY[@]}"

say "Building in $PWD/build"
build_in build --disable-development || give_up "the build failed: its messages are above"

if [ $starts = no ]; then
    say "Built: start it with ./build/ringcached -l 127.0.0.1$([ "$(id -u)" != 0 ] || echo ' -u nobody')"
    exit
fi

# Says what the options for server NUMBER are, in `command`.
compose() {
    command=(./build/ringcached -l 127.0.0.1 -p $((port + $1 - 1)))
    [ "$(id -u)" != 0 ] || command+=(-u nobody)
    if [ "$nodes" -gt 1 ]; then
        command+=(--node-name "n$1" --cluster-listen "127.0.0.1:$((port + 9999 + $1))")
        [ "$1" = 1 ] || command+=(--join "127.0.0.1:$((port + 10000))")
        command+=(--debug-commands --config ./build/quickstart.conf)
    fi
    command+=("${options[@]}")
}

# Asks a server something, over the same bash that runs this script; what it answers in one line.
ask() {
    local reply
    exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '%s\r\n' "$2" >&3 && read -r -t 5 reply <&3 &&
        printf '%s\n' "$reply"
} 2>/dev/null

# A server that runs already would answer in place of the one that we start.
check_port() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null ||
        give_up "something listens on port $1 already, perhaps an earlier quickstart: end it, or take other ports, such as --port $((port + 100))"
}

# Starts server NUMBER, and waits until it answers.
start() {
    local at=$((port + $1 - 1)) command
    compose "$1"
    printf '%s\n' "${command[*]}"
    if [ "$nodes" -gt 1 ]; then
        "${command[@]}" > >(sed -u "s/^/n$1: /") 2>&1 &
    else
        "${command[@]}" &
    fi
    servers+=($!)
    for _ in $(seq 100); do
        [[ $(ask $at version) != VERSION* ]] || return 0
        kill -0 "${servers[-1]}" 2>/dev/null ||
            give_up "the server ended: its reason is above"
        sleep 0.1
    done
    give_up "the server does not answer on 127.0.0.1:$at"
}

stop_all() {
    trap - EXIT
    kill "${servers[@]}" 2>/dev/null || true
    wait "${servers[@]}" || true
}

options=("$@")
servers=()
trap stop_all EXIT
trap 'exit 0' INT TERM

if [ "$nodes" -gt 1 ]; then
    # For the session below: carts are written even where no other node can be reached.
    printf 'policies = ( { prefix = "cart:"; read-quorum = 1; write-quorum = 1; } );\n' \
        >build/quickstart.conf
fi
for number in $(seq "$nodes"); do
    check_port $((port + number - 1))
    [ "$nodes" = 1 ] || check_port $((port + 9999 + number))
done
say "Starting $nodes of them on 127.0.0.1, from port $port on"
for number in $(seq "$nodes"); do
    start "$number"
done

if [ "$nodes" = 1 ]; then
    say "It runs. In another terminal, type:"
    cat <<END

  printf 'set hello 0 0 5\r\nworld\r\nget hello\r\nquit\r\n' | nc 127.0.0.1 $port

and see STORED, VALUE hello 0 5, world, END. Or with Python's pymemcache:

  python3 -c 'from pymemcache.client.base import Client; c = Client(("127.0.0.1", $port)); \\
              c.set("hello", "world"); print(c.get("hello"), c.stats()[b"version"])'

Any other memcached client works the same way: give it 127.0.0.1:$port.
Ctrl-C here stops the server.
END
    wait "${servers[0]}"
    exit
fi

# Whether all are members, and have their share of the keys.
is_one_cluster() {
    local status
    status=$(./build/ringctl -s "127.0.0.1:$port" --json status 2>/dev/null) &&
        [ "$(grep -c '"status": "up"' <<<"$status")" = "$nodes" ] &&
        grep -q '"is_settled": true' <<<"$status"
}

printf 'Waiting until they share the keys among them\n'
for _ in $(seq 300); do
    ! is_one_cluster || break
    sleep 0.1
done
is_one_cluster || give_up "they do not become one cluster: why is above"

last=$((port + nodes - 1))
joins=n$((nodes + 1))
compose $((nodes + 1))
one_more=("${command[@]}")
compose "$nodes"
siblings=
if [ "$nodes" = 3 ]; then
    siblings="
  Two writers that are cut off from each other make siblings, which are merged (read it: it is short):
    PORT=$port sh -v docs/session.sh
"
fi
say "They run, and are one cache. Any memcached client may be given any of these addresses:"
for number in $(seq "$nodes"); do
    printf '  n%d  127.0.0.1:%d  process %d\n' "$number" $((port + number - 1)) "${servers[number - 1]}"
done
cat <<END

Each of these, in another terminal here, shows something:

  What one stores, the others have:
    printf 'set hello 0 0 5\r\nworld\r\nquit\r\n' | nc 127.0.0.1 $port
    printf 'get hello\r\nquit\r\n' | nc 127.0.0.1 $last
    python3 -c 'from pymemcache.client.base import Client; print(Client(("127.0.0.1", $last)).get("hello"))'

  The nodes, and what they think of each other:
    ./build/ringctl -s 127.0.0.1:$port status
$siblings
  One dies, the others serve on, and see it is down; it comes back empty, and fills again:
    kill -9 ${servers[-1]}
    printf 'get hello\r\nquit\r\n' | nc 127.0.0.1 $port
    ./build/ringctl -s 127.0.0.1:$port status
    ${command[*]} &
    ./build/ringctl -s 127.0.0.1:$port status

  Another one joins and takes its share; before it leaves, it hands that over:
    ${one_more[*]} &
    ./build/ringctl -s 127.0.0.1:$port status
    ./build/ringctl -s 127.0.0.1:$port leave $joins

Ctrl-C here stops all that it started.
END
wait "${servers[@]}" || true
say "All of them have ended"
