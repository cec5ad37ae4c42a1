#include "scheduler/policy/evict_over.h"

#include <stdlib.h>

#include "common/job_spec.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/scale.h"
#include "scheduler/policy/standing.h"

enum { SWAP_PASSES = 16 };

/* `frees`: what choosing it brings; of an elastic one that is to shrink, what it can spare. */
struct candidate { const struct job *job; int64_t price, holds, spare, frees; bool taken; };
struct choice { struct candidate *items; int32_t count; };

/* GPUs of a type; of all types: 0. */
static int64_t gpus_of(const struct cluster *c, const struct placement *p, int32_t type) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        if (t->state != TASK_ENDED && (!type || c->shapes[c->nodes[t->node].shape].gpu_type == type))
            gpus += __builtin_popcount(t->gpus);
    }
    return gpus;
}

/* The most GPUs first, so that the fewest jobs suffice; then the cheapest; then the youngest. */
static int by_size(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->frees != y->frees)
        return x->frees > y->frees ? -1 : 1;
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
            if (!other->taken && given->frees - other->frees <= *spare && other->price < (best ? best->price : given->price))
                best = other;
        }
        if (!best)
            continue;
        *spare -= given->frees - best->frees;
        given->taken = false;
        best->taken = changed = true;
    }
    return changed;
}

/* What is left of the excess: nothing, or less than that where more than enough is freed. */
static int64_t choose(struct choice *v, int64_t excess) {
    if (v->count)
        qsort(v->items, (size_t)v->count, sizeof *v->items, by_size);
    for (int32_t i = 0; i < v->count && excess > 0; i++) {
        v->items[i].taken = true;
        excess -= v->items[i].frees;
    }
    int64_t spare = -excess;
    for (int pass = 0; pass < SWAP_PASSES && spare >= 0 && cheapen(v, &spare); pass++)
        ;
    return -spare;
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

/* What it leaves by what is decided already; -1: it stays. What one gets that grows is not charged to others. */
static int64_t leaves(const struct evictions *s, const struct job *j, int64_t gpus, int32_t type) {
    const struct reservation *seat = j->state == JOB_STOPPING ? cluster_reservation(s->c, j->id) : NULL;
    int64_t kept = seat ? gpus_of(s->c, &seat->placement, type) : 0;
    for (int32_t i = 0; i < s->count; i++)
        if (s->items[i].job == j)
            return s->items[i].most < gpus ? gpus - s->items[i].most : 0;
    for (size_t i = 0; s->p && i < s->p->plan->count; i++)
        if (s->p->plan->decisions[i].type == EVENT_JOB_STOP && s->p->plan->decisions[i].job == j->id)
            return gpus;
    return j->state != JOB_STOPPING ? -1 : kept < gpus ? gpus - kept : 0;
}

/* Those that may be stopped. The excess: what remains of it when those have left that leave anyway. */
static struct choice find_candidates(const struct evictions *s, int32_t queue, int32_t type, int64_t *excess) {
    const struct job_list *live = &s->c->index.live;
    struct choice all = {.items = arena_array(s->arena, (size_t)live->count, sizeof *all.items)};
    for (int32_t i = 0; i < live->count; i++) {
        const struct job *j = live->items[i];
        int64_t holds = queue_is_within(s->c, j->queue, queue) ? gpus_of(s->c, &j->placement, type) : 0;
        int64_t leaving = leaves(s, j, holds, type), more = placement_gpus(&j->placement) - j->gpus_min;
        if (holds && leaving >= 0)
            *excess -= leaving;
        else if (holds && j->preemptible && (j->state == JOB_RUNNING || j->state == JOB_STARTING))
            all.items[all.count++] = (struct candidate){.job = j, .price = job_price(j, s->now_ms), .holds = holds,
                                                        .spare = more < holds ? more : holds};
    }
    return all;
}

static struct choice choice_of(const struct evictions *s, const struct choice *all, bool shrinking) {
    struct choice some = {.items = arena_array(s->arena, (size_t)all->count, sizeof *some.items)};
    for (int32_t i = 0; i < all->count; i++) {
        struct candidate *k = &some.items[some.count];
        *k = all->items[i];
        k->frees = shrinking ? k->spare : k->holds - k->spare;
        some.count += k->frees > 0;
    }
    return some;
}

static bool is_chosen(const struct choice *v, const struct job *j) {
    for (int32_t i = 0; i < v->count; i++)
        if (v->items[i].job == j)
            return v->items[i].taken;
    return false;
}

/* Each goes on with as much as the others leave to it; who can keep all is not stopped. */
static void shrink(struct evictions *s, const struct choice *shrinking, const struct choice *evicted, int64_t enough, int32_t queue) {
    for (int32_t i = shrinking->count - 1; i >= 0; i--) {
        const struct candidate *k = &shrinking->items[i];
        int32_t gpus = placement_gpus(&k->job->placement);
        if (!k->taken || is_chosen(evicted, k->job))
            continue;
        int64_t most = k->spare <= enough ? gpus
                       : job_size_at_most(k->job->gpus, k->job->gpus_min, k->job->nodes, gpus - (k->spare - enough));
        enough -= k->spare - (gpus - most);
        if (most < gpus)
            s->items[s->count++] = (struct eviction){.job = k->job, .queue = queue, .most = (int32_t)most};
    }
}

/* Adds what brings the queue down to its limit of one type (0: of all types together): what its elastic jobs can spare, and where that is
 * not enough, the fewest others. */
static void bring_down(struct evictions *s, int32_t queue, int32_t type) {
    int64_t excess = queue_over(&s->c->queues[queue], type);
    struct choice all = find_candidates(s, queue, type, &excess), evicted = {0};
    if (excess <= 0)
        return;
    struct choice shrinking = choice_of(s, &all, true);
    int64_t left = choose(&shrinking, excess);
    if (left > 0) {
        evicted = choice_of(s, &all, false);
        left = choose(&evicted, left);
    }
    for (int32_t i = 0; i < evicted.count; i++)
        if (evicted.items[i].taken)
            s->items[s->count++] = (struct eviction){.job = evicted.items[i].job, .queue = queue};
    shrink(s, &shrinking, &evicted, -left, queue);
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

/* ---- where those who shrink go on ---- */

static bool find_seat(struct pass *p, const struct eviction *e, struct placement *where) {
    struct demand d = job_demand(p->c, e->job);
    int64_t most = scale_most(p, &d);
    d.compact = true;
    return place_largest(&p->room, &d, most < e->most ? most : e->most, where) &&
           share_admits(&p->room, d.queue, placement_gpus(where), d.preemptible);
}

/* With all of them gone. Who has none is evicted. */
static struct placement *find_seats(struct pass *p, struct eviction *chosen, int32_t count) {
    struct placement *seats = arena_array(p->arena, (size_t)count, sizeof *seats);
    size_t mark = room_mark(&p->room);
    for (int32_t i = 0; i < count; i++)
        room_give(&p->room, chosen[i].job);
    for (int32_t i = 0; i < count; i++) {
        if (chosen[i].most && find_seat(p, &chosen[i], &seats[i]))
            room_keep(&p->room, chosen[i].job, &seats[i]);
        else
            seats[i] = (struct placement){0};
    }
    room_rollback(&p->room, mark);
    return seats;
}

static int64_t taken_of(const struct eviction *chosen, const struct placement *seats, int32_t count, int32_t queue) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < count; i++)
        gpus += chosen[i].queue == queue ? placement_gpus(&chosen[i].job->placement) - placement_gpus(&seats[i]) : 0;
    return gpus;
}

