"""Three nodes and nothing wrong: any client works at any of them."""

import os
import shutil
import subprocess
import threading
import unittest

from client import Client
from harness import ClusterCase
from nodes import free_ports_in_a_row, siblings_of, wait_until

SESSION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/session.sh")
# What quickstart.sh writes into its configuration file.
CARTS = 'policies = ( { prefix = "cart:"; read-quorum = 1; write-quorum = 1; } );\n'


class AnyNode(ClusterCase):
    def test_what_one_node_stored_all_owners_hold(self):
        cluster = self.cluster(3)
        clients = self.clients(cluster)
        keys = [b"key:%d" % number for number in range(60)]
        for number, key in enumerate(keys):
            clients[number % 3].set(key, b"value of " + key)
        for key in keys:
            for client in clients:
                self.assertEqual(client.get(key), b"value of " + key)
        cluster.wait_until_equal(keys)
        for key in keys:
            self.assertEqual(len(cluster.owners(key)), 3)
            self.assertEqual(siblings_of(cluster["n1"], key)[0][-1], b"value of " + key)

    def test_one_node_orders_the_writes_of_a_key(self):
        cluster = self.cluster(3)

        def count(node):
            client = Client(node)
            for _ in range(200):
                client.incr(b"counter", 1)
            client.close()

        self.clients(cluster)[0].set(b"counter", b"0")
        threads = [threading.Thread(target=count, args=(node,)) for node in cluster]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in self.clients(cluster):
            self.assertEqual(client.get(b"counter"), b"600")

    def test_add_has_one_winner(self):
        cluster = self.cluster(3)
        clients = self.clients(cluster)
        for number in range(50):
            for client in clients:
                client.connection.send(b"add once:%d 0 0 1\r\nx\r\n" % number)
            answers = sorted(client.connection.line() for client in clients)
            self.assertEqual(answers, [b"NOT_STORED\r\n"] * 2 + [b"STORED\r\n"])

    def test_flush_all_empties_every_node(self):
        cluster = self.cluster(3)
        clients = self.clients(cluster)
        keys = [b"key:%d" % number for number in range(30)]
        for number, key in enumerate(keys):
            clients[number % 3].set(key, b"old")
        self.assertEqual(cluster["n2"].line(b"flush_all"), b"OK")
        for client in clients:
            for key in keys:
                self.assertIsNone(client.get(key))
        for client in clients:
            for number, key in enumerate(keys):
                clients[number % 3].set(key, b"new")
                self.assertEqual(client.get(key), b"new")

    def test_flush_all_with_a_delay_empties_every_node_then(self):
        cluster = self.cluster(3)
        clients = self.clients(cluster)
        clients[0].set(b"key", b"old")
        self.assertEqual(cluster["n2"].line(b"flush_all 2"), b"OK")
        self.assertEqual(clients[2].get(b"key"), b"old")
        wait_until(lambda: all(client.get(b"key") is None for client in clients),
                   "the key is flushed everywhere")
        clients[1].set(b"key", b"new")
        self.assertEqual(clients[0].get(b"key"), b"new")


class RealClients(ClusterCase):
    """Clients that know nothing of a cluster, given all nodes, and of which they lose one."""

    def test_pymemcache(self):
        try:
            from pymemcache.client.base import Client as Memcache
            from pymemcache.client.retrying import RetryingClient
        except ImportError:
            raise unittest.SkipTest("not installed: python3-pymemcache") from None
        cluster = self.cluster(3)
        first, second, third = [
            RetryingClient(Memcache((node.host, node.port), timeout=5, default_noreply=False),
                           attempts=3)
            for node in cluster]
        first.set("key", "value")
        self.assertEqual(second.get("key"), b"value")
        self.assertEqual(third.incr("count", 1), None)
        self.assertTrue(third.add("count", "5", noreply=False))
        self.assertEqual(first.incr("count", 2), 7)
        many = {"many:%d" % number: str(number) for number in range(100)}
        self.assertEqual(second.set_many(many), [])
        value, token = third.gets("key")
        self.assertTrue(first.cas("key", "other", token))
        self.assertFalse(second.cas("key", "another", token))
        cluster["n1"].kill()
        cluster.wait_until_it_notices(2)
        self.assertEqual(len(third.get_many(list(many))), 100)
        self.assertTrue(second.delete("key", noreply=False))
        self.assertIsNone(third.get("key"))

    def test_libmemcached_that_goes_on_when_a_node_dies(self):
        try:
            import pylibmc
        except ImportError:
            raise unittest.SkipTest("not installed: python3-pylibmc") from None
        cluster = self.cluster(3)
        memcache = pylibmc.Client(["%s:%d" % (node.host, node.port) for node in cluster],
                                  binary=True, behaviors={
                                      "ketama": True, "remove_failed": 1, "retry_timeout": 1,
                                      "connect_timeout": 2000, "receive_timeout": 5000000})
        keys = ["key:%d" % number for number in range(100)]
        self.assertEqual(memcache.set_multi({key: key for key in keys}), [])
        cluster["n3"].kill()

        def reads_all():
            try:
                return len(memcache.get_multi(keys)) == len(keys)
            except pylibmc.Error:
                return False

        wait_until(reads_all, "libmemcached reads all keys from the other nodes")


class Session(ClusterCase):
    @unittest.skipIf(shutil.which("nc") is None, "not installed: netcat-openbsd")
    def test_what_quickstart_tells_people_to_try(self):
        cluster = self.empty_cluster()
        cluster.options += ["--config", cluster.write("config", CARTS)]
        first = free_ports_in_a_row(3)
        cluster.start(3, ports=range(first, first + 3))
        done = subprocess.run(["sh", SESSION], env=dict(os.environ, PORT=str(first)), timeout=20,
                              stdin=subprocess.DEVNULL, capture_output=True)
        shown = [line for line in done.stdout.decode().split("\r\n")
                 if line and not line.startswith("VALUE")]
        shown[9:11] = sorted(shown[9:11])           # siblings have no order
        self.assertEqual(shown, ["STORED", "milk", "END", "OK", "OK", "STORED", "STORED", "OK", "OK",
                                 "milk bread", "milk butter", "END", "STORED",
                                 "milk bread butter", "END"])
