# checktest.py: libvirt_nitro_check, which looks at images before enclaves are started
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# LIBVIRT_NITRO_CHECK names the program. Its verdicts are compared as a whole: one line of JSON.

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import eifmalformed
import eifsigner
import eifwriter
import refusecalls
import taprunner

CHECK = os.environ['LIBVIRT_NITRO_CHECK']
SANITIZED = 'NITRO_TEST_SANITIZED' in os.environ
MEMORY = 64 << 20
NAME = '/images/an image.eif'

# What neither the checker nor anything that it uses may do once it has begun
FORBIDDEN = re.compile(r'open|socket|connect|bind|exec|fork|clone|unlink|rename|kill|ptrace|ioctl|'
                       r'memfd|prctl|mount|^dup|^pipe|chmod|chown|mkdir')
# and all that it does
ALLOWED = {'pread64', 'newfstatat', 'fstat', 'brk', 'mmap', 'munmap', 'mremap', 'madvise', 'futex',
           'write', 'getrandom', 'clock_gettime', 'gettimeofday', 'exit_group'}


class CheckCase(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='checktest-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.open = []
        self.addCleanup(lambda: [os.close(fd) for fd in self.open])

    def file(self, data):
        """A descriptor of a file with the bytes @data"""
        if isinstance(data, eifwriter.Image):
            data = data.to_bytes()
        path = os.path.join(self.dir, f'file{len(self.open)}')
        with open(path, 'wb') as file:
            file.write(data)
        self.open.append(os.open(path, os.O_RDONLY))
        return self.open[-1]

    def run_check(self, *args, fds=(), stdout=subprocess.PIPE, env=None, prefix=()):
        return subprocess.run([*prefix, CHECK, *args], stdout=stdout, stderr=subprocess.PIPE,
                              pass_fds=fds, timeout=60, check=False,
                              env={**os.environ, 'LC_ALL': 'C', **(env or {})})

    def words(self, fd, *args, memory=MEMORY):
        return ['--image-fd', str(fd), '--image-name', NAME, '--arch', 'x86_64', '--memory',
                str(memory), *args]

    def german(self, charset):
        """
        The environment of the locale de_DE, made in the test's directory: in C.UTF-8 gettext
        translates nothing, since glibc 2.41 not even with LANGUAGE.
        """
        done = subprocess.run(['localedef', '-i', 'de_DE', '-f', charset, '--no-archive',
                               os.path.join(self.dir, 'de_DE')], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest('the locale de_DE cannot be made; is the package locales installed?')
        # glibc never frees what LOCPATH says
        return {'LC_ALL': 'de_DE', 'LOCPATH': self.dir, 'ASAN_OPTIONS': 'detect_leaks=0'}

    def verdict(self, data, *args, fds=(), memory=MEMORY, **more):
        fd = self.file(data)
        done = self.run_check(*self.words(fd, *args, memory=memory), fds=[fd, *fds], **more)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        line = done.stdout.decode()
        self.assertEqual((line.count('\n'), line[-1]), (1, '\n'))
        return json.loads(line)

    def good(self, data, *args, **more):
        self.assertEqual(self.verdict(data, *args, **more), {})

    def good_signed(self, image, *args, pcr0=None):
        pcrs = image.pcrs()
        section = hashlib.sha384(image.sections[-1].data).hexdigest()
        self.assertEqual(self.verdict(image, *args),
                         {'signature': f'{pcr0 or pcrs[0]},{pcrs[8]},{section}'})

    def bad(self, code, text, data, *args, **more):
        self.assertEqual(self.verdict(data, *args, **more),
                         {'failure': {'code': code, 'text': text}})

    def unusable(self, text, data, *args):
        self.bad('image', f"the enclave image '{NAME}' cannot be used: {text}", data, *args)


class Options(CheckCase):
    def refuse(self, words, *args, **more):
        done = self.run_check(*args, **more)
        self.assertEqual((done.returncode, done.stdout), (1, b''))
        self.assertEqual(done.stderr.decode(), f'libvirt_nitro_check: {words}\n')

    def test_wrong(self):
        fd = self.file(b'x')
        whole = self.words(fd)
        for words, args in (
                ('Option --imagefd is unknown', ['--imagefd', '3']),
                ('Option --image is unknown', ['--image', '3']),
                ("Argument 'x' is not an option", ['x']),
                ('Option --memory lacks its value', ['--memory']),
                ('Option --cmdline takes no value, not \'x\'', ['--cmdline=x']),
                ('Option --expect-pcr8 is given twice', ['--expect-pcr8', '--expect-pcr8']),
                ("Value '99' of option --image-fd is not an open file descriptor",
                 ['--image-fd', '99']),
                ("Value '-1' of option --initrd-fd is not the number of a file descriptor",
                 ['--initrd-fd', '-1']),
                ("Value '1k' of option --memory is not a size in bytes", ['--memory=1k']),
                ("Value 's390x' of option --arch is neither 'x86_64' nor 'aarch64'",
                 ['--arch', 's390x']),
                ("Value 'ab' of option --expect-pcr0 has 2 hexadecimal digits where SHA-384 has 96",
                 ['--expect-pcr0', 'ab']),
                (f"Value '{'g' * 96}' of option --expect-pcr0 holds a character that is no "
                 'hexadecimal digit', ['--expect-pcr0', 'g' * 96]),
                *((f'Option {name} is missing', whole[:i] + whole[i + 2:])
                  for i, name in enumerate(whole) if i % 2 == 0)):
            with self.subTest(words):
                self.refuse(words, *args, fds=[fd])

    def test_texts(self):
        for option, word in (('--help', b'Usage: '), ('--version', b'libvirt_nitro_check ')):
            done = self.run_check(option)
            self.assertEqual((done.returncode, done.stderr), (0, b''))
            self.assertTrue(done.stdout.startswith(word))

    def test_documented(self):
        """the page of the manual has the options that --help has"""
        page = os.path.join(os.environ['LIBVIRT_NITRO_SOURCE'], 'docs', 'manpages',
                            'libvirt_nitro_check.rst')
        with open(page, encoding='utf-8') as text:
            documented = set(re.findall(r'``(--[a-z0-9-]+)``', text.read()))
        listed = set(re.findall(r'^  (--[a-z0-9-]+)', self.run_check('--help').stdout.decode(),
                                re.MULTILINE))
        self.assertEqual(documented, listed)

    def test_no_room(self):
        """a verdict that cannot be told is none"""
        fd = self.file(eifwriter.simple())
        with open('/dev/full', 'wb') as full:
            done = self.run_check(*self.words(fd), fds=[fd], stdout=full)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b'cannot tell the verdict', done.stderr)

    def test_unreadable(self):
        """what cannot be read is not taken for what is no EIF file"""
        fd = os.open(os.path.join(self.dir, 'write-only'), os.O_WRONLY | os.O_CREAT)
        self.open.append(fd)
        done = self.run_check(*self.words(fd), fds=[fd])
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, {'failure': {
            'code': 'image', 'text': f"the enclave image '{NAME}' cannot be used: Bad file "
                                     'descriptor'}}))


    def test_unconfined(self):
        """a kernel without filters of system calls: the image is not looked at"""
        self.bad('unsupported', 'The system calls of this process cannot be limited: Invalid '
                 'argument: use a kernel with seccomp filters', b'',
                 prefix=[sys.executable, refusecalls.__file__, 'seccomp=EINVAL'])
        self.refuse('Option --without is unknown', '--without', 'seccomp')


