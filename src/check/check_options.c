/*
 * check_options.c: the command line of libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> checkOptionsParse() -> the setters of optionTable.
 */

#include "check_options.h"

#include "common/options_table.h"
#include "common/options_values.h"

static char *
setHelp(void *opaque, const char *value G_GNUC_UNUSED)
{
    CheckOptions *options = opaque;

    options->action = CHECK_OPTIONS_HELP;
    return NULL;
}

static char *
setVersion(void *opaque, const char *value G_GNUC_UNUSED)
{
    CheckOptions *options = opaque;

    options->action = CHECK_OPTIONS_VERSION;
    return NULL;
}

static char *
setImageFd(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    return optionsSetFd(&options->imageFd, value);
}

/* It comes back in texts of JSON. */
static char *
setImageName(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    if (!g_utf8_validate(value, -1, NULL))
        return g_strdup("is no UTF-8");
    options->imageName = g_strdup(value);
    return NULL;
}

static char *
setInitrdFd(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    return optionsSetFd(&options->initrdFd, value);
}

static char *
setCmdline(void *opaque, const char *value G_GNUC_UNUSED)
{
    CheckOptions *options = opaque;

    options->cmdline = true;
    return NULL;
}

static char *
setArch(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    return optionsSetArch(&options->arch, value);
}

static char *
setMemory(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    if (!optionsParseNumber(value, 0, G_MAXINT64, &options->memory))
        return g_strdup("is not a size in bytes");
    return NULL;
}

static char *
setExpectPcr0(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    options->expectsPcr0 = true;
    return optionsParsePcr(value, options->pcr0);
}

static char *
setExpectPcr8(void *opaque, const char *value G_GNUC_UNUSED)
{
    CheckOptions *options = opaque;

    options->expectsPcr8 = true;
    return NULL;
}

static const OptionsTableEntry optionTable[] = {
    {"--image-fd", true, setImageFd, .required = true},
    {"--image-name", true, setImageName, .required = true},
    {"--initrd-fd", true, setInitrdFd},
    {"--cmdline", false, setCmdline},
    {"--arch", true, setArch, .required = true},
    {"--memory", true, setMemory, .required = true},
    {"--expect-pcr0", true, setExpectPcr0},
    {"--expect-pcr8", false, setExpectPcr8},
    {"--help", false, setHelp, .ends = true},
    {"--version", false, setVersion, .ends = true},
    {NULL},
};

CheckOptions *
checkOptionsParse(int argc, char **argv, char **error)
{
    g_autoptr(CheckOptions) options = g_new0(CheckOptions, 1);
    bool seen[G_N_ELEMENTS(optionTable)] = {false};

    options->imageFd = options->initrdFd = -1;
    *error = optionsTableParse(optionTable, seen, argc, argv, options);
    if (!*error && options->action == CHECK_OPTIONS_RUN)
        *error = optionsTableCheckRequired(optionTable, seen);
    return *error ? NULL : g_steal_pointer(&options);
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
