# virteifcontainertest.py: virt-eif build --oci and --rootfs
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Images come from ociwriter.py, ramdisks are read by a reader of this file's own. Each hostile image
has to end in one sentence, without a file where the output is or beside it.
"""

import io
import itertools
import json
import lzma
import os
import pty
import random
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tarfile

import ociwriter
import taprunner
from ociwriter import device, directory, entry, hardlink, layer, symlink
from scratchcase import ScratchCase

TOOL = os.environ['VIRT_EIF']
SANITIZED = 'NITRO_TEST_SANITIZED' in os.environ

HOST = {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(os.uname().machine, 'amd64')
OTHER = {'amd64': 'arm64', 'arm64': 'amd64'}[HOST]

# Runs a program, and prints the peak of its resident memory in KiB
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class File:
    """A file of a ramdisk"""

    def __init__(self, fields, data):
        (self.ino, self.mode, self.uid, self.gid, self.nlink, self.mtime, _, _, _, self.major,
         self.minor) = fields[:11]
        self.data = data


def read_cpio(data):
    """The files of the ramdisk @data by their names, in order"""
    files = {}
    pos = 0
    while True:
        assert data[pos:pos + 6] == b'070701', data[pos:pos + 6]
        fields = [int(data[i:i + 8], 16) for i in range(pos + 6, pos + 110, 8)]
        size, length = fields[6], fields[11]
        name = data[pos + 110:pos + 110 + length - 1].decode('utf-8', 'surrogateescape')
        pos += (110 + length + 3) & ~3
        if name == 'TRAILER!!!':
            assert len(data) % 512 == 0 and not data[pos:].strip(b'\0')
            return files
        assert name not in files, name
        files[name] = File(fields, data[pos:pos + size])
        pos = (pos + size + 3) & ~3


class ContainerTest(ScratchCase):
    def setUp(self):
        super().setUp()
        # the output's own, so that nothing else may be in it
        os.mkdir(self.path('out'))
        self.out = self.path('out/out.eif')
        self.kernel = self.file('kernel', b'a kernel')
        self.init = self.file('init', b'an init')

    def archive(self, files, how=None, name='image.tar'):
        ociwriter.write_archive(self.path(name), files, how)
        return self.path(name)

    def run_tool(self, *args, env=None, out=None, **kwargs):
        return subprocess.run(
            [TOOL, 'build', '--kernel', self.kernel, '--init', self.init, '--output',
             out or self.out, *args], capture_output=True, timeout=120, check=False,
            env={**os.environ, 'LC_ALL': 'C.UTF-8', **(env or {})}, **kwargs)

    def describe(self, path):
        done = subprocess.run([TOOL, 'describe', '--json', path], capture_output=True, check=True)
        return json.loads(done.stdout)

    def ramdisks(self, path=None):
        with open(path or self.out, 'rb') as image:
            data = image.read()
        found = [data[section['Offset']:section['Offset'] + section['Size']]
                 for section in self.describe(path or self.out)['Sections']
                 if section['Type'] == 'ramdisk']
        self.assertEqual(len(found), 2)
        return [read_cpio(part) for part in found]

    def good(self, *args, warning='', **kwargs):
        """Builds; returns the files of the application's ramdisk."""
        done = self.run_tool(*args, **kwargs)
        self.assertEqual(done.stderr.decode(), f'warning: {warning}\n' if warning else '')
        self.assertEqual(done.returncode, 0)
        self.assertEqual(os.listdir(self.path('out')), ['out.eif'])
        return self.ramdisks()[1]

    def bad(self, message, *args, **kwargs):
        """Nothing is built; @message is a part of the one line that says why."""
        before = self.snapshot()
        done = self.run_tool(*args, **kwargs)
        text = done.stderr.decode()
        self.assertIn(message, text.replace(self.dir, 'DIR'))
        self.assertRegex(text, r'\Aerror: [^\n]*\n\Z')
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.snapshot(), before)

    def snapshot(self):
        """The names of all files of the test"""
        return sorted(os.path.join(at, name) for at, _, names in os.walk(self.dir)
                      for name in names)

    def image(self, *layers, how='gzip', **config):
        config.setdefault('architecture', HOST)
        config.setdefault('Cmd', ['/app'])
        return ociwriter.layout(list(layers), how=how, **config)

    def layers(self, *layers, **kwargs):
        """Builds an image with @layers."""
        return self.good('--oci', self.archive(self.image(*layers)), **kwargs)

    def bad_layers(self, message, *layers, extra=()):
        self.bad(message, '--oci', self.archive(self.image(*layers)), *extra)


