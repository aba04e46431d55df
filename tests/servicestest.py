# servicestest.py: libvirt_nitro_services, between a daemon, a switch, enclaves and others that tests play
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# LIBVIRT_NITRO_SERVICES names the program. The daemon's end of the control socket is a Client, the
# switch is this process, and so is the enclave: a connection of it is one end of a socket pair.
# At the end of each test the program gets SIGTERM, and must end with status 0.

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import taprunner
from helpercase import Client, wait_for

SERVICES = os.environ.get('LIBVIRT_NITRO_SERVICES', '')
SANITIZED = os.environ.get('NITRO_TEST_SANITIZED') == '1'
SHORT = 20
MIB = 1 << 20
BULK = (20 if SANITIZED else 100) * MIB
MANY = 100 if SANITIZED else 500
NO_MEMBERS = {'current': 0, 'total': 0, 'received': 0, 'sent': 0, 'refused': 0, 'failed': 0,
              'lost': 0}
ESTABLISHED = b'HTTP/1.1 200 Connection established\r\n\r\n'


class Switch:
    """The other end of a link."""

    def __init__(self, family=socket.AF_UNIX):
        self.socket, self.other = socket.socketpair()
        self.socket.settimeout(SHORT)
        self.buffer = b''
        self.family = family

    def close(self):
        self.socket.close()

    def pair(self):
        """(the enclave's end, the services' end)"""
        if self.family == socket.AF_UNIX:
            pair = socket.socketpair()
        else:
            with socket.create_server(('127.0.0.1', 0)) as listener:
                near = socket.create_connection(listener.getsockname())
                pair = near, listener.accept()[0]
        pair[0].settimeout(SHORT)
        return pair

    def send(self, message, *fds):
        socket.send_fds(self.socket, [json.dumps(message).encode() + b'\n'], fds)

    def dial(self, port):
        """A connection of the enclave with @port."""
        near, far = self.pair()
        with far:
            self.send({'event': 'connection', 'port': port}, far.fileno())
        return near

    def request(self):
        while b'\n' not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def accept(self, port):
        """The enclave's end of the connection that the services process asks for next."""
        request = self.request()
        assert request == {'command': 'connect', 'id': request['id'], 'port': port}, request
        near, far = self.pair()
        with far:
            self.send({'return': {}, 'id': request['id']}, far.fileno())
        return near

    def refuse(self, port, number=errno.ECONNREFUSED):
        request = self.request()
        assert request['port'] == port, request
        self.send({'error': {'code': 'refused', 'errno': number}, 'id': request['id']})


class Destination:
    """A server: @serve is called with each connection, in a thread of its own."""

    def __init__(self, serve, address=('127.0.0.1', 0), family=socket.AF_INET):
        self.socket = socket.socket(family)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.socket.listen(1024)
        self.serve = serve
        self.accepted = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def run(self):
        while True:
            try:
                conn = self.socket.accept()[0]
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.one, args=[conn], daemon=True).start()

    def one(self, conn):
        with conn, contextlib.suppress(OSError):
            self.serve(conn)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(SHORT)


def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)


def greet(conn):
    """Tells what has come once all has."""
    conn.sendall(b'got ' + read_all(conn))


def read_all(sock):
    data = []
    while part := sock.recv(1 << 18):
        data.append(part)
    return b''.join(data)


def read_line(sock):
    line = b''
    while not line.endswith(b'\n'):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line


class ServicesCase(unittest.TestCase):
    def setUp(self):
        if not SERVICES:
            self.skipTest('LIBVIRT_NITRO_SERVICES is not set')
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.dir = tempfile.mkdtemp(prefix='nitroservices')
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, 'control')
        self.log_path = os.path.join(self.dir, 'stderr')
        self.process = None
        self.control = None
        self.switch = None
        self.ended = False # whether a test has seen to the end by itself
        self.last_id = 0

    def tearDown(self):
        if not self.process:
            return
        if not self.ended:
            self.assertIsNone(self.process.poll(), self.log())
            self.process.terminate()
        try:
            status = self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        log = self.log()
        if not self.ended:
            self.assertEqual(0, status, log)
        for text in ('AddressSanitizer', 'LeakSanitizer', 'runtime error', 'CRITICAL **',
                     'WARNING **'):
            self.assertNotIn(text, log)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def words(self, control, config):
        return [SERVICES, '--name', 'enclave', '--uuid', 'c7a5fdb2-cdaf-9455-926a-d65c16db1809',
                '--control-fd', str(control), '--config-fd', str(config)]

    def spawn(self, config, *fds, prefix=(), more=(), environment=()):
        config = config.encode() if isinstance(config, str) else config
        with socket.socket(socket.AF_UNIX) as listener, open(self.log_path, 'ab') as log, \
                tempfile.TemporaryFile() as file:
            listener.bind(self.path)
            listener.listen(16)
            file.write(config)
            file.flush()
            file.seek(0)
            words = [*prefix, *self.words(listener.fileno(), file.fileno()), *more]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stderr=log,
                pass_fds=[listener.fileno(), file.fileno(), *fds],
                env=dict(os.environ, **dict(environment)))

    def client(self):
        client = Client(self.path)
        self.stack.callback(client.close)
        self.assertEqual(1, client.line()['libvirt-nitro-services']['protocol'])
        return client

    def start(self, config, *fds, **kwargs):
        self.spawn(config, *fds, **kwargs)
        self.control = self.client()

    def start_linked(self, config, *fds, family=socket.AF_UNIX, **kwargs):
        self.start(config, *fds, **kwargs)
        self.link(family=family)

    def command(self, command, *fds, client=None):
        client = client or self.control
        self.last_id += 1
        line = json.dumps({'command': command, 'id': self.last_id}).encode() + b'\n'
        if fds:
            socket.send_fds(client.socket, [line], fds)
        else:
            client.raw(line)
        return self.last_id

    def link(self, *fds, family=socket.AF_UNIX):
        self.switch = Switch(family)
        self.stack.callback(self.switch.close)
        with self.switch.other:
            ident = self.command('link', self.switch.other.fileno(), *fds)
        self.assertEqual({'return': {}, 'id': ident}, self.control.reply(ident))
        return self.switch

    def query(self, client=None):
        ident = self.command('query-services', client=client)
        return (client or self.control).reply(ident)['return']

    def service(self, number=0):
        return self.query()['services'][number]

    def wait_service(self, number=0, **members):
        """Waits until the service has these @members."""
        end = time.monotonic() + SHORT
        while True:
            service = self.service(number)
            if members.items() <= service.items():
                return service
            self.assertLess(time.monotonic(), end, f'{service} has not {members}: {self.log()}')
            time.sleep(0.02)

    def destination(self, serve, *args, **kwargs):
        destination = Destination(serve, *args, **kwargs)
        self.stack.callback(destination.close)
        return destination

    def dial(self, port=1000):
        return self.stack.enter_context(self.switch.dial(port))

    def outbound(self, serve, **kwargs):
        """Starts with one service, to a destination that serves so."""
        destination = self.destination(serve)
        self.start_linked(f'[outbound 1000]\nhost=127.0.0.1\nservice={destination.port}\n', **kwargs)
        return destination

    def listen(self):
        """A listening socket for an inbound service."""
        listener = self.stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=1024))
        return listener

    def assert_closed(self, sock):
        """Closed without a byte"""
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(b'', sock.recv(1))

    def finish(self):
        ident = self.command('finish')
        reply = self.control.reply(ident)
        self.assertEqual(0, self.process.wait(SHORT), self.log())
        self.ended = True
        return reply['return']


