"""SASL logins (-S, binary protocol): nothing but logging in works before, everything after."""

import os
import socket
import subprocess
import tempfile
import unittest

import binary_packets as b
from connection import TIMEOUT_S
from harness import SERVER, Server, needs_program

USER, PASSWORD = b"tester", b"correct horse"


def plain(user, password, authorize_as=b""):
    return b"\0".join([authorize_as, user, password])


def sasl_environment(directory):
    """A password database with USER in it, and the environment that makes a server use it."""
    database = os.path.join(directory, "sasldb")
    subprocess.run(["saslpasswd2", "-c", "-p", "-f", database, "-a", "memcached",
                    "-u", socket.gethostname(), USER.decode()],
                   input=PASSWORD, check=True, timeout=TIMEOUT_S)
    with open(os.path.join(directory, "memcached.conf"), "w") as file:
        file.write("mech_list: plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
                   "sasldb_path: %s\n" % database)
    return {"SASL_CONF_PATH": directory}


@needs_program("saslpasswd2")
class Sasl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        help_text = subprocess.run([SERVER, "-h"], stdout=subprocess.PIPE).stdout
        if b"sasl" not in help_text:
            raise unittest.SkipTest("the server was built without SASL")
        cls.place = tempfile.TemporaryDirectory(prefix="conformance-sasl-")
        cls.server = Server(["-S"], env=sasl_environment(cls.place.name))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.place.cleanup()

    def setUp(self):
        self.c = self.connect()

    def connect(self):
        c = self.server.connect()
        self.addCleanup(c.close)
        return c

    def reply(self, sent, c=None):
        c = c or self.c
        c.send(sent)
        return b.read_reply(c)

    def login(self, c=None, user=USER, password=PASSWORD, **options):
        return self.reply(b.request(b.SASL_AUTH, b"PLAIN", plain(user, password), **options), c)

    def test_the_mechanisms(self):
        reply = self.reply(b.request(b.SASL_LIST, opaque=3))
        self.assertEqual((reply.status, reply.opaque), (b.OK, 3))
        self.assertIn(b"PLAIN", reply.value.split())

    def test_a_login(self):
        reply = self.login(opaque=9)
        self.assertEqual((reply.status, reply.value, reply.opaque), (b.OK, b"Authenticated", 9))
        self.assertEqual(self.reply(b.store(b.SET, b"a", b"1")).status, b.OK)
        self.assertEqual(self.reply(b.request(b.GET, b"a")).value, b"1")

    def test_a_wrong_password(self):
        reply = self.login(password=b"wrong")
        self.assertEqual((reply.status, reply.value), (b.AUTH_FAILURE, b"Auth failure."))
        self.assertEqual(self.login().status, b.OK)

    def test_a_user_that_is_not(self):
        self.assertEqual(self.login(user=b"nobody-here").status, b.AUTH_FAILURE)

    def test_an_empty_password(self):
        self.assertEqual(self.login(password=b"").status, b.AUTH_FAILURE)

    def test_a_mechanism_that_is_not(self):
        reply = self.reply(b.request(b.SASL_AUTH, b"NOSUCH", b"x"))
        self.assertEqual(reply.status, b.AUTH_FAILURE)

    def test_a_login_in_two_steps(self):
        reply = self.reply(b.request(b.SASL_AUTH, b"PLAIN", b""))
        if reply.status == b.AUTH_CONTINUE:
            reply = self.reply(b.request(b.SASL_STEP, b"PLAIN", plain(USER, PASSWORD)))
            self.assertEqual(reply.status, b.OK)
        else:
            self.assertEqual(reply.status, b.AUTH_FAILURE)

    def test_malformed_logins(self):
        for body in [b"", b"\0", b"\0\0", b"x", b"\0" * 100, b"\0tester", b"x" * 1000,
                     plain(b"u" * 300, b"p" * 300)]:
            with self.subTest(body):
                c = self.connect()
                self.assertIn(self.reply(b.request(b.SASL_AUTH, b"PLAIN", body), c).status,
                              (b.AUTH_FAILURE, b.AUTH_CONTINUE))
        self.assertEqual(self.login(self.connect()).status, b.OK)

    def test_a_login_that_is_too_long_is_refused_and_swallowed(self):
        for size in [4097, 33000, 300000]:
            reply = self.reply(b.request(b.SASL_AUTH, b"PLAIN", b"x" * size))
            self.assertEqual((reply.status, reply.value), (b.AUTH_FAILURE, b"Auth failure."))
            reply = self.reply(b.request(b.SASL_STEP, b"PLAIN", b"x" * size))
            self.assertEqual(reply.status, b.AUTH_FAILURE)
        self.assertEqual(self.login().status, b.OK)
        self.assertEqual(self.reply(b.store(b.SET, b"a", b"1")).status, b.OK)

    def test_version_needs_no_login(self):
        self.assertEqual(self.reply(b.request(b.VERSION)).value, b"1.6.45")

    def test_everything_else_is_refused_and_closes(self):
        for sent in [b.request(b.GET, b"a"), b.store(b.SET, b"a", b"1"), b.request(b.NOOP),
                     b.request(b.STAT), b.request(b.FLUSH), b.request(b.DELETE, b"a"),
                     b.arithmetic(b.INCR, b"a"), b.touch(b.TOUCH, b"a", 1)]:
            with self.subTest(sent[1]):
                c = self.connect()
                reply = self.reply(sent, c)
                self.assertEqual((reply.status, reply.value), (b.AUTH_FAILURE, b"Auth failure."))
                c.expect_close()

    def test_after_a_failed_login_all_is_still_refused(self):
        self.login(password=b"wrong")
        self.assertEqual(self.reply(b.request(b.GET, b"a")).status, b.AUTH_FAILURE)
        self.c.expect_close()

    def test_a_failed_second_login_takes_the_first_away(self):
        self.assertEqual(self.login().status, b.OK)
        self.assertEqual(self.login(password=b"wrong").status, b.AUTH_FAILURE)
        self.assertEqual(self.reply(b.request(b.GET, b"a")).status, b.AUTH_FAILURE)

    def test_one_login_does_not_count_for_another_connection(self):
        self.assertEqual(self.login().status, b.OK)
        self.assertEqual(self.reply(b.request(b.GET, b"a"), self.connect()).status,
                         b.AUTH_FAILURE)

    def test_the_text_protocol_is_refused(self):
        self.c.send(b"version\r\nversion\r\nversion\r\n")
        self.c.expect_close()

    def test_the_counters(self):
        self.login()

        def counters():
            self.c.send(b.request(b.STAT))
            found = {}
            while True:
                reply = b.read_reply(self.c)
                if not reply.key:
                    return int(found[b"auth_cmds"]), int(found[b"auth_errors"])
                found[reply.key] = reply.value

        commands, errors = counters()
        other = self.connect()
        self.login(other, password=b"wrong")
        self.login(other)
        self.assertEqual(counters(), (commands + 2, errors + 1))


if __name__ == "__main__":
    unittest.main()
