# attesttest.py: virt-eif attest verify, with documents of the independent attestwriter.py
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs the built tool (environment variable VIRT_EIF) in a temporary directory. Each way to tamper
# with a document ends in its sentence and its exit status.

import datetime
import json
import os
import ssl
import subprocess

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import attestwriter
import eifsigner
import eifwriter
import taprunner
from attestwriter import DAY, MADE, Certificate, Chain, Document
from eifwriter import cbor_bytes, cbor_head, cbor_text
from scratchcase import ScratchCase

TOOL = os.environ['VIRT_EIF']

# Exit statuses
GOOD, TROUBLE, FORMAT, UNTRUSTED, MISMATCH = range(5)

# The root that AWS publishes: https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip
AWS_ROOT = """-----BEGIN CERTIFICATE-----
MIICETCCAZagAwIBAgIRAPkxdWgbkK/hHUbMtOTn+FYwCgYIKoZIzj0EAwMwSTEL
MAkGA1UEBhMCVVMxDzANBgNVBAoMBkFtYXpvbjEMMAoGA1UECwwDQVdTMRswGQYD
VQQDDBJhd3Mubml0cm8tZW5jbGF2ZXMwHhcNMTkxMDI4MTMyODA1WhcNNDkxMDI4
MTQyODA1WjBJMQswCQYDVQQGEwJVUzEPMA0GA1UECgwGQW1hem9uMQwwCgYDVQQL
DANBV1MxGzAZBgNVBAMMEmF3cy5uaXRyby1lbmNsYXZlczB2MBAGByqGSM49AgEG
BSuBBAAiA2IABPwCVOumCMHzaHDimtqQvkY4MpJzbolL//Zy2YlES1BR5TSksfbb
48C8WBoyt7F2Bw7eEtaaP+ohG2bnUs990d0JX28TcPQXCEPZ3BABIeTPYwEoCWZE
h8l5YoQwTcU/9KNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUkCW1DdkF
R+eWw5b6cp3PmanfS5YwDgYDVR0PAQH/BAQDAgGGMAoGCCqGSM49BAMDA2kAMGYC
MQCjfy+Rocm9Xue4YnwWmNJVA44fA0P5W2OpYow9OYCVRaEevL8uO1XYru5xtMPW
rfMCMQCi85sWBbJwKKXdS6BptQFuZbT73o/gBh1qUxl/nNr12UO8Yfwr6wPLb+6N
IwLz3/Y=
-----END CERTIFICATE-----
"""
AWS_FINGERPRINT = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b'


class AttestTest(ScratchCase):
    @classmethod
    def setUpClass(cls):
        cls.chain = Chain()

    def setUp(self):
        super().setUp()
        self.root = self.file('root.pem', self.chain.root.pem)

    def run_tool(self, *args, **kwargs):
        return subprocess.run([TOOL, 'attest', *args], capture_output=True, timeout=60, check=False,
                              env={**os.environ, 'LC_ALL': 'C.UTF-8'}, **kwargs)

    def verify(self, data, *args, root=True):
        path = self.file('document', data)
        return self.run_tool('verify', *(['--root', self.root] if root else []), *args, path)

    def good(self, data, *args, warning=''):
        """Returns what the tool says of a good document."""
        done = self.verify(data, '--json', *args)
        self.assertEqual((done.returncode, done.stderr.decode()), (GOOD, warning))
        return json.loads(done.stdout)

    def bad(self, status, message, data, *args, **kwargs):
        done = self.verify(data, *args, **kwargs)
        path = os.path.join(self.dir, 'document')
        self.assertEqual((done.returncode, done.stderr.decode()),
                         (status, f'error: {path}: {message}\n'))
        self.assertEqual(done.stdout, b'')


