#include "scheduler/turn.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

struct event *turn_event(struct turn *t, enum event_type type) {
    t->events = xgrow(t->events, &t->event_capacity, t->event_count + 1, sizeof *t->events);
    t->errors = xgrow(t->errors, &t->error_capacity, t->event_count + 1, sizeof *t->errors);
    struct event *e = &t->events[t->event_count];
    t->errors[t->event_count].code = ERR_OK;
    event_init(e, type);
    t->event_count++;
    return e;
}

struct waiter *turn_waiter(struct turn *t, const struct peer *peer, enum message_type asked, int64_t id, size_t first_event) {
    t->waiters = xgrow(t->waiters, &t->waiter_capacity, t->waiter_count + 1, sizeof *t->waiters);
    struct waiter *w = &t->waiters[t->waiter_count++];
    *w = (struct waiter){.peer = *peer, .asked = asked, .id = id, .first = first_event, .count = t->event_count - first_event};
    return w;
}

struct submission *turn_submission(struct turn *t) {
    t->submissions = xgrow(t->submissions, &t->submission_capacity, t->submission_count + 1, sizeof *t->submissions);
    struct submission *s = &t->submissions[t->submission_count++];
    *s = (struct submission){0};
    return s;
}

void turn_tail(struct turn *t, int64_t job, int64_t attempt, struct bytes body) {
    t->tails = xgrow(t->tails, &t->tail_capacity, t->tail_count + 1, sizeof *t->tails);
    t->tails[t->tail_count++] = (struct log_tail){job, attempt, {body.size, arena_copy(&t->arena, body.data, body.size)}};
}

size_t turn_total(const struct turn *t) { return t->event_count + t->plan.count; }

const struct event *turn_accepted(const struct turn *t, size_t i) {
    if (i >= t->event_count)
        return &t->plan.decisions[i - t->event_count];
    return t->errors[i].code ? NULL : &t->events[i];
}

bool turn_is_empty(const struct turn *t) {
    for (size_t i = 0; i < turn_total(t); i++)
        if (turn_accepted(t, i))
            return false;
    return true;
}

static void drop_waiters(struct turn *t) {
    for (size_t i = 0; i < t->waiter_count; i++)
        json_decref(t->waiters[i].rows);
    t->waiter_count = 0;
}

void turn_reset(struct turn *t) {
    arena_reset(&t->arena);
    drop_waiters(t);
    t->event_count = t->submission_count = t->tail_count = 0;
    t->plan = (struct plan){0};
}

void turn_release(struct turn *t) {
    arena_release(&t->arena);
    drop_waiters(t);
    free(t->events);
    free(t->errors);
    free(t->submissions);
    free(t->waiters);
    free(t->tails);
    *t = (struct turn){0};
}
