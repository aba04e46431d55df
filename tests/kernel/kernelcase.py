#
# kernelcase.py: what the tests in the guest share
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
KernelTest is the base class of the tests that run in the guest (guest.py), with the kernel's own
driver of the device: an EnclaveTest with the system's daemon. Its Hypervisor is what ne_stub_hv.c
has in debugfs, and enclaves.c plays what is started. A test ends with no slot, no huge page in
use, and no word of a fault in the kernel's log.
"""

import contextlib
import errno
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, os.path.join(TESTS, 'e2e')]

# pylint: disable=wrong-import-position
import daemon
import eifwriter
import taprunner
from daemon import BUILD, wait_until
from e2etest import EnclaveTest, domain_xml, libvirt

MIB = 1 << 20
IMAGE_SIZE = 200000  # what the guest measures takes its time
IMAGE_OFFSET = 8 * MIB
ENCLAVES = os.path.join(BUILD, 'tests', 'kernel', 'enclaves')

# In seconds. A machine that is busy with other tests is ten times as slow as one that is not.
PATIENCE = 180
daemon.START_SECONDS = daemon.STOP_SECONDS = PATIENCE

FAULTS = re.compile(r'BUG|Oops|WARNING|general protection|refcount_t')


class Hypervisor:
    """The stand-in for the hypervisor, see ne_stub_hv.c."""

    DIRECTORY = '/sys/kernel/debug/ne_stub'
    # The ioctl that is served by a request
    REQUESTS = {'NE_SET_USER_MEMORY_REGION': 'SLOT_ADD_MEM', 'NE_ADD_VCPU': 'SLOT_ADD_VCPU',
                'NE_START_ENCLAVE': 'ENCLAVE_START'}

    def path(self, name):
        return os.path.join(self.DIRECTORY, name)

    def read(self, name):
        with open(self.path(name), encoding='ascii') as file:
            return file.read()

    def control(self, text):
        with open(self.path('ctl'), 'w', encoding='ascii') as file:
            file.write(text)

    def forget(self):
        """Empties the log, and takes back what was asked for."""
        self.control('reset')
        with open(self.path('log'), 'w', encoding='ascii') as file:
            file.write('\n')

    def log(self):
        """The requests since forget(), without their numbers, times and processes."""
        return [line.split(') ', 1)[1] for line in self.read('log').splitlines()]

    def requests(self):
        """The names of the requests, in order."""
        return [line.split()[0] for line in self.log()]

    def slots(self):
        """A dict for each slot: slot, state, cid, flags, regions, mem, pid, comm, vcpus."""
        return [dict(word.split('=', 1) for word in line.split())
                for line in self.read('slots').splitlines()]

    def memory(self, slot, offset, size):
        """Bytes of the memory of the enclave in @slot."""
        with open(self.path(f'slot-{slot}/mem'), 'rb') as file:
            file.seek(offset)
            return file.read(size)

    def refuse(self, call, number, skip=0):
        """See devicetrace."""
        self.control(f'inject {self.REQUESTS.get(call, call)} {number} 1 {skip}')

    def max_regions(self, count):
        self.control(f'max_regions {count}')

    def end(self, cid):
        self.control(f'exit cid={cid}')


def huge_pages(name):
    with open(f'/sys/kernel/mm/hugepages/hugepages-2048kB/{name}_hugepages',
              encoding='ascii') as file:
        return int(file.read())


def kernel_log():
    """What the kernel has said so far, a list of lines."""
    lines = []
    fd = os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            lines.append(os.read(fd, 8192).decode(errors='replace'))
    except BlockingIOError:
        return lines
    finally:
        os.close(fd)


class KernelTest(EnclaveTest):

    system = True
    seconds = 3 * PATIENCE
    POOL = '2-5'
    WARM_UP = {}  # what the first domain has of its own
    # how the program that plays the enclaves is run
    ENCLAVES = ('--echo', '7', '--text', 'the console of an enclave\n')

    @classmethod
    def setUpClass(cls):
        cls.hypervisor = Hypervisor()
        cls.players = subprocess.Popen([ENCLAVES, *cls.ENCLAVES], stdout=sys.stderr)
        cls.addClassCleanup(cls.players.wait)
        cls.addClassCleanup(cls.players.kill)
        super().setUpClass()

    @classmethod
    def warm_up(cls):
        cls.image = os.path.join(cls.daemon.dir, 'image.eif')
        half = IMAGE_SIZE // 2
        image = eifwriter.simple(kernel=os.urandom(half), ramdisks=(os.urandom(half), b'app'))
        image.write(cls.image)
        conn = libvirt.open(cls.daemon.uri)
        conn.createXML(cls.xml('warm-up', **cls.WARM_UP), 0).destroy()
        conn.close()
        wait_until(lambda: not cls.living(), PATIENCE, 'the end of the broker')

    @classmethod
    def living(cls):
        return {pid: name for pid, name in super().living().items() if name != 'enclaves'}

    @classmethod
    def xml(cls, name, cid=None, debug='no', **more):
        """The domain @name with an enclave of two vCPUs and 64 MiB."""
        defaults = {'boot': f'<kernel>{cls.image}</kernel>', 'machine': 'nitro', 'memory': '64',
                    'vcpu': '<vcpu>2</vcpu>'}
        if cid is not None:
            more['devices'] = more.get('devices', '') + \
                f"<vsock><cid auto='no' address='{cid}'/></vsock>"
        text = domain_xml(name, **{**defaults, **more})
        return text.replace("debug='yes'", f"debug='{debug}'")

    def setUp(self):
        self.assertEqual(self.hypervisor.slots(), [])
        self.hypervisor.forget()
        self.free_pages = huge_pages('free')
        self.faults = self.count_faults()
        super().setUp()

    @staticmethod
    def count_faults():
        return sum(bool(FAULTS.search(line)) for line in kernel_log())

    def check_nothing_left(self):
        super().check_nothing_left()
        self.assertEqual(self.hypervisor.slots(), [])
        self.assertEqual(huge_pages('free'), self.free_pages)
        if self.count_faults() > self.faults:
            self.fail('the kernel has a fault: ' + ''.join(kernel_log()[-60:]))

    def left(self):
        # the broker stays for two seconds
        wait_until(lambda: not super(KernelTest, self).left(), PATIENCE, 'the end of all processes')
        return super().left()

    def create(self, name, **more):
        return self.conn.createXML(self.xml(name, **more), 0)

    def slot(self):
        """The only one"""
        [slot] = self.hypervisor.slots()
        return slot

    @staticmethod
    def cid_of(dom):
        cid = ElementTree.fromstring(dom.XMLDesc(0)).find('devices/vsock/cid')
        return cid.get('address')

    def refuse_start(self, code, *texts, **more):
        """The start fails; nothing is left of the domain."""
        with self.refused(code, *texts):
            self.create('refused', **more)
        self.assertEqual(self.conn.listAllDomains(), [])

    @contextlib.contextmanager
    def pool(self, text):
        """The CPU pool is @text; '\\n' empties it, which the driver calls an error."""
        def write(value):
            with open('/sys/module/nitro_enclaves/parameters/ne_cpus', 'w',
                      encoding='ascii') as file:
                file.write(value)
        try:
            write(text)
        except OSError as error:
            if text != '\n' or error.errno != errno.EINVAL:
                raise
        try:
            yield
        finally:
            write(self.POOL)


def main():
    if not os.path.exists(Hypervisor.DIRECTORY):
        sys.exit('this runs in the guest: see guest.py')
    daemon.enter_private_system()
    taprunner.main()
