#
# test_device.py: domains on the device of the Nitro Hypervisor, which is mocked
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon, its helpers and the heartbeat broker run under tests/nitrodevmock: device, CPU
pool and vsock are the mock's, the huge pages are real. What an enclave does is told by the
words mock.NAME=VALUE of its kernel command line (nitrodevmock_guest.SCRIPT).
"""

import contextlib
import itertools
import os
import re
import signal
import socket
import time
import xml.etree.ElementTree as ElementTree

import daemon
import nitrodevmock
import nitrodevmock_guest
import taprunner
import tinyguest
from daemon import DAEMON, HELLO_BANNER, HELLO_EIF, wait_until
from e2etest import (BOOTED, CRASHED, RUNNING, SHUTDOWN, SHUTOFF, STARTED, Background,
                     EnclaveTest, StreamConsole, boot_image, domain_xml, libvirt)

PORT = 9000
PAGES = 160  # huge pages of 2 MiB: four small enclaves, or a sample
GRACE = 2    # seconds until the broker ends, BROKER_GRACE_MS

STARTING_UP = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP]


class DeviceTest(EnclaveTest):
    """The mock is the same for all tests of a class."""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        pages = nitrodevmock.HugePages(PAGES)
        cls.enterClassContext(pages)
        cls.mock = cls.enterClassContext(nitrodevmock.NitroMock(cpus=16, pool="1-7,9-15"))
        cls.vsock = nitrodevmock_guest.Vsock(cls.mock.dir, {}, None)
        cls.vsock.ports = itertools.count(5000)  # the mock's own guests have others
        super().setUpClass()

    @classmethod
    def daemon_environment(cls):
        return cls.mock.environment(DAEMON)

    @classmethod
    def warm_up(cls):
        cls.kernel = os.path.join(cls.daemon.dir, "kernel")
        with open(cls.kernel, "wb") as kernel:
            kernel.write(tinyguest.native_kernel(b""))
        conn = libvirt.open(cls.daemon.uri)
        conn.createXML(cls.xml("warm-up"), 0).destroy()
        conn.close()
        wait_until(lambda: not cls.brokers(), 20, "the end of the broker")

    @classmethod
    def xml(cls, name, *words, timeout=None, debug="no", **more):
        """The domain @name, whose enclave does as @words say."""
        boot = (f"<kernel>{cls.kernel}</kernel>"
                f"<cmdline>{' '.join(f'mock.{word}' for word in words)}</cmdline>")
        defaults = {"boot": boot, "machine": "nitro", "memory": "64", "vcpu": "<vcpu>2</vcpu>"}
        text = domain_xml(name, **{**defaults, **more})
        text = text.replace("debug='yes'", f"debug='{debug}'")
        if timeout:
            text = text.replace("heartbeat enabled='yes'",
                                f"heartbeat enabled='yes' timeout='{timeout}'")
        return text

    @classmethod
    def living(cls):
        return {pid: name for pid, name in super().living().items()
                if pid != cls.mock.process.pid}

    @classmethod
    def brokers(cls):
        """The PIDs of the heartbeat brokers."""
        found = []
        for pid in cls.processes.descendants():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if b"--broker" in cmdline.read().split(b"\0"):
                        found.append(pid)
        return found

    def check_nothing_left(self):
        super().check_nothing_left()
        self.assertEqual(self.mock.enclaves(), [])

    def wait_enclaves(self, count):
        """Waits until so many enclaves have been started, booted or not; returns their CIDs."""
        def started():
            cids = [enclave["cid"] for enclave in self.mock.enclaves() if enclave["cid"]]
            return cids if len(cids) == count else None
        return wait_until(started, 60, f"{count} started enclaves")

    def beat(self, cid):
        """Sends the heartbeat of an enclave that does not (heartbeat=never)."""
        with self.vsock.dial(cid, PORT) as sock:
            sock.settimeout(60)
            sock.sendall(b"\xb7")
            self.assertEqual(sock.recv(1), b"\xb7")

    @staticmethod
    def cid_of(dom):
        cid = ElementTree.fromstring(dom.XMLDesc(0)).find("devices/vsock/cid")
        return int(cid.get("address"))

    def create(self, name, *words, **more):
        return self.conn.createXML(self.xml(name, *words, **more), 0)

    def begin(self, name, *words, **more):
        """Returns create() in the background."""
        return Background(self.conn.createXML, self.xml(name, *words, **more), 0)

    def refuse_start(self, code, *texts, name="refused", words=(), **more):
        """The start fails; nothing is left of the domain."""
        with self.refused(code, *texts):
            self.create(name, *words, **more)
        self.assertEqual(self.conn.listAllDomains(), [])
        self.assertNotIn(STARTED, self.events.of(name))

    @contextlib.contextmanager
    def port_in_use(self):
        """Another program listens at the heartbeat's port."""
        path = os.path.join(self.mock.dir, "vsock", str(PORT))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            yield


