#!/usr/bin/python3
"""Breaks a cluster in one way after the other, as chance decides, and looks whether it keeps its word.

    soak.py [--server BINARY] [--seed N] [--seconds N] [--nodes N] [--verbose]

Each round starts a cluster and a load, does some faults that the round's seed decides, heals
everything, and checks: no request hung or was refused by all nodes, nothing that was stored is lost, all
owners hold the same, no hints are left.  A round that fails prints its seed; `--seed N --seconds 0`
does that one round again.  Where no namespaces are to be had, nodes are cut off by `debug cut`.
"""

import argparse
import os
import random
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
FAULTS_MAX = 6


class Round:
    """One cluster, its load and its faults.  At most one node is down or cut off at a time, so that
    every request can be served: with three copies, any two of a key's owners do."""

    def __init__(self, seed, nodes_module, network_module, client_module, verbose):
        self.chance = random.Random(seed)
        self.seed = seed
        self.verbose = verbose
        self.has_network = network_module.why_not() is None
        self.wait_until = nodes_module.wait_until
        self.cluster = nodes_module.Cluster(with_network=self.has_network)
        self.Load = client_module.Load
        self.faults = [self.kill, self.freeze, self.restart, self.cut_off, self.join, self.leave]
        if self.has_network:
            self.faults += [self.deafen, self.silence, self.cut_pair]

    def say(self, text):
        if self.verbose:
            print("  " + text, flush=True)

    def run(self, count):
        try:
            self.cluster.start(count)
            # Clients never ask a node that is about to leave, or one not here yet: the first three stay.
            with self.Load(list(self.cluster)[:3], seed=self.seed) as self.load:
                self.load.wait_for(30)
                for _ in range(self.chance.randint(1, FAULTS_MAX)):
                    self.chance.choice(self.faults)()
                    self.load.wait_for(20)
                self.load.wait_for(30)
            self.check()
        except BaseException:
            print(self.cluster.show_logs())
            raise
        finally:
            self.cluster.stop()

    def check(self):
        cluster = self.cluster
        cluster.wait_until_settled()
        cluster.wait_until_hints_are_gone()
        cluster.wait_until_equal(self.load.keys)
        for node in cluster.living():
            self.load.check(node)

    def some_node(self):
        return self.chance.choice(self.cluster.living())

    def a_while(self):
        """As long as it takes the load to do some writes."""
        self.load.wait_for(self.chance.choice((1, 10, 60)))

    def settle(self):
        self.cluster.wait_until_settled()

    def kill(self):
        node = self.some_node()
        self.say("kill %s" % node.name)
        node.kill()
        self.a_while()
        self.cluster.restart(node)
        self.settle()

    def restart(self):
        node = self.some_node()
        self.say("restart %s" % node.name)
        node.terminate()
        self.a_while()
        self.cluster.restart(node)
        self.settle()

    def freeze(self):
        node = self.some_node()
        self.say("freeze %s" % node.name)
        node.pause()
        self.a_while()
        node.resume()
        self.chance.choice((self.settle, self.a_while))()

    def cut_off(self):
        node = self.some_node()
        self.say("cut %s off" % node.name)
        self.cluster.cut([node])
        self._heal_later()

    def deafen(self):
        node = self.some_node()
        self.say("deafen %s" % node.name)
        for other in self.cluster.living():
            if other is not node:
                self.cluster.cut_one_way(other, node)
        self._heal_later()

    def silence(self):
        node = self.some_node()
        self.say("silence %s" % node.name)
        for other in self.cluster.living():
            if other is not node:
                self.cluster.cut_one_way(node, other)
        self._heal_later()

    def cut_pair(self):
        one, other = self.chance.sample(self.cluster.living(), 2)
        self.say("cut between %s and %s" % (one.name, other.name))
        self.cluster.cut_one_way(one, other)
        self.cluster.cut_one_way(other, one)
        self._heal_later()

    def _heal_later(self):
        self.a_while()
        self.cluster.heal()
        self.chance.choice((self.settle, self.a_while))()

    def join(self):
        if len(self.cluster.living()) >= 6:
            return
        self.settle()
        name = "n%d" % (len(list(self.cluster)) + 1)
        self.say("join %s" % name)
        self.cluster.join(name)
        self.chance.choice((self.settle, self.a_while))()

    def leave(self):
        if len(self.cluster.living()) <= 3:
            return
        self.settle()
        node = self.cluster.living()[-1]
        self.say("leave %s" % node.name)
        self.cluster.leave(node)
        self.cluster.wait_until_settled([other for other in self.cluster.living()
                                         if other is not node])
        node.wait_for_end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=os.environ.get("RINGCACHED", "./ringcached"))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=0, help="3 to 5 by chance if not given")
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--verbose", "-v", action="store_true")
    options = parser.parse_args()

    os.environ["RINGCACHED"] = os.path.abspath(options.server)
    sys.dont_write_bytecode = True
    sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "conformance")]
    import network
    if options.no_network:
        os.environ[network.WHY_NOT] = "--no-network was given"
    network.enter()
    network.prepare()
    import client
    import nodes

    seed, rounds, failed, started = options.seed, 0, 0, time.monotonic()
    while rounds == 0 or time.monotonic() - started < options.seconds:
        print("seed %d" % seed, flush=True)
        count = options.nodes or random.Random(seed).randint(3, 5)
        try:
            Round(seed, nodes, network, client, options.verbose).run(count)
        except Exception:
            traceback.print_exc()
            print("FAILED: soak.py --seed %d --seconds 0%s" % (
                seed, " --nodes %d" % options.nodes if options.nodes else ""), flush=True)
            failed += 1
        rounds += 1
        seed += 1
    print("%d passed, %d failed" % (rounds - failed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
