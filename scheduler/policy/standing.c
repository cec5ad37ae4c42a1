#include "scheduler/policy/standing.h"

#include <string.h>

#include "scheduler/cluster/queue.h"

int64_t job_price(const struct job *j, int64_t now_ms) {
    int64_t since = j->checkpoint_ms > j->start_ms ? j->checkpoint_ms : j->start_ms;
    return j->start_ms < 0 ? 0 : placement_gpus(&j->placement) * (now_ms - since + RESTART_MS);
}

static void runner_fill(struct runner *k, const struct live_brief *r, int64_t now_ms) {
    bool started = r->start_ms >= 0;
    int64_t ran_ms = started ? now_ms - r->start_ms : -1, unsaved_ms = started ? now_ms - r->saved_ms : 0;
    *k = (struct runner){.job = r->job, .queue = r->queue, .priority = r->priority, .gpus = r->gpus, .gpus_min = r->gpus_min,
                         .preemptible = r->preemptible && !r->unknown, .fixed = !r->preemptible, .going = r->stopping,
                         .types = r->gpu_types, .level = job_level(r->attained_gpu_ms + (started ? r->gpus * ran_ms : 0)), .ran_ms = ran_ms,
                         .price = started ? r->gpus * (unsaved_ms + RESTART_MS) : 0, .fresh = unsaved_ms <= FRESH_MS,
                         .standing.band = BAND_BORROWED, .next_of_queue = -1};
}

struct chain { int32_t first, last; };

static void chain_before(struct chain *chain, struct runner *runners, int32_t at) {
    runners[at].next_of_queue = chain->first;
    chain->last = chain->first < 0 ? at : chain->last;
    chain->first = at;
}

/* Those that can't be stopped come to stand first. */
static void link_queues(struct standings *s, int32_t queue_count, struct arena *arena) {
    struct chain (*of)[2] = arena_raw(arena, (size_t)queue_count, sizeof *of);   /* by queue: those, and the others */
    memset(of, -1, (size_t)queue_count * sizeof *of);
    for (int32_t i = s->count - 1; i >= 0; i--)
        chain_before(&of[s->runners[i].queue][!s->runners[i].fixed], s->runners, i);
    for (int32_t q = 0; q < queue_count; q++) {
        s->first_of_queue[q] = of[q][0].first >= 0 ? of[q][0].first : of[q][1].first;
        if (of[q][0].first >= 0)
            s->runners[of[q][0].last].next_of_queue = of[q][1].first;
    }
}

/* Counts the tasks of each node, then puts them where their node's begin. */
void standings_link_nodes(struct standings *s, int32_t node_count, struct arena *arena) {
    int32_t sum = 0;
    if (s->node_tasks)
        return;
    s->node_tasks = arena_array(arena, (size_t)node_count + 2, sizeof *s->node_tasks);
    for (int32_t i = 0; i < s->count; i++) {
        const struct placement *p = &s->runners[i].job->placement;
        s->runners[i].nodes = p->task_count;
        for (int32_t k = 0; k < p->task_count; k++)
            if (p->tasks[k].state != TASK_ENDED)
                s->node_tasks[p->tasks[k].node + 2]++;
    }
    for (int32_t n = 2; n < node_count + 2; n++)
        sum = s->node_tasks[n] += sum;
    s->tasks = arena_array(arena, (size_t)sum, sizeof *s->tasks);
    for (int32_t i = 0; i < s->count; i++)
        for (int32_t k = 0; k < s->runners[i].job->placement.task_count; k++) {
            const struct task *t = &s->runners[i].job->placement.tasks[k];
            if (t->state != TASK_ENDED)
                s->tasks[s->node_tasks[t->node + 1]++] = (struct runner_task){i, t};
        }
}

/* The types that are divided by themselves, and 0. */
static uint32_t grounds(const struct standings *s) { return s->shares->types | 1; }

static struct footing *footing(const struct standings *s, int32_t type, int32_t queue) { return &s->on[type][queue]; }

static int32_t node_size(const struct standings *s, int32_t type) { return s->shares->of[type].node_size; }

