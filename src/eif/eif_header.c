/*
 * eif_header.c: the two kinds of header of an EIF file, between bytes and fields
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: raw bytes (big endian) <-> EifHeader, EifSectionHeader. Nothing is
 * checked here; eif_read.c does that.
 */

#include "eif_internal.h"

#include <string.h>

/* Offsets of the header's fields, in bytes */
enum {
    OFFSET_MAGIC = 0,
    OFFSET_VERSION = 4,
    OFFSET_FLAGS = 6,
    OFFSET_DEFAULT_MEMORY = 8,
    OFFSET_DEFAULT_CPUS = 16,
    OFFSET_NSECTIONS = 26,
    OFFSET_OFFSETS = 28,
    OFFSET_SIZES = OFFSET_OFFSETS + EIF_MAX_SECTIONS * 8,
};

G_STATIC_ASSERT(OFFSET_SIZES + EIF_MAX_SECTIONS * 8 + 4 == EIF_HEADER_CRC_OFFSET);
G_STATIC_ASSERT(EIF_HEADER_CRC_OFFSET + 4 == EIF_HEADER_SIZE);

static uint16_t
getU16(const uint8_t *raw)
{
    uint16_t value;

    memcpy(&value, raw, sizeof(value));
    return GUINT16_FROM_BE(value);
}

static uint32_t
getU32(const uint8_t *raw)
{
    uint32_t value;

    memcpy(&value, raw, sizeof(value));
    return GUINT32_FROM_BE(value);
}

static uint64_t
getU64(const uint8_t *raw)
{
    uint64_t value;

    memcpy(&value, raw, sizeof(value));
    return GUINT64_FROM_BE(value);
}

static void
putU16(uint8_t *raw, uint16_t value)
{
    value = GUINT16_TO_BE(value);
    memcpy(raw, &value, sizeof(value));
}

void
eifPutU32(uint8_t *raw, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    memcpy(raw, &value, sizeof(value));
}

static void
putU64(uint8_t *raw, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    memcpy(raw, &value, sizeof(value));
}

void
eifHeaderDecode(const uint8_t raw[EIF_HEADER_SIZE], EifHeader *header)
{
    size_t i;

    memcpy(header->magic, raw + OFFSET_MAGIC, sizeof(header->magic));
    header->version = getU16(raw + OFFSET_VERSION);
    header->flags = getU16(raw + OFFSET_FLAGS);
    header->defaultMemory = getU64(raw + OFFSET_DEFAULT_MEMORY);
    header->defaultCpus = getU64(raw + OFFSET_DEFAULT_CPUS);
    header->nsections = getU16(raw + OFFSET_NSECTIONS);
    for (i = 0; i < EIF_MAX_SECTIONS; i++) {
        header->offsets[i] = getU64(raw + OFFSET_OFFSETS + i * 8);
        header->sizes[i] = getU64(raw + OFFSET_SIZES + i * 8);
    }
    header->crc32 = getU32(raw + EIF_HEADER_CRC_OFFSET);
}

void
eifHeaderEncode(const EifHeader *header, uint8_t raw[EIF_HEADER_SIZE])
{
    memset(raw, 0, EIF_HEADER_SIZE);
    eifHeaderUpdate(header, raw);
}

void
eifHeaderUpdate(const EifHeader *header, uint8_t raw[EIF_HEADER_SIZE])
{
    size_t i;

    memcpy(raw + OFFSET_MAGIC, header->magic, sizeof(header->magic));
    putU16(raw + OFFSET_VERSION, header->version);
    putU16(raw + OFFSET_FLAGS, header->flags);
    putU64(raw + OFFSET_DEFAULT_MEMORY, header->defaultMemory);
    putU64(raw + OFFSET_DEFAULT_CPUS, header->defaultCpus);
    putU16(raw + OFFSET_NSECTIONS, header->nsections);
    for (i = 0; i < EIF_MAX_SECTIONS; i++) {
        putU64(raw + OFFSET_OFFSETS + i * 8, header->offsets[i]);
        putU64(raw + OFFSET_SIZES + i * 8, header->sizes[i]);
    }
    eifPutU32(raw + EIF_HEADER_CRC_OFFSET, header->crc32);
}

void
eifSectionHeaderDecode(const uint8_t raw[EIF_SECTION_HEADER_SIZE], EifSectionHeader *header)
{
    header->type = getU16(raw);
    header->flags = getU16(raw + 2);
    header->size = getU64(raw + 4);
}

void
eifSectionHeaderEncode(const EifSectionHeader *header, uint8_t raw[EIF_SECTION_HEADER_SIZE])
{
    putU16(raw, header->type);
    putU16(raw + 2, header->flags);
    putU64(raw + 4, header->size);
}

const char *
eifArchToString(EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? "aarch64" : "x86_64";
}

bool
eifArchFromString(const char *name, EifArch *arch)
{
    const EifArch all[] = { EIF_ARCH_X86_64, EIF_ARCH_AARCH64 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(all); i++) {
        if (g_str_equal(name, eifArchToString(all[i]))) {
            *arch = all[i];
            return true;
        }
    }
    return false;
}

const char *
eifSectionTypeToString(EifSectionType type)
{
    switch (type) {
    case EIF_SECTION_KERNEL:
        return "kernel";
    case EIF_SECTION_CMDLINE:
        return "cmdline";
    case EIF_SECTION_RAMDISK:
        return "ramdisk";
    case EIF_SECTION_SIGNATURE:
        return "signature";
    case EIF_SECTION_METADATA:
        return "metadata";
    }

    return "unknown";
}
