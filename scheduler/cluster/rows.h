/* The cluster's facts as rows, one a queue, node, job or reservation, and the way back into a cluster. The store keeps them, a snapshot in
 * an exported event log holds them, and views read them, so that a job looks the same whether memory or the store tells of it. Rows name
 * nodes and queues; memory has indexes.
 *
 * Every fact that is in cluster_digest() is in a row. To add one: a field here, a line in the functions of both ways, one in digest.c.
 */
#ifndef SCHEDULER_CLUSTER_ROWS_H
#define SCHEDULER_CLUSTER_ROWS_H

#include "common/inventory.h"
#include "scheduler/cluster/cluster.h"
#include "scheduler/cluster/event.h"

enum { STORED_SET_MAX = 64 * 1024 };   /* bytes of any set of indexes */
#define STORED_TASK_FIELDS(F)                                                                                   \
    F(TEXT, node, NODE_NAME_MAX) F(TEXT, rack, 128) F(INT, gpus, 0) F(INT, ranks, 0) F(INT, cpus, 0) F(INT, memory_mib, 0) \
    F(INT, state, 0) F(INTS, gpu_order, 16) F(INT, ring_gbs, 0) F(INT, island, 0) \
    F(TEXTS, nics, NIC_NAME_MAX) /* beside each GPU, in rank order; none: not known */
#define STORED_PLACEMENT_FIELDS(F) F(ROWS, tasks, stored_task) F(INT, level, 0) F(INT, bottleneck_gbs, 0)
#define STORED_AFTER_FIELDS(F) F(INT, job, 0) F(BOOL, ok, 0) F(BOOL, broken, 0)
#define STORED_JOB_FIELDS(F)                                                                                    \
    F(INT, id, 0) F(INT, submit_ms, 0) F(TEXT, queue, QUEUE_NAME_MAX) F(INT, uid, 0) F(INT, priority, 0) F(INT, nodes, 0) \
    F(INT, gpus, 0) F(INT, ranks, 0) F(INT, cpus_per_rank, 0) F(INT, memory_mib, 0) F(INT, time_limit_ms, 0) F(INT, grace_ms, 0) \
    F(INT, retries, 0) F(INT, launcher, 0) F(INT, topology, 0) F(BOOL, preemptible, 0) F(BOOL, on_lost_wait, 0) \
    F(ROWS, after, stored_after)                                                                                \
    F(INT, state, 0) F(INT, attempt, 0) F(INT, lease, 0) F(INT, failures, 0) F(INT, lost_attempts, 0) \
    F(INT, preemptions, 0)                                                                                      \
    F(ROW, placement, stored_placement) F(INT, start_ms, 0) F(INT, order_ms, 0) F(INT, checkpoint_ms, 0) F(INT, checkpoint_step, 0) \
    F(INT, stop_cause, 0) F(INT, stop_ms, 0) F(INT, kill_ms, 0) F(INT, stop_for, 0) F(BOOL, checkpoint_asked, 0) \
    F(INT, end_cause, 0) F(INT, end_kind, 0) F(INT, end_status, 0) F(INT, end_rank, 0) F(TEXT, end_node, NODE_NAME_MAX) \
    F(INT, end_ms, 0) F(INT, not_before_ms, 0)                                                                  \
    F(INT, gpus_min, 0) F(INT, estimate_ms, 0) F(BOOL, compact, 0) F(INT, attained_gpu_ms, 0) F(INT, queued_ms, 0) \
    F(BOOL, exclusive, 0) F(INT, prefer, 0) F(TEXT, gpu_type, JOB_WORDS_MAX) F(TEXT, features, JOB_WORDS_MAX) \
    F(TEXT, nodelist, JOB_NODES_MAX) F(TEXT, exclude, JOB_NODES_MAX) \
    F(INT, array, 0) F(INT, element, 0)         /* of an element: its array and its index there */               \
    F(INT, elements, 0) F(INT, array_limit, 0)  /* of an array: how many there are */                             \
    F(TEXT, waiting, STORED_SET_MAX)            /* ... those that wait with it: "3-99" */                         \
    F(INTS, ended, JOB_STATE_COUNT)             /* ... and how many ended in which state */