class Good(AttestTest):
    def test_all(self):
        document = Document(self.chain, public_key=b'key', user_data=b'', nonce=bytes(512))
        shown = self.good(document.to_bytes())
        fingerprint = shown.pop('RootFingerprint')
        self.assertEqual(len(fingerprint), 64)
        self.assertEqual(shown, {
            'ModuleId': 'i-1234-enc5678', 'Timestamp': attestwriter.milliseconds(MADE),
            'Root': 'CN=test root', 'DebugMode': False, 'PublicKey': b'key'.hex(), 'UserData': '',
            'Nonce': bytes(512).hex(),
            'Measurements': {'HashAlgorithm': 'SHA384', **{
                f'PCR{number}': attestwriter.pcr(number).hex() for number in range(16)}}})

    def test_forms(self):
        """Tagged or not, the map of definite length or not, absent values or null ones"""
        null = dict.fromkeys(('public_key', 'user_data', 'nonce'), attestwriter.NULL)
        other = cbor_text('later') + b'\x82\x01\xa1\x61a\x80'
        for name, data in (
                ('open', Document(self.chain).to_bytes()),
                ('definite', Document(self.chain, open=False).to_bytes()),
                ('tagged', Document(self.chain).to_bytes(tag=b'\xd2')),
                ('null', Document(self.chain, raw=null).to_bytes()),
                ('unknown key', Document(self.chain, extra=[other]).to_bytes()),
                ('all registers', Document(self.chain, pcrs={
                    number: attestwriter.pcr(number) for number in range(32)}).to_bytes()),
                ('one register', Document(self.chain, pcrs={31: bytes(48)}).to_bytes()),
                ('largest', Document(self.chain, public_key=bytes(1024), user_data=bytes(1024),
                                     nonce=bytes(1024)).to_bytes())):
            with self.subTest(name):
                shown = self.good(data)
                self.assertEqual(shown['ModuleId'], 'i-1234-enc5678')

    def test_text(self):
        name = 'i\x1b[2J\nPCR0: x'
        done = self.verify(Document(self.chain, module_id=name, user_data=b'\1\2').to_bytes())
        self.assertEqual((done.returncode, done.stderr), (GOOD, b''))
        text = done.stdout.decode()
        for line in ('Enclave:         i\\x1b[2J\\x0aPCR0: x', 'Made:            2026-11-30 12:00:00 UTC',
                     'Root:            CN=test root', 'Debug mode:      no',
                     'Public key:      none', 'User data:       0102', 'Nonce:           none',
                     f'PCR3: {attestwriter.pcr(3).hex()}'):
            self.assertIn(f'\n{line}\n', '\n' + text)

    def test_chains(self):
        root = self.chain.root
        alone = Chain(root=root, leaf=Certificate('enclave', root, ca=False))
        alone.bundle = lambda: [root.der]
        bare = Chain(root=root, region=self.chain.region, instance=self.chain.instance,
                     leaf=Certificate('enclave', self.chain.instance, ca=None, uses=()))
        for name, chain in (('four', self.chain), ('root only', alone), ('no extensions', bare)):
            with self.subTest(name):
                self.assertEqual(self.good(Document(chain).to_bytes())['Root'], 'CN=test root')

    def test_root_forms(self):
        data = Document(self.chain).to_bytes()
        self.root = self.file('root.der', self.chain.root.der)
        self.assertEqual(self.good(data)['Root'], 'CN=test root')
        self.root = self.file('text.pem', b'subject=CN = x\n' + self.chain.root.pem)
        self.assertEqual(self.good(data)['Root'], 'CN=test root')

    def test_pipe(self):
        done = self.run_tool('verify', '--root', self.root, '/dev/stdin',
                             input=Document(self.chain).to_bytes())
        self.assertEqual((done.returncode, done.stderr), (GOOD, b''))

    def test_times(self):
        """The dates of certificates count at the document's time, or the one that is given"""
        data = Document(self.chain).to_bytes()
        for when in '2026-11-29T12:00:00Z', '2026-12-01T12:00:00Z', '20261130T140000+0200':
            with self.subTest(when):
                self.good(data, '--time', when)
        now = datetime.datetime.utcnow()
        start, end = now - DAY, now + DAY
        root = Certificate('test root', start=start, end=end)
        region = Certificate('region', root, start=start, end=end)
        instance = Certificate('instance', region, start=start, end=end)
        leaf = Certificate('enclave', instance, ca=False, start=start, end=end)
        self.root = self.file('now.pem', root.pem)
        fresh = Document(Chain(root, region, instance, leaf), timestamp=attestwriter.milliseconds(now))
        self.good(fresh.to_bytes(), '--time', 'now')


