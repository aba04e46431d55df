#
# test_faults.py: one fault each, and what is left of it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Processes that are killed or stopped, files that are lost or damaged, a disk that is full: each
test brings about one fault, then looks at the state, the events and the log; that nothing is
left over is checked after every test. Small file systems are mounted in a namespace of this
process, which needs root.
"""

import ctypes
import os
import shutil
import signal
import struct
import sys
import time

import daemon
import nitrodevmock
import taprunner
from daemon import NOBODY, wait_until
from e2etest import (ADDED, BOOTED, CRASHED, DESTROYED, RUNNING, SHUTDOWN, SHUTOFF, STARTED,
                     Background, EnclaveTest, boot_kernel, domain_xml, libvirt, quick_xml)
from quicktest import QUICKHELPER

CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
TITLE = libvirt.VIR_DOMAIN_METADATA_TITLE

# s: what the daemon gives a helper that does not answer, and a busy machine
KILL_SECONDS = 20

# Runs a helper, whose descriptors it has not, and then stays as long as a file is there
UNDYING = """
import os, sys, time
with open("/proc/self/comm", "w") as name:
    name.write("libvirt_nitro")
pid = os.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
os.closerange(3, 1024)
os.waitpid(pid, 0)
while os.path.exists(sys.argv[1]):
    time.sleep(0.05)
