#
# test_services_more.py: what vsock services do for a real guest
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What an enclave and the host's programs see of services, with the sample on the emulated machine
(examples/hello/services.h tells what it serves). Most tests share one enclave, which is not in
debug mode: what it is told comes through an inbound service.
"""

import contextlib
import glob
import os
import re
import resource
import socket
import subprocess
import time

import daemon
import taprunner
from daemon import wait_until
from e2etest import OneEnclaveTest, boot_kernel, domain_xml, libvirt, quick_xml
from test_services import ServicesTest, inbound_unix, log, outbound, with_services
from test_vsock import (CONNECTIONS, DOCUMENTATION, ECHO_MIB, MIB, MORE_THAN_BUFFERS,
                        echo_checked)
from vsockclient import COMMANDS, DISCARD, ECHO, SOURCE, STALL, receive_all, receive_line

# Ports of the parent's
PLAIN, REFUSED, LATE, IPV6, LATE_TCP = 8443, 8444, 8445, 8446, 8447
PROXY, PROXY_ALL = 3128, 3129
LOG, FLOOD = 9514, 9515
TIME = 1230

# bytes of a log and how many old ones there are, the defaults of nitro.conf
LOG_SIZE, LOG_BACKUPS = 2 * MIB, 3


def outbound_unix(port, path):
    return (f"<channel type='unix'><source mode='connect' path='{path}'/>"
            f"<target type='virtio' name='vsock.{port}'/></channel>")


def listen(host):
    listener = socket.create_server((host, 0), backlog=4096,
                                    family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.settimeout(60)
    return listener


def port_of(sock):
    return sock.getsockname()[1]


class Served(OneEnclaveTest, ServicesTest):
    """One enclave, with servers of the host's that its services lead to"""

    @classmethod
    def setUpClass(cls):
        # hundreds of connections, each a descriptor here
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
        super().setUpClass()
        # the services process is not the helper's
        cls.lasting |= cls.living().keys()

    @classmethod
    def enclave_xml(cls):
        cls.top = os.path.join(cls.daemon.dir, "run")
        cls.plain = listen("127.0.0.1")
        # have their ports, and listen to nobody; one will
        cls.refuser, cls.late_tcp = socket.socket(), socket.socket()
        for server in (cls.refuser, cls.late_tcp):
            server.bind(("127.0.0.1", 0))
        cls.late = os.path.join(cls.top, "late.sock")
        cls.logs = {port: os.path.join(cls.top, f"{port}.log") for port in (LOG, FLOOD)}
        for server in (cls.plain, cls.refuser, cls.late_tcp):
            cls.addClassCleanup(server.close)
        devices = [outbound(PLAIN, "127.0.0.1", port_of(cls.plain)),
                   outbound(REFUSED, "127.0.0.1", port_of(cls.refuser)),
                   outbound(LATE_TCP, "127.0.0.1", port_of(cls.late_tcp)),
                   outbound_unix(LATE, cls.late)]
        devices += [inbound_unix(port) for port in (COMMANDS, ECHO, SOURCE, STALL, DISCARD)]
        devices += [log(port, path) for port, path in cls.logs.items()]
        cls.ipv6 = None
        with contextlib.suppress(OSError):
            cls.ipv6 = listen("::1")
            cls.addClassCleanup(cls.ipv6.close)
            devices.append(outbound(IPV6, "::1", port_of(cls.ipv6)))
        allowed = "".join(
            f"<nitro:allow host='{host}' port='{port_of(server)}'/>"
            for host, server in (("127.0.0.1", cls.plain), ("localhost", cls.plain),
                                 ("127.0.0.1", cls.refuser)))
        xml = domain_xml("shared", boot_kernel(), devices="".join(devices))
        return with_services(
            xml.replace("debug='yes'", "debug='no'"),
            f"<nitro:proxy port='{PROXY}'>{allowed}</nitro:proxy>"
            f"<nitro:proxy port='{PROXY_ALL}'><nitro:allow host='*' port='*'/></nitro:proxy>"
            f"<nitro:time port='{TIME}'/>")

    def setUp(self):
        super().setUp()
        live = self.dom
        self.paths = {port: self.path_of(live, port)
                      for port in (COMMANDS, ECHO, SOURCE, STALL, DISCARD)}

    def ask_of(self, dom, text, count=1):
        """Gives the sample a command @count times; returns the connection for the answers."""
        conn = self.connect(self.path_of(dom, COMMANDS))
        line = text if isinstance(text, bytes) else text.encode()
        conn.sendall((line + b"\n") * count)
        return conn

    def ask(self, text, count=1):
        """The same, with the enclave of all"""
        return self.ask_of(self.dom, text, count)

    def command(self, text):
        with self.ask(text) as conn:
            return receive_line(conn)

    def accepted(self, listener):
        conn, _ = listener.accept()
        self.addCleanup(conn.close)
        conn.settimeout(60)
        return conn

    def assertAnswered(self, command, listener):
        """The enclave does @command, which sends "a question" to @listener, and gets the answer."""
        with self.ask(f"{command} a question") as asker:
            conn = self.accepted(listener)
            # all of it, and the end: the other direction is still open
            self.assertEqual(receive_all(conn), b"a question")
            conn.sendall(b"an answer")
            conn.close()
            self.assertEqual(receive_line(asker), "an answer")

    def assertEchoes(self, conn, text=b"does it work?\n"):
        conn.sendall(text)
        self.assertEqual(receive_line(conn) + "\n", text.decode())

    def from_enclave(self, role, count=1):
        """The enclave connects @count times to the host, as the service @role."""
        with self.ask(f"{role} {PLAIN}", count) as asker:
            conns = [self.accepted(self.plain) for _ in range(count)]
            for _ in range(count):
                self.assertEqual(receive_line(asker), "ok")
        return conns


