/*
 * nitro_services_link.c: makes the link of a services process with its switch
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes behind the switch's answer is the services process's, with descriptors in it: nothing
 * is read beyond the end of a line.
 */

#include <config.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_broker.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_monitor_message.h"
#include "nitro_services.h"
#include "nitro_services_link.h"
#include "nitro_socket.h"
#include "services_protocol.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* us: how long a switch may take to answer */
#define NITRO_SERVICES_LINK_TIMEOUT (5 * G_USEC_PER_SEC)

/* Bytes of a line that the switch sends before its answer, and how many there are at most */
#define NITRO_SERVICES_LINK_LINE_MAX 4096
#define NITRO_SERVICES_LINK_LINES_MAX 64


/* Sends @line, which is far smaller than the buffer of the socket. Returns 0, or -1 with errno set. */
static int
nitroServicesLinkSend(int fd,
                      const char *line)
{
    ssize_t sent = send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent == (ssize_t) strlen(line))
        return 0;
    if (sent >= 0)
        errno = EAGAIN;
    return -1;
}


static char *
nitroServicesLinkFormatServe(const nitroServiceDef *services,
                             size_t n)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    bool first = true;
    size_t i;

    virBufferAddLit(&buf, "{\"command\": \"" NITRO_LINK_COMMAND_SERVE "\", \"ports\": [");
    for (i = 0; i < n; i++) {
        if (!nitroServiceIsServed(services[i].type))
            continue;
        virBufferAsprintf(&buf, "%s%u", first ? "" : ", ", services[i].port);
        first = false;
    }
    virBufferAddLit(&buf, "]}\n");
    return virBufferContentAndReset(&buf);
}


int
nitroServicesLinkOpen(nitroDriver *driver,
                      const char *path,
                      const nitroServiceDef *services,
                      size_t n)
{
    g_autofree char *line = nitroServicesLinkFormatServe(services, n);
    VIR_AUTOCLOSE fd = path ? nitroSocketConnect(path) : nitroBrokerConnect(driver, line);
    int ret;

    if (!path && fd < 0)
        return -1;
    if (path && (fd < 0 || nitroServicesLinkSend(fd, line) < 0)) {
        virReportSystemError(fd < 0 ? -fd : errno, _("cannot connect to '%s' for vsock services"),
                             path);
        return -1;
    }
    ret = fd;
    fd = -1;
    return ret;
}


/* Waits until there is something to read. Returns 0, or -1 with errno set. */
static int
nitroServicesLinkPoll(int fd,
                      gint64 end)
{
    struct pollfd link = { .fd = fd, .events = POLLIN };
    gint64 left = (end - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
    int rc = poll(&link, 1, MAX(left, 0));

    if (rc > 0 || (rc < 0 && errno == EINTR))
        return 0;
    if (rc == 0)
        errno = ETIMEDOUT;
    return -1;
}


/*
 * Reads what there is of a line, up to its end, and no more. Returns the bytes that were read, 0 at the
 * end of the connection, or -1 with errno set: EAGAIN when there is nothing.
 */
static ssize_t
nitroServicesLinkReadPart(int fd,
                          char *buf,
                          size_t size)
{
    ssize_t got = recv(fd, buf, size, MSG_PEEK | MSG_DONTWAIT);
    const char *newline;

    if (got <= 0)
        return got;
    if ((newline = memchr(buf, '\n', got)))
        got = newline - buf + 1;
    return recv(fd, buf, got, MSG_DONTWAIT);
}


/* Reads a line into @line, without its end. Returns 0, or -1 with errno set. */
static int
nitroServicesLinkRead(int fd,
                      gint64 end,
                      char *line)
{
    size_t len = 0;

    while (len < NITRO_SERVICES_LINK_LINE_MAX) {
        ssize_t got;

        if (nitroServicesLinkPoll(fd, end) < 0)
            return -1;
        got = nitroServicesLinkReadPart(fd, line + len, NITRO_SERVICES_LINK_LINE_MAX - len);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            return -1;
        len += got;
        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
            return 0;
        }
    }
    errno = EMSGSIZE;
    return -1;
}


/*
 * Takes the broker's greeting. One of an earlier version would not answer what it does not know.
 * Returns 0, or -1 with an error set.
 */
static int
nitroServicesLinkGreet(virJSONValue *object,
                       const char *name)
{
    virJSONValue *greeting = virJSONValueObjectGetObject(object, NITRO_BROKER_GREETING);
    unsigned int services = 0;

    if (greeting && virJSONValueObjectGetNumberUint(greeting, "services", &services) == 0 &&
        services > 0)
        return 0;
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("the broker of this host is that of an earlier version, and has no services for domain '%s': it ends when no enclave needs it any more, then try again"),
                   name);
    return -1;
}