class Heartbeat(DeviceTest):

    def test_four_at_once(self):
        """one broker, each start gets its own heartbeat"""
        names = [f"quad{n}" for n in range(4)]
        creations = [self.begin(name, "heartbeat=never") for name in names]
        cids = self.wait_enclaves(4)
        self.assertEqual(len(set(cids)), 4)
        self.assertEqual(len(self.brokers()), 1)
        beats = [Background(self.beat, cid) for cid in cids]
        for beat in beats:
            beat.result()
        domains = [creation.result() for creation in creations]
        for name, dom in zip(names, domains):
            self.assertState(dom, RUNNING, BOOTED)
            self.events.check(name, [STARTED])
        self.assertEqual(sorted(cids), sorted(self.cid_of(dom) for dom in domains))
        # Port and broker are gone, and enclaves run on.
        wait_until(lambda: not self.brokers(), 20, "the end of the broker")
        for dom in domains:
            self.assertState(dom, RUNNING, BOOTED)
            dom.destroy()

    def test_good_and_bad_at_once(self):
        """one that fails does not disturb the others"""
        kinds = {"good": (), "wrong": ("heartbeat=wrong",), "late": ("heartbeat_ms=1500",),
                 "mute": ("heartbeat=never", "exit_ms=1000")}
        creations = {name: self.begin(name, *words)
                     for name, words in kinds.items()}
        for name in ("good", "late"):
            self.assertState(creations[name].result(), RUNNING, BOOTED)
        for name in ("wrong", "mute"):
            self.assertRaises(libvirt.libvirtError, creations[name].result)

    def test_at_once(self):
        """the heartbeat is there before NE_START_ENCLAVE has told the CID"""
        self.mock.configure(guests=[{"before_start": True}])
        self.addCleanup(self.mock.configure, guests=[])
        self.assertState(self.create("early"), RUNNING, BOOTED)

    def test_wrong(self):
        self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED, "0x01", "0xb7", PORT,
                          words=["heartbeat=wrong"])

    def test_closed(self):
        # What is gone before the CID is known can be of an enclave of the past.
        self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED, "without sending a byte",
                          words=["heartbeat=close", "byte_ms=2000"])

    def test_never(self):
        begin = time.monotonic()
        self.refuse_start(libvirt.VIR_ERR_OPERATION_TIMEOUT, "2 seconds",
                          words=["heartbeat=never"], timeout=2)
        self.assertGreater(time.monotonic() - begin, 2)

    def test_ends_before(self):
        self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED, "before it had booted",
                          words=["heartbeat=never", "exit_ms=300"])

    def test_late(self):
        """the start waits, and others see the domain starting up"""
        creation = self.begin("late", "heartbeat=never")
        [cid] = self.wait_enclaves(1)
        dom = self.conn.lookupByName("late")
        self.assertEqual(dom.state(), STARTING_UP)
        self.beat(cid)
        creation.result()
        self.assertState(dom, RUNNING, BOOTED)

    def test_destroyed_while_it_is_awaited(self):
        creation = self.begin("short", "heartbeat=never")
        self.wait_enclaves(1)
        self.conn.lookupByName("short").destroy()
        with self.refused(libvirt.VIR_ERR_OPERATION_ABORTED, "destroyed"):
            creation.result()

    def test_disabled(self):
        """no heartbeat, no broker"""
        with self.port_in_use():
            dom = self.create("deaf", "heartbeat=never", heartbeat="no")
            self.assertState(dom, RUNNING, BOOTED)
            self.assertEqual(self.brokers(), [])
        dom.destroy()


