#include "scheduler/cluster/quota_trial.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"

/* ---- names ---- */

static int32_t find(const struct quota_trial *t, const char *name) {
    for (int32_t i = 0; i < t->count; i++)
        if (!t->queues[i].deleted && !strcmp(t->queues[i].name, name))
            return i;
    return -1;
}

static int find_or_fail(const struct quota_trial *t, const char *name, int32_t *queue, struct error *err) {
    *queue = find(t, name);
    return *queue >= 0 ? 0 : error_set(err, ERR_NOT_FOUND, "there is no queue '%s' (`muster quota show` lists them)", name);
}

static int find_parent(struct quota_trial *t, int32_t queue, struct error *err) {
    struct queue *q = &t->queues[queue];
    const char *slash = strrchr(q->name, '/');
    char above[QUEUE_NAME_MAX];
    q->parent = -1;
    if (!slash)
        return 0;
    memcpy(above, q->name, (size_t)(slash - q->name));
    above[slash - q->name] = '\0';
    q->parent = find(t, above);
    return q->parent >= 0 ? 0 : error_set(err, ERR_NOT_FOUND, "queue '%s' has no parent yet: `muster quota set %s` first", q->name, above);
}

/* The queue of that name; a tombstone of it comes back; else a new one. -1: there is no room for one. */
static int32_t find_or_make(struct quota_trial *t, const char *name) {
    int32_t at = find(t, name);
    for (int32_t i = 0; i < t->count && at < 0; i++)
        if (!strcmp(t->queues[i].name, name)) {
            at = i;
            t->queues[i] = queue_blank(name);
        }
    if (at < 0 && t->count < CLUSTER_QUEUES_MAX) {   /* quota_trial_open left room */
        t->queues[t->count] = queue_blank(name);
        at = t->count++;
    }
    if (at >= 0)
        t->touched[at] = true;
    return at;
}

/* ---- building: set ---- */

static int make_named(struct quota_trial *t, const char *name, struct error *err) {
    int rc = queue_name_check(name, err);
    if (!rc && find_or_make(t, name) < 0)
        rc = error_set(err, ERR_INVALID, "queue '%s' is one too many: at most %d are supported", name, CLUSTER_QUEUES_MAX);
    return rc;
}

/* The form of old logs, and of tests: the quota of all types, whole. */
static int set_plain(struct quota_trial *t, const struct event *e, struct error *err) {
    const char *name = e->queue ? e->queue : "";
    int rc = make_named(t, name, err);
    if (rc)
        return rc;
    int32_t queue = find(t, name);
    struct queue *q = &t->queues[queue];
    if ((rc = find_parent(t, queue, err)))
        return rc;
    if (e->guarantee < 0 || e->guarantee > INT32_MAX || e->limit < NO_LIMIT || e->limit > INT32_MAX || e->weight < 0 ||
        e->weight > INT32_MAX)
        return error_set(err, ERR_INVALID, "queue '%s': guarantee, limit and weight are not negative", name);
    q->guarantee = e->guarantee;
    q->limit = e->limit;
    q->weight = e->weight ? e->weight : 1;
    return 0;
}

static int check_types(const struct cluster *c, const struct queue_spec *spec, struct error *err) {
    const struct queue_typed *typed = spec->typed.items;
    char known[256] = "";
    size_t used = 0;
    for (int32_t i = 1; i < c->gpu_type_count; i++)
        text_append(known, sizeof known, &used, "%s%s", i > 1 ? ", " : "", c->gpu_types[i]);
    for (size_t i = 0; i < spec->typed.count; i++)
        if (cluster_gpu_type(c, typed[i].gpu_type) <= 0)
            return error_set(err, ERR_NOT_FOUND, "no node has GPUs of type '%s'; there are: %s", typed[i].gpu_type,
                             *known ? known : "none yet");
    return 0;
}

static int remove_queue(struct quota_trial *t, int32_t queue, struct error *err) {
    if (!queue)
        return error_set(err, ERR_CONFLICT, "queue 'default' can't be deleted: it takes the jobs that name no queue");
    struct queue gone = queue_blank(t->queues[queue].name);
    gone.jobs = t->queues[queue].jobs;
    gone.gpus_used = t->queues[queue].gpus_used;
    gone.gpus_fixed = t->queues[queue].gpus_fixed;
    memcpy(gone.used_by_type, t->queues[queue].used_by_type, sizeof gone.used_by_type);
    gone.deleted = true;
    gone.gpus_waiting = t->queues[queue].gpus_waiting;   /* of those that are about to move */
    t->queues[queue] = gone;
    t->touched[queue] = true;
    return 0;
}

