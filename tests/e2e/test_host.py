#
# test_host.py: what the daemon knows of its host, and checks before a start
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
The calls about the host, nitro.conf, signed images and measurements. Where the host has the
Nitro Hypervisor's device, that is the mock (tests/nitrodevmock.py), which shows
the daemon a /sys with a CPU pool too.
"""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import unittest
import xml.etree.ElementTree as ElementTree
import zlib

import daemon
import eifsigner
import eifwriter
import nitrodevmock
import taprunner
import tinyguest
from daemon import HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, NitroDaemon
from e2etest import Background, EnclaveTest, boot_image, domain_xml, libvirt, quick_xml

VIRT_EIF = os.path.join(daemon.BUILD, "src/eif/virt-eif")

# A check that reads no image takes milliseconds, the time-out of the heartbeat minutes; this is
# for a busy machine.
SOON = 10

UNSUPPORTED = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
CONFIG = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
FAILED = libvirt.VIR_ERR_OPERATION_FAILED


class HostTest(EnclaveTest):
    """With @mock, the settings of the mock, on a host with the device."""

    mock = None
    conf = ""
    boots = False  # whether its domains boot on the emulated machine

    @classmethod
    def warm_up(cls):
        if cls.boots:
            super().warm_up()
        else:
            libvirt.open(cls.daemon.uri).close()

    @classmethod
    def before_start(cls):
        if cls.conf:
            os.makedirs(cls.daemon.config_dir, exist_ok=True)
            with open(os.path.join(cls.daemon.config_dir, "nitro.conf"), "w",
                      encoding="utf-8") as conf:
                conf.write(cls.conf)
        cls.mocked = None
        if cls.mock is not None:
            cls.mocked = nitrodevmock.NitroMock(**cls.mock)
            cls.addClassCleanup(cls.mocked.stop)
            cls.mocked.start()
            cls.daemon.daemon_env.update(cls.mocked.environment(daemon.DAEMON))

    @classmethod
    def living(cls):
        found = super().living()
        if cls.mocked:
            found.pop(cls.mocked.process.pid, None)
        return found

    def virsh(self, *args):
        done = self.daemon.virsh(*args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def soon(self):
        start = time.monotonic()
        yield
        self.assertLess(time.monotonic() - start, SOON)

    def refuse(self, code, *words, **fields):
        """A domain with @fields is refused at its start, at once, and leaves nothing."""
        xml = domain_xml("no", **fields)
        with self.soon(), self.refused(code, *words):
            self.conn.createXML(xml, 0)
        self.assertEqual(self.conn.listAllDomains(), [])


class Node(HostTest):
    """A host without the device, as it is: all can be told by the files that it shows"""

    def test_cpus(self):
        count, online, number = self.conn.getCPUMap()
        # of the whole host, as the daemon may be confined to some
        directories = [name for name in os.listdir("/sys/devices/system/cpu")
                       if name.startswith("cpu") and name[3:].isdigit()]
        self.assertEqual(count, len(directories))
        self.assertEqual(number, os.sysconf("SC_NPROCESSORS_ONLN"))
        self.assertEqual((len(online), sum(online)), (count, number))
        self.assertRegex(self.virsh("nodecpumap"), rf"CPUs present: +{count}\n")
        with self.refused(libvirt.VIR_ERR_INVALID_ARG):
            self.conn.getCPUMap(1)

        every = self.conn.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
        self.assertGreater(every["idle"] + every["user"], self.conn.getCPUStats(0)["user"])
        self.assertIn("idle:", self.virsh("nodecpustats", "--cpu", "0"))
        with self.refused(libvirt.VIR_ERR_INVALID_ARG):
            self.conn.getCPUStats(4000)

    def test_memory(self):
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            total = int(meminfo.readline().split()[1])
        stats = self.conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        self.assertEqual(stats["total"], total)
        self.assertLess(self.conn.getFreeMemory(), total * 1024)
        self.assertGreater(self.conn.getFreeMemory(), 0)
        self.assertEqual(len(self.conn.getCellsFreeMemory(0, 1)), 1)
        self.assertIn("free", self.virsh("nodememstats"))
        self.assertIn("Total", self.virsh("freecell"))
        self.assertIn("0:", self.virsh("freecell", "--all"))

    def test_pages(self):
        size = os.sysconf("SC_PAGESIZE") // 1024
        self.assertGreater(self.conn.getFreePages([size], 0, 1)[0][size], 0)
        self.assertIn("KiB", self.virsh("freepages", "--all"))
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "page size 3 is not available"):
            self.conn.getFreePages([3], 0, 1)
        with self.refused(libvirt.VIR_ERR_INVALID_ARG):
            self.conn.allocPages({2048: 1}, 0, 1, 2)

    def test_memory_parameters(self):
        if not os.path.isdir("/sys/kernel/mm/ksm"):
            self.skipTest("the kernel has no KSM")
        with open("/sys/kernel/mm/ksm/pages_to_scan", encoding="ascii") as pages:
            now = int(pages.read())
        self.assertEqual(self.conn.getMemoryParameters()["shm_pages_to_scan"], now)
        self.assertIn("shm_pages_to_scan", self.virsh("node-memory-tune"))

    def test_sysinfo(self):
        """nobody may not read it, and is told so"""
        with self.refused(CONFIG, "SMBIOS", "dmidecode"):
            self.conn.getSysinfo()

    def test_read_only(self):
        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        self.assertGreater(conn.getCPUMap()[0], 0)
        self.assertGreater(conn.getFreeMemory(), 0)
        for call in (lambda: conn.allocPages({2048: 1}, 0, 1, 0),
                     lambda: conn.setMemoryParameters({"shm_pages_to_scan": 100})):
            with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
                call()

    def test_capabilities(self):
        """the CPUs as they are, and what the emulated machine can have"""
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        cpus = caps.findall("host/topology/cells/cell/cpus/cpu")
        self.assertEqual(len(cpus), self.conn.getCPUMap()[2])
        self.assertEqual([cpu for cpu in cpus if not cpu.get("siblings")], [])
        machines = {m.text: m.get("maxCpus") for m in caps.findall("guest/arch/machine")}
        self.assertEqual(machines, {"nitro": None, "nitro-enclave": "255"})
        self.assertEqual(self.conn.getMaxVcpus("nitro"), 255)

    def test_no_device(self):
        self.refuse(UNSUPPORTED, "/dev/nitro_enclaves", "machine 'nitro-enclave'",
                    machine="nitro")


class Pool(HostTest):
    """16 CPUs, 6 cores of them in the pool, which ends with the last CPU"""

    mock = {"cpus": 16, "pool": "2-7,10-15"}

    def topology(self):
        """{CPU: its attributes} of the capabilities"""
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        return {int(cpu.get("id")): cpu.attrib
                for cpu in caps.findall("host/topology/cells/cell/cpus/cpu")}

    def test_node_info(self):
        model, memory, cpus, mhz, nodes, sockets, cores, threads = self.conn.getInfo()
        self.assertEqual((cpus, nodes, sockets, cores, threads), (4, 1, 1, 8, 2))
        self.assertGreater(memory, 0)

    def test_cpu_map(self):
        """with a bit for each CPU, also behind the last one that is online"""
        count, online, number = self.conn.getCPUMap()
        self.assertEqual((count, number), (16, 4))
        self.assertEqual([cpu for cpu, up in enumerate(online) if up], [0, 1, 8, 9])
        text = self.virsh("nodecpumap")
        self.assertRegex(text, r"CPUs present: +16\n")
        self.assertRegex(text, r"CPUs online: +4\n")
        self.assertRegex(text, r"CPU map: +yy------yy------\n")

    def test_capabilities(self):
        cpus = self.topology()
        self.assertEqual(sorted(cpus), list(range(16)))
        for cpu in (0, 1, 8, 9):
            self.assertEqual(cpus[cpu]["siblings"], f"{cpu % 8},{cpu % 8 + 8}")
        for cpu in (2, 7, 10, 15):
            self.assertEqual(cpus[cpu], {"id": str(cpu)})
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        machines = {m.text: m.get("maxCpus") for m in caps.findall("guest/arch/machine")}
        self.assertEqual(machines, {"nitro": "12", "nitro-enclave": "255"})
        self.assertIn("2048", {p.get("size") for p in caps.findall(
            "host/topology/cells/cell/pages")})

    def test_max_vcpus(self):
        self.assertEqual(self.conn.getMaxVcpus("nitro"), 12)
        for machine, most in (("nitro", "12"), (None, "12"), ("nitro-enclave", "255")):
            caps = self.conn.getDomainCapabilities(None, None, machine, None)
            self.assertEqual(ElementTree.fromstring(caps).find("vcpu").get("max"), most)

    def test_pool_changes(self):
        """a later look shows the pool of that time"""
        self.topology()
        self.set_pool("3,11")
        self.addCleanup(self.set_pool, "2-7,10-15")
        cpus = self.topology()
        self.assertEqual(cpus[2]["siblings"], "2,10")
        self.assertEqual(cpus[3], {"id": "3"})
        self.assertEqual(self.conn.getMaxVcpus(None), 2)

    def set_pool(self, cpus):
        subprocess.run(["/usr/bin/python3", "-c",
                        "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); "
                        "os.write(fd, sys.argv[2].encode())",
                        "/sys/module/nitro_enclaves/parameters/ne_cpus", cpus],
                       env=dict(os.environ, **self.mocked.environment()), check=True)

    def test_cpus(self):
        """what cannot work, before anything has happened"""
        for text, words in (
                ("<vcpu>13</vcpu>", ("13 vCPUs", "12 CPUs (2-7,10-15)")),
                ("<vcpu>3</vcpu>", ("3 vCPUs", "2 threads", "a multiple of 2")),
                ("<vcpu cpuset='1-2'>2</vcpu>", ("CPU 1 ", "not in the CPU pool")),
                ("<vcpu cpuset='2-3'>2</vcpu>", ("CPU 2 without CPU 10",))):
            with self.subTest(text):
                self.refuse(CONFIG, *words, machine="nitro", vcpu=text)
        self.assertEqual(self.mocked.transcript(), [])

    def test_memory(self):
        """too few huge pages: how many, where, and how to get more"""
        self.refuse(FAILED, "1048576 MiB of huge pages on NUMA node 0", "of 2 MiB",
                    "allocpages 2048", "--cellno 0 --add", machine="nitro",
                    vcpu="<vcpu>2</vcpu>", memory="1048576")
        pages = "<memoryBacking><hugepages><page size='4' unit='MiB'/></hugepages></memoryBacking>"
        for machine in "nitro", "nitro-enclave":
            self.refuse(CONFIG, "'no' needs huge pages of 4 MiB", "choose another <page size>",
                        machine=machine, vcpu="<vcpu>2</vcpu>", memory="64", elements=pages)
        self.assertEqual(self.mocked.transcript(), [])


class Running(HostTest):
    """Enclaves on the device, and what they leave to others: 6 CPUs in 3 cores"""

    mock = {"cpus": 8, "pool": "1-3,5-7"}

    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(nitrodevmock.HugePages(96))
        super().setUpClass()

    def create(self, name, vcpu="<vcpu>2</vcpu>", devices=""):
        return self.conn.createXML(self.xml(name, vcpu, devices), 0)

    @classmethod
    def xml(cls, name, vcpu="<vcpu>2</vcpu>", devices=""):
        """An enclave that the mock plays: the image is a kernel that nobody runs."""
        path = os.path.join(cls.daemon.dir, "kernel")
        if not os.path.exists(path):
            with open(path, "wb") as kernel:
                kernel.write(tinyguest.kernel(b""))
        return domain_xml(name, boot=boot_image(path), machine="nitro", memory="64", vcpu=vcpu,
                          devices=devices)

    @classmethod
    def warm_up(cls):
        conn = libvirt.open(cls.daemon.uri)
        conn.createXML(cls.xml("warm-up"), 0).destroy()
        conn.close()
        cls.wait_broker()

    def test_cpus(self):
        """whole cores are counted, by number and by id, also by the next daemon"""
        first = self.create("first", "<vcpu cpuset='1,5'>2</vcpu>")
        second = self.create("second")
        for text, words in (("<vcpu>4</vcpu>", ("needs 4 CPUs", "running domains have 4")),
                            ("<vcpu cpuset='1,5'>2</vcpu>", ("running domain 'first'", "1,5"))):
            with self.soon(), self.refused(FAILED, *words):
                self.create("third", text)
        self.daemon.restart()
        self.reconnect()
        self.conn.lookupByName("second")
        with self.refused(FAILED, "running domains have 4"):
            self.create("third", "<vcpu>4</vcpu>")
        self.conn.lookupByName("first").destroy()
        self.create("third", "<vcpu cpuset='1,5'>2</vcpu>").destroy()
        self.conn.lookupByName("second").destroy()
        del first, second

    def test_cids(self):
        """a fixed CID is given once"""
        vsock = "<vsock><cid auto='no' address='77'/></vsock>"
        self.create("one", devices=vsock)
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, "CID 77", "'one'"):
            self.create("two", devices=vsock)
        self.conn.lookupByName("one").destroy()
        chosen = self.create("chosen")
        cid = ElementTree.fromstring(chosen.XMLDesc()).find("devices/vsock/cid").get("address")
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, f"CID {cid}", "'chosen'"):
            self.create("two", devices=vsock.replace("77", cid))
        chosen.destroy()
        self.create("two", devices=vsock.replace("77", cid)).destroy()

    def test_measurements(self):
        dom = self.create("measured")
        info = dom.launchSecurityInfo()
        self.assertEqual(sorted(info), ["nitro-attested-zero", "nitro-hash", "nitro-pcr0",
                                        "nitro-pcr1", "nitro-pcr2"])
        image = eifwriter.simple(kernel=tinyguest.kernel(b""), cmdline=b"", ramdisks=[b""])
        self.assertEqual(info["nitro-pcr0"], image.pcrs()[0])
        dom.destroy()

    @staticmethod
    def is_broker(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                return b"--broker" in cmdline.read().split(b"\0")
        return False

    @classmethod
    def wait_broker(cls):
        daemon.wait_until(lambda: not any(map(cls.is_broker, cls.processes.descendants())), 20,
                          "the end of the broker")

    def check_nothing_left(self):
        self.wait_broker()
        super().check_nothing_left()
        self.assertEqual(self.mocked.enclaves(), [])


class NoPool(HostTest):
    mock = {"pool": ""}

    def test_no_pool(self):
        self.assertEqual(self.conn.getMaxVcpus("nitro"), 0)
        self.refuse(UNSUPPORTED, "there is no CPU pool", "nitro.conf",
                    "/sys/module/nitro_enclaves/parameters/ne_cpus", machine="nitro",
                    vcpu="<vcpu>2</vcpu>")
        self.assertEqual(self.mocked.transcript(), [])


class Nodes(HostTest):
    """Two NUMA nodes, the pool on the second, which has no huge pages at all"""

    mock = {"cpus": 16, "nodes": 2, "pool": "4-7,12-15"}

    def test_topology(self):
        caps = ElementTree.fromstring(self.conn.getCapabilities())
        cells = {cell.get("id"): sorted(int(cpu.get("id")) for cpu in cell.findall("cpus/cpu"))
                 for cell in caps.findall("host/topology/cells/cell")}
        self.assertEqual(cells, {"0": [0, 1, 2, 3, 8, 9, 10, 11],
                                 "1": [4, 5, 6, 7, 12, 13, 14, 15]})
        self.assertEqual(self.conn.getInfo()[2:3] + self.conn.getInfo()[4:],
                         [8, 2, 1, 4, 2])

    def test_memory(self):
        """huge pages of another node are of no use"""
        with nitrodevmock.HugePages(64):
            self.refuse(CONFIG, "huge pages of 2 MiB", "none of that size", machine="nitro",
                        vcpu="<vcpu>2</vcpu>", memory="64")
        tune = "<numatune><memory mode='strict' nodeset='0'/></numatune>"
        self.refuse(CONFIG, "on NUMA node 0", "pool is on node 1", "<numatune>",
                    machine="nitro", vcpu="<vcpu>2</vcpu>", memory="64", elements=tune)
        self.assertEqual(self.mocked.transcript(), [])


@unittest.skipUnless(daemon.build_is_for_all(), "the user nobody cannot reach the build tree")
class NotOurs(HostTest):
    """The device is there, but for others"""

    read_all = False
    mock = {"device_mode": 0o660}

    def test_denied(self):
        self.refuse(libvirt.VIR_ERR_OPERATION_DENIED, "user 'nobody'", "/dev/nitro_enclaves",
                    "usermod -aG", machine="nitro", vcpu="<vcpu>2</vcpu>")

    def test_host_is_not_ours(self):
        """nobody's daemon may not change the host"""
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, "nr_hugepages"):
            self.conn.allocPages({2048: 1}, 0, 1, 0)
        if os.path.isdir("/sys/kernel/mm/ksm"):
            with self.refused((libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)):
                self.conn.setMemoryParameters({"shm_pages_to_scan": 100})


