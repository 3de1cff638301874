"""watch: the log streams; and the walks over all keys, lru_crawler metadump and mgdump."""

import re
import time
import unittest

from harness import ServerCase, ringcached_only

STORED = b"STORED\r\n"
STAMP = rb"ts=\d+\.\d+ gid=\d+ "


class Watch(ServerCase):
    THREADS = 1

    def watcher(self, streams=b""):
        w = self.another()
        w.send(b"watch" + (b" " + streams if streams else b"") + b"\r\n")
        self.assertEqual(w.line(), b"OK\r\n")
        time.sleep(0.1)
        return w

    def log_line(self, w, expected, tries=50):
        """The next log line that matches; lines of other streams' making are passed over."""
        seen = []
        for _ in range(tries):
            line = w.read_until(b"\n").rstrip(b"\r\n")
            if re.fullmatch(STAMP + expected, line):
                return line
            seen.append(line)
        self.fail("not seen: %r in %r" % (expected, seen))

    def test_fetchers_are_the_default(self):
        w = self.watcher()
        self.c.ask(b"set a 0 0 3\r\none\r\nget a\r\nget nothing\r\n",
                   STORED + b"VALUE a 0 3\r\none\r\nEND\r\nEND\r\n")
        self.log_line(w, rb"type=item_get key=a status=found clsid=\d+ cfd=\d+ size=3")
        self.log_line(w, rb"type=item_get key=nothing status=not_found clsid=\d+ cfd=\d+ size=0")

    def test_every_command_that_looks_at_an_item_fetches(self):
        w = self.watcher()
        self.c.ask(b"set n 0 0 1\r\n1\r\n", STORED)
        self.log_line(w, rb"type=item_get key=n status=not_found clsid=0 cfd=\d+ size=0", 1)
        for request, reply in [(b"set n 0 0 1\r\n1\r\n", STORED), (b"incr n 1\r\n", b"2\r\n"),
                               (b"touch n 0\r\n", b"TOUCHED\r\n"),
                               (b"delete n\r\n", b"DELETED\r\n")]:
            self.c.ask(request, reply)
            self.log_line(w, rb"type=item_get key=n status=found clsid=\d+ cfd=\d+ size=1", 1)

    def test_mutations(self):
        w = self.watcher(b"mutations")
        self.c.ask(b"set a 0 100 3\r\none\r\n", STORED)
        self.log_line(w, rb"type=item_store key=a status=stored cmd=set ttl=100 clsid=\d+ cfd=\d+ "
                         rb"size=3")
        self.c.ask(b"add a 0 0 3\r\none\r\n", b"NOT_STORED\r\n")
        self.log_line(w, rb"type=item_store key=a status=not_stored cmd=add ttl=0 clsid=\d+ "
                         rb"cfd=\d+ size=3")
        self.c.ask(b"cas a 0 0 3 1\r\none\r\n", b"EXISTS\r\n")
        self.log_line(w, rb"type=item_store key=a status=exists cmd=cas ttl=0 clsid=\d+ cfd=\d+ "
                         rb"size=3")
        self.c.ask(b"append a 0 0 3\r\ntwo\r\n", STORED)
        self.log_line(w, rb"type=item_store key=a status=stored cmd=append .*")

    def test_deletions(self):
        w = self.watcher(b"deletions")
        self.c.ask(b"set a 0 0 3\r\none\r\ndelete a\r\n", STORED + b"DELETED\r\n")
        self.log_line(w, rb"type=deleted key=a cmd=delete clsid=\d+ size=3")
        self.c.ask(b"set a 0 0 3\r\none\r\nmd a\r\n", STORED + b"HD\r\n")
        self.log_line(w, rb"type=deleted key=a cmd=md clsid=\d+ size=3")

    def test_evictions(self):
        server = self.own_server("-m", "8", threads=1)
        w = server.connect()
        self.addCleanup(w.close)
        w.send(b"watch evictions\r\n")
        self.assertEqual(w.line(), b"OK\r\n")
        with server.connect() as c:
            for i in range(1200):
                c.send(b"set k%d 0 0 10000 noreply\r\n%s\r\n" % (i, b"v" * 10000))
            c.ask(b"mn\r\n", b"MN\r\n")
        line = w.read_until(b"\n").rstrip()
        self.assertRegex(line, b"^" + STAMP
                         + rb"type=eviction key=k\d+ fetch=no ttl=-?\d+ la=\d+ clsid=\d+ size=10000$")

    @ringcached_only("its crawler runs once in minutes")
    def test_sysevents(self):
        w = self.watcher(b"sysevents rawcmds")
        self.c.ask(b"flush_all\r\n", b"OK\r\n")
        self.c.ask(b"set a 0 1 1\r\na\r\nset b 0 0 1\r\nb\r\n", STORED + STORED)
        self.log_line(w, rb"type=lru_crawler crawler=1 lru=all low_mark=0 next_reclaims=0 "
                         rb"since_run=\d+ next_run=0 elapsed=\d+ examined=\d+ reclaimed=1")

    def test_connections(self):
        w = self.watcher(b"connevents")
        c = self.another()
        c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        port = c.sock.getsockname()[1]
        self.log_line(w, rb"type=conn_new rip=127\.0\.0\.1 rport=%d transport=tcp cfd=\d+" % port)
        c.send(b"quit\r\n")
        self.log_line(w, rb"type=conn_close rip=127\.0\.0\.1 rport=%d transport=tcp reason=normal "
                         rb"cfd=\d+" % port)
        c = self.another()
        c.send(b"GET / HTTP/1.1\r\n")
        port = c.sock.getsockname()[1]
        self.log_line(w, rb"type=conn_close rip=127\.0\.0\.1 rport=%d transport=tcp reason=error "
                         rb"cfd=\d+" % port)

    def test_keys_are_uri_encoded(self):
        w = self.watcher(b"mutations")
        self.c.ask(b"set a#%%\x01\xff 0 0 1\r\n1\r\n".replace(b"%%", b"%"), STORED)
        line = self.log_line(w, rb"type=item_store key=\S+ status=stored .*")
        self.assertIn(b"key=a%23%25%01%ff ", line.lower())

    def test_several_streams_at_once(self):
        w = self.watcher(b"fetchers mutations deletions")
        self.c.ask(b"set a 0 0 1\r\n1\r\nget a\r\ndelete a\r\n",
                   STORED + b"VALUE a 0 1\r\n1\r\nEND\r\nDELETED\r\n")
        self.log_line(w, rb"type=item_store key=a .*")
        self.log_line(w, rb"type=item_get key=a .*")
        self.log_line(w, rb"type=deleted key=a .*")

    def test_the_connection_number_is_that_of_stats_conns(self):
        w = self.watcher(b"fetchers")
        self.c.ask(b"get a\r\n", b"END\r\n")
        line = self.log_line(w, rb"type=item_get key=a .*")
        number = re.search(rb"cfd=(\d+)", line).group(1).decode()
        own = "tcp:127.0.0.1:%d" % self.c.sock.getsockname()[1]
        self.assertEqual(self.c.stats(b"conns")[number + ":addr"], own)

    def test_nothing_may_precede_watch_in_one_write(self):
        self.c.send(b"version\r\nwatch\r\n")
        self.assertEqual(self.c.line(), b"VERSION 1.6.45\r\n")
        self.assertEqual(self.c.line(), b"ERROR cannot pipeline other commands before watch\r\n")

    def test_the_limit_of_watchers(self):
        server = self.own_server(threads=1)
        held = []
        self.addCleanup(lambda: [w.close() for w in held])
        answer = None
        for _ in range(25):
            w = server.connect()
            held.append(w)
            w.send(b"watch\r\n")
            answer = w.line()
            if answer != b"OK\r\n":
                break
        self.assertEqual(answer, b"WATCHER_TOO_MANY log watcher limit reached\r\n")
        self.assertEqual(len(held), 21)

    def test_a_watcher_that_goes_away_harms_nobody(self):
        for _ in range(5):
            w = self.watcher(b"fetchers mutations")
            self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
            w.close()
            self.c.ask(b"get a\r\n" * 100, b"VALUE a 0 1\r\n1\r\nEND\r\n" * 100)

    def test_a_watcher_that_does_not_read_holds_up_nobody(self):
        w = self.watcher(b"fetchers")
        key = b"k" * 200
        start = time.monotonic()
        for _ in range(100):
            self.c.ask(b"get %s\r\n" % key * 500, b"END\r\n" * 500)
        self.assertLess(time.monotonic() - start, 20)
        found = self.c.stats()
        self.assertGreater(int(found["log_watcher_skipped"]) + int(found["log_worker_dropped"])
                           + int(found["log_watcher_sent"]), 0)
        del w