class Malformed(AttestTest):
    def test_fields(self):
        """What each value may be"""
        document = self.chain
        cert = 'has {} bytes, and may have 1 to 1024'
        cases = [
            ({'module_id': None}, 'it has no "module_id"'),
            ({'module_id': cbor_text('')}, 'its "module_id" is no text'),
            ({'module_id': cbor_bytes(b'x')}, 'its "module_id" is no text'),
            ({'module_id': b'\x62\xc3\x28'}, 'its "module_id" is no text'),
            ({'digest': None}, 'it has no "digest"'),
            ({'digest': cbor_text('SHA256')}, 'its "digest" is not "SHA384"'),
            ({'timestamp': None}, 'it has no "timestamp"'),
            ({'timestamp': b'\0'}, 'its "timestamp" is no number of milliseconds'),
            ({'timestamp': b'\x1b' + b'\xff' * 8}, 'its "timestamp" is no number of milliseconds'),
            ({'timestamp': b'\x20'}, 'its "timestamp" is no number of milliseconds'),
            ({'pcrs': None}, 'it has no "pcrs"'),
            ({'pcrs': b'\xa0'}, 'its "pcrs" is no map of 1 to 32 registers'),
            ({'pcrs': b'\x80'}, 'its "pcrs" is no map of 1 to 32 registers'),
            ({'pcrs': b'\xb8\x21' + b'\0\x40' * 33}, 'its "pcrs" is no map of 1 to 32 registers'),
            ({'pcrs': b'\xa1\x18\x20' + cbor_bytes(bytes(48))},
             'its "pcrs" has a key that is no register, or is there twice'),
            ({'pcrs': b'\xa1\x20' + cbor_bytes(bytes(48))},
             'its "pcrs" has a key that is no register, or is there twice'),
            ({'pcrs': b'\xa2' + (b'\0' + cbor_bytes(bytes(48))) * 2},
             'its "pcrs" has a key that is no register, or is there twice'),
            ({'pcrs': b'\xa1\0' + cbor_bytes(bytes(32))},
             'its "pcrs" has 32 bytes, and may have 48 to 48'),
            ({'pcrs': b'\xbf\0' + cbor_bytes(bytes(48)) + b'\xff'},
             'its CBOR has an item of indefinite length, which is not supported'),
            ({'certificate': None}, 'it has no "certificate"'),
            ({'certificate': cbor_bytes(b'')}, f'its "certificate" {cert.format(0)}'),
            ({'certificate': cbor_bytes(bytes(1025))}, f'its "certificate" {cert.format(1025)}'),
            ({'certificate': cbor_text('x')}, 'its "certificate" is no byte string'),
            ({'cabundle': None}, 'it has no "cabundle"'),
            ({'cabundle': b'\x80'}, 'its "cabundle" is no array of 1 to 16 certificates'),
            ({'cabundle': b'\x91' + b'\x41x' * 17}, 'its "cabundle" is no array of 1 to 16 certificates'),
            ({'cabundle': cbor_bytes(b'x')}, 'its "cabundle" is no array of 1 to 16 certificates'),
            ({'cabundle': b'\x82\x41x' + cbor_bytes(bytes(1025))}, f'its "cabundle" {cert.format(1025)}'),
            ({'public_key': b'\x40'}, f'its "public_key" {cert.format(0)}'),
            ({'public_key': cbor_bytes(bytes(1025))}, f'its "public_key" {cert.format(1025)}'),
            ({'user_data': cbor_bytes(bytes(1025))},
             'its "user_data" has 1025 bytes, and may have 0 to 1024'),
            ({'nonce': cbor_bytes(bytes(1025))},
             'its "nonce" has 1025 bytes, and may have 0 to 1024'),
            ({'nonce': b'\x5f\x41x\xff'},
             'its CBOR has an item of indefinite length, which is not supported'),
            ({'nonce': b'\0'}, 'its "nonce" is no byte string'),
        ]
        for raw, fault in cases:
            with self.subTest((raw, fault)):
                self.bad(FORMAT, f'this is no attestation document: {fault}',
                         Document(document, raw=raw).to_bytes())

    def test_payload(self):
        again = cbor_text('nonce') + cbor_bytes(b'x')
        many = [cbor_head(0, n) + b'\0' for n in range(30)]
        whole = Document(self.chain, open=False).payload()
        cases = [
            (Document(self.chain, nonce=b'x', extra=[again]).payload(), 'a map in it has a key twice'),
            (Document(self.chain, extra=[b'\x18\x63\0'] * 2).payload(), 'a map in it has a key twice'),
            (Document(self.chain, extra=many).payload(), 'a map in it has too many keys'),
            (Document(self.chain, extra=[b'\x40\0']).payload(),
             'a map in it has a key that is neither a number nor a text'),
            (Document(self.chain, extra=[b'\x0a\x9f\xff']).payload(),
             'its CBOR has an item of indefinite length, which is not supported'),
            (Document(self.chain).payload()[:-1], 'its CBOR ends early'),
            (Document(self.chain).payload() + b'\0', 'its payload goes on behind its end'),
            (whole + b'\0', 'its payload goes on behind its end'),
            (whole[:-1], 'its CBOR ends early'),
            (b'\x80', 'its payload is no CBOR map'),
            (b'', 'its CBOR ends early'),
            (b'\xa0', 'it has no "module_id"'),
            (b'\xff', 'its payload is no CBOR map'),
        ]
        for count, (payload, fault) in enumerate(cases):
            with self.subTest(count):
                self.bad(FORMAT, f'this is no attestation document: {fault}',
                         Document(self.chain).to_bytes(payload=payload))

    def test_message(self):
        document = Document(self.chain)
        good = document.to_bytes()
        deep = cbor_text('deep') + b'\x81' * 16000
        header = 'the protected header of its COSE_Sign1'
        cases = [
            (b'', 'its CBOR ends early'),
            (b'\x83' + good[1:], 'its COSE_Sign1 is not an array of four items'),
            (b'\xd2\xd2' + good, 'it is not CBOR'),
            (good[:-1], 'its CBOR ends early'),
            (good + b'\0', 'its COSE_Sign1 goes on behind its end'),
            (b'\x9f' + good[1:] + b'\xff',
             'its CBOR has an item of indefinite length, which is not supported'),
            (document.to_bytes(header=b'\xa1\x01\x26'),
             'its algorithm has the COSE number -7, and documents are signed with ES384, -35'),
            (document.to_bytes(header=b''), 'its CBOR ends early'),
            (document.to_bytes(header=b'\xa2\x02\x81\x09\x01\x38\x22'),
             f'{header} has what is not understood'),
            (document.to_bytes(unprotected=b'\xa1\x01\x38\x22'),
             'the unprotected header of its COSE_Sign1 is no empty map'),
            (document.to_bytes(unprotected=b'\x80'),
             'the unprotected header of its COSE_Sign1 is no empty map'),
            (Document(self.chain, raw={'x': cbor_bytes(bytes(16384))}).to_bytes()[:16385],
             'it has 16385 bytes, and may have 16384'),
            (document.to_bytes(payload=b'\xbf' + deep), 'it has 16120 bytes'),
        ]
        for count, (data, fault) in enumerate(cases[:-1]):
            with self.subTest(count):
                self.bad(FORMAT, f'this is no attestation document: {fault}', data)
        # as deep as there is room for: no stack grows with it
        self.bad(FORMAT, 'this is no attestation document: its CBOR ends early', cases[-1][0])

    def test_certificates(self):
        """What is to be a certificate, and is none"""
        self.bad(FORMAT, 'a certificate cannot be read: ASN1 parser: Error in TAG.',
                 Document(self.chain, certificate=b'nonsense').to_bytes())
        bundle = [self.chain.root.der, b'nonsense', self.chain.instance.der]
        self.bad(FORMAT, 'a certificate cannot be read: ASN1 parser: Error in TAG.',
                 Document(self.chain, cabundle=bundle).to_bytes())

    def test_every_truncation(self):
        """No prefix of a document passes"""
        data = Document(self.chain).to_bytes()
        for length in [*range(0, 8), *range(8, len(data) - 1, 131), len(data) - 1]:
            done = self.verify(data[:length])
            self.assertEqual((length, done.returncode), (length, FORMAT))