class Layers(ContainerTest):
    def test_kinds(self):
        """Each kind of file, with its owner, mode and content"""
        files = self.layers(layer(
            directory('./', mode=0o711), directory('d', mode=0o1777, uid=5, gid=6),
            entry('d/f', b'content', mode=0o4755, uid=70000, gid=80000),
            symlink('d/s', '../over/there'), hardlink('d/z', 'd/f'), device('d/c', 1, 3),
            device('d/b', 8, 1, tarfile.BLKTYPE), entry('d/p', kind=tarfile.FIFOTYPE)))
        self.assertEqual(files['rootfs'].mode, stat.S_IFDIR | 0o711)
        at = {name: files[f'rootfs/d/{name}'] for name in 'fszcbp'}
        self.assertEqual((files['rootfs/d'].mode, files['rootfs/d'].uid, files['rootfs/d'].gid),
                         (stat.S_IFDIR | 0o1777, 5, 6))
        self.assertEqual((at['f'].mode, at['f'].uid, at['f'].gid, at['f'].data),
                         (stat.S_IFREG | 0o4755, 70000, 80000, b'content'))
        self.assertEqual((at['s'].mode, at['s'].data), (stat.S_IFLNK | 0o777, b'../over/there'))
        self.assertEqual((at['z'].ino, at['z'].nlink, at['z'].data), (at['f'].ino, 2, b''))
        self.assertEqual(at['f'].nlink, 2)
        self.assertEqual((at['c'].mode, at['c'].major, at['c'].minor), (stat.S_IFCHR | 0o644, 1, 3))
        self.assertEqual((at['b'].mode, at['b'].major, at['b'].minor), (stat.S_IFBLK | 0o644, 8, 1))
        self.assertEqual(at['p'].mode, stat.S_IFIFO | 0o644)
        numbers = [file.ino for name, file in files.items() if name != 'rootfs/d/z']
        self.assertEqual(len(set(numbers)), len(numbers))

    def test_order(self):
        """Names are in the order of their bytes, below their directories."""
        files = self.layers(layer(entry('b'), entry('a/z'), entry('a/B'), entry('a.b'),
                                  entry('\xe9')))
        names = [name for name in files if not name.startswith('rootfs/var')]
        wanted = ['rootfs', 'rootfs/a', 'rootfs/a/B', 'rootfs/a/z', 'rootfs/a.b', 'rootfs/b']
        self.assertEqual([name for name in names if name in wanted], wanted)
        self.assertEqual(names[-3:], ['rootfs/\xe9', 'user', 'workdir'])

    def test_whiteouts(self):
        """A layer hides what those below it have, and nothing of its own."""
        low = layer(directory('d'), entry('d/a', b'low'), entry('d/b', b'low'), entry('e/deep/x'),
                    entry('e/deep/y'), entry('f', b'low'), directory('g'), entry('g/in'))
        cases = {
            'one file': ([entry('d/.wh.a')], {'d', 'd/b', 'e', 'e/deep', 'e/deep/x', 'e/deep/y',
                                              'f', 'g', 'g/in'}),
            'a directory': ([entry('.wh.d'), entry('.wh.e')], {'f', 'g', 'g/in'}),
            'again': ([entry('.wh.f'), entry('f', b'new')],
                      {'d', 'd/a', 'd/b', 'e', 'e/deep', 'e/deep/x', 'e/deep/y', 'f', 'g', 'g/in'}),
            'opaque, before': ([entry('e/.wh..wh..opq'), entry('e/new')],
                               {'d', 'd/a', 'd/b', 'e', 'e/new', 'f', 'g', 'g/in'}),
            'opaque, behind': ([entry('e/deep/new'), entry('e/.wh..wh..opq')],
                               {'d', 'd/a', 'd/b', 'e', 'e/deep', 'e/deep/new', 'f', 'g', 'g/in'}),
            'all': ([entry('.wh..wh..opq'), entry('only')], {'only'}),
            'what is not there': ([entry('no/.wh.thing'), entry('.wh..wh.plnk')],
                                  {'d', 'd/a', 'd/b', 'e', 'e/deep', 'e/deep/x', 'e/deep/y', 'f',
                                   'g', 'g/in', 'no'}),
            'replaced': ([entry('d', b'file'), directory('f'), entry('f/x')],
                         {'d', 'e', 'e/deep', 'e/deep/x', 'e/deep/y', 'f', 'f/x', 'g', 'g/in'}),
        }
        own = {'dev', 'proc', 'run', 'sys', 'tmp', 'var'}
        for name, (entries, wanted) in cases.items():
            with self.subTest(name):
                files = self.layers(low, layer(*entries))
                found = {path[7:] for path in files if path.startswith('rootfs/')}
                self.assertEqual(found - own, wanted)
        files = self.layers(low, layer(entry('.wh.f'), entry('f', b'new')))
        self.assertEqual(files['rootfs/f'].data, b'new')

    def test_links_inside(self):
        """Links on the way lead to where they would in the container, and nowhere else."""
        target = self.file('target', b'of this machine')
        files = self.layers(layer(
            directory('usr/lib'), symlink('lib', 'usr/lib'), entry('lib/a', b'1'),
            symlink('up', '../../../..'), entry('up/b', b'2'), symlink('abs', '/usr'),
            entry('abs/c', b'3'), symlink('out', self.dir), entry('out/target', b'4'),
            symlink('hole', 'not/there'), entry('hole/d', b'5'), entry('/absolute', b'6')))
        for name, data in (('usr/lib/a', b'1'), ('b', b'2'), ('usr/c', b'3'),
                           (f'{self.dir[1:]}/target', b'4'), ('not/there/d', b'5'),
                           ('absolute', b'6')):
            with self.subTest(name.replace(self.dir[1:], 'DIR')):
                self.assertEqual(files[f'rootfs/{name}'].data, data)
        with open(target, 'rb') as f:
            self.assertEqual(f.read(), b'of this machine')

    def test_names(self):
        """Names are bytes, whatever the locale and the form of the archive."""
        name = 'na\u00efve-na\u0308ive-\udcff'
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode='w', format=form, encoding='utf-8',
                              errors='surrogateescape') as archive:
                archive.addfile(*[entry(name if form == tarfile.GNU_FORMAT else name[:-1])[0]])
            images = set()
            for locale in ('C', 'C.UTF-8', 'POSIX'):
                with self.subTest(form=form, locale=locale):
                    files = self.layers(out.getvalue(), env={'LC_ALL': locale})
                    self.assertTrue({f'rootfs/{name}', f'rootfs/{name[:-1]}'} & set(files), files)
                    with open(self.out, 'rb') as image:
                        images.add(image.read())
            self.assertEqual(len(images), 1)

    def test_sparse(self):
        """The holes of a file are zeros."""
        for start in (b'', os.urandom(81920)):
            for form in ('gnu', 'posix'):
                with self.subTest(len(start), form=form):
                    with open(self.path('sparse'), 'wb') as f:
                        f.write(start)
                        f.seek(300000)
                        f.write(b'end')
                        f.truncate(500000)
                    subprocess.run(['tar', '-C', self.dir, '-S', f'--format={form}', '-cf',
                                    self.path('sparse.tar'), 'sparse', 'kernel'], check=True)
                    files = self.good('--rootfs', self.path('sparse.tar'), '--cmd', 'x')
                    self.assertEqual(files['rootfs/sparse'].data,
                                     start.ljust(300000, b'\0') + b'end' + bytes(199997))
                    self.assertEqual(files['rootfs/kernel'].data, b'a kernel')

    def test_contents(self):
        """Contents are the same, wherever they are kept."""
        numbers = random.Random(7)
        sizes = [0, 1, 511, 512, 513, 65535, 65536, 65537, 200000] + [
            numbers.randrange(90000) for _ in range(150)]
        wanted = {}
        entries = []
        for number, size in enumerate(sizes):
            # long names have headers of their own, of all lengths
            name = f'{number}-' + 'n' * numbers.randrange(200)
            wanted[f'rootfs/{name}'] = numbers.randbytes(size)
            info, data = entry(name, wanted[f'rootfs/{name}'])
            info.pax_headers = {'comment': 'c' * numbers.randrange(3000)}
            entries.append((info, data))
        data = layer(*entries)
        images = set()
        for how in (None, 'gzip', 'zstd'):
            with self.subTest(how):
                files = self.good('--rootfs', self.file('root.tar', ociwriter.compress(data, how)),
                                  '--cmd', 'x')
                self.assertEqual({name: files[name].data for name in wanted}, wanted)
                with open(self.out, 'rb') as image:
                    images.add(image.read())
        self.assertEqual(len(images), 1)

    def test_contents_of_two_sizes(self):
        """The size that an entry says is not what it has in the archive."""
        content = os.urandom(200000)

        def root(size, length):
            info, data = entry('f', content[:length])
            info.pax_headers = {'SCHILY.realsize': str(size)}
            return '--rootfs', self.file('root.tar', layer((info, data), entry('g', b'next')))

        for length in (700, 70000, 200000):
            for more in (1, 511, 512, 70000):
                with self.subTest('a hole at the end', length=length, more=more):
                    files = self.good(*root(length + more, length), '--cmd', 'x')
                    self.assertEqual(files['rootfs/f'].data, content[:length] + bytes(more))
                    self.assertEqual(files['rootfs/g'].data, b'next')
            with self.subTest('too much', length=length):
                self.bad("'f' in 'DIR/root.tar' has more bytes than its size",
                         *root(length - 600, length), '--cmd', 'x')

    def test_cut_off(self):
        """An archive that ends early, in contents that are passed over as well"""
        whole = layer(entry('f', os.urandom(300000)), entry('g', b'x'))
        for size in (100, 1000, 70000, 131072, 200000, 300500, 300600, 301100, 301568 + 100):
            with self.subTest(size):
                self.bad("cannot unpack 'DIR/root.tar'", '--rootfs',
                         self.file('root.tar', whole[:size]), '--cmd', 'x')

    def test_xattrs(self):
        info, data = entry('ping', b'x')
        info.pax_headers = {'SCHILY.xattr.security.capability': 'abc'}
        self.layers(layer((info, data)), warning='a ramdisk holds no extended attributes: 1 files '
                    "lose theirs, 'ping' is the first")


