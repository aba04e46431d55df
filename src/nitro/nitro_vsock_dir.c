/*
 * nitro_vsock_dir.c: the directories where an emulated enclave's vsock and programs of the host meet
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Made as root's alone, then opened to the group and the helper. What programs make in it later
 * comes by inotify -> is it a socket, and of this place only -> the helper may connect.
 *
 * Members of the group are trusted with the enclave's connections, not with the host: they can
 * put links and anything else in the directory. So all is looked at by descriptor.
 */

#include <config.h>

#include <acl/libacl.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/acl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nitro_socket.h"
#include "nitro_vsock_dir.h"
#include "virerror.h"
#include "virevent.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

VIR_LOG_INIT("nitro.nitro_vsock_dir");

#define NITRO_VSOCK_SOCKET_PREFIX "vsock_"

/* For members of the group; sticky: what is made is its maker's */
#define NITRO_VSOCK_DIR_MODE 01770

/* What the helper needs to connect to a socket, as the mode's bits for the group */
#define NITRO_VSOCK_CONNECT (S_IRGRP | S_IWGRP)

#define NITRO_VSOCK_EVENTS (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW)

/* Of one directory, each time: names that are read, and sockets that are looked at */
#define NITRO_VSOCK_NAMES_MAX 65536
#define NITRO_VSOCK_LOOKS_MAX 4096

/* us: between two looks at all directories */
#define NITRO_VSOCK_PAUSE G_USEC_PER_SEC

struct _nitroVsockDirs {
    nitroDriver *driver;
    const nitroDriverConfig *config;
    int told; /* atomic: that a directory has too much in it, in the log */

    GMutex lock;      /* protects what follows; nobody looks at a whole directory under it */
    int fd;           /* inotify; -1: nothing has been watched yet */
    int handle;       /* of the event loop; -1: none */
    GHashTable *dirs; /* path -> watch descriptor as a pointer */
    bool scheduled;   /* a look at all directories, as events were lost */
    gint64 looked;    /* when the latest one began, us of the monotonic clock; 0: never */
};


/* Access control lists */

static uid_t
nitroVsockUser(const nitroDriverConfig *config)
{
    return config->user == (uid_t)-1 ? geteuid() : config->user;
}


/*
 * Sets the list @text, of the @type, on what @fd is open for. Returns 0, or -1 with errno set,
 * EOPNOTSUPP where the file system has none.
 */
static int
nitroVsockSetAcl(int fd,
                 acl_type_t type,
                 const char *text)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    acl_t acl = acl_from_text(text);
    int ret;
    int saved;

    if (!acl)
        return -1;
    ret = acl_set_file(path, type, acl);
    saved = errno;
    acl_free(acl);
    errno = saved;
    return ret;
}


/*
 * Lets the helper's user pass through the directory @fd, and connect to what will be made there.
 * Returns 0 with @acl set, or -1 with errno set.
 */
static int
nitroVsockDirSetAcl(const nitroDriverConfig *config,
                    int fd,
                    bool *acl)
{
    g_autofree char *later = g_strdup_printf("u::rwx,u:%u:rw-,g::---,m::rw-,o::---",
                                             nitroVsockUser(config));
    g_autofree char *now = g_strdup_printf("u::rwx,u:%u:--x,g::rwx,m::rwx,o::---",
                                           nitroVsockUser(config));

    *acl = true;
    if (nitroVsockSetAcl(fd, ACL_TYPE_DEFAULT, later) == 0 &&
        nitroVsockSetAcl(fd, ACL_TYPE_ACCESS, now) == 0)
        return 0;

    /* The daemon gives the sockets to the helpers' group. Its set-group-ID bit would do it for
     * them, but RestrictSUIDSGID= of the unit refuses that. */
    *acl = false;
    return errno == EOPNOTSUPP ? 0 : -1;
}


/* The directory */

/* Opens @dir, root's alone until now, to others. Returns 0, or -1 with errno set. */
static int
nitroVsockDirOpenUp(const nitroDriverConfig *config,
                    const char *dir,
                    const char *path,
                    bool *acl)
{
    VIR_AUTOCLOSE fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    /* Nobody else can exchange the socket before the directory is opened. */
    if (fd < 0 ||
        lchown(path, (uid_t)-1, config->group) < 0 ||
        chmod(path, 0660) < 0 ||
        fchown(fd, (uid_t)-1, config->group) < 0 ||
        fchmod(fd, NITRO_VSOCK_DIR_MODE) < 0)
        return -1;
    return nitroVsockDirSetAcl(config, fd, acl);
}


