"""TLS between nodes: who has a certificate of the cluster's authority and its own name is let in."""

import os
import shutil
import unittest

from certificates import Authority
from harness import ClusterCase
from nodes import wait_until

REFUSED = "the certificate's common name is not the name of the node"
OF_ANOTHER = "the TLS handshake failed: do both nodes have certificates of one authority?"


@unittest.skipIf(shutil.which("openssl") is None, "not installed: openssl")
class Certificates(ClusterCase):
    def setUp(self):
        super().setUp()
        self.one = self.empty_cluster()
        self.authority = self.make_authority("ours")

    def make_authority(self, name):
        directory = os.path.join(self.one.directory.name, name)
        os.mkdir(directory)
        return Authority(directory, name)

    def start(self, name, authority, shown=None, join=()):
        """Starts a node with a certificate for the name `shown`, by default its own."""
        certificate, key = authority.issue(shown or name)
        node = self.one.new_node(name)
        node.start(self.one.options + [
            "--cluster-tls-cert", certificate, "--cluster-tls-key", key,
            "--cluster-tls-ca", authority.ca], join=join)
        node.wait_until_it_answers()
        return node

    def three_nodes(self):
        first = self.start("n1", self.authority)
        for name in ("n2", "n3"):
            self.start(name, self.authority, join=[first])
        self.one.wait_until_settled()
        return list(self.one)

    def is_kept_out(self, stranger, members, why):
        """Waits until a member says why it does not let the stranger in; looks that it is not in."""
        wait_until(lambda: why in members[0].read_log(), "a member says why")
        wait_until(lambda: "no node of a cluster answers at --join" in stranger.read_log(),
                   "the stranger says that it is alone")
        for node in members:
            self.assertEqual(node.status()["members"], str(len(members)))
            self.assertEqual(self.client(node).get(b"key"), b"value")

    def test_three_nodes_with_certificates_are_one_cache(self):
        nodes = self.three_nodes()
        keys = [b"key:%d" % number for number in range(60)]
        for number, key in enumerate(keys):
            self.client(nodes[number % 3]).set(key, b"x" * (1 + number * 500))
        for node in nodes:
            client = self.client(node)
            for number, key in enumerate(keys):
                self.assertEqual(client.get(key), b"x" * (1 + number * 500))
        self.one.wait_until_equal(keys)

    def test_one_that_was_killed_is_let_in_again(self):
        nodes = self.three_nodes()
        self.client(nodes[0]).set(b"key", b"value")
        nodes[2].kill()
        self.one.wait_until_it_notices(2)
        nodes[2].start(nodes[2].options)
        nodes[2].wait_until_it_answers()
        self.one.wait_until_settled()
        self.assertEqual(self.client(nodes[2]).get(b"key"), b"value")

    def test_one_with_the_name_of_another_is_kept_out(self):
        members = self.three_nodes()
        self.client(members[0]).set(b"key", b"value")
        stranger = self.start("n4", self.authority, shown="n3", join=members[:1])
        self.is_kept_out(stranger, members, REFUSED)
        self.assertIn("it refuses: " + REFUSED, stranger.read_log())

    def test_one_of_another_authority_is_kept_out(self):
        members = self.three_nodes()
        self.client(members[0]).set(b"key", b"value")
        stranger = self.start("n4", self.make_authority("theirs"), join=members[:1])
        self.is_kept_out(stranger, members, OF_ANOTHER)

    def test_one_without_a_certificate_is_kept_out(self):
        members = self.three_nodes()
        self.client(members[0]).set(b"key", b"value")
        stranger = self.one.new_node("n4")
        stranger.start(self.one.options, join=members[:1])
        self.is_kept_out(stranger, members, OF_ANOTHER)
