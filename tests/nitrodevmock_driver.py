# nitrodevmock_driver.py: the rules of the mocked nitro_enclaves driver
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the kernel driver checks and in which order, and what is left behind when a call
# fails. Pure but for the caller's memory, which it looks at through nitrodevmock_memory.
# Calls raise NeError with the errno, one of the driver's own numbers (256 to 275) included.
# What the hypervisor is asked for goes through a function that can make it fail.
#
# What is here is compared with the kernel's own driver: see devicetrace. Not known, as the
# hypervisor decides it, and chosen here: the errno of a fifth enclave (HYPERVISOR_ERRNO) and of a
# CID that another enclave has.

import errno

import nitrodevmock_memory as memory

MIB = memory.MIB
MIN_REGION = 2 * MIB
MIN_MEMORY = 64 * MIB

(NE_ERR_VCPU_ALREADY_USED, NE_ERR_VCPU_NOT_IN_CPU_POOL, NE_ERR_VCPU_INVALID_CPU_CORE,
 NE_ERR_INVALID_MEM_REGION_SIZE, NE_ERR_INVALID_MEM_REGION_ADDR,
 NE_ERR_UNALIGNED_MEM_REGION_ADDR, NE_ERR_MEM_REGION_ALREADY_USED, NE_ERR_MEM_NOT_HUGE_PAGE,
 NE_ERR_MEM_DIFFERENT_NUMA_NODE, NE_ERR_MEM_MAX_REGIONS, NE_ERR_NO_MEM_REGIONS_ADDED,
 NE_ERR_NO_VCPUS_ADDED, NE_ERR_ENCLAVE_MEM_MIN_SIZE, NE_ERR_FULL_CORES_NOT_USED,
 NE_ERR_NOT_IN_INIT_STATE, NE_ERR_INVALID_VCPU, NE_ERR_NO_CPUS_AVAIL_IN_POOL,
 NE_ERR_INVALID_PAGE_SIZE, NE_ERR_INVALID_FLAG_VALUE,
 NE_ERR_INVALID_ENCLAVE_CID) = range(256, 276)

HYPERVISOR_ERRNO = errno.EINVAL

NE_EIF_IMAGE = 1
NE_ENCLAVE_DEBUG_MODE = 1
CID_ANY = 0xffffffff


class NeError(Exception):
    """A call that fails with an errno; @name is how the transcript shows it."""

    def __init__(self, number):
        super().__init__(number)
        self.errno = number


def error_name(number):
    for name, value in globals().items():
        if name.startswith('NE_ERR_') and value == number:
            return f'{name} ({number})'
    return errno.errorcode.get(number, str(number))


def parse_cpus(text, count):
    """
    The set of CPUs that the kernel's list format ("1-3,5") names: ValueError if it is none,
    OverflowError if one is not below @count. As there, nothing between two commas is nothing.
    """
    cpus = set()
    for part in filter(None, text.split(',')):
        first, dash, last = part.partition('-')
        if not (first.isascii() and first.isdigit()) or (dash and not last.isdigit()):
            raise ValueError(text)
        first, last = int(first), int(last or first)
        if last < first:
            raise ValueError(text)
        if last >= count:
            raise OverflowError(text)
        cpus.update(range(first, last + 1))
    return cpus


def format_cpus(cpus):
    parts = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ','.join(str(a) if a == b else f'{a}-{b}' for a, b in parts)


class Topology:
    """
    The parent's CPUs. As on EC2's x86 instances, the threads of core c are c, c + cores,
    ...; with @adjacent, as in QEMU's guests, 2c and 2c + 1. Nodes have the same number of
    cores each, the lowest ones first.
    """

    def __init__(self, cpus=8, threads_per_core=2, nodes=1, adjacent=False):
        self.cpus, self.threads_per_core, self.nodes = cpus, threads_per_core, nodes
        self.adjacent = adjacent
        self.cores = cpus // threads_per_core
        if self.cores * threads_per_core != cpus or self.cores % nodes:
            raise ValueError(f'{cpus} CPUs cannot be {threads_per_core} threads a core '
                             f'on {nodes} nodes')

    def core(self, cpu):
        return cpu // self.threads_per_core if self.adjacent else cpu % self.cores

    def threads(self, core):
        return {cpu for cpu in range(self.cpus) if self.core(cpu) == core}

    def siblings(self, cpu):
        return self.threads(self.core(cpu))

    def node(self, cpu):
        return self.core(cpu) * self.nodes // self.cores