/* An elastic job's queue, which uses so many, uses more than is guaranteed to it, of all types or of that of the job's GPUs. */
static bool lends(const struct standings *s, const struct runner *k, int64_t used, int64_t used_of_type) {
    const struct queue *q = &s->c->queues[k->queue];
    if (k->gpus <= k->gpus_min)
        return false;
    int64_t guaranteed = share_guarantee(s->c, k->queue), of_types = 0;
    for (uint32_t left = s->shares->types; left; left &= left - 1)
        of_types += queue_quota_of_type(q, __builtin_ctz(left)).guarantee;
    return used > guaranteed || (k->type && used_of_type > queue_quota_of_type(q, k->type).guarantee + guaranteed - of_types);
}

static bool lends_now(const struct standings *s, const struct runner *k) {
    const struct queue *q = &s->c->queues[k->queue];
    return lends(s, k, q->gpus_used, q->used_by_type[k->type]);
}

bool standings_lend_more(const struct standings *s, const struct room *r) {
    for (int32_t i = 0; i < s->count && s->c->index.lent_runs; i++) {
        const struct runner *k = &s->runners[i];
        if (k->preemptible && !k->going && !k->lends &&
            lends(s, k, r->queue_held[k->queue], k->type ? r->type_held[k->queue][k->type] : 0))
            return true;
    }
    return false;
}

static void take_promises(struct standings *s) {
    for (int32_t i = 0; i < s->c->reservation_count; i++) {
        const struct reservation *r = &s->c->reservations[i];
        const struct job *j = cluster_job(s->c, r->job);
        int32_t type = share_type_of(s->shares, s->c, &r->placement);
        if (r->kind != KEPT_AHEAD && (j->state == JOB_PENDING || job_is_elastic(j)))
            packing_add(&footing(s, type, j->queue)->promised, j->gpus_min, node_size(s, type), 1);
    }
}

/* As share_type_of says of its placement. */
static int32_t type_of(const struct shares *shares, const struct runner *k) {
    bool is_one = k->types && !(k->types & (k->types - 1));
    return is_one && k->types & shares->types ? __builtin_ctz(k->types) : 0;
}

void standings_open(struct standings *s, const struct cluster *c, const struct shares *shares, int64_t now_ms, struct arena *arena) {
    int32_t count = c->index.run_count;
    *s = (struct standings){.c = c,
                            .shares = shares,
                            .min_runtime_ms = c->index.min_runtime_ms,
                            .count = count,
                            .now_ms = now_ms,
                            .runners = arena_raw(arena, (size_t)count, sizeof *s->runners),
                            .going = arena_raw(arena, (size_t)count, sizeof *s->going),
                            .first_of_queue = arena_array(arena, (size_t)c->queue_count, sizeof *s->first_of_queue),
                            .offers = arena_array(arena, (size_t)c->queue_count, sizeof *s->offers),
                            .versions = arena_array(arena, (size_t)c->queue_count, sizeof *s->versions)};
    for (uint32_t left = grounds(s); left; left &= left - 1)
        s->on[__builtin_ctz(left)] = arena_array(arena, (size_t)c->queue_count, sizeof **s->on);
    for (int32_t i = 0; i < count; i++) {
        struct runner *k = &s->runners[i];
        runner_fill(k, &c->index.runs[i], now_ms);
        k->type = type_of(shares, k);
        k->lends = lends_now(s, k);
        if (k->going) {
            s->going[s->going_count++] = i;
            s->going_gpus += k->gpus;
        }
    }
    link_queues(s, c->queue_count, arena);
    take_promises(s);
    for (int32_t q = 0; q < c->queue_count; q++)
        standings_update(s, q);
}

/* Does a queue's guarantee of that type hold them? */
static bool is_guaranteed(const struct standings *s, int32_t type, int32_t queue, const struct packing *p) {
    const struct share *of = &s->shares->of[type];
    return p->gpus <= of->guaranteed[queue] && packing_fits(p, of->partition[queue], of->node_size);
}

/* More of nodes of a size that may be less. */
static void packing_sum(struct packing *p, const struct packing *more, int32_t more_size, int32_t node_size) {
    p->gpus += more->gpus;
    *(more_size == node_size ? &p->whole : &p->pieces[more_size]) += more->whole;
    for (int size = 1; size < more_size; size++)
        p->pieces[size] += more->pieces[size];
}

