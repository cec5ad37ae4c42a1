/* The policy as an ordered list, least disruptive first:
 *
 *   1. jobs that can't run any more are failed (a dependency broke)
 *   2. graces that are over become kills, time limits become stops; what an admin ordered out of a queue leaves
 *   3. GPUs kept for a job are used as soon as they are all free
 *   4. waiting jobs start, in order, on what is free. One that is blocked does not hold up the ones behind it; but
 *   5. it may take GPUs from others by right (right.h), with a proven plan (preempt.h), and
 *   6. the first blocked ones get the place kept that will be free first (ahead.h)
 *   7. elastic jobs grow onto what nobody can use (scale.h)
 *
 * Jobs with equal demands form classes (cluster.h): one that does not fit answers for all, and is not tried again before something was
 * gained.
 */
#include "scheduler/policy/decide.h"

#include <assert.h>

#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/array_limit.h"
#include "scheduler/policy/evict_over.h"
#include "scheduler/policy/order.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/plan.h"
#include "scheduler/policy/preempt.h"
#include "scheduler/policy/reason.h"
#include "scheduler/policy/scale.h"
#include "scheduler/policy/share.h"
#include "scheduler/policy/start.h"
#include "scheduler/policy/type_limit.h"
#include "scheduler/policy/user_limit.h"

enum {
    NODES_TO_SEARCH = 16384,            /* at once, in all searches for victims, */
    NODES_A_MS = 64,                    /* and so many more in a millisecond */
    NODES_A_SECOND = 128,               /* a vain search is repeated after a second for so many nodes */
    SEARCH_AGAIN_MAX_MS = 30 * 1000,
    REASON_NODES = 4096,                /* a turn, in all probes for exact reasons */
    NEXT_TURN_MS = 1000,                /* so soon come those that had to wait for their turn */
    LOOK_AGAIN_MS = 60 * 1000,          /* rights and windows change with time: who is blocked is looked at again so often */
};

/* ---- 1. broken dependencies ---- */

static void fail_broken(struct pass *p) {
    const struct job_list *after = &p->c->index.after;
    if (!p->c->index.broken)
        return;
    for (int32_t i = 0; i < after->count; i++) {
        const struct job *j = after->items[i];
        for (int32_t a = 0; a < j->after_count; a++)
            if (j->after[a].broken) {
                struct event *e = plan_add(p, EVENT_JOB_FAIL, j->id);
                e->other = j->after[a].job;
                plan_text(p, e, "job %s was to complete before it, and did not", job_name(p->c, j->after[a].job).text);
                break;
            }
    }
    p->c->index.broken = false;
}

/* ---- 2. time ---- */

static int64_t due_of(const struct job *j) {
    if (j->state == JOB_RUNNING && j->time_limit_ms)
        return j->start_ms + j->time_limit_ms;
    if (j->state == JOB_STOPPING && j->checkpoint_asked)
        return j->kill_ms;
    return INT64_MAX;
}

static void end_overdue(struct pass *p) {
    struct cluster_index *x = &p->c->index;
    if (p->now_ms < x->due_ms)
        return;
    x->due_ms = INT64_MAX;
    for (int32_t i = 0; i < x->live.count; i++) {
        const struct job *j = x->live.items[i];
        int64_t due = due_of(j);
        if (due > p->now_ms)
            index_due(p->c, due);
        else if (j->state == JOB_STOPPING)
            plan_add(p, EVENT_JOB_KILL, j->id);
        else
            plan_stop(p, j, STOP_TIMEOUT, 0, 0);
    }
    index_promote(p->c, p->now_ms);
    for (int32_t i = 0; i < x->cooling.count; i++)
        index_due(p->c, x->cooling.items[i]->not_before_ms);
}

/* Those whose time is over leave by this very plan. */
static void mark_stopped(struct pass *p) {
    for (size_t i = 0; i < p->plan->count; i++)
        for (int32_t k = 0; k < p->standings.count && p->plan->decisions[i].type == EVENT_JOB_STOP; k++)
            if (p->standings.runners[k].job->id == p->plan->decisions[i].job)
                standings_stop(&p->standings, k);
}

