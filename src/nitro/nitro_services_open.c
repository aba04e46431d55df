/*
 * nitro_services_open.c: what listens on the host for the services of an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Addresses and paths -> listening sockets; of UNIX sockets a file "service-sockets" in the run
 * directory, by which whoever ends the run, which may be the next daemon, removes these and no others.
 */

#include <config.h>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nitro_file.h"
#include "nitro_services_open.h"
#include "nitro_socket.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_services_open");

/* Bytes that the notes of a run have at most: each socket has a path. */
#define NITRO_SERVICES_NOTES_MAX (1024 * 1024)


/* Addresses */

/* Returns the listening socket, or -errno. */
static int
nitroServicesListenAt(const struct addrinfo *address)
{
    VIR_AUTOCLOSE fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    int only = 0;
    int ret;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    if (address->ai_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address->ai_addr;

        /* "::" is all addresses that there are; any other one has no other family. */
        only = !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0)
            return -errno;
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;

    ret = fd;
    fd = -1;
    return ret;
}


/* Returns the listening socket, or -1 with an error set. */
static int
nitroServicesListenTcp(const char *name,
                       const nitroServiceDef *service)
{
    const virDomainChrSourceDef *source = service->channel->source;
    const char *host = source->data.tcp.host;
    const char *port = source->data.tcp.service;
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
    };
    struct addrinfo *address = NULL;
    int rc;
    int fd;

    /* No name is looked up: the definition has numbers only. */
    if ((rc = getaddrinfo(host, port, &hints, &address)) != 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("inbound service %u of domain '%s' cannot listen at '%s' port '%s' (%s): name an IP address of this host and the number of a port"),
                       service->port, name, NULLSTR(host), NULLSTR(port), gai_strerror(rc));
        return -1;
    }
    fd = nitroServicesListenAt(address);
    freeaddrinfo(address);
    if (fd < 0)
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("inbound service %u of domain '%s' cannot listen at '%s' port '%s' (%s): choose another address, or end the program that has it"),
                       service->port, name, host, port, g_strerror(-fd));
    return fd < 0 ? -1 : fd;
}


/* UNIX sockets */

static char *
nitroServicesNotesPath(const char *rundir)
{
    return g_strdup_printf("%s/service-sockets", rundir);
}


/* Notes that @path is the socket @id. Returns 0, or -1 with an error set. */
static int
nitroServicesNote(const char *rundir,
                  const nitroFileId *id,
                  const char *path)
{
    g_autofree char *notes = nitroServicesNotesPath(rundir);
    g_autofree char *escaped = g_strescape(path, NULL);
    g_autofree char *line = g_strdup_printf("%llu %llu %s\n", id->device, id->inode, escaped);
    VIR_AUTOCLOSE fd = open(notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0 && safewrite(fd, line, strlen(line)) >= 0)
        return 0;
    virReportSystemError(errno, _("cannot write to the file '%s'"), notes);
    return -1;
}


/* The label of @source, "USER:GROUP"; NULL: it has none */
static const char *
nitroServicesGetLabel(const virDomainChrSourceDef *source)
{
    size_t i;

    for (i = 0; i < source->nseclabels; i++) {
        const virSecurityDeviceLabelDef *label = source->seclabels[i];

        if (STREQ_NULLABLE(label->model, "dac") && label->relabel && label->label)
            return label->label;
    }
    return NULL;
}


/*
 * Gives the socket @place, which is the file @id, to the owner that @source names, and to the members of
 * the group. Returns 0, or -1 with an error set.
 */
static int
nitroServicesGive(const virDomainChrSourceDef *source,
                  const nitroFilePlace *place,
                  const nitroFileId *id)
{
    VIR_AUTOCLOSE fd = openat(place->dir, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    const char *label = nitroServicesGetLabel(source);
    uid_t user = (uid_t) -1;
    gid_t group = (gid_t) -1;
    nitroFileId found;

    if (!label)
        return 0;
    if (virParseOwnershipIds(label, &user, &group) < 0)
        return -1;
    if (fd < 0 || nitroFileGetId(fd, &found) < 0) {
        virReportSystemError(errno, _("cannot find the socket '%s' again"), place->path);
        return -1;
    }
    if (!nitroFileIdEqual(&found, id)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the socket '%s' was exchanged by somebody who can write to its directory"),
                       place->path);
        return -1;
    }
    if (chmod(path, 0660) == 0 && fchownat(fd, "", user, group, AT_EMPTY_PATH) == 0)
        return 0;
    virReportSystemError(errno, _("cannot give the socket '%s' to '%s'"), place->path, label);
    return -1;
}


