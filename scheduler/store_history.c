#include "scheduler/store_history.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/job_json.h"
#include "scheduler/store_sql.h"
#include "scheduler/timeline.h"

enum { PAGE_ROWS = 1000 };

#define JOB_COLUMNS "id, user, name, submit_wall_ms, start_wall_ms, end_wall_ms, nodes, text, record, state, progress"
#define HISTORY_STATEMENTS(X)                                                                                                            \
    X(JOBS, "SELECT " JOB_COLUMNS " FROM jobs WHERE id>=?1 AND (?2='' OR user=?2) AND (?3='' OR queue=?3) AND (?4='' OR name=?4) "       \
            "AND (?5<0 OR state=?5) ORDER BY id LIMIT ?6")                                                                               \
    X(JOB, "SELECT " JOB_COLUMNS " FROM jobs WHERE id=?")                                                                                \
    X(SPEC, "SELECT body FROM specs WHERE job=(SELECT CASE array WHEN 0 THEN id ELSE array END FROM jobs WHERE id=?)")                   \
    X(SERIES, "SELECT body FROM series WHERE job=?")                                                                                     \
    X(EVENTS, "SELECT e.turn, t.wall_ms, e.body FROM events e JOIN turns t USING (turn) WHERE e.job=? AND e.job>0 ORDER BY e.seq")       \
    X(ATTEMPTS, "SELECT attempt, coalesce(start_wall_ms, order_wall_ms), end_wall_ms, end_turn, cause, kind, status, rank, node, step, " \
                "text, nodes, placement FROM attempts WHERE job=? ORDER BY attempt")                                                     \
    X(STARTS, "SELECT wall_ms, turn, version FROM starts WHERE turn>=? AND turn<? AND epoch & 4294967295 > 1 ORDER BY epoch")            \
    X(CALLED, "SELECT queue, array, element FROM jobs WHERE id=?")                                                                       \
    X(QUOTAS, "SELECT e.turn, t.wall_ms, e.body FROM events e JOIN turns t USING (turn) WHERE e.type IN (11, 12, 23) ORDER BY e.seq")

enum history_statement {
#define X(name, sql) HISTORY_##name,
    HISTORY_STATEMENTS(X)
#undef X
    HISTORY_COUNT
};

static const char *const statement_texts[] = {
#define X(name, sql) sql,
    HISTORY_STATEMENTS(X)
#undef X
};

struct history {
    sqlite3 *db;
    sqlite3_stmt *statements[HISTORY_COUNT];
    char *path;
};

static int failed(struct history *h, struct error *err) {
    return error_set(err, ERR_STORE, "reading %s: %s", h->path, h->db ? sqlite3_errmsg(h->db) : "not open");
}

