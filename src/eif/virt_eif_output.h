/*
 * virt_eif_output.h: a file that is there as a whole, or as it was
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: virtEifOutputBegin() -> the caller writes to @fd, and checks what it has written ->
 * virtEifOutputEnd(), by which it takes the name, or goes. Until then the name has what it had
 * before, whatever ends the program.
 */

#pragma once

#include "virt_eif.h"

#include <sys/stat.h>

typedef struct _VirtEifOutput VirtEifOutput;
struct _VirtEifOutput {
    const char *path; /* as the user has named it */
    int fd;           /* for reading and writing; empty at first, nobody else can open it */
    int dir;          /* where it is: no path is looked up again */
    char *name;
    char *temporary;
    bool exists;     /* there is a file of that name, which @old is about */
    struct stat old;
};

/*
 * Begins the file that will have the name @path, or be what the symbolic link @path points to. A
 * link is not followed where somebody else could put it: in a directory of another user, or one
 * that all can write to. From now on, signals that end the program are kept until
 * virtEifOutputEnd(), and virtEifOutputProgress() says so.
 *
 * @replaced is the open file that the name is to have now, so that no other is replaced, or -1.
 * @path must live as long as @output. Returns 0, or -1 when an error was printed; then nothing is
 * to be ended.
 */
int virtEifOutputBegin(VirtEifOutput *output, const char *path, int replaced);

/*
 * Ends the file: when @ret is 0 and no signal has come, it is given mode and owner, brought to the
 * disk, and takes its name; else it is removed. With @keep, mode, owner and group are those of the
 * file that it replaces, as far as this user may give them, and else those of a new file. A signal
 * that has come ends the program here. Returns 0, or -1; an error of its own was printed.
 */
int virtEifOutputEnd(VirtEifOutput *output, int ret, bool keep);

/* As virtEifProgressShow(), but false when a signal has come. @opaque is a VirtEifProgress. */
bool virtEifOutputProgress(uint64_t done, uint64_t total, void *opaque);

/*
 * What the above do about signals, for a command that writes files in its own way: keeps those that
 * end the program, so that virtEifOutputProgress() returns false; and ends it by the one that has
 * come, if any, as if it had not been kept.
 */
void virtEifOutputCatchSignals(void);
void virtEifOutputReleaseSignals(void);
