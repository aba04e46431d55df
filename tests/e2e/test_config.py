#
# test_config.py: changes of the stored definition, with libvirt-python
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
vCPUs, memory, pinning, devices, metadata, name and life cycle actions: what the next start
will see. None of it can change in a running enclave, which is said in one sentence.
"""

import contextlib
import os
import unittest
import xml.etree.ElementTree as ElementTree

import taprunner
from daemon import wait_until
from e2etest import EnclaveTest, domain_xml, libvirt, quick_xml

CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CURRENT = libvirt.VIR_DOMAIN_AFFECT_CURRENT
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE

INVALID = libvirt.VIR_ERR_OPERATION_INVALID
INVALID_ARG = libvirt.VIR_ERR_INVALID_ARG
UNSUPPORTED = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
CONFIG_UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
MISSING = libvirt.VIR_ERR_DEVICE_MISSING

TITLE = libvirt.VIR_DOMAIN_METADATA_TITLE
DESCRIPTION = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION
ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT

POWEROFF = libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF
REBOOT = libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT
CRASH = libvirt.VIR_DOMAIN_LIFECYCLE_CRASH
DESTROY = libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY
RESTART = libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART

VSOCK = "<vsock><cid auto='no' address='{}'/></vsock>"
AUTO_VSOCK = "<vsock><cid auto='yes'/></vsock>"
PTY = "<console type='pty'/>"

CHANNEL = """<channel type='{}'>
  <source mode='{}' {}/>
  <target type='virtio' name='vsock.{}'/>
