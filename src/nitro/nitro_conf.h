/*
 * nitro_conf.h: the state of the driver and where it keeps its files
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_event.h"
#include "driver.h"
#include "nitro_aside.h"
#include "nitro_cid.h"
#include "nitro_cpus.h"
#include "nitro_hugepages.h"
#include "nitro_queue.h"
#include "nitro_uses.h"
#include "vircommand.h"
#include "virdomainobjlist.h"
#include "virthread.h"
#include "virthreadpool.h"

/* What virConnectGetType() answers; the patched remote daemon knows it */
#define NITRO_DRIVER_NAME "nitro"

/* virConnectGetVersion() of version 0.1.0, in libvirt's form */
#define NITRO_DRIVER_VERSION (0 * 1000000 + 1 * 1000 + 0)

/* The device of the Nitro Hypervisor, unless nitro.conf says otherwise */
#define NITRO_DEVICE "/dev/nitro_enclaves"

/* Whom the helpers of the system's daemon run as, unless nitro.conf says otherwise: the installed
 * file for systemd-sysusers makes the user, with a group of the same name */
#define NITRO_USER "libvirt-nitro"

/* Of files that are written to, unless nitro.conf says otherwise: as virtlogd */
#define NITRO_LOG_MAX_SIZE (2 * 1024 * 1024)
#define NITRO_LOG_MAX_BACKUPS 3

/* Directories and programs, and what nitro.conf says; immutable once made */
typedef struct _nitroDriverConfig nitroDriverConfig;
struct _nitroDriverConfig {
    bool privileged;    /* the system's daemon */
    char *configDir;    /* definitions */
    char *autostartDir; /* links to definitions */
    char *stateDir;     /* status files, a directory for each running domain */
    char *logDir;       /* a log for each domain */
    char *helper;       /* path of libvirt_nitro */
    char *checker;      /* path of libvirt_nitro_check */
    char *services;     /* path of libvirt_nitro_services */
    char *nsm;          /* path of libvirt_nitro_nsm */
    char *nsmDir;       /* the root key and certificate of emulated NSMs */

    /* nitro.conf */
    char *device;                  /* path of the Nitro Hypervisor's device */
    uid_t user;                    /* helpers run as; -1: as the daemon, in a session */
    gid_t group;                   /* likewise */
    bool securityRequired;         /* no enclave where a part of its confinement is missing */
    unsigned int pageSize;         /* KiB, of domains on the device that name none; 0: any */
    unsigned int heartbeatTimeout; /* seconds, of domains that name none; 0: by size */
    unsigned int maxStarts;        /* domains that start at once */
    unsigned long long logMaxSize; /* bytes, of each file that is written to; 0: without limit */
    unsigned int logMaxBackups;    /* how many of such size are kept besides */
    bool manage;                   /* set up what follows when the driver starts */
    virBitmap *poolCpus;           /* NULL: leave the CPU pool as it is */
    nitroHugepages *poolPages;     /* to reserve; @npoolPages of them */
    size_t npoolPages;
};

typedef struct _nitroDriver nitroDriver;
typedef struct _nitroDriverPool nitroDriverPool;
typedef struct _nitroVsockDirs nitroVsockDirs;

/*
 * What to do about the end of the enclave of @vm, which is to be restarted and is inactive and
 * locked by now. Returns whether it will be: then it stays in the list.
 */
typedef bool (*nitroDriverRestart)(nitroDriver *driver, virDomainObj *vm);

/* Connects to the helper of the active, locked domain @vm anew, which lives but cannot be talked to. */
typedef void (*nitroDriverReconnect)(nitroDriver *driver, virDomainObj *vm);

struct _nitroDriver {
    virMutex lock; /* protects what is below under "Under lock" */

    /* Immutable once the driver runs */
    bool privileged;
    int lockFD; /* pid file: two daemons must not share a state directory */
    nitroDriverConfig *config;
    virDomainXMLOption *xmlopt;
    virStateInhibitCallback inhibitCallback;
    void *inhibitOpaque;
    nitroDriverRestart restart;
    nitroDriverReconnect reconnect;

    /* Immutable pointers, self-locking */
    virDomainObjList *domains;
    virObjectEventState *domainEventState;
    nitroCids *cids;
    nitroCids *serviceCids; /* by which the broker gives connections to services */
    nitroCpus *cpus;
    nitroQueue *queue;
    nitroAsides *asides;
    nitroDriverPool *ends;      /* handles what helpers tell, with a job of the domain */
    nitroDriverPool *takeovers; /* of what an earlier daemon has left */
    nitroDriverPool *starts;    /* on the daemon's own account */
    nitroUses *uses;
    nitroVsockDirs *vsockDirs;

    /* The main thread's */
    virThread quitThread; /* wakes what waits when the daemon ends; joined at the very end */
    bool quitThreadRuns;

    /* Atomic */
    int lastDomainId;
    int quitting; /* the daemon ends: wait for nothing that may take long */
    int goneScheduled; /* nitro_gone.c: the next try is */

    /* Of the one thread that tries: nitro_gone.c */
    unsigned int gonePause; /* ms: until the next try; 0: all was gone */
    bool goneFailed; /* the log has it */

    /* Under sysinfoLock, which is held while dmidecode runs */
    virMutex sysinfoLock;
    char *sysinfo; /* the host's SMBIOS information as XML; NULL: not read yet */

