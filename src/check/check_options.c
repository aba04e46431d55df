/*
 * check_options.c: the command line of libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> checkOptionsParse() finds each option in optionTable and calls its setter ->
 * are those there that are needed? As the helper's options.c, whose values these are as well.
 */

#include "check_options.h"

#include <string.h>

#include "common/options_values.h"

typedef struct {
    const char *name;
    bool hasValue;
    bool required;
    /* Stores @value; returns NULL, or what is wrong with it as the end of a sentence. */
    char *(*set)(CheckOptions *options, const char *value);
} Option;

static char *
setHelp(CheckOptions *options, const char *value G_GNUC_UNUSED)
{
    options->action = CHECK_OPTIONS_HELP;
    return NULL;
}

static char *
setVersion(CheckOptions *options, const char *value G_GNUC_UNUSED)
{
    options->action = CHECK_OPTIONS_VERSION;
    return NULL;
}

static char *
setImageFd(CheckOptions *options, const char *value)
{
    return optionsSetFd(&options->imageFd, value);
}

/* It comes back in texts of JSON. */
static char *
setImageName(CheckOptions *options, const char *value)
{
    if (!g_utf8_validate(value, -1, NULL))
        return g_strdup("is no UTF-8");
    options->imageName = g_strdup(value);
    return NULL;
}

static char *
setInitrdFd(CheckOptions *options, const char *value)
{
    return optionsSetFd(&options->initrdFd, value);
}

static char *
setCmdline(CheckOptions *options, const char *value G_GNUC_UNUSED)
{
    options->cmdline = true;
    return NULL;
}

static char *
setArch(CheckOptions *options, const char *value)
{
    return optionsSetArch(&options->arch, value);
}

static char *
setMemory(CheckOptions *options, const char *value)
{
    if (!optionsParseNumber(value, 0, G_MAXINT64, &options->memory))
        return g_strdup("is not a size in bytes");
    return NULL;
}

static char *
setExpectPcr0(CheckOptions *options, const char *value)
{
    options->expectsPcr0 = true;
    return optionsParsePcr(value, options->pcr0);
}

static char *
setExpectPcr8(CheckOptions *options, const char *value G_GNUC_UNUSED)
{
    options->expectsPcr8 = true;
    return NULL;
}

static const Option optionTable[] = {
    {"--image-fd", true, true, setImageFd},
    {"--image-name", true, true, setImageName},
    {"--initrd-fd", true, false, setInitrdFd},
    {"--cmdline", false, false, setCmdline},
    {"--arch", true, true, setArch},
    {"--memory", true, true, setMemory},
    {"--expect-pcr0", true, false, setExpectPcr0},
    {"--expect-pcr8", false, false, setExpectPcr8},
    {"--help", false, false, setHelp},
    {"--version", false, false, setVersion},
};

typedef struct {
    CheckOptions *options;
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

CheckOptions *
checkOptionsParse(int argc, char **argv, char **error)
{
    g_autoptr(CheckOptions) options = g_new0(CheckOptions, 1);
    OptionsParser parser = {.options = options};
    size_t n;
    int i;

    options->imageFd = options->initrdFd = -1;
    for (i = 1; i < argc; i++) {
        *error = parseOne(&parser, argc, argv, &i);
        if (*error)
            return NULL;
        if (options->action != CHECK_OPTIONS_RUN)
            return g_steal_pointer(&options);
    }
    for (n = 0; n < G_N_ELEMENTS(optionTable); n++) {
        if (optionTable[n].required && !parser.seen[n]) {
            *error = g_strdup_printf("Option %s is missing", optionTable[n].name);
            return NULL;
        }
    }
    return g_steal_pointer(&options);
}

void
checkOptionsFree(CheckOptions *options)
{
    if (!options)
        return;
    g_free(options->imageName);
    g_free(options);
}

const char *
checkOptionsHelp(void)
{
    return "Usage: libvirt_nitro_check OPTION...\n"
           "\n"
           "Checks an enclave image for virtnitrod, and prints one line of JSON; not meant to be\n"
           "called by hand: see virt-eif verify.\n"
           "\n"
           "  --image-fd FD      EIF file, or Linux kernel\n"
           "  --image-name NAME  what messages call it\n"
           "  --initrd-fd FD     ramdisk that goes with a Linux kernel\n"
           "  --cmdline          a command line goes with it\n"
           "  --arch ARCH        x86_64 or aarch64: that of the domain\n"
           "  --memory BYTES     memory of the enclave\n"
           "  --expect-pcr0 HEX  refuse an image that is signed for another PCR0\n"
           "  --expect-pcr8      refuse an image that is not signed\n"
           "  --help             print this text, and exit\n"
           "  --version          print the version, and exit\n";
}
