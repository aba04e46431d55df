#
# test_shortage.py: no enclave is lost or killed by mistake when the host is short of something
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Errors that mean "I could not find out" come in rows here, where test_injected.py has one at a
time: no descriptors for a daemon, no pidfd on an old kernel, a status that cannot be read. What
runs goes on, is not doubled, and is there for who asks.
"""

import contextlib
import errno
import itertools
import os
import re
import resource
import signal
import time

import taprunner
from daemon import wait_until
from e2etest import (ADDED, BOOTED, CRASHED, DESTROYED, RUNNING, SHUTOFF, STARTED, Background,
                     libvirt, quick_xml)
from quicktest import QuickTest

ON_CRASH = "<on_crash>restart</on_crash>"

# The enclaves of a daemon that gets few descriptors
MANY = 20
FEW = 42

# s: for what may take a while, but not for ever
PATIENCE = 30

# s: for an answer "at once", on a busy machine
AT_ONCE = 5

PRLIMIT = "/usr/bin/prlimit"


class ShortageTest(QuickTest):

    def run_domain(self, name, *words, **kwargs):
        """Starts the domain @name; returns {name: (id, PID of the helper)} of it."""
        self.conn.defineXML(self.xml(name, *words, **kwargs)).create()
        return self.note(name)

    def note(self, *names):
        doms = [self.conn.lookupByName(name) for name in names]
        return {dom.name(): (dom.ID(), self.helper_of(dom)) for dom in doms}

    def start_daemon(self, **env):
        self.daemon.start(**env)
        self.reconnect()

    def stays(self, expected, seconds):
        """For @seconds nothing happens to the helpers of @expected, and there are no others."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.assertEqual(self.survivors(expected), expected)
            pids = sorted(pid for pids in self.helpers().values() for pid in pids)
            self.assertEqual(pids, sorted(pid for _, pid in expected.values()))
            time.sleep(0.05)

    def is_known(self, dom):
        """Whether the daemon speaks with the helper: only that has the measurements."""
        try:
            return bool(dom.launchSecurityInfo())
        except libvirt.libvirtError:
            return False


class Descriptors(ShortageTest):

    def restart_with(self, number):
        """The next daemon has at most @number descriptors, and the one after the test not."""
        self.addCleanup(self.reconnect)
        self.addCleanup(self.daemon.restart)
        self.daemon.stop()
        prefix = self.daemon.prefix
        # before it becomes another user's
        self.daemon.prefix = [PRLIMIT, f"--nofile={number}:{number}"] + prefix
        try:
            self.daemon.start()
        finally:
            self.daemon.prefix = prefix

    def give(self, number):
        """More descriptors for the daemon, or for the next one where limits cannot be raised."""
        try:
            resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE, (number, number))
        except PermissionError:
            print("the limit of a process cannot be raised here: another daemon", flush=True)
            self.daemon.restart()

    def test_few(self):
        """a daemon short of descriptors kills and forgets none, and answers"""
        for number in range(MANY):
            self.conn.createXML(self.xml(f"many-{number}"), 0)
        names = [f"many-{number}" for number in range(MANY)]
        expected = self.note(*names)
        self.restart_with(FEW)
        begin = time.monotonic()
        listed = self.daemon.virsh("list", "--name", timeout=AT_ONCE * 2)
        print(f"virsh list with {FEW} descriptors: status {listed.returncode} after "
              f"{time.monotonic() - begin:.1f} s, {len(listed.stdout.split())} names", flush=True)
        self.assertLess(time.monotonic() - begin, AT_ONCE)
        self.assertEqual(self.survivors(expected), expected)
        if listed.returncode == 0:
            self.assertEqual(sorted(listed.stdout.split()), sorted(names))
        self.stays(expected, 3)
        self.assertEqual(sorted(name for name in os.listdir(self.run_top)
                                if name.endswith(".xml")),
                         sorted(f"{name}.xml" for name in names))
        self.give(4096)
        self.reconnect()
        self.wait_known(expected, PATIENCE)
        for name in names:
            wait_until(lambda dom=self.conn.lookupByName(name): self.is_known(dom),
                       PATIENCE * 2, name)
        self.assertEqual(self.events.seen, [])
        self.assertEqual(self.note(*names), expected)

    def test_few_for_good(self):
        """with as few and no more, what can be told is told, and all ends when it is to"""
        expected = self.run_domain("last")
        self.restart_with(FEW)
        self.reconnect()
        self.wait_known(expected, PATIENCE)
        self.conn.lookupByName("last").destroy()


