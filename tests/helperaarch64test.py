# helperaarch64test.py: libvirt_nitro with the emulated machine of aarch64
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What differs from x86_64, with kernels made by tinyguest.py that run on any host. A real one
# is in e2e/test_aarch64.py.

import gzip
import os
import pty
import select
import shutil
import time

import eifwriter
import helpercase
import taprunner
import tinyguest
from helpercase import LONG, MIB

ARCH = ('--arch', 'aarch64')
FOREIGN = os.uname().machine != 'aarch64'


class Aarch64Case(helpercase.HelperCase):
    def launch(self, content, *extra, **more):
        return self.start(self.path('image', content), *ARCH, *extra, **more)


class BootTest(Aarch64Case):
    """Kernels that run"""

    def setUp(self):
        super().setUp()
        if not shutil.which('qemu-system-aarch64'):
            shutil.rmtree(self.dir)
            self.skipTest('there is no qemu-system-aarch64')

    def boot(self, content, *extra, **more):
        """Boots @content, whose console is read into self.console once it has ended."""
        path = self.path('console')
        console = self.fd(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        client = self.launch(content, '--console-type', 'file', '--console-fd', str(console),
                             *extra, fds=[console], **more)
        client.event('booted', LONG)
        return client

    def console(self):
        with open(self.path('console'), 'rb') as console:
            return console.read()

    def test_forms(self):
        """What is booted of a compressed kernel is what is in it, measured is what is there"""
        for name, pack in (('Image', bytes), ('Image.gz', gzip.compress),
                           ('zboot', tinyguest.zboot)):
            text = f'this is {name}\r\n'.encode()
            content = pack(tinyguest.aarch64_kernel(text, tinyguest.AARCH64_POWEROFF))
            image = eifwriter.simple(kernel=content, cmdline=b'', ramdisks=(b'',), flags=1)
            for kind, data in (('kernel', content), ('EIF', image.to_bytes())):
                for expected in ((), ('--expect-pcr', f'0={image.pcrs()[0]}')):
                    with self.subTest(name, kind=kind, expected=expected):
                        client = self.boot(data, *expected)
                        self.assert_exited(client, 'poweroff', LONG)
                        self.assertEqual(self.console(), text)
            with self.subTest(name, measured='later'):
                content = pack(tinyguest.aarch64_kernel(b''))
                image = eifwriter.simple(kernel=content, cmdline=b'', ramdisks=(b'',))
                client = self.boot(content)
                self.assertEqual(image.pcrs()[0], self.query_measurements(client)['pcr0'])
                client.send(command='terminate', id=1)
                self.assert_exited(client, 'terminated')

    def test_reset(self):
        for text, reason in ((b'', 'reboot'), (b'Kernel panic - not syncing: x\r\n', 'panic')):
            client = self.boot(tinyguest.aarch64_kernel(text, tinyguest.AARCH64_RESET))
            self.assert_exited(client, reason, LONG)

    def test_most_vcpus(self):
        """More than the eight of an older interrupt controller"""
        client = self.boot(tinyguest.aarch64_kernel(b'many\r\n', tinyguest.AARCH64_POWEROFF),
                           '--cid', '5', vcpus=('--vcpus', '255'))
        self.assert_exited(client, 'poweroff', LONG)
        self.assertEqual(self.console(), b'many\r\n')

    def test_auto(self):
        """KVM is only for guests of the host's architecture"""
        client = self.boot(tinyguest.aarch64_kernel(b'', tinyguest.AARCH64_HANG), accel='auto')
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')
        if FOREIGN:
            self.assertIn('accelerator tcg', self.log())

    def test_pty(self):
        master, slave = pty.openpty()
        self.open.append(slave)
        client = self.launch(tinyguest.aarch64_kernel(b'on a pty\r\n'), '--console-type', 'pty',
                             '--console-fd', str(master), fds=[master])
        os.close(master)
        client.event('booted', LONG)
        data = b''
        end = time.monotonic() + LONG
        while b'on a pty' not in data:
            self.assertLess(time.monotonic(), end)
            if select.select([slave], [], [], 1)[0]:
                data += os.read(slave, 4096)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')


class RefusalTest(Aarch64Case):
    """What does not boot, and why"""

    def test_architecture(self):
        x86 = tinyguest.kernel(b'')
        arm = tinyguest.aarch64_kernel(b'')
        for content in (x86, eifwriter.simple(kernel=x86).to_bytes()):
            self.assert_failed(self.launch(content), 'image',
                               "The image is for x86_64, but the domain's arch is aarch64: change "
                               "the arch of <type>, or build the image for aarch64")
        for content in (arm, tinyguest.zboot(arm), gzip.compress(arm),
                        eifwriter.simple(kernel=arm, flags=1).to_bytes()):
            client = self.start(self.path('image', content), '--arch', 'x86_64')
            self.assert_failed(client, 'image',
                               "The image is for aarch64, but the domain's arch is x86_64")

    def test_kernel(self):
        kernel = tinyguest.aarch64_kernel(b'')
        packed = gzip.compress(kernel)
        damaged = packed[:40] + bytes([packed[40] ^ 0xff]) + packed[41:]
        cases = {
            'x86 in it': (tinyguest.kernel(b''), 'is not a Linux kernel (Image)'),
            'short': (kernel[:40], 'is not a Linux kernel (Image)'),
            'old': (tinyguest.aarch64_kernel(b'', image_size=0), 
                    'older than Linux 3.17: build the image with a newer one'),
            'zstd': (tinyguest.zboot(kernel, b'zstd22'), "compressed with 'zstd22' (EFI zboot)"),
            'no text': (tinyguest.zboot(kernel, b'\x1b[1m'), "compressed with '?[1m'"),
            'unpacked': (gzip.compress(b'x' * 100000), 'is not a Linux kernel (Image)'),
            'damaged': (damaged, 'damaged'),
            'damaged zboot': (tinyguest.zboot(b'', payload=damaged), 'damaged'),
            'not gzip': (tinyguest.zboot(b'', payload=b'x' * 4000), None),
            'short gzip': (tinyguest.zboot(b'', payload=packed[:10]), 'damaged'),
            'no payload': (tinyguest.zboot(b'', payload=b''), 'EFI zboot'),
            'cut': (tinyguest.zboot(kernel)[:100], 'EFI zboot'),
            'size': (packed[:-4] + b'\0\0\0\0', 'damaged'),
        }
        for name, (content, text) in cases.items():
            with self.subTest(name):
                client = self.launch(eifwriter.simple(kernel=content, flags=1).to_bytes())
                if text:
                    self.assert_failed(client, 'image', text)
                else:
                    self.assert_failed(client, 'config', 'Memory of')

    def test_memory(self):
        self.assert_failed(self.launch(tinyguest.aarch64_kernel(b'', image_size=60 * MIB)),
                           'config', 'need at least 69632 KiB')
        self.assert_failed(self.launch(tinyguest.aarch64_kernel(b'', image_size=(1 << 64) - 1)),
                           'config', 'Memory of 65536 KiB is too small')
        # what is packed is not unpacked when it has no room
        self.assert_failed(self.launch(gzip.compress(bytes(80 * MIB))), 'config',
                           'need at least 90112 KiB')

    def test_command_line(self):
        kernel = self.path('kernel', tinyguest.aarch64_kernel(b''))
        self.assert_failed(self.start(kernel, *ARCH, '--cmdline', 'a' * 2048), 'image',
                           '2048 bytes', 'no more than 2047')
        self.assert_failed(self.start(kernel, *ARCH, '--cmdline', 'a' * 2032), 'image',
                           '2032 bytes', "16 more are needed for 'console=ttyAMA0'")

    def test_no_qemu(self):
        client = self.start(self.path('kernel', tinyguest.aarch64_kernel(b'')), *ARCH,
                            env={'PATH': self.dir})
        self.assert_failed(client, 'unsupported', 'there is no qemu-system-aarch64 in PATH')


if __name__ == '__main__':
    taprunner.main()
