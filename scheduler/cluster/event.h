/* Events: facts that came in, and decisions that were made. Both change the cluster through cluster_apply() and nothing else does. A turn
 * is a list of them.
 *
 * Soft state (heartbeats, steps, telemetry, READY, lease renewals) is never an event.
 */
#ifndef SCHEDULER_CLUSTER_EVENT_H
#define SCHEDULER_CLUSTER_EVENT_H

#include "common/array_set.h"
#include "common/inventory.h"
#include "common/job_spec.h"
#include "common/queue_spec.h"
#include "common/record.h"
#include "scheduler/cluster/cluster.h"

/* X(NAME, decision?). The numbers are in the log: append, never reorder. */
#define EVENT_TYPES(X)                                                                                      \
    X(JOB_SUBMITTED, 0)   /* job: the new id (cluster.next_job); spec fields below */                        \
    X(JOB_CANCELLED, 0)   /* asked by a user: a waiting job ends, a live one is stopped */                   \
    X(JOB_HELD, 0)        /* a waiting job only */                                                          \
    X(JOB_RELEASED, 0)                                                                                      \
    X(JOB_REQUEUED, 0)    /* asked: a live job is stopped with a checkpoint and waits again */               \
    X(DEPENDENCY_ENDED, 0) /* other: a job that had left memory before this one was submitted; ok: how */    \
    X(NODE_UP, 0)         /* registered or spoke again: inventory, boot_id */                                \
    X(NODE_LOST, 0)       /* silent */                                                                      \
    X(NODE_EXPIRED, 0)    /* its leases ended: what ran there with on_lost requeue is over */                \
    X(NODE_DRAINED, 0)                                                                                      \
    X(NODE_RESUMED, 0)                                                                                      \
    X(QUOTA_SET, 0)       /* `queues`: all of them or none; without them queue, guarantee, limit, weight */   \
    X(QUOTA_DELETED, 0)   /* to: where its jobs go; "": it has none */                                      \
    X(TASK_STARTED, 0)    /* job, attempt, lease, node */                                                   \
    X(TASK_EXITED, 0)     /* ... kind, status, rank, step */                                                \
    X(TASK_REFUSED, 0)    /* its node could not take it: the attempt is undone and not counted as a failure */ \
    X(CHECKPOINTED, 0)    /* step */                                                                        \
    X(JOB_START, 1)       /* placement */                                                                   \
    X(JOB_STOP, 1)        /* cause; other: the job its GPUs are for; deadline_ms */                          \
    X(JOB_KILL, 1)        /* the grace is over: STOP without waiting for a checkpoint */                     \
    X(JOB_FAIL, 1)        /* a waiting job that can't run any more: its dependency failed */                 \
    X(RESERVE, 1)         /* placement kept for `job`; kind: enum keeping; deadline_ms: when it is expected to be free */ \
    X(UNRESERVE, 1)                                                                                         \
    X(QUOTA_RENAMED, 0)   /* queue -> to, with what is below it */                                          \
    X(JOB_ELEMENT, 1)     /* job: the number that element `element` of array `other` gets for its own (cluster.next_job) */

enum event_type {
#define X(name, decision) EVENT_##name,
    EVENT_TYPES(X)
#undef X
    EVENT_TYPE_COUNT
};

#define EVENT_TASK_FIELDS(F)                                                                      \
    F(TEXT, node, 64) F(INT, gpus, 0) F(INT, ranks, 0) F(INT, cpus, 0) F(INT, memory_mib, 0)       \
    F(INTS, gpu_order, 16) F(INT, ring_gbs, 0)