class Untrusted(AttestTest):
    def test_every_part(self):
        """A bit that is wrong anywhere makes a document that is not good"""
        data = Document(self.chain, public_key=b'key', user_data=b'data', nonce=b'nonce').to_bytes()
        for at in range(0, len(data), 41):
            with self.subTest(at):
                done = self.verify(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:])
                self.assertIn(done.returncode, (FORMAT, UNTRUSTED))
                self.assertEqual(done.stdout, b'')

    def test_signature(self):
        document = Document(self.chain)
        other = Document(self.chain, pcrs={0: bytes(48)})
        wrong = "it was not made with the certificate's key (Public key signature verification " \
                'has failed.)'
        cases = [
            (other.to_bytes(signed=document.payload()), wrong),
            (document.to_bytes(context='Signature'), wrong),
            (document.to_bytes(change=lambda raw: raw[48:] + raw[:48]), wrong),
            (document.to_bytes(change=lambda raw: bytes(96)), wrong),
            (document.to_bytes(change=lambda raw: raw[:-1]),
             'it has 95 bytes, and one of ES384 has 96'),
            (document.to_bytes(change=lambda raw: b''), 'it has 0 bytes, and one of ES384 has 96'),
            (Document(self.chain, certificate=Certificate(
                'enclave', self.chain.instance, ca=False).der).to_bytes(), wrong),
        ]
        for count, (data, fault) in enumerate(cases):
            with self.subTest(count):
                self.bad(UNTRUSTED, f"the document's signature is wrong: {fault}", data)

    def test_curve(self):
        """The leaf has to have a key of the algorithm's curve"""
        leaf = Certificate('enclave', self.chain.instance, ca=False, curve=ec.SECP256R1)
        document = Document(self.chain, certificate=leaf.der)
        self.bad(UNTRUSTED, "the document's signature is wrong: it is an ES384 one, and the "
                 "certificate's key is not for that", document.to_bytes())

    def test_roots(self):
        """The fingerprint decides: no other certificate, and be it of the root's own key"""
        data = Document(self.chain).to_bytes()
        for name, root in (('another', Certificate('test root')),
                           ('of the same key', Certificate('test root', key=self.chain.root.key))):
            with self.subTest(name):
                self.root = self.file('other.pem', root.pem)
                done = self.verify(data)
                self.assertEqual(done.returncode, UNTRUSTED)
                self.assertRegex(done.stderr.decode(), "^error: .*: the document's root certificate "
                                 'has the SHA-256 fingerprint [0-9a-f]{64}, and the trusted one has '
                                 '[0-9a-f]{64}\n$')
        done = self.verify(data, root=False)
        self.assertEqual(done.returncode, UNTRUSTED)
        self.assertIn(f'and the trusted one has {AWS_FINGERPRINT}\n', done.stderr.decode())

    def test_aws_root(self):
        """Without --root it is AWS's, and its name is not enough: the chain below it is checked"""
        aws = ssl.PEM_cert_to_DER_cert(AWS_ROOT)
        bundle = [aws, *self.chain.bundle()[1:]]
        data = Document(self.chain, cabundle=bundle).to_bytes()
        self.assertIn('the chain of certificates is wrong: ',
                      self.verify(data, root=False).stderr.decode())
        self.root = self.file('aws.pem', AWS_ROOT.encode())
        self.assertEqual(self.verify(data).stderr, self.verify(data, root=False).stderr)
        # nor is AWS's root further on in the chain
        bundle = [self.chain.root.der, aws]
        done = self.verify(Document(self.chain, cabundle=bundle).to_bytes(), root=False)
        self.assertIn("the document's root certificate has", done.stderr.decode())

    def chains(self):
        """Chains with one link that is wrong"""
        root, region, instance = self.chain.root, self.chain.region, self.chain.instance
        thief = Certificate('instance', region, depth=0)
        yield 'leaf of another key', Chain(root, region, instance, Certificate(
            'enclave', instance, ca=False, signer=thief))
        yield 'leaf of another issuer', Chain(root, region, instance, Certificate(
            'enclave', region, ca=False))
        yield 'instance of another key', Chain(root, region, Certificate(
            'instance', region, depth=0, signer=thief))
        for name, fields in (('no authority', {'ca': False}), ('no constraints', {'ca': None}),
                             ('no certificates', {'uses': ('digital_signature',)})):
            middle = Certificate('instance', region, **fields)
            yield name, Chain(root, region, middle)
        # one more authority than the region's certificate allows
        flat = Certificate('region', root, depth=0)
        yield 'too long', Chain(root, flat, Certificate('instance', flat))
        yield 'root no authority', None

    def test_chains(self):
        for name, chain in self.chains():
            with self.subTest(name):
                if not chain:
                    root = Certificate('test root', ca=False, uses=('digital_signature',))
                    chain = Chain(root)
                    self.root = self.file('weak.pem', root.pem)
                done = self.verify(Document(chain).to_bytes())
                self.assertRegex(done.stderr.decode(),
                                 '^error: .*: the chain of certificates is wrong: .*\n$')
                self.assertEqual((done.returncode, done.stdout), (UNTRUSTED, b''))

    def test_bundles(self):
        """The chain has to be whole and in order"""
        root, region, instance = self.chain.bundle()
        for name, bundle in (('order', [root, instance, region]), ('missing', [root, instance]),
                             ('twice', [root, region, region, instance]),
                             ('another root below', [root, Certificate('test root').der, region,
                                                     instance]),
                             ('stranger', [root, region, Certificate('x').der, instance])):
            with self.subTest(name):
                done = self.verify(Document(self.chain, cabundle=bundle).to_bytes())
                self.assertEqual((done.returncode, done.stdout), (UNTRUSTED, b''))
                self.assertIn('the chain of certificates is wrong: ', done.stderr.decode())

    def test_root_again(self):
        """Strangers between two roots, and a root that signs itself, are in no good chain"""
        root, region, instance = self.chain.bundle()
        cases = [Document(self.chain, cabundle=bundle) for bundle in (
            [root, root, region, instance], [root, Certificate('x').der, root, region, instance],
            [root, region, instance, root])]
        alone = Certificate('test root', ca=False)
        chain = Chain(root=alone, leaf=alone)
        cases.append(Document(chain, cabundle=[alone.der]))
        for count, document in enumerate(cases):
            with self.subTest(count):
                self.root = self.file('root.pem', document.chain.root.pem)
                self.bad(UNTRUSTED, 'the chain of certificates is wrong: the root is in it more '
                         'than once', document.to_bytes())

    def test_names(self):
        """Who signs a document for itself cannot control the terminal that says so"""
        for name, shown in (('\x1b[2J\nerror: x', '\\x1b[2J\\x0aerror: x'), ('\x9bm', '\\x9bm'),
                            ('é\u202e', 'é\\x202e')):
            with self.subTest(shown):
                leaf = Certificate(name, self.chain.instance, ca=False, end=MADE - DAY / 2)
                self.bad(UNTRUSTED, f"the certificate of 'CN={shown}' is valid from 2026-11-29 "
                         '12:00:00 UTC to 2026-11-30 00:00:00 UTC, and not at 2026-11-30 12:00:00 '
                         'UTC', Document(Chain(self.chain.root, self.chain.region,
                                               self.chain.instance, leaf)).to_bytes())

    def test_extensions(self):
        """What is not known and critical is refused"""
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier('1.2.3.4'), b'\x05\0')
        region, instance = self.chain.region, self.chain.instance
        for name, chain in (
                ('leaf', Chain(self.chain.root, region, instance, Certificate(
                    'enclave', instance, ca=False, extension=unknown))),
                ('authority', Chain(self.chain.root, region, Certificate(
                    'instance', region, extension=unknown)))):
            with self.subTest(name):
                self.bad_chain(chain)

    def bad_chain(self, chain):
        done = self.verify(Document(chain).to_bytes())
        self.assertIn('the chain of certificates is wrong: ', done.stderr.decode())
        self.assertEqual((done.returncode, done.stdout), (UNTRUSTED, b''))

    def test_weak_signature(self):
        try:
            leaf = Certificate('enclave', self.chain.instance, ca=False, digest=hashes.SHA1())
        except UnsupportedAlgorithm as error:
            self.skipTest(f'python3-cryptography of this Debian makes none: {error}')
        self.bad_chain(Chain(self.chain.root, self.chain.region, self.chain.instance, leaf))

    def test_leaf(self):
        instance = self.chain.instance
        cases = [
            (Certificate('enclave', Certificate('instance', self.chain.region, depth=1), ca=True),
             None),
            (Certificate('enclave', instance, ca=False, uses=('key_agreement',)),
             "the document's certificate is not one for digital signatures"),
        ]
        self.bad(UNTRUSTED, cases[1][1], Document(Chain(
            self.chain.root, self.chain.region, instance, cases[1][0])).to_bytes())
        region = Certificate('region', self.chain.root)
        middle = Certificate('instance', region)
        leaf = Certificate('enclave', middle, ca=True, uses=('digital_signature', 'key_cert_sign'))
        self.bad(UNTRUSTED, "the document's certificate is that of an authority, which signs no "
                 'documents', Document(Chain(self.chain.root, region, middle, leaf)).to_bytes())

    def test_dates(self):
        """Of each certificate, at the document's time and at another"""
        data = Document(self.chain).to_bytes()
        dates = 'is valid from 2026-11-29 12:00:00 UTC to 2026-12-01 12:00:00 UTC, and not at'
        for when, text in (('2026-11-29T11:59:59Z', '2026-11-29 11:59:59 UTC'),
                           ('2026-12-01T12:00:01Z', '2026-12-01 12:00:01 UTC')):
            with self.subTest(when):
                self.bad(UNTRUSTED, f"the certificate of 'CN=test root' {dates} {text}", data,
                         '--time', when)
        late = Document(self.chain, timestamp=attestwriter.milliseconds(MADE + 2 * DAY))
        self.bad(UNTRUSTED, f"the certificate of 'CN=test root' {dates} 2026-12-02 12:00:00 UTC",
                 late.to_bytes())
        root, end = self.chain.root, MADE - DAY / 2
        for name in 'region', 'instance', 'leaf':
            with self.subTest(name):
                fields = {name: {'end': end} for name in (name,)}
                region = Certificate('region', root, **fields.get('region', {}))
                instance = Certificate('instance', region, **fields.get('instance', {}))
                leaf = Certificate('leaf', instance, ca=False, **fields.get('leaf', {}))
                self.bad(UNTRUSTED, f"the certificate of 'CN={name}' is valid from 2026-11-29 "
                         '12:00:00 UTC to 2026-11-30 00:00:00 UTC, and not at 2026-11-30 12:00:00 '
                         'UTC', Document(Chain(root, region, instance, leaf)).to_bytes())


