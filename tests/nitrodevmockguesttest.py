# nitrodevmockguesttest.py: guests, vsock and faults of the mock of the Nitro Enclaves device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What nitrodevmocktest.py leaves: what enclaves do once they are started, the parent's side of
# AF_VSOCK, failures on demand, and programs that know nothing of the mock.

import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import eifwriter
import nitrodevmock
import nitrodevmock_server as server
import taprunner
from nitrodevmock_driver import NE_ERR_INVALID_FLAG_VALUE
from nitrodevmocktest import MIB, NOBODY, SECONDS, MockCase, become_nobody, in_child


class GuestTest(MockCase):
    PAGES = 100

    def started(self, cmdline='', flags=1, broken=False, image=None):
        """An enclave with an image, started; its descriptor."""
        enclave = self.enclave()
        size = 64 * MIB
        address = self.memory(size)
        image = bytearray(image or build_image(cmdline))
        if broken:
            image[-1] ^= 1
        ctypes.memmove(address + 8 * MIB, bytes(image), len(image))
        self.assertEqual(self.client.donate(enclave, address, size), 0)
        for _ in range(2):
            self.assertGreater(self.client.vcpu(enclave), 0)
        self.assertGreater(self.client.start(enclave, flags), 3)
        return enclave

    def listener(self, port=9000):
        sock = self.client.vsock()
        self.addCleanup(sock.close)
        sock.settimeout(SECONDS)
        self.assertEqual(self.client.bind(sock, port), 0)
        sock.listen(8)
        return sock

    def beat(self, listener):
        """The next heartbeat: its connection, its CID, and its byte."""
        conn, (cid, port) = self.client.accept(listener)
        self.addCleanup(conn.close)
        conn.settimeout(SECONDS)
        self.assertGreater(port, 0)
        return conn, cid, conn.recv(1)

    def test_heartbeat(self):
        with self.listener() as listener:
            enclave = self.started()
            conn, cid, byte = self.beat(listener)
            self.assertEqual((cid, byte), (16, b'\xb7'))
            self.assertEqual(self.client.name('getpeername', conn)[0][0], 16)
            self.assertEqual(self.client.name('getsockname', conn)[0][1], 9000)
            conn.sendall(b'\xb7')
            self.assertEqual(conn.recv(1), b'')
            conn.close()
        self.assertEqual(self.client.poll(enclave), 0)
        self.assertIn('guest 16: heartbeat: ok, answer b7', self.mock.events())
        self.assertEqual(self.mock.image(1), build_image(''))

    def test_unanswered(self):
        """A guest that gets no answer, or another byte, ends."""
        for answer in (b'', b'\x01'):
            with self.listener() as listener:
                enclave = self.started()
                conn = self.beat(listener)[0]
                conn.sendall(answer)
                conn.close()
                self.wait_for_hang_up(enclave)
                os.close(enclave)

    def test_nobody_listens(self):
        self.wait_for_hang_up(self.started())
        self.assertIn('guest 16: heartbeat: ECONNRESET', self.mock.events())

    def test_other_guests(self):
        self.mock.configure(guests=[{'enclave': 1, 'heartbeat': 'wrong'},
                                    {'enclave': 2, 'heartbeat': 'close'},
                                    {'cid': 16, 'heartbeat': 'hold'}])
        for expected in (b'\x01', b''):
            with self.listener() as listener:
                enclave = self.started()
                conn, cid, byte = self.beat(listener)
                self.assertEqual((cid, byte), (16, expected))
                conn.close()
                self.assertEqual(self.client.poll(enclave, 0.1), 0)
                os.close(enclave)
        with self.listener() as listener:
            enclave = self.started()
            conn, _ = self.client.accept(listener)
            conn.settimeout(0.1)
            with self.assertRaises(TimeoutError):
                conn.recv(1)
            os.close(enclave)
            conn.settimeout(SECONDS)
            self.assertEqual(conn.recv(1), b'')
            conn.close()

    def test_image_script(self):
        """The command line says what the guest does."""
        enclave = self.started('mock.heartbeat=never quiet mock.exit_ms=1')
        self.wait_for_hang_up(enclave)
        self.assertIn('guest 16: exits', self.mock.events())

    def test_bad_image(self):
        """It never sends a heartbeat, as it does not boot."""
        with self.listener() as listener:
            enclave = self.started(broken=True)
            self.mock.wait(lambda: 'guest 16: image: bad checksum' in self.mock.events())
            listener.settimeout(0.2)
            with self.assertRaises(TimeoutError):
                socket.socket.accept(listener)
            self.assertEqual(self.client.poll(enclave), 0)

    def test_image_order(self):
        """A ramdisk that is not behind the kernel; gaps and reserved bits are no matter."""
        image = eifwriter.simple(flags=0x8000)
        for section in image.sections:
            section.gap, section.flags = b'nothing', 1
        self.started(image=image.to_bytes())
        self.mock.wait(lambda: 'guest 16: image: good' in self.mock.events())
        image.sections.insert(0, image.sections.pop(2))
        self.started(image=image.to_bytes())
        self.mock.wait(lambda: 'guest 16: image: bad order' in self.mock.events())

    def test_before_start(self):
        """The heartbeat can be there before NE_START_ENCLAVE returns."""
        self.mock.configure(guests=[{'before_start': True}])
        with self.listener() as listener:
            enclave = self.started()
            self.assertTrue(select.select([listener], [], [], 0)[0])
            conn, cid, byte = self.beat(listener)
            self.assertEqual((cid, byte), (16, b'\xb7'))
            conn.sendall(b'\xb7')
            conn.close()
            self.assertEqual(self.client.poll(enclave, 0.1), 0)

    def test_delays(self):
        self.mock.configure(guests=[{'heartbeat_ms': 300, 'byte_ms': 300}])
        with self.listener() as listener:
            start = time.monotonic()
            self.started()
            conn, _ = self.client.accept(listener)
            self.assertGreaterEqual(time.monotonic() - start, 0.3)
            conn.settimeout(SECONDS)
            self.assertEqual(conn.recv(1), b'\xb7')
            self.assertGreaterEqual(time.monotonic() - start, 0.6)
            conn.close()

    def test_ports(self):
        with self.listener() as listener:
            with self.client.vsock() as other:
                self.fails(self.client.bind(other, 9000), errno.EADDRINUSE)
                self.fails(self.client.bind(other, 9001, cid=5), errno.EADDRNOTAVAIL)
            self.assertEqual(self.client.name('getsockname', listener)[0], (0xffffffff, 9000))
        # what a closed listener has left is no obstacle
        with self.listener() as listener:
            with self.mock.dial(77, local_port=1), self.mock.dial(77, local_port=2):
                for expected in ((77, 1), (77, 2)):
                    conn, address = self.client.accept(listener)
                    self.assertEqual(address, expected)
                    conn.close()

    def test_occupied_port(self):
        """Another tool has the port for a while."""
        with self.mock.occupy(), self.client.vsock() as sock:
            self.fails(self.client.bind(sock, 9000), errno.EADDRINUSE)
        self.listener().close()

    def test_low_port(self):
        def bind():
            become_nobody()
            with self.client.vsock() as sock:
                return -self.client.bind(sock, 1023)
        self.assertEqual(in_child(bind), errno.EACCES)

    # console

    def connect_console(self, cid=16):
        """Connects as soon as it is possible."""
        end = time.monotonic() + SECONDS
        while True:
            sock = self.client.vsock()
            sock.settimeout(None)
            if (result := self.client.connect(sock, 0, 10000 + cid)) == 0:
                sock.settimeout(SECONDS)
                return sock
            sock.close()
            self.fails(result, errno.ECONNRESET)
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_console(self):
        self.mock.configure(guests=[{'heartbeat': 'never', 'console': [[0, 'a\n'], [300, 'b\n']],
                                     'console_refuse_ms': 200}])
        start = time.monotonic()
        self.started()
        with self.connect_console() as sock:
            self.assertGreaterEqual(time.monotonic() - start, 0.2)
            self.assertEqual(self.client.name('getpeername', sock)[0], (0, 10016))
            self.assertEqual(self.client.name('getsockname', sock)[0][0], 3)
            with self.connect_console() as other:
                self.assertEqual(other.makefile('rb').read(4), b'a\nb\n')
            self.assertEqual(sock.makefile('rb').read(4), b'a\nb\n')
            self.mock.end(1)
            self.assertEqual(sock.recv(1), b'')

    def test_no_console(self):
        """Without debug mode there is none; nor has another CID one."""
        self.mock.configure(guests=[{'heartbeat': 'never', 'console_refuse_ms': 0}])
        self.started(flags=0)
        for cid in (16, 17):
            with self.client.vsock() as sock:
                self.fails(self.client.connect(sock, 0, 10000 + cid), errno.ECONNRESET)
        self.mock.configure(refusal='ETIMEDOUT')
        with self.client.vsock() as sock:
            self.fails(self.client.connect(sock, 0, 10016), errno.ETIMEDOUT)

    def test_console_nonblocking(self):
        self.mock.configure(guests=[{'heartbeat': 'never', 'console': 'hello',
                                     'console_refuse_ms': 0}])
        for refused in (True, False):
            if not refused:
                self.started()
            sock = self.client.vsock(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            with sock:
                self.fails(self.client.connect(sock, 0, 10016), errno.EINPROGRESS)
                self.assertTrue(self.client.poll(sock.fileno(), SECONDS, select.POLLOUT))
                self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
                                 errno.ECONNRESET if refused else 0)
                if not refused:
                    self.assertEqual(self.client.poll(sock.fileno(), SECONDS, select.POLLIN),
                                     select.POLLIN)
                    self.assertEqual(sock.recv(99), b'hello')


