/*
 * nsm_identity.c: what an emulated NSM is given of itself
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: NsmIdentity -> fields -> a descriptor -> all of its bytes -> fields -> NsmIdentity.
 */

#include "nsm_identity.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The most bytes of all fields; a chain has a few certificates of less than 1 KiB */
#define IDENTITY_MAX 16384

bool
nsmIdentityIsModule(const char *text)
{
    const char *p;

    if (!*text || strlen(text) > NSM_MODULE_MAX || !g_utf8_validate(text, -1, NULL))
        return false;
    for (p = text; *p; p = g_utf8_next_char(p)) {
        if (!g_unichar_isprint(g_utf8_get_char(p)))
            return false;
    }
    return true;
}

static void
putField(GByteArray *out, const void *data, size_t len)
{
    const uint8_t head[] = {len >> 8, len & 0xff};

    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, data, len);
}

static void
putBytes(GByteArray *out, GBytes *bytes)
{
    gsize len;
    const void *data = g_bytes_get_data(bytes, &len);

    putField(out, data, len);
}

int
nsmIdentityWrite(const NsmIdentity *identity, int fd)
{
    GByteArray *out = g_byte_array_sized_new(IDENTITY_MAX);
    size_t done = 0;
    size_t i;

    putField(out, identity->moduleId, strlen(identity->moduleId));
    putField(out, identity->secret, sizeof(identity->secret));
    putBytes(out, identity->certificate);
    for (i = 0; i < identity->cabundle->len; i++)
        putBytes(out, g_ptr_array_index(identity->cabundle, i));

    while (done < out->len) {
        ssize_t n = write(fd, out->data + done, out->len - done);

        if (n < 0 && errno != EINTR)
            break;
        done += MAX(n, 0);
    }
    i = out->len;
    explicit_bzero(out->data, out->len);
    g_byte_array_free(out, TRUE);
    return done == i ? 0 : -1;
}

/* Fields that are still to be read */
typedef struct _Fields Fields;
struct _Fields {
    const uint8_t *next;
    size_t left;
};

/* Takes the next field, of @min to @max bytes. Returns whether there is such a one. */
static bool
takeField(Fields *fields, size_t min, size_t max, const uint8_t **data, size_t *len)
{
    if (fields->left < 2)
        return false;
    *len = fields->next[0] << 8 | fields->next[1];
    if (*len < min || *len > max || *len > fields->left - 2)
        return false;
    *data = fields->next + 2;
    fields->next += 2 + *len;
    fields->left -= 2 + *len;
    return true;
}

static bool
parse(NsmIdentity *identity, Fields *fields)
{
    const uint8_t *data;
    size_t len;

    if (!takeField(fields, 1, NSM_MODULE_MAX, &data, &len))
        return false;
    identity->moduleId = g_strndup((const char *)data, len);
    if (strlen(identity->moduleId) != len || !nsmIdentityIsModule(identity->moduleId) ||
        !takeField(fields, NSM_KEY_SIZE, NSM_KEY_SIZE, &data, &len))
        return false;
    memcpy(identity->secret, data, len);
    if (!takeField(fields, 1, NSM_CERTIFICATE_MAX, &data, &len))
        return false;
    identity->certificate = g_bytes_new(data, len);
    identity->cabundle = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    do {
        if (!takeField(fields, 1, NSM_CERTIFICATE_MAX, &data, &len))
            return false;
        g_ptr_array_add(identity->cabundle, g_bytes_new(data, len));
    } while (fields->left > 0);
    return true;
}

int
nsmIdentityRead(NsmIdentity *identity, int fd, char **error)
{
    uint8_t buf[IDENTITY_MAX + 1];
    Fields fields = {.next = buf};
    ssize_t n = 1;
    bool good;

    while (n != 0 && fields.left < sizeof(buf)) {
        n = read(fd, buf + fields.left, sizeof(buf) - fields.left);
        if (n < 0 && errno != EINTR) {
            *error = g_strdup_printf("The identity of the NSM cannot be read: %s",
                                     g_strerror(errno));
            return -1;
        }
        fields.left += MAX(n, 0);
    }
    good = fields.left <= IDENTITY_MAX && parse(identity, &fields);
    explicit_bzero(buf, sizeof(buf));
    if (!good)
        *error = g_strdup("The identity of the NSM is not one that 'libvirt_nitro_nsm --issue' "
                          "has written");
    return good ? 0 : -1;
}

void
nsmIdentityClear(NsmIdentity *identity)
{
    g_clear_pointer(&identity->moduleId, g_free);
    g_clear_pointer(&identity->certificate, g_bytes_unref);
    g_clear_pointer(&identity->cabundle, g_ptr_array_unref);
    explicit_bzero(identity->secret, sizeof(identity->secret));
}
