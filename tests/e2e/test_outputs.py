#
# test_outputs.py: the files that enclaves write to
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The file of a console, its log and the log of a domain: each is written to by one domain only, is
never an image, does not grow beyond its size, and cannot be made another file by who may write
to a part of its path.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import threading
import time

import daemon
import taprunner
from daemon import HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, NOBODY, wait_until
from e2etest import (BOOT_SECONDS, EnclaveTest, boot_image, boot_kernel, domain_xml, libvirt,
                     quick_xml)

CONFIG = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
SYSTEM = libvirt.VIR_ERR_SYSTEM_ERROR

# What errors call the uses of a file
KERNEL, INITRD, LOG = "<kernel>", "<initrd>", "the log of the domain"
CONSOLE, CONSOLE_LOG = "<source>", "<log>"

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def file_console(path, log=None, append="off"):
    """Returns a console that writes into the file @path, and a log of it in the file @log."""
    return (f"<console type='file'><source path='{path}' append='{append}'/>" +
            (f"<log file='{log}' append='{append}'/>" if log else "") + "</console>")


def pty_log(path, append="off"):
    return f"<console type='pty'><log file='{path}' append='{append}'/></console>"


def unix_console(path, mode="bind"):
    return f"<console type='unix'><source mode='{mode}' path='{path}'/></console>"


class OutputTest(EnclaveTest):

    conf = None

    @classmethod
    def before_start(cls):
        if cls.conf:
            os.makedirs(cls.daemon.config_dir, exist_ok=True)
            with open(os.path.join(cls.daemon.config_dir, "nitro.conf"), "w",
                      encoding="utf-8") as conf:
                conf.write(cls.conf)

    def write(self, path, data=b"old\n"):
        with open(path, "wb") as file:
            file.write(data)
        self.addCleanup(lambda: os.path.lexists(path) and os.unlink(path))
        return path

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def refuse(self, xml, *words, code=CONFIG):
        with self.refused(code, *words):
            self.conn.createXML(xml, 0)

    def domain_log(self, name):
        return os.path.join(self.daemon.domain_log_dir, f"{name}.log")


