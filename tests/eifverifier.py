# eifverifier.py: is an enclave image signed well? An answer that is independent of ours
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Neither src/eif nor GnuTLS, nor what tests write images with: an own reader of the image and of
# its CBOR, and OpenSSL by way of python3-cryptography. It is as strict as AWS's reader can be: the
# signature section has to have the types, the keys and their order that AWS's tools write.
#
#     signed = eifverifier.verify(data)    # raises Wrong
#     signed.pcrs, signed.algorithm, signed.certificate, signed.to_sign, signed.signature

import datetime
import hashlib
import struct
import zlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

KERNEL, CMDLINE, RAMDISK, SIGNATURE = 1, 2, 3, 4

# COSE's number: name, curve, hash, bytes of a coordinate
ALGORITHMS = {
    -7: ('ES256', 'secp256r1', hashes.SHA256(), 32),
    -35: ('ES384', 'secp384r1', hashes.SHA384(), 48),
    -36: ('ES512', 'secp521r1', hashes.SHA512(), 66),
}


class Wrong(Exception):
    """Why the image is not signed well"""


def need(condition, what):
    if not condition:
        raise Wrong(what)


class Cbor:
    """Reads one item at a time; only what a signature section has, in its shortest form."""

    def __init__(self, data):
        self.data = data
        self.pos = 0

    def take(self, count):
        need(count <= len(self.data) - self.pos, 'CBOR ends early')
        self.pos += count
        return self.data[self.pos - count:self.pos]

    def head(self):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        need(info < 28, 'CBOR of indefinite length')
        size = 1 << (info - 24)
        value = int.from_bytes(self.take(size), 'big')
        need(value >= (24 if size == 1 else 1 << 4 * size), 'CBOR is not in its shortest form')
        return major, value

    def item(self):
        major, value = self.head()
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.take(value).decode()
        if major == 4:
            return [self.item() for _ in range(value)]
        if major == 5:
            pairs = [(self.item(), self.item()) for _ in range(value)]
            need(len(dict(pairs)) == len(pairs), 'a key is in a map twice')
            return dict(pairs)
        raise Wrong(f'CBOR of major type {major}')


def read_cbor(data):
    reader = Cbor(data)
    item = reader.item()
    need(reader.pos == len(data), 'CBOR goes on behind its end')
    return item


def small_bytes(numbers):
    need(isinstance(numbers, list), 'what should be an array of bytes is none')
    return bytes(numbers)


def read_sections(data):
    """The (type, content) of each section of an image, whose checksum is good"""
    need(data[:4] == b'.eif', 'no image')
    count, = struct.unpack_from('>H', data, 26)
    offsets = struct.unpack_from(f'>{count}Q', data, 28)
    sizes = struct.unpack_from(f'>{count}Q', data, 28 + 32 * 8)
    crc, = struct.unpack_from('>I', data, 544)
    need(crc == zlib.crc32(data[:544] + data[548:]), 'the checksum is wrong')
    sections = []
    for offset, size in zip(offsets, sizes):
        kind, _, own_size = struct.unpack_from('>HHQ', data, offset)
        need(size == own_size, 'a section has two sizes')
        content = data[offset + 12:offset + 12 + size]
        need(len(content) == size, 'a section is cut off')
        sections.append((kind, content))
    need(offset + 12 + size == len(data), 'the image goes on behind its sections')
    return sections


def register(*contents):
    return hashlib.sha384(bytes(48) + hashlib.sha384(b''.join(contents)).digest()).hexdigest()


def measure(sections):
    boot = [content for kind, content in sections if kind in (KERNEL, CMDLINE)]
    ramdisks = [content for kind, content in sections if kind == RAMDISK]
    # in file order, but the kernel and the command line are before the ramdisks in these tests
    image = [content for kind, content in sections if kind in (KERNEL, CMDLINE, RAMDISK)]
    return {0: register(*image), 1: register(*boot, *ramdisks[:1]), 2: register(*ramdisks[1:])}


def encode_text(text):
    return bytes([0x60 | len(text)]) + text.encode()


def encode_bytes(data):
    if len(data) < 24:
        return bytes([0x40 | len(data)]) + data
    need(len(data) < 256, 'longer than these are')
    return bytes([0x58, len(data)]) + data


class Signed:
    """What the signature section of an image says, which is proved when there is one of these"""

    def __init__(self, sections):
        self.pcrs = measure(sections)
        found = [content for kind, content in sections if kind == SIGNATURE]
        need(len(found) == 1, f'there are {len(found)} signature sections')
        section = read_cbor(found[0])
        need(isinstance(section, list) and len(section) == 1, 'not one signature')
        need(list(section[0]) == ['signing_certificate', 'signature'], 'other keys')
        self.pem = small_bytes(section[0]['signing_certificate'])
        cose = read_cbor(small_bytes(section[0]['signature']))
        need(isinstance(cose, list) and len(cose) == 4, 'no COSE_Sign1')
        self.header, unprotected, self.payload, self.signature = cose
        need(unprotected == {}, 'an unprotected header')
        header = read_cbor(self.header)
        need(list(header) == [1] and header[1] in ALGORITHMS, 'another algorithm')
        self.algorithm, self.curve, self.hash, self.size = ALGORITHMS[header[1]]
        self.to_sign = (b'\x84' + encode_text('Signature1') + encode_bytes(self.header)
                        + encode_bytes(b'') + encode_bytes(self.payload))
        self.certificate = x509.load_pem_x509_certificate(self.pem)
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.pcrs[8] = register(der)

    def check(self):
        payload = read_cbor(self.payload)
        need(list(payload) == ['register_index', 'register_value'], 'another payload')
        need(payload['register_index'] == 0, 'not PCR0')
        need(small_bytes(payload['register_value']).hex() == self.pcrs[0], 'of another image')
        now = datetime.datetime.utcnow()
        need(self.certificate.not_valid_before <= now <= self.certificate.not_valid_after,
             'the certificate is not in date')
        key = self.certificate.public_key()
        need(isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == self.curve,
             'the key is for another algorithm')
        need(len(self.signature) == 2 * self.size, 'the signature has another length')
        numbers = [int.from_bytes(half, 'big') for half in
                   (self.signature[:self.size], self.signature[self.size:])]
        try:
            key.verify(utils.encode_dss_signature(*numbers), self.to_sign, ec.ECDSA(self.hash))
        except InvalidSignature:
            raise Wrong('the signature is not by the key of the certificate') from None


def verify(data):
    """Returns what is Signed of the image @data; raises Wrong when that is not well."""
    try:
        signed = Signed(read_sections(data))
        signed.check()
    except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        # what of a damaged image does not even have the types that are looked for
        raise Wrong(str(error)) from error
    return signed
