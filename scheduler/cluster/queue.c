#include "scheduler/cluster/queue.h"

#include <string.h>

#include "common/text.h"

/* ---- what holds ---- */

static int64_t least_of(int64_t so_far, int64_t own) { return own && own < so_far ? own : so_far; }

struct queue_effective queue_effective(const struct cluster *c, int32_t queue) {
    struct queue_effective e = {.limit = INT64_MAX, .weight = c->queues[queue].weight, .max_walltime_ms = INT64_MAX,
                                .max_running_per_user = INT64_MAX, .max_pending_per_user = INT64_MAX};
    for (int32_t i = queue; i >= 0; i = c->queues[i].parent) {
        const struct queue *q = &c->queues[i];
        if (q->limit != NO_LIMIT && q->limit < e.limit)
            e.limit = q->limit;
        e.max_walltime_ms = least_of(e.max_walltime_ms, q->max_walltime_ms);
        e.max_running_per_user = least_of(e.max_running_per_user, q->max_running_per_user);
        e.max_pending_per_user = least_of(e.max_pending_per_user, q->max_pending_per_user);
        e.policy = e.policy ? e.policy : q->policy;
        e.min_runtime_ms = e.min_runtime_ms ? e.min_runtime_ms : q->min_runtime_ms;
        e.default_time_ms = e.default_time_ms ? e.default_time_ms : q->default_time_ms;
    }
    e.policy = e.policy ? e.policy : QUEUE_POLICY_FAIR;
    e.min_runtime_ms = e.min_runtime_ms ? e.min_runtime_ms : QUEUE_MIN_RUNTIME_MS;
    e.default_time_ms = e.default_time_ms ? e.default_time_ms : QUEUE_DEFAULT_TIME_MS;
    e.default_time_ms = e.default_time_ms < e.max_walltime_ms ? e.default_time_ms : e.max_walltime_ms;
    return e;
}

enum queue_policy queue_policy(const struct cluster *c, int32_t queue) {
    while (queue >= 0 && !c->queues[queue].policy)
        queue = c->queues[queue].parent;
    return queue >= 0 ? c->queues[queue].policy : QUEUE_POLICY_FAIR;
}

int64_t queue_min_runtime(const struct cluster *c, int32_t from, int32_t taker) {
    int32_t q = from;
    while (from != taker && c->queues[q].parent >= 0 && !queue_is_within(c, taker, c->queues[q].parent))
        q = c->queues[q].parent;
    while (q >= 0 && !c->queues[q].min_runtime_ms)
        q = c->queues[q].parent;
    return q >= 0 ? c->queues[q].min_runtime_ms : QUEUE_MIN_RUNTIME_MS;
}

int32_t queue_closed_by(const struct cluster *c, int32_t queue) {
    while (queue >= 0 && !c->queues[queue].closed)
        queue = c->queues[queue].parent;
    return queue;
}

struct quota queue_quota_of_type(const struct queue *q, int32_t type) {
    struct quota quota = {.limit = NO_LIMIT};
    if (q->typed_set >> type & 1)
        quota = q->typed[type];
    if (!quota.weight)
        quota.weight = q->weight;
    return quota;
}

int64_t queue_type_limit(const struct cluster *c, int32_t queue, int32_t type) {
    int64_t least = INT64_MAX;
    for (int32_t i = queue; i >= 0; i = c->queues[i].parent) {
        int64_t own = queue_quota_of_type(&c->queues[i], type).limit;
        if (own != NO_LIMIT && own < least)
            least = own;
    }
    return least;
}

bool queue_is_within(const struct cluster *c, int32_t queue, int32_t ancestor) {
    while (queue >= 0 && queue != ancestor)
        queue = c->queues[queue].parent;
    return queue == ancestor;
}

static int64_t above(int64_t used, int64_t limit) { return limit != NO_LIMIT && used > limit ? used - limit : 0; }

int64_t queue_over(const struct queue *q, int32_t type) {
    if (!type)
        return above(q->gpus_used, q->limit);
    return q->typed_set >> type & 1 ? above(q->used_by_type[type], q->typed[type].limit) : 0;
}

bool queue_is_over(const struct queue *q) {
    for (int32_t type = 0; type < GPU_TYPES_MAX; type++)
        if (queue_over(q, type))
            return true;
    return false;
}

/* ---- what a start and a submission may not break ---- */

void placement_types(const struct cluster *c, const struct placement *p, int64_t by_type[GPU_TYPES_MAX]) {
    memset(by_type, 0, GPU_TYPES_MAX * sizeof *by_type);
    for (int32_t i = 0; i < p->task_count; i++)
        by_type[c->shapes[c->nodes[p->tasks[i].node].shape].gpu_type] += __builtin_popcount(p->tasks[i].gpus);
}

