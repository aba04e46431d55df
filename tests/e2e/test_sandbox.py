#
# test_sandbox.py: the running processes have what they need, and no more
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The table of docs/drvnitro.rst, section "Security", compared with what /proc says of the live
processes: one class for each row and mode. All tests of a class share one enclave.
"""

import os
import re

import daemon
import taprunner
from daemon import wait_until
from e2etest import OneEnclaveTest, boot_kernel, domain_xml
from liveprocess import CAPABILITIES, LiveProcess
from sandboxtest import SessionSandbox, SystemSandbox, user_namespaces
from test_device import DeviceTest
from vsockclient import VsockClient

# What QEMU finds in its root directory; of /etc what the dynamic linker looks libraries up in
QEMU_TOP = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "usr"}
QEMU_USR = {"bin", "lib", "lib32", "lib64", "libexec", "libx32", "local", "share"}
QEMU_DEVICES = {"kvm"}
QEMU_ETC = {"ld.so.cache"}

# What it must not find, whatever lies about in the directories above
QEMU_NOT = ["/etc/shadow", "/etc/passwd", "/home", "/root", "/var", "/run", "/tmp",
            "/sys", "/boot", "/mnt", "/media", "/opt", "/srv", "/bin/sh", "/usr/bin/sh",
            "/usr/bin/python3", "/dev/mem", "/dev/nitro_enclaves", "/dev/vsock", "/dev/tty",
            "/dev/shm"]

# What leads to the user who has started the daemon, or to its own services
PRIVATE = re.compile(r"^(DBUS_|SSH_|LISTEN_|NOTIFY_SOCKET|CREDENTIALS_|LIBVIRT_AUTH)")


class Rules:
    """What goes for each process but the daemon. self.helper_ids: see sandboxtest.py."""

    def check_user(self, process):
        uid, gid = self.helper_ids
        status = process.status()
        self.assertEqual(status["Uid"].split(), [str(uid)] * 4, "it runs as another user")
        self.assertEqual(status["Gid"].split(), [str(gid)] * 4, "it runs with another group")
        groups = set(map(int, status["Groups"].split()))
        self.assertEqual(groups - self.helper_groups - {gid}, set(),
                         "it is in groups that its user is not in")

    def check_capabilities(self, process, own_namespace):
        for name in CAPABILITIES:
            # who has no privileges cannot give back what it could only get by execve() of a file
            if name == "CapBnd" and not (self.system or own_namespace):
                continue
            left = {status["Name"]: status[name] for status in process.threads()
                    if int(status[name], 16)}
            self.assertEqual(left, {}, f"threads have capabilities left in {name}")

    def check_filters(self, process, count):
        """All threads are under at least @count filters, and no set-user-ID program helps."""
        self.assertEqual(process.of_threads("NoNewPrivs"), {"1"}, "no_new_privs is not set")
        self.assertEqual(process.of_threads("Seccomp"), {"2"}, "there is no seccomp filter")
        self.assertGreaterEqual(min(map(int, process.of_threads("Seccomp_filters"))), count,
                                "a stage of the filter is missing")

    def lockable(self):
        """The limit of locked memory of who has nothing to lock: 8 MiB, or less if the daemon has."""
        own = LiveProcess(self.daemon.process.pid).limit("Max locked memory")
        return own if own[1] != "unlimited" and int(own[1]) <= 8 << 20 else (str(8 << 20),) * 2

    def check_closed(self, process):
        """It leaves no core, and others of its user cannot look into it."""
        wrong = []
        if process.limit("Max core file size") != ("0", "0"):
            wrong.append("it may leave a core file")
        if process.limit("Max locked memory") != self.lockable():
            wrong.append("it may lock memory")
        if process.is_dumpable():
            wrong.append("other processes of its user may trace it")
        self.assertEqual(wrong, [])

    def check_descriptors(self, process, name, devices=("/dev/null",), directories=()):
        """
        Only @directories, @devices, and for writing the log @name and the console, or nothing
        when there is no name.
        """
        self.assertEqual([path for path in process.directories() if path not in directories], [],
                         "directories are open")
        self.assertEqual([path for path in process.devices()
                          if path not in devices and not path.startswith("/dev/pt")], [],
                         "devices are open")
        expected = ()
        if name:
            expected = (os.path.join(self.daemon.domain_log_dir, name),
                        os.path.join(self.daemon.dir, "console-"))
        self.assertEqual([path for path in process.written() if not path.startswith(expected)],
                         [], "files are open for writing")

    def check_environment(self, process):
        self.assertEqual([name for name in process.environment() if PRIVATE.match(name)], [],
                         "it knows the environment of who has started the daemon")

    def check_namespaces(self, process, names):
        own = LiveProcess(self.daemon.process.pid)
        shared = [name for name in names if process.namespace(name) == own.namespace(name)]
        self.assertEqual(shared, [], "it is in namespaces of the daemon's")

    def check_daemon(self):
        """It is what it was started as, and keeps nothing of the image."""
        process = LiveProcess(self.daemon.process.pid)
        self.assertEqual(process.status()["Uid"].split(), [str(self.daemon_uid)] * 4)
        images = [target for _, target, _ in process.descriptors()
                  if target in (daemon.HELLO_EIF, daemon.HELLO_KERNEL, daemon.HELLO_INITRD)]
        self.assertEqual(images, [], "the daemon keeps the image open")


class Emulated(Rules):
    """The helper of the emulated machine, and its QEMU: a mixin for OneEnclaveTest"""

    NAME = "shared"

    @classmethod
    def enclave_xml(cls):
        console = os.path.join(cls.daemon.dir, "console-shared")
        return domain_xml(cls.NAME, boot_kernel(), devices="<vsock><cid auto='yes'/></vsock>"
                          f"<console type='file'><source path='{console}'/></console>")

    def setUp(self):
        super().setUp()
        self.process = LiveProcess(self.helper)
        self.emulator = LiveProcess(self.qemu_of(self.dom))
        self.vsock = VsockClient.of(self.dom).directory

    def need_namespaces(self):
        if not user_namespaces():
            self.skipTest("users can have no namespaces on this host")

    def test_daemon(self):
        self.check_daemon()

    def test_helper_user(self):
        self.check_user(self.process)

    def test_helper_capabilities(self):
        self.check_capabilities(self.process, user_namespaces())

    def test_helper_filters(self):
        self.check_filters(self.process, 2)

    def test_helper_closed(self):
        self.check_closed(self.process)

    def test_helper_namespaces(self):
        """no network, where the host lets it have namespaces"""
        self.need_namespaces()
        self.check_namespaces(self.process, ["user", "net"])
        self.assertEqual(self.process.interfaces(), ["lo"])

    def test_helper_root(self):
        """its vsock directory is all that there is"""
        self.need_namespaces()
        for what in ("root", "cwd"):
            self.assertTrue(os.path.samefile(self.process.path(what), self.vsock),
                            f"its {what} is {os.readlink(self.process.path(what))}")
        self.assertEqual(self.process.listdir(), sorted(os.listdir(self.vsock)))

    def test_helper_descriptors(self):
        self.check_descriptors(self.process, self.NAME, directories=(self.vsock, "/"))
        # one of them, "/", may only be its own
        for number, target, _ in self.process.descriptors():
            if target == "/":
                self.assertTrue(os.path.samefile(self.process.path("fd", str(number)),
                                                 self.vsock), "the root directory is open")
        images = [target for _, target, _ in self.process.descriptors()
                  if target in (daemon.HELLO_KERNEL, daemon.HELLO_INITRD)]
        self.assertEqual(images, [], "the image is open")

    def test_helper_environment(self):
        self.check_environment(self.process)

    def test_qemu_user(self):
        """another identity than the helper's: what it may do does not reach the helper"""
        self.need_namespaces()
        if self.emulator.namespace("user") == self.process.namespace("user"):
            self.assertNotEqual(self.emulator.status()["Uid"], self.process.status()["Uid"],
                                "QEMU and the helper are the same user")
        self.assertNotEqual(self.emulator.status()["Uid"].split()[1], "0", "QEMU is root")

    def test_qemu_capabilities(self):
        self.check_capabilities(self.emulator, user_namespaces())

    def test_qemu_filters(self):
        """-sandbox"""
        self.check_filters(self.emulator, 1)

    def test_qemu_core(self):
        self.assertEqual(self.emulator.limit("Max core file size"), ("0", "0"),
                         "QEMU may leave a core file, with the enclave's memory in it")
        self.assertEqual(self.emulator.limit("Max locked memory"), self.lockable())

    def test_qemu_namespaces(self):
        self.need_namespaces()
        names = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        self.check_namespaces(self.emulator, names)
        shared = [name for name in ("user", "mnt", "pid", "net")
                  if self.emulator.namespace(name) == self.process.namespace(name)]
        self.assertEqual(shared, [], "QEMU is in namespaces of the helper's")
        self.assertEqual(self.emulator.interfaces(), ["lo"])

    def test_qemu_files(self):
        """its binary, libraries and firmware: nothing else exists"""
        self.need_namespaces()
        found = [path for path in QEMU_NOT if self.emulator.sees(path)]
        self.assertEqual(found, [], "QEMU sees what it does not need")
        self.assertEqual(set(self.emulator.listdir()) - QEMU_TOP, set())
        self.assertEqual(set(self.emulator.listdir("usr")) - QEMU_USR, set())
        self.assertEqual(set(self.emulator.listdir("usr/local")) - {"lib"}, set())
        self.assertEqual(set(self.emulator.listdir("dev")) - QEMU_DEVICES, set())
        self.assertEqual(set(self.emulator.listdir("etc")) - QEMU_ETC, set())
        for where in ("bin", "sbin", "usr/bin", "usr/sbin"):
            self.assertEqual([name for name in self.emulator.listdir(where)
                              if not name.startswith("qemu-system")], [], f"programs in {where}")

    def test_qemu_files_read_only(self):
        self.need_namespaces()
        writable = [where for where, options in self.emulator.mounts().items()
                    if "ro" not in options and where != "/dev/kvm" and
                    where.split("/")[1] != "proc"]
        self.assertEqual(writable, [], "QEMU may write there")

    def test_qemu_processes(self):
        """of other processes it sees none but the init of its namespace"""
        self.need_namespaces()
        names = set()
        for pid in filter(str.isdigit, self.emulator.listdir("proc")):
            with open(self.emulator.path("root", "proc", pid, "comm"), encoding="utf-8") as comm:
                names.add(comm.read().strip())
        self.assertTrue(names, "QEMU has no /proc")
        self.assertEqual({name for name in names
                          if not name.startswith("qemu-system") and name != "bwrap"}, set())

    def test_qemu_descriptors(self):
        self.check_descriptors(self.emulator, None, devices=("/dev/null", "/dev/kvm"))
        files = [target for _, target, _, _ in self.emulator.named()
                 if target not in ("/dev/null", "/dev/kvm")]
        self.assertEqual(files, [], "QEMU has files open")

    def test_qemu_environment(self):
        self.assertEqual(set(self.emulator.environment()) - {"PATH", "LC_ALL", "PWD"}, set())


