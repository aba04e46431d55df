# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""virtnitrod.service: what systemd thinks of it, and what its settings do.

systemd need not run for this. That an enclave boots under them is tested in e2e/test_unit.py.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import systemdunit
import taprunner

BUILD = pathlib.Path(os.environ["LIBVIRT_NITRO_BUILD"])
UNIT = BUILD / "src" / "nitro" / "virtnitrod.service"
CONFINED = [sys.executable, systemdunit.__file__, str(UNIT)]

# In tenths, as --threshold= has it. Services of enclaves over TCP cost 0.6: the settings below, which
# the unit's comments offer to hosts without them, have to give that back.
EXPOSURE = 50
EXPOSURE_WITH_TCP = 55
WITHOUT_TCP = """
[Service]
RestrictAddressFamilies=~AF_INET AF_INET6
IPAddressDeny=any
CapabilityBoundingSet=~CAP_NET_BIND_SERVICE
"""

# systemd's name of a weakness -> the setting by which it could be mended
SETTING = re.compile(r"([A-Za-z]+)=")

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

# As the helper's launcher does it for QEMU
BUBBLEWRAP = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session",
              "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib",
              "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin",
              "--proc", "/proc", "--dev", "/dev"]

# Each line is an act, the error that it has to fail with, and a call
ACTS = """
import ctypes, errno, os, seccomp, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    number = seccomp.resolve_syscall(seccomp.Arch(), name)
    if libc.syscall(number, *arguments, 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "")

ACTS = [
    ("socket(AF_PACKET)", "EAFNOSUPPORT", lambda: socket.socket(socket.AF_PACKET)),
    ("socket(AF_ALG)", "EAFNOSUPPORT", lambda: socket.socket(socket.AF_ALG, 5)),
    ("ptrace", "EPERM", lambda: call("ptrace")),
    ("bpf", "EPERM", lambda: call("bpf")),
    ("io_uring_setup", "EPERM", lambda: call("io_uring_setup", 1)),
    ("init_module", "EPERM", lambda: call("init_module")),
    ("syslog", "EPERM", lambda: call("syslog", 3)),
    ("reboot", "EPERM", lambda: call("reboot")),
    ("swapon", "EPERM", lambda: call("swapon")),
    ("sethostname", "EPERM", lambda: call("sethostname")),
    ("settimeofday", "EPERM", lambda: call("settimeofday")),
    ("add_key", "EPERM", lambda: call("add_key")),
    ("process_vm_readv", "EPERM", lambda: call("process_vm_readv", 1)),
    ("userfaultfd", "EPERM", lambda: call("userfaultfd")),
    ("open_by_handle_at", "EPERM", lambda: call("open_by_handle_at")),
    ("personality", "EPERM", lambda: call("personality", 0x0040000)),
    ("realtime", "EPERM", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    ("set-user-ID", "EPERM", lambda: os.chmod(sys.argv[1], 0o4755)),
    ("set-group-ID", "EPERM", lambda: os.chmod(sys.argv[1], 0o2755)),
    ("a new file in /usr", "EROFS", lambda: open("/usr/nitro-test", "x")),
    ("a new file in /etc", "EROFS", lambda: open("/etc/nitro-test", "x")),
]
for name, expected, act in ACTS:
    try:
        act()
        result = "done"
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(name, expected, result, sep=";")
"""


