/* The launcher's tasks: each is a record, a cgroup, folders and processes, from PREPARE to FORGET.
 *
 * A task ends when its main process ends (of several: the last, or the first that fails), when it is stopped, or when its lease is over.
 * Ending means: kill until the group is empty, then write EXIT, then say ENDED. Nothing is left of a task that was said to have ended.
 */
#ifndef WORKER_LAUNCH_TASK_H
#define WORKER_LAUNCH_TASK_H

#include <sys/resource.h>

#include "worker/cgroup.h"
#include "worker/launch_child.h"
#include "worker/launcher_wire.h"
#include "worker/task_record.h"

struct launch_process {
    struct launch_process *next;
    int slot, flags;             /* WIRE_FLAG_MAIN, WIRE_FLAG_PTY */
    struct launched child;       /* gate -1 after exec */
    bool alive, started;
};

struct launch_task {
    struct launch_task *next;
    int64_t job, attempt, lease;
    uid_t uid;
    gid_t gid;
    int flags;                   /* of the preparation: WIRE_FLAG_WAIT, _SHM; later _RAN, _STOPPED, _LEASE_ENDED, _LOST */
    enum wire_task_state state;
    struct cgroup group;
    int record_fd;
    struct launch_process *processes;
    int mains_alive;
    int status;                  /* of the first main process that failed, else 0 */
    bool stopping, killing, held_group, forgotten;
    int64_t kill_due_ms;         /* while stopping */
    int64_t started_ms, cpu_ms, max_rss_mib;
    char text[ERROR_TEXT_MAX];   /* why it didn't start, or was lost */
};

struct launcher;

/* launch_task.c */
struct launch_task *launch_task_find(struct launcher *l, int64_t job, int64_t attempt);
int launch_task_prepare(struct launcher *l, const struct wire_message *m, struct error *err);
int launch_task_spawn(struct launcher *l, struct launch_task *t, const struct wire_frame *frame, struct error *err);
/* The gate of a process spoke or closed: it started, or could not. */
void launch_task_gate(struct launcher *l, struct launch_task *t, struct launch_process *p);
struct launch_task *launch_task_add(struct launcher *l, int64_t job, int64_t attempt, int64_t lease);
void launch_task_drop(struct launcher *l, struct launch_task *t);
void launch_task_remove_folders(struct launcher *l, const struct launch_task *t);   /* of its user: TMPDIR and shared memory */

/* launch_end.c */
void launch_task_signal(struct launcher *l, struct launch_task *t, int signal_number, bool catchers);
void launch_task_stop(struct launcher *l, struct launch_task *t, int64_t grace_ms, int64_t now_ms);
void launch_task_kill(struct launcher *l, struct launch_task *t);
/* A child was reaped: finds whose it was; a stranger's orphan is nobody's. */
void launch_task_reaped(struct launcher *l, pid_t pid, int status, const struct rusage *usage, int64_t now_ms);
/* Ends what is due; returns when to be called again (clock_boot_ms), -1: not of itself. */
int64_t launch_task_tick(struct launcher *l, int64_t now_ms);
void launch_task_forget(struct launcher *l, struct launch_task *t);

/* launch_recover.c. Takes up the records that an earlier launcher left: what ran is killed and LOST, what had ended is said again. */
void launch_task_recover(struct launcher *l);

#endif
