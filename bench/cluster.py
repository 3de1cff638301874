#!/usr/bin/env python3
"""Measures a cluster of ringcached on this machine, against one plain memcached in the same rounds.

All nodes are single-worker processes on loopback. CPU is that of all server processes together.

    cost     CPU per set and get at (N, R, W), over that of a plain memcached
    memory   resident bytes per item on each node, over those of a standalone server
    faults   latencies and failed requests while one node is killed, frozen or cut off, and refills
    refill   how fast a node that restarted empty gets its share back
    compare  what it costs to find that two replicas hold the same
    heal     time until all owners agree after a cut with writes on both sides
    idle     CPU of a cluster that nobody asks
"""

import argparse
import os
import shutil
import signal
import socket
import tempfile
import time
from statistics import median

from servers import (BenchError, Client, Kind, Others, Server, add_server_options, find_program, find_servers, free_port,
                     main_guard, write_json)

SMALL = ["--key-bytes", 16, "--value-bytes", 32]


class Node(Server):
    """One member. Keeps its ports and its folder when it is started again."""

    def __init__(self, cluster, number):
        self.name = f"n{number + 1}"
        self.peer_port = free_port()
        self.cluster = cluster
        self.state = os.path.join(cluster.folder, self.name)
        seeds = [f"127.0.0.1:{node.peer_port}" for node in cluster.nodes]
        words = list(cluster.kind.command) + ["--node-name", self.name, "--cluster-listen", f"127.0.0.1:{self.peer_port}",
                                              "--state-file", self.state, "--debug-commands"]
        words += [word for seed in seeds[:1] for word in ("--join", seed)] + cluster.options
        super().__init__(Kind(self.name, words), memory_mb=cluster.memory_mb, connections=4096, cpus=cluster.cpus)

    def ask(self, line, end=b"END\r\n"):
        """The answer to one line, as lines of text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(line.encode() + b"\r\n")
            answer = b""
            while not answer.endswith(end) and not answer.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"OK")):
                piece = connection.recv(65536)
                if not piece:
                    break
                answer += piece
        return answer.decode().splitlines()

    def ask_all(self, lines):
        """All answers that end with END, as one text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("".join(line + "\r\n" for line in lines).encode())
            answer = b""
            while answer.count(b"END\r\n") < len(lines):
                piece = connection.recv(1 << 20)
                if not piece:
                    break
                answer += piece
        return answer

    def figures(self, question):
        """The STAT lines of an answer as a dictionary; numbers as numbers."""
        figures = {}
        for line in self.ask(question):
            words = line.split(" ", 2)
            if words[0] == "STAT" and len(words) == 3:
                figures[words[1]] = int(words[2]) if words[2].lstrip("-").isdigit() else words[2]
        return figures

    def kill(self):
        self.process.kill()
        self.process.wait()


