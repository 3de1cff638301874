"""The text protocol: every command, reply and error text."""

import unittest

from harness import IS_MEMCACHED, Case, Server, ServerCase, conversations

BLF = b"CLIENT_ERROR bad command line format\r\n"
NOT_NUMBER = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
BAD_DELTA = b"CLIENT_ERROR invalid numeric delta argument\r\n"
BAD_EXPTIME = b"CLIENT_ERROR invalid exptime argument\r\n"
BAD_CHUNK = b"CLIENT_ERROR bad data chunk\r\n"
STORED = b"STORED\r\n"
KEY250 = b"k" * 250
KEY251 = b"k" * 251
LOST_REPLIES = "a long key in get answers a CRLF too many and drops queued replies"


def set_(key, value, flags=0, exptime=0, command=b"set"):
    return b"%s %s %d %d %d\r\n%s\r\n" % (command, key, flags, exptime, len(value), value)


def value(key, data, flags=0):
    return b"VALUE %s %d %d\r\n%s\r\n" % (key, flags, len(data), data)


def holds(key, data, flags=0):
    """A get and its reply, to put into a case."""
    return b"get %s\r\n" % key, value(key, data, flags) + b"END\r\n"


RETRIEVAL = [
    Case("get of a missing key", b"get a\r\n", b"END\r\n"),
    Case("set and get", set_(b"a", b"one"), STORED, *holds(b"a", b"one")),
    Case("a command line may end with a bare LF", b"set a 0 0 1\n1\r\n", STORED,
         b"get a\n", value(b"a", b"1") + b"END\r\n"),
    Case("an empty value", set_(b"a", b""), STORED, *holds(b"a", b"")),
    Case("a value with line ends in it", set_(b"a", b"\r\nEND\r\n\0get a\r\n"), STORED,
         *holds(b"a", b"\r\nEND\r\n\0get a\r\n")),
    Case("flags come back", set_(b"a", b"x", flags=4294967295), STORED,
         *holds(b"a", b"x", flags=4294967295)),
    Case("get of many keys answers those there are, in the order asked",
         set_(b"a", b"1") + set_(b"b", b"2", 7), STORED + STORED,
         b"get b x a y b\r\n",
         value(b"b", b"2", 7) + value(b"a", b"1") + value(b"b", b"2", 7) + b"END\r\n"),
    Case("runs of spaces separate like one", set_(b"a", b"1"), STORED,
         b"get   a    a  \r\n", value(b"a", b"1") * 2 + b"END\r\n",
         b"set  b  0  0  1 \r\n2\r\n", STORED, *holds(b"b", b"2")),
    Case("a tab and control bytes are key bytes", set_(b"a\tb\x01\xff", b"1"), STORED,
         *holds(b"a\tb\x01\xff", b"1")),
    Case("gets adds the cas", set_(b"a", b"one"), STORED,
         b"gets a b\r\n", b"VALUE a 0 3 <n>\r\none\r\nEND\r\n"),
    Case("get without a key", b"get\r\n", BLF, b"get \r\n", BLF, b"gets\r\n", BLF),
    Case("a key of 250 bytes", set_(KEY250, b"1"), STORED, *holds(KEY250, b"1"), split=False),
    Case("get with a key of 251 bytes", b"get %s\r\n" % KEY251, BLF, bug=LOST_REPLIES, split=False),
    Case("get with a long key after a good one", set_(b"a", b"1"), STORED,
         b"get a %s\r\n" % KEY251, BLF, bug=LOST_REPLIES, split=False),
    Case("a long key does not drop the replies before it",
         set_(b"a", b"1") + b"get a\r\n" + b"get %s\r\n" % KEY251 + b"version\r\n",
         STORED + value(b"a", b"1") + b"END\r\n" + BLF + b"VERSION 1.6.45\r\n",
         bug=LOST_REPLIES, split=False),
    Case("noreply is an ordinary key of get", set_(b"noreply", b"1"), STORED,
         *holds(b"noreply", b"1")),
    Case("gat answers and sets the time to live", set_(b"a", b"1", 5), STORED,
         b"gat 100 a b\r\n", value(b"a", b"1", 5) + b"END\r\n",
         b"mg a t\r\n", b"HD t100\r\n"),
    Case("gat with 0 takes the time to live away", set_(b"a", b"1", 0, 100), STORED,
         b"gat 0 a\r\n", value(b"a", b"1") + b"END\r\n", b"mg a t\r\n", b"HD t-1\r\n"),
    Case("gats adds the cas", set_(b"a", b"1"), STORED,
         b"gats 0 a\r\n", b"VALUE a 0 1 <n>\r\n1\r\nEND\r\n"),
    Case("gat of many keys", set_(b"a", b"1") + set_(b"b", b"2"), STORED * 2,
         b"gat 60 a x b\r\n", value(b"a", b"1") + value(b"b", b"2") + b"END\r\n",
         b"mg a t\r\nmg b t\r\n", b"HD t60\r\nHD t60\r\n"),
    Case("gat with too few arguments", b"gat\r\n", BLF, b"gat 10\r\n", BLF, b"gats 10\r\n", BLF),
    Case("gat with a bad time", b"gat x a\r\n", BAD_EXPTIME, b"gats 1x a\r\n", BAD_EXPTIME),
    Case("gat with a negative time expires", set_(b"a", b"1"), STORED,
         b"gat -1 a\r\n", value(b"a", b"1") + b"END\r\n", b"get a\r\n", b"END\r\n"),
]

