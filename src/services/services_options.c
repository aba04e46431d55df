/*
 * services_options.c: the command line of libvirt_nitro_services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> servicesOptionsParse() finds each option in optionTable and calls its setter -> are
 * those there that are needed? As the helper's options.c, whose values these are as well.
 */

#include "services_options.h"

#include <stdbool.h>
#include <string.h>

#include "common/options_values.h"
#include "nitro_limits.h"

typedef struct {
    const char *name;
    bool hasValue;
    bool required;
    /* Stores @value; returns NULL, or what is wrong with it as the end of a sentence. */
    char *(*set)(ServicesOptions *options, const char *value);
} Option;

static char *
setHelp(ServicesOptions *options, const char *value G_GNUC_UNUSED)
{
    options->action = SERVICES_OPTIONS_HELP;
    return NULL;
}

static char *
setVersion(ServicesOptions *options, const char *value G_GNUC_UNUSED)
{
    options->action = SERVICES_OPTIONS_VERSION;
    return NULL;
}

static char *
setName(ServicesOptions *options, const char *value)
{
    options->name = g_strdup(value);
    return NULL;
}

static char *
setUuid(ServicesOptions *options, const char *value)
{
    options->uuid = g_strdup(value);
    return NULL;
}

static char *
setControlFd(ServicesOptions *options, const char *value)
{
    return optionsSetFd(&options->controlFd, value);
}

static char *
setConfigFd(ServicesOptions *options, const char *value)
{
    return optionsSetFd(&options->configFd, value);
}

static char *
setLogMaxSize(ServicesOptions *options, const char *value)
{
    if (!optionsParseNumber(value, NITRO_LOG_SIZE_MIN, G_MAXINT64, &options->logMaxSize))
        return g_strdup_printf("is not a number of bytes from %d on", NITRO_LOG_SIZE_MIN);
    return NULL;
}

static char *
setLogBackupFds(ServicesOptions *options, const char *value)
{
    return optionsSetFds(&options->logBackupFds, value);
}

static const Option optionTable[] = {
    {"--name", true, true, setName},
    {"--uuid", true, true, setUuid},
    {"--control-fd", true, true, setControlFd},
    {"--config-fd", true, true, setConfigFd},
    {"--log-max-size", true, false, setLogMaxSize},
    {"--log-backup-fds", true, false, setLogBackupFds},
    {"--help", false, false, setHelp},
    {"--version", false, false, setVersion},
};

typedef struct {
    ServicesOptions *options;
    bool seen[G_N_ELEMENTS(optionTable)];
} OptionsParser;

/* Handles the option at argv[*@i], and moves *@i to the last word that it took. */
static char *
parseOne(OptionsParser *parser, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, equals - word) : g_strdup(word);
    const char *value = equals ? equals + 1 : NULL;
    g_autofree char *error = NULL;
    size_t n = 0;

    while (n < G_N_ELEMENTS(optionTable) && !g_str_equal(optionTable[n].name, name))
        n++;
    if (n == G_N_ELEMENTS(optionTable))
        return g_strdup_printf(*word == '-' ? "Option %s is unknown" :
                                              "Argument '%s' is not an option", name);
    if (parser->seen[n])
        return g_strdup_printf("Option %s is given twice", name);
    parser->seen[n] = true;

    if (!optionTable[n].hasValue && value)
        return g_strdup_printf("Option %s takes no value, not '%s'", name, value);
    if (optionTable[n].hasValue && !value) {
        if (*i + 1 >= argc)
            return g_strdup_printf("Option %s lacks its value", name);
        value = argv[++*i];
    }

    error = optionTable[n].set(parser->options, value);
    return error ? g_strdup_printf("Value '%s' of option %s %s", value, name, error) : NULL;
}

ServicesOptions *
servicesOptionsParse(int argc, char **argv, char **error)
{
    g_autoptr(ServicesOptions) options = g_new0(ServicesOptions, 1);
    OptionsParser parser = {.options = options};
    size_t n;
    int i;

    options->controlFd = options->configFd = -1;
    for (i = 1; i < argc; i++) {
        *error = parseOne(&parser, argc, argv, &i);
        if (*error)
            return NULL;
        if (options->action != SERVICES_OPTIONS_RUN)
            return g_steal_pointer(&options);
    }
    for (n = 0; n < G_N_ELEMENTS(optionTable); n++) {
        if (optionTable[n].required && !parser.seen[n]) {
            *error = g_strdup_printf("Option %s is missing", optionTable[n].name);
            return NULL;
        }
    }
    if (options->logBackupFds && options->logMaxSize == 0) {
        *error = g_strdup("Option --log-max-size is missing, which backups need");
        return NULL;
    }
    return g_steal_pointer(&options);
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