class SystemEmulated(SystemSandbox, Emulated, OneEnclaveTest):
    """Helper and QEMU of the system's daemon"""


class SessionEmulated(SessionSandbox, Emulated, OneEnclaveTest):
    """Helper and QEMU of a user's daemon"""


class Device(Rules):
    """The helper on the device, and the broker, which lives while an enclave boots"""

    needed = ()  # no sample

    def check(self, process, filters, name):
        for what, check in {
                "user": lambda: self.check_user(process),
                "capabilities": lambda: self.check_capabilities(process, False),
                "filters": lambda: self.check_filters(process, filters),
                "closed": lambda: self.check_closed(process),
                "descriptors": lambda: self.check_descriptors(
                    process, name, devices=("/dev/null", "/dev/nitro_enclaves")),
                "environment": lambda: self.check_environment(process)}.items():
            with self.subTest(what):
                check()

    def test_helper(self):
        dom = self.create("running")
        self.check(LiveProcess(self.helper_of(dom)), 2, "running")
        with self.subTest("daemon"):
            self.check_daemon()
        dom.destroy()

    def test_booting(self):
        """helper and broker while the heartbeat is awaited"""
        creation = self.begin("booting", "heartbeat=never")
        [cid] = self.wait_enclaves(1)
        dom = self.conn.lookupByName("booting")
        [broker] = wait_until(self.brokers, 20, "the broker")
        try:
            self.check(LiveProcess(broker), 1, "heartbeat-broker")
            with self.subTest("the helper's filter"):
                self.check_filters(LiveProcess(self.helper_of(dom)), 1)
        finally:
            self.beat(cid)
            creation.result()
            dom.destroy()


class SystemDevice(SystemSandbox, Device, DeviceTest):
    """Of the system's daemon"""


class SessionDevice(SessionSandbox, Device, DeviceTest):
    """Of a user's daemon"""


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
