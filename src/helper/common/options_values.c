/*
 * options_values.c: values of options that several programs have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "common/options_values.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "nitro_limits.h"

bool
optionsParseNumber(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    if (!g_ascii_isdigit(*text))
        return false;
    return g_ascii_string_to_unsigned(text, 10, min, max, number, NULL);
}

char *
optionsSetFlag(void *flag, const char *value G_GNUC_UNUSED)
{
    *(bool *)flag = true;
    return NULL;
}

char *
optionsSetText(void *text, const char *value)
{
    *(char **)text = g_strdup(value);
    return NULL;
}

char *
optionsSetWord(void *text, const char *value)
{
    return *value ? optionsSetText(text, value) : g_strdup("is empty");
}

char *
optionsSetSize(void *bytes, const char *value)
{
    return optionsParseNumber(value, 0, G_MAXINT64, bytes) ? NULL :
                                                             g_strdup("is not a size in bytes");
}

char *
optionsSetLogSize(void *bytes, const char *value)
{
    if (!optionsParseNumber(value, NITRO_LOG_SIZE_MIN, G_MAXINT64, bytes))
        return g_strdup_printf("is not a number of bytes from %d on", NITRO_LOG_SIZE_MIN);
    return NULL;
}

char *
optionsSetFd(void *fd, const char *value)
{
    uint64_t number;
    int flags;

    if (!optionsParseNumber(value, 0, G_MAXINT, &number))
        return g_strdup("is not the number of a file descriptor");

    flags = fcntl((int)number, F_GETFD);
    if (flags < 0)
        return g_strdup("is not an open file descriptor");
    if (fcntl((int)number, F_SETFD, flags | FD_CLOEXEC) < 0)
        return g_strdup_printf("cannot be used: %s", g_strerror(errno));

    *(int *)fd = (int)number;
    return NULL;
}

char *
optionsSetFds(void *fds, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    GArray *array = g_array_new(FALSE, FALSE, sizeof(int));
    size_t i;

    *(GArray **)fds = array;
    for (i = 0; parts[i]; i++) {
        struct stat st;
        int fd = -1;
        char *error = optionsSetFd(&fd, parts[i]);

        if (error)
            return error;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
            return g_strdup_printf("has %d, which is not a regular file", fd);
        g_array_append_val(array, fd);
    }
    return array->len > 0 ? NULL : g_strdup("names no file descriptor");
}

char *
optionsSetArch(void *arch, const char *value)
{
    return eifArchFromString(value, arch) ? NULL :
                                            g_strdup("is neither 'x86_64' nor 'aarch64'");
}

char *
optionsParsePcr(const char *hex, uint8_t pcr[EIF_PCR_SIZE])
{
    size_t i;

    if (strlen(hex) != 2 * EIF_PCR_SIZE)
        return g_strdup_printf("has %zu hexadecimal digits where SHA-384 has %d", strlen(hex),
                               2 * EIF_PCR_SIZE);

    for (i = 0; i < EIF_PCR_SIZE; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]);
        int low = g_ascii_xdigit_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return g_strdup("holds a character that is no hexadecimal digit");
        pcr[i] = (uint8_t)(high * 16 + low);
    }
    return NULL;
}
