# taprunner.py: runs the unittest cases of a test file and prints TAP
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# At the end of a test file:
#
#     if __name__ == '__main__':
#         taprunner.main()
#
# Flow: unittest -> one TAP line for each test and each subTest, with the
# traceback of a failure as "# " lines before it -> the plan as the last line.
# Names on the command line ("Class" or "Class.test_x") select tests. Whatever
# the tests and their children print goes to standard error. The exit status is
# 1 when something has failed, or there is no test, else 0. A test that has subTests
# in its text and has run none, as its loop goes over nothing, has failed.

import ast
import inspect
import os
import signal
import sys
import time
import traceback
import unittest


def has_subtests(test):
    """Whether there are subTests in the text of @test."""
    method = getattr(test, getattr(test, '_testMethodName', ''), None)
    if not method:
        return False
    # indented, as it is in its class; strings in it may not be
    tree = ast.parse('class C:\n' + inspect.getsource(method))
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and
               node.func.attr == 'subTest' for node in ast.walk(tree))


class TapResult(unittest.TestResult):
    """Prints each outcome at once, so that a test that hangs can be seen."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.count = 0
        self.bad = 0
        self.start = 0.0
        self.subtests = 0

    def line(self, good, test, remark=''):
        name = test.id().removeprefix('__main__.').replace('#', '\\#').replace('\n', ' ')
        self.count += 1
        self.bad += not good
        self.out.write(f"{'ok' if good else 'not ok'} {self.count} - {name}{remark}\n")
        self.out.flush()

    def diagnose(self, err):
        for text in ''.join(traceback.format_exception(*err)).splitlines():
            self.out.write(f'# {text}\n')

    def startTest(self, test):
        super().startTest(test)
        self.subtests = 0
        self.start = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        self.out.write(f'# {time.monotonic() - self.start:.2f} s: {test.id()}\n')
        self.out.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        # One with subTests has its lines already.
        if self.subtests > 0:
            return
        empty = has_subtests(test)
        self.line(not empty, test, ' (none of its subTests has run)' if empty else '')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.diagnose(err)
        self.line(False, test)

    def addError(self, test, err):
        super().addError(test, err)
        self.diagnose(err)
        self.line(False, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.subtests += 1
        self.line(True, test, ' # SKIP ' + reason.replace('\n', ' '))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.line(True, test, ' (failed as expected)')

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.line(False, test, ' (passed, but was expected to fail)')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        self.subtests += 1
        if err is not None:
            self.diagnose(err)
        self.line(err is None, subtest)


def take_stdout():
    """Keeps standard output for TAP alone: from here on, descriptor 1 is standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), 'w', encoding='utf-8', errors='backslashreplace')
    os.dup2(2, 1)
    return out


def main(module='__main__'):
    # Meson sets it for a test that depends on a target with a shared library. Stock
    # clients would then run with this build's libvirt, and prove nothing.
    if 'LD_LIBRARY_PATH' in os.environ:
        sys.exit('LD_LIBRARY_PATH is set: take the "depends" of this test away')

    # Whoever runs the tests may ignore it (nohup), and children inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    out = take_stdout()
    loader = unittest.TestLoader()
    if len(sys.argv) > 1:
        suite = loader.loadTestsFromNames(sys.argv[1:], sys.modules[module])
    else:
        suite = loader.loadTestsFromModule(sys.modules[module])

    result = TapResult(out)
    suite.run(result)
    out.write(f'1..{result.count}\n')
    out.flush()
    sys.exit(1 if result.bad or not result.count else 0)
