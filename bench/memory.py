#!/usr/bin/env python3
"""What servers make of the memory they are given: items held, resident memory, expired items.

What is held is found by asking for a random sample of the keys, never by believing `stats`.
"""

import argparse
import time

from servers import BenchError, Client, Server, add_server_options, find_program, find_servers, main_guard, write_json

MB = 1 << 20
LOGNORMAL_MEAN = 243  # of lognormal:150,1,8000, about

# name, key bytes, value bytes (a ringbench form), mean bytes of a value, how many times
# memcached's items per resident MB are to be held
SHAPES = [
    ("small", 16, "32", 32, 1.5),
    ("medium", 32, "200", 200, 1.13),
    ("lognormal", 16, "lognormal:150,1,8000", LOGNORMAL_MEAN, 1.2),
]

STAGES = [100, 1000, 300]  # value bytes
SAMPLE = 100_000


class Setup:
    def __init__(self, args):
        self.args = args
        self.memory_mb = args.memory or (64 if args.quick else 256)
        self.limit = self.memory_mb * MB
        self.client = Client(find_program("ringbench", args.build))
        self.kinds, self.base = find_servers(args)

    def start(self, kind, **rest):
        return Server(kind, memory_mb=self.memory_mb, **rest)

    def fill(self, server, keys, key_bytes, value, first=0, ttl=0, extra=()):
        """Sets `keys` keys once, in order of their numbers. Refusals are counted, not fatal."""
        return self.client.run(server, ["--preload-only", "--keys", int(keys), "--first-key", int(first),
                                        "--key-bytes", key_bytes, "--value-bytes", value, "--ttl", ttl,
                                        "--connections", 4, "--allow-refusals", *extra])

    def held(self, server, keys, key_bytes, value, first=0):
        """The share of these keys that the server still holds, and their values' mean size."""
        sample = min(SAMPLE, int(keys) * 2)
        got = self.client.run(server, ["--requests", sample, "--keys", int(keys), "--first-key", int(first),
                                       "--key-bytes", key_bytes, "--value-bytes", value, "--verify",
                                       "--connections", 4, "--pipeline", 16])
        return got["hits"] / got["keys"], got["value_bytes"] / max(1, got["hits"])


def report(name, text, verdict=""):
    print(f"{name:12} {text} {verdict}".rstrip(), flush=True)


def verdict(kind, value, target, at_least=True):
    if kind.name != "ringcached" or target is None:
        return ""
    reached = value >= target if at_least else value <= target
    return f"target {target:g} {'reached' if reached else 'MISSED'}"


def measure_held(setup):
    """Items held at the same -m, per MB of resident memory."""
    results = {}
    for shape, key_bytes, value, mean, target in SHAPES:
        print(f"\n== held {shape}: {key_bytes}-byte keys, values of {value} bytes, -m {setup.memory_mb}")
        keys = 1.6 * setup.limit / (key_bytes + mean + 16)
        rows = results[shape] = {}
        for kind in setup.kinds:
            with setup.start(kind) as server:
                refused = setup.fill(server, keys, key_bytes, value)["failures"]["refused"]
                share, value_bytes = setup.held(server, keys, key_bytes, value)
                resident = server.resident_bytes()
                rows[kind.name] = {"held": share * keys, "payload": share * keys * (key_bytes + value_bytes) / resident, "resident_mb": resident / MB, "refused": refused,
                                   "per_mb": share * keys / (resident / MB)}
                if share > 0.97:
                    raise BenchError(f"{kind.name} was not full: it holds {share:.0%} of {keys:.0f} keys")
        base = rows[setup.base.name]["per_mb"]
        for kind in setup.kinds:
            row = rows[kind.name]
            row["ratio"] = row["per_mb"] / base
            report(kind.name, f"{row['held'] / 1e6:.2f} M items, {row['resident_mb']:.0f} MB resident "
                   f"({row['payload']:.0%} keys and values), {row['per_mb']:.0f} items/MB, {row['ratio']:.2f} times {setup.base.name}, {row['refused']} refused",
                   verdict(kind, row["ratio"], target))
    return results


def pattern_stages(setup, server):
    for stage, size in enumerate(STAGES):
        setup.fill(server, 2 * setup.limit / (size + 80), 16, size, first=stage * 10**9)


def pattern_rewrite(setup, server):
    """The same keys again and again, larger and smaller."""
    for size in (50, 500, 100, 2000, 20):
        setup.fill(server, setup.limit / 250, 16, size)


def pattern_growing(setup, server):
    for step in range(11):
        size = 20 << step
        setup.fill(server, 0.6 * setup.limit / (size + 80), 16, size, first=step * 10**9)


def pattern_churn(setup, server):
    """Sets and deletes of all sizes in random order."""
    setup.client.run(server, ["--mix", "set=3,delete=1", "--keys", int(setup.limit / 100), "--value-bytes",
                              "lognormal:150,1,8000", "--requests", int(setup.limit / 80), "--connections", 4,
                              "--pipeline", 16, "--allow-refusals"])


def filling(key_bytes, value, mean, ttl=0, times=2.5):
    def fill(setup, server):
        setup.fill(server, times * setup.limit / (key_bytes + mean + 50), key_bytes, value, ttl=ttl)
    return fill


