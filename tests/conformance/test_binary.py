"""The binary protocol: every opcode, quiet and not, and every status."""

import struct
import unittest

import binary_packets as b
from harness import Server, ServerCase, memcached_bug

FLAGS0 = b"\0\0\0\0"


class BinaryCase(ServerCase):
    """Replies are compared whole; where the cas is not known before, with `cas=None`."""

    UNIX = True

    def setUp(self):
        self.assertTrue(self.server.alive(), "the server is gone")
        self.c = self.server.connect()
        self.addCleanup(self.c.close)
        self.ask(b.request(b.FLUSH), b.response(b.FLUSH))

    def ask(self, sent, expected=b""):
        """The exact answer; a NOOP shows where it ends."""
        self.c.send(sent + b.request(b.NOOP, opaque=0x7e57))
        got = b""
        end = b.response(b.NOOP, opaque=0x7e57)
        while not got.endswith(end):
            got += self.c.read(1)
        self.assertEqual(got[:-len(end)], expected)

    def reply(self, sent):
        self.c.send(sent)
        return b.read_reply(self.c)

    def done(self, sent, **fields):
        """The reply, which must be a success with these fields."""
        reply = self.reply(sent)
        self.assertEqual(reply.status, b.OK, reply)
        for name, value in fields.items():
            self.assertEqual(getattr(reply, name), value, reply)
        return reply

    def failed(self, sent, status, key=b"", text=None):
        opcode, opaque = sent[1], struct.unpack(">I", sent[12:16])[0]
        self.ask(sent, b.response(opcode, status, key=key, opaque=opaque, value=text))

    def value_of(self, key):
        reply = self.reply(b.request(b.GET, key))
        return reply.value if reply.status == b.OK else None

    def set(self, key, value, flags=0, exptime=0):
        return self.done(b.store(b.SET, key, value, flags, exptime)).cas


class BinaryGet(BinaryCase):
    def test_get_answers_flags_value_and_cas(self):
        cas = self.set(b"a", b"one", 0xdeadbeef)
        self.assertGreater(cas, 0)
        self.ask(b.request(b.GET, b"a", opaque=77),
                 b.response(b.GET, extras=b"\xde\xad\xbe\xef", value=b"one", opaque=77, cas=cas))

    def test_getk_answers_the_key_too(self):
        cas = self.set(b"a", b"one")
        self.ask(b.request(b.GETK, b"a"),
                 b.response(b.GETK, extras=FLAGS0, key=b"a", value=b"one", cas=cas))

    def test_get_of_a_missing_key(self):
        self.failed(b.request(b.GET, b"nothing", opaque=5), b.NOT_FOUND)

    def test_getk_of_a_missing_key_answers_the_key(self):
        self.failed(b.request(b.GETK, b"nothing", opaque=5), b.NOT_FOUND, b"nothing", b"")

    def test_quiet_gets_hide_the_miss(self):
        cas = self.set(b"a", b"1")
        self.ask(b.request(b.GETQ, b"x", opaque=1) + b.request(b.GETQ, b"a", opaque=2)
                 + b.request(b.GETKQ, b"y", opaque=3) + b.request(b.GETKQ, b"a", opaque=4),
                 b.response(b.GETQ, extras=FLAGS0, value=b"1", opaque=2, cas=cas)
                 + b.response(b.GETKQ, extras=FLAGS0, key=b"a", value=b"1", opaque=4, cas=cas))

    def test_gat_answers_and_sets_the_time_to_live(self):
        cas = self.set(b"a", b"1", 3)
        self.ask(b.touch(b.GAT, b"a", 100),
                 b.response(b.GAT, extras=b"\0\0\0\3", value=b"1", cas=cas))
        self.ask(b.touch(b.GATK, b"a", 100),
                 b.response(b.GATK, extras=b"\0\0\0\3", key=b"a", value=b"1", cas=cas))
        self.done(b.touch(b.GAT, b"a", 2592001))
        self.assertIsNone(self.value_of(b"a"))

    def test_gat_of_a_missing_key(self):
        self.failed(b.touch(b.GAT, b"x", 10), b.NOT_FOUND)
        self.failed(b.touch(b.GATK, b"x", 10), b.NOT_FOUND, b"x", b"")
        self.ask(b.touch(b.GATQ, b"x", 10) + b.touch(b.GATKQ, b"x", 10), b"")

    def test_quiet_gat_answers_a_hit(self):
        cas = self.set(b"a", b"1")
        self.ask(b.touch(b.GATQ, b"a", 10) + b.touch(b.GATKQ, b"a", 10),
                 b.response(b.GATQ, extras=FLAGS0, value=b"1", cas=cas)
                 + b.response(b.GATKQ, extras=FLAGS0, key=b"a", value=b"1", cas=cas))

    def test_touch(self):
        self.set(b"a", b"1", 9)
        self.done(b.touch(b.TOUCH, b"a", 100), extras=b"\0\0\0\x09", value=b"")
        self.assertEqual(self.value_of(b"a"), b"1")
        self.failed(b.touch(b.TOUCH, b"x", 100), b.NOT_FOUND)

    def test_a_key_may_hold_any_byte(self):
        for key in [b"with space", b"line\r\nend", b"\0\1\2", b"\x80", bytes(range(250))]:
            with self.subTest(key):
                cas = self.set(key, key)
                self.ask(b.request(b.GETK, key),
                         b.response(b.GETK, extras=FLAGS0, key=key, value=key, cas=cas))

    def test_a_large_value(self):
        data = bytes(range(256)) * 4000
        self.set(b"a", data)
        self.assertEqual(self.value_of(b"a"), data)

    def test_an_empty_value(self):
        self.set(b"a", b"")
        self.assertEqual(self.value_of(b"a"), b"")


