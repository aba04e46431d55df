# eifwriter.py: writes Enclave Image Format files for tests, good and bad ones
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Independent of src/eif: struct, zlib and hashlib only, so that both can be
# compared. Flow: Image with its Sections -> to_bytes(); pcrs() for the registers.
#
#     image = eifwriter.simple(kernel=b'...', cmdline=b'console=ttyS0')
#     image.write('/tmp/x.eif')
#
# Every field can be set to a wrong value: those that are None are computed.

import base64
import hashlib
import struct
import zlib

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = 1, 2, 3, 4, 5
HEADER_SIZE = 548
SECTION_HEADER_SIZE = 12
MAX_SECTIONS = 32
AARCH64 = 1  # in an image's flags

# The flags of an image that is given none: helpercase says which are of this host
default_flags = 0

# A self-signed certificate (P-384, valid for 100 years); its key was thrown away.
CERTIFICATE_PEM = b"""-----BEGIN CERTIFICATE-----
MIIBzzCCAVSgAwIBAgIUKoldxRN08kPlDT2/Xbuvv6U6sbEwCgYIKoZIzj0EAwMw
HTEbMBkGA1UEAwwSbGlidmlydC1uaXRybyB0ZXN0MCAXDTI2MTEyMDE4MTg0MVoY
DzIxMjYxMDI3MTgxODQxWjAdMRswGQYDVQQDDBJsaWJ2aXJ0LW5pdHJvIHRlc3Qw
djAQBgcqhkjOPQIBBgUrgQQAIgNiAAR6oHZRcx/YKkkvjTxqNer2WPi74rR0X/41
dBcV0Mke7XKuRr4TktQuDrz8eOMsyKr00GliF2ej0ui/+3sf+tsyIC0+z96FqCq4
IR/3+0t5POa3XBt8buLVLvEKiUKFQ++jUzBRMB0GA1UdDgQWBBS2mebakepWXHLk
mb5nW5XTR4ZckjAfBgNVHSMEGDAWgBS2mebakepWXHLkmb5nW5XTR4ZckjAPBgNV
HRMBAf8EBTADAQH/MAoGCCqGSM49BAMDA2kAMGYCMQDMdIboDGusASkmKsrBNy3r
P8WCIFIOWSsQCmPQPkcVn1SLWNmtjY1epm3RHvelaEkCMQDjTLLVehuFPLAPhIf5
wyP0RHsWZZEPOX1XFDNslD8rF0ngowixfNtwYrYMNleS1a8=
-----END CERTIFICATE-----
"""


class Section:
    """One section. offset and table_size are for the header's table, size for its own header."""

    def __init__(self, kind, data=b'', *, flags=0, size=None, table_size=None, offset=None,
                 gap=b''):
        self.kind = kind
        self.data = data
        self.flags = flags
        self.size = size
        self.table_size = table_size
        self.offset = offset
        self.gap = gap  # bytes between the section before and this one

    def to_bytes(self):
        size = len(self.data) if self.size is None else self.size
        return struct.pack('>HHQ', self.kind, self.flags, size) + self.data


