# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Sentences for users, who see the first 255 bytes of a fault.

nova's own "Build of instance UUID aborted: Invalid input received: " takes
88 of them, and the path of an instance's image or a PCR's value as many
again. So values are shown by their beginning here, for what is to be changed
to be among what is left.
"""

import os
import re

MAX_VALUE = 48
MAX_DIGITS = 19
DIGITS = re.compile('[0-9a-f]{64,}')


def short(value, most=MAX_VALUE):
    """Returns @value, or the beginning of one longer than @most."""
    return value if len(value) <= most else value[:most - 3] + '...'


def whole(error):
    """Returns all that @error, a libvirtError, says."""
    return error.get_error_message() or str(error)


def sentence(error, directory):
    """
    Returns what @error, a libvirtError, says: files of @directory, the
    instance's own, without the path, and digests by their beginning.
    """
    return DIGITS.sub(lambda digits: short(digits.group(), MAX_DIGITS),
                      whole(error).replace(directory + os.sep, ''))