STORAGE = [
    Case("add stores only what is not there", set_(b"a", b"1", command=b"add"), STORED,
         set_(b"a", b"2", command=b"add"), b"NOT_STORED\r\n", *holds(b"a", b"1")),
    Case("replace stores only what is there", set_(b"a", b"1", command=b"replace"),
         b"NOT_STORED\r\n", b"get a\r\n", b"END\r\n", set_(b"a", b"1"), STORED,
         set_(b"a", b"2", 3, command=b"replace"), STORED, *holds(b"a", b"2", 3)),
    Case("append and prepend keep the flags and the time to live",
         set_(b"a", b"mid", 9, 1000), STORED,
         set_(b"a", b">", 1, 0, command=b"append"), STORED,
         set_(b"a", b"<", 2, 0, command=b"prepend"), STORED,
         *holds(b"a", b"<mid>", 9), b"mg a t\r\n", b"HD t1000\r\n"),
    Case("append and prepend to nothing", set_(b"a", b"1", command=b"append"), b"NOT_STORED\r\n",
         set_(b"a", b"1", command=b"prepend"), b"NOT_STORED\r\n", b"get a\r\n", b"END\r\n"),
    Case("append of nothing", set_(b"a", b"1"), STORED, set_(b"a", b"", command=b"append"), STORED,
         *holds(b"a", b"1")),
    Case("cas with the right number", b"ms a 1 E100\r\n1\r\n", b"HD\r\n",
         b"cas a 4 0 1 100\r\n2\r\n", STORED, *holds(b"a", b"2", 4),
         b"cas a 0 0 1 100\r\n3\r\n", b"EXISTS\r\n", *holds(b"a", b"2", 4)),
    Case("cas of a missing key", b"cas a 0 0 1 5\r\n1\r\n", b"NOT_FOUND\r\n"),
    Case("cas noreply", b"ms a 1 E100\r\n1\r\n", b"HD\r\n",
         b"cas a 0 0 1 99 noreply\r\nx\r\ncas a 0 0 1 100 noreply\r\n2\r\n", b"",
         *holds(b"a", b"2")),
    Case("cas without its number swallows the data", b"cas a 0 0 1\r\n1\r\n", BLF),
    Case("cas with a bad number swallows the data", b"cas a 0 0 1 x\r\n1\r\n", BLF,
         b"cas a 0 0 1 noreply\r\n1\r\n", b""),
    Case("cas with a number above 64 bits", b"cas a 0 0 1 18446744073709551616\r\n1\r\n", BLF),
    Case("noreply hides the reply of each storage command",
         b"set a 0 0 1 noreply\r\n1\r\nadd a 0 0 1 noreply\r\n2\r\nadd b 0 0 1 noreply\r\n2\r\n"
         b"replace a 0 0 1 noreply\r\n3\r\nappend a 0 0 1 noreply\r\n4\r\n"
         b"prepend a 0 0 1 noreply\r\n5\r\n", b"", *holds(b"a", b"534"), split=False),
    Case("noreply counts only as the last word", b"set a 0 0 1 noreply x\r\n1\r\n", STORED),
    Case("set with too few arguments", b"set\r\n", BLF, b"set a\r\n", BLF, b"set a 0\r\n", BLF,
         b"set a 0 0\r\n", BLF),
    Case("set with flags that are no number swallows the data", b"set a x 0 1\r\n1\r\n", BLF,
         b"set a -1 0 1\r\n1\r\n", BLF, b"get a\r\n", b"END\r\n"),
    Case("set with a time that is no number swallows the data", b"set a 0 x 1\r\n1\r\n", BLF,
         b"set a 0 1x 1\r\n1\r\n", BLF),
    Case("set with a length that is no number: the data is the next command",
         b"set a 0 0 x\r\nversion\r\n", BLF + b"VERSION 1.6.45\r\n"),
    Case("set with a negative length: the data is the next command",
         b"set a 0 0 -1\r\nversion\r\n", BLF + b"VERSION 1.6.45\r\n"),
    Case("set with an absurd length", b"set a 0 0 2147483647\r\nversion\r\n",
         BLF + b"VERSION 1.6.45\r\n", b"set a 0 0 99999999999999999999\r\nversion\r\n",
         BLF + b"VERSION 1.6.45\r\n"),
    Case("set with a key of 251 bytes swallows the data", b"set %s 0 0 7\r\nversion\r\n" % KEY251,
         BLF, split=False),
    Case("data longer than said", b"set a 0 0 3\r\nabcdefgh\r\n", BAD_CHUNK + b"ERROR\r\n",
         b"get a\r\n", b"END\r\n"),
    Case("data shorter than said", b"set a 0 0 6\r\nabc\r\nget x\r\n", BAD_CHUNK + b"ERROR\r\n"),
    Case("bad data does not remove what was there", set_(b"a", b"1"), STORED,
         b"set a 0 0 3\r\nabcdefgh\r\n", BAD_CHUNK + b"ERROR\r\n", b"get a\r\n",
         value(b"a", b"1") + b"END\r\n"),
    Case("a negative time expires at once", set_(b"a", b"1", 0, -1), STORED, b"get a\r\n",
         b"END\r\n", set_(b"a", b"2", command=b"add"), STORED),
    Case("a time in the past (unix) expires at once", set_(b"a", b"1", 0, 2592001), STORED,
         b"get a\r\n", b"END\r\n"),
    Case("30 days are relative", set_(b"a", b"1", 0, 2592000), STORED, b"mg a t\r\n",
         b"HD t2592000\r\n"),
]