class Cluster:
    """Nodes that have found each other and hold what they should. Use as a context manager."""

    def __init__(self, kind, count=3, options=(), memory_mb=1024, cpus=None):
        self.kind, self.options, self.memory_mb, self.cpus = kind, [str(word) for word in options], memory_mb, cpus
        self.folder = tempfile.mkdtemp(prefix="ringcached-bench-")
        os.chmod(self.folder, 0o777)
        self.nodes = []
        try:
            for number in range(count):
                self.nodes.append(Node(self, number))
            self.wait_until_settled()
        except BaseException:
            self.stop()
            raise

    def wait_until(self, what, is_true, seconds=120):
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > deadline:
                raise BenchError(f"the cluster did not come to this within {seconds} s: {what}")
            time.sleep(0.02)

    def is_settled(self):
        for node in self.nodes:
            figures = node.figures("cluster status")
            states = [figures.get(f"{other.name}:status") for other in self.nodes]
            if (figures.get("members") != len(self.nodes) or figures.get("warming") != 0
                    or figures.get("is_settled") != "yes" or set(states) != {"up"}):
                return False
        return True

    def wait_until_settled(self, seconds=120):
        self.wait_until("all nodes up, warm, with a balanced table", self.is_settled, seconds)

    @property
    def address(self):
        return ",".join(node.address for node in self.nodes)

    @property
    def pid(self):
        return ",".join(str(node.pid) for node in self.nodes)

    def cpu_seconds(self):
        return sum(node.cpu_seconds() for node in self.nodes)

    def stop(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.process.kill()
                node.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Some:
    """Some of the nodes, for ringbench."""

    def __init__(self, nodes):
        self.kind = Kind("+".join(node.name for node in nodes), [])
        self.address = ",".join(node.address for node in nodes)
        self.pid = ",".join(str(node.pid) for node in nodes)


class Setup:
    def __init__(self, args):
        self.args = args
        self.is_quick = args.quick
        self.rounds = args.rounds or (3 if args.quick else 7)
        self.seconds = args.seconds or (1.5 if args.quick else 4)
        pinned = not args.no_pin and (os.cpu_count() or 1) >= 2
        self.cpus = "0" if pinned else None
        self.client = Client(find_program("ringbench", args.build), cpus="1" if pinned else None)
        kinds, self.base = find_servers(args)
        self.kind = kinds[0]
        self.results = {}


def verdict(value, target):
    return f"target {target:g} {'reached' if value <= target else 'MISSED'}"


# --- cost ---

def load(operation, pipeline):
    return SMALL + ["--mix", f"{operation}=1", "--pipeline", pipeline, "--connections", 50, "--keys", 10000]


# operation, pipeline, R, the most it may cost over a plain memcached's
COSTS = [("set", 1, 2, 1.9), ("set", 16, 2, 3.0), ("get", 1, 2, 1.6), ("get", 16, 2, None), ("get", 1, 1, 1.0),
         ("get", 16, 1, None)]


def measure_cost(setup):
    rows = {}
    for read_quorum in (2, 1):
        options = ["--read-quorum", read_quorum]
        with Cluster(setup.kind, options=options, cpus=setup.cpus) as cluster, \
                Server(setup.base, memory_mb=1024, cpus=setup.cpus) as plain:
            for operation, pipeline, quorum, target in COSTS:
                if quorum != read_quorum:
                    continue
                ratios, ours = [], []
                for _ in range(setup.rounds):
                    words = load(operation, pipeline) + ["--duration", setup.seconds, "--warmup", 0.3, "--preload"]
                    runs = [setup.client.run(server, words) for server in (plain, cluster)]
                    cpu = [run["server"]["cpu_us_per_key"] for run in runs]
                    ratios.append(cpu[1] / cpu[0])
                    ours.append(runs[1])
                name = f"{operation}-p{pipeline}-r{quorum}"
                value = median(ratios)
                rows[name] = {"ratio": ratios, "p99": [run["latency_us"]["all"]["p99"] for run in ours]}
                print(f"{name:14} {value:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) times {setup.base.name}'s CPU; "
                      f"{median(run['server']['cpu_us_per_key'] for run in ours):.2f} us, "
                      f"p99 {median(rows[name]['p99']):.0f} us"
                      + (f"; {verdict(value, target)}" if target else ""), flush=True)
    return rows


# --- memory ---

def measure_memory(setup):
    keys = 200_000 if setup.is_quick else 1_000_000
    words = SMALL + ["--keys", keys, "--connections", 20, "--pipeline", 16, "--preload-only"]

    def grown(server, processes):
        """From as many items to twice as many, so that what there is once does not count."""
        sizes = []
        for first in (0, keys):
            setup.client.run(server, words + ["--first-key", first])
            time.sleep(1)
            sizes.append([process.resident_bytes() for process in processes])
        return [(after - before) / keys for before, after in zip(*sizes)]

    with Server(setup.kind, memory_mb=2048, cpus=setup.cpus) as alone:
        standalone = grown(alone, [alone])[0]
    with Cluster(setup.kind, memory_mb=2048, cpus=setup.cpus) as cluster:
        nodes = grown(cluster, cluster.nodes)
    more = max(nodes) - standalone
    print(f"memory         {standalone:.1f} bytes per item standalone, {', '.join(f'{one:.1f}' for one in nodes)} on the nodes: "
          f"{more:.1f} more; {verdict(more, 8)}", flush=True)
    return {"standalone": standalone, "nodes": nodes}


# --- faults ---

def paced(setup, seconds):
    return SMALL + ["--mix", "get=9,set=1", "--connections", 20, "--rate", 4000, "--duration", seconds, "--keys", 20000,
                    "--allow-refusals", "--timeout", 20]


FAULTS = {
    "kill": (lambda node: node.kill(), None),
    "freeze": (lambda node: node.process.send_signal(signal.SIGSTOP), lambda node: node.process.send_signal(signal.SIGCONT)),
    "cut": (lambda node: [node.ask(f"debug cut {peer.name}", b"\r\n") for peer in node.cluster.nodes if peer is not node],
            lambda node: [node.ask(f"debug heal {peer.name}", b"\r\n") for peer in node.cluster.nodes if peer is not node]),
}


def describe(run):
    latency = run["latency_us"]["all"]
    failed = sum(count for count in run["failures"].values() if isinstance(count, int))
    return {"p99": latency["p99"], "p99.9": latency["p99.9"], "max": latency["max"], "requests": run["requests"],
            "failed": failed}


def fault_phases(setup, cluster, name, begin, end):
    """Rounds of calm, during and after, asked through the nodes that stay."""
    seconds = setup.seconds
    stays = Some(cluster.nodes[:2])
    victim = cluster.nodes[2]
    calm = describe(setup.client.run(stays, paced(setup, seconds), is_strict=False))
    first = setup.client.start(stays, paced(setup, 1.2))
    time.sleep(0.2)
    begin(victim)
    first = describe(setup.client.finish(first, stays, is_strict=False))
    during = describe(setup.client.run(stays, paced(setup, seconds), is_strict=False))
    if end is None:
        refill = setup.client.start(stays, paced(setup, seconds))
        time.sleep(0.2)
        victim.start()
    else:
        refill = setup.client.start(stays, paced(setup, seconds))
        end(victim)
    after = describe(setup.client.finish(refill, stays, is_strict=False))
    cluster.wait_until_settled()
    return {"calm": calm, "first second": first, "during": during, "after": after}


def measure_faults(setup):
    rows = {}
    with Cluster(setup.kind, cpus=setup.cpus, options=[]) as cluster:
        setup.client.run(cluster, SMALL + ["--keys", 20000, "--preload-only"])
        for name, (begin, end) in FAULTS.items():
            rounds = [fault_phases(setup, cluster, name, begin, end) for _ in range(2 if setup.is_quick else 3)]
            rows[name] = rounds
            times = {phase: median(one[phase]["p99"] / one["calm"]["p99"] for one in rounds) for phase in ("during", "after")}
            failed = [one[phase]["failed"] / max(1, one[phase]["requests"]) for one in rounds for phase in ("during", "after")]
            first = [one["first second"] for one in rounds]
            print(f"{name:14} p99 {median(one['calm']['p99'] for one in rounds):.0f} us calm; during "
                  f"{times['during']:.2f} times, {verdict(times['during'], 2)}; after {times['after']:.2f} times, "
                  f"{verdict(times['after'], 3)}; failed {max(failed):.2%}, {verdict(max(failed), 0.001)}; "
                  f"in the first second {max(one['failed'] for one in first)} failed, longest {max(one['max'] for one in first) / 1000:.0f} ms",
                  flush=True)
    return rows


# --- refill ---

def refill_rate(setup, cluster, words, keys):
    setup.client.run(cluster, words)
    victim = cluster.nodes[2]
    victim.kill()
    victim.start()
    started = time.monotonic()
    cluster.wait_until("the emptied node holds everything again",
                       lambda: int(victim.stats()["curr_items"]) >= keys * 0.999, 300)
    return time.monotonic() - started


def measure_refill(setup):
    keys = 200_000 if setup.is_quick else 1_000_000
    rows = {}
    with Cluster(setup.kind, memory_mb=2048, cpus=None) as cluster:
        seconds = refill_rate(setup, cluster, SMALL + ["--keys", keys, "--connections", 20, "--pipeline", 16, "--preload-only"],
                              keys)
        rows["small"] = keys / seconds
        print(f"refill         {keys} small cells in {seconds:.1f} s: {keys / seconds:.0f} a second "
              f"(target 200000 {'reached' if keys / seconds >= 2e5 else 'MISSED'})", flush=True)
    with Cluster(setup.kind, memory_mb=2048, cpus=None) as cluster:
        count, size = (2000, 102400) if setup.is_quick else (6000, 102400)
        seconds = refill_rate(setup, cluster, ["--keys", count, "--value-bytes", size, "--connections", 4, "--preload-only"],
                              count)
        rate = count * size / seconds / 1e6
        rows["large"] = rate
        print(f"               {count} values of 100 KB in {seconds:.1f} s: {rate:.0f} MB a second "
              f"(target 100 {'reached' if rate >= 100 else 'MISSED'})", flush=True)
    return rows


# --- compare, heal, idle ---

def measure_compare(setup):
    keys = 200_000 if setup.is_quick else 1_000_000
    with Cluster(setup.kind, count=2, memory_mb=2048, options=["--copies", 2, "--write-quorum", 2], cpus=setup.cpus) as cluster:
        setup.client.run(cluster, SMALL + ["--keys", keys, "--connections", 20, "--pipeline", 16, "--preload-only"])
        time.sleep(3)
        before = [node.figures("stats repair") for node in cluster.nodes]
        cpu = cluster.cpu_seconds()
        cluster.nodes[0].ask("debug repair", b"\r\n")
        time.sleep(2)
        cpu = cluster.cpu_seconds() - cpu
        after = [node.figures("stats repair") for node in cluster.nodes]
        idle = cluster.cpu_seconds()
        time.sleep(2)
        idle = cluster.cpu_seconds() - idle
    more = [{name: new[name] - old[name] for name in new if isinstance(new[name], int)} for old, new in zip(before, after)]
    sent = sum(one.get("bytes_sent", 0) for one in more)
    print(f"compare        {keys} equal keys: {sent} bytes exchanged ({verdict(sent, 10000)}), "
          f"{(cpu - idle) * 1e3:.0f} ms of CPU beyond the idle {idle * 1e3:.0f} ms ({verdict((cpu - idle) * 1e3, 50)})", flush=True)
    return {"bytes": sent, "cpu_s": cpu, "idle_s": idle, "more": more}


def holds_the_same(cluster, keys):
    """Whether all nodes, which own all keys, hold the same cells of a sample, and see no difference."""
    sample = [f"debug cell k{number:015}" for number in range(0, keys, max(1, keys // 200))]
    held = [node.ask_all(sample) for node in cluster.nodes]
    return held[0] == held[1] == held[2] and not any(node.figures("stats repair")["divergent"] for node in cluster.nodes)


def measure_heal(setup):
    keys = 20_000 if setup.is_quick else 100_000
    with Cluster(setup.kind, memory_mb=1024, cpus=None) as cluster:
        begin, end = FAULTS["cut"]
        victim = cluster.nodes[2]
        begin(victim)
        time.sleep(3)
        words = SMALL + ["--keys", keys, "--connections", 20, "--pipeline", 16, "--preload-only", "--allow-refusals"]
        setup.client.run(Some(cluster.nodes[:2]), words, is_strict=False)
        end(victim)
        started = time.monotonic()
        cluster.wait_until("all owners hold the same", lambda: holds_the_same(cluster, keys), 300)
        seconds = time.monotonic() - started
    print(f"heal           {keys} differing keys: all owners equal after {seconds:.1f} s; {verdict(seconds, 10)}", flush=True)
    return {"seconds": seconds}


def measure_idle(setup):
    seconds = 5 if setup.is_quick else 20
    with Cluster(setup.kind, memory_mb=1024, cpus=None) as cluster:
        setup.client.run(cluster, SMALL + ["--keys", 100_000, "--connections", 20, "--pipeline", 16, "--preload-only"])
        time.sleep(5)
        repaired = [node.figures("stats repair") for node in cluster.nodes]
        before = [node.cpu_seconds() for node in cluster.nodes]
        time.sleep(seconds)
        shares = [(node.cpu_seconds() - old) / seconds for node, old in zip(cluster.nodes, before)]
        again = [node.figures("stats repair") for node in cluster.nodes]
    repairs = sum(new.get("cells_sent", 0) - old.get("cells_sent", 0) for old, new in zip(repaired, again))
    print(f"idle           {', '.join(f'{share:.2%}' for share in shares)} of a core; {verdict(max(shares), 0.01)}; "
          f"{repairs} cells repaired", flush=True)
    return {"shares": shares, "repairs": repairs}


MEASUREMENTS = {"cost": measure_cost, "memory": measure_memory, "faults": measure_faults, "refill": measure_refill,
                "compare": measure_compare, "heal": measure_heal, "idle": measure_idle}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server_options(parser)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--no-pin", action="store_true", help="let the kernel choose the CPUs")
    parser.add_argument("what", nargs="*", choices=[[], *MEASUREMENTS], help="all without any")
    args = parser.parse_args()
    setup = Setup(args)
    for name in args.what or MEASUREMENTS:
        with Others() as others:
            setup.results[name] = MEASUREMENTS[name](setup)
        print(f"               (others used {others.cpus:.2f} CPUs)", flush=True)
    write_json(args, setup.results)
    return 0


main_guard(main)
