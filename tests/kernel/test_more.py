#
# test_more.py: what takes longer on the kernel's own driver of the device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs in the guest (guest.py): the class More on the machine "plain", Numa and Gigantic on those of
their names. See kernelcase.py.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import random
import signal
import struct
import subprocess

import kernelcase
from kernelcase import PATIENCE, KernelTest, huge_pages, libvirt

from daemon import BUILD, NOBODY, SETPRIV, wait_until
from e2etest import BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED, Background

MODULE = os.path.join(BUILD, 'tests', 'kernel', 'guest', 'module', 'nitro_enclaves.ko')
ROUNDS = 30
PAGES = 32  # that an enclave of 64 MiB has
GROUP = 60991  # of the device, for whom it is open
FAILED = libvirt.VIR_ERR_OPERATION_FAILED

HUGE = 2 * 1024 * 1024  # bytes of a huge page
MAP_HUGETLB = 0x40000   # <linux/mman.h>


def load_again():
    """
    What the driver and the hypervisor have lost is there again, but for the pages, which stay
    pinned. A helper that is about to end uses the driver still, and so does who looks at its
    slots (enclaves.c).
    """
    wait_until(lambda: subprocess.run(['busybox', 'rmmod', 'nitro_enclaves'], check=False,
                                      stderr=subprocess.DEVNULL).returncode == 0,
               PATIENCE, 'the end of all that use the driver')
    for cpu in range(2, 6):
        # it brings back only those of the pool that no enclave has
        with open(f'/sys/devices/system/cpu/cpu{cpu}/online', 'w', encoding='ascii') as online:
            online.write('1\n')
    subprocess.run(['busybox', 'insmod', MODULE, f'ne_cpus={KernelTest.POOL}'], check=True)
    os.chmod('/dev/nitro_enclaves', 0o660)


