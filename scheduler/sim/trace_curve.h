/* What a replay looks like over time: GPUs in use, asked for and waited for, and in use by queue, as means over equal stretches of time.
 * However long the trace is, there are at most CURVE_POINTS of them: when time runs out of the last one, each two become one.
 */
#ifndef SCHEDULER_SIM_TRACE_CURVE_H
#define SCHEDULER_SIM_TRACE_CURVE_H

#include "scheduler/cluster/cluster.h"
#include "scheduler/sim/trace_file.h"

enum { CURVE_POINTS = 1000 };
enum curve_row { CURVE_USE, CURVE_DEMAND /* at most the capacity */, CURVE_WAITING, CURVE_QUEUES /* and one row more for each queue */ };

struct trace_curve {
    const struct trace *t;
    int64_t capacity;
    int64_t until_ms;        /* nothing is noted beyond: the last of the jobs may run for weeks after all others */
    int64_t width_ms;        /* of a stretch */
    int64_t end_ms;          /* noted so far */
    int64_t *gpu_ms;         /* [row][CURVE_POINTS] */
    int64_t *now;            /* [row]: GPUs since end_ms */
    int32_t *queues;         /* by queue of the trace: its index in the cluster; -1 not found yet */
    int32_t row_count;
};

void curve_init(struct trace_curve *v, const struct trace *t, int64_t until_ms);
void curve_release(struct trace_curve *v);

/* All has happened that does at this moment; until the next one it stays so. */
void curve_settle(struct trace_curve *v, int64_t now_ms, int64_t used, int64_t waiting, const struct cluster *c);
void curve_end(struct trace_curve *v, int64_t now_ms);

int32_t curve_count(const struct trace_curve *v);                            /* stretches, the last perhaps shorter */
double curve_mean(const struct trace_curve *v, int32_t row, int32_t point);  /* GPUs */
double curve_mean_of_all(const struct trace_curve *v, int32_t row);

#endif
