#!/usr/bin/python3
#
# initrd.py: makes the initrd of the guest
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Makes the initrd of the guest: init, busybox, and the modules that mount the host's files and that
are the driver and its device, in the order in which they are loaded.
"""

import argparse
import os
import pathlib
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'examples' / 'hello'))

from ramdisk import (  # pylint: disable=wrong-import-position
    COMPRESSED, find_modules, load_order, read_file, read_module, write_cpio)

# What these need comes along.
MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'vsock_loopback', 'vsock_diag',
           'ne_stub_vsock', 'nitro_enclaves']

BUSYBOX = '/bin/busybox'  # of Debian's package busybox-static


def built_in(tree):
    """Returns the names of the modules linked into the kernel of @tree, if it has one."""
    return {pathlib.PurePath(line).stem.replace('-', '_')
            for path in pathlib.Path(tree).glob('**/modules.builtin')
            for line in path.read_text(encoding='utf-8').splitlines()}


def entries(init, trees):
    """Returns (path, mode, device, content) of everything in the initrd."""
    available, linked = {}, set()
    for tree in trees:
        available.update(find_modules(tree))
        linked |= built_in(tree)
    order = load_order([name for name in MODULES if name not in linked], available)
    names = [os.path.basename(path).removesuffix(COMPRESSED) for path in order]
    directories = ['bin', 'files', 'changes', 'dev', 'host', 'modules', 'proc', 'root', 'sys']
    found = [(name, stat.S_IFDIR | 0o755, (0, 0), b'') for name in directories]
    # the kernel opens it for init before init has mounted anything
    found.append(('dev/console', stat.S_IFCHR | 0o600, (5, 1), b''))
    found.append(('init', stat.S_IFREG | 0o755, (0, 0), read_file(init)))
    found.append(('bin/busybox', stat.S_IFREG | 0o755, (0, 0), read_file(BUSYBOX)))
    for name in subprocess.run([BUSYBOX, '--list'], capture_output=True, text=True,
                               check=True).stdout.split():
        if name != 'busybox':
            found.append((f'bin/{name}', stat.S_IFLNK | 0o777, (0, 0), b'busybox'))
    found.append(('modules/load-order', stat.S_IFREG | 0o644, (0, 0),
                  ''.join(name + '\n' for name in names).encode()))
    found += [(f'modules/{name}', stat.S_IFREG | 0o644, (0, 0), read_module(path))
              for name, path in zip(names, order)]
    return found


def main():
    parser = argparse.ArgumentParser(description='Makes the initrd of the guest.')
    parser.add_argument('--init', required=True, help="the guest's first program")
    parser.add_argument('--modules', required=True, action='append', metavar='DIRECTORY',
                        help="below which the kernel's modules are")
    parser.add_argument('initrd', help='the file that is written')
    args = parser.parse_args()
    try:
        write_cpio(args.initrd, entries(args.init, args.modules))
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
