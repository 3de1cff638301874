"""A client connection that speaks raw bytes and never waits for ever.

Replies are compared byte for byte.  In an expected reply `<n>` stands for any decimal number and
`<any>` for the rest of a line.
"""

import fcntl
import os
import re
import socket
import struct
import termios
import time

TIMEOUT_S = float(os.environ.get("CONFORMANCE_TIMEOUT", "10"))


class Closed(Exception):
    """The server closed the connection."""


def matches(expected, got):
    """Whether `got` is the expected reply, which may have `<n>` and `<any>` in it."""
    if b"<n>" not in expected and b"<any>" not in expected:
        return got == expected
    out = re.escape(expected)
    out = out.replace(re.escape(b"<n>"), rb"[0-9]+").replace(re.escape(b"<any>"), rb"[^\r\n]*")
    return re.fullmatch(out, got, re.S) is not None


def shorten(data, most=600):
    return data if len(data) <= most else data[:most // 2] + b" ... " + data[-most // 2:]


class Connection:
    """One client connection, raw.  Reads never wait longer than TIMEOUT_S."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        sock.settimeout(TIMEOUT_S)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_and_wait_until_read(self, data):
        """Sends, and returns once the server has taken it out of the socket (unix sockets only)."""
        assert self.sock.family == socket.AF_UNIX
        self.sock.sendall(data)
        give_up = time.monotonic() + TIMEOUT_S
        while struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0] != 0:
            assert time.monotonic() < give_up, "the server does not read"

    def _more(self):
        try:
            got = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            got = b""
        except socket.timeout:
            raise AssertionError("no reply for %g s; so far: %r"
                                 % (TIMEOUT_S, shorten(self.buffer))) from None
        if not got:
            raise Closed(self.buffer)
        self.buffer += got

    def read(self, count):
        while len(self.buffer) < count:
            self._more()
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def read_until(self, ending):
        """Everything up to and with `ending`."""
        start = 0
        while True:
            at = self.buffer.find(ending, start)
            if at >= 0:
                break
            start = max(0, len(self.buffer) - len(ending))
            self._more()
        at += len(ending)
        out, self.buffer = self.buffer[:at], self.buffer[at:]
        return out

    def line(self):
        return self.read_until(b"\r\n")

    def read_all(self):
        """All bytes until the server closes."""
        try:
            while True:
                self._more()
        except Closed:
            out, self.buffer = self.buffer, b""
            return out

    def ask(self, request, expected, split=None):
        """Sends `request`; the whole answer must be `expected`.

        A meta no-op after it shows where the answer ends.  With `split` the request goes in two
        parts, and the server has read the first before the second is sent."""
        if split is None:
            self.send(request + b"mn\r\n")
        else:
            self.send_and_wait_until_read(request[:split])
            self.send(request[split:])
            self.send(b"mn\r\n")
        self.expect(expected + b"MN\r\n", request)

    def expect(self, expected, request=b""):
        """The next bytes must be `expected`, and nothing must follow them for now."""
        marker = expected[-4:]
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            if self.buffer.endswith(marker) and matches(expected, self.buffer):
                self.buffer = b""
                return
            if self._is_finished(marker, len(expected)) or time.monotonic() > give_up:
                break
            try:
                self._more()
            except (Closed, AssertionError) as wrong:
                raise AssertionError("%s\n sent     %r\n expected %r\n received %r" % (
                    "closed" if isinstance(wrong, Closed) else "timeout", shorten(request),
                    shorten(expected), shorten(self.buffer))) from None
        raise AssertionError("\n sent     %r\n expected %r\n received %r" % (
            shorten(request), shorten(expected), shorten(self.buffer)))

    def _is_finished(self, marker, expected_bytes):
        """Whether no more can come: the marker of ask() was seen at the end."""
        return marker == b"MN\r\n" and self.buffer.endswith(marker) \
            and (self.buffer == marker or self.buffer.endswith(b"\r\n" + marker)) \
            and not self._readable(0.02 if len(self.buffer) < expected_bytes else 0)

    def _readable(self, wait_s):
        import select
        return bool(select.select([self.sock], [], [], wait_s)[0])

    def expect_close(self, expected=b""):
        """The server answers `expected` and closes."""
        got = self.read_all()
        if not matches(expected, got):
            raise AssertionError("before the close:\n expected %r\n received %r"
                                 % (shorten(expected), shorten(got)))

    def stats(self, sub=b""):
        """The answer of `stats <sub>` as a dict of text."""
        self.send(b"stats" + (b" " + sub if sub else b"") + b"\r\n")
        out = {}
        while True:
            line = self.line()
            if line == b"END\r\n":
                return out
            assert line.startswith(b"STAT "), line
            name, _, value = line[5:-2].decode("latin-1").partition(" ")
            out[name] = value
