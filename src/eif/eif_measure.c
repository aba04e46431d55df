/*
 * eif_measure.c: the platform configuration registers that an image will have
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: sections in file order -> SHA-384 of three groups of them (image,
 * bootstrap, application) -> each extended from the register's initial value of
 * zeros -> EifMeasurements. Nothing of a section is understood here.
 */

#include "eif_internal.h"

#include <string.h>

G_STATIC_ASSERT(EIF_PCR_SIZE == EIF_DIGEST_SIZE);

struct _EifMeasurer {
    EifDigest *image;     /* kernel, command line, all ramdisks */
    EifDigest *bootstrap; /* kernel, command line, first ramdisk; NULL before @split */
    EifDigest *app;       /* other ramdisks */

    /*
     * Image and bootstrap are the same until the second ramdisk: until then only
     * the image's is kept, which halves the work for what is most of an image.
     */
    bool split;
    size_t nramdisks;

    /* Of a file: what the present piece of it is in */
    uint8_t *piece;
    bool threaded;
    EifWorker *worker; /* has @image and @app from @split on; or NULL */

    EifSectionType current; /* meaningless before the first section */
    bool isSigned;
    EifDigest *signature;
};

EifMeasurer *
eifMeasurerNew(void)
{
    EifMeasurer *measurer = g_new0(EifMeasurer, 1);

    measurer->image = eifDigestNew();
    measurer->app = eifDigestNew();
    measurer->signature = eifDigestNew();
    return measurer;
}

void
eifMeasurerFree(EifMeasurer *measurer)
{
    if (!measurer)
        return;

    eifWorkerFinish(measurer->worker);
    eifDigestFinish(measurer->image, NULL);
    eifDigestFinish(measurer->bootstrap, NULL);
    eifDigestFinish(measurer->app, NULL);
    eifDigestFinish(measurer->signature, NULL);
    g_free(measurer->piece);
    g_free(measurer);
}

static void
measurerSplit(EifMeasurer *measurer)
{
    EifDigest *const digests[EIF_WORKER_DIGESTS] = { measurer->image, measurer->app };

    if (measurer->split)
        return;

    measurer->bootstrap = eifDigestCopy(measurer->image);
    measurer->split = true;
    if (measurer->threaded)
        measurer->worker = eifWorkerNew(digests);
}

/*
 * Adds to the image's digest, and to the application's if @app says so. A worker takes the piece
 * itself, which @buf is then.
 */
static void
measurerAdd(EifMeasurer *measurer, bool app, const void *buf, size_t len)
{
    if (measurer->worker) {
        g_assert(buf == measurer->piece);
        measurer->piece = eifWorkerUpdate(measurer->worker, app ? 2 : 1, measurer->piece, len);
        return;
    }
    eifDigestUpdate(measurer->image, buf, len);
    if (app)
        eifDigestUpdate(measurer->app, buf, len);
}

void
eifMeasurerBeginSection(EifMeasurer *measurer, EifSectionType type)
{
    measurer->current = type;

    if (type == EIF_SECTION_RAMDISK && ++measurer->nramdisks == 2)
        measurerSplit(measurer);

    if (type == EIF_SECTION_SIGNATURE)
        measurer->isSigned = true;
}

void
eifMeasurerUpdate(EifMeasurer *measurer, const void *buf, size_t len)
{
    switch (measurer->current) {
    case EIF_SECTION_KERNEL:
    case EIF_SECTION_CMDLINE:
        if (measurer->split)
            eifDigestUpdate(measurer->bootstrap, buf, len);
        measurerAdd(measurer, false, buf, len);
        break;
    case EIF_SECTION_RAMDISK:
        measurerAdd(measurer, measurer->nramdisks > 1, buf, len);
        break;
    case EIF_SECTION_SIGNATURE:
        eifDigestUpdate(measurer->signature, buf, len);
        break;
    case EIF_SECTION_METADATA:
        break;
    }
}

/*
 * A register starts as zeros and is extended once by the digest of its contents, which is finished
 * and NULL then.
 */
static void
extend(EifDigest **contents, uint8_t pcr[EIF_PCR_SIZE])
{
    static const uint8_t initial[EIF_PCR_SIZE] = { 0 };
    EifDigest *digest = eifDigestNew();
    uint8_t result[EIF_DIGEST_SIZE];

    eifDigestFinish(g_steal_pointer(contents), result);

    eifDigestUpdate(digest, initial, sizeof(initial));
    eifDigestUpdate(digest, result, sizeof(result));
    eifDigestFinish(digest, pcr);
}

void
eifExtend(const void *buf, size_t len, uint8_t pcr[EIF_PCR_SIZE])
{
    EifDigest *digest = eifDigestNew();

    eifDigestUpdate(digest, buf, len);
    extend(&digest, pcr);
}

