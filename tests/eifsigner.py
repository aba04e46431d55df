# eifsigner.py: signs enclave images as AWS's tools do, for tests
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Independent of src/eif and of GnuTLS: eifwriter's CBOR, and OpenSSL by way of
# python3-cryptography. A Signer has a key and a certificate of its own, both new:
#
#     signer = eifsigner.Signer('ES384', subject='somebody', days=(-1, 30))
#     signer.sign(eifwriter.simple()).write('/tmp/signed.eif')
#
# Everything that goes into the signature can be set to a wrong value.

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.x509.oid import NameOID

import eifwriter
from eifwriter import cbor_byte_array, cbor_bytes, cbor_head, cbor_text

# name: COSE's number, curve, hash, bytes of a coordinate
ALGORITHMS = {
    'ES256': (-7, ec.SECP256R1(), hashes.SHA256(), 32),
    'ES384': (-35, ec.SECP384R1(), hashes.SHA384(), 48),
    'ES512': (-36, ec.SECP521R1(), hashes.SHA512(), 66),
}


def cbor_int(number):
    return cbor_head(0, number) if number >= 0 else cbor_head(1, -1 - number)


def payload(pcr0, index=0, encode=cbor_byte_array):
    """What is signed: {register_index, register_value}."""
    return (cbor_head(5, 2) + cbor_text('register_index') + cbor_int(index)
            + cbor_text('register_value') + encode(pcr0))


def make_certificate(key, subject, start, end):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(start).not_valid_after(end))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Signer:
    """
    A key for @algorithm with a self-signed certificate that is valid for @days: from the
    first to the last, counted from today.
    """

    def __init__(self, algorithm='ES384', subject='libvirt-nitro test', days=(-1, 30)):
        self.number, curve, self.hash, self.size = ALGORITHMS[algorithm]
        self.key = ec.generate_private_key(curve)
        now = datetime.datetime.utcnow().replace(microsecond=0)
        self.start, self.end = (now + datetime.timedelta(days=day) for day in days)
        self.pem = make_certificate(self.key, subject, self.start, self.end)

    def private_pem(self):
        """The key as a file of it: not encrypted"""
        return self.key.private_bytes(serialization.Encoding.PEM,
                                      serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())

    def signature(self, data):
        """The signature over @data as COSE has it: both numbers, each of full length."""
        r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(self.hash)))
        return r.to_bytes(self.size, 'big') + s.to_bytes(self.size, 'big')

    def cose(self, content, header=None, context='Signature1', tag=b'', change=lambda raw: raw):
        """A COSE_Sign1 of @content; @change gets the raw signature and returns another."""
        if header is None:
            header = cbor_head(5, 1) + cbor_int(1) + cbor_int(self.number)
        signed = (cbor_head(4, 4) + cbor_text(context) + cbor_bytes(header) + cbor_bytes(b'')
                  + cbor_bytes(content))
        return (tag + cbor_head(4, 4) + cbor_bytes(header) + cbor_head(5, 0)
                + cbor_bytes(content) + cbor_bytes(change(self.signature(signed))))

    def section(self, cose, encode=cbor_byte_array):
        return (cbor_head(4, 1) + cbor_head(5, 2) + cbor_text('signing_certificate')
                + encode(self.pem) + cbor_text('signature') + encode(cose))

    def sign(self, image, encode=cbor_byte_array, pcr0=None, **fields):
        """Returns @image with a signature section; @pcr0 is what is signed if not its own."""
        content = payload(pcr0 or bytes.fromhex(image.pcrs()[0]), encode=encode)
        section = self.section(self.cose(content, **fields), encode)
        return eifwriter.Image(image.sections + [eifwriter.Section(eifwriter.SIGNATURE, section)],
                               pem=self.pem)


def rsa_certificate():
    """A certificate whose key cannot make these signatures."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.utcnow()
    return make_certificate(key, 'RSA', now, now + datetime.timedelta(days=1))