/* ---- 3. reservations ---- */

static bool is_usable(const struct pass *p, const struct job *j, const struct placement *kept) {
    if (!j->preemptible && (share_over_guarantee(p->c, p->room.queue_fixed, j->queue, placement_gpus(kept)) >= 0 ||
                            !type_guarantee_admits(&p->room, j->queue, kept)))
        return false;
    if (j->exclusive && !place_is_whole(p->c, kept))
        return false;
    return place_is_free(&p->room, kept) && type_limit_admits(&p->room, j->queue, kept) &&
           share_over_limit(p->c, p->room.queue_held, j->queue, placement_gpus(kept)) < 0;
}

/* On the very GPUs that were kept, once they are free; on others when those will not be. */
static bool start_reserved(struct pass *p, const struct job *j, const struct reservation *r, bool comes_free) {
    struct placement elsewhere;
    struct demand whole = job_demand(p->c, j), d = place_sized(&whole, placement_gpus(&r->placement));
    if (j->listed != LISTED_READY)
        return false;
    if (is_usable(p, j, &r->placement))
        plan_start(p, j, &r->placement);
    else if (!comes_free && share_admits(&p->room, j->queue, d.gpus, j->preemptible) &&
             place_gang(&p->room, &d, &elsewhere))
        plan_start(p, j, &elsewhere);
    else
        return false;
    return true;
}

/* Settings of queues change: what was promised may not be the job's to use any more. */
static bool is_barred(const struct pass *p, const struct job *j, const struct placement *kept) {
    return queue_closed_by(p->c, j->queue) >= 0 || user_limit_reached(p, j) >= 0 || !array_left(p, j) ||
           !type_limit_covers(p->c, j->queue, kept);
}

/* A place that is neither free nor being freed is worth nothing, nor is one that the queue may not have by now: its job waits like any
 * other. */
static void use_reservation(struct pass *p, const struct reservation *r) {
    const struct job *j = cluster_job(p->c, r->job);
    size_t mark = room_mark(&p->room);
    int promised = j->state == JOB_PENDING;   /* else it has yet to leave its old place */
    room_unreserve(&p->room, r);
    user_limit_count(p, j, -promised);
    size_t without = room_mark(&p->room);
    preempt_give_what_goes(p);
    bool comes_free = is_usable(p, j, &r->placement), barred = promised && is_barred(p, j, &r->placement);
    room_rollback(&p->room, without);
    if (!barred && start_reserved(p, j, r, comes_free))
        return;
    if (barred || !comes_free) {
        plan_add(p, EVENT_UNRESERVE, j->id);
    } else {
        room_rollback(&p->room, mark);
        user_limit_count(p, j, promised);
    }
}

static void use_reservations(struct pass *p) {
    for (int32_t i = 0; i < p->c->reservation_count; i++)
        if (p->c->reservations[i].kind != KEPT_AHEAD)
            use_reservation(p, &p->c->reservations[i]);
}

/* ---- 4. starts ---- */

static bool start_now(struct pass *p, const struct job *j, const struct demand *d) {
    struct placement where;
    if (!start_find_place(p, d, &where))
        return false;
    plan_start(p, j, &where);
    ahead_over(p, j->id);
    return true;
}

static bool may_start(const struct pass *p, const struct job *j) {
    struct wait_reason why;
    return j->listed == LISTED_READY && array_left(p, j) && !ahead_is_over(p, j) && !start_is_kept_out(p, j, &why);
}

/* What is kept ahead is kept from a gang's equals, too; and one of them that does not fit answers for all of its class. */
static bool start_equal_ahead(struct pass *p, const struct job *j, const struct demand *d, struct standing standing) {
    uint32_t kept = p->ahead_bound;
    for (int32_t i = 0; i < p->ahead_count && kept; i++) {
        const struct job *equal = cluster_job(p->c, p->ahead[i].job);
        if (equal->wait_class != j->wait_class || !may_start(p, equal))
            continue;
        ahead_bind(p, ahead_kept_from(p, d, standing, equal));
        if (start_now(p, equal, d))
            return true;
    }
    ahead_bind(p, kept);
    return false;
}

