# attestwriter.py: writes attestation documents of Nitro Enclaves for tests, good and bad ones
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Independent of src/attest and of GnuTLS: eifwriter's CBOR, and OpenSSL by way of
# python3-cryptography. Flow: Chain, of Certificates from a root to the one that signs, all of them
# new -> Document with its fields -> to_bytes().
#
#     chain = attestwriter.Chain()
#     data = attestwriter.Document(chain, nonce=b'1234').to_bytes()
#
# Everything can be set to a wrong value. What takes a value or None leaves it out when it is None.

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from eifsigner import cbor_int
from eifwriter import cbor_bytes, cbor_head, cbor_text

NULL = b'\xf6'

# When documents are made, if they do not say, and when certificates begin and end
MADE = datetime.datetime(2026, 11, 30, 12, 0, 0)
DAY = datetime.timedelta(days=1)


def milliseconds(when):
    return int((when - datetime.datetime(1970, 1, 1)).total_seconds() * 1000)


def usage(*names):
    every = ('digital_signature', 'content_commitment', 'key_encipherment', 'data_encipherment',
             'key_agreement', 'key_cert_sign', 'crl_sign', 'encipher_only', 'decipher_only')
    return x509.KeyUsage(**{name: name in names for name in every})


class Certificate:
    """
    A key and the certificate of it, which @issuer has signed (None: it itself). @ca is whether it
    is an authority's, with at most @depth of them below it. @signer signs instead of @issuer.
    @extension, critical, is in it besides; @digest is what the signature is made with.
    """

    def __init__(self, name, issuer=None, *, ca=True, depth=None, uses=None, start=MADE - DAY,
                 end=MADE + DAY, curve=ec.SECP384R1, signer=None, key=None, extension=None,
                 digest=None):
        self.key = key or ec.generate_private_key(curve())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(self.name)
                   .issuer_name(issuer.name if issuer else self.name)
                   .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(start).not_valid_after(end))
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, depth), critical=True)
        if uses is None:
            uses = ('key_cert_sign',) if ca else ('digital_signature',)
        if uses:
            builder = builder.add_extension(usage(*uses), critical=True)
        if extension:
            builder = builder.add_extension(extension, critical=True)
        signer = signer or issuer or self
        self.certificate = builder.sign(signer.key, digest or hashes.SHA384())
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, data):
        """ES384: both numbers, each of full length"""
        r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48, 'big') + s.to_bytes(48, 'big')


class Chain:
    """As AWS's: a root, two authorities and the certificate of an NSM. Each can be another."""

    def __init__(self, root=None, region=None, instance=None, leaf=None):
        self.root = root or Certificate('test root')
        self.region = region or Certificate('region', self.root, depth=1)
        self.instance = instance or Certificate('instance', self.region, depth=0)
        self.leaf = leaf or Certificate('enclave', self.instance, ca=False)

    def bundle(self):
        return [self.root.der, self.region.der, self.instance.der]


def pcr(number):
    """The value of a register in documents that say none"""
    return bytes([number + 1]) * 48


class Document:
    """
    @fields are the values of the map, encoded by their kind; bytes of "raw" values as they
    are. @extra is put behind them.
    """

    def __init__(self, chain, **fields):
        self.chain = chain
        self.module_id = 'i-1234-enc5678'
        self.digest = 'SHA384'
        self.timestamp = milliseconds(MADE)
        self.pcrs = {number: pcr(number) for number in range(16)}
        self.certificate = chain.leaf.der
        self.cabundle = chain.bundle()
        self.public_key = None
        self.user_data = None
        self.nonce = None
        self.raw = {}  # name: the value, encoded; None: the field is left out
        self.extra = ()  # pairs, encoded
        self.open = True  # whether the map is of indefinite length, as AWS's is since 2025
        for name, value in fields.items():
            if not hasattr(self, name):
                raise TypeError(f'a document has no field {name}')
            setattr(self, name, value)

    def pairs(self):
        values = {
            'module_id': cbor_text(self.module_id),
            'digest': cbor_text(self.digest),
            'timestamp': cbor_head(0, self.timestamp),
            'pcrs': cbor_head(5, len(self.pcrs)) + b''.join(
                cbor_int(number) + cbor_bytes(value) for number, value in self.pcrs.items()),
            'certificate': cbor_bytes(self.certificate),
            'cabundle': cbor_head(4, len(self.cabundle)) + b''.join(
                cbor_bytes(der) for der in self.cabundle),
        }
        for name in 'public_key', 'user_data', 'nonce':
            value = getattr(self, name)
            if value is not None:
                values[name] = cbor_bytes(value)
        values.update(self.raw)
        return [cbor_text(name) + value for name, value in values.items()
                if value is not None] + list(self.extra)

    def payload(self):
        pairs = self.pairs()
        if self.open:
            return b'\xbf' + b''.join(pairs) + b'\xff'
        return cbor_head(5, len(pairs)) + b''.join(pairs)

    def to_bytes(self, *, tag=b'', header=b'\xa1\x01\x38\x22', unprotected=b'\xa0', payload=None,
                 signed=None, change=lambda raw: raw, context='Signature1'):
        """@signed is what the signature is over, if not @payload; @change gets it."""
        payload = self.payload() if payload is None else payload
        content = (cbor_head(4, 4) + cbor_text(context) + cbor_bytes(header) + cbor_bytes(b'')
                   + cbor_bytes(payload if signed is None else signed))
        return (tag + cbor_head(4, 4) + cbor_bytes(header) + unprotected + cbor_bytes(payload)
                + cbor_bytes(change(self.chain.leaf.sign(content))))
