#!/usr/bin/env python3
"""Compares ringcached with other servers, workload by workload, in interleaved rounds.

Every workload starts all servers, then asks them in turn, round after round, so that whatever
else happens on the machine happens to all of them. Figures are medians over the rounds, ratios
are taken within a round (against the first peer, normally memcached) before their median is.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from statistics import median

import memory
from servers import (BenchError, Client, Echo, Others, Server, add_server_options, find_program, find_servers, main_guard,
                     write_json)
from workloads import WORKLOADS, choose


class Setup:
    """What all workloads share: the programs, the modes and the results so far."""

    def __init__(self, args):
        self.args = args
        self.is_quick = args.quick
        self.rounds = args.rounds or (3 if args.quick else 7)
        self.seconds = args.seconds or (1.5 if args.quick else 5)
        self.is_pinned = not args.no_pin and (os.cpu_count() or 1) >= 2
        self.client = Client(find_program("ringbench", args.build), cpus="1" if self.is_pinned else None)
        self.echo = find_program("ringecho", args.build)
        self.kinds, self.base = find_servers(args)
        self.results = {}

    def start(self, kind, threads=None, **rest):
        return Server(kind, threads=threads or self.args.threads,
                      cpus="0" if self.is_pinned and (threads or self.args.threads) == 1 else None, **rest)


def spread(values, form="{:.2f}"):
    """The median, and the range it lies in."""
    return f"{form.format(median(values))} ({form.format(min(values))}-{form.format(max(values))})"


def ratios(above, below):
    """Round by round."""
    return [a / b if b else float("nan") for a, b in zip(above, below)]


def verdict(value, target, at_least=True):
    if target is None:
        return ""
    reached = value >= target if at_least else value <= target
    return f"target {target:g} {'reached' if reached else 'MISSED'}"


def figures(result):
    """The numbers of one ringbench run that are compared."""
    latency = result["latency_us"]["all"]
    return {"keys_per_s": result["keys_per_s"], "cpu_us": result["server"]["cpu_us_per_key"],
            "p50": latency["p50"], "p99": latency["p99"], "p99.9": latency["p99.9"],
            "resident_mb": result["server"]["resident_bytes"] / 1e6}


def collect(rounds):
    """A list of dictionaries to a dictionary of lists."""
    return {name: [one[name] for one in rounds] for name in rounds[0]}


def print_heading(workload):
    print(f"\n== {workload.name}" + (f": {workload.about}" if workload.about else ""), flush=True)


def print_rows(rows, base):
    """One line per server; ratios against `base`."""
    print(f"{'':12} {'CPU us/key':>22} {'times less CPU':>20} {'keys/s':>10} {'times faster':>20} "
          f"{'p50':>8} {'p99':>8} {'p99.9':>8} us  {'p99 ratio':>20} {'p99.9 ratio':>20}")
    for name, row in rows.items():
        of = rows[base]
        print(f"{name:12} {spread(row['cpu_us'], '{:.3f}'):>22} {spread(ratios(of['cpu_us'], row['cpu_us'])):>20} "
              f"{median(row['keys_per_s']):>10.0f} {spread(ratios(row['keys_per_s'], of['keys_per_s'])):>20} "
              f"{median(row['p50']):>8.0f} {median(row['p99']):>8.0f} {median(row['p99.9']):>8.0f}     "
              f"{spread(ratios(row['p99'], of['p99'])):>20} {spread(ratios(row['p99.9'], of['p99.9'])):>20}",
              flush=True)


def print_verdicts(workload, rows, base):
    """How ringcached stands against the targets."""
    ours = rows.get("ringcached")
    if ours is None:
        return
    if workload.target is not None:
        times = median(ratios(rows[base]["cpu_us"], ours["cpu_us"]))
        print(f"   CPU: {times:.2f} times less than {base}, {verdict(times, workload.target)}")
    if workload.floor is not None and "echo" in rows:
        times = median(ratios(ours["cpu_us"], rows["echo"]["cpu_us"]))
        print(f"   CPU: {times:.2f} times the echo's, {verdict(times, workload.floor, at_least=False)}")
    for percentile in ("p99", "p99.9"):
        times = median(ratios(ours[percentile], rows[base][percentile]))
        print(f"   {percentile}: {times:.2f} times {base}'s, no worse within 5 %:"
              f" {'reached' if times <= 1.05 else 'MISSED'}")


def start_all(setup, workload, stack):
    """Every server, and the echo where it can play along, by name."""
    servers = {kind.name: stack.enter_context(setup.start(kind)) for kind in setup.kinds}
    if workload.echo is not None and not setup.args.no_echo:
        cpus = "0" if setup.is_pinned else None
        servers["echo"] = stack.enter_context(Echo(setup.echo, workload.echo, cpus=cpus))
    return servers


def compare_plain(setup, workload):
    with ExitStack() as stack:
        servers = start_all(setup, workload, stack)
        runs = {name: [] for name in servers}
        for _ in range(setup.rounds):
            for name, server in servers.items():
                options = workload.options + ["--duration", setup.seconds, "--warmup", 0.2]
                if setup.args.rate:
                    options += ["--rate", setup.args.rate]
                if name != "echo":
                    options += ["--preload"]
                runs[name].append(figures(setup.client.run(server, options)))
    rows = {name: collect(rounds) for name, rounds in runs.items()}
    print_rows(rows, setup.base.name)
    print_verdicts(workload, rows, setup.base.name)
    return rows


SMALL_ITEMS = ["--key-bytes", 16, "--value-bytes", 32]


def compare_scaling(setup, _):
    """One server at a time, filled further and further."""
    sizes = [10**4, 10**5, 10**6] if setup.is_quick else [10**4, 10**5, 10**6, 10**7]
    load = SMALL_ITEMS + ["--connections", 50, "--pipeline", 16]
    rows = {}
    for kind in setup.kinds:
        with setup.start(kind, memory_mb=4096) as server:
            row = rows[kind.name] = {}
            for size in sizes:
                setup.client.run(server, load + ["--keys", size, "--preload-only"])
                runs = [setup.client.run(server, load + ["--keys", size, "--duration", setup.seconds, "--warmup", 0.5])
                        for _ in range(setup.rounds)]
                if any(run["misses"] for run in runs):
                    raise BenchError(f"{kind.name} lost items at {size}")
                row[str(size)] = [run["server"]["cpu_us_per_key"] for run in runs]
            row["resident_bytes_per_item"] = server.resident_bytes() / sizes[-1]
        cells = "  ".join(f"{size}: {spread(row[str(size)], '{:.3f}')} us" for size in sizes)
        growth = row["growth"] = median(row[str(sizes[-1])]) / median(row[str(sizes[0])])
        print(f"{kind.name:12} {cells}  grows {growth:.2f} times, {row['resident_bytes_per_item']:.0f} bytes/item",
              verdict(growth, 1.6, at_least=False) if kind.name == "ringcached" else "", flush=True)
    return rows


def get_while_setting(setup, kind, set_options, seconds):
    """The latencies of paced gets of a few keys while other keys are set at a fixed rate."""
    gets = SMALL_ITEMS + ["--keys", 10000, "--connections", 20]
    with setup.start(kind, memory_mb=2048) as server:
        setup.client.run(server, gets + ["--preload-only"])
        setter = setup.client.start(server, set_options)
        getter = setup.client.start(server, gets + ["--rate", 10000, "--duration", seconds])
        got = setup.client.finish(getter, server)
        setup.client.finish(setter, server)
        return got["latency_us"]["all"]


def compare_growth(setup, _):
    items, rate = (500_000, 100_000) if setup.is_quick else (2_500_000, 125_000)
    rounds = 2 if setup.is_quick else 5
    sets = SMALL_ITEMS + ["--mix", "set=1", "--popularity", "sequential", "--connections", 8, "--pipeline", 100,
                          "--burst", 50, "--rate", rate, "--requests", items, "--first-key", 1_000_000]
    rows = {kind.name: {"without": [], "with": []} for kind in setup.kinds}
    for _ in range(rounds):
        for kind in setup.kinds:
            for label, keys in (("without", 10000), ("with", items)):
                latency = get_while_setting(setup, kind, sets + ["--keys", keys], items / rate)
                rows[kind.name][label].append(latency)
    for name, row in rows.items():
        parts = []
        for percentile in ("p99", "p99.9", "max"):
            without = [latency[percentile] for latency in row["without"]]
            growing = [latency[percentile] for latency in row["with"]]
            row[f"{percentile} ratio"] = ratios(growing, without)
            parts.append(f"{percentile} {median(without):.0f} -> {median(growing):.0f} us")
        print(f"{name:12} {', '.join(parts)}; p99.9 grows {spread(row['p99.9 ratio'])} times",
              verdict(median(row["p99.9 ratio"]), 1.2, at_least=False) if name == "ringcached" else "", flush=True)
    return rows


def compare_idle(setup, _):
    busy = ["--connections", 50, "--duration", setup.seconds, "--warmup", 0.2, "--preload"]
    idle = 2000 if setup.is_quick else 10000
    rows = {}
    with ExitStack() as stack:
        servers = {kind.name: stack.enter_context(setup.start(kind, connections=idle + 200)) for kind in setup.kinds}
        runs = {name: {"alone": [], "among": []} for name in servers}
        for _ in range(setup.rounds):
            for name, server in servers.items():
                runs[name]["alone"].append(figures(setup.client.run(server, busy)))
                runs[name]["among"].append(figures(setup.client.run(server, busy + ["--idle", idle])))
    for name, both in runs.items():
        alone, among = collect(both["alone"]), collect(both["among"])
        row = rows[name] = {"cpu ratio": ratios(among["cpu_us"], alone["cpu_us"]),
                            "p99 ratio": ratios(among["p99"], alone["p99"]), "alone": alone, "among": among}
        print(f"{name:12} among {idle} idle: CPU {spread(row['cpu ratio'])} times, p99 {spread(row['p99 ratio'])} times "
              "that of 50 alone", flush=True)
    return rows


def compare_workers(setup, _):
    """Two workers on two cores. The client needs a share of the same cores, so the throughput
    that it sees cannot double; what the two workers could do with both cores is 2 / (CPU per key)
    against 1 / (CPU per key of one worker)."""
    rows = {}
    for pipeline in (1, 16):
        options = ["--connections", 50, "--pipeline", pipeline, "--duration", setup.seconds, "--warmup", 0.2,
                   "--preload", "--threads", 1 if pipeline == 1 else 2]
        client = Client(find_program("ringbench", setup.args.build))
        with ExitStack() as stack:
            servers = {(kind.name, threads): stack.enter_context(Server(kind, threads=threads))
                       for kind in setup.kinds for threads in (1, 2)}
            runs = {key: [] for key in servers}
            for _ in range(setup.rounds):
                for key, server in servers.items():
                    runs[key].append(figures(client.run(server, options)))
        for kind in setup.kinds:
            one, two = collect(runs[kind.name, 1]), collect(runs[kind.name, 2])
            capacity = [2 * times for times in ratios(one["cpu_us"], two["cpu_us"])]
            faster = ratios(two["keys_per_s"], one["keys_per_s"])
            rows[f"{kind.name} pipeline {pipeline}"] = {"capacity": capacity, "faster": faster}
            print(f"{kind.name:12} pipeline {pipeline:2}: capacity of two workers {spread(capacity)} times one's, "
                  f"seen by a client on the same cores {spread(faster)} times",
                  verdict(median(capacity), 1.7) if kind.name == "ringcached" else "", flush=True)
    return rows


def compare_memory(setup, _):
    """What memory.py says about items held at the same -m, and about memory per item."""
    memory_setup = memory.Setup(setup.args)
    return {"held": memory.measure_held(memory_setup), "bytes": memory.measure_bytes(memory_setup)}


def run_memtier(setup, program, server, options, seconds):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [program, "-s", "127.0.0.1", "-p", str(server.port), "-P", "memcache_text", "-t", "1",
                   "--hide-histogram", "-d", "100", "--key-maximum", "10000", "--json-out-file", out.name]
        command += ["--test-time", str(seconds)] if seconds else []
        if setup.is_pinned:
            command = ["taskset", "-c", "1"] + command
        before = server.cpu_seconds()
        done = subprocess.run(command + options, capture_output=True, check=False)
        cpu = server.cpu_seconds() - before
        if done.returncode != 0:
            raise BenchError(f"memtier_benchmark failed: {done.stderr.decode(errors='replace')}")
        with open(out.name, encoding="utf-8") as file:
            totals = json.load(file)["ALL STATS"]["Totals"]
    latency = totals["Percentile Latencies"]
    return {"keys_per_s": totals["Ops/sec"], "cpu_us": cpu * 1e6 / totals["Count"],
            "p50": latency["p50.00"] * 1e3, "p99": latency["p99.00"] * 1e3, "p99.9": latency["p99.90"] * 1e3}


def compare_memtier(setup, _):
    program = setup.args.memtier or shutil.which("memtier_benchmark")
    if not program:
        print("memtier_benchmark is not on PATH (or give --memtier PATH): left out")
        return {}
    seconds = max(1, round(setup.seconds))
    fill = ["--ratio", "1:0", "-c", "1", "--key-pattern", "S:S", "-n", "10000", "--pipeline", "10"]
    all_rows = {}
    with ExitStack() as stack:
        servers = {kind.name: stack.enter_context(setup.start(kind)) for kind in setup.kinds}
        for server in servers.values():
            run_memtier(setup, program, server, fill, None)
        for label, ratio in (("get", "0:1"), ("set", "1:0")):
            for pipeline in (1, 16):
                runs = {name: [] for name in servers}
                options = ["--ratio", ratio, "-c", "50", "--pipeline", str(pipeline)]
                for _ in range(setup.rounds):
                    for name, server in servers.items():
                        runs[name].append(run_memtier(setup, program, server, options, seconds))
                rows = {name: collect(rounds) for name, rounds in runs.items()}
                print(f"-- memtier {label}, pipeline {pipeline}")
                print_rows(rows, setup.base.name)
                all_rows[f"{label} pipeline {pipeline}"] = rows
    return all_rows


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="compare.sh", description="Compares ringcached with memcached and others, side by side.",
        epilog="Workloads: " + ", ".join(workload.name for workload in WORKLOADS) +
        "; groups: " + ", ".join(dict.fromkeys(workload.group for workload in WORKLOADS)) + ".")
    parser.add_argument("workload", nargs="*", help="names or groups; all without any")
    add_server_options(parser)
    parser.add_argument("--memtier", metavar="PATH", help="memtier_benchmark, if it is not on PATH")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--seconds", type=float, metavar="S", help="per server and round")
    parser.add_argument("--memory", type=int, metavar="MB", help="-m in the memory workload (256, quick 64)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="workers per server (1)")
    parser.add_argument("--rate", type=float, metavar="N",
                        help="plain workloads at this many requests a second, latencies from the due times")
    parser.add_argument("--no-echo", action="store_true", help="leave the echo server out")
    parser.add_argument("--no-pin", action="store_true",
                        help="let servers and client share all CPUs (servers run on CPU 0, the client on CPU 1)")
    return parser.parse_args()


def main():
    args = parse_arguments()
    try:
        workloads = choose(args.workload)
    except KeyError as error:
        raise BenchError(f"no workload {error}: see compare.sh --help") from error
    setup = Setup(args)
    print(f"servers: {', '.join(kind.name for kind in setup.kinds)}; {setup.rounds} rounds of {setup.seconds} s; "
          f"{args.threads} worker{'s' if args.threads > 1 else ''}; median (least-most)")
    for workload in workloads:
        print_heading(workload)
        function = globals()[workload.special] if workload.special else compare_plain
        with Others() as others:
            setup.results[workload.name] = function(setup, workload)
        if others.cpus > 0.1:
            print(f"   other processes used {others.cpus:.1f} of {os.cpu_count()} CPUs meanwhile: latencies and "
                  "throughput are not to be trusted")
        setup.results[workload.name]["cpus used by others"] = others.cpus
        write_json(args, setup.results)
    return 0


if __name__ == "__main__":
    main_guard(main)
