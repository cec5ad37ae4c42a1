#include "scheduler/policy/ahead.h"

#include <stdlib.h>

#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/array_limit.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/preempt.h"
#include "scheduler/policy/user_limit.h"

#define HOUR_MS INT64_C(3600000)
enum {
    PATIENCE_TIMES = 4,
    TRIES_BY_RUNNERS = 4096,   /* a try goes through all that runs several times: so many runners a turn, but one try at least */
};

/* ---- those that there are ---- */

static bool is_healthy(const struct pass *p, const struct placement *where) {
    for (int32_t i = 0; i < where->task_count; i++)
        if (!p->room.nodes[where->tasks[i].node].usable)
            return false;
    return true;
}

/* What its queue was put below: then it can't start there, whatever is free. */
static bool is_beyond_queue(const struct cluster *c, const struct job *j, int32_t gpus) {
    return gpus > share_limit(c, j->queue) || (!j->preemptible && gpus > share_guarantee(c, j->queue));
}

/* Known moments are over when they have passed; guesses are made anew each hour, as there may be a better place by then. */
static bool is_void(const struct pass *p, const struct reservation *r) {
    int64_t until_ms = r->expected_ms == INT64_MAX ? r->since_ms + HOUR_MS : r->expected_ms + RESTART_MS;
    const struct job *j = cluster_job(p->c, r->job);
    return queue_closed_by(p->c, j->queue) >= 0 || is_beyond_queue(p->c, j, placement_gpus(&r->placement)) ||
           !is_healthy(p, &r->placement) || p->now_ms >= until_ms;
}

/* When its patience is over: an hour after it began to wait, or four times as long as it has run so far. */
static int64_t closing_ms(const struct job *j) {
    int64_t learned_ms = j->gpus ? j->attained_gpu_ms / j->gpus : 0, patience_ms = PATIENCE_TIMES * learned_ms;
    return j->queued_ms + (patience_ms > HOUR_MS ? patience_ms : HOUR_MS);
}

void ahead_open(struct pass *p) {
    p->ahead = arena_array(p->arena, AHEAD_MAX, sizeof *p->ahead);
    p->default_ms = arena_array(p->arena, (size_t)p->c->queue_count, sizeof *p->default_ms);
    for (int32_t q = 0; q < p->c->queue_count; q++)
        p->default_ms[q] = queue_effective(p->c, q).default_time_ms;
    p->ahead_tries = 1 + TRIES_BY_RUNNERS / (1 + p->standings.count);
    for (int32_t i = 0; i < p->c->reservation_count && p->ahead_count < AHEAD_MAX; i++) {
        const struct reservation *r = &p->c->reservations[i];
        const struct job *j = cluster_job(p->c, r->job);
        if (r->kind != KEPT_AHEAD)
            continue;
        if (is_void(p, r)) {
            plan_add(p, EVENT_UNRESERVE, r->job);
            continue;
        }
        struct demand d = job_demand(p->c, j);
        p->ahead[p->ahead_count++] = (struct ahead){.job = r->job, .queue = j->queue, .where = &r->placement, .expected_ms = r->expected_ms,
                                                    .closing_ms = closing_ms(j), .standing = standing_of(&p->standings, &d)};
    }
}

/* ---- for whom they are closed ---- */

/* On better ground: what another queue is guaranteed, or entitled to, is not for this one to wait on. */
static bool stands_better(const struct ahead *a, struct standing standing, int32_t queue) {
    return queue != a->queue && standing.band < a->standing.band;
}

static bool binds(const struct pass *p, const struct ahead *a, const struct demand *d, struct standing standing, int64_t job) {
    if (a->over || a->job == job || stands_better(a, standing, d->queue))
        return false;
    if (a->is_due || d->preemptible)
        return a->is_due;
    return a->expected_ms == INT64_MAX || p->now_ms + (d->estimate_ms ? d->estimate_ms : p->default_ms[d->queue]) > a->expected_ms;
}

void ahead_bind(struct pass *p, const struct demand *d, struct standing standing, int64_t job) {
    p->ahead_keeper = 0;
    for (int32_t i = 0; i < p->ahead_count; i++) {
        struct ahead *a = &p->ahead[i];
        bool blocked = d && binds(p, a, d, standing, job);
        if (blocked != a->blocked)
            room_keep_ahead(&p->room, a->where, blocked);
        a->blocked = blocked;
        if (blocked)
            p->ahead_keeper = a->job;
    }
}

void ahead_close(struct pass *p) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        if (!p->ahead[i].blocked && !p->ahead[i].over) {
            room_keep_ahead(&p->room, p->ahead[i].where, true);
            p->ahead[i].blocked = true;
        }
}

