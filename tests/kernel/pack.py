#
# pack.py: packs what the guest reads at once
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each file that the guest has by 9P costs some switches between threads of QEMU, and on a busy machine
these take long. So the programs that all tests need, with their libraries, Python's modules and
the tests are in an initrd of their own, below "files", and lie above the 9P share (init). What is not
packed is found there: that is slower, not different.
"""

import importlib.util
import marshal
import os
import pathlib
import re
import stat
import struct
import subprocess
import sys
import sysconfig

from initrd import read_file, write_cpio

FILES = ['/etc/group', '/etc/ld.so.cache', '/etc/nsswitch.conf', '/etc/passwd']
PROGRAMS = ['bwrap', 'busybox', 'mount', 'setpriv', 'sh', 'virsh']
BUILT = ['src/nitro/virtnitrod', 'src/nitro/libvirt_driver_nitro.so', 'src/helper/libvirt_nitro',
         'src/check/libvirt_nitro_check', 'src/nsm/libvirt_nitro_nsm',
         'src/services/libvirt_nitro_services',
         'tests/kernel/enclaves']
# Parts of Python that no test uses
LEFT_OUT = re.compile(r'/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data|'
                      r'config-[^/]*)(/|$)')


def below(top, pattern):
    return [str(path) for path in pathlib.Path(top).rglob(pattern)
            if path.is_file() and not LEFT_OUT.search(str(path))]


def libraries(paths):
    """The libraries of those that are dynamically linked, and the loader."""
    listing = subprocess.run(['ldd', *paths], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r'(?:=> |^\t)(/\S+) \(0x', listing, re.MULTILINE))


def files(source, build):
    """The paths of all files that are packed."""
    found = [subprocess.run(['which', name], capture_output=True, text=True,
                            check=True).stdout.strip() for name in PROGRAMS]
    found += [os.path.join(build, name) for name in BUILT]
    found += [sys.executable, *FILES]
    stdlib = sysconfig.get_path('stdlib')
    found += below(stdlib, '*.py') + below(stdlib, '*.so')
    found += below(sysconfig.get_path('purelib', 'posix_prefix'), 'libvirt*')
    import libvirtmod  # pylint: disable=import-outside-toplevel
    import libvirt     # pylint: disable=import-outside-toplevel
    found += [libvirtmod.__file__, libvirt.__file__]
    found += below(os.path.join(source, 'tests'), '*.py') + below(
        os.path.join(source, 'tests', 'kernel'), '*')
    programs = [path for path in found if os.access(path, os.X_OK) or '.so' in path]
    return set(found) | libraries(programs)


def bytecode(path):
    """
    What Python makes of the module @path, marked as not to be compared with it: in the guest it would be
    made anew for each one, as the times of files are others, and that takes long there.
    """
    cache = importlib.util.cache_from_source(path)
    if os.path.exists(cache) and os.path.getmtime(cache) >= os.path.getmtime(path):
        code = read_file(cache)[16:]
    else:
        code = marshal.dumps(compile(read_file(path), path, 'exec', dont_inherit=True))
    return importlib.util.MAGIC_NUMBER + struct.pack('<IQ', 1, 0) + code


class Archive:
    """The entries of an archive: files at their paths, and the directories that lead there."""

    def __init__(self):
        self.entries = {}

    def directory(self, path):
        if path in self.entries or path == '/':
            return
        self.directory(os.path.dirname(path))
        mode = stat.S_IMODE(os.stat(path).st_mode)
        self.entries[path] = (stat.S_IFDIR | mode, (0, 0), b'')

    def add(self, path):
        # the path may lead through links, as /lib
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if path in self.entries:
            return
        self.directory(os.path.dirname(path))
        if os.path.islink(path):
            target = os.readlink(path)
            self.entries[path] = (stat.S_IFLNK | 0o777, (0, 0), target.encode())
            self.add(os.path.join(os.path.dirname(path), target))
        else:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            self.entries[path] = (stat.S_IFREG | mode, (0, 0), read_file(path))
            if path.endswith('.py'):
                cache = importlib.util.cache_from_source(path)
                self.entries.setdefault(os.path.dirname(cache), (stat.S_IFDIR | 0o755, (0, 0), b''))
                self.entries[cache] = (stat.S_IFREG | 0o644, (0, 0), bytecode(path))

    def write(self, path):
        write_cpio(path, [('files', stat.S_IFDIR | 0o755, (0, 0), b'')] +
                   [('files' + name, *entry) for name, entry in self.entries.items()])


def pack(source, build, path):
    """Writes the archive to the file @path."""
    archive = Archive()
    for name in sorted(files(source, build)):
        archive.add(name)
    archive.write(path)
