# virteifsigntest.py: virt-eif sign, and build with a signature
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the built tool (environment variable VIRT_EIF) signs is looked at three times: by
# virt-eif verify, by libvirt_nitro_check, which the driver asks before a start, and by the
# independent eifverifier.py. All other bytes are compared with what eifwriter.py makes.

import copy
import datetime
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import unittest
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from cryptography.x509.oid import NameOID

import eifmalformed
import eifsigner
import eifverifier
import eifwriter
import taprunner
from virteiftest import TOOL, ToolTest

CHECK = os.environ['LIBVIRT_NITRO_CHECK']
SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'
ROOT = os.geteuid() == 0
OTHER_USER = 4321
PEM = serialization.Encoding.PEM
HELP = "see 'virt-eif sign --help'"

UNUSUAL = "warning: certificate '{}' is for {} signatures, and AWS's examples of policies go by " \
          'ES384: a key on the curve P-384 is the usual one\n'


def private_pem(key, form=serialization.PrivateFormat.PKCS8,
                encryption=serialization.NoEncryption()):
    return key.private_bytes(PEM, form, encryption)


class SignTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.signer = eifsigner.Signer()
        self.keys = self.pair(self.signer)

    def pair(self, signer, name='signer'):
        """Files of a signer's key and certificate, as options"""
        return ['--key', self.file(f'{name}.key', signer.private_pem()),
                '--certificate', self.file(f'{name}.pem', signer.pem)]

    def write(self, image=None, name='image.eif'):
        return (image or eifwriter.simple(ramdisks=(b'boot', b'app'))).write(self.path(name))

    def sign(self, *args, **more):
        """Signs, and compares the PCR8 that is told with that of the certificate."""
        text = self.good('sign', *args, **more).decode()
        der = eifwriter.certificate_der(self.signer.pem)
        self.assertEqual(text, f'PCR8: {eifwriter.extend(der)}\n')

    def driver_says(self, path):
        with open(path, 'rb') as image:
            done = subprocess.run(
                [CHECK, '--image-fd', str(image.fileno()), '--image-name', path, '--arch', 'x86_64',
                 '--memory', str(64 << 20)], pass_fds=[image.fileno()], capture_output=True,
                timeout=60, check=False, env={**os.environ, 'LC_ALL': 'C'})
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        return json.loads(done.stdout)

    def check_signed(self, path, signer=None):
        """That all three accept the image; returns what eifverifier says of it."""
        with open(path, 'rb') as image:
            data = image.read()
        signed = eifverifier.verify(data)
        self.assertEqual(eifwriter.certificate_der(signed.pem),
                         eifwriter.certificate_der((signer or self.signer).pem))
        self.good('verify', path)
        section = dict(eifverifier.read_sections(data))[eifwriter.SIGNATURE]
        self.assertEqual(self.driver_says(path), {'signature': ','.join(
            (signed.pcrs[0], signed.pcrs[8], hashlib.sha384(section).hexdigest()))})
        return signed

    def refuse_all(self, data):
        """That none of the three takes the image for one that is signed well."""
        path = self.file('refused.eif', data)
        with self.assertRaises(eifverifier.Wrong):
            eifverifier.verify(data)
        self.assertEqual(self.run_tool('verify', path).returncode, 1)
        verdict = self.driver_says(path)
        # PCR0 is compared by the helper, which measures the image: see e2e/test_host.py
        if 'failure' not in verdict:
            signed = verdict['signature'].split(',')[0]
            self.assertNotEqual(self.describe(path)['Measurements']['PCR0'], signed)

    def files(self):
        return {name: self.read(name) for name in os.listdir(self.dir)}


def with_checksum(data):
    crc = zlib.crc32(data[:544] + data[548:])
    return data[:544] + struct.pack('>I', crc) + data[548:]


