"""The meta protocol: every command, flag, result code and error text."""

import unittest

from harness import Case, Server, ServerCase, conversations

BLF = b"CLIENT_ERROR bad command line format\r\n"
DUPLICATE = b"CLIENT_ERROR duplicate flag\r\n"
INVALID = b"CLIENT_ERROR invalid flag\r\n"
BAD_TOKEN = b"CLIENT_ERROR bad token in command line format\r\n"
MA_FLAG = b"CLIENT_ERROR invalid or duplicate flag\r\n"
OPAQUE = b"CLIENT_ERROR opaque token too long\r\n"
KEY250 = b"k" * 250
KEY251 = b"k" * 251
HD = b"HD\r\n"
EN = b"EN\r\n"
NF = b"NF\r\n"
NS = b"NS\r\n"
EX = b"EX\r\n"


def ms(key, value, flags=b""):
    return b"ms %s %d%s\r\n%s\r\n" % (key, len(value), b" " + flags if flags else b"", value)


def va(value, flags=b""):
    return b"VA %d%s\r\n%s\r\n" % (len(value), b" " + flags if flags else b"", value)


GET = [
    Case("mn", b"mn\r\n", b"MN\r\n", b"mn some arguments\r\n", b"MN\r\n"),
    Case("mg of a missing key", b"mg a\r\n", EN, b"mg a v\r\n", EN),
    Case("mg of a missing key echoes opaque and key", b"mg a O123 k v\r\n", b"EN O123 ka\r\n",
         b"mg a k v O123 f\r\n", b"EN ka O123\r\n"),
    Case("mg without flags only says that it is there", ms(b"a", b"one"), HD, b"mg a\r\n", HD),
    Case("mg v", ms(b"a", b"one"), HD, b"mg a v\r\n", va(b"one")),
    Case("mg with every answer flag, in the order asked", ms(b"a", b"one", b"F7 E48 T100"), HD,
         b"mg a v s t f c k Oq h l\r\n", va(b"one", b"s3 t100 f7 c48 ka Oq h0 l0"),
         b"mg a k c f t s h\r\n", b"HD ka c48 f7 t100 s3 h1\r\n"),
    Case("mg t of an item that never expires", ms(b"a", b"1"), HD, b"mg a t\r\n", b"HD t-1\r\n"),
    Case("mg h tells whether it was read before", ms(b"a", b"1"), HD, b"mg a h\r\n", b"HD h0\r\n",
         b"mg a h\r\n", b"HD h1\r\n"),
    Case("mg u leaves no trace", ms(b"a", b"1"), HD, b"mg a h u\r\nmg a h u\r\n",
         b"HD h0\r\nHD h0\r\n"),
    Case("mg q hides a miss only", ms(b"a", b"1"), HD, b"mg x q v\r\nmg a q v\r\nmg y q\r\n",
         va(b"1")),
    Case("mg T sets the time to live", ms(b"a", b"1"), HD, b"mg a T50 t\r\n", b"HD t50\r\n",
         b"mg a T70\r\n", HD, b"mg a t\r\n", b"HD t70\r\n", b"mg a T0 t\r\n",
         b"HD t-1\r\n"),
    Case("mg C drops the value when the cas matches", ms(b"a", b"one", b"E5"), HD,
         b"mg a v C5\r\n", HD, b"mg a v C6\r\n", va(b"one"), b"mg a v c C5\r\n", b"HD c5\r\n"),
    Case("mg E with N gives the empty item its cas", b"mg a N30 E99 c\r\n", b"HD c99 W\r\n"),
    Case("mg P and L are for proxies", ms(b"a", b"1"), HD, b"mg a P L v\r\n", va(b"1"),
         b"mg a Pfoo Lbar v\r\n", va(b"1")),
    Case("mg of an empty value", ms(b"a", b""), HD, b"mg a v s\r\n", va(b"", b"s0")),
    Case("runs of spaces separate like one", ms(b"a", b"1"), HD, b"mg   a   v   s \r\n",
         va(b"1", b"s1")),
    Case("mg without a key", b"mg\r\n", BLF, b"mg \r\n", BLF),
    Case("mg with a key of 250 bytes", ms(KEY250, b"1"), HD, b"mg %s k v\r\n" % KEY250,
         va(b"1", b"k" + KEY250), split=False),
    Case("mg with a key of 251 bytes", b"mg %s v\r\n" % KEY251, BLF, split=False),
    Case("text and meta see the same items", b"set a 5 0 1\r\n1\r\n", b"STORED\r\n",
         b"mg a v f\r\n", va(b"1", b"f5"), ms(b"b", b"2", b"F6"), HD, b"get b\r\n",
         b"VALUE b 6 1\r\n2\r\nEND\r\n"),
]

