#
# test_installed.py: what "make install" leaves, used as a newcomer does
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
On a system that has never had a daemon of libvirt's: the installed daemon, with its user, its
directories and its policy as the installed files make them, under stock clients and the real polkitd.
"""

import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import unittest

import installed
import systemdunit
import taprunner
from daemon import BUILD, HELLO_BANNER, SETPRIV, SOURCE, WITH_US, Processes, wait_until
from e2etest import EventLoop, StreamConsole, libvirt

DAEMON = "/usr/sbin/virtnitrod"
SOCKET = "/run/libvirt/virtnitrod-sock"
POLKITD = "/usr/lib/polkit-1/polkitd"
ACTIONS = "/usr/share/polkit-1/actions"
POLICY = f"{ACTIONS}/org.libvirt.nitro.unix.policy"
# where the distribution's package has its own
DISTRIBUTION_POLICY = f"{ACTIONS}/org.libvirt.unix.policy"
DISTRIBUTION_RULES = ("/usr/share/polkit-1/rules.d/50-libvirt.rules",
                      "/usr/share/polkit-1/rules.d/60-libvirt.rules")
BUS = "/run/dbus/system_bus_socket"

LOG = pathlib.Path("/run/daemons.log")

MEMBER, OUTSIDER = "nitro-member", "nitro-outsider"

outside = None
paths = []


class InstalledTest(unittest.TestCase):
    """One daemon at a time, and what it needs"""

    @classmethod
    def setUpClass(cls):
        if outside:
            cls.skipTest(cls, f"no system of its own: {outside}")

    def setUp(self):
        self.addCleanup(processes.kill)

    def run(self, result=None):
        """As unittest's, but a test that fails shows what the daemons said."""
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and LOG.exists():
            sys.stderr.write(LOG.read_text(encoding="utf-8", errors="replace"))
        LOG.unlink(missing_ok=True)

    def start(self, *command):
        """Starts what runs until the end of the test."""
        with LOG.open("ab") as log:
            process = subprocess.Popen([*WITH_US, *command], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, start_new_session=True,
                                       env={"PATH": os.environ["PATH"]})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def client(*command, user="root"):
        """Runs a stock client as @user, with no terminal to ask for a password on."""
        account = pwd.getpwnam(user)
        return subprocess.run(
            [SETPRIV, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups",
             *command],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            start_new_session=True)

    def virsh(self, *args, user="root"):
        return self.client("virsh", "-c", "nitro:///system", *args, user=user)

    def assertWorks(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def assertRefused(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)


class ByHand(InstalledTest):
    """Without systemd"""

    def test_daemon(self):
        """its log is where the installed directory is, and it makes its own directories"""
        self.assertEqual(os.listdir("/var/log/libvirt"), [])
        # no journal, and no terminal
        done = self.client(DAEMON, "--daemon")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pid = int(pathlib.Path("/run/virtnitrod.pid").read_text(encoding="ascii"))
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGTERM)
        wait_until(lambda: self.virsh("list").returncode == 0, 20, "its answer")
        self.assertIn("virtnitrod.log", os.listdir("/var/log/libvirt"))
        self.assertIn("nitro", os.listdir("/var/log/libvirt"))

    def test_directory_by_tmpfiles(self):
        """on a host whose /var is empty; a directory that is there keeps its mode"""
        shutil.rmtree("/var/log/libvirt")
        command = ["systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/libvirt-nitro.conf"]
        subprocess.run(command, check=True)
        self.assertEqual(os.stat("/var/log/libvirt").st_mode & 0o7777, 0o755)
        os.chmod("/var/log/libvirt", 0o700)
        subprocess.run(command, check=True)
        self.assertEqual(os.stat("/var/log/libvirt").st_mode & 0o7777, 0o700)
        os.chmod("/var/log/libvirt", 0o755)

    def test_schema(self):
        """stock virt-xml-validate knows the domain by a schema of its own"""
        done = self.client("virt-xml-validate", installed.DEFINITION, "nitrodomain")
        self.assertEqual((done.returncode, done.stderr),
                         (0, f"{installed.DEFINITION} validates\n"))
        # and the distribution's is as it was
        done = self.client("virt-xml-validate", installed.DEFINITION, "domain")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("fails to validate", done.stderr)


