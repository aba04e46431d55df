# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""What bash offers for the command lines of our tools, when Tab is pressed."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import taprunner

SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"]) / "src"
BUILD = pathlib.Path(os.environ["LIBVIRT_NITRO_BUILD"]) / "src"
LIBRARY = "/usr/share/bash-completion/bash_completion"

# tool: (its completion, its program)
TOOLS = {
    "virt-eif": (SOURCE / "eif/virt-eif.bash-completion", BUILD / "eif/virt-eif"),
    "virt-nitro-validate": (SOURCE / "validate/virt-nitro-validate.bash-completion",
                            BUILD / "validate/virt-nitro-validate"),
}

# $1: the library, $2: the completion, then the words, of which the last is not complete
COMPLETE = """
set -e
source "$1"
source "$2"
shift 2
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
compopt() { :; }  # there is no completion going on
spec=($(complete -p "$1"))
${spec[-2]} "$1" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" || :
printf '%s\\n' "${COMPREPLY[@]}"
"""


class CompletionTest(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(LIBRARY):
            self.skipTest("bash-completion is not installed")
        # pylint: disable=consider-using-with
        scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-completion-")
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name)
        for name, (_, program) in TOOLS.items():
            (self.directory / name).symlink_to(program)
        self.files = self.directory / "files"
        (self.files / "images").mkdir(parents=True)
        (self.files / "hello.eif").touch()

    def offered(self, *words):
        env = dict(os.environ, PATH=f"{self.directory}:/usr/bin:/bin", LC_ALL="C")
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", LIBRARY, TOOLS[words[0]][0],
                               *words], env=env, cwd=self.files, check=True, capture_output=True,
                              text=True)
        self.assertEqual(done.stderr, "")
        return {word for word in done.stdout.split() if word}

    @staticmethod
    def long_options(*words):
        """Returns the long options that the tool itself tells."""
        text = subprocess.run([TOOLS[words[0]][1], *words[1:], "--help"], check=True,
                              capture_output=True, text=True,
                              env=dict(os.environ, LC_ALL="C")).stdout
        return set(re.findall(r"(?m)^ +(?:-\w, )?(--[a-z-]+)", text))

    def test_options(self):
        commands = ("attest", "build", "convert", "describe", "extract", "pcr", "sign", "verify")
        for words in (["virt-eif"], *(["virt-eif", command] for command in commands),
                      ["virt-eif", "attest", "verify"], ["virt-nitro-validate"]):
            with self.subTest(words):
                options = self.long_options(*words)
                self.assertIn("--help", options)
                self.assertEqual({word.rstrip("=") for word in self.offered(*words, "--")},
                                 options)

    def test_commands(self):
        text = subprocess.run([TOOLS["virt-eif"][1], "--help"], check=True, capture_output=True,
                              text=True, env=dict(os.environ, LC_ALL="C")).stdout
        commands = set(re.findall(r"(?m)^  (\w+) ", text[text.index("Commands:"):]))
        self.assertIn("describe", commands)
        self.assertEqual(self.offered("virt-eif", ""), commands)
        self.assertEqual(self.offered("virt-eif", "d"), {"describe"})

    def test_values(self):
        for words, expected in ((["virt-eif", "build", "--arch", ""], {"x86_64", "aarch64"}),
                                (["virt-eif", "build", "-a", "a"], {"aarch64"}),
                                (["virt-eif", "build", "--cmdline", ""], set()),
                                (["virt-eif", "build", "--kernel", "h"], {"hello.eif"}),
                                (["virt-eif", "describe", ""], {"hello.eif", "images"}),
                                (["virt-eif", "attest", ""], {"verify"}),
                                (["virt-eif", "attest", "verify", "h"], {"hello.eif"}),
                                (["virt-eif", "attest", "verify", "--image", "h"], {"hello.eif"}),
                                (["virt-eif", "attest", "verify", "--pcr", ""], set()),
                                (["virt-eif", "attest", "verify", "--time", ""], {"now"}),
                                (["virt-eif", "convert", "--eif-version", ""], {"2", "3", "4"}),
                                (["virt-eif", "sign", "--key", "h"], {"hello.eif"}),
                                (["virt-eif", "sign", "--key", "pkcs11:h"], set()),
                                (["virt-nitro-validate", ""], {"nitro", "nitro-enclave"}),
                                (["virt-nitro-validate", "--try", ""], {"nitro", "nitro-enclave"}),
                                (["virt-nitro-validate", "--image", ""], {"hello.eif", "images"}),
                                (["virt-nitro-validate", "--root", ""], {"images"})):
            with self.subTest(words):
                self.assertEqual(self.offered(*words), expected)


if __name__ == "__main__":
    taprunner.main()
