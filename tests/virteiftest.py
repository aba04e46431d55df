# virteiftest.py: the tool virt-eif, compared with the independent eifwriter.py
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs the built tool (environment variable VIRT_EIF) in a temporary directory.

import gzip
import hashlib
import json
import os
import pty
import shutil
import signal
import ssl
import stat
import subprocess
import time

from cryptography import x509

import eifmalformed
import eifsigner
import eifwriter
import taprunner
import tinyguest
from scratchcase import ScratchCase

TOOL = os.environ['VIRT_EIF']


class ToolTest(ScratchCase):
    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()

    def run_tool(self, *args, **kwargs):
        kwargs.setdefault('env', {**os.environ, 'LC_ALL': 'C.UTF-8'})
        return subprocess.run([TOOL, *args], capture_output=True, timeout=60, **kwargs)

    def good(self, *args, **kwargs):
        result = self.run_tool(*args, **kwargs)
        self.assertEqual(result.stderr.decode(), '')
        self.assertEqual(result.returncode, 0)
        return result.stdout

    def bad(self, message, *args, **kwargs):
        result = self.run_tool(*args, **kwargs)
        self.assertEqual(result.stderr.decode(), f'error: {message}\n')
        self.assertEqual(result.stdout, b'')
        self.assertEqual(result.returncode, 1)

    def describe(self, path):
        return json.loads(self.good('describe', '--json', path))

    def build(self, image, *extra):
        """Builds with the tool what eifwriter's @image is made of; returns the file's bytes."""
        args = []
        for i, section in enumerate(image.sections):
            if section.kind == eifwriter.CMDLINE:
                args += ['--cmdline', section.data]
            else:
                option = {eifwriter.KERNEL: '--kernel', eifwriter.RAMDISK: '--ramdisk',
                          eifwriter.METADATA: '--metadata'}[section.kind]
                args += [option, self.file(f'part{i}', section.data)]
        arch = 'aarch64' if image.flags else 'x86_64'
        self.assertEqual(self.good('build', *args, '--arch', arch, *extra,
                                   '--output', self.path('out.eif')), b'')
        return self.read('out.eif')


class Build(ToolTest):
    def test_same_bytes(self):
        """Byte for byte what the independent writer makes"""
        big = os.urandom(3 * 1024 * 1024 + 1)
        cases = {
            'simple': eifwriter.simple(),
            'two ramdisks': eifwriter.simple(ramdisks=(b'first', b'second')),
            'empty ramdisk': eifwriter.simple(ramdisks=(b'',)),
            'empty command line': eifwriter.simple(cmdline=b''),
            'command line that is not UTF-8': eifwriter.simple(cmdline=b'a=\xff\xfe'),
            'command line with an option in it': eifwriter.simple(cmdline=b'--kernel -x'),
            'metadata': eifwriter.simple(metadata=b' {"ImageName": "x\xc3\xa9", "n": [1, 2]}\n'),
            'aarch64': eifwriter.simple(flags=1),
            '29 ramdisks': eifwriter.simple(ramdisks=[b'%d' % i for i in range(29)]),
            'pieces': eifwriter.simple(kernel=big, ramdisks=(big[:262144], big[:262145], big)),
        }
        for name, image in cases.items():
            with self.subTest(name):
                # subTest() has no directory of its own, but each build replaces the last.
                self.assertEqual(self.build(image), image.to_bytes())

    def test_defaults_are_qemus(self):
        """No command line, no ramdisk: the image that QEMU makes of a kernel alone"""
        kernel = self.file('kernel', b'a kernel')
        self.good('build', '-k', kernel, '-a', 'x86_64', '-o', self.path('out.eif'))
        expected = eifwriter.simple(cmdline=b'', ramdisks=(b'',)).to_bytes()
        self.assertEqual(self.read('out.eif'), expected)

    def test_aarch64_kernels(self):
        """The kernel is in the image as it is, and measured so, whatever its form"""
        kernel = tinyguest.aarch64_kernel(b'')
        for name, content in (('Image', kernel), ('Image.gz', gzip.compress(kernel)),
                              ('zboot', tinyguest.zboot(kernel))):
            with self.subTest(name):
                image = eifwriter.simple(kernel=content, flags=1)
                self.assertEqual(self.build(image), image.to_bytes())
                described = self.describe(self.path('out.eif'))
                self.assertEqual(described['Architecture'], 'aarch64')
                self.assertEqual(described['Measurements']['PCR0'], image.pcrs()[0])

    def test_default_arch(self):
        machine = os.uname().machine
        kernel = self.file('kernel', b'a kernel')
        if machine not in ('x86_64', 'aarch64'):
            self.bad(f"architecture '{machine}' is not supported: use --arch x86_64 or --arch "
                     'aarch64', 'build', '-k', kernel, '-o', self.path('out.eif'))
            return
        self.good('build', '-k', kernel, '-o', self.path('out.eif'))
        self.assertEqual(self.describe(self.path('out.eif'))['Architecture'], machine)

    def test_refusals(self):
        kernel = self.file('kernel', b'a kernel')
        empty = self.file('empty', b'')
        missing = self.path('missing')
        out = self.path('out.eif')
        end = ('-o', out)
        json_error = 'it is not JSON in line 1, column 1: parse error: premature EOF'
        cases = [
            ("option --kernel is missing; see 'virt-eif build --help'", [*end]),
            ("option --output is missing; see 'virt-eif build --help'", ['-k', kernel]),
            (f"cannot open '{missing}': No such file or directory", ['-k', missing, *end]),
            (f"kernel '{self.dir}' is a directory, not a regular file", ['-k', self.dir, *end]),
            ("kernel '/dev/null' is a character device, not a regular file",
             ['-k', '/dev/null', *end]),
            (f"kernel '{empty}' is empty", ['-k', empty, *end]),
            (f"ramdisk '{self.dir}' is a directory, not a regular file",
             ['-k', kernel, '-r', self.dir, *end]),
            (f"ramdisk '{kernel}' is one too many: an image holds at most 29",
             ['-k', kernel] + ['-r', kernel] * 30 + [*end]),
            (f"metadata '{empty}' is refused: {json_error}", ['-k', kernel, '-m', empty, *end]),
            (f"cannot open '{missing}': No such file or directory",
             ['-k', kernel, '-m', missing, *end]),
            # no more than that is read, be there an end or not
            ("'/dev/zero' has more than the 1048576 bytes that are accepted",
             ['-k', kernel, '-m', '/dev/zero', *end]),
            ("architecture 'riscv64' is not supported: use --arch x86_64 or --arch aarch64",
             ['-k', kernel, '-a', 'riscv64', *end]),
            (f"unexpected argument '{kernel}'; see 'virt-eif build --help'", [kernel, *end]),
            ("Unknown option --nonsense; see 'virt-eif build --help'", ['--nonsense']),
            ("cannot write '/dev/null': it exists and is not a regular file",
             ['-k', kernel, '-o', '/dev/null']),
            (f"cannot write '{self.dir}': it exists and is not a regular file",
             ['-k', kernel, '-o', self.dir]),
            (f"cannot create a file beside '{missing}/x': No such file or directory",
             ['-k', kernel, '-o', missing + '/x']),
        ]
        for message, args in cases:
            with self.subTest(message.replace(self.dir, '')):
                self.bad(message, 'build', *args)
                self.assertEqual(sorted(os.listdir(self.dir)), ['empty', 'kernel'])

    def test_metadata_refused(self):
        kernel = self.file('kernel', b'a kernel')
        for text, message in [
                (b'{\n "\xc3\xa9": 1,}', 'it is not JSON in line 2, column 9: parse error: invalid '
                 'object key (must be a string)'),
                (b'[]', 'it is not a JSON object'),
                (b'"{}"', 'it is not a JSON object'),
                (b'{} x', 'it is not JSON in line 1, column 4: parse error: trailing garbage'),
                (b'{"a": "\xff"}', 'it is not JSON in line 1, column 8: lexical error: invalid bytes '
                 'in UTF8 string.'),
                (b'{}\0', 'it is not JSON in line 1, column 3: parse error: trailing garbage')]:
            with self.subTest(text):
                path = self.file('metadata', text)
                self.bad(f"metadata '{path}' is refused: {message}", 'build', '-k', kernel,
                         '-m', path, '-o', self.path('out.eif'))
                self.assertFalse(os.path.exists(self.path('out.eif')))

    def test_mode_and_replacing(self):
        """The mode is that of a new file; a symbolic link stays and its target is replaced"""
        kernel = self.file('kernel', b'a kernel')
        old = self.file('old.eif', b'old')
        os.symlink('old.eif', self.path('link.eif'))
        self.good('build', '-k', kernel, '-o', self.path('link.eif'), umask=0o027)
        self.assertTrue(os.path.islink(self.path('link.eif')))
        self.assertEqual(self.read('old.eif')[:4], b'.eif')
        self.assertEqual(stat.S_IMODE(os.stat(old).st_mode), 0o640)
        self.assertEqual(sorted(os.listdir(self.dir)), ['kernel', 'link.eif', 'old.eif'])

    def test_write_error_leaves_nothing(self):
        """A full file system, played by a limit of the file's size"""
        kernel = self.file('kernel', bytes(2 * 1024 * 1024))
        out = self.file('out.eif', b'the image before')
        command = 'ulimit -f 1024; exec "$0" "$@"'
        result = subprocess.run(['bash', '-c', command, TOOL, 'build', '-k', kernel, '-o', out],
                                capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.decode(), r'^error: .*out\.eif: cannot write the image at '
                         r'\d+: File too large\n$')
        self.assertEqual(self.read('out.eif'), b'the image before')
        self.assertEqual(sorted(os.listdir(self.dir)), ['kernel', 'out.eif'])

    def test_signal_leaves_nothing(self):
        # Sparse, so that it costs no disk: the image is given up long before its end
        kernel = self.file('kernel', b'')
        os.truncate(kernel, 1 << 40)
        for sig in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            with self.subTest(sig.name):
                child = subprocess.Popen([TOOL, 'build', '-k', kernel, '-o', self.path('out.eif')],
                                         stderr=subprocess.PIPE)
                deadline = time.monotonic() + 20
                while len(os.listdir(self.dir)) == 1 and time.monotonic() < deadline:
                    time.sleep(0.005)
                self.assertEqual(len(os.listdir(self.dir)), 2)
                child.send_signal(sig)
                child.communicate(timeout=20)
                self.assertEqual(child.returncode, -sig)
                self.assertEqual(os.listdir(self.dir), ['kernel'])


