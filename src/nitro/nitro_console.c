/*
 * nitro_console.c: the far end of an enclave's debug console
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon opens it, the helper writes to it, and clients read a pty through the daemon.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nitro_console.h"
#include "nitro_domain_conf.h"
#include "nitro_file.h"
#include "nitro_socket.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_console");

/* Clients ask for the console by either of its faces, so both have one name. */
static void
nitroConsoleSetAlias(virDomainDef *def)
{
    const char *alias = def->nserials > 0 ? "serial0" : "console0";

    g_free(def->consoles[0]->info.alias);
    def->consoles[0]->info.alias = g_strdup(alias);
    if (def->nserials > 0) {
        g_free(def->serials[0]->info.alias);
        def->serials[0]->info.alias = g_strdup(alias);
    }
}


static int
nitroConsoleOpenPty(virDomainChrSourceDef *source,
                    int *fd)
{
    g_autofree char *path = NULL;

    if (virFileOpenTty(fd, &path, 1) < 0) {
        virReportSystemError(errno, "%s", _("cannot allocate a pty for the console"));
        return -1;
    }
    g_free(source->data.file.path);
    source->data.file.path = g_steal_pointer(&path);
    return 0;
}


/*
 * The socket that a run has made is noted in the run directory: who ends the run, which
 * may be the next daemon, removes this one and no other.
 */
static char *
nitroConsoleNotePath(const char *rundir)
{
    return g_strdup_printf("%s/console-socket", rundir);
}


static int
nitroConsoleWriteNote(const char *rundir,
                      const nitroFileId *id)
{
    g_autofree char *path = nitroConsoleNotePath(rundir);
    g_autofree char *text = g_strdup_printf("%llu %llu\n", id->device, id->inode);

    if (virFileWriteStr(path, text, 0600) < 0) {
        virReportSystemError(errno, _("cannot write to the file '%s'"), path);
        return -1;
    }
    return 0;
}


/* Returns 0, or -1 when there is no note. */
static int
nitroConsoleReadNote(const char *rundir,
                     nitroFileId *id)
{
    g_autofree char *path = nitroConsoleNotePath(rundir);
    g_autofree char *text = NULL;

    if (virFileReadAllQuiet(path, 100, &text) < 0 ||
        sscanf(text, "%llu %llu", &id->device, &id->inode) != 2)
        return -1;
    return 0;
}


/* Returns the descriptor, or -errno; or -1 with an error set and *@reported true. */
static int
nitroConsoleListen(const nitroFilePlace *place,
                   const char *rundir,
                   bool *reported)
{
    VIR_AUTOCLOSE fd = -1;
    nitroFileId id;
    int ret;

    ret = fd = nitroFileListen(place, &id);
    if (fd < 0)
        return ret;
    if (nitroConsoleWriteNote(rundir, &id) < 0) {
        ignore_value(nitroFileRemove(place, &id));
        *reported = true;
        return -1;
    }
    fd = -1;
    return ret;
}


static int
nitroConsoleOpenUnix(const virDomainChrSourceDef *source,
                     const char *rundir,
                     int *fd)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    const char *path = source->data.nix.path;
    bool reported = false;
    int sock;

    if (nitroFileFind(path, &place) < 0)
        return -1;
    if (strlen(path) > NITRO_SOCKET_PATH_MAX)
        sock = -ENAMETOOLONG; /* nobody could connect */
    else if (source->data.nix.listen)
        sock = nitroConsoleListen(&place, rundir, &reported);
    else
        /* A listener whose queue is full must not hold up the daemon. */
        sock = nitroFileConnect(&place);

    if (sock >= 0) {
        *fd = sock;
        return 0;
    }
    if (reported)
        return -1;
    if (sock == -ENAMETOOLONG)
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the path '%s' of the console is too long for a UNIX socket: at most %zu bytes can be used, and %d for the name of the socket"),
                       path, NITRO_SOCKET_PATH_MAX, NITRO_FILE_SOCKET_NAME_MAX);
    else if (source->data.nix.listen)
        virReportSystemError(-sock, _("cannot listen on the UNIX socket '%s' of the console"),
                             path);
    else
        virReportSystemError(-sock, _("cannot connect to the UNIX socket '%s' of the console"),
                             path);
    return -1;
}


