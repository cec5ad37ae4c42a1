/* What a start reads: types of GPU, nodes, queues, live jobs, reservations, in this order, because each names the ones before it. */
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "common/version.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/rows.h"
#include "scheduler/store.h"
#include "scheduler/store_sql.h"

struct load {
    struct store *s;
    struct cluster *c;
    struct soft *soft;
    struct error *err;
    bool differs;              /* from what the log leads to: rows were left out */
};

static void quarantine(struct load *l, const char *kind, int64_t id, struct bytes body, const struct error *why) {
    l->differs = true;
    if (l->s->tell) {
        char text[ERROR_TEXT_MAX + 64];
        snprintf(text, sizeof text, "%s %lld: %s", kind, (long long)id, why->text);
        l->s->tell(l->s->tell_context, text);
        return;
    }
    log_error("row_quarantined", "kind=%s id=%lld reason=\"%s\"", kind, (long long)id, why->text);
    store_run(l->s, SQL_QUARANTINE, NULL, "titib", kind, id, why->text, clock_wall_ms(), body.data, body.size);
}

/* Unless the store is only checked. */
static void change(struct load *l, enum store_statement which, int64_t id) {
    if (!l->s->tell)
        store_run(l->s, which, NULL, "i", id);
}

static int load_turn(struct load *l, int64_t *now_ms) {
    int r = store_query(l->s, SQL_LAST_TURN, l->err, "");
    *now_ms = 0;
    l->s->turn = 0;
    if (r <= 0)
        return r;
    sqlite3_stmt *row = l->s->statements[SQL_LAST_TURN];
    l->s->turn = sqlite3_column_int64(row, 0);
    *now_ms = sqlite3_column_int64(row, 1);
    l->c->next_job = sqlite3_column_int64(row, 2);
    l->c->next_lease = sqlite3_column_int64(row, 3);
    l->c->turn = (uint64_t)l->s->turn;
    l->c->now_ms = *now_ms;
    store_done(l->s, SQL_LAST_TURN);
    return 0;
}

static int load_node(struct load *l, struct bytes record, struct arena *arena, struct error *why) {
    struct stored_node stored;
    int r = record_decode(&stored_node_schema, record.data, record.size, &stored, arena, why);
    if (!r)
        r = stored_node_restore(l->c, &stored, why);
    if (!r)
        soft_node_inventory(soft_node_at(l->soft, cluster_node(l->c, stored.inventory.name)), &stored.inventory);
    return r;
}

