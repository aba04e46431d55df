/*
 * tsanglib.c: tells ThreadSanitizer how GLib synchronizes
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For make check-tsan. The distribution's GLib is not built with ThreadSanitizer, which
 * therefore sees neither its mutexes, which are futexes, nor the counts of references:
 * whatever libvirt protects with these would be reported. Preloaded, this stands between.
 *
 * It is built without the sanitizer, so that programs on the way to the daemon do not get it.
 */

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

/* Of ThreadSanitizer's library; NULL in a program that lacks it */
extern void __tsan_acquire(void *addr) __attribute__((weak));
extern void __tsan_release(void *addr) __attribute__((weak));

API void g_mutex_lock(void *mutex);
API int g_mutex_trylock(void *mutex);
API void g_mutex_unlock(void *mutex);
API void g_object_unref(void *object);

/* Not RTLD_NEXT: a program of scripts has GLib with its modules, out of sight. */
#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name)) dlsym(dlopen("libgobject-2.0.so.0", RTLD_LAZY), #name)


static void
acquire(void *addr)
{
    if (__tsan_acquire)
        __tsan_acquire(addr);
}


static void
release(void *addr)
{
    if (__tsan_release)
        __tsan_release(addr);
}


void
g_mutex_lock(void *mutex)
{
    REAL(g_mutex_lock);

    real(mutex);
    acquire(mutex);
}


int
g_mutex_trylock(void *mutex)
{
    REAL(g_mutex_trylock);

    if (!real(mutex))
        return 0;
    acquire(mutex);
    return 1;
}


void
g_mutex_unlock(void *mutex)
{
    REAL(g_mutex_unlock);

    release(mutex);
    real(mutex);
}


/* All that others have done before they gave up the object has happened before its end. */
void
g_object_unref(void *object)
{
    REAL(g_object_unref);

    release(object);
    acquire(object);
    real(object);
}


/* The driver: the sanitizer knows names of what is loaded before its first report only. */
static void
load_driver(void)
{
    const char *directory = getenv("LIBVIRT_DRIVER_DIR");
    char path[PATH_MAX];

    if (directory) {
        snprintf(path, sizeof(path), "%s/libvirt_driver_nitro.so", directory);
        dlopen(path, RTLD_NOW);
    }
}


static void __attribute__((constructor))
start(void)
{
    if (strcmp(program_invocation_short_name, "virtnitrod") != 0)
        return;
    /* helpers and QEMU do not need it */
    unsetenv("LD_PRELOAD");
    load_driver();
}
