# docxmltest.py: the XML of the documentation against the schemas of this build
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Flow: literals of the *.rst files, and the *.xml files of examples/ with their comments
# -> fragments() -> document(), which makes a whole document of each -> xmllint, once for
# all documents of a schema -> a case for each fragment.
#
# A fragment is
#
#   a document    its root is one of SCHEMAS; it is taken word for word
#   elements      they go into a small domain, each to its place in PLACES. In running text
#                 an element may be named only ("<os><kernel>"): then it gets the content of
#                 its sample, but its name, attributes and parents are the text's; and
#                 attributes may have a choice ("yes|no") or a word of PLACEHOLDERS
#
# What is neither fails, unless EXCEPTIONS says why it is no XML.
#
# usage: docxmltest.py SCHEMA-DIRECTORY SOURCE-ROOT

import copy
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import taprunner

try:
    import docutils.core
    import docutils.nodes
except ImportError:
    docutils = None

NAMESPACE = 'http://libvirt.org/schemas/domain/nitro/1.0'
ElementTree.register_namespace('nitro', NAMESPACE)

# Root of a document: its schema
SCHEMAS = {
    'capabilities': 'capability.rng',
    'domain': 'domain.rng',
    'domainCapabilities': 'domaincaps.rng',
}

DOMAIN = f"""<domain type='nitro' xmlns:nitro='{NAMESPACE}'>
  <name>name</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type>hvm</type><kernel>/image.eif</kernel></os><devices/>
</domain>"""

# Element: its parents below <domain>, and a sample for where it is only named
PLACES = {
    'name': ('', '<name>name</name>'),
    'uuid': ('', '<uuid>12345678-1234-1234-1234-123456789abc</uuid>'),
    'title': ('', '<title>title</title>'),
    'description': ('', '<description>text</description>'),
    'metadata': ('', '<metadata/>'),
    'memory': ('', "<memory unit='MiB'>128</memory>"),
    'currentMemory': ('', "<currentMemory unit='MiB'>128</currentMemory>"),
    'memoryBacking': ('', '<memoryBacking/>'),
    'nosharepages': ('memoryBacking', '<nosharepages/>'),
    'locked': ('memoryBacking', '<locked/>'),
    'hugepages': ('memoryBacking', '<hugepages/>'),
    'page': ('memoryBacking/hugepages', "<page size='2' unit='MiB'/>"),
    'vcpu': ('', '<vcpu>2</vcpu>'),
    'cputune': ('', '<cputune/>'),
    'vcpupin': ('cputune', "<vcpupin vcpu='0' cpuset='2'/>"),
    'shares': ('cputune', '<shares>2048</shares>'),
    'global_period': ('cputune', '<global_period>100000</global_period>'),
    'global_quota': ('cputune', '<global_quota>150000</global_quota>'),
    'memtune': ('', '<memtune/>'),
    'hard_limit': ('memtune', "<hard_limit unit='MiB'>512</hard_limit>"),
    'soft_limit': ('memtune', "<soft_limit unit='MiB'>256</soft_limit>"),
    'swap_hard_limit': ('memtune', "<swap_hard_limit unit='MiB'>512</swap_hard_limit>"),
    'numatune': ('', '<numatune/>'),
    'resource': ('', '<resource><partition>/machine</partition></resource>'),
    'partition': ('resource', '<partition>/machine</partition>'),
    'cpu': ('', '<cpu/>'),
    'topology': ('cpu', "<topology sockets='1' cores='1' threads='2'/>"),
    'features': ('', '<features/>'),
    'acpi': ('features', '<acpi/>'),
    'apic': ('features', '<apic/>'),
    'pae': ('features', '<pae/>'),
    'clock': ('', "<clock offset='utc'/>"),
    'timer': ('clock', "<timer name='hpet' present='no'/>"),
    'pm': ('', '<pm/>'),
    'suspend-to-mem': ('pm', "<suspend-to-mem enabled='no'/>"),
    'suspend-to-disk': ('pm', "<suspend-to-disk enabled='no'/>"),
    'seclabel': ('', "<seclabel type='none'/>"),
    'os': ('', '<os><type>hvm</type><kernel>/image.eif</kernel></os>'),
    'type': ('os', '<type>hvm</type>'),
    'kernel': ('os', '<kernel>/image.eif</kernel>'),
    'initrd': ('os', '<initrd>/initrd</initrd>'),
    'cmdline': ('os', '<cmdline>console=ttyS0</cmdline>'),
    'on_poweroff': ('', '<on_poweroff>restart</on_poweroff>'),
    'on_reboot': ('', '<on_reboot>restart</on_reboot>'),
    'on_crash': ('', '<on_crash>restart</on_crash>'),
    'devices': ('', '<devices/>'),
    'emulator': ('devices', '<emulator>/emulator</emulator>'),
    'console': ('devices', "<console type='pty'/>"),
    'serial': ('devices', "<serial type='pty'/>"),
    'log': ('devices/console', "<log file='/log'/>"),
    'controller': ('devices', "<controller type='usb' model='none'/>"),
    'memballoon': ('devices', "<memballoon model='none'/>"),
    'video': ('devices', "<video><model type='none'/></video>"),
    'audio': ('devices', "<audio id='1' type='none'/>"),
    'vsock': ('devices', '<vsock/>'),
    'cid': ('devices/vsock', "<cid auto='yes'/>"),
    'channel': ('devices', "<channel type='unix'><target type='virtio' name='vsock.1'/></channel>"),
    'nitro:services': ('', '<nitro:services/>'),
    'nitro:proxy': ('nitro:services', "<nitro:proxy port='1'/>"),
    'nitro:allow': ('nitro:services/nitro:proxy', "<nitro:allow host='*' port='1'/>"),
    'nitro:syslog': ('nitro:services', "<nitro:syslog port='1'/>"),
    'nitro:time': ('nitro:services', "<nitro:time port='1'/>"),
    'nitro:health': ('nitro:services', "<nitro:health port='1'/>"),
    'nitro:exit': ('nitro:services', "<nitro:exit port='1'/>"),
    'nitro:enclave': ('', "<nitro:enclave debug='yes'/>"),
    'nitro:heartbeat': ('', "<nitro:heartbeat enabled='yes'/>"),
    'nitro:vsock': ('', "<nitro:vsock directory='/directory'/>"),
    'nitro:nsm': ('', "<nitro:nsm enabled='yes'/>"),
    'nitro:parent': ('', "<nitro:parent id='i-0123456789abcdef0'/>"),
    'nitro:measurement': ('', f"<nitro:measurement pcr='0'>{'0a' * 48}</nitro:measurement>"),
}

