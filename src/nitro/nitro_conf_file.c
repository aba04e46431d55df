/*
 * nitro_conf_file.c: reads nitro.conf, and sets up what it manages
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file -> virConf -> one function for each kind of key -> nitroDriverConfig.
 * nitro.conf.in describes the keys.
 */

#include <config.h>

#include <unistd.h>

#include "configmake.h"
#include "nitro_conf.h"
#include "nitro_domain_conf.h"
#include "nitro_pool.h"
#include "virconf.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_CONF

VIR_LOG_INIT("nitro.nitro_conf_file");

/* No machine has more huge pages than this. */
#define NITRO_POOL_PAGES_MAX (1ULL << 32)

/* Each is open in the helper, for each of three files. */
#define NITRO_LOG_BACKUPS_MAX 100

/* No kernel counts more CPUs. */
#define NITRO_POOL_CPUS_MAX 8192

static const char *const nitroConfKeys[] = {
    "device", "user", "group", "huge_page_size", "heartbeat_timeout",
    "max_starts", "log_max_size", "log_max_backups", "manage_pool", "pool_cpus",
    "pool_huge_pages", "security_required",
};


char *
nitroDriverConfigFile(bool privileged)
{
    g_autofree char *confdir = NULL;

    if (privileged)
        return g_strdup(SYSCONFDIR "/libvirt/nitro.conf");

    confdir = virGetUserConfigDirectory();
    return g_strdup_printf("%s/nitro.conf", confdir);
}


/* A key that is not known is a key with a typing error: what it should do would not happen. */
static int
nitroConfCheckKey(const char *name,
                  virConfValue *value G_GNUC_UNUSED,
                  void *opaque)
{
    const char *path = opaque;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nitroConfKeys); i++) {
        if (STREQ(name, nitroConfKeys[i]))
            return 0;
    }
    virReportError(VIR_ERR_CONF_SYNTAX, _("%s: unknown parameter '%s'"), path, name);
    return -1;
}


static int
nitroConfLoadDevice(nitroDriverConfig *config,
                    virConf *conf,
                    const char *path)
{
    if (virConfGetValueString(conf, "device", &config->device) < 0)
        return -1;

    if (!g_path_is_absolute(config->device)) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'device' is '%s', which is no absolute path"), path, config->device);
        return -1;
    }
    return 0;
}


/* The primary group of the user @name of helpers. Returns 0, or -1 with an error set. */
static int
nitroConfFindGroup(nitroDriverConfig *config,
                   const char *name,
                   const char *path)
{
    g_autofree gid_t *groups = NULL;

    /* It comes first; of an id without an entry there is none. */
    if (virGetGroupList(config->user, (gid_t)-1, &groups) < 1) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'user' is '%s', which has no entry in the user database: set 'group', too"),
                       path, name);
        return -1;
    }
    config->group = groups[0];
    return 0;
}


/*
 * Whom the helpers of the system's daemon run as when nothing is said: never root, which has to
 * be asked for. Returns 0, or -1 with an error set.
 */
static int
nitroConfFindUser(nitroDriverConfig *config,
                  const char *path)
{
    if (virGetUserID(NITRO_USER, &config->user) < 0) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("there is no user '%s', whom helpers run as: make it with 'systemd-sysusers' or 'useradd --system --user-group --groups kvm %s', or name another 'user' in '%s'"),
                       NITRO_USER, NITRO_USER, path);
        return -1;
    }
    return 0;
}


/* Whom the helpers run as. A user alone brings its primary group. */
static int
nitroConfLoadUser(nitroDriverConfig *config,
                  virConf *conf,
                  const char *path)
{
    g_autofree char *user = NULL;
    g_autofree char *group = NULL;

    if (virConfGetValueString(conf, "user", &user) < 0 ||
        virConfGetValueString(conf, "group", &group) < 0)
        return -1;
    if (!user && !group && !config->privileged)
        return 0;

    if (geteuid() != 0 && (user || group)) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: '%s' cannot be chosen: the daemon is not root's, and helpers run as its own user"),
                       path, user ? "user" : "group");
        return -1;
    }
    if (user && virGetUserID(user, &config->user) < 0) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'user' is '%s', and there is no such user"), path, user);
        return -1;
    }
    if (!user && config->privileged && nitroConfFindUser(config, path) < 0)
        return -1;
    if (group && virGetGroupID(group, &config->group) < 0) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'group' is '%s', and there is no such group"), path, group);
        return -1;
    }
    if (group || config->user == (uid_t)-1)
        return 0;
    return nitroConfFindGroup(config, user ? user : NITRO_USER, path);
}


