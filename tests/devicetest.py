# devicetest.py: libvirt_nitro on the mocked device of the Nitro Hypervisor
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The shipped helper runs under nitrodevmock, which keeps the kernel driver's rules, and is
# driven over its control socket (helpercase). What is compared: the calls that the device
# sees, with files of devicedata, one for each set of options; the bytes in the enclave's
# memory, with those of an independent writer (eifwriter); the sentences for each error, with
# devicedata/errors.txt.
#
# DEVICETEST_UPDATE=1 writes the files of devicedata anew.
# Huge pages of 2 MiB are reserved for the time of the tests; they are skipped without.

import concurrent.futures
import contextlib
import errno
import glob
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest

import eifwriter
import helpercase
import nitrodevmock
import taprunner
import tinyguest
from helpercase import HELPER, MIB, SHORT, processes, wait_for

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'devicedata')
PAGE = 2 * MIB
OFFSET = 8 * MIB  # where the hypervisor wants the image
DEVICE_FD = 90

# Opens the device as the daemon does, and runs what follows with it.
OPEN_DEVICE = ('bash', '-c', f'exec {DEVICE_FD}<>/dev/nitro_enclaves && exec "$0" "$@"')
QUIET = {'heartbeat': 'never'}


def pages(name):
    with open(f'/sys/kernel/mm/hugepages/hugepages-2048kB/{name}_hugepages',
              encoding='ascii') as f:
        return int(f.read())


class DeviceCase(helpercase.HelperCase):
    """
    A test with a mock, whose settings are in the class's MOCK, and PAGES huge pages. At its
    end there must be no enclave and no huge page in use more than before.
    """

    MOCK = {}
    PAGES = 64

    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.stack.enter_context(nitrodevmock.HugePages(self.PAGES))
        self.mock = self.stack.enter_context(
            nitrodevmock.NitroMock(**dict({'guests': [QUIET]}, **self.MOCK)))
        # what the mock has opened stays until its end
        self.fds_before = set(os.listdir('/proc/self/fd'))

    def tearDown(self):
        super().tearDown()
        self.mock.wait_closed()
        # The mock hears of the end of a process a moment later than who has waited for it.
        wait_for(lambda: self.mock.devices() == 0)

    def run_device(self, image, *extra, memory=64 * MIB, vcpus=('--vcpus', '2'), **more):
        """Starts the helper on the device; returns the client that waited for it."""
        self.mock_env = self.mock.environment(HELPER)
        client = self.start(image, '--device-fd', str(DEVICE_FD), *extra, memory=memory,
                            vcpus=vcpus, machine='nitro', accel=None, prefix=OPEN_DEVICE,
                            env=self.mock_env, **more)
        self.assertIn('libvirt-nitro', client.line())
        return client

    def eif(self, size=MIB, name='eif'):
        """An image with two ramdisks and random contents; returns its path and its bytes."""
        half = size // 2
        image = eifwriter.simple(kernel=os.urandom(half), ramdisks=(os.urandom(half), b'app'))
        return image.write(self.path(name)), image.to_bytes()

    def terminate(self, client, ident=99):
        client.send(command='terminate', id=ident)
        self.assert_exited(client, 'terminated')
        self.process = None

    def has_thread(self, name):
        for path in glob.glob(f'/proc/{self.process.pid}/task/*/comm'):
            with contextlib.suppress(FileNotFoundError), open(path, encoding='ascii') as f:
                if f.read() == name + '\n':
                    return True
        return False

    def calls(self):
        """The transcript without what the shell does."""
        return [line for line in self.mock.transcript() if line != 'open = ok']


def option_sets():
    """
    What the daemon makes of 30 definitions: the command lines that nitroxml2argvtest
    compares, without what is of no concern to the device, and made smaller.
    """
    sets = {}
    for path in sorted(glob.glob(os.path.join(os.path.dirname(DATA), 'nitroxml2argvdata',
                                              '*.args'))):
        with open(path, encoding='utf-8') as f:
            words = f.read().replace('\\\n', ' ')
        name = os.path.basename(path).removesuffix('.args')
        if '--machine nitro ' in words:
            sets[name] = words
    return sets


def compare_data(test, name, text):
    """The file @name of devicedata holds @text."""
    path = os.path.join(DATA, name)
    if os.environ.get('DEVICETEST_UPDATE'):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
    with open(path, encoding='utf-8') as f:
        test.assertEqual(f.read(), text)