class Images(ContainerTest):
    ONE = layer(entry('app', b'program', mode=0o755))

    def test_forms(self):
        """The same image in each form is the same enclave."""
        images = set()
        for how in ('gzip', 'zstd', None):
            files = self.image(self.ONE, how=how)
            ociwriter.write_directory(self.path(f'layout-{how}'), files)
            for path in (self.path(f'layout-{how}'), self.archive(files),
                         self.archive(files, 'gzip', 'image.tar.gz'),
                         self.archive(dict(reversed(files.items())), 'zstd', 'image.tar.zst')):
                with self.subTest(how=how, path=os.path.basename(path)):
                    self.good('--oci', path)
                    images.add(self.describe(self.out)['Measurements']['PCR2'])
        self.good('--oci', self.archive(ociwriter.docker([self.ONE], architecture=HOST,
                                                         Cmd=['/app'])))
        images.add(self.describe(self.out)['Measurements']['PCR2'])
        self.assertEqual(len(images), 1)

    def test_docker_links(self):
        """An archive by Docker has a layer twice as a link."""
        files = ociwriter.docker([self.ONE, self.ONE], architecture=HOST, Cmd=['/app'])
        del files['1/layer.tar']
        entries = [entry(name, data) for name, data in files.items()]
        for link in (symlink('1/layer.tar', '../0/layer.tar'),
                     hardlink('1/layer.tar', '0/layer.tar')):
            with self.subTest(link[0].type):
                path = self.file('image.tar', layer(link, *entries))
                self.assertIn('rootfs/app', self.good('--oci', path))
        self.bad('is a link that leads nowhere', '--oci', self.file('image.tar', layer(
            symlink('1/layer.tar', '../0/layer.tar'), symlink('0/layer.tar', '../1/layer.tar'),
            *(one for one in entries if one[0].name != '0/layer.tar'))))

    def test_tags(self):
        files = {}
        items = []
        for tag in ('one', 'two:x'):
            image = ociwriter.manifest(files, [self.ONE], ociwriter.configuration(
                [self.ONE], HOST, Cmd=[f'/{tag}']))
            items.append(ociwriter.descriptor(image, annotations={
                'org.opencontainers.image.ref.name': tag}))
        files['index.json'] = json.dumps({'manifests': items}).encode()
        path = self.archive(files)
        for tag in ('one', 'two:x'):
            with self.subTest(tag):
                self.assertEqual(self.good('--oci', f'{path}:{tag}')['cmd'].data.decode(),
                                 f'/{tag}\n')
                self.assertEqual(self.describe(self.out)['Metadata']['ImageName'], tag)
        os.unlink(self.out)
        self.bad(f"has 2 images for {HOST}, name one by its tag: one, two:x", '--oci', path)
        self.bad(f"has no image three for {HOST}, but: one, two:x", '--oci', f'{path}:three')
        self.bad("cannot open 'DIR/none.tar:one'", '--oci', self.path('none.tar:one'))
        path = self.archive(ociwriter.docker([self.ONE], ['registry/hello:1.0'], architecture=HOST,
                                             Cmd=['/app']))
        self.good('--oci', f'{path}:registry/hello:1.0')
        self.good('--oci', f'{path}:1.0')
        os.unlink(self.out)
        self.bad('has no image 2.0, but: registry/hello:1.0', '--oci', f'{path}:2.0')

    def test_architectures(self):
        """Of an index, the image for this machine or for --arch; attestations are no images."""
        files = {}
        items = [ociwriter.descriptor(b'{}', platform={'architecture': 'unknown', 'os': 'unknown'})]
        files[ociwriter.blob_name(b'{}')] = b'{}'
        for arch in ('amd64', 'arm64'):
            image = ociwriter.manifest(files, [self.ONE], ociwriter.configuration(
                [self.ONE], arch, Cmd=[f'/{arch}']))
            items.append(ociwriter.descriptor(image, platform={'architecture': arch,
                                                               'os': 'linux'}))
        inner = json.dumps({'manifests': items}).encode()
        files[ociwriter.blob_name(inner)] = inner
        files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(inner)]}).encode()
        path = self.archive(files)
        for words, arch in (([], HOST), (['--arch', 'x86_64'], 'amd64'),
                            (['--arch', 'aarch64'], 'arm64')):
            with self.subTest(words):
                self.assertEqual(self.good('--oci', path, *words)['cmd'].data.decode(),
                                 f'/{arch}\n')
                self.assertEqual(self.describe(self.out)['Architecture'],
                                 {'amd64': 'x86_64', 'arm64': 'aarch64'}[arch])

    def test_architecture_of_one(self):
        """The architecture is the image's; --arch must not say another."""
        path = self.archive(self.image(self.ONE, architecture=OTHER))
        self.good('--oci', path)
        name = {'amd64': 'x86_64', 'arm64': 'aarch64'}
        self.assertEqual(self.describe(self.out)['Architecture'], name[OTHER])
        os.unlink(self.out)
        self.bad(f"is for the architecture '{OTHER}', not for '{name[HOST]}' as --arch says",
                 '--oci', path, '--arch', name[HOST])
        self.bad("is for the architecture 's390x': enclaves are of amd64 or arm64", '--oci',
                 self.archive(self.image(self.ONE, architecture='s390x')))

    def test_default_init(self):
        """The project's init is the default; there is one for this machine's architecture."""
        path = self.archive(self.image(self.ONE))
        done = subprocess.run([TOOL, 'build', '--kernel', self.kernel, '--oci', path, '--output',
                               self.out], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        name = {'amd64': 'x86_64', 'arm64': 'aarch64'}
        with open(os.path.join(os.environ['VIRT_EIF_INITDIR'], f'init-{name[HOST]}'), 'rb') as f:
            self.assertEqual(self.ramdisks()[0]['init'].data, f.read())
        done = subprocess.run([TOOL, 'build', '--kernel', self.kernel, '--oci', self.archive(
            self.image(self.ONE, architecture=OTHER)), '--output', self.out], capture_output=True,
            check=False, env={**os.environ, 'LC_ALL': 'C', 'VIRT_EIF_INITDIR': self.path('out')})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.decode(), f"error: there is no init for {name[OTHER]} here "
                         f"('{self.path('out')}/init-{name[OTHER]}'): --init names one\n")


