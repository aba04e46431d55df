/*
 * nitro_rundir.c: the names of run directories
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The path of a UNIX socket has 107 bytes at most, and in the run directory of an emulated enclave
 * programs make their own, for any port. libvirt's virDomainDefGetShortName() counts characters,
 * of which one can have four bytes. The id alone tells the runs of a daemon apart; the name is for
 * those who read.
 */

#include <config.h>

#include "nitro_rundir.h"
#include "nitro_socket.h"
#include "virfile.h"

#define NITRO_RUN_DIR_NAME_MAX 20 /* bytes of the domain's name; earlier: characters */
#define NITRO_RUN_DIR_LONGEST "/vsock/vsock_4294967295"


/* The first bytes of @name, @max or fewer, so that the last character of them is whole. */
static size_t
nitroRunDirCut(const char *name,
               size_t max)
{
    size_t len = strlen(name);

    if (len <= max)
        return len;

    for (len = max; len > 0 && (name[len] & 0xc0) == 0x80; len--)
        ;
    return len;
}


static char *
nitroRunDirCompose(int id,
                   const char *name,
                   size_t len)
{
    return g_strdup_printf("domain-%d%s%.*s", id, len > 0 ? "-" : "", (int) len, name);
}


char *
nitroRunDirName(const char *stateDir,
                int id,
                const char *name)
{
    g_autofree char *bare = nitroRunDirCompose(id, name, 0);
    size_t used = strlen(stateDir) + strlen("/") + strlen(bare) + strlen("-") +
                  strlen(NITRO_RUN_DIR_LONGEST);
    size_t room = NITRO_SOCKET_PATH_MAX > used ? NITRO_SOCKET_PATH_MAX - used : 0;

    return nitroRunDirCompose(id, name, nitroRunDirCut(name, MIN(room, NITRO_RUN_DIR_NAME_MAX)));
}


char *
nitroRunDirPath(const char *stateDir,
                int id,
                const char *name)
{
    g_autofree char *now = nitroRunDirName(stateDir, id, name);
    g_autofree char *path = g_build_filename(stateDir, now, NULL);
    size_t lengths[2] = { MIN(strlen(name), NITRO_RUN_DIR_NAME_MAX), strlen(name) };
    size_t i;

    if (virFileExists(path))
        return g_steal_pointer(&path);

    if (g_utf8_validate(name, -1, NULL) &&
        g_utf8_strlen(name, -1) > NITRO_RUN_DIR_NAME_MAX)
        lengths[1] = g_utf8_offset_to_pointer(name, NITRO_RUN_DIR_NAME_MAX) - name;

    for (i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree char *before = nitroRunDirCompose(id, name, lengths[i]);
        g_autofree char *old = g_build_filename(stateDir, before, NULL);

        if (virFileExists(old))
            return g_steal_pointer(&old);
    }

    return g_steal_pointer(&path);
}
