/* Opening, locking, migrating and tidying the store, and the small reads of the loop. What a turn writes is in store_commit.c, what a
 * start reads in store_load.c. Invariant: this is the only connection that writes and the only one that moves the log into the database. */
#include "scheduler/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/version.h"
#include "common/xmalloc.h"
#include "scheduler/store_sql.h"

/* The log is moved when idle from this many pages (of 4 KiB) on, and in any case from the second number on. */
enum { WAL_IDLE_PAGES = 1000, WAL_FULL_PAGES = 16000 };
enum { LOCK_PATIENCE_MS = 1000 };

static const char *const statement_texts[] = {
#define X(name, sql) sql,
    STORE_STATEMENTS(X)
#undef X
};

int store_failed(struct store *s, const char *doing, struct error *err) {
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_CANTOPEN;
    if ((code & 0xff) == SQLITE_FULL || (s->db && sqlite3_system_errno(s->db) == ENOSPC))
        return error_set(err, ERR_STORE, "%s: the disk of %s is full: free some space, work resumes by itself", doing, s->path);
    return error_set(err, ERR_STORE, "%s: %s (%s)", doing, s->db ? sqlite3_errmsg(s->db) : "not open", s->path);
}

static void bind_all(sqlite3_stmt *st, const char *types, va_list args) {
    for (int i = 1; *types; types++, i++) {
        if (*types == 'i') {
            sqlite3_bind_int64(st, i, va_arg(args, int64_t));
        } else if (*types == 't') {
            sqlite3_bind_text(st, i, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else if (*types == 'b') {
            const void *data = va_arg(args, const void *);
            size_t size = va_arg(args, size_t);
            sqlite3_bind_blob64(st, i, data ? data : "", size, SQLITE_STATIC);
        } else {
            int64_t value = va_arg(args, int64_t);
            if (value)
                sqlite3_bind_int64(st, i, value);   /* unbound is NULL */
        }
    }
}

int store_next(struct store *s, enum store_statement which, struct error *err) {
    int r = sqlite3_step(s->statements[which]);
    if (r == SQLITE_ROW)
        return 1;
    if (r != SQLITE_DONE)
        store_failed(s, "reading or writing the store", err);
    store_done(s, which);
    return r == SQLITE_DONE ? 0 : ERR_STORE;
}

void store_done(struct store *s, enum store_statement which) {
    sqlite3_reset(s->statements[which]);
    sqlite3_clear_bindings(s->statements[which]);
}

int store_query(struct store *s, enum store_statement which, struct error *err, const char *types, ...) {
    va_list args;
    va_start(args, types);
    bind_all(s->statements[which], types, args);
    va_end(args);
    return store_next(s, which, err);
}

int store_run(struct store *s, enum store_statement which, struct error *err, const char *types, ...) {
    va_list args;
    va_start(args, types);
    bind_all(s->statements[which], types, args);
    va_end(args);
    int r = store_next(s, which, err);
    if (r > 0)
        store_done(s, which);
    return r < 0 ? r : 0;
}

int store_end(struct store *s, int r, struct error *err) {
    if (!r)
        r = store_run(s, SQL_COMMIT, err, "");
    if (r && !sqlite3_get_autocommit(s->db))
        store_run(s, SQL_ROLLBACK, NULL, "");
    return r;
}

struct bytes store_column_bytes(sqlite3_stmt *row, int column) {
    const void *data = sqlite3_column_blob(row, column);   /* before the size, as SQLite asks */
    return (struct bytes){(size_t)sqlite3_column_bytes(row, column), data};
}

const char *store_column_text(sqlite3_stmt *row, int column) {
    const unsigned char *text = sqlite3_column_text(row, column);
    return text ? (const char *)text : "";
}

/* ---- opening ---- */

/* The pid in the file is for whoever is refused. It has a fixed length and is written in place: a full disk must not keep us from opening
 * again. */
static int lock_take(struct store *s, const char *folder, struct error *err) {
    char *path = xasprintf("%s/store.lock", folder), pid[16] = "", own[16];
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = s->lock_fd < 0 ? error_set_errno(err, ERR_IO, "opening %s", path) : 0;
    bool locked = !r && !flock(s->lock_fd, LOCK_EX | LOCK_NB);
    for (int64_t until_ms = clock_boot_ms() + LOCK_PATIENCE_MS; !r && !locked && clock_boot_ms() < until_ms; clock_sleep_ms(20))
        locked = !flock(s->lock_fd, LOCK_EX | LOCK_NB);   /* one that was killed a moment ago takes a moment to be gone */
    if (!r && !locked) {
        ssize_t n = pread(s->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? strcspn(pid, " \n") : 0] = '\0';
        r = error_set(err, ERR_CONFLICT, "another musterd (pid %s) holds the store in %s: stop it first, or give another --state", pid,
                      folder);
    }
    int length = snprintf(own, sizeof own, "%-10d\n", (int)getpid());
    bool is_there = !r && pread(s->lock_fd, pid, sizeof pid - 1, 0) == length && !memcmp(pid, own, (size_t)length);
    if (!r && !is_there && pwrite(s->lock_fd, own, (size_t)length, 0) != length)
        r = error_set_errno(err, ERR_STORE, "writing %s", path);
    free(path);
    return r;
}

static int wal_seen(void *context, sqlite3 *db, const char *name, int pages) {
    ((struct store *)context)->wal_pages = pages;
    return SQLITE_OK;
}

static int execute(struct store *s, const char *sql, const char *doing, struct error *err) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_failed(s, doing, err);
}

int store_schema_version(struct store *s) {
    sqlite3_stmt *st;
    int version = -1;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return version;
}

int store_schema_newest(void) {
    int version = 0;
    while (store_schema_section(version + 1, NULL))
        version++;
    return version;
}

static int migrate(struct store *s, struct error *err) {
    int have = store_schema_version(s), newest = store_schema_newest();
    if (have < 0)
        return store_failed(s, "reading the schema's version", err);
    if (have > newest)
        return error_set(err, ERR_CONFLICT, "%s has schema %d, and this musterd (%s) knows up to %d: start the newer musterd that wrote "
                         "it", s->path, have, muster_version, newest);
    if (have == newest)
        return 0;
    int r = execute(s, "BEGIN EXCLUSIVE", "migrating", err);
    for (int v = have + 1; v <= newest && !r; v++) {
        size_t length;
        const char *section = store_schema_section(v, &length);
        char *sql = xstrndup(section, length);
        r = execute(s, sql, "migrating", err);
        free(sql);
    }
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version=%d; COMMIT", newest);
    if (!r)
        r = execute(s, pragma, "migrating", err);
    if (!r && have)
        log_info("store_migrated", "from=%d to=%d", have, newest);
    return r;
}

int store_prepare(struct store *s, struct error *err) {
    for (int i = 0; i < SQL_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) != SQLITE_OK)
            return store_failed(s, "preparing a statement", err);
    return 0;
}