class Broker(DeviceTest):

    def test_port_busy_then_free(self):
        """the start waits for the port, and starts nothing before"""
        with self.port_in_use():
            creation = self.begin("patient")
            wait_until(self.brokers, 60, "the broker")
            wait_until(lambda: "NE_ADD_VCPU" in " ".join(self.mock.transcript()[-3:]), 60,
                       "an enclave that could be started")
            time.sleep(1)
            self.assertEqual([e["cid"] for e in self.mock.enclaves()], [None])
        self.assertState(creation.result(), RUNNING, BOOTED)

    def test_port_busy(self):
        begin = time.monotonic()
        with self.port_in_use():
            self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED, f"Port {PORT}", "nitro-cli",
                              "2 seconds", timeout=2)
        self.assertGreater(time.monotonic() - begin, 2)

    def test_no_vsock(self):
        self.mock.fault("vsock-bind", errno="EAFNOSUPPORT", times=1)
        self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED, f"Port {PORT}", "vsock")

    def test_killed(self):
        """starts fail with a sentence, the next one has a new broker, enclaves run on"""
        running = self.create("running")
        creations = [self.begin(f"waits{n}", "heartbeat=never") for n in range(2)]
        self.wait_enclaves(3)
        os.kill(self.brokers()[0], signal.SIGKILL)
        for creation in creations:
            with self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, "heartbeat broker", "again"):
                creation.result()
        self.assertState(self.create("next"), RUNNING, BOOTED)
        self.assertState(running, RUNNING, BOOTED)

    def test_ends_and_comes_again(self):
        """a start finds a broker that runs, ends, or has ended"""
        self.create("first").destroy()
        for pause in (0, GRACE - 0.2, GRACE - 0.1, GRACE - 0.05, GRACE, GRACE + 0.05):
            time.sleep(pause)
            dom = self.create("again")
            self.assertState(dom, RUNNING, BOOTED)
            dom.destroy()

    def test_cannot_run(self):
        """the error names the socket"""
        sock = os.path.join(self.daemon.state_dir, "nitro", "broker.sock")
        wait_until(lambda: not self.brokers(), 20, "the end of the broker")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sock)
        os.mkdir(sock)
        self.addCleanup(os.rmdir, sock)
        self.refuse_start(libvirt.VIR_ERR_SYSTEM_ERROR, sock)

    def test_silent(self):
        """while the broker does not greet, the domain can be looked at and destroyed"""
        path = os.path.join(self.daemon.state_dir, "nitro", "broker.sock")
        wait_until(lambda: not self.brokers(), 20, "the end of the broker")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX) as broker:
            broker.bind(path)
            self.addCleanup(os.unlink, path)
            broker.listen()
            creation = self.begin("waits")
            conn = broker.accept()[0]
            begin = time.monotonic()
            dom = self.conn.lookupByName("waits")
            self.assertEqual(dom.state(), STARTING_UP)
            dom.destroy()
            self.assertLess(time.monotonic() - begin, 5)
            self.assertEqual(self.conn.listAllDomains(), [])
        conn.close()
        with self.refused(libvirt.VIR_ERR_OPERATION_ABORTED, "was destroyed while it started"):
            creation.result()

    def test_left_by_a_killed_broker(self):
        """its socket is there, but nobody listens"""
        creation = self.begin("gone", "heartbeat=never")
        self.wait_enclaves(1)
        os.kill(self.brokers()[0], signal.SIGKILL)
        self.assertRaises(libvirt.libvirtError, creation.result)
        self.assertTrue(os.path.exists(os.path.join(self.daemon.state_dir, "nitro",
                                                    "broker.sock")))
        self.assertState(self.create("next"), RUNNING, BOOTED)


class Refused(DeviceTest):
    """Errors that the kernel's driver never returns: the hypervisor's, not the user's or ours"""

    CASES = [
        ("NE_CREATE_VM", "EPERM", "Operation not permitted", "4 enclaves at most"),
        ("NE_CREATE_VM", "EIO", "Input/output error", "4 enclaves at most"),
        ("NE_GET_IMAGE_LOAD_INFO", "EACCES", "Permission denied", "try again"),
        ("NE_SET_USER_MEMORY_REGION", "EIO", "Input/output error", "65536 KiB"),
        ("NE_SET_USER_MEMORY_REGION", "EINVAL", "Invalid argument", "65536 KiB"),
        ("NE_ADD_VCPU", "EAGAIN", "Resource temporarily unavailable", "a CPU of the pool"),
        ("NE_START_ENCLAVE", "EEXIST", "File exists", "choose another CID"),
        ("NE_START_ENCLAVE", "EACCES", "Permission denied", "choose another CID"),
    ]

    def test_hypervisor(self):
        for call, number, text, advice in self.CASES:
            with self.subTest((call, number)):
                self.mock.configure(faults=[])
                self.mock.fault(call, errno=number, times=0)
                self.refuse_start(libvirt.VIR_ERR_OPERATION_FAILED,
                                  f"The Nitro Hypervisor refused {call}: {text}: ", advice)
        self.mock.configure(faults=[])
        self.assertState(self.create("next"), RUNNING, BOOTED)


