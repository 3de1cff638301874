"""Certificates for the TLS tests, made anew for each run with the openssl program."""

import os
import subprocess

from connection import TIMEOUT_S


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=6 * TIMEOUT_S)


class Authority:
    """A certificate authority in a directory; `ca` is the path of its own certificate."""

    def __init__(self, directory, name="test authority"):
        self.directory = directory
        self.ca = self._path("ca.pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-keyout", self._path("ca.key"), "-out", self.ca, "-days", "2",
                 "-subj", "/CN=" + name)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, name):
        """A certificate for `name`; returns the paths of (certificate, key)."""
        certificate, key, ask = (self._path(name + end) for end in (".pem", ".key", ".csr"))
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-keyout", key, "-out", ask, "-subj", "/CN=" + name)
        _openssl("x509", "-req", "-in", ask, "-CA", self.ca, "-CAkey", self._path("ca.key"),
                 "-CAcreateserial", "-out", certificate, "-days", "2")
        os.chmod(key, 0o600)
        return certificate, key
