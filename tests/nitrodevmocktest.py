# nitrodevmocktest.py: the mock of the Nitro Enclaves device keeps the driver's rules
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A test loads the mock's library from the mock's directory and calls its ioctl(), open(),
# bind(), ... directly; those of another process, or of a program that it is preloaded into,
# start one. Huge pages are real, see nitrodevmock.HugePages.

import contextlib
import ctypes
import errno
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

import devicetrace
import nitrodevmock
import nitrodevmock_driver as driver
import nitrodevmock_memory as memory
import nitrodevmock_server as server
import taprunner
from nitrodevclient import MAP_HUGETLB, MAP_NORESERVE, MFD_HUGETLB, Client, libc, map_memory
from nitrodevmock_driver import *  # pylint: disable=wildcard-import,unused-wildcard-import

MIB = 1 << 20
HUGE = 2 * MIB
AF_VSOCK = 40
SECONDS = 30
NOBODY = 65534

class MockClient(Client):
    """With the mocked AF_VSOCK; sockets are Python's, but for these calls"""

    def vsock(self, flags=socket.SOCK_CLOEXEC):
        return socket.socket(fileno=self.call('socket', AF_VSOCK, socket.SOCK_STREAM | flags, 0))

    def address_call(self, name, sock, cid, port):
        vm = struct.pack('=HHIIB3x', AF_VSOCK, 0, port, cid, 0)
        return self.call(name, sock.fileno(), vm, len(vm))

    def bind(self, sock, port, cid=0xffffffff):
        return self.address_call('bind', sock, cid, port)

    def connect(self, sock, cid, port):
        return self.address_call('connect', sock, cid, port)

    def name(self, call, sock, *args):
        """(CID, port) that a call like getpeername() tells of, and its result."""
        vm, size = ctypes.create_string_buffer(16), ctypes.c_uint32(16)
        result = self.call(call, sock.fileno(), vm, ctypes.byref(size), *args)
        family, _, port, cid = struct.unpack_from('=HHII', vm)
        assert family == AF_VSOCK and size.value == 16, (family, size.value)
        return (cid, port), result

    def accept(self, sock):
        """Returns the next connection and its address; TimeoutError after a while."""
        if not select.select([sock], [], [], SECONDS)[0]:
            raise TimeoutError
        address, fd = self.name('accept4', sock, socket.SOCK_CLOEXEC)
        return socket.socket(fileno=fd), address


class MockCase(unittest.TestCase):
    CONFIG = {}
    PAGES = 0

    @classmethod
    def setUpClass(cls):
        # Each library finds the mock by where it lies.
        os.environ.pop('NITRO_MOCK_DIR', None)
        if os.geteuid() != 0:
            raise unittest.SkipTest('only root can see what memory other processes have')
        if cls.PAGES:
            pages = nitrodevmock.HugePages(cls.PAGES)
            pages.__enter__()
            cls.addClassCleanup(pages.__exit__)

    def setUp(self):
        self.mapped = []
        self.addCleanup(self.unmap)
        self.fds = len(os.listdir('/proc/self/fd'))
        self.use(**self.CONFIG)

    def tearDown(self):
        self.doCleanups()
        self.assertEqual(len(os.listdir('/proc/self/fd')), self.fds)

    def use(self, **config):
        """Starts the mock of this test."""
        stack = contextlib.ExitStack()
        self.mock = stack.enter_context(nitrodevmock.NitroMock(**config))
        self.addCleanup(stack.close)
        self.client = MockClient(self.mock.library)

    def unmap(self):
        while self.mapped:
            libc.munmap(*self.mapped.pop(), 0)

    def memory(self, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_HUGETLB, **more):
        """
        Maps memory until the end of the test. The pages are there, but another test that
        tries how it is without any can have them for a moment.
        """
        end = time.monotonic() + SECONDS
        while True:
            try:
                address = map_memory(size, flags, **more)
                break
            except OSError as e:
                if e.errno != errno.ENOMEM or time.monotonic() > end:
                    raise
            time.sleep(0.02)
        self.mapped.append((address, size))
        return address

    def device(self):
        fd = self.client.open()
        self.assertGreaterEqual(fd, 0)
        self.addCleanup(close_if_open, fd)
        return fd

    def enclave(self):
        """A new enclave; everything of it is closed at the end of the test."""
        device = self.device()
        fd = self.client.create(device)
        self.assertGreaterEqual(fd, 0)
        os.close(device)
        self.addCleanup(close_if_open, fd)
        return fd

    def ready(self, size=64 * MIB):
        """An enclave that could be started."""
        enclave = self.enclave()
        self.assertEqual(self.client.donate(enclave, self.memory(size), size), 0)
        for _ in range(2):
            self.assertGreater(self.client.vcpu(enclave), 0)
        return enclave

    def fails(self, result, number):
        self.assertEqual(driver.error_name(-result), driver.error_name(number))

    def wait_for_hang_up(self, enclave):
        self.assertEqual(self.client.poll(enclave, SECONDS), select.POLLHUP)


