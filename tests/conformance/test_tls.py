"""TLS listeners: versions, client certificates, sessions, reloading."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import binary_packets as b
from certificates import Authority
from connection import TIMEOUT_S, Closed, Connection
from harness import (SERVER, Server, client_context, needs_program, refused_start,
                     ringcached_only)

STORED = b"STORED\r\n"


@needs_program("openssl")
class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if "enable-ssl" not in _help():
            raise unittest.SkipTest("the server was built without TLS")
        cls.place = tempfile.TemporaryDirectory(prefix="conformance-tls-")
        cls.authority = Authority(cls.place.name)
        cls.server_pair = cls.authority.issue("localhost")
        cls.client_pair = cls.authority.issue("client")
        stranger = os.path.join(cls.place.name, "stranger")
        os.mkdir(stranger)
        cls.stranger_pair = Authority(stranger, "stranger").issue("client")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def start(self, *args, pair=None, **options):
        certificate, key = pair or self.server_pair
        server = Server(["-Z", "-o", "ssl_chain_cert=%s,ssl_key=%s" % (certificate, key), *args],
                        **options)
        self.addCleanup(server.stop)
        return server

    def connect(self, server, context=None, port=None):
        context = context or client_context(check=self.authority.ca)
        sock = socket.create_connection(("127.0.0.1", port or server.port), TIMEOUT_S)
        try:
            c = Connection(context.wrap_socket(sock))
        except BaseException:
            sock.close()
            raise
        self.addCleanup(c.close)
        return c

    def plain(self, server, port=None):
        c = Connection(socket.create_connection(("127.0.0.1", port or server.port), TIMEOUT_S))
        self.addCleanup(c.close)
        return c

    def cannot_talk(self, *args, **options):
        """The handshake fails, in TLS 1.3 perhaps only with the first answer."""
        try:
            c = self.connect(*args, **options)
            c.send(b"version\r\n")
            self.fail("answered: %r" % c.line())
        except (ssl.SSLError, Closed, OSError):
            pass


def _help():
    return subprocess.run([SERVER, "-h"], stdout=subprocess.PIPE, timeout=TIMEOUT_S).stdout.decode()


class Basics(TlsCase):
    def test_the_server_shows_its_certificate(self):
        c = self.connect(self.start())
        self.assertEqual(c.sock.getpeercert()["subject"], ((("commonName", "localhost"),),))

    def test_text_meta_and_binary(self):
        server = self.start()
        c = self.connect(server)
        c.ask(b"set a 0 0 3\r\none\r\nget a\r\n", STORED + b"VALUE a 0 3\r\none\r\nEND\r\n")
        c.ask(b"mg a v\r\n", b"VA 3\r\none\r\n")
        binary = self.connect(server)
        binary.send(b.request(b.GET, b"a"))
        self.assertEqual(b.read_reply(binary).value, b"one")

    def test_large_values_and_long_pipelines(self):
        c = self.connect(self.start())
        data = os.urandom(1000000).replace(b"<", b"=")  # <n> stands for a number in expectations
        c.ask(b"set a 0 0 1000000\r\n%s\r\n" % data, STORED)
        c.ask(b"get a a a\r\n", (b"VALUE a 0 1000000\r\n" + data + b"\r\n") * 3 + b"END\r\n")
        c.ask(b"".join(b"set k%d 0 0 5\r\nvalue\r\n" % i for i in range(3000)), STORED * 3000)
        c.ask(b"get " + b" ".join(b"k%d" % i for i in range(3000)) + b"\r\n",
              b"".join(b"VALUE k%d 0 5\r\nvalue\r\n" % i for i in range(3000)) + b"END\r\n")

    def test_many_requests_in_one_record_and_one_request_in_many(self):
        c = self.connect(self.start())
        c.ask(b"version\r\n" * 1000, b"VERSION 1.6.45\r\n" * 1000)
        for byte in b"set a 0 0 3\r\none\r\n":
            c.send(bytes([byte]))
        c.expect(STORED)

    def test_a_client_that_does_not_speak_tls(self):
        server = self.start()
        c = self.plain(server)
        c.send(b"version\r\n" * 10)
        c.read_all()
        self.connect(server).ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_client_that_connects_and_says_nothing_blocks_nobody(self):
        server = self.start(threads=1)
        held = [self.plain(server) for _ in range(5)]
        held[0].send(b"\x16\x03\x01")
        self.connect(server).ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    @ringcached_only("it waits for ever")
    def test_a_handshake_that_never_ends_is_closed(self):
        server = self.start("--time-scale", "30")
        for first in [b"", b"\x16\x03\x01\x02\x00\x01"]:
            silent = self.plain(server)
            silent.send(first)
            silent.expect_close()
        with self.connect(server) as c:
            c.ask(b"mn\r\n", b"MN\r\n")
            time.sleep(1.6)
            c.ask(b"mn\r\n", b"MN\r\n")

    def test_quit(self):
        c = self.connect(self.start())
        c.send(b"version\r\nquit\r\n")
        c.expect_close(b"VERSION 1.6.45\r\n")

    def test_settings(self):
        settings = self.connect(self.start()).stats(b"settings")
        self.assertEqual(settings["ssl_enabled"], "yes")
        self.assertEqual(settings["ssl_chain_cert"], self.server_pair[0])
        self.assertEqual(settings["ssl_key"], self.server_pair[1])
        self.assertEqual(settings["ssl_verify_mode"], "0")
        self.assertEqual(settings["ssl_min_version"], "tlsv1.2")
        self.assertEqual(settings["ssl_session_cache"], "no")
        self.assertEqual(settings["ssl_wbuf_size"], "16384")

    def test_stats(self):
        server = self.start()
        c = self.connect(server)
        found = c.stats()
        for name in ["ssl_handshake_errors", "ssl_proto_errors", "time_since_server_cert_refresh"]:
            self.assertIn(name, found)
        broken = self.plain(server)
        broken.send(b"version\r\nversion\r\nversion\r\n")
        broken.read_all()
        self.assertGreaterEqual(int(c.stats()["ssl_handshake_errors"]), 1)

    @ringcached_only("it says so otherwise")
    def test_a_certificate_that_cannot_be_read(self):
        for path, says in [("/nonexistent", "No such file or directory"),
                           (__file__, "there is none in it in PEM format")]:
            code, text = refused_start(["-Z", "-o", "ssl_chain_cert=" + path, "-l", "127.0.0.1",
                                        "-p", "-1"])
            self.assertGreater(code, 0, text)
            self.assertIn("%s (ssl_chain_cert): %s" % (path, says), text)

    def test_a_key_that_does_not_fit_the_certificate(self):
        code, text = refused_start(["-Z", "-o", "ssl_chain_cert=%s,ssl_key=%s" % (
            self.server_pair[0], self.client_pair[1]), "-l", "127.0.0.1", "-p", "-1"])
        self.assertGreater(code, 0, text)

    def test_a_cipher_list_that_is_none(self):
        code, text = refused_start(["-Z", "-o", "ssl_chain_cert=%s,ssl_key=%s" % self.server_pair,
                                    "-o", "ssl_ciphers=NOSUCHCIPHER", "-l", "127.0.0.1",
                                    "-p", "-1"])
        self.assertGreater(code, 0, text)


class Versions(TlsCase):
    def context(self, version):
        context = client_context()
        context.minimum_version = context.maximum_version = version
        return context

    def test_both_versions_by_default(self):
        server = self.start()
        for version, name in [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
                              (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]:
            c = self.connect(server, self.context(version))
            self.assertEqual(c.sock.version(), name)
            c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_minimum(self):
        server = self.start("-o", "ssl_min_version=3")
        self.assertEqual(self.connect(server).stats(b"settings")["ssl_min_version"], "tlsv1.3")
        self.cannot_talk(server, self.context(ssl.TLSVersion.TLSv1_2))
        self.connect(server, self.context(ssl.TLSVersion.TLSv1_3)).ask(b"mn\r\n", b"MN\r\n")

    def test_ciphers(self):
        cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"
        server = self.start("-o", "ssl_ciphers=" + cipher)
        c = self.connect(server, self.context(ssl.TLSVersion.TLSv1_2))
        self.assertEqual(c.sock.cipher()[0], cipher)

    def test_a_session_is_resumed(self):
        server = self.start("-o", "ssl_session_cache")
        context = self.context(ssl.TLSVersion.TLSv1_2)
        first = self.connect(server, context)
        first.ask(b"mn\r\n", b"MN\r\n")
        sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S)
        second = Connection(context.wrap_socket(sock, session=first.sock.session))
        self.addCleanup(second.close)
        second.ask(b"mn\r\n", b"MN\r\n")
        self.assertTrue(second.sock.session_reused)
        self.assertEqual(second.stats(b"settings")["ssl_session_cache"], "yes")


class ClientCertificates(TlsCase):
    def asks(self, mode, *more):
        return self.start("-o", "ssl_verify_mode=%d,ssl_ca_cert=%s" % (mode, self.authority.ca),
                          *more)

    def test_mode_0_asks_for_none(self):
        server = self.asks(0)
        self.connect(server).ask(b"mn\r\n", b"MN\r\n")
        self.connect(server, client_context(self.stranger_pair)).ask(b"mn\r\n", b"MN\r\n")

    def test_mode_1_checks_one_that_is_shown(self):
        server = self.asks(1)
        self.connect(server).ask(b"mn\r\n", b"MN\r\n")
        self.connect(server, client_context(self.client_pair)).ask(b"mn\r\n", b"MN\r\n")
        self.cannot_talk(server, client_context(self.stranger_pair))

    def test_mode_2_demands_one(self):
        server = self.asks(2)
        self.connect(server, client_context(self.client_pair)).ask(b"mn\r\n", b"MN\r\n")
        self.cannot_talk(server)
        self.cannot_talk(server, client_context(self.stranger_pair))

    def test_each_listener_may_differ(self):
        ports = []
        for _ in range(3):
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                ports.append(sock.getsockname()[1])
        server = self.start("-o", "ssl_ca_cert=" + self.authority.ca,
                            "-l", "notls:127.0.0.1:%d" % ports[0],
                            "-l", "btls:127.0.0.1:%d" % ports[1],
                            "-l", "mtls:127.0.0.1:%d" % ports[2], listen=None)
        self.plain(server, ports[0]).ask(b"mn\r\n", b"MN\r\n")
        self.connect(server, port=ports[1]).ask(b"mn\r\n", b"MN\r\n")
        self.cannot_talk(server, port=ports[2])
        self.connect(server, client_context(self.client_pair), ports[2]).ask(b"mn\r\n", b"MN\r\n")


class Reload(TlsCase):
    def setUp(self):
        self.files = [os.path.join(self.place.name, name) for name in ("now.pem", "now.key")]
        self.put(self.server_pair)
        self.server = self.start(pair=self.files)

    def put(self, pair):
        for source, target in zip(pair, self.files):
            shutil.copy(source, target)

    def shown(self):
        c = self.connect(self.server)
        subject = c.sock.getpeercert()["subject"][0][0][1]
        c.close()
        return subject

    def test_refresh_certs(self):
        c = self.connect(self.server)
        self.assertEqual(self.shown(), "localhost")
        self.put(self.client_pair)
        self.assertEqual(self.shown(), "localhost")
        c.ask(b"refresh_certs\r\n", b"OK\r\n")
        self.assertEqual(self.shown(), "client")
        c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_refresh_certs_with_a_broken_file_keeps_the_old(self):
        c = self.connect(self.server)
        with open(self.files[0], "w") as file:
            file.write("nonsense")
        c.send(b"refresh_certs\r\n")
        self.assertTrue(c.line().startswith(b"Error "))
        self.assertEqual(self.shown(), "localhost")

    def test_sighup(self):
        self.put(self.client_pair)
        self.server.process.send_signal(signal.SIGHUP)
        give_up = time.monotonic() + TIMEOUT_S
        while self.shown() != "client":
            self.assertLess(time.monotonic(), give_up, "the old certificate is still shown")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