class Verdicts(CheckCase):
    def test_good(self):
        """images, signed ones, and what is no EIF file"""
        self.good(eifwriter.simple())
        self.good(b'')
        self.good(b'\x7fELF' + bytes(1000), '--initrd-fd=0', '--cmdline')
        for algorithm in eifsigner.ALGORITHMS:
            with self.subTest(algorithm):
                image = eifwriter.simple()
                pcr0 = image.pcrs()[0]
                signer = eifsigner.Signer(algorithm)
                self.good_signed(signer.sign(image))
                self.good_signed(signer.sign(image, encode=eifwriter.cbor_bytes),
                                 '--expect-pcr8', '--expect-pcr0', pcr0.upper())

    def test_measured_by_the_helper(self):
        """what was signed is told, also when the image is another"""
        self.good_signed(eifsigner.Signer().sign(eifwriter.simple(), pcr0=bytes(48)),
                         pcr0='00' * 48)

    def test_dates(self):
        for days, words in (((-9, -2), 'has expired on {0.end} UTC'),
                            ((2, 9), 'is not valid before {0.start} UTC')):
            signer = eifsigner.Signer(days=days)
            text = self.verdict(signer.sign(eifwriter.simple()))['failure']['text']
            self.assertIn(NAME, text)
            self.assertIn(words.format(signer), text)

    def test_wrong_signatures(self):
        signer = eifsigner.Signer()
        image = eifwriter.simple()
        wrong = ("the image's signature is wrong: it was not made with the certificate's key "
                 '(Public key signature verification has failed.)')
        self.unusable(wrong, signer.sign(image, change=lambda raw: raw[::-1]))
        self.unusable(wrong, signer.sign(image, context='Signature2'))
        self.unusable("the image's signature is wrong: it has 95 bytes, and one of ES384 has 96",
                      signer.sign(image, change=lambda raw: raw[1:]))
        signer.pem = eifsigner.rsa_certificate()
        self.unusable("the image's signature is wrong: it is an ES384 one, and the certificate's "
                      'key is not for that', signer.sign(image))

    def test_not_expected(self):
        image = eifwriter.simple()
        pcr0 = image.pcrs()[0]
        self.bad('image', f"the enclave image '{NAME}' is not the expected one: it is signed for "
                 f"the PCR0 {pcr0}, but {'ab' * 48} is expected", eifsigner.Signer().sign(image),
                 '--expect-pcr0', 'ab' * 48)
        self.bad('image', f"the enclave image '{NAME}' is not the expected one: it is not signed, "
                 'but a PCR8 is expected', image, '--expect-pcr8')
        # the helper measures it
        self.good(image, '--expect-pcr0', 'ab' * 48)

    def test_definition(self):
        """images that do not go with the domain"""
        self.bad('config', f"the enclave image '{NAME}' is for aarch64, but the domain's arch is "
                 'x86_64: change the arch of <type>, or build the image for x86_64', eifwriter.simple(flags=1))
        own = f"the enclave image '{NAME}' has a ramdisk and a command line of its own: remove <%s>"
        initrd = self.file(b'ramdisk')
        for args, element in ((['--cmdline'], 'cmdline'),
                              (['--initrd-fd', str(initrd), '--cmdline'], 'initrd')):
            self.bad('config', own % element, eifwriter.simple(), *args, fds=[initrd])

    def test_memory(self):
        """four times the files, in KiB that are not rounded down"""
        size = 20 << 20
        small = ("<memory> of %d KiB is too small for the image '" + NAME + "' of %d KiB: it must "
                 'be at least 4 times as large, %d KiB')
        self.good(bytes(size), memory=4 * size)
        self.bad('config', small % (80 << 10, (20 << 10) + 1, 82 << 10), bytes(size + 1),
                 memory=4 * size)
        initrd = self.file(bytes(size))
        self.bad('config', small % (80 << 10, 40 << 10, 160 << 10), bytes(size), '--initrd-fd',
                 str(initrd), fds=[initrd], memory=4 * size)
        # a file of 8 EiB: no sum wraps
        huge = self.file(b'')
        self.open.append(os.open(f'/proc/self/fd/{huge}', os.O_RDWR))
        os.ftruncate(self.open[-1], 1 << 43)
        self.bad('config', small % (1 << 20, 1 << 33, 1 << 35), b'', '--initrd-fd', str(huge),
                 fds=[huge], memory=1 << 30)

    def test_malformed(self):
        """each image of eifmalformed.py that its table of contents gives away"""
        for name, data, message in eifmalformed.HEADER:
            with self.subTest(name):
                if data.startswith(b'.eif'):
                    self.unusable(message, data)
                else:
                    self.good(data)

    def test_malformed_signatures(self):
        """each whose signature section is wrong; the rest is not read here"""
        count = 0
        for name, data, message in eifmalformed.CONTENT:
            with self.subTest(name):
                if 'signature section is wrong' in message:
                    self.unusable(message, data)
                    count += 1
        self.assertGreater(count, 40)
        self.unusable('the signature section has 1048577 bytes, more than the 1048576 that are '
                      'accepted', eifwriter.signed(signature=bytes(1048577)))

    def test_offset(self):
        """the descriptor's offset, which is the helper's as well, stays"""
        self.good(eifwriter.simple())
        self.assertEqual(os.lseek(self.open[-1], 0, os.SEEK_CUR), 0)