class BinaryStore(BinaryCase):
    def test_set_answers_the_new_cas(self):
        one = self.set(b"a", b"1")
        two = self.set(b"a", b"2")
        self.assertGreater(two, one)
        self.done(b.request(b.GET, b"a"), cas=two, value=b"2")

    def test_set_with_a_cas_compares(self):
        cas = self.set(b"a", b"1")
        self.failed(b.store(b.SET, b"a", b"2", cas=cas + 1000, opaque=9), b.EXISTS)
        self.assertEqual(self.value_of(b"a"), b"1")
        self.done(b.store(b.SET, b"a", b"2", cas=cas))
        self.failed(b.store(b.SET, b"x", b"2", cas=5), b.NOT_FOUND)

    def test_add_stores_only_what_is_not_there(self):
        self.done(b.store(b.ADD, b"a", b"1", 7))
        self.failed(b.store(b.ADD, b"a", b"2"), b.EXISTS)
        self.assertEqual(self.value_of(b"a"), b"1")

    def test_replace_stores_only_what_is_there(self):
        self.failed(b.store(b.REPLACE, b"a", b"1"), b.NOT_FOUND)
        cas = self.set(b"a", b"1")
        self.done(b.store(b.REPLACE, b"a", b"2", cas=cas))
        self.failed(b.store(b.REPLACE, b"a", b"3", cas=cas), b.EXISTS)
        self.assertEqual(self.value_of(b"a"), b"2")

    def test_append_and_prepend(self):
        self.failed(b.request(b.APPEND, b"a", b"1"), b.NOT_STORED)
        self.failed(b.request(b.PREPEND, b"a", b"1"), b.NOT_STORED)
        self.set(b"a", b"mid", 5)
        self.done(b.request(b.APPEND, b"a", b">"))
        self.done(b.request(b.PREPEND, b"a", b"<"))
        self.done(b.request(b.GET, b"a"), value=b"<mid>", extras=b"\0\0\0\5")

    def test_delete(self):
        cas = self.set(b"a", b"1")
        self.failed(b.request(b.DELETE, b"a", cas=cas + 1), b.EXISTS)
        self.done(b.request(b.DELETE, b"a", cas=cas))
        self.failed(b.request(b.DELETE, b"a"), b.NOT_FOUND)
        self.assertIsNone(self.value_of(b"a"))

    def test_incr_and_decr(self):
        self.done(b.arithmetic(b.INCR, b"n", 5, 100), value=struct.pack(">Q", 100))
        self.done(b.arithmetic(b.INCR, b"n", 5, 100), value=struct.pack(">Q", 105))
        self.done(b.arithmetic(b.DECR, b"n", 6, 100), value=struct.pack(">Q", 99))
        self.done(b.arithmetic(b.DECR, b"n", 1000, 100), value=struct.pack(">Q", 0))
        self.done(b.request(b.GET, b"n"), value=b"0  ")
        self.set(b"n", b"18446744073709551615")
        self.done(b.arithmetic(b.INCR, b"n", 1, 0), value=struct.pack(">Q", 0))

    def test_incr_that_may_not_create(self):
        self.failed(b.arithmetic(b.INCR, b"n", 1, 5, -1), b.NOT_FOUND)
        self.failed(b.arithmetic(b.DECR, b"n", 1, 5, -1), b.NOT_FOUND)

    def test_incr_of_what_is_no_number(self):
        self.set(b"a", b"abc")
        self.failed(b.arithmetic(b.INCR, b"a"), b.NON_NUMERIC)

    def test_incr_with_a_cas_compares(self):
        cas = self.set(b"n", b"1")
        self.failed(b.arithmetic(b.INCR, b"n", cas=cas + 1), b.EXISTS)
        self.done(b.arithmetic(b.INCR, b"n", cas=cas), value=struct.pack(">Q", 2))

    def test_quiet_writes_hide_success_only(self):
        self.ask(b.store(b.SETQ, b"a", b"1") + b.store(b.ADDQ, b"n", b"7")
                 + b.store(b.REPLACEQ, b"a", b"2") + b.request(b.APPENDQ, b"a", b">")
                 + b.request(b.PREPENDQ, b"a", b"<") + b.arithmetic(b.INCRQ, b"n")
                 + b.arithmetic(b.DECRQ, b"n", 3), b"")
        self.assertEqual(self.value_of(b"a"), b"<2>")
        self.assertEqual(self.value_of(b"n"), b"5")
        self.failed(b.store(b.SETQ, b"x", b"1", cas=9, opaque=1), b.NOT_FOUND)
        self.failed(b.store(b.ADDQ, b"a", b"1", opaque=2), b.EXISTS)
        self.failed(b.store(b.REPLACEQ, b"x", b"1", opaque=3), b.NOT_FOUND)
        self.failed(b.request(b.APPENDQ, b"x", b"1", opaque=4), b.NOT_STORED)
        self.failed(b.request(b.PREPENDQ, b"x", b"1", opaque=5), b.NOT_STORED)
        self.failed(b.arithmetic(b.INCRQ, b"a", opaque=6), b.NON_NUMERIC)
        self.failed(b.arithmetic(b.DECRQ, b"x", exptime=-1, opaque=7), b.NOT_FOUND)
        self.ask(b.request(b.DELETEQ, b"a"), b"")
        self.failed(b.request(b.DELETEQ, b"a", opaque=8), b.NOT_FOUND)

    def test_the_text_protocol_sees_the_same_items(self):
        cas = self.set(b"a", b"one", 77)
        with self.server.connect() as text:
            text.ask(b"gets a\r\n", b"VALUE a 77 3 %d\r\none\r\nEND\r\n" % cas)
            text.ask(b"set b 5 0 3\r\ntwo\r\n", b"STORED\r\n")
        self.done(b.request(b.GET, b"b"), value=b"two", extras=b"\0\0\0\5")

    def test_a_date_in_the_past_expires(self):
        self.set(b"a", b"1", exptime=2592001)
        self.assertIsNone(self.value_of(b"a"))

    def test_a_time_is_unsigned(self):
        self.set(b"a", b"1", exptime=0xffffffff)
        self.assertEqual(self.value_of(b"a"), b"1")


