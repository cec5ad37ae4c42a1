/* A change of the quota tree, tried before it is made: the queues as the event would leave them, built from the event, checked as a whole,
 * then taken in one go or dropped. So a set of changes needs no order in which each step alone would be allowed, and what is refused has
 * changed nothing. The daemon tries an event without taking it, to show what it would do. PURE.
 */
#ifndef SCHEDULER_CLUSTER_QUOTA_TRIAL_H
#define SCHEDULER_CLUSTER_QUOTA_TRIAL_H

#include "scheduler/cluster/event.h"

struct quota_trial {
    struct queue *queues;        /* as they would be; indexes of those that are there already are the same */
    int32_t count;
    bool *touched;               /* by queue: named by the event, or moved with one that is */
    int32_t from, to;            /* the jobs of one move to the other; -1 none */
    bool renamed;
    int64_t now_ms;
    bool over_allowed, evict;    /* `--drain` or `--evict`: a limit may be below what is used */
};

/* Builds it from a QUOTA_SET, QUOTA_RENAMED or QUOTA_DELETED. An error leaves nothing to release. */
int quota_trial_open(struct quota_trial *t, const struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
void quota_trial_release(struct quota_trial *t);

/* Guarantees fit into what is above them, limits are not below guarantees nor (unless allowed) below what is used, nothing is removed
 * that has jobs or children. What was broken before (a node lost GPUs) may stay as it is, but not get worse. */
int quota_trial_check(const struct quota_trial *t, const struct cluster *c, struct error *err);

/* Makes it true, jobs and index included. The trial is empty then. */
void quota_trial_take(struct quota_trial *t, struct cluster *c);

#endif
