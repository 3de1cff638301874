"""Logins over the text protocol (-Y FILE)."""

import os
import signal
import tempfile
import time
import unittest

import binary_packets as b
from connection import TIMEOUT_S, Closed
from harness import Server, memcached_bug

UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"
FAILURE = b"CLIENT_ERROR authentication failure\r\n"
STORED = b"STORED\r\n"


def login_request(user, password):
    token = b"%s %s" % (user, password)
    return b"set login 0 0 %d\r\n%s\r\n" % (len(token), token)


class AuthFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="conformance-auth-")
        cls.path = os.path.join(cls.place.name, "users")
        cls.write("ann:secret\nbob:longer password?\n")
        cls.server = Server(["-Y", cls.path])

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.place.cleanup()

    @classmethod
    def write(cls, text):
        with open(cls.path, "w") as file:
            file.write(text)

    def setUp(self):
        self.c = self.connect()

    def connect(self):
        c = self.server.connect()
        self.addCleanup(c.close)
        return c

    def login(self, user=b"ann", password=b"secret", c=None):
        c = c or self.c
        c.send(login_request(user, password))
        return c.line()

    def test_a_login(self):
        self.assertEqual(self.login(), STORED)
        self.c.ask(b"set a 0 0 1\r\n1\r\nget a\r\n", STORED + b"VALUE a 0 1\r\n1\r\nEND\r\n")

    def test_the_login_itself_stores_nothing(self):
        self.assertEqual(self.login(), STORED)
        self.c.ask(b"get login\r\n", b"END\r\n")

    def test_each_user_of_the_file(self):
        self.assertEqual(self.login(b"bob", b"longer password?"), STORED)

    def test_wrong_logins(self):
        for user, password in [(b"ann", b"wrong"), (b"ann", b"secre"), (b"ann", b"secrett"),
                               (b"nobody", b"secret"), (b"bob", b"secret"), (b"an", b"nsecret"),
                               (b"ann", b""), (b"", b"secret"), (b"ANN", b"secret")]:
            with self.subTest((user, password)):
                c = self.connect()
                self.assertEqual(self.login(user, password, c)[:12], b"CLIENT_ERROR")
                self.assertEqual(self.login(c=c), STORED)

    def test_a_wrong_password_says_so(self):
        self.assertEqual(self.login(password=b"wrong"), FAILURE)

    def test_before_the_login_nothing_works(self):
        for request in [b"get a\r\n", b"version\r\n", b"delete a\r\n", b"incr a 1\r\n",
                        b"stats\r\n", b"flush_all\r\n", b"mg a v\r\n", b"mn abc\r\n", b"watch\r\n",
                        b"verbosity 1\r\n", b"lru_crawler metadump all\r\n", b"shutdown\r\n",
                        b"vget a\r\n", b"nonsense\r\n"]:
            with self.subTest(request):
                c = self.connect()
                c.send(request)
                self.assertEqual(c.line(), UNAUTHENTICATED)

    @memcached_bug("forgets what was read after the first line")
    def test_what_follows_in_the_same_write_is_refused_too(self):
        self.c.send(b"get a\r\nget b\r\nget c\r\n")
        for _ in range(3):
            self.assertEqual(self.c.line(), UNAUTHENTICATED)

    def test_a_login_and_commands_in_one_write(self):
        self.c.ask(login_request(b"ann", b"secret") + b"set a 0 0 1\r\n2\r\nget a\r\n",
                   STORED * 2 + b"VALUE a 0 1\r\n2\r\nEND\r\n")

    def test_a_login_byte_by_byte(self):
        for byte in login_request(b"ann", b"secret"):
            self.c.send(bytes([byte]))
            time.sleep(0.001)
        self.assertEqual(self.c.line(), STORED)

    def test_malformed_logins(self):
        for request, answer in [
                (b"set a 0 0 9\r\nannsecret\r\n",
                 b"CLIENT_ERROR bad authentication token format\r\n"),
                (b"set a 0 0 10\r\nann secretXX", b"CLIENT_ERROR bad command line termination\r\n"),
                (b"set a 0 0 20000\r\n", b"CLIENT_ERROR auth token too long\r\n")]:
            with self.subTest(request):
                c = self.connect()
                c.send(request)
                self.assertEqual(c.line(), answer)

    def test_a_first_line_that_is_too_long_closes(self):
        try:
            self.c.send(b"x" * 5000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.c.read_all()

    def test_the_binary_protocol_does_not_work(self):
        self.c.send(b.request(b.GET, b"a") + b.request(b.GET, b"a") + b"\r\n")
        try:
            self.assertNotEqual(self.c.read(1), b"\x81")
        except Closed:
            pass

    def test_one_login_does_not_count_for_another_connection(self):
        self.assertEqual(self.login(), STORED)
        other = self.connect()
        other.send(b"get a\r\n")
        self.assertEqual(other.line(), UNAUTHENTICATED)

    def test_the_counters(self):
        self.assertEqual(self.login(), STORED)
        before = self.c.stats()
        other = self.connect()
        self.login(password=b"wrong", c=other)
        self.login(c=other)
        after = self.c.stats()
        self.assertEqual(int(after["auth_cmds"]) - int(before["auth_cmds"]), 2)
        self.assertEqual(int(after["auth_errors"]) - int(before["auth_errors"]), 1)
        self.assertEqual(self.c.stats(b"settings")["auth_enabled_ascii"], self.path)


class AuthFileReload(unittest.TestCase):
    def test_sighup_reads_the_file_again(self):
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "users")
            with open(path, "w") as file:
                file.write("ann:secret")
            server = Server(["-Y", path])
            self.addCleanup(server.stop)
            with server.connect() as c:
                c.send(login_request(b"ann", b"secret"))
                self.assertEqual(c.line(), STORED)
                with open(path, "w") as file:
                    file.write("cleo:other\n")
                server.process.send_signal(signal.SIGHUP)
                give_up = time.monotonic() + TIMEOUT_S
                while True:
                    with server.connect() as other:
                        other.send(login_request(b"cleo", b"other"))
                        if other.line() == STORED:
                            break
                    self.assertLess(time.monotonic(), give_up, "the new file is not used")
                    time.sleep(0.05)
                with server.connect() as other:
                    other.send(login_request(b"ann", b"secret"))
                    self.assertEqual(other.line(), FAILURE)
                c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")


if __name__ == "__main__":
    unittest.main()
