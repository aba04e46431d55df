# helpertest.py: libvirt_nitro, driven over its control socket as the daemon does it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# LIBVIRT_NITRO_HELPER names the helper. Most tests run real QEMU with kernels made by
# tinyguest.py; for a real one see helperlinuxtest.py.

import contextlib
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import eifwriter
import fakeqemu
import helpercase
import refusecalls
import taprunner
import tinyguest
from fakeqemu import RUN, STAY, chatter, flood, fork, leave, message, output, say, sleep
from helpercase import HELPER, LONG, MIB, SHORT, processes, wait_for

# The emulated machine of x86_64, on any host; for the other one see helperaarch64test.py
ARCH = 'x86_64'
QEMU_NAME = f'qemu-system-{ARCH}'
QEMU = shutil.which(QEMU_NAME)
eifwriter.default_flags = 0
LINE_MAX = 65536


def limit(name):
    """A number of src/nitro_limits.h, which driver and helper share"""
    header = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../src/nitro_limits.h')
    with open(header, encoding='ascii') as f:
        return int(re.search(rf'^#define {name} (\d+)$', f.read(), re.MULTILINE)[1])


class HelperCase(helpercase.HelperCase):
    """One of the emulated machine"""

    def start(self, image, *extra, machine='nitro-enclave', **more):
        arch = ('--arch', ARCH) if machine == 'nitro-enclave' else ()
        return super().start(image, *arch, *extra, machine=machine, **more)

    def fake(self, what):
        """Makes a fake QEMU, which takes the steps @what (of fakeqemu); returns its path."""
        return fakeqemu.make(self.path('qemu'), what)

    def start_fake(self, what, *extra, **more):
        """Starts the helper with a fake QEMU, which reads the monitor's commands, and takes the
        steps @what then."""
        path = self.fake(fakeqemu.COMMANDS + what)
        return self.start(self.path('kernel', tinyguest.kernel(b'')), *extra, '--qemu', path,
                          **more)

    def tiny(self, text=b'tiny guest\r\n', action=tinyguest.HANG):
        return self.path('kernel', tinyguest.kernel(text, action))

    def start_tiny(self, *extra, text=b'tiny guest\r\n', action=tinyguest.HANG, **more):
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        client = self.start(self.tiny(text, action), *extra, **more)
        self.assertIn('libvirt-nitro', client.line())
        client.event('booted')
        return client

    def qemus(self):
        """PIDs of QEMU, not of what has started it and has the same words in its command line"""
        found = []
        for pid in processes(self.uuid):
            with (contextlib.suppress(OSError),
                  open(f'/proc/{pid}/cmdline', encoding='utf-8') as f):
                if os.path.basename(f.read().split('\0')[0]) in (QEMU_NAME, 'qemu'):
                    found.append(pid)
        return found

    def qemu(self):
        pids = self.qemus()
        self.assertEqual(1, len(pids), 'processes of QEMU')
        return pids[0]