class ByPolkit(InstalledTest):
    """Who may connect, by the real polkitd"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(POLKITD):
            cls.skipTest(cls, "polkitd is not installed")
        # as on a host without the distribution's daemon
        for path in (DISTRIBUTION_POLICY, *DISTRIBUTION_RULES):
            pathlib.Path(path).unlink(missing_ok=True)

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.dirname(BUS), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(BUS)

    def serve(self):
        """Starts bus, polkitd and daemon."""
        self.start("dbus-daemon", "--system", "--nofork", "--nopidfile", "--nosyslog")
        wait_until(lambda: os.path.exists(BUS), 20, "the bus")
        self.start(POLKITD, "--no-debug")
        self.start(DAEMON)
        wait_until(lambda: self.virsh("list").returncode == 0, 20, "the daemon's answer")
        wait_until(lambda: "org.freedesktop.PolicyKit1" in self.client(
            "busctl", "--system", "list", "--acquired", "--no-legend").stdout, 20, "polkitd")

    def check(self):
        """As with libvirt's other daemons: all may look, members of the group may do all."""
        for user in (MEMBER, OUTSIDER, "root"):
            self.assertWorks(self.virsh("--readonly", "list", user=user))
        for user in (MEMBER, "root"):
            self.assertWorks(self.virsh("list", user=user))
        self.assertRefused(self.virsh("list", user=OUTSIDER), "authentication unavailable")

    def test_policy(self):
        self.serve()
        self.check()

    def test_no_policy(self):
        """what it is there for"""
        os.rename(POLICY, f"{POLICY}.away")
        self.addCleanup(os.rename, f"{POLICY}.away", POLICY)
        self.serve()
        self.assertWorks(self.virsh("list"))
        self.assertRefused(self.virsh("--readonly", "list", user=MEMBER),
                           "org.libvirt.unix.monitor is not registered")

    def test_policy_of_the_distribution(self):
        """two files with the same actions are none too many, whichever polkitd reads last"""
        for first, second in ((POLICY, DISTRIBUTION_POLICY), (DISTRIBUTION_POLICY, POLICY)):
            with self.subTest(first):
                text = pathlib.Path(POLICY).read_bytes()
                for path in (first, second):
                    pathlib.Path(path).unlink(missing_ok=True)
                    pathlib.Path(path).write_bytes(text)
                self.serve()
                self.check()
                self.doCleanups()
                os.unlink(DISTRIBUTION_POLICY)
                self.setUp()

    def test_access_driver(self):
        """access_drivers = [ "polkit" ]: the actions of single calls are known as well"""
        conf = pathlib.Path("/etc/libvirt/virtnitrod.conf")
        text = conf.read_text(encoding="utf-8")
        self.addCleanup(conf.write_text, text, encoding="utf-8")
        conf.write_text(text + 'access_drivers = [ "polkit" ]\n', encoding="utf-8")
        self.serve()
        define = ("define", installed.DEFINITION)
        self.assertRefused(self.virsh(*define, user=MEMBER), "access denied")
        # polkit asks no rule about an action that is not registered
        rule = pathlib.Path("/etc/polkit-1/rules.d/10-nitro-test.rules")
        rule.write_text('polkit.addRule(function(action, subject) {\n'
                        '    if (action.id.indexOf("org.libvirt.api.domain.") == 0)\n'
                        '        return polkit.Result.YES;\n'
                        '});\n', encoding="ascii")
        self.addCleanup(rule.unlink)
        wait_until(lambda: self.virsh(*define, user=MEMBER).returncode == 0, 20, "the rule")
        self.assertWorks(self.virsh("undefine", "hello", user=MEMBER))


