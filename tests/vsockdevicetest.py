# vsockdevicetest.py: the helper's vsock device, with this test as QEMU and as the guest
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The helper under test is the shipped one. What it starts as QEMU is a program whose
# inherited descriptors the test takes, which then speaks vhost-user over one and QMP
# over another, and plays the guest's driver in a memfd: a split ring for each direction,
# virtio-vsock packets in it. So every byte that a hostile guest could write can be written.

import array
import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import threading
import time

import fakeqemu
import helpertest
import linkclient
import nitrodevmock
import taprunner

CID = 77
PARENT = 3
HEARTBEAT = 9000
MIB = 1 << 20
SHORT = helpertest.SHORT

(OP_REQUEST, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE,
 OP_CREDIT_REQUEST) = range(1, 8)
SHUT_RCV, SHUT_SEND = 1, 2
HEADER = struct.Struct('<QQIIIHHIII')
DESC = struct.Struct('<QIHH')
NEXT, WRITE, INDIRECT = 1, 2, 4

# vhost-user
(GET_FEATURES, SET_FEATURES, SET_OWNER, _, SET_MEM_TABLE, _, _, SET_VRING_NUM, SET_VRING_ADDR,
 SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR,
 GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE) = range(1, 19)
GET_CONFIG = 24
NEED_REPLY = 8
FEATURES = 1 << 32 | 1 << 30 | 1 << 29 | 1 << 28
EVENT_IDX = 1 << 29


# What stays open until the test has taken its descriptors
FAKE_QEMU = (fakeqemu.message('ready\n') + fakeqemu.SIGNAL + fakeqemu.RELEASE + fakeqemu.SIGNAL)


class FrontEnd:
    """QEMU's side of vhost-user."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.socket.settimeout(SHORT)

    def send(self, request, payload=b'', fds=(), flags=1):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        self.socket.sendmsg([struct.pack('<III', request, flags, len(payload)) + payload], control)

    def exactly(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def reply(self, request):
        got, flags, size = struct.unpack('<III', self.exactly(12))
        assert (got, flags) == (request, 5), (got, flags)
        return self.exactly(size)

    def ask(self, request, payload=b''):
        self.send(request, payload)
        return self.reply(request)

    def number(self, request):
        return struct.unpack('<Q', self.ask(request))[0]

    def acked(self, request, payload, fds=()):
        """Sends a message that wants an answer; returns whether it was taken."""
        self.send(request, payload, fds, 1 | NEED_REPLY)
        return struct.unpack('<Q', self.reply(request))[0] == 0

    def closed(self):
        try:
            return self.socket.recv(1) == b''
        except ConnectionResetError:
            return True


class Ring:
    """The driver's side of a split ring at @base in the guest's memory."""

    def __init__(self, guest, index, base, size):
        self.guest, self.index, self.base, self.size = guest, index, base, size
        self.desc, self.avail, self.used = base, base + 16 * size, base + 16 * size + 0x1000
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.err = os.eventfd(0, os.EFD_NONBLOCK)
        self.reset()

    def close(self):
        for fd in (self.kick, self.call, self.err):
            os.close(fd)

    def reset(self):
        self.next, self.seen = 0, 0
        self.free = list(range(self.size))
        self.chains = {}
        self.guest.write(self.base, bytes(16 * self.size + 0x2000))

    def set_desc(self, index, address, size, flags=0, following=0):
        self.guest.write(self.desc + 16 * index, DESC.pack(address, size, flags, following))

    def set_index(self, index):
        self.guest.write(self.avail + 2, struct.pack('<H', index & 0xffff))

    def push(self, head):
        self.guest.write(self.avail + 4 + 2 * (self.next % self.size), struct.pack('<H', head))
        self.next = (self.next + 1) & 0xffff
        self.set_index(self.next)

    def add(self, pieces, flags=0):
        """Makes a chain of [(address, size)] available."""
        taken = [self.free.pop() for _ in pieces]
        for i, (address, size) in enumerate(pieces):
            more = NEXT if i + 1 < len(pieces) else 0
            self.set_desc(taken[i], address, size, flags | more, taken[i + 1] if more else 0)
        self.chains[taken[0]] = taken
        self.push(taken[0])
        return taken[0]

    def wake(self):
        os.eventfd_write(self.kick, 1)

    def take(self):
        """(head, bytes) of the next used chain, or None."""
        index, = struct.unpack('<H', self.guest.read(self.used + 2, 2))
        if index == self.seen:
            return None
        entry = self.used + 4 + 8 * (self.seen % self.size)
        head, size = struct.unpack('<II', self.guest.read(entry, 8))
        self.seen = (self.seen + 1) & 0xffff
        self.free += self.chains.pop(head)
        # VIRTIO_F_EVENT_IDX: the next one is to be told
        self.guest.write(self.avail + 4 + 2 * self.size, struct.pack('<H', self.seen))
        return head, size

    def wait(self, timeout):
        """Waits for a notification; a driver that relies on it must not hang."""
        if not select.select([self.call], [], [], timeout)[0]:
            return False
        os.eventfd_read(self.call)
        return True


class Packet:
    def __init__(self, data):
        (self.src, self.dst, self.sport, self.dport, self.len, self.type, self.op, self.flags,
         self.alloc, self.taken) = HEADER.unpack(data[:HEADER.size])
        self.data = data[HEADER.size:]


class GuestMemory:
    """
    The memory of a guest that the front end @front shares, SIZE bytes, as QEMU makes it, and the
    rings of a device in it
    """

    def __init__(self, front):
        self.front = front
        self.memfd = os.memfd_create('guest', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memfd, self.SIZE)
        fcntl.fcntl(self.memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self.memory = mmap.mmap(self.memfd, self.SIZE)
        self.rings = []

    def add_ring(self, base, size):
        self.rings.append(Ring(self, len(self.rings), base, size))
        return self.rings[-1]

    def close(self):
        for ring in self.rings:
            ring.close()
        self.memory.close()
        os.close(self.memfd)
        self.front.socket.close()

    def write(self, address, data):
        self.memory[address:address + len(data)] = data

    def read(self, address, size):
        return self.memory[address:address + size]

    def hello(self):
        """What QEMU asks before the guest runs; returns features of two kinds, and how many queues."""
        front = self.front
        offered = front.number(GET_FEATURES)
        protocol = front.number(GET_PROTOCOL_FEATURES)
        front.send(SET_PROTOCOL_FEATURES, struct.pack('<Q', protocol))
        queues = front.number(GET_QUEUE_NUM)
        front.send(SET_OWNER)
        for ring in self.rings:
            front.send(SET_VRING_CALL, struct.pack('<Q', ring.index), [ring.call])
            front.send(SET_VRING_ERR, struct.pack('<Q', ring.index), [ring.err])
        return offered, protocol, queues


class Guest(GuestMemory):
    """The guest's driver. Guest physical and front end's addresses differ on purpose."""

    SIZE = 16 * MIB
    SPLIT = 1 * MIB  # two regions, next to one another for the guest alone
    USER = (0x7f1000000000, 0x7f2000000000)
    RX_BUFFERS, RX_SIZE = 64, 4096
    RX_BASE, TX_BASE, DATA = 0x10000, 0x20000, 2 * MIB
    TX_DATA = 8 * MIB

    def __init__(self, front):
        super().__init__(front)
        self.rx = self.add_ring(self.RX_BASE, 256)
        self.tx = self.add_ring(self.TX_BASE, 256)
        self.features = FEATURES
        self.packets = []
        self.taken = {}  # bytes taken, for each pair of ports

    def table(self):
        return struct.pack('<II', 2, 0) + \
            struct.pack('<QQQQ', 0, self.SPLIT, self.USER[0], 0) + \
            struct.pack('<QQQQ', self.SPLIT, self.SIZE - self.SPLIT, self.USER[1], self.SPLIT)

    def hello(self):
        """Returns the configuration space as well."""
        return *super().hello(), self.front.ask(GET_CONFIG, struct.pack('<III', 0, 8, 0) + bytes(8))

    def start(self, buffers=RX_BUFFERS):
        """The guest's driver is ready."""
        front = self.front
        front.send(SET_FEATURES, struct.pack('<Q', self.features))
        assert front.acked(SET_MEM_TABLE, self.table(), [self.memfd, self.memfd])
        for ring in (self.rx, self.tx):
            front.send(SET_VRING_NUM, struct.pack('<II', ring.index, ring.size))
            front.send(SET_VRING_BASE, struct.pack('<II', ring.index, 0))
            addresses = [self.USER[0] + part for part in (ring.desc, ring.used, ring.avail)]
            front.send(SET_VRING_ADDR, struct.pack('<IIQQQQ', ring.index, 0, *addresses, 0))
            front.send(SET_VRING_KICK, struct.pack('<Q', ring.index), [ring.kick])
        for ring in (self.rx, self.tx):
            assert front.acked(SET_VRING_ENABLE, struct.pack('<II', ring.index, 1))
        self.rx_buffers = {}
        self.post(range(buffers))

    def stop(self):
        front = self.front
        for ring in (self.rx, self.tx):
            assert front.acked(SET_VRING_ENABLE, struct.pack('<II', ring.index, 0))
        bases = [struct.unpack('<II', front.ask(GET_VRING_BASE, struct.pack('<II', ring.index, 0)))
                 for ring in (self.rx, self.tx)]
        for ring in (self.rx, self.tx):
            ring.reset()
        self.packets = []
        return bases

    def post(self, numbers):
        for number in numbers:
            address = self.DATA + number * self.RX_SIZE
            self.rx_buffers[self.rx.add([(address, self.RX_SIZE)], WRITE)] = number
        self.rx.wake()

    def transmit(self, pieces):
        """Sends a packet whose bytes are @pieces, one descriptor each; waits for the device."""
        address, chain = self.TX_DATA, []
        for piece in pieces:
            self.write(address, piece)
            chain.append((address, len(piece)))
            address += len(piece) + 3  # nothing is aligned
        self.tx.add(chain)
        self.tx.wake()
        self.collect()

    def collect(self):
        end = time.monotonic() + SHORT
        while self.tx.take() is None:
            if time.monotonic() > end:
                raise AssertionError('the device does not take a packet')
            self.tx.wait(0.05)

    def header(self, op, sport, dport, size=0, **more):
        fields = {'src': CID, 'dst': PARENT, 'type': 1, 'flags': 0, 'alloc': 65536,
                  'taken': self.taken.get((sport, dport), 0)}
        fields.update(more)
        return HEADER.pack(fields['src'], fields['dst'], sport, dport, size, fields['type'], op,
                           fields['flags'], fields['alloc'], fields['taken'])

    def send(self, op, sport, dport, data=b'', **more):
        header = self.header(op, sport, dport, len(data), **more)
        self.transmit([header, data] if data else [header])

    def fetch(self):
        """Takes all packets that are there, and posts their buffers again."""
        numbers = []
        while (used := self.rx.take()) is not None:
            number = self.rx_buffers.pop(used[0])
            packet = Packet(self.read(self.DATA + number * self.RX_SIZE, used[1]))
            assert packet.dst == CID and packet.len == len(packet.data), vars(packet)
            self.packets.append(packet)
            key = (packet.dport, packet.sport)
            self.taken[key] = (self.taken.get(key, 0) + packet.len) & 0xffffffff
            numbers.append(number)
        if numbers:
            self.post(numbers)

    def receive(self, sport, dport, *ops, timeout=SHORT):
        """The next packet on a connection; with @ops the next one that is one of them."""
        end = time.monotonic() + timeout
        while True:
            for packet in list(self.packets):
                if (packet.dport, packet.sport) == (sport, dport):
                    self.packets.remove(packet)
                    if not ops or packet.op in ops:
                        return packet
            if time.monotonic() > end:
                raise AssertionError('no packet came')
            self.fetch()
            if not self.packets:
                self.rx.wait(0.05)
                self.fetch()

    def data(self, sport, dport, size):
        """@size bytes of data on a connection."""
        data = b''
        while len(data) < size:
            data += self.receive(sport, dport, OP_RW).data
            self.send(OP_CREDIT_UPDATE, sport, dport)
        return data

    def nothing(self, seconds=0.3):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fetch()
            if self.packets:
                return False
            time.sleep(0.02)
        return True


