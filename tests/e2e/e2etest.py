#
# e2etest.py: what the end-to-end tests share
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
EnclaveTest is the base class of the end-to-end tests. A class of tests has one
daemon; a test has one connection to it, self.conn, and ends with a check that
nothing is left behind: no domain, file, descriptor or process.

The sample enclave is told on its kernel command line what to do, see
examples/hello/init.c: boot_kernel() makes the elements of <os> for that.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import unittest

import daemon
from daemon import (HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, NitroDaemon, Processes,
                    wait_until)

try:
    import libvirt
except ImportError:
    print("1..0 # SKIP python3-libvirt is not installed")
    sys.exit(0)

with open("/proc/self/maps", encoding="utf-8") as maps:
    if os.path.join(daemon.BUILD, "subprojects") in maps.read():
        sys.exit("the tests must use the distribution's libvirt, not this build's: "
                 f"LD_LIBRARY_PATH is {os.environ.get('LD_LIBRARY_PATH')}")

# A call of libvirt that hangs cannot be interrupted: after this the daemon is killed.
TEST_SECONDS = 150

# Emulation is slow, and other tests run beside
BOOT_SECONDS = 60
END_SECONDS = 20

NAMESPACE = "http://libvirt.org/schemas/domain/nitro/1.0"

# The states of a domain, and the reason of the first when all is well
RUNNING = libvirt.VIR_DOMAIN_RUNNING
BOOTED = libvirt.VIR_DOMAIN_RUNNING_BOOTED
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF

# Lifecycle events: (event, detail)
ADDED = (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)
UPDATED = (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_UPDATED)
UNDEFINED = (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
STARTED = (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
SHUTDOWN = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
CRASHED = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
DESTROYED = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)


def banner(seed):
    """Returns the line that the sample prints for hello.seed=@seed."""
    return f"hello: enclave ready, check number {seed * seed + 1}"


def boot_image(path=HELLO_EIF):
    """Returns the elements of <os> that boot the image @path."""
    return f"<kernel>{path}</kernel>"


def boot_kernel(*words, seed=0, loud=False):
    """
    Returns the elements of <os> that boot the sample with @words in its command line. When
    @loud its kernel says what it does, the command line first, long before the end of the boot.
    """
    cmdline = " ".join(["console=ttyS0 reboot=t panic=-1", "" if loud else "quiet",
                        f"hello.seed={seed}", *words])
    return (f"<kernel>{HELLO_KERNEL}</kernel><initrd>{HELLO_INITRD}</initrd>"
            f"<cmdline>{cmdline}</cmdline>")


def domain_xml(name, boot=None, machine="nitro-enclave", arch=None, memory="128",
               unit="MiB", vcpu="<vcpu>1</vcpu>", devices="", elements="", heartbeat="yes"):
    """
    Returns the definition of the domain @name. @devices go into <devices>, @elements
    beside it; the console, if any, is one of @devices. On the device @arch is the host's.
    """
    arch = arch or (os.uname().machine if machine == "nitro" else "x86_64")
    return f"""<domain type='nitro' xmlns:nitro='{NAMESPACE}'>
  <name>{name}</name>
  <memory unit='{unit}'>{memory}</memory>
  {vcpu}
  <os>
    <type arch='{arch}' machine='{machine}'>hvm</type>
    {boot or boot_image()}
  </os>
  {elements}
  <devices>{devices}</devices>
  <nitro:enclave debug='yes'/>
  <nitro:heartbeat enabled='{heartbeat}'/>
</domain>"""


def quick_xml(name, number=None, elements="", **kwargs):
    """
    Returns the definition of the domain @name, with the UUID @number if there is one, whose
    start does not wait for the guest. For tests that are not about the guest: one that is
    destroyed early has not had the time to boot.
    """
    if number:
        elements += f"<uuid>{number}</uuid>"
    return domain_xml(name, heartbeat="no", elements=elements, **kwargs)


class EventLoop:
    """
    libvirt's event loop in a thread: there can be only one. It ends before Python does, as
    a callback that runs while the interpreter is being taken down crashes it.
    """

    thread = None
    ending = False

    @classmethod
    def start(cls):
        if cls.thread:
            return
        libvirt.virEventRegisterDefaultImpl()
        libvirt.registerErrorHandler(lambda context, error: None, None)
        cls.thread = threading.Thread(target=cls._run, daemon=True)
        cls.thread.start()
        atexit.register(cls._stop)

    @classmethod
    def _run(cls):
        # a timeout, so that handles which other threads add are noticed
        libvirt.virEventAddTimeout(50, lambda timer, opaque: None, None)
        while not cls.ending:
            libvirt.virEventRunDefaultImpl()

    @classmethod
    def _stop(cls):
        cls.ending = True
        cls.thread.join()


class Events:
    """Records the lifecycle events of a connection: (name of the domain, event, detail)."""

    def __init__(self, conn):
        self.conn = conn
        self.seen = []
        self.reboots = []
        self.ids = [
            conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                        self._lifecycle, None),
            conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
                                        self._reboot, None)]

    def _lifecycle(self, conn, dom, event, detail, opaque):
        self.seen.append((dom.name(), event, detail))

    def _reboot(self, conn, dom, opaque):
        self.reboots.append(dom.name())

    def wait(self, name, event, detail, seconds=END_SECONDS):
        wanted = (name, event, detail)
        try:
            wait_until(lambda: wanted in self.seen, seconds, f"event {wanted}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; seen: {self.seen}") from None

    def of(self, name):
        return [(event, detail) for domain, event, detail in list(self.seen) if domain == name]

    def check(self, name, expected, seconds=END_SECONDS):
        """Checks the events of the domain @name, which come after the answers to calls."""
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.of(name) == expected, seconds, "events")
        if self.of(name) != expected:
            raise AssertionError(f"events of {name}: {self.of(name)}, not {expected}")

    def stop(self):
        for number in self.ids:
            with contextlib.suppress(libvirt.libvirtError):
                self.conn.domainEventDeregisterAny(number)


