# brokertest.py: libvirt_nitro --broker, between helpers and enclaves that tests play
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# LIBVIRT_NITRO_HELPER names the helper. AF_VSOCK is nitrodevmock's. At the end of each test
# the broker gets SIGTERM, must end with status 0 and leave no socket.

import contextlib
import errno
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import linkclient
import nitrodevmock
import refusecalls
import taprunner
from helpercase import Client, wait_for

HELPER = os.environ.get('LIBVIRT_NITRO_HELPER', '')
PORT = 9000
BEAT = b'\xb7'
GRACE = 2   # seconds, BROKER_GRACE_MS
HOLD = 5    # seconds, HEARTBEAT_PORT_HOLD_MS
SETUP = 3600    # seconds, BROKER_SETUP_SECONDS
EXTRA = 10      # seconds, BROKER_EXTRA_SECONDS
LONGEST = 86400 # seconds, NITRO_HEARTBEAT_TIMEOUT_MAX
SHORT = 20
LINE_MAX = 65536
SETTLE = 0.05   # seconds, BROKER_SETTLE_MS
GREETING = {'libvirt-nitro-broker': {'protocol': 1, 'services': 1}}
LISTENING = {'event': 'listening'}
BUSY = {'event': 'port-busy', 'errno': errno.EADDRINUSE}

# What other programs do that want the port, and are as patient as the tests
BIND = f'''
import errno, socket, time
print("started", flush=True)
input()
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
end = time.monotonic() + {SHORT}
while True:
    try:
        s.bind((socket.VMADDR_CID_ANY, {PORT}))
        break
    except OSError as e:
        if e.errno != errno.EADDRINUSE or time.monotonic() > end:
            raise
        time.sleep(0.01)
s.listen()
print("bound", flush=True)
input()
'''


class Helper(Client):
    """A client of the broker."""

    def greeted(self):
        assert self.line() == GREETING
        return self

    def listening(self):
        self.greeted()
        line = self.line()
        assert line == LISTENING, line
        return self

    def expect(self, cid, **more):
        self.send(command='expect', cid=cid, **more)
        return self

    def silent(self, seconds=0.3):
        """Whether nothing comes for a while."""
        try:
            return self.line(seconds) is None and False
        except TimeoutError:
            return True


class BrokerCase(unittest.TestCase):
    def setUp(self):
        if not HELPER:
            self.skipTest('LIBVIRT_NITRO_HELPER is not set')
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.mock = self.stack.enter_context(nitrodevmock.NitroMock())
        self.path = os.path.join(self.mock.dir, 'broker.sock')
        self.log_path = os.path.join(self.mock.dir, 'log')
        self.ports = itertools.count(5000)
        self.process = None
        self.open = []

    def tearDown(self):
        for sock in self.open:
            sock.close()
        if not self.process:
            return
        self.process.terminate()
        try:
            status = self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        log = self.log()
        self.assertEqual(0, status, log)
        self.assertRaises((ConnectionRefusedError, FileNotFoundError), Helper, self.path)
        for text in ('AddressSanitizer', 'runtime error', 'CRITICAL **', 'WARNING **'):
            self.assertNotIn(text, log)

    def log(self):
        with open(self.log_path, encoding='utf-8') as f:
            return f.read()

    def environment(self):
        return self.mock.environment(HELPER)

    def start(self, before=lambda: None):
        """@before is called when the socket is there and the broker does not run yet."""
        with socket.socket(socket.AF_UNIX) as listener, open(self.log_path, 'ab') as log:
            # as the daemon does it, when nobody listens there
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            listener.bind(self.path)
            listener.listen(128)
            before()
            self.process = subprocess.Popen(
                [HELPER, '--broker', '--listen-fd', str(listener.fileno())],
                stdin=subprocess.DEVNULL, stderr=log, pass_fds=[listener.fileno()],
                env=dict(os.environ, **self.environment()))

    def helper(self):
        helper = Helper(self.path)
        self.open.append(helper)
        return helper

    def link(self, *ports, cid=None):
        """A link that serves @ports for the enclave @cid."""
        link = self.new_link()
        return link.serve(*ports, cid=cid)

    def new_link(self):
        link = linkclient.Link(self.path)
        self.open.append(link)
        self.assertEqual(GREETING, link.line())
        return link

    def dial(self, cid, port=PORT):
        """A connection of the enclave @cid with @port of its parent."""
        sock = socket.socket(socket.AF_UNIX)
        self.open.append(sock)
        sock.settimeout(SHORT)
        name = os.path.join(self.mock.dir, 'vsock', f'{cid}.{next(self.ports)}')
        sock.bind(name)
        try:
            sock.connect(os.path.join(self.mock.dir, 'vsock', str(port)))
        finally:
            os.unlink(name)
        return sock

    def beat(self, cid, byte=BEAT):
        sock = self.dial(cid)
        sock.sendall(byte)
        return sock

    def assert_silent(self, sock, seconds=0.3):
        sock.settimeout(seconds)
        self.assertRaises(TimeoutError, sock.recv, 1)
        sock.settimeout(SHORT)

    def assert_closed(self, sock):
        """Closed, without an answer."""
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(b'', sock.recv(1))

    def assert_served(self, cid=77):
        """
        A helper and an enclave that come now are served as they should be; the helper is of a
        version that does not tell its time.
        """
        helper = self.helper().listening().expect(cid)
        self.assertEqual(BEAT, self.beat(cid).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': cid}, helper.line())
        helper.close()

    def sockets(self):
        """How many the broker has open."""
        count = 0
        for fd in os.listdir(f'/proc/{self.process.pid}/fd'):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f'/proc/{self.process.pid}/fd/{fd}').startswith('socket:')
        return count

    def assert_small(self):
        """The broker has never used much memory; AddressSanitizer keeps what is freed."""
        if nitrodevmock.libasan_of(HELPER):
            return
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as f:
            peak = next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))
        self.assertLess(peak, 40 * 1024)

    @contextlib.contextmanager
    def other_tool(self, before=lambda: None):
        """Another program has the port: right after before(), however long it took to start."""
        with subprocess.Popen([sys.executable, '-c', BIND], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, **self.mock.environment())) as process:
            try:
                self.assertEqual('started\n', process.stdout.readline())
                before()
                process.stdin.write('\n')
                process.stdin.flush()
                self.assertEqual('bound\n', process.stdout.readline())
                yield
            finally:
                process.communicate('\n')


