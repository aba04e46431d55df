#
# test_escape.py: what a taken-over helper or QEMU would try, and does not get
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
tests/escape.c has the list of acts. A QEMU that is none (tests/fakeqemu.c) tries all of them,
one after the other; a helper that is built with them (tests/escapehelper.c) one in each life,
as what is outside of its filter ends it. Both run as the daemon has them run. Outside of any
sandbox the same list is possible: see class Outside. Each act is a line of the output, with
its verdict.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import daemon
import fakeqemu
import taprunner
import tinyguest
from daemon import wait_until
from e2etest import ADDED, CRASHED, SHUTOFF, STARTED, EnclaveTest, libvirt, quick_xml
from fakeqemu import COMMANDS, RUN, STAY
from sandboxtest import SessionSandbox, SystemSandbox
from test_device import DeviceTest
from vsockclient import VsockClient

ESCAPEHELPER = os.path.join(daemon.BUILD, "tests", "escapehelper")

QEMU_NAME = "qemu-system-x86_64"

# The last one of escape.c, which prints nothing more when it succeeds
LAST = "execve"

SHM_KEY = 0x6e7a01  # of the shared memory that the acts look for
IPC_CREAT, IPC_RMID = 0o1000, 0

# What a host, or the container of the tests, may lack or forbid by itself
HOST_MAY_REFUSE = {
    "open-init", "open-sysrq", "open-core-pattern", "open-by-handle", "mknod", "socket-alg",
    "socket-packet", "socket-vsock", "bind-host-vsock", "mount", "umount", "unshare-user",
    "unshare-mounts", "setns", "io-uring", "bpf", "userfaultfd", "perf-event-open", "add-key",
    "keyctl", "tiocsti", "quotactl", "reboot", "init-module", "sethostname", "personality",
    "socket-inet6"}

# What QEMU may do: it stays in its own namespaces, or in the process itself. PID 1 is the
# init of its namespace. AF_VSOCK is not among it: network namespaces do not keep it apart.
QEMU_MAY = {
    "open-init", "memfd-create", "mmap-exec", "mprotect-exec", "set-dumpable", "prctl-seccomp",
    "seccomp", "tiocsti", "personality", "quotactl", "fork", "clone", "execve-none"}

# Of files: what is kept from QEMU by namespaces or Landlock alone
FILE_ACTS = {
    "open-shadow-path", "open-passwd", "open-victim", "open-image", "open-console", "open-pidfile",
    "create-file", "openat2", "leaked-directory", "symlink", "execve"}

# What a helper may do: the sockets that its work needs; those of the vsock only connect
EMULATED_MAY = {"socket-unix", "socket-unix-datagram", "socket-vsock"}
DEVICE_MAY = {"socket-vsock"}

# What the heartbeat broker tries: one act of each kind
BROKER_ACTS = ["open-shadow-path", "open-image", "kill", "ptrace", "connect-daemon",
               "connect-inet", "socket-netlink", "mmap-exec", "io-uring", "set-dumpable", "clone",
               "execve"]


