# tinyguest.py: Linux kernels that are none, for tests of what runs them
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# kernel() makes a file that boot loaders take for a bzImage: the setup header of
# the Linux/x86 boot protocol, and real mode code that writes a text to the first
# serial port and then does one of a few things. It "boots" in a tenth of a second.
# aarch64_kernel() makes the same for QEMU's machine virt: a Linux/arm64 Image; zboot() packs it
# as distributions do.

import gzip
import os
import struct

SETUP_SECTORS = 4
ENTRY = 0x280  # of the code, in the file; the setup code starts at 0x200

# What the guest does once it has written its text
HANG = bytes([0xfa, 0xf4, 0xeb, 0xfc])              # 1: cli; hlt; jmp 1b
RESET = bytes([0x6a, 0x00, 0x6a, 0x00, 0x6a, 0x00,  # push $0, three times
               0x89, 0xe3, 0x36, 0x0f, 0x01, 0x1f,  # mov %sp, %bx; lidt %ss:(%bx)
               0xcc])                               # int3: a triple fault
AGAIN = None                                        # writes its text for ever


def kernel(text, action=HANG, init_size=0x10000, version=0x20f, linux='6.1.0 (tinyguest)'):
    """@version: of the boot protocol; @linux: of the kernel, None: its header does not tell"""
    code = bytes([
        0x8c, 0xc8,        # mov %cs, %ax
        0x8e, 0xd8,        # mov %ax, %ds
        0xbe, 0x00, 0x00,  # mov $text, %si (filled in below)
        0xac,              # 1: lodsb
        0x84, 0xc0,        # test %al, %al
        0x74, 0x11,        # jz 3f
        0x88, 0xc4,        # mov %al, %ah
        0xba, 0xfd, 0x03,  # mov $0x3fd, %dx
        0xec,              # 2: inb (%dx), %al
        0xa8, 0x20,        # test $0x20, %al (room for a byte)
        0x74, 0xfb,        # jz 2b
        0x88, 0xe0,        # mov %ah, %al
        0xb2, 0xf8,        # mov $0xf8, %dl
        0xee,              # outb %al, (%dx)
        0xeb, 0xea,        # jmp 1b; 3:
    ])
    if action is AGAIN:
        action = bytes([0xeb, (4 - (len(code) + 2)) & 0xff])  # back to mov $text, %si
    address = ENTRY - 0x200 + len(code) + len(action)
    code = code[:5] + struct.pack('<H', address) + code[7:] + action + text + b'\0'

    image = bytearray((SETUP_SECTORS + 1) * 512 + 4096)
    image[0x1f1] = SETUP_SECTORS
    struct.pack_into('<I', image, 0x1f4, 4096 // 16)
    struct.pack_into('<H', image, 0x1fe, 0xaa55)
    image[0x200:0x202] = bytes([0xeb, ENTRY - 0x202])
    image[0x202:0x206] = b'HdrS'
    struct.pack_into('<H', image, 0x206, version)
    image[0x211] = 1                                  # loaded high
    struct.pack_into('<I', image, 0x214, 0x100000)
    struct.pack_into('<I', image, 0x22c, 0x7fffffff)  # highest address of the ramdisk
    struct.pack_into('<I', image, 0x238, 2047)        # command line size
    struct.pack_into('<Q', image, 0x258, 0x100000)    # preferred address
    struct.pack_into('<I', image, 0x260, init_size)
    if ENTRY + len(code) > (SETUP_SECTORS + 1) * 512:
        raise ValueError('the text is too long')
    image[ENTRY:ENTRY + len(code)] = code
    if linux is not None:
        return with_linux_version(image, linux)
    return bytes(image)


# What an aarch64 guest does once it has written its text
AARCH64_HANG = (0xd503207f, 0x17ffffff)  # 1: wfi; b 1b


def _psci(function):
    return (0x52800000 | (function & 0xffff) << 5,  # movz w0, #low
            0x72a00000 | (function >> 16) << 5,     # movk w0, #high, lsl #16
            0xd4000002, *AARCH64_HANG)              # hvc #0


AARCH64_POWEROFF = _psci(0x84000008)
AARCH64_RESET = _psci(0x84000009)


def aarch64_kernel(text, action=AARCH64_HANG, image_size=0x10000):
    words = [
        0x10000001,  # adr x1, text (filled in below)
        0xd2a12002,  # movz x2, #0x900, lsl #16: the PL011
        0x38401423,  # 1: ldrb w3, [x1], #1
        0x34000063,  # cbz w3, 2f
        0xb9000043,  # str w3, [x2]
        0x17fffffd,  # b 1b
        *action,     # 2:
    ]
    words[0] |= len(words) << 5
    # it begins with a branch behind this header, of 64 bytes
    header = struct.pack('<IIQQQQQQ4sI', 0x14000010, 0xd503201f, 0, image_size, 0xa, 0, 0, 0,
                         b'ARM\x64', 0)
    return header + struct.pack(f'<{len(words)}I', *words) + text + b'\0'


def native_kernel(text):
    """One of this host's architecture, which hangs"""
    return (aarch64_kernel if os.uname().machine == 'aarch64' else kernel)(text)


def zboot(kernel, compression=b'gzip', payload=None):
    """An EFI program that unpacks @kernel, of which only the header is there"""
    payload = gzip.compress(kernel) if payload is None else payload
    header = struct.pack('<4s4sIIII32sII', b'MZ\0\0', b'zimg', 0x40, len(payload), 0, 0,
                         compression, 0x818223cd, 0x40)
    return header + payload


def with_linux_version(image, linux):
    """@image, a kernel, with a header that tells that it is Linux @linux"""
    image = bytearray(image)
    offset, = struct.unpack_from('<H', image, 0x20e)
    if offset == 0:
        # the last bytes of the setup code
        offset = (SETUP_SECTORS + 1) * 512 - 64 - 0x200
        if any(image[0x200 + offset:0x240 + offset]):
            raise ValueError('the text is too long')
        struct.pack_into('<H', image, 0x20e, offset)
    text = linux.encode() + b'\0'
    image[0x200 + offset:0x200 + offset + len(text)] = text
    return bytes(image)


def cpio(files):
    """A ramdisk (cpio archive, format newc) of {name: (mode, content)}."""
    out = b''
    for inode, (name, (mode, data)) in enumerate([*files.items(), ('TRAILER!!!', (0, b''))], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b'070701' + b''.join(b'%08X' % field for field in fields)
        out += name.encode() + b'\0'
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return out
