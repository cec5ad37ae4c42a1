/* Reads of the event log; see store_log.h. */
#include "scheduler/store_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/event_json.h"
#include "scheduler/store_sql.h"

enum { PAGE_EVENTS = 1000, PAGE_BYTES = 256 * 1024 };   /* of a view; as JSON an event is some three times its record */

#define LOG_STATEMENTS(X)                                                                                                                \
    X(BOUNDS, "SELECT coalesce(min(turn), 0), coalesce(max(turn), 0) FROM turns")                                                        \
    X(SNAPSHOT_UPTO, "SELECT head FROM snapshots WHERE turn<=? ORDER BY turn DESC LIMIT 1")                                              \
    X(SNAPSHOT_FROM, "SELECT head FROM snapshots WHERE turn>=? ORDER BY turn LIMIT 1")                                                   \
    X(SNAPSHOT_ROW, "SELECT kind, body FROM snapshot_rows WHERE turn=? AND position=?")                                                  \
    X(TURN, "SELECT turn, now_ms, wall_ms, notes FROM turns WHERE turn>? ORDER BY turn LIMIT 1")                                         \
    X(EVENTS, "SELECT body FROM events WHERE turn=? ORDER BY seq")                                                                       \
    X(PAGE, "SELECT e.seq, e.turn, t.now_ms, t.wall_ms, e.body FROM events e JOIN turns t USING (turn) WHERE e.seq>=? "                  \
            "ORDER BY e.seq LIMIT ?")                                                                                                    \
    X(PAGE_OF_JOB, "SELECT e.seq, e.turn, t.now_ms, t.wall_ms, e.body FROM events e JOIN turns t USING (turn) "                          \
                   "WHERE e.job=?3 AND e.job>0 AND e.seq>=?1 ORDER BY e.seq LIMIT ?2")                                                   \
    X(SEQ_OF_TURN, "SELECT seq FROM events WHERE turn>=? ORDER BY turn, seq LIMIT 1")                                                    \
    X(SEQ_OF_LAST, "SELECT min(seq) FROM (SELECT seq FROM events ORDER BY seq DESC LIMIT ?1)")                                           \
    X(SEQ_OF_LAST_OF_JOB, "SELECT min(seq) FROM (SELECT seq FROM events WHERE job=?2 AND job>0 ORDER BY seq DESC LIMIT ?1)")             \
    X(LAST_SEQ, "SELECT coalesce(max(seq), 0) FROM events")                                                                              \
    X(STATE_OF_JOB, "SELECT state FROM jobs WHERE id=?")

enum log_statement {
#define X(name, sql) LOG_##name,
    LOG_STATEMENTS(X)
#undef X
    LOG_COUNT
};

static const char *const statement_texts[] = {
#define X(name, sql) sql,
    LOG_STATEMENTS(X)
#undef X
};

struct log_store {
    sqlite3 *db;
    sqlite3_stmt *statements[LOG_COUNT];
    char *path;
};

static int failed(struct log_store *l, struct error *err) {
    return error_set(err, ERR_STORE, "reading the log in %s: %s", l->path, l->db ? sqlite3_errmsg(l->db) : "not open");
}

