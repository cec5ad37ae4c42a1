/* Soft state: what the daemon knows beside the facts. Labels of jobs that views show (the policy has no use for names), how far the
 * orders of a live attempt have come, what nodes said last. Never an event, never in the digest, never read by a decision. Labels come
 * back from the store at a restart; the rest is learned again from the nodes.
 */
#ifndef SCHEDULER_SOFT_H
#define SCHEDULER_SOFT_H

#include <uthash.h>

#include "common/channel.h"
#include "scheduler/job_json.h"
#include "scheduler/turn.h"

enum { SERIES_MAX = 500 };

/* A task of a live attempt, seen from the orders' side. */
struct soft_task {
    bool ready;               /* said READY under the current lease */
    bool checkpointed;        /* answered the request to checkpoint */
    int64_t sent_ms;          /* boot clock: when its last order went out; 0: never */
    int16_t sent_type;        /* which order that was */
};

struct soft_progress {
    bool heard;
    int64_t step, total, eta_s, wall_ms, rss_mib, cpu_ms;
    double loss;
    bool has_loss;
    char text[128];
    json_t *values;           /* owned; NULL none */
};

struct soft_point { int64_t wall_ms, step, loss_ppm; };

struct soft_job {
    int64_t id;
    char *name, *user, *nodes, *text;   /* owned; nodes of the last attempt; text: what its end said for people */
    uid_t uid;
    gid_t gid;
    int64_t submit_wall_ms, start_wall_ms, end_wall_ms;   /* 0: not yet */
    int64_t lease;            /* that tasks[] belongs to */
    int32_t task_count;
    struct soft_task *tasks;
    int64_t master_port;
    struct soft_progress progress;
    struct soft_point *points;   /* owned, SERIES_MAX; NULL none */
    int32_t point_count, point_stride, point_skipped;   /* every stride-th report is kept */
    bool series_dirty;        /* not in the store yet */
    int64_t series_saved_ms;
    UT_hash_handle hh;
};

struct soft_node {
    struct peer peer;
    bool connected;           /* said HELLO to this run of the daemon */
    int64_t heard_ms;         /* boot clock */
    int64_t heard_wall_ms;
    int64_t lease_end_ms;     /* boot clock: when the last renewal given to it runs out, margin included */
    struct arena arena;       /* of inventory and telemetry */
    struct inventory inventory;
    struct arena beat_arena;
    struct heartbeat beat;    /* the last one */
    bool has_beat;
};

struct soft {
    struct soft_job *jobs;    /* uthash by id */
    struct soft_node *nodes;  /* parallel to cluster.nodes */
    size_t node_count, node_capacity;
    int64_t changed_ms;       /* boot clock: when anything here that views show changed */
};

struct soft_job *soft_job(const struct soft *s, int64_t id);   /* NULL */
struct soft_job *soft_job_add(struct soft *s, int64_t id, const char *name, const char *user, uid_t uid, gid_t gid);
void soft_job_remove(struct soft *s, int64_t id);
void soft_job_label(char **label, const char *text);           /* replaces an owned label */
void soft_job_reset_attempt(struct soft_job *j, const struct job *job);   /* a new lease: nothing is known of its tasks */
void soft_job_progress(struct soft_job *j, const struct task_progress *p, int64_t wall_ms);

json_t *soft_progress_json(const struct soft_progress *p);               /* new reference; null if nothing was heard */
void soft_job_take_progress(struct soft_job *j, const json_t *stored);      /* what soft_progress_json gave, after a restart */
struct stored_series soft_job_series(const struct soft_job *j, struct arena *arena);
void soft_job_take_series(struct soft_job *j, const struct stored_series *row);

/* Makes room so that nodes[index] exists. */
struct soft_node *soft_node_at(struct soft *s, int32_t index);
void soft_node_inventory(struct soft_node *n, const struct inventory *inventory);   /* copies it */
void soft_node_beat(struct soft_node *n, const struct heartbeat *beat);             /* copies it */

/* Takes in what an applied turn means for labels: new jobs, starts, ends, inventories. Before the commit, so that the store can write
 * them. */
void soft_absorb(struct soft *s, const struct cluster *c, const struct turn *t);
/* Forgets the labels of the jobs that cluster_forget_finished is about to forget. */
void soft_forget_finished(struct soft *s, const struct cluster *c);
/* After memory was loaded again: takes over from the old soft state what the store doesn't have (sessions of nodes, progress). */
void soft_inherit(struct soft *s, const struct cluster *c, struct soft *old, const struct cluster *old_cluster);
void soft_release(struct soft *s);

#endif