class Sign(SignTest):
    def test_algorithms(self):
        """That of the key; measurements stay; the usual one is signed without a word"""
        image = eifwriter.simple(ramdisks=(b'boot', b'app'))
        for name in eifsigner.ALGORITHMS:
            with self.subTest(name):
                signer = eifsigner.Signer(name)
                path = self.write(image)
                done = self.run_tool('sign', *self.pair(signer, name), path)
                pem = self.path(f'{name}.pem')
                self.assertEqual(done.stderr.decode(),
                                 '' if name == 'ES384' else UNUSUAL.format(pem, name))
                self.assertEqual(done.returncode, 0)
                signed = self.check_signed(path, signer)
                self.assertEqual(signed.algorithm, name)
                self.assertEqual({number: signed.pcrs[number] for number in range(3)}, image.pcrs())
                described = self.describe(path)
                self.assertIs(described['SignatureCheck'], True)
                self.assertEqual(described['Measurements']['PCR8'], signed.pcrs[8])

    def test_many_signatures(self):
        """With numbers of the signature that start with zeros"""
        short = 0
        for count in range(3000):
            image = eifwriter.simple(kernel=b'kernel %d' % count)
            content = eifsigner.payload(bytes.fromhex(image.pcrs()[0]))
            raw = eifverifier.read_cbor(self.signer.cose(content))[3]
            if raw[0] and raw[48]:
                continue
            # it is not the tool's own signature, so it is attached in DER, which has no zeros
            numbers = int.from_bytes(raw[:48], 'big'), int.from_bytes(raw[48:], 'big')
            self.sign('--attach', self.file('signature', utils.encode_dss_signature(*numbers)),
                      *self.keys[2:], self.write(image))
            self.check_signed(self.path('image.eif'))
            short += 1
            if short == 3:
                return
        self.fail(f'only {short} of these in {count} signatures')

    def test_forms_of_keys_and_certificates(self):
        other = eifsigner.Signer()
        sec1 = private_pem(self.signer.key, serialization.PrivateFormat.TraditionalOpenSSL)
        parameters = b'-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n'
        alone = self.signer.pem
        for key, pem in ((sec1, alone), (parameters + sec1, alone),
                         (private_pem(self.signer.key), b'subject=CN = x\n' + alone + other.pem),
                         (sec1, alone.replace(b'\n', b'\r\n'))):
            with self.subTest((key[:30], pem[:30])):
                path = self.write()
                self.sign('--key', self.file('key', key), '--certificate', self.file('pem', pem),
                          path)
                # of a chain, the certificate of the key alone
                self.assertEqual(self.check_signed(path).pem, alone)

    def test_from_pipes(self):
        """What a shell calls <(...)"""
        path = self.write()
        command = 'exec "$0" sign --key <(cat "$1") --certificate <(cat "$2") "$3"'
        done = subprocess.run(['bash', '-c', command, TOOL, self.keys[1], self.keys[3], path],
                              capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        self.check_signed(path)

    def test_same_bytes(self):
        """The same input gives the same image"""
        path = self.write()
        for name in 'first', 'second':
            self.sign(*self.keys, path, '--output', self.path(name))
        self.assertEqual(self.read('first'), self.read('second'))
        # the image itself has stayed
        self.assertEqual(self.read('image.eif'),
                         eifwriter.simple(ramdisks=(b'boot', b'app')).to_bytes())

    def test_other_bytes_stay(self):
        """Whether a signature is added, or replaced by a longer or shorter one; also odd ones"""
        S = eifwriter.Section
        k, c, r, s, m = (eifwriter.KERNEL, eifwriter.CMDLINE, eifwriter.RAMDISK,
                         eifwriter.SIGNATURE, eifwriter.METADATA)
        big = os.urandom(300000)
        plain = [S(k, big), S(c, b'c'), S(r, b'r1'), S(r, b''), S(m, b' {"a": 1}\n')]
        odd = {'flags': 0xfff0, 'reserved': 7, 'unused': 9, 'default_memory': 5, 'default_cpus': 6}
        old = eifwriter.signature_section()
        cases = {
            'added': (plain, {}),
            'added, odd': ([S(k, b'k', gap=b'gap'), S(c, b'c', flags=3, gap=big), S(m, b'{}')],
                           {**odd, 'extra_offsets': [0, 11, 12]}),
            'version 2': ([S(k, b'k'), S(c, b'c')], {'version': 2}),
            'replaced, last': (plain + [S(s, old)], {}),
            'replaced, shorter before': (plain + [S(s, b'')], {}),
            'replaced, longer before': (plain + [S(s, bytes(200000))], {}),
            'replaced, first': ([S(s, old)] + plain, {}),
            'replaced, odd': ([S(m, b'{}', gap=b'1'), S(s, b'xx', flags=0x11, gap=b'22'),
                               S(k, big, gap=b'333'), S(c, b'', flags=1)],
                              {**odd, 'extra_offsets': [1 << 60]}),
            '32 sections': ([S(k, b'k'), S(s, old), S(c, b'c'), S(m, b'{}'), *[S(r, b'r')] * 28],
                            {}),
        }
        for name, (sections, fields) in cases.items():
            with self.subTest(name):
                image = eifwriter.Image(copy.deepcopy(sections), **fields)
                path = self.write(image)
                self.sign(*self.keys, path)
                section = dict(eifverifier.read_sections(self.read('image.eif')))[s]
                if all(part.kind != s for part in image.sections):
                    image.sections.append(S(s))
                    image.extra_offsets = image.extra_offsets[1:]
                for part in image.sections:
                    part.data = section if part.kind == s else part.data
                self.assertEqual(self.read('image.eif'), image.to_bytes())
                self.good_or_remarked(path)

    def good_or_remarked(self, path):
        done = self.run_tool('verify', path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b'error: ', done.stderr)

    def test_signing_again(self):
        """By another key and back: the same bytes as at first"""
        path = self.write()
        self.sign(*self.keys, path)
        first = self.read('image.eif')
        other = eifsigner.Signer('ES512')
        self.assertEqual(self.run_tool('sign', *self.pair(other, 'other'), path).returncode, 0)
        self.check_signed(path, other)
        self.sign(*self.keys, path)
        self.assertEqual(self.read('image.eif'), first)

    def test_tampered(self):
        """One bit of what is measured, of what was signed, or of the signature"""
        path = self.write()
        self.sign(*self.keys, path)
        data = self.read('image.eif')
        signed = self.check_signed(path)
        section = dict(eifverifier.read_sections(data))[eifwriter.SIGNATURE]
        start = data.index(section) + section.index(eifwriter.cbor_text('signature')) + 10
        places = [data.index(b'a kernel'), data.index(b'console'), data.index(b'boot'),
                  data.index(b'app'), *range(start, len(data), 7), len(data) - 1]
        self.assertGreater(len(places), 60)
        self.assertEqual(len(signed.signature), 96)
        for at in places:
            self.refuse_all(with_checksum(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]))
        # and with a wrong checksum alone
        self.assertEqual(self.run_tool('verify', self.file(
            'crc.eif', data[:547] + bytes([data[547] ^ 1]) + data[548:])).returncode, 1)

    def test_signature_of_another_image(self):
        self.sign(*self.keys, self.write())
        other = eifwriter.simple(kernel=b'another', ramdisks=(b'boot', b'app'))
        section = dict(eifverifier.read_sections(self.read('image.eif')))[eifwriter.SIGNATURE]
        other.sections.append(eifwriter.Section(eifwriter.SIGNATURE, section))
        self.refuse_all(other.to_bytes())