int log_store_open(struct log_store **out, const char *folder, struct error *err) {
    struct log_store *l = xcalloc(1, sizeof *l);
    l->path = xasprintf("%s/muster.db", folder);
    int r = 0;
    if (sqlite3_open_v2(l->path, &l->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        r = failed(l, err);
    sqlite3_busy_timeout(l->db, 1000);
    for (int i = 0; i < LOG_COUNT && !r; i++)
        if (sqlite3_prepare_v3(l->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &l->statements[i], NULL) != SQLITE_OK)
            r = failed(l, err);
    if (r)
        log_store_close(l);
    else
        *out = l;
    return r;
}

void log_store_close(struct log_store *l) {
    if (!l)
        return;
    for (int i = 0; i < LOG_COUNT; i++)
        sqlite3_finalize(l->statements[i]);
    sqlite3_close(l->db);
    free(l->path);
    free(l);
}

int log_store_begin_page(struct log_store *l, struct error *err) {
    return sqlite3_exec(l->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(l, err);
}

void log_store_end_page(struct log_store *l) {
    for (int i = 0; i < LOG_COUNT; i++)
        sqlite3_reset(l->statements[i]);
    sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
}

static int next(struct log_store *l, enum log_statement which, struct error *err) {
    int r = sqlite3_step(l->statements[which]);
    return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : failed(l, err);
}

/* Binds up to three integers and steps. 1 a row, 0 none, or an error; the statement is reset by the next use, or by done(). */
static int ask(struct log_store *l, enum log_statement which, int64_t a, int64_t b, int64_t c, struct error *err) {
    sqlite3_stmt *st = l->statements[which];
    const int64_t values[] = {a, b, c};
    sqlite3_reset(st);
    for (int i = 0; i < sqlite3_bind_parameter_count(st); i++)
        sqlite3_bind_int64(st, i + 1, values[i]);
    return next(l, which, err);
}

static void done(struct log_store *l, enum log_statement which) { sqlite3_reset(l->statements[which]); }

/* One number; 0 where there is none. */
static int ask_number(struct log_store *l, enum log_statement which, int64_t a, int64_t b, int64_t *number, struct error *err) {
    int r = ask(l, which, a, b, 0, err);
    *number = r > 0 ? sqlite3_column_int64(l->statements[which], 0) : 0;
    done(l, which);
    return r < 0 ? r : 0;
}

/* A blob of the current row, decoded; what it points to is in the arena. */
static int decode(struct log_store *l, enum log_statement which, int column, const struct record_schema *schema, void *record,
                  struct arena *arena, struct error *err) {
    struct bytes bytes = store_column_bytes(l->statements[which], column);
    return record_decode(schema, arena_copy(arena, bytes.data, bytes.size), bytes.size, record, arena, err);
}

/* ---- turns ---- */

int log_store_bounds(struct log_store *l, int64_t *first_turn, int64_t *last_turn, struct error *err) {
    int r = ask(l, LOG_BOUNDS, 0, 0, 0, err);
    *first_turn = r > 0 ? sqlite3_column_int64(l->statements[LOG_BOUNDS], 0) : 0;
    *last_turn = r > 0 ? sqlite3_column_int64(l->statements[LOG_BOUNDS], 1) : 0;
    done(l, LOG_BOUNDS);
    return r < 0 ? r : 0;
}

static int read_events(struct log_store *l, struct stored_turn *out, struct arena *arena, struct error *err) {
    struct event *events = NULL;
    size_t capacity = 0;
    int rc = 0, r = ask(l, LOG_EVENTS, out->turn.turn, 0, 0, err);
    for (; r > 0 && !rc; r = next(l, LOG_EVENTS, err)) {
        events = xgrow(events, &capacity, out->count + 1, sizeof *events);
        rc = decode(l, LOG_EVENTS, 0, &event_schema, &events[out->count++], arena, err);
    }
    done(l, LOG_EVENTS);
    out->events = arena_array(arena, out->count, sizeof *events);
    if (out->count)
        memcpy(out->events, events, out->count * sizeof *events);
    free(events);
    if (rc)
        return error_set(err, ERR_FAILED, "an event of turn %lld can't be read", (long long)out->turn.turn);
    return r < 0 ? r : 0;
}

int log_store_turn(struct log_store *l, int64_t after, struct stored_turn *out, struct arena *arena, struct error *err) {
    sqlite3_stmt *row = l->statements[LOG_TURN];
    int r = ask(l, LOG_TURN, after, 0, 0, err);
    *out = (struct stored_turn){.count = 0};
    if (r > 0) {
        bool noted = sqlite3_column_type(row, 3) != SQLITE_NULL;
        if (!noted || decode(l, LOG_TURN, 3, &logged_turn_schema, &out->turn, arena, err))
            out->turn = (struct logged_turn){.musterd = "", .digest = ""};
        out->turn.turn = sqlite3_column_int64(row, 0);
        out->turn.now_ms = sqlite3_column_int64(row, 1);
        out->turn.wall_ms = sqlite3_column_int64(row, 2);
        int rc = read_events(l, out, arena, err);
        r = rc ? rc : 1;
    }
    done(l, LOG_TURN);
    return r;
}

/* ---- snapshots ---- */

static int read_head(struct log_store *l, enum log_statement which, int64_t turn, struct snapshot_head *head, struct arena *arena,
                     struct error *err) {
    int r = ask(l, which, turn, 0, 0, err);
    if (r > 0 && decode(l, which, 0, &snapshot_head_schema, head, arena, err))
        r = error_set(err, ERR_FAILED, "the head of a snapshot near turn %lld can't be read", (long long)turn);
    done(l, which);
    return r;
}

int log_store_snapshot_upto(struct log_store *l, int64_t turn, struct snapshot_head *head, struct arena *arena, struct error *err) {
    return read_head(l, LOG_SNAPSHOT_UPTO, turn, head, arena, err);
}

int log_store_snapshot_from(struct log_store *l, int64_t turn, struct snapshot_head *head, struct arena *arena, struct error *err) {
    return read_head(l, LOG_SNAPSHOT_FROM, turn, head, arena, err);
}

int log_store_snapshot_row(struct log_store *l, int64_t turn, int64_t position, enum snapshot_kind *kind, union snapshot_row *row,
                           struct arena *arena, struct error *err) {
    int r = ask(l, LOG_SNAPSHOT_ROW, turn, position, 0, err);
    int number = r > 0 ? sqlite3_column_int(l->statements[LOG_SNAPSHOT_ROW], 0) : 0;
    const struct record_schema *schema = snapshot_kind_schema(number);
    *kind = (enum snapshot_kind)number;
    if (r > 0 && (!schema || decode(l, LOG_SNAPSHOT_ROW, 1, schema, row, arena, err)))
        r = error_set(err, ERR_FAILED, "row %lld of the snapshot after turn %lld can't be read", (long long)position, (long long)turn);
    done(l, LOG_SNAPSHOT_ROW);
    return r;
}

/* ---- muster events ---- */

struct event_page {
    struct log_store *l;
    const struct view *view;
    int64_t job, from, limit;    /* job 0: of all */
    json_t *events;
    int64_t next, last_turn;
    bool full;                   /* there is more than fits */
};

static int find_begin(struct event_page *p, struct error *err) {
    enum log_statement last = p->job ? LOG_SEQ_OF_LAST_OF_JOB : LOG_SEQ_OF_LAST;
    int rc = 0;
    if (p->view->from > 0)
        p->from = p->view->from;
    else if (p->view->from_turn > 0)
        rc = ask_number(p->l, LOG_SEQ_OF_TURN, p->view->from_turn, 0, &p->from, err);
    else
        rc = ask_number(p->l, last, p->limit, p->job, &p->from, err);
    if (!rc && p->from <= 0 && !(rc = ask_number(p->l, LOG_LAST_SEQ, 0, 0, &p->from, err)))
        p->from++;   /* there is nothing yet: what comes */
    p->next = p->from;
    return rc;
}

static void add_event(struct event_page *p, sqlite3_stmt *row, struct arena *arena) {
    struct event e;
    struct bytes body = store_column_bytes(row, 4);
    json_t *out = json_pack("{s:I, s:I, s:I, s:I}", "seq", (json_int_t)sqlite3_column_int64(row, 0), "turn",
                            (json_int_t)sqlite3_column_int64(row, 1), "now_ms", (json_int_t)sqlite3_column_int64(row, 2), "wall_ms",
                            (json_int_t)sqlite3_column_int64(row, 3));
    if (!record_decode(&event_schema, body.data, body.size, &e, arena, NULL)) {
        json_t *event = event_to_json(&e);
        json_object_update(out, event);
        json_decref(event);
    }
    json_array_append_new(p->events, out);
    p->next = sqlite3_column_int64(row, 0) + 1;
    p->last_turn = sqlite3_column_int64(row, 1);
}

static int read_page(struct event_page *p, struct error *err) {
    enum log_statement which = p->job ? LOG_PAGE_OF_JOB : LOG_PAGE;
    sqlite3_stmt *row = p->l->statements[which];
    struct arena arena = {0};
    size_t bytes = 0;
    int64_t count = 0;
    int r = ask(p->l, which, p->from, p->limit + 1, p->job, err);
    for (; r > 0 && !p->full; r = next(p->l, which, err)) {
        bytes += (size_t)sqlite3_column_bytes(row, 4);
        if ((p->full = ++count > p->limit || (bytes > PAGE_BYTES && count > 1)))
            break;
        add_event(p, row, &arena);
        arena_reset(&arena);
    }
    done(p->l, which);
    arena_release(&arena);
    return r < 0 ? r : 0;
}

static int read_events_page(struct event_page *p, int64_t *last_turn, int64_t *state, struct error *err) {
    int64_t first_turn;
    *state = JOB_PENDING;
    if (p->job) {
        int r = ask(p->l, LOG_STATE_OF_JOB, p->job, 0, 0, err);
        *state = r > 0 ? sqlite3_column_int64(p->l->statements[LOG_STATE_OF_JOB], 0) : 0;
        done(p->l, LOG_STATE_OF_JOB);
        if (r <= 0)
            return r ? r : error_set(err, ERR_NOT_FOUND, "job %lld: no such job", (long long)p->job);
    }
    int rc = find_begin(p, err);
    if (!rc)
        rc = read_page(p, err);
    return rc ? rc : log_store_bounds(p->l, &first_turn, last_turn, err);
}

int log_store_events(struct log_store *l, const struct view *view, json_t **document, struct error *err) {
    struct event_page p = {.l = l, .view = view, .job = view->jobs.count ? view->jobs.items[0] : 0, .events = json_array(),
                           .limit = view->limit > 0 && view->limit < PAGE_EVENTS ? view->limit : PAGE_EVENTS};
    int64_t last_turn = 0, state = 0;
    int rc = log_store_begin_page(l, err);
    if (!rc) {
        rc = read_events_page(&p, &last_turn, &state, err);
        log_store_end_page(l);
    }
    *document = rc ? NULL : json_pack("{s:O, s:I, s:I, s:b, s:b}", "events", p.events, "next", (json_int_t)p.next, "last_turn",
                                      (json_int_t)(p.full ? p.last_turn : last_turn), "whole", !p.full, "final",
                                      !p.full && job_state_is_final((int)state));
    json_decref(p.events);
    return rc;
}