class OptionsTest(HelperCase):
    """Whatever the command line tells alone: one sentence, exit status 1."""

    def run_helper(self, *arguments, fds=()):
        return subprocess.run([HELPER, *arguments], capture_output=True, text=True, check=False,
                              timeout=SHORT, pass_fds=fds)

    def full(self, **changes):
        """A complete command line; None leaves an option out."""
        options = {
            'name': 'test', 'uuid': self.uuid, 'machine': 'nitro-enclave',
            'control_fd': str(self.listener.fileno()), 'image_fd': str(self.image),
            'memory': str(64 * MIB), 'vcpus': '1',
        }
        options.update(changes)
        words = []
        for key, value in options.items():
            if value is not None:
                words += ['--' + key.replace('_', '-'), value]
        return words

    def setUp(self):
        super().setUp()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path('options'))
        self.listener.listen(1)
        self.image = self.fd(self.path('image', b'x'))

    def tearDown(self):
        self.listener.close()
        super().tearDown()

    def assert_refused(self, words, text):
        result = self.run_helper(*words, fds=[self.listener.fileno(), self.image])
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertEqual('', result.stdout)
        self.assertEqual(f'libvirt_nitro: {text}\n', result.stderr)

    def test_help_and_version(self):
        result = self.run_helper('--help')
        self.assertEqual(0, result.returncode)
        self.assertIn('--expect-pcr', result.stdout)
        result = self.run_helper('--version')
        self.assertEqual(0, result.returncode)
        self.assertRegex(result.stdout, r'^libvirt_nitro \d+\.\d+\.\d+\n$')

    def test_probe(self):
        begin = time.monotonic()
        result = self.run_helper('--probe')
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(0, result.returncode)
        self.assertEqual(1, result.stdout.count('\n'))
        verdict = json.loads(result.stdout)
        self.assertIn(verdict['accel'], ('kvm', 'tcg'))
        self.assertTrue(verdict['reason'])
        self.assertIsInstance(verdict['unprotected'], list)

    def probe(self, *refused):
        """Probes where the kernel refuses calls, which AddressSanitizer would look for leaks with."""
        return subprocess.run([sys.executable, refusecalls.__file__, *refused, HELPER, '--probe'],
                              capture_output=True, text=True, check=False, timeout=SHORT,
                              env={**os.environ, 'LC_ALL': 'C',
                                   'ASAN_OPTIONS': 'detect_leaks=0'})

    def test_probe_lacking(self):
        """what a kernel refuses is lacking"""
        for refused, code, text in (
                ('unshare=EPERM', 'namespaces', 'Operation not permitted'),
                ('unshare=EACCES', 'namespaces', 'Permission denied'),
                ('unshare=EINVAL', 'namespaces', 'Invalid argument'),
                ('unshare=ENOSYS', 'namespaces', 'Function not implemented'),
                ('clone-user=EPERM', 'qemu-namespaces', 'bwrap: '),
                ('clone-user=EACCES', 'qemu-namespaces', 'bwrap: '),
                ('clone-user=EINVAL', 'qemu-namespaces', 'bwrap: '),
                ('clone-user=ENOSYS', 'qemu-namespaces', 'bwrap: ')):
            with self.subTest(refused):
                result = self.probe(refused)
                self.assertEqual(0, result.returncode, result.stderr)
                self.assertIn(code, json.loads(result.stdout)['unprotected'])
                self.assertIn(text, result.stderr)

    def test_probe_unknown(self):
        """what the host is short of at the moment says nothing of it"""
        for refused, text in (('unshare=EAGAIN', 'Resource temporarily unavailable'),
                              ('unshare=ENOMEM', 'Cannot allocate memory'),
                              ('unshare=ENOSPC', 'No space left on device'),
                              ('unshare=EMFILE', 'Too many open files'),
                              ('clone-user=EAGAIN', 'bwrap: '), ('clone-user=ENOMEM', 'bwrap: '),
                              ('clone-user=ENOSPC', 'bwrap: '), ('clone-user=ENFILE', 'bwrap: '),
                              ('clone=EAGAIN', 'Resource temporarily unavailable')):
            with self.subTest(refused):
                result = self.probe(refused)
                self.assertEqual((2, ''), (result.returncode, result.stdout))
                self.assertIn('libvirt_nitro: It cannot be found out how', result.stderr)
                self.assertIn(text, result.stderr)

    def test_probe_without_filters(self):
        """nothing is run without filters of system calls"""
        for error in ('EINVAL', 'ENOSYS'):
            result = self.probe(f'seccomp={error}')
            self.assertEqual((3, ''), (result.returncode, result.stdout))
            self.assertIn('use a kernel with seccomp filters', result.stderr)
        self.assertEqual(2, self.probe('seccomp=ENOMEM').returncode)

    def test_missing(self):
        for option in ('name', 'uuid', 'machine', 'control-fd', 'image-fd', 'memory'):
            with self.subTest(option):
                self.assert_refused(self.full(**{option.replace('-', '_'): None}),
                                    f'Option --{option} is missing')
        with self.subTest('vcpus'):
            self.assert_refused(self.full(vcpus=None),
                                'One of the options --vcpus and --cpus is missing')

    def test_words(self):
        cases = [
            (['--nonsense'], 'Option --nonsense is unknown'),
            (['--nonsense=3'], 'Option --nonsense is unknown'),
            (['--mem', '1'], 'Option --mem is unknown'),
            (['word'], "Argument 'word' is not an option"),
            (['--name'], 'Option --name lacks its value'),
            (['--debug=yes'], "Option --debug takes no value, not 'yes'"),
            (['--name', 'a', '--name', 'b'], 'Option --name is given twice'),
            (['--probe', '--debug'], 'Option --probe goes with no other option'),
            (['--probe-qemu', '/qemu', '--probe'], 'Option --probe goes with no other option'),
            (['--probe-qemu', '/qemu', '--debug'], 'Option --probe-qemu goes with no other option'),
            (['--probe-qemu', 'qemu'], "Value 'qemu' of option --probe-qemu is not an absolute path"),
        ]
        for words, text in cases:
            with self.subTest(words):
                self.assert_refused(words, text)

    def test_values(self):
        closed = 999
        cases = [
            ('name', '', 'is empty'),
            ('uuid', 'x', 'is not a UUID'),
            ('machine', 'q35', "is neither 'nitro' nor 'nitro-enclave'"),
            ('control-fd', 'x', 'is not the number of a file descriptor'),
            ('control-fd', '-1', 'is not the number of a file descriptor'),
            ('control-fd', str(closed), 'is not an open file descriptor'),
            ('control-fd', '0', 'is not a listening UNIX stream socket'),
            ('image-fd', '99999999999', 'is not the number of a file descriptor'),
            ('image-fd', str(closed), 'is not an open file descriptor'),
            ('memory', '', 'is not a size in bytes'),
            ('memory', '64M', 'is not a size in bytes'),
            ('memory', '99999999999999999999', 'is not a size in bytes'),
            ('vcpus', '0', f"is not a number of vCPUs from 1 to {limit('NITRO_VCPUS_MAX')}"),
            ('vcpus', '+1', f"is not a number of vCPUs from 1 to {limit('NITRO_VCPUS_MAX')}"),
        ]
        for option, value, text in cases:
            with self.subTest(f'{option}={value}'):
                self.assert_refused(self.full(**{option.replace('-', '_'): value}),
                                    f"Value '{value}' of option --{option} {text}")

    def test_optional_values(self):
        pcr = 'is not of the form INDEX=HEX'
        page = 'is not the size of a huge page: use a power of two from 2 MiB on'
        cases = [
            ('page-size', '4096', page),
            ('page-size', '3145728', page),
            ('device-fd', '999', 'is not an open file descriptor'),
            ('numa-node', '-1', 'is not a NUMA node from 0 to 1023'),
            ('numa-node', '1024', 'is not a NUMA node from 0 to 1023'),
            ('cpus', '', 'names no CPU'),
            ('cpus', '1,,2', "is not a list of CPU ids such as '1,3' or '2-5' (part '')"),
            ('cpus', '5-2', "is not a list of CPU ids such as '1,3' or '2-5' (part '5-2')"),
            ('cpus', '1-2-3', "is not a list of CPU ids such as '1,3' or '2-5' (part '1-2-3')"),
            ('cpus', '99999', "is not a list of CPU ids such as '1,3' or '2-5' (part '99999')"),
            ('cpus', '1,1', 'names CPU 1 twice'),
            ('cid', '3', 'is not a CID from 4 to 4294967294'),
            ('cid', '4294967295', 'is not a CID from 4 to 4294967294'),
            ('vsock-dir-fd', 'x', 'is not the number of a file descriptor'),
            ('vsock-dir-fd', '0', 'is not a directory'),
            ('vsock-listen-fd', '0', 'is not a listening UNIX stream socket'),
            ('services-listen-fd', '0', 'is not a listening UNIX stream socket'),
            ('console-type', 'null', "is none of 'pty', 'file' and 'unix'"),
            ('console-fd', 'x', 'is not the number of a file descriptor'),
            ('console-log-fd', 'x', 'is not the number of a file descriptor'),
            ('console-backup-fds', 'x', 'is not the number of a file descriptor'),
            ('console-log-backup-fds', '0,', 'has 0, which is not a regular file'),
            ('log-backup-fds', '', 'names no file descriptor'),
            ('log-max-size', '4095', 'is not a number of bytes from 4096 on'),
            ('log-max-size', '1M', 'is not a number of bytes from 4096 on'),
            ('initrd-fd', '999', 'is not an open file descriptor'),
            ('heartbeat-timeout', '0', 'is not a number of seconds from 1 to 86400'),
            ('broker-fd', 'x', 'is not the number of a file descriptor'),
            ('broker-fd', '0', 'is not a UNIX stream socket'),
            ('listen-fd', '0', 'is not a listening UNIX stream socket'),
            ('expect-pcr', 'x', pcr),
            ('expect-pcr', '3=' + '0' * 96,
             'names none of the registers 0, 1, 2 and 8, which come from the image'),
            ('expect-pcr', '0=00', 'has 2 hexadecimal digits where SHA-384 has 96'),
            ('expect-pcr', '0=' + 'g' * 96, 'holds a character that is no hexadecimal digit'),
            ('signature', 'ab', 'is not of the form PCR0,PCR8,DIGEST'),
            ('signature', f"{'ab' * 48},{'ab' * 48}", 'is not of the form PCR0,PCR8,DIGEST'),
            ('signature', f"{'ab' * 48},{'ab' * 48},ab",
             'has 2 hexadecimal digits where SHA-384 has 96'),
            ('signature', f"{'ab' * 48},{' ' * 96},{'ab' * 48}",
             'holds a character that is no hexadecimal digit'),
            ('qemu', 'qemu', 'is not an absolute path'),
            ('accel', 'hvf', "is none of 'auto', 'kvm' and 'tcg'"),
            ('arch', 'armv7l', "is neither 'x86_64' nor 'aarch64'"),
        ]
        for option, value, text in cases:
            vcpus = None if option == 'cpus' else '1'
            with self.subTest(f'{option}={value}'):
                self.assert_refused(self.full(vcpus=vcpus) + ['--' + option, value],
                                    f"Value '{value}' of option --{option} {text}")

    def test_combinations(self):
        twice = '0=' + '0' * 96
        machine = os.uname().machine
        other = 'x86_64' if machine == 'aarch64' else 'aarch64'
        cases = [
            (['--arch', other, '--accel', 'kvm'],
             f"Option --accel kvm needs --arch {machine}, which is this host's"),
            (['--cpus', '1'], 'Options --vcpus and --cpus exclude each other'),
            (['--console-type', 'pty'], 'Option --console-type needs --console-fd'),
            (['--console-fd', '0'], 'Option --console-fd needs --console-type'),
            (['--console-backup-fds', str(self.image)],
             'Option --console-backup-fds needs --console-type file'),
            (['--console-log-backup-fds', str(self.image)],
             'Option --console-log-backup-fds needs --console-log-fd'),
            (['--log-backup-fds', str(self.image)],
             'Option --log-max-size is missing, which backups need'),
            (['--vsock-listen-fd', str(self.listener.fileno())],
             'Option --vsock-listen-fd needs --cid'),
            (['--services-listen-fd', str(self.listener.fileno())],
             'Option --services-listen-fd needs --cid'),
            (['--device-fd', '0'], 'Option --device-fd needs --machine nitro'),
            (['--numa-node', '0'], 'Option --numa-node needs --machine nitro'),
            (['--no-heartbeat', '--heartbeat-timeout', '5'],
             'Options --no-heartbeat and --heartbeat-timeout exclude each other'),
            (['--broker-fd', str(self.listener.fileno())],
             'Option --broker-fd needs --machine nitro, without --no-heartbeat'),
            (['--listen-fd', str(self.listener.fileno())], 'Option --listen-fd needs --broker'),
            (['--expect-pcr', twice, '--expect-pcr', twice],
             f"Value '{twice}' of option --expect-pcr names register 0 again"),
        ]
        for words, text in cases:
            with self.subTest(words[0]):
                self.assert_refused(self.full() + words, text)

    def test_device(self):
        device = ['--device-fd', str(self.image)]
        broker = ['--broker-fd', str(self.listener.fileno())]
        other = 'x86_64' if os.uname().machine == 'aarch64' else 'aarch64'
        cases = [
            ([], 'Option --machine nitro needs --device-fd'),
            (device, 'Option --machine nitro needs --broker-fd or --no-heartbeat'),
            (device + broker + ['--lock-memory'],
             'Option --lock-memory needs --machine nitro-enclave'),
            (device + broker + ['--arch', other],
             f"Option --machine nitro needs --arch {os.uname().machine}, which is this host's"),
            (device + broker + ['--no-heartbeat'],
             'Option --broker-fd needs --machine nitro, without --no-heartbeat'),
        ]
        for words, text in cases:
            with self.subTest(words):
                self.assert_refused(self.full(machine='nitro') + words, text)


