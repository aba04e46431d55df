/*
 * virt_eif_metadata.c: the metadata of an image
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Members as nitro-cli writes them (and "nitro-cli describe-eif" wants all of BuildMetadata), but
 * for DockerInfo, where that has Docker's answer to "inspect": here it is what the image itself
 * says.
 *
 * Flow: virtEifMetadata() -> one function for each member -> a yajl generator -> text.
 */

#include "virt_eif_container.h"

#include <string.h>
#include <unistd.h>

#define DEFAULT_NAME "unnamed"
#define DEFAULT_VERSION "1.0"

/* Linux, Documentation/x86/boot.rst: where "HdrS" is, and where the offset of the version */
#define BZIMAGE_MAGIC_OFFSET 0x202
#define BZIMAGE_VERSION_OFFSET 0x20e
#define BZIMAGE_SETUP_SIZE 0x200
#define KERNEL_VERSION_MAX 128

static void
genString(yajl_gen gen, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    yajl_gen_string(gen, (const unsigned char *)valid, strlen(valid));
}

static void
genMember(yajl_gen gen, const char *name, const char *text)
{
    genString(gen, name);
    genString(gen, text);
}

/* A list may be NULL: then it is left out. */
static void
genList(yajl_gen gen, const char *name, char *const *list)
{
    if (!list)
        return;

    genString(gen, name);
    yajl_gen_array_open(gen);
    for (; *list; list++)
        genString(gen, *list);
    yajl_gen_array_close(gen);
}

/* The version that a bzImage names, e.g. "6.1.0-41-cloud-amd64"; else "unknown" (g_free) */
static char *
getKernelVersion(int fd)
{
    char magic[4];
    uint8_t offset[2];
    char version[KERNEL_VERSION_MAX + 1] = "";
    off_t pos;

    if (pread(fd, magic, sizeof(magic), BZIMAGE_MAGIC_OFFSET) != sizeof(magic) ||
        memcmp(magic, "HdrS", sizeof(magic)) != 0 ||
        pread(fd, offset, sizeof(offset), BZIMAGE_VERSION_OFFSET) != sizeof(offset))
        return g_strdup("unknown");

    pos = (off_t)(offset[0] | offset[1] << 8) + BZIMAGE_SETUP_SIZE;
    if (pread(fd, version, KERNEL_VERSION_MAX, pos) <= 0)
        return g_strdup("unknown");
    /* who has built it, and when, is behind a space */
    version[strcspn(version, " ")] = '\0';
    return g_strdup(version[0] ? version : "unknown");
}

static void
genBuildMetadata(yajl_gen gen, uint32_t mtime, int kernel)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(mtime);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");
    g_autofree char *version = getKernelVersion(kernel);

    genString(gen, "BuildMetadata");
    yajl_gen_map_open(gen);
    genMember(gen, "BuildTime", text);
    genMember(gen, "BuildTool", "virt-eif");
    genMember(gen, "BuildToolVersion", NITRO_VERSION);
    genMember(gen, "OperatingSystem", "Linux");
    genMember(gen, "KernelVersion", version);
    yajl_gen_map_close(gen);
}

static void
genDockerInfo(yajl_gen gen, const OciImage *image)
{
    genString(gen, "DockerInfo");
    yajl_gen_map_open(gen);
    if (image) {
        if (image->id)
            genMember(gen, "Id", image->id);
        if (image->tag) {
            char *const tags[] = { image->tag, NULL };

            genList(gen, "RepoTags", tags);
        }
        genMember(gen, "Architecture", image->architecture ? image->architecture : "");
        genMember(gen, "Os", "linux");
        genString(gen, "Config");
        yajl_gen_map_open(gen);
        genMember(gen, "User", image->user ? image->user : "");
        genList(gen, "Env", image->env);
        genList(gen, "Cmd", image->cmd);
        genMember(gen, "WorkingDir", image->workingDir ? image->workingDir : "");
        genList(gen, "Entrypoint", image->entrypoint);
        yajl_gen_map_close(gen);
    }
    yajl_gen_map_close(gen);
}

char *
virtEifMetadata(const char *name, const char *version, uint32_t mtime, int kernel,
                const OciImage *image, const char *custom)
{
    yajl_gen gen = yajl_gen_alloc(NULL);
    const unsigned char *text;
    char *copy;
    size_t len;

    if (!name && image)
        name = image->tag;

    yajl_gen_map_open(gen);
    genMember(gen, "ImageName", name ? name : DEFAULT_NAME);
    genMember(gen, "ImageVersion", version ? version : DEFAULT_VERSION);
    genBuildMetadata(gen, mtime, kernel);
    genDockerInfo(gen, image);
    genString(gen, "CustomMetadata");
    if (custom) {
        virtEifJsonCopy(gen, custom, strlen(custom));
    } else {
        yajl_gen_map_open(gen);
        yajl_gen_map_close(gen);
    }
    yajl_gen_map_close(gen);

    yajl_gen_get_buf(gen, &text, &len);
    copy = g_strndup((const char *)text, len);
    yajl_gen_free(gen);
    return copy;
}
