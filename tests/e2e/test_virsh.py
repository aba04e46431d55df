#
# test_virsh.py: the distribution's virsh on enclaves, in session and in system mode
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What a person types. The system daemon runs in a mount namespace of its own, where the
directories of the host's libvirt are empty.
"""

import os
import re
import select
import subprocess
import uuid
import xml.etree.ElementTree as ElementTree

import daemon
import taprunner
from daemon import HELLO_BANNER, HELLO_XML, wait_until
from e2etest import EnclaveTest, boot_kernel, quick_xml

VIRT_ADMIN = "/usr/bin/virt-admin"


class Virsh(EnclaveTest):
    """What the tests share"""

    def virsh(self, *args):
        done = self.daemon.virsh("-q", *args)
        self.assertEqual(done.returncode, 0, f"virsh {args}: {done.stderr}")
        return done.stdout

    def virsh_fails(self, *args, words=()):
        done = self.daemon.virsh("-q", *args)
        self.assertNotEqual(done.returncode, 0, f"virsh {args}: {done.stdout}")
        for word in words:
            self.assertIn(word, done.stderr)

    def write_xml(self, name, **kwargs):
        path = self.path(f"{name}.xml")
        with open(path, "w", encoding="utf-8") as xml:
            xml.write(quick_xml(name, **kwargs))
        return path


class Both:
    """What is to be had of either daemon"""

    def test_hello(self):
        """the commands of the README"""
        self.virsh("create", HELLO_XML)
        self.assertRegex(self.virsh("list"), r"\d+ +hello +running")
        self.assertEqual(self.virsh("domstate", "hello", "--reason").strip(), "running (booted)")
        info = dict(re.split(r": +", line, maxsplit=1)
                    for line in self.virsh("dominfo", "hello").splitlines() if ": " in line)
        self.assertEqual((info["Name"], info["State"], info["OS Type"], info["CPU(s)"]),
                         ("hello", "running", "hvm", "1"))
        self.assertEqual((info["Max memory"], info["Persistent"], info["Autostart"]),
                         ("131072 KiB", "no", "disable"))
        self.assertEqual(self.virsh("domname", self.virsh("domid", "hello").strip()).strip(),
                         "hello")
        self.virsh("destroy", "hello")
        self.assertEqual(self.virsh("list", "--all").strip(), "")

    def test_whole_life(self):
        """define, start, shutdown, start, reasons, undefine"""
        self.virsh("define", self.write_xml("life"))
        self.assertRegex(self.virsh("list", "--all"), r"- +life +shut off")
        self.virsh("start", "life")
        self.virsh_fails("start", "life", words=["already"])
        self.virsh("shutdown", "life")
        self.assertIn("shut off", self.virsh("domstate", "life"))
        self.virsh("start", "life")
        self.virsh("destroy", "life", "--graceful")
        self.assertEqual(self.virsh("domstate", "life", "--reason").strip(),
                         "shut off (destroyed)")
        self.virsh_fails("destroy", "life", words=["not running"])
        self.virsh("autostart", "life")
        self.assertIn("life", self.virsh("list", "--all", "--autostart"))
        self.virsh("autostart", "--disable", "life")
        self.virsh("undefine", "life")
        self.virsh_fails("dominfo", "life", words=["life"])

    def test_edit(self):
        """virsh edit, which checks against the schema and keeps the nitro elements"""
        self.virsh("define", self.write_xml("edited"))
        edit = subprocess.run(
            self.daemon.virsh_command("edit", "edited"),
            env=dict(self.daemon.client_env, EDITOR="sed -i s/131072/262144/"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(edit.returncode, 0, edit.stderr)
        xml = self.virsh("dumpxml", "edited")
        self.assertIn(">262144<", xml)
        self.assertIn("nitro:enclave", xml)

    def test_read_only(self):
        """virsh -r looks and cannot touch"""
        self.virsh("define", self.write_xml("seen"))
        self.assertIn("seen", self.virsh("-r", "list", "--all"))
        self.virsh_fails("-r", "start", "seen", words=["read only"])

    def test_commands_without_a_domain(self):
        self.assertIn("hvm", self.virsh("capabilities"))
        self.assertIn("nitro", self.virsh("domcapabilities"))
        self.assertIn("CPU(s)", self.virsh("nodeinfo"))
        self.assertEqual(self.virsh("uri").strip(), self.daemon.url)
        self.assertIn("nitro", self.virsh("version"))
        self.assertTrue(self.virsh("maxvcpus").strip().isdigit())


class Session(Both, Virsh):
    """The session daemon: nitro:///session"""

    def test_examples(self):
        """every example can be defined, checked against the schema"""
        examples = os.path.join(daemon.SOURCE, "examples")
        paths = [HELLO_XML] + [os.path.join(examples, name)
                               for name in sorted(os.listdir(examples)) if name.endswith(".xml")]
        for path in paths:
            with self.subTest(os.path.basename(path)):
                self.virsh("define", "--validate", path)
                self.virsh("undefine", ElementTree.parse(path).findtext("name"))

    def test_events(self):
        """virsh event shows start and end"""
        watch = subprocess.Popen(
            self.daemon.virsh_command("event", "--all", "--loop", "--timeout", "60"),
            env=self.daemon.client_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.terminate)
        # it says nothing when it is ready: an event that it sees does
        probe = self.write_xml("probe", elements=f"<uuid>{uuid.uuid4()}</uuid>")

        def sees():
            self.virsh("define", probe)
            return select.select([watch.stdout], [], [], 0)[0]

        wait_until(sees, 20, "the first event")
        self.virsh("create", self.write_xml("short", boot=boot_kernel("hello.action=poweroff")))
        lines = []
        while not lines or "Stopped" not in lines[-1]:
            lines.append(watch.stdout.readline())
            self.assertTrue(lines[-1], lines)
        text = "".join(line for line in lines if "'short'" in line)
        self.assertRegex(text, "Started Booted\n.*Stopped (Shutdown|Finished)")

    def test_commands_that_cannot_be(self):
        """suspend, save, migration, hotplug: refused, and the domain goes on"""
        self.virsh("create", self.write_xml("firm"))
        for command in (["suspend", "firm"], ["save", "firm", self.path("saved")],
                        ["managedsave", "firm"], ["snapshot-create", "firm"],
                        ["setmem", "firm", "64M", "--live"], ["attach-disk", "firm", "/a", "vda"],
                        ["migrate", "firm", "qemu+unix:///session?socket=/none"]):
            self.virsh_fails(*command)
        self.assertEqual(self.virsh("domstate", "firm").strip(), "running")
        self.virsh("destroy", "firm")

    def test_many_clients(self):
        """clients that come and go at once leave the daemon as it was"""
        self.virsh("define", self.write_xml("busy"))
        clients = [subprocess.Popen(
            self.daemon.virsh_command("dumpxml", "busy"), env=self.daemon.client_env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            for _ in range(20)]
        for client in clients:
            self.assertIn(b"busy", client.communicate(timeout=60)[0])


class System(Both, Virsh):
    """The system daemon: nitro:///system, with an admin interface"""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def test_sockets(self):
        """main, read-only and admin sockets; definitions and logs in the usual places"""
        sockets = os.listdir("/run/libvirt")
        for name in ("virtnitrod-sock", "virtnitrod-sock-ro", "virtnitrod-admin-sock"):
            self.assertIn(name, sockets)
        self.virsh("define", self.write_xml("usual"))
        self.assertTrue(os.path.exists("/etc/libvirt/nitro/usual.xml"))
        self.virsh("start", "usual")
        self.assertTrue(os.path.exists("/run/libvirt/nitro/usual.xml"))
        self.assertTrue(os.path.exists("/var/log/libvirt/nitro/usual.log"))
        self.virsh("destroy", "usual")
        self.assertFalse(os.path.exists("/run/libvirt/nitro/usual.xml"))

    def test_admin(self):
        """virt-admin talks to the daemon"""
        if not os.path.exists(VIRT_ADMIN):
            self.skipTest(f"{VIRT_ADMIN} is not installed")
        done = subprocess.run([VIRT_ADMIN, "-c", "virtnitrod:///system", "server-list"],
                              env=self.daemon.client_env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("virtnitrod", done.stdout)

    def test_banner(self):
        path, console = self.console_file()
        self.virsh("create", self.write_xml("seen", devices=console))
        self.wait_text(path, HELLO_BANNER)
        self.virsh("destroy", "seen")


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
