#
# test_vsock.py: the vsock of emulated enclaves, with a real guest kernel
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The enclave is the sample (examples/hello/services.h tells what it serves), the host's
end is vsockclient.py. Each test ends with the check that nothing is left behind.
"""

import contextlib
import errno
import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import daemon
import taprunner
from daemon import wait_until
from e2etest import (BOOTED, CRASHED, NAMESPACE, RUNNING, SHUTDOWN, STARTED, Background,
                     EnclaveTest, OneEnclaveTest, boot_kernel, domain_xml, libvirt, quick_xml)
from vsockclient import (COMMANDS, DISCARD, ECHO, SOURCE, STALL, VsockClient, receive_all,
                         receive_line)

MIB = 1 << 20

# What each connection of an echo moves, and how many connections of the host's there are at
# once: under the sanitizers fewer, as they all run the same code
ECHO_MIB = int(os.environ.get("VSOCKTEST_ECHO_MIB", "100"))
CONNECTIONS = int(os.environ.get("VSOCKTEST_CONNECTIONS", "500"))

# More than the buffers on the way hold together
MORE_THAN_BUFFERS = 6 * MIB

DOCUMENTATION = os.path.join(daemon.SOURCE, "docs", "drvnitro.rst")


def echo_checked(conn, size):
    """
    Sends @size bytes on @conn, which leads to an echo, and reads them back meanwhile.
    Returns the bytes that came back, and whether their checksum is right.
    """
    block = os.urandom(MIB - 8)
    sent, got = hashlib.sha256(), hashlib.sha256()

    def send():
        for number in range(size // MIB):
            data = number.to_bytes(8, "big") + block
            sent.update(data)
            conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)

    sender = Background(send)
    count = 0
    while True:
        part = conn.recv(MIB)
        if not part:
            break
        got.update(part)
        count += len(part)
    sender.result()
    conn.close()
    return count, got.digest() == sent.digest()


class VsockTest(EnclaveTest):
    """What the tests share"""

    @classmethod
    def setUpClass(cls):
        # hundreds of connections, each a descriptor here
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
        super().setUpClass()

    def boot(self, name="talker", *words, **xml):
        """Boots the sample; returns the domain and the client of its vsock."""
        dom = self.conn.createXML(domain_xml(name, boot_kernel(*words), **xml), 0)
        return dom, VsockClient.of(dom)

    def opened(self, conn):
        """Has @conn, a socket or an object like it, closed at the end of the test."""
        self.addCleanup(conn.close)
        return conn

    def from_enclave(self, client, role, port, count=1):
        """
        Has the enclave connect to @port of its parent @count times, as the service @role.
        Returns the connections.
        """
        listener = self.opened(client.listen(port))
        with client.connect(COMMANDS) as commands:
            commands.sendall(f"{role} {port}\n".encode() * count)
            conns = []
            for _ in range(count):
                conns.append(self.opened(listener.accept()[0]))
                conns[-1].settimeout(60)
            for _ in range(count):
                self.assertEqual(receive_line(commands), "ok")
        listener.close()
        os.unlink(client.path(port))
        return conns

    def assertEchoes(self, conn, text=b"does it work?\n"):
        conn.sendall(text)
        self.assertEqual(receive_line(conn) + "\n", text.decode())

    def assertWorks(self, client):
        """The vsock of the enclave works, in both directions."""
        with client.connect(ECHO) as conn:
            self.assertEchoes(conn)
        with self.from_enclave(client, "echo", 65000)[0] as conn:
            self.assertEchoes(conn)

    def assertEnds(self, conn):
        """Nothing comes on @conn but its end, in good order or by a reset."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self.assertEqual(receive_all(conn), b"")

    def cid_of(self, dom, flags=0):
        cid = ElementTree.fromstring(dom.XMLDesc(flags)).find("devices/vsock/cid")
        return cid.get("auto"), cid.get("address")


