/* Between the store's own files: the handle, its statements, and two calls that bind and run them. Nobody else includes sqlite3.h. */
#ifndef SCHEDULER_STORE_SQL_H
#define SCHEDULER_STORE_SQL_H

#include <sqlite3.h>

#include "scheduler/store.h"

#define STORE_STATEMENTS(X)                                                                                                                \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                                            \
    X(COMMIT, "COMMIT")                                                                                                                    \
    X(ROLLBACK, "ROLLBACK")                                                                                                                \
    X(TURN, "INSERT INTO turns (turn, now_ms, wall_ms, next_job, next_lease, notes) VALUES (?,?,?,?,?,?)")                                 \
    X(EVENT, "INSERT INTO events (turn, position, type, job, body) VALUES (?,?,?,?,?)")                                                    \
    X(JOB_INSERT, "INSERT INTO jobs (id, final, uid, gid, user, name, token, queue, state, submit_wall_ms, array, element, nodes, text, "  \
                  "record) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,'','',?)")                                                                      \
    X(JOB_UPDATE, "UPDATE jobs SET final=?, queue=?, state=?, start_wall_ms=?, end_wall_ms=?, nodes=?, text=?, progress=?, record=? "      \
                  "WHERE id=?")                                                                                                            \
    X(SPEC_INSERT, "INSERT INTO specs (job, body) VALUES (?,?)")                                                                           \
    X(SPEC_READ, "SELECT body FROM specs WHERE job=(SELECT CASE array WHEN 0 THEN id ELSE array END FROM jobs WHERE id=?)")                \
    X(FIND_ELEMENT, "SELECT id FROM jobs WHERE array=? AND array>0 AND element=?")                                                         \
    X(ARRAY_OF, "SELECT array FROM jobs WHERE id=? AND array>0")                                                                           \
    X(EMPTY_ARRAY, "SELECT 1 FROM jobs WHERE id=?1 AND final=1 AND NOT EXISTS (SELECT 1 FROM jobs e WHERE e.array=?1 AND e.array>0) "      \
                   "AND NOT EXISTS (SELECT 1 FROM events e WHERE e.job=?1 AND e.job>0 AND e.turn>?2)")                                     \
    X(ATTEMPT_INSERT, "INSERT OR IGNORE INTO attempts (job, attempt, lease, order_wall_ms, nodes, placement) VALUES (?,?,?,?,?,?)")        \
    X(ATTEMPT_START, "UPDATE attempts SET start_wall_ms=? WHERE job=? AND attempt=? AND start_wall_ms IS NULL")                            \
    X(ATTEMPT_END, "UPDATE attempts SET end_wall_ms=?, end_turn=?, cause=?, kind=?, status=?, rank=?, node=?, step=?, "                    \
                   "text=? WHERE job=? AND attempt<=? AND end_wall_ms IS NULL")                                                            \
    X(ATTEMPT_PLACEMENT, "SELECT placement FROM attempts WHERE job=? AND attempt=?")                                                       \
    X(TAIL_INSERT, "INSERT OR REPLACE INTO log_tails (job, attempt, body) VALUES (?,?,?)")                                                 \
    X(TAIL_READ, "SELECT body FROM log_tails WHERE job=? AND attempt=?")                                                                   \
    X(SERIES_READ, "SELECT body FROM series WHERE job=?")                                                                                  \
    X(SERIES_INSERT, "INSERT OR REPLACE INTO series (job, body) VALUES (?,?)")                                                             \
    X(NODE, "INSERT OR REPLACE INTO nodes (position, name, record) VALUES (?,?,?)")                                                        \
    X(QUEUE, "INSERT OR REPLACE INTO queues (position, name, parent, guarantee, max, weight, draining, deleted, record) "                  \
             "VALUES (?,?,?,?,?,?,?,?,?)")                                                                                                 \
    X(USAGE, "INSERT OR REPLACE INTO usage (queue, uid, gpu_ms, at_ms) VALUES (?,?,?,?)")                                                  \
    X(LOAD_USAGE, "SELECT queue, uid, gpu_ms, at_ms FROM usage ORDER BY queue, uid")                                                       \
    X(META_SET, "INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)")                                                                   \
    X(META_GET, "SELECT value FROM meta WHERE key=?")                                                                                      \
    X(START_INSERT, "INSERT INTO starts (epoch, wall_ms, turn, version) VALUES (?,?,?,?)")                                                 \
    X(LAST_TURN, "SELECT turn, now_ms, next_job, next_lease FROM turns ORDER BY turn DESC LIMIT 1")                                        \
    X(FIND_TOKEN, "SELECT id FROM jobs WHERE uid=? AND token=? AND token<>''")                                                             \
    X(FIND_JOB, "SELECT uid, gid, state, (SELECT max(attempt) FROM attempts WHERE job=id) FROM jobs WHERE id=?")                           \
    X(LOAD_NODES, "SELECT position, name, record FROM nodes ORDER BY position")                                                            \
    X(LOAD_QUEUES, "SELECT position, name, guarantee, max, weight, draining, deleted, record FROM queues ORDER BY position")               \
    X(LOAD_JOBS, "SELECT id, uid, gid, user, name, submit_wall_ms, start_wall_ms, end_wall_ms, nodes, text, record, "                      \
                 "progress FROM jobs INDEXED BY jobs_active WHERE final=0 ORDER BY id")                                                    \
    X(LAST_VERSION, "SELECT version FROM starts ORDER BY epoch DESC LIMIT 1")                                                              \
    X(SNAPSHOT_ROW, "INSERT OR REPLACE INTO snapshot_rows (turn, position, kind, body) VALUES (?,?,?,?)")                                  \
    X(SNAPSHOT_HEAD, "INSERT OR REPLACE INTO snapshots (turn, head) VALUES (?,?)")                                                         \
    X(SNAPSHOT_CLEAR, "DELETE FROM snapshot_rows WHERE turn=?")                                                                            \
    X(NODE_DELETE, "DELETE FROM nodes WHERE position=?")                                                                                   \
    X(QUEUE_DELETE, "DELETE FROM queues WHERE position=?")                                                                                 \
    X(FIRST_TURN, "SELECT min(turn) FROM turns WHERE turn>?")                                                                              \
    X(TIME_OF_TURN, "SELECT now_ms FROM turns WHERE turn>=? ORDER BY turn LIMIT 1")                                                        \
    X(TURN_OF_EVENT, "SELECT turn FROM events WHERE turn>=? ORDER BY turn LIMIT 1 OFFSET ?")                                               \
    X(HAS_SNAPSHOT, "SELECT count(*) FROM snapshots WHERE turn=?")                                                                         \
    X(DROPPABLE_JOBS, "SELECT id FROM jobs WHERE final=1 AND id IN (SELECT job FROM events WHERE turn<=?1 AND job>0 UNION "                \
                      "SELECT job FROM attempts WHERE end_turn<=?1) "                                                                      \
                      "AND NOT EXISTS (SELECT 1 FROM events e WHERE e.job=jobs.id AND e.job>0 AND e.turn>?2) "                             \
                      "AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job=jobs.id AND a.end_turn>?2) "                                   \
                   "AND NOT EXISTS (SELECT 1 FROM jobs e WHERE e.array=jobs.id AND e.array>0)")                                         \
    X(DROP_JOB, "DELETE FROM jobs WHERE id=?")                                                                                             \
    X(DROP_SPEC, "DELETE FROM specs WHERE job=?")                                                                                          \
    X(DROP_ATTEMPTS, "DELETE FROM attempts WHERE job=?")                                                                                   \
    X(DROP_TAILS, "DELETE FROM log_tails WHERE job=?")                                                                                     \
    X(DROP_SERIES, "DELETE FROM series WHERE job=?")                                                                                       \
    X(DROP_EVENTS, "DELETE FROM events WHERE turn<=?")                                                                                     \
    X(DROP_TURNS, "DELETE FROM turns WHERE turn<=?")                                                                                       \
    X(DROP_SNAPSHOTS, "DELETE FROM snapshots WHERE turn<?")                                                                                \
    X(DROP_STARTS, "DELETE FROM starts WHERE turn<? AND epoch<(SELECT max(epoch) FROM starts)")                                            \
    X(DROP_SNAPSHOT_ROWS, "DELETE FROM snapshot_rows WHERE (turn, position) IN (SELECT turn, position FROM snapshot_rows "                 \
                          "WHERE turn<? AND turn NOT IN (SELECT turn FROM snapshots) LIMIT ?)")                                            \
    X(QUARANTINE, "INSERT INTO quarantine (kind, id, reason, wall_ms, body) VALUES (?,?,?,?,?)")                                           \
    X(JOB_CLOSE, "UPDATE jobs SET final=1, state=?, end_wall_ms=?, text=? WHERE id=?")