# What stands for a value in running text
PLACEHOLDERS = {'hex': '0a' * 48, 'path': '/path', 'seconds': '60', 'i-...': 'i-0123456789abcdef0',
                'ARN': 'arn:aws:iam::123456789012:role/name'}

# What looks like XML in running text: what it is, None for nothing to be checked
EXCEPTIONS = {
    '<domain>': None,
    '<on_*>': '<on_poweroff><on_reboot><on_crash>',
    '<state>/domain-<id>-<name>': None,  # a path with its parts in brackets
}

SCHEMA_DIR = pathlib.Path(sys.argv.pop(1))
ROOT = pathlib.Path(sys.argv.pop(1))


class Unknown(Exception):
    """The test does not know what to do with a fragment: extend it, or mend the text."""


def literals(path):
    """Yields (text, whether it is a block of its own) of each literal of the file @path."""
    settings = {'report_level': 5, 'halt_level': 3, 'file_insertion_enabled': False}
    tree = docutils.core.publish_doctree(path.read_text(encoding='utf-8'),
                                         settings_overrides=settings)
    for node in tree.findall():
        if isinstance(node, (docutils.nodes.literal_block, docutils.nodes.comment)):
            yield node.astext(), True
        elif isinstance(node, docutils.nodes.literal):
            yield node.astext(), False


def block_xml(text):
    """Returns the XML within the block @text, from the first line that begins with a tag."""
    lines = text.split('\n')
    begins = [number for number, line in enumerate(lines) if re.match(r'\s*<[\w!?]', line)]
    ends = [number for number, line in enumerate(lines) if line.rstrip().endswith('>')]
    return '\n'.join(lines[begins[0]:ends[-1] + 1]) if begins and ends else None


