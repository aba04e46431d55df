# nitroschematest.py: the XML schema of this build against all domain XML in the tree
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Every *.xml below examples/, docs/ and tests/ whose root is <domain> goes through
# xmllint with domain.rng of the patched libvirt tree, as virt-xml-validate does it.
# All must be valid but those of INVALID and NEWER, and those must not: the schema then says
# what the parser says, as far as a schema can.
#
# usage: nitroschematest.py SCHEMA SOURCE-ROOT

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

import taprunner

# Files of tests/nitroxml2argvdata that the schema itself refuses.
INVALID = {
    'bootloader',
    'channel-acpi',
    'channel-element',
    'channel-no-target',
    'channel-no-type',
    'channel-target-port',
    'channel-tcp-acl',
    'console-log-cr',
    'console-log-relative',
    'cpu-signature',
    'emulator-cr',
    'emulator-relative',
    'enclave-attribute',
    'enclave-attribute-namespace',
    'enclave-attribute-other',
    'enclave-child',
    'enclave-content',
    'enclave-debug',
    'enclave-inside',
    'enclave-no-debug',
    'enclave-twice',
    'enclave-upper-case',
    'heartbeat-content',
    'heartbeat-enabled',
    'heartbeat-no-enabled',
    'heartbeat-timeout-0',
    'heartbeat-timeout-text',
    'heartbeat-twice',
    'hwuuid',
    'initrd-cr',
    'initrd-relative',
    'kernel-cr',
    'kernel-newline',
    'kernel-relative',
    'measurement-child',
    'measurement-empty',
    'measurement-no-pcr',
    'measurement-pcr-3',
    'measurement-pcr-99',
    'measurement-short',
    'measurement-text',
    'memory-overflow',
    'name-newline',
    'namespace-element',
    'namespace-place',
    'nsm-attribute',
    'nsm-content',
    'nsm-enabled',
    'nsm-no-enabled',
    'nsm-parent-attribute',
    'nsm-parent-content',
    'nsm-parent-id-newline',
    'nsm-parent-id-short',
    'nsm-parent-id-upper-case',
    'nsm-parent-nothing',
    'nsm-parent-role-account',
    'nsm-parent-role-empty',
    'nsm-parent-role-newline',
    'nsm-parent-role-user',
    'nsm-parent-twice',
    'nsm-twice',
    'os-init',
    'os-initarg',
    'os-type',
    'os-varstore',
    'proxy-allow-attribute',
    'proxy-allow-content',
    'proxy-allow-host-brackets',
    'proxy-allow-host-empty',
    'proxy-allow-host-scope',
    'proxy-allow-host-separator',
    'proxy-allow-no-host',
    'proxy-allow-no-port',
    'proxy-allow-port-0',
    'proxy-allow-port-name',
    'proxy-allow-port-range',
    'proxy-allow-port-zero',
    'proxy-attribute',
    'proxy-element',
    'proxy-no-namespace',
    'proxy-text',
    'resource-partition-relative',
    'resource-partition-root',
    'serial-log-file',
    'services-attribute',
    'services-case',
    'services-health-failures-0',
    'services-health-failures-large',
    'services-health-interval-0',
    'services-health-interval-large',
    'services-in-devices',
    'services-inside',
    'services-no-namespace',
    'services-no-port',
    'services-outbound',
    'services-outside',
    'services-port-0',
    'services-port-any',
    'services-port-zero',
    'services-text',
    'services-time-attribute',
    'services-time-content',
    'services-twice',
    'services-unknown',
    'stray-attribute',
    'stray-attribute-prefix',
    'stray-cpu',
    'stray-default-namespace',
    'stray-devices-element',
    'stray-devices-twice',
    'stray-domain-element',
    'stray-domain-twice',
    'stray-entity',
    'stray-memory-backing',
    'stray-metadata-devices',
    'stray-metadata-second',
    'stray-no-namespace',
    'stray-no-namespace-deep',
    'stray-no-namespace-enclave',
    'stray-no-namespace-os',
    'stray-no-namespace-services',
    'stray-no-namespace-vsock',
    'stray-os-element',
    'stray-os-twice',
    'stray-other-hypervisor-inside',
    'stray-other-namespace',
    'stray-other-namespace-inside',
    'stray-other-namespace-prefix',
    'stray-upper-case',
    'stray-vsock-twice',
    'vcpu-0',
    'vsock-boot',
    'vsock-cid-overflow',
    'vsock-directory-none',
    'vsock-directory-two',
    'vsock-rom',
    'vsock-source',
    'vsock-two',
}

# Files whose element newer versions of libvirt have: the schema refuses them where it has it not.
NEWER = {
    'device-crypto': 'crypto',
    'device-pstore': 'pstore',
    'os-shim': 'shim',
    'throttlegroups': 'throttlegroup',
}

# The version of libvirt, as its source's directory is named
LIBVIRT = pathlib.Path(os.environ['LIBVIRT_NITRO_LIBVIRT']).name
SCHEMA = pathlib.Path(sys.argv.pop(1))
ROOT = pathlib.Path(sys.argv.pop(1))


def domain_files():
    for directory in ('examples', 'docs', 'tests'):
        for path in sorted((ROOT / directory).rglob('*.xml')):
            if path.with_suffix(f'.{LIBVIRT}.xml').exists():
                # what newer versions write in its place
                continue
            try:
                root = ElementTree.parse(path).getroot()
            except ElementTree.ParseError:
                # not XML at all: input of another test
                continue
            if root.tag == 'domain':
                yield path


def schema_elements():
    text = (SCHEMA.parent / 'domaincommon.rng').read_text(encoding='utf-8')
    return set(re.findall(r'<element name=["\']([\w:-]+)["\']', text))


def invalid_names():
    known = schema_elements()
    return INVALID | {name for name, element in NEWER.items() if element not in known}


def must_be_valid(path, invalid):
    return path.parent.name != 'nitroxml2argvdata' or path.stem not in invalid


@unittest.skipUnless(shutil.which('xmllint'), 'xmllint (libxml2-utils) is not installed')
class Schema(unittest.TestCase):

    def validate(self, files):
        """One xmllint for all files: most of its time goes into reading the schema."""
        result = subprocess.run(['xmllint', '--noout', '--relaxng', SCHEMA, *files],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return result.stderr

    def test_files(self):
        files = list(domain_files())
        output = self.validate(files)
        lines = set(output.splitlines())
        invalid = invalid_names()

        for path in files:
            with self.subTest(str(path.relative_to(ROOT))):
                valid = f'{path} validates' in lines
                self.assertNotEqual(valid, f'{path} fails to validate' in lines, output)
                reasons = '\n'.join(x for x in output.splitlines() if x.startswith(f'{path}:'))
                self.assertEqual(valid, must_be_valid(path, invalid), reasons)

    def test_examples_are_there(self):
        self.assertTrue(any(path.is_relative_to(ROOT / 'examples') for path in domain_files()))

    def test_invalid_names_are_files(self):
        names = {path.stem for path in (ROOT / 'tests' / 'nitroxml2argvdata').glob('*.xml')}
        self.assertEqual((INVALID | NEWER.keys()) - names, set())


if __name__ == '__main__':
    taprunner.main()
