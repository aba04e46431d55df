# eifmalformed.py: images that must be refused, each with the message it is refused with
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# HEADER has what reading the table of contents refuses, CONTENT what only
# reading the whole file can find. Each case is a name, the bytes of the file, and
# the message without the file's name in front.

from eifwriter import (CMDLINE, KERNEL, METADATA, RAMDISK, SIGNATURE, Image, Section, cbor_bytes,
                       cbor_head, cbor_text, signature_section, signed, simple)

U64 = (1 << 64) - 1

# The file that many cases start from, and where its sections start and end
GOOD = simple().to_bytes()
KERNEL_AT = 548                   # 8 bytes of content
CMDLINE_AT = KERNEL_AT + 12 + 8   # 13
RAMDISK_AT = CMDLINE_AT + 12 + 13  # 9
METADATA_AT = RAMDISK_AT + 12 + 9  # 2
END = METADATA_AT + 12 + 2
assert len(GOOD) == END

# With this size the end of the command line is 548 when the sum wraps at 64 bits.
WRAP = (1 << 64) - CMDLINE_AT - 12 + KERNEL_AT


def sections(**changes):
    """The sections of GOOD; each named one gets the given attributes."""
    parts = {
        'kernel': Section(KERNEL, b'a kernel'),
        'cmdline': Section(CMDLINE, b'console=ttyS0'),
        'ramdisk': Section(RAMDISK, b'a ramdisk'),
        'metadata': Section(METADATA, b'{}'),
    }
    for name, attributes in changes.items():
        for attribute, value in attributes.items():
            setattr(parts[name], attribute, value)
    return list(parts.values())


def changed(**changes):
    return Image(sections(**changes)).to_bytes()


def kinds(*types, **fields):
    data = {KERNEL: b'a kernel', METADATA: b'{}'}
    return Image([Section(kind, data.get(kind, b'')) for kind in types], **fields).to_bytes()


def swapped():
    """The header's table names the command line before the kernel."""
    parts = sections(kernel={'offset': CMDLINE_AT, 'table_size': 13},
                     cmdline={'offset': KERNEL_AT, 'table_size': 8})
    return Image(parts).to_bytes()


def sizes(number, kind, table, own):
    return f'section {number} ({kind}) has {table} bytes in the table and {own} in its own header'


def signed_twice(old, new, *behind):
    """
    As the signers of AWS's tools up to 2026 write it: the second signature is put in the
    place of the first, sections behind it move and their offsets with them, but the table
    keeps the size of the first.
    """
    first = [Section(KERNEL, b'a kernel'), Section(CMDLINE, b'console=ttyS0'),
             Section(RAMDISK, b'a ramdisk')]
    return Image(first + [Section(SIGNATURE, bytes(new), table_size=old), *behind]).to_bytes()


