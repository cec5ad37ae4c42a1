#include "scheduler/policy/outlook.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/preempt.h"
#include "scheduler/policy/start.h"
#include "scheduler/policy/user_limit.h"

enum { TRIES = 256 };

void outlook_open(struct outlook_asker *a, struct cluster *c, int64_t now_ms, const struct job *newcomer, const bool *may_use,
                  struct arena *arena) {
    bool counts = newcomer && newcomer->state == JOB_PENDING && !newcomer->after_count;
    *a = (struct outlook_asker){.probe.budget = INT32_MAX, .newcomer = newcomer, .may_use = may_use, .tries_left = TRIES};
    c->index.newcomer = counts ? newcomer : NULL;
    pass_open(&a->pass, c, now_ms, arena, &a->plan);
    c->index.newcomer = NULL;
}

void outlook_close(struct outlook_asker *a) { user_limit_close(&a->pass); }

/* ---- what would become of a newcomer ---- */

static void place_from(const struct cluster *c, const struct event_placement *row, struct placement *out, struct arena *arena) {
    const struct event_task *tasks = row->tasks.items;
    *out = (struct placement){.task_count = (int32_t)row->tasks.count, .level = (enum topology_level)row->level,
                              .bottleneck_gbs = (uint32_t)row->bottleneck_gbs,
                              .tasks = arena_array(arena, row->tasks.count, sizeof *out->tasks)};
    for (size_t i = 0; i < row->tasks.count; i++) {
        out->tasks[i] = (struct task){.node = cluster_node(c, tasks[i].node), .gpus = (uint32_t)tasks[i].gpus,
                                      .ranks = (int32_t)tasks[i].ranks};
        for (size_t g = 0; g < tasks[i].gpu_order.count; g++)
            out->tasks[i].gpu_order[g] = (uint8_t)tasks[i].gpu_order.items[g];
    }
}

/* What the plan that was found for it does: whom it stops, and where it starts then. */
static void tell_plan(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    const struct cluster *c = a->pass.c;
    int64_t last_ms = a->pass.now_ms, grace_ms = 0;
    out->verdict = OUTLOOK_TAKES;
    for (size_t i = 0; i < a->plan.count; i++) {
        const struct event *e = &a->plan.decisions[i];
        if (e->type == EVENT_RESERVE && e->job == j->id)
            place_from(c, &e->placement, &out->where, a->pass.arena);
        if (e->type != EVENT_JOB_STOP)
            continue;
        const struct job *victim = cluster_job(c, e->job);
        if (out->holder_count < OUTLOOK_HOLDERS)
            out->holders[out->holder_count] = victim->id;
        out->holder_count++;
        out->holder_gpus += placement_gpus(&victim->placement);
        out->rule = e->rule;
        grace_ms = victim->grace_ms > grace_ms ? victim->grace_ms : grace_ms;
        last_ms = e->deadline_ms > last_ms ? e->deadline_ms : last_ms;
    }
    char grace[32];
    if (!out->holder_count)   /* what goes anyway is enough */
        forecast_kept(&a->pass, &(struct reservation){.job = j->id, .placement = out->where}, &out->expected);
    else
        out->expected.at_ms = last_ms;
    if (out->holder_count)
        snprintf(out->expected.basis, sizeof out->expected.basis, "as soon as they have saved their work, which their grace of %s bounds",
                 text_duration(grace_ms, grace, sizeof grace));
    else
        snprintf(out->expected.basis, sizeof out->expected.basis, "as soon as what is stopping anyway has left");
}

static bool may_take(struct outlook_asker *a, const struct job *j, const struct demand *d) {
    return preempt_may(&a->pass, d) && preempt_for(&a->pass, j, d);
}

