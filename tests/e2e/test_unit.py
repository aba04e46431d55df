#
# test_unit.py: enclaves under the settings of virtnitrod.service
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon of the system, and so its helpers and QEMU, with the capabilities, the filters of system
calls and the read-only directories of the unit, as tests/systemdunit.py does them.
"""

import os
import stat
import sys

import daemon
import systemdunit
import taprunner
from e2etest import BOOTED, RUNNING, EnclaveTest, domain_xml
from daemon import BUILD, HELLO_BANNER

UNIT = os.path.join(BUILD, "src/nitro/virtnitrod.service")

outside = None


class Unit(EnclaveTest):
    system = True

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            cls.skipTest(cls, "a system's daemon needs root")
        if outside:
            cls.skipTest(cls, f"no private file system: {outside}")
        super().setUpClass()

    @classmethod
    def before_start(cls):
        # by which the sanitizers look for leaks
        more = ["--allow", "ptrace"] if "NITRO_TEST_SANITIZED" in os.environ else []
        cls.daemon.prefix = [sys.executable, systemdunit.__file__, *more, UNIT,
                             *cls.daemon.prefix]

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


if __name__ == "__main__":
    try:
        daemon.enter_private_system()
    except OSError as error:
        outside = str(error)
    taprunner.main()