class ControlTest(ServicesCase):
    def test_query(self):
        destination = self.destination(echo)
        listener = self.listen()
        self.start(f'[outbound 1000]\nhost=127.0.0.1\nservice={destination.port}\n'
                   f'[inbound 5000]\nfd={listener.fileno()}\n[proxy 3128]\n[time 1230]\n'
                   '[health 5002]\ninterval=10\nfailures=3\n[exit 9001]\n', listener.fileno())
        types = [('outbound', 1000), ('inbound', 5000), ('proxy', 3128), ('time', 1230),
                 ('health', 5002), ('exit', 9001)]
        services = [{'type': name, 'port': port, **NO_MEMBERS} for name, port in types]
        self.assertEqual({'link': False, 'services': services}, self.query())
        self.link()
        self.assertTrue(self.query()['link'])

    def test_errors(self):
        self.start('[time 1230]\n')
        for line, code in ((b'{"command": "fly", "id": 7}', 'unknown-command'),
                           (b'{"id": 7}', 'bad-request'),
                           (b'{"command": "link", "id": 7}', 'bad-request')):
            with self.subTest(line=line):
                self.control.raw(line + b'\n')
                self.assertEqual(code, self.control.reply(7)['error']['code'])
        self.control.raw(b'nonsense\n')
        self.assertEqual('bad-request', self.control.line()['error']['code'])
        self.assertIsNone(self.control.line())
        self.assertFalse(self.query(self.client())['link'])

    def test_too_long(self):
        self.start('')
        self.control.raw(b'x' * 65536)
        self.assertEqual('line-too-long', self.control.line()['error']['code'])

    def test_link_that_is_no_socket(self):
        self.start('[time 1230]\n')
        with open('/dev/null', encoding='ascii') as file:
            ident = self.command('link', file.fileno())
        self.assertEqual('bad-request', self.control.reply(ident)['error']['code'])

    def test_link_lost_and_replaced(self):
        self.outbound(echo)
        other = self.client()
        conn = self.dial()
        conn.sendall(b'one')
        self.assertEqual(b'one', conn.recv(3))
        self.switch.close()
        self.assertEqual({}, self.control.event('link-lost'))
        self.assertEqual({}, other.event('link-lost'))
        self.assertFalse(self.query()['link'])
        # what was handed over lives on
        conn.sendall(b'two')
        self.assertEqual(b'two', conn.recv(3))
        self.link()
        again = self.dial()
        again.sendall(b'three')
        self.assertEqual(b'three', again.recv(5))
        # a link in place of one that is there
        before = self.switch
        self.link()
        self.assertEqual(b'', before.socket.recv(1))
        self.dial().close()
        self.wait_service(total=3)

    def test_link_that_talks_nonsense(self):
        for line in (b'nonsense\n', b'{"event": "connection", "port": 1000}\n',
                     b'{"return": {}, "id": 1}\n', b'x' * 65536):
            with self.subTest(line=line[:20]):
                if not self.process:
                    self.outbound(echo)
                else:
                    self.link()
                self.switch.socket.sendall(line)
                self.control.event('link-lost')

    def test_unknown_port(self):
        self.outbound(echo)
        self.assert_closed(self.dial(1001))
        self.assertEqual(0, self.service()['total'])

    def test_finish_at_once(self):
        self.outbound(echo)
        conn = self.dial()
        conn.sendall(b'abc')
        self.assertEqual(b'abc', conn.recv(3))
        before = time.monotonic()
        service = self.finish()['services'][0]
        self.assertLess(time.monotonic() - before, 2.5)
        self.assertEqual((1, 3, 3), (service['total'], service['received'], service['sent']))

    def test_finish_delivers(self):
        """what the enclave has sent before its end comes through to a slow reader"""
        got = []
        done = threading.Event()

        def slow(conn):
            time.sleep(1)
            got.append(len(read_all(conn)))
            done.set()

        self.outbound(slow)
        conn = self.dial()
        conn.settimeout(SHORT)
        conn.sendall(bytes(8 * MIB))
        conn.close()
        service = self.finish()['services'][0]
        self.assertTrue(done.wait(SHORT))
        self.assertEqual([8 * MIB], got)
        self.assertEqual(8 * MIB, service['received'])

    def test_finish_has_an_end(self):
        """a destination that reads nothing cannot hold it up"""
        release = threading.Event()
        self.stack.callback(release.set)
        self.outbound(lambda conn: release.wait(SHORT))
        conn = self.dial()
        conn.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            conn.sendall(bytes(64 * MIB))
        before = time.monotonic()
        self.finish()
        self.assertGreater(time.monotonic() - before, 2)
        self.assertLess(time.monotonic() - before, 6)

    def test_finish_refuses_new(self):
        release = threading.Event()
        self.stack.callback(release.set)
        self.outbound(lambda conn: release.wait(SHORT))
        conn = self.dial()
        conn.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            conn.sendall(bytes(64 * MIB))
        self.command('finish')
        self.assert_closed(self.dial())
        release.set()
        self.process.wait(SHORT)
        self.ended = True

    def test_helper_ends(self):
        """after the end of the helper it finishes by itself"""
        with subprocess.Popen(['sleep', '1000']) as helper:
            pidfd = os.pidfd_open(helper.pid)
            self.start('[time 1230]\n')
            try:
                self.link(pidfd)
            finally:
                os.close(pidfd)
            time.sleep(0.2)
            self.assertIsNone(self.process.poll())
            helper.kill()
        self.assertEqual(0, self.process.wait(SHORT))
        self.ended = True

    def test_configuration(self):
        for text, wrong in (
                ('[outbound 1]\nhost=h\n', "lacks 'service'"),
                ('[outbound 1]\nservice=1\n', "lacks 'host'"),
                ('[outbound 1]\nhost=h\nservice=65536\n', 'service=65536'),
                ('[outbound 1]\nhost=h\nservice=no-such-service\n', 'no-such-service'),
                ('[outbound 1]\npath=relative\n', 'path=relative'),
                ('[outbound 1]\npath=/a\nhost=b\n', "both 'host' and 'path'"),
                ('[outbound]\npath=/a\n', 'no port'),
                ('[outbound 4294967295]\npath=/a\n', 'no port'),
                ('[outbound -1]\npath=/a\n', 'no port'),
                ('[inbound 1]\n', "lacks 'fd'"),
                ('[inbound 1]\nfd=0\n', 'not a listening socket'),
                ('[inbound 1]\nfd=99\n', 'fd=99'),
                ('[proxy 1]\nallow=host\n', 'allow=host'),
                ('[proxy 1]\nallow=a:1;b/c:2\n', 'allow=b/c:2'),
                ('[log 1]\nfd=2\nmax-size=1\n', 'max-size=1'),
                ('[log 1]\nfd=2\nmax-size=4096\nbackups=99\n', 'backups=99'),
                ('[syslog 1]\n', "lacks 'name'"),
                ('[health 1]\ninterval=0\nfailures=1\n', 'interval=0'),
                ('[health 1]\ninterval=1\n', "lacks 'failures'"),
                ('[fly 1]\n', 'no type'),
                ('[time 1]\n[exit 1]\n', 'two services'),
                ('nonsense', 'cannot be used'),
                ('[time 1]\n#' + 'x' * 65536, 'more than 65536'),
                (''.join(f'[time {port}]\n' for port in range(65)), 'more than 64')):
            with self.subTest(text=text[:60]):
                self.spawn(text)
                self.assertEqual(1, self.process.wait(SHORT))
                os.unlink(self.path)
                self.assertIn(wrong, self.log().splitlines()[-1])
        self.ended = True

    def test_command_line(self):
        for words, wrong in (([], 'Option --name is missing'),
                             (['--fly'], 'Option --fly is unknown'),
                             (['--control-fd', '99'], "Value '99' of option --control-fd"),
                             (['fly'], "Argument 'fly' is not an option")):
            with self.subTest(words=words):
                done = subprocess.run([SERVICES, *words], capture_output=True, text=True,
                                      check=False)
                self.assertEqual(1, done.returncode)
                self.assertIn(wrong, done.stderr)
        done = subprocess.run([SERVICES, '--help'], capture_output=True, text=True, check=True)
        self.assertIn('--config-fd', done.stdout)