class TwoSteps(SignTest):
    """The key is elsewhere"""

    def raw(self, data):
        return self.signer.signature(data)

    def der(self, raw):
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], 'big'),
                                          int.from_bytes(raw[half:], 'big'))

    def test_payload(self):
        """What is to be signed is what is signed at once"""
        for name, digest in (('ES256', 'sha256'), ('ES384', 'sha384'), ('ES512', 'sha512')):
            with self.subTest(name):
                signer = eifsigner.Signer(name)
                path = self.write()
                pair = self.pair(signer, name)
                before = self.read('image.eif')
                payload = self.run_tool('sign', '--print-payload', *pair[2:], path)
                hashed = self.run_tool('sign', '--print-digest', *pair[2:], path)
                self.assertEqual((payload.returncode, hashed.returncode), (0, 0))
                self.assertEqual(self.read('image.eif'), before)
                self.assertEqual(self.run_tool('sign', *pair, path).returncode, 0)
                self.assertEqual(payload.stdout, self.check_signed(path, signer).to_sign)
                self.assertEqual(hashed.stdout, hashlib.new(digest, payload.stdout).digest())

    def test_attach(self):
        """In both forms; with the signature that was made at once, the image of that"""
        path = self.write()
        self.sign(*self.keys, path, '-o', self.path('at-once.eif'))
        raw = self.check_signed(self.path('at-once.eif')).signature
        for form, signature in (('raw', raw), ('der', self.der(raw))):
            with self.subTest(form):
                self.sign('--attach', self.file('signature', signature), *self.keys[2:], path,
                          '-o', self.path('attached.eif'))
                self.assertEqual(self.read('attached.eif'), self.read('at-once.eif'))

    def test_key_of_openssl(self):
        """By the command line, as of any other place for a key"""
        path = self.write()
        payload = self.file('payload', self.good('sign', '--print-payload', *self.keys[2:], path))
        subprocess.run(['openssl', 'dgst', '-sha384', '-sign', self.keys[1], '-out',
                        self.path('signature'), payload], check=True, timeout=60)
        self.sign('--attach', self.path('signature'), *self.keys[2:], path)
        self.check_signed(path)

    def test_digest_of_openssl(self):
        """As aws kms sign --message-type DIGEST takes it"""
        path = self.write()
        digest = self.good('sign', '--print-digest', *self.keys[2:], path)
        signature = self.signer.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA384())))
        self.sign('--attach', self.file('signature', signature), *self.keys[2:], path)
        self.check_signed(path)

    def test_refused(self):
        path = self.write()
        payload = self.good('sign', '--print-payload', *self.keys[2:], path)
        good = self.raw(payload)
        other = self.write(eifwriter.simple(kernel=b'another'), 'other.eif')
        not_one = "signature '{}' is not one of this image by the key of certificate '{}': sign " \
                  "what 'virt-eif sign --print-payload' writes for both"
        no_form = "signature '{}' has {} bytes, which are no ES384 signature: it is either in " \
                  'DER form, or has 96 bytes'
        cases = (
            (path, good[:-1] + bytes([good[-1] ^ 1]), not_one),
            (path, self.der(good[::-1]), not_one),
            (path, eifsigner.Signer().signature(payload), not_one),
            (path, self.raw(hashlib.sha384(payload).digest()), not_one),
            (path, bytes(96), not_one),
            (other, good, not_one),
            (path, b'', no_form), (path, good[:-1], no_form), (path, self.der(good)[:-1], no_form),
            (path, b'\x30' + bytes(64), no_form),
            (path, utils.encode_dss_signature(1 << 384, 1), no_form),
        )
        for image, signature, message in cases:
            with self.subTest((message[:30], len(signature))):
                name = self.file('signature', signature)
                before = self.files()
                last = self.keys[3] if message is not_one else len(signature)
                self.bad(f'{image}: ' + message.format(name, last), 'sign', '--attach', name,
                         *self.keys[2:], image)
                self.assertEqual(self.files(), before)

    def test_full_output(self):
        path = self.write()
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([TOOL, 'sign', '--print-payload', *self.keys[2:], path],
                                  stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (
            1, b'error: cannot write to standard output: No space left on device\n'))


