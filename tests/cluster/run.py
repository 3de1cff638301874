#!/usr/bin/python3
"""Runs the tests on clusters of real processes.

    run.py [--server BINARY] [--verbose] [--only NAME] [test_failures.py ...]

Without files, all of them.  Prints `N passed, N failed, N skipped`; the exit code is 0 when nothing
failed, and 77 when all was skipped.  As root, or where users may have namespaces, the nodes get
networks of their own, in which they can be cut off; without, those tests are skipped.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "conformance")]
import runner

SLOW_S = 30


class Result(runner.Result):
    """Counts what passed, says how long each took, and shows what the nodes of a failed one logged."""

    def startTest(self, test):
        super().startTest(test)
        self.bad = len(self.failures) + len(self.errors)

    def show_end(self, test, took):
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
    runner.add_options(parser)
    parser.add_argument("--no-network", action="store_true",
                        help="as if no namespaces were to be had: on loopback")
    return parser.parse_args()


def main():
    options = parse()
    os.environ["RINGCACHED"] = os.path.abspath(options.server)
    import network
    if options.no_network:
        os.environ[network.WHY_NOT] = "--no-network was given"
    network.enter()
    network.prepare()

    runner.run(options, HERE, Result)


if __name__ == "__main__":
    main()