class SlowBroker(DeviceTest):
    """A broker that does not get to run for a while, as on a starved host"""

    @classmethod
    def before_start(cls):
        cls.hold = os.path.join(cls.daemon.dir, "hold")
        cls.broken = os.path.join(cls.daemon.dir, "broken")
        cls.daemon.wrap_helper(
            f'if [ "$1" = --broker ]; then\n'
            f'  [ -e {cls.broken} ] && exit 1\n'
            f'  while [ -e {cls.hold} ]; do sleep 0.1; done\n'
            f'fi')

    @contextlib.contextmanager
    def there_is(self, path):
        """There is no broker that runs, and the file @path."""
        wait_until(lambda: not self.brokers(), 20, "the end of the broker")
        with open(path, "w", encoding="ascii"):
            pass
        try:
            yield
        finally:
            os.unlink(path)

    def wait_prepared(self, count):
        """Waits for so many enclaves that only lack the port of the heartbeat."""
        vcpus = self.transcript.count("NE_ADD_VCPU") + 2 * count
        wait_until(lambda: "\n".join(self.mock.transcript()).count("NE_ADD_VCPU") >= vcpus, 60,
                   f"{count} enclaves that could be started")

    def setUp(self):
        super().setUp()
        self.transcript = "\n".join(self.mock.transcript())

    def test_waits(self):
        """helpers run meanwhile, for one broker; then the enclaves boot"""
        with self.there_is(self.hold):
            creations = [self.begin(f"patient{n}") for n in range(3)]
            self.wait_prepared(3)
            self.assertEqual([e["cid"] for e in self.mock.enclaves()], [None] * 3)
            self.assertEqual(len(self.brokers()), 1)
            time.sleep(GRACE + 1) # as long as a broker waits for clients
        for creation in creations:
            self.assertState(creation.result(), RUNNING, BOOTED)

    def test_longer_than_the_domain(self):
        """the domain's own time is the limit, and the sentence says what was waited for"""
        with self.there_is(self.hold):
            self.refuse_start(libvirt.VIR_ERR_OPERATION_TIMEOUT, "broker",
                              "not answered in 2 seconds", "timeout=", timeout=2)
        self.assertState(self.create("next"), RUNNING, BOOTED)

    def test_destroyed_meanwhile(self):
        with self.there_is(self.hold):
            creation = self.begin("waits")
            self.wait_prepared(1)
            self.conn.lookupByName("waits").destroy()
            with self.refused(libvirt.VIR_ERR_OPERATION_ABORTED, "destroyed"):
                creation.result()

    def test_cannot_run(self):
        """a broker that ends at once: said at once, and the next start tries again"""
        with self.there_is(self.broken):
            self.refuse_start(libvirt.VIR_ERR_INTERNAL_ERROR, "broker", "before it had answered",
                              "its log")
        self.assertState(self.create("next"), RUNNING, BOOTED)