class Refusals(SignTest):
    """One sentence each, and every file stays as it was"""

    def refuse(self, message, *args, image=None, stderr=''):
        path = self.write(image)
        before = self.files()
        done = self.run_tool('sign', *args, path)
        self.assertEqual(done.stderr.decode(), f'{stderr}error: {message}\n')
        self.assertEqual((done.returncode, done.stdout), (1, b''))
        self.assertEqual(self.files(), before)

    def test_options(self):
        ways = 'exactly one of the options --key, --print-payload, --print-digest and --attach ' \
               f'is needed; {HELP}'
        key, certificate = self.keys[:2], self.keys[2:]
        for message, args in (
                (ways, certificate), (ways, [*self.keys, '--print-payload']),
                (ways, [*self.keys, '--attach', 'x']),
                (ways, [*certificate, '--print-payload', '--print-digest']),
                (f'option --certificate is missing; {HELP}', key),
                (f'option --certificate is missing; {HELP}', ['--print-payload']),
                ('option --output is for a signed image: what is to be signed goes to standard '
                 'output', [*certificate, '--print-digest', '-o', self.path('x')])):
            with self.subTest(args):
                self.refuse(message, *args)
        self.bad(f'no image file is named; {HELP}', 'sign', *self.keys)

    def test_terminal(self):
        """Bytes that are no text are not written to one"""
        path = self.write()
        master, slave = os.openpty()
        done = subprocess.run([TOOL, 'sign', '--print-payload', *self.keys[2:], path], stdout=slave,
                              stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(slave)
        os.close(master)
        self.assertEqual(done.stderr, b'error: what is to be signed is no text: redirect standard '
                                      b'output to a file\n')
        self.assertEqual(done.returncode, 1)

    def test_keys(self):
        path = self.path('image.eif')
        encrypted = private_pem(self.signer.key,
                                encryption=serialization.BestAvailableEncryption(b'secret'))
        other = private_pem(ec.generate_private_key(ec.SECP384R1()))
        wrong_kind = "key '{}' is one for {}, and images are signed with ECDSA: use a key on the " \
                     'curve P-384'
        name = self.path('key')
        for content, message in (
                (other, f"{path}: key '{name}' is not that of certificate '{self.keys[3]}': name "
                 'the two that belong together'),
                (private_pem(rsa.generate_private_key(65537, 2048)),
                 wrong_kind.format(name, 'RSA')),
                (private_pem(ed25519.Ed25519PrivateKey.generate()),
                 wrong_kind.format(name, 'EdDSA (Ed25519)')),
                (encrypted, f"key '{name}' is encrypted: decrypt it, or keep it in a token and "
                 'name that by a PKCS#11 URL'),
                (bytes(65537), f"'{name}' has more than the 65536 bytes that are accepted")):
            with self.subTest(message.replace(self.dir, '')):
                self.refuse(message, '--key', self.file('key', content), *self.keys[2:])
        for content in b'', self.signer.pem, b'-----BEGIN EC PRIVATE KEY-----\n':
            with self.subTest(content[:30]):
                self.file('key', content)
                done = self.run_tool('sign', '--key', name, *self.keys[2:], self.write())
                self.assertRegex(done.stderr.decode(),
                                 f"^error: '{name}' is no private key in PEM form: .*\n$")
                self.assertEqual((done.returncode, done.stdout), (1, b''))
        self.refuse(f"cannot open '{self.path('no')}': No such file or directory", '--key',
                    self.path('no'), *self.keys[2:])
        self.refuse(f"cannot read '{self.dir}': Is a directory", '--key', self.dir, *self.keys[2:])

    def test_key_of_another_curve(self):
        """P-256 key, P-384 certificate, and the reverse"""
        small = eifsigner.Signer('ES256')
        pair = self.pair(small, 'small')
        for key, certificate, stderr in (
                (pair[1], self.keys[3], ''),
                (self.keys[1], pair[3], UNUSUAL.format(pair[3], 'ES256'))):
            with self.subTest(certificate.replace(self.dir, '')):
                path = self.write()
                before = self.files()
                done = self.run_tool('sign', '--key', key, '--certificate', certificate, path)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr.decode().removeprefix(stderr),
                                 f"^error: {path}: key '{key}' [^\n]*\n$")
                self.assertEqual(self.files(), before)

    def test_certificates(self):
        expired = eifsigner.Signer(days=(-30, -1))
        early = eifsigner.Signer(days=(1, 30))
        name = self.path('pem')
        for pem, pattern in (
                (expired.pem, f"certificate '{name}' has expired on {expired.end} UTC, and it is "
                 r'\d{4}-.* UTC now: use another one'),
                (early.pem, f"certificate '{name}' is not valid before {early.start} UTC, and it "
                 r'is \d{4}-.* UTC now: wait, or use another one'),
                (eifsigner.rsa_certificate(), f"the key of certificate '{name}' is not on one of "
                 'the curves P-256, P-384 and P-521: use a certificate for a key on P-384'),
                (b'', f"'{name}' is no certificate in PEM form: .*"),
                (private_pem(self.signer.key), f"'{name}' is no certificate in PEM form: .*"),
                (self.signer.pem[:300], f"'{name}' is no certificate in PEM form: .*")):
            for way in self.keys[:2], ['--print-payload'], ['--attach', self.path('signer.key')]:
                with self.subTest((pattern.replace(self.dir, ''), way[0])):
                    self.write()
                    self.file('pem', pem)
                    before = self.files()
                    done = self.run_tool('sign', *way, '--certificate', name,
                                         self.path('image.eif'))
                    self.assertRegex(done.stderr.decode(), f'^error: {pattern}\n$')
                    self.assertEqual((done.returncode, done.stdout), (1, b''))
                    self.assertEqual(self.files(), before)

    def test_large_certificate(self):
        """The format has a limit for the section"""
        now = datetime.datetime.utcnow()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'large')])
        pem = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
               .public_key(self.signer.key.public_key()).serial_number(1)
               .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
               .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier('1.2.3.4'),
                                                         bytes(20000)), False)
               .sign(self.signer.key, hashes.SHA384()).public_bytes(PEM))
        path = self.write()
        certificate = self.file('large.pem', pem)
        before = self.files()
        done = self.run_tool('sign', *self.keys[:2], '--certificate', certificate, path)
        self.assertRegex(done.stderr.decode(), f"^error: {path}: with certificate '{certificate}' "
                         r'the signature section has 5\d{4} bytes, more than the 32768 that the '
                         'format allows: use a smaller certificate\n$')
        self.assertEqual((done.returncode, self.files()), (1, before))

    def test_images(self):
        """What virt-eif verify refuses is not signed"""
        for name, data, message in eifmalformed.HEADER:
            with self.subTest(name):
                path = self.file('image.eif', data)
                self.bad(f'{path}: {message}', 'sign', *self.keys, path)
                self.assertEqual(self.read('image.eif'), data)
        path = self.path('image.eif')
        wrong = eifwriter.simple(crc=0x1234)
        self.refuse(f'{path}: EIF header: checksum is 0x00001234, which is not that of the '
                    'content: the image is damaged', *self.keys, image=wrong)
        self.refuse(f'{path}: the metadata section is wrong: it is not a JSON object', *self.keys,
                    image=eifwriter.simple(metadata=b'[]'))
        self.refuse(f'{path}: there is no room for a signature section: the image has 32 sections '
                    'already, and none has more', *self.keys,
                    image=eifwriter.simple(ramdisks=[b'r'] * 29))
        self.bad(f'{self.dir}: the image is a directory, not a regular file', 'sign', *self.keys,
                 self.dir)


