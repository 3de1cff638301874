"""Bad input: whatever comes, the server lives, and good requests after it are answered right."""

import random
import time
import unittest

import binary_packets as b
from connection import Closed
from harness import ServerCase

STORED = b"STORED\r\n"

# No flush among them: with a changed delay it would take effect later, and rightly so.
TEXT_SEEDS = [
    b"set key 1 100 5\r\nvalue\r\n", b"get key other\r\n", b"gets key\r\n", b"gat 100 key\r\n",
    b"cas key 1 0 5 123\r\nvalue\r\n", b"append key 0 0 1\r\nx\r\n", b"delete key\r\n",
    b"incr key 18446744073709551615\r\n", b"touch key 100 noreply\r\n",
    b"stats settings\r\n", b"verbosity 0\r\n", b"mg key k f v t s c O123 N30 R30 T30\r\n",
    b"ms key 5 T100 F5 C123 ME Oabc\r\nvalue\r\n", b"md key q I T30 C5\r\n",
    b"ma key N0 J13 D5 MD v\r\n", b"me key b\r\n", b"mn\r\n", b"lru_crawler metadump all\r\n",
    b"vget key\r\n", b"cas key 0 0 5 @AAAA\r\nvalue\r\n", b"delete key @AAAA\r\n",
    b"mg key y n\r\n", b"ms key 5 Y@AAAA y\r\nvalue\r\n",
]

BINARY_SEEDS = [
    b.store(b.SET, b"key", b"value", 1, 100), b.request(b.GET, b"key"), b.request(b.GETKQ, b"key"),
    b.arithmetic(b.INCR, b"key", 5, 1, 0), b.request(b.APPEND, b"key", b"more"),
    b.touch(b.GATK, b"key", 100), b.request(b.STAT, b"settings"), b.request(b.DELETE, b"key"),
    b.request(b.VERSION), b.request(b.NOOP),
    b.request(b.SASL_AUTH, b"PLAIN", b"\0u\0p"), b.request(b.GETV, b"key"),
    b.request(b.SETV, b"key", b"AAAAvalue", b"\0\0\0\1\0\0\0\0\0\0\0\4"),
    b.request(b.DELETEV, b"key", b"AAAA", b"\0\0\0\4"),
]

PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\0", b"\xff", b"\x80", b"\x81", b"-1", b"4294967296",
          b"18446744073709551616", b"2147483647", b"noreply", b"@", b"x" * 300, b" " * 50, b"\t",
          b"get ", b"set ", b"mg ", b"ms ", b"%s%n", b"q", b"k " * 30]


def mutate(random_source, seed):
    data = bytearray(seed)
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randint(0, len(data))
        what = random_source.randint(0, 4)
        if what == 0 and at < len(data):
            data[at] = random_source.randint(0, 255)
        elif what == 1:
            data[at:at] = random_source.choice(PIECES)
        elif what == 2:
            del data[at:at + random_source.randint(1, 8)]
        elif what == 3:
            data[at:at + random_source.randint(0, 4)] = random_source.choice(PIECES)
        else:
            data = data[:at]
    return bytes(data)


class Mutations(ServerCase):
    """Broken requests from a fixed seed; after each batch the server must still be itself."""

    UNIX = True
    BATCHES = 150

    def batch(self, random_source, seeds):
        sent = b"".join(mutate(random_source, random_source.choice(seeds)) for _ in range(40))
        c = self.server.connect()
        c.sock.settimeout(1)
        try:
            c.send(sent)
            c.sock.shutdown(1)
            c.read_all()
        except (OSError, AssertionError, Closed):
            pass
        c.close()
        return sent

    def still_right(self, sent):
        self.assertTrue(self.server.alive(), "died of %r" % sent)
        with self.server.connect() as c:
            c.ask(b"set canary 3 0 5\r\nalive\r\nget canary\r\n",
                  STORED + b"VALUE canary 3 5\r\nalive\r\nEND\r\n")

    def test_text(self):
        for number in range(self.BATCHES):
            with self.subTest(seed=number):
                self.still_right(self.batch(random.Random(number), TEXT_SEEDS))

    def test_binary(self):
        for number in range(self.BATCHES):
            with self.subTest(seed=number):
                self.still_right(self.batch(random.Random(number), BINARY_SEEDS))

    def test_noise(self):
        for number in range(50):
            source = random.Random(number)
            with self.subTest(seed=number):
                sent = [source.randbytes(5000)]
                self.still_right(self.batch(source, sent))


class Recovery(ServerCase):
    """A bad request, then a good one on the same connection: the good one is not disturbed."""

    UNIX = True

    def test_bad_then_good_in_one_write(self):
        good = b"set a 0 0 1\r\n1\r\nget a\r\n"
        answer = STORED + b"VALUE a 0 1\r\n1\r\nEND\r\n"
        blf = b"CLIENT_ERROR bad command line format\r\n"
        for bad, reply in [
                (b"nonsense\r\n", b"ERROR\r\n"), (b"get\r\n", blf),
                (b"set a 0 0\r\n", blf), (b"set a x 0 3\r\nabc\r\n", blf),
                (b"incr a x\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
                (b"touch a x\r\n", b"CLIENT_ERROR invalid exptime argument\r\n"),
                (b"set a 0 0 3\r\nabcdefgh\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n"),
                (b"mg a v v\r\n", b"CLIENT_ERROR duplicate flag\r\n"),
                (b"ms a 2 S5 S6\r\nab\r\n", b"CLIENT_ERROR <any>\r\n"),
                (b"ms a 2 k k\r\nab\r\n", b"CLIENT_ERROR duplicate flag\r\n"),
                (b"set big 0 0 1100000\r\n%s\r\n" % (b"v" * 1100000),
                 b"SERVER_ERROR object too large for cache\r\n"),
                (b"\0\1\2\3\4\r\n", b"ERROR\r\n")]:
            with self.subTest(bad[:40]):
                self.c.ask(bad + good, reply + answer)
                self.c.ask(good + bad + good, answer + reply + answer)

    def test_a_client_that_stops_in_the_middle_of_anything(self):
        for whole in TEXT_SEEDS + BINARY_SEEDS:
            for cut in range(1, len(whole)):
                with self.server.connect() as c:
                    c.send(whole[:cut])
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)

    def test_connections_do_not_leak(self):
        before = int(self.c.stats()["curr_connections"])
        for _ in range(300):
            with self.server.connect() as c:
                c.send(b"set a 0 0 100\r\nabc")
        give_up = time.monotonic() + 10
        while int(self.c.stats()["curr_connections"]) > before:
            self.assertLess(time.monotonic(), give_up, "connections leak")
            time.sleep(0.05)

    def test_a_slow_client_does_not_hold_up_others(self):
        slow = self.another()
        slow.send(b"set slow 0 0 10\r\nab")
        for i in range(100):
            self.c.ask(b"set k%d 0 0 1\r\n1\r\n" % i, STORED)
        slow.send(b"cdefghij\r\n")
        slow.expect(STORED)


if __name__ == "__main__":
    unittest.main()