def fragments():
    """Yields (name of the file, text, whether it is a block of its own)."""
    for path in sorted([*ROOT.glob('*.rst'), *(ROOT / 'docs').rglob('*.rst')]):
        name = str(path.relative_to(ROOT))
        for text, block in literals(path):
            if block:
                text = block_xml(text)
            elif not re.fullmatch(r'<.*>', text, re.S):
                text = None
            if text:
                yield name, text, block

    for path in sorted((ROOT / 'examples').rglob('*.xml*')):
        name = str(path.relative_to(ROOT))
        text = path.read_text(encoding='utf-8').replace('@image@', '/image.eif').replace('@arch@', 'x86_64')
        yield name, text, True
        for comment in re.findall(r'<!--(.*?)-->', text, re.S):
            for tag in re.findall(r'<[^>]*>', comment):
                yield name, tag, False


def parse(text):
    """Returns the elements of @text, in which the prefix nitro need not be declared."""
    try:
        return list(ElementTree.fromstring(f"<x xmlns:nitro='{NAMESPACE}'>{text}</x>"))
    except ElementTree.ParseError as error:
        raise Unknown(f'it is not well-formed: {error}') from error


def name_of(element):
    return element.tag.replace(f'{{{NAMESPACE}}}', 'nitro:')


def place_of(element):
    if name_of(element) not in PLACES:
        raise Unknown(f'<{name_of(element)}> is not in PLACES')
    return PLACES[name_of(element)]


def closed(text):
    """Returns @text with an end for each tag that has none, marked by the attribute named=''."""
    open_tags = []
    pieces = re.split(r'(<[^>]*>)', text)
    for number, piece in enumerate(pieces):
        if piece.startswith('</'):
            if not open_tags or open_tags.pop()[1] != piece[2:-1].strip():
                raise Unknown(f'{piece} has no begin')
        elif piece.startswith('<') and not piece.endswith('/>'):
            open_tags.append((number, piece[1:-1].split()[0]))
    for number, _ in open_tags:
        pieces[number] = pieces[number][:-1] + " named=''>"
    return ''.join(pieces) + ''.join(f'</{name}>' for _, name in reversed(open_tags))


def siblings(text):
    """
    Yields the paths in @text, which names elements one behind the other: "<a><b>" is one when
    <b> has parents, and two when it has none. Other texts are yielded as they are.
    """
    tags = re.findall(r'<[^>]*>', text)
    if ''.join(tags) == text and all(re.fullmatch(r'<[\w:]+>', tag) for tag in tags):
        row = ''
        for tag in tags:
            parents = PLACES.get(tag[1:-1], ('', ''))[0]
            if row and not parents:
                yield row
                row = ''
            row += tag
        yield row
    else:
        yield text


def choices(text):
    """Yields @text, of running text, for each choice of its attributes, with values filled in."""
    def values(value):
        return [PLACEHOLDERS.get(word, word) for word in value.split('|')]

    text = re.sub(r'>(\w+)<', lambda m: f'>{PLACEHOLDERS.get(m[1], m[1])}<', text)
    parts = re.split(r"='([^']*)'", text)
    for chosen in itertools.product(*map(values, parts[1::2])):
        yield parts[0] + ''.join(f"='{value}'{rest}" for value, rest in zip(chosen, parts[2::2]))


def settle(element):
    """
    Checks the parents of what is in @element, and fills in what its sample has, if it is only
    named. Returns whether it is.
    """
    place, sample = place_of(element)
    named = element.attrib.pop('named', None) is not None
    path = f'{place}/{name_of(element)}'.lstrip('/')
    for child in element if named else ():
        if place_of(child)[0] != path:
            raise Unknown(f'<{name_of(child)}> does not belong into {path}')
        settle(child)
    if named and not len(element) and not (element.text or '').strip():
        [sample] = parse(sample)
        element.text = sample.text
        element.extend(sample)
        for attribute, value in sample.attrib.items():
            element.attrib.setdefault(attribute, value)
    return named


