"""What ringcached has beyond memcached: contexts and siblings (DESIGN, section 3).

A write that shows a context supersedes what that context covers and leaves the rest beside it, as
siblings.  One node alone does that too.
"""

import base64
import re
import struct
import unittest

import binary_packets as b
from harness import Case, ServerCase, conversations, ringcached_only

STORED = b"STORED\r\n"
BAD = b"CLIENT_ERROR bad context\r\n"


def padded(text):
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


SIMPLE = [
    Case("vget of a missing key", b"vget a\r\n", b"END\r\n", b"vget a b c\r\n", b"END\r\n"),
    Case("vget without a key", b"vget\r\n", b"CLIENT_ERROR bad command line format\r\n"),
    Case("vget of plain values", b"set a 5 0 3\r\none\r\nset b 0 0 3\r\ntwo\r\n", STORED * 2,
         b"vget a x b\r\n",
         b"VALUE a 5 3 @<any>\r\none\r\nVALUE b 0 3 @<any>\r\ntwo\r\nEND\r\n"),
    Case("a write that has seen nothing becomes the only value", b"cas a 7 0 3 @\r\none\r\n",
         STORED, b"get a\r\n", b"VALUE a 7 3\r\none\r\nEND\r\n"),
    Case("two writes that have seen nothing become siblings",
         b"cas a 0 0 3 @\r\none\r\ncas a 0 0 3 @\r\ntwo\r\n", STORED * 2,
         b"mg a n\r\n", b"HD n2\r\n", b"get a\r\n", b"VALUE a 0 3\r\ntwo\r\nEND\r\n"),
    Case("equal writes are one sibling", b"cas a 0 0 3 @\r\none\r\ncas a 0 0 3 @\r\none\r\n",
         STORED * 2, b"mg a n\r\n", b"HD n1\r\n",
         b"vget a\r\n", b"VALUE a 0 3 @<any>\r\none\r\nEND\r\n"),
    Case("a plain set takes all siblings away",
         b"cas a 0 0 3 @\r\none\r\ncas a 0 0 3 @\r\ntwo\r\nset a 0 0 5\r\nthree\r\n", STORED * 3,
         b"mg a n v\r\n", b"VA 5 n1\r\nthree\r\n"),
    Case("a plain delete takes all siblings away",
         b"cas a 0 0 3 @\r\none\r\ncas a 0 0 3 @\r\ntwo\r\ndelete a\r\n",
         STORED * 2 + b"DELETED\r\n", b"vget a\r\n", b"END\r\n", b"get a\r\n", b"END\r\n"),
    Case("a delete that has seen nothing deletes nothing",
         b"set a 0 0 3\r\none\r\ndelete a @\r\n", STORED + b"DELETED\r\n",
         b"get a\r\n", b"VALUE a 0 3\r\none\r\nEND\r\n"),
    Case("a context delete of a missing key", b"delete a @\r\n", b"DELETED\r\n"),
    Case("a context that is none", b"set a 0 0 3\r\none\r\n", STORED,
         b"cas a 0 0 3 @AAAA\r\ntwo\r\n", BAD, b"cas a 0 0 3 @***\r\ntwo\r\n", BAD,
         b"delete a @AAAA\r\n", BAD, b"ms a 3 Y@AAAA\r\ntwo\r\n", BAD, b"md a Y@AAAA\r\n", BAD,
         b"get a\r\n", b"VALUE a 0 3\r\none\r\nEND\r\n"),
    Case("noreply hides the answer", b"cas a 0 0 3 @ noreply\r\none\r\n", b"",
         b"get a\r\n", b"VALUE a 0 3\r\none\r\nEND\r\n",
         b"delete a @ noreply\r\n", b"", b"mn\r\n", b"MN\r\n"),
    Case("meta n and y of one value", b"set a 0 0 3\r\none\r\n", STORED, b"mg a n v\r\n",
         b"VA 3 n1\r\none\r\n", b"mg a y\r\n", b"HD y@<any>\r\n",
         b"mg nothing n y\r\n", b"EN\r\n"),
    Case("ms with Y", b"ms a 3 Y@\r\none\r\n", b"HD\r\n", b"ms a 3 Y@ y\r\ntwo\r\n",
         b"HD y@<any>\r\n", b"mg a n v\r\n", b"VA 3 n2\r\ntwo\r\n"),
    Case("a context with C, E, I or another mode is refused", b"set a 0 0 3\r\none\r\n", STORED,
         b"ms a 3 Y@ C5\r\ntwo\r\n", b"CLIENT_ERROR <any>\r\n",
         b"ms a 3 Y@ E5\r\ntwo\r\n", b"CLIENT_ERROR <any>\r\n",
         b"ms a 3 Y@ I\r\ntwo\r\n", b"CLIENT_ERROR <any>\r\n",
         b"ms a 3 Y@ MA\r\ntwo\r\n", b"CLIENT_ERROR <any>\r\n",
         b"ms a 3 Y@ MS\r\ntwo\r\n", b"HD\r\n"),
]