class OtherDevice(HostTest):
    conf = 'device = "/dev/elsewhere"\n'

    def test_device(self):
        self.refuse(UNSUPPORTED, "/dev/elsewhere", machine="nitro")


class Heartbeat(HostTest):
    """heartbeat_timeout is for domains that say nothing"""

    boots = True
    conf = "heartbeat_timeout = 77\n"

    def log_of(self, name):
        with open(os.path.join(self.daemon.domain_log_dir, f"{name}.log"),
                  encoding="utf-8") as log:
            return log.read().replace(" \\\n", " ")

    def test_timeout(self):
        self.conn.createXML(domain_xml("default")).destroy()
        self.assertIn("--heartbeat-timeout 77 ", self.log_of("default"))
        own = domain_xml("own").replace("enabled='yes'", "enabled='yes' timeout='99'")
        self.conn.createXML(own).destroy()
        self.assertIn("--heartbeat-timeout 99 ", self.log_of("own"))
        self.conn.createXML(quick_xml("none")).destroy()
        self.assertNotIn("--heartbeat-timeout", self.log_of("none"))


class WrongConf(HostTest):
    """A daemon does not start with a file that it does not understand, and says why"""

    def test_wrong(self):
        for text, words in (("heartbeat_timeuot = 90\n", "unknown parameter 'heartbeat_timeuot'"),
                            ("device = 3\n", "expected a string for 'device' parameter")):
            with self.subTest(text):
                other = NitroDaemon()
                self.addCleanup(other.remove)
                os.makedirs(other.config_dir, mode=0o755)
                path = os.path.join(other.config_dir, "nitro.conf")
                with open(path, "w", encoding="utf-8") as conf:
                    conf.write(text)
                # the socket may be there for a moment
                with contextlib.suppress(RuntimeError):
                    other.start()
                daemon.wait_until(lambda: other.process.poll() is not None, 20, "virtnitrod's end")
                self.assertIn(f"{path}: {words}", other.logs())


