# nitrodevmock.py: a strict mock of /dev/nitro_enclaves, the CPU pool and AF_VSOCK
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# How a test uses it:
#
#     with nitrodevmock.HugePages(64), nitrodevmock.NitroMock(guests=[{'exit_ms': 500}]) as mock:
#         subprocess.run([HELPER, ...], env=dict(os.environ, **mock.environment(HELPER)))
#         print(mock.transcript())
#
# The mock is a server process on a directory (NITRO_MOCK_DIR) and nitrodevmock.so, which
# environment() preloads into the program under test (LD_PRELOAD; libasan goes first when the
# program is built with it). Children inherit both. The directory holds:
#     transcript      one line for each call of the device:  CALL ARGUMENTS = RESULT
#     events          what is not the same from run to run: vsock calls, guests
#     sys/            what /sys/module/nitro_enclaves and /sys/devices/system/cpu show
#     vsock/PORT      the UNIX socket behind the AF_VSOCK listener of the parent's PORT
#     vsock/guest.CID.PORT   likewise of a guest: see listen()
#     device, call, parameter, control   sockets of the server
#
# In the transcript an enclave is called by its number, in order of creation:
#     open = ok
#     NE_CREATE_VM = enclave 1
#     enclave 1: NE_GET_IMAGE_LOAD_INFO flags=0x1 = offset 0x800000
#     enclave 1: NE_SET_USER_MEMORY_REGION flags=0x0 size=0x8000000 at=0x0 = ok
#     enclave 1: NE_ADD_VCPU id=0 = CPU 1
#     enclave 1: NE_START_ENCLAVE flags=0x1 cid=0 = NE_ERR_FULL_CORES_NOT_USED (269)
#     enclave 1: closed
# at= is where the region lies in the enclave's memory.
#
# Settings are those of nitrodevmock_server.CONFIG, scripts of guests those of
# nitrodevmock_guest.SCRIPT, as keyword arguments or with configure(). An image can bring its
# own script: the words mock.heartbeat=wrong mock.exit_ms=500 ... of its command line. Faults
# are described at nitrodevmock_server.Faults; fault() adds one.
#
# By hand:  nitrodevmock.py DIRECTORY [SETTINGS as JSON]  serves until it is killed. In its
# environment, NITRO_MOCK_FAULTS="NE_ADD_VCPU:2:ENOMEM,open:1:EBUSY" adds faults.
#
# Nothing here needs a guest: nobody boots, but 8 MiB into the enclave's memory there must be
# an EIF with a good checksum and its ramdisks behind the kernel for the heartbeat to come. image() reads it back, for a test
# that boots it on the emulated machine. connect() to a console that is not open yet fails
# with ECONNRESET, as a vsock connection does that the other side resets; see 'refusal'.
#
# Tests that use this run as root: the mock looks at other processes' memory. The programs
# under test may run as any user. NITRO_DEV_MOCK names the library, by default the one that
# is built. A test that tries how it is without free huge pages takes them away from others
# that run at the same time: it cannot be parallel (Meson's is_parallel).
#
# What is less than real: SIGKILL ends a process within a hanging call; what a process had is
# given back a moment after its end; error returns of write() to ne_cpus reach programs that
# use write(), not those that use stdio; epoll sees EPOLLIN besides EPOLLHUP on an enclave that
# has ended (poll does not); private memory is not held after it was unmapped (what the enclave
# sees of it is right, see nitrodevmock_memory); an argument of NE_CREATE_VM that cannot be
# written to shows only in the result.
#
# In a sandbox: a program that the library is preloaded into keeps a connection to the server from
# its start on, below descriptor 1024, and needs no more for its calls than it may do itself
# (nitrodevmocksandbox.c); socket(AF_VSOCK) is none of these, as the server makes the socket.

import contextlib
import fcntl
import glob
import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import nitrodevmock_guest
import nitrodevmock_server

BUILD = os.environ.get('LIBVIRT_NITRO_BUILD') or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'build')
LIBRARY = os.environ.get('NITRO_DEV_MOCK') or os.path.join(BUILD, 'tests', 'nitrodevmock.so')