#define STORED_NODE_FIELDS(F)                                                                                   \
    F(ROW, inventory, inventory) F(TEXT, boot_id, 40) F(INT, state, 0) F(BOOL, drained, 0) F(TEXT, drain_reason, 128)
#define STORED_RESERVATION_FIELDS(F)                                                                            \
    F(INT, job, 0) F(ROW, placement, stored_placement) F(INT, kind, 0) F(INT, since_ms, 0) F(INT, expected_ms, 0)
#define STORED_QUEUE_FIELDS(F)                                                                                  \
    F(ROW, spec, queue_spec) F(BOOL, draining, 0) F(BOOL, evicting, 0) F(BOOL, deleted, 0)           \
    F(INT, usage_gpu_ms, 0) F(INT, usage_at_ms, 0)
#define STORED_ACCOUNT_FIELDS(F)                                                                                \
    F(INT, queue, 0) /* its index, as it may be a deleted one */ F(INT, uid, 0) F(INT, usage_gpu_ms, 0) F(INT, usage_at_ms, 0)
#define STORED_NAMES_FIELDS(F) F(TEXTS, names, 64)
#define STORED_RESERVATIONS_FIELDS(F) F(ROWS, rows, stored_reservation)

RECORD_DECLARE(stored_task, STORED_TASK_FIELDS)
RECORD_DECLARE(stored_placement, STORED_PLACEMENT_FIELDS)
RECORD_DECLARE(stored_after, STORED_AFTER_FIELDS)
RECORD_DECLARE(stored_job, STORED_JOB_FIELDS)
RECORD_DECLARE(stored_node, STORED_NODE_FIELDS)
RECORD_DECLARE(stored_queue, STORED_QUEUE_FIELDS)
RECORD_DECLARE(stored_names, STORED_NAMES_FIELDS)
RECORD_DECLARE(stored_reservation, STORED_RESERVATION_FIELDS)
RECORD_DECLARE(stored_reservations, STORED_RESERVATIONS_FIELDS)
RECORD_DECLARE(stored_account, STORED_ACCOUNT_FIELDS)

/* Memory to row: borrows names from the cluster, arrays from the arena. */
void stored_queue_from(const struct cluster *c, const struct queue *q, struct stored_queue *row, struct arena *arena);
void stored_reservation_from(const struct cluster *c, const struct reservation *r, struct stored_reservation *row, struct arena *arena);
void stored_account_from(const struct account *a, struct stored_account *row);
/* Its inventory holds what the cluster knows of the node; the daemon's soft state knows more. */
void stored_node_from(const struct cluster *c, const struct node *n, struct stored_node *row, struct arena *arena);
void stored_job_from(const struct cluster *c, const struct job *j, struct stored_job *row, struct arena *arena);
void stored_placement_from(const struct cluster *c, const struct placement *p, struct stored_placement *row, struct arena *arena);
int64_t stored_placement_gpus(const struct stored_placement *p);
/* "node0,node1". In the arena. */
const char *stored_placement_nodes(const struct stored_placement *p, struct arena *arena);

/* Row to memory, for a restart or a snapshot; nodes and queues before the jobs that name them. cluster_reindex then charges what jobs
 * hold. ERR_INVALID says what in the row can't be true, with the cluster unchanged. */
int stored_queue_restore(struct cluster *c, int32_t at, const struct stored_queue *row, struct error *err);   /* at: its index */
void stored_queues_link(struct cluster *c);   /* all queues are in: the parent of each is who its name says */
int stored_gpu_types_restore(struct cluster *c, const struct texts *names, struct error *err);   /* before the nodes */
int stored_account_restore(struct cluster *c, const struct stored_account *row, struct error *err);
int stored_node_restore(struct cluster *c, const struct stored_node *row, struct error *err);
int stored_job_restore(struct cluster *c, const struct stored_job *row, struct error *err);
int stored_reservation_restore(struct cluster *c, const struct stored_reservation *row, struct error *err);

#endif
