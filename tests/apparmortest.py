# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""The AppArmor profiles: can they be read, and do they allow what is done, and no more?

A kernel with AppArmor is not needed: apparmor_parser reads the profiles beside a copy of the
host's, and prints the rules that it has understood. These are compared with files that daemon,
helper and QEMU open (from a trace of tests/e2e/test_unit.py), and with some that they must not.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import taprunner

BUILD = pathlib.Path(os.environ["LIBVIRT_NITRO_BUILD"]) / "src" / "nitro" / "apparmor"
SYSTEM = pathlib.Path("/etc/apparmor.d")
PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")

# File of the build -> where it is installed
FILES = {
    "abstractions-libvirt-nitro-qemu": "abstractions/libvirt-nitro-qemu",
    "abstractions-libvirt-nitro-sandbox": "abstractions/libvirt-nitro-sandbox",
    "tunables-libvirt-nitro": "tunables/libvirt-nitro",
    "usr.libexec.libvirt_nitro": "usr.libexec.libvirt_nitro",
    "usr.libexec.libvirt_nitro_check": "usr.libexec.libvirt_nitro_check",
    "usr.libexec.libvirt_nitro_services": "usr.libexec.libvirt_nitro_services",
    "usr.sbin.virtnitrod": "usr.sbin.virtnitrod",
}
PROFILES = [name for name in FILES if "/" not in FILES[name]]

# AppArmor 3 has the word Mode; 4 has Perms, and priorities
RULE = re.compile(r"^(?:Mode|Perms):\t([a-z ]*):([a-z]*)(?: priority=-?\d+)? *\tName:\t\((.*)\)$")