    /* Under lock */
    char *accel; /* what --probe of the helper found; NULL: not asked yet */
    char **unprotected; /* likewise: what confines emulated enclaves, and is missing */
    gint64 probed;      /* us of the monotonic clock: when that was found */
    GHashTable *nsmQemus; /* of nitro_nsm.c: what is known of QEMUs; NULL: nothing */
    char **told;        /* what of that, and of what runs lacked, the log has got already */
    size_t nholds; /* nitroDriverHold() */
    size_t autostartable; /* domains to be started with the daemon, */
    size_t autostarting;  /* of which so many are not done yet, */
    size_t autostarted;   /* and so many run */
};

/*
 * The directories of a privileged (system) or session driver, and where the
 * helper is: in the build tree for a daemon that runs from there.
 * Returns the configuration (nitroDriverConfigFree); never NULL.
 */
nitroDriverConfig *nitroDriverConfigNew(bool privileged);
void nitroDriverConfigFree(nitroDriverConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(nitroDriverConfig, nitroDriverConfigFree);

/*
 * Reads the configuration file @path into @config, if there is one; src/nitro/nitro.conf.in
 * describes it. Finds the user and the group of helpers in any case. Returns 0, or -1 with an
 * error set that names the file and the key: for what cannot be parsed, unknown keys, wrong
 * types, values that can never work, and a user that does not exist.
 */
int nitroDriverConfigLoadFile(nitroDriverConfig *config, const char *path);

/* The path of nitro.conf of a privileged (system) or session driver (g_free). */
char *nitroDriverConfigFile(bool privileged);

/*
 * Sets the CPU pool and reserves the huge pages of @config, if it is to, and writes
 * to the log what there is now. What cannot be had is an error in the log: domains
 * that need it will fail with a reason of their own.
 */
void nitroDriverConfigManage(const nitroDriverConfig *config);

/*
 * Makes @cmd run as the user and the group of helpers, with the other groups of that user, and
 * without any capability. That none can be had any more, by no program that it runs, is for
 * nitroDriverConfigDropBounds(). Root alone keeps them: it could not be root in a namespace
 * without, and the helper gives them up when it has its namespaces.
 */
void nitroDriverConfigSetUser(const nitroDriverConfig *config, virCommand *cmd);

/* Bytes that a process may lock which needs to lock none: what Linux allows by default, from 5.16 on */
#define NITRO_LOCKED_MEMORY_MAX (8ULL << 20)

/*
 * Makes @cmd run with NITRO_LOCKED_MEMORY_MAX as its limit of locked memory, if the daemon's own is not
 * lower: that of the system's daemon is none, for domains with <locked/>.
 */
void nitroDriverConfigLimitLocking(virCommand *cmd);

/*
 * Empties the bounding set of capabilities, but root's: a pre-exec hook, or a part of one; @opaque is
 * the nitroDriverConfig. virCommandClearCaps() means to do it, and does not when the daemon may. Who may not,
 * as in a session, has no capability to give away. Returns 0, or -1 with an error set.
 */
int nitroDriverConfigDropBounds(void *opaque);

/* Whether helpers have the user or group id of root, and so what is root's */
bool nitroDriverConfigIsRoot(const nitroDriverConfig *config);

/*
 * Says why the user of helpers cannot run the program @path, of which root can: names the
 * directory, or the file itself, that keeps it out. Returns 0 when nothing does, or -1 with an
 * error set. It forks, so it is for what has failed already.
 */
int nitroDriverConfigCheckProgram(const nitroDriverConfig *config, const char *path);

/*
 * Creates the directories of @config. The system's state directory can be passed through, but
 * not listed, by the group of helpers: the sockets of emulated enclaves are below. Returns 0, or
 * -1 with an error set.
 */
int nitroDriverConfigMakeDirs(const nitroDriverConfig *config);

/* The next domain id: positive, never given twice by one daemon. */
int nitroDriverNextDomainId(nitroDriver *driver);

/* A running domain of the past has @id: later ones are above it. */
void nitroDriverReserveDomainId(nitroDriver *driver, int id);

/*
 * Counts the domains that run and those that wait for a restart, so that the daemon is not
 * shut down for idleness while there are any.
 */
void nitroDriverHold(nitroDriver *driver);
void nitroDriverLetGo(nitroDriver *driver);

/*
 * Threads for what the daemon does on its own account, at most @max at a time: a thousand
 * domains are no thousand threads. @name is for debuggers. Returns the pool
 * (nitroDriverPoolFree), or NULL with an error set.
 */
nitroDriverPool *nitroDriverPoolNew(nitroDriver *driver, size_t max, const char *name);

/* Waits until what runs in it has ended, and forgets what has not begun. */
void nitroDriverPoolDrain(nitroDriverPool *pool);
void nitroDriverPoolFree(nitroDriverPool *pool);

/*
 * Runs @func with @vm, for which it gets a reference of its own, in a thread of @pool, @delay ms
 * from now. @vm may be NULL. It cannot fail: where the host is short of something, it is tried
 * again later. When the daemon ends it may not run any more.
 */
typedef void (*nitroDriverFunc)(nitroDriver *driver, virDomainObj *vm);
void nitroDriverRun(nitroDriverPool *pool,
                    nitroDriverFunc func,
                    virDomainObj *vm,
                    unsigned int delay);

/*
 * Makes all that waits for an enclave give up, as the daemon ends: enclaves that
 * start go on starting, and the next daemon takes them over. Takes no lock, as the lock of
 * the daemon is held when it ends.
 */
void nitroDriverQuit(nitroDriver *driver);
