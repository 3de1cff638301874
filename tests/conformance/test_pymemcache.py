"""pymemcache: text, many keys at once, unix sockets, TLS, pools, hashing over servers."""

import tempfile
import unittest

from certificates import Authority
from harness import Server, client_context, needs_program

try:
    from pymemcache import exceptions
    from pymemcache.client.base import Client, PooledClient
    from pymemcache.client.hash import HashClient
except ImportError:
    Client = None


class Commands:
    """Everything the client offers; run over each transport below."""

    def test_set_and_get(self):
        self.assertTrue(self.m.set("a", "value", noreply=False))
        self.assertEqual(self.m.get("a"), b"value")
        self.assertIsNone(self.m.get("nothing"))
        self.assertTrue(self.m.set("a", b"\0\xff\r\nEND\r\n", expire=100, flags=7, noreply=False))
        self.assertEqual(self.m.get("a"), b"\0\xff\r\nEND\r\n")

    def test_noreply(self):
        self.m.set("a", "1", noreply=True)
        self.m.add("a", "2", noreply=True)
        self.m.append("a", "3", noreply=True)
        self.m.prepend("a", "0", noreply=True)
        self.m.touch("a", 100, noreply=True)
        self.assertEqual(self.m.get("a"), b"013")
        self.m.incr("a", 1, noreply=True)
        self.m.decr("a", 4, noreply=True)
        self.assertEqual(self.m.get("a").strip(), b"10")
        self.m.delete("a", noreply=True)
        self.assertIsNone(self.m.get("a"))
        self.m.set("a", "1", noreply=True)
        self.m.flush_all(noreply=True)
        self.assertIsNone(self.m.get("a"))

    def test_add_replace_append_prepend(self):
        self.assertFalse(self.m.replace("a", "0", noreply=False))
        self.assertFalse(self.m.append("a", "0", noreply=False))
        self.assertFalse(self.m.prepend("a", "0", noreply=False))
        self.assertTrue(self.m.add("a", "1", noreply=False))
        self.assertFalse(self.m.add("a", "2", noreply=False))
        self.assertTrue(self.m.replace("a", "b", noreply=False))
        self.assertTrue(self.m.append("a", "c", noreply=False))
        self.assertTrue(self.m.prepend("a", "a", noreply=False))
        self.assertEqual(self.m.get("a"), b"abc")

    def test_gets_and_cas(self):
        self.assertEqual(self.m.gets("a"), (None, None))
        self.assertIsNone(self.m.cas("a", "1", b"1", noreply=False))
        self.m.set("a", "1", noreply=False)
        value, token = self.m.gets("a")
        self.assertEqual(value, b"1")
        self.assertTrue(self.m.cas("a", "2", token, noreply=False))
        self.assertFalse(self.m.cas("a", "3", token, noreply=False))
        self.assertEqual(self.m.get("a"), b"2")

    def test_many_at_once(self):
        values = {"key%d" % i: b"value%d" % i for i in range(1000)}
        self.assertEqual(self.m.set_many(values, noreply=False), [])
        self.assertEqual(self.m.get_many(list(values) + ["nothing"]), values)
        found = self.m.gets_many(["key1", "key2"])
        self.assertEqual({key: value for key, (value, _) in found.items()},
                         {"key1": b"value1", "key2": b"value2"})
        self.m.set_many({"key1": "x", "key2": "y"}, noreply=True)
        self.assertEqual(self.m.get_many(["key1", "key2"]), {"key1": b"x", "key2": b"y"})
        self.assertTrue(self.m.delete_many(list(values), noreply=False))
        self.assertEqual(self.m.get_many(list(values)), {})

    def test_incr_decr_touch_delete(self):
        self.m.set("n", "10", noreply=False)
        self.assertEqual(self.m.incr("n", 5), 15)
        self.assertEqual(self.m.decr("n", 20), 0)
        self.assertIsNone(self.m.incr("nothing", 1))
        self.assertTrue(self.m.touch("n", 100, noreply=False))
        self.assertFalse(self.m.touch("nothing", 100, noreply=False))
        self.assertTrue(self.m.delete("n", noreply=False))
        self.assertFalse(self.m.delete("n", noreply=False))

    def test_large_values(self):
        data = bytes(range(256)) * 3900
        self.assertTrue(self.m.set("a", data, noreply=False))
        self.assertEqual(self.m.get("a"), data)

    def test_too_large_a_value(self):
        with self.assertRaises(exceptions.MemcacheServerError):
            self.m.set("a", b"x" * 2000000, noreply=False)
        self.m.set("a", "1", noreply=False)
        self.assertEqual(self.m.get("a"), b"1")

    def test_errors(self):
        self.m.set("a", "text", noreply=False)
        with self.assertRaises(exceptions.MemcacheClientError):
            self.m.incr("a", 1)
        self.assertEqual(self.m.get("a"), b"text")

    def test_information(self):
        self.assertEqual(self.m.version(), b"1.6.45")
        found = self.m.stats()
        self.assertEqual(found[b"version"], b"1.6.45")
        self.assertIn(b"curr_items", found)
        self.assertEqual(self.m.stats("settings")[b"maxconns"], 1024)
        self.m.set("a", "1", noreply=False)
        self.assertTrue(self.m.stats("items"))
        self.assertTrue(self.m.stats("slabs"))
        self.assertTrue(self.m.cache_memlimit(64))

    def test_a_negative_time_expires(self):
        self.m.set("a", "1", expire=-1, noreply=False)
        self.assertIsNone(self.m.get("a"))

    def test_quit(self):
        self.m.set("a", "1", noreply=False)
        self.m.quit()
        self.assertEqual(self.m.get("a"), b"1")