static int set_row(struct quota_trial *t, const struct cluster *c, const struct queue_spec *row, struct arena *arena, struct error *err) {
    int32_t queue;
    struct queue_spec whole;
    int rc = find_or_fail(t, row->queue, &queue, err);
    if (rc || row->removed)
        return rc ? rc : remove_queue(t, queue, err);
    if ((rc = queue_spec_check(row, err)) || (rc = check_types(c, row, err)))
        return error_wrap(err, "queue '%s'", row->queue);
    queue_spec_of(c, &t->queues[queue], &whole, arena);
    queue_spec_merge(&whole, row, arena);
    struct queue taken = t->queues[queue];   /* its texts are borrowed by the record */
    queue_take(c, &taken, &whole);
    t->queues[queue] = taken;
    return 0;
}

/* All names first, so that a child may stand before its parent. */
static int set_rows(struct quota_trial *t, const struct cluster *c, const struct event *e, struct error *err) {
    const struct queue_spec *rows = e->queues.items;
    struct arena arena = {0};
    int rc = 0;
    for (size_t i = 0; i < e->queues.count && !rc; i++) {
        for (size_t k = 0; k < i && !rc; k++)
            if (!strcmp(rows[i].queue, rows[k].queue))
                rc = error_set(err, ERR_INVALID, "queue '%s' is given twice", rows[i].queue);
        if (!rc && !rows[i].removed)
            rc = make_named(t, rows[i].queue, err);
    }
    for (int32_t i = 0; i < t->count && !rc; i++)
        if (t->touched[i])
            rc = find_parent(t, i, err);
    for (size_t i = 0; i < e->queues.count && !rc; i++)
        rc = set_row(t, c, &rows[i], &arena, err);
    arena_release(&arena);
    return rc;
}

/* ---- building: what moves ---- */

struct load { int64_t gpus, fixed, by_type[GPU_TYPES_MAX]; };

static struct load load_of_queue(const struct queue *q) {
    struct load l = {.gpus = q->gpus_used, .fixed = q->gpus_fixed};
    memcpy(l.by_type, q->used_by_type, sizeof l.by_type);
    return l;
}

static struct load load_of_own_jobs(const struct cluster *c, int32_t queue) {
    struct load l = {0};
    for (int32_t i = 0; i < c->index.live.count; i++) {
        const struct job *j = c->index.live.items[i];
        for (int32_t k = 0; k < j->placement.task_count && j->queue == queue; k++) {
            const struct task *t = &j->placement.tasks[k];
            int gpus = t->state == TASK_ENDED ? 0 : __builtin_popcount(t->gpus);
            l.gpus += gpus;
            l.fixed += j->preemptible ? 0 : gpus;
            l.by_type[c->shapes[c->nodes[t->node].shape].gpu_type] += gpus;
        }
    }
    return l;
}

static void charge(struct quota_trial *t, int32_t queue, const struct load *l, int sign) {
    for (int32_t q = queue; q >= 0; q = t->queues[q].parent) {
        if (l->gpus)
            usage_roll(&t->queues[q].usage, t->queues[q].gpus_used, t->now_ms);
        t->queues[q].gpus_used += sign * l->gpus;
        t->queues[q].gpus_fixed += sign * l->fixed;
        for (int type = 0; type < GPU_TYPES_MAX; type++)
            t->queues[q].used_by_type[type] += sign * l->by_type[type];
        t->touched[q] |= l->gpus != 0;
    }
}

static int check_target(const struct quota_trial *t, int32_t from, int32_t to, struct error *err) {
    if (from == to)
        return error_set(err, ERR_INVALID, "queue '%s' can't take its own jobs: name another with --move-to", t->queues[from].name);
    for (int32_t q = to; q >= 0; q = t->queues[q].parent)
        if (t->queues[q].closed)
            return error_set(err, ERR_CONFLICT, "queue '%s' is drained and takes no jobs: `muster quota resume %s` first, or name another",
                             t->queues[q].name, t->queues[q].name);
    return 0;
}