class Dump(ServerCase):
    UNIX = True

    def dump(self, request, end):
        """A walk may find its predecessor still at work."""
        give_up = time.monotonic() + 5
        while True:
            c = self.another()
            c.send(request)
            first = c.line()
            if not first.startswith(b"BUSY") or time.monotonic() > give_up:
                break
            time.sleep(0.05)
        return first if first == end else first + c.read_until(end)

    def fill(self):
        self.c.ask(b"".join(b"set key%d %d 0 5\r\nvalue\r\n" % (i, i) for i in range(100)),
                   STORED * 100)

    def metadump(self, which=b"all"):
        return self.dump(b"lru_crawler metadump %s\r\n" % which, b"END\r\n")

    def test_metadump(self):
        self.fill()
        self.c.ask(b"set timed 0 1000 1\r\n1\r\nget timed\r\n",
                   STORED + b"VALUE timed 0 1\r\n1\r\nEND\r\n")
        for which in [b"all", b"hash"]:
            with self.subTest(which):
                lines = self.metadump(which).split(b"\n")
                self.assertEqual(lines[0], b"OK\r")
                self.assertEqual(lines[-2:], [b"END\r", b""])
                keys = set()
                for line in lines[1:-2]:
                    found = re.fullmatch(rb"key=(\S+) exp=(-1|\d+) la=(\d+) cas=(\d+) "
                                         rb"fetch=(yes|no) cls=\d+ size=\d+ flags=(\d+) ", line)
                    self.assertTrue(found, line)
                    key, exp, la, _, fetched, flags = found.groups()
                    keys.add(key)
                    if key == b"timed":
                        self.assertAlmostEqual(int(exp), time.time() + 1000, delta=3)
                        self.assertEqual(fetched, b"yes")
                    else:
                        self.assertEqual((exp, fetched, flags), (b"-1", b"no", key[3:]))
                    self.assertAlmostEqual(int(la), time.time(), delta=4)
                self.assertEqual(keys, {b"key%d" % i for i in range(100)} | {b"timed"})

    def test_metadump_of_keys_with_odd_bytes(self):
        self.c.ask(b"set a%b\x01 0 0 1\r\n1\r\n", STORED)
        self.assertIn(b"key=a%25b%01 ", self.metadump())

    def test_mgdump(self):
        self.fill()
        self.c.ask(b"ms AAEC 1 b\r\n1\r\n", b"HD\r\n")
        for which in [b"all", b"hash"]:
            with self.subTest(which):
                text = self.dump(b"lru_crawler mgdump %s\r\n" % which, b"EN\r\n")
                lines = set(text.split(b"\r\n")) - {b"", b"OK", b"EN"}
                self.assertEqual(lines, {b"mg key%d" % i for i in range(100)} | {b"mg AAEC b"})

    def test_a_dump_of_many_keys_while_others_work(self):
        count = 20000
        for start in range(0, count, 1000):
            self.c.ask(b"".join(b"set key%d 0 0 5\r\nvalue\r\n" % i
                                for i in range(start, start + 1000)), STORED * 1000)
        d = self.another()
        d.send(b"lru_crawler metadump hash\r\n")
        self.assertEqual(d.line(), b"OK\r\n")
        for i in range(200):
            self.c.ask(b"set other%d 0 0 1\r\n1\r\n" % i, STORED)
        text = d.read_until(b"END\r\n")
        keys = re.findall(rb"^key=(key\d+) ", text, re.M)
        # A growing index may show some twice, and must not hide any.
        self.assertEqual(len(set(keys)), count)
        self.assertLess(len(keys), count + count // 10)

    def test_crawl(self):
        give_up = time.monotonic() + 5
        while True:
            self.c.send(b"lru_crawler crawl all\r\n")
            line = self.c.line()
            if not line.startswith(b"BUSY") or time.monotonic() > give_up:
                break
        self.assertEqual(line, b"OK\r\n")

    def test_nonsense(self):
        for sub in [b"metadump", b"mgdump", b"crawl"]:
            self.c.send(b"lru_crawler %s 300\r\n" % sub)
            self.assertIn(self.c.line(), (b"BADCLASS invalid class id\r\n",
                                          b"BUSY currently processing crawler request\r\n"))


if __name__ == "__main__":
    unittest.main()
