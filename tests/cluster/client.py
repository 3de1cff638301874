"""Clients of a cluster: one connection, and a load of many that keep a record of what was promised.

A client here is given several nodes and goes on to the next when one does not serve it.  Elements are
the proof that nothing is lost: each is unique, is added to the set under a key by reading all
siblings and writing their union with it under their context (`vget`, `cas ... @context`), and must
be in the union of the siblings for ever once that write was answered STORED.
"""

import random
import threading
import time

from connection import Closed
from nodes import wait_until

HANG_S = 5.0        # an answer that takes longer is one that never comes
RETRY_S = 20.0      # how long a client looks for a node that serves it


class Refused(Exception):
    """The node answered that it cannot: SERVER_ERROR."""


class Hung(Exception):
    """No answer within HANG_S from a node that was there all the time."""


class Client:
    """A connection to one node.  Errors: Refused, OSError and Closed for a lost connection."""

    def __init__(self, node, timeout_s=HANG_S):
        self.node = node
        self.connection = node.connect(timeout_s)
        self.slowest_s = 0.0

    def close(self):
        self.connection.close()

    def _line(self):
        line = self.connection.line()
        if line.startswith((b"SERVER_ERROR", b"ERROR", b"CLIENT_ERROR")):
            raise Refused(line[:-2].decode())
        return line

    def ask(self, request):
        """A request that is answered by one line; that line without its end."""
        started = time.monotonic()
        self.connection.send(request)
        line = self._line()[:-2]
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        return line

    def set(self, key, value, ttl=0):
        line = self.ask(b"set %s 0 %d %d\r\n%s\r\n" % (key, ttl, len(value), value))
        assert line == b"STORED", line

    def delete(self, key):
        return self.ask(b"delete %s\r\n" % key)

    def incr(self, key, by):
        return self.ask(b"incr %s %d\r\n" % (key, by))

    def get(self, key):
        """The value, or None."""
        values, _ = self._values(b"get %s\r\n" % key)
        return values[0] if values else None

    def vget(self, key):
        """All siblings, and the context that covers them."""
        return self._values(b"vget %s\r\n" % key)

    def put(self, key, value, context):
        """A context write."""
        line = self.ask(b"cas %s 0 0 %d %s\r\n%s\r\n" % (key, len(value), context, value))
        assert line == b"STORED", line

    def _values(self, request):
        started = time.monotonic()
        self.connection.send(request)
        values, context = [], b"@"
        while True:
            line = self._line()
            if line == b"END\r\n":
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                return values, context
            words = line.split()
            assert words[0] == b"VALUE", line
            values.append(self.connection.read(int(words[3]) + 2)[:-2])
            context = words[4] if len(words) > 4 else b""


def elements(values):
    """The set that siblings make together."""
    return set().union(*(value.split(b"\n") for value in values)) - {b""}


def add_element(client, key, element):
    """Reads the set, and writes it with one more element."""
    values, context = client.vget(key)
    client.put(key, b"\n".join(sorted(elements(values) | {element})), context)


class Retrying:
    """A client that tries the next node where one does not serve it."""

    def __init__(self, nodes, seed=0):
        self.nodes = list(nodes)
        self.at = seed % len(self.nodes)
        self.client = None
        self.errors = []            # what nodes answered before another one did
        self.slowest_s = 0.0        # of what living nodes answered

    def close(self):
        if self.client is not None:
            self.slowest_s = max(self.slowest_s, self.client.slowest_s)
            self.client.close()
            self.client = None

    def do(self, what, *arguments):
        """what(client, ...), until a node does it; Refused when none does for RETRY_S."""
        give_up = time.monotonic() + RETRY_S
        while True:
            try:
                if self.client is None:
                    self.client = Client(self.nodes[self.at % len(self.nodes)])
                return what(self.client, *arguments)
            except (Refused, OSError, Closed) as wrong:
                self.errors.append("%s: %s" % (self._node().name, str(wrong) or repr(wrong)))
            except AssertionError as wrong:
                if "no reply for" not in str(wrong):
                    raise
                if not self._node().was_away(2 * HANG_S):
                    raise Hung("%s: %s" % (self._node().name, wrong)) from None
            if time.monotonic() > give_up:
                raise Refused("no node served this for %g s: %s" % (RETRY_S, self.errors[-5:]))
            self._next()

    def _node(self):
        return self.nodes[self.at % len(self.nodes)]

    def _next(self):
        self.close()
        self.at += 1
        time.sleep(0.01)


class Load:
    """Threads that add elements to sets, at nodes that chance chooses, and remember what was stored."""

    def __init__(self, nodes, threads=3, keys=12, seed=1, prefix=b"set"):
        self.nodes = list(nodes)
        self.keys = [b"%s:%d" % (prefix, number) for number in range(keys)]
        self.stored = {key: set() for key in self.keys}
        self.wrong = []             # what must not happen: hangs, requests that no node did
        self.errors = []            # what single nodes answered, when another one did it
        self.slowest_s = 0.0
        self.count = 0
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed * 100 + number,), daemon=True)
                         for number in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._ends.set()
        for thread in self._threads:
            thread.join(RETRY_S + 2 * HANG_S)
            if thread.is_alive():
                self.wrong.append("a client does not end")

    def _run(self, seed):
        chance = random.Random(seed)
        client = Retrying(self.nodes, seed)
        number = 0
        try:
            while not self._ends.is_set():
                number += 1
                key, element = chance.choice(self.keys), b"%d.%d" % (seed, number)
                client.do(add_element, key, element)
                with self._lock:
                    self.stored[key].add(element)
                    self.count += 1
        except Exception as wrong:      # to be reported by the test, not lost with the thread
            self.wrong.append("%s: %s" % (type(wrong).__name__, wrong))
        finally:
            client.close()
            with self._lock:
                self.errors += client.errors
                self.slowest_s = max(self.slowest_s, client.slowest_s)

    def wait_for(self, more):
        """Until so many more elements were stored."""
        goal = self.count + more
        wait_until(lambda: self.count >= goal or self.wrong, "%d elements stored" % goal)

    def check(self, node):
        """All that was promised is there when this node is asked."""
        assert not self.wrong, "\n".join(self.wrong)
        client = Retrying([node])
        for key in self.keys:
            values, _ = client.do(Client.vget, key)
            lost = self.stored[key] - elements(values)
            assert not lost, "%s has lost %d of %d elements of %r: %s" % (
                node.name, len(lost), len(self.stored[key]), key, sorted(lost)[:10])
        client.close()