class StreamConsole:
    """Reads the console of a domain through the API."""

    def __init__(self, conn, dom, flags=0, device=None):
        self.stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
        self.text = ""
        try:
            dom.openConsole(device, self.stream, flags)
        except libvirt.libvirtError:
            # Python's own reference would be freed with the stream still open
            self.stream = None
            raise

    def read(self):
        """Takes what is there. Returns False at the end of the stream."""
        while True:
            data = self.stream.recv(65536)
            if data == -2:
                return True
            if not data:
                return False
            self.text += data.decode(errors="replace")

    def wait(self, text, seconds=BOOT_SECONDS):
        wait_until(lambda: not self.read() or text in self.text, seconds,
                   f"'{text}' on the console")
        if text not in self.text:
            raise AssertionError(f"the console ended without '{text}': {self.text[-2000:]}")

    def wait_end(self, seconds=END_SECONDS):
        def ended():
            try:
                return not self.read()
            except libvirt.libvirtError:
                return True

        wait_until(ended, seconds, "the end of the console's stream")

    def close(self):
        with contextlib.suppress(libvirt.libvirtError):
            self.stream.abort()


class Background:
    """
    A call in a thread of its own; result() waits for it and raises what it raised. A call of
    libvirt's gets a connection of its own, too: with libvirt 9.0 a second call on a
    connection can go unnoticed by the thread that waits for the first one, and is not sent
    before something comes, such as a keep-alive message after 5 s.
    """

    uri = None  # the daemon's

    def __init__(self, call, *args):
        self.value = self.error = None
        call = self.on_own_connection(call)
        self.thread = threading.Thread(target=self._run, args=(call, args), daemon=True)
        self.thread.start()

    @classmethod
    def on_own_connection(cls, call):
        bound = getattr(call, "__self__", None)
        if isinstance(bound, libvirt.virConnect):
            return getattr(libvirt.open(cls.uri), call.__name__)
        if isinstance(bound, libvirt.virDomain):
            dom = libvirt.open(cls.uri).lookupByUUIDString(bound.UUIDString())
            return getattr(dom, call.__name__)
        return call

    def _run(self, call, args):
        try:
            self.value = call(*args)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def result(self, seconds=120):
        self.thread.join(seconds)
        if self.thread.is_alive():
            raise TimeoutError(f"not done within {seconds} s")
        if self.error:
            raise self.error
        return self.value