class OutboundTest(ServicesCase):
    def test_echo(self):
        self.outbound(echo)
        conn = self.dial()
        conn.sendall(b'hello')
        self.assertEqual(b'hello', conn.recv(5))
        self.assertEqual(1, self.service()['current'])
        conn.close()
        self.wait_service(current=0, total=1, received=5, sent=5)

    def transfer(self, near, size):
        """Sends @size bytes through an echo, with checksums."""
        block = os.urandom(MIB - 7)
        sent, got = hashlib.sha256(), hashlib.sha256()
        lengths = []

        def send():
            left = size
            while left:
                part = block[:left]
                sent.update(part)
                near.sendall(part)
                left -= len(part)
            near.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        while part := near.recv(1 << 18):
            got.update(part)
            lengths.append(len(part))
        thread.join()
        self.assertEqual(size, sum(lengths))
        self.assertEqual(sent.hexdigest(), got.hexdigest())

    def test_bulk(self):
        """both ways at once, between each two kinds of sockets"""
        path = os.path.join(self.dir, 'destination')
        unix = self.destination(echo, path, socket.AF_UNIX)
        tcp = self.destination(echo)
        self.assertEqual(path, unix.socket.getsockname())
        self.start(f'[outbound 1000]\nhost=127.0.0.1\nservice={tcp.port}\n'
                   f'[outbound 1001]\npath={path}\n')
        for number, family in enumerate((socket.AF_UNIX, socket.AF_INET)):
            self.link(family=family)
            for port in (1000, 1001):
                with self.subTest(family=family, port=port):
                    self.transfer(self.dial(port), BULK // 2)
                    self.wait_service(port - 1000, current=0, received=BULK // 2 * (number + 1),
                                      sent=BULK // 2 * (number + 1))

    def test_bulk_without_pipes(self):
        """where there are no pipes to be had, data are copied"""
        self.outbound(echo)
        own = set(map(int, os.listdir(f'/proc/{self.process.pid}/fd')))
        # descriptors for two sockets are left
        free = [number for number in range(max(own) + 4) if number not in own]
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (free[2], free[2]))
        conn = self.dial()
        conn.sendall(b'.')
        self.assertEqual(b'.', conn.recv(1))
        self.assertEqual(len(own) + 2, len(os.listdir(f'/proc/{self.process.pid}/fd')))
        self.transfer(conn, BULK // 4)

    def test_many(self):
        self.outbound(echo)
        conns = [self.dial() for _ in range(MANY)]
        data = os.urandom(65536)
        for number, conn in enumerate(conns):
            conn.sendall(b'%08d' % number + data)
        for number, conn in enumerate(conns):
            got = b''
            while len(got) < len(data) + 8:
                got += conn.recv(1 << 18)
            self.assertEqual((b'%08d' % number, data), (got[:8], got[8:]))
        self.assertEqual(MANY, self.service()['current'])
        for conn in conns:
            conn.close()
        self.wait_service(current=0, total=MANY, received=MANY * 65544, sent=MANY * 65544)

    def test_half_close_of_enclave(self):
        self.outbound(greet)
        conn = self.dial()
        conn.sendall(b'all of it')
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'got all of it', read_all(conn))
        self.wait_service(current=0)

    def test_half_close_of_destination(self):
        got = []
        done = threading.Event()

        def serve(conn):
            conn.sendall(b'bye')
            conn.shutdown(socket.SHUT_WR)
            got.append(read_all(conn))
            done.set()

        self.outbound(serve)
        conn = self.dial()
        self.assertEqual(b'bye', read_all(conn))
        self.assertEqual(1, self.service()['current'])
        conn.sendall(b'still here')
        conn.shutdown(socket.SHUT_WR)
        self.assertTrue(done.wait(SHORT))
        self.assertEqual([b'still here'], got)
        self.wait_service(current=0)

    def test_slow_reader(self):
        """slows its own writer down, nobody else, and takes no memory"""
        first = threading.Event()
        release = threading.Event()
        self.stack.callback(release.set)

        def serve(conn):
            if not first.is_set():
                first.set()
                release.wait(SHORT)
            echo(conn)

        self.outbound(serve)
        slow = self.dial()
        self.assertTrue(first.wait(SHORT))
        slow.settimeout(0.5)
        sent = 0
        with self.assertRaises(TimeoutError):
            while True:
                sent += slow.send(bytes(MIB))
        self.assertLess(sent, 32 * MIB)
        self.transfer(self.dial(), BULK // 4)
        if not SANITIZED:
            self.assertLess(self.memory(), 12 * MIB)
        release.set()
        slow.settimeout(SHORT)
        slow.shutdown(socket.SHUT_WR)
        self.assertEqual(sent, len(read_all(slow)))

    def memory(self):
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmRSS')) * 1024

    def test_idle(self):
        """a thousand connections that wait take little, and no pipes"""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
        self.stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        self.outbound(echo)
        own = len(os.listdir(f'/proc/{self.process.pid}/fd'))
        conns = [self.dial() for _ in range(1000)]
        for conn in conns:
            conn.sendall(b'x')
        for conn in conns:
            self.assertEqual(b'x', conn.recv(1))
        self.assertEqual(1000, self.service()['current'])
        fds = len(os.listdir(f'/proc/{self.process.pid}/fd')) - own
        self.assertTrue(2000 <= fds <= 2000 + 16, fds)
        if not SANITIZED:
            self.assertLess(self.memory(), 8 * MIB)
        for conn in conns:
            conn.close()
        self.wait_service(current=0)

    def test_limit(self):
        """who comes over the limit is closed, and counted"""
        destination = self.destination(echo)
        self.start_linked(f'[outbound 1000]\nhost=127.0.0.1\nservice={destination.port}\n',
                          prefix=['prlimit', '--nofile=64:64'])
        self.assertIn('There can be 16 connections', self.log())
        conns = [self.dial() for _ in range(16)]
        for conn in conns:
            conn.sendall(b'x')
            self.assertEqual(b'x', conn.recv(1))
        self.assert_closed(self.dial())
        self.assertEqual((16, 1), (self.service()['current'], self.service()['refused']))
        conns[0].close()
        self.wait_service(current=15)
        conn = self.dial()
        conn.sendall(b'y')
        self.assertEqual(b'y', conn.recv(1))

    def test_limit_with_slow_readers(self):
        """pipes leave descriptors for connections, without which the link would be closed"""
        stop = threading.Event()
        self.stack.callback(stop.set)
        destination = self.destination(lambda conn: stop.wait(60))
        self.start_linked(f'[outbound 1000]\nhost=127.0.0.1\nservice={destination.port}\n',
                          prefix=['prlimit', '--nofile=64:64'])
        conns = [self.dial() for _ in range(16)]
        for conn in conns:
            conn.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                while True:
                    conn.send(bytes(65536))
        # at once, so that they all wait to be refused
        os.kill(self.process.pid, signal.SIGSTOP)
        more = [self.dial() for _ in range(4)]
        os.kill(self.process.pid, signal.SIGCONT)
        for conn in more:
            self.assert_closed(conn)
        self.assertEqual((16, 4), (self.service()['current'], self.service()['refused']))
        self.assertTrue(self.query()['link'], self.log())

    def test_refused_then_there(self):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        self.start_linked(f'[outbound 1000]\nhost=127.0.0.1\nservice={port}\n')
        self.assert_closed(self.dial())
        self.wait_service(current=0, total=1, failed=1)
        self.assertIn("'127.0.0.1' of port 1000 cannot be reached: Connection refused", self.log())
        self.destination(echo, ('127.0.0.1', port))
        conn = self.dial()
        conn.sendall(b'there')
        self.assertEqual(b'there', conn.recv(5))

    def test_unix_destination(self):
        path = os.path.join(self.dir, 'destination')
        self.start_linked(f'[outbound 1000]\npath={path}\n')
        self.assert_closed(self.dial())
        self.wait_service(current=0, failed=1)
        self.destination(greet, path, socket.AF_UNIX)
        conn = self.dial()
        conn.sendall(b'x')
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'got x', read_all(conn))

    def test_unix_destination_with_a_full_queue(self):
        path = os.path.join(self.dir, 'destination')
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        self.start_linked(f'[outbound 1000]\npath={path}\n')
        conns = [self.dial() for _ in range(3)]
        self.wait_service(total=3)
        for conn in conns:
            conn.sendall(b'x')
            with listener.accept()[0] as accepted:
                self.assertEqual(b'x', accepted.recv(1))
        self.wait_service(current=0, failed=0)

    def test_destination_that_hangs(self):
        """nothing answers: the time-out of an address"""
        listener = self.stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=0))
        address = listener.getsockname()
        for _ in range(3):
            filler = self.stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        self.start_linked(f'[outbound 1000]\nhost=127.0.0.1\nservice={address[1]}\n')
        before = time.monotonic()
        self.assert_closed(self.dial())
        self.assertTrue(4 < time.monotonic() - before < 9)
        self.wait_service(failed=1, current=0)
        self.assertIn('cannot be reached: Connection timed out', self.log())

    def test_ipv6(self):
        destination = self.destination(greet, ('::1', 0), socket.AF_INET6)
        self.start_linked(f'[outbound 1000]\nhost=::1\nservice={destination.port}\n')
        conn = self.dial()
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'got ', read_all(conn))

    def congestion_control(self, host):
        """That of the connection with a destination at @host, as it is the host's own elsewhere"""
        with open('/proc/sys/net/ipv4/tcp_congestion_control', encoding='ascii') as file:
            usual = file.read().strip()
        if usual == 'reno':
            self.skipTest("the host's own congestion control is reno")
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        destination = self.destination(echo, (host, 0), family)
        self.start_linked(f'[outbound 1000]\nhost={host}\nservice={destination.port}\n')
        conn = self.dial()
        conn.sendall(b'x')
        self.assertEqual(b'x', conn.recv(1))
        listing = subprocess.run(['ss', '-Htin', f'dport = :{destination.port}'], check=True,
                                 capture_output=True, text=True).stdout
        self.assertRegex(listing, '^ESTAB')
        return usual, listing.splitlines()[1].split()[0]

    def test_loopback_is_not_paced(self):
        """whatever the host has chosen"""
        self.assertEqual('reno', self.congestion_control('127.0.0.1')[1])

    def test_loopback_of_ipv6_is_not_paced(self):
        self.assertEqual('reno', self.congestion_control('::1')[1])

    def test_congestion_control_is_the_hosts(self):
        """where data leave the loopback, or might"""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(('192.0.2.1', 9))
            except OSError as error:
                self.skipTest(f'this host has no other address: {error}')
            host = probe.getsockname()[0]
        self.assertEqual(*self.congestion_control(host))

    def test_reset_by_destination(self):
        def serve(conn):
            conn.recv(1)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))

        self.outbound(serve)
        self.link(family=socket.AF_INET)
        conn = self.dial()
        conn.sendall(b'x')
        self.assertRaises(ConnectionResetError, conn.recv, 1)
        self.wait_service(current=0)

    def test_reset_by_enclave(self):
        errors = []
        done = threading.Event()

        def serve(conn):
            conn.sendall(b'x')
            try:
                errors.append(conn.recv(1))
            except ConnectionResetError as error:
                errors.append(error.errno)
            done.set()

        self.outbound(serve)
        self.link(family=socket.AF_INET)
        conn = self.dial()
        self.assertEqual(b'x', conn.recv(1))
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        conn.close()
        self.assertTrue(done.wait(SHORT))
        self.assertEqual([errno.ECONNRESET], errors)
        self.wait_service(current=0)

    def test_destination_that_does_not_listen(self):
        """its answer arrives, though it closes without having read what it was sent"""
        path = os.path.join(self.dir, 'destination')

        def serve(conn):
            conn.sendall(b'no' * 1000)

        self.destination(serve, path, socket.AF_UNIX)
        self.start_linked(f'[outbound 1000]\npath={path}\n')
        conn = self.dial()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.sendall(bytes(16 * MIB))
        got = b''
        with contextlib.suppress(ConnectionResetError):
            while data := conn.recv(65536):
                got += data
        self.assertEqual(b'no' * 1000, got)
        self.wait_service(current=0)

    def test_one_that_is_gone_ends_both(self):
        """of a UNIX socket that is closed, not only half of it"""
        path = os.path.join(self.dir, 'destination')
        self.destination(lambda conn: None, path, socket.AF_UNIX)
        self.start_linked(f'[outbound 1000]\npath={path}\n')
        conn = self.dial()
        self.assertEqual(b'', conn.recv(1))
        # which the enclave has not closed
        self.wait_service(current=0, total=1)

    def test_sigterm(self):
        self.outbound(echo)
        conn = self.dial()
        conn.sendall(b'x')
        self.assertEqual(b'x', conn.recv(1))
        self.process.terminate()
        self.assertEqual(0, self.process.wait(SHORT))
        self.assert_closed(conn)
        self.ended = True


