#
# test_injected.py: each call of the daemon's fails once, and what becomes of it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The table of injected faults. A phase (a start, an end, a takeover, queries) is gone through
once with its calls recorded, and then once more for each of them, in which it fails. Whatever
the phase makes of that: no enclave is lost, none ends that nobody has ended, state and events
are right, and nothing is left. A line of the log for each fault says what happened:

    injected: start: open .../nitro/run/domain-*-fault/pid (1) EMFILE: refused: cannot ...

One errno for each call is tried, or with NITRO_INJECT=all in the environment all that the
call can have.
"""

import collections
import contextlib
import errno
import os
import re
import shutil
import signal
import sys
import time
import traceback
import typing

import taprunner
from daemon import wait_until
from e2etest import (BOOTED, CRASHED, DESTROYED, RUNNING, SHUTDOWN, SHUTOFF, STARTED, libvirt)
from quicktest import QuickTest

ALL = os.environ.get("NITRO_INJECT") == "all"

# What each call can fail with. The first is what a host is short of most often.
ERRORS = {
    "open": ["EMFILE", "ENFILE", "ENOMEM", "EIO", "EPERM"],
    "read": ["EIO", "ENOMEM"],
    "write": ["EIO", "ENOSPC"],
    "fsync": ["EIO", "ENOSPC"],
    "rename": ["EIO", "ENOMEM", "EPERM", "ENOSPC"],
    "unlink": ["EIO", "EPERM"],
    "mkdir": ["ENOMEM", "EIO", "EPERM", "ENOSPC"],
    "socket": ["EMFILE", "ENFILE", "ENOMEM"],
    "bind": ["ENOMEM", "EIO", "ENOSPC"],
    "connect": ["EAGAIN", "ENOMEM", "ENFILE", "EPERM"],
    "recv": ["ENOMEM", "EIO"],
    "send": ["ENOMEM", "ENOBUFS"],
    "pipe": ["EMFILE", "ENFILE"],
    "fork": ["EAGAIN", "ENOMEM", "ENOSYS"],
    "pthread_create": ["EAGAIN", "EPERM"],
    "pidfd_open": ["EMFILE", "ENFILE", "ENOMEM", "ENOSYS", "EPERM"],
    "pidfd_send_signal": ["EPERM", "ENOMEM"],
}

# Of calls in a row, such as the lines of a log, these are enough.
ROW = 3

# s: what is to come about by itself may take so long
SETTLE_SECONDS = 5

# s: until what could not be removed is removed
FILES_SECONDS = 15

# A table with so many bad rows need not be finished.
BAD_ROWS = 15


class Site(typing.NamedTuple):
    """The call number @number of those that fit the patterns @path and @thread."""
    call: str
    path: str
    thread: str
    number: int

    def __str__(self):
        where = re.sub(r"^/tmp/[^/]+/", ".../", self.path) or "-"
        return f"{self.call} {where} ({self.number})"


def pattern(path):
    """Returns the pattern of fnmatch(3) for @path, in which nothing is of one round only."""
    path = re.sub(r"^(socket|pipe):\[\d+\]$", r"\1:*", path)
    path = re.sub(r"^/proc/\d+/", "/proc/[0-9]*/", path)
    if path.startswith("/sys/"):
        path = re.sub(r"\d+", "*", path)
    return re.sub(r"/domain-\d+-", "/domain-*-", path)


def difference(found, wanted):
    """Returns {what: how many more there are of it in @found than in @wanted}."""
    counts = collections.Counter(found)
    counts.subtract(collections.Counter(wanted))
    return {what: count for what, count in counts.items() if count}


class InjectedTest(QuickTest):
    """
    The domain "fault" goes through the phase, the domain "bystander" runs and has nothing to do
    with it.
    """

    seconds = 3600 if ALL else 300

    def setUp(self):
        super().setUp()
        self.bystander = self.conn.defineXML(self.xml("bystander"))
        self.bystander.create()
        self.dom = self.conn.defineXML(self.xml("fault"))
        # a first round, in which the daemon opens what it opens once
        self.dom.create()
        self.dom.destroy()
        self.events.wait("fault", *DESTROYED)
        self.addCleanup(self.forget)
        self.note_usual()

    def forget(self):
        """References to domains keep the connection open."""
        self.dom = self.bystander = None

    def note_usual(self):
        self.usual_files = self.daemon.files()
        self.usual_descriptors = self.settle()
        self.usual = {"bystander": (self.bystander.ID(), self.helper_of(self.bystander))}

    def look_up(self):
        self.dom = self.conn.lookupByName("fault")
        self.bystander = self.conn.lookupByName("bystander")

    def ours(self, call):
        """Whether @call can fail without that the daemon's own business does."""
        if call.name not in ERRORS:
            return False
        if call.path.startswith(("anon_inode:", self.daemon.log, self.mock.path,
                                 os.path.join(self.daemon.state_dir, "common"))):
            return False
        if call.name in ("read", "write") and call.path.startswith("socket:"):
            return False
        # the main thread's are of libvirt's daemon, but those with helpers
        if call.thread == "virtnitrod" and call.name != "recv":
            return False
        return not call.path or call.path.startswith((self.daemon.dir, "/proc/", "/dev/",
                                                      "socket:", "pipe:")) or "/" not in call.path

    def sites(self, more=lambda call: False):
        """Returns the sites of the calls that have been recorded."""
        counts = {}
        for call in self.mock.calls():
            if self.ours(call) or more(call):
                # which of its threads does something to its files is the daemon's business
                file = call.path.startswith(self.daemon.dir) or re.match(r"[^/:]+$", call.path)
                key = (call.name, pattern(call.path), "*" if file else call.thread)
                counts[key] = counts.get(key, 0) + 1
        return [Site(*key, number) for key, count in counts.items()
                for number in sorted({*range(1, min(ROW, count) + 1), count})]

    @contextlib.contextmanager
    def injected(self, site, error):
        with self.mock.fault(site.call, getattr(errno, error), path=site.path,
                             thread=site.thread, skip=site.number - 1) as fault:
            yield fault

    def table(self, phase, sites, play, errors=None):
        """
        Has @play(site, error) go through @phase with each fault, which returns what has
        happened. Goes on after a failure, as a table with one row is of little use.
        """
        bad = []
        rows = 0
        for site in sites:
            if len(bad) >= BAD_ROWS:
                print(f"injected: {phase}: given up", flush=True)
                break
            choice = (errors or ERRORS)[site.call]
            for error in choice if ALL else choice[:1]:
                rows += 1
                row = f"{phase}: {site} {error}"
                try:
                    happened = play(site, error)
                except Exception as failure:  # pylint: disable=broad-except
                    happened = f"FAILED: {type(failure).__name__}: {failure}".split("\n")[0]
                    bad.append(f"{row}: {happened}")
                    traceback.print_exc()
                    self.recover()
                print(f"injected: {row}: {happened}", flush=True)
        self.assertGreater(rows, 0, "nothing was recorded")
        self.assertEqual(bad, [], f"{len(bad)} of {rows} faults")

    def recover(self):
        """After a row that has failed: all as it was, for the next one."""
        for fault in self.mock.control.faults:
            self.mock.disarm(fault)
        with contextlib.suppress(libvirt.libvirtError):
            self.conn.close()
        self.daemon.kill()
        self.processes.end("libvirt_nitro")
        shutil.rmtree(self.run_top)
        self.daemon.start()
        self.reconnect()
        self.look_up()
        self.bystander.create()
        self.note_usual()

    def check_usual(self, files=True):
        """Nothing is left of "fault", but for @files, and "bystander" runs as ever."""
        self.assertEqual(self.survivors(self.usual), self.usual, "bystander's helper has ended")
        self.assertEqual((self.bystander.state(), self.bystander.ID()),
                         ([RUNNING, BOOTED], self.usual["bystander"][0]))
        expected = {pid for _, pid in self.usual.values()}
        self.check_same("processes", lambda: self.living().items(),
                        {(pid, "libvirt_nitro") for pid in expected})
        self.check_same("descriptors", self.daemon.descriptors, self.usual_descriptors)
        if files:
            self.check_same("files", self.daemon.files, self.usual_files)

    def check_same(self, what, look, wanted, seconds=SETTLE_SECONDS):
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: look() == wanted, seconds, what)
        self.assertEqual(difference(look(), wanted), {}, what)

    def said(self, error, call="the call"):
        """Returns the message of the libvirtError @error, which must be one."""
        text = error.get_error_message() or ""
        self.assertTrue(text and "cause is unknown" not in text, f"{call} was refused without a reason: {error}")
        return text


