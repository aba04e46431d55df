/*
 * nsm_authority.c: the root certificate of the emulated NSMs of a host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: the file in the directory -> key and certificate, PEM one behind the other -> GnuTLS. No
 * file: both are made, written under another name, and linked to their own, which fails when
 * there is one by now; then that is read.
 */

#include "cose_verify.h"
#include "nitro_gettext.h"
#include "nsm_authority.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROOT_NAME "libvirt-nitro emulation, not AWS"
#define ORGANIZATION "libvirt-nitro"
#define LEAF_UNIT "emulated NSM, not AWS"

/* How long certificates are good, in seconds; clocks may differ a little. */
#define DAY (24 * 60 * 60)
#define ROOT_LIFE (30LL * 365 * DAY)
#define LEAF_LIFE (365LL * DAY)
#define CLOCKS_DIFFER 300

/* The largest file that can be ours, in bytes */
#define FILE_MAX 16384

#define SERIAL_SIZE 16

typedef struct gnutls_x509_privkey_int PrivateKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PrivateKey, gnutls_x509_privkey_deinit)

struct _NsmAuthority {
    PrivateKey *key;
    X509 *certificate;
    GBytes *der;
};

GQuark
nsmErrorQuark(void)
{
    return g_quark_from_static_string("libvirt-nitro-nsm-authority-error");
}

static int
setCryptoError(GError **error, int rc)
{
    g_set_error(error, NSM_ERROR, NSM_ERROR_CRYPTO,
                _("cannot make a certificate for an emulated NSM: %s"), gnutls_strerror(rc));
    return -1;
}

static int
setFileError(GError **error, const char *path, const char *name, int err)
{
    g_set_error(error, NSM_ERROR, NSM_ERROR_IO, _("cannot use '%s/%s': %s"), path, name,
                g_strerror(err));
    return -1;
}

static int
setAuthorityError(GError **error, const char *path, const char *what)
{
    g_set_error(error, NSM_ERROR, NSM_ERROR_AUTHORITY,
                _("'%s/%s' is not the key of the emulated NSMs' root certificate: %s: restore it, or "
                  "remove it and have a new root made, below which no earlier document is good"),
                path, NSM_AUTHORITY_KEY, what);
    return -1;
}

/* The names and dates of @crt, and the key that it is for. Returns a GnuTLS error code. */
static int
describe(X509 *crt, const char *name, const char *unit, PrivateKey *key, int64_t start,
         int64_t life)
{
    uint8_t serial[SERIAL_SIZE];
    uint8_t id[64];
    size_t idLen = sizeof(id);
    int rc;

    if ((rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial))) < 0)
        return rc;
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of this length */

    if ((rc = gnutls_x509_crt_set_version(crt, 3)) < 0 ||
        (rc = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial))) < 0 ||
        (rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, ORGANIZATION,
                                            strlen(ORGANIZATION))) < 0 ||
        (rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                            strlen(name))) < 0 ||
        (unit && (rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME,
                                                     0, unit, strlen(unit))) < 0) ||
        (rc = gnutls_x509_crt_set_key(crt, key)) < 0 ||
        (rc = gnutls_x509_crt_set_activation_time(crt, start)) < 0 ||
        (rc = gnutls_x509_crt_set_expiration_time(crt, start + life)) < 0 ||
        (rc = gnutls_x509_crt_get_key_id(crt, 0, id, &idLen)) < 0)
        return rc;
    return gnutls_x509_crt_set_subject_key_id(crt, id, idLen);
}

static PrivateKey *
makeKey(GError **error)
{
    g_autoptr(PrivateKey) key = NULL;
    int rc;

    if ((rc = gnutls_x509_privkey_init(&key)) < 0 ||
        (rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                           GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1),
                                           0)) < 0) {
        setCryptoError(error, rc);
        return NULL;
    }
    return g_steal_pointer(&key);
}

/* A certificate of @key: the root's when @authority is NULL, else that of the NSM @name below it */
static X509 *
makeCertificate(const NsmAuthority *authority, const char *name, PrivateKey *key, int64_t now,
                GError **error)
{
    g_autoptr(X509) crt = NULL;
    int rc;

    if ((rc = gnutls_x509_crt_init(&crt)) < 0 ||
        (rc = describe(crt, name, authority ? LEAF_UNIT : NULL, key, now - CLOCKS_DIFFER,
                       authority ? LEAF_LIFE : ROOT_LIFE)) < 0 ||
        (rc = gnutls_x509_crt_set_basic_constraints(crt, authority ? 0 : 1,
                                                    authority ? -1 : 0)) < 0 ||
        (rc = gnutls_x509_crt_set_key_usage(crt, authority ? GNUTLS_KEY_DIGITAL_SIGNATURE :
                                                             GNUTLS_KEY_KEY_CERT_SIGN)) < 0 ||
        (rc = gnutls_x509_crt_sign2(crt, authority ? authority->certificate : crt,
                                    authority ? authority->key : key, GNUTLS_DIG_SHA384,
                                    0)) < 0) {
        setCryptoError(error, rc);
        return NULL;
    }
    return g_steal_pointer(&crt);
}