class Pidfd(ShortageTest):
    """pidfd_open() fails: kernels before 5.3, sandboxes that forbid it, no descriptors"""

    def test_never(self):
        """all works without pidfds"""
        dom = self.conn.defineXML(self.xml("old"))
        with self.mock.fault("pidfd_open", errno.ENOSYS, count=-1):
            dom.create()
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("old")
            self.wait_known(self.note("old"))
            wait_until(lambda: self.is_known(dom), 10, "the helper")
            dom.destroy()
            # one that ends by itself
            dom.create()
            os.kill(self.helper_of(dom), signal.SIGKILL)
            self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
            # and one that has to be killed
            dom.create()
            helper = self.helper_of(dom)
            os.kill(helper, signal.SIGSTOP)
            dom.destroy()
            wait_until(lambda: helper not in self.living(), 5, "the helper's end")
            self.assertEqual(dom.isActive(), 0)
        self.events.check("old", [DESTROYED, STARTED, CRASHED, STARTED, DESTROYED])
        dom.undefine()

    def test_no_second_enclave(self):
        """on_crash=restart: none beside a living one, whatever cannot be found out"""
        for call, path in (("pidfd_open", "*"), ("open", "/proc/[0-9]*/stat"),
                           ("read", "/proc/[0-9]*/stat"), ("connect", "*/control")):
            with self.subTest(call, path=path):
                expected = self.run_domain("single", elements=ON_CRASH)
                self.daemon.stop()
                with (self.mock.fault(call, errno.EMFILE, path=path, thread="nitro-*", count=-1),
                      self.mock.fault(call, errno.EMFILE, path=path, thread="daemon-init",
                                      count=-1)):
                    self.start_daemon()
                    self.assertState(self.conn.lookupByName("single"), RUNNING, BOOTED)
                    self.stays(expected, 2)
                    self.assertEqual(self.conn.lookupByName("single").ID(), expected["single"][0])
                self.wait_known(expected, PATIENCE)
                dom = self.conn.lookupByName("single")
                wait_until(lambda dom=dom: self.is_known(dom), PATIENCE, "it")
                self.assertEqual(self.events.seen, [])
                dom.destroy()
                self.events.check("single", [DESTROYED])
                dom.undefine()

    def test_fate_unknown(self):
        """destroy is refused when it cannot be found out whether the helper has ended"""
        expected = self.run_domain("fate")
        self.daemon.stop()
        with contextlib.ExitStack() as faults:
            for call, path in (("pidfd_open", "*"), ("read", "/proc/[0-9]*/stat"),
                               ("open", "/proc/[0-9]*/stat"), ("connect", "*/control")):
                for thread in ("nitro-*", "daemon-init"):
                    faults.enter_context(self.mock.fault(call, errno.EMFILE, path=path,
                                                         thread=thread, count=-1))
            self.start_daemon()
            dom = self.conn.lookupByName("fate")
            # of the workers, those for urgent calls among them, now that they know their client
            for fault in self.mock.control.faults:
                if fault.thread == b"daemon-init":
                    fault.thread = b"*rpc-*"
            with self.refused((libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_SYSTEM_ERROR),
                              "fate"):
                dom.destroy()
            self.assertEqual(self.survivors(expected), expected)
            self.assertState(dom, RUNNING, BOOTED)
        self.wait_known(expected, PATIENCE)
        dom.destroy()
        self.events.check("fate", [DESTROYED])


