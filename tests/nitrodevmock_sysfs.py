# nitrodevmock_sysfs.py: what the parent's /sys shows, for the mock of the Nitro Enclaves device
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Flow: the mocked driver takes CPUs for the pool -> Sysfs.update() -> files below DIR/sys:
# the module's parameter; CPUs, of which those of the pool are offline and have no topology;
# nodes. Huge pages and memory are the real ones, on node 0.

import contextlib
import os

import nitrodevmock_driver as driver

NODE = '/sys/devices/system/node/node0'


class Sysfs:
    """The tree of a parent with CPUs as in @topology (nitrodevmock_driver.Topology)."""

    def __init__(self, directory, topology):
        self.topology = topology
        self.written = {}
        self.module = os.path.join(directory, 'sys/module/nitro_enclaves/parameters')
        self.cpu = os.path.join(directory, 'sys/devices/system/cpu')
        self.node = os.path.join(directory, 'sys/devices/system/node')
        for path in (self.module, self.cpu, self.node):
            os.makedirs(path)
        everything = driver.format_cpus(range(topology.cpus))
        for name in ('present', 'possible'):
            self._write(self.cpu, name, everything)
        self._write(self.cpu, 'kernel_max', 8191)
        for cpu in range(topology.cpus):
            os.mkdir(os.path.join(self.cpu, f'cpu{cpu}'))
        self._make_nodes()

    def _make_nodes(self):
        nodes = driver.format_cpus(range(self.topology.nodes))
        for name in ('online', 'possible', 'has_cpu'):
            self._write(self.node, name, nodes)
        for name in ('has_memory', 'has_normal_memory'):
            self._write(self.node, name, 0)
        for node in range(self.topology.nodes):
            top = os.path.join(self.node, f'node{node}')
            os.mkdir(top)
            self._write(top, 'distance', ' '.join(
                '10' if other == node else '20' for other in range(self.topology.nodes)))
            if node == 0:
                for name in ('meminfo', 'hugepages'):
                    os.symlink(os.path.join(NODE, name), os.path.join(top, name))
            else:
                self._write(top, 'meminfo', f'Node {node} MemTotal: 0 kB\n'
                                            f'Node {node} MemFree: 0 kB')
        for cpu in range(self.topology.cpus):
            node = self.topology.node(cpu)
            os.symlink(f'../../node/node{node}', os.path.join(self.cpu, f'cpu{cpu}', f'node{node}'))

    def _write(self, directory, name, value):
        """
        Writes a file in place: as with the real ones, who has it open reads the new content
        from its start. Who reads just now can get the end of a longer one behind the new line.
        """
        path = os.path.join(directory, name)
        if self.written.get(path) == value:
            return
        self.written[path] = value
        data = f'{value}\n'.encode('ascii')
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)

    def update(self, pool):
        """The driver has the CPUs of @pool, and no others."""
        online = set(range(self.topology.cpus)) - pool.cpus
        self._write(self.cpu, 'online', driver.format_cpus(online))
        self._write(self.cpu, 'offline', driver.format_cpus(pool.cpus))
        for cpu in range(self.topology.cpus):
            self._update_cpu(cpu, cpu in online, online)
        for node in range(self.topology.nodes):
            cpus = {cpu for cpu in online if self.topology.node(cpu) == node}
            top = os.path.join(self.node, f'node{node}')
            self._write(top, 'cpulist', driver.format_cpus(cpus))
            self._write(top, 'cpumap', self._mask(cpus))
        self._write(self.module, 'ne_cpus', pool.text)

    def _update_cpu(self, cpu, is_online, online):
        top = os.path.join(self.cpu, f'cpu{cpu}')
        topology = os.path.join(top, 'topology')
        if cpu != 0:
            self._write(top, 'online', int(is_online))
        if not is_online:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(topology):
                    del self.written[os.path.join(topology, name)]
                    os.unlink(os.path.join(topology, name))
                os.rmdir(topology)
            return

        os.makedirs(topology, exist_ok=True)
        node = self.topology.node(cpu)
        threads = self.topology.siblings(cpu) & online
        package = {c for c in online if self.topology.node(c) == node}
        for name, value in (('core_id', self.topology.core(cpu)), ('die_id', 0),
                            ('cluster_id', 65535), ('physical_package_id', node)):
            self._write(topology, name, value)
        for name, cpus in (('thread_siblings', threads), ('core_cpus', threads),
                           ('core_siblings', package), ('package_cpus', package)):
            self._write(topology, name, self._mask(cpus))
            self._write(topology, name + '_list', driver.format_cpus(cpus))

    def _mask(self, cpus):
        """A set of CPUs in the kernel's mask format."""
        value = sum(1 << cpu for cpu in cpus)
        words = [value >> shift & 0xffffffff for shift in range(0, self.topology.cpus, 32)]
        return ','.join(f'{word:08x}' for word in reversed(words))