</channel>"""
OUTBOUND = CHANNEL.format("tcp", "connect", "host='kms.example.com' service='443'", 8443)
INBOUND = CHANNEL.format("unix", "bind", "path='/run/hello.sock'", 5000)


def parsed(dom, flags=INACTIVE):
    return ElementTree.fromstring(dom.XMLDesc(flags))


class ConfigTest(EnclaveTest):

    def setUp(self):
        super().setUp()
        self.changes = []
        number = self.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
            lambda conn, dom, kind, uri, opaque: self.changes.append((dom.name(), kind, uri)),
            None)
        conn = self.conn

        def deregister():
            # a test that restarts the daemon has another connection by then
            with contextlib.suppress(libvirt.libvirtError):
                conn.domainEventDeregisterAny(number)

        self.addCleanup(deregister)

    def check_stored(self, name, path, expected):
        """The definition has @expected at @path, in the daemon and in the file."""
        dom = self.conn.lookupByName(name)
        self.assertEqual(parsed(dom).findtext(path), expected)
        stored = ElementTree.parse(os.path.join(self.daemon.config_dir, "nitro", f"{name}.xml"))
        self.assertEqual(stored.findtext(path), expected)

    @staticmethod
    def cid(dom, flags=INACTIVE):
        cid = parsed(dom, flags).find("devices/vsock/cid")
        return cid.get("auto"), cid.get("address")

    def channels(self, dom):
        """Returns (type, source, name of the target) of each channel."""
        return [(channel.get("type"), channel.find("source").attrib,
                 channel.find("target").get("name"))
                for channel in parsed(dom).iterfind("devices/channel")]


class Stored(ConfigTest):
    """A domain that does not run"""

    def test_memory(self):
        """the memory and its maximum are one"""
        dom = self.conn.defineXML(domain_xml("memory", memory="128"))
        self.assertEqual(dom.maxMemory(), 131072)
        for call, mib in ((lambda kib: dom.setMaxMemory(kib), 256),
                          (lambda kib: dom.setMemoryFlags(kib, CONFIG), 192),
                          (lambda kib: dom.setMemoryFlags(kib, CURRENT), 130),
                          (lambda kib: dom.setMemoryFlags(
                              kib, CONFIG | libvirt.VIR_DOMAIN_MEM_MAXIMUM), 512)):
            call(mib * 1024)
            self.check_stored("memory", "memory", str(mib * 1024))
            self.check_stored("memory", "currentMemory", str(mib * 1024))
            self.assertEqual(dom.info()[1:3], [mib * 1024, mib * 1024])
        for kib, word in ((32 * 1024, "too small"), (129 * 1024, "multiple")):
            with self.refused(CONFIG_UNSUPPORTED, word, kib):
                dom.setMemoryFlags(kib, CONFIG)
        with self.refused(INVALID, "not running"):
            dom.setMemory(256 * 1024)
        with self.refused(INVALID_ARG):
            dom.setMemoryFlags(256 * 1024, 1 << 20)
        self.check_stored("memory", "memory", str(512 * 1024))

    def test_vcpus(self):
        """the number of vCPUs and its maximum are one"""
        dom = self.conn.defineXML(domain_xml("vcpus"))
        for flags in (CONFIG, CURRENT, CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM):
            for number in (4, 2):
                dom.setVcpusFlags(number, flags)
                self.check_stored("vcpus", "vcpu", str(number))
                self.assertEqual(dom.vcpusFlags(flags), number)
                self.assertEqual(dom.info()[3], number)
        self.assertEqual(dom.maxVcpus(), 255)
        with self.refused(INVALID_ARG, 256, "nitro-enclave", 255):
            dom.setVcpusFlags(256, CONFIG)
        with self.refused(INVALID_ARG):
            dom.setVcpusFlags(0, CONFIG)
        with self.refused(INVALID, "not running"):
            dom.setVcpus(3)
        for call in (lambda: dom.setVcpusFlags(3, CONFIG | libvirt.VIR_DOMAIN_VCPU_GUEST),
                     lambda: dom.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST)):
            with self.refused(INVALID_ARG):
                call()
        with self.refused(INVALID, "not running"):
            dom.vcpusFlags(LIVE)
        self.check_stored("vcpus", "vcpu", "2")
        device = self.conn.defineXML(domain_xml("device", machine="nitro"))
        self.assertEqual(device.maxVcpus(), 4096)

    def test_vcpus_pinned(self):
        """vCPUs that have CPUs of their own cannot become more than these"""
        dom = self.conn.defineXML(domain_xml(
            "pinned", vcpu="<vcpu cpuset='1-2'>2</vcpu>"))
        with self.refused(CONFIG_UNSUPPORTED, "1-2", "3 vCPUs"):
            dom.setVcpusFlags(3, CONFIG)
        self.check_stored("pinned", "vcpu", "2")

    @unittest.skipIf(os.cpu_count() < 2, "needs a host with two CPUs")
    def test_pin(self):
        """one vCPU is one CPU; all CPUs are no pinning"""
        dom = self.conn.defineXML(domain_xml("pin"))
        host = os.cpu_count()
        everything = (True,) * host
        cpu1 = (False, True) + (False,) * (host - 2)
        self.assertEqual(dom.vcpuPinInfo(CONFIG), [everything])
        for call in (lambda: dom.pinVcpuFlags(0, cpu1, CONFIG),
                     lambda: dom.pinVcpuFlags(0, cpu1, CURRENT)):
            call()
            self.assertEqual(dom.vcpuPinInfo(CONFIG), [cpu1])
            self.assertEqual(parsed(dom).find("cputune/vcpupin").get("cpuset"), "1")
            dom.pinVcpuFlags(0, everything, CONFIG)
            self.assertIsNone(parsed(dom).find("cputune/vcpupin"))
            self.assertEqual(dom.vcpuPinInfo(CURRENT), [everything])
        with self.refused(INVALID_ARG, "vCPU 1"):
            dom.pinVcpuFlags(1, cpu1, CONFIG)
        with self.refused(INVALID_ARG, "CPU 0"):
            dom.pinVcpuFlags(0, (True,) + (False,) * (host - 1), CONFIG)
        with self.refused(INVALID, "not running"):
            dom.pinVcpu(0, cpu1)
        with self.refused(INVALID, "not running"):
            dom.vcpuPinInfo(LIVE)

    @unittest.skipIf(os.cpu_count() < 2, "needs a host with two CPUs")
    def test_pin_in_steps(self):
        """pinning takes one call for each vCPU; the start checks the whole"""
        dom = self.conn.defineXML(domain_xml("steps", vcpu="<vcpu>2</vcpu>"))
        cpu1 = (False, True) + (False,) * (os.cpu_count() - 2)
        dom.pinVcpuFlags(0, cpu1, CONFIG)
        with self.refused(CONFIG_UNSUPPORTED, "1 of 2 vCPUs", "vcpupin"):
            dom.create()
        self.assertEqual(dom.isActive(), 0)
        # a <vcpu cpuset=> becomes a pin for each, so that one of them can change
        dom = self.conn.defineXML(domain_xml(
            "spread", vcpu="<vcpu cpuset='1,3'>2</vcpu>"))
        self.assertEqual(dom.vcpuPinInfo(CONFIG)[0], cpu1)
        dom.pinVcpuFlags(1, cpu1, CONFIG)
        self.assertIsNone(parsed(dom).find("vcpu").get("cpuset"))
        self.assertEqual([pin.get("cpuset") for pin in parsed(dom).findall("cputune/vcpupin")],
                         ["1", "1"])

    def test_vsock(self):
        """a vsock with a CID of its own comes, changes and goes"""
        dom = self.conn.defineXML(domain_xml("vsock"))
        self.assertEqual(self.cid(dom), ("yes", None))
        dom.attachDeviceFlags(VSOCK.format(40), CONFIG)
        self.assertEqual(self.cid(dom), ("no", "40"))
        with self.refused(INVALID, "40", "already"):
            dom.attachDeviceFlags(VSOCK.format(41), CONFIG)
        dom.updateDeviceFlags(VSOCK.format(42), CURRENT)
        self.assertEqual(self.cid(dom), ("no", "42"))
        with self.refused(MISSING, "43"):
            dom.detachDeviceFlags(VSOCK.format(43), CONFIG)
        dom.detachDeviceFlags(VSOCK.format(42), CONFIG)
        self.assertEqual(self.cid(dom), ("yes", None))
        with self.refused(MISSING):
            dom.detachDeviceFlags(AUTO_VSOCK, CONFIG)
        with self.refused(CONFIG_UNSUPPORTED, "CID 3"):
            dom.updateDeviceFlags(VSOCK.format(3), CONFIG)
        dom.updateDeviceFlags(AUTO_VSOCK, CONFIG)

    def test_console(self):
        """a console comes with its twin, changes and goes with it"""
        dom = self.conn.defineXML(domain_xml("console"))
        self.assertIsNone(parsed(dom).find("devices/console"))
        with self.refused(MISSING, "no console"):
            dom.updateDeviceFlags(PTY, CONFIG)
        for device in (PTY, "<serial type='pty'/>"):
            dom.attachDeviceFlags(device, CONFIG)
            devices = parsed(dom).find("devices")
            self.assertEqual([len(devices.findall(kind)) for kind in ("console", "serial")],
                             [1, 1])
            with self.refused(INVALID, "already"):
                dom.attachDeviceFlags(PTY, CONFIG)
            dom.updateDeviceFlags("<console type='file'><source path='/tmp/x'/></console>", CONFIG)
            devices = parsed(dom).find("devices")
            self.assertEqual([devices.find(kind).get("type") for kind in ("console", "serial")],
                             ["file", "file"])
            with self.refused(MISSING, "pty"):
                dom.detachDeviceFlags(PTY, CONFIG)
            with self.refused(MISSING, "/tmp/y"):
                dom.detachDeviceFlags(
                    "<console type='file'><source path='/tmp/y'/></console>", CONFIG)
            dom.detachDeviceFlags("<console type='file'><source path='/tmp/x'/></console>", CONFIG)
            devices = parsed(dom).find("devices")
            self.assertEqual((devices.find("console"), devices.find("serial")), (None, None))
        virtio = "<console type='pty'><target type='virtio'/></console>"
        dom.attachDeviceFlags(virtio, CONFIG)
        dom.detachDeviceFlags(virtio, CONFIG)
        self.assertIsNone(parsed(dom).find("devices/controller"))

    def test_channels(self):
        """a channel is told by its vsock port, and comes without a controller"""
        dom = self.conn.defineXML(domain_xml("channels", devices=PTY))
        outbound = ("tcp", {"mode": "connect", "host": "kms.example.com", "service": "443"},
                    "vsock.8443")
        inbound = ("unix", {"mode": "bind", "path": "/run/hello.sock"}, "vsock.5000")
        for call in (dom.updateDeviceFlags, dom.detachDeviceFlags):
            with self.refused(MISSING, "vsock.8443"):
                call(OUTBOUND, CONFIG)
        for device in (OUTBOUND, INBOUND):
            dom.attachDeviceFlags(device, CONFIG)
            with self.refused(INVALID, "vsock", "already"):
                dom.attachDeviceFlags(device, CONFIG)
        self.assertEqual(self.channels(dom), [outbound, inbound])
        self.assertIsNone(parsed(dom).find("devices/controller"))

        dom.updateDeviceFlags(OUTBOUND.replace("kms", "s3"), CONFIG)
        with self.refused(libvirt.VIR_ERR_XML_ERROR, "host='a b'"):
            dom.updateDeviceFlags(OUTBOUND.replace("kms.example.com", "a b"), CONFIG)
        outbound[1]["host"] = "s3.example.com"
        self.assertEqual(self.channels(dom), [outbound, inbound])

        with self.refused(MISSING, "vsock.5000", "tcp"):
            dom.detachDeviceFlags(OUTBOUND.replace("8443", "5000"), CONFIG)
        dom.detachDeviceFlags(OUTBOUND, CONFIG)
        self.assertEqual(self.channels(dom), [inbound])
        dom.detachDeviceFlags(INBOUND, CONFIG)
        self.assertEqual(self.channels(dom), [])
        self.assertIsNotNone(parsed(dom).find("devices/console"))

    def test_channel_ports(self):
        """what is unique in the whole domain is checked with the whole domain"""
        services = "<nitro:services><nitro:time port='8443'/></nitro:services>"
        dom = self.conn.defineXML(domain_xml("ports", elements=services))
        with self.refused(libvirt.VIR_ERR_XML_ERROR, "8443", "time", "outbound"):
            dom.attachDeviceFlags(OUTBOUND, CONFIG)
        self.assertEqual(self.channels(dom), [])

    def test_other_devices(self):
        """what an enclave cannot have is refused by name; the definition stays"""
        dom = self.conn.defineXML(domain_xml("others"))
        before = dom.XMLDesc(INACTIVE)
        disk = "<disk type='file' device='disk'><source file='/x'/><target dev='vda'/></disk>"
        for device, name in ((disk, "disk"),
                             ("<interface type='user'/>", "interface"),
                             ("<watchdog model='i6300esb'/>", "watchdog"),
                             ("<channel type='pty'><target type='virtio'/></channel>",
                              "channel"),
                             (CHANNEL.format("pty", "bind", "", 5000), "pty"),
                             (OUTBOUND.replace("vsock.8443", "org.qemu.guest_agent.0"),
                              "org.qemu.guest_agent.0"),
                             ("<console type='tcp'><source host='h' service='1'/></console>",
                              "tcp")):
            for call in (dom.attachDeviceFlags, dom.updateDeviceFlags, dom.detachDeviceFlags):
                with self.subTest(name), self.refused(CONFIG_UNSUPPORTED, name):
                    call(device, CONFIG)
        with self.refused(libvirt.VIR_ERR_XML_DETAIL):
            dom.attachDeviceFlags("<nothing", CONFIG)
        for call in (dom.attachDevice, dom.detachDevice):
            with self.refused(INVALID, "not running"):
                call(PTY)
        with self.refused(libvirt.VIR_ERR_NO_SUPPORT):
            dom.detachDeviceAlias("serial0", CONFIG)
        self.assertEqual(dom.XMLDesc(INACTIVE), before)

    def test_metadata(self):
        """title, description and elements of others, each with an event"""
        dom = self.conn.defineXML(domain_xml("words"))
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            dom.metadata(TITLE, None, CONFIG)
        dom.setMetadata(TITLE, "a title", None, None, CONFIG)
        dom.setMetadata(DESCRIPTION, "more words", None, None, CURRENT)
        dom.setMetadata(ELEMENT, "<tag n='1'/>", "t", "http://example.com/t", CONFIG)
        self.assertEqual(dom.metadata(TITLE, None, CONFIG), "a title")
        self.check_stored("words", "title", "a title")
        self.check_stored("words", "description", "more words")
        self.assertIn('n="1"', dom.metadata(ELEMENT, "http://example.com/t", CONFIG))
        dom.setMetadata(TITLE, None, None, None, CONFIG)
        dom.setMetadata(ELEMENT, None, None, "http://example.com/t", CONFIG)
        self.check_stored("words", "title", None)
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            dom.metadata(ELEMENT, "http://example.com/t", CONFIG)
        with self.refused(INVALID, "not running"):
            dom.setMetadata(TITLE, "x", None, None, LIVE)
        with self.refused(INVALID_ARG):
            dom.setMetadata(TITLE, "x", None, None, 1 << 20)
        wait_until(lambda: len(self.changes) >= 5, 10, "the last event")
        self.assertEqual(self.changes, [
            ("words", TITLE, None), ("words", DESCRIPTION, None),
            ("words", ELEMENT, "http://example.com/t"), ("words", TITLE, None),
            ("words", ELEMENT, "http://example.com/t")])

    def test_lifecycle_actions(self):
        dom = self.conn.defineXML(domain_xml("actions"))
        for kind, element in ((POWEROFF, "on_poweroff"), (REBOOT, "on_reboot"),
                              (CRASH, "on_crash")):
            for action, text in ((RESTART, "restart"), (DESTROY, "destroy")):
                dom.setLifecycleAction(kind, action, CONFIG)
                self.check_stored("actions", element, text)
        for kind, action in ((POWEROFF, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE),
                             (CRASH, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY)):
            with self.refused(CONFIG_UNSUPPORTED, "destroy", "restart"):
                dom.setLifecycleAction(kind, action, CONFIG)
        with self.refused(INVALID, "not running"):
            dom.setLifecycleAction(CRASH, RESTART, LIVE)

    def test_rename(self):
        """a new name, for the file and the autostart link as well"""
        dom = self.conn.defineXML(domain_xml("before", elements="<title>t</title>"))
        self.conn.defineXML(domain_xml("other"))
        dom.setAutostart(1)
        for name, code in (("other", INVALID), ("before", INVALID),
                           ("a/b", libvirt.VIR_ERR_XML_DETAIL),
                           ("a\nb", libvirt.VIR_ERR_XML_DETAIL)):
            with self.subTest(name), self.refused(code):
                dom.rename(name)
        with self.assertRaises(libvirt.libvirtError):
            dom.rename("")
        with self.refused(INVALID_ARG):
            dom.rename("x", 1)
        uuid = dom.UUIDString()
        dom.rename("after")
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN):
            self.conn.lookupByName("before")
        dom = self.conn.lookupByName("after")
        self.assertEqual((dom.UUIDString(), dom.autostart()), (uuid, 1))
        self.check_stored("after", "title", "t")
        nitro = os.path.join(self.daemon.config_dir, "nitro")
        self.assertEqual(sorted(os.listdir(nitro)), ["after.xml", "autostart", "other.xml"])
        link = os.path.join(nitro, "autostart", "after.xml")
        self.assertEqual(os.listdir(os.path.dirname(link)), ["after.xml"])
        self.assertEqual(os.readlink(link), os.path.join(nitro, "after.xml"))
        self.events.check("before", [
            (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
            (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)])
        self.events.check("after", [
            (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED)])
        self.conn.defineXML(domain_xml("before"))

    def test_numa_parameters(self):
        """placement is part of the definition: there is no call for it"""
        dom = self.conn.defineXML(domain_xml("numa", elements="<numatune>"
                                             "<memory mode='strict' nodeset='0'/></numatune>"))
        self.assertEqual(parsed(dom).find("numatune/memory").get("nodeset"), "0")
        for call in (lambda: dom.numaParameters(), lambda: dom.setNumaParameters(
                {"numa_nodeset": "0"})):
            with self.refused(libvirt.VIR_ERR_NO_SUPPORT):
                call()

    def test_survives(self):
        """changes are there after the daemon's restart"""
        dom = self.conn.defineXML(domain_xml("kept"))
        dom.setVcpusFlags(3, CONFIG)
        dom.setMemoryFlags(262144, CONFIG)
        dom.attachDeviceFlags(PTY, CONFIG)
        dom.setMetadata(TITLE, "still", None, None, CONFIG)
        dom.rename("held")
        before = dom.XMLDesc(INACTIVE)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("held")
        self.assertEqual(dom.XMLDesc(INACTIVE), before)
        self.assertEqual(len(self.conn.listAllDomains()), 1)

    def test_gone(self):
        """each call on a domain that was undefined gives NO_DOMAIN"""
        dom = self.conn.defineXML(domain_xml("gone"))
        dom.undefine()
        for call in (lambda: dom.setMemoryFlags(262144, CONFIG), dom.maxMemory,
                     lambda: dom.setVcpusFlags(2, CONFIG), dom.maxVcpus,
                     lambda: dom.vcpusFlags(CONFIG), lambda: dom.vcpuPinInfo(CONFIG),
                     lambda: dom.pinVcpuFlags(0, (True,), CONFIG),
                     lambda: dom.attachDeviceFlags(PTY, CONFIG),
                     lambda: dom.metadata(TITLE, None), lambda: dom.rename("x"),
                     lambda: dom.setMetadata(TITLE, "x", None, None),
                     lambda: dom.setLifecycleAction(CRASH, RESTART, CONFIG),
                     lambda: dom.reboot(), lambda: dom.reset(), lambda: dom.messages(),
                     lambda: dom.memoryStats(), lambda: dom.controlInfo(),
                     lambda: dom.setAutostart(1)):
            with self.refused(libvirt.VIR_ERR_NO_DOMAIN, "gone"):
                call()