def close_if_open(fd):
    with contextlib.suppress(OSError):
        os.close(fd)


def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def in_child(function):
    """What @function returns, a small number, in a forked child."""
    pid = os.fork()
    if pid == 0:
        result = 255
        try:
            result = function()
        finally:
            os._exit(result)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class PoolTest(MockCase):
    """ne_cpus. Cores are (0,4) (1,5) (2,6) (3,7)."""

    def online(self):
        with open(os.path.join(self.mock.dir, 'sys/devices/system/cpu/online'),
                  encoding='ascii') as f:
            return f.read().strip()

    def test_good(self):
        self.assertEqual((self.mock.ne_cpus, self.online()), ('1-3,5-7', '0,4'))
        for text, online in (('2,6', '0-1,3-5,7'), ('1,5,3,7\n', '0,2,4,6'),
                             ('2,,6', '0-1,3-5,7')):
            with self.subTest(text):
                self.assertEqual(self.client.set_pool('1,5'), 3)
                self.assertEqual(self.client.set_pool(text), len(text))
                self.assertEqual((self.mock.ne_cpus, self.online()), (text.strip(), online))

    def test_refused(self):
        """A refused write empties the pool."""
        for text, number in (('0,4', errno.EINVAL), ('4', errno.EINVAL), ('1-7', errno.EINVAL),
                             ('1', errno.EINVAL), ('1,5,2', errno.EINVAL), ('x', errno.EINVAL),
                             ('3-1', errno.EINVAL), ('1,,', errno.EINVAL),
                             ('\n', errno.EINVAL),
                             ('8', errno.ERANGE), ('1,5,2-99999999999', errno.ERANGE)):
            with self.subTest(text):
                self.assertEqual(self.client.set_pool('1,5'), 3)
                self.assertEqual(self.mock.ne_cpus, '1,5')
                self.fails(self.client.set_pool(text), number)
                self.assertEqual((self.mock.ne_cpus, self.online()), ('', '0-7'))
                device = self.device()
                self.fails(self.client.create(device), NE_ERR_NO_CPUS_AVAIL_IN_POOL)
                os.close(device)

    def test_nodes(self):
        """Cores 0 and 1 are on node 0, cores 2 and 3 on node 1."""
        self.use(nodes=2, pool='')
        self.fails(self.client.set_pool('1-2,5-6'), errno.EINVAL)
        self.assertEqual(self.client.set_pool('2-3,6-7'), 7)
        top = os.path.join(self.mock.dir, 'sys/devices/system')
        for path, text in (('node/online', '0-1'), ('node/node0/cpulist', '0-1,4-5'),
                           ('node/node1/cpulist', ''), ('node/node1/distance', '20 10'),
                           ('cpu/cpu1/node0/cpulist', '0-1,4-5'), ('cpu/offline', '2-3,6-7'),
                           ('cpu/cpu2/online', '0'), ('cpu/cpu5/online', '1'),
                           ('cpu/cpu5/topology/thread_siblings_list', '1,5'),
                           ('cpu/cpu5/topology/core_siblings', '00000033'),
                           ('cpu/cpu5/topology/core_id', '1')):
            with self.subTest(path), open(os.path.join(top, path), encoding='ascii') as f:
                self.assertEqual(f.read().strip(), text)
        self.assertFalse(os.path.exists(os.path.join(top, 'cpu/cpu2/topology')))

    def test_one_thread_per_core(self):
        self.use(cpus=4, threads_per_core=1, pool='')
        self.assertEqual(self.client.set_pool('3'), 1)
        self.fails(self.client.set_pool('0'), errno.EINVAL)

    def test_enclave_exists(self):
        enclave = self.enclave()
        for text in ('1,5', '', 'x'):
            self.fails(self.client.set_pool(text), errno.EPERM)
        self.assertEqual((self.mock.ne_cpus, self.online()), ('1-3,5-7', '0,4'))
        os.close(enclave)
        self.assertEqual(self.client.set_pool('1,5'), 3)

    def test_not_root(self):
        def write():
            become_nobody()
            return -self.client.open('/sys/module/nitro_enclaves/parameters/ne_cpus',
                                     os.O_WRONLY)
        self.assertEqual(in_child(write), errno.EACCES)