class SharedVsockTest(VsockTest, OneEnclaveTest):
    """Tests that all talk to the same enclave"""

    def setUp(self):
        super().setUp()
        self.client = VsockClient.of(self.dom)
        self.addCleanup(self.clear)

    def clear(self):
        """Removes what the test has left beside the socket of the enclave."""
        for entry in os.scandir(self.client.directory):
            if entry.is_dir(follow_symlinks=False):
                os.rmdir(entry.path)
            elif entry.path != self.client.path():
                os.unlink(entry.path)


class Data(SharedVsockTest):
    """Bytes in both directions"""

    def test_echo(self):
        """100 MiB each way, on a connection of the host's and on one of the enclave's"""
        conns = [self.client.connect(ECHO), self.from_enclave(self.client, "echo", 1234)[0]]
        for echo in [Background(echo_checked, conn, ECHO_MIB * MIB) for conn in conns]:
            self.assertEqual(echo.result(), (ECHO_MIB * MIB, True))

    def test_many(self):
        """500 connections of the host's and twice as many of the enclave's, all at once"""
        conns = [self.opened(self.client.connect(ECHO)) for _ in range(CONNECTIONS)]
        conns += self.from_enclave(self.client, "echo", 1234, count=2 * CONNECTIONS)
        for number, conn in enumerate(conns):
            conn.sendall(f"I am number {number}\n".encode())
        for number, conn in enumerate(conns):
            self.assertEqual(receive_line(conn), f"I am number {number}")
        # half of them end in good order, the others just go
        for number, conn in enumerate(conns):
            if number % 2:
                conn.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(conn), b"")
            conn.close()
        self.assertWorks(self.client)

    def test_many_at_once(self):
        """100 connections that all move data"""
        conns = [self.client.connect(ECHO) for _ in range(50)]
        conns += self.from_enclave(self.client, "echo", 1234, count=50)
        for echo in [Background(echo_checked, conn, MIB) for conn in conns]:
            self.assertEqual(echo.result(), (MIB, True))

    def test_slow_reader(self):
        """programs that do not read do not stop others, and get all in the end"""
        slow = [self.opened(self.client.connect(SOURCE)),
                self.from_enclave(self.client, "source", 1234)[0]]
        for conn in slow:
            conn.sendall(f"{8 * MIB}\n".encode())
        time.sleep(0.5)
        for conn in (self.client.connect(ECHO), self.from_enclave(self.client, "echo", 1235)[0]):
            self.assertEqual(echo_checked(conn, MORE_THAN_BUFFERS), (MORE_THAN_BUFFERS, True))
        for conn in slow:
            self.assertEqual(len(receive_all(conn)), 8 * MIB)

    def test_slow_enclave(self):
        """connections that the enclave does not read: the writer waits, others do not"""
        # an enclave of its own, as the helper keeps what is not read
        dom, client = self.boot()
        for conn in (self.opened(client.connect(STALL)),
                     self.from_enclave(client, "stall", 1234)[0]):
            conn.settimeout(2)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 16 * MIB:
                    sent += conn.send(bytes(65536))
            # the buffers of the guest's socket, of the helper and of the program's socket
            self.assertLess(sent, 2 * MIB)
        for conn in (client.connect(ECHO), self.from_enclave(client, "echo", 1235)[0]):
            self.assertEqual(echo_checked(conn, MORE_THAN_BUFFERS), (MORE_THAN_BUFFERS, True))
        dom.destroy()

    def test_half_close(self):
        """either side ends its direction, and still gets what the other sends"""
        # the host is the first to end: the answer is the number of bytes
        with self.client.connect(DISCARD) as conn:
            conn.sendall(bytes(3 * MIB))
            conn.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(conn), f"{3 * MIB}\n".encode())
        # the enclave is
        listener = self.opened(self.client.listen(1234))
        answer = Background(self.client.command, "send 1234 a question")
        conn = self.opened(listener.accept()[0])
        self.assertEqual(receive_all(conn), b"a question")
        time.sleep(0.2)
        conn.sendall(b"an answer")
        conn.close()
        self.assertEqual(answer.result(), "an answer")
        # the host does not want to read more: the writer's connection ends
        with self.client.connect(SOURCE) as conn:
            conn.sendall(f"{100 * MIB}\n".encode())
            conn.recv(1)
            conn.shutdown(socket.SHUT_RD)
            time.sleep(0.2)
        self.assertWorks(self.client)

    def test_ping(self):
        """single bytes to and fro, begun by the enclave"""
        listener = self.opened(self.client.listen(1234))
        answer = Background(self.client.command, "ping 1234 1000")
        conn = self.opened(listener.accept()[0])
        count = 0
        while True:
            byte = conn.recv(1)
            if not byte:
                break
            count += 1
            conn.sendall(byte)
        self.assertEqual((count, answer.result()), (1000, "ok"))

    def test_leave_meanwhile(self):
        """programs that go while data are under way in both directions"""
        for linger in (False, True):
            for _ in range(20):
                conn = self.client.connect(ECHO)
                conn.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    conn.sendall(bytes(MIB))
                if linger:
                    conn.shutdown(socket.SHUT_WR)
                conn.close()
            self.assertWorks(self.client)

    def test_two_enclaves(self):
        """two enclaves with the same ports: each has its own sockets"""
        both = [self.boot("one"), (self.dom, self.client)]
        self.assertNotEqual(both[0][1].directory, both[1][1].directory)
        listeners = [self.opened(client.listen(1234)) for _, client in both]
        answers = [Background(client.command, f"send 1234 I am {dom.name()}")
                   for dom, client in both]
        for listener, (dom, _) in zip(listeners, both):
            conn = self.opened(listener.accept()[0])
            self.assertEqual(receive_all(conn), f"I am {dom.name()}".encode())
            conn.sendall(f"hello {dom.name()}".encode())
            conn.close()
        for answer, (dom, _) in zip(answers, both):
            self.assertEqual(answer.result(), f"hello {dom.name()}")

        conns = [self.opened(client.connect(ECHO)) for _, client in both]
        both[0][1].order("poweroff")
        self.assertEnds(conns[0])
        self.events.wait("one", *SHUTDOWN)
        self.assertEchoes(conns[1])

    def test_daemon_restart(self):
        """connections outlive the daemon; the next one knows the directory"""
        client = self.client
        conns = [self.opened(client.connect(ECHO)), self.from_enclave(client, "echo", 1234)[0]]
        cid = self.cid_of(self.dom)
        self.daemon.restart()
        self.reconnect()
        for conn in conns:
            self.assertEchoes(conn)
        dom = self.conn.lookupByName(self.shared)
        self.assertEqual(VsockClient.of(dom).directory, client.directory)
        self.assertEqual(self.cid_of(dom), cid)
        self.assertWorks(client)
        other = self.conn.createXML(quick_xml("other"), 0)
        self.assertNotEqual(self.cid_of(other), cid, "the CID is known to be in use")
        other.destroy()