class Start(InjectedTest):

    def play(self, site, error):
        self.events.seen.clear()
        with self.injected(site, error) as fault:
            try:
                self.dom.create()
                happened = "started"
            except libvirt.libvirtError as refusal:
                happened = f"refused: {self.said(refusal)}"
        if happened == "started":
            self.assertState(self.dom, RUNNING, BOOTED)
            self.assertEqual(len(self.helpers()[self.dom.UUIDString()]), 1)
            self.dom.destroy()
            self.events.check("fault", [STARTED, DESTROYED])
        else:
            self.assertEqual((self.dom.state()[0], self.dom.ID()), (SHUTOFF, -1))
            self.events.check("fault", [])
        self.check_usual()
        return happened if fault.hits else f"not reached, {happened}"

    def test_start(self):
        """a start works, or is refused with a reason"""
        self.events.seen.clear()
        with self.mock.record():
            self.dom.create()
        self.dom.destroy()
        self.events.wait("fault", *DESTROYED)
        self.table("start", self.sites(), self.play)


class End(InjectedTest):

    def play(self, site, error, end, event):
        """The domain is running, and @end ends it: now, or once the fault is over."""
        self.events.seen.clear()
        self.dom.create()
        self.events.wait("fault", *STARTED)
        self.events.seen.clear()
        helper = self.helper_of(self.dom)
        happened = "ended"
        with self.injected(site, error) as fault:
            try:
                end(helper)
                # before it ends by itself
                wait_until(lambda: fault.hits or not self.dom.isActive(), SETTLE_SECONDS, "it")
            except libvirt.libvirtError as refusal:
                happened = f"refused: {self.said(refusal)}"
        if happened != "ended" and helper in self.living():
            self.assertState(self.dom, RUNNING, BOOTED)
            end(helper)
            happened += "; then ended"
        self.wait_state(self.dom, SHUTOFF, {
            DESTROYED: libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED,
            SHUTDOWN: libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
            CRASHED: libvirt.VIR_DOMAIN_SHUTOFF_CRASHED}[event])
        self.events.check("fault", [event])
        self.check_usual(files=False)
        if self.daemon.files() != self.usual_files:
            happened += "; files are removed later"
        return happened if fault.hits else f"not reached, {happened}"

    def ends(self, phase, end, event):
        self.dom.create()
        with self.mock.record():
            end(self.helper_of(self.dom))
            wait_until(lambda: not self.dom.isActive(), SETTLE_SECONDS, "the end")
            self.events.wait("fault", *event)
        self.table(phase, self.sites(), lambda *args: self.play(*args, end, event))
        self.check_same("files", self.daemon.files, self.usual_files, FILES_SECONDS)

    def test_destroy(self):
        """destroy works, or is refused with the enclave as it was"""
        self.ends("destroy", lambda helper: self.dom.destroy(), DESTROYED)

    def test_poweroff(self):
        """the end of a guest is noticed"""
        self.ends("poweroff", lambda helper: os.kill(helper, signal.SIGUSR2), SHUTDOWN)

    def test_killed(self):
        """the end of a helper is noticed"""
        self.ends("killed", lambda helper: os.kill(helper, signal.SIGKILL), CRASHED)


