"""Nodes that die, freeze and come back, while clients go on."""

import time

from client import HANG_S, Client, Retrying
from harness import ClusterCase
from nodes import is_sanitized, siblings_of


class OneOfThree(ClusterCase):
    def test_killed_under_load(self):
        cluster = self.cluster(3)
        with self.load(cluster) as load:
            load.wait_for(150)
            cluster["n2"].kill()
            load.wait_for(300)
        for node in cluster.living():
            load.check(node)

    def test_frozen_under_load(self):
        cluster = self.cluster(3)
        with self.load(cluster) as load:
            load.wait_for(150)
            cluster["n3"].pause()
            load.wait_for(150)
            calm = load.count
            load.wait_for(150)
            self.assertGreater(load.count, calm)
            cluster["n3"].resume()
            load.wait_for(150)
        cluster.wait_until_settled()
        for node in cluster:
            load.check(node)
        cluster.wait_until_equal(load.keys)

    def test_nothing_waits_for_a_frozen_node_once_it_is_known(self):
        cluster = self.cluster(3)
        cluster["n1"].pause()
        cluster.wait_until_it_notices(2)
        client = self.client(cluster["n2"])
        started = time.monotonic()
        for number in range(200):
            client.set(b"key:%d" % number, b"value")
            self.assertEqual(client.get(b"key:%d" % number), b"value")
        self.assertLess(time.monotonic() - started, HANG_S)

    def test_restarted_empty_fills_again_and_misses_nothing_meanwhile(self):
        cluster = self.cluster(3)
        keys = [b"key:%d" % number for number in range(500)]
        client = self.client(cluster["n1"])
        for key in keys:
            client.set(key, b"value of " + key)
        cluster["n2"].kill()
        cluster.restart(cluster["n2"])
        # A node answers that it cannot serve until it has found its cluster; it never says "not there".
        clients = [Retrying([node]) for node in cluster]
        for number, key in enumerate(keys):
            self.assertEqual(clients[number % 3].do(Client.get, key), b"value of " + key, key)
        for client in clients:
            client.close()
        cluster.wait_until_settled()
        cluster.wait_until_equal(keys)
        self.assertEqual(siblings_of(cluster["n2"], keys[0])[0][-1], b"value of " + keys[0])


class Rolling(ClusterCase):
    def test_all_restarted_in_turn_under_load_lose_nothing(self):
        cluster = self.cluster(3)
        with self.load(cluster) as load:
            for node in cluster:
                load.wait_for(50)
                node.terminate()
                load.wait_for(50)
                cluster.restart(node)
                cluster.wait_until_settled()
        for node in cluster:
            load.check(node)
        cluster.wait_until_equal(load.keys)

    def test_all_restarted_at_once_find_each_other_by_their_state_files(self):
        cluster = self.cluster(3)
        self.client(cluster["n1"]).set(b"key", b"value")
        for node in cluster:
            node.ask_to_end()
        for node in cluster:
            node.wait_for_end()
        for node in cluster:
            node.start(cluster.options)
        for node in cluster:
            node.wait_until_it_answers()
        cluster.wait_until_settled()
        clients = self.clients(cluster)
        self.assertIsNone(clients[0].get(b"key"))
        clients[1].set(b"key", b"another")
        for client in clients:
            self.assertEqual(client.get(b"key"), b"another")

    def test_all_killed_at_once_find_each_other_by_their_state_files(self):
        cluster = self.cluster(3)
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start(cluster.options)
        for node in cluster:
            node.wait_until_it_answers()
        cluster.wait_until_settled()
        clients = self.clients(cluster)
        clients[1].set(b"key", b"value")
        for client in clients:
            self.assertEqual(client.get(b"key"), b"value")


class Hints(ClusterCase):
    def test_drain_when_the_owner_is_back(self):
        cluster = self.cluster(4)
        away = cluster["n4"]
        away.pause()
        cluster.wait_until_it_notices(3)
        keys = [b"key:%d" % number for number in range(200)]
        client = self.client(cluster["n1"])
        for key in keys:
            client.set(key, b"value of " + key)
        kept = sum(int(node.status()["hints"]) for node in cluster.living())
        self.assertGreater(kept, 0)
        away.resume()
        cluster.wait_until_hints_are_gone()
        cluster.wait_until_settled()
        cluster.wait_until_equal(keys)

    def test_memory_is_bounded_while_a_node_is_away(self):
        cluster = self.cluster(4, "-m", "16", "--hint-memory", "2")
        cluster["n4"].kill()
        cluster.wait_until_it_notices(3)
        client = Client(cluster["n1"], timeout_s=60)
        value = b"x" * 4000
        for number in range(12000):             # 48 MB, of which each has three quarters
            client.connection.send(b"set key:%d 0 0 4000 noreply\r\n%s\r\n" % (
                number % 6000, value))
        self.assertEqual(client.ask(b"mn\r\n"), b"MN")
        client.close()
        for node in cluster.living():
            stats = node.stats()
            self.assertLessEqual(int(stats["bytes"]), int(stats["limit_maxbytes"]))
            if not is_sanitized():      # a sanitizer needs much for itself
                self.assertLess(node.resident_bytes(), 64 << 20, node.name)
            self.assertLessEqual(int(node.stats(b"hints")["hint_bytes"]), 2 << 20)
        client = Retrying(cluster.living())
        client.do(Client.set, b"key", b"value")
        self.assertEqual(client.do(Client.get, b"key"), b"value")
        client.close()
