/*
 * check_options.c: the command line of libvirt_nitro_check
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: argv -> optionsTableRead() -> the setters of optionEntries.
 */

#include "check_options.h"

#include "common/options_values.h"

/* It comes back in texts of JSON. */
static char *
setImageName(void *imageName, const char *value)
{
    if (!g_utf8_validate(value, -1, NULL))
        return g_strdup("is no UTF-8");
    return optionsSetText(imageName, value);
}

static char *
setExpectPcr0(void *opaque, const char *value)
{
    CheckOptions *options = opaque;

    options->expectsPcr0 = true;
    return optionsParsePcr(value, options->pcr0);
}

#define FIELD(name) offsetof(CheckOptions, name)

static const OptionsTableEntry optionEntries[] = {
    {"--image-fd", true, optionsSetFd, FIELD(imageFd), .required = true},
    {"--image-name", true, setImageName, FIELD(imageName), .required = true},
    {"--initrd-fd", true, optionsSetFd, FIELD(initrdFd)},
    {"--cmdline", false, optionsSetFlag, FIELD(cmdline)},
    {"--arch", true, optionsSetArch, FIELD(arch), .required = true},
    {"--memory", true, optionsSetSize, FIELD(memory), .required = true},
    {"--expect-pcr0", true, setExpectPcr0},
    {"--expect-pcr8", false, optionsSetFlag, FIELD(expectsPcr8)},
    {NULL},
};

CheckOptions *
checkOptionsNew(void)
{
    CheckOptions *options = g_new0(CheckOptions, 1);

    options->imageFd = options->initrdFd = -1;
    return options;
}

void
checkOptionsFree(CheckOptions *options)
{
    if (!options)
        return;
    g_free(options->imageName);
    g_free(options);
}

const OptionsTable checkOptionsTable = {
    .program = "libvirt_nitro_check",
    .help = "Usage: libvirt_nitro_check OPTION...\n"
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
            "  --version          print the version, and exit\n",
    .entries = optionEntries,
};