/* Does the guarantee still hold all of the queue's, with these? Then they stand on it too. */
static bool stands_on_guarantee(const struct standings *s, int32_t type, int32_t queue, struct packing *p, const struct packing *more) {
    struct packing with = *p;
    packing_sum(&with, more, node_size(s, type), node_size(s, type));
    if (!is_guaranteed(s, type, queue, &with))
        return false;
    *p = with;
    return true;
}

/* What a job holds beyond its least is lent to it by whoever could use it: it stands on nothing. */
static int32_t least_size(const struct runner *k) { return k->gpus < k->gpus_min ? k->gpus : k->gpus_min; }

/* Is it one of those who may stand on that guarantee? Those on a guarantee of their type need none of any. */
static bool is_for(const struct runner *k, int32_t type) {
    return !k->going && (type ? k->type == type : k->standing.band != BAND_OF_TYPE);
}

/* The queue's runners from the first on, as many as its guarantee holds: the one with whom that ends; -1: all do. A check costs more than
 * going on, so many are taken at once, and where those are too many, fewer. */
static int32_t stand_on(struct standings *s, int32_t type, int32_t queue) {
    struct packing *stands = &footing(s, type, queue)->stands;
    int32_t first = s->first_of_queue[queue], at_once = 64;
    while (first >= 0 && at_once) {
        struct packing with = *stands;
        int32_t i = first, taken = 0;
        for (; i >= 0 && taken < at_once; i = s->runners[i].next_of_queue, taken++)
            if (is_for(&s->runners[i], type))
                packing_add(&with, least_size(&s->runners[i]), node_size(s, type), 1);
        if (is_guaranteed(s, type, queue, &with)) {
            *stands = with;
            first = i;
        } else {
            at_once /= 4;
        }
    }
    return first;
}

/* Those of a queue that stand on its guarantee of a type; the others of that type stand on none, so far. */
static void stand_on_type(struct standings *s, int32_t type, int32_t queue) {
    struct footing *f = footing(s, type, queue);
    int32_t end = stand_on(s, type, queue);
    bool stands = true;
    for (int32_t i = s->first_of_queue[queue]; i >= 0; i = s->runners[i].next_of_queue) {
        struct runner *k = &s->runners[i];
        stands &= i != end;
        if (k->type != type || k->going)
            continue;
        k->standing = (struct standing){stands ? BAND_OF_TYPE : BAND_BORROWED, k->level, stands ? type : 0};
        f->all &= stands;
        if (stands && k->fixed)
            packing_add(&f->fixed, least_size(k), node_size(s, type), 1);
    }
}

static void add_offer(const struct standings *s, struct offer *o, const struct runner *k) {
    if (!k->preemptible)
        return;
    if (!band_is_guaranteed(k->standing.band))
        o->unguaranteed += k->gpus;
    if (k->standing.band == BAND_GUARANTEED)
        o->of_any_type += k->gpus;
    o->spare += k->gpus - least_size(k);
    if (k->ran_ms < s->min_runtime_ms)
        return;
    o->all[k->level] += k->gpus;
    if (k->standing.band >= BAND_OVER_TYPE)
        o->borrowed[k->level] += k->gpus;
}

static void sum_offers(struct offer *sum, const struct offer *o, int sign) {
    sum->unguaranteed += sign * o->unguaranteed;
    sum->of_any_type += sign * o->of_any_type;
    sum->spare += sign * o->spare;
    for (int level = 0; level < JOB_LEVELS; level++) {
        sum->borrowed[level] += sign * o->borrowed[level];
        sum->all[level] += sign * o->all[level];
    }
}

struct offer standings_offered_within(const struct standings *s, const struct cluster *c, int32_t queue) {
    struct offer within = {0};
    for (int32_t q = 0; q < c->queue_count; q++)
        if (queue_is_within(c, q, queue))
            sum_offers(&within, &s->offers[q], 1);
    return within;
}

