/* Job arrays inside the cluster: how an element becomes a job of its own, and what becomes of the array with it (cluster.h: job_array). */
#ifndef SCHEDULER_CLUSTER_ARRAY_H
#define SCHEDULER_CLUSTER_ARRAY_H

#include "common/job_spec.h"
#include "scheduler/cluster/cluster.h"

/* A job's place in a line, among others as good: elements stand where their array was submitted. */
static inline int64_t job_place(const struct job *j) { return j->array_id ? j->array_id : j->id; }
/* As its user calls it: "12", "12[7]". */
struct job_name { char text[JOB_REF_TEXT_MAX]; };
struct job_name job_name(const struct cluster *c, int64_t id);
static inline struct job_array *job_array_of(const struct job *j) { return j->array ? j->array : j->head ? j->head->array : NULL; }

int32_t array_waiting(const struct job *j);      /* how many jobs this one stands for while it waits: 1, or an array's elements */
int32_t array_startable(const struct job *j);    /* ... and of them, how many its limit lets start now */
struct job *array_element(const struct job *array, int64_t element);   /* NULL: it waits with the array, has ended, or is none of it */

void array_make(struct job *j, const struct array_set *elements, int64_t limit);
void array_free(struct job *j);
/* The element becomes a job of its own, PENDING or HELD, with the number c->next_job. It waited with the array. */
struct job *array_take(struct cluster *c, struct job *array, int32_t element, enum job_state state, int64_t now_ms);
/* Those of the set that wait with the array are cancelled; how many. */
int32_t array_cancel(struct cluster *c, struct job *array, const struct array_set *set, int64_t now_ms);
/* An element has gone from one state to another: counted, and where it was the last, the array ends. */
void array_note_move(struct cluster *c, struct job *element, enum job_state from, int64_t now_ms);

#endif
