#
# test_api.py: what clients ask of a connection and of domains, with libvirt-python
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls by which virt-manager, virt-install, nova, collectd and others see enclaves."""

import os
import socket
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ElementTree

import taprunner
from e2etest import NAMESPACE, EnclaveTest, boot_kernel, domain_xml, libvirt, quick_xml

NO_DOMAIN = libvirt.VIR_ERR_NO_DOMAIN

# Of the libvirt that the driver is built with, whose sources are in libvirt-MAJOR.MINOR.RELEASE
LIBVIRT_VERSION = sum(int(word) * unit for word, unit in zip(
    os.path.basename(os.environ["LIBVIRT_NITRO_LIBVIRT"]).removeprefix("libvirt-").split("."),
    (1000000, 1000, 1), strict=True))


class Connection(EnclaveTest):

    def test_identity(self):
        self.assertEqual(self.conn.getType(), "nitro")
        self.assertEqual(self.conn.getLibVersion(), LIBVIRT_VERSION)
        self.assertGreater(self.conn.getVersion(), 0)
        self.assertEqual(self.conn.getHostname(), socket.gethostname())
        self.assertTrue(self.conn.getURI().startswith("nitro:///session"))
        self.assertEqual((self.conn.isAlive(), self.conn.isSecure(), self.conn.isEncrypted()),
                         (1, 1, 0))
        self.assertGreater(self.conn.getMaxVcpus("nitro"), 0)
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "kvm"):
            self.conn.getMaxVcpus("kvm")

    def test_uris(self):
        """a path that is neither system nor session is refused"""
        where = f"?socket={self.daemon.socket}"
        for path in ("/", "/other", "/session/more"):
            with self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, path):
                libvirt.open(f"nitro://{path}{where}")

    def test_node_info(self):
        model, memory, cpus, mhz, nodes, sockets, cores, threads = self.conn.getInfo()
        self.assertEqual(model, os.uname().machine)
        self.assertGreater(memory, 0)
        self.assertEqual(cpus, os.cpu_count())
        self.assertGreaterEqual(nodes * sockets * cores * threads, cpus)

    def test_capabilities(self):
        """what virtinst and nova read from the capabilities"""
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        self.assertEqual(caps.findtext("host/cpu/arch"), os.uname().machine)
        self.assertIsNone(caps.find("host/cpu/model"))
        self.assertGreater(len(caps.findall("host/topology/cells/cell")), 0)
        uuid.UUID(caps.findtext("host/uuid"))
        guest = caps.find("guest")
        self.assertEqual(guest.findtext("os_type"), "hvm")
        self.assertEqual(guest.find("arch").get("name"), os.uname().machine)
        self.assertEqual([machine.text for machine in guest.findall("arch/machine")],
                         ["nitro", "nitro-enclave"])
        self.assertEqual([domain.get("type") for domain in guest.findall("arch/domain")],
                         ["nitro"])
        self.assertTrue(os.access(guest.findtext("arch/emulator"), os.X_OK))
        self.assertIsNone(guest.find("features/acpi"))

    def test_domain_capabilities(self):
        """complete, so that nova can read them, and no device that does not exist"""
        asked = [(None, None, None, None), (None, "x86_64", "nitro", "nitro"),
                 (None, "x86_64", "nitro-enclave", "nitro")]
        for emulator, arch, machine, virttype in asked:
            with self.subTest(machine):
                text = self.conn.getDomainCapabilities(emulator, arch, machine, virttype)
                caps = ElementTree.fromstring(text)
                self.assertEqual(caps.findtext("domain"), "nitro")
                self.assertEqual(caps.findtext("machine"), machine or "nitro")
                self.assertEqual(caps.findtext("arch"), os.uname().machine)
                self.assertEqual(caps.find("os").get("supported"), "yes")
                self.assertGreater(int(caps.find("vcpu").get("max")), 0)
                for device in ("disk", "graphics", "video", "hostdev"):
                    self.assertEqual(caps.find(f"devices/{device}").get("supported"), "no")
                self.assertEqual({mode.get("supported") for mode in caps.findall("cpu/mode")},
                                 {"no"})
        for virttype, arch, machine, code in (
                ("kvm", "x86_64", "nitro", libvirt.VIR_ERR_INVALID_ARG),
                ("nitro", "s390x", "nitro", libvirt.VIR_ERR_CONFIG_UNSUPPORTED),
                ("nitro", "x86_64", "pc", libvirt.VIR_ERR_INVALID_ARG)):
            with self.refused(code):
                self.conn.getDomainCapabilities(None, arch, machine, virttype)

    def test_emulator_agrees(self):
        """the emulator of a domain is the one of the capabilities"""
        dom = self.conn.defineXML(domain_xml("same"))
        emulator = ElementTree.fromstring(dom.XMLDesc(0)).findtext("devices/emulator")
        for text, path in ((self.conn.getCapabilities(), "guest/arch/emulator"),
                           (self.conn.getDomainCapabilities(), "path")):
            self.assertEqual(ElementTree.fromstring(text).findtext(path), emulator)

    def test_error_domain(self):
        """what stock clients print before the message of an error"""
        done = subprocess.run(
            [sys.executable, "-c", "import libvirt, sys\nlibvirt.open(sys.argv[1]).lookupByName('x')",
             self.daemon.uri], env=self.daemon.client_env, capture_output=True, text=True,
            timeout=60, check=False)
        self.assertIn("libvirt: Domain Config error : Domain not found", done.stderr)
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.conn.lookupByName("x")
        self.assertEqual(raised.exception.get_error_domain(), libvirt.VIR_FROM_DOMAIN)

    def test_read_only(self):
        """a read-only connection can look at everything and change nothing"""
        xml = quick_xml("look")
        self.conn.defineXML(xml).create()
        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        dom = conn.lookupByName("look")
        self.assertEqual(dom.state()[0], libvirt.VIR_DOMAIN_RUNNING)
        self.assertIn("look", dom.XMLDesc(0))
        self.assertEqual(len(conn.listAllDomains()), 1)
        self.assertEqual(len(dom.info()), 5)
        stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
        for call in (dom.destroy, dom.shutdown, dom.undefine, dom.create,
                     lambda: dom.setAutostart(1), lambda: conn.defineXML(xml),
                     lambda: conn.createXML(xml, 0), lambda: dom.openConsole(None, stream, 0),
                     lambda: dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)):
            with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
                call()
        self.assertEqual(self.conn.lookupByName("look").isActive(), 1)

    def test_events_read_only(self):
        """collectd listens on a read-only connection"""
        conn = libvirt.openReadOnly(self.daemon.uri)
        seen = []
        number = conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lambda conn, dom, event, detail, opaque: seen.append(event), None)
        self.conn.defineXML(domain_xml("noise"))
        self.events.wait("noise", libvirt.VIR_DOMAIN_EVENT_DEFINED, 0)
        conn.isAlive()
        conn.domainEventDeregisterAny(number)
        conn.close()
        self.assertEqual(seen, [libvirt.VIR_DOMAIN_EVENT_DEFINED])


class Domains(EnclaveTest):

    def test_lookups(self):
        """by name, UUID and ID; what is not there gives NO_DOMAIN"""
        for call in (lambda: self.conn.lookupByName("nobody"), lambda: self.conn.lookupByID(99999),
                     lambda: self.conn.lookupByUUIDString(str(uuid.uuid4()))):
            with self.refused(NO_DOMAIN):
                call()
        dom = self.conn.defineXML(quick_xml("found"))
        self.assertEqual(dom.ID(), -1)
        self.assertEqual(self.conn.lookupByUUID(dom.UUID()).name(), "found")
        self.assertEqual(self.conn.lookupByName("found").UUIDString(), dom.UUIDString())
        dom.create()
        self.assertEqual(self.conn.lookupByID(dom.ID()).name(), "found")
        self.assertEqual(self.conn.lookupByName("found").ID(), dom.ID())
        number = dom.ID()
        dom.destroy()
        with self.refused(NO_DOMAIN):
            self.conn.lookupByID(number)
        dom.undefine()
        for call in (dom.create, dom.info, dom.state, dom.isActive, dom.isPersistent,
                     dom.undefine, dom.OSType, lambda: dom.XMLDesc(0), dom.autostart):
            with self.refused(NO_DOMAIN, "found"):
                call()

    def test_lists(self):
        """every list call and every filter"""
        self.conn.defineXML(domain_xml("idle"))
        self.conn.defineXML(quick_xml("started")).setAutostart(1)
        self.conn.lookupByName("started").create()
        self.conn.createXML(quick_xml("passing"), 0)

        def names(flags=0):
            return sorted(dom.name() for dom in self.conn.listAllDomains(flags))

        prefix = "VIR_CONNECT_LIST_DOMAINS_"
        for flag, expected in [
                ("ACTIVE", ["passing", "started"]), ("INACTIVE", ["idle"]),
                ("PERSISTENT", ["idle", "started"]), ("TRANSIENT", ["passing"]),
                ("RUNNING", ["passing", "started"]), ("PAUSED", []), ("SHUTOFF", ["idle"]),
                ("OTHER", []), ("AUTOSTART", ["started"]),
                ("NO_AUTOSTART", ["idle", "passing"]), ("MANAGEDSAVE", []),
                ("NO_MANAGEDSAVE", ["idle", "passing", "started"]), ("HAS_SNAPSHOT", []),
                ("NO_SNAPSHOT", ["idle", "passing", "started"]), ("HAS_CHECKPOINT", []),
                ("NO_CHECKPOINT", ["idle", "passing", "started"])]:
            with self.subTest(flag):
                self.assertEqual(names(getattr(libvirt, prefix + flag)), expected)
        self.assertEqual(names(), ["idle", "passing", "started"])
        self.assertEqual(names(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE |
                               libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT), ["passing"])
        self.assertEqual(self.conn.numOfDomains(), 2)
        self.assertEqual(sorted(self.conn.listDomainsID()),
                         sorted(self.conn.lookupByName(name).ID() for name in ("passing",
                                                                               "started")))
        self.assertEqual(self.conn.numOfDefinedDomains(), 1)
        self.assertEqual(self.conn.listDefinedDomains(), ["idle"])
        with self.refused(libvirt.VIR_ERR_INVALID_ARG):
            self.conn.listAllDomains(1 << 30)

    def test_security_labels(self):
        """there are none; what fails says so, which libvirt 9.0's own daemon does not do"""
        dom = self.conn.defineXML(quick_xml("labels"))
        self.assertEqual(dom.securityLabelList(), [])
        dom.undefine()
        with self.refused(NO_DOMAIN, "labels"):
            dom.securityLabelList()

    def test_info(self):
        dom = self.conn.defineXML(quick_xml("facts", memory="256", vcpu="<vcpu>2</vcpu>"))
        self.assertEqual(dom.info()[:4], [libvirt.VIR_DOMAIN_SHUTOFF, 262144, 262144, 2])
        self.assertEqual(dom.OSType(), "hvm")
        dom.create()
        self.assertEqual(dom.info()[:4], [libvirt.VIR_DOMAIN_RUNNING, 262144, 262144, 2])
        self.assertEqual(dom.hasManagedSaveImage(0), 0)
        dom.destroy()

    def test_xml(self):
        """what was defined comes back, with the defaults filled in"""
        pcr = "ab" * 48
        xml = domain_xml("words", boot_kernel("a=1"), devices="<console type='pty'/>",
                         elements="<title>a title</title><on_crash>restart</on_crash>")
        xml = xml.replace("<nitro:enclave",
                          f"<nitro:measurement pcr='2'>{pcr}</nitro:measurement><nitro:enclave")
        dom = self.conn.defineXML(xml)
        both = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE, both):
            got = ElementTree.fromstring(dom.XMLDesc(flags))
            self.assertEqual(got.get("type"), "nitro")
            self.assertIsNone(got.get("id"))
            self.assertEqual(got.find("os/type").get("machine"), "nitro-enclave")
            self.assertIn("a=1", got.findtext("os/cmdline"))
            self.assertEqual(got.findtext("on_crash"), "restart")
            self.assertEqual(got.findtext("title"), "a title")
            self.assertEqual(got.findtext("currentMemory"), "131072")
            space = f"{{{NAMESPACE}}}"
            self.assertEqual(got.find(space + "enclave").get("debug"), "yes")
            self.assertEqual(got.find(space + "heartbeat").get("enabled"), "yes")
            self.assertEqual(got.findtext(space + "measurement"), pcr)
        again = self.conn.defineXML(dom.XMLDesc(both))
        self.assertEqual(again.XMLDesc(both), dom.XMLDesc(both))

    def test_xml_live(self):
        """the live XML has the id, and alias and path on console and serial twin"""
        dom = self.conn.defineXML(quick_xml("live", devices="<console type='pty'/>"))
        dom.create()
        live = ElementTree.fromstring(dom.XMLDesc(0))
        self.assertEqual(live.get("id"), str(dom.ID()))
        console, serial = live.find("devices/console"), live.find("devices/serial")
        path = console.find("source").get("path")
        self.assertTrue(path.startswith("/dev/pts/"), path)
        self.assertEqual(serial.find("source").get("path"), path)
        self.assertEqual(console.find("alias").get("name"), serial.find("alias").get("name"))

        inactive = ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        self.assertIsNone(inactive.get("id"))
        self.assertIsNone(inactive.find("devices/console/source"))
        dom.destroy()
        self.assertIsNone(ElementTree.fromstring(dom.XMLDesc(0)).find("devices/console/source"))

    def test_undefine_autostart(self):
        """an undefined domain leaves no autostart link behind"""
        dom = self.conn.defineXML(domain_xml("auto"))
        dom.setAutostart(1)
        dom.undefine()
        dom = self.conn.defineXML(domain_xml("auto"))
        self.assertEqual(dom.autostart(), 0)


if __name__ == "__main__":
    taprunner.main()