int32_t queue_user_full(const struct cluster *c, int32_t queue, uint32_t uid, const struct user_counts *more) {
    for (int32_t i = queue; i >= 0 && c->index.user_limits; i = c->queues[i].parent) {
        int64_t most = c->queues[i].max_running_per_user;
        int32_t running = most ? user_counts_of(&c->index.users, i, uid).running : 0;
        if (most && running + (more ? user_counts_of(more, i, uid).running : 0) >= most)
            return i;
    }
    return -1;
}

static int check_limits(const struct queue *q, const struct cluster *c, int64_t gpus, const int64_t by_type[GPU_TYPES_MAX],
                        struct error *err) {
    if (gpus && q->limit != NO_LIMIT && q->gpus_used + gpus > q->limit)
        return error_set(err, ERR_OVER_QUOTA, "queue '%s' uses %lld of its limit of %lld GPUs; %lld more would exceed it", q->name,
                         (long long)q->gpus_used, (long long)q->limit, (long long)gpus);
    for (int32_t t = 1; t < c->gpu_type_count; t++) {
        int64_t limit = queue_quota_of_type(q, t).limit;
        if (by_type[t] && limit != NO_LIMIT && q->used_by_type[t] + by_type[t] > limit)
            return error_set(err, ERR_OVER_QUOTA, "queue '%s' uses %lld of its limit of %lld GPUs of %s; %lld more would exceed it",
                             q->name, (long long)q->used_by_type[t], (long long)limit, c->gpu_types[t], (long long)by_type[t]);
    }
    return 0;
}

int queue_check_start(const struct cluster *c, const struct job *j, const struct placement *p, struct error *err) {
    int64_t by_type[GPU_TYPES_MAX];
    placement_types(c, p, by_type);
    for (int32_t i = j->queue; i >= 0; i = c->queues[i].parent) {
        int rc = check_limits(&c->queues[i], c, placement_gpus(p), by_type, err);
        if (rc)
            return rc;
    }
    int32_t closed = queue_closed_by(c, j->queue), full = queue_user_full(c, j->queue, j->uid, NULL);
    if (closed >= 0)
        return error_set(err, ERR_CONFLICT, "queue '%s' is drained: nothing starts in it", c->queues[closed].name);
    if (full >= 0)
        return error_set(err, ERR_OVER_QUOTA, "queue '%s' runs %lld jobs of a user at most (max_running_per_user)", c->queues[full].name,
                         (long long)c->queues[full].max_running_per_user);
    return 0;
}

static int check_time(const struct cluster *c, int32_t queue, int64_t time_limit_ms, struct error *err) {
    char asked[32], most[32];
    for (int32_t i = queue; i >= 0; i = c->queues[i].parent) {
        const struct queue *q = &c->queues[i];
        if (q->max_walltime_ms && time_limit_ms > q->max_walltime_ms)
            return error_set(err, ERR_OVER_QUOTA, "a time limit of %s: queue '%s' takes jobs of at most %s (max_walltime)",
                             text_duration(time_limit_ms, asked, sizeof asked), q->name,
                             text_duration(q->max_walltime_ms, most, sizeof most));
    }
    return 0;
}

int queue_check_submission(const struct cluster *c, int32_t queue, uint32_t uid, int64_t jobs, int64_t time_limit_ms, struct error *err) {
    for (int32_t i = queue; i >= 0; i = c->queues[i].parent) {
        const struct queue *q = &c->queues[i];
        int32_t waiting = q->max_pending_per_user ? user_counts_of(&c->index.users, i, uid).pending : 0;
        if (q->closed)
            return error_set(err, ERR_DENIED,
                             "queue '%s' is drained and takes no jobs: name another with --queue, or wait for `muster quota resume %s`",
                             q->name, q->name);
        if (q->max_pending_per_user && jobs > q->max_pending_per_user)
            return error_set(err, ERR_OVER_QUOTA, "an array of %lld jobs: queue '%s' takes %lld of a user (max_pending_per_user)",
                             (long long)jobs, q->name, (long long)q->max_pending_per_user);
        if (q->max_pending_per_user && waiting + jobs > q->max_pending_per_user)
            return error_set(err, ERR_OVER_QUOTA,
                             "you have %d jobs waiting in queue '%s', which takes %lld of a user (max_pending_per_user): submit again when "
                             "one has started", waiting, q->name, (long long)q->max_pending_per_user);
    }
    return check_time(c, queue, time_limit_ms, err);
}

/* ---- queue <-> record ---- */

struct queue queue_blank(const char *name) {
    struct queue q = {.parent = -1, .limit = NO_LIMIT, .weight = 1};
    text_copy(q.name, sizeof q.name, name);
    return q;
}

static void mark(int64_t *set, int setting, bool is_set) {
    if (is_set)
        *set |= QUEUE_BIT(setting);
}

static int64_t limit_or_zero(int64_t limit) { return limit == NO_LIMIT ? 0 : limit; }   /* its bit says which */