class RefusalTest(HelperCase):
    """What cannot be started: the event "failed", exit status 2."""

    def test_heartbeat(self):
        self.assert_failed(self.start(self.tiny(), heartbeat=None), 'config', 'heartbeat', 'CID')

    def test_unconfined(self):
        """a kernel without filters of system calls"""
        client = self.start(self.tiny(), prefix=[sys.executable, refusecalls.__file__,
                                                 'seccomp=EINVAL'])
        self.assert_failed(client, 'unsupported', 'use a kernel with seccomp filters')

    def test_vcpus(self):
        self.assert_failed(self.start(self.tiny(), vcpus=('--vcpus', '4096')), 'config',
                           '4096 vCPUs')

    def test_cpus(self):
        client = self.start(self.tiny(), vcpus=('--cpus', '0,8000'))
        self.assert_failed(client, 'resource', 'CPU 8000')

    def test_memory(self):
        for size, text in ((0, 'Memory of 0 KiB'), (1024, 'Memory of 1 KiB'),
                           (63 * MIB, 'Memory of 64512 KiB'),
                           (65 * MIB, 'not a multiple of 2 MiB')):
            with self.subTest(size):
                self.assert_failed(self.start(self.tiny(), memory=size), 'config', text)

    def test_memory_for_page_size(self):
        client = self.start(self.tiny(), '--page-size', str(1 << 30))
        self.assert_failed(client, 'config', 'page size', '1048576 KiB')

    def test_memory_for_image(self):
        image = self.path('big', tinyguest.kernel(b'') + bytes(20 * MIB))
        self.assert_failed(self.start(image), 'config', '4 times', 'KiB')

    def test_memory_for_kernel(self):
        image = self.path('big', tinyguest.kernel(b'', init_size=80 * MIB))
        self.assert_failed(self.start(image), 'config', 'kernel and the ramdisks', 'at least')

    def test_size_without_end(self):
        """Sizes that only a sparse file has: no sum or product of them overflows."""
        if not os.path.isdir('/dev/shm'):
            self.skipTest('there is no /dev/shm')
        limit = 1 << 62  # of what can be assembled; four times that is 0
        kernel = tinyguest.kernel(b'')
        eif = eifwriter.Image([eifwriter.Section(eifwriter.KERNEL, kernel),
                               eifwriter.Section(eifwriter.CMDLINE, b''),
                               eifwriter.Section(eifwriter.METADATA, b'{}'),
                               eifwriter.Section(eifwriter.RAMDISK, b'', size=limit,
                                                 table_size=limit)]).to_bytes()
        cases = {
            'kernel and its header': (kernel, limit - 8192, len(kernel)),
            'kernel': (kernel, limit, len(kernel)),
            'ramdisk': (kernel, len(kernel), limit),
            'both': (kernel, limit, limit),
            'largest kernel': (kernel, (1 << 63) - 1, len(kernel)),
            'largest both': (kernel, (1 << 63) - 1, (1 << 63) - 1),
            'EIF': (eif, len(eif) + limit, None),
        }
        with tempfile.TemporaryDirectory(dir='/dev/shm') as directory:
            for name, (content, size, initrd_size) in cases.items():
                with self.subTest(name):
                    self.refuse_size(directory, content, size, initrd_size)

    def refuse_size(self, directory, content, size, initrd_size):
        image = os.path.join(directory, 'image')
        initrd = os.path.join(directory, 'initrd')
        try:
            for path, length in ((image, size), (initrd, initrd_size or 0)):
                with open(path, 'wb') as f:
                    f.write(content)
                    f.truncate(length)
        except OSError as error:
            self.skipTest(f'there is no sparse file of {size} bytes: {error}')
        fds = [self.fd(initrd)] if initrd_size else []
        extra = ['--initrd-fd', str(fds[0])] if fds else []
        client = self.start(image, *extra, fds=fds)
        try:
            failure = client.event('failed')
        finally:
            # it might be reading all that
            self.process.kill()
            self.process.wait()
        self.assertEqual('image', failure['code'], failure)
        self.assertRegex(failure['text'], r'\d{16,} (KiB is too large|bytes, too many)')
        self.assertNotIn('at least', failure['text'])

    def test_growing_ramdisk(self):
        """What the ramdisk gains after its size was checked is not read."""
        size = 3 * MIB
        kernel = self.path('large')
        for _ in range(5):
            with open(kernel, 'wb') as f:
                f.write(tinyguest.kernel(b''))
                f.truncate(192 * MIB)
            initrd = self.fd(self.path('initrd', bytes(size)), os.O_RDWR)
            fake = self.fake(fakeqemu.COMMANDS + RUN + STAY)
            client = self.start(kernel, '--initrd-fd', str(initrd), '--qemu', fake,
                                memory=800 * MIB, fds=[initrd])
            client.line()
            # sizes are checked before anything is copied, and the kernel is copied first
            wait_for(lambda: self.copied('kernel') > 0)
            self.process.send_signal(signal.SIGSTOP)
            wait_for(self.is_stopped)
            caught = self.copied('kernel') < 192 * MIB
            os.truncate(initrd, 3 << 30)
            self.process.send_signal(signal.SIGCONT)
            if caught:
                break
            client.send(command='terminate', id=1)
            client.rest()
            self.process.wait(SHORT)
        else:
            self.skipTest('the helper was too fast five times')

        while not select.select([client.socket], [], [], 0.002)[0]:
            self.assertLessEqual(self.copied('ramdisk'), size)
        client.event('booted')
        self.assertEqual((192 * MIB, size), (self.copied('kernel'), self.copied('ramdisk')))

    def copied(self, part):
        """Bytes of the image's @part that the helper has in memory."""
        where = f'/proc/{self.process.pid}/fd'
        for fd in os.listdir(where):
            try:
                if os.readlink(f'{where}/{fd}').startswith(f'/memfd:{part}'):
                    return os.stat(f'{where}/{fd}').st_size
            except FileNotFoundError:
                pass
        return 0

    def is_stopped(self):
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as f:
            return f.read().rpartition(')')[2].split()[0] == 'T'

    def test_long_command_line(self):
        """A kernel that claims to take 1 MiB: an argument of a program is shorter."""
        kernel = bytearray(tinyguest.kernel(b''))
        struct.pack_into('<I', kernel, 0x238, MIB)
        for length in (65537, 200000, MIB):
            with self.subTest(length):
                image = eifwriter.simple(kernel=bytes(kernel), cmdline=b'a' * length)
                self.assert_failed(self.start(image.write(self.path('eif'))), 'image',
                                   f'command line has {length} bytes', '65536')
        with self.subTest('option'):
            image = self.path('kernel', bytes(kernel))
            self.assert_failed(self.start(image, '--cmdline', 'a' * 70000), 'image',
                               'command line has 70000 bytes', '65536')
        with self.subTest('longest'):
            if not QEMU:
                self.skipTest('there is no qemu-system-x86_64')
            client = self.start(image, '--cmdline', 'a' * 65536)
            client.event('booted')
            client.send(command='terminate', id=1)
            self.assert_exited(client, 'terminated')

    def test_memory_of_host(self):
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        self.assert_failed(self.start(self.tiny(), memory=1 << 46), 'resource', 'memory')

    def test_huge_pages(self):
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        # more than any host has free, whatever other tests reserve meanwhile
        client = self.start(self.tiny(), '--page-size', str(2 * MIB), memory=1 << 39)
        self.assert_failed(client, 'resource')

    def test_most_vcpus(self):
        """As many as the driver's capabilities say"""
        most = limit('NITRO_VCPUS_MAX_EMULATED')
        self.assert_failed(self.start(self.tiny(), vcpus=('--vcpus', str(most + 1))), 'config',
                           f'{most + 1} vCPUs are too many', f'at most {most}')
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        client = self.start(self.tiny(), vcpus=('--vcpus', str(most)))
        client.event('booted', helpercase.LONG)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated', helpercase.LONG)

    def test_not_an_image(self):
        for content in (b'', b'x', b'.ei', b'\0' * 5000):
            with self.subTest(content[:4]):
                client = self.start(self.path('junk', content))
                self.assert_failed(client, 'image', 'neither an EIF file nor a Linux kernel')

    def test_not_a_file(self):
        self.assert_failed(self.start('/dev/null'), 'image', 'not a regular file')

    def test_eif(self):
        kernel = tinyguest.kernel(b'')
        good = eifwriter.simple(kernel=kernel).to_bytes()
        cases = {
            'truncated': (good[:1000], 'image', ['440 bytes left']),
            'header only': (good[:100], 'image', []),
            'checksum': (good[:-1] + b'X', 'image', ['checksum']),
            'architecture': (eifwriter.simple(kernel=kernel,
                                              flags=eifwriter.default_flags ^ eifwriter.AARCH64)
                             .to_bytes(), 'image', ['aarch64', 'x86_64']),
            'no kernel in it': (eifwriter.simple(kernel=b'y' * 9000).to_bytes(), 'image',
                                ['not a Linux kernel']),
            'empty kernel': (eifwriter.simple(kernel=b'').to_bytes(), 'image', []),
            'old kernel': (eifwriter.simple(kernel=tinyguest.kernel(b'', version=0x204))
                           .to_bytes(), 'image', ['older']),
            'command line': (eifwriter.simple(kernel=kernel, cmdline=b'a' * 2048).to_bytes(),
                             'image', ['2048 bytes', '2047']),
            'huge command line': (eifwriter.simple(kernel=kernel, cmdline=b'a' * 1100000)
                                  .to_bytes(), 'image', ['cmdline section', '1 MiB']),
        }
        for name, (content, code, texts) in cases.items():
            with self.subTest(name):
                self.assert_failed(self.start(self.path('eif', content)), code, *texts)

    def test_eif_with_parts(self):
        image = eifwriter.simple(kernel=tinyguest.kernel(b'')).write(self.path('eif'))
        with self.subTest('cmdline'):
            self.assert_failed(self.start(image, '--cmdline', 'x'), 'config', 'cmdline')
        with self.subTest('initrd'):
            fd = self.fd(self.path('initrd', b'x'))
            self.assert_failed(self.start(image, '--initrd-fd', str(fd), fds=[fd]), 'config',
                               'initrd')

    def test_unusual_eif(self):
        """What the hypervisor decides about boots here, is measured, and is logged."""
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        image = eifwriter.simple(kernel=tinyguest.kernel(b''),
                                 flags=eifwriter.default_flags | 0x8000)
        for section in image.sections:
            section.gap = os.urandom(100000)
            section.flags = 1
        client = self.start(image.write(self.path('eif')), '--expect-pcr',
                            f'0={image.pcrs()[0]}')
        client.event('booted')
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        log = self.log()
        self.assertIn('The image is unusual: EIF header: flags is 0x8000, ', log)
        self.assertIn('; if no enclave boots from it, build it anew', log)
        self.assertEqual(log.count('bytes before section'), len(image.sections))

        data = bytearray(image.to_bytes())
        data[548 + 99999] ^= 1
        self.assert_failed(self.start(self.path('eif', data)), 'image', 'checksum')

    def test_signature(self):
        image = eifwriter.signed(kernel=tinyguest.kernel(b''))
        pcrs, other = image.pcrs(), 'ab' * 48
        pcr0, pcr8, digest = image.signature().split(',')
        image.write(self.path('eif'))
        self.assert_failed(self.start(self.path('eif'), '--signature', f'{other},{pcr8},{digest}',
                                      '--expect-pcr', f'0={other}'), 'image',
                           'The image cannot be used: the image is not the one that was signed: '
                           f'its PCR0 is {pcr0}, and {other} was signed')
        self.assert_failed(self.start(self.path('eif'), '--signature', image.signature(),
                                      '--expect-pcr', f'0={other}'), 'image',
                           f'its PCR0 is {pcr0}, but {other} is expected')
        self.assert_failed(self.start(self.path('eif'), '--signature', image.signature(),
                                      '--expect-pcr', f'8={other}'), 'image',
                           f'its PCR8 is {pcrs[8]}, but {other} is expected')

    def test_other_signature(self):
        """another one than the one that was checked, one that was not, and none"""
        image = eifwriter.signed(kernel=tinyguest.kernel(b''))
        checked = image.signature()
        image.sections[-1].data += b'\0'
        other = image.write(self.path('other'))
        none = eifwriter.simple(kernel=tinyguest.kernel(b'')).write(self.path('none'))
        for path, *extra in ((other, '--signature', checked), (other,),
                             (none, '--signature', checked),
                             (self.path('kernel', tinyguest.kernel(b'')), '--signature', checked)):
            with self.subTest([os.path.basename(path), *extra]):
                self.assert_failed(self.start(path, *extra), 'image',
                                   'its signature is not the one that was checked')

    def test_expected_pcr(self):
        image = eifwriter.simple(kernel=tinyguest.kernel(b''))
        image.write(self.path('eif'))
        wrong = 'ab' * 48
        with self.subTest('different'):
            client = self.start(self.path('eif'), '--expect-pcr', f'0={image.pcrs()[0]}',
                                '--expect-pcr', f'2={wrong}')
            self.assert_failed(client, 'image', 'PCR2', wrong, image.pcrs()[2])
        with self.subTest('not signed'):
            client = self.start(self.path('eif'), '--expect-pcr', f'8={wrong}')
            self.assert_failed(client, 'image', 'PCR8', wrong, 'not signed')

    def test_qemu(self):
        failing = self.fake(message('qemu: first\n') +
                            message(b'qemu-system: bad \33[1m\377thing\n') + leave(3))
        silent = fakeqemu.make(self.path('silent'), leave(3))
        # its interpreter is not there where QEMU is run
        script = self.path('script', b'#!/bin/sh\nexit 3\n')
        os.chmod(script, 0o755)
        cases = [
            ('/nonexistent/qemu', 'unsupported', ['/nonexistent/qemu', 'No such file']),
            (self.path('kernel', b''), 'unsupported', ['cannot be run']),
            (script, 'unsupported', [script, 'No such file']),
            (failing, 'internal', ['QEMU cannot start the enclave: bad ?[1m?thing']),
            (silent, 'internal', ['QEMU ended with status 3']),
        ]
        for path, code, texts in cases:
            with self.subTest(path):
                image = self.path('image', tinyguest.kernel(b''))
                self.assert_failed(self.start(image, '--qemu', path), code, *texts)
        self.assertIn('QEMU: qemu: first\n', self.log())