/* On no guarantee: with so much in use of all types, and of its own, up to this one. */
static enum band band_beyond(const struct standings *s, int32_t queue, int32_t type, int64_t all, int64_t of_type) {
    if (all > s->shares->of[0].entitled[queue])
        return BAND_BORROWED;
    return type && of_type > s->shares->of[type].entitled[queue] ? BAND_OVER_TYPE : BAND_ENTITLED;
}

/* One who stands on no guarantee of his type; what his queue has in use includes him. */
static enum band band_of(const struct standings *s, const struct runner *k, bool stands) {
    if (!k->gpus)
        return BAND_BORROWED;
    return stands ? BAND_GUARANTEED
                  : band_beyond(s, k->queue, k->type, footing(s, 0, k->queue)->in_use, footing(s, k->type, k->queue)->in_use);
}

/* Than what is guaranteed to it: of late, as usage fades. */
static bool has_used_less(const struct standings *s, int32_t queue) {
    const struct queue *q = &s->c->queues[queue];
    return usage_at(&q->usage, q->gpus_used, s->now_ms) < usage_of_ever(share_guarantee(s->c, queue));
}

static void stand_on_any(struct standings *s, int32_t queue) {
    struct footing *any = footing(s, 0, queue);
    int32_t end = stand_on(s, 0, queue);
    bool stands = true;
    for (int32_t i = s->first_of_queue[queue]; i >= 0; i = s->runners[i].next_of_queue) {
        struct runner *k = &s->runners[i];
        int32_t gpus = k->going ? 0 : least_size(k);
        stands &= i != end;
        any->in_use += gpus;
        if (k->type)
            footing(s, k->type, queue)->in_use += gpus;
        if (k->going)
            continue;
        if (k->standing.band != BAND_OF_TYPE) {
            k->standing = (struct standing){.band = band_of(s, k, stands), .level = k->level};
            k->is_first = !stands && any->in_use == gpus && has_used_less(s, queue);
            any->all = stands;
            if (k->fixed)
                packing_add(&any->fixed, gpus, node_size(s, 0), 1);
        }
        add_offer(s, &s->offers[queue], k);
    }
}

/* What is promised comes last; what a guarantee of its type does not hold, one of any type may. */
static void stand_promised(struct standings *s, int32_t queue) {
    struct footing *any = footing(s, 0, queue);
    struct packing promised = any->promised;
    any->in_use += promised.gpus;
    for (uint32_t left = s->shares->types; left; left &= left - 1) {
        int32_t t = __builtin_ctz(left);
        struct footing *f = footing(s, t, queue);
        f->in_use += f->promised.gpus;
        any->in_use += f->promised.gpus;
        if (f->all && stands_on_guarantee(s, t, queue, &f->stands, &f->promised))
            continue;
        f->all = false;
        packing_sum(&promised, &f->promised, node_size(s, t), node_size(s, 0));
    }
    any->all = any->all && stands_on_guarantee(s, 0, queue, &any->stands, &promised);
}

void standings_update(struct standings *s, int32_t queue) {
    s->versions[queue]++;
    sum_offers(&s->offered, &s->offers[queue], -1);
    s->offers[queue] = (struct offer){0};
    for (uint32_t left = grounds(s); left; left &= left - 1) {
        struct footing *f = footing(s, __builtin_ctz(left), queue);
        *f = (struct footing){.promised = f->promised, .all = true};
    }
    for (uint32_t left = s->shares->types; left; left &= left - 1)
        stand_on_type(s, __builtin_ctz(left), queue);
    stand_on_any(s, queue);
    sum_offers(&s->offered, &s->offers[queue], 1);
    stand_promised(s, queue);
}

void standings_stop(struct standings *s, int32_t runner) {
    struct runner *k = &s->runners[runner];
    if (!k->going)
        s->going[s->going_count++] = runner;
    k->going = true;
    standings_update(s, k->queue);
}

void standings_promise(struct standings *s, int32_t queue, int32_t gpus, int32_t type) {
    struct footing *f = footing(s, type, queue), *any = footing(s, 0, queue);
    struct packing own = {0}, own_of_any = {0};
    packing_add(&own, gpus, node_size(s, type), 1);
    packing_add(&own_of_any, gpus, node_size(s, 0), 1);
    packing_add(&f->promised, gpus, node_size(s, type), 1);
    s->versions[queue]++;
    f->in_use += gpus;
    any->in_use += type ? gpus : 0;
    f->all = f->all && stands_on_guarantee(s, type, queue, &f->stands, &own);
    if (type && !f->all)
        any->all = any->all && stands_on_guarantee(s, 0, queue, &any->stands, &own_of_any);
}

