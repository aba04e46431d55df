#
# test_services.py: the vsock services of enclaves, with real guests and on the mocked device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon's part: services start with an enclave, follow it, are mended, and leave nothing behind. The
guest is the sample (examples/hello/services.h tells what it serves) on the emulated machine, and the
mock's on the device. Commands reach the sample through an inbound service, as any client's would.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import xml.etree.ElementTree as ElementTree

import daemon
import hostilehelper
import nitrodevmock
import nitrodevmock_guest
import taprunner
import tinyguest
from daemon import AS_MEMBER, AS_OUTSIDER, DAEMON, HELPER_ID, HELPER_USER, wait_until
from e2etest import (BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED, EnclaveTest, boot_kernel,
                     domain_xml, libvirt, quick_xml)
from vsockclient import COMMANDS, ECHO, receive_all, receive_line

PROGRAM = "libvirt_nitro_services"

CONNECTED = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
DISCONNECTED = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED
CHANNEL = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL

PAGES = 64  # huge pages of 2 MiB: an enclave on the device


def outbound(port, host, service):
    return (f"<channel type='tcp'><source mode='connect' host='{host}' service='{service}'/>"
            f"<target type='virtio' name='vsock.{port}'/></channel>")


def inbound_tcp(port, host, service):
    return (f"<channel type='tcp'><source mode='bind' host='{host}' service='{service}'/>"
            f"<target type='virtio' name='vsock.{port}'/></channel>")


def inbound_unix(port, path=None, label=None):
    where = f" path='{path}'" if path else ""
    inside = (f"<seclabel model='dac' relabel='yes'><label>{label}</label></seclabel>"
              if label else "")
    return (f"<channel type='unix'><source mode='bind'{where}>{inside}</source>"
            f"<target type='virtio' name='vsock.{port}'/></channel>")


def log(port, path):
    return (f"<channel type='file'><source path='{path}'/>"
            f"<target type='virtio' name='vsock.{port}'/></channel>")


def with_services(xml, services):
    """The definition @xml with the elements @services in <nitro:services>"""
    return xml.replace("</domain>", f"<nitro:services>{services}</nitro:services></domain>")


class EchoServer:
    """A TCP server of the host's that sends back what it gets"""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    @staticmethod
    def _serve(conn):
        with conn, contextlib.suppress(OSError):
            while data := conn.recv(65536):
                conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)

    def close(self):
        # wakes the thread
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class AgentEvents:
    """Records the agent's lifecycle events of a connection: (name of the domain, state, reason)."""

    def __init__(self, conn):
        self.conn = conn
        self.seen = []
        self.id = conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._note, None)

    def _note(self, conn, dom, state, reason, opaque):
        self.seen.append((dom.name(), state, reason))

    def wait(self, *wanted):
        wait_until(lambda: wanted in self.seen, 20, f"event {wanted}, not {self.seen}")

    def stop(self):
        with contextlib.suppress(libvirt.libvirtError):
            self.conn.domainEventDeregisterAny(self.id)


