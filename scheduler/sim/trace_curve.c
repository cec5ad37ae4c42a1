#include "scheduler/sim/trace_curve.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { FIRST_WIDTH_MS = 1000 };

void curve_init(struct trace_curve *v, const struct trace *t, int64_t until_ms) {
    *v = (struct trace_curve){.t = t, .capacity = (int64_t)t->nodes * t->gpus_per_node, .until_ms = until_ms, .width_ms = FIRST_WIDTH_MS,
                              .row_count = CURVE_QUEUES + t->queue_count};
    v->gpu_ms = xcalloc((size_t)v->row_count * CURVE_POINTS, sizeof *v->gpu_ms);
    v->now = xcalloc((size_t)v->row_count, sizeof *v->now);
    v->queues = xmalloc((size_t)t->queue_count * sizeof *v->queues);
    memset(v->queues, -1, (size_t)t->queue_count * sizeof *v->queues);
}

void curve_release(struct trace_curve *v) {
    free(v->gpu_ms);
    free(v->now);
    free(v->queues);
}

static int64_t *row_of(const struct trace_curve *v, int32_t row) { return v->gpu_ms + (size_t)row * CURVE_POINTS; }

/* Each two stretches become one of twice the width. */
static void coarsen(struct trace_curve *v) {
    for (int32_t row = 0; row < v->row_count; row++) {
        int64_t *sums = row_of(v, row);
        for (int i = 0; i < CURVE_POINTS / 2; i++)
            sums[i] = sums[2 * i] + sums[2 * i + 1];
        memset(sums + CURVE_POINTS / 2, 0, CURVE_POINTS / 2 * sizeof *sums);
    }
    v->width_ms *= 2;
}

static void pass_time(struct trace_curve *v, int64_t to_ms) {
    to_ms = to_ms < v->until_ms ? to_ms : v->until_ms;
    while (to_ms > v->width_ms * CURVE_POINTS)
        coarsen(v);
    while (v->end_ms < to_ms) {
        int64_t point = v->end_ms / v->width_ms, next_ms = (point + 1) * v->width_ms;
        int64_t passed = (next_ms < to_ms ? next_ms : to_ms) - v->end_ms;
        for (int32_t row = 0; row < v->row_count; row++)
            row_of(v, row)[point] += v->now[row] * passed;
        v->end_ms += passed;
    }
}

void curve_settle(struct trace_curve *v, int64_t now_ms, int64_t used, int64_t waiting, const struct cluster *c) {
    pass_time(v, now_ms);
    v->now[CURVE_USE] = used;
    v->now[CURVE_DEMAND] = used + waiting < v->capacity ? used + waiting : v->capacity;
    v->now[CURVE_WAITING] = waiting;
    for (int32_t q = 0; q < v->t->queue_count; q++) {
        if (v->queues[q] < 0)
            v->queues[q] = cluster_queue(c, v->t->queues[q].name);
        v->now[CURVE_QUEUES + q] = v->queues[q] < 0 ? 0 : c->queues[v->queues[q]].gpus_used;
    }
}

void curve_end(struct trace_curve *v, int64_t now_ms) { pass_time(v, now_ms); }

int32_t curve_count(const struct trace_curve *v) { return (int32_t)((v->end_ms + v->width_ms - 1) / v->width_ms); }

double curve_mean(const struct trace_curve *v, int32_t row, int32_t point) {
    int64_t begin_ms = point * v->width_ms, end_ms = begin_ms + v->width_ms < v->end_ms ? begin_ms + v->width_ms : v->end_ms;
    return end_ms > begin_ms ? (double)row_of(v, row)[point] / (double)(end_ms - begin_ms) : 0;
}

double curve_mean_of_all(const struct trace_curve *v, int32_t row) {
    double sum = 0;
    for (int32_t i = 0; i < curve_count(v); i++)
        sum += (double)row_of(v, row)[i];
    return v->end_ms ? sum / (double)v->end_ms : 0;
}
