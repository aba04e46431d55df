# fakeqemu.py: makes QEMUs that are none, see fakeqemu.c
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make() copies the program and appends the steps that it takes, which the functions below
# write; a sandbox has no interpreter for a script, nor the files of one.

import ctypes
import os
import shutil

# it lies beside the helper of the build
BUILD = os.environ.get('LIBVIRT_NITRO_BUILD', '')
FAKEQEMU = os.path.join(BUILD, 'tests', 'fakeqemu')

SERIAL, MONITOR, VSOCK, NSM = 12, 13, 14, 15  # its descriptors

PIDFD_GETFD = 438  # the number of the system call, on all architectures

COMMANDS = 'commands\n'
SIGNAL = 'signal\n'
RELEASE = 'release\n'
STAY = 'stay\n'
JOIN = 'join\n'


def data(value):
    return (value.encode() if isinstance(value, str) else value).hex()


def say(line):
    return f'say {data(line)}\n'


def output(text):
    return f'output {data(text)}\n'


def message(text):
    return f'message {data(text)}\n'


def messages(count):
    return f'messages {count}\n'


def chatter(seconds, text):
    return f'chatter {round(seconds * 1000)} {data(text)}\n'


def flood(fd, threads, text):
    """@text holds what ends its lines."""
    return f'flood {fd} {threads} {data(text)}\n'


def fork(count):
    return f'fork {count}\n'


def nsm(name='vhost-user-test-device'):
    """It has this device, and can have an NSM so."""
    return f'nsm {name}\n'


def sleep(seconds):
    return f'sleep {round(seconds * 1000)}\n'


def leave(status):
    return f'exit {status}\n'


# What the helper takes for a start
RUN = say('{"return": {}, "id": 1}')


def append(path, text):
    """Appends the trailer @text to the executable @path."""
    text = text.encode()
    with open(path, 'ab') as program:
        program.write(text + f'{len(text):08}TRAILER\n'.encode())


def make(path, steps):
    """Makes the fake QEMU @path, which takes @steps. Returns its path."""
    if not os.path.exists(FAKEQEMU):
        raise FileNotFoundError(f'{FAKEQEMU} is not there: build first')
    return copy(FAKEQEMU, path, steps)


def copy(program, path, text):
    """Makes @path a copy of @program with the trailer @text, whether or not a former one runs."""
    new = f'{path}.new'
    shutil.copyfile(program, new)
    append(new, text)
    os.chmod(new, 0o755)
    os.replace(new, path)
    return path


def take_descriptor(pid, number):
    """Returns a duplicate of the descriptor @number of the process @pid, sandbox or not."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        fd = libc.syscall(PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f'descriptor {number} of {pid}: '
                      f'{os.strerror(ctypes.get_errno())}')
    return fd
