"""stats: the names and forms that monitoring reads, and that each counter counts the right thing."""

import re
import time
import unittest

from harness import Server, ServerCase, memcached_bug

STORED = b"STORED\r\n"

GENERAL = """pid uptime time version libevent pointer_size rusage_user rusage_system max_connections
curr_connections total_connections rejected_connections connection_structures response_obj_oom
response_obj_count response_obj_bytes read_buf_count read_buf_bytes read_buf_bytes_free read_buf_oom
reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired
get_flushed delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses
cas_hits cas_badval touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors
bytes_read bytes_written limit_maxbytes accepting_conns listen_disabled_num
time_in_listen_disabled_us threads conn_yields hash_power_level hash_bytes hash_is_expanding
slab_reassign_rescues slab_reassign_chunk_rescues slab_reassign_inline_reclaim
slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_busy_nomem
slab_reassign_last_busy_status slab_reassign_running slabs_moved lru_crawler_running
lru_crawler_starts lru_maintainer_juggles malloc_fails log_worker_dropped log_worker_written
log_watcher_skipped log_watcher_sent log_watchers unexpected_napi_ids round_robin_fallback bytes
curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched evicted_active
evictions reclaimed crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold
moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped""".split()

LRU_ONLY = set("""lru_crawler_running lru_crawler_starts lru_maintainer_juggles evicted_active
moves_to_cold moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped""".split())

ITEMS = """number number_hot number_warm number_cold age_hot age_warm age mem_requested evicted
evicted_nonzero evicted_time outofmemory tailrepairs reclaimed expired_unfetched evicted_unfetched
evicted_active crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold
moves_to_warm moves_within_lru direct_reclaims hits_to_hot hits_to_warm hits_to_cold
hits_to_temp""".split()

SLABS = """chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks
free_chunks_end get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval
touch_hits""".split()