class Console(DeviceTest):

    def open(self, dom):
        console = StreamConsole(self.conn, dom)
        self.addCleanup(console.close)
        return console

    def set_console(self, parts, **more):
        self.mock.configure(guests=[{"console": parts, **more}])
        self.addCleanup(self.mock.configure, guests=[])

    def test_stream(self):
        """from the first byte, though the hypervisor refuses the connection for a while"""
        self.set_console([[0, "first line\r\n"], [1500, "second line\r\n"]],
                         console_refuse_ms=700)
        dom = self.create("talk", debug="yes", devices="<console type='pty'/>")
        console = self.open(dom)
        console.wait("second line")
        self.assertIn("first line\r\n", console.text)
        dom.destroy()
        console.wait_end()

    def test_late_attach(self):
        """who comes late, and who comes after that, reads it all"""
        text = "".join(f"line {n}\r\n" for n in range(1000))
        self.set_console(text + "end\r\n")
        dom = self.create("late", debug="yes", devices="<console type='pty'/>")
        time.sleep(1)
        first = self.open(dom)
        first.wait("end")
        self.assertEqual(first.text, text + "end\r\n")
        first.close()
        # one that is opened at once cannot be told from the one before
        time.sleep(1)
        second = self.open(dom)
        second.wait("end")
        self.assertIn("line 0\r\n", second.text)

    def test_last_words(self):
        """what an enclave says before it ends is not lost"""
        path, device = self.console_file()
        self.set_console([[0, "boots\r\n"], [1000, "says good-bye\r\n"]])
        dom = self.create("brief", debug="yes", devices=device)
        self.wait_text(path, "boots")
        helper = self.helper_of(dom)
        os.kill(helper, signal.SIGSTOP)
        time.sleep(2) # it says good-bye
        self.mock.end(self.mock.enclaves()[0]["number"])
        os.kill(helper, signal.SIGCONT)
        self.events.wait("brief", *SHUTDOWN)
        self.assertEqual(self.wait_text(path, "good-bye"), "boots\nsays good-bye\n")

    def test_never_accepted(self):
        """the domain runs on without its console"""
        self.set_console("", console_refuse_ms=1000000)
        path, device = self.console_file()
        before = len(self.mock.events())
        dom = self.create("mute", debug="yes", devices=device)
        wait_until(lambda: "\n".join(self.mock.events()[before:]).count("vsock-connect cid=0") > 5,
                   60, "connections that are refused")
        self.assertState(dom, RUNNING, BOOTED)
        dom.destroy()

    def test_no_debug(self):
        """the domain starts; its console is refused, and nobody connects to the hypervisor"""
        self.set_console("secret")
        events = len(self.mock.events())
        dom = self.create("closed", devices="<console type='pty'/>")
        self.assertState(dom, RUNNING, BOOTED)
        with self.refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "debug mode",
                          "<nitro:enclave debug='yes'/>"):
            self.open(dom)
        live = ElementTree.fromstring(dom.XMLDesc(0))
        for element in ("console", "serial"):
            found = live.find(f"devices/{element}")
            self.assertIsNone(found.find("source"))
            self.assertEqual(found.find("alias").get("name"), "serial0")
            self.assertNotIn("tty", found.attrib)
        self.assertNotIn("vsock-connect", "\n".join(self.mock.events()[events:]))
        self.assertNotIn("debug='yes'", dom.XMLDesc(0))
        dom.destroy()

    def test_debug_without_console(self):
        events = len(self.mock.events())
        dom = self.create("alone", debug="yes")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertNotIn("vsock-connect", "\n".join(self.mock.events()[events:]))
        dom.destroy()