int history_open(struct history **out, const char *folder, struct error *err) {
    struct history *h = xcalloc(1, sizeof *h);
    h->path = xasprintf("%s/muster.db", folder);
    int r = 0;
    if (sqlite3_open_v2(h->path, &h->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        r = failed(h, err);
    sqlite3_busy_timeout(h->db, 1000);
    for (int i = 0; i < HISTORY_COUNT && !r; i++)
        if (sqlite3_prepare_v3(h->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &h->statements[i], NULL) != SQLITE_OK)
            r = failed(h, err);
    if (r)
        history_close(h);
    else
        *out = h;
    return r;
}

void history_close(struct history *h) {
    if (!h)
        return;
    for (int i = 0; i < HISTORY_COUNT; i++)
        sqlite3_finalize(h->statements[i]);
    sqlite3_close(h->db);
    free(h->path);
    free(h);
}

static sqlite3_stmt *begin(struct history *h, enum history_statement which, int64_t id) {
    sqlite3_reset(h->statements[which]);
    sqlite3_bind_int64(h->statements[which], 1, id);
    return h->statements[which];
}

static const char *text_of(sqlite3_stmt *row, int column) {
    const unsigned char *text = sqlite3_column_text(row, column);
    return text ? (const char *)text : "";
}

/* Decodes a blob into the arena. A row that can't be read is shown as far as it goes: *record is blank then. */
static bool decode(sqlite3_stmt *row, int column, const struct record_schema *schema, void *record, struct arena *arena) {
    static const unsigned char empty_map = 0x80;
    const void *data = sqlite3_column_blob(row, column);
    size_t size = (size_t)sqlite3_column_bytes(row, column);
    char *copy = arena_copy(arena, data, size);
    if (!record_decode(schema, copy, size, record, arena, NULL))
        return true;
    record_decode(schema, &empty_map, 1, record, arena, NULL);
    return false;
}

/* ---- rows ---- */

static json_t *job_row(sqlite3_stmt *row, struct stored_job *job, struct arena *arena) {
    if (!decode(row, 8, &stored_job_schema, job, arena))
        job->end_cause = STOP_NONE;
    job->id = sqlite3_column_int64(row, 0);
    job->state = sqlite3_column_int64(row, 9);
    struct job_labels labels = {text_of(row, 2), text_of(row, 1), text_of(row, 6), text_of(row, 7), sqlite3_column_int64(row, 3),
                                sqlite3_column_int64(row, 4), sqlite3_column_int64(row, 5)};
    json_t *out = job_json(job, &labels), *progress = json_loads(text_of(row, 10), 0, NULL);
    if (progress)
        json_object_set_new(out, "progress", progress);
    return out;
}

static int add_page(struct history *h, const struct view *view, json_t *jobs, struct arena *arena, struct error *err) {
    sqlite3_stmt *st = begin(h, HISTORY_JOBS, view->from);
    struct stored_job job;
    int64_t limit = view->limit > 0 && view->limit < PAGE_ROWS ? view->limit : PAGE_ROWS;
    sqlite3_bind_text(st, 2, view->user, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, view->queue, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, view->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 5, *view->state ? job_state_from_name(view->state) : -1);
    sqlite3_bind_int64(st, 6, limit);
    int r;
    while ((r = sqlite3_step(st)) == SQLITE_ROW) {
        json_array_append_new(jobs, job_row(st, &job, arena));
        arena_reset(arena);
    }
    sqlite3_reset(st);
    return r == SQLITE_DONE ? 0 : failed(h, err);
}

/* One job by its number, the story of it by `tell`. */
typedef void tell_function(struct history *h, json_t *out, const struct stored_job *job, struct arena *arena);

static int add_one(struct history *h, int64_t ref, json_t *jobs, tell_function *tell, struct arena *arena, struct error *err) {
    sqlite3_stmt *st = begin(h, HISTORY_JOB, job_ref_job(ref));
    struct stored_job job;
    char name[JOB_REF_TEXT_MAX];
    int r = sqlite3_step(st);
    bool as_element = job_ref_element(ref) >= 0;
    if (r == SQLITE_ROW) {
        json_t *out = job_row(st, &job, arena);
        if (as_element && job.elements)
            job_json_as_element(out, &job, job_ref_element(ref));
        sqlite3_reset(st);
        if (tell)
            tell(h, out, &job, arena);
        json_array_append_new(jobs, out);
        return 0;
    }
    int rc = r == SQLITE_DONE ? error_set(err, ERR_NOT_FOUND, "job %s: no such job", job_ref_text(ref, name)) : failed(h, err);
    sqlite3_reset(st);
    return rc;
}

static int each_asked(struct history *h, const struct view *view, json_t **document, tell_function *tell, struct error *err) {
    struct arena arena = {0};
    json_t *jobs = json_array();
    int r = 0;
    sqlite3_exec(h->db, "BEGIN", NULL, NULL, NULL);   /* one snapshot for all that is told */
    for (size_t i = 0; i < view->jobs.count && !r; i++) {
        r = add_one(h, view->jobs.items[i], jobs, tell, &arena, err);
        arena_reset(&arena);
    }
    sqlite3_exec(h->db, "COMMIT", NULL, NULL, NULL);
    arena_release(&arena);
    *document = r ? NULL : json_pack("{s:o}", "jobs", jobs);
    if (r)
        json_decref(jobs);
    return r;
}

int history_jobs(struct history *h, const struct view *view, json_t **document, struct error *err) {
    struct arena arena = {0};
    if (view->jobs.count)
        return each_asked(h, view, document, NULL, err);
    json_t *jobs = json_array();
    int r = add_page(h, view, jobs, &arena, err);
    arena_release(&arena);
    *document = r ? NULL : json_pack("{s:o}", "jobs", jobs);
    if (r)
        json_decref(jobs);
    return r;
}

/* ---- attempts ---- */

struct attempt_row {
    struct stored_job end;    /* only its end_* members */
    int64_t attempt, start_wall_ms, end_wall_ms, end_turn, step;
    const char *text, *nodes;
    struct stored_placement placement;
};

static size_t read_attempts(struct history *h, int64_t job, struct attempt_row **out, struct arena *arena) {
    sqlite3_stmt *st = begin(h, HISTORY_ATTEMPTS, job);
    struct attempt_row *rows = NULL;
    size_t count = 0, capacity = 0;
    while (sqlite3_step(st) == SQLITE_ROW) {
        rows = xgrow(rows, &capacity, count + 1, sizeof *rows);
        struct attempt_row *a = &rows[count++];
        *a = (struct attempt_row){.attempt = sqlite3_column_int64(st, 0), .start_wall_ms = sqlite3_column_int64(st, 1),
                                  .end_wall_ms = sqlite3_column_int64(st, 2), .end_turn = sqlite3_column_int64(st, 3),
                                  .step = sqlite3_column_type(st, 9) == SQLITE_NULL ? -1 : sqlite3_column_int64(st, 9)};
        a->end = (struct stored_job){.end_cause = sqlite3_column_int64(st, 4), .end_kind = sqlite3_column_int64(st, 5),
                                     .end_status = sqlite3_column_int64(st, 6), .end_rank = sqlite3_column_int64(st, 7)};
        a->end.end_node = arena_copy(arena, text_of(st, 8), strlen(text_of(st, 8)));
        a->text = arena_copy(arena, text_of(st, 10), strlen(text_of(st, 10)));
        a->nodes = arena_copy(arena, text_of(st, 11), strlen(text_of(st, 11)));
        decode(st, 12, &stored_placement_schema, &a->placement, arena);
    }
    sqlite3_reset(st);
    *out = rows;
    return count;
}

static const char *outcome_of(const struct attempt_row *a, bool last, const struct stored_job *job) {
    if (!a->end_wall_ms)
        return job_state_name((int)job->state);
    if (last && job_state_is_final((int)job->state))
        return job_state_name((int)job->state);
    if (a->end.end_cause == STOP_TASK_FAILED)
        return "FAILED";
    return a->end.end_cause == STOP_TASK_DONE ? "YIELDED" : stop_cause_name((int)a->end.end_cause);
}

static json_t *attempts_json(const struct attempt_row *rows, size_t count, const struct stored_job *job) {
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(out, json_pack("{s:I, s:o, s:o, s:s, s:o, s:o}", "attempt", (json_int_t)rows[i].attempt, "start_ms",
                                             json_integer(rows[i].start_wall_ms), "end_ms",
                                             rows[i].end_wall_ms ? json_integer(rows[i].end_wall_ms) : json_null(), "outcome",
                                             outcome_of(&rows[i], i + 1 == count, job), "nodes", names_json(rows[i].nodes), "step",
                                             rows[i].step >= 0 ? json_integer(rows[i].step) : json_null()));
    return out;
}

/* ---- the timeline ---- */

static const char *name_of(uid_t uid, char *buffer, size_t size) {
    struct passwd pw, *found = NULL;
    char scratch[4096];
    if (!getpwuid_r(uid, &pw, scratch, sizeof scratch, &found) && found)
        text_copy(buffer, size, pw.pw_name);
    else
        snprintf(buffer, size, "user %u", (unsigned)uid);
    return buffer;
}

/* "12[7] of queue prod": as its user calls it. */
struct called { char job[JOB_REF_TEXT_MAX], queue[QUEUE_NAME_MAX]; };

static struct called called(struct history *h, int64_t job) {
    struct called out = {.queue = "?"};
    sqlite3_stmt *st = begin(h, HISTORY_CALLED, job);
    bool known = sqlite3_step(st) == SQLITE_ROW;
    if (known)
        text_copy(out.queue, sizeof out.queue, text_of(st, 0));
    bool is_element = known && sqlite3_column_int64(st, 1);
    job_ref_text(is_element ? job_ref(sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)) : job, out.job);
    sqlite3_reset(st);
    return out;
}

struct teller {
    struct history *h;
    const struct stored_job *job;
    const struct attempt_row *attempts;
    size_t attempt_count, told_ends;
    int64_t told_turn;        /* restarts up to this turn are told */
    struct timeline line;
    struct timeline_moment checkpoint;
};

static void tell_restarts(struct teller *t, int64_t before_turn) {
    sqlite3_stmt *st = begin(t->h, HISTORY_STARTS, t->told_turn);
    sqlite3_bind_int64(st, 2, before_turn);
    while (sqlite3_step(st) == SQLITE_ROW)
        timeline_add_restart(&t->line, (struct timeline_moment){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)}, text_of(st, 2));
    sqlite3_reset(st);
    t->told_turn = before_turn > t->told_turn ? before_turn : t->told_turn;
}

