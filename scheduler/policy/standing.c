#include "scheduler/policy/standing.h"

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
                         .level = job_level(r->attained_gpu_ms + (started ? r->gpus * ran_ms : 0)), .ran_ms = ran_ms,
                         .price = started ? r->gpus * (unsaved_ms + RESTART_MS) : 0, .fresh = unsaved_ms <= FRESH_MS,
                         .next_of_queue = -1};
}

static void link_queues(struct standings *s, int32_t queue_count) {
    for (int32_t q = 0; q < queue_count; q++)
        s->first_of_queue[q] = -1;
    for (int fixed = 0; fixed <= 1; fixed++)   /* those come to stand first */
        for (int32_t i = s->count - 1; i >= 0; i--) {
            int32_t *first = &s->first_of_queue[s->runners[i].queue];
            if (s->runners[i].fixed != fixed)
                continue;
            s->runners[i].next_of_queue = *first;
            *first = i;
        }
}

/* Counts the tasks of each node, then puts them where their node's begin. */
void standings_link_nodes(struct standings *s, int32_t node_count, struct arena *arena) {
    int32_t sum = 0;
    if (s->node_tasks)
        return;
    s->node_tasks = arena_array(arena, (size_t)node_count + 2, sizeof *s->node_tasks);
    for (int32_t i = 0; i < s->count; i++)
        for (int32_t k = 0; k < s->runners[i].job->placement.task_count; k++)
            if (s->runners[i].job->placement.tasks[k].state != TASK_ENDED)
                s->node_tasks[s->runners[i].job->placement.tasks[k].node + 2]++;
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

void standings_open(struct standings *s, const struct cluster *c, const struct shares *shares, int64_t now_ms, struct arena *arena) {
    int32_t count = c->index.run_count;
    *s = (struct standings){.shares = shares,
                            .min_runtime_ms = c->index.min_runtime_ms,
                            .count = count,
                            .runners = arena_array(arena, (size_t)count, sizeof *s->runners),
                            .first_of_queue = arena_array(arena, (size_t)c->queue_count, sizeof *s->first_of_queue),
                            .offers = arena_array(arena, (size_t)c->queue_count, sizeof *s->offers),
                            .versions = arena_array(arena, (size_t)c->queue_count, sizeof *s->versions),
                            .in_use = arena_array(arena, (size_t)c->queue_count, sizeof *s->in_use),
                            .all_on_guarantee = arena_array(arena, (size_t)c->queue_count, sizeof *s->all_on_guarantee),
                            .promised = arena_array(arena, (size_t)c->queue_count, sizeof *s->promised),
                            .packed = arena_array(arena, (size_t)c->queue_count, sizeof *s->packed),
                            .packed_fixed = arena_array(arena, (size_t)c->queue_count, sizeof *s->packed_fixed)};
    for (int32_t i = 0; i < count; i++) {
        struct runner *k = &s->runners[i];
        runner_fill(k, &c->index.runs[i], now_ms);
        k->lends = k->gpus > k->gpus_min && c->queues[k->queue].gpus_used > share_guarantee(c, k->queue);
        s->going_gpus += k->going ? k->gpus : 0;
    }
    link_queues(s, c->queue_count);
    for (int32_t i = 0; i < c->reservation_count; i++) {
        const struct reservation *r = &c->reservations[i];
        const struct job *j = cluster_job(c, r->job);
        if (r->kind != KEPT_AHEAD && (j->state == JOB_PENDING || job_is_elastic(j)))
            packing_add(&s->promised[j->queue], j->gpus_min, shares->node_size, 1);
    }
    for (int32_t q = 0; q < c->queue_count; q++)
        standings_update(s, q);
}

static bool is_within(const struct packing *p, int64_t guaranteed, int32_t node_size) {
    return p->gpus <= guaranteed && packing_fits(p, guaranteed, node_size);
}

/* Does the guarantee still hold all of the queue's, with these? Then they stand on it too. */
static bool stands_on_guarantee(struct packing *p, const struct packing *more, int64_t guaranteed, int32_t node_size) {
    struct packing with = *p;
    with.gpus += more->gpus;
    with.whole += more->whole;
    for (int size = 1; size < node_size; size++)
        with.pieces[size] += more->pieces[size];
    if (!is_within(&with, guaranteed, node_size))
        return false;
    *p = with;
    return true;
}

/* What a job holds beyond its least is lent to it by whoever could use it: it stands on nothing. */
static int32_t least_size(const struct runner *k) { return k->gpus < k->gpus_min ? k->gpus : k->gpus_min; }

/* The queue's runners from the first on, as many as its guarantee holds: how many of the list they are. A check costs more than going on,
 * so many are taken at once, and where those are too many, fewer. */
static int32_t stand_on_guarantee(struct standings *s, int32_t queue) {
    int64_t guaranteed = s->shares->guaranteed[queue];
    int32_t count = 0, at_once = 64;
    for (int32_t first = s->first_of_queue[queue]; first >= 0 && at_once;) {
        struct packing with = s->packed[queue];
        int32_t i = first, taken = 0;
        for (; i >= 0 && taken < at_once; i = s->runners[i].next_of_queue, taken++)
            if (!s->runners[i].going)
                packing_add(&with, least_size(&s->runners[i]), s->shares->node_size, 1);
        if (is_within(&with, guaranteed, s->shares->node_size)) {
            s->packed[queue] = with;
            count += taken;
            first = i;
        } else {
            at_once /= 4;
        }
    }
    return count;
}

static void add_offer(const struct standings *s, struct offer *o, const struct runner *k) {
    if (!k->preemptible)
        return;
    if (k->standing.band != BAND_GUARANTEED)
        o->unguaranteed += k->gpus;
    o->spare += k->gpus - least_size(k);
    if (k->ran_ms < s->min_runtime_ms)
        return;
    o->all[k->level] += k->gpus;
    if (k->standing.band == BAND_BORROWED)
        o->borrowed[k->level] += k->gpus;
}

static void sum_offers(struct offer *sum, const struct offer *o, int sign) {
    sum->unguaranteed += sign * o->unguaranteed;
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

void standings_update(struct standings *s, int32_t queue) {
    int64_t guaranteed = s->shares->guaranteed[queue], entitled = s->shares->entitled[queue], sum = 0;
    s->versions[queue]++;
    s->packed[queue] = s->packed_fixed[queue] = (struct packing){0};
    sum_offers(&s->offered, &s->offers[queue], -1);
    s->offers[queue] = (struct offer){0};
    int32_t on_guarantee = stand_on_guarantee(s, queue), n = 0;
    bool all = true;
    for (int32_t i = s->first_of_queue[queue]; i >= 0; i = s->runners[i].next_of_queue, n++) {
        struct runner *k = &s->runners[i];
        if (k->going)
            continue;
        sum += least_size(k);
        all = n < on_guarantee;
        k->standing.band = !k->gpus ? BAND_BORROWED : all ? BAND_GUARANTEED : sum <= entitled ? BAND_ENTITLED : BAND_BORROWED;
        k->standing.level = k->level;
        if (k->fixed)
            packing_add(&s->packed_fixed[queue], least_size(k), s->shares->node_size, 1);
        add_offer(s, &s->offers[queue], k);
    }
    sum_offers(&s->offered, &s->offers[queue], 1);
    s->in_use[queue] = sum + s->promised[queue].gpus;
    s->all_on_guarantee[queue] =
        all && stands_on_guarantee(&s->packed[queue], &s->promised[queue], guaranteed, s->shares->node_size);
}

void standings_promise(struct standings *s, int32_t queue, int32_t gpus) {
    struct packing own = {0};
    packing_add(&own, gpus, s->shares->node_size, 1);
    packing_add(&s->promised[queue], gpus, s->shares->node_size, 1);
    s->versions[queue]++;
    s->in_use[queue] += gpus;
    s->all_on_guarantee[queue] = s->all_on_guarantee[queue] && stands_on_guarantee(&s->packed[queue], &own, s->shares->guaranteed[queue],
                                                                                   s->shares->node_size);
}

int64_t standings_guarantee_left(const struct standings *s, int32_t queue, bool fixed) {
    if (!fixed && !s->all_on_guarantee[queue])
        return 0;
    return s->shares->guaranteed[queue] - (fixed ? s->packed_fixed[queue].gpus : s->packed[queue].gpus);
}

struct standing standing_of(const struct standings *s, const struct demand *d) {
    if (d->gpus_min && standings_guarantee_left(s, d->queue, !d->preemptible) >= d->gpus_min) {
        struct packing packed = d->preemptible ? s->packed[d->queue] : s->packed_fixed[d->queue], own = {0};
        packing_add(&own, d->gpus_min, s->shares->node_size, 1);
        if (stands_on_guarantee(&packed, &own, s->shares->guaranteed[d->queue], s->shares->node_size))
            return (struct standing){BAND_GUARANTEED, d->level};
    }
    return (struct standing){s->in_use[d->queue] + d->gpus_min <= s->shares->entitled[d->queue] ? BAND_ENTITLED : BAND_BORROWED, d->level};
}
