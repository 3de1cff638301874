"""UDP: a datagram is a request, with 8 bytes of frame header before it."""

import socket
import struct
import time
import unittest

import binary_packets as b
from harness import ServerCase, memcached_bug

FRAME = struct.Struct(">HHHH")
STORED = b"STORED\r\n"


class Udp(ServerCase):
    UDP = True

    def setUp(self):
        super().setUp()
        self.assertIsNotNone(self.server.udp_port, "no UDP port")
        self.u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.u.close)
        self.u.connect(("127.0.0.1", self.server.udp_port))
        self.u.settimeout(3)
        self.next_id = 100

    def send(self, data, number=None, frame=None):
        if number is None:
            self.next_id += 1
            number = self.next_id
        self.u.send((frame or FRAME.pack(number, 0, 1, 0)) + data)
        return number

    def receive(self, number):
        """The whole answer, put together from its datagrams."""
        parts, count = {}, 1
        while len(parts) < count:
            datagram = self.u.recv(65536)
            self.assertLessEqual(len(datagram), 1400)
            got, index, count, reserved = FRAME.unpack(datagram[:8])
            self.assertEqual(got, number)
            self.assertEqual(reserved, 0)
            parts[index] = datagram[8:]
        return b"".join(parts[i] for i in range(count))

    def ask(self, data, expected):
        self.assertEqual(self.receive(self.send(data)), expected)

    def silent(self, *args, **options):
        self.send(*args, **options)
        self.u.settimeout(0.3)
        with self.assertRaises(socket.timeout):
            self.fail(repr(self.u.recv(65536)))
        self.u.settimeout(3)

    def test_version(self):
        self.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_set_and_get(self):
        self.ask(b"set a 5 0 3\r\none\r\n", STORED)
        self.ask(b"get a\r\n", b"VALUE a 5 3\r\none\r\nEND\r\n")
        self.c.ask(b"get a\r\n", b"VALUE a 5 3\r\none\r\nEND\r\n")

    def test_other_commands(self):
        self.ask(b"set n 0 0 1\r\n1\r\n", STORED)
        self.ask(b"incr n 5\r\n", b"6\r\n")
        self.ask(b"touch n 100\r\n", b"TOUCHED\r\n")
        self.ask(b"delete n\r\n", b"DELETED\r\n")
        self.ask(b"get n\r\n", b"END\r\n")
        self.ask(b"nonsense\r\n", b"ERROR\r\n")

    def test_meta(self):
        self.ask(b"ms a 3\r\none\r\n", b"HD\r\n")
        self.ask(b"mg a v\r\n", b"VA 3\r\none\r\n")

    def test_an_answer_of_many_datagrams(self):
        data = bytes(65 + i % 26 for i in range(10000))
        self.c.ask(b"set a 0 0 10000\r\n%s\r\n" % data, STORED)
        self.ask(b"get a\r\n", b"VALUE a 0 10000\r\n%s\r\nEND\r\n" % data)

    def test_the_id_comes_back(self):
        for number in [0, 1, 0xffff]:
            self.send(b"version\r\n", number)
            self.assertEqual(self.receive(number), b"VERSION 1.6.45\r\n")

    def test_binary(self):
        number = self.send(b.request(b.VERSION, opaque=5))
        self.assertEqual(self.receive(number), b.response(b.VERSION, value=b"1.6.45", opaque=5))

    def test_a_datagram_shorter_than_a_frame_is_ignored(self):
        for length in range(8):
            self.u.send(b"\0" * length)
        self.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_request_of_several_datagrams_is_refused(self):
        self.send(b"version\r\n", frame=FRAME.pack(1, 0, 2, 0))
        self.u.settimeout(0.5)
        try:
            self.assertNotIn(b"VERSION", self.u.recv(65536))
        except socket.timeout:
            pass
        self.u.settimeout(3)
        self.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    @memcached_bug("waits for the rest in the next datagram, whoever sends it")
    def test_an_incomplete_request_harms_no_other(self):
        for data in [b"get a", b"set a 0 0 100\r\nabc", b"", b"\r\n", b"\x80", b"\x80\0\0"]:
            self.send(data)
        time.sleep(0.1)
        self.u.close()
        self.u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.u.connect(("127.0.0.1", self.server.udp_port))
        self.u.settimeout(3)
        for _ in range(3):
            self.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_noreply_is_silent(self):
        self.silent(b"set a 0 0 1 noreply\r\n1\r\n")
        self.c.ask(b"get a\r\n", b"VALUE a 0 1\r\n1\r\nEND\r\n")

    def test_many_clients(self):
        self.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        sockets = []
        for i in range(50):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.settimeout(3)
            sock.sendto(FRAME.pack(i, 0, 1, 0) + b"get a\r\n", ("127.0.0.1", self.server.udp_port))
            sockets.append(sock)
        for i, sock in enumerate(sockets):
            self.assertEqual(sock.recv(2000), FRAME.pack(i, 0, 1, 0)
                             + b"VALUE a 0 1\r\n1\r\nEND\r\n")


if __name__ == "__main__":
    unittest.main()
