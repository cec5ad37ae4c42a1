/* What lies before a job that waits, or before one that nobody has submitted yet: would it start now, and where; if not, the reason, who
 * is in the way, when it may be expected to start, and which change would let it start at once.
 *
 * A change is told only when it has been tried: the policy's own questions (start.h) are asked of the job as it would be then. "At once"
 * means on what is free: nobody is made to leave for it. All of this is only done when somebody asks, and leaves the cluster as it was.
 */
#ifndef SCHEDULER_POLICY_OUTLOOK_H
#define SCHEDULER_POLICY_OUTLOOK_H

#include "scheduler/policy/forecast.h"
#include "scheduler/policy/reason.h"

enum { OUTLOOK_HOLDERS = 8, OUTLOOK_CHANGES = 8 };

struct outlook_change {
    char option[96];           /* of `muster submit`, or a command of an admin: what to say instead */
    char effect[256];          /* "4 GPUs would start now on worker2" */
    bool of_admin;
};

enum outlook_verdict {
    OUTLOOK_WAITS,
    OUTLOOK_STARTS,            /* on what is free now */
    OUTLOOK_TAKES,             /* others are asked to leave for it: it starts when they have */
};

struct outlook {
    enum outlook_verdict verdict;
    struct placement where;    /* STARTS, TAKES: in the arena */
    struct wait_reason reason; /* WAITS */
    struct forecast expected;
    int64_t holders[OUTLOOK_HOLDERS];   /* jobs in the way, the largest first; TAKES: those that would leave */
    int32_t holder_count;      /* of them all */
    int64_t holder_gpus;
    const char *rule;          /* TAKES: by which right; "" */
    struct outlook_change changes[OUTLOOK_CHANGES];
    int32_t change_count;
};

struct outlook_asker {
    struct pass pass;
    struct plan plan;
    struct reason_probe probe;
    const struct job *newcomer;
    const bool *may_use;       /* by queue: who asks may submit there; NULL: changes of the queue are not tried */
    int32_t tries_left;        /* of changes, in all */
};

/* `newcomer`: a job that is not in the cluster (cluster_try_submission), whose demand counts as if it were; NULL: there is none. */
void outlook_open(struct outlook_asker *a, struct cluster *c, int64_t now_ms, const struct job *newcomer, const bool *may_use,
                  struct arena *arena);
/* Of a job that waits, or of the newcomer. One that others would have to leave for (TAKES) is the last that can be asked for. */
void outlook_ask(struct outlook_asker *a, const struct job *j, struct outlook *out);
void outlook_close(struct outlook_asker *a);

/* outlook_change.c: the first of those that a strict queue starts before a job that comes now; 0: there is none. */
int64_t outlook_strictly_before(const struct cluster *c, const struct job *j);
/* would it start at once, and where? The job may be one that was changed. */
bool outlook_would_start(struct outlook_asker *a, const struct job *j, struct placement *where);
void outlook_find_changes(struct outlook_asker *a, const struct job *j, struct outlook *out);

#endif