class InboundTest(ServicesCase):
    def inbound(self, linked=True):
        listener = self.listen()
        self.address = listener.getsockname()
        self.start(f'[inbound 5000]\nfd={listener.fileno()}\n', listener.fileno())
        if linked:
            self.link()

    def connect(self):
        conn = self.stack.enter_context(socket.create_connection(self.address))
        conn.settimeout(SHORT)
        return conn

    def test_both_ways(self):
        self.inbound()
        client = self.connect()
        enclave = self.switch.accept(5000)
        client.sendall(b'ping')
        self.assertEqual(b'ping', enclave.recv(4))
        enclave.sendall(b'pong!')
        self.assertEqual(b'pong!', client.recv(5))
        self.assertEqual(1, self.service()['current'])
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', enclave.recv(1))
        enclave.sendall(b'rest')
        enclave.close()
        self.assertEqual(b'rest', read_all(client))
        self.wait_service(current=0, total=1, sent=4, received=9)

    def test_sent_at_once(self):
        """what the client sends before there is a connection is not lost"""
        self.inbound()
        client = self.connect()
        client.sendall(b'early')
        client.shutdown(socket.SHUT_WR)
        enclave = self.switch.accept(5000)
        self.assertEqual(b'early', read_all(enclave))

    def test_no_link(self):
        self.inbound(linked=False)
        self.assert_closed(self.connect())
        self.wait_service(failed=1, current=0)
        self.link()
        client = self.connect()
        with self.switch.accept(5000) as enclave:
            enclave.sendall(b'x')
        self.assertEqual(b'x', client.recv(1))

    def test_enclave_refuses(self):
        self.inbound()
        client = self.connect()
        self.switch.refuse(5000)
        self.assert_closed(client)
        self.wait_service(failed=1, current=0)
        self.assertIn('Port 5000 of the enclave cannot be reached: Connection refused', self.log())

    def test_link_lost_meanwhile(self):
        self.inbound()
        client = self.connect()
        self.assertEqual('connect', self.switch.request()['command'])
        self.switch.close()
        self.assert_closed(client)
        self.wait_service(failed=1, current=0)

    def test_many_at_once(self):
        self.inbound()
        clients = [self.connect() for _ in range(MANY)]
        enclaves = [self.switch.accept(5000) for _ in range(MANY)]
        for number, client in enumerate(clients):
            client.sendall(b'%06d' % number)
        self.assertEqual([b'%06d' % number for number in range(MANY)],
                         sorted(enclave.recv(6) for enclave in enclaves))
        self.assertEqual(MANY, self.service()['current'])
        for sock in clients + enclaves:
            sock.close()
        self.wait_service(current=0)

    def test_many_that_are_not_answered(self):
        """those that wait for others fail in their time as well"""
        self.inbound()
        clients = [self.connect() for _ in range(64)]
        self.wait_service(failed=64, current=0)
        for client in clients:
            self.assert_closed(client)

    def test_limit(self):
        """clients leave the enclave a quarter of the connections that there can be"""
        listener = self.listen()
        self.address = listener.getsockname()
        destination = self.destination(echo)
        self.start(f'[inbound 5000]\nfd={listener.fileno()}\n'
                   f'[outbound 1000]\nhost=127.0.0.1\nservice={destination.port}\n',
                   listener.fileno(), prefix=['prlimit', '--nofile=64:64'])
        self.link()
        self.assertIn('There can be 16 connections', self.log())
        clients = [self.connect() for _ in range(12)]
        enclaves = [self.switch.accept(5000) for _ in range(12)]
        self.assert_closed(self.connect())
        self.assertEqual((12, 1), (self.service()['current'], self.service()['refused']))
        dialed = [self.dial() for _ in range(4)]
        for conn in dialed:
            conn.sendall(b'x')
            self.assertEqual(b'x', conn.recv(1))
        self.assert_closed(self.dial())
        for conn in (*dialed, clients[0], enclaves[0]):
            conn.close()
        self.wait_service(0, current=11)
        self.wait_service(1, current=0)
        with self.connect() as client, self.switch.accept(5000) as enclave:
            enclave.sendall(b'y')
            self.assertEqual(b'y', client.recv(1))

    def test_unix_listener(self):
        path = os.path.join(self.dir, 'hello.sock')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(8)
            self.start_linked(f'[inbound 5000]\nfd={listener.fileno()}\n', listener.fileno())
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SHORT)
            client.connect(path)
            with self.switch.accept(5000) as enclave:
                enclave.sendall(b'hello')
            self.assertEqual(b'hello', client.recv(5))

    def test_switch_that_never_answers(self):
        self.inbound()
        client = self.connect()
        request = self.switch.request()
        client.settimeout(30)
        self.assert_closed(client)
        self.wait_service(failed=1, current=0)
        # and what comes too late does no harm
        near, far = self.switch.pair()
        with near, far:
            self.switch.send({'return': {}, 'id': request['id']}, far.fileno())
        self.assertTrue(self.query()['link'])


class TimeTest(ServicesCase):
    def test_time(self):
        self.start_linked('[time 1230]\n')
        conn = self.dial(1230)
        for line in (b'\n', b'what time is it?\n', b'x' * 64 + b'\n'):
            with self.subTest(line=line):
                before = time.time()
                conn.sendall(line)
                answer = read_line(conn)
                self.assertRegex(answer, rb'^\d{10}\.\d{9}\n$')
                self.assertTrue(before <= float(answer) + 1e-3)
                self.assertTrue(float(answer) - 1e-3 <= time.time())
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', conn.recv(1))
        self.wait_service(current=0, total=1)

    def test_line_without_end(self):
        self.start_linked('[time 1230]\n')
        conn = self.dial(1230)
        conn.sendall(b'x')
        conn.shutdown(socket.SHUT_WR)
        self.assertRegex(read_all(conn), rb'^\d{10}\.\d{9}\n$')

    def test_too_long(self):
        self.start_linked('[time 1230]\n')
        conn = self.dial(1230)
        conn.sendall(b'x' * 65 + b'\n')
        self.assert_closed(conn)
        self.wait_service(refused=1, current=0)

    def test_who_says_nothing(self):
        self.start_linked('[time 1230]\n')
        conn = self.dial(1230)
        before = time.monotonic()
        self.assert_closed(conn)
        self.assertTrue(9 < time.monotonic() - before < 15)

    def test_who_reads_nothing(self):
        """is closed, and holds nobody up"""
        self.start_linked('[time 1230]\n')
        conn = self.dial(1230)
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            while True:
                conn.sendall(b'\n' * 65536)
        self.wait_service(current=0)


class ExitTest(ServicesCase):
    def tell(self, text):
        conn = self.dial(9001)
        conn.sendall(text)
        conn.shutdown(socket.SHUT_WR)
        self.assert_closed(conn)

    def test_code(self):
        self.start_linked('[exit 9001]\n')
        other = self.client()
        self.assertNotIn('code', self.service())
        self.tell(b'3\n')
        self.assertEqual({'port': 9001, 'code': 3}, self.control.event('exit'))
        self.assertEqual({'port': 9001, 'code': 3}, other.event('exit'))
        self.assertEqual(3, self.service()['code'])
        # the first one counts
        self.tell(b'0\n')
        self.wait_service(total=2, current=0)
        self.assertEqual(3, self.service()['code'])
        self.control.raw(b'{"command": "query-services", "id": 77}\n')
        self.assertEqual(77, self.control.line()['id'])

    def test_what_is_none(self):
        self.start_linked('[exit 9001]\n')
        texts = [b'256\n', b'-1\n', b'\n', b'x\n', b' 1\n', b'1 \n', b'0x1\n', b'1\0\n', b'0001\n',
                 b'9' * 100000]
        for text in texts:
            with self.subTest(text=text[:8]), contextlib.suppress(BrokenPipeError,
                                                                  ConnectionResetError):
                self.tell(text)
        self.wait_service(refused=len(texts), current=0)
        self.assertNotIn('code', self.service())
        self.tell(b'255')
        self.assertEqual({'port': 9001, 'code': 255}, self.control.event('exit'))


class HealthTest(ServicesCase):
    CONFIG = '[health 5002]\ninterval=1\nfailures=2\n'

    def test_health(self):
        self.start(self.CONFIG)
        self.assertNotIn('healthy', self.service())
        self.link()
        self.switch.refuse(5002)
        self.assertNotIn('healthy', self.service())
        with self.switch.accept(5002) as enclave:
            self.assertEqual(b'', enclave.recv(1))
        self.assertEqual({'port': 5002, 'healthy': True}, self.control.event('health'))
        self.switch.refuse(5002)
        # one failure is none, and is forgotten after a success
        self.switch.accept(5002).close()
        self.switch.refuse(5002)
        self.assertIs(True, self.service()['healthy'])
        self.switch.refuse(5002)
        self.assertEqual({'port': 5002, 'healthy': False}, self.control.event('health'))
        self.assertIs(False, self.service()['healthy'])
        self.switch.refuse(5002)
        self.switch.accept(5002).close()
        # only a change is told
        self.assertEqual({'port': 5002, 'healthy': True}, self.control.event('health'))
        self.assertIs(True, self.service()['healthy'])

    def test_never_healthy(self):
        """it has as many intervals from the beginning on"""
        self.start_linked(self.CONFIG)
        before = time.monotonic()
        for _ in range(3):
            self.switch.refuse(5002)
        self.assertEqual({'port': 5002, 'healthy': False}, self.control.event('health'))
        self.assertGreater(time.monotonic() - before, 1.5)

    def test_others_wait(self):
        """it does not wait behind connections that clients ask for"""
        listener = self.listen()
        self.start(f'[inbound 5000]\nfd={listener.fileno()}\n' + self.CONFIG, listener.fileno())
        self.link()
        self.switch.accept(5002).close()
        self.control.event('health')
        clients = [self.stack.enter_context(socket.create_connection(listener.getsockname()))
                   for _ in range(64)]
        self.wait_service(current=len(clients))
        # which are not answered
        asked = []
        while 5002 not in asked:
            asked.append(self.switch.request()['port'])
        self.assertLess(len(asked), len(clients))

    def test_no_answer(self):
        self.start_linked(self.CONFIG)
        self.assertEqual({'port': 5002, 'healthy': False}, self.control.event('health'))
        self.assertEqual(3, self.service()['failed'])

    def test_link_lost(self):
        """tells nothing of the enclave"""
        self.start_linked(self.CONFIG)
        self.switch.accept(5002).close()
        self.control.event('health')
        self.switch.close()
        self.control.event('link-lost')
        time.sleep(3.5)
        self.assertIs(True, self.service()['healthy'])
        self.link()
        self.switch.accept(5002).close()
        self.assertIs(True, self.service()['healthy'])


