"""Nodes that join and leave while clients go on, and one that is not let in."""

from harness import ClusterCase
from nodes import wait_until


class Members(ClusterCase):
    def test_a_fourth_node_joins_under_load(self):
        cluster = self.cluster(3)
        with self.load(cluster) as load:
            load.wait_for(100)
            cluster.join("n4")
            cluster.wait_until_settled()
            load.wait_for(50)
        self.assertIn(cluster["n4"], {node for key in load.keys for node in cluster.owners(key)})
        cluster.wait_until_equal(load.keys)
        for node in cluster:
            load.check(node)

    def test_one_of_four_leaves_under_load(self):
        cluster = self.cluster(4)
        leaving = cluster["n4"]
        staying = [node for node in cluster if node is not leaving]
        with self.load(staying) as load:
            load.wait_for(100)
            cluster.leave(leaving)
            cluster.wait_until_settled(staying)
            load.wait_for(50)
        leaving.wait_for_end()
        cluster.wait_until_equal(load.keys)
        for node in staying:
            load.check(node)

    def test_a_dead_node_is_removed_and_its_share_copied_again(self):
        cluster = self.cluster(4)
        keys = [b"key:%d" % number for number in range(200)]
        client = self.client(cluster["n1"])
        for key in keys:
            client.set(key, b"value")
        dead = cluster["n4"]
        dead.kill()
        cluster.wait_until_it_notices(3)
        cluster.remove(dead)
        cluster.wait_until_settled()
        cluster.wait_until_equal(keys)
        for key in keys:
            self.assertEqual(client.get(key), b"value")


class Secrets(ClusterCase):
    def test_who_has_another_secret_is_kept_out(self):
        cluster = self.empty_cluster()
        right = cluster.write("right", "the secret of the three\n")
        wrong = cluster.write("wrong", "what a stranger knows\n")
        cluster.options += ["--cluster-secret-file", right]
        cluster.start(3)
        self.client(cluster["n1"]).set(b"key", b"value")
        stranger = cluster.new_node("n4")
        stranger.start(cluster.options[:-1] + [wrong], join=[cluster["n1"]])
        wait_until(lambda: "secret" in stranger.read_log().partition("\n")[2],
                   "the stranger says why it is not let in")
        members = [node for node in cluster if node is not stranger]
        cluster.wait_until_settled(members)
        self.assertIn(b"value", cluster["n2"].ask(b"get key\r\n"))
