"""Nodes that do not hear each other, packets that come late, and clocks that are wrong."""

import time

from client import Refused, elements
from harness import ClusterCase, needs_clock, needs_network, needs_queue
from nodes import siblings_of


class TwoAndTwo(ClusterCase):
    """Four nodes, three copies: each half finds two nodes to store on, and goes on."""

    def halves(self, *options):
        cluster = self.cluster(4, *options, with_network=True)
        left, right = [cluster["n1"], cluster["n2"]], [cluster["n3"], cluster["n4"]]
        return cluster, left, right

    def separate(self, cluster, left):
        cluster.cut(left)
        cluster.wait_until_it_notices(2)

    def join_again(self, cluster):
        cluster.heal()
        cluster.wait_until_it_notices(4)
        cluster.wait_until_hints_are_gone()
        cluster.wait_until_settled()

    def test_writes_of_both_sides_become_siblings_and_are_merged(self):
        cluster, left, right = self.halves()
        keys = [b"cart:%d" % number for number in range(20)]
        first, second = self.client(left[0]), self.client(right[0])
        for key in keys:
            first.put(key, b"milk", b"@")
        cluster.wait_until_equal(keys)
        self.separate(cluster, left)
        for key in keys:
            for client, more in (first, b"bread"), (second, b"butter"):
                values, context = client.vget(key)
                client.put(key, b"\n".join(values + [more]), context)
        self.join_again(cluster)
        cluster.wait_until_equal(keys)
        for key in keys:
            for client in self.clients(cluster):
                values, context = client.vget(key)
                self.assertEqual(sorted(values), [b"milk\nbread", b"milk\nbutter"])
            client.put(key, b"\n".join(sorted(elements(values))), context)
        cluster.wait_until_equal(keys)
        for key in keys:
            for client in self.clients(cluster):
                self.assertEqual(client.vget(key)[0], [b"bread\nbutter\nmilk"])

    def test_under_load_lose_nothing(self):
        cluster, left, right = self.halves()
        with self.load(left, seed=1) as first, self.load(right, seed=2) as second:
            first.wait_for(50)
            self.separate(cluster, left)
            first.wait_for(100)
            second.wait_for(100)
            cluster.heal()
            first.wait_for(100)
        self.join_again(cluster)
        cluster.wait_until_equal(first.keys)
        for node in cluster:
            first.check(node)
            second.check(node)

    def test_deletes_do_not_come_back(self):
        cluster, left, _ = self.halves()
        keys = [b"key:%d" % number for number in range(100)]
        client = self.client(left[0])
        for key in keys:
            client.set(key, b"value")
        cluster.wait_until_equal(keys)
        self.separate(cluster, left)
        for key in keys:
            self.assertEqual(client.delete(key), b"DELETED")
        self.join_again(cluster)
        cluster.wait_until_equal(keys)
        for client in self.clients(cluster):
            for key in keys:
                self.assertIsNone(client.get(key))

    def test_counters_of_both_sides_add_up(self):
        cluster = self.empty_cluster(with_network=True)
        cluster.options += ["--config", cluster.write("config", COUNTERS)]
        cluster.start(4)
        left, right = [cluster["n1"], cluster["n2"]], [cluster["n3"], cluster["n4"]]
        first, second = self.client(left[0]), self.client(right[0])
        keys = [b"count:%d" % number for number in range(20)]
        for key in keys:
            first.set(key, b"100")
        cluster.wait_until_equal(keys)
        self.separate(cluster, left)
        for key in keys:
            self.assertEqual(first.incr(key, 5), b"105")
            self.assertEqual(first.incr(key, 6), b"111")
            self.assertEqual(second.incr(key, 30), b"130")
        self.join_again(cluster)
        cluster.wait_until_equal(keys)
        for client in self.clients(cluster):
            for key in keys:
                self.assertEqual(client.get(key), b"141")