class Describe(ToolTest):
    def check(self, image):
        data = image.to_bytes()
        path = self.file('image.eif', data)
        described = self.describe(path)
        self.assertEqual(described['EifVersion'], image.version)
        self.assertEqual(described['Architecture'], 'aarch64' if image.flags & 1 else 'x86_64')
        self.assertEqual(described['DefaultMemory'], image.default_memory)
        self.assertEqual(described['DefaultCpus'], image.default_cpus)
        self.assertEqual(described['FileSize'], len(data))
        self.assertEqual(described['Crc32'], data[544:548].hex())
        self.assertIs(described['CheckCRC'], True)
        self.assertEqual([(s['Type'], data[s['Offset']:s['Offset'] + s['Size']])
                          for s in described['Sections']],
                         [({1: 'kernel', 2: 'cmdline', 3: 'ramdisk', 4: 'signature',
                            5: 'metadata'}[s.kind], s.data) for s in image.sections])
        pcrs = {int(k[3:]): v for k, v in described['Measurements'].items()
                if k.startswith('PCR')}
        self.assertEqual(pcrs, image.pcrs())
        self.assertIs(described['IsSigned'], 8 in pcrs)
        # eifwriter's signatures are none: class Signature has good ones
        if 8 not in pcrs:
            self.assertEqual(self.good('verify', path).decode(),
                             f'{path}: good image of EIF version {image.version}\n')

        text = self.good('describe', path).decode()
        for number, value in image.pcrs().items():
            self.assertIn(f'PCR{number}: {value}\n', text)
        return described

    def test_fields_and_measurements(self):
        S = eifwriter.Section
        k, c, r, m = eifwriter.KERNEL, eifwriter.CMDLINE, eifwriter.RAMDISK, eifwriter.METADATA
        big = os.urandom(700000)
        cases = {
            'simple': eifwriter.simple(),
            'no ramdisk': eifwriter.simple(ramdisks=()),
            'three ramdisks': eifwriter.simple(ramdisks=(big, b'2', big[1:])),
            'empty first ramdisk': eifwriter.simple(ramdisks=(b'', b'the application')),
            'aarch64': eifwriter.simple(flags=1),
            'version 2': eifwriter.simple(version=2, metadata=None),
            'version 3': eifwriter.simple(version=3, metadata=None),
            'version 3 with metadata': eifwriter.simple(version=3),
            'defaults': eifwriter.simple(default_memory=1 << 30, default_cpus=2),
            'largest defaults': eifwriter.simple(default_memory=(1 << 64) - 1,
                                                 default_cpus=(1 << 64) - 1),
            'reserved fields': eifwriter.simple(reserved=7, unused=9, extra_offsets=[1, 2]),
            'signed': eifwriter.signed(),
            'kernel behind others': eifwriter.Image([S(m, b'{}'), S(c, b'c'), S(k, big),
                                                     S(r, b'r1'), S(r, b'r2')]),
            'command line last': eifwriter.Image([S(k, b'k'), S(r, b'r1'), S(m, b'{}'),
                                                  S(r, b'r2'), S(c, b'c')]),
            '32 sections': eifwriter.simple(ramdisks=[b'%d' % i for i in range(29)]),
        }
        for name, image in cases.items():
            with self.subTest(name):
                self.check(image)

    def test_unusual(self):
        """What readers may ignore is shown, and warned of; a gap counts for the checksum"""
        S = eifwriter.Section
        k, c, r, m = eifwriter.KERNEL, eifwriter.CMDLINE, eifwriter.RAMDISK, eifwriter.METADATA
        gap = os.urandom(200000)
        cases = [
            (eifwriter.simple(flags=0x8002),
             ['EIF header: flags is 0x8002, and all bits but bit 0 (aarch64) are reserved']),
            (eifwriter.Image([S(k, b'k', gap=bytes(64)), S(c, b'c'), S(r, b'r', gap=gap),
                              S(r, b'r2', flags=0x10), S(m, b'{}', flags=0x8000, gap=b'x')],
                             flags=0xffff),
             ['EIF header: flags is 0xffff, and all bits but bit 0 (aarch64) are reserved',
              *(f'the {size} bytes before section {number} ({kind}) belong to no section, and '
                'nitro-cli cannot read such an image' for size, number, kind in
                ((64, 0, 'kernel'), (200000, 2, 'ramdisk'))),
              'section 3 (ramdisk): flags is 0x0010, and all of its bits are reserved',
              'the 1 bytes before section 4 (metadata) belong to no section, and nitro-cli '
              'cannot read such an image',
              'section 4 (metadata): flags is 0x8000, and all of its bits are reserved']),
        ]
        for image, remarks in cases:
            with self.subTest(len(remarks)):
                data = image.to_bytes()
                path = self.file('image.eif', data)
                described = self.describe(path)
                self.assertEqual(described['Remarks'], remarks)
                self.assertEqual(described['Flags'], image.flags)
                self.assertEqual([(s['Flags'], s['Gap']) for s in described['Sections']],
                                 [(s.flags, len(s.gap)) for s in image.sections])
                self.assertIs(described['CheckCRC'], True)
                text = self.good('describe', path).decode()
                self.assertIn('\nRemarks:\n' + '\n'.join(remarks) + '\n\n', text)
                for section in image.sections:
                    if section.gap:
                        self.assertRegex(text, rf'\n -       gap        - +\d+ +'
                                               rf'{len(section.gap)}\n')
                result = self.run_tool('verify', path)
                self.assertEqual((result.returncode, result.stderr.decode()),
                                 (0, ''.join(f'warning: {path}: {r}\n' for r in remarks)))

        # The last case again, with one bit of its largest gap wrong
        at = data.index(gap) + 150000
        path = self.file('image.eif', data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        self.assertIs(self.describe(path)['CheckCRC'], False)
        self.assertEqual(self.run_tool('verify', path).returncode, 1)

    def test_usual(self):
        described = self.describe(eifwriter.signed().write(self.path('image.eif')))
        self.assertEqual(described['Remarks'], [])
        text = self.good('describe', self.path('image.eif')).decode()
        self.assertNotIn('Remarks', text)
        self.assertNotIn('gap', text)

    def test_large_signature(self):
        """The format's limit for a signature section"""
        section = eifwriter.signature_section()
        for size, remarks in ((32768, []), (32769, [
                'section 5 (signature) has 32769 bytes, more than the 32768 that the format '
                'allows'])):
            # a second item of the array: bytes that nobody reads
            rest = bytes(size - len(section) - 3)
            image = eifwriter.signed(signature=b'\x82' + section[1:] + eifwriter.cbor_bytes(rest))
            self.assertEqual(len(image.sections[5].data), size)
            self.assertEqual(self.describe(image.write(self.path('image.eif')))['Remarks'],
                             remarks)

    def test_known_values(self):
        """Registers computed once and for all with coreutils: sha384sum, xxd"""
        path = eifwriter.simple(kernel=b'kernel', cmdline=b'cmdline',
                                ramdisks=(b'init', b'app')).write(self.path('image.eif'))
        self.assertEqual(self.describe(path)['Measurements'], {
            'HashAlgorithm': 'SHA384',
            'PCR0': '80bda6b91d6d6be36cc7d9384515314e6846c9b7dd2da6cf'
                    '032a59176376f82df2cd6963f02e05d64748912bd345fdf7',
            'PCR1': '74398a19d195e9ef66fb3eb7bb93c72c50906af5b0a7c9f2'
                    '5f5248079128ae91f9192cfa912e3ac150bc900186c22aab',
            'PCR2': 'b76036a6963404c7fe1249127a5c2fc684090bd30f0386d9'
                    'b643e2e11e203f2fb62d50ea1af96ad3bc6ba974c3b1c79a',
        })

    def test_signed(self):
        """PCR8 in both encodings of bytes, with texts around the certificate"""
        pem = eifwriter.CERTIFICATE_PEM
        der = ssl.PEM_cert_to_DER_cert(pem.decode())
        pcr8 = hashlib.sha384(bytes(48) + hashlib.sha384(der).digest()).hexdigest()
        one = eifwriter.cbor_head(5, 1) + eifwriter.cbor_text('signing_certificate') \
            + eifwriter.cbor_bytes(pem)
        nested = b'\x9b' + (2).to_bytes(8, 'big') + b'\xc1\x01\xa1\x20\xf9\x3c\x00'
        more = eifwriter.cbor_text('other') + nested
        cases = {
            'array': eifwriter.signature_section(),
            'byte string': eifwriter.signature_section(encode=eifwriter.cbor_bytes),
            'chain': eifwriter.signature_section(pem + pem.replace(b'MII', b'MIA')),
            'text before': eifwriter.signature_section(b'subject=CN = x\n' + pem),
            'DOS line ends': eifwriter.signature_section(pem.replace(b'\n', b'\r\n')),
            'two signatures': eifwriter.cbor_head(4, 2) + one + b'\xa0',
            'unknown key first': eifwriter.cbor_head(4, 1) + eifwriter.cbor_head(5, 2) + more
                                 + one[1:],
            'unknown key last': eifwriter.cbor_head(4, 1) + eifwriter.cbor_head(5, 2) + one[1:]
                                + more,
        }
        for name, section in cases.items():
            with self.subTest(name):
                described = self.check(eifwriter.signed(signature=section))
                self.assertEqual(described['Measurements']['PCR8'], pcr8)

    def test_metadata(self):
        """Any JSON comes out as the same value, numbers as they were written"""
        text = ('{"ImageName": "a\\"\\\\\\u0000\\u001b\u00e9", "n": [1e400, -0.0, '
                '123456789012345678901234567890], '
                '"o": {"t": true, "f": false, "z": null, "e": [], "m": {}}}')
        deep = '{"a":' * 99 + '{}' + '}' * 99
        for name, metadata in (('kinds', text), ('deep', deep), ('white space', ' {} \n')):
            with self.subTest(name):
                path = eifwriter.simple(metadata=metadata.encode()).write(self.path('image.eif'))
                plain = json.loads(metadata, parse_float=str, parse_int=str)
                out = self.good('describe', '--json', path)
                out = json.loads(out, parse_float=str, parse_int=str)
                self.assertEqual(out['Metadata'], plain)
                shown = self.good('describe', path).decode().split('\nMetadata:\n')[1]
                self.assertEqual(json.loads(shown, parse_float=str, parse_int=str), plain)

    def test_names(self):
        """Beside the metadata, as nitro-cli has them, when they are texts"""
        for metadata, name, version in (
                ('{"ImageName": "a\\u00e9", "ImageVersion": "1.0"}', 'a\u00e9', '1.0'),
                ('{"ImageName": 5, "o": {"ImageVersion": "2"}}', None, None), ('[]', None, None)):
            with self.subTest(metadata):
                path = eifwriter.simple(metadata=metadata.encode()).write(self.path('image.eif'))
                described = self.describe(path)
                self.assertEqual((described.get('ImageName'), described.get('ImageVersion')),
                                 (name, version))

    def test_build_metadata(self):
        """As nitro-cli shows it: among the other members, which stay as they are"""
        build = {'BuildTime': 'now', 'BuildTool': 'x\u00e9"', 'OperatingSystem': 'Linux', 'n': 5}
        for metadata, more in (
                ({'BuildMetadata': build, 'DockerInfo': {'a': [1]}},
                 {'BuildTime': 'now', 'BuildTool': 'x\u00e9"', 'OperatingSystem': 'Linux'}),
                ({'BuildTime': [], 'BuildMetadata': build, 'OperatingSystem': None},
                 {'BuildTool': 'x\u00e9"'}),
                ({'BuildMetadata': 'text'}, {}), ({'BuildMetadata': {}}, {})):
            with self.subTest(metadata):
                path = eifwriter.simple(metadata=json.dumps(metadata).encode()).write(
                    self.path('image.eif'))
                pairs = json.loads(self.good('describe', '--json', path),
                                   object_pairs_hook=lambda pairs: pairs)
                pairs = dict(pairs)['Metadata']
                self.assertEqual(len(pairs), len(metadata) + len(more))
                self.assertEqual(self.describe(path)['Metadata'], {**metadata, **more})

    def test_wrong_metadata_is_described(self):
        path = eifwriter.simple(metadata=b'nonsense').write(self.path('image.eif'))
        described = self.describe(path)
        self.assertIsNone(described['Metadata'])
        self.assertRegex(described['MetadataError'], '^it is not JSON in line 1, column \\d: ')
        self.assertIn('\nMetadata: wrong: it is not JSON in line 1, ', self.good('describe', path).decode())

    def test_wrong_checksum_is_described(self):
        path = eifwriter.simple(crc=0x1234).write(self.path('image.eif'))
        self.assertIs(self.describe(path)['CheckCRC'], False)
        self.assertIn('0x00001234 (wrong: the image is damaged)\n',
                      self.good('describe', path).decode())

    def test_texts_cannot_command_the_terminal(self):
        cmdline = 'a\x1b[2Jb\rc\nPCR0: d\x7f\u009b\u202e\u00e9'.encode() + b'\xff'
        metadata = '{"a": "\u009b2J\u202e", "b\x7f": 1}'.encode()
        path = eifwriter.simple(cmdline=cmdline, metadata=metadata).write(self.path('image.eif'))
        text = self.good('describe', path).decode()
        self.assertIn('\na\\x1b[2Jb\\x0dc\\x0aPCR0: d\\x7f\\xc2\\x9b\\xe2\\x80\\xae\u00e9\\xff\n',
                      text)
        self.assertEqual([c for c in text if not c.isprintable() and c != '\n'], [])
        self.assertEqual(self.describe(path)['CommandLine'], cmdline[:-1].decode() + '\ufffd')


class Malformed(ToolTest):
    def test_header(self):
        """Refused by all commands that read, before any content is read"""
        for name, data, message in eifmalformed.HEADER:
            with self.subTest(name):
                path = self.file('image.eif', data)
                self.bad(f'{path}: {message}', 'verify', path)
                self.bad(f'{path}: {message}', 'describe', path)

    def test_content(self):
        for name, data, message in eifmalformed.CONTENT:
            with self.subTest(name):
                path = self.file('image.eif', data)
                self.bad(f'{path}: {message}', 'verify', path)

    def test_every_truncation(self):
        """No prefix of an image passes"""
        data = eifwriter.signed(signature=b'\x80').to_bytes()
        # All of the first bytes of each part, one in 29 of the rest: each costs a process
        for length in [*range(0, 12), *range(12, 548, 29), *range(547, len(data))]:
            path = self.file('image.eif', data[:length])
            result = self.run_tool('verify', path)
            self.assertEqual((length, result.returncode), (length, 1))
            self.assertRegex(result.stderr.decode(), '^error: .*\n$')

    def test_other_files(self):
        os.mkfifo(self.path('fifo'))
        for path, message in (
                (self.path('missing'), "cannot open '%s': No such file or directory"),
                (self.dir, '%s: the image is a directory, not a regular file'),
                (self.path('fifo'), '%s: the image is a pipe, not a regular file'),
                ('/dev/zero', '%s: the image is a character device, not a regular file')):
            with self.subTest(os.path.basename(message)):
                self.bad(message % path, 'verify', path)

    def test_huge_sparse_file_with_a_bad_header(self):
        """Is refused without reading the rest"""
        path = self.file('image.eif', eifmalformed.GOOD)
        os.truncate(path, 1 << 42)
        start = time.monotonic()
        self.bad(f'{path}: the last section ends at {eifmalformed.END}, but the file goes on to '
                 f'{1 << 42}', 'verify', path)
        self.assertLess(time.monotonic() - start, 5)


class Signature(ToolTest):
    """Who has signed an image, and whether that is good"""

    OTHER_KEY = "it was not made with the certificate's key (Public key signature verification " \
                'has failed.)'

    def verify(self, image, message=None):
        """Verifies and describes @image, which is good or has the fault @message."""
        path = image.write(self.path('image.eif'))
        described = json.loads(self.good('describe', '--json', path))
        text = self.good('describe', path).decode()
        self.assertIs(described['SignatureCheck'], message is None)
        self.assertEqual(described.get('SignatureError'), message)
        self.assertIn(f"\n{'Signature:':16} {message or 'ok'}\n", text)
        if message:
            self.bad(f'{path}: {message}', 'verify', path)
        else:
            self.good('verify', path)
        return described, text

    def test_good(self):
        """Each algorithm, both encodings of bytes, with and without COSE's tag"""
        for name in eifsigner.ALGORITHMS:
            signer = eifsigner.Signer(name, subject='who signs')
            for encode in eifwriter.cbor_byte_array, eifwriter.cbor_bytes:
                for tag in b'', b'\xd2':
                    with self.subTest((name, encode.__name__, tag)):
                        described, text = self.verify(
                            signer.sign(eifwriter.simple(), encode=encode, tag=tag))
                        self.assertEqual(described['SigningCertificate'], {
                            'SubjectName': 'CN=who signs', 'IssuerName': 'CN=who signs',
                            'Algorithm': name, 'NotBefore': f'{signer.start} UTC',
                            'NotAfter': f'{signer.end} UTC',
                            'Signature': x509.load_pem_x509_certificate(signer.pem).signature.hex(
                                ':').upper()})
                        for line in (
                                'Signed:          yes', 'Signer:          CN=who signs',
                                f'Algorithm:       {name}',
                                f'Valid:           from {signer.start} UTC to {signer.end} UTC'):
                            self.assertIn(f'\n{line}\n', text)

    def test_many(self):
        """Numbers of a signature that start with zeros, or with a one bit, are good, too"""
        signer = eifsigner.Signer('ES256')
        seen = set()
        for count in range(3000):
            raws = []
            image = signer.sign(eifwriter.simple(),
                                change=lambda raw, raws=raws: raws.append(raw) or raw)
            kinds = {min(raws[0][at], 1) + (raws[0][at] >> 7) for at in (0, 32)}
            if kinds <= seen:
                continue
            seen |= kinds
            self.verify(image)
            if seen == {0, 1, 2}:
                return
        self.fail(f'none of each kind in {count} signatures: {seen}')

    def test_dates(self):
        for days, words in (((-30, -1), 'has expired on {0.end} UTC'),
                            ((1, 30), 'is not valid before {0.start} UTC')):
            with self.subTest(words):
                signer = eifsigner.Signer(days=days)
                path = signer.sign(eifwriter.simple()).write(self.path('image.eif'))
                error = self.run_tool('verify', path).stderr.decode()
                self.assertIn("the image's signing certificate " + words.format(signer), error)
                reason = error.split(': ', 2)[2]
                self.assertRegex(reason, r', and it is \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC now: ')
                # the next look at the clock may be another second's
                self.assertIn('Signature:       ' + reason.split(', and it is')[0],
                              self.good('describe', path).decode())

    def test_another_image(self):
        """A section that was signed for another image"""
        signer = eifsigner.Signer()
        image = eifwriter.simple()
        image.sections[0].data = b'another kernel'
        signed = eifwriter.simple().pcrs()[0]
        self.verify(signer.sign(image, pcr0=bytes.fromhex(signed)),
                    f'the image is not the one that was signed: its PCR0 is {image.pcrs()[0]}, '
                    f'and {signed} was signed')

    def test_wrong_signatures(self):
        image = eifwriter.simple()
        content = eifsigner.payload(bytes.fromhex(image.pcrs()[0]))
        signer = eifsigner.Signer()
        small = eifsigner.Signer('ES256')
        other = eifsigner.Signer()
        other.key = signer.key
        rsa = eifsigner.Signer()
        rsa.pem = eifsigner.rsa_certificate()
        flip = {'change': lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])}
        cases = [
            (other, other.cose(content), None),
            (signer, small.cose(content),
             "it is an ES256 one, and the certificate's key is not for that"),
            (rsa, rsa.cose(content),
             "it is an ES384 one, and the certificate's key is not for that"),
            (signer, eifsigner.Signer().cose(content), self.OTHER_KEY),
            (signer, signer.cose(content, **flip), self.OTHER_KEY),
            (signer, signer.cose(content, change=lambda raw: bytes(96)), None),
            (signer, signer.cose(content, context='Signature'), self.OTHER_KEY),
            (signer, signer.cose(content, change=lambda raw: raw[:-1]),
             'it has 95 bytes, and one of ES384 has 96'),
            (signer, signer.cose(content, change=lambda raw: b''),
             'it has 0 bytes, and one of ES384 has 96'),
            (signer, signer.cose(content, header=b'\xa1\x01\x26'),
             "it is an ES256 one, and the certificate's key is not for that"),
            (signer, signer.cose(content, header=b'\xa1\x01\x38\x2e'),
             'its algorithm has the COSE number -47, and images are signed with ES256, ES384 or '
             'ES512'),
        ]
        for count, (who, cose, fault) in enumerate(cases):
            with self.subTest(count):
                section = eifwriter.Section(eifwriter.SIGNATURE, who.section(cose))
                signed = eifwriter.Image(image.sections + [section])
                if fault is None:
                    path = signed.write(self.path('image.eif'))
                    error = self.run_tool('verify', path).stderr.decode()
                    self.assertIn("the image's signature is wrong: it was not made with", error)
                else:
                    self.verify(signed, f"the image's signature is wrong: {fault}")

    def test_malformed(self):
        """A certificate, and what is no signature of PCR0"""
        image = eifwriter.simple()
        signer = eifsigner.Signer()
        pcr0 = bytes.fromhex(image.pcrs()[0])
        good = signer.cose(eifsigner.payload(pcr0))
        text, head = eifwriter.cbor_text, eifwriter.cbor_head
        alone = head(5, 1) + text('register_value') + eifwriter.cbor_bytes(pcr0)
        header = 'the protected header of its COSE_Sign1'
        cases = [
            (b'', 'its CBOR ends early'),
            (b'\xa0', 'its COSE_Sign1 is not an array of four items'),
            (b'\x83' + good[1:], 'its COSE_Sign1 is not an array of four items'),
            (good[:-1], 'its CBOR ends early'),
            (good + b'\0', 'its COSE_Sign1 goes on behind its end'),
            (b'\x84\xa0\xa0\x40\x40', f'{header} is no byte string'),
            (b'\x84\x40\xa0\xf6\x40', 'the payload of its COSE_Sign1 is no byte string'),
            (b'\x84\x40\xa0\x40\x01', 'the signature of its COSE_Sign1 is no byte string'),
            (signer.cose(eifsigner.payload(pcr0), header=b''), 'its CBOR ends early'),
            (signer.cose(eifsigner.payload(pcr0), header=b'\x80'), f'{header} is no map'),
            (signer.cose(eifsigner.payload(pcr0), header=b'\xa0'), f'{header} does not name one algorithm'),
            (signer.cose(eifsigner.payload(pcr0), header=b'\xa1\x01\x60'),
             f'{header} does not name one algorithm'),
            (signer.cose(eifsigner.payload(pcr0), header=b'\xa3' + 3 * b'\x01\x38\x22'),
             f'{header} does not name one algorithm'),
            (signer.cose(eifsigner.payload(pcr0), header=b'\xa2\x02\x81\x09\x01\x38\x22'),
             f'{header} has what is not understood'),
            (signer.cose(eifsigner.payload(pcr0, index=8)),
             'the payload of its COSE_Sign1 is not the value of PCR0'),
            (signer.cose(eifsigner.payload(pcr0[1:])),
             'the payload of its COSE_Sign1 is not the value of PCR0'),
            (signer.cose(alone), 'the payload of its COSE_Sign1 is not the value of PCR0'),
            (signer.cose(head(5, 4) + 2 * (text('register_index') + b'\0')
                         + eifsigner.payload(pcr0)[1:]),
             'the payload of its COSE_Sign1 is not the value of PCR0'),
            (signer.cose(b'\x80'), 'the payload of its COSE_Sign1 is no map'),
            (signer.cose(b''), 'its CBOR ends early'),
        ]
        for count, (cose, fault) in enumerate(cases):
            with self.subTest(count):
                section = eifwriter.Section(eifwriter.SIGNATURE, signer.section(cose))
                self.verify(eifwriter.Image(image.sections + [section]),
                            f'the signature section is wrong: {fault}')

    def test_no_signature_or_no_x509(self):
        image = eifwriter.simple()
        signer = eifsigner.Signer()
        alone = (eifwriter.cbor_head(4, 1) + eifwriter.cbor_head(5, 1)
                 + eifwriter.cbor_text('signing_certificate') + eifwriter.cbor_bytes(signer.pem))
        signer.pem = b'-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'
        not_x509 = signer.section(signer.cose(eifsigner.payload(bytes(48))))
        for section, fault in (
                (alone, 'the signature section is wrong: its map has no key "signature"'),
                (not_x509, 'the signing certificate cannot be read: '
                           'ASN1 parser: Element was not found.')):
            with self.subTest(fault):
                section = eifwriter.Section(eifwriter.SIGNATURE, section)
                described, text = self.verify(eifwriter.Image(image.sections + [section]), fault)
                self.assertNotIn('SigningCertificate', described)
                self.assertNotIn('Signer:', text)

    def test_names_cannot_command_the_terminal(self):
        signer = eifsigner.Signer(subject='a\x1b[2J')
        text = self.verify(signer.sign(eifwriter.simple()))[1]
        self.assertNotIn('\x1b', text)