class HeartbeatTest(BrokerCase):
    def test_four_at_once(self):
        self.start()
        helpers = {cid: self.helper().listening() for cid in range(16, 20)}
        answers = {}

        def enclave(cid):
            answers[cid] = self.beat(cid).recv(1)

        threads = [threading.Thread(target=enclave, args=[cid]) for cid in helpers]
        for thread in threads:
            thread.start()
        for cid, helper in helpers.items():
            helper.expect(cid)
        for thread in threads:
            thread.join()
        self.assertEqual(dict.fromkeys(helpers, BEAT), answers)
        for cid, helper in helpers.items():
            self.assertEqual({'event': 'heartbeat', 'cid': cid}, helper.line())
            self.assertTrue(helper.silent(0.1))

    def test_before_its_cid_is_known(self):
        self.start()
        helper = self.helper().listening()
        enclave = self.beat(16)
        self.assert_silent(enclave)
        self.assertTrue(helper.silent(0.1))
        helper.expect(16)
        self.assertEqual(BEAT, enclave.recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_unknown_cid(self):
        self.start()
        helper = self.helper().listening().expect(16)
        begin = time.monotonic()
        stranger = self.beat(99)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        self.assert_closed(stranger)
        self.assertGreater(time.monotonic() - begin, HOLD - 1)
        self.assertIn('CID 99', self.log())

    def test_wrong_byte(self):
        self.start()
        helper = self.helper().listening().expect(16)
        other = self.helper().listening().expect(17)
        enclave = self.beat(16, b'\x01')
        message = helper.line()
        self.assertEqual(('heartbeat', 16), (message['event'], message['cid']))
        self.assertIn('0x01', message['reason'])
        self.assertIn(str(PORT), message['reason'])
        self.assert_closed(enclave)
        self.assertTrue(other.silent())

    def test_wrong_byte_before_its_cid_is_known(self):
        self.start()
        helper = self.helper().listening()
        enclave = self.beat(16, b'\x00')
        self.assert_silent(enclave)
        self.assertIn('0x00', helper.expect(16).line()['reason'])

    def test_closed_without_a_byte(self):
        self.start()
        helper = self.helper().listening().expect(16)
        self.dial(16).close()
        self.assertIn('without sending a byte', helper.line()['reason'])

    def test_gone_before_its_cid_is_known(self):
        """What an enclave of the past has left is not this enclave's heartbeat."""
        self.start()
        helper = self.helper().listening()
        before = self.sockets()
        enclave = self.beat(16)
        wait_for(lambda: self.sockets() == before + 1)
        enclave.close()
        wait_for(lambda: self.sockets() == before)
        helper.expect(16)
        self.assertTrue(helper.silent())
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_slow_enclave(self):
        """It is waited for as long as its helper is there; others do not wait for it."""
        self.start()
        helper = self.helper().listening().expect(16)
        slow = self.dial(16)
        for cid in range(17, 20):
            self.assert_served(cid)
        time.sleep(HOLD + 1) # nothing may happen in this time
        slow.sendall(BEAT)
        self.assertEqual(BEAT, slow.recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_one_of_several_connections(self):
        self.start()
        helper = self.helper().listening().expect(16)
        silent = [self.dial(16) for _ in range(10)]
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        for sock in silent:
            self.assert_closed(sock)
        self.assertTrue(helper.silent())

    def test_expected_twice(self):
        self.start()
        helpers = [self.helper().listening().expect(16) for _ in range(2)]
        helpers[0].expect(17).expect(16)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        for helper in helpers:
            self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        helpers[0].expect(16)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helpers[0].line())
        self.assertTrue(helpers[1].silent())

    def test_helper_leaves(self):
        """Nobody expects its enclave any more."""
        self.start()
        keeper = self.helper().listening()
        before = self.sockets()
        self.helper().listening().expect(16).close()
        wait_for(lambda: self.sockets() == before)
        self.assert_closed(self.beat(16))
        self.assertTrue(keeper.silent(0.1))


class PortTest(BrokerCase):
    def test_busy_then_free(self):
        with self.other_tool():
            self.start()
            helper = self.helper().greeted()
            self.assertEqual(BUSY, helper.line())
            self.assertTrue(helper.silent(1))
            late = self.helper().greeted()
            self.assertEqual(BUSY, late.line())
        self.assertEqual(LISTENING, helper.line())
        self.assertEqual(LISTENING, late.line())
        helper.expect(16)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_busy_for_good(self):
        with self.other_tool():
            self.start()
            helper = self.helper().greeted()
            self.assertEqual(BUSY, helper.line())
            helper.close()
            self.assertEqual(0, self.process.wait(GRACE + SHORT))

    def test_no_vsock(self):
        self.mock.fault('vsock-bind', errno='EAFNOSUPPORT', times=1)
        self.start()
        helper = self.helper().greeted()
        self.assertEqual({'event': 'port-busy', 'errno': errno.EAFNOSUPPORT}, helper.line())
        self.assertEqual(LISTENING, helper.line())

    def test_left_to_others(self):
        """The port is free as soon as nobody waits, which the broker's end is not needed for."""
        def served():
            self.start()
            # a client that does not let it end, however slow the other tool is
            self.link()
            self.assert_served()

        with self.other_tool(before=served):
            self.assertIsNone(self.process.poll())

    def test_goes_later(self):
        """When nobody has waited for a while, and no earlier"""
        self.start()
        self.assert_served()
        begin = time.monotonic()
        self.assertEqual(0, self.process.wait(GRACE + SHORT))
        self.assertGreater(time.monotonic() - begin, GRACE - 1)
        self.assertRaises(ConnectionRefusedError, self.helper)

    def test_again_within_the_grace(self):
        self.start()
        for _ in range(5):
            self.assert_served()
            time.sleep(GRACE / 4) # the first one's timer would end it before the last one
        self.assertIsNone(self.process.poll())

    def test_no_client(self):
        self.start()
        begin = time.monotonic()
        self.assertEqual(0, self.process.wait(GRACE + SHORT))
        self.assertGreater(time.monotonic() - begin, GRACE - 1)
        self.assertNotIn('port is ours', self.log())

    def test_client_before_the_broker(self):
        """However long the broker takes, who has connected before it ran is served."""
        helpers = []

        def connect():
            helpers.append(self.helper().expect(16, timeout=60))
            self.helper().close()
            time.sleep(GRACE + 1) # longer than it would wait for its first client

        self.start(connect)
        helper = helpers[0].listening()
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_killed(self):
        self.start()
        helper = self.helper().listening().expect(16)
        enclave = self.beat(17)
        self.process.kill()
        self.assertIsNone(helper.line())
        self.assert_closed(enclave)
        self.process.wait()
        self.start()
        self.assert_served()


class LastMomentTest(BrokerCase):
    """Clients that come while the broker ends: it is held in between, see holdmock.c."""

    def environment(self):
        library = os.path.join(nitrodevmock.BUILD, 'tests', 'holdmock.so')
        env = self.mock.environment(HELPER)
        return dict(env, LD_PRELOAD=f'{env["LD_PRELOAD"]} {library}',
                    HOLDMOCK_SHUTDOWN=self.holder.getsockname())

    def setUp(self):
        super().setUp()
        self.holder = socket.socket(socket.AF_UNIX)
        self.open.append(self.holder)
        self.holder.bind(os.path.join(self.mock.dir, 'holder'))
        self.holder.listen()
        self.held = None

    def start(self, before=lambda: None):
        super().start(before)
        self.holder.settimeout(SHORT)
        self.held = self.holder.accept()[0]
        self.open.append(self.held)

    def tearDown(self):
        # SIGTERM finds it held again
        if self.process and self.process.poll() is None:
            self.process.terminate()
            wait_for(self.is_held)
            if self.process.poll() is None:
                self.release()
        super().tearDown()

    def is_held(self):
        """Whether it waits in shutdown(), or has ended."""
        ready = select.select([self.held], [], [], 0)[0]
        return bool(ready) or self.process.poll() is not None

    def release(self):
        self.assertEqual(b'\0', self.held.recv(1))
        self.held.sendall(b'x')

    def test_connected(self):
        """It has found nobody, and is about to end; then somebody connects."""
        self.start()
        wait_for(self.is_held)
        helpers = [Helper(self.path) for _ in range(3)]
        self.open += helpers
        self.release()
        for helper in helpers:
            helper.listening()
        self.assertRaises(ConnectionRefusedError, Helper, self.path)
        helpers[0].expect(16, timeout=60)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helpers[0].line())
        time.sleep(GRACE + 1) # it would have ended
        self.assertIsNone(self.process.poll())
        for helper in helpers:
            helper.close()
        self.assertEqual(0, self.process.wait(GRACE + SHORT))

    def test_socket_of_the_next(self):
        """It leaves alone what the daemon has put in the place of its socket."""
        self.start()
        wait_for(self.is_held)
        os.unlink(self.path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
            self.release()
            self.assertEqual(0, self.process.wait(GRACE + SHORT))
            self.assertTrue(os.path.exists(self.path))


class TimeTest(BrokerCase):
    """A client that does not leave, which keeps the port from others; see clockmock.c."""

    def environment(self):
        self.clock = os.path.join(self.mock.dir, 'clock')
        self.set_clock(0)
        library = os.path.join(nitrodevmock.BUILD, 'tests', 'clockmock.so')
        env = self.mock.environment(HELPER)
        return dict(env, LD_PRELOAD=f'{env["LD_PRELOAD"]} {library}',
                    CLOCKMOCK_MONOTONIC=self.clock)

    def set_clock(self, seconds):
        # in place: the broker has mapped it
        fd = os.open(self.clock, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, struct.pack('=q', seconds))
        os.close(fd)

    def assert_time(self, helper, seconds):
        """
        The broker drops @helper when @seconds have passed, and not much earlier. Who is served
        wakes it, and comes after what the test has sent before.
        """
        self.assert_served()
        self.set_clock(seconds - 100)
        self.assert_served()
        self.assertTrue(helper.silent())
        self.set_clock(seconds + 5) # its timers are rounded
        self.assert_served()
        self.assertIsNone(helper.line())
        self.assertIn('its time is over', self.log())

    def test_silent(self):
        self.start()
        self.assert_time(self.helper().listening(), SETUP)

    def test_silent_while_the_port_is_in_use(self):
        """The port is not kept from anybody: the time begins with it."""
        with self.other_tool():
            self.start()
            helper = self.helper().greeted()
            self.assertEqual(BUSY, helper.line())
            self.set_clock(10 * SETUP)
            # tried again four times a second
            self.assertTrue(helper.silent(1))
        self.assertEqual(LISTENING, helper.line())
        self.assert_time(helper, 11 * SETUP)

    def test_told(self):
        self.start()
        self.assert_time(self.helper().listening().expect(16, timeout=1000), 1000 + EXTRA)

    def test_told_in_real_time(self):
        """The port is left to others, who did nothing to wake the broker."""
        self.start()
        helper = self.helper().listening().expect(16, timeout=1)
        self.assertIsNone(helper.line(EXTRA + SHORT))
        with self.other_tool():
            self.assertEqual(0, self.process.wait(GRACE + SHORT))

    def test_not_told(self):
        """An older helper has the time that the slowest image can have."""
        self.start()
        self.assert_time(self.helper().listening().expect(16), LONGEST + EXTRA)

    def test_more_than_the_longest(self):
        self.start()
        for timeout in (LONGEST + 1, 1 << 40, 0, -1, 'x', None):
            with self.subTest(timeout):
                self.set_clock(0)
                helper = self.helper().listening().expect(16, timeout=timeout)
                self.assert_time(helper, LONGEST + EXTRA)

    def test_told_again(self):
        """The time does not begin anew with every word."""
        self.start()
        helper = self.helper().listening().expect(16, timeout=1000)
        self.assert_served()
        self.set_clock(900)
        helper.expect(17, timeout=1000).expect(16)
        self.assert_time(helper, 1000 + EXTRA)

    def test_served_meanwhile(self):
        """A client that leaves in time has nothing to do with the others' time."""
        self.start()
        stuck = self.helper().listening()
        for seconds in range(0, SETUP, SETUP // 4):
            self.set_clock(seconds)
            self.assert_served()
        self.assert_time(stuck, SETUP)


class KernelTest(BrokerCase):
    """With the kernel's own AF_VSOCK. Others may run this test at the same time."""

    def environment(self):
        return {}

    def setUp(self):
        super().setUp()
        try:
            self.bind(socket.VMADDR_PORT_ANY).close()
        except OSError as e:
            self.skipTest(f'AF_VSOCK cannot be used here: {e}')

    def bind(self, port):
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        try:
            sock.bind((socket.VMADDR_CID_ANY, port))
        except OSError:
            sock.close()
            raise
        return sock

    def is_free(self):
        try:
            self.bind(PORT).close()
        except OSError as e:
            self.assertEqual(errno.EADDRINUSE, e.errno)
            return False
        return True

    def test_connect(self):
        """An enclave that does not answer, or that there is no way to, in time"""
        self.start()
        link = linkclient.Link(self.path)
        self.open.append(link)
        self.assertEqual(GREETING, link.line())
        link.serve(cid=4242)
        begin = time.monotonic()
        error = link.answer(link.ask(5000), SHORT)
        self.assertIn(error, (errno.ETIMEDOUT, errno.ENODEV, errno.ENETUNREACH, errno.ECONNRESET))
        if error == errno.ETIMEDOUT:
            self.assertGreater(time.monotonic() - begin, 9)

    def test_port(self):
        self.start()
        helper = self.helper().greeted()
        while (line := helper.line()) != LISTENING:
            self.assertEqual(BUSY, line)
        self.assertFalse(self.is_free())
        helper.close()
        wait_for(self.is_free)


class LinkCase(BrokerCase):
    def is_free(self, port):
        """Whether nobody listens on @port of the host."""
        try:
            self.dial(99, port).close()
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return True
        return False

    def given(self, link, cid, port):
        """@link gets a connection of @cid with @port; returns both ends."""
        enclave = self.dial(cid, port)
        sock = link.connection(port)
        self.open.append(sock)
        enclave.sendall(b'from the enclave')
        self.assertEqual(b'from the enclave', sock.recv(100))
        sock.sendall(b'from the host')
        self.assertEqual(b'from the host', enclave.recv(100))
        return enclave, sock


class LinkTest(LinkCase):
    """Services processes, and the ports of their enclaves"""

    def test_serve(self):
        self.start()
        link = self.link(8443, 9514, cid=16)
        self.given(link, 16, 8443)
        self.given(link, 16, 9514)
        enclave, sock = self.given(link, 16, 8443)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', enclave.recv(1))
        enclave.sendall(b'more')
        self.assertEqual(b'more', sock.recv(100))

    def test_told_apart(self):
        """Two enclaves have the same port; either gets its own."""
        self.start()
        links = {cid: self.link(8443, 5000 + cid, cid=cid) for cid in (16, 17)}
        for cid in (16, 17, 16, 16, 17):
            self.given(links[cid], cid, 8443)
        # a port of the other one's alone
        self.assert_closed(self.dial(16, 5017))
        links[16].close()
        wait_for(lambda: self.is_free(5016))
        self.given(links[17], 17, 8443)

    def test_left_to_others(self):
        """A port is kept as long as any link has it, and no longer."""
        self.start()
        links = [self.link(8443, cid=cid) for cid in (16, 17)]
        links[0].close()
        self.given(links[1], 17, 8443)
        links[1].close()
        wait_for(lambda: self.is_free(8443))
        self.assertEqual(0, self.process.wait(GRACE + SHORT))

    def test_handed_over_lives_on(self):
        self.start()
        enclave, sock = self.given(self.link(8443, cid=16), 16, 8443)
        self.process.kill()
        self.process.wait()
        sock.sendall(b'still')
        self.assertEqual(b'still', enclave.recv(100))
        self.start()
        self.link(8443)

    def test_killed(self):
        """A new broker, and a new link: the listeners are back."""
        self.start()
        link = self.link(8443, cid=16)
        self.process.kill()
        self.process.wait()
        self.assertTrue(link.ended())
        self.start()
        self.given(self.link(8443, cid=16), 16, 8443)

    def test_before_its_cid_is_known(self):
        self.start()
        link = self.link(8443)
        enclaves = [self.dial(16, 8443) for _ in range(3)]
        for number, enclave in enumerate(enclaves):
            enclave.sendall(b'%d' % number)
        other = self.dial(17, 8443)
        self.assertRaises(TimeoutError, link.line, 0.3)
        link.send(command='enclave', cid=16)
        for number in range(3):
            with link.connection(8443) as sock:
                self.assertEqual(b'%d' % number, sock.recv(100))
        self.assert_silent(other)

    def test_gone_before_its_cid_is_known(self):
        """What it has said is not lost."""
        self.start()
        link = self.link(8443)
        enclave = self.dial(16, 8443)
        enclave.sendall(b'last words')
        enclave.close()
        link.send(command='enclave', cid=16)
        with link.connection(8443) as sock:
            self.assertEqual(b'last words', sock.recv(100))
            self.assertEqual(b'', sock.recv(100))

    def test_unknown_cid(self):
        self.start()
        link = self.link(8443, cid=16)
        begin = time.monotonic()
        stranger = self.dial(99, 8443)
        self.given(link, 16, 8443)
        self.assert_closed(stranger)
        self.assertGreater(time.monotonic() - begin, HOLD - 1)
        self.assertIn('CID 99', self.log())
        self.assertRaises(TimeoutError, link.line, 0.1)

    def test_newest_link(self):
        """A services process was started again, and the earlier one's link is still there."""
        self.start()
        older = self.link(8443, cid=16)
        before = self.sockets()
        newer = self.link(8443, cid=16)
        newer.answer(newer.ask(1)) # it has been told its CID
        self.given(newer, 16, 8443)
        self.assertRaises(TimeoutError, older.line, 0.1)
        newer.close()
        wait_for(lambda: self.sockets() == before)
        self.given(older, 16, 8443)

    def test_busy(self):
        self.start()
        occupied = self.mock.occupy(9514)
        self.open.append(occupied)
        link = self.new_link()
        link.send(command='serve', ports=[8443, 9514, 9515])
        self.assertEqual({'event': 'port-busy', 'port': 9514, 'errno': errno.EADDRINUSE},
                         link.line())
        self.assertTrue(link.ended())
        # nor are the others kept
        wait_for(lambda: self.is_free(8443))
        occupied.close()
        self.link(8443, 9514, 9515)

    def test_no_vsock(self):
        self.mock.fault('vsock-bind', errno='EAFNOSUPPORT', times=1)
        self.start()
        link = self.new_link()
        link.send(command='serve', ports=[8443])
        self.assertEqual({'event': 'port-busy', 'port': 8443, 'errno': errno.EAFNOSUPPORT},
                         link.line())
        self.assertTrue(link.ended())

    def test_heartbeat_is_left_to_others(self):
        """A link does not make the broker have port 9000, not for a moment."""
        self.start()
        link = self.link(8443, cid=16)
        time.sleep(2 * SETTLE)
        self.assertTrue(self.is_free(PORT))
        self.assertNotIn('port is ours', self.log())
        self.assert_served()
        wait_for(lambda: self.is_free(PORT))
        self.given(link, 16, 8443)

    def test_stays(self):
        """The broker is there while there is a link, and ends when there is none."""
        self.start()
        link = self.link(8443, cid=16)
        time.sleep(GRACE + 1) # nothing may happen in this time
        self.given(link, 16, 8443)
        link.close()
        self.assertEqual(0, self.process.wait(GRACE + SHORT))

    def test_nothing_to_serve(self):
        """A link may be for connections with the enclave alone."""
        self.start()
        listener = self.mock.listen(16, 5000)
        self.open.append(listener)
        link = self.link(cid=16)
        self.assertIsInstance(sock := link.answer(link.ask(5000)), socket.socket)
        sock.close()

    def test_connect(self):
        self.start()
        listener = self.mock.listen(16, 5000)
        self.open.append(listener)
        link = self.link(8443, cid=16)
        sock = link.answer(link.ask(5000))
        self.open.append(sock)
        enclave, _ = listener.accept()
        self.open.append(enclave)
        sock.sendall(b'from the host')
        self.assertEqual(b'from the host', enclave.recv(100))
        enclave.sendall(b'from the enclave')
        self.assertEqual(b'from the enclave', sock.recv(100))

    def test_connect_straight_after(self):
        """Nothing is lost of what is written as soon as there is a descriptor."""
        self.start()
        listener = self.mock.listen(16, 5000)
        self.open.append(listener)
        link = self.link(cid=16)
        for number in range(300):
            with link.answer(link.ask(5000)) as sock:
                sock.sendall(b'%d' % number)
            with listener.accept()[0] as enclave:
                self.assertEqual(b'%d' % number, enclave.recv(100))
                self.assertEqual(b'', enclave.recv(100))

    def test_connect_refused(self):
        self.start()
        listener = self.mock.listen(17, 5000)
        self.open.append(listener)
        link = self.link(cid=16)
        # another enclave's, and nobody's
        for port in (5000, 5001):
            self.assertEqual(errno.ECONNRESET, link.answer(link.ask(port)))

    def test_connect_before_its_cid_is_known(self):
        self.start()
        link = self.link(8443)
        self.assertEqual(errno.ENOTCONN, link.answer(link.ask(5000)))

    def test_many_connections(self):
        self.start()
        link = self.link(8443, cid=16)
        before = self.sockets()
        enclaves = {}
        for number in range(500):
            enclave = self.dial(16, 8443)
            enclave.sendall(b'%d' % number)
            sock = link.connection(8443)
            self.open.append(sock)
            enclaves[sock] = (enclave, number)
        for sock, (enclave, number) in enclaves.items():
            self.assertEqual(b'%d' % number, sock.recv(100))
            sock.sendall(b'%d' % number)
            self.assertEqual(b'%d' % number, enclave.recv(100))
        # nothing of them stays with the broker, which closes what it has given a moment later
        wait_for(lambda: self.sockets() <= before)


class HostileLinkTest(LinkCase):
    """Nobody gets more than is due. (What is no good as a line: vsockdevicetest.py)"""

    def test_not_understood(self):
        self.start()
        for data in (b'{"command": "serve", "ports": [8444]}\n', b'{"command": "enclave"}\n',
                     b'{"command": "enclave", "cid": 17}\n', b'garbage\n', b'[]\n',
                     b'{"command": "connect", "port": 1}\n', b'{"a": "' + b'x' * LINE_MAX):
            with self.subTest(data[:50]):
                link = self.link(8443, cid=16)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    link.raw(data)
                self.assertTrue(link.ended())
                wait_for(lambda: self.is_free(8443))
        self.assertTrue(self.is_free(8444))
        self.assert_served()

    def test_bad_ports(self):
        self.start()
        for ports in ([PORT], [5, 5], [-1], [1 << 32], list(range(2000, 2065)), 'x', None):
            with self.subTest(ports):
                link = self.new_link()
                link.send(command='serve', ports=ports)
                self.assertTrue(link.ended())
        self.assertTrue(self.is_free(2000))
        self.link(*range(2000, 2064))

    def test_helper_asks_for_ports(self):
        """What has begun as a helper's connection gets no ports, and no other's connections."""
        self.start()
        for first in ({'command': 'heartbeat'}, {'command': 'expect', 'cid': 16}, None):
            with self.subTest(first):
                helper = self.helper()
                if first:
                    helper.send(**first)
                helper.listening()
                helper.send(command='serve', ports=[8443])
                self.assertIsNone(helper.line())
        self.assertTrue(self.is_free(8443))

    def test_link_expects_a_heartbeat(self):
        self.start()
        helper = self.helper().listening()
        link = self.link(8443, cid=16)
        link.send(command='expect', cid=16)
        link.send(command='heartbeat')
        stranger = self.beat(16)
        self.assert_silent(stranger)
        self.assertRaises(TimeoutError, link.line, 0.1)
        self.given(link, 16, 8443)
        helper.close()

    def test_does_not_read(self):
        """Connections wait up to a limit, then they are refused; others are served."""
        self.start()
        deaf = self.link(8443, cid=16)
        other = self.link(8443, cid=17)
        before = self.sockets()
        enclaves = [self.dial(16, 8443) for _ in range(600)]
        self.given(other, 17, 8443)
        wait_for(lambda: self.sockets() <= before + linkclient.QUEUE_MAX)
        self.assert_closed(enclaves[-1])
        taken = 0
        with contextlib.suppress(TimeoutError):
            while True:
                deaf.line(0.5)
                deaf.taken().close()
                taken += 1
        self.assertGreater(taken, linkclient.QUEUE_MAX)
        self.given(deaf, 16, 8443)
        self.assert_small()
        self.assertLess(self.log().count('\n'), 60)

    def test_unknown_enclaves_flood(self):
        self.start()
        link = self.link(8443, cid=16)
        before = self.sockets()
        for cid in range(100, 250):
            self.dial(cid, 8443)
        for _ in range(100):
            self.dial(99, 8443)
        self.given(link, 16, 8443)
        wait_for(lambda: self.sockets() <= before + 64)
        # those of one CID cost the others nothing
        link.send(command='serve', ports=[1])
        self.assertLess(self.log().count('\n'), 60)

    def test_few_enclaves_flood(self):
        """while one boots whose CID is not known yet: the flood costs itself, and not this one"""
        self.start()
        link = self.link(8443)
        enclave = self.dial(16, 8443)
        enclave.sendall(b'from the enclave')
        for _ in range(40):
            for cid in range(100, 108):
                self.dial(cid, 8443)
        link.send(command='enclave', cid=16)
        sock = link.connection(8443)
        self.open.append(sock)
        self.assertEqual(b'from the enclave', sock.recv(100))

    def test_too_many_links(self):
        self.start()
        links = [self.link(8443, cid=100 + n) for n in range(64)]
        late = self.new_link()
        late.send(command='serve', ports=[8443])
        self.assertTrue(late.ended())
        self.given(links[-1], 163, 8443)
        # helpers do not wait for them
        self.assert_served()
        before = self.sockets()
        links.pop().close()
        wait_for(lambda: self.sockets() < before)
        self.given(self.link(8443, cid=16), 16, 8443)

    def test_too_many_asked_for(self):
        """Enclaves that do not answer, and a services process that does not give up"""
        self.start()
        link = self.link(cid=16)
        link.socket.settimeout(0.2)
        line = b''.join(b'{"command": "connect", "id": %d, "port": 5}\n' % n for n in range(1000))
        with contextlib.suppress(TimeoutError):
            for _ in range(100):
                link.raw(line)
        self.assert_served()
        self.assert_small()

    def test_links_that_come_and_go(self):
        self.start()
        keeper = self.link(8443, cid=16)
        before = self.sockets()
        for _ in range(200):
            self.link(8443, 8444, cid=16).close()
        wait_for(lambda: self.sockets() == before)
        self.given(keeper, 16, 8443)


class HostileTest(BrokerCase):
    """Nobody gets more than is due, and who behaves is served."""

    def test_client_that_is_not_understood(self):
        self.start()
        cases = [
            b'garbage\n', b'\0\0\0\n', b'[]\n', b'"x"\n', b'{}{}\n', b'{"command": \n',
            b'{' * 1000 + b'\n', b'[' * 60000 + b'\n',
            b'{"command": "expect"}\n', b'{"command": "expect", "cid": "16"}\n',
            b'{"command": "expect", "cid": 3}\n', b'{"command": "expect", "cid": -1}\n',
            b'{"command": "expect", "cid": 4294967295}\n',
            b'{"command": "expect", "cid": 99999999999999999999}\n',
            b'x' * (LINE_MAX + 1), b'{"command": "' + b'x' * LINE_MAX,
        ]
        for data in cases:
            with self.subTest(data[:40]):
                helper = self.helper().listening()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    helper.raw(data)
                self.assertIsNone(helper.line())
        self.assert_served()

    def test_client_that_is_ignored(self):
        self.start()
        for data in (b'{}\n', b'{"command": "fly"}\n', b'{"cid": 3}\n',
                     b'{"command": "fly", "cid": 3, "more": [{"command": "expect"}]}\n'):
            with self.subTest(data):
                helper = self.helper().listening()
                helper.raw(data)
                helper.expect(16)
                self.assertEqual(BEAT, self.beat(16).recv(1))
                self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_client_in_pieces(self):
        self.start()
        helper = self.helper().listening()
        for byte in b'{"command": "expect", "cid": 16}\n':
            helper.raw(bytes([byte]))
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())

    def test_client_that_floods(self):
        self.start()
        flood = self.helper().listening()
        line = b'{"command": "expect", "cid": 16}\n'
        for _ in range(200):
            flood.raw(line * 1000)
        self.assert_served()
        self.assert_small()

    def test_client_that_does_not_read(self):
        """Its events are kept up to a limit, then its commands wait."""
        self.start()
        deaf = self.helper().listening()
        deaf.socket.settimeout(0.2)
        for _ in range(3000):
            try:
                deaf.expect(16)
            except TimeoutError:
                break
        self.assert_served()
        self.assert_small()

    def test_too_many_clients(self):
        self.start()
        helpers = [self.helper() for _ in range(64)]
        for helper in helpers:
            helper.listening()
        late = [self.helper() for _ in range(20)]
        for helper in late:
            self.assertTrue(helper.silent(0.05))
        helpers[0].expect(16)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helpers[0].line())
        for helper in late:
            helpers.pop().close()
            helper.listening()
        for helper in helpers + late:
            helper.close()
        self.assert_served()

    def test_clients_that_come_and_go(self):
        self.start()
        keeper = self.helper().listening()
        before = self.sockets()
        for _ in range(500):
            helper = self.helper()
            helper.close()
        self.assert_served()
        wait_for(lambda: self.sockets() == before)
        self.assertTrue(keeper.silent(0.1))

    def test_enclave_that_floods(self):
        self.start()
        helper = self.helper().listening().expect(16)
        before = self.sockets()
        for _ in range(300):
            self.dial(99)
        wait_for(lambda: self.sockets() <= before + 4)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        self.assertLess(self.log().count('\n'), 40)

    def test_many_enclaves_flood(self):
        self.start()
        helper = self.helper().listening().expect(16)
        before = self.sockets()
        for cid in range(100, 300):
            self.dial(cid)
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        wait_for(lambda: self.sockets() <= before + 64)
        self.assertLess(self.log().count('\n'), 40)

    def test_enclaves_that_come_and_go(self):
        self.start()
        helper = self.helper().listening().expect(16)
        before = self.sockets()
        for n in range(500):
            self.dial(99).close()
            if n % 2:
                self.beat(98).close()
        self.assertEqual(BEAT, self.beat(16).recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())
        wait_for(lambda: self.sockets() <= before)

    def test_more_than_a_byte(self):
        self.start()
        helper = self.helper().listening().expect(16)
        enclave = self.beat(16, BEAT + b'x' * 5000)
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(BEAT, enclave.recv(1))
        self.assertEqual({'event': 'heartbeat', 'cid': 16}, helper.line())


