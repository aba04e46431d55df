# nitrodevmock_guest.py: AF_VSOCK, scripted guests and their consoles for the mock
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A vsock address is the name of a UNIX socket in DIR/vsock: PORT for a listener of the
# parent, guest.CID.PORT for one of a guest, CID.PORT for an end of a connection (the parent's CID
# is 3, the hypervisor's 0, and the parent's as its own loopback has it 1).
#
# Flow of a heartbeat: the guest's thread -> a socket bound to its CID.PORT -> connected to
# DIR/vsock/9000 -> 0xB7 -> the answer -> on with its life, or its end.
# Flow of the console: connect() of the process under test -> Vsock.connect() makes the pair
# -> Guest.attach() -> a thread that writes what the guest has said and goes on saying.

import contextlib
import errno
import fcntl
import itertools
import os
import socket
import struct
import threading
import time
import zlib

from nitrodevmock_driver import NE_ENCLAVE_DEBUG_MODE, NeError

HEARTBEAT_PORT = 9000
HEARTBEAT = b'\xb7'
CONSOLE_PORT = 10000
HYPERVISOR_CID, LOCAL_CID, PARENT_CID, ANY = 0, 1, 3, 0xffffffff

# What a guest does, by default. Times in milliseconds from NE_START_ENCLAVE.
SCRIPT = {
    'enclave': None,            # of the enclave with this number only; None: of any
    'cid': None,                # of the enclave with this CID only
    'heartbeat': 'ok',          # 'wrong' (another byte), 'close' (without one), 'hold' (open,
                                # without one) or 'never' (no connection)
    'heartbeat_ms': 0,
    'byte_ms': 0,               # from the connection to the byte, or its end
    'before_start': False,      # the heartbeat is sent before NE_START_ENCLAVE returns
    'console': '',              # text, or a list of [milliseconds, text]
    'console_refuse_ms': 20,    # connections to the console are refused until then
    'exit_ms': None,            # ends by itself then
    'exit_on_failure': True,    # ends when the heartbeat is not answered
    'answer_ms': None,          # how long it waits for the answer; None: for ever
}


def script_from_image(read, offset):
    """
    The words mock.NAME=VALUE of the command line in the image at @offset of what @read
    reads, as a dict for SCRIPT; {} where there is no image.
    """
    header = read(offset, 548)
    if header[:4] != b'.eif':
        return {}
    count = struct.unpack_from('>H', header, 26)[0]
    words = []
    for start in struct.unpack_from('>32Q', header, 28)[:min(count, 32)]:
        kind, _, size = struct.unpack('>HHQ', read(offset + start, 12).ljust(12, b'\0'))
        if kind == 2:
            words += read(offset + start + 12, min(size, 65536)).decode(errors='replace').split()
    script = {}
    for word in words:
        name, equals, value = word.partition('=')
        if name.startswith('mock.') and equals and name[5:] in SCRIPT:
            script[name[5:]] = int(value) if value.isdigit() else value
    return script


def image_state(read, offset):
    """
    What the hypervisor would say of the image: 'good', 'none', 'bad checksum', or 'bad order'
    for a ramdisk that is not behind the kernel.
    """
    header = read(offset, 548)
    if header[:4] != b'.eif':
        return 'none'
    count = min(struct.unpack_from('>H', header, 26)[0], 32)
    offsets = struct.unpack_from('>32Q', header, 28)[:count]
    sizes = struct.unpack_from('>32Q', header, 28 + 256)[:count]
    end = max((o + 12 + s for o, s in zip(offsets, sizes)), default=548)
    crc = zlib.crc32(header[:544])
    for at in range(548, end, 1 << 22):
        crc = zlib.crc32(read(offset + at, min(1 << 22, end - at)), crc)
    if crc != struct.unpack_from('>I', header, 544)[0]:
        return 'bad checksum'
    # The memory may be gone meanwhile: such bytes are missing.
    kinds = [int.from_bytes(read(offset + at, 2), 'big') for at in offsets]
    if 1 in kinds and 3 in kinds[:kinds.index(1)]:
        return 'bad order'
    return 'good'