class Pcr(ToolTest):
    def test_image(self):
        image = eifsigner.Signer().sign(eifwriter.simple(ramdisks=(b'boot', b'app')))
        path = image.write(self.path('image.eif'))
        pcrs = dict(sorted(image.pcrs().items()))
        self.assertEqual(self.good('pcr', path).decode(),
                         ''.join(f'PCR{number}: {value}\n' for number, value in pcrs.items()))
        self.assertEqual(json.loads(self.good('pcr', '--json', path)), {'Measurements': {
            'HashAlgorithm': 'SHA384', **{f'PCR{n}': value for n, value in pcrs.items()}}})

    def test_file(self):
        """Each by itself, as nitro-cli pcr --input; also what comes from a pipe"""
        for data in b'', b'x', os.urandom(200001):
            with self.subTest(len(data)):
                expected = eifwriter.extend(data)
                path = self.file('file', data)
                self.assertEqual(self.good('pcr', '--input', path).decode(), f'PCR: {expected}\n')
                self.assertEqual(json.loads(self.good('pcr', '-j', '-i', path)), {'PCR': expected})
                piped = self.good('pcr', '-i', '/dev/stdin', input=data)
                self.assertEqual(piped.decode(), f'PCR: {expected}\n')

    def test_certificate(self):
        """The first of a chain, whether or not images can be signed with it"""
        signers = [eifsigner.Signer(), eifsigner.Signer(days=(-9, -2))]
        for pem in (*(signer.pem for signer in signers), eifsigner.rsa_certificate(),
                    b'text\n' + signers[0].pem + signers[1].pem, eifwriter.CERTIFICATE_PEM):
            with self.subTest(pem[:40]):
                expected = eifwriter.extend(eifwriter.certificate_der(pem))
                path = self.file('pem', pem)
                for option in '-s', '--signing-certificate':
                    self.assertEqual(self.good('pcr', option, path).decode(),
                                     f'PCR8: {expected}\n')
                self.assertEqual(json.loads(self.good('pcr', '-j', '-s', path)),
                                 {'PCR8': expected})

    def test_refused(self):
        image = eifwriter.simple(crc=0x1234)
        path = image.write(self.path('image.eif'))
        one = "exactly one of an image, --input and --signing-certificate is needed; see " \
              "'virt-eif pcr --help'"
        empty = self.file('empty', b'')
        for message, args in (
                (one, []), (one, [path, path]), (one, [path, '-i', path]),
                (one, ['-i', path, '-s', path]),
                (f"cannot open '{path}x': No such file or directory", ['-i', path + 'x']),
                (f"cannot read '{self.dir}': Is a directory", ['-i', self.dir])):
            with self.subTest((message.replace(self.dir, ''), len(args))):
                self.bad(message, 'pcr', *args)
        for pattern, args in (
                (f'{path}: EIF header: checksum is 0x00001234, but that of the content is '
                 '0x[0-9a-f]{8}: the image is damaged', [path]),
                (f"'{empty}' is no certificate in PEM form: .*", ['-s', empty])):
            with self.subTest(pattern.replace(self.dir, '')):
                done = self.run_tool('pcr', *args)
                self.assertRegex(done.stderr.decode(), f'^error: {pattern}\n$')
                self.assertEqual((done.returncode, done.stdout), (1, b''))


