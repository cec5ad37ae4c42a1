/* The classes of a queue (cluster.h), those of the highest priority first: a turn opens them in that order, and seldom gets far. */
#ifndef SCHEDULER_CLUSTER_RANKING_H
#define SCHEDULER_CLUSTER_RANKING_H

#include "scheduler/cluster/cluster.h"

/* By what a queue ranks: where its policy is the order of submission, all are alike. */
int32_t ranking_priority(const struct demand *d);
void ranking_insert(struct ranking *r, int32_t class, int32_t shape, const struct demand *d);
void ranking_remove(struct ranking *r, int32_t class, const struct demand *d);

#endif
