# nitrodevmock_server.py: the process behind the mock: sockets, descriptors, faults, transcript
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Flow of a call: a message of nitrodevmock_call.c -> a thread of nitrodevmock_calls.Calls ->
# Server.open_device(), open_parameter() or dispatch(), after the socket it came to -> a fault
# that has been asked for, or the rules in nitrodevmock_driver -> a Result, which can be a new
# descriptor -> a line in DIR/transcript.
#
# An enclave descriptor is one end of a socket pair. When its last copy is closed, the other
# end, here, hangs up. When the guest ends, this end is closed, so that the descriptor hangs
# up; from then on a pipe whose writing end lies unread in that descriptor's queue tells of
# the last close. Whatever was closed before a call is accounted for before that call.
#
# DIR/control takes the test's own commands, JSON, one a line (see nitrodevmock.NitroMock).

import array
import contextlib
import errno
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import threading
import time

import nitrodevmock_calls as calls
import nitrodevmock_driver as driver
import nitrodevmock_guest as guests
import nitrodevmock_memory as memory
import nitrodevmock_sysfs
from nitrodevmock_calls import Result
from nitrodevmock_driver import NeError

CREATE_VM, ADD_VCPU, GET_IMAGE_LOAD_INFO, SET_USER_MEMORY_REGION, START_ENCLAVE = (
    0x8008ae20, 0xc004ae21, 0xc010ae22, 0x4018ae23, 0xc010ae24)
IOCTLS = {
    CREATE_VM: ('NE_CREATE_VM', ''),
    ADD_VCPU: ('NE_ADD_VCPU', '=I'),
    GET_IMAGE_LOAD_INFO: ('NE_GET_IMAGE_LOAD_INFO', '=QQ'),
    SET_USER_MEMORY_REGION: ('NE_SET_USER_MEMORY_REGION', '=QQQ'),
    START_ENCLAVE: ('NE_START_ENCLAVE', '=QQ'),
}

CONFIG = {
    'cpus': 8,                  # of the parent, CPU 0 included
    'threads_per_core': 2,
    'adjacent': False,          # the threads of a core have numbers in a row
    'nodes': 1,                 # NUMA nodes; all memory is on node 0, whatever the CPUs
    'pool': '1-3,5-7',          # written to ne_cpus at the start; '' for none
    'node': None,               # of the enclaves' CPUs, where memory must be; None: the pool's
    'max_regions': 4096,        # physically contiguous pieces of memory of one enclave
    'page_size': None,          # takes huge pages for parts of pages of this size
    'image_offset': 8 << 20,
    'enclave_limit': 4,
    'first_cid': 16,            # of those that the hypervisor chooses
    'device_mode': 0o666,
    'refusal': 'ECONNRESET',    # of connect() while nobody listens
    'check_image': True,        # an enclave without a good image never sends its heartbeat
    'faults': [],               # see Faults
    'guests': [],               # scripts (nitrodevmock_guest.SCRIPT), the first that fits
}


def check_config(config):
    """Raises ValueError for what is no setting, of the mock or of a guest."""
    unknown = set(config) - set(CONFIG)
    for script in config.get('guests', []):
        unknown |= set(script) - set(guests.SCRIPT)
    if unknown:
        raise ValueError(f'no such settings: {", ".join(sorted(unknown))}')


