#
# test_cgroup.py: the cgroup of a domain, and limits of the emulated machine
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
A system daemon whose system bus has a systemd-machined that this test plays, and which makes real
cgroups: what libvirt writes into them is read back from the kernel. And daemons without any.
"""

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
import unittest

import daemon
import machinedfake
import taprunner
from daemon import WITH_US, Processes, wait_until
from e2etest import (BOOTED, CRASHED, DESTROYED, RUNNING, SHUTOFF, EnclaveTest, boot_image,
                     domain_xml, libvirt, quick_xml)
from machinedfake import Machined, hierarchies

UNSUPPORTED = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
FAILED = libvirt.VIR_ERR_OPERATION_FAILED
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG

MEMORY = 131072
# The least that a domain of this memory can be limited to
TIGHT = MEMORY + 131072

# VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
UNLIMITED = 9007199254740991

TUNE = ("<memtune><hard_limit>300000</hard_limit><soft_limit>250000</soft_limit></memtune>"
        "<cputune><shares>2048</shares><global_period>50000</global_period>"
        "<global_quota>150000</global_quota></cputune>")

ERROR = ("org.freedesktop.DBus.Error.AccessDenied", "no such thing today")

V2 = hierarchies().get("cpu") == machinedfake.ROOT


class Machine(EnclaveTest):
    """With a systemd-machined"""

    system = True

    @classmethod
    def before_start(cls):
        daemon.need_private_system()
        if machinedfake.why_not():
            raise unittest.SkipTest(machinedfake.why_not())
        cls.machined = Machined(cls.daemon.dir)
        cls.machined.start()
        cls.addClassCleanup(cls.machined.stop)
        cls.lasting = frozenset([cls.machined.process.pid])
        cls.daemon.daemon_env["DBUS_SYSTEM_BUS_ADDRESS"] = cls.machined.address

    def setUp(self):
        super().setUp()
        self.machined.calls.clear()
        self.addCleanup(self.machined.delays.clear)
        self.addCleanup(self.machined.errors.clear)

    def check_nothing_left(self):
        super().check_nothing_left()
        self.assertEqual(self.machined.machines, {})
        wait_until(self.machined.collect, 5, "cgroups are left")
        # what libvirt makes where systemd is no help
        for where in hierarchies().values():
            self.assertFalse(os.path.exists(os.path.join(where, "machine")))

    def scope_of(self, dom):
        leader, _, scope = self.machined.machines[f"nitro-{dom.ID()}-{dom.name()}"]
        self.assertEqual(leader, self.helper_of(dom))
        return scope

    def read(self, dom, controller, v1, v2):
        return Machined.read(controller, self.scope_of(dom), v2 if V2 else v1)

    def check_members(self, dom):
        """The helper and all below it are in the domain's cgroup, and nothing else is."""
        helper = self.helper_of(dom)
        everything = {helper, *Processes().descendants(helper)}
        self.assertGreaterEqual(len(everything), 2)
        scope = self.scope_of(dom)
        for pid in everything:
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                lines = [line.strip().split(":") for line in file]
            for controller in ("cpu", "memory", "name=systemd", ""):
                for path in (path for _, names, path in lines if controller in names.split(",")):
                    self.assertTrue(path.startswith(f"/{scope}"), (pid, controller, path))
        self.assertEqual(set(self.machined.processes_in(scope)), everything)

    def check_limits(self, dom):
        if V2:
            self.assertEqual(self.read(dom, "cpu", None, "cpu.max"), "150000 50000")
            self.assertEqual(self.read(dom, "memory", None, "memory.max"), str(300000 * 1024))
            self.assertEqual(self.read(dom, "memory", None, "memory.high"), str(250000 * 1024))
            return
        for controller, name, value in (
                ("cpu", "cpu.cfs_period_us", 50000), ("cpu", "cpu.cfs_quota_us", 150000),
                ("memory", "memory.limit_in_bytes", 300000 * 1024),
                ("memory", "memory.soft_limit_in_bytes", 250000 * 1024)):
            self.assertEqual(self.read(dom, controller, name, None), str(value), name)
        # this is a property of the unit
        with open(os.path.join(hierarchies()["cpu"], self.scope_of(dom), "cpu.shares"),
                  encoding="ascii") as file:
            self.assertEqual(file.read().strip(), "2048")

    def test_limits(self):
        """all of the domain is in its cgroup, with its limits, also for the next daemon"""
        dom = self.conn.defineXML(domain_xml("tuned", elements=TUNE))
        dom.create()
        (name, uuid, service, kind, leader, root, nics, _), = self.machined.called(
            "CreateMachineWithNetwork")
        self.assertEqual((name, bytes(uuid), service, kind, leader, root, nics),
                         (f"nitro-{dom.ID()}-tuned", dom.UUID(), "libvirt-nitro", "vm",
                          self.helper_of(dom), "", []))
        self.check_members(dom)
        self.check_limits(dom)
        scope = self.scope_of(dom)

        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("tuned")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual(self.scope_of(dom), scope)
        wait_until(lambda: self.live_limit(dom) == 300000, 10, "the cgroup is found again")
        self.assertEqual(dom.schedulerParametersFlags(LIVE),
                         {"cpu_shares": 2048, "global_period": 50000, "global_quota": 150000})
        self.check_members(dom)
        self.check_limits(dom)
        dom.destroy()
        self.assertEqual(self.machined.called("TerminateMachine"), [(name,)])

    def test_changed(self):
        """the limits of a running domain, and of its definition, by the API"""
        dom = self.conn.defineXML(quick_xml("changes", elements=TUNE))
        # of a domain that does not run yet
        dom.setSchedulerParameters({"global_quota": 120000})
        dom.create()
        self.assertEqual(tuple(dom.schedulerType()), ("posix", 3))
        limits = {"cpu_shares": 2048, "global_period": 50000, "global_quota": 120000}
        memory = {"hard_limit": 300000, "soft_limit": 250000,
                  "swap_hard_limit": UNLIMITED}
        self.assertEqual(dom.schedulerParametersFlags(LIVE), limits)
        self.assertEqual(dom.schedulerParametersFlags(CONFIG), limits)
        self.assertEqual(dom.memoryParameters(CONFIG), memory)
        self.assertEqual(self.kib(dom.memoryParameters(LIVE)), self.kib(memory))

        dom.setSchedulerParametersFlags({"cpu_shares": 512, "global_quota": 70000}, LIVE)
        self.assertEqual(dom.schedulerParametersFlags(LIVE),
                         {"cpu_shares": 512, "global_period": 50000, "global_quota": 70000})
        self.assertEqual(dom.schedulerParametersFlags(CONFIG), limits)
        self.assertEqual(self.read(dom, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0], "70000")
        # libvirt-python asks for the types of values with the same flags, of which a question has one
        done = self.daemon.virsh("memtune", "changes", "400000", "300000", "--live", "--config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.read(dom, "memory", "memory.limit_in_bytes", "memory.max"),
                         str(400000 * 1024))
        self.assertEqual(dom.memoryParameters(CONFIG)["hard_limit"], 400000)
        for flags, words in ((0, "400000"), (libvirt.VIR_DOMAIN_XML_INACTIVE, "400000"),
                             (0, "70000"), (libvirt.VIR_DOMAIN_XML_INACTIVE, "120000")):
            self.assertIn(words, dom.XMLDesc(flags))

        # neither the one nor the other changes when one of them cannot be
        before = dom.XMLDesc(0), dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        for values in ({"global_period": 999}, {"global_period": 1000001}, {"global_quota": 999}):
            for flags in (LIVE, CONFIG):
                with self.refused(libvirt.VIR_ERR_INVALID_ARG, *values):
                    dom.setSchedulerParametersFlags(dict(values, cpu_shares=99), flags)
        for shares in (0, 1, 262145):
            for flags in (LIVE, CONFIG):
                with self.refused(libvirt.VIR_ERR_INVALID_ARG, "cpu_shares", shares, 262144):
                    dom.setSchedulerParametersFlags({"cpu_shares": shares}, flags)
        for flags in (LIVE, CONFIG):
            with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, TIGHT - 1, TIGHT):
                dom.setMemoryParameters({"hard_limit": TIGHT - 1}, flags)
        for args in (["memtune", "changes", str(TIGHT - 1)],
                     ["schedinfo", "changes", "--set", "global_period=999"]):
            done = self.daemon.virsh(*args, "--live", "--config")
            self.assertNotEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((dom.XMLDesc(0), dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)), before)

        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("changes")
        wait_until(lambda: dom.state() == [RUNNING, BOOTED], 10, "it runs")
        wait_until(lambda: self.live_limit(dom) == 400000, 10, "the cgroup is found again")
        self.assertIn("70000", dom.XMLDesc(0))
        dom.destroy()

    def test_changed_partly(self):
        """what has been set is what the definition says, also when the rest is refused"""
        dom = self.conn.createXML(quick_xml("partly", elements=TUNE), 0)
        # a quota below it is refused by the kernel
        where = os.path.join(hierarchies()["cpu"], self.scope_of(dom))
        burst = "cpu.max.burst" if V2 else "cpu.cfs_burst_us"
        if os.path.exists(os.path.join(where, "libvirt")):
            where = os.path.join(where, "libvirt")
        try:
            with open(os.path.join(where, burst), "r+", encoding="ascii") as file:
                file.write("100000")
        except FileNotFoundError:
            dom.destroy()
            self.skipTest("the kernel is older than 5.14")
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, "Invalid argument"):
            dom.setSchedulerParametersFlags({"cpu_shares": 512, "global_quota": 70000}, LIVE)
        for _ in ("the same daemon", "the next one"):
            self.assertEqual(dom.schedulerParametersFlags(LIVE),
                             {"cpu_shares": 512, "global_period": 50000, "global_quota": 150000})
            for words in ("<shares>512<", "<global_period>50000<", "<global_quota>150000<"):
                self.assertIn(words, dom.XMLDesc(0))
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("partly")
            wait_until(lambda: self.live_limit(dom) == 300000, 10, "the cgroup is found again")
        dom.destroy()

    @staticmethod
    def live_limit(dom):
        try:
            return dom.memoryParameters(LIVE)["hard_limit"]
        except libvirt.libvirtError as error:
            return error.get_error_message()

    @staticmethod
    def kib(limits):
        """The kernel counts pages, and has a number of its own for "no limit"."""
        return {name: min(value, 1 << 50) // 4 for name, value in limits.items()}

    def test_lost(self):
        """a cgroup that a new daemon does not find: the domain runs on, and ends as others do"""
        dom = self.conn.defineXML(domain_xml("lost", elements=TUNE))
        dom.create()
        name = f"nitro-{dom.ID()}-lost"
        self.machined.errors["GetMachineByPID"] = ERROR
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("lost")
        self.wait_state(dom, RUNNING, BOOTED)
        wait_until(lambda: self.machined.called("GetMachineByPID")[1:], 10, "it is looked for")
        with self.refused(FAILED, "lost", name, "restart virtnitrod"):
            dom.memoryParameters(LIVE)
        self.assertGreater(dom.info()[4], 50 * 10 ** 6)
        self.machined.errors.clear()
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("lost")
        wait_until(lambda: self.live_limit(dom) == 300000, 10, "the cgroup is found again")
        self.check_limits(dom)
        dom.destroy()
        self.assertEqual(self.machined.called("TerminateMachine"), [(name,)])

    def test_device(self):
        """an enclave on the device has its CPUs and its memory for itself"""
        dom = self.conn.defineXML(domain_xml("device", machine="nitro"))
        for call in (dom.schedulerType, dom.memoryParameters,
                     lambda: dom.setSchedulerParametersFlags({"cpu_shares": 9}, CONFIG),
                     lambda: dom.setMemoryParameters({"hard_limit": 1 << 20}, CONFIG)):
            with self.refused(UNSUPPORTED, "device", "'nitro'"):
                call()

    def test_cpu_time(self):
        """the CPU time is the cgroup's"""
        def used():
            # where a version 2 is it counts CPU time, whatever else it does
            where = os.path.join(machinedfake.own()[-1], scope, "libvirt")
            if os.path.exists(os.path.join(where, "cpu.stat")):
                text = Machined.read_file(where, "cpu.stat").split()
                values = dict(zip(text[::2], map(int, text[1::2])))
                return (values["user_usec"] + values["system_usec"]) * 1000
            text = Machined.read("cpuacct", scope, "cpuacct.stat").split()
            return (int(text[1]) + int(text[3])) * 10 ** 9 // os.sysconf("SC_CLK_TCK")

        dom = self.conn.defineXML(domain_xml("busy"))
        dom.create()
        scope = self.scope_of(dom)
        before = used()
        self.assertGreater(before, 50 * 10 ** 6)
        stats = dom.info()[4]
        self.assertTrue(before <= stats <= used(), (before, stats, used()))
        dom.destroy()

    def test_tight(self):
        """an enclave lives within the lowest limit that is accepted, and with one below it is not"""
        limit = "<memtune><hard_limit>{}</hard_limit></memtune>"
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, TIGHT - 1, TIGHT):
            self.conn.defineXML(domain_xml("tight", elements=limit.format(TIGHT - 1)))
        dom = self.conn.defineXML(domain_xml("tight", elements=limit.format(TIGHT)))
        dom.create()
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(self.read(dom, "memory", "memory.limit_in_bytes", "memory.max"),
                         str(TIGHT * 1024))
        dom.destroy()

    def test_locked(self):
        """what is locked has the limit that all memory has"""
        daemon_pid = self.daemon.process.pid
        with contextlib.suppress(PermissionError, ValueError):
            resource.prlimit(daemon_pid, resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
        dom = self.conn.defineXML(quick_xml(
            "locked", elements="<memoryBacking><locked/></memoryBacking>"
                               "<memtune><hard_limit unit='GiB'>4</hard_limit></memtune>"))
        own = resource.prlimit(daemon_pid, resource.RLIMIT_MEMLOCK)[1]
        if own not in (resource.RLIM_INFINITY, 4 << 30):
            # as in a container
            with self.refused(UNSUPPORTED, "'locked'", "LimitMEMLOCK=infinity"):
                dom.create()
            return
        dom.create()
        for pid in (self.helper_of(dom), self.qemu_of(dom)):
            self.assertEqual(resource.prlimit(pid, resource.RLIMIT_MEMLOCK), (4 << 30,) * 2)
        dom.destroy()

    def test_partition(self):
        """the scope is in the slice of the partition"""
        dom = self.conn.createXML(quick_xml(
            "parted", elements="<resource><partition>/machine/enclaves</partition></resource>"), 0)
        self.assertTrue(self.scope_of(dom).startswith(
            f"{machinedfake.TOP}/machine.slice/machine-enclaves.slice/machine-nitro"))
        self.check_members(dom)
        dom.destroy()

    def test_refused(self):
        """a machined that says no: the start fails with its words, and nothing is left"""
        dom = self.conn.defineXML(domain_xml("refused"))
        for method in ("CreateMachineWithNetwork", "GetMachineByPID"):
            self.machined.errors[method] = ERROR
            with self.subTest(method), self.refused(FAILED, "refused", ERROR[1]):
                dom.create()
            self.machined.errors.clear()
            self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
            wait_until(lambda: not self.left(), 5, "no process")
            self.assertEqual(self.machined.machines, {})
        self.machined.errors["SetUnitProperties"] = ERROR
        dom.undefine()
        # one that fails early bothers nobody with a machine that it has not got to make
        self.machined.calls.clear()
        early = self.conn.defineXML(domain_xml("early", boot_image("/nowhere.eif")))
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, "/nowhere.eif"):
            early.create()
        self.assertEqual(self.machined.calls, [])
        dom = self.conn.defineXML(domain_xml("refused", elements=TUNE))
        with self.refused(libvirt.VIR_ERR_DBUS_SERVICE, ERROR[1]):
            dom.create()
        self.machined.errors.clear()
        dom.create()
        self.check_limits(dom)
        dom.destroy()

    def test_anothers(self):
        """a machine of this name is there already, and stays: with the start that fails, and later"""
        dom = self.conn.defineXML(quick_xml("twice"))
        dom.create()
        name = f"nitro-{dom.ID() + 1}-twice"
        dom.destroy()
        self.machined.calls.clear()
        sleeper = subprocess.Popen(WITH_US + ["sleep", "600"])
        self.addCleanup(sleeper.communicate)
        self.addCleanup(sleeper.kill)
        self.machined.add(name, sleeper.pid)
        self.addCleanup(self.machined.machines.pop, name, None)

        with self.refused(FAILED, "twice", f"'{name}' already exists"):
            dom.create()
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
        self.assertEqual(len(self.machined.called("CreateMachineWithNetwork")), 1)
        self.assertEqual(self.machined.called("GetMachine"), [(name,)])
        self.assertEqual(self.machined.called("TerminateMachine"), [])
        self.assertIn(name, self.machined.machines)
        self.assertIsNone(sleeper.poll())

        # the next one has another name; then that one's is another's, when its helper has ended
        dom.create()
        name = f"nitro-{dom.ID()}-twice"
        own, self.machined.machines[name] = (self.machined.machines[name],
                                             (sleeper.pid, *self.machined.machines[name][1:]))
        dom.destroy()
        self.assertEqual(self.machined.called("TerminateMachine"), [])
        # nobody says whose it is
        self.machined.machines[name] = own
        dom.create()
        name, other = f"nitro-{dom.ID()}-twice", name
        self.machined.errors["GetMachine"] = ERROR
        dom.destroy()
        self.assertEqual(self.machined.called("TerminateMachine"), [])
        with open(self.daemon.log, encoding="utf-8") as log:
            self.assertRegex(log.read(), f"The machine '{name}' of domain 'twice' cannot be ended: "
                                         f".*{ERROR[1]}")
        self.assertIsNone(sleeper.poll())
        del self.machined.machines[name], self.machined.machines[other]

    def test_destroyed(self):
        """one that is destroyed while its machine is made"""
        self.machined.delays["CreateMachineWithNetwork"] = 2
        dom = self.conn.defineXML(domain_xml("slow"))
        errors = []

        def start():
            try:
                dom.create()
            except libvirt.libvirtError as error:
                errors.append(error.get_error_code())

        thread = threading.Thread(target=start)
        thread.start()
        wait_until(lambda: self.machined.called("CreateMachineWithNetwork"), 10, "the call")
        begin = time.monotonic()
        # who only asks does not wait for machined
        self.assertState(dom, libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
        self.assertLess(time.monotonic() - begin, 1)
        dom.destroy()
        thread.join()
        self.assertEqual(errors, [libvirt.VIR_ERR_OPERATION_ABORTED])
        self.assertFalse(dom.isActive())

    def test_ends(self):
        """the cgroup goes with the enclave, however that ends; another domain's stays"""
        other = self.conn.createXML(quick_xml("other"), 0)
        dom = self.conn.defineXML(quick_xml("dies"))
        for kill, event in ((lambda: os.kill(self.helper_of(dom), signal.SIGKILL), CRASHED),
                            (lambda: os.kill(self.qemu_of(dom), signal.SIGKILL), CRASHED),
                            (dom.destroy, DESTROYED)):
            dom.create()
            scope = self.scope_of(dom)
            kill()
            wait_until(lambda: event in self.events.of("dies"), 20, "its end")
            wait_until(lambda: not dom.isActive(), 20, "it is inactive")
            # without systemd's help
            for controller in ("cpu", "memory"):
                where = os.path.join(hierarchies()[controller], scope)
                self.assertFalse(os.path.exists(os.path.join(where, "libvirt") if V2 else where))
        self.check_members(other)
        other.destroy()

    def test_killed_daemon(self):
        """a helper that ends without a daemon leaves its machine to the next one"""
        dom = self.conn.defineXML(quick_xml("alone"))
        dom.create()
        helper = self.helper_of(dom)
        self.daemon.kill()
        os.kill(helper, signal.SIGKILL)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("alone")
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        self.assertEqual(len(self.machined.called("TerminateMachine")), 1)
        self.assertEqual(self.machined.machines, {})


class Without(EnclaveTest):
    """A host whose system bus, if there is one, has no systemd-machined"""

    system = True
    WORDS = "systemd-machined"

    @classmethod
    def before_start(cls):
        if cls.system:
            daemon.need_private_system()
        cls.daemon.daemon_env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={cls.daemon.dir}/none"

    def test_runs(self):
        """a domain runs as ever, and one that asks for limits is refused by name"""
        dom = self.conn.createXML(quick_xml("plain"), 0)
        helper = self.helper_of(dom)
        with (open(f"/proc/{helper}/cgroup", encoding="ascii") as its,
              open(f"/proc/{self.daemon.process.pid}/cgroup", encoding="ascii") as daemons):
            self.assertEqual(its.read(), daemons.read())
        dom.destroy()

        for element, xml in (
                ("shares", "<cputune><shares>10</shares></cputune>"),
                ("global_quota", "<cputune><global_quota>10000</global_quota></cputune>"),
                ("global_period", "<cputune><global_period>10000</global_period></cputune>"),
                ("hard_limit", "<memtune><hard_limit unit='G'>1</hard_limit></memtune>"),
                ("soft_limit", "<memtune><soft_limit unit='G'>1</soft_limit></memtune>"),
                ("partition", "<resource><partition>/other</partition></resource>")):
            with self.subTest(element):
                dom = self.conn.defineXML(domain_xml("limited", elements=xml))
                with self.refused(UNSUPPORTED, f"<{element}>", "limited", self.WORDS):
                    dom.create()
                self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
                dom.undefine()


class Session(Without):
    """A session"""

    system = False
    WORDS = "session"


class Unknown(EnclaveTest):
    """A bus that does not say who is on it: that is not "nobody"."""

    system = True

    @classmethod
    def before_start(cls):
        daemon.need_private_system()
        if machinedfake.why_not():
            raise unittest.SkipTest(machinedfake.why_not())
        cls.machined = Machined(cls.daemon.dir, policy=machinedfake.NO_LISTS)
        cls.machined.start()
        cls.addClassCleanup(cls.machined.stop)
        cls.lasting = frozenset([cls.machined.process.pid])
        cls.daemon.daemon_env["DBUS_SYSTEM_BUS_ADDRESS"] = cls.machined.address

    def test_refused(self):
        """nothing starts"""
        dom = self.conn.defineXML(quick_xml("which"))
        with self.refused(FAILED, "cannot find out", "which"):
            dom.create()
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