void
eifDigest(const void *buf, size_t len, uint8_t digest[EIF_PCR_SIZE])
{
    EifDigest *context = eifDigestNew();

    eifDigestUpdate(context, buf, len);
    eifDigestFinish(context, digest);
}

void
eifMeasurerFinish(EifMeasurer *measurer, EifMeasurements *measurements)
{
    EifMeasurements result = { 0 };

    /* nothing more comes that a worker could do */
    measurer->threaded = false;
    measurerSplit(measurer);
    eifWorkerFinish(measurer->worker);
    measurer->worker = NULL;
    if (measurer->isSigned)
        eifDigestFinish(g_steal_pointer(&measurer->signature), result.signature);

    extend(&measurer->image, result.pcr[0]);
    extend(&measurer->bootstrap, result.pcr[1]);
    extend(&measurer->app, result.pcr[2]);
    result.valid[0] = result.valid[1] = result.valid[2] = true;

    *measurements = result;
}

typedef struct _MeasureData MeasureData;
struct _MeasureData {
    EifMeasurer *measurer;
    const EifSection *current; /* NULL before the first section */
    EifProgress progress;
    void *opaque;
};

static int
measureSink(const EifSection *section, const void *buf, size_t len, void *opaque, GError **error)
{
    MeasureData *data = opaque;

    if (section != data->current) {
        eifMeasurerBeginSection(data->measurer, section->type);
        data->current = section;
    }
    eifMeasurerUpdate(data->measurer, buf, len);
    return 0;
}

static bool
measureProgress(uint64_t done, uint64_t total, void *opaque)
{
    MeasureData *data = opaque;

    return !data->progress || data->progress(done, total, data->opaque);
}

static int
measureImage(EifMeasurer *measurer, const EifImage *image, int fd, EifMeasurements *measurements,
             bool *checksumOk, EifProgress progress, void *opaque, GError **error)
{
    MeasureData data = {
        .measurer = measurer,
        .progress = progress,
        .opaque = opaque,
    };
    uint32_t crc;

    measurer->piece = g_malloc(EIF_PIECE_SIZE);
    if (eifImageStreamCrc(image, fd, &measurer->piece, measureSink, measureProgress, &data, &crc,
                          error) < 0)
        return -1;

    if (crc != image->crc32 && !checksumOk) {
        eifSetChecksumError(image, crc, error);
        return -1;
    }

    eifMeasurerFinish(measurer, measurements);
    if (checksumOk)
        *checksumOk = crc == image->crc32;
    return 0;
}

int
eifImageMeasure(const EifImage *image, int fd, EifMeasurements *measurements, bool *checksumOk,
                EifProgress progress, void *opaque, GError **error)
{
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();

    return measureImage(measurer, image, fd, measurements, checksumOk, progress, opaque, error);
}

int
eifImageMeasureThreaded(const EifImage *image, int fd, EifMeasurements *measurements,
                        bool *checksumOk, EifProgress progress, void *opaque, GError **error)
{
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();

    measurer->threaded = true;
    return measureImage(measurer, image, fd, measurements, checksumOk, progress, opaque, error);
}

int
eifImageMeasureBuffer(const EifImage *image, const void *buf, EifMeasurements *measurements,
                      EifProgress progress, void *opaque, GError **error)
{
    g_autoptr(EifMeasurer) measurer = eifMeasurerNew();
    size_t i;

    for (i = 0; i < image->nsections; i++) {
        const EifSection *section = &image->sections[i];
        uint64_t done = 0;

        eifMeasurerBeginSection(measurer, section->type);
        while (done < section->size) {
            uint64_t len = MIN(section->size - done, EIF_PIECE_SIZE);

            eifMeasurerUpdate(measurer, (const uint8_t *)buf + section->offset + done, len);
            done += len;
            if (eifReportProgress(progress, section->offset + done, image->fileSize, opaque,
                                  error) < 0)
                return -1;
        }
    }
    eifMeasurerFinish(measurer, measurements);
    return 0;
}

int
eifMeasurementsCheckSigned(const EifMeasurements *measurements,
                           const uint8_t signedPcr0[EIF_PCR_SIZE], GError **error)
{
    g_autofree char *found = eifPcrToString(measurements->pcr[0]);
    g_autofree char *claimed = eifPcrToString(signedPcr0);

    if (memcmp(signedPcr0, measurements->pcr[0], EIF_PCR_SIZE) == 0)
        return 0;

    g_set_error(error, EIF_ERROR, EIF_ERROR_SIGNATURE,
                _("the image is not the one that was signed: its PCR0 is %s, and %s was signed"),
                found, claimed);
    return -1;
}

char *
eifPcrToString(const uint8_t pcr[EIF_PCR_SIZE])
{
    char *text = g_malloc(2 * EIF_PCR_SIZE + 1);
    size_t i;

    for (i = 0; i < EIF_PCR_SIZE; i++)
        g_snprintf(text + 2 * i, 3, "%02x", pcr[i]);
    return text;
}
