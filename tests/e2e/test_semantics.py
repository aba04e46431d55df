#
# test_semantics.py: what libvirt's drivers have in common, of the nitro driver
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Definitions over running domains, creation over definitions, clashes of names and UUIDs, ids,
defaults, and errors of calls in the wrong state. Only what has to run is booted, and without
waiting for it.
"""

import contextlib
import os
import uuid
import xml.etree.ElementTree as ElementTree

import taprunner
from daemon import wait_until
from e2etest import (ADDED, DESTROYED, NAMESPACE, STARTED, UNDEFINED, UPDATED, Background,
                     EnclaveTest, libvirt, quick_xml)

INVALID = libvirt.VIR_ERR_OPERATION_INVALID
FAILED = libvirt.VIR_ERR_OPERATION_FAILED
NO_DOMAIN = libvirt.VIR_ERR_NO_DOMAIN
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
SECURE = libvirt.VIR_DOMAIN_XML_SECURE

PTY = "<console type='pty'/>"


class Redefine(EnclaveTest):

    def test_running(self):
        """a definition over a running one counts from the next start on"""
        number = uuid.uuid4()
        dom = self.conn.defineXML(quick_xml("over", number, memory="128"))
        dom.create()
        again = self.conn.defineXML(quick_xml("over", number, memory="256"))
        self.assertEqual(again.ID(), dom.ID())
        self.assertEqual(dom.isUpdated(), 1)
        self.assertEqual(dom.info()[1], 131072)
        self.assertEqual(ElementTree.fromstring(dom.XMLDesc(0)).findtext("memory"), "131072")
        self.assertEqual(ElementTree.fromstring(dom.XMLDesc(INACTIVE)).findtext("memory"),
                         "262144")
        dom.destroy()
        self.assertEqual(dom.info()[1], 262144)
        self.events.check("over", [ADDED, STARTED, UPDATED, DESTROYED])

    def test_transient(self):
        """a definition over a transient domain makes it persistent, as virt-install does"""
        number = uuid.uuid4()
        dom = self.conn.createXML(quick_xml("passing", number), 0)
        self.assertEqual(dom.isPersistent(), 0)
        self.conn.defineXML(quick_xml("passing", number, memory="256"))
        self.assertEqual((dom.isPersistent(), dom.isActive()), (1, 1))
        dom.destroy()
        self.assertEqual((dom.isActive(), dom.ID(), dom.info()[1]), (0, -1, 262144))
        dom.undefine()
        with self.refused(NO_DOMAIN):
            self.conn.lookupByUUIDString(str(number))
        self.events.check("passing",
                         [STARTED, ADDED, DESTROYED, UNDEFINED])

    def test_own_live_xml(self):
        """the live XML is a good definition, and nothing live of it is stored"""
        dom = self.conn.createXML(quick_xml("mirror", devices=PTY), 0)
        for flags in (0, SECURE):
            self.conn.defineXML(dom.XMLDesc(flags))
            stored = ElementTree.fromstring(dom.XMLDesc(INACTIVE))
            self.assertIsNone(stored.get("id"))
            self.assertIsNone(stored.find("devices/console/source"))
            self.assertIsNone(stored.find("devices/console/alias"))
            self.assertIsNone(stored.find(f"{{{NAMESPACE}}}vsock"))
            cid = stored.find("devices/vsock/cid")
            self.assertEqual((cid.get("auto"), cid.get("address")), ("yes", None))
        before = dom.XMLDesc(INACTIVE)
        dom.destroy()
        self.assertEqual(dom.XMLDesc(INACTIVE), before)
        # and it starts
        dom.create()
        dom.destroy()

    def test_undefine_running(self):
        """a running domain that is undefined goes on as a transient one"""
        dom = self.conn.defineXML(quick_xml("leaving"))
        dom.create()
        dom.undefine()
        self.assertEqual((dom.isActive(), dom.isPersistent()), (1, 0))
        with self.refused(INVALID, "transient"):
            dom.undefine()
        dom.destroy()
        with self.refused(NO_DOMAIN):
            dom.isActive()

    def test_refused_definition(self):
        """a definition that is refused changes nothing of the one before"""
        number = uuid.uuid4()
        dom = self.conn.defineXML(quick_xml("firm", number))
        before = dom.XMLDesc(INACTIVE)
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
            self.conn.defineXML(quick_xml("firm", number, memory="63"))
        self.assertEqual(dom.XMLDesc(INACTIVE), before)
        self.events.check("firm", [ADDED])


class Create(EnclaveTest):

    def test_over_definition(self):
        """createXML on an inactive definition starts it, and it stays defined"""
        number = uuid.uuid4()
        dom = self.conn.defineXML(quick_xml("both", number, memory="256"))
        created = self.conn.createXML(quick_xml("both", number, memory="128"), 0)
        self.assertEqual((created.isPersistent(), created.isActive()), (1, 1))
        self.assertEqual(created.info()[1], 131072)
        created.destroy()
        self.assertEqual((dom.isActive(), dom.isPersistent(), dom.info()[1]), (0, 1, 262144))

    def test_over_running(self):
        number = uuid.uuid4()
        dom = self.conn.createXML(quick_xml("once", number), 0)
        first = dom.ID()
        with self.refused(INVALID, "once", "active"):
            self.conn.createXML(quick_xml("once", number), 0)
        self.assertEqual((dom.ID(), dom.isActive()), (first, 1))
        dom.destroy()

    def test_over_definition_fails(self):
        """a creation that fails leaves the definition as it was"""
        number = uuid.uuid4()
        dom = self.conn.defineXML(quick_xml("sound", number))
        before = dom.XMLDesc(INACTIVE)
        with self.assertRaises(libvirt.libvirtError):
            self.conn.createXML(quick_xml("sound", number, boot="<kernel>/nothing</kernel>"), 0)
        self.assertEqual((dom.XMLDesc(INACTIVE), dom.isActive(), dom.isPersistent()),
                         (before, 0, 1))

    def test_clashes(self):
        """a name belongs to one UUID, and a UUID to one name"""
        one, two = uuid.uuid4(), uuid.uuid4()
        self.conn.defineXML(quick_xml("first", one))
        for call in (self.conn.defineXML, lambda xml: self.conn.createXML(xml, 0)):
            with self.refused(FAILED, "first", one):
                call(quick_xml("first", two))
            with self.refused(FAILED, "first", one):
                call(quick_xml("second", one))
        self.assertEqual([dom.name() for dom in self.conn.listAllDomains()], ["first"])

    def test_ids(self):
        """ids are positive, never used again, and -1 while a domain is inactive"""
        dom = self.conn.defineXML(quick_xml("number"))
        seen = []
        for _ in range(3):
            self.assertEqual(dom.ID(), -1)
            dom.create()
            self.assertGreater(dom.ID(), 0)
            self.assertNotIn(dom.ID(), seen)
            seen.append(dom.ID())
            self.assertEqual(self.conn.lookupByID(dom.ID()).name(), "number")
            dom.destroy()
            self.assertEqual(self.conn.lookupByName("number").ID(), -1)
            dom = self.conn.lookupByName("number")
        for number in seen + [0, -1, 99999]:
            with self.assertRaises(libvirt.libvirtError):
                self.conn.lookupByID(number)


class Defaults(EnclaveTest):

    def test_defaults(self):
        """a minimal definition: machine, vCPU, console target, vsock and actions"""
        xml = ("<domain type='nitro'><name>least</name><memory unit='MiB'>128</memory>"
               "<os><type>hvm</type><kernel>/x.eif</kernel></os>"
               "<devices><console type='pty'/></devices></domain>")
        dom = self.conn.defineXML(xml)
        got = ElementTree.fromstring(dom.XMLDesc(INACTIVE))
        self.assertEqual(got.find("os/type").get("machine"), "nitro")
        self.assertEqual(got.find("os/type").get("arch"), "x86_64")
        self.assertEqual(got.findtext("vcpu"), "1")
        self.assertIsNone(got.find("os/cmdline"))
        self.assertEqual(got.find("devices/console/target").get("type"), "serial")
        self.assertEqual(got.find("devices/serial/target").get("port"), "0")
        self.assertEqual(got.find("devices/vsock/cid").get("auto"), "yes")
        self.assertEqual([got.findtext(f"on_{end}") for end in ("poweroff", "reboot", "crash")],
                         ["destroy", "restart", "destroy"])
        self.assertEqual(got.findtext("currentMemory"), "131072")
        uuid.UUID(got.findtext("uuid"))


class WrongState(EnclaveTest):
    """OPERATION_INVALID before anything else is looked at"""

    def test_inactive(self):
        dom = self.conn.defineXML(quick_xml("still"))
        stream = self.conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
        for call in (dom.destroy, lambda: dom.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL),
                     dom.shutdown, lambda: dom.shutdownFlags(0), dom.reboot, dom.reset,
                     lambda: dom.openConsole("nonsense", stream, 0),
                     lambda: dom.setMemory(1), lambda: dom.setVcpus(99999),
                     lambda: dom.pinVcpu(77, (True,)), lambda: dom.attachDevice("nonsense"),
                     lambda: dom.detachDevice("nonsense"), dom.memoryStats, dom.vcpus):
            with self.refused(INVALID, "not running"):
                call()
        self.events.check("still", [ADDED])

    def test_active(self):
        number = uuid.uuid4()
        dom = self.conn.createXML(quick_xml("busy", number), 0)
        for call in (dom.create, lambda: dom.createWithFlags(0),
                     lambda: self.conn.createXML(quick_xml("busy", number), 0),
                     lambda: dom.rename("a/b"), dom.undefine, lambda: dom.setAutostart(1),
                     lambda: dom.setMemoryFlags(1, libvirt.VIR_DOMAIN_AFFECT_CONFIG)):
            with self.refused(INVALID):
                call()
        dom.destroy()
        self.events.check("busy", [STARTED, DESTROYED])

    def test_late_client(self):
        """a client that registers late sees everything after that, once"""
        dom = self.conn.defineXML(quick_xml("noisy"))
        dom.create()
        seen = []
        conn = libvirt.open(self.daemon.uri)
        numbers = [conn.domainEventRegisterAny(
            domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lambda conn, dom, event, detail, opaque: seen.append((opaque, event, detail)), which)
            for which, domain in (("all", None), ("one", conn.lookupByName("noisy")))]
        dom.destroy()
        self.conn.defineXML(quick_xml("other"))
        dom.undefine()
        self.events.wait("noisy", *UNDEFINED)
        wait_until(lambda: len(seen) >= 5, 10, "the last event")
        for number in numbers:
            conn.domainEventDeregisterAny(number)
        conn.close()
        self.assertEqual([event[1:] for event in seen if event[0] == "all"],
                         [DESTROYED, ADDED, UNDEFINED])
        self.assertEqual([event[1:] for event in seen if event[0] == "one"],
                         [DESTROYED, UNDEFINED])


class FirstStart(EnclaveTest):
    """The first start asks the helper for the accelerator: what happens until it answers"""

    @classmethod
    def before_start(cls):
        cls.hold = os.path.join(cls.daemon.dir, "hold")
        cls.asked = os.path.join(cls.daemon.dir, "run", "asked")
        cls.daemon.wrap_helper(f"""if [ "$1" = --probe ]; then
    touch {cls.asked}
    while [ -e {cls.hold} ]; do sleep 0.05; done
