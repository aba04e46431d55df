/*
 * nitro_outputs.c: the files that a run of a domain writes to
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Definition -> paths -> descriptors (nitro_file.h) -> the driver's register (nitro_uses.h), and
 * a file "outputs" in the run directory, by which the next daemon fills its own.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_domain_services.h"
#include "nitro_outputs.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_outputs");

/* Bytes that the notes of a run have at most: each file has a path. */
#define NITRO_OUTPUTS_NOTES_MAX (1024 * 1024)


static void
nitroOutputClear(nitroOutput *output)
{
    size_t i;

    VIR_FORCE_CLOSE(output->fd);
    for (i = 0; i < output->nbackups; i++)
        VIR_FORCE_CLOSE(output->backups[i]);
    g_free(output->backups);
    g_free(output->path);
}


void
nitroOutputsFree(nitroOutputs *outputs)
{
    size_t i;

    if (!outputs)
        return;

    nitroOutputClear(&outputs->log);
    nitroOutputClear(&outputs->console);
    nitroOutputClear(&outputs->consoleLog);
    nitroOutputClear(&outputs->servicesLog);
    for (i = 0; i < outputs->nservices; i++)
        nitroOutputClear(&outputs->services[i]);
    g_free(outputs->services);
    g_free(outputs);
}


/* The notes of a run: a line for each file, "USE KIND DEVICE INODE PATH" */

typedef struct _nitroOutputsNote nitroOutputsNote;
struct _nitroOutputsNote {
    nitroUse use;
    bool backup;
    nitroFileId id;
    char *path;
};

static void
nitroOutputsNoteClear(nitroOutputsNote *note)
{
    g_free(note->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroOutputsNote, nitroOutputsNoteClear);


static void
nitroOutputsFormatNote(virBuffer *buf,
                       const nitroOutputsNote *note)
{
    g_autofree char *path = g_strescape(note->path, NULL);

    virBufferAsprintf(buf, "%s %s %llu %llu %s\n", nitroUseTypeToString(note->use),
                      note->backup ? "old" : "file", note->id.device, note->id.inode, path);
}


/* Returns false for a line that is none. */
static bool
nitroOutputsParseNote(const char *line,
                      nitroOutputsNote *note)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 5);
    int use;

    if (g_strv_length(words) != 5 || (use = nitroUseTypeFromString(words[0])) < 0 ||
        virStrToLong_ullp(words[2], NULL, 10, &note->id.device) < 0 ||
        virStrToLong_ullp(words[3], NULL, 10, &note->id.inode) < 0)
        return false;

    note->use = use;
    note->backup = STREQ(words[1], "old");
    note->path = g_strcompress(words[4]);
    return true;
}


static char *
nitroOutputsNotesPath(const char *rundir)
{
    return g_strdup_printf("%s/outputs", rundir);
}


/* The opening of all of them */

typedef struct _nitroOutputsOpening nitroOutputsOpening;
struct _nitroOutputsOpening {
    nitroDriver *driver;
    const virDomainDef *def;
    nitroOutputs *outputs;
    virBuffer notes;
    bool again; /* the run has had them before */
};


static int
nitroOutputsTake(nitroOutputsOpening *opening,
                 const nitroFileId *id,
                 const char *path,
                 nitroUse use,
                 bool backup)
{
    nitroOutputsNote note = { .use = use, .backup = backup, .id = *id, .path = (char *)path };

    if (opening->again && nitroUsesHas(opening->driver->uses, opening->def->name, id, use))
        return 0;
    if (nitroUsesTake(opening->driver->uses, opening->def->name, &note.id, path, use) < 0)
        return -1;
    nitroOutputsFormatNote(&opening->notes, &note);
    return 0;
}


/* Returns the descriptor, or -1 with an error set. */
static int
nitroOutputsOpenFile(nitroOutputsOpening *opening,
                     const char *path,
                     nitroUse use,
                     bool backup)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    VIR_AUTOCLOSE fd = -1;
    nitroFileId id;
    int ret;

    if (nitroFileFind(path, &place) < 0 ||
        (fd = nitroFileOpenOutput(&place)) < 0)
        return -1;
    if (nitroFileGetId(fd, &id) < 0) {
        virReportSystemError(errno, _("cannot find out which file '%s' is"), path);
        return -1;
    }
    if (nitroOutputsTake(opening, &id, path, use, backup) < 0)
        return -1;
    ret = fd;
    fd = -1;
    return ret;
}