/* @crt in DER form, or NULL with @error set */
static GBytes *
exportCertificate(X509 *crt, GError **error)
{
    g_auto(gnutls_datum_t) der = {0};
    int rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);

    if (rc < 0) {
        setCryptoError(error, rc);
        return NULL;
    }
    return g_bytes_new(der.data, der.size);
}

/* Reads the open file @fd, of at most FILE_MAX bytes. Returns NULL with @error set. */
static GByteArray *
readFile(int fd, const char *path, GError **error)
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    struct stat sb;
    ssize_t n;

    if (fstat(fd, &sb) < 0) {
        setFileError(error, path, NSM_AUTHORITY_KEY, errno);
        return NULL;
    }
    if (!S_ISREG(sb.st_mode) || sb.st_size < 1 || sb.st_size > FILE_MAX) {
        setAuthorityError(error, path, _("it is empty, too large, or no regular file"));
        return NULL;
    }
    if (sb.st_uid != geteuid() || sb.st_mode & (S_IRWXG | S_IRWXO)) {
        setAuthorityError(error, path, _("others than its owner can use it, or own it"));
        return NULL;
    }
    g_byte_array_set_size(content, sb.st_size);
    n = TEMP_FAILURE_RETRY(pread(fd, content->data, content->len, 0));
    if (n < 0 || (size_t)n != content->len) {
        setFileError(error, path, NSM_AUTHORITY_KEY, n < 0 ? errno : EIO);
        return NULL;
    }
    return g_steal_pointer(&content);
}

/* Whether @crt is a certificate of @key */
static bool
isPair(X509 *crt, PrivateKey *key)
{
    uint8_t ids[2][64] = {{0}};
    size_t lens[2] = {sizeof(ids[0]), sizeof(ids[1])};

    return gnutls_x509_crt_get_key_id(crt, 0, ids[0], &lens[0]) == 0 &&
        gnutls_x509_privkey_get_key_id(key, 0, ids[1], &lens[1]) == 0 && lens[0] == lens[1] &&
        memcmp(ids[0], ids[1], lens[0]) == 0;
}

static NsmAuthority *
parse(const GByteArray *content, const char *path, GError **error)
{
    const gnutls_datum_t datum = {content->data, content->len};
    g_autoptr(NsmAuthority) authority = g_new0(NsmAuthority, 1);
    int rc;

    if ((rc = gnutls_x509_privkey_init(&authority->key)) < 0 ||
        (rc = gnutls_x509_crt_init(&authority->certificate)) < 0 ||
        (rc = gnutls_x509_privkey_import(authority->key, &datum, GNUTLS_X509_FMT_PEM)) < 0 ||
        (rc = gnutls_x509_crt_import(authority->certificate, &datum, GNUTLS_X509_FMT_PEM)) < 0) {
        setAuthorityError(error, path, gnutls_strerror(rc));
        return NULL;
    }
    if (!isPair(authority->certificate, authority->key)) {
        setAuthorityError(error, path, _("its key is not that of its certificate"));
        return NULL;
    }
    if (!(authority->der = exportCertificate(authority->certificate, error)))
        return NULL;
    return g_steal_pointer(&authority);
}

/*
 * Writes @content to the file @name in the directory @dirfd, with @mode, complete or not at all. Returns
 * 0; when there is a file of that name, it is replaced or, unless @replace, stays.
 */
static int
writeFile(int dirfd, const char *path, const char *name, const GString *content, mode_t mode,
          bool replace, GError **error)
{
    g_autofree char *temporary = g_strdup_printf(".%s.%d-%08x", name, (int)getpid(),
                                                 g_random_int());
    int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    ssize_t n;
    int err = 0;

    if (fd < 0)
        return setFileError(error, path, temporary, errno);
    if (fchmod(fd, mode) < 0)
        err = errno;
    else if ((n = TEMP_FAILURE_RETRY(write(fd, content->str, content->len))) !=
             (ssize_t)content->len)
        err = n < 0 ? errno : ENOSPC;
    else if (fsync(fd) < 0)
        err = errno;
    if (close(fd) < 0 && err == 0)
        err = errno;
    if (err == 0 && replace && renameat(dirfd, temporary, dirfd, name) < 0)
        err = errno;
    else if (err == 0 && !replace && linkat(dirfd, temporary, dirfd, name, 0) < 0 &&
             errno != EEXIST)
        err = errno;
    if (err != 0 || !replace)
        unlinkat(dirfd, temporary, 0);
    if (err == 0 && fsync(dirfd) < 0)
        err = errno;
    return err == 0 ? 0 : setFileError(error, path, name, err);
}

