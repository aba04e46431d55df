/*
 * kernel_modules.c: modules of a kernel, and those that they need
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: listModules(): the directory -> name -> path. addModule(): a name -> its file -> ".modinfo"
 * -> what it depends on, first -> the list.
 */

#include "kernel_modules.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "byte_source.h"

/* The largest file in bytes: inits and modules have a few MiB at most */
#define BINARY_MAX (256 * 1024 * 1024)

/* Directories below each other, and modules that need each other */
#define DEPTH_MAX 32

#define MODULE_SUFFIX ".ko"
#define DEPENDS "depends="

typedef struct _Finder Finder;
struct _Finder {
    const char *directory;
    GHashTable *paths; /* of modules, by their names */
    GPtrArray *found;
    GError **error;
};

GString *
kernelModulesReadFile(const char *path, GError **error)
{
    ContainerLimits limits = { .maxBytes = BINARY_MAX };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    g_autofree char *what = g_strdup_printf("'%s'", path);
    g_autoptr(ByteSource) source = NULL;
    GString *data;
    const void *piece;
    ssize_t n;

    if (fd < 0) {
        containerFail(error, CONTAINER_ERROR_IO, _("cannot open '%s': %s"), path,
                      g_strerror(errno));
        return NULL;
    }

    source = byteSourceNewUnpacked(byteSourceNewFile(fd, what), what, true, &limits);
    data = g_string_new(NULL);
    while ((n = byteSourceNext(source, &piece, error)) > 0)
        g_string_append_len(data, piece, n);
    if (n == 0 && data->len == 0)
        n = containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' is empty"), path);
    if (n == 0)
        return data;
    g_string_free(data, TRUE);
    return NULL;
}

/* The name of the module in the file @base, or NULL when that is none (g_free) */
static char *
moduleName(const char *base)
{
    const char *suffix = strstr(base, MODULE_SUFFIX);
    const char *behind;

    if (!suffix)
        return NULL;
    behind = suffix + strlen(MODULE_SUFFIX);
    if (*behind && *behind != '.')
        return NULL;
    /* the kernel takes both for the same */
    return g_strdelimit(g_strndup(base, suffix - base), "-", '_');
}

/* Adds all modules in @directory and below. */
static int
listModules(Finder *finder, const char *directory, size_t depth)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(directory, 0, &error);
    const char *base;

    if (!dir || depth > DEPTH_MAX)
        return containerFail(finder->error, CONTAINER_ERROR_IO, "%s", error ? error->message :
                             _("the directory of modules is too deep"));

    while ((base = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, base, NULL);
        char *name = moduleName(base);
        struct stat sb;

        if (name)
            g_hash_table_replace(finder->paths, name, g_steal_pointer(&path));
        else if (lstat(path, &sb) == 0 && S_ISDIR(sb.st_mode) &&
                 listModules(finder, path, depth + 1) < 0)
            return -1;
    }
    return 0;
}

/* The @len bytes of the section @wanted of the ELF file @data, or NULL */
static const char *
findSection(const GString *data, const char *wanted, size_t *len)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)data->str;
    const Elf64_Shdr *sections;
    const Elf64_Shdr *names;
    size_t i;

    if (data->len < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_shentsize != sizeof(*sections) || header->e_shoff % sizeof(uint64_t) != 0 ||
        header->e_shoff > data->len || header->e_shstrndx >= header->e_shnum ||
        header->e_shnum > (data->len - header->e_shoff) / sizeof(*sections))
        return NULL;

    sections = (const Elf64_Shdr *)(data->str + header->e_shoff);
    names = &sections[header->e_shstrndx];
    if (names->sh_offset > data->len || names->sh_size > data->len - names->sh_offset)
        return NULL;
    for (i = 0; i < header->e_shnum; i++) {
        const Elf64_Shdr *section = &sections[i];
        const char *name = data->str + names->sh_offset + section->sh_name;

        if (section->sh_name >= names->sh_size ||
            names->sh_size - section->sh_name <= strlen(wanted) ||
            memcmp(name, wanted, strlen(wanted) + 1) != 0)
            continue;
        if (section->sh_offset > data->len || section->sh_size > data->len - section->sh_offset)
            return NULL;
        *len = section->sh_size;
        return data->str + section->sh_offset;
    }
    return NULL;
}

/* The names of the modules that the one in @path needs (g_strfreev), or NULL with @error set */
static char **
readDepends(const char *path, GError **error)
{
    GString *data = kernelModulesReadFile(path, error);
    const char *info;
    const char *end;
    size_t len = 0;
    char **names = NULL;

    if (!data)
        return NULL;
    info = findSection(data, ".modinfo", &len);
    for (end = info + len; info && info < end && !names; info += strnlen(info, end - info) + 1) {
        size_t size = strnlen(info, end - info);

        if (size >= strlen(DEPENDS) && memcmp(info, DEPENDS, strlen(DEPENDS)) == 0) {
            g_autofree char *value = g_strndup(info + strlen(DEPENDS), size - strlen(DEPENDS));

            names = g_strsplit(value, ",", -1);
        }
    }
    g_string_free(data, TRUE);
    if (!names)
        containerFail(error, CONTAINER_ERROR_FORMAT, _("'%s' is no module of a kernel of 64 bits"),
                      path);
    return names;
}

static int
addModule(Finder *finder, const char *wanted, size_t depth)
{
    g_autofree char *name = g_strdelimit(g_strdup(wanted), "-", '_');
    const char *path = g_hash_table_lookup(finder->paths, name);
    g_auto(GStrv) depends = NULL;
    size_t i;

    if (!path)
        return containerFail(finder->error, CONTAINER_ERROR_IO,
                             _("there is no module '%s' in '%s'"), wanted, finder->directory);
    if (g_ptr_array_find_with_equal_func(finder->found, path, g_str_equal, NULL))
        return 0;
    if (depth > DEPTH_MAX)
        return containerFail(finder->error, CONTAINER_ERROR_FORMAT,
                             _("the module '%s' needs too many others, or itself"), wanted);
    if (!(depends = readDepends(path, finder->error)))
        return -1;

    for (i = 0; depends[i]; i++) {
        if (depends[i][0] && addModule(finder, depends[i], depth + 1) < 0)
            return -1;
    }
    g_ptr_array_add(finder->found, g_strdup(path));
    return 0;
}

static int
addWanted(Finder *finder, const char *wanted)
{
    if (strchr(wanted, '/') || strstr(wanted, MODULE_SUFFIX)) {
        g_ptr_array_add(finder->found, g_strdup(wanted));
        return 0;
    }
    if (!finder->directory)
        return containerFail(finder->error, CONTAINER_ERROR_IO, _("'%s' is the name of a module: "
                             "--module-dir says where modules are"), wanted);
    if (g_hash_table_size(finder->paths) == 0 && listModules(finder, finder->directory, 0) < 0)
        return -1;
    return addModule(finder, wanted, 0);
}

char **
kernelModulesFind(const char *directory, char *const *wanted, GError **error)
{
    Finder finder = {
        .directory = directory,
        .paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .found = g_ptr_array_new_with_free_func(g_free),
        .error = error,
    };
    int ret = 0;

    for (; ret == 0 && wanted && *wanted; wanted++)
        ret = addWanted(&finder, *wanted);

    g_hash_table_unref(finder.paths);
    if (ret < 0) {
        g_ptr_array_unref(finder.found);
        return NULL;
    }
    g_ptr_array_add(finder.found, NULL);
    return (char **)g_ptr_array_free(finder.found, FALSE);
}