class DeviceCase(helpertest.HelperCase):
    heartbeat = '--no-heartbeat'
    extra = ()
    services = False
    environment = None

    def setUp(self):
        super().setUp()
        self.guest = None
        self.keep = []
        qemu = self.fake(FAKE_QEMU)
        os.mkdir(self.path('sockets'))
        directory = self.fd(self.path('sockets'), os.O_PATH | os.O_DIRECTORY)
        fds = [directory]
        arguments = ['--cid', str(CID), '--vsock-dir-fd', str(directory), '--qemu', qemu]
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path('sockets/vsock'))
        listener.listen(128)
        fds.append(listener.fileno())
        arguments += ['--vsock-listen-fd', str(listener.fileno())]
        listeners = [listener]
        if self.services:
            listeners.append(socket.socket(socket.AF_UNIX))
            listeners[1].bind(self.path('link'))
            listeners[1].listen(16)
            fds.append(listeners[1].fileno())
            arguments += ['--services-listen-fd', str(listeners[1].fileno())]
            self.link = self.new_link()
        self.control = self.start(self.tiny(), *arguments, *self.extra, fds=fds,
                                  heartbeat=self.heartbeat, env=self.environment)
        for listener in listeners:
            listener.close()
        helpertest.wait_for(lambda: 'QEMU: ready' in self.log())
        qemu = self.qemu()
        inherited = [fakeqemu.take_descriptor(qemu, fd)
                     for fd in (fakeqemu.SERIAL, fakeqemu.MONITOR, fakeqemu.VSOCK)]
        # from now on they are the test's alone
        os.kill(qemu, signal.SIGUSR1)
        helpertest.wait_for(lambda: not os.path.lexists(f'/proc/{qemu}/fd/{fakeqemu.VSOCK}'))
        self.serial = os.fdopen(inherited[0], 'wb')
        self.qmp = socket.socket(fileno=inherited[1])
        self.qmp.sendall(b'{"return": {}}\n{"return": {}, "id": 1}\n')
        self.guest = Guest(FrontEnd(inherited[2]))

    def tearDown(self):
        for thing in self.keep:
            thing.close()
        if self.guest:
            self.guest.close()
            for thing in (self.serial, self.qmp):
                thing.close()
        super().tearDown()

    def boot(self):
        self.guest.hello()
        self.guest.start()
        return self.guest

    def listen(self, port, backlog=16):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path(f'sockets/vsock_{port}'))
        listener.listen(backlog)
        listener.settimeout(SHORT)
        self.keep.append(listener)
        return listener

    def accept(self, listener):
        peer, _ = listener.accept()
        peer.settimeout(SHORT)
        self.keep.append(peer)
        return peer

    def new_link(self):
        link = linkclient.Link(self.path('link'))
        self.keep.append(link)
        return link

    def dial(self, data=b''):
        program = socket.socket(socket.AF_UNIX)
        program.connect(self.path('sockets/vsock'))
        program.settimeout(SHORT)
        self.keep.append(program)
        if data:
            program.sendall(data)
        return program

    def connect(self, sport=2000, port=5000, listener=None, **more):
        """The guest connects to the host; returns the host's socket."""
        listener = listener or self.listen(port)
        self.guest.send(OP_REQUEST, sport, port, **more)
        packet = self.guest.receive(sport, port)
        self.assertEqual(OP_RESPONSE, packet.op)
        self.assertGreaterEqual(packet.alloc, 16384)
        self.alloc = packet.alloc
        return self.accept(listener)

    def connect_host(self, port=6000, data=b'', **more):
        """A program connects to the guest; returns its socket and the host's port."""
        program = self.dial(b'CONNECT %d\n' % port + data)
        packet = self.request(port)
        self.guest.send(OP_RESPONSE, port, packet.sport, **more)
        line = b'OK %d\n' % packet.sport
        self.assertEqual(line, program.recv(len(line)))
        return program, packet.sport

    def request(self, port):
        """The next request for @port of the guest."""
        end = time.monotonic() + SHORT
        while time.monotonic() < end:
            self.guest.fetch()
            for packet in self.guest.packets:
                if packet.op == OP_REQUEST and packet.dport == port:
                    self.guest.packets.remove(packet)
                    self.assertEqual(PARENT, packet.src)
                    return packet
            self.guest.rx.wait(0.05)
        raise AssertionError('no request came')

    def fill(self, sport, port, piece=4096):
        """Sends until the guest has no credit left; returns what was sent."""
        self.guest.send(OP_CREDIT_REQUEST, sport, port)
        update = self.guest.receive(sport, port, OP_CREDIT_UPDATE)
        sent = b''
        while True:
            if update.alloc - (len(sent) - update.taken) < piece:
                self.guest.send(OP_CREDIT_REQUEST, sport, port)
                update = self.guest.receive(sport, port, OP_CREDIT_UPDATE)
                if update.alloc - (len(sent) - update.taken) < piece:
                    return sent
            data = os.urandom(piece)
            self.guest.send(OP_RW, sport, port, data)
            sent += data

    def assert_thousand(self, talk):
        """
        @talk(data) is to be connected with the guest's port 6000 and write @data, from a thread;
        the guest gets all of it, each time.
        """
        words = [f'words {number}'.encode() for number in range(1000)]
        talker = threading.Thread(target=lambda: [talk(data) for data in words])
        talker.start()
        try:
            for data in words:
                port = self.request(6000).sport
                self.guest.send(OP_RESPONSE, 6000, port)
                self.assertEqual(data, self.guest.data(6000, port, len(data)))
                while self.guest.receive(6000, port, OP_SHUTDOWN).flags != SHUT_RCV | SHUT_SEND:
                    pass
                self.guest.send(OP_RST, 6000, port)
        finally:
            talker.join()

    def alive(self):
        """The device works: a connection of its own gets through."""
        self.alive_port = getattr(self, 'alive_port', 40000) + 1
        peer = self.connect(self.alive_port, self.alive_port)
        self.guest.send(OP_RW, self.alive_port, self.alive_port, b'alive')
        self.assertEqual(b'alive', peer.recv(100))
        peer.sendall(b'too')
        self.assertEqual(b'too', self.guest.data(self.alive_port, self.alive_port, 3))
        peer.close()
        self.guest.send(OP_RST, self.alive_port, self.alive_port)

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def settled_descriptors(self):
        """The number of them when the start is over, of which some are closed late"""
        counts = [-1, self.descriptors()]
        while counts[-1] != counts[-2]:
            time.sleep(0.3)
            counts.append(self.descriptors())
        return counts[-1]

    def status(self):
        self.control.send(command='query-status', id=1)
        return self.control.reply(1)['return']


def recv_exactly(peer, size):
    data = b''
    while len(data) < size and (piece := peer.recv(size - len(data))):
        data += piece
    return data


def recv_all(peer):
    data = b''
    while piece := peer.recv(65536):
        data += piece
    return data


