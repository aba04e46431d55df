#!/usr/bin/python3
#
# guestinit.py: sets the guest up and runs a program in it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The guest's process 1, once the host's files are its own (init). Its argument is the directory that
guest.py shares with it, where "settings" says what to run (JSON):

    command       the program and its arguments; its standard output is the second serial port
    environment   all of its environment
    seconds       how long it may take
    pages         {size in KiB: how many huge pages}, on the node "node" if there is one
    pool          the CPU pool

It leaves "status" there, the exit status, and "stderr".
"""

import ctypes
import json
import os
import subprocess
import sys
import tty

MOUNTS = (
    ('tmpfs', '/run', 'mode=755'),
    ('tmpfs', '/dev/shm', ''),
    ('devpts', '/dev/pts', ''),
    ('debugfs', '/sys/kernel/debug', ''),
    ('cgroup2', '/sys/fs/cgroup', ''),
)
POOL = '/sys/module/nitro_enclaves/parameters/ne_cpus'
POWER_OFF = 0x4321fedc

libc = ctypes.CDLL(None, use_errno=True)


def mount(kind, where, options):
    os.makedirs(where, exist_ok=True)
    if libc.mount(b'none', where.encode(), kind.encode(), 0, options.encode()):
        raise OSError(ctypes.get_errno(), f'mount {where}')


def write(path, text):
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)


def reserve(pages, node):
    where = f'/sys/devices/system/node/node{node}' if node is not None else '/sys/kernel/mm'
    for size, count in pages.items():
        path = f'{where}/hugepages/hugepages-{size}kB/nr_hugepages'
        write(path, f'{count}\n')
        with open(path, encoding='ascii') as file:
            got = int(file.read())
        if got < count:
            raise ValueError(f'only {got} of {count} huge pages of {size} KiB can be reserved')


def run(settings, errors):
    """Returns the exit status of the program."""
    for kind, where, options in MOUNTS:
        mount(kind, where, options)
    os.makedirs('/run/lock')
    reserve(settings['pages'], settings.get('node'))
    write(POOL, settings['pool'])
    # no user who does not belong to the group has it
    os.chmod('/dev/nitro_enclaves', 0o660)
    with open('/dev/ttyS1', 'wb', buffering=0) as output:
        tty.setraw(output)
        child = subprocess.Popen(settings['command'], env=settings['environment'], cwd='/',
                                 stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                 start_new_session=True)
        try:
            return child.wait(settings['seconds'])
        except subprocess.TimeoutExpired:
            print(f'guest: not done within {settings["seconds"]} s', file=errors)
            return 124


def main(directory):
    with open(os.path.join(directory, 'stderr'), 'w', encoding='utf-8', buffering=1) as errors:
        try:
            with open(os.path.join(directory, 'settings'), encoding='utf-8') as settings:
                status = run(json.load(settings), errors)
        except (OSError, ValueError) as error:
            print(f'guest: {error}', file=errors)
            status = 125
    write(os.path.join(directory, 'status'), f'{status}\n')
    os.sync()
    libc.reboot(POWER_OFF)


if __name__ == '__main__':
    main(sys.argv[1])