DELETE = [
    Case("delete", set_(b"a", b"1"), STORED, b"delete a\r\n", b"DELETED\r\n", b"get a\r\n",
         b"END\r\n", b"delete a\r\n", b"NOT_FOUND\r\n"),
    Case("delete with 0, for old clients", set_(b"a", b"1"), STORED, b"delete a 0\r\n",
         b"DELETED\r\n"),
    Case("delete noreply", set_(b"a", b"1"), STORED, b"delete a noreply\r\n", b"",
         b"delete a 0 noreply\r\n", b"", b"get a\r\n", b"END\r\n"),
    Case("delete without a key", b"delete\r\n", BLF),
    Case("delete with a key of 251 bytes", b"delete %s\r\n" % KEY251, BLF, split=False),
    Case("delete ignores more arguments", set_(b"a", b"1"), STORED, b"delete a 1 2 3\r\n",
         b"DELETED\r\n"),
]

ARITHMETIC = [
    Case("incr and decr", set_(b"a", b"10"), STORED, b"incr a 5\r\n", b"15\r\n", b"decr a 6\r\n",
         b"9\r\n"),
    Case("incr and decr of nothing", b"incr a 1\r\n", b"NOT_FOUND\r\n", b"decr a 1\r\n",
         b"NOT_FOUND\r\n"),
    Case("decr stops at 0", set_(b"a", b"3"), STORED, b"decr a 5\r\n", b"0\r\n"),
    Case("incr wraps at 2^64", set_(b"a", b"18446744073709551615"), STORED, b"incr a 1\r\n",
         b"0\r\n", set_(b"a", b"18446744073709551615"), STORED, b"incr a 5\r\n", b"4\r\n"),
    Case("a shorter number is padded with spaces", set_(b"a", b"10"), STORED, b"decr a 1\r\n",
         b"9\r\n", *holds(b"a", b"9 "), b"incr a 1\r\n", b"10\r\n", *holds(b"a", b"10")),
    Case("a number may grow", set_(b"a", b"99"), STORED, b"incr a 1\r\n", b"100\r\n",
         *holds(b"a", b"100")),
    Case("incr keeps flags and time to live", set_(b"a", b"1", 7, 500), STORED, b"incr a 1\r\n",
         b"2\r\n", *holds(b"a", b"2", 7), b"incr a 100\r\n", b"102\r\n", *holds(b"a", b"102", 7),
         b"mg a t\r\n", b"HD t500\r\n"),
    Case("incr changes the cas", b"ms a 1 E77\r\n1\r\n", b"HD\r\n", b"incr a 1\r\n", b"2\r\n",
         b"cas a 0 0 1 77\r\n5\r\n", b"EXISTS\r\n"),
    Case("incr of what is no number", set_(b"a", b"abc"), STORED, b"incr a 1\r\n", NOT_NUMBER,
         b"decr a 1\r\n", NOT_NUMBER, set_(b"a", b""), STORED, b"incr a 1\r\n", NOT_NUMBER),
    Case("incr by what is no number", set_(b"a", b"1"), STORED, b"incr a x\r\n", BAD_DELTA,
         b"incr a -1\r\n", BAD_DELTA, b"decr a 1x\r\n", BAD_DELTA,
         b"incr a 18446744073709551616\r\n", BAD_DELTA),
    Case("incr with too few arguments", b"incr\r\n", BLF, b"incr a\r\n", BLF, b"decr a\r\n", BLF),
    Case("incr with a key of 251 bytes", b"incr %s 1\r\n" % KEY251, BLF, split=False),
    Case("incr noreply", set_(b"a", b"1"), STORED, b"incr a 1 noreply\r\ndecr a 1 noreply\r\n"
         b"incr a 9 noreply\r\n", b"", *holds(b"a", b"10"), b"incr x 1 noreply\r\n", b""),
    Case("a value of 20 digits", set_(b"a", b"18446744073709551614"), STORED, b"incr a 1\r\n",
         b"18446744073709551615\r\n"),
    Case("a value above 64 bits is no number", set_(b"a", b"18446744073709551616"), STORED,
         b"incr a 1\r\n", NOT_NUMBER),
    Case("a long value is no number", set_(b"a", b"1" * 30), STORED, b"incr a 1\r\n", NOT_NUMBER),
    Case("a negative value is no number", set_(b"a", b"-1"), STORED, b"incr a 1\r\n", NOT_NUMBER),
]