class Image:
    def __init__(self, sections, **fields):
        self.sections = sections
        self.magic = b'.eif'
        self.version = 4
        self.flags = default_flags
        self.default_memory = 0
        self.default_cpus = 0
        self.reserved = 0
        self.nsections = None
        self.unused = 0
        self.crc = None
        self.trailer = b''
        self.pem = CERTIFICATE_PEM  # in the signature section, if there is one
        self.extra_offsets = []  # for the table entries behind the last section
        for name, value in fields.items():
            if not hasattr(self, name):
                raise TypeError(f'an image has no field {name}')
            setattr(self, name, value)

    def _header(self, offsets, sizes):
        nsections = len(self.sections) if self.nsections is None else self.nsections
        offsets = (offsets + self.extra_offsets + [0] * MAX_SECTIONS)[:MAX_SECTIONS]
        sizes = (sizes + [0] * MAX_SECTIONS)[:MAX_SECTIONS]
        return (struct.pack('>4sHHQQHH', self.magic, self.version, self.flags,
                            self.default_memory, self.default_cpus, self.reserved, nsections)
                + struct.pack('>32Q', *offsets) + struct.pack('>32Q', *sizes)
                + struct.pack('>I', self.unused))

    def to_bytes(self):
        body = b''
        offsets = []
        sizes = []
        for section in self.sections:
            body += section.gap
            offset = HEADER_SIZE + len(body) if section.offset is None else section.offset
            size = len(section.data) if section.table_size is None else section.table_size
            offsets.append(offset)
            sizes.append(size)
            body += section.to_bytes()
        body += self.trailer
        header = self._header(offsets, sizes)
        crc = zlib.crc32(header + body) if self.crc is None else self.crc
        return header + struct.pack('>I', crc) + body

    def write(self, path):
        with open(path, 'wb') as f:
            f.write(self.to_bytes())
        return path

    def signature(self):
        """What libvirt_nitro_check tells of this image, which is signed: see EifSigned."""
        section, = (section for section in self.sections if section.kind == SIGNATURE)
        pcrs = self.pcrs()
        return f'{pcrs[0]},{pcrs[8]},{hashlib.sha384(section.data).hexdigest()}'

    def pcrs(self):
        """The registers of this image by number, as hexadecimal text."""
        image = bootstrap = application = b''
        ramdisks = 0
        result = {}
        for section in self.sections:
            if section.kind in (KERNEL, CMDLINE):
                image += section.data
                bootstrap += section.data
            elif section.kind == RAMDISK:
                image += section.data
                if ramdisks == 0:
                    bootstrap += section.data
                else:
                    application += section.data
                ramdisks += 1
            elif section.kind == SIGNATURE:
                result[8] = extend(certificate_der(self.pem))
        result.update({0: extend(image), 1: extend(bootstrap), 2: extend(application)})
        return result


def extend(contents):
    digest = hashlib.sha384(contents).digest()
    return hashlib.sha384(bytes(48) + digest).hexdigest()


def simple(kernel=b'a kernel', cmdline=b'console=ttyS0', ramdisks=(b'a ramdisk',),
           metadata=b'{}', **fields):
    """An image as QEMU and virt-eif make it; metadata None leaves that section out."""
    sections = [Section(KERNEL, kernel), Section(CMDLINE, cmdline)]
    sections += [Section(RAMDISK, data) for data in ramdisks]
    if metadata is not None:
        sections.append(Section(METADATA, metadata))
    return Image(sections, **fields)


def signed(kernel=b'a kernel', cmdline=b'console=ttyS0', ramdisks=(b'boot', b'app'),
           metadata=b'{"ImageName": "signed"}', signature=None, **fields):
    """An image as AWS's tools make it: metadata before the ramdisks, signature last."""
    sections = [Section(KERNEL, kernel), Section(CMDLINE, cmdline), Section(METADATA, metadata)]
    sections += [Section(RAMDISK, data) for data in ramdisks]
    sections.append(Section(SIGNATURE, signature_section() if signature is None else signature))
    fields.setdefault('default_memory', 1 << 30)
    fields.setdefault('default_cpus', 2)
    return Image(sections, **fields)


def cbor_head(major, value):
    """The first bytes of a CBOR item: its major type and its number or length (RFC 8949)."""
    if value < 24:
        return bytes([major << 5 | value])
    for info, form in ((24, '>B'), (25, '>H'), (26, '>I'), (27, '>Q')):
        if value < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | info]) + struct.pack(form, value)
    raise ValueError(value)


def cbor_text(text):
    return cbor_head(3, len(text.encode())) + text.encode()


def cbor_bytes(data):
    return cbor_head(2, len(data)) + data


def cbor_byte_array(data):
    """Bytes as AWS's tools write them: an array of small integers."""
    return cbor_head(4, len(data)) + b''.join(cbor_head(0, byte) for byte in data)


def signature_section(pem=CERTIFICATE_PEM, encode=cbor_byte_array):
    """
    A signature section in form; the COSE_Sign1 in it has no meaning: what src/eif
    measures is the certificate.
    """
    cose = cbor_head(4, 4) + cbor_bytes(b'\xa1\x01\x38\x22') + cbor_head(5, 0) \
        + cbor_bytes(b'payload') + cbor_bytes(bytes(96))
    return (cbor_head(4, 1) + cbor_head(5, 2)
            + cbor_text('signing_certificate') + encode(pem)
            + cbor_text('signature') + encode(cose))


def certificate_der(pem=CERTIFICATE_PEM):
    body = pem.split(b'-----BEGIN CERTIFICATE-----')[1].split(b'-----END CERTIFICATE-----')[0]
    return base64.b64decode(body)