class Pool:
    """The CPU pool: which cores there are, and which of them no enclave has."""

    def __init__(self, topology, changed=lambda pool: None):
        self.topology = topology
        self.changed = changed
        self.text = ''
        self.cpus = set()
        self.free = set()  # numbers of cores
        self.node = None

    def set(self, text, enclaves):
        """A write to ne_cpus. @enclaves: how many there are."""
        if enclaves:
            raise NeError(errno.EPERM)
        self._fill('', set())
        text = text.strip()
        self._fill(text, self._check(text))

    def _check(self, text):
        topology = self.topology
        try:
            cpus = parse_cpus(text, topology.cpus)
        except ValueError:
            raise NeError(errno.EINVAL) from None
        except OverflowError:
            raise NeError(errno.ERANGE) from None
        if cpus & topology.siblings(0):
            raise NeError(errno.EINVAL)
        if any(not topology.siblings(cpu) <= cpus for cpu in cpus):
            raise NeError(errno.EINVAL)
        if len({topology.node(cpu) for cpu in cpus}) != 1:
            raise NeError(errno.EINVAL)
        return cpus

    def _fill(self, text, cpus):
        self.text, self.cpus = text, cpus
        self.free = {self.topology.core(cpu) for cpu in cpus}
        self.node = self.topology.node(min(cpus)) if cpus else None
        self.changed(self)

    def take_core(self, cpu=None):
        """Takes the core of @cpu, by default the lowest one, out of the pool; returns its CPUs."""
        if cpu is None:
            if not self.free:
                raise NeError(NE_ERR_NO_CPUS_AVAIL_IN_POOL)
            core = min(self.free)
        elif cpu in self.cpus and self.topology.core(cpu) in self.free:
            core = self.topology.core(cpu)
        else:
            raise NeError(NE_ERR_VCPU_NOT_IN_CPU_POOL)
        self.free.remove(core)
        return self.topology.threads(core)

    def give_back(self, cpus):
        self.free |= {self.topology.core(cpu) for cpu in cpus}


