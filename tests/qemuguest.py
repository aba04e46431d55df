# qemuguest.py: a QEMU guest that runs tests, and what they say
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What guesttest.py and kernel/guest.py share. The guest's first process calls guestrun.py, whose
lines of JSON come out of QEMU's standard output, and go on to ours as TAP: the cases of all tests
as those of one program.
"""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

# No QEMU outlives us.
WITH_US = ['setpriv', '--pdeathsig=KILL']
# A guest without KVM, which may not be there: no devices but those that are named
OPTIONS = ['-accel', 'tcg', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
           '-monitor', 'none']

CASE = re.compile(r'(?P<bad>not )?ok\b *\d* *(?:- )?(?P<text>.*)')
PLAN = re.compile(r'1\.\.\d+')
SKIPPED = re.compile(r'# *skip', re.IGNORECASE)
CONSOLE_LINES = 40


class Tap:
    """
    Prints the cases of the tests @names, and counts them. A test that has run no case, or skipped
    all of them, has failed: a guest has what its tests need.
    """

    def __init__(self, names):
        self.names = names
        self.good = dict.fromkeys(names, 0)
        self.bad = dict.fromkeys(names, 0)
        self.ended = set()
        self.total = 0

    def case(self, name, good, text):
        self.total += 1
        print(f"{'ok' if good else 'not ok'} {self.total} - {name}: {text}", flush=True)
        if not good:
            self.bad[name] += 1
        elif not SKIPPED.search(text):
            self.good[name] += 1

    def message(self, test, line=None, log=None, status=None):
        """One message of guestrun.Host"""
        match = CASE.match(line or '')
        if match:
            self.case(test, not match['bad'], match['text'])
        elif (line and not PLAN.match(line)) or log:
            print(f'# {test}: {line or log}', flush=True)
        if status is not None:
            self.ended.add(test)
            if status != 0 and not self.bad[test]:
                self.case(test, False, f'exit status {status}')
            elif not self.good[test] and not self.bad[test]:
                self.case(test, False, 'none of its cases has run')

    def finish(self):
        """Returns whether all is well."""
        for name in self.names:
            if name not in self.ended:
                self.case(name, False, 'it has not ended')
        print(f'1..{self.total}', flush=True)
        return not any(self.bad.values())


@contextlib.contextmanager
def scratch_directory():
    """Below /tmp: SIGTERM, by which Meson's limit of time comes, leaves nothing of it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(124))
    directory = tempfile.mkdtemp(prefix='nitro-guest-', dir='/tmp')
    try:
        yield pathlib.Path(directory)
    finally:
        shutil.rmtree(directory)


def comment(lines):
    for line in lines:
        print('# guest:', line.rstrip(), flush=True)


def run(command, names, seconds, console=None):
    """
    Runs the tests @names, which the guest knows, by QEMU's @command, for @seconds at most. Without
    a file @console of its own, the guest's console may be what we read.
    Returns the exit status, 0 or 1.
    """
    tap = Tap(names)
    late = threading.Event()
    with subprocess.Popen([*WITH_US, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, errors='backslashreplace') as qemu:
        timer = threading.Timer(seconds, lambda: (late.set(), qemu.kill()))
        timer.start()
        try:
            for line in qemu.stdout:
                if line.startswith('{"test":'):
                    tap.message(**json.loads(line))
                else:
                    comment([line])
        finally:
            timer.cancel()
            qemu.kill()
            if len(tap.ended) < len(names):
                comment([f'it has not ended within {seconds} s' if late.is_set() else
                         'it has ended before its tests', *last_lines(console)])
    return 0 if tap.finish() else 1


def last_lines(path):
    if not path or not path.exists():
        return []
    return path.read_text(encoding='utf-8', errors='replace').splitlines()[-CONSOLE_LINES:]
