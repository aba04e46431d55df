/*
 * nsm_registers.c: the registers of the image, as who has loaded it tells them
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: pipe -> registersOnReady() -> lines -> registersTake() -> nsmSetPcr().
 */

#include "nsm_registers.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#include "common/options_values.h"

#define END "end"

/* The most bytes of all lines: four registers of less than 128 each */
#define REGISTERS_MAX 1024

struct _NsmRegisters {
    int fd;
    guint watch;
    Nsm *nsm;
    void (*done)(char *error, void *opaque);
    void *opaque;
    bool seen[NSM_PCR_FREE];
    char text[REGISTERS_MAX + 1];
    size_t len;
};

static void
registersStop(NsmRegisters *registers)
{
    if (registers->watch > 0)
        g_source_remove(registers->watch);
    registers->watch = 0;
}

static void
registersEnd(NsmRegisters *registers, char *error)
{
    registersStop(registers);
    registers->done(error, registers->opaque);
}

/* Takes "N=HEX". Returns whether it is that, of a register that comes from the image. */
static bool
registersTake(NsmRegisters *registers, const char *line)
{
    uint8_t value[NSM_PCR_SIZE];
    const char *hex = strchr(line, '=');
    g_autofree char *number = hex ? g_strndup(line, hex - line) : NULL;
    g_autofree char *wrong = NULL;
    uint64_t index;

    if (!hex || !optionsParseNumber(number, 0, 8, &index) || (index > 2 && index != 8) ||
        registers->seen[index])
        return false;
    if ((wrong = optionsParsePcr(hex + 1, value)))
        return false;
    registers->seen[index] = true;
    nsmSetPcr(registers->nsm, index, value);
    return true;
}

/* All registers that every image has must have come. */
static bool
registersAreComplete(const NsmRegisters *registers)
{
    return registers->seen[0] && registers->seen[1] && registers->seen[2];
}

/* Takes the lines that are complete. Returns whether it is to go on. */
static bool
registersTakeLines(NsmRegisters *registers)
{
    char *line = registers->text;
    char *end;

    while ((end = memchr(line, '\n', registers->text + registers->len - line))) {
        *end = '\0';
        if (strcmp(line, END) == 0 && registersAreComplete(registers)) {
            registersEnd(registers, NULL);
            return false;
        }
        if (!registersTake(registers, line)) {
            registersEnd(registers, g_strdup("The registers of the image are not told as \"N=HEX\", "
                                             "for 0, 1, 2 and perhaps 8, and \"end\""));
            return false;
        }
        line = end + 1;
    }
    registers->len -= line - registers->text;
    memmove(registers->text, line, registers->len);
    return true;
}

static gboolean
registersOnReady(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer opaque)
{
    NsmRegisters *registers = opaque;
    ssize_t n = read(fd, registers->text + registers->len, REGISTERS_MAX - registers->len);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        registersEnd(registers, n < 0 ?
                     g_strdup_printf("The registers of the image cannot be read: %s",
                                     g_strerror(errno)) :
                     g_strdup("The registers of the image have not been told to their end"));
        return G_SOURCE_CONTINUE; /* the source is gone */
    }
    registers->len += n;
    registersTakeLines(registers);
    return G_SOURCE_CONTINUE;
}

NsmRegisters *
nsmRegistersNew(int fd, Nsm *nsm, void (*done)(char *error, void *opaque), void *opaque)
{
    NsmRegisters *registers = g_new0(NsmRegisters, 1);

    registers->fd = fd;
    registers->nsm = nsm;
    registers->done = done;
    registers->opaque = opaque;
    registers->watch = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP, registersOnReady, registers);
    return registers;
}

void
nsmRegistersFree(NsmRegisters *registers)
{
    registersStop(registers);
    close(registers->fd);
    g_free(registers);
}