HEADER = [
    ('empty file', b'', 'not an EIF file: it is empty'),
    ('one byte', b'.', 'not an EIF file: it has only 1 bytes'),
    ('three bytes', b'.ei', 'not an EIF file: it has only 3 bytes'),
    ('an ELF file', b'\x7fELF' + bytes(1000),
     'not an EIF file: the magic number is 0x7f454c46, not 0x2e656966 (".eif")'),
    ('magic in upper case', simple(magic=b'.EIF').to_bytes(),
     'not an EIF file: the magic number is 0x2e454946, not 0x2e656966 (".eif")'),
    ('magic alone', b'.eif',
     'the file has 4 bytes, fewer than the 548 of an EIF header: it is truncated'),
    ('header short of one byte', GOOD[:547],
     'the file has 547 bytes, fewer than the 548 of an EIF header: it is truncated'),
    ('version 0', simple(version=0).to_bytes(),
     'EIF header: version is 0, only 2 to 4 are supported'),
    ('version 1', simple(version=1).to_bytes(),
     'EIF header: version is 1, only 2 to 4 are supported'),
    ('version 5', simple(version=5).to_bytes(),
     'EIF header: version is 5, only 2 to 4 are supported'),
    ('version 65535', simple(version=65535).to_bytes(),
     'EIF header: version is 65535, only 2 to 4 are supported'),
    ('no sections', simple(nsections=0).to_bytes(),
     'EIF header: number of sections is 0, it must be 2 to 32'),
    ('one kernel section and nothing else', kinds(KERNEL),
     'EIF header: number of sections is 1, it must be 2 to 32'),
    ('33 sections', simple(nsections=33).to_bytes(),
     'EIF header: number of sections is 33, it must be 2 to 32'),
    ('65535 sections', simple(nsections=65535).to_bytes(),
     'EIF header: number of sections is 65535, it must be 2 to 32'),
    ('more sections than there are', simple(nsections=5).to_bytes(),
     'EIF header: offset of section 4 is 0, which overlaps the section before that ends at '
     f'{END}'),
    ('fewer sections than there are', simple(nsections=3).to_bytes(),
     f'the last section ends at {METADATA_AT}, but the file goes on to {END}'),
    ('cut behind the header', GOOD[:548],
     'EIF header: offset of section 0 is 548, but the file ends at 548'),
    ('cut inside a section header', GOOD[:KERNEL_AT + 11],
     'EIF header: offset of section 0 is 548, but the file ends at 559'),
    ('cut behind a section header', GOOD[:KERNEL_AT + 12],
     'EIF header: size of section 0 is 8, but the file has only 0 bytes left for it'),
    ('cut inside a section', GOOD[:KERNEL_AT + 12 + 7],
     'EIF header: size of section 0 is 8, but the file has only 7 bytes left for it'),
    ('cut behind a section', GOOD[:CMDLINE_AT],
     f'EIF header: offset of section 1 is {CMDLINE_AT}, but the file ends at {CMDLINE_AT}'),
    ('cut inside the ramdisk', GOOD[:METADATA_AT - 1],
     'EIF header: size of section 2 is 9, but the file has only 8 bytes left for it'),
    ('cut by one byte', GOOD[:-1],
     'EIF header: size of section 3 is 2, but the file has only 1 bytes left for it'),
    ('one byte behind the end', GOOD + b'\0',
     f'the last section ends at {END}, but the file goes on to {END + 1}'),
    ('a page behind the end', simple(trailer=bytes(4096)).to_bytes(),
     f'the last section ends at {END}, but the file goes on to {END + 4096}'),
    ('offset 0', changed(kernel={'offset': 0}),
     'EIF header: offset of section 0 is 0, which overlaps the header that ends at 548'),
    ('offset in the header', changed(kernel={'offset': 547}),
     'EIF header: offset of section 0 is 547, which overlaps the header that ends at 548'),
    ('overlap by one byte', changed(cmdline={'offset': CMDLINE_AT - 1}),
     f'EIF header: offset of section 1 is {CMDLINE_AT - 1}, which overlaps the section before '
     f'that ends at {CMDLINE_AT}'),
    ('two sections at one place', changed(cmdline={'offset': KERNEL_AT, 'table_size': 8}),
     f'EIF header: offset of section 1 is {KERNEL_AT}, which overlaps the section before that '
     f'ends at {CMDLINE_AT}'),
    ('table in another order than the file', swapped(),
     f'EIF header: offset of section 1 is {KERNEL_AT}, which overlaps the section before that '
     f'ends at {RAMDISK_AT}'),
    ('offset beyond the end', changed(ramdisk={'offset': END + 1}),
     f'EIF header: offset of section 2 is {END + 1}, but the file ends at {END}'),
    ('offset 2^63', changed(kernel={'offset': 1 << 63}),
     f'EIF header: offset of section 0 is {1 << 63}, but the file ends at {END}'),
    ('offset 2^64 - 1', changed(metadata={'offset': U64}),
     f'EIF header: offset of section 3 is {U64}, but the file ends at {END}'),
    ('offset whose sum with the header wraps', changed(kernel={'offset': U64 - 11}),
     f'EIF header: offset of section 0 is {U64 - 11}, but the file ends at {END}'),
    ('size 2^63', changed(kernel={'table_size': 1 << 63, 'size': 1 << 63}),
     f'EIF header: size of section 0 is {1 << 63}, but the file has only {END - 560} bytes left '
     'for it'),
    ('size 2^64 - 1', changed(kernel={'table_size': U64, 'size': U64}),
     f'EIF header: size of section 0 is {U64}, but the file has only {END - 560} bytes left '
     'for it'),
    ('size whose end wraps to the start of the sections', changed(cmdline={'table_size': WRAP, 'size': WRAP}),
     f'EIF header: size of section 1 is {WRAP}, but the file has only {END - CMDLINE_AT - 12} '
     'bytes left for it'),
    ('size too large by one', changed(cmdline={'table_size': 14, 'size': 14}),
     f'EIF header: offset of section 2 is {RAMDISK_AT}, which overlaps the section before that '
     f'ends at {RAMDISK_AT + 1}'),
    ('table with a smaller size', changed(cmdline={'table_size': 12}), sizes(1, 'cmdline', 12, 13)),
    ('table with a larger size', changed(cmdline={'table_size': 14}), sizes(1, 'cmdline', 14, 13)),
    ('table with size 2^63', changed(kernel={'table_size': 1 << 63}),
     sizes(0, 'kernel', 1 << 63, 8)),
    ('section header with a smaller size', changed(ramdisk={'size': 8}),
     sizes(2, 'ramdisk', 9, 8)),
    ('section header with size 2^64 - 1', changed(ramdisk={'size': U64}),
     sizes(2, 'ramdisk', 9, U64)),
    ('signed twice, the first time with a longer signature', signed_twice(1000, 300),
     sizes(3, 'signature', 1000, 300)),
    ('signed twice, the first time with a shorter signature', signed_twice(300, 1000),
     sizes(3, 'signature', 300, 1000)),
    ('the same, with a section behind the signature',
     signed_twice(300, 1000, Section(METADATA, b'{}')), sizes(3, 'signature', 300, 1000)),
    ('section of type 0', kinds(KERNEL, CMDLINE, 0, METADATA),
     'section 2: type is 0, only 1 to 5 are defined'),
    ('section of type 6', kinds(KERNEL, CMDLINE, 6, METADATA),
     'section 2: type is 6, only 1 to 5 are defined'),
    ('section of type 65535', kinds(KERNEL, CMDLINE, 65535, METADATA),
     'section 2: type is 65535, only 1 to 5 are defined'),
    ('empty kernel', simple(kernel=b'').to_bytes(),
     'section 0 (kernel): size is 0, so there is no kernel to boot'),
    ('no kernel', kinds(CMDLINE, RAMDISK, METADATA),
     'the image has no kernel section, which EIF version 4 needs'),
    ('two kernels', kinds(KERNEL, KERNEL, CMDLINE, METADATA),
     'the image has 2 kernel sections, only one is allowed'),
    ('no command line', kinds(KERNEL, RAMDISK, METADATA),
     'the image has no cmdline section, which EIF version 4 needs'),
    ('no command line, version 2', kinds(KERNEL, RAMDISK, version=2),
     'the image has no cmdline section, which EIF version 2 needs'),
    ('three command lines', kinds(KERNEL, CMDLINE, CMDLINE, CMDLINE, METADATA),
     'the image has 3 cmdline sections, only one is allowed'),
    ('no metadata', kinds(KERNEL, CMDLINE, RAMDISK),
     'the image has no metadata section, which EIF version 4 needs'),
    ('two metadata sections', kinds(KERNEL, CMDLINE, METADATA, METADATA),
     'the image has 2 metadata sections, only one is allowed'),
    ('two metadata sections, version 3', kinds(KERNEL, CMDLINE, METADATA, METADATA, version=3),
     'the image has 2 metadata sections, only one is allowed'),
    ('two signatures', kinds(KERNEL, CMDLINE, METADATA, SIGNATURE, SIGNATURE),
     'the image has 2 signature sections, only one is allowed'),
    ('ramdisk before the kernel', kinds(RAMDISK, KERNEL, CMDLINE, METADATA),
     'section 0 (ramdisk) is before the kernel, section 1: all ramdisks must be behind it'),
    ('one of two ramdisks before the kernel', kinds(CMDLINE, METADATA, RAMDISK, KERNEL, RAMDISK),
     'section 2 (ramdisk) is before the kernel, section 3: all ramdisks must be behind it'),
    ('kernel last', kinds(CMDLINE, METADATA, RAMDISK, RAMDISK, KERNEL, version=3),
     'section 2 (ramdisk) is before the kernel, section 4: all ramdisks must be behind it'),
]


