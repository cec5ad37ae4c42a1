/* The index of a cluster: lists and classes of jobs that can be told from the facts. Each job is in exactly one list.
 *
 * Whoever changes a fact of a job that decides about its list calls index_update; whoever frees, raises or brings back something that a
 * waiting job may need calls index_gain; whoever sets a time at which something is due calls index_due.
 */
#ifndef SCHEDULER_CLUSTER_INDEX_H
#define SCHEDULER_CLUSTER_INDEX_H

#include "scheduler/cluster/cluster.h"

void index_init(struct cluster_index *x);
void index_release(struct cluster_index *x);

void job_list_insert(struct job_list *l, struct job *j);
void job_list_remove(struct job_list *l, const struct job *j);

void index_touch(struct cluster *c, struct job *j);       /* something of it has changed, but not its list */
void index_refresh(struct cluster *c);                   /* runs are as their jobs are, until something changes */
void index_update(struct cluster *c, struct job *j, int64_t now_ms);
/* The array stands for fewer or more jobs than before, and the element, or NULL, for one of them: nobody asks for more than before. */
void index_hand_over(struct cluster *c, struct job *array, struct job *element, int64_t now_ms);
void index_promote(struct cluster *c, int64_t now_ms);   /* jobs whose cool-down is over become ready */
void index_gain(struct cluster *c);
void index_gain_nodes(struct cluster *c);   /* a node came, went, or has changed */
void index_price(struct cluster *c);                     /* stopping some job costs more or less than before */
void index_due(struct cluster *c, int64_t at_ms);
void index_count_job(struct cluster *c, const struct job *j, int sign);   /* among its user's, before and after its state changes */
void index_count_gpus(struct cluster *c, int32_t shape, int sign);        /* of a node that has this shape, or had */
void index_count_users(struct cluster *c);               /* of all jobs, anew: some changed their queue, or a queue its parent */
void index_place(struct cluster *c, struct job *j, bool placed);         /* a place is kept for it, or not any more */
bool index_is_in_class(const struct cluster *c, const struct job *j);    /* a ready job is in the class of its demand */
bool index_run_is_right(const struct cluster *c, const struct live_brief *r);   /* as its job is, or known not to be */
void index_queues(struct cluster *c, int64_t now_ms);    /* settings of queues changed, or queues of jobs */

#endif
