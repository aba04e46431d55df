#
# test_security.py: what a client may send to harm the daemon
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
Numbers that libvirt's own client would not send, over its RPC protocol.
docs/security-notices.rst says which notice each is about.
"""

import os

import daemon
import rawrpc
import taprunner
from e2etest import EnclaveTest, libvirt
from rawrpc import RawClient, RpcError, array, u32

outside = None  # why there can be no system daemon here


class Numbers(EnclaveTest):
    """What the daemon's RPC code makes of numbers, before the driver has them"""

    # CVE-2026-18917: the product is 2^32 + 1
    PAGES, CELLS = 901, 643530061

    def client(self, flags=0):
        client = RawClient(self.daemon.socket, self.daemon.url, flags)
        self.addCleanup(client.close)
        return client

    def refused_raw(self, client, procedure, arguments, code, words):
        with self.assertRaises(RpcError) as raised:
            client.call(procedure, arguments)
        self.assertIn(words, str(raised.exception))
        self.assertEqual(raised.exception.code, code)
        # the daemon that has answered lives, and its memory is in order
        self.assertIsNone(self.daemon.process.poll())
        self.assertEqual(self.conn.getType(), "nitro")

    def free_pages(self, cells, pages, start=0):
        return array("I", pages) + u32(start) + u32(cells) + u32(0)

    def test_free_pages(self):
        """more page sizes and nodes than 32 bits can count, on a read-only connection"""
        client = self.client(rawrpc.READ_ONLY)
        one = client.call(rawrpc.NODE_GET_FREE_PAGES, self.free_pages(1, [4]))
        self.assertEqual(one[:4], u32(1))
        for cells, pages in ((self.CELLS, self.PAGES), (2**32 - 1, 1), (2**31, 2), (2**30, 1024),
                             (1025, 1), (2, 513)):
            with self.subTest(cells=cells, pages=pages):
                self.refused_raw(client, rawrpc.NODE_GET_FREE_PAGES,
                                 self.free_pages(cells, [4] * pages),
                                 libvirt.VIR_ERR_INTERNAL_ERROR, "REMOTE_NODE_MAX_CELLS")

    def test_alloc_pages(self):
        """fewer counts than sizes: the missing ones would be read off the heap"""
        # of a size that no host has, so that nothing is allocated whatever is read
        client = self.client()
        for sizes, counts in ((1024, 0), (512, 1), (1, 2)):
            with self.subTest(sizes=sizes, counts=counts):
                self.refused_raw(client, rawrpc.NODE_ALLOC_PAGES,
                                 array("I", [3] * sizes) + array("Q", [0] * counts) +
                                 u32(0) + u32(1) + u32(0),
                                 libvirt.VIR_ERR_RPC, "as many page counts as page sizes")

    def test_negative(self):
        """CVE-2024-2494: a negative length of an array"""
        self.refused_raw(self.client(rawrpc.READ_ONLY), rawrpc.NODE_GET_CPU_STATS,
                         u32(0) + u32(-1) + u32(0),
                         libvirt.VIR_ERR_INTERNAL_ERROR, "nparams must be non-negative")


class ReadOnlySocket(Numbers):
    """The same over the socket that any user can connect to"""

    system = True

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            cls.skipTest(cls, "a system's daemon needs root")
        if outside:
            cls.skipTest(cls, f"no private file system: {outside}")
        super().setUpClass()

    def client(self, flags=0):
        path = self.daemon.socket + ("-ro" if flags & rawrpc.READ_ONLY else "")
        client = RawClient(path, self.daemon.url, flags)
        self.addCleanup(client.close)
        return client


if __name__ == "__main__":
    try:
        daemon.enter_private_system()
    except OSError as error:
        outside = str(error)
    taprunner.main()