/* Opens @path, and what its old output goes to. */
static int
nitroOutputsOpenOne(nitroOutputsOpening *opening,
                    nitroOutput *output,
                    const char *path,
                    nitroUse use,
                    bool empty)
{
    const nitroDriverConfig *config = opening->driver->config;
    size_t i;

    output->path = g_strdup(path);
    output->empty = empty;
    if ((output->fd = nitroOutputsOpenFile(opening, path, use, false)) < 0)
        return -1;
    if (config->logMaxSize == 0)
        return 0;

    output->backups = g_new0(int, config->logMaxBackups);
    for (i = 0; i < config->logMaxBackups; i++) {
        g_autofree char *old = g_strdup_printf("%s.%zu", path, i);
        int fd = nitroOutputsOpenFile(opening, old, use, true);

        if (fd < 0)
            return -1;
        output->backups[output->nbackups++] = fd;
        /* What is copied there replaces what was, so it must not go behind it. */
        if (fcntl(fd, F_SETFL, 0) < 0) {
            virReportSystemError(errno, _("cannot set up the descriptor of '%s'"), old);
            return -1;
        }
    }
    return 0;
}


static int
nitroOutputsOpenConsole(nitroOutputsOpening *opening)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(opening->def);
    const virDomainChrSourceDef *source = console ? console->source : NULL;

    if (!source || !nitroDomainDefIsDebug(opening->def))
        return 0;

    if (source->type == VIR_DOMAIN_CHR_TYPE_FILE &&
        nitroOutputsOpenOne(opening, &opening->outputs->console, source->data.file.path,
                            NITRO_USE_CONSOLE,
                            source->data.file.append != VIR_TRISTATE_SWITCH_ON) < 0)
        return -1;
    if (source->logfile &&
        nitroOutputsOpenOne(opening, &opening->outputs->consoleLog, source->logfile,
                            NITRO_USE_CONSOLE_LOG,
                            source->logappend != VIR_TRISTATE_SWITCH_ON) < 0)
        return -1;
    return 0;
}


/* No domain's log has a name like this: theirs end in ".log". */
static int
nitroOutputsOpenServicesLog(nitroOutputsOpening *opening)
{
    g_autofree char *path = g_strdup_printf("%s/%s.services", opening->driver->config->logDir,
                                            opening->def->name);

    return nitroOutputsOpenOne(opening, &opening->outputs->servicesLog, path, NITRO_USE_LOG, false);
}


/* What a service logs goes behind what is there, also in a new run. */
static int
nitroOutputsOpenServices(nitroOutputsOpening *opening)
{
    nitroOutputs *outputs = opening->outputs;
    size_t n;
    g_autofree nitroServiceDef *services = nitroDomainDefGetServices(opening->def, &n);
    size_t i;

    if (n > 0 && nitroOutputsOpenServicesLog(opening) < 0)
        return -1;
    outputs->services = g_new0(nitroOutput, n);
    for (i = 0; i < n; i++) {
        nitroOutput *output = &outputs->services[outputs->nservices];

        if (services[i].type != NITRO_SERVICE_LOG)
            continue;
        output->fd = -1;
        outputs->nservices++;
        if (nitroOutputsOpenOne(opening, output, services[i].channel->source->data.file.path,
                                NITRO_USE_SERVICE_LOG, false) < 0)
            return -1;
    }
    return 0;
}


static int
nitroOutputsOpenAll(nitroOutputsOpening *opening,
                    const nitroImage *image)
{
    const virDomainDef *def = opening->def;
    g_autofree char *log = g_strdup_printf("%s/%s.log", opening->driver->config->logDir,
                                           def->name);

    /* Before anything is opened for writing */
    if (nitroOutputsTake(opening, &image->id, def->os.kernel, NITRO_USE_KERNEL, false) < 0 ||
        (image->initrdFd >= 0 &&
         nitroOutputsTake(opening, &image->initrdId, def->os.initrd, NITRO_USE_INITRD, false) < 0) ||
        nitroOutputsOpenOne(opening, &opening->outputs->log, log, NITRO_USE_LOG, false) < 0 ||
        nitroOutputsOpenServices(opening) < 0)
        return -1;
    return nitroOutputsOpenConsole(opening);
}


static nitroOutputs *
nitroOutputsNew(const nitroDriver *driver)
{
    nitroOutputs *outputs = g_new0(nitroOutputs, 1);

    outputs->log.fd = outputs->console.fd = -1;
    outputs->consoleLog.fd = outputs->servicesLog.fd = -1;
    outputs->maxSize = driver->config->logMaxSize;
    return outputs;
}


nitroOutputs *
nitroOutputsOpen(nitroDriver *driver,
                 const virDomainDef *def,
                 const nitroImage *image)
{
    g_autoptr(nitroOutputs) outputs = nitroOutputsNew(driver);
    nitroOutputsOpening opening = { driver, def, outputs, VIR_BUFFER_INITIALIZER, false };
    g_autofree char *rundir = nitroDomainGetRunDir(driver, def);
    g_autofree char *path = nitroOutputsNotesPath(rundir);
    g_autofree char *notes = NULL;
    int rc;

    rc = nitroOutputsOpenAll(&opening, image);

    /* Also of a start that fails here: it gives back by them what it has taken. */
    notes = virBufferContentAndReset(&opening.notes);
    if (notes && virFileWriteStr(path, notes, 0600) < 0) {
        if (rc == 0)
            virReportSystemError(errno, _("cannot write to the file '%s'"), path);
        return NULL;
    }
    return rc < 0 ? NULL : g_steal_pointer(&outputs);
}