class LogTest(ServicesCase):
    STAMP = rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z '

    def start_log(self, more='', backups=0):
        self.path_of_log = os.path.join(self.dir, 'enclave.log')
        with contextlib.ExitStack() as stack:
            def opened(name, flags):
                fd = os.open(name, flags | os.O_CREAT, 0o600)
                stack.callback(os.close, fd)
                return fd

            fd = opened(self.path_of_log, os.O_RDWR | os.O_APPEND)
            old = [opened(f'{self.path_of_log}.{i}', os.O_RDWR) for i in range(backups)]
            if old:
                more += f'backups={";".join(map(str, old))}\n'
            self.start_linked(f'[log 9514]\nfd={fd}\n{more}', fd, *old)

    def written(self, name=''):
        with open(self.path_of_log + name, 'rb') as f:
            return f.read()

    def texts(self):
        """The lines without their time stamps"""
        lines = self.written().splitlines(keepends=True)
        for line in lines:
            self.assertRegex(line, rb'(?s)^' + self.STAMP + rb'.*\n$')
        return [line.split(b' ', 1)[1][:-1] for line in lines]

    def say(self, data):
        conn = self.dial(9514)
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', conn.recv(1))

    def test_lines(self):
        self.start_log()
        self.say(b'one\ntwo\r\n\nlast')
        self.assertEqual([b'one', b'two', b'', b'last'], self.texts())
        service = self.wait_service(current=0)
        self.assertEqual((1, 0, 14), (service['total'], service['lost'], service['received']))

    def test_time_stamp(self):
        self.start_log()
        before = time.time()
        self.say(b'x\n')
        stamp = self.written().split(b' ')[0].decode().replace('Z', '+00:00')
        told = datetime.datetime.fromisoformat(stamp).timestamp()
        self.assertTrue(before - 0.01 <= told <= time.time() + 0.01)

    def test_in_pieces(self):
        self.start_log()
        conn = self.dial(9514)
        for byte in b'a line':
            conn.sendall(bytes([byte]))
            time.sleep(0.005)
        self.assertEqual(b'', self.written())
        conn.sendall(b'\n')
        wait_for(self.written)
        self.assertEqual([b'a line'], self.texts())

    def test_what_cannot_be_shown(self):
        self.start_log()
        self.say(b'\x1b[31mred\x07\n' + 'grün\t\u4e2d'.encode() + b'\nbad \xff\xfe \xc3(\n'
                 b'nul \0 del \x7f c1 \xc2\x9b\ncr \r cr\n\xed\xa0\x80\n')
        self.assertEqual([b'\\x1b[31mred\\x07', 'grün\t\u4e2d'.encode(), b'bad \\xff\\xfe \\xc3(',
                          b'nul \\x00 del \\x7f c1 \\xc2\\x9b', b'cr \\x0d cr', b'\\xed\\xa0\\x80'],
                         self.texts())

    def test_what_shows_otherwise(self):
        """what turns the order of text around, is not seen, or begins a line in some programs"""
        self.start_log()
        self.say('turn \u202e \u2066 ends \u2028 \u2029 \u0085 not seen \u200b \ufeff\n'.encode())
        self.assertEqual([b'turn \\xe2\\x80\\xae \\xe2\\x81\\xa6 ends \\xe2\\x80\\xa8 '
                          b'\\xe2\\x80\\xa9 \\xc2\\x85 not seen \\xe2\\x80\\x8b \\xef\\xbb\\xbf'],
                         self.texts())

    def test_long_lines(self):
        self.start_log()
        whole, long, longest = b'a' * 4096, b'b' * 4097, b'c' * 100000
        self.say(whole + b'\n' + whole + b'\r\n' + long + b'\n' + longest + b'\nshort\n' + longest)
        self.assertEqual([whole, whole, b'b' * 4096 + b' [cut]', b'c' * 4096 + b' [cut]', b'short',
                          b'c' * 4096 + b' [cut]'], self.texts())

    def test_flood(self):
        """what is too much is dropped, counted and told, and others are served meanwhile"""
        self.start_log('max-size=1073741824\n')
        count = 20000
        self.say(b'flood\n' * count)
        service = self.wait_service(current=0)
        kept = self.texts().count(b'flood')
        self.assertEqual(count, kept + service['lost'])
        self.assertTrue(3000 < kept < 15000, kept)

        def told():
            return sum(int(number) for number in
                       re.findall(rb'libvirt-nitro: (\d+) lines were dropped', self.written()))

        wait_for(lambda: told() == service['lost'])
        self.say(b'afterwards\n')
        self.assertIn(b'afterwards', self.texts())

    def test_flood_of_bytes(self):
        self.start_log('max-size=1073741824\n')
        self.say((b'x' * 4000 + b'\n') * 5000)
        self.assertGreater(self.wait_service(current=0)['lost'], 100)
        self.assertLess(len(self.written()), 16 * MIB)

    def test_rotation(self):
        self.start_log('max-size=8192\n', backups=2)
        lines = [b'%05d %s' % (number, b'x' * 94) for number in range(400)]
        self.say(b''.join(line + b'\n' for line in lines))
        parts = [self.written(name) for name in ('.1', '.0', '')]
        for part in parts:
            self.assertTrue(0 < len(part) <= 8192, len(part))
        kept = [line.split(b' ', 1)[1] for line in b''.join(parts).splitlines()]
        self.assertEqual(lines[-len(kept):], kept)
        self.assertGreater(len(kept), 100)

    def test_disk_full(self):
        """lines that cannot be written are counted"""
        with open('/dev/full', 'ab') as full:
            self.start_linked(f'[log 9514]\nfd={full.fileno()}\n', full.fileno())
        self.say(b'one\ntwo\n')
        self.assertEqual(2, self.wait_service(current=0)['lost'])
        self.assertIn('its file: No space left on device', self.log())

    def test_idle_connections_take_turns(self):
        self.start_log()
        conns = [self.dial(9514) for _ in range(100)]
        for number, conn in enumerate(conns):
            conn.sendall(b'%03d\n' % number)
        wait_for(lambda: len(self.texts()) == 100)
        self.assertEqual([b'%03d' % number for number in range(100)], sorted(self.texts()))
        self.assertEqual(100, self.service()['current'])


# In a mount namespace of its own: what it sees at paths of the system
ELSEWHERE = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-e', '-c']


