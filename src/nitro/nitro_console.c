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


static int
nitroConsoleOpenFile(const char *path,
                     virTristateSwitch append,
                     int *fd)
{
    /* Clients write to such files as well, so that nobody may rely on his own offset. */
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

    if (append != VIR_TRISTATE_SWITCH_ON)
        flags |= O_TRUNC;
    if ((*fd = open(path, flags, 0600)) < 0) {
        virReportSystemError(errno, _("cannot open the file '%s' of the console"), path);
        return -1;
    }
    return 0;
}


/*
 * Removes a socket that nobody listens on, as a killed run of the past has left it.
 * One that is in use stays, and bind() fails with EADDRINUSE.
 */
static void
nitroConsoleRemoveStale(const char *path)
{
    VIR_AUTOCLOSE sock = -1;
    struct stat sb;

    /* connect() refuses a file of any other kind with the same error. */
    if (lstat(path, &sb) < 0 || !S_ISSOCK(sb.st_mode))
        return;
    if ((sock = nitroSocketConnect(path)) == -ECONNREFUSED)
        unlink(path);
}


static int
nitroConsoleOpenUnix(const virDomainChrSourceDef *source,
                     int *fd)
{
    const char *path = source->data.nix.path;
    int sock;

    if (source->data.nix.listen) {
        nitroConsoleRemoveStale(path);
        sock = nitroSocketBind(path);
    } else {
        /* A listener whose queue is full must not hold up the daemon. */
        sock = nitroSocketConnect(path);
    }

    if (sock >= 0) {
        *fd = sock;
        return 0;
    }
    if (sock == -ENAMETOOLONG)
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the path '%s' of the console is too long for a UNIX socket: at most %zu bytes can be used"),
                       path, NITRO_SOCKET_PATH_MAX);
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
        return nitroConsoleOpenFile(console->source->data.file.path,
                                    console->source->data.file.append, fd);
    case VIR_DOMAIN_CHR_TYPE_UNIX:
        return nitroConsoleOpenUnix(console->source, fd);
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


int
nitroConsoleOpenLog(const virDomainDef *def,
                    int *fd)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);

    *fd = -1;
    if (!console || !console->source->logfile || !nitroDomainDefIsDebug(def))
        return 0;

    return nitroConsoleOpenFile(console->source->logfile, console->source->logappend, fd);
}


void
nitroConsoleClose(const virDomainDef *def)
{
    virDomainChrDef *console = nitroDomainDefGetConsole(def);

    if (console && nitroDomainDefIsDebug(def) &&
        console->source->type == VIR_DOMAIN_CHR_TYPE_UNIX &&
        console->source->data.nix.listen)
        unlink(console->source->data.nix.path);
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
