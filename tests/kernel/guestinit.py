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

    tests         what guestrun.py runs; the second serial port leads to qemuguest.py
    pages         {size in KiB: how many huge pages}, on the node "node" if there is one
    pool          the CPU pool
"""

import json
import os
import sys
import tty

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import guestrun  # pylint: disable=wrong-import-position

MOUNTS = (
    ('tmpfs', '/run', 'mode=755'),
    ('tmpfs', '/dev/shm', ''),
    ('devpts', '/dev/pts', ''),
    ('debugfs', '/sys/kernel/debug', ''),
    ('cgroup2', '/sys/fs/cgroup', ''),
)
OUTPUT = '/dev/ttyS1'
POOL = '/sys/module/nitro_enclaves/parameters/ne_cpus'


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


def set_up(settings):
    for mount in MOUNTS:
        guestrun.mount(*mount)
    os.makedirs('/run/lock')
    reserve(settings['pages'], settings.get('node'))
    write(POOL, settings['pool'])
    # no user who does not belong to the group has it
    os.chmod('/dev/nitro_enclaves', 0o660)


def main(directory):
    with open(os.path.join(directory, 'settings'), encoding='utf-8') as file:
        settings = json.load(file)
    with open(OUTPUT, 'w', encoding='utf-8') as output:
        tty.setraw(output)
        try:
            set_up(settings)
            guestrun.Host(output).run_all(settings['tests'])
        except (OSError, ValueError) as error:
            print(f'cannot be set up: {error}', file=output)
    guestrun.power_off()


if __name__ == '__main__':
    main(sys.argv[1])