/* Adds @notes to those of a run. Returns 0, or -1 with an error set. */
static int
nitroOutputsAddNotes(const char *rundir,
                     const char *notes)
{
    g_autofree char *path = nitroOutputsNotesPath(rundir);
    VIR_AUTOCLOSE fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0 && safewrite(fd, notes, strlen(notes)) >= 0)
        return 0;
    virReportSystemError(errno, _("cannot write to the file '%s'"), path);
    return -1;
}


nitroOutputs *
nitroOutputsReopenServices(nitroDriver *driver,
                           const virDomainDef *def)
{
    g_autoptr(nitroOutputs) outputs = nitroOutputsNew(driver);
    nitroOutputsOpening opening = { driver, def, outputs, VIR_BUFFER_INITIALIZER, true };
    g_autofree char *rundir = nitroDomainGetRunDir(driver, def);
    g_autofree char *notes = NULL;
    int rc;

    rc = nitroOutputsOpenServices(&opening);

    notes = virBufferContentAndReset(&opening.notes);
    if (notes && nitroOutputsAddNotes(rundir, notes) < 0)
        return NULL;
    return rc < 0 ? NULL : g_steal_pointer(&outputs);
}


static int
nitroOutputEmpty(const nitroOutput *output)
{
    if (output->fd < 0 || !output->empty || ftruncate(output->fd, 0) == 0)
        return 0;

    virReportSystemError(errno, _("cannot empty the file '%s'"), output->path);
    return -1;
}


int
nitroOutputsBegin(const nitroOutputs *outputs)
{
    g_autofree char *now = virTimeStringNow();
    g_autofree char *line = g_strdup_printf("%s: starting up, libvirt-nitro %s\n",
                                            NULLSTR(now), NITRO_VERSION);

    if (nitroOutputEmpty(&outputs->console) < 0 || nitroOutputEmpty(&outputs->consoleLog) < 0)
        return -1;
    if (safewrite(outputs->log.fd, line, strlen(line)) < 0)
        VIR_WARN("Unable to write to '%s': %s", outputs->log.path, g_strerror(errno));
    return 0;
}


/* Removes the old output @note that nothing was ever moved to. */
static void
nitroOutputsRemoveEmpty(const nitroOutputsNote *note)
{
    g_auto(nitroFilePlace) place = NITRO_FILE_PLACE_INIT;
    struct stat sb;

    if (nitroFileFind(note->path, &place) < 0) {
        VIR_WARN("Unable to remove '%s': %s", note->path, virGetLastErrorMessage());
        virResetLastError();
        return;
    }
    if (fstatat(place.dir, place.name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode) &&
        sb.st_size == 0 && nitroFileRemove(&place, &note->id) < 0)
        VIR_WARN("Unable to remove '%s': %s", note->path, g_strerror(errno));
}


/* Reads the notes of a run. Returns them (g_strfreev), or NULL with errno set. */
static GStrv
nitroOutputsReadNotes(const char *rundir)
{
    g_autofree char *path = nitroOutputsNotesPath(rundir);
    g_autofree char *text = NULL;
    int rc = virFileReadAllQuiet(path, NITRO_OUTPUTS_NOTES_MAX, &text);

    if (rc < 0) {
        errno = -rc;
        return NULL;
    }
    return g_strsplit(text, "\n", -1);
}


int
nitroOutputsRetake(nitroDriver *driver,
                   const char *name,
                   const char *rundir)
{
    g_auto(GStrv) lines = nitroOutputsReadNotes(rundir);
    size_t i;

    if (!lines && errno == ENOENT) {
        VIR_WARN("Nothing says which files domain '%s' uses, which another domain could be given",
                 name);
        return 0;
    }
    if (!lines) {
        virReportSystemError(errno, _("cannot read in '%s' which files domain '%s' uses"),
                             rundir, name);
        return -1;
    }

    nitroUsesRelease(driver->uses, name);
    for (i = 0; lines[i]; i++) {
        g_auto(nitroOutputsNote) note = { 0 };

        if (nitroOutputsParseNote(lines[i], &note))
            nitroUsesNote(driver->uses, name, &note.id, note.use);
    }
    return 0;
}


/* Removes what is empty of the backups in the notes @opaque: a nitroUsesFunc. */
static void
nitroOutputsRemoveBackups(void *opaque)
{
    char **lines = opaque;
    size_t i;

    for (i = 0; lines && lines[i]; i++) {
        g_auto(nitroOutputsNote) note = { 0 };

        if (nitroOutputsParseNote(lines[i], &note) && note.backup)
            nitroOutputsRemoveEmpty(&note);
    }
}


void
nitroOutputsRelease(nitroDriver *driver,
                    const char *name,
                    const char *rundir)
{
    g_auto(GStrv) lines = nitroOutputsReadNotes(rundir);

    /* While they are still taken: somebody else's empty files are not removed. */
    nitroUsesReleaseAfter(driver->uses, name, nitroOutputsRemoveBackups, lines);
}