def damaged(at):
    data = bytearray(GOOD)
    data[at] ^= 1
    return bytes(data)


def crc_message(data):
    """Of an image whose stored checksum is GOOD's"""
    return (f'EIF header: checksum is 0x{data[544:548].hex()}, which is not that of the content: '
            'the image is damaged')


def signature_error(text):
    return 'the signature section is wrong: ' + text


def with_signature(section):
    return signed(signature=section).to_bytes()


def one_signature(value):
    """A signature section with @value as the encoded value of signing_certificate."""
    return cbor_head(4, 1) + cbor_head(5, 1) + cbor_text('signing_certificate') + value


def with_pem(text):
    return with_signature(one_signature(cbor_bytes(text)))


def pem(body):
    return b'-----BEGIN CERTIFICATE-----\n' + body + b'\n-----END CERTIFICATE-----\n'


ENDS = signature_error('its CBOR ends early')
NOT_BASE64 = signature_error("the certificate's PEM text is not base64")
NOT_PEM = signature_error('the certificate is not in PEM form')
NOT_DER = signature_error('the certificate is not in DER form inside its PEM text')
INDEFINITE = signature_error('its CBOR has an item of indefinite length, which is not supported')
NOT_BYTE = signature_error('the value of "signing_certificate" is an array with an item that is not a byte')