class Takeover(InjectedTest):

    def ours(self, call):
        # those of workers are about the client that has connected
        return super().ours(call) and "rpc-" not in call.thread

    def restart(self):
        self.daemon.stop()
        self.daemon.start()
        self.reconnect()
        self.look_up()
        self.wait_known(self.usual)

    def note_usual(self):
        super().note_usual()
        if not self.dom.isActive():
            self.dom.create()
        self.usual["fault"] = (self.dom.ID(), self.helper_of(self.dom))
        self.restart()
        self.usual_files = self.daemon.files()
        self.usual_descriptors = self.settle()

    def start_daemon(self):
        """Starts it, and connects. Returns what has happened to it, or None."""
        try:
            self.daemon.start()
            self.reconnect()
            return None
        except RuntimeError as failure:
            self.daemon.process = None
            return f"no daemon: {str(failure).splitlines()[0]}: {self.last_error()}"
        except libvirt.libvirtError as refusal:
            text = f"no connection: {self.said(refusal)}"
        # it may have ended since
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.daemon.process.poll() is not None, 0.5, "its end")
        return text

    def last_error(self):
        errors = re.findall(r" error : \S+ : (.*)", self.log())
        return errors[-1] if errors else "no reason in the log"

    def set_aside(self):
        """Returns the names of the enclaves that the daemon does not know."""
        active = {dom.name() for dom in self.conn.listAllDomains() if dom.isActive()}
        return sorted(self.usual.keys() - active)

    def play(self, site, error):
        self.daemon.stop()
        with self.injected(site, error) as fault:
            happened = self.start_daemon()
        self.assertEqual(self.survivors(self.usual), self.usual, "a helper has ended")
        if happened:
            self.daemon.stop()
            self.restart()
        elif missing := self.set_aside():
            # no domain for now, and all is there for the next daemon
            happened = f"set aside: {', '.join(missing)}"
            for name in missing:
                self.assertRegex(self.log(), rf"(?i)(error|warning) : .*\b{name}\b")
            self.restart()
        self.look_up()
        self.wait_known(self.usual, SETTLE_SECONDS)
        self.assertEqual(self.events.seen, [])
        self.check_usual()
        return (happened or "taken over") + ("" if fault.hits else ", not reached")

    def test_takeover(self):
        """the next daemon has each enclave, at once or after a while"""
        self.daemon.stop()
        with self.mock.record():
            self.daemon.start()
            self.reconnect()
            self.look_up()
            self.wait_known(self.usual)
        self.table("takeover", self.sites(), self.play)