/* ---- 5 and 6. blocked ---- */

/* A search for a plan looks at the nodes. On a large cluster so many in a time, and for a class that was searched for in vain not at once
 * again: what has changed meanwhile is seldom what it needs. */
static bool is_search_due(const struct pass *p, const struct wait_brief *b) {
    int64_t again_ms = INT64_C(1000) * (p->c->node_count / NODES_A_SECOND);
    return b->searched_ms == INT64_MIN || p->now_ms - b->searched_ms >= (again_ms < SEARCH_AGAIN_MAX_MS ? again_ms : SEARCH_AGAIN_MAX_MS);
}

/* Who is owed GPUs and comes new does not wait for the next time. */
static bool may_search(const struct pass *p, const struct wait_brief *b, struct standing standing) {
    bool at_once = band_is_guaranteed(standing.band) && b->searched_ms == INT64_MIN;
    return p->c->index.search_nodes > (at_once ? -NODES_TO_SEARCH : 0);
}

static bool search(struct pass *p, struct wait_brief *b, const struct demand *d, struct standing standing, const struct job *j) {
    if (!may_search(p, b, standing) || !is_search_due(p, b) || !preempt_may(p, d))
        return false;
    p->c->index.search_nodes -= p->c->node_count;
    if (preempt_for(p, j, d))
        return true;
    b->searched_ms = p->now_ms;
    return false;
}

static void earn_searches(struct pass *p) {
    struct cluster_index *x = &p->c->index;
    int64_t earned = (p->now_ms - x->search_ms) * NODES_A_MS;
    x->search_nodes = earned > NODES_TO_SEARCH - x->search_nodes ? NODES_TO_SEARCH : x->search_nodes + earned;
    x->search_ms = p->now_ms;
}

/* What this very plan starts and keeps may be what a plan for this job can use: if it has a right to something, or a place to come, its
 * class stays untried for the next decision. */
static void give_up(struct pass *p, int32_t class, bool owed, bool later) {
    p->c->index.marks[class].is_new = false;
    p->c->index.marks[class].untried = owed || later;
    p->again |= owed || later;
    p->c->index.priced |= owed || p->standings.offered.spare > 0;   /* lent by jobs that may save their work */
}

struct candidate { int32_t class; enum band band; int64_t since_ms; };
struct candidates { struct candidate *items; int32_t count; };

/* Those on better ground first, then whoever had his turn longest ago. */
static bool has_turn_before(const struct candidate *x, const struct candidate *y) {
    if (x->band != y->band)
        return x->band < y->band;
    return x->since_ms != y->since_ms ? x->since_ms < y->since_ms : x->class < y->class;
}

/* The first `most` to the front, in any order (quickselect, Hoare 1961). */
static void select_first(const struct candidates *of, int64_t most) {
    struct candidate *items = of->items;
    for (int32_t low = 0, high = of->count - 1; low < high;) {
        struct candidate pivot = items[low + (high - low) / 2];
        int32_t i = low, k = high;
        while (i <= k) {
            for (; has_turn_before(&items[i], &pivot); i++) {}
            for (; has_turn_before(&pivot, &items[k]); k--) {}
            if (i <= k) {
                struct candidate swapped = items[i];
                items[i++] = items[k];
                items[k--] = swapped;
            }
        }
        if (most <= k)
            high = k;
        else if (most > i)
            low = i;
        else
            return;
    }
}

/* The first `most` are looked at closely. */
static void choose(struct pass *p, struct candidates *of, int64_t most, enum look *looks) {
    if (of->count > most) {
        select_first(of, most);
        p->look_ms = p->now_ms + NEXT_TURN_MS;
    }
    for (int32_t i = 0; i < of->count && i < most; i++)
        looks[of->items[i].class] = LOOK_CLOSELY;
}

