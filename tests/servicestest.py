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
import errno
import hashlib
import json
import os
import re
import resource
import select
import shutil
import socket
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


if __name__ == '__main__':
    taprunner.main()
