#
# test_users.py: as whom enclaves of the system's daemon run, and who may talk to them
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The helpers are another user's than root's: see daemon.USERS, which are there in this process's
view of the file system only. Programs of root's and of a member of the helpers' group share the
directory of an enclave's vsock with the helper, as docs/drvnitro.rst shows it.
"""

import contextlib
import grp
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import time

import daemon
import refusecalls
import taprunner
from daemon import AS_HELPER, AS_MEMBER, AS_OUTSIDER, HELPER_ID, wait_until
from e2etest import EnclaveTest, boot_kernel, domain_xml, libvirt, quick_xml
from quicktest import QuickTest
from vsockclient import VsockClient

CONF = "/etc/libvirt/nitro.conf"

UNSUPPORTED = libvirt.VIR_ERR_OPERATION_UNSUPPORTED

CAP_SYS_RESOURCE = 24

# NITRO_LOCKED_MEMORY_MAX
LOCKED_MAX = 8 << 20

LOCKED = "<memoryBacking><locked/></memoryBacking>"


def status_of(pid):
    """Returns {field: value} of /proc/@pid/status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return dict(line.split(":\t", 1) for line in text.splitlines())


class SystemTest(EnclaveTest):
    """What the tests share"""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def boot(self, name, **xml):
        """Boots the sample; returns the domain and the client of its vsock."""
        dom = self.conn.createXML(domain_xml(name, boot_kernel(), **xml), 0)
        return dom, VsockClient.of(dom)

    def assertUnprivileged(self, pid, user, groups):
        """The process has the ids, and neither has a capability nor can get one."""
        status = status_of(pid)
        self.assertEqual(status["Uid"].split(), [str(user)] * 4)
        self.assertEqual(status["Gid"].split(), [str(user)] * 4)
        self.assertEqual(sorted(map(int, status["Groups"].split())), groups)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[kind], 16), 0, kind)


class Processes(SystemTest):
    """Helper and QEMU"""

    def test_ids(self):
        """the user, its groups, no capability"""
        dom, _ = self.boot("ids")
        groups = sorted([HELPER_ID, grp.getgrnam("kvm").gr_gid])
        self.assertUnprivileged(self.helper_of(dom), HELPER_ID, groups)
        self.assertUnprivileged(self.qemu_of(dom), HELPER_ID, groups)
        dom.destroy()

    def limit_of(self, pid):
        text = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        return re.search(r"Max locked memory +(\S+) +(\S+)", text).groups()

    def may_allow(self):
        """Whether the daemon may raise the limit of locked memory."""
        return (int(status_of(self.daemon.process.pid)["CapEff"], 16) >> CAP_SYS_RESOURCE & 1 or
                self.limit_of(self.daemon.process.pid)[1] == "unlimited")

    def set_limit(self, *limits):
        """Sets the daemon's limit of locked memory. Returns whether that may be."""
        try:
            resource.prlimit(self.daemon.process.pid, resource.RLIMIT_MEMLOCK, limits)
        except (PermissionError, ValueError):
            return False
        return True

    def check_limit(self, name, expected, **xml):
        """Helper and QEMU of a domain have the limit @expected of locked memory."""
        dom, _ = self.boot(name, **xml)
        self.assertEqual((self.limit_of(self.helper_of(dom)), self.limit_of(self.qemu_of(dom))),
                         (expected, expected))
        return dom

    def test_locked(self):
        """memory is locked, as the daemon sets the limit of who may not; of no other domain"""
        self.set_limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        usual = self.limit_of(self.daemon.process.pid)
        if usual[1] == "unlimited" or int(usual[1]) > LOCKED_MAX:
            usual = (str(LOCKED_MAX),) * 2
        self.check_limit("free", usual).destroy()
        if not self.may_allow():
            # as in a container
            with self.refused(UNSUPPORTED, "'locked'", "LimitMEMLOCK=infinity"):
                self.boot("locked", elements=LOCKED)
            return
        dom = self.check_limit("locked", ("unlimited", "unlimited"), elements=LOCKED)
        locked = int(status_of(self.qemu_of(dom))["VmLck"].split()[0])
        self.assertGreaterEqual(locked, 128 * 1024)
        dom.destroy()

    def test_lower_limit(self):
        """a lower limit of the daemon's stays, and is no error"""
        self.addCleanup(self.reconnect)
        self.addCleanup(self.daemon.restart)
        self.assertTrue(self.set_limit(1 << 20, 2 << 20))
        self.check_limit("less", (str(1 << 20), str(2 << 20))).destroy()

    def test_unreachable(self):
        """a helper in a directory that the user cannot enter: the error names it"""
        closed = os.path.join(self.daemon.dir, "closed")
        os.mkdir(closed)
        helper = os.path.join(closed, "libvirt_nitro")
        with open(helper, "w", encoding="ascii") as script:
            script.write("#!/bin/sh\n")
        os.chmod(helper, 0o755)
        os.chmod(closed, 0o700)
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, f"'{daemon.HELPER_USER}'", helper,
                          f"the directory '{closed}'"):
            self.conn.createXML(quick_xml("far", devices=f"<emulator>{helper}</emulator>"), 0)