/* Ends of attempts belong behind the events of their turn, and before whatever a later turn or a later attempt brought. */
static void tell_ends(struct teller *t, int64_t before_turn, bool new_attempt) {
    while (t->told_ends < t->attempt_count) {
        const struct attempt_row *a = &t->attempts[t->told_ends];
        bool due = a->end_wall_ms && (a->end_turn < before_turn || (new_attempt && a->end_turn == before_turn));
        if (!due || a->attempt > t->line.attempt)
            return;
        t->told_ends++;
        bool last = t->told_ends == t->attempt_count && job_state_is_final((int)t->job->state);
        timeline_add_end(&t->line, (struct timeline_moment){a->end_wall_ms, a->end_turn}, &a->end, a->attempt, a->text,
                         last ? job_state_name((int)t->job->state) : "REQUEUED");
    }
}

static void tell_event(struct teller *t, struct timeline_moment at, const struct event *e) {
    char user[64];
    bool for_other = e->type == EVENT_JOB_STOP && e->other;
    struct called other = for_other ? called(t->h, e->other) : (struct called){0};
    struct timeline_context context = {.user = name_of((uid_t)e->uid, user, sizeof user), .other = other.job, .other_queue = other.queue};
    tell_ends(t, at.turn, e->type == EVENT_JOB_START);
    tell_restarts(t, at.turn);
    if (e->type == EVENT_JOB_START && (size_t)t->line.attempt < t->attempt_count)
        context.placement = &t->attempts[t->line.attempt].placement;
    if (e->type == EVENT_CHECKPOINTED || (e->type == EVENT_TASK_EXITED && e->kind == EXIT_YIELDED))
        t->checkpoint = at;
    timeline_add_event(&t->line, at, e, &context);
}