def build_image(cmdline):
    """An EIF with this command line."""
    return eifwriter.simple(kernel=b'kernel', cmdline=cmdline.encode()).to_bytes()


class FaultTest(MockCase):
    def test_nth(self):
        self.mock.fault('NE_ADD_VCPU', nth=2, errno='ENOMEM', times=2)
        enclave = self.enclave()
        self.assertEqual([self.client.vcpu(enclave) for _ in range(4)],
                         [1, -errno.ENOMEM, -errno.ENOMEM, 5])

    def test_every(self):
        self.mock.fault('NE_GET_IMAGE_LOAD_INFO', errno='NE_ERR_INVALID_FLAG_VALUE', times=0)
        enclave = self.enclave()
        for _ in range(3):
            self.fails(self.client.info(enclave)[0], NE_ERR_INVALID_FLAG_VALUE)
        self.mock.configure(faults=[])
        self.assertEqual(self.client.info(enclave)[0], 0)

    def test_hang(self):
        """One call hangs, others do not."""
        self.mock.fault('NE_ADD_VCPU', hang=3)
        enclave = self.enclave()
        start = time.monotonic()
        results = []
        thread = threading.Thread(target=lambda: results.append(self.client.vcpu(enclave)))
        thread.start()
        self.assertEqual(self.client.info(enclave)[0], 0)
        self.assertTrue(thread.is_alive())
        thread.join()
        self.assertGreaterEqual(time.monotonic() - start, 3)
        self.assertEqual(results, [1])

    def test_killed_while_it_hangs(self):
        self.mock.fault('NE_CREATE_VM', hang=1)
        child = os.fork()
        if child == 0:
            self.client.create(self.client.open())
            os._exit(0)
        self.mock.wait(self.mock.devices)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(self.enclave())
        self.mock.wait_closed()

    def test_signals(self):
        """No handler runs within a call; the call is not interrupted."""
        caught = []
        before = signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.mock.fault('NE_ADD_VCPU', hang=0.5)
        enclave = self.enclave()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        self.assertEqual(self.client.vcpu(enclave), 1)
        self.assertEqual(caught, [1])

    def test_environment(self):
        faults = server.Faults.parse('NE_ADD_VCPU:2:ENOMEM,open:1:EBUSY:times=0,'
                                     'NE_START_ENCLAVE:1:0:hang=3:hypervisor')
        self.assertEqual(faults, [
            {'call': 'NE_ADD_VCPU', 'nth': 2, 'errno': 'ENOMEM'},
            {'call': 'open', 'nth': 1, 'errno': 'EBUSY', 'times': 0},
            {'call': 'NE_START_ENCLAVE', 'nth': 1, 'errno': '0', 'hang': 3, 'hypervisor': True}])
        os.environ['NITRO_MOCK_FAULTS'] = 'open:2:EBUSY'
        self.addCleanup(os.environ.pop, 'NITRO_MOCK_FAULTS')
        self.use()
        self.device()
        self.fails(self.client.open(), errno.EBUSY)

    def test_killed(self):
        """The mock goes with the test that has started it."""
        reading, writing = os.pipe()

        def start():
            os.write(writing, nitrodevmock.NitroMock().start().dir.encode())
            return 0
        self.assertEqual(in_child(start), 0)
        directory = os.read(reading, 200)
        os.close(reading)
        os.close(writing)
        self.mock.wait(lambda: not os.path.exists(directory))

    def test_settings(self):
        for config in ({'cpu': 1}, {'guests': [{'hartbeat': 'ok'}]},
                       {'faults': [{'call': 'NE_ADD_CPU', 'errno': 1}]},
                       {'faults': [{'call': 'open', 'error': 1}]}):
            with self.assertRaises(RuntimeError):
                self.mock.configure(**config)