class Mismatch(AttestTest):
    def test_pcr(self):
        data = Document(self.chain).to_bytes()
        value = attestwriter.pcr(4).hex()
        self.good(data, '--pcr', f'4={value}', '-p', f'04={value.upper()}', '-p', f'0={"01" * 48}')
        other = 'ab' * 48
        self.bad(MISMATCH, f'PCR4 is {value}, and was to be {other}: this is another enclave', data,
                 '--pcr', f'4={other}')
        self.bad(MISMATCH, 'PCR16 is not in the document: the enclave has not locked it', data,
                 '--pcr', f'16={other}')

    def image(self, signed):
        image = eifwriter.simple()
        return eifsigner.Signer().sign(image) if signed else image

    def test_image(self):
        """Its registers, with PCR8 of a signed one"""
        for signed in False, True:
            with self.subTest(signed):
                image = self.image(signed)
                path = image.write(os.path.join(self.dir, 'image.eif'))
                pcrs = {number: bytes.fromhex(value) for number, value in image.pcrs().items()}
                self.good(Document(self.chain, pcrs=pcrs).to_bytes(), '--image', path)
                for number, value in pcrs.items():
                    wrong = Document(self.chain, pcrs={**pcrs, number: bytes(47) + b'\1'})
                    self.bad(MISMATCH, f'PCR{number} is {bytes(47).hex()}01, and was to be '
                             f'{value.hex()}: this is another enclave', wrong.to_bytes(), '--image',
                             path)

    def test_debug(self):
        zeros = {number: bytes(48) for number in range(16)}
        data = Document(self.chain, pcrs=zeros).to_bytes()
        path = self.file('document', data)
        warning = (f'warning: {path}: the enclave runs in debug mode, in which nothing of it is '
                   'attested\n')
        self.assertIs(self.good(data, warning=warning)['DebugMode'], True)
        image = self.image(False)
        self.bad(MISMATCH, f'PCR0 is zero, and was to be {image.pcrs()[0]}: the enclave runs in '
                 'debug mode, in which nothing of it is attested', data, '--image',
                 image.write(os.path.join(self.dir, 'image.eif')))

    def test_nonce(self):
        data = Document(self.chain, nonce=b'\x12\xab').to_bytes()
        self.good(data, '--nonce', '12aB')
        self.bad(MISMATCH, "the nonce is '12ab', and was to be '12': the document was not made for "
                 'this request', data, '--nonce', '12')
        self.bad(MISMATCH, 'the document has no nonce, and was to have 12ab: it may be an old one',
                 Document(self.chain).to_bytes(), '--nonce', '12ab')