int store_open(struct store **out, const char *folder, struct error *err) {
    struct store *s = xcalloc(1, sizeof *s);
    *s = (struct store){.lock_fd = -1, .path = xasprintf("%s/muster.db", folder)};
    int r = lock_take(s, folder, err);
    if (!r && sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        r = store_failed(s, "opening the store", err);
    if (!r) {
        sqlite3_busy_timeout(s->db, 2000);
        r = execute(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=0; "
                       "PRAGMA cache_size=-32768; PRAGMA trusted_schema=OFF", "opening the store", err);
    }
    if (!r)
        r = migrate(s, err);
    if (!r)
        r = store_prepare(s, err);
    if (r) {
        store_close(s);
        return r;
    }
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);   /* an end is quick, and a full disk is no place to tidy */
    sqlite3_wal_hook(s->db, wal_seen, s);
    *out = s;
    return 0;
}

void store_close(struct store *s) {
    if (!s)
        return;
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    buffer_release(&s->scratch);
    buffer_release(&s->reservations);
    free(s->node_hashes);
    free(s->queue_hashes);
    free(s->path);
    free(s);
}

static int64_t meta_int(struct store *s, const char *key) {
    int64_t value = 0;
    if (store_query(s, SQL_META_GET, NULL, "t", key) > 0) {
        value = sqlite3_column_int64(s->statements[SQL_META_GET], 0);
        store_done(s, SQL_META_GET);
    }
    return value;
}

int store_begin_epoch(struct store *s, int64_t *epoch, struct error *err) {
    int64_t count = meta_int(s, "start_count") + 1;
    *epoch = meta_int(s, "restore_epoch") << 32 | count;
    int64_t turn = 0;
    if (store_query(s, SQL_LAST_TURN, NULL, "") > 0) {
        turn = sqlite3_column_int64(s->statements[SQL_LAST_TURN], 0);
        store_done(s, SQL_LAST_TURN);
    }
    int r = store_run(s, SQL_BEGIN, err, "");
    if (!r)
        r = store_run(s, SQL_META_SET, err, "ti", "start_count", count);
    if (!r)
        r = store_run(s, SQL_START_INSERT, err, "iiit", *epoch, clock_wall_ms(), turn, muster_version);
    if (!r)
        r = store_run(s, SQL_COMMIT, err, "");
    return r;
}

