# helpercase.py: drives libvirt_nitro over its control socket as the daemon does it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# LIBVIRT_NITRO_HELPER names the helper. A test class derives from HelperCase, whose start()
# runs the helper and returns a Client of its control socket. After each test there must be
# no process of it and no descriptor more than before.

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import uuid

import eifwriter

HELPER = os.environ.get('LIBVIRT_NITRO_HELPER', '')
MIB = 1 << 20

# A helper takes images of its host's architecture alone
eifwriter.default_flags = eifwriter.AARCH64 if os.uname().machine == 'aarch64' else 0

# Everything runs under TCG on two busy cores: generous, but bounded
SHORT = 20
LONG = 120


def processes(marker):
    """Ids of the live processes with @marker among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                if marker.encode() in f.read().split(b'\0') and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def wait_for(condition, timeout=SHORT):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError('waited in vain')
        time.sleep(0.02)


class Client:
    """One connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(SHORT)
        self.buffer = b''

    def close(self):
        self.socket.close()

    def send(self, **request):
        self.raw(json.dumps(request).encode() + b'\n')

    def raw(self, data):
        self.socket.sendall(data)

    def receive_bytes(self):
        return self.socket.recv(65536)

    def line(self, timeout=SHORT):
        """The next message, or None at the end of the connection."""
        self.socket.settimeout(timeout)
        while b'\n' not in self.buffer:
            try:
                data = self.receive_bytes()
            except ConnectionResetError:
                data = b''
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def event(self, name, timeout=SHORT):
        """The data of the next event @name; other messages are skipped."""
        end = time.monotonic() + timeout
        while (message := self.line(max(0.1, end - time.monotonic()))) is not None:
            if message.get('event') == name:
                return message['data']
        raise AssertionError(f'the connection ended without the event {name}')

    def reply(self, ident, timeout=SHORT):
        while (message := self.line(timeout)) is not None:
            if 'event' not in message and message.get('id', -1) == ident:
                return message
        raise AssertionError(f'the connection ended without the reply {ident}')

    def rest(self):
        messages = []
        while (message := self.line()) is not None:
            messages.append(message)
        return messages


class HelperCase(unittest.TestCase):
    def setUp(self):
        if not HELPER:
            self.skipTest('LIBVIRT_NITRO_HELPER is not set')
        self.fds_before = set(os.listdir('/proc/self/fd'))
        self.dir = tempfile.mkdtemp(prefix='nitrohelper')
        self.uuid = str(uuid.uuid4())
        self.process = None
        self.clients = []
        self.open = []
        self.log_path = os.path.join(self.dir, 'log')

    def tearDown(self):
        failed = None
        try:
            if self.process:
                if self.process.poll() is None:
                    self.process.terminate()
                self.process.wait(SHORT)
            for client in self.clients:
                client.close()
            for fd in self.open:
                os.close(fd)
            wait_for(lambda: not processes(self.uuid), 5)
        except (subprocess.TimeoutExpired, AssertionError) as error:
            failed = error
            for pid in processes(self.uuid):
                os.kill(pid, signal.SIGKILL)
        left = processes(self.uuid)
        log = self.log()
        shutil.rmtree(self.dir)
        self.assertIsNone(failed, log)
        self.assertEqual([], left)
        self.assertEqual(self.fds_before, set(os.listdir('/proc/self/fd')))
        for text in ('AddressSanitizer', 'runtime error', 'CRITICAL **', 'WARNING **'):
            self.assertNotIn(text, log)

    def log(self):
        try:
            with open(self.log_path, encoding='utf-8', errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def path(self, name, content=None):
        path = os.path.join(self.dir, name)
        if content is not None:
            with open(path, 'wb') as f:
                f.write(content)
        return path

    def fd(self, path, flags=os.O_RDONLY):
        fd = os.open(path, flags, 0o600)
        self.open.append(fd)
        return fd

    def client(self):
        client = Client(self.path('control'))
        self.clients.append(client)
        return client

    def start(self, image, *extra, memory=64 * MIB, vcpus=('--vcpus', '1'), fds=(),
              machine='nitro-enclave', heartbeat='--no-heartbeat', accel='tcg', prefix=(), env=None):
        """
        Starts the helper for @image, a path; returns the client that waited for it. @prefix:
        a command that runs it; @env: what its environment has besides this one's.
        """
        if os.path.exists(self.path('control')):
            os.unlink(self.path('control'))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path('control'))
            listener.listen(20)
            client = self.client()
            image_fd = os.open(image, os.O_RDONLY)
            arguments = [
                *prefix, HELPER, '--name', 'test', '--uuid', self.uuid, '--machine', machine,
                '--control-fd', str(listener.fileno()), '--image-fd', str(image_fd),
                '--memory', str(memory), *vcpus, *extra,
            ]
            if heartbeat:
                arguments.append(heartbeat)
            if accel:
                arguments += ['--accel', accel]
            with open(self.log_path, 'ab') as log:
                self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=log,
                                                env=dict(os.environ, **(env or {})),
                                                pass_fds=[listener.fileno(), image_fd, *fds])
            os.close(image_fd)
        return client

    def resident(self, peak=False):
        """Bytes of memory that the helper uses, or that it has ever used."""
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as f:
            fields = dict(line.split(':', 1) for line in f)
        return int(fields['VmHWM' if peak else 'VmRSS'].split()[0]) * 1024

    def cpu_seconds(self):
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as f:
            fields = f.read().rpartition(')')[2].split()
        return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf('SC_CLK_TCK')

    def query_measurements(self, client):
        for ident in range(100, 300):
            client.send(command='query-measurements', id=ident)
            reply = client.reply(ident)
            if 'return' in reply:
                return reply['return']
            self.assertEqual('not-ready', reply['error']['code'])
            time.sleep(0.05)
        raise AssertionError('there are no measurements')

    def assert_exited(self, client, reason, timeout=SHORT):
        self.assertEqual({'reason': reason}, client.event('exited', timeout))
        self.assertIsNone(client.line())
        self.assertEqual(0, self.process.wait(SHORT))

    def assert_failed(self, client, code, *texts):
        failure = client.event('failed')
        self.assertEqual(code, failure['code'], failure)
        for text in texts:
            self.assertIn(text, failure['text'])
        self.assertNotIn('\n', failure['text'])
        self.assertIsNone(client.line())
        self.assertEqual(2, self.process.wait(SHORT))