class Status(InjectedTest):

    def note_usual(self):
        if not self.dom.isActive():
            self.dom.create()
        super().note_usual()
        self.usual["fault"] = (self.dom.ID(), self.helper_of(self.dom))
        self.usual_descriptors = self.settle()
        self.events.seen.clear()

    def queries(self):
        """Returns {name: call} of what can be asked."""
        return {
            "list": self.conn.listAllDomains,
            "state": self.dom.state,
            "info": self.dom.info,
            "dumpxml": self.dom.XMLDesc,
            "controlInfo": self.dom.controlInfo,
            "stats": self.conn.getAllDomainStats,
            "launchSecurityInfo": self.dom.launchSecurityInfo,
            "vcpus": self.dom.vcpus,
            "capabilities": self.conn.getCapabilities,
            "domcapabilities": self.conn.getDomainCapabilities,
            "metadata": lambda: self.dom.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_TITLE, f"title {time.monotonic()}", None, None,
                libvirt.VIR_DOMAIN_AFFECT_LIVE),
        }

    def play(self, site, error):
        happened = []
        with self.injected(site, error) as fault:
            for name, call in self.queries().items():
                try:
                    call()
                except libvirt.libvirtError as refusal:
                    happened.append(f"{name} refused: {self.said(refusal, name)}")
        self.assertState(self.dom, RUNNING, BOOTED)
        self.assertEqual(self.events.seen, [])
        self.check_usual()
        text = "; ".join(happened) or "answered"
        return text if fault.hits else f"not reached, {text}"

    def test_status(self):
        """queries are answered, or refused with a reason, and change nothing"""
        for call in self.queries().values():
            call()
        self.note_usual()
        with self.mock.record():
            for call in self.queries().values():
                call()
        self.table("status", self.sites(lambda call: call.path.startswith("/sys/")), self.play)
        self.dom.destroy()


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "all":
        ALL = True
        del sys.argv[1]
    taprunner.main()