def listen(address):
    """Returns a socket that listens at the address of a UNIX socket, for anybody."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    if isinstance(address, str) and address.startswith("/"):
        os.chmod(address, 0o777)
    listener.listen(64)
    return listener


class Targets:
    """What the acts aim at, in the directory @where; leave() takes it away."""

    def __init__(self, where):
        self.where = where
        self.stack = contextlib.ExitStack()
        self.values = {}
        self.abstract()
        self.port()
        self.shared_memory()
        self.values["image"] = self.file("image")

    def leave(self):
        self.stack.close()

    def file(self, name):
        """A file that anybody may read and write"""
        path = os.path.join(self.where, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(name)
        os.chmod(path, 0o666)
        return path

    def socket(self, name):
        path = os.path.join(self.where, name)
        self.stack.enter_context(listen(path))
        return path

    def abstract(self):
        name = f"nitro-escape-{os.getpid()}"
        self.stack.enter_context(listen(f"\0{name}"))
        self.values["abstract"] = name

    def port(self):
        listener = self.stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        self.values["port"] = listener.getsockname()[1]

    def shared_memory(self):
        libc = ctypes.CDLL(None, use_errno=True)
        key = SHM_KEY + os.getpid()
        number = libc.shmget(key, 4096, IPC_CREAT | 0o666)
        if number >= 0:
            self.stack.callback(libc.shmctl, number, IPC_RMID, None)
            self.values["shm"] = key

    def trailer(self):
        return "".join(f"escape-{key} {value}\n" for key, value in self.values.items())


def verdicts(text):
    """
    Returns {act: its verdict} of what a program with acts has written, a log. The verdict of
    one that has begun and not ended is "" then, or "ended by CALL" when a line names the call.
    """
    found = {}
    current = calls = None
    for line in text.splitlines():
        match = re.search(r"\bact ([a-z0-9-]+): (.*)", line)
        if match and match[2].startswith("trying "):
            current, calls = match[1], match[2].split()[1].split(",")
            found[current] = ""
        elif match and match[1] in found:
            found[match[1]] = match[2].strip()
        elif current and not found[current]:
            named = [call for call in calls if re.search(rf"\b{call}\b", line)]
            if named:
                found[current] = f"ended by {named[0]}"
    return found


def is_refusal(verdict):
    return verdict.startswith(("refused ", "ended by ")) or verdict == f"signal {signal.SIGSYS}"


class Outside(unittest.TestCase):
    """The acts without a sandbox: what is refused elsewhere is possible."""

    def test_possible(self):
        if os.geteuid() != 0:
            self.skipTest("others than root may do little")
        where = tempfile.mkdtemp(prefix="nitro-escape")
        self.addCleanup(shutil.rmtree, where)
        targets = Targets(where)
        self.addCleanup(targets.leave)
        with subprocess.Popen(["sleep", "100"]) as victim:
            self.addCleanup(victim.wait)
            self.addCleanup(victim.kill)
            targets.values.update(
                victim=victim.pid, console=targets.file("console"), pidfile=targets.file("pid"),
                **{name: targets.socket(name) for name in ("control", "vsock", "daemon")})
            self.compare(self.run_acts(where, targets))
            victim.kill()

    def run_acts(self, where, targets):
        program = fakeqemu.make(os.path.join(where, QEMU_NAME), targets.trailer() + "escape\n")
        directory = os.open("/usr", os.O_RDONLY)
        try:
            # what is mounted goes with it
            result = subprocess.run(["unshare", "--mount", program], cwd=where, timeout=60,
                                    stderr=subprocess.PIPE, pass_fds=[directory], text=True,
                                    stdin=subprocess.DEVNULL, check=False)
        finally:
            os.close(directory)
        self.assertIn(f"act {LAST}: done", result.stderr)
        return verdicts(result.stderr)

    def compare(self, found):
        self.assertEqual(sorted(found), sorted(act_names()))
        for act, verdict in found.items():
            with self.subTest(act=act, verdict=verdict):
                if act in HOST_MAY_REFUSE and verdict != "done":
                    self.skipTest(f"this host refuses it to everybody: {verdict}")
                self.assertEqual(verdict, "done", "nobody has refused it")


def act_names():
    """Returns the names of all acts, as the program has them."""
    source = os.path.join(daemon.SOURCE, "tests", "escape.c")
    with open(source, encoding="utf-8") as file:
        names = re.findall(r'^    \{ "([a-z0-9-]+)", "[a-z0-9_,]+", \w+', file.read(),
                           re.MULTILINE)
    # a call that other architectures do not have
    return [name for name in names if name != "fork" or os.uname().machine == "x86_64"]


class EscapeTest(EnclaveTest):
    """
    The enclave "victim" runs for all tests of the class. QEMU is the fake one for all of
    them, which tries the acts for domains whose name begins with "qemu".
    """

    batch = 10  # helpers that run at once
    needed = ()  # no sample

    QEMU_STEPS = "{targets}" + COMMANDS + RUN + STAY + "for qemu\n" + COMMANDS + RUN + \
        "escape\n" + STAY

    @classmethod
    def daemon_environment(cls):
        cls.programs = os.path.join(cls.daemon.dir, "programs")
        os.mkdir(cls.programs)
        os.chmod(cls.programs, 0o755)
        os.chmod(cls.daemon.dir, 0o755)
        cls.targets = Targets(cls.programs)
        cls.addClassCleanup(cls.targets.leave)
        cls.write_programs()
        return {**super().daemon_environment(),
                "PATH": f"{cls.programs}:{os.environ['PATH']}"}

    @classmethod
    def write_programs(cls):
        """Makes the fake QEMU and the helper with what the acts aim at, as far as it is known."""
        trailer = cls.targets.trailer()
        fakeqemu.make(os.path.join(cls.programs, QEMU_NAME),
                      cls.QEMU_STEPS.format(targets=trailer))
        # the name is that of the process, by which tests know a helper
        directory = os.path.join(cls.programs, "helper")
        os.makedirs(directory, exist_ok=True)
        cls.emulator = fakeqemu.copy(ESCAPEHELPER,
                                     os.path.join(directory, os.path.basename(daemon.HELPER)),
                                     trailer)

    @classmethod
    def warm_up(cls):
        super().warm_up()
        cls.kernel = os.path.join(cls.daemon.dir, "kernel")
        with open(cls.kernel, "wb") as kernel:
            kernel.write(tinyguest.kernel(b""))
        conn = libvirt.open(cls.daemon.uri)
        conn.createXML(cls.definition("victim"), 0)
        cls.addClassCleanup(cls.end_victim)
        cls.find_victim(conn.lookupByName("victim"))
        conn.close()
        cls.write_programs()

    @classmethod
    def definition(cls, name, devices="", **more):
        console = os.path.join(cls.daemon.dir, f"console-{name}")
        devices += (f"<console type='file'><source path='{console}'/></console>"
                    "<vsock><cid auto='yes'/></vsock>")
        return quick_xml(name, boot=f"<kernel>{cls.kernel}</kernel>", memory="64",
                         devices=devices, **more)

    @classmethod
    def escaping(cls, name, **more):
        return cls.definition(name, devices=f"<emulator>{cls.emulator}</emulator>", **more)

    @classmethod
    def find_victim(cls, dom):
        cls.victim = cls.helper_of(dom)
        cls.lasting = {cls.victim, *cls.processes.descendants(cls.victim)}
        values = {"victim": cls.victim, "daemon": cls.daemon.socket,
                  "console": os.path.join(cls.daemon.dir, "console-victim"),
                  "control": os.path.join(cls.run_directory(dom), "control"),
                  "pidfile": os.path.join(cls.run_directory(dom), "pid")}
        if "vsock directory" in dom.XMLDesc():
            values["vsock"] = os.path.join(VsockClient.of(dom).directory, "vsock")
        for path in list(values.values())[1:]:
            if not os.path.exists(path):
                raise FileNotFoundError(f"{path}, which acts aim at, is not there")
        cls.targets.values.update(values)

    @classmethod
    def run_directory(cls, dom):
        top = os.path.join(cls.daemon.state_dir, "nitro")
        return os.path.join(top if cls.system else os.path.join(top, "run"),
                            f"domain-{dom.ID()}-{dom.name()}")

    @classmethod
    def end_victim(cls):
        conn = libvirt.open(cls.daemon.uri)
        with contextlib.suppress(libvirt.libvirtError):
            conn.lookupByName("victim").destroy()
        conn.close()

    def own_domains(self):
        return [dom for dom in super().own_domains() if dom.name() != "victim"]

    def setUp(self):
        super().setUp()
        self.log_starts = {}

    def log_path(self, name):
        return os.path.join(self.daemon.domain_log_dir, f"{name}.log")

    def begin_log(self, name):
        """Of the domain @name log() returns what comes from now on: it is not the first one."""
        if os.path.exists(self.log_path(name)):
            self.log_starts[name] = os.path.getsize(self.log_path(name))

    def log(self, name):
        with contextlib.suppress(FileNotFoundError):
            with open(self.log_path(name), encoding="utf-8", errors="replace") as log:
                log.seek(self.log_starts.get(name, 0))
                return log.read()
        return ""

    def check_helpers(self, when, acts):
        for begin in range(0, len(acts), self.batch):
            batch = {act: f"{when}-{act}" for act in acts[begin:begin + self.batch]}
            errors = {}
            for name in batch.values():
                self.begin_log(name)
                # one that is ended early has no start that succeeds
                try:
                    self.conn.createXML(self.escaping(name), 0)
                except libvirt.libvirtError as error:
                    errors[name] = str(error)
            for act, name in batch.items():
                verdict = (self.verdict(act, name) or
                           f"not tried: {errors.get(name, 'the helper has ended')}")
                with self.subTest(act=act, when=when, verdict=verdict):
                    self.check_verdict(act, verdict, name)
            self.remove_domains()

    def check_verdict(self, act, verdict, name):
        self.assertTrue(is_refusal(verdict), f"the helper may do this; its log: {self.log(name)}")
        if verdict.startswith("ended by "):
            # nothing of it runs on
            wait_until(lambda: not self.runs(name), 20, f"the end of {name}")
            self.assertEqual(self.log(name).count(f"act {act}: "), 1)

    def verdict(self, act, name):
        """Waits for what has become of the @act of the domain @name."""
        def known():
            verdict = verdicts(self.log(name)).get(act)
            return verdict or not self.runs(name)

        with contextlib.suppress(TimeoutError):
            wait_until(known, 20, f"the verdict on {act}")
        return verdicts(self.log(name)).get(act)

    def runs(self, name):
        try:
            return bool(self.conn.lookupByName(name).isActive())
        except libvirt.libvirtError:
            return False

    def check_nothing_left(self):
        # what an act that was possible has left
        self.processes.end("sh", "image")
        super().check_nothing_left()
        self.assertTrue(self.lasting <= self.living().keys(), "the other domain has ended")


class FakeQemu:
    """What QEMU may not do, which is tried by a fake one"""

    qemu_may = QEMU_MAY

    def test_qemu(self):
        """what touches the host is refused without QEMU's own filter"""
        self.begin_log("qemu")
        dom = self.conn.createXML(self.definition("qemu"), 0)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: verdicts(self.log("qemu")).get(LAST), 30, "the last verdict")
        found = verdicts(self.log("qemu"))
        self.assertEqual(sorted(found), sorted(act_names()))
        for act, verdict in found.items():
            with self.subTest(act=act, verdict=verdict):
                if act not in self.qemu_may:
                    self.assertTrue(is_refusal(verdict), "QEMU gets at the host")
        dom.destroy()


