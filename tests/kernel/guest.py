#!/usr/bin/python3
#
# guest.py: runs a test in a guest with the kernel's own driver of the device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
guest.py [--machine NAME] [--seconds N] [--record FILE] TEST [CASE...]

Boots what build-guest has built in QEMU, without KVM, has it run the test file TEST with the host's
files as its own, and ends with the status of that. The test's standard output (TAP) is ours, its
standard error is shown at the end. When the guest ends without a status, or not within the time, the
last lines of its console are shown.

Flow: settings and initrd (pack.py) in a temporary directory -> QEMU -> init -> guestinit.py -> the
test -> "console", "stderr" and "status" in that directory.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import initrd
import pack

SOURCE = os.environ['LIBVIRT_NITRO_SOURCE']
BUILD = os.environ['LIBVIRT_NITRO_BUILD']
HERE = os.path.join(SOURCE, 'tests', 'kernel')
QEMU = 'qemu-system-x86_64'
# it does not outlive us
WITH_US = ['setpriv', '--pdeathsig=KILL']

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

# Of our environment the test gets these, and a PATH.
PASSED = ('HELLO_', 'KERNELTEST_', 'LIBVIRT_', 'NITRO_', 'PYTHON', 'VIRT_EIF')


def settings(machine, command, seconds, record):
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    environment.update(PATH='/usr/sbin:/usr/bin:/sbin:/bin', HOME='/root', LC_ALL='C.UTF-8')
    if record:
        environment['KERNELTEST_RECORD'] = record
    return dict(MACHINES[machine]['settings'], command=command, environment=environment,
                seconds=seconds)


def share(name, path, *options):
    """The options that share the directory @path with the guest, by 9P."""
    local = ','.join(['local', f'id={name}', f'path={path}', 'security_model=none',
                      'multidevs=remap', *options])
    return ['-fsdev', local, '-device', f'virtio-9p-pci,fsdev={name},mount_tag={name}']


def qemu_command(machine, directory):
    built = os.path.join(BUILD, 'tests', 'kernel')
    words = ' '.join([APPEND, MACHINES[machine].get('append', ''),
                      f'nitro.init={HERE}/guestinit.py', f'nitro.out={directory}'])
    return [*WITH_US, QEMU, '-M', 'q35', '-accel', 'tcg', '-cpu', CPU, *MACHINES[machine]['qemu'],
            '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
            '-kernel', os.path.join(built, 'guest-kernel'),
            '-initrd', os.path.join(directory, 'initrd'), '-append', words,
            *share('root', '/', 'readonly=on'), *share('out', directory),
            '-serial', f'file:{directory}/console',
            '-chardev', 'stdio,id=output,signal=off', '-serial', 'chardev:output']


def write_initrd(path):
    pack.pack(SOURCE, BUILD, path)
    with open(path, 'ab') as file:
        file.write(initrd.read_file(os.path.join(BUILD, 'tests', 'kernel', 'guest-initrd')))


def tail(path, lines):
    if not os.path.exists(path):
        return ''
    with open(path, encoding='utf-8', errors='replace') as file:
        return ''.join(file.readlines()[-lines:])


def run(args, directory):
    """Returns the exit status of the test, or one of our own: 124 too late, 125 no status."""
    record = os.path.join(directory, 'record')
    with open(os.path.join(directory, 'settings'), 'w', encoding='utf-8') as file:
        json.dump(settings(args.machine, [sys.executable, args.test, *args.cases],
                           args.seconds, args.record and record), file)
    write_initrd(os.path.join(directory, 'initrd'))
    status = 125
    # the guest may not get to its own limit
    with subprocess.Popen(qemu_command(args.machine, directory),
                          stdin=subprocess.DEVNULL) as qemu:
        try:
            qemu.wait(args.seconds + 60)
        except subprocess.TimeoutExpired:
            status = 124
        finally:
            qemu.kill()
    errors = os.path.join(directory, 'stderr')
    if os.path.exists(errors):
        print(tail(errors, 10000), file=sys.stderr, end='')
    if os.path.exists(record):
        shutil.copy(record, args.record)
    try:
        with open(os.path.join(directory, 'status'), encoding='ascii') as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        what = 'has not ended in time' if status == 124 else 'has ended without a status'
        print(f'guest.py: the guest {what}; the end of its console:\n'
              + tail(os.path.join(directory, 'console'), 40), file=sys.stderr)
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

    # so that Meson's limit of time leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(124))
    directory = tempfile.mkdtemp(prefix='nitro-guest-', dir='/tmp')
    try:
        return run(args, directory)
    finally:
        shutil.rmtree(directory)


if __name__ == '__main__':
    sys.exit(main())