class Connect(ShortageTest):

    def test_transient(self):
        """errors of connect() at a takeover, once and in a row: the enclave goes on"""
        expected = self.run_domain("steady", elements=ON_CRASH)
        for error in (errno.EAGAIN, errno.EMFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNREFUSED,
                      errno.ENOENT):
            for count in (1, 3):
                with self.subTest(errno.errorcode[error], count=count):
                    self.daemon.stop()
                    with self.mock.fault("connect", error, path="*/control",
                                         count=count) as fault:
                        self.start_daemon()
                        self.assertState(self.conn.lookupByName("steady"), RUNNING, BOOTED)
                        dom = self.conn.lookupByName("steady")
                        wait_until(lambda dom=dom: self.is_known(dom), 10, "it")
                        self.assertEqual(fault.hits, count)
                    self.wait_known(expected)
                    self.assertEqual(self.events.seen, [])
        self.conn.lookupByName("steady").destroy()

    def test_aside(self):
        """a helper that cannot be reached: set aside, can be destroyed, its end is noticed"""
        for end in ("destroy", "kill"):
            with self.subTest(end):
                expected = self.run_domain("far")
                helper = expected["far"][1]
                self.daemon.stop()
                with self.mock.fault("connect", errno.ECONNREFUSED, path="*/control", count=-1):
                    self.start_daemon()
                    self.wait_aside("far")
                    dom = self.conn.lookupByName("far")
                    self.assertState(dom, RUNNING, BOOTED)
                    self.assertEqual(self.survivors(expected), expected)
                    if end == "destroy":
                        dom.destroy()
                    else:
                        os.kill(helper, signal.SIGKILL)
                    self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED
                                    if end == "destroy" else libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
                    wait_until(lambda helper=helper: helper not in self.living(), 5, "its end")
                self.events.check("far", [DESTROYED if end == "destroy" else CRASHED])
                dom.undefine()

    def test_files(self):
        """the notes of its files cannot be read: nobody else gets them when they can be again"""
        expected = self.run_domain("writer")
        self.daemon.stop()
        notes = f"*/domain-{expected['writer'][0]}-writer/outputs"
        with self.mock.fault("open", errno.EMFILE, path=notes, count=2) as fault:
            self.start_daemon()
            wait_until(lambda: fault.hits == 2, 10, "two tries")
        self.wait_known(expected)
        writer = self.conn.lookupByName("writer")
        wait_until(lambda: self.is_known(writer), 10, "the third try")
        log = os.path.join(self.daemon.domain_log_dir, "writer.log")
        console = f"<console type='file'><source path='{log}'/></console>"
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, log, "writer"):
            self.conn.createXML(self.xml("thief", devices=console), 0)
        self.conn.lookupByName("writer").destroy()

    def test_destroy_fails(self):
        """a destroy that fails while the domain is taken over: its end is noticed all the same"""
        expected = self.run_domain("stuck")
        helper = expected["stuck"][1]
        self.daemon.stop()
        os.kill(helper, signal.SIGSTOP)
        with self.mock.fault("pidfd_send_signal", errno.EPERM, count=-1):
            self.start_daemon()
            dom = self.conn.lookupByName("stuck")
            with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, "stuck", helper):
                dom.destroy()
        self.assertEqual((dom.ID(), self.survivors(expected)), (expected["stuck"][0], expected))
        os.kill(helper, signal.SIGCONT)
        # it has heard the word
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
        self.events.check("stuck", [DESTROYED])

    def test_broken(self):
        """the connection to a helper that lives breaks: it is made again"""
        expected = self.run_domain("joined", elements=ON_CRASH)
        dom = self.conn.lookupByName("joined")
        self.events.wait("joined", *STARTED)
        self.events.seen.clear()
        for error in (errno.ENOMEM, errno.ENOBUFS, errno.EIO, errno.ECONNRESET):
            with self.subTest(errno.errorcode[error]):
                with self.mock.fault("recv", error) as fault:
                    # its answer is not received
                    self.is_known(dom)
                    self.assertGreater(fault.hits, 0)
                wait_until(lambda: self.is_known(dom), 10, "the helper")
                self.stays(expected, 0.5)
                self.assertState(dom, RUNNING, BOOTED)
                self.assertEqual((dom.ID(), self.events.seen), (expected["joined"][0], []))
        dom.destroy()

    def wait_aside(self, name):
        wait_until(lambda: re.search(rf"domain '{name}' is set aside: .*process \d+", self.log()),
                   PATIENCE, "a word in the log")


