#
# test_definitions.py: what a definition says is read, kept as it is, or refused
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each element by itself is a pair of files in tests/nitroxml2argvdata. Here are the ways by
which XML and names come into the daemon, what is left of them after a restart of it, and
domains whose names are long.
"""

import contextlib
import os
import socket

from e2etest import (BOOTED, NAMESPACE, RUNNING, EnclaveTest, domain_xml, libvirt, quick_xml)
import taprunner

CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
XML_ERROR = libvirt.VIR_ERR_XML_ERROR
TITLE = libvirt.VIR_DOMAIN_METADATA_TITLE
DESCRIPTION = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT

MEASUREMENT = f"<nitro:measurement pcr='0'>{'00' * 48}</nitro:measurement>"
BARE = MEASUREMENT.replace("nitro:", "")

# Bytes that the path of a UNIX socket has at most
SOCKET_PATH_MAX = 107


def plain_xml(name, attributes="", os_elements="", devices="", elements=""):
    """Returns a definition without the nitro namespace and its elements."""
    return f"""<domain type='nitro'{attributes}>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <os>
    <type arch='x86_64' machine='nitro-enclave'>hvm</type>
    <kernel>/nowhere.eif</kernel>
    {os_elements}
  </os>
  <devices>{devices}</devices>
  {elements}