"""


class FaultTest(EnclaveTest):

    @property
    def run_top(self):
        return os.path.join(self.daemon.state_dir, "nitro", "run")

    def run_dir(self, dom):
        return os.path.join(self.run_top, f"domain-{dom.ID()}-{dom.name()}")

    def status_file(self, dom):
        return os.path.join(self.run_top, f"{dom.name()}.xml")

    def config_file(self, name):
        return os.path.join(self.daemon.config_dir, "nitro", f"{name}.xml")

    def log(self):
        with open(self.daemon.log, encoding="utf-8") as log:
            return log.read()

    def start_daemon(self):
        self.daemon.start()
        self.reconnect()


class Processes(FaultTest):

    def test_killed(self):
        """helper or QEMU killed: crashed, one event"""
        dom = self.conn.defineXML(quick_xml("hurt"))
        for find in (self.helper_of, self.qemu_of):
            dom.create()
            wait_until(lambda: any(name.startswith("qemu") for name in self.living().values()),
                       20, "QEMU")
            os.kill(find(dom), signal.SIGKILL)
            self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        self.events.check("hurt", [ADDED] + [STARTED, CRASHED] * 2)

    def test_helper_stopped(self):
        """a helper that does not answer: queries do, and destroy, shutdown and reboot work"""
        dom = self.conn.defineXML(quick_xml("frozen"))
        dom.create()
        for end, event in ((dom.reboot, SHUTDOWN), (dom.shutdown, SHUTDOWN),
                           (dom.destroy, DESTROYED)):
            if not dom.isActive():
                dom.create()
            helper = self.helper_of(dom)
            os.kill(helper, signal.SIGSTOP)
            self.assertState(dom, RUNNING, BOOTED)
            self.assertEqual(len(dom.info()), 5)
            self.assertEqual(self.conn.getAllDomainStats()[0][1]["state.state"], RUNNING)
            self.assertIn("frozen", dom.XMLDesc(0))
            begin = time.monotonic()
            end()
            self.assertLess(time.monotonic() - begin, KILL_SECONDS)
            self.events.wait("frozen", *event)
            wait_until(lambda: helper not in self.living(), 5, "the helper's end")
        self.assertEqual(dom.isActive(), 0)

    def test_helper_stopped_at_restart(self):
        """a helper that does not answer the next daemon: nothing ends it but a call that is to"""
        dom = self.conn.defineXML(quick_xml("sleepy"))
        dom.create()
        number, helper = dom.ID(), self.helper_of(dom)
        os.kill(helper, signal.SIGSTOP)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("sleepy")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(dom.ID(), number)
        wait_until(lambda: dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_JOB, 10, "the job")
        # longer than an answer is waited for
        time.sleep(11)
        self.assertState(dom, RUNNING, BOOTED)
        os.kill(helper, signal.SIGCONT)
        wait_until(lambda: dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK, 30, "its end")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.reboot()
        # and once more, to be destroyed
        dom = self.conn.lookupByName("sleepy")
        os.kill(self.helper_of(dom), signal.SIGSTOP)
        self.daemon.restart()
        self.reconnect()
        self.conn.lookupByName("sleepy").destroy()
        self.events.wait("sleepy", *DESTROYED)

    def test_daemon_killed_again_and_again(self):
        """a daemon that is killed right after its start takes nothing with it"""
        dom = self.conn.defineXML(quick_xml("steady"))
        dom.create()
        number, helper = dom.ID(), self.helper_of(dom)
        for _ in range(5):
            self.daemon.kill()
            self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("steady")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual((dom.ID(), self.helper_of(dom)), (number, helper))
        dom.destroy()

    def test_daemon_killed_while_starting(self):
        """a daemon that is killed during a start leaves an enclave that the next one has"""
        self.conn.defineXML(domain_xml("halfway"))
        start = Background(self.conn.lookupByName("halfway").create)
        other = libvirt.open(self.daemon.uri)
        wait_until(other.lookupByName("halfway").isActive, 20, "the start")
        wait_until(lambda: "libvirt_nitro" in self.living().values() and os.path.exists(
            os.path.join(self.run_top, "halfway.xml")), 20, "the helper")
        self.daemon.kill()
        with self.assertRaises(libvirt.libvirtError):
            start.result()
        other.close()
        self.start_daemon()
        dom = self.conn.lookupByName("halfway")
        self.wait_state(dom, RUNNING, BOOTED, 60)
        dom.destroy()

    def test_without_arguments(self):
        """a process that has lost its arguments, as one that exits does, is the helper still"""
        dom = self.conn.defineXML(quick_xml("nameless"))
        for restart in (False, True):
            dom.create()
            helper = self.helper_of(dom)
            if restart:
                self.daemon.restart()
                self.reconnect()
                dom = self.conn.lookupByName("nameless")
                wait_until(lambda: dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK, 30, "it")
            os.kill(helper, signal.SIGSTOP)
            with open(f"/proc/{helper}/stat", encoding="ascii") as stat:
                begin, end = map(int, stat.read().rpartition(")")[2].split()[45:47])
            try:
                with open(f"/proc/{helper}/mem", "r+b", buffering=0) as memory:
                    memory.seek(begin)
                    memory.write(bytes(end - begin))
            except OSError as error:
                os.kill(helper, signal.SIGCONT)
                self.skipTest(f"the memory of other processes cannot be changed: {error}")
            dom.destroy()
            wait_until(lambda helper=helper: helper not in self.living(), 5, "the helper's end")


class Clock(FaultTest):
    """
    The host's clock is set while an enclave runs, starts or waits for its restart: only what
    is a date may change. The daemon has a clock of its own, see tests/clockmock.c.
    """

    DAY = 24 * 60 * 60
    STEPS = {"a day forward": DAY, "a day back": -DAY}

    @classmethod
    def daemon_environment(cls):
        path = os.path.join(cls.daemon.dir, "clock")
        with open(path, "wb") as clock:
            clock.write(struct.pack("=q", 0))
        os.chmod(path, 0o644)
        cls.clock = path
        library = os.path.join(daemon.BUILD, "tests", "clockmock.so")
        # the sanitizers' runtime must be the first
        libraries = filter(None, (nitrodevmock.libasan_of(daemon.DAEMON), library))
        return {"CLOCKMOCK_OFFSET": path, "LD_PRELOAD": " ".join(libraries)}

    @classmethod
    def set_clock(cls, seconds):
        with open(cls.clock, "r+b", buffering=0) as clock:
            clock.write(struct.pack("=q", seconds))

    def setUp(self):
        super().setUp()
        self.addCleanup(self.set_clock, 0)

    def stats(self, dom):
        return self.conn.domainListGetStats([dom])[0][1]

    def check_stats(self, dom, before):
        """They are as they were, but for CPU times, which grow: by far less than a day."""
        now = self.stats(dom)
        self.assertEqual(now.keys(), before.keys())
        for key, value in now.items():
            if key in ("cpu.time", "cpu.user", "cpu.system", "vcpu.0.time"):
                self.assertTrue(before[key] <= value < before[key] + 600 * 10 ** 9, key)
            else:
                self.assertEqual(value, before[key], key)

    def test_mock(self):
        """the daemon's clock is what the test sets"""
        dom = self.conn.defineXML(quick_xml("dated", boot="<kernel>/nothing</kernel>"))
        year = time.gmtime().tm_year
        self.set_clock(3 * 366 * self.DAY)
        with self.assertRaises(libvirt.libvirtError):
            dom.create()
        wait_until(lambda: f"\n{year + 3}-" in self.log(), 5, "a message with the date")

    def test_running(self):
        """nothing happens to an enclave that runs, and calls about it do not hang"""
        dom = self.conn.defineXML(domain_xml("steady"))
        for step, seconds in self.STEPS.items():
            with self.subTest(step):
                dom.create()
                number, helper, before = dom.ID(), self.helper_of(dom), self.stats(dom)
                self.assertTrue(100 < before["nitro.boot-time"] < 60000, before)
                self.set_clock(seconds)
                self.check_stats(dom, before)
                self.assertState(dom, RUNNING, BOOTED)
                self.assertEqual(dom.launchSecurityInfo()["nitro-hash"], "sha384")
                self.assertEqual((dom.ID(), self.helper_of(dom)), (number, helper))
                # the next daemon takes it over at the new time
                self.daemon.restart()
                self.reconnect()
                dom = self.conn.lookupByName("steady")
                self.wait_state(dom, RUNNING, BOOTED)
                self.assertEqual((dom.ID(), self.helper_of(dom)), (number, helper))
                self.check_stats(dom, before)
                begin = time.monotonic()
                dom.destroy()
                self.assertLess(time.monotonic() - begin, KILL_SECONDS)
                self.events.check("steady", [DESTROYED])
                self.set_clock(0)

    def test_starting(self):
        """a start that waits for its heartbeat gets it, and takes as long as it takes"""
        dom = self.conn.defineXML(domain_xml("slow", boot_kernel("hello.heartbeat=late")))
        for number, (step, seconds) in enumerate(self.STEPS.items(), start=1):
            with self.subTest(step):
                start = Background(dom.create)
                wait_until(lambda: dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED, 20, "its helper")
                self.set_clock(seconds)
                self.assertEqual(dom.state()[0], libvirt.VIR_DOMAIN_PAUSED)
                start.result()
                self.assertState(dom, RUNNING, BOOTED)
                # the sample waits for 5 s
                self.assertTrue(5000 <= self.stats(dom)["nitro.boot-time"] < 60000)
                dom.destroy()
                self.events.check("slow", [ADDED] + [STARTED, DESTROYED] * number)
                self.set_clock(0)

    def test_restart_waits(self):
        """a restart that waits comes neither at once nor a day later"""
        for step, seconds in self.STEPS.items():
            with self.subTest(step):
                dom = self.conn.defineXML(quick_xml(
                    "again", elements="<on_crash>restart</on_crash>"))
                dom.create()
                # the fourth start comes 2 s after the third end
                for turn in range(1, 4):
                    wait_until(lambda: self.events.of("again").count(STARTED) == turn, 20,
                               "the start")
                    os.kill(self.helper_of(self.conn.lookupByName("again")), signal.SIGKILL)
                    wait_until(lambda: self.events.of("again").count(CRASHED) == turn, 20,
                               "the end")
                ended = time.monotonic()
                self.set_clock(seconds)
                wait_until(lambda: self.events.of("again").count(STARTED) == 4, 20, "the restart")
                self.assertTrue(1.5 <= time.monotonic() - ended < 10, time.monotonic() - ended)
                self.assertState(self.conn.lookupByName("again"), RUNNING, BOOTED)
                dom.destroy()
                dom.undefine()
                self.events.seen.clear()
                self.set_clock(0)

    def test_helper_stopped(self):
        """the end of a helper that does not answer takes as long as ever"""
        for step, seconds in self.STEPS.items():
            with self.subTest(step):
                dom = self.conn.createXML(quick_xml("frozen"), 0)
                os.kill(self.helper_of(dom), signal.SIGSTOP)
                begin = time.monotonic()
                end = Background(dom.destroy)
                time.sleep(0.5)
                self.set_clock(seconds)
                end.result(60)
                self.assertLess(time.monotonic() - begin, KILL_SECONDS)
                self.set_clock(0)