# What QEMU opens; the profiles above it in the stack have to allow the same
QEMU = [
    ("/usr/lib/x86_64-linux-gnu/libpixman-1.so.0", "rm"),
    ("/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so", "rm"),
    ("/usr/bin/qemu-system-x86_64", "rm"),
    ("/usr/share/qemu/bios-microvm.bin", "r"),
    ("/usr/share/qemu/linuxboot_dma.bin", "r"),
    ("/usr/share/seabios/bios-256k.bin", "r"),
    ("/etc/ld.so.cache", "r"),
    ("/dev/kvm", "rw"),
    ("/dev/null", "rw"),
    ("/dev/urandom", "r"),
    ("/proc/1234/fd/10", "r"),
    ("/proc/1234/task/1240/comm", "rw"),
    ("/proc/uptime", "r"),
    ("/sys/bus/nd/devices/", "r"),
    ("/sys/devices/system/cpu/possible", "r"),
    ("/sys/devices/system/node/node0/meminfo", "r"),
]
# What helpers open, and descriptors that they inherit
HELPER = [
    ("/usr/lib/x86_64-linux-gnu/libc.so.6", "rm"),
    ("/usr/libexec/libvirt_nitro", "rm"),
    ("/usr/share/locale/de/LC_MESSAGES/libvirt-nitro.mo", "r"),
    ("/usr/lib/locale/C.utf8/LC_CTYPE", "r"),
    ("/dev/nitro_enclaves", "rw"),
    ("/dev/pts/3", "rw"),
    ("/home/user/console", "rw"),
    ("/var/lib/libvirt/images/hello.eif", "r"),
    ("/var/log/libvirt/nitro/hello.log", "rw"),
    ("/var/log/libvirt/nitro/hello.log.0", "rw"),
    ("/run/libvirt/nitro/domain-1-hello/vsock/vsock_1234", "rw"),
    ("/vsock_1234", "rw"),
    # bubblewrap
    ("/newroot/usr/", "rw"),
    ("/proc/1234/uid_map", "rw"),
    ("/proc/sys/kernel/overflowuid", "r"),
    ("/usr/bin/bwrap", "x"),
    ("/usr/bin/qemu-system-x86_64", "x"),
]
# The NSM of an emulated enclave, under its helper's profile, and for a key under the daemon's
NSM = [
    ("/usr/lib/x86_64-linux-gnu/libgnutls.so.30", "rm"),
    ("/usr/libexec/libvirt_nitro_nsm", "rm"),
    ("/usr/libexec/libvirt_nitro_nsm", "x"),
    ("/etc/gnutls/config", "r"),
]
CHECK = [
    ("/usr/lib/x86_64-linux-gnu/libcbor.so.0.8", "rm"),
    ("/usr/libexec/libvirt_nitro_check", "rm"),
    ("/usr/share/locale/de/LC_MESSAGES/libvirt-nitro.mo", "r"),
    ("/var/lib/libvirt/images/hello.eif", "r"),
    ("/home/user/hello.eif", "r"),
    ("/tmp/hello.eif", "r"),
]
SERVICES = [
    ("/usr/lib/x86_64-linux-gnu/libglib-2.0.so.0", "rm"),
    ("/usr/libexec/libvirt_nitro_services", "rm"),
    ("/etc/resolv.conf", "r"),
    ("/etc/hosts", "r"),
    ("/run/mysqld/mysqld.sock", "rw"),
    ("/dev/log", "w"),
    ("/var/log/libvirt/nitro/hello.services", "rw"),
    ("/home/user/hello.log", "rw"),
]
DAEMON = [
    ("/etc/libvirt/nitro.conf", "r"),
    ("/etc/libvirt/virtnitrod.conf", "r"),
    ("/etc/libvirt/nitro/hello.xml", "rw"),
    ("/etc/libvirt/nitro/hello.xml.new", "rw"),
    ("/etc/libvirt/nitro/autostart/hello.xml", "rw"),
    ("/etc/passwd", "r"),
    ("/etc/group", "r"),
    ("/etc/nsswitch.conf", "r"),
    ("/etc/localtime", "r"),
    ("/proc/1234/stat", "r"),
    ("/proc/1234/cmdline", "r"),
    ("/proc/meminfo", "r"),
    ("/proc/filesystems", "r"),
    ("/run/virtnitrod.pid", "rwk"),
    ("/run/libvirt/", "w"),
    ("/run/libvirt/common/system.token", "rw"),
    ("/run/libvirt/virtnitrod-sock", "rw"),
    ("/run/libvirt/nitro/driver.pid", "rwk"),
    ("/run/libvirt/nitro/hello.xml.new", "rw"),
    ("/run/libvirt/nitro/domain-1-hello/control", "rw"),
    ("/run/user/1000/libvirt/virtnitrod-sock", "rw"),
    ("/var/log/libvirt/nitro/hello.log", "rw"),
    ("/var/lib/libvirt/nitro/", "rw"),
    ("/var/lib/libvirt/nitro/nsm/nsm-root.key", "rwl"),
    ("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "rw"),
    ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "rw"),
    ("/sys/kernel/mm/ksm/pages_to_scan", "rw"),
    ("/sys/module/nitro_enclaves/parameters/ne_cpus", "rw"),
    ("/sys/fs/cgroup/machine.slice/cgroup.procs", "rw"),
    ("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_nitro.so", "rm"),
    ("/usr/lib/x86_64-linux-gnu/libvirt-nitro/libvirt.so.0", "rm"),
    ("/usr/share/libvirt-nitro/schemas/domain.rng", "r"),
    ("/usr/libexec/libvirt_nitro", "x"),
    ("/usr/libexec/libvirt_nitro_check", "x"),
    ("/usr/libexec/libvirt_nitro_services", "x"),
]
ALLOWED = {
    "virtnitrod": DAEMON + HELPER + CHECK + NSM + SERVICES + QEMU,
    "libvirt_nitro": HELPER + NSM + QEMU,
    "libvirt_nitro//qemu": QEMU,
    "libvirt_nitro_check": CHECK,
    "libvirt_nitro_services": SERVICES,
}
REFUSED = {
    "virtnitrod": [
        ("/etc/shadow", "w"), ("/etc/passwd", "w"), ("/etc/libvirt/qemu/other.xml", "w"),
        ("/usr/bin/sh", "w"), ("/usr/bin/sh", "x"), ("/usr/sbin/virtnitrod", "w"),
        ("/boot/vmlinuz", "w"), ("/root/.ssh/id_rsa", "r"), ("/home/user/.ssh/id_rsa", "r"),
        ("/home/user/.ssh/authorized_keys", "w"), ("/dev/mem", "r"), ("/dev/sda", "r"),
        ("/dev/kmsg", "w"), ("/proc/sys/kernel/core_pattern", "w"), ("/proc/sysrq-trigger", "w"),
        ("/var/lib/libvirt/qemu/save/other.save", "w"), ("/sys/kernel/uevent_helper", "w"),
    ],
    "libvirt_nitro": [
        ("/etc/shadow", "r"), ("/etc/libvirt/nitro/other.xml", "r"), ("/usr/bin/sh", "x"),
        ("/run/libvirt/virtnitrod-sock", "w"), ("/run/libvirt/libvirt-sock", "w"),
        ("/dev/mem", "r"), ("/dev/sda", "r"), ("/proc/1/environ", "r"),
        ("/sys/module/nitro_enclaves/parameters/ne_cpus", "w"),
        ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "w"),
    ],
    "libvirt_nitro//qemu": [
        ("/etc/shadow", "r"), ("/etc/passwd", "r"), ("/usr/bin/sh", "x"),
        ("/usr/bin/bwrap", "x"), ("/usr/bin/qemu-system-x86_64", "x"),
        ("/dev/nitro_enclaves", "r"), ("/home/user/console", "w"),
        ("/var/lib/libvirt/images/hello.eif", "r"), ("/vsock_1234", "w"),
        ("/run/libvirt/nitro/domain-1-hello/vsock/vsock_1234", "w"), ("/dev/pts/3", "w"),
    ],
    "libvirt_nitro_services": [
        ("/etc/shadow", "r"), ("/usr/bin/sh", "x"), ("/dev/kvm", "r"), ("/dev/nitro_enclaves", "r"),
        ("/dev/mem", "r"), ("/etc/libvirt/nitro/other.xml", "r"), ("/proc/1/environ", "r"),
    ],
    "libvirt_nitro_check": [
        ("/etc/shadow", "r"), ("/etc/passwd", "r"), ("/usr/bin/sh", "x"),
        ("/var/lib/libvirt/images/hello.eif", "w"), ("/home/user/hello.eif", "w"),
        ("/dev/kvm", "r"), ("/dev/nitro_enclaves", "r"), ("/var/log/libvirt/nitro/hello.log", "w"),
        ("/run/libvirt/virtnitrod-sock", "w"),
    ],
}