class Emulated(FakeQemu):
    """The emulated machine: a mixin for EscapeTest"""

    def test_helper(self):
        """what is not on the list is refused, or ends the helper with a line that names it"""
        self.check_helpers("escape", [act for act in act_names() if act not in EMULATED_MAY])

    def test_helper_early(self):
        """the first stage is there before a byte of the image is read"""
        self.check_helpers("early", ["open-shadow", "open-image", "kill", "ptrace", "connect-inet",
                                     "mount", "bpf", "unshare-user", "set-dumpable", "clone",
                                     "execve"])

    def test_violation(self):
        """a call that is outside of the filter is a crash, of which the log has one line"""
        self.begin_log("escape-mount")
        dom = self.conn.defineXML(self.escaping("escape-mount"))
        dom.create()
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        self.events.check("escape-mount", [ADDED, STARTED, CRASHED])
        lines = [line for line in self.log("escape-mount").splitlines()
                 if re.search(r"\bmount\b", line) and "act mount: " not in line and
                 "escape-mount" not in line]
        self.assertEqual(len(lines), 1, f"lines that name the call: {lines}")
        dom.undefine()

    def test_violation_restart(self):
        """on_crash restart: a new enclave, which is ended as well"""
        name = "escape-mount"
        dom = self.conn.defineXML(self.escaping(
            name, elements="<on_crash>restart</on_crash>"))
        dom.create()
        wait_until(lambda: self.events.of(name).count(STARTED) > 1, 20, "the restart")
        self.assertEqual(self.events.of(name)[:4], [ADDED, STARTED, CRASHED, STARTED])
        wait_until(lambda: self.events.of(name).count(CRASHED) > 1, 20, "the second end")
        with contextlib.suppress(libvirt.libvirtError):
            dom.destroy()
        dom.undefine()