class SyslogTest(ServicesCase):
    def setUp(self):
        super().setUp()
        self.dev = os.path.join(self.dir, 'dev')
        self.socket_path = os.path.join(self.dir, 'dev-log')
        os.mkdir(self.dev)
        with open(os.path.join(self.dev, 'null'), 'wb'):
            pass
        os.symlink(self.socket_path, os.path.join(self.dev, 'log'))

    def start_syslog(self, name='enclave'):
        script = (f'mount --bind /dev/null {self.dev}/null; mount --rbind {self.dev} /dev; '
                  'exec "$@"')
        self.start_linked(f'[syslog 9515]\nname={name}\n', prefix=[*ELSEWHERE, script, 'sh'])

    def listen_log(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        listener.bind(self.socket_path)
        listener.settimeout(SHORT)
        return listener

    def say(self, data):
        conn = self.dial(9515)
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', conn.recv(1))

    def test_messages(self):
        listener = self.listen_log()
        self.start_syslog()
        self.say(b'one\n\x1btwo\n')
        self.assertEqual([b'<14>enclave: one', b'<14>enclave: \\x1btwo'],
                         [listener.recv(8192) for _ in range(2)])

    def test_name(self):
        listener = self.listen_log()
        self.start_syslog('my: [domain] 1')
        self.say(b'x\n')
        self.assertEqual(b'<14>my___domain__1: x', listener.recv(8192))

    def test_restart(self):
        """it comes back, and so do the messages"""
        self.start_syslog()
        self.say(b'nobody\n')
        self.wait_service(lost=1, current=0)
        for _ in range(2):
            listener = self.listen_log()
            self.say(b'somebody\n')
            self.assertEqual(b'<14>enclave: somebody', listener.recv(8192))
            listener.close()
            self.say(b'nobody\n')
        self.wait_service(lost=3, current=0)

    def test_nobody_reads(self):
        """a log that nobody reads holds nobody up"""
        self.listen_log()
        self.start_syslog()
        self.say(b'x\n' * 3000)
        service = self.wait_service(current=0)
        self.assertTrue(2000 < service['lost'] < 3000, service)


class NameServer:
    """Answers for names; {name: [addresses]}, or None: not at all. Other names do not exist."""

    def __init__(self, address, names):
        self.names = names
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(SHORT)

    def run(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(4096)
                if len(query) < 12:
                    return
                answer = self.answer(query)
                if answer:
                    self.socket.sendto(answer, sender)
            except OSError:
                return

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack_from('!H', query, at + 1)[0]
        question = query[12:at + 5]
        name = '.'.join(labels).lower()
        self.asked.append(name)
        known = self.names.get(name, ())
        if known is None:
            return None
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        found = [socket.inet_pton(family, address) for address in known
                 if family and (':' in address) == (family == socket.AF_INET6)]
        flags = 0x8180 if name in self.names else 0x8183
        records = b''.join(b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 1, len(data)) + data
                           for data in found)
        return query[:2] + struct.pack('!HHHHH', flags, 1, len(found), 0, 0) + question + records


class NamesCase(ServicesCase):
    """With an /etc of its own, and a server of names"""

    def setUp(self):
        super().setUp()
        self.etc = os.path.join(self.dir, 'etc')
        os.mkdir(self.etc)
        self.write_etc('hosts', '127.0.0.1 localhost here\n169.254.169.254 metadata\n')
        self.names = {}
        try:
            self.server = NameServer('127.53.0.1', self.names)
        except PermissionError:
            self.skipTest('port 53 is for root')
        self.stack.callback(self.server.close)
        self.write_etc('resolv.conf', 'nameserver 127.53.0.1\noptions timeout:1 attempts:1\n')

    def write_etc(self, name, text):
        """As it is done, by another file in its place"""
        path = os.path.join(self.etc, name)
        with open(path + '.new', 'w', encoding='ascii') as file:
            file.write(text)
        os.rename(path + '.new', path)

    def start_named(self, config, **kwargs):
        script = f'mount --bind {self.etc} /etc; exec "$@"'
        self.start_linked(config, prefix=[*ELSEWHERE, script, 'sh'], **kwargs)


class NameTest(NamesCase):
    def named(self, host, serve=echo, address='127.0.0.1'):
        destination = self.destination(serve, (address, 0))
        self.start_named(f'[outbound 1000]\nhost={host}\nservice={destination.port}\n')
        return destination.port

    def assert_echo(self):
        conn = self.dial()
        conn.sendall(b'x')
        self.assertEqual(b'x', conn.recv(1), self.log())
        conn.close()

    def test_hosts_file(self):
        self.named('here')
        self.assert_echo()
        self.assertEqual([], self.server.asked)

    def test_dns(self):
        self.names['db.example'] = ['127.0.0.1']
        self.named('db.example')
        self.assert_echo()

    def test_no_such_name(self):
        self.named('none.example')
        self.assert_closed(self.dial())
        self.wait_service(failed=1, current=0)
        self.assertIn("'none.example' of port 1000 cannot be reached: Name or service not known",
                      self.log())
        self.names['none.example'] = ['127.0.0.1']
        self.assert_echo()

    def test_server_that_does_not_answer(self):
        self.names['slow.example'] = None
        self.named('slow.example')
        self.assert_closed(self.dial())
        self.wait_service(failed=1, current=0)

    def test_all_addresses(self):
        """of both families, in their order, until one answers"""
        self.names['db.example'] = ['::1', '127.0.0.3', '127.0.0.2']
        self.named('db.example', address='127.0.0.2')
        self.assert_echo()

    def test_other_address(self):
        """the name is looked up at each connection"""
        port = self.named('db.example', address='127.0.0.2')
        self.names['db.example'] = ['127.0.0.2']
        self.assert_echo()
        self.destination(lambda conn: conn.sendall(b'other'), ('127.0.0.3', port))
        self.names['db.example'] = ['127.0.0.3']
        self.assertEqual(b'other', read_all(self.dial()))

    def test_other_hosts(self):
        """the same by the hosts file, which another one takes the place of; DNS is not asked"""
        self.write_etc('hosts', '127.0.0.1 localhost\n127.0.0.2 db.example\n')
        port = self.named('db.example', address='127.0.0.2')
        self.assert_echo()
        self.destination(lambda conn: conn.sendall(b'other'), ('127.0.0.3', port))
        self.write_etc('hosts', '127.0.0.3 db.example\n')
        self.assertEqual(b'other', read_all(self.dial()))
        self.assertEqual([], self.server.asked)

    def test_other_server(self):
        """resolv.conf and hosts are read again when there are others in their places"""
        self.named('db.example')
        self.assert_closed(self.dial())
        other = NameServer('127.53.0.2', {'db.example': ['127.0.0.1']})
        self.stack.callback(other.close)
        self.write_etc('resolv.conf', 'nameserver 127.53.0.2\n')
        self.assert_echo()
        self.assertIn('db.example', other.asked)
        self.write_etc('hosts', '127.0.0.9 db.example\n')
        asked = len(other.asked)
        self.assert_closed(self.dial())
        self.assertEqual(asked, len(other.asked))

    def test_many_lookups(self):
        """more than there are threads"""
        self.names['db.example'] = ['127.0.0.1']
        self.named('db.example')
        conns = [self.dial() for _ in range(100)]
        for conn in conns:
            conn.sendall(b'y')
        self.assertEqual({b'y'}, {conn.recv(1) for conn in conns})

    def test_lookups_given_up(self):
        """are not made once nobody waits for them: others do not wait behind them"""
        self.names['db.example'] = ['127.0.0.1']
        self.names['slow.example'] = None
        destination = self.destination(echo)
        self.start_named(f'[outbound 1000]\nhost=db.example\nservice={destination.port}\n'
                         '[outbound 1001]\nhost=slow.example\nservice=1\n')
        # of which eight at a time take a second
        given_up = [self.dial(1001) for _ in range(400)]
        for conn in given_up:
            self.assert_closed(conn)
        self.wait_service(1, failed=400, current=0)
        self.assert_echo()

    def test_search_domains(self):
        """of resolv.conf are for the names of the definition"""
        self.write_etc('resolv.conf', 'nameserver 127.53.0.1\nsearch inside.example\n')
        self.names['db.prod.inside.example'] = ['127.0.0.1']
        self.named('db.prod')
        self.assert_echo()

    def test_end_within_lookup(self):
        self.names['slow.example'] = None
        self.named('slow.example')
        self.dial()
        wait_for(lambda: self.server.asked)
        self.process.terminate()
        self.assertEqual(0, self.process.wait(SHORT))
        self.ended = True


class ProxyCase(NamesCase):
    def start_proxy(self, *allow, serve=echo, address='127.0.0.1', family=socket.AF_INET):
        """Allows each with "PORT" as that of a destination."""
        destination = self.destination(serve, (address, 0), family)
        self.port = destination.port
        allow = ';'.join(entry.replace('PORT', str(self.port)) for entry in allow)
        self.start_named('[proxy 3128]\n' + (f'allow={allow}\n' if allow else ''))
        return destination

    def ask(self, request):
        """The connection on which @request (with "PORT") has been sent"""
        conn = self.dial(3128)
        conn.sendall(request.replace(b'PORT', b'%d' % self.port))
        return conn

    def connect(self, target, more=b''):
        return self.ask(b'CONNECT ' + target.encode() + b' HTTP/1.1\r\nHost: x\r\n\r\n' + more)

    def status(self, conn):
        """The status of an answer that is no other than an end"""
        answer = read_all(conn)
        head, body = answer.split(b'\r\n\r\n', 1)
        lines = head.split(b'\r\n')
        self.assertEqual(b'', body)
        self.assertIn(b'Content-Length: 0', lines)
        self.assertIn(b'Connection: close', lines)
        return int(re.fullmatch(rb'HTTP/1\.1 (\d{3}) [A-Za-z ]+', lines[0])[1])

    def assert_status(self, status, target):
        self.assertEqual(status, self.status(self.connect(target)), target)

    def assert_connected(self, conn, echoed=b'ping'):
        answer = b''
        while len(answer) < len(ESTABLISHED):
            part = conn.recv(len(ESTABLISHED) - len(answer))
            self.assertTrue(part, answer)
            answer += part
        self.assertEqual(ESTABLISHED, answer)
        conn.sendall(echoed)
        got = b''
        while len(got) < len(echoed):
            got += conn.recv(65536)
        self.assertEqual(echoed, got)


class ProxyRequestTest(ProxyCase):
    def test_connect(self):
        self.start_proxy('127.0.0.1:PORT')
        for conn in (self.connect('127.0.0.1:PORT'),
                     self.ask(b'CONNECT 127.0.0.1:PORT HTTP/1.0\r\n\r\n')):
            self.assert_connected(conn)
            conn.close()
        service = self.wait_service(current=0, total=2)
        self.assertEqual((0, 0), (service['refused'], service['failed']))

    def test_in_pieces(self):
        self.start_proxy('127.0.0.1:PORT')
        conn = self.dial(3128)
        for byte in b'CONNECT 127.0.0.1:%d HTTP/1.1\r\nA: b\r\n\r\n' % self.port:
            conn.sendall(bytes([byte]))
        self.assert_connected(conn)

    def test_early_data(self):
        """what comes behind the request is the destination's"""
        self.start_proxy('127.0.0.1:PORT')
        early = os.urandom(7000)
        conn = self.connect('127.0.0.1:PORT', early)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(ESTABLISHED + early, read_all(conn))
        early = b'\r\nCONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n' + os.urandom(MIB)
        conn = self.dial(3128)
        thread = threading.Thread(target=lambda: (conn.sendall(
            b'CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n' % self.port + early),
            conn.shutdown(socket.SHUT_WR)))
        thread.start()
        self.assertEqual(ESTABLISHED + early, read_all(conn))
        thread.join()
        self.assertEqual(2, self.wait_service(current=0)['total'])

    def test_bad_requests(self):
        destination = self.start_proxy('*:*', '127.0.0.1:*')
        target = b'127.0.0.1:PORT'
        for request in (
                b'\r\n\r\n', b'\n', b'CONNECT\r\n\r\n', b'\0',
                b'CONNECT ' + target + b'\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\n\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\n\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\rX: y\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nX: a\rb\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nX: a\nY: b\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nX: a\0b\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nX: a\x01b\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\n X: folded\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nX : y\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nno colon\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\n: no name\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello',
                b'CONNECT ' + target + b' HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
                b'CONNECT  ' + target + b' HTTP/1.1\r\n\r\n',
                b'CONNECT ' + target + b'  HTTP/1.1\r\n\r\n',
                b'CONNECT ' + target + b' x HTTP/1.1\r\n\r\n',
                b'CONNECT\t' + target + b'\tHTTP/1.1\r\n\r\n',
                b' CONNECT ' + target + b' HTTP/1.1\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/1.2\r\n\r\n',
                b'CONNECT ' + target + b' HTTP/2.0\r\n\r\n',
                b'CONNECT ' + target + b' http/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1: HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:0 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:65536 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:+80 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:0x50 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:000080 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1:80a HTTP/1.1\r\n\r\n',
                b'CONNECT :80 HTTP/1.1\r\n\r\n',
                b'CONNECT ::1:80 HTTP/1.1\r\n\r\n',
                b'CONNECT [::1:80 HTTP/1.1\r\n\r\n',
                b'CONNECT ::1]:80 HTTP/1.1\r\n\r\n',
                b'CONNECT [127.0.0.1]:80 HTTP/1.1\r\n\r\n',
                b'CONNECT [fe80::1%eth0]:80 HTTP/1.1\r\n\r\n',
                b'CONNECT []:80 HTTP/1.1\r\n\r\n',
                b'CONNECT user@host:80 HTTP/1.1\r\n\r\n',
                b'CONNECT http://host:80 HTTP/1.1\r\n\r\n',
                b'CONNECT host/:80 HTTP/1.1\r\n\r\n',
                b'CONNECT ho\xc3\xa9st:80 HTTP/1.1\r\n\r\n',
                b'CONNECT a..b:80 HTTP/1.1\r\n\r\n', b'CONNECT .a:80 HTTP/1.1\r\n\r\n',
                b'CONNECT -a:80 HTTP/1.1\r\n\r\n',
                b'CONNECT ' + b'a' * 64 + b':80 HTTP/1.1\r\n\r\n',
                b'CONNECT ' + b'a.' * 128 + b':80 HTTP/1.1\r\n\r\n',
                # other ways to write 127.0.0.1
                b'CONNECT 127.1:80 HTTP/1.1\r\n\r\n', b'CONNECT 2130706433:80 HTTP/1.1\r\n\r\n',
                b'CONNECT 0x7f000001:80 HTTP/1.1\r\n\r\n',
                b'CONNECT 0177.0.0.1:80 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.0x1:80 HTTP/1.1\r\n\r\n',
                b'CONNECT 127.0.0.1.:80 HTTP/1.1\r\n\r\n'):
            with self.subTest(request=request):
                self.assertEqual(400, self.status(self.ask(request)))
        self.assertEqual(0, destination.accepted)
        self.assertEqual(0, self.wait_service(current=0)['failed'])
        self.assertEqual([], self.server.asked)

    def test_other_methods(self):
        self.start_proxy('127.0.0.1:PORT')
        for request in (b'GET http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: x\r\n\r\n',
                        b'POST / HTTP/1.0\r\n\r\n', b'connect 127.0.0.1:PORT HTTP/1.1\r\n\r\n',
                        b'OPTIONS * HTTP/1.1\r\n\r\n'):
            with self.subTest(request=request):
                conn = self.ask(request)
                answer = read_all(conn)
                self.assertTrue(answer.startswith(b'HTTP/1.1 405 '), answer)
                self.assertIn(b'\r\nAllow: CONNECT\r\n', answer)

    def test_two_requests(self):
        """a second request is no request to us"""
        destination = self.start_proxy('127.0.0.1:PORT')
        line = b'CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n' % self.port
        conn = self.ask(line + line)
        conn.shutdown(socket.SHUT_WR)
        self.assertEqual(ESTABLISHED + line, read_all(conn))
        self.assertEqual(1, destination.accepted)
        # nor is one behind one that was refused
        conn = self.ask(b'CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n' + line)
        self.assertEqual(403, self.status(conn))
        self.assertEqual(1, destination.accepted)

    def test_limits(self):
        self.start_proxy('127.0.0.1:PORT')
        start = b'CONNECT 127.0.0.1:%d HTTP/1.1\r\n' % self.port

        def padded(size):
            """A request of @size bytes, most of it a field"""
            return start + b'X: ' + b'y' * (size - len(start) - 7) + b'\r\n\r\n'

        self.assertEqual(8192, len(padded(8192)))
        self.assert_connected(self.ask(padded(8192)))
        self.assertEqual(400, self.status(self.ask(padded(8193))))
        self.assert_connected(self.ask(start + b'X: y\r\n' * 64 + b'\r\n'))
        self.assertEqual(400, self.status(self.ask(start + b'X: y\r\n' * 65 + b'\r\n')))
        # endless ones
        for what in (b'C' * 100000, b'CONNECT ' + b'a' * 100000, start + b'X: ' + b'y' * 100000,
                     start + b'X: y\r\n' * 20000):
            with self.subTest(what=what[:50]):
                conn = self.dial(3128)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    conn.sendall(what)
                self.assertEqual(400, self.status(conn))

    def test_slow_request(self):
        """ten seconds for all of it, however it trickles in"""
        self.start_proxy('127.0.0.1:PORT')
        conn = self.dial(3128)
        before = time.monotonic()
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - before < 20:
                conn.sendall(b'C')
                time.sleep(0.1)
        self.assertTrue(9 < time.monotonic() - before < 15)
        self.wait_service(current=0, refused=1)

    def test_gone_early(self):
        self.start_proxy('127.0.0.1:PORT')
        self.dial(3128).close()
        conn = self.ask(b'CONNECT 127.0')
        conn.close()
        self.wait_service(current=0, total=2)
        self.assert_connected(self.connect('127.0.0.1:PORT'))

    def test_destination_fails(self):
        self.start_proxy('127.0.0.1:*')
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        self.assert_status(502, f'127.0.0.1:{port}')
        self.assertEqual(1, self.wait_service(current=0)['failed'])

    def test_destination_hangs(self):
        self.start_proxy('127.0.0.1:*')
        listener = self.stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=0))
        for _ in range(3):
            filler = self.stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        self.assert_status(504, f'127.0.0.1:{listener.getsockname()[1]}')

    def test_answer_of_one_that_sends_on(self):
        """it is not lost for what was not read"""
        self.start_proxy()
        self.link(family=socket.AF_INET)
        conn = self.connect('127.0.0.1:PORT', bytes(200000))
        self.assertEqual(403, self.status(conn))

    def test_curl(self):
        """an unmodified client"""
        def serve(conn):
            while not (data := conn.recv(65536)).endswith(b'\r\n\r\n'):
                self.assertTrue(data)
            conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')

        self.start_proxy('here:PORT', '127.0.0.1:PORT', serve=serve)
        with socket.create_server(('127.0.0.1', 0)) as listener:
            address = listener.getsockname()

            def forward():
                with listener.accept()[0] as client, self.switch.pair()[0] as unused:
                    unused.close()
                    # the client's own socket is the enclave's connection
                    self.switch.send({'event': 'connection', 'port': 3128}, client.fileno())

            thread = threading.Thread(target=forward)
            thread.start()
            done = subprocess.run(
                ['curl', '-sS', '-p', '-x', f'http://127.0.0.1:{address[1]}',
                 f'http://here:{self.port}/'], capture_output=True, text=True, check=False)
            thread.join()
        self.assertEqual((0, 'hello'), (done.returncode, done.stdout), done.stderr)