SET = [
    Case("ms", ms(b"a", b"one"), HD, b"mg a v\r\n", va(b"one")),
    Case("ms with answer flags", ms(b"a", b"one", b"k Oxyz E9 c"), b"HD ka Oxyz c9\r\n"),
    Case("ms s answers the size", ms(b"a", b"one", b"s"), b"HD s3\r\n"),
    Case("ms F and T", ms(b"a", b"one", b"F123 T77"), HD, b"mg a f t\r\n", b"HD f123 t77\r\n"),
    Case("ms with a negative time expires", ms(b"a", b"1", b"T-1"), HD, b"mg a\r\n", EN),
    Case("ms q hides HD only", ms(b"a", b"1", b"q"), b"", ms(b"a", b"2", b"q ME"), NS,
         ms(b"x", b"2", b"q MR"), NS, ms(b"a", b"2", b"q C1"), EX, ms(b"x", b"2", b"q C1"), NF),
    Case("ms ME adds", ms(b"a", b"1", b"ME"), HD, ms(b"a", b"2", b"ME"), NS, b"mg a v\r\n",
         va(b"1")),
    Case("ms MR replaces", ms(b"a", b"1", b"MR"), NS, ms(b"a", b"1"), HD, ms(b"a", b"2", b"MR"),
         HD, b"mg a v\r\n", va(b"2")),
    Case("ms MA appends, MP prepends", ms(b"a", b"1", b"MA"), NS, ms(b"a", b"1"), HD,
         ms(b"a", b"2", b"MA"), HD, ms(b"a", b"0", b"MP"), HD, b"mg a v\r\n", va(b"012")),
    Case("ms MA with N creates", ms(b"a", b"1", b"MA N100"), HD, b"mg a v t\r\n",
         va(b"1", b"t100"), ms(b"a", b"2", b"MA N500"), HD, b"mg a v t\r\n", va(b"12", b"t100")),
    Case("ms MP with N creates", ms(b"a", b"1", b"MP N100"), HD, b"mg a v t\r\n",
         va(b"1", b"t100")),
    Case("ms MS sets", ms(b"a", b"1", b"MS"), HD, ms(b"a", b"2", b"MS"), HD, b"mg a v\r\n",
         va(b"2")),
    Case("ms with a mode that is none", ms(b"a", b"1", b"Mx"),
         b"CLIENT_ERROR invalid mode for ms M token\r\n", ms(b"a", b"1", b"Me"),
         b"CLIENT_ERROR invalid mode for ms M token\r\n", b"mg a\r\n", EN),
    Case("ms C compares", ms(b"a", b"1", b"E5"), HD, ms(b"a", b"2", b"C4"), EX,
         ms(b"a", b"2", b"C5"), HD, b"mg a v\r\n", va(b"2"), ms(b"x", b"1", b"C5"), NF),
    Case("ms C with E gives the new cas", ms(b"a", b"1", b"E5"), HD,
         ms(b"a", b"2", b"C5 E6 c"), b"HD c6\r\n"),
    Case("ms c of what was not stored is 0", ms(b"a", b"1", b"E5"), HD, ms(b"a", b"2", b"C4 c"),
         b"EX c0\r\n"),
    Case("ms I with a lower cas stores and marks stale", ms(b"a", b"1", b"E50"), HD,
         ms(b"a", b"2", b"C40 I E60"), HD, b"mg a v c\r\n", va(b"2", b"c60 X W"),
         b"mg a v c\r\n", va(b"2", b"c60 Z X")),
    Case("ms I with a higher cas does not store", ms(b"a", b"1", b"E50"), HD,
         ms(b"a", b"2", b"C60 I"), EX, b"mg a v\r\n", va(b"1")),
    Case("ms swallows the data after an error in its flags", ms(b"a", b"mn", b"k k"), DUPLICATE,
         ms(b"a", b"mn", b"Fx"), BLF, ms(b"a", b"mn", b"Tx"), BAD_TOKEN),
    Case("ms with a length that is no number: the data is the next command",
         b"ms a x\r\nversion\r\n", BLF + b"VERSION 1.6.45\r\n"),
    Case("ms without a length", b"ms a\r\n", BLF, b"ms\r\n", BLF),
    Case("ms with a negative length", b"ms a -1\r\n", BLF),
    Case("ms with data longer than said", b"ms a 2\r\nabcdefgh\r\n",
         b"CLIENT_ERROR bad data chunk\r\nERROR\r\n", b"mg a\r\n", EN),
    Case("ms with a key of 251 bytes swallows the data", ms(KEY251, b"version"), BLF, split=False),
    Case("ms with a negative time to vivify", ms(b"a", b"1", b"MA N-1"), HD, b"mg a\r\n", EN),
]