/* Makes the file of a new root, unless there is one meanwhile. Returns 0, or -1 with @error set. */
static int
create(int dirfd, const char *path, GError **error)
{
    g_autoptr(PrivateKey) key = makeKey(error);
    g_autoptr(X509) crt = key ? makeCertificate(NULL, ROOT_NAME, key, time(NULL), error) : NULL;
    g_auto(gnutls_datum_t) keyPem = {0};
    g_auto(gnutls_datum_t) crtPem = {0};
    GString *content;
    int rc;

    if (!crt)
        return -1;
    if ((rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                &keyPem)) < 0 ||
        (rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crtPem)) < 0)
        return setCryptoError(error, rc);

    content = g_string_new_len((const char *)keyPem.data, keyPem.size);
    g_string_append_len(content, (const char *)crtPem.data, crtPem.size);
    rc = writeFile(dirfd, path, NSM_AUTHORITY_KEY, content, S_IRUSR | S_IWUSR, false, error);
    explicit_bzero(content->str, content->len);
    explicit_bzero(keyPem.data, keyPem.size);
    g_string_free(content, TRUE);
    return rc;
}

/* Whether the file @name in the directory @dirfd has @content, and nothing else */
static bool
hasContent(int dirfd, const char *name, const GString *content)
{
    g_autofree char *found = g_malloc(content->len + 1);
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = TEMP_FAILURE_RETRY(pread(fd, found, content->len + 1, 0));
    close(fd);
    return n == (ssize_t)content->len && memcmp(found, content->str, content->len) == 0;
}

/*
 * Writes the certificate for everybody, unless it is there: that of a root which was removed since would
 * have all documents refused. Returns 0, or -1 with @error set.
 */
static int
publish(const NsmAuthority *authority, int dirfd, const char *path, GError **error)
{
    g_auto(gnutls_datum_t) pem = {0};
    g_autoptr(GString) content = NULL;
    int rc;

    if ((rc = gnutls_x509_crt_export2(authority->certificate, GNUTLS_X509_FMT_PEM, &pem)) < 0)
        return setCryptoError(error, rc);
    content = g_string_new_len((const char *)pem.data, pem.size);
    if (hasContent(dirfd, NSM_AUTHORITY_CERTIFICATE, content))
        return 0;
    return writeFile(dirfd, path, NSM_AUTHORITY_CERTIFICATE, content,
                     S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, true, error);
}

NsmAuthority *
nsmAuthorityOpen(int dirfd, const char *path, GError **error)
{
    g_autoptr(NsmAuthority) authority = NULL;
    g_autoptr(GByteArray) content = NULL;
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(dirfd, NSM_AUTHORITY_KEY, flags);

    if (fd < 0 && errno == ENOENT) {
        if (create(dirfd, path, error) < 0)
            return NULL;
        fd = openat(dirfd, NSM_AUTHORITY_KEY, flags);
    }
    if (fd < 0) {
        setFileError(error, path, NSM_AUTHORITY_KEY, errno);
        return NULL;
    }
    content = readFile(fd, path, error);
    close(fd);
    if (!content)
        return NULL;
    authority = parse(content, path, error);
    explicit_bzero(content->data, content->len);
    if (!authority || publish(authority, dirfd, path, error) < 0)
        return NULL;
    return g_steal_pointer(&authority);
}

void
nsmAuthorityFree(NsmAuthority *authority)
{
    g_clear_pointer(&authority->key, gnutls_x509_privkey_deinit);
    g_clear_pointer(&authority->certificate, gnutls_x509_crt_deinit);
    g_clear_pointer(&authority->der, g_bytes_unref);
    g_free(authority);
}

GBytes *
nsmAuthorityGetCertificate(const NsmAuthority *authority)
{
    return authority->der;
}

/* The private number of @key, of full length. Returns 0, or -1 with @error set. */
static int
exportSecret(PrivateKey *key, uint8_t secret[NSM_KEY_SIZE], GError **error)
{
    g_auto(gnutls_datum_t) number = {0};
    gnutls_ecc_curve_t curve;
    int rc = gnutls_x509_privkey_export_ecc_raw(key, &curve, NULL, NULL, &number);
    const uint8_t *data = number.data;
    size_t len = number.size;

    if (rc < 0)
        return setCryptoError(error, rc);
    for (; len > NSM_KEY_SIZE && *data == 0; len--)
        data++;
    if (len > NSM_KEY_SIZE)
        return setCryptoError(error, GNUTLS_E_INTERNAL_ERROR);
    memset(secret, 0, NSM_KEY_SIZE);
    memcpy(secret + NSM_KEY_SIZE - len, data, len);
    explicit_bzero(number.data, number.size);
    return 0;
}

GBytes *
nsmAuthorityIssue(const NsmAuthority *authority, const char *moduleId, int64_t now,
                  uint8_t secret[NSM_KEY_SIZE], GError **error)
{
    g_autoptr(PrivateKey) key = makeKey(error);
    g_autoptr(X509) crt = key ? makeCertificate(authority, moduleId, key, now, error) : NULL;

    if (!crt || exportSecret(key, secret, error) < 0)
        return NULL;
    return exportCertificate(crt, error);
}
