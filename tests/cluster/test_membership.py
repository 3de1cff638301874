"""Who a node is, and who belongs to its cluster: what happens at starts and ends."""

import re
import shutil
import subprocess

from harness import ClusterCase
from nodes import SERVER, free_port, wait_until


def lines_since_start(node):
    return node.read_log().rpartition("\n--- ")[2].splitlines()[1:]


def table_of(node):
    """The version of the table that the node uses, and of how many nodes it is (-v)."""
    tables = re.findall(r"table (\d+)\.\d+ of (\d+) nodes is in use",
                        "\n".join(lines_since_start(node)))
    return tuple(map(int, tables[-1])) if tables else None


def id_of(node):
    """Who the node is: it says so when it starts again (-vv)."""
    ids = re.findall(r"node (\d+) knows its past", "\n".join(lines_since_start(node)))
    return ids[-1] if ids else None


def takes_part(node):
    return any("takes part in its cluster" in line for line in lines_since_start(node))


def have_one_table(nodes, members):
    tables = {table_of(node) for node in nodes}
    assert len(tables) == 1, tables
    return tables.pop()[1] == members


class Starts(ClusterCase):
    """Nodes that write what they decide into their logs."""

    def start(self, cluster, count):
        for number in range(1, count + 1):
            node = cluster.new_node("n%d" % number)
            node.start(cluster.options, join=[] if number == 1 else [cluster["n1"]])
            node.wait_until_it_answers()
        self.wait_until_one(list(cluster))

    def wait_until_one(self, nodes):
        for node in nodes:
            wait_until(lambda node=node: takes_part(node), "%s takes part" % node.name)
        wait_until(lambda: have_one_table(nodes, len(nodes)), "all have one table")

    def three_nodes(self):
        cluster = self.empty_cluster("-vv", "--max-clock-drift", "1")
        self.start(cluster, 3)
        return cluster

    def test_a_node_that_was_killed_is_the_same_node_again(self):
        cluster = self.three_nodes()
        node = cluster["n3"]
        was = id_of(node)
        node.kill()
        node.start(cluster.options)
        wait_until(lambda: takes_part(node), "n3 takes part again")
        self.assertEqual(id_of(node), was)
        for other in (cluster["n1"], cluster["n2"]):
            wait_until(lambda other=other: "node n3 has started again" in other.read_log(),
                       "%s hears of it" % other.name)
        self.wait_until_one(list(cluster))

    def test_it_finds_its_cluster_without_a_state_file_too(self):
        cluster = self.three_nodes()
        node = cluster["n2"]
        was = id_of(node)
        node.kill()
        node.state_file += ".none"
        cluster.restart(node)
        self.wait_until_one(list(cluster))
        self.assertEqual(id_of(node), was)

    def test_it_may_come_back_at_another_address(self):
        cluster = self.three_nodes()
        node = cluster["n2"]
        was = id_of(node)
        node.kill()
        node.peer_port = free_port()
        node.start(cluster.options)
        self.wait_until_one(list(cluster))
        self.assertEqual(id_of(node), was)
        self.client(node).set(b"key", b"value")
        self.assertEqual(self.client(cluster["n1"]).get(b"key"), b"value")

    def test_a_copy_of_a_node_that_runs_ends(self):
        cluster = self.three_nodes()
        node, copy = cluster["n2"], cluster.new_node("copy")
        shutil.copy(node.state_file, copy.state_file)
        copy.name = "n2"
        copy.start(cluster.options)
        self.assertEqual(copy.process.wait(25), 78)
        copy.process = None
        self.assertIn("another process runs as the node of this name", copy.read_log())
        self.wait_until_one([other for other in cluster if other is not copy])

    def test_a_cluster_whose_nodes_all_start_again_finds_itself(self):
        cluster = self.three_nodes()
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start(cluster.options)
        self.wait_until_one(list(cluster))

    def test_who_ends_says_so(self):
        cluster = self.three_nodes()
        cluster["n2"].terminate()
        for name in ("n1", "n3"):
            wait_until(lambda name=name: "node n2 is not reachable" in cluster[name].read_log(),
                       "%s hears of it" % name, patience_s=2)

    def test_who_has_left_ends_by_itself(self):
        cluster = self.three_nodes()
        leaving = cluster["n3"]
        cluster.leave(leaving)
        self.assertEqual(leaving.process.wait(25), 0)
        leaving.process = None
        self.assertIn("has left its cluster", leaving.read_log())
        self.wait_until_one([cluster["n1"], cluster["n2"]])
        leaving.start(cluster.options)      # its state file says so, too
        self.assertEqual(leaving.process.wait(25), 78)
        leaving.process = None
        self.assertIn("say --join to have it join", leaving.read_log())
        cluster.restart(leaving)
        self.wait_until_one(list(cluster))

    def test_all_nodes_are_emptied_by_one_flush_all(self):
        cluster = self.three_nodes()
        for number in range(50):
            self.client(cluster["n1"]).set(b"key:%d" % number, b"value")
        self.assertEqual(cluster["n2"].line(b"flush_all"), b"OK")
        for node in cluster:
            client = self.client(node)
            for number in range(50):
                self.assertIsNone(client.get(b"key:%d" % number))
        self.client(cluster["n3"]).set(b"after", b"value")
        self.assertEqual(self.client(cluster["n1"]).get(b"after"), b"value")


class Newcomers(ClusterCase):
    """Who is told that it cannot be a node of this cluster, and why."""

    def refuse(self, cluster, name, *options):
        """Runs a node that is to end by itself; returns its exit code and what it said."""
        command = [SERVER, "--node-name", name, "-l", "127.0.0.1", "-p", "-1", "--time-scale", "10",
                   "--cluster-listen", "127.0.0.1:0", "-u", "root"]
        command += ["--join", cluster["n1"].peer_address, "--partitions", "64", *options]
        ended = subprocess.run(command, stderr=subprocess.PIPE, timeout=25, check=False)
        return ended.returncode, ended.stderr.decode()

    def setUp(self):
        super().setUp()
        self.one = self.empty_cluster()
        node = self.one.new_node("n1")
        node.start(self.one.options)
        wait_until(lambda: takes_part(node), "n1 founds a cluster")

    def test_another_number_of_partitions_is_refused(self):
        code, said = self.refuse(self.one, "n2", "--partitions", "128")
        self.assertEqual(code, 78)
        self.assertIn("say --partitions 64", said)

    def test_another_number_of_copies_is_refused(self):
        code, said = self.refuse(self.one, "n2", "--copies", "2")
        self.assertEqual(code, 78)
        self.assertIn("say --copies 3", said)

    def test_a_name_in_use_is_refused(self):
        self.one.join("n2")
        wait_until(lambda: takes_part(self.one["n2"]), "n2 takes part")
        code, said = self.refuse(self.one, "n2")
        self.assertEqual(code, 78)
        self.assertIn("another process runs as the node of this name", said)

    def test_who_finds_nobody_goes_on_trying_and_says_so(self):
        late = self.one["n1"]
        late.terminate()
        node = self.one.new_node("n2")
        node.start(self.one.options, join=[late])
        wait_until(lambda: "no node of a cluster answers at --join" in node.read_log(), "it says so")
        late.start(self.one.options)
        wait_until(lambda: takes_part(node), "n2 is let in")


if __name__ == "__main__":
    import unittest

    unittest.main()
