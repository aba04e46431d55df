# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""po/POTFILES names every source file with a translatable message, and no other."""

import os
import pathlib
import re
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])


class PotfilesTest(unittest.TestCase):
    def test_in_step(self):
        expected = sorted(str(path.relative_to(SOURCE))
                          for path in (SOURCE / "src").rglob("*.c")
                          if re.search(r"\bN?_\(", path.read_text(encoding="utf-8")))
        actual = (SOURCE / "po" / "POTFILES").read_text(encoding="utf-8").split()
        self.assertEqual(expected, actual)


if __name__ == "__main__":
    taprunner.main()