class Form(ServerCase):
    UNIX = True

    def test_general_fields_are_those_of_memcached_in_its_order(self):
        found = list(self.c.stats())
        optional = {"libevent", "unexpected_napi_ids"}
        self.assertEqual([name for name in found if name not in optional],
                         [name for name in GENERAL if name not in optional])

    def test_general_fields_fit_in_4_kb(self):
        """collectd reads them into such a buffer."""
        self.c.send(b"stats\r\n")
        text = self.c.read_until(b"END\r\n")
        self.assertLess(len(text), 4096)
        for line in text.split(b"\r\n")[:-2]:
            self.assertRegex(line, rb"^STAT [a-z_]+ \S+$")

    def test_the_form_of_some_values(self):
        found = self.c.stats()
        self.assertEqual(found["version"], "1.6.45")
        self.assertEqual(found["pid"], str(self.server.process.pid))
        self.assertEqual(found["pointer_size"], "64")
        self.assertAlmostEqual(int(found["time"]), time.time(), delta=3)
        self.assertRegex(found["rusage_user"], r"^\d+\.\d{6}$")
        self.assertRegex(found["rusage_system"], r"^\d+\.\d{6}$")
        self.assertEqual(found["max_connections"], "1024")
        self.assertEqual(found["limit_maxbytes"], "67108864")
        self.assertEqual(found["accepting_conns"], "1")
        self.assertEqual(found["threads"], "2")
        self.assertEqual(found["hash_is_expanding"], "0")
        for name, value in found.items():
            if name not in ("version", "libevent", "slab_reassign_last_busy_status"):
                self.assertRegex(value, r"^[0-9.]+$", name)

    def test_sub_commands_end_with_end(self):
        for sub in [b"settings", b"items", b"slabs", b"sizes", b"conns"]:
            with self.subTest(sub):
                self.c.stats(sub)

    def test_items_with_nothing_stored(self):
        server = self.own_server(unix=True)
        with server.connect() as c:
            c.ask(b"stats items\r\n", b"END\r\n")
            self.assertEqual(c.stats(b"slabs")["active_slabs"], "0")

    def test_items(self):
        self.c.ask(b"set a 0 0 3\r\none\r\n", STORED)
        found = self.c.stats(b"items")
        by_class = {}
        for name, value in found.items():
            number, field = re.fullmatch(r"items:(\d+):(\w+)", name).groups()
            self.assertRegex(value, r"^\d+$")
            by_class.setdefault(number, []).append(field)
        for fields in by_class.values():
            for name in ITEMS:
                self.assertIn(name, fields)
        self.assertEqual(sum(int(value) for name, value in found.items()
                             if name.endswith(":number")), 1)

    def test_slabs(self):
        self.c.ask(b"set a 0 0 3\r\none\r\n", STORED)
        found = self.c.stats(b"slabs")
        number = next(name for name in found if ":" in name).split(":")[0]
        for name in SLABS:
            self.assertIn("%s:%s" % (number, name), found)
        self.assertGreaterEqual(int(found["active_slabs"]), 1)
        self.assertGreater(int(found["total_malloced"]), 0)
        for name, value in found.items():
            self.assertRegex(value, r"^\d+$", name)

    def test_sizes(self):
        self.c.ask(b"stats sizes\r\n", b"STAT sizes_status disabled\r\nEND\r\n")

    def test_sizes_tracked(self):
        with self.own_server("-o", "track_sizes", unix=True).connect() as c:
            c.ask(b"set a 0 0 3\r\none\r\n", STORED)
            found = c.stats(b"sizes")
            self.assertTrue(all(size.isdigit() for size in found), found)
            self.assertEqual(sum(int(count) for count in found.values()), 1)

    def test_conns(self):
        found = self.c.stats(b"conns")
        for name in found:
            self.assertRegex(name, r"^\d+:(addr|listen_addr|state|secs_since_last_cmd)$")
        self.assertIn("conn_listening", found.values())
        self.assertIn("conn_parse_cmd", found.values())
        self.assertIn("unix:" + self.server.path, found.values())

    def test_conns_over_tcp(self):
        server = self.own_server(udp=True)
        with server.connect() as c:
            found = c.stats(b"conns")
            self.assertIn("tcp:127.0.0.1:%d" % server.port, found.values())
            self.assertIn("udp:127.0.0.1:%d" % server.udp_port, found.values())
            own = "tcp:127.0.0.1:%d" % c.sock.getsockname()[1]
            number = [name for name, value in found.items() if value == own][0].split(":")[0]
            self.assertEqual(found[number + ":listen_addr"], "tcp:127.0.0.1:%d" % server.port)
            self.assertEqual(found[number + ":secs_since_last_cmd"], "0")

    def test_conns_are_in_the_order_of_their_descriptors(self):
        others = [self.server.connect() for _ in range(7)]
        for other in others:
            other.ask(b"mn\r\n", b"MN\r\n")
        numbers = [int(name.split(":")[0]) for name in self.c.stats(b"conns")]
        self.assertEqual(numbers, sorted(numbers))
        self.assertGreater(len(set(numbers)), 7)

    def test_a_set_over_a_flushed_item_reclaims_it(self):
        with self.own_server(unix=True).connect() as c:
            c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
            self.assertEqual(c.stats()["reclaimed"], "0")
            time.sleep(1.1)  # memcached's clock counts seconds
            c.ask(b"flush_all\r\n", b"OK\r\n")
            c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
            self.assertEqual(c.stats()["reclaimed"], "1")

    def test_detail(self):
        self.c.ask(b"stats detail on\r\n", b"OK\r\n")
        self.c.ask(b"get p:a\r\nset p:a 0 0 1\r\n1\r\nget p:a p:b q:a\r\ndelete p:a\r\n",
                   b"END\r\nSTORED\r\nVALUE p:a 0 1\r\n1\r\nEND\r\nDELETED\r\n")
        self.c.send(b"stats detail dump\r\n")
        self.assertEqual(sorted(self.c.read_until(b"END\r\n").split(b"\r\n")[:-2]),
                         [b"PREFIX p get 3 hit 1 set 1 del 1", b"PREFIX q get 1 hit 0 set 0 del 0"])
        self.c.ask(b"stats detail off\r\n", b"OK\r\n")
        self.c.ask(b"get p:a\r\n", b"END\r\n")
        self.c.send(b"stats detail dump\r\n")
        self.assertIn(b"PREFIX p get 3 hit 1", self.c.read_until(b"END\r\n"))

    @memcached_bug("sub-commands match by prefix, so `stats r` resets")
    def test_sub_commands_are_whole_words(self):
        self.c.ask(b"stats r\r\n", b"ERROR\r\n")
        self.c.ask(b"stats se\r\n", b"ERROR\r\n")

    def test_cachedump(self):
        self.c.ask(b"set a 0 0 3\r\none\r\n", STORED)
        found = b""
        give_up = time.monotonic() + 3
        while b"ITEM" not in found and time.monotonic() < give_up:
            for number in sorted({name.split(":")[1] for name in self.c.stats(b"items")}):
                self.c.send(b"stats cachedump %s 100\r\n" % number.encode())
                found += self.c.read_until(b"END\r\n")
        self.assertRegex(found, rb"ITEM a \[3 b; \d+ s\]\r\n")


