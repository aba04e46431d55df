/*
 * application.c: the command that the init of an image starts
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: /cmd, /env, /workdir, /user -> readFile -> splitItems -> applicationStart: fork ->
 * runCommand.
 */

#include "application.h"

#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127


/*
 * Reads all of @path and removes it. Returns a string, with one NUL more at its end than it has
 * itself, and sets *@len; NULL with errno set.
 */
static char *
readFile(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat sb;
    char *text = NULL;
    ssize_t n = 0;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &sb) == 0 && (text = calloc(1, sb.st_size + 1))) {
        for (*len = 0; (n = read(fd, text + *len, sb.st_size - *len)) > 0;)
            *len += n;
    }
    close(fd);
    if (n < 0) {
        free(text);
        return NULL;
    }
    unlink(path);
    return text;
}


/* The items of the @len bytes of @text, which stays in use; ends with NULL. NULL: no memory. */
static char **
splitItems(char *text, size_t len)
{
    char end = memchr(text, '\0', len) ? '\0' : '\n';
    char **items;
    size_t count = 0;
    size_t i;

    for (i = 0; i < len; i++)
        count += text[i] == end;
    /* the last line may lack its newline */
    if (!(items = calloc(count + 2, sizeof(*items))))
        return NULL;

    for (count = 0; len > 0; count++) {
        char *next = memchr(text, end, len);
        size_t size = next ? (size_t)(next - text) : len;

        items[count] = text;
        text[size] = '\0';
        text += next ? size + 1 : size;
        len -= next ? size + 1 : size;
    }
    return items;
}


/* As splitItems(), of the file @path; without it there are none unless it is @needed. */
static char **
readItems(const char *path, bool needed)
{
    size_t len = 0;
    char *text = readFile(path, &len);
    char **items;

    if (!text && errno == ENOENT && !needed)
        return calloc(1, sizeof(char *));
    items = text ? splitItems(text, len) : NULL;
    if (!items)
        bootComplain("read", path);
    return items;
}


/* The next number of *@text. Returns whether there is one. */
static bool
nextNumber(char **text, uint32_t *number)
{
    char *end = NULL;
    unsigned long value;

    *text += strspn(*text, " \n");
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    value = strtoul(*text, &end, 10);
    if (errno != 0 || value >= UINT32_MAX)
        return false;
    *text = end;
    *number = (uint32_t)value;
    return true;
}


static bool
readUser(application *app)
{
    size_t len = 0;
    char *text = readFile("/user", &len);
    char *p = text;
    uint32_t number;

    if (!text && errno == ENOENT)
        return true;
    if (!text || !(app->groups = calloc(len + 1, sizeof(*app->groups)))) {
        bootComplain("read", "/user");
        return false;
    }
    if (nextNumber(&p, &app->uid) && nextNumber(&p, &app->gid)) {
        while (nextNumber(&p, &number))
            app->groups[app->ngroups++] = number;
        if (*p == '\0')
            return true;
    }
    printf("%s: /user is not a line of numbers: %s\n", bootName, text);
    return false;
}


bool
applicationRead(application *app)
{
    size_t len;

    memset(app, 0, sizeof(*app));
    if (!(app->argv = readItems("/cmd", true)) || !(app->env = readItems("/env", false)))
        return false;
    if (!app->argv[0]) {
        printf("%s: /cmd has no command\n", bootName);
        return false;
    }
    if (!(app->workdir = readFile("/workdir", &len))) {
        if (errno != ENOENT) {
            bootComplain("read", "/workdir");
            return false;
        }
        app->workdir = strdup("/");
    }
    app->workdir[strcspn(app->workdir, "\n")] = '\0';
    return readUser(app);
}


static void __attribute__((noreturn))
runCommand(const application *app, int log)
{
    int err;

    signal(SIGPIPE, SIG_DFL);
    setsid();
    /* the console becomes the terminal of the command, if it is one */
    ioctl(STDIN_FILENO, TIOCSCTTY, 0);

    if (chdir(app->workdir) < 0) {
        bootComplain("change to", app->workdir);
        _exit(EXIT_CANNOT_RUN);
    }
    /* so that it can open /dev/stdout */
    if (fchown(STDOUT_FILENO, app->uid, -1) < 0 && errno != EROFS)
        bootComplain("give away", "the console");
    if (setgroups(app->ngroups, app->groups) < 0 || setgid(app->gid) < 0 || setuid(app->uid) < 0) {
        bootComplain("become", "the user of the image");
        _exit(EXIT_CANNOT_RUN);
    }
    environ = app->env;
    fflush(stdout);
    if (log >= 0 && (dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0))
        _exit(EXIT_CANNOT_RUN);
    execvp(app->argv[0], app->argv);
    err = errno;
    bootComplain("run", app->argv[0]);
    fflush(stdout);
    _exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}


pid_t
applicationStart(const application *app, int log)
{
    pid_t pid;

    fflush(stdout);
    if ((pid = fork()) == 0)
        runCommand(app, log);
    return pid;
}