class BySockets(InstalledTest):
    """As systemd does it: the sockets first, and the daemon with its unit's settings"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        EventLoop.start()

    def activate(self):
        """Has the unit's three sockets listened on by the starter of systemd; a client starts it."""
        sockets = sorted(glob.glob(f"{installed.UNITS}/virtnitrod*.socket"))
        self.assertEqual(len(sockets), 3)
        units = [systemdunit.Unit(path, "[Socket]") for path in sockets]
        os.makedirs(os.path.dirname(SOCKET), mode=0o755, exist_ok=True)
        for unit in units:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unit.one("ListenStream"))
        process = self.start(
            "systemd-socket-activate",
            *[f"--listen={unit.one('ListenStream')}" for unit in units],
            "--fdname=" + ":".join(os.path.basename(path) for path in sockets),
            sys.executable, systemdunit.__file__, f"{installed.UNITS}/virtnitrod.service", DAEMON)
        for unit in units:
            path = unit.one("ListenStream")
            wait_until(lambda path=path: os.path.exists(path), 20, path)
            os.chmod(path, int(unit.one("SocketMode"), 8))
        return process

    @staticmethod
    def name(process):
        return pathlib.Path(f"/proc/{process.pid}/comm").read_text(encoding="ascii").strip()

    def test_sockets(self):
        """all three lead to the one daemon, each with its rights"""
        process = self.activate()
        self.assertNotEqual(self.name(process), "virtnitrod")
        self.assertWorks(self.virsh("list"))
        self.assertEqual(self.name(process), "virtnitrod")
        self.assertWorks(self.virsh("--readonly", "list"))
        self.assertRefused(self.virsh("--readonly", "create", installed.DEFINITION), "read only")
        servers = self.client("virt-admin", "-c", "virtnitrod:///system", "server-list")
        self.assertWorks(servers)
        self.assertIn("virtnitrod", servers.stdout)
        self.assertRefused(self.client("virt-admin", "-c", "virtnitrod:///system", "server-list",
                                       user=MEMBER), "Permission denied")
        # of the same daemon
        clients = self.client("virt-admin", "-c", "virtnitrod:///system", "client-list", "admin")
        self.assertWorks(clients)
        self.assertIsNone(process.poll())

    def test_each_socket_starts_it(self):
        for words in (["virsh", "--readonly", "-c", "nitro:///system", "list"],
                      ["virt-admin", "-c", "virtnitrod:///system", "server-list"]):
            with self.subTest(words[0]):
                process = self.activate()
                self.assertWorks(self.client(*words))
                self.assertEqual(self.name(process), "virtnitrod")
                process.terminate()
                process.wait(20)

    def test_enclave(self):
        """the first client of all boots the sample"""
        self.activate()
        self.assertWorks(self.virsh("create", installed.DEFINITION))
        conn = libvirt.open("nitro:///system")
        console = StreamConsole(conn, conn.lookupByName("hello"))
        console.wait(HELLO_BANNER)
        console.close()
        conn.close()
        self.assertIn("hello.log", os.listdir("/var/log/libvirt/nitro"))
        self.assertWorks(self.virsh("destroy", "hello"))
        self.assertEqual(self.virsh("list", "--name").stdout.strip(), "")


class Uninstalled(InstalledTest):
    """The last test of this file: nothing of ours is there any more"""

    def test_uninstall(self):
        if not os.path.exists(os.path.join(BUILD, "build.ninja")):
            self.skipTest("the build tree is not in the root file system")
        log = pathlib.Path("/var/log/libvirt/nitro/hello.log")
        log.parent.mkdir(exist_ok=True)
        log.touch()
        conf = pathlib.Path("/etc/libvirt/nitro.conf")
        conf.write_text(conf.read_text(encoding="utf-8") + "max_starts = 4\n", encoding="utf-8")
        files = [path for path in paths if not path.endswith("/") and path != str(conf)]
        self.assertGreater(len(files), 50)
        done = subprocess.run(["make", "-C", SOURCE, f"BUILD={BUILD}", "DESTDIR=/", "uninstall"],
                              check=True, capture_output=True, text=True)
        self.assertIn(f"{conf} has been changed, and stays", done.stdout)
        self.assertEqual([path for path in files if os.path.lexists(path)], [])
        self.assertTrue(conf.exists() and log.exists())
        # empty or not, the system's stay, and of libvirt's those with anything in them
        ours = re.compile("/(libvirt-nitro|libexec/virt-eif|nova/virt/nitro)/")
        self.assertEqual([path for path in paths if path.endswith("/") and "/libvirt" not in path and
                          not ours.search(path) and not os.path.isdir(path)], [])
        self.assertEqual([path for path in paths if ours.search(path) and os.path.isdir(path)], [])


def make_users():
    for name, groups in ((MEMBER, ["--groups", "libvirt"]), (OUTSIDER, [])):
        installed.run("useradd", "--no-create-home", "--user-group", *groups, name)


if __name__ == "__main__":
    try:
        paths = installed.enter()
        make_users()
    except (OSError, subprocess.CalledProcessError) as error:
        outside = str(error)
    processes = Processes()
    taprunner.main()
