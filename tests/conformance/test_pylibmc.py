"""pylibmc (libmemcached from Python): text and binary, and a SASL login."""

import socket
import tempfile
import unittest

from harness import Server, needs_program

try:
    import pylibmc
except ImportError:
    pylibmc = None


class Commands:
    def test_set_and_get(self):
        for value in ["text", b"bytes", 17, True, 3.5, ["a", {"list": 1}], "x" * 500000, ""]:
            with self.subTest(type(value)):
                self.assertTrue(self.m.set("a", value))
                self.assertEqual(self.m.get("a"), value)
        self.assertIsNone(self.m.get("nothing"))

    def test_compressed_values(self):
        self.assertTrue(self.m.set("a", "abc" * 100000, min_compress_len=100))
        self.assertEqual(self.m.get("a"), "abc" * 100000)

    def test_many_at_once(self):
        values = {"key%d" % i: i for i in range(500)}
        self.assertEqual(self.m.set_multi(values), [])
        self.assertEqual(self.m.get_multi(list(values) + ["nothing"]), values)
        self.assertTrue(self.m.delete_multi(list(values)))
        self.assertEqual(self.m.get_multi(list(values)), {})

    def test_add_replace_append_prepend_delete(self):
        try:
            self.assertFalse(self.m.replace("a", "1"))
        except pylibmc.NotFound:
            pass                    # what it makes of the answer in binary
        self.assertTrue(self.m.add("a", "b"))
        self.assertFalse(self.m.add("a", "c"))
        self.assertTrue(self.m.append("a", "c"))
        self.assertTrue(self.m.prepend("a", "a"))
        self.assertEqual(self.m.get("a"), "abc")
        self.assertTrue(self.m.delete("a"))
        self.assertFalse(self.m.delete("a"))

    def test_incr_and_decr(self):
        self.m.set("n", 10)
        self.assertEqual(self.m.incr("n"), 11)
        self.assertEqual(self.m.incr("n", 9), 20)
        self.assertEqual(self.m.decr("n", 5), 15)
        self.assertEqual(self.m.get("n"), 15)
        with self.assertRaises(pylibmc.NotFound):
            self.m.incr("nothing")

    def test_cas(self):
        self.m.behaviors["cas"] = True
        self.m.set("a", "1")
        value, number = self.m.gets("a")
        self.assertEqual(value, "1")
        self.assertTrue(self.m.cas("a", "2", number))
        self.assertFalse(self.m.cas("a", "3", number))
        self.assertEqual(self.m.get("a"), "2")

    def test_touch_and_stats(self):
        self.m.set("a", "1")
        self.assertTrue(self.m.touch("a", 100))
        (_, found), = self.m.get_stats()
        self.assertIn("curr_items", {str(name) for name in found}
                      | {name.decode() for name in found if isinstance(name, bytes)})


@unittest.skipIf(pylibmc is None, "not installed: python3-pylibmc")
class Transport(unittest.TestCase):
    BINARY = False

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.m = pylibmc.Client(["127.0.0.1:%d" % self.server.port], binary=self.BINARY)
        self.m.flush_all()


class Text(Commands, Transport):
    pass


class Binary(Commands, Transport):
    BINARY = True


@unittest.skipIf(pylibmc is None, "not installed: python3-pylibmc")
@needs_program("saslpasswd2")
class SaslLogin(unittest.TestCase):
    def setUp(self):
        if not getattr(pylibmc, "support_sasl", False):
            self.skipTest("this pylibmc was built without SASL")
        from test_sasl import sasl_environment
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.server = Server(["-S"], env=sasl_environment(place.name))
        self.addCleanup(self.server.stop)

    def client(self, password):
        return pylibmc.Client(["127.0.0.1:%d" % self.server.port], binary=True,
                              username="tester@" + socket.gethostname(), password=password)

    def test_a_right_password(self):
        m = self.client("correct horse")
        self.assertTrue(m.set("a", "1"))
        self.assertEqual(m.get("a"), "1")

    def test_a_wrong_password(self):
        with self.assertRaises(pylibmc.Error):
            self.client("wrong").set("a", "1")


if __name__ == "__main__":
    unittest.main()
