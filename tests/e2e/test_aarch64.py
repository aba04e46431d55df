#
# test_aarch64.py: emulated enclaves of aarch64, on any host
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The sample enclave for aarch64, with a real kernel. One boot is for as many cases as it can be:
emulation takes seconds.
"""

import os
import xml.etree.ElementTree as ElementTree

import taprunner
from daemon import HELLO_AARCH64, HELLO_BANNER, HELLO_DIR, HELLO_EIF, HELLO_KERNEL, wait_until
from e2etest import (BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED, EnclaveTest, banner, boot_image,
                     domain_xml, libvirt)
from vsockclient import COMMANDS, ECHO, VsockClient, receive_all, receive_line

EIF = os.path.join(HELLO_DIR, f"hello{HELLO_AARCH64}.eif")
KERNEL = os.path.join(HELLO_DIR, f"hello-kernel{HELLO_AARCH64}")
INITRD = os.path.join(HELLO_DIR, f"hello-initrd{HELLO_AARCH64}")
FOREIGN = os.uname().machine != "aarch64"

CONFIG_UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED


class Aarch64(EnclaveTest):
    """Enclaves that boot"""

    def assertEchoes(self, client):
        """The vsock carries a MiB in both directions, of the host's connection and of its own"""
        data = os.urandom(1 << 20)
        with client.connect(ECHO) as conn:
            conn.sendall(data)
            conn.shutdown(1)
            self.assertTrue(receive_all(conn) == data)
        with client.listen(65000) as listener, client.connect(COMMANDS) as commands:
            commands.sendall(b"echo 65000\n")
            with listener.accept()[0] as conn:
                self.assertEqual(receive_line(commands), "ok")
                conn.sendall(data)
                conn.shutdown(1)
                self.assertTrue(receive_all(conn) == data)
        os.unlink(client.path(65000))

    def test_image(self):
        """heartbeat, console, vsock; a restart by the guest is a new enclave, a panic its end"""
        path, console = self.console_file()
        dom = self.conn.createXML(domain_xml("arm", boot_image(EIF), arch="aarch64",
                                             vcpu="<vcpu>2</vcpu>", devices=console), 0)
        self.assertState(dom, RUNNING, BOOTED)
        text = self.wait_text(path, HELLO_BANNER)
        self.assertIn("Linux version", text)
        self.assertIn("this text comes from the second ramdisk", text)
        self.assertIn("2 CPUs", text)
        # what is put before the image's command line, whose console is not there
        self.assertRegex(text, "Kernel command line: console=ttyAMA0 console=ttyS0 ")
        self.assertEqual(ElementTree.fromstring(dom.XMLDesc()).find("os/type").get("arch"),
                         "aarch64")
        client = VsockClient.of(dom)
        self.assertEchoes(client)
        if FOREIGN:
            with open(f"/proc/{self.qemu_of(dom)}/cmdline", encoding="utf-8") as cmdline:
                words = cmdline.read().split("\0")
            self.assertEqual(words[words.index("-accel") + 1], "tcg")

        client.order("reboot")
        wait_until(lambda: self.events.of("arm").count(STARTED) == 2, 60, "the second enclave")
        self.assertEqual(self.events.reboots, ["arm"])
        dom = self.conn.lookupByName("arm")
        self.assertState(dom, RUNNING, BOOTED)
        VsockClient.of(dom).order("panic")
        self.events.wait("arm", *CRASHED)
        self.assertIn("Kernel panic", self.wait_text(path, "Kernel panic"))

    def test_kernel(self):
        """a kernel, its ramdisk and its command line; a power-off"""
        path, console = self.console_file()
        boot = (f"<kernel>{KERNEL}</kernel><initrd>{INITRD}</initrd><cmdline>console=ttyS0 "
                "panic=-1 hello.seed=7 hello.action=poweroff</cmdline>")
        self.conn.createXML(domain_xml("arm", boot, arch="aarch64", devices=console), 0)
        self.events.wait("arm", *SHUTDOWN, seconds=60)
        self.wait_text(path, banner(7))


class Refused(EnclaveTest):
    """What does not go together"""

    def refuse(self, code, *words, **kwargs):
        with self.refused(code, *words):
            self.conn.createXML(domain_xml("wrong", **kwargs), 0)

    def test_image_of_another(self):
        """an image and a domain of two architectures: one sentence, before anything has started"""
        self.refuse(CONFIG_UNSUPPORTED, f"'{EIF}' is for aarch64, but the domain's arch is x86_64",
                    boot=boot_image(EIF), arch="x86_64")
        self.refuse(libvirt.VIR_ERR_OPERATION_FAILED,
                    "The image is for aarch64, but the domain's arch is x86_64",
                    boot=boot_image(KERNEL), arch="x86_64")
        if FOREIGN:
            self.refuse(CONFIG_UNSUPPORTED, "is for x86_64, but the domain's arch is aarch64",
                        boot=boot_image(HELLO_EIF), arch="aarch64")
            self.refuse(libvirt.VIR_ERR_OPERATION_FAILED,
                        "The image is for x86_64, but the domain's arch is aarch64",
                        boot=boot_image(HELLO_KERNEL), arch="aarch64")

    def test_hypervisor(self):
        """the Nitro Hypervisor has the architecture of its host"""
        other = "aarch64" if FOREIGN else "x86_64"
        self.refuse(CONFIG_UNSUPPORTED, f"arch '{other}'", os.uname().machine, "nitro-enclave",
                    boot=boot_image(EIF), arch=other, machine="nitro")

    def test_no_qemu(self):
        """not listed, and not started, without QEMU for it"""
        programs = self.path("bin")
        os.mkdir(programs)
        for name in ("bwrap", "qemu-system-x86_64"):
            os.symlink(f"/usr/bin/{name}", os.path.join(programs, name))
        self.assertEqual(self.capable(), {"x86_64", "aarch64"})
        self.daemon.restart(PATH=programs)
        self.reconnect()
        self.assertEqual(self.capable(), {"x86_64"})
        self.refuse(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "'aarch64'", "qemu-system-aarch64",
                    "PATH", boot=boot_image(EIF), arch="aarch64")
        with self.refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "aarch64", "PATH"):
            self.conn.getDomainCapabilities(None, "aarch64", None, None)
        self.daemon.restart()
        self.reconnect()
        caps = ElementTree.fromstring(self.conn.getDomainCapabilities(None, "aarch64", None, None))
        self.assertEqual((caps.findtext("arch"), caps.find("vcpu").get("max")), ("aarch64", "255"))

    def capable(self):
        """Returns the architectures of which the capabilities list emulated machines."""
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        return {arch.get("name") for arch in caps.findall("guest/arch")
                if "nitro-enclave" in [machine.text for machine in arch.findall("machine")]}


if __name__ == "__main__":
    taprunner.main()
