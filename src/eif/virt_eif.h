/*
 * virt_eif.h: what the commands of the tool virt-eif share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: main() in virt_eif.c -> one of the command functions, each with its own
 * options -> eif.h. Errors are printed where they are known, as "error: ...".
 */

#pragma once

#include "eif.h"
#include "nitro_gettext.h"

#include <yajl/yajl_gen.h>

/* The longest command line and metadata that are shown or accepted, in bytes */
#define VIRT_EIF_TEXT_MAX (1024 * 1024)

/* The largest key, certificate or signature, in bytes */
#define VIRT_EIF_SMALL_MAX (64 * 1024)

/* The commands; @argv[0] is the command's name. Each returns the exit status. */
int virtEifAttest(int argc, char **argv);
int virtEifBuild(int argc, char **argv);
int virtEifConvert(int argc, char **argv);
int virtEifDescribe(int argc, char **argv);
int virtEifExtract(int argc, char **argv);
int virtEifPcr(int argc, char **argv);
int virtEifSign(int argc, char **argv);
int virtEifVerify(int argc, char **argv);

/* Prints "error: " and the message, one line, to standard error. */
void virtEifError(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Prints "warning: " and the message, one line, to standard error; @format is not translated. */
void virtEifWarning(const char *format, ...) G_GNUC_PRINTF(1, 2);

/*
 * Parses the options of a command; --help prints and exits. @usage are the
 * arguments for the usage line, @summary says what the command does.
 * Arguments that are not options stay in @argv, from 1 on. They must be
 * exactly @noperands, the image and perhaps a directory, unless that is negative. Returns 0, or
 * -1 when an error was printed.
 */
int virtEifParseOptions(int *argc, char ***argv, const GOptionEntry *entries, const char *usage,
                        const char *summary, int noperands);

/*
 * Opens a file for reading; does not wait for the other end of a pipe. Returns
 * a descriptor to close, or -1 when an error was printed.
 */
int virtEifOpen(const char *path);

/*
 * Prints @text; what is not printable, or not UTF-8, as \xNN. Line ends are kept
 * only with @keepLines: a line that an image made up could pass for one of ours.
 */
void virtEifPrintSafely(const char *text, size_t len, bool keepLines);

/*
 * The content of a file of at most @max bytes, which may be a pipe: of *@len bytes and a NUL
 * (g_free), or NULL when an error was printed.
 */
char *virtEifReadSmall(const char *path, size_t max, size_t *len);

/*
 * A progress line on standard error, when that is a terminal, from one second
 * after @start (g_get_monotonic_time()) on. Use virtEifProgressShow() as an
 * EifProgress with this as @opaque, then virtEifProgressEnd().
 */
typedef struct _VirtEifProgress VirtEifProgress;
struct _VirtEifProgress {
    const char *what; /* e.g. "Writing" */
    gint64 start;     /* microseconds */
    int percent;      /* shown last; -1: nothing yet */
};

VirtEifProgress virtEifProgressBegin(const char *what);
bool virtEifProgressShow(uint64_t done, uint64_t total, void *opaque);
void virtEifProgressEnd(VirtEifProgress *progress);

/*
 * Whether the @len bytes of @text are one JSON object that virtEifJsonCopy() can
 * copy. Returns NULL if so, else what is wrong (g_free).
 */
char *virtEifJsonCheck(const char *text, size_t len);

/*
 * The string that is the member @key of the JSON object @text, which virtEifJsonCheck() has
 * accepted (g_free); NULL when it is something else, or there is none.
 */
char *virtEifJsonGetString(const char *text, const char *key);

/* Copies a JSON text that virtEifJsonCheck() has accepted to @gen, as the next value. */
void virtEifJsonCopy(yajl_gen gen, const char *text, size_t len);

/*
 * The same, with the texts in the member @member, if that is an object, beside the others: but for
 * those whose names are there already.
 */
void virtEifJsonCopyFlat(yajl_gen gen, const char *text, const char *member);

/*
 * Checks the image @fd, which is @path in messages, as virt-eif verify does; its signature only
 * with @signature. @show is called with a VirtEifProgress. Returns 0 and what the image is, or -1
 * when an error was printed.
 */
int virtEifCheckImage(int fd, const char *path, bool signature, EifProgress show, EifImage *image,
                      EifMeasurements *measurements);

/* Prints the valid ones of @measurements, a line each. */
void virtEifPrintMeasurements(const EifMeasurements *measurements);

/* The same as the member "Measurements" of a JSON object, as nitro-cli has it */
void virtEifGenMeasurements(yajl_gen gen, const EifMeasurements *measurements);

/* A generator of the JSON that commands print to standard output (yajl_gen_free) */
yajl_gen virtEifJsonPrinter(void);
