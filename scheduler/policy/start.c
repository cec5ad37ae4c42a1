#include "scheduler/policy/start.h"

#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/scale.h"
#include "scheduler/policy/share.h"
#include "scheduler/policy/user_limit.h"

void pass_look_around(struct pass *p) {
    index_refresh(p->c);
    room_open(&p->room, p->c, p->arena);
    shares_open(&p->shares, p->c, p->arena);
    standings_open(&p->standings, p->c, &p->shares, p->now_ms, p->arena);
    user_limit_open(p);
}

void pass_open(struct pass *p, struct cluster *c, int64_t now_ms, struct arena *arena, struct plan *plan) {
    *plan = (struct plan){0};
    *p = (struct pass){.c = c, .now_ms = now_ms, .arena = arena, .plan = plan, .look_ms = INT64_MAX};
    pass_look_around(p);
    ahead_open(p);
    ahead_note_due(p);
}

bool start_is_kept_out(const struct pass *p, const struct job *j, struct wait_reason *why) {
    int32_t closed = queue_closed_by(p->c, j->queue), full = user_limit_reached(p, j);
    if (closed >= 0)
        *why = (struct wait_reason){.code = WAIT_QUEUE_CLOSED, .queue = closed, .asked = j->gpus};
    else if (full >= 0)
        *why = (struct wait_reason){.code = WAIT_USER_LIMIT, .queue = full, .asked = 1, .limit = p->c->queues[full].max_running_per_user};
    return closed >= 0 || full >= 0;
}

bool start_is_limited(const struct pass *p, const struct demand *d, struct wait_reason *why) {
    int32_t q = share_over_limit(p->c, p->room.queue_used, d->queue, d->gpus_min);
    if (q >= 0)
        *why = (struct wait_reason){.code = WAIT_QUEUE_LIMIT, .queue = q, .asked = d->gpus_min, .limit = p->c->queues[q].limit,
                                    .available = p->c->queues[q].limit - p->room.queue_used[q]};
    return q >= 0;
}

bool start_is_admitted(const struct pass *p, const struct demand *d, struct wait_reason *why) {
    int32_t q;
    if (start_is_limited(p, d, why))
        return false;
    if (!d->preemptible && (q = share_over_guarantee(p->c, p->room.queue_fixed, d->queue, d->gpus_min)) >= 0) {
        *why = (struct wait_reason){.code = WAIT_QUOTA, .queue = q, .asked = d->gpus_min, .limit = share_guarantee(p->c, q),
                                    .available = share_guarantee(p->c, q) - p->room.queue_fixed[q]};
        return false;
    }
    return true;
}

bool start_find_place(struct pass *p, const struct demand *d, struct placement *where) {
    uint32_t barred[STANDING_WAYS_MAX];
    int ways = standing_ways(&p->standings, d, barred);
    struct demand on = *d;
    for (int i = 0; i < ways; i++) {
        on.barred = d->barred | barred[i];
        if (place_largest(&p->room, &on, scale_most(p, d), where))
            return true;
    }
    return false;
}