static void typed_of(const struct cluster *c, const struct queue *q, struct queue_spec *spec, struct arena *arena) {
    for (int32_t t = 1; t < c->gpu_type_count; t++) {
        if (!(q->typed_set >> t & 1))
            continue;
        struct queue_typed *row = queue_spec_typed(spec, c->gpu_types[t], arena);
        const struct quota *quota = &q->typed[t];
        row->guarantee = quota->guarantee;
        row->limit = limit_or_zero(quota->limit);
        row->weight = quota->weight;
        mark(&row->set, QUEUE_SETTING_GUARANTEE, quota->guarantee != 0);
        mark(&row->set, QUEUE_SETTING_LIMIT, quota->limit != NO_LIMIT);
        mark(&row->set, QUEUE_SETTING_WEIGHT, quota->weight != 0);
    }
}

void queue_spec_of(const struct cluster *c, const struct queue *q, struct queue_spec *spec, struct arena *arena) {
    queue_spec_init(spec, q->name);
    *spec = (struct queue_spec){.queue = q->name, .whole = true, .guarantee = q->guarantee, .limit = limit_or_zero(q->limit),
                                .weight = q->weight, .policy = q->policy, .min_runtime_ms = q->min_runtime_ms,
                                .max_walltime_ms = q->max_walltime_ms, .default_time_ms = q->default_time_ms,
                                .max_running_per_user = q->max_running_per_user, .max_pending_per_user = q->max_pending_per_user,
                                .users = q->users, .groups = q->groups, .admins = q->admins,
                                .default_for_groups = q->default_for_groups, .closed = q->closed};
    mark(&spec->set, QUEUE_SETTING_GUARANTEE, q->guarantee != 0);
    mark(&spec->set, QUEUE_SETTING_LIMIT, q->limit != NO_LIMIT);
    mark(&spec->set, QUEUE_SETTING_WEIGHT, q->weight != 1);
    mark(&spec->set, QUEUE_SETTING_POLICY, q->policy != QUEUE_POLICY_UNSET);
    mark(&spec->set, QUEUE_SETTING_MIN_RUNTIME, q->min_runtime_ms != 0);
    mark(&spec->set, QUEUE_SETTING_MAX_WALLTIME, q->max_walltime_ms != 0);
    mark(&spec->set, QUEUE_SETTING_DEFAULT_TIME, q->default_time_ms != 0);
    mark(&spec->set, QUEUE_SETTING_MAX_RUNNING_PER_USER, q->max_running_per_user != 0);
    mark(&spec->set, QUEUE_SETTING_MAX_PENDING_PER_USER, q->max_pending_per_user != 0);
    mark(&spec->set, QUEUE_SETTING_USERS, *q->users);
    mark(&spec->set, QUEUE_SETTING_GROUPS, *q->groups);
    mark(&spec->set, QUEUE_SETTING_ADMINS, *q->admins);
    mark(&spec->set, QUEUE_SETTING_DEFAULT_FOR_GROUPS, *q->default_for_groups);
    mark(&spec->set, QUEUE_SETTING_CLOSED, q->closed);
    typed_of(c, q, spec, arena);
}

static int64_t limit_in(int64_t set, int64_t limit) { return set & QUEUE_BIT(QUEUE_SETTING_LIMIT) ? limit : NO_LIMIT; }

static void take_typed(const struct cluster *c, struct queue *q, const struct queue_typed *row) {
    int32_t t = cluster_gpu_type(c, row->gpu_type);
    if (t <= 0)
        return;
    q->typed[t] = (struct quota){row->guarantee, limit_in(row->set, row->limit), row->weight};
    q->typed_set |= 1u << t;
}

void queue_take(const struct cluster *c, struct queue *q, const struct queue_spec *spec) {
    const struct queue_typed *typed = spec->typed.items;
    q->guarantee = spec->guarantee;
    q->limit = limit_in(spec->set, spec->limit);
    q->weight = spec->weight ? spec->weight : 1;
    q->policy = (enum queue_policy)spec->policy;
    q->min_runtime_ms = spec->min_runtime_ms;
    q->max_walltime_ms = spec->max_walltime_ms;
    q->default_time_ms = spec->default_time_ms;
    q->max_running_per_user = spec->max_running_per_user;
    q->max_pending_per_user = spec->max_pending_per_user;
    q->closed = spec->closed;
    text_copy(q->users, sizeof q->users, spec->users);
    text_copy(q->groups, sizeof q->groups, spec->groups);
    text_copy(q->admins, sizeof q->admins, spec->admins);
    text_copy(q->default_for_groups, sizeof q->default_for_groups, spec->default_for_groups);
    q->typed_set = 0;
    memset(q->typed, 0, sizeof q->typed);
    for (size_t i = 0; i < spec->typed.count; i++)
        take_typed(c, q, &typed[i]);
}