int
nitroVsockDirMake(const nitroDriverConfig *config,
                  const char *dir,
                  int *dirFd,
                  int *listenFd,
                  bool *acl)
{
    g_autofree char *path = g_strdup_printf("%s/vsock", dir);

    *acl = true;
    if (g_mkdir(dir, 0700) < 0 ||
        (*dirFd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0) {
        virReportSystemError(errno, _("cannot create the directory '%s'"), dir);
        return -1;
    }
    if ((*listenFd = nitroSocketListen(path)) < 0)
        return -1;
    if (config->privileged && nitroVsockDirOpenUp(config, dir, path, acl) < 0) {
        virReportSystemError(errno,
                             _("cannot open the directory '%s' to the user and the group of helpers"),
                             dir);
        return -1;
    }
    return 0;
}


/* Sockets of programs */

/* Whether @acl has an entry of its own for the helper, by which it may connect */
static bool
nitroVsockIsListed(const nitroDriverConfig *config,
                   acl_t acl)
{
    uid_t user = nitroVsockUser(config);
    acl_entry_t entry;
    int which = ACL_FIRST_ENTRY;

    for (; acl_get_entry(acl, which, &entry) == 1; which = ACL_NEXT_ENTRY) {
        acl_permset_t rights;
        acl_tag_t tag;
        uid_t *id;
        bool found;

        if (acl_get_tag_type(entry, &tag) < 0 || tag != ACL_USER ||
            !(id = acl_get_qualifier(entry)))
            continue;
        found = *id == user;
        acl_free(id);
        if (found)
            return acl_get_permset(entry, &rights) == 0 &&
                   acl_get_perm(rights, ACL_READ) == 1 && acl_get_perm(rights, ACL_WRITE) == 1;
    }
    return false;
}


/*
 * Sets the bits of the mode by which the helper may connect to the socket @fd, unless they are. The
 * owner may change the others at any time. Returns 0, or -1 with errno set.
 */
static int
nitroVsockSetMode(int fd,
                  const char *path)
{
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -1;
    if ((sb.st_mode & NITRO_VSOCK_CONNECT) == NITRO_VSOCK_CONNECT)
        return 0;
    return chmod(path, (sb.st_mode & 0777) | NITRO_VSOCK_CONNECT);
}


/* Gives the socket @fd a list that leaves to others what they had. Returns 0, or -1 with errno set. */
static int
nitroVsockSetList(const nitroDriverConfig *config,
                  int fd)
{
    g_autofree char *list = NULL;
    struct stat sb;
    unsigned int mode;

    if (fstat(fd, &sb) < 0)
        return -1;
    mode = sb.st_mode;
    list = g_strdup_printf("u::%c%c%c,u:%u:rw-,g::%c%c%c,m::rwx,o::%c%c%c",
                           mode & 0400 ? 'r' : '-', mode & 0200 ? 'w' : '-',
                           mode & 0100 ? 'x' : '-', nitroVsockUser(config),
                           mode & 0040 ? 'r' : '-', mode & 0020 ? 'w' : '-',
                           mode & 0010 ? 'x' : '-', mode & 0004 ? 'r' : '-',
                           mode & 0002 ? 'w' : '-', mode & 0001 ? 'x' : '-');
    return nitroVsockSetAcl(fd, ACL_TYPE_ACCESS, list);
}


/*
 * Lets the helper connect to the socket @fd. One that has inherited a list has the helper in it, and
 * was only cut. One with another list, moved in from elsewhere, says itself who may connect: to widen
 * its mask would let in others. Returns 0, or -1 with errno set.
 */
static int
nitroVsockAdmit(const nitroDriverConfig *config,
                int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    bool listed;
    acl_t acl;

    if (acl_extended_file(path) == 1) {
        if (!(acl = acl_get_file(path, ACL_TYPE_ACCESS)))
            return -1;
        listed = nitroVsockIsListed(config, acl);
        acl_free(acl);
        return listed ? nitroVsockSetMode(fd, path) : 0;
    }

    if (nitroVsockSetList(config, fd) == 0)
        return 0;
    if (errno != EOPNOTSUPP || fchownat(fd, "", (uid_t)-1, config->group, AT_EMPTY_PATH) < 0)
        return -1;
    return nitroVsockSetMode(fd, path);
}


/* Looks at @name in @dir, which anybody of the group may have made. */
static void
nitroVsockLook(const nitroDriverConfig *config,
               const char *dir,
               const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    if (!STRPREFIX(name, NITRO_VSOCK_SOCKET_PREFIX))
        return;
    if ((fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0 || fstat(fd, &sb) < 0) {
        if (errno != ENOENT)
            VIR_WARN("Unable to look at '%s': %s", path, g_strerror(errno));
        return;
    }
    /* A socket with another name is in another place, too, and none of ours. */
    if (!S_ISSOCK(sb.st_mode) || sb.st_nlink != 1)
        return;
    if (nitroVsockAdmit(config, fd) < 0)
        VIR_WARN("Unable to let helpers connect to '%s': %s", path, g_strerror(errno));
}


/* Looks at the sockets in @dir; some are left out when somebody has filled it. */
static void
nitroVsockLookAtAll(nitroVsockDirs *dirs,
                    const char *dir)
{
    g_autoptr(DIR) stream = NULL;
    struct dirent *entry;
    struct stat sb;
    size_t names = 0;
    size_t looks = 0;
    int rc;

    if ((rc = virDirOpenIfExists(&stream, dir)) > 0) {
        while ((rc = virDirRead(stream, &entry, dir)) > 0) {
            if (++names > NITRO_VSOCK_NAMES_MAX || looks == NITRO_VSOCK_LOOKS_MAX) {
                if (g_atomic_int_compare_and_exchange(&dirs->told, 0, 1))
                    VIR_WARN("There is more in '%s' than is looked at: helpers may not be able to "
                             "connect to sockets that were made while nobody watched", dir);
                return;
            }
            if (fstatat(dirfd(stream), entry->d_name, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
                !S_ISSOCK(sb.st_mode))
                continue;
            looks++;
            nitroVsockLook(dirs->config, dir, entry->d_name);
        }
    }
    if (rc < 0) {
        VIR_WARN("Unable to look at what is in '%s': %s", dir, virGetLastErrorMessage());
        virResetLastError();
    }
}


/* The watch */

/* A function for nitroDriverRun(); @vm is NULL. Looks at all that is watched. */
static void
nitroVsockDirsTask(nitroDriver *driver,
                   virDomainObj *vm G_GNUC_UNUSED)
{
    nitroVsockDirs *dirs = driver->vsockDirs;
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer dir;
    size_t i;

    g_mutex_lock(&dirs->lock);
    /* What is lost from now on is for the next look. */
    dirs->scheduled = false;
    dirs->looked = g_get_monotonic_time();
    g_hash_table_iter_init(&iter, dirs->dirs);
    while (g_hash_table_iter_next(&iter, &dir, NULL))
        g_ptr_array_add(paths, g_strdup(dir));
    g_mutex_unlock(&dirs->lock);

    /* One that is forgotten meanwhile is not there any more, and its name is not used again. */
    for (i = 0; i < paths->len; i++)
        nitroVsockLookAtAll(dirs, g_ptr_array_index(paths, i));
}


/* Under the lock: events were lost. */
static void
nitroVsockDirsSchedule(nitroVsockDirs *dirs)
{
    gint64 wait = dirs->looked + NITRO_VSOCK_PAUSE - g_get_monotonic_time();

    if (dirs->scheduled)
        return;
    dirs->scheduled = true;
    nitroDriverRun(dirs->driver->takeovers, nitroVsockDirsTask, NULL,
                   dirs->looked == 0 || wait <= 0 ? 0 : wait / 1000 + 1);
}


/* One event; under the lock */
static void
nitroVsockDirsHear(nitroVsockDirs *dirs,
                   const struct inotify_event *event)
{
    GHashTableIter iter;
    gpointer dir;
    gpointer wd;

    if (event->mask & IN_Q_OVERFLOW) {
        nitroVsockDirsSchedule(dirs);
        return;
    }
    if (event->len == 0)
        return;
    g_hash_table_iter_init(&iter, dirs->dirs);
    while (g_hash_table_iter_next(&iter, &dir, &wd)) {
        if (GPOINTER_TO_INT(wd) == event->wd) {
            nitroVsockLook(dirs->config, dir, event->name);
            return;
        }
    }
}


/* A callback of the event loop: reads some events, and is called again while there are more. */
static void
nitroVsockDirsReady(int handle G_GNUC_UNUSED,
                    int fd,
                    int events G_GNUC_UNUSED,
                    void *opaque)
{
    nitroVsockDirs *dirs = opaque;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&dirs->lock);
    char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
        __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t len = read(fd, buffer, sizeof(buffer));
    const char *p = buffer;

    while (len > 0 && p < buffer + len) {
        const struct inotify_event *event = (const struct inotify_event *)p;

        nitroVsockDirsHear(dirs, event);
        p += sizeof(*event) + event->len;
    }
}


/* Under the lock. Returns 0, or -1 with errno set. */
static int
nitroVsockDirsOpen(nitroVsockDirs *dirs)
{
    if (dirs->fd >= 0)
        return 0;
    if ((dirs->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) < 0)
        return -1;
    dirs->handle = virEventAddHandle(dirs->fd, VIR_EVENT_HANDLE_READABLE, nitroVsockDirsReady,
                                     dirs, NULL);
    if (dirs->handle >= 0)
        return 0;
    VIR_FORCE_CLOSE(dirs->fd);
    errno = ENOMEM;
    return -1;
}


nitroVsockDirs *
nitroVsockDirsNew(nitroDriver *driver)
{
    nitroVsockDirs *dirs = g_new0(nitroVsockDirs, 1);

    dirs->driver = driver;
    dirs->config = driver->config;
    dirs->fd = dirs->handle = -1;
    dirs->dirs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_init(&dirs->lock);
    /* When it fails it is tried again, and said. */
    if (dirs->config->privileged)
        ignore_value(nitroVsockDirsOpen(dirs));
    return dirs;
}


void
nitroVsockDirsFree(nitroVsockDirs *dirs)
{
    if (!dirs)
        return;

    if (dirs->handle >= 0)
        virEventRemoveHandle(dirs->handle);
    VIR_FORCE_CLOSE(dirs->fd);
    g_hash_table_unref(dirs->dirs);
    g_mutex_clear(&dirs->lock);
    g_free(dirs);
}


/* Watches @dir. Returns whether it is to be looked at. */
static bool
nitroVsockDirsAdd(nitroVsockDirs *dirs,
                  const char *dir)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&dirs->lock);
    struct stat sb;
    int wd;

    /* That of an earlier version, whose helper owns it, is none of the group's. */
    if (!dirs->config->privileged || g_hash_table_contains(dirs->dirs, dir) ||
        lstat(dir, &sb) < 0 || !(sb.st_mode & S_IRWXG))
        return false;

    if (nitroVsockDirsOpen(dirs) < 0 ||
        (wd = inotify_add_watch(dirs->fd, dir, NITRO_VSOCK_EVENTS)) < 0)
        VIR_WARN("Unable to watch '%s', so programs have to make their sockets with mode 660: %s",
                 dir, g_strerror(errno));
    else
        g_hash_table_insert(dirs->dirs, g_strdup(dir), GINT_TO_POINTER(wd));
    return true;
}


void
nitroVsockDirsWatch(nitroVsockDirs *dirs,
                    const char *dir)
{
    if (nitroVsockDirsAdd(dirs, dir))
        nitroVsockLookAtAll(dirs, dir);
}


void
nitroVsockDirsForget(nitroVsockDirs *dirs,
                     const char *dir)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&dirs->lock);
    gpointer wd;

    if (!g_hash_table_lookup_extended(dirs->dirs, dir, NULL, &wd))
        return;
    /* It fails when the directory is gone, and with it the watch. */
    ignore_value(inotify_rm_watch(dirs->fd, GPOINTER_TO_INT(wd)));
    g_hash_table_remove(dirs->dirs, dir);
}
