/* What a turn writes. Order inside the transaction: the log, then new jobs, then every row whose thing changed in this turn. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/version.h"
#include "common/xmalloc.h"
#include "scheduler/crash_point.h"
#include "scheduler/store.h"
#include "scheduler/store_sql.h"

enum { SERIES_SAVE_MS = 10000, DIGEST_COST_PART = 500 };

struct commit {
    struct store *s;
    const struct cluster *c;
    struct soft *soft;
    const struct turn *t;
    struct arena *arena;      /* rows on their way out */
    struct error *err;
};

/* Encoded into the store's scratch buffer: valid until the next one. */
static struct bytes encoded(struct commit *m, const struct record_schema *schema, const void *record) {
    buffer_clear(&m->s->scratch);
    record_encode(schema, record, &m->s->scratch);
    return (struct bytes){m->s->scratch.size, m->s->scratch.data};
}

/* "", or the digest after this turn: as often as it costs a five-hundredth of the time. */
static const char *digest_now_and_then(struct commit *m) {
    int64_t began_us = clock_boot_us();
    if (began_us < m->s->digest_due_us)
        return "";
    const char *text = digest_text(cluster_digest(m->c), arena_alloc(m->arena, DIGEST_TEXT_MAX + 1));
    int64_t now_us = clock_boot_us();
    m->s->digest_due_us = now_us + DIGEST_COST_PART * (now_us - began_us);
    return text;
}

static int write_log(struct commit *m) {
    int64_t turn = (int64_t)m->c->turn, position = 0;
    struct logged_turn notes = {.musterd = m->s->loaded ? muster_version : "", .idle_ms = {m->s->idle_count, m->s->idle_ms},
                                .digest = digest_now_and_then(m)};
    struct bytes extra = encoded(m, &logged_turn_schema, &notes);
    int r = store_run(m->s, SQL_TURN, m->err, "iiiiib", turn, m->t->now_ms, m->t->wall_ms, m->c->next_job, m->c->next_lease, extra.data,
                      extra.size);
    for (size_t i = 0; i < turn_total(m->t) && !r; i++) {
        const struct event *e = turn_accepted(m->t, i);
        if (!e)
            continue;
        struct bytes body = encoded(m, &event_schema, e);
        r = store_run(m->s, SQL_EVENT, m->err, "iiiib", turn, position++, e->type, e->job, body.data, body.size);
    }
    return r;
}

static int insert_job(struct commit *m, const struct job *j, const struct submission *labels, int64_t submit_wall_ms) {
    struct stored_job row;
    stored_job_from(m->c, j, &row, m->arena);
    struct bytes record = encoded(m, &stored_job_schema, &row);
    return store_run(m->s, SQL_JOB_INSERT, m->err, "iiiitttti" "iiib", j->id, (int64_t)job_state_is_final(j->state), (int64_t)labels->uid,
                     (int64_t)labels->gid, labels->user, labels->name, labels->token, row.queue, (int64_t)j->state, submit_wall_ms,
                     row.array, row.element, record.data, record.size);
}

static int write_submission(struct commit *m, const struct submission *sub) {
    int64_t id = m->t->events[sub->event].job;
    int r = insert_job(m, cluster_job(m->c, id), sub, m->t->wall_ms);
    return r ? r : store_run(m->s, SQL_SPEC_INSERT, m->err, "ib", id, sub->spec.data, sub->spec.size);
}

/* What was submitted is kept once, with the array. */
static int write_element(struct commit *m, const struct job *j) {
    const struct soft_job *labels = soft_job(m->soft, j->id);
    if (!labels)
        return error_set(m->err, ERR_STORE, "element %d of job %lld has no name", j->element, (long long)j->array_id);
    struct submission of = {.token = "", .user = labels->user, .name = labels->name, .uid = labels->uid, .gid = labels->gid};
    return insert_job(m, j, &of, labels->submit_wall_ms);
}

static int write_attempt_begin(struct commit *m, const struct job *j, const struct stored_job *row) {
    const char *nodes = stored_placement_nodes(&row->placement, m->arena);
    struct bytes placement = encoded(m, &stored_placement_schema, &row->placement);
    int r = store_run(m->s, SQL_ATTEMPT_INSERT, m->err, "iiiitb", j->id, (int64_t)j->attempt, j->lease, m->t->wall_ms, nodes,
                      placement.data, placement.size);
    if (!r && j->start_ms >= 0)
        r = store_run(m->s, SQL_ATTEMPT_START, m->err, "iii", m->t->wall_ms, j->id, (int64_t)j->attempt);
    return r;
}

/* Closes what is open of the attempts up to `attempt`, which ended so. */
static int write_attempt_end(struct commit *m, const struct job *j, const struct attempt_end *end, const char *text, int64_t attempt) {
    const char *node = end->node >= 0 && end->node < m->c->node_count ? m->c->nodes[end->node].name : "";
    return store_run(m->s, SQL_ATTEMPT_END, m->err, "iiiiiititii", m->t->wall_ms, (int64_t)m->c->turn, (int64_t)end->cause,
                     (int64_t)end->kind, (int64_t)end->status, (int64_t)end->rank, node, j->checkpoint_step, text, j->id, attempt);
}

