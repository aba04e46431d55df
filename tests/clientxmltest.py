# clientxmltest.py: what the documentation says of the XML of other clients
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The stylesheet of docs/drvnitro.rst turns tests/nitroxml2argvdata/client-terraform-plain.xml,
# what Terraform's provider writes, into client-terraform.xml beside it. That the driver refuses
# the first and takes the second, nitroxml2argvtest sees to.
#
# usage: clientxmltest.py SOURCE-ROOT

import os
import pathlib
import shutil
import subprocess
import sys
import unittest

import taprunner

try:
    import docutils.core
    import docutils.nodes
except ImportError:
    docutils = None

ROOT = pathlib.Path(sys.argv.pop(1))
DATA = ROOT / 'tests' / 'nitroxml2argvdata'


def stylesheets():
    """Returns the XSLT stylesheets of the driver's page."""
    settings = {'report_level': 5, 'halt_level': 3, 'file_insertion_enabled': False}
    text = (ROOT / 'docs' / 'drvnitro.rst').read_text(encoding='utf-8')
    tree = docutils.core.publish_doctree(text, settings_overrides=settings)
    blocks = [node.astext() for node in tree.findall(docutils.nodes.literal_block)]
    return [block for block in blocks if block.startswith('<xsl:stylesheet')]


@unittest.skipUnless(shutil.which('xsltproc'), 'xsltproc (xsltproc) is not installed')
@unittest.skipUnless(docutils, 'docutils (python3-docutils) is not installed')
class Terraform(unittest.TestCase):
    maxDiff = None

    def test_stylesheet(self):
        [stylesheet] = stylesheets()
        # a stylesheet on standard input, as the provider has it in a file of its own
        done = subprocess.run(['xsltproc', '--nonet', '-', DATA / 'client-terraform-plain.xml'],
                              input=stylesheet, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ''))

        expected = DATA / 'client-terraform.xml'
        if 'VIR_TEST_REGENERATE_OUTPUT' in os.environ:
            expected.write_text(done.stdout, encoding='utf-8')
        self.assertEqual(done.stdout, expected.read_text(encoding='utf-8'))


if __name__ == '__main__':
    taprunner.main()