class Guest(Served):
    """One boot for all of these"""

    def test_proxy(self):
        """The proxy leads to what is allowed, and to nothing else."""
        for host in ("127.0.0.1", "localhost", "LocalHost"):
            self.assertAnswered(f"fetch {PROXY} {host}:{port_of(self.plain)}", self.plain)
        before = self.stats_of(self.dom)
        refused = [(PROXY, f"127.0.0.1:{port_of(self.plain) ^ 1}"),
                   (PROXY, f"localhost:{port_of(self.refuser)}"),
                   (PROXY, "example.com:443")]
        refused += [(PROXY_ALL, f"{host}:{port_of(self.plain)}") for host in (
            "127.0.0.1", "localhost", "127.1.2.3", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
            "169.254.169.254", "[fd00:ec2::254]", "224.0.0.1", "[fe80::1]")]
        for port, where in refused:
            with self.subTest(where):
                self.assertRegex(self.command(f"fetch {port} {where} text"),
                                 r"^error: HTTP/1\.1 403 ")
        after = self.stats_of(self.dom)
        for port, count in ((PROXY, 3), (PROXY_ALL, len(refused) - 3)):
            self.assertEqual(after[port]["refused"] - before[port]["refused"], count)
            self.assertEqual(after[port]["failed"], before[port]["failed"])
        self.plain.setblocking(False)
        with self.assertRaises(BlockingIOError):
            self.plain.accept()
        self.plain.settimeout(60)

    def test_proxy_unreachable(self):
        """What is allowed and cannot be reached is another status."""
        before = self.stats_of(self.dom)[PROXY]["failed"]
        self.assertRegex(self.command(f"fetch {PROXY} 127.0.0.1:{port_of(self.refuser)} text"),
                         r"^error: HTTP/1\.1 502 ")
        self.assertEqual(self.stats_of(self.dom)[PROXY]["failed"], before + 1)

    def test_refused(self):
        """A destination that is not there closes the connection; once it is there it is reached."""
        with socket.socket(socket.AF_UNIX) as late:
            for port in (REFUSED, LATE, LATE_TCP):
                with self.subTest(port):
                    before = self.stats_of(self.dom)[port]
                    self.assertNotIn("an answer", self.command(f"send {port} text"))
                    after = self.stats_of(self.dom)[port]
                    self.assertEqual(after["failed"], before["failed"] + 1)
                    self.assertEqual(after["connections.current"], 0)
            late.bind(self.late)
            self.addCleanup(os.unlink, self.late)
            # services are another user's when root runs the tests
            os.chmod(self.late, 0o666)
            late.listen()
            late.settimeout(60)
            self.assertAnswered(f"send {LATE}", late)
        self.late_tcp.listen()
        self.late_tcp.settimeout(60)
        self.assertAnswered(f"send {LATE_TCP}", self.late_tcp)

    def test_ipv6(self):
        """A destination may have an IPv6 address."""
        if not self.ipv6:
            self.skipTest("there is no IPv6 here")
        self.assertAnswered(f"send {IPV6}", self.ipv6)

    def test_much(self):
        """Much data each way, inbound and outbound, comes as it was sent."""
        conns = [self.connect(self.paths[ECHO]), self.from_enclave("echo")[0]]
        before = self.stats_of(self.dom)
        for conn in conns:
            self.assertEqual(echo_checked(conn, ECHO_MIB * MIB), (ECHO_MIB * MIB, True))
        after = self.stats_of(self.dom)
        for port in (ECHO, PLAIN):
            for key in ("received.bytes", "sent.bytes"):
                self.assertEqual(after[port][key] - before[port][key], ECHO_MIB * MIB, (port, key))

    def test_many(self):
        """Hundreds of connections at once, each on its own"""
        conns = [self.connect(self.paths[ECHO]) for _ in range(CONNECTIONS)]
        conns += self.from_enclave("echo", count=CONNECTIONS)
        for number, conn in enumerate(conns):
            conn.sendall(f"I am number {number}\n".encode())
        for number, conn in enumerate(conns):
            self.assertEqual(receive_line(conn), f"I am number {number}")
        stats = self.stats_of(self.dom)
        for port in (ECHO, PLAIN):
            self.assertEqual(stats[port]["connections.current"], len(conns) // 2)
        # half of them end in good order, the others just go
        for number, conn in enumerate(conns):
            if number % 2:
                conn.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(conn), b"")
            conn.close()
        wait_until(lambda: all(self.stats_of(self.dom)[port]["connections.current"] == 0
                               for port in (ECHO, PLAIN)), 20, "the end of the connections")
        with self.connect(self.paths[ECHO]) as conn:
            self.assertEchoes(conn)

    def test_slow_reader(self):
        """Who does not read stops nobody else, and gets all in the end."""
        slow = [self.connect(self.paths[SOURCE]), self.from_enclave("source")[0]]
        for conn in slow:
            conn.sendall(f"{8 * MIB}\n".encode())
        time.sleep(0.5)
        for conn in (self.connect(self.paths[ECHO]), self.from_enclave("echo")[0]):
            self.assertEqual(echo_checked(conn, MORE_THAN_BUFFERS), (MORE_THAN_BUFFERS, True))
        for conn in slow:
            self.assertEqual(len(receive_all(conn)), 8 * MIB)

    def test_slow_enclave(self):
        """An enclave that does not read makes the writer wait; buffers are bounded."""
        # an enclave of its own, as the helper keeps what is not read
        dom = self.boot("stalled", outbound(PLAIN, "127.0.0.1", port_of(self.plain)) +
                        "".join(inbound_unix(port) for port in (COMMANDS, ECHO, STALL)))
        with self.ask_of(dom, f"stall {PLAIN}") as asker:
            stalled = [self.connect(self.path_of(dom, STALL)), self.accepted(self.plain)]
            self.assertEqual(receive_line(asker), "ok")
        for conn in stalled:
            conn.settimeout(2)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 16 * MIB:
                    sent += conn.send(bytes(65536))
            self.assertLess(sent, 8 * MIB)
        with self.connect(self.path_of(dom, ECHO)) as conn:
            self.assertEchoes(conn)
        dom.destroy()
        for conn in stalled:
            conn.close()

    def test_half_close(self):
        """One side ends its direction, and gets what the other sends later."""
        for conn in (self.connect(self.paths[DISCARD]), self.from_enclave("discard")[0]):
            conn.sendall(bytes(3 * MIB))
            conn.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(conn), f"{3 * MIB}\n".encode())
        self.assertAnswered(f"send {PLAIN}", self.plain)

    def read(self, port):
        """Returns the lines of the log of @port, the oldest first."""
        backups = sorted(glob.glob(glob.escape(self.logs[port]) + ".*"), reverse=True,
                         key=lambda path: int(path.rpartition(".")[2]))
        lines = []
        for path in backups + [self.logs[port]]:
            with open(path, "rb") as file:
                lines += file.read().splitlines()
        return lines

    def wait_line(self, port, pattern):
        """Waits for a line with @pattern and returns it."""
        def find():
            return next((line for line in self.read(port) if re.search(pattern, line)), None)

        return wait_until(find, 20, f"{pattern} in {self.logs[port]}")

    def test_time(self):
        """An enclave's clock that is wrong is right when it has asked."""
        with self.ask(f"clock {PLAIN}") as asker:
            conn = self.accepted(self.plain)
            self.assertEqual(receive_line(conn), "")
            conn.sendall(b"86400.000000000\n")
            self.assertRegex(receive_line(asker), r"^ok -\d+$")
        start = time.time()
        answer = self.command(f"clock {TIME}")
        self.assertRegex(answer, r"^ok \d+$")
        # it was in the second day of 1970
        self.assertAlmostEqual(int(answer[3:]) / 1e9 + 86400, start, delta=30)
        answer = self.command(f"clock {TIME}")
        self.assertRegex(answer, r"^ok -?\d+$")
        self.assertLess(abs(int(answer[3:])) / 1e9, 2)
        self.assertEqual(self.stats_of(self.dom)[TIME]["refused"], 0)

    def test_log(self):
        """Lines come with the time, and what cannot be printed is escaped."""
        self.command(b"send %d \x1b[31mred\xff \xc3\xa4\r\x07 end" % LOG)
        line = self.wait_line(LOG, rb"red")
        self.assertRegex(line, rb"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* ")
        self.assertTrue(line.endswith(b" \\x1b[31mred\\xff \xc3\xa4\\x0d\\x07 end"), line)

    def test_flood(self):
        """What is too much is dropped, counted and told; other services go on."""
        count = 3800
        text = b"flood " + b"x" * 2041
        with self.ask(b"lines %d %d %s" % (FLOOD, count, text)) as asker:
            with self.connect(self.paths[ECHO]) as conn:
                self.assertEchoes(conn)
            self.assertEqual(receive_line(asker), "ok")

        def counted():
            lost = self.stats_of(self.dom)[FLOOD]["lost"]
            written = sum(line.endswith(text) for line in self.read(FLOOD))
            return lost + written == count and lost
        lost = wait_until(counted, 30, "lines that were written and that were lost")
        self.assertGreater(lost, 0)
        told = self.wait_line(FLOOD, rb"%d lines" % lost)
        self.assertNotIn(b"flood", told)
        # the allowance comes back
        time.sleep(1)
        self.command(f"send {FLOOD} afterwards")
        self.wait_line(FLOOD, rb"afterwards$")

    def test_bounds(self):
        """A log does not grow without end, also by characters that are escaped."""
        path = self.logs[LOG]
        for _ in range(2):
            self.assertEqual(self.command(b"lines %d 800 %s" % (LOG, b"\x01" * 4000)), "ok")

        def files():
            return [path] + glob.glob(glob.escape(path) + ".*")

        wait_until(lambda: len(files()) == LOG_BACKUPS + 1, 30, "all old files")
        self.command(f"send {LOG} the last line")
        self.wait_line(LOG, rb"the last line$")
        self.assertEqual(len(files()), LOG_BACKUPS + 1)
        for file in files():
            self.assertLessEqual(os.path.getsize(file), LOG_SIZE, file)