DELETE = [
    Case("md", ms(b"a", b"1"), HD, b"md a\r\n", HD, b"md a\r\n", NF, b"mg a\r\n", EN),
    Case("md echoes", ms(b"a", b"1"), HD, b"md a k Oabc\r\n", b"HD ka Oabc\r\n",
         b"md a k Oabc\r\n", b"NF ka Oabc\r\n"),
    Case("md q hides HD only", ms(b"a", b"1"), HD, b"md a q\r\n", b"", b"md a q\r\n", NF,
         ms(b"a", b"1", b"E4"), HD, b"md a q C3\r\n", EX),
    Case("md C compares", ms(b"a", b"1", b"E4"), HD, b"md a C3\r\n", EX, b"md a C4\r\n", HD,
         b"mg a\r\n", EN),
    Case("md I marks stale and gives a new cas", ms(b"a", b"1", b"E4"), HD, b"md a I T30\r\n", HD,
         b"mg a v t\r\n", va(b"1", b"t30 X W"), b"mg a v\r\n", va(b"1", b"Z X"),
         ms(b"a", b"2", b"C4"), EX),
    Case("md I E sets the cas", ms(b"a", b"1", b"E4"), HD, b"md a I E9\r\n", HD, b"mg a c\r\n",
         b"HD c9 X W\r\n"),
    Case("md T alone changes nothing but deletes", ms(b"a", b"1"), HD, b"md a T30\r\n", HD,
         b"mg a\r\n", EN),
    Case("md x empties the value and keeps the item", ms(b"a", b"one", b"F5"), HD, b"md a x\r\n",
         HD, b"mg a v s f\r\n", va(b"", b"s0 f0")),
    Case("md x T", ms(b"a", b"one", b"F5"), HD, b"md a x T60\r\n", HD, b"mg a s t f\r\n",
         b"HD s0 t60 f0\r\n"),
    Case("md x without T takes the time to live away", ms(b"a", b"one", b"T100"), HD,
         b"md a x\r\n", HD, b"mg a t\r\n", b"HD t-1\r\n"),
    Case("md without a key", b"md\r\n", BLF),
    Case("md with a key of 251 bytes", b"md %s\r\n" % KEY251, BLF, split=False),
]