static void stop(struct pass *p, const struct eviction *of, const struct placement *seat, int64_t taken) {
    const struct job *j = of->job;
    const struct queue *q = &p->c->queues[of->queue];
    struct event *e = plan_stop(p, j, seat->task_count ? STOP_RESIZED : STOP_PREEMPTED, p->now_ms + j->grace_ms, 0);
    plan_tell(e, &(struct plan_account){"quota", 0, taken});
    if (seat->task_count)
        plan_text(p, e,
                  "shrink: an admin set a limit of queue %s below the %lld GPUs that it uses; this job can spare some, and goes on with "
                  "%d of its %d", q->name, (long long)q->gpus_used, placement_gpus(seat), placement_gpus(&j->placement));
    else
        plan_text(p, e,
                  "evict: an admin set a limit of queue %s below the %lld GPUs that it uses; this is one of the fewest jobs, and the "
                  "cheapest, that bring it down", q->name, (long long)q->gpus_used);
    if (seat->task_count)
        plan_reserve(p, j, seat, KEPT_AS_SEAT, p->now_ms);
}

void evict_over(struct pass *p) {
    struct eviction *chosen;
    int32_t count = evict_over_choose(p->c, p, p->now_ms, p->arena, &chosen);
    const struct placement *seats = count ? find_seats(p, chosen, count) : NULL;
    for (int32_t i = 0; i < count; i++)
        stop(p, &chosen[i], &seats[i], taken_of(chosen, seats, count, chosen[i].queue));
}