static void add_candidate(struct pass *p, struct candidates *to, int32_t class, int64_t since_ms) {
    to->items[to->count++] = (struct candidate){class, standing_of(&p->standings, &p->c->index.classes[class].demand).band, since_ms};
}

/* Of those of a queue, a level and a kind that may use any node: so many GPUs might be had by a plan, and so many not. 0: not known. */
struct hope { int32_t some, none; };

struct looking {
    enum look *looks;       /* by class */
    bool *tried;            /* by class: it was untried until now */
    struct shape_look { bool may_fit; int32_t gpus; } *shapes;   /* by the counts; at its least */
    struct hope (*hopes)[JOB_LEVELS][2];   /* by queue, by level, by whether they can be stopped */
    bool all;               /* something was gained: those that have been tried are to be tried again */
    struct candidates searches, ahead;
};

/* So many GPUs are left below the limits of a queue. */
static int64_t left_by_limits(const struct pass *p, int32_t queue) {
    int64_t least = INT64_MAX;
    for (int32_t q = queue; q >= 0; q = p->c->queues[q].parent) {
        int64_t left = p->c->queues[q].limit - p->room.queue_used[q];
        if (p->c->queues[q].limit != NO_LIMIT && left < least)
            least = left;
    }
    return least > 0 ? least : 0;
}

/* Less is had more easily. */
static bool may_be_planned(struct pass *p, struct looking *at, const struct demand *d) {
    struct hope *h = &at->hopes[d->queue][d->level][d->preemptible];
    if (d->filter != ALL_NODES)
        return preempt_may(p, d);
    if (d->gpus_min <= h->some || (h->none && d->gpus_min >= h->none))
        return d->gpus_min <= h->some;
    bool may = preempt_may(p, d);
    *(may ? &h->some : &h->none) = d->gpus_min;
    return may;
}

/* Could it have a place by a plan, or ahead? */
static void look_further(struct pass *p, struct looking *at, int32_t class) {
    const struct wait_brief *b = &p->c->index.briefs[class];
    if (p->c->index.search_nodes > 0 && is_search_due(p, b) && may_be_planned(p, at, &p->c->index.classes[class].demand))
        add_candidate(p, &at->searches, class, b->searched_ms);
    if (!at->looks[class] && b->is_gang && ahead_may_keep(p))
        add_candidate(p, &at->ahead, class, b->ahead_ms);
}

/* Where there is a place by the counts, but over a limit of its queue, that is why it waits. */
static void look_at_class(struct pass *p, struct looking *at, const struct ranked_class *k, int64_t left) {
    const struct shape_look *s = &at->shapes[k->shape];
    bool is_over = s->may_fit & (s->gpus > left);
    at->looks[k->class] = s->may_fit & !is_over ? LOOK_TO_START : LOOK_NOT;
    if (p->c->index.marks[k->class].is_new)
        at->looks[k->class] = LOOK_CLOSELY;
    else if (is_over)
        start_is_limited(p, &p->c->index.classes[k->class].demand, &p->c->index.classes[k->class].reason);
}

static void look_at_queue(struct pass *p, struct looking *at, int32_t queue) {
    const struct ranking *r = &p->c->index.rankings[queue];
    int64_t left = left_by_limits(p, queue);
    for (int32_t i = 0; i < r->count; i++) {
        struct wait_mark *m = &p->c->index.marks[r->items[i].class];
        m->untried |= at->all;
        if (m->never_fits && !m->is_new)
            m->untried = false;
        if (!m->untried || m->is_placed)   /* those that have a place stay untried: one that joins them will not have been */
            continue;
        m->untried = false;
        at->tried[r->items[i].class] = true;
        p->look_ms = p->look_ms == INT64_MAX ? p->now_ms + LOOK_AGAIN_MS : p->look_ms;
        look_at_class(p, at, &r->items[i], left);
    }
}

/* What is worth a look: classes for which there might be a place by the counts, and, as far as this turn goes, those that might have one by
 * a plan or ahead. The others have been tried by that; their reason stays as it was. */