OTHER = [
    Case("touch", set_(b"a", b"1"), STORED, b"touch a 100\r\n", b"TOUCHED\r\n", b"mg a t\r\n",
         b"HD t100\r\n", b"touch b 1\r\n", b"NOT_FOUND\r\n"),
    Case("touch does not change the cas", b"ms a 1 E5\r\n1\r\n", b"HD\r\n", b"touch a 100\r\n",
         b"TOUCHED\r\n", b"gets a\r\n", b"VALUE a 0 1 5\r\n1\r\nEND\r\n"),
    Case("touch with a bad time", b"touch a x\r\n", BAD_EXPTIME),
    Case("touch with too few arguments", b"touch\r\n", BLF, b"touch a\r\n", BLF),
    Case("touch with a key of 251 bytes", b"touch %s 1\r\n" % KEY251, BLF, split=False),
    Case("touch noreply", set_(b"a", b"1"), STORED, b"touch a 100 noreply\r\n", b"",
         b"mg a t\r\n", b"HD t100\r\n"),
    Case("touch with a negative time expires", set_(b"a", b"1"), STORED, b"touch a -1\r\n",
         b"TOUCHED\r\n", b"get a\r\n", b"END\r\n"),
    Case("flush_all", set_(b"a", b"1"), STORED, b"flush_all\r\n", b"OK\r\n", b"get a\r\n",
         b"END\r\n"),
    Case("what is set after flush_all lives", b"flush_all\r\n" + set_(b"a", b"1"),
         b"OK\r\n" + STORED, *holds(b"a", b"1")),
    Case("flush_all noreply", set_(b"a", b"1"), STORED, b"flush_all noreply\r\n", b"",
         b"get a\r\n", b"END\r\n", set_(b"a", b"1"), STORED, b"flush_all 0 noreply\r\n", b"",
         b"get a\r\n", b"END\r\n"),
    Case("flush_all with a bad time", b"flush_all x\r\n", BAD_EXPTIME),
    Case("version", b"version\r\n", b"VERSION 1.6.45\r\n", b"version x y\r\n",
         b"VERSION 1.6.45\r\n"),
    Case("verbosity", b"verbosity 0\r\n", b"OK\r\n", b"verbosity 0 noreply\r\n", b"",
         b"verbosity\r\n", BLF, b"verbosity x\r\n", BLF, b"verbosity -1\r\n", BLF,
         b"verbosity noreply\r\n", b""),
    Case("shutdown is refused unless enabled", b"shutdown\r\n",
         b"SERVER_ERROR: shutdown not enabled\r\n", b"shutdown graceful\r\n",
         b"SERVER_ERROR: shutdown not enabled\r\n"),
    Case("an unknown command", b"nonsense\r\n", b"ERROR\r\n", b"nonsense a b c\r\n", b"ERROR\r\n",
         b"gett a\r\n", b"ERROR\r\n"),
    Case("commands are case sensitive", b"GET a\r\n", b"ERROR\r\n", b"Version\r\n", b"ERROR\r\n"),
    Case("a leading space makes a command unknown", b" version\r\n", b"ERROR\r\n"),
    Case("an empty line", b"\r\n", BLF, b"a\r\n", BLF),
    Case("a very short command ended by LF", b"mn\n", b"MN\r\n",
         bug="a line under 4 bytes is refused"),
    Case("the data line of an unknown storage command is a command",
         b"put a 0 0 7\r\nversion\r\n", b"ERROR\r\nVERSION 1.6.45\r\n"),
    Case("cache_memlimit", b"cache_memlimit 64\r\n", b"OK\r\n", b"cache_memlimit 5\r\n",
         b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n",
         b"cache_memlimit 1000000001\r\n",
         b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n",
         b"cache_memlimit x\r\n", b"ERROR\r\n", b"cache_memlimit\r\n", b"ERROR\r\n"),
    Case("slabs automove with what is no number", b"slabs automove x\r\n", BLF),
    Case("refresh_certs without TLS", b"refresh_certs\r\n", b"Error TLS not enabled\r\n"),
    Case("lru tune with nonsense", b"lru tune x\r\n", b"ERROR\r\n", b"lru mode x\r\n",
         b"ERROR\r\n", b"lru\r\n", b"ERROR\r\n"),
    Case("slabs with nonsense", b"slabs\r\n", b"ERROR\r\n", b"slabs x\r\n", b"ERROR\r\n"),
    Case("stats with an unknown word", b"stats nosuchthing\r\n", b"ERROR\r\n"),
    Case("stats detail with nonsense", b"stats detail\r\n",
         b"CLIENT_ERROR usage: stats detail on|off|dump\r\n", b"stats detail x\r\n",
         b"CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
    Case("stats cachedump with nonsense", b"stats cachedump\r\n",
         b"CLIENT_ERROR bad command line\r\n", b"stats cachedump x 1\r\n",
         b"CLIENT_ERROR bad command line format\r\n",
         b"stats cachedump 1 x\r\n", b"CLIENT_ERROR bad command line format\r\n",
         b"stats cachedump 300 1\r\n", b"CLIENT_ERROR Illegal slab id\r\n"),
    Case("watch with an unknown stream", b"watch nosuchthing\r\n", b"ERROR\r\n"),
    Case("lru_crawler with nonsense", b"lru_crawler\r\n", b"ERROR\r\n", b"lru_crawler x\r\n",
         b"ERROR\r\n", b"lru_crawler tocrawl x\r\n", BLF, b"lru_crawler sleep x\r\n", BLF,
         b"lru_crawler sleep 1000001\r\n",
         b"CLIENT_ERROR sleep must be one second or less\r\n",
         b"lru_crawler sleep 100\r\n", b"OK\r\n", b"lru_crawler tocrawl 0\r\n", b"OK\r\n"),
]


@conversations(RETRIEVAL + STORAGE + DELETE + ARITHMETIC + OTHER)
class Text(ServerCase):
    UNIX = True

    def test_a_hundred_commands_in_one_write_are_answered_in_order(self):
        request = b"".join(set_(b"k%d" % i, b"v%d" % i) + b"get k%d nothing\r\n" % i
                           for i in range(1000))
        reply = b"".join(STORED + value(b"k%d" % i, b"v%d" % i) + b"END\r\n" for i in range(1000))
        self.c.ask(request, reply)

    def test_a_request_that_comes_byte_by_byte(self):
        for byte in set_(b"a", b"12345"):
            self.c.send_and_wait_until_read(bytes([byte]))
        self.c.expect(STORED)
        for byte in b"get a b\r\n":
            self.c.send_and_wait_until_read(bytes([byte]))
        self.c.expect(value(b"a", b"12345") + b"END\r\n")

    def test_a_get_line_with_thousands_of_keys(self):
        keys = [b"key-number-%05d" % i for i in range(10000)]
        for key in keys[::7]:
            self.c.send(b"set %s 0 0 5 noreply\r\n%s\r\n" % (key, key[-5:]))
        self.c.ask(b"get " + b" ".join(keys) + b"\r\n",
                   b"".join(value(key, key[-5:]) for key in keys[::7]) + b"END\r\n")

    def test_quit_closes_and_answers_nothing(self):
        self.c.send(b"quit\r\n")
        self.c.expect_close()

    def test_quit_with_arguments_closes_too(self):
        self.c.send(b"quit foo bar\r\n")
        self.c.expect_close()

    def test_what_was_asked_before_quit_is_answered(self):
        self.c.send(set_(b"a", b"1") + b"get a\r\nquit\r\nget a\r\n")
        self.c.expect_close(STORED + value(b"a", b"1") + b"END\r\n")

    def test_a_client_that_shuts_down_its_side_still_hears(self):
        import socket
        self.c.send(b"version\r\n")
        self.c.sock.shutdown(socket.SHUT_WR)
        self.c.expect_close(b"VERSION 1.6.45\r\n")

    def test_an_http_request_is_closed_without_an_answer(self):
        self.c.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.c.expect_close()

    def test_the_cas_number_rises_with_every_write(self):
        seen = []
        for _ in range(3):
            self.c.ask(set_(b"a", b"1"), STORED)
            self.c.send(b"gets a\r\n")
            seen.append(int(self.c.read_until(b"END\r\n").split()[4]))
        self.assertLess(seen[0], seen[1])
        self.assertLess(seen[1], seen[2])

    def test_gets_then_cas(self):
        self.c.ask(set_(b"a", b"1"), STORED)
        self.c.send(b"gets a\r\n")
        number = self.c.read_until(b"END\r\n").split()[4]
        other = self.another()
        other.ask(b"cas a 0 0 1 %s\r\n2\r\n" % number, STORED)
        self.c.ask(b"cas a 0 0 1 %s\r\n3\r\n" % number, b"EXISTS\r\n")
        self.c.ask(*holds(b"a", b"2"))

    def test_incr_in_parallel_loses_nothing(self):
        self.c.ask(set_(b"n", b"0"), STORED)
        others = [self.another() for _ in range(8)]
        for connection in others:
            connection.send(b"incr n 1\r\n" * 500)
        for connection in others:
            for _ in range(500):
                connection.line()
        self.c.ask(*holds(b"n", b"4000"))

    def test_append_in_parallel_loses_nothing(self):
        self.c.ask(set_(b"n", b""), STORED)
        others = [self.another() for _ in range(8)]
        for connection in others:
            connection.send(b"append n 0 0 1\r\nx\r\n" * 200)
        for connection in others:
            for _ in range(200):
                self.assertEqual(connection.line(), STORED)
        self.c.ask(*holds(b"n", b"x" * 1600))

    def test_values_of_many_sizes(self):
        for size in [1, 2, 100, 1023, 1024, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536,
                     100000, 300000, 524288, 700000, 1000000]:
            with self.subTest(size):
                data = bytes((i * 7 + size) & 255 for i in range(256)) * (size // 256 + 1)
                self.c.ask(set_(b"big", data[:size], size), STORED)
                self.c.ask(*holds(b"big", data[:size], size))

    def test_many_large_values_in_one_answer(self):
        for i in range(20):
            self.c.ask(set_(b"big%d" % i, bytes([65 + i]) * 200000), STORED)
        self.c.ask(b"get " + b" ".join(b"big%d" % i for i in range(20)) + b"\r\n",
                   b"".join(value(b"big%d" % i, bytes([65 + i]) * 200000) for i in range(20))
                   + b"END\r\n")

    def test_a_client_that_reads_late_gets_everything(self):
        import time
        data = b"x" * 100000
        self.c.ask(set_(b"a", data), STORED)
        self.c.send(b"get a\r\n" * 200)
        time.sleep(0.3)
        for _ in range(200):
            self.assertEqual(self.c.read(len(value(b"a", data)) + 5), value(b"a", data) + b"END\r\n")

    def test_a_value_sent_while_it_is_overwritten_stays_whole(self):
        old, new = b"o" * 500000, b"n" * 500000
        self.c.ask(set_(b"a", old), STORED)
        self.c.send(b"get a\r\n" * 20)
        other = self.another()
        other.ask(set_(b"a", new), STORED)
        other.ask(b"delete a\r\n", b"DELETED\r\n")
        seen = set()
        for _ in range(20):
            answer = self.c.read_until(b"END\r\n")
            if answer != b"END\r\n":
                body = answer.split(b"\r\n")[1]
                self.assertEqual(len(body), 500000)
                seen.update(body)
        self.assertLessEqual(seen, set(b"on"))


class TextTime(unittest.TestCase):
    """Expiry, on a clock that the test moves; so each has its own server."""

    def setUp(self):
        self.server = Server(unix=True, debug=True)
        self.addCleanup(self.server.stop)
        self.c = self.server.connect()
        self.addCleanup(self.c.close)
        self.c.send(b"debugtime 1\r\n")
        if self.c.line() != b"OK\r\n":
            self.skipTest("needs debugtime: run against memcached-debug")

    def advance(self, seconds):
        self.c.ask(b"debugtime %d\r\n" % seconds, b"OK\r\n")

    def test_an_item_expires(self):
        self.c.ask(set_(b"a", b"1", 0, 10), STORED)
        self.advance(5)
        self.c.ask(*holds(b"a", b"1"))
        self.advance(6)
        self.c.ask(b"get a\r\n", b"END\r\n")

    def test_touch_and_gat_lengthen_a_life(self):
        self.c.ask(set_(b"a", b"1", 0, 10) + set_(b"b", b"2", 0, 10) + set_(b"c", b"3", 0, 10),
                   STORED * 3)
        self.c.ask(b"touch a 100\r\n", b"TOUCHED\r\n")
        self.c.ask(b"gat 100 b\r\n", value(b"b", b"2") + b"END\r\n")
        self.advance(20)
        self.c.ask(b"get a b c\r\n", value(b"a", b"1") + value(b"b", b"2") + b"END\r\n")

    def test_an_expired_item_is_not_there_for_any_command(self):
        self.c.ask(b"".join(set_(b"k%d" % i, b"1", 0, 10) for i in range(9)), STORED * 9)
        self.advance(11)
        self.c.ask(b"delete k0\r\n", b"NOT_FOUND\r\n")
        self.c.ask(b"incr k1 1\r\n", b"NOT_FOUND\r\n")
        self.c.ask(b"touch k2 0\r\n", b"NOT_FOUND\r\n")
        self.c.ask(set_(b"k3", b"2", command=b"replace"), b"NOT_STORED\r\n")
        self.c.ask(set_(b"k4", b"2", command=b"append"), b"NOT_STORED\r\n")
        self.c.ask(set_(b"k5", b"2", command=b"add"), STORED)
        self.c.ask(b"cas k6 0 0 1 1\r\n2\r\n", b"NOT_FOUND\r\n")
        self.c.ask(b"gat 0 k7\r\n", b"END\r\n")
        self.c.ask(b"mg k8 v\r\n", b"EN\r\n")
        self.c.ask(*holds(b"k5", b"2"))

    def test_a_flush_with_a_delay_waits(self):
        self.c.ask(set_(b"a", b"1"), STORED)
        self.c.ask(b"flush_all 10\r\n", b"OK\r\n")
        self.c.ask(*holds(b"a", b"1"))
        self.advance(5)
        self.c.ask(set_(b"b", b"2"), STORED)
        self.advance(10)
        self.c.ask(b"get a b\r\n", b"END\r\n")

    def test_the_time_to_live_counts_down(self):
        self.c.ask(set_(b"a", b"1", 0, 1000), STORED)
        self.advance(30)
        self.c.send(b"mg a t\r\n")
        self.assertAlmostEqual(int(self.c.line()[4:]), 970, delta=3)


class TextRealTime(ServerCase):
    """Expiry on the real clock: slow, so little of it."""

    UNIX = True

    def test_an_item_is_never_gone_early(self):
        import time
        if IS_MEMCACHED:
            self.skipTest("memcached bug: its clock ticks in whole seconds")
        time.sleep(0.9 - time.time() % 1 if time.time() % 1 < 0.9 else 0)
        start = time.monotonic()
        self.c.ask(set_(b"a", b"1", 0, 1), STORED)
        while time.monotonic() - start < 0.95:
            self.c.ask(*holds(b"a", b"1"))
            time.sleep(0.02)
        time.sleep(max(0, start + 1.15 - time.monotonic()))
        self.c.ask(b"get a\r\n", b"END\r\n")

    def test_a_unix_time_is_a_date(self):
        import time
        self.c.ask(set_(b"a", b"1", 0, int(time.time()) + 1000), STORED)
        self.c.send(b"mg a t\r\n")
        left = int(self.c.line()[4:])
        self.assertAlmostEqual(left, 1000, delta=2)


if __name__ == "__main__":
    unittest.main()