static int load_nodes(struct load *l) {
    struct arena arena = {0};
    int r = store_query(l->s, SQL_LOAD_NODES, l->err, "");
    for (; r > 0; r = store_next(l->s, SQL_LOAD_NODES, l->err)) {
        sqlite3_stmt *row = l->s->statements[SQL_LOAD_NODES];
        struct bytes record = store_column_bytes(row, 2);
        struct error why;
        if (load_node(l, record, &arena, &why)) {
            quarantine(l, "node", sqlite3_column_int64(row, 0), record, &why);
            change(l, SQL_NODE_DELETE, sqlite3_column_int64(row, 0));
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
    return r;
}

/* Before the nodes, which would else find the types in another order than they first came. */
static int load_gpu_types(struct load *l) {
    struct arena arena = {0};
    struct stored_names stored = {0};
    struct error why;
    l->s->gpu_types = 0;
    int r = store_query(l->s, SQL_META_GET, l->err, "t", "gpu_types");
    if (r <= 0)
        return r;
    struct bytes body = store_column_bytes(l->s->statements[SQL_META_GET], 0);
    if (record_decode(&stored_names_schema, body.data, body.size, &stored, &arena, &why) ||
        stored_gpu_types_restore(l->c, &stored.names, &why))
        quarantine(l, "gpu_types", 0, body, &why);
    else
        l->s->gpu_types = l->c->gpu_type_count;
    store_done(l->s, SQL_META_GET);
    arena_release(&arena);
    return 0;
}

/* The columns of version 1. */
static void queue_of_columns(const struct load *l, sqlite3_stmt *row, struct stored_queue *stored, struct arena *arena) {
    struct queue q = queue_blank(store_column_text(row, 1));
    q.guarantee = sqlite3_column_int64(row, 2);
    q.limit = sqlite3_column_int64(row, 3);
    q.weight = sqlite3_column_int64(row, 4);
    q.draining = sqlite3_column_int(row, 5);
    q.deleted = sqlite3_column_int(row, 6);
    struct queue *kept = arena_alloc(arena, sizeof *kept);
    *kept = q;
    stored_queue_from(l->c, kept, stored, arena);
}

static int queue_of_record(const struct load *l, struct bytes record, int32_t at, struct arena *arena, struct error *why) {
    struct stored_queue stored;
    int r = record_decode(&stored_queue_schema, record.data, record.size, &stored, arena, why);
    return r ? r : stored_queue_restore(l->c, at, &stored, why);
}

/* The record holds; where it can't be read, or there is none, the columns do. */
static void load_queue(struct load *l, sqlite3_stmt *row, struct arena *arena) {
    int64_t at = sqlite3_column_int64(row, 0);
    struct bytes record = store_column_bytes(row, 7);
    struct stored_queue stored;
    struct error why;
    bool placed = at >= 0 && at < CLUSTER_QUEUES_MAX;
    if (placed && record.size) {
        if (!queue_of_record(l, record, (int32_t)at, arena, &why))
            return;
        quarantine(l, "queue", at, record, &why);
    }
    queue_of_columns(l, row, &stored, arena);
    if (placed ? stored_queue_restore(l->c, (int32_t)at, &stored, &why)
               : error_set(&why, ERR_INVALID, "no queue has the place %lld", (long long)at)) {
        quarantine(l, "queue", at, record, &why);
        change(l, SQL_QUEUE_DELETE, at);
    }
}

static int load_queues(struct load *l) {
    struct arena arena = {0};
    int r = store_query(l->s, SQL_LOAD_QUEUES, l->err, "");
    for (; r > 0; r = store_next(l->s, SQL_LOAD_QUEUES, l->err)) {
        load_queue(l, l->s->statements[SQL_LOAD_QUEUES], &arena);
        arena_reset(&arena);
    }
    stored_queues_link(l->c);
    arena_release(&arena);
    return r;
}

static int load_usage(struct load *l) {
    int r = store_query(l->s, SQL_LOAD_USAGE, l->err, "");
    for (; r > 0; r = store_next(l->s, SQL_LOAD_USAGE, l->err)) {
        sqlite3_stmt *row = l->s->statements[SQL_LOAD_USAGE];
        struct stored_account stored = {sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), sqlite3_column_int64(row, 2),
                                        sqlite3_column_int64(row, 3)};
        struct error why;
        if (stored_account_restore(l->c, &stored, &why))
            quarantine(l, "usage", stored.uid, (struct bytes){0, NULL}, &why);
    }
    return r;
}

static void load_labels(struct load *l, sqlite3_stmt *row, const struct job *job) {
    struct soft_job *j = soft_job_add(l->soft, job->id, store_column_text(row, 4), store_column_text(row, 3),
                                      (uid_t)sqlite3_column_int64(row, 1), (gid_t)sqlite3_column_int64(row, 2));
    j->submit_wall_ms = sqlite3_column_int64(row, 5);
    j->start_wall_ms = sqlite3_column_int64(row, 6);
    j->end_wall_ms = sqlite3_column_int64(row, 7);
    soft_job_label(&j->nodes, store_column_text(row, 8));
    soft_job_label(&j->text, store_column_text(row, 9));
    soft_job_reset_attempt(j, job);
    json_t *progress = json_loads(store_column_text(row, 11), 0, NULL);
    if (progress)
        soft_job_take_progress(j, progress);
    json_decref(progress);
}

/* The curve of what runs goes on where it was stored. */
static void load_series(struct load *l, const struct job *job, struct arena *arena) {
    struct stored_series series;
    if (!job->attempt || store_query(l->s, SQL_SERIES_READ, NULL, "i", job->id) <= 0)
        return;
    struct bytes body = store_column_bytes(l->s->statements[SQL_SERIES_READ], 0);
    if (!record_decode(&stored_series_schema, body.data, body.size, &series, arena, NULL))
        soft_job_take_series(soft_job(l->soft, job->id), &series);
    store_done(l->s, SQL_SERIES_READ);
}

/* A job that can't be read is closed, so that the same start is not spoiled twice; what a node still runs of it is stopped when it says
 * HELLO. */
static void close_unreadable(struct load *l, int64_t id, struct bytes record, const struct error *why) {
    char text[ERROR_TEXT_MAX + 64];
    snprintf(text, sizeof text, "its row in the store could not be read: %s", why->text);
    quarantine(l, "job", id, record, why);
    if (!l->s->tell)
        store_run(l->s, SQL_JOB_CLOSE, NULL, "iiti", (int64_t)JOB_FAILED, clock_wall_ms(), text, id);
}

static int load_jobs(struct load *l) {
    struct arena arena = {0};
    int r = store_query(l->s, SQL_LOAD_JOBS, l->err, "");
    for (; r > 0; r = store_next(l->s, SQL_LOAD_JOBS, l->err)) {
        sqlite3_stmt *row = l->s->statements[SQL_LOAD_JOBS];
        int64_t id = sqlite3_column_int64(row, 0);
        struct bytes record = store_column_bytes(row, 10);
        struct stored_job stored;
        struct error why;
        if (record_decode(&stored_job_schema, record.data, record.size, &stored, &arena, &why) ||
            (stored.id != id && error_set(&why, ERR_INVALID, "its record is of job %lld", (long long)stored.id)) ||
            stored_job_restore(l->c, &stored, &why))
            close_unreadable(l, id, record, &why);
        else {
            load_labels(l, row, cluster_job(l->c, id));
            load_series(l, cluster_job(l->c, id), &arena);
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
    return r;
}

static int load_reservations(struct load *l) {
    struct arena arena = {0};
    struct stored_reservations stored = {0};
    struct error why;
    buffer_clear(&l->s->reservations);
    int r = store_query(l->s, SQL_META_GET, l->err, "t", "reservations");
    if (r <= 0)
        return r;
    struct bytes body = store_column_bytes(l->s->statements[SQL_META_GET], 0);
    buffer_append(&l->s->reservations, body.data, body.size);
    store_done(l->s, SQL_META_GET);
    body = (struct bytes){l->s->reservations.size, l->s->reservations.data};
    if (record_decode(&stored_reservations_schema, body.data, body.size, &stored, &arena, &why))
        quarantine(l, "reservations", 0, body, &why);
    const struct stored_reservation *rows = stored.rows.items;
    for (size_t i = 0; i < stored.rows.count; i++)
        if (stored_reservation_restore(l->c, &rows[i], &why))
            quarantine(l, "reservation", rows[i].job, (struct bytes){0, NULL}, &why);
    arena_release(&arena);
    return 0;
}

/* A log is applied again by the program that it was written by: another version may come to another state. */
static int keep_log_true(struct load *l) {
    char reason[256] = "";
    int r = l->s->turn && !l->s->tell ? store_query(l->s, SQL_LAST_VERSION, l->err, "") : 0;
    if (r < 0)
        return r;
    if (r > 0) {
        const char *version = store_column_text(l->s->statements[SQL_LAST_VERSION], 0);
        if (strcmp(version, muster_version))
            snprintf(reason, sizeof reason, "loaded by musterd %s, after %s", muster_version, version);
        store_done(l->s, SQL_LAST_VERSION);
    }
    if (l->s->turn && l->differs && !l->s->tell)
        snprintf(reason, sizeof reason, "rows that could not be read were left out");
    return *reason ? store_write_snapshot(l->s, l->c, clock_wall_ms(), reason, l->err) : 0;
}

int store_load(struct store *s, struct cluster *c, struct soft *soft, int64_t *now_ms, struct error *err) {
    struct load l = {s, c, soft, err, false};
    int r = load_turn(&l, now_ms);
    if (!r)
        r = load_gpu_types(&l);
    if (!r)
        r = load_nodes(&l);
    if (!r)
        r = load_queues(&l);
    if (!r)
        r = load_usage(&l);
    if (!r)
        r = load_jobs(&l);
    if (!r)
        r = load_reservations(&l);
    cluster_reindex(c);
    s->loaded = true;
    return r ? r : keep_log_true(&l);
}