def exposure(unit=UNIT):
    """Returns what systemd finds, and the overall number in tenths."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    found = subprocess.run([*command, "--json=short", str(unit)], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    text = subprocess.run([*command, str(unit)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return json.loads(found), float(re.search(r": (\d+\.\d) ", text.splitlines()[-1])[1]) * 10


class Security(unittest.TestCase):
    def test_exposure(self):
        subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                        f"--threshold={EXPOSURE_WITH_TCP}", str(UNIT)], check=True,
                       stdout=subprocess.DEVNULL)
        findings, overall = exposure()
        self.assertGreater(len(findings), 50)
        self.assertLess(overall, EXPOSURE_WITH_TCP)

    def test_exposure_without_tcp(self):
        """of a host whose enclaves have no services over TCP"""
        for line in WITHOUT_TCP.split("\n")[2:-1]:
            self.assertIn(f"# {line}\n", UNIT.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as directory:
            unit = pathlib.Path(directory) / UNIT.name
            unit.write_text(UNIT.read_text(encoding="utf-8") + WITHOUT_TCP, encoding="utf-8")
            self.assertLess(exposure(unit)[1], EXPOSURE)

    def test_word_about_each_setting(self):
        """What systemd finds wanting is set as far as it can be, or has a comment"""
        text = UNIT.read_text(encoding="utf-8")
        wanting = {setting for finding in exposure()[0] if finding["set"] is not True
                   for setting in SETTING.findall(finding["name"])}
        self.assertIn("User", wanting)
        settings = systemdunit.Unit(UNIT).settings
        for setting in sorted(wanting):
            with self.subTest(setting):
                if setting not in settings:
                    self.assertRegex(text, rf"(?m)^# ([A-Za-z]+=, )*{setting}=")

    def test_no_word_about_what_is_set(self):
        unit = systemdunit.Unit(UNIT)
        reasons = "\n".join(re.findall(r"(?m)^# (?:[A-Za-z]+=(?:, )?)+$", unit.text))
        names = SETTING.findall(reasons)
        self.assertIn("PrivateTmp", names)
        self.assertEqual([name for name in names if name in unit.settings], [])

    def test_verify(self):
        """Names and values are such as systemd knows, in all units"""
        names = ("virtnitrod.service", "virtnitrod.socket", "virtnitrod-ro.socket",
                 "virtnitrod-admin.socket")
        with tempfile.TemporaryDirectory() as scratch:
            for name in names:
                text = (UNIT.parent / name).read_text(encoding="utf-8")
                # of an installed system, which this is not
                text = re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", text)
                text = re.sub(r"(?m)^Documentation=.*\n", "", text)
                pathlib.Path(scratch, name).write_text(text, encoding="utf-8")
            verify = subprocess.run(
                ["systemd-analyze", "verify", "--recursive-errors=no",
                 *(f"{scratch}/{name}" for name in names)],
                capture_output=True, text=True, check=False)
        self.assertEqual((verify.stdout, verify.stderr, verify.returncode), ("", "", 0))


class Confined(unittest.TestCase):
    """What is allowed, and what not, under the settings"""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            cls.skipTest(cls, "the unit is root's")
        unshare = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.PIPE, text=True,
                                 check=False)
        if unshare.returncode != 0:
            cls.skipTest(cls, f"no private file system: {unshare.stderr.strip()}")

    @staticmethod
    def run_confined(*command):
        return subprocess.run(CONFINED + list(command), check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def test_refused(self):
        with tempfile.NamedTemporaryFile() as file:
            lines = self.run_confined(sys.executable, "-c", ACTS, file.name).splitlines()
        self.assertGreater(len(lines), 20)
        for line in lines:
            name, expected, result = line.split(";")
            with self.subTest(name):
                self.assertEqual(result, expected)

    def test_capabilities(self):
        status = dict(line.split(":\t", 1) for line in
                      self.run_confined("cat", "/proc/self/status").splitlines())
        expected = sum(1 << number for number in systemdunit.Unit(UNIT).capabilities())
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapBnd", "CapPrm", "CapEff"):
            with self.subTest(name):
                self.assertEqual(int(status[name], 16), expected)

    def test_definitions_can_be_written(self):
        if not os.path.isdir("/etc/libvirt"):
            self.skipTest("no /etc/libvirt here")
        text = self.run_confined("sh", "-c", "test -w /etc/libvirt && test ! -w /etc && echo yes")
        self.assertEqual(text, "yes\n")

    def test_helpers_user(self):
        self.assertEqual(self.run_confined(*AS_NOBODY, "id", "-u").strip(), "65534")

    def test_bubblewrap(self):
        """It makes all its namespaces, with a /proc of their own, as QEMU gets them"""
        usual = subprocess.run(AS_NOBODY + BUBBLEWRAP + ["true"], stderr=subprocess.PIPE,
                               text=True, check=False)
        if usual.returncode != 0:
            self.skipTest(f"bubblewrap does not run here at all: {usual.stderr.strip()}")
        script = "ls -d /proc/[0-9]* | wc -l; ls /; qemu-system-x86_64 --version"
        text = self.run_confined(*AS_NOBODY, "--bounding-set=-all", *BUBBLEWRAP,
                                 "sh", "-c", script)
        lines = text.splitlines()
        self.assertLess(int(lines[0]), 8)
        self.assertIn("QEMU emulator", text)
        self.assertNotIn("etc", lines)


if __name__ == "__main__":
    taprunner.main()