def number_of(page):
    """Which of the machine's huge pages is behind the mapping @page, as /proc/PID/pagemap tells"""
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    with open('/proc/self/pagemap', 'rb', buffering=0) as pagemap:
        pagemap.seek(address // mmap.PAGESIZE * 8)
        entry, = struct.unpack('<Q', pagemap.read(8))
    return (entry & ((1 << 55) - 1)) * mmap.PAGESIZE // HUGE


class More(KernelTest):

    def scatter_pages(self):
        """No two free huge pages are neighbours any more: enclaves have a region for each page."""
        before = self.free_pages
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB
        pages = [mmap.mmap(-1, HUGE, flags=flags) for _ in range(before)]
        for page in pages:
            page[0] = 1

        def give_back():
            for page in pages:
                page.close()
            self.free_pages = before

        self.addCleanup(give_back)
        for page in pages:
            if number_of(page) % 2 == 0:
                page.close()
        self.free_pages = huge_pages('free')
        self.assertGreaterEqual(self.free_pages, PAGES)

    def test_refused(self):
        """each request is refused once, with errors of several kinds"""
        self.scatter_pages()
        dom = self.create('good')
        requests = self.hypervisor.requests()
        dom.destroy()
        for request, call in (('SLOT_ADD_MEM', 'NE_SET_USER_MEMORY_REGION'),
                              ('SLOT_ADD_VCPU', 'NE_ADD_VCPU'),
                              ('ENCLAVE_START', 'NE_START_ENCLAVE')):
            count = requests.count(request)
            self.assertGreater(count, 0)
            for skip in sorted({0, count // 2, count - 1}):
                for number in errno.EPERM, errno.EIO, errno.EEXIST:
                    with self.subTest((request, skip, errno.errorcode[number])):
                        self.hypervisor.refuse(request, number, skip)
                        self.refuse_start(FAILED, f'The Nitro Hypervisor refused {call}')
                        self.wait_slots(0)
                        self.assertEqual(huge_pages('free'), self.free_pages)

    def wait_slots(self, count):
        wait_until(lambda: len(self.hypervisor.slots()) == count, PATIENCE, f'{count} slots')

    def test_end_refused(self):
        """the hypervisor does not give an enclave back: the domain ends, the next start says why"""
        for request in 'ENCLAVE_STOP', 'SLOT_FREE':
            with self.subTest(request):
                try:
                    self.lose_enclave(request)
                finally:
                    load_again()
                self.free_pages -= PAGES
                self.create('well').destroy()
        self.wait_slots(0)

    def lose_enclave(self, request):
        one, two = self.create('one'), self.create('two')
        self.hypervisor.refuse(request, errno.EIO)
        one.destroy()
        two.destroy()
        self.assertEqual(self.conn.listAllDomains(), [])
        self.create('fits').destroy()
        self.refuse_start(FAILED, 'CPU', vcpu='<vcpu>4</vcpu>')
        self.wait_slots(1)

    def test_delayed(self):
        """a hypervisor that takes its time"""
        for request, delay in (('SLOT_ALLOC', 2000), ('SLOT_ADD_MEM', 100),
                               ('SLOT_ADD_VCPU', 1500), ('ENCLAVE_START', 3000),
                               ('ENCLAVE_STOP', 2000), ('SLOT_FREE', 2000)):
            with self.subTest(request):
                self.hypervisor.control(f'delay {request} {delay}')
                dom = self.create('slow')
                self.assertState(dom, RUNNING, BOOTED)
                dom.destroy()
                self.wait_slots(0)
                self.hypervisor.forget()

    def test_destroyed_meanwhile(self):
        """a start that waits for the hypervisor is destroyed"""
        for request in 'SLOT_ALLOC', 'SLOT_ADD_VCPU', 'ENCLAVE_START':
            with self.subTest(request):
                self.hypervisor.control(f'delay {request} 3000')
                creation = Background(self.conn.createXML, self.xml('waits'), 0)
                wait_until(lambda: any(dom.name() == 'waits' for dom in
                                       self.conn.listAllDomains()), PATIENCE, 'the domain')
                wait_until(lambda: self.left_helpers(), PATIENCE, 'the helper')
                self.conn.lookupByName('waits').destroy()
                with self.assertRaises(libvirt.libvirtError):
                    creation.result()
                self.hypervisor.forget()
                self.wait_slots(0)

    def left_helpers(self):
        return [name for name in self.living().values() if name == 'libvirt_nitro']

    def test_regions(self):
        """a device that takes fewer pieces of memory than the pages are"""
        self.scatter_pages()
        dom = self.create('pieces')
        self.assertEqual(int(self.slot()['regions']), PAGES)
        dom.destroy()
        self.hypervisor.max_regions(10)
        self.refuse_start(FAILED, 'in more pieces')
        self.hypervisor.max_regions(2048)
        self.create('enough').destroy()

    def test_session(self):
        """a user's own daemon: the device is for a group"""
        os.chown('/dev/nitro_enclaves', 0, GROUP)
        self.addCleanup(os.chown, '/dev/nitro_enclaves', 0, 0)
        for groups, good in (['--clear-groups'], False), ([f'--groups={GROUP}'], True):
            with self.subTest(good), self.session(groups) as conn:
                if good:
                    dom = conn.createXML(self.xml('own'), 0)
                    self.assertEqual(dom.state(), [RUNNING, BOOTED])
                    self.assertEqual(self.slot()['state'], 'running')
                    dom.destroy()
                    del dom
                else:
                    with self.refused(libvirt.VIR_ERR_OPERATION_DENIED, '/dev/nitro_enclaves', 'usermod'):
                        conn.createXML(self.xml('own'), 0)

    @contextlib.contextmanager
    def session(self, groups):
        own = kernelcase.daemon.NitroDaemon()
        own.prefix = [SETPRIV, f'--reuid={NOBODY}', f'--regid={NOBODY}', *groups]
        try:
            own.start()
            conn = libvirt.open(own.uri)
            try:
                yield conn
            finally:
                conn.close()
        finally:
            own.stop()
            own.remove()

    def test_rounds(self):
        """enclaves that end in all ways, one after the other"""
        chance = random.Random(4)
        for number in range(ROUNDS):
            with self.subTest(number):
                name = f'round-{number}'
                dom = self.create(name, cid=chance.choice([None, 1000 + number]))
                slot = self.slot()
                end = chance.choice(['destroy', 'exit', 'kill', 'daemon'])
                if end == 'exit':
                    self.hypervisor.end(slot['cid'])
                    self.events.check(name, [STARTED, SHUTDOWN], PATIENCE)
                elif end == 'kill':
                    os.kill(int(slot['pid']), signal.SIGKILL)
                    self.events.check(name, [STARTED, CRASHED], PATIENCE)
                else:
                    if end == 'daemon':
                        self.daemon.kill()
                        self.daemon.start()
                        self.reconnect()
                    self.conn.lookupByName(name).destroy()
                del dom
                self.wait_slots(0)


class Wrong(KernelTest):

    ENCLAVES = ('--byte', '1')
    WARM_UP = {'heartbeat': 'no'}

    def test_heartbeat(self):
        self.refuse_start(FAILED, '0x01', '0xb7')


class Silent(KernelTest):

    ENCLAVES = ('--no-heartbeat',)
    WARM_UP = {'heartbeat': 'no'}

    def test_heartbeat(self):
        xml = self.xml('silent').replace("heartbeat enabled='yes'",
                                         "heartbeat enabled='yes' timeout='5'")
        with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, '5 seconds'):
            self.conn.createXML(xml, 0)


class Numa(KernelTest):
    """The CPU pool is on node 1, and so are the huge pages."""

    POOL = '4-5'

    def test_node(self):
        dom = self.create('near')
        self.assertEqual(self.slot()['vcpus'], '4,5')
        dom.destroy()

    def test_other_node(self):
        self.reserve(1, 0)
        self.addCleanup(self.reserve, 1, 200)
        self.addCleanup(self.reserve, 0, 0)
        self.reserve(0, 100)
        self.refuse_start((FAILED, libvirt.VIR_ERR_NO_MEMORY), 'node')

    def reserve(self, node, count):
        path = f'/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages'
        with open(path, 'w', encoding='ascii') as file:
            file.write(f'{count}\n')


class Gigantic(KernelTest):

    def test_page(self):
        """one page of 1 GiB is one region"""
        dom = self.create('large', memory='1024', elements=(
            "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>"))
        slot = self.slot()
        self.assertEqual((slot['regions'], slot['mem']), ('1', str(1 << 30)))
        self.assertState(dom, RUNNING, BOOTED)
        dom.destroy()


if __name__ == '__main__':
    kernelcase.main()
