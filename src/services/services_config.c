/*
 * services_config.c: what the daemon says of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: descriptor -> servicesConfigReadText() -> GKeyFile -> a group each -> the parser of its type
 * -> servicesConfigCheck(), what services have to be to each other.
 */

#include "services_config.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/options_values.h"
#include "nitro_limits.h"
#include "services_protocol.h"

#define SERVICES_INTERVAL_MAX 86400
#define SERVICES_FAILURES_MAX 1000

/* A group that is being read */
typedef struct {
    GKeyFile *file;
    const char *group;
    ServicesConfig *all;
} ServiceGroup;

/* Returns the value of @key (g_free); NULL: it is not there. */
static char *
serviceGet(const ServiceGroup *group, const char *key)
{
    return g_key_file_get_string(group->file, group->group, key, NULL);
}

static char *
serviceMissing(const char *key)
{
    return g_strdup_printf("lacks '%s'", key);
}

/* The sentence's end @error about the value of @key, which is freed; NULL stays NULL. */
static char *
serviceWrong(const char *key, const char *value, char *error)
{
    g_autofree char *end = error;

    return end ? g_strdup_printf("has %s=%s, which %s", key, value, end) : NULL;
}

/* Reads a number that has to be there. */
static char *
serviceGetNumber(const ServiceGroup *group, const char *key, uint64_t min, uint64_t max,
                 uint64_t *number)
{
    g_autofree char *value = serviceGet(group, key);

    if (!value)
        return serviceMissing(key);
    if (optionsParseNumber(value, min, max, number))
        return NULL;
    return serviceWrong(key, value, g_strdup_printf("is not a number from %llu to %llu",
                                                    (unsigned long long)min,
                                                    (unsigned long long)max));
}

/* A number of a port, or its name in /etc/services, which cannot be read later. */
static char *
serviceParsePort(const char *text, uint16_t *port)
{
    const struct servent *entry;
    uint64_t number;

    if (optionsParseNumber(text, 1, 65535, &number)) {
        *port = (uint16_t)number;
        return NULL;
    }
    entry = getservbyname(text, "tcp");
    if (!entry)
        return g_strdup("is neither a port from 1 to 65535 nor the name of one");
    *port = ntohs((uint16_t)entry->s_port);
    return NULL;
}

