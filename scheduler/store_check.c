/* The check of a store that nobody uses: SQLite's own, and whether every row can be read and belongs to something. Nothing is written. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/version.h"
#include "common/xmalloc.h"
#include "scheduler/job_json.h"
#include "scheduler/store_sql.h"

enum { TOLD_OF_ONE = 5 };   /* problems of a kind that are told one by one */

__attribute__((format(printf, 2, 3))) static void tell(struct store *s, const char *format, ...) {
    char text[ERROR_TEXT_MAX + 128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->tell(s->tell_context, text);
}

/* ---- opening ---- */

/* Shared: several may check, and no daemon begins meanwhile. A copy may come without the file. */
static int lock_out(struct store *s, const char *folder, struct error *err) {
    char *path = xasprintf("%s/store.lock", folder), pid[16] = "";
    s->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (s->lock_fd < 0 || !flock(s->lock_fd, LOCK_SH | LOCK_NB))
        return 0;
    ssize_t n = pread(s->lock_fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strcspn(pid, " \n") : 0] = '\0';
    return error_set(err, ERR_CONFLICT, "musterd (pid %s) runs on %s: stop it first, or check a copy (`sqlite3 -readonly %s/muster.db "
                     "\".backup FOLDER/muster.db\"`)", pid, folder, folder);
}

static int check_schema(struct store *s, struct error *err) {
    int have = store_schema_version(s), newest = store_schema_newest();
    if (have < 0)
        return store_failed(s, "reading the schema's version", err);
    if (have == newest)
        return 0;
    return error_set(err, ERR_CONFLICT, "%s has schema %d, and this musterd (%s) checks %d: %s", s->path, have, muster_version, newest,
                     have > newest ? "check it with the newer one that wrote it" : "start it once, which migrates the store");
}

int store_open_to_check(struct store **out, const char *folder, store_problem *teller, void *context, struct error *err) {
    struct store *s = xcalloc(1, sizeof *s);
    *s = (struct store){.lock_fd = -1, .path = xasprintf("%s/muster.db", folder), .tell = teller, .tell_context = context};
    int r = access(s->path, F_OK) ? error_set_errno(err, ERR_NOT_FOUND, "%s", s->path) : lock_out(s, folder, err);
    if (!r && sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        r = store_failed(s, "opening the store", err);
    if (!r)
        r = check_schema(s, err);
    if (!r)
        r = store_prepare(s, err);
    if (r)
        store_close(s);
    else
        *out = s;
    return r;
}

/* ---- the file ---- */

int store_check_file(struct store *s, struct error *err) {
    sqlite3_stmt *st;
    int r = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check(20)", -1, &st, NULL) == SQLITE_OK ? 0 : store_failed(s, "checking", err);
    while (!r && (r = sqlite3_step(st)) == SQLITE_ROW) {
        r = 0;
        if (strcmp(store_column_text(st, 0), "ok"))
            tell(s, "%s", store_column_text(st, 0));
    }
    sqlite3_finalize(st);
    return r == SQLITE_DONE || r <= 0 ? (r < 0 ? r : 0) : store_failed(s, "checking the file", err);
}

/* ---- the rows ---- */

union any_record {
    struct stored_job job;
    struct job_spec spec;
    struct stored_placement placement;
    struct stored_series series;
    struct stored_node node;
    struct event event;
    struct logged_turn notes;
    struct snapshot_head head;
    union snapshot_row row;
};

/* (what, SQL of id and body, schema): the id is for people. */
static const struct { const char *what, *sql; const struct record_schema *schema; } bodies[] = {
    {"job", "SELECT id, record FROM jobs", &stored_job_schema},
    {"what was submitted as job", "SELECT job, body FROM specs", &job_spec_schema},
    {"an attempt of job", "SELECT job, placement FROM attempts", &stored_placement_schema},
    {"the curve of job", "SELECT job, body FROM series", &stored_series_schema},
    {"the node at", "SELECT position, record FROM nodes", &stored_node_schema},
    {"the queue at", "SELECT position, record FROM queues WHERE record IS NOT NULL", &stored_queue_schema},
    {"an event of turn", "SELECT turn, body FROM events", &event_schema},
    {"what is noted of turn", "SELECT turn, notes FROM turns WHERE notes IS NOT NULL", &logged_turn_schema},
    {"the snapshot after turn", "SELECT turn, head FROM snapshots", &snapshot_head_schema},
    {"a queue in the snapshot after turn", "SELECT turn, body FROM snapshot_rows WHERE kind=0", &stored_queue_schema},
    {"a node in the snapshot after turn", "SELECT turn, body FROM snapshot_rows WHERE kind=1", &stored_node_schema},
    {"a job in the snapshot after turn", "SELECT turn, body FROM snapshot_rows WHERE kind=2", &stored_job_schema},
    {"a reservation in the snapshot after turn", "SELECT turn, body FROM snapshot_rows WHERE kind=3", &stored_reservation_schema},
    {"an account in the snapshot after turn", "SELECT turn, body FROM snapshot_rows WHERE kind=4", &stored_account_schema},
};

/* (what is wrong, before and behind the number; SQL of the numbers). */
static const struct { const char *before, *behind, *sql; } strays[] = {
    {"what was submitted as job", " is missing", "SELECT id FROM jobs WHERE array=0 AND id NOT IN (SELECT job FROM specs)"},
    {"the array is missing of its element, job", "", "SELECT id FROM jobs WHERE array>0 AND array NOT IN (SELECT id FROM jobs)"},
    {"a specification is kept of job", ", which is not", "SELECT job FROM specs WHERE job NOT IN (SELECT id FROM jobs)"},
    {"an attempt is kept of job", ", which is not", "SELECT job FROM attempts WHERE job NOT IN (SELECT id FROM jobs)"},
    {"turn", " has no events", "SELECT turn FROM turns WHERE turn NOT IN (SELECT turn FROM events)"},
    {"an event is kept of turn", ", which is not", "SELECT turn FROM events WHERE turn NOT IN (SELECT turn FROM turns)"},
    {"turn", " is missing", "SELECT t.turn + 1 FROM turns t WHERE t.turn < (SELECT max(turn) FROM turns) AND NOT EXISTS "
                           "(SELECT 1 FROM turns n WHERE n.turn = t.turn + 1)"},
    {"turn", " is of an earlier time than the one before it", "SELECT t.turn FROM turns t JOIN turns b ON b.turn = t.turn - 1 "
                                                             "WHERE b.now_ms > t.now_ms"},
    {"a row of the snapshot after turn", " is of no known kind", "SELECT turn FROM snapshot_rows WHERE kind NOT BETWEEN 0 AND 4"},
};

/* A kind with very many problems is told by its first ones. */
static bool worth_telling(struct store *s, const char *what, int64_t problems) {
    if (problems == TOLD_OF_ONE)
        tell(s, "... and more of: %s", what);
    return problems < TOLD_OF_ONE;
}

static int check_bodies(struct store *s, size_t which, sqlite3_stmt *st, int64_t *rows) {
    struct arena arena = {0};
    union any_record record;
    int64_t problems = 0;
    int r;
    for (; (r = sqlite3_step(st)) == SQLITE_ROW; ++*rows) {
        struct bytes body = store_column_bytes(st, 1);
        struct error why;
        if (record_decode(bodies[which].schema, body.data, body.size, &record, &arena, &why)) {
            if (worth_telling(s, bodies[which].what, problems++))
                tell(s, "%s %lld: %s", bodies[which].what, (long long)sqlite3_column_int64(st, 0), why.text);
        } else {
            record_release_trees(bodies[which].schema, &record);
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
    return r;
}

static int check_strays(struct store *s, size_t which, sqlite3_stmt *st) {
    int64_t problems = 0;
    int r;
    while ((r = sqlite3_step(st)) == SQLITE_ROW)
        if (worth_telling(s, strays[which].behind, problems++))
            tell(s, "%s %lld%s", strays[which].before, (long long)sqlite3_column_int64(st, 0), strays[which].behind);
    return r;
}

int store_check_rows(struct store *s, int64_t *rows, struct error *err) {
    size_t body_count = sizeof bodies / sizeof *bodies, stray_count = sizeof strays / sizeof *strays;
    int rc = 0;
    *rows = 0;
    for (size_t i = 0; i < body_count + stray_count && !rc; i++) {
        bool stray = i >= body_count;
        sqlite3_stmt *st = NULL;
        int r = sqlite3_prepare_v2(s->db, stray ? strays[i - body_count].sql : bodies[i].sql, -1, &st, NULL);
        if (r == SQLITE_OK)
            r = stray ? check_strays(s, i - body_count, st) : check_bodies(s, i, st, rows);
        rc = r == SQLITE_DONE ? 0 : store_failed(s, "reading all rows", err);
        sqlite3_finalize(st);
    }
    return rc;
}
