/* Who may take GPUs from whom, and how many. Least disruptive first:
 *
 *   spare     what an elastic job holds beyond its least, for a job of its queue, and for any where its queue uses more than is guaranteed
 *             to it: it is lent to it while nobody else can use it. For another queue's guarantee at once, else when it has run for a while
 *   reclaim   a job on its queue's guarantee, from those of other queues that run on nobody's; on one of a type of GPU, from those on that
 *             type who run on none of that type
 *   share     a job within its queue's entitlement, from those beyond theirs that have been served no less than itself. One that is within
 *             that of all types of GPU, but not of this one, from those who are beyond both
 *   priority  in a queue whose policy is priority: a job, from those of its own queue with a lower one
 *   rotate    a job that has been served less, from one of its own queue and priority, or from a borrower when it would be one itself
 *   pack      a job of equal standing, from such that hold at most half as much together: the large ones fill nodes better
 *
 * A job without GPUs, which holds cpus or memory that GPUs of its node need, runs on no guarantee: it gives way by reclaim and priority.
 *
 * Inside a queue, rotate and pack are for those whose policy is fair: the others start their jobs in another order, and keep to it.
 *
 * All but `reclaim`, `priority` and `spare` keep to a measure: they take no more GPUs than they ask for (a node's worth is always
 * allowed), and once more as much for each hour that the job has waited; and only from those that have run for a while. A queue that
 * has a guarantee and runs nothing gets its first job in by `share` without measure, so that a small guarantee is not worth less than
 * a fixed partition that rounds it up to a job. `rotate` and `pack` take only from jobs that lose little: that have saved their work a
 * short while ago.
 *
 * Why decisions come to an end, with time, submissions and completions frozen: a job that has just started loses its GPUs to nobody but a
 * guarantee (or a first job), those only take from what runs on no guarantee, and what they start stands; and whoever was evicted cools
 * down before he is started again. So nobody is evicted twice, and each eviction starts a job that stays.
 */
#ifndef SCHEDULER_POLICY_RIGHT_H
#define SCHEDULER_POLICY_RIGHT_H

#include "scheduler/policy/standing.h"

enum right { RIGHT_NONE, RIGHT_SPARE, RIGHT_RECLAIM, RIGHT_SHARE, RIGHT_PRIORITY, RIGHT_ROTATE, RIGHT_PACK };

struct taker {
    const struct cluster *c;
    const struct job *job;
    const struct demand *demand;
    struct standing standing;
    int64_t waited_ms;
    bool is_first;            /* its queue has a guarantee that it can use, and runs nothing */
    int64_t crowd;            /* GPUs that all together wait for who stand no worse: it is one of them */
};

bool right_is_first(const struct standings *s, const struct demand *d);
/* Wherever it starts, and nobody counted with it. */
struct taker right_taker(const struct standings *s, const struct job *j, const struct demand *d, int64_t now_ms);

bool right_may_stop(const struct taker *t, const struct runner *from);   /* it has run for its least time (queue_min_runtime) */
enum right right_over(const struct taker *t, const struct runner *from);
/* Does what is taken by it count toward the measure: so many GPUs in all, and so many of them by pack? */
bool right_is_measured(const struct taker *t, enum right right);
int64_t right_measure(const struct taker *t, int32_t node_size);
int64_t right_pack_measure(const struct taker *t);

/* No more GPUs than that can be had by right; `others` and `own`: what other queues' and its own runners hold. */
int64_t right_bound(const struct taker *t, const struct offer *others, const struct offer *own);

const char *right_name(enum right right);

#endif