class ProtocolTest(DeviceCase):
    """vhost-user"""

    def test_start(self):
        offered, protocol, queues, config = self.guest.hello()
        self.assertEqual(FEATURES, offered)
        self.assertEqual(1 << 0 | 1 << 3 | 1 << 9, protocol)
        self.assertEqual(2, queues)
        self.assertEqual(struct.pack('<IIIQ', 0, 8, 0, CID), config)
        self.guest.start()
        self.assertEqual({'cid': CID}, {k: v for k, v in self.control.event('started').items()
                                        if k == 'cid'})
        self.control.event('booted')
        self.assertEqual(CID, self.status()['cid'])
        self.alive()

    def test_without_event_index(self):
        self.guest.features = FEATURES & ~EVENT_IDX
        self.boot()
        self.alive()

    def test_restart(self):
        guest = self.boot()
        before = self.descriptors()
        for i in range(5):
            peer = self.connect(3000 + i, 5000 + i)
            program, _ = self.connect_host()
            bases = guest.stop()
            self.assertEqual([0, 1], [index for index, _ in bases])
            self.assertGreater(bases[1][1], 0)
            self.assertEqual(b'', peer.recv(1))
            self.assertEqual(b'', program.recv(1))
            guest.start()
        self.alive()
        helpertest.wait_for(lambda: self.descriptors() <= before)

    def test_refused_messages(self):
        front = self.boot().front
        self.assertFalse(front.acked(SET_FEATURES, struct.pack('<Q', 1 << 63)))
        self.assertFalse(front.acked(SET_PROTOCOL_FEATURES, struct.pack('<Q', 1 << 40)))
        self.assertFalse(front.acked(SET_VRING_NUM, struct.pack('<II', 0, 128)))  # it runs
        self.assertFalse(front.acked(SET_VRING_NUM, struct.pack('<II', 2, 128)))
        self.assertFalse(front.acked(SET_VRING_ENABLE, struct.pack('<II', 99, 1)))
        self.assertFalse(front.acked(SET_VRING_CALL, struct.pack('<Q', 1)))  # no descriptor
        self.assertFalse(front.acked(SET_VRING_KICK, struct.pack('<Q', 0x100)))
        self.assertFalse(front.acked(200, b''))
        self.assertFalse(front.acked(SET_MEM_TABLE, self.guest.table(), [self.guest.memfd]))
        self.assertEqual(b'', front.ask(GET_CONFIG, struct.pack('<III', 4, 8, 0) + bytes(8)))
        self.alive()

    def test_bad_memory(self):
        front = self.guest.front
        self.guest.hello()
        memfd = self.guest.memfd
        for region in ((0, 0, 0, 0), (0, 32 * MIB, 0, 0), (0, MIB, 0, 16 * MIB),
                       (2 ** 64 - 4096, 8192, 0, 0), (0, 8192, 2 ** 64 - 4096, 0),
                       (0, 2 ** 64 - 1, 0, 4096), (0, 4096, 0, 2 ** 64 - 1)):
            with self.subTest(region):
                table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', *region)
                self.assertFalse(front.acked(SET_MEM_TABLE, table, [memfd]))
        with self.subTest('overlap'):
            table = struct.pack('<II', 2, 0) + struct.pack('<QQQQ', 0, 8192, 0, 0) + \
                struct.pack('<QQQQ', 4096, 8192, 1 << 40, 0)
            self.assertFalse(front.acked(SET_MEM_TABLE, table, [memfd, memfd]))
        with self.subTest('may shrink'):
            table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', 0, 4096, 0, 0)
            for flags in (0, os.MFD_ALLOW_SEALING):
                unsealed = os.memfd_create('unsealed', flags)
                os.ftruncate(unsealed, 4096)
                self.assertFalse(front.acked(SET_MEM_TABLE, table, [unsealed]))
                os.close(unsealed)
            self.assertIn('is not sealed', self.log())
        with self.subTest('no file'):
            table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', 0, 4096, 0, 0)
            self.assertFalse(front.acked(SET_MEM_TABLE, table, [self.guest.rx.call]))
        self.guest.start()
        self.alive()

    def test_bad_rings(self):
        front = self.guest.front
        self.guest.hello()
        front.send(SET_FEATURES, struct.pack('<Q', FEATURES))
        self.assertTrue(front.acked(SET_MEM_TABLE, self.guest.table(), [self.guest.memfd] * 2))
        user = self.guest.USER[0]
        for size, address in ((0, user), (3, user), (65536, user), (256, 0), (256, user + 1),
                              (256, user + MIB - 512), (256, 2 ** 64 - 16)):
            with self.subTest(f'{size} {address:x}'):
                front.send(SET_VRING_NUM, struct.pack('<II', 0, size))
                front.send(SET_VRING_ADDR,
                           struct.pack('<IIQQQQ', 0, 0, address, address, address, 0))
                front.send(SET_VRING_ENABLE, struct.pack('<II', 0, 1))
                self.assertFalse(front.acked(SET_VRING_KICK, struct.pack('<Q', 0),
                                             [self.guest.rx.kick]))
                front.ask(GET_VRING_BASE, struct.pack('<II', 0, 0))
        self.guest.start()
        self.alive()

    def test_memory_without_the_rings(self):
        """A ring that is not in the new memory stops the device; the driver starts it again."""
        guest = self.boot()
        peer = self.connect()
        high = (guest.SPLIT, guest.SIZE - guest.SPLIT, guest.USER[1], guest.SPLIT)
        table = struct.pack('<II', 1, 0) + struct.pack('<QQQQ', *high)
        self.assertFalse(guest.front.acked(SET_MEM_TABLE, table, [guest.memfd]))
        self.assertEqual(b'', peer.recv(1))
        self.assertEqual(b'', self.dial(b'CONNECT 6000\n').recv(1))
        self.assertIn('the device does not run', self.log())
        guest.stop()
        guest.start()
        self.alive()

    def test_memory_while_rings_run(self):
        """
        A memory table comes at any time; packets that the device has taken and not given back
        yet, as it waits for more to come, are given back all the same.
        """
        guest = self.boot()
        peer = self.connect()
        data = os.urandom(1024)
        packet = guest.header(OP_RW, 2000, 5000, len(data)) + data
        guest.write(guest.TX_DATA, packet)
        for number in range(60):
            for _ in range(8):
                for _ in range(18):
                    guest.tx.add([(guest.TX_DATA, len(packet))])
                guest.tx.wake()
                time.sleep(0.0002)
            time.sleep(number % 20 * 0.0001)
            self.assertTrue(guest.front.acked(SET_MEM_TABLE, guest.table(), [guest.memfd] * 2))
            for _ in range(8 * 18):
                guest.collect()
            self.assertEqual(data * 8 * 18, recv_exactly(peer, len(data) * 8 * 18))
            guest.fetch()
        self.alive()

    def test_pieces(self):
        """Messages may come in pieces, or several at once."""
        message = struct.pack('<III', GET_FEATURES, 1, 0)
        for byte in message:
            self.guest.front.socket.sendall(bytes([byte]))
            time.sleep(0.005)
        self.guest.front.reply(GET_FEATURES)
        self.guest.front.socket.sendall(message * 40)
        for _ in range(40):
            self.guest.front.reply(GET_FEATURES)
        self.boot()
        self.alive()

    def junk(self, data, fds=()):
        self.control.event('booted')
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        self.guest.front.socket.sendmsg([data], control)
        self.assertTrue(self.guest.front.closed())
        self.assert_exited(self.control, 'crashed')

    def test_junk(self):
        self.junk(b'GET / HTTP/1.0\r\n\r\n')

    def test_huge_message(self):
        self.junk(struct.pack('<III', SET_MEM_TABLE, 1, 1 << 30))

    def test_short_message(self):
        self.junk(struct.pack('<III', SET_FEATURES, 1, 4) + bytes(4))

    def test_descriptor_flood(self):
        self.junk(struct.pack('<III', GET_FEATURES, 1, 0), [self.guest.memfd] * 50)