static void tell_timeline(struct teller *t) {
    struct arena arena = {0};
    struct event e;
    timeline_begin(&t->line);
    t->told_turn = INT64_MAX;
    sqlite3_stmt *st = begin(t->h, HISTORY_EVENTS, t->job->id);
    while (sqlite3_step(st) == SQLITE_ROW) {
        struct timeline_moment at = {sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 0)};
        if (t->told_turn == INT64_MAX)
            t->told_turn = at.turn;
        if (decode(st, 2, &event_schema, &e, &arena))
            tell_event(t, at, &e);
        arena_reset(&arena);
    }
    sqlite3_reset(st);
    tell_ends(t, INT64_MAX, false);
    if (!job_state_is_final((int)t->job->state))
        tell_restarts(t, INT64_MAX);
    arena_release(&arena);
}

/* ---- evictions ---- */

/* One way or another an attempt's work is safe: saved, or not begun yet. */
static bool makes_safe(const struct event *e) {
    return e->type == EVENT_CHECKPOINTED || e->type == EVENT_TASK_STARTED || (e->type == EVENT_TASK_EXITED && e->kind == EXIT_YIELDED);
}

struct eviction {
    int64_t asked_wall_ms, safe_wall_ms;   /* when it was asked to leave; when its work was last safe, 0: never */
    int64_t number;                        /* of the attempt */
    const struct attempt_row *attempt;     /* NULL: the store has no row of it */
    struct event stop;
};

