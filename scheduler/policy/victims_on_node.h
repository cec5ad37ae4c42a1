/* The cheapest victims on one node: of its few tasks, those that leave for what a gang needs there, a knapsack by GPUs. */
#ifndef SCHEDULER_POLICY_VICTIMS_ON_NODE_H
#define SCHEDULER_POLICY_VICTIMS_ON_NODE_H

#include "scheduler/policy/victims.h"

enum {
    NODE_VICTIMS_MAX = 32,   /* tasks of a node that are looked at */
    PRICE_SHIFT = 12,        /* a cost has the price above what decides between equals */
};

static const int64_t NO_COST = INT64_MAX;   /* it can't be served */

/* GPUs that a task would leave to the gang; of a runner, no more than so many: one that shrinks where it is keeps its least. */
uint32_t victims_gpus_left(const struct victims *v, const struct task *t);
int victims_freed(const struct victims *v, int32_t runner);

/* A runner's price as it is compared: of one who shrinks, that of what it gives up; a queue's first job leaves last, and jobs on a
 * guarantee move last. */
int64_t victims_price_of(const struct victims *v, const struct runner *k);
/* What it costs at that price. Compared in this order: price, outsiders (what was borrowed under the taker's own parents is settled before
 * anybody outside is asked), GPUs. */
int64_t victims_cost(const struct victims *v, const struct runner *k, int64_t price);

/* Of up to 32 that cost so much and free so many GPUs each, the cheapest that free `missing` or more; best[missing + 1]: best[m] is that
 * for m. Bit i of a set: the i-th. */
struct choice { int64_t cost; uint32_t set; };
struct choice cheapest_choice(struct choice best[], const int64_t cost[], const int gpus[], int count, int missing);

/* What it costs to serve the need on the node, beside what is taken already; `chosen` gets the tasks that leave, as in standings.tasks (at
 * most NODE_VICTIMS_MAX). A gang that has to lie within an island does so in the cheapest. */
int64_t victims_on_node(const struct victims *v, int32_t node, const struct need *asked, int32_t chosen[], int *chosen_count);

#endif
