#!/bin/bash
# Installs what is missing, builds ringcached in ./build and starts it on this machine's loopback.
set -eu
cd "$(dirname "$0")"
. ./setup.sh

usage() {
    cat <<END
usage: ./quickstart.sh [--port NUM] [--no-start] [-- options for ringcached]

  --port NUM   listen on this port (default 11211)
  --no-start   install and build only
  --           what follows is for the server, such as -m 1024
END
}

port=11211
starts=yes
while [ $# -gt 0 ]; do
    case $1 in
    --port) [ $# -ge 2 ] || give_up "--port needs a number"; port=$2; shift ;;
    --no-start) starts=no ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) usage >&2 && give_up "there is no option $1" ;;
    esac
    shift
done

say "Packages"
install_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_TRY[@]}"

say "Building in $PWD/build"
build_in build --disable-development || give_up "the build failed: its messages are above"

if [ $starts = no ]; then
    say "Built: start it with ./build/ringcached -l 127.0.0.1$([ "$(id -u)" != 0 ] || echo ' -u nobody')"
    exit
fi

say "Starting on 127.0.0.1:$port"
command=(./build/ringcached -l 127.0.0.1 -p "$port")
[ "$(id -u)" != 0 ] || command+=(-u nobody)
command+=("$@")
printf '%s\n' "${command[*]}"
"${command[@]}" &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM

# Asks the server for its version, over the same bash that runs this script.
answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'version\r\n' >&3 && read -r -t 2 reply <&3 &&
        [ "${reply#VERSION}" != "$reply" ]) 2>/dev/null
}

for _ in $(seq 100); do
    ! answers || break
    kill -0 $server 2>/dev/null ||
        give_up "the server ended: its reason is above (is port $port taken? try --port)"
    sleep 0.1
done
answers || give_up "the server does not answer on 127.0.0.1:$port"

say "It runs. In another terminal, type:"
cat <<END

  printf 'set hello 0 0 5\r\nworld\r\nget hello\r\nquit\r\n' | nc 127.0.0.1 $port

and see STORED, VALUE hello 0 5, world, END. Or with Python's pymemcache:

  python3 -c 'from pymemcache.client.base import Client; c = Client(("127.0.0.1", $port)); \\
              c.set("hello", "world"); print(c.get("hello"), c.stats()[b"version"])'

Any other memcached client works the same way: give it 127.0.0.1:$port.
Ctrl-C here stops the server.
END
wait $server