class ProxyAllowTest(ProxyCase):
    def test_nothing(self):
        destination = self.start_proxy()
        for target in ('127.0.0.1:PORT', 'here:PORT', '8.8.8.8:53', 'example.com:443'):
            with self.subTest(target=target):
                self.assert_status(403, target)
        self.assertEqual(([], 0), (self.server.asked, destination.accepted))
        self.assertEqual(4, self.wait_service(current=0)['refused'])

    def test_names(self):
        self.names.update({name: ['127.0.0.1'] for name in (
            'www.example.com', 'a.b.example.com', 'example.com', 'wwwexample.com', 'exact.net')})
        self.start_proxy('*.Example.COM.:PORT', 'exact.net:*', '127.0.0.1:PORT')
        for target in ('www.example.com:PORT', 'a.b.example.com:PORT', 'WWW.EXAMPLE.com:PORT',
                       'www.example.com.:PORT', 'exact.net:PORT', 'Exact.Net.:PORT'):
            with self.subTest(target=target):
                self.assert_connected(self.connect(target))
        asked = len(self.server.asked)
        for target in ('example.com:PORT', 'wwwexample.com:PORT', 'www.example.com:1',
                       'www.example.com.evil.org:PORT', 'xexact.net:PORT', 'a.exact.net:PORT',
                       'net:PORT', 'com:PORT'):
            with self.subTest(target=target):
                self.assert_status(403, target)
        # what is not allowed is never looked up: names are a way out as well
        self.assertEqual(asked, len(self.server.asked))

    def test_networks(self):
        self.start_proxy('127.0.0.0/30:PORT', '[::1]:*', address='0.0.0.0')
        self.assert_connected(self.connect('127.0.0.1:PORT'))
        self.assert_connected(self.connect('127.0.0.2:PORT'))
        self.assert_connected(self.connect('[::ffff:127.0.0.2]:PORT'))
        for target in ('127.0.0.4:PORT', '127.0.0.1:1', '[::2]:PORT', '[::ffff:7f00:4]:PORT'):
            with self.subTest(target=target):
                self.assert_status(403, target)
        self.assert_status(502, '[::1]:1')
        # a name is not a literal address, whatever address it has
        self.names['db.example'] = ['127.0.0.1']
        self.assert_status(403, 'db.example:PORT')
        self.assertEqual([], self.server.asked)

    def test_ipv6(self):
        self.start_proxy('[::1]:PORT', address='::1', family=socket.AF_INET6)
        self.assert_connected(self.connect('[::1]:PORT'))
        self.assert_connected(self.connect('[0:0:0:0:0:0:0:1]:PORT'))

    def test_sensitive_addresses(self):
        """are refused as long as no entry names them, in each way to write them"""
        destination = self.start_proxy('*:*', '0.0.0.0/0:*', '[::/0]:*')
        for address in ('127.0.0.1', '127.8.9.10', '0.0.0.0', '0.1.2.3', '169.254.169.254',
                        '169.254.0.1', '224.0.0.1', '239.1.2.3', '255.255.255.255', '240.0.0.1',
                        '[::]', '[::1]', '[fe80::1]', '[febf::1]', '[fd00:ec2::254]',
                        '[fd00:ec2::123]', '[ff02::1]', '[::ffff:127.0.0.1]',
                        '[::ffff:169.254.169.254]', '[::127.0.0.1]', '[::169.254.169.254]',
                        '[64:ff9b::7f00:1]', '[64:ff9b::169.254.169.254]',
                        '[64:ff9b:1::169.254.169.254]', '[2002:7f00:1::]', '[2002:a9fe:a9fe::1]',
                        '[64:ff9b::224.0.0.1]', '[2002:0:1::]', '[::ffff:0:127.0.0.1]',
                        '[::ffff:0:169.254.169.254]'):
            with self.subTest(address=address):
                self.assert_status(403, f'{address}:PORT')
        self.assertEqual(0, destination.accepted)

    def test_names_of_sensitive_addresses(self):
        destination = self.start_proxy('*:*', '0.0.0.0/0:*')
        addresses = {'loop.example': ['127.0.0.1'], 'meta.example': ['169.254.169.254'],
                     'six.example': ['::1'], 'link.example': ['fe80::1'],
                     'mapped.example': ['::ffff:127.0.0.1'], 'many.example': ['127.0.0.1', '::1'],
                     'nat.example': ['64:ff9b::a9fe:a9fe'], 'none.example': ['0.0.0.0']}
        self.names.update(addresses)
        for name in (*addresses, 'localhost', 'metadata'):
            with self.subTest(name=name):
                self.assert_status(403, f'{name}:PORT')
        self.assertEqual(0, destination.accepted)

    def test_some_addresses_are_left(self):
        """of a name the sensitive ones are left out"""
        self.names['mixed.example'] = ['127.0.0.1', '127.0.0.2', '169.254.169.254']
        destination = self.start_proxy('mixed.example:PORT', '127.0.0.2:PORT', address='0.0.0.0')
        conn = self.connect('mixed.example:PORT')
        self.assert_connected(conn)
        self.assertEqual(1, destination.accepted)

    def test_named_after_all(self):
        self.names['meta.example'] = ['127.0.0.5']
        self.start_proxy('meta.example:PORT', '127.0.0.4/31:PORT', address='127.0.0.5')
        self.assert_connected(self.connect('meta.example:PORT'))
        self.assert_connected(self.connect('127.0.0.5:PORT'))
        self.assert_status(403, '127.0.0.6:PORT')

    def test_networks_around(self):
        """A network that has more than what leads to the host names nothing of that."""
        destination = self.start_proxy(
            '*:*', '0.0.0.0/1:*', '128.0.0.0/1:*', '126.0.0.0/7:*', '168.0.0.0/7:*',
            '169.0.0.0/8:*', '169.254.0.0/15:*', '[::/1]:*', '[8000::/1]:*', '[fc00::/7]:*',
            '[fd00::/8]:*', '[fe80::/9]:*', '[::/95]:*', '[::ffff:0.0.0.0/96]:*',
            '[64:ff9b::/96]:*', '[2002::/16]:*', address='0.0.0.0')
        for address in ('127.0.0.1', '169.254.169.254', '0.0.0.0', '[::1]', '[fd00:ec2::254]',
                        '[fe80::1]', '[64:ff9b::169.254.169.254]', '[2002:a9fe:a9fe::1]',
                        '[::ffff:127.0.0.1]'):
            with self.subTest(address=address):
                self.assert_status(403, f'{address}:PORT')
        self.assertEqual(0, destination.accepted)

    def test_networks_of_ipv6(self):
        """have no addresses of IPv4, in whatever way these are written"""
        self.start_proxy('[::/0]:*', '[::/8]:*')
        for address in ('8.8.8.8', '[::ffff:8.8.8.8]'):
            with self.subTest(address=address):
                self.assert_status(403, f'{address}:PORT')

    def test_named_in_parts(self):
        self.start_proxy('127.0.0.0/8:PORT', address='0.0.0.0')
        self.assert_connected(self.connect('127.0.0.1:PORT'))
        self.assert_connected(self.connect('127.255.0.1:PORT'))

    def test_search_domains(self):
        """of resolv.conf make no other name of what was allowed"""
        self.write_etc('resolv.conf', 'nameserver 127.53.0.1\n'
                       'search inside.example\noptions ndots:3 timeout:1 attempts:1\n')
        for name in ('none.example.com', 'none.example.com.inside.example', 'exact.example.net',
                     'exact.example.net.inside.example'):
            self.names[name] = ['127.0.0.1'] if name.endswith('inside.example') else []
        destination = self.start_proxy('*.example.com:PORT', 'exact.example.net:PORT',
                                       '127.0.0.1:PORT')
        for name in ('none.example.com', 'exact.example.net', 'none.example.com.'):
            with self.subTest(name=name):
                self.assert_status(502, f'{name}:PORT')
        self.assertEqual(0, destination.accepted)
        self.assertNotIn('inside', ' '.join(self.server.asked))
        # of another server as well
        other = NameServer('127.53.0.2', {'none.example.com': ['127.0.0.1'],
                                          'none.example.com.inside.example': ['127.0.0.3']})
        self.stack.callback(other.close)
        self.write_etc('resolv.conf', 'nameserver 127.53.0.2\nsearch inside.example\n')
        self.assert_connected(self.connect('none.example.com:PORT'))
        self.assertNotIn('inside', ' '.join(other.asked))

    def test_search_domains_of_short_names(self):
        """a name of one word is what the host takes it for"""
        self.write_etc('resolv.conf', 'nameserver 127.53.0.1\nsearch inside.example\n')
        self.names['db.inside.example'] = ['127.0.0.1']
        self.start_proxy('db:PORT', '127.0.0.1:PORT')
        self.assert_connected(self.connect('db:PORT'))

    def test_rebinding(self):
        """what was checked is connected to: the name is not looked up again"""
        self.names['db.example'] = ['127.0.0.2']
        self.start_proxy('db.example:PORT', '127.0.0.2:PORT', address='127.0.0.2')
        before = len(self.server.asked)
        self.assert_connected(self.connect('db.example:PORT'))
        # one question for each family
        self.assertEqual(2, len(self.server.asked) - before)
        # and the next connection is checked anew
        self.names['db.example'] = ['127.0.0.1']
        self.assert_status(403, 'db.example:PORT')

    def test_no_such_name(self):
        self.start_proxy('*:*')
        self.assert_status(502, 'none.example:PORT')
        self.names['slow.example'] = None
        self.assert_status(502, 'slow.example:PORT')
        self.assertEqual(2, self.wait_service(current=0)['failed'])

    def test_entries(self):
        """what is no entry is refused with the configuration"""
        for entry in ('host', 'host:', ':80', 'host:0', 'host:65536', 'host:-1', 'host:http',
                      '10.0.0.1/8:80', '10.0.0.0/33:80', '10.0.0.0/:80', '10.0.0:80', '[::1:80',
                      '2001:db8::1:80', '[2001:db8::1/32]:80', '[::/129]:80', '[10.0.0.0/8]:80',
                      '*.:80', '*.*.com:80', 'a*.com:80', 'a b:80', '.com:80', 'a..b:80', '256.0.0.1:80',
                      '[fe80::1%eth0]:80', '*:'):
            with self.subTest(entry=entry):
                self.spawn(f'[proxy 3128]\nallow={entry}\n')
                self.assertEqual(1, self.process.wait(SHORT), entry)
                os.unlink(self.path)
                self.assertIn(f'has allow={entry}, which', self.log().splitlines()[-1])
        self.ended = True


