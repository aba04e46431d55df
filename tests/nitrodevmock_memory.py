# nitrodevmock_memory.py: the memory of the process that calls the mocked driver
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Donated memory: what it is made of (smaps, pagemap, move_pages), and the hold on it that keeps
# it until the enclave ends, whatever its process does. Only root sees all that of a process
# that is not dumpable (PR_SET_DUMPABLE), as a sandboxed one is.
#
# Flow: address and size of a region -> Caller.pages() faults each page in and says what it
# is -> the driver's rules -> Donation holds the files of the region's mappings, from which
# the enclave's memory is read later.

import ctypes
import errno
import os
import struct

MIB = 1 << 20
BASE_PAGE = os.sysconf('SC_PAGE_SIZE')
# Nothing of a process lies above, with four levels of page tables
TASK_SIZE = (1 << 48) if os.uname().machine == 'aarch64' else (1 << 47) - BASE_PAGE

_libc = ctypes.CDLL(None, use_errno=True)
_MOVE_PAGES = {'x86_64': 279, 'aarch64': 239}[os.uname().machine]
IOV_MAX = 1024


class _IoVec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]


def _vm_call(function, pid, address, buffer, size):
    local, remote = _IoVec(ctypes.addressof(buffer), size), _IoVec(address, size)
    return function(ctypes.c_int(pid), ctypes.byref(local), ctypes.c_ulong(1),
                    ctypes.byref(remote), ctypes.c_ulong(1), ctypes.c_ulong(0))


class Mapping:
    """One line of /proc/PID/smaps with what belongs to it."""

    def __init__(self, line):
        span, perms, offset = line.split()[:3]
        self.name = span
        self.start, self.end = (int(part, 16) for part in span.split('-'))
        self.shared = perms[3] == 's'
        self.offset = int(offset, 16)
        self.page_size = BASE_PAGE
        self.hugetlb = False


class Page:
    """A page of a region: its address, size in bytes, frame number (0: unknown) and node."""

    def __init__(self, address, size, frame, node, mapping):
        self.address, self.size, self.frame, self.node = address, size, frame, node
        self.mapping = mapping
        self.hugetlb = mapping.hugetlb
        # anything but the first 4 KiB of its huge page
        self.tail = address % size != 0