#define EVENT_PLACEMENT_FIELDS(F) F(ROWS, tasks, event_task) F(INT, level, 0) F(INT, bottleneck_gbs, 0)
#define EVENT_FIELDS(F)                                                                           \
    F(INT, type, 0)                                                                               \
    F(INT, job, 0) F(INT, attempt, 0) F(INT, lease, 0)                                            \
    F(TEXT, node, 64)                                                                             \
    F(INT, other, 0) F(BOOL, ok, 0) F(INT, cause, 0) F(INT, deadline_ms, 0)                       \
    F(INT, kind, 0) F(INT, status, 0) F(INT, rank, 0) F(INT, step, 0)                             \
    F(TEXT, text, 512)           /* reason of a drain or a cancel, rule of a preemption: for people */ \
    F(TEXT, queue, 256)                                                                           \
    F(INT, guarantee, 0) F(INT, limit, 0) F(INT, weight, 0) F(BOOL, drain, 0)                     \
    F(INT, uid, 0)               /* who */                                                        \
    F(TEXT, boot_id, 40)                                                                          \
    F(ROW, placement, event_placement)                                                            \
    F(ROW, inventory, inventory)                                                                  \
    F(ROW, submission, job_submission)                                                            \
    F(BOOL, evict, 0)            /* beside drain: what is over a new limit is stopped */           \
    F(TEXT, to, 256)                                                                              \
    F(ROWS, queues, queue_spec)                                                                   \
    F(TEXT, rule, 16)            /* JOB_STOP by a plan: its rule, ... */                           \
    F(INT, gpus_asked, 0)        /* ... what the job asks for that it is made for, ... */          \
    F(INT, gpus_taken, 0)        /* ... and what all the jobs hold that it stops */\
    F(INT, element, 0)                                                                            \
    F(TEXT, elements, ARRAY_TEXT_MAX) /* of the array `job`, in what a user did to it: "5-9"; "": to all of it */ \
    F(TEXT, gpu_type, 64)        /* JOB_STOP for a guarantee of a type of GPU: which; "": for none */

/* What memory keeps of a job_spec. */
#define JOB_SUBMISSION_FIELDS(F)                                                                  \
    F(INT, priority, 0) F(INT, nodes, 0) F(INT, gpus, 0) F(INT, ranks, 0) F(INT, cpus_per_rank, 0) F(INT, memory_mib, 0) \
    F(INT, time_limit_ms, 0) F(INT, grace_ms, 0) F(INT, retries, 0) F(INT, launcher, 0) F(INT, topology, 0) \
    F(BOOL, not_preemptible, 0) F(BOOL, on_lost_wait, 0) F(BOOL, hold, 0) F(ROWS, after, job_after_row) \
    F(INT, gpus_min, 0) F(INT, estimate_ms, 0) F(BOOL, compact, 0)                                \
    F(BOOL, exclusive, 0) F(INT, prefer, 0) F(TEXT, gpu_type, JOB_WORDS_MAX) F(TEXT, features, JOB_WORDS_MAX) \
    F(TEXT, nodelist, JOB_NODES_MAX) F(TEXT, exclude, JOB_NODES_MAX) F(TEXT, array, ARRAY_TEXT_MAX)
#define JOB_AFTER_ROW_FIELDS(F) F(INT, job, 0) F(BOOL, ok, 0)

RECORD_DECLARE(job_after_row, JOB_AFTER_ROW_FIELDS)
RECORD_DECLARE(job_submission, JOB_SUBMISSION_FIELDS)
RECORD_DECLARE(event_task, EVENT_TASK_FIELDS)
RECORD_DECLARE(event_placement, EVENT_PLACEMENT_FIELDS)
RECORD_DECLARE(event, EVENT_FIELDS)

/* All zero, every text "": what code that builds an event starts from. */
void event_init(struct event *e, enum event_type type);

const char *event_type_name(int type);
bool event_is_decision(int type);

/* Applies one event at now_ms. 0, or an error for its sender with the cluster unchanged:
 * ERR_NOT_FOUND (no such job, node, queue), ERR_STALE (another attempt or lease), ERR_CONFLICT (not in that state), ERR_OVER_QUOTA,
 * ERR_NEVER_FITS, ERR_INVALID (the numbers are in the text). Repeats of a task report are ERR_STALE only if the lease differs: the same
 * report twice is 0 and changes nothing. */
int cluster_apply(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);

/* The job that a JOB_SUBMITTED with the next number would make, or NULL and what cluster_apply would say of it. It is in no list, and its
 * dependencies are as they were submitted. */
struct job *cluster_try_submission(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
void cluster_drop_tried(struct cluster *c, struct job *j);

/* Decisions as events, for the log and back. */
int64_t event_placement_gpus(const struct event_placement *row);
void event_placement_from(const struct cluster *c, const struct placement *p, struct event_placement *out, struct arena *arena);

#endif
