# helperlinuxtest.py: libvirt_nitro with a real kernel
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What helpertest.py has kernels of tinyguest.py do, and some that these cannot. Without
# HELLO_KERNEL, HELLO_INITRD and HELLO_EIF (examples/hello) the tests are skipped.
#
# HELPERLINUXTEST_BOOTS: how often kernels boot that cannot be told the frequency of their
# clock; with more than one of them the host is kept busy meanwhile.

import os
import pty
import re
import select
import shutil
import subprocess
import time

import taprunner
import tinyguest
from helpercase import LONG, MIB, HelperCase

QEMU = shutil.which('qemu-system-x86_64')

HELLO_CMDLINE = 'console=ttyS0 reboot=t panic=-1 random.trust_cpu=on'
HELLO_SEED = 271828  # in hello.eif; its init prints the square plus one


BOOTS = int(os.environ.get('HELPERLINUXTEST_BOOTS', '1'))


class LinuxCase(HelperCase):
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

    def launch(self, cmdline, *extra, kernel=None, initrd=None, accel='tcg', vcpus='1',
               heartbeat='--no-heartbeat'):
        console = self.fd(self.path('console'), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        initrd = self.fd(initrd or os.environ['HELLO_INITRD'])
        return self.start(kernel or os.environ['HELLO_KERNEL'], '--initrd-fd', str(initrd),
                          '--cmdline', cmdline, '--console-type', 'file', '--console-fd',
                          str(console), *extra, memory=256 * MIB, fds=[initrd, console],
                          accel=accel, vcpus=('--vcpus', vcpus), heartbeat=heartbeat)

    def boot(self, action, *extra, cmdline=HELLO_CMDLINE, **more):
        client = self.launch(f'{cmdline} hello.heartbeat=no hello.seed=99 hello.action={action}',
                             *extra, **more)
        client.event('booted')
        return client

    def console(self):
        with open(self.path('console'), encoding='utf-8', errors='replace') as f:
            return f.read()


class LinuxTest(LinuxCase):
    """Starts and ends"""

    def test_ends(self):
        for action, reason in (('poweroff', 'poweroff'), ('reboot', 'reboot'), ('panic', 'panic'),
                               ('exit', 'panic')):
            with self.subTest(action):
                client = self.boot(action)
                self.assert_exited(client, reason, LONG)
                self.assertIn('9802', self.console())  # 99 * 99 + 1

    def test_without_namespaces(self):
        """QEMU with the filters that stand in for them: its threads have signals of their own"""
        client = self.boot('poweroff', '--without', 'namespaces,qemu-namespaces', vcpus='2')
        self.assert_exited(client, 'poweroff', LONG)
        self.assertIn('9802', self.console())

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

    def test_reboot_by_keyboard(self):
        """reboot=k, as AWS's command line says, ends the machine at once."""
        for action, reason in (('reboot', 'reboot'), ('exit', 'panic')):
            with self.subTest(action):
                client = self.boot(action, cmdline='console=ttyS0 panic=-1 reboot=k')
                end = time.monotonic() + LONG
                while 'check number' not in self.console():
                    self.assertLess(time.monotonic(), end, self.console()[-1000:])
                    time.sleep(0.01)
                begin = time.monotonic()
                self.assert_exited(client, reason)
                self.assertLess(time.monotonic() - begin, 2)

    def test_without_vsock(self):
        """A kernel that finds no vsock device: refused when its init ends, with the reason."""
        with open(os.environ['HELLO_INITRD'], 'rb') as f:
            data = f.read()
        # the init loads no modules without their list, the archive's member of this name
        data, count = re.subn(rb'(?<!/)(lib/modules/load)-order\0', rb'\1-never\0', data)
        self.assertEqual(1, count)
        initrd = self.path('initrd', data)
        client = self.launch('console=ttyS0 reboot=k panic=30', '--cid', '4', initrd=initrd,
                             heartbeat=None)
        client.event('started')
        failure = client.event('failed', LONG)
        console = self.console()
        self.assertIn('Rebooting in 30 seconds', console)
        self.assertNotIn('machine restart', console)
        self.assertEqual('guest', failure['code'])
        self.assertIn('has not started its vsock device', failure['text'])
        self.assertIn('CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES', failure['text'])
        self.assertEqual(2, self.process.wait(LONG))


class ClockTest(LinuxCase):
    """
    Kernels that cannot be told the frequency of their clock, which under TCG they measure
    wrongly when the host is busy. They boot each time, with their vsock.
    """

    def setUp(self):
        super().setUp()
        self.busy = []
        if BOOTS > 1:
            self.busy = [subprocess.Popen(['sh', '-c', 'while :; do :; done'])
                         for _ in range(2 * os.cpu_count())]

    def tearDown(self):
        for process in self.busy:
            process.kill()
            process.wait()
        super().tearDown()

    def boot_often(self, kernel, cmdline):
        times = []
        for number in range(BOOTS):
            begin = time.monotonic()
            client = self.launch(cmdline, '--cid', '4', kernel=kernel, heartbeat=None)
            try:
                client.event('booted', LONG)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f'boot {number + 1} of {BOOTS}: {error}: '
                                     f'{self.console()[-1000:]}') from error
            times.append(time.monotonic() - begin)
            client.send(command='terminate', id=1)
            self.assert_exited(client, 'terminated', LONG)
        print(f'# {len(times)} boots, {min(times):.1f} to {max(times):.1f} s')

    def test_old_kernel(self):
        """It calls itself Linux 4.14: what is new since is not relied on."""
        with open(os.environ['HELLO_KERNEL'], 'rb') as f:
            old = tinyguest.with_linux_version(f.read(), '4.14.336-1.amzn2.x86_64')
        self.boot_often(self.path('kernel', old), HELLO_CMDLINE)
        self.assertNotIn('tsc_early_khz', self.console())

    def test_long_command_line(self):
        self.boot_often(None, HELLO_CMDLINE + ' ' + 'x' * (2030 - len(HELLO_CMDLINE)))
        self.assertNotIn('tsc_early_khz', self.console())


if __name__ == '__main__':
    taprunner.main()