class Enclave:
    """
    What is behind an enclave descriptor. @request(call) is called for each thing that the
    hypervisor is asked for, and raises NeError when it refuses.
    """

    INIT, RUNNING, STOPPED = 'init', 'running', 'stopped'

    def __init__(self, number, owner, pool, config, request):
        self.number, self.owner, self.pool, self.config = number, owner, pool, config
        self.request = request
        # whatever becomes of the pool, an enclave keeps its node
        self.node = config['node'] if config['node'] is not None else pool.node
        self.state = self.INIT
        self.regions = []       # Donations, in order, those that the hypervisor refused too
        self.pieces = 0
        self.memory_size = 0
        self.reserved = set()   # CPUs of the cores that are this enclave's
        self.vcpus = []
        self.cid = None
        self.flags = None

    def _check_state(self):
        if self.state != self.INIT:
            raise NeError(NE_ERR_NOT_IN_INIT_STATE)

    def _check_mm(self, pid):
        if not self.owner.is_same_mm(pid):
            raise NeError(errno.EIO)

    def image_load_info(self, flags):
        self._check_state()
        if flags != NE_EIF_IMAGE:
            raise NeError(NE_ERR_INVALID_FLAG_VALUE)
        return self.config['image_offset']

    def set_memory_region(self, pid, flags, size, address):
        if flags != 0:
            raise NeError(NE_ERR_INVALID_FLAG_VALUE)
        self._check_state()
        self._check_mm(pid)
        if size % MIN_REGION:
            raise NeError(NE_ERR_INVALID_MEM_REGION_SIZE)
        if address % MIN_REGION:
            raise NeError(NE_ERR_UNALIGNED_MEM_REGION_ADDR)
        if address + size > memory.TASK_SIZE:
            raise NeError(NE_ERR_INVALID_MEM_REGION_ADDR)
        if any(region.overlaps(address, size) for region in self.regions):
            raise NeError(NE_ERR_MEM_REGION_ALREADY_USED)
        if size == 0:
            raise NeError(errno.ENOMEM)
        pages = self._check_pages(address, size)
        sizes = memory.runs(pages)
        if self.pieces + len(sizes) > self.config['max_regions']:
            raise NeError(NE_ERR_MEM_MAX_REGIONS)
        # From here on the region is in the list, whatever the hypervisor says.
        self.regions.append(memory.Donation(self.owner, address, size, pages))
        for piece in sizes:
            self.request('NE_SET_USER_MEMORY_REGION')
            self.pieces += 1
            self.memory_size += piece

    def _check_pages(self, address, size):
        pages = []
        try:
            for page in self.owner.pages(address, size):
                if not page.hugetlb:
                    raise NeError(NE_ERR_MEM_NOT_HUGE_PAGE)
                if page.tail or page.size % MIN_REGION:
                    raise NeError(NE_ERR_INVALID_PAGE_SIZE)
                if page.node != self.node:
                    raise NeError(NE_ERR_MEM_DIFFERENT_NUMA_NODE)
                pages.append(page)
        except OSError as e:
            raise NeError(e.errno) from e
        return pages

    def add_vcpu(self, pid, cpu):
        self._check_state()
        if cpu >= self.pool.topology.cpus:
            raise NeError(NE_ERR_INVALID_VCPU)
        if cpu in self.vcpus:
            raise NeError(NE_ERR_VCPU_ALREADY_USED)
        if cpu == 0:
            rest = self.reserved - set(self.vcpus)
            if not rest:
                rest = self.pool.take_core()
                self.reserved |= rest
            cpu = min(rest)
        elif cpu not in self.reserved:
            self.reserved |= self.pool.take_core(cpu)
        # What fails now does not give the core back.
        self._check_mm(pid)
        self.request('NE_ADD_VCPU')
        self.vcpus.append(cpu)
        return cpu

    def start(self, flags, cid, choose_cid):
        """Returns the CID. @choose_cid(cid): the hypervisor's answer to the wish @cid."""
        if flags not in (0, NE_ENCLAVE_DEBUG_MODE):
            raise NeError(NE_ERR_INVALID_FLAG_VALUE)
        if cid in (1, 2, 3) or cid >= CID_ANY:
            raise NeError(NE_ERR_INVALID_ENCLAVE_CID)
        self._check_state()
        if not self.pieces:
            raise NeError(NE_ERR_NO_MEM_REGIONS_ADDED)
        if self.memory_size < MIN_MEMORY:
            raise NeError(NE_ERR_ENCLAVE_MEM_MIN_SIZE)
        if not self.vcpus:
            raise NeError(NE_ERR_NO_VCPUS_ADDED)
        if self.reserved != set(self.vcpus):
            raise NeError(NE_ERR_FULL_CORES_NOT_USED)
        self.request('NE_START_ENCLAVE')
        self.cid = choose_cid(cid)
        self.flags = flags
        self.state = self.RUNNING
        for region in self.regions:
            region.refresh()
        return self.cid

    def read(self, offset, size):
        """Bytes of the enclave's memory."""
        data = b''
        for region in self.regions:
            if size > 0 and offset < region.size:
                part = region.read(offset, min(size, region.size - offset))
                data += part
                offset, size = offset + len(part), size - len(part)
            offset -= region.size
        return data

    def release(self):
        """The last descriptor has been closed."""
        for region in self.regions:
            region.close()
        self.regions = []
        self.pool.give_back(self.reserved)
        self.reserved = set()
        self.owner.close()
