# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""po/POTFILES names every source file with a translatable message, and no other; errors are
translatable messages."""

import os
import pathlib
import re
import unittest

import taprunner
import updatepo

# Errors for users that are neither marked nor made by one of these functions
UNMARKED = re.compile(r'\b(?:g_set_error|g_set_error_literal|virReportError|virReportSystemError)'
                      r'\((?:[^"();]|\([^()"]*\))*,\s*"(?!%s")', re.ASCII)

# A message with a macro in it, of which xgettext would see the first part only
BROKEN = re.compile(r'\b(?:N?_|virtEifError|failureSet|setError|setErrorOf|setFormatError)\('
                    r'(?:[^"();]|\([^()"]*\))*'
                    r'(?:"(?:[^"\\]|\\.)*"\s*|PRI\w+\s*)+(?!PRI)[A-Z_]{2}\w*', re.ASCII)

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])


class PotfilesTest(unittest.TestCase):
    def test_in_step(self):
        actual = (SOURCE / "po" / "POTFILES").read_text(encoding="utf-8").split()
        self.assertEqual(updatepo.load().potfiles(), actual)

    def test_marked(self):
        for path in sorted((SOURCE / "src").rglob("*.c")):
            with self.subTest(path.name):
                text = path.read_text(encoding="utf-8")
                for pattern in (UNMARKED, BROKEN):
                    found = pattern.search(text)
                    self.assertIsNone(found, found and found.group())


if __name__ == "__main__":
    taprunner.main()
