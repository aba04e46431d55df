#!/usr/bin/python3
#
# guest.py: runs a test in a guest with the kernel's own driver of the device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
guest.py [--machine NAME] [--seconds N] [--record FILE] TEST [CASE...]

Boots what build-guest has built in QEMU, without KVM, and has it run the test file TEST with the host's
files as its own. What that says is our TAP; when the guest does not get to its end, the last lines of
its console are shown.

Flow: settings and initrd (pack.py) in a temporary directory -> QEMU -> init -> guestinit.py -> the
test -> qemuguest.py -> TAP.
"""

import argparse
import json
import os
import shutil
import sys

import initrd
import pack
import qemuguest

SOURCE = os.environ['LIBVIRT_NITRO_SOURCE']
BUILD = os.environ['LIBVIRT_NITRO_BUILD']
HERE = os.path.join(SOURCE, 'tests', 'kernel')
QEMU = 'qemu-system-x86_64'

# The guest's CPUs, memory and pages: the threads of core c are 2c and 2c+1.
MACHINES = {
    'plain': {
        'qemu': ['-smp', '6,sockets=1,cores=3,threads=2', '-m', '1536M'],
        'settings': {'pages': {2048: 200}, 'pool': '2-5'},
    },
    # cores 0 and 1 are on node 0, with the memory of the kernel and no huge pages; 2 on node 1
    'numa': {
        'qemu': ['-smp', '6,sockets=3,cores=1,threads=2', '-m', '2G',
                 '-object', 'memory-backend-ram,id=m0,size=1G',
                 '-object', 'memory-backend-ram,id=m1,size=1G',
                 '-numa', 'node,nodeid=0,memdev=m0,cpus=0-3',
                 '-numa', 'node,nodeid=1,memdev=m1,cpus=4-5'],
        'settings': {'pages': {2048: 200}, 'node': 1, 'pool': '4-5'},
    },
    # pages of 1 GiB are reserved as the kernel boots
    'gigantic': {
        'qemu': ['-smp', '6,sockets=1,cores=3,threads=2', '-m', '4G'],
        'append': 'hugepagesz=1G hugepages=1',
        'settings': {'pages': {2048: 80}, 'pool': '2-5'},
    },
}

# No mitigations, timer checks or "rep movsb" with fast strings: all cost much without KVM.
CPU = 'max,vendor=GenuineIntel,-erms'
APPEND = 'console=ttyS0 panic=-1 quiet loglevel=7 mitigations=off no_timer_check'

# Of our environment the test gets these.
PASSED = ('HELLO_', 'KERNELTEST_', 'LIBVIRT_', 'NITRO_', 'PYTHON', 'VIRT_EIF')


def settings(machine, name, command, record):
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    if record:
        environment['KERNELTEST_RECORD'] = record
    test = {'name': name, 'cmd': command, 'env': environment}
    return dict(MACHINES[machine]['settings'], tests=[test])


def share(name, path, *options):
    """The options that share the directory @path with the guest, by 9P."""
    local = ','.join(['local', f'id={name}', f'path={path}', 'security_model=none',
                      'multidevs=remap', *options])
    return ['-fsdev', local, '-device', f'virtio-9p-pci,fsdev={name},mount_tag={name}']


def qemu_command(machine, directory):
    built = os.path.join(BUILD, 'tests', 'kernel')
    words = ' '.join([APPEND, MACHINES[machine].get('append', ''),
                      f'nitro.init={HERE}/guestinit.py', f'nitro.out={directory}'])
    return [QEMU, *qemuguest.OPTIONS, '-M', 'q35', '-cpu', CPU, *MACHINES[machine]['qemu'],
            '-kernel', os.path.join(built, 'guest-kernel'),
            '-initrd', os.path.join(directory, 'initrd'), '-append', words,
            *share('root', '/', 'readonly=on'), *share('out', directory),
            '-serial', f'file:{directory}/console',
            '-chardev', 'stdio,id=output,signal=off', '-serial', 'chardev:output']


def write_initrd(path):
    pack.pack(SOURCE, BUILD, path)
    with open(path, 'ab') as file:
        file.write(initrd.read_file(os.path.join(BUILD, 'tests', 'kernel', 'guest-initrd')))


def run(args, directory):
    record = directory / 'record'
    name = os.path.basename(args.test).removesuffix('.py')
    command = [sys.executable, args.test, *args.cases]
    (directory / 'settings').write_text(json.dumps(
        settings(args.machine, name, command, args.record and str(record))), encoding='utf-8')
    write_initrd(directory / 'initrd')
    status = qemuguest.run(qemu_command(args.machine, directory), [name], args.seconds,
                           directory / 'console')
    if record.exists():
        shutil.copy(record, args.record)
    return status


def main():
    parser = argparse.ArgumentParser(description='Runs a test in a guest.')
    parser.add_argument('--machine', choices=MACHINES, default='plain')
    parser.add_argument('--seconds', type=int, default=900, help='how long the test may take')
    parser.add_argument('--record', metavar='FILE', help='where the trace of the driver goes')
    parser.add_argument('test', help='the test file')
    parser.add_argument('cases', nargs='*')
    args = parser.parse_args()
    args.test = os.path.abspath(args.test)

    with qemuguest.scratch_directory() as directory:
        return run(args, directory)


if __name__ == '__main__':
    sys.exit(main())