static int delete_queue(struct quota_trial *t, const struct cluster *c, const struct event *e, struct error *err) {
    int32_t queue, to = -1;
    int rc = find_or_fail(t, e->queue ? e->queue : "", &queue, err);
    bool moves = !rc && e->to && *e->to;
    if (rc || (moves && ((rc = find_or_fail(t, e->to, &to, err)) || (rc = check_target(t, queue, to, err)))))
        return rc;
    if (moves) {
        struct load l = load_of_own_jobs(c, queue);
        charge(t, queue, &l, -1);
        charge(t, to, &l, 1);
        t->queues[to].jobs += t->queues[queue].jobs;
        t->queues[queue].jobs = 0;
        t->touched[to] = true;
        t->from = queue;
        t->to = to;
    }
    return remove_queue(t, queue, err);
}

static int rename_one(struct quota_trial *t, int32_t queue, size_t old_length, const char *name, struct error *err) {
    struct queue *q = &t->queues[queue];
    char renamed[2 * QUEUE_NAME_MAX];
    snprintf(renamed, sizeof renamed, "%s%s", name, q->name + old_length);
    if (strlen(renamed) >= QUEUE_NAME_MAX)
        return error_set(err, ERR_INVALID, "queue '%s' would be called '%.64s...': a name has at most %d bytes", q->name, renamed,
                         QUEUE_NAME_MAX - 1);
    text_copy(q->name, sizeof q->name, renamed);
    t->touched[queue] = true;
    return 0;
}

static int rename_queue(struct quota_trial *t, const struct cluster *c, const struct event *e, struct error *err) {
    const char *old = e->queue ? e->queue : "", *name = e->to ? e->to : "";
    size_t length = strlen(old);
    int32_t queue;
    int rc = find_or_fail(t, old, &queue, err);
    if (rc || (rc = queue_name_check(name, err)))
        return rc;
    if (!queue)
        return error_set(err, ERR_CONFLICT, "queue 'default' can't be renamed: it takes the jobs that name no queue");
    if (find(t, name) >= 0)
        return error_set(err, ERR_CONFLICT, "there is a queue '%s' already", name);
    if (!strncmp(name, old, length) && name[length] == '/')
        return error_set(err, ERR_INVALID, "queue '%s' can't be moved below itself", old);
    struct load l = load_of_queue(&t->queues[queue]);
    t->renamed = true;
    charge(t, t->queues[queue].parent, &l, -1);
    for (int32_t i = 0; i < t->count && !rc; i++)
        if (!t->queues[i].deleted && queue_is_within(c, i, queue))
            rc = rename_one(t, i, length, name, err);
    if (!rc)
        rc = find_parent(t, queue, err);
    if (!rc)
        charge(t, t->queues[queue].parent, &l, 1);
    return rc;
}

/* What is over a limit now, and how that ends. */
static void mark_over(struct quota_trial *t) {
    for (int32_t i = 0; i < t->count; i++) {
        struct queue *q = &t->queues[i];
        q->draining = !q->deleted && queue_is_over(q);
        if (t->touched[i] && t->over_allowed)
            q->evicting = t->evict;
        q->evicting &= q->draining;
    }
}

int quota_trial_open(struct quota_trial *t, const struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    size_t count = (size_t)c->queue_count, most = count + 1 + e->queues.count;   /* each row may make one */
    if (e->queues.count > QUEUE_SPECS_MAX)
        return error_set(err, ERR_INVALID, "%zu queues at once; at most %d are supported", e->queues.count, QUEUE_SPECS_MAX);
    *t = (struct quota_trial){.queues = xmalloc(most * sizeof *t->queues), .count = c->queue_count,
                              .touched = xcalloc(most, sizeof *t->touched), .from = -1, .to = -1, .now_ms = now_ms};
    memcpy(t->queues, c->queues, count * sizeof *t->queues);
    int rc;
    if (e->type == EVENT_QUOTA_DELETED) {
        rc = delete_queue(t, c, e, err);
    } else if (e->type == EVENT_QUOTA_RENAMED) {
        rc = rename_queue(t, c, e, err);
    } else {
        t->evict = e->evict;
        t->over_allowed = e->drain || e->evict;
        rc = e->queues.count ? set_rows(t, c, e, err) : set_plain(t, e, err);
    }
    if (rc)
        quota_trial_release(t);
    else
        mark_over(t);
    return rc;
}