class ConnectionTest(DeviceCase):
    """virtio-vsock, well-behaved"""

    def setUp(self):
        super().setUp()
        self.boot()

    def test_guest_to_host(self):
        peer = self.connect()
        sent = 0
        for i in range(200):
            data = os.urandom(1 + i * 37 % 5000)
            self.guest.send(OP_RW, 2000, 5000, data)
            self.assertEqual(data, recv_exactly(peer, len(data)))
            sent += len(data)
        self.guest.fetch()
        updates = [packet for packet in self.guest.packets if packet.op == OP_CREDIT_UPDATE]
        self.assertGreater(len(updates), 0)
        self.assertLess(sent - updates[-1].taken, updates[-1].alloc)

    def test_host_cid(self):
        """The host's own CID reaches the same sockets, and answers."""
        listener = self.listen(5000)
        self.guest.send(OP_REQUEST, 2000, 5000, dst=2)
        packet = self.guest.receive(2000, 5000)
        self.assertEqual((OP_RESPONSE, 2), (packet.op, packet.src))
        self.accept(listener)
        # The same ports of the other CID are another connection.
        self.guest.send(OP_REQUEST, 2000, 5000, dst=3)
        packet = self.guest.receive(2000, 5000)
        self.assertEqual((OP_RESPONSE, 3), (packet.op, packet.src))
        self.accept(listener)

    def test_shapes(self):
        """Any chain shape: header split, data in many pieces, data behind the header."""
        peer = self.connect()
        data = os.urandom(300)
        packet = self.guest.header(OP_RW, 2000, 5000, len(data)) + data
        for cuts in ([], [1], [10, 20, 43], [44], [45], [44, 50, 51, 200], list(range(1, 60))):
            with self.subTest(cuts):
                pieces = [packet[a:b] for a, b in zip([0, *cuts], [*cuts, len(packet)])]
                self.guest.transmit(pieces)
                self.assertEqual(data, recv_exactly(peer, len(data)))

    def test_indirect(self):
        peer = self.connect()
        guest = self.guest
        data = os.urandom(70000)
        packet = guest.header(OP_RW, 2000, 5000, len(data)) + data
        guest.write(guest.TX_DATA, packet)
        cuts = [0, 44, 4000, 30000, len(packet)]
        table = b''
        for i, (a, b) in enumerate(zip(cuts, cuts[1:])):
            table += DESC.pack(guest.TX_DATA + a, b - a, *((NEXT, i + 1) if i < 3 else (0, 0)))
        guest.write(guest.TX_DATA - 4096 + 1, table)
        guest.tx.add([(guest.TX_DATA - 4096 + 1, len(table))], INDIRECT)
        guest.tx.wake()
        self.assertEqual(data, recv_exactly(peer, len(data)))
        guest.collect()

    def test_across_regions(self):
        """A buffer that crosses two regions of the memory table."""
        peer = self.connect()
        data = os.urandom(2000)
        packet = self.guest.header(OP_RW, 2000, 5000, len(data)) + data
        for offset in (20, 44, 1000):
            with self.subTest(offset):
                self.guest.write(self.guest.SPLIT - offset, packet)
                self.guest.tx.add([(self.guest.SPLIT - offset, len(packet))])
                self.guest.tx.wake()
                self.assertEqual(data, recv_exactly(peer, len(data)))
                self.guest.collect()

    def test_host_to_guest(self):
        peer = self.connect()
        data = os.urandom(500000)
        done = 0
        received = b''
        peer.setblocking(False)
        while len(received) < len(data):
            try:
                done += peer.send(data[done:done + 60000])
            except BlockingIOError:
                pass
            self.guest.fetch()
            for packet in self.guest.packets:
                if packet.op == OP_RW:
                    received += packet.data
            if self.guest.packets:
                self.guest.packets.clear()
                self.guest.send(OP_CREDIT_UPDATE, 2000, 5000)
        self.assertEqual(data, received)

    def test_no_credit(self):
        """The device sends as much as the guest has room for, asks, and goes on."""
        peer = self.connect(alloc=1000)
        peer.sendall(bytes(5000))
        self.assertEqual(1000, len(self.guest.receive(2000, 5000, OP_RW).data))
        self.assertEqual(OP_CREDIT_REQUEST, self.guest.receive(2000, 5000).op)
        self.assertTrue(self.guest.nothing())
        self.guest.send(OP_CREDIT_UPDATE, 2000, 5000, alloc=1000, taken=0)
        self.assertTrue(self.guest.nothing())
        self.guest.send(OP_CREDIT_UPDATE, 2000, 5000, alloc=1000, taken=300)
        self.assertEqual(300, len(self.guest.receive(2000, 5000, OP_RW).data))
        # The guest's buffer may shrink.
        self.guest.send(OP_CREDIT_UPDATE, 2000, 5000, alloc=100, taken=1200)
        self.assertEqual([], [p for p in self.guest.packets if p.op == OP_RW])
        self.guest.send(OP_CREDIT_UPDATE, 2000, 5000, alloc=65536, taken=1300)
        self.assertEqual(3700, len(self.guest.data(2000, 5000, 3700)))

    def test_guest_limits_itself(self):
        """A guest that sends no more at a time than it would take is told in time, too."""
        peer = self.connect(alloc=2000)
        self.assertGreater(self.alloc, 2000)
        for taken in (2000, 4000):
            self.guest.send(OP_RW, 2000, 5000, bytes(2000), alloc=2000)
            self.assertEqual(2000, len(recv_exactly(peer, 2000)))
            self.assertEqual(taken, self.guest.receive(2000, 5000, OP_CREDIT_UPDATE).taken)

    def test_credit_request(self):
        peer = self.connect()
        self.guest.send(OP_RW, 2000, 5000, bytes(1234))
        self.assertEqual(1234, len(peer.recv(2000)))
        self.guest.send(OP_CREDIT_REQUEST, 2000, 5000)
        self.assertEqual(1234, self.guest.receive(2000, 5000, OP_CREDIT_UPDATE).taken)

    def test_stalled(self):
        """One that is not read costs the guest its credit; others go on; nothing is lost."""
        peer = self.connect()
        sent = self.fill(2000, 5000)
        self.assertGreater(len(sent), 256 * 1024)
        for _ in range(20):
            self.alive()
        received = recv_exactly(peer, len(sent))
        self.assertEqual(sent, received)
        self.guest.receive(2000, 5000, OP_CREDIT_UPDATE)
        self.guest.send(OP_RW, 2000, 5000, b'more')
        self.assertEqual(b'more', peer.recv(10))

    def test_stalled_end(self):
        """Buffered data first, then the end, though the guest has closed long ago."""
        peer = self.connect()
        sent = self.fill(2000, 5000)
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_RCV | SHUT_SEND)
        self.assertEqual(OP_RST, self.guest.receive(2000, 5000, OP_RST).op)
        self.alive()
        self.assertEqual(sent, recv_all(peer))

    def test_stalled_restart(self):
        """What the guest had sent before its driver went arrives."""
        peer = self.connect()
        sent = self.fill(2000, 5000)
        self.guest.stop()
        self.assertEqual(sent, recv_all(peer))

    def test_buffers(self):
        """The more connections, the less may be under way on a new one; it grows again."""
        listener = self.listen(5000, backlog=256)
        allocs = []
        for i in range(130):
            self.connect(10000 + i, 5000, listener)
            allocs.append(self.alloc)
        large = 262144
        self.assertEqual([large] * 16 + [65536] * 112 + [16384] * 2, allocs)
        for i in range(129):
            self.guest.send(OP_RST, 10000 + i, 5000)
        self.guest.send(OP_RW, 10129, 5000, bytes(9000))
        self.assertEqual(large, self.guest.receive(10129, 5000, OP_CREDIT_UPDATE).alloc)

    def test_rows(self):
        """Packets of several connections that come at once: each has its own, in order."""
        listener = self.listen(5000)
        peers = [self.connect(3000 + i, 5000, listener) for i in range(3)]
        sent = [b''] * 3
        for _ in range(4):
            for number in range(50):
                i = number * number // 7 % 3
                data = os.urandom(1 + number * 91 % 3000)
                address = self.guest.TX_DATA + number * 4096
                packet = self.guest.header(OP_RW, 3000 + i, 5000, len(data)) + data
                self.guest.write(address, packet)
                self.guest.tx.add([(address, 44), (address + 44, len(data))])
                sent[i] += data
            self.guest.tx.wake()
            for _ in range(50):
                self.guest.collect()
        for i, peer in enumerate(peers):
            self.assertEqual(sent[i], recv_exactly(peer, len(sent[i])))

    def test_row_with_an_end(self):
        """Data that come with what ends their connection are delivered before it ends."""
        listener = self.listen(5000)
        cases = {'reset': dict(op=OP_RST), 'violation': dict(op=OP_REQUEST),
                 'length': dict(op=OP_RW, size=99),
                 'end': dict(op=OP_SHUTDOWN, flags=SHUT_SEND | SHUT_RCV)}
        for sport, (name, end) in enumerate(cases.items(), 2000):
            with self.subTest(name):
                peer = self.connect(sport, 5000, listener)
                packets = [self.guest.header(OP_RW, sport, 5000, 5) + b'first',
                           self.guest.header(OP_RW, sport, 5000, 6) + b'second',
                           self.guest.header(sport=sport, dport=5000, **end)]
                for number, packet in enumerate(packets):
                    address = self.guest.TX_DATA + number * 4096
                    self.guest.write(address, packet)
                    self.guest.tx.add([(address, len(packet))])
                self.guest.tx.wake()
                for _ in packets:
                    self.guest.collect()
                self.assertEqual(b'firstsecond', recv_all(peer))

    def test_half_close_by_guest(self):
        peer = self.connect()
        self.guest.send(OP_RW, 2000, 5000, b'question')
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND)
        self.assertEqual(b'question', recv_all(peer))
        peer.sendall(b'answer')
        self.assertEqual(b'answer', self.guest.data(2000, 5000, 6))
        peer.close()
        packet = self.guest.receive(2000, 5000, OP_SHUTDOWN)
        while packet.flags != SHUT_RCV | SHUT_SEND:
            packet = self.guest.receive(2000, 5000, OP_SHUTDOWN)
        self.guest.send(OP_RST, 2000, 5000)

    def test_half_close_by_host(self):
        peer = self.connect()
        peer.sendall(b'question')
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(b'question', self.guest.data(2000, 5000, 8))
        self.assertEqual(SHUT_SEND, self.guest.receive(2000, 5000, OP_SHUTDOWN).flags)
        self.guest.send(OP_RW, 2000, 5000, b'answer')
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_RCV | SHUT_SEND)
        self.assertEqual(b'answer', recv_all(peer))
        self.assertEqual(OP_RST, self.guest.receive(2000, 5000, OP_RST).op)

    def test_guest_stops_reading(self):
        peer = self.connect()
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_RCV)
        helpertest.wait_for(lambda: self.broken_pipe(peer))
        self.guest.send(OP_RW, 2000, 5000, b'still')
        self.assertEqual(b'still', peer.recv(10))

    @staticmethod
    def broken_pipe(peer):
        try:
            peer.send(b'x')
            return False
        except BrokenPipeError:
            return True

    def test_host_closes(self):
        """All that was written before arrives; then the guest is told, and confirms."""
        peer = self.connect()
        peer.sendall(bytes(10000))
        peer.close()
        self.assertEqual(10000, len(self.guest.data(2000, 5000, 10000)))
        packet = self.guest.receive(2000, 5000, OP_SHUTDOWN)
        while packet.flags != SHUT_RCV | SHUT_SEND:
            packet = self.guest.receive(2000, 5000, OP_SHUTDOWN)
        self.guest.send(OP_RW, 2000, 5000, b'too late')
        self.guest.send(OP_RST, 2000, 5000)
        self.alive()

    def test_host_leaves_unread(self):
        """
        A program that closes without reading what came: the guest gets what the program had
        written, and then the end of it; a kernel would make a reset an error.
        """
        for said in (b'', b'said before'):
            with self.subTest(said):
                if os.path.exists(self.path('sockets/vsock_5000')):
                    os.unlink(self.path('sockets/vsock_5000'))
                peer = self.connect()
                self.guest.send(OP_RW, 2000, 5000, b'unread')
                self.assertTrue(select.select([peer], [], [], SHORT)[0])
                if said:
                    peer.sendall(said)
                peer.close()
                self.assertEqual(said, self.guest.data(2000, 5000, len(said)))
                packet = self.guest.receive(2000, 5000, OP_SHUTDOWN, OP_RST)
                while packet.flags != SHUT_RCV | SHUT_SEND:
                    self.assertEqual(OP_SHUTDOWN, packet.op)
                    packet = self.guest.receive(2000, 5000, OP_SHUTDOWN, OP_RST)
                self.guest.send(OP_RST, 2000, 5000)
        self.alive()

    def test_guest_leaves_unread(self):
        """A guest that closes without taking what came: the program gets what it had sent."""
        peer = self.connect(alloc=0)
        peer.sendall(bytes(10000))
        self.guest.send(OP_RW, 2000, 5000, b'said before', alloc=0)
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_RCV | SHUT_SEND)
        self.assertEqual(b'said before', recv_all(peer))
        self.assertEqual(OP_RST, self.guest.receive(2000, 5000, OP_RST).op)

    def test_no_confirmation(self):
        """A guest that does not confirm the end is reset in the end."""
        peer = self.connect()
        peer.close()
        self.assertEqual(OP_RST, self.guest.receive(2000, 5000, OP_RST, timeout=12).op)

    def test_reset_by_guest(self):
        peer = self.connect()
        self.guest.send(OP_RST, 2000, 5000)
        self.assertEqual(b'', recv_all(peer))
        self.assertTrue(self.guest.nothing())

    def test_nobody_listens(self):
        self.guest.send(OP_REQUEST, 2000, 5000)
        self.assertEqual(OP_RST, self.guest.receive(2000, 5000).op)
        listener = self.listen(5001)
        listener.close()
        self.guest.send(OP_REQUEST, 2000, 5001)
        self.assertEqual(OP_RST, self.guest.receive(2000, 5001).op)
        self.path('sockets/vsock_5002', b'no socket')
        self.guest.send(OP_REQUEST, 2000, 5002)
        self.assertEqual(OP_RST, self.guest.receive(2000, 5002).op)
        self.alive()

    def test_full_backlog(self):
        self.listen(5000, backlog=0)
        answers = []
        begin = time.monotonic()
        for i in range(5):
            self.guest.send(OP_REQUEST, 2000 + i, 5000)
            answers.append(self.guest.receive(2000 + i, 5000).op)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(OP_RESPONSE, answers[0])
        self.assertEqual(OP_RST, answers[-1])
        self.assertIn('backlog', self.log())
        self.alive()

    def test_directory_is_renamed(self):
        os.rename(self.path('sockets'), self.path('a' * 200))
        long = os.path.join(self.path('a' * 200), 'vsock_5000')
        fd = os.open(os.path.dirname(long), os.O_PATH)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f'/proc/self/fd/{fd}/vsock_5000')
        os.close(fd)
        listener.listen(1)
        listener.settimeout(SHORT)
        self.keep.append(listener)
        self.connect(listener=listener)

    def test_thousand(self):
        """A thousand connections at once, each with its own data."""
        listener = self.listen(5000, backlog=1024)
        peers = {}
        before = self.descriptors()
        for i in range(1000):
            peer = self.connect(10000 + i, 5000, listener)
            peer.sendall(b'%d' % i)
            peers[i] = peer
        for i, peer in peers.items():
            size = len(b'%d' % i)
            self.assertEqual(b'%d' % i, self.guest.data(10000 + i, 5000, size))
            self.guest.send(OP_RW, 10000 + i, 5000, b'-%d' % i)
            self.assertEqual(b'-%d' % i, peer.recv(100))
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as status:
            anonymous = [line for line in status if line.startswith('RssAnon')][0].split()[1]
        # kB; with AddressSanitizer several times what it is without
        self.assertLess(int(anonymous), 100000)
        for i in peers:
            self.guest.send(OP_SHUTDOWN, 10000 + i, 5000, flags=SHUT_RCV | SHUT_SEND)
            self.guest.receive(10000 + i, 5000, OP_RST)
        for peer in peers.values():
            self.assertEqual(b'', peer.recv(1))
        helpertest.wait_for(lambda: self.descriptors() <= before)

    def test_credit_in_shutdown(self):
        """Credit that comes with another packet than an update wakes the transmission."""
        peer = self.connect(alloc=1000)
        peer.sendall(bytes(5000))
        self.assertEqual(1000, len(self.guest.receive(2000, 5000, OP_RW).data))
        self.assertEqual(OP_CREDIT_REQUEST, self.guest.receive(2000, 5000).op)
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND, alloc=65536, taken=1000)
        self.assertEqual(4000, len(self.guest.data(2000, 5000, 4000)))

    def test_credit_in_second_shutdown(self):
        """So it does where the shutdown itself changes nothing."""
        peer = self.connect(alloc=1000)
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND, alloc=1000)
        time.sleep(0.2)
        peer.sendall(bytes(5000))
        self.assertEqual(1000, len(self.guest.receive(2000, 5000, OP_RW).data))
        self.assertEqual(OP_CREDIT_REQUEST, self.guest.receive(2000, 5000).op)
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND, alloc=65536, taken=1000)
        self.guest.taken.clear()
        self.guest.receive(2000, 5000, OP_RW)

    def test_credit_in_shutdown_with_backlog(self):
        """And while the peer has not taken all that the guest has sent."""
        peer = self.connect()
        self.fill(2000, 5000)
        self.guest.send(OP_CREDIT_UPDATE, 2000, 5000, alloc=1000)
        peer.sendall(bytes(5000))
        self.assertEqual(1000, len(self.guest.receive(2000, 5000, OP_RW).data))
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND, alloc=65536, taken=1000)
        self.guest.receive(2000, 5000, OP_RW)

    def test_no_way_is_open(self):
        """The guest reads no more and the program has gone: nothing is kept of it."""
        peer = self.connect()
        before = self.descriptors()
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_RCV)
        peer.close()
        self.guest.receive(2000, 5000, OP_SHUTDOWN, OP_RST)
        time.sleep(1)
        self.assertLess(self.descriptors(), before)