</domain>"""


class DefinitionsTest(EnclaveTest):

    def names(self):
        return sorted(dom.name() for dom in self.conn.listAllDomains())

    def definitions(self):
        """Returns the names of the files of definitions."""
        return sorted(name for name in os.listdir(self.config_dir) if name.endswith(".xml"))

    @property
    def config_dir(self):
        return os.path.join(self.daemon.config_dir, "nitro")

    def refuse(self, xml, code, *words):
        """Refused by every way in for a whole domain, and nothing comes of it"""
        before = self.names(), self.definitions()
        for call in (lambda: self.conn.defineXML(xml), lambda: self.conn.createXML(xml, 0),
                     lambda: self.conn.domainXMLToNative("nitro-cli", xml, 0)):
            with self.refused(code, *words):
                call()
        self.assertEqual((self.names(), self.definitions()), before)

    def test_unread_measurements(self):
        """a check that is written down is made, or refused"""
        other = NAMESPACE.replace("http:", "https:")
        for number, (xml, words) in enumerate([
                (plain_xml("a", elements=MEASUREMENT), ("nitro:measurement", "xmlns:nitro=")),
                (plain_xml("a", os_elements=MEASUREMENT), ("nitro:measurement", "xmlns:nitro=")),
                (plain_xml("a", elements=BARE), ("'measurement'", "xmlns:nitro=")),
                (plain_xml("a", os_elements=BARE), ("'measurement'", "xmlns:nitro=")),
                (plain_xml("a", devices=BARE.upper().replace("PCR", "pcr")),
                 ("'MEASUREMENT'", "xmlns:nitro=")),
                (plain_xml("a", f" xmlns:nitro='{other}'", elements=MEASUREMENT),
                 (other, "xmlns:nitro=", NAMESPACE)),
                (plain_xml("a", f" xmlns:nitro='{NAMESPACE}'", os_elements=MEASUREMENT),
                 ("nitro:measurement", "<os>"))]):
            with self.subTest(number):
                self.refuse(xml, XML_ERROR, *words)

    def test_unread_in_devices(self):
        """neither in what is attached to a definition"""
        dom = self.conn.defineXML(domain_xml("attach"))
        before = dom.XMLDesc(INACTIVE)
        vsock = "<vsock><cid auto='no' address='16'/>{}</vsock>"
        for number, device in enumerate([
                vsock.format(MEASUREMENT), vsock.format(BARE),
                vsock.format(f"<n:enclave xmlns:n='{NAMESPACE}' debug='no'/>"),
                vsock.format("<cid auto='no' address='17'/>"), MEASUREMENT, BARE,
                f"<n:enclave xmlns:n='{NAMESPACE}' debug='no'/>"]):
            for call in (dom.attachDeviceFlags, dom.updateDeviceFlags, dom.detachDeviceFlags):
                with self.subTest(number), self.refused(XML_ERROR):
                    call(device, CONFIG)
        self.assertEqual(dom.XMLDesc(INACTIVE), before)
        dom.attachDeviceFlags(vsock.format(""), CONFIG)

    def test_metadata_is_free(self):
        """what others keep in <metadata> is theirs"""
        xml = plain_xml("free", elements=f"<metadata><a xmlns='urn:a'>{BARE}</a></metadata>")
        dom = self.conn.defineXML(xml)
        self.assertIn("measurement", dom.XMLDesc(INACTIVE))
        dom.setMetadata(ELEMENT, f"<x>{BARE}</x>", "x", "urn:x", CONFIG)

    def test_control_characters(self):
        """none in a name or in a path, by whatever way"""
        for name in ("a&#13;b", "a&#9;b", "a&#x7f;b", "a&#x9b;31mb"):
            with self.subTest(name):
                self.refuse(plain_xml(name), XML_ERROR, "<name>", "U+00")
        self.refuse(plain_xml("a" * 248), XML_ERROR, "248")
        for elements in ("<title>a&#13;b</title>", "<description>a&#13;b</description>"):
            with self.subTest(elements):
                self.refuse(plain_xml("a", elements=elements), XML_ERROR, "U+000D")
        log = "<console type='pty'><log file='/tmp/a&#10;b'/></console>"
        self.refuse(plain_xml("a", devices=log), XML_ERROR, "<log file=>", "U+000A")
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "U+000D"):
            self.conn.domainXMLFromNative(
                "nitro-cli",
                r'{"enclave_name": "a\rb", "eif_path": "/a", "cpu_count": 2, "memory_mib": 128}')

    def test_control_characters_in_calls(self):
        """neither by a rename and by metadata"""
        dom = self.conn.defineXML(domain_xml("calls"))
        for name in ("a\rb", "a\x1bb", "a\x85b", "a\ufffeb", "a" * 248):
            with self.subTest(ascii(name)[:20]), self.refused(XML_ERROR):
                dom.rename(name)
        for text in ("a\rb", "a\x1b[31mb", "a\ufffeb"):
            for kind in (TITLE, DESCRIPTION):
                with self.subTest(ascii(text)), self.refused(XML_ERROR, "U+"):
                    dom.setMetadata(kind, text, None, None, CONFIG)
        self.assertEqual(self.names(), ["calls"])
        self.assertEqual(self.definitions(), ["calls.xml"])

    def test_round_trip(self):
        """what is accepted is the same after a restart of the daemon"""
        names = ["a" * 247, "\u98db\u5730" * 20, "&<>\"' \u00a0\u2028"]
        for name in names:
            xml = domain_xml("&amp;&lt;&gt;&quot;&apos; \u00a0\u2028" if "&" in name else name)
            dom = self.conn.defineXML(xml)
            dom.setMetadata(TITLE, name[:60], None, None, CONFIG)
            dom.setMetadata(DESCRIPTION, f"{name}\n\t{name}", None, None, CONFIG)
            dom.setMetadata(ELEMENT, "<t a='&#13;&#10;&#9;'>a&#13;\n\tb</t>", "t", "urn:t", CONFIG)
        before = [self.conn.lookupByName(name).XMLDesc(INACTIVE) for name in names]
        self.daemon.restart()
        self.reconnect()
        self.assertEqual(self.names(), sorted(names))
        self.assertEqual([self.conn.lookupByName(name).XMLDesc(INACTIVE) for name in names],
                         before)
        for name in names:
            self.conn.lookupByName(name).undefine()
        self.assertEqual(self.definitions(), [])
        self.daemon.restart()
        self.reconnect()
        self.assertEqual(self.names(), [])

    def test_file_of_an_older_version(self):
        """a file whose domain has another name by now is no domain that cannot be undefined"""
        path = os.path.join(self.config_dir, "a\rb.xml")
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(plain_xml("a\rb"))
        try:
            self.daemon.restart()
            self.reconnect()
            self.assertEqual(self.names(), [])
            with open(self.daemon.log, encoding="utf-8") as log:
                self.assertIn("Failed to load config for domain 'a", log.read())
        finally:
            os.unlink(path)

    def test_said_anyway(self):
        """what generic tools write is accepted, and still there"""
        dom = self.conn.defineXML(domain_xml("anyway", elements="""
            <memoryBacking><nosharepages/><locked/></memoryBacking>
            <resource><partition>/machine</partition></resource>
            <features><acpi/><apic/><pae/><vmport state='off'/></features>
            <cpu><topology sockets='1' cores='1' threads='1'/></cpu>
            <clock offset='utc'><timer name='hpet' present='no'/></clock>
            <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
            <seclabel type='dynamic'/>""", devices="""
            <video><model type='none'/></video><audio id='1' type='none'/>
            <memballoon model='none'/>
            <vsock model='virtio-non-transitional'><cid auto='yes'/></vsock>"""))
        xml = dom.XMLDesc(INACTIVE)
        for element in ("<locked/>", "<nosharepages/>", "<partition>/machine<", "<pae/>",
                        "<vmport state='off'/>", "<topology ", "name='hpet' present='no'",
                        "<suspend-to-mem enabled='no'/>", "<seclabel type='dynamic'",
                        "<model type='none'/>", "type='none'", "virtio-non-transitional"):
            self.assertIn(element, xml)
        # and can be edited: with the schema, as virsh edit does it
        self.conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def vsock_dir(self, dom):
        """Returns the directory of the sockets of the running domain @dom."""
        text = dom.XMLDesc()
        return text.split("<nitro:vsock directory='")[1].split("'")[0]

    def check_room(self, dom):
        """A program can make the longest socket of a port."""
        path = os.path.join(self.vsock_dir(dom), "vsock_4294967295")
        self.assertLessEqual(len(os.fsencode(path)), SOCKET_PATH_MAX)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind(path)

    def test_many_channels(self):
        """libvirt looks for a controller of each among those of all: too many are not parsed"""
        channels = "".join(f"<channel type='unix'><target type='virtio' name='vsock.{i}'/>"
                           f"<address type='virtio-serial' controller='{i}'/></channel>"
                           for i in range(1, 20001))
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "more than 64", "<channel>"):
            self.conn.defineXML(domain_xml("many", devices=channels))

    def test_long_names(self):
        """any name starts, and its enclave can be reached"""
        for name in ("\u98db" * 15, "\U0001f600" * 20, "\u0436" * 20, "a" * 247,
                     "\U0001f600" * 61):
            with self.subTest(ascii(name)[:20]):
                dom = self.conn.createXML(quick_xml(name), 0)
                self.assertState(dom, RUNNING, BOOTED)
                self.check_room(dom)
                dom.destroy()

    def test_directory_of_an_older_version(self):
        """an enclave in a directory of the old name is found by the next daemon"""
        name = "\U0001f600" * 10
        dom = self.conn.createXML(quick_xml(name), 0)
        self.assertState(dom, RUNNING, BOOTED)
        helper = self.helper_of(dom)
        now = os.path.dirname(self.vsock_dir(dom))
        before = os.path.join(os.path.dirname(now), f"domain-{dom.ID()}-{name}")
        self.assertNotEqual(now, before)
        del dom

        self.daemon.stop()
        os.rename(now, before)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName(name)
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()
        self.assertFalse(os.path.exists(before))


if __name__ == "__main__":
    taprunner.main()
