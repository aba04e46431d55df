#
# test_driver.py: domains on the kernel's own driver of the device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs in the guest (guest.py): daemon, helper, broker and checking program of the build tree, with
their sandboxes, under the distribution's libvirt-python and virsh. See kernelcase.py.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import unittest

import kernelcase
from kernelcase import (HERE, IMAGE_OFFSET, PATIENCE, Hypervisor, KernelTest, huge_pages,
                        libvirt)

import devicetrace
from daemon import HELPER_ID, wait_until
from e2etest import BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED, StreamConsole
from nitrodevclient import Client
from test_services import inbound_unix
from test_services_more import outbound_unix
from vsockclient import ECHO, receive_all

# A program of the enclave with the CID argv[1] (ne_stub_vsock.c), which asks the parent's port argv[2]
PROGRAM = """
import socket, sys
part = open('/dev/ne_stub_vsock', 'w')
part.write(sys.argv[1])
part.flush()
with socket.socket(socket.AF_VSOCK) as conn:
    conn.bind((int(sys.argv[1]), socket.VMADDR_PORT_ANY))
    conn.connect((3, int(sys.argv[2])))
    conn.sendall(b'a question')
    conn.shutdown(socket.SHUT_WR)
    print(conn.recv(100).decode())
"""

START = ['SLOT_ALLOC', 'SLOT_ADD_MEM', 'SLOT_ADD_VCPU', 'SLOT_ADD_VCPU', 'START_NOTE',
         'ENCLAVE_START']
CLOSE = ['ENCLAVE_STOP', 'SLOT_FREE']