class EnclaveTest(unittest.TestCase):
    """See the comment at the top of the file."""

    system = False
    read_all = True
    seconds = TEST_SECONDS
    maxDiff = None

    # What must have been built: the sample
    needed = (HELLO_EIF, HELLO_KERNEL, HELLO_INITRD)

    # PIDs of what runs before a test and goes on after it
    lasting = frozenset()

    @classmethod
    def setUpClass(cls):
        for path in cls.needed:
            if not os.path.exists(path):
                raise FileNotFoundError(f"{path} is not there: build the target 'hello' first")
        # unittest goes on after any other exception
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        EventLoop.start()
        cls.processes = Processes()
        cls.daemon = NitroDaemon(system=cls.system, read_all=cls.read_all)
        cls.daemon.daemon_env.update(cls.daemon_environment())
        Background.uri = cls.daemon.uri
        cls.addClassCleanup(cls.daemon.remove)
        cls.addClassCleanup(cls.processes.kill)
        cls.addClassCleanup(cls.daemon.stop)
        # also after Ctrl-C and a time limit of Meson's
        atexit.register(cls.daemon.remove)
        atexit.register(cls.processes.kill)
        cls.before_start()
        cls.daemon.start()
        cls.warm_up()
        cls.descriptors = cls.settle()

    @classmethod
    def before_start(cls):
        """For classes that write the daemon's configuration or change its environment."""

    @classmethod
    def daemon_environment(cls):
        """Returns what the environment of the daemon has besides."""
        return {}

    @classmethod
    def warm_up(cls):
        """Has the daemon open what it opens once, so that descriptors can be compared."""
        conn = libvirt.open(cls.daemon.uri)
        with contextlib.suppress(libvirt.libvirtError):
            conn.createXML(quick_xml("warm-up"), 0).destroy()
        conn.close()

    @classmethod
    def settle(cls):
        """Returns the daemon's descriptors once it has closed those of the warm-up."""
        before = None
        while cls.daemon.descriptors() != before:
            before = cls.daemon.descriptors()
            time.sleep(0.2)
        return before

    def run(self, result=None):
        """As unittest's, but a test that fails shows the daemon's log."""
        before = len(result.failures) + len(result.errors)
        watchdog = threading.Timer(self.seconds, self.give_up)
        watchdog.start()
        super().run(result)
        watchdog.cancel()
        if len(result.failures) + len(result.errors) > before:
            print(self.daemon.logs(), file=sys.stderr)

    def give_up(self):
        print(f"{self.id()} takes longer than {self.seconds} s: killing the daemon",
              file=sys.stderr)
        self.daemon.process.kill()

    def setUp(self):
        if self.daemon.process is None or self.daemon.process.poll() is not None:
            self.daemon.start()
        self.files_before = self.daemon.files()
        self.descriptors_before = self.descriptors
        self.addCleanup(self.check_nothing_left)
        self.conn = libvirt.open(self.daemon.uri)
        # cleanups run in reverse order
        self.addCleanup(lambda: self.conn.close())
        self.addCleanup(self.remove_domains)
        self.events = Events(self.conn)
        self.addCleanup(lambda: self.events.stop())

    def reconnect(self):
        """For tests that restart the daemon."""
        with contextlib.suppress(libvirt.libvirtError):
            self.conn.close()
        self.conn = libvirt.open(self.daemon.uri)
        self.events = Events(self.conn)
        self.descriptors_before = None

    def remove_domains(self):
        if not self.conn.isAlive():
            return
        for dom in self.own_domains():
            with contextlib.suppress(libvirt.libvirtError):
                dom.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                dom.undefine()

    def own_domains(self):
        """Returns the domains of this test."""
        return self.conn.listAllDomains()

    def left(self):
        """Returns {PID: name} of what this test has started and not ended."""
        return {pid: name for pid, name in self.living().items() if pid not in self.lasting}

    @classmethod
    def living(cls):
        """Returns the processes that the daemon has started, itself left out."""
        found = cls.processes.descendants()
        return {pid: name for pid, name in found.items() if name not in ("virtnitrod", "virsh")}

    def check_nothing_left(self):
        """The promise that every test ends with."""
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not self.left(), 5, "processes")
        self.assertEqual(self.left(), {}, "processes are left")
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.daemon.files() == self.files_before, 2, "files")
        self.assertEqual(self.daemon.files(), self.files_before, "files are left")
        if self.descriptors_before:
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: self.daemon.descriptors() == self.descriptors_before,
                           5, "descriptors")
            self.assertEqual(self.daemon.descriptors(), self.descriptors_before,
                             "descriptors are left")

    @contextlib.contextmanager
    def refused(self, code, *words):
        """
        Expects an error of libvirt with the number @code (or one of several) whose text
        has all @words.
        """
        with self.assertRaises(libvirt.libvirtError) as raised:
            yield
        error = raised.exception
        text = error.get_error_message()
        self.assertIn(error.get_error_code(), code if isinstance(code, tuple) else (code,), text)
        for word in words:
            self.assertIn(str(word), text)

    def assertState(self, dom, state, reason):
        self.assertEqual(dom.state(), [state, reason])

    def wait_state(self, dom, state, reason, seconds=END_SECONDS):
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: dom.state() == [state, reason], seconds, "state")
        self.assertState(dom, state, reason)

    def path(self, name):
        """Returns the path of a file for this test, in the daemon's directory."""
        return os.path.join(self.daemon.dir, f"{self._testMethodName}-{name}")

    def console_file(self, name="console"):
        """Returns the path of a file and the console that writes into it."""
        path = self.path(name)
        return path, f"<console type='file'><source path='{path}'/></console>"

    def wait_text(self, path, text, seconds=BOOT_SECONDS):
        """Waits until the file @path has @text; returns the whole content."""
        def content():
            if not os.path.exists(path):
                return ""
            with open(path, encoding="utf-8", errors="replace") as console:
                return console.read()

        try:
            wait_until(lambda: text in content(), seconds, f"'{text}' in {path}")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {content()[-2000:]}") from None
        return content()

    @classmethod
    def helper_of(cls, dom):
        """Returns the PID of the helper of the running domain @dom."""
        uuid = dom.UUIDString()
        for pid, name in cls.living().items():
            if name != "libvirt_nitro":
                continue
            # one that has just ended may be gone
            with (contextlib.suppress(FileNotFoundError, ProcessLookupError),
                  open(f"/proc/{pid}/cmdline", encoding="utf-8") as cmdline):
                if uuid in cmdline.read().split("\0"):
                    return pid
        raise AssertionError(f"domain {dom.name()} has no helper among {cls.living()}")

    def qemu_of(self, dom):
        """Returns the PID of QEMU below the helper of the running domain @dom."""
        below = self.processes.descendants(self.helper_of(dom))
        for pid, name in below.items():
            if name.startswith("qemu-system"):
                return pid
        raise AssertionError(f"the helper of {dom.name()} has no QEMU among {below}")


