#
# test_security.py: what a client may send to harm the daemon
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
Numbers that libvirt's own client would not send, over its RPC protocol, and definitions
whose numbers decide how much memory a parser takes. docs/security-notices.rst says which
notice each is about.
"""

import os
import time

import daemon
import rawrpc
import taprunner
from e2etest import EnclaveTest, domain_xml, libvirt
from rawrpc import RawClient, RpcError, array, u32

# bytes of address space that the daemon may have: a parser that allocates what the text says
# would take all memory of the machine otherwise
ROOM = 3 << 30
# bytes by which the daemon's memory may grow: a tree is larger than its text
GROWTH = 256 << 20

SANITIZED = "NITRO_TEST_SANITIZED" in os.environ

# A refusal reads a few elements, on a busy machine
SOON = 10

CONFIG = libvirt.VIR_ERR_CONFIG_UNSUPPORTED


def memory_of(pid, field):
    """Returns the bytes of @field in the status of the process @pid."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


class Numbers(EnclaveTest):
    """What the daemon's RPC code makes of numbers, before the driver has them"""

    # CVE-2026-18917: the product is 2^32 + 1
    PAGES, CELLS = 901, 643530061

    def client(self, flags=0):
        client = RawClient(self.daemon.socket, self.daemon.url, flags)
        self.addCleanup(client.close)
        return client

    def refused_raw(self, client, procedure, arguments, code, words):
        with self.assertRaises(RpcError) as raised:
            client.call(procedure, arguments)
        self.assertIn(words, str(raised.exception))
        self.assertEqual(raised.exception.code, code)
        # the daemon that has answered lives, and its memory is in order
        self.assertIsNone(self.daemon.process.poll())
        self.assertEqual(self.conn.getType(), "nitro")

    def free_pages(self, cells, pages, start=0):
        return array("I", pages) + u32(start) + u32(cells) + u32(0)

    def test_free_pages(self):
        """more page sizes and nodes than 32 bits can count, on a read-only connection"""
        client = self.client(rawrpc.READ_ONLY)
        one = client.call(rawrpc.NODE_GET_FREE_PAGES, self.free_pages(1, [4]))
        self.assertEqual(one[:4], u32(1))
        for cells, pages in ((self.CELLS, self.PAGES), (2**32 - 1, 1), (2**31, 2), (2**30, 1024),
                             (1025, 1), (2, 513)):
            with self.subTest(cells=cells, pages=pages):
                self.refused_raw(client, rawrpc.NODE_GET_FREE_PAGES,
                                 self.free_pages(cells, [4] * pages),
                                 libvirt.VIR_ERR_INTERNAL_ERROR, "REMOTE_NODE_MAX_CELLS")

    def test_alloc_pages(self):
        """fewer counts than sizes: the missing ones would be read off the heap"""
        # of a size that no host has, so that nothing is allocated whatever is read
        client = self.client()
        for sizes, counts in ((1024, 0), (512, 1), (1, 2)):
            with self.subTest(sizes=sizes, counts=counts):
                self.refused_raw(client, rawrpc.NODE_ALLOC_PAGES,
                                 array("I", [3] * sizes) + array("Q", [0] * counts) +
                                 u32(0) + u32(1) + u32(0),
                                 libvirt.VIR_ERR_RPC, "as many page counts as page sizes")

    def test_negative(self):
        """CVE-2024-2494: a negative length of an array"""
        self.refused_raw(self.client(rawrpc.READ_ONLY), rawrpc.NODE_GET_CPU_STATS,
                         u32(0) + u32(-1) + u32(0),
                         libvirt.VIR_ERR_INTERNAL_ERROR, "nparams must be non-negative")


class ReadOnlySocket(Numbers):
    """The same over the socket that any user can connect to"""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def client(self, flags=0):
        path = self.daemon.socket + ("-ro" if flags & rawrpc.READ_ONLY else "")
        client = RawClient(path, self.daemon.url, flags)
        self.addCleanup(client.close)
        return client


