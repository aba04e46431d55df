#
# sandboxtest.py: what the tests of the sandbox share
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
SystemSandbox and SessionSandbox say under whom helpers run in the two modes; a class of tests
derives from one of them and from a class of enclaves.
"""

import os
import pwd
import subprocess
import sys

import daemon
from daemon import NOBODY

# The default of nitro.conf
USER = "libvirt-nitro"
# Where the system has no such user (removed once enter_private_system() adds it)
STAND_IN = 64055


def user_exists():
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


class SystemSandbox:
    """The system's daemon: root's, whose helpers are not."""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    @classmethod
    def before_start(cls):
        super().before_start()
        # helpers and QEMUs of these tests are run from there
        os.chmod(cls.daemon.dir, 0o755)
        if not user_exists():
            cls.use_stand_in()

    @classmethod
    def use_stand_in(cls):
        os.makedirs(cls.daemon.config_dir, exist_ok=True)
        with open(os.path.join(cls.daemon.config_dir, "nitro.conf"), "a",
                  encoding="utf-8") as conf:
            conf.write(f'user = "+{STAND_IN}"\ngroup = "+{STAND_IN}"\n')

    @property
    def daemon_uid(self):
        return 0

    @property
    def helper_ids(self):
        """The user and the primary group of helpers"""
        if not user_exists():
            return STAND_IN, STAND_IN
        entry = pwd.getpwnam(USER)
        return entry.pw_uid, entry.pw_gid

    @property
    def helper_groups(self):
        """All groups that a helper may be in"""
        uid, gid = self.helper_ids
        if not user_exists():
            return {gid}
        return set(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))


class SessionSandbox:
    """A user's daemon, who is nobody in particular."""

    system = False
    # what the user cannot read it cannot either
    read_all = False

    @classmethod
    def setUpClass(cls):
        if not daemon.build_is_for_all():
            cls.skipTest(cls, "the user nobody cannot reach the build tree")
        super().setUpClass()

    @property
    def daemon_uid(self):
        return NOBODY if os.geteuid() == 0 else os.geteuid()

    @property
    def helper_ids(self):
        return (NOBODY, NOBODY) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    @property
    def helper_groups(self):
        return {self.helper_ids[1]} if os.geteuid() == 0 else {os.getegid(), *os.getgroups()}


def user_namespaces():
    """Whether a user without privileges can have a user namespace on this host."""
    command = ["/usr/bin/unshare", "--user", "true"]
    if os.geteuid() == 0:
        command = daemon.AS_NOBODY + command
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit("sandboxtest.py is a module: see test_sandbox.py and test_escape.py")
