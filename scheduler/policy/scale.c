#include "scheduler/policy/scale.h"

#include <stdlib.h>

#include "common/job_spec.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/place.h"

static int64_t size_below(const struct demand *d, int64_t gpus) { return job_size_at_most(d->gpus, d->gpus_min, d->nodes, gpus - 1); }

int64_t scale_most(const struct pass *p, const struct demand *d) {
    int64_t gpus = d->gpus;
    while (gpus > d->gpus_min && !share_admits(&p->room, d->queue, gpus, d->preemptible))
        gpus = size_below(d, gpus);
    return gpus;
}

/* ---- who may grow ---- */

static int64_t least_run_ms(const struct pass *p, const struct runner *k) {
    return p->c->index.min_runtimes ? queue_min_runtime(p->c, k->queue, k->queue) : QUEUE_MIN_RUNTIME_MS;
}

/* By its estimate or its limit, it will be over before it would have run for its least time once more. */
static bool is_nearly_done(const struct pass *p, const struct runner *k) {
    int64_t run_ms = job_expected_ms(k->job);
    return run_ms && k->ran_ms < run_ms && run_ms - k->ran_ms < least_run_ms(p, k);
}

static bool is_candidate(const struct pass *p, const struct runner *k) {
    return k->gpus < k->job->gpus && k->preemptible && !k->going && !is_nearly_done(p, k);
}

static int64_t wait_ms(const struct pass *p, const struct runner *k) {
    int64_t ran_ms = k->ran_ms > 0 ? k->ran_ms : 0, least_ms = least_run_ms(p, k);
    return ran_ms < least_ms ? least_ms - ran_ms : 0;
}

static bool has_saved(const struct runner *k) { return k->fresh && k->job->start_ms >= 0 && k->job->checkpoint_ms > k->job->start_ms; }

bool scale_may_grow(struct pass *p) {
    bool may = false;
    for (int32_t i = 0; i < p->standings.count && p->c->index.small_runs && room_index(&p->room)->gpus; i++) {
        const struct runner *k = &p->standings.runners[i];
        if (!is_candidate(p, k))
            continue;
        int64_t after_ms = wait_ms(p, k);
        if (after_ms && p->now_ms + after_ms < p->look_ms)
            p->look_ms = p->now_ms + after_ms;
        p->c->index.priced |= !has_saved(k);   /* then its next checkpoint is news */
        may |= !after_ms && has_saved(k);
    }
    return may;
}

/* ---- growth ---- */

/* Who has the smallest part of what he asked for; then who has run longest. */
static int by_part(const void *a, const void *b) {
    const struct runner *x = *(const struct runner *const *)a, *y = *(const struct runner *const *)b;
    int64_t left = (int64_t)x->gpus * y->job->gpus, right = (int64_t)y->gpus * x->job->gpus;
    if (left != right)
        return left < right ? -1 : 1;
    return x->job->lease < y->job->lease ? -1 : x->job->lease > y->job->lease;
}

/* On its own GPUs and idle ones. */
static bool find_place(struct pass *p, const struct runner *k, struct placement *where) {
    size_t mark = room_mark(&p->room);
    struct demand d = job_demand(p->c, k->job);
    room_give(&p->room, k->job);
    d.gpus_min = k->gpus + 1;
    d.compact = true;
    d.barred = runner_barred(&p->standings, k);
    bool found = place_largest(&p->room, &d, scale_most(p, &d), where) &&
                 share_admits(&p->room, d.queue, placement_gpus(where), d.preemptible);
    room_rollback(&p->room, mark);
    return found;
}

static void grow(struct pass *p, struct runner *k) {
    struct placement where;
    int64_t idle = room_index(&p->room)->gpus;
    if (!find_place(p, k, &where))
        return;
    struct event *e = plan_stop(p, k->job, STOP_RESIZED, p->now_ms + k->job->grace_ms, 0);
    plan_tell(e, &(struct plan_account){.rule = "grow"});
    plan_text(p, e,
              "grow: %lld GPUs are idle and nobody waits who could use them; job %s, which asked for %d to %d, goes on with %d instead "
              "of %d",
              (long long)idle, job_name(p->c, k->job->id).text, k->job->gpus_min, k->job->gpus, placement_gpus(&where), k->gpus);
    plan_reserve(p, k->job, &where, KEPT_AS_SEAT, p->now_ms);
    standings_stop(&p->standings, (int32_t)(k - p->standings.runners));
}

void scale_grow(struct pass *p) {
    struct runner **growing = arena_array(p->arena, (size_t)p->standings.count, sizeof *growing);
    size_t count = 0;
    for (int32_t i = 0; i < p->standings.count; i++) {
        struct runner *k = &p->standings.runners[i];
        if (is_candidate(p, k) && !wait_ms(p, k) && has_saved(k))
            growing[count++] = k;
    }
    qsort(growing, count, sizeof *growing, by_part);
    ahead_close(p);
    for (size_t i = 0; i < count && room_index(&p->room)->gpus; i++)
        grow(p, growing[i]);
}