/* How far it had come, as JSON: what listings show of a job that is over. NULL: it never said. */
static const char *progress_text(struct commit *m, const struct soft_job *labels) {
    json_t *progress = labels ? soft_progress_json(&labels->progress) : NULL;
    char *text = progress && !json_is_null(progress) ? json_dumps(progress, JSON_COMPACT) : NULL;
    const char *kept = text ? arena_copy(m->arena, text, strlen(text)) : NULL;
    json_decref(progress);
    free(text);
    return kept;
}

static int write_job(struct commit *m, const struct job *j) {
    const struct soft_job *labels = soft_job(m->soft, j->id);
    struct stored_job row;
    stored_job_from(m->c, j, &row, m->arena);
    const char *text = labels ? labels->text : "";
    bool live = j->placement.task_count > 0;
    int r = 0;
    if (j->attempt > 0)
        r = write_attempt_end(m, j, live ? &j->end_before : &j->end, text, live ? j->attempt - 1 : j->attempt);
    if (!r && live)
        r = write_attempt_begin(m, j, &row);
    struct bytes record = encoded(m, &stored_job_schema, &row);
    if (!r)
        r = store_run(m->s, SQL_JOB_UPDATE, m->err, "itizztttbi", (int64_t)job_state_is_final(j->state), row.queue, (int64_t)j->state,
                      labels ? labels->start_wall_ms : 0, labels ? labels->end_wall_ms : 0, labels ? labels->nodes : "", text,
                      progress_text(m, labels), record.data, record.size, j->id);
    return r;
}

static int write_series(struct commit *m, struct soft_job *labels) {
    struct stored_series series = soft_job_series(labels, m->arena);
    struct bytes body = encoded(m, &stored_series_schema, &series);
    labels->series_dirty = false;
    labels->series_saved_ms = m->t->now_ms;
    return store_run(m->s, SQL_SERIES_INSERT, m->err, "ib", labels->id, body.data, body.size);
}

/* The curve of an attempt that is over is saved with its end, that of one that runs with whatever is committed a while later. */
static int write_curves(struct commit *m) {
    struct soft_job *labels;
    int r = 0;
    for (int i = 0; i < m->c->index.live.count && !r; i++) {
        labels = soft_job(m->soft, m->c->index.live.items[i]->id);
        if (labels && labels->series_dirty && m->t->now_ms - labels->series_saved_ms >= SERIES_SAVE_MS)
            r = write_series(m, labels);
    }
    for (int i = 0; i < m->c->index.ended.count && !r; i++) {
        labels = soft_job(m->soft, m->c->index.ended.items[i]->id);
        if (labels && labels->series_dirty)
            r = write_series(m, labels);
    }
    return r;
}

static int write_jobs(struct commit *m) {
    int r = 0;
    for (size_t i = 0; i < m->t->submission_count && !r; i++)
        if (turn_accepted(m->t, m->t->submissions[i].event))
            r = write_submission(m, &m->t->submissions[i]);
    for (int i = m->c->job_count - 1; i >= 0 && m->c->jobs[i]->id >= m->t->first_job && !r; i--)
        if (m->c->jobs[i]->array_id)
            r = write_element(m, m->c->jobs[i]);
    for (int i = 0; i < m->c->job_count && !r; i++) {
        const struct job *j = m->c->jobs[i];
        /* written as it is by write_submission or write_element */
        bool whole_already = j->id >= m->t->first_job && j->state <= JOB_PENDING && !j->attempt;
        if (j->changed_turn == m->c->turn && !whole_already)
            r = write_job(m, j);
    }
    for (size_t i = 0; i < m->t->tail_count && !r; i++)
        r = store_run(m->s, SQL_TAIL_INSERT, m->err, "iib", m->t->tails[i].job, m->t->tails[i].attempt, m->t->tails[i].body.data,
                      m->t->tails[i].body.size);
    return r;
}

/* Nodes and queues change with every job, by what of them is in use; but that is not stored. Most turns find their rows as they were. */
static bool row_is_new(uint64_t **hashes, size_t *capacity, size_t at, struct bytes row) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < row.size; i++)
        hash = (hash ^ ((const unsigned char *)row.data)[i]) * 1099511628211u;
    size_t before = *capacity;
    *hashes = xgrow(*hashes, capacity, at + 1, sizeof **hashes);
    if (*capacity > before)
        memset(*hashes + before, 0, (*capacity - before) * sizeof **hashes);
    bool is_new = (*hashes)[at] != hash;
    (*hashes)[at] = hash;
    return is_new;
}

