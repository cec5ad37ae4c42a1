/* Two policies to compare with, on the scheduler's own placement: FIFO with a head that blocks, and hard caps by queue. They evict nobody.
 */
#ifndef SCHEDULER_SIM_TRACE_YARDSTICK_H
#define SCHEDULER_SIM_TRACE_YARDSTICK_H

#include "scheduler/policy/decide.h"
#include "scheduler/sim/trace_file.h"

struct yard_line { int64_t cap; int32_t head; };

struct yardstick {
    const struct trace *t;
    bool by_queue;
    struct yard_line *lines;
    int32_t line_count;
    int32_t *next;        /* by job: the one behind it in its line; -1 */
};

/* A cap is the queue's guarantee, or its largest job where that is more: every job runs at some time. */
void yardstick_init(struct yardstick *y, const struct trace *t, bool by_queue);
void yardstick_release(struct yardstick *y);
/* Starts what may start of the first `submitted` jobs; job i of the trace is job i + 1 of the cluster. */
void yardstick_decide(struct yardstick *y, struct cluster *c, int64_t submitted, int64_t now_ms, struct arena *arena, struct plan *plan);

#endif