class Protocol(ShortageTest):

    def test_strange(self):
        """a helper that speaks another protocol is set aside, and ended on request alone"""
        errors = []
        expected = self.run_domain("strange", elements=ON_CRASH)
        helper = expected["strange"][1]
        os.kill(helper, signal.SIGUSR1)
        self.daemon.stop()
        self.start_daemon()
        number = self.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_CONTROL_ERROR,
            lambda conn, dom, opaque: errors.append(dom.name()), None)
        self.addCleanup(self.conn.domainEventDeregisterAny, number)
        wait_until(lambda: "strange" in errors, PATIENCE, "the event control error")
        self.stays(expected, 2)
        dom = self.conn.lookupByName("strange")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(dom.controlInfo()[0], libvirt.VIR_DOMAIN_CONTROL_ERROR)
        self.assertIn(str(helper), self.log())
        with self.refused((libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_OPERATION_FAILED)):
            dom.launchSecurityInfo()
        dom.destroy()
        wait_until(lambda: helper not in self.living(), 10, "its end")
        self.events.check("strange", [DESTROYED])

    def test_newer(self):
        """a helper of a later version, which adds to the protocol, is spoken with"""
        expected = self.run_domain("newer", "quick.protocol=7")
        self.daemon.restart()
        self.reconnect()
        self.wait_known(expected)
        dom = self.conn.lookupByName("newer")
        wait_until(lambda: self.is_known(dom), 10, "the helper")
        dom.destroy()

    def test_older(self):
        """the first version is spoken by every later daemon"""
        expected = self.run_domain("older", "quick.protocol=1")
        self.daemon.restart()
        self.reconnect()
        self.wait_known(expected)
        dom = self.conn.lookupByName("older")
        wait_until(lambda: self.is_known(dom), 10, "the helper")
        dom.destroy()


