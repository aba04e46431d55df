/*
 * services_options.c: the command line of libvirt_nitro_services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> servicesOptionsParse() -> the setters of optionTable.
 */

#include "services_options.h"

#include "common/options_table.h"
#include "common/options_values.h"
#include "nitro_limits.h"

static char *
setHelp(void *opaque, const char *value G_GNUC_UNUSED)
{
    ServicesOptions *options = opaque;

    options->action = SERVICES_OPTIONS_HELP;
    return NULL;
}

static char *
setVersion(void *opaque, const char *value G_GNUC_UNUSED)
{
    ServicesOptions *options = opaque;

    options->action = SERVICES_OPTIONS_VERSION;
    return NULL;
}

static char *
setName(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    options->name = g_strdup(value);
    return NULL;
}

static char *
setUuid(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    options->uuid = g_strdup(value);
    return NULL;
}

static char *
setControlFd(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    return optionsSetFd(&options->controlFd, value);
}

static char *
setConfigFd(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    return optionsSetFd(&options->configFd, value);
}

static char *
setLogMaxSize(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    if (!optionsParseNumber(value, NITRO_LOG_SIZE_MIN, G_MAXINT64, &options->logMaxSize))
        return g_strdup_printf("is not a number of bytes from %d on", NITRO_LOG_SIZE_MIN);
    return NULL;
}

static char *
setLogBackupFds(void *opaque, const char *value)
{
    ServicesOptions *options = opaque;

    return optionsSetFds(&options->logBackupFds, value);
}

static const OptionsTableEntry optionTable[] = {
    {"--name", true, setName, .required = true},
    {"--uuid", true, setUuid, .required = true},
    {"--control-fd", true, setControlFd, .required = true},
    {"--config-fd", true, setConfigFd, .required = true},
    {"--log-max-size", true, setLogMaxSize},
    {"--log-backup-fds", true, setLogBackupFds},
    {"--help", false, setHelp, .ends = true},
    {"--version", false, setVersion, .ends = true},
    {NULL},
};

ServicesOptions *
servicesOptionsParse(int argc, char **argv, char **error)
{
    g_autoptr(ServicesOptions) options = g_new0(ServicesOptions, 1);
    bool seen[G_N_ELEMENTS(optionTable)] = {false};

    options->controlFd = options->configFd = -1;
    *error = optionsTableParse(optionTable, seen, argc, argv, options);
    if (!*error && options->action == SERVICES_OPTIONS_RUN) {
        *error = optionsTableCheckRequired(optionTable, seen);
        if (!*error && options->logBackupFds && options->logMaxSize == 0)
            *error = g_strdup("Option --log-max-size is missing, which backups need");
    }
    return *error ? NULL : g_steal_pointer(&options);
}

void
servicesOptionsFree(ServicesOptions *options)
{
    if (!options)
        return;
    g_free(options->name);
    g_free(options->uuid);
    if (options->logBackupFds)
        g_array_unref(options->logBackupFds);
    g_free(options);
}

const char *
servicesOptionsHelp(void)
{
    return "Usage: libvirt_nitro_services OPTION...\n"
           "\n"
           "Runs the vsock services of one enclave for virtnitrod; not meant to be called by hand.\n"
           "\n"
           "  --name NAME           name of the domain\n"
           "  --uuid UUID           its UUID\n"
           "  --control-fd FD       listening UNIX socket for the control protocol\n"
           "  --config-fd FD        where the configuration is read from\n"
           "  --log-max-size BYTES  size of the log on stderr, above which it is rotated\n"
           "  --log-backup-fds FDS  files for old output of stderr\n"
           "  --help                print this text, and exit\n"
           "  --version             print the version, and exit\n";
}
