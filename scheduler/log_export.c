/* An export of the event log; see log_export.h. */
#include "scheduler/log_export.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/version.h"
#include "scheduler/event_json.h"

enum { STEP_US = 20000 };   /* of one piece: other questions to the reader come in between */

static void add_line(struct log_export *x, json_t *line) {
    char *text = json_dumps(line, JSON_COMPACT);
    buffer_append(&x->out, text, strlen(text));
    buffer_append(&x->out, "\n", 1);
    free(text);
    json_decref(line);
}

/* ---- snapshots ---- */

/* Where the next snapshot that is not the beginning stands. */
static int find_break(struct log_export *x, int64_t from_turn, struct error *err) {
    struct snapshot_head head;
    arena_reset(&x->arena);
    int r = log_store_snapshot_from(x->l, from_turn, &head, &x->arena, err);
    x->next_break = r > 0 && head.turn <= x->to_turn ? head.turn : INT64_MAX;
    return r < 0 ? r : 0;
}

/* The state after `turn` becomes what is told next. */
static int walk_to(struct log_export *x, int64_t turn, struct error *err) {
    int rc = log_walk_begin(&x->walk, x->l, turn, err);
    x->walking = !rc;
    x->stage = EXPORT_WALKS;
    x->at = (struct snapshot_cursor){0};
    return rc;
}

static void end_walk(struct log_export *x) {
    if (x->walking)
        log_walk_release(&x->walk);
    x->walking = false;
}

/* Who took it and why, if it is stored as it is. */
static int find_reason(struct log_export *x, struct error *err) {
    struct snapshot_head stored;
    int r = log_store_snapshot_upto(x->l, x->walk.to, &stored, &x->arena, err);
    bool is_it = r > 0 && stored.turn == x->walk.to;
    snprintf(x->reason, sizeof x->reason, "%s", is_it ? stored.reason : "");
    snprintf(x->musterd, sizeof x->musterd, "%s", is_it ? stored.musterd : muster_version);
    return r < 0 ? r : 0;
}

static int tell_head(struct log_export *x, struct error *err) {
    int rc = find_reason(x, err);
    struct snapshot_head head = snapshot_head_from(&x->walk.c, &x->arena);
    head.reason = x->reason;
    head.musterd = x->musterd;
    add_line(x, json_pack("{s:o}", "snapshot", record_to_json_brief(&snapshot_head_schema, &head)));
    x->stage = EXPORT_ROWS;
    x->told = head.turn;
    return rc ? rc : find_break(x, head.turn + 1, err);
}

static int walk_on(struct log_export *x, struct error *err) {
    int r = log_walk_step(&x->walk, x->l, STEP_US, err);
    return r > 0 ? tell_head(x, err) : r;
}

static void tell_row(struct log_export *x) {
    union snapshot_row row;
    enum snapshot_kind kind;
    arena_reset(&x->arena);
    if (snapshot_next(&x->walk.c, &x->at, &row, &kind, &x->arena)) {
        add_line(x, json_pack("{s:o}", snapshot_kind_name(kind), record_to_json_brief(snapshot_kind_schema(kind), &row)));
        return;
    }
    end_walk(x);
    x->stage = EXPORT_TURNS;
}

/* ---- turns ---- */

static void tell_end(struct log_export *x) {
    struct logged_end end = {.turn = x->to_turn, .turns = x->turns, .events = x->events, .digest = x->digest};
    add_line(x, json_pack("{s:o}", "end", record_to_json_brief(&logged_end_schema, &end)));
    x->stage = EXPORT_IS_OVER;
}

static int tell_turn(struct log_export *x, struct error *err) {
    struct stored_turn t;
    if (x->told == x->next_break)
        return walk_to(x, x->next_break, err);
    if (x->told == x->to_turn) {
        tell_end(x);
        return 0;
    }
    arena_reset(&x->arena);
    int r = log_store_turn(x->l, x->told, &t, &x->arena, err);
    if (r < 0)
        return r;
    if (!r || t.turn.turn != x->told + 1)
        return error_set(err, ERR_CONFLICT, "the log was cut behind turn %lld meanwhile: export again", (long long)x->told);
    add_line(x, turn_to_json(&t.turn, t.events, t.count));
    x->told = t.turn.turn;
    x->turns++;
    x->events += (int64_t)t.count;
    return 0;
}

static int tell_some(struct log_export *x, size_t most, struct error *err) {
    int64_t until_us = clock_boot_us() + STEP_US;
    int rc = log_store_begin_page(x->l, err);
    if (rc)
        return rc;
    while (!rc && x->out.size < most && clock_boot_us() < until_us && (x->stage == EXPORT_ROWS || x->stage == EXPORT_TURNS))
        if (x->stage == EXPORT_ROWS)
            tell_row(x);
        else
            rc = tell_turn(x, err);
    log_store_end_page(x->l);
    return rc;
}

/* ---- the whole ---- */

/* The oldest turn that can be told: behind the first snapshot, or the very first. */
static int oldest(struct log_export *x, int64_t *turn, struct error *err) {
    struct snapshot_head head;
    int64_t first, last;
    int rc = log_store_bounds(x->l, &first, &last, err);
    if (rc || first <= 1) {
        *turn = 1;
        return rc;
    }
    int r = log_store_snapshot_from(x->l, first - 1, &head, &x->arena, err);   /* while turns are dropped, an older one may be there */
    *turn = r > 0 ? head.turn + 1 : INT64_MAX;
    return r < 0 ? r : 0;
}

static int begin(struct log_export *x, int64_t from_turn, struct error *err) {
    int64_t first;
    int rc = oldest(x, &first, err);
    if (rc)
        return rc;
    if (from_turn > x->to_turn + 1)
        return error_set(err, ERR_NOT_FOUND, "the last turn is %lld: there is no turn %lld yet", (long long)x->to_turn,
                         (long long)from_turn);
    if (from_turn && from_turn < first)
        return error_set(err, ERR_NOT_FOUND, "turn %lld is not kept any more: the log goes back to turn %lld", (long long)from_turn,
                         (long long)first);
    x->told = (from_turn ? from_turn : first) - 1;
    if (x->told)
        return walk_to(x, x->told, err);
    add_line(x, json_pack("{s:n}", "snapshot"));
    x->stage = EXPORT_TURNS;
    return find_break(x, 1, err);
}

int log_export_begin(struct log_export *x, struct log_store *l, int64_t from_turn, int64_t to_turn, const char *digest, struct error *err) {
    *x = (struct log_export){.l = l, .to_turn = to_turn};
    snprintf(x->digest, sizeof x->digest, "%s", digest);
    int rc = begin(x, from_turn, err);
    if (rc)
        log_export_release(x);
    return rc;
}

void log_export_release(struct log_export *x) {
    end_walk(x);
    arena_release(&x->arena);
    buffer_release(&x->out);
}

int log_export_next(struct log_export *x, size_t most, struct buffer *piece, bool *end, struct error *err) {
    int rc = x->stage == EXPORT_WALKS ? walk_on(x, err) : 0;
    if (!rc)
        rc = tell_some(x, most, err);
    if (rc)
        return rc;
    size_t size = x->out.size < most ? x->out.size : most;
    if (size) {
        buffer_append(piece, x->out.data, size);
        memmove(x->out.data, x->out.data + size, x->out.size - size);
        x->out.size -= size;
    }
    *end = x->stage == EXPORT_IS_OVER && !x->out.size;
    return 0;
}