def put(parent, element, named):
    """Puts @element into @parent; one that is there already is replaced, or merged if @named."""
    there = parent.find(element.tag)
    if there is None:
        parent.append(element)
    elif named and len(element):
        there.attrib.update(element.attrib)
        for child in element:
            put(there, child, True)
    else:
        parent.remove(there)
        parent.append(element)


def parent_in(domain, path):
    """Returns the element at @path, made of samples where it is not there."""
    where = domain
    for name in filter(None, path.split('/')):
        tag = name.replace('nitro:', f'{{{NAMESPACE}}}')
        if where.find(tag) is None:
            where.append(parse(PLACES[name][1])[0])
        where = where.find(tag)
    return where


def domain_with(text, block):
    """Returns a small domain with the elements of @text."""
    domain = ElementTree.fromstring(DOMAIN)
    elements = parse(text if block else closed(text))
    if not elements:
        raise Unknown('there is no element in it')
    for element in elements:
        named = settle(element)
        put(parent_in(domain, place_of(element)[0]), copy.deepcopy(element), named)
    return ElementTree.tostring(domain, encoding='unicode')


def documents(text, block):
    """Yields (schema, document) of the fragment @text."""
    root = re.search(r'<([\w:]+)', re.sub(r'<!--.*?-->|<\?.*?\?>', '', text, flags=re.S))
    if block and root and root[1] in SCHEMAS:
        yield SCHEMAS[root[1]], text
    elif block and root and root[1] == 'xsl:stylesheet':
        return  # clientxmltest.py runs it
    elif block:
        yield SCHEMAS['domain'], domain_with(text, True)
    else:
        for row in siblings(EXCEPTIONS.get(text, text) or ''):
            for choice in choices(row) if row else ():
                yield SCHEMAS['domain'], domain_with(choice, False)


def errors_of(schema, files):
    """Returns {file: what xmllint says of it, empty where it is valid}."""
    done = subprocess.run(['xmllint', '--noout', '--relaxng', SCHEMA_DIR / schema, *files],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    return {file: '' if f'{file} validates' in lines else
            '\n'.join(line for line in lines if line.startswith(file)) or done.stderr
            for file in files}


@unittest.skipUnless(shutil.which('xmllint'), 'xmllint (libxml2-utils) is not installed')
@unittest.skipUnless(docutils, 'docutils (python3-docutils) is not installed')
class Documentation(unittest.TestCase):

    def check(self, texts):
        """A case for each of @texts: (name of the file, text, whether it is a block)"""
        directory = self.enterContext(tempfile.TemporaryDirectory())
        cases, by_schema = [], {}
        for number, (name, text, block) in enumerate(texts):
            files, problem = [], None
            try:
                for schema, document in documents(text, block):
                    file = f'{directory}/{number}-{len(files)}.xml'
                    pathlib.Path(file).write_text(document, encoding='utf-8')
                    by_schema.setdefault(schema, []).append(file)
                    files.append(file)
            except Unknown as error:
                problem = str(error)
            cases.append((number, name, text, files, problem))

        errors = {}
        for schema, files in by_schema.items():
            errors.update(errors_of(schema, files))
        for number, name, text, files, problem in cases:
            # the number, as some occur more than once
            with self.subTest(f'{name}, {number}: {" ".join(text.split())[:60]}'):
                self.assertIsNone(problem, text)
                for file in files:
                    self.assertEqual(errors[file], '', pathlib.Path(file).read_text('utf-8'))

    def test_fragments(self):
        """Every one is valid"""
        self.check(fragments())

    def test_samples(self):
        """What stands in for elements that are only named is valid as well"""
        self.check(('sample', f'<{name}>', False) for name in PLACES)

    def test_there_are_some(self):
        """The places are looked at, or nothing of the above means anything"""
        found = list(fragments())
        for name in ('docs/drvnitro.rst', 'examples/device-minimal.xml',
                     'examples/hello/hello.xml.in'):
            self.assertIn((name, True), {(name, block) for name, _, block in found})
        self.assertIn('<memory>', [text for _, text, _ in found])

    def test_exceptions_are_used(self):
        self.assertEqual(EXCEPTIONS.keys() - {text for _, text, _ in fragments()}, set())


if __name__ == '__main__':
    taprunner.main()