class Counters(ServerCase):
    """Each command moves just the counters it should."""

    UNIX = True

    def setUp(self):
        super().setUp()
        # What was flushed between two tests is counted when it is next looked for.
        self.c.ask(b"get a b c\r\n", b"END\r\n")

    def moves(self, request, reply, **expected):
        before = self.c.stats()
        self.c.ask(request, reply)
        after = self.c.stats()
        ignore = {"cmd_meta", "bytes_read", "bytes_written", "time", "uptime", "rusage_user",
                  "rusage_system", "lru_maintainer_juggles", "moves_to_cold", "moves_to_warm",
                  "moves_within_lru", "total_connections", "bytes", "curr_items", "total_items",
                  "hash_bytes", "crawler_items_checked", "crawler_reclaimed", "conn_yields",
                  "lru_crawler_starts", "lru_crawler_running", "read_buf_count", "read_buf_bytes",
                  "read_buf_bytes_free", "response_obj_count", "response_obj_bytes",
                  "log_worker_dropped", "log_worker_written", "log_watchers", "log_watcher_sent",
                  "curr_connections", "connection_structures", "get_expired", "get_flushed",
                  "expired_unfetched", "reclaimed"} - set(expected)
        changed = {name: float(after[name]) - float(before[name]) for name in after
                   if name not in ignore and after[name] != before[name]
                   and re.fullmatch(r"[0-9.]+", after[name]) and name != "version"}
        self.assertEqual(changed, {name: count for name, count in expected.items() if count})

    def test_get(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        self.moves(b"get a b c\r\n", b"VALUE a 0 1\r\n1\r\nEND\r\n", cmd_get=3, get_hits=1,
                   get_misses=2)
        self.moves(b"gets a\r\n", b"VALUE a 0 1 <n>\r\n1\r\nEND\r\n", cmd_get=1, get_hits=1)

    def test_set(self):
        # A key that no other test has: one that was flushed still counts until it is swept.
        self.moves(b"set new 0 0 1\r\n1\r\n", STORED, cmd_set=1, total_items=1, curr_items=1)
        self.moves(b"set new 0 0 1\r\n2\r\n", STORED, cmd_set=1, total_items=1, curr_items=0)
        self.moves(b"add new 0 0 1\r\n2\r\n", b"NOT_STORED\r\n", cmd_set=1)
        self.moves(b"replace new 0 0 1\r\n2\r\nappend new 0 0 1\r\n2\r\n"
                   b"prepend new 0 0 1\r\n2\r\n",
                   STORED * 3, cmd_set=3)

    def test_cas(self):
        self.moves(b"cas a 0 0 1 1\r\n1\r\n", b"NOT_FOUND\r\n", cmd_set=1, cas_misses=1)
        self.c.ask(b"ms a 1 E10\r\n1\r\n", b"HD\r\n")
        self.moves(b"cas a 0 0 1 9\r\n1\r\n", b"EXISTS\r\n", cmd_set=1, cas_badval=1)
        self.moves(b"cas a 0 0 1 10\r\n1\r\n", STORED, cmd_set=1, cas_hits=1)

    def test_delete(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        self.moves(b"delete a\r\n", b"DELETED\r\n", delete_hits=1)
        self.moves(b"delete a\r\n", b"NOT_FOUND\r\n", delete_misses=1)

    def test_incr_and_decr(self):
        self.c.ask(b"set a 0 0 2\r\n10\r\n", STORED)
        self.moves(b"incr a 1\r\n", b"11\r\n", incr_hits=1)
        self.moves(b"incr b 1\r\n", b"NOT_FOUND\r\n", incr_misses=1)
        self.moves(b"decr a 1\r\n", b"10\r\n", decr_hits=1)
        self.moves(b"decr b 1\r\n", b"NOT_FOUND\r\n", decr_misses=1)

    def test_touch(self):
        self.c.ask(b"set a 0 0 2\r\n10\r\n", STORED)
        self.moves(b"touch a 0\r\n", b"TOUCHED\r\n", cmd_touch=1, touch_hits=1)
        self.moves(b"touch b 0\r\n", b"NOT_FOUND\r\n", cmd_touch=1, touch_misses=1)

    def test_gat(self):
        self.c.ask(b"set a 0 0 2\r\n10\r\n", STORED)
        self.moves(b"gat 0 a\r\n", b"VALUE a 0 2\r\n10\r\nEND\r\n", cmd_touch=1, touch_hits=1)

    def test_flush(self):
        self.moves(b"flush_all\r\n", b"OK\r\n", cmd_flush=1)

    def test_expired_and_flushed(self):
        self.c.ask(b"set a 0 -1 1\r\n1\r\n", STORED)
        before = self.c.stats()
        self.c.ask(b"get a\r\n", b"END\r\n")
        self.assertEqual(int(self.c.stats()["get_misses"]), int(before["get_misses"]) + 1)

    @memcached_bug("cmd_meta stays 0")
    def test_meta(self):
        before = int(self.c.stats()["cmd_meta"])
        self.c.send(b"mg a\r\nms a 1\r\n1\r\nmg a\r\nmd a\r\nma a\r\n")
        for _ in range(5):
            self.c.line()
        found = self.c.stats()
        self.assertGreater(int(found["cmd_meta"]), before)

    def test_too_large(self):
        self.moves(b"set a 0 0 2000000\r\n%s\r\n" % (b"v" * 2000000),
                   b"SERVER_ERROR object too large for cache\r\n", store_too_large=1)

    def test_bytes_and_items(self):
        before = self.c.stats()
        self.c.ask(b"".join(b"set k%02d 0 0 1000\r\n%s\r\n" % (i, b"v" * 1000) for i in range(50)),
                   STORED * 50)
        after = self.c.stats()
        self.assertEqual(int(after["curr_items"]) - int(before["curr_items"]), 50)
        self.assertGreaterEqual(int(after["bytes"]) - int(before["bytes"]), 50000)
        self.assertLessEqual(int(after["bytes"]) - int(before["bytes"]), 100000)
        self.c.ask(b"".join(b"delete k%02d\r\n" % i for i in range(50)), b"DELETED\r\n" * 50)
        end = self.c.stats()
        self.assertEqual(end["curr_items"], before["curr_items"])
        self.assertEqual(end["bytes"], before["bytes"])

    def test_bytes_read_and_written(self):
        before = self.c.stats()
        self.c.send(b"version\r\n" * 10)
        for _ in range(10):
            self.c.line()
        after = self.c.stats()
        self.assertEqual(int(after["bytes_read"]) - int(before["bytes_read"]), 90 + 7)
        self.assertGreaterEqual(int(after["bytes_written"]) - int(before["bytes_written"]), 160)

    def test_connections(self):
        before = self.c.stats()
        time.sleep(0.3) # connections of the test before may still be closing
        while self.c.stats()["curr_connections"] != before["curr_connections"]:
            before = self.c.stats()
            time.sleep(0.3)
        others = [self.another() for _ in range(5)]
        for other in others:
            other.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        after = self.c.stats()
        self.assertEqual(int(after["total_connections"]) - int(before["total_connections"]), 5)
        self.assertEqual(int(after["curr_connections"]) - int(before["curr_connections"]), 5)
        for other in others:
            other.close()
        give_up = time.monotonic() + 5
        while int(self.c.stats()["curr_connections"]) > int(before["curr_connections"]):
            self.assertLess(time.monotonic(), give_up)

    def test_reset(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\nget a b\r\n", STORED + b"VALUE a 0 1\r\n1\r\nEND\r\n")
        self.c.ask(b"stats reset\r\n", b"RESET\r\n")
        found = self.c.stats()
        for name in ["cmd_get", "cmd_set", "get_hits", "get_misses", "cmd_flush", "total_items",
                     "evictions"]:
            self.assertEqual(found[name], "0", name)
        self.assertEqual(found["curr_items"], "1")

    def test_evictions(self):
        with self.own_server("-m", "8", unix=True).connect() as c:
            data = b"v" * 10000
            for i in range(2000):
                c.send(b"set k%d 0 0 10000 noreply\r\n%s\r\n" % (i, data))
            c.ask(b"mn\r\n", b"MN\r\n")
            found = c.stats()
            self.assertEqual(int(found["curr_items"]) + int(found["evictions"]), 2000)
            self.assertEqual(found["evictions"], found["evicted_unfetched"])


class FewerFields(unittest.TestCase):
    """stats.t of memcached counts the lines: 84 with the LRU threads off."""

    def test_without_the_lru_threads(self):
        server = Server(["-o", "no_lru_crawler,no_lru_maintainer"], unix=True)
        self.addCleanup(server.stop)
        with server.connect() as c:
            found = c.stats()
        self.assertEqual(set(GENERAL) - set(found) - {"unexpected_napi_ids"}, LRU_ONLY)


if __name__ == "__main__":
    unittest.main()