class SystemDevice(SystemSandbox, EscapeTest, DeviceTest):
    """Helpers on the device, whose filter has other calls"""

    batch = 4  # as many as the mock has CPUs and memory for

    @classmethod
    def daemon_environment(cls):
        environment = super().daemon_environment()
        # the broker is run from there, and so is what checks images
        directory = os.path.dirname(cls.emulator)
        shutil.copy(daemon.CHECKER, directory)
        environment["LIBVIRT_NITRO_HELPER_DIR"] = directory
        return environment

    @classmethod
    def escaping(cls, name, **more):
        return cls.xml(name, "heartbeat=never", heartbeat="no",
                       devices=f"<emulator>{cls.emulator}</emulator>", **more)

    def test_helper(self):
        """what is not on the list is refused, or ends the helper with a line that names it"""
        self.check_helpers("escape", [act for act in act_names() if act not in DEVICE_MAY])

    def test_broker(self):
        """the same of the process that all enclaves share while they boot"""
        self.addCleanup(self.tell_broker, "")
        for number, act in enumerate(BROKER_ACTS):
            self.tell_broker(act)
            creation = self.begin(f"beating{number}", "heartbeat=never")
            verdict = self.broker_verdict(act)
            with contextlib.suppress(libvirt.libvirtError):
                self.conn.lookupByName(f"beating{number}").destroy()
            # either that, or it has lost its broker
            with self.assertRaises(libvirt.libvirtError):
                creation.result()
            with self.subTest(act=act, verdict=verdict):
                self.assertTrue(is_refusal(verdict), "the broker may do this")
            wait_until(lambda: not self.brokers(), 20, "the end of the broker")

    def tell_broker(self, act):
        self.targets.values["broker"] = act
        self.write_programs()

    def broker_verdict(self, act):
        path = os.path.join(self.daemon.domain_log_dir, "heartbeat-broker")

        def verdict():
            with contextlib.suppress(FileNotFoundError):
                with open(path, encoding="utf-8", errors="replace") as log:
                    return verdicts(log.read()).get(act)
            return None

        with contextlib.suppress(TimeoutError):
            wait_until(verdict, 10, f"the verdict on {act}")
        return verdict() or "none"


class SystemEmulated(SystemSandbox, Emulated, EscapeTest):
    """The system's daemon"""


class SessionEmulated(SessionSandbox, Emulated, EscapeTest):
    """A user's daemon"""


class SessionLandlock(SessionSandbox, FakeQemu, EscapeTest):
    """A host that has no namespaces for users, and says so: Landlock is what there is for QEMU"""

    # a name, without what the file holds
    qemu_may = QEMU_MAY | {"open-shadow-path"}

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.wrap_helper('[ "$1" = --name ] && set -- "$@" '
                               '--without namespaces,qemu-namespaces')


class SessionFilter(SessionSandbox, FakeQemu, EscapeTest):
    """A host that has no Landlock either: other processes are still out of QEMU's reach"""

    qemu_may = QEMU_MAY | FILE_ACTS

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.wrap_helper('[ "$1" = --name ] && set -- "$@" '
                               '--without namespaces,qemu-namespaces,landlock')


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