class Ends(VsockTest):
    """Enclaves that end with connections open"""

    def open_connections(self, client):
        """Returns connections of all kinds; some have data under way."""
        conns = [self.opened(client.connect(port)) for port in (ECHO, SOURCE, STALL, DISCARD)]
        conns += self.from_enclave(client, "echo", 1234, count=3)
        with contextlib.suppress(BlockingIOError):
            conns[2].send(bytes(4 * MIB), socket.MSG_DONTWAIT)
        return conns

    def source(self, client, size):
        """Returns a connection on which the enclave has sent @size bytes, and its end."""
        conn = self.opened(client.connect(SOURCE))
        conn.sendall(f"{size}\n".encode())

        def sent():
            # the enclave has closed the connection: all has come
            try:
                conn.send(b"")
                return False
            except BrokenPipeError:
                return True

        wait_until(sent, 60, "the end of what the enclave sends")
        return conn

    def test_orders(self):
        """
        power off, panic, end of init: programs get the end of their connections, and what
        the enclave had sent before it ended can be read later
        """
        for command, event in (("poweroff", SHUTDOWN), ("panic", CRASHED), ("exit", CRASHED)):
            with self.subTest(command):
                dom, client = self.boot(command)
                unread = self.source(client, 400000)
                conns = self.open_connections(client)
                waiting = self.opened(client.dial())
                client.order(command)
                for conn in conns + [waiting]:
                    self.assertEnds(conn)
                self.events.wait(command, *event)
                wait_until(lambda: not os.path.exists(client.directory), 10, "no directory")
                self.assertEqual(len(receive_all(unread)), 400000)
                with contextlib.suppress(libvirt.libvirtError):
                    dom.destroy()

    def test_reboot(self):
        """on_reboot restart: the connections end, the new enclave takes new ones"""
        dom, client = self.boot("again")
        first = dom.ID()
        conns = self.open_connections(client)
        client.order("reboot")
        for conn in conns:
            self.assertEnds(conn)
        wait_until(lambda: self.events.of("again").count(STARTED) == 2, 60, "the second start")
        dom = self.conn.lookupByName("again")
        self.assertNotEqual(dom.ID(), first)
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertWorks(VsockClient.of(dom))
        dom.destroy()

    def test_killed(self):
        """QEMU killed, the helper killed, destroy"""
        def destroy(dom):
            dom.destroy()

        def kill_qemu(dom):
            os.kill(self.qemu_of(dom), signal.SIGKILL)

        def kill_helper(dom):
            os.kill(self.helper_of(dom), signal.SIGKILL)

        for kill in (destroy, kill_qemu, kill_helper):
            with self.subTest(kill.__name__):
                dom, client = self.boot(kill.__name__)
                conns = self.open_connections(client)
                kill(dom)
                for conn in conns:
                    self.assertEnds(conn)
                wait_until(lambda: not os.path.exists(client.directory), 10, "no directory")


