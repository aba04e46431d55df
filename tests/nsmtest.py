# nsmtest.py: the emulated NSM, asked by the independent nsmclient.py
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs tests/nsmserver, which has src/nsm in it, and virt-eif for what it has signed.

import datetime
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import eifsigner
import eifwriter
import nsmclient
import taprunner
from eifwriter import cbor_bytes, cbor_head, cbor_text
from nsmclient import NULL, encode

SERVER = os.path.join(os.environ['LIBVIRT_NITRO_BUILD'], 'tests', 'nsmserver')
VIRT_EIF = os.environ['VIRT_EIF']
MODULE = 'i-0123456789abcdef0-enc0123456789abcdef'
ROLE = 'arn:aws:iam::123456789012:role/test'
INSTANCE = 'i-0123456789abcdef0'
ZERO = bytes(48)


def extend(old, data):
    return hashlib.sha384(old + data).digest()


class NsmTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='nsmtest-')
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *args, module=MODULE):
        # pylint: disable=consider-using-with
        server = subprocess.Popen([SERVER, self.dir, module, *args], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.addCleanup(self.stop, server)
        self.server = server

    def stop(self, server):
        server.stdin.close()
        server.stdout.close()
        self.assertEqual(server.wait(60), 0)

    def raw(self, request):
        """The reply to the bytes @request"""
        self.server.stdin.write(len(request).to_bytes(2, 'big') + request)
        self.server.stdin.flush()
        size = int.from_bytes(self.server.stdout.read(2), 'big')
        return self.server.stdout.read(size)

    def order(self, number):
        self.server.stdin.write(number.to_bytes(2, 'big'))
        self.server.stdin.flush()

    def ask(self, request, **fields):
        return nsmclient.decode(self.raw(encode({request: fields} if fields else request)))

    def pcr(self, index):
        return self.ask('DescribePCR', index=index)['DescribePCR']

    def root(self):
        with open(self.path('nsm-root.pem'), 'rb') as f:
            return x509.load_pem_x509_certificate(f.read())

    def attest(self, **fields):
        """The document for @fields, verified; kept for the other verifier"""
        request = encode({'Attestation': fields})
        self.document = nsmclient.decode(self.raw(request))['Attestation']['document']
        return nsmclient.verify(self.document, self.root())


class Registers(NsmTest):
    def test_describe(self):
        self.start()
        self.assertEqual(self.ask('DescribeNSM'), {'DescribeNSM': {
            'version_major': 1, 'version_minor': 0, 'version_patch': 0, 'module_id': MODULE,
            'max_pcrs': 32, 'locked_pcrs': list(range(16)), 'digest': 'SHA384'}})
        # Linux compares the start of this one
        self.assertTrue(self.raw(encode('GetRandom')).startswith(b'\xa1\x69GetRandom\xa1\x66random\x59'))

    def test_start(self):
        """What registers are like when an enclave starts, and starts anew"""
        image = eifsigner.Signer().sign(eifwriter.simple())
        self.start(image.write(self.path('image.eif')), ROLE, INSTANCE)
        expected = {number: bytes.fromhex(value) for number, value in image.pcrs().items()}
        self.assertEqual(sorted(expected), [0, 1, 2, 8])
        expected.update({3: extend(ZERO, ROLE.encode()), 4: extend(ZERO, INSTANCE.encode())})
        for again in range(2):
            for index in range(32):
                with self.subTest((again, index)):
                    self.assertEqual(self.pcr(index), {'lock': index < 16,
                                                       'data': expected.get(index, ZERO)})
            self.ask('ExtendPCR', index=20, data=b'x')
            self.ask('LockPCRs', range=24)
            self.assertEqual(self.pcr(20), {'lock': True, 'data': extend(ZERO, b'x')})
            self.order(65535)

    def test_debug(self):
        """All zero, in documents, too"""
        self.start()
        for index in range(32):
            with self.subTest(index):
                self.assertEqual(self.pcr(index), {'lock': index < 16, 'data': ZERO})
        self.assertEqual(self.attest()['pcrs'], {index: ZERO for index in range(16)})

    def test_extend(self):
        self.start()
        value = ZERO
        for data in b'', b'\1\2\3', b'x' * 23, b'y' * 24, b'z' * 300, bytes(4000):
            value = extend(value, data)
            self.assertEqual(self.ask('ExtendPCR', index=16, data=data),
                             {'ExtendPCR': {'data': value}})
            self.assertEqual(self.pcr(16), {'lock': False, 'data': value})
        self.assertEqual(self.pcr(17)['data'], ZERO)

    def test_lock(self):
        """What AWS's own test of an NSM looks at, and more"""
        self.start()
        read_only, no_index = {'Error': 'ReadOnlyIndex'}, {'Error': 'InvalidIndex'}
        for index in range(16):
            self.assertEqual(self.ask('LockPCR', index=index), read_only)
        for index in 16, 31:
            self.assertEqual(self.ask('LockPCR', index=index), 'LockPCR')
            self.assertEqual(self.ask('LockPCR', index=index), read_only)
            self.assertEqual(self.ask('ExtendPCR', index=index, data=b'x'), read_only)
        self.assertEqual(self.ask('LockPCRs', range=0), 'LockPCRs')
        self.assertEqual(self.ask('LockPCRs', range=18), 'LockPCRs')
        self.assertEqual(self.ask('DescribeNSM')['DescribeNSM']['locked_pcrs'],
                         [*range(18), 31])
        self.assertEqual(self.ask('LockPCRs', range=33), no_index)
        self.assertEqual(self.pcr(18)['lock'], False)
        self.assertEqual(self.ask('LockPCRs', range=32), 'LockPCRs')
        for index in range(32):
            self.assertEqual(self.ask('ExtendPCR', index=index, data=b'\1\2\3'), read_only)
            self.assertEqual(self.pcr(index), {'lock': True, 'data': ZERO})
        for index in 32, 33, 255, 256, 65535:
            with self.subTest(index):
                self.assertEqual(self.ask('DescribePCR', index=index), no_index)
                self.assertEqual(self.ask('ExtendPCR', index=index, data=b''), no_index)
                self.assertEqual(self.ask('LockPCR', index=index), no_index)
                self.assertEqual(self.ask('LockPCRs', range=index + 1 if index < 65535 else index),
                                 no_index)


class Requests(NsmTest):
    def test_random(self):
        self.start()
        seen = {self.ask('GetRandom')['GetRandom']['random'] for _ in range(16)}
        self.assertEqual(len(seen), 16)
        self.assertEqual({len(random) for random in seen}, {256})
        self.assertGreater(len(set(b''.join(seen))), 250)

    def test_forms(self):
        """Numbers in any width, maps of definite length or not, fields in any order"""
        self.start()
        name = b'\xa1' + cbor_text('DescribePCR')
        index = cbor_text('index')
        data = cbor_text('data')
        expected = {'DescribePCR': {'lock': True, 'data': ZERO}}
        for request in (name + b'\xa1' + index + b'\5', name + b'\xa1' + index + b'\x18\5',
                        name + b'\xa1' + index + b'\x19\0\5', name + b'\xa1' + index + b'\x1a\0\0\0\5',
                        name + b'\xa1' + index + b'\x1b' + bytes(7) + b'\5',
                        name + b'\xbf' + index + b'\5\xff', b'\xbf' + name[1:] + b'\xa1' + index + b'\5\xff',
                        name + b'\xa2' + cbor_text('more') + b'\x82\1\2' + index + b'\5'):
            with self.subTest(request):
                self.assertEqual(nsmclient.decode(self.raw(request)), expected)
        self.assertEqual(nsmclient.decode(self.raw(
            b'\xa1' + cbor_text('ExtendPCR') + b'\xa2' + data + b'\x41x' + index + b'\x10')),
            {'ExtendPCR': {'data': extend(ZERO, b'x')}})

    def test_refused(self):
        """What is no request changes nothing, and the NSM goes on"""
        self.start()
        name, index = b'\xa1' + cbor_text('DescribePCR'), cbor_text('index')
        good = name + b'\xa1' + index + b'\5'
        lock, data = b'\xa1' + cbor_text('LockPCR') + b'\xa1' + index, cbor_text('data')
        extending = b'\xa1' + cbor_text('ExtendPCR')
        attest = b'\xa1' + cbor_text('Attestation')
        cases = [b'', b'\0', b'\xff', b'\xf6', b'\x80', b'\xa0', b'\x40', encode('Nothing'),
                 encode('DescribePCR'), encode('Attestation'), encode({'GetRandom': {}}),
                 encode({'DescribeNSM': NULL}), encode('GetRandom') + b'\0', good + b'\0', good[:-1],
                 name, name + b'\xa0', name + b'\xa1' + index + b'\x19\0', name + b'\x80',
                 name + b'\xa2' + 2 * (index + b'\5'), name + b'\xa1' + cbor_text('range') + b'\5',
                 name + b'\xa1' + index + b'\x20', name + b'\xa1' + index + b'\x1a\0\1\0\0',
                 name + b'\xa1' + index + b'\xf9\0\0', name + b'\xa1' + index + cbor_text('5'),
                 name + b'\xa1' + cbor_bytes(b'index') + b'\5', b'\xa2' + good[1:] + good[1:],
                 name + b'\xbf' + index + b'\5', name + b'\xa1' + index + b'\x1b' + b'\xff' * 8,
                 lock + b'\xf6', extending + b'\xa1' + index + b'\x10', extending + b'\xa1' + data + b'\x40',
                 extending + b'\xa2' + index + b'\x10' + data + b'\xf6',
                 extending + b'\xa2' + index + b'\x10' + data + b'\x81\1',
                 extending + b'\xa2' + index + b'\x10' + data + b'\x5f\x41x\xff',
                 extending + b'\xa2' + index + b'\x10' + data + cbor_head(2, 1 << 40),
                 attest + b'\xa1' + cbor_text('nonce') + b'\1', attest + b'\xf6',
                 b'\xd8\x18' + good, b'\x81' * 4096, b'\xa1' * 4096, b'\xbf' * 4096]
        for request in cases:
            with self.subTest(request[:60]):
                self.assertEqual(nsmclient.decode(self.raw(request)), {'Error': 'InvalidOperation'})
        self.assertEqual(self.pcr(16), {'lock': False, 'data': ZERO})
        self.assertEqual(self.ask('DescribeNSM')['DescribeNSM']['locked_pcrs'], list(range(16)))

    def test_large(self):
        self.start()
        name = {'index': 16, 'data': b''}
        room = 4096 - len(encode({'ExtendPCR': name})) - 2
        self.assertEqual(self.ask('ExtendPCR', index=16, data=bytes(room)),
                         {'ExtendPCR': {'data': extend(ZERO, bytes(room))}})
        self.assertEqual(self.ask('ExtendPCR', index=16, data=bytes(room + 1)),
                         {'Error': 'InputTooLarge'})
        self.assertEqual(self.pcr(16)['data'], extend(ZERO, bytes(room)))

    def test_calls_fail(self):
        """No random numbers, no signature: an error, and the next request is answered"""
        self.start()
        for request in 'GetRandom', {'Attestation': {}}:
            with self.subTest(request):
                self.order(65534)
                self.assertEqual(nsmclient.decode(self.raw(encode(request))),
                                 {'Error': 'InternalError'})
                self.assertNotIn('Error', nsmclient.decode(self.raw(encode(request))))


class Attestation(NsmTest):
    def check(self, *args):
        """What virt-eif says of the last document"""
        with open(self.path('document'), 'wb') as f:
            f.write(self.document)
        done = subprocess.run([VIRT_EIF, 'attest', 'verify', '--json', '--root',
                               self.path('nsm-root.pem'), *args, self.path('document')],
                              capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        return json.loads(done.stdout)

    def test_flow(self):
        """From an image to a document that says so, to two verifiers"""
        image = eifsigner.Signer().sign(eifwriter.simple())
        path = image.write(self.path('image.eif'))
        self.start(path, ROLE, INSTANCE)
        value = self.ask('ExtendPCR', index=31, data=b'of the enclave')['ExtendPCR']['data']
        self.ask('LockPCR', index=31)
        before = time.time()
        document = self.attest(nonce=b'nonce', user_data=b'', public_key=b'key')
        self.assertEqual(set(document), {'module_id', 'digest', 'timestamp', 'pcrs', 'certificate',
                                         'cabundle', 'public_key', 'user_data', 'nonce'})
        self.assertEqual((document['module_id'], document['digest'], document['nonce'],
                          document['user_data'], document['public_key']),
                         (MODULE, 'SHA384', b'nonce', b'', b'key'))
        self.assertLessEqual(int(before * 1000), document['timestamp'])
        self.assertLessEqual(document['timestamp'], time.time() * 1000)
        self.assertEqual(sorted(document['pcrs']), [*range(16), 31])
        self.assertEqual(document['pcrs'][31], value)
        shown = self.check('--image', path, '--nonce', b'nonce'.hex(), '--time', 'now', '--pcr',
                           f'31={value.hex()}', '--pcr', f'4={extend(ZERO, INSTANCE.encode()).hex()}')
        self.assertEqual(shown['Root'], 'CN=libvirt-nitro emulation\\, not AWS,O=libvirt-nitro')

    def test_options(self):
        """Each may be missing or null, and is then not in the document"""
        self.start()
        for fields in ({}, {'nonce': NULL, 'user_data': NULL, 'public_key': NULL},
                       {'nonce': b'x'}, {'user_data': bytes(1024), 'nonce': NULL},
                       {'public_key': bytes(1024), 'user_data': bytes(1024), 'nonce': bytes(1024)}):
            with self.subTest(list(fields)):
                document = self.attest(**fields)
                expected = {name: value for name, value in fields.items() if value is not NULL}
                self.assertEqual({name: document[name] for name in
                                  ('nonce', 'user_data', 'public_key') if name in document}, expected)
        self.assertLess(len(self.document), 0x3000)

    def test_limits(self):
        self.start()
        for name in 'public_key', 'user_data', 'nonce':
            with self.subTest(name):
                self.assertEqual(self.ask('Attestation', **{name: bytes(1025)}),
                                 {'Error': 'InputTooLarge'})
        self.assertEqual(self.ask('Attestation', public_key=b''), {'Error': 'InvalidArgument'})

    def test_all_locked(self):
        """The largest document there is has room in the reply's buffer"""
        image = eifsigner.Signer().sign(eifwriter.simple())
        self.start(image.write(self.path('image.eif')), ROLE, INSTANCE)
        self.ask('LockPCRs', range=32)
        fields = dict.fromkeys(('public_key', 'user_data', 'nonce'), bytes(1024))
        self.assertEqual(len(self.attest(**fields)['pcrs']), 32)

    def test_many(self):
        """Numbers of signatures that are short in one place or the other are good as well"""
        self.start()
        seen = set()
        for _ in range(2000):
            self.attest()
            signature = self.document[-96:]
            seen.update(('r',) * (signature[0] == 0) + ('s',) * (signature[48] == 0))
            if seen == {'r', 's'}:
                break
        self.assertEqual(seen, {'r', 's'})


class Authority(NsmTest):
    def test_certificates(self):
        self.start()
        leaf = x509.load_der_x509_certificate(self.attest()['certificate'])
        root = self.root()
        self.assertEqual(root.subject.rfc4514_string(),
                         'CN=libvirt-nitro emulation\\, not AWS,O=libvirt-nitro')
        self.assertIn('not AWS', leaf.subject.rfc4514_string())
        self.assertIn(f'CN={MODULE}', leaf.subject.rfc4514_string())
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.critical, constraints.value.ca, constraints.value.path_length),
                         (True, True, 0))
        self.assertFalse(leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        self.assertTrue(usage.digital_signature)
        self.assertFalse(usage.key_cert_sign)
        self.assertLessEqual(leaf.not_valid_after, root.not_valid_after)
        self.assertGreater(leaf.not_valid_after - datetime.datetime.utcnow(),
                           datetime.timedelta(days=360))
        self.assertLessEqual(len(leaf.public_bytes(Encoding.DER)), 1024)

    def test_kept(self):
        """One root for all starts, a key of its own for each"""
        self.start()
        first = self.attest()
        mode = os.stat(self.path('nsm-root.key')).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.path('nsm-root.pem')).st_mode), 0o644)
        self.start(module='i-0-enc0')
        second = self.attest()
        self.assertEqual(first['cabundle'], second['cabundle'])
        self.assertNotEqual(first['certificate'], second['certificate'])
        self.assertEqual(sorted(os.listdir(self.dir)), ['nsm-root.key', 'nsm-root.pem'])
        # the certificate for everybody is made again from the other file
        os.unlink(self.path('nsm-root.pem'))
        self.start()
        self.assertEqual(self.attest()['cabundle'], first['cabundle'])

    def test_renewed(self):
        """A root in place of one that was removed is the one that everybody gets to see"""
        self.start()
        old = self.attest()['cabundle']
        pem = self.path('nsm-root.pem')
        with open(pem, 'rb') as f:
            stale = f.read()
        os.unlink(self.path('nsm-root.key'))
        for name in 'stale', 'longer', 'link':
            with self.subTest(name):
                with open(pem, 'rb') as f:
                    content = stale if name == 'stale' else f.read() + b'x'
                os.unlink(pem)
                target = self.path('target') if name == 'link' else pem
                with open(target, 'wb') as f:
                    f.write(content)
                if name == 'link':
                    os.symlink('target', pem)
                self.start()
                # verified with the certificate in the file
                self.assertNotEqual(self.attest()['cabundle'], old)
                self.assertEqual(stat.S_IFMT(os.lstat(pem).st_mode), stat.S_IFREG)
                self.assertEqual(stat.S_IMODE(os.stat(pem).st_mode), 0o644)
        with open(self.path('target'), 'rb') as f:
            self.assertEqual(f.read(), content)
        self.assertEqual(sorted(os.listdir(self.dir)), ['nsm-root.key', 'nsm-root.pem', 'target'])

    def fails(self):
        done = subprocess.run([SERVER, self.dir, MODULE], stdin=subprocess.DEVNULL, timeout=60,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 1)
        return done.stderr.decode()

    def test_never_replaced(self):
        """A root that is not good is an error, and stays as it is"""
        self.start()
        self.attest()
        key = self.path('nsm-root.key')
        with open(key, 'rb') as f:
            good = f.read()
        self.server.stdin.close()
        other = tempfile.mkdtemp(prefix='nsmtest-')
        self.addCleanup(shutil.rmtree, other)
        subprocess.run([SERVER, other, MODULE], stdin=subprocess.DEVNULL, check=True, timeout=60)
        with open(os.path.join(other, 'nsm-root.key'), 'rb') as f:
            mixed = f.read().split(b'-----BEGIN CERT')[0] + b'-----BEGIN CERT' + \
                good.split(b'-----BEGIN CERT')[1]
        for name, content, what in (
                ('empty', b'', 'it is empty, too large, or no regular file'), ('cut', good[:-100], ''), ('no key', good[good.index(b'-----BEGIN CERT'):], ''),
                ('another key', mixed, 'its key is not that of its certificate'),
                ('large', good + bytes(16384), 'it is empty, too large, or no regular file')):
            with self.subTest(name):
                with open(key, 'wb') as f:
                    f.write(content)
                text = self.fails()
                self.assertIn("nsm-root.key' is not the key of the emulated NSMs' root certificate: "
                              + what, text)
                self.assertIn(': restore it, or remove it', text)
                with open(key, 'rb') as f:
                    self.assertEqual(f.read(), content)
        with open(key, 'wb') as f:
            f.write(good)
        os.chmod(key, 0o640)
        self.assertIn('others than its owner can use it', self.fails())
        os.chmod(key, 0o600)
        os.rename(key, self.path('moved'))
        os.symlink('moved', key)
        self.assertIn('Too many levels of symbolic links', self.fails())
        os.unlink(key)
        os.mkdir(key)
        self.assertIn('it is empty, too large, or no regular file', self.fails())

    def test_at_once(self):
        """Of many who make a root at the same time, all have the same"""
        roots = []

        def run():
            subprocess.run([SERVER, self.dir, MODULE], stdin=subprocess.DEVNULL, check=True,
                           timeout=120)
            with open(self.path('nsm-root.key'), 'rb') as f:
                roots.append(f.read())

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(roots), len(set(roots))), (8, 1))
        self.assertEqual(sorted(os.listdir(self.dir)), ['nsm-root.key', 'nsm-root.pem'])


if __name__ == '__main__':
    taprunner.main()
