# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""What logrotate does with the daemon's log and with those of domains."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])
CONFIGURATION = pathlib.Path(os.environ["LIBVIRT_NITRO_BUILD"]) / "src/nitro/virtnitrod.logrotate"
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class LogrotateTest(unittest.TestCase):
    def setUp(self):
        self.program = shutil.which("logrotate", path=PATH)
        if not self.program:
            self.skipTest("logrotate is not installed")
        # pylint: disable=consider-using-with
        scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-logrotate-")
        self.addCleanup(scratch.cleanup)
        self.top = pathlib.Path(scratch.name)
        self.logs = self.top / "log/libvirt"
        (self.logs / "nitro").mkdir(parents=True)
        text = CONFIGURATION.read_text(encoding="utf-8")
        self.assertIn("\n/var/log/libvirt/nitro/*.log {\n", text)
        self.file = self.top / "configuration"
        self.file.write_text(text.replace("/var/log", f"{self.top}/log"), encoding="utf-8")
        self.file.chmod(0o644)

    def rotate(self, *options):
        done = subprocess.run([self.program, "--state", self.top / "state", *options, self.file],
                              env={"PATH": PATH}, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def names(self, directory=""):
        return sorted(path.name for path in (self.logs / directory).iterdir()
                      if path.is_file())

    def test_no_logs(self):
        self.rotate()
        self.assertEqual(self.names(), [])

    def test_daemon(self):
        log = self.logs / "virtnitrod.log"
        log.write_bytes(b"x" * (101 * 1024))
        self.rotate("--force")
        self.assertEqual(self.names(), ["virtnitrod.log", "virtnitrod.log.1"])
        self.assertEqual(log.stat().st_size, 0)

    def test_domain_as_the_driver_leaves_it(self):
        """the driver's own files are as large as they may be by default, and are left alone"""
        header = (SOURCE / "src/nitro/nitro_conf.h").read_text(encoding="utf-8")
        size = eval(re.search(r"#define NITRO_LOG_MAX_SIZE \(?([\d *]+)", header)[1])
        for name in ("hello.log", "hello.log.0", "hello.log.1", "hello.log.2"):
            (self.logs / "nitro" / name).write_bytes(b"x" * size)
        self.rotate()
        self.assertEqual(self.names("nitro"), ["hello.log", "hello.log.0", "hello.log.1",
                                               "hello.log.2"])
        self.assertEqual((self.logs / "nitro/hello.log").stat().st_size, size)

    def test_domain_without_limit(self):
        """as with log_max_size = 0: the one that is written to stays, and so do the driver's"""
        log = self.logs / "nitro/hello.log"
        log.write_bytes(b"x" * (3 << 20))
        (self.logs / "nitro/hello.log.0").write_bytes(b"older")
        inode = log.stat().st_ino
        self.rotate()
        names = self.names("nitro")
        self.assertEqual(names[:1] + names[2:], ["hello.log", "hello.log.0"])
        self.assertRegex(names[1], r"^hello\.log-\d{8}-\d+$")
        self.assertEqual((log.stat().st_size, log.stat().st_ino), (0, inode))
        self.assertEqual((self.logs / "nitro" / names[1]).stat().st_size, 3 << 20)

    def test_others(self):
        """the broker's, which nobody else keeps small, and those of the processes of services"""
        for name in ("heartbeat-broker", "hello.services"):
            (self.logs / "nitro" / name).write_bytes(b"x" * (3 << 20))
        (self.logs / "nitro/hello.services.0").write_bytes(b"older")
        self.rotate()
        names = self.names("nitro")
        self.assertRegex(" ".join(names), r"^heartbeat-broker heartbeat-broker-\d{8}-\d+ "
                         r"hello\.services hello\.services-\d{8}-\d+ hello\.services\.0$")
        for name in (names[0], names[2]):
            self.assertEqual((self.logs / "nitro" / name).stat().st_size, 0)


if __name__ == "__main__":
    taprunner.main()
