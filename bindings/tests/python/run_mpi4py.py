# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs mpi4py's own test program and writes down what became of each test, rank by rank.

    mpiexec -n N python run_mpi4py.py TESTS RECORDS [options of TESTS/main.py]

Each rank appends lines to RECORDS/rank-R: `begin`, then `pass`, `skip` or `fail`, a tab, and the
test's id; `end` when it came to its end. Lines are written as they happen, so that a run which
hangs or dies says in which test. Nothing of the tests is changed.
"""

import os
import sys
import unittest

tests, records = sys.argv[1:3]
sys.argv[0] = os.path.join(tests, "main.py")
del sys.argv[1:3]
sys.path.insert(0, tests)

import main  # noqa: E402  (mpi4py's test/main.py)


class Records:
    """The file of this rank; opened when MPI is up."""

    def __init__(self):
        self.file = None
        self.ended = False

    def write(self, word, test=None):
        if self.file is None:
            from mpi4py import MPI

            rank = MPI.COMM_WORLD.Get_rank()
            self.file = open(os.path.join(records, f"rank-{rank}"), "a", encoding="utf-8")
        name = "" if test is None else test.id().replace(" ", "_")
        self.file.write(f"{word}\t{name}\n" if name else f"{word}\n")
        self.file.flush()


RECORDS = Records()


class Result(unittest.TextTestResult):
    """The usual result, which also writes down what happens."""

    def startTest(self, test):
        RECORDS.write("begin", test)
        super().startTest(test)

    def addSuccess(self, test):
        RECORDS.write("pass", test)
        super().addSuccess(test)

    def addSkip(self, test, reason):
        RECORDS.write("skip", test)
        super().addSkip(test, reason)

    def addFailure(self, test, err):
        RECORDS.write("fail", test)
        super().addFailure(test, err)

    def addError(self, test, err):
        RECORDS.write("fail", test)
        super().addError(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            RECORDS.write("fail", test)
        super().addSubTest(test, subtest, err)

    def addExpectedFailure(self, test, err):
        RECORDS.write("pass", test)
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test):
        RECORDS.write("fail", test)
        super().addUnexpectedSuccess(test)


class Runner(unittest.TextTestRunner):
    resultclass = Result

    def run(self, test):
        result = super().run(test)
        RECORDS.write("end")
        RECORDS.ended = True
        return result


if __name__ == "__main__":
    try:
        main.main(module=None, testRunner=Runner)
    except SystemExit:
        # The records say what failed. An exit code would make the launcher end the other ranks,
        # which may still be in their last tests.
        if not RECORDS.ended:
            raise
