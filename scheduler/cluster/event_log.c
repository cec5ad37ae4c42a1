/* Snapshots of the cluster's facts, out and in; see event_log.h. */
#include "scheduler/cluster/event_log.h"

#include <stdio.h>
#include <string.h>

#define RECORD_SELF struct snapshot_head
RECORD_DEFINE(snapshot_head, SNAPSHOT_HEAD_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct logged_turn
RECORD_DEFINE(logged_turn, LOGGED_TURN_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct logged_end
RECORD_DEFINE(logged_end, LOGGED_END_FIELDS)
#undef RECORD_SELF

static const int64_t FAR = INT64_C(1) << 53;   /* of times, turns and numbers: sums of two don't overflow */

static const struct {
    const char *name;
    const struct record_schema *schema;
} kinds[SNAPSHOT_KIND_COUNT] = {
#define X(name) {#name, &stored_##name##_schema},
    SNAPSHOT_KINDS(X)
#undef X
};

const char *snapshot_kind_name(int kind) { return kind >= 0 && kind < SNAPSHOT_KIND_COUNT ? kinds[kind].name : "unknown"; }

int snapshot_kind_from_name(const char *name) {
    for (int i = 0; i < SNAPSHOT_KIND_COUNT; i++)
        if (!strcmp(kinds[i].name, name))
            return i;
    return -1;
}

const struct record_schema *snapshot_kind_schema(int kind) {
    return kind >= 0 && kind < SNAPSHOT_KIND_COUNT ? kinds[kind].schema : NULL;
}

const char *digest_text(uint64_t digest, char buffer[DIGEST_TEXT_MAX + 1]) {
    snprintf(buffer, DIGEST_TEXT_MAX + 1, "%016llx", (unsigned long long)digest);
    return buffer;
}

/* ---- out ---- */

static int32_t count_of(const struct cluster *c, enum snapshot_kind kind) {
    switch (kind) {
    case SNAPSHOT_queue: return c->queue_count;
    case SNAPSHOT_node: return c->node_count;
    case SNAPSHOT_job: return c->job_count;
    case SNAPSHOT_reservation: return c->reservation_count;
    case SNAPSHOT_account: return c->account_count;
    case SNAPSHOT_KIND_COUNT: break;
    }
    return 0;
}

static bool is_kept(const struct cluster *c, enum snapshot_kind kind, int32_t i) {
    if (kind == SNAPSHOT_account)
        return c->accounts[i].usage.at_ms != 0;   /* else nothing was ever used */
    return kind != SNAPSHOT_job || !job_state_is_final((int)c->jobs[i]->state);
}

struct snapshot_head snapshot_head_from(const struct cluster *c, struct arena *arena) {
    char *digest = arena_alloc(arena, DIGEST_TEXT_MAX + 1);
    struct snapshot_head head = {.turn = (int64_t)c->turn, .now_ms = c->now_ms, .next_job = c->next_job, .next_lease = c->next_lease,
                                 .digest = digest_text(cluster_digest(c), digest), .musterd = "", .reason = ""};
    const char **types = arena_array(arena, (size_t)c->gpu_type_count, sizeof *types);
    for (int32_t i = 0; i < c->gpu_type_count; i++)
        types[i] = arena_copy(arena, c->gpu_types[i], strlen(c->gpu_types[i]));
    head.gpu_types = (struct texts){(size_t)c->gpu_type_count, types};
    for (int kind = 0; kind < SNAPSHOT_KIND_COUNT; kind++)
        for (int32_t i = 0; i < count_of(c, (enum snapshot_kind)kind); i++)
            head.rows += is_kept(c, (enum snapshot_kind)kind, i);
    return head;
}

static void row_from(const struct cluster *c, enum snapshot_kind kind, int32_t i, union snapshot_row *row, struct arena *arena) {
    if (kind == SNAPSHOT_queue) {
        stored_queue_from(c, &c->queues[i], &row->queue, arena);
    } else if (kind == SNAPSHOT_node) {
        stored_node_from(c, &c->nodes[i], &row->node, arena);
    } else if (kind == SNAPSHOT_job) {
        stored_job_from(c, c->jobs[i], &row->job, arena);
    } else if (kind == SNAPSHOT_reservation) {
        stored_reservation_from(c, &c->reservations[i], &row->reservation, arena);
    } else {
        stored_account_from(&c->accounts[i], &row->account);
    }
}

bool snapshot_next(const struct cluster *c, struct snapshot_cursor *at, union snapshot_row *row, enum snapshot_kind *kind,
                   struct arena *arena) {
    for (; at->kind < SNAPSHOT_KIND_COUNT; at->kind++, at->next = 0)
        while (at->next < count_of(c, at->kind)) {
            int32_t i = at->next++;
            if (!is_kept(c, at->kind, i))
                continue;
            *kind = at->kind;
            row_from(c, at->kind, i, row, arena);
            return true;
        }
    return false;
}

/* ---- in ---- */

static int within(const char *what, int64_t value, int64_t least, struct error *err) {
    if (value >= least && value <= FAR)
        return 0;
    return error_set(err, ERR_INVALID, "%s is %lld, and can only be %lld..%lld", what, (long long)value, (long long)least, (long long)FAR);
}

int snapshot_begin(struct cluster *c, struct snapshot_intake *in, const struct snapshot_head *head, struct error *err) {
    int rc;
    *in = (struct snapshot_intake){0};
    if ((rc = within("turn", head->turn, 0, err)) || (rc = within("now_ms", head->now_ms, 0, err)) ||
        (rc = within("next_job", head->next_job, 1, err)) || (rc = within("next_lease", head->next_lease, 1, err)) ||
        (rc = within("rows", head->rows, 0, err)))
        return rc;
    if ((rc = stored_gpu_types_restore(c, &head->gpu_types, err)))
        return rc;
    c->turn = (uint64_t)head->turn;
    c->now_ms = head->now_ms;
    c->next_job = head->next_job;
    c->next_lease = head->next_lease;
    return 0;
}

int snapshot_take(struct cluster *c, struct snapshot_intake *in, enum snapshot_kind kind, const union snapshot_row *row,
                  struct error *err) {
    if (kind < in->kind)
        return error_set(err, ERR_INVALID, "rows of kind %s can't stand behind those of kind %s", snapshot_kind_name((int)kind),
                         snapshot_kind_name((int)in->kind));
    in->kind = kind;
    in->rows++;
    switch (kind) {
    case SNAPSHOT_queue: return stored_queue_restore(c, in->queues++, &row->queue, err);
    case SNAPSHOT_node: return stored_node_restore(c, &row->node, err);
    case SNAPSHOT_job: return stored_job_restore(c, &row->job, err);
    case SNAPSHOT_reservation: return stored_reservation_restore(c, &row->reservation, err);
    case SNAPSHOT_account: return stored_account_restore(c, &row->account, err);
    case SNAPSHOT_KIND_COUNT: break;
    }
    return error_set(err, ERR_INVALID, "no row is of the kind %d", (int)kind);
}

int snapshot_end(struct cluster *c, const struct snapshot_intake *in, const struct snapshot_head *head, struct error *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    stored_queues_link(c);
    cluster_reindex(c);
    if (in->rows != head->rows)
        return error_set(err, ERR_FAILED, "the snapshot has %lld rows, and says that it has %lld", (long long)in->rows,
                         (long long)head->rows);
    if (cluster_check(c, err))
        return error_wrap(err, "the snapshot can't be");
    if (strcmp(digest_text(cluster_digest(c), digest), head->digest))
        return error_set(err, ERR_FAILED, "the snapshot's rows have the digest %s, and it says %s", digest, head->digest);
    return 0;
}

/* ---- turns ---- */

int replay_turn_begin(struct cluster *c, int64_t turn, int64_t now_ms, struct error *err) {
    int rc = within("turn", turn, 1, err);
    if (rc || (rc = within("now_ms", now_ms, 0, err)))
        return rc;
    if (turn <= (int64_t)c->turn)
        return error_set(err, ERR_INVALID, "turn %lld can't follow turn %lld", (long long)turn, (long long)c->turn);
    if (now_ms < c->now_ms)
        return error_set(err, ERR_INVALID, "turn %lld is of %lld ms, and the one before it of %lld ms: time does not go back",
                         (long long)turn, (long long)now_ms, (long long)c->now_ms);
    c->turn = (uint64_t)turn;
    cluster_forget_finished(c, c->turn);
    return 0;
}
