"""The configuration file (--config), and what its policies do."""

import os
import signal
import tempfile
import time
import unittest

from connection import TIMEOUT_S
from harness import Server, refused_start, ringcached_only

STORED = b"STORED\r\n"


@ringcached_only("memcached has no configuration file")
class ConfigFile(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="conformance-config-")
        self.addCleanup(place.cleanup)
        self.path = os.path.join(place.name, "ringcached.conf")

    def write(self, text):
        with open(self.path, "w") as file:
            file.write(text)

    def start(self, text, *args):
        self.write(text)
        server = Server(["--config", self.path, *args])
        self.addCleanup(server.stop)
        return server

    def connect(self, server):
        c = server.connect()
        self.addCleanup(c.close)
        return c

    def reload(self, server, text, answer):
        """Has the server read the file again, and waits until it says so."""
        self.write(text)
        server.process.send_signal(signal.SIGHUP)
        give_up = time.monotonic() + TIMEOUT_S
        while answer not in server.read_log():
            self.assertLess(time.monotonic(), give_up, server.read_log())
            time.sleep(0.005)

    def test_options_of_the_file_are_in_force_unless_the_command_line_says_otherwise(self):
        server = self.start('memory-limit = 100;\nthreads = 2;\nidle_timeout = 99;\n', "-t", "3")
        stats = self.connect(server).stats(b"settings")
        self.assertEqual(stats["maxbytes"], str(100 << 20))
        self.assertEqual(stats["num_threads"], "3")
        self.assertEqual(stats["idle_timeout"], "99")

    def test_a_policy_bounds_the_time_to_live(self):
        c = self.connect(self.start('policies = ( { prefix = "s:"; max-ttl = 50; } );\n'))
        c.ask(b"set s:a 0 0 1\r\n1\r\nset s:b 0 10 1\r\n1\r\nset other 0 0 1\r\n1\r\n", STORED * 3)
        c.ask(b"touch s:b 1000\r\n", b"TOUCHED\r\n")
        c.ask(b"mg s:new N0 t\r\n", b"HD t50 W\r\n")
        for key, ttl in ((b"s:a", b"50"), (b"s:b", b"50"), (b"other", b"-1")):
            c.ask(b"mg %s t\r\n" % key, b"HD t%s\r\n" % ttl)

    def test_without_siblings_the_last_context_write_wins(self):
        c = self.connect(self.start('policies = ( { prefix = "s:"; siblings = false; } );\n'))
        write = b"cas %s 0 0 3 @\r\none\r\ncas %s 0 0 3 @\r\ntwo\r\n"
        c.ask(write % (b"s:a", b"s:a"), STORED * 2)
        c.ask(b"mg s:a n v\r\n", b"VA 3 n1\r\ntwo\r\n")
        c.ask(write % (b"other", b"other"), STORED * 2)
        c.ask(b"mg other n\r\n", b"HD n2\r\n")

    def test_sighup_reads_the_policies_again(self):
        server = self.start('policies = ( { prefix = "s:"; max-ttl = 50; } );\n', "-v")
        c = self.connect(server)
        self.reload(server, 'policies = ( { prefix = "s:"; max-ttl = 60; } );\n',
                    "1 policies are in force now")
        c.ask(b"set s:a 0 0 1\r\n1\r\nmg s:a t\r\n", STORED + b"HD t60\r\n")
        self.reload(server, 'policies = ( { prefix = "s:"; max-ttl = 0; } );\n',
                    "not reloaded: all stays as it was")
        c.ask(b"set s:a 0 0 1\r\n1\r\nmg s:a t\r\n", STORED + b"HD t60\r\n")

    def test_a_bad_file_is_refused_with_its_lines(self):
        self.write("port = 0;\nprt = 5;\n")
        code, said = refused_start(["--config", self.path])
        self.assertEqual(code, 78)
        self.assertIn("%s:2: prt: there is no such setting" % self.path, said)

    def test_check_config_only_checks(self):
        self.write("port = 0;\n")
        code, said = refused_start(["--config", self.path, "--check-config"])
        self.assertEqual(code, 0)
        self.assertIn("are fine", said)


if __name__ == "__main__":
    unittest.main()
