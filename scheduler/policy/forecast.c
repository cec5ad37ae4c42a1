#include "scheduler/policy/forecast.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/order.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/user_limit.h"

/* ---- who promises what ---- */

/* What an admin set for the queue is a promise; what is planned with where nobody said anything is none. */
static int64_t default_of(const struct cluster *c, int32_t queue) {
    for (int32_t q = queue; q >= 0; q = c->queues[q].parent)
        if (c->queues[q].default_time_ms || c->queues[q].max_walltime_ms)
            return queue_effective(c, queue).default_time_ms;
    return 0;
}

static struct promised promise_of(const struct cluster *c, const struct job *j, int64_t began_ms, int64_t now_ms) {
    int64_t queue_ms = default_of(c, j->queue);
    if (j->estimate_ms && j->estimate_ms == job_expected_ms(j) && began_ms + j->estimate_ms > now_ms)
        return (struct promised){began_ms + j->estimate_ms, PROMISE_ESTIMATE};
    if (j->time_limit_ms && began_ms + j->time_limit_ms > now_ms)
        return (struct promised){began_ms + j->time_limit_ms, PROMISE_LIMIT};
    if (queue_ms && began_ms + queue_ms > now_ms)
        return (struct promised){began_ms + queue_ms, PROMISE_QUEUE};
    return (struct promised){INT64_MAX, PROMISE_NONE};
}

struct promised forecast_end(const struct cluster *c, const struct job *j, int64_t now_ms) {
    if (j->state == JOB_STOPPING)
        return (struct promised){j->checkpoint_asked && j->kill_ms > now_ms ? j->kill_ms : now_ms, PROMISE_GRACE};
    if (j->state == JOB_UNKNOWN)
        return (struct promised){INT64_MAX, PROMISE_NONE};
    return promise_of(c, j, j->start_ms >= 0 ? j->start_ms : now_ms, now_ms);
}

/* ---- telling it ---- */

struct told { const struct cluster *c; struct forecast *out; size_t used; };
#define TELL(t, ...) text_append((t)->out->basis, sizeof (t)->out->basis, &(t)->used, __VA_ARGS__)

enum { NAMED_MAX = 4 };

/* "3, 5 and 9", "3, 5, 9, 12 and 7 more". */
static void tell_jobs(struct told *t, const int64_t *jobs, int32_t count) {
    int32_t named = count > NAMED_MAX ? NAMED_MAX : count;
    TELL(t, "job%s ", count == 1 ? "" : "s");
    for (int32_t i = 0; i < named; i++)
        TELL(t, "%s%s", !i ? "" : i == count - 1 ? " and " : ", ", job_name(t->c, jobs[i]).text);
    if (count > named)
        TELL(t, " and %d more", count - named);
}

struct rest { int64_t *jobs[PROMISE_GRACE + 1]; int32_t counts[PROMISE_GRACE + 1]; };   /* by promise: those that it rests on */

static void rest_open(struct rest *r, struct arena *arena, size_t most) {
    *r = (struct rest){0};
    for (int by = 0; by <= PROMISE_GRACE; by++)
        r->jobs[by] = arena_array(arena, most, sizeof **r->jobs);
}