@unittest.skipIf(Client is None, "not installed: python3-pymemcache")
class Transport(unittest.TestCase):
    OPTIONS = {"connect_timeout": 5, "timeout": 5}

    @classmethod
    def setUpClass(cls):
        cls.server = cls.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    @classmethod
    def start(cls):
        return Server()

    def client(self):
        return Client(("127.0.0.1", self.server.port), **self.OPTIONS)

    def setUp(self):
        self.m = self.client()
        self.addCleanup(self.m.close)
        self.m.flush_all(noreply=False)


class OverTcp(Commands, Transport):
    pass


class OverAUnixSocket(Commands, Transport):
    @classmethod
    def start(cls):
        return Server(unix=True)

    def client(self):
        return Client("unix:" + self.server.path, **self.OPTIONS)


@needs_program("openssl")
class OverTls(Commands, Transport):
    @classmethod
    def start(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.authority = Authority(cls.place.name)
        return Server(["-Z", "-o", "ssl_chain_cert=%s,ssl_key=%s"
                       % cls.authority.issue("localhost")])

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.place.cleanup()

    def client(self):
        return Client(("127.0.0.1", self.server.port),
                      tls_context=client_context(check=self.authority.ca), **self.OPTIONS)


class Pooled(Transport):
    def client(self):
        return PooledClient(("127.0.0.1", self.server.port), max_pool_size=4, **self.OPTIONS)

    def test_threads_share_the_pool(self):
        import threading
        wrong = []

        def work(number):
            for i in range(100):
                key, value = "k%d-%d" % (number, i), b"%d" % i
                self.m.set(key, value, noreply=False)
                if self.m.get(key) != value:
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Hashed(Transport):
    def test_keys_spread_over_two_servers(self):
        other = Server()
        self.addCleanup(other.stop)
        m = HashClient([("127.0.0.1", self.server.port), ("127.0.0.1", other.port)],
                       **self.OPTIONS)
        values = {"key%d" % i: b"%d" % i for i in range(200)}
        self.assertEqual(m.set_many(values, noreply=False), [])
        self.assertEqual(m.get_many(list(values)), values)
        here = int(self.m.stats()[b"curr_items"])
        self.assertGreater(here, 20)
        self.assertLess(here, 180)
        m.close()


if __name__ == "__main__":
    unittest.main()
