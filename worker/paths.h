/* Where a worker keeps things. STATE is durable and the worker's own; RUN is short-lived, short enough for socket paths, and can be
 * entered by the jobs' users:
 *
 *     STATE/agent.pid launcher.pid launcher.lock launcher.sock
 *     STATE/tasks/JOB.ATTEMPT/{record,order,notes,rank.N.log}    kept for `muster logs` after the task
 *     STATE/shim/{mpirun,mpiexec,rsh}
 *     RUN/JOB.ATTEMPT/{socket,script,hostfile,tmp/}              removed with the task
 *     /dev/shm/muster.JOB.ATTEMPT.TAG                            Open MPI's shared memory, removed with the task
 */
#ifndef WORKER_PATHS_H
#define WORKER_PATHS_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

enum { RUN_FOLDER_MAX = 64, TAG_MAX = 16 };

struct paths {
    char state[PATH_MAX / 2];      /* absolute */
    char run[RUN_FOLDER_MAX];      /* at most 63 bytes: "/JOB.ATTEMPT/socket" must fit into the 107 of sun_path */
    char launcher_socket[108];
    char tag[TAG_MAX];             /* of this state folder: tells two workers of one host apart */
};

/* Makes the folders that are missing. `name` goes into the tag, so that two hosts which share a folder differ. */
int paths_init(struct paths *p, const char *state, const char *name, struct error *err);

void paths_task(const struct paths *p, int64_t job, int64_t attempt, const char *file, char out[PATH_MAX]);   /* STATE/tasks/J.A/file */
/* RUN/J.A/file; file NULL: the folder */
void paths_run(const struct paths *p, int64_t job, int64_t attempt, const char *file, char out[PATH_MAX]);
void paths_shm(const struct paths *p, int64_t job, int64_t attempt, char out[PATH_MAX]);

/* Removes a folder and all in it, never following a link: its content belongs to a user who may still be moving things about. */
void paths_remove_tree(const char *path);

/* Writes a whole small file (mode), replacing it by rename. */
int paths_write_file(const char *path, const void *data, size_t size, mode_t mode, struct error *err);
/* Reads a whole file of at most `limit` bytes; NUL-terminated, to be freed. NULL: absent or too large. */
char *paths_read_file(const char *path, size_t limit, size_t *size);

#endif
