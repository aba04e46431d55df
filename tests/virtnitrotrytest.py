# virtnitrotrytest.py: virt-nitro-validate --try, on the mocked device and the emulated machine
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The host is made up, as in virtnitrovalidatetest, with a kernel below boot/. Whatever a trial
# comes to, there must be no process, no enclave and no huge page of it afterwards.

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
import unittest

import eifwriter
import nitrodevmock
import taprunner
import tinyguest
from helpercase import MIB, processes, wait_for
from virtnitrovalidatetest import TOOL, Host

NAME = "virt-nitro-validate"
LINE = re.compile(r"^ *\S+: Checking (?P<text>.*?) *: (?P<result>PASS|WARN|FAIL)"
                  r"(?: \((?P<advice>.*)\))?$")
NOTE = re.compile(r"^ *\S+: (?!Checking)(?P<text>.*)$")
LONG = 300

STARTS, BEATS, RUNS, ENDS = ("if an enclave starts", "if it sends its heartbeat",
                             "if its kernel runs", "if it ends when it is told to")
CALLS = ("NE_CREATE_VM", "the huge pages", "NE_GET_IMAGE_LOAD_INFO", "the image",
         "NE_SET_USER_MEMORY_REGION", "NE_ADD_VCPU", "NE_START_ENCLAVE")


def free_pages():
    with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as f:
        return int(f.read())


def sockets():
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith(NAME + "-")}


