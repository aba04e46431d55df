# teststest.py: the tests themselves: what cannot fail tests nothing
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The syntax trees of all test files are looked at: each test asserts something, by itself or
# in what it calls, and no assertion is true whatever the program does. How a run is judged
# (scripts/test-summary, taprunner) and what tests share of the machine is tried out.

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ['LIBVIRT_NITRO_SOURCE'])
FILES = sorted(path for room in ('.', 'e2e', 'kernel')
               for path in (SOURCE / 'tests' / room).glob('*.py'))


def called(node):
    """The name of the function or method that @node, a call, calls."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


class Suite:
    """All functions of some files, and which of them can fail for what they see."""

    def __init__(self, trees):
        self.trees = trees
        self.files = {} # {function: the path of its file}
        self.by_name = {}
        for path, tree in trees.items():
            for function in functions(tree):
                self.files[function] = path
                self.by_name.setdefault(function.name, []).append(function)
        self.asserting = set()
        before = -1
        while before != len(self.asserting):
            before = len(self.asserting)
            self.asserting |= {function for function in self.files if self.asserts(function)}

    def asserts(self, function):
        return any(isinstance(node, (ast.Assert, ast.Raise)) or
                   isinstance(node, ast.Call) and self.call_asserts(node, self.files[function])
                   for node in ast.walk(function))

    def call_asserts(self, node, path):
        name = called(node)
        if name.startswith('assert') or name == 'fail':
            return True
        # a program that has to succeed
        if any(word.arg == 'check' and is_true(word.value) for word in node.keywords):
            return True
        meant = self.by_name.get(name, [])
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == 'self':
            meant = [function for function in meant if self.files[function] == path] or meant
        # of several with this name any may be meant: none may assert nothing
        return bool(meant) and all(function in self.asserting for function in meant)

    def tests(self):
        """Yields (file, class, function) of each test."""
        for path, tree in self.trees.items():
            for cls in ast.walk(tree):
                if not isinstance(cls, ast.ClassDef):
                    continue
                for node in cls.body:
                    if isinstance(node, ast.FunctionDef) and node.name.startswith('test_'):
                        yield path, cls, node

    def without_assertion(self):
        return [f'{path.name}:{test.lineno}: {cls.name}.{test.name}'
                for path, cls, test in self.tests() if not self.asserts(test)]

    def always_true(self):
        found = []
        for path, tree in self.trees.items():
            found += [f'{path.name}:{node.lineno}: {ast.unparse(node)}'
                      for node in ast.walk(tree)
                      if isinstance(node, ast.Call) and is_always_true(node)]
        return found

    def hidden(self):
        """Handlers that hide an assertion that has failed."""
        found = []
        for path, cls, test in self.tests():
            for node in ast.walk(test):
                if (isinstance(node, ast.ExceptHandler) and
                        (node.type is None or ast.unparse(node.type) in HIDING) and
                        not any(isinstance(n, ast.Raise) for n in ast.walk(node))):
                    found.append(f'{path.name}:{node.lineno}: {cls.name}.{test.name}')
                if (isinstance(node, ast.Call) and called(node) == 'suppress' and
                        HIDING & {ast.unparse(arg) for arg in node.args}):
                    found.append(f'{path.name}:{node.lineno}: {cls.name}.{test.name}')
        return found


HIDING = {'Exception', 'BaseException', 'AssertionError'}


def is_true(node):
    """Whether an expression is true whatever happens."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return any(map(is_true, node.values))
    if isinstance(node, ast.Tuple):
        return bool(node.elts)
    return isinstance(node, ast.Constant) and bool(node.value)


def is_always_true(call):
    name, args = called(call), call.args
    if name == 'assertTrue' and args:
        return is_true(args[0])
    if name in ('assertEqual', 'assertIs', 'assertGreaterEqual', 'assertLessEqual'):
        if len(args) > 1 and not any(isinstance(node, ast.Call) for node in ast.walk(args[0])):
            return ast.dump(args[0]) == ast.dump(args[1])
    if name == 'assertIn' and args:
        return isinstance(args[0], ast.Constant) and args[0].value == ''
    return False


def parse(text):
    return Suite({pathlib.Path('text.py'): ast.parse(textwrap.dedent(text))})


class AssertionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.suite = Suite({path: ast.parse(path.read_text(encoding='utf-8')) for path in FILES})

    def test_all_files(self):
        self.assertGreater(len(list(self.suite.tests())), 700)

    def test_each_test_asserts(self):
        self.assertEqual([], self.suite.without_assertion())

    def test_nothing_is_always_true(self):
        self.assertEqual([], self.suite.always_true())

    def test_nothing_is_hidden(self):
        self.assertEqual([], self.suite.hidden())

    @unittest.skipUnless(importlib.util.find_spec('pyflakes'), 'python3-pyflakes is not installed')
    def test_names(self):
        """Each name is there: one that is not needs no run of its test to be seen"""
        done = subprocess.run([sys.executable, '-m', 'pyflakes', *FILES],
                              capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual([], [line for line in done.stdout.splitlines() if ' import *' not in line and
                              'from star imports' not in line], done.stderr)
        with tempfile.NamedTemporaryFile('w', suffix='.py') as file:
            file.write('import os\n\ndef test():\n    skip_without_root()\n    return os\n')
            file.flush()
            done = subprocess.run([sys.executable, '-m', 'pyflakes', file.name],
                                  capture_output=True, text=True, check=False, timeout=300)
        self.assertIn("undefined name 'skip_without_root'", done.stdout)

    def test_the_look_itself(self):
        """What it must find, and what not"""
        suite = parse('''
            def look(x):
                return x
            def check(x):
                look(x)
                if not x:
                    raise ValueError(x)
            class Test:
                def test_nothing(self):
                    look(set_to(get()))
                def test_something(self):
                    check(get())
                def test_true(self):
                    self.assertTrue(x or True)
                    self.assertEqual(x, x)
                    self.assertEqual(call(), call())
                def test_hidden(self):
                    try:
                        self.assertTrue(x)
                    except Exception:
                        pass
                def test_suppressed(self):
                    with contextlib.suppress(AssertionError):
                        self.fail()
            ''')
        self.assertEqual(['text.py:9: Test.test_nothing'], suite.without_assertion())
        self.assertEqual(2, len(suite.always_true()))
        self.assertEqual(2, len(suite.hidden()))


class TapTest(unittest.TestCase):
    """A test program that tests nothing does not pass."""

    def run_program(self, body, *args):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'program.py')
            with open(path, 'w', encoding='utf-8') as file:
                file.write('import unittest, taprunner\n' + textwrap.dedent(body) +
                           '\ntaprunner.main()\n')
            env = {name: value for name, value in os.environ.items() if name != 'LD_LIBRARY_PATH'}
            return subprocess.run([sys.executable, path, *args], capture_output=True, text=True,
                                  check=False, timeout=60, env=env)

    def test_loop_over_nothing(self):
        done = self.run_program('''
            class Test(unittest.TestCase):
                def test_empty(self):
                    for case in []:
                        with self.subTest(case):
                            self.fail()
                def test_full(self):
                    for case in [1]:
                        with self.subTest(case):
                            self.assertTrue(case)
            ''')
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stdout, r'(?m)^not ok 1 - Test.test_empty')
        self.assertRegex(done.stdout, r'(?m)^ok 2 - Test.test_full')

    def test_no_test(self):
        done = self.run_program('class Test(unittest.TestCase):\n    pass\n')
        self.assertEqual(1, done.returncode, done.stdout)


