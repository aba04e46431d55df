# sourcetest.py: libvirt's own checks of source, over ours
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs what libvirt runs over its drivers: scripts/check-aclrules.py (each entry of the driver's
table checks the access, by the function of its name), scripts/check-driverimpls.py (each
has the name that its entry asks for), the rules of build-aux/syntax-check.mk, and
scripts/hvsupport.py (each says since when it is there). Two rules are of our own: what the
plugin must not use, and who asks for the version of libvirt. Each of them is also shown a fault,
and must find it.

The rules read a list of files below a top directory: this is a copy of our source beside
links to libvirt's.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ.get('LIBVIRT_NITRO_SOURCE') or
                      pathlib.Path(__file__).resolve().parent.parent)
LIBVIRT = pathlib.Path(os.environ['LIBVIRT_NITRO_LIBVIRT'])
DRIVER = 'src/nitro/nitro_driver.c'

# Rules that are not for this source, and why
NOT_OURS = {
    'sc_group-qemu-caps',  # of a file of libvirt's
    'sc_po_check',         # potfilestest.py
    'sc_flake8',           # another style of Python
    # of newer versions of libvirt: messages are of the form of 9.0, with lines of up to 100 columns,
    # and gettext takes '%2$s' in a translation of '%s' as well
    'sc_prohibit_error_message_on_multiple_lines',
    'sc_require_permutable_format_in_translation',
}

# Code with libvirt's library, and with GLib alone. The second has none of libvirt's functions.
ROOMS = {
    'plugin': ['src/nitro', 'src/conf'],
    'programs': ['src/attest', 'src/check', 'src/container', 'src/eif', 'src/helper', 'src/init',
                 'src/nsm', 'src/services', 'src/validate'],
}
WRAPPERS = {
    # these want functions or headers of libvirt's
    'sc_avoid_write', 'sc_gettext_init', 'sc_prohibit_access_xok', 'sc_prohibit_close',
    'sc_prohibit_fork_wrappers', 'sc_prohibit_nonreentrant', 'sc_prohibit_raw_allocation',
    'sc_prohibit_readdir', 'sc_prohibit_readlink', 'sc_prohibit_setuid', 'sc_prohibit_snprintf',
    'sc_prohibit_strcmp', 'sc_prohibit_strtol',
    'sc_prohibit_strdup', 'sc_prohibit_strncmp', 'sc_prohibit_strncpy', 'sc_require_config_h',
    'sc_require_config_h_first',
    # of newer versions of libvirt; GLib 2.82 has deprecated g_qsort_with_data(), which it wants
    'sc_prohibit_qsort',
    # "flags" of open(2) and "(Type){ ... }", which libvirt itself has little of
    'sc_flags_usage', 'sc_prohibit_paren_brace', 'sc_spacing-check',
    # a rule that takes an "if" after an "else" on two lines for one without braces
    'sc_require_if_else_matching_braces',
    # the index of a queue, and numbers that main() and recvmsg(2) have as int
    'sc_prohibit_int_index', 'sc_prohibit_int_ijk',
}

# Files that a rule takes for what it forbids
EXCEPT = {
    # a member named "free"
    'sc_prohibit_raw_allocation': 'src/conf/nitro_domain_conf.c',
    # an argument of a message, on a line of its own
    'sc_libvirt_unmarked_diagnostics': 'src/conf/nitro_domain_validate_devices.c',
    # included by the compiler's command line
    'sc_prohibit_config_h_in_headers': 'src/nitro_gettext.h',
}

# What the plugin must not use: it runs in the daemon, as root, and images are hostile. They are
# read by libvirt_nitro_check and libvirt_nitro alone.
# (GnuTLS in quotes is libvirt's own, which the daemon has for TLS.)
PARSERS = re.compile(r'#\s*include\s*["<](archive|attest|eif|gnutls|cbor|cose|nettle|libdeflate|'
                     r'oci_|rootfs_)|'
                     r"(?<!')\b(archive|attest|container|eif|gnutls|cbor|deflate|nettle)_(\w+_)?"
                     r'(dep|lib)\b')

# What asks for the version of libvirt
VERSION = re.compile(r'\bLIBVIR_(VERSION_NUMBER|CHECK_VERSION)\b')