class BinaryOther(BinaryCase):
    def test_noop(self):
        self.ask(b.request(b.NOOP, opaque=0xffffffff), b.response(b.NOOP, opaque=0xffffffff))

    def test_version(self):
        self.ask(b.request(b.VERSION, opaque=3), b.response(b.VERSION, value=b"1.6.45", opaque=3))

    def test_flush(self):
        self.set(b"a", b"1")
        self.done(b.request(b.FLUSH))
        self.assertIsNone(self.value_of(b"a"))
        self.set(b"a", b"1")
        self.ask(b.request(b.FLUSHQ), b"")
        self.assertIsNone(self.value_of(b"a"))

    def test_flush_with_a_delay(self):
        self.set(b"a", b"1")
        self.done(b.request(b.FLUSH, extras=struct.pack(">I", 1000)))
        self.assertEqual(self.value_of(b"a"), b"1")
        self.done(b.request(b.FLUSH, extras=struct.pack(">I", 0)))
        self.assertIsNone(self.value_of(b"a"))

    def test_quit_answers_then_closes(self):
        self.c.send(b.request(b.QUIT, opaque=4) + b.request(b.NOOP))
        self.c.expect_close(b.response(b.QUIT, opaque=4))

    def test_quitq_just_closes(self):
        self.c.send(b.request(b.QUITQ))
        self.c.expect_close()

    def read_stats(self, sent):
        self.c.send(sent)
        found = {}
        while True:
            reply = b.read_reply(self.c)
            self.assertEqual(reply.status, b.OK, reply)
            if not reply.key and not reply.value:
                return found
            found[reply.key] = reply.value

    def test_stat(self):
        found = self.read_stats(b.request(b.STAT, opaque=1))
        self.assertEqual(found[b"version"], b"1.6.45")
        self.assertIn(b"curr_items", found)
        self.assertEqual(found[b"pid"], b"%d" % self.server.process.pid)

    def test_stat_with_a_sub_command(self):
        self.assertEqual(self.read_stats(b.request(b.STAT, b"settings"))[b"maxconns"], b"1024")
        self.set(b"a", b"1")
        self.assertTrue(any(key.startswith(b"items:")
                            for key in self.read_stats(b.request(b.STAT, b"items"))))

    def test_stat_that_is_not_known(self):
        self.failed(b.request(b.STAT, b"nosuchthing", opaque=2), b.NOT_FOUND)

    def test_stat_reset(self):
        self.value_of(b"x")
        self.read_stats(b.request(b.STAT, b"reset"))
        self.assertEqual(self.read_stats(b.request(b.STAT))[b"cmd_get"], b"0")

    def test_stat_detail(self):
        self.read_stats(b.request(b.STAT, b"detail on"))
        self.set(b"pre:a", b"1")
        self.c.send(b.request(b.STAT, b"detail dump"))
        self.assertIn(b"PREFIX pre get 0 hit 0 set 1 del 0", b.read_reply(self.c).value)
        end = b.read_reply(self.c)
        self.assertEqual((end.key, end.value), (b"", b""))
        self.read_stats(b.request(b.STAT, b"detail off"))

    def test_sasl_is_unknown_without_it(self):
        self.failed(b.request(b.SASL_LIST), b.UNKNOWN)
        self.failed(b.request(b.SASL_AUTH, b"PLAIN", b"\0u\0p"), b.UNKNOWN)

    def test_an_unknown_opcode_without_a_body(self):
        for opcode in [0x1f, 0x25, 0x50, 0xff]:
            with self.subTest(hex(opcode)):
                self.failed(b.request(opcode, opaque=6), b.UNKNOWN)

    @memcached_bug("an unknown opcode with a body swallows what follows")
    def test_an_unknown_opcode_with_a_body(self):
        self.failed(b.request(b.VERBOSITY, extras=b"\0\0\0\0", opaque=6), b.UNKNOWN)
        self.failed(b.request(b.RGET, b"key", b"value", b"extras", opaque=6), b.UNKNOWN)
        self.failed(b.request(0xff, b"k" * 100, b"v" * 10000, opaque=6), b.UNKNOWN)

    def test_a_long_pipeline(self):
        sent = b"".join(b.store(b.SETQ, b"k%d" % i, b"v%d" % i) for i in range(2000))
        self.ask(sent, b"")
        sent = b"".join(b.request(b.GETKQ, b"k%d" % i, opaque=i) for i in range(1990, 2010))
        self.c.send(sent + b.request(b.NOOP))
        for i in range(1990, 2000):
            reply = b.read_reply(self.c)
            self.assertEqual((reply.key, reply.value, reply.opaque),
                             (b"k%d" % i, b"v%d" % i, i))
        self.assertEqual(b.read_reply(self.c).opcode, b.NOOP)

    def test_requests_split_at_every_byte(self):
        cases = [
            (b.store(b.SET, b"key", b"value", 1), b.SET, b""),
            (b.request(b.GETK, b"key"), b.GETK, b"value"),
            (b.request(b.APPEND, b"key", b"!"), b.APPEND, b""),
            (b.touch(b.GAT, b"key", 100), b.GAT, None),
            (b.arithmetic(b.INCR, b"n", 1, 5), b.INCR, None),
            (b.request(b.VERSION), b.VERSION, b"1.6.45"),
            (b.request(b.DELETE, b"key"), b.DELETE, b""),
        ]
        for split in range(1, 48):
            for sent, opcode, value in cases:
                if split >= len(sent):
                    continue
                self.c.send_and_wait_until_read(sent[:split])
                self.c.send(sent[split:])
                reply = b.read_reply(self.c)
                self.assertEqual((reply.opcode, reply.status), (opcode, b.OK), (split, reply))
                if value is not None:
                    self.assertEqual(reply.value, value)
                if opcode == b.DELETE:
                    self.done(b.store(b.SET, b"key", b"value"))
            self.done(b.store(b.SET, b"key", b"value"))