class Token(SignTest):
    """Keys that stay in a token: softhsm2, by GnuTLS's PKCS#11"""

    def setUp(self):
        super().setUp()
        if not os.path.exists(SOFTHSM) or not shutil.which('p11tool'):
            self.skipTest('softhsm2 or gnutls-bin is not installed')
        os.mkdir(self.path('tokens'))
        conf = self.file('softhsm2.conf', f'directories.tokendir = {self.path("tokens")}\n'
                                          'log.level = ERROR\n'.encode())
        # softhsm2 keeps what it has to the end of the process, and so does p11-kit
        self.env = {**os.environ, 'LC_ALL': 'C.UTF-8', 'SOFTHSM2_CONF': conf,
                    'ASAN_OPTIONS': 'detect_leaks=0'}
        self.run_all(['softhsm2-util', '--init-token', '--free', '--label', 'token', '--pin',
                      '1234', '--so-pin', '5678'])
        self.generate('signing', 'secp384r1')
        self.pin = self.file('pin', b'1234')
        self.url = f'pkcs11:token=token;object=signing?module-path={SOFTHSM}'
        self.certify('signing')

    def run_all(self, command):
        return subprocess.run(command, env=self.env, check=True, capture_output=True,
                              timeout=120).stdout

    def p11tool(self, *args):
        return self.run_all(['p11tool', '--provider', SOFTHSM, '--batch', '--login', '--set-pin',
                             '1234', *args])

    def generate(self, label, curve):
        self.p11tool('--generate-privkey=ecdsa', f'--curve={curve}', f'--label={label}',
                     f'--outfile={self.path(label + ".pub")}', 'pkcs11:token=token')

    def certify(self, label):
        """A certificate for a public key, by some authority; the signer is then that key."""
        key = serialization.load_pem_public_key(self.read(f'{label}.pub'))
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
        self.signer.pem = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                           .public_key(key).serial_number(5).not_valid_before(now)
                           .not_valid_after(now + datetime.timedelta(days=1))
                           .sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384())
                           .public_bytes(PEM))
        self.certificate = self.file('token.pem', self.signer.pem)

    def sign_by(self, url, *args):
        return self.run_tool('sign', '--key', url, '--certificate', self.certificate, *args,
                             self.path('image.eif'), env=self.env)

    def test_pins(self):
        """In the URL, or in a file that it names"""
        for pin in ('pin-value=1234', f'pin-source=file:{self.pin}',
                    f'pin-source=file://{self.pin}', f'pin-source={self.pin}'):
            with self.subTest(pin.replace(self.dir, '')):
                path = self.write()
                done = self.sign_by(f'{self.url}&{pin}')
                self.assertEqual((done.returncode, done.stderr), (0, b''))
                self.check_signed(path)

    def test_curves(self):
        for curve, name in (('secp256r1', 'ES256'), ('secp521r1', 'ES512')):
            with self.subTest(curve):
                self.generate(curve, curve)
                self.certify(curve)
                path = self.write()
                done = self.sign_by(f'pkcs11:token=token;object={curve}?module-path={SOFTHSM}'
                                    '&pin-value=1234')
                self.assertEqual(done.stderr.decode(), UNUSUAL.format(self.certificate, name))
                self.assertEqual(done.returncode, 0)
                self.assertEqual(self.check_signed(path).algorithm, name)

    def test_build(self):
        done = self.run_tool('build', '-k', self.file('kernel', b'k'), '-a', 'x86_64', '-o',
                             self.path('image.eif'), '--sign-key', self.url + '&pin-value=1234',
                             '--sign-certificate', self.certificate, env=self.env)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        self.check_signed(self.path('image.eif'))

    def test_refused(self):
        """In words without the PIN"""
        path = self.write()
        name = 'pkcs11:token=token;object=signing'
        no_pin = f"key '{name}' cannot be used without the PIN of its token: the URL gives " \
                 'none, or a wrong one; add ?pin-source=file:PATH to it'
        self.generate('another', 'secp384r1')
        before = self.read('image.eif')
        for url, message in (
                (self.url, no_pin), (self.url + '&pin-value=98765', no_pin),
                (f'{self.url}&pin-source=file:{self.path("none")}', no_pin),
                *((f'pkcs11:{where}?module-path={SOFTHSM}&pin-value=1234',
                   f"key 'pkcs11:{where}' is in no token that is known: 'p11tool --list-tokens' "
                   'shows these, and ?module-path=FILE in the URL adds a module')
                  for where in ('token=token;object=nothing', 'token=nothing;object=signing')),
                (self.url.replace('signing', 'another') + '&pin-value=1234',
                 f"{path}: key 'pkcs11:token=token;object=another' is not that of certificate "
                 f"'{self.certificate}': name the two that belong together"),
                (f'{name}?module-path={self.path("none.so")}&pin-value=98765',
                 f"PKCS#11 module '{self.path('none.so')}' cannot be used: .*"),
                ('pkcs11:;;x?pin-value=98765', "key 'pkcs11:;;x' cannot be used: .*"),
                ('pkcs11:x;pin-value=98765', "key 'pkcs11:x;' cannot be used: .*")):
            with self.subTest(url.replace(self.dir, '')):
                done = self.sign_by(url)
                text = done.stderr.decode()
                self.assertNotIn('98765', text)
                # what comes last is GnuTLS's, and differs from version to version
                pattern = re.escape(message).replace(r'\.\*', '.*')
                self.assertRegex(text, f'^error: {pattern}\n$')
                self.assertEqual((done.returncode, done.stdout), (1, b''))
                self.assertEqual(self.read('image.eif'), before)

    def test_wrong_pin_is_tried_once(self):
        """Real tokens lock themselves after a few"""
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        self.write()
        pin = self.file('wrong', b'98765')
        log = self.path('log')
        done = subprocess.run(
            ['strace', '-f', '-e', 'trace=openat', '-o', log, TOOL, 'sign', '--key',
             f'{self.url}&pin-source={pin}', '--certificate', self.certificate,
             self.path('image.eif')], env=self.env, capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 1)
        # it is read for each try
        self.assertEqual(self.read('log').decode().count(f'"{pin}"'), 1)


