#include "scheduler/policy/ahead.h"

#include <stdlib.h>

#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/array_limit.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/preempt.h"
#include "scheduler/policy/start.h"
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
           !is_healthy(p, &r->placement) || (j->exclusive && !place_is_whole(p->c, &r->placement)) || p->now_ms >= until_ms;
}

/* When its patience is over: an hour after it began to wait, or four times as long as it has run so far. */
static int64_t closing_ms(const struct job *j) {
    int64_t learned_ms = j->gpus ? j->attained_gpu_ms / j->gpus : 0, patience_ms = PATIENCE_TIMES * learned_ms;
    return j->queued_ms + (patience_ms > HOUR_MS ? patience_ms : HOUR_MS);
}

/* What others may not take: the holders of its GPUs leave it more than that. */
static struct placement rest_of(struct pass *p, const struct placement *where) {
    const struct standings *s = &p->standings;
    struct placement rest = *where;
    standings_link_nodes(&p->standings, p->c->node_count, p->arena);
    rest.tasks = arena_array(p->arena, (size_t)where->task_count, sizeof *rest.tasks);
    for (int32_t i = 0; i < where->task_count; i++) {
        struct task *t = &rest.tasks[i];
        *t = where->tasks[i];
        for (int32_t k = s->node_tasks[t->node]; k < s->node_tasks[t->node + 1]; k++)
            if (s->tasks[k].task->gpus & t->gpus) {
                t->cpus -= s->tasks[k].task->cpus;
                t->memory_mib -= s->tasks[k].task->memory_mib;
            }
        t->cpus = t->cpus > 0 ? t->cpus : 0;
        t->memory_mib = t->memory_mib > 0 ? t->memory_mib : 0;
    }
    return rest;
}

static void add(struct pass *p, const struct job *j, const struct demand *d, const struct placement *where, int64_t expected_ms) {
    p->ahead[p->ahead_count++] = (struct ahead){.job = j->id, .queue = j->queue, .where = where, .expected_ms = expected_ms,
                                                .closing_ms = closing_ms(j), .standing = standing_of(&p->standings, d)};
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
        add(p, j, &d, &r->placement, r->expected_ms);
    }
}

/* ---- for whom they are closed ---- */

