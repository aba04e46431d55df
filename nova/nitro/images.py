# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Glance's images as files of this host.

Each image is fetched once for a host, into the cache; each instance that
uses it has a hard link in its own directory. So an image has one link more
than there are instances with it, and goes from the cache when it has been
there alone for some time.

Flow: prepare() -> check what the image is -> fetch() each file into the
cache -> link() them into the instance's directory.
"""

import os
import time

from oslo_log import log as logging
from oslo_utils import fileutils

from nova import exception
from nova import utils
from nova.virt import images
from nova.virt.nitro import conf as nitro_conf

LOG = logging.getLogger(__name__)
CONF = nitro_conf.CONF

# {what libvirt calls it: the file in the instance's directory}
NAMES = {'kernel': 'image', 'initrd': 'ramdisk'}


def instance_directory(instance):
    return os.path.join(CONF.instances_path, instance.uuid)


def cache_directory():
    return os.path.join(CONF.instances_path,
                        CONF.image_cache.subdirectory_name)


def _cached(image_id):
    # nova names images by UUIDs; whatever is none must not lead elsewhere
    if not image_id or os.sep in image_id or image_id.startswith('.'):
        raise exception.InvalidImageRef(image_href=image_id)
    return os.path.join(cache_directory(), image_id)


def fetch(context, image_id, trusted_certs=None):
    """
    Sees to it that the cache has the image @image_id. Returns whether it had
    to be fetched.
    """
    path = _cached(image_id)

    @utils.synchronized(image_id, external=True)
    def once():
        if os.path.exists(path):
            os.utime(path)
            return False
        fileutils.ensure_tree(cache_directory())
        images.fetch(context, image_id, path + '.part', trusted_certs)
        os.rename(path + '.part', path)
        return True

    return once()


def link(instance, files):
    """
    Gives @instance the files of the images @files ({'kernel': image id,
    'initrd': image id}), which fetch() has fetched, in place of those that it
    had.
    """
    directory = instance_directory(instance)
    fileutils.ensure_tree(directory, mode=0o755)
    for kind, name in NAMES.items():
        path = os.path.join(directory, name)
        fileutils.delete_if_exists(path)
        if kind in files:
            os.link(_cached(files[kind]), path)


def files(instance):
    """Returns {'kernel': path, 'initrd': path} of what @instance has."""
    directory = instance_directory(instance)
    paths = {kind: os.path.join(directory, name)
             for kind, name in NAMES.items()}
    return {kind: path for kind, path in paths.items()
            if os.path.exists(path)}


def _check_format(image_meta, wanted):
    for field, values in wanted.items():
        value = (getattr(image_meta, field)
                 if image_meta.obj_attr_is_set(field) else None)
        if value is not None and value not in values:
            raise exception.ImageUnacceptable(
                image_id=image_meta.id,
                reason="its %s is '%s', and that of an enclave's image is "
                       "'%s'" % (field.replace('_', ' '), value, values[0]))


def wanted(instance, image_meta):
    """
    Returns the images that the enclave @instance is made of, as link() wants
    them: an EIF file, or by kernel_id and ramdisk_id a kernel and its
    ramdisk. Raises ImageUnacceptable for what is neither.
    """
    cmdline = image_meta.properties.get('os_command_line')
    if not instance.kernel_id:
        _check_format(image_meta, {'disk_format': ['raw'],
                                   'container_format': ['bare']})
        for name, value in (('ramdisk_id', instance.ramdisk_id),
                            ('os_command_line', cmdline)):
            if value:
                raise exception.ImageUnacceptable(
                    image_id=image_meta.id,
                    reason='%s is for an image with kernel_id: an EIF file '
                           'has its own' % name)
        return {'kernel': instance.image_ref}

    if image_meta.obj_attr_is_set('size') and image_meta.size:
        raise exception.ImageUnacceptable(
            image_id=image_meta.id,
            reason='it has kernel_id, and %d bytes of its own that nobody '
                   'would read: upload an empty one' % image_meta.size)
    found = {'kernel': instance.kernel_id}
    if instance.ramdisk_id:
        found['initrd'] = instance.ramdisk_id
    return found


def prepare(context, instance, image_meta):
    """Fetches what @instance is made of, and returns it for link()."""
    found = wanted(instance, image_meta)
    for image_id in found.values():
        fetch(context, image_id, instance.trusted_certs)
    return found


def age_cache():
    """Removes the images that no instance has used for some time."""
    if not CONF.image_cache.remove_unused_base_images or \
            not os.path.isdir(cache_directory()):
        return
    oldest = time.time() - \
        CONF.image_cache.remove_unused_original_minimum_age_seconds
    for entry in os.scandir(cache_directory()):
        status = entry.stat(follow_symlinks=False)
        # when it lost its last link, or was fetched or asked for
        used = max(status.st_ctime, status.st_mtime)
        if entry.is_file(follow_symlinks=False) and \
                status.st_nlink == 1 and used < oldest:
            LOG.info('Removing the unused image %s', entry.name)
            fileutils.delete_if_exists(entry.path)
