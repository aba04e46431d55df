#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""What a service's unit file says, and a program that runs under it without systemd.

    systemdunit.py [--allow CALL] UNIT COMMAND [ARGUMENT ...]

runs the command, as root, with the limits, the read-only directories, the capabilities and the
filters of system calls that systemd would give the service UNIT; with --allow, one call more.
Devices, control groups and IPAddressDeny= are not done: those need a systemd, or a control group
to spoil.

Flow: Unit reads the file -> confine(): limits, mounts, capabilities, then the filters -> exec.
"""

import argparse
import ctypes
import errno
import os
import resource
import socket
import stat
import subprocess

import seccomp

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CLONE_NEWNS = 0x20000

# systemd.exec(5), ProtectSystem=
READ_ONLY = {"no": [], "yes": ["/usr", "/boot", "/efi"], "full": ["/usr", "/boot", "/efi", "/etc"]}

# linux/capability.h, by number
CAPABILITIES = """
    chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
    net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio
    sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
""".split()

# bits/socket.h
ADDRESS_FAMILIES = 45
# sched.h: SCHED_OTHER, SCHED_BATCH, SCHED_IDLE
NOT_REALTIME = (0, 3, 5)
# where each call has its mode
MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2}


class Unit:
    """The settings of one section of a unit file."""

    def __init__(self, path, wanted="[Service]"):
        self.settings = {}
        section = None
        with open(path, encoding="utf-8") as file:
            self.text = file.read()
        for line in self.text.splitlines():
            if line.startswith("["):
                section = line
            elif section == wanted and "=" in line and not line.startswith(("#", ";")):
                name, value = line.split("=", 1)
                self.settings.setdefault(name, []).append(value)

    def words(self, name):
        """Returns all words of the setting @name."""
        return " ".join(self.settings.get(name, [])).split()

    def one(self, name, default="no"):
        return self.settings.get(name, [default])[-1]

    def on(self, name):
        return self.one(name) == "yes"

    def limits(self):
        """Returns {number of a resource: its limit, soft and hard}."""
        return {getattr(resource, name.replace("Limit", "RLIMIT_", 1)):
                resource.RLIM_INFINITY if self.one(name) == "infinity" else int(self.one(name))
                for name in self.settings if name.startswith("Limit")}

    def capabilities(self):
        """Returns the numbers of the capabilities that are left."""
        return {CAPABILITIES.index(word.removeprefix("CAP_").lower())
                for word in self.words("CapabilityBoundingSet")}

    def system_calls(self):
        """Returns the names of the calls that are allowed."""
        allowed = system_call_set("@default")
        for value in self.settings["SystemCallFilter"]:
            names = set().union(*map(system_call_set, value.removeprefix("~").split()))
            allowed = allowed - names if value.startswith("~") else allowed | names
        return allowed


def system_call_set(name):
    """Returns the calls of the set @name, as systemd knows it; of a call itself, the call."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    members = text.split("\n", 1)[1].replace("#", " # ").splitlines()
    words = [line.split()[0] for line in members if line.strip() and line.split()[0] != "#"]
    return set().union(*map(system_call_set, words))


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def protect_system(unit):
    """Makes directories of the system read-only, for this process and its children."""
    directories = [path for path in READ_ONLY[unit.one("ProtectSystem")] if os.path.isdir(path)]
    mount("--make-rslave", "/")
    for directory in directories:
        mount("--rbind", directory, directory)
    for path in unit.words("ReadWritePaths"):
        if not path.startswith("-") or os.path.exists(path[1:]):
            mount("--rbind", path.removeprefix("-"), path.removeprefix("-"))
    for directory in directories:
        mount("-o", "remount,bind,ro", directory)


def call_filter(unit, more):
    """SystemCallFilter=, and the calls @more"""
    action = seccomp.ERRNO(getattr(errno, unit.one("SystemCallErrorNumber", "EPERM")))
    rules = seccomp.SyscallFilter(action)
    for name in unit.system_calls().union(more):
        # -1: unknown; below that: of another architecture
        if seccomp.resolve_syscall(seccomp.Arch(), name) >= 0:
            rules.add_rule(seccomp.ALLOW, name)
    return rules


def other_filter(unit):
    """RestrictAddressFamilies=, RestrictSUIDSGID=, RestrictRealtime= and LockPersonality="""
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    families = {int(getattr(socket, name)) for name in unit.words("RestrictAddressFamilies")}
    refused = seccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in set(range(ADDRESS_FAMILIES)) - families if families else ():
        rules.add_rule(refused, "socket", seccomp.Arg(0, seccomp.EQ, family))
    rules.add_rule(refused, "socket", seccomp.Arg(0, seccomp.GE, ADDRESS_FAMILIES))

    refused = seccomp.ERRNO(errno.EPERM)
    if unit.on("RestrictSUIDSGID"):
        for name, number in MODES.items():
            for bit in (stat.S_ISUID, stat.S_ISGID):
                rules.add_rule(refused, name,
                               seccomp.Arg(number, seccomp.MASKED_EQ, bit, bit))
    if unit.on("RestrictRealtime"):
        for policy in set(range(8)) - set(NOT_REALTIME):
            rules.add_rule(refused, "sched_setscheduler", seccomp.Arg(1, seccomp.EQ, policy))
    if unit.on("LockPersonality"):
        # PER_LINUX
        rules.add_rule(refused, "personality", seccomp.Arg(0, seccomp.NE, 0))
    return rules


def confine(unit, more):
    """Puts this process, which is root's, under the settings of @unit, but for the calls @more."""
    libc = ctypes.CDLL(None, use_errno=True)
    # before the calls that make them are refused
    filters = [call_filter(unit, more), other_filter(unit)]

    for number, limit in unit.limits().items():
        try:
            resource.setrlimit(number, (limit, limit))
        except ValueError:
            # root of a container, which may not raise its own
            _, hard = resource.getrlimit(number)
            resource.setrlimit(number, (hard, hard))
    check(libc.unshare(CLONE_NEWNS), "unshare")
    protect_system(unit)
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    for number in set(range(last + 1)) - unit.capabilities():
        check(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"capability {number}")
    if unit.on("NoNewPrivileges"):
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for rules in reversed(filters):
        # systemd does not set it where the unit does not say so
        rules.set_attr(seccomp.Attr.CTL_NNP, int(unit.on("NoNewPrivileges")))
        rules.load()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("unit")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    confine(Unit(arguments.unit), arguments.allow)
    os.execvp(arguments.command[0], arguments.command)