class Kernels(VsockTest):
    """How guests' kernels find the device"""

    # nitro-cli's default, without "nomodules": the sample's kernel has modules
    AWS_CMDLINE = ("reboot=k panic=30 pci=off console=ttyS0 i8042.noaux i8042.nomux i8042.nopnp "
                   "i8042.dumbkbd random.trust_cpu=on")

    def test_aws(self):
        """AWS's command line"""
        boot = (f"<kernel>{daemon.HELLO_KERNEL}</kernel><initrd>{daemon.HELLO_INITRD}</initrd>"
                f"<cmdline>{self.AWS_CMDLINE}</cmdline>")
        dom = self.conn.createXML(domain_xml("aws", boot), 0)
        self.assertWorks(VsockClient.of(dom))
        dom.destroy()


class Manners(SharedVsockTest):
    """Programs of the host that are impolite, and what is refused"""

    def test_refused_by_enclave(self):
        """ports on which the enclave does not listen: closed without a word"""
        for port in (1, 8, 9000, 4294967294):
            for data in (b"", b"hello\n"):
                with self.subTest(port=port, data=data), self.client.dial() as conn:
                    conn.sendall(f"CONNECT {port}\n".encode() + data)
                    self.assertEqual(receive_all(conn), b"")
        self.assertWorks(self.client)

    def test_unread(self):
        """the other side leaves without reading all: the end of the connection, no error"""
        # the program does, and has answered before, or not
        listener = self.opened(self.client.listen(1234))
        for text in (b"", b"an answer"):
            with self.subTest(text):
                answer = Background(self.client.command, "send 1234 a question")
                conn = listener.accept()[0]
                conn.settimeout(60)
                self.assertEqual(conn.recv(1), b"a")
                conn.sendall(text)
                conn.close()
                self.assertEqual(answer.result(), text.decode())
        # the enclave does: "source" reads no more than its first line
        with self.client.connect(SOURCE) as conn:
            conn.sendall(b"5\n" + b"x" * 100000)
            self.assertEqual(receive_all(conn), bytes(5))
        self.assertWorks(self.client)

    def test_refused_by_host(self):
        """ports for which there is no socket, or none that listens"""
        self.opened(self.client.listen(2001)).close()
        with open(self.client.path(2002), "wb"):
            os.mkdir(self.client.path(2003))
        os.symlink("nowhere", self.client.path(2004))
        for port in (2000, 2001, 2002, 2003, 2004, 4294967294):
            with self.subTest(port):
                answer = self.client.command(f"echo {port}")
                self.assertIn("cannot connect", answer)
                self.assertIn(os.strerror(errno.ECONNRESET), answer)
        self.assertWorks(self.client)

    def test_full_backlog(self):
        """a program that listens and does not accept: refused at once, others go on"""
        listener = self.opened(self.client.listen(1234, backlog=0))
        # fills the backlog
        while True:
            filler = self.opened(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(self.client.path(1234))
            except BlockingIOError:
                break
        self.assertIn("cannot connect", self.client.command("echo 1234"))
        self.assertWorks(self.client)
        listener.close()

    def test_pieces(self):
        """a CONNECT line in single bytes, with CR LF, and with data behind it"""
        with self.client.dial() as conn:
            for byte in f"CONNECT {ECHO}\n":
                conn.sendall(byte.encode())
                time.sleep(0.02)
            self.assertRegex(receive_line(conn), r"^OK \d+$")
            self.assertEchoes(conn)
        with self.client.dial() as conn:
            conn.sendall(f"CONNECT {ECHO}\r\n".encode())
            self.assertRegex(receive_line(conn), r"^OK \d+$")
            self.assertEchoes(conn)
        with self.client.dial() as conn:
            conn.sendall(f"CONNECT {ECHO}\n".encode() + b"x" * 100000 + b"\n")
            conn.shutdown(socket.SHUT_WR)
            self.assertRegex(receive_line(conn), r"^OK \d+$")
            self.assertEqual(receive_all(conn), b"x" * 100000 + b"\n")

    def test_bad_lines(self):
        """first lines that are none: closed without a word"""
        for line in (b"\n", b"CONNECT\n", b"CONNECT \n", b"CONNECT x\n", b"CONNECT -7\n",
                     b"CONNECT 7 7\n", b"connect 7\n", b"CONNECT 4294967295\n",
                     b"CONNECT 4294967303\n", b"CONNECT 18446744073709551623\n",
                     b"GET / HTTP/1.1\r\n\r\n", b"CONNECT " + b"0" * 100 + b"7\n", b"x" * 100000,
                     b"\0" * 64):
            with self.subTest(line[:40]), self.client.dial() as conn:
                with contextlib.suppress(BrokenPipeError):
                    conn.sendall(line)
                self.assertEqual(receive_all(conn), b"")
        self.assertWorks(self.client)

    def test_leave_early(self):
        """programs that leave before their line, within it, and before the answer"""
        for line in (b"", b"CONN", f"CONNECT {ECHO}".encode(), f"CONNECT {ECHO}\n".encode(),
                     f"CONNECT {ECHO}\ndata".encode(), b"CONNECT 1\n"):
            for _ in range(100):
                with self.client.dial() as conn:
                    conn.sendall(line)
        with self.client.dial() as conn:
            conn.sendall(f"CONNECT {ECHO}".encode())
            conn.shutdown(socket.SHUT_WR)
            self.assertEnds(conn)
        self.assertWorks(self.client)

    def test_half_a_line(self):
        """a program that does not go on with its line is dropped after a while"""
        conn = self.opened(self.client.dial())
        conn.sendall(b"CONN")
        self.assertWorks(self.client)
        start = time.monotonic()
        self.assertEnds(conn)
        self.assertLess(time.monotonic() - start, 30)

    def test_refused_in_a_row(self):
        """a thousand refused connections leave room for others"""
        with self.client.connect(COMMANDS) as commands:
            for _ in range(10):
                commands.sendall(b"echo 999\n" * 100)
                for _ in range(100):
                    self.assertIn("cannot connect", receive_line(commands))
        self.assertWorks(self.client)


class Sockets(VsockTest):
    """CIDs, and the directory of the sockets"""

    def fixed(self, name, cid, xml=quick_xml):
        vsock = f"<vsock model='virtio'><cid auto='no' address='{cid}'/></vsock>"
        return xml(name, boot=boot_kernel(), devices=vsock)

    def test_auto(self):
        """auto takes a free CID from 4 up; without <vsock> it is the same"""
        auto = "<vsock model='virtio'><cid auto='yes'/></vsock>"
        dom = self.conn.defineXML(quick_xml("one", devices=auto))
        bare = self.conn.defineXML(quick_xml("two"))
        for one in (dom, bare):
            self.assertEqual(self.cid_of(one), ("yes", None))
            one.create()
        cids = [self.cid_of(one) for one in (dom, bare)]
        self.assertEqual([auto for auto, _ in cids], ["yes", "yes"])
        self.assertEqual(sorted(int(cid) for _, cid in cids), [4, 5])
        for one in (dom, bare):
            self.assertEqual(self.cid_of(one, libvirt.VIR_DOMAIN_XML_INACTIVE), ("yes", None))
            one.destroy()
            self.assertEqual(self.cid_of(one), ("yes", None))
        # free again
        bare.create()
        self.assertEqual(self.cid_of(bare), ("yes", "4"))
        bare.destroy()

    def test_fixed(self):
        """a fixed CID is taken, reported and left out by auto; in use, it is refused"""
        first = self.conn.createXML(self.fixed("first", 4), 0)
        self.assertEqual(self.cid_of(first), ("no", "4"))
        auto = self.conn.createXML(quick_xml("auto"), 0)
        self.assertEqual(self.cid_of(auto), ("yes", "5"))
        for cid, other in ((4, "first"), (5, "auto")):
            with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, str(cid), f"'{other}'"):
                self.conn.createXML(self.fixed("second", cid), 0)
            # it can be defined: the other may have ended by its start
            dom = self.conn.defineXML(self.fixed("third", cid))
            with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, str(cid), f"'{other}'"):
                dom.create()
            dom.undefine()
        first.destroy()
        second = self.conn.createXML(self.fixed("second", 4, domain_xml), 0)
        self.assertWorks(VsockClient.of(second))
        second.destroy()
        auto.destroy()

    def test_race(self):
        """domains that start at once get different CIDs"""
        def create(number):
            conn = libvirt.open(self.daemon.uri)
            try:
                return self.cid_of(conn.createXML(quick_xml(f"racer{number}"), 0))[1]
            finally:
                conn.close()

        cids = [creation.result() for creation in
                [Background(create, number) for number in range(4)]]
        self.assertEqual(sorted(cids), ["4", "5", "6", "7"])

    def test_directory(self):
        """only the daemon's user gets in; it goes with the enclave, and what is in it"""
        dom = self.conn.defineXML(quick_xml("tidy"))
        space = f"{{{NAMESPACE}}}"
        self.assertIsNone(ElementTree.fromstring(dom.XMLDesc(0)).find(f"{space}vsock"))
        dom.create()
        client = VsockClient.of(dom)
        status = os.stat(client.directory)
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o700)
        self.assertEqual(status.st_uid, os.stat(f"/proc/{self.daemon.process.pid}").st_uid)
        self.assertTrue(client.directory.startswith(self.daemon.state_dir), client.directory)
        self.assertTrue(stat.S_ISSOCK(os.stat(client.path()).st_mode))

        inactive = ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        self.assertIsNone(inactive.find(f"{space}vsock"))
        live = dom.XMLDesc(0)
        self.conn.defineXMLFlags(live, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

        # what programs leave there
        self.opened(client.listen(1234))
        os.mkdir(os.path.join(client.directory, "sub"))
        with open(os.path.join(client.directory, "sub", "file"), "wb"):
            pass
        outside = self.path("outside")
        os.mkdir(outside)
        with open(os.path.join(outside, "precious"), "wb"):
            os.symlink(outside, os.path.join(client.directory, "link"))
        dom.destroy()
        self.assertFalse(os.path.exists(client.directory))
        self.assertTrue(os.path.exists(os.path.join(outside, "precious")))
        self.assertIsNone(ElementTree.fromstring(dom.XMLDesc(0)).find(f"{space}vsock"))
        dom.create()
        dom.destroy()


class Documentation(SharedVsockTest):
    """
    The lines of docs/drvnitro.rst, run as they are written; but for those that an enclave runs, or a
    host whose kernel has a loopback of the vsock, and those that test_services_clients.py runs
    """

    # taken literally but for this: the tests have a daemon of their own
    URI = "nitro:///system"

    @classmethod
    def enclave_xml(cls):
        return domain_xml("hello", boot_kernel())

    @classmethod
    def setUpClass(cls):
        with open(DOCUMENTATION, encoding="utf-8") as text:
            cls.lines = [line.strip() for line in text
                         if re.match(r"   (vsock=|.*\bsocat )", line) and
                         "VSOCK-" not in line and "/usr/bin/socat" not in line]
        super().setUpClass()

    def shell(self, *lines, **options):
        """Starts a shell that runs @lines, with standard output in a pipe."""
        script = "\n".join(lines).replace(self.URI, self.daemon.url)
        shell = subprocess.Popen(
            self.daemon.prefix + daemon.WITH_US + ["sh", "-eu", "-c", script],
            env=self.daemon.client_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True, **options)
        self.addCleanup(shell.stdout.close)
        self.addCleanup(self.end, shell)
        return shell

    @staticmethod
    def end(shell):
        """Ends @shell and what it has started, which is in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()

        def gone():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-shell.pid, os.WNOHANG)
            try:
                os.killpg(shell.pid, 0)
                return False
            except ProcessLookupError:
                return True

        wait_until(gone, 10, "the end of the shell's processes")

    @staticmethod
    def wait_listener(path):
        """Waits until somebody listens on the socket @path, which is there before that."""
        def listens():
            with open("/proc/net/unix", encoding="utf-8") as sockets:
                return any(line.split()[3] == "00010000" and line.rstrip().endswith(f" {path}")
                           for line in sockets)

        wait_until(listens, 20, f"a listener on {path}")

    def line(self, words):
        """Returns the one line of the documentation that has @words."""
        found = [line for line in self.lines if words in line]
        self.assertEqual(len(found), 1, f"lines with '{words}': {found} of {self.lines}")
        return found[0]

    def setUp(self):
        if not shutil.which("socat"):
            self.skipTest("socat is not installed")
        super().setUp()

    def test_all_lines(self):
        """there are these lines, and the other tests run them all"""
        self.assertEqual(len(self.lines), 5, self.lines)

    def test_to_enclave(self):
        """a program of the host connects to the enclave"""
        shell = self.shell(self.line("vsock="), self.line("CONNECT 7"),
                           stdin=subprocess.DEVNULL)
        output = shell.communicate(timeout=60)[0]
        self.assertEqual(shell.returncode, 0, output)
        self.assertRegex(output, r"^OK \d+\nhello\n$")

    def test_by_hand(self):
        """a person types the line and what follows"""
        shell = self.shell(self.line("vsock="), self.line("socat - "), stdin=subprocess.PIPE)
        for typed, shown in ((f"CONNECT {ECHO}", r"OK \d+"), ("one", "one"), ("two", "two")):
            shell.stdin.write(typed + "\n")
            shell.stdin.flush()
            self.assertRegex(shell.stdout.readline(), f"^{shown}\n$")
        shell.stdin.close()
        self.assertEqual(shell.wait(60), 0)

    def test_from_enclave(self):
        """the enclave connects to a program of the host"""
        self.shell(self.line("vsock="), self.line("EXEC:"), stdin=subprocess.DEVNULL)
        path = self.client.path(1234)
        self.wait_listener(path)
        for text in ("one", "two"):
            self.assertEqual(self.client.command(f"send 1234 {text}"), text)

    def test_to_tcp(self):
        """the enclave connects to a TCP port of the host"""
        words = self.line("TCP:")
        port = int(re.search(r"TCP:localhost:(\d+)", words).group(1))
        server = self.opened(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            self.skipTest(f"TCP port {port}: {error}")
        server.listen()
        server.settimeout(60)
        self.shell(self.line("vsock="), words, stdin=subprocess.DEVNULL)
        path = self.client.path(port)
        self.wait_listener(path)
        answer = Background(self.client.command, f"send {port} over TCP")
        conn = self.opened(server.accept()[0])
        self.assertEqual(receive_all(conn), b"over TCP")
        conn.sendall(b"and back")
        conn.close()
        self.assertEqual(answer.result(), "and back")


if __name__ == "__main__":
    taprunner.main()
