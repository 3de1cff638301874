"""Servers under test: finding, starting, watching and stopping them, and asking them with ringbench.

A server is given as a path (a program that takes memcached's options) or as NAME=COMMAND, where
{port} {threads} {memory} {connections} {item} in the command are filled in. Nothing here knows
where a server is installed.
"""

import json
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class BenchError(Exception):
    """Something that makes measuring impossible; its text says what to do."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_program(name, build, variable=None):
    """A program of this project: from the environment, the build folder, or PATH."""
    places = [os.environ.get(variable or name.upper()), os.path.join(build, name), shutil.which(name)]
    for place in places:
        if place and os.access(place, os.X_OK):
            return os.path.abspath(place)
    raise BenchError(f"no {name}: build it, then run this in the build folder or give --build DIR")


class Kind:
    """A kind of server: its name and how to start one."""

    def __init__(self, name, command):
        self.name = name
        self.command = command  # list of words, with {fields}

    @staticmethod
    def like_memcached(name, path):
        words = [path, "-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-t", "{threads}", "-m", "{memory}",
                 "-c", "{connections}", "-I", "{item}"]
        if os.geteuid() == 0:
            words += ["-u", "nobody"]
        return Kind(name, words)

    @staticmethod
    def parse(text):
        """PATH, NAME=PATH or NAME=COMMAND WITH {port}."""
        name, equals, command = text.partition("=")
        if equals and "{port}" in command:
            return Kind(name, shlex.split(command))
        path = command if equals else text
        found = shutil.which(path)
        if not found:
            raise BenchError(f"no server {path}: give the path of an executable")
        return Kind.like_memcached(name if equals else os.path.basename(path), os.path.abspath(found))


class Server:
    """A running server. Use as a context manager."""

    def __init__(self, kind, threads=1, memory_mb=1024, connections=1024, cpus=None, prefix=(), item="1m"):
        self.kind = kind
        self.port = free_port()
        fields = dict(port=self.port, threads=threads, memory=memory_mb, connections=connections, item=item)
        words = list(prefix) + [word.format(**fields) for word in kind.command]
        if cpus is not None and shutil.which("taskset"):
            words = ["taskset", "-c", cpus] + words
        self.words = words
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self):
        """Starts it (again), with nothing in its memory."""
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.words, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        self._wait_until_it_listens(self.words)

    def _wait_until_it_listens(self, words):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        self.log.seek(0)
        said = self.log.read(2000).decode(errors="replace")
        raise BenchError(f"{self.kind.name} does not listen on port {self.port}: {shlex.join(words)}\n{said}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _status_bytes(self, name):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
        raise BenchError(f"{self.kind.name} is gone")

    def resident_bytes(self):
        return self._status_bytes("VmRSS:")

    def resident_peak_bytes(self):
        """The most since it started."""
        return self._status_bytes("VmHWM:")

    def cpu_seconds(self):
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        return total * 1e-9

    def stats(self):
        """The answer to `stats`, as a dictionary of texts."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"stats\r\n")
            answer = b""
            while not answer.endswith(b"END\r\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                answer += piece
        words = [line.split(" ", 2) for line in answer.decode().splitlines() if line.startswith("STAT ")]
        return {word[1]: word[2] for word in words}


class Echo(Server):
    """ringecho, answering just one form of request."""

    def __init__(self, program, options, cpus=None):
        words = [program, "--port", "{port}"] + [str(option) for option in options]
        super().__init__(Kind("echo", words), cpus=cpus)


class Client:
    """Runs ringbench."""

    def __init__(self, program, cpus=None):
        self.words = [program]
        if cpus is not None and shutil.which("taskset"):
            self.words = ["taskset", "-c", cpus, program]

    def command(self, server, options):
        return self.words + ["--json", "--server", server.address, "--server-pid", str(server.pid)] + \
            [str(option) for option in options]

    def start(self, server, options):
        """Starts a run; pass the result to finish()."""
        return subprocess.Popen(self.command(server, options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process, server, is_strict=True):
        """What a run measured, as a dictionary. A run that failed is an error unless not strict."""
        out, err = process.communicate()
        if not out or process.returncode not in (0, 1):
            raise BenchError(f"ringbench against {server.kind.name} failed: {shlex.join(process.args)}\n"
                             f"{err.decode(errors='replace')}")
        result = json.loads(out)
        if is_strict and not result["clean"]:
            raise BenchError(f"failures against {server.kind.name}: {result['failures']}\n{shlex.join(process.args)}")
        return result

    def run(self, server, options, is_strict=True):
        return self.finish(self.start(server, options), server, is_strict)


class Others:
    """How much CPU other processes used while this one measured. Use as a context manager; every
    server and client must have ended inside."""

    def __enter__(self):
        self.before = self._now()
        return self

    def __exit__(self, *_):
        elapsed, busy, ours = (after - before for after, before in zip(self._now(), self.before))
        self.cpus = max(0.0, (busy - ours) / max(elapsed, 1e-3))

    @staticmethod
    def _now():
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(word) for word in file.readline().split()[1:9]]
        idle = fields[3] + fields[4]
        ours = sum(usage.ru_utime + usage.ru_stime
                   for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        return time.monotonic(), (sum(fields) - idle) / os.sysconf("SC_CLK_TCK"), ours


def add_server_options(parser):
    """The options that all scripts here share."""
    parser.add_argument("--build", default=".", metavar="DIR", help="where the programs were built (.)")
    parser.add_argument("--server", metavar="SERVER", help="another ringcached than the one in the build folder")
    parser.add_argument("--peer", action="append", metavar="SERVER",
                        help="PATH, NAME=PATH or 'NAME=COMMAND {port} {threads} {memory} {connections} {item}'; "
                        "repeatable, the first is the one compared with (memcached on PATH, or $BENCH_PEERS, a line each)")
    parser.add_argument("--peers-only", action="store_true", help="leave ringcached out")
    parser.add_argument("--quick", action="store_true", help="less of everything: a first impression")
    parser.add_argument("--json", metavar="FILE", help="also write all figures there")


def find_servers(args):
    """All servers to measure, ringcached first, and the one that the others are compared with."""
    peers = args.peer or [peer for peer in os.environ.get("BENCH_PEERS", "").splitlines() if peer]
    if not peers:
        found = shutil.which("memcached")
        if not found:
            raise BenchError("no memcached on PATH: install it, or give --peer PATH")
        peers = [found]
    kinds = [Kind.parse(peer) for peer in peers]
    base = kinds[0]
    if not args.peers_only:
        path = args.server or find_program("ringcached", args.build)
        kinds.insert(0, Kind.parse(path if "=" in path else f"ringcached={path}"))
    return kinds, base


def write_json(args, results):
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


def main_guard(main):
    """Runs main(); a BenchError is one line on stderr, not a traceback."""
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
