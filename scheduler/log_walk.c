/* The event log applied again, in steps; see log_walk.h. */
#include "scheduler/log_walk.h"

#include <string.h>

#include "common/clock.h"

enum { MARK_TURNS = 1000 };   /* a digest costs as much as the whole state: on the way it is compared so seldom */

static int begin_at(struct log_walk *w, const struct snapshot_head *head, struct error *err) {
    w->head = *head;
    memcpy(w->digest, head->digest, strlen(head->digest) + 1);
    w->head.digest = w->digest;
    w->head.musterd = w->head.reason = "";
    w->loading = true;
    return snapshot_begin(&w->c, &w->intake, &w->head, err);
}

int log_walk_begin(struct log_walk *w, struct log_store *l, int64_t to, struct error *err) {
    struct snapshot_head head;
    int64_t first, last;
    *w = (struct log_walk){.to = to, .marked_turn = -1};
    cluster_init(&w->c);
    int rc = log_store_bounds(l, &first, &last, err);
    int found = rc ? rc : log_store_snapshot_upto(l, to, &head, &w->arena, err);
    if (found > 0)
        rc = begin_at(w, &head, err);
    else if (found < 0)
        rc = found;
    else if (first > 1)
        rc = error_set(err, ERR_NOT_FOUND, "the log of turn %lld is not kept any more", (long long)to + 1);
    if (rc)
        log_walk_release(w);
    return rc;
}

void log_walk_release(struct log_walk *w) {
    cluster_release(&w->c);
    arena_release(&w->arena);
}

static int load_row(struct log_walk *w, struct log_store *l, struct error *err) {
    enum snapshot_kind kind;
    union snapshot_row row;
    int r = w->intake.rows == w->head.rows ? 0
            : log_store_snapshot_row(l, w->head.turn, w->intake.rows, &kind, &row, &w->arena, err);
    if (r < 0)
        return r;
    if (r > 0)
        return snapshot_take(&w->c, &w->intake, kind, &row, err) ? error_wrap(err, "the snapshot after turn %lld",
                                                                              (long long)w->head.turn) : 0;
    w->loading = false;
    w->marked_turn = w->head.turn;
    return snapshot_end(&w->c, &w->intake, &w->head, err);
}

static int compare(struct log_walk *w, const char *expected, struct error *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (!strcmp(digest_text(cluster_digest(&w->c), digest), expected)) {
        w->marked_turn = (int64_t)w->c.turn;
        return 0;
    }
    return error_set(err, ERR_FAILED, "after turn %lld the log leads to the digest %s, and musterd had %s; they were last the same %s%lld",
                     (long long)w->c.turn, digest, expected, w->marked_turn < 0 ? "before turn " : "after turn ",
                     (long long)(w->marked_turn < 0 ? 1 : w->marked_turn));
}

int log_walk_apply(struct log_walk *w, const struct stored_turn *t, bool compares, struct error *err) {
    int rc = replay_turn_begin(&w->c, t->turn.turn, t->turn.now_ms, err);
    for (size_t i = 0; i < t->count && !rc; i++)
        if ((rc = cluster_apply(&w->c, &t->events[i], t->turn.now_ms, err)))
            error_wrap(err, "turn %lld: %s of job %lld", (long long)t->turn.turn, event_type_name((int)t->events[i].type),
                       (long long)t->events[i].job);
    if (rc)
        return err->code = ERR_FAILED;
    w->turns++;
    w->events += (int64_t)t->count;
    return compares && *t->turn.digest ? compare(w, t->turn.digest, err) : 0;
}

static int apply_next(struct log_walk *w, struct log_store *l, struct error *err) {
    struct stored_turn t;
    int64_t at = (int64_t)w->c.turn;
    int r = log_store_turn(l, at, &t, &w->arena, err);
    if (r <= 0)
        return r ? r : error_set(err, ERR_NOT_FOUND, "turn %lld is not in the log any more", (long long)at + 1);
    if (t.turn.turn != at + 1)
        return error_set(err, ERR_NOT_FOUND, "turn %lld is not in the log any more; the next one is %lld", (long long)at + 1,
                         (long long)t.turn.turn);
    return log_walk_apply(w, &t, t.turn.turn == w->to || t.turn.turn - w->marked_turn >= MARK_TURNS, err);
}

static int one_page(struct log_walk *w, struct log_store *l, int64_t until_us, struct error *err) {
    int rc = 0;
    while (!rc && clock_boot_us() < until_us && (w->loading || (int64_t)w->c.turn < w->to)) {
        arena_reset(&w->arena);
        rc = w->loading ? load_row(w, l, err) : apply_next(w, l, err);
    }
    return rc ? rc : !w->loading && (int64_t)w->c.turn == w->to;
}

int log_walk_step(struct log_walk *w, struct log_store *l, int64_t step_us, struct error *err) {
    int rc = log_store_begin_page(l, err);
    if (rc)
        return rc;
    rc = one_page(w, l, clock_boot_us() + step_us, err);
    log_store_end_page(l);
    return rc;
}