# The words of a path of AppArmor's
TOKEN = re.compile(r"\*\*|\[[^]]*\]|\\.|.")


def expression(path):
    """Returns what matches the paths that @path, of a rule, means (apparmor.d(5), globbing)."""
    result, depth = "", 0
    # variables end in "/" now and then
    for token in TOKEN.findall(re.sub("/+", "/", path)):
        depth += {"{": 1, "}": -1}.get(token, 0)
        meaning = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")",
                   ",": "|" if depth else ","}
        result += meaning.get(token) or (token if len(token) > 1 else re.escape(token))
    return re.compile(result)


class AppArmorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not PARSER or not SYSTEM.is_dir():
            cls.skipTest(cls, "no apparmor_parser here")
        # pylint: disable=consider-using-with
        scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-apparmor-")
        cls.addClassCleanup(scratch.cleanup)
        cls.base = pathlib.Path(scratch.name, "apparmor.d")
        shutil.copytree(SYSTEM, cls.base, symlinks=True)
        for name, place in FILES.items():
            shutil.copy(BUILD / name, cls.base / place)
        # what the host's administrator has changed is not tested here
        shutil.rmtree(cls.base / "local", ignore_errors=True)

    def parse(self, text, *options):
        """Has the parser read the profiles @text. Returns what it prints."""
        path = self.base / "profile-of-test"
        path.write_text(text, encoding="utf-8")
        parser = subprocess.run(
            [PARSER, "-Q", "-K", "--skip-cache", "-b", str(self.base), *options, str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(parser.returncode, 0, parser.stderr)
        return parser.stdout

    def rules(self, text):
        """Returns {profile: [(permissions, regular expression)]} of @text."""
        found, top, current = {}, None, None
        for line in self.parse(text, "-d").splitlines():
            if line.startswith("Name:\t\t"):
                name = line.removeprefix("Name:\t\t")
                top = top or name
                current = found.setdefault(name if name == top else f"{top}//{name}", [])
            match = RULE.match(line)
            if match:
                # the first ones are for files of the process's own user, and so for all here
                current.append((match[1], expression(match[3])))
        return found

    def all_rules(self):
        """Returns ({profile: rules}, {profile: rules that deny})."""
        allow, deny = {}, {}
        for name in PROFILES:
            text = (self.base / FILES[name]).read_text(encoding="utf-8")
            without = self.rules(re.sub(r"(?m)^ *deny .*$", "", text))
            allow.update(without)
            for profile, rules in self.rules(text).items():
                deny[profile] = [rule for rule in rules if rule not in without[profile]]
        return allow, deny

    def test_parse(self):
        for name in PROFILES:
            with self.subTest(name):
                text = (self.base / FILES[name]).read_text(encoding="utf-8")
                self.assertIn("include if exists <local/", text)
                self.parse(text)

    def test_names(self):
        """Profiles that are added to others' have no path, see the abstraction"""
        for name in PROFILES:
            text = (self.base / FILES[name]).read_text(encoding="utf-8")
            profile = name.split(".")[-1]
            with self.subTest(name):
                self.assertRegex(text, rf"(?m)^profile {profile} "
                                 + ("/usr/sbin/" if profile == "virtnitrod" else "flags="))

    def test_paths_are_matched(self):
        """expression() itself"""
        for path, good, bad in (("/a/{b,c*}/**", "/a/cd/e/f", "/a/d/e"),
                                ("/a//[0-9]*", "/a/1b", "/a/b"),
                                ("/{,usr/}lib/*.so*", "/lib/x.so.1", "/lib/x/y.so"),
                                ("/a/{,**}", "/a/", "/a"), ("/a.b", "/a.b", "/aab")):
            with self.subTest(path):
                self.assertTrue(expression(path).fullmatch(good))
                self.assertIsNone(expression(path).fullmatch(bad))

    def test_allowed_and_refused(self):
        allow, deny = self.all_rules()
        self.assertEqual(sorted(allow), sorted(ALLOWED))

        def permissions(rules, path):
            return set("".join(mode for mode, pattern in rules if pattern.fullmatch(path)))

        for profile, rules in allow.items():
            for path, wanted in ALLOWED[profile]:
                with self.subTest(profile, path=path, allowed=wanted):
                    given = permissions(rules, path) - permissions(deny[profile], path)
                    self.assertLessEqual(set(wanted), given)
            for path, wanted in REFUSED[profile]:
                with self.subTest(profile, path=path, refused=wanted):
                    given = permissions(rules, path) - permissions(deny[profile], path)
                    self.assertFalse(set(wanted) & given)

    def test_userns(self):
        """AppArmor 4 asks for it; the rule is there when the parser of the build knows it"""
        text = (self.base / "abstractions/libvirt-nitro-sandbox").read_text(encoding="utf-8")
        probe = subprocess.run([PARSER, "-Q", "-K", "--skip-cache", "-b", str(self.base)],
                               input="abi <abi/4.0>,\nprofile probe {\n  userns,\n}\n",
                               capture_output=True, text=True, check=False)
        self.assertEqual("\n  userns,\n" in text, probe.returncode == 0, probe.stderr)


if __name__ == "__main__":
    taprunner.main()