class Extract(ToolTest):
    NAMES = {eifwriter.KERNEL: 'kernel', eifwriter.CMDLINE: 'cmdline',
             eifwriter.SIGNATURE: 'signature', eifwriter.METADATA: 'metadata'}

    def extracted(self, name='new'):
        files = {}
        for entry in os.scandir(self.path(name)):
            self.assertTrue(entry.is_file(follow_symlinks=False))
            files[entry.name] = self.read(f'{name}/{entry.name}')
        return files

    def expected(self, image):
        files = {self.NAMES[section.kind]: section.data for section in image.sections
                 if section.kind in self.NAMES}
        ramdisks = [section.data for section in image.sections
                    if section.kind == eifwriter.RAMDISK]
        return {**files, **{f'ramdisk{i}': data for i, data in enumerate(ramdisks)}}

    def test_sections(self):
        for image in (eifwriter.simple(), eifwriter.signed(kernel=os.urandom(200000)),
                      eifwriter.simple(ramdisks=[b'%d' % i for i in range(29)]),
                      eifwriter.simple(cmdline=b'', ramdisks=(b'', b'app'))):
            with self.subTest(len(image.sections)):
                path = image.write(self.path('image.eif'))
                self.assertEqual(self.good('extract', path, self.path('new'), umask=0o027), b'')
                self.assertEqual(self.extracted(), self.expected(image))
                self.assertEqual(stat.S_IMODE(os.stat(self.path('new')).st_mode), 0o750)
                self.assertEqual(stat.S_IMODE(os.stat(self.path('new/kernel')).st_mode), 0o640)
                shutil.rmtree(self.path('new'))

    def test_built_again(self):
        """What was extracted makes the same image"""
        image = eifwriter.simple(ramdisks=(b'boot', b'app'), metadata=b'{"a": 1}')
        self.good('extract', image.write(self.path('image.eif')), self.path('new'))
        part = {name: self.path(f'new/{name}') for name in self.extracted()}
        self.good('build', '-k', part['kernel'], '-c', self.read('new/cmdline'), '-r',
                  part['ramdisk0'], '-r', part['ramdisk1'], '-m', part['metadata'], '-a', 'x86_64',
                  '-o', self.path('again.eif'))
        self.assertEqual(self.read('again.eif'), image.to_bytes())

    def test_nothing_is_overwritten(self):
        """No file, and no link; other files of the directory stay"""
        image = eifwriter.simple()
        path = image.write(self.path('image.eif'))
        os.mkdir(self.path('new'))
        self.file('new/other', b'other')
        for make in (lambda name: self.file(name, b'old'),
                     lambda name: os.symlink('/nonexistent', self.path(name)),
                     lambda name: os.symlink('../image.eif', self.path(name)),
                     lambda name: os.mkdir(self.path(name))):
            for name in 'kernel', 'metadata':
                with self.subTest(name):
                    make(f'new/{name}')
                    self.bad(f"'{self.path('new')}/{name}' exists, and is not overwritten: name "
                             'another directory', 'extract', path, self.path('new'))
                    self.assertEqual(sorted(os.listdir(self.path('new'))), sorted([name, 'other']))
                    self.assertEqual(self.read('image.eif'), image.to_bytes())
                    os.rename(self.path(f'new/{name}'), self.path('gone'))
                    subprocess.run(['rm', '-r', self.path('gone')], check=True)
        self.good('extract', path, self.path('new'))
        self.assertEqual(self.extracted(), {**self.expected(image), 'other': b'other'})

    def test_bad_image_leaves_nothing(self):
        for name, data, message in (
                eifmalformed.HEADER[0],
                ('checksum', eifwriter.simple(crc=0x1234).to_bytes(), None),
                ('NUL', eifwriter.simple(metadata=b'{}\0').to_bytes(), None)):
            for there in False, True:
                with self.subTest((name, there)):
                    path = self.file('image.eif', data)
                    if there:
                        os.mkdir(self.path('new'))
                    done = self.run_tool('extract', path, self.path('new'))
                    self.assertRegex(done.stderr.decode(), f'^error: {path}: [^\n]*\n$')
                    self.assertIn(message or '', done.stderr.decode())
                    self.assertEqual(done.returncode, 1)
                    self.assertEqual(os.path.exists(self.path('new')), there)
                    if there:
                        os.rmdir(self.path('new'))

    def test_refused(self):
        path = eifwriter.simple().write(self.path('image.eif'))
        for message, args in (
                ("no directory is named; see 'virt-eif extract --help'", [path]),
                (f"cannot open the directory '{path}': Not a directory", [path, path]),
                (f"cannot create the directory '{self.dir}/no/x': No such file or directory",
                 [path, self.path('no/x')])):
            with self.subTest(message.replace(self.dir, '')):
                self.bad(message, 'extract', *args)

    def test_full_disk(self):
        path = eifwriter.simple(kernel=bytes(2 << 20)).write(self.path('image.eif'))
        done = subprocess.run(['bash', '-c', 'ulimit -f 1024; exec "$0" "$@"', TOOL, 'extract',
                               path, self.path('new')], capture_output=True, timeout=60)
        self.assertEqual(done.stderr.decode(), f"error: {path}: cannot write '{self.path('new')}/"
                                               "kernel': File too large\n")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(os.listdir(self.dir), ['image.eif'])

    def test_signal_leaves_nothing(self):
        # Sparse, as in Build; the terabyte is given up long before its end
        image = eifwriter.simple(ramdisks=())
        image.sections[0].size = image.sections[0].table_size = 1 << 40
        image.sections[1].offset = 560 + (1 << 40)
        image.sections[2].offset = image.sections[1].offset + 12 + len(image.sections[1].data)
        rest = b''.join(section.to_bytes() for section in image.sections[1:])
        path = self.file('image.eif', image.to_bytes()[:560])
        with open(path, 'r+b') as file:
            file.seek(image.sections[1].offset)
            file.write(rest)
        child = subprocess.Popen([TOOL, 'extract', path, self.path('new')], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not os.path.exists(self.path('new/kernel')) and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertTrue(os.path.exists(self.path('new/kernel')))
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGTERM)
        self.assertEqual(os.listdir(self.dir), ['image.eif'])


