#!/usr/bin/env python3
# refusecalls.py: runs a program on a kernel that refuses system calls
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# refusecalls.py CALL=ERROR... PROGRAM ARGUMENT...
#
# For kernels and hosts that are not at hand: the calls fail with that error in the program and all
# that it starts. The filter is one of seccomp's, written out, so that nothing else is needed.

import ctypes
import errno
import os
import platform
import struct
import sys

# Numbers of <asm/unistd.h>. "clone-user" is a clone that asks for a user namespace,
# "landlock" what a program asks for Landlock first.
CALLS = {'x86_64': {'seccomp': 317, 'unshare': 272, 'clone': 56, 'clone-user': 56, 'execve': 59,
                    'landlock': 444},
         'aarch64': {'seccomp': 277, 'unshare': 97, 'clone': 220, 'clone-user': 220, 'execve': 221,
                     'landlock': 444}}

# <linux/filter.h>, <linux/seccomp.h>
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, FAIL = 0x7fff0000, 0x00050000
OFFSET_NR, OFFSET_ARGUMENT = 0, 16
CLONE_NEWUSER = 0x10000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def refuse(call, error):
    """Returns the instructions (code, jump if true, jump if not, operand)."""
    number = CALLS[platform.machine()][call]
    verdict = (RETURN, 0, 0, FAIL | error)
    if call != 'clone-user':
        return [(LOAD, 0, 0, OFFSET_NR), (EQUAL, 0, 1, number), verdict]
    return [(LOAD, 0, 0, OFFSET_NR), (EQUAL, 0, 3, number), (LOAD, 0, 0, OFFSET_ARGUMENT),
            (ANY_BIT, 0, 1, CLONE_NEWUSER), verdict]


def main():
    code = []
    words = sys.argv[1:]
    while '=' in words[0]:
        call, error = words.pop(0).split('=')
        code += refuse(call, getattr(errno, error))
    code.append((RETURN, 0, 0, ALLOW))
    text = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack('@HP', len(code), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 or \
       libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), 'no filter can be set')
    os.execv(words[0], words)


if __name__ == '__main__':
    main()
