"""The workloads that servers are compared under, one row each.

A plain workload is a set of ringbench options, run in turn against every server. `target` is how
many times less server CPU per key than the first peer ringcached is to need (issue "What it has
to reach"), `floor` how many times the echo server's it may need at most. The special ones, which
need more than one run to say anything, are functions in compare.py.
"""

from dataclasses import dataclass, field


@dataclass
class Workload:
    name: str
    group: str
    options: list = field(default_factory=list)  # for ringbench
    echo: list = None       # for ringecho, None if it cannot play along
    target: float = None
    floor: float = None
    special: str = None     # name of a function in compare.py
    about: str = ""


def row(name, group, protocol="text", operation="get", connections=50, pipeline=1, multiget=1,
        value=100, keys=10000, **rest):
    options = ["--protocol", protocol, "--mix", f"{operation}=1", "--connections", connections,
               "--pipeline", pipeline, "--multiget", multiget, "--value-bytes", value, "--keys", keys]
    echo = ["--protocol", protocol, "--operation", operation, "--multiget", multiget,
            "--value-bytes", value]
    return Workload(name, group, options, echo, **rest)


def special(name, function, about):
    return Workload(name, "special", special=function, about=about)


WORKLOADS = [
    row("get-50", "plain", target=1.15, floor=1.12),
    row("get-200", "plain", connections=200, target=1.15, floor=1.12),
    row("set-50", "plain", operation="set", target=1.15, floor=1.12),
    row("set-200", "plain", operation="set", connections=200, target=1.15, floor=1.12),
    row("get1k-50", "plain", value=1024, target=1.15, floor=1.12),
    row("get1k-200", "plain", value=1024, connections=200, target=1.15, floor=1.12),
    row("binary-get-50", "plain", protocol="binary", target=1.15, floor=1.12),
    row("binary-get-200", "plain", protocol="binary", connections=200, target=1.15, floor=1.12),

    row("get-p16", "pipeline16", pipeline=16, target=2.5),
    row("set-p16", "pipeline16", operation="set", pipeline=16, target=2.5),
    row("meta-get-p16", "pipeline16", protocol="meta", pipeline=16, target=2.5),
    row("binary-get-p16", "pipeline16", protocol="binary", pipeline=16, target=2.5),
    row("get-p32", "pipeline32", pipeline=32, target=4),
    row("set-p32", "pipeline32", operation="set", pipeline=32, target=4),

    row("multiget-50", "multiget", multiget=50, target=4),
    row("multiget-100", "multiget", multiget=100, target=4),

    row("large-get", "large", connections=20, value=102400, keys=100, target=1.05),
    row("large-set", "large", operation="set", connections=20, value=102400, keys=100, target=1.0),

    special("scaling", "compare_scaling", "CPU per pipelined get, 10 thousand to 10 million items"),
    special("growth", "compare_growth", "p99.9 of gets while the index grows to 2.5 million items"),
    special("idle", "compare_idle", "50 busy connections alone and among 10,000 idle ones"),
    special("workers", "compare_workers", "two workers against one"),
    special("memory", "compare_memory", "items held at the same -m, and resident bytes per item (memory.py has more)"),
    special("memtier", "compare_memtier", "gets and sets by memtier_benchmark"),
]


def choose(names):
    """The rows with these names or groups, all for none; raises KeyError with an unknown name."""
    if not names:
        return WORKLOADS
    chosen = []
    for name in names:
        found = [workload for workload in WORKLOADS if name in (workload.name, workload.group)]
        if not found:
            raise KeyError(name)
        chosen += [workload for workload in found if workload not in chosen]
    return chosen
