/* A trace of a cluster's jobs as the files tell it: what was submitted when, on which machine, under which quotas. The true durations are
 * here and with the clock that replays them; the policy never sees this.
 */
#ifndef SCHEDULER_SIM_TRACE_FILE_H
#define SCHEDULER_SIM_TRACE_FILE_H

#include <stdint.h>

#include "common/error.h"

enum {
    TRACE_JOBS_MAX = 4 << 20,
    TRACE_GPUS_MAX = 1 << 17,   /* of one job */
};

struct trace_job {
    int64_t line;             /* of its file */
    int64_t submit_ms, duration_ms;
    int64_t estimate_ms;      /* the run time that its user asked for; 0: unknown */
    int32_t gpus, priority;
    int32_t user;             /* index into trace.users: inside a queue those are served alike */
    int32_t queue;            /* index into trace.queues: what it is charged to */
    int32_t group;            /* index into trace.groups: whose delay it counts to */
};

struct trace_names { char **items; int32_t count; };

struct trace_queue { char *name; int64_t guarantee, weight, line; };

struct trace {
    struct trace_job *jobs;   /* in the order of submission */
    int64_t job_count;
    int64_t never_fit;        /* left out: larger than the whole cluster */
    struct trace_queue *queues;
    struct trace_names users, groups;
    int32_t queue_count;
    int32_t nodes, gpus_per_node;
    const char *quotas_path;  /* borrowed; NULL: the queues are the users, without guarantees */
};

struct trace_paths { const char *jobs, *cluster, *quotas; };

/* nodes 0: as many as the cluster's file says. Submissions are multiplied by submit_scale. Jobs that are submitted in the same moment keep
 * the file's order; with a seed other than 0 they are shuffled by it. On an error nothing is to be released. */
int trace_read(struct trace *t, const struct trace_paths *paths, double submit_scale, int64_t nodes, uint64_t seed, struct error *err);
void trace_release(struct trace *t);

#endif