class Caller:
    """
    A process, as the driver's "current". @mm is the address space it had when this was
    made: it goes with an exec, and with the process.
    """

    def __init__(self, pid, page_size=None):
        self.pid = pid
        self.page_size = page_size
        self.mm = os.open(f'/proc/{pid}/mem', os.O_RDONLY | os.O_CLOEXEC)

    def close(self):
        os.close(self.mm)

    def is_same_mm(self, pid):
        """Whether @pid, which is in a call right now, runs in this very address space."""
        if pid != self.pid:
            return False
        # of an address space that nobody runs in any more nothing can be read: no error, 0 bytes
        try:
            first = int(self._first_mapping(), 16)
            return len(os.pread(self.mm, 1, first)) == 1
        except OSError:
            return False

    def _first_mapping(self):
        with open(f'/proc/{self.pid}/maps', encoding='ascii', errors='replace') as maps:
            return maps.readline().split('-')[0]

    def mappings(self):
        found = []
        with open(f'/proc/{self.pid}/smaps', encoding='ascii', errors='replace') as smaps:
            for line in smaps:
                word = line.split(None, 1)[0]
                if not word.endswith(':'):
                    found.append(Mapping(line))
                elif word == 'KernelPageSize:':
                    found[-1].page_size = int(line.split()[1]) * 1024
                elif word == 'VmFlags:':
                    found[-1].hugetlb = ' ht' in line
        return found

    def frame(self, address):
        """The number of the page frame at @address, 0 where it is not known."""
        return self._frames([address])[0]

    def _frames(self, addresses):
        found = []
        with open(f'/proc/{self.pid}/pagemap', 'rb', buffering=0) as pagemap:
            for address in addresses:
                entry = os.pread(pagemap.fileno(), 8, address // BASE_PAGE * 8)
                value = struct.unpack('<Q', entry)[0] if len(entry) == 8 else 0
                found.append(value & ((1 << 55) - 1) if value >> 63 else 0)
        return found

    def _nodes(self, addresses):
        count = len(addresses)
        pages = (ctypes.c_void_p * count)(*addresses)
        status = (ctypes.c_int * count)()
        rc = _libc.syscall(ctypes.c_long(_MOVE_PAGES), ctypes.c_int(self.pid),
                           ctypes.c_ulong(count), pages, None, status, ctypes.c_int(0))
        # a kernel without NUMA has one node and no such call
        if rc < 0 and ctypes.get_errno() != errno.ENOSYS:
            raise OSError(ctypes.get_errno(), 'move_pages')
        return [max(node, 0) for node in status]

    def _touch(self, addresses):
        """Faults pages in, for reading, up to one where that cannot be; returns how many."""
        count = len(addresses)
        buffer = ctypes.create_string_buffer(count)
        local = _IoVec(ctypes.addressof(buffer), count)
        remote = (_IoVec * count)(*((address, 1) for address in addresses))
        return max(0, _libc.process_vm_readv(
            ctypes.c_int(self.pid), ctypes.byref(local), ctypes.c_ulong(1), remote,
            ctypes.c_ulong(count), ctypes.c_ulong(0)))

    def _stretch(self, address, end):
        """The mapping at @address, and the addresses of its pages up to @end or a limit."""
        mapping = next((m for m in self.mappings() if m.start <= address < m.end), None)
        if mapping is None:
            raise OSError(errno.EFAULT, 'unmapped')
        size = mapping.page_size
        if mapping.hugetlb and self.page_size:
            size = self.page_size
        return mapping, size, list(range(address, min(end, mapping.end), size))[:IOV_MAX]

    def pages(self, address, size):
        """
        Yields the Pages of a region, in order. The caller checks each one before it asks for
        the next, and OSError(EFAULT) comes where one cannot be had. The last can reach beyond
        the end of the region.
        """
        end = address + size
        while address < end:
            mapping, page_size, addresses = self._stretch(address, end)
            good = self._touch(addresses)
            present = addresses[:good]
            for where, frame, node in zip(present, self._frames(present),
                                          self._nodes(present) if present else ()):
                yield Page(where, page_size, frame, node, mapping)
            if good < len(addresses):
                raise OSError(errno.EFAULT, 'no page')
            address = addresses[-1] + page_size


def copy_from_user(pid, address, size):
    buffer = ctypes.create_string_buffer(size)
    if _vm_call(_libc.process_vm_readv, pid, address, buffer, size) != size:
        raise OSError(errno.EFAULT, 'copy_from_user')
    return buffer.raw


def runs(pages):
    """Sizes of the physically contiguous pieces that @pages make up, in bytes."""
    sizes = []
    following = 0
    for page in pages:
        if sizes and page.frame and page.frame == following:
            sizes[-1] += page.size
        else:
            sizes.append(page.size)
        following = page.frame + page.size // BASE_PAGE if page.frame else 0
    return sizes


class _SharedPiece:
    """Pages of a shared mapping: what the file holds, for as long as it is open."""

    def __init__(self, caller, page, size):
        mapping = page.mapping
        self.fd = os.open(f'/proc/{caller.pid}/map_files/{mapping.name}',
                          os.O_RDONLY | os.O_CLOEXEC)
        self.offset = mapping.offset + page.address - mapping.start
        self.size = size

    def refresh(self):
        pass

    def read(self, offset, size):
        data = b''
        while len(data) < size:
            piece = os.pread(self.fd, size - len(data), self.offset + offset + len(data))
            if not piece:
                break
            data += piece
        return data.ljust(size, b'\0')

    def close(self):
        os.close(self.fd)


class _PrivatePiece:
    """
    A page of a private mapping. The enclave keeps the page that was donated; once the process
    has another one at that address (after a write, when a forked child shared the first, or
    a file), what it writes does not reach the enclave. The mock cannot hold such a page:
    it has a copy, and takes a new one at the start when it is still the same page.
    """

    def __init__(self, caller, page):
        self.caller, self.address, self.size, self.frame = \
            caller, page.address, page.size, page.frame
        self.data = copy_from_user(caller.pid, page.address, page.size)

    def refresh(self):
        try:
            if self.caller.frame(self.address) == self.frame:
                self.data = copy_from_user(self.caller.pid, self.address, self.size)
        except OSError:
            pass

    def read(self, offset, size):
        return self.data[offset:offset + size].ljust(size, b'\0')

    def close(self):
        self.data = b''


class Donation:
    """A region that the enclave has got. @pages are its Pages."""

    def __init__(self, caller, address, size, pages):
        self.address, self.size = address, size
        self.pieces = []
        last = None
        for page in pages:
            if not page.mapping.shared:
                self.pieces.append(_PrivatePiece(caller, page))
            elif last is not None and page.mapping.name == last.name:
                self.pieces[-1].size += page.size
            else:
                self.pieces.append(_SharedPiece(caller, page, page.size))
            last = page.mapping

    def overlaps(self, address, size):
        return address < self.address + self.size and self.address < address + size

    def refresh(self):
        """The enclave starts: from now on its memory is its own."""
        for piece in self.pieces:
            piece.refresh()

    def read(self, offset, size):
        data = b''
        for piece in self.pieces:
            if size > 0 and offset < piece.size:
                part = piece.read(offset, min(size, piece.size - offset))
                data += part
                offset, size = offset + len(part), size - len(part)
            offset -= piece.size
        return data

    def close(self):
        for piece in self.pieces:
            piece.close()
        self.pieces = []
