/*
 * nsm_options.c: the command line of libvirt_nitro_nsm
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> the setters of optionEntries -> checkOptions().
 */

#include "nsm_options.h"

#include "common/options_values.h"
#include "nsm_identity.h"

static char *
setModuleId(void *moduleId, const char *value)
{
    if (!nsmIdentityIsModule(value))
        return g_strdup_printf("is not a name of 1 to %d printable bytes", NSM_MODULE_MAX);
    return optionsSetWord(moduleId, value);
}

#define FIELD(name) offsetof(NsmOptions, name)

static const OptionsTableEntry optionEntries[] = {
    {"--identity-fd", true, optionsSetFd, FIELD(identityFd), .required = true},
    {"--vhost-user-fd", true, optionsSetFd, FIELD(vhostUserFd)},
    {"--registers-fd", true, optionsSetFd, FIELD(registersFd)},
    {"--debug", false, optionsSetFlag, FIELD(debug)},
    {"--role", true, optionsSetWord, FIELD(role)},
    {"--instance", true, optionsSetWord, FIELD(instance)},
    {"--issue", false, optionsSetFlag, FIELD(issue)},
    {"--directory-fd", true, optionsSetFd, FIELD(directoryFd)},
    {"--directory", true, optionsSetWord, FIELD(directory)},
    {"--module-id", true, setModuleId, FIELD(moduleId)},
    {NULL},
};

/* What is needed with or without --issue is there, and what is for the other way is not. */
static char *
checkOptions(void *opaque, const bool *seen)
{
    const NsmOptions *options = opaque;
    bool issue = options->issue;
    bool ofIssue = options->directoryFd >= 0 || options->directory || options->moduleId;
    bool ofRun = options->vhostUserFd >= 0 || options->registersFd >= 0 || options->debug ||
                 options->role || options->instance;
    char *error = optionsTableCheckRequired(optionEntries, seen);

    if (error)
        return error;
    if (issue && ofRun)
        return g_strdup("Option --issue goes with --identity-fd, --directory-fd, --directory and "
                        "--module-id only");
    if (!issue && ofIssue)
        return g_strdup("Options --directory-fd, --directory and --module-id need --issue");
    if (issue && (options->directoryFd < 0 || !options->directory || !options->moduleId))
        return g_strdup("Option --issue needs --directory-fd, --directory and --module-id");
    if (!issue && options->vhostUserFd < 0)
        return g_strdup("Option --vhost-user-fd is missing");
    if (!issue && options->debug == (options->registersFd >= 0))
        return g_strdup("One of the options --registers-fd and --debug is to be given");
    if (options->debug && (options->role || options->instance))
        return g_strdup("Options --debug and --role or --instance exclude each other");
    return NULL;
}

NsmOptions *
nsmOptionsNew(void)
{
    NsmOptions *options = g_new0(NsmOptions, 1);

    options->identityFd = options->vhostUserFd = options->registersFd = options->directoryFd = -1;
    return options;
}

void
nsmOptionsFree(NsmOptions *options)
{
    if (!options)
        return;
    g_free(options->role);
    g_free(options->instance);
    g_free(options->directory);
    g_free(options->moduleId);
    g_free(options);
}

const OptionsTable nsmOptionsTable = {
    .program = "libvirt_nitro_nsm",
    .help = "Usage: libvirt_nitro_nsm OPTION...\n"
            "\n"
            "Is the emulated Nitro Security Module of one enclave, a virtio device of QEMU; not meant\n"
            "to be called by hand. With --issue it makes what such a one is given, and ends.\n"
            "\n"
            "  --identity-fd FD    where its name, its key and its certificates are read from, or\n"
            "                      written to\n"
            "  --vhost-user-fd FD  UNIX stream socket that is connected with QEMU\n"
            "  --registers-fd FD   where the registers of the image are read from, when they are\n"
            "                      known: lines N=HEX, and at last end\n"
            "  --debug             the enclave is in debug mode: its registers are zero\n"
            "  --role ARN          the IAM role of the enclave's parent, for register 3\n"
            "  --instance ID       the parent's instance, for register 4\n"
            "  --issue             make a key and its certificate\n"
            "  --directory-fd FD   the directory of the root's key and certificate, which are made\n"
            "                      when there are none\n"
            "  --directory PATH    its path, for messages\n"
            "  --module-id NAME    the enclave's name in the certificate and in documents\n"
            "  --help              print this text, and exit\n"
            "  --version           print the version, and exit\n",
    .entries = optionEntries,
    .check = checkOptions,
};