bool ahead_has(const struct pass *p, int64_t job) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        if (p->ahead[i].job == job)
            return true;
    return false;
}

void ahead_over(struct pass *p, int64_t job) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        p->ahead[i].over |= p->ahead[i].job == job;
}

/* ---- calling in loans ---- */

static bool holds_some_of(const struct job *j, const struct placement *where) {
    for (int32_t i = 0; i < where->task_count; i++) {
        const struct task *t = job_task_on(j, where->tasks[i].node);
        if (t && t->state != TASK_ENDED && t->gpus & where->tasks[i].gpus)
            return true;
    }
    return false;
}

/* In the line of a queue: then nobody was passed over. Elements of an array are alike: one that starts passes no other over. */
static bool comes_before(const struct cluster *c, const struct job *j, const struct job *other) {
    if (j->array_id && j->array_id == (other->array_id ? other->array_id : other->id))
        return true;
    enum queue_policy policy = queue_policy(c, j->queue);
    if (policy == QUEUE_POLICY_FIFO || policy == QUEUE_POLICY_STRICT || (policy == QUEUE_POLICY_PRIORITY && j->priority == other->priority))
        return job_place(j) < job_place(other);
    return j->priority > other->priority;
}

static bool is_on_loan(const struct pass *p, const struct ahead *a, const struct runner *k) {
    if (k->queue == a->queue && comes_before(p->c, k->job, cluster_job(p->c, a->job)))
        return false;
    return k->preemptible && !k->going && !stands_better(a, k->standing, k->job->queue) && k->job->order_ms >= a->closing_ms &&
           holds_some_of(k->job, a->where);
}

/* All of it is free, and nothing else keeps its job from it. */
static bool can_start(struct pass *p, const struct ahead *a) {
    const struct job *j = cluster_job(p->c, a->job);
    return user_limit_reached(p, j) < 0 && array_left(p, j) && place_is_free(&p->room, a->where) &&
           share_admits(&p->room, j->queue, placement_gpus(a->where), j->preemptible);
}

static bool is_closed(const struct pass *p, const struct ahead *a) {
    return p->now_ms >= a->closing_ms && cluster_job(p->c, a->job)->listed == LISTED_READY;
}

static bool call_in(struct pass *p, const struct ahead *a) {
    size_t mark = room_mark(&p->room);
    int32_t loans = 0;
    preempt_give_what_goes(p);
    for (int32_t i = 0; i < p->standings.count; i++)
        if (is_on_loan(p, a, &p->standings.runners[i])) {
            room_give(&p->room, p->standings.runners[i].job);
            loans++;
        }
    bool can = loans && can_start(p, a);
    room_rollback(&p->room, mark);
    return can;
}

static int64_t gpus_on_loan(const struct pass *p, const struct ahead *a) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < p->standings.count; i++)
        gpus += is_on_loan(p, a, &p->standings.runners[i]) ? p->standings.runners[i].gpus : 0;
    return gpus;
}

void ahead_note_due(struct pass *p) {
    ahead_bind(p, NULL, (struct standing){0}, 0);
    size_t mark = room_mark(&p->room);
    preempt_give_what_goes(p);
    for (int32_t i = 0; i < p->ahead_count; i++)
        p->ahead[i].is_due = is_closed(p, &p->ahead[i]) && can_start(p, &p->ahead[i]);   /* who started there would be called in at once */
    room_rollback(&p->room, mark);
}

void ahead_call_in(struct pass *p) {
    ahead_note_due(p);
    for (int32_t i = 0; i < p->ahead_count; i++) {
        const struct ahead *a = &p->ahead[i];
        const struct job *j = cluster_job(p->c, a->job);
        if (!is_closed(p, a) || !call_in(p, a))
            continue;
        int64_t job = plan_reserve(p, j, a->where, KEPT_BY_PLAN, p->now_ms);
        struct plan_account account = {"loan", placement_gpus(a->where), gpus_on_loan(p, a)};
        for (int32_t k = 0; k < p->standings.count; k++) {
            struct runner *loan = &p->standings.runners[k];
            if (!is_on_loan(p, a, loan))
                continue;
            struct event *e = plan_stop(p, loan->job, STOP_PREEMPTED, p->now_ms + loan->job->grace_ms, job);
            plan_tell(e, &account);
            plan_text(p, e,
                      "loan: job %s started where job %s, which had waited for too long by then, was to start next; that one has "
                      "waited for %lld minutes, and all of its place can be free now",
                      job_name(p->c, loan->job->id).text, plan_job_name(p, job).text, (long long)((p->now_ms - j->queued_ms) / 60000));
            loan->going = true;
            standings_update(&p->standings, loan->job->queue);
        }
    }
}

