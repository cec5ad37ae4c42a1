/* Inside of cluster_apply(): one function an event, and the moves of a job that they share. rows.c
 * checks by the same rules; not for anybody else. */
#ifndef SCHEDULER_CLUSTER_APPLY_H
#define SCHEDULER_CLUSTER_APPLY_H

#include "scheduler/cluster/event.h"

/* The one gate of a job's state. Asserts that the move is legal; keeps the index. */
void job_move(struct cluster *c, struct job *j, enum job_state to, int64_t now_ms);
void job_touch(struct cluster *c, struct job *j);
void job_take(struct cluster *c, struct job *j);   /* a new job, the last by id: index_update or index_hand_over follows */
/* Ends a job for good and tells those that wait for it. */
void job_end(struct cluster *c, struct job *j, enum job_state to, int64_t now_ms);
void job_resolve_after(struct cluster *c, struct job *j, int64_t other, bool completed, int64_t now_ms);

/* A live attempt's end begins: STOPPING, and what its tasks get (first a request to checkpoint where kill_ms is ahead, or STOP at once:
 * 0). */
void attempt_stop(struct cluster *c, struct job *j, enum stop_cause cause, int64_t kill_ms, int64_t now_ms);
/* A task is over: frees what it held and, with the last one, ends the attempt. */
void attempt_task_ended(struct cluster *c, struct job *j, struct task *t, const struct attempt_end *how, int64_t now_ms);

void reservation_drop(struct cluster *c, int64_t job);
void reservation_drop_on_node(struct cluster *c, int32_t node);

struct placement placement_from_event(const struct cluster *c, const struct event_placement *row);   /* tasks allocated; checked before */
int placement_check(const struct cluster *c, const struct job *j, const struct event_placement *row, bool now_free, struct error *err);

int apply_job_submitted(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_cancelled(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_held(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_released(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_requeued(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_dependency_ended(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_element(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_fail(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);

int apply_job_start(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_stop(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_job_kill(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_reserve(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_unreserve(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);

int apply_task_started(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_task_exited(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_task_refused(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_checkpointed(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);

int apply_node_up(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_node_lost(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_node_expired(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_node_drained(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);
int apply_node_resumed(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);

int apply_quota(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err);   /* set, renamed, deleted */

struct node_wish submission_wish(const struct job_submission *s);
int submission_check(const struct job_submission *s, struct error *err);   /* each number within what can be; not the queue */

/* The job of that number, or the error. */
int find_job(const struct cluster *c, int64_t id, struct job **j, struct error *err);
int find_node(const struct cluster *c, const char *name, int32_t *node, struct error *err);

#endif
