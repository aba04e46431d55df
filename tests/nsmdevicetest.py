# nsmdevicetest.py: the emulated NSM as a device, with this test as QEMU and as the guest
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs the built libvirt_nitro_nsm, speaks vhost-user to it, and plays Linux' driver in a memfd: one
# split ring, in which a request and the buffer for its reply are two chains. At last the helper runs
# it, and this test is the QEMU that the helper runs.

import array
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from cryptography import x509

import fakeqemu
import helpertest
import nsmclient
import taprunner
import vsockdevicetest
from nsmclient import encode
from nsmtest import INSTANCE, MODULE, ROLE, ZERO, extend
from vsockdevicetest import (FEATURES, GET_FEATURES, GET_PROTOCOL_FEATURES, GET_VRING_BASE,
                             INDIRECT, MIB, NEXT, SET_FEATURES, SET_MEM_TABLE,
                             SET_PROTOCOL_FEATURES, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_CALL,
                             SET_VRING_ENABLE, SET_VRING_KICK, SET_VRING_NUM, SHORT, WRITE)

PROGRAM = os.path.join(os.environ['LIBVIRT_NITRO_BUILD'], 'src', 'nsm', 'libvirt_nitro_nsm')
REPLY = 0x3000  # the buffer that Linux has for one
REGISTERS = {0: b'\1' * 48, 1: b'\2' * 48, 2: b'\3' * 48, 8: b'\4' * 48}


def registers(values=None, end='end\n'):
    """What is written to --registers-fd"""
    return ''.join(f'{number}={value.hex()}\n'
                   for number, value in (values or REGISTERS).items()).encode() + end.encode()