static const enum look *look_at_classes(struct pass *p) {
    struct cluster_index *x = &p->c->index;
    size_t count = (size_t)x->class_count;
    struct looking at = {.looks = arena_array(p->arena, count, sizeof *at.looks),
                         .tried = arena_array(p->arena, count, sizeof *at.tried),
                         .shapes = arena_array(p->arena, (size_t)x->wait_shape_count, sizeof *at.shapes),
                         .hopes = arena_array(p->arena, (size_t)p->c->queue_count, sizeof *at.hopes),
                         .all = x->gain != x->decided_gain,
                         .searches.items = arena_raw(p->arena, count, sizeof *at.searches.items),
                         .ahead.items = arena_raw(p->arena, count, sizeof *at.ahead.items)};
    for (int32_t i = 0; i < x->wait_shape_count; i++) {
        const struct demand *d = &x->wait_shapes[i].slot.demand;
        at.shapes[i] = (struct shape_look){x->wait_shapes[i].classes && place_may_fit(&p->room.index, &p->bounds, d), d->gpus_min};
    }
    for (int32_t q = 0; q < x->ranking_count; q++)
        look_at_queue(p, &at, q);
    for (int32_t i = 0; i < x->class_count && (x->search_nodes > 0 || ahead_may_keep(p)); i++)   /* as they lie in memory */
        if (at.tried[i])
            look_further(p, &at, i);
    choose(p, &at.searches, 1 + x->search_nodes / (1 + p->c->node_count), at.looks);
    choose(p, &at.ahead, p->ahead_tries, at.looks);
    return at.looks;
}

/* Whether one that is elastic fits with more, the reason doesn't say. */
static bool is_never(const struct demand *d, const struct wait_reason *why) {
    return d->gpus == d->gpus_min && (why->code == WAIT_NEVER_FITS || why->code == WAIT_NODE_HEALTH);
}

static void forget_what_never_fits(struct cluster *c) {
    for (int32_t i = 0; i < c->index.class_count && c->index.nodes_changed; i++)
        c->index.marks[i].never_fits = false;
    c->index.nodes_changed = false;
}

/* A shape that was seen not to fit, and what was kept ahead from the one who saw it: from whom as much is kept or more, for him it does not
 * fit either, in all of the turn. */
struct unfit { bool never; uint32_t kept; struct wait_reason why; };

/* The first in line. */
struct head {
    const struct job *j;
    struct wait_class *k;
    struct wait_brief *b;
    struct standing standing;
    bool closely, out, may;   /* to be looked at; kept out whatever is free; admitted */
    bool hopeless, later;     /* what becomes of it, if it doesn't start */
    uint32_t kept;            /* ahead, from it */
    struct wait_reason why;
};

static struct head look_at(struct pass *p, const struct job *j, enum look look) {
    struct head h = {.j = j, .k = &p->c->index.classes[j->wait_class], .b = &p->c->index.briefs[j->wait_class],
                     .closely = look == LOOK_CLOSELY, .why = {.code = WAIT_NO_FIT, .queue = -1}};
    h.standing = standing_of(&p->standings, &h.k->demand);
    h.out = start_is_kept_out(p, j, &h.why);
    h.may = !h.out && start_is_admitted(p, &h.k->demand, &h.why);
    h.kept = h.may ? ahead_kept_from(p, &h.k->demand, h.standing, j) : 0;
    int64_t before = ahead_short_of_quota(p, &h.k->demand, h.kept);
    if (before) {
        h.may = false;
        h.why = (struct wait_reason){.code = WAIT_PRIORITY, .queue = -1, .blocker = before, .of_quota = true};
    }
    return h;
}

/* One of its class has, by the places ahead: that one may start where it can't itself. */
static bool has_equal_ahead(const struct pass *p, const struct head *h) {
    for (int32_t i = 0; i < p->ahead_count; i++)
        if (cluster_job(p->c, p->ahead[i].job)->wait_class == h->j->wait_class)
            return true;
    return false;
}

