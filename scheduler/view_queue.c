/* Rows of queues. Their sums count what is below them too, as guarantees and limits do. */
#include <stdlib.h>

#include "scheduler/cluster/array.h"
#include "scheduler/policy/share.h"
#include "scheduler/queue_json.h"
#include "scheduler/view.h"

struct queue_sums {
    const int64_t *entitled;   /* by queue, as the next three */
    int64_t *waiting_gpus;
    int *running, *pending;
    struct type_sums of[GPU_TYPES_MAX];
};

static void sums_init(struct queue_sums *s, const struct cluster *c, struct arena *arena) {
    size_t count = (size_t)c->queue_count;
    *s = (struct queue_sums){.entitled = share_entitlements(c, 0, arena),
                             .waiting_gpus = arena_array(arena, count, sizeof *s->waiting_gpus),
                             .running = arena_array(arena, count, sizeof *s->running),
                             .pending = arena_array(arena, count, sizeof *s->pending)};
    for (int32_t t = 1; t < c->gpu_type_count; t++)
        s->of[t] = (struct type_sums){share_entitlements(c, t, arena), arena_array(arena, count, sizeof *s->of[t].waiting)};
}

static void sum_up(struct queue_sums *s, const struct cluster *c, struct arena *arena) {
    sums_init(s, c, arena);
    for (int i = 0; i < c->job_count; i++) {
        const struct job *j = c->jobs[i];
        bool live = job_state_holds_gpus((int)j->state), over = job_state_is_final((int)j->state);
        int64_t waiting = live || over ? 0 : (int64_t)j->gpus * array_waiting(j);
        uint32_t types = waiting ? node_filter_types(c, j->filter) & ~1u : 0;
        for (int32_t q = j->queue; q >= 0 && !over; q = c->queues[q].parent) {
            s->running[q] += live;
            s->pending[q] += live ? 0 : array_waiting(j);
            s->waiting_gpus[q] += waiting;
            for (uint32_t left = types; left; left &= left - 1)
                s->of[__builtin_ctz(left)].waiting[q] += waiting;
        }
    }
}

static int64_t positive(int64_t n) { return n > 0 ? n : 0; }

static json_t *queue_json(const struct cluster *c, int32_t i, const struct queue_sums *s) {
    const struct queue *q = &c->queues[i];
    int64_t guarantee = share_guarantee(c, i), waiting = s->waiting_gpus[i];
    return json_pack("{s:s, s:s?, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:b, s:b, s:b, s:o, s:o, s:o}", "name", q->name,
                     "parent", q->parent >= 0 ? c->queues[q->parent].name : NULL, "guarantee", (json_int_t)guarantee, "entitlement",
                     (json_int_t)s->entitled[i], "limit", q->limit == NO_LIMIT ? json_null() : json_integer(q->limit), "weight",
                     (json_int_t)q->weight, "used", (json_int_t)q->gpus_used, "borrowed", (json_int_t)positive(q->gpus_used - guarantee),
                     "waiting_gpus", (json_int_t)waiting, "owed", (json_int_t)queue_owed(guarantee, q->gpus_used, waiting),
                     "running_jobs", s->running[i], "pending_jobs", s->pending[i], "over", q->draining, "evicting", q->evicting, "closed",
                     q->closed, "settings", queue_settings_json(c, i), "effective", queue_effective_json(c, i), "gpu_types",
                     queue_types_json(c, i, s->of));
}

static json_t *types_json(const struct cluster *c) {
    json_t *types = json_array();
    for (int32_t t = 1; t < c->gpu_type_count; t++)
        json_array_append_new(types, json_pack("{s:s, s:I}", "type", c->gpu_types[t], "total", (json_int_t)c->index.gpus_by_type[t]));
    return types;
}

/* A queue before what is below it: a slash comes before all that may stand in a name. */
static int by_name(const void *a, const void *b, void *queues) {
    const char *x = ((const struct queue *)queues)[*(const int32_t *)a].name, *y = ((const struct queue *)queues)[*(const int32_t *)b].name;
    while (*x && *x == *y)
        x++, y++;
    int left = *x == '/' ? 1 : (unsigned char)*x, right = *y == '/' ? 1 : (unsigned char)*y;
    return left - right;
}

/* From the view's `from`th on, until the page is full. Returns where the next page begins; 0: this was the last. */
static int32_t add_page(const struct cluster *c, const int32_t *order, int64_t from, const struct queue_sums *sums, json_t *queues) {
    size_t bytes = 0;
    for (int32_t i = from > 0 && from < c->queue_count ? (int32_t)from : 0; i < c->queue_count; i++) {
        if (c->queues[order[i]].deleted)
            continue;
        if (json_array_size(queues) == QUEUE_ROWS_MAX || bytes > QUEUE_BYTES_MAX)
            return i;
        json_t *row = queue_json(c, order[i], sums);
        bytes += queue_row_bytes(row);
        json_array_append_new(queues, row);
    }
    return 0;
}

json_t *view_queues(const struct musterd *d, const struct view *view) {
    const struct cluster *c = &d->cluster;
    struct arena arena = {0};
    struct queue_sums sums;
    json_t *queues = json_array();
    sum_up(&sums, c, &arena);
    int32_t *order = arena_array(&arena, (size_t)c->queue_count, sizeof *order);
    for (int32_t i = 0; i < c->queue_count; i++)
        order[i] = i;
    qsort_r(order, (size_t)c->queue_count, sizeof *order, by_name, c->queues);
    int32_t next = add_page(c, order, view->from, &sums, queues);
    arena_release(&arena);
    return json_pack("{s:o, s:I, s:o, s:o}", "queues", queues, "gpus_total", (json_int_t)cluster_gpu_count(c), "gpu_types", types_json(c),
                     "next", next ? json_integer(next) : json_null());
}