class ControlTest(HelperCase):
    def test_greeting_and_status(self):
        client = self.start(self.tiny(), '--cid', '77')
        self.assertEqual(1, client.line()['libvirt-nitro']['protocol'])
        self.assertEqual({'cid': 77, 'accel': 'tcg', 'unprotected': []}, client.event('started'))
        self.assertEqual({}, client.event('booted'))
        client.send(command='query-status', id=-5, more={'unknown': [1, {'a': 2}]})
        self.assertEqual({'phase': 'running', 'cid': 77, 'accel': 'tcg', 'unprotected': []},
                         client.reply(-5)['return'])
        client.send(command='terminate', id=2)
        self.assertEqual({'return': {}, 'id': 2}, client.line())
        self.assert_exited(client, 'terminated')

    def test_cpus(self):
        cpu = min(os.sched_getaffinity(0))
        client = self.start_tiny(vcpus=('--cpus', str(cpu)))
        client.send(command='query-status', id=1)
        self.assertEqual([cpu], client.reply(1)['return']['cpus'])
        for task in os.listdir(f'/proc/{self.qemu()}/task'):
            self.assertEqual({cpu}, os.sched_getaffinity(int(task)))
        self.assertNotEqual({cpu}, os.sched_getaffinity(self.process.pid)
                            if len(os.sched_getaffinity(0)) > 1 else None)

    def test_bad_requests(self):
        client = self.start_tiny()
        client.send(command='no-such\x1b-command', id=1)
        self.assertEqual('unknown-command', client.reply(1)['error']['code'])
        client.send(command=7, id=2)
        self.assertEqual('bad-request', client.reply(2)['error']['code'])
        for request in (b'{"command": "query-status"}', b'{"command": "query-status", "id": "x"}',
                        b'{"command": "query-status", "id": 1.5}', b'{}',
                        b'{"id.x": 1, "a": {"id": 1}, "b": [{"id": 1}]}'):
            client.raw(request + b'\n')
            message = client.line()
            self.assertEqual('bad-request', message['error']['code'])
            self.assertIsNone(message['id'])
        client.send(command='query-status', id=9)
        self.assertEqual('running', client.reply(9)['return']['phase'])

    def test_not_json(self):
        self.start_tiny()
        for junk in (b'hello', b'[]', b'3', b'"x"', b'{"a":', b'{} {}', b'', b'\xff\xfe', b'\0',
                     b'{"id": 99999999999999999999999}', b'{"a":' * 100 + b'1' + b'}' * 100,
                     b'[' * 60000):
            with self.subTest(junk[:20]):
                other = self.client()
                other.line()
                other.raw(junk + b'\n')
                message = other.line()
                self.assertEqual('bad-request', message['error']['code'])
                self.assertIsNone(message['id'])
                self.assertIsNone(other.line())

    def test_long_line(self):
        self.start_tiny()
        with self.subTest('longest'):
            client = self.client()
            client.line()
            request = b'{"command": "query-status", "id": 1, "x": "'
            client.raw(request + b'a' * (LINE_MAX - len(request) - 3) + b'"}\n')
            self.assertIn('return', client.reply(1))
        with self.subTest('too long'):
            other = self.client()
            other.line()
            try:
                other.raw(b'a' * (LINE_MAX * 4))
            except OSError:
                pass
            self.assertEqual('line-too-long', other.line()['error']['code'])
            self.assertIsNone(other.line())
        client.send(command='query-status', id=2)
        self.assertIn('return', client.reply(2))

    def test_pieces_and_half_close(self):
        client = self.start_tiny()
        for byte in b'{"command": "query-status", "id": 4}\n':
            client.raw(bytes([byte]))
        self.assertIn('return', client.reply(4))
        other = self.client()
        other.line()
        other.raw(b'{"command": "query-status", "id": 5}\n{"command": "query-status", "id": 6}\n')
        other.socket.shutdown(socket.SHUT_WR)
        self.assertEqual([5, 6], [message['id'] for message in other.rest()])

    def test_slow_client(self):
        """One that asks and asks and never reads: the helper stays small and serves others."""
        client = self.start_tiny()
        slow = self.client()
        slow.socket.setblocking(False)
        request = b'{"command": "query-status", "id": 1}\n' * 500
        sent = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                sent += slow.socket.send(request[sent % len(request):])
            except BlockingIOError:
                if not select.select([], [slow.socket], [], 0.5)[1]:
                    break
        else:
            self.fail(f'{sent} bytes of requests were taken without an answer being read')
        with open(f'/proc/{self.process.pid}/statm', encoding='ascii') as f:
            resident = int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
        self.assertLess(resident, 400 * MIB)  # ASan's shadow included
        client.send(command='query-status', id=2)
        self.assertIn('return', client.reply(2, 2))

        slow.socket.settimeout(SHORT)
        slow.socket.shutdown(socket.SHUT_WR)
        slow.line()
        self.assertEqual({1}, {m['id'] for m in slow.rest() if 'event' not in m})

    def test_slow_client_at_the_end(self):
        client = self.start_tiny()
        slow = self.client()
        slow.socket.setblocking(False)
        try:
            while True:
                slow.socket.send(b'{"command": "query-status", "id": 1}\n')
        except BlockingIOError:
            pass
        begin = time.monotonic()
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        self.assertLess(time.monotonic() - begin, 5)

    def test_wide_object(self):
        """A line with a long key and many members below it takes no more than its size."""
        client = self.start_tiny()
        client.send(command='query-status', id=1)
        client.reply(1)
        before = self.resident()
        begin = '{"command": "query-status", "id": 2, "' + 'k' * 33000 + '": {"": 0'
        members = []
        length = len(begin) + 2
        for number in range(36 ** 3):
            member = f',"{number:x}":0'
            if length + len(member) > 64999:
                break
            members.append(member)
            length += len(member)
        line = begin + ''.join(members) + '}}'
        self.assertGreater(len(members), 3000)
        json.loads(line)
        client.raw(line.encode() + b'\n')
        self.assertEqual('running', client.reply(2)['return']['phase'])
        self.assertLess(self.resident(peak=True) - before, 20 * MIB)
        client.send(command='query-status', id=3)
        self.assertIn('return', client.reply(3))

    def test_terminate_among_requests(self):
        """Clients that ask without end, and read the answers, do not keep others waiting."""
        client = self.start_tiny()
        request = b'{"command": "query-measurements", "id": 1}\n' * 1500
        others = [self.client() for _ in range(3)]

        def ask(other):
            try:
                while True:
                    other.socket.sendall(request)
            except OSError:
                pass

        def read(other):
            try:
                while other.socket.recv(1 << 20):
                    pass
            except OSError:
                pass

        threads = [threading.Thread(target=act, args=[other]) for other in others
                   for act in (ask, read)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.5)
            # The others never stop: one that had to wait for them would wait for ever.
            client.send(command='terminate', id=2)
            self.assertEqual({'return': {}, 'id': 2}, client.reply(2, 30))
            self.assertEqual({'reason': 'terminated'}, client.event('exited', 30))
            self.process.wait(30)
        finally:
            self.process.kill()
            for thread in threads:
                thread.join()

    def test_many_clients(self):
        client = self.start_tiny()
        others = [self.client() for _ in range(40)]
        greeted = [other for other in others if other.line()]
        self.assertEqual(15, len(greeted))
        for other in others:
            other.close()
        client.send(command='query-status', id=1)
        self.assertIn('return', client.reply(1))
        wait_for(lambda: self.client().line() is not None)

    def test_two_clients_and_none(self):
        """The daemon may go away and come back."""
        client = self.start_tiny()
        client.close()
        time.sleep(0.1)
        first = self.client()
        second = self.client()
        for each in (first, second):
            self.assertIn('libvirt-nitro', each.line())
        first.send(command='terminate', id=1)
        self.assertEqual({'return': {}, 'id': 1}, first.line())
        self.assertEqual({'reason': 'terminated'}, second.event('exited'))
        self.assert_exited(first, 'terminated')

    def test_measurements(self):
        ramdisks = (b'boot', b'application', b'')
        for name, image in {
                'simple': eifwriter.simple(kernel=tinyguest.kernel(b'')),
                'signed': eifwriter.signed(kernel=tinyguest.kernel(b''), ramdisks=ramdisks),
        }.items():
            for expect in (False, True):
                with self.subTest(f'{name} {expect}'):
                    image.write(self.path('eif'))
                    pcrs = image.pcrs()
                    extra = ['--signature', image.signature()] if 8 in pcrs else []
                    if expect:
                        extra += [f'--expect-pcr={i}={value.upper()}' for i, value in pcrs.items()]
                    client = self.start(self.path('eif'), *extra)
                    client.event('booted')
                    self.assertEqual({'hash': 'sha384', **{f'pcr{i}': value
                                                           for i, value in pcrs.items()}},
                                     self.query_measurements(client))
                    client.send(command='terminate', id=1)
                    self.assert_exited(client, 'terminated')

    def test_measurements_of_kernel(self):
        """They are those of the EIF that would be assembled."""
        kernel = tinyguest.kernel(b'')
        for name, initrd, cmdline in (('all', b'ramdisk', 'a b'), ('kernel', None, None)):
            with self.subTest(name):
                extra = []
                fds = []
                if initrd is not None:
                    fds = [self.fd(self.path('initrd', initrd))]
                    extra = ['--initrd-fd', str(fds[0]), '--cmdline', cmdline]
                image = eifwriter.simple(kernel=kernel, cmdline=(cmdline or '').encode(),
                                         ramdisks=(initrd or b'',))
                extra += [f'--expect-pcr={i}={value}' for i, value in image.pcrs().items()]
                client = self.start(self.path('kernel', kernel), *extra, fds=fds)
                client.event('booted')
                self.assertEqual(image.pcrs()[1], self.query_measurements(client)['pcr1'])
                client.send(command='terminate', id=1)
                self.assert_exited(client, 'terminated')