/* ---- one that would start ---- */

static int64_t left_on(const struct standings *s, int32_t type, int32_t queue, bool fixed) {
    const struct footing *f = footing(s, type, queue);
    if (!fixed && !f->all)
        return 0;
    return s->shares->of[type].guaranteed[queue] - (fixed ? f->fixed.gpus : f->stands.gpus);
}

int64_t standings_guarantee_left(const struct standings *s, int32_t queue, bool fixed) {
    int64_t left = 0;
    for (uint32_t types = grounds(s); types; types &= types - 1)
        left += left_on(s, __builtin_ctz(types), queue, fixed);
    return left;
}

static bool would_stand_on(const struct standings *s, const struct demand *d, int32_t type) {
    if (!d->gpus_min || left_on(s, type, d->queue, !d->preemptible) < d->gpus_min)
        return false;
    const struct footing *f = footing(s, type, d->queue);
    struct packing packed = d->preemptible ? f->stands : f->fixed, own = {0};
    packing_add(&own, d->gpus_min, node_size(s, type), 1);
    return stands_on_guarantee(s, type, d->queue, &packed, &own);
}

/* On GPUs of that type; 0: of one that is not divided by itself. */
static struct standing standing_on(const struct standings *s, const struct demand *d, int32_t type) {
    if (type && would_stand_on(s, d, type))
        return (struct standing){BAND_OF_TYPE, d->level, type};
    if (would_stand_on(s, d, 0))
        return (struct standing){BAND_GUARANTEED, d->level, 0};
    int64_t all = footing(s, 0, d->queue)->in_use + d->gpus_min, of_type = footing(s, type, d->queue)->in_use + d->gpus_min;
    return (struct standing){band_beyond(s, d->queue, type, all, of_type), d->level, 0};
}

/* The grounds on which it may be placed: bit t, and bit 0 for types that are not divided by themselves. */
static uint32_t grounds_for(const struct standings *s, const struct demand *d) {
    uint32_t divided = s->shares->types, may = divided ? node_filter_types(s->c, d->filter) & ~d->barred : 0;
    return (may & divided) | (may & ~divided || !may);
}

static struct standing best_or_worst(const struct standings *s, const struct demand *d, bool best) {
    uint32_t left = grounds_for(s, d);
    struct standing found = standing_on(s, d, __builtin_ctz(left));
    for (left &= left - 1; left; left &= left - 1) {
        struct standing other = standing_on(s, d, __builtin_ctz(left));
        if (best ? other.band < found.band : other.band > found.band)
            found = other;
    }
    return found;
}

struct standing standing_of(const struct standings *s, const struct demand *d) { return best_or_worst(s, d, true); }
struct standing standing_anywhere(const struct standings *s, const struct demand *d) { return best_or_worst(s, d, false); }

static uint32_t all_but(const struct standings *s, int32_t type) { return type ? ~(1u << type) : s->shares->types; }

int standing_ways(const struct standings *s, const struct demand *d, uint32_t barred[STANDING_WAYS_MAX]) {
    uint32_t may = grounds_for(s, d);
    int count = 0;
    enum band worst = may & (may - 1) ? standing_anywhere(s, d).band : BAND_OF_TYPE;
    for (enum band band = BAND_OF_TYPE; band < worst; band++)
        for (uint32_t left = may; left; left &= left - 1)
            if (standing_on(s, d, __builtin_ctz(left)).band == band)
                barred[count++] = all_but(s, __builtin_ctz(left));
    barred[count++] = 0;
    return count;
}

bool runner_is_movable(const struct standings *s, const struct runner *k) {
    bool runs = k->preemptible && !k->going && k->ran_ms >= 0;
    return runs && k->fresh && k->gpus > 0 && k->gpus < node_size(s, 0) && k->nodes == 1;
}

uint32_t runner_barred(const struct standings *s, const struct runner *k) { return all_but(s, k->type); }