class TranscriptTest(DeviceCase):
    """The calls that the device sees, for each definition that nitroxml2argvtest knows"""

    PAGES = 160
    # as many CPUs as the definitions ask for, each a core as on Graviton
    MOCK = {'cpus': 32, 'threads_per_core': 1, 'pool': '1-31'}

    def arguments(self, words):
        """The options for the device of a command line of the daemon's."""
        options = dict(re.findall(r'--(\S+) (\S+)', re.sub(r"'[^']*'", 'quoted', words)))
        extra = []
        for name in ('cid', 'page-size'):
            if name in options:
                extra += ['--' + name, options[name]]
        if 'numa-node' in options:
            # that every host has
            extra += ['--numa-node', '0']
        if '--debug' in words:
            extra.append('--debug')
        memory = min(int(options['memory']), 256 * MIB)
        vcpus = ('--cpus', options['cpus']) if 'cpus' in options else ('--vcpus',
                                                                       options['vcpus'])
        return extra, memory, vcpus, options

    def run_one(self, name, words):
        extra, memory, vcpus, options = self.arguments(words)
        fds = []
        if 'initrd-fd' in options or 'cmdline' in options:
            image = self.path('kernel', tinyguest.native_kernel(b''))
            if 'initrd-fd' in options:
                initrd = self.fd(self.path('initrd', b'ramdisk'))
                fds.append(initrd)
                extra += ['--initrd-fd', str(initrd)]
            extra += ['--cmdline', 'console=ttyS0']
        else:
            image = self.eif()[0]
        before = len(self.mock.transcript())
        client = self.run_device(image, *extra, memory=memory, vcpus=vcpus, fds=fds)
        outcome = None
        while (message := client.line()) is not None:
            if message.get('event') == 'booted':
                client.send(command='terminate', id=1)
            elif message.get('event') in ('exited', 'failed'):
                outcome = message['data']
        self.process.wait(SHORT)
        # one for each definition would get to DEVICE_FD
        client.close()
        self.clients.remove(client)
        self.mock.wait_closed()
        lines = self.mock.transcript()[before:]
        number = re.search(r'enclave (\d+)', '\n'.join(lines))
        if number:
            lines = [line.replace(f'enclave {number[1]}', 'enclave N') for line in lines]
        lines.append(outcome.get('reason') or f'{outcome["code"]}: {outcome["text"]}')
        compare_data(self, f'{name}.transcript', '\n'.join(lines) + '\n')

    def test_definitions(self):
        sets = option_sets()
        self.assertGreaterEqual(len(sets), 30)
        for name, words in sets.items():
            with self.subTest(name):
                self.run_one(name, words)

    def test_complete(self):
        """No file is left over from a definition that is gone."""
        files = {os.path.basename(path).removesuffix('.transcript')
                 for path in glob.glob(os.path.join(DATA, '*.transcript'))}
        self.assertEqual(set(option_sets()), files)


