# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""scripts/update-po as a module, for tests."""

import importlib.machinery
import importlib.util
import os


def load():
    path = os.path.join(os.environ["LIBVIRT_NITRO_SOURCE"], "scripts", "update-po")
    loader = importlib.machinery.SourceFileLoader("update_po", path)
    spec = importlib.util.spec_from_loader("update_po", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