class Language(CheckCase):
    def text(self, **env):
        return self.verdict(eifwriter.simple(flags=1), env=env)['failure']['text']

    def test_language(self):
        """texts are in the daemon's language"""
        self.assertIn('für aarch64', self.text(**self.german('UTF-8')))
        self.assertIn('is for aarch64', self.text(LC_ALL='C', LANGUAGE='de'))

    def test_encoding(self):
        """and in UTF-8, whatever the daemon's encoding is"""
        self.assertIn('für aarch64', self.text(**self.german('ISO-8859-1')))


class Calls(CheckCase):
    """Which system calls there are once the image is read"""

    def calls(self, data, **env):
        """The calls, as strace writes them, from the filter on"""
        fd = self.file(data)
        log = os.path.join(self.dir, 'strace')
        # LeakSanitizer traces its own process, which only one can
        env = {'ASAN_OPTIONS': 'detect_leaks=0', **env}
        done = self.run_check(*self.words(fd), fds=[fd], env=env,
                              prefix=['strace', '-f', '-o', log])
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(log, encoding='utf-8', errors='replace') as lines:
            text = lines.read()
        self.assertRegex(text, r'openat\(', 'strace sees what is opened before')
        begin = text.index('SECCOMP_SET_MODE_FILTER')
        return [line.split(None, 1)[1] for line in text[begin:].splitlines()[1:]]

    def test_calls(self):
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        signer = eifsigner.Signer()
        image = eifwriter.simple()
        images = {'plain': image, 'signed': signer.sign(image),
                  'wrong': signer.sign(image, change=lambda raw: raw[::-1]),
                  'expired': eifsigner.Signer(days=(-9, -2)).sign(image),
                  'short': image.to_bytes()[:600], 'other': b'x'}
        german = self.german('UTF-8')
        locales = ({'LC_ALL': 'C.UTF-8'}, german, {**german, 'LANGUAGE': 'xx:fr:de'})
        for name, data in images.items():
            for env in locales:
                with self.subTest(f"{name} {env['LC_ALL']} {env.get('LANGUAGE', '')}"):
                    calls = self.calls(data, **env)
                    self.assertIn('pread64', [call.split('(')[0] for call in calls])
                    for call in calls:
                        if call.startswith('+++'):
                            continue
                        self.assertIsNone(FORBIDDEN.search(call.split('(')[0]), call)
                        if not SANITIZED:
                            self.assertIn(call.split('(')[0], ALLOWED, call)
                        if call.startswith('mmap'):
                            self.assertRegex(call, 'MAP_ANONYMOUS')
                            self.assertNotIn('PROT_EXEC', call)


class Speed(CheckCase):
    def test_speed(self):
        """a start waits for it"""
        fd = self.file(eifsigner.Signer().sign(eifwriter.simple()))
        took = []
        for _ in range(10):
            begin = time.monotonic()
            self.run_check(*self.words(fd), fds=[fd])
            took.append(time.monotonic() - begin)
        print(f'{sorted(took)[5] * 1000:.1f} ms')
        self.assertLess(min(took), 0.5)


if __name__ == '__main__':
    taprunner.main()
