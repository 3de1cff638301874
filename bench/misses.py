#!/usr/bin/env python3
"""Misses at equal resident memory: which server's cache is worth more?

Both servers see the same requests from one connection: gets, and a set after each miss. The
first peer runs at -m; then every other server runs at the -m at which its resident memory comes
out the same, found by trying.
"""

import argparse
import math

from servers import BenchError, Client, Server, add_server_options, find_program, find_servers, main_guard, write_json

MB = 1 << 20
TOLERANCE = 0.015  # resident memory counts as equal within this
TRIES = 4

# name, popularity, ttl, requests a second (None: as fast as answered), how many of the first
# peer's misses ringcached may have
PATTERNS = [
    ("zipf-0.99", "zipf:0.99", "0", None, 0.82),
    ("zipf-0.8", "zipf:0.8", "0", None, 0.85),
    ("one-hit", "onehit:0.9,0.25", "0", None, 0.93),
    ("scan", "scan:0.9,0.25,{scan}", "0", None, 0.95),
    ("drift", "drift:0.9,20", "0", None, 0.86),
    ("mixed-ttl", "zipf:0.9", "list:0@2,5@1,20@1", 100_000, 0.90),
]


def mean_of(form):
    """The mean of a ringbench --value-bytes form, roughly: a largest value is left out of it."""
    name, _, numbers = form.partition(":")
    if name == "lognormal":
        median, sigma, _ = (float(number) for number in numbers.split(","))
        return median * math.exp(sigma * sigma / 2)
    if name == "uniform":
        return sum(float(number) for number in numbers.split("-")) / 2
    if name == "list":
        pairs = [pair.split("@") for pair in numbers.split(",")]
        return sum(float(number) * float(weight) for number, weight in pairs) / sum(float(weight) for _, weight in pairs)
    return float(form)


class Setup:
    def __init__(self, args):
        self.args = args
        self.memory_mb = args.memory or (32 if args.quick else 64)
        # about four times as many keys as fit, and time enough to fill and to settle
        item_bytes = 16 + mean_of(args.value_bytes) + 60
        self.keys = args.keys or int(4 * self.memory_mb * MB / item_bytes)
        self.requests = self.keys * (4 if args.quick else 8)
        self.client = Client(find_program("ringbench", args.build))
        self.kinds, self.base = find_servers(args)

    def options(self, popularity, ttl, rate):
        load = ["--popularity", popularity.format(scan=self.keys // 10), "--ttl", ttl, "--keys", self.keys,
                "--key-bytes", 16, "--value-bytes", self.args.value_bytes, "--cache-aside", "--connections", 1,
                "--pipeline", 64, "--seed", self.args.seed, "--allow-refusals"]
        if rate is None:
            return load + ["--warmup-requests", self.requests, "--requests", self.requests]
        seconds = 15 if self.args.quick else 40
        return load + ["--rate", rate, "--burst", 32, "--warmup-requests", rate * seconds, "--requests", rate * seconds]

    def run(self, kind, memory_mb, options):
        with Server(kind, memory_mb=memory_mb) as server:
            result = self.client.run(server, options)
            return {"misses": result["misses"], "miss_ratio": result["miss_ratio"], "memory_mb": memory_mb,
                    "resident": server.resident_bytes(), "refused": result["failures"]["refused"]}


def run_at_resident(setup, kind, options, wanted, memory_mb):
    """Tries limits until the resident memory is the wanted; the closest try counts."""
    best = None
    for _ in range(TRIES):
        result = setup.run(kind, memory_mb, options)
        off = abs(result["resident"] / wanted - 1)
        if best is None or off < abs(best["resident"] / wanted - 1):
            best = result
        next_mb = max(1, round(memory_mb * wanted / result["resident"]))
        if off <= TOLERANCE or next_mb == memory_mb:
            break
        memory_mb = next_mb
    return best


def compare_pattern(setup, name, popularity, ttl, rate, target, guesses):
    options = setup.options(popularity, ttl, rate)
    print(f"\n== {name}: {popularity.format(scan=setup.keys // 10)}, TTL {ttl}, {setup.keys} keys, "
          f"values of {setup.args.value_bytes} bytes", flush=True)
    base = setup.run(setup.base, setup.memory_mb, options)
    rows = {setup.base.name: base}
    for kind in setup.kinds:
        if kind.name != setup.base.name:
            row = run_at_resident(setup, kind, options, base["resident"], guesses.get(kind.name, setup.memory_mb))
            guesses[kind.name] = row["memory_mb"]
            rows[kind.name] = row
    for server, row in rows.items():
        row["ratio"] = row["misses"] / base["misses"] if base["misses"] else float("nan")
        verdict = ""
        if server == "ringcached":
            verdict = f"target {target:g} {'reached' if row['ratio'] <= target else 'MISSED'}"
        print(f"{server:12} -m {row['memory_mb']:4}, {row['resident'] / MB:6.1f} MB resident, misses "
              f"{row['miss_ratio']:.4f}, {row['ratio']:.3f} times {setup.base.name}'s {verdict}".rstrip(), flush=True)
        if row["refused"]:
            print(f"{'':12} {row['refused']} requests were refused")
        if abs(row["resident"] / base["resident"] - 1) > 2 * TOLERANCE:
            print(f"{'':12} resident memory is not equal: the ratio is not fair")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog=f"Patterns: {', '.join(pattern[0] for pattern in PATTERNS)}.")
    parser.add_argument("pattern", nargs="*", help="all without any")
    parser.add_argument("--memory", type=int, metavar="MB", help="-m of the first peer (64, quick 32)")
    parser.add_argument("--value-bytes", default="lognormal:100,1,4000", metavar="FORM", help="as for ringbench")
    parser.add_argument("--keys", type=int, metavar="N", help="how many there are (about four times what fits)")
    parser.add_argument("--seed", type=int, default=1)
    add_server_options(parser)
    args = parser.parse_args()
    names = [pattern[0] for pattern in PATTERNS]
    for name in args.pattern:
        if name not in names:
            raise BenchError(f"no pattern {name}: there are {', '.join(names)}")
    setup = Setup(args)
    results, guesses = {}, {}
    for pattern in PATTERNS:
        if not args.pattern or pattern[0] in args.pattern:
            results[pattern[0]] = compare_pattern(setup, *pattern, guesses)
            write_json(args, results)
    return 0


if __name__ == "__main__":
    main_guard(main)