class Output(SignTest):
    """The old file or the new one, whatever happens"""

    def signed_bytes(self):
        self.write(name='expected.eif')
        self.sign(*self.keys, self.path('expected.eif'))
        return self.read('expected.eif')

    def test_mode(self):
        for mode in 0o600, 0o640, 0o444, 0o4755:
            with self.subTest(oct(mode)):
                path = self.write()
                os.chmod(path, mode)
                self.sign(*self.keys, path, umask=0o022)
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode & 0o777)
                os.unlink(path)
        self.sign(*self.keys, self.write(), '-o', self.path('new.eif'), umask=0o027)
        self.assertEqual(stat.S_IMODE(os.stat(self.path('new.eif')).st_mode), 0o640)

    def test_replaced_output(self):
        """--output may be there: mode stays, and the image is not read from it"""
        self.file('out.eif', b'something else')
        os.chmod(self.path('out.eif'), 0o604)
        path = self.write()
        self.sign(*self.keys, path, '-o', self.path('out.eif'))
        self.check_signed(self.path('out.eif'))
        self.assertEqual(stat.S_IMODE(os.stat(self.path('out.eif')).st_mode), 0o604)

    def test_links(self):
        """A symbolic link stays, and what it points to is replaced; another name keeps the old"""
        path = self.write()
        old = self.read('image.eif')
        os.symlink('image.eif', self.path('link.eif'))
        os.link(path, self.path('hard.eif'))
        self.sign(*self.keys, self.path('link.eif'))
        self.assertTrue(os.path.islink(self.path('link.eif')))
        self.check_signed(path)
        self.assertEqual(self.read('hard.eif'), old)

    def attach_slowly(self, meanwhile):
        """
        Signs in two steps, and calls @meanwhile when the image has been read and nothing has been
        written: the signature is in a FIFO. Returns what is left of the tool.
        """
        path = self.write()
        payload = self.good('sign', '--print-payload', *self.keys[2:], path)
        os.mkfifo(self.path('fifo'))
        with subprocess.Popen([TOOL, 'sign', '--attach', self.path('fifo'), *self.keys[2:], path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
            # waits for the tool, whose image is then open and measured
            with open(self.path('fifo'), 'wb') as fifo:
                meanwhile(path)
                fifo.write(self.signer.signature(payload))
            output, text = tool.communicate(timeout=60)
        os.unlink(self.path('fifo'))
        return tool.returncode, output, text.decode()

    def test_replaced_meanwhile(self):
        """The name is another file's by now, which is not replaced"""
        def replace(path):
            os.rename(self.file('other', b'precious'), path)

        path = self.path('image.eif')
        self.assertEqual(self.attach_slowly(replace), (
            1, b'', f"error: cannot write '{path}': it is not the file any more that was read\n"))
        self.assertEqual(self.read('image.eif'), b'precious')
        self.assertEqual(sorted(os.listdir(self.dir)), ['image.eif', 'signer.key', 'signer.pem'])

    def test_changed_meanwhile(self):
        """In what is signed, or in what is not"""
        for old, new, words in ((b'a kernel', b'b kernel', 'checksum is'),
                                (b'{}', b'[]', 'checksum is')):
            with self.subTest(old):
                def change(path, old=old, new=new):
                    data = self.read('image.eif')
                    with open(path, 'r+b') as image:
                        image.write(data.replace(old, new))

                status, output, text = self.attach_slowly(change)
                self.assertEqual((status, output), (1, b''))
                self.assertRegex(text, f'^error: {self.path("image.eif")}: [^\n]*{words}[^\n]*\n$')
                self.assertEqual(sorted(os.listdir(self.dir)),
                                 ['image.eif', 'signer.key', 'signer.pem'])

    def test_another_image_meanwhile(self):
        """Written over the one that was measured: good by itself, but not what was signed"""
        def change(path):
            other = eifwriter.simple(kernel=b'b kernel', ramdisks=(b'boot', b'app'))
            # the length and the table stay the same
            with open(path, 'r+b') as image:
                image.write(other.to_bytes())

        status, output, text = self.attach_slowly(change)
        self.assertEqual((status, output), (1, b''))
        self.assertRegex(text, '^error: [^\n]*\n$')

    def test_not_a_file(self):
        path = self.write()
        os.mkdir(self.path('directory'))
        os.symlink('nowhere', self.path('dangling'))
        for name, words in (
                ('/dev/null', 'it exists and is not a regular file'),
                (self.path('directory'), 'it exists and is not a regular file'),
                (self.path('new/'), 'Is a directory'),
                (self.path('dangling'), 'No such file or directory')):
            with self.subTest(name.replace(self.dir, '')):
                self.bad(f"cannot write '{name}': {words}", 'sign', *self.keys, path, '-o', name)
        name = self.path('none/x')
        self.bad(f"cannot create a file beside '{name}': No such file or directory", 'sign',
                 *self.keys, path, '-o', name)

    @unittest.skipUnless(ROOT, 'only root can give files away')
    def test_owner(self):
        path = self.write()
        os.chown(path, 1234, 5678)
        os.chmod(path, 0o640)
        self.sign(*self.keys, path)
        found = os.stat(path)
        self.assertEqual((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)),
                         (1234, 5678, 0o640))

    def as_other(self, *args):
        os.chmod(self.keys[1], 0o644)
        return self.run_tool('sign', *self.keys, *args, user=OTHER_USER, group=OTHER_USER,
                             extra_groups=[])

    @unittest.skipUnless(ROOT, 'only root can become another user')
    def test_owner_that_cannot_be_kept(self):
        """It is told, and the new group has no more rights than everybody"""
        os.chmod(self.dir, 0o777)
        path = self.write()
        os.chmod(path, 0o664)
        done = self.as_other(path)
        self.assertEqual(done.stderr.decode(), f'warning: {path}: its owner was the user 0, and is '
                         f'now the user {OTHER_USER}, who may not give it away\n')
        self.assertEqual(done.returncode, 0)
        found = os.stat(path)
        self.assertEqual((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)),
                         (OTHER_USER, OTHER_USER, 0o644))

    @unittest.skipUnless(ROOT, 'only root can become another user')
    def test_directory_without_rights(self):
        os.chmod(self.dir, 0o755)
        path = self.write()
        os.chmod(path, 0o666)
        before = self.files()
        done = self.as_other(path)
        self.assertEqual(done.stderr.decode(), f"error: cannot create a file beside '{path}': "
                                               'Permission denied\n')
        self.assertEqual((done.returncode, done.stdout), (1, b''))
        self.assertEqual(self.files(), before)

    @unittest.skipUnless(ROOT, 'only root can become another user')
    def test_links_of_others(self):
        """A link that somebody else could have put there is not followed"""
        refused = "error: cannot write '{}': it is a symbolic link in a directory where others " \
                  'can put one: name the file that it points to\n'
        target = self.file('target.eif', b'precious')
        image = self.write()
        for name, mode, dir_owner, link_owner, followed in (
                ('sticky', 0o1777, 0, OTHER_USER, False), ('sticky-ours', 0o1777, 0, 0, True),
                ('open', 0o777, 0, 0, False), ('theirs', 0o755, OTHER_USER, 0, False),
                ('ours', 0o755, 0, OTHER_USER, True)):
            with self.subTest(name):
                self.file('target.eif', b'precious')
                os.mkdir(self.path(name))
                link = self.path(f'{name}/link')
                os.symlink(target, link)
                os.chown(link, link_owner, 0, follow_symlinks=False)
                os.chown(self.path(name), dir_owner, 0)
                os.chmod(self.path(name), mode)
                done = self.run_tool('sign', *self.keys, image, '-o', link)
                if followed:
                    self.assertEqual((done.returncode, done.stderr), (0, b''))
                    self.check_signed(target)
                else:
                    self.assertEqual(done.stderr.decode(), refused.format(link))
                    self.assertEqual(self.read('target.eif'), b'precious')
                self.assertTrue(os.path.islink(link))
                self.assertEqual(os.listdir(self.path(name)), ['link'])

    def test_write_error(self):
        """A full file system, played by a limit of the file's size"""
        path = self.write(eifwriter.simple(kernel=bytes(2 << 20)))
        before = self.files()
        done = subprocess.run(['bash', '-c', 'ulimit -f 1024; exec "$0" "$@"', TOOL, 'sign',
                               *self.keys, path], capture_output=True, timeout=60, check=False)
        self.assertRegex(done.stderr.decode(), r'^error: [^\n]*image\.eif: cannot write the image '
                         r'at \d+: File too large\n$')
        self.assertEqual((done.returncode, self.files()), (1, before))

    @unittest.skipUnless(ROOT, 'only root can mount a small file system')
    def test_full_disk(self):
        mount = self.path('small')
        os.mkdir(mount)
        script = ('mount -t tmpfs -o size=3m none "$1" && cp "$2" "$1/image.eif" && shift 2 && '
                  '{ "$@" "$0/image.eif"; status=$?; } ; cd "$0" && ls -A && '
                  'cmp image.eif ../image.eif && exit $status')
        path = self.write(eifwriter.simple(kernel=bytes(2 << 20)))
        done = subprocess.run(['unshare', '-m', 'bash', '-c', script, mount, mount, path, TOOL,
                               'sign', *self.keys], capture_output=True, timeout=60, check=False)
        if b'mount:' in done.stderr or b'unshare' in done.stderr:
            self.skipTest(f'no file system can be mounted here: {done.stderr.decode()}')
        self.assertEqual(done.stdout, b'image.eif\n')
        self.assertRegex(done.stderr.decode(), r'^error: .*: cannot write the image at \d+: No '
                         'space left on device\n$')
        self.assertEqual(done.returncode, 1)


