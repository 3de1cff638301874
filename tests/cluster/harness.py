"""What every test of a cluster stands on: clusters that are made for it, and ended after it."""

import unittest

import network
import nodes
from client import Client, Load


def needs_network(test):
    """Skips where nodes cannot have networks of their own."""
    return unittest.skipIf(network.why_not(), network.why_not())(test)


def needs_queue(test):
    reason = network.why_no_queue()
    return unittest.skipIf(reason, reason)(test)


def needs_clock(test):
    reason = nodes.why_no_clock()
    return unittest.skipIf(reason, reason)(test)


class ClusterCase(unittest.TestCase):
    """Each test has a cluster of its own: three_nodes(), or cluster() with what it needs."""

    def setUp(self):
        self.clusters = []

    def empty_cluster(self, *options, with_network=False):
        """One without nodes; `with_network` is for those that are cut off, where it can be had."""
        cluster = nodes.Cluster(options, with_network and network.why_not() is None)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        return cluster

    def cluster(self, count, *options, with_network=False):
        cluster = self.empty_cluster(*options, with_network=with_network)
        cluster.start(count)
        return cluster

    def client(self, node):
        client = Client(node)
        self.addCleanup(client.close)
        return client

    def clients(self, cluster):
        return [self.client(node) for node in cluster.living()]

    def load(self, nodes, **options):
        """A load, to be started by `with`."""
        return Load(nodes, **options)

    def check_all_agree(self, cluster, load):
        """In the end all owners hold the same, and every node has what was stored."""
        cluster.wait_until_settled()
        cluster.wait_until_equal(load.keys)
        for node in cluster:
            load.check(node)

    def show_logs(self):
        return "\n".join(cluster.logs for cluster in self.clusters)
