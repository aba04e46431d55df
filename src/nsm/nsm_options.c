/*
 * nsm_options.c: the command line of libvirt_nitro_nsm
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> nsmOptionsParse() -> the setters of optionTable -> what goes with which action.
 */

#include "nsm_options.h"

#include "common/options_table.h"
#include "common/options_values.h"
#include "nsm_identity.h"

static char *
setHelp(void *opaque, const char *value G_GNUC_UNUSED)
{
    ((NsmOptions *)opaque)->action = NSM_OPTIONS_HELP;
    return NULL;
}

static char *
setVersion(void *opaque, const char *value G_GNUC_UNUSED)
{
    ((NsmOptions *)opaque)->action = NSM_OPTIONS_VERSION;
    return NULL;
}

static char *
setIssue(void *opaque, const char *value G_GNUC_UNUSED)
{
    ((NsmOptions *)opaque)->action = NSM_OPTIONS_ISSUE;
    return NULL;
}

static char *
setIdentityFd(void *opaque, const char *value)
{
    return optionsSetFd(&((NsmOptions *)opaque)->identityFd, value);
}

static char *
setVhostUserFd(void *opaque, const char *value)
{
    return optionsSetFd(&((NsmOptions *)opaque)->vhostUserFd, value);
}

static char *
setRegistersFd(void *opaque, const char *value)
{
    return optionsSetFd(&((NsmOptions *)opaque)->registersFd, value);
}

static char *
setDirectoryFd(void *opaque, const char *value)
{
    return optionsSetFd(&((NsmOptions *)opaque)->directoryFd, value);
}

static char *
setDebug(void *opaque, const char *value G_GNUC_UNUSED)
{
    ((NsmOptions *)opaque)->debug = true;
    return NULL;
}

static char *
setText(char **text, const char *value)
{
    if (!*value)
        return g_strdup("is empty");
    *text = g_strdup(value);
    return NULL;
}

static char *
setRole(void *opaque, const char *value)
{
    return setText(&((NsmOptions *)opaque)->role, value);
}

static char *
setInstance(void *opaque, const char *value)
{
    return setText(&((NsmOptions *)opaque)->instance, value);
}

static char *
setDirectory(void *opaque, const char *value)
{
    return setText(&((NsmOptions *)opaque)->directory, value);
}

static char *
setModuleId(void *opaque, const char *value)
{
    if (!nsmIdentityIsModule(value))
        return g_strdup_printf("is not a name of 1 to %d printable bytes", NSM_MODULE_MAX);
    return setText(&((NsmOptions *)opaque)->moduleId, value);
}

static const OptionsTableEntry optionTable[] = {
    {"--identity-fd", true, setIdentityFd, .required = true},
    {"--vhost-user-fd", true, setVhostUserFd},
    {"--registers-fd", true, setRegistersFd},
    {"--debug", false, setDebug},
    {"--role", true, setRole},
    {"--instance", true, setInstance},
    {"--issue", false, setIssue},
    {"--directory-fd", true, setDirectoryFd},
    {"--directory", true, setDirectory},
    {"--module-id", true, setModuleId},
    {"--help", false, setHelp, .ends = true},
    {"--version", false, setVersion, .ends = true},
    {NULL},
};

/* Of an action: the options that it needs are there, and those of the other one are not. */
static char *
checkAction(const NsmOptions *options)
{
    bool issue = options->action == NSM_OPTIONS_ISSUE;
    bool ofIssue = options->directoryFd >= 0 || options->directory || options->moduleId;
    bool ofRun = options->vhostUserFd >= 0 || options->registersFd >= 0 || options->debug ||
                 options->role || options->instance;

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
nsmOptionsParse(int argc, char **argv, char **error)
{
    g_autoptr(NsmOptions) options = g_new0(NsmOptions, 1);
    bool seen[G_N_ELEMENTS(optionTable)] = {false};

    options->identityFd = options->vhostUserFd = options->registersFd = options->directoryFd = -1;
    *error = optionsTableParse(optionTable, seen, argc, argv, options);
    if (!*error && (options->action == NSM_OPTIONS_RUN || options->action == NSM_OPTIONS_ISSUE)) {
        *error = optionsTableCheckRequired(optionTable, seen);
        if (!*error)
            *error = checkAction(options);
    }
    return *error ? NULL : g_steal_pointer(&options);
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

const char *
nsmOptionsHelp(void)
{
    return "Usage: libvirt_nitro_nsm OPTION...\n"
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
           "  --version           print the version, and exit\n";
}