# Faults, and the rule that finds each
FAULTS = {
    'sc_prohibit_strcmp': 'int f(const char *a) { return strcmp(a, "b") == 0; }',
    'sc_spacing-check': 'void f(int a) { if(a) g(); }',
    'sc_prohibit_raw_allocation': 'void f(void *p) { free (p); }',
    'sc_trailing_blank': 'int a; ',
    'sc_prohibit_int_ijk': 'void f(void) { int i; }',
    'sc_prohibit_return_as_function': 'int f(void) { return (1); }',
    'sc_libvirt_unmarked_diagnostics': 'void f(void) { virReportError(1, "some words here"); }',
}


def run(*command, **kwargs):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **kwargs)


class Tree(unittest.TestCase):

    def setUp(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix='sourcetest-'))
        self.addCleanup(shutil.rmtree, self.top)
        shutil.copytree(SOURCE / 'src', self.top / 'src')
        for name in ('build-aux', 'include', 'scripts'):
            (self.top / name).symlink_to(LIBVIRT / name)

    def change(self, name, pattern, replacement):
        """Replaces the first @pattern in the file @name of the copy."""
        path = self.top / name
        text, count = re.subn(pattern, replacement, path.read_text(encoding='utf-8'), count=1)
        self.assertEqual(count, 1, pattern)
        path.write_text(text, encoding='utf-8')


class Driver(Tree):

    def driver(self):
        """
        Returns a file with all entries and the table of them, which comes last: libvirt's
        drivers have them in one file, and its scripts look no further.
        """
        files = sorted((self.top / 'src/nitro').glob('nitro_driver*.c'))
        files.remove(self.top / DRIVER)
        one = self.top / 'driver.c'
        one.write_text(''.join(path.read_text(encoding='utf-8')
                               for path in files + [self.top / DRIVER]), encoding='utf-8')
        return one

    def check_acl(self):
        return run(sys.executable, LIBVIRT / 'scripts/check-aclrules.py',
                   LIBVIRT / 'src/remote/remote_protocol.x', self.driver())

    def check_names(self):
        return run(sys.executable, LIBVIRT / 'scripts/check-driverimpls.py', self.driver())

    def test_access(self):
        """each entry checks the access, and by its own function"""
        done = self.check_acl()
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.change('src/nitro/nitro_driver_config.c', 'virDomainGetMaxMemoryEnsureACL',
                    'nitroDomainAnything')
        self.assertIn("Missing ACL check in function 'nitroDomainGetMaxMemory'",
                      self.check_acl().stderr)

    def test_access_of_another(self):
        self.change(DRIVER, 'virDomainIsActiveEnsureACL', 'virDomainGetStateEnsureACL')
        self.assertIn("Mismatch check 'virDomainGetStateEnsureACL'", self.check_acl().stderr)

    def test_access_filter(self):
        """each list leaves out what somebody may not see"""
        self.change(DRIVER, 'virConnectListAllDomainsCheckACL', 'NULL')
        self.assertIn("Missing ACL filter in function 'nitroConnectListAllDomains'",
                      self.check_acl().stderr)

    def test_names(self):
        done = self.check_names()
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.change(DRIVER, r'\.domainReset = nitroDomainReset', '.domainReset = nitroReset')
        self.assertIn("expecting 'nitroDomainReset'", self.check_names().stderr)

    def test_versions(self):
        """each entry says since when it is there: the page of what the driver has"""
        page = self.top / 'hvsupport.html'
        words = (SOURCE / 'scripts/hvsupport', LIBVIRT, self.top / DRIVER, page)
        done = run(sys.executable, *words)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        rows = dict(re.findall(r'>(vir\w+)</a>\n</td>\n<td>[\d.]+</td>\n<td>(.*?)</td>',
                               page.read_text(encoding='utf-8')))
        self.assertGreater(len(rows), 200)
        self.assertRegex(rows['virDomainCreateXML'], r'^\d+\.\d+\.\d+$')
        self.assertEqual(rows['virDomainSuspend'], '')
        text = (SOURCE / DRIVER).read_text(encoding='utf-8')
        self.assertEqual(set(filter(None, rows.values())), set(re.findall(
            r'^    \.\w+ = \w+, /\* (\d+\.\d+\.\d+) \*/$', text, re.MULTILINE)))
        self.change(DRIVER, r'(\.domainReset = nitroDomainReset,) .*', r'\1')
        self.assertIn('nitroDomainReset in', run(sys.executable, *words).stderr)