class Recipe(ServicesTest):
    """The lines of docs/drvnitro.rst that replace an image, run as they are written"""

    # taken literally but for these
    URI, DIRECTORY = "nitro:///system", "/run/enclaves"

    def setUp(self):
        super().setUp()
        self.where = self.path("enclaves")
        os.mkdir(self.where)
        with open(DOCUMENTATION, encoding="utf-8") as text:
            section = text.read().partition("\nA new image without a gap\n")[2]
        self.lines = [line.strip() for line in section.partition("\nTCP\n")[0].splitlines()
                      if line.startswith("     ")]

    def shell(self, words):
        """Runs the one line of the documentation that has @words; returns its output."""
        found = [line for line in self.lines if words in line]
        self.assertEqual(len(found), 1, f"lines with '{words}': {found} of {self.lines}")
        script = found[0].replace(self.URI, self.daemon.url).replace(self.DIRECTORY, self.where)
        done = subprocess.run(
            self.daemon.prefix + daemon.WITH_US + ["sh", "-eu", "-c", script],
            env=self.daemon.client_env, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def define(self, name):
        devices = outbound(PLAIN, "127.0.0.1", self.echo.port) + inbound_unix(ECHO) + \
            inbound_unix(COMMANDS, os.path.join(self.where, f"{name}.sock"))
        return self.conn.defineXML(domain_xml(name, boot_kernel(), devices=devices))

    def current(self):
        return [int(count) for count in re.findall(r"current=(\d+)$", self.shell("domstats"),
                                                   re.MULTILINE)]

    def test_unix(self):
        """Clients of a link go to the new enclave; who was connected with the old one stays."""
        self.assertEqual(len(self.lines), 4, self.lines)
        link = os.path.join(self.where, "web.sock")
        first, second = self.define("web-1"), self.define("web-2")
        first.create()
        os.symlink("web-1.sock", link)
        old = self.connect(link)
        old.sendall(f"send {PLAIN} one\n".encode())
        self.assertEqual(receive_line(old), "one")

        self.shell("start web-2")
        self.shell("mv -T")
        new = self.connect(link)
        for conn, text in ((new, "two"), (old, "still")):
            conn.sendall(f"send {PLAIN} {text}\n".encode())
            self.assertEqual(receive_line(conn), text)
        self.assertEqual([self.stats_of(dom)[PLAIN]["connections.total"]
                          for dom in (first, second)], [2, 1])
        self.assertIn(1, self.current())
        old.close()
        wait_until(lambda: not any(self.current()), 20, "the end of the old connections")

        self.shell("shutdown web-1")
        wait_until(lambda: not first.isActive(), 60, "the end of the old enclave")
        new.sendall(f"send {PLAIN} three\n".encode())
        self.assertEqual(receive_line(new), "three")
        second.destroy()
        os.unlink(link)
        os.rmdir(self.where)


class Definitions(ServicesTest):
    """Services of definitions, with enclaves that nobody waits for"""

    def test_changed(self):
        """A definition that changes has its services from the next start on."""
        first, second = self.path("first.sock"), self.path("second.sock")
        dom = self.conn.defineXML(quick_xml("hello", devices=inbound_unix(ECHO, first)))
        original = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        dom.create()
        pid = self.one_pid()
        changed = quick_xml("hello", str(dom.UUIDString()),
                            devices=inbound_unix(DISCARD, second))
        dom = self.conn.defineXML(changed)
        self.assertEqual(set(self.channel_states(dom)), {f"vsock.{ECHO}"})
        self.assertIn(f"vsock.{DISCARD}", dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        self.assertEqual(self.services_pids(), [pid])
        self.assertFalse(os.path.exists(second))

        dom.destroy()
        self.assertFalse(os.path.exists(first))
        dom.create()
        self.assertEqual(set(self.channel_states(dom)), {f"vsock.{DISCARD}"})
        self.assertTrue(os.path.exists(second))
        self.assertFalse(os.path.exists(first))

        # so it is with a reboot
        dom = self.conn.defineXML(original)
        dom.reboot()
        self.assertEqual(set(self.channel_states(dom)), {f"vsock.{ECHO}"})
        self.assertTrue(os.path.exists(first))
        self.assertFalse(os.path.exists(second))

        # one that runs on without a definition keeps its services
        dom.undefine()
        self.assertEqual(len(self.services_pids()), 1)
        self.assertTrue(os.path.exists(first))
        dom.destroy()
        self.assertEqual(self.services_pids(), [])
        self.assertFalse(os.path.exists(first))

    def test_live(self):
        """Services of a running domain do not change."""
        dom = self.conn.createXML(quick_xml("hello", devices=inbound_unix(ECHO)), 0)
        before = dom.XMLDesc(0)
        for call in (dom.attachDeviceFlags, dom.detachDeviceFlags):
            with self.refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED):
                call(inbound_unix(DISCARD), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.assertEqual(dom.XMLDesc(0), before)

    def test_read_only(self):
        """A read-only connection gets no way into the enclave."""
        self.conn.createXML(quick_xml("hello", devices=inbound_unix(ECHO)), 0)
        conn = libvirt.openReadOnly(self.daemon.uri)
        self.addCleanup(conn.close)
        dom = conn.lookupByName("hello")
        with self.refused(libvirt.VIR_ERR_OPERATION_DENIED):
            dom.openChannel(f"vsock.{ECHO}", self.conn.newStream())


if __name__ == "__main__":
    taprunner.main()