class PreloadTest(MockCase):
    """The library in programs that know nothing of it."""
    CONFIG = {'device_mode': 0o660}

    def run_with(self, *command, **more):
        done = subprocess.run(command, env=dict(os.environ, **self.mock.environment(), **more),
                              capture_output=True, text=True, check=False, timeout=SECONDS)
        return done.stdout + done.stderr

    def test_paths(self):
        cpu = '/sys/devices/system/cpu'
        for command, output in (
                (('cat', '/sys/module/nitro_enclaves/parameters/ne_cpus'), '1-3,5-7\n'),
                (('cat', f'{cpu}/offline'), '1-3,5-7\n'),
                (('ls', f'{cpu}/cpu1'), 'node0\nonline\n'),
                (('stat', '-c', '%F %a', '/dev/nitro_enclaves'), 'character special file 660\n'),
                (('sh', '-c', 'test -c /dev/nitro_enclaves && test -r /dev/nitro_enclaves && '
                  'test ! -e /sys/module/nitro_enclaves/x && echo good'), 'good\n'),
                (('sh', '-c', 'ls -d /sys/module/kernel /sys/devices/system/memory*/.. /proc/1'),
                 '/proc/1\n/sys/devices/system/memory/..\n/sys/module/kernel\n')):
            if '/memory' in command[-1] and not os.path.isdir('/sys/devices/system/memory'):
                continue
            with self.subTest(' '.join(command)):
                self.assertEqual(self.run_with(*command), output)

    def test_write(self):
        """A shell's "echo" goes through write()."""
        param = '/sys/module/nitro_enclaves/parameters/ne_cpus'
        self.assertEqual(self.run_with('dash', '-c', f'echo 2,6 > {param}'), '')
        self.assertEqual(self.mock.ne_cpus, '2,6')
        script = f'with open("{param}", "w") as f: f.write("0")'
        self.assertIn('Invalid argument', self.run_with(sys.executable, '-c', script))
        self.assertEqual(self.mock.ne_cpus, '')

    def test_other_user(self):
        """Any user's program finds its way; the device's mode decides."""
        as_nobody = ('setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups')
        opens = ('/usr/bin/python3', '-c', 'import os; os.open("/dev/nitro_enclaves", os.O_RDWR); '
                 'print("open")')
        self.assertIn('PermissionError', self.run_with(*as_nobody, *opens))
        os.chmod(os.path.join(self.mock.dir, 'device'), 0o666)
        self.assertEqual(self.run_with(*as_nobody, *opens), 'open\n')

    def test_without_directory(self):
        """LD_PRELOAD alone is enough, and the library alone does no harm."""
        self.assertEqual(self.run_with('env', '-i', f'LD_PRELOAD={self.mock.library}', 'cat',
                                       '/sys/devices/system/cpu/online'), '0,4\n')
        real = subprocess.run(['cat', '/sys/devices/system/cpu/online'], capture_output=True,
                              text=True, check=True).stdout
        self.assertEqual(self.run_with('env', '-i', f'LD_PRELOAD={nitrodevmock.LIBRARY}', 'cat',
                                       '/sys/devices/system/cpu/online'), real)

    def test_other_sockets(self):
        """TCP, UNIX sockets and pipes are as they were."""
        script = '''
import os, socket, select, threading
addresses = {socket.AF_INET: ('127.0.0.1', 0), socket.AF_UNIX: b'\\0x%d' % os.getpid()}
for family, address in addresses.items():
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen()
    client = socket.socket(family)
    client.connect(listener.getsockname())
    conn, peer = listener.accept()
    assert client.getpeername() == listener.getsockname(), client.getpeername()
    assert peer == client.getsockname(), peer
    conn.sendall(b'x' * 10)
    poller = select.poll()
    poller.register(client, select.POLLIN)
    assert poller.poll(1000)[0][1] == select.POLLIN
    assert client.recv(10) == b'x' * 10
reading, writing = os.pipe()
os.write(writing, b'y')
assert os.read(reading, 1) == b'y'
print(os.fstat(0).st_mode == os.stat('/dev/null').st_mode)
'''
        done = subprocess.run([sys.executable, '-c', script], stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **self.mock.environment()),
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout + done.stderr, 'True\n')

    def test_threads(self):
        """Many calls at once, from threads and children, on the same descriptors."""
        self.use(cpus=16, pool='1-7,9-15')
        enclave = self.enclave()
        bad = []

        def work():
            for _ in range(50):
                if self.client.info(enclave) != (0, 8 * MIB):
                    bad.append(1)
                fd = self.client.open()
                if fd < 0:
                    bad.append(fd)
                os.close(fd)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(bad, [])
        self.mock.wait(lambda: self.mock.devices() == 0)

    def test_kept_connection(self):
        """Threads call at once on the one connection, and a child meanwhile on its own."""
        self.mock.fault('NE_ADD_VCPU', hang=2)
        script = '''
import ctypes, errno, os, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(fd, request, *values):
    argument = (ctypes.c_uint64 * 3)(*values)
    result = libc.ioctl(fd, ctypes.c_ulong(request), argument)
    return result, argument[0], argument[1]
device = os.open('/dev/nitro_enclaves', os.O_RDWR)
enclave = call(device, 0x8008ae20)[0]
results = []
thread = threading.Thread(target=lambda: results.append(call(enclave, 0xc004ae21)))
thread.start()
for _ in range(100):
    assert call(enclave, 0xc010ae22, 1) == (0, 1, 8 << 20)
child = os.fork()
if child == 0:
    other = call(device, 0x8008ae20)
    wrong = call(enclave, 0x4018ae23, 0, 2 << 20, 0)[0], ctypes.get_errno()
    os._exit(0 if other[0] >= 0 and other[1] == 2 and wrong == (-1, errno.EIO) else 1)
assert os.waitpid(child, 0)[1] == 0
for _ in range(100):
    socket.socket(socket.AF_VSOCK).close()
assert thread.is_alive()
thread.join()
assert results == [(0, 1, 0)], results
high = [fd for fd in os.listdir('/proc/self/fd') if int(fd) > 900]
print(len(high), os.get_inheritable(int(high[0])))
'''
        # Python 3.12 and later warn of a fork() beside threads, which is what is tested
        self.assertEqual(self.run_with(sys.executable, '-W', 'ignore::DeprecationWarning', '-c',
                                       script), '1 False\n')

    def test_low_limit(self):
        """With few descriptors the kept connection is the last of these."""
        for limit in (20, 5):
            self.assertEqual(self.run_with('sh', '-c', f'ulimit -n {limit}; exec cat '
                                           '/sys/devices/system/cpu/online'), '0,4\n')

    def test_vsock_sockets(self):
        """A program's own AF_VSOCK calls, through Python's socket module."""
        script = '''
import socket
listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
listener.bind((socket.VMADDR_CID_ANY, 9000))
listener.listen()
print(listener.getsockname(), flush=True)
conn, peer = listener.accept()
print(peer, flush=True)
conn.sendall(conn.recv(1))
'''
        process = subprocess.Popen([sys.executable, '-c', script], text=True,
                                   stdout=subprocess.PIPE,
                                   env=dict(os.environ, **self.mock.environment()))
        with process:
            self.assertEqual(process.stdout.readline(), '(4294967295, 9000)\n')
            with self.mock.dial(99, local_port=5) as sock:
                sock.sendall(b'\xb7')
                self.assertEqual(sock.recv(1), b'\xb7')
            self.assertEqual(process.stdout.readline(), '(99, 5)\n')