class Unreadable(ShortageTest):
    """A status file that cannot be read is never a reason to end what runs."""

    cids = itertools.count(4242)

    def setUp(self):
        super().setUp()
        self.cid = next(self.cids)
        self.vsock = f"<vsock model='virtio'><cid auto='no' address='{self.cid}'/></vsock>"
        self.expected = self.run_domain("kept", devices=self.vsock, elements=ON_CRASH)
        self.helper = self.expected["kept"][1]
        healthy = self.run_domain("healthy")
        self.all = {**self.expected, **healthy}
        self.daemon.kill()

    def check_aside(self):
        """The enclave of "kept" is set aside, and "healthy" is not."""
        wait_until(lambda: re.search(rf"process {self.helper} runs an enclave", self.log()),
                   PATIENCE, "a word in the log")
        self.stays(self.all, 1)
        self.wait_state(self.conn.lookupByName("healthy"), RUNNING, BOOTED)
        kept = self.conn.lookupByName("kept")
        self.assertEqual((kept.state()[0], kept.ID()), (SHUTOFF, -1))
        # no second one beside it, and nobody else has its CID
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, "kept", self.helper):
            kept.create()

        def cid_is_taken():
            try:
                self.conn.createXML(self.xml("thief", devices=self.vsock), 0).destroy()
                return False
            except libvirt.libvirtError as error:
                return str(self.cid) in str(error)

        wait_until(cid_is_taken, 10, "the CID to be accounted for")
        self.assertEqual(self.survivors(self.all), self.all)

    def check_end(self):
        """When the process ends its directory goes, and the domain can start again."""
        run_dir = os.path.join(self.run_top, f"domain-{self.expected['kept'][0]}-kept")
        os.kill(self.helper, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(run_dir), PATIENCE, "its directory to go")
        kept = self.conn.lookupByName("kept")

        def can_start():
            # the daemon forgets it a moment after its directory has gone
            try:
                kept.create()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise
            return kept.isActive()

        wait_until(can_start, PATIENCE, "the domain to start")
        self.assertEqual(self.note("healthy"), {"healthy": self.all["healthy"]})
        for name in ("kept", "healthy"):
            self.conn.lookupByName(name).destroy()
        self.assertNotIn(CRASHED, self.events.of("healthy"))

    def spoil(self, text):
        with open(self.status_file("kept"), "w", encoding="ascii") as status:
            status.write(text)

    def test_garbage(self):
        self.spoil("<domstatus state='running'")
        self.start_daemon()
        self.check_aside()
        self.check_end()

    def test_cut(self):
        path = self.status_file("kept")
        os.truncate(path, os.path.getsize(path) // 2)
        self.start_daemon()
        self.check_aside()
        self.check_end()

    def test_gone(self):
        os.unlink(self.status_file("kept"))
        self.start_daemon()
        self.check_aside()
        self.check_end()

    def test_newer_format(self):
        """as a later version may write it"""
        self.spoil("<domstatus version='9' state='hibernating'><later/></domstatus>")
        self.start_daemon()
        self.check_aside()
        self.check_end()

    def test_not_opened(self):
        """a status that may not be opened, for a while"""
        with self.mock.fault("open", errno.EACCES, path=self.status_file("kept"), count=-1):
            self.start_daemon()
            self.check_aside()
        self.wait_known_again()

    def test_io_error(self):
        """a disk that does not answer for a while: the domain is back when it does"""
        path = self.status_file("kept")
        with self.mock.fault("read", errno.EIO, path=path, count=-1):
            self.start_daemon()
            self.check_aside()
        self.wait_known_again()

    def test_directory_unread(self):
        """what runs cannot be found out for a while: until then no second enclave starts"""
        self.spoil("<domstatus state='running'")
        # the first two looks are for status files
        with self.mock.fault("open", errno.EMFILE, path=self.run_top, skip=2, count=-1) as fault:
            self.start_daemon()
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "kept", self.run_top):
                self.conn.lookupByName("kept").create()
            self.assertGreater(fault.hits, 0)
            self.stays(self.all, 0.5)
        self.check_aside()
        self.check_end()

    def test_process_unread(self):
        """whose directory it is cannot be found out for a while: likewise"""
        self.spoil("<domstatus state='running'")
        name = f"domain-{self.expected['kept'][0]}-kept"
        with self.mock.fault("open", errno.EMFILE, path=f"*/{name}/pid", count=-1) as fault:
            self.start_daemon()
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "kept", name):
                self.conn.lookupByName("kept").create()
            self.assertGreater(fault.hits, 0)
            # others do
            other = self.conn.createXML(self.xml("other"), 0)
            other.destroy()
            self.stays(self.all, 0.5)
        self.check_aside()
        self.check_end()

    def wait_known_again(self):
        """The status is read again every now and then."""
        wait_until(lambda: self.conn.lookupByName("kept").isActive(), PATIENCE * 2,
                   "the domain to be back")
        self.wait_known(self.all)
        kept = self.conn.lookupByName("kept")
        wait_until(lambda: self.is_known(kept), 10, "the helper")
        kept.destroy()
        # with its CID
        kept.create()
        for name in ("kept", "healthy"):
            self.conn.lookupByName(name).destroy()