class Undying(FaultTest):
    """Helpers that close their connection and do not exit, not even when they are killed"""

    OTHER = 64999

    @classmethod
    def before_start(cls):
        cls.hold = os.path.join(cls.daemon.dir, "hold")
        if os.geteuid() != 0 or not daemon.build_is_for_all():
            return
        # another user's, so that the daemon's signal is refused; a real one could not even look
        # into the directory of its vsock
        setpriv = shutil.copy(daemon.SETPRIV, cls.daemon.dir)
        os.chmod(setpriv, 0o4755)
        os.chmod(cls.daemon.dir, 0o755)
        script = os.path.join(cls.daemon.dir, "undying.py")
        with open(script, "w", encoding="ascii") as text:
            text.write(UNDYING)
        cls.daemon.wrap_helper(
            f'[ "$1" = --name ] && exec {setpriv} --reuid={cls.OTHER} --regid={cls.OTHER} '
            f'--clear-groups {sys.executable} {script} {cls.hold} {QUICKHELPER} "$@"')

    def setUp(self):
        super().setUp()
        if "LIBVIRT_NITRO_HELPER_DIR" not in self.daemon.daemon_env:
            self.skipTest("helpers of another user's need root and a build tree for all")

    def test_ends_late(self):
        """destroy times out; the domain ends as destroyed when its helper does"""
        dom = self.conn.defineXML(quick_xml("undying", elements="<on_crash>restart</on_crash>"))
        dom.create()
        with open(self.hold, "w", encoding="ascii"):
            pass
        with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, "cannot be ended"):
            dom.destroy()
        self.assertEqual(dom.isActive(), 1)
        os.unlink(self.hold)
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
        self.events.check("undying", [ADDED, STARTED, DESTROYED])