class EndTest(HelperCase):
    """However an enclave ends, the reason is told and nothing is left."""

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                client = self.start_tiny()
                self.process.send_signal(number)
                self.assert_exited(client, 'terminated')

    def test_terminate_at_once(self):
        client = self.start(self.tiny())
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')

    def test_terminate_stopped_qemu(self):
        client = self.start_tiny()
        os.kill(self.qemu(), signal.SIGSTOP)
        client.send(command='terminate', id=1)
        self.assertEqual({}, client.reply(1)['return'])
        self.assert_exited(client, 'terminated')

    def test_terminate_while_booting_qemu_hangs(self):
        client = self.start(self.tiny(), '--qemu', self.fake(message('working\n') + STAY))
        wait_for(lambda: 'QEMU: working' in self.log())
        client.send(command='query-status', id=1)
        self.assertEqual('prepare', client.reply(1)['return']['phase'])
        client.send(command='terminate', id=2)
        self.assert_exited(client, 'terminated')

    def test_terminate_busy(self):
        client = self.start_tiny(text=b'busy ' * 30 + b'\r\n', action=tinyguest.AGAIN)
        time.sleep(0.3)
        begin = time.monotonic()
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        self.assertLess(time.monotonic() - begin, 5)

    def test_reset(self):
        self.assert_exited(self.start_tiny(action=tinyguest.RESET), 'reboot')

    def test_reset_after_panic(self):
        text = b'[    1.5] Kernel panic - not syncing: test\r\n'
        self.assert_exited(self.start_tiny(text=text, action=tinyguest.RESET), 'panic')

    def test_reset_after_panic_with_caller(self):
        """The stamps of a kernel that is built with CONFIG_PRINTK_CALLER."""
        for stamp in (b'[    1.2][    T1] ', b'[    1.234567][  T123] ', b'[    0.0][    C0] '):
            with self.subTest(stamp):
                text = stamp + b'Kernel panic - not syncing: Attempted to kill init!\r\n'
                self.assert_exited(self.start_tiny(text=text, action=tinyguest.RESET), 'panic')

    def test_reset_after_other_text(self):
        text = b'a line with Kernel panic - not syncing in it\r\n'
        self.assert_exited(self.start_tiny(text=text, action=tinyguest.RESET), 'reboot')

    def test_stopped_for_good(self):
        """A guest that says that it ends, and then only hangs."""
        cases = {
            'panic': b'[    1.5] Kernel panic - not syncing: test\r\n[    1.6] ---[ end Kernel '
                     b'panic - not syncing: test ]---\r\n',
            'poweroff': b'reboot: System halted\r\n',
        }
        for reason, text in cases.items():
            with self.subTest(reason):
                client = self.start_tiny(text=text, action=tinyguest.HANG)
                self.assert_exited(client, reason, 30)

    def test_not_stopped(self):
        """The same words, but the guest goes on: it is left alone."""
        client = self.start_fake(RUN + chatter(0.1, b'reboot: System halted\r\n'))
        client.event('booted')
        time.sleep(12)
        client.send(command='query-status', id=1)
        self.assertEqual('running', client.reply(1)['return']['phase'])

    def test_qemu_killed(self):
        client = self.start_tiny()
        os.kill(self.qemu(), signal.SIGKILL)
        self.assert_exited(client, 'crashed')

    def test_qemu_killed_before_start(self):
        client = self.start_fake(STAY)
        wait_for(self.qemus)
        os.kill(self.qemu(), signal.SIGKILL)
        self.assert_failed(client, 'internal', 'signal 9')

    def test_helper_killed(self):
        client = self.start_tiny()
        qemu = self.qemu()
        self.process.kill()
        self.process.wait(SHORT)
        wait_for(lambda: not os.path.exists(f'/proc/{qemu}/mem') or not processes(self.uuid))
        self.assertIsNone(client.line())

    def test_qemu_environment(self):
        """QEMU gets what it needs and nothing more."""
        self.start_tiny()
        qemu = self.qemu()
        with open(f'/proc/{qemu}/environ', 'rb') as f:
            # bubblewrap says where it has put it
            self.assertEqual({b'PATH=/usr/bin:/bin', b'LC_ALL=C', b'PWD=/'},
                             set(f.read().rstrip(b'\0').split(b'\0')))
        links = [os.readlink(f'/proc/{qemu}/fd/{fd}') for fd in os.listdir(f'/proc/{qemu}/fd')]
        self.assertFalse([link for link in links if link.startswith(self.dir)])

    def test_locked_memory(self):
        """All of the enclave's memory is locked, or it does not start."""
        limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_MEMLOCK, limits)
        may_lock = self.may_lock()
        client = self.start(self.tiny(), '--cid', '5', '--lock-memory')
        if may_lock:
            client.event('booted')
            with open(f'/proc/{self.qemu()}/status', encoding='ascii') as f:
                fields = dict(line.split(':', 1) for line in f)
            self.assertGreaterEqual(int(fields['VmLck'].split()[0]) * 1024, 64 * MIB)
        else:
            self.assert_failed(client, 'resource', 'lock')

    @staticmethod
    def may_lock():
        """Raises the limit, as the daemon does it, for QEMU has no capability. May we?"""
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
        return resource.getrlimit(resource.RLIMIT_MEMLOCK) == unlimited

    def test_messages_are_limited(self):
        client = self.start(self.tiny(), '--qemu',
                            self.fake(fakeqemu.messages(20000) + fakeqemu.leave(1)))
        self.assert_failed(client, 'internal', 'message 19999')
        self.assertLess(len(self.log()), 400000)
        self.assertIn('further messages are not logged', self.log())

    def test_end_with_client(self):
        """Without the option an enclave outlives its clients, which other tests rely on."""
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        client = self.start(self.tiny(), '--end-with-client')
        client.event('booted')
        other = self.client()
        self.assertIn('libvirt-nitro', other.line())
        client.close()
        other.send(command='query-status', id=1)
        self.assertEqual('running', other.reply(1)['return']['phase'])
        other.close()
        self.assertEqual(0, self.process.wait(SHORT))
        self.assertIn('Ending with the last client', self.log())

    def test_end_with_early_client(self):
        """one that has gone before anything was done"""
        if not QEMU:
            self.skipTest('there is no qemu-system-x86_64')
        self.start(self.tiny(), '--end-with-client').close()
        self.assertEqual(0, self.process.wait(SHORT))


