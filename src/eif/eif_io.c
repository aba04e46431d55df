/*
 * eif_io.c: moving bytes between descriptors and buffers, all of them or an error
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the other files ask for exact ranges; short transfers and interrupted
 * calls end here. File offsets of the descriptors are never moved.
 */

#include "eif_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

GQuark
eifErrorQuark(void)
{
    return g_quark_from_static_string("eif-error-quark");
}

int
eifReadExact(int fd, void *buf, size_t len, uint64_t offset, const char *what, GError **error)
{
    uint8_t *p = buf;
    size_t done = 0;

    if (offset > INT64_MAX || len > INT64_MAX - offset) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                    _("cannot read %s at %" PRIu64 ": no file is that long"), what, offset);
        return -1;
    }

    while (done < len) {
        ssize_t got = pread(fd, p + done, len - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot read %s at %" PRIu64 ": %s"),
                        what, offset + done, g_strerror(errno));
            return -1;
        }
        if (got == 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                        _("%s ends at %" PRIu64 " bytes: it has become shorter while it was read"),
                        what, offset + done);
            return -1;
        }
        done += (size_t)got;
    }

    return 0;
}

int
eifWriteExact(int fd, const void *buf, size_t len, uint64_t offset, GError **error)
{
    const uint8_t *p = buf;
    size_t done = 0;

    while (done < len) {
        ssize_t put = pwrite(fd, p + done, len - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            g_set_error(error, EIF_ERROR, EIF_ERROR_IO,
                        _("cannot write the image at %" PRIu64 ": %s"),
                        offset + done, g_strerror(put < 0 ? errno : ENOSPC));
            return -1;
        }
        done += (size_t)put;
    }

    return 0;
}

int
eifFileSize(int fd, const char *what, EifError notRegular, uint64_t *size, GError **error)
{
    struct stat sb;

    if (fstat(fd, &sb) < 0) {
        g_set_error(error, EIF_ERROR, EIF_ERROR_IO, _("cannot examine %s: %s"),
                    what, g_strerror(errno));
        return -1;
    }

    /* Only these have a size that means something and can be read at any offset. */
    if (!S_ISREG(sb.st_mode)) {
        g_set_error(error, EIF_ERROR, notRegular, _("%s is %s, not a regular file"), what,
                    S_ISDIR(sb.st_mode) ? _("a directory") :
                    S_ISBLK(sb.st_mode) ? _("a block device") :
                    S_ISCHR(sb.st_mode) ? _("a character device") :
                    S_ISFIFO(sb.st_mode) ? _("a pipe") : _("a special file"));
        return -1;
    }

    *size = (uint64_t)sb.st_size;
    return 0;
}

int
eifReportProgress(EifProgress progress, uint64_t done, uint64_t total, void *opaque,
                  GError **error)
{
    if (!progress || progress(done, total, opaque))
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_CANCELLED,
                _("cancelled after %" PRIu64 " of %" PRIu64 " bytes"), done, total);
    return -1;
}