class Configuration(ContainerTest):
    PASSWD = (b'root:x:0:0:root:/root:/bin/sh\nnobody\napp:x:10:20:a:/home/app:/bin/sh\n'
              b'1000:x:11:21::/:/\nbad:x:9:x:::\n')
    GROUP = b'root:x:0:\napp:x:20:app\nwheel:x:7:root,app\nother:x:8:root\n'
    ROOT = layer(entry('etc/passwd', PASSWD), entry('etc/group', GROUP))

    def config(self, *args, root=None, **config):
        return self.good('--oci', self.archive(self.image(root or self.ROOT, **config)), *args)

    def test_command(self):
        for wanted, args, config in (
                ('/app\n', [], {}),
                ('/e\na\n/app\nb\n', [], {'Entrypoint': ['/e', 'a'], 'Cmd': ['/app', 'b']}),
                ('/e\n', [], {'Entrypoint': ['/e'], 'Cmd': None}),
                ('/x\n\na b\n', ['--cmd', "/x '' 'a b'"], {'Entrypoint': ['/e']}),
                ('\xe9\n', [], {'Cmd': ['\xe9']})):
            with self.subTest(wanted):
                self.assertEqual(self.config(*args, **config)['cmd'].data.decode(), wanted)

    def test_newline(self):
        """Words with newlines are for the project's own init."""
        path = self.archive(self.image(self.ROOT, Cmd=['sh', '-c', 'a\nb'], Env=['A=x\ny']))
        self.bad('a word for the file /cmd has a newline, which other inits than the default one '
                 'cannot read', '--oci', path)
        done = subprocess.run([TOOL, 'build', '--kernel', self.kernel, '--oci', path, '--output',
                               self.out], capture_output=True, check=False)
        self.assertEqual(done.stderr, b'')
        files = self.ramdisks()[1]
        self.assertEqual(files['cmd'].data, b'sh\0-c\0a\nb\0')
        self.assertIn(b'\0A=x\ny\0', files['env'].data)

    def test_environment(self):
        path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
        for wanted, args, config in (
                ([path, 'HOME=/root'], [], {}),
                (['PATH=/p', 'HOME=/root', 'A=1', 'B='], [], {'Env': ['A=1', 'PATH=/p', 'B=']}),
                ([path, 'HOME=/h', 'A=3', 'AA=1'], ['--env', 'A=3', '--env', 'HOME=/h'],
                 {'Env': ['A=1', 'AA=1']}),
                ([path, 'HOME=/home/app'], [], {'User': 'app'})):
            with self.subTest(wanted):
                self.assertEqual(self.config(*args, **config)['env'].data.decode().splitlines(),
                                 wanted)

    def test_user(self):
        for user, wanted in (('', '0 0 7 8'), ('app', '10 20 7'), ('app:wheel', '10 7'),
                             ('app:99', '10 99'), ('10', '10 20 7'), ('5', '5 0'),
                             ('5:app', '5 20'),
                             ('1000', '11 21'), ('4294967294:1', '4294967294 1')):
            with self.subTest(user):
                self.assertEqual(self.config(User=user)['user'].data.decode(), f'{wanted}\n')
                self.assertEqual(self.config('--user', user, User='bad')['user'].data.decode(),
                                 f'{wanted}\n')
        os.unlink(self.out)
        for user, message in (('who', "/etc/passwd has no user 'who'"),
                              ('app:who', "/etc/group has no group 'who'"),
                              ('bad', "the user 'bad' has no number of a group"),
                              ('4294967295', "/etc/passwd has no user '4294967295'"),
                              ('-1', "/etc/passwd has no user '-1'")):
            with self.subTest(user):
                self.bad(message, '--oci', self.archive(self.image(self.ROOT, User=user)))

    def test_user_link(self):
        """/etc/passwd is looked up inside the image."""
        files = self.config(User='in', root=layer(
            symlink('etc', '/../real'), entry('real/p', b'in:x:3:4::/:\n'),
            symlink('real/passwd', '/real/p'), symlink('real/group', f'{self.dir}/kernel')))
        self.assertEqual(files['user'].data, b'3 4\n')

    def test_directory(self):
        for wanted, args, config in (('/', [], {}), ('/srv/a', [], {'WorkingDir': '/srv/a'}),
                                     ('/rel', [], {'WorkingDir': 'rel'}),
                                     ('/b', ['--workdir', '/b'], {'WorkingDir': '/srv/a'})):
            with self.subTest(wanted):
                files = self.config(*args, **config)
                self.assertEqual(files['workdir'].data.decode(), f'{wanted}\n')
                self.assertIn(f'rootfs{wanted}'.rstrip('/'), files)
        os.unlink(self.out)
        self.bad("'/etc/passwd' in the image is not a directory", '--oci',
                 self.archive(self.image(self.ROOT)), '--workdir', '/etc/passwd')
        self.bad("leads out of its directory by '..'", '--oci', self.archive(self.image(self.ROOT)),
                 '--workdir', '/../x')

    def test_metadata(self):
        custom = self.file('custom', b'{"mine": [1, 2]}')
        path = self.archive(self.image(self.ROOT, User='app', WorkingDir='/w'))
        self.good('--oci', path, '--name', 'n\xe4me', '--version', '2', '--metadata', custom,
                  env={'SOURCE_DATE_EPOCH': '86400'})
        data = self.describe(self.out)['Metadata']
        self.assertEqual((data['ImageName'], data['ImageVersion']), ('n\xe4me', '2'))
        self.assertEqual(data['CustomMetadata'], {'mine': [1, 2]})
        self.assertEqual({name: data['BuildMetadata'][name] for name in (
            'BuildTime', 'BuildTool', 'OperatingSystem', 'KernelVersion')},
            {'BuildTime': '1970-01-02T00:00:00Z', 'BuildTool': 'virt-eif',
             'OperatingSystem': 'Linux', 'KernelVersion': 'unknown'})
        self.assertEqual(data['DockerInfo']['Config'], {'User': 'app', 'Cmd': ['/app'],
                                                        'WorkingDir': '/w'})
        self.assertEqual({file.mtime for file in self.ramdisks()[1].values()}, {86400})

    def test_metadata_alone(self):
        """Name and version are for images of other ramdisks, too."""
        custom = self.file('custom', b'{"mine": 1}')
        for words, custom_metadata in ((['--name', 'x'], {}),
                                       (['--version', '7', '--metadata', custom], {'mine': 1})):
            with self.subTest(words[0]):
                subprocess.run([TOOL, 'build', '-k', self.kernel, '-r', self.init, '-o', self.out,
                                *words], check=True)
                data = self.describe(self.out)['Metadata']
                self.assertEqual((data['ImageName'], data['ImageVersion']),
                                 ('x', '1.0') if len(words) == 2 else ('unnamed', '7'))
                self.assertEqual((data['CustomMetadata'], data['DockerInfo']),
                                 (custom_metadata, {}))

    def test_modules(self):
        """Modules are unpacked, and listed in the order given; nsm.ko is where AWS's init looks."""
        paths = [self.file('b.ko', b'module b'), self.file('a.ko.xz', lzma.compress(b'module a')),
                 self.file('nsm.ko', b'module nsm')]
        self.config(*(word for path in paths for word in ('--module', path)))
        files = self.ramdisks()[0]
        self.assertEqual(files['lib/modules/load-order'].data, b'b.ko\na.ko\n')
        self.assertEqual({name: files[name].data for name in (
            'lib/modules/a.ko', 'lib/modules/b.ko', 'nsm.ko', 'init')}, {
                'lib/modules/a.ko': b'module a', 'lib/modules/b.ko': b'module b',
                'nsm.ko': b'module nsm', 'init': b'an init'})

    @staticmethod
    def module(depends, info=b'license=GPL\0'):
        """A file with a section of a module"""
        names = b'\0.modinfo\0.shstrtab\0'
        data = info + b'depends=' + depends + b'\0'
        body = data + names
        start = 64 + len(body) + -len(body) % 8
        header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 1, 62, 1, 0, 0, start, 0, 64,
                             0, 0, 64, 3, 2)
        sections = bytes(64) + struct.pack('<IIQQQQIIQQ', 1, 1, 0, 0, 64, len(data), 0, 0, 1, 0) + \
            struct.pack('<IIQQQQIIQQ', 10, 3, 0, 0, 64 + len(data), len(names), 0, 0, 1, 0)
        return header + body + bytes(-len(body) % 8) + sections

    def test_module_names(self):
        """Modules are found by their names, with what they need in front."""
        where = self.path('modules')
        os.makedirs(os.path.join(where, 'kernel/drivers'))
        self.file('modules/kernel/top-one.ko', self.module(b'mid_two,low'))
        self.file('modules/kernel/drivers/mid_two.ko.xz', lzma.compress(self.module(b'low')))
        self.file('modules/low.ko', self.module(b''))
        os.symlink('/', os.path.join(where, 'build'))
        own = self.file('own.ko', b'own')
        words = ['--module-dir', where]
        self.config(*words, '--module', own, '--module', 'top_one', '--module', 'low')
        files = self.ramdisks()[0]
        self.assertEqual(files['lib/modules/load-order'].data,
                         b'own.ko\nlow.ko\nmid_two.ko\ntop-one.ko\n')
        self.assertEqual(files['lib/modules/mid_two.ko'].data, self.module(b'low'))
        os.unlink(self.out)
        self.file('modules/loop.ko', self.module(b'loop'))
        self.file('modules/lacks.ko', self.module(b'none'))
        good = self.module(b'low')
        for number, wrong in enumerate([
                b'no ELF', good[:200], good[:40] + b'\xff' * 8 + good[48:],
                good[:-64] + b'\xff' * 64, good.replace(b'depends', b'dopends')]):
            self.file(f'modules/wrong{number}.ko', wrong)
        path = self.archive(self.image(self.ROOT))
        for name, message in (('loop', "'loop' needs too many others, or itself"),
                              ('lacks', "there is no module 'none' in 'DIR/modules'"),
                              *((f'wrong{number}', 'is no module of a kernel')
                                for number in range(5))):
            with self.subTest(name):
                self.bad(message, '--oci', path, *words, '--module', name)
        self.bad("'low' is the name of a module: --module-dir says where", '--oci', path,
                 '--module', 'low')
        self.bad('Error opening directory', '--oci', path, '--module', 'low', '--module-dir', own)

    def test_options(self):
        path = self.archive(self.image(self.ROOT))
        for message, *args in (
                ('options --oci and --rootfs exclude each other', '--oci', path, '--rootfs', '/x'),
                ('option --ramdisk is not for --oci', '--oci', path, '--ramdisk', self.kernel),
                ('option --max-size must be 1 to', '--oci', path, '--max-size', '0'),
                ("'A' is no variable of an environment", '--oci', path, '--env', 'A'),
                ("'=A' is no variable of an environment", '--oci', path, '--env', '=A'),
                ("the command '\"x' cannot be taken apart", '--oci', path, '--cmd', '"x'),
                ('a root directory has no command: --cmd says', '--rootfs', self.path('out')),
                ("'/dev/null' is neither a directory nor", '--rootfs', '/dev/null', '--cmd', 'x'),
                ("'/dev/null' is neither a directory nor", '--oci', '/dev/null'),
                ("'DIR/out' is no container image: it has neither", '--oci', self.path('out')),
                ("'DIR/init' is empty", '--oci', path, '--init', self.file('init', b''))):
            with self.subTest(message):
                self.bad(message, *args)
        self.bad('SOURCE_DATE_EPOCH is \'today\': it must be seconds', '--oci', path,
                 env={'SOURCE_DATE_EPOCH': 'today'})
        self.bad('neither an Entrypoint nor a Cmd: --cmd says', '--oci',
                 self.archive(self.image(self.ROOT, Cmd=[])))
        done = subprocess.run([TOOL, 'build', '-k', self.kernel, '-o', self.out, '--user', 'x'],
                              capture_output=True, check=False, env={**os.environ, 'LC_ALL': 'C'})
        self.assertEqual(done.stderr, b'error: option --user is for --oci and --rootfs only\n')


