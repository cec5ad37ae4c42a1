#include "scheduler/policy/evict_over.h"

#include <stdlib.h>

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/standing.h"

enum { SWAP_PASSES = 16 };

struct candidate { const struct job *job; int64_t price, gpus; bool taken; };
struct choice { struct candidate *items; int32_t count; };

/* GPUs of a type that the job holds; of all types: 0. */
static int64_t gpus_of(const struct cluster *c, const struct job *j, int32_t type) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        if (t->state != TASK_ENDED && (!type || c->shapes[c->nodes[t->node].shape].gpu_type == type))
            gpus += __builtin_popcount(t->gpus);
    }
    return gpus;
}

/* The most GPUs first, so that the fewest jobs suffice; then the cheapest; then the youngest. */
static int by_size(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->gpus != y->gpus)
        return x->gpus > y->gpus ? -1 : 1;
    if (x->price != y->price)
        return x->price < y->price ? -1 : 1;
    return x->job->id > y->job->id ? -1 : x->job->id < y->job->id;
}

/* Swaps a chosen job for a cheaper one where enough is freed even so: as many jobs, at a lower price. */
static bool cheapen(struct choice *v, int64_t *spare) {
    bool changed = false;
    for (int32_t i = 0; i < v->count; i++) {
        struct candidate *given = &v->items[i], *best = NULL;
        for (int32_t k = 0; k < v->count && given->taken; k++) {
            struct candidate *other = &v->items[k];
            if (!other->taken && given->gpus - other->gpus <= *spare && other->price < (best ? best->price : given->price))
                best = other;
        }
        if (!best)
            continue;
        *spare -= given->gpus - best->gpus;
        given->taken = false;
        best->taken = changed = true;
    }
    return changed;
}

static void choose(struct choice *v, int64_t excess) {
    qsort(v->items, (size_t)v->count, sizeof *v->items, by_size);
    for (int32_t i = 0; i < v->count && excess > 0; i++) {
        v->items[i].taken = true;
        excess -= v->items[i].gpus;
    }
    int64_t spare = -excess;
    for (int pass = 0; pass < SWAP_PASSES && spare >= 0 && cheapen(v, &spare); pass++)
        ;
}

/* ---- all queues ---- */

struct evictions {
    const struct cluster *c;
    const struct pass *p;
    struct arena *arena;
    int64_t now_ms;
    struct eviction *items;
    int32_t count;
};

static bool is_going(const struct evictions *s, const struct job *j) {
    for (int32_t i = 0; i < s->count; i++)
        if (s->items[i].job == j)
            return true;
    for (size_t i = 0; s->p && i < s->p->plan->count; i++)
        if (s->p->plan->decisions[i].type == EVENT_JOB_STOP && s->p->plan->decisions[i].job == j->id)
            return true;
    return j->state == JOB_STOPPING;
}

/* Adds what brings the queue down to its limit of one type (0: of all types together). */
static void bring_down(struct evictions *s, int32_t queue, int32_t type) {
    const struct job_list *live = &s->c->index.live;
    struct choice v = {.items = arena_array(s->arena, (size_t)live->count, sizeof *v.items)};
    int64_t excess = queue_over(&s->c->queues[queue], type);
    for (int32_t i = 0; i < live->count && excess > 0; i++) {
        const struct job *j = live->items[i];
        int64_t gpus = queue_is_within(s->c, j->queue, queue) ? gpus_of(s->c, j, type) : 0;
        if (gpus && is_going(s, j))
            excess -= gpus;
        else if (gpus && j->preemptible && (j->state == JOB_RUNNING || j->state == JOB_STARTING))
            v.items[v.count++] = (struct candidate){.job = j, .price = job_price(j, s->now_ms), .gpus = gpus};
    }
    if (excess <= 0)
        return;
    choose(&v, excess);
    for (int32_t i = 0; i < v.count; i++)
        if (v.items[i].taken)
            s->items[s->count++] = (struct eviction){v.items[i].job, queue};
}

static int depth_of(const struct cluster *c, int32_t queue) {
    int depth = 0;
    for (int32_t q = c->queues[queue].parent; q >= 0; q = c->queues[q].parent)
        depth++;
    return depth;
}

int32_t evict_over_choose(const struct cluster *c, const struct pass *p, int64_t now_ms, struct arena *arena, struct eviction **chosen) {
    struct evictions s = {.c = c, .p = p, .arena = arena, .now_ms = now_ms};
    int deepest = -1;
    for (int32_t q = 0; q < c->queue_count; q++)
        if (c->queues[q].evicting && depth_of(c, q) > deepest)
            deepest = depth_of(c, q);
    if (deepest >= 0)
        s.items = arena_array(arena, (size_t)c->index.live.count, sizeof *s.items);
    for (int depth = deepest; depth >= 0; depth--)   /* what leaves a child leaves its parent too */
        for (int32_t q = 0; q < c->queue_count; q++)
            for (int32_t type = c->gpu_type_count - 1; type >= 0 && c->queues[q].evicting && depth_of(c, q) == depth; type--)
                bring_down(&s, q, type);
    *chosen = s.items;
    return s.count;
}

static int64_t evicted_of(const struct eviction *chosen, int32_t count, int32_t queue) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < count; i++)
        gpus += chosen[i].queue == queue ? placement_gpus(&chosen[i].job->placement) : 0;
    return gpus;
}

void evict_over(struct pass *p) {
    struct eviction *chosen;
    int32_t count = evict_over_choose(p->c, p, p->now_ms, p->arena, &chosen);
    for (int32_t i = 0; i < count; i++) {
        const struct job *j = chosen[i].job;
        const struct queue *q = &p->c->queues[chosen[i].queue];
        struct event *e = plan_stop(p, j, STOP_PREEMPTED, p->now_ms + j->grace_ms, 0);
        plan_tell(e, &(struct plan_account){"quota", 0, evicted_of(chosen, count, chosen[i].queue)});
        plan_text(p, e,
                  "evict: an admin set a limit of queue %s below the %lld GPUs that it uses; this is one of the fewest jobs, and the "
                  "cheapest, that bring it down", q->name, (long long)q->gpus_used);
    }
}
