/* What the launcher remembers of a task across its own death: STATE/tasks/JOB.ATTEMPT/record, one appended line a step.
 *
 *     INTENT lease uid flags boot_id     it may be launched; without SPAWNED it never ran, and the same lease may be tried again
 *     SPAWNED slot pid flags             it ran
 *     EXIT status flags                  it ended so; kept until the scheduler has acknowledged it
 *     FORGOTTEN                          acknowledged
 *
 * Not fsynced: the lines must survive the processes, not the power. A new boot id means that everything there is over.
 */
#ifndef WORKER_TASK_RECORD_H
#define WORKER_TASK_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "worker/paths.h"

struct task_record {
    int64_t job, attempt, lease;
    uid_t uid;
    int flags;                 /* of INTENT */
    char boot_id[40];
    bool intent, spawned, exited, forgotten;
    int status, exit_flags;
};

/* Makes the task's folder if absent and opens its record for appending; -1: err says why. */
int task_record_open(const struct paths *paths, int64_t job, int64_t attempt, struct error *err);
int task_record_intent(int fd, int64_t lease, uid_t uid, int flags, struct error *err);
int task_record_spawned(int fd, int slot, pid_t pid, int flags, struct error *err);
int task_record_exit(int fd, int status, int flags, struct error *err);
int task_record_forgotten(int fd, struct error *err);

/* Every task folder's record, in no order; stops at `max`. Folders without INTENT are skipped. */
size_t task_record_scan(const struct paths *paths, struct task_record *records, size_t max);

#endif
