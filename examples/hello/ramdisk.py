#!/usr/bin/python3
#
# ramdisk.py: makes the two ramdisks of the sample enclave
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Makes the ramdisks of the sample enclave, laid out as in AWS's images: the first
one (bootstrap) holds init and the kernel modules, the second one (application)
holds what is the user's, here a line of text. The same input gives the same
bytes: no times, no names of users, no order of a directory get in.

Flow: the names of the modules -> load_order(), which follows the dependencies
written in the modules themselves -> a list of entries -> write_cpio().
"""

import argparse
import lzma
import os
import stat
import struct
import sys

# What vsock needs on a virtio-mmio device; what these depend on comes along.
MODULES = ["virtio_mmio", "vmw_vsock_virtio_transport"]

# Debian's modules are compressed from Debian 13 on.
COMPRESSED = ".xz"

MODULES_DIR = "lib/modules"
MODULES_LIST = MODULES_DIR + "/load-order"
APPLICATION = ("etc/hello", b"this text comes from the second ramdisk\n")


def elf_section(data, wanted):
    """Returns the content of section @wanted of the ELF64 file @data, or b""."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little endian ELF64 file")
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + i * size)
               for i in range(count)]
    strings = headers[names][4]
    for name, _, _, _, start, length in headers:
        end = data.index(b"\0", strings + name)
        if data[strings + name:end] == wanted:
            return data[start:start + length]
    return b""


def module_depends(path):
    """Returns the names of the modules that the module file @path names as needed."""
    modinfo = elf_section(read_module(path), b".modinfo")
    for item in modinfo.split(b"\0"):
        if item.startswith(b"depends="):
            return [name for name in item[8:].decode().split(",") if name]
    return []


def find_modules(tree):
    """Maps the name of each module below @tree to its path."""
    found = {}
    for where, _, files in os.walk(tree):
        for file in files:
            name, suffix, compression = file.partition(".ko")
            if suffix and compression in ("", COMPRESSED):
                found[name.replace("-", "_")] = os.path.join(where, file)
    return found


def load_order(wanted, available):
    """
    Returns the paths of the modules @wanted and of all that they need, each behind
    those that it needs.
    """
    order = []

    def add(name):
        path = available.get(name)
        if path is None:
            raise ValueError(f"the kernel package has no module {name}")
        if path in order:
            return
        for needed in module_depends(path):
            add(needed)
        order.append(path)

    for name in wanted:
        add(name)
    return order


def read_file(path):
    with open(path, "rb") as source:
        return source.read()


def read_module(path):
    """Returns the module of the file @path, uncompressed, as init gives it to the kernel."""
    data = read_file(path)
    return lzma.decompress(data) if path.endswith(COMPRESSED) else data


def bootstrap_entries(init, tree):
    """Returns (path, mode, device, content) of everything in the first ramdisk."""
    order = load_order(MODULES, find_modules(tree))
    names = [os.path.basename(path).removesuffix(COMPRESSED) for path in order]
    directories = ["dev", "lib", MODULES_DIR, "proc", "run", "sys", "tmp"]
    entries = [(name, stat.S_IFDIR | 0o755, (0, 0), b"") for name in directories]
    # the kernel opens it for init before init has mounted anything
    entries.append(("dev/console", stat.S_IFCHR | 0o600, (5, 1), b""))
    entries.append(("init", stat.S_IFREG | 0o755, (0, 0), read_file(init)))
    entries.append((MODULES_LIST, stat.S_IFREG | 0o644, (0, 0),
                    "".join(name + "\n" for name in names).encode()))
    for name, path in zip(names, order):
        entries.append((f"{MODULES_DIR}/{name}", stat.S_IFREG | 0o644, (0, 0),
                        read_module(path)))
    return entries


def application_entries():
    name, content = APPLICATION
    return [(os.path.dirname(name), stat.S_IFDIR | 0o755, (0, 0), b""),
            (name, stat.S_IFREG | 0o644, (0, 0), content)]


def cpio_entry(inode, name, mode, device, content):
    """Returns one entry of a "newc" archive: root's, of the time 0, 4 byte aligned."""
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return b"".join(part + bytes(-len(part) % 4) for part in (head, content))


def write_cpio(path, entries):
    data = b"".join(cpio_entry(inode, *entry) for inode, entry in enumerate(entries, 1))
    data += cpio_entry(0, "TRAILER!!!", 0, (0, 0), b"")
    with open(path, "wb") as archive:
        archive.write(data + bytes(-len(data) % 512))


def main():
    parser = argparse.ArgumentParser(description="Makes the ramdisks of the sample enclave.")
    parser.add_argument("--init", required=True, help="the init binary, linked statically")
    parser.add_argument("--modules", required=True, metavar="DIR",
                        help="the directory below which the kernel's modules are")
    parser.add_argument("--bootstrap", required=True, metavar="FILE", help="the first ramdisk")
    parser.add_argument("--application", metavar="FILE",
                        help="the second one, for an image that has no other")
    args = parser.parse_args()

    try:
        write_cpio(args.bootstrap, bootstrap_entries(args.init, args.modules))
        if args.application:
            write_cpio(args.application, application_entries())
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