@ringcached_only("contexts and siblings")
@conversations(SIMPLE)
class Contexts(ServerCase):
    UNIX = True

    def context(self, key):
        """The context that covers all that `key` holds now."""
        self.c.send(b"mg %s y\r\n" % key)
        found = re.fullmatch(rb"HD y(@[A-Za-z0-9_-]*)\r\n", self.c.line())
        self.assertTrue(found)
        return found.group(1)

    def siblings(self, key):
        """All values of `key`, and the one context they come with."""
        self.c.send(b"vget %s\r\n" % key)
        values, contexts = [], set()
        while True:
            line = self.c.line()
            if line == b"END\r\n":
                self.assertLessEqual(len(contexts), 1, "different contexts in one answer")
                return sorted(values), contexts.pop() if contexts else None
            _, name, _, size, context = line.split()
            self.assertEqual(name, key)
            values.append(self.c.read(int(size) + 2)[:-2])
            contexts.add(context)

    def put(self, key, value, context, answer=STORED):
        self.c.ask(b"cas %s 0 0 %d %s\r\n%s\r\n" % (key, len(value), context, value), answer)

    def test_vget_shows_each_sibling_with_one_context(self):
        self.put(b"a", b"one", b"@")
        self.put(b"a", b"two", b"@")
        self.put(b"a", b"three", b"@")
        values, context = self.siblings(b"a")
        self.assertEqual(values, [b"one", b"three", b"two"])
        self.assertEqual(context, self.context(b"a"))

    def test_a_write_with_the_full_context_resolves(self):
        self.put(b"a", b"one", b"@")
        self.put(b"a", b"two", b"@")
        _, context = self.siblings(b"a")
        self.put(b"a", b"merged", context)
        self.assertEqual(self.siblings(b"a")[0], [b"merged"])

    def test_a_write_with_an_old_context_leaves_a_sibling(self):
        self.c.ask(b"set a 0 0 3\r\nold\r\n", STORED)
        old = self.context(b"a")
        self.put(b"a", b"mine", old)
        self.assertEqual(self.siblings(b"a")[0], [b"mine"])
        self.put(b"a", b"yours", old)
        self.assertEqual(self.siblings(b"a")[0], [b"mine", b"yours"])

    def test_no_write_is_lost_when_many_start_from_the_same_context(self):
        self.c.ask(b"set cart 0 0 5\r\nempty\r\n", STORED)
        start = self.context(b"cart")
        for i in range(10):
            self.put(b"cart", b"item%d" % i, start)
        values, context = self.siblings(b"cart")
        self.assertEqual(values, [b"item%d" % i for i in range(10)])
        self.put(b"cart", b"all", context)
        self.assertEqual(self.siblings(b"cart")[0], [b"all"])

    def test_one_client_that_takes_along_its_context_makes_no_siblings(self):
        context = b"@"
        for i in range(10):
            self.c.send(b"ms a 2 Y%s y\r\nv%d\r\n" % (context, i))
            context = re.fullmatch(rb"HD y(@\S+)\r\n", self.c.line()).group(1)
        self.assertEqual(self.siblings(b"a"), ([b"v9"], context))

    def test_a_context_delete_takes_what_it_covers(self):
        self.put(b"a", b"one", b"@")
        seen = self.context(b"a")
        self.put(b"a", b"two", b"@")
        self.c.ask(b"delete a %s\r\n" % seen, b"DELETED\r\n")
        self.assertEqual(self.siblings(b"a")[0], [b"two"])
        self.c.ask(b"delete a %s\r\n" % self.context(b"a"), b"DELETED\r\n")
        self.assertEqual(self.siblings(b"a")[0], [])
        self.c.ask(b"get a\r\n", b"END\r\n")

    def test_a_meta_delete_with_a_context(self):
        self.put(b"a", b"one", b"@")
        seen = self.context(b"a")
        self.put(b"a", b"two", b"@")
        self.c.ask(b"md a Y%s\r\n" % seen, b"HD\r\n")
        self.assertEqual(self.siblings(b"a")[0], [b"two"])

    def test_a_token_supersedes_all_that_it_showed(self):
        self.put(b"a", b"one", b"@")
        self.put(b"a", b"two", b"@")
        self.c.send(b"gets a\r\n")
        token = self.c.read_until(b"END\r\n").split()[4]
        self.put(b"a", b"three", b"@")
        self.c.ask(b"cas a 0 0 1 %s\r\nx\r\n" % token, b"EXISTS\r\n")
        self.c.send(b"gets a\r\n")
        token = self.c.read_until(b"END\r\n").split()[4]
        self.c.ask(b"cas a 0 0 1 %s\r\nx\r\n" % token, STORED)
        self.assertEqual(self.siblings(b"a")[0], [b"x"])

    def test_get_shows_the_newest_sibling(self):
        self.c.ask(b"set a 0 0 3\r\nold\r\n", STORED)
        start = self.context(b"a")
        for value in [b"one", b"two", b"three"]:
            self.put(b"a", value, start)
            self.c.ask(b"get a\r\n", b"VALUE a 0 %d\r\n%s\r\nEND\r\n" % (len(value), value))

    def test_a_context_belongs_to_its_key(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\n", STORED * 2)
        self.put(b"b", b"3", self.context(b"a"), BAD)
        self.c.ask(b"get b\r\n", b"VALUE b 0 1\r\n2\r\nEND\r\n")

    def test_no_byte_of_a_context_can_be_changed(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        context = bytearray(padded(self.context(b"a")[1:]))
        for at in range(len(context)):
            for bit in (1, 0x80):
                forged = bytearray(context)
                forged[at] ^= bit
                text = b"@" + base64.urlsafe_b64encode(bytes(forged)).rstrip(b"=")
                self.put(b"a", b"2", text, BAD)
        for cut in range(1, len(context)):
            text = b"@" + base64.urlsafe_b64encode(bytes(context[:cut])).rstrip(b"=")
            self.put(b"a", b"2", text, BAD)
        self.c.ask(b"get a\r\n", b"VALUE a 0 1\r\n1\r\nEND\r\n")

    def test_a_huge_context_is_refused_and_the_data_swallowed(self):
        for size in [100, 500, 1000, 1500]:
            self.put(b"a", b"version", b"@" + b"A" * size, BAD)
        self.c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_the_limit_of_siblings(self):
        answers = []
        for i in range(40):
            self.c.send(b"cas a 0 0 2 @\r\n%02d\r\n" % i)
            answers.append(self.c.line())
        self.assertEqual(answers[:32], [STORED] * 32)
        for answer in answers[32:]:
            self.assertTrue(answer.startswith(b"SERVER_ERROR "), answer)
        values, context = self.siblings(b"a")
        self.assertEqual(values, [b"%02d" % i for i in range(32)])
        self.put(b"a", b"one again", context)
        self.assertEqual(self.siblings(b"a")[0], [b"one again"])

    def test_siblings_keep_their_own_flags(self):
        self.c.ask(b"cas a 1 0 1 @\r\nx\r\ncas a 2 0 1 @\r\ny\r\n", STORED * 2)
        self.c.ask(b"vget a\r\n",
                   b"VALUE a <n> 1 @<any>\r\n<any>\r\nVALUE a <n> 1 @<any>\r\n<any>\r\nEND\r\n")
        self.c.send(b"vget a\r\n")
        answer = self.c.read_until(b"END\r\n")
        self.assertRegex(answer, rb"VALUE a 1 1 \S+\r\nx\r\n")
        self.assertRegex(answer, rb"VALUE a 2 1 \S+\r\ny\r\n")

    def test_large_siblings(self):
        one, two = b"1" * 300000, b"2" * 300000
        self.put(b"a", one, b"@")
        self.put(b"a", two, b"@")
        self.assertEqual(self.siblings(b"a")[0], [one, two])

    def test_a_key_of_250_bytes_with_a_context(self):
        key = b"k" * 250
        self.c.ask(b"set %s 0 0 1\r\n1\r\n" % key, STORED)
        self.put(key, b"2", self.context(key))
        self.assertEqual(self.siblings(key)[0], [b"2"])

    def test_after_a_flush_the_old_context_harms_nothing(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        old = self.context(b"a")
        self.c.ask(b"flush_all\r\nset a 0 0 1\r\n2\r\n", b"OK\r\n" + STORED)
        self.put(b"a", b"3", old)
        self.assertEqual(self.siblings(b"a")[0], [b"2", b"3"])

    def test_vget_is_counted_nowhere_new(self):
        """What is new goes to sub-commands; plain stats keep memcached's fields."""
        self.assertEqual([name for name in self.c.stats() if "sibling" in name], [])


@ringcached_only("contexts and siblings")
class BinaryContexts(ServerCase):
    """0xe0 GETV, 0xe1 SETV, 0xe2 DELETEV: the context is the first part of the value."""

    UNIX = True

    def setUp(self):
        super().setUp()
        self.binary = self.another()

    def reply(self, sent):
        self.binary.send(sent)
        return b.read_reply(self.binary)

    def getv(self, key, opaque=5):
        """(flags, value) of each sibling, and their context."""
        first = self.reply(b.request(b.GETV, key, opaque=opaque))
        if first.status == b.NOT_FOUND:
            return [], b""
        found, reply, seen = [], first, 0
        while True:
            self.assertEqual((reply.opcode, reply.status, reply.opaque), (b.GETV, b.OK, opaque))
            flags, index, count, size = struct.unpack(">IHHI", reply.extras)
            self.assertEqual(index, seen)
            found.append((flags, reply.value[size:]))
            context = reply.value[:size]
            seen += 1
            if seen == count:
                return sorted(found), context
            reply = b.read_reply(self.binary)

    def setv(self, key, value, context=b"", flags=0, opcode=b.SETV):
        return self.reply(b.request(opcode, key, context + value,
                                    struct.pack(">III", flags, 0, len(context)), opaque=6))

    def test_getv_of_a_missing_key(self):
        reply = self.reply(b.request(b.GETV, b"nothing", opaque=1))
        self.assertEqual((reply.status, reply.opaque), (b.NOT_FOUND, 1))

    def test_siblings_and_their_resolution(self):
        self.assertEqual(self.setv(b"a", b"one", flags=1).status, b.OK)
        self.assertEqual(self.setv(b"a", b"two", flags=2).status, b.OK)
        found, context = self.getv(b"a")
        self.assertEqual(found, [(1, b"one"), (2, b"two")])
        self.assertEqual(self.setv(b"a", b"merged", context).status, b.OK)
        self.assertEqual(self.getv(b"a")[0], [(0, b"merged")])

    def test_deletev(self):
        self.setv(b"a", b"one")
        _, context = self.getv(b"a")
        self.setv(b"a", b"two")
        reply = self.reply(b.request(b.DELETEV, b"a", context, struct.pack(">I", len(context))))
        self.assertEqual(reply.status, b.OK)
        self.assertEqual(self.getv(b"a")[0], [(0, b"two")])

    def test_the_context_is_that_of_the_text_protocol(self):
        self.setv(b"a", b"one")
        self.c.send(b"mg a y\r\n")
        text = self.c.line()[5:-2]
        self.assertEqual(padded(text), self.getv(b"a")[1])

    def test_bad_contexts_are_refused(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        self.assertNotEqual(self.setv(b"a", b"x", b"forged context").status, b.OK)
        for sent in [b.request(b.SETV, b"a", b"x", struct.pack(">III", 0, 0, 1000)),
                     b.request(b.SETV, b"a", b"x", struct.pack(">III", 0, 0, 0xffffffff)),
                     b.request(b.DELETEV, b"a", b"abc", struct.pack(">I", 3)),
                     b.request(b.DELETEV, b"a", b"", struct.pack(">I", 70000))]:
            with self.server.connect() as c:
                c.send(sent)
                self.assertNotEqual(b.read_reply(c).status, b.OK)
        self.c.ask(b"get a\r\n", b"VALUE a 0 1\r\n1\r\nEND\r\n")

    def test_a_large_value_with_a_context(self):
        data = bytes(range(256)) * 2000
        self.setv(b"a", b"old")
        _, context = self.getv(b"a")
        self.assertEqual(self.setv(b"a", data, context).status, b.OK)
        self.assertEqual(self.getv(b"a")[0], [(0, data)])


@ringcached_only("debug commands")
class DebugCommands(ServerCase):
    UNIX = True
    DEBUG = True

    def test_debug_cell_shows_the_siblings(self):
        self.c.ask(b"cas a 0 0 3 @\r\none\r\ncas a 0 0 3 @\r\ntwo\r\n", STORED * 2)
        self.c.send(b"debug cell a\r\n")
        text = self.c.read_until(b"END\r\n")
        self.assertIn(b"one", text)
        self.assertIn(b"two", text)

    def test_debug_keys_lists_them(self):
        self.c.ask(b"set first 0 0 1\r\n1\r\nset second 0 0 1\r\n1\r\n", STORED * 2)
        self.c.send(b"debug keys\r\n")
        text = self.c.read_until(b"END\r\n")
        self.assertIn(b"first", text)
        self.assertIn(b"second", text)

    def test_debug_evict_forgets_a_key(self):
        self.c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        self.c.send(b"debug evict a\r\n")
        self.c.line()
        self.c.ask(b"get a\r\n", b"END\r\n")

    def test_without_the_option_they_are_unknown(self):
        with self.own_server(unix=True).connect() as c:
            for command in [b"debug keys\r\n", b"debug cell a\r\n", b"debugtime 1\r\n"]:
                c.ask(command, b"ERROR\r\n")


if __name__ == "__main__":
    unittest.main()