CONTENT = [
    ('checksum of zeros', simple(crc=0).to_bytes(), crc_message(bytes(548))),
    ('damaged kernel', damaged(KERNEL_AT + 12), crc_message(GOOD)),
    ('damaged command line', damaged(CMDLINE_AT + 13), crc_message(GOOD)),
    ('damaged ramdisk', damaged(METADATA_AT - 1), crc_message(GOOD)),
    ('damaged reserved field', damaged(25), crc_message(GOOD)),
    ('damaged default memory', damaged(15), crc_message(GOOD)),
    ('damaged unused table entry', damaged(28 + 8 * 31), crc_message(GOOD)),
    ('NUL in the command line', simple(cmdline=b'a=1\0b=2').to_bytes(),
     'the cmdline section has a NUL byte at 3, where a reader of text would stop'),
    ('NUL behind the command line', simple(cmdline=b'a=1\0').to_bytes(),
     'the cmdline section has a NUL byte at 3, where a reader of text would stop'),
    ('NUL in the metadata', simple(metadata=b'{}\0').to_bytes(),
     'the metadata section has a NUL byte at 2, where a reader of text would stop'),
    ('command line of 1 MiB and 1 byte', simple(cmdline=b'a' * 1048577).to_bytes(),
     'the cmdline section has 1048577 bytes, more than the 1048576 that are accepted'),
    ('metadata that is not JSON', simple(metadata=b'{"a": }').to_bytes(),
     'the metadata section is wrong: it is not JSON in line 1, column 7: parse error: unallowed '
     'token at this point in JSON text'),
    ('metadata that ends early', simple(metadata=b'{"a": 1').to_bytes(),
     'the metadata section is wrong: it is not JSON in line 1, column 7: parse error: premature EOF'),
    ('metadata with a second value', simple(metadata=b'{}{}').to_bytes(),
     'the metadata section is wrong: it is not JSON in line 1, column 3: parse error: trailing garbage'),
    ('metadata that is not an object', simple(metadata=b'[1, 2]').to_bytes(),
     'the metadata section is wrong: it is not a JSON object'),
    ('metadata that is a number', simple(metadata=b'17').to_bytes(),
     'the metadata section is wrong: it is not a JSON object'),
    ('metadata that is not UTF-8', simple(metadata=b'{"a": "\xff"}').to_bytes(),
     'the metadata section is wrong: it is not JSON in line 1, column 8: lexical error: invalid '
     'bytes in UTF8 string.'),
    ('empty metadata', simple(metadata=b'').to_bytes(),
     'the metadata section is wrong: it is not JSON in line 1, column 1: parse error: premature EOF'),
    ('metadata nested 101 levels deep',
     simple(metadata=b'{"a":' * 100 + b'{}' + b'}' * 100).to_bytes(),
     'the metadata section is wrong: it is nested more than 100 levels deep'),
    ('metadata nested 400000 levels deep',
     simple(metadata=b'{"a":' + b'[' * 400000).to_bytes(),
     'the metadata section is wrong: it is nested more than 100 levels deep'),
    ('empty signature', with_signature(b''), ENDS),
    ('signature that is a number', with_signature(b'\x01'),
     signature_error('it is not a CBOR array of at least one signature')),
    ('no signature in the array', with_signature(b'\x80'),
     signature_error('it is not a CBOR array of at least one signature')),
    ('reserved CBOR byte', with_signature(b'\x1c'), signature_error('it is not CBOR')),
    ('number of indefinite length', with_signature(b'\x1f'), signature_error('it is not CBOR')),
    ('tag of indefinite length', with_signature(b'\xdf'), signature_error('it is not CBOR')),
    ('simple value that is too long', with_signature(b'\x81\xf8\x1f'),
     signature_error('it is not CBOR')),
    ('head of an item that ends early', with_signature(b'\x9b' + bytes(7)), ENDS),
    ('signature array of text', with_signature(cbor_head(4, 1) + cbor_text('x')),
     signature_error('its first item is not a CBOR map')),
    ('array of 2^64 - 1 items', with_signature(b'\x9b' + b'\xff' * 8), ENDS),
    ('map of 2^63 pairs', with_signature(b'\x81\xbb\x80' + bytes(7) + bytes(16)), ENDS),
    ('array of 2^40 items with some there', with_signature(cbor_head(4, 1 << 40) + bytes(100)),
     ENDS),
    ('byte string of 2^64 - 1 bytes', with_signature(one_signature(b'\x5b' + b'\xff' * 8)), ENDS),
    ('byte string longer than the section by one',
     with_signature(one_signature(cbor_bytes(bytes(10))[:-1])), ENDS),
    ('array of the certificate cut', with_signature(signature_section()[:100]), ENDS),
    ('second map value cut', with_signature(signature_section()[:-1]), ENDS),
    ('bytes behind the CBOR', with_signature(signature_section() + b'\0'),
     signature_error('it goes on behind the end of its CBOR')),
    ('array of indefinite length', with_signature(b'\x9f\xff'), INDEFINITE),
    ('map of indefinite length', with_signature(b'\x81\xbf\xff'), INDEFINITE),
    ('byte string of indefinite length', with_signature(one_signature(b'\x5f\xff')), INDEFINITE),
    ('break alone', with_signature(b'\xff'), INDEFINITE),
    ('key that is a number', with_signature(b'\x81\xa1\x01\x02'),
     signature_error('its map has a key that is not a text')),
    ('no certificate', with_signature(b'\x81\xa1' + cbor_text('signature') + b'\x40'),
     signature_error('its map has no key "signing_certificate"')),
    ('empty map', with_signature(b'\x81\xa0'),
     signature_error('its map has no key "signing_certificate"')),
    ('certificate twice',
     with_signature(b'\x81\xa2' + (cbor_text('signing_certificate') + b'\x41a') * 2),
     signature_error('its map has the key "signing_certificate" twice')),
    ('certificate that is a number', with_signature(one_signature(b'\x07')),
     signature_error('the value of "signing_certificate" is neither a byte string nor an array '
                     'of bytes')),
    ('certificate of numbers above 255', with_signature(one_signature(b'\x81\x19\x01\x00')),
     NOT_BYTE),
    ('certificate of negative numbers', with_signature(one_signature(b'\x81\x20')), NOT_BYTE),
    ('certificate of arrays', with_signature(one_signature(b'\x81\x80')), NOT_BYTE),
    ('unknown key with 100000 nested arrays that end early',
     with_signature(b'\x81\xa1' + cbor_text('x') + b'\x81' * 100000), ENDS),
    ('empty certificate', with_pem(b''), NOT_PEM),
    ('empty array as certificate', with_signature(one_signature(b'\x80')), NOT_PEM),
    ('certificate without PEM marks', with_pem(b'MAMCAQU='), NOT_PEM),
    ('certificate without its end mark', with_pem(pem(b'MAMCAQU=')[:-3]), NOT_PEM),
    ('private key', with_pem(pem(b'MAMCAQU=').replace(b'CERTIFICATE', b'PRIVATE KEY')), NOT_PEM),
    ('PEM without content', with_pem(pem(b'')), NOT_BASE64),
    ('PEM with other characters', with_pem(pem(b'MAMC!QU=')), NOT_BASE64),
    ('PEM with a NUL', with_pem(pem(b'MAMC\0AQU=')), NOT_BASE64),
    ('PEM with text behind the padding', with_pem(pem(b'MAMCAQU=MAMC')), NOT_BASE64),
    ('PEM with three paddings', with_pem(pem(b'M===')), NOT_BASE64),
    ('PEM of a wrong length', with_pem(pem(b'MAMCAQU')), NOT_BASE64),
    ('PEM without a SEQUENCE', with_pem(pem(b'BAMCAQU=')), NOT_DER),
    ('DER that is too short', with_pem(pem(b'MAQCAQU=')), NOT_DER),
    ('DER with a byte behind it', with_pem(pem(b'MAMCAQUA')), NOT_DER),
    ('DER of one byte', with_pem(pem(b'MA==')), NOT_DER),
    ('DER with a length of five bytes', with_pem(pem(b'MIUAAAAAAAAA')), NOT_DER),
    ('DER of indefinite length', with_pem(pem(b'MIAAAA==')), NOT_DER),
    ('signature of 1 MiB and 1 byte', with_signature(bytes(1048577)),
     'the signature section has 1048577 bytes, more than the 1048576 that are accepted'),
]
