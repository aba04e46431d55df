#
# quicktest.py: what tests share that need many enclaves, or quick ones
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
QuickTest is an EnclaveTest whose domains have tests/quickhelper.c as their <emulator>: it
speaks as the helper does, and has no enclave, so that a start takes some milliseconds. The
daemon runs with tests/faultmock.c: self.mock.
"""

import os
import shutil
import sys

import daemon
from daemon import wait_until
from e2etest import EnclaveTest, boot_kernel, libvirt, quick_xml
from faultmock import FaultMock

QUICKHELPER = os.path.join(daemon.BUILD, "tests", "quickhelper")


class QuickTest(EnclaveTest):
    """See the comment at the top of the file."""

    @classmethod
    def daemon_environment(cls):
        cls.mock = FaultMock(os.path.join(cls.daemon.dir, "faults"))
        directory = os.path.join(cls.daemon.dir, "quick")
        os.mkdir(directory, 0o755)
        # the name is that of the process, by which tests know a helper
        cls.emulator = shutil.copy(QUICKHELPER,
                                   os.path.join(directory, os.path.basename(daemon.HELPER)))
        return cls.mock.environment()

    @classmethod
    def xml(cls, name, *words, devices="", **kwargs):
        """Returns the definition of the domain @name; @words: see tests/quickhelper.c."""
        return quick_xml(name, boot=boot_kernel(*words), **kwargs,
                         devices=f"<emulator>{cls.emulator}</emulator>{devices}")

    @property
    def run_top(self):
        return os.path.join(self.daemon.state_dir, "nitro", "run")

    def status_file(self, name):
        return os.path.join(self.run_top, f"{name}.xml")

    def run_dir(self, dom):
        return os.path.join(self.run_top, f"domain-{dom.ID()}-{dom.name()}")

    def log(self):
        with open(self.daemon.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    @classmethod
    def helpers(cls):
        """Returns {UUID: [PID of each of its helpers]} of the helpers that live."""
        found = {}
        for pid, name in cls.living().items():
            if name != os.path.basename(daemon.HELPER):
                continue
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as cmdline:
                    args = cmdline.read().split("\0")
            except OSError:
                continue
            # one that ends has no arguments any more
            if "--uuid" in args:
                found.setdefault(args[args.index("--uuid") + 1], []).append(pid)
        return found

    def wait_known(self, expected, seconds=20):
        """
        Waits until the domains {name: (id, PID of the helper)} @expected run as they did, and
        the daemon speaks with their helpers.
        """
        def known():
            for name, (number, _) in expected.items():
                dom = self.conn.lookupByName(name)
                if (dom.ID() != number or dom.state()[0] != libvirt.VIR_DOMAIN_RUNNING or
                        dom.controlInfo()[0] != libvirt.VIR_DOMAIN_CONTROL_OK):
                    return False
            return True

        self.assertEqual(self.survivors(expected), expected)
        wait_until(known, seconds, f"the domains {', '.join(expected)}")
        self.assertEqual(self.survivors(expected), expected)

    def survivors(self, expected):
        """Returns those of @expected, as in wait_known(), whose helper lives."""
        living = self.living()
        return {name: one for name, one in expected.items() if one[1] in living}


if __name__ == "__main__":
    sys.exit("quicktest.py is a module: see test_injected.py")