static char *
serviceParseOutbound(const ServiceGroup *group, ServiceConfig *service)
{
    g_autofree char *port = serviceGet(group, "service");
    Address address;

    service->path = serviceGet(group, "path");
    service->host = serviceGet(group, "host");
    if (service->path) {
        if (service->host)
            return g_strdup("has both 'host' and 'path'");
        if (*service->path != '/' ||
            strlen(service->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return serviceWrong("path", service->path,
                                g_strdup("is not absolute, or too long for a socket"));
        group->all->unixSockets = true;
        return NULL;
    }

    if (!service->host)
        return serviceMissing("host");
    if (!port)
        return serviceMissing("service");
    if (!addressParse(service->host, &address)) {
        if (!*service->host || strlen(service->host) > 255 || strpbrk(service->host, " \t/:%"))
            return serviceWrong("host", service->host, g_strdup("is neither a name nor an address"));
        group->all->looksUp = true;
    }
    return serviceWrong("service", port, serviceParsePort(port, &service->hostPort));
}

static char *
serviceGetFd(const ServiceGroup *group, const char *key, int *fd)
{
    g_autofree char *value = serviceGet(group, key);

    return value ? serviceWrong(key, value, optionsSetFd(fd, value)) : serviceMissing(key);
}

static char *
serviceParseInbound(const ServiceGroup *group, ServiceConfig *service)
{
    char *error = serviceGetFd(group, "fd", &service->fd);
    int listens = 0;
    socklen_t len = sizeof(listens);

    if (error)
        return error;
    if (getsockopt(service->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
        return g_strdup_printf("has fd=%d, which is not a listening socket", service->fd);
    return NULL;
}

static char *
serviceParseProxy(const ServiceGroup *group, ServiceConfig *service)
{
    g_auto(GStrv) entries = g_key_file_get_string_list(group->file, group->group, "allow", NULL,
                                                       NULL);
    size_t i;

    service->allow = proxyAllowNew();
    for (i = 0; entries && entries[i]; i++) {
        char *error = proxyAllowAdd(service->allow, entries[i]);

        if (error)
            return serviceWrong("allow", entries[i], error);
    }
    group->all->looksUp = true;
    return NULL;
}

/* "9;10", as a list of an option */
static char *
serviceParseBackups(const char *value, GArray **backups)
{
    g_autofree char *list = g_strdelimit(g_strdup(value), ";", ',');
    size_t len = strlen(list);

    if (len > 0 && list[len - 1] == ',')
        list[len - 1] = '\0';
    return optionsSetFds(backups, list);
}

static char *
serviceParseLog(const ServiceGroup *group, ServiceConfig *service)
{
    g_autofree char *backups = serviceGet(group, "backups");
    g_autofree char *size = serviceGet(group, "max-size");
    char *error = serviceGetFd(group, "fd", &service->fd);
    struct stat st;

    if (!error && size)
        error = serviceGetNumber(group, "max-size", NITRO_LOG_SIZE_MIN, G_MAXINT64,
                                 &service->maxSize);
    if (!error && backups)
        error = serviceWrong("backups", backups, serviceParseBackups(backups, &service->backups));
    if (error)
        return error;
    if (service->backups && service->maxSize == 0)
        return g_strdup("lacks 'max-size', which backups need");
    if (fstat(service->fd, &st) < 0 || (service->maxSize > 0 && !S_ISREG(st.st_mode)))
        return g_strdup_printf("has fd=%d, which is not a regular file", service->fd);
    return NULL;
}

static char *
serviceParseSyslog(const ServiceGroup *group, ServiceConfig *service)
{
    service->name = serviceGet(group, "name");
    return service->name && *service->name ? NULL : serviceMissing("name");
}

static char *
serviceParseHealth(const ServiceGroup *group, ServiceConfig *service)
{
    uint64_t interval;
    uint64_t failures;
    char *error = serviceGetNumber(group, "interval", 1, SERVICES_INTERVAL_MAX, &interval);

    if (!error)
        error = serviceGetNumber(group, "failures", 1, SERVICES_FAILURES_MAX, &failures);
    if (error)
        return error;
    service->interval = (unsigned int)interval;
    service->failures = (unsigned int)failures;
    return NULL;
}

static const struct {
    const char *name;
    bool listens; /* the enclave connects to the port, which nobody else can have then */
    char *(*parse)(const ServiceGroup *group, ServiceConfig *service); /* NULL: has no values */
} serviceTypes[] = {
    [SERVICE_OUTBOUND] = {"outbound", true, serviceParseOutbound},
    [SERVICE_INBOUND] = {"inbound", false, serviceParseInbound},
    [SERVICE_PROXY] = {"proxy", true, serviceParseProxy},
    [SERVICE_LOG] = {"log", true, serviceParseLog},
    [SERVICE_SYSLOG] = {"syslog", true, serviceParseSyslog},
    [SERVICE_TIME] = {"time", true, NULL},
    [SERVICE_HEALTH] = {"health", false, serviceParseHealth},
    [SERVICE_EXIT] = {"exit", true, NULL},
};

const char *
serviceTypeToString(ServiceType type)
{
    return serviceTypes[type].name;
}

bool
serviceTypeListens(ServiceType type)
{
    return serviceTypes[type].listens;
}

static void
serviceConfigFree(void *opaque)
{
    ServiceConfig *service = opaque;

    g_free(service->host);
    g_free(service->path);
    g_free(service->name);
    if (service->backups)
        g_array_unref(service->backups);
    proxyAllowFree(service->allow);
    g_free(service);
}

void
servicesConfigFree(ServicesConfig *config)
{
    if (!config)
        return;
    g_ptr_array_unref(config->services);
    g_free(config);
}

/* "TYPE PORT". Returns NULL, or what is wrong with it as the end of a sentence. */
static char *
serviceParseHeader(const char *group, ServiceConfig *service)
{
    const char *space = strchr(group, ' ');
    g_autofree char *name = space ? g_strndup(group, space - group) : g_strdup(group);
    uint64_t port;
    size_t type = 0;

    while (type < G_N_ELEMENTS(serviceTypes) && !g_str_equal(serviceTypes[type].name, name))
        type++;
    if (type == G_N_ELEMENTS(serviceTypes))
        return g_strdup("is of no type that there is");
    if (!space || !optionsParseNumber(space + 1, 0, G_MAXUINT32 - 1, &port))
        return g_strdup("has no port of vsock");
    service->type = (ServiceType)type;
    service->port = (uint32_t)port;
    return NULL;
}

static char *
serviceParse(const ServiceGroup *group)
{
    ServiceConfig *service = g_new0(ServiceConfig, 1);
    char *error;

    service->fd = -1;
    g_ptr_array_add(group->all->services, service);
    error = serviceParseHeader(group->group, service);
    if (!error && serviceTypes[service->type].parse)
        error = serviceTypes[service->type].parse(group, service);
    return error;
}

/* Returns whether two services would have the same connections. */
static bool
servicesConfigClash(const ServicesConfig *config)
{
    guint i;
    guint k;

    for (i = 0; i < config->services->len; i++) {
        const ServiceConfig *one = g_ptr_array_index(config->services, i);

        for (k = 0; k < i; k++) {
            const ServiceConfig *other = g_ptr_array_index(config->services, k);

            if (one->port == other->port && serviceTypes[one->type].listens &&
                serviceTypes[other->type].listens)
                return true;
        }
    }
    return false;
}

/* Reads all that @fd has. Returns the text, or NULL with *@error set. */
static char *
servicesConfigReadText(int fd, gsize *len, char **error)
{
    g_autofree char *text = g_malloc(NITRO_SERVICES_CONFIG_MAX + 1);

    *len = 0;
    while (*len <= NITRO_SERVICES_CONFIG_MAX) {
        ssize_t n = read(fd, text + *len, NITRO_SERVICES_CONFIG_MAX + 1 - *len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *error = g_strdup_printf("The configuration cannot be read: %s", g_strerror(errno));
            return NULL;
        }
        if (n == 0)
            return g_steal_pointer(&text);
        *len += n;
    }
    *error = g_strdup_printf("The configuration has more than %d bytes", NITRO_SERVICES_CONFIG_MAX);
    return NULL;
}

static int
servicesConfigParse(ServicesConfig *config, GKeyFile *file, char **error)
{
    gsize n;
    g_auto(GStrv) groups = g_key_file_get_groups(file, &n);
    gsize i;

    if (n > NITRO_SERVICES_MAX) {
        *error = g_strdup_printf("The configuration has more than %d services", NITRO_SERVICES_MAX);
        return -1;
    }
    for (i = 0; i < n; i++) {
        const ServiceGroup group = {file, groups[i], config};
        g_autofree char *wrong = serviceParse(&group);

        if (wrong) {
            *error = g_strdup_printf("The service '%s' %s", groups[i], wrong);
            return -1;
        }
    }
    if (servicesConfigClash(config)) {
        *error = g_strdup("The configuration has two services that the enclave reaches by one port");
        return -1;
    }
    return 0;
}

ServicesConfig *
servicesConfigRead(int fd, char **error)
{
    g_autoptr(ServicesConfig) config = g_new0(ServicesConfig, 1);
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) wrong = NULL;
    g_autofree char *text = NULL;
    gsize len;

    config->services = g_ptr_array_new_with_free_func(serviceConfigFree);
    text = servicesConfigReadText(fd, &len, error);
    close(fd);
    if (!text)
        return NULL;
    if (!g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, &wrong)) {
        *error = g_strdup_printf("The configuration cannot be used: %s", wrong->message);
        return NULL;
    }
    return servicesConfigParse(config, file, error) == 0 ? g_steal_pointer(&config) : NULL;
}