/* As a turn would, in its order. */
static void judge_newcomer(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct pass *p = &a->pass;
    struct demand d = job_demand(p->c, j);
    struct wait_reason *why = &out->reason;
    if (j->state == JOB_HELD) {
        why->code = WAIT_HELD;
    } else if (j->after_count) {
        *why = (struct wait_reason){.code = WAIT_DEPENDENCY, .queue = -1, .blocker = j->after[0].job, .asked = j->after_count};
    } else if (outlook_strictly_before(p->c, j)) {
        *why = (struct wait_reason){.code = WAIT_PRIORITY, .queue = j->queue, .blocker = outlook_strictly_before(p->c, j)};
    } else if (!start_is_kept_out(p, j, why)) {
        bool may = start_is_admitted(p, &d, why), limited = why->code == WAIT_QUEUE_LIMIT;
        uint32_t kept = may ? ahead_kept_from(p, &d, standing_of(&p->standings, &d), j) : 0;
        int64_t before = ahead_short_of_quota(p, &d, kept);
        may &= !before;
        if (before)
            *why = (struct wait_reason){.code = WAIT_PRIORITY, .queue = -1, .blocker = before, .of_quota = true};
        if (may)
            ahead_bind(p, kept);
        if (may && start_find_place(p, &d, &out->where))
            out->verdict = OUTLOOK_STARTS;
        else if ((may || limited) && may_take(a, j, &d))
            tell_plan(a, j, out);
        else if (may)
            reason_of_no_place(&a->probe, p, &d, why);
        if (may && out->verdict == OUTLOOK_WAITS)
            ahead_bind(p, 0);
    }
    reason_name_blocker(p->c, j, why);
}

/* ---- who is in the way ---- */

static bool is_where_it_may_go(const struct cluster *c, const struct job *own, const struct job *holder) {
    for (int32_t i = 0; i < holder->placement.task_count && own->filter != ALL_NODES; i++)
        if (node_filter_passes(c, own->filter, holder->placement.tasks[i].node))
            return true;
    return own->filter == ALL_NODES;
}

/* By what a turn keeps of the running jobs side by side: there are many of them. */
static bool is_in_the_way(const struct cluster *c, const struct wait_reason *r, const struct job *own, const struct live_brief *holder) {
    bool by_holders = r->code == WAIT_QUEUE_LIMIT || r->code == WAIT_QUOTA || r->code == WAIT_USER_LIMIT || r->code == WAIT_NO_FIT ||
                      r->code == WAIT_TOPOLOGY || r->code == WAIT_CONSTRAINT;
    bool inside = r->queue < 0 || queue_is_within(c, holder->queue, r->queue);
    if (!by_holders || !inside || holder->job == own || (r->code == WAIT_QUOTA && holder->preemptible))
        return false;
    if (r->code == WAIT_USER_LIMIT)
        return holder->job->uid == own->uid;
    return (holder->gpus || r->asked_cpus) && (r->queue >= 0 || is_where_it_may_go(c, own, holder->job));
}

/* The largest first; of equals, the one that has been there longest. */
static void add_holder(struct outlook *out, int32_t sizes[OUTLOOK_HOLDERS], const struct live_brief *holder) {
    int32_t at = out->holder_count < OUTLOOK_HOLDERS ? out->holder_count : OUTLOOK_HOLDERS - 1;
    bool full = out->holder_count >= OUTLOOK_HOLDERS;
    out->holder_count++;
    out->holder_gpus += holder->gpus;
    if (full && sizes[at] >= holder->gpus)
        return;
    for (; at > 0 && sizes[at - 1] < holder->gpus; at--) {
        out->holders[at] = out->holders[at - 1];
        sizes[at] = sizes[at - 1];
    }
    out->holders[at] = holder->job->id;
    sizes[at] = holder->gpus;
}

static bool holds_some_of(const struct job *j, const struct placement *where) {
    for (int32_t i = 0; i < where->task_count; i++) {
        const struct task *t = job_task_on(j, where->tasks[i].node);
        if (t && t->state != TASK_ENDED && t->gpus & where->tasks[i].gpus)
            return true;
    }
    return false;
}

