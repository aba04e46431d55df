# helperlinuxtest.py: libvirt_nitro with a real kernel
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What helpertest.py has kernels of tinyguest.py do, and some that these cannot. Without
# HELLO_KERNEL, HELLO_INITRD and HELLO_EIF (examples/hello) the tests are skipped.

import os
import pty
import select
import shutil
import time

import taprunner
from helpercase import LONG, MIB, HelperCase

QEMU = shutil.which('qemu-system-x86_64')

HELLO_CMDLINE = 'console=ttyS0 reboot=t panic=-1 random.trust_cpu=on'
HELLO_SEED = 271828  # in hello.eif; its init prints the square plus one


class LinuxTest(HelperCase):
    """A real kernel with the init of examples/hello."""

    def setUp(self):
        super().setUp()
        for name in ('HELLO_KERNEL', 'HELLO_INITRD', 'HELLO_EIF'):
            if not os.path.exists(os.environ.get(name, '')):
                shutil.rmtree(self.dir)
                self.skipTest(f'{name} names no file')
        if not QEMU:
            shutil.rmtree(self.dir)
            self.skipTest('there is no qemu-system-x86_64')

    def boot(self, action, *extra, cmdline=HELLO_CMDLINE, accel='tcg', vcpus='1'):
        console = self.fd(self.path('console'), os.O_RDWR | os.O_CREAT)
        initrd = self.fd(os.environ['HELLO_INITRD'])
        client = self.start(os.environ['HELLO_KERNEL'], '--initrd-fd', str(initrd), '--cmdline',
                            f'{cmdline} hello.heartbeat=no hello.seed=99 hello.action={action}',
                            '--console-type', 'file', '--console-fd', str(console), *extra,
                            memory=256 * MIB, fds=[initrd, console], accel=accel,
                            vcpus=('--vcpus', vcpus))
        client.event('booted')
        return client

    def console(self):
        with open(self.path('console'), encoding='utf-8', errors='replace') as f:
            return f.read()

    def test_ends(self):
        for action, reason in (('poweroff', 'poweroff'), ('reboot', 'reboot'), ('panic', 'panic'),
                               ('exit', 'panic')):
            with self.subTest(action):
                client = self.boot(action)
                self.assert_exited(client, reason, LONG)
                self.assertIn('9802', self.console())  # 99 * 99 + 1

    def test_panic_without_restart(self):
        """panic=0: the kernel stops for good, which only its console tells."""
        client = self.boot('panic', cmdline='console=ttyS0 reboot=t')
        self.assert_exited(client, 'panic', LONG)

    def test_vcpus(self):
        client = self.boot('poweroff', vcpus='2')
        self.assert_exited(client, 'poweroff', LONG)
        self.assertIn('2 CPUs', self.console())

    def test_accel_auto(self):
        client = self.boot('poweroff', accel='auto')
        self.assert_exited(client, 'poweroff', LONG)

    def test_eif(self):
        master, slave = pty.openpty()
        self.open.append(slave)
        client = self.start(os.environ['HELLO_EIF'], '--console-type', 'pty', '--console-fd',
                            str(master), '--cid', '4', memory=256 * MIB, fds=[master],
                            heartbeat=None)
        os.close(master)
        client.event('booted')
        data = b''
        end = time.monotonic() + LONG
        while str(HELLO_SEED ** 2 + 1).encode() not in data:
            self.assertLess(time.monotonic(), end, data[-500:])
            if select.select([slave], [], [], 1)[0]:
                data += os.read(slave, 65536)
        self.assertIn(b'Linux version', data)
        client.send(command='terminate', id=1)
        self.assert_exited(client, 'terminated')


if __name__ == '__main__':
    taprunner.main()