class Running(ConfigTest):
    """A domain that runs: what it will be next"""

    def live_calls(self, dom, flags):
        cpus = (False, True) + (False,) * (os.cpu_count() - 2)
        return [lambda: dom.setMemoryFlags(262144, flags), lambda: dom.setVcpusFlags(2, flags),
                lambda: dom.pinVcpuFlags(0, cpus, flags),
                lambda: dom.attachDeviceFlags(VSOCK.format(50), flags),
                lambda: dom.updateDeviceFlags(PTY, flags),
                lambda: dom.detachDeviceFlags(PTY, flags),
                lambda: dom.attachDeviceFlags(INBOUND, flags)]

    def test_live(self):
        """no live change; changes of the definition count from the next start on"""
        dom = self.conn.defineXML(quick_xml("live", devices=PTY))
        dom.create()
        before = dom.XMLDesc(0)
        for flags in (LIVE, CURRENT, LIVE | CONFIG):
            for call in self.live_calls(dom, flags):
                with self.refused(UNSUPPORTED, "live", "--config"):
                    call()
        for call in (lambda: dom.setMemory(262144), lambda: dom.setMaxMemory(262144),
                     lambda: dom.setVcpus(2), lambda: dom.attachDevice(VSOCK.format(50)),
                     lambda: dom.detachDevice(PTY)):
            with self.refused(UNSUPPORTED, "live", "--config"):
                call()
        with self.refused(INVALID, "live", "running"):
            dom.rename("dead")
        calls = self.live_calls(dom, CONFIG)
        # a pin of one of two vCPUs is not complete
        del calls[2]
        for call in calls:
            call()
        self.assertEqual(dom.XMLDesc(0), before)
        self.assertEqual((dom.vcpusFlags(LIVE), dom.vcpusFlags(CONFIG), dom.maxVcpus()),
                         (1, 2, 1))
        self.assertEqual(self.cid(dom), ("no", "50"))
        self.assertIsNone(parsed(dom).find("devices/console"))
        self.assertEqual(len(self.channels(dom)), 1)
        dom.destroy()
        self.assertEqual(dom.info()[1:4], [262144, 262144, 2])

    def test_driver_matters(self):
        """titles and life cycle actions change in the running domain, or for the next start"""
        dom = self.conn.defineXML(quick_xml("matters"))
        dom.create()
        dom.setMetadata(TITLE, "now", None, None, LIVE)
        dom.setMetadata(TITLE, "next", None, None, CONFIG)
        self.assertEqual(dom.metadata(TITLE, None, LIVE), "now")
        self.assertEqual(dom.metadata(TITLE, None, CONFIG), "next")
        self.assertEqual(dom.metadata(TITLE, None), "now")
        dom.setLifecycleAction(CRASH, RESTART, LIVE)
        dom.setLifecycleAction(POWEROFF, RESTART, CONFIG)
        self.assertEqual([parsed(dom, 0).findtext(f"on_{end}") for end in ("crash", "poweroff")],
                         ["restart", "destroy"])
        self.assertEqual([parsed(dom).findtext(f"on_{end}") for end in ("crash", "poweroff")],
                         ["destroy", "restart"])
        # what is live is in the status, too
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("matters")
        self.assertEqual(dom.metadata(TITLE, None, LIVE), "now")
        self.assertEqual(parsed(dom, 0).findtext("on_crash"), "restart")
        dom.destroy()
        self.assertEqual(dom.metadata(TITLE, None), "next")

    def test_action_fails(self):
        """a life cycle action changes in the domain and its definition, or in neither"""
        dom = self.conn.defineXML(domain_xml("torn", heartbeat="no"))
        dom.create()
        files = [os.path.join(self.daemon.state_dir, "nitro", "run", "torn.xml"),
                 os.path.join(self.daemon.config_dir, "nitro", "torn.xml")]
        before = [dom.XMLDesc(0), dom.XMLDesc(INACTIVE)]
        for path in files:
            # where libvirt writes it first
            os.mkdir(path + ".new")
            with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, path):
                dom.setLifecycleAction(CRASH, RESTART, LIVE | CONFIG)
            self.assertEqual([dom.XMLDesc(0), dom.XMLDesc(INACTIVE)], before)
            for each in files:
                with open(each, encoding="utf-8") as text:
                    self.assertNotIn("<on_crash>restart", text.read())
            os.rmdir(path + ".new")
        dom.setLifecycleAction(CRASH, RESTART, LIVE | CONFIG)
        self.assertEqual([parsed(dom, flags).findtext("on_crash") for flags in (0, INACTIVE)],
                         ["restart"] * 2)
        dom.destroy()

    def test_transient(self):
        """a transient domain has no definition to change"""
        dom = self.conn.createXML(quick_xml("passing"), 0)
        for call in self.live_calls(dom, CONFIG) + [
                lambda: dom.setMetadata(TITLE, "x", None, None, CONFIG),
                lambda: dom.setLifecycleAction(CRASH, RESTART, CONFIG),
                lambda: dom.vcpusFlags(CONFIG), lambda: dom.vcpuPinInfo(CONFIG)]:
            with self.refused(INVALID, "transient"):
                call()
        with self.refused(INVALID, "running"):
            dom.rename("x")
        dom.destroy()

    def test_read_only(self):
        """a read-only connection changes nothing of it"""
        self.conn.defineXML(domain_xml("seen"))
        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        dom = conn.lookupByName("seen")
        for call in self.live_calls(dom, CONFIG) + [
                lambda: dom.setMetadata(TITLE, "x", None, None, CONFIG),
                lambda: dom.setLifecycleAction(CRASH, RESTART, CONFIG),
                lambda: dom.rename("x"), dom.reboot, dom.reset,
                lambda: dom.setMaxMemory(262144)]:
            with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
                call()
        self.assertEqual((dom.maxMemory(), dom.vcpusFlags(CONFIG)), (131072, 1))


if __name__ == "__main__":
    taprunner.main()
