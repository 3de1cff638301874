"""libmemcached: a C program, memccapable's two protocol suites, and the command line tools."""

import os
import subprocess
import tempfile
import unittest

from harness import BUILD_DIR, Server, needs_program

# These want an error for `delete a b c d e`; memcached 1.6.45 gives none, and we answer as it does.
CAPABLE_OUTDATED = {"ascii delete", "ascii delete noreply"}

def run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, **options)


class ClientProgram(unittest.TestCase):
    """client_libmemcached, which `make check` builds where libmemcached is installed."""

    PROGRAM = os.path.join(BUILD_DIR, "client_libmemcached")

    def setUp(self):
        if not os.access(self.PROGRAM, os.X_OK):
            self.skipTest("not built: %s (install libmemcached-dev, run make check)" % self.PROGRAM)

    def run_in(self, mode, unix):
        server = Server(unix=unix)
        self.addCleanup(server.stop)
        where = ["unix", server.path] if unix else ["127.0.0.1", str(server.port)]
        done = run([self.PROGRAM, mode, *where])
        text = done.stdout.decode()
        for line in text.splitlines():
            if line.startswith(("ok ", "not ok ")):
                with self.subTest(line.split("ok ", 1)[1]):
                    self.assertTrue(line.startswith("ok "), text)
        self.assertEqual(done.returncode, 0, text)
        self.assertIn("ok ", text)

    def test_text(self):
        self.run_in("text", unix=False)

    def test_binary(self):
        self.run_in("binary", unix=False)

    def test_noreply(self):
        self.run_in("noreply", unix=False)

    def test_buffered(self):
        self.run_in("buffered", unix=False)

    def test_text_on_a_unix_socket(self):
        self.run_in("text", unix=True)

    def test_binary_on_a_unix_socket(self):
        self.run_in("binary", unix=True)


@needs_program("memccapable")
class Capable(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)

    def run_capable(self, *options):
        return run(["memccapable", "-h", "127.0.0.1", "-p", str(self.server.port), *options])

    def results(self, option):
        """The verdict on each test."""
        verdicts = {}
        for line in self.run_capable(option).stdout.decode().splitlines():
            if line.startswith(("ascii ", "binary ")):
                name = line[:40].strip()
                verdicts[name] = "[pass]" in line
        return verdicts

    def check(self, option, count):
        verdicts = self.results(option)
        self.assertGreaterEqual(len(verdicts), count)
        # The last line of the output shares its line with the summary; so ask for that one again.
        for name, passed in verdicts.items():
            if name in CAPABLE_OUTDATED:
                continue
            with self.subTest(name):
                if not passed:
                    done = self.run_capable("-T", name, "-v")
                    self.assertEqual(done.returncode, 0, done.stdout.decode())

    def test_ascii(self):
        self.check("-a", 27)

    def test_binary(self):
        self.check("-b", 27)


@needs_program("memccp", "memccat", "memcstat", "memcrm", "memcexist", "memcflush", "memcping",
               "memctouch", "memcdump")
class Tools(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)

    def tool(self, name, *args, code=0):
        done = run([name, "--servers=127.0.0.1:%d" % self.server.port, *args],
                   cwd=self.place.name)
        self.assertEqual(done.returncode, code, done.stdout.decode())
        return done.stdout

    def test_a_file_goes_in_and_comes_out(self):
        for protocol in [[], ["--binary"]]:
            with self.subTest(protocol):
                data = os.urandom(100000)
                with open(os.path.join(self.place.name, "thing"), "wb") as file:
                    file.write(data)
                self.tool("memccp", *protocol, "thing")
                self.tool("memccat", *protocol, "--file=copy", "thing")
                with open(os.path.join(self.place.name, "copy"), "rb") as file:
                    self.assertEqual(file.read(), data)
                self.tool("memcexist", *protocol, "thing")
                self.tool("memctouch", *protocol, "--expire=100", "thing")
                self.tool("memcrm", *protocol, "thing")
                self.tool("memcexist", *protocol, "thing", code=1)

    def test_stat(self):
        text = self.tool("memcstat")
        self.assertIn(b"curr_items", text)
        self.assertIn(b"1.6.45", text)

    def test_ping_and_flush(self):
        with self.server.connect() as c:
            c.ask(b"set a 0 0 1\r\n1\r\n", b"STORED\r\n")
            self.tool("memcping")
            self.tool("memcflush")
            c.ask(b"get a\r\n", b"END\r\n")

    @needs_program("memcslap")
    def test_slap(self):
        for protocol in [[], ["--binary"]]:
            with self.subTest(protocol):
                for what in ["set", "get"]:
                    self.tool("memcslap", *protocol, "--test=" + what, "--concurrency=4",
                              "--execute-number=200", "--initial-load=200")


if __name__ == "__main__":
    unittest.main()