class Guest(vsockdevicetest.GuestMemory):
    """The guest's driver: one ring. Guest physical and QEMU's addresses differ on purpose."""

    SIZE = 4 * MIB
    USER = 0x7f1000000000
    BASE, REQUEST, BUFFER = 0x10000, 1 * MIB, 2 * MIB

    def __init__(self, front):
        super().__init__(front)
        self.ring = self.add_ring(self.BASE, 16)

    def set_up(self, features=FEATURES):
        """All that makes the ring run but its being enabled"""
        front, ring = self.front, self.ring
        front.send(SET_FEATURES, struct.pack('<Q', features))
        table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', 0, self.SIZE, self.USER, 0)
        assert front.acked(SET_MEM_TABLE, table, [self.memfd])
        front.send(SET_VRING_NUM, struct.pack('<II', 0, ring.size))
        front.send(SET_VRING_BASE, struct.pack('<II', 0, 0))
        addresses = [self.USER + part for part in (ring.desc, ring.used, ring.avail)]
        front.send(SET_VRING_ADDR, struct.pack('<IIQQQQ', 0, 0, *addresses, 0))
        front.send(SET_VRING_KICK, struct.pack('<Q', 0), [ring.kick])

    def enable(self, on=1):
        assert self.front.acked(SET_VRING_ENABLE, struct.pack('<II', 0, on))

    def stop(self):
        self.enable(0)
        self.front.ask(GET_VRING_BASE, struct.pack('<II', 0, 0))
        self.ring.reset()

    def post(self, request, *, pieces=1, size=REPLY, split=1, wake=True):
        """Posts @request in so many descriptors, and a buffer of @size bytes in @split of them."""
        self.write(self.REQUEST, request)
        self.write(self.BUFFER, b'\xee' * size)
        heads = [self.ring.add(self.cut(self.REQUEST, len(request), pieces)),
                 self.ring.add(self.cut(self.BUFFER, size, split), WRITE)]
        if wake:
            self.ring.wake()
        return heads

    @staticmethod
    def cut(address, size, pieces):
        ends = [size * i // pieces for i in range(pieces + 1)]
        return [(address + start, end - start) for start, end in zip(ends, ends[1:])]

    def used(self):
        """The next chain that was given back"""
        end = time.monotonic() + SHORT
        while (entry := self.ring.take()) is None:
            if time.monotonic() > end:
                raise AssertionError('the device does not answer')
            self.ring.wait(0.05)
        return entry

    def raw(self, request, **fields):
        """The bytes of the reply; both chains come back in order, the first with no bytes."""
        heads = self.post(request, **fields)
        first, second = self.used(), self.used()
        assert first == (heads[0], 0), (first, heads)
        assert second[0] == heads[1], (second, heads)
        return self.read(self.BUFFER, second[1])

    def ask(self, request, **fields):
        return nsmclient.decode(self.raw(encode({request: fields} if fields else request)))

    def idle(self):
        """
        Nothing was answered, and the ring has been looked at: that is after no more than so many
        messages (VHOST_USER_BATCH), as they come.
        """
        for _ in range(32 + 1):
            self.front.number(GET_FEATURES)
        return self.ring.take() is None


class DeviceCase(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='nsmdevicetest-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.process = None

    def run_program(self, *args, fds=()):
        return subprocess.run([PROGRAM, *args], capture_output=True, timeout=60, pass_fds=fds,
                              check=False, env={**os.environ, 'LC_ALL': 'C.UTF-8'}, text=True)

    def issue(self, module=MODULE, directory=None):
        """The memfd of a new identity below the root in the test's directory"""
        identity = os.memfd_create('identity')
        self.addCleanup(os.close, identity)
        fd = os.open(directory or self.dir, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        self.issued = self.run_program('--issue', '--directory-fd', str(fd), '--directory', self.dir,
                                       '--module-id', module, '--identity-fd', str(identity),
                                       fds=[fd, identity])
        os.lseek(identity, 0, os.SEEK_SET)
        return identity

    def start(self, *args, identity=None, debug=False):
        """Starts the NSM; the pipe of the registers is self.registers, without debug mode."""
        identity = self.issue() if identity is None else identity
        ours, theirs = socket.socketpair()
        fds, args = [identity, theirs.fileno()], list(args)
        if debug:
            args.append('--debug')
        else:
            read, self.registers = os.pipe()
            fds.append(read)
            args += ['--registers-fd', str(read)]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [PROGRAM, '--identity-fd', str(identity), '--vhost-user-fd', str(theirs.fileno()), *args],
            pass_fds=fds, stderr=subprocess.PIPE, text=True, env={**os.environ, 'LC_ALL': 'C.UTF-8'})
        self.addCleanup(self.end)
        theirs.close()
        if not debug:
            os.close(read)
        self.guest = Guest(vsockdevicetest.FrontEnd(ours.detach()))
        self.addCleanup(self.guest.close)
        return self.guest

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self.process.stderr.close()

    def tell(self, data=None):
        os.write(self.registers, registers() if data is None else data)
        os.close(self.registers)

    def boot(self, *args, **fields):
        guest = self.start(*args, **fields)
        if not fields.get('debug'):
            self.tell()
        guest.hello()
        guest.set_up()
        guest.enable()
        return guest

    def ended(self, status, text=None):
        """The NSM has ended with @status, and @text in its log."""
        log = self.process.stderr.read()
        self.assertEqual(self.process.wait(60), status, log)
        if text:
            self.assertIn(text, log)


class Device(DeviceCase):
    def test_hello(self):
        """QEMU insists on a feature, and asks how many queues there are"""
        guest = self.start(debug=True)
        offered, _, queues = guest.hello()
        self.assertEqual(queues, 1)
        self.assertEqual(offered & FEATURES, FEATURES)
        # it has no configuration space, of which QEMU would warn
        self.assertEqual(guest.front.number(GET_PROTOCOL_FEATURES) & 1 << 9, 0)
        self.assertFalse(guest.front.acked(SET_PROTOCOL_FEATURES, struct.pack('<Q', 1 << 9)))

    def test_requests(self):
        guest = self.boot('--role', ROLE, '--instance', INSTANCE)
        self.assertEqual(len(guest.ask('GetRandom')['GetRandom']['random']), 256)
        self.assertEqual(guest.ask('DescribeNSM')['DescribeNSM']['module_id'], MODULE)
        expected = {**REGISTERS, 3: extend(ZERO, ROLE.encode()), 4: extend(ZERO, INSTANCE.encode())}
        for index in range(32):
            with self.subTest(index):
                self.assertEqual(guest.ask('DescribePCR', index=index)['DescribePCR'],
                                 {'lock': index < 16, 'data': expected.get(index, ZERO)})
        self.assertEqual(guest.ask('Nothing'), {'Error': 'InvalidOperation'})

    def test_debug(self):
        guest = self.boot(debug=True)
        for index in range(16):
            self.assertEqual(guest.ask('DescribePCR', index=index)['DescribePCR'],
                             {'lock': True, 'data': ZERO})

    def test_document(self):
        guest = self.boot()
        reply = guest.ask('Attestation', nonce=b'nonce', user_data=bytes(1024), public_key=b'k' * 1024)
        with open(os.path.join(self.dir, 'nsm-root.pem'), 'rb') as f:
            root = x509.load_pem_x509_certificate(f.read())
        document = nsmclient.verify(reply['Attestation']['document'], root)
        self.assertEqual((document['module_id'], document['nonce']), (MODULE, b'nonce'))
        self.assertEqual(document['pcrs'], {**dict.fromkeys(range(16), ZERO), **REGISTERS})

    def test_ring(self):
        """Many requests, so that the ring goes round and its indices wrap"""
        guest = self.boot()
        value = ZERO
        for count in range(33000):
            if count < 100 or count > 32900:
                value = extend(value, b'x')
                self.assertEqual(guest.ask('ExtendPCR', index=16, data=b'x'),
                                 {'ExtendPCR': {'data': value}})
            elif guest.raw(encode('DescribeNSM'))[:1] != b'\xa1':
                self.fail('another reply')

    def test_pieces(self):
        """Requests and buffers in many descriptors, and buffers that are too small"""
        guest = self.boot()
        request = encode({'ExtendPCR': {'index': 20, 'data': b'y' * 300}})
        value = extend(ZERO, b'y' * 300)
        self.assertEqual(nsmclient.decode(guest.raw(request, pieces=7, split=8)),
                         {'ExtendPCR': {'data': value}})
        self.assertEqual(nsmclient.decode(guest.raw(encode('DescribeNSM'), size=22)),
                         {'Error': 'BufferTooSmall'})
        # as large as the reply is: of a locked register
        request = encode({'DescribePCR': {'index': 5}})
        size = len(guest.raw(request))
        self.assertIn('DescribePCR', nsmclient.decode(guest.raw(request, size=size)))
        self.assertEqual(nsmclient.decode(guest.raw(request, size=size - 1)),
                         {'Error': 'BufferTooSmall'})

    def test_large(self):
        guest = self.boot()
        self.assertEqual(nsmclient.decode(guest.raw(b'\x81' * 4096, pieces=3)),
                         {'Error': 'InvalidOperation'})
        self.assertEqual(nsmclient.decode(guest.raw(b'\x81' * 4097, pieces=3)),
                         {'Error': 'InputTooLarge'})
        self.assertEqual(nsmclient.decode(guest.raw(bytes(900000), pieces=9)),
                         {'Error': 'InputTooLarge'})

    def test_two_kicks(self):
        """A driver that tells of the request and of the buffer is told to do both"""
        guest = self.boot()

        def wants_next():
            event, = struct.unpack('<H', guest.read(guest.ring.used + 4 + 8 * guest.ring.size, 2))
            return event == guest.ring.next

        guest.ask('DescribeNSM')
        for _ in range(3):
            self.assertTrue(guest.idle())
            helpertest.wait_for(wants_next)
            guest.write(guest.REQUEST, encode('GetRandom'))
            guest.ring.add([(guest.REQUEST, len(encode('GetRandom')))])
            guest.ring.wake()
            self.assertTrue(guest.idle())
            helpertest.wait_for(wants_next)
            guest.ring.add([(guest.BUFFER, REPLY)], WRITE)
            guest.ring.wake()
            guest.used()
            self.assertGreater(guest.used()[1], 256)


class Start(DeviceCase):
    def test_not_before_enabled(self):
        """Linux asks while it probes: an answer on a descriptor that is replaced would be lost"""
        guest = self.start(debug=True)
        guest.hello()
        guest.set_up()
        heads = guest.post(encode('GetRandom'))
        self.assertTrue(guest.idle())
        call = os.eventfd(0, os.EFD_NONBLOCK)
        guest.front.send(SET_VRING_CALL, struct.pack('<Q', 0), [call])
        guest.enable()
        self.assertEqual(select.select([call], [], [], SHORT)[0], [call])
        os.close(call)
        self.assertEqual([guest.used()[0], guest.used()[0]], heads)

    def test_not_before_registers(self):
        """The registers are asked for before they are known"""
        guest = self.start()
        guest.hello()
        guest.set_up()
        guest.enable()
        guest.post(encode({'DescribePCR': {'index': 0}}))
        text = registers()
        for piece in (text[:5], text[5:200], text[200:-2]):
            os.write(self.registers, piece)
            self.assertTrue(guest.idle())
        self.tell(text[-2:])
        guest.used()
        reply = nsmclient.decode(guest.read(guest.BUFFER, guest.used()[1]))
        self.assertEqual(reply['DescribePCR']['data'], REGISTERS[0])

    def test_registers_refused(self):
        """What is told wrongly ends it: never is there an NSM that looks like a debug mode"""
        good = registers()
        three = {number: REGISTERS[number] for number in (0, 1, 2)}
        wrong = 'are not told as "N=HEX"'
        for name, text, error in (
                ('nothing', b'', 'have not been told to their end'),
                ('no end', good[:-4], 'have not been told to their end'),
                ('half a line', good[:-1], 'have not been told to their end'),
                ('end only', b'end\n', wrong), ('one missing', registers({0: ZERO, 1: ZERO}), wrong),
                ('twice', registers(three, '0=' + '00' * 48 + '\nend\n'), wrong),
                ('another', registers(three, '3=' + '00' * 48 + '\nend\n'), wrong),
                ('short', registers(three, '8=00\nend\n'), wrong),
                ('no number', registers(three, 'x\nend\n'), wrong),
                ('long', b'0' * 2000, '')):
            with self.subTest(name):
                self.start()
                self.tell(text)
                self.ended(2, error)

    def test_three_registers(self):
        """An image that is not signed has no PCR8"""
        guest = self.start()
        self.tell(registers({number: REGISTERS[number] for number in (0, 1, 2)}))
        guest.hello()
        guest.set_up()
        guest.enable()
        self.assertEqual(guest.ask('DescribePCR', index=8)['DescribePCR']['data'], ZERO)
        self.assertEqual(guest.ask('DescribePCR', index=2)['DescribePCR']['data'], REGISTERS[2])

    def test_driver_again(self):
        """A driver that is loaded again finds what it had locked"""
        guest = self.boot()
        value = guest.ask('ExtendPCR', index=16, data=b'x')['ExtendPCR']['data']
        guest.ask('LockPCR', index=16)
        guest.stop()
        guest.set_up(FEATURES & ~vsockdevicetest.EVENT_IDX)
        guest.enable()
        self.assertEqual(guest.ask('DescribePCR', index=16)['DescribePCR'],
                         {'lock': True, 'data': value})
        self.assertEqual(guest.ask('ExtendPCR', index=16, data=b'x'), {'Error': 'ReadOnlyIndex'})

    def test_ends(self):
        """With QEMU, with a signal, and with what is no vhost-user"""
        guest = self.boot()
        guest.front.socket.shutdown(socket.SHUT_RDWR)
        self.ended(0)
        self.boot()
        self.process.send_signal(signal.SIGTERM)
        self.ended(0, 'Ending on a signal')
        guest = self.boot()
        guest.front.socket.sendall(b'\xff' * 12)
        self.ended(2, 'do not understand each other')


class Hostile(DeviceCase):
    def broken(self, guest, error):
        """The device has stopped, has said so, and goes on when the driver starts it again."""
        self.assertEqual(select.select([guest.ring.err], [], [], SHORT)[0], [guest.ring.err])
        os.eventfd_read(guest.ring.err)
        guest.stop()
        guest.set_up()
        guest.enable()
        self.assertIn('DescribeNSM', guest.ask('DescribeNSM'))
        self.errors.append(error)

    def test_chains(self):
        """Rings that break the rules; locks stay through all of that"""
        guest = self.boot()
        self.errors = []
        guest.ask('LockPCR', index=30)
        request = (guest.REQUEST, 20)
        ring = guest.ring

        def post(*chains):
            for pieces, flags in chains:
                ring.add(pieces, flags)
            ring.wake()

        post(([request], WRITE), ([(guest.BUFFER, REPLY)], WRITE))
        self.broken(guest, 'a request is a buffer that is to be written to')
        post(([request], 0), ([(guest.BUFFER, REPLY)], 0))
        self.broken(guest, 'the buffer for a reply is one that is to be read')
        post(([request], 0), ([(guest.BUFFER, 21)], WRITE))
        self.broken(guest, 'the buffer for a reply has no room for an error')
        post(([request], 0), ([(guest.SIZE - 1, 64)], WRITE))
        self.broken(guest, '')
        post(([(1 << 60, 20)], 0), ([(guest.BUFFER, REPLY)], WRITE))
        self.broken(guest, '')
        ring.set_desc(3, *request, NEXT, 3)
        ring.push(3)
        ring.push(3)
        ring.wake()
        self.broken(guest, 'a chain loops or is too long')
        ring.set_desc(3, guest.REQUEST, 16 * 3, INDIRECT | NEXT, 4)
        ring.push(3)
        ring.push(3)
        ring.wake()
        self.broken(guest, '')
        ring.set_index(100)
        ring.wake()
        self.broken(guest, 'the available index has jumped')
        ring.push(99)
        ring.wake()
        self.broken(guest, "a chain's head is not in the table")
        self.assertEqual(guest.ask('DescribePCR', index=30)['DescribePCR']['lock'], True)
        guest.front.socket.shutdown(socket.SHUT_RDWR)
        log = self.process.stderr.read()
        self.assertEqual(self.process.wait(60), 0, log)
        for error in self.errors:
            self.assertIn(error, log)

    def test_memory_is_not_ours(self):
        """A file that could get shorter is refused: touching it would end the process"""
        guest = self.start(debug=True)
        guest.hello()
        fd = os.memfd_create('short')
        os.ftruncate(fd, guest.SIZE)
        table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', 0, guest.SIZE, guest.USER, 0)
        self.assertFalse(guest.front.acked(SET_MEM_TABLE, table, [fd]))
        os.close(fd)
        guest.set_up()
        guest.enable()
        self.assertIn('DescribeNSM', guest.ask('DescribeNSM'))

    def test_descriptors(self):
        """Such that nobody asked for are closed"""
        guest = self.boot()
        guest.ask('DescribeNSM')
        before = sorted(os.listdir(f'/proc/{self.process.pid}/fd'))
        for _ in range(50):
            guest.front.socket.sendmsg(
                [struct.pack('<III', GET_FEATURES, 1, 0)],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 2]))])
            guest.front.reply(GET_FEATURES)
        guest.front.number(GET_FEATURES)
        self.assertEqual(sorted(os.listdir(f'/proc/{self.process.pid}/fd')), before)

    def test_confined(self):
        guest = self.boot()
        guest.ask('GetRandom')
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as f:
            status = dict(re.findall(r'(?m)^(\w+):\s+(.*)$', f.read()))
        self.assertEqual((status['Seccomp'], status['NoNewPrivs']), ('2', '1'))
        for name in 'CapEff', 'CapPrm', 'CapInh', 'CapAmb':
            self.assertEqual(int(status[name], 16), 0, name)