/* "2M", "1G": a size in KiB */
static int
nitroConfParseSize(const char *text,
                   unsigned int *size)
{
    unsigned long long number;
    unsigned long long scale;
    char *unit;

    if (virStrToLong_ullp(text, &unit, 10, &number) < 0)
        return -1;
    if (STRCASEEQ(unit, "K"))
        scale = 1;
    else if (STRCASEEQ(unit, "M"))
        scale = 1024;
    else if (STRCASEEQ(unit, "G"))
        scale = 1024 * 1024;
    else
        return -1;

    if (number == 0 || number > UINT_MAX / scale ||
        number * scale % NITRO_HUGEPAGE_STEP_KIB != 0)
        return -1;
    *size = number * scale;
    return 0;
}


static int
nitroConfLoadPageSize(nitroDriverConfig *config,
                      virConf *conf,
                      const char *path)
{
    g_autofree char *text = NULL;

    if (virConfGetValueString(conf, "huge_page_size", &text) < 0)
        return -1;
    if (!text || STREQ(text, "auto"))
        return 0;

    if (nitroConfParseSize(text, &config->pageSize) < 0) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'huge_page_size' is '%s', and must be \"auto\" or a multiple of 2 MiB with K, M or G behind it, as \"2M\" or \"1G\""),
                       path, text);
        return -1;
    }
    return 0;
}


static int
nitroConfLoadHeartbeat(nitroDriverConfig *config,
                       virConf *conf,
                       const char *path)
{
    if (virConfGetValueUInt(conf, "heartbeat_timeout", &config->heartbeatTimeout) < 0)
        return -1;

    if (config->heartbeatTimeout > NITRO_HEARTBEAT_TIMEOUT_MAX) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'heartbeat_timeout' is %u seconds, and must be at most %d, or 0 for a time-out by the sizes of image and memory"),
                       path, config->heartbeatTimeout, NITRO_HEARTBEAT_TIMEOUT_MAX);
        return -1;
    }
    return 0;
}


static int
nitroConfLoadStarts(nitroDriverConfig *config,
                    virConf *conf,
                    const char *path)
{
    if (virConfGetValueUInt(conf, "max_starts", &config->maxStarts) < 0)
        return -1;

    if (config->maxStarts < 1 || config->maxStarts > NITRO_QUEUE_CALLS) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'max_starts' is %u, and must be 1 to %d domains"),
                       path, config->maxStarts, NITRO_QUEUE_CALLS);
        return -1;
    }
    return 0;
}


static int
nitroConfLoadLog(nitroDriverConfig *config,
                 virConf *conf,
                 const char *path)
{
    if (virConfGetValueULLong(conf, "log_max_size", &config->logMaxSize) < 0 ||
        virConfGetValueUInt(conf, "log_max_backups", &config->logMaxBackups) < 0)
        return -1;

    if (config->logMaxSize != 0 && config->logMaxSize < NITRO_LOG_SIZE_MIN) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'log_max_size' is %llu bytes, and must be at least %d, or 0 for files without limit"),
                       path, config->logMaxSize, NITRO_LOG_SIZE_MIN);
        return -1;
    }
    if (config->logMaxBackups > NITRO_LOG_BACKUPS_MAX) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'log_max_backups' is %u, and must be at most %d"),
                       path, config->logMaxBackups, NITRO_LOG_BACKUPS_MAX);
        return -1;
    }
    return 0;
}


static int
nitroConfLoadPoolCpus(nitroDriverConfig *config,
                      virConf *conf,
                      const char *path)
{
    g_autofree char *list = NULL;

    if (virConfGetValueString(conf, "pool_cpus", &list) < 0)
        return -1;
    if (!list)
        return 0;

    if (virBitmapParse(list, &config->poolCpus, NITRO_POOL_CPUS_MAX) < 0 ||
        virBitmapIsAllClear(config->poolCpus)) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'pool_cpus' is '%s', and must be a list of CPUs, as \"2-3,6-7\""),
                       path, list);
        return -1;
    }
    return 0;
}


/* "64x2M" */
static int
nitroConfParsePages(const char *text,
                    nitroHugepages *pages)
{
    char *size;

    if (virStrToLong_ullp(text, &size, 10, &pages->count) < 0 || *size != 'x' ||
        pages->count == 0 || pages->count > NITRO_POOL_PAGES_MAX)
        return -1;
    return nitroConfParseSize(size + 1, &pages->size);
}


