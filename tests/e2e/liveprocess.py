#
# liveprocess.py: what the kernel lets a running process do
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
LiveProcess reads /proc/PID, and nothing that the process itself says. What is a thread's own,
such as its filters, is read of all threads.
"""

import contextlib
import os
import stat

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

# Of descriptors that lead to no file
NAMELESS = ("socket:", "pipe:", "anon_inode:", "/memfd:")


class LiveProcess:
    """See the comment at the top of the file."""

    def __init__(self, pid):
        self.pid = pid

    def path(self, *names):
        return os.path.join(f"/proc/{self.pid}", *names)

    def read(self, *names):
        with open(self.path(*names), "rb") as file:
            return file.read().decode(errors="replace")

    @staticmethod
    def fields(text):
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {name: value.strip() for name, value in pairs}

    def status(self):
        return self.fields(self.read("status"))

    def threads(self):
        """Returns the status of each thread."""
        found = []
        for task in os.listdir(self.path("task")):
            # one may end
            with contextlib.suppress(OSError):
                found.append(self.fields(self.read("task", task, "status")))
        return found

    def of_threads(self, field):
        """Returns the set of the values that the threads have for @field."""
        return {status[field] for status in self.threads()}

    def namespace(self, name):
        return os.readlink(self.path("ns", name))

    def limit(self, name):
        """Returns the soft and the hard limit @name, as words."""
        for line in self.read("limits").splitlines():
            if line.startswith(name):
                return tuple(line[len(name):].split()[:2])
        raise KeyError(name)

    def mounts(self):
        """Returns {mount point: set of its options, and of its file system's}."""
        found = {}
        for line in self.read("mountinfo").splitlines():
            words = line.split(" ")
            found[words[4]] = set(words[5].split(","))
        return found

    def descriptors(self):
        """Returns (number, target, whether it can be written to) of each."""
        found = []
        for number in os.listdir(self.path("fd")):
            with contextlib.suppress(OSError):
                flags = int(self.fields(self.read("fdinfo", number))["flags"], 8)
                writable = not flags & os.O_PATH and flags & os.O_ACCMODE != os.O_RDONLY
                found.append((int(number), os.readlink(self.path("fd", number)), writable))
        return found

    def named(self):
        """Those descriptors that lead to a file of some kind: (number, target, writable, mode)."""
        found = []
        for number, target, writable in self.descriptors():
            if not target.startswith(NAMELESS):
                with contextlib.suppress(OSError):
                    mode = os.stat(self.path("fd", str(number))).st_mode
                    found.append((number, target, writable, mode))
        return found

    def directories(self):
        return [target for _, target, _, mode in self.named() if stat.S_ISDIR(mode)]

    def devices(self):
        return [target for _, target, _, mode in self.named()
                if stat.S_ISCHR(mode) or stat.S_ISBLK(mode)]

    def written(self):
        """Returns the regular files that it has open for writing."""
        return [target for _, target, writable, mode in self.named()
                if writable and stat.S_ISREG(mode)]

    def interfaces(self):
        """Returns the names of the network interfaces that it sees."""
        return [line.split(":")[0].strip() for line in self.read("net", "dev").splitlines()[2:]]

    def environment(self):
        pairs = (entry.split("=", 1) for entry in self.read("environ").split("\0") if "=" in entry)
        return dict(pairs)

    def is_dumpable(self):
        """
        Whether other processes of its user may look into it: its files in /proc, but for the
        directories, are root's when they may not.
        """
        return os.stat(self.path("maps")).st_uid != 0

    def listdir(self, *names):
        """Returns the names in a directory that it sees, [] when there is none."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self.path("root", *names)))
        return []

    def sees(self, path):
        return os.path.lexists(self.path("root", path.lstrip("/")))


if __name__ == "__main__":
    raise SystemExit("liveprocess.py is a module: see test_sandbox.py")