class Same(ContainerTest):
    """The same input gives the same bytes."""

    def tree(self, path, names):
        """A root directory, whose files are made in the order of @names"""
        os.makedirs(os.path.join(path, 'etc'))
        for name in names:
            with open(os.path.join(path, name), 'wb') as f:
                f.write(name.encode() * 1000)
            os.chmod(os.path.join(path, name), 0o644)
        os.link(os.path.join(path, 'b'), os.path.join(path, 'etc/z'))
        os.symlink('b', os.path.join(path, 'link'))
        for at in (path, os.path.join(path, 'etc')):
            os.chmod(at, 0o755)

    def build_all(self, *args):
        """The images that others than root, elsewhere, at another time build: their bytes"""
        users = [None]
        if os.geteuid() == 0:
            users.append(65534)
            os.chmod(self.dir, 0o711)
            os.chmod(self.path('out'), 0o777)
        for number, (user, zone, mask, locale) in enumerate(
                [(users[0], 'UTC', 0o22, 'C'), (users[-1], 'Asia/Tokyo', 0o77, 'C.UTF-8')]):
            out = self.path(f'out/{number}.eif')
            done = self.run_tool(*args, out=out, cwd=['/', self.dir][number], user=user, umask=mask,
                                 env={'TZ': zone, 'LC_ALL': locale})
            self.assertEqual((done.stderr, done.returncode), (b'', 0))
            with open(out, 'rb') as f:
                yield f.read()
            os.unlink(out)

    def test_archive(self):
        entries = [entry(f'd{number}/f', b'%d' % number, mtime=number) for number in range(20)]
        path = self.archive(self.image(layer(*entries)))
        first, second = self.build_all('--oci', path)
        self.assertEqual(first, second)
        random.Random(1).shuffle(entries)
        shuffled = layer(*(entry(info.name, data, mtime=7) for info, data in entries))
        path = self.archive(self.image(shuffled))
        self.good('--oci', path)
        with open(self.out, 'rb') as f:
            data = f.read()
        self.assertEqual(self.describe(self.out)['Measurements']['PCR2'],
                         self.measure(first)['PCR2'])
        self.assertEqual(len(data), len(first))

    def measure(self, data):
        return self.describe(self.file('measured', data))['Measurements']

    def test_directory(self):
        names = [f'n{number}' for number in range(50)] + ['b', 'etc/passwd']
        self.tree(self.path('one'), names)
        self.tree(self.path('two'), reversed(names))
        images = set()
        for name in ('one', 'two'):
            images.update(self.build_all('--rootfs', self.path(name), '--cmd', 'x'))
        self.assertEqual(len(images), 1)


class Directory(ContainerTest):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path('root/d'))

    def build(self, **kwargs):
        return self.good('--rootfs', self.path('root'), '--cmd', 'x', **kwargs)

    def test_kinds(self):
        self.file('root/d/f', b'content')
        os.chmod(self.path('root/d/f'), 0o2750)
        os.link(self.path('root/d/f'), self.path('root/a'))
        os.symlink('/etc/passwd', self.path('root/s'))
        os.mkfifo(self.path('root/p'), 0o600)
        self.file('root/.wh.x', b'no whiteout')
        files = self.build()
        self.assertEqual((files['rootfs/a'].data, files['rootfs/d/f'].data), (b'content', b''))
        self.assertEqual(files['rootfs/a'].ino, files['rootfs/d/f'].ino)
        self.assertEqual(files['rootfs/d/f'].mode, stat.S_IFREG | 0o2750)
        self.assertEqual(files['rootfs/s'].data, b'/etc/passwd')
        self.assertEqual(files['rootfs/p'].mode, stat.S_IFIFO | 0o600)
        self.assertEqual(files['rootfs/.wh.x'].data, b'no whiteout')
        self.assertEqual({(file.uid, file.gid) for file in files.values()}, {(0, 0)})

    def test_socket(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.path('root/d/sock'))
            files = self.build(warning="sockets are left out: 1, 'd/sock' is the first")
        self.assertNotIn('rootfs/d/sock', files)

    def test_xattrs(self):
        self.file('root/d/f', b'')
        try:
            os.setxattr(self.path('root/d/f'), 'user.test', b'x')
        except OSError as error:
            self.skipTest(f'no extended attributes in {self.dir}: {error}')
        self.build(warning="a ramdisk holds no extended attributes: 1 files lose theirs, 'd/f' is "
                   'the first')

    def test_owner(self):
        if os.geteuid() != 0:
            self.skipTest('only root makes files of others')
        self.file('root/d/f', b'')
        os.chown(self.path('root/d/f'), 4711, 0)
        self.build(warning="all files of a directory get the owner root: 1 have another, 'd/f' is "
                   'the first; a tar archive keeps owners')

    def test_unreadable(self):
        if os.geteuid() == 0:
            kwargs = {'user': 65534}
            os.chmod(self.path('out'), 0o777)
            os.chmod(self.dir, 0o711)
        else:
            kwargs = {}
        self.file('root/d/secret', b'x')
        os.chmod(self.path('root/d/secret'), 0)
        self.bad("cannot open 'd/secret': Permission denied", '--rootfs', self.path('root'),
                 '--cmd', 'x', **kwargs)