class Faults:
    """
    Failures on demand. Each is a dict: 'call' (an ioctl's name, 'open', 'ne_cpus',
    'vsock-bind' or 'vsock-connect'), 'nth' (1: the first from now on), 'times' (how many
    calls in a row; 0: all from then on), 'errno' (a name or a number), 'hang' (seconds that
    the call takes more), 'hypervisor' (it fails only when the driver's rules have been kept,
    with what that leaves behind; a region is as many requests as it has physical pieces).
    """

    def __init__(self, faults):
        self.lock = threading.Lock()
        self.faults = []
        for fault in faults:
            self.add(fault)

    @staticmethod
    def parse(text):
        """Reads "CALL:NTH:ERRNO[:hypervisor][:hang=SECONDS][:times=N]", several with commas."""
        found = []
        for part in filter(None, text.split(',')):
            call, nth, number, *rest = part.split(':')
            fault = {'call': call, 'nth': int(nth), 'errno': number}
            for word in rest:
                name, equals, value = word.partition('=')
                fault[name] = float(value) if equals else True
            found.append(fault)
        return found

    CALLS = {name for name, _ in IOCTLS.values()} | {'open', 'ne_cpus', 'vsock-bind',
                                                     'vsock-connect'}
    DEFAULTS = {'nth': 1, 'times': 1, 'errno': 0, 'hang': 0, 'hypervisor': False}

    def add(self, fault):
        if fault.get('call') not in self.CALLS or set(fault) - set(self.DEFAULTS) - {'call'}:
            raise ValueError(f'no such fault: {fault}')
        fault = dict(self.DEFAULTS, **fault)
        number = fault['errno']
        if isinstance(number, str):
            number = (getattr(driver, number, None) or getattr(errno, number, None)
                      or int(number))
        if fault['hang'] and fault['hypervisor']:
            raise ValueError('what hangs is the call')
        fault['errno'] = number
        fault['seen'] = 0
        with self.lock:
            self.faults.append(fault)

    def clear(self):
        with self.lock:
            self.faults.clear()

    def check(self, call, hypervisor=False):
        """Comes at every call; raises NeError or sleeps when it is a call's turn."""
        with self.lock:
            due = []
            for fault in self.faults:
                if fault['call'] == call and bool(fault['hypervisor']) == hypervisor:
                    fault['seen'] += 1
                    past = fault['seen'] - fault['nth']
                    if past >= 0 and (not fault['times'] or past < fault['times']):
                        due.append(fault)
        for fault in due:
            time.sleep(fault['hang'])
            if fault['errno']:
                raise NeError(fault['errno'])


class Log:
    """A file of lines that appear at once."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def line(self, text):
        os.write(self.fd, text.encode() + b'\n')


class Handle:
    """This side of an enclave descriptor."""

    def __init__(self, enclave, sock, inode):
        self.enclave, self.sock, self.witness = enclave, sock, None
        self.guest = None
        self.inode = inode  # of the caller's side

    def fileno(self):
        return self.witness if self.sock is None else self.sock.fileno()

    def hang_up(self):
        """The enclave has ended by itself."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            self.sock.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                        array.array('i', [writing]))])
        except OSError:
            # it has been closed just now
            os.close(reading)
        else:
            self.sock.close()
            self.sock, self.witness = None, reading
        finally:
            os.close(writing)

    def close(self):
        if self.sock is None:
            os.close(self.witness)
        else:
            self.sock.close()


class Guests:
    """The running guests, by CID."""

    def __init__(self):
        self.running = {}

    def by_cid(self, cid):
        return self.running.get(cid)