class Trouble(AttestTest):
    def test_options(self):
        """What is wrong on the command line, before the document is looked at"""
        missing = os.path.join(self.dir, 'missing')
        empty = self.file('empty', b'')
        two = self.file('two.pem', 2 * self.chain.root.pem)
        large = self.file('large', bytes(65537))
        help_text = "see 'virt-eif attest verify --help'"
        zero = '00' * 48
        path = eifwriter.simple().write(os.path.join(self.dir, 'image.eif'))
        cases = [
            (['verify'], f'no attestation document is named; {help_text}'),
            (['verify', 'a', 'b'], f"unexpected argument 'b'; {help_text}"),
            (['verify', '--nonsense'], f'Unknown option --nonsense; {help_text}'),
            ([], "no command of attest is named; see 'virt-eif attest --help'"),
            (['sign'], "unexpected argument 'sign'; see 'virt-eif attest --help'"),
            (['verify', missing], f"cannot open '{missing}': No such file or directory"),
            (['verify', self.dir], f"cannot read '{self.dir}': Is a directory"),
            (['verify', '--root', missing, 'x'], f"cannot open '{missing}': No such file or directory"),
            (['verify', '--root', two, 'x'],
             f"'{two}' is no certificate: it has 2 certificates, and a root is one"),
            (['verify', '--root', large, 'x'],
             f"'{large}' is no certificate: it has more than 65536 bytes"),
            (['verify', '--image', empty, 'x'], f'{empty}: not an EIF file: it is empty'),
            (['verify', '--image', path, '--pcr', f'0={zero}', 'x'],
             'PCR0 is to have two values: name one only, by --pcr or by --image'),
            (['verify', '--nonce', '', 'x'],
             '--nonce is empty, which no request is known by: give the one that was sent'),
            (['verify', '--nonce', '123', 'x'], "--nonce '123' is not made of pairs of hexadecimal digits"),
            (['verify', '--nonce', 'zz', 'x'], "--nonce 'zz' is not made of pairs of hexadecimal digits"),
            (['verify', '--time', 'soon', 'x'],
             "--time 'soon' is neither 'now' nor a time as 2026-11-30T17:00:00Z"),
        ]
        for text in '0', '32=' + zero, '-1=' + zero, '=' + zero, 'x=' + zero, '0x1=' + zero, ' 1=' + zero, \
                '18446744073709551617=' + zero:
            cases.append((['verify', '--pcr', text, 'x'],
                          f"--pcr '{text}' is not of the form N=HEX, with N from 0 to 31"))
        for text in '0=', '0=' + zero[1:], '0=' + zero + '00', '0=' + zero[:-2] + 'zz':
            cases.append((['verify', '--pcr', text, 'x'],
                          f"--pcr '{text}' has no value of 96 hexadecimal digits"))
        for args, message in cases:
            with self.subTest(args):
                done = self.run_tool(*args)
                self.assertEqual((done.returncode, done.stderr.decode()),
                                 (TROUBLE, f'error: {message}\n'))
        self.assertRegex(self.run_tool('verify', '--root', empty, 'x').stderr.decode(),
                         f"^error: '{empty}' is no certificate: .*\n$")

    def test_help(self):
        for words in (['--help'], ['verify', '--help']):
            with self.subTest(words):
                done = self.run_tool(*words)
                self.assertEqual((done.returncode, done.stderr), (0, b''))
                self.assertIn(b'verify', done.stdout)


if __name__ == '__main__':
    taprunner.main()
