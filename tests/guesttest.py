# guesttest.py: runs tests of a cross build in an emulated guest of its architecture
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: guesttest.py KERNEL ROOT NAME...
#
# For tests that qemu-user cannot run: it knows no seccomp filters, nor huge pages. The tests
# called NAME in Meson's list run as they are, with their environment, below the same paths:
# what they need of source and build tree, and the libraries of both, is an archive behind that
# of ROOT (guest/make-root). Their TAP lines come out as this program's.
#
# Flow: Meson's list of tests -> tests.json, archive -> QEMU -> guest/init -> lines of JSON on
# its console -> TAP.

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ['LIBVIRT_NITRO_SOURCE'])
BUILD = pathlib.Path(os.environ['LIBVIRT_NITRO_BUILD'])
LIBRARIES = pathlib.Path('/usr/lib/aarch64-linux-gnu')

# Of both trees; of the second what has been built, not what it was built from
SOURCE_DIRS = ('tests', 'src')
BUILD_DIRS = ('tests', 'src', 'po')

MEMORY_MIB = 3072
# -cpu: the cheapest to emulate. -icount: the guest's clock counts instructions, of 2 ns each, and
# skips what it sleeps: however busy this machine is, no test in it waits too long.
QEMU = ['qemu-system-aarch64', '-M', 'virt', '-cpu', 'cortex-a57', '-icount', 'shift=1,sleep=off',
        '-rtc', 'clock=vm', '-m', f'{MEMORY_MIB}M', '-nodefaults', '-no-reboot',
        '-display', 'none', '-monitor', 'none', '-serial', 'stdio']
# hugepages: of 2 MiB, for tests in C; those in Python reserve their own
CMDLINE = 'console=ttyAMA0 quiet loglevel=1 panic=-1 rdinit=/init hugepages=16'

CASE = re.compile(r'(?P<bad>not )?ok\b *\d* *(?:- )?(?P<text>.*)')
PLAN = re.compile(r'1\.\.\d+$')


def chosen_tests(names):
    """The tests @names as guest/init takes them."""
    with open(BUILD / 'meson-info' / 'intro-tests.json', encoding='utf-8') as file:
        tests = {test['name']: test for test in json.load(file)}
    return [{key: tests[name][key] for key in ('name', 'cmd', 'env')} for name in names]


def is_elf(path):
    with open(path, 'rb') as file:
        return file.read(4) == b'\x7fELF'


def files_of(archive):
    with open(archive, 'rb') as file:
        names = subprocess.run(['cpio', '--quiet', '-t'], stdin=file, capture_output=True,
                               text=True, check=True).stdout
    return {os.path.basename(name) for name in names.splitlines()}


def needed_libraries(programs, present):
    """
    The installed libraries that @programs are linked with, and those that these are, but for
    the names @present.
    """
    found = {}
    todo = list(programs)
    while todo:
        text = subprocess.run(['readelf', '--dynamic', todo.pop()], capture_output=True, text=True,
                              check=True).stdout
        for name in re.findall(r'\(NEEDED\).*\[(.*)\]', text):
            path = LIBRARIES / name
            if name not in present and name not in found and path.exists():
                found[name] = path
                todo.append(path)
    return found


def ignore(directory, names):
    """Objects of the compiler, and what Python has compiled"""
    return [name for name in names if name.endswith(('.p', '.o', '.a', '__pycache__'))]


def fill(top, root, tests):
    """Makes the directory @top what the guest has more than @root."""
    shutil.copy(SOURCE / 'tests/guest/init', top / 'init')
    (top / 'tests.json').write_text(json.dumps(tests), encoding='utf-8')
    for tree, names in ((SOURCE, SOURCE_DIRS), (BUILD, BUILD_DIRS)):
        for name in names:
            shutil.copytree(tree / name, top / tree.relative_to('/') / name, symlinks=True,
                            ignore=ignore, dirs_exist_ok=True)
    built = [path for path in (top / BUILD.relative_to('/')).rglob('*')
             if path.is_file() and not path.is_symlink() and is_elf(path)]
    libraries = top / LIBRARIES.relative_to('/')
    libraries.mkdir(parents=True)
    for name, path in needed_libraries(built, files_of(root)).items():
        shutil.copy(path, libraries / name)


def write_archive(top, out):
    names = '\0'.join(str(path.relative_to(top)) for path in sorted(top.rglob('*')))
    subprocess.run(['cpio', '--quiet', '-0', '-o', '-H', 'newc', '-R', '0:0'], cwd=top, check=True,
                   input=names.encode(), stdout=out)


class Tap:
    """Prints the cases of all tests as cases of one program, and counts them."""

    def __init__(self, names):
        self.count = {name: 0 for name in names}
        self.failed = {name: 0 for name in names}
        self.ended = set()
        self.total = 0

    def case(self, name, good, text):
        self.total += 1
        self.count[name] += 1
        self.failed[name] += not good
        print(f"{'ok' if good else 'not ok'} {self.total} - {name}: {text}", flush=True)

    def message(self, test, line=None, log=None, status=None):
        """One message of guest/init."""
        match = CASE.match(line or '')
        if match:
            self.case(test, not match['bad'], match['text'])
        elif (line and not PLAN.match(line)) or log:
            print(f'# {test}: {line or log}', flush=True)
        if status is not None:
            self.ended.add(test)
            if (status != 0) != (self.failed[test] > 0):
                self.case(test, False, f'exit status {status}')
            elif self.count[test] == 0:
                self.case(test, False, 'no test has run')

    def finish(self):
        for name in self.count:
            if name not in self.ended:
                self.case(name, False, 'it has not ended')
        print(f'1..{self.total}')
        return sum(self.failed.values()) == 0


def run_guest(kernel, initrd, tap):
    command = [*QEMU, '-kernel', kernel, '-initrd', initrd, '-append', CMDLINE]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors='backslashreplace') as qemu:
        try:
            for line in qemu.stdout:
                if line.startswith('{"test":'):
                    tap.message(**json.loads(line))
                else:
                    print('# guest:', line.rstrip(), flush=True)
        finally:
            qemu.kill()


def main(kernel, root, *names):
    tap = Tap(names)
    with tempfile.TemporaryDirectory(prefix='guesttest-') as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / 'top').mkdir()
        fill(scratch / 'top', root, chosen_tests(names))
        with open(scratch / 'initrd', 'wb') as initrd:
            with open(root, 'rb') as base:
                shutil.copyfileobj(base, initrd)
            initrd.flush()
            write_archive(scratch / 'top', initrd)
        run_guest(kernel, scratch / 'initrd', tap)
    return 0 if tap.finish() else 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
