/* Reads of a task's output for `muster logs`: the job's own file, read as its user, and the rank logs in the task's folder. */
#ifndef WORKER_LOGS_H
#define WORKER_LOGS_H

#include "worker/agent.h"

void logs_take(struct agent *a, const struct message *m);          /* LOG_READ */
void logs_tick(struct agent *a, int64_t now_ms);                   /* the followers that wait */
int64_t logs_next_ms(const struct agent *a);                       /* -1: nobody waits */
size_t logs_tail(const struct agent_task *t, char *into, size_t size);   /* the end of the job's output */
void logs_trim(struct agent *a, int64_t now_ms);                   /* rank logs, now and then: 1 GiB a task */
/* Past limit_bytes on disk the middle of the file is given back: its first and last quarter of the limit stay, at their offsets. */
void logs_trim_file(const char *path, int64_t limit_bytes);
/* Opens a file for reading with a user's rights, not ours: its path may be a link to what that user may not read. -1: errno. */
int logs_open_as(const char *path, uid_t uid, gid_t gid);

#endif