class Server:
    def __init__(self, directory, config):
        self.directory = directory
        check_config(config)
        self.config = dict(CONFIG, **config)
        self.lock = threading.RLock()
        self.transcript = Log(os.path.join(directory, 'transcript'))
        self.events = Log(os.path.join(directory, 'events'))
        self.faults = Faults(self.config['faults'])
        self.topology = driver.Topology(self.config['cpus'], self.config['threads_per_core'],
                                        self.config['nodes'], self.config['adjacent'])
        self.sysfs = nitrodevmock_sysfs.Sysfs(directory, self.topology)
        self.pool = driver.Pool(self.topology, self.sysfs.update)
        self.sysfs.update(self.pool)
        if self.config['pool']:
            self.pool.set(self.config['pool'], 0)
        self.guests = Guests()
        self.vsock = guests.Vsock(directory, self.config, self.guests)
        self.calls = calls.Calls(self.lock)
        self.handles = {}
        self.created = 0
        self.names = 0
        self.devices = {}
        self.wake = os.pipe2(os.O_CLOEXEC)

    # sockets

    def listen(self, name, mode, kind=socket.SOCK_SEQPACKET):
        sock = socket.socket(socket.AF_UNIX, kind)
        path = os.path.join(self.directory, name)
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(128)
        return sock

    def run(self):
        """Serves, in threads of its own."""
        for name, mode, handler in (('call', 0o666, self.dispatch),
                                    ('device', self.config['device_mode'], self.open_device),
                                    ('parameter', 0o666, self.open_parameter)):
            self.calls.listen(self.listen(name, mode), handler)
        self.calls.start()
        control = self.listen('control', 0o600, socket.SOCK_STREAM)
        for target, args in ((self.watch, ()), (self.accept_control, (control,))):
            threading.Thread(target=target, args=args, daemon=True).start()

    def pair(self, kind):
        """Returns this side and the caller's side of a new descriptor, and its number."""
        with self.lock:
            self.names += 1
            number = self.names
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.bind(f'\0{self.directory}/fd/{kind}.{number}')
        return ours, theirs, number

    # calls

    def logged(self, prefix, text, function):
        """Runs @function, which returns the result's text and the result, and logs the call."""
        try:
            outcome, result = function()
            self.transcript.line(f'{prefix}{text} = {outcome}')
            return result
        except NeError as e:
            self.transcript.line(f'{prefix}{text} = {driver.error_name(e.errno)}')
            raise

    def open_device(self, _):
        def do():
            self.faults.check('open')
            ours, theirs, number = self.pair('device')
            with self.lock:
                self.devices[number] = ours
            self.poke()
            return 'ok', Result(fd=theirs)
        return self.logged('', 'open', do)

    def open_parameter(self, call):
        if call.uid != 0:
            raise NeError(errno.EACCES)
        ours, theirs, _ = self.pair('ne_cpus')
        # Programs that write through stdio come this way, and hear of no error
        threading.Thread(target=self.read_parameter, args=(ours,), daemon=True).start()
        return Result(fd=theirs)

    def read_parameter(self, sock):
        with sock:
            while data := sock.recv(4096):
                with contextlib.suppress(NeError):
                    self.write_parameter(data)

    def write_parameter(self, data):
        text = data.decode(errors='replace').strip()

        def do():
            self.faults.check('ne_cpus')
            self.sweep()
            with self.lock:
                self.pool.set(text, len(self.handles))
            return 'ok', Result(len(data))
        return self.logged('', f'ne_cpus "{text}"', do)

    def dispatch(self, call):
        if call.op == calls.IOCTL:
            return self.ioctl(call)
        if call.op == calls.WRITE:
            return self.write_parameter(call.data)
        if call.op == calls.SOCKET:
            return Result(fd=self.vsock.socket(call.number))
        if call.op == calls.BIND:
            def do():
                self.faults.check('vsock-bind')
                with self.lock:
                    self.vsock.bind(call.fd, call.uid, call.number, call.argument)
                return 'ok', Result()
            return self.evented(f'vsock-bind cid={call.number} port={call.argument}', do)
        if call.op == calls.CONNECT:
            def do():
                self.faults.check('vsock-connect')
                self.vsock.connect(call.fd, call.number, call.argument)
                return 'ok', Result()
            return self.evented(f'vsock-connect cid={call.number} port={call.argument}', do)
        raise NeError(errno.ENOSYS)

    def evented(self, text, function):
        try:
            outcome, result = function()
            self.events.line(f'{text} = {outcome}')
            return result
        except NeError as e:
            self.events.line(f'{text} = {driver.error_name(e.errno)}')
            raise

    def ioctl(self, call):
        """The object is known by the name of its descriptor."""
        with socket.socket(fileno=os.dup(call.fd)) as sock:
            kind, number = os.path.basename(sock.getsockname().decode()).split('.')
        name, layout = IOCTLS.get(call.number, (None, None))
        if name is None or kind == 'ne_cpus' or (kind == 'device') != (call.number == CREATE_VM):
            raise NeError(errno.ENOTTY)
        if call.number == CREATE_VM:
            return self.logged('', 'NE_CREATE_VM', lambda: self.create_vm(call.pid))
        with self.lock:
            handle = self.handles[int(number)]
        return EnclaveCall(self, handle, call, name, layout).run()

    def create_vm(self, pid):
        self.faults.check('NE_CREATE_VM')
        self.sweep()
        with self.lock:
            if not self.pool.free:
                raise NeError(driver.NE_ERR_NO_CPUS_AVAIL_IN_POOL)
            self.faults.check('NE_CREATE_VM', hypervisor=True)
            if len(self.handles) >= self.config['enclave_limit']:
                raise NeError(driver.HYPERVISOR_ERRNO)
            try:
                owner = memory.Caller(pid, self.config['page_size'])
            except OSError as e:
                # it has been killed meanwhile
                raise NeError(e.errno) from e
            ours, theirs, number = self.pair('enclave')
            self.created += 1
            enclave = driver.Enclave(
                self.created, owner, self.pool, self.config,
                lambda call: self.faults.check(call, hypervisor=True))
            self.handles[number] = Handle(enclave, ours, os.fstat(theirs.fileno()).st_ino)
        self.poke()
        return f'enclave {enclave.number}', Result(fd=theirs,
                                                   data=struct.pack('=Q', enclave.number))

    def choose_cid(self, cid):
        if cid == 0:
            cid = self.config['first_cid']
            while self.guests.by_cid(cid):
                cid += 1
        elif self.guests.by_cid(cid):
            raise NeError(driver.HYPERVISOR_ERRNO)
        return cid

    def script(self, enclave, cid):
        script = next((s for s in self.config['guests'] if s.get('cid') in (None, cid) and
                       s.get('enclave') in (None, enclave.number)), {})
        script = dict(guests.SCRIPT, **script)
        script.update(guests.script_from_image(enclave.read, self.config['image_offset']))
        return script

    def image_state(self, enclave):
        def read(offset, size):
            with self.lock:
                return enclave.read(offset, size)
        if not self.config['check_image']:
            return 'good'
        return guests.image_state(read, self.config['image_offset'])

    # the ends of descriptors

    def poke(self):
        os.write(self.wake[1], b'x')

    def watch(self):
        while True:
            poller = select.poll()
            poller.register(self.wake[0], select.POLLIN)
            with self.lock:
                for thing in list(self.handles.values()) + list(self.devices.values()):
                    poller.register(thing.fileno(), 0)
            for fd, _ in poller.poll():
                if fd == self.wake[0]:
                    os.read(fd, 4096)
            self.sweep()

    def sweep(self):
        """Ends what has no descriptor any more."""
        with self.lock:
            poller = select.poll()
            fds = {}
            for table in (self.handles, self.devices):
                for number, thing in table.items():
                    poller.register(thing.fileno(), 0)
                    fds[thing.fileno()] = table, number
            for fd, _ in poller.poll(0):
                table, number = fds[fd]
                thing = table.pop(number)
                if isinstance(thing, Handle):
                    self.release(thing)
                thing.close()

    def release(self, handle):
        enclave = handle.enclave
        if handle.guest:
            self.guests.running.pop(handle.guest.cid, None)
            handle.guest.stop()
        enclave.state = enclave.STOPPED
        enclave.release()
        self.transcript.line(f'enclave {enclave.number}: closed')

    def end_guest(self, handle):
        """The enclave has ended by itself: its descriptor hangs up."""
        with self.lock:
            if handle.enclave.state != driver.Enclave.RUNNING:
                return
            handle.enclave.state = driver.Enclave.STOPPED
            self.guests.running.pop(handle.guest.cid, None)
            handle.guest.stop()
            handle.hang_up()
        self.poke()

    # the test's commands

    def accept_control(self, sock):
        while True:
            threading.Thread(target=self.serve_control, args=sock.accept()[:1], daemon=True).start()

    def serve_control(self, conn):
        with conn, conn.makefile('rw', encoding='utf-8') as stream:
            for line in stream:
                request = json.loads(line)
                try:
                    method = getattr(self, 'control_' + request.pop('command'))
                    answer = {'result': method(**request)}
                except Exception as e:  # pylint: disable=broad-except
                    answer = {'error': f'{type(e).__name__}: {e}'}
                stream.write(json.dumps(answer) + '\n')
                stream.flush()

    def by_number(self, number):
        return next(h for h in self.handles.values() if h.enclave.number == number)

    def control_enclaves(self):
        self.sweep()
        with self.lock:
            return [{'number': h.enclave.number, 'state': h.enclave.state, 'cid': h.enclave.cid,
                     'cpus': sorted(h.enclave.vcpus), 'memory': h.enclave.memory_size,
                     'flags': h.enclave.flags, 'pid': h.enclave.owner.pid}
                    for h in self.handles.values()]

    def control_inode(self, number):
        with self.lock:
            return self.by_number(number).inode

    def control_devices(self):
        self.sweep()
        return len(self.devices)

    def control_configure(self, **config):
        check_config(config)
        if 'faults' in config:
            self.faults.clear()
            for fault in config['faults']:
                self.faults.add(fault)
        self.config.update(config)

    def control_fault(self, **fault):
        self.faults.add(fault)

    def control_end(self, number):
        self.end_guest(self.by_number(number))

    def control_dump(self, number, path, offset=0, size=None):
        with self.lock:
            enclave = self.by_number(number).enclave
            total = sum(region.size for region in enclave.regions)
            end = total if size is None else min(total, offset + size)
            with open(path, 'wb') as out:
                while offset < end:
                    out.write(enclave.read(offset, min(1 << 22, end - offset)))
                    offset += min(1 << 22, end - offset)