class Files(FaultTest):

    def test_run_directory_wiped(self):
        """the directory of a running domain goes away: it runs, and ends as ever"""
        dom = self.conn.defineXML(quick_xml("bare"))
        for stop, end, event in ((False, dom.destroy, DESTROYED), (True, dom.destroy, DESTROYED),
                                 (False, dom.shutdown, SHUTDOWN)):
            dom.create()
            shutil.rmtree(self.run_dir(dom))
            self.assertState(dom, RUNNING, BOOTED)
            if stop:
                # neither words nor the pid file lead to it
                os.kill(self.helper_of(dom), signal.SIGSTOP)
            end()
            self.events.wait("bare", *event)
            wait_until(lambda: not self.living(), 5, "the helper's end")

    def test_run_directory_wiped_and_restart(self):
        """without its control socket an enclave is set aside: it runs, and ends when it is to"""
        dom = self.conn.defineXML(quick_xml("lost", elements="<on_crash>restart</on_crash>"))

        def crash(dom, helper):
            os.kill(helper, signal.SIGKILL)
            self.events.wait("lost", *CRASHED)
            # now it has crashed for sure
            self.events.wait("lost", *STARTED)
            dom.destroy()

        for end in (lambda dom, helper: dom.destroy(), crash):
            dom.create()
            helper = self.helper_of(dom)
            shutil.rmtree(self.run_dir(dom))
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("lost")
            wait_until(lambda: "domain 'lost' is set aside: its helper, process "
                       f"{helper}, is left alone" in self.log(), 20, "the log")
            self.assertState(dom, RUNNING, BOOTED)
            self.assertEqual(self.helper_of(dom), helper)
            self.assertIn(f"set aside: the helper, process {helper},", dom.messages(0)[0])
            end(dom, helper)
            wait_until(lambda: not self.living(), 10, "the helper's end")

    def test_state_directory_wiped(self):
        """all of the state goes away: what runs can be ended, and starts go on"""
        dom = self.conn.defineXML(quick_xml("first"))
        dom.create()
        shutil.rmtree(self.run_top)
        self.assertState(dom, RUNNING, BOOTED)
        second = self.conn.createXML(quick_xml("second"), 0)
        for one in (dom, second):
            one.destroy()
        self.daemon.restart()
        self.reconnect()
        self.assertEqual(self.conn.lookupByName("first").isActive(), 0)

    def damage(self, *damages):
        """
        Starts a persistent and a transient domain, has each of @damages change the path of
        its status file under a dead daemon, and starts the next daemon: both are left alone.
        """
        for spoil in damages:
            dom = self.conn.defineXML(quick_xml("kept"))
            dom.create()
            transient = self.conn.createXML(quick_xml("passing"), 0)
            healthy = self.conn.createXML(quick_xml("healthy"), 0)
            helpers = {one.name(): self.helper_of(one) for one in (dom, transient, healthy)}
            directories = [self.run_dir(one) for one in (dom, transient)]
            self.daemon.kill()
            for one in (dom, transient):
                spoil(self.status_file(one))
            self.start_daemon()
            self.assertEqual(sorted(one.name() for one in self.conn.listAllDomains()),
                             ["healthy", "kept"])
            dom = self.conn.lookupByName("kept")
            self.assertEqual((dom.state()[0], dom.ID()), (SHUTOFF, -1))
            healthy = self.conn.lookupByName("healthy")
            self.wait_state(healthy, RUNNING, BOOTED)
            for name in ("kept", "passing"):
                self.assertIn(f"process {helpers[name]} runs an enclave in ", self.log())
            # no second one beside it
            with self.refused(libvirt.VIR_ERR_OPERATION_INVALID,
                              f"end its helper, process {helpers['kept']}, first"):
                dom.create()
            self.assertEqual(sorted(pid for pid, name in self.living().items()
                                    if name == "libvirt_nitro"), sorted(helpers.values()))
            for name in ("kept", "passing"):
                os.kill(helpers[name], signal.SIGTERM)
            wait_until(lambda: not any(map(os.path.exists, directories)), 20,
                       "the end of the directories")
            healthy.destroy()
            # it can be started again
            dom.create()
            dom.destroy()
            dom.undefine()

    def test_status_corrupt(self):
        """a status file that cannot be read: its enclave is set aside"""
        def overwrite(path):
            with open(path, "w", encoding="ascii") as status:
                status.write("<domstatus state='running'")

        self.damage(overwrite, os.unlink, lambda path: os.truncate(path, 0))

    def test_status_unreadable_for_a_while(self):
        """a status file that can be read later: the enclave is a domain again"""
        dom = self.conn.createXML(quick_xml("again"), 0)
        helper = self.helper_of(dom)
        status = self.status_file(dom)
        self.daemon.kill()
        with open(status, encoding="utf-8") as file:
            text = file.read()
        os.truncate(status, 10)
        self.start_daemon()
        self.assertEqual(self.conn.listAllDomains(), [])
        self.assertIn(f"process {helper} runs an enclave in ", self.log())
        with open(status, "w", encoding="utf-8") as file:
            file.write(text)
        wait_until(self.conn.listAllDomains, 30, "the domain")
        dom = self.conn.lookupByName("again")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()
        wait_until(lambda: not self.living(), 10, "the helper's end")

    def test_status_not_finished(self):
        """what a daemon has left that ended while it saved a status"""
        dom = self.conn.createXML(quick_xml("half"), 0)
        helper = self.helper_of(dom)
        # a domain that nobody saves any more, and one that the next daemon may be saving just then
        gone = self.status_file(dom).replace("half", "gone") + ".new"
        unfinished = f"{self.status_file(dom)}.new"
        self.daemon.kill()
        for path in (gone, unfinished):
            with open(path, "w", encoding="ascii") as file:
                file.write("<domstatus state='running'")
        self.start_daemon()
        self.assertFalse(os.path.exists(gone))
        wait_until(lambda: not os.path.exists(unfinished), 20, "a status that is written whole")
        dom = self.conn.lookupByName("half")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()

    def test_config_corrupt(self):
        """a definition that cannot be read: skipped with a message, the others are there"""
        for name in ("good", "bad", "empty"):
            self.conn.defineXML(quick_xml(name)).setAutostart(name != "good")
        self.daemon.stop()
        before = {}
        for name, text in (("bad", "<domain type='nitro'><name>bad"), ("empty", "")):
            with open(self.config_file(name), "w", encoding="ascii") as config:
                config.write(text)
            before[name] = text
        self.start_daemon()
        self.assertEqual([dom.name() for dom in self.conn.listAllDomains()], ["good"])
        for name, text in before.items():
            self.assertIn(f"Failed to load config for domain '{name}'", self.log())
            # for who can mend it
            with open(self.config_file(name), encoding="ascii") as config:
                self.assertEqual(config.read(), text)
        # a new definition replaces it
        for name in before:
            dom = self.conn.defineXML(quick_xml(name))
            dom.undefine()

    def test_config_gone(self):
        """the file of a definition goes away: the daemon goes on with what it knows"""
        dom = self.conn.defineXML(quick_xml("gone"))
        os.unlink(self.config_file("gone"))
        dom.create()
        dom.destroy()
        dom.setMetadata(TITLE, "back", None, None, CONFIG)
        self.assertTrue(os.path.exists(self.config_file("gone")))
        os.unlink(self.config_file("gone"))
        dom.undefine()

    def test_log_directory_gone(self):
        """the directory of the logs is made again by the next start"""
        dom = self.conn.defineXML(quick_xml("chatty"))
        shutil.rmtree(self.daemon.domain_log_dir)
        dom.create()
        self.assertTrue(os.path.exists(os.path.join(self.daemon.domain_log_dir, "chatty.log")))
        dom.destroy()

    def test_log_directory_unusable(self):
        """where no log can be written, the start fails with its path"""
        dom = self.conn.defineXML(quick_xml("mute"))
        shutil.rmtree(self.daemon.domain_log_dir)
        with open(self.daemon.domain_log_dir, "w", encoding="ascii"):
            pass
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, self.daemon.domain_log_dir):
            dom.create()
        self.assertEqual(dom.state()[0], SHUTOFF)
        self.events.check("mute", [ADDED])
        os.unlink(self.daemon.domain_log_dir)