class Interrupted(SignTest):
    """By strace, at each of the calls from the first byte that is written on"""

    CALLS = ('pwrite64', 'fchmod', 'fchown', 'fsync', 'renameat', 'renameat2', 'unlinkat')

    def setUp(self):
        super().setUp()
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        self.old = eifwriter.simple(kernel=b'kernel' * 30000).to_bytes()

    def strace(self, *options):
        # LeakSanitizer does not work under it
        env = {**os.environ, 'LC_ALL': 'C', 'ASAN_OPTIONS': 'detect_leaks=0'}
        self.file('image.eif', self.old)
        return subprocess.run(['strace', '-f', '-o', self.path('log'), *options, TOOL, 'sign',
                               *self.keys, self.path('image.eif')], env=env, capture_output=True,
                              timeout=60, check=False)

    def calls(self):
        """Yields (call, number) of all that the tool makes; self.new is what it writes."""
        self.assertEqual(self.strace().returncode, 0)
        self.new = self.read('image.eif')
        self.assertEqual(self.state(), 'new')
        made = [line.split('(')[0].split()[-1] for line in self.read('log').decode().splitlines()]
        counts = {call: made.count(call) for call in self.CALLS}
        self.assertGreaterEqual(counts['pwrite64'], 5)
        self.assertEqual((counts['fsync'], counts['renameat'] + counts['renameat2']), (1, 1))
        return [(call, number + 1) for call, count in counts.items() for number in range(count)]

    def state(self):
        """Which image has the name: a comparison of the bytes would be long to print"""
        data = self.read('image.eif')
        return 'old' if data == self.old else 'new' if data == self.new else 'neither'

    def others(self):
        return sorted(set(os.listdir(self.dir)) - {'image.eif', 'log', 'signer.key', 'signer.pem'})

    def test_killed(self):
        """SIGKILL: a file with another name may be left, and that is all"""
        seen = set()
        for call, number in [*self.calls(), ('exit_group', 1)]:
            with self.subTest((call, number)):
                done = self.strace('-e', f'inject={call}:signal=KILL:when={number}')
                self.assertEqual(done.returncode, -9)
                self.assertIn(self.state(), ('old', 'new'))
                seen.add(self.state())
                for name in self.others():
                    # nobody else can read or write it before it is checked
                    if call in ('pwrite64', 'fchown', 'fchmod'):
                        self.assertEqual(stat.S_IMODE(os.stat(self.path(name)).st_mode), 0o600)
                    os.unlink(self.path(name))
        self.assertEqual(seen, {'old', 'new'})

    def test_ended(self):
        """Signals that ask the tool to end: nothing is left"""
        for call, number in self.calls():
            with self.subTest((call, number)):
                done = self.strace('-e', f'inject={call}:signal=TERM:when={number}')
                self.assertIn(self.state(), ('old', 'new'))
                self.assertEqual(done.returncode, -15)
                self.assertEqual(self.others(), [])

    def test_failed(self):
        """Calls that fail: the old file, an error, and nothing is left"""
        for call, number in self.calls():
            with self.subTest((call, number)):
                done = self.strace('-e', f'inject={call}:error=EIO:when={number}')
                if call == 'fchown':  # that a file cannot be given away is no error
                    self.assertEqual((done.returncode, self.state()), (0, 'new'))
                else:
                    self.assertEqual((done.returncode, self.state()), (1, 'old'))
                    self.assertRegex(done.stderr.decode(),
                                     '^error: [^\n]*: Input/output error\n$')
                self.assertEqual(self.others(), [])

    def test_written_wrongly(self):
        """What was said to be written and is not there does not take the name"""
        self.calls()
        sizes = re.findall(r'pwrite64\(.*, (\d+), \d+\) += \1\n', self.read('log').decode())
        self.assertGreaterEqual(len(sizes), 5)
        for number, size in enumerate(sizes, 1):
            with self.subTest((number, size)):
                done = self.strace('-e', f'inject=pwrite64:retval={size}:when={number}')
                self.assertEqual((done.returncode, self.state()), (1, 'old'))
                self.assertRegex(done.stderr.decode(), '^error: [^\n]+\n$')
                self.assertEqual(self.others(), [])