void quota_trial_release(struct quota_trial *t) {
    free(t->queues);
    free(t->touched);
    *t = (struct quota_trial){0};
}

/* ---- checking ---- */

/* "GPUs", or "GPUs of H100". */
static const char *unit(const struct cluster *c, int32_t type, char *buffer, size_t size) {
    snprintf(buffer, size, type ? "GPUs of %s" : "GPUs", c->gpu_types[type]);
    return buffer;
}

static struct quota quota_of(const struct queue *q, int32_t type) {
    return type ? queue_quota_of_type(q, type) : (struct quota){q->guarantee, q->limit, q->weight};
}

static int check_own(const struct quota_trial *t, const struct cluster *c, int32_t queue, int32_t type, struct error *err) {
    const struct queue *q = &t->queues[queue];
    struct quota own = quota_of(q, type);
    char of[96];
    if (own.limit != NO_LIMIT && own.limit < own.guarantee)
        return error_set(err, ERR_INVALID, "queue '%s': the limit of %lld %s is below the guarantee of %lld", q->name,
                         (long long)own.limit, unit(c, type, of, sizeof of), (long long)own.guarantee);
    return 0;
}

static int check_types_fit(const struct quota_trial *t, const struct cluster *c, int32_t queue, struct error *err) {
    const struct queue *q = &t->queues[queue];
    int64_t sum = 0;
    for (int32_t type = 1; type < c->gpu_type_count; type++)
        sum += queue_quota_of_type(q, type).guarantee;
    if (sum <= q->guarantee)
        return 0;
    return error_set(err, ERR_OVER_QUOTA, "queue '%s': %lld GPUs are guaranteed to it by type, and only %lld in all: "
                     "`muster quota set %s --guarantee %lld` first", q->name, (long long)sum, (long long)q->guarantee, q->name,
                     (long long)sum);
}

static int check_use(const struct quota_trial *t, const struct cluster *c, int32_t queue, int32_t type, struct error *err) {
    const struct queue *q = &t->queues[queue], *before = queue < c->queue_count ? &c->queues[queue] : NULL;
    int64_t over = queue_over(q, type), limit = quota_of(q, type).limit;
    long long used = type ? q->used_by_type[type] : q->gpus_used;
    char of[96];
    if (!over || t->over_allowed || (before && !before->deleted && over <= queue_over(before, type)))
        return 0;
    unit(c, type, of, sizeof of);
    if (before && !before->deleted && limit == quota_of(before, type).limit)
        return error_set(err, ERR_OVER_QUOTA, "queue '%s' would use %lld %s, more than its limit of %lld: raise that first, or wait until "
                         "jobs have ended", q->name, used, of, (long long)limit);
    return error_set(err, ERR_OVER_QUOTA, "queue '%s' uses %lld %s, more than a limit of %lld: --drain lets its jobs end and starts none, "
                     "--evict stops the cheapest of them", q->name, used, of, (long long)limit);
}

static int check_removed(const struct quota_trial *t, int32_t queue, struct error *err) {
    const struct queue *q = &t->queues[queue];
    for (int32_t i = 0; i < t->count; i++)
        if (!t->queues[i].deleted && t->queues[i].parent == queue)
            return error_set(err, ERR_CONFLICT, "queue '%s' has a child, '%s': delete that first", q->name, t->queues[i].name);
    if (q->jobs)
        return error_set(err, ERR_CONFLICT, "queue '%s' has %d jobs: cancel them or let them end first, or move them: "
                         "`muster quota delete %s --move-to OTHER`", q->name, q->jobs, q->name);
    return 0;
}

/* The children's guarantees against what is above them, before and after: a breach is refused where this change made or worsened it. */
static int64_t children_sum(const struct queue *queues, int32_t count, int32_t parent, int32_t type) {
    int64_t sum = 0;
    for (int32_t i = 0; i < count; i++)
        if (!queues[i].deleted && queues[i].parent == parent)
            sum += quota_of(&queues[i], type).guarantee;
    return sum;
}

