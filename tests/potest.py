# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""The translations are complete, and their format directives are those of the messages."""

import pathlib
import re
import subprocess
import tempfile
import unittest

import taprunner
import updatepo

UPDATE_PO = updatepo.load()


class PoTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # pylint: disable=consider-using-with
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.template = pathlib.Path(cls.scratch.name) / "libvirt-nitro.pot"
        UPDATE_PO.extract(cls.template)

    def run_tool(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{command[0]}: {done.stderr}\n"
                         "scripts/update-po says what is left to translate")
        return done.stderr

    def test_languages(self):
        self.assertEqual(UPDATE_PO.languages(), ["de", "fr"])
        self.assertEqual(sorted(path.stem for path in UPDATE_PO.PO.glob("*.po")), ["de", "fr"])

    def test_template(self):
        """messages of each room are found, also those of the functions that translate"""
        text = self.template.read_text(encoding="utf-8")
        for message in ("unknown element 'nitro:%s'", "no domain with matching name '%s'",
                        "The image is not a regular file", "cannot open '%s': %s",
                        "the signature section is wrong: %s", "if the CPU pool is set"):
            self.assertIn(f'msgid "{message}"\n', text)

    def test_complete(self):
        for language in UPDATE_PO.languages():
            with self.subTest(language):
                # fails for messages that are missing, untranslated or fuzzy
                self.run_tool("msgcmp", str(UPDATE_PO.PO / f"{language}.po"), str(self.template))

    def test_check(self):
        for language in UPDATE_PO.languages():
            with self.subTest(language):
                self.run_tool("msgfmt", "--check", "--output-file=/dev/null",
                              str(UPDATE_PO.PO / f"{language}.po"))

    def test_names_stay(self):
        """what is in quotes or angle brackets is the user's or XML's, in every language"""
        quoted = re.compile(r"<[a-z:]+|'[a-z-]+'")
        for language in UPDATE_PO.languages():
            text = subprocess.run(["msgcat", "--no-wrap", str(UPDATE_PO.PO / f"{language}.po")],
                                  capture_output=True, text=True, check=True).stdout
            for message, translation in re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', text,
                                                   re.MULTILINE):
                with self.subTest(f"{language}: {message}"):
                    self.assertEqual(sorted(set(quoted.findall(message))),
                                     sorted(set(quoted.findall(translation))))


if __name__ == "__main__":
    taprunner.main()
