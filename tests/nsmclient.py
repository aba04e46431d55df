# nsmclient.py: what an enclave says to its NSM, for tests
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Independent of src/nsm and of libcbor: a CBOR reader of its own, which takes only what AWS's NSM
# would write (each length definite, and as short as can be), and a verifier of documents with
# python3-cryptography.
#
#     reply = nsmclient.decode(raw)
#     document = nsmclient.verify(nsmclient.decode(raw)['Attestation']['document'], root)

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from eifwriter import cbor_bytes, cbor_head, cbor_text

NULL = object()  # an option that is there, and is null


def encode(value):
    """CBOR of numbers, bytes, texts, maps and NULL"""
    if value is NULL:
        return b'\xf6'
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_bytes(value)
    if isinstance(value, str):
        return cbor_text(value)
    return cbor_head(5, len(value)) + b''.join(encode(k) + encode(v) for k, v in value.items())


class Decoder:
    def __init__(self, data):
        self.data = data
        self.pos = 0

    def take(self, count):
        if count > len(self.data) - self.pos:
            raise ValueError('the CBOR ends early')
        self.pos += count
        return self.data[self.pos - count:self.pos]

    def number(self, low):
        if low < 24:
            return low
        if low > 27:
            raise ValueError(f'additional information {low}')
        size = 1 << low - 24
        number = int.from_bytes(self.take(size), 'big')
        if number < (24 if size == 1 else 1 << 4 * size):
            raise ValueError(f'{number} is longer than it has to be')
        return number

    def item(self):
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if major == 7:
            return {20: False, 21: True}[low]
        number = self.number(low)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self.take(number)
        if major == 3:
            return self.take(number).decode()
        if major == 4:
            return [self.item() for _ in range(number)]
        if major == 5:
            pairs = [(self.item(), self.item()) for _ in range(number)]
            if len(dict(pairs)) != number:
                raise ValueError('a key is there twice')
            return dict(pairs)
        raise ValueError(f'major type {major}')


def decode(data):
    decoder = Decoder(data)
    value = decoder.item()
    if decoder.pos != len(data):
        raise ValueError('something is behind the CBOR')
    return value


def verify(raw, root, when=None):
    """The payload of the document @raw, below the certificate @root (x509), now or at @when"""
    when = when or datetime.datetime.utcnow()
    protected, unprotected, payload, signature = decode(raw)
    if (decode(protected), unprotected, len(signature)) != ({1: -35}, {}, 96):
        raise ValueError('the headers are not those of a document')
    document = decode(payload)
    chain = [x509.load_der_x509_certificate(der)
             for der in (*document['cabundle'], document['certificate'])]
    if chain[0] != root:
        raise ValueError('the root is another one')
    for issuer, subject in zip([chain[0], *chain], chain):
        if subject.issuer != issuer.subject or not subject.not_valid_before <= when <= \
                subject.not_valid_after:
            raise ValueError(f'{subject} is not good')
        issuer.public_key().verify(subject.signature, subject.tbs_certificate_bytes,
                                   ec.ECDSA(subject.signature_hash_algorithm))
    signed = (cbor_head(4, 4) + cbor_text('Signature1') + cbor_bytes(protected) + cbor_bytes(b'')
              + cbor_bytes(payload))
    number = utils.encode_dss_signature(int.from_bytes(signature[:48], 'big'),
                                        int.from_bytes(signature[48:], 'big'))
    chain[-1].public_key().verify(number, signed, ec.ECDSA(hashes.SHA384()))
    return document