class ProgramTest(DeviceCase):
    """Programs of the host, polite and not"""

    def setUp(self):
        super().setUp()
        self.boot()

    def test_connect(self):
        program, port = self.connect_host()
        self.guest.send(OP_RW, 6000, port, b'from the guest')
        self.assertEqual(b'from the guest', program.recv(100))
        program.sendall(b'from the host')
        self.assertEqual(b'from the host', self.guest.data(6000, port, 13))
        other, another = self.connect_host()
        self.assertNotEqual(port, another)
        other.close()

    def test_refused(self):
        for data in (b'', b'and more', bytes(100000)):
            with self.subTest(len(data)):
                program = self.dial(b'CONNECT 6000\n' + data)
                packet = self.request(6000)
                self.guest.send(OP_RST, 6000, packet.sport)
                self.assertEqual(b'', program.recv(1))

    def test_no_answer(self):
        program = self.dial(b'CONNECT 6000\n')
        packet = self.request(6000)
        program.settimeout(15)
        self.assertEqual(b'', program.recv(1))
        self.assertEqual(OP_RST, self.guest.receive(6000, packet.sport).op)

    def test_line_in_pieces(self):
        program = self.dial()
        for byte in b'CONNECT 6000\n':
            program.send(bytes([byte]))
            time.sleep(0.01)
        self.request(6000)

    def test_carriage_return(self):
        self.dial(b'CONNECT 6000\r\n')
        self.request(6000)

    def test_data_behind_the_line(self):
        data = os.urandom(3000)
        _, port = self.connect_host(data=data)
        self.assertEqual(data, self.guest.data(6000, port, len(data)))

    def test_data_and_gone(self):
        """Line, data and end in one go, as of a pipe into socat."""
        program = self.dial(b'CONNECT 6000\nlast words')
        program.close()
        packet = self.request(6000)
        self.guest.send(OP_RESPONSE, 6000, packet.sport)
        self.assertEqual(b'last words', self.guest.data(6000, packet.sport, 10))
        end = self.guest.receive(6000, packet.sport, OP_SHUTDOWN)
        while end.flags != SHUT_RCV | SHUT_SEND:
            end = self.guest.receive(6000, packet.sport, OP_SHUTDOWN)
        self.guest.send(OP_RST, 6000, packet.sport)
        self.alive()

    def test_bad_lines(self):
        for line in (b'\n', b'CONNECT\n', b'CONNECT \n', b'CONNECT x\n', b'connect 1\n',
                     b'CONNECT -1\n', b'CONNECT 4294967295\n', b'CONNECT 99999999999999999999\n',
                     b'CONNECT 1 2\n', b'C' * 100, bytes(100), b'CONNECT 1' + b'0' * 1000):
            with self.subTest(line[:20]):
                program = self.dial(line)
                self.assertEqual(b'', program.recv(1))
                with self.assertRaises(BrokenPipeError):
                    program.send(b'more')
        self.assertTrue(self.guest.nothing())
        self.alive()

    def test_bad_line_without_end(self):
        """A program that goes on writing: it is told, and costs nobody anything."""
        program = self.dial()
        program.setblocking(False)
        with self.assertRaises(BrokenPipeError):
            for _ in range(100000):
                try:
                    program.send(bytes(65536))
                except BlockingIOError:
                    select.select([], [program], [], SHORT)
        program.settimeout(SHORT)
        self.assertEqual(b'', program.recv(1))
        self.alive()

    def test_half_line_and_gone(self):
        before = self.descriptors()
        for data in (b'', b'C', b'CONNECT 60'):
            self.dial(data).close()
        half = self.dial(b'CONNECT 6')
        half.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', half.recv(1))
        helpertest.wait_for(lambda: self.descriptors() <= before)
        self.assertTrue(self.guest.nothing())

    def test_line_never_finished(self):
        program = self.dial(b'CONNECT 60')
        program.settimeout(15)
        self.assertEqual(b'', program.recv(1))

    def test_many_idle_programs(self):
        """Programs that connect and say nothing keep nobody out."""
        for _ in range(200):
            self.dial()
        self.connect_host()
        self.alive()

    def test_never_reads(self):
        program, port = self.connect_host()
        for _ in range(8):
            self.guest.send(OP_RW, 6000, port, bytes(32768))
        self.alive()
        self.assertEqual(8 * 32768, len(recv_exactly(program, 8 * 32768)))

    def test_writes_straight_after_ok(self):
        """Nothing is lost of what a program writes as soon as it has read OK, a thousand times."""
        path = self.path('sockets/vsock')

        def talk(data):
            with socket.socket(socket.AF_UNIX) as program:
                program.settimeout(SHORT)
                program.connect(path)
                program.sendall(b'CONNECT 6000\n')
                ok = b''
                while not ok.endswith(b'\n'):
                    ok += program.recv(100)
                program.sendall(data)

        self.assert_thousand(talk)

    def test_before_the_driver(self):
        self.guest.stop()
        self.assertEqual(b'', self.dial(b'CONNECT 6000\n').recv(1))
        self.assertEqual(b'', self.dial(b'CONNECT 6000\nand more').recv(1))


