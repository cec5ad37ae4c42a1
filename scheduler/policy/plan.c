#include "scheduler/policy/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/policy/array_limit.h"
#include "scheduler/policy/user_limit.h"

struct event *plan_add(struct pass *p, enum event_type type, int64_t job) {
    struct plan *plan = p->plan;
    if (plan->count == plan->capacity) {
        size_t capacity = plan->capacity ? 2 * plan->capacity : 16;
        struct event *grown = arena_array(p->arena, capacity, sizeof *grown);
        if (plan->count)
            memcpy(grown, plan->decisions, plan->count * sizeof *grown);
        plan->decisions = grown;
        plan->capacity = capacity;
    }
    struct event *e = &plan->decisions[plan->count++];
    event_init(e, type);
    e->job = job;
    return e;
}

void plan_text(struct pass *p, struct event *e, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->text = arena_copy(p->arena, text, strlen(text));
}

static void promise(struct pass *p, const struct job *j, const struct placement *where) {
    standings_promise(&p->standings, j->queue, j->gpus_min, share_type_of(&p->shares, p->c, where));
}

void plan_start(struct pass *p, const struct job *j, const struct placement *where) {
    struct event *e = plan_add(p, EVENT_JOB_START, array_job(p, j));
    e->attempt = j->attempt + 1;
    e->lease = p->c->next_lease + p->leases_given++;
    event_placement_from(p->c, where, &e->placement, p->arena);
    room_take(&p->room, j, where);
    user_limit_count(p, j, 1);
    if (p->standings.c)
        promise(p, j, where);
}

int64_t plan_reserve(struct pass *p, const struct job *j, const struct placement *where, enum keeping kind, int64_t expected_ms) {
    int64_t job = kind == KEPT_BY_PLAN ? array_job(p, j) : j->id;
    struct event *e = plan_add(p, EVENT_RESERVE, job);
    e->kind = kind;
    e->deadline_ms = expected_ms;
    event_placement_from(p->c, where, &e->placement, p->arena);
    p->reserved_count++;
    if (kind == KEPT_BY_PLAN) {
        room_keep(&p->room, j, where);
        user_limit_count(p, j, 1);
        promise(p, j, where);
    } else if (kind == KEPT_AS_SEAT) {
        room_keep(&p->room, j, where);
        if (job_is_elastic(j))   /* its least goes on being its queue's */
            promise(p, j, where);
    }
    return job;
}

struct event *plan_stop(struct pass *p, const struct job *j, enum stop_cause cause, int64_t deadline_ms, int64_t stop_for) {
    struct event *e = plan_add(p, EVENT_JOB_STOP, j->id);
    e->attempt = j->attempt;
    e->lease = j->lease;
    e->cause = cause;
    e->deadline_ms = deadline_ms;
    e->other = stop_for;
    return e;
}

struct job_name plan_job_name(const struct pass *p, int64_t job) {
    struct job_name name = job_name(p->c, job);
    for (size_t i = 0; i < p->plan->count; i++) {
        const struct event *e = &p->plan->decisions[i];
        if (e->type == EVENT_JOB_ELEMENT && e->job == job)
            job_ref_text(job_ref(e->other, e->element), name.text);
    }
    return name;
}

void plan_tell(struct event *stop, const struct plan_account *account) {
    stop->rule = account->rule;
    stop->gpus_asked = account->asked;
    stop->gpus_taken = account->taken;
    stop->gpu_type = account->gpu_type ? account->gpu_type : "";
}
