# guesttest.py: runs tests of a cross build in an emulated guest of its architecture
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Usage: guesttest.py SECONDS KERNEL ROOT NAME[:CLASS,CLASS...]...
#
# For tests that qemu-user cannot run: it knows no seccomp filters, nor huge pages. The tests
# called NAME in Meson's list run as they are, or a few CLASSes of one, with their environment,
# below the same paths: what they need of source and build tree, and the libraries of both, is an
# archive behind that of ROOT (guest/make-root). Their TAP lines come out as this program's.
#
# Flow: Meson's list of tests -> tests.json, archive -> QEMU -> guest/init -> qemuguest.py -> TAP.

import compileall
import json
import os
import pathlib
import py_compile
import re
import shutil
import subprocess
import sys

import qemuguest

SOURCE = pathlib.Path(os.environ['LIBVIRT_NITRO_SOURCE'])
BUILD = pathlib.Path(os.environ['LIBVIRT_NITRO_BUILD'])
LIBRARIES = pathlib.Path('/usr/lib/aarch64-linux-gnu')

# Of both trees; of the second what has been built, not what it was built from
SOURCE_DIRS = ('docs', 'src', 'tests')
BUILD_DIRS = ('po', 'src', 'subprojects', 'tests')

MEMORY_MIB = 3072
# -cpu: the cheapest to emulate. -icount: the guest's clock counts instructions, of 2 ns each, and
# skips what it sleeps: however busy this machine is, no test in it waits too long.
QEMU = ['qemu-system-aarch64', *qemuguest.OPTIONS, '-M', 'virt', '-cpu', 'cortex-a57',
        '-icount', 'shift=1,sleep=off', '-rtc', 'clock=vm', '-m', f'{MEMORY_MIB}M',
        '-serial', 'stdio']
# hugepages: of 2 MiB, for tests in C; those in Python reserve their own
CMDLINE = 'console=ttyAMA0 quiet loglevel=1 panic=-1 rdinit=/init hugepages=16'


def settings(words):
    """What guest/init takes: the tests of @words, and where its modules are."""
    with open(BUILD / 'meson-info' / 'intro-tests.json', encoding='utf-8') as file:
        known = {test['name']: test for test in json.load(file)}
    tests = []
    for word in words:
        name, _, classes = word.partition(':')
        tests.append({'name': name, 'env': known[name]['env'],
                      'cmd': known[name]['cmd'] + list(filter(None, classes.split(',')))})
    return {'modules': str(SOURCE / 'tests'), 'tests': tests}


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


def left_out(directory, names):
    """
    The guest's own root, objects of the compiler, what Python has compiled, and what of libvirt is
    no library
    """
    return [name for name in names
            if name.endswith(('.p', '.o', '.a', '__pycache__')) or name.startswith('guest-') or
            ('/subprojects/' in directory and '.so' not in name and
             os.path.isfile(os.path.join(directory, name)))]


def fill(top, root, made):
    """Makes the directory @top what the guest has more than @root, for the settings @made."""
    shutil.copy(SOURCE / 'tests/guest/init', top / 'init')
    (top / 'tests.json').write_text(json.dumps(made), encoding='utf-8')
    for tree, directories in ((SOURCE, SOURCE_DIRS), (BUILD, BUILD_DIRS)):
        for name in directories:
            shutil.copytree(tree / name, top / tree.relative_to('/') / name, symlinks=True,
                            ignore=left_out, dirs_exist_ok=True)
    # once here, not in each process there: it is slow
    compileall.compile_dir(top / SOURCE.relative_to('/') / 'tests', quiet=1,
                           stripdir=top, prependdir='/',
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
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


def main(seconds, kernel, root, *words):
    made = settings(words)
    with qemuguest.scratch_directory() as scratch:
        (scratch / 'top').mkdir()
        fill(scratch / 'top', root, made)
        with open(scratch / 'initrd', 'wb') as initrd:
            with open(root, 'rb') as base:
                shutil.copyfileobj(base, initrd)
            initrd.flush()
            write_archive(scratch / 'top', initrd)
        return qemuguest.run([*QEMU, '-kernel', kernel, '-initrd', scratch / 'initrd',
                              '-append', CMDLINE], [test['name'] for test in made['tests']],
                             int(seconds))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
