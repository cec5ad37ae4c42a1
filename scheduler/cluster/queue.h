/* What a queue's settings mean: what holds once the unset ones are taken from above, and what of it a start may not break. PURE. */
#ifndef SCHEDULER_CLUSTER_QUEUE_H
#define SCHEDULER_CLUSTER_QUEUE_H

#include "scheduler/cluster/cluster.h"

enum {
    QUEUE_DEFAULT_TIME_MS = 24 * 3600 * 1000,   /* planned with where nobody says better */
    QUEUE_MIN_RUNTIME_MS = 10 * 60 * 1000,
};

/* Limits are the least on the way up (INT64_MAX: none), the rest the nearest that is set. Never blank. */
struct queue_effective {
    int64_t limit, weight;
    enum queue_policy policy;
    int64_t min_runtime_ms;
    int64_t max_walltime_ms;        /* INT64_MAX: none */
    int64_t default_time_ms;
    int64_t max_running_per_user, max_pending_per_user;   /* INT64_MAX: none */
};
struct queue_effective queue_effective(const struct cluster *c, int32_t queue);
enum queue_policy queue_policy(const struct cluster *c, int32_t queue);    /* the effective one */
/* How long a job of queue `from` has to have run before one of queue `taker` may stop it, unless a guarantee is at stake: what is set on
 * the way down to it below their lowest common ancestor, or above. What is set further down is for those inside to agree on: a team does
 * not protect itself from others. */
int64_t queue_min_runtime(const struct cluster *c, int32_t from, int32_t taker);
int32_t queue_closed_by(const struct cluster *c, int32_t queue);   /* the queue that is drained: this one, or one above; -1 none */

/* Of one type of GPU. A queue's own; NO_LIMIT, 0 and the queue's weight where it says nothing. */
struct quota queue_quota_of_type(const struct queue *q, int32_t type);
int64_t queue_type_limit(const struct cluster *c, int32_t queue, int32_t type);   /* the least on the way up; INT64_MAX: none */

bool queue_is_within(const struct cluster *c, int32_t queue, int32_t ancestor);   /* -1 is the root: all are within */

/* By how many GPUs a queue is over its limit: of a type, or of all types together (0). */
int64_t queue_over(const struct queue *q, int32_t type);
bool queue_is_over(const struct queue *q);

/* How often a placement takes GPUs of each type. */
void placement_types(const struct cluster *c, const struct placement *p, int64_t by_type[GPU_TYPES_MAX]);

/* The lowest queue on the way up in which the user may run no further job; -1: none. `more`: jobs that are as good as started; NULL:
 * none. */
int32_t queue_user_full(const struct cluster *c, int32_t queue, uint32_t uid, const struct user_counts *more);

/* May the job start there? Neither in a drained queue nor above a limit: of GPUs, of a type of GPU, of the user's jobs. */
int queue_check_start(const struct cluster *c, const struct job *j, const struct placement *p, struct error *err);
/* May a job, or an array of so many, be submitted? Whether this user may is the daemon's to ask: users and groups have no names here. */
int queue_check_submission(const struct cluster *c, int32_t queue, uint32_t uid, int64_t jobs, int64_t time_limit_ms, struct error *err);

/* Between a queue and a whole record of its settings. The record borrows the queue's texts; rows lie in the arena. queue_take's record
 * has been checked, and its types are known. */
void queue_spec_of(const struct cluster *c, const struct queue *q, struct queue_spec *spec, struct arena *arena);
void queue_take(const struct cluster *c, struct queue *q, const struct queue_spec *spec);
struct queue queue_blank(const char *name);

#endif
