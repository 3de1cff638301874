"""Clients in other languages: Perl, PHP, node.  Each is a program that prints a line per test."""

import os
import shutil
import socket
import subprocess
import tempfile
import unittest

from harness import BUILD_DIR, SOURCE_DIR, Server, needs_program


class ProgramCase(unittest.TestCase):
    def start(self, *args, **options):
        server = Server(args, **options)
        self.addCleanup(server.stop)
        return server

    def run_program(self, *command, env=None):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120,
                              env=dict(os.environ, **(env or {})))
        text = done.stdout.decode("latin-1")
        if text.startswith("skip: "):
            self.skipTest(text.strip())
        count = 0
        for line in text.splitlines():
            if line.startswith(("ok ", "not ok ")):
                count += 1
                with self.subTest(line.split("ok ", 1)[1]):
                    self.assertTrue(line.startswith("ok "), text)
        self.assertEqual(done.returncode, 0, text)
        self.assertGreater(count, 10, text)


@needs_program("perl")
class Perl(ProgramCase):
    def run_perl(self, module):
        self.run_program("perl", os.path.join(SOURCE_DIR, "client_perl.pl"), module,
                         "127.0.0.1:%d" % self.start().port)

    def test_cache_memcached(self):
        self.run_perl("Cache::Memcached")

    def test_cache_memcached_fast(self):
        self.run_perl("Cache::Memcached::Fast")


@needs_program("php")
class Php(ProgramCase):
    def run_php(self, mode):
        self.run_program("php", os.path.join(SOURCE_DIR, "client_php.php"), mode, "127.0.0.1",
                         str(self.start().port))

    def test_memcached_over_text(self):
        self.run_php("memcached-text")

    def test_memcached_over_binary(self):
        self.run_php("memcached-binary")

    def test_memcache(self):
        self.run_php("memcache")


@needs_program("node", "npm")
class Memjs(ProgramCase):
    PACKAGES = os.path.join(BUILD_DIR, "packages")

    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(os.path.join(cls.PACKAGES, "node_modules", "memjs")):
            os.makedirs(cls.PACKAGES, exist_ok=True)
            shutil.copyfile(os.path.join(SOURCE_DIR, "package.json"),
                            os.path.join(cls.PACKAGES, "package.json"))
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock",
                                   "--loglevel=error"], cwd=cls.PACKAGES, timeout=300,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode != 0: # no network, say: that is not our failure
                why = [line for line in done.stdout.decode().splitlines() if "failed" in line]
                raise unittest.SkipTest("npm could not install memjs (%s)"
                                        % (why[0] if why else "see npm install in " + cls.PACKAGES))

    def run_memjs(self, server, *login):
        self.run_program("node", os.path.join(SOURCE_DIR, "client_memjs.js"),
                         "127.0.0.1:%d" % server.port, *login,
                         env={"CONFORMANCE_PACKAGES": self.PACKAGES})

    def test_without_a_login(self):
        self.run_memjs(self.start())

    @needs_program("saslpasswd2")
    def test_with_a_sasl_login(self):
        from test_sasl import PASSWORD, USER, sasl_environment
        with tempfile.TemporaryDirectory() as place:
            server = self.start("-S", env=sasl_environment(place))
            self.run_memjs(server, "%s@%s" % (USER.decode(), socket.gethostname()),
                           PASSWORD.decode())


if __name__ == "__main__":
    unittest.main()
