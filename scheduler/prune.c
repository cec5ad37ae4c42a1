/* When to drop what of history; see prune.h. What is stored and deleted is in store_prune.c. */
#include "scheduler/prune.h"

#include "common/clock.h"
#include "common/log.h"

enum {
    LOOK_MS = 60000,        /* how often the age of the oldest turn is looked at, at most */
    STEP_MS = 20,           /* between two steps when idle */
    BUSY_MS = 1000,         /* ... and when never idle: history is bounded then, too */
    RETRY_MS = 60000,
    SLACK_PART = 16,
};

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

static void rest(struct musterd *d, int64_t for_ms) {
    d->prune.stage = PRUNE_RESTS;
    d->prune.due_ms = clock_boot_ms() + for_ms;
}

static void ask_for_rows(struct musterd *d) {
    struct error err;
    struct read *q = read_new_of_log(READ_SNAPSHOT, NULL, 0);
    q->to_turn = d->prune.to_turn;
    d->prune.stage = PRUNE_ASKED;
    if (reader_ask(d->reader, q, &err))
        rest(d, RETRY_MS);
}

/* Is the oldest turn too old? Then all that are older than the bound go. */
static void look(struct musterd *d) {
    struct prune *p = &d->prune;
    int64_t bound_ms = d->settings.history_ms, now_ms = musterd_cluster_ms(d), slack_ms = bound_ms / SLACK_PART;
    struct store_age age;
    struct error err;
    rest(d, earlier(LOOK_MS, slack_ms / 2 + 100));
    if (store_find_age(d->store, now_ms - bound_ms, &age, &err)) {
        log_warn("history_not_read", "reason=\"%s\"", err.text);
        return;
    }
    if (!age.turns_before || age.oldest_ms >= now_ms - bound_ms - slack_ms)
        return;
    p->to_turn = age.last_before;
    p->position = 0;
    p->dropped_turns = p->dropped_jobs = 0;
    if (age.has_snapshot)
        p->stage = PRUNE_DROPS;
    else
        ask_for_rows(d);
}

void prune_take(struct musterd *d, struct read *take_q) {
    prune_release(d);
    d->prune.got = take_q;
    d->prune.stage = PRUNE_WRITES;
}

/* The log does not lead to what was decided then: from here on it begins with what is known now, and the old turns may go all the same. */
static int begin_anew(struct musterd *d, const struct error *why, struct error *err) {
    log_error("log_not_replayable", "turn=%lld reason=\"%s\"", (long long)d->prune.to_turn, why->text);
    return store_write_snapshot(d->store, &d->cluster, clock_wall_ms(), "the log before could not be applied again", err);
}

static int write_rows(struct musterd *d, const struct read *q, struct error *err) {
    struct prune *p = &d->prune;
    if (q->err.code == ERR_FAILED || q->err.code == ERR_NOT_FOUND) {
        p->stage = PRUNE_DROPS;
        return begin_anew(d, &q->err, err);
    }
    if (q->err.code)
        return error_set(err, q->err.code, "%s", q->err.text);
    int rc = store_write_snapshot_part(d->store, p->to_turn, p->position, q->rows, q->row_count, q->end ? &q->head : NULL, err);
    p->position += (int64_t)q->row_count;
    if (!rc && q->end)
        p->stage = PRUNE_DROPS;
    else if (!rc)
        ask_for_rows(d);
    return rc;
}

static int drop(struct musterd *d, struct error *err) {
    struct prune *p = &d->prune;
    struct store_dropped dropped;
    int rc = store_drop_some(d->store, p->to_turn, &dropped, err);
    if (rc)
        return rc;
    p->dropped_turns += dropped.turns;
    p->dropped_jobs += dropped.jobs;
    if (dropped.all) {
        log_info("history_dropped", "up_to_turn=%lld turns=%lld jobs=%lld", (long long)p->to_turn, (long long)p->dropped_turns,
                 (long long)p->dropped_jobs);
        rest(d, 0);
    }
    return 0;
}

void prune_step(struct musterd *d, bool idle) {
    struct prune *p = &d->prune;
    struct error err;
    int64_t now_ms = clock_boot_ms();
    int rc = 0;
    if (!d->store || d->store_failure.code || p->stage == PRUNE_ASKED || now_ms < p->due_ms + (idle ? 0 : BUSY_MS))
        return;
    p->due_ms = now_ms + STEP_MS;
    if (p->stage == PRUNE_RESTS)
        look(d);
    else if (p->stage == PRUNE_WRITES)
        rc = write_rows(d, p->got, &err);
    else
        rc = drop(d, &err);
    if (!rc)
        return;
    log_warn("history_not_dropped", "reason=\"%s\"", err.text);
    rest(d, RETRY_MS);
}

int64_t prune_next_ms(const struct musterd *d) {
    return d->prune.stage == PRUNE_ASKED || !d->store || d->store_failure.code ? INT64_MAX : d->prune.due_ms;
}

void prune_release(struct musterd *d) {
    if (d->prune.got)
        read_free(d->prune.got);
    d->prune.got = NULL;
}