static void name_holders(const struct outlook_asker *a, const struct job *j, struct outlook *out) {
    const struct cluster *c = a->pass.c;
    const struct reservation *kept = cluster_reservation(c, j->id);
    bool own_place = kept && kept->kind != KEPT_AHEAD;
    int32_t sizes[OUTLOOK_HOLDERS];
    for (int32_t i = 0; i < j->after_count && out->reason.code == WAIT_DEPENDENCY; i++, out->holder_count++)
        if (out->holder_count < OUTLOOK_HOLDERS)
            out->holders[out->holder_count] = j->after[i].job;
    for (int32_t i = 0; i < c->index.run_count; i++) {
        const struct live_brief *holder = &c->index.runs[i];
        if (own_place ? holder->job != j && holds_some_of(holder->job, &kept->placement) : is_in_the_way(c, &out->reason, j, holder))
            add_holder(out, sizes, holder);
    }
    if (!out->holder_count && out->reason.blocker)
        out->holders[out->holder_count++] = out->reason.blocker;
}

/* ---- when ---- */

__attribute__((format(printf, 2, 3))) static void expect_nothing(struct outlook *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(out->expected.basis, sizeof out->expected.basis, format, args);
    va_end(args);
    out->expected.at_ms = INT64_MAX;
}

/* When the last of those that it waits for is promised to end; INT64_MAX: the first that promises nothing is told. */
static int64_t dependencies_end_ms(const struct outlook_asker *a, const struct job *j, struct outlook *out) {
    int64_t last_ms = a->pass.now_ms;
    for (int32_t i = 0; i < j->after_count; i++) {
        const struct job *other = cluster_job(a->pass.c, j->after[i].job);
        struct promised end = {INT64_MAX, PROMISE_NONE};
        if (other && job_state_holds_gpus((int)other->state))
            end = forecast_end(a->pass.c, other, a->pass.now_ms);
        if (end.end_ms == INT64_MAX) {
            expect_nothing(out, "job %s, which it waits for, %s", job_name(a->pass.c, j->after[i].job).text,
                           other && job_state_holds_gpus((int)other->state) ? "has no time limit" : "waits itself");
            return INT64_MAX;
        }
        last_ms = end.end_ms > last_ms ? end.end_ms : last_ms;
    }
    return last_ms;
}

static void expect_start(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct pass *p = &a->pass;
    const struct reservation *kept = cluster_reservation(p->c, j->id);
    int64_t ready_ms = p->now_ms;
    if (out->reason.code == WAIT_HELD) {
        expect_nothing(out, "it is held until somebody releases it");
        return;
    }
    if (out->reason.code == WAIT_QUEUE_CLOSED) {
        expect_nothing(out, "queue %s is drained until somebody resumes it", p->c->queues[out->reason.queue].name);
        return;
    }
    bool limited = out->reason.code == WAIT_QUEUE_LIMIT || out->reason.code == WAIT_QUOTA || out->reason.code == WAIT_USER_LIMIT;
    if (kept && !(kept->kind == KEPT_AHEAD && limited)) {   /* who holds its place is not who uses up its limit */
        forecast_kept(p, kept, &out->expected);
        if (kept->kind != KEPT_AHEAD || out->expected.at_ms != INT64_MAX)
            return;
    }
    if (out->reason.code == WAIT_DEPENDENCY && (ready_ms = dependencies_end_ms(a, j, out)) == INT64_MAX)
        return;
    if (out->reason.code == WAIT_COOL_DOWN)
        ready_ms = out->reason.limit;
    forecast_start(p, j, &out->reason, ready_ms, &out->expected);
}

void outlook_ask(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    *out = (struct outlook){.reason = {.code = WAIT_NONE, .queue = -1}, .expected.at_ms = INT64_MAX, .rule = ""};
    if (j == a->newcomer)
        judge_newcomer(a, j, out);
    else
        policy_reason(a->pass.c, j, &out->reason);
    if (out->verdict != OUTLOOK_WAITS || out->reason.code == WAIT_NONE)
        return;
    name_holders(a, j, out);
    expect_start(a, j, out);
    outlook_find_changes(a, j, out);
}
