/* `quota set --evict`: queues that an admin put below what they use are brought down to it, by what elastic jobs can spare, who go on with
 * less; then by stopping the fewest jobs that suffice. Of each kind the cheapest. What is stopping anyway counts as gone. */
#ifndef SCHEDULER_POLICY_EVICT_OVER_H
#define SCHEDULER_POLICY_EVICT_OVER_H

#include "scheduler/policy/plan.h"

void evict_over(struct pass *p);

struct eviction {
    const struct job *job;
    int32_t queue;   /* whose limit it is stopped for */
    int32_t most;    /* it goes on with so many GPUs at most, if there is a place for it; 0: it is evicted */
};

/* What that would stop, given the queues as they stand in `c`: in the arena. `p`: what it stops already is gone; NULL: nothing is. Returns
 * how many. */
int32_t evict_over_choose(const struct cluster *c, const struct pass *p, int64_t now_ms, struct arena *arena, struct eviction **chosen);

#endif
