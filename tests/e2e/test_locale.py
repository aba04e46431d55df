#
# test_locale.py: messages in the language of the daemon
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A daemon with a German locale answers in German, and its helper with it. The locale is
made for the test, of Debian's package "locales"; the catalogue is the build tree's.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

import daemon
import libvirt
import taprunner
from e2etest import EnclaveTest, boot_image, domain_xml

LOCALE = "de_DE.UTF-8"


def make_locale(directory):
    """Makes the German locale in @directory. Raises SkipTest where that is not possible."""
    if not shutil.which("localedef"):
        raise unittest.SkipTest("localedef is not installed")
    done = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8",
                           os.path.join(directory, LOCALE)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise unittest.SkipTest("the locale de_DE cannot be made; is the package 'locales' "
                                f"installed? {done.stderr.strip()}")


class German(EnclaveTest):
    @classmethod
    def setUpClass(cls):
        cls.locales = tempfile.mkdtemp(prefix="nitro-locale-")
        cls.addClassCleanup(shutil.rmtree, cls.locales)
        make_locale(cls.locales)
        os.chmod(cls.locales, 0o755)
        super().setUpClass()
        cls.descriptors = None

    @classmethod
    def warm_up(cls):
        """The daemon starts again, with its locale; who is connected has waited for that."""
        cls.daemon.restart(LOCPATH=cls.locales, LC_ALL=LOCALE,
                           LIBVIRT_NITRO_LOCALEDIR=os.path.join(daemon.BUILD, "po"))
        conn = libvirt.open(cls.daemon.uri)
        conn.listAllDomains()
        conn.close()

    def test_driver(self):
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN, "keine Domain mit dem Namen 'nobody'"):
            self.conn.lookupByName("nobody")

    def test_model(self):
        with self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "wird nicht unterstützt", "<disk>"):
            self.conn.defineXML(domain_xml("disk", devices=(
                "<disk type='file'><source file='/x'/><target dev='vda'/></disk>")))

    def test_macro_of_libvirt(self):
        """a message of libvirt's in code of ours still arrives"""
        with self.refused(libvirt.VIR_ERR_INVALID_ARG, "0x1000"):
            self.conn.domainXMLToNative("nitro-cli", domain_xml("x"), 0x1000)

    def test_helper(self):
        """what the helper says comes through the daemon"""
        path = self.path("text.eif")
        with open(path, "w", encoding="utf-8") as image:
            image.write("no image" * 100)
        os.chmod(path, 0o644)
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.conn.createXML(domain_xml("text", boot=boot_image(path)), 0)
        self.assertIn("Abbild", raised.exception.get_error_message())


if __name__ == "__main__":
    taprunner.main()