class Convert(ToolTest):
    def test_versions(self):
        """Each to each; older ones have no metadata, measurements and signature stay"""
        signer = eifsigner.Signer()
        for old in 2, 3, 4:
            for new in 2, 3, 4:
                with self.subTest((old, new)):
                    image = eifwriter.simple(
                        version=old, metadata=b'{"a": 1}' if old == 4 else None)
                    signed = signer.sign(image)
                    signed.version = old
                    path = signed.write(self.path('image.eif'))
                    self.good('convert', '--eif-version', str(new), path, '-o',
                              self.path('new.eif'))
                    sections = signed.sections
                    if new < 4:
                        sections = [s for s in sections if s.kind != eifwriter.METADATA]
                    elif old < 4:
                        sections = sections + [eifwriter.Section(eifwriter.METADATA, b'{}')]
                    expected = eifwriter.Image(sections, version=new, pem=signer.pem)
                    self.assertEqual(self.read('new.eif'), expected.to_bytes())
                    self.assertEqual(expected.pcrs(), signed.pcrs())
                    self.good('verify', self.path('new.eif'))
                    self.assertEqual(self.read('image.eif'), signed.to_bytes())

    def test_in_place(self):
        path = eifwriter.simple().write(self.path('image.eif'))
        os.chmod(path, 0o600)
        self.good('convert', '-e', '3', path)
        self.assertEqual(self.read('image.eif'),
                         eifwriter.simple(version=3, metadata=None).to_bytes())
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.dir), ['image.eif'])

    def test_odd_bytes_stay(self):
        """And the entry that is not used any more is zero"""
        S = eifwriter.Section
        parts = [S(eifwriter.METADATA, b'{}', gap=b'gone'), S(eifwriter.KERNEL, b'k', gap=b'gap'),
                 S(eifwriter.CMDLINE, b'c', flags=7)]
        fields = {'flags': 0xff00, 'reserved': 3, 'unused': 4, 'default_memory': 5}
        path = eifwriter.Image(parts, extra_offsets=[8, 9], **fields).write(self.path('image.eif'))
        self.good('convert', '-e', '2', path)
        expected = eifwriter.Image(parts[1:], version=2, extra_offsets=[0, 8, 9], **fields)
        self.assertEqual(self.read('image.eif'), expected.to_bytes())

    def test_refused(self):
        path = eifwriter.simple().write(self.path('image.eif'))
        full = eifwriter.simple(ramdisks=[b'r'] * 30, version=3, metadata=None)
        full.write(self.path('full.eif'))
        broken = eifwriter.simple(crc=0x1234).write(self.path('broken.eif'))
        version = 'option --eif-version is missing or wrong: it takes a number from 2 to 4'
        for message, args in (
                (version, [path]), (version, ['-e', '1', path]), (version, ['-e', '5', path]),
                (f'{broken}: EIF header: checksum is 0x00001234, which is not that of the content: '
                 'the image is damaged', ['-e', '3', broken]),
                (f'{self.path("full.eif")}: there is no room for a metadata section: the image has '
                 '32 sections already, and none has more', ['-e', '4', self.path('full.eif')])):
            with self.subTest(message.replace(self.dir, '')):
                before = {name: self.read(name) for name in os.listdir(self.dir)}
                self.bad(message, 'convert', *args)
                self.assertEqual({name: self.read(name) for name in os.listdir(self.dir)}, before)