class SummaryTest(unittest.TestCase):
    """scripts/test-summary, by which .ci/run passes or fails"""

    @staticmethod
    def log(builddir, name, *tests):
        """Writes a log of "meson test" for test programs that are (name, result, TAP)."""
        logs = pathlib.Path(builddir) / 'meson-logs'
        logs.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text(''.join(
            json.dumps({'name': test, 'result': result, 'stdout': tap}) + '\n'
            for test, result, tap in tests), encoding='utf-8')

    def summary(self, *tests, fuzz=()):
        """Its exit status and output for these test programs, and those of make fuzz-short"""
        with tempfile.TemporaryDirectory() as directory:
            self.log(directory, 'testlog.json', *tests)
            if fuzz:
                self.log(directory, 'fuzzlog.json', *fuzz)
            done = subprocess.run([SOURCE / 'scripts' / 'test-summary', directory],
                                  capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual('', done.stderr)
            return done.returncode, done.stdout.replace(directory, 'build')

    GOOD = ('good', 'OK', 'ok 1 - a\nok 2 - b\n1..2\n')

    def test_good(self):
        self.assertEqual((0, '2 passed, 0 failed, 0 skipped\n'), self.summary(self.GOOD))

    def test_some_skipped(self):
        """Single cases may be: a machine may have no KVM, no second node, ..."""
        self.assertEqual(
            (0, 'skip: build: some: # SKIP no KVM\n3 passed, 0 failed, 1 skipped\n'),
            self.summary(self.GOOD, ('some', 'OK', 'ok 1 # SKIP no KVM\nok 2 - x\n1..2\n')))

    def test_whole_skipped(self):
        for name, result, tap, count in (
                ('cases', 'SKIP', 'ok 1 - a # SKIP no root\nok 2 - b # SKIP no root\n1..2\n', 2),
                ('cases', 'OK', 'ok 1 - a # SKIP no root\n1..1\n', 1),
                ('plan', 'SKIP', '1..0 # SKIP no root\n', 1),
                ('status', 'SKIP', '', 1)):
            with self.subTest((name, result)):
                status, text = self.summary(self.GOOD, (name, result, tap))
                self.assertEqual(1, status, text)
                self.assertIn(f'skipped as a whole: build: {name}\n', text)
                self.assertTrue(text.endswith(f'2 passed, 0 failed, {count} skipped\n'), text)

    def test_failed(self):
        for test in (('bad', 'FAIL', 'not ok 1 - a\n1..1\n'), ('crash', 'FAIL', 'ok 1 - a\n'),
                     ('hang', 'TIMEOUT', ''), ('error', 'ERROR', 'ok 1 - a\n')):
            with self.subTest(test):
                status, text = self.summary(self.GOOD, test)
                self.assertEqual(1, status)
                self.assertIn(', 1 failed, ', text)

    def test_nothing_ran(self):
        self.assertEqual((1, '0 passed, 0 failed, 0 skipped\n'), self.summary())

    def test_fuzz(self):
        """What make fuzz-short has reported counts as well."""
        status, text = self.summary(self.GOOD, fuzz=[('fuzz', 'FAIL', 'ok - a\nnot ok - b\n1..2\n')])
        self.assertEqual(1, status)
        self.assertIn('3 passed, 1 failed, 0 skipped\n', text)

    def ci(self, make):
        """Runs .ci/run in a tree of its own, where make is this shell script."""
        with tempfile.TemporaryDirectory() as directory:
            tree = pathlib.Path(directory)
            for name in ('.ci/run', 'scripts/test-summary'):
                (tree / name).parent.mkdir()
                shutil.copy(SOURCE / name, tree / name)
            for name in ('build', 'build-asan', 'build-aarch64', 'build-11.3.0'):
                self.log(tree / name, 'testlog.json', self.GOOD)
            (tree / 'bin').mkdir()
            (tree / 'bin' / 'make').write_text('#!/bin/sh\n' + make, encoding='utf-8')
            (tree / 'bin' / 'make').chmod(0o755)
            done = subprocess.run(
                [tree / '.ci' / 'run'], capture_output=True, text=True, check=False, timeout=60,
                env={'PATH': f'{tree / "bin"}:{os.environ["PATH"]}', 'HOME': directory})
        return done.returncode, done.stdout

    def test_ci(self):
        """.ci/run ends as the summary and each of its steps do."""
        self.assertEqual((0, '8 passed, 0 failed, 0 skipped\n'), self.ci('exit 0'))
        for step in ('check', 'check-asan', 'check-libvirt', 'fuzz-short', 'check-cross'):
            with self.subTest(step):
                status, text = self.ci(f'[ "$1" != {step} ]')
                self.assertEqual(1, status)
                self.assertRegex(text, f'^failed: make {step}.*\n'
                                       '8 passed, 0 failed, 0 skipped\n$')
        status, text = self.ci('[ "$1" = deps ] && exit; '
                               'printf "%s\\n" \'{"name": "x", "result": "FAIL"}\' '
                               '>build/meson-logs/testlog.json')
        self.assertEqual(1, status)
        self.assertTrue(text.endswith('6 passed, 1 failed, 0 skipped\n'), text)


class DirectoriesTest(unittest.TestCase):
    """daemon.SharedDirectories, by which tests of system daemons do not disturb each other"""

    def setUp(self):
        sys.path.insert(0, str(SOURCE / 'tests' / 'e2e'))
        self.addCleanup(sys.path.pop, 0)
        try:
            import daemon # pylint: disable=import-outside-toplevel
        finally:
            sys.modules.pop('daemon', None)
        self.kind = daemon.SharedDirectories
        self.dir = self.enterContext(tempfile.TemporaryDirectory())
        self.made = os.path.join(self.dir, 'made')
        self.old = os.path.join(self.dir, 'old')
        os.mkdir(self.old)

    def share(self):
        return self.kind([self.made, self.old], os.path.join(self.dir, 'list'))

    def test_last_one_removes(self):
        first = self.share()
        second = self.share()
        first.leave()
        self.assertTrue(os.path.isdir(self.made))
        third = self.share()
        second.leave()
        self.assertTrue(os.path.isdir(self.made))
        third.leave()
        self.assertFalse(os.path.exists(self.made))
        self.assertTrue(os.path.isdir(self.old))

    def test_after_one_that_was_killed(self):
        first = self.share()
        os.close(first.file)
        self.assertTrue(os.path.isdir(self.made))
        self.share().leave()
        self.assertFalse(os.path.exists(self.made))

    def test_not_empty(self):
        first = self.share()
        with open(os.path.join(self.made, 'file'), 'w', encoding='ascii'):
            pass
        first.leave()
        self.assertTrue(os.path.isdir(self.made))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.made, 'file'))


if __name__ == '__main__':
    taprunner.main()
