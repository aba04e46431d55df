# ociwriter.py: container images, written without any code of the project's
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Makes layers of entries, images of layers, and layouts and archives of images. All is bytes in
memory: an image is a dictionary of the files that its layout has, which tests can change before it
is written.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile


def entry(name, data=b'', kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, **fields):
    """An entry of a layer: a tarfile.TarInfo and its data"""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.size = kind, mode, uid, gid, len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def directory(name, mode=0o755, **fields):
    return entry(name, kind=tarfile.DIRTYPE, mode=mode, **fields)


def symlink(name, target):
    return entry(name, kind=tarfile.SYMTYPE, mode=0o777, linkname=target)


def hardlink(name, target):
    return entry(name, kind=tarfile.LNKTYPE, linkname=target)


def device(name, major, minor, kind=tarfile.CHRTYPE):
    return entry(name, kind=kind, devmajor=major, devminor=minor)


def layer(*entries, form=tarfile.PAX_FORMAT):
    """The tar archive of @entries"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def blob_name(data):
    return 'blobs/' + digest(data).replace(':', '/')


def compress(data, how):
    if how == 'gzip':
        return gzip.compress(data, 1, mtime=0)
    if how == 'zstd':
        return subprocess.run(['zstd', '-q', '-c'], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return data


def configuration(layers, architecture='amd64', **config):
    return {'architecture': architecture, 'os': 'linux', 'config': config,
            'rootfs': {'type': 'layers', 'diff_ids': [digest(data) for data in layers]}}


def descriptor(data, kind='application/octet-stream', **fields):
    return {'mediaType': kind, 'digest': digest(data), 'size': len(data), **fields}


def manifest(files, layers, config, how='gzip'):
    """Adds an image to the layout @files; returns its manifest."""
    text = json.dumps(config).encode()
    packed = [compress(data, how) for data in layers]
    result = json.dumps({
        'schemaVersion': 2, 'config': descriptor(text, 'application/vnd.oci.image.config.v1+json'),
        'layers': [descriptor(data, 'application/vnd.oci.image.layer.v1.tar') for data in packed],
    }).encode()
    for data in (text, result, *packed):
        files[blob_name(data)] = data
    return result


def layout(layers, tag=None, how='gzip', **config):
    """The files of an OCI layout with one image"""
    files = {'oci-layout': b'{"imageLayoutVersion": "1.0.0"}'}
    image = manifest(files, layers, configuration(layers, **config), how)
    item = descriptor(image, 'application/vnd.oci.image.manifest.v1+json')
    if tag:
        item['annotations'] = {'org.opencontainers.image.ref.name': tag}
    files['index.json'] = json.dumps({'schemaVersion': 2, 'manifests': [item]}).encode()
    return files


def docker(layers, tags=('hello:latest',), **config):
    """The files of an archive by Docker with one image"""
    text = json.dumps(configuration(layers, **config)).encode()
    name = hashlib.sha256(text).hexdigest() + '.json'
    files = {name: text}
    for number, data in enumerate(layers):
        files[f'{number}/layer.tar'] = data
    files['manifest.json'] = json.dumps([{
        'Config': name, 'RepoTags': list(tags),
        'Layers': [f'{number}/layer.tar' for number in range(len(layers))]}]).encode()
    return files


def write_directory(path, files):
    for name, data in files.items():
        os.makedirs(os.path.join(path, os.path.dirname(name)), exist_ok=True)
        with open(os.path.join(path, name), 'wb') as out:
            out.write(data)


def write_archive(path, files, how=None):
    with open(path, 'wb') as out:
        out.write(compress(layer(*(entry(name, data) for name, data in files.items())), how))