class Progress(ContainerTest):
    def test_terminal(self):
        """A layer that takes long is told on a terminal; what is interrupted leaves nothing."""
        size = 1 << 40
        digest = 'sha256:' + '0' * 64
        files = self.image(layer(entry('f')))
        image = json.loads(next(data for data in files.values() if b'"layers": [' in data and
                                b'"config"' in data))
        image['layers'][0].update(digest=digest, size=size)
        text = json.dumps(image).encode()
        files[ociwriter.blob_name(text)] = text
        files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(text)]}).encode()
        ociwriter.write_directory(self.path('layout'), files)
        # the end of an archive, and a terabyte behind it
        with open(self.path('layout/blobs/' + digest.replace(':', '/')), 'wb') as f:
            f.truncate(size)
        before = self.snapshot()

        terminal, slave = pty.openpty()
        with subprocess.Popen([TOOL, 'build', '--kernel', self.kernel, '--output', self.out,
                               '--max-size', '1048576', '--oci', self.path('layout')],
                              stderr=slave, stdout=slave) as child:
            os.close(slave)
            got = os.read(terminal, 4096)
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(60), -signal.SIGINT)
        os.close(terminal)
        self.assertRegex(got, rb'^\rReading: \[  \d %\]')
        self.assertEqual(self.snapshot(), before)