# What its work needs: these acts may be done
MAY = {'connect-inet', 'socket-inet', 'socket-inet6'}


class SandboxTest(ServicesCase):
    """What it is kept from, when it has been taken over"""

    def setUp(self):
        super().setUp()
        build = os.environ['LIBVIRT_NITRO_BUILD']
        self.escape = os.path.join(self.dir, 'escapeservices')
        shutil.copy(os.path.join(build, 'tests', 'escapeservices'), self.escape)
        victim = subprocess.Popen(['sleep', '1000'])
        self.addCleanup(victim.wait)
        self.addCleanup(victim.kill)
        listener = self.listen()
        targets = {'image': self.path_of('image'), 'console': self.path_of('console'),
                   'pidfile': self.path_of('pid'), 'control': self.socket_of('other'),
                   'vsock': self.socket_of('vsock'), 'daemon': self.socket_of('daemon'),
                   'abstract': self.socket_of(f'\0services{os.getpid()}'),
                   'port': listener.getsockname()[1], 'victim': victim.pid}
        text = ''.join(f'escape-{key} {value}\n' for key, value in targets.items())
        with open(self.escape, 'ab') as program:
            program.write(text.encode() + b'%08dTRAILER\n' % len(text))

    def path_of(self, name):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='ascii'):
            pass
        return path

    def socket_of(self, name):
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(name if name.startswith('\0') else os.path.join(self.dir, name))
        listener.listen(8)
        return name.replace('\0', '') if name.startswith('\0') else os.path.join(self.dir, name)

    def words(self, control, config):
        return [self.escape, *super().words(control, config)[1:]]

    def verdict(self, act, config):
        """How the act ends; the log has a line about what has ended the process"""
        self.start_linked(config)
        conn = self.dial(9001)
        before = len(self.log())
        conn.sendall(act.encode())
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(b'', conn.recv(1))
        text = self.log()[before:]
        self.control.close()
        self.process.kill()
        self.process.wait()
        os.unlink(self.path)
        self.ended = True
        if 'is not allowed here' in text:
            return re.search(r'the system call (\S+) ', text)[1]
        return re.search(rf'act {act}: (?!trying)(.*)', text)[1]

    def acts(self):
        with open(os.path.join(os.environ['LIBVIRT_NITRO_SOURCE'], 'tests', 'escape.c'),
                  encoding='utf-8') as file:
            return re.findall(r'^    \{ "([a-z0-9-]+)", "[a-z0-9_,]+"', file.read(), re.MULTILINE)

    def assert_refused(self, act, verdict):
        self.assertFalse(verdict == 'done' or verdict.startswith('invalid'), verdict)

    def test_acts(self):
        """without anything to look up no file can be opened"""
        acts = self.acts()
        self.assertGreater(len(acts), 60)
        for act in acts:
            with self.subTest(act=act):
                verdict = self.verdict(act, '[exit 9001]\n')
                if act in MAY:
                    self.assertEqual('done', verdict)
                elif SANITIZED and act in SANITIZER_MAY:
                    self.assertTrue(verdict)
                else:
                    self.assert_refused(act, verdict)

    def test_names(self):
        """with names to look up some files can be read"""
        config = '[exit 9001]\n[proxy 3128]\n'
        self.assertEqual('done', self.verdict('open-passwd', config))
        for act in ('open-root', 'open-image', 'create-file', 'socket-unix',
                    'open-pidfile', 'execve', 'leaked-directory'):
            with self.subTest(act=act):
                self.assert_refused(act, self.verdict(act, config))

    def test_unix_sockets(self):
        """are there for who has such a destination"""
        config = f'[exit 9001]\n[outbound 1000]\npath={self.dir}/none\n'
        self.assertEqual('done', self.verdict('socket-unix', config))
        for act in ('socket-unix-datagram', 'connect-abstract', 'open-passwd', 'fork', 'execve'):
            with self.subTest(act=act):
                self.assert_refused(act, self.verdict(act, config))

    def test_what_it_has_given_up(self):
        self.start('[time 1230]\n')
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as file:
            status = dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)
        self.assertEqual(('1', '2'), (status['NoNewPrivs'], status['Seccomp']))
        for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            self.assertEqual(0, int(status[name], 16), name)
        self.assertEqual('1', status['Threads'])
        self.assertEqual((0, 0), resource.prlimit(self.process.pid, resource.RLIMIT_CORE))

    def test_no_landlock(self):
        """is said, not passed over"""
        self.start('[time 1230]\n', prefix=[
            sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                         'refusecalls.py'), 'landlock=ENOSYS'])
        self.assertIn('This host has no Landlock', self.log())
        self.assertFalse(self.query()['link'])


# Of the sanitizers' own: sanitizer_calls.h
SANITIZER_MAY = {'open-passwd', 'open-init', 'open-victim', 'open-shadow-path', 'kill', 'tgkill', 'ptrace', 'process-vm-readv', 'prlimit-victim',
                 'set-dumpable', 'prctl-seccomp', 'raise-core'}


if __name__ == '__main__':
    taprunner.main()
