#!/usr/bin/python3
#
# seeds.py: writes the seed corpora of the fuzz targets
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Usage: seeds.py DIRECTORY. Writes DIRECTORY/vring, DIRECTORY/vsock and DIRECTORY/eif, a few
inputs each, in the layouts that fuzz_vring.c, fuzz_vsock.c and fuzz_eif.c read: a ring with
chains of each kind, connections from their request to their end, images and signatures.
"""

import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import eifsigner  # noqa: E402
import eifwriter  # noqa: E402


def desc(address, size, flags=0, following=0):
    return struct.pack('<QIHH', address, size, flags, following)


def vring(descs, heads, event=1, tables=b''):
    """A ring of 16 at 0, its available ring at 0x400, its used one at 0x800."""
    memory = bytearray(0x2000)
    for i, item in enumerate(descs):
        memory[16 * i:16 * i + 16] = item
    memory[0x400:0x404] = struct.pack('<HH', 0, len(heads))
    for i, head in enumerate(heads):
        struct.pack_into('<H', memory, 0x404 + 2 * i, head)
    memory[0x1000:0x1000 + len(tables)] = tables
    return struct.pack('<BBHHHH6B', 4, event, 0, 0, 0x400, 0x800, 0xf0, 0xb1, 0xf2, 0xa3, 0xd0,
                       0xf0) + bytes(memory)


def vrings():
    table = desc(0x2000, 44, 1, 1) + desc(0x3ff0, 0x100, 1, 2) + desc(0x5000, 16, 2)
    yield vring([desc(0x2000, 44), desc(0x3000, 4096, 2)], [0, 1])
    yield vring([desc(0x2000, 44, 1, 1), desc(0x3ff0, 64, 1, 2), desc(0x6000, 9, 2)], [0], 0)
    yield vring([desc(0x1000, 48, 4)], [0, 0, 0], 1, table)
    yield vring([desc(0x1000, 48, 4), desc(0x2000, 1, 1, 1)], [0, 1], 1, table)
    yield vring([desc(0xffff, 2), desc(0x2000, 1, 1, 99)], [0, 1])


def row(*packets, answer=()):
    """Up to four packets that come at once"""
    return bytes([15, len(packets) - 1]) + b''.join(packets) + bytes(answer)


def one(op, ports=0x11, size=0, flags=0, odd=0, cut=0):
    return bytes([odd, ports]) + struct.pack('<H', size) + bytes([op, flags, cut])


def packet(op, answer=(), **fields):
    return row(one(op, **fields), answer=answer)


def transmit(n=4, size=200, cut=44, answer=()):
    return bytes([5, n]) + bytes([size, cut]) * n + bytes(answer)


def vsocks():
    request, response, rst, shutdown, data, update, ask = range(1, 8)
    readable, writable, hung_up = bytes([1, 0]), bytes([1, 0x60]), bytes([1, 0xc0])
    connected = packet(request) + transmit()
    yield connected + packet(data, size=100, answer=[0xff]) + packet(shutdown, flags=3) + transmit()
    yield connected + readable + transmit(16, answer=[0xff]) + packet(update) + transmit(1)
    yield connected + packet(data, size=60000, answer=[0]) + packet(shutdown, flags=3) + \
        writable + bytes([0x40, 0xff])
    yield connected + packet(data, size=6000, answer=[0]) + hung_up + transmit() + packet(rst)
    yield connected + packet(data, size=600, answer=[0x40]) + packet(ask) + transmit() + \
        writable + bytes([0xff]) + packet(shutdown, flags=2) + readable + transmit(2, answer=[0x29])
    yield bytes([0, 1]) + transmit(1) + packet(response, ports=0x81) + readable + \
        transmit(3, answer=[0x40]) + packet(rst, ports=0x81)
    yield bytes([0, 1]) + transmit(1) + bytes([9, 0]) + transmit(1)
    yield packet(request, ports=1) + packet(9) + packet(data, odd=0x30) + transmit() * 3
    yield connected + readable + hung_up + transmit(2, answer=[0x29]) + transmit() + bytes([9, 0])
    yield connected + packet(data, size=6000, answer=[0]) + bytes([10, 0]) + writable + bytes([0xff])
    other = packet(request, ports=0x22) + transmit()
    yield connected + other + row(one(data, size=900), one(data, size=70),
                                  one(data, size=9, ports=0x22), one(data, size=1),
                                  answer=[0x40, 0xff, 0x22])
    yield connected + row(one(data, size=900), one(data, size=70), one(request), answer=[0]) + \
        row(one(data, size=10), one(shutdown, flags=2), one(data, size=5), answer=[0xff])


def eifs():
    image = eifwriter.simple()
    signer = eifsigner.Signer()
    pcr0 = bytes.fromhex(image.pcrs()[0])
    for encode in (eifwriter.cbor_byte_array, eifwriter.cbor_bytes):
        yield b'\1' + signer.section(signer.cose(eifsigner.payload(pcr0, encode=encode)))
    yield b'\0' + image.to_bytes()
    yield b'\0' + signer.sign(image).to_bytes()
    for section in image.sections:
        section.gap, section.flags = b'between', 1
    yield b'\0' + image.to_bytes()


def main():
    for name, inputs in (('vring', vrings()), ('vsock', vsocks()), ('eif', eifs())):
        directory = os.path.join(sys.argv[1], name)
        os.makedirs(directory, exist_ok=True)
        for i, data in enumerate(inputs):
            with open(os.path.join(directory, f'seed{i}'), 'wb') as f:
                f.write(data)


if __name__ == '__main__':
    main()
