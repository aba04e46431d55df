#!/usr/bin/python3
#
# seeds.py: writes the seed corpora of the fuzz targets
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Usage: seeds.py DIRECTORY. Writes DIRECTORY/NAME for each fuzz_NAME.c, a few inputs in the layout
that it reads: a ring with chains of each kind, connections from their request to their end,
images and signatures, what the peers of the helper and the daemon say, and what a proxy is asked.
"""

import os
import ssl
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import attestwriter  # noqa: E402
import eifsigner  # noqa: E402
import eifwriter  # noqa: E402
import nsmclient  # noqa: E402
import ociwriter  # noqa: E402


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


def checks():
    """What goes into signed images, in the layout of fuzz_check.c"""
    pcr0 = bytes.fromhex(eifwriter.simple().pcrs()[0])
    for options, algorithm in enumerate(eifsigner.ALGORITHMS):
        signer = eifsigner.Signer(algorithm)
        der = ssl.PEM_cert_to_DER_cert(signer.pem.decode())
        header = eifwriter.cbor_head(5, 1) + eifsigner.cbor_int(1) + eifsigner.cbor_int(
            signer.number)
        for encode, bits in ((eifwriter.cbor_byte_array, 0), (eifwriter.cbor_bytes, 4)):
            content = eifsigner.payload(pcr0, encode=encode)
            raw = []
            # what cose() gets is the signature over all that is in it
            signer.cose(content, header=header, change=lambda made, raw=raw: raw.append(made) or made)
            yield (bytes([options | bits]) + struct.pack('<H', len(der)) + der
                   + bytes([len(header)]) + header + struct.pack('<H', len(content)) + content
                   + raw[0])
    yield b'\x08' + eifsigner.Signer().sign(eifwriter.simple()).to_bytes()


def attests():
    chain = attestwriter.Chain()
    for fields in ({}, {'open': False, 'nonce': b'n'},
                   {'public_key': b'k', 'user_data': b'', 'extra': [b'\x61x\x82\1\xa1\0\x80']},
                   {'raw': {'nonce': attestwriter.NULL}, 'pcrs': {31: bytes(48)}}):
        yield attestwriter.Document(chain, **fields).to_bytes()
    yield attestwriter.Document(chain).to_bytes(tag=b'\xd2')


def nsms():
    """What an enclave asks its NSM"""
    def ask(*requests):
        return b''.join(struct.pack('<H', len(data)) + data
                        for data in map(nsmclient.encode, requests))

    null = nsmclient.NULL
    yield ask('DescribeNSM', 'GetRandom', {'DescribePCR': {'index': 16}},
              {'ExtendPCR': {'index': 17, 'data': b'data'}}, {'LockPCR': {'index': 17}},
              {'ExtendPCR': {'index': 17, 'data': b''}}, {'LockPCRs': {'range': 20}})
    yield ask({'Attestation': {'nonce': b'n', 'user_data': null, 'public_key': b'key'}},
              {'Attestation': {}}, {'LockPCRs': {'range': 33}}, {'LockPCR': {'index': 65535}})


def vhostusers():
    """Messages of QEMU, in its order: the index in requests[], what is odd, what is in it."""
    features, owner = bytes([1, 0, 0xf]), bytes([2, 0])
    ask, protocol = bytes([0, 0, 11, 0, 13, 0]), bytes([12, 0, 0x0b])
    memory = bytes([3, 0])

    def ring(number, offset):
        odd = number << 7
        return (bytes([4, odd, 4, 6, odd, 0, 5, odd]) +
                struct.pack('<HHH', offset, offset + 0x400, offset + 0x200) +
                bytes([8, odd, 9, odd, 10, odd, 14, odd, 1]))

    def write(where, data):
        return bytes([0xd4]) + struct.pack('<HB', where, len(data)) + data

    guest = (write(0, desc(0x2000, 44) + desc(0x3000, 100, 2)) +
             write(0x200, struct.pack('<HHHH', 0, 2, 0, 1)) +
             write(0x800, desc(0x4000, 44, 1, 1) + desc(0x5000, 9)) +
             write(0xa00, struct.pack('<HHH', 0, 1, 0)))
    start = ask + features + owner + protocol + memory + ring(0, 0) + ring(1, 0x800)
    use = bytes([0xc0, 0xa8, 0x0f, 0xa9, 0x07])
    yield start + guest + use
    # with replies, the rings stopped and started again, a new table meanwhile
    yield start + guest + use + memory + use + bytes([7, 0, 0, 7, 0x80, 0]) + ring(0, 0) + use
    yield start + bytes([15, 0, 0, 8, 15, 2, 0, 8, 20, 2, 1]) + start + bytes([0xd0, 5])
    yield ask + bytes([1, 0, 7]) + memory + ring(0, 0) + ring(1, 0x800) + guest + use


GREETING = b'{"libvirt-nitro": {"protocol": 1, "version": "0.1.0"}}\n'


def monitors():
    """What helpers say; first which enclave: bits 1: has a CID, 2: gets one, 4: from its start"""
    pcrs = b''.join(b', "pcr%d": "%s"' % (i, b'c' * 96) for i in (0, 1, 2, 8))
    started = (b'{"event": "started", "data": {"cid": 16, "cpus": [1, 3], "accel": "tcg", '
               b'"unprotected": []}}\n')
    booted = b'{"event": "booted", "data": {}}\n'
    exited = b'{"event": "exited", "data": {"reason": "poweroff"}}\n'
    failed = (b'{"event": "failed", "data": {"code": "image", "text": "\\u001b[31m \xc3\xa4", '
              b'"ioctl": "NE_ADD_VCPU", "errno": 257}}\n')
    status = b'{"return": {"phase": "running", "cid": 16, "cpus": [1, 3]}, "id": 1}\n'
    yield b'\x25' + GREETING + started + booted + status + exited
    yield b'\x26' + GREETING + started + failed
    yield b'\x21' + GREETING + status + b'{"return": {"hash": "sha384"' + pcrs + b'}, "id": 2}\n' + \
        b'{"error": {"code": "not-ready", "text": "not yet"}, "id": 3}\n' + exited
    yield b'\x20{"libvirt-nitro": {"protocol": 9, "oldest": 1}}\n{"event": "news"}\n' + booted
    yield b'\x20{"libvirt-nitro": {"protocol": 9, "oldest": 2}}\n'
    yield b'\x20' + GREETING + b'{"error": {"text": "too long"}, "id": null}\n'


def controls():
    """What clients of the helper say; first in which pieces"""
    commands = [b'{"command": "query-status", "id": 1}\n',
                b'{"command": "query-measurements", "id": -9223372036854775808}\n',
                b'{"command": "terminate \\ud834\\udd1e", "id": 3, "a": [{}, [1.5e3, true]]}\n']
    yield b'\0' + b''.join(commands)
    yield b'\1' + b''.join(commands) + b'{"command": 1, "id": 2}\n{"id": null}\nx'
    yield b'\x10' + commands[0] * 8 + b'{"a": {"b": {"id": 1}}, "id": 5, "command": ""}\n'
    yield b'\0' + commands[0][:-1]


def qmps():
    """What QEMU says"""
    yield (b'\0{"QMP": {"version": {"qemu": {"micro": 0}}, "capabilities": ["oob"]}}\r\n'
           b'{"return": {}}\r\n{"timestamp": {"seconds": 1}, "event": "RESUME"}\r\n'
           b'{"return": {}, "id": 1}\r\n{"event": "SHUTDOWN", "data": {"guest": true, '
           b'"reason": "guest-reset"}}\r\n')
    yield b'\3{"error": {"class": "GenericError", "desc": "no"}, "id": 1}\n{"event": "STOP"}\n'
    yield b'\1{"event": "SHUTDOWN"}\n{'


def brokers():
    """
    What helpers and services processes say to the broker, each line behind a step; 0xc8: the
    heartbeat's port is ours, 0xf0 and more: an enclave connects
    """
    expect = b'{"command": "expect", "cid": 5}\n'
    yield b'\0' + expect + b'\xc8\xd1\1' + expect + b'\xe1\xa0\xa1'
    yield b'\0' + expect + b'\1{"command": "x"}\n\2{"command": "expect", "cid": 3}\n\3x\n\xc8'
    yield b'\x80' + expect + b'\0' + expect + b'\xc0\xd1\xa0\0\n'
    serve = b'{"command": "serve", "ports": [8443, 9514]}\n'
    enclave = b'{"command": "enclave", "cid": 5}\n'
    connect = b'{"command": "connect", "id": 1, "port": 5000}\n'
    yield b'\0' + serve + b'\xf1\0' + enclave + b'\xf1\xf2\0' + connect + b'\1' + serve + \
        b'\xa0\xf1'
    yield b'\0' + serve + b'\1' + serve + b'\0' + enclave + b'\1' + enclave + b'\xf1\xa1\xf1\0' + \
        serve
    yield b'\0{"command": "serve", "ports": [15]}\n\1' + serve + b'\0' + connect + b'\1' + \
        enclave + expect


def connects():
    """An entry of an allow list, and a request"""
    for entry, target, fields in (
            (b'*.example.com:443', b'www.example.com:443', b'Host: www.example.com\r\n'),
            (b'10.0.0.0/8:*', b'10.1.2.3:5432', b''), (b'*:*', b'127.1:80', b'A:\tb\r\n'),
            (b'[2001:db8::/32]:443', b'[2001:db8::1]:443', b'X: y\r\n' * 3),
            (b'[::ffff:1.2.3.4]:1', b'[64:ff9b::1.2.3.4]:1', b'Content-Length: 0\r\n')):
        yield entry + b'\nCONNECT ' + target + b' HTTP/1.1\r\n' + fields + b'\r\nmore'
    yield b'host:1\nGET / HTTP/1.0\r\n\r\n'


def short(archive):
    """A tar archive with no more zeros at its end than have to be there"""
    used = len(archive.rstrip(b'\0'))
    return archive[:used + -used % 512 + 1024]


def containers():
    info, data = ociwriter.entry('x', b'content')
    info.pax_headers = {'SCHILY.xattr.security.capability': 'a', 'path': 'p' * 200}
    layers = [short(ociwriter.layer(*entries)) for entries in (
        [ociwriter.directory('d', uid=5), ociwriter.entry('d/f', b'new'),
         ociwriter.entry('l/g', b'1'), ociwriter.symlink('s', '../l'), ociwriter.hardlink('h', 's'), ociwriter.device('c', 1, 3)],
        [ociwriter.entry('d/.wh.f'), ociwriter.entry('.wh..wh..opq'),
         ociwriter.entry('d/.wh..wh..opq')],
        [(info, data), ociwriter.entry('../x'), ociwriter.hardlink('x', 'x')],
        [ociwriter.symlink('a', 'b'), ociwriter.symlink('b', 'a'), ociwriter.entry('a/f')],
        [ociwriter.entry('etc/passwd', b'app:x:1:2::/:\n'),
         ociwriter.entry('etc/group', b'more:x:7:\n')])]
    for layer in layers:
        yield b'\0' + layer
        yield b'\0' + ociwriter.compress(layer, 'gzip')
    for files in (ociwriter.docker(layers[:2], Cmd=['/app'], architecture='amd64', User='app'),
                  ociwriter.layout(layers[:1], tag='1.0', Entrypoint=['/e'], Env=['A=1'])):
        yield b'\1' + short(ociwriter.layer(*(ociwriter.entry(*file) for file in files.items())))


def main():
    for name, inputs in (('vring', vrings()), ('vsock', vsocks()), ('eif', eifs()),
                         ('check', checks()), ('attest', attests()), ('nsm', nsms()), ('vhostuser', vhostusers()),
                         ('monitor', monitors()), ('control', controls()), ('qmp', qmps()), ('broker', brokers()),
                         ('connect', connects()), ('container', containers())):
        directory = os.path.join(sys.argv[1], name)
        os.makedirs(directory, exist_ok=True)
        for i, data in enumerate(inputs):
            with open(os.path.join(directory, f'seed{i}'), 'wb') as f:
                f.write(data)


if __name__ == '__main__':
    main()
