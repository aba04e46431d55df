# novastyletest.py: the compute driver is written as nova itself is
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs flake8 over nova/, with OpenStack's own checks (python3-hacking), and shows it faults that it
must find. nova leaves out the same rules.
"""

import importlib.util
import os
import pathlib
import subprocess
import tempfile
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])

# nova's own: the first line of a text may be empty, and a line may be broken at an operator
NOT_NOVAS = "H404,H405,W503,W504"


@unittest.skipUnless(importlib.util.find_spec("hacking"), "python3-hacking is not installed")
class NovaStyleTest(unittest.TestCase):

    def flake8(self, path):
        done = subprocess.run(["/usr/bin/python3", "-m", "flake8", "--isolated",
                               f"--ignore={NOT_NOVAS}", path],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_driver(self):
        self.assertGreater(len(list((SOURCE / "nova").rglob("*.py"))), 5)
        self.assertEqual(self.flake8(SOURCE / "nova"), "")

    def test_faults(self):
        with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="ascii") as file:
            file.write("import sys\nimport os\n\n\n"
                       "def long(argument_one, argument_two):\n"
                       f"    return argument_one + argument_two + {'1' * 60}\n\n\n"
                       "try:\n    long(1, 2)\nexcept:\n    pass\n")
            file.flush()
            found = self.flake8(file.name)
        for code in ("F401", "H306", "E501", "H201"):
            with self.subTest(code):
                self.assertIn(code, found)

    def test_all_are_installed(self):
        """nova/meson.build names each file"""
        build = (SOURCE / "nova" / "meson.build").read_text(encoding="ascii")
        for path in (SOURCE / "nova" / "nitro").glob("*.py"):
            with self.subTest(path.name):
                self.assertIn(f"'nitro/{path.name}'", build)


if __name__ == "__main__":
    taprunner.main()