COUNTERS = """
policies = ( { prefix = "count:"; resolver = "counter"; } );
"""


class OneAlone(ClusterCase):
    def test_it_says_that_no_quorum_is_met_and_what_it_took_lives_on(self):
        cluster = self.cluster(3, with_network=True)
        alone = cluster["n3"]
        client = self.client(alone)
        client.set(b"key", b"before")
        cluster.cut([alone])
        cluster.wait_until_it_notices(1, [alone])
        with self.assertRaisesRegex(Refused, "write quorum not met: 1 of 2"):
            client.set(b"key", b"alone")
        with self.assertRaisesRegex(Refused, "read quorum not met: 1 of 2"):
            client.get(b"key")
        cluster.heal()
        cluster.wait_until_it_notices(3)
        cluster.wait_until_settled()
        cluster.wait_until_equal([b"key"])
        values = {client.get(b"key") for client in self.clients(cluster)}
        self.assertEqual(len(values), 1)

    def nothing_is_lost_while_cut(self, ways):
        """Cuts from one node to another, with writes going on before, meanwhile and after."""
        cluster = self.cluster(3, with_network=True)
        with self.load(cluster) as load:
            load.wait_for(50)
            for sender, receiver in ways:
                cluster.cut_one_way(cluster[sender], cluster[receiver])
            load.wait_for(150)
            cluster.heal()
            load.wait_for(50)
        self.check_all_agree(cluster, load)

    @needs_network
    def test_a_node_that_is_heard_but_does_not_hear(self):
        self.nothing_is_lost_while_cut([("n1", "n3"), ("n2", "n3")])

    @needs_network
    def test_a_node_that_hears_but_is_not_heard(self):
        self.nothing_is_lost_while_cut([("n3", "n1"), ("n3", "n2")])

    @needs_network
    def test_two_that_do_not_hear_each_other_while_the_third_hears_both(self):
        self.nothing_is_lost_while_cut([("n1", "n2"), ("n2", "n1")])


class Packets(ClusterCase):
    @needs_queue
    def test_that_come_late_and_overtake_each_other(self):
        cluster = self.cluster(3, with_network=True)
        with self.load(cluster) as load:
            load.wait_for(50)
            for number, node in enumerate(cluster):
                cluster.network.delay(node.name, 1, 20, loss=0.01, seed=number)
            load.wait_for(100)
            cluster.network.end_delays()
        self.check_all_agree(cluster, load)


class Clocks(ClusterCase):
    @needs_clock
    def test_a_clock_that_is_half_a_minute_ahead_wins_nothing(self):
        cluster = self.empty_cluster()
        cluster.start(2)
        ahead = cluster.join("n3", clock=cluster.clock("n3", 30))
        cluster.wait_until_settled()
        behind, wrong = self.client(cluster["n1"]), self.client(ahead)
        keys = [b"key:%d" % number for number in range(50)]
        for key in keys:
            wrong.set(key, b"first")
            behind.set(key, b"second")
        for key in keys:
            for client in self.clients(cluster):
                self.assertEqual(client.get(key), b"second")

    @needs_clock
    def test_a_clock_that_is_an_hour_ahead_poisons_nobody(self):
        cluster = self.empty_cluster()
        cluster.start(2)
        ahead = cluster.join("n3", clock=cluster.clock("n3", 3600))
        keys = [b"key:%d" % number for number in range(50)]
        first = self.client(cluster["n1"])
        for key in keys:
            first.set(key, b"value")
        wrong = self.client(ahead)
        for key in keys:
            try:
                wrong.set(key, b"value")
            except Refused:
                pass
        for node in cluster["n1"], cluster["n2"]:
            for key in keys:
                for sibling in siblings_of(node, key):
                    milliseconds = int(sibling[2]) >> 20
                    self.assertLess(milliseconds, (time.time() + 90) * 1000)
        for key in keys:
            first.set(key, b"another")
            self.assertEqual(first.get(key), b"another")