class LinkTest(DeviceCase):
    """The services process of the enclave"""

    services = True

    def setUp(self):
        super().setUp()
        self.boot()

    def refused(self, port, sport=3000):
        self.guest.send(OP_REQUEST, sport, port)
        return self.guest.receive(sport, port).op == OP_RST

    def taken(self, port, sport=2000, link=None):
        """A connection of the guest that the services process gets"""
        self.guest.send(OP_REQUEST, sport, port)
        self.assertEqual(OP_RESPONSE, self.guest.receive(sport, port).op)
        sock = (link or self.link).connection(port)
        self.keep.append(sock)
        return sock

    def answered(self, ident, link=None):
        """The connection that the services process has asked for"""
        sock = (link or self.link).answer(ident)
        self.assertIsInstance(sock, socket.socket, sock)
        self.keep.append(sock)
        return sock

    def test_both_ways(self):
        self.link.serve(8443, 9514)
        sock = self.taken(8443)
        self.guest.send(OP_RW, 2000, 8443, b'from the guest')
        self.assertEqual(b'from the guest', sock.recv(100))
        sock.sendall(b'from the host')
        self.assertEqual(b'from the host', self.guest.data(2000, 8443, 13))
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(SHUT_SEND, self.guest.receive(2000, 8443, OP_SHUTDOWN).flags)
        self.guest.send(OP_RW, 2000, 8443, b'and more')
        self.assertEqual(b'and more', sock.recv(100))
        self.taken(9514, 2001)
        self.alive()

    def test_large(self):
        self.link.serve(8443)
        sock = self.taken(8443)
        sent = self.fill(2000, 8443)
        self.assertEqual(sent, recv_exactly(sock, len(sent)))

    def test_not_served(self):
        """Ports of others go where they went before, and a served one is nobody else's."""
        listener = self.listen(8443)
        self.link.serve(8443)
        self.taken(8443)
        listener.settimeout(0.2)
        self.assertRaises(TimeoutError, listener.accept)
        self.alive()

    def test_without_a_link(self):
        """A served port is refused while there is no link, whoever listens there."""
        self.listen(8443)
        self.link.serve(8443)
        sock = self.taken(8443)
        self.link.close()
        helpertest.wait_for(lambda: 'has ended' in self.log())
        self.assertTrue(self.refused(8443))
        # what was handed over lives on
        self.guest.send(OP_RW, 2000, 8443, b'still')
        self.assertEqual(b'still', sock.recv(100))
        self.taken(8443, 2002, self.new_link().serve(8443))

    def test_newest_link(self):
        self.link.serve(8443, 8444)
        newer = self.new_link().serve(8443)
        self.assertTrue(self.link.ended())
        self.taken(8443, link=newer)
        self.assertTrue(self.refused(8444))

    def test_waits_in_the_link(self):
        """What comes before the services process reads is not lost."""
        self.link.serve(8443)
        for sport in range(2000, 2050):
            self.guest.send(OP_REQUEST, sport, 8443)
            self.assertEqual(OP_RESPONSE, self.guest.receive(sport, 8443).op)
            self.guest.send(OP_RW, sport, 8443, b'%d' % sport)
        for sport in range(2000, 2050):
            with self.link.connection(8443) as sock:
                self.assertEqual(b'%d' % sport, sock.recv(100))

    def test_connect(self):
        self.link.serve()
        ident = self.link.ask(6000)
        port = self.request(6000).sport
        self.link.socket.settimeout(0.2)
        self.assertRaises(TimeoutError, self.link.socket.recv, 1)
        self.guest.send(OP_RESPONSE, 6000, port)
        sock = self.answered(ident)
        self.guest.send(OP_RW, 6000, port, b'from the guest')
        self.assertEqual(b'from the guest', sock.recv(100))
        sock.sendall(b'from the host')
        self.assertEqual(b'from the host', self.guest.data(6000, port, 13))
        sock.close()
        self.guest.receive(6000, port, OP_SHUTDOWN)

    def test_connect_straight_after(self):
        """Nothing is lost of what is written as soon as there is a descriptor, a thousand times."""
        self.link.serve()

        def talk(data):
            with self.link.answer(self.link.ask(6000)) as sock:
                sock.sendall(data)

        self.assert_thousand(talk)

    def test_connect_refused(self):
        self.link.serve()
        ident = self.link.ask(6000)
        self.guest.send(OP_RST, 6000, self.request(6000).sport)
        self.assertEqual(errno.ECONNREFUSED, self.link.answer(ident))

    def test_connect_no_answer(self):
        self.link.serve()
        ident = self.link.ask(6000)
        self.request(6000)
        self.assertEqual(errno.ETIMEDOUT, self.link.answer(ident, 15))

    def test_connect_before_the_driver(self):
        self.link.serve()
        self.guest.stop()
        self.assertEqual(errno.ECONNREFUSED, self.link.answer(self.link.ask(6000)))

    def test_connect_while_the_driver_stops(self):
        self.link.serve()
        ident = self.link.ask(6000)
        self.request(6000)
        self.guest.stop()
        self.assertEqual(errno.ECONNREFUSED, self.link.answer(ident))

    def test_connect_in_any_order(self):
        self.link.serve()
        first, second = self.link.ask(6000), self.link.ask(6001)
        ports = [self.request(6000).sport, self.request(6001).sport]
        self.guest.send(OP_RESPONSE, 6001, ports[1])
        self.answered(second)
        self.guest.send(OP_RESPONSE, 6000, ports[0])
        self.answered(first)

    def test_link_lost_while_connecting(self):
        """Nobody waits for the connection any more: it ends, and nothing is left of it."""
        self.link.serve()
        before = self.descriptors()
        for answer in (OP_RESPONSE, OP_RST):
            self.link.ask(6000)
            port = self.request(6000).sport
            self.link.close()
            helpertest.wait_for(lambda: 'has ended' in self.log())
            self.guest.send(answer, 6000, port)
            if answer == OP_RESPONSE:
                self.guest.receive(6000, port, OP_SHUTDOWN)
                self.guest.send(OP_RST, 6000, port)
            self.link = self.new_link().serve()
            helpertest.wait_for(lambda: self.descriptors() <= before)
        self.alive()

    def test_does_not_read(self):
        """A services process that does not read costs a bounded number of descriptors."""
        self.link.serve(8443)
        before = self.descriptors()
        taken = 0
        while not self.refused(8443, 2000 + taken):
            taken += 1
            self.assertLess(taken, 1500)
        self.assertGreater(taken, linkclient.QUEUE_MAX)
        # one end of each, and those whose other end waits
        self.assertLessEqual(self.descriptors(), before + taken + linkclient.QUEUE_MAX)
        for _ in range(taken):
            self.link.connection(8443).close()
        self.alive()
        self.taken(8443, 50000)

    def test_too_many_asked_for(self):
        self.link.serve()
        idents = [self.link.ask(6000) for _ in range(300)]
        refused = [self.link.answer(ident) for ident in idents[256:]]
        self.assertEqual({errno.EAGAIN}, set(refused))
        self.guest.send(OP_RESPONSE, 6000, self.request(6000).sport)
        self.answered(idents[0])

    def test_finishes(self):
        """What the guest sends before its end reaches the services process."""
        self.link.serve(8443)
        sock = self.taken(8443)
        data = self.fill(2000, 8443)
        self.qmp.sendall(b'{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}\n')
        self.assert_exited(self.control, 'poweroff')
        self.assertEqual(data, recv_all(sock))


class HostileLinkTest(DeviceCase):
    """A services process that asks for what is not its due: its link is closed."""

    services = True

    def setUp(self):
        super().setUp()
        self.boot()

    BAD = (
        b'{"command": "connect", "id": 1, "port": 5}\n', b'{"command": "enclave", "cid": 16}\n',
        b'{}\n', b'{"command": "fly"}\n', b'garbage\n', b'[]\n', b'{"command": "serve"}\n',
        b'{"command": "serve", "ports": 5}\n', b'{"command": "serve", "ports": {"5": 5}}\n',
        b'{"command": "serve", "ports": [5, "6"]}\n', b'{"command": "serve", "ports": [5, [6]]}\n',
        b'{"command": "serve", "ports": [5, {"a": 6}]}\n',
        b'{"command": "serve", "ports": [5.5]}\n',
        b'{"command": "serve", "ports": [null]}\n', b'{"command": "serve", "ports": [-1]}\n',
        b'{"command": "serve", "ports": [4294967295]}\n',
        b'{"command": "serve", "ports": [9000]}\n',
        b'{"command": "serve", "ports": [4294967296]}\n',
        b'{"command": "serve", "ports": [5, 5]}\n',
        b'{"command": "serve", "ports": [99999999999999999999]}\n',
        b'{"command": "serve", "ports": [%s]}\n' % b','.join(b'%d' % n for n in range(1, 66)),
        b'{"command": "serve", "ports": [%s]}\n' % b','.join([b'5'] * 10000),
        b'{"a": "' + b'x' * 65536,
    )
    BAD_LATER = (
        b'{"command": "serve", "ports": [5]}\n', b'{"command": "serve", "ports": []}\n',
        b'{"command": "enclave"}\n', b'{"command": "enclave", "cid": 3}\n',
        b'{"command": "enclave", "cid": 16}\n{"command": "enclave", "cid": 16}\n',
        b'{"command": "enclave", "cid": 4294967295}\n', b'{"command": "connect"}\n',
        b'{"command": "connect", "id": 1}\n', b'{"command": "connect", "port": 1}\n',
        b'{"command": "connect", "id": "1", "port": 1}\n',
        b'{"command": "connect", "id": 1, "port": -1}\n',
        b'{"command": "connect", "id": 1, "port": 4294967295}\n', b'garbage\n',
    )

    def test_not_understood(self):
        for later, cases in ((False, self.BAD), (True, self.BAD_LATER)):
            for data in cases:
                with self.subTest(data[:60], later=later):
                    link = self.new_link()
                    if later:
                        link.serve(8443)
                    try:
                        link.raw(data)
                    except (BrokenPipeError, ConnectionResetError):
                        pass
                    self.assertTrue(link.ended())
        self.alive()

    def test_most_ports(self):
        ports = range(20000, 20064)
        link = self.new_link().serve(*ports)
        for port in (ports[0], ports[-1]):
            self.guest.send(OP_REQUEST, port, port)
            self.assertEqual(OP_RESPONSE, self.guest.receive(port, port).op)
            link.connection(port).close()

    def test_ignored(self):
        link = self.new_link().serve(8443, cid=99)
        link.raw(b'{"command": "fly", "ports": [1]}\n{}\n{"command": 5, "more": [[{}]]}\n')
        self.guest.send(OP_REQUEST, 2000, 8443)
        link.connection(8443).close()

    def test_heartbeat_is_no_service(self):
        """Port 9000 is answered by the device alone."""
        self.new_link().serve(8443)
        self.guest.send(OP_REQUEST, 2000, HEARTBEAT)
        self.assertEqual(OP_RESPONSE, self.guest.receive(2000, HEARTBEAT).op)
        self.guest.send(OP_RW, 2000, HEARTBEAT, b'\xb7')
        self.assertEqual(b'\xb7', self.guest.data(2000, HEARTBEAT, 1))

    def test_floods(self):
        """Lines without end, and none of the answers is read"""
        link = self.new_link().serve()
        link.socket.settimeout(0.2)
        line = b''.join(b'{"command": "connect", "id": %d, "port": 5}\n' % n for n in range(1000))
        try:
            for _ in range(200):
                link.raw(line)
        except TimeoutError:
            pass
        self.alive()
        # AddressSanitizer keeps what is freed
        if not nitrodevmock.libasan_of(helpertest.HELPER):
            self.assertLess(self.resident(peak=True), 60 * MIB)

    def test_links_that_come_and_go(self):
        before = self.descriptors()
        for _ in range(200):
            self.new_link().close()
        link = self.new_link().serve(8443)
        self.guest.send(OP_REQUEST, 2000, 8443)
        link.connection(8443).close()
        helpertest.wait_for(lambda: self.descriptors() <= before + 1)


class ForwardTest(DeviceCase):
    """The host's own vsock, where nobody has a socket; AF_VSOCK is nitrodevmock's."""

    services = True

    def setUp(self):
        self.mock = nitrodevmock.NitroMock()
        self.mock.__enter__()
        self.addCleanup(self.mock.__exit__, None, None, None)
        self.environment = self.mock.environment(helpertest.HELPER)
        super().setUp()
        self.boot()

    def listen_vsock(self, port):
        listener = self.mock.occupy(port)
        listener.settimeout(SHORT)
        self.keep.append(listener)
        return listener

    def test_both_ways(self):
        peer = self.connect(port=7000, listener=self.listen_vsock(7000))
        self.guest.send(OP_RW, 2000, 7000, b'from the guest')
        self.assertEqual(b'from the guest', peer.recv(100))
        peer.sendall(b'from the host')
        self.assertEqual(b'from the host', self.guest.data(2000, 7000, 13))
        peer.close()
        self.guest.receive(2000, 7000, OP_SHUTDOWN)

    def test_nobody_listens(self):
        self.guest.send(OP_REQUEST, 2000, 7000)
        self.assertEqual(OP_RST, self.guest.receive(2000, 7000).op)

    def test_socket_comes_first(self):
        listener = self.listen_vsock(7000)
        self.connect(port=7000)
        listener.settimeout(0.2)
        self.assertRaises(TimeoutError, listener.accept)

    def test_socket_that_nobody_serves(self):
        """It is not the host's vsock that is meant."""
        listener = self.listen_vsock(7000)
        self.listen(7000).close()
        self.guest.send(OP_REQUEST, 2000, 7000)
        self.assertEqual(OP_RST, self.guest.receive(2000, 7000).op)
        listener.settimeout(0.2)
        self.assertRaises(TimeoutError, listener.accept)

    def test_never(self):
        """The heartbeat's port and those of services, of whom there may be none, stay here."""
        listeners = [self.listen_vsock(port) for port in (HEARTBEAT, 7000)]
        self.link.serve(7000)
        self.link.close()
        helpertest.wait_for(lambda: 'has ended' in self.log())
        self.guest.send(OP_REQUEST, 2000, 7000)
        self.assertEqual(OP_RST, self.guest.receive(2000, 7000).op)
        self.guest.send(OP_REQUEST, 2000, HEARTBEAT)
        self.assertEqual(OP_RESPONSE, self.guest.receive(2000, HEARTBEAT).op)
        for listener in listeners:
            listener.settimeout(0.2)
            self.assertRaises(TimeoutError, listener.accept)