static int
nitroConfLoadPoolPages(nitroDriverConfig *config,
                       virConf *conf,
                       const char *path)
{
    g_auto(GStrv) texts = NULL;
    size_t i;

    if (virConfGetValueStringList(conf, "pool_huge_pages", true, &texts) < 0)
        return -1;
    if (!texts)
        return 0;

    config->poolPages = g_new0(nitroHugepages, g_strv_length(texts));
    for (i = 0; texts[i]; i++) {
        if (nitroConfParsePages(texts[i], &config->poolPages[i]) < 0) {
            virReportError(VIR_ERR_CONF_SYNTAX,
                           _("%s: 'pool_huge_pages' has '%s', and must have numbers of pages with their sizes, as \"64x2M\" or \"4x1G\""),
                           path, texts[i]);
            return -1;
        }
    }
    config->npoolPages = i;
    return 0;
}


static int
nitroConfLoadManage(nitroDriverConfig *config,
                    virConf *conf,
                    const char *path)
{
    if (virConfGetValueBool(conf, "manage_pool", &config->manage) < 0)
        return -1;
    if (!config->manage)
        return 0;

    if (!config->poolCpus && config->npoolPages == 0) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'manage_pool' is 1, but neither 'pool_cpus' nor 'pool_huge_pages' says what to set up"),
                       path);
        return -1;
    }
    if (geteuid() != 0) {
        virReportError(VIR_ERR_CONF_SYNTAX,
                       _("%s: 'manage_pool' is 1, but the daemon is not root's, and cannot manage the CPU pool and huge pages"),
                       path);
        return -1;
    }
    return 0;
}


int
nitroDriverConfigLoadFile(nitroDriverConfig *config,
                          const char *path)
{
    g_autoptr(virConf) conf = NULL;

    if (virFileExists(path)) {
        conf = virConfReadFile(path, 0);
    } else {
        VIR_INFO("There is no '%s': defaults are used", path);
        conf = virConfNew();
    }

    if (!conf ||
        virConfWalk(conf, nitroConfCheckKey, (void *)path) < 0 ||
        nitroConfLoadDevice(config, conf, path) < 0 ||
        nitroConfLoadUser(config, conf, path) < 0 ||
        virConfGetValueBool(conf, "security_required", &config->securityRequired) < 0 ||
        nitroConfLoadPageSize(config, conf, path) < 0 ||
        nitroConfLoadHeartbeat(config, conf, path) < 0 ||
        nitroConfLoadStarts(config, conf, path) < 0 ||
        nitroConfLoadLog(config, conf, path) < 0 ||
        nitroConfLoadPoolCpus(config, conf, path) < 0 ||
        nitroConfLoadPoolPages(config, conf, path) < 0 ||
        nitroConfLoadManage(config, conf, path) < 0)
        return -1;
    return 0;
}


/* Huge pages have to be on the NUMA node of the CPUs. */
static void
nitroConfReservePages(const nitroDriverConfig *config,
                      int node)
{
    size_t i;

    for (i = 0; i < config->npoolPages; i++) {
        const nitroHugepages *pages = &config->poolPages[i];
        unsigned long long found;

        if (nitroHugepagesReserve(pages, node, &found) == 0)
            VIR_INFO("NUMA node %d has %llu huge pages of %u MiB, %llu are asked for",
                     node, found, pages->size / 1024, pages->count);
        else
            VIR_ERROR(_("NUMA node %d has %llu huge pages of %u MiB, and %llu are asked for: %s"),
                      node, found, pages->size / 1024, pages->count, virGetLastErrorMessage());
    }
}


void
nitroDriverConfigManage(const nitroDriverConfig *config)
{
    g_autofree char *list = virBitmapFormat(config->poolCpus);
    g_autoptr(nitroPool) pool = NULL;

    if (!config->manage)
        return;

    if (config->poolCpus && nitroPoolSet(config->poolCpus) < 0)
        VIR_ERROR(_("the CPU pool is not %s: %s"), list, virGetLastErrorMessage());
    else if (config->poolCpus)
        VIR_INFO("The CPU pool is %s", list);

    if (!(pool = nitroPoolRead()))
        VIR_ERROR(_("the CPU pool cannot be read: %s"), virGetLastErrorMessage());
    nitroConfReservePages(config, pool ? pool->node : -1);
    virResetLastError();
}