fi""")

    def setUp(self):
        super().setUp()
        # a daemon that has not asked yet
        self.daemon.restart()
        self.reconnect()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.asked)
        with open(self.hold, "w", encoding="ascii"):
            pass

    def ask(self, call, *args):
        """Calls @call, and returns when it waits for the accelerator."""
        start = Background(call, *args)
        wait_until(lambda: os.path.exists(self.asked), 20, "the question")
        return start

    def answer(self, start):
        os.unlink(self.hold)
        return start.result()

    def memory(self, dom, flags=0):
        return int(ElementTree.fromstring(dom.XMLDesc(flags)).findtext("memory")) // 1024

    def test_define(self):
        """a definition of what is about to start waits for the next start"""
        number = uuid.uuid4()
        start = self.ask(self.conn.createXML, quick_xml("hasty", number, memory="128"), 0)
        other = libvirt.open(self.daemon.uri)
        self.addCleanup(other.close)
        other.defineXML(quick_xml("hasty", number, memory="192"))
        dom = self.answer(start)
        self.assertEqual((self.memory(dom), self.memory(dom, INACTIVE)), (128, 192))
        dom.destroy()
        self.assertEqual(self.memory(dom), 192)

    def test_create(self):
        """of two that create the same domain one succeeds, with its own definition"""
        number = uuid.uuid4()
        other = libvirt.open(self.daemon.uri)
        self.addCleanup(other.close)
        self.conn.defineXML(quick_xml("twice", number, memory="256"))
        starts = {memory: self.ask(conn.createXML, quick_xml("twice", number, memory=memory), 0)
                  for conn, memory in ((self.conn, "128"), (other, "192"))}
        os.unlink(self.hold)
        done = {}
        for memory, start in starts.items():
            try:
                done[memory] = start.result()
            except libvirt.libvirtError as error:
                self.assertEqual(error.get_error_code(), INVALID)
        self.assertEqual(len(done), 1)
        for memory, dom in done.items():
            self.assertEqual((self.memory(dom), self.memory(dom, INACTIVE)), (int(memory), 256))
            dom.destroy()
            self.assertEqual(self.memory(dom), 256)

    def test_queries(self):
        """the domain can be looked at and redefined before its start"""
        dom = self.conn.defineXML(quick_xml("early"))
        start = self.ask(dom.create)
        other = libvirt.open(self.daemon.uri)
        self.addCleanup(other.close)
        other.lookupByName("early").setMemoryFlags(192 * 1024, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self.answer(start)
        self.assertEqual(self.memory(dom), 192)
        dom.destroy()


if __name__ == "__main__":
    taprunner.main()
