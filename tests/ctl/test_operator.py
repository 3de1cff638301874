"""What operators ask of real nodes, and what these do about it: `cluster ...`, `stats ...`, `debug ...`
and the node list for clients."""

import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness

try:  # in pymemcache from 4.0.1 on
    from pymemcache.client.ext.aws_ec_client import AWSElastiCacheHashClient
except ImportError:
    AWSElastiCacheHashClient = None

RINGCTL = os.path.join(os.path.dirname(os.environ.get("RINGCACHED", "./ringcached")), "ringctl")
SOURCE_DIR = os.path.dirname(os.path.abspath(__file__))
DOCUMENTATION = os.path.join(SOURCE_DIR, "..", "..", "docs", "CLUSTER.md")
PATIENCE_S = 60
SCALE = 10  # of all waits of background work


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Node(harness.Server):
    def __init__(self, name, join=None, more=(), **options):
        self.name, self.peer_port = name, free_port()
        super().__init__(["--node-name", name, "--cluster-listen", "127.0.0.1:%d" % self.peer_port,
                          "--time-scale", str(SCALE), *(["--join", join] if join else []), *more],
                         debug=True, **options)
        self.peer_address = "127.0.0.1:%d" % self.peer_port

    def lines(self, command):
        """The lines of an answer: up to END, or one error."""
        with self.connect() as connection:
            connection.send(command.encode() + b"\r\n")
            lines = [connection.line().decode().rstrip("\r\n")]
            while lines[-1].startswith("STAT "):
                lines.append(connection.line().decode().rstrip("\r\n"))
        return lines

    def ask(self, command):
        """The answer by name; an error is a failure."""
        lines = self.lines(command)
        assert lines[-1] == "END", (command, lines)
        return dict((line[5:] + " ").split(" ", 1) for line in lines[:-1])

    def get(self, command, name):
        return self.ask(command)[name].strip()

    def ctl(self, *words):
        """The exit code and what ringctl says of this node."""
        done = subprocess.run([RINGCTL, "--server", "127.0.0.1:%d" % self.port, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
        return done.returncode, done.stdout.decode()


def wait_until(holds, what):
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "not within %d s: %s" % (PATIENCE_S, what)
        time.sleep(0.05)


def is_settled(node, count):
    try:
        status = node.ask("cluster status")
    except (OSError, harness.Closed):
        return False
    seen = [name for name, value in status.items() if name.endswith(":seen") and
            value.strip() in ("up", "self")]
    return (status["is_settled"].strip(), status["warming"].strip(),
            status["members"].strip(), len(seen)) == ("yes", "0", str(count), count)


class Cluster(unittest.TestCase):
    """A class has its own cluster of these nodes."""

    NAMES = ("a", "b:2", "c")

    @classmethod
    def setUpClass(cls):
        cls.nodes = {}
        cls.addClassCleanup(cls.stop)
        for name in cls.NAMES:
            cls.start(name)
        cls.settle()

    @classmethod
    def start(cls, name, more=()):
        first = next(iter(cls.nodes.values())).peer_address if cls.nodes else None
        cls.nodes[name] = Node(name, first, more)
        return cls.nodes[name]

    @classmethod
    def settle(cls):
        for node in cls.nodes.values():
            wait_until(lambda node=node: is_settled(node, len(cls.nodes)), node.name + " settles")

    @classmethod
    def stop(cls):
        for node in cls.nodes.values():
            node.kill()

    @property
    def a(self):
        return self.nodes["a"]


class Looking(Cluster):
    def test_status_has_each_node_as_it_is_seen(self):
        for node in self.nodes.values():
            status = node.ask("cluster status")
            self.assertEqual(status["node"].strip(), node.name)
            for other in self.nodes.values():
                fields = {name: status["%s:%s" % (other.name, name)].strip()
                          for name in ("seen", "status", "address", "peer_address", "owned", "warming")}
                self.assertEqual(fields, {
                    "seen": "self" if node is other else "up", "status": "up", "owned": "1024",
                    "warming": "0", "address": "127.0.0.1:%d" % other.port,
                    "peer_address": other.peer_address})

    def test_every_line_is_in_the_documentation(self):
        with open(DOCUMENTATION) as file:
            documented = set(re.findall(r"`([a-z_0-9]+)(?:\.\.\.)?`", file.read()))
        said = set()
        for command in ("cluster status", "cluster ring", "cluster ring k", "cluster hints",
                        "cluster moves", "cluster plan", "stats cluster", "stats ring",
                        "stats peers", "stats hints", "stats repair"):
            said |= {name.rpartition(":")[2] for name in self.a.ask(command)}
        said = {re.sub(r"_(before|after)$", "", name) for name in said}
        self.assertEqual(sorted(said - documented), [])

    def test_all_nodes_name_the_same_owners_and_coordinator(self):
        for key in ("k", "user:1", "x" * 250):
            answers = [node.ask("cluster ring " + key) for node in self.nodes.values()]
            self.assertEqual(answers[0], answers[1])
            self.assertEqual(answers[0], answers[2])
            self.assertEqual(sorted(answers[0]["owners"].split()), sorted(self.NAMES))
            self.assertEqual(answers[0]["coordinator"].strip(), answers[0]["owners"].split()[0])

    def test_debug_owners_is_the_same(self):
        self.assertEqual(self.a.ask("debug owners k"), self.a.ask("cluster ring k"))

    def test_stats_are_given_over_the_binary_protocol_too(self):
        with self.a.connect() as connection:
            connection.send(struct.pack(">BBHBBHIIQ", 0x80, 0x10, 4, 0, 0, 0, 4, 7, 0) + b"ring")
            names = []
            while True:
                head = struct.unpack(">BBHBBHIIQ", connection.read(24))
                self.assertEqual((head[1], head[5], head[7]), (0x10, 0, 7))
                body = connection.read(head[6])
                if not body:
                    break
                names.append(body[:head[2]].decode())
        self.assertEqual(names, list(self.a.ask("stats ring")))

    def test_an_answer_comes_in_its_place_among_others(self):
        with self.a.connect() as connection:
            connection.send(b"set k 0 0 1\r\n1\r\nget k\r\ncluster ring k\r\nget k\r\nstats hints\r\nmn\r\n")
            got = connection.read_until(b"MN\r\n")
        self.assertRegex(got, rb"^STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\nSTAT key k\r\n(STAT .*\r\n)+END\r\n"
                              rb"VALUE k 0 1\r\n1\r\nEND\r\nSTAT node a\r\n(STAT .*\r\n)+END\r\nMN\r\n$")

    def test_who_asks_and_goes_does_no_harm(self):
        for _ in range(20):
            with self.a.connect() as connection:
                connection.send(b"cluster status\r\ncluster plan\r\n")
        self.assertEqual(self.a.get("cluster status", "node"), "a")

    def test_what_is_no_command_is_refused_with_words(self):
        for command, text in (("cluster", "there is no such cluster command"),
                              ("cluster frob", "there is no such cluster command"),
                              ("cluster leave", "too few or too many words"),
                              ("cluster status now", "too few or too many words"),
                              ("cluster ring" + " k" * 40, "too few or too many words"),
                              ("cluster leave nobody", "there is no node nobody"),
                              ("cluster weight a heavy", "a weight is a number"),
                              ("cluster weight a 65536", "a weight is a number"),
                              ("cluster plan frob a", "there is no act frob"),
                              ("cluster plan leave", "usage: leave NODE"),
                              ("cluster plan join x weight", "usage: join NAME"),
                              ("cluster replace a c", "c owns something already"),
                              ("cluster repair 1024", "a partition is a number from 0 to 1023"),
                              ("cluster commit", "nothing is planned at this node")):
            lines = self.a.lines(command)
            self.assertEqual(len(lines), 1, command)
            self.assertTrue(lines[0].startswith("CLIENT_ERROR " + text), lines)

    def test_ringctl_shows_them(self):
        code, out = self.a.ctl("status", "--all")
        self.assertEqual(code, 0, out)
        for node in self.nodes.values():
            self.assertRegex(out, r"(?m)^%s +127\.0\.0\.1:%d +- +up +100 +100\.0 %% .* of 64\.0 MB +0 +0 "
                             % (node.name, node.port))
        self.assertNotIn(" sees ", out)
        self.assertEqual(self.a.ctl("status", "--names"), (0, "a\nb:2\nc\n"))
        self.assertEqual(json.loads(self.a.ctl("--json", "ring", "k")[1])[0]["owners"],
                         self.a.ask("cluster ring k")["owners"].split())

    def test_ringctl_names_the_nodes_in_contexts(self):
        self.assertEqual(self.a.ctl("put", "shown", "v")[0], 0)
        coordinator = self.a.get("cluster ring shown", "coordinator")
        code, out = self.nodes["c"].ctl("vget", "shown")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^seen:    %s:0\.\.[0-9]+ \(until 20" % coordinator)

    def test_repair_and_drain_end(self):
        self.assertEqual(self.a.ctl("repair"), (0, "done\n"))
        self.assertEqual(self.a.ctl("repair", "7"), (0, "done\n"))
        self.assertEqual(self.nodes["c"].ctl("drain"), (0, "done\n"))
        self.assertEqual(self.nodes["c"].get("cluster status", "is_draining"), "yes")

    def test_debug_starts_repair_and_handoff(self):
        self.assertEqual(self.a.lines("debug repair"), ["OK"])
        self.assertEqual(self.a.lines("debug handoff"), ["OK"])
        self.assertEqual(self.a.lines("debug cut nobody")[0][:26], "CLIENT_ERROR there is no n")
        self.assertEqual(self.a.lines("debug cut a")[0][:20], "CLIENT_ERROR a node ")


class Discovery(Cluster):
    def nodes_of(self, answer):
        return sorted(answer.split(b"\n")[1].decode().split(" "))

    def test_clients_are_told_of_all_nodes(self):
        expected = sorted("127.0.0.1|127.0.0.1|%d" % node.port for node in self.nodes.values())
        with self.a.connect() as connection:
            connection.send(b"config get cluster\r\n")
            size = int(re.fullmatch(rb"CONFIG cluster 0 (\d+)\r\n", connection.line())[1])
            body = connection.read(size)
            self.assertEqual(connection.read(7), b"\r\nEND\r\n")
            self.assertEqual(self.nodes_of(body), expected)
            connection.send(b"get k\r\nget AmazonElastiCache:cluster\r\nget k\r\n")
            self.assertEqual(connection.line(), b"END\r\n")
            self.assertEqual(connection.line(), b"VALUE AmazonElastiCache:cluster 0 %d\r\n" % size)
            self.assertEqual(connection.read(size), body)
            self.assertEqual(connection.read(12), b"\r\nEND\r\nEND\r\n")

    def test_all_nodes_tell_the_same_and_the_version_rises(self):
        before = [node.ctl("config") for node in self.nodes.values()]
        self.assertEqual(len(set(before)), 1)
        version = int(before[0][1].split()[1])
        leaver = self.start("leaver")
        self.settle()
        between = self.a.ctl("config")[1]
        self.assertIn("|%d" % leaver.port, between)
        self.assertGreater(int(between.split()[1]), version)
        self.assertEqual(self.a.ctl("leave", "leaver"), (0, "done\n"))
        self.nodes.pop("leaver").kill()
        after = self.a.ctl("config")[1]
        self.assertGreater(int(after.split()[1]), int(between.split()[1]))
        self.assertNotIn("|%d" % leaver.port, after)


    @unittest.skipIf(AWSElastiCacheHashClient is None, "not installed: pymemcache with auto-discovery")
    def test_a_client_with_auto_discovery_finds_all_nodes(self):
        client = AWSElastiCacheHashClient("127.0.0.1:%d" % self.a.port, timeout=10)
        self.assertEqual(sorted(client.clients),
                         sorted("127.0.0.1:%d" % node.port for node in self.nodes.values()))
        for i in range(50):
            self.assertTrue(client.set("discovered%d" % i, b"v", noreply=False))
            self.assertEqual(client.get("discovered%d" % i), b"v")
        client.close()


class Acts(Cluster):
    NAMES = ("a", "b", "c", "d")

    def balance(self):
        status = self.a.ask("cluster status")
        return {name: int(status[name + ":owned"]) for name in self.nodes}

    def test_1_a_plan_is_a_preview_and_changes_nothing(self):
        before = self.balance()
        shown = self.a.ask("cluster plan weight d 0")
        self.assertEqual(shown["act_1"].strip(), "weight d 0")
        self.assertEqual(int(shown["d:owned_after"]), 0)
        self.assertEqual(int(shown["partitions_moved"]), before["d"])
        self.assertEqual(int(self.a.ask("cluster plan join e weight 100")["acts"]), 2)
        self.assertTrue(self.a.lines("cluster commit")[0].startswith("CLIENT_ERROR the plan has a join"))
        self.assertEqual(self.a.get("cluster plan clear", "acts"), "0")
        self.assertEqual(self.balance(), before)
        self.assertEqual(before, {"a": 768, "b": 768, "c": 768, "d": 768})

    def test_2_what_was_planned_is_committed(self):
        code, out = self.a.ctl("plan", "weight", "d", "50")
        self.assertEqual(code, 0, out)
        self.assertIn("1. weight d 50\n", out)
        planned = int(self.a.get("cluster plan", "d:owned_after"))
        self.assertEqual(self.a.ctl("commit"), (0, "done\n"))
        self.settle()
        self.assertEqual(self.balance()["d"], planned)
        self.assertLess(planned, 768)

    def test_3_zones_are_set(self):
        for name, zone in (("a", "east"), ("b", "west"), ("c", "east"), ("d", "west")):
            self.a.ask("cluster zone %s %s" % (name, zone))
        wait_until(lambda: self.nodes["c"].get("cluster status", "d:zone") == "west", "c knows")
        self.assertEqual(self.a.ctl("weight", "d", "100"), (0, "done\n"))
        self.settle()

    def test_4_a_spare_takes_the_place_of_another(self):
        self.start("spare", ["--weight", "0", "--zone", "west"])
        self.settle()
        self.assertEqual(self.balance()["spare"], 0)
        keys = ["k%d" % i for i in range(50)]
        for key in keys:
            self.assertEqual(self.a.ctl("put", key, "v")[0], 0)
        self.assertEqual(self.a.ctl("replace", "d", "spare"), (0, "done\n"))
        self.nodes.pop("d").kill()
        self.settle()
        self.assertEqual(self.balance(), {"a": 768, "b": 768, "c": 768, "spare": 768})
        for key in keys:
            self.assertEqual(self.nodes["spare"].ctl("get", key)[1].split("\n")[0][:1], "v")

    def test_5_a_dead_node_is_removed(self):
        self.nodes.pop("spare").kill()
        wait_until(lambda: self.a.get("cluster status", "spare:seen") == "down", "a notices")
        self.assertEqual(self.a.ctl("remove", "spare"), (0, "done\n"))
        self.settle()
        self.assertEqual(self.balance(), {"a": 1024, "b": 1024, "c": 1024})

    def test_6_nothing_is_done_without_a_majority_unless_forced(self):
        for name in ("b", "c"):
            self.assertEqual(self.a.lines("debug cut " + name), ["OK"])
        wait_until(lambda: self.a.get("cluster status", "has_majority") == "no", "a is alone")
        code, out = self.a.ctl("weight", "a", "90")
        self.assertEqual(code, 1)
        self.assertIn("no majority of the nodes is reachable from here: 1 of 3", out)
        self.assertEqual(self.a.get("cluster status", "a:weight"), "100")
        self.assertEqual(self.a.get("cluster status", "b:is_cut"), "yes")
        self.a.ask("cluster weight a 90 force")
        self.assertEqual(self.a.get("cluster status", "a:weight"), "90")
        for name in ("b", "c"):
            self.assertEqual(self.a.lines("debug heal " + name), ["OK"])
        self.settle()
        self.assertEqual(self.nodes["c"].get("cluster status", "a:weight"), "90")

    def test_7_the_last_that_owns_something_stays(self):
        for name in ("b", "c"):
            self.a.ask("cluster plan leave " + name)
        self.assertTrue(self.a.lines("cluster plan leave a")[0].startswith(
            "CLIENT_ERROR no node would be left"))
        self.assertEqual(self.a.get("cluster plan", "acts"), "2")


class Permission(unittest.TestCase):
    REFUSAL = "CLIENT_ERROR cluster acts are taken from loopback, a Unix socket or after a login"

    @staticmethod
    def own_address():
        """An address of this machine that is not loopback, or None.  Nothing is sent."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(("192.0.2.1", 9))
            except OSError:
                return None
            return sock.getsockname()[0]

    def start(self, more=(), **options):
        node = Node("alone", more=more, **options)
        self.addCleanup(node.kill)
        wait_until(lambda: node.get("cluster status", "is_settled") == "yes", "it founds its cluster")
        return node

    def test_acts_are_taken_over_a_unix_socket(self):
        node = self.start(unix=True)
        self.assertEqual(node.get("cluster weight alone 7", "act_1"), "weight alone 7")

    def test_acts_from_elsewhere_need_a_login_and_questions_do_not(self):
        address = self.own_address()
        if address is None:
            self.skipTest("this machine has no address but loopback")

        def ask(node, command, login=b""):  # over that address
            with socket.create_connection((address, node.ports[1][1]), 10) as sock:
                connection = harness.Connection(sock)
                if login:
                    connection.send(b"set l 0 0 %d\r\n%s\r\n" % (len(login), login))
                    self.assertEqual(connection.line(), b"STORED\r\n")
                connection.send(command)
                return connection.line().decode().rstrip("\r\n")

        node = self.start(listen="127.0.0.1," + address)
        for act in (b"weight alone 7", b"commit", b"plan leave alone", b"drain", b"repair"):
            self.assertEqual(ask(node, b"cluster " + act + b"\r\n"), self.REFUSAL)
        self.assertEqual(ask(node, b"cluster status\r\n"), "STAT node alone")
        self.assertEqual(ask(node, b"cluster plan\r\n"), "STAT acts 0")

        with tempfile.NamedTemporaryFile("w") as users:
            users.write("me:pass\n")
            users.flush()
            other = Node("other", listen="127.0.0.1," + address, more=["-Y", users.name])
        self.addCleanup(other.kill)
        self.assertTrue(ask(other, b"cluster drain\r\n").startswith("CLIENT_ERROR unauth"))
        self.assertEqual(ask(other, b"cluster drain\r\n", b"me pass"), "STAT is_draining yes")

    def test_a_server_that_is_no_node_says_so(self):
        server = harness.Server()
        self.addCleanup(server.kill)
        with server.connect() as connection:
            connection.send(b"cluster status\r\n")
            self.assertIn(b"CLIENT_ERROR this server is no node of a cluster", connection.line())
            connection.send(b"get AmazonElastiCache:cluster\r\n")
            self.assertEqual(connection.line(), b"END\r\n")

    def test_a_node_tells_of_itself_while_it_looks_for_its_cluster(self):
        node = Node("lost", join="127.0.0.1:%d" % free_port())
        self.addCleanup(node.kill)
        self.assertEqual(node.get("cluster status", "node"), "lost")
        self.assertEqual(node.get("stats cluster", "epoch"), "0")
        for command in ("cluster ring", "cluster plan", "cluster commit", "cluster leave lost"):
            self.assertEqual(node.lines(command), [
                "SERVER_ERROR this node is still looking for its cluster: it has no table"])


if __name__ == "__main__":
    unittest.main()