def bind_port(sock, path):
    """
    Binds a listener to @path, where an earlier one can have left its file behind, and connections
    (state 3) that live on and have its name.
    """
    if os.path.exists(path):
        with open('/proc/net/unix', encoding='utf-8', errors='replace') as table:
            if any(line.rstrip('\n').endswith(' ' + path) and line.split()[5] != '03'
                   for line in table):
                raise OSError(errno.EADDRINUSE, path)
        os.unlink(path)
    sock.bind(path)
    os.chmod(path, 0o666)


class Vsock:
    """The mocked AF_VSOCK of one directory."""

    def __init__(self, directory, config, guests):
        self.directory, self.config, self.guests = directory, config, guests
        self.ports = itertools.count(1 << 30)
        self.joining = threading.Lock()  # the hypervisor's name is free again then
        os.makedirs(self.path(''), exist_ok=True)
        os.chmod(self.path(''), 0o755)

    def path(self, name):
        return os.path.join(self.directory, 'vsock', str(name))

    def socket(self, kind):
        """socket() of the process under test; @kind can have SOCK_NONBLOCK in it."""
        try:
            return socket.socket(socket.AF_UNIX, kind)
        except OSError as e:
            raise NeError(e.errno) from e

    def bind(self, fd, uid, cid, port):
        """bind() of the process under test, on a copy of its descriptor."""
        if cid not in (ANY, PARENT_CID):
            raise NeError(errno.EADDRNOTAVAIL)
        if port == ANY:
            port = next(self.ports)
        if port < 1024 and uid != 0:
            raise NeError(errno.EACCES)
        with socket.socket(fileno=os.dup(fd)) as sock:
            try:
                bind_port(sock, self.path(port))
            except OSError as e:
                raise NeError(e.errno) from e

    def name(self, cid, port):
        """The name of the end of a connection; it goes with the socket."""
        return '\0' + self.path(f'{cid}.{port}')

    def connect(self, fd, cid, port):
        """connect() of the process under test, on a copy of its descriptor."""
        with socket.socket(fileno=os.dup(fd)) as sock:
            blocking = not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
            if cid != HYPERVISOR_CID:
                self._reach(sock, cid, port, blocking)
                return
            guest = self.guests.by_cid(port - CONSOLE_PORT) if cid == HYPERVISOR_CID else None
            accepts = guest is not None and guest.console_is_open()
            if not accepts and (blocking or self.config['refusal'] != 'ECONNRESET'):
                raise NeError(getattr(errno, self.config['refusal']))
            conn = self._join(sock, self.name(cid, port), accepts)
        if accepts:
            guest.attach(conn)
        if not blocking:
            raise NeError(errno.EINPROGRESS)

    def _reach(self, sock, cid, port, blocking):
        """Connects @sock with a listener of the parent, by way of its loopback, or of a guest."""
        sock.bind(self.name(LOCAL_CID if cid == LOCAL_CID else PARENT_CID, next(self.ports)))
        path = self.path(port if cid == LOCAL_CID else f'guest.{cid}.{port}')
        try:
            sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as e:
            raise NeError(errno.ECONNRESET) from e
        except OSError as e:
            raise NeError(e.errno) from e
        if not blocking:
            raise NeError(errno.EINPROGRESS)

    def _join(self, sock, name, accept):
        """Connects @sock to a peer called @name and returns that, or resets the connection."""
        try:
            if not sock.getsockname():
                sock.bind(self.name(PARENT_CID, next(self.ports)))
            with self.joining, socket.socket(socket.AF_UNIX) as listener:
                listener.bind(name)
                listener.listen(1)
                sock.connect(name)
                return listener.accept()[0] if accept else None
        except OSError as e:
            raise NeError(e.errno) from e

    def dial(self, cid, port):
        """A guest's connection to the parent's @port; ECONNRESET when nobody listens."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(self.name(cid, next(self.ports)))
            sock.connect(self.path(port))
        except (FileNotFoundError, ConnectionRefusedError) as e:
            sock.close()
            raise OSError(errno.ECONNRESET, f'port {port}') from e
        return sock


class Guest:
    """
    What runs in a started enclave. @image(): its image_state(); @end(): it ends by itself;
    @log(text): what it did.
    """

    def __init__(self, cid, script, vsock, image, end, log):
        self.cid, self.script, self.image = cid, script, image
        self.vsock, self.end, self._log = vsock, end, log
        self.started = time.monotonic()
        self.stopped = threading.Event()
        self.connections = []
        self.ended = None
        self.debug = False

    def log(self, text):
        self._log(f'guest {self.cid}: {text}')

    def _spawn(self, function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()

    def _wait_until(self, milliseconds):
        """False when the guest has been stopped before."""
        return not self.stopped.wait(
            max(0, self.started + milliseconds / 1000 - time.monotonic()))

    def before_start(self):
        if self.script['before_start']:
            self._spawn(self._heartbeat, ready := threading.Event())
            ready.wait()

    def run(self, flags):
        """NE_START_ENCLAVE has been answered."""
        self.debug = flags & NE_ENCLAVE_DEBUG_MODE
        if not self.script['before_start']:
            self._spawn(self._heartbeat, threading.Event())
        if self.script['exit_ms'] is not None:
            self._spawn(self._exit)

    def _exit(self):
        if self._wait_until(self.script['exit_ms']):
            self.log('exits')
            self.end()

    def _heartbeat(self, sent):
        try:
            good = self._beat(sent)
        except OSError as e:
            self.log(f'heartbeat: {errno.errorcode.get(e.errno, e)}')
            good = False
        sent.set()
        if not good and self.script['exit_on_failure'] and not self.stopped.is_set():
            self.end()

    def _beat(self, sent):
        """Sends the heartbeat; returns whether the guest lives on."""
        kind = self.script['heartbeat']
        state = self.image()
        self.log(f'image: {state}')
        if (state != 'good' or kind == 'never' or
                not self._wait_until(self.script['heartbeat_ms'])):
            return True
        with self.vsock.dial(self.cid, HEARTBEAT_PORT) as sock:
            if self.stopped.wait(self.script['byte_ms'] / 1000) or kind == 'close':
                self.log('heartbeat: closed without a byte')
                return True
            if kind != 'hold':
                sock.sendall(HEARTBEAT if kind == 'ok' else b'\x01')
            sent.set()
            if self.script['answer_ms'] is not None:
                sock.settimeout(self.script['answer_ms'] / 1000)
            self.connections.append(sock)
            answer = sock.recv(1)
            self.log(f'heartbeat: {kind}, answer {answer.hex() or "none"}')
            return kind != 'ok' or answer == HEARTBEAT

    # console

    def console_is_open(self):
        after = self.script['console_refuse_ms'] / 1000
        return (self.debug and not self.stopped.is_set() and
                time.monotonic() >= self.started + after)

    def attach(self, conn):
        self._spawn(self._write_console, conn)

    def _write_console(self, conn):
        """What the guest says from its start to its end, however late the connection is."""
        text = self.script['console']
        parts = [[0, text]] if isinstance(text, str) else text
        with conn, contextlib.suppress(OSError):
            conn.settimeout(10)
            for when, part in parts:
                if not self._wait_until(when) and self.ended < self.started + when / 1000:
                    return
                conn.sendall(part.encode())
            self.stopped.wait()

    def stop(self):
        """The enclave has ended, for whatever reason."""
        if self.ended is None:
            self.ended = time.monotonic()
        self.stopped.set()
        for conn in self.connections:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        self.connections = []