ARITHMETIC = [
    Case("ma adds 1", ms(b"a", b"10"), HD, b"ma a\r\n", HD, b"ma a v\r\n", va(b"12")),
    Case("ma of nothing", b"ma a\r\n", NF, b"ma a v Ox k\r\n", b"NF Ox ka\r\n"),
    Case("ma D and M", ms(b"a", b"10"), HD, b"ma a v D5\r\n", va(b"15"), b"ma a v MD D3\r\n",
         va(b"12"), b"ma a v M- D2\r\n", va(b"10"), b"ma a v M+ D7\r\n", va(b"17"),
         b"ma a v MI\r\n", va(b"18")),
    Case("ma decrements to 0 at least", ms(b"a", b"3"), HD, b"ma a v MD D9\r\n", va(b"0")),
    Case("ma wraps at 2^64", ms(b"a", b"18446744073709551615"), HD, b"ma a v\r\n", va(b"0")),
    Case("ma N creates", b"ma a N0\r\n", HD, b"ma a v\r\n", va(b"1"), b"ma b N0 J13 v\r\n",
         va(b"13"), b"ma b N0 J13 v\r\n", va(b"14"), b"ma c N90 J5 v t\r\n", va(b"5", b"t90")),
    Case("ma with answer flags", ms(b"a", b"1", b"T100"), HD, b"ma a E7 t c v k Oz\r\n",
         va(b"2", b"t100 c7 ka Oz"), b"ma a t c k Oz E8\r\n", b"HD t100 c8 ka Oz\r\n"),
    Case("ma q hides success only", ms(b"a", b"1"), HD, b"ma a q\r\nma a q v\r\n", b"",
         b"ma x q\r\n", NF),
    Case("ma C compares", ms(b"a", b"1", b"E4"), HD, b"ma a C3\r\n", EX, b"ma a C4 E5 v c\r\n",
         va(b"2", b"c5")),
    Case("ma T", ms(b"a", b"1"), HD, b"ma a T40 t\r\n", b"HD t40\r\n"),
    Case("ma of what is no number", ms(b"a", b"x"), HD, b"ma a\r\n",
         b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    Case("ma with a mode that is none", b"ma a Mx\r\n",
         b"CLIENT_ERROR invalid mode for ma M token\r\n"),
    Case("ma with a flag twice", b"ma a k k\r\n", MA_FLAG),
    Case("ma without a key", b"ma\r\n", BLF),
    Case("ma with a key of 251 bytes", b"ma %s\r\n" % KEY251, b"CLIENT_ERROR <any>\r\n",
         split=False),
    Case("ma keeps flags and pads like incr", ms(b"a", b"10", b"F3"), HD, b"ma a MD v\r\n",
         va(b"9"), b"get a\r\n", b"VALUE a 3 2\r\n9 \r\nEND\r\n"),
]

STALE = [
    Case("a miss with N is won by the first", b"mg a N30 v t\r\n", va(b"", b"t30 W"),
         b"mg a N30 v\r\n", va(b"", b"Z"), b"mg a v\r\n", va(b"", b"Z"), ms(b"a", b"1"), HD,
         b"mg a N30 v\r\n", va(b"1")),
    Case("a low time to live is won by the first", ms(b"a", b"1", b"T100"), HD,
         b"mg a R30 v\r\n", va(b"1"), b"mg a R200 v\r\n", va(b"1", b"W"), b"mg a R200 v\r\n",
         va(b"1", b"Z"), b"mg a v\r\n", va(b"1", b"Z"), ms(b"a", b"2", b"T100"), HD,
         b"mg a v\r\n", va(b"2")),
    Case("an item that never expires is never recached", ms(b"a", b"1"), HD, b"mg a R30 v\r\n",
         va(b"1")),
    Case("marking stale again gives another win", ms(b"a", b"1"), HD, b"md a I\r\nmg a\r\n",
         b"HD\r\nHD X W\r\n", b"mg a\r\n", b"HD Z X\r\n", b"md a I\r\nmg a\r\n",
         b"HD\r\nHD X W\r\n"),
    Case("a plain set clears stale and win", ms(b"a", b"1"), HD, b"md a I\r\nmg a\r\n",
         b"HD\r\nHD X W\r\n", b"set a 0 0 1\r\n2\r\n", b"STORED\r\n", b"mg a v\r\n", va(b"2")),
    Case("the winner stores with the cas it saw", ms(b"a", b"1"), HD, b"md a I E70\r\n", HD,
         b"mg a c v\r\n", va(b"1", b"c70 X W"), ms(b"a", b"2", b"C70"), HD, b"mg a v\r\n",
         va(b"2")),
    Case("win flags come after the asked ones", ms(b"a", b"1", b"E5"), HD, b"md a I E6\r\n", HD,
         b"mg a Ob c k\r\n", b"HD Ob c6 ka X W\r\n"),
]

KEYS = [
    Case("a base64 key", ms(b"Zm9v", b"1", b"b k"), b"HD kZm9v b\r\n", b"mg Zm9v b k v\r\n",
         va(b"1", b"kZm9v b"), b"mg foo v\r\n", va(b"1"), b"md Zm9v b\r\n", HD, b"mg foo\r\n", EN),
    Case("a base64 key is remembered as binary", ms(b"Zm9v", b"1", b"b"), HD, b"mg foo k v\r\n",
         va(b"1", b"kZm9v b")),
    Case("a base64 key with spaces in it", ms(b"YSBi", b"1", b"b"), HD, b"mg YSBi b v k\r\n",
         va(b"1", b"kYSBi b")),
    Case("ma with a base64 key", b"ma Zm9v b N0 J5 v k\r\n", va(b"5", b"kZm9v b")),
    Case("a base64 miss echoes the key", b"mg Zm9v b k\r\n", b"EN kZm9v b\r\n",
         b"md Zm9v b k\r\n", b"NF kZm9v b\r\n"),
    Case("a key that is no base64", b"mg *** b\r\n", b"CLIENT_ERROR error decoding key\r\n",
         b"md *** b\r\n", b"CLIENT_ERROR error decoding key\r\n", ms(b"***", b"version", b"b"),
         b"CLIENT_ERROR error decoding key\r\n"),
]

BAD = [
    Case("a flag twice", b"mg a v v\r\n", DUPLICATE, b"mg a v s s\r\n", DUPLICATE,
         b"md a q q\r\n", DUPLICATE, ms(b"a", b"1", b"T1 T2"), DUPLICATE),
    Case("a flag that is none", b"mg a !\r\n", BLF, b"mg a ~\r\n", BLF, b"md a !\r\n", BLF),
    Case("a flag not known", b"mg a G\r\n", INVALID, b"md a G\r\n", INVALID,
         ms(b"a", b"1", b"G"), INVALID),
    Case("a number that is none", b"mg a Tx\r\n", BAD_TOKEN, b"mg a Nx\r\n", BAD_TOKEN,
         b"mg a Rx\r\n", BAD_TOKEN, b"mg a Cx\r\n", BAD_TOKEN, b"mg a Ex\r\n", BAD_TOKEN,
         b"md a Tx\r\n", BAD_TOKEN, ms(b"a", b"1", b"Tx"), BAD_TOKEN,
         ms(b"a", b"1", b"Cx"), BAD_TOKEN, ms(b"a", b"1", b"Fx"), BLF),
    Case("an opaque of 31 bytes", b"mg a O%s\r\n" % (b"o" * 31), b"EN O%s\r\n" % (b"o" * 31)),
    Case("an opaque of 32 bytes", b"mg a O%s\r\n" % (b"o" * 32), b"EN O%s\r\n" % (b"o" * 32),
         bug="the limit is 31, not the documented 32"),
    Case("an opaque of 33 bytes", b"mg a O%s\r\n" % (b"o" * 33), OPAQUE),
    Case("20 words", b"mg a k f v s t c h l Oq T30 R10 P L u q E5 C7 I\r\n", b""),
    Case("more than 20 words", b"mg a k f v s t c h l Oq N30 T30 R10 P L u q E5 C7 I\r\n",
         b"CLIENT_ERROR options flags are too long\r\n"),
    Case("errors are sent even when quiet", b"mg a q v v\r\n", DUPLICATE, b"md a q !\r\n", BLF),
]

DEBUG = [
    Case("me of a missing key", b"me a\r\n", EN),
    Case("me", b"set a 5 0 3\r\none\r\n", b"STORED\r\n", b"me a\r\n",
         b"ME a exp=-1 la=<n> cas=<n> fetch=no cls=<n> size=<n>\r\n", b"mg a v\r\n", va(b"one"),
         b"me a\r\n", b"ME a exp=-1 la=<n> cas=<n> fetch=yes cls=<n> size=<n>\r\n"),
    Case("me with a time to live", ms(b"a", b"1", b"T100"), HD, b"me a\r\n",
         b"ME a exp=100 la=<n> cas=<n> fetch=no cls=<n> size=<n>\r\n"),
    Case("me with a base64 key", ms(b"Zm9v", b"1", b"b"), HD, b"me Zm9v b\r\n",
         b"ME Zm9v exp=-1 la=<n> cas=<n> fetch=no cls=<n> size=<n>\r\n",
         bug="b is only seen with one word more"),
    Case("me without a key", b"me\r\n", BLF),
]


@conversations(GET + SET + DELETE + ARITHMETIC + STALE + KEYS + BAD + DEBUG)
class Meta(ServerCase):
    UNIX = True

    def test_a_quiet_pipeline_ended_by_mn(self):
        self.c.send(b"".join(ms(b"k%d" % i, b"v", b"q") for i in range(100)))
        self.c.ask(b"".join(b"mg k%d q v k\r\n" % i for i in range(90, 110)),
                   b"".join(va(b"v", b"kk%d" % i) for i in range(90, 100)))

    def test_one_win_for_many_clients_at_once(self):
        others = [self.another() for _ in range(20)]
        for other in others:
            other.send(b"mg a N30 v\r\n")
        answers = [other.line() + other.line() for other in others]
        self.assertEqual(answers.count(va(b"", b"W")), 1, answers)
        self.assertEqual(answers.count(va(b"", b"Z")), 19, answers)

    def test_the_cas_that_ms_returns_is_the_one_that_mg_shows(self):
        self.c.send(ms(b"a", b"1", b"c"))
        number = self.c.line()[4:-2]
        self.c.ask(b"mg a c\r\n", b"HD c%s\r\n" % number)
        self.c.send(ms(b"a", b"2", b"c"))
        self.assertGreater(int(self.c.line()[4:-2]), int(number))

    def test_a_large_value(self):
        data = bytes(range(256)) * 3000
        self.c.ask(ms(b"a", data), HD)
        self.c.ask(b"mg a v s\r\n", va(data, b"s768000"))


class MetaTime(unittest.TestCase):
    """What changes as time goes by, on a clock that the test moves."""

    def setUp(self):
        self.server = Server(unix=True, debug=True)
        self.addCleanup(self.server.stop)
        self.c = self.server.connect()
        self.addCleanup(self.c.close)
        self.c.send(b"debugtime 1\r\n")
        if self.c.line() != b"OK\r\n":
            self.skipTest("needs debugtime: run against memcached-debug")

    def test_l_counts_the_seconds_since_the_last_access(self):
        self.c.ask(ms(b"a", b"1"), HD)
        self.c.ask(b"debugtime 50\r\n", b"OK\r\n")
        self.c.send(b"mg a l\r\n")
        self.assertAlmostEqual(int(self.c.line()[4:]), 51, delta=3)

    def test_an_item_whose_time_runs_out_is_recached_by_one(self):
        self.c.ask(ms(b"a", b"1", b"T1000"), HD)
        self.c.ask(b"mg a R30 v\r\n", va(b"1"))
        self.c.ask(b"debugtime 980\r\n", b"OK\r\n")
        self.c.ask(b"mg a R30 v\r\n", va(b"1", b"W"))
        self.c.ask(b"mg a R30 v\r\n", va(b"1", b"Z"))

    def test_a_vivified_item_expires(self):
        self.c.ask(b"mg a N30 v\r\n", va(b"", b"W"))
        self.c.ask(b"debugtime 60\r\n", b"OK\r\n")
        self.c.ask(b"mg a v\r\n", EN)
        self.c.ask(b"mg a N30 v\r\n", va(b"", b"W"))


if __name__ == "__main__":
    unittest.main()