# Listens on argv[1], by a umask of argv[2], and echoes what one connection sends
ECHO_ONCE = """
import os, socket, sys
os.umask(int(sys.argv[2], 8))
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("listening", flush=True)
    conn = listener.accept()[0]
    with conn:
        while data := conn.recv(4096):
            conn.sendall(data)
os.unlink(sys.argv[1])
"""


class Vsock(SystemTest):
    """The directory of an enclave's vsock"""

    def listen(self, prefix, path, umask):
        """Starts a program that listens, by way of @prefix; returns it."""
        program = subprocess.Popen(  # pylint: disable=consider-using-with
            prefix + [sys.executable, "-c", ECHO_ONCE, path, umask], stdout=subprocess.PIPE)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), b"listening\n")
        return program

    def refuse(self, prefix, code):
        """The Python @code is refused by the kernel when it runs by way of @prefix."""
        done = subprocess.run(prefix + [sys.executable, "-c", code], capture_output=True,
                              text=True, check=False)
        self.assertIn("PermissionError", done.stderr)

    def test_modes(self):
        """root's and the group's; others see nothing of it"""
        dom, client = self.boot("modes")
        vsock = pathlib.Path(client.directory)
        for path, mode in ((vsock.parent.parent, 0o710), (vsock.parent, 0o710),
                           (vsock, 0o1770), (vsock / "vsock", 0o660)):
            found = os.stat(path)
            self.assertEqual((found.st_uid, found.st_gid), (0, HELPER_ID), path)
            self.assertEqual(oct(stat.S_IMODE(found.st_mode)), oct(mode), path)
        # who could read the daemon's file could lock it, and keep the next daemon out
        self.assertEqual(stat.S_IMODE(os.stat(vsock.parent.parent / "driver.pid").st_mode), 0o600)
        self.refuse(AS_MEMBER, f"open('{vsock.parent.parent / 'driver.pid'}')")
        for name in ("control", "pid"):
            self.refuse(AS_MEMBER, f"open('{vsock.parent / name}')")
        self.refuse(AS_MEMBER, f"import os; os.listdir('{vsock.parent}')")
        self.refuse(AS_MEMBER, "import socket; socket.socket(socket.AF_UNIX)"
                    f".connect('{vsock.parent / 'control'}')")
        self.refuse(AS_MEMBER, f"import os; os.unlink('{vsock / 'vsock'}')")
        self.refuse(AS_OUTSIDER, f"import os; os.stat('{vsock / 'vsock'}')")
        dom.destroy()

    def test_listen(self):
        """the enclave reaches programs of root's and of a member's, by any umask"""
        dom, client = self.boot("listen")
        port = 2000
        for prefix in ([], AS_MEMBER):
            for umask in ("022", "077", "000", "007", "777"):
                with self.subTest(prefix=prefix, umask=umask):
                    port += 1
                    program = self.listen(prefix, client.path(port), umask)
                    self.assertEqual(client.command(f"ping {port} 3"), "ok")
                    self.assertEqual(program.wait(10), 0)
        dom.destroy()

    def test_strangers(self):
        """neither an outsider nor a helper makes a socket there; members have their own"""
        dom, client = self.boot("strangers")
        for prefix in (AS_OUTSIDER, AS_HELPER):
            self.refuse(prefix, "import socket; socket.socket(socket.AF_UNIX)"
                        f".bind('{client.path(3000)}')")
        self.listen([], client.path(3001), "022")
        wait_until(lambda: os.stat(client.path(3001)).st_mode & 0o020, 10, "the daemon's look")
        for prefix in (AS_OUTSIDER, AS_MEMBER):
            self.refuse(prefix, "import socket; socket.socket(socket.AF_UNIX)"
                        f".connect('{client.path(3001)}')")
        self.refuse(AS_MEMBER, f"import os; os.unlink('{client.path(3001)}')")
        dom.destroy()

    def test_connect(self):
        """root and members connect to the enclave, nobody else does"""
        dom, client = self.boot("connect")
        for prefix, good in (([], True), (AS_MEMBER, True), (AS_OUTSIDER, False)):
            done = subprocess.run(
                [*prefix, "socat", "-t", "10", "-", f"UNIX-CONNECT:{client.path()}"],
                input="CONNECT 7\nhello\n", capture_output=True, text=True, check=False)
            self.assertEqual("\nhello\n" in done.stdout, good, done)
            self.assertEqual("Permission denied" in done.stderr, not good, done)
        dom.destroy()

    def test_socat(self):
        """socat as the documentation has it, as root and as a member"""
        dom, client = self.boot("socat")
        for number, prefix in enumerate(([], AS_MEMBER)):
            port = 1234 + number
            with subprocess.Popen([*prefix, "socat", f"UNIX-LISTEN:{client.path(port)}", "EXEC:cat"],
                                  stderr=subprocess.DEVNULL) as socat:
                wait_until(lambda name=f"vsock_{port}": name in os.listdir(client.directory),
                           10, "the socket")
                self.assertEqual(client.command(f"send {port} hello"), "hello")
                socat.wait(10)
            # its cat is ours by now
            self.processes.end("cat")
        dom.destroy()

    def test_without_daemon(self):
        """a socket that is made while no daemon looks works when the next one is there"""
        dom, client = self.boot("alone")
        self.daemon.stop()
        self.listen(AS_MEMBER, client.path(4000), "022")
        self.assertFalse(os.stat(client.path(4000)).st_mode & 0o020)
        self.daemon.start()
        self.reconnect()
        self.assertEqual(client.command("ping 4000 3"), "ok")
        self.listen(AS_MEMBER, client.path(4001), "022")
        self.assertEqual(client.command("ping 4001 3"), "ok")
        self.conn.lookupByName("alone").destroy()

    def test_links(self):
        """links and other things of a member's change nothing elsewhere"""
        dom, client = self.boot("links")
        precious = os.path.join(self.daemon.dir, "precious")
        control = os.path.join(os.path.dirname(client.directory), "control")
        with open(precious, "w", encoding="ascii"):
            pass
        os.chmod(precious, 0o600)
        for port, target in ((5001, precious), (5002, control)):
            subprocess.run([*AS_MEMBER, "ln", "-s", target, client.path(port)], check=True)
        subprocess.run([*AS_MEMBER, "touch", client.path(5003)], check=True)
        os.chmod(client.path(5003), 0o600)
        # a second name of a socket that is somewhere else
        with contextlib.suppress(OSError):
            os.link(control, client.path(5004))
        self.listen(AS_MEMBER, client.path(5005), "022")
        self.assertEqual(client.command("ping 5005 1"), "ok")
        for path in (precious, control, client.path(5003)):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
        dom.destroy()
        os.unlink(precious)

    def test_overflow(self):
        """events that the kernel drops, as there are too many, cost no socket its helper"""
        dom, client = self.boot("overflow")
        queue = int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text("ascii"))
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            script = (f"import os; os.chdir('{client.directory}')\n"
                      f"for number in range({queue + 1000}):\n"
                      "    os.symlink('nowhere', f'vsock_{100000 + number}')\n")
            subprocess.run([*AS_MEMBER, sys.executable, "-c", script], check=True)
            self.listen(AS_MEMBER, client.path(6001), "022")
            self.assertFalse(os.stat(client.path(6001)).st_mode & 0o020)
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        begin = time.monotonic()
        self.conn.listAllDomains()
        print(f"an answer after {time.monotonic() - begin:.2f} s", flush=True)
        wait_until(lambda: os.stat(client.path(6001)).st_mode & 0o020, 10, "the daemon's look")
        self.assertEqual(client.command("ping 6001 3"), "ok")
        # or it would take a while after the end
        for path in pathlib.Path(client.directory).glob("vsock_*"):
            path.unlink(missing_ok=True)
        dom.destroy()

    def test_removed(self):
        """what a member has made goes with the enclave, however deep, and nothing else"""
        dom, client = self.boot("removed")
        outside_dir = os.path.join(self.daemon.dir, "outside")
        os.mkdir(outside_dir)
        os.chmod(outside_dir, 0o777)
        with open(os.path.join(outside_dir, "file"), "w", encoding="ascii"):
            pass
        script = (f"import os; os.chdir('{client.directory}')\n"
                  f"os.symlink('{outside_dir}', 'link')\n"
                  "os.mkdir('closed'); os.mkdir('closed/in'); os.chmod('closed', 0)\n"
                  "for number in range(300):\n"
                  "    os.mkdir('directory' * 10); os.chdir('directory' * 10)\n"
                  f"    os.symlink('{outside_dir}', 'link')\n"
                  "    open('file', 'w').close()\n")
        subprocess.run([*AS_MEMBER, sys.executable, "-c", script], check=True)
        # one that goes on meanwhile, in a directory of its own
        busy = subprocess.Popen(  # pylint: disable=consider-using-with
            [*AS_MEMBER, sys.executable, "-c",
             f"import os, itertools; os.chdir('{client.directory}'); os.mkdir('busy')\n"
             "os.chdir('busy'); print('busy', flush=True)\n"
             "for n in itertools.count():\n    os.mkdir(str(n))"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(busy.stdout.close)
        self.addCleanup(busy.wait)
        self.addCleanup(busy.kill)
        self.assertEqual(busy.stdout.readline(), "busy\n")
        time.sleep(0.1)
        dom.destroy()
        wait_until(lambda: not os.path.exists(os.path.dirname(client.directory)), 10,
                   "the end of the run directory")
        # what it was busy with may be more than goes at once
        state = os.path.dirname(os.path.dirname(client.directory))
        wait_until(lambda: not [name for name in os.listdir(state) if name.startswith("gone-")],
                   60, "the end of what is left")
        self.assertEqual(os.listdir(outside_dir), ["file"])

    def test_dug(self):
        """a member who digs on in the deepest directory holds up neither the domain nor others"""
        if "NITRO_TEST_SANITIZED" in os.environ:
            self.skipTest("a daemon that forks while another thread allocates hangs with gcc's "
                          "libasan, which holds no lock of its allocator over fork()")
        dom = self.conn.defineXML(domain_xml("dug", boot_kernel()))
        dom.create()
        directory = VsockClient.of(dom).directory
        gone = os.path.join(os.path.dirname(os.path.dirname(directory)), f"gone-{dom.ID()}")
        digger = subprocess.Popen(  # pylint: disable=consider-using-with
            [*AS_MEMBER, sys.executable, "-c",
             # on and on, but so that the end can be waited for
             f"import os, time; os.chdir('{directory}')\n"
             "for n in range(40000):\n    os.mkdir('d'); os.chdir('d')\n"
             "    if n == 20000: print('deep', flush=True)\n"
             "    if n > 20000: time.sleep(0.0005)\n"
             "time.sleep(600)"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(digger.stdout.close)
        self.addCleanup(digger.wait)
        self.addCleanup(digger.kill)
        self.assertEqual(digger.stdout.readline(), "deep\n")
        begin = time.monotonic()
        dom.destroy()
        print(f"destroyed in {time.monotonic() - begin:.2f} s", flush=True)
        dom.create()
        dom.destroy()
        wait_until(lambda: "or somebody still adds to it" in self.daemon.logs(), 30,
                   "a word in the log")
        self.assertTrue(os.path.exists(gone))
        self.assertIsNone(digger.poll())
        digger.kill()
        digger.wait()
        # the next daemon goes on, a part at a time
        for _ in range(100):
            if not os.path.exists(gone):
                break
            self.daemon.restart()
            self.reconnect()
            time.sleep(0.5)
        self.assertFalse(os.path.exists(gone))
        self.conn.lookupByName("dug").undefine()


class Lists(SystemTest):
    """Sockets that have a list of their own when they come into the directory"""

    def move(self, client, port, *entries):
        """Moves a socket there that has the list @entries; returns what it has a moment later."""
        # of the same file system
        before = os.path.join(os.path.dirname(client.directory), "before")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(before)
        os.chmod(before, 0o604)
        for entry in entries:
            subprocess.run(["setfacl", "--no-mask", "--modify", entry, before], check=True)
        os.rename(before, client.path(port))
        # events come in order
        after = client.path(port + 1)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(after)
        wait_until(lambda: os.stat(after).st_mode & 0o020, 10, "the daemon's look")
        return subprocess.run(["getfacl", "--omit-header", "--numeric", "--no-effective",
                               client.path(port)], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split()

    def test_moved(self):
        """one without a list gets one, and others have what they had"""
        dom, client = self.boot("plain")
        self.assertEqual(self.move(client, 7000),
                         ["user::rw-", f"user:{HELPER_ID}:rw-", "group::---", "mask::rwx",
                          "other::r--"])
        dom.destroy()

    def test_others(self):
        """nobody is let in by a mask that keeps him out"""
        dom, client = self.boot("others")
        self.assertEqual(self.move(client, 7000, f"user:{daemon.NOBODY}:rw-", "mask::r--"),
                         ["user::rw-", f"user:{daemon.NOBODY}:rw-", "group::---", "mask::r--",
                          "other::r--"])
        dom.destroy()

    def test_helper(self):
        """a mask that keeps the helper out is widened, and nothing else is changed"""
        dom, client = self.boot("helper")
        self.assertEqual(self.move(client, 7000, f"user:{HELPER_ID}:rw-", "mask::---"),
                         ["user::rw-", f"user:{HELPER_ID}:rw-", "group::---", "mask::rw-",
                          "other::r--"])
        # what it has is the maker's choice
        self.assertEqual(self.move(client, 7002, f"user:{HELPER_ID}:r--", "mask::r--"),
                         ["user::rw-", f"user:{HELPER_ID}:r--", "group::---", "mask::r--",
                          "other::r--"])
        dom.destroy()


class NoAcl(Vsock):
    """The same where the file system has no access control lists"""

    @classmethod
    def before_start(cls):
        super().before_start()
        state = "/run/libvirt/nitro"
        os.makedirs(state, exist_ok=True)
        subprocess.run(["mount", "-t", "ramfs", "ramfs", state], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", state], check=True)

    def test_modes(self):
        """it is said, once in the log"""
        # the daemon's own, whatever tests have let others write
        self.daemon.restart()
        self.reconnect()
        before = self.daemon.logs().count("should be (acl)")
        for _ in range(2):
            dom, client = self.boot("modes")
            self.assertEqual(stat.S_IMODE(os.stat(client.directory).st_mode), 0o1770)
            self.assertEqual(len([line for line in dom.messages() if "confined (acl)" in line]), 1)
            dom.destroy()
        self.assertEqual(self.daemon.logs().count("should be (acl)"), before + 1)

    def test_strangers(self):
        """members can connect to what others have made: an outsider cannot"""
        dom, client = self.boot("strangers")
        self.refuse(AS_OUTSIDER, "import socket; socket.socket(socket.AF_UNIX)"
                    f".bind('{client.path(3000)}')")
        self.listen([], client.path(3001), "022")
        wait_until(lambda: os.stat(client.path(3001)).st_mode & 0o020, 10, "the daemon's look")
        self.assertEqual(os.stat(client.path(3001)).st_gid, HELPER_ID)
        self.refuse(AS_OUTSIDER, "import socket; socket.socket(socket.AF_UNIX)"
                    f".connect('{client.path(3001)}')")
        self.refuse(AS_MEMBER, f"import os; os.unlink('{client.path(3001)}')")
        dom.destroy()


class Configured:
    """For tests that need a nitro.conf"""

    def configure(self, text):
        """Has the daemon start with @text in nitro.conf."""
        pathlib.Path(CONF).write_text(text, encoding="ascii")
        self.addCleanup(self.restore)
        self.daemon.restart()
        self.reconnect()

    def restore(self):
        pathlib.Path(CONF).unlink()
        self.remove_domains()
        self.daemon.restart()
        self.reconnect()


class Configuration(Configured, SystemTest):
    """nitro.conf: another user, none, and what is required"""

    def messages(self, dom):
        return [line for line in dom.messages() if "not confined" in line]

    def test_no_user(self):
        """without the user the daemon does not start, and says what to do"""
        passwd = pathlib.Path("/etc/passwd")
        before = passwd.read_text(encoding="utf-8")
        self.daemon.stop()
        self.addCleanup(passwd.write_text, before, encoding="utf-8")
        passwd.write_text("".join(line for line in before.splitlines(keepends=True)
                                  if not line.startswith(daemon.HELPER_USER)), encoding="utf-8")
        # it listens before it finds out
        with contextlib.suppress(RuntimeError):
            self.daemon.start()
        self.daemon.process.wait(10)
        log = self.daemon.logs()
        passwd.write_text(before, encoding="utf-8")
        self.daemon.start()
        self.reconnect()
        for words in (f"there is no user '{daemon.HELPER_USER}'", "systemd-sysusers", "useradd",
                      f"name another 'user' in '{CONF}'"):
            self.assertIn(words, log)

    def test_root(self):
        """helpers of root's: they have no capability, and that they are is said"""
        before = self.daemon.logs().count("should be (user)")
        self.configure('user = "root"\n')
        # when it starts, and not again when an enclave does
        wait_until(lambda: self.daemon.logs().count("should be (user)") == before + 1, 10, "a warning")
        dom = self.conn.createXML(domain_xml("root"), 0)
        self.assertUnprivileged(self.helper_of(dom), 0, sorted(os.getgrouplist("root", 0)))
        self.assertEqual(len([line for line in self.messages(dom)
                              if "(user): helpers run as root" in line]), 1)
        client = VsockClient.of(dom)
        self.assertEqual(os.stat(client.directory).st_gid, 0)
        self.assertEqual(self.daemon.logs().count("should be (user)"), before + 1)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("root")
        self.assertTrue([line for line in self.messages(dom) if "(user)" in line])
        dom.destroy()

    def test_root_required(self):
        """security_required: no helper of root's"""
        self.configure('user = "root"\nsecurity_required = 1\n')
        with self.refused(UNSUPPORTED, "'user'", "security_required = 1", "another 'user'"):
            self.conn.createXML(domain_xml("root"), 0)


class Lacks(Configured, QuickTest):
    """What helpers say that is missing"""

    system = True
    TEXTS = {"namespaces": "user namespaces are refused",
             "qemu-namespaces": "install bubblewrap", "landlock": "no Landlock",
             "from-tomorrow": "newer than the daemon"}

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def lacking(self, dom):
        return [re.search(r"\(([^)]*)\)", line).group(1) for line in dom.messages()
                if "not confined" in line]

    def test_messages(self):
        """dominfo tells each part, and a later daemon as well; the log does it once"""
        for code, text in self.TEXTS.items():
            dom = self.conn.createXML(self.xml("lacks", f"quick.lacks={code}"), 0)
            self.assertEqual(self.lacking(dom), [code])
            self.assertIn(text, "".join(dom.messages()))
            dom.destroy()
            self.conn.createXML(self.xml("lacks", f"quick.lacks={code}"), 0).destroy()
            self.assertEqual(self.log().count(f"should be ({code})"), 1)
        dom = self.conn.createXML(self.xml("whole"), 0)
        self.assertEqual(self.lacking(dom), [])
        dom.destroy()

    def test_restart(self):
        """the status file has it; one of an earlier version has not, and nobody knows"""
        dom = self.conn.createXML(self.xml("kept", "quick.lacks=landlock"), 0)
        other = self.conn.createXML(self.xml("whole"), 0)
        old = self.conn.createXML(self.xml("old", "quick.lacks=?"), 0)
        del other, old
        self.daemon.stop()
        status = pathlib.Path(self.status_file("old"))
        text = status.read_text(encoding="utf-8")
        text, n = re.subn(r"<unprotected>.*?</unprotected>", "", text, flags=re.DOTALL)
        self.assertEqual(n, 1, text)
        status.write_text(text, encoding="utf-8")
        self.daemon.start()
        self.reconnect()
        for name, codes in (("kept", ["landlock"]), ("whole", []), ("old", ["unknown"])):
            dom = self.conn.lookupByName(name)
            with contextlib.suppress(TimeoutError):
                # the takeover asks the helper
                wait_until(lambda: self.lacking(dom) == codes, 10, "messages")
            self.assertEqual(self.lacking(dom), codes, name)
            dom.destroy()

    def test_untold(self):
        """a helper of an earlier version, as <emulator> can name one, says nothing: that is said"""
        dom = self.conn.createXML(self.xml("untold", "quick.lacks=?"), 0)
        self.assertEqual(self.lacking(dom), ["unknown"])
        self.assertIn("earlier version", "".join(dom.messages()))
        dom.destroy()
        self.configure("security_required = 1\n")
        with self.refused(UNSUPPORTED, "'unknown'", "<emulator>", "security_required = 1"):
            self.conn.createXML(self.xml("untold", "quick.lacks=?"), 0)

    def test_required(self):
        """security_required: what is known to be missing is an error"""
        self.configure("security_required = 1\n")
        dom = self.conn.createXML(self.xml("whole"), 0)
        with open(f"/proc/{self.helper_of(dom)}/cmdline", encoding="utf-8") as cmdline:
            self.assertNotIn("--without", cmdline.read().split("\0"))
        dom.destroy()
        # a helper that says so, and does not heed what it is told: its enclave ends
        with self.refused(UNSUPPORTED, "'landlock'", "security_required = 1"):
            self.conn.createXML(self.xml("lacks", "quick.lacks=landlock"), 0)


class LacksLandlock(Configured, QuickTest):
    """A kernel without Landlock, which the process of services needs"""

    system = True
    CHANNEL = ("<channel type='tcp'><source mode='connect' host='127.0.0.1' service='1'/>"
               "<target type='virtio' name='vsock.8443'/></channel>")

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.prefix = [sys.executable, refusecalls.__file__, "landlock=ENOSYS",
                             *cls.daemon.prefix]

    def test_required(self):
        """security_required: a domain with services does not start, others do"""
        self.configure("security_required = 1\n")
        with self.refused(UNSUPPORTED, "'services-files'", "no Landlock", "security_required = 1"):
            self.conn.createXML(self.xml("served", devices=self.CHANNEL), 0)
        self.conn.createXML(self.xml("whole"), 0).destroy()

    def test_unknown(self):
        """that it is not known is no answer"""
        before = self.daemon.prefix
        self.addCleanup(self.restart_with, before)
        self.restart_with([word.replace("ENOSYS", "ENOMEM") for word in before])
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, "whether the kernel has Landlock"):
            self.conn.createXML(self.xml("served", devices=self.CHANNEL), 0)

    def restart_with(self, prefix):
        self.daemon.prefix = prefix
        self.daemon.restart()
        self.reconnect()


class Asked(QuickTest):
    """What the daemon makes of the helper's --probe, in a session"""

    PASS = """{"accel": "tcg", "reason": "none", "unprotected": [%s]}"""

    @classmethod
    def before_start(cls):
        cls.answer = pathlib.Path(cls.daemon.dir, "answer")
        cls.daemon.wrap_helper(f"""if [ "$1" = --probe ] && [ -e {cls.answer} ]; then
    . {cls.answer}
    exit
fi""")

    def setUp(self):
        super().setUp()
        # a daemon that has not asked yet
        self.daemon.restart()
        self.reconnect()
        self.addCleanup(self.answer.unlink, missing_ok=True)

    def say(self, script):
        self.answer.write_text(script, encoding="ascii")

    def without(self):
        """What the helper of a new domain is told to do without"""
        dom = self.conn.createXML(self.xml("asked"), 0)
        words = pathlib.Path(f"/proc/{self.helper_of(dom)}/cmdline").read_bytes().split(b"\0")
        dom.destroy()
        return words[words.index(b"--without") + 1].decode() if b"--without" in words else None

    def test_unknown(self):
        """a probe that could not find out is no answer: the start fails, and the next one asks"""
        self.say("echo libvirt_nitro: It is short of processes >&2; exit 2")
        for _ in range(2):
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "--probe", "short of processes"):
                self.conn.createXML(self.xml("asked"), 0)
        self.say("kill -KILL $$")
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "--probe", "signal 9"):
            self.conn.createXML(self.xml("asked"), 0)
        self.say("""echo '{"accel": "tcg", "reason": "none"}'""")
        with self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, "no list 'unprotected'"):
            self.conn.createXML(self.xml("asked"), 0)
        self.answer.unlink()
        self.say(f"echo '{self.PASS % ''}'")
        self.assertIsNone(self.without())

    def test_unsupported(self):
        """a host that can run none"""
        self.say("echo libvirt_nitro: use a kernel with seccomp filters >&2; exit 3")
        with self.refused(UNSUPPORTED, "no enclave", "seccomp filters"):
            self.conn.createXML(self.xml("asked"), 0)

    def test_time(self):
        """a probe that does not end"""
        self.say("exec sleep 100")
        begin = time.monotonic()
        with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, "--probe", "10 seconds"):
            self.conn.createXML(self.xml("asked"), 0)
        self.assertLess(time.monotonic() - begin, 20)

    def test_again(self):
        """what is missing is asked for again, and what is not is known for good"""
        lacking = self.PASS % '"qemu-namespaces"'
        self.say(f"echo '{lacking}'")
        self.assertEqual(self.without(), "qemu-namespaces")
        # somebody installs bubblewrap
        self.say(f"echo '{self.PASS % ''}'")
        self.assertEqual(self.without(), "qemu-namespaces")
        wait_until(lambda: self.without() is None, 15, "another question")
        self.say("exit 2")
        self.assertIsNone(self.without())

    def test_filters(self):
        """the checker on a kernel without filters: its verdict is the client's error"""
        self.daemon.wrap(daemon.CHECKER, f"""exec {sys.executable} {refusecalls.__file__} \\
    seccomp=EINVAL {self.daemon.program(daemon.CHECKER)} "$@"
""")
        self.addCleanup(self.daemon.wrap, daemon.CHECKER, "")
        self.say(f"echo '{self.PASS % ''}'")
        with self.refused(UNSUPPORTED, "use a kernel with seccomp filters"):
            self.conn.createXML(self.xml("asked"), 0)


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
