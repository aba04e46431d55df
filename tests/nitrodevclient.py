# nitrodevclient.py: the calls of the device, the kernel's or a mocked one
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A Client calls ioctl(), open(), poll(), ... of a library: of the mock's, or of libc. Numbers of
# calls are those of <linux/nitro_enclaves.h>, errors those of nitrodevmock_driver.

import ctypes
import mmap
import os
import select
import struct

from nitrodevmock_server import (ADD_VCPU, CREATE_VM, GET_IMAGE_LOAD_INFO, SET_USER_MEMORY_REGION,
                                 START_ENCLAVE)

DEVICE = '/dev/nitro_enclaves'
POOL = '/sys/module/nitro_enclaves/parameters/ne_cpus'
MFD_HUGETLB, MAP_HUGETLB, MAP_NORESERVE = 4, 0x40000, 0x4000

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
libc.munmap.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mprotect.argtypes = libc.munmap.argtypes


def map_memory(size, flags, fd=-1, offset=0, prot=mmap.PROT_READ | mmap.PROT_WRITE, at=None):
    address = libc.mmap(at, size, prot, flags | (0x10 if at else 0), fd, offset)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), 'mmap')
    return address


class Client:
    """
    Calls of the device by the functions of @library, a path; None: of libc. Results are those of
    libc, but -errno for a failure.
    """

    def __init__(self, library=None):
        self.lib = ctypes.CDLL(library, use_errno=True)
        self.lib.write.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]

    def call(self, name, *args):
        result = getattr(self.lib, name)(*args)
        return -ctypes.get_errno() if result == -1 else result

    def open(self, path=DEVICE, flags=os.O_RDWR | os.O_CLOEXEC):
        return self.call('open', path.encode(), flags)

    def ioctl(self, fd, request, argument):
        return self.call('ioctl', fd, ctypes.c_ulong(request),
                         argument if isinstance(argument, ctypes.c_void_p)
                         else ctypes.byref(argument))

    def create(self, device):
        return self.ioctl(device, CREATE_VM, ctypes.c_uint64())

    def info(self, enclave, flags=1):
        load = (ctypes.c_uint64 * 2)(flags, 0)
        return self.ioctl(enclave, GET_IMAGE_LOAD_INFO, load), load[1]

    def donate(self, enclave, address, size, flags=0):
        return self.ioctl(enclave, SET_USER_MEMORY_REGION,
                          (ctypes.c_uint64 * 3)(flags, size, address))

    def vcpu(self, enclave, cpu=0):
        """Returns the CPU that was added, or -errno."""
        number = ctypes.c_uint32(cpu)
        return self.ioctl(enclave, ADD_VCPU, number) or number.value

    def start(self, enclave, flags=0, cid=0):
        """Returns the CID, or -errno."""
        info = (ctypes.c_uint64 * 2)(flags, cid)
        return self.ioctl(enclave, START_ENCLAVE, info) or info[1]

    def set_pool(self, text):
        fd = self.open(POOL, os.O_WRONLY)
        assert fd >= 0, fd
        try:
            return self.call('write', fd, text.encode(), len(text))
        finally:
            os.close(fd)

    def poll(self, fd, timeout=0, events=select.POLLIN | select.POLLOUT):
        """Returns the events of @fd, in a call of the mocked poll()."""
        entry = (ctypes.c_short * 4)()
        struct.pack_into('=ihh', entry, 0, fd, events, 0)
        self.call('poll', entry, ctypes.c_ulong(1), int(timeout * 1000))
        assert struct.unpack_from('=ihh', entry)[:2] == (fd, events)
        return struct.unpack_from('=ihh', entry)[2]
