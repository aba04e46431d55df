# devicetrace.py: what the driver of the device answers to a list of acts
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# record() does right and wrong things with the device and returns a line for each:  ACT = RESULT.
# kernel/driver.trace is what the kernel's own driver has answered, recorded in the guest of
# tests/kernel, which checks that it still does; nitrodevmocktest has the mock answer the same.
# The parent has six CPUs; threads of a core are 2 and 3, 4 and 5. What only the
# hypervisor decides is not in it, as nobody knows what a real one says.
#
# What each side has besides the device is its control:
#     refuse(call, errno)  the hypervisor refuses the next request of the ioctl CALL
#     max_regions(count)   of memory that enclaves have which are created from now on
#     end(cid)             that enclave ends by itself

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import threading

from nitrodevclient import DEVICE, MAP_HUGETLB, POOL, libc, map_memory
from nitrodevmock_driver import MIB, error_name
from nitrodevmock_server import (ADD_VCPU, CREATE_VM, GET_IMAGE_LOAD_INFO, SET_USER_MEMORY_REGION,
                                 START_ENCLAVE)

HUGE = 2 * MIB
PAGES = 36  # huge pages that this needs
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
BAD_ADDRESS = ctypes.c_void_p(8)
EVENTS = {0: 'nothing', select.POLLHUP: 'POLLHUP'}
SECONDS = 60


