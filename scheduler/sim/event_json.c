/* Event logs as JSON Lines; see event_json.h. */
#include "scheduler/sim/event_json.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { LINE_MAX_BYTES = 64 << 20, TURN_EVENTS_MAX = 1 << 20 };   /* a turn has some thousand events, of which a gang's start is 1 MB */

/* ---- writing ---- */

static void write_line(json_t *line, FILE *out) {
    json_dumpf(line, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(line);
}

/* With its name in front, for people. */
static json_t *event_json(const struct event *e) {
    json_t *named = json_pack("{s:s}", "name", event_type_name((int)e->type)), *rest = record_to_json_brief(&event_schema, e);
    json_object_update(named, rest);
    json_decref(rest);
    return named;
}

/* When the policy was asked for nothing before entry `before`: the last times. */
static json_t *idle_json(const struct world *w, size_t before, size_t *idle) {
    json_t *times = json_array();
    for (; *idle < w->idle_count && w->idles[*idle].before <= before; ++*idle)
        if (w->idles[*idle].now_ms != FORGET_TRIED)
            json_array_append_new(times, json_integer(w->idles[*idle].now_ms));
    while (json_array_size(times) > IDLE_TIMES_MAX)
        json_array_remove(times, 0);
    return times;
}

/* One line of a turn: the entries from `first` on that have its number. Returns the next entry. */
static size_t write_turn(const struct world *w, size_t first, size_t *idle, struct arena *arena, FILE *out) {
    const struct logged *turn = &w->entries[first];
    json_t *events = json_array(), *times = idle_json(w, first, idle);
    size_t i = first;
    for (; i < w->entry_count && w->entries[i].turn == turn->turn; i++) {
        struct event e;
        arena_reset(arena);
        if (!record_decode(&event_schema, w->log.data + w->entries[i].from, w->entries[i].size, &e, arena, NULL))
            json_array_append_new(events, event_json(&e));
    }
    write_line(json_pack("{s:I, s:I, s:o, s:o}", "turn", (json_int_t)turn->turn, "now_ms", (json_int_t)turn->now_ms, "idle_ms", times,
                         "events", events), out);
    return i;
}

int event_log_write(const struct world *w, FILE *out) {
    struct arena arena = {0};
    char digest[DIGEST_TEXT_MAX + 1];
    int64_t turns = 0;
    size_t idle = 0;
    fputs("{\"snapshot\": null}\n", out);
    for (size_t i = 0; i < w->entry_count; turns++)
        i = write_turn(w, i, &idle, &arena, out);
    int64_t last = w->entry_count ? (int64_t)w->entries[w->entry_count - 1].turn : 0;
    write_line(json_pack("{s:{s:I, s:I, s:I, s:s}}", "end", "turn", (json_int_t)last, "turns", (json_int_t)turns, "events",
                         (json_int_t)w->entry_count, "digest", digest_text(cluster_digest(&w->c), digest)), out);
    arena_release(&arena);
    return ferror(out) || fflush(out) ? -1 : 0;
}

/* ---- reading ---- */

void log_reader_init(struct log_reader *r, FILE *file) { *r = (struct log_reader){.file = file}; }

void log_reader_release(struct log_reader *r) {
    arena_release(&r->arena);
    free(r->text);
}

/* Into r->text. 1, or 0 at the end of the file. */
static int read_text(struct log_reader *r, struct error *err) {
    size_t size = 0;
    int c;
    flockfile(r->file);
    while ((c = getc_unlocked(r->file)) != EOF && c != '\n' && c && size < LINE_MAX_BYTES) {
        r->text = xgrow(r->text, &r->text_capacity, size + 2, 1);
        r->text[size++] = (char)c;
    }
    funlockfile(r->file);
    if (ferror(r->file))
        return error_set_errno(err, ERR_IO, "reading it");
    if (c != EOF || size)
        r->line++;
    if (c != EOF && c != '\n')
        return error_set(err, ERR_PROTOCOL, c ? "a line of more than 64 MiB: this is no event log" : "a zero byte: this is no event log");
    if (size)
        r->text[size] = '\0';
    else if (c != EOF)
        return error_set(err, ERR_PROTOCOL, "an empty line");
    return size > 0;
}

static int read_event(struct log_reader *r, const json_t *json, struct event *e, struct error *err) {
    int rc = record_from_json(&event_schema, json, e, &r->arena, err);
    const char *name = json_string_value(json_object_get(json, "name"));
    if (!rc && (e->type < 0 || e->type >= EVENT_TYPE_COUNT))
        rc = error_set(err, ERR_PROTOCOL, "no event has the number %lld: the log is of a newer version", (long long)e->type);
    if (!rc && name && strcmp(name, event_type_name((int)e->type)))
        rc = error_set(err, ERR_PROTOCOL, "it is named '%.64s' and has the number of %s", name, event_type_name((int)e->type));
    return rc;
}

static int read_turn(struct log_reader *r, json_t *line, struct error *err) {
    const json_t *events = json_object_get(line, "events");
    if (!json_is_array(events) || !json_is_integer(json_object_get(line, "turn")) || !json_is_integer(json_object_get(line, "now_ms")))
        return error_set(err, ERR_PROTOCOL, "a turn has the members turn, now_ms and events");
    r->event_count = json_array_size(events);
    if (r->event_count > TURN_EVENTS_MAX)
        return error_set(err, ERR_PROTOCOL, "a turn of %zu events; at most %d are read", r->event_count, TURN_EVENTS_MAX);
    r->events = arena_array(&r->arena, r->event_count, sizeof *r->events);
    int rc = 0;
    for (size_t i = 0; i < r->event_count && !rc; i++)
        if ((rc = read_event(r, json_array_get(events, i), &r->events[i], err)))
            error_wrap(err, "event %zu", i + 1);
    json_object_del(line, "events");   /* each has its own bounds: all of them together are no record */
    return rc ? rc : record_from_json(&logged_turn_schema, line, &r->turn, &r->arena, err);
}

/* {"queue": {...}} and its like. */
static int read_row(struct log_reader *r, json_t *line, enum log_line *what, struct error *err) {
    const char *key = json_object_iter_key(json_object_iter(line));
    int kind = key ? snapshot_kind_from_name(key) : -1;
    if (kind < 0)
        return error_set(err, ERR_PROTOCOL, "this line is neither a turn (turn, now_ms, events), nor a snapshot, a row of one, or the end");
    *what = LOG_ROW;
    r->kind = (enum snapshot_kind)kind;
    return record_from_json(snapshot_kind_schema(kind), json_object_get(line, key), &r->row, &r->arena, err);
}

static int read_line(struct log_reader *r, json_t *line, enum log_line *what, struct error *err) {
    const json_t *snapshot = json_object_get(line, "snapshot"), *end = json_object_get(line, "end");
    if (!json_is_object(line))
        return error_set(err, ERR_PROTOCOL, "expected an object");
    if (json_object_get(line, "turn")) {
        *what = LOG_TURN;
        return read_turn(r, line, err);
    }
    if (snapshot) {
        *what = json_is_null(snapshot) ? LOG_FROM_NOTHING : LOG_SNAPSHOT;
        return *what == LOG_SNAPSHOT ? record_from_json(&snapshot_head_schema, snapshot, &r->head, &r->arena, err) : 0;
    }
    if (end) {
        *what = LOG_END;
        return record_from_json(&logged_end_schema, end, &r->end, &r->arena, err);
    }
    return read_row(r, line, what, err);
}

int log_reader_next(struct log_reader *r, enum log_line *what, struct error *err) {
    json_error_t at;
    arena_reset(&r->arena);
    int rc = read_text(r, err);
    if (rc <= 0) {
        *what = LOG_NOTHING_LEFT;
        return rc;
    }
    json_t *line = json_loads(r->text, JSON_REJECT_DUPLICATES, &at);
    if (!line)
        return error_set(err, ERR_PROTOCOL, "column %d: %s", at.column, at.text);
    rc = read_line(r, line, what, err);
    json_decref(line);
    return rc;
}
