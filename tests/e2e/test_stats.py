#
# test_stats.py: what can be known of an enclave from outside, with libvirt-python
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The numbers that virt-top, collectd, nova and virt-manager read. One enclave runs for many
of the checks, as each of them only looks.
"""

import os
import time
import unittest
import xml.etree.ElementTree as ElementTree

import taprunner
from daemon import Processes, wait_until
from e2etest import EnclaveTest, domain_xml, libvirt

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
INVALID = libvirt.VIR_ERR_OPERATION_INVALID
INVALID_ARG = libvirt.VIR_ERR_INVALID_ARG

STATE = libvirt.VIR_DOMAIN_STATS_STATE
CPU_TOTAL = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
BALLOON = libvirt.VIR_DOMAIN_STATS_BALLOON
VCPU = libvirt.VIR_DOMAIN_STATS_VCPU
BLOCK = libvirt.VIR_DOMAIN_STATS_BLOCK

# CPU times of an emulated enclave with two vCPUs, in ns
TIMES = ("cpu.time", "cpu.user", "cpu.system", "vcpu.0.time", "vcpu.1.time")
NS_PER_TICK = 10 ** 9 // os.sysconf("SC_CLK_TCK")


class Stats(EnclaveTest):

    def all_stats(self, groups=0, flags=0):
        return {dom.name(): stats for dom, stats in self.conn.getAllDomainStats(groups, flags)}

    def check_running(self, dom):
        self.assertEqual(dom.maxMemory(), 131072)
        self.assertEqual(dom.info()[:4], [libvirt.VIR_DOMAIN_RUNNING, 131072, 131072, 2])
        self.assertEqual((dom.vcpusFlags(LIVE), dom.vcpusFlags(CONFIG), dom.maxVcpus()),
                         (2, 2, 2))
        everything = (True,) * os.cpu_count()
        vcpus, maps = dom.vcpus()
        self.assertEqual([vcpu[:2] for vcpu in vcpus], [(0, libvirt.VIR_VCPU_RUNNING),
                                                        (1, libvirt.VIR_VCPU_RUNNING)])
        self.assertTrue(all(cpu in range(os.cpu_count()) for _, _, _, cpu in vcpus), vcpus)
        self.assertEqual(maps, [everything, everything])
        self.assertEqual(dom.vcpuPinInfo(LIVE), [everything, everything])
        self.assertEqual(dom.memoryStats(), {"actual": 131072})
        self.assertEqual(dom.controlInfo()[:2], [libvirt.VIR_DOMAIN_CONTROL_OK, 0])
        with self.refused(INVALID_ARG):
            dom.controlInfo(1)

    def check_records(self, cid):
        """every group, what is in it, and which domains are asked for"""
        stats = self.all_stats()
        self.assertEqual(sorted(stats), ["idle", "runs"])
        boot = stats["runs"].pop("nitro.boot-time")
        self.assertTrue(100 < boot < 60000, boot)
        times = {key: stats["runs"].pop(key) for key in TIMES}
        self.assertEqual(times["cpu.time"], times["cpu.user"] + times["cpu.system"])
        self.assertEqual(stats["runs"], {
            "state.state": libvirt.VIR_DOMAIN_RUNNING,
            "state.reason": libvirt.VIR_DOMAIN_RUNNING_BOOTED,
            "nitro.debug": True, "nitro.cid": cid,
            "balloon.current": 131072, "balloon.maximum": 131072,
            "vcpu.current": 2, "vcpu.maximum": 2,
            "vcpu.0.state": libvirt.VIR_VCPU_RUNNING,
            "vcpu.1.state": libvirt.VIR_VCPU_RUNNING})
        self.assertEqual(stats["idle"], {
            "state.state": libvirt.VIR_DOMAIN_SHUTOFF, "state.reason": 0, "nitro.debug": True,
            "balloon.current": 131072, "balloon.maximum": 131072,
            "vcpu.current": 1, "vcpu.maximum": 1})
        for group, prefix in ((STATE, ("state.", "nitro.")), (CPU_TOTAL, ("cpu.",)),
                              (BALLOON, ("balloon.",)), (VCPU, ("vcpu.",))):
            keys = self.all_stats(group)["runs"]
            self.assertTrue(keys and all(key.startswith(prefix) for key in keys), keys)
        self.assertEqual(self.all_stats(BLOCK)["runs"], {})

        with self.refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, hex(BLOCK)):
            self.all_stats(STATE | BLOCK, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)
        self.all_stats(STATE | VCPU, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)
        for name, expected in (("ACTIVE", ["runs"]), ("INACTIVE", ["idle"]),
                               ("RUNNING", ["runs"]), ("SHUTOFF", ["idle"]), ("PAUSED", []),
                               ("PERSISTENT", ["idle", "runs"]), ("TRANSIENT", []),
                               ("NOWAIT", ["idle", "runs"])):
            flag = getattr(libvirt, f"VIR_CONNECT_GET_ALL_DOMAINS_STATS_{name}")
            self.assertEqual(sorted(self.all_stats(STATE, flag)), expected, name)
        with self.refused(INVALID_ARG):
            self.all_stats(STATE, 1 << 25)
        doms = [self.conn.lookupByName("idle")]
        self.assertEqual([dom.name() for dom, _ in self.conn.domainListGetStats(doms, STATE)],
                         ["idle"])

    def test_running(self):
        """everything about one enclave, before and after the daemon's restart"""
        self.conn.defineXML(domain_xml("idle"))
        dom = self.conn.defineXML(domain_xml("runs", vcpu="<vcpu>2</vcpu>"))
        dom.create()
        cid = int(ElementTree.fromstring(dom.XMLDesc(0)).find("devices/vsock/cid").get("address"))
        self.check_running(dom)
        self.check_records(cid)
        # who may only look, may see it all
        conn, self.conn = self.conn, libvirt.openReadOnly(self.daemon.uri)
        self.check_running(self.conn.lookupByName("runs"))
        self.check_records(cid)
        self.conn.close()
        self.conn = conn

        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("runs")
        self.wait_state(dom, libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
        wait_until(lambda: dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK, 10, "no job")
        self.check_running(dom)
        self.check_records(cid)
        dom.destroy()

    @staticmethod
    def used(path):
        """
        Returns the CPU times in the file "stat" in @path, in ns: user and system, and those of
        children that have ended.
        """
        with open(os.path.join(path, "stat"), encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return [int(field) * NS_PER_TICK for field in fields[11:15]]

    def read_times(self, helper):
        """Returns what this test itself reads of the processes of the helper: as TIMES."""
        below = Processes().descendants(helper)
        qemu, = (pid for pid, name in below.items() if name.startswith("qemu-"))
        used = [self.used(f"/proc/{pid}") for pid in [helper, *below]]
        user, system = (sum(process[i] + process[i + 2] for process in used) for i in (0, 1))
        times = [user + system, user, system, None, None]
        for thread in os.listdir(f"/proc/{qemu}/task"):
            path = f"/proc/{qemu}/task/{thread}"
            with open(f"{path}/comm", encoding="ascii") as comm:
                name = comm.read()
            for vcpu in (0, 1):
                if name.startswith(f"CPU {vcpu}/"):
                    times[3 + vcpu] = sum(self.used(path)[:2])
        return dict(zip(TIMES, times))

    def check_times(self, dom, helper, above):
        """
        The CPU times of the domain are between what this test reads before and after, and not
        below @above. Returns them.
        """
        before = self.read_times(helper)
        stats = self.all_stats()[dom.name()]
        info = dom.info()[4]
        vcpus = [vcpu[2] for vcpu in dom.vcpus()[0]]
        after = self.read_times(helper)
        for key in TIMES:
            self.assertGreaterEqual(stats[key], max(before[key], above.get(key, 0)), key)
            self.assertLessEqual(stats[key], after[key], key)
        self.assertTrue(stats["cpu.time"] <= info <= after["cpu.time"], info)
        for number, used in enumerate(vcpus):
            key = f"vcpu.{number}.time"
            self.assertTrue(stats[key] <= used <= after[key], (key, stats[key], used, after[key]))
        return {key: stats[key] for key in TIMES}

    def test_cpu_time(self):
        """it is that of the processes, grows, and goes on after the daemon's restart"""
        begin = time.monotonic()
        dom = self.conn.defineXML(domain_xml("busy", vcpu="<vcpu>2</vcpu>"))
        dom.create()
        helper = self.helper_of(dom)
        first = self.check_times(dom, helper, {})
        # a boot takes some time under any accelerator, and no CPU gives more than the clock has
        self.assertGreater(first["cpu.time"], 50 * 10 ** 6)
        self.assertGreater(first["vcpu.0.time"], 20 * 10 ** 6)
        elapsed = time.monotonic() - begin
        self.assertLess(first["cpu.time"], elapsed * os.cpu_count() * 10 ** 9)
        for key in ("vcpu.0.time", "vcpu.1.time"):
            self.assertLess(first[key], elapsed * 10 ** 9, key)
        self.assertLessEqual(first["vcpu.0.time"] + first["vcpu.1.time"], first["cpu.time"])

        wait_until(lambda: self.all_stats()["busy"]["cpu.time"] > first["cpu.time"], 30,
                   "more CPU time")
        second = self.check_times(dom, helper, first)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("busy")
        self.wait_state(dom, libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
        self.check_times(dom, helper, second)
        dom.destroy()
        # that of a run, as qemu's driver has it
        self.assertEqual(dom.info()[4], 0)
        self.assertNotIn("cpu.time", self.all_stats()["busy"])

    @unittest.skipIf(os.cpu_count() < 2, "needs a host with two CPUs")
    def test_given_cpus(self):
        """the CPUs that an enclave was given, also after the daemon's restart"""
        dom = self.conn.defineXML(domain_xml("given", vcpu="<vcpu cpuset='1'>1</vcpu>",
                                             heartbeat="no"))
        cpu1 = (False, True) + (False,) * (os.cpu_count() - 2)
        self.assertEqual(dom.vcpuPinInfo(CONFIG), [cpu1])
        dom.create()
        for _ in range(2):
            wait_until(lambda: dom.vcpus()[0][0][3] == 1, 10, "the CPU of the vCPU")
            vcpus, maps = dom.vcpus()
            self.assertEqual((vcpus[0][:2], vcpus[0][3]), ((0, libvirt.VIR_VCPU_RUNNING), 1))
            self.assertEqual((len(vcpus), maps), (1, [cpu1]))
            self.assertEqual(dom.vcpuPinInfo(LIVE), [cpu1])
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("given")
        dom.destroy()

    def test_inactive(self):
        """what there is of running domains only"""
        dom = self.conn.defineXML(domain_xml("idle"))
        for call in (dom.vcpus, dom.memoryStats, dom.controlInfo, lambda: dom.vcpusFlags(LIVE)):
            with self.refused(INVALID, "not running"):
                call()
        self.assertEqual(dom.info(), [libvirt.VIR_DOMAIN_SHUTOFF, 131072, 131072, 1, 0])

    def test_messages(self):
        """what an operator should know before trusting the enclave"""
        emulated = "emulated"
        for debug, heartbeat, machine, words in (
                ("no", "yes", "nitro", []), ("yes", "yes", "nitro", ["debug"]),
                ("no", "no", "nitro", ["heartbeat"]), ("no", "yes", "nitro-enclave", [emulated]),
                ("yes", "no", "nitro-enclave", ["debug", "heartbeat", emulated])):
            xml = domain_xml("risky", machine=machine, heartbeat=heartbeat).replace(
                "debug='yes'", f"debug='{debug}'")
            dom = self.conn.defineXML(xml)
            messages = dom.messages()
            self.assertEqual(len(messages), len(words), messages)
            for word, message in zip(words, messages):
                self.assertIn(word, message)
                self.assertTrue(message.startswith("tainted: "), message)
            self.assertEqual(dom.messages(libvirt.VIR_DOMAIN_MESSAGE_TAINTING), messages)
            self.assertEqual(dom.messages(libvirt.VIR_DOMAIN_MESSAGE_DEPRECATION), [])
            with self.refused(INVALID_ARG):
                dom.messages(1 << 10)
            dom.undefine()

    def test_what_cannot_be(self):
        """calls without a counterpart: NO_SUPPORT, which clients tolerate"""
        dom = self.conn.defineXML(domain_xml("plain"))
        stream = self.conn.newStream()
        for name, *args in (
                ("suspend",), ("resume",), ("managedSave", 0), ("jobInfo",), ("save", "/x"),
                ("coreDump", "/x"), ("snapshotNum",), ("checkpointLookupByName", "c"),
                ("blockInfo", "vda"), ("interfaceStats", "eth0"), ("screenshot", stream, 0),
                ("sendKey", 0, 0, [1], 1, 0), ("setTime", {"seconds": 1}), ("injectNMI",),
                ("fsInfo",), ("emulatorPinInfo",), ("ioThreadInfo",),
                ("blkioParameters",),
                ("setMemoryStatsPeriod", 1), ("securityLabel",), ("perfEvents",),
                ("setVcpu", "0", 1), ("abortJob",), ("migrateGetMaxSpeed",), ("pMWakeup",)):
            with self.subTest(name), self.refused(libvirt.VIR_ERR_NO_SUPPORT):
                getattr(dom, name)(*args)


if __name__ == "__main__":
    taprunner.main()
