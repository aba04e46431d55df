# scratchcase.py: what tests of a tool that reads and writes files have in common
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later

import os
import shutil
import tempfile
import unittest


class ScratchCase(unittest.TestCase):
    """A test with a directory of its own, which is gone afterwards"""

    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix='libvirt-nitro-')
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, data):
        """Writes a file, and returns its path."""
        with open(self.path(name), 'wb') as file:
            file.write(data)
        return self.path(name)