class DeviceTest(MockCase):
    def test_open(self):
        fd = self.device()
        self.assertEqual(self.mock.devices(), 1)
        os.close(fd)
        self.mock.wait(lambda: self.mock.devices() == 0)
        self.assertEqual(self.mock.transcript(), ['open = ok'])

    def test_absent(self):
        self.mock.hide_device()
        self.fails(self.client.open(), errno.ENOENT)
        self.fails(self.client.call('access', b'/dev/nitro_enclaves', os.R_OK), errno.ENOENT)
        self.mock.show_device()
        self.assertEqual(self.client.call('access', b'/dev/nitro_enclaves', os.R_OK), 0)
        self.device()

    def test_mode(self):
        self.use(device_mode=0o660)

        def as_nobody():
            become_nobody()
            return -self.client.open()

        self.assertEqual(in_child(as_nobody), errno.EACCES)
        os.chown(os.path.join(self.mock.dir, 'device'), NOBODY, 0)
        self.assertEqual(in_child(lambda: as_nobody() < 0), 1)

    def test_errors(self):
        for name in ('EBUSY', 'ENODEV', 'EACCES', 'EMFILE'):
            with self.subTest(name):
                self.mock.fault('open', errno=name)
                self.fails(self.client.open(), getattr(errno, name))
        self.device()

    def test_other_requests(self):
        device, enclave = self.device(), self.enclave()
        argument = ctypes.create_string_buffer(64)
        for fd, request in ((device, server.ADD_VCPU), (device, server.START_ENCLAVE),
                            (enclave, server.CREATE_VM), (enclave, 0xae25),
                            (device, 0x5401)):
            self.fails(self.client.ioctl(fd, request, argument), errno.ENOTTY)

    def test_enclave_descriptor(self):
        """It is close-on-exec, and the device can be closed before."""
        enclave = self.enclave()
        self.assertFalse(os.get_inheritable(enclave))
        self.assertEqual(self.client.info(enclave), (0, 8 * MIB))

    def test_create_fault(self):
        """EFAULT leaves no enclave behind."""
        device = self.device()
        self.fails(self.client.ioctl(device, server.CREATE_VM, ctypes.c_void_p(8)),
                   errno.EFAULT)
        self.assertEqual(self.mock.enclaves(), [])

    def test_limit(self):
        self.use(cpus=16, pool='1-7,9-15')
        enclaves = [self.enclave() for _ in range(4)]
        device = self.device()
        self.fails(self.client.create(device), driver.HYPERVISOR_ERRNO)
        os.close(enclaves[2])
        self.assertGreaterEqual(fd := self.client.create(device), 0)
        os.close(fd)

    def test_server_gone(self):
        device = self.device()
        self.mock.process.kill()
        self.mock.process.wait()
        self.fails(self.client.create(device), errno.ENODEV)
        self.fails(self.client.open(), errno.ENODEV)


class ImageLoadInfoTest(MockCase):
    def test_flags(self):
        enclave = self.enclave()
        for flags in (0, 2, 3, 1 << 40):
            self.fails(self.client.info(enclave, flags)[0], NE_ERR_INVALID_FLAG_VALUE)
        self.assertEqual(self.client.info(enclave), (0, 8 * MIB))

    def test_fault(self):
        self.fails(self.client.ioctl(self.enclave(), server.GET_IMAGE_LOAD_INFO,
                                     ctypes.c_void_p(8)), errno.EFAULT)

    def test_offset(self):
        self.use(image_offset=16 * MIB)
        self.assertEqual(self.client.info(self.enclave()), (0, 16 * MIB))


class VcpuTest(MockCase):
    def test_chosen(self):
        """Siblings of a core that is taken first, then the lowest free core."""
        enclave = self.enclave()
        self.assertEqual([self.client.vcpu(enclave, cpu) for cpu in (6, 0, 0, 0, 0, 0)],
                         [6, 2, 1, 5, 3, 7])
        self.fails(self.client.vcpu(enclave), NE_ERR_NO_CPUS_AVAIL_IN_POOL)

    def test_range(self):
        enclave = self.enclave()
        for cpu in (8, 0xffffffff):
            self.fails(self.client.vcpu(enclave, cpu), NE_ERR_INVALID_VCPU)

    def test_not_in_pool(self):
        self.client.set_pool('1,5')
        for cpu in (4, 2):
            self.fails(self.client.vcpu(self.enclave(), cpu), NE_ERR_VCPU_NOT_IN_CPU_POOL)

    def test_used(self):
        enclave = self.enclave()
        self.assertEqual(self.client.vcpu(enclave, 2), 2)
        self.fails(self.client.vcpu(enclave, 2), NE_ERR_VCPU_ALREADY_USED)

    def test_core(self):
        """A core has one enclave: its other thread is no other's."""
        one, other = self.enclave(), self.enclave()
        self.assertEqual(self.client.vcpu(one, 2), 2)
        self.fails(self.client.vcpu(other, 6), NE_ERR_VCPU_NOT_IN_CPU_POOL)
        self.fails(self.client.vcpu(other, 2), NE_ERR_VCPU_NOT_IN_CPU_POOL)
        os.close(one)
        self.assertEqual(self.client.vcpu(other, 6), 6)

    def test_core_of_failed_call(self):
        """The core is reserved even when the call fails then."""
        self.client.set_pool('1,5')
        one, other = self.enclave(), self.enclave()
        self.mock.fault('NE_ADD_VCPU', errno='ENOMEM', hypervisor=True)
        self.fails(self.client.vcpu(one), errno.ENOMEM)
        self.fails(self.client.vcpu(other), NE_ERR_NO_CPUS_AVAIL_IN_POOL)
        self.fails(self.client.vcpu(other, 5), NE_ERR_VCPU_NOT_IN_CPU_POOL)
        device = self.device()
        self.fails(self.client.create(device), NE_ERR_NO_CPUS_AVAIL_IN_POOL)
        self.assertEqual([self.client.vcpu(one), self.client.vcpu(one)], [1, 5])

    def test_other_process(self):
        enclave = self.enclave()
        self.assertEqual(in_child(lambda: -self.client.vcpu(enclave)), errno.EIO)
        self.assertEqual(self.client.vcpu(enclave), 1)

    def test_fault(self):
        self.fails(self.client.ioctl(self.enclave(), server.ADD_VCPU, ctypes.c_void_p(8)),
                   errno.EFAULT)


