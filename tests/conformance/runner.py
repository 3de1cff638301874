"""Running test files with one summary, for run.py here and in tests/cluster."""

import glob
import os
import sys
import time
import unittest


class Result(unittest.TextTestResult):
    """Counts what passed, subtests too, and knows how long a test took."""

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
        self.show_end(test, time.monotonic() - self.started)

    def show_end(self, test, took):
        """Says how long slow tests took."""
        if took > 2:
            self.stream.writeln("  (%.1f s: %s)" % (took, test.id()))


def add_options(parser):
    """The options that all runners have."""
    parser.add_argument("--server", default=os.environ.get("RINGCACHED", "./ringcached"))
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("--only", "-k", action="append", help="only tests whose name contains this")
    parser.add_argument("files", nargs="*")


def run(options, folder, resultclass=Result, prepare=None):
    """Runs the files, or all in the folder, and ends the program: 1 if a test failed, 77 if all were skipped."""
    loader = unittest.TestLoader()
    if options.only:
        loader.testNamePatterns = ["*%s*" % name for name in options.only]
    files = options.files or sorted(glob.glob(os.path.join(folder, "test_*.py")))
    for place in {os.path.dirname(os.path.abspath(file)) for file in files}:
        sys.path.insert(0, place)
    suite = loader.loadTestsFromNames([os.path.splitext(os.path.basename(file))[0] for file in files])
    if prepare is not None:
        prepare(suite)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2 if options.verbose else 1, resultclass=resultclass)
    result = runner.run(suite)
    for test, reason in result.skipped:
        print("skipped: %s: %s" % (test.id(), reason))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print("%d passed, %d failed, %d skipped" % (result.passed, failed, len(result.skipped)))
    if failed:
        sys.exit(1)
    sys.exit(77 if result.passed == 0 else 0)
