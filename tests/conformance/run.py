#!/usr/bin/python3
"""Runs the conformance tests against a server binary.

    run.py [--server BINARY] [--cluster] [--verbose] [test_text.py ...]

Without files, all of them.  Prints `N passed, N failed, N skipped`; the exit code is 0 when nothing
failed, and 77 when all was skipped.  BINARY is ./ringcached, or memcached 1.6.45 to prove the tests.
"""

import argparse
import glob
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Result(unittest.TextTestResult):
    """Counts what passed, subtests too, and says how long slow tests took."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        took = time.monotonic() - self.started
        if took > 2:
            self.stream.writeln("  (%.1f s: %s)" % (took, test.id()))


def leave_out_differences(suite):
    """Skips what cannot be the same in a cluster."""
    import cluster_differences
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            leave_out_differences(test)
            continue
        of_class = cluster_differences.reason(test.id().rpartition(".")[0])
        of_test = cluster_differences.reason(test.id())
        if of_class is not None:
            unittest.skip(of_class)(type(test))
        elif of_test is not None:
            method = test.id().rpartition(".")[2]
            setattr(test, method, unittest.skip(of_test)(getattr(test, method)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=os.environ.get("RINGCACHED", "./ringcached"))
    parser.add_argument("--build-dir", help="where client programs were built and packages go")
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("--cluster", action="store_true",
                        help="each server is one node of a cluster of three")
    parser.add_argument("--only", "-k", action="append", help="only tests whose name contains this")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()

    os.environ["RINGCACHED"] = os.path.abspath(options.server)
    if options.build_dir:
        os.environ["CONFORMANCE_BUILD_DIR"] = os.path.abspath(options.build_dir)
    if options.cluster:
        os.environ["CONFORMANCE_CLUSTER"] = "yes"
    sys.dont_write_bytecode = True
    sys.path.insert(0, HERE)

    loader = unittest.TestLoader()
    if options.only:
        loader.testNamePatterns = ["*%s*" % name for name in options.only]
    files = options.files or sorted(glob.glob(os.path.join(HERE, "test_*.py")))
    for folder in {os.path.dirname(os.path.abspath(file)) for file in files}:
        sys.path.insert(0, folder)
    names = [os.path.splitext(os.path.basename(file))[0] for file in files]
    suite = loader.loadTestsFromNames(names)
    if options.cluster:
        leave_out_differences(suite)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2 if options.verbose else 1,
                                     resultclass=Result)
    result = runner.run(suite)
    for test, reason in result.skipped:
        print("skipped: %s: %s" % (test.id(), reason))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    if failed:
        sys.exit(1)
    sys.exit(77 if result.passed == 0 else 0)


if __name__ == "__main__":
    main()
