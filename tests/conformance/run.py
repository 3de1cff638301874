#!/usr/bin/python3
"""Runs the conformance tests against a server binary.

    run.py [--server BINARY] [--cluster] [--verbose] [test_text.py ...]

Without files, all of them.  Prints `N passed, N failed, N skipped`; the exit code is 0 when nothing
failed, and 77 when all was skipped.  BINARY is ./ringcached, or memcached 1.6.45 to prove the tests.
"""

import argparse
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import runner


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
    runner.add_options(parser)
    parser.add_argument("--build-dir", help="where client programs were built and packages go")
    parser.add_argument("--cluster", action="store_true",
                        help="each server is one node of a cluster of three")
    options = parser.parse_args()

    os.environ["RINGCACHED"] = os.path.abspath(options.server)
    if options.build_dir:
        os.environ["CONFORMANCE_BUILD_DIR"] = os.path.abspath(options.build_dir)
    if options.cluster:
        os.environ["CONFORMANCE_CLUSTER"] = "yes"
    runner.run(options, HERE, prepare=leave_out_differences if options.cluster else None)


if __name__ == "__main__":
    main()