class Definitions(EnclaveTest):
    """Definitions that would have libvirt's parser allocate until the daemon dies"""

    @classmethod
    def before_start(cls):
        # the sanitizers' own memory has no such limit
        if not SANITIZED:
            cls.daemon.prefix = cls.daemon.prefix + ["/usr/bin/prlimit", f"--as={ROOM}"]

    def setUp(self):
        super().setUp()
        self.before = memory_of(self.daemon.process.pid, "VmHWM")

    def makers(self):
        return {"define": self.conn.defineXML,
                "define --validate": lambda text: self.conn.defineXMLFlags(
                    text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE),
                "create": lambda text: self.conn.createXML(text, 0),
                "create --validate": lambda text: self.conn.createXML(
                    text, libvirt.VIR_DOMAIN_START_VALIDATE),
                "domxml-to-native": lambda text: self.conn.domainXMLToNative(
                    "nitro-cli", text, 0)}

    def refuse(self, text, code, *words):
        for name, make in self.makers().items():
            with self.subTest(name, words=words):
                start = time.monotonic()
                with self.refused(code, *words):
                    make(text)
                self.assertLess(time.monotonic() - start, SOON)
                self.assertIsNone(self.daemon.process.poll())
        self.assertEqual(self.conn.listAllDomains(), [])
        # the sanitizers keep what is freed for a while
        if not SANITIZED:
            self.assertLess(memory_of(self.daemon.process.pid, "VmHWM") - self.before, GROWTH)

    def test_vcpus(self):
        for vcpus in ("-1", "4000000000", "4294967295", "+4000000000", " 2147483648", "-4", "10000"):
            for machine, most in (("nitro", 4096), ("nitro-enclave", 255)):
                self.refuse(domain_xml("many", machine=machine, vcpu=f"<vcpu>{vcpus}</vcpu>"),
                            CONFIG, f"{vcpus} vCPUs", f"'{machine}' can have 1 to {most}")

    def test_vcpus_default_machine(self):
        text = domain_xml("many", vcpu="<vcpu current='1'>-1</vcpu>").replace(
            " machine='nitro-enclave'", "")
        self.refuse(text, CONFIG, "-1 vCPUs", "'nitro'")

    def test_iothreads(self):
        for count in ("4000000000", "+4000000000"):
            self.refuse(domain_xml("io", elements=f"<iothreads>{count}</iothreads>"),
                        CONFIG, "<iothreads>")
        self.conn.defineXML(domain_xml("io", elements="<iothreads>0</iothreads>")).undefine()

    def test_devices(self):
        """devices whose address or name numbers a controller"""
        address = "<address type='drive' controller='2000000000' bus='0' target='0' unit='0'/>"
        for name, device in (
                ("disk", "<disk type='file'><source file='/x'/><target dev='sda' bus='scsi'/>"
                         f"{address}</disk>"),
                ("disk", "<disk type='file'><source file='/x'/>"
                         "<target dev='sdfxshrxv' bus='scsi'/></disk>"),
                ("hostdev", "<hostdev mode='subsystem' type='scsi'><source>"
                            "<adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/>"
                            f"</source>{address}</hostdev>"),
                ("smartcard", "<smartcard mode='host'><address type='ccid' "
                              "controller='2000000000' slot='0'/></smartcard>")):
            self.refuse(domain_xml("controllers", devices=device), CONFIG, f"<{name}>")

    def test_cells(self):
        """NUMA cells, each of which has a distance to each"""
        cells = "".join(f"<cell id='{number}' memory='2048' unit='KiB'><distances>"
                        f"<sibling id='{number}' value='10'/></distances></cell>"
                        for number in range(20000))
        self.refuse(domain_xml("cells", elements=f"<cpu><numa>{cells}</numa></cpu>"),
                    CONFIG, "<numa>")

    def test_entities(self):
        """a name that is gigabytes long when its entities are replaced: deep or wide"""
        deep = '<!ENTITY e0 "0123456789">' + "".join(
            f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 9))
        wide = f'<!ENTITY e "{"x" * (1 << 20)}">'
        for entities, name in ((deep, "&e8;"), (wide, "&e;" * 4096)):
            text = domain_xml("entities").replace("<name>entities<", f"<name>{name}<")
            self.refuse(f"<!DOCTYPE domain [{entities}]>{text}",
                        (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_ERR_XML_DETAIL))

    def test_devices_attached(self):
        """attach-device and metadata, which take XML of a domain that is known"""
        dom = self.conn.defineXML(domain_xml("known"))
        disk = "<disk type='file'><source file='/x'/><target dev='sdfxshrxv' bus='scsi'/></disk>"
        for change in (dom.attachDeviceFlags, dom.detachDeviceFlags, dom.updateDeviceFlags):
            with self.subTest(change.__name__), self.refused(CONFIG, "<disk>"):
                change(disk, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        dom.undefine()


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
