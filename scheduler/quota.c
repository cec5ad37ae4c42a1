#include "scheduler/quota.h"

#include <string.h>

#include "scheduler/authorise.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/quota_trial.h"
#include "scheduler/job_json.h"
#include "scheduler/policy/evict_over.h"
#include "scheduler/queue_json.h"

enum { JOBS_TOLD = 100 };   /* of those above a limit: the rest is a number */

/* ---- what it would do ---- */

/* `left`: GPUs that it goes on with. */
static json_t *job_json_of(const struct musterd *d, const struct job *j, const char *fate, int32_t left) {
    const struct soft_job *s = soft_job(&d->soft, j->id);
    json_t *job = job_called_json(j);
    json_object_update_new(job, json_pack("{s:s, s:s, s:i, s:i, s:s}", "name", s ? s->name : "", "user", s ? s->user : "", "gpus",
                                          placement_gpus(&j->placement), "gpus_left", left, "fate", fate));
    return job;
}

/* Evicted, or resized: the ones that will be stopped. Drained: all that run there, for nobody says which ends first. */
static json_t *jobs_above(const struct musterd *d, const struct cluster *after, int32_t queue, struct arena *arena) {
    json_t *jobs = json_array();
    const struct job_list *live = &after->index.live;
    bool evicting = after->queues[queue].evicting;
    struct eviction *chosen;
    int32_t count = evicting ? evict_over_choose(after, NULL, musterd_cluster_ms(d), arena, &chosen) : 0;
    for (int32_t i = 0; i < count; i++)
        if (chosen[i].queue == queue)
            json_array_append_new(jobs, job_json_of(d, chosen[i].job, chosen[i].most ? "resized" : "evicted", chosen[i].most));
    for (int32_t i = 0; i < live->count && !evicting && json_array_size(jobs) < JOBS_TOLD; i++)
        if (live->items[i]->gpus && queue_is_within(after, live->items[i]->queue, queue))
            json_array_append_new(jobs, job_json_of(d, live->items[i], "drained", placement_gpus(&live->items[i]->placement)));
    return jobs;
}

static json_t *over_json(const struct musterd *d, const struct cluster *after, int32_t queue, struct arena *arena) {
    const struct queue *q = &after->queues[queue];
    for (int32_t t = after->gpu_type_count - 1; t >= 0; t--)
        if (queue_over(q, t))
            return json_pack("{s:I, s:I, s:s?, s:o}", "used", (json_int_t)(t ? q->used_by_type[t] : q->gpus_used), "limit",
                             (json_int_t)(t ? q->typed[t].limit : q->limit), "gpu_type", t ? after->gpu_types[t] : NULL, "jobs",
                             jobs_above(d, after, queue, arena));
    return json_null();
}

static const char *what_happens(const struct cluster *before, const struct queue *now, int32_t i) {
    bool was_there = i < before->queue_count && !before->queues[i].deleted;
    if (now->deleted)
        return "delete";
    if (!was_there)
        return "create";
    return strcmp(before->queues[i].name, now->name) ? "rename" : "change";
}

static json_t *queue_difference(const struct musterd *d, const struct cluster *after, int32_t i, struct arena *arena) {
    const struct cluster *before = &d->cluster;
    const struct queue *q = &after->queues[i];
    const char *action = what_happens(before, q, i), *old = i < before->queue_count ? before->queues[i].name : q->name;
    json_t *changes = queue_changes_json(before, i, after, i), *over = over_json(d, after, i, arena);
    bool renamed = !strcmp(action, "rename");
    if (!strcmp(action, "change") && !json_array_size(changes) && json_is_null(over)) {   /* only its use moved */
        json_decref(changes);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o}", "name", renamed ? old : q->name, "action", action, "to", renamed ? q->name : NULL,
                     "changes", changes, "effective", q->deleted ? json_null() : queue_effective_json(after, i), "over", over);
}

