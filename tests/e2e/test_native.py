#
# test_native.py: definitions in the formats of other tools, with the distribution's virsh
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
virsh domxml-from-native and domxml-to-native. What is made of what is nitronativetest's
subject; here it goes through the daemon, and is defined. No test boots anything.
"""

import json
import os
import platform
import shlex
import xml.etree.ElementTree as ElementTree

import daemon
import libvirt
import taprunner
from e2etest import EnclaveTest, domain_xml, quick_xml

DATA = os.path.join(daemon.SOURCE, "tests/nitronativedata")


class Native(EnclaveTest):
    def virsh(self, *args):
        done = self.daemon.virsh("-q", *args)
        self.assertEqual(done.returncode, 0, f"virsh {args}: {done.stderr}")
        return done.stdout

    def virsh_fails(self, *args):
        done = self.daemon.virsh("-q", *args)
        self.assertNotEqual(done.returncode, 0, f"virsh {args}: {done.stdout}")
        return done.stderr

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def from_native(self, form, name, text):
        """Converts @text, defines the domain, and returns its root element."""
        xml = self.virsh("domxml-from-native", form, self.write(f"{name}.native", text))
        path = self.write(f"{name}.xml", xml)
        self.virsh("define", "--validate", path)
        return ElementTree.fromstring(xml)

    def test_nitro_cli(self):
        """nitro-cli's configuration becomes a domain, and the domain the configuration"""
        config = {"enclave_name": "hello", "eif_path": "/srv/hello.eif", "memory_mib": 512,
                  "cpu_ids": [1, 3], "enclave_cid": 16, "debug_mode": True}
        root = self.from_native("nitro-cli", "hello", json.dumps(config))

        self.assertEqual(root.get("type"), "nitro")
        self.assertEqual(root.find("os/type").get("arch"), platform.machine())
        self.assertEqual(root.find("os/type").get("machine"), "nitro")
        self.assertEqual(root.find("vcpu").get("cpuset"), "1,3")
        again = self.virsh("domxml-to-native", "nitro-cli", "--domain", "hello")
        self.assertEqual(json.loads(again), config)

    def test_qemu_argv(self):
        """a command line of QEMU becomes a domain, and the domain the command line"""
        with open(os.path.join(DATA, "qemu-full.args"), encoding="utf-8") as args:
            command = args.read()
        root = self.from_native("qemu-argv", "hello", command)

        self.assertEqual(root.findtext("uuid"), "8f0ed92a-2ae2-4c34-9a15-0d1f17a6f1d0")
        again = self.virsh("domxml-to-native", "qemu-argv", "--domain", "hello")
        self.assertEqual(shlex.split(again), shlex.split(command))

    def test_from_one_to_the_other(self):
        """QEMU's command line to nitro-cli's configuration"""
        self.from_native("qemu-argv", "both",
                         "qemu-system-x86_64 -M nitro -accel nitro -m 1G -smp 4 -name both "
                         "-kernel /srv/both.eif")
        config = json.loads(self.virsh("domxml-to-native", "nitro-cli", "--domain", "both"))
        self.assertEqual(config, {"enclave_name": "both", "eif_path": "/srv/both.eif",
                                  "memory_mib": 1024, "cpu_count": 4, "debug_mode": False})

    def test_xml_file(self):
        """domxml-to-native --xml needs no domain"""
        path = self.write("x.xml", domain_xml("x", heartbeat="yes"))
        self.assertEqual(json.loads(self.virsh("domxml-to-native", "nitro-cli", "--xml", path))
                         ["enclave_name"], "x")
        self.assertEqual(self.virsh("list", "--all").strip(), "")

    def test_refused(self):
        """errors that say what to change"""
        path = self.write("typo.json", '{"eif_path": "/x.eif", "memory": 512, "cpu_count": 2}')
        self.assertIn("no member 'memory'",
                      self.virsh_fails("domxml-from-native", "nitro-cli", path))
        path = self.write("disk.args", "qemu-system-x86_64 -M nitro -accel nitro -hda disk.img")
        self.assertIn("'-hda'", self.virsh_fails("domxml-from-native", "qemu-argv", path))
        self.assertIn("'nitro-cli' and 'qemu-argv'",
                      self.virsh_fails("domxml-from-native", "vmx", path))
        path = self.write("x.xml", quick_xml("x"))
        self.assertIn("<nitro:heartbeat>",
                      self.virsh_fails("domxml-to-native", "nitro-cli", "--xml", path))
        self.assertIn("'nitro-cli' and 'qemu-argv'",
                      self.virsh_fails("domxml-to-native", "vmx", "--xml", path))

    def test_flags_and_read_only(self):
        xml = domain_xml("x")
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
            self.conn.domainXMLToNative("nitro-cli", xml, 1)
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
            self.conn.domainXMLFromNative("nitro-cli", "{}", 1)

        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
            conn.domainXMLToNative("nitro-cli", xml, 0)
        with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
            conn.domainXMLFromNative("nitro-cli", "{}", 0)


if __name__ == "__main__":
    taprunner.main()
