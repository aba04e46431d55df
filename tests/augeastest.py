# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""The lenses of Augeas for virtnitrod.conf and nitro.conf, in Augeas' own programs."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])
LENSES = pathlib.Path(os.environ["LIBVIRT_NITRO_BUILD"]) / "src" / "nitro"


class AugeasTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("augparse"):
            cls.skipTest(cls, "augparse is not installed (Debian: augeas-tools)")

    def test_files_as_installed(self):
        """with all settings that the comments in them show"""
        for lens in ("virtnitrod", "libvirtd_nitro"):
            with self.subTest(lens):
                test = LENSES / f"test_{lens}.aug"
                self.assertIn("let conf = ", test.read_text(encoding="utf-8"))
                parsed = subprocess.run(["augparse", "-I", LENSES, test], capture_output=True,
                                        text=True, check=False)
                self.assertEqual((parsed.returncode, parsed.stdout + parsed.stderr), (0, ""))

    def test_all_settings_are_shown(self):
        """so that the test above is about all that the driver knows"""
        source = (SOURCE / "src/nitro/nitro_conf_file.c").read_text(encoding="utf-8")
        known = re.search(r"nitroConfKeys\[\] = \{(.*?)\};", source, re.DOTALL)[1]
        shown = re.findall(r"(?m)^#(\w+) = ",
                           (LENSES / "nitro.conf").read_text(encoding="utf-8"))
        self.assertGreater(len(shown), 10)
        self.assertEqual(sorted(shown), sorted(re.findall(r'"(\w+)"', known)))

    def test_a_change(self):
        """what a tool such as Puppet does: the file is found, one line is changed, no other"""
        with tempfile.TemporaryDirectory() as root:
            path = pathlib.Path(root, "etc/libvirt/nitro.conf")
            path.parent.mkdir(parents=True)
            text = (LENSES / "nitro.conf").read_text(encoding="utf-8") + "max_starts = 16\n"
            path.write_text(text, encoding="utf-8")
            commands = ('set /files/etc/libvirt/nitro.conf/max_starts 4\n'
                        'set /files/etc/libvirt/nitro.conf/pool_huge_pages/1 64x2M\n'
                        'save\n')
            subprocess.run(["augtool", "--root", root, "--include", LENSES], input=commands,
                           check=True, text=True, capture_output=True)
            self.assertEqual(path.read_text(encoding="utf-8"),
                             text.replace("\nmax_starts = 16\n", "\nmax_starts = 4\n") +
                             'pool_huge_pages = [ "64x2M"]\n')


if __name__ == "__main__":
    taprunner.main()
