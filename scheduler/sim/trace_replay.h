/* The clock of a trace: the second driver of the policy. It submits each job when the trace did, lets started jobs run for what is left
 * of their true duration, and tells the cluster of starts, checkpoints and ends by the daemon's own events. Whatever the policy decides
 * happens at once; a job asked to checkpoint does so and yields in no time.
 *
 * FIFO and backfill are the same policy, as any daemon can be set: all jobs in one queue, whose policy is `strict` or `fifo`, and none of
 * them preemptible.
 */
#ifndef SCHEDULER_SIM_TRACE_REPLAY_H
#define SCHEDULER_SIM_TRACE_REPLAY_H

#include <stdio.h>

#include "scheduler/sim/trace_measure.h"

enum trace_decider {
    DECIDE_POLICY,   /* scheduler/policy, as the daemon runs it */
    DECIDE_FIFO,     /* yardstick: one line, its head blocks */
    DECIDE_STATIC,   /* yardstick: a line a queue, its head blocks; a queue never uses more than its guarantee */
};

struct trace_settings {
    enum trace_decider decider;
    enum queue_policy one_queue;      /* of this policy, for all jobs, none of them preemptible; QUEUE_POLICY_UNSET: the trace's queues */
    int64_t default_limit_ms;         /* run time to plan with where a job gives none */
    int64_t restart_cost_ms;          /* of each start after an eviction */
    int64_t checkpoint_interval_ms;   /* of work; 0: no checkpoints but those asked for */
    FILE *log;                        /* what happens to each job, a line each; NULL: nobody wants to know */
    int64_t grace_ms;                 /* of the jobs; 0: they are stopped without being asked */
};

/* Replays the whole trace into *m, which is initialised. An error means that the policy left jobs waiting for ever, or came to no end. */
int trace_replay(const struct trace *t, const struct trace_settings *s, struct measure *m, struct error *err);

#endif
