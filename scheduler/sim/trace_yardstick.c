/* FIFO and static caps; see trace_yardstick.h. */
#include "scheduler/sim/trace_yardstick.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/plan.h"
#include "scheduler/policy/reason.h"

static int32_t line_of(const struct yardstick *y, int64_t job) { return y->by_queue ? y->t->jobs[job].queue : 0; }

void yardstick_init(struct yardstick *y, const struct trace *t, bool by_queue) {
    *y = (struct yardstick){.t = t, .by_queue = by_queue, .line_count = by_queue ? t->queue_count : 1};
    y->lines = xcalloc((size_t)y->line_count, sizeof *y->lines);
    y->next = xmalloc((size_t)t->job_count * sizeof *y->next);
    for (int32_t i = 0; i < y->line_count; i++)
        y->lines[i] = (struct yard_line){by_queue ? t->queues[i].guarantee : (int64_t)t->nodes * t->gpus_per_node, -1};
    for (int64_t i = t->job_count - 1; i >= 0; i--) {
        struct yard_line *l = &y->lines[line_of(y, i)];
        y->next[i] = l->head;
        l->head = (int32_t)i;
        l->cap = t->jobs[i].gpus > l->cap ? t->jobs[i].gpus : l->cap;
    }
}

void yardstick_release(struct yardstick *y) {
    free(y->lines);
    free(y->next);
}

static int64_t used_by(const struct yardstick *y, const struct room *r, const struct job *j) {
    return y->by_queue ? r->queue_used[j->queue] : 0;
}

void yardstick_decide(struct yardstick *y, struct cluster *c, int64_t submitted, int64_t now_ms, struct arena *arena, struct plan *plan) {
    struct pass p = {.c = c, .now_ms = now_ms, .arena = arena, .plan = plan};
    *plan = (struct plan){0};
    room_open(&p.room, c, arena);
    for (int32_t i = 0; i < y->line_count; i++) {
        struct yard_line *l = &y->lines[i];
        while (l->head >= 0 && l->head < submitted) {
            const struct job *j = cluster_job(c, l->head + 1);
            struct demand d = job_demand(c, j);
            struct placement where;
            if (used_by(y, &p.room, j) + j->gpus > l->cap || !place_gang(&p.room, &d, &where))
                break;
            plan_start(&p, j, &where);
            l->head = y->next[l->head];
        }
    }
}
