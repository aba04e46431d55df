#
# installed.py: this machine with what "make install" puts on it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
enter() installs into a directory of its own, lays that over the root directory, with one for
all that is written then on top, and moves this process there. /run is empty, as no systemd has
been. Nothing of it is to be seen by others, and it is gone with this process.

    enter() -> unshare -> meson install -> overlay -> pivot_root -> systemd-sysusers
"""

import ctypes
import glob
import os
import shutil
import subprocess
import tempfile

from daemon import BUILD, HELLO_EIF, HELLO_XML

UNITS = "/usr/lib/systemd/system"
SYSUSERS = "/usr/lib/sysusers.d/libvirt-nitro.conf"
# The sample enclave, where a user would have it
IMAGE = "/var/lib/libvirt/images/hello.eif"
DEFINITION = "/var/lib/libvirt/images/hello.xml"

# Tests of a system daemon that run beside this one make them in the root directory for a while
COMING_AND_GOING = ["/var/cache/libvirt", "/var/lib/libvirt", "/var/log/libvirt"]

CLONE_NEWNS, MNT_DETACH = 0x20000, 2


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def lay_over(top):
    """Returns the root directory of the system, and the paths that are installed there."""
    # not of the root file system, which cannot be below and on top of the overlay
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", top)
    for name in ("installed", "upper", "work", "root"):
        os.mkdir(f"{top}/{name}")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--skip-subprojects", "--quiet",
        "--destdir", f"{top}/installed")
    paths = [f"{path}/" if os.path.isdir(path) else path
             for path in glob.glob(f"{top}/installed/**", recursive=True)]

    # what an overlay shows must not change below it
    for path in COMING_AND_GOING:
        if os.path.isdir(f"{top}/installed{path}"):
            os.setxattr(f"{top}/installed{path}", "trusted.overlay.opaque", b"y")

    system = f"{top}/root"
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir={top}/installed:/,upperdir={top}/upper,workdir={top}/work", system)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{system}/run")
    os.mkdir(f"{system}/run/lock")
    for name in ("dev", "proc", "sys"):
        run("mount", "--rbind", f"/{name}", f"{system}/{name}")
    return system, [path.removeprefix(f"{top}/installed").replace("//", "/") for path in paths]


def copy_sample(system):
    os.makedirs(os.path.dirname(system + IMAGE), exist_ok=True)
    shutil.copy(HELLO_EIF, system + IMAGE)
    with (open(HELLO_XML, encoding="utf-8") as source,
          open(system + DEFINITION, "w", encoding="utf-8") as copy):
        copy.write(source.read().replace(HELLO_EIF, IMAGE))


def enter():
    """
    Moves this process, which must have one thread only. Returns the paths that are installed, those
    of directories with "/" behind them. Raises OSError where it is not allowed, and
    subprocess.CalledProcessError where the kernel has no overlay for it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    run("mount", "--make-rprivate", "/")
    root = os.open("/", os.O_RDONLY)
    top = tempfile.mkdtemp(prefix="nitro-installed-")
    try:
        system, paths = lay_over(top)
        copy_sample(system)
        # not chroot: there nobody can have a user namespace, which helpers want
        os.mkdir(f"{system}/run/old")
        run("pivot_root", system, f"{system}/run/old")
        os.chdir("/")
        libc.umount2(b"/run/old", MNT_DETACH)
        os.rmdir("/run/old")
    finally:
        # if it is still there
        libc.umount2(top.encode(), MNT_DETACH)
        os.rmdir(top.lstrip("/"), dir_fd=root)
        os.close(root)
    run("systemd-sysusers", SYSUSERS)
    return paths