class Restart(DeviceTest):
    """The daemon dies, enclaves and broker do not."""

    def test_killed_while_enclaves_boot(self):
        """they come up, before or after the new daemon, and are adopted"""
        names = ["early", "late"]
        creations = [self.begin(name, "heartbeat=never") for name in names]
        self.wait_enclaves(2)
        cids = {name: self.cid_of(self.conn.lookupByName(name)) for name in names}
        broker = self.brokers()
        self.daemon.kill()
        for creation in creations:
            self.assertRaises(libvirt.libvirtError, creation.result)
        self.beat(cids["early"])
        self.daemon.start()
        self.reconnect()
        domains = {name: self.conn.lookupByName(name) for name in names}
        self.wait_state(domains["early"], RUNNING, BOOTED, seconds=60)
        self.assertEqual(domains["late"].state(), STARTING_UP)
        # the new daemon finds the broker of the old one
        self.assertState(self.create("new"), RUNNING, BOOTED)
        self.assertEqual(self.brokers(), broker)
        self.beat(cids["late"])
        self.wait_state(domains["late"], RUNNING, BOOTED, seconds=60)
        self.assertEqual(cids, {name: self.cid_of(dom) for name, dom in domains.items()})

    @staticmethod
    def is_measured(dom):
        try:
            return bool(dom.launchSecurityInfo())
        except libvirt.libvirtError:
            return False

    def test_ends_are_noticed_after_it(self):
        """by the new daemon: of one that boots, and of one that runs"""
        running = self.conn.defineXML(self.xml("running"))
        running.create()
        number = self.mock.enclaves()[0]["number"]
        creation = self.begin("waits", "heartbeat=wrong", "heartbeat_ms=4000")
        self.wait_enclaves(2)
        self.daemon.kill()
        self.assertRaises(libvirt.libvirtError, creation.result)
        self.daemon.start()
        self.reconnect()
        running = self.conn.lookupByName("running")
        # its state is from the status file: the daemon need not have its helper yet
        wait_until(lambda: self.is_measured(running), 20, "an answer of the helper")
        self.assertState(running, RUNNING, BOOTED)
        self.mock.end(number)
        self.wait_state(running, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
        wait_until(lambda: len(self.conn.listAllDomains()) == 1, 60, "the end of the other")


class Cpus(DeviceTest):

    @staticmethod
    def pins(xml):
        return re.findall(r"<vcpupin vcpu='(\d+)' cpuset='(\d+)'/>", xml)

    def test_chosen(self):
        """the CPUs that the hypervisor has chosen are in the live XML, and in no other"""
        dom = self.conn.defineXML(self.xml("lucky"))
        dom.create()
        pins = self.pins(dom.XMLDesc(0))
        self.assertEqual([vcpu for vcpu, _ in pins], ["0", "1"])
        cpus = [int(cpu) for _, cpu in pins]
        self.assertEqual(cpus, [info[3] for info in dom.vcpus()[0]])
        self.assertEqual([list(row).index(True) for row in dom.vcpuPinInfo()], cpus)
        self.assertEqual(self.pins(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)), [])
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, *cpus[:1], "lucky"):
            self.create("late", vcpu=f"<vcpu cpuset='{cpus[0]},{cpus[1]}'>2</vcpu>")
        dom.destroy()
        self.assertEqual(self.pins(dom.XMLDesc(0)), [])


class End(DeviceTest):

    def test_poweroff(self):
        """the hypervisor hangs up: shut off, as after a shutdown"""
        dom = self.conn.defineXML(self.xml("brief", "exit_ms=500"))
        dom.create()
        self.events.wait("brief", *SHUTDOWN)
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)

    def test_poweroff_restart(self):
        """<on_poweroff>restart: a new enclave of the same domain"""
        dom = self.conn.createXML(self.xml("phoenix", "exit_ms=1500",
                                           elements="<on_poweroff>restart</on_poweroff>"), 0)
        first = dom.ID()
        wait_until(lambda: self.events.of("phoenix").count(STARTED) >= 2, 60, "a restart")
        self.assertEqual(self.events.of("phoenix")[:3], [STARTED, SHUTDOWN, STARTED])
        self.assertGreater(self.conn.lookupByName("phoenix").ID(), first)

    def test_crash_restart(self):
        """the helper is killed, and with it the enclave"""
        for action, started in (("destroy", 1), ("restart", 2)):
            with self.subTest(action):
                name = f"crash-{action}"
                dom = self.create(name, elements=f"<on_crash>{action}</on_crash>")
                os.kill(self.helper_of(dom), signal.SIGKILL)
                self.events.wait(name, *CRASHED)
                wait_until(lambda: self.events.of(name).count(STARTED) == started, 60, "starts")
                wait_until(lambda: len(self.mock.enclaves()) == started - 1, 20, "enclaves")

    def test_killed_while_it_boots(self):
        creation = self.begin("lost", "heartbeat=never")
        self.wait_enclaves(1)
        os.kill(self.helper_of(self.conn.lookupByName("lost")), signal.SIGKILL)
        with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "helper"):
            creation.result()


class Image(DeviceTest):

    def test_boots_from_enclave_memory(self):
        """what is in the enclave's memory boots, byte for byte, on the emulated machine"""
        dom = self.create("loaded", boot=boot_image(), memory="128")
        self.assertState(dom, RUNNING, BOOTED)
        [enclave] = self.mock.enclaves()
        image = self.mock.image(enclave["number"])
        dom.destroy()
        with open(HELLO_EIF, "rb") as original:
            self.assertEqual(image, original.read())

        path = self.path("image")
        with open(path, "wb") as copy:
            copy.write(image)
        console, device = self.console_file()
        dom = self.conn.createXML(domain_xml("dumped", boot_image(path), devices=device), 0)
        self.wait_text(console, HELLO_BANNER)
        dom.destroy()


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