class MachineTest(HelperCase):
    """What QEMU is told for kernels of different ages and command lines"""

    TSC = r'tsc_early_khz=\d{6,8}'
    VSOCK = r'virtio_mmio\.device=512@0xfeb00c00:11'
    LONGEST = 2047  # bytes of a command line that the kernel takes

    def machine(self, linux, cmdline, *extra, **more):
        """(whether there is ACPI, whether instructions are counted, the command line)"""
        fake = self.fake(fakeqemu.COMMANDS + RUN + STAY)
        image = self.path('kernel', tinyguest.kernel(b'', linux=linux))
        client = self.start(image, '--cmdline', cmdline, '--qemu', fake, *extra, **more)
        client.event('booted')
        with open(f'/proc/{self.qemu()}/cmdline', encoding='utf-8') as f:
            argv = f.read().split('\0')
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        self.assertIn('i8042', argv)
        properties = argv[argv.index('-machine') + 1].split(',')
        icount = '-icount' in argv
        if icount:
            self.assertEqual('shift=auto', argv[argv.index('-icount') + 1])
        self.assertIn('auto-kernel-cmdline=off', properties)
        return 'acpi=on' in properties, icount, argv[argv.index('-append') + 1]

    def check(self, cases, *extra, **more):
        """@cases: (version, command line): (ACPI, counting, what is put before it)"""
        for (linux, cmdline), (acpi, icount, prefix) in cases.items():
            with self.subTest(linux=linux, cmdline=cmdline[-60:]):
                found = self.machine(linux, cmdline, *extra, **more)
                self.assertEqual((acpi, icount), found[:2], self.log())
                self.assertTrue(found[2].endswith(cmdline), found)
                self.assertRegex(found[2].removesuffix(cmdline), f'^{prefix}$')

    def test_versions(self):
        new, old = (True, False, self.TSC + ' '), (True, True, '')
        self.check({
            ('5.8.0', 'a'): new, ('5.10.0-34-amd64 (x) #1 SMP', 'a'): new, ('6.12.1', ''): new,
            ('10.0', 'a'): new,
            ('5.7.19', 'a'): old, ('4.14.336-253.554.amzn2.x86_64 (x) #1', 'a'): old,
            ('2.6.32', 'a'): old, (None, 'a'): old, ('', 'a'): old, ('unknown', 'a'): old,
            ('-5.9', 'a'): old, ('5.-9', 'a'): old, ('5', 'a'): old, ('99999.1', 'a'): old,
        })

    def test_room(self):
        """The longest parameter has 23 bytes, the shortest 21, and a blank."""
        new, old = (True, False, self.TSC + ' '), (True, True, '')
        self.check({('6.1.0', 'a' * (self.LONGEST - 24)): new,
                    ('6.1.0', 'a' * (self.LONGEST - 21)): old,
                    ('6.1.0', 'a' * self.LONGEST): old})

    def test_own_frequency(self):
        none = (True, False, '')
        self.check({('6.1.0', 'a tsc_early_khz=1000000 b'): none,
                    ('6.1.0', 'a -- tsc_early_khz=1000000'): (True, False, self.TSC + ' '),
                    ('4.14.0', 'tsc_early_khz=1000000'): (True, True, '')})

    def test_without_acpi(self):
        off, on = (False, False, self.TSC + ' '), (True, False, self.TSC + ' ')
        self.check({
            ('6.1.0', 'a acpi=off b'): off, ('6.1.0', 'acpi=off'): off, ('6.1.0', '"acpi=off"'): off,
            ('6.1.0', 'a\tacpi="off"'): off, ('6.1.0', 'acpi=force acpi=off'): off,
            ('6.1.0', 'acpi=off acpi=force'): on, ('6.1.0', 'a -- acpi=off'): on,
            ('6.1.0', 'xacpi=off acpi=offx'): on, ('6.1.0', 'a="b acpi=off"'): on,
            ('4.14.0', 'acpi=off'): (False, False, ''),
            ('6.1.0', 'acpi=off' + ' ' * (self.LONGEST - 8)): (False, False, ''),
        })

    def test_vsock_without_acpi(self):
        self.check({('6.1.0', 'acpi=off'): (False, False, f'{self.TSC} {self.VSOCK} '),
                    ('4.14.0', 'acpi=off'): (False, False, f'{self.VSOCK} '),
                    ('6.1.0', 'acpi=off' + ' ' * (self.LONGEST - 8 - 37)):
                        (False, False, f'{self.VSOCK} '),
                    ('6.1.0', 'acpi=on'): (True, False, f'{self.TSC} ')}, '--cid', '7')

    def test_no_room_for_vsock(self):
        """The kernel would never find its vsock: refused before anything runs."""
        image = self.path('kernel', tinyguest.kernel(b''))
        client = self.start(image, '--cid', '7', '--cmdline',
                            'acpi=off' + ' ' * (self.LONGEST - 8 - 36))
        self.assert_failed(client, 'image', '2011 bytes', '2047', '37 more', 'acpi=off')

    def test_vcpus(self):
        """Counting instructions is no cure for several vCPUs, which then share one thread."""
        two = ('--vcpus', '2')
        off = (False, False, '')
        self.check({('6.1.0', 'a'): (True, False, self.TSC + ' '), ('5.7.19', 'a'): off,
                    ('4.14.0', 'acpi=off'): off, ('6.1.0', 'a' * self.LONGEST): off}, vcpus=two)
        self.check({('4.14.0', 'a'): (False, False, self.VSOCK + ' '),
                    ('6.1.0', 'a' * 2010): (True, False, self.TSC + ' '),
                    ('4.14.0', 'a' * 2010): (False, False, self.VSOCK + ' ')}, '--cid', '7',
                   vcpus=two)
        for linux, length in (('4.14.0', 2011), ('6.1.0', 2026)):
            with self.subTest(linux=linux, length=length):
                image = self.path('kernel', tinyguest.kernel(b'', linux=linux))
                client = self.start(image, '--cid', '7', '--cmdline', 'a' * length, vcpus=two)
                self.assert_failed(client, 'image', f'{length} bytes', '2047', '2 vCPUs',
                                   '37 more', 'one vCPU')


class BootTest(HelperCase):
    """Guests that get nowhere near their heartbeat: refused soon, with the reason"""

    def boot(self, what, *extra):
        begin = time.monotonic()
        client = self.start_fake(RUN + what, '--cid', '7', *extra, heartbeat=None)
        return client, begin

    def test_panic(self):
        """AWS's command line has the kernel wait for 30 seconds; nobody else has to."""
        lines = ['Kernel panic - not syncing: Attempted to kill init!', 'CPU: 0 PID: 1 Comm: init',
                 'Rebooting in 30 seconds..', 'one line more']
        for cmdline, text in (('a', 'and ACPI'), ('acpi=off', 'on a machine without ACPI')):
            with self.subTest(cmdline):
                client, begin = self.boot(''.join(output(f'[    1.0] {line}\r\n')
                                                  for line in lines) + STAY,
                                          '--cmdline', cmdline)
                self.assert_failed(client, 'guest', 'panic', 'has not started its vsock device',
                                   text, 'CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES')
                self.assertLess(time.monotonic() - begin, 10)

    def test_silence(self):
        client, _ = self.boot(STAY, '--heartbeat-timeout', '1')
        self.assert_failed(client, 'timeout', 'in 1 seconds', 'has not started its vsock device',
                           'CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES')

    def test_panic_that_is_none(self):
        """The words alone end no boot."""
        client, _ = self.boot(output(b'Kernel panic - not syncing: no\n') + STAY)
        client.event('started')
        time.sleep(4)
        client.send(command='query-status', id=1)
        self.assertEqual('boot', client.reply(1)['return']['phase'])


class DescriptorTest(HelperCase):
    """What is not needed any more is closed."""

    def targets(self):
        found = []
        for fd in os.listdir(f'/proc/{self.process.pid}/fd'):
            try:
                found.append(os.readlink(f'/proc/{self.process.pid}/fd/{fd}'))
            except FileNotFoundError:
                pass
        return found

    def test_image(self):
        """Neither the files of the image nor its copy in memory, once it has been measured"""
        initrd = self.fd(self.path('initrd', b'ramdisk'))
        for expected in (False, True):
            with self.subTest(expected):
                image = eifwriter.simple(kernel=tinyguest.kernel(b'x'), cmdline=b'',
                                         ramdisks=(b'ramdisk',))
                extra = [f'--expect-pcr=0={image.pcrs()[0]}'] if expected else []
                client = self.start_tiny('--initrd-fd', str(initrd), *extra, text=b'x',
                                         fds=[initrd])
                wait_for(lambda: self.measured(client))
                wait_for(lambda: not [target for target in self.targets()
                                      if 'memfd:' in target], 5)
                self.assertFalse([target for target in self.targets()
                                  if target in (self.path('kernel'), self.path('initrd'))])
                client.send(command='terminate', id=1)
                self.assert_exited(client, 'terminated')

    def measured(self, client):
        client.send(command='query-measurements', id=77)
        return 'return' in client.reply(77)