static int64_t room_above(const struct cluster *c, const struct queue *queues, int32_t count, int32_t parent, int32_t type) {
    if (parent >= 0)
        return parent < count && !queues[parent].deleted ? quota_of(&queues[parent], type).guarantee : 0;
    return type ? c->index.gpus_by_type[type] : cluster_gpu_count(c);
}

/* The child whose guarantee grew: it is the one to name. -1: the parent's fell. */
static int32_t who_grew(const struct quota_trial *t, const struct cluster *c, int32_t parent, int32_t type) {
    for (int32_t i = t->count - 1; i >= 0; i--) {
        const struct queue *q = &t->queues[i];
        bool was_here = i < c->queue_count && !c->queues[i].deleted && c->queues[i].parent == parent;
        int64_t before = was_here ? quota_of(&c->queues[i], type).guarantee : 0;
        if (!q->deleted && q->parent == parent && quota_of(q, type).guarantee > before)
            return i;
    }
    return -1;
}

static int check_sum(const struct quota_trial *t, const struct cluster *c, int32_t parent, int32_t type, struct error *err) {
    int64_t sum = children_sum(t->queues, t->count, parent, type), before = children_sum(c->queues, c->queue_count, parent, type);
    int64_t room = room_above(c, t->queues, t->count, parent, type), room_before = room_above(c, c->queues, c->queue_count, parent, type);
    if (sum <= room || (sum <= before && room >= room_before))
        return 0;
    int32_t grown = who_grew(t, c, parent, type);
    char of[96];
    unit(c, type, of, sizeof of);
    if (grown < 0)
        return error_set(err, ERR_OVER_QUOTA, "queue '%s': its children are guaranteed %lld %s, more than %lld: lower theirs first",
                         t->queues[parent].name, (long long)sum, of, (long long)room);
    int64_t own = quota_of(&t->queues[grown], type).guarantee;
    return error_set(err, ERR_OVER_QUOTA, "queue '%s': a guarantee of %lld %s, and %lld of its siblings, exceed the %lld %s%s",
                     t->queues[grown].name, (long long)own, of, (long long)(sum - own), (long long)room,
                     parent >= 0 ? "guaranteed to " : "registered in the cluster", parent >= 0 ? t->queues[parent].name : "");
}

static int check_queue(const struct quota_trial *t, const struct cluster *c, int32_t i, struct error *err) {
    int rc = 0;
    if (t->queues[i].deleted)
        return check_removed(t, i, err);
    for (int32_t type = 0; type < c->gpu_type_count && !rc; type++)
        if (!(rc = check_own(t, c, i, type, err)))
            rc = check_use(t, c, i, type, err);
    return rc ? rc : check_types_fit(t, c, i, err);
}

int quota_trial_check(const struct quota_trial *t, const struct cluster *c, struct error *err) {
    int rc = 0;
    for (int32_t i = 0; i < t->count && !rc; i++)
        if (t->touched[i])
            rc = check_queue(t, c, i, err);
    for (int32_t i = 0; i < t->count && !rc; i++)
        for (int32_t type = 0; type < c->gpu_type_count && t->touched[i] && !rc; type++)
            if (!(rc = check_sum(t, c, t->queues[i].parent, type, err)))
                rc = check_sum(t, c, i, type, err);
    return rc;
}

/* ---- taking ---- */

/* Rows of jobs name their queue: they are written again with it. */
static void move_jobs(const struct quota_trial *t, struct cluster *c) {
    for (int32_t i = 0; i < c->job_count; i++) {
        struct job *j = c->jobs[i];
        bool moves = j->queue == t->from;
        if (job_state_is_final((int)j->state))
            continue;
        if (moves)
            j->queue = t->to;
        if (moves || t->touched[j->queue])
            job_touch(c, j);
    }
}

void quota_trial_take(struct quota_trial *t, struct cluster *c) {
    for (int32_t i = 0; i < t->count; i++)
        if (t->touched[i])
            t->queues[i].changed_turn = c->turn;
    free(c->queues);
    c->queues = t->queues;
    c->queue_count = c->queue_capacity = t->count;
    if (t->renamed || t->from >= 0) {
        move_jobs(t, c);
        index_count_users(c);
    }
    index_queues(c, t->now_ms);
    index_gain(c);
    free(t->touched);
    *t = (struct quota_trial){0};
}