class NoLoopbackTest(DeviceCase):
    """The kernel's own AF_VSOCK, where a connection with CID 1 is not answered"""

    def setUp(self):
        try:
            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
                sock.bind((1, socket.VMADDR_PORT_ANY))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                self.skipTest(f'AF_VSOCK cannot be used here: {error}')
        else:
            self.skipTest('this kernel has a vsock loopback')
        super().setUp()
        self.boot()

    def test_time_limit(self):
        """The guest is refused in time, others do not wait, and the next one is refused at once."""
        begin = time.monotonic()
        self.guest.send(OP_REQUEST, 2000, 7000)
        self.alive()
        self.assertEqual(OP_RST, self.guest.receive(2000, 7000).op)
        self.assertGreater(time.monotonic() - begin, 0.9)
        before = self.descriptors()
        for sport in range(2001, 2020):
            self.guest.send(OP_REQUEST, sport, 7000)
            self.assertEqual(OP_RST, self.guest.receive(sport, 7000).op)
        self.assertEqual(before, self.descriptors())
        self.assertLess(time.monotonic() - begin, 10)

    def test_flood(self):
        """All are refused, and nothing is left of them."""
        before = self.descriptors()
        for sport in range(2000, 2300):
            self.guest.send(OP_REQUEST, sport, 7000)
        self.alive()
        for sport in range(2000, 2300):
            self.assertEqual(OP_RST, self.guest.receive(sport, 7000).op)
        helpertest.wait_for(lambda: self.descriptors() <= before)
        self.assertLess(self.log().count('\n'), 40)

    def test_guest_gives_up(self):
        before = self.settled_descriptors()
        self.guest.send(OP_REQUEST, 2000, 7000)
        helpertest.wait_for(lambda: self.descriptors() == before + 1)
        self.guest.send(OP_RST, 2000, 7000)
        helpertest.wait_for(lambda: self.descriptors() == before)
        self.alive()

    def test_too_early(self):
        """What a guest sends before it was answered costs it the connection."""
        for op in (OP_RW, OP_SHUTDOWN, OP_RESPONSE, OP_REQUEST):
            with self.subTest(op):
                self.guest.send(OP_REQUEST, 2000 + op, 7000)
                self.guest.send(op, 2000 + op, 7000, flags=SHUT_SEND if op == OP_SHUTDOWN else 0)
                self.assertEqual(OP_RST, self.guest.receive(2000 + op, 7000).op)
        self.alive()


class HostileTest(DeviceCase):
    """A guest that breaks the rules"""

    def setUp(self):
        super().setUp()
        self.boot()

    def assert_reset(self, sport=2000, port=5000):
        self.assertEqual(OP_RST, self.guest.receive(sport, port, OP_RST).op)

    def test_packets(self):
        cases = {
            'to nobody': dict(op=OP_RW, sport=1, dport=2),
            'credit to nobody': dict(op=OP_CREDIT_UPDATE, sport=1, dport=2),
            'response to nobody': dict(op=OP_RESPONSE, sport=1, dport=2),
            'hypervisor': dict(op=OP_REQUEST, sport=1, dport=5000, dst=0),
            'itself': dict(op=OP_REQUEST, sport=1, dport=5000, dst=CID),
            'any': dict(op=OP_REQUEST, sport=1, dport=5000, dst=0xffffffff),
            'high bits': dict(op=OP_REQUEST, sport=1, dport=5000, dst=PARENT | 1 << 32),
            'seqpacket': dict(op=OP_REQUEST, sport=1, dport=5000, type=2),
            'unknown type': dict(op=OP_REQUEST, sport=1, dport=5000, type=0xffff),
            'unknown operation': dict(op=99, sport=1, dport=2),
        }
        for name, fields in cases.items():
            with self.subTest(name):
                self.guest.send(**fields)
                packet = self.guest.receive(1, fields['dport'])
                self.assertEqual(OP_RST, packet.op)
                self.assertEqual(fields.get('dst', PARENT), packet.src)
                self.assertEqual(fields.get('type', 1), packet.type)
        with self.subTest('false source'):
            self.guest.send(OP_REQUEST, 1, 5000, src=CID + 1)
            self.assertTrue(self.guest.nothing())
        with self.subTest('no loop of resets'):
            self.guest.send(OP_RST, 1, 2)
            self.guest.send(OP_RST, 1, 2, dst=0)
            self.assertTrue(self.guest.nothing())
        with self.subTest('no header'):
            self.guest.transmit([b'short'])
            self.assertTrue(self.guest.nothing())
        self.alive()

    def test_violations(self):
        listener = self.listen(5000)
        cases = {
            'request': dict(op=OP_REQUEST),
            'response': dict(op=OP_RESPONSE),
            'operation': dict(op=0),
            'taken': dict(op=OP_CREDIT_UPDATE, taken=1),
            'taken wraps': dict(op=OP_CREDIT_UPDATE, taken=0xffffffff),
        }
        for name, fields in cases.items():
            with self.subTest(name):
                peer = self.connect(listener=listener)
                self.guest.send(sport=2000, dport=5000, **fields)
                self.assert_reset()
                self.assertEqual(b'', peer.recv(1))
        with self.subTest('length'):
            peer = self.connect(listener=listener)
            self.guest.transmit([self.guest.header(OP_RW, 2000, 5000, 100) + b'x' * 99])
            self.assert_reset()
        with self.subTest('length overflows'):
            peer = self.connect(listener=listener)
            self.guest.transmit([self.guest.header(OP_RW, 2000, 5000, 0xffffffff) + b'x'])
            self.assert_reset()
        with self.subTest('data behind the end'):
            peer = self.connect(listener=listener)
            self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND)
            self.guest.send(OP_RW, 2000, 5000, b'x')
            self.assert_reset()
        with self.subTest('data before the answer'):
            program = self.dial(b'CONNECT 6000\n')
            port = self.request(6000).sport
            self.guest.send(OP_RW, 6000, port, b'x')
            self.assert_reset(6000, port)
            self.assertEqual(b'', program.recv(1))
        self.alive()
        self.assertIn('is reset', self.log())

    def test_credit_overrun(self):
        """A guest that sends more than it may; the program does not read."""
        self.connect()
        for _ in range(60):
            self.guest.send(OP_RW, 2000, 5000, bytes(30000))
            self.guest.fetch()
            if any(packet.op == OP_RST for packet in self.guest.packets):
                break
        self.assert_reset()
        self.alive()

    def test_longer_than_said(self):
        """Bytes behind the length of a packet are not part of it."""
        peer = self.connect()
        self.guest.transmit([self.guest.header(OP_RW, 2000, 5000, 3) + b'abcdef'])
        self.guest.send(OP_SHUTDOWN, 2000, 5000, flags=SHUT_SEND)
        self.assertEqual(b'abc', recv_all(peer))

    def test_empty_data(self):
        peer = self.connect()
        self.guest.send(OP_RW, 2000, 5000)
        self.guest.send(OP_RW, 2000, 5000, b'x')
        self.assertEqual(b'x', peer.recv(10))

    def assert_broken(self, ring, peer):
        """The device has stopped; the driver starts it again."""
        self.assertTrue(select.select([ring.err], [], [], SHORT)[0])
        os.eventfd_read(ring.err)
        self.assertEqual(b'', peer.recv(1))
        self.assertIn('the device stops', self.log())
        self.guest.stop()
        self.guest.start()
        self.alive()

    def break_tx(self, build):
        peer = self.connect()
        tx = self.guest.tx
        tx.push(build(tx))
        tx.wake()
        self.assert_broken(tx, peer)

    def chain(self, *descs):
        def build(tx):
            for i, desc in enumerate(descs):
                tx.set_desc(i, *desc)
            return 0
        return build

    def test_chain_loops(self):
        address = self.guest.TX_DATA
        self.break_tx(self.chain((address, 44, NEXT, 1), (address, 1, NEXT, 0)))

    def test_chain_loops_on_itself(self):
        self.break_tx(self.chain((self.guest.TX_DATA, 0, NEXT, 0)))

    def test_successor_outside(self):
        self.break_tx(self.chain((self.guest.TX_DATA, 44, NEXT, 256)))

    def test_head_outside(self):
        self.break_tx(lambda tx: 256)

    def test_memory_outside(self):
        self.break_tx(self.chain((Guest.SIZE, 44, 0, 0)))

    def test_memory_end(self):
        self.break_tx(self.chain((Guest.SIZE - 43, 44, 0, 0)))

    def test_memory_overflow(self):
        self.break_tx(self.chain((2 ** 64 - 1, 0xffffffff, 0, 0)))

    def test_length_overflow(self):
        self.break_tx(self.chain((0, 0xffffffff, NEXT, 1), (0, 0xffffffff, 0, 0)))

    def test_read_behind_write(self):
        address = self.guest.TX_DATA
        self.break_tx(self.chain((address, 44, NEXT | WRITE, 1), (address, 44, 0, 0)))

    def test_index_jumps(self):
        peer = self.connect()
        self.guest.tx.set_index(self.guest.tx.next + 257)
        self.guest.tx.wake()
        self.assert_broken(self.guest.tx, peer)

    def test_index_goes_back(self):
        peer = self.connect()
        self.guest.tx.set_index(self.guest.tx.next - 1)
        self.guest.tx.wake()
        self.assert_broken(self.guest.tx, peer)

    def indirect(self, table, size=None, flags=INDIRECT, address=None):
        def build(tx):
            where = self.guest.TX_DATA if address is None else address
            self.guest.write(self.guest.TX_DATA, table)
            tx.set_desc(0, where, len(table) if size is None else size, flags, 1)
            return 0
        return build

    def test_indirect(self):
        good = DESC.pack(Guest.TX_DATA + 4096, 44, 0, 0)
        loop = DESC.pack(Guest.TX_DATA + 4096, 44, NEXT, 0)
        cases = {
            'empty': self.indirect(b''),
            'half': self.indirect(good, 24),
            'in another': self.indirect(DESC.pack(Guest.TX_DATA, 16, INDIRECT, 0)),
            'with successor': self.indirect(good, flags=INDIRECT | NEXT),
            'loops': self.indirect(loop),
            'successor': self.indirect(DESC.pack(Guest.TX_DATA, 44, NEXT, 1)),
            'outside': self.indirect(good, address=Guest.SIZE - 8),
            'address overflows': self.indirect(DESC.pack(Guest.TX_DATA, 44, NEXT, 1), 32,
                                               address=2 ** 64 - 16),
            'huge': self.indirect(good, 0xfffffff0),
        }
        for name, build in cases.items():
            with self.subTest(name):
                for listener in self.keep:
                    listener.close()
                if os.path.exists(self.path('sockets/vsock_5000')):
                    os.unlink(self.path('sockets/vsock_5000'))
                self.break_tx(build)

    def break_rx(self, address, size, flags):
        """The first receive buffer of a fresh ring is a bad one."""
        self.guest.stop()
        self.guest.start(buffers=0)
        rx = self.guest.rx
        rx.set_desc(0, address, size, flags)
        rx.push(0)
        self.guest.send(OP_REQUEST, 2000, 5000)
        self.assertTrue(select.select([rx.err], [], [], SHORT)[0])
        self.guest.stop()
        self.guest.start()
        self.alive()

    def test_receive_buffer_not_writable(self):
        self.break_rx(Guest.DATA, 4096, 0)

    def test_receive_buffer_small(self):
        self.break_rx(Guest.DATA, 43, WRITE)

    def test_receive_buffer_outside(self):
        self.break_rx(Guest.SIZE - 4095, 4096, WRITE)

    def test_flood_of_requests(self):
        """No answers are fetched: the device stops to listen, and goes on later."""
        guest = self.guest
        self.listen(5000).close()  # each request is refused at once
        guest.stop()
        guest.start(buffers=0)
        header = guest.header(OP_REQUEST, 2000, 5000)
        guest.write(guest.TX_DATA, header)
        for _ in range(3):
            while len(guest.tx.free) > 0:
                guest.tx.add([(guest.TX_DATA, len(header))])
            guest.tx.wake()
            time.sleep(0.1)
            while guest.tx.take():
                pass
        self.assertLess(len(guest.tx.free), 256)
        guest.post(range(64))
        resets = 0
        end = time.monotonic() + SHORT
        while resets < 500 and time.monotonic() < end:
            guest.fetch()
            resets += len(guest.packets)
            self.assertEqual({OP_RST}, {packet.op for packet in guest.packets} | {OP_RST})
            guest.packets.clear()
        self.assertGreaterEqual(resets, 500)
        while len(guest.tx.free) < 256 and time.monotonic() < end:
            guest.tx.take()
            guest.fetch()
        guest.packets.clear()
        self.alive()

    def test_flood_of_connections(self):
        """As many connections as there may be, then resets; memory is bounded."""
        listener = self.listen(5000, backlog=4096)
        answers = []
        for i in range(2100):
            self.guest.send(OP_REQUEST, 10000 + i, 5000)
            answers.append(self.guest.receive(10000 + i, 5000).op)
            if answers[-1] == OP_RESPONSE:
                self.accept(listener)
        refused = answers.count(OP_RST)
        self.assertEqual([OP_RESPONSE] * (2100 - refused) + [OP_RST] * refused, answers)
        self.assertGreater(refused, 0)

    def test_log_is_limited(self):
        for _ in range(200):
            self.guest.transmit([b'short'])
        self.assertLess(self.log().count('shorter than its header'), 20)

    def test_chain_of_nothing(self):
        """Descriptors without a byte count as well: a chain of 32768 is too long."""
        guest = self.guest
        table = b''.join(DESC.pack(guest.TX_DATA, 0, NEXT, i + 1) for i in range(32767))
        table += DESC.pack(guest.TX_DATA, 44, 0, 0)
        guest.write(10 * MIB, table)

        def build(tx):
            tx.set_desc(0, 10 * MIB, len(table), INDIRECT)
            return 0
        self.break_tx(build)

    def test_refusals_are_not_all_logged(self):
        """A guest that sets up bad rings again and again does not fill the log."""
        guest = self.guest
        user = guest.USER[0]
        guest.stop()
        for _ in range(100):
            guest.front.send(SET_VRING_ADDR, struct.pack('<IIQQQQ', 0, 0, user + 1, user + 0x8001,
                                                         user + 0x9001, 0))
            guest.front.send(SET_VRING_ENABLE, struct.pack('<II', 0, 1))
            guest.front.send(SET_VRING_NUM, struct.pack('<II', 0, 3))
            guest.front.acked(SET_VRING_KICK, struct.pack('<Q', 0), [guest.rx.kick])
            guest.front.ask(GET_VRING_BASE, struct.pack('<II', 0, 0))
        self.assertLess(self.log().count('is refused'), 20)