def in_child(function):
    """What @function returns in a forked child, a number."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding='ascii') as answer:
        os.waitpid(pid, 0)
        return int(answer.read())


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


class Trace:
    def __init__(self, client, control):
        self.client, self.control = client, control
        self.lines = []
        self.device = client.open()
        self.memory = 0

    def note(self, what, result, good='ok'):
        """@result is a number, or -errno."""
        self.lines.append(f'{what} = {error_name(-result) if result < 0 else good}')
        return result

    def create(self, what='NE_CREATE_VM'):
        return self.note(what, self.client.create(self.device))

    @contextlib.contextmanager
    def enclave(self):
        fd = self.create()
        yield fd
        os.close(fd)

    @contextlib.contextmanager
    def running(self, *vcpus, cid=0):
        """A started enclave, of all the memory."""
        with self.enclave() as fd:
            self.donate(fd, 'all memory', self.memory, 32 * HUGE)
            for vcpu in vcpus:
                self.vcpu(fd, vcpu)
            self.start(fd, cid=cid)
            yield fd

    def info(self, fd, what, flags):
        result, offset = self.client.info(fd, flags)
        self.note(f'NE_GET_IMAGE_LOAD_INFO {what}', result, f'offset {offset:#x}')

    def donate(self, fd, what, address, size, flags=0):
        self.note(f'NE_SET_USER_MEMORY_REGION {what}',
                  self.client.donate(fd, address, size, flags))

    def vcpu(self, fd, cpu, what=''):
        result = self.client.vcpu(fd, cpu)
        self.note(f'NE_ADD_VCPU {cpu}{what}', result, f'CPU {result}')

    def start(self, fd, flags=0, cid=0, what=''):
        result = self.client.start(fd, flags, cid)
        # which one the hypervisor chooses is its own business
        self.note(f'NE_START_ENCLAVE flags={flags:#x} cid={cid:#x}{what}', result,
                  f'CID {result}' if cid else 'a CID')
        return result

    def poll(self, fd, what, seconds=0):
        events = self.client.poll(fd, seconds, select.POLLIN)
        self.lines.append(f'poll {what} = {EVENTS.get(events, events)}')

    def bad_address(self, fd, name, request):
        self.note(f'{name} bad address', self.client.ioctl(fd, request, BAD_ADDRESS))

    # sections

    def pool(self):
        for text in ('0-1', '1', '2', '2-3,4', '2-9', 'x', '3-2', '2,,3', '\n', '2-3', '2-3\n',
                     '4-5,2-3', '2-5'):
            self.note(f'ne_cpus {text!r}', self.client.set_pool(text))
            fd = self.client.open(POOL, os.O_RDONLY)
            self.lines.append(f'ne_cpus shows {os.read(fd, 100).decode().strip()!r}')
            os.close(fd)
            fd = self.create()
            if fd >= 0:
                self.note('ne_cpus while an enclave exists', self.client.set_pool('2-3'))
                os.close(fd)

    def requests(self):
        argument = ctypes.create_string_buffer(64)
        with self.enclave() as fd:
            self.note('the descriptor is close-on-exec',
                      0 if fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC else -errno.EINVAL)
            for name, where, request in (
                    ('NE_ADD_VCPU on the device', self.device, ADD_VCPU),
                    ('NE_START_ENCLAVE on the device', self.device, START_ENCLAVE),
                    ('NE_CREATE_VM on an enclave', fd, CREATE_VM),
                    ('another request on the device', self.device, 0xae55),
                    ('another request on an enclave', fd, 0xae55)):
                self.note(name, self.client.ioctl(where, request, argument))
            for name, request in (('NE_GET_IMAGE_LOAD_INFO', GET_IMAGE_LOAD_INFO),
                                  ('NE_SET_USER_MEMORY_REGION', SET_USER_MEMORY_REGION),
                                  ('NE_ADD_VCPU', ADD_VCPU),
                                  ('NE_START_ENCLAVE', START_ENCLAVE)):
                self.bad_address(fd, name, request)
        self.bad_address(self.device, 'NE_CREATE_VM', CREATE_VM)
        self.note('open for reading only', other := self.client.open(DEVICE, os.O_RDONLY))
        os.close(other)

    def image(self):
        with self.enclave() as fd:
            for flags in (0, 2, 3, 1 << 40, 1):
                self.info(fd, f'flags={flags:#x}', flags)

    def vcpus(self):
        with self.enclave() as fd:
            for cpu in (6, 0xffffffff, 1, 0, 0, 2, 5, 0, 0):
                self.vcpu(fd, cpu)
        with self.enclave() as fd:
            for cpu in (5, 0, 0, 0):
                self.vcpu(fd, cpu)
        with self.enclave() as one, self.enclave() as other:
            self.vcpu(one, 2)
            self.vcpu(other, 3, ' of a core that is in use')
            self.vcpu(other, 0)
            self.vcpu(other, 4, ' again')
            self.create('NE_CREATE_VM without a free core')
            self.vcpu(one, 0)
            self.vcpu(one, 0, ' without a free core')

    def regions(self):
        at, alone = self.memory, 32 * HUGE + self.memory
        with self.enclave() as fd:
            for what, address, size, flags in (
                    ('all wrong, flags', 1, 1, 1), ('1 MiB', at, MIB, 0),
                    ('size and address wrong', 1, 3, 0), ('at 4 KiB', at + 4096, HUGE, 0),
                    ('nothing', at, 0, 0), ('nothing, unaligned', at + 4096, 0, 0),
                    ('at a kernel address', 0xffff888000000000, HUGE, 0),
                    ('size wraps', at, (1 << 64) - HUGE, 0), ('unmapped', 0, HUGE, 0),
                    ('4 MiB', at, 2 * HUGE, 0), ('the same', at, 2 * HUGE, 0),
                    ('overlap', at + HUGE, 2 * HUGE, 0), ('what follows', at + 2 * HUGE, HUGE, 0)):
                self.donate(fd, what, address, size, flags)
            libc.munmap(alone + HUGE, HUGE, 0)
            self.donate(fd, 'a page and a hole', alone, 2 * HUGE)
            map_memory(HUGE, PRIVATE, at=alone + HUGE)
            libc.madvise(alone + HUGE, HUGE, 15)  # MADV_NOHUGEPAGE
            self.donate(fd, 'a page and small ones', alone, 2 * HUGE)
            self.donate(fd, 'small pages', alone + HUGE, HUGE)
            libc.madvise(alone + HUGE, HUGE, mmap.MADV_HUGEPAGE)
            ctypes.memset(alone + HUGE, 1, HUGE)
            self.donate(fd, 'a transparent huge page', alone + HUGE, HUGE)
            libc.mprotect(alone, HUGE, 0)
            self.donate(fd, 'no access', alone, HUGE)
            libc.mprotect(alone, HUGE, mmap.PROT_READ)
            self.donate(fd, 'only read', alone, HUGE)
        self.control.max_regions(1)
        with self.enclave() as fd:
            self.donate(fd, 'as many as there may be', at, HUGE)
            self.donate(fd, 'one more', at + HUGE, HUGE)
            self.donate(fd, 'the same', at + HUGE, HUGE)
        self.control.max_regions(1024)

    def starts(self):
        with self.enclave() as fd:
            for flags, cid in ((2, 1), (3, 0), (0, 1), (0, 2), (1, 3), (0, 0xffffffff), (0, 1 << 32),
                               (0, 0)):
                self.start(fd, flags, cid)
            self.donate(fd, '32 MiB', self.memory, 16 * HUGE)
            self.start(fd, what=' 32 MiB')
            self.donate(fd, '32 MiB more', self.memory + 16 * HUGE, 16 * HUGE)
            self.start(fd, what=' no vCPU')
            self.vcpu(fd, 3)
            self.start(fd, what=' half a core')
            self.vcpu(fd, 2)
            self.start(fd, 1, 4)

    def runs(self):
        with self.running(0, 0) as fd:
            self.start(fd, what=' again')
            self.start(fd, 2, what=' again')
            self.start(fd, 0, 2, what=' again')
            self.donate(fd, 'of a running one', self.memory, HUGE)
            self.donate(fd, 'of a running one, all wrong', 1, 1)
            self.donate(fd, 'of a running one, flags', 1, 1, 1)
            self.vcpu(fd, 0, ' of a running one')
            self.vcpu(fd, 99, ' of a running one')
            self.info(fd, 'of a running one', 1)
            self.info(fd, 'of a running one, flags', 0)

    def ends(self):
        with self.enclave() as fd:
            self.poll(fd, 'before the start')
        with self.running(0, 0, 0, 0, cid=77) as fd:
            self.poll(fd, 'of a running one', 0.2)
            self.control.end(77)
            self.poll(fd, 'at the end', SECONDS)
            self.poll(fd, 'again')
            self.start(fd, what=' after the end')
            self.vcpu(fd, 0, ' after the end')
            self.info(fd, 'after the end', 1)
            self.create('NE_CREATE_VM before it is closed')
            self.note('ne_cpus before it is closed', self.client.set_pool('2-5'))

    def processes(self):
        with self.enclave() as fd:
            donate = lambda *args: self.client.donate(fd, *args)
            self.note('in a child: NE_SET_USER_MEMORY_REGION',
                      in_child(lambda: donate(self.memory, HUGE)))
            self.note('in a child: NE_SET_USER_MEMORY_REGION all wrong',
                      in_child(lambda: donate(1, 3)))
            self.note('in a child: NE_SET_USER_MEMORY_REGION all wrong, flags',
                      in_child(lambda: donate(1, 3, 1)))
            self.note('in a child: NE_ADD_VCPU 2', in_child(lambda: self.client.vcpu(fd, 2)))
            self.note('in a child: NE_ADD_VCPU 6', in_child(lambda: self.client.vcpu(fd, 6)))
            self.note('in a child: NE_GET_IMAGE_LOAD_INFO',
                      in_child(lambda: self.client.info(fd)[0]))
            self.note('in a thread: NE_SET_USER_MEMORY_REGION',
                      in_thread(lambda: donate(self.memory, HUGE)))
            self.donate(fd, 'the rest', self.memory + HUGE, 31 * HUGE)
            self.start(fd, what=' no vCPU of its own')
            self.vcpu(fd, 3)
            self.start(fd, what=' the core that the child has reserved')
            self.vcpu(fd, 2)
            self.note('in a child: NE_START_ENCLAVE', in_child(lambda: self.client.start(fd)))

    def refusals(self):
        with self.enclave() as fd:
            self.control.refuse('NE_SET_USER_MEMORY_REGION', errno.ENOMEM)
            self.donate(fd, 'refused', self.memory, HUGE)
            self.donate(fd, 'the same', self.memory, HUGE)
            self.donate(fd, 'the rest', self.memory + HUGE, 31 * HUGE)
            self.control.refuse('NE_ADD_VCPU', errno.EINVAL)
            self.vcpu(fd, 2, ' refused')
            self.vcpu(fd, 2)
            self.vcpu(fd, 3)
            self.start(fd, what=' without what was refused')
        with self.enclave() as fd:
            self.donate(fd, 'all memory', self.memory, 32 * HUGE)
            for cpu in (0, 0):
                self.vcpu(fd, cpu)
            self.control.refuse('NE_START_ENCLAVE', errno.EIO)
            self.start(fd, what=' refused')
            self.start(fd)

    def lives(self):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with self.running(2, 3, 4, 5):
                    os.write(writing, b'x')
                    signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        os.read(reading, 1)
        self.create('NE_CREATE_VM while a child has all cores')
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        with self.running(2, 3) as fd:
            copy = os.dup(fd)
            libc.munmap(self.memory, 32 * HUGE, 0)
        self.poll(copy, 'of a copy')
        os.close(copy)
        with self.enclave() as fd:
            self.vcpu(fd, 2, ' when all copies are closed')

    def record(self):
        self.lines.append('open = ' + ('ok' if self.device >= 0 else error_name(-self.device)))
        self.pool()
        self.memory = map_memory(PAGES * HUGE, PRIVATE | MAP_HUGETLB)
        ctypes.memset(self.memory, 1, PAGES * HUGE)
        try:
            for section in (self.requests, self.image, self.vcpus, self.regions, self.starts,
                            self.runs, self.ends, self.processes, self.refusals, self.lives):
                self.lines += ['', section.__name__]
                section()
        finally:
            libc.munmap(self.memory, PAGES * HUGE, 0)
            os.close(self.device)
        return '\n'.join(self.lines) + '\n'


def record(client, control):
    """The trace, as the text of the file: @client is a nitrodevclient.Client."""
    return Trace(client, control).record()