class Options(DeviceCase):
    def test_refused(self):
        fd = os.open(self.dir, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        d, identity, run = str(fd), ['--identity-fd', str(fd)], ['--vhost-user-fd', str(fd)]
        cases = [
            ([], 'Option --identity-fd is missing'),
            (identity, 'Option --vhost-user-fd is missing'),
            (identity + run, 'One of the options --registers-fd and --debug is to be given'),
            (identity + run + ['--debug', '--registers-fd', d],
             'One of the options --registers-fd and --debug is to be given'),
            (identity + run + ['--debug', '--role', 'x'],
             'Options --debug and --role or --instance exclude each other'),
            (identity + ['--issue'], 'Option --issue needs --directory-fd, --directory and --module-id'),
            (identity + run + ['--issue'], 'Option --issue goes with --identity-fd, --directory-fd, '
             '--directory and --module-id only'),
            (identity + run + ['--directory', 'x'],
             'Options --directory-fd, --directory and --module-id need --issue'),
        ]
        for args, error in cases:
            with self.subTest(args):
                done = self.run_program(*args, fds=[fd])
                self.assertEqual((done.returncode, done.stderr), (1, f'libvirt_nitro_nsm: {error}\n'))
        for text in '', 'x' * 65, 'a\nb':
            with self.subTest(text):
                done = self.run_program('--module-id', text)
                self.assertEqual(done.returncode, 1)
                self.assertIn('is not a name of 1 to 64 printable bytes', done.stderr)

    def test_identity(self):
        """Only what --issue has written is one"""
        good = os.read(self.issue(), 16384)
        self.assertEqual(self.issued.returncode, 0, self.issued.stderr)
        module = len(MODULE) + 2
        zero = good[:module + 2] + bytes(48) + good[module + 50:]
        most = good[:module + 2] + b'\xff' * 48 + good[module + 50:]
        for name, data, error in (
                ('empty', b'', 'is not one that'), ('cut', good[:-1], 'is not one that'),
                ('no chain', good[:module + 50], 'is not one that'),
                ('more', good + b'\0', 'is not one that'), ('empty field', good + b'\0\0', 'is not one that'),
                ('name', b'\0\1\n' + good[module:], 'is not one that'),
                ('large', good + (b'\4\0' + bytes(1024)) * 16, 'is not one that'),
                ('zero', zero, 'The key of the NSM is none'), ('most', most, 'The key of the NSM is none')):
            with self.subTest(name):
                fd = os.memfd_create('identity')
                os.write(fd, data)
                os.lseek(fd, 0, os.SEEK_SET)
                self.start(identity=fd, debug=True)
                os.close(fd)
                self.ended(1, error)

    def test_issue_fails(self):
        """An unusable root is told, and no identity is written"""
        os.mkdir(os.path.join(self.dir, 'nsm-root.key'))
        identity = self.issue()
        self.assertEqual(self.issued.returncode, 2)
        self.assertIn(f"'{self.dir}/nsm-root.key' is not the key of the emulated NSMs' root",
                      self.issued.stderr)
        self.assertEqual(os.fstat(identity).st_size, 0)


class Helper(helpertest.HelperCase):
    """What the helper does for its enclave's NSM"""

    def setUp(self):
        super().setUp()
        self.keep = []

    def tearDown(self):
        for thing in self.keep:
            thing.close()
        super().tearDown()

    def identity(self):
        """The number of a new identity's descriptor"""
        identity = open(os.memfd_create('identity'), 'r+b', buffering=0)
        self.keep.append(identity)
        fd = self.fd(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        subprocess.run([PROGRAM, '--issue', '--directory-fd', str(fd), '--directory', self.dir,
                        '--module-id', MODULE, '--identity-fd', str(identity.fileno())],
                       pass_fds=[fd, identity.fileno()], check=True, timeout=60)
        identity.seek(0)
        return identity.fileno()

    def children(self):
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children', encoding='ascii') as f:
            return [int(pid) for pid in f.read().split()]

    def nsm(self):
        """The process that is the NSM"""
        for pid in self.children():
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                if f.read().split(b'\0')[0] == PROGRAM.encode():
                    return pid
        return None

    def start_nsm(self, *args, program=PROGRAM, device='vhost-user-test-device'):
        identity = self.identity()
        return self.start(self.tiny(), '--qemu', self.fake(vsockdevicetest.FAKE_QEMU), '--nsm',
                          program, '--nsm-device', device, '--nsm-identity-fd', str(identity), *args,
                          fds=[identity])

    def play(self):
        """Takes the descriptors of QEMU; returns its command line, and the guest."""
        helpertest.wait_for(lambda: 'QEMU: ready' in self.log())
        qemu = self.qemu()
        with open(f'/proc/{qemu}/cmdline', encoding='utf-8') as f:
            command = f.read().split('\0')
        serial, monitor, nsm = (fakeqemu.take_descriptor(qemu, fd)
                                for fd in (fakeqemu.SERIAL, fakeqemu.MONITOR, fakeqemu.NSM))
        os.kill(qemu, signal.SIGUSR1)
        helpertest.wait_for(lambda: not os.path.lexists(f'/proc/{qemu}/fd/{fakeqemu.NSM}'))
        self.keep.append(os.fdopen(serial, 'wb'))
        qmp = socket.socket(fileno=monitor)
        self.keep.append(qmp)
        qmp.sendall(b'{"return": {}}\n{"return": {}, "id": 1}\n')
        guest = Guest(vsockdevicetest.FrontEnd(nsm))
        self.keep.append(guest)
        guest.hello()
        guest.set_up()
        guest.enable()
        return command, guest

    def test_registers(self):
        """They are what the helper has measured, and what it was told of the parent"""
        client = self.start_nsm('--nsm-role', ROLE, '--nsm-instance', INSTANCE)
        command, guest = self.play()
        device = 'vhost-user-test-device,virtio-id=33,num_vqs=1,vq_size=16,chardev=nsm,bus=' + (
            'virtio-mmio-bus.1' if os.uname().machine == 'aarch64' else 'virtio-mmio-bus.5')
        self.assertIn(device, command)
        self.assertIn('socket,id=nsm,fd=15', command)
        self.assertIn('virtio-mmio.force-legacy=false', command)
        self.assertTrue(any(word.startswith('memory-backend-memfd') and word.endswith('share=on')
                            for word in command), command)
        measured = self.query_measurements(client)
        for number, name in ((0, 'pcr0'), (1, 'pcr1'), (2, 'pcr2')):
            self.assertEqual(guest.ask('DescribePCR', index=number)['DescribePCR']['data'].hex(),
                             measured[name])
        self.assertNotEqual(measured['pcr0'], ZERO.hex())
        self.assertEqual(guest.ask('DescribePCR', index=3)['DescribePCR']['data'],
                         extend(ZERO, ROLE.encode()))
        self.assertEqual(guest.ask('DescribePCR', index=4)['DescribePCR']['data'],
                         extend(ZERO, INSTANCE.encode()))
        nsm = self.nsm()
        client.send(command='terminate', id=1)
        self.process.wait(60)
        helpertest.wait_for(lambda: not os.path.exists(f'/proc/{nsm}'))

    def test_debug(self):
        self.start_nsm('--debug', '--nsm-role', ROLE)
        _, guest = self.play()
        for index in range(16):
            self.assertEqual(guest.ask('DescribePCR', index=index)['DescribePCR']['data'], ZERO)

    def test_with_vsock(self):
        """A machine with both devices, found without ACPI"""
        self.start_nsm('--cid', '77', '--cmdline', 'acpi=off', device='vhost-user-device')
        command, guest = self.play()
        self.assertIn('DescribeNSM', guest.ask('DescribeNSM'))
        self.assertTrue(any(word.startswith('vhost-user-device,virtio-id=33,') for word in command))
        if os.uname().machine != 'aarch64':
            self.assertIn('virtio_mmio.device=512@0xfeb00c00:11 virtio_mmio.device=512@0xfeb00a00:10',
                          command[command.index('-append') + 1])

    def test_ends_with_helper(self):
        """However that ends"""
        self.start_nsm()
        self.play()
        nsm = self.nsm()
        self.process.kill()
        self.process.wait(60)
        helpertest.wait_for(lambda: not os.path.exists(f'/proc/{nsm}'))

    def test_end_is_told(self):
        self.start_nsm()
        self.play()
        os.kill(self.nsm(), signal.SIGKILL)
        helpertest.wait_for(lambda: 'The NSM was killed by signal 9' in self.log())
        self.assertIsNone(self.process.poll())

    def test_cannot_run(self):
        client = self.start_nsm(program=os.path.join(self.dir, 'missing'))
        failed = client.event('failed')
        self.assertEqual((failed['code'], failed['text']), (
            'unsupported', f'The NSM of the emulated machine, {self.dir}/missing, cannot be run: No '
            'such file or directory'))

    def test_probe(self):
        """What a QEMU says of its device counts; no word of it is no answer"""
        def probe(qemu):
            done = subprocess.run([helpertest.HELPER, '--probe-qemu', qemu], capture_output=True,
                                  text=True, check=False, timeout=60)
            return done.returncode, done.stdout, done.stderr

        for name in ('vhost-user-test-device', 'vhost-user-device'):
            qemu = self.fake(fakeqemu.nsm(name) + fakeqemu.leave(1))
            self.assertEqual(probe(qemu), (0, f'{{"nsm-device":"{name}"}}\n', ''))
        qemu = self.fake(fakeqemu.nsm('vhost-user-rng-device') + fakeqemu.leave(1))
        self.assertEqual(probe(qemu), (0, f'{{"reason":"\'{qemu}\' can create neither '
                                       "'vhost-user-test-device' nor 'vhost-user-device': use QEMU "
                                       '10.2 or newer"}\n', ''))
        for program, words in (('/bin/false', 'does not say whether it has that device'),
                               (self.path('missing'), 'cannot be run')):
            status, output, said = probe(program)
            self.assertEqual((status, output), (2, ''))
            self.assertIn(words, said)
        # the device is no NSM's without all its properties, and none of a user's when it is not listed
        # for these, as in QEMU 10.0
        listed = 'name "vhost-user-device", bus virtio-bus'
        properties = '  virtio-id=<uint16>', '  num_vqs=<uint32>', '  vq_size=<uint32>'
        script = self.path('other')
        for devices, help_text, found in (([listed], properties, '"nsm-device"'),
                                          ([listed], properties[::2], '"reason"'),
                                          ([], properties, '"reason"')):
            with open(script, 'w', encoding='ascii') as f:
                f.write("#!/bin/sh\ncase $7 in\nhelp) set --" +
                        ''.join(f" '{line}'" for line in ['Misc devices:', *devices]) + ";;\n*) set --" +
                        ''.join(f" '{line}'" for line in help_text) +
                        ";;\nesac\nprintf '%s\\n' \"$@\"\n")
            os.chmod(script, 0o755)
            self.assertIn(found, probe(script)[1])

    def test_options(self):
        device = ['--nsm-device', 'vhost-user-device']
        nsm = ['--nsm', PROGRAM]
        needed = 'Options --nsm-device, --nsm-identity-fd, --nsm-role and --nsm-instance need --nsm'
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path('control'))
            listener.listen()
            with open(self.tiny(), 'rb') as image:
                full = ['--name', 'x', '--uuid', self.uuid, '--machine', 'nitro-enclave', '--memory',
                        str(64 * MIB), '--vcpus', '1', '--control-fd', str(listener.fileno()),
                        '--image-fd', str(image.fileno())]
                for words, error in (
                        (device, needed), (['--nsm-role', 'x'], needed), (['--nsm-instance', 'x'], needed),
                        (nsm, 'Option --nsm needs --nsm-device and --nsm-identity-fd'),
                        (nsm + device, 'Option --nsm needs --nsm-device and --nsm-identity-fd'),
                        (['--nsm', 'x'], "Value 'x' of option --nsm is not an absolute path"),
                        (['--nsm-role', ''], "Value '' of option --nsm-role is empty"),
                        (['--nsm-device', 'virtio-rng-device'], "Value 'virtio-rng-device' of option "
                         "--nsm-device is neither 'vhost-user-test-device' nor 'vhost-user-device'")):
                    with self.subTest(words):
                        done = subprocess.run([helpertest.HELPER, *full, *words], capture_output=True,
                                              text=True, check=False, timeout=60,
                                              pass_fds=[listener.fileno(), image.fileno()])
                        self.assertEqual((done.returncode, done.stderr),
                                         (1, f'libvirt_nitro: {error}\n'))


if __name__ == '__main__':
    taprunner.main()
