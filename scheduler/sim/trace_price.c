#include "scheduler/sim/trace_price.h"

#include <string.h>

#include "scheduler/cluster/index.h"
#include "scheduler/policy/plan.h"
#include "scheduler/policy/preempt.h"
#include "scheduler/policy/price_bound.h"
#include "scheduler/policy/right.h"

static const double GPU_SECOND = 1000;   /* a bound of less counts as one: nobody is worse off for that */

/* Those that it stops stand right behind the place that it keeps. */
struct stops { size_t from, to; int64_t price; bool evicts, moves; };

static struct stops stops_of(const struct cluster *c, const struct plan *plan, size_t k, int64_t now_ms) {
    struct stops s = {.from = k + 1, .to = k + 1};
    for (; s.to < plan->count; s.to++) {
        const struct event *e = &plan->decisions[s.to];
        if (e->type != EVENT_JOB_STOP || e->other != plan->decisions[k].job)
            break;
        if (!strcmp(e->rule, "loan"))
            continue;   /* its place was chosen long ago */
        s.price += job_price(cluster_job(c, e->job), now_ms);
        s.evicts |= e->cause == STOP_PREEMPTED;
        s.moves |= e->cause == STOP_MOVED;
    }
    return s;
}

static bool stops_job(const struct plan *plan, const struct stops *s, int64_t job) {
    for (size_t n = s->from; n < s->to; n++)
        if (plan->decisions[n].job == job)
            return true;
    return false;
}

/* What a plan turns to last (P3): a plan that does without is compared with such as do without. */
struct last { bool packs, takes_guaranteed; };

static struct last last_of(const struct pass *p, const struct taker *t, const struct plan *plan, const struct stops *s) {
    struct last l = {.packs = false};
    for (int32_t i = 0; i < p->standings.count; i++) {
        const struct runner *k = &p->standings.runners[i];
        bool is_stopped = stops_job(plan, s, k->job->id);
        l.packs |= is_stopped && right_over(t, k) == RIGHT_PACK;
        l.takes_guaranteed |= is_stopped && band_is_guaranteed(k->standing.band);
    }
    return l;
}

/* Whom a plan of its kind might stop; those of this one among them. */
static void find_leaving(const struct pass *p, const struct job *j, const struct plan *plan, const struct stops *s, bool *may_leave) {
    struct demand d = job_demand(p->c, j);
    struct taker t = right_taker(&p->standings, j, &d, p->now_ms);
    struct last l = last_of(p, &t, plan, s);
    for (int32_t i = 0; i < p->standings.count; i++) {
        const struct runner *k = &p->standings.runners[i];
        enum right by = right_over(&t, k);
        bool may = (by != RIGHT_NONE && (by != RIGHT_PACK || l.packs)) || (s->moves && runner_is_movable(&p->standings, k));
        may_leave[i] = (may && (l.takes_guaranteed || !band_is_guaranteed(k->standing.band))) || stops_job(plan, s, k->job->id);
    }
}

/* As this plan spreads the gang over nodes. */
static double bound_of(struct pass *p, const struct plan *plan, size_t k, const struct stops *s) {
    const struct event_task *tasks = plan->decisions[k].placement.tasks.items;
    bool *may_leave = arena_array(p->arena, (size_t)p->standings.count, sizeof *may_leave);
    int32_t nodes_of[ROOM_GPUS_MAX + 1] = {0};
    for (size_t i = 0; i < plan->decisions[k].placement.tasks.count; i++)
        nodes_of[__builtin_popcount((uint32_t)tasks[i].gpus)]++;
    find_leaving(p, cluster_job(p->c, plan->decisions[k].job), plan, s, may_leave);
    standings_link_nodes(&p->standings, p->c->node_count, p->arena);
    preempt_give_what_goes(p);
    return price_bound(&(struct bound_question){&p->standings, &p->room, may_leave, nodes_of, (double)s->price, p->arena});
}

void price_count(struct price_sums *s, struct cluster *c, const struct plan *plan, size_t k, int64_t now_ms, struct arena *arena) {
    const struct event *e = &plan->decisions[k];
    struct stops stops = {0};
    if (e->type == EVENT_RESERVE && e->kind == KEPT_BY_PLAN)
        stops = stops_of(c, plan, k, now_ms);
    if (!stops.evicts)
        return;
    struct pass p = {.c = c, .now_ms = now_ms, .arena = arena};
    index_refresh(c);
    room_open(&p.room, c, arena);
    shares_open(&p.shares, c, arena);
    standings_open(&p.standings, c, &p.shares, now_ms, arena);
    double price = (double)stops.price, least = bound_of(&p, plan, k, &stops), one = price / (least > GPU_SECOND ? least : GPU_SECOND);
    s->plans++;
    s->paid += price;
    s->least += least;
    s->worst = one > s->worst ? one : s->worst;
}