class ServicesTest(EnclaveTest):
    """What the tests share"""

    seconds = 400  # some boot two enclaves, and emulation is slow

    def setUp(self):
        super().setUp()
        self.echo = EchoServer()
        self.addCleanup(self.echo.close)
        self.agent = AgentEvents(self.conn)
        self.addCleanup(self.agent.stop)

    def services_pids(self):
        """The PIDs of services processes"""
        found = []
        for pid in self.processes.descendants():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if cmdline.read().split(b"\0")[0].endswith(PROGRAM.encode()):
                        found.append(pid)
        return found

    def one_pid(self):
        return wait_until(lambda: (self.services_pids() or [None])[0], 20, "a services process")

    def stats_of(self, dom):
        """The statistics of the services of @dom: a dictionary for each, by its port"""
        params = self.conn.domainListGetStats([dom], libvirt.VIR_DOMAIN_STATS_STATE)[0][1]
        found = {}
        for number in range(params.get("nitro.service.count", 0)):
            prefix = f"nitro.service.{number}."
            one = {key[len(prefix):]: value for key, value in params.items()
                   if key.startswith(prefix)}
            found[one["port"]] = one
        return found

    @staticmethod
    def channel_states(dom):
        return {target.get("name"): target.get("state") for target in
                ElementTree.fromstring(dom.XMLDesc(0)).findall("devices/channel/target")}

    @staticmethod
    def path_of(dom, port):
        """The path of the UNIX socket of the inbound service @port of @dom"""
        for channel in ElementTree.fromstring(dom.XMLDesc(0)).findall("devices/channel"):
            if channel.find("target").get("name") == f"vsock.{port}":
                return channel.find("source").get("path")
        raise AssertionError(f"no channel with port {port}")

    def connect(self, path):
        conn = socket.socket(socket.AF_UNIX)
        self.addCleanup(conn.close)
        conn.settimeout(60)
        conn.connect(path)
        return conn

    def boot(self, name, devices, services=None, *words):
        xml = domain_xml(name, boot_kernel(*words), devices=devices)
        if services:
            xml = with_services(xml, services)
        return self.conn.createXML(xml, 0)

    def order(self, dom, text):
        """Gives the sample the command @text; returns its answer."""
        conn = self.connect(self.path_of(dom, COMMANDS))
        conn.sendall(text.encode() + b"\n")
        answer = receive_line(conn)
        conn.close()
        return answer

    def wait_working(self, dom):
        wait_until(lambda: set(self.channel_states(dom).values()) == {"connected"}, 20,
                   "channels that are connected")

    def messages(self, dom):
        return "\n".join(dom.messages())