class Hostile(ContainerTest):
    def test_paths(self):
        for message, *entries in (
                ("the path '../x' leads out of its directory by '..'", entry('../x')),
                ("the path 'a/../../x' leads out", entry('a/../../x')),
                ("the path '/../' leads out", directory('/..')),
                ("the path '../.' leads out", entry('../.wh..wh..opq')),
                ("'.wh..' in layer", entry('.wh..')), ("hides no file", entry('d/.wh...')),
                ("hides no file", entry('.wh.')),
                ("'h' is a hard link to 'none', which does not exist", hardlink('h', 'none')),
                ("the path '../../etc/passwd' leads out", hardlink('h', '../../etc/passwd')),
                ("'h' is a hard link to '/etc/passwd', which does not",
                 hardlink('h', '/etc/passwd')),
                ("'h' is a hard link to 'd', which is a directory", directory('d'),
                 hardlink('h', 'd')),
                ("'a' is a hard link to 'b', which does not exist", hardlink('a', 'b'),
                 hardlink('b', 'a')),
                ("'a' is a hard link to 'a', which does not exist", hardlink('a', 'a')),
                ("the path 'a' leads through more than 40 symbolic links", symlink('a', 'b'),
                 symlink('b', 'a'), entry('a/f')),
                ("the path 'f/x' leads through 'f', which is not a directory", entry('f'),
                 entry('f/x')),
                ('the root of the image is not a directory', entry('.')),
                ("leads to a path of 0 bytes", symlink('s', '')),
                ('a name in the path', entry('n' * 256)),
                ('is longer than the 4095 bytes', entry('/'.join(['d' * 200] * 21))),
                (r"\x1b[31m", entry('../\x1b[31m'))):
            with self.subTest(message):
                self.bad_layers(message, layer(*entries))

    def test_docker_names(self):
        """Names of files in a manifest stay inside, and cannot control a terminal."""
        one = layer(entry('f'))
        other = self.file('other.tar', one)
        for name in (other, '../other.tar', 'x/../../other.tar'):
            with self.subTest(name.replace(self.dir, 'DIR')):
                files = ociwriter.docker([one], architecture=HOST, Cmd=['/app'])
                manifest = json.loads(files['manifest.json'])
                manifest[0]['Layers'] = [name]
                files['manifest.json'] = json.dumps(manifest).encode()
                shutil.rmtree(self.path('docker'), ignore_errors=True)
                ociwriter.write_directory(self.path('docker'), files)
                self.bad("which leads out of its directory", '--oci', self.path('docker'))
                self.bad("has no file '", '--oci', self.archive(files))
        manifest[0]['Layers'] = ['\x1b[31m\n']
        self.bad(r"has no file '\x1b[31m\x0a'", '--oci', self.archive(
            {**files, 'manifest.json': json.dumps(manifest).encode()}))
        self.bad(r"has no user '\x1b[31m'", '--oci', self.archive(self.image(one, User='\x1b[31m')))
        self.bad(r"the path '/a/\x07/..' leads out", '--oci', self.archive(
            self.image(one, WorkingDir='/a/\x07/..')))

    def test_deep(self):
        """A path that grows by links"""
        deep = '/'.join(['x'] * 1000)
        entries = [directory(deep), symlink(f'{deep}/l', deep)]
        entries += [symlink('m', f'{deep}/n'), symlink(f'{deep}/n', deep[:1998])]
        self.layers(layer(*entries, entry('m/f', b'')))
        os.unlink(self.out)
        self.bad_layers('is longer than the 4095 bytes', layer(
            directory(deep), directory(f'{deep}/y'), symlink('m', f'{deep}/y'),
            entry('m/' + deep + '/z/' + 'x/' * 60 + 'f')))
        one = layer(directory(f'{deep}/y'), symlink('m', f'{deep}/y'))
        self.bad(f"the path '/m/{'y/' * 98}y...' is longer than the 4095 bytes", '--oci',
                 self.archive(self.image(one, WorkingDir='/m/' + '/'.join(['y'] * 1100))))

    def test_link_itself(self):
        """A second name of a file that takes its place is no harm."""
        files = self.layers(layer(entry('a', b'x'), hardlink('a', 'a')))
        self.assertEqual((files['rootfs/a'].data, files['rootfs/a'].nlink), (b'x', 1))

    def test_bombs(self):
        """What unpacks to more than the limit ends there."""
        zeros = bytes(3 * 1024 * 1024)
        limit = ('--max-size', '2')
        for how in ('gzip', 'zstd'):
            with self.subTest(how):
                path = self.archive(self.image(layer(entry('f', zeros)), how=how))
                self.bad('--max-size sets another limit', '--oci', path, *limit)
        with self.subTest('many layers'):
            one = layer(entry('f', zeros[:1024 * 1024]))
            self.bad('--max-size sets another limit', '--oci', self.archive(
                self.image(one, one, one)), *limit)
        with self.subTest('behind the end of the archive'):
            self.bad_layers('unpacks to more than the 2097152 bytes', layer(entry('f')) + zeros,
                            extra=limit)
        with self.subTest('behind the end of an archive that stays where it is'):
            path = self.file('root.tar', layer(entry('f', zeros[:1 << 20])) + zeros[:1 << 20])
            self.bad('unpacks to more than the 2097152 bytes', '--rootfs', path, '--cmd', 'x', *limit)
        with self.subTest('outside'):
            files = {'big': zeros, **self.image(layer(entry('f')))}
            self.bad('--max-size sets another limit', '--oci', self.archive(files, 'gzip'), *limit)
        for size, message in ((1 << 40, '4 GiB'), (1 << 30, "with f the files have more than")):
            with self.subTest(f'sparse {size}'):
                info, _ = entry('f')
                info.pax_headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0',
                                    'GNU.sparse.name': 'f', 'GNU.sparse.realsize': str(size)}
                info.size = 512
                self.bad_layers(message, layer((info, b'1\n0\n0\n' + bytes(506))), extra=limit)
        with self.subTest('twice'):
            inner = ociwriter.compress(layer(entry('f')), 'gzip')
            self.bad_layers('is compressed more than once', inner)

    def test_many(self):
        """Limits of what needs memory or time"""
        with self.subTest('names'):
            info, _ = symlink('s', 'x' * 4000)
            self.bad_layers('the names of all files have more than the 134217728 bytes', layer(
                *([(info, b'')] * 33600), form=tarfile.GNU_FORMAT))
        with self.subTest('directories that are nowhere but in paths'):
            paths = [f'{number}/' + 'd/' * 2040 + 'f' for number in range(40)]
            self.bad_layers('the names of all files have more than the 134217728 bytes', layer(
                *map(entry, paths), form=tarfile.GNU_FORMAT))
        with self.subTest('layers'):
            self.bad('the image has more than 500 layers', '--oci', self.archive(
                ociwriter.docker([b''] * 501, architecture=HOST, Cmd=['/app'])))
        with self.subTest('files of an archive'):
            self.bad('has more than 20000 files, too many for an image', '--oci', self.archive(
                {f'{number}': b'' for number in range(20001)}))
        with self.subTest('links to links to links'):
            links = [symlink(f'l{number}', 'd/../' * 815 + (f'l{number + 1}' if number < 38 else 'd'))
                     for number in range(39)]
            self.bad_layers('the names of all files have more than the 134217728 bytes', layer(
                directory('d'), *links, *(entry(f'l0/{number}') for number in range(1000)),
                form=tarfile.GNU_FORMAT))
        with self.subTest('names with the same hash'):
            # of GLib's g_str_hash(), as of any that multiplies by 33
            names = [''.join(pair) for pair in itertools.product(('ab', 'bA'), repeat=16)]
            files = self.layers(layer(*map(entry, names), form=tarfile.GNU_FORMAT),
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)))
            self.assertEqual(len(files), len(names) + 11)
            os.unlink(self.out)
        with self.subTest('hidden again and again'):
            low = layer(*(entry(f'd/{number}') for number in range(20000)))
            files = self.layers(low, layer(*(one for number in range(20000) for one in (
                entry(f'd/n{number}'), entry('d/.wh..wh..opq')))))
            self.assertEqual(len([name for name in files if name.startswith('rootfs/d/n')]), 20000)
            self.assertEqual(len(files), 20000 + 12)

    def test_declared_size(self):
        """A size that is only said takes no room."""
        info, _ = entry('f')
        data = layer((info, b''))
        head = bytearray(data[:512])
        head[124:136] = b'77777777777\0'
        head[148:156] = b' ' * 8
        head[148:156] = b'%06o\0 ' % sum(head)
        self.bad_layers('larger than the 4 GiB', bytes(head) + bytes(1024))

    def test_damaged(self):
        good = self.image(layer(entry('f', os.urandom(100000))))
        index = json.loads(good['index.json'])
        blobs = {name: data for name, data in good.items() if name.startswith('blobs')}
        big = max(blobs, key=lambda name: len(blobs[name]))

        def changed(name, data):
            return '--oci', self.archive({**good, name: data})

        flipped = bytearray(good[big])
        flipped[-1] ^= 1
        with self.subTest('wrong digest'):
            for name, data in blobs.items():
                wrong = bytearray(data)
                wrong[10] ^= 1
                self.bad('has the digest sha256:' if name != big else 'layer',
                         *changed(name, wrong))
        with self.subTest('digest of nothing'):
            self.bad_nothing()
        with self.subTest('too long'):
            self.bad('bytes that it should have', *changed(big, good[big] + b'x'))
        with self.subTest('too short'):
            self.bad('layer', *changed(big, good[big][:-1]))
        for name in good:
            if name not in ('oci-layout', 'index.json'):
                with self.subTest(f'missing {name[:5]}'):
                    files = dict(good)
                    del files[name]
                    self.bad(f"has no file '{name}'", '--oci', self.archive(files))
        with self.subTest('digest that is a path'):
            for digest in ('sha256:../../../etc/passwd', 'md5:00', '', 'sha256:' + 'A' * 64):
                index['manifests'][0]['digest'] = digest
                self.bad('is neither a SHA-256 nor', *changed('index.json',
                                                             json.dumps(index).encode()))

    def bad_nothing(self):
        """A layer of the digest that a hash function has when nothing, or no more, was put in"""
        one = layer(entry('f', b'x'))
        text = json.dumps(ociwriter.configuration([one], HOST, Cmd=['/app'])).encode()
        for how in 'gzip', 'zstd', None:
            packed = ociwriter.compress(one, how)
            image = json.dumps({'config': ociwriter.descriptor(text), 'layers': [
                {'digest': ociwriter.digest(b''), 'size': len(packed)}]}).encode()
            files = {ociwriter.blob_name(data): data for data in (text, image)}
            files[ociwriter.blob_name(b'')] = packed
            files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(image)]}).encode()
            self.bad(f'has the digest {ociwriter.digest(packed)}, and should have '
                     + ociwriter.digest(b''), '--oci', self.archive(files))

    def test_truncated(self):
        """A layer that ends early, whose digest is that of what is there"""
        whole = layer(entry('f', os.urandom(100000)), entry('g'))
        packed = ociwriter.compress(whole, 'gzip')
        for name, data, message in (('gzip', packed[:len(packed) // 2], 'truncated gzip'),
                                    ('zstd', ociwriter.compress(whole, 'zstd')[:-300], 'runcated'),
                                    ('tar', whole[:70000], 'unpacked, has the digest'),
                                    ('nothing of it', whole[:100], 'layer')):
            with self.subTest(name):
                files = {}
                image = ociwriter.manifest(files, [data], ociwriter.configuration(
                    [whole], HOST, Cmd=['/app']), None)
                files['index.json'] = json.dumps(
                    {'manifests': [ociwriter.descriptor(image)]}).encode()
                self.bad(message, '--oci', self.archive(files))
        with self.subTest('another content'):
            files = {}
            image = ociwriter.manifest(files, [packed], ociwriter.configuration(
                [whole + bytes(512)], HOST, Cmd=['/app']), None)
            files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(image)]}).encode()
            self.bad('unpacked, has the digest', '--oci', self.archive(files))

    def test_json(self):
        good = self.image(layer(entry('f')))
        for message, name, text in (
                ('is not JSON', 'index.json', b'{'), ('is not JSON', 'index.json', b''),
                ('has a NUL in it', 'index.json', b'{"a": "\\u0000"}'),
                ('has a NUL in it', 'index.json', b'{}\0'),
                ('nested more than 32 levels deep', 'index.json', b'[' * 1000000),
                ("no array 'layers'", 'index.json', b'{}'),
                ('has no image for', 'index.json', b'{"manifests": []}'),
                ('has no image for', 'index.json', b'{"manifests": 7}'),
                ('is neither a SHA-256', 'index.json', b'{"manifests": [7]}'),
                ("'digest' in 'DIR/image.tar' is not a string", 'index.json',
                 b'{"manifests": [{"digest": 7}]}'),
                ("has 'a' twice in an object", 'index.json', b'{"b": [{"a": 1, "b": 2, "a": 1}]}'),
                ("has 'manifests' twice in an object", 'index.json',
                 b'{"manifests": [], "\\u006danifests": []}'),
                # as Go's decoder folds names
                ("has 'manifests' twice in an object", 'index.json',
                 '{"manifests": [], "Manifeſts": []}'.encode()),
                ('an index of images that is a manifest as well', 'index.json',
                 b'{"manifests": [], "layers": []}'),
                ('an index of images that is a manifest as well', 'index.json',
                 b'{"manifests": [], "config": {}}'),
                ('has more than the 1048576 bytes', 'index.json', b' ' * 1048577)):
            with self.subTest(message + repr(text[:20])):
                self.bad(message, '--oci', self.archive({**good, name: text}))
        for message, change in (
                ("has 0 'diff_ids', and the image has 1 layers", {'rootfs': {}}),
                ("is for the operating system 'windows'", {'os': 'windows'}),
                ("'Cmd' in the image's configuration is not an array", {'config': {'Cmd': 'x'}}),
                ('has something else than strings', {'config': {'Env': [7]}}),
                ("'User' in the image's configuration is not a string", {'config': {'User': 7}})):
            with self.subTest(message):
                one = layer(entry('f'))
                files = {}
                image = ociwriter.manifest(files, [one], {
                    **ociwriter.configuration([one], HOST, Cmd=['/app']), **change})
                files['index.json'] = json.dumps(
                    {'manifests': [ociwriter.descriptor(image)]}).encode()
                self.bad(message, '--oci', self.archive(files))

    def test_own_names(self):
        """Names that are not of the format may differ in case only, but not be the same"""
        one = layer(entry('f'))
        free = {name: {'a': 'x', 'A': 'y'} for name in ('Labels', 'Volumes', 'ExposedPorts')}
        self.good('--oci', self.archive(self.image(one, **free)))
        os.unlink(self.out)
        config = json.dumps(ociwriter.configuration([one], HOST, Cmd=['/app'], **free)).encode()
        config = config.replace(b'"A": "y"', b'"a": "y"', 1)
        image = json.dumps({'config': ociwriter.descriptor(config),
                            'layers': [ociwriter.descriptor(one)]}).encode()
        files = {ociwriter.blob_name(data): data for data in (one, config, image)}
        files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(image)]}).encode()
        self.bad("has 'a' twice in an object", '--oci', self.archive(files))

    def test_two_kinds(self):
        """What its descriptor calls a manifest, and is an index of another image as well"""
        files = self.image(layer(entry('f')))
        item = json.loads(files['index.json'])['manifests'][0]
        both = json.loads(files['blobs/' + item['digest'].replace(':', '/')])
        both['manifests'] = [item]
        text = json.dumps(both).encode()
        files[ociwriter.blob_name(text)] = text
        files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(
            text, 'application/vnd.oci.image.manifest.v1+json')]}).encode()
        self.bad('an index of images that is a manifest as well', '--oci', self.archive(files))

    def test_wrong_kind(self):
        """A manifest that is called an index, or an index that is called a manifest"""
        one = layer(entry('f'))
        files = self.image(one)
        item = json.loads(files['index.json'])['manifests'][0]
        image = json.loads(files['blobs/' + item['digest'].replace(':', '/')])
        index = {'manifests': [item]}
        oci, docker = 'application/vnd.oci.image.', 'application/vnd.docker.distribution.manifest.'
        manifests = oci + 'manifest.v1+json', docker + 'v2+json'
        indexes = oci + 'index.v1+json', docker + 'list.v2+json'
        for content, kinds in (image, manifests), (index, indexes):
            for kind, inside in itertools.product(manifests + indexes, (True, False)):
                with self.subTest(kind, inside=inside, content=sorted(content)):
                    text = json.dumps({**content, **({'mediaType': kind} if inside else {})})
                    files[ociwriter.blob_name(text.encode())] = text.encode()
                    files['index.json'] = json.dumps({'manifests': [ociwriter.descriptor(
                        text.encode(), 'x' if inside else kind)]}).encode()
                    args = '--oci', self.archive(files)
                    if kind in kinds:
                        self.good(*args)
                        os.unlink(self.out)
                    else:
                        self.bad('an index of images that is a manifest as well', *args)

    def test_file_twice(self):
        """Of what has no digest and is there twice, others may take the other one"""
        one = layer(entry('f'))
        for name, files in (('index.json', self.image(one)), ('manifest.json', ociwriter.docker(
                [one], architecture=HOST, Cmd=['/app']))):
            for how in None, 'gzip':
                with self.subTest(f'{name} {how}'):
                    entries = [entry(file, data) for file, data in files.items()]
                    data = layer(*entries, entry('./' + name, files[name]))
                    path = self.file('image.tar', ociwriter.compress(data, how))
                    self.bad(f"'DIR/image.tar' has the file '{name}' twice", '--oci', path)
            # what has a digest is the same wherever it is found
            with self.subTest(f'all but {name}'):
                entries += [entry(*item) for item in files.items() if item[0] != name]
                self.good('--oci', self.file('image.tar', layer(*entries)))
                os.unlink(self.out)

    def test_index_loop(self):
        """Indexes without an end"""
        files = {}
        inner = b'{"manifests": []}'
        for _ in range(8):
            files[ociwriter.blob_name(inner)] = inner
            inner = json.dumps({'manifests': [ociwriter.descriptor(inner)]}).encode()
        files['index.json'] = inner
        self.bad('leads through more than 4 indexes', '--oci', self.archive(files))

    def test_not_an_archive(self):
        for name, data in (('noise', os.urandom(10000)), ('empty', b''), ('zeros', bytes(1024)),
                           ('gzip of noise', ociwriter.compress(os.urandom(999), 'gzip'))):
            with self.subTest(name):
                self.bad('DIR/image.tar', '--oci', self.file('image.tar', data))

    def test_full_disk(self):
        """The limit of a file's size stands in for a full disk."""
        path = self.archive(self.image(layer(entry('f', os.urandom(300000)))))
        self.bad('cannot write', '--oci', path, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (200000, 200000)))

    def test_memory(self):
        """What is resident does not grow with the image."""
        used = []
        for size in (1, 64):
            path = self.archive(self.image(layer(*(entry(f'f{number}', os.urandom(1 << 20))
                                                   for number in range(size))), how=None))
            done = subprocess.run(
                ['/usr/bin/python3', '-c', PEAK, TOOL, 'build', '--kernel', self.kernel, '--init',
                 self.init, '--output', self.out, '--oci', path], capture_output=True, check=True)
            used.append(int(done.stdout))
        if not SANITIZED:
            self.assertLess(used[1], 32 * 1024)
        self.assertLess(used[1] - used[0], 4 * 1024)


if __name__ == '__main__':
    taprunner.main()