static int write_node(struct commit *m, int32_t i) {
    const struct node *n = &m->c->nodes[i];
    struct stored_node row = {.inventory = m->soft->nodes[i].inventory, .boot_id = n->boot_id, .state = n->state, .drained = n->drained,
                              .drain_reason = n->drain_reason};
    struct bytes record = encoded(m, &stored_node_schema, &row);
    if (!row_is_new(&m->s->node_hashes, &m->s->node_capacity, (size_t)i, record))
        return 0;
    return store_run(m->s, SQL_NODE, m->err, "itb", (int64_t)i, n->name, record.data, record.size);
}

static int write_queue(struct commit *m, int32_t i) {
    const struct queue *q = &m->c->queues[i];
    struct stored_queue row;
    stored_queue_from(m->c, q, &row, m->arena);
    struct bytes record = encoded(m, &stored_queue_schema, &row);
    if (!row_is_new(&m->s->queue_hashes, &m->s->queue_capacity, (size_t)i, record))
        return 0;
    return store_run(m->s, SQL_QUEUE, m->err, "itiiiiiib", (int64_t)i, q->name, (int64_t)q->parent, q->guarantee, q->limit, q->weight,
                     (int64_t)q->draining, (int64_t)q->deleted, record.data, record.size);
}

/* In the order in which they came: indexes stand in the cluster, names in the rows. */
static int write_gpu_types(struct commit *m) {
    const char *names[GPU_TYPES_MAX];
    int32_t count = m->c->gpu_type_count;
    if (m->s->gpu_types == count)
        return 0;
    for (int32_t i = 0; i < count; i++)
        names[i] = m->c->gpu_types[i];
    struct stored_names row = {.names = {(size_t)count, names}};
    struct bytes record = encoded(m, &stored_names_schema, &row);
    int r = store_run(m->s, SQL_META_SET, m->err, "tb", "gpu_types", record.data, record.size);
    m->s->gpu_types = r ? m->s->gpu_types : count;
    return r;
}

static int write_nodes_and_queues(struct commit *m) {
    int r = write_gpu_types(m);
    for (int32_t i = 0; i < m->c->node_count && !r; i++)
        if (m->c->nodes[i].changed_turn == m->c->turn)
            r = write_node(m, i);
    for (int32_t i = 0; i < m->c->queue_count && !r; i++)
        if (m->c->queues[i].changed_turn == m->c->turn)
            r = write_queue(m, i);
    return r;
}

static int write_usage(struct commit *m) {
    int r = 0;
    for (int32_t i = 0; i < m->c->account_count && !r; i++) {
        const struct account *a = &m->c->accounts[i];
        if (a->changed_turn == m->c->turn && a->usage.at_ms)
            r = store_run(m->s, SQL_USAGE, m->err, "iiii", (int64_t)a->queue, (int64_t)a->uid, a->usage.gpu_ms, a->usage.at_ms);
    }
    return r;
}

static int write_reservations(struct commit *m) {
    size_t count = (size_t)m->c->reservation_count;
    struct stored_reservation *rows = arena_array(m->arena, count, sizeof *rows);
    for (size_t i = 0; i < count; i++)
        stored_reservation_from(m->c, &m->c->reservations[i], &rows[i], m->arena);
    struct stored_reservations all = {{count, rows}};
    struct bytes now = encoded(m, &stored_reservations_schema, &all);
    if (now.size == m->s->reservations.size && !memcmp(now.data, m->s->reservations.data, now.size))
        return 0;
    buffer_clear(&m->s->reservations);
    buffer_append(&m->s->reservations, now.data, now.size);
    return store_run(m->s, SQL_META_SET, m->err, "tb", "reservations", now.data, now.size);
}

int store_commit(struct store *s, const struct cluster *c, struct soft *soft, const struct turn *t, struct error *err) {
    struct arena arena = {0};
    struct commit m = {s, c, soft, t, &arena, err};
    CRASH_POINT("before_commit");
    int r = store_run(s, SQL_BEGIN, err, "");
    if (!r)
        r = write_log(&m);
    if (!r)
        r = write_jobs(&m);
    if (!r)
        r = write_curves(&m);
    if (!r)
        r = write_nodes_and_queues(&m);
    if (!r)
        r = write_usage(&m);
    if (!r)
        r = write_reservations(&m);
    CRASH_POINT("in_commit");
    if (!r)
        r = store_run(s, SQL_COMMIT, err, "");
    CRASH_POINT("after_commit");
    if (!r) {
        s->turn = (int64_t)c->turn;
        s->loaded = false;
        s->idle_count = 0;
    }
    arena_release(&arena);
    return r;
}

void store_note_idle(struct store *s, int64_t now_ms) {
    if (s->idle_count == IDLE_TIMES_MAX)
        memmove(s->idle_ms, s->idle_ms + 1, --s->idle_count * sizeof *s->idle_ms);   /* the last ones matter */
    s->idle_ms[s->idle_count++] = now_ms;
}