class BinaryBad(BinaryCase):
    """Lengths that do not fit answer 'invalid arguments' and close."""

    def refused(self, sent, status=b.INVALID):
        self.c.send(sent)
        reply = b.read_reply(self.c)
        self.assertEqual((reply.opcode, reply.status), (sent[1], status), reply)
        self.c.expect_close()
        with self.server.connect() as other:
            other.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_key_of_250_bytes(self):
        self.set(b"k" * 250, b"1")
        self.assertEqual(self.value_of(b"k" * 250), b"1")

    def test_a_key_of_251_bytes(self):
        self.refused(b.request(b.GET, b"k" * 251))

    def test_set_with_a_key_of_251_bytes(self):
        self.refused(b.store(b.SET, b"k" * 251, b"1"))

    def test_get_without_a_key(self):
        self.refused(b.request(b.GET))

    def test_get_with_extras(self):
        self.refused(b.request(b.GET, b"a", extras=b"1234"))

    def test_get_with_a_value(self):
        self.refused(b.request(b.GET, b"a", b"value"))

    def test_set_without_extras(self):
        self.refused(b.request(b.SET, b"a", b"value"))

    def test_set_without_a_key(self):
        self.refused(b.store(b.SET, b"", b"value"))

    def test_incr_with_short_extras(self):
        self.refused(b.request(b.INCR, b"a", extras=b"12345678"))

    def test_delete_with_extras(self):
        self.refused(b.request(b.DELETE, b"a", extras=b"1234"))

    def test_noop_with_a_body(self):
        self.refused(b.request(b.NOOP, b"a"))

    def test_version_with_a_body(self):
        self.refused(b.request(b.VERSION, extras=b"1234"))

    def test_flush_with_wrong_extras(self):
        self.refused(b.request(b.FLUSH, extras=b"12"))

    def test_touch_without_extras(self):
        self.refused(b.request(b.TOUCH, b"a"))

    def test_append_with_extras(self):
        self.refused(b.request(b.APPEND, b"a", b"1", b"12345678"))

    def test_a_body_shorter_than_key_and_extras(self):
        self.c.send(b.store(b.SET, b"key", b"", body=5))
        self.assertIn(b.read_reply(self.c).status, (b.INVALID, b.UNKNOWN))
        self.c.expect_close()

    def test_a_body_of_more_than_a_gigabyte(self):
        self.refused(b.request(b.GET, b"a", body=0x7fffffff))

    def test_a_body_of_four_gigabytes(self):
        self.refused(b.store(b.SET, b"a", b"", body=0xffffffff))

    def test_bad_magic_in_the_middle_closes_without_an_answer(self):
        self.c.send(b.request(b.NOOP) + b"\x81" + b.request(b.NOOP)[1:])
        self.c.expect_close(b.response(b.NOOP))

    def test_text_in_the_middle_closes_without_an_answer(self):
        self.c.send(b.request(b.NOOP) + b"version\r\nversion\r\nversion\r\n")
        self.c.expect_close(b.response(b.NOOP))

    def test_too_large_a_value_is_refused_and_swallowed(self):
        self.set(b"a", b"old")
        reply = self.reply(b.store(b.SET, b"a", b"x" * (1 << 21), opaque=3))
        self.assertEqual((reply.status, reply.value, reply.opaque), (b.TOO_LARGE, b"Too large.", 3))
        self.assertIsNone(self.value_of(b"a"))


class BinaryFlushDisabled(BinaryCase):
    ARGS = ("-F",)

    def setUp(self):
        self.c = self.server.connect()
        self.addCleanup(self.c.close)

    def test_flush_is_refused(self):
        self.c.send(b.request(b.FLUSH))
        self.assertEqual(b.read_reply(self.c).status, b.AUTH_FAILURE)


class BinaryForced(unittest.TestCase):
    def test_a_binary_server_closes_on_text(self):
        server = Server(["-B", "binary"])
        self.addCleanup(server.stop)
        with server.connect() as c:
            c.send(b"version\r\n" * 5)
            c.expect_close()
        with server.connect() as c:
            c.send(b.request(b.VERSION))
            self.assertEqual(b.read_reply(c).value, b"1.6.45")

    def test_a_text_server_takes_binary_for_text(self):
        server = Server(["-B", "ascii"])
        self.addCleanup(server.stop)
        with server.connect() as c:
            c.send(b.request(b.VERSION) + b"\r\n")
            self.assertTrue(c.line().startswith((b"ERROR", b"CLIENT_ERROR")))


if __name__ == "__main__":
    unittest.main()