class FullDisk(FaultTest):

    MNT_DETACH = 2

    def setUp(self):
        super().setUp()
        daemon.need_private_system()  # a small file system is one, too
        self.libc = ctypes.CDLL(None, use_errno=True)

    def mount(self, directory):
        """Mounts a file system of 256 KiB on @directory; fill() fills it up."""
        owner = os.stat(directory).st_uid if os.path.exists(directory) else NOBODY
        options = f"size=256k,mode=700,uid={owner}".encode()
        if self.libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, options) != 0:
            raise OSError(ctypes.get_errno(), f"mount {directory}")
        self.addCleanup(self.libc.umount2, directory.encode(), self.MNT_DETACH)

    @staticmethod
    def fill(directory):
        path = os.path.join(directory, "ballast")
        with open(path, "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        return path

    def test_define(self):
        """no room for a definition: an error, and what was before"""
        directory = os.path.join(self.daemon.config_dir, "nitro")
        self.mount(directory)
        dom = self.conn.defineXML(quick_xml("small"))
        before = dom.XMLDesc(0)
        ballast = self.fill(directory)
        uuid = f"<uuid>{dom.UUIDString()}</uuid>"
        for call in (lambda: self.conn.defineXML(quick_xml("new")),
                     lambda: self.conn.defineXML(quick_xml("small", elements=uuid,
                                                           memory="256")),
                     lambda: dom.setVcpusFlags(4, CONFIG),
                     lambda: dom.attachDeviceFlags("<console type='pty'/>", CONFIG),
                     lambda: dom.rename("other")):
            with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, directory):
                call()
            self.assertEqual(dom.XMLDesc(0), before)
            self.assertEqual([one.name() for one in self.conn.listAllDomains()], ["small"])
            self.assertEqual(sorted(os.listdir(directory)), ["ballast", "small.xml"])
        self.events.check("small", [ADDED])
        self.events.check("new", [])
        os.unlink(ballast)
        dom.setVcpusFlags(4, CONFIG)
        dom.undefine()

    def test_status(self):
        """no room for the status: a start fails with nothing left; what runs can be ended"""
        dom = self.conn.defineXML(quick_xml("stateless"))
        self.mount(self.run_top)
        dom.create()
        ballast = self.fill(self.run_top)
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, self.run_top):
            dom.setMetadata(TITLE, "x", None, None, LIVE)
        self.assertState(dom, RUNNING, BOOTED)
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.conn.createXML(quick_xml("late"), 0)
        self.assertIn(self.run_top, str(raised.exception))
        self.assertEqual([one.name() for one in self.conn.listAllDomains()], ["stateless"])
        dom.destroy()
        self.events.check("stateless", [ADDED, STARTED, DESTROYED])
        self.events.check("late", [])
        self.assertEqual(os.listdir(self.run_top), ["ballast"])
        os.unlink(ballast)
        dom.create()
        dom.destroy()


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
