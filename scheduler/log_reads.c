/* Questions about the event log; see log_reads.h. */
#include "scheduler/log_reads.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "scheduler/authorise.h"
#include "scheduler/log_export.h"

enum { EXPORTS_MAX = 4, EXPORT_IDLE_MS = 30000, SNAPSHOT_STEP_US = 20000, SNAPSHOT_PIECE_BYTES = 128 * 1024 };

struct export_session {
    int64_t id;                 /* 0: free */
    struct peer peer;
    int64_t asked_ms;           /* boot clock */
    struct log_export x;
};

struct log_reads {
    char *folder;
    struct log_store *store;    /* NULL: opened at the next question */
    struct export_session exports[EXPORTS_MAX];
    int64_t last_export;
    int64_t making;             /* a snapshot after this turn is being made; 0: none */
    bool made;                  /* its rows are being given out */
    struct log_walk walk;
    struct snapshot_cursor at;
};

struct log_reads *log_reads_new(const char *folder) {
    struct log_reads *l = xcalloc(1, sizeof *l);
    l->folder = xstrdup(folder);
    return l;
}

static void end_export(struct export_session *s) {
    log_export_release(&s->x);
    s->id = 0;
}

static void end_snapshot(struct log_reads *l) {
    if (l->making)
        log_walk_release(&l->walk);
    l->making = 0;
}

static void close_store(struct log_reads *l) {
    for (int i = 0; i < EXPORTS_MAX; i++)
        if (l->exports[i].id)
            end_export(&l->exports[i]);
    end_snapshot(l);
    log_store_close(l->store);
    l->store = NULL;
}

void log_reads_free(struct log_reads *l) {
    close_store(l);
    free(l->folder);
    free(l);
}

/* ---- exports ---- */

static struct export_session *free_session(struct log_reads *l, struct error *err) {
    for (int i = 0; i < EXPORTS_MAX; i++)
        if (!l->exports[i].id)
            return &l->exports[i];
    error_set(err, ERR_BUSY, "%d exports are under way: try again when one has ended", EXPORTS_MAX);
    return NULL;
}

static struct export_session *find_session(struct log_reads *l, const struct read *q, struct error *err) {
    for (int i = 0; i < EXPORTS_MAX; i++)
        if (l->exports[i].id == q->export.export && authorise_same_user(&l->exports[i].peer, &q->peer))
            return &l->exports[i];
    error_set(err, ERR_NOT_FOUND, "this export is not known any more (musterd was started again, or waited too long): export again");
    return NULL;
}

static struct export_session *begin_export(struct log_reads *l, const struct read *q, struct error *err) {
    struct export_session *s = free_session(l, err);
    if (!s || log_export_begin(&s->x, l->store, q->export.from_turn, q->to_turn, q->digest, err))
        return NULL;
    s->id = ++l->last_export;
    s->peer = q->peer;
    return s;
}

static int answer_export(struct log_reads *l, struct read *q) {
    struct export_session *s = q->export.export ? find_session(l, q, &q->err) : begin_export(l, q, &q->err);
    if (!s)
        return q->err.code;
    s->asked_ms = clock_boot_ms();
    q->export.export = s->id;
    int rc = log_export_next(&s->x, EXPORT_CHUNK_MAX_BYTES, &q->piece, &q->end, &q->err);
    if (rc || q->end)
        end_export(s);
    return rc;
}

bool log_reads_expire(struct log_reads *l) {
    bool any = false;
    for (int i = 0; i < EXPORTS_MAX; i++) {
        struct export_session *s = &l->exports[i];
        if (s->id && clock_boot_ms() - s->asked_ms >= EXPORT_IDLE_MS)
            end_export(s);
        any |= s->id != 0;
    }
    return any;
}

/* ---- the snapshot that lets old turns go ---- */

static void give_rows(struct log_reads *l, struct read *q) {
    size_t bytes = 0, capacity = 0;
    union snapshot_row row;
    enum snapshot_kind kind;
    while (bytes < SNAPSHOT_PIECE_BYTES && !(q->end = !snapshot_next(&l->walk.c, &l->at, &row, &kind, &q->arena))) {
        struct buffer b = {0};
        q->rows = xgrow(q->rows, &capacity, q->row_count + 1, sizeof *q->rows);
        record_encode(snapshot_kind_schema((int)kind), &row, &b);
        q->rows[q->row_count++] = (struct snapshot_row_bytes){kind, {b.size, arena_copy(&q->arena, b.data, b.size)}};
        bytes += b.size;
        buffer_release(&b);
    }
    if (q->end)
        q->head = snapshot_head_from(&l->walk.c, &q->arena);
}

static int answer_snapshot(struct log_reads *l, struct read *q) {
    int r = 0;
    if (l->making != q->to_turn) {
        end_snapshot(l);
        if ((r = log_walk_begin(&l->walk, l->store, q->to_turn, &q->err)))
            return r;
        l->making = q->to_turn;
        l->made = false;
        l->at = (struct snapshot_cursor){0};
    }
    if (!l->made && (r = log_walk_step(&l->walk, l->store, SNAPSHOT_STEP_US, &q->err)) > 0)
        l->made = true;
    if (l->made)
        give_rows(l, q);
    if (r < 0 || q->end)
        end_snapshot(l);
    return r < 0 ? r : 0;
}

/* ---- all ---- */

void log_reads_answer(struct log_reads *l, struct read *q) {
    int rc = l->store ? 0 : log_store_open(&l->store, l->folder, &q->err);
    if (rc)
        return;
    if (q->kind == READ_EXPORT)
        rc = answer_export(l, q);
    else if (q->kind == READ_SNAPSHOT)
        rc = answer_snapshot(l, q);
    else
        rc = log_store_events(l->store, &q->view, &q->document, &q->err);
    if (rc == ERR_STORE)   /* perhaps the file is another one by now */
        close_store(l);
}