class HugePages:
    """
    A context: @count more huge pages of @size KiB are reserved within. Several tests can do so at
    once. Skips the test where they cannot be had. What a test that was killed has reserved is
    given back by the next one: a share is a file that its owner has locked.
    """

    PATH = '/sys/kernel/mm/hugepages/hugepages-{}kB/{}_hugepages'
    SHARES = '/tmp/libvirt-nitro-hugepages.d/{}kB'

    def __init__(self, count, size=2048):
        self.count, self.size = count, size
        self.shares = self.SHARES.format(size)
        self.share = self.file = None

    @contextlib.contextmanager
    def _locked(self):
        os.makedirs(self.shares, exist_ok=True)
        with open(os.path.join(self.shares, 'lock'), 'w', encoding='ascii') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @classmethod
    def number(cls, size=2048):
        """
        How many are reserved: not counted are those that have been given back already and
        go when their user does.
        """
        with open(cls.PATH.format(size, 'nr'), encoding='ascii') as pool:
            total = int(pool.read())
        with open(cls.PATH.format(size, 'surplus'), encoding='ascii') as pool:
            surplus = int(pool.read())
        return total - surplus

    @classmethod
    def users(cls, size=2048):
        """How many have reserved some, in this and other tests."""
        return sum(1 for name in os.listdir(cls.SHARES.format(size)) if name != 'lock')

    def _add(self, count):
        """Returns how many there are more."""
        before = self.number(self.size)
        with open(self.PATH.format(self.size, 'nr'), 'w', encoding='ascii') as pool:
            pool.write(f'{max(0, before + count)}\n')
        return self.number(self.size) - before

    def _give_back_of_the_dead(self):
        for name in os.listdir(self.shares):
            if name == 'lock':
                continue
            path = os.path.join(self.shares, name)
            with open(path, encoding='ascii') as share, contextlib.suppress(BlockingIOError):
                fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._add(-int(share.read() or 0))
                os.unlink(path)

    def __enter__(self):
        try:
            with self._locked():
                self._give_back_of_the_dead()
                got = self._add(self.count)
                if got < self.count:
                    self._add(-got)
                else:
                    self._write_share()
        except OSError as e:
            raise unittest.SkipTest(f'huge pages cannot be reserved: {e}') from e
        if got < self.count:
            raise unittest.SkipTest(f'{self.count} huge pages cannot be reserved, only {got}')
        return self

    def _write_share(self):
        fd, self.share = tempfile.mkstemp(dir=self.shares)
        self.file = os.fdopen(fd, 'w', encoding='ascii')
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.file.write(str(self.count))
        self.file.flush()

    def __exit__(self, *_):
        with self._locked():
            self._add(-self.count)
            os.unlink(self.share)
            self.file.close()


