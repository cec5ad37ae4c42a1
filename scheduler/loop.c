/* The loop of musterd: messages become events, the policy decides, the turn is committed, effects go out.
 *
 * Invariant: what changes state is neither acknowledged nor ordered before its turn has committed. A crash between any two lines of
 * turn_run is safe: whoever was not answered sends again, and orders are derived from what is stored.
 */
#include "scheduler/loop.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "scheduler/collect.h"
#include "scheduler/dispatch.h"
#include "scheduler/policy/decide.h"
#include "scheduler/progress.h"
#include "scheduler/prune.h"
#include "scheduler/recover.h"
#include "scheduler/relay.h"
#include "scheduler/view.h"

enum { IDLE_TIDY_MS = 1000 };

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t next_wake_ms(const struct musterd *d) {
    int64_t now_ms = clock_boot_ms(), at_ms = now_ms + IDLE_TIDY_MS;
    int64_t due_ms = cluster_next_deadline_ms(&d->cluster);
    if (!d->store_failure.code && due_ms < INT64_MAX)
        at_ms = earlier(at_ms, due_ms - d->cluster_base_ms + d->boot_base_ms);
    if (d->store_failure.code)
        at_ms = earlier(at_ms, d->store_retry_ms);
    at_ms = earlier(at_ms, dispatch_next_ms(d));
    at_ms = earlier(at_ms, view_next_ms(d));
    at_ms = earlier(at_ms, relay_next_ms(d));
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

/* Nothing else is to do: what can wait for that is done in small steps. Returns for how long nothing is to do then. */
static int64_t use_idle_time(struct musterd *d, int64_t wait_ms) {
    store_tidy(d->store, true);
    prune_step(d, true);
    int64_t prune_ms = prune_next_ms(d) - clock_boot_ms();
    return earlier(wait_ms, prune_ms > 0 ? prune_ms : 0);
}

/* The only place that blocks. true: a signal asks to stop. */
static bool wait_for_messages(struct musterd *d, int signal_fd) {
    struct pollfd fds[CHANNEL_COUNT + 2] = {{signal_fd, POLLIN, 0}, {reader_fd(d->reader), POLLIN, 0}};
    nfds_t count = 2;
    bool pending = false;
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        if (!d->channels[i])
            continue;
        fds[count++] = (struct pollfd){channel_fd(d->channels[i]), POLLIN, 0};
        pending |= channel_pending(d->channels[i]);
    }
    int64_t wait_ms = pending ? 0 : next_wake_ms(d);
    if (wait_ms > 0)
        wait_ms = use_idle_time(d, wait_ms);
    if (poll(fds, count, (int)wait_ms) < 0 && errno != EINTR)
        log_error("poll_failed", "errno=%d", errno);
    return fds[0].revents & POLLIN;
}

/* Is there anything to decide? Soft state alone makes no turn. */
static bool turn_is_due(const struct musterd *d) {
    return !d->store_failure.code && (d->turn.event_count || cluster_next_deadline_ms(&d->cluster) <= musterd_cluster_ms(d));
}

static void turn_begin(struct musterd *d) {
    struct turn *t = &d->turn;
    turn_reset(t);
    if (!d->store_failure.code) {
        d->cluster.turn = (uint64_t)store_turn(d->store) + 1;
        soft_forget_finished(&d->soft, &d->cluster);
        cluster_forget_finished(&d->cluster, d->cluster.turn);
    }
    t->now_ms = musterd_cluster_ms(d);
    t->wall_ms = clock_wall_ms();
    t->first_job = t->next_job = d->cluster.next_job;
}

static void turn_run(struct musterd *d) {
    struct turn *t = &d->turn;
    struct cluster *c = &d->cluster;
    struct error err = {0};
    policy_step(c, t->events, t->errors, t->event_count, t->now_ms, &t->arena, &t->plan);
    if (turn_is_empty(t)) {
        store_note_idle(d->store, t->now_ms);
        dispatch_answers(d);
        return;
    }
    soft_absorb(&d->soft, c, t);
    if (store_commit(d->store, c, &d->soft, t, &err))
        recover_from_failed_commit(d, &err);
    else
        dispatch(d);
}

void loop_run(struct musterd *d, int signal_fd) {
    while (!wait_for_messages(d, signal_fd)) {
        turn_begin(d);
        collect_events(d);
        if (turn_is_due(d))
            turn_run(d);
        dispatch_again(d);
        view_answer_parked(d);
        relay_expire(d);
        recover_try_again(d);
        store_tidy(d->store, false);
        prune_step(d, false);
    }
}
