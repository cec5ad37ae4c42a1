/* Which waiting jobs are owed their GPUs, and for how long: the yardstick of guarantee_violation_s, computed from the guarantees alone.
 *
 * A waiting job is owed when its queue's running GPUs, those of the owed jobs before it (by priority, then submission) and its own are
 * within the guarantee, and a private partition of floor(guarantee / K) nodes of K GPUs and one node with the rest would hold them all,
 * repacked. A job that is too large is passed over; those behind it may be owed.
 */
#ifndef SCHEDULER_SIM_TRACE_OWED_H
#define SCHEDULER_SIM_TRACE_OWED_H

#include <stdbool.h>

#include "scheduler/policy/share.h"
#include "scheduler/sim/trace_file.h"

struct owed_queue {
    struct packing running;
    int32_t *waiting;          /* job indices in the queue's order */
    int32_t count, capacity;
    int64_t since_ms;          /* the longest owed one is owed since then; INT64_MAX: nobody is */
    uint32_t pass;             /* of the last count */
    bool changed;
};

struct owed {
    const struct trace *t;
    struct owed_queue *queues;
    int64_t *since_ms;         /* by job, while owed */
    uint32_t *pass;            /* by job: the last count of its queue that found it owed */
    int64_t grace_ms, violation_ms;
};

void owed_init(struct owed *o, const struct trace *t, int64_t grace_ms);
void owed_release(struct owed *o);

void owed_add(struct owed *o, int32_t job);       /* it waits */
void owed_start(struct owed *o, int32_t job);     /* a waiting one runs */
void owed_end(struct owed *o, int32_t job);       /* a running one does not any more */
void owed_count(struct owed *o, int64_t now_ms);  /* who is owed, from now on */
void owed_pass_time(struct owed *o, int64_t from_ms, int64_t to_ms);

#endif
