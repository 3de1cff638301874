"""The other nodes, when the tests are run against one node of a cluster (run.py --cluster).

Every server that a test starts then founds a cluster, which two more nodes join before the test goes
on.  What cannot be the same there as on a single server is in cluster_differences.py.
"""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "cluster"))

import nodes  # noqa: E402

SHARED = ("-m", "-I", "--config", "--max-siblings", "--time-scale")     # options all nodes must have
# What they need not have of a real cluster: size, and patience.
SMALL = ["--partitions", "64", "--time-scale", "5", "--request-timeout", "5000"]


class Companions:
    """Two more nodes for one server under test."""

    def __init__(self):
        self.port = nodes.free_port()
        self.directory = tempfile.TemporaryDirectory(prefix="companions-")
        self.nodes = [nodes.Node(name, "127.0.0.1", self.directory.name) for name in ("n2", "n3")]

    def options_of_server(self):
        """What makes the server under test the first node of the cluster."""
        return ["--node-name", "n1", "--cluster-listen", "127.0.0.1:%d" % self.port] + SMALL

    def start(self, args):
        """The server runs, with these options of its own: the others join it."""
        options = SMALL + ["-t", "2"]
        for option, value in zip(args, list(args[1:]) + [None]):
            if option in SHARED:
                options += [option, value]
        for node in self.nodes:
            node.state_file = None
            node.start(options, join_addresses=["127.0.0.1:%d" % self.port])
        for node in self.nodes:
            node.wait_until_it_answers()
        for node in self.nodes:
            nodes.wait_until_settled(node, 3)

    def stop(self):
        for node in self.nodes:
            if node.process is not None:
                node.ask_to_end()
        for node in self.nodes:
            if node.process is not None:
                node.wait_for_end()

    def kill(self):
        for node in self.nodes:
            if node.process is not None:
                node.kill()
        self.directory.cleanup()