class Sysinfo(HostTest):
    """The host's SMBIOS information, as a program writes it that counts its runs"""

    system = True
    DMIDECODE = "/usr/sbin/dmidecode"

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        if not os.path.exists(cls.DMIDECODE):
            cls.skipTest(cls, "dmidecode is not installed")
        super().setUpClass()

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.runs = os.path.join(cls.daemon.dir, "runs")
        cls.output = os.path.join(cls.daemon.dir, "smbios")
        script = os.path.join(cls.daemon.dir, "dmidecode")
        with open(script, "w", encoding="utf-8") as program:
            program.write(f"#!/bin/sh\necho run >> {cls.runs}\nexec cat {cls.output}\n")
        os.chmod(script, 0o755)
        subprocess.run(["mount", "--bind", script, cls.DMIDECODE], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", cls.DMIDECODE], check=True)

    def count(self):
        if not os.path.exists(self.runs):
            return 0
        with open(self.runs, encoding="ascii") as runs:
            return len(runs.readlines())

    def test_once(self):
        """it is read once, and again only when it could not be"""
        with self.refused(CONFIG, "dmidecode"):
            self.conn.getSysinfo()
        failed = self.count()
        self.assertGreater(failed, 0)
        with open(self.output, "w", encoding="ascii") as output:
            output.write("BIOS Information\n\tVendor: Nobody\n\tVersion: 7\n\n")
        text = self.conn.getSysinfo()
        self.assertIn("<entry name='vendor'>Nobody</entry>", text)
        read = self.count()
        self.assertGreater(read, failed)
        os.unlink(self.output)
        self.assertEqual([self.conn.getSysinfo() for _ in range(3)], [text] * 3)
        self.assertEqual(self.count(), read)


LARGE_PAGES = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"


class System(HostTest):
    """A system's daemon: manages the pool, and runs helpers as another user"""

    boots = True
    system = True
    mock = {"pool": ""}
    conf = ('user = "daemon"\n'
            'manage_pool = 1\n'
            'pool_cpus = "3,7"\n'
            'pool_huge_pages = [ "1x1G", "1x2M" ]\n')

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        # there is one already, so that the daemon adds none that nobody would give back
        cls.enterClassContext(nitrodevmock.HugePages(1))
        cls.restore(LARGE_PAGES)
        super().setUpClass()

    @classmethod
    def restore(cls, path):
        """The file @path, if there is one, will have again what it has now."""
        if not os.path.exists(path):
            return
        with open(path, encoding="ascii") as file:
            content = file.read()

        def write():
            with open(path, "w", encoding="ascii") as file:
                file.write(content)

        cls.addClassCleanup(write)

    def test_managed(self):
        """the pool is set; that there are no pages of 1 GiB is said"""
        self.assertEqual(self.mocked.ne_cpus, "3,7")
        self.assertEqual(self.conn.getMaxVcpus("nitro"), 2)
        if not os.path.exists(LARGE_PAGES):
            self.assertRegex(self.daemon.logs(), "has 0 huge pages of 1024 MiB, and 1 are asked")

    def test_pages(self):
        """virsh allocpages, and what it gives back"""
        pages = nitrodevmock.HugePages(0)
        with pages._locked():  # pylint: disable=protected-access
            before = self.conn.getFreePages([2048], 0, 1)[0][2048]
            self.virsh("allocpages", "2M", "3", "--cellno", "0", "--add")
            with open(pages.PATH.format(2048, "nr"), encoding="ascii") as number:
                now = int(number.read())
            self.assertEqual(self.conn.getFreePages([2048], 0, 1)[0][2048], before + 3)
            self.virsh("allocpages", "2M", str(now - 3), "--cellno", "0")
            self.assertEqual(self.conn.getFreePages([2048], 0, 1)[0][2048], before)

    @unittest.skipUnless(daemon.build_is_for_all(), "other users cannot reach the build tree")
    def test_user(self):
        """the helper and QEMU run as the user, and the enclave works"""
        dom = self.conn.createXML(domain_xml("user"))
        for pid in (self.helper_of(dom), self.qemu_of(dom)):
            self.assertEqual(os.stat(f"/proc/{pid}").st_uid, 1)
        directory = ElementTree.fromstring(dom.XMLDesc()).find(
            "{http://libvirt.org/schemas/domain/nitro/1.0}vsock").get("directory")
        found = os.stat(directory)
        self.assertEqual((found.st_uid, found.st_gid, found.st_mode & 0o7777), (0, 1, 0o1770))
        dom.destroy()

    @unittest.skipUnless(daemon.build_is_for_all(), "other users cannot reach the build tree")
    def test_user_on_device(self):
        """the helper needs no rights there: it gets all that it needs open"""
        path = self.path("kernel")
        with open(path, "wb") as kernel:
            kernel.write(tinyguest.kernel(b""))
        boot = boot_image(path) + "<cmdline>mock.heartbeat=never</cmdline>"
        with nitrodevmock.HugePages(32):
            dom = self.conn.createXML(quick_xml("user", boot=boot, machine="nitro", memory="64",
                                                vcpu="<vcpu>2</vcpu>"))
            self.assertEqual(os.stat(f"/proc/{self.helper_of(dom)}").st_uid, 1)
            dom.destroy()

    def test_memory_parameters(self):
        """what is set is in the kernel's files, which are played: KSM is the whole host's"""
        kernel = {"pages_to_scan": 100, "sleep_millisecs": 20, "merge_across_nodes": 1,
                  "pages_shared": 1 << 33, "pages_sharing": 4, "pages_unshared": 5,
                  "pages_volatile": 6, "full_scans": 7}
        with self.played_ksm(kernel):
            self.assertEqual(self.conn.getMemoryParameters(),
                             {f"shm_{name}": value for name, value in kernel.items()})
            self.conn.setMemoryParameters({"shm_pages_to_scan": 123, "shm_sleep_millisecs": 45})
            kernel.update(pages_to_scan=123, sleep_millisecs=45)
            self.assertEqual(self.ksm_files(), kernel)
            self.virsh("node-memory-tune", "--shm-pages-to-scan", "77",
                       "--shm-merge-across-nodes", "0")
            kernel.update(pages_to_scan=77, merge_across_nodes=0)
            self.assertEqual(self.ksm_files(), kernel)
            self.assertEqual(self.conn.getMemoryParameters(),
                             {f"shm_{name}": value for name, value in kernel.items()})
            with self.refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "shm_pages_shared"):
                self.conn.setMemoryParameters({"shm_pages_shared": 1})
            self.assertEqual(self.ksm_files(), kernel)

    KSM = "/sys/kernel/mm/ksm"

    @contextlib.contextmanager
    def played_ksm(self, values):
        """The files with @values are where the daemon, and nobody else, looks for KSM's."""
        if not os.path.isdir(self.KSM):
            self.skipTest("the kernel has no KSM")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.KSM], check=True)
        try:
            for name, value in values.items():
                with open(os.path.join(self.KSM, name), "w", encoding="ascii") as file:
                    file.write(f"{value}\n")
            yield
        finally:
            subprocess.run(["umount", self.KSM], check=True)

    def ksm_files(self):
        """{name: number} of KSM's files"""
        found = {}
        for name in os.listdir(self.KSM):
            with open(os.path.join(self.KSM, name), encoding="ascii") as file:
                found[name] = int(file.read())
        return found


