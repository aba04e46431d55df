/*
 * resolve.c: looks names up, in threads of their own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: resolveStart() -> a thread of the pool: getaddrinfo(3) -> resolveOnDone() in the main loop.
 */

#include "resolve.h"

#include <netdb.h>
#include <nss.h>
#include <resolv.h>
#include <string.h>

#include "helper_protocol.h"

/* Lookups at a time; a server that does not answer holds each for some seconds. */
#define RESOLVE_THREADS 8

/* More are never tried. */
#define RESOLVE_ADDRESSES_MAX 16

struct _Resolve {
    char *host;
    bool search;      /* in the host's domains as well */
    gint givenUp;     /* nobody waits any more; atomic */
    ResolveDone done; /* NULL: likewise; the main thread's */
    void *opaque;
    GArray *addresses; /* of Address */
    int error;         /* of getaddrinfo() */
};

static GThreadPool *resolvePool;

static void
resolveFree(Resolve *resolve)
{
    g_free(resolve->host);
    g_array_unref(resolve->addresses);
    g_free(resolve);
}

static gboolean
resolveOnDone(gpointer opaque)
{
    Resolve *resolve = opaque;

    if (resolve->done)
        resolve->done(resolve->addresses, resolve->error ? gai_strerror(resolve->error) : NULL,
                      resolve->opaque);
    resolveFree(resolve);
    return G_SOURCE_REMOVE;
}

/*
 * Has this thread's lookups follow resolv.conf as it is now, with @search in its domains, too. The C
 * library reads it anew by itself as long as nothing is set otherwise, and so not the next time.
 */
static int
resolveConfigure(bool search)
{
    if (_res.options & RES_INIT)
        res_nclose(&_res);
    memset(&_res, 0, sizeof(_res));
    if (res_init() < 0)
        return -1;
    if (!search)
        _res.options &= ~(RES_DNSRCH | RES_DEFNAMES);
    return 0;
}

static int
resolveLookUp(const char *host, bool search, GArray *addresses)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const struct addrinfo *one;
    int rc;

    if (resolveConfigure(search) < 0)
        return EAI_MEMORY;
    rc = getaddrinfo(host, NULL, &hints, &found);
    for (one = rc == 0 ? found : NULL; one; one = one->ai_next) {
        Address address;

        if (addresses->len < RESOLVE_ADDRESSES_MAX && addressFromSockaddr(one->ai_addr, &address))
            g_array_append_val(addresses, address);
    }
    if (rc == 0)
        freeaddrinfo(found);
    return rc == 0 && addresses->len == 0 ? EAI_NONAME : rc;
}

/* In a thread of the pool */
static void
resolveRun(gpointer data, gpointer opaque G_GNUC_UNUSED)
{
    Resolve *resolve = data;

    if (!g_atomic_int_get(&resolve->givenUp))
        resolve->error = resolveLookUp(resolve->host, resolve->search, resolve->addresses);
    g_idle_add_full(G_PRIORITY_DEFAULT, resolveOnDone, resolve, NULL);
}

int
resolveBegin(Failure *failure)
{
    g_autoptr(GArray) addresses = g_array_new(FALSE, FALSE, sizeof(Address));
    g_autoptr(GError) error = NULL;

    if (__nss_configure_lookup("hosts", "files dns") < 0) {
        failureSet(failure, NITRO_FAILURE_INTERNAL, "The services' names cannot be looked up: %s",
                   "__nss_configure_lookup()");
        return -1;
    }
    /* It counts for nothing what comes of it. */
    resolveLookUp("localhost", true, addresses);

    resolvePool = g_thread_pool_new(resolveRun, NULL, RESOLVE_THREADS, TRUE, &error);
    if (!resolvePool) {
        failureSet(failure, NITRO_FAILURE_RESOURCE, "The services' names cannot be looked up: %s",
                   error->message);
        return -1;
    }
    return 0;
}

Resolve *
resolveStart(const char *host, bool search, ResolveDone done, void *opaque)
{
    Resolve *resolve = g_new0(Resolve, 1);

    resolve->host = g_strdup(host);
    resolve->search = search;
    resolve->done = done;
    resolve->opaque = opaque;
    resolve->addresses = g_array_new(FALSE, FALSE, sizeof(Address));
    /* It fails without a thread only. */
    g_thread_pool_push(resolvePool, resolve, NULL);
    return resolve;
}

void
resolveCancel(Resolve *resolve)
{
    if (!resolve)
        return;
    resolve->done = NULL;
    g_atomic_int_set(&resolve->givenUp, 1);
}