/* On better ground: what another queue is guaranteed, or entitled to, is not for this one to wait on. */
static bool stands_better(const struct ahead *a, struct standing standing, int32_t queue) {
    return queue != a->queue && standing.band < a->standing.band;
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

static bool is_before_in_line(const struct pass *p, const struct ahead *a, const struct job *j) {
    return j->queue == a->queue && comes_before(p->c, j, cluster_job(p->c, a->job));
}

static bool binds(const struct pass *p, const struct ahead *a, const struct demand *d, struct standing standing, const struct job *j) {
    if (a->over || a->job == j->id || stands_better(a, standing, d->queue))
        return false;
    if (a->is_due || d->preemptible)
        return a->is_due && !is_before_in_line(p, a, j);
    return a->expected_ms == INT64_MAX || p->now_ms + (d->estimate_ms ? d->estimate_ms : p->default_ms[d->queue]) > a->expected_ms;
}

static void block(struct pass *p, struct ahead *a, const struct placement *what) {
    if (a->blocked == what)
        return;
    if (a->blocked)
        room_keep_ahead(&p->room, a->blocked, false);
    if (what)
        room_keep_ahead(&p->room, what, true);
    a->blocked = what;
}

uint32_t ahead_kept_from(const struct pass *p, const struct demand *d, struct standing standing, const struct job *j) {
    uint32_t kept = 0;
    for (int32_t i = 0; i < p->ahead_count; i++)
        kept |= (uint32_t)binds(p, &p->ahead[i], d, standing, j) << i;
    return kept;
}

void ahead_bind(struct pass *p, uint32_t kept) {
    p->ahead_bound = kept;
    for (int32_t i = 0; i < p->ahead_count; i++) {
        struct ahead *a = &p->ahead[i];
        bool blocked = kept >> i & 1;
        if (blocked && !a->rest.tasks)
            a->rest = rest_of(p, a->where);
        block(p, a, blocked ? &a->rest : NULL);
    }
}

void ahead_close(struct pass *p) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        if (!p->ahead[i].over)
            block(p, &p->ahead[i], p->ahead[i].where);
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

bool ahead_is_over(const struct pass *p, const struct job *j) {
    for (int32_t i = 0; i < p->ahead_count && !j->array; i++)
        if (p->ahead[i].job == j->id)
            return p->ahead[i].over;
    return false;
}

/* ---- calling in loans ---- */

/* Its GPUs; or, without any itself, the cores and memory beside them. */
static bool holds_some_of(const struct job *j, const struct placement *where) {
    for (int32_t i = 0; i < where->task_count; i++) {
        const struct task *t = job_task_on(j, where->tasks[i].node);
        if (t && t->state != TASK_ENDED && (t->gpus & where->tasks[i].gpus || !j->gpus))
            return true;
    }
    return false;
}

/* It may be called in, if it has anything that the place's job waits for. */
static bool may_be_called_in(const struct pass *p, const struct ahead *a, const struct runner *k) {
    return k->preemptible && !k->going && k->job->order_ms >= a->closing_ms && !stands_better(a, k->standing, k->job->queue) &&
           !is_before_in_line(p, a, k->job);
}

/* Runners, in their order. */
struct loans { int32_t *items, count; };

static int by_runner(const void *a, const void *b) {
    const int32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* On the place. */
static struct loans find_loans(struct pass *p, const struct ahead *a) {
    struct standings *s = &p->standings;
    struct loans l = {0};
    int32_t tasks = 0, count = 0;
    standings_link_nodes(s, p->c->node_count, p->arena);
    for (int32_t i = 0; i < a->where->task_count; i++)
        tasks += s->node_tasks[a->where->tasks[i].node + 1] - s->node_tasks[a->where->tasks[i].node];
    l.items = arena_array(p->arena, (size_t)tasks, sizeof *l.items);
    for (int32_t i = 0; i < a->where->task_count; i++)
        for (int32_t k = s->node_tasks[a->where->tasks[i].node]; k < s->node_tasks[a->where->tasks[i].node + 1]; k++)
            if (may_be_called_in(p, a, &s->runners[s->tasks[k].runner]) && holds_some_of(s->runners[s->tasks[k].runner].job, a->where))
                l.items[count++] = s->tasks[k].runner;
    if (count)
        qsort(l.items, (size_t)count, sizeof *l.items, by_runner);
    for (int32_t i = 0; i < count; i++)
        if (!i || l.items[i] != l.items[i - 1])   /* one that spans nodes comes from each of them */
            l.items[l.count++] = l.items[i];
    return l;
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

static void call(struct pass *p, struct loans *called, int32_t runner) {
    room_give(&p->room, p->standings.runners[runner].job);
    called->items[called->count++] = runner;
}

static bool is_called(const struct loans *called, int32_t runner) {
    for (int32_t i = 0; i < called->count; i++)
        if (called->items[i] == runner)
            return true;
    return false;
}

/* Who uses up a limit that its job waits for, wherever it runs: as many as it takes, the last that started first. */
static void call_in_users_of_limits(struct pass *p, const struct ahead *a, struct loans *called) {
    const struct runner *runners = p->standings.runners;
    int32_t i = 0, limited;
    while (i >= 0 && (limited = share_over_limit(p->c, p->room.queue_used, a->queue, placement_gpus(a->where))) >= 0) {
        for (i = p->standings.count - 1; i >= 0; i--)
            if (runners[i].gpus && may_be_called_in(p, a, &runners[i]) && queue_is_within(p->c, runners[i].job->queue, limited) &&
                !is_called(called, i))
                break;
        if (i >= 0)
            call(p, called, i);
    }
}

/* Those with GPUs there, and as many of the others as it takes, the last that started first. None: even so the place would not be free. */
static struct loans call_in(struct pass *p, const struct ahead *a) {
    struct loans l = find_loans(p, a), called = {.items = arena_array(p->arena, (size_t)p->standings.count, sizeof *l.items)};
    size_t mark = room_mark(&p->room);
    preempt_give_what_goes(p);
    for (int32_t i = 0; i < l.count; i++)
        if (p->standings.runners[l.items[i]].gpus)
            call(p, &called, l.items[i]);
    call_in_users_of_limits(p, a, &called);
    for (int32_t i = l.count - 1; i >= 0 && !place_is_free(&p->room, a->where); i--)
        if (!p->standings.runners[l.items[i]].gpus)
            call(p, &called, l.items[i]);
    if (!can_start(p, a))
        called.count = 0;
    room_rollback(&p->room, mark);
    return called;
}

/* On what is free for it, anywhere: then it needs nobody to leave, and starts in its turn. */
static bool fits_now(struct pass *p, const struct ahead *a) {
    const struct job *j = cluster_job(p->c, a->job);
    struct demand d = job_demand(p->c, j);
    struct placement unused;
    ahead_bind(p, ahead_kept_from(p, &d, a->standing, j));
    bool fits = share_admits(&p->room, j->queue, d.gpus_min, j->preemptible) && start_find_place(p, &d, &unused);
    ahead_bind(p, 0);
    return fits;
}

static int64_t gpus_on_loan(const struct pass *p, const struct loans *called) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < called->count; i++)
        gpus += p->standings.runners[called->items[i]].gpus;
    return gpus;
}

void ahead_note_due(struct pass *p) {
    ahead_bind(p, 0);
    if (p->ahead_count && !p->leaving_used)
        p->leaving_used = arena_array(p->arena, (size_t)p->c->queue_count, sizeof *p->leaving_used);
    for (int32_t q = 0; q < p->c->queue_count && p->ahead_count; q++)
        p->leaving_used[q] = p->room.queue_used[q];
    size_t mark = room_mark(&p->room);
    preempt_give_what_goes(p);
    for (int32_t q = 0; q < p->c->queue_count && p->ahead_count; q++)
        p->leaving_used[q] -= p->room.queue_used[q];
    for (int32_t i = 0; i < p->ahead_count; i++)
        p->ahead[i].is_due = is_closed(p, &p->ahead[i]) && can_start(p, &p->ahead[i]);   /* who started there would be called in at once */
    room_rollback(&p->room, mark);
}

void ahead_call_in(struct pass *p) {
    ahead_note_due(p);
    for (int32_t i = 0; i < p->ahead_count; i++) {
        const struct ahead *a = &p->ahead[i];
        const struct job *j = cluster_job(p->c, a->job);
        struct loans called = is_closed(p, a) ? call_in(p, a) : (struct loans){0};
        if (!called.count || fits_now(p, a))
            continue;
        int64_t job = plan_reserve(p, j, a->where, KEPT_BY_PLAN, p->now_ms);
        ahead_over(p, j->id);
        struct plan_account account = {"loan", placement_gpus(a->where), gpus_on_loan(p, &called)};
        for (int32_t k = 0; k < called.count; k++) {
            const struct runner *loan = &p->standings.runners[called.items[k]];
            struct event *e = plan_stop(p, loan->job, STOP_PREEMPTED, p->now_ms + loan->job->grace_ms, job);
            plan_tell(e, &account);
            plan_text(p, e,
                      "loan: job %s started %s job %s, which had waited for too long by then, was to start next; that one has "
                      "waited for %lld minutes, and all that it waits for can be free now",
                      job_name(p->c, loan->job->id).text, holds_some_of(loan->job, a->where) ? "where" : "on a limit within which",
                      plan_job_name(p, job).text, (long long)((p->now_ms - j->queued_ms) / 60000));
            standings_stop(&p->standings, called.items[k]);
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
    int64_t run_ms = job_expected_ms(j), began_ms = j->start_ms >= 0 ? j->start_ms : p->now_ms;
    if (run_ms && began_ms + run_ms > p->now_ms)
        return (struct leaver){k, began_ms + run_ms, true};
    int64_t guess_ms = began_ms + p->default_ms[j->queue];
    return (struct leaver){k, guess_ms > p->now_ms ? guess_ms : p->now_ms + HOUR_MS, false};
}

/* Once a pass. */
static const struct leaver_list *leavers_of(struct pass *p, bool without_gpus) {
    struct leaver_list *l = &p->leavers[without_gpus];
    if (l->items)
        return l;
    l->items = arena_array(p->arena, (size_t)p->standings.count, sizeof *l->items);
    for (int32_t i = 0; i < p->standings.count; i++)
        if ((p->standings.runners[i].gpus || without_gpus) && !p->standings.runners[i].going)
            l->items[l->count++] = leaver_of(p, &p->standings.runners[i]);
    qsort(l->items, (size_t)l->count, sizeof *l->items, by_end);
    return l;
}

static bool fits(struct pass *p, const struct job *j, const struct demand *d, struct placement *where) {
    struct placement found;
    if (!share_admits(&p->room, j->queue, d->gpus, j->preemptible) || !place_gang(&p->room, d, &found))
        return false;
    *where = found;
    return true;
}

static void let_leave(struct pass *p, const struct leaver_list *l, int32_t from, int32_t to) {
    for (int32_t i = from; i < to; i++)
        if (!l->items[i].runner->going)
            room_give(&p->room, l->items[i].runner->job);
}

/* The fewest leavers, in the order of their ends, that make room; -1: not even all. More never fit worse: twice as many each time until
 * it fits, from there by bisection. In the room those are gone that are known to be too few. */
static int32_t find_first(struct pass *p, const struct leaver_list *l, const struct job *j, const struct demand *d,
                          struct placement *where) {
    size_t mark = room_mark(&p->room);
    int32_t few = -1, enough = l->count + 1;
    while (few + 1 < enough && few < l->count) {
        int32_t twice = 2 * (few + 1), next = enough <= l->count ? few + (enough - few) / 2 : twice < l->count ? twice : l->count;
        size_t before = room_mark(&p->room);
        let_leave(p, l, few < 0 ? 0 : few, next);
        if (fits(p, j, d, where)) {
            enough = next;
            room_rollback(&p->room, before);
        } else {
            few = next;
        }
    }
    room_rollback(&p->room, mark);
    return enough <= l->count ? enough : -1;
}

/* When the last of those who hold some of it will be gone, and the last of those without whom it does not fit: who uses up a limit does so
 * anywhere. */
static int64_t free_ms(const struct pass *p, const struct leaver_list *l, int32_t count, const struct placement *where) {
    int64_t at_ms = p->now_ms;
    for (int32_t i = 0; i < count; i++) {
        if (i + 1 < count && !holds_some_of(l->items[i].runner->job, where))
            continue;
        if (!l->items[i].known)
            return INT64_MAX;
        at_ms = l->items[i].end_ms > at_ms ? l->items[i].end_ms : at_ms;
    }
    return at_ms;
}

/* ---- what is kept of a quota ---- */

/* GPUs of the queue, or of those in it that can't be taken back, which are still in use when the place is free: then all have left who hold
 * some of it. Where nobody knows when that is, none count. */
static int64_t staying_of(const struct pass *p, const struct ahead *a, int32_t queue, bool fixed) {
    int64_t gpus = 0;
    for (int32_t i = 0; i < p->standings.count && a->expected_ms != INT64_MAX; i++) {
        const struct runner *k = &p->standings.runners[i];
        if (k->going || (fixed && k->preemptible) || !queue_is_within(p->c, k->job->queue, queue) || holds_some_of(k->job, a->where))
            continue;
        struct leaver l = leaver_of(p, k);
        gpus += l.known && l.end_ms <= a->expected_ms ? 0 : k->gpus;
    }
    return gpus;
}

static bool is_short_of_quota(struct pass *p, struct ahead *a, const struct demand *d) {
    const struct job *j = cluster_job(p->c, a->job);
    int32_t limited = share_over_limit(p->c, p->room.queue_used, a->queue, j->gpus_min);
    bool fixed = limited < 0;
    int32_t q = !fixed ? limited : j->preemptible ? -1 : share_over_guarantee(p->c, p->room.queue_fixed, a->queue, j->gpus_min);
    if (q < 0 || !queue_is_within(p->c, d->queue, q))
        return false;
    if (a->short_of != q + 1)
        a->staying = staying_of(p, a, q, fixed);
    a->short_of = q + 1;
    return d->gpus_min > (fixed ? share_guarantee(p->c, q) : p->c->queues[q].limit) - a->staying - a->started - j->gpus_min;
}

/* Of a limit, when those have left that are leaving: what started on it would be called in at once. */
static bool is_short_of_limit(const struct pass *p, const struct ahead *a, const struct demand *d) {
    for (int32_t q = a->queue; q >= 0 && d->gpus_min; q = p->c->queues[q].parent)
        if (p->c->queues[q].limit != NO_LIMIT && queue_is_within(p->c, d->queue, q) &&
            p->room.queue_used[q] - p->leaving_used[q] + d->gpus_min + placement_gpus(a->where) > p->c->queues[q].limit)
            return true;
    return false;
}

int64_t ahead_short_of_quota(struct pass *p, const struct demand *d, uint32_t kept) {
    for (int32_t i = 0; i < p->ahead_count; i++) {
        struct ahead *a = &p->ahead[i];
        if (kept >> i & 1 && !a->over && ((a->is_due && is_short_of_limit(p, a, d)) || (!d->preemptible && is_short_of_quota(p, a, d))))
            return a->job;
    }
    return 0;
}

void ahead_note_start(struct pass *p, const struct demand *d, uint32_t kept) {
    for (int32_t i = 0; i < p->ahead_count && !d->preemptible; i++) {
        struct ahead *a = &p->ahead[i];
        if (kept >> i & 1 && queue_is_within(p->c, d->queue, a->short_of ? a->short_of - 1 : a->queue))
            a->started += d->gpus_min;
    }
}

bool ahead_may_keep(const struct pass *p) { return p->ahead_count < AHEAD_MAX && p->ahead_tries > 0; }

bool ahead_keep(struct pass *p, const struct job *j, const struct demand *d) {
    struct placement *where = arena_array(p->arena, 1, sizeof *where);
    struct demand least = place_sized(d, d->gpus_min);
    p->ahead_tries--;
    ahead_close(p);   /* two must not wait for the same GPUs */
    size_t mark = room_mark(&p->room);
    preempt_give_what_goes(p);
    const struct leaver_list *l = leavers_of(p, false);
    int32_t needed = find_first(p, l, j, &least, where);
    if (needed < 0)   /* cores or memory bind that jobs without GPUs hold */
        needed = find_first(p, l = leavers_of(p, true), j, &least, where);
    room_rollback(&p->room, mark);
    if (needed < 0)
        return !p->leases_given;
    int64_t expected_ms = free_ms(p, l, needed, where);
    plan_reserve(p, j, where, KEPT_AHEAD, expected_ms);
    add(p, j, d, where, expected_ms);
    return true;
}

int64_t ahead_keeper(const struct pass *p, uint32_t kept) { return kept ? p->ahead[31 - __builtin_clz(kept)].job : 0; }

bool ahead_keeper_may_let_go(const struct pass *p, uint32_t kept) {
    return kept && (p->leases_given || p->ahead[31 - __builtin_clz(kept)].is_due);
}
