#
# daemon.py: a private virtnitrod from the build tree
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs virtnitrod from the build tree for the end-to-end tests, the demo and the
benchmarks, with everything that it reads and writes in a temporary directory of
its own: nothing of the user's or the system's libvirt is touched.

Flow: NitroDaemon() makes the directory and the environments (one for the daemon,
one for clients) -> start() -> clients use daemon.uri, or virsh() -> stop(), which
leaves enclaves running as a daemon's restart does -> remove().

A system daemon has fixed paths in /run, /etc and /var. enter_private_system()
gives the calling process a view of the file system in which these are empty, and in which
there is the user that helpers run as: the machine's own users stay as they are.
"""

import atexit
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE = os.environ.get("LIBVIRT_NITRO_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LIBVIRT_NITRO_BUILD") or os.path.join(SOURCE, "build")

DAEMON = os.path.join(BUILD, "src/nitro/virtnitrod")
HELPER = os.path.join(BUILD, "src/helper/libvirt_nitro")
CHECKER = os.path.join(BUILD, "src/check/libvirt_nitro_check")
SERVICES = os.path.join(BUILD, "src/services/libvirt_nitro_services")
NSM = os.path.join(BUILD, "src/nsm/libvirt_nitro_nsm")
PROGRAMS = (HELPER, CHECKER, SERVICES, NSM)

# The sample enclave, see examples/hello
HELLO_DIR = os.path.join(BUILD, "examples/hello")
HELLO_XML = os.path.join(HELLO_DIR, "hello.xml")
HELLO_EIF = os.path.join(HELLO_DIR, "hello.eif")
HELLO_KERNEL = os.path.join(HELLO_DIR, "hello-kernel")
HELLO_INITRD = os.path.join(HELLO_DIR, "hello-initrd")
# The one for aarch64, which is the same on a host that is
HELLO_AARCH64 = "" if os.uname().machine == "aarch64" else "-aarch64"
# The number that hello.eif prints: its command line has hello.seed=271828
HELLO_BANNER = "hello: enclave ready, check number 73890461585"

VIRSH = "/usr/bin/virsh"

# Of root's, daemons and clients are the system's always. Its session ones run as "nobody";
# with this capability they can read the build tree wherever it is (access(2) heeds it
# with this secure bit only).
NOBODY = 65534
SETPRIV = "/usr/bin/setpriv"
AS_NOBODY = [SETPRIV, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
READ_ALL = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override",
            "--securebits=+no_setuid_fixup"]

# No daemon outlives the process that it was started for.
WITH_US = [SETPRIV, "--pdeathsig=KILL"]

# Whom a system daemon's helpers run as: its user and group, and a user who is a member of the
# group. Numbers that no package and no person has.
HELPER_USER = "libvirt-nitro"
HELPER_ID = 60987
MEMBER_ID = 60988
OUTSIDER_ID = 60989
KVM_ID = 60990  # where the machine has no such group
USERS = (f"{HELPER_USER}:x:{HELPER_ID}:{HELPER_ID}:helpers:/:/usr/sbin/nologin",
         f"nitro-member:x:{MEMBER_ID}:{MEMBER_ID}:a member:/:/usr/sbin/nologin",
         f"nitro-outsider:x:{OUTSIDER_ID}:{OUTSIDER_ID}:no member:/:/usr/sbin/nologin")
GROUPS = (f"{HELPER_USER}:x:{HELPER_ID}:nitro-member", f"nitro-member:x:{MEMBER_ID}:",
          f"nitro-outsider:x:{OUTSIDER_ID}:")
# What sets a process up as one of them, with all its groups
AS_MEMBER = [SETPRIV, f"--reuid={MEMBER_ID}", f"--regid={MEMBER_ID}", f"--groups={HELPER_ID}"]
AS_OUTSIDER = [SETPRIV, f"--reuid={OUTSIDER_ID}", f"--regid={OUTSIDER_ID}", "--clear-groups"]
AS_HELPER = [SETPRIV, f"--reuid={HELPER_ID}", f"--regid={HELPER_ID}", "--clear-groups"]

# Directories that a system daemon uses
SYSTEM_DIRS = ["/run", "/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt"]

START_SECONDS = 20
STOP_SECONDS = 10

# For a daemon of the build tree; the distribution's clients must not see them.
BUILD_TREE_ENV = {
    "LIBVIRT_DIR_OVERRIDE": "1",
    "LIBVIRT_DRIVER_DIR": os.path.join(BUILD, "src/nitro"),
}
for variable in BUILD_TREE_ENV:
    os.environ.pop(variable, None)


def wait_until(condition, seconds, what):
    """Calls @condition until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def free_port(host):
    """Returns the number of a TCP port of @host that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def build_is_for_all():
    """Whether users other than root can reach the build tree."""
    return (os.geteuid() != 0 or
            subprocess.run(AS_NOBODY + ["test", "-x", HELPER], check=False).returncode == 0)


class Processes:
    """
    The processes that descend from this one. Daemonized ones do as well: this
    process adopts orphans (PR_SET_CHILD_SUBREAPER), and reaps them as an init does.
    """

    PR_SET_CHILD_SUBREAPER = 36

    reaper = None

    def __init__(self):
        # a second one would wait for what the first has reaped
        if Processes.reaper:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(self.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        Processes.reaper = threading.Thread(target=self._reap, daemon=True)
        Processes.reaper.start()

    @staticmethod
    def _table():
        """Maps each PID of the system to (PID of its parent, state, session, name)."""
        table = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    text = stat.read()
            except OSError:
                continue
            name = text[text.index("(") + 1:text.rindex(")")]
            state, parent, _, session = text[text.rindex(")") + 2:].split()[:4]
            table[int(pid)] = (int(parent), state, int(session), name)
        return table

    def _reap(self):
        """
        Reaps adopted processes: helpers, QEMUs, forks of threads of the daemon and what was to run
        on another host, none of them in this session. All others have been started here and have a
        waiter.
        """
        while True:
            # looking at all processes of the machine is costly, and there may be none of ours
            dead = None
            with contextlib.suppress(ChildProcessError):
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            for pid, (parent, state, session, name) in self._table().items() if dead else ():
                if (parent == os.getpid() and state == "Z" and session != os.getsid(0) and
                        (name in ("sh", "virt-ssh-helper") or
                         name.startswith(("libvirt_nitro", "qemu-", "bwrap", "rpc-", "nitro-")))):
                    # end() may have been first
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, 0)
            time.sleep(0.02)

    def kill(self):
        """Kills all that is left below this process; returns {PID: name} of it."""
        left = self.descendants()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def end(self, *names):
        """Ends what is below this process and has a name that begins with one of @names."""
        for pid, name in self.descendants().items():
            if name.startswith(names):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for pid, name in self.descendants().items():
            if name.startswith(names):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def descendants(self, of=None):
        """Returns {PID: name} of the living and unreaped processes below @of."""
        table = self._table()
        found = {}
        todo = [of or os.getpid()]
        while todo:
            parent = todo.pop()
            for pid, (ppid, _, _, name) in table.items():
                if ppid == parent and pid not in found:
                    found[pid] = name
                    todo.append(pid)
        return found


class SharedDirectories:
    """
    Directories of the real file system that private ones are mounted on, for as long as this
    process and others that run at the same time need them. When one is removed the kernel
    takes away what is mounted on it, in all namespaces: so the last user removes those that
    were made here, by whichever of them, and not each its own. Users hold a shared lock on the
    file that lists them; who gets it alone is the last.
    """

    LIST = "/tmp/libvirt-nitro-directories"

    def __init__(self, directories, path=LIST):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.file = os.open(path, flags, 0o600)
        fcntl.flock(self.file, fcntl.LOCK_SH)
        for directory in directories:
            if not os.path.isdir(directory):
                # listed first: who is killed in between leaves it to the next
                os.write(self.file, f"{directory}\n".encode())
                with contextlib.suppress(FileExistsError):
                    os.mkdir(directory)

    def leave(self):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names = os.pread(self.file, os.fstat(self.file).st_size, 0).decode().split("\n")
            for directory in filter(None, names):
                # somebody else may have put something in it
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            os.ftruncate(self.file, 0)
        os.close(self.file)


def with_helper_user(path, entries):
    """
    Returns the content of the user or group database @path with @entries, in which the user of
    helpers is a member of the group "kvm" as well.
    """
    with open(path, encoding="utf-8") as database:
        lines = database.read().splitlines()
    names = [entry.split(":")[0] for entry in entries]
    lines = [line for line in lines if line.split(":")[0] not in names]
    if path == "/etc/group":
        kvm = next((line for line in lines if line.startswith("kvm:")), f"kvm:x:{KVM_ID}:")
        lines = [line for line in lines if line != kvm]
        lines.append(kvm + ("" if kvm.endswith(":") else ",") + HELPER_USER)
    return "\n".join([*lines, *entries, ""])


def enter_private_system(*more):
    """
    Moves this process, which must have one thread only, into a mount namespace of its
    own in which the directories of the system's libvirt, and @more, are empty, and the users
    above exist. Raises OSError where that is not allowed.
    """
    CLONE_NEWNS, MS_PRIVATE, MS_REC, MNT_DETACH = 0x20000, 1 << 18, 1 << 14, 2
    MS_BIND = 1 << 12
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result, what):
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    def take_away(shared, directories):
        for directory in directories:
            libc.umount2(directory.encode(), MNT_DETACH)
        shared.leave()

    directories = SYSTEM_DIRS + list(more)
    check(libc.unshare(CLONE_NEWNS), "unshare")
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    # a mount needs the directory; on the real file system, so it must go again
    shared = SharedDirectories(directories)
    atexit.register(take_away, shared, directories)
    for directory in directories:
        check(libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, b"mode=755"),
              f"mount {directory}")
    os.mkdir("/run/lock")  # /var/lock leads there; libvirt locks the terminals of consoles
    # /run is empty, so nobody's cache of users is asked
    for path, entries in (("/etc/passwd", USERS), ("/etc/group", GROUPS)):
        private = f"/run/{os.path.basename(path)}"
        with open(private, "w", encoding="utf-8") as database:
            database.write(with_helper_user(path, entries))
        check(libc.mount(private.encode(), path.encode(), None, MS_BIND, None), f"mount {path}")


outside = "nobody has tried"  # why this process is in no private system, or None


def try_private_system(*more):
    """enter_private_system(), if that is allowed: need_private_system() and @outside tell."""
    global outside  # pylint: disable=global-statement
    try:
        enter_private_system(*more)
        outside = None
    except OSError as error:
        outside = str(error)


def need_private_system():
    """Skips a test, or the class whose set-up this is in, where there is none."""
    if outside:
        raise unittest.SkipTest(f"this needs root and a mount namespace: {outside}")


class NitroDaemon:
    """
    One virtnitrod and its directory, in @where. Start and stop it as often as you like.
    With @read_all false, a session daemon of root's may read what "nobody" may.
    """

    def __init__(self, system=False, read_all=True, where="/tmp"):
        for path in (DAEMON, *PROGRAMS):
            if not os.access(path, os.X_OK):
                raise FileNotFoundError(f"{path} is not there: build first")

        self.system = system
        self.prefix = []
        if os.geteuid() == 0 and not system:
            self.prefix = AS_NOBODY + (READ_ALL if read_all else [])
        # short, as paths of sockets can be no longer than 107 bytes
        self.dir = tempfile.mkdtemp(prefix="nitro-", dir=where)
        # helpers of a system daemon are another user's, and may be here
        os.chmod(self.dir, 0o711)
        self.process = None
        self.log = os.path.join(self.dir, "virtnitrod.log")
        self.client_env = self._client_env()
        self.daemon_env = dict(
            self.client_env, **BUILD_TREE_ENV,
            LIBVIRT_LOG_OUTPUTS=f"1:file:{self.log}",
            LIBVIRT_LOG_FILTERS="1:nitro 3:*" if "NITRO_DEBUG" in os.environ else "3:*")

        self.programs = None  # a directory with copies of the helper and the checker
        if not build_is_for_all():
            self.copy_helper()

        if system:
            self.state_dir = "/run/libvirt"
            self.config_dir = "/etc/libvirt"
            self.url = self.uri = "nitro:///system"
        else:
            self.state_dir = os.path.join(self.dir, "run", "libvirt")
            self.config_dir = os.path.join(self.dir, "config", "libvirt")
            self.url = "nitro:///session"
            # GLib remembers XDG_RUNTIME_DIR, so a process that uses two daemons has to name them
            self.uri = f"{self.url}?socket={self.socket}"

    @property
    def socket(self):
        return os.path.join(self.state_dir, "virtnitrod-sock")

    @property
    def domain_log_dir(self):
        if self.system:
            return "/var/log/libvirt/nitro"
        return os.path.join(self.dir, "cache", "libvirt", "nitro", "log")

    def _client_env(self):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("LIBVIRT_", "VIRSH_", "XDG_", "DBUS_"))
               and name != "LD_LIBRARY_PATH"}
        env["LC_ALL"] = "C.UTF-8"
        for variable, directory in (("HOME", "home"), ("XDG_RUNTIME_DIR", "run"),
                                    ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache"),
                                    ("XDG_DATA_HOME", "data")):
            env[variable] = os.path.join(self.dir, directory)
            os.mkdir(env[variable], 0o700)
        if self.prefix:
            for name in [""] + os.listdir(self.dir):
                os.chown(os.path.join(self.dir, name), NOBODY, NOBODY)
        return env

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"virtnitrod ended with status {self.process.returncode}\n"
                               + self.logs())
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(self.socket)
                return True
            except OSError:
                return False

    def start(self, **env):
        """Starts the daemon, with @env on top of its environment, and waits for it."""
        with open(os.path.join(self.dir, "output"), "ab") as output:
            # a session of its own: Ctrl-C is for the caller
            self.process = subprocess.Popen(
                self.prefix + WITH_US + [DAEMON], env=dict(self.daemon_env, **env), cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        wait_until(self._answers, START_SECONDS, "the socket of virtnitrod")

    def copy_helper(self):
        """Helpers have no capability, so that those of others cannot reach the build tree."""
        directory = os.path.join(self.dir, "build")
        os.mkdir(directory, 0o755)
        for program in PROGRAMS:
            os.chmod(shutil.copy(program, directory), 0o755)
        self.programs = directory
        self.daemon_env["LIBVIRT_NITRO_HELPER_DIR"] = directory

    def program(self, original):
        """The path of one of PROGRAMS, or of the copy of it"""
        return os.path.join(self.programs, os.path.basename(original)) if self.programs else original

    def wrap(self, program, script):
        """
        From the next start on runs the lines @script of shell before @program, one of PROGRAMS;
        what ends with "exit" is all there is of it.
        """
        directory = os.path.join(self.dir, "helper")
        if not os.path.isdir(directory):
            os.mkdir(directory)
            os.chmod(directory, 0o755)
            for other in PROGRAMS:
                os.symlink(self.program(other), os.path.join(directory, os.path.basename(other)))
        path = os.path.join(directory, os.path.basename(program))
        with open(path + ".new", "w", encoding="utf-8") as wrapper:
            wrapper.write(f'#!/bin/sh\n{script}\nexec {self.program(program)} "$@"\n')
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        self.daemon_env["LIBVIRT_NITRO_HELPER_DIR"] = directory

    def wrap_helper(self, script):
        self.wrap(HELPER, script)

    def kill(self):
        """Kills the daemon, as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends the daemon, not its enclaves. Returns its exit status."""
        if not self.process:
            return None
        self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None
        return status

    def restart(self, **env):
        self.stop()
        self.start(**env)

    def remove(self):
        """Removes the directory of the daemon, which has been stopped."""
        shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        """Returns what the daemon and the helpers have written, for a failure's report."""
        paths = [os.path.join(self.dir, "output"), self.log]
        if os.path.isdir(self.domain_log_dir):
            paths += sorted(os.path.join(self.domain_log_dir, name)
                            for name in os.listdir(self.domain_log_dir))
        text = []
        for path in paths:
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as log:
                    text.append(f"--- {path}\n" + log.read()[-8000:])
        return "\n".join(text)

    def descriptors(self):
        """Returns the sorted list of what the descriptors of the daemon refer to."""
        where = f"/proc/{self.process.pid}/fd"
        found = []
        for fd in os.listdir(where):
            try:
                target = os.readlink(os.path.join(where, fd))
            except OSError:
                continue
            # of sockets and pipes the number changes, the kind does not
            found.append(target.split(":[")[0] if ":[" in target else target)
        return sorted(found)

    def files(self):
        """
        Returns the paths in the daemon's directories of state and configuration. The socket of
        a broker that has ended stays in the system's, as the broker cannot remove it: the next
        start does.
        """
        found = []
        for top in (self.state_dir, self.config_dir):
            for where, directories, files in os.walk(top):
                found += [os.path.join(where, name) for name in directories + files
                          if name != "broker.sock"]
        return sorted(found)

    def virsh_command(self, *args):
        """Returns the command line of the distribution's virsh; self.client_env goes with it."""
        return self.prefix + WITH_US + [VIRSH, "-c", self.url] + list(args)

    def virsh(self, *args, timeout=60):
        """Runs virsh; returns the finished process with its output."""
        return subprocess.run(self.virsh_command(*args), env=self.client_env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)


if __name__ == "__main__":
    sys.exit("daemon.py is a module: see tests/e2e/test_*.py, scripts/demo and bench/")
