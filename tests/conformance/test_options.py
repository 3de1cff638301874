"""Command line options: what each changes, and what is refused at the start."""

import os
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

import binary_packets as b
from connection import TIMEOUT_S, Connection
from harness import IS_MEMCACHED, SERVER, Server, refused_start

STORED = b"STORED\r\n"
ROOT = ["-u", "root"] if os.getuid() == 0 else []


def run(*args):
    done = subprocess.run([SERVER, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=TIMEOUT_S)
    return done.returncode, done.stdout.decode("latin-1")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


class OptionCase(unittest.TestCase):
    def start(self, *args, **options):
        server = Server(args, **options)
        self.addCleanup(server.stop)
        return server

    def connect(self, server, **options):
        connection = server.connect(**options)
        self.addCleanup(connection.close)
        return connection

    def settings(self, *args, **options):
        return self.connect(self.start(*args, **options)).stats(b"settings")


class Information(unittest.TestCase):
    def test_help(self):
        for option in ["-h", "--help"]:
            code, text = run(option)
            self.assertEqual(code, 0, text)
            for word in ["unix-socket", "sasl", "enable-ssl", "--port", "--memory-limit",
                         "--conn-limit", "--threads", "--auth-file"]:
                self.assertIn(word, text)
            for word in ["ext_path", "proxy_config", "no_drop_privileges"]:
                if not IS_MEMCACHED:
                    self.assertNotIn(word, text)

    def test_version(self):
        for option in ["-V", "--version"]:
            code, text = run(option)
            self.assertEqual(code, 0, text)
            self.assertIn("1.6.45", text)

    def test_licence(self):
        code, text = run("-i")
        self.assertEqual(code, 0, text)
        self.assertIn("THIS SOFTWARE IS PROVIDED", text.upper())


class Refused(unittest.TestCase):
    """A start that cannot be what was asked ends at once, with a reason and a code."""

    def refused(self, *args, code=None, says=None, **options):
        got, text = refused_start(args, **options)
        self.assertNotEqual(got, 0, text)
        self.assertGreater(got, 0, "died of a signal: " + text)
        self.assertTrue(text.strip(), "no reason given")
        if code is not None:
            self.assertEqual(got, code, text)
        if says is not None:
            self.assertIn(says, text)

    def test_unknown_option(self):
        self.refused("--nosuchoption", code=1)
        self.refused("-?", code=1)

    def test_unknown_suboption(self):
        self.refused("-o", "nosuchthing", code=1, says='Illegal suboption "nosuchthing"')

    @unittest.skipIf(os.getuid() != 0, "needs root")
    def test_root_without_a_user(self):
        self.refused("-p", "-1", "-l", "127.0.0.1", own_user=False, code=64, says="-u root")

    @unittest.skipIf(os.getuid() != 0, "needs root")
    def test_a_user_that_is_not(self):
        self.refused("-u", "nosuchuserhere", "-p", "-1", "-l", "127.0.0.1", own_user=False, code=67)

    def test_numbers_that_are_none(self):
        for args in [("-t", "0"), ("-c", "0"), ("-R", "0"), ("-f", "1"),
                     ("-n", "0"), ("-I", "512"), ("-I", "2000m"), ("-B", "nosuch"),
                     ("-o", "hashpower=5"), ("-o", "hash_algorithm=md5"),
                     ("-o", "idle_timeout"), ("-o", "slab_automove=9")]:
            with self.subTest(args):
                self.refused("-p", "-1", "-l", "127.0.0.1", *args)

    def test_items_larger_than_half_of_the_memory(self):
        self.refused("-m", "64", "-I", "33m", code=64,
                     says="Cannot set item size limit higher than 1/2 of memory max.")

    def test_a_port_in_use(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            self.refused("-l", "127.0.0.1", "-p", str(sock.getsockname()[1]), code=71)

    def test_an_address_that_is_not_ours(self):
        self.refused("-l", "192.0.2.1", "-p", "-1", code=71)

    def test_sasl_with_the_text_protocol(self):
        self.refused("-S", "-B", "ascii", "-l", "127.0.0.1", "-p", "-1")
        self.refused("-S", "-B", "auto", "-l", "127.0.0.1", "-p", "-1")

    def test_an_auth_file_that_is_not_there(self):
        self.refused("-Y", "/nonexistent/file", "-l", "127.0.0.1", "-p", "-1")

    def test_an_auth_file_with_udp_or_binary(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("user:pass\n")
            file.flush()
            self.refused("-Y", file.name, "-l", "127.0.0.1", "-p", "-1", "-U", "-1")
            self.refused("-Y", file.name, "-l", "127.0.0.1", "-p", "-1", "-B", "binary")

    def test_tls_without_a_certificate(self):
        self.refused("-Z", "-l", "127.0.0.1", "-p", "-1")
        self.refused("-Z", "-o", "ssl_chain_cert=/nonexistent,ssl_key=/nonexistent",
                     "-l", "127.0.0.1", "-p", "-1")


class Accepted(OptionCase):
    """Options with a meaning only inside memcached are taken, so that old scripts start."""

    def test_each_by_itself(self):
        for args in [["-f", "1.5"], ["-n", "64"], ["-r"], ["-b", "512"], ["-v"], ["-vv"],
                     ["-o", "modern"], ["-o", "no_modern"], ["-o", "hashpower=20"],
                     ["-o", "no_hashexpand"], ["-o", "tail_repair_time=100"],
                     ["-o", "lru_crawler"], ["-o", "no_lru_crawler,no_lru_maintainer"],
                     ["-o", "lru_crawler_sleep=100,lru_crawler_tocrawl=100"],
                     ["-o", "lru_maintainer,hot_lru_pct=20,warm_lru_pct=40"],
                     ["-o", "hot_max_factor=0.2,warm_max_factor=2.0,temporary_ttl=61"],
                     ["-o", "slab_reassign,slab_automove=1"],
                     ["-o", "no_slab_reassign,no_slab_automove"],
                     ["-o", "slab_automove_ratio=0.8,slab_automove_window=30"],
                     ["-o", "slab_automove_freeratio=0.01"], ["-o", "slab_chunk_max=512"],
                     ["-o", "slab_sizes=100-200-300"], ["-o", "no_chunked_items"],
                     ["-o", "read_buf_mem_limit=16"], ["-o", "resp_obj_mem_limit=16"],
                     ["-o", "inline_ascii_resp"], ["-o", "no_inline_ascii_resp"],
                     ["-o", "track_sizes"], ["-o", "watcher_logbuf_size=8,worker_logbuf_size=8"],
                     ["-o", "hash_algorithm=jenkins"], ["-o", "hash_algorithm=murmur3"],
                     ["-o", "hash_algorithm=xxh3"], ["-o", "maxconns_fast"],
                     ["-D", ":"]]:
            with self.subTest(args):
                server = Server(args)
                try:
                    with server.connect() as c:
                        c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
                finally:
                    server.stop()

    def test_long_names(self):
        server = self.start("--memory-limit=32", "--conn-limit=100", "--disable-evictions",
                            "--max-item-size=2m", "--max-reqs-per-event=7", "--protocol=auto",
                            "--listen-backlog=99", "--enable-shutdown", "--extended=idle_timeout=60")
        settings = self.connect(server).stats(b"settings")
        self.assertEqual(settings["maxbytes"], str(32 << 20))
        self.assertEqual(settings["maxconns"], "100")
        self.assertEqual(settings["evictions"], "off")
        self.assertEqual(settings["item_size_max"], str(2 << 20))
        self.assertEqual(settings["reqs_per_event"], "7")
        self.assertEqual(settings["tcp_backlog"], "99")
        self.assertEqual(settings["shutdown_command"], "yes")
        self.assertEqual(settings["idle_timeout"], "60")


class Settings(OptionCase):
    """Each option shows in `stats settings`."""

    def test_the_defaults(self):
        settings = self.settings()
        for name, value in {"maxbytes": "67108864", "maxconns": "1024", "udpport": "0",
                            "inter": "127.0.0.1", "verbosity": "0", "evictions": "on",
                            "domain_socket": "NULL", "umask": "700", "shutdown_command": "no",
                            "num_threads": "2", "stat_key_prefix": ":", "detail_enabled": "no",
                            "reqs_per_event": "20", "cas_enabled": "yes", "tcp_backlog": "1024",
                            "binding_protocol": "auto-negotiate", "auth_enabled_sasl": "no",
                            "auth_enabled_ascii": "no", "item_size_max": "1048576",
                            "maxconns_fast": "yes", "flush_enabled": "yes", "dump_enabled": "yes",
                            "idle_timeout": "0", "track_sizes": "no", "ssl_enabled": "no",
                            "client_flags_size": "4", "growth_factor": "1.25",
                            "chunk_size": "48"}.items():
            with self.subTest(name):
                self.assertEqual(settings[name], value)

    def test_every_name_of_memcached(self):
        settings = self.settings()
        for name in """maxbytes maxconns tcpport udpport inter verbosity oldest evictions
                domain_socket umask shutdown_command growth_factor chunk_size num_threads
                num_threads_per_udp stat_key_prefix detail_enabled reqs_per_event cas_enabled
                tcp_backlog binding_protocol auth_enabled_sasl auth_enabled_ascii item_size_max
                maxconns_fast hashpower_init slab_reassign slab_automove slab_automove_ratio
                slab_automove_window slab_chunk_max lru_crawler lru_crawler_sleep
                lru_crawler_tocrawl tail_repair_time flush_enabled dump_enabled hash_algorithm
                lru_maintainer_thread lru_segmented hot_lru_pct warm_lru_pct hot_max_factor
                warm_max_factor temp_lru temporary_ttl idle_timeout watcher_logbuf_size
                worker_logbuf_size read_buf_mem_limit track_sizes inline_ascii_response
                client_flags_size""".split():
            with self.subTest(name):
                self.assertIn(name, settings)

    def test_what_was_asked_for(self):
        settings = self.settings("-m", "100", "-c", "200", "-M", "-R", "5", "-b", "77", "-C", "-F",
                                 "-X", "-D", "/", "-I", "3m", "-A", "-B", "ascii", threads=3)
        for name, value in {"maxbytes": str(100 << 20), "maxconns": "200", "evictions": "off",
                            "reqs_per_event": "5", "tcp_backlog": "77", "cas_enabled": "no",
                            "flush_enabled": "no", "dump_enabled": "no", "stat_key_prefix": "/",
                            "detail_enabled": "yes", "item_size_max": str(3 << 20),
                            "shutdown_command": "yes", "binding_protocol": "ascii",
                            "num_threads": "3"}.items():
            with self.subTest(name):
                self.assertEqual(settings[name], value)

    def test_sizes_with_units(self):
        self.assertEqual(self.settings("-I", "256k", "-o", "slab_chunk_max=128")["item_size_max"], str(256 << 10))
        self.assertEqual(self.settings("-I", "2M")["item_size_max"], str(2 << 20))


class Behaviour(OptionCase):
    def test_flush_disabled(self):
        c = self.connect(self.start("-F"))
        c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        c.ask(b"flush_all\r\n", b"CLIENT_ERROR flush_all not allowed\r\n")
        c.ask(b"get a\r\n", b"VALUE a 0 1\r\n1\r\nEND\r\n")

    def test_dumping_disabled(self):
        c = self.connect(self.start("-X"))
        c.ask(b"stats cachedump 1 1\r\n", b"CLIENT_ERROR stats cachedump not allowed\r\n")
        c.ask(b"stats detail on\r\n", b"CLIENT_ERROR stats detail not allowed\r\n")
        c.ask(b"lru_crawler metadump all\r\n", b"ERROR metadump not allowed\r\n")
        c.ask(b"lru_crawler mgdump all\r\n", b"ERROR key dump not allowed\r\n")

    def test_watching_disabled(self):
        c = self.connect(self.start("-W"))
        c.ask(b"watch\r\n", b"CLIENT_ERROR watch commands not allowed\r\n")

    def test_cas_disabled(self):
        c = self.connect(self.start("-C"))
        c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
        c.ask(b"gets a\r\n", b"VALUE a 0 1 0\r\n1\r\nEND\r\n")
        c.ask(b"cas a 0 0 1 0\r\n2\r\n", b"EXISTS\r\n")
        c.ask(b"cas a 0 0 1 5\r\n2\r\n", b"EXISTS\r\n")

    def test_shutdown(self):
        server = Server(["-A"])
        self.addCleanup(server.kill)
        c = self.connect(server)
        c.ask(b"shutdown nonsense\r\n", b"CLIENT_ERROR invalid shutdown mode\r\n")
        c.send(b"shutdown\r\n")
        c.expect_close()
        self.assertEqual(server.wait(), 0)

    def test_graceful_shutdown(self):
        server = Server(["-A"])
        self.addCleanup(server.kill)
        c = self.connect(server)
        c.send(b"shutdown graceful\r\n")
        c.expect_close()
        self.assertEqual(server.wait(), 0)

    def test_signals_end_it(self):
        for number in [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]:
            with self.subTest(number):
                server = Server()
                c = self.connect(server)
                c.ask(b"set a 0 0 1\r\n1\r\n", STORED)
                server.process.send_signal(number)
                self.assertEqual(server.wait(), 0)
                server.kill()

    def test_sigpipe_and_sighup_do_not_end_it(self):
        server = self.start()
        for number in [signal.SIGPIPE, signal.SIGHUP]:
            server.process.send_signal(number)
        time.sleep(0.2)
        self.connect(server).ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_memory_full_without_evictions(self):
        c = self.connect(self.start("-M", "-m", "8"))
        answers = set()
        data = b"x" * 100000
        for i in range(200):
            c.send(b"set k%d 0 0 100000\r\n%s\r\n" % (i, data))
            answers.add(c.line())
        self.assertEqual(answers, {STORED, b"SERVER_ERROR out of memory storing object\r\n"})
        self.assertEqual(c.stats()["evictions"], "0")
        c.ask(b"get k0\r\n", b"VALUE k0 0 100000\r\n%s\r\nEND\r\n" % data)

    def test_memory_full_with_evictions(self):
        c = self.connect(self.start("-m", "8"))
        data = b"x" * 10000
        for i in range(3000):
            c.send(b"set k%d 0 0 10000\r\n%s\r\n" % (i, data))
            self.assertEqual(c.line(), STORED)
        found = c.stats()
        self.assertGreater(int(found["evictions"]), 1000)
        self.assertLess(int(found["curr_items"]), 1000)
        self.assertGreater(int(found["curr_items"]), 100)
        self.assertLessEqual(int(found["bytes"]), 8 << 20)

    def test_a_larger_item_size(self):
        c = self.connect(self.start("-m", "64", "-I", "8m"))
        data = bytes(range(256)) * (7 << 12)
        c.ask(b"set a 0 0 %d\r\n%s\r\n" % (len(data), data), STORED)
        c.ask(b"get a\r\n", b"VALUE a 0 %d\r\n%s\r\nEND\r\n" % (len(data), data))

    def test_too_many_connections_are_told_so(self):
        server = self.start("-c", "20")
        held = []
        told = None
        for _ in range(40):
            c = self.connect(server)
            c.send(b"version\r\n")
            line = c.line()
            if line != b"VERSION 1.6.45\r\n":
                told = line
                c.expect_close()
                break
            held.append(c)
        self.assertEqual(told, b"ERROR Too many open connections\r\n")
        self.assertGreaterEqual(len(held), 2)
        self.assertLessEqual(len(held), 20)
        held.pop().close()
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            c = self.connect(server)
            c.send(b"version\r\n")
            try:
                if c.line() == b"VERSION 1.6.45\r\n":
                    break
            except Exception:
                pass
            self.assertLess(time.monotonic(), give_up, "no room after a connection closed")
        self.assertGreaterEqual(int(held[0].stats()["rejected_connections"]), 1)

    def test_too_many_connections_wait(self):
        server = self.start("-c", "20", "-o", "no_maxconns_fast")
        answers = []

        def ask_once():
            with server.connect() as c:
                c.send(b"version\r\n")
                answers.append(c.line())

        clients = [threading.Thread(target=ask_once) for _ in range(60)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(answers, [b"VERSION 1.6.45\r\n"] * 60)

    def test_an_idle_connection_is_closed(self):
        server = self.start("-o", "idle_timeout=1")
        idle, busy = self.connect(server), self.connect(server)
        idle.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        give_up = time.monotonic() + TIMEOUT_S
        while not idle._readable(0.2):
            busy.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
            self.assertLess(time.monotonic(), give_up, "not closed")
        idle.expect_close()
        self.assertEqual(busy.stats()["idle_kicks"], "1")

    def test_requests_per_event(self):
        c = self.connect(self.start("-R", "1"))
        c.send(b"set a 0 0 1\r\n1\r\n" * 6)
        for _ in range(6):
            self.assertEqual(c.line(), STORED)
        self.assertGreaterEqual(int(c.stats()["conn_yields"]), 5)

    def test_a_prefix_delimiter(self):
        c = self.connect(self.start("-D", "/"))
        c.ask(b"set a/b 0 0 1\r\n1\r\n", STORED)
        c.ask(b"stats detail dump\r\n", b"PREFIX a get 0 hit 0 set 1 del 0\r\nEND\r\n")


class Listeners(OptionCase):
    def test_a_unix_socket_has_the_mode_asked_for(self):
        for args, mode in [((), 0o700), (("-a", "666"), 0o666), (("--unix-mask=760",), 0o760)]:
            with self.subTest(mode):
                server = self.start(*args, unix=True)
                status = os.stat(server.path)
                self.assertTrue(stat.S_ISSOCK(status.st_mode))
                self.assertEqual(stat.S_IMODE(status.st_mode) & 0o777, mode)
                self.connect(server).ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_stale_unix_socket_is_replaced(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "socket")
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(path)
            stale.close()
            process = subprocess.Popen([SERVER, *ROOT, "-s", path], stdin=subprocess.DEVNULL)
            try:
                give_up = time.monotonic() + TIMEOUT_S
                while True:
                    sock = socket.socket(socket.AF_UNIX)
                    try:
                        sock.connect(path)
                        break
                    except OSError:
                        sock.close()
                        self.assertLess(time.monotonic(), give_up)
                        time.sleep(0.01)
                with Connection(sock) as c:
                    c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
            finally:
                process.terminate()
                process.wait()

    def test_several_listeners(self):
        server = self.start("-l", "127.0.0.1", "-l", "127.0.0.2", "-p", "-1", listen=None)
        ports = [port for kind, port in server.ports if kind == "TCP INET"]
        self.assertEqual(len(ports), 2)
        for host, port in zip(["127.0.0.1", "127.0.0.2"], ports):
            with Connection(socket.create_connection((host, port), TIMEOUT_S)) as c:
                c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_comma_list(self):
        server = self.start("-l", "127.0.0.1,127.0.0.2", "-p", "-1", listen=None)
        self.assertEqual(len([1 for kind, _ in server.ports if kind == "TCP INET"]), 2)

    def free_port(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def test_an_address_with_its_port(self):
        port = self.free_port()
        server = self.start("-l", "127.0.0.1:%d" % port, listen=None)
        self.assertEqual(server.port, port)
        self.connect(server).ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_a_protocol_and_a_tag_for_a_listener(self):
        one, two = self.free_port(), self.free_port()
        server = self.start("-l", "proto[ascii]:127.0.0.1:%d" % one,
                            "-l", "proto[binary]:tag[one]:127.0.0.1:%d" % two, listen=None)
        text, binary = self.connect(server, port=one), self.connect(server, port=two)
        text.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        binary.send(b.request(b.VERSION))
        self.assertEqual(b.read_reply(binary).value, b"1.6.45")
        again = self.connect(server, port=two)
        again.send(b"version\r\nversion\r\nversion\r\n")
        again.expect_close()

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        server = self.start("-l", "::1", "-p", "-1", listen=None)
        port = [port for kind, port in server.ports if kind == "TCP INET6"][0]
        with Connection(socket.create_connection(("::1", port), TIMEOUT_S)) as c:
            c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        other = self.free_port()
        self.start("-l", "[::1]:%d" % other, listen=None)
        with Connection(socket.create_connection(("::1", other), TIMEOUT_S)) as c:
            c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")

    def test_udp_only_where_asked(self):
        self.assertIsNone(self.start().udp_port)
        self.assertIsNotNone(self.start(udp=True).udp_port)

    def test_a_udp_port_alone_is_the_tcp_port_too(self):
        port = self.free_port()
        server = self.start("-l", "127.0.0.1", "-U", str(port), listen=None)
        self.assertEqual((server.port, server.udp_port), (port, port))

    def test_connections_spread_over_the_threads(self):
        server = self.start(threads=4)
        held = [self.connect(server) for _ in range(40)]
        for c in held:
            c.ask(b"version\r\n", b"VERSION 1.6.45\r\n")
        self.assertEqual(held[0].stats()["threads"], "4")


class Daemon(unittest.TestCase):
    def wait_for(self, condition, what):
        give_up = time.monotonic() + TIMEOUT_S
        while not condition():
            self.assertLess(time.monotonic(), give_up, what)
            time.sleep(0.01)

    def test_a_pid_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "pid")
            server = Server(["-P", path])
            self.wait_for(lambda: os.path.exists(path) and os.path.getsize(path), "no pid file")
            with open(path) as file:
                self.assertEqual(int(file.read()), server.process.pid)
            server.stop()

    def test_a_signal_right_after_the_pid_file_ends_the_server(self):
        for _ in range(10):
            with tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "pid")
                server = Server(["-P", path])
                while not os.path.exists(path):
                    self.assertTrue(server.alive())
                server.stop()
                if not IS_MEMCACHED:
                    self.assertFalse(os.path.exists(path))

    @unittest.skipIf(IS_MEMCACHED, "memcached handles signals in whatever thread they meet")
    def test_no_thread_is_interrupted_by_a_signal(self):
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "pid")
            server = Server(["-P", path])
            self.wait_for(lambda: os.path.exists(path), "no pid file")
            tasks = "/proc/%d/task" % server.process.pid
            for task in os.listdir(tasks):
                with open(os.path.join(tasks, task, "status")) as file:
                    status = dict(line.split(":", 1) for line in file)
                for number in signals:
                    bit = 1 << (number - 1)
                    self.assertTrue(int(status["SigBlk"], 16) & bit, (task, number))
                    self.assertFalse(int(status["SigCgt"], 16) & bit, (task, number))
            server.stop()

    def test_a_daemon_leaves_its_parent(self):
        with tempfile.TemporaryDirectory() as directory:
            path, where = os.path.join(directory, "pid"), os.path.join(directory, "socket")
            done = subprocess.run([SERVER, *ROOT, "-d", "-P", path, "-s", where], timeout=TIMEOUT_S,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0)
            self.wait_for(lambda: os.path.exists(path) and os.path.getsize(path), "no pid file")
            with open(path) as file:
                pid = int(file.read())
            try:
                self.wait_for(lambda: os.path.exists(where), "no socket")
                sock = socket.socket(socket.AF_UNIX)
                self.wait_for(lambda: sock.connect_ex(where) == 0, "nobody listens")
                with Connection(sock) as c:
                    self.assertEqual(c.stats()["pid"], str(pid))
            finally:
                os.kill(pid, signal.SIGTERM)
                self.wait_for(lambda: not os.path.exists(path), "the daemon does not end")


if __name__ == "__main__":
    unittest.main()
