/*
 * services_options.c: the command line of libvirt_nitro_services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> the setters of optionEntries -> checkOptions().
 */

#include "services_options.h"

#include "common/options_values.h"

#define FIELD(name) offsetof(ServicesOptions, name)

static const OptionsTableEntry optionEntries[] = {
    {"--name", true, optionsSetText, FIELD(name), .required = true},
    {"--uuid", true, optionsSetText, FIELD(uuid), .required = true},
    {"--control-fd", true, optionsSetFd, FIELD(controlFd), .required = true},
    {"--config-fd", true, optionsSetFd, FIELD(configFd), .required = true},
    {"--log-max-size", true, optionsSetLogSize, FIELD(logMaxSize)},
    {"--log-backup-fds", true, optionsSetFds, FIELD(logBackupFds)},
    {NULL},
};

static char *
checkOptions(void *opaque, const bool *seen)
{
    const ServicesOptions *options = opaque;
    char *error = optionsTableCheckRequired(optionEntries, seen);

    if (!error && options->logBackupFds && options->logMaxSize == 0)
        error = g_strdup("Option --log-max-size is missing, which backups need");
    return error;
}

ServicesOptions *
servicesOptionsNew(void)
{
    ServicesOptions *options = g_new0(ServicesOptions, 1);

    options->controlFd = options->configFd = -1;
    return options;
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

const OptionsTable servicesOptionsTable = {
    .program = "libvirt_nitro_services",
    .help = "Usage: libvirt_nitro_services OPTION...\n"
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
            "  --version             print the version, and exit\n",
    .entries = optionEntries,
    .check = checkOptions,
};