class Usage(ToolTest):
    def test_help(self):
        for args in (['--help'], ['-h']):
            text = self.good(*args).decode()
            self.assertIn('Usage:\n  virt-eif [OPTION…] COMMAND [ARGUMENT…]\n', text)
            for command in ('build', 'convert', 'describe', 'extract', 'pcr', 'sign', 'verify'):
                self.assertIn(f'\n  {command} ', text)
        for command, words in (('build', '--kernel FILE --output FILE'), ('describe', 'FILE'),
                               ('convert', '--eif-version NUMBER FILE'),
                               ('extract', 'FILE DIRECTORY'),
                               ('pcr', 'FILE | --input FILE | --signing-certificate FILE'),
                               ('sign', '--certificate FILE FILE'), ('verify', 'FILE')):
            self.assertIn(f'Usage:\n  virt-eif {command} [OPTION…] {words}\n',
                          self.good(command, '--help').decode())

    def test_version(self):
        self.assertRegex(self.good('--version').decode(),
                         r'^virt-eif \(libvirt-nitro\) \d+\.\d+\.\d+\n$')

    def test_errors(self):
        image = eifwriter.simple().write(self.path('image.eif'))
        for message, args in (
                ("no command is named; see 'virt-eif --help'", []),
                ("unknown command 'run'; see 'virt-eif --help'", ['run', image]),
                ("Unknown option --json; see 'virt-eif --help'", ['--json', 'describe', image]),
                ("no image file is named; see 'virt-eif describe --help'", ['describe']),
                ("no image file is named; see 'virt-eif verify --help'", ['verify', '--']),
                ("unexpected argument 'x'; see 'virt-eif verify --help'", ['verify', image, 'x']),
                ("Unknown option --json; see 'virt-eif verify --help'",
                 ['verify', '--json', image])):
            with self.subTest(' '.join(args).replace(self.dir, '')):
                self.bad(message, *args)

    def test_name_like_an_option(self):
        eifwriter.simple().write(self.path('--json'))
        self.assertEqual(self.good('verify', '--', '--json', cwd=self.dir),
                         b'--json: good image of EIF version 4\n')

    def test_full_output(self):
        image = eifwriter.simple().write(self.path('image.eif'))
        with open('/dev/full', 'wb') as full:
            result = subprocess.run([TOOL, 'describe', image], stdout=full,
                                    stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.stderr,
                         b'error: cannot write to standard output: No space left on device\n')
        self.assertEqual(result.returncode, 1)