class HostileQemuTest(HelperCase):
    """Fake QEMUs, which say on the monitor what a taken-over one might."""

    LOG_MAX = 200 * 1024  # bytes

    EVENTS = {
        'unknown': '{"event": "X", "data": {"a": [1, 2, {"b": null}]}}',
        # takes us longer to understand than QEMU to send
        'large': json.dumps({'event': 'X', **{f'{number:x}': 0 for number in range(400)}}),
        'shutdown': '{"event": "SHUTDOWN", "data": {"reason": "host-qmp-quit"}}',
        'reply': '{"return": {}, "id": 1}',
    }

    @staticmethod
    def flood(line, end='\n'):
        """Several write at once, so that there is always something to be read."""
        return flood(fakeqemu.MONITOR, 3, line + end) + STAY

    def assert_ends(self, client, act, outcome, seconds=2):
        """@act makes the helper end with @outcome, in time and with few words."""
        begin = time.monotonic()
        act()
        try:
            outcome(client)
            self.assertLess(time.monotonic() - begin, seconds)
            self.assertLess(os.path.getsize(self.log_path), self.LOG_MAX)
        finally:
            # of the next one, only its own
            os.unlink(self.log_path)

    def terminated(self, client):
        self.assertEqual({'reason': 'terminated'}, client.event('exited', 5))
        self.assertEqual(0, self.process.wait(5))

    def assert_flood_ends(self, name, what):
        for act in ('terminate', 'SIGTERM'):
            with self.subTest(f'{name}, {act}'):
                client = self.start_fake(message('begin\n') + what)
                try:
                    client.line()
                    wait_for(lambda: 'QEMU: begin' in self.log())
                    time.sleep(0.4)
                    self.assert_ends(client, (lambda: client.send(command='terminate', id=1))
                                     if act == 'terminate' else self.process.terminate,
                                     self.terminated)
                finally:
                    self.process.kill()
                    self.process.wait()

    def test_flood_before_start(self):
        self.assert_flood_ends('starting', self.flood(self.EVENTS['large']))

    def test_flood_of_events(self):
        for name, event in self.EVENTS.items():
            if name != 'shutdown':
                self.assert_flood_ends(name, RUN + self.flood(event))

    def test_flood_of_shutdowns(self):
        """A QEMU that says that it ends by itself is ended, and said so once."""
        client = self.start_fake(RUN + self.flood(self.EVENTS['shutdown']))
        self.crashed(client)
        self.assertEqual(self.log().count('it ends by itself'), 1)

    def test_flood_of_a_child(self):
        """What QEMU has left behind does not keep the helper."""
        for name, what in (
                ('monitor', flood(fakeqemu.MONITOR, 1, self.EVENTS['unknown'] + '\n')),
                ('messages', flood(2, 1, 'y' * 1000 + '\n')),
                ('serial port', flood(fakeqemu.SERIAL, 1, 'y\n'))):
            self.assert_flood_ends(name, RUN + fork(3) + what + fakeqemu.JOIN)

    def test_flood_of_nonsense(self):
        """What is not JSON is the end of a start, and of an enclave."""
        for name, line in (('text', 'no JSON at all'), ('empty', ''), ('array', '[]'),
                           ('endless', 'x' * 70)):
            what = self.flood(line, '' if name == 'endless' else '\n')
            for run in ('', RUN + sleep(0.2)):
                with self.subTest(f'{name}, {"running" if run else "starting"}'):
                    client = self.start_fake(run + what)
                    try:
                        self.assert_ends(client, lambda: None, self.crashed if run else
                                         lambda client: self.assert_failed(
                                             client, 'internal', 'QEMU cannot start the enclave: '
                                             'its monitor has sent'), 5)
                    finally:
                        self.process.kill()
                        self.process.wait()

    def crashed(self, client):
        client.event('booted', 5)
        self.assert_exited(client, 'crashed', 5)

    def test_stopped(self):
        """QEMU stops a guest by itself when it cannot go on with it."""
        client = self.start_fake(RUN + say('{"event": "STOP"}') + STAY)
        self.crashed(client)
        self.assertIn('it has stopped the guest', self.log())

    def test_refused(self):
        """What QEMU says when it does not start the guest reaches the user."""
        for name, description, text in (
                ('control characters', 'there is no \x1b[1mroom\x07 \u202e\nfor it',
                 'there is no ?[1mroom? ??for it'),
                ('colon', 'Guest is waiting: no such state', 'Guest is waiting: no such state'),
                ('no description', None, 'its monitor has refused a command')):
            with self.subTest(name):
                error = {'class': 'GenericError'}
                if description:
                    error['desc'] = description
                reply = json.dumps({'id': 1, 'error': error})
                client = self.start_fake(say(reply) + STAY)
                try:
                    self.assert_failed(client, 'internal', f'QEMU cannot start the enclave: {text}')
                finally:
                    self.process.kill()
                    self.process.wait()