PATTERNS = [
    ("tiny", filling(16, "1", 1)),
    ("small", filling(16, "32", 32)),
    ("medium", filling(32, "200", 200)),
    ("lognormal", filling(16, "lognormal:150,1,8000", LOGNORMAL_MEAN)),
    ("4 KB", filling(16, "4096", 4096)),
    ("100 KB", filling(16, "102400", 102400)),
    ("900 KB", filling(16, "921600", 921600)),
    ("all sizes", filling(16, "lognormal:1000,2.5,900000", 16000)),
    ("mixed TTLs", filling(16, "100", 100, ttl="list:1@1,2@1,5@1,60@1")),
    ("stages", pattern_stages),
    ("rewrite", pattern_rewrite),
    ("growing", pattern_growing),
    ("churn", pattern_churn),
]


def measure_resident(setup):
    """The most resident memory over -m while filling in various ways."""
    results = {}
    print(f"\n== resident: the most resident memory while filling, over -m {setup.memory_mb}")
    for kind in setup.kinds:
        row = results[kind.name] = {}
        for name, pattern in PATTERNS:
            with setup.start(kind) as server:
                pattern(setup, server)
                row[name] = server.resident_peak_bytes() / setup.limit
        worst = max(row.values())
        cells = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row.items())
        report(kind.name, f"worst {worst:.2f}: {cells}", verdict(kind, worst, 1.10, at_least=False))
    return results


def measure_stages(setup):
    """Live payload over -m when the sizes of values change."""
    results = {}
    print(f"\n== stages: values of 100, then 1,000, then 300 bytes at -m {setup.memory_mb}, live keys and values over -m")
    for kind in setup.kinds:
        rows = results[kind.name] = []
        with setup.start(kind) as server:
            for stage, size in enumerate(STAGES):
                keys = [2 * setup.limit / (each + 80) for each in STAGES]
                refused = setup.fill(server, keys[stage], 16, size, first=stage * 10**9)["failures"]["refused"]
                payload = 0
                for earlier in range(stage + 1):
                    share, _ = setup.held(server, keys[earlier], 16, STAGES[earlier], first=earlier * 10**9)
                    payload += share * keys[earlier] * (16 + STAGES[earlier])
                    if earlier == stage:
                        own = share * keys[earlier] * (16 + size) / setup.limit
                rows.append({"bytes": size, "share": payload / setup.limit, "newest": own, "refused": refused,
                             "resident": server.resident_bytes() / setup.limit})
        cells = "; ".join(f"{row['bytes']} B: {row['share']:.0%} (of these {row['newest']:.0%}), resident "
                          f"{row['resident']:.2f}, {row['refused']} refused" for row in rows)
        report(kind.name, cells, verdict(kind, min(row["newest"] for row in rows), 0.6))
    return results


def measure_expired(setup):
    """Whether expired items make room, or living ones have to."""
    key_bytes, value, ttl, chunks = 16, 200, 20, 10
    results = {}
    print(f"\n== expired: 45 % living, 45 % expired, then 45 % new, {value}-byte values, -m {setup.memory_mb}")
    for kind in setup.kinds:
        many = 1.6 * setup.limit / (key_bytes + value + 16)
        with setup.start(kind) as server:
            setup.fill(server, many, key_bytes, value)
            capacity = setup.held(server, many, key_bytes, value)[0] * many
        chunk = int(0.45 * capacity / chunks)
        with setup.start(kind) as server:
            for number in range(chunks):
                setup.fill(server, chunk, key_bytes, value, first=number * chunk)
                setup.fill(server, chunk, key_bytes, value, first=10**9 + number * chunk, ttl=ttl)
            time.sleep(ttl + 2)
            refused = setup.fill(server, chunk * chunks, key_bytes, value, first=2 * 10**9)["failures"]["refused"]
            living, _ = setup.held(server, chunk * chunks, key_bytes, value)
            new, _ = setup.held(server, chunk * chunks, key_bytes, value, first=2 * 10**9)
        results[kind.name] = {"capacity": capacity, "living": living, "new": new, "refused": refused}
        report(kind.name, f"living held {living:.1%}, new held {new:.1%}, {refused} refused", verdict(kind, living, 0.9995))
    return results


def measure_bytes(setup):
    """Resident bytes per item with plenty of memory."""
    items = 10**6 if setup.args.quick else 10**7
    results = {}
    print(f"\n== bytes: resident bytes per item, {items} items of 16-byte keys and 32-byte values")
    for kind in setup.kinds:
        with Server(kind, memory_mb=4096) as server:
            before = server.resident_bytes()
            setup.fill(server, items, 16, 32)
            share, _ = setup.held(server, items, 16, 32)
            resident = server.resident_bytes()
        results[kind.name] = {"bytes": resident / items, "grown": (resident - before) / items, "held": share}
        report(kind.name, f"{resident / items:.1f} bytes, {(resident - before) / items:.1f} above the empty server's, "
               f"held {share:.1%}")
    return results


TESTS = {"held": measure_held, "resident": measure_resident, "stages": measure_stages, "expired": measure_expired,
         "bytes": measure_bytes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"Tests: {', '.join(TESTS)}.")
    parser.add_argument("test", nargs="*", help="all without any")
    parser.add_argument("--memory", type=int, metavar="MB", help="the limit, -m (256, quick 64)")
    add_server_options(parser)
    args = parser.parse_args()
    results = {}
    for name in args.test:
        if name not in TESTS:
            raise BenchError(f"no test {name}: there are {', '.join(TESTS)}")
    setup = Setup(args)
    for name in args.test or TESTS:
        results[name] = TESTS[name](setup)
        write_json(args, results)
    return 0


if __name__ == "__main__":
    main_guard(main)