/* Nothing is to be tried for it but what was in vain. */
static bool is_known_unfit(const struct pass *p, const struct unfit *u, const struct head *h) {
    return u && h->may && !h->closely && !(u->kept & ~h->kept) && !(h->b->is_gang && ahead_may_keep(p)) && !has_equal_ahead(p, h);
}

/* Nothing but the room itself was in its way: then it is in that of all of its shape. */
static void note_unfit(struct pass *p, struct order *o, struct unfit **u, const struct head *h) {
    const struct demand *d = &h->k->demand;
    if (type_barred(&p->room, d) || (d->gpus != d->gpus_min && !share_admits(&p->room, d->queue, d->gpus, d->preemptible)))
        return;
    *u = *u ? *u : arena_alloc(p->arena, sizeof **u);
    **u = (struct unfit){h->hopeless, h->kept, h->why};
    if (!h->kept)
        order_unfit(o, h->b->shape);
}

/* It starts, or will by a plan; or an equal does. */
static bool is_served(struct pass *p, struct order *o, struct line *l, const struct head *h) {
    const struct demand *d = &h->k->demand;
    bool may_plan = h->may || (!h->out && h->why.code == WAIT_QUEUE_LIMIT), starts = false;
    if (h->may) {
        ahead_bind(p, h->kept);
        starts = start_now(p, h->j, d);
        if (starts)
            ahead_note_start(p, d, h->kept);
        if (!starts && start_equal_ahead(p, h->j, d, h->standing))
            return true;
    }
    if (!starts && !(may_plan && h->closely && search(p, h->b, d, h->standing, h->j)))
        return false;
    order_step(o, l);
    return true;
}

/* Finds out why, and keeps a place ahead. */
static void explain(struct pass *p, struct reason_probe *probe, struct head *h) {
    bool keep_ahead = h->b->is_gang && ahead_may_keep(p) && !ahead_has(p, h->j->id);
    if (keep_ahead && probe->budget <= 0)
        probe->budget = 1;   /* that is cheaper than to look for a place where there is none */
    h->later = ahead_keeper_may_let_go(p, h->kept);
    h->hopeless = h->out || (h->may && reason_of_no_place(probe, p, &h->k->demand, &h->why));
    if (!h->hopeless && keep_ahead) {
        h->later |= !ahead_keep(p, h->j, &h->k->demand);
        h->b->ahead_ms = p->now_ms;
    }
}

static void start_waiting(struct pass *p) {
    struct order o;
    struct line *l;
    struct reason_probe probe = {.budget = 1 + REASON_NODES / (1 + p->c->node_count)};
    struct unfit **unfits = arena_array(p->arena, (size_t)p->c->index.wait_shape_count, sizeof *unfits);   /* by shape; NULL: not known */
    room_bound(&p->room, &p->bounds);
    const enum look *looks = look_at_classes(p);
    order_open(&o, p, looks);
    while ((l = order_next(&o))) {
        const struct job *j = order_job(&o, l);
        struct wait_mark *mark = &p->c->index.marks[j->wait_class];
        if (!array_left(p, j) || ahead_is_over(p, j)) {   /* the others of its class, and who joins it, have not been tried */
            mark->untried = true;
            order_step(&o, l);
            continue;
        }
        struct head h = look_at(p, j, looks[j->wait_class]);
        const struct unfit *unfit = unfits[h.b->shape];
        if (is_known_unfit(p, unfit, &h)) {
            h.why = unfit->why;
            h.hopeless = unfit->never;
            h.later = ahead_keeper_may_let_go(p, h.kept);
        } else if (is_served(p, &o, l, &h)) {
            continue;
        } else {
            explain(p, &probe, &h);
            if (h.may)
                note_unfit(p, &o, &unfits[h.b->shape], &h);
        }
        h.k->reason = h.why;
        mark->never_fits = h.hopeless && is_never(&h.k->demand, &h.why);
        give_up(p, j->wait_class, !h.hopeless && h.standing.band != BAND_BORROWED, h.later);
        order_drop(&o, l);
    }
}