int
nitroConsoleOpen(virDomainDef *def,
                 const char *rundir,
                 int *fd)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);

    *fd = -1;
    if (!console)
        return 0;

    nitroConsoleSetAlias(def);
    if (!nitroDomainDefIsDebug(def))
        return 0;

    switch ((virDomainChrType)console->source->type) {
    case VIR_DOMAIN_CHR_TYPE_PTY:
        return nitroConsoleOpenPty(console->source, fd);
    case VIR_DOMAIN_CHR_TYPE_FILE:
        return 0; /* nitroOutputsOpen() has done so */
    case VIR_DOMAIN_CHR_TYPE_UNIX:
        return nitroConsoleOpenUnix(console->source, rundir, fd);
    case VIR_DOMAIN_CHR_TYPE_NULL:
        return 0;
    default:
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("a console of type '%s' is not supported"),
                       virDomainChrTypeToString(console->source->type));
        return -1;
    }
}


int
nitroConsoleHold(const virDomainDef *def)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);
    const char *path;
    int fd;

    if (!console || console->source->type != VIR_DOMAIN_CHR_TYPE_PTY ||
        !(path = console->source->data.file.path))
        return -1;

    if ((fd = open(path, O_PATH | O_CLOEXEC)) < 0)
        VIR_WARN("Unable to find the console '%s' of domain '%s': %s",
                 path, def->name, g_strerror(errno));
    return fd;
}


int
nitroConsoleOpenStream(const virDomainDef *def,
                       const virDomainChrDef *console,
                       int fd,
                       nitroConsoleReader *reader,
                       virStreamPtr st)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int rc = nitroConsoleReaderOpen(reader, path, st);

    if (rc < 0 && virLastErrorIsSystemErrno(EIO))
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the enclave of domain '%s' has ended, and its console '%s' with it"),
                       def->name, console->source->data.file.path);
    return rc;
}


void
nitroConsoleClose(const virDomainDef *def,
                  const char *rundir)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    const char *path;
    nitroFileId id;

    if (!console || console->source->type != VIR_DOMAIN_CHR_TYPE_UNIX ||
        nitroConsoleReadNote(rundir, &id) < 0)
        return;

    path = console->source->data.nix.path;
    if (nitroFileFind(path, &place) < 0) {
        VIR_WARN("Unable to remove the socket '%s': %s", path, virGetLastErrorMessage());
        virResetLastError();
    } else if (nitroFileRemove(&place, &id) < 0) {
        VIR_WARN("Unable to remove the socket '%s': %s", path, g_strerror(errno));
    }
}


virDomainChrDef *
nitroConsoleFind(const virDomainDef *def,
                 const char *alias)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);

    if (!console) {
        virReportError(VIR_ERR_INVALID_ARG, _("domain '%s' has no console"), def->name);
        return NULL;
    }
    if (alias && STRNEQ_NULLABLE(alias, console->info.alias)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("domain '%s' has no console '%s': it is '%s'"),
                       def->name, alias, NULLSTR(console->info.alias));
        return NULL;
    }
    if (!nitroDomainDefIsDebug(def)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the enclave of domain '%s' does not run in debug mode, so it has no console to read: set <nitro:enclave debug='yes'/>"),
                       def->name);
        return NULL;
    }
    if (console->source->type != VIR_DOMAIN_CHR_TYPE_PTY) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the console of domain '%s' is of type '%s' and cannot be opened through libvirt: only a pty can"),
                       def->name, virDomainChrTypeToString(console->source->type));
        return NULL;
    }
    return console;
}
