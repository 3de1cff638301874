"""What every conformance test stands on: a server to start, and connections that speak raw bytes.

The binary under test is $RINGCACHED (run.py sets it).  It may also be a memcached 1.6.45: then the
tests of what memcached does not have, or does wrong, are skipped, and all others must pass.  That
is how the expectations written here were proved.

How replies are compared: connection.py.
"""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from connection import TIMEOUT_S, Connection

SERVER = os.environ.get("RINGCACHED", "./ringcached")
IN_CLUSTER = "CONFORMANCE_CLUSTER" in os.environ        # run.py --cluster
SOURCE_DIR = os.path.dirname(os.path.abspath(__file__))
BUILD_DIR = os.environ.get("CONFORMANCE_BUILD_DIR", os.path.join(os.getcwd(), "tests", "conformance"))


def _version_line():
    try:
        return subprocess.run([SERVER, "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=TIMEOUT_S).stdout.decode("latin-1").strip()
    except OSError as wrong:
        sys.exit("cannot run the server %s: %s (build it, or give its path to run.py --server)"
                 % (SERVER, wrong))


IS_MEMCACHED = _version_line().startswith("memcached")


def memcached_bug(what):
    """1.6.45 does this wrong, and we do not copy it."""
    return unittest.skipIf(IS_MEMCACHED, "memcached bug: " + what)


def ringcached_only(what):
    """memcached does not have this."""
    return unittest.skipIf(IS_MEMCACHED, "not in memcached: " + what)


def needs_program(*names):
    """Skips, loudly, when a client that the test drives is not installed."""
    from shutil import which
    missing = [name for name in names if which(name) is None]
    return unittest.skipIf(missing, "not installed: " + ", ".join(missing))


class Server:
    """A running server.  `args` are its options; where it listens is chosen here.

    unix=True: a unix socket.  udp=True: UDP too.  listen=None leaves -l and -p to `args`."""

    def __init__(self, args=(), unix=False, udp=False, debug=False, listen="127.0.0.1",
                 threads=2, env=None, tls=False):
        self.directory = tempfile.TemporaryDirectory(prefix="conformance-")
        self.path = os.path.join(self.directory.name, "socket") if unix else None
        self.ports_file = os.path.join(self.directory.name, "ports")
        self.port = self.udp_port = None
        self.tls = tls
        self.command = [SERVER, "-t", str(threads)]
        if os.getuid() == 0:
            self.command += ["-u", "root"]
        if debug and not IS_MEMCACHED:
            self.command += ["--debug-commands"]
        if unix:
            self.command += ["-s", self.path]
        elif listen is not None:
            self.command += ["-l", listen, "-p", "-1"]
            if udp:
                self.command += ["-U", "-1"]
        self.companions = self._find_companions()
        self.command += list(args)
        environment = dict(os.environ, MEMCACHED_PORT_FILENAME=self.ports_file)
        environment.update(env or {})
        self.log = open(os.path.join(self.directory.name, "log"), "w+b")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env=environment,
                                        cwd=self.directory.name)
        try:
            self._wait_until_up()
            if self.companions is not None:
                self.companions.start(args)
        except BaseException:
            self.kill()
            raise

    def _find_companions(self):
        if not IN_CLUSTER:
            return None
        from companions import Companions
        companions = Companions()
        self.command += companions.options_of_server()
        return companions

    def _wait_until_up(self):
        give_up = time.monotonic() + 4 * TIMEOUT_S
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                raise AssertionError("the server ended with %d at start: %s\n%s" % (
                    self.process.returncode, " ".join(self.command), self.read_log()))
            if self.path is None and os.path.exists(self.ports_file):
                self.ports = self._read_ports()
                self.port = next((port for kind, port in self.ports if kind.startswith("TCP")), None)
                self.udp_port = next((port for kind, port in self.ports if kind.startswith("UDP")),
                                     None)
                return
            if self.path is not None:
                try:
                    self.connect().close()
                    return
                except OSError:
                    pass
            time.sleep(0.005)
        raise AssertionError("the server does not come up: " + " ".join(self.command))

    def _read_ports(self):
        with open(self.ports_file) as file:
            lines = [line.strip().split(": ") for line in file]
        return [(kind, int(port)) for kind, port in lines]

    def read_log(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode("latin-1")

    def connect(self, port=None):
        if self.path is not None:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(TIMEOUT_S)
            try:
                sock.connect(self.path)
            except OSError:
                sock.close()
                raise
        else:
            sock = socket.create_connection(("127.0.0.1", port or self.port), TIMEOUT_S)
        if self.tls:
            sock = client_context().wrap_socket(sock)
        return Connection(sock)

    def alive(self):
        return self.process.poll() is None

    def wait(self, timeout_s=TIMEOUT_S):
        """The exit code, once it ended by itself."""
        code = self.process.wait(timeout_s)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.companions is not None:
            self.companions.kill()
        self.log.close()
        self.directory.cleanup()

    def stop(self):
        """Ends it; a server that crashed, or that a sanitizer complains of, is an error here."""
        if IS_MEMCACHED:
            self.kill()             # it takes a second to end by itself
            return
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(3 * TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    raise AssertionError("SIGTERM does not end the server") from None
            log = self.read_log()
            for trouble in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
                            "runtime error:", "Assertion"):
                assert trouble not in log, log
            assert self.process.returncode == 0, "exit code %d\n%s" % (self.process.returncode, log)
            if self.companions is not None:
                self.companions.stop()
        finally:
            self.kill()


def client_context(certificate=None, check=None):
    """A TLS context that trusts anybody, or only who `check` (a CA file) signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if check is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(check)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def refused_start(args, env=None, own_user=True):
    """Runs the server with options it must refuse; returns (exit code, what it said)."""
    command = [SERVER] + (["-u", "root"] if own_user and os.getuid() == 0 else []) + list(args)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
                              env=dict(os.environ, **(env or {})))
    except subprocess.TimeoutExpired:
        raise AssertionError("it started: " + " ".join(command)) from None
    return done.returncode, done.stdout.decode("latin-1")


class ServerCase(unittest.TestCase):
    """Tests that share one server, emptied before each; `ARGS` and so on are its options."""

    ARGS = ()
    UNIX = False
    UDP = False
    DEBUG = False
    THREADS = 2

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.ARGS, unix=cls.UNIX, udp=cls.UDP, debug=cls.DEBUG,
                            threads=cls.THREADS)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.assertTrue(self.server.alive(), "the server is gone")
        self.c = self.server.connect()
        self.addCleanup(self.c.close)
        self.c.ask(b"flush_all\r\n", b"OK\r\n")

    def another(self):
        connection = self.server.connect()
        self.addCleanup(connection.close)
        return connection

    def own_server(self, *args, **options):
        """A server for one test alone."""
        server = Server(args, **options)
        self.addCleanup(server.stop)
        return server


class Case:
    """A conversation: pairs of request and whole expected reply, on an empty server."""

    def __init__(self, name, *exchanges, bug=None, split=True):
        assert len(exchanges) % 2 == 0
        self.name = name
        self.exchanges = list(zip(exchanges[::2], exchanges[1::2]))
        self.bug = bug
        self.split = split


def _run_case(case):
    def run(self):
        if case.bug and IS_MEMCACHED:
            self.skipTest("memcached bug: " + case.bug)
        for request, reply in case.exchanges:
            self.c.ask(request, reply)

        fresh(self.c)
        self.c.ask(b"".join(request for request, _ in case.exchanges),
                   b"".join(reply for _, reply in case.exchanges))
        if not case.split:
            return
        longest = max(len(request) for request, _ in case.exchanges)
        for split in range(1, longest):
            fresh(self.c)
            for request, reply in case.exchanges:
                self.c.ask(request, reply, split if split < len(request) else None)
    return run


def fresh(connection):
    connection.ask(b"flush_all\r\n", b"OK\r\n")


def conversations(cases):
    """A class decorator: each case becomes a test, which holds the conversation one exchange at a
    time, then in one write, then with each request cut in two at every byte."""
    def add(cls):
        assert cls.UNIX, "only on a unix socket do we see that a part was read"
        for case in cases:
            name = "test_" + re.sub(r"\W+", "_", case.name)
            assert not hasattr(cls, name), name
            setattr(cls, name, _run_case(case))
        return cls
    return add
