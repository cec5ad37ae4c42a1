#include "scheduler/policy/right.h"

#include "scheduler/cluster/queue.h"

enum {
    ONCE_MORE_MS = 60 * 60 * 1000,
    CROWD_TIMES = 3,   /* so many times what is taken has a crowd to ask for: to stop a large gang and to get it back is dear */
};

bool right_is_first(const struct standings *s, const struct demand *d) {
    int64_t guarantee = share_guarantee(s->c, d->queue);
    for (uint32_t left = s->shares->types & ~node_filter_types(s->c, d->filter); left; left &= left - 1)
        guarantee -= queue_quota_of_type(&s->c->queues[d->queue], __builtin_ctz(left)).guarantee;
    return !s->on[0][d->queue].in_use && guarantee > 0;
}

struct taker right_taker(const struct standings *s, const struct job *j, const struct demand *d, int64_t now_ms) {
    return (struct taker){.c = s->c, .job = j, .demand = d, .standing = standing_anywhere(s, d),
                          .waited_ms = now_ms - j->queued_ms, .is_first = right_is_first(s, d)};
}

static bool by_service(const struct taker *t, const struct runner *from, bool strictly) {
    return strictly ? from->level > t->standing.level : from->level >= t->standing.level;
}

/* Both stand on the same ground: what decides is how much service each has had, or how well they fill. */
static enum right among_equals(const struct taker *t, const struct runner *from) {
    if (!from->fresh)
        return RIGHT_NONE;
    if (by_service(t, from, true))
        return RIGHT_ROTATE;
    return from->level == t->standing.level && from->gpus <= right_pack_measure(t) ? RIGHT_PACK : RIGHT_NONE;
}

bool right_may_stop(const struct taker *t, const struct runner *from) {
    if (!t->c->index.min_runtimes)
        return from->ran_ms >= QUEUE_MIN_RUNTIME_MS;
    return from->ran_ms >= queue_min_runtime(t->c, from->queue, t->demand->queue);
}

/* Inside a queue what stands on what does not matter: it is all the queue's. But what is guaranteed is for the borrowers to give. */
static enum right inside_queue(const struct taker *t, const struct runner *from) {
    if (t->demand->policy == QUEUE_POLICY_PRIORITY && from->priority < t->demand->priority)
        return RIGHT_PRIORITY;
    if (t->demand->policy != QUEUE_POLICY_FAIR || band_is_guaranteed(t->standing.band) || from->priority != t->demand->priority)
        return RIGHT_NONE;
    return among_equals(t, from);
}

static enum right between_queues(const struct taker *t, const struct runner *from) {
    if (from->standing.band < BAND_OVER_TYPE || band_is_guaranteed(t->standing.band))
        return RIGHT_NONE;
    if (t->standing.band < from->standing.band)
        return by_service(t, from, false) ? RIGHT_SHARE : RIGHT_NONE;
    return t->standing.band == from->standing.band ? among_equals(t, from) : RIGHT_NONE;
}

/* For a guarantee of a type of GPU, one that holds none of that type is no use. */
static bool may_reclaim(const struct taker *t, const struct runner *from) {
    bool of_another = t->standing.type && from->type && from->type != t->standing.type;
    return band_is_guaranteed(t->standing.band) && from->standing.band > t->standing.band && !of_another;
}

enum right right_over(const struct taker *t, const struct runner *from) {
    bool same_queue = from->queue == t->demand->queue;
    if (!from->preemptible || from->going)
        return RIGHT_NONE;
    if (!same_queue && may_reclaim(t, from))
        return RIGHT_RECLAIM;
    enum right right = same_queue ? inside_queue(t, from) : between_queues(t, from);
    if (!from->gpus && right != RIGHT_PRIORITY)
        return RIGHT_NONE;   /* what the others divide is GPUs */
    bool may_stop = right_may_stop(t, from), spares = from->gpus > from->gpus_min && (same_queue || from->lends);
    if (spares && !same_queue && band_is_guaranteed(t->standing.band))
        return RIGHT_SPARE;   /* at once, as it would reclaim */
    if (!may_stop)
        return right == RIGHT_SHARE && t->is_first ? right : RIGHT_NONE;
    return right == RIGHT_NONE && spares && from->fresh ? RIGHT_SPARE : right;
}

bool right_is_measured(const struct taker *t, enum right right) {
    return right == RIGHT_ROTATE || right == RIGHT_PACK || (right == RIGHT_SHARE && !t->is_first);
}

static int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t right_measure(const struct taker *t, int32_t node_size) {
    int64_t times = 1 + t->waited_ms / ONCE_MORE_MS, gpus = t->demand->gpus_min * times;
    return most_of(gpus, most_of(node_size, t->crowd / CROWD_TIMES));
}

int64_t right_pack_measure(const struct taker *t) { return t->demand->gpus_min / 2; }

int64_t right_bound(const struct taker *t, const struct offer *others, const struct offer *own) {
    bool by_priority = t->demand->policy == QUEUE_POLICY_PRIORITY;
    int64_t gpus = others->spare + own->spare;
    for (int level = by_priority ? 0 : t->standing.level; level < JOB_LEVELS; level++)
        gpus += own->all[level];
    if (t->standing.band == BAND_OF_TYPE)
        gpus += others->of_any_type;
    if (band_is_guaranteed(t->standing.band) || (t->is_first && t->standing.band < BAND_BORROWED))
        return gpus + others->unguaranteed;
    for (int level = t->standing.level; level < JOB_LEVELS; level++)
        gpus += others->borrowed[level];
    return gpus;
}

const char *right_name(enum right right) {
    static const char *const names[] = {"none", "spare", "reclaim", "share", "priority", "rotate", "pack"};
    return names[right];
}