/* The port of @object is another program's. */
static void
nitroServicesLinkReportBusy(virJSONValue *object,
                            const char *name,
                            unsigned int port)
{
    int err = 0;

    if (virJSONValueObjectGetNumberInt(object, "errno", &err) < 0 || err <= 0 || err > 4095)
        err = EADDRINUSE;
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("the vsock port %u of domain '%s' cannot be served (%s): end the program that listens there, or choose another port"),
                   port, name, g_strerror(err));
}


/* Returns 1 when @object says that the ports are served, 0 when it says nothing of it, or -1 with an
 * error set. */
static int
nitroServicesLinkHear(virJSONValue *object,
                      const char *name)
{
    const char *event = virJSONValueObjectGetString(object, "event");
    unsigned int port;

    if (STREQ_NULLABLE(event, NITRO_LINK_EVENT_SERVING))
        return 1;
    /* The broker tells of the heartbeat's port in the same way, but for the number. */
    if (STREQ_NULLABLE(event, NITRO_LINK_EVENT_PORT_BUSY) &&
        virJSONValueObjectGetNumberUint(object, "port", &port) == 0) {
        nitroServicesLinkReportBusy(object, name, port);
        return -1;
    }
    return 0;
}


int
nitroServicesLinkAwait(int fd,
                       const char *name,
                       bool broker)
{
    g_autofree char *line = g_new0(char, NITRO_SERVICES_LINK_LINE_MAX + 1);
    gint64 end = g_get_monotonic_time() + NITRO_SERVICES_LINK_TIMEOUT;
    bool greeted = !broker;
    size_t i;

    for (i = 0; i < NITRO_SERVICES_LINK_LINES_MAX; i++) {
        g_autoptr(virJSONValue) object = NULL;
        int rc;

        if (nitroServicesLinkRead(fd, end, line) < 0) {
            virReportError(errno == ETIMEDOUT ? VIR_ERR_OPERATION_TIMEOUT : VIR_ERR_OPERATION_FAILED,
                           _("the vsock ports of domain '%s' are not served: %s does not answer (%s)"),
                           name, broker ? _("the vsock broker") : _("the helper"),
                           g_strerror(errno));
            return -1;
        }
        if (!(object = nitroMonitorParse(line)))
            break;
        rc = greeted ? nitroServicesLinkHear(object, name) : nitroServicesLinkGreet(object, name);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        greeted = true;
    }
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("the vsock ports of domain '%s' are not served: %s says what nobody understands"),
                   name, broker ? _("the vsock broker") : _("the helper"));
    return -1;
}


int
nitroServicesLinkTellEnclave(int fd,
                             const char *name,
                             unsigned int cid)
{
    g_autofree char *line = g_strdup_printf("{\"command\": \"" NITRO_LINK_COMMAND_ENCLAVE "\", "
                                            "\"cid\": %u}\n", cid);

    if (nitroServicesLinkSend(fd, line) == 0)
        return 0;
    virReportSystemError(errno, _("the vsock ports of domain '%s' are not served any more"), name);
    return -1;
}


static bool
nitroServicesHaveBroker(const virDomainDef *def)
{
    return nitroDomainDefGetMachine(def) == NITRO_MACHINE_NITRO;
}


void
nitroServicesLinkingClear(nitroServicesLinking *linking)
{
    g_free(linking->name);
    g_free(linking->path);
    g_free(linking->services);
    virObjectUnref(linking->mon);
    nitroHelperUnref(linking->helper);
}


void
nitroServicesLinkingInit(nitroServicesLinking *linking,
                         nitroDriver *driver,
                         virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    linking->name = g_strdup(vm->def->name);
    if (!nitroServicesHaveBroker(vm->def))
        linking->path = nitroServicesGetLinkPath(driver, vm);
    linking->services = nitroDomainDefGetServices(vm->def, &linking->n);
    linking->cid = vm->def->vsock->guest_cid;
    if (priv->run.services.mon)
        linking->mon = virObjectRef(priv->run.services.mon);
    if (priv->run.helper)
        linking->helper = nitroHelperRef(priv->run.helper);
}


int
nitroServicesLinkGive(const nitroServicesLinking *linking,
                      int fd)
{
    int pidfd = linking->helper ? nitroHelperGetFd(linking->helper) : -1;

    if (nitroServicesLinkTellEnclave(fd, linking->name, linking->cid) < 0)
        return -1;
    return nitroServicesMonitorLink(linking->mon, fd, pidfd, NITRO_SERVICES_TIMEOUT);
}