class Rooms(Tree):

    def parsers(self):
        """Returns the files of the plugin that use a parser of images, or are linked with one."""
        files = [path for room in ROOMS['plugin'] for path in (self.top / room).rglob('*')
                 if path.is_file()]
        self.assertGreater(len(files), 100)
        return sorted(path.name for path in files
                      if PARSERS.search(path.read_text(encoding='utf-8')))

    def test_parsers(self):
        """the daemon parses nothing of an image"""
        self.assertEqual(self.parsers(), [])
        self.change('src/nitro/nitro_image.c', '#include "nitro_image.h"', '#include "eif.h"')
        self.change('src/nitro/nitro_start.c', '#include <unistd.h>', '#include <gnutls/x509.h>')
        self.change('src/nitro/meson.build', 'yajl_dep,', 'eif_certificate_dep,')
        self.change('src/conf/nitro_domain_xml.c', '#include <config.h>', '# include  <cbor.h>')
        self.assertEqual(self.parsers(), ['meson.build', 'nitro_domain_xml.c', 'nitro_image.c',
                                          'nitro_start.c'])


class Versions(Tree):

    @staticmethod
    def askers(top):
        """Returns the files of C below @top that ask for the version of libvirt."""
        files = list(top.rglob('*.[ch]'))
        return sorted(path.name for path in files
                      if VERSION.search(path.read_text(encoding='utf-8')))

    def test_compat(self):
        """what differs between the versions of libvirt is in one file"""
        self.assertEqual(self.askers(self.top / 'src'), ['libvirt_compat.h'])
        for name in ('bench', 'examples', 'tests'):
            with self.subTest(name):
                self.assertEqual(self.askers(SOURCE / name), [])
        self.change('src/nitro/nitro_pool.c', '#include <config.h>',
                    '#include <config.h>\n#if LIBVIR_VERSION_NUMBER < 9000000\n#endif')
        self.change('src/conf/nitro_domain_ns.c', '#include <config.h>',
                    '#include <config.h>\n#if  !LIBVIR_CHECK_VERSION(9, 0, 0)\n#endif')
        self.assertEqual(self.askers(self.top / 'src'),
                         ['libvirt_compat.h', 'nitro_domain_ns.c', 'nitro_pool.c'])


class Syntax(Tree):

    @staticmethod
    def rules():
        text = (LIBVIRT / 'build-aux/syntax-check.mk').read_text(encoding='utf-8')
        return sorted(set(re.findall(r'^(sc_[\w-]+):', text, re.MULTILINE)) - NOT_OURS)

    def prepare(self, directories):
        """Makes the list of the C files in @directories, and the Makefile for the rules."""
        files = [path.relative_to(self.top) for name in directories
                 for path in (self.top / name).rglob('*.[ch]')]
        if directories == ROOMS['plugin']:
            files.append('src/nitro_gettext.h')
        (self.top / 'files').write_text(''.join(f'{path}\n' for path in files), encoding='ascii')
        self.assertGreater(len(files), 10)
        (self.top / 'Makefile').write_text(
            f'top_srcdir = {self.top}\ntop_builddir = {self.top}\nFLAKE8 =\nRUNUTF8 =\n'
            f'PYTHON = {sys.executable}\nGREP = grep\nSED = sed\nAWK = awk\nPERL = perl\n'
            'include $(top_srcdir)/build-aux/syntax-check.mk\n', encoding='utf-8')

    def make(self, rule):
        words = [f'VC_LIST=cat {self.top}/files']
        if rule in EXCEPT:
            words.append(f'exclude_file_name_regexp--{rule}=^{re.escape(EXCEPT[rule])}$$')
        return run('make', '-s', rule, *words, cwd=self.top)

    def test_rules(self):
        rules = self.rules()
        self.assertGreater(len(rules), 100)
        for room, directories in ROOMS.items():
            self.prepare(directories)
            for rule in rules:
                if room == 'programs' and rule in WRAPPERS:
                    continue
                with self.subTest(room=room, rule=rule):
                    done = self.make(rule)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    # what cannot be read is no file without a fault
                    self.assertNotRegex(done.stderr, 'No such file|fatal:')

    def test_faults(self):
        """the rules see our files"""
        (self.top / 'src/nitro/nitro_fault.c').write_text(
            ''.join(f'{line}\n' for line in FAULTS.values()), encoding='ascii')
        self.prepare(ROOMS['plugin'])
        for rule in FAULTS:
            with self.subTest(rule):
                done = self.make(rule)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn('nitro_fault.c', done.stdout + done.stderr)


if __name__ == '__main__':
    taprunner.main()
