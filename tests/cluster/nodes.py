"""Nodes: real processes, each started, frozen, killed and asked how it is.

Nothing here sleeps for as long as something usually takes: wait_until() asks until it is so.
"""

import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import network
from connection import Connection

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.abspath(os.environ.get("RINGCACHED", "./ringcached"))
RINGCTL = os.path.join(os.path.dirname(SERVER), "ringctl")
PATIENCE_S = float(os.environ.get("CLUSTER_PATIENCE", "25"))    # for a state that has to come
TROUBLES = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion")
LOG_LINES_SHOWN = 60


def wait_until(holds, what, patience_s=None, every_s=0.03):
    """Asks `holds` until it gives something true, and returns that.

    It may raise AssertionError or OSError while it does not hold yet: the last reason is reported."""
    give_up = time.monotonic() + (patience_s or PATIENCE_S)
    reason = ""
    while True:
        try:
            got = holds()
            if got:
                return got
        except (AssertionError, OSError) as wrong:
            reason = ": %s" % wrong
        if time.monotonic() > give_up:
            raise AssertionError("never came to be: %s%s" % (what, reason))
        time.sleep(every_s)


# Below those that connections get: none of ours can take what was just found free.
PORTS = range(10000, 32000)
_given = set()


def free_ports_in_a_row(count):
    """The first of so many that nobody listens on, and that were not given before."""
    for _ in range(1000):
        row = range(random.choice(PORTS), PORTS.stop)[:count]
        if len(row) == count and _given.isdisjoint(row) and all(map(_is_free, row)):
            _given.update(row)
            return row[0]
    raise AssertionError("there are not %d free ports in a row" % count)


def _is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    return free_ports_in_a_row(1)


def is_sanitized():
    """Whether the server was built with a sanitizer, which is slow and takes no LD_PRELOAD."""
    with open(SERVER, "rb") as file:
        program = file.read()
    return b"__asan_init" in program or b"__tsan_init" in program