static int64_t gpus_of_attempt(const struct attempt_row *attempt, int64_t asked) {
    int64_t gpus = 0;
    for (size_t i = 0; attempt && i < attempt->placement.tasks.count; i++)
        gpus += (int64_t)((const struct stored_task *)attempt->placement.tasks.items)[i].gpu_order.count;
    return gpus ? gpus : asked;
}

/* Whose guarantee it was for; NULL: that of none. */
static const char *gpu_type_of(const struct event *stop) { return *stop->gpu_type ? stop->gpu_type : NULL; }

/* It went on elsewhere, or with another number of GPUs: nothing was taken from it for good. */
static json_t *resize_json(const struct eviction *v, int64_t gpus) {
    const struct event *e = &v->stop;
    const char *than = strcmp(e->rule, "grow") ? "less" : "more";
    json_t *text = e->cause == STOP_MOVED ? json_sprintf("attempt %lld was to go on elsewhere", (long long)v->number)
                   : json_sprintf("attempt %lld was to go on with %s than %lld GPUs", (long long)v->number, than, (long long)gpus);
    return json_pack("{s:I, s:I, s:s, s:o, s:s, s:s?, s:s, s:o}", "ms", (json_int_t)v->asked_wall_ms, "attempt", (json_int_t)v->number,
                     "cause", stop_cause_name((int)e->cause), "text", text, "rule", e->rule, "gpu_type", gpu_type_of(e), "plan", e->text,
                     "for_job", e->other ? json_integer(e->other) : json_null());
}

/* The work since it was last safe is what the eviction cost. */
static json_t *eviction_json(struct history *h, const struct stored_job *job, const struct eviction *v) {
    const struct event *e = &v->stop;
    int64_t end_ms = v->attempt && v->attempt->end_wall_ms ? v->attempt->end_wall_ms : v->asked_wall_ms;
    int64_t gpus = gpus_of_attempt(v->attempt, job->gpus);
    double lost_s = v->safe_wall_ms && end_ms > v->safe_wall_ms ? (double)(end_ms - v->safe_wall_ms) / 1000 : 0;
    struct called to = e->other ? called(h, e->other) : (struct called){0};
    if (e->cause != STOP_PREEMPTED)
        return resize_json(v, gpus);
    json_t *text = e->other ? json_sprintf("attempt %lld had to give its GPUs to job %s of queue %s", (long long)v->number, to.job,
                                          to.queue)
                            : json_sprintf("attempt %lld had to leave: its queue was put below what it used", (long long)v->number);
    return json_pack("{s:I, s:I, s:o, s:s, s:s?, s:s, s:o, s:s?, s:I, s:I, s:I, s:f}", "ms", (json_int_t)v->asked_wall_ms, "attempt",
                     (json_int_t)v->number, "text", text, "rule", e->rule, "gpu_type", gpu_type_of(e), "plan", e->text, "for_job",
                     e->other ? json_integer(e->other) : json_null(), "for_queue", e->other ? to.queue : NULL, "gpus_asked",
                     (json_int_t)e->gpus_asked, "gpus_evicted", (json_int_t)gpus, "gpus_evicted_by_plan",
                     (json_int_t)(e->gpus_taken ? e->gpus_taken : gpus), "gpu_seconds_lost", lost_s * (double)gpus);
}

/* Evictions of a job, resizes and moves, in their order: what `why` and `show` tell of its past. */
static json_t *past_json(struct history *h, const struct stored_job *job, const struct attempt_row *attempts, size_t attempt_count,
                         struct arena *arena) {
    json_t *past = json_array();
    struct eviction *evictions = NULL;
    size_t count = 0, capacity = 0;
    int64_t number = 0, safe_ms = 0;
    struct event e;
    sqlite3_stmt *st = begin(h, HISTORY_EVENTS, job->id);
    while (sqlite3_step(st) == SQLITE_ROW) {
        struct eviction *last = count && evictions[count - 1].number == number ? &evictions[count - 1] : NULL;
        if (!decode(st, 2, &event_schema, &e, arena))
            continue;
        if (e.type == EVENT_JOB_START) {
            number++;
            safe_ms = 0;
        }
        if (makes_safe(&e) && last && number == last->number)
            last->safe_wall_ms = sqlite3_column_int64(st, 1);
        if (makes_safe(&e))
            safe_ms = sqlite3_column_int64(st, 1);
        if (e.type != EVENT_JOB_STOP || (e.cause != STOP_PREEMPTED && e.cause != STOP_RESIZED && e.cause != STOP_MOVED))
            continue;
        evictions = xgrow(evictions, &capacity, count + 1, sizeof *evictions);
        evictions[count++] = (struct eviction){.asked_wall_ms = sqlite3_column_int64(st, 1), .safe_wall_ms = safe_ms, .number = number,
                                               .stop = e,
                                               .attempt = number && number <= (int64_t)attempt_count ? &attempts[number - 1] : NULL};
    }
    sqlite3_reset(st);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(past, eviction_json(h, job, &evictions[i]));
    free(evictions);
    return past;
}