enum store_statement {
#define X(name, sql) SQL_##name,
    STORE_STATEMENTS(X)
#undef X
    SQL_COUNT
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT];
    int lock_fd;
    char *path;
    int64_t turn;
    int64_t event_seq;
    int wal_pages;
    store_problem *tell;          /* this store is only checked: nothing is written */
    void *tell_context;
    bool loaded;                  /* memory was loaded since the last commit: the next one says so */
    int64_t idle_ms[IDLE_TIMES_MAX];
    size_t idle_count;            /* the policy was asked and decided nothing, since the last commit */
    int64_t digest_due_us;        /* boot clock: when a turn's digest is worth its cost again */
    struct buffer scratch;
    struct buffer reservations;   /* as they are stored: written only when they differ */
    int32_t gpu_types;            /* how many are stored */
    uint64_t *node_hashes, *queue_hashes;   /* of the rows as this run has written them; 0: not yet */
    size_t node_capacity, queue_capacity;
};

/* Binds by `types` and steps to the end: i int64_t, t const char *, b const void * and size_t, z int64_t of which zero is NULL. */
int store_run(struct store *s, enum store_statement which, struct error *err, const char *types, ...);
/* The same, but stops at the first row: 1 a row (read its columns, then store_done), 0 none, negative an error. */
int store_query(struct store *s, enum store_statement which, struct error *err, const char *types, ...);
int store_next(struct store *s, enum store_statement which, struct error *err);   /* the row after it; same returns */
void store_done(struct store *s, enum store_statement which);
int store_end(struct store *s, int r, struct error *err);   /* COMMIT if r is 0, else (or if that fails) ROLLBACK */
int store_failed(struct store *s, const char *doing, struct error *err);   /* ERR_STORE with SQLite's words */
struct bytes store_column_bytes(sqlite3_stmt *row, int column);             /* borrowed until the next step */
const char *store_column_text(sqlite3_stmt *row, int column);               /* never NULL */

int store_prepare(struct store *s, struct error *err);
int store_schema_version(struct store *s);    /* -1: it can't be read */
int store_schema_newest(void);
/* Sections of schema.sql, of version 1 up. NULL: there is no such version. */
const char *store_schema_section(int version, size_t *length);

#endif