class Measurements(HostTest):
    """virsh domlaunchsecinfo"""

    boots = True

    def expected(self):
        done = subprocess.run([VIRT_EIF, "describe", "--json", HELLO_EIF], check=True,
                              capture_output=True)
        return json.loads(done.stdout)["Measurements"]

    def test_measurements(self):
        pcrs = self.expected()
        for debug in ("yes", "no"):
            with self.subTest(debug):
                xml = quick_xml("measured").replace("debug='yes'", f"debug='{debug}'")
                dom = self.conn.createXML(xml)
                self.assertEqual(dom.launchSecurityInfo(), {
                    "nitro-hash": "sha384", "nitro-pcr0": pcrs["PCR0"],
                    "nitro-pcr1": pcrs["PCR1"], "nitro-pcr2": pcrs["PCR2"],
                    "nitro-attested-zero": debug == "yes"})
                text = self.virsh("domlaunchsecinfo", "measured")
                self.assertRegex(text, rf"nitro-pcr0 +: {pcrs['PCR0']}\n")
                self.assertRegex(text, rf"nitro-attested-zero *: {debug}\n")
                dom.destroy()

    def test_many_at_once(self):
        dom = self.conn.createXML(quick_xml("asked"))
        calls = [Background(dom.launchSecurityInfo) for _ in range(20)]
        self.assertEqual({call.result()["nitro-pcr0"] for call in calls},
                         {self.expected()["PCR0"]})

    def test_wrong_state(self):
        dom = self.conn.defineXML(domain_xml("off"))
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, "not running"):
            dom.launchSecurityInfo()
        with self.refused(libvirt.VIR_ERR_INVALID_ARG):
            dom.launchSecurityInfo(1)
        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
            conn.lookupByName("off").launchSecurityInfo()

    def test_helper_hangs(self):
        """destroy ends the wait"""
        dom = self.conn.createXML(quick_xml("hangs"))
        os.kill(self.helper_of(dom), signal.SIGSTOP)
        call = Background(dom.launchSecurityInfo)
        self.assertEqual(dom.info()[0], libvirt.VIR_DOMAIN_RUNNING)
        dom.destroy()
        with self.refused((FAILED, libvirt.VIR_ERR_OPERATION_INVALID)):
            call.result(20)