class OptionsTest(unittest.TestCase):
    def test_refused(self):
        if not HELPER:
            self.skipTest('LIBVIRT_NITRO_HELPER is not set')
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
            listener.bind('')
            listener.listen()
            fd, bad = str(listener.fileno()), str(other.fileno())
            cases = [
                (['--broker'], 'Option --broker needs --listen-fd'),
                (['--broker', '--listen-fd', bad],
                 f"Value '{bad}' of option --listen-fd is not a listening UNIX stream socket"),
                (['--broker', '--listen-fd', fd, '--debug'],
                 'Options --broker and --debug exclude each other'),
                (['--broker', '--probe'], 'Option --probe goes with no other option'),
            ]
            for words, text in cases:
                with self.subTest(words):
                    result = subprocess.run([HELPER, *words], capture_output=True, text=True,
                                            check=False, timeout=SHORT,
                                            pass_fds=[listener.fileno(), other.fileno()])
                    self.assertEqual((1, '', f'libvirt_nitro: {text}\n'),
                                     (result.returncode, result.stdout, result.stderr))

    def test_unconfined(self):
        """no broker on a kernel without filters of system calls"""
        if not HELPER:
            self.skipTest('LIBVIRT_NITRO_HELPER is not set')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind('')
            listener.listen()
            fd = listener.fileno()
            result = subprocess.run([sys.executable, refusecalls.__file__, 'seccomp=ENOSYS', HELPER,
                                     '--broker', '--listen-fd', str(fd)], capture_output=True,
                                    text=True, check=False, timeout=SHORT, pass_fds=[fd],
                                    env={**os.environ, 'LC_ALL': 'C'})
            self.assertEqual((2, ''), (result.returncode, result.stdout))
            self.assertIn('use a kernel with seccomp filters', result.stderr)
            # it must not be told to do without, either
            result = subprocess.run([HELPER, '--broker', '--listen-fd', str(fd), '--without',
                                     'namespaces'], capture_output=True, text=True, check=False,
                                    timeout=SHORT, pass_fds=[fd])
            self.assertEqual(1, result.returncode)
            self.assertIn('Options --broker and --without exclude each other', result.stderr)


if __name__ == '__main__':
    taprunner.main()
