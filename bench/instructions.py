#!/usr/bin/env python3
"""Instructions that a server needs for one request, in user mode, counted by callgrind.

The server runs twice, once for N requests and once for 2N; the difference is what N requests
cost, without start-up, connecting and filling. Of the server's threads the one that did most
of the difference counts: timers and background threads depend on the clock.
"""

import argparse
import glob
import os
import shutil
import tempfile

from servers import BenchError, Client, Server, add_server_options, find_program, find_servers, main_guard, write_json

# memcached sets its descriptor limits to -c, and valgrind allows only what it has left itself
DESCRIPTORS = 1024
VALGRIND_KEEPS = 12

# name, ringbench options
REQUESTS = [
    ("get", ["--mix", "get=1"]),
    ("get, 32 per read", ["--mix", "get=1", "--pipeline", 32]),
    ("set", ["--mix", "set=1"]),
    ("set, 32 per read", ["--mix", "set=1", "--pipeline", 32]),
    ("meta get", ["--protocol", "meta"]),
    ("meta get, 32 per read", ["--protocol", "meta", "--pipeline", 32]),
    ("binary get", ["--protocol", "binary"]),
    ("binary get, 32 per read", ["--protocol", "binary", "--pipeline", 32]),
    ("multiget 100, per key", ["--multiget", 100]),
]


def count_by_thread(client, kind, options, requests):
    """The instructions of each thread, by its number."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # the server may run as another user
        out = os.path.join(folder, "count")
        prefix = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", "valgrind", "-q", "--vgdb=no", "--tool=callgrind",
                  "--separate-threads=yes", f"--callgrind-out-file={out}"]
        with Server(kind, memory_mb=64, connections=DESCRIPTORS - VALGRIND_KEEPS, prefix=prefix) as server:
            client.run(server, options + ["--preload", "--keys", 1000, "--connections", 1, "--requests", requests,
                                          "--key-bytes", 16, "--value-bytes", 32])
        counts = {}
        for path in glob.glob(out + "-*"):
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("totals:"):
                        counts[path[len(out):]] = int(line.split()[1])
        if not counts:
            raise BenchError(f"callgrind left no counts for {kind.name}: did it stop by SIGTERM?")
        return counts


def instructions_per_key(client, kind, options, requests):
    multiget = options[options.index("--multiget") + 1] if "--multiget" in options else 1
    requests = max(100, requests // multiget)
    once = count_by_thread(client, kind, options, requests)
    twice = count_by_thread(client, kind, options, 2 * requests)
    return max(count - once.get(thread, 0) for thread, count in twice.items()) / (requests * multiget)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, metavar="N", help="to count (20000, quick 5000)")
    add_server_options(parser)
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        raise BenchError("valgrind is not installed: apt-get install valgrind")
    client = Client(find_program("ringbench", args.build))
    kinds, _ = find_servers(args)
    requests = args.requests or (5000 if args.quick else 20000)
    results = {}
    failures = []
    print(f"{'':26}" + "".join(f"{kind.name:>14}" for kind in kinds))
    for name, options in REQUESTS:
        row = results[name] = {}
        for kind in kinds:
            try:
                row[kind.name] = instructions_per_key(client, kind, options, requests)
            except BenchError as error:  # a peer may not know the protocol
                failures.append(f"{kind.name}, {name}: {error}")
        print(f"{name:26}" + "".join(f"{row[kind.name]:14.0f}" if kind.name in row else f"{'failed':>14}"
                                     for kind in kinds), flush=True)
        write_json(args, results)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    main_guard(main)