class OneUse(OutputTest):
    """A file has one use."""

    def copies(self, source, name):
        """
        Returns (path of a copy of @source, all paths of it): this one, a hard link, and one over
        a linked directory.
        """
        directory = self.path(f"images-{name}")
        linked = self.path(f"linked-{name}")
        os.mkdir(directory)
        os.symlink(directory, linked)
        self.addCleanup(shutil.rmtree, directory)
        self.addCleanup(os.unlink, linked)
        path = os.path.join(directory, name)
        hard = os.path.join(directory, f"hard-{name}")
        shutil.copyfile(source, path)
        os.link(path, hard)
        return path, [path, hard, os.path.join(linked, name)]

    def test_image(self):
        """the image as the file or the log of the console, by each of its names"""
        path, names = self.copies(HELLO_EIF, "image")
        before = self.read(path)
        for name in names:
            for append in ("off", "on"):
                for console, use in ((file_console(name, append=append), CONSOLE),
                                     (pty_log(name, append), CONSOLE_LOG)):
                    with self.subTest(name=name, use=use, append=append):
                        self.refuse(quick_xml("own", boot=boot_image(path), devices=console),
                                    name, use, KERNEL)
                        self.assertTrue(self.read(path) == before, "the image has changed")

    def test_image_symlink(self):
        """a link as the file of the console is not followed at all"""
        path, _ = self.copies(HELLO_EIF, "image")
        before = self.read(path)
        link = self.path("link")
        os.symlink(path, link)
        self.addCleanup(os.unlink, link)
        for console in (file_console(link), pty_log(link), file_console(self.path("x"), link)):
            self.refuse(quick_xml("own", boot=boot_image(path), devices=console), link, "link")
        self.assertTrue(self.read(path) == before)

    def test_kernel(self):
        """a kernel and its ramdisk likewise"""
        for source, use in ((HELLO_KERNEL, KERNEL), (HELLO_INITRD, INITRD)):
            path, names = self.copies(source, os.path.basename(source))
            before = self.read(path)
            boot = boot_kernel().replace(source, path)
            for name in names:
                for console, other in ((file_console(name), CONSOLE), (pty_log(name), CONSOLE_LOG)):
                    self.refuse(quick_xml("own", boot=boot, devices=console), name, use, other)
            self.assertTrue(self.read(path) == before)

    def test_twice(self):
        """source and log the same file; nothing of it is lost"""
        path = self.write(self.path("both"))
        hard = self.path("hard")
        os.link(path, hard)
        self.addCleanup(os.unlink, hard)
        for log in (path, hard):
            self.refuse(quick_xml("twice", devices=file_console(path, log)), log, CONSOLE,
                        CONSOLE_LOG, "'twice'")
        self.assertEqual(self.read(path), b"old\n")

    def test_other_domain(self):
        """what another running domain writes to, or reads, is not written to"""
        console, log, image = self.path("con"), self.path("log"), self.path("image")
        shutil.copyfile(HELLO_EIF, image)
        before = self.read(image)
        self.conn.createXML(quick_xml("first", boot=boot_image(image),
                                      devices=file_console(console, log)), 0)
        taken = {console: CONSOLE, f"{console}.1": CONSOLE, log: CONSOLE_LOG,
                 f"{log}.0": CONSOLE_LOG, image: KERNEL, self.domain_log("first"): LOG,
                 f"{self.domain_log('first')}.2": LOG}

        def check():
            for path, use in taken.items():
                self.refuse(quick_xml("second", devices=file_console(path)), path, CONSOLE,
                            "'second'", use, "'first'")
                self.refuse(quick_xml("second", devices=pty_log(path, "on")), path, CONSOLE_LOG,
                            "'second'", use, "'first'")
                if use != KERNEL:
                    boot = boot_kernel().replace(HELLO_INITRD, path)
                    self.refuse(quick_xml("second", boot=boot), path, INITRD, use, "'first'")

        check()
        for stop in (self.daemon.stop, self.daemon.kill):
            stop()
            self.daemon.start()
            self.reconnect()
            check()
        self.assertIn(b"starting up", self.read(self.domain_log("first")))
        self.assertTrue(self.read(image) == before)
        # one image is enough for many, and afterwards all is free again
        self.conn.createXML(quick_xml("third", boot=boot_image(image)), 0).destroy()
        self.conn.lookupByName("first").destroy()
        dom = self.conn.createXML(quick_xml("second", devices=file_console(console, log)), 0)
        dom.destroy()
        os.unlink(image)

    def test_set_aside(self):
        """an enclave whose status cannot be read, so that it is no domain, keeps its files"""
        console = self.path("con")
        self.conn.createXML(quick_xml("lost", devices=file_console(console)), 0)
        status = os.path.join(self.daemon.state_dir, "nitro", "run", "lost.xml")
        self.daemon.stop()
        with open(status, "rb") as file:
            whole = file.read()
        with open(status, "wb") as file:
            file.write(b"nonsense")
        self.daemon.start()
        self.reconnect()
        self.assertEqual(self.conn.listAllDomains(), [])
        for path, use in ((console, CONSOLE), (self.domain_log("lost"), LOG)):
            self.refuse(quick_xml("second", devices=file_console(path)), path, CONSOLE, use,
                        "lost")
        # it becomes a domain again
        with open(status, "wb") as file:
            file.write(whole)
        wait_until(self.conn.listAllDomains, 30, "the domain")
        wait_until(lambda: "'lost'" in self.try_start(quick_xml(
            "second", devices=file_console(console))), 30, "the domain's files")
        self.conn.lookupByName("lost").destroy()
        self.conn.createXML(quick_xml("second", devices=file_console(console)), 0).destroy()

    def try_start(self, xml):
        """Returns the error of a start, which must fail."""
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.conn.createXML(xml, 0)
        return str(raised.exception)

    def test_own_log(self):
        """a domain's log is no console of its own"""
        path = self.domain_log("self")
        self.refuse(quick_xml("self", devices=file_console(path)), path, CONSOLE, LOG, "'self'")

    def test_kinds(self):
        """what is no regular file is not opened"""
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        self.addCleanup(os.unlink, fifo)
        for path in (fifo, self.daemon.dir, "/dev/null"):
            for console in (file_console(path), pty_log(path)):
                self.refuse(quick_xml("kinds", devices=console), path, "not a regular file")

    def test_failing_start(self):
        """a start that is refused empties nothing, whatever it is refused for"""
        path = self.write(self.path("con"))
        log = self.write(self.path("log"))
        flipped = self.path("flipped")
        with open(HELLO_EIF, "rb") as image:
            self.write(flipped, image.read(1000))
        nowhere = unix_console(self.path("none/socket")).replace("/></", f"/><log file='{log}'/></")
        for console, boot in ((file_console(path, log), boot_image(flipped)),
                              (file_console(path, self.path("none/log")), boot_image()),
                              (file_console(path, self.daemon.dir), boot_image()),
                              (nowhere, boot_image())):
            with self.assertRaises(libvirt.libvirtError):
                self.conn.createXML(quick_xml("fails", boot=boot, devices=console), 0)
            self.assertEqual(self.read(path), b"old\n")
            self.assertEqual(self.read(log), b"old\n")
        # and one that is not does
        self.conn.createXML(quick_xml("works", devices=file_console(path, log)), 0).destroy()
        self.assertNotIn(b"old\n", self.read(path) + self.read(log))

    def test_nothing_empty(self):
        """files for old output that nothing was moved to are gone after the run"""
        path, log = self.path("con"), self.path("log")
        self.write(f"{log}.1", b"older\n")
        dom = self.conn.createXML(quick_xml("tidy", devices=file_console(path, log)), 0)
        for name in (path, log, self.domain_log("tidy")):
            self.assertEqual([os.path.exists(f"{name}.{i}") for i in range(4)],
                             [True, True, True, False])
        dom.destroy()
        there = [name for name in os.listdir(self.daemon.dir) if self._testMethodName in name]
        self.assertEqual(sorted(there), sorted(map(os.path.basename, (path, log, f"{log}.1"))))
        logs = [name for name in os.listdir(self.daemon.domain_log_dir) if "tidy" in name]
        self.assertEqual(logs, ["tidy.log"])


