#!/usr/bin/python3
"""Runs the tests on clusters of real processes.

    run.py [--server BINARY] [--verbose] [--only NAME] [test_failures.py ...]

Without files, all of them.  Prints `N passed, N failed, N skipped`; the exit code is 0 when nothing
failed, and 77 when all was skipped.  As root, or where users may have namespaces, the nodes get
networks of their own, in which they can be cut off; without, those tests are skipped.
"""

import argparse
import glob
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SLOW_S = 30


class Result(unittest.TextTestResult):
    """Counts what passed, says how long each took, and shows what the nodes of a failed one logged."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        self.bad = len(self.failures) + len(self.errors)

    def stopTest(self, test):
        super().stopTest(test)
        took = time.monotonic() - self.started
        self.stream.writeln("  (%.1f s%s: %s)" % (took, ", TOO SLOW" if took > SLOW_S else "",
                                                 test.id()))
        if len(self.failures) + len(self.errors) > self.bad:
            self.show_failure(test)

    def show_failure(self, test):
        for failed, report in self.failures + self.errors:
            if failed is test:
                self.stream.writeln(report)
        self.stream.writeln(test.show_logs())
        self.stream.flush()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=os.environ.get("RINGCACHED", "./ringcached"))
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("--only", "-k", action="append", help="only tests whose name contains this")
    parser.add_argument("--no-network", action="store_true",
                        help="as if no namespaces were to be had: on loopback")
    parser.add_argument("files", nargs="*")
    return parser.parse_args()


def main():
    options = parse()
    os.environ["RINGCACHED"] = os.path.abspath(options.server)
    sys.dont_write_bytecode = True
    sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "conformance")]
    import network
    if options.no_network:
        os.environ[network.WHY_NOT] = "--no-network was given"
    network.enter()
    network.prepare()

    loader = unittest.TestLoader()
    if options.only:
        loader.testNamePatterns = ["*%s*" % name for name in options.only]
    files = options.files or sorted(glob.glob(os.path.join(HERE, "test_*.py")))
    suite = loader.loadTestsFromNames([os.path.splitext(os.path.basename(file))[0]
                                       for file in files])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2 if options.verbose else 1,
                                     resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print("skipped: %s: %s" % (test.id(), reason))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    if failed:
        sys.exit(1)
    sys.exit(77 if result.passed == 0 else 0)


if __name__ == "__main__":
    main()