/* A row a queue that differs. The trial's queues stand in for the cluster's own: all else is as it is. */
static json_t *difference(const struct musterd *d, const struct quota_trial *t) {
    struct cluster after = d->cluster;
    struct arena arena = {0};
    json_t *rows = json_array();
    size_t bytes = 0;
    int untold = 0;
    after.queues = t->queues;
    after.queue_count = t->count;
    for (int32_t i = 0; i < t->count; i++) {
        bool is_or_was = !t->queues[i].deleted || (i < d->cluster.queue_count && !d->cluster.queues[i].deleted);
        json_t *row = t->touched[i] && is_or_was ? queue_difference(d, &after, i, &arena) : NULL;
        if (row && bytes < QUEUE_BYTES_MAX)
            json_array_append(rows, row);
        else if (row)
            untold++;
        bytes += row ? queue_row_bytes(row) : 0;
        json_decref(row);
    }
    if (untold)
        json_array_append_new(rows, json_pack("{s:s, s:s, s:i}", "name", "", "action", "more", "queues", untold));
    if (t->from >= 0)
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:i}", "name", d->cluster.queues[t->from].name, "action", "move", "to",
                                              t->queues[t->to].name, "jobs", d->cluster.queues[t->from].jobs));
    arena_release(&arena);
    return rows;
}

/* ---- taking ---- */

/* Tries the event on the cluster as it is: *rows tells what it would do. */
static int try_event(const struct musterd *d, const struct event *e, json_t **rows, struct error *err) {
    struct quota_trial t;
    int rc = quota_trial_open(&t, &d->cluster, e, d->cluster.now_ms, err);
    if (rc)
        return rc;
    rc = quota_trial_check(&t, &d->cluster, err);
    *rows = rc ? NULL : difference(d, &t);
    quota_trial_release(&t);
    return rc;
}

/* The answer is made now, of the cluster as it is, and sent when the turn has committed. What stands in the turn before it may still make
 * it fail, or succeed where the trial did not: then the answer has no rows. */
static int take_event(struct musterd *d, const struct request *r, const struct event *e, enum message_type asked) {
    json_t *rows = NULL;
    try_event(d, e, &rows, NULL);
    size_t first = d->turn.event_count;
    *turn_event(&d->turn, (enum event_type)e->type) = *e;
    turn_waiter(&d->turn, &r->peer, asked, r->message->id, first)->rows = rows;
    return 0;
}

static int may_change(struct musterd *d, const struct request *r, const char *queue, struct error *err) {
    return authorise_queue(&d->cluster, queue, QUEUE_CHANGE, users_find(d->users, r->peer.uid, r->peer.gid), r->roles, err);
}

/* The fields of clients that know three settings only. */
static void row_of_fields(const struct quota_set *set, struct queue_spec *row) {
    queue_spec_init(row, set->queue);
    row->guarantee = set->guarantee;
    row->weight = set->weight;
    row->limit = set->limit == NO_LIMIT ? 0 : set->limit;
    row->set = (set->has_guarantee ? QUEUE_BIT(QUEUE_SETTING_GUARANTEE) : 0) | (set->has_weight ? QUEUE_BIT(QUEUE_SETTING_WEIGHT) : 0);
    if (set->has_limit)
        *(set->limit == NO_LIMIT ? &row->clear : &row->set) |= QUEUE_BIT(QUEUE_SETTING_LIMIT);
}

static bool is_in_rows(const struct rows *rows, const char *queue) {
    const struct queue_spec *specs = rows->items;
    for (size_t i = 0; i < rows->count; i++)
        if (!strcmp(specs[i].queue, queue))
            return true;
    return false;
}

/* With prune: what the rows don't name goes, but for the queue that must be there. */
static struct rows pruned(const struct cluster *c, const struct rows *rows, struct arena *arena) {
    struct queue_spec *all = arena_array(arena, rows->count + (size_t)c->queue_count, sizeof *all);
    size_t count = rows->count;
    memcpy(all, rows->items, rows->count * sizeof *all);
    for (int32_t i = 1; i < c->queue_count; i++) {
        if (c->queues[i].deleted || is_in_rows(rows, c->queues[i].name))
            continue;
        queue_spec_init(&all[count], arena_copy(arena, c->queues[i].name, strlen(c->queues[i].name)));
        all[count++].removed = true;
    }
    return (struct rows){count, all};
}

