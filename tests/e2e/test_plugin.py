#
# test_plugin.py: a daemon and a plugin of two versions of libvirt
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
The plugin uses what is libvirt's own business, so that a daemon of another libvirt must not load
it. The other libvirt is a made up one, of whose private symbols the plugin's table of versions
speaks. Where NITRO_OTHER_BUILD names the build tree of another version, as scripts/check-libvirt
does, the two daemons are also given each other's plugin.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import daemon
import taprunner
from daemon import NitroDaemon

BUILD = pathlib.Path(daemon.BUILD)
OTHER_BUILD = os.environ.get("NITRO_OTHER_BUILD")

PLUGIN = "libvirt_driver_nitro.so"
PRIVATE = re.compile(rb"(LIBVIRT_PRIVATE_\d+\.\d+\.)(\d+)\0")


def program(build):
    return build / "src/nitro/virtnitrod"


def plugin(build):
    return (build / "src/nitro" / PLUGIN).read_bytes()


def version(build):
    """The libvirt of the daemon in @build"""
    text = subprocess.run([program(build), "--version"], capture_output=True, text=True,
                          check=True).stdout
    return re.search(r"(\d+\.\d+\.\d+)$", text.strip()).group(1)


class PluginBase(unittest.TestCase):

    def setUp(self):
        self.daemon = NitroDaemon()
        self.addCleanup(self.daemon.remove)
        self.addCleanup(self.daemon.stop)
        # pylint: disable=consider-using-with
        where = tempfile.TemporaryDirectory(dir=self.daemon.dir)
        self.addCleanup(where.cleanup)
        self.directory = pathlib.Path(where.name)
        self.directory.chmod(0o755)

    def install(self, content):
        (self.directory / PLUGIN).write_bytes(content)

    def refuse(self, build, other):
        """The daemon of @build must not take the plugin of the libvirt @other."""
        done = subprocess.run(
            self.daemon.prefix + [program(build)], check=False, capture_output=True, timeout=60,
            env=dict(self.daemon.daemon_env, LIBVIRT_DRIVER_DIR=str(self.directory)))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(
            f"the module '{self.directory / PLUGIN}' is for libvirt {other}, and this is libvirt "
            f"{version(build)}: install both of one build", self.daemon.logs())


class PluginTest(PluginBase):

    def test_own(self):
        self.install(plugin(BUILD))
        self.daemon.start(LIBVIRT_DRIVER_DIR=str(self.directory))
        self.assertNotIn("install both of one build", self.daemon.logs())

    def test_made_up(self):
        content, count = PRIVATE.subn(rb"\g<1>9\0", plugin(BUILD))
        self.assertGreater(count, 0)
        self.install(content)
        self.refuse(BUILD, re.sub(r"\d+$", "9", version(BUILD)))


if OTHER_BUILD:
    class EachOthersTest(PluginBase):

        def test_both(self):
            one, two = BUILD, pathlib.Path(OTHER_BUILD)
            self.assertNotEqual(version(one), version(two))
            for build, other in ((one, two), (two, one)):
                with self.subTest(version(build)):
                    self.install(plugin(other))
                    self.refuse(build, version(other))


if __name__ == "__main__":
    taprunner.main()
