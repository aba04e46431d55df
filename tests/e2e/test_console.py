#
# test_console.py: the console of an enclave, in all its types
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams through the API, virsh on a terminal, files, sockets, and no console at all."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import termios
import time
import xml.etree.ElementTree as ElementTree

import taprunner
from daemon import wait_until
from e2etest import (BOOT_SECONDS, SHUTDOWN, Background, EnclaveTest, OneEnclaveTest,
                     StreamConsole, banner, boot_kernel, domain_xml, libvirt, quick_xml)

PTY = "<console type='pty'/>"

PIDFD_GETFD = 438


def mark(number):
    """Returns what marked_xml() has the kernel say."""
    return f" a.mark={number}."


def marked_xml(name, number, devices):
    """
    Returns the definition of a domain that says mark(@number) soon: it is enough for tests of
    the way from the console to the host.
    """
    return quick_xml(name, boot=boot_kernel(f"a.mark={number}.", loud=True), devices=devices)


class Console(EnclaveTest):

    def open(self, dom, flags=0, device=None):
        console = StreamConsole(self.conn, dom, flags, device)
        self.addCleanup(console.close)
        return console

    def test_stream(self):
        """the stream of openConsole carries the boot, from its first line on"""
        dom = self.conn.createXML(domain_xml("talk", boot_kernel(seed=2), devices=PTY), 0)
        console = self.open(dom)
        console.wait(banner(2))
        # input is swallowed: the console of an enclave has an output only
        console.stream.send(b"hello?\n")
        dom.destroy()
        console.wait_end()

    def test_one_at_a_time(self):
        """a second session needs the force flag, and ends the first one"""
        dom = self.conn.createXML(domain_xml("busy", devices=PTY), 0)
        first = self.open(dom)
        for flags in (0, libvirt.VIR_DOMAIN_CONSOLE_SAFE):
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "console session"):
                self.open(dom, flags)
        second = self.open(dom, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        first.wait_end()
        second.wait("enclave ready")
        second.close()
        wait_until(lambda: self.try_open(dom), 10, "a free console")
        dom.destroy()

    def test_next_run(self):
        """a session that its client has not left is none of the next run's"""
        dom = self.conn.defineXML(quick_xml("again", devices=PTY))
        dom.create()
        first = self.open(dom)
        dom.destroy()
        dom.create()
        # not refused, and the only one
        self.open(dom)
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "console session"):
            self.open(dom)
        first.wait_end()
        dom.destroy()

    def test_many_by_force(self):
        """sessions that end by force just while they end by themselves: all go on"""
        self.conn.createXML(quick_xml("wanted", devices=PTY), 0)

        def use():
            conn = libvirt.open(self.daemon.uri)
            dom = conn.lookupByName("wanted")
            for _ in range(50):
                stream = conn.newStream()
                dom.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
                # its session may be over
                with contextlib.suppress(libvirt.libvirtError):
                    stream.abort()
            conn.close()

        for user in [Background(use) for _ in range(4)]:
            user.result(60)
        dom = self.conn.lookupByName("wanted")
        wait_until(lambda: self.try_open(dom), 10, "a free console")
        dom.destroy()

    def try_open(self, dom):
        try:
            return self.open(dom, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
        except libvirt.libvirtError:
            return None

    def test_aliases(self):
        """the console is found by its alias, its twin's, or none"""
        dom = self.conn.createXML(quick_xml("alias", devices=PTY), 0)
        live = ElementTree.fromstring(dom.XMLDesc(0))
        for device in (None, live.find("devices/console/alias").get("name"),
                       live.find("devices/serial/alias").get("name")):
            console = self.open(dom, libvirt.VIR_DOMAIN_CONSOLE_FORCE, device)
            console.close()
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "serial7", "serial0"):
            self.open(dom, 0, "serial7")
        dom.destroy()

    def test_virtio_target(self):
        """a console with the target virtio has no twin"""
        devices = "<console type='pty'><target type='virtio'/></console>"
        dom = self.conn.createXML(marked_xml("single", 9, devices), 0)
        self.assertIsNone(ElementTree.fromstring(dom.XMLDesc(0)).find("devices/serial"))
        self.open(dom).wait(mark(9))
        dom.destroy()

    def test_refusals(self):
        """no console: not running, none defined, not in debug mode"""
        dom = self.conn.defineXML(quick_xml("mute", devices=PTY))
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID):
            self.open(dom)
        dom.undefine()
        dom = self.conn.createXML(quick_xml("mute"), 0)
        with self.assertRaises(libvirt.libvirtError):
            self.open(dom)
        dom.destroy()
        quiet = quick_xml("mute", devices=PTY).replace("debug='yes'", "debug='no'")
        dom = self.conn.createXML(quiet, 0)
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.open(dom)
        self.assertIn("debug", str(raised.exception))
        console = ElementTree.fromstring(dom.XMLDesc(0)).find("devices/console")
        self.assertIsNone(console.find("source"))
        dom.destroy()

    def test_file(self):
        """a file is written anew at each start, or appended to if it says so"""
        path, console = self.console_file()
        dom = self.conn.defineXML(marked_xml("file", 1, console))
        for _ in range(2):
            dom.create()
            text = self.wait_text(path, mark(1))
            self.assertEqual(text.count("Linux version"), 1)
            dom.destroy()
        uuid = f"<uuid>{dom.UUIDString()}</uuid><name>"
        xml = marked_xml("file", 10, console.replace("/></", " append='on'/></"))
        dom = self.conn.defineXML(xml.replace("<name>", uuid))
        dom.create()
        self.assertIn(mark(1), self.wait_text(path, mark(10)))
        dom.destroy()
        os.unlink(path)

    def test_log(self):
        """<log>: a file that gets the output too, written anew or appended to"""
        for kind in ("pty", "null"):
            path = self.path("log")
            for append, number in (("off", 21), ("off", 22), ("on", 23)):
                devices = f"<console type='{kind}'><log file='{path}' append='{append}'/></console>"
                dom = self.conn.createXML(marked_xml("logged", number, devices), 0)
                for device in ("console", "serial"):
                    log = ElementTree.fromstring(dom.XMLDesc(0)).find(f"devices/{device}/log")
                    self.assertEqual(log.get("file"), path)
                text = self.wait_text(path, mark(number))
                there = [other for other in (21, 22, 23) if mark(other) in text]
                self.assertEqual(there, [22, 23] if append == "on" else [number])
                if kind == "pty":
                    self.open(dom).wait(mark(number), seconds=10)
                dom.destroy()
            os.unlink(path)

    def test_log_fails(self):
        """a log that cannot be written: the start fails; none without debug mode"""
        path = self.path("no/such/log")
        devices = f"<console type='pty'><log file='{path}'/></console>"
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, path):
            self.conn.createXML(domain_xml("unlogged", devices=devices), 0)
        quiet = quick_xml("unlogged", devices=devices).replace(
            "debug='yes'", "debug='no'")
        self.conn.createXML(quiet, 0).destroy()

    def unix_xml(self, mode, number):
        path = os.path.join(self.daemon.dir, "con.sock")
        devices = f"<console type='unix'><source mode='{mode}' path='{path}'/></console>"
        return path, marked_xml(mode, number, devices)

    def read_socket(self, client, text):
        got = b""
        client.settimeout(BOOT_SECONDS)
        while text.encode() not in got:
            data = client.recv(65536)
            self.assertTrue(data, got)
            got += data

    def test_unix_bind(self):
        """a socket that others connect to, one after the other"""
        path, xml = self.unix_xml("bind", 13)
        dom = self.conn.createXML(xml, 0)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                self.read_socket(client, mark(13))
        dom.destroy()
        self.assertFalse(os.path.exists(path))

    def test_unix_connect(self):
        """a socket that somebody else listens on"""
        path, xml = self.unix_xml("connect", 14)
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, path):
            self.conn.createXML(xml, 0)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            dom = self.conn.createXML(xml, 0)
            client = server.accept()[0]
            with client:
                self.read_socket(client, mark(14))
                dom.destroy()
        os.unlink(path)

    def test_null(self):
        """console type null: it runs, and nothing is to be seen"""
        dom = self.conn.createXML(domain_xml("null", boot_kernel("hello.action=poweroff"),
                                             devices="<console type='null'/>"), 0)
        with self.assertRaises(libvirt.libvirtError):
            self.open(dom)
        self.events.wait("null", *SHUTDOWN, seconds=BOOT_SECONDS)

    def keep_sockets(self, pid):
        """Returns descriptors of what is connected with the process @pid."""
        libc = ctypes.CDLL(None, use_errno=True)
        kept = []
        pidfd = os.pidfd_open(pid)
        for number in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                kept.append(libc.syscall(PIDFD_GETFD, pidfd, int(number), 0))
        os.close(pidfd)
        if -1 in kept:
            self.skipTest("other processes' descriptors cannot be had: " +
                          os.strerror(ctypes.get_errno()))
        return kept

    def take_terminal(self, path):
        """Makes the pseudo terminal @path. Returns its ends, and how it is set."""
        others = []
        while True:
            ends = os.openpty()
            if os.ttyname(ends[1]) == path:
                break
            others += ends
            self.assertLess(len(others), 200, "somebody else has it")
        for fd in others:
            os.close(fd)
        for fd in ends:
            self.addCleanup(os.close, fd)
        return ends[1], termios.tcgetattr(ends[1])

    def test_number_of_another(self):
        """a helper has ended unnoticed, and its terminal's number belongs to another process"""
        for restart in (False, True):
            dom = self.conn.createXML(domain_xml("lost", devices=PTY), 0)
            path = ElementTree.fromstring(dom.XMLDesc(0)).find("devices/console/source").get("path")
            if restart:
                self.daemon.restart()
                self.reconnect()
                dom = self.conn.lookupByName("lost")
                console = self.open(dom)
                console.wait("enclave ready")
                console.close()
            helper = self.helper_of(dom)
            kept = self.keep_sockets(helper)
            os.kill(helper, signal.SIGKILL)
            wait_until(lambda: helper not in self.living(), 10, "the helper's end")
            with contextlib.ExitStack() as ends:
                for fd in kept:
                    ends.callback(os.close, fd)
                terminal, before = self.take_terminal(path)
                with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, "'lost' has ended", path):
                    self.open(dom, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
                self.assertEqual(termios.tcgetattr(terminal), before)
                self.assertEqual(dom.isActive(), 1)
            wait_until(lambda: not self.conn.listAllDomains(), 20, "the domain's end")


class AfterBoot(OneEnclaveTest):
    """Nobody has had the console open while the enclave booted."""

    BANNER = banner(4)

    @classmethod
    def enclave_xml(cls):
        return domain_xml("late", boot_kernel(seed=4), devices=PTY)

    def setUp(self):
        super().setUp()
        # the helper looks for readers every 150 ms, and would take one that comes earlier
        # for the one of the test before
        time.sleep(1)

    def see_boot(self):
        """Opens the console, which shows the boot, and closes it."""
        console = StreamConsole(self.conn, self.dom)
        self.addCleanup(console.close)
        console.wait(self.BANNER, seconds=10)
        self.assertIn(self.BANNER, console.text)
        console.close()

    def test_again(self):
        """who attaches after the boot still sees it, and so does the next one"""
        self.see_boot()
        time.sleep(1)
        self.see_boot()

    def test_nova_reads_pty(self):
        """nova opens the path of the live XML itself"""
        live = ElementTree.fromstring(self.dom.XMLDesc(0))
        path = live.find("devices/console/source").get("path")
        pty = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        self.addCleanup(os.close, pty)
        text = b""
        end = time.monotonic() + BOOT_SECONDS
        while self.BANNER.encode() not in text and time.monotonic() < end:
            if select.select([pty], [], [], 0.5)[0]:
                text += os.read(pty, 65536)
        self.assertIn(self.BANNER.encode(), text)

    def test_after_restart(self):
        """the console of an enclave that a restarted daemon has taken over"""
        self.daemon.restart()
        self.reconnect()
        self.dom = self.conn.lookupByName(self.shared)
        wait_until(self.dom.isActive, 10, "the domain")
        self.see_boot()

    def test_virsh_console(self):
        """virsh console on a terminal; Ctrl-] ends it"""
        master, terminal = os.openpty()
        self.addCleanup(os.close, master)
        virsh = subprocess.Popen(self.daemon.virsh_command("console", self.shared), stdin=terminal,
                                 stdout=terminal, stderr=terminal,
                                 env=self.daemon.client_env, start_new_session=True)
        os.close(terminal)
        self.addCleanup(virsh.wait)
        self.addCleanup(lambda: virsh.poll() is None and virsh.send_signal(signal.SIGKILL))
        text = b""
        end = time.monotonic() + BOOT_SECONDS
        while self.BANNER.encode() not in text and time.monotonic() < end:
            if select.select([master], [], [], 0.5)[0]:
                text += os.read(master, 65536)
        self.assertIn(self.BANNER.encode(), text)
        os.write(master, b"\x1d")
        self.assertEqual(virsh.wait(10), 0)


if __name__ == "__main__":
    taprunner.main()