class Emulated(ServicesTest):
    """The emulated machine, with the sample"""

    def assertWorks(self, dom):
        """The services COMMANDS (inbound) and 8443 (outbound) of @dom work."""
        self.assertEqual(self.order(dom, "send 8443 there-and-back"), "there-and-back")

    def test_services(self):
        """Outbound, inbound in all ways, and a log; counted, and gone with the enclave"""
        path = os.path.join(self.daemon.dir, "run", "in.sock")
        file = os.path.join(self.daemon.dir, "run", "service.log")
        port = daemon.free_port("127.0.0.1")
        dom = self.boot("hello", outbound(8443, "127.0.0.1", self.echo.port) +
                        inbound_unix(COMMANDS) + inbound_unix(ECHO, path) +
                        inbound_tcp(9, "127.0.0.1", port) + log(9514, file))
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        self.assertEqual(set(self.channel_states(dom).values()), {"connected"})
        self.assertEqual(len(self.services_pids()), 1)
        self.assertWorks(dom)

        with self.connect(path) as conn:
            conn.sendall(b"echo\n")
            self.assertEqual(receive_line(conn), "echo")
        with socket.create_connection(("127.0.0.1", port), 60) as conn:
            conn.sendall(b"discarded")
            conn.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(conn), b"9\n")
        self.order(dom, "send 9514 a-line-of-the-enclave")

        def logged():
            with open(file, encoding="utf-8") as text:
                return "a-line-of-the-enclave" in text.read()
        wait_until(logged, 20, "the line in the log")

        stats = self.stats_of(dom)
        self.assertEqual(set(stats), {8443, COMMANDS, ECHO, 9, 9514})
        self.assertEqual((stats[8443]["type"], stats[8443]["connections.total"]), ("outbound", 1))
        self.assertEqual(stats[8443]["received.bytes"], len("there-and-back"))
        self.assertEqual(stats[8443]["sent.bytes"], len("there-and-back"))
        self.assertEqual((stats[9514]["type"], stats[9514]["lost"]), ("log", 0))
        self.assertEqual(stats[ECHO]["type"], "inbound")

        dom.destroy()
        self.assertEqual(self.services_pids(), [])
        self.assertFalse(os.path.exists(path))
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5).close()

    def test_open_channel(self):
        """virDomainOpenChannel() leads to a port of the enclave."""
        dom = self.boot("hello", inbound_unix(ECHO) + log(9514, os.path.join(self.daemon.dir,
                                                                             "run", "x.log")))
        for name in (f"vsock.{ECHO}", "channel0", None):
            stream = self.conn.newStream()
            dom.openChannel(name, stream)
            stream.send(b"hello\n")
            got = b""
            while len(got) < 6:
                got += stream.recv(6)
            self.assertEqual(got, b"hello\n")
            stream.abort()
        for name, code in (("vsock.1", libvirt.VIR_ERR_INVALID_ARG),
                           ("vsock.9514", libvirt.VIR_ERR_OPERATION_UNSUPPORTED)):
            with self.refused(code, name):
                dom.openChannel(name, self.conn.newStream())

    def test_killed(self):
        """A services process that is killed is started again; the enclave runs on."""
        dom = self.boot("hello", outbound(8443, "127.0.0.1", self.echo.port) +
                        inbound_unix(COMMANDS))
        before = self.one_pid()
        os.kill(before, signal.SIGKILL)
        self.agent.wait("hello", DISCONNECTED, CHANNEL)
        self.agent.wait("hello", CONNECTED, CHANNEL)
        self.wait_working(dom)
        self.assertNotEqual(self.one_pid(), before)
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        self.assertWorks(dom)
        self.assertNotIn("services are down", self.messages(dom))

    def test_daemon_restarted(self):
        """Services outlive the daemon; connections live on, and the next daemon finds them."""
        dom = self.boot("hello", outbound(8443, "127.0.0.1", self.echo.port) +
                        inbound_unix(COMMANDS) + inbound_unix(ECHO))
        pid = self.one_pid()
        conn = self.connect(self.path_of(dom, ECHO))
        self.daemon.kill()
        conn.sendall(b"alive\n")
        self.assertEqual(receive_line(conn), "alive")

        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("hello")
        self.wait_working(dom)
        wait_until(lambda: self.stats_of(dom), 20, "statistics of services")
        self.assertEqual(self.services_pids(), [pid])
        conn.sendall(b"still\n")
        self.assertEqual(receive_line(conn), "still")
        self.assertWorks(dom)
        dom.destroy()

    def test_killed_without_daemon(self):
        """What has ended while there was no daemon is started again by the next one."""
        dom = self.boot("hello", outbound(8443, "127.0.0.1", self.echo.port) +
                        inbound_unix(COMMANDS))
        pid = self.one_pid()
        self.daemon.kill()
        os.kill(pid, signal.SIGKILL)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("hello")
        self.wait_working(dom)
        self.assertNotEqual(self.one_pid(), pid)
        self.assertWorks(dom)
        dom.destroy()

    def test_ended_without_daemon(self):
        """Services end with their enclave, also when there is no daemon."""
        dom = self.boot("hello", inbound_unix(COMMANDS))
        path = self.path_of(dom, COMMANDS)
        self.daemon.kill()
        conn = self.connect(path)
        conn.sendall(b"poweroff\n")
        wait_until(lambda: not self.services_pids(), 60, "the end of the services")
        conn.close()
        self.daemon.start()
        self.reconnect()

    def test_down(self):
        """Channels of services that cannot be started again are disconnected until they can be."""
        stop = os.path.join(self.daemon.dir, "run", "stop")
        self.daemon.wrap(daemon.SERVICES, f"test ! -e {stop} || exit 1")
        self.daemon.restart()
        self.reconnect()
        try:
            dom = self.conn.createXML(quick_xml("down", devices=inbound_unix(ECHO)), 0)
            self.wait_working(dom)
            with open(stop, "w", encoding="ascii"):
                os.kill(self.one_pid(), signal.SIGKILL)
            wait_until(lambda: self.channel_states(dom) == {f"vsock.{ECHO}": "disconnected"}, 20,
                       "a channel that is disconnected")
            self.assertIn("services are down", self.messages(dom))
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, f"vsock.{ECHO}", "try again"):
                dom.openChannel(f"vsock.{ECHO}", self.conn.newStream())
            os.unlink(stop)
            wait_until(lambda: self.channel_states(dom) == {f"vsock.{ECHO}": "connected"}, 60,
                       "a channel that is connected again")
            self.assertNotIn("services are down", self.messages(dom))
            dom.destroy()
        finally:
            self.daemon.daemon_env.pop("LIBVIRT_NITRO_HELPER_DIR")
            self.daemon.restart()
            self.reconnect()

    def test_autostart(self):
        """A domain that comes up with the host's first daemon has its services."""
        path = os.path.join(self.daemon.dir, "run", "auto.sock")
        dom = self.conn.defineXML(domain_xml("auto", boot_kernel(), devices=(
            outbound(8443, "127.0.0.1", self.echo.port) + inbound_unix(COMMANDS, path))))
        dom.setAutostart(1)
        # what a boot of the host does
        self.daemon.stop()
        shutil.rmtree(os.path.join(self.daemon.state_dir, "nitro"))
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("auto")
        self.wait_state(dom, RUNNING, BOOTED, seconds=60)
        self.wait_working(dom)
        self.assertWorks(dom)
        dom.destroy()
        self.assertFalse(os.path.exists(path))
        dom.undefine()

    def test_port_in_use(self):
        """A start that cannot have an address says so, and leaves nothing."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "127.0.0.1", str(port), "service 7 "):
                self.boot("hello", inbound_tcp(ECHO, "127.0.0.1", port))
        self.assertEqual(self.conn.listAllDomains(), [])
        self.assertEqual(self.services_pids(), [])

    def test_port_name(self):
        """A start with the name of a port that there is not says so, and leaves nothing."""
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "service 8443 ", "'no-such-port'"):
            self.conn.createXML(quick_xml("hello", devices=outbound(8443, "127.0.0.1",
                                                                    "no-such-port")), 0)
        self.assertEqual(self.conn.listAllDomains(), [])
        self.assertEqual(self.services_pids(), [])

    def test_socket_shared(self):
        """Two domains cannot have the same socket; nobody's socket is removed."""
        path = os.path.join(self.daemon.dir, "run", "shared.sock")
        dom = self.conn.createXML(quick_xml("first", devices=inbound_unix(ECHO, path)), 0)
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, path):
            self.conn.createXML(quick_xml("second", devices=inbound_unix(ECHO, path)), 0)
        self.assertTrue(os.path.exists(path))
        dom.destroy()
        self.assertFalse(os.path.exists(path))

    def test_file_shared(self):
        """Two domains cannot write to the same log, nor a service to the console's file."""
        file = os.path.join(self.daemon.dir, "run", "shared.log")
        dom = self.conn.createXML(quick_xml("first", devices=log(9514, file)), 0)
        console = f"<console type='file'><source path='{file}'/></console>"
        for devices in (log(9514, file), console):
            with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, file, "'first'"):
                self.conn.createXML(quick_xml("second", devices=devices), 0)
        dom.destroy()

    def test_program_missing(self):
        """A start without the program fails, and leaves nothing."""
        self.daemon.wrap(daemon.SERVICES, "exit 1")
        self.daemon.restart()
        self.reconnect()
        try:
            with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "services", "hello"):
                self.boot("hello", inbound_unix(COMMANDS))
            self.assertEqual(self.conn.listAllDomains(), [])
        finally:
            self.daemon.daemon_env.pop("LIBVIRT_NITRO_HELPER_DIR")
            self.daemon.restart()
            self.reconnect()

    def test_exit_code(self):
        """An enclave that has told a code other than 0 before it ended has crashed."""
        for code, event in ((3, CRASHED), (0, SHUTDOWN)):
            with self.subTest(code):
                name = f"code{code}"
                dom = self.boot(name, inbound_unix(COMMANDS), "<nitro:exit port='9001'/>")
                self.order(dom, f"send 9001 {code}")
                wait_until(lambda: self.stats_of(dom)[9001].get("code") == code, 20, "the code")
                conn = self.connect(self.path_of(dom, COMMANDS))
                conn.sendall(b"poweroff\n")
                self.events.check(name, [STARTED, event], seconds=60)
                conn.close()

    def test_health_lost(self):
        """An enclave whose health is lost has crashed."""
        self.boot("ill", inbound_unix(COMMANDS),
                  "<nitro:health port='4321' interval='1' failures='2'/>")
        self.agent.wait("ill", DISCONNECTED, CHANNEL)
        self.events.check("ill", [STARTED, CRASHED], seconds=60)

    def test_rebooted(self):
        """A reboot gives the enclave new services."""
        self.conn.defineXML(domain_xml("hello", boot_kernel(), devices=(
            outbound(8443, "127.0.0.1", self.echo.port) + inbound_unix(COMMANDS))))
        dom = self.conn.lookupByName("hello")
        dom.create()
        before = self.one_pid()
        dom.reboot()
        self.assertNotEqual(self.one_pid(), before)
        self.assertWorks(dom)
        dom.destroy()
        self.assertIsNone(self.channel_states(dom)["vsock.8443"])