def libasan_of(binary):
    """The path of the libasan that @binary is linked with, or None."""
    with open(binary, 'rb') as f:
        if f.read(4) != b'\x7fELF':
            return None
    listing = subprocess.run(['ldd', binary], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        if 'libasan.so' in line and '=>' in line:
            return line.split('=>')[1].split()[0]
    return None


class NitroMock:
    """A mock, from __enter__ (or start()) to __exit__ (or stop())."""

    def __init__(self, **config):
        self.config = config
        # short, as names of sockets can be no longer than 107 bytes
        self.dir = tempfile.mkdtemp(prefix='ne-', dir='/tmp')
        self.process = None
        self.control = None
        self.lock = threading.Lock()
        self.ports = itertools.count(1024)

    def start(self):
        if not os.path.exists(LIBRARY):
            raise FileNotFoundError(f'{LIBRARY} is not there: build first')
        os.chmod(self.dir, 0o755)
        # here, a program finds the directory even when it gets no NITRO_MOCK_DIR
        shutil.copy(LIBRARY, self.library)
        self.process = subprocess.Popen(
            [sys.executable, '-S', '-m', 'nitrodevmock_server', '--until-eof', self.dir,
             json.dumps(self.config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.server_environment())
        if self.process.stdout.readline() != 'ready\n':
            self.stop()
            raise RuntimeError('the mock has not started')
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.path.join(self.dir, 'control'))
        self.control = sock.makefile('rw', encoding='utf-8')
        sock.close()
        return self

    @staticmethod
    def server_environment():
        """A server starts for each test: compiled code makes that several times as fast."""
        env = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)),
                   PYTHONPYCACHEPREFIX=os.path.join(BUILD, 'tests', 'pycache'))
        for name in ('PYTHONDONTWRITEBYTECODE', 'LD_PRELOAD', 'NITRO_MOCK_DIR'):
            env.pop(name, None)
        return env

    def stop(self):
        if self.control:
            self.control.close()
            self.control = None
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def library(self):
        return os.path.join(self.dir, 'nitrodevmock.so')

    def preload(self, binary=None):
        """The value of LD_PRELOAD for @binary."""
        libasan = libasan_of(binary) if binary else None
        return f'{libasan} {self.library}' if libasan else self.library

    def environment(self, binary=None):
        """What the environment of @binary needs."""
        return {'NITRO_MOCK_DIR': self.dir, 'LD_PRELOAD': self.preload(binary)}

    def command(self, name, **arguments):
        with self.lock:
            self.control.write(json.dumps(dict(arguments, command=name)) + '\n')
            self.control.flush()
            answer = json.loads(self.control.readline())
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer['result']

    def configure(self, **config):
        """Changes settings, for what comes."""
        self.command('configure', **config)
        self.config.update(config)

    def fault(self, call, **fault):
        """Adds a fault: fault('NE_ADD_VCPU', nth=2, errno='ENOMEM')."""
        self.command('fault', call=call, **fault)

    def enclaves(self):
        """The enclaves that have a descriptor: list of dicts (number, state, cid, cpus, ...)."""
        return self.command('enclaves')

    def devices(self):
        """How many descriptors of the device are open (copies count as one)."""
        return self.command('devices')

    def holders(self, number):
        """PIDs of the processes that have the descriptor of the enclave, one for each copy."""
        target = f'socket:[{self.command("inode", number=number)}]'
        found = []
        for path in glob.glob('/proc/[0-9]*/fd/*'):
            # descriptors and processes come and go
            with contextlib.suppress(OSError):
                if os.readlink(path) == target:
                    found.append(int(path.split('/')[2]))
        return sorted(found)

    def end(self, number):
        """The enclave @number ends by itself."""
        self.command('end', number=number)

    def hide_device(self):
        """/dev/nitro_enclaves is not there (ENOENT), until show_device()."""
        os.rename(os.path.join(self.dir, 'device'), os.path.join(self.dir, 'hidden'))

    def show_device(self):
        os.rename(os.path.join(self.dir, 'hidden'), os.path.join(self.dir, 'device'))

    def dial(self, cid, port=9000, local_port=None):
        """Connects to the parent's @port as a guest with this CID; returns the socket."""
        sock = socket.socket(socket.AF_UNIX)
        local_port = local_port or next(self.ports)
        try:
            sock.bind(f'\0{self.dir}/vsock/{cid}.{local_port}')
            sock.connect(os.path.join(self.dir, 'vsock', str(port)))
        except OSError:
            sock.close()
            raise
        return sock

    def occupy(self, port=9000):
        """Listens on the parent's @port as another tool does, until the socket is closed."""
        sock = socket.socket(socket.AF_UNIX)
        nitrodevmock_guest.bind_port(sock, os.path.join(self.dir, 'vsock', str(port)))
        sock.listen()
        return sock

    def listen(self, cid, port):
        """Listens on @port as the guest @cid does, until the socket is closed."""
        return self.occupy(f'guest.{cid}.{port}')

    def dump(self, number, path, offset=0, size=None):
        """
        Writes the memory of the enclave @number, from @offset on (@size bytes), to a file.
        Regions follow each other in the order in which they were donated.
        """
        self.command('dump', number=number, path=os.path.abspath(path), offset=offset, size=size)

    def read(self, number, offset, size):
        """Bytes of the memory of the enclave @number."""
        path = os.path.join(self.dir, 'dump')
        self.dump(number, path, offset, size)
        with open(path, 'rb') as f:
            return f.read()

    def image(self, number):
        """The bytes of the image in the memory of the enclave @number."""
        offset = self.config.get('image_offset', nitrodevmock_server.CONFIG['image_offset'])
        header = self.read(number, offset, 548)
        count = struct.unpack_from('>H', header, 26)[0]
        ends = (o + 12 + s for o, s in zip(struct.unpack_from('>32Q', header, 28)[:count],
                                           struct.unpack_from('>32Q', header, 284)[:count]))
        return self.read(number, offset, max(ends, default=548))

    def lines(self, name):
        with open(os.path.join(self.dir, name), encoding='utf-8') as f:
            return f.read().splitlines()

    def transcript(self, enclave=None):
        """The lines of the transcript, all or those of one enclave (without its number)."""
        lines = self.lines('transcript')
        if enclave is None:
            return lines
        prefix = f'enclave {enclave}: '
        return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]

    def events(self):
        return self.lines('events')

    def wait(self, condition, seconds=30):
        """Waits until condition() is true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError('\n'.join(self.transcript() + self.events()))
            time.sleep(0.01)

    def wait_closed(self, seconds=30):
        """Waits until no enclave is left."""
        self.wait(lambda: not self.enclaves(), seconds)

    @property
    def ne_cpus(self):
        """The pool, as /sys/module/nitro_enclaves/parameters/ne_cpus shows it."""
        with open(os.path.join(self.dir, 'sys/module/nitro_enclaves/parameters/ne_cpus'),
                  encoding='ascii') as f:
            return f.read().strip()


if __name__ == '__main__':
    nitrodevmock_server.main(sys.argv[1:])
