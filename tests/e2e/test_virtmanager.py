#
# test_virtmanager.py: the distribution's virt-manager on enclaves
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
virt-manager, unchanged, on an X server without a screen. What it shows is read through
AT-SPI, as a screen reader does; that it has heard of a change by an event, and not by
looking again, is in its log. Screenshots are kept in tests/ of the build directory.
"""

import os
import subprocess
import unittest

import daemon
import taprunner
from daemon import BUILD, HELLO_BANNER, HELLO_EIF, WITH_US, wait_until
from desktop import Desktop
from e2etest import BOOT_SECONDS, EnclaveTest, boot_image, domain_xml

VIRT_MANAGER = "/usr/bin/virt-manager"

# package: one of its files
PACKAGES = {
    "virt-manager": VIRT_MANAGER,
    "xvfb": "/usr/bin/Xvfb",
    "dbus-daemon": "/usr/bin/dbus-daemon",
    "at-spi2-core": "/usr/libexec/at-spi2-registryd",
    "python3-pyatspi": "/usr/lib/python3/dist-packages/pyatspi/__init__.py",
}

# A start of GTK on a busy machine
SHOW_SECONDS = 60

# What it uses beside libvirt's directories; it would make a storage pool there
MORE_DIRS = ["/var/lib/libvirt"]


class VirtManager(EnclaveTest):
    """See the comment at the top of the file."""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        for package, path in PACKAGES.items():
            if not os.path.exists(path):
                raise unittest.SkipTest(f"{path} is not there: install {package}")
        super().setUpClass()

    def start_virt_manager(self, *args):
        self.log = os.path.join(self.daemon.dir, "virt-manager.log")
        self.desktop = Desktop(self.daemon.client_env, self.daemon.dir)
        # the accessibility bus starts services, which it does not end
        self.addCleanup(self.processes.end, "at-spi", "dbus-daemon")
        self.addCleanup(self.desktop.stop)
        with open(self.log, "wb") as log:
            manager = subprocess.Popen(
                WITH_US + [VIRT_MANAGER, "--no-fork", "--debug", "-c", self.daemon.uri, *args],
                env=self.desktop.env, cwd=self.daemon.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        self.addCleanup(manager.wait, 30)
        self.addCleanup(manager.terminate)

    def wait_shown(self, seconds=SHOW_SECONDS, **wanted):
        """Waits until an element with the members @wanted can be seen."""
        try:
            return wait_until(lambda: self.desktop.find(**wanted), seconds,
                              f"{wanted} on the screen")[0]
        except TimeoutError as error:
            with open(self.log, encoding="utf-8") as log:
                raise AssertionError(f"{error}: {log.read()[-6000:]}") from None

    def wait_log(self, text):
        self.wait_text(self.log, text, SHOW_SECONDS)

    def wait_terminal(self, text):
        """Waits until the terminal has @text."""
        wait_until(lambda: any(text in terminal["text"] for terminal in
                               self.desktop.find(role="terminal")),
                   BOOT_SECONDS, f"'{text}' in the terminal")

    def screenshot(self, name):
        self.desktop.screenshot(os.path.join(BUILD, "tests", name))

    def test_console(self):
        """it connects, lists, follows a start and an end by their events, shows the console"""
        dom = self.conn.defineXML(domain_xml("watched", boot_image(HELLO_EIF),
                                             devices="<console type='pty'/>"))
        self.start_virt_manager("--show-domain-console", "watched")
        self.wait_shown(role="frame", name="watched on nitro")
        self.wait_shown(role="label", name="Guest is not running.")
        self.wait_log("domain=watched status=Shutoff added")

        dom.create()
        self.wait_log("domain lifecycle event: domain=watched state=VIR_DOMAIN_EVENT_STARTED "
                      "reason=VIR_DOMAIN_EVENT_STARTED_BOOTED")
        self.wait_terminal(HELLO_BANNER)
        self.wait_shown(role="button", name="Shut Down", sensitive=True)
        self.screenshot("virt-manager-console.png")

        self.desktop.click("menu item", "View Manager")
        self.wait_shown(role="frame", name="Virtual Machine Manager")
        self.wait_shown(role="table cell", name="watched\nRunning")
        self.screenshot("virt-manager-list.png")

        dom.destroy()
        self.wait_log("domain lifecycle event: domain=watched state=VIR_DOMAIN_EVENT_STOPPED "
                      "reason=VIR_DOMAIN_EVENT_STOPPED_DESTROYED")
        self.wait_shown(role="table cell", name="watched\nShutoff")
        self.wait_shown(role="label", name="Guest is not running.")


if __name__ == "__main__":
    daemon.try_private_system(*MORE_DIRS)
    taprunner.main()