/* ---- a new one ---- */

static int by_end(const void *a, const void *b) {
    const struct leaver *x = a, *y = b;
    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    return x->runner->job->id < y->runner->job->id ? -1 : x->runner->job->id > y->runner->job->id;
}

/* A job past its estimate may end at any moment: nothing is known of it any more. */
static struct leaver leaver_of(const struct pass *p, const struct runner *k) {
    const struct job *j = k->job;
    int64_t run_ms = j->estimate_ms ? j->estimate_ms : j->time_limit_ms, began_ms = j->start_ms >= 0 ? j->start_ms : p->now_ms;
    if (run_ms && began_ms + run_ms > p->now_ms)
        return (struct leaver){k, began_ms + run_ms, true};
    int64_t guess_ms = began_ms + p->default_ms[j->queue];
    return (struct leaver){k, guess_ms > p->now_ms ? guess_ms : p->now_ms + HOUR_MS, false};
}

/* By their ends. Once a pass. */
static void collect_leavers(struct pass *p) {
    if (p->leavers)
        return;
    p->leavers = arena_array(p->arena, (size_t)p->standings.count, sizeof *p->leavers);
    for (int32_t i = 0; i < p->standings.count; i++)
        if (p->standings.runners[i].gpus && !p->standings.runners[i].going)
            p->leavers[p->leaver_count++] = leaver_of(p, &p->standings.runners[i]);
    qsort(p->leavers, (size_t)p->leaver_count, sizeof *p->leavers, by_end);
}

static bool fits_without(struct pass *p, int32_t count, const struct job *j, const struct demand *d, struct placement *where) {
    size_t mark = room_mark(&p->room);
    for (int32_t i = 0; i < count; i++)
        if (!p->leavers[i].runner->going)
            room_give(&p->room, p->leavers[i].runner->job);
    bool fits = share_admits(&p->room, j->queue, d->gpus, j->preemptible) && place_gang(&p->room, d, where);
    room_rollback(&p->room, mark);
    return fits;
}

/* The fewest leavers, in the order of their ends, that make room: more never fit worse, hence the bisection. -1: not even all. */
static int32_t find_first(struct pass *p, const struct job *j, const struct demand *d, struct placement *where) {
    int32_t low = 0, high = p->leaver_count;
    if (!fits_without(p, high, j, d, where))
        return -1;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (fits_without(p, middle, j, d, where))
            high = middle;
        else
            low = middle + 1;
    }
    fits_without(p, high, j, d, where);
    return high;
}

/* When the last of those who hold some of it will be gone. */
static int64_t free_ms(const struct pass *p, int32_t leavers, const struct placement *where) {
    int64_t at_ms = p->now_ms;
    for (int32_t i = 0; i < leavers; i++) {
        const struct leaver *l = &p->leavers[i];
        if (!holds_some_of(l->runner->job, where))
            continue;
        if (!l->known)
            return INT64_MAX;
        at_ms = l->end_ms > at_ms ? l->end_ms : at_ms;
    }
    return at_ms;
}

bool ahead_may_keep(const struct pass *p) { return p->ahead_count < AHEAD_MAX && p->ahead_tries > 0; }

bool ahead_keep(struct pass *p, const struct job *j, const struct demand *d) {
    struct placement *where = arena_array(p->arena, 1, sizeof *where);
    struct demand least = place_sized(d, d->gpus_min);
    if (!ahead_may_keep(p) || ahead_has(p, j->id))
        return true;
    p->ahead_tries--;
    collect_leavers(p);
    ahead_close(p);   /* two must not wait for the same GPUs */
    size_t mark = room_mark(&p->room);
    preempt_give_what_goes(p);
    int32_t needed = find_first(p, j, &least, where);
    room_rollback(&p->room, mark);
    if (needed < 0)
        return !p->leases_given;
    int64_t expected_ms = free_ms(p, needed, where);
    plan_reserve(p, j, where, KEPT_AHEAD, expected_ms);
    p->ahead[p->ahead_count++] = (struct ahead){.job = j->id, .queue = j->queue, .where = where, .expected_ms = expected_ms,
                                                .closing_ms = closing_ms(j), .standing = standing_of(&p->standings, d)};
    return true;
}

bool ahead_keeper_is_due(const struct pass *p) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        if (p->ahead[i].is_due && p->ahead[i].job == p->ahead_keeper)
            return true;
    return false;
}

int64_t ahead_keeper(const struct pass *p) { return p->ahead_keeper; }