class OneEnclaveTest(EnclaveTest):
    """
    One enclave is booted for all tests of the class, which leave it as it was: self.dom.
    That it still runs, and has no descriptor more than before, is checked after each of them.
    """

    @classmethod
    def enclave_xml(cls):
        """Returns the definition of the enclave, which must wait for its heartbeat."""
        return domain_xml("shared", boot_kernel())

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        conn = libvirt.open(cls.daemon.uri)
        dom = conn.createXML(cls.enclave_xml(), 0)
        cls.addClassCleanup(cls.end_enclave)
        cls.shared = dom.name()
        cls.helper = cls.helper_of(dom)
        cls.lasting = {cls.helper, *cls.processes.descendants(cls.helper)}
        del dom
        conn.close()
        cls.descriptors = cls.settle()

    @classmethod
    def end_enclave(cls):
        """With the promise that every test of its own enclave ends with."""
        conn = libvirt.open(cls.daemon.uri)
        conn.lookupByName(cls.shared).destroy()
        conn.close()
        wait_until(lambda: not cls.lasting & cls.living().keys(), 5,
                   "the end of the shared enclave")

    def setUp(self):
        super().setUp()
        self.dom = self.conn.lookupByName(self.shared)
        # it would keep the connection open
        self.addCleanup(delattr, self, "dom")
        self.helper_descriptors = self.count_descriptors()

    def count_descriptors(self):
        return len(os.listdir(f"/proc/{self.helper}/fd"))

    def own_domains(self):
        return [dom for dom in super().own_domains() if dom.name() != self.shared]

    def check_nothing_left(self):
        super().check_nothing_left()
        self.assertTrue(self.lasting <= self.living().keys(), "the shared enclave has ended")
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.count_descriptors() <= self.helper_descriptors, END_SECONDS,
                       "the helper's descriptors")
        self.assertLessEqual(self.count_descriptors(), self.helper_descriptors,
                             "the helper has descriptors left")