class Node:
    """One process.  It may be started again after it ended: under its name, and empty."""

    def __init__(self, name, host, directory, wrapper=()):
        self.name = name
        self.host = host
        self.listens_at = host if host == "127.0.0.1" else host + ",127.0.0.1"
        self.port = free_port() if host == "127.0.0.1" else 11211
        self.peer_port = free_port() if host == "127.0.0.1" else 17000
        self.directory = directory
        self.wrapper = list(wrapper)        # a command that runs the command after it
        self.state_file = os.path.join(directory, name + ".state")
        self.log_path = os.path.join(directory, name + ".log")
        self.process = None
        self.paused = False
        self.resumed_at = 0.0
        self.options = []

    @property
    def peer_address(self):
        return "%s:%d" % (self.host, self.peer_port)

    def start(self, options, join=(), join_addresses=(), clock=None):
        """Starts it; with a Clock, that is its wall clock."""
        assert self.process is None
        self.options = list(options)
        command = self.wrapper + (["env", *clock.environment()] if clock else [])
        command += [SERVER, "--node-name", self.name, "-l", self.listens_at, "-p", str(self.port),
                    "--cluster-listen", self.peer_address, "--debug-commands"]
        if self.state_file is not None:
            command += ["--state-file", self.state_file]
        if os.getuid() == 0:
            command += ["-u", "root"]
        addresses = [other.peer_address for other in join] + list(join_addresses)
        if addresses:
            command += ["--join", ",".join(addresses)]
        command += self.options
        with open(self.log_path, "ab") as log:
            log.write(("--- %s\n" % " ".join(command)).encode())
            log.flush()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=network.die_with_parent)
        self.paused = False

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def connect(self, timeout_s=5.0):
        sock = socket.create_connection((self.host, self.port), timeout_s)
        connection = Connection(sock)
        sock.settimeout(timeout_s)
        return connection

    def ask(self, request, ending=b"END\r\n"):
        """One request on a connection of its own; everything up to and with `ending`."""
        with self.connect() as connection:
            connection.send(request)
            return connection.read_until(ending)

    def line(self, request):
        """The answer of one line, without its end."""
        return self.ask(request + b"\r\n", b"\r\n")[:-2]

    def stats(self, sub=b""):
        with self.connect() as connection:
            return connection.stats(sub)

    def stats_of(self, command):
        """The answer of a command that is answered like stats."""
        return parse_stats(self.ask_lines(command))

    def ask_lines(self, command):
        with self.connect() as connection:
            connection.send(command + b"\r\n")
            lines = [connection.line()[:-2]]
            while lines[-1].startswith(b"STAT "):
                lines.append(connection.line()[:-2])
        return lines

    def status(self):
        return self.stats_of(b"cluster status")

    def seen(self, status=None):
        """The members that this node reaches, itself among them."""
        status = status or self.status()
        return sorted(name.rpartition(":")[0] for name, value in status.items()
                      if name.endswith(":seen") and value in ("up", "self"))

    def answers(self):
        """Whether it listens; a process that ended instead is an error at once."""
        if not self.is_alive():
            raise SystemError("%s ended with %s at start:\n%s" % (
                self.name, self.process and self.process.returncode, self.read_log()))
        return self.line(b"version").startswith(b"VERSION ")

    def wait_until_it_answers(self):
        wait_until(self.answers, "%s answers" % self.name)

    def kill(self):
        """SIGKILL: it tells nobody."""
        self.resume()
        self.process.kill()
        self._wait()

    def terminate(self):
        """SIGTERM: it says good-bye."""
        self.ask_to_end()
        self.wait_for_end()

    def ask_to_end(self):
        self.resume()
        self.process.send_signal(signal.SIGTERM)

    def wait_for_end(self):
        """After ask_to_end(): its exit code has to be 0, and its log free of complaints."""
        code = self._wait()
        self.check_log()
        assert code == 0, "%s ended with %d\n%s" % (self.name, code, self.read_log())

    def _wait(self):
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("%s does not end" % self.name) from None
        finally:
            self.process = None

    def pause(self):
        """SIGSTOP: its sockets stay open, and nothing is answered any more."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self.process.send_signal(signal.SIGCONT)
            self.paused = False
            self.resumed_at = time.monotonic()

    def was_away(self, for_the_last_s):
        """Whether it was frozen a while ago: an answer that did not come then is no hang."""
        return self.paused or time.monotonic() - self.resumed_at < for_the_last_s

    def read_log(self):
        with open(self.log_path, "rb") as file:
            return file.read().decode("latin-1")

    def check_log(self):
        log = self.read_log() if os.path.exists(self.log_path) else ""
        for trouble in TROUBLES:
            assert trouble not in log, "%s: %s" % (self.name, trouble)

    def resident_bytes(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def why_no_clock():
    """Why a node cannot be given a wrong clock, or None."""
    if is_sanitized():
        return "a sanitizer does not go together with LD_PRELOAD"
    return None if shutil.which("cc") else "not installed: cc"


class Clock:
    """A wall clock that can be set wrong, for nodes started with it (wrong_clock.c)."""

    def __init__(self, directory, name):
        self.library = os.path.join(directory, "wrong_clock.so")
        self.path = os.path.join(directory, name + ".clock")
        if not os.path.exists(self.library):
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library,
                            os.path.join(HERE, "wrong_clock.c")], check=True)
        self.set(0)

    def set(self, ahead_s):
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("=q", int(ahead_s * 1e9)), 0)
        os.close(fd)

    def environment(self):
        return ["LD_PRELOAD=" + self.library, "WRONG_CLOCK=" + self.path]


class Cluster:
    """Nodes that know each other.

    Without a network they all listen on loopback; with one, each has its namespace and address, and
    a secret, which addresses beyond loopback need."""

    def __init__(self, options=(), with_network=False):
        self.directory = tempfile.TemporaryDirectory(prefix="cluster-")
        self.network = network.Network() if with_network else None
        self.nodes = {}
        self.logs = ""              # once it was stopped
        self.options = ["-t", "2", "-m", "64", "--time-scale", "5", "--partitions", "64"]
        self.options += list(options)
        if with_network:
            self.options += ["--cluster-secret-file", self.write("secret", "correct horse battery\n")]

    def write(self, name, text):
        """Makes a file that only we may read; returns its path."""
        path = os.path.join(self.directory.name, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(list(self.nodes.values()))

    def living(self):
        return [node for node in self if node.is_alive() and not node.paused]

    def clock(self, name, ahead_s):
        """A wall clock for a node."""
        clock = Clock(self.directory.name, name)
        clock.set(ahead_s)
        return clock

    def new_node(self, name):
        """One more node, not started."""
        host = self.network.add(name) if self.network else "127.0.0.1"
        wrapper = self.network.prefix_of(name) if self.network else ()
        node = Node(name, host, self.directory.name, wrapper)
        self.nodes[name] = node
        return node

    def start(self, count, ports=None):
        """Founds a cluster of nodes n1, n2 ... and waits until they are one."""
        for number in range(1, count + 1):
            self.new_node("n%d" % number)
        nodes = list(self)
        for node, port in zip(nodes, ports or ()):
            node.port = port
        nodes[0].start(self.options)
        nodes[0].wait_until_it_answers()
        for node in nodes[1:]:
            node.start(self.options, join=nodes[:1])
        for node in nodes[1:]:
            node.wait_until_it_answers()
        self.wait_until_settled()

    def join(self, name, **options):
        """A further node finds the others; wait_until_settled() says when it has its share."""
        others = self.living()
        node = self.new_node(name)
        node.start(self.options, join=others, **options)
        node.wait_until_it_answers()
        return node

    def restart(self, node, **options):
        """Starts a node that ended: under its old name, with nothing cached."""
        node.start(self.options, join=[other for other in self if other is not node], **options)
        node.wait_until_it_answers()

    # --- cutting them off ---

    def cut(self, side):
        """Those of `side` and all others do not hear each other any more."""
        for node in side:
            for other in self:
                if other not in side:
                    self.cut_one_way(node, other)
                    self.cut_one_way(other, node)

    def cut_one_way(self, sender, receiver):
        if self.network:
            self.network.cut(sender.name, receiver.name)
        else:
            assert receiver.line(b"debug cut " + sender.name.encode()) == b"OK"

    def heal(self):
        if self.network:
            self.network.heal()
            return
        for node in self.living():
            for other in self:
                if other is not node:
                    node.line(b"debug heal " + other.name.encode())

    # --- how they are ---

    def wait_until_settled(self, nodes=None):
        """Until all of them are one cluster, in which nothing is left to be moved."""
        nodes = nodes or self.living()
        for node in nodes:
            wait_until_settled(node, len(nodes))

    def wait_until_it_notices(self, reachable, nodes=None):
        """Until each sees so many nodes of the cluster, itself included."""
        for node in nodes or self.living():
            wait_until(lambda node=node: len(node.seen()) == reachable,
                       "%s reaches %d nodes" % (node.name, reachable))

    def owners(self, key):
        """The nodes that own a key, by what a living one says of its table."""
        names = self.living()[0].stats_of(b"cluster ring " + key)["owners"].split()
        return [self[name] for name in names]

    # --- changing its members ---

    def leave(self, node):
        """Begins it: the node hands over what it owns, and is a member no more after that."""
        self._act("leave", node.name)

    def remove(self, node):
        """The same of a node that is dead."""
        self._act("remove", node.name)

    def _act(self, *words):
        """By the operator's tool, from where acts are taken: the machine of a node itself."""
        node = self.living()[0]
        done = subprocess.run(
            node.wrapper + [RINGCTL, "-s", "127.0.0.1:%d" % node.port, "--no-wait", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, "ringctl %s: %s" % (" ".join(words), done.stderr)

    def wait_until_equal(self, keys, nodes=None, patience_s=None):
        """Until all owners of each key hold the same siblings (`debug cell`)."""
        for key in keys:
            holders = nodes or self.owners(key)
            wait_until(lambda key=key, holders=holders: self._is_equal(key, holders),
                       "%r is the same at %s" % (key, [node.name for node in holders]), patience_s)

    def _is_equal(self, key, holders):
        cells = [siblings_of(node, key) for node in holders]
        for node, cell in zip(holders, cells):
            assert cell == cells[0], "%s has %s, %s has %s" % (
                holders[0].name, cells[0], node.name, cell)
        return True

    def wait_until_hints_are_gone(self):
        for node in self.living():
            wait_until(lambda node=node: node.status()["hints"] == "0",
                       "%s has no hints left" % node.name)

    def show_logs(self):
        """The ends of the nodes' logs."""
        out = []
        for node in self:
            if os.path.exists(node.log_path):
                lines = node.read_log().splitlines()
                left_out = max(0, len(lines) - LOG_LINES_SHOWN)
                out.append("--- log of %s%s" % (
                    node.name, " (without its first %d lines)" % left_out if left_out else ""))
                out += lines[left_out:]
        return "\n".join(out)

    def stop(self):
        """Ends all; a node that crashed, or that a sanitizer complains of, is an error here."""
        try:
            running = [node for node in self if node.process is not None]
            for node in running:
                assert node.is_alive(), "%s ended by itself with %d" % (
                    node.name, node.process.returncode)
            for node in running:
                node.ask_to_end()
            for node in running:
                node.wait_for_end()
            for node in self:
                node.check_log()
        finally:
            self._clean_up()

    def _clean_up(self):
        self.logs = self.show_logs()
        for node in self:
            if node.process is not None:
                node.process.kill()
                node.process.wait()
        if self.network:
            self.network.stop()
        self.directory.cleanup()


def wait_until_settled(node, count):
    """Until a node finds itself in a cluster of so many, all of them reachable and warm."""
    wait_until(lambda: _is_settled(node, count),
               "%s is settled in a cluster of %d" % (node.name, count))


def _is_settled(node, count):
    status = node.status()
    for name, value in {"members": str(count), "is_settled": "yes", "warming": "0"}.items():
        assert status.get(name) == value, "%s is %s, not %s" % (name, status.get(name), value)
    seen = node.seen(status)
    assert len(seen) == count, "it sees only %s" % seen
    return True


def parse_stats(lines):
    assert lines[-1] == b"END", lines[-1]
    return dict(line[5:].decode("latin-1").split(" ", 1) for line in lines[:-1])


def siblings_of(node, key):
    """What a node holds for a key, as (kind, dot, ... , value) sorted, contexts left out."""
    out = []
    with node.connect() as connection:
        connection.send(b"debug cell %s\r\n" % key)
        while True:
            line = connection.line()
            if line == b"END\r\n":
                return sorted(out)
            words = line.split()
            value = b""
            if words[0] == b"SIBLING":
                value = connection.read(int(words[5]) + 2)[:-2]
            if words[0] != b"CONTEXT":
                out.append((*words, value))