class Device(ServicesTest):
    """The device, which is mocked"""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        pages = nitrodevmock.HugePages(PAGES)
        cls.enterClassContext(pages)
        cls.mock = cls.enterClassContext(nitrodevmock.NitroMock(cpus=8, pool="1-3,5-7"))
        super().setUpClass()

    @classmethod
    def daemon_environment(cls):
        return cls.mock.environment(DAEMON)

    @classmethod
    def warm_up(cls):
        cls.kernel = os.path.join(cls.daemon.dir, "kernel")
        with open(cls.kernel, "wb") as kernel:
            kernel.write(tinyguest.kernel(b""))
        cls.vsock = nitrodevmock_guest.Vsock(cls.mock.dir, {}, None)
        cls.vsock.ports = iter(range(5000, 9000))

    @classmethod
    def living(cls):
        return {pid: name for pid, name in super().living().items()
                if pid != cls.mock.process.pid}

    def create(self, name, devices):
        boot = f"<kernel>{self.kernel}</kernel>"
        xml = domain_xml(name, boot, machine="nitro", memory="64", vcpu="<vcpu>2</vcpu>",
                         devices=devices).replace("debug='yes'", "debug='no'")
        return self.conn.createXML(xml, 0)

    @staticmethod
    def cid_of(dom):
        cid = ElementTree.fromstring(dom.XMLDesc(0)).find("devices/vsock/cid")
        return int(cid.get("address"))

    def send(self, dom, port, text):
        """The enclave of @dom sends @text to @port of its parent; returns what comes back."""
        with self.vsock.dial(self.cid_of(dom), port) as conn:
            conn.settimeout(60)
            conn.sendall(text)
            conn.shutdown(socket.SHUT_WR)
            return receive_all(conn)

    def test_outbound(self):
        """Two enclaves have the same port, each for itself; a killed process comes back."""
        other = EchoServer()
        self.addCleanup(other.close)
        first = self.create("first", outbound(8443, "127.0.0.1", self.echo.port))
        second = self.create("second", outbound(8443, "127.0.0.1", other.port))
        for dom in (first, second):
            self.assertEqual(self.send(dom, 8443, b"there and back"), b"there and back")
            self.assertEqual(self.stats_of(dom)[8443]["connections.total"], 1)

        for pid in self.services_pids():
            os.kill(pid, signal.SIGKILL)
        for name in ("first", "second"):
            self.agent.wait(name, CONNECTED, CHANNEL)
        for dom in (first, second):
            self.assertEqual(self.send(dom, 8443, b"again"), b"again")

    def liar(self, cid):
        """The path of a helper that claims that its enclave has this @cid"""
        directory = tempfile.mkdtemp(prefix="nitro-liar-")
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        os.chmod(shutil.copy(hostilehelper.__file__, directory), 0o644)
        path = os.path.join(directory, "libvirt_nitro")
        with open(path, "w", encoding="utf-8") as script:
            script.write("#!/usr/bin/python3 -B\nimport hostilehelper\n"
                         f"helper = hostilehelper.Helper()\nhelper.cid = {cid}\n"
                         "helper.boot()\nhelper.serve()\n")
        os.chmod(path, 0o755)
        return path

    def test_helper_that_lies(self):
        """One that claims another enclave's CID gets none of its connections."""
        other = EchoServer()
        self.addCleanup(other.close)
        dom = self.create("victim", outbound(8443, "127.0.0.1", self.echo.port))
        devices = (f"<emulator>{self.liar(self.cid_of(dom))}</emulator>" +
                   outbound(8443, "127.0.0.1", other.port))
        for number in (1, 2):
            with self.assertRaisesRegex(libvirt.libvirtError, "in use by .* 'victim'"):
                self.create("liar", devices)
            self.assertEqual(self.send(dom, 8443, b"mine"), b"mine")
            self.assertEqual(self.stats_of(dom)[8443]["connections.total"], number)
            # nor does it with a daemon that has found both
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("victim")
            self.wait_working(dom)
        dom.destroy()
        # when it is over the CID is anybody's
        self.create("liar", devices).destroy()

    def broker_pid(self):
        for pid in self.processes.descendants():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if b"--broker" in cmdline.read().split(b"\0"):
                        return pid
        return None

    def test_broker_killed(self):
        """The ports of the host's vsock come back; who is connected stays so."""
        dom = self.create("hello", outbound(8443, "127.0.0.1", self.echo.port))
        cid = self.cid_of(dom)
        with self.vsock.dial(cid, 8443) as conn:
            conn.settimeout(60)
            conn.sendall(b"before")
            self.assertEqual(conn.recv(6), b"before")
            broker = self.broker_pid()
            os.kill(broker, signal.SIGKILL)
            self.agent.wait("hello", DISCONNECTED, CHANNEL)
            self.agent.wait("hello", CONNECTED, CHANNEL)
            self.assertNotIn(self.broker_pid(), (None, broker))
            self.assertEqual(self.send(dom, 8443, b"after"), b"after")
            conn.sendall(b"still")
            self.assertEqual(conn.recv(5), b"still")
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        self.assertEqual(self.stats_of(dom)[8443]["connections.total"], 2)

    def reaches(self, prefix, path):
        """Whether a program that is run with @prefix can connect to the socket @path"""
        done = subprocess.run([*prefix, "socat", "-u", "OPEN:/dev/null", f"UNIX-CONNECT:{path}"],
                              capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            self.assertIn("Permission denied", done.stderr)
        return done.returncode == 0

    def test_socket_label(self):
        """A socket is whose the definition says, by name or number, and nobody else's."""
        path = "/run/label.sock"
        for label, owner in ((f"root:{HELPER_USER}", (0, HELPER_ID)),
                             (f"+{HELPER_ID}:+{HELPER_ID}", (HELPER_ID, HELPER_ID)),
                             (None, (0, 0))):
            with self.subTest(label):
                dom = self.create("label", inbound_unix(ECHO, path, label))
                found = os.stat(path)
                self.assertEqual((found.st_uid, found.st_gid), owner)
                self.assertEqual(stat.S_IMODE(found.st_mode) & 0o007, 0)
                self.assertEqual(self.reaches(AS_MEMBER, path), label is not None)
                self.assertFalse(self.reaches(AS_OUTSIDER, path))
                dom.destroy()
                self.assertFalse(os.path.exists(path))
        with self.refused((libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_OPERATION_FAILED),
                          "no-such-group"):
            self.create("label", inbound_unix(ECHO, path, "root:no-such-group"))
        self.assertFalse(os.path.exists(path))

    def test_port_in_use(self):
        """A port of the host's vsock that another program has fails the start."""
        path = os.path.join(self.mock.dir, "vsock", "8443")
        with socket.socket(socket.AF_UNIX) as taken:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            taken.bind(path)
            taken.listen()
            try:
                with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "vsock port 8443"):
                    self.create("refused", outbound(8443, "127.0.0.1", self.echo.port))
            finally:
                os.unlink(path)
        self.assertEqual(self.conn.listAllDomains(), [])


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
