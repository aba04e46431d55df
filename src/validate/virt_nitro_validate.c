/*
 * virt_nitro_validate.c: virt-nitro-validate, whether a host is ready for enclaves
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's virt-host-validate has no room for drivers from outside its tree; this is the
 * same for ours. Flow: argv -> the checks of one machine type or of both, each of
 * which prints its line -> an enclave, if one is to be tried -> can one of them run? -> exit status.
 */

#include <config.h>

#include <getopt.h>
#include <unistd.h>

#include "validate.h"
#include "virerror.h"
#include "virfile.h"
#include "virgettext.h"

#define PROGRAM "virt-nitro-validate"

typedef struct {
    const char *root;
    const char *try;   /* the machine to try; NULL: none */
    const char *image; /* to try it with; NULL: this host's kernel */
    bool quiet;
    bool nitro;
    bool emulated;
} validateOptions;


static void
validateShowHelp(FILE *out)
{
    fprintf(out,
            _("\n"
              "syntax: %s [OPTIONS] [MACHINE]\n"
              "\n"
              " Machine types, both without the argument:\n"
              "\n"
              "   - nitro          enclaves of the Nitro Hypervisor\n"
              "   - nitro-enclave  emulated enclaves\n"
              "\n"
              " Options:\n"
              "   -h, --help     Display command line help\n"
              "   -v, --version  Display command version\n"
              "   -q, --quiet    Display only what does not pass\n"
              "   --try MACHINE  Start an enclave on MACHINE as well, and print a report\n"
              "   --image FILE   Start that one from FILE, and wait for its heartbeat\n"
              "   --root DIR     Look at devices and kernel files below DIR\n"
              "\n"),
            PROGRAM);
}


static const struct option validateLongOptions[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    { "quiet", no_argument, NULL, 'q' },
    { "try", required_argument, NULL, 't' },
    { "image", required_argument, NULL, 'i' },
    { "root", required_argument, NULL, 'r' },
    { NULL, 0, NULL, 0 },
};


static int
validateParseMachine(int nargs,
                     char **args,
                     validateOptions *options)
{
    const char *machine = options->try ? options->try : nargs > 0 ? args[0] : NULL;

    options->nitro = !machine || STREQ(machine, VALIDATE_NITRO);
    options->emulated = !machine || STREQ(machine, VALIDATE_EMULATED);

    if (nargs > (options->try ? 0 : 1)) {
        fprintf(stderr, _("%s: too many command line arguments\n"), PROGRAM);
        return -1;
    }
    if (!options->nitro && !options->emulated) {
        fprintf(stderr, _("%s: unknown machine type '%s': there are '%s' and '%s'\n"),
                PROGRAM, machine, VALIDATE_NITRO, VALIDATE_EMULATED);
        return -1;
    }
    if (options->image && !options->try) {
        fprintf(stderr, _("%s: the image '%s' is for the option --try\n"), PROGRAM,
                options->image);
        return -1;
    }
    return 0;
}


/* Returns 0 to go on, 1 when all has been done, -1 for a wrong command line. */
static int
validateParseOptions(int argc,
                     char **argv,
                     validateOptions *options)
{
    int c;

    while ((c = getopt_long(argc, argv, "hvq", validateLongOptions, NULL)) != -1) {
        switch (c) {
        case 'h':
            validateShowHelp(stdout);
            return 1;
        case 'v':
            printf("version: %s %s\n", PROGRAM, NITRO_VERSION);
            return 1;
        case 'q':
            options->quiet = true;
            break;
        case 't':
            options->try = optarg;
            break;
        case 'i':
            options->image = optarg;
            break;
        case 'r':
            options->root = optarg;
            break;
        default:
            validateShowHelp(stderr);
            return -1;
        }
    }

    return validateParseMachine(argc - optind, argv + optind, options);
}


/* Whether a machine type that was asked about can run: of both, a host mostly has one. */
static bool
validateCanRun(const validateOptions *options)
{
    return !validateHasFailed(VALIDATE_DAEMON) &&
        ((options->nitro && !validateHasFailed(VALIDATE_NITRO)) ||
         (options->emulated && !validateHasFailed(VALIDATE_EMULATED)));
}


static void
validateHost(const validateOptions *options,
             nitroDriverConfig *config)
{
    if (options->nitro)
        validateDevice(options->root);
    validateConfineUser(options->root, config);
    if (options->emulated)
        validateEmulated(config);
    validateConfine(config);
    /* No daemon has a part in the enclave that is tried, and these lines have names. */
    if (!options->try)
        validateDaemon(options->root);
}


int
main(int argc,
     char **argv)
{
    validateOptions options = { .root = "" };
    g_autoptr(nitroDriverConfig) config = NULL;
    int rc;

    if (virGettextInitialize() < 0 || virErrorInitialize() < 0) {
        fprintf(stderr, _("%s: initialization failed\n"), PROGRAM);
        return EXIT_FAILURE;
    }
    nitroGettextInitialize(NULL);
    virFileActivateDirOverrideForLib();

    if ((rc = validateParseOptions(argc, argv, &options)) != 0)
        return rc > 0 ? EXIT_SUCCESS : EXIT_FAILURE;

    validateSetQuiet(options.quiet);
    validateSetReport(options.try);
    if (options.try)
        validateVersions(options.root, options.try);
    config = nitroDriverConfigNew(geteuid() == 0);
    validateHost(&options, config);
    if (options.try)
        validateTry(options.root, options.try, options.image, config);

    if (fflush(stdout) != 0)
        return EXIT_FAILURE;
    return validateCanRun(&options) ? EXIT_SUCCESS : EXIT_FAILURE;
}