static int64_t asked_limit(const struct queue_spec *row) { return row->set & QUEUE_BIT(QUEUE_SETTING_LIMIT) ? row->limit : 0; }

/* An admin of a subtree gives no more than the subtree has: guarantees fit by their sums, limits are compared here. */
static int check_within(struct musterd *d, const struct request *r, const struct queue_spec *row, struct error *err) {
    char above[QUEUE_NAME_MAX];
    int rc = may_change(d, r, row->queue, err);
    const char *slash = strrchr(row->queue, '/');
    if (rc || (r->roles & ROLE_ADMIN) || !slash)
        return rc;
    snprintf(above, sizeof above, "%.*s", (int)(slash - row->queue), row->queue);
    int32_t parent = cluster_queue(&d->cluster, above);
    int64_t most = parent >= 0 ? queue_effective(&d->cluster, parent).limit : INT64_MAX;
    if (asked_limit(row) <= most)
        return 0;
    return error_set(err, ERR_DENIED, "queue '%s': a limit of %lld GPUs is more than the %lld of '%s', which only an admin above that may "
                     "raise", row->queue, (long long)row->limit, (long long)most, above);
}

int quota_set_take(struct musterd *d, const struct request *r, const struct quota_set *set, struct error *err) {
    struct event e;
    struct queue_spec one;
    struct rows rows = set->rows;
    int rc = 0;
    if (!rows.count) {
        row_of_fields(set, &one);
        rows = (struct rows){1, arena_copy(&d->turn.arena, (const char *)&one, sizeof one)};
    }
    if (set->prune)
        rows = pruned(&d->cluster, &rows, &d->turn.arena);
    const struct queue_spec *specs = rows.items;
    for (size_t i = 0; i < rows.count && !rc; i++)
        rc = check_within(d, r, &specs[i], err);
    if (rc)
        return rc;
    event_init(&e, EVENT_QUOTA_SET);
    e.uid = r->peer.uid;
    e.queue = rows.count == 1 ? specs->queue : "";
    e.drain = set->drain;
    e.evict = set->evict;
    e.queues = rows;
    if (!set->dry_run)
        return take_event(d, r, &e, MESSAGE_QUOTA_SET);
    struct done done = {.text = "nothing is changed: this was a dry run"};
    if ((rc = try_event(d, &e, &done.rows, err)))
        return rc;
    musterd_send(d, &r->peer, MESSAGE_DONE, r->message->id, &done);
    json_decref(done.rows);
    return 0;
}

int quota_delete_take(struct musterd *d, const struct request *r, const struct quota_delete *del, struct error *err) {
    struct event e;
    const struct known_user *u = users_find(d->users, r->peer.uid, r->peer.gid);
    int rc = may_change(d, r, del->queue, err);
    if (!rc && *del->to)
        rc = authorise_queue(&d->cluster, del->to, QUEUE_JOBS, u, r->roles, err);
    if (rc)
        return rc;
    event_init(&e, EVENT_QUOTA_DELETED);
    e.queue = del->queue;
    e.to = del->to;
    e.uid = r->peer.uid;
    return take_event(d, r, &e, MESSAGE_QUOTA_DELETE);
}

int quota_rename_take(struct musterd *d, const struct request *r, const struct quota_rename *rename, struct error *err) {
    struct event e;
    int rc = may_change(d, r, rename->queue, err);
    if (rc || (rc = may_change(d, r, rename->to, err)))
        return rc;
    event_init(&e, EVENT_QUOTA_RENAMED);
    e.queue = rename->queue;
    e.to = rename->to;
    e.uid = r->peer.uid;
    return take_event(d, r, &e, MESSAGE_QUOTA_RENAME);
}
