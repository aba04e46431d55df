# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What a flavor and an image ask of an enclave: extra specs and image properties
whose names begin with "nitro:".

Flow: from_instance() collects them -> one parser for each key ->
EnclaveSpec. Whatever is not known, or said by the flavor in another way than
by the image, is refused with the key in the fault.

Anybody may upload an image. So an image cannot say what reaches out of its
own enclave, or holds up the host: these are the flavor's alone.
"""

import re

from nova import exception
from nova.virt import hardware
from nova.virt.nitro import faults

PREFIX = 'nitro:'
IMAGE_PREFIX = 'image_' + PREFIX  # in an instance's system_metadata

PCRS = (0, 1, 2, 8)
MAX_TIMEOUT = 86400
MAX_PORT = 4294967294  # of a vsock
MIN_PARENT_PORT = 1


def _fail(key, reason):
    raise exception.InvalidInput(
        reason='%(key)s: %(reason)s' % {'key': faults.short(key),
                                        'reason': reason})


def _bool(key, value):
    value = value.strip().lower()
    if value in ('yes', 'true', '1', 'on'):
        return True
    if value in ('no', 'false', '0', 'off'):
        return False
    _fail(key, "'%s' is neither 'yes' nor 'no'" % faults.short(value))


def _number(key, value, low, high):
    if not re.fullmatch('[0-9]{1,10}', value) or \
            not low <= int(value) <= high:
        _fail(key, "'%s' is not a number from %d to %d" %
              (faults.short(value), low, high))
    return int(value)


def _measurement(key, value):
    if not re.fullmatch('[0-9a-fA-F]{96}', value):
        _fail(key, "'%s' is not a SHA-384 of 96 hexadecimal digits" %
              faults.short(value))
    return value.lower()


class Service:
    """
    A service of the enclave's vsock, see "vsock services" in the manual of
    the driver for libvirt.

    kind: outbound, inbound, log, proxy, syslog, time, health or exit
    port: the vsock port
    address: ('tcp', host, port) or ('unix', path or None), of the first two
    owner: "USER:GROUP" of the socket of an inbound one, or None
    allow: [(host, port)] of a proxy
    settings: {attribute: number} of health
    """

    def __init__(self, kind, port):
        self.kind = kind
        self.port = port
        self.address = None
        self.owner = None
        self.allow = []
        self.settings = {}


def _host_and_port(key, text):
    # the port of an allowed destination may be '*', and a host IPv6
    match = re.fullmatch(r'(\[[0-9a-fA-F:.]+(?:/\d+)?\]|[^\[\]\s]+):'
                         r'([0-9]{1,5}|[a-z0-9-]+|\*)', text)
    if not match:
        _fail(key, "'%s' is not HOST:PORT (an IPv6 address in brackets)" %
              faults.short(text))
    return match.group(1).strip('[]'), match.group(2)


def _address(key, text, uuid):
    if text.startswith('tcp:'):
        return ('tcp', *_host_and_port(key, text[len('tcp:'):]))
    if text.startswith('unix:/'):
        return ('unix', text[len('unix:'):].replace('{uuid}', uuid))
    _fail(key, "'%s' is neither tcp:HOST:PORT nor unix:/PATH" %
          faults.short(text))


def _service(key, value, uuid):
    """Parses nitro:service.KIND.PORT = VALUE."""
    parts = key[len(PREFIX):].split('.')
    if len(parts) != 3:
        _fail(key, 'a service is nitro:service.KIND.PORT')
    kind = parts[1]
    service = Service(kind, _number(key, parts[2], MIN_PARENT_PORT, MAX_PORT))
    words = value.split()

    if kind == 'outbound' and len(words) == 1:
        service.address = _address(key, words[0], uuid)
    elif kind == 'inbound' and words:
        service.address = (('unix', None) if words[0] == 'unix' else
                           _address(key, words[0], uuid))
        if len(words) == 2 and words[1].startswith('owner=') and \
                service.address[0] == 'unix' and service.address[1]:
            service.owner = words[1][len('owner='):]
        elif len(words) != 1:
            _fail(key, "'%s' can be followed by owner=USER:GROUP of a "
                  "UNIX socket alone" % faults.short(words[0]))
    elif kind == 'proxy' and words:
        service.allow = [_host_and_port(key, word) for word in words]
    elif kind == 'health' and words:
        _health(key, words, service)
    elif kind in ('log', 'syslog', 'time', 'exit') and _bool(key, value):
        pass
    elif kind in ('outbound', 'inbound', 'log', 'proxy', 'syslog', 'time',
                  'health', 'exit'):
        _fail(key, "'%s' says nothing that this service can be" %
              faults.short(value))
    else:
        _fail(key, "'%s' is no service: they are outbound, inbound, log, "
              "proxy, syslog, time, health and exit" % faults.short(kind))
    return service


def _health(key, words, service):
    bounds = {'interval': (1, 3600), 'failures': (1, 100)}
    if words in (['yes'], ['true']):
        return
    for word in words:
        name, _, number = word.partition('=')
        if name not in bounds or name in service.settings:
            _fail(key, "'%s' is neither 'yes', nor interval=SECONDS or "
                  "failures=NUMBER once" % faults.short(word))
        service.settings[name] = _number(key, number, *bounds[name])


class EnclaveSpec:
    """
    debug: whether the enclave runs in debug mode, and has a console
    heartbeat: whether its start waits for the heartbeat
    heartbeat_timeout: seconds, or None
    pcrs: {number: hexadecimal digits} that the image must measure to
    services: [Service], by kind and port
    page_size: KiB, 0 for any huge page, or None
    """

    def __init__(self):
        self.debug = False
        self.heartbeat = True
        self.heartbeat_timeout = None
        self.pcrs = {}
        self.services = []
        self.page_size = None

    def add(self, key, value, uuid):
        name = key[len(PREFIX):]
        if name == 'debug':
            self.debug = _bool(key, value)
        elif name == 'heartbeat':
            self.heartbeat = _bool(key, value)
        elif name == 'heartbeat_timeout':
            self.heartbeat_timeout = _number(key, value, 1, MAX_TIMEOUT)
        elif name in ['pcr%d' % pcr for pcr in PCRS]:
            self.pcrs[int(name[len('pcr'):])] = _measurement(key, value)
        elif name.startswith('service.'):
            self.services.append(_service(key, value, uuid))
        else:
            _fail(key, 'there is no such key: they are nitro:debug, '
                  'nitro:heartbeat, nitro:heartbeat_timeout, nitro:pcr0, '
                  'nitro:pcr1, nitro:pcr2, nitro:pcr8 and '
                  'nitro:service.KIND.PORT')

    def add_page_size(self, topology):
        """@topology is what nova makes of hw:mem_page_size, or None."""
        if topology is None:
            return
        if len(topology.cells) != 1:
            _fail('hw:numa_nodes', "an enclave has one NUMA node, not %d" %
                  len(topology.cells))
        size = topology.cells[0].pagesize
        if size == hardware.MEMPAGES_SMALL:
            _fail('hw:mem_page_size',
                  "'small': an enclave's memory is of huge pages: use "
                  "'large', or a size of a multiple of 2 MiB")
        if size == hardware.MEMPAGES_LARGE:
            self.page_size = 0
        elif size is not None and size != hardware.MEMPAGES_ANY:
            self.page_size = size


def _for_flavors_only(key):
    return (key == 'nitro:heartbeat_timeout' or
            key.startswith('nitro:service.'))


def from_instance(instance):
    """
    Returns the EnclaveSpec of @instance, by its flavor and its image.
    Raises InvalidInput, whose text names the key.
    """
    flavor = {key: value
              for key, value in instance.flavor.extra_specs.items()
              if key.startswith(PREFIX)}
    image = {key[len('image_'):]: value
             for key, value in instance.system_metadata.items()
             if key.startswith(IMAGE_PREFIX)}

    spec = EnclaveSpec()
    for key in sorted({**flavor, **image}):
        if key in image and _for_flavors_only(key):
            _fail(key, 'an image cannot say this, but a flavor')
        if key in flavor and key in image and flavor[key] != image[key]:
            _fail(key, "the flavor says '%s', and the image '%s'" %
                  (faults.short(flavor[key]), faults.short(image[key])))
        spec.add(key, flavor.get(key, image.get(key)), instance.uuid)
    if spec.heartbeat_timeout and not spec.heartbeat:
        _fail('nitro:heartbeat_timeout', 'nitro:heartbeat is off')
    spec.add_page_size(instance.numa_topology)
    return spec