class EnclaveCall:
    """One ioctl on an enclave descriptor."""

    def __init__(self, server, handle, call, name, layout):
        self.server, self.handle, self.pid, self.argument = server, handle, call.pid, call.data
        self.name, self.layout = name, layout
        self.enclave = handle.enclave

    def run(self):
        prefix = f'enclave {self.enclave.number}: '
        size = struct.calcsize(self.layout)
        if len(self.argument) < size:
            # not a byte comes of what the caller itself cannot read
            self.server.transcript.line(f'{prefix}{self.name} = EFAULT')
            raise NeError(errno.EFAULT)
        function = getattr(self, 'do_' + self.name)
        text, do = function(*struct.unpack_from(self.layout, self.argument))

        def checked():
            self.server.faults.check(self.name)
            self.server.sweep()
            with self.server.lock:
                return do()

        result = self.server.logged(prefix, f'{self.name} {text}', checked)
        if self.name == 'NE_START_ENCLAVE':
            self.start_guest()
        return result

    def given(self, *values):
        """The argument comes back with these."""
        return Result(data=struct.pack(self.layout, *values))

    def do_NE_GET_IMAGE_LOAD_INFO(self, flags, _):
        def do():
            offset = self.enclave.image_load_info(flags)
            return f'offset {offset:#x}', self.given(flags, offset)
        return f'flags={flags:#x}', do

    def do_NE_SET_USER_MEMORY_REGION(self, flags, size, address):
        def do():
            self.enclave.set_memory_region(self.pid, flags, size, address)
            return 'ok', Result()
        at = sum(region.size for region in self.enclave.regions)
        return f'flags={flags:#x} size={size:#x} at={at:#x}', do

    def do_NE_ADD_VCPU(self, cpu):
        def do():
            got = self.enclave.add_vcpu(self.pid, cpu)
            return f'CPU {got}', self.given(got)
        return f'id={cpu}', do

    def do_NE_START_ENCLAVE(self, flags, cid):
        server = self.server

        def do():
            got = self.enclave.start(flags, cid, server.choose_cid)
            guest = guests.Guest(got, server.script(self.enclave, got), server.vsock,
                                 lambda: server.image_state(self.enclave),
                                 lambda: server.end_guest(self.handle),
                                 server.events.line)
            self.handle.guest = server.guests.running[got] = guest
            return f'CID {got}', self.given(flags, got)

        return f'flags={flags:#x} cid={cid}', do

    def start_guest(self):
        """Before the start is answered, but outside of the lock, as it takes time."""
        self.handle.guest.before_start()
        self.handle.guest.run(self.enclave.flags)


def main(arguments):
    """DIRECTORY [SETTINGS]: serves until it is killed, with --until-eof until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    # each program that runs has a connection
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    until_eof = arguments[0] == '--until-eof'
    directory, *settings = arguments[until_eof:]
    config = json.loads(settings[0]) if settings else {}
    faults = Faults.parse(os.environ.get('NITRO_MOCK_FAULTS', ''))
    config['faults'] = config.get('faults', []) + faults
    Server(os.path.abspath(directory), config).run()
    print('ready', flush=True)
    if until_eof:
        # the test that has started this may be killed, and leaves nothing behind
        sys.stdin.read()
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)
    while True:
        signal.pause()


if __name__ == '__main__':
    main(sys.argv[1:])