static int by_id(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void tell_rest(struct told *t, const struct rest *r) {
    static const char *const ends[][2] = {
        [PROMISE_LIMIT] = {"ends by its time limit", "end by their time limits"},
        [PROMISE_ESTIMATE] = {"ends by its estimate", "end by their estimates"},
        [PROMISE_QUEUE] = {"ends by its queue's default time", "end by their queues' default times"},
        [PROMISE_GRACE] = {"has left, which its grace allows until then", "have left, which their graces allow until then"},
    };
    const char *separator = "if ";
    for (int by = PROMISE_LIMIT; by <= PROMISE_GRACE; by++) {
        if (!r->counts[by])
            continue;
        TELL(t, "%s", separator);
        qsort(r->jobs[by], (size_t)r->counts[by], sizeof *r->jobs[by], by_id);
        tell_jobs(t, r->jobs[by], r->counts[by]);
        TELL(t, " %s", ends[by][r->counts[by] > 1]);
        separator = " and ";
    }
}

/* ---- the replay ---- */

/* Somebody who holds GPUs, or will in the replay. */
struct holder {
    int64_t id;
    const struct job *job;     /* a ghost: a copy of one that waits, with its place in the replay */
    const struct reservation *kept;   /* it does not run yet: its place is kept for it */
    int64_t end_ms;
    enum promise by;
    bool gone;
};

struct waiter { const struct job *job; struct demand demand; bool started; };

struct replay {
    struct pass *p;
    const struct job *own;
    const struct wait_reason *why;
    struct demand demand;          /* the least that it can start with */
    int64_t ready_ms, at_ms;
    struct holder *holders;
    int32_t holder_count, running_count;   /* those that run are first, by their ends; then ghosts */
    struct waiter *before;
    int32_t before_count, started_count;
    bool more_before;              /* there are more than are replayed */
    bool *held_up;                 /* by queue: a strict one, whose first can't start now */
    int64_t *unfit_at;             /* by class: when it was last seen not to fit */
    struct placement where;
    int32_t places_left;
    struct room_bounds unbounded;  /* of cpus and memory: the room grows */
};

static int by_end(const void *a, const void *b) {
    const struct holder *x = a, *y = b;
    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void list_holders(struct replay *r) {
    const struct cluster *c = r->p->c;
    size_t most = (size_t)c->index.live.count + (size_t)c->reservation_count + FORECAST_BEFORE;
    r->holders = arena_array(r->p->arena, most, sizeof *r->holders);
    for (int32_t i = 0; i < c->index.live.count; i++) {
        const struct job *j = c->index.live.items[i];
        struct promised end = forecast_end(c, j, r->p->now_ms);
        if (j != r->own)
            r->holders[r->holder_count++] = (struct holder){.id = j->id, .job = j, .end_ms = end.end_ms, .by = end.by};
    }
    for (int32_t i = 0; i < c->reservation_count; i++) {
        const struct reservation *kept = &c->reservations[i];
        struct promised end = promise_of(c, cluster_job(c, kept->job), r->p->now_ms, r->p->now_ms);
        if (kept->kind != KEPT_AHEAD && kept->job != r->own->id)
            r->holders[r->holder_count++] = (struct holder){kept->job, cluster_job(c, kept->job), kept, end.end_ms, end.by, false};
    }
    r->running_count = r->holder_count;
    qsort(r->holders, (size_t)r->holder_count, sizeof *r->holders, by_end);
}

/* By their classes: which jobs may be before it? Not those of its own queue with a lower priority, nor what can't start whatever is
 * freed. NULL: too many are. */
static const enum look *look_before(const struct replay *r) {
    const struct cluster *c = r->p->c;
    enum queue_policy policy = queue_policy(c, r->own->queue);
    bool by_priority = policy != QUEUE_POLICY_FIFO && policy != QUEUE_POLICY_STRICT;
    enum look *looks = arena_array(r->p->arena, (size_t)c->index.class_count, sizeof *looks);
    bool *closed = arena_array(r->p->arena, (size_t)c->queue_count, sizeof *closed);
    int32_t classes = 0;
    int64_t surely_before = 0;
    for (int32_t q = 0; q < c->queue_count; q++)
        closed[q] = queue_closed_by(c, q) >= 0;
    for (int32_t i = 0; i < c->index.class_count; i++) {
        const struct wait_brief *b = &c->index.briefs[i];
        bool of_own = by_priority && b->queue == r->own->queue;
        if (!b->jobs || closed[b->queue] || (of_own && b->priority < r->own->priority))
            continue;
        looks[i] = LOOK_CLOSELY;   /* not let go for what is free now */
        classes++;
        surely_before += of_own && b->priority > r->own->priority ? b->jobs - b->placed : 0;
    }
    return classes > FORECAST_CLASSES || surely_before > FORECAST_BEFORE ? NULL : looks;
}

/* Those that the policy looks at before it. */
static void list_before(struct replay *r) {
    const struct cluster *c = r->p->c;
    struct order o;
    struct line *l;
    const enum look *looks = look_before(r);
    r->more_before = !looks;
    if (!looks)
        return;
    order_open(&o, r->p, looks);
    o.only_asks = true;
    while ((l = order_next(&o))) {
        const struct job *j = order_job(&o, l);
        if (j == r->own || (r->own->listed != LISTED_READY && order_comes_first(&o, r->own, l)))
            return;
        if ((r->more_before = r->before_count == FORECAST_BEFORE))
            return;
        struct demand d = job_demand(c, j);
        r->before[r->before_count++] = (struct waiter){.job = j, .demand = place_sized(&d, d.gpus_min)};
        order_step(&o, l);
    }
}

static bool fits(struct replay *r, const struct job *j, const struct demand *d, struct placement *where) {
    if (queue_user_full(r->p->c, j->queue, j->uid, &r->p->user_jobs) >= 0 ||
        !share_admits(&r->p->room, d->queue, d->gpus, d->preemptible) || !place_may_fit(room_index(&r->p->room), &r->unbounded, d))
        return false;
    r->places_left--;
    return place_gang(&r->p->room, d, where);
}

/* One that is moved counts where it stands. */
static void count(struct replay *r, const struct holder *h, int jobs) {
    if (!h->kept || h->job->state == JOB_PENDING)
        user_limit_count(r->p, h->job, jobs);
}

static void leave(struct replay *r, struct holder *h) {
    h->gone = true;
    if (h->kept)
        room_unreserve(&r->p->room, h->kept);
    else
        room_give(&r->p->room, h->job);
    count(r, h, -1);
}

static void start(struct replay *r, struct waiter *w, const struct placement *where) {
    struct job *ghost = arena_array(r->p->arena, 1, sizeof *ghost);
    struct promised end = promise_of(r->p->c, w->job, r->at_ms, r->at_ms);
    *ghost = *w->job;
    ghost->placement = *where;
    room_take(&r->p->room, ghost, where);
    user_limit_count(r->p, ghost, 1);
    w->started = true;
    r->started_count++;
    r->holders[r->holder_count++] = (struct holder){.id = ghost->id, .job = ghost, .end_ms = end.end_ms, .by = end.by};
}

static void hold_up(struct replay *r, const struct demand *d) { r->held_up[d->queue] |= d->policy == QUEUE_POLICY_STRICT; }

static void start_before(struct replay *r) {
    memset(r->held_up, 0, (size_t)r->p->c->queue_count * sizeof *r->held_up);
    for (int32_t i = 0; i < r->before_count && r->places_left > 0; i++) {
        struct waiter *w = &r->before[i];
        int64_t *unfit_at = &r->unfit_at[w->job->wait_class];
        struct placement where;
        if (w->started || *unfit_at == r->at_ms || r->held_up[w->demand.queue])
            continue;
        if (fits(r, w->job, &w->demand, &where)) {
            start(r, w, &where);
        } else {
            *unfit_at = r->at_ms;
            hold_up(r, &w->demand);
        }
    }
}

/* The next moment at which something ends, or it becomes ready itself; INT64_MAX: none is promised. */
static int64_t next_ms(const struct replay *r, int32_t *next_running) {
    int64_t next = r->ready_ms > r->at_ms ? r->ready_ms : INT64_MAX;
    while (*next_running < r->running_count && r->holders[*next_running].gone)
        ++*next_running;
    if (*next_running < r->running_count && r->holders[*next_running].end_ms < next)
        next = r->holders[*next_running].end_ms;
    for (int32_t i = r->running_count; i < r->holder_count; i++)
        if (!r->holders[i].gone && r->holders[i].end_ms < next)
            next = r->holders[i].end_ms;
    return next;
}

static void leave_due(struct replay *r, int32_t next_running) {
    for (int32_t i = next_running; i < r->running_count && r->holders[i].end_ms <= r->at_ms; i++)
        if (!r->holders[i].gone)
            leave(r, &r->holders[i]);
    for (int32_t i = r->running_count; i < r->holder_count; i++)
        if (!r->holders[i].gone && r->holders[i].end_ms <= r->at_ms)
            leave(r, &r->holders[i]);
}

/* True: it starts at r->at_ms, at r->where. */
static bool run(struct replay *r) {
    int32_t next_running = 0;
    int64_t next;
    while (r->places_left > 0 && (next = next_ms(r, &next_running)) != INT64_MAX) {
        r->at_ms = next;
        leave_due(r, next_running);
        start_before(r);
        if (r->at_ms >= r->ready_ms && !r->held_up[r->demand.queue] && fits(r, r->own, &r->demand, &r->where))
            return true;
    }
    return false;
}

/* ---- what it rests on ---- */

static const struct placement *placement_of(const struct holder *h) { return h->kept ? &h->kept->placement : &h->job->placement; }

static bool shares_some(const struct placement *held, const struct placement *where) {
    for (int32_t i = 0; i < where->task_count; i++)
        for (int32_t k = 0; k < held->task_count; k++) {
            const struct task *t = &held->tasks[k];
            if (t->node == where->tasks[i].node && t->state != TASK_ENDED && t->gpus & where->tasks[i].gpus)
                return true;
        }
    return false;
}

static void tell_found(struct replay *r, struct forecast *out) {
    struct told t = {r->p->c, out, 0};
    struct rest rest;
    rest_open(&rest, r->p->arena, (size_t)r->holder_count);
    for (int32_t i = 0; i < r->holder_count; i++) {
        const struct holder *h = &r->holders[i];
        if (h->gone && h->by != PROMISE_NONE && (h->end_ms == r->at_ms || shares_some(placement_of(h), &r->where)))
            rest.jobs[h->by][rest.counts[h->by]++] = h->job->id;
    }
    out->at_ms = r->at_ms;
    tell_rest(&t, &rest);
    if (r->started_count)
        TELL(&t, "%s%d job%s before it start%s first", t.used ? "; " : "", r->started_count, r->started_count == 1 ? "" : "s",
             r->started_count == 1 ? "s" : "");
}

static const char *why_none(const struct job *j) {
    return j->state == JOB_UNKNOWN ? "is on a node that is silent"
           : j->estimate_ms || j->time_limit_ms ? "has run for longer than it was expected to"
                                                : "has no time limit";
}

/* Does that job hold some of what the reason says is used up? */
static bool binds(const struct cluster *c, const struct job *waiting, const struct wait_reason *why, const struct job *holder) {
    bool inside = why->queue < 0 || queue_is_within(c, holder->queue, why->queue);
    if (why->code == WAIT_USER_LIMIT)
        return inside && holder->uid == waiting->uid;
    if (why->code == WAIT_QUOTA && holder->preemptible)
        return false;
    return inside && (holder->gpus || why->asked_cpus);
}

/* Who would have to end for it, and promises nothing: the largest. */
static const struct job *silent_one(const struct replay *r, int32_t *others) {
    const struct holder *largest = NULL;
    *others = -1;
    for (int32_t i = 0; i < r->holder_count; i++) {
        const struct holder *h = &r->holders[i];
        if (h->by != PROMISE_NONE || h->gone || !binds(r->p->c, r->own, r->why, h->job))
            continue;
        ++*others;
        if (!largest || placement_gpus(placement_of(h)) > placement_gpus(placement_of(largest)))
            largest = h;
    }
    return largest ? largest->job : NULL;
}

/* With all of them gone? Else no end of a running job is what it waits for. */
static bool would_fit_then(struct replay *r) {
    for (int32_t i = 0; i < r->holder_count; i++)
        if (!r->holders[i].gone)
            leave(r, &r->holders[i]);
    r->places_left = 1;
    return fits(r, r->own, &r->demand, &r->where);
}

static void tell_unknown(struct replay *r, struct forecast *out) {
    struct told t = {r->p->c, out, 0};
    int32_t others;
    const struct job *silent = silent_one(r, &others);
    if (r->places_left <= 0)
        TELL(&t, "too much happens before it: %d places were looked for", FORECAST_PLACES);
    else if (!would_fit_then(r))
        TELL(&t, "it would not fit even if all that runs had ended");
    else if (silent && others)
        TELL(&t, "job %s %s, and so it is with %d more", job_name(t.c, silent->id).text, why_none(silent), others);
    else if (silent)
        TELL(&t, "job %s %s", job_name(t.c, silent->id).text, why_none(silent));
    else
        TELL(&t, "nothing that runs promises an end");
}

static void count_back(struct replay *r) {
    for (int32_t i = 0; i < r->holder_count; i++) {
        bool is_ghost = i >= r->running_count;
        if (r->holders[i].gone != is_ghost)
            count(r, &r->holders[i], is_ghost ? -1 : 1);
    }
}

void forecast_start(struct pass *p, const struct job *j, const struct wait_reason *why, int64_t ready_ms, struct forecast *out) {
    struct demand d = job_demand(p->c, j);
    struct replay r = {.p = p, .own = j, .why = why, .demand = place_sized(&d, d.gpus_min), .ready_ms = ready_ms, .at_ms = p->now_ms,
                       .places_left = FORECAST_PLACES};
    *out = (struct forecast){.at_ms = INT64_MAX};
    r.before = arena_array(p->arena, FORECAST_BEFORE, sizeof *r.before);
    r.held_up = arena_array(p->arena, (size_t)p->c->queue_count, sizeof *r.held_up);
    r.unfit_at = arena_array(p->arena, (size_t)p->c->index.class_count, sizeof *r.unfit_at);
    for (int gpus = 0; gpus <= ROOM_GPUS_MAX; gpus++) {
        r.unbounded.cpus[gpus] = INT32_MAX;
        r.unbounded.memory_mib[gpus] = INT64_MAX;
    }
    memset(r.unfit_at, -1, (size_t)p->c->index.class_count * sizeof *r.unfit_at);
    list_before(&r);
    if (!r.more_before)
        list_holders(&r);
    size_t mark = room_mark(&p->room);
    if (r.more_before)
        text_copy(out->basis, sizeof out->basis, "more jobs are before it than are looked at");
    else if (run(&r))
        tell_found(&r, out);
    else
        tell_unknown(&r, out);
    count_back(&r);
    room_rollback(&p->room, mark);
}

/* ---- a place that is kept ---- */

void forecast_kept(const struct pass *p, const struct reservation *kept, struct forecast *out) {
    const struct job_list *live = &p->c->index.live;
    struct told t = {p->c, out, 0};
    struct rest rest;
    *out = (struct forecast){.at_ms = p->now_ms};
    rest_open(&rest, p->arena, (size_t)live->count);
    for (int32_t i = 0; i < live->count; i++) {
        const struct job *h = live->items[i];
        struct promised end = forecast_end(p->c, h, p->now_ms);
        if (h->id == kept->job || !shares_some(&h->placement, &kept->placement))
            continue;
        rest.jobs[end.by][rest.counts[end.by]++] = h->id;
        out->at_ms = end.end_ms > out->at_ms ? end.end_ms : out->at_ms;
    }
    if (out->at_ms == INT64_MAX) {
        const struct job *silent = cluster_job(p->c, rest.jobs[PROMISE_NONE][0]);
        TELL(&t, "job %s %s", job_name(t.c, silent->id).text, why_none(silent));
        if (rest.counts[PROMISE_NONE] > 1)
            TELL(&t, ", and so it is with %d more", rest.counts[PROMISE_NONE] - 1);
        return;
    }
    tell_rest(&t, &rest);
}
