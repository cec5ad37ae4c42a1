/* Applies an event log line by line; see replay_log.h. */
#include "scheduler/sim/replay_log.h"

#include <stdlib.h>
#include <string.h>

/* ---- snapshots ---- */

static int finish_snapshot(struct replay_log *r, struct error *err) {
    int rc = snapshot_end(&r->c, &r->intake, &r->head, err);
    r->same_turn = r->head.turn;
    return rc;
}

/* Between two turns of a log it says that the daemon went on from what was stored: that may be another state than the log leads to. */
static void note_break(struct replay_log *r) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (!r->begun || !strcmp(digest_text(cluster_digest(&r->c), digest), r->head.digest))
        return;
    r->breaks++;
    r->break_turn = r->head.turn;
    snprintf(r->break_reason, sizeof r->break_reason, "%s", *r->head.reason ? r->head.reason : "it does not say why");
}

static int take_snapshot(struct replay_log *r, struct error *err) {
    r->head = r->in.head;
    if (r->begun && r->head.turn != (int64_t)r->c.turn)
        return error_set(err, ERR_PROTOCOL, "a snapshot after turn %lld can't stand after turn %lld", (long long)r->head.turn,
                         (long long)r->c.turn);
    note_break(r);
    snprintf(r->digest, sizeof r->digest, "%s", r->head.digest);
    r->head.digest = r->digest;
    r->head.musterd = r->head.reason = "";
    cluster_release(&r->c);
    cluster_init(&r->c);
    r->begun = true;
    r->rows_left = r->head.rows;
    int rc = snapshot_begin(&r->c, &r->intake, &r->head, err);
    return rc || r->rows_left ? rc : finish_snapshot(r, err);
}

static int take_row(struct replay_log *r, struct error *err) {
    int rc = snapshot_take(&r->c, &r->intake, r->in.kind, &r->in.row, err);
    if (rc || --r->rows_left)
        return rc;
    return finish_snapshot(r, err);
}

/* ---- turns ---- */

/* Facts come first. */
static int split(const struct replay_log *r, size_t *facts, struct error *err) {
    *facts = 0;
    while (*facts < r->in.event_count && !event_is_decision((int)r->in.events[*facts].type))
        ++*facts;
    for (size_t i = *facts; i < r->in.event_count; i++)
        if (!event_is_decision((int)r->in.events[i].type))
            return error_set(err, ERR_PROTOCOL, "event %zu is a fact behind a decision", i + 1);
    return 0;
}

static int apply(struct replay_log *r, size_t from, size_t to, struct error *err) {
    for (size_t i = from; i < to; i++) {
        const struct event *e = &r->in.events[i];
        if (cluster_apply(&r->c, e, r->in.turn.now_ms, err)) {
            error_wrap(err, "turn %lld: %s of job %lld", (long long)r->c.turn, event_type_name((int)e->type), (long long)e->job);
            return err->code = ERR_FAILED;
        }
        r->events++;
    }
    return 0;
}

static int compare(struct replay_log *r, const char *expected, const char *whose, struct error *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (!*expected)
        return 0;
    if (!strcmp(digest_text(cluster_digest(&r->c), digest), expected)) {
        r->same_turn = (int64_t)r->c.turn;
        return 0;
    }
    int rc = error_set(err, ERR_FAILED, "turn %lld: the digest is %s, and %s was %s", (long long)r->c.turn, digest, whose, expected);
    size_t used = strlen(err->text);
    if (r->same_turn == (int64_t)r->c.turn - 1)
        snprintf(err->text + used, sizeof err->text - used, ": this is the first turn that differs");
    else if (r->same_turn >= 0)
        snprintf(err->text + used, sizeof err->text - used, ": the first turn that differs lies after turn %lld", (long long)r->same_turn);
    return rc;
}

static int take_turn(struct replay_log *r, struct error *err) {
    const struct logged_turn *t = &r->in.turn;
    size_t facts;
    int rc = split(r, &facts, err);
    if (rc || (rc = replay_turn_begin(&r->c, t->turn, t->now_ms, err)))
        return rc;
    if (*t->musterd) {
        snprintf(r->musterd, sizeof r->musterd, "%s", t->musterd);
        cluster_reindex(&r->c);   /* as a start does: nothing is remembered */
    }
    for (size_t i = 0; i < t->idle_ms.count && r->redecides; i++)
        redecide_ask(&r->re, &r->c, t->idle_ms.items[i], NULL, 0);
    if ((rc = apply(r, 0, facts, err)))
        return rc;
    if (r->redecides)
        redecide_ask(&r->re, &r->c, t->now_ms, r->in.events + facts, r->in.event_count - facts);
    if ((rc = apply(r, facts, r->in.event_count, err)) || (rc = cluster_check(&r->c, err)))
        return rc;
    r->first_turn = r->turns++ ? r->first_turn : t->turn;
    return compare(r, t->digest, "the scheduler's", err);
}

/* ---- the file ---- */

static int take_end(struct replay_log *r, struct error *err) {
    const struct logged_end *e = &r->in.end;
    r->ended = true;
    if (e->turn != (int64_t)r->c.turn || e->turns != r->turns || e->events != r->events)
        return error_set(err, ERR_PROTOCOL, "the log ends at turn %lld with %lld turns and %lld events, and %lld and %lld up to turn %lld "
                         "are in the file: lines are missing", (long long)e->turn, (long long)e->turns, (long long)e->events,
                         (long long)r->turns, (long long)r->events, (long long)r->c.turn);
    return compare(r, e->digest, "the scheduler's", err);
}

static int take_line(struct replay_log *r, enum log_line what, struct error *err) {
    if (r->ended)
        return error_set(err, ERR_PROTOCOL, "a line behind the end");
    if (what == LOG_FROM_NOTHING && !r->begun) {
        r->begun = true;
        return 0;
    }
    if (!r->begun && what != LOG_SNAPSHOT)
        return error_set(err, ERR_PROTOCOL, "a log begins with its snapshot: this one has lost its first lines, or is none");
    if (what == LOG_FROM_NOTHING || (what == LOG_ROW) != (r->rows_left > 0))
        return error_set(err, ERR_PROTOCOL, r->rows_left ? "%lld rows of the snapshot are missing before this line"
                         : "a row that belongs to no snapshot", (long long)r->rows_left);
    return what == LOG_SNAPSHOT ? take_snapshot(r, err) : what == LOG_ROW ? take_row(r, err) : what == LOG_TURN ? take_turn(r, err)
           : take_end(r, err);
}

void replay_log_init(struct replay_log *r, FILE *file, bool redecides, int64_t most) {
    *r = (struct replay_log){.redecides = redecides, .same_turn = -1};
    log_reader_init(&r->in, file);
    redecide_init(&r->re, most);
    cluster_init(&r->c);
}

void replay_log_release(struct replay_log *r) {
    redecide_release(&r->re);
    cluster_release(&r->c);
    log_reader_release(&r->in);
}

int replay_log_run(struct replay_log *r, struct error *err) {
    enum log_line what;
    int rc;
    do
        if (!(rc = log_reader_next(&r->in, &what, err)) && what != LOG_NOTHING_LEFT)
            rc = take_line(r, what, err);
    while (!rc && what != LOG_NOTHING_LEFT);
    if (!rc && !r->ended)
        rc = error_set(err, ERR_PROTOCOL, "the log has no end: it is cut off");
    return rc;
}