int64_t store_turn(const struct store *s) { return s->turn; }

int store_probe(struct store *s, struct error *err) {
    int r = store_run(s, SQL_BEGIN, err, "");
    if (!r)
        r = store_run(s, SQL_META_SET, err, "ti", "probe_wall_ms", clock_wall_ms());
    return store_end(s, r, err);
}

void store_tidy(struct store *s, bool idle) {
    if (!s || s->wal_pages < (idle ? WAL_IDLE_PAGES : WAL_FULL_PAGES))
        return;
    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    s->wal_pages = 0;   /* the next commit says how long the log is by then */
}

/* ---- point reads ---- */

int64_t store_find_token(struct store *s, uid_t uid, const char *token) {
    int64_t id = 0;
    if (store_query(s, SQL_FIND_TOKEN, NULL, "it", (int64_t)uid, token) > 0) {
        id = sqlite3_column_int64(s->statements[SQL_FIND_TOKEN], 0);
        store_done(s, SQL_FIND_TOKEN);
    }
    return id;
}

int64_t store_find_element(struct store *s, int64_t array, int64_t element) {
    int64_t id = 0;
    if (store_query(s, SQL_FIND_ELEMENT, NULL, "ii", array, element) > 0) {
        id = sqlite3_column_int64(s->statements[SQL_FIND_ELEMENT], 0);
        store_done(s, SQL_FIND_ELEMENT);
    }
    return id;
}

int store_find_job(struct store *s, int64_t id, struct store_job *out, struct error *err) {
    int r = store_query(s, SQL_FIND_JOB, err, "i", id);
    if (r < 0)
        return r;
    if (!r)
        return error_set(err, ERR_NOT_FOUND, "job %lld: no such job", (long long)id);
    sqlite3_stmt *row = s->statements[SQL_FIND_JOB];
    *out = (struct store_job){(uid_t)sqlite3_column_int64(row, 0), (gid_t)sqlite3_column_int64(row, 1), sqlite3_column_int(row, 2),
                              sqlite3_column_int64(row, 3)};
    store_done(s, SQL_FIND_JOB);
    return 0;
}

/* Decodes a blob of the current row into the arena, so that it outlives the row. */
static int decode_column(struct store *s, enum store_statement which, const struct record_schema *schema, void *record, struct arena *arena,
                         struct error *err) {
    struct bytes bytes = store_column_bytes(s->statements[which], 0);
    char *copy = arena_copy(arena, bytes.data, bytes.size);
    store_done(s, which);
    return record_decode(schema, copy, bytes.size, record, arena, err);
}

int store_read_spec(struct store *s, int64_t job, struct job_spec *spec, struct arena *arena, struct error *err) {
    int r = store_query(s, SQL_SPEC_READ, err, "i", job);
    if (r < 0)
        return r;
    if (!r)
        return error_set(err, ERR_NOT_FOUND, "job %lld: what was submitted is not in the store", (long long)job);
    return decode_column(s, SQL_SPEC_READ, &job_spec_schema, spec, arena, err);
}

int store_find_attempt_node(struct store *s, int64_t job, int64_t attempt, int64_t rank, const char **node, struct arena *arena,
                            struct error *err) {
    struct stored_placement placement;
    *node = "";
    int r = store_query(s, SQL_ATTEMPT_PLACEMENT, err, "ii", job, attempt);
    if (r > 0)
        r = decode_column(s, SQL_ATTEMPT_PLACEMENT, &stored_placement_schema, &placement, arena, err) ? ERR_STORE : 1;
    if (r <= 0)
        return r;
    const struct stored_task *tasks = placement.tasks.items;
    int64_t first = 0;
    for (size_t i = 0; i < placement.tasks.count; i++) {
        if (rank < first + tasks[i].ranks) {
            *node = tasks[i].node;
            return 0;
        }
        first += tasks[i].ranks;
    }
    return error_set(err, ERR_NOT_FOUND, "job %lld has ranks 0 to %lld, not %lld", (long long)job, (long long)first - 1, (long long)rank);
}

int store_read_tail(struct store *s, int64_t job, int64_t attempt, struct bytes *tail, struct arena *arena, struct error *err) {
    int r = store_query(s, SQL_TAIL_READ, err, "ii", job, attempt);
    if (r < 0)
        return r;
    if (!r)
        return error_set(err, ERR_NOT_FOUND, "job %lld: nothing of its output is kept here", (long long)job);
    struct bytes bytes = store_column_bytes(s->statements[SQL_TAIL_READ], 0);
    *tail = (struct bytes){bytes.size, arena_copy(arena, bytes.data, bytes.size)};
    store_done(s, SQL_TAIL_READ);
    return 0;
}