def under(directory):
    """Ids of the processes with the mock in @directory; the broker has no other mark."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as f:
            if f"NITRO_MOCK_DIR={directory}".encode() in f.read().split(b"\0"):
                found.append(int(pid))
    return found


class TryCase(unittest.TestCase):
    MACHINE = None
    USER = "daemon"

    def setUp(self):
        # pylint: disable=consider-using-with
        scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-try-")
        self.addCleanup(scratch.cleanup)
        os.chmod(scratch.name, 0o755)
        self.host = Host(scratch.name)
        self.env = dict(os.environ, LC_ALL="C")
        if os.geteuid() == 0:
            # not a name that may be shown
            self.host.write("etc/libvirt/nitro.conf", f'user = "{self.USER}"\n')
        self.kernel(tinyguest.kernel(b"Linux\r\n"))
        self.sockets_before = sockets()
        self.lines = self.notes = self.output = None

    def tearDown(self):
        wait_for(lambda: not processes(NAME))
        self.assertEqual(sockets(), self.sockets_before)

    def kernel(self, data):
        """@data is the kernel of the made-up host."""
        path = self.host.root / f"boot/vmlinuz-{os.uname().release}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def image(self, image):
        return image.write(str(self.host.root / "secret-name.eif"))

    def command(self, *args):
        return [TOOL, "--root", str(self.host.root), "--try", self.MACHINE, *args]

    def run_tool(self, *args):
        """Returns the exit status."""
        done = subprocess.run(self.command(*args), env=self.env, capture_output=True, text=True,
                              check=False, timeout=LONG)
        self.output = done.stdout
        self.lines = {match["text"]: (match["result"], match["advice"])
                      for match in map(LINE.match, done.stdout.splitlines()) if match}
        self.notes = [match["text"] for match in map(NOTE.match, done.stdout.splitlines())
                      if match]
        self.assertEqual(len(self.lines) + len(self.notes), len(done.stdout.splitlines()),
                         done.stdout)
        self.assertNotIn("AddressSanitizer", done.stderr)
        return done.returncode

    def result(self, text):
        """How the line that begins with @text ends."""
        found = [value for line, value in self.lines.items() if line.startswith(text)]
        self.assertEqual(len(found), 1, f"{text!r} in:\n{self.output}")
        return found[0]

    def assert_phase(self, text, result, *words):
        actual, advice = self.result(text)
        self.assertEqual(actual, result, self.output)
        for word in words:
            self.assertRegex(advice, word)

    def assert_no_phase(self, text):
        self.assertFalse([line for line in self.lines if line.startswith(text)], self.output)

    def assert_log(self, *words):
        log = "\n".join(note for note in self.notes if note.startswith("log: "))
        for word in words:
            self.assertRegex(log, word)


class DeviceTest(TryCase):
    """On the mocked device, with a pool of cores of two threads each"""

    MACHINE = "nitro"
    PAGES = 64
    MOCK = {"cpus": 8, "threads_per_core": 2, "pool": "1-3,5-7"}

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("the mock needs root")
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.stack.enter_context(nitrodevmock.HugePages(self.PAGES))
        self.mock = self.stack.enter_context(nitrodevmock.NitroMock(**self.MOCK))
        self.env.update(self.mock.environment(TOOL))

    def tearDown(self):
        super().tearDown()
        wait_for(lambda: not under(self.mock.dir))
        self.mock.wait_closed()
        wait_for(lambda: self.mock.devices() == 0)
        # those of the trial; others may take and give back at the same time
        wait_for(lambda: free_pages() >= self.PAGES)

    def eif(self):
        return self.image(eifwriter.simple(kernel=os.urandom(MIB), ramdisks=(b"a", b"b")))

    def calls(self):
        return [line.partition("enclave 1: ")[2].split(" ")[0] or line
                for line in self.mock.transcript()]

    def test_host_kernel(self):
        """without an image: this host's kernel in debug mode, whose console tells that it runs"""
        self.mock.configure(guests=[{"heartbeat": "never", "console": "Linux version 6\r\n",
                                     "exit_ms": 1500}])
        self.assertEqual(self.run_tool(), 0, self.output)
        self.assert_phase("for this host's kernel", "PASS", "128 MiB")
        self.assert_phase(STARTS + " (vCPUs: 2)", "PASS", r"after \d+\.\d ms")
        self.assert_phase(RUNS, "PASS", r"ended after \d+\.\d ms.*poweroff")
        self.assert_no_phase(ENDS)
        self.assert_no_phase(BEATS)
        self.assert_log(*(rf"{call}: done in \d+\.\d{{3}} ms" for call in CALLS),
                        "console: Linux version 6")
        self.assertIn("NE_START_ENCLAVE flags=0x1", "\n".join(self.mock.transcript()))

    def test_silent_kernel(self):
        self.mock.configure(guests=[{"heartbeat": "never", "exit_ms": 300}])
        self.assertEqual(self.run_tool(), 0, self.output)
        self.assert_phase(RUNS, "WARN", "nothing on its console", "--image")

    def test_image(self):
        self.assertEqual(self.run_tool("--image", self.eif()), 0, self.output)
        self.assert_phase("for the image", "PASS")
        for phase in (STARTS, BEATS, ENDS):
            self.assert_phase(phase, "PASS", r"^after \d+\.\d ms$")
        self.assert_log(*(f"{call}: done in" for call in CALLS), "The enclave has booted",
                        "heartbeat broker")
        # production mode: what it says is nobody's business
        self.assertIn("NE_START_ENCLAVE flags=0x0", "\n".join(self.mock.transcript()))

    def test_report(self):
        """The report says of what it is, and nothing of whose it is."""
        self.host.write("sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n")
        self.host.write("sys/devices/virtual/dmi/id/product_name", "c5.xlarge\n")
        self.host.write("sys/devices/virtual/dmi/id/board_asset_tag", "i-0123456789abcdef0\n")
        self.host.write("run/libvirt/nitro/hush-hush/aside", "1 reason\n")
        self.run_tool("--image", self.eif())
        notes = "\n".join(self.notes)
        self.assertRegex(notes, r"virt-nitro-validate [\d.]+, libvirt \d+\.\d+\.\d+")
        self.assertIn(f"Linux {os.uname().release}, {os.uname().machine}, pages of", notes)
        self.assertIn("on Amazon EC2, c5.xlarge", notes)
        self.assertIn("if the CPU pool is set (4 CPUs: 2-3,10-11)", self.lines)
        self.assertIn("for huge pages on node0 (2048 KiB: 512 of 512 free)", self.lines)
        for secret in (socket.gethostname(), self.USER, "secret-name", "i-0123", "hush-hush",
                       pwd.getpwuid(os.geteuid()).pw_name + "@"):
            self.assertNotIn(secret, self.output.replace(str(self.host.root), ""))

    def test_no_device(self):
        self.mock.hide_device()
        self.assertEqual(self.run_tool(), 1)
        self.assert_phase(STARTS, "FAIL", "open of /dev/nitro_enclaves, errno 2: ")
        self.assert_no_phase(RUNS)

    def test_too_few_pages(self):
        self.kernel(tinyguest.kernel(b""))
        os.truncate(self.host.root / f"boot/vmlinuz-{os.uname().release}", 1 << 40)
        self.assertEqual(self.run_tool(), 1)
        self.assert_phase(STARTS, "FAIL", "more huge pages of 2048 KiB", "nr_hugepages")
        self.assert_log("NE_CREATE_VM: done", "the huge pages: failed after")

    def test_refused(self):
        """what the driver or the hypervisor refuses: the call, its errno, and when"""
        for call, number in (("NE_CREATE_VM", 5), ("NE_GET_IMAGE_LOAD_INFO", 5),
                             ("NE_SET_USER_MEMORY_REGION", 5), ("NE_ADD_VCPU", 5),
                             ("NE_START_ENCLAVE", 5), ("NE_START_ENCLAVE", 268)):
            with self.subTest(call=call, number=number):
                self.mock.fault(call, nth=1, errno=number)
                self.assertEqual(self.run_tool(), 1)
                self.assert_phase(STARTS, "FAIL", rf"^after \d+\.\d ms: {call}, errno {number}: .")
                self.assert_log(rf"{call}: failed after \d+\.\d{{3}} ms, errno {number}")
                self.assert_no_phase(RUNS)
                self.mock.wait_closed()

    def test_no_heartbeat(self):
        self.mock.configure(guests=[{"heartbeat": "wrong"}])
        self.assertEqual(self.run_tool("--image", self.eif()), 1)
        self.assert_phase(STARTS, "PASS")
        self.assert_phase(BEATS, "FAIL", r"after \d+\.\d ms: .*heartbeat")
        self.assert_no_phase(ENDS)

    def test_ended(self):
        self.mock.configure(guests=[{"heartbeat": "never", "exit_ms": 100}])
        self.assertEqual(self.run_tool("--image", self.eif()), 1)
        self.assert_phase(BEATS, "FAIL", "ended before it had booted")

    def test_killed(self):
        """The enclave does not outlive who has started it, whatever ends that one."""
        for number in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                self.mock.configure(guests=[{"heartbeat": "never"}])
                with subprocess.Popen(self.command("--image", self.eif()), env=self.env,
                                      stdout=subprocess.DEVNULL) as tool:
                    self.mock.wait(lambda: any(enclave["state"] == "running"
                                               for enclave in self.mock.enclaves()))
                    tool.send_signal(number)
                    tool.wait(LONG)
                self.mock.wait_closed()
                wait_for(lambda: not under(self.mock.dir))