class ConsoleTest(HelperCase):
    def read(self, fd, until, timeout=SHORT):
        """Reads from @fd until the bytes @until have come; returns all."""
        data = b''
        end = time.monotonic() + timeout
        while until not in data:
            left = end - time.monotonic()
            self.assertGreater(left, 0, data[-200:])
            if select.select([fd], [], [], left)[0]:
                piece = os.read(fd, 65536)
                self.assertTrue(piece, data[-200:])
                data += piece
        return data

    def start_pty(self, **more):
        """What the daemon does: opens the slave once, makes it raw, and closes it."""
        master, slave = pty.openpty()
        name = os.ttyname(slave)
        os.close(slave)
        client = self.start_tiny('--console-type', 'pty', '--console-fd', str(master),
                                 fds=[master], **more)
        os.close(master)
        return client, name

    def attach(self, name):
        return os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def test_pty_late_and_again(self):
        _, name = self.start_pty(text=b'the boot message\r\n')
        time.sleep(0.5)
        for _ in range(3):
            fd = self.attach(name)
            try:
                self.assertEqual(b'the boot message\r\n', self.read(fd, b'\n'))
                self.assertFalse(termios.tcgetattr(fd)[3] & termios.ECHO)
                os.write(fd, b'typed and thrown away\n')
                self.assertFalse(select.select([fd], [], [], 0.2)[0])
            finally:
                os.close(fd)
            time.sleep(0.3)

    LAST = 'The last lines of the enclave\'s console:\n'

    def last_lines(self):
        """What the log has of the console"""
        return [line.split(': console: ', 1)[1] for line in self.log().splitlines()
                if ': console: ' in line]

    def test_last_lines(self):
        """The end of the console is in the log, bounded, and cannot command a terminal."""
        text = (b'the first line\r\n' + b''.join(b'line %d\n' % n for n in range(18)) + b'\r\n'
                + b'\x1b[2J\x9b2J\r\xe2\x80\xaeabc\xc3\xa9\x07\n' + b'x' * 300 + b'\n' + b'no end')
        client = self.start_tiny('--debug', text=text, action=tinyguest.RESET)
        self.assert_exited(client, 'reboot')
        lines = [f'line {n}' for n in range(1, 18)]
        self.assertEqual(self.last_lines(),
                         [*lines, '?[2J?2J??abcé?', 'x' * 200, 'no end'])
        self.assertEqual(self.log().count(self.LAST), 1)
        self.assertEqual([c for c in self.log() if not c.isprintable() and c != '\n'], [])

    def test_last_lines_of_a_flood(self):
        client = self.start_tiny('--debug', text=b'0123456789\n', action=tinyguest.AGAIN)
        time.sleep(1)
        os.kill(self.qemu(), signal.SIGKILL)
        self.assert_exited(client, 'crashed')
        self.assertEqual(len(self.last_lines()), 20)
        self.assertLess(len(self.log()), 8192)

    def test_no_last_lines(self):
        """Of an enclave that is not in debug mode, or ends on request, the log has nothing."""
        for words, ending in (((), None), (('--debug',), 'terminated')):
            with self.subTest(words):
                client = self.start_tiny(*words, text=b'secret\n', action=tinyguest.RESET
                                         if not ending else tinyguest.HANG)
                time.sleep(0.5)
                if ending:
                    client.send(command='terminate', id=1)
                self.assert_exited(client, ending or 'reboot')
                self.assertNotIn('secret', self.log())
                self.assertNotIn(self.LAST, self.log())

    def test_pty_unread_output(self):
        """What one reader left unread is not the first that the next one gets."""
        client, name = self.start_pty(text=b'0123456789abcdefghijklmnopqrstu\r\n',
                                      action=tinyguest.AGAIN)
        os.close(self.attach(name))
        fd = self.attach(name)
        time.sleep(0.5)
        os.close(fd)
        time.sleep(0.5)
        fd = self.attach(name)
        try:
            data = b''
            while len(data) < 300000:
                data += self.read(fd, b'', 1) if data else self.read(fd, b'\n')
                select.select([fd], [], [], SHORT)
                data += os.read(fd, 65536)
        finally:
            os.close(fd)
        client.send(command='query-status', id=1)
        self.assertEqual('running', client.reply(1)['return']['phase'])

    def test_pty_last_words(self):
        """Who is reading gets all that the enclave has said, the last line included."""
        line = b'the last words of an enclave\r\n'
        for number in range(10):
            with self.subTest(f'reset {number}'):
                self.assertEqual(line, self.read_to_the_end(
                    lambda *args, **more: self.start_tiny(*args, text=line,
                                                          action=tinyguest.RESET, **more)))
        # lines that have just been written, the end, and a reader that has other things to do
        lines = b''.join(b'line %d\r\n' % number for number in range(100))
        what = (RUN + output(lines) +
                say('{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}'))
        for number in range(10):
            with self.subTest(f'slow {number}'):
                self.assertEqual(lines, self.read_to_the_end(
                    lambda *args, **more: self.start_fake(what + STAY, *args, **more),
                    slow=True))

    def read_to_the_end(self, start, slow=False):
        """What a reader gets that has had the terminal of @start's enclave open all the time."""
        master, slave = pty.openpty()
        data = []

        def read():
            try:
                if slow:
                    select.select([slave], [], [])
                    time.sleep(0.02)
                while piece := os.read(slave, 4096):
                    data.append(piece)
                    if slow:
                        select.select([slave], [], [])
                        time.sleep(0.02)
            except OSError:
                pass  # the other end has been closed

        reader = threading.Thread(target=read)
        reader.start()
        try:
            client = start('--console-type', 'pty', '--console-fd', str(master), fds=[master])
        finally:
            os.close(master)
            reader.join()
            os.close(slave)
        self.assert_exited(client, 'reboot')
        return b''.join(data)

    def test_pty_reader_that_does_not_read(self):
        """Of a reader that has opened, not read and closed, the next one sees nothing."""
        text = b'first line\r\nsecond line\r\nthird line\r\n'
        _, name = self.start_pty(text=text)
        time.sleep(0.5)
        for number in range(3):
            with self.subTest(number):
                fd = self.attach(name)
                # long enough for the helper to notice
                time.sleep(0.4)
                os.close(fd)
                time.sleep(0.5)
                fd = self.attach(name)
                try:
                    data = self.read(fd, b'third line\r\n')
                    while select.select([fd], [], [], 0.3)[0]:
                        data += os.read(fd, 4096)
                    self.assertEqual(text, data)
                finally:
                    os.close(fd)
                time.sleep(0.3)

    def test_pty_slow_reader(self):
        """The enclave and the helper go on while a reader sleeps, and it gets the newest output."""
        client, name = self.start_pty(text=b'x' * 60 + b'\r\n', action=tinyguest.AGAIN)
        fd = self.attach(name)
        try:
            self.read(fd, b'x')
            time.sleep(1.5)
            client.send(command='query-status', id=1)
            self.assertEqual('running', client.reply(1, 2)['return']['phase'])
            self.read(fd, b'x')
        finally:
            os.close(fd)

    def test_pty_nobody(self):
        client, _ = self.start_pty(text=b'x' * 60 + b'\r\n', action=tinyguest.AGAIN)
        time.sleep(0.5)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')

    def test_file(self):
        fd = self.fd(self.path('console'), os.O_WRONLY | os.O_CREAT)
        client = self.start_tiny('--console-type', 'file', '--console-fd', str(fd), fds=[fd],
                                 text=b'to a file\r\n')
        path = self.path('console')
        wait_for(lambda: open(path, 'rb').read() == b'to a file\r\n' if os.path.getsize(path)
                 else False)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')

    def test_file_gets_all(self):
        fd = self.fd(self.path('console'), os.O_WRONLY | os.O_CREAT)
        line = b'0123456789' * 6 + b'\r\n'
        client = self.start_tiny('--console-type', 'file', '--console-fd', str(fd), fds=[fd],
                                 text=line, action=tinyguest.AGAIN)
        wait_for(lambda: os.path.getsize(self.path('console')) > 600000, LONG)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        with open(self.path('console'), 'rb') as f:
            data = f.read()
        self.assertEqual((line * (len(data) // len(line) + 1))[:len(data)], data)

    def test_file_rotates(self):
        """A file and its log of a size, with files for old output: all of the end is there."""
        size, names = 100000, ('con', 'con.0', 'con.1', 'copy', 'copy.0')
        fds = [self.fd(self.path(name), os.O_RDWR | os.O_CREAT |
                       (0 if name[-1].isdigit() else os.O_APPEND)) for name in names]
        con, con0, con1, copy, copy0 = map(str, fds)
        line = b'0123456789' * 6 + b'\r\n'
        client = self.start_tiny('--console-type', 'file', '--console-fd', con,
                                 '--console-backup-fds', f'{con0},{con1}', '--console-log-fd', copy,
                                 '--console-log-backup-fds', copy0, '--log-max-size', str(size),
                                 fds=fds, text=line, action=tinyguest.AGAIN)
        end = time.monotonic() + LONG
        while os.path.getsize(self.path('con.1')) == 0 or time.monotonic() < end - LONG + 3:
            for name in names:
                self.assertLessEqual(os.path.getsize(self.path(name)), size)
            self.assertLess(time.monotonic(), end)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        for kept in (('con.1', 'con.0', 'con'), ('copy.0', 'copy')):
            data = b''
            for name in kept:
                with open(self.path(name), 'rb') as f:
                    data += f.read()
            self.assertGreater(len(data), (len(kept) - 1) * (size - len(line)))
            # the oldest byte may be any of a line
            begin = (line * 2).index(data[:len(line)])
            self.assertEqual((line * (len(data) // len(line) + 2))[begin:begin + len(data)], data)

    def test_file_full(self):
        """A full disk is logged once, and the enclave goes on."""
        fd = self.fd('/dev/full', os.O_WRONLY)
        client = self.start_tiny('--console-type', 'file', '--console-fd', str(fd), fds=[fd],
                                 text=b'to a full disk\r\n', action=tinyguest.AGAIN)
        time.sleep(0.5)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        self.assertEqual(1, self.log().count('No space left'))

    def test_file_is_a_stuck_pipe(self):
        reader, writer = os.pipe()
        self.open += [reader]
        client = self.start_tiny('--console-type', 'file', '--console-fd', str(writer),
                                 fds=[writer], text=b'y' * 60 + b'\r\n', action=tinyguest.AGAIN)
        os.close(writer)
        time.sleep(0.5)
        client.send(command='query-status', id=1)
        self.assertEqual('running', client.reply(1, 2)['return']['phase'])
        self.read(reader, b'y')
        client.send(command='terminate', id=2)
        self.assert_exited(client, 'terminated')

    def test_unix_listening(self):
        path = self.path('console')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(5)
            client = self.start_tiny('--console-type', 'unix', '--console-fd',
                                     str(listener.fileno()), fds=[listener.fileno()],
                                     text=b'to a socket\r\n')
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as reader, \
                    socket.socket(socket.AF_UNIX) as waiting:
                reader.connect(path)
                self.assertEqual(b'to a socket\r\n', self.read(reader.fileno(), b'\n'))
                reader.sendall(b'typed')
                waiting.connect(path)
                self.assertFalse(select.select([waiting], [], [], 0.3)[0])
                reader.close()
                self.assertEqual(b'to a socket\r\n', self.read(waiting.fileno(), b'\n'))
        client.send(command='terminate', id=2)
        self.assert_exited(client, 'terminated')

    def test_unix_half_closed(self):
        """A reader that has nothing to say any more goes on reading, and its end is seen."""
        path = self.path('console')
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(5)
            self.start_fake(RUN + output('first\n') + fakeqemu.SIGNAL + output('second\n') + STAY,
                            '--console-type', 'unix', '--console-fd', str(listener.fileno()),
                            fds=[listener.fileno()])
        with socket.socket(socket.AF_UNIX) as reader, socket.socket(socket.AF_UNIX) as waiting:
            reader.connect(path)
            self.assertEqual(b'first\n', self.read(reader.fileno(), b'\n'))
            reader.shutdown(socket.SHUT_WR)
            before = self.cpu_seconds()
            self.assertFalse(select.select([reader], [], [], 0.5)[0], 'it was hung up on')
            self.assertLess(self.cpu_seconds() - before, 0.25)
            os.kill(self.qemu(), signal.SIGUSR1)
            self.assertEqual(b'second\n', self.read(reader.fileno(), b'\n'))
            waiting.connect(path)
            self.assertFalse(select.select([waiting], [], [], 0.2)[0])
            reader.close()
            self.assertEqual(b'first\nsecond\n', self.read(waiting.fileno(), b'second\n'))

    def test_unix_connected(self):
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                client = self.start_tiny('--console-type', 'unix', '--console-fd',
                                         str(theirs.fileno()), fds=[theirs.fileno()],
                                         text=b'z' * 60 + b'\r\n', action=tinyguest.AGAIN)
            self.read(ours.fileno(), b'z')
        time.sleep(0.3)
        client.send(command='query-status', id=1)
        self.assertEqual('running', client.reply(1)['return']['phase'])


if __name__ == '__main__':
    taprunner.main()