class Build(SignTest):
    """virt-eif build --sign-key --sign-certificate"""

    def setUp(self):
        super().setUp()
        self.options = ['--sign-key', self.keys[1], '--sign-certificate', self.keys[3]]

    def test_same_as_sign(self):
        """The image that build and sign make one after the other"""
        for image in (eifwriter.simple(), eifwriter.simple(ramdisks=(b'',)),
                      eifwriter.simple(kernel=os.urandom(200000), ramdisks=[b'r'] * 28)):
            with self.subTest(len(image.sections)):
                unsigned = self.build(image)
                self.assertEqual(unsigned, image.to_bytes())
                self.sign(*self.keys, self.path('out.eif'), '-o', self.path('expected.eif'))
                args = []
                for i, section in enumerate(image.sections):
                    option = {eifwriter.KERNEL: '-k', eifwriter.RAMDISK: '-r', eifwriter.METADATA:
                              '-m', eifwriter.CMDLINE: '-c'}[section.kind]
                    args += [option, section.data if option == '-c' else self.path(f'part{i}')]
                text = self.good('build', *args, '-a', 'x86_64', *self.options, '-o',
                                 self.path('signed.eif')).decode()
                signed = self.check_signed(self.path('signed.eif'))
                self.assertEqual(text, f'PCR8: {signed.pcrs[8]}\n')
                self.assertEqual(self.read('signed.eif'), self.read('expected.eif'))

    def test_container(self):
        """The same of ramdisks that are made of files"""
        os.mkdir(self.path('root'))
        self.file('root/app', os.urandom(200000))
        args = ['-k', self.file('kernel', b'k'), '-a', 'x86_64', '--init',
                self.file('init', b'an init'), '--rootfs', self.path('root'), '--cmd', '/app', '-o']
        self.good('build', *args, self.path('unsigned.eif'))
        self.sign(*self.keys, self.path('unsigned.eif'), '-o', self.path('expected.eif'))
        text = self.good('build', *args, self.path('signed.eif'), *self.options).decode()
        signed = self.check_signed(self.path('signed.eif'))
        self.assertEqual(text, f'PCR8: {signed.pcrs[8]}\n')
        self.assertEqual(self.read('signed.eif'), self.read('expected.eif'))

    def test_refused(self):
        """Nothing is written: never an image without its signature"""
        kernel = self.file('kernel', b'k')
        out = self.path('out.eif')
        other = self.pair(eifsigner.Signer(), 'other')
        expired = self.file('expired.pem', eifsigner.Signer(days=(-9, -2)).pem)
        before = self.files()
        base = ['-k', kernel, '-a', 'x86_64', '-o', out]
        for pattern, args in (
                ("option --sign-certificate is missing; see 'virt-eif build --help'",
                 self.options[:2]),
                ("option --sign-key is missing; see 'virt-eif build --help'", self.options[2:]),
                (f"{out}: key '{other[1]}' is not that of certificate '{self.keys[3]}': name the "
                 'two that belong together', ['--sign-key', other[1], *self.options[2:]]),
                (f"certificate '{expired}' has expired on .*",
                 [*self.options[:2], '--sign-certificate', expired]),
                (f'{out}: with 29 ramdisks there is no room for a signature: a signed image holds '
                 'at most 28', self.options + ['-r', kernel] * 29)):
            with self.subTest(pattern.replace(self.dir, '')):
                done = self.run_tool('build', *base, *args)
                self.assertRegex(done.stderr.decode(), f'^error: {pattern}\n$')
                self.assertEqual((done.returncode, done.stdout), (1, b''))
                self.assertEqual(self.files(), before)


if __name__ == '__main__':
    taprunner.main()