class Names(ShortageTest):
    """Nobody gets the directory, or the status, of an enclave that is set aside."""

    # the names of directories have the first 20 bytes
    LONG = "twenty-bytes-and-more"

    def check(self, name, other, refused):
        dom = self.conn.createXML(self.xml(name), 0)
        expected = self.note(name)
        run_dir = self.run_dir(dom)[:len(self.run_top) + len("/domain-1-") + 20]
        self.daemon.kill()
        with open(self.status_file(name), encoding="utf-8") as status:
            text = status.read()
        with open(self.status_file(name), "w", encoding="utf-8") as status:
            status.write(text[:len(text) // 2])
        self.start_daemon()
        if refused:
            with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, name):
                self.conn.createXML(self.xml(other), 0)
        else:
            # a daemon that begins at 1 comes to the id of the other
            for _ in range(expected[name][0]):
                self.conn.createXML(self.xml(other), 0).destroy()
        self.assertEqual(self.survivors(expected), expected)
        self.assertIn("pid", os.listdir(run_dir))
        # nothing of it is lost: the next daemon that can read the status has the domain
        self.daemon.kill()
        with open(self.status_file(name), "w", encoding="utf-8") as status:
            status.write(text)
        self.start_daemon()
        self.wait_known(expected)
        self.conn.lookupByName(name).destroy()

    def test_same(self):
        """a new domain of the same name, with another UUID"""
        self.check("web", "web", True)

    def test_alike(self):
        """a new domain whose name begins so, and with the id that would be next"""
        self.check(self.LONG + "1", self.LONG + "2", False)


class Leftovers(ShortageTest):

    def test_directory(self):
        """a directory that cannot be removed is tried again until it can, and harms no start"""
        dom = self.conn.defineXML(self.xml("untidy"))
        dom.create()
        run_dir = self.run_dir(dom)
        gone = os.path.join(self.run_top, f"gone-{dom.ID()}")
        with self.mock.fault("unlink", errno.EIO, path="pid", count=3) as fault:
            dom.destroy()
            # it is in the way of no run any more
            self.assertTrue(os.path.exists(gone))
            self.assertFalse(os.path.exists(run_dir))
            wait_until(lambda: fault.hits == 2, PATIENCE, "the second try")
            dom.create()
            self.assertTrue(os.path.exists(gone))
            wait_until(lambda: not os.path.exists(gone), PATIENCE, "its end")
        self.assertEqual(fault.hits, 3)
        self.assertEqual(self.log().count("what is left of a run stays for now"), 1)
        expected = self.note("untidy")
        self.daemon.restart()
        self.reconnect()
        self.wait_known(expected)
        self.conn.lookupByName("untidy").destroy()

    def test_renamed(self):
        """likewise one that cannot be given another name"""
        dom = self.conn.defineXML(self.xml("stuck"))
        dom.create()
        run_dir = self.run_dir(dom)
        gone = os.path.join(self.run_top, f"gone-{dom.ID()}")
        with self.mock.fault("rename", errno.EIO, path=gone, count=2) as fault:
            dom.destroy()
            self.assertTrue(os.path.exists(run_dir))
            dom.create()
            wait_until(lambda: not os.path.exists(run_dir) and not os.path.exists(gone),
                       PATIENCE, "its end")
        self.assertEqual(fault.hits, 2)
        self.conn.lookupByName("stuck").destroy()

    def test_next_daemon(self):
        """what one daemon could not remove, the next one does; it is no enclave to it"""
        dom = self.conn.createXML(self.xml("late"), 0)
        gone = os.path.join(self.run_top, f"gone-{dom.ID()}")
        with self.mock.fault("unlink", errno.EIO, path="pid", count=-1):
            dom.destroy()
            self.assertTrue(os.path.exists(gone))
            self.daemon.stop()
        self.start_daemon()
        wait_until(lambda: not os.path.exists(gone), PATIENCE, "its end")
        self.assertNotIn("is set aside", self.log())


class Restarts(ShortageTest):

    def test_shortage(self):
        """restarts that fail as the host is short of something do not count"""
        dom = self.conn.defineXML(self.xml("needy", elements=ON_CRASH))
        dom.create()
        begin = time.monotonic()
        with self.mock.fault("fork", errno.EAGAIN, count=-1) as fault:
            os.kill(self.helper_of(dom), signal.SIGKILL)
            # more than would be counted
            wait_until(lambda: fault.hits >= 1, 20, "a restart")
            self.assertEqual(dom.isActive(), 0)
        wait_until(lambda: self.events.of("needy").count(STARTED) == 2, 90, "the restart")
        print(f"restarted after {time.monotonic() - begin:.1f} s", flush=True)
        self.assertEqual(len(self.helpers()[dom.UUIDString()]), 1)
        self.conn.lookupByName("needy").destroy()
        self.events.check("needy", [ADDED, STARTED, CRASHED, STARTED, DESTROYED])

    def test_probe(self):
        """likewise before this daemon knows what the emulated machine runs on"""
        expected = self.run_domain("early", elements=ON_CRASH)
        self.daemon.restart()
        self.reconnect()
        self.wait_known(expected)
        with self.mock.fault("fork", errno.EAGAIN, count=-1):
            os.kill(expected["early"][1], signal.SIGKILL)
            wait_until(lambda: re.search("Domain 'early' is restarted in", self.log()), 20,
                       "a restart")
        self.assertIn("Domain 'early' is restarted in 60 s", self.log())
        self.conn.lookupByName("early").destroy()

    def test_idle(self):
        """a daemon that ends when it has nothing to do waits for a restart"""
        self.conn.defineXML(self.xml("patient", elements=ON_CRASH))
        self.daemon.stop()
        prefix = self.daemon.prefix
        self.daemon.prefix = ["/bin/sh", "-c", 'exec "$@" --timeout 1', "sh"] + prefix
        try:
            self.daemon.start()
        finally:
            self.daemon.prefix = prefix
        # no connection is kept
        started = self.daemon.virsh("start", "patient")
        self.assertEqual(started.returncode, 0, started.stderr)
        with self.mock.fault("fork", errno.EAGAIN, count=-1) as fault:
            for pids in self.helpers().values():
                os.kill(pids[0], signal.SIGKILL)
            wait_until(lambda: fault.hits >= 1, 20, "a restart")
            time.sleep(4)
            self.assertIsNone(self.daemon.process.poll())
        destroyed = self.daemon.virsh("destroy", "patient")
        self.assertEqual(destroyed.returncode, 0, destroyed.stderr)
        wait_until(lambda: self.daemon.process.poll() is not None, 20, "the daemon's end")
        self.start_daemon()


class Clients(ShortageTest):

    def test_accept(self):
        """clients come and go while accept() fails, and are served after that"""
        expected = self.run_domain("served")
        for error in (errno.EMFILE, errno.ENOMEM):
            with (self.subTest(errno.errorcode[error]),
                  self.mock.fault("accept", error, count=3) as fault):
                self.assertEqual(self.daemon.virsh("list", "--name", timeout=20).stdout.split(),
                                 ["served"])
                self.assertGreater(fault.hits, 0)
        self.wait_known(expected)
        self.conn.lookupByName("served").destroy()


class Real(ShortageTest):

    def test_few_real(self):
        """a real helper and its QEMU, as well"""
        dom = self.conn.createXML(quick_xml("real"), 0)
        expected = self.note("real")
        with self.mock.fault("pidfd_open", errno.EMFILE, count=-1):
            self.daemon.restart()
            self.reconnect()
            self.stays(expected, 1)
            self.assertState(self.conn.lookupByName("real"), RUNNING, BOOTED)
        self.wait_known(expected, PATIENCE)
        del dom
        destroy = Background(self.conn.lookupByName("real").destroy)
        destroy.result()


if __name__ == "__main__":
    taprunner.main()