class EndTest(DeviceCase):
    """Guests that end while programs have not read all that they had sent"""

    def setUp(self):
        super().setUp()
        self.boot()

    def end(self):
        self.qmp.sendall(b'{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}\n')

    def test_read_later(self):
        """Nothing is read before the helper has gone."""
        peer = self.connect()
        sent = self.fill(2000, 5000)
        self.end()
        self.assert_exited(self.control, 'poweroff')
        self.assertEqual(sent, recv_all(peer))

    def test_still_in_the_ring(self):
        """So are packets that the device had not been told of."""
        peer = self.connect()
        packet = self.guest.header(OP_RW, 2000, 5000, 10) + b'last words'
        self.guest.write(self.guest.TX_DATA, packet)
        self.guest.tx.add([(self.guest.TX_DATA, len(packet))])
        self.end()
        self.assertEqual(b'last words', recv_all(peer))
        self.assert_exited(self.control, 'poweroff')

    def test_many(self):
        """Some read, some do not, one has left."""
        listener = self.listen(5000, backlog=32)
        peers = [self.connect(3000 + i, 5000, listener) for i in range(20)]
        sent = [self.fill(3000 + i, 5000) for i in range(20)]
        peers[7].close()
        self.end()
        for i in range(0, 20, 2):
            self.assertEqual(sent[i], recv_all(peers[i]))
        self.assert_exited(self.control, 'poweroff')
        for i in (1, 3, 5, 9, 11, 13, 15, 17, 19):
            self.assertEqual(sent[i], recv_all(peers[i]))

    def test_terminated(self):
        """Who ends the enclave does not wait for programs."""
        self.connect()
        self.fill(2000, 5000)
        begin = time.monotonic()
        self.control.send(command='terminate', id=7)
        self.control.reply(7)
        self.assert_exited(self.control, 'terminated')
        self.assertLess(time.monotonic() - begin, 4)


class HeartbeatCase(DeviceCase):
    heartbeat = None

    def beat(self, data, sport=1024):
        self.guest.send(OP_REQUEST, sport, HEARTBEAT)
        self.assertEqual(OP_RESPONSE, self.guest.receive(sport, HEARTBEAT).op)
        self.guest.send(OP_RW, sport, HEARTBEAT, data)


class HeartbeatTest(HeartbeatCase):
    def test_heartbeat(self):
        self.boot()
        self.control.event('started')
        self.assertEqual('boot', self.status()['phase'])
        self.beat(b'\xb7')
        self.assertEqual(b'\xb7', self.guest.data(1024, HEARTBEAT, 1))
        self.control.event('booted')
        self.assertEqual('running', self.status()['phase'])
        # Further ones are answered the same, and a wrong one ends nothing any more.
        self.beat(b'\xb7', 1025)
        self.assertEqual(b'\xb7', self.guest.data(1025, HEARTBEAT, 1))
        self.beat(b'x', 1026)
        self.assertEqual(OP_RST, self.guest.receive(1026, HEARTBEAT, OP_RST).op)
        self.guest.send(OP_SHUTDOWN, 1024, HEARTBEAT, flags=SHUT_RCV | SHUT_SEND)
        self.guest.receive(1024, HEARTBEAT, OP_RST)
        self.alive()
        self.assertEqual('running', self.status()['phase'])

    def test_wrong_byte(self):
        self.boot()
        self.beat(b'\x42')
        self.assert_failed(self.control, 'guest', '0x42', '0xb7')

    def test_closed(self):
        self.boot()
        self.guest.send(OP_REQUEST, 1024, HEARTBEAT)
        self.guest.receive(1024, HEARTBEAT, OP_RESPONSE)
        self.guest.send(OP_SHUTDOWN, 1024, HEARTBEAT, flags=SHUT_RCV | SHUT_SEND)
        self.assert_failed(self.control, 'guest', '9000', 'without sending a byte')

    def test_reboot_with_open_connection(self):
        """A driver that goes is no closed connection; the next one may send."""
        self.boot()
        self.guest.send(OP_REQUEST, 1024, HEARTBEAT)
        self.guest.receive(1024, HEARTBEAT, OP_RESPONSE)
        self.guest.stop()
        self.guest.start()
        self.beat(b'\xb7')
        self.control.event('booted')

    def test_end_before(self):
        self.boot()
        self.control.event('started')
        self.qmp.sendall(b'{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}\n')
        self.assert_failed(self.control, 'guest', 'ended before it had booted')


class HeartbeatTimeoutTest(HeartbeatCase):
    extra = ('--heartbeat-timeout', '2')

    def test_timeout(self):
        self.boot()
        begin = time.monotonic()
        self.control.event('started')
        self.guest.send(OP_REQUEST, 1024, HEARTBEAT)  # and then nothing
        self.assert_failed(self.control, 'timeout', '2 seconds', 'heartbeat')
        self.assertGreater(time.monotonic() - begin, 1)


class NoHeartbeatTest(HeartbeatCase):
    heartbeat = '--no-heartbeat'

    def test_answered(self):
        self.boot()
        self.control.event('booted')
        self.beat(b'\xb7')
        self.assertEqual(b'\xb7', self.guest.data(1024, HEARTBEAT, 1))
        self.beat(b'x', 1025)
        self.assertEqual(OP_RST, self.guest.receive(1025, HEARTBEAT, OP_RST).op)
        self.assertEqual('running', self.status()['phase'])


if __name__ == '__main__':
    taprunner.main()