static void
nitroServicesReportUnix(const char *name,
                        const nitroServiceDef *service,
                        int err)
{
    const char *path = service->channel->source->data.nix.path;

    if (err == ENAMETOOLONG)
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("the path '%s' of inbound service %u is too long for a UNIX socket: at most %zu bytes can be used, and %d for the name of the socket"),
                       path, service->port, NITRO_SOCKET_PATH_MAX, NITRO_FILE_SOCKET_NAME_MAX);
    else
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("inbound service %u of domain '%s' cannot listen on the UNIX socket '%s' (%s): choose another path, or end the program that has it"),
                       service->port, name, path, g_strerror(err));
}


/* Returns the listening socket, or -1 with an error set. */
static int
nitroServicesListenUnix(const char *name,
                        const char *rundir,
                        const nitroServiceDef *service)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    const virDomainChrSourceDef *source = service->channel->source;
    const char *path = source->data.nix.path;
    VIR_AUTOCLOSE fd = -1;
    nitroFileId id = { 0 };
    int ret;

    if (nitroFileFind(path, &place) < 0)
        return -1;
    fd = strlen(path) > NITRO_SOCKET_PATH_MAX ? -ENAMETOOLONG : nitroFileListen(&place, &id);
    if (fd < 0) {
        nitroServicesReportUnix(name, service, -fd);
        return -1;
    }
    if (nitroServicesNote(rundir, &id, path) < 0) {
        ignore_value(nitroFileRemove(&place, &id));
        return -1;
    }
    if (nitroServicesGive(source, &place, &id) < 0 || virSetNonBlock(fd) < 0)
        return -1;
    ret = fd;
    fd = -1;
    return ret;
}


int
nitroServicesListen(const char *name,
                    const char *rundir,
                    const nitroServiceDef *services,
                    size_t n,
                    int *listeners)
{
    size_t i;

    for (i = 0; i < n; i++)
        listeners[i] = -1;
    for (i = 0; i < n; i++) {
        if (services[i].type != NITRO_SERVICE_INBOUND)
            continue;
        if (services[i].channel->source->type == VIR_DOMAIN_CHR_TYPE_UNIX)
            listeners[i] = nitroServicesListenUnix(name, rundir, &services[i]);
        else
            listeners[i] = nitroServicesListenTcp(name, &services[i]);
        if (listeners[i] < 0)
            return -1;
    }
    return 0;
}


/* Removes the socket of the note @line, "DEVICE INODE PATH". */
static void
nitroServicesRemoveNoted(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 3);
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    g_autofree char *path = NULL;
    nitroFileId id;

    if (g_strv_length(words) != 3 || virStrToLong_ullp(words[0], NULL, 10, &id.device) < 0 ||
        virStrToLong_ullp(words[1], NULL, 10, &id.inode) < 0)
        return;
    path = g_strcompress(words[2]);
    if (nitroFileFind(path, &place) < 0) {
        VIR_WARN("Unable to remove the socket '%s': %s", path, virGetLastErrorMessage());
        virResetLastError();
    } else if (nitroFileRemove(&place, &id) < 0) {
        VIR_WARN("Unable to remove the socket '%s': %s", path, g_strerror(errno));
    }
}


void
nitroServicesRemoveSockets(const char *rundir)
{
    g_autofree char *path = nitroServicesNotesPath(rundir);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t i;
    int rc = virFileReadAllQuiet(path, NITRO_SERVICES_NOTES_MAX, &text);

    if (rc < 0) {
        if (rc != -ENOENT)
            VIR_WARN("Unable to read '%s': %s", path, g_strerror(-rc));
        return;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++)
        nitroServicesRemoveNoted(lines[i]);
    unlink(path);
}