class Rotation(OutputTest):
    """Files do not grow beyond their size, however much a guest says."""

    SIZE = 65536
    conf = f"log_max_size = {SIZE}\nlog_max_backups = 2\n"

    def lines(self, path):
        """Returns the numbers of the flood's lines in @path and its backups, the oldest first."""
        text = b""
        for name in (f"{path}.1", f"{path}.0", path):
            data = self.read(name)
            self.assertLessEqual(len(data), self.SIZE, name)
            text += data
        return [int(number) for number in re.findall(rb"hello: flood (\d+)\r?\n", text)]

    def newest(self, path):
        with contextlib.suppress(IndexError, ValueError):
            return self.lines(path)[-1]
        return -1

    def check_sizes(self, paths, until):
        """Looks at the sizes again and again until @until() is true."""
        end = time.monotonic() + BOOT_SECONDS
        while not until():
            for path in paths:
                for name in (path, f"{path}.0", f"{path}.1"):
                    self.assertLessEqual(os.path.getsize(name), self.SIZE, name)
                self.assertFalse(os.path.exists(f"{path}.2"))
            self.assertLess(time.monotonic(), end, "no flood")

    def test_flood(self):
        """a guest that never stops writing, and a daemon that is killed meanwhile"""
        paths = [self.path("con"), self.path("log")]
        dom = self.conn.createXML(domain_xml("flood", boot_kernel("hello.action=flood"),
                                             devices=file_console(*paths)), 0)
        helper = self.helper_of(dom)
        self.check_sizes(paths, lambda: os.path.getsize(f"{paths[1]}.1") > 0)
        self.daemon.kill()
        last = [self.newest(path) for path in paths]
        # everything there was is moved out while there is no daemon
        self.check_sizes(paths, lambda: all(min(self.lines(path) or [0]) > number
                                            for path, number in zip(paths, last)))
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("flood")
        wait_until(lambda: dom.state()[0] == libvirt.VIR_DOMAIN_RUNNING, 10, "the domain")
        # only so that nothing is moved while it is read
        os.kill(helper, signal.SIGSTOP)
        for path in paths:
            numbers = self.lines(path)
            self.assertGreater(len(numbers), self.SIZE / 20)
            self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)),
                             "lines are missing, or in no order")
        os.kill(helper, signal.SIGCONT)
        dom.destroy()

    def test_domain_log(self):
        """the domain's log, which is too large before its helper runs"""
        log = self.domain_log("noisy")
        line = b"x" * 99 + b"\n"
        with open(log, "wb") as file:
            file.write(line * (self.SIZE // 100 + 10))
        if self.daemon.prefix:
            os.chown(log, NOBODY, NOBODY)
        self.conn.createXML(quick_xml("noisy"), 0).destroy()
        self.assertIn(b"runs domain noisy", self.read(log))
        self.assertNotIn(line, self.read(log))
        old = self.read(f"{log}.0")
        self.assertTrue(len(old) == self.SIZE and old.endswith(b"\n"), len(old))
        self.assertFalse(os.path.exists(f"{log}.1"))
        os.unlink(f"{log}.0")


class NoRotation(OutputTest):
    """log_max_size = 0: nothing is made but the files themselves"""

    conf = "log_max_size = 0\n"

    def test_one_file(self):
        path = self.path("con")
        dom = self.conn.createXML(quick_xml("plain", devices=file_console(path)), 0)
        self.assertFalse(os.path.exists(f"{path}.0"))
        self.assertFalse(os.path.exists(f"{self.domain_log('plain')}.0"))
        with open(f"/proc/{self.helper_of(dom)}/cmdline", encoding="utf-8") as cmdline:
            self.assertNotIn("log-max-size", cmdline.read())
        dom.destroy()


class Exchange:
    """A user who exchanges two names in his directory all the time."""

    def __init__(self, one, two):
        self.names = (one.encode(), two.encode())
        self.over = False
        self.count = 0
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over:
            if self.libc.renameat2(AT_FDCWD, self.names[0], AT_FDCWD, self.names[1],
                                   RENAME_EXCHANGE) != 0:
                raise OSError(ctypes.get_errno(), "renameat2")
            self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


class Others(OutputTest):
    """A system's daemon, and paths in a directory of another user."""

    system = True
    ROUNDS = 40

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.top = self.path("top")
        self.secret = os.path.join(self.top, "secret")
        self.theirs = os.path.join(self.top, "theirs")
        for path in (self.top, self.secret, self.theirs):
            os.mkdir(path)
        os.chmod(self.daemon.dir, 0o755)
        os.chmod(self.secret, 0o700)
        os.chown(self.theirs, NOBODY, NOBODY)
        self.addCleanup(shutil.rmtree, self.top)
        for name in ("file", "file.0", "file.1", "file.2", "socket"):
            with open(os.path.join(self.secret, name), "w", encoding="ascii") as file:
                file.write("secret")
        self.before = self.look()

    def look(self):
        """Returns what there is of root's: inodes and contents."""
        found = {}
        for name in sorted(os.listdir(self.secret)):
            path = os.path.join(self.secret, name)
            state = os.lstat(path)
            found[name] = (state.st_ino, stat.S_IFMT(state.st_mode), state.st_nlink,
                           state.st_size, self.read(path))
        return found

    def check_secret(self):
        self.assertEqual(self.look(), self.before, "root's files have changed")

    def make(self, name, link=None, text=None, owner=NOBODY):
        """Makes a directory, a link or a file of the other user's in his directory."""
        path = os.path.join(self.theirs, name)
        if link:
            os.symlink(link, path)
        elif text is not None:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        else:
            os.mkdir(path)
        os.chown(path, owner, owner, follow_symlinks=False)
        return path

    def test_given(self):
        """a file that is made in his directory is his, and is used again"""
        path = os.path.join(self.theirs, "con")
        for _ in range(2):
            self.conn.createXML(quick_xml("given", devices=file_console(path)), 0).destroy()
            self.assertEqual(os.stat(path).st_uid, NOBODY)
            self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
        self.assertEqual(os.listdir(self.theirs), ["con"])

    def test_refused(self):
        """links, files and directories of others', and hard links"""
        self.make("link", link=os.path.join(self.secret, "file"))
        self.make("dirlink", link=self.secret)
        self.make("root", text="secret", owner=0)
        os.link(os.path.join(self.secret, "file"), os.path.join(self.theirs, "hard"))
        self.before = self.look()
        os.rename(self.make("x", owner=0), os.path.join(self.theirs, "rootdir"))
        for name in ("link", "dirlink/file", "root", "hard", "rootdir/file"):
            path = os.path.join(self.theirs, name)
            for console in (file_console(path), pty_log(path), file_console(path, append="on")):
                self.refuse(quick_xml("refused", devices=console), path)
        for name in ("dirlink/socket2", "rootdir/socket"):
            path = os.path.join(self.theirs, name)
            for mode in ("bind", "connect"):
                self.refuse(quick_xml("refused", devices=unix_console(path, mode)), path)
        self.check_secret()
        self.assertEqual(self.read(os.path.join(self.theirs, "root")), b"secret")
        self.assertEqual(os.listdir(os.path.join(self.theirs, "rootdir")), [])

    def test_connect(self):
        """no link to a socket is followed, and no output goes to root's own sockets"""
        real = os.path.join(self.top, "real")
        moved = os.path.join(self.theirs, "moved")
        link = self.make("link", link=real)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
            server.bind(real)
            server.listen()
            other.bind(moved)
            other.listen()
            self.refuse(quick_xml("con", devices=unix_console(link, "connect")), link,
                        code=SYSTEM)
            self.refuse(quick_xml("con", devices=unix_console(moved, "connect")), moved,
                        code=SYSTEM)
            self.conn.createXML(quick_xml("con", devices=unix_console(real, "connect")),
                                0).destroy()

    def race(self, console, one, two, outcomes=False, before_check=None):
        """
        Starts and ends domains with @console while @one and @two are exchanged. With
        @outcomes, until some of the starts have been refused and some have not.
        """
        good = bad = 0
        with Exchange(one, two) as exchange:
            while good + bad < self.ROUNDS or outcomes and not (good and bad):
                try:
                    self.conn.createXML(quick_xml("race", devices=console), 0).destroy()
                    good += 1
                except libvirt.libvirtError as error:
                    self.assertIn(error.get_error_code(), (CONFIG, SYSTEM), error)
                    bad += 1
                self.assertLess(good + bad, 50 * self.ROUNDS, "always the same outcome")
        self.assertGreater(exchange.count, 1000)
        if before_check:
            before_check()
        self.check_secret()

    def test_race_link(self):
        """a directory exchanged for a link to root's, for a file, its log, and a socket"""
        directory = self.make("dir")
        link = self.make("link", link=self.secret)
        path = os.path.join(directory, "file")
        self.race(file_console(path), directory, link, outcomes=True)
        self.race(pty_log(path), directory, link)
        self.race(unix_console(os.path.join(directory, "socket")), directory, link)

    def test_race_file(self):
        """the file itself exchanged for a link to root's"""
        path = self.make("file", text="")
        link = self.make("filelink", link=os.path.join(self.secret, "file"))
        self.race(file_console(path), path, link, outcomes=True)

    def test_race_directory(self):
        """a directory exchanged for one of root's in the same directory"""
        directory = self.make("dir")
        rootdir = os.path.join(self.theirs, "rootdir")
        os.rename(self.secret, rootdir)

        def find_secret():
            self.secret = next(path for path in (directory, rootdir) if os.stat(path).st_uid == 0)

        self.race(file_console(os.path.join(directory, "file")), directory, rootdir,
                  outcomes=True, before_check=find_secret)

    def test_end(self):
        """a socket that another file has replaced, and one whose directory was exchanged, stays"""
        directory = self.make("dir")
        other = self.make("other")
        path = os.path.join(directory, "socket")
        for restart in (False, True):
            dom = self.conn.createXML(quick_xml("end", devices=unix_console(path)), 0)
            self.assertTrue(stat.S_ISSOCK(os.lstat(path).st_mode))
            os.rename(path, os.path.join(directory, "aside"))
            os.rename(directory, os.path.join(self.theirs, "gone"))
            os.symlink(self.secret, directory)
            os.lchown(directory, NOBODY, NOBODY)
            if restart:
                self.daemon.restart()
                self.reconnect()
                dom = self.conn.lookupByName("end")
            dom.destroy()
            self.check_secret()
            os.unlink(directory)
            os.rename(os.path.join(self.theirs, "gone"), directory)

            # the same directory, another socket; then ours
            os.unlink(os.path.join(directory, "aside"))
            for ours in (False, True):
                dom = self.conn.createXML(quick_xml("end", devices=unix_console(path)), 0)
                if restart:
                    self.daemon.restart()
                    self.reconnect()
                    dom = self.conn.lookupByName("end")
                if not ours:
                    os.rename(path, os.path.join(other, "socket"))
                    with socket.socket(socket.AF_UNIX) as server:
                        server.bind(path)
                        server.listen()
                        dom.destroy()
                        self.assertTrue(os.path.exists(path), "another program's socket is gone")
                    os.unlink(path)
                    os.unlink(os.path.join(other, "socket"))
                else:
                    dom.destroy()
                    self.assertFalse(os.path.lexists(path))


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