class ImageTest(DeviceCase):
    """The enclave's memory holds the image, byte for byte, where the hypervisor wants it."""

    PAGES = 80

    def assert_memory(self, expected):
        number = self.mock.enclaves()[0]['number']
        offset = self.mock.config.get('image_offset', OFFSET)
        found = self.mock.read(number, offset, len(expected) + 4096)
        self.assertEqual(len(expected) + 4096, len(found))
        # not assertEqual: it would print them
        self.assertTrue(found[:len(expected)] == expected, 'the image differs')
        self.assertTrue(not any(found[len(expected):]), 'something is behind the image')
        self.assertTrue(not any(self.mock.read(number, 0, offset)), 'something is before it')

    def load(self, image, expected, *extra, **more):
        client = self.run_device(image, *extra, **more)
        client.event('booted')
        self.assert_memory(expected)
        self.terminate(client)
        self.mock.wait_closed()

    def test_sizes(self):
        """Around the blocks and pieces in which the image is read"""
        for size in (4096, 256 * 1024 - 600, 256 * 1024, PAGE - 600, PAGE, 3 * PAGE + 1,
                     5 * MIB, 20 * MIB + 12345):
            with self.subTest(size):
                path, content = self.eif(size)
                self.load(path, content, memory=(4 * size // PAGE + 34) * PAGE)

    def test_signed(self):
        image = eifwriter.signed(kernel=os.urandom(3 * MIB), ramdisks=(b'', os.urandom(MIB)))
        self.load(image.write(self.path('eif')), image.to_bytes(), '--signature',
                  image.signature())

    def test_unusual(self):
        """Gaps and reserved bits reach the hypervisor as they are: it decides."""
        image = eifwriter.simple(kernel=os.urandom(3 * MIB),
                                 flags=eifwriter.default_flags | 0x8000)
        for section in image.sections:
            section.gap = os.urandom(70000)
            section.flags = 0x4000
        self.load(image.write(self.path('eif')), image.to_bytes())
        self.assertIn('bytes before section 0 (kernel) belong to no section', self.log())

    def test_order(self):
        """A ramdisk before the kernel: refused before anything is asked of the device"""
        image = eifwriter.simple()
        image.sections.insert(0, image.sections.pop(2))
        before = len(self.mock.transcript())
        client = self.run_device(image.write(self.path('eif')))
        self.assert_failed(client, 'image', 'section 0 (ramdisk) is before the kernel, section 1')
        self.assertFalse([line for line in self.mock.transcript()[before:]
                          if 'MEMORY' in line or 'START' in line])

    def test_offset(self):
        for offset in (0, 4096, PAGE, 3 * MIB + 4096, 40 * MIB):
            with self.subTest(offset):
                self.mock.configure(image_offset=offset)
                self.mock.config['image_offset'] = offset
                path, content = self.eif(4 * MIB)
                self.load(path, content)

    def test_no_room(self):
        self.mock.configure(image_offset=60 * MIB)
        client = self.run_device(self.eif(8 * MIB)[0])
        self.assert_failed(client, 'config', '65536 KiB', '61440 KiB from its start')

    def assembled(self, kernel, cmdline, ramdisk):
        return eifwriter.simple(kernel=kernel, cmdline=cmdline,
                                ramdisks=(ramdisk,)).to_bytes()

    def test_assembled(self):
        for kernel_size, ramdisk_size in ((0, 10), (0, None), (MIB, 0), (PAGE, PAGE),
                                          (7 * MIB + 3, 9 * MIB + 1)):
            with self.subTest((kernel_size, ramdisk_size)):
                kernel = tinyguest.native_kernel(b'') + os.urandom(kernel_size)
                ramdisk = os.urandom(ramdisk_size or 0)
                extra, fds = ['--cmdline', 'console=ttyS0 quiet'], []
                if ramdisk_size is not None:
                    fds = [self.fd(self.path('initrd', ramdisk))]
                    extra += ['--initrd-fd', str(fds[0])]
                self.load(self.path('kernel', kernel),
                          self.assembled(kernel, b'console=ttyS0 quiet', ramdisk), *extra,
                          fds=fds, memory=128 * MIB)

    def test_no_command_line(self):
        kernel = tinyguest.native_kernel(b'')
        self.load(self.path('kernel', kernel), self.assembled(kernel, b'', b''))

    def test_damaged(self):
        """Nothing of an image with a wrong checksum reaches the hypervisor."""
        image = eifwriter.simple(kernel=os.urandom(5 * MIB)).to_bytes()
        for name, content in (('middle', image[:MIB] + b'?' + image[MIB + 1:]),
                              ('end', image[:-1] + b'?'),
                              ('NUL', eifwriter.simple(cmdline=b'a\0b').to_bytes())):
            with self.subTest(name):
                before = len(self.mock.transcript())
                client = self.run_device(self.path('eif', content))
                self.assert_failed(client, 'image', 'NUL' if name == 'NUL' else 'checksum')
                self.assertFalse([line for line in self.mock.transcript()[before:]
                                  if 'MEMORY' in line or 'START' in line])

    def test_expected_pcr(self):
        image = eifwriter.signed(kernel=os.urandom(3 * MIB))
        path = image.write(self.path('eif'))
        signature = ['--signature', image.signature()]
        good = signature + [word for pcr, value in image.pcrs().items()
                            for word in ('--expect-pcr', f'{pcr}={value}')]
        client = self.run_device(path, *good)
        client.event('booted')
        client.send(command='query-measurements', id=1)
        client.reply(1)
        self.terminate(client)
        with self.subTest('wrong'):
            client = self.run_device(path, *signature, '--expect-pcr', '2=' + 'ab' * 48)
            self.assert_failed(client, 'image', 'PCR2', image.pcrs()[2], 'ab' * 48)
            self.assertFalse([line for line in self.calls() if 'enclave 2: NE_START' in line])
        with self.subTest('signed'):
            _, pcr8, digest = image.signature().split(',')
            client = self.run_device(path, '--signature', f"{'ab' * 48},{pcr8},{digest}")
            self.assert_failed(client, 'image', 'is not the one that was signed: its PCR0 is '
                               f"{image.pcrs()[0]}, and {'ab' * 48} was signed")
            self.assertFalse([line for line in self.calls() if 'enclave 3: NE_START' in line])
            client = self.run_device(path, '--signature',
                                     f"{image.pcrs()[0]},{pcr8},{'ab' * 48}")
            self.assert_failed(client, 'image', 'its signature is not the one that was checked')
            self.assertFalse([line for line in self.calls() if 'enclave 4: NE_START' in line])
        with self.subTest('assembled'):
            kernel = tinyguest.native_kernel(b'')
            pcrs = eifwriter.simple(kernel=kernel, cmdline=b'x', ramdisks=(b'',)).pcrs()
            client = self.run_device(self.path('kernel', kernel), '--cmdline', 'x',
                                     '--expect-pcr', f'0={pcrs[0]}')
            client.event('booted')
            self.terminate(client)

    def measurements(self, client):
        while True:
            client.send(command='query-measurements', id=7)
            reply = client.reply(7)
            if reply.get('error', {}).get('code') != 'not-ready':
                return reply
            time.sleep(0.05)  # on one CPU alone, who measures has to get it

    def test_measurements(self):
        image = eifwriter.signed(kernel=os.urandom(9 * MIB))
        with self.subTest('EIF'):
            client = self.run_device(image.write(self.path('eif')), '--signature',
                                     image.signature())
            expected = {'hash': 'sha384',
                        **{f'pcr{pcr}': value for pcr, value in image.pcrs().items()}}
            self.assertEqual(expected, self.measurements(client)['return'])
            self.terminate(client)
        with self.subTest('assembled'):
            kernel, ramdisk = tinyguest.native_kernel(b''), os.urandom(3 * MIB)
            pcrs = eifwriter.simple(kernel=kernel, cmdline=b'x', ramdisks=(ramdisk,)).pcrs()
            fd = self.fd(self.path('initrd', ramdisk))
            client = self.run_device(self.path('kernel', kernel), '--cmdline', 'x',
                                     '--initrd-fd', str(fd), fds=[fd])
            self.assertEqual(pcrs[0], self.measurements(client)['return']['pcr0'])
            self.terminate(client)

    def test_changed_meanwhile(self):
        """A file that is written to after it was loaded is not measured as what runs."""
        path, _ = self.eif(MIB)
        self.mock.fault('NE_START_ENCLAVE', hang=1)
        client = self.run_device(path)
        wait_for(lambda: any('NE_ADD_VCPU' in line for line in self.calls()))
        with open(path, 'r+b') as f:
            f.seek(4096)
            f.write(b'changed')
        client.event('booted')
        reply = self.measurements(client)
        self.assertEqual('internal', reply['error']['code'])
        self.terminate(client)

    def test_resident(self):
        """The image is nowhere but in the huge pages."""
        path, _ = self.eif(24 * MIB)
        client = self.run_device(path, memory=100 * MIB)
        client.event('booted')
        self.assertLess(self.resident(peak=True), 16 * MIB)
        self.terminate(client)


def page_sizes():
    """
    The sizes of huge pages that this kernel has, that an enclave can have, and that can be had
    without a word at its boot: some of MiB, smallest first.
    """
    sizes = [int(re.search(r'(\d+)kB$', path)[1])
             for path in glob.glob('/sys/kernel/mm/hugepages/hugepages-*kB')]
    return sorted(size * 1024 for size in sizes if 2048 <= size < 1048576)


class RegionTest(unittest.TestCase):
    """An image across the borders of regions, and regions of pages of each size"""

    def run_case(self, name):
        program = os.path.join(nitrodevmock.BUILD, 'tests', 'enclavememorytest')
        result = subprocess.run([program, '--tap', '-p', f'/enclavememory/{name}'],
                                capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        self.assertIn(f'ok 1 /enclavememory/{name}\n', result.stdout)
        return result.stdout

    def test_borders(self):
        with nitrodevmock.HugePages(12):
            self.run_case('borders')

    def test_sizes(self):
        with contextlib.ExitStack() as stack:
            for size in page_sizes():
                stack.enter_context(nitrodevmock.HugePages(1, size // 1024))
            said = self.run_case('sizes')
        for size in page_sizes():
            self.assertIn(f'# {size // 1024} KiB\n', said)


class OptionTest(DeviceCase):
    """What single options mean to the device"""

    PAGES = 256

    def start_line(self, *extra, **more):
        client = self.run_device(self.eif()[0], *extra, **more)
        started = client.event('started')
        client.event('booted')
        client.send(command='query-status', id=1)
        status = client.reply(1)['return']
        self.assertEqual(started, {name: status[name] for name in started})
        self.terminate(client)
        self.mock.wait_closed()
        return started, [line for line in self.calls() if 'NE_START' in line][-1]

    def test_cid(self):
        started, line = self.start_line()
        self.assertEqual(16, started['cid'])
        self.assertIn('cid=0 = CID 16', line)
        started, line = self.start_line('--cid', '4')
        self.assertEqual(4, started['cid'])
        self.assertIn('cid=4 = CID 4', line)
        started, line = self.start_line('--cid', '4294967294')
        self.assertEqual(4294967294, started['cid'])

    def test_debug(self):
        self.assertIn('flags=0x0', self.start_line()[1])
        self.assertIn('flags=0x1', self.start_line('--debug')[1])

    def test_cpus(self):
        """The ids that were asked for, or those that the driver has chosen, are told."""
        self.assertEqual([1, 5], self.start_line()[0]['cpus'])
        self.assertEqual([7, 3], self.start_line(vcpus=('--cpus', '7,3'))[0]['cpus'])
        self.assertEqual([2, 6, 3, 7],
                         self.start_line(vcpus=('--cpus', '2,6,3,7'))[0]['cpus'])
        self.assertEqual([1, 5, 2, 6, 3, 7], self.start_line(vcpus=('--vcpus', '6'))[0]['cpus'])

    def test_cpu_0(self):
        client = self.run_device(self.eif()[0], vcpus=('--cpus', '0,4'))
        self.assert_failed(client, 'config', 'CPU 0')
        self.assertEqual([], self.calls())

    def test_memory(self):
        for memory in (64 * MIB, 66 * MIB, 500 * MIB):
            with self.subTest(memory):
                self.start_line(memory=memory)
                sizes = re.findall(r'size=(0x[0-9a-f]+)', '\n'.join(self.calls()))
                self.assertEqual(memory, int(sizes[-1], 16))

    def test_page_size(self):
        for size in page_sizes():
            memory = max(64 * MIB, size)
            with self.subTest(size), nitrodevmock.HugePages(memory // size, size // 1024):
                self.start_line('--page-size', str(size), '--numa-node', '0', memory=memory)

    def test_page_size_of_no_host(self):
        client = self.run_device(self.eif()[0], '--page-size', str(1 << 30), memory=1 << 30)
        self.assert_failed(client, 'resource', '1 more huge pages of 1048576 KiB',
                           'hugepages-1048576kB/nr_hugepages')

    def test_numa_node_of_no_host(self):
        client = self.run_device(self.eif()[0], '--numa-node', '1000')
        self.assert_failed(client, 'resource', '32 more huge pages of 2048 KiB on NUMA node 1000',
                           '/sys/devices/system/node/node1000/hugepages')

    def test_huge_pages(self):
        """The numbers are those of this host, and what the sentence says helps."""
        total, memory = pages('nr'), (pages('free') + 100) * PAGE
        client = self.run_device(self.eif()[0], memory=memory)
        failure = client.event('failed')
        self.process.wait(SHORT)
        self.assertEqual('resource', failure['code'])
        # hosts have larger ones as well, or not
        found = re.search(r'needs (\d+) more huge pages of 2048 KiB '
                          r'\((?:\d+ of the \d+ of \d+ KiB are free, )*'
                          r'(\d+) of the (\d+) of 2048 KiB are free\): '
                          r'.* writing (\d+) to (\S+)/nr_hugepages', failure['text'])
        more, free, reserved, number = map(int, found.groups()[:4])
        # others may use huge pages at the same time
        self.assertEqual((memory // PAGE - free, reserved + more), (more, number), failure)
        self.assertEqual('/sys/kernel/mm/hugepages/hugepages-2048kB', found[5])
        self.assertGreaterEqual(total + 1000, reserved)

    def test_device(self):
        """Another file than the device is named as such."""
        null = self.fd('/dev/null', os.O_RDWR)
        client = self.start(self.eif()[0], '--device-fd', str(null), memory=64 * MIB,
                            vcpus=('--vcpus', '2'), machine='nitro', accel=None, fds=[null])
        client.line()
        failure = client.event('failed')
        self.process.wait(SHORT)
        self.assertEqual(('unsupported', 'NE_CREATE_VM', errno.ENOTTY),
                         (failure['code'], failure['ioctl'], failure['errno']))
        self.assertIn('/dev/nitro_enclaves', failure['text'])


CREATE, INFO, MEMORY, VCPU, START = ('NE_CREATE_VM', 'NE_GET_IMAGE_LOAD_INFO',
                                     'NE_SET_USER_MEMORY_REGION', 'NE_ADD_VCPU',
                                     'NE_START_ENCLAVE')
BUG = 'this is an error of libvirt_nitro'

# Each number with the call that the driver gives it for, the code, and what the sentence says.
ERRORS = [
    (VCPU, 256, 'config', ['CPU of the pool', 'name each CPU once']),
    (VCPU, 257, 'resource', ['pool (CPUs 1-3,5-7)', 'belongs to another enclave']),
    (VCPU, 258, 'resource', ['pool (CPUs 1-3,5-7)', 'choose a CPU of the pool']),
    (MEMORY, 259, 'config', ['65536 KiB', 'multiple of 2 MiB']),
    (MEMORY, 260, 'internal', ['65536 KiB', 'address', BUG]),
    (MEMORY, 261, 'internal', ['65536 KiB', 'aligned', BUG]),
    (MEMORY, 262, 'internal', ['65536 KiB', 'given to the enclave before', BUG]),
    (MEMORY, 263, 'internal', ['huge pages of 2048 KiB', '<page size=>']),
    (MEMORY, 264, 'resource', ['of any node', "pool (CPUs 1-3,5-7)", '<numatune>']),
    (MEMORY, 265, 'resource', ['65536 KiB', 'hugepagesz=1G hugepages=1']),
    (START, 266, 'internal', ['no memory', BUG]),
    (START, 267, 'internal', ['no vCPU', BUG]),
    (START, 268, 'config', ['65536 KiB', '64 MiB']),
    (START, 269, 'config', ['vCPUs, 2 (CPUs 1,5)', '2 threads', 'multiple of 2']),
    (START, 270, 'internal', ['NE_START_ENCLAVE', BUG]),
    (VCPU, 271, 'config', ['does not exist', 'pool (CPUs 1-3,5-7)']),
    (CREATE, 272, 'resource', ['pool has no free CPU (CPUs 1-3,5-7)', 'ne_cpus']),
    (VCPU, 272, 'resource', ['pool (CPUs 1-3,5-7) has only 0 free', '2 vCPUs', 'ne_cpus']),
    (MEMORY, 273, 'config', ['2048 KiB', '<page size=>']),
    (START, 274, 'unsupported', ['NE_START_ENCLAVE', 'newer kernel']),
    (INFO, 274, 'unsupported', ['NE_GET_IMAGE_LOAD_INFO', 'newer kernel']),
    (START, 275, 'config', ["a CID of the hypervisor's choice", "auto='yes'"]),
    (CREATE, 'ENOMEM', 'resource', ['kernel or the Nitro Hypervisor has no memory', 'free memory']),
    (CREATE, 'EMFILE', 'resource', ['descriptor', 'limit']),
    (CREATE, 'ENFILE', 'resource', ['descriptor', 'file-max']),
    (MEMORY, 'ENOMEM', 'resource', ['65536 KiB', 'kernel or the Nitro Hypervisor has no memory',
                                    'free memory']),
    (MEMORY, 'EFAULT', 'resource', ['65536 KiB', 'hugetlb limits']),
    (START, 'ENOTTY', 'unsupported', ['not that of Nitro Enclaves', '/dev/nitro_enclaves']),
] + [
    (call, 'ETIMEDOUT', 'resource', [call, 'not answered'])
    for call in (CREATE, INFO, MEMORY, VCPU, START)
] + [
    # what the driver never returns by itself
    (call, number, 'device', [f'Hypervisor refused {call}: {text}: ', advice])
    for call, advice in ((CREATE, '4 enclaves at most'), (INFO, 'try again'),
                         (MEMORY, '65536 KiB (huge pages of 2048 KiB)'),
                         (VCPU, 'a CPU of the pool'), (START, "a CID of the hypervisor's choice"))
    for number, text in (('EPERM', 'Operation not permitted'), ('EACCES', 'Permission denied'),
                         ('EIO', 'Input/output error'), ('EEXIST', 'File exists'),
                         ('EAGAIN', 'Resource temporarily unavailable'),
                         ('EINVAL', 'Invalid argument'), ('EBUSY', 'Device or resource busy'),
                         ('ENODEV', 'No such device'))
]


class ErrorTest(DeviceCase):
    """Each error of each call is one sentence that says what to do."""

    def number(self, err):
        return getattr(errno, err) if isinstance(err, str) else err

    def failure(self, call, err):
        """The failure when @call always fails with @err."""
        self.mock.fault(call, errno=err, times=0)
        client = self.run_device(self.path('eif'))
        failure = client.event('failed')
        self.assertIsNone(client.line())
        self.assertEqual(2, self.process.wait(SHORT))
        self.mock.wait_closed()
        return failure

    def test_table(self):
        self.eif()
        sentences = []
        for call, err, code, texts in ERRORS:
            with self.subTest((call, err)):
                self.mock.configure(faults=[])
                failure = self.failure(call, err)
                sentences.append(f'{call} {err}: {code}: {failure["text"]}\n')
                self.assertEqual((code, call, self.number(err)),
                                 (failure['code'], failure['ioctl'], failure['errno']))
                for text in texts:
                    self.assertIn(text, failure['text'])
                self.assertNotRegex(failure['text'], r'[{}\n]|Unknown error')
        compare_data(self, 'errors.txt', ''.join(sentences))

    def test_every_number(self):
        """The table above has all of the driver's numbers."""
        self.assertEqual(set(range(256, 276)), {err for _, err, *_ in ERRORS
                                                if isinstance(err, int)})

    def test_hypervisor(self):
        """A number of its own: told as it is, and never an internal error. neerrortest has all."""
        self.eif()
        for err, text in ((errno.EL2HLT, 'Level 2 halted'), (300, '300')):
            self.mock.configure(faults=[])
            failure = self.failure(START, err)
            self.assertEqual('device', failure['code'])
            self.assertRegex(failure['text'], f'refused {START}: .*{text}: ')

    def test_wrong_ids(self):
        """What the driver itself says to ids that cannot be had"""
        image = self.eif()[0]
        for cpus, code, texts in (('4,1', 'resource', ['CPU 4 cannot be had']),
                                  ('100', 'config', ['CPU 100 does not exist']),
                                  ('1', 'config', ['CPUs 1', 'whole cores'])):
            with self.subTest(cpus):
                client = self.run_device(image, vcpus=('--cpus', cpus))
                self.assert_failed(client, code, *texts)

    def test_odd_count(self):
        client = self.run_device(self.eif()[0], vcpus=('--vcpus', '3'))
        self.assert_failed(client, 'config', 'vCPUs, 3 (CPUs 1,5,2)', 'multiple of 2')

    def test_small_pool(self):
        client = self.run_device(self.eif()[0], vcpus=('--vcpus', '8'))
        self.assert_failed(client, 'resource', 'pool (CPUs 1-3,5-7) has only 6 free', '8 vCPUs')


class EmptyPoolTest(DeviceCase):
    MOCK = {'pool': ''}

    def test_empty(self):
        """Nothing is waited for that cannot come."""
        begin = time.monotonic()
        client = self.run_device(self.eif()[0])
        self.assert_failed(client, 'resource', 'it is empty', 'ne_cpus', 'CPU 0')
        self.assertEqual(1, len(self.calls()))
        self.assertLess(time.monotonic() - begin, SHORT)


class TransientTest(DeviceCase):
    """What an enclave that has just ended has not given back yet is waited for."""

    CASES = [(CREATE, 272), (CREATE, 'EBUSY'), (CREATE, 'EINVAL'), (VCPU, 272), (VCPU, 257),
             (VCPU, 'EBUSY'), (START, 'EBUSY'), (INFO, 'EINTR')]

    def test_recovers(self):
        image = self.eif()[0]
        for call, err in self.CASES:
            with self.subTest((call, err)):
                self.mock.fault(call, errno=err, times=3)
                client = self.run_device(image)
                client.event('booted')
                self.terminate(client)
                self.mock.wait_closed()

    def test_memory(self):
        """A refused region is not given again: the driver would say that it has it already."""
        self.mock.fault(MEMORY, errno='EBUSY', hypervisor=True)
        client = self.run_device(self.eif()[0])
        failure = client.event('failed')
        self.process.wait(SHORT)
        self.assertEqual(('device', errno.EBUSY), (failure['code'], failure['errno']))
        self.assertEqual(1, len([line for line in self.calls() if MEMORY in line]))

    def test_ends(self):
        """But not for ever: three seconds."""
        image = self.eif()[0]
        self.mock.fault(CREATE, errno=272, times=0)
        begin = time.monotonic()
        self.assert_failed(self.run_device(image), 'resource', 'no free CPU')
        self.assertGreaterEqual(time.monotonic() - begin, 2.5)
        self.assertLess(len(self.calls()), 70)

    def test_terminate_meanwhile(self):
        self.mock.fault(CREATE, errno=272, times=0)
        client = self.run_device(self.eif()[0])
        wait_for(lambda: len(self.calls()) > 2)
        self.terminate(client)

    def test_next_enclave(self):
        """The whole pool and all pages again, right after the end of the last one"""
        image = self.eif()[0]
        for _ in range(10):
            client = self.run_device(image, vcpus=('--vcpus', '6'), memory=128 * MIB)
            client.event('booted')
            self.terminate(client)


class EndTest(DeviceCase):
    """However an enclave ends, nothing is left."""

    PAGES = 128

    def test_poweroff(self):
        client = self.run_device(self.eif()[0])
        client.event('booted')
        self.mock.end(self.mock.enclaves()[0]['number'])
        self.assert_exited(client, 'poweroff')

    def test_terminate(self):
        client = self.run_device(self.eif()[0])
        client.event('booted')
        self.terminate(client)

    def test_signal(self):
        client = self.run_device(self.eif()[0])
        client.event('booted')
        self.process.send_signal(signal.SIGTERM)
        self.assert_exited(client, 'terminated')

    def test_kill(self):
        client = self.run_device(self.eif()[0])
        client.event('booted')
        self.process.kill()
        self.process.wait(SHORT)
        client.rest()
        self.mock.wait_closed()

    def test_terminate_in_each_phase(self):
        """A call that hangs keeps neither the control socket nor the end."""
        image = self.eif()[0]
        for call in (CREATE, INFO, MEMORY, VCPU, START):
            with self.subTest(call):
                self.mock.configure(faults=[])
                self.mock.fault(call, hang=1)
                before = len(self.mock.transcript())
                client = self.run_device(image)
                client.send(command='query-status', id=1)
                self.assertIn(client.reply(1)['return']['phase'], ('image', 'prepare'))
                self.terminate(client)
                self.mock.wait_closed()
                self.assertFalse([line for line in self.mock.transcript()[before:]
                                  if 'NE_START' in line and call != START])

    def test_terminate_while_loading(self):
        """The end is told when the enclave's slot and memory are free again, not before."""
        self.mock.fault(INFO, hang=2)
        client = self.run_device(self.eif()[0])
        wait_for(self.mock.enclaves)
        time.sleep(0.4) # the next call is under way
        begin = time.monotonic()
        client.send(command='terminate', id=1)
        client.event('exited')
        self.assertGreater(time.monotonic() - begin, 1)
        client.rest()

    def test_loading_hangs(self):
        """But not for ever: two seconds."""
        self.mock.fault(INFO, hang=20)
        client = self.run_device(self.eif()[0])
        wait_for(self.mock.enclaves)
        begin = time.monotonic()
        self.terminate(client)
        self.assertLess(time.monotonic() - begin, 5)
        self.mock.wait_closed(60)

    def test_hypervisor_hangs(self):
        """The end is told in time although the call never returns."""
        self.mock.fault(START, hang=20)
        client = self.run_device(self.eif()[0])
        wait_for(lambda: self.has_thread('start'))
        client.send(command='query-status', id=1)
        self.assertEqual('prepare', client.reply(1)['return']['phase'])
        begin = time.monotonic()
        client.send(command='terminate', id=2)
        self.assertEqual({'reason': 'terminated'}, client.event('exited'))
        self.assertLess(time.monotonic() - begin, 10)
        self.process.wait(SHORT)
        self.process = None
        self.mock.wait_closed(60)

    def test_kill_in_each_phase(self):
        image = self.eif()[0]
        for call in (CREATE, INFO, MEMORY, VCPU, START):
            with self.subTest(call):
                self.mock.configure(faults=[])
                self.mock.fault(call, hang=0.5)
                client = self.run_device(image)
                client.send(command='query-status', id=1)
                client.reply(1)
                self.process.kill()
                self.process.wait(SHORT)
                client.rest()
                self.mock.wait_closed()

    def test_one_descriptor(self):
        """Nobody but the helper has the enclave, and its memory is not mapped any more."""
        client = self.run_device(self.eif()[0])
        client.event('booted')
        targets = [os.readlink(f'/proc/{self.process.pid}/fd/{fd}')
                   for fd in os.listdir(f'/proc/{self.process.pid}/fd')]
        self.assertFalse([target for target in targets if 'enclave-memory' in target])
        self.assertEqual([self.process.pid], processes(self.uuid))
        with open(f'/proc/{self.process.pid}/maps', encoding='ascii') as f:
            self.assertNotIn('enclave-memory', f.read())
        self.terminate(client)


class BrokerTest(DeviceCase):
    """The connection with the heartbeat broker, which the test plays"""

    GREETING = {'libvirt-nitro-broker': {'protocol': 1}}
    TIMEOUT = 60

    def run_broker(self, timeout=TIMEOUT):
        """Starts the helper; returns its client and the broker's end of the connection."""
        ours, theirs = socket.socketpair()
        self.clients.append(ours) # closed at the end
        ours.settimeout(SHORT)
        with theirs:
            client = self.run_device(self.eif()[0], '--broker-fd', str(theirs.fileno()),
                                     '--heartbeat-timeout', str(timeout), heartbeat=None,
                                     fds=[theirs.fileno()])
        return client, ours

    def say(self, broker, *messages):
        for message in messages:
            broker.sendall(json.dumps(message).encode() + b'\n')

    def assert_left(self, broker):
        self.assertEqual(b'', broker.recv(1))

    def test_greets_late(self):
        """All that comes before the enclave's start is done meanwhile."""
        client, broker = self.run_broker()
        wait_for(lambda: len([line for line in self.calls() if VCPU in line]) == 2)
        time.sleep(1)
        self.assertFalse([line for line in self.calls() if START in line])
        self.say(broker, self.GREETING, {'event': 'listening'})
        line = json.loads(broker.makefile().readline())
        self.assertEqual({'command': 'expect', 'cid': 16, 'timeout': self.TIMEOUT}, line)
        self.say(broker, {'event': 'heartbeat', 'cid': 16})
        client.event('booted')
        # the port is for others: the enclave has booted
        self.assert_left(broker)
        self.terminate(client)

    def test_never_greets(self):
        client, broker = self.run_broker(timeout=1)
        self.assert_failed(client, 'timeout', 'broker', 'not answered in 1 seconds', 'timeout=')
        self.assert_left(broker)

    def test_busy_for_good(self):
        """A broker that answers is not blamed."""
        client, broker = self.run_broker(timeout=1)
        self.say(broker, self.GREETING, {'event': 'port-busy', 'errno': errno.EADDRINUSE})
        self.assert_failed(client, 'resource', 'Port 9000', 'for 1 seconds')
        self.assert_left(broker)

    def test_ends(self):
        for messages, text in (([], 'before it had answered'),
                               ([self.GREETING], 'before the enclave had booted'),
                               ([self.GREETING, {'event': 'listening'}], 'had booted')):
            with self.subTest(messages):
                client, broker = self.run_broker()
                self.say(broker, *messages)
                broker.close()
                self.assert_failed(client, 'internal', 'broker', text, 'again')

    def test_left_at_once(self):
        """The port is for others as soon as the start fails, though the enclave takes its time."""
        client, broker = self.run_broker()
        self.mock.fault(START, hang=20)
        self.say(broker, self.GREETING, {'event': 'listening'})
        wait_for(lambda: self.has_thread('start'))
        client.send(command='terminate', id=1)
        broker.settimeout(1.5) # half of what the end takes
        self.assert_left(broker)
        self.assertEqual({'reason': 'terminated'}, client.event('exited'))
        self.process.wait(SHORT)
        self.process = None
        self.mock.wait_closed(60)


class DescriptorTest(DeviceCase):
    """What is not needed any more is closed."""

    def targets(self):
        return [os.readlink(f'/proc/{self.process.pid}/fd/{fd}')
                for fd in os.listdir(f'/proc/{self.process.pid}/fd')]

    def test_image_and_device(self):
        """The device after its first call, the image once it has been measured"""
        path, _ = self.eif()
        client = self.run_device(path)
        client.event('booted')
        self.assertNotIn(str(DEVICE_FD), os.listdir(f'/proc/{self.process.pid}/fd'))

        def measured():
            client.send(command='query-measurements', id=7)
            return 'return' in client.reply(7)
        wait_for(measured)
        self.assertNotIn(path, self.targets())
        self.terminate(client)

    def test_expected(self):
        """The image that was measured before the start"""
        image = eifwriter.simple(kernel=os.urandom(1000))
        path = image.write(self.path('eif'))
        client = self.run_device(path, '--expect-pcr', f'0={image.pcrs()[0]}')
        client.event('booted')
        self.assertNotIn(path, self.targets())
        self.terminate(client)


class ManyTest(DeviceCase):
    """Enclaves come and go, four at a time, and everything is as it was."""

    PAGES = 4 * 32
    MOCK = {'cpus': 16, 'pool': '1-7,9-15'}
    ROUNDS = int(os.environ.get('DEVICETEST_ROUNDS', '100'))

    def round(self, number, image):
        """One enclave from its start to its end; returns its last event."""
        path = self.path(f'control{number}')
        with socket.socket(socket.AF_UNIX) as listener, open(image, 'rb') as image_file, \
                open(self.log_path, 'ab') as log:
            listener.bind(path)
            listener.listen(1)
            client = helpercase.Client(path)
            process = subprocess.Popen(
                [*OPEN_DEVICE, HELPER, '--name', 'many', '--uuid', self.uuid,
                 '--machine', 'nitro', '--control-fd', str(listener.fileno()),
                 '--device-fd', str(DEVICE_FD), '--image-fd', str(image_file.fileno()),
                 '--memory', str(64 * MIB), '--vcpus', '2', '--no-heartbeat'],
                stdin=subprocess.DEVNULL, stderr=log,
                env=dict(os.environ, **self.mock.environment(HELPER)),
                pass_fds=[listener.fileno(), image_file.fileno()])
        try:
            while (message := client.line(60)) is not None:
                if message.get('event') == 'booted':
                    if number % 5 == 4:
                        process.kill()
                    else:
                        client.send(command='terminate', id=1)
                elif message.get('event') in ('exited', 'failed'):
                    return message['data']
            return {'reason': 'killed'}
        finally:
            client.close()
            process.wait(SHORT)
            os.unlink(path)

    def test_rounds(self):
        image, _ = self.eif(65536)
        alone = nitrodevmock.HugePages.users() == 1
        free = pages('free')
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(lambda n: self.round(n, image), range(self.ROUNDS)))
        bad = [end for end in ends if end.get('reason') not in ('terminated', 'killed')]
        self.assertEqual([], bad)
        self.mock.wait_closed()
        self.assertEqual([], processes(self.uuid))
        # what other tests use meanwhile cannot be told from what was left in use here
        if alone:
            wait_for(lambda: pages('free') == free or nitrodevmock.HugePages.users() > 1)
        self.assertEqual(self.fds_before, set(os.listdir('/proc/self/fd')))
        self.assertEqual({'eif', 'log'}, set(os.listdir(self.dir)))


if __name__ == '__main__':
    taprunner.main()