class Driver(KernelTest):

    def shortened(self):
        """The requests, those for memory that follow each other as one"""
        found = []
        for name in self.hypervisor.requests():
            if name != 'SLOT_ADD_MEM' or found[-1] != name:
                found.append(name)
        return found

    def assert_enclave(self, dom, cid=None):
        """@dom runs, in the only slot."""
        self.assertState(dom, RUNNING, BOOTED)
        slot = self.slot()
        self.assertEqual((slot['state'], slot['mem'], slot['comm']),
                         ('running', str(64 << 20), 'libvirt_nitro'))
        self.assertEqual(self.cid_of(dom), slot['cid'])
        if cid:
            self.assertEqual(slot['cid'], str(cid))
        return slot

    def test_create(self):
        """heartbeat, a CID that the hypervisor chooses, the image in the enclave's memory"""
        dom = self.create('plain')
        slot = self.assert_enclave(dom)
        self.assertGreaterEqual(int(slot['cid']), 16)
        self.assertEqual(slot['vcpus'], '2,3')
        self.assertEqual(slot['flags'], '0x0')
        with open(self.image, 'rb') as file:
            image = file.read()
        found = self.hypervisor.memory(slot['slot'], IMAGE_OFFSET, len(image) + 4096)
        self.assertTrue(found[:len(image)] == image, 'the image differs')
        self.assertFalse(any(found[len(image):]), 'something is behind it')
        self.assertEqual(self.shortened(), START)
        [note] = [line for line in self.hypervisor.log() if line.startswith('START_NOTE')]
        self.assertIn('eif_magic=yes late_write_blocks=0', note)
        dom.destroy()
        self.assertEqual(self.shortened(), START + CLOSE)

    def test_virsh(self):
        """stock virsh, with a CID that the domain asks for"""
        path = self.path('xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(self.xml('fixed', cid=4321))
        done = self.daemon.virsh('create', path, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, '\n' if done.stderr == '\n' else ''))
        dom = self.conn.lookupByName('fixed')
        self.assert_enclave(dom, 4321)
        dom.destroy()

    def test_two(self):
        """two enclaves at once, and no CPUs for a third one"""
        one, two = self.create('one'), self.create('two', cid=99)
        slots = self.hypervisor.slots()
        self.assertEqual([slot['vcpus'] for slot in slots], ['2,3', '4,5'])
        self.assertEqual(slots[1]['cid'], '99')
        self.refuse_more()
        for dom in one, two:
            dom.destroy()

    def refuse_more(self):
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, 'CPU'):
            self.create('three')

    def test_console(self):
        dom = self.create('console', debug='yes', devices="<console type='pty'/>")
        slot = self.assert_enclave(dom)
        self.assertEqual(slot['flags'], '0x1')
        console = StreamConsole(self.conn, dom)
        console.wait('the console of an enclave', PATIENCE)
        console.close()
        dom.destroy()

    def test_confined(self):
        """the helper that has the enclave is nobody who may do anything"""
        dom = self.create('confined')
        with open(f'/proc/{self.helper_of(dom)}/status', encoding='ascii') as file:
            status = dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)
        self.assertEqual(status['Uid'].split(), [str(HELPER_ID)] * 4)
        self.assertEqual((status['Seccomp'], status['NoNewPrivs'], int(status['CapEff'], 16)),
                         ('2', '1', 0))
        dom.destroy()

    def test_services(self):
        """both ways between host and enclave, by the kernel's vsock"""
        inside, outside = (os.path.join(self.daemon.dir, name) for name in ('in.sock', 'out.sock'))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(outside)
            os.chmod(outside, 0o666)
            listener.listen()
            listener.settimeout(PATIENCE)
            dom = self.create('served', devices=inbound_unix(ECHO, inside) +
                              outbound_unix(8443, outside))
            slot = self.assert_enclave(dom)
            with socket.socket(socket.AF_UNIX) as conn:
                conn.settimeout(PATIENCE)
                conn.connect(inside)
                conn.sendall(b'to the enclave')
                self.assertEqual(conn.recv(100), b'to the enclave')
            asker = subprocess.Popen([sys.executable, '-c', PROGRAM, slot['cid'], '8443'],
                                     stdout=subprocess.PIPE)
            with listener.accept()[0] as conn:
                self.assertEqual(receive_all(conn), b'a question')
                conn.sendall(b'an answer')
            self.assertEqual(asker.communicate(timeout=PATIENCE)[0], b'an answer\n')
        dom.destroy()
        self.assertFalse(os.path.exists(inside))

    def test_helper_killed(self):
        dom = self.create('victim')
        slot = self.assert_enclave(dom)
        self.hypervisor.forget()
        os.kill(int(slot['pid']), signal.SIGKILL)
        self.events.check('victim', [STARTED, CRASHED], PATIENCE)
        wait_until(lambda: not self.hypervisor.slots(), PATIENCE, 'the end of the enclave')
        self.assertEqual(self.hypervisor.requests(), CLOSE)

    def test_daemon_killed(self):
        """the enclave goes on without a daemon; the next one sees its end"""
        dom = self.create('lasting')
        slot = self.assert_enclave(dom)
        self.daemon.kill()
        self.assertEqual(self.slot(), slot)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName('lasting')
        self.assertEqual(self.assert_enclave(dom), slot)
        self.hypervisor.end(slot['cid'])
        self.events.check('lasting', [SHUTDOWN], PATIENCE)

    def test_reboot(self):
        dom = self.create('again')
        before = self.assert_enclave(dom)
        dom.reboot()
        def after():
            slots = self.hypervisor.slots()
            return len(slots) == 1 and slots[0]['slot'] != before['slot'] and \
                slots[0]['state'] == 'running'
        wait_until(after, PATIENCE, 'another enclave')
        self.wait_state(dom, RUNNING, BOOTED, PATIENCE)
        self.assert_enclave(dom)
        dom.destroy()

    def test_ends(self):
        """the hypervisor ends the enclave"""
        dom = self.create('short')
        slot = self.assert_enclave(dom)
        self.hypervisor.forget()
        self.hypervisor.end(slot['cid'])
        self.events.check('short', [STARTED, SHUTDOWN], PATIENCE)
        wait_until(lambda: not self.hypervisor.slots(), PATIENCE, 'the end of the enclave')
        self.assertEqual(self.hypervisor.requests(), ['EXIT', 'SLOT_INFO', 'SLOT_FREE'])

    def test_errors(self):
        """what the driver refuses is said in a sentence"""
        for texts, more in (
                (['CPU 1'], {'vcpu': "<vcpu cpuset='1'>1</vcpu>"}),
                (['CPU pool', '2-5'], {'vcpu': '<vcpu>8</vcpu>'}),
                (['huge pages'], {'memory': '2048'})):
            with self.subTest(more):
                self.refuse_start((libvirt.VIR_ERR_OPERATION_FAILED,
                                   libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
                                   libvirt.VIR_ERR_NO_MEMORY), *texts, **more)

    def test_no_pool(self):
        with self.pool('\n'):
            self.refuse_start(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, 'CPU pool')

    def test_refused(self):
        """the hypervisor refuses a request: the call and its error are named, nothing is left"""
        for call in 'NE_SET_USER_MEMORY_REGION', 'NE_ADD_VCPU', 'NE_START_ENCLAVE':
            with self.subTest(call):
                self.hypervisor.refuse(call, errno.EIO)
                self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED,
                                  f'The Nitro Hypervisor refused {call}: Input/output error')
                wait_until(lambda: not self.hypervisor.slots(), PATIENCE, 'the end of the slot')
                self.assertEqual(huge_pages('free'), self.free_pages)


class Trace(unittest.TestCase):

    maxDiff = None

    def test_trace(self):
        """the driver answers as it did when driver.trace was recorded"""
        trace = devicetrace.record(Client(), Hypervisor())
        if 'KERNELTEST_RECORD' in os.environ:
            with open(os.environ['KERNELTEST_RECORD'], 'w', encoding='ascii') as file:
                file.write(trace)
        with open(os.path.join(HERE, 'driver.trace'), encoding='ascii') as file:
            self.assertEqual(trace, file.read())


if __name__ == '__main__':
    kernelcase.main()