class Progress(ToolTest):
    def measure(self, seconds, command=('verify',)):
        """
        Runs a command on a sparse image for some seconds, or until it says something when that is
        None; returns what the terminal got.
        """
        size = 1 << 40
        image = eifwriter.simple()
        image.sections[2].size = image.sections[2].table_size = size
        data = image.to_bytes()
        # The metadata moves behind the ramdisk's terabyte of zeros.
        image.sections[3].offset = eifmalformed.RAMDISK_AT + 12 + size
        data = image.to_bytes()
        path = self.file('image.eif', data[:eifmalformed.METADATA_AT])
        with open(path, 'r+b') as f:
            f.seek(image.sections[3].offset)
            f.write(data[eifmalformed.METADATA_AT:])

        master, slave = pty.openpty()
        child = subprocess.Popen([TOOL, *command, path], stderr=slave, stdout=slave)
        os.close(slave)
        got = b''
        if seconds is None:
            got = os.read(master, 65536)
        else:
            time.sleep(seconds)
        child.kill()
        child.wait()
        try:
            while piece := os.read(master, 65536):
                got += piece
        except OSError:  # the other end is closed
            pass
        os.close(master)
        return got

    def test_terminal(self):
        for command in ('verify',), ('pcr',), ('pcr', '--input'), ('convert', '-e', '3'):
            with self.subTest(command):
                self.assertRegex(self.measure(None, command), rb'^\rMeasuring: \[  \d %\]')

    def test_short(self):
        self.assertEqual(self.measure(0.4), b'')


if __name__ == '__main__':
    taprunner.main()