/* ---- the whole story ---- */

static void tell_story(struct history *h, json_t *out, const struct stored_job *job, struct arena *arena) {
    struct attempt_row *attempts;
    struct job_spec spec;
    struct stored_series series;
    size_t count = read_attempts(h, job->id, &attempts, arena);
    struct teller t = {.h = h, .job = job, .attempts = attempts, .attempt_count = count};
    sqlite3_stmt *st = begin(h, HISTORY_SPEC, job->id);
    if (sqlite3_step(st) == SQLITE_ROW && decode(st, 0, &job_spec_schema, &spec, arena))
        job_json_add_spec(out, job, &spec);
    sqlite3_reset(st);
    tell_timeline(&t);
    bool show_placement = count && (job->attempt == attempts[count - 1].attempt) && job->state != JOB_PENDING && job->state != JOB_HELD;
    json_object_set_new(out, "placement", show_placement ? placement_json(&attempts[count - 1].placement) : json_null());
    json_object_set_new(out, "checkpoint", job->checkpoint_step >= 0
                        ? json_pack("{s:I, s:I}", "step", (json_int_t)job->checkpoint_step, "ms",
                                    (json_int_t)t.checkpoint.wall_ms) : json_null());
    json_object_set_new(out, "attempts", attempts_json(attempts, count, job));
    json_object_set_new(out, "timeline", t.line.entries);
    json_object_set_new(out, "past", past_json(h, job, attempts, count, arena));
    st = begin(h, HISTORY_SERIES, job->id);
    if (sqlite3_step(st) == SQLITE_ROW && decode(st, 0, &stored_series_schema, &series, arena))
        json_object_set_new(out, "series", series_json(&series));
    sqlite3_reset(st);
    json_object_set_new(out, "end_text", json_incref(json_object_get(out, "cause")));
    free(attempts);
}

int history_story(struct history *h, const struct view *view, json_t **document, struct error *err) {
    return each_asked(h, view, document, tell_story, err);
}

/* ---- why ---- */

static void tell_evictions(struct history *h, json_t *out, const struct stored_job *job, struct arena *arena) {
    struct attempt_row *attempts;
    size_t count = read_attempts(h, job->id, &attempts, arena);
    json_object_set_new(out, "past", past_json(h, job, attempts, count, arena));
    json_object_set_new(out, "reason", json_null());
    free(attempts);
}

int history_why(struct history *h, const struct view *view, json_t **document, struct error *err) {
    return each_asked(h, view, document, tell_evictions, err);
}

/* ---- quotas ---- */

int history_each_quota_event(struct history *h, history_event_function *tell, void *context, struct error *err) {
    struct arena arena = {0};
    struct event e;
    sqlite3_stmt *st = h->statements[HISTORY_QUOTAS];
    int r;
    _Static_assert(EVENT_QUOTA_SET == 11 && EVENT_QUOTA_DELETED == 12 && EVENT_QUOTA_RENAMED == 23, "the numbers in schema.sql and above");
    sqlite3_reset(st);
    while ((r = sqlite3_step(st)) == SQLITE_ROW) {
        if (decode(st, 2, &event_schema, &e, &arena))
            tell(context, &e, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
        arena_reset(&arena);
    }
    sqlite3_reset(st);
    arena_release(&arena);
    return r == SQLITE_DONE ? 0 : failed(h, err);
}

const char *history_user(int64_t uid, char *buffer, size_t size) { return name_of((uid_t)uid, buffer, size); }