class Signed(HostTest):
    """Signed images, which the hypervisor would not boot without a word"""

    boots = True

    def image(self, name, signer, **fields):
        with open(HELLO_KERNEL, "rb") as kernel, open(HELLO_INITRD, "rb") as initrd:
            image = eifwriter.simple(kernel=kernel.read(), ramdisks=[initrd.read()],
                                     cmdline=b"console=ttyS0 reboot=t panic=-1 quiet")
        path = self.path(name)
        signer.sign(image, **fields).write(path)
        return path, image

    def test_good(self):
        """boots, and has a PCR8"""
        path, image = self.image("good.eif", eifsigner.Signer())
        dom = self.conn.createXML(domain_xml("good", boot=boot_image(path)))
        info = dom.launchSecurityInfo()
        self.assertEqual(info["nitro-pcr0"], image.pcrs()[0])
        self.assertEqual(len(info["nitro-pcr8"]), 96)
        dom.destroy()

    def test_bad(self):
        good = eifsigner.Signer()
        for name, signer, fields, words in (
                ("expired", eifsigner.Signer(days=(-9, -2)), {}, "has expired on {0.end} UTC"),
                ("early", eifsigner.Signer(days=(2, 9)), {}, "is not valid before {0.start} UTC"),
                ("wrong", good, {"change": lambda raw: raw[::-1]}, "signature is wrong")):
            with self.subTest(name):
                path, _ = self.image(f"{name}.eif", signer, **fields)
                self.refuse(FAILED, path, words.format(signer), boot=boot_image(path))

    def test_changed_after_signing(self):
        """the helper compares what was signed with what it has loaded"""
        path, image = self.image("changed.eif", eifsigner.Signer(), pcr0=bytes(48))
        sentence = ("the image is not the one that was signed: its PCR0 is "
                    f"{image.pcrs()[0]}, and {'0' * 96} was signed")
        with self.refused(FAILED, path, sentence):
            self.conn.createXML(domain_xml("changed", boot=boot_image(path)))
        verdict = subprocess.run([VIRT_EIF, "verify", path], check=False, capture_output=True,
                                 text=True)
        self.assertIn(sentence, verdict.stderr)

    def sign(self, path, name):
        """Has virt-eif sign an image, with a new key; returns the PCR8 that it tells."""
        signer = eifsigner.Signer()
        for suffix, content in (("key", signer.private_pem()), ("pem", signer.pem)):
            with open(self.path(f"{name}.{suffix}"), "wb") as file:
                file.write(content)
        done = subprocess.run([VIRT_EIF, "sign", "--key", self.path(f"{name}.key"), "--certificate",
                               self.path(f"{name}.pem"), path], check=False, capture_output=True,
                              text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.removeprefix("PCR8: ").rstrip("\n")

    def test_signed_by_virt_eif(self):
        """boots with its PCR8 in the definition; not when tampered with, or signed by others"""
        path = self.path("ours.eif")
        shutil.copyfile(HELLO_EIF, path)
        pcr8 = self.sign(path, "ours")
        xml = domain_xml("ours", boot=boot_image(path)).replace(
            "</domain>", f"<nitro:measurement pcr='8'>{pcr8}</nitro:measurement></domain>")
        dom = self.conn.createXML(xml)
        self.assertEqual(dom.launchSecurityInfo()["nitro-pcr8"], pcr8)
        dom.destroy()

        with open(path, "rb") as image:
            data = bytearray(image.read())
        at = data.index(b"console=")
        data[at] ^= 1
        data[544:548] = struct.pack(">I", zlib.crc32(data[:544] + data[548:]))
        tampered = self.path("tampered.eif")
        with open(tampered, "wb") as image:
            image.write(data)
        with self.refused(FAILED, tampered, "the image is not the one that was signed"):
            self.conn.createXML(xml.replace(path, tampered))

        other = self.sign(path, "other")
        with self.soon(), self.refused(FAILED, path, other, pcr8):
            self.conn.createXML(xml)

    def test_not_as_expected(self):
        """a definition that expects another image: known from what was signed"""
        path, image = self.image("other.eif", eifsigner.Signer())
        xml = domain_xml("other", boot=boot_image(path)).replace(
            "</domain>", f"<nitro:measurement pcr='0'>{'ab' * 48}</nitro:measurement></domain>")
        with self.soon(), self.refused(FAILED, path, image.pcrs()[0], "ab" * 48):
            self.conn.createXML(xml)
        xml = domain_xml("unsigned").replace(
            "</domain>", f"<nitro:measurement pcr='8'>{'ab' * 48}</nitro:measurement></domain>")
        with self.soon(), self.refused(FAILED, "not signed", "PCR8"):
            self.conn.createXML(xml)


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
