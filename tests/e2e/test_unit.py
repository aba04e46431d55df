#
# test_unit.py: enclaves under the settings of virtnitrod.service
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon of the system, and so its helpers and QEMU, with the limits, the capabilities, the filters
of system calls and the read-only directories of the unit, as tests/systemdunit.py does them.
"""

import os
import resource
import stat
import subprocess
import sys

import daemon
import systemdunit
import taprunner
from daemon import BUILD, HELLO_BANNER, wait_until
from e2etest import BOOTED, RUNNING, EnclaveTest, boot_kernel, domain_xml, libvirt
from quicktest import QuickTest
from vsockclient import VsockClient

UNIT = os.path.join(BUILD, "src/nitro/virtnitrod.service")

# What systemd gives a service whose unit says nothing: the soft limit of DefaultLimitNOFILE=
# in systemd-system.conf(5)
USUAL_DESCRIPTORS = 1024
# With that no more than these could run, as each costs the daemon two
USUAL_ENCLAVES = USUAL_DESCRIPTORS // 2
# So many tell what one costs
SOME = 20


class UnitTest(EnclaveTest):
    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    @classmethod
    def before_start(cls):
        # by which the sanitizers look for leaks
        more = ["--allow", "ptrace"] if "NITRO_TEST_SANITIZED" in os.environ else []
        cls.daemon.prefix = [sys.executable, systemdunit.__file__, *more, UNIT,
                             *cls.daemon.prefix]


class Unit(UnitTest):
    """All that a daemon does"""

    @staticmethod
    def status(pid):
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file)

    def test_settings_are_there(self):
        """What the other tests run under"""
        status = self.status(self.daemon.process.pid)
        unit = systemdunit.Unit(UNIT)
        self.assertEqual(int(status["CapBnd"], 16),
                         sum(1 << number for number in unit.capabilities()))
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertGreaterEqual(int(status["Seccomp_filters"]), 2)

    def test_boot(self):
        """An enclave boots, writes to its console and is ended; definitions are kept"""
        path, console = self.console_file()
        dom = self.conn.defineXML(domain_xml("hello", devices=console))
        self.addCleanup(dom.undefine)
        dom.create()
        self.assertState(dom, RUNNING, BOOTED)
        self.wait_text(path, HELLO_BANNER)
        self.assertGreaterEqual(int(self.status(self.helper_of(dom))["Seccomp_filters"]), 2)
        dom.destroy()

    def test_console_of_a_user(self):
        """In a directory of a user's, to whom the file is given"""
        directory = self.path("home")
        os.mkdir(directory, 0o700)
        os.chown(directory, daemon.NOBODY, daemon.NOBODY)
        path = os.path.join(directory, "console")
        dom = self.conn.createXML(
            domain_xml("hello", devices=f"<console type='file'><source path='{path}'/></console>"),
            0)
        self.wait_text(path, HELLO_BANNER)
        owner = os.stat(path)
        self.assertEqual((owner.st_uid, stat.S_IMODE(owner.st_mode)), (daemon.NOBODY, 0o600))
        dom.destroy()

    def test_takeover(self):
        """A daemon that is restarted finds its enclave"""
        dom = self.conn.createXML(domain_xml("hello"), 0)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("hello")
        self.assertState(dom, RUNNING, BOOTED)
        dom.destroy()


class Many(UnitTest, QuickTest):
    """More descriptors than a service with the usual limit could have"""

    seconds = 300

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.prefix = ["prlimit", f"--nofile={USUAL_DESCRIPTORS}:", *cls.daemon.prefix]

    def test_limits(self):
        """Those of the unit, or in a container what it allows"""
        for number, limit in systemdunit.Unit(UNIT).limits().items():
            with self.subTest(number):
                soft, hard = resource.prlimit(self.daemon.process.pid, number)
                self.assertEqual(soft, hard)
                self.assertIn(hard, (limit, resource.getrlimit(number)[1]))

    def start_some(self):
        """Returns how many descriptors a running domain costs."""
        before = len(self.daemon.descriptors())
        for number in range(SOME):
            self.conn.createXML(self.xml(f"some-{number}"), 0)
        wait_until(lambda: (len(self.daemon.descriptors()) - before) % SOME == 0, 10,
                   "descriptors of the starts to be closed")
        return (len(self.daemon.descriptors()) - before) // SOME

    def test_many(self):
        """The limit is for more than usual, and more than usual are open when the last one starts"""
        cost = self.start_some()
        self.assertGreaterEqual(cost, 2)
        limit, _ = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE)
        # the other half is for clients
        room = limit // 2 // cost
        print(f"{cost} descriptors each: room for {room} domains", flush=True)
        self.assertGreater(room, USUAL_ENCLAVES)

        clients = [libvirt.open(self.daemon.uri) for _ in range(USUAL_DESCRIPTORS)]
        self.assertGreater(len(self.daemon.descriptors()), USUAL_DESCRIPTORS)
        dom = self.conn.createXML(self.xml("last"), 0)
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(len(clients[-1].listAllDomains()), SOME + 1)
        for client in clients:
            client.close()
        for dom in self.conn.listAllDomains():
            dom.destroy()


class NoAcl(UnitTest):
    """Where the file system has no access control lists, and set-group-ID bits are refused"""

    @classmethod
    def before_start(cls):
        super().before_start()
        state = "/run/libvirt/nitro"
        os.makedirs(state, exist_ok=True)
        subprocess.run(["mount", "-t", "ramfs", "ramfs", state], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", state], check=True)

    def test_vsock(self):
        """The enclave reaches a program of the host"""
        dom = self.conn.createXML(domain_xml("hello", boot_kernel()), 0)
        self.assertTrue([line for line in dom.messages() if "confined (acl)" in line])
        client = VsockClient.of(dom)
        with subprocess.Popen(["socat", f"UNIX-LISTEN:{client.path(1234)}", "EXEC:cat"]) as socat:
            wait_until(lambda: "vsock_1234" in os.listdir(client.directory), 10, "the socket")
            self.assertEqual(client.command("send 1234 hello"), "hello")
            socat.wait(10)
        self.processes.end("cat")
        dom.destroy()

    def test_mounted(self):
        """What is mounted in the directory is not emptied, and keeps nothing from being removed"""
        precious = self.path("precious")
        os.mkdir(precious)
        with open(os.path.join(precious, "file"), "w", encoding="ascii"):
            pass
        dom = self.conn.createXML(domain_xml("hello", boot_kernel()), 0)
        state = "/run/libvirt/nitro"
        where = os.path.join(VsockClient.of(dom).directory, "mounted")
        os.mkdir(where)
        subprocess.run(["mount", "--bind", precious, where], check=True)
        dom.destroy()
        wait_until(lambda: not [name for name in os.listdir(state)
                                if name.startswith(("domain-", "gone-"))], 10, "its end")
        self.assertEqual(os.listdir(precious), ["file"])


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