/* ---- 7. growth ---- */

/* Somebody waits who could use GPUs that are idle now, when some more are. Not so who is kept out by a limit or would not fit if all were
 * free, and a gang for which a place is kept ahead: that is left to it. */
static bool is_waited_for(const struct pass *p, const struct wait_class *k) {
    struct wait_reason why;
    if (k->reason.code == WAIT_NEVER_FITS || k->reason.code == WAIT_NODE_HEALTH || !start_is_admitted(p, &k->demand, &why))
        return false;
    for (int32_t i = 0; i < k->line_count; i++)
        for (int32_t n = 0; n < k->lines[i].jobs.count; n++) {
            const struct job *j = k->lines[i].jobs.items[n];
            if (!j->is_placed && !ahead_has(p, j->id))
                return !start_is_kept_out(p, j, &why);
        }
    return false;
}

static bool anybody_waits(const struct pass *p) {
    const struct cluster_index *x = &p->c->index;
    for (int32_t i = 0; i < x->class_count; i++)
        if (x->briefs[i].jobs > x->briefs[i].placed && is_waited_for(p, &x->classes[i]))
            return true;
    return x->cooling.count > 0;
}

/* What this plan does comes first: whoever it starts is still among those who wait. */
static void grow_elastic(struct pass *p) {
    if (!scale_may_grow(p))
        return;
    if (p->plan->count)
        p->again = true;
    else if (!anybody_waits(p))
        scale_grow(p);
}

/* ---- the list ---- */

void policy_decide(struct cluster *c, int64_t now_ms, struct arena *arena, struct plan *plan) {
    struct pass p = {.c = c, .now_ms = now_ms, .arena = arena, .plan = plan, .look_ms = INT64_MAX};
    assert(c->index.job_count == c->job_count && "jobs were put in by hand: cluster_reindex is missing");
    *plan = (struct plan){0};
    c->index.passes++;
    if (now_ms >= c->index.look_ms)
        index_gain(c);
    forget_what_never_fits(c);
    fail_broken(&p);
    end_overdue(&p);
    if (c->index.gain == c->index.decided_gain && !c->index.fresh)
        return;   /* nothing was gained, and no job came that is not like one that waits already */
    pass_look_around(&p);
    c->index.priced &= c->index.gain == c->index.decided_gain;   /* else all is tried anew */
    evict_over(&p);
    mark_stopped(&p);
    ahead_open(&p);
    use_reservations(&p);
    ahead_call_in(&p);
    earn_searches(&p);
    start_waiting(&p);
    grow_elastic(&p);
    for (int32_t q = 0; q < c->queue_count; q++)
        c->queues[q].saturated = !p.shares.types && p.shares.of[0].demand[q] > p.shares.of[0].entitled[q];
    user_limit_close(&p);
    if (c->index.gain != c->index.decided_gain || p.look_ms < c->index.look_ms)   /* else those wait on that were looked at before */
        c->index.look_ms = p.look_ms;
    c->index.decided_gain = c->index.gain;
    if (standings_lend_more(&p.standings, &p.room))   /* what this plan starts takes a queue beyond its guarantee */
        index_gain(c);
    c->index.priced |= p.reserved_count > 0;
    c->index.fresh = plan->count && (p.again || p.reserved_count);   /* who starts now may be one to take from */
}

void policy_step(struct cluster *c, const struct event *events, struct error *errors, size_t count, int64_t now_ms, struct arena *arena,
                 struct plan *plan) {
    for (size_t i = 0; i < count; i++) {
        errors[i].code = ERR_OK;
        cluster_apply(c, &events[i], now_ms, &errors[i]);
    }
    policy_decide(c, now_ms, arena, plan);
    for (size_t i = 0; i < plan->count; i++) {
        struct error err = {0};
        int rc = cluster_apply(c, &plan->decisions[i], now_ms, &err);
        assert(!rc && "the policy decided what can't be");
        (void)rc;
    }
}