class MemoryTest(MockCase):
    PAGES = 16

    def test_good(self):
        """Any huge page does, shared or private; several regions, in any order."""
        enclave = self.enclave()
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB
        for address, size in ((self.memory(HUGE), HUGE), (self.memory(3 * HUGE), 3 * HUGE),
                              (self.memory(HUGE, private), HUGE)):
            self.assertEqual(self.client.donate(enclave, address, size), 0)
        self.assertEqual(self.mock.enclaves()[0]['memory'], 5 * HUGE)

    def test_flags(self):
        enclave = self.enclave()
        for flags in (1, 2, 1 << 63):
            self.fails(self.client.donate(enclave, 1, 1, flags), NE_ERR_INVALID_FLAG_VALUE)

    def test_size(self):
        enclave = self.enclave()
        for size in (4096, MIB, HUGE + 1, (1 << 64) - 1):
            self.fails(self.client.donate(enclave, 1, size), NE_ERR_INVALID_MEM_REGION_SIZE)

    def test_alignment(self):
        enclave = self.enclave()
        for address in (4096, MIB, self.memory(HUGE) + 1, (1 << 64) - 1):
            self.fails(self.client.donate(enclave, address, HUGE),
                       NE_ERR_UNALIGNED_MEM_REGION_ADDR)

    def test_range(self):
        enclave = self.enclave()
        for address, size in (((1 << 64) - HUGE, HUGE), (1 << 63, HUGE), (HUGE, 1 << 63),
                              (HUGE, (1 << 64) - HUGE), ((1 << 48) - HUGE, 2 * HUGE)):
            self.fails(self.client.donate(enclave, address, size),
                       NE_ERR_INVALID_MEM_REGION_ADDR)

    def test_overlap(self):
        """By virtual address, within an enclave."""
        enclave, other = self.enclave(), self.enclave()
        address = self.memory(4 * HUGE)
        self.assertEqual(self.client.donate(enclave, address + HUGE, 2 * HUGE), 0)
        for offset, pages in ((0, 2), (1, 1), (2, 1), (2, 2), (0, 4)):
            self.fails(self.client.donate(enclave, address + offset * HUGE, pages * HUGE),
                       NE_ERR_MEM_REGION_ALREADY_USED)
        self.assertEqual(self.client.donate(enclave, address, HUGE), 0)
        self.assertEqual(self.client.donate(enclave, address + 3 * HUGE, HUGE), 0)
        self.assertEqual(self.client.donate(other, address, HUGE), 0)

    def test_empty(self):
        self.fails(self.client.donate(self.enclave(), self.memory(HUGE), 0), errno.ENOMEM)

    def test_no_pages(self):
        enclave = self.enclave()
        address = self.memory(3 * HUGE)
        libc.munmap(address + HUGE, HUGE, 0)
        self.fails(self.client.donate(enclave, address, 2 * HUGE), errno.EFAULT)
        libc.mprotect(address, HUGE, 0)
        self.fails(self.client.donate(enclave, address, HUGE), errno.EFAULT)
        self.assertEqual(self.client.donate(enclave, address + 2 * HUGE, HUGE), 0)

    def test_pool_ran_out(self):
        """Without a reservation the pages can be missing when they are wanted."""
        where = os.path.join(self.mock.dir, 'hugetlbfs')
        os.mkdir(where)
        mount = subprocess.run(['mount', '-t', 'hugetlbfs', '-o', 'size=4M,pagesize=2M', 'none',
                                where], stderr=subprocess.PIPE, text=True, check=False)
        if mount.returncode:
            self.skipTest(mount.stderr)
        self.addCleanup(subprocess.run, ['umount', where], check=True)
        fd = os.open(os.path.join(where, 'x'), os.O_RDWR | os.O_CREAT, 0o600)
        address = self.memory(3 * HUGE, mmap.MAP_SHARED | MAP_NORESERVE, fd=fd)
        os.close(fd)
        enclave = self.enclave()
        self.fails(self.client.donate(enclave, address, 3 * HUGE), errno.EFAULT)
        self.assertEqual(self.client.donate(enclave, address, 2 * HUGE), 0)
        os.close(enclave)
        self.mock.wait_closed()
        self.unmap()

    def test_not_huge(self):
        enclave = self.enclave()
        address = self.memory(4 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = (address + HUGE - 1) & -HUGE
        self.fails(self.client.donate(enclave, address, HUGE), NE_ERR_MEM_NOT_HUGE_PAGE)
        # transparent huge pages are none
        self.assertEqual(libc.madvise(address, 2 * HUGE, mmap.MADV_HUGEPAGE), 0)
        ctypes.memset(address, 1, 2 * HUGE)
        self.fails(self.client.donate(enclave, address, HUGE), NE_ERR_MEM_NOT_HUGE_PAGE)

    def test_partly_huge(self):
        """Each page counts; the first bad one decides."""
        enclave = self.enclave()
        address = self.memory(4 * HUGE)
        map_memory(HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, at=address + HUGE)
        self.fails(self.client.donate(enclave, address, 3 * HUGE), NE_ERR_MEM_NOT_HUGE_PAGE)
        libc.munmap(address + 2 * HUGE, HUGE, 0)
        self.fails(self.client.donate(enclave, address, 3 * HUGE), NE_ERR_MEM_NOT_HUGE_PAGE)
        self.fails(self.client.donate(enclave, address + 2 * HUGE, HUGE), errno.EFAULT)

    def test_page_size(self):
        """A region begins at the start of a page, and donates whole pages."""
        self.use(page_size=4 * HUGE)
        enclave = self.enclave()
        address = self.memory(8 * HUGE)
        aligned = (address + 4 * HUGE - 1) & -(4 * HUGE)
        self.fails(self.client.donate(enclave, aligned + HUGE, HUGE), NE_ERR_INVALID_PAGE_SIZE)
        self.assertEqual(self.client.donate(enclave, aligned, HUGE), 0)
        self.assertEqual(self.mock.enclaves()[0]['memory'], 4 * HUGE)

    def test_small_page_size(self):
        self.use(page_size=MIB)
        self.fails(self.client.donate(self.enclave(), self.memory(HUGE), HUGE),
                   NE_ERR_INVALID_PAGE_SIZE)

    def test_node(self):
        self.use(nodes=2, pool='2-3,6-7')
        self.fails(self.client.donate(self.enclave(), self.memory(HUGE), HUGE),
                   NE_ERR_MEM_DIFFERENT_NUMA_NODE)

    def test_runs(self):
        """Physically contiguous pages, in ascending order, are one piece."""
        mapping = memory.Mapping('0-1000 rw-s 00000000 00:00 0')
        frames = lambda *numbers: [memory.Page(0, HUGE, n, 0, mapping) for n in numbers]
        for numbers, pieces in (((512, 1024, 1536), [3]), ((1536, 1024, 512), [1, 1, 1]),
                                ((512, 1024, 4096, 4608), [2, 2]), ((0, 0), [1, 1]), ((), [])):
            self.assertEqual(memory.runs(frames(*numbers)), [n * HUGE for n in pieces])

    def test_max_regions(self):
        self.use(max_regions=2)
        enclave = self.enclave()
        for _ in range(2):
            self.assertEqual(self.client.donate(enclave, self.memory(HUGE), HUGE), 0)
        address = self.memory(HUGE)
        self.fails(self.client.donate(enclave, address, HUGE), NE_ERR_MEM_MAX_REGIONS)
        # it is not in the list
        self.fails(self.client.donate(enclave, address, HUGE), NE_ERR_MEM_MAX_REGIONS)

    def test_max_regions_of_pieces(self):
        """What counts is what the pages are, physically."""
        address = self.memory(8 * HUGE)
        ctypes.memset(address, 1, 8 * HUGE)
        caller = memory.Caller(os.getpid())
        pieces = len(memory.runs(list(caller.pages(address, 8 * HUGE))))
        caller.close()
        self.mock.configure(max_regions=pieces - 1)
        self.fails(self.client.donate(self.enclave(), address, 8 * HUGE), NE_ERR_MEM_MAX_REGIONS)
        self.mock.configure(max_regions=pieces)
        self.assertEqual(self.client.donate(self.enclave(), address, 8 * HUGE), 0)

    def test_hypervisor_error(self):
        """The region stays in the list: only a new enclave can have it."""
        enclave = self.enclave()
        address = self.memory(HUGE)
        self.mock.fault('NE_SET_USER_MEMORY_REGION', errno='EINVAL', hypervisor=True)
        self.fails(self.client.donate(enclave, address, HUGE), errno.EINVAL)
        self.fails(self.client.donate(enclave, address, HUGE), NE_ERR_MEM_REGION_ALREADY_USED)
        self.assertEqual(self.client.donate(self.enclave(), address, HUGE), 0)

    def test_other_process(self):
        enclave = self.enclave()
        address = self.memory(HUGE)
        self.assertEqual(in_child(lambda: -self.client.donate(enclave, address, HUGE)),
                         errno.EIO)
        self.assertEqual(self.client.donate(enclave, address, HUGE), 0)

    def test_order(self):
        """Of two errors the one that is checked for first shows."""
        enclave = self.enclave()
        used = self.memory(2 * HUGE)
        self.assertEqual(self.client.donate(enclave, used, HUGE), 0)
        child = lambda *args: lambda: self.client.donate(enclave, *args)
        for call, number in (
                (child(1, 4096, 1), NE_ERR_INVALID_FLAG_VALUE),
                (child(1, 4096), NE_ERR_INVALID_MEM_REGION_SIZE),
                (child((1 << 64) - 4096, HUGE), NE_ERR_UNALIGNED_MEM_REGION_ADDR),
                (child(used, 1 << 63), NE_ERR_INVALID_MEM_REGION_ADDR),
                (child(used - HUGE, 2 * HUGE), NE_ERR_MEM_REGION_ALREADY_USED),
                (child((1 << 64) - HUGE, 0), NE_ERR_INVALID_MEM_REGION_ADDR),
                (child(used + 4096, 0), NE_ERR_UNALIGNED_MEM_REGION_ADDR)):
            self.fails(call(), number)
        # of another process: before the size, after the flags
        self.assertEqual(in_child(lambda: -child(1, 4096)() == errno.EIO), 1)
        self.assertEqual(
            in_child(lambda: -child(1, 4096, 1)() == NE_ERR_INVALID_FLAG_VALUE), 1)

    def test_fault(self):
        self.fails(self.client.ioctl(self.enclave(), server.SET_USER_MEMORY_REGION,
                                     ctypes.c_void_p(8)), errno.EFAULT)


class ContentTest(MockCase):
    """What the enclave has of the memory."""
    PAGES = 40

    def test_regions(self):
        """They follow each other as they were donated."""
        enclave = self.enclave()
        one, two = self.memory(2 * HUGE), self.memory(HUGE)
        for address, size in ((two, HUGE), (one + HUGE, HUGE), (one, HUGE)):
            self.assertEqual(self.client.donate(enclave, address, size), 0)
        ctypes.memset(two, ord('a'), HUGE)
        ctypes.memset(one + HUGE, ord('b'), HUGE)
        ctypes.memset(one, ord('c'), HUGE)
        self.assertEqual(self.mock.read(1, HUGE - 1, HUGE + 2), b'a' + HUGE * b'b' + b'c')
        path = os.path.join(self.mock.dir, 'memory')
        self.mock.dump(1, path)
        with open(path, 'rb') as f:
            self.assertEqual(f.read(), HUGE * b'a' + HUGE * b'b' + HUGE * b'c')

    def test_offset_in_file(self):
        """A region within a mapping of a part of a file."""
        fd = os.memfd_create('memory', MFD_HUGETLB)
        os.ftruncate(fd, 4 * HUGE)
        address = self.memory(3 * HUGE, mmap.MAP_SHARED, fd=fd, offset=HUGE)
        os.close(fd)
        for page in range(3):
            ctypes.memset(address + page * HUGE, ord('a') + page, HUGE)
        enclave = self.enclave()
        self.assertEqual(self.client.donate(enclave, address + HUGE, 2 * HUGE), 0)
        self.assertEqual(self.mock.read(1, HUGE - 1, 2), b'bc')

    def test_held(self):
        """It stays when the process gives it away, and goes with the last descriptor."""
        enclave = self.ready()
        address, size = self.mapped.pop()
        ctypes.memset(address + size - 4, ord('x'), 4)
        libc.munmap(address, size, 0)
        self.assertEqual(self.mock.read(1, size - 4, 4), b'xxxx')
        huge = lambda: [fd for fd in os.listdir(f'/proc/{self.mock.process.pid}/fd')
                        if 'hugepage' in self.target(fd)]
        self.assertEqual(len(huge()), 1)
        copy = os.dup(enclave)
        os.close(enclave)
        self.assertEqual(self.mock.read(1, size - 4, 4), b'xxxx')
        os.close(copy)
        self.mock.wait_closed()
        self.assertEqual(huge(), [])

    def target(self, fd):
        try:
            return os.readlink(f'/proc/{self.mock.process.pid}/fd/{fd}')
        except FileNotFoundError:
            return ''

    def test_private(self):
        """Private memory that is written later is seen, as it is the same page."""
        address = self.memory(32 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
        enclave = self.enclave()
        self.assertEqual(self.client.donate(enclave, address, 32 * HUGE), 0)
        ctypes.memset(address, ord('a'), 4)
        self.assertEqual([self.client.vcpu(enclave), self.client.vcpu(enclave)], [1, 5])
        self.assertEqual(self.client.start(enclave), 16)
        self.assertEqual(self.mock.read(1, 0, 4), b'aaaa')

    def test_private_and_fork(self):
        """Unless a forked child has had it: the process writes to a new page then."""
        address = self.memory(32 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
        enclave = self.enclave()
        ctypes.memset(address, ord('a'), 4)
        self.assertEqual(self.client.donate(enclave, address, 32 * HUGE), 0)
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        ctypes.memset(address, ord('b'), 4)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.assertEqual([self.client.vcpu(enclave), self.client.vcpu(enclave)], [1, 5])
        self.assertEqual(self.client.start(enclave), 16)
        self.assertEqual(self.mock.read(1, 0, 4), b'aaaa')

    def test_private_file(self):
        """A private mapping of a file that holds something: the enclave has the file's page."""
        fd = os.memfd_create('memory', MFD_HUGETLB)
        os.ftruncate(fd, 32 * HUGE)
        shared = map_memory(HUGE, mmap.MAP_SHARED, fd=fd)
        ctypes.memset(shared, ord('a'), 4)
        libc.munmap(shared, HUGE, 0)
        address = self.memory(32 * HUGE, mmap.MAP_PRIVATE, fd=fd)
        os.close(fd)
        enclave = self.enclave()
        self.assertEqual(self.client.donate(enclave, address, 32 * HUGE), 0)
        ctypes.memset(address, ord('b'), 4)
        self.assertEqual([self.client.vcpu(enclave), self.client.vcpu(enclave)], [1, 5])
        self.assertEqual(self.client.start(enclave), 16)
        self.assertEqual(self.mock.read(1, 0, 4), b'aaaa')


class StartTest(MockCase):
    PAGES = 100

    def test_good(self):
        enclave = self.ready()
        self.assertEqual(self.client.start(enclave, 1), 16)
        self.assertEqual(self.mock.enclaves(), [
            {'number': 1, 'state': 'running', 'cid': 16, 'cpus': [1, 5], 'memory': 64 * MIB,
             'flags': 1, 'pid': os.getpid()}])

    def test_order(self):
        """What it checks, one after the other; a failed start can be tried again."""
        enclave = self.enclave()
        self.fails(self.client.start(enclave, 2, 1), NE_ERR_INVALID_FLAG_VALUE)
        self.fails(self.client.start(enclave, 0, 1), NE_ERR_INVALID_ENCLAVE_CID)
        self.fails(self.client.start(enclave), NE_ERR_NO_MEM_REGIONS_ADDED)
        self.assertEqual(self.client.donate(enclave, self.memory(HUGE), HUGE), 0)
        self.fails(self.client.start(enclave), NE_ERR_ENCLAVE_MEM_MIN_SIZE)
        size = 64 * MIB - HUGE
        self.assertEqual(self.client.donate(enclave, self.memory(size), size), 0)
        self.fails(self.client.start(enclave), NE_ERR_NO_VCPUS_ADDED)
        self.assertEqual(self.client.vcpu(enclave, 3), 3)
        self.fails(self.client.start(enclave), NE_ERR_FULL_CORES_NOT_USED)
        self.assertEqual(self.client.vcpu(enclave, 7), 7)
        self.mock.fault('NE_START_ENCLAVE', errno='ENOMEM', hypervisor=True)
        self.fails(self.client.start(enclave), errno.ENOMEM)
        self.assertEqual(self.client.start(enclave, 0, 4), 4)

    def test_started(self):
        enclave = self.ready()
        address = self.memory(HUGE)
        self.assertEqual(self.client.start(enclave), 16)
        for result in (self.client.start(enclave), self.client.vcpu(enclave),
                       self.client.vcpu(enclave, 99), self.client.info(enclave)[0],
                       self.client.info(enclave, 2)[0],
                       self.client.donate(enclave, address, HUGE),
                       self.client.donate(enclave, 1, 1)):
            self.fails(result, NE_ERR_NOT_IN_INIT_STATE)
        # flags and CID are looked at before
        self.fails(self.client.start(enclave, 2), NE_ERR_INVALID_FLAG_VALUE)
        self.fails(self.client.start(enclave, 0, 2), NE_ERR_INVALID_ENCLAVE_CID)
        self.fails(self.client.donate(enclave, 1, 1, 1), NE_ERR_INVALID_FLAG_VALUE)

    def test_cids(self):
        enclave = self.ready()
        for cid in (1, 2, 3, 0xffffffff, 1 << 32, (1 << 32) + 5, (1 << 64) - 1):
            self.fails(self.client.start(enclave, 0, cid), NE_ERR_INVALID_ENCLAVE_CID)
        self.assertEqual(self.client.start(enclave, 0, 0xfffffffe), 0xfffffffe)

    def test_cid_in_use(self):
        one, other = self.ready(), self.ready()
        self.assertEqual(self.client.start(one, 0, 20), 20)
        self.fails(self.client.start(other, 0, 20), driver.HYPERVISOR_ERRNO)
        os.close(one)
        self.assertEqual(self.client.start(other, 0, 20), 20)

    def test_chosen_cids(self):
        self.use(first_cid=20)
        one, two, three = self.ready(), self.ready(), self.ready()
        self.assertEqual([self.client.start(one, 0, 21), self.client.start(two),
                          self.client.start(three)], [21, 20, 22])

    def test_other_process(self):
        """Any process that has the descriptor can start it."""
        enclave = self.ready()
        self.assertEqual(in_child(lambda: self.client.start(enclave)), 16)
        self.fails(self.client.start(enclave), NE_ERR_NOT_IN_INIT_STATE)

    def test_exec(self):
        """After an exec the process is another mm."""
        script = ('import ctypes, os, sys\n'
                  'lib = ctypes.CDLL(sys.argv[1], use_errno=True)\n'
                  'info = (ctypes.c_uint64 * 2)(1, 0)\n'
                  'fd = int(sys.argv[2])\n'
                  'if fd < 0:\n'
                  '    dev = lib.open(b"/dev/nitro_enclaves", os.O_RDWR)\n'
                  '    fd = lib.ioctl(dev, ctypes.c_ulong(0x8008ae20), ctypes.byref(info))\n'
                  '    os.set_inheritable(fd, True)\n'
                  '    os.execv(sys.executable, [sys.executable, "-c", sys.argv[3],\n'
                  '                              sys.argv[1], str(fd), ""])\n'
                  'rc = lib.ioctl(fd, ctypes.c_ulong(0xc004ae21), ctypes.byref(info))\n'
                  'print(rc, ctypes.get_errno())\n')
        done = subprocess.run([sys.executable, '-c', script, self.mock.library, '-1', script],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, f'-1 {errno.EIO}\n')

    def test_fault(self):
        enclave = self.ready()
        self.fails(self.client.ioctl(enclave, server.START_ENCLAVE, ctypes.c_void_p(8)),
                   errno.EFAULT)


class EndTest(MockCase):
    PAGES = 40

    def test_hang_up(self):
        """POLLHUP and nothing else, again and again, also with no events asked for."""
        enclave = self.ready()
        self.assertEqual(self.client.poll(enclave), 0)
        self.assertEqual(self.client.start(enclave), 16)
        self.assertEqual(self.client.poll(enclave), 0)
        self.mock.end(1)
        self.wait_for_hang_up(enclave)
        for events in (0, select.POLLIN, select.POLLIN | select.POLLOUT):
            self.assertEqual(self.client.poll(enclave, 0, events), select.POLLHUP)
        self.fails(self.client.start(enclave), NE_ERR_NOT_IN_INIT_STATE)
        self.fails(self.client.vcpu(enclave), NE_ERR_NOT_IN_INIT_STATE)

    def test_dead_enclave_holds(self):
        """CPUs and memory come back when the descriptor is closed, not when the guest ends."""
        self.client.set_pool('1,5')
        enclave = self.ready()
        self.assertEqual(self.client.start(enclave), 16)
        self.mock.end(1)
        self.wait_for_hang_up(enclave)
        device = self.device()
        self.fails(self.client.create(device), NE_ERR_NO_CPUS_AVAIL_IN_POOL)
        self.fails(self.client.set_pool('2,6'), errno.EPERM)
        copy = os.dup(enclave)
        os.close(enclave)
        self.fails(self.client.create(device), NE_ERR_NO_CPUS_AVAIL_IN_POOL)
        os.close(copy)
        self.assertGreaterEqual(fd := self.client.create(device), 0)
        os.close(fd)

    def test_copies(self):
        """A forked child or a passed copy keeps the enclave alive."""
        enclave = self.ready()
        self.assertEqual(self.client.start(enclave), 16)
        self.assertEqual(self.mock.holders(1), [os.getpid()])
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        # the numbers of processes start again some time
        self.assertEqual(self.mock.holders(1), sorted([os.getpid(), child]))
        one, other = socket.socketpair()
        with one, other:
            socket.send_fds(one, [b'x'], [enclave])
            os.close(enclave)
            self.assertEqual(len(self.mock.enclaves()), 1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            self.assertEqual(self.mock.enclaves()[0]['state'], 'running')
        self.mock.wait_closed()
        self.assertEqual(self.mock.transcript(1)[-1], 'closed')

    def test_killed(self):
        """kill -9 of the only holder gives everything back."""
        self.client.set_pool('1,5')
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                enclave = self.ready()
                os.write(writing, b'%d' % self.client.start(enclave))
                signal.pause()
            finally:
                os._exit(1)
        self.assertEqual(os.read(reading, 16), b'16')
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
        self.assertEqual(self.client.start(self.ready()), 16)

    def test_closed_before_start(self):
        enclave = self.ready()
        os.close(enclave)
        self.mock.wait_closed()
        self.assertEqual(len(self.mock.transcript('1')), 4)


class TraceTest(MockCase):
    """The kernel's own driver has answered the same, see devicetrace."""

    CONFIG = {'cpus': 6, 'adjacent': True, 'pool': ''}
    PAGES = devicetrace.PAGES

    def refuse(self, call, number):
        self.mock.fault(call, errno=number, hypervisor=True)

    def max_regions(self, count):
        self.mock.configure(max_regions=count)

    def end(self, cid):
        [number] = [one['number'] for one in self.mock.enclaves() if one['cid'] == cid]
        self.mock.end(number)

    def test_trace(self):
        self.maxDiff = None
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'kernel',
                               'driver.trace'), encoding='ascii') as file:
            self.assertEqual(devicetrace.record(self.client, self), file.read())


if __name__ == '__main__':
    taprunner.main()