class SandboxTest(MockCase):
    """A program in a sandbox (nitrodevmocksandbox.c): not root, not dumpable, and filtered."""
    PAGES = 40
    PROGRAM = os.path.join(nitrodevmock.BUILD, 'tests', 'nitrodevmocksandbox')
    CMDLINE = 'mock.console=hello mock.console_refuse_ms=0'
    NUMBER = 41 if os.uname().machine == 'x86_64' else 198  # of the system call socket

    def run_program(self, *arguments):
        """Runs it as another user."""
        with open(os.path.join(self.mock.dir, 'image'), 'wb') as image:
            image.write(build_image(self.CMDLINE))
        process = subprocess.Popen(
            [self.PROGRAM, image.name, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, **self.mock.environment()), text=True,
            user=NOBODY, group=NOBODY, extra_groups=())
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def says(self, process, *lines):
        for line in lines:
            self.assertEqual(process.stdout.readline(), line + '\n')

    @staticmethod
    def answer(process):
        process.stdin.write('\n')
        process.stdin.flush()

    def test_enclave(self):
        """A whole life, from the device to the end of the enclave"""
        process = self.run_program()
        self.says(process, 'pool 1-3,5-7', 'another pool?')
        # that of a process that is not dumpable
        self.assertEqual(os.stat(f'/proc/{process.pid}/mem').st_uid, 0)
        self.assertEqual(self.client.set_pool('2,6'), 3)
        self.answer(process)
        self.says(process, 'pool 2,6', 'cid 16', 'console hello', 'the end?')
        self.assertEqual(self.mock.image(1), build_image(self.CMDLINE))
        enclave, = self.mock.enclaves()
        self.assertEqual((enclave['pid'], enclave['cpus']), (process.pid, [2, 6]))
        self.mock.end(1)
        self.answer(process)
        self.says(process, 'good')
        self.assertEqual(process.wait(SECONDS), 0)
        self.mock.wait_closed()

    def test_filter(self):
        """It has teeth: when the kept connection is gone, the mock would need a socket."""
        process = self.run_program('close')
        self.says(process, 'pool 1-3,5-7', 'another pool?')
        self.answer(process)
        self.says(process, 'pool 1-3,5-7', f'forbidden system call {self.NUMBER}')
        self.assertEqual(process.wait(SECONDS), 2)


class HugePagesTest(unittest.TestCase):
    def test_given_back(self):
        """Shares add up, and go one by one."""
        with nitrodevmock.HugePages(3) as one:
            with nitrodevmock.HugePages(2) as two:
                self.assertGreaterEqual(nitrodevmock.HugePages.number(), 5)
                self.assertNotEqual(one.share, two.share)
                self.assertTrue(os.path.exists(two.share))
            self.assertTrue(os.path.exists(one.share))
            self.assertFalse(os.path.exists(two.share))
        self.assertFalse(os.path.exists(one.share))

    def test_killed(self):
        """What a killed test had is given back by the next one."""
        reading, writing = os.pipe()
        def leave():
            os.write(writing, nitrodevmock.HugePages(2).__enter__().share.encode())
            return 0
        self.assertEqual(in_child(leave), 0)
        path = os.read(reading, 200)
        os.close(reading)
        os.close(writing)
        # by this test or by another
        with nitrodevmock.HugePages(1):
            self.assertFalse(os.path.exists(path))

    def test_too_many(self):
        with self.assertRaisesRegex(unittest.SkipTest, 'huge pages'):
            with nitrodevmock.HugePages(1 << 30):
                pass


if __name__ == '__main__':
    taprunner.main()