class EmulatedTest(TryCase):
    MACHINE = "nitro-enclave"

    def setUp(self):
        if os.uname().machine != "x86_64":
            self.skipTest("the tiny guest is of x86_64")
        super().setUp()
        if subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.DEVNULL,
                          check=False).returncode != 0:
            self.skipTest("no QEMU here")

    def test_host_kernel(self):
        self.kernel(tinyguest.kernel(b"Kernel panic - not syncing: VFS\r\n", tinyguest.RESET))
        self.assertEqual(self.run_tool(), 0, self.output)
        self.assert_phase(STARTS + " (vCPUs: 1)", "PASS", r"after \d+\.\d ms")
        self.assert_phase(RUNS, "PASS", "panic")
        self.assert_log("console: Kernel panic", "Started QEMU")

    def test_silent_kernel(self):
        self.kernel(tinyguest.kernel(b"", tinyguest.RESET))
        self.assertEqual(self.run_tool(), 0, self.output)
        self.assert_phase(RUNS, "WARN", "nothing on its console")

    def test_no_image(self):
        (self.host.root / f"boot/vmlinuz-{os.uname().release}").unlink()
        self.assertEqual(self.run_tool(), 1)
        self.assert_phase("for this host's kernel", "FAIL", "open, errno 2: ", "--image")
        self.assertEqual(self.run_tool("--image", "/dev/null"), 1)
        self.assert_phase("for the image", "FAIL", "no regular file")
        self.assert_no_phase(STARTS)

    def test_bad_image(self):
        """An image that is not good: whoever looks at it says so."""
        data = bytearray(eifwriter.simple(kernel=os.urandom(MIB), ramdisks=(b"a", b"b")).to_bytes())
        path = self.host.root / "bad.eif"
        for offset, phase in ((4, "for the image"), (len(data) - 1, STARTS)):
            broken = bytearray(data)
            broken[offset] ^= 0x55
            path.write_bytes(broken)
            self.assertEqual(self.run_tool("--image", str(path)), 1)
            self.assert_phase(phase, "FAIL", "image")
        self.assert_no_phase(BEATS)

    def test_hello(self):
        if "HELLO_EIF" not in os.environ:
            self.skipTest("there is no image of the sample")
        self.assertEqual(self.run_tool("--image", os.environ["HELLO_EIF"]), 0, self.output)
        for phase in (STARTS, BEATS, ENDS):
            self.assert_phase(phase, "PASS", r"^after \d+\.\d ms$")
        self.assert_log("The enclave has booted", "The enclave has ended: terminated")


if __name__ == "__main__":
    taprunner.main()
