/* The three files of a trace, read whole and checked; see trace_file.h. */
#include "scheduler/sim/trace_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/cluster.h"
#include "scheduler/sim/trace_csv.h"

/* ---- the cluster ---- */

enum { POOL_NODES, POOL_GPUS };

static int add_pool(struct trace *t, const struct csv *f, struct error *err) {
    int64_t nodes, gpus;
    int rc;
    if ((rc = csv_int(f, POOL_NODES, 1, CLUSTER_NODES_MAX - t->nodes, -1, &nodes, err)) ||
        (rc = csv_int(f, POOL_GPUS, 1, 16, -1, &gpus, err)))
        return rc;
    if (t->nodes && gpus != t->gpus_per_node)
        return csv_wrong(f, POOL_GPUS, err, "%lld here and %d above: the metrics are of clusters with equal nodes", (long long)gpus,
                         t->gpus_per_node);
    t->nodes += (int32_t)nodes;
    t->gpus_per_node = (int32_t)gpus;
    return 0;
}

static int read_cluster(struct trace *t, const char *path, int64_t nodes, struct error *err) {
    struct csv_column columns[] = {[POOL_NODES] = {"nodes"}, [POOL_GPUS] = {"gpus_per_node"}};
    struct csv f;
    int rc = csv_open(&f, path, columns, 2, err);
    if (rc)
        return rc;
    while ((rc = csv_next(&f, err)) > 0 && !(rc = add_pool(t, &f, err)))
        ;
    csv_close(&f);
    if (!rc && !t->nodes)
        return error_set(err, ERR_INVALID, "%s: no pool of nodes", path);
    if (nodes)
        t->nodes = (int32_t)nodes;
    return rc;
}

/* ---- quotas ---- */

enum { QUOTA_QUEUE, QUOTA_PARENT, QUOTA_GPUS, QUOTA_WEIGHT };

static const char *last_part(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* By the name in the files; the scheduler's has its parents in front. -1: none. */
static int32_t find_queue(const struct trace *t, const char *name) {
    for (int32_t i = 0; i < t->queue_count; i++)
        if (!strcmp(last_part(t->queues[i].name), name))
            return i;
    return -1;
}

static int32_t add_queue(struct trace *t, char *take_name, int64_t guarantee, int64_t weight, int64_t line) {
    t->queues = xrealloc(t->queues, (size_t)(t->queue_count + 1) * sizeof *t->queues);
    t->queues[t->queue_count] = (struct trace_queue){take_name, guarantee, weight, line};
    return t->queue_count++;
}

static int add_quota(struct trace *t, const struct csv *f, struct error *err) {
    const char *name = csv_text(f, QUOTA_QUEUE), *parent = csv_text(f, QUOTA_PARENT);
    int64_t guarantee, weight;
    int32_t above = -1;
    int rc;
    if ((rc = csv_int(f, QUOTA_GPUS, 0, INT32_MAX, -1, &guarantee, err)) ||
        (rc = csv_int(f, QUOTA_WEIGHT, 1, INT32_MAX, 1, &weight, err)))
        return rc;
    if (!*name || strchr(name, '/') || strlen(name) > 128)
        return csv_wrong(f, QUOTA_QUEUE, err, "expected a name of 1..128 bytes without '/', got '%.64s'", name);
    if (find_queue(t, name) >= 0)
        return csv_wrong(f, QUOTA_QUEUE, err, "'%s' is there twice", name);
    if (*parent && strcmp(parent, "root") && (above = find_queue(t, parent)) < 0)
        return csv_wrong(f, QUOTA_PARENT, err, "no queue '%.64s' above this line: parents come first, the top is 'root'", parent);
    if (t->queue_count >= CLUSTER_QUEUES_MAX - 1)
        return csv_wrong(f, QUOTA_QUEUE, err, "more than %d queues", CLUSTER_QUEUES_MAX - 1);
    add_queue(t, above < 0 ? xstrdup(name) : xasprintf("%s/%s", t->queues[above].name, name), guarantee, weight, f->line);
    return 0;
}

/* As `quota set` would refuse it; a replay without guarantees would otherwise find out at its end, against static. */
static int check_guarantees(const struct trace *t, const char *path, struct error *err) {
    int64_t sum = 0, gpus = (int64_t)t->nodes * t->gpus_per_node;
    for (int32_t i = 0; i < t->queue_count; i++)
        sum += strchr(t->queues[i].name, '/') ? 0 : t->queues[i].guarantee;
    if (sum <= gpus)
        return 0;
    return error_set(err, ERR_INVALID, "%s: the queues at the top are guaranteed %lld GPUs, and %d node%s of %d ha%s %lld", path,
                     (long long)sum, t->nodes, t->nodes == 1 ? "" : "s", t->gpus_per_node, t->nodes == 1 ? "s" : "ve", (long long)gpus);
}

static int read_quotas(struct trace *t, const char *path, struct error *err) {
    struct csv_column columns[] = {[QUOTA_QUEUE] = {"queue"}, [QUOTA_PARENT] = {"parent", true}, [QUOTA_GPUS] = {"quota_gpus"},
                                   [QUOTA_WEIGHT] = {"weight", true}};
    struct csv f;
    int rc = csv_open(&f, path, columns, 4, err);
    if (rc)
        return rc;
    while ((rc = csv_next(&f, err)) > 0 && !(rc = add_quota(t, &f, err)))
        ;
    csv_close(&f);
    t->quotas_path = path;
    return rc ? rc : check_guarantees(t, path, err);
}

/* ---- jobs ---- */

enum { JOB_USER, JOB_QUEUE, JOB_SUBMIT, JOB_DURATION, JOB_GPUS, JOB_PRIORITY, JOB_ESTIMATE };

static int32_t find_name(struct trace_names *names, const char *name) {
    for (int32_t i = names->count - 1; i >= 0; i--)
        if (!strcmp(names->items[i], name))
            return i;
    names->items = xrealloc(names->items, (size_t)(names->count + 1) * sizeof *names->items);
    names->items[names->count] = xstrdup(name);
    return names->count++;
}

static void release_names(struct trace_names *names) {
    for (int32_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static const char *first_of(const char *a, const char *b) { return *a ? a : *b ? b : "default"; }

/* With quotas a job is charged to its queue (one that has none is guaranteed nothing); without, the users are the queues. */
static int set_owner(struct trace *t, const struct csv *f, struct trace_job *j, struct error *err) {
    const char *user = csv_text(f, JOB_USER), *queue = csv_text(f, JOB_QUEUE);
    const char *charged = t->quotas_path ? first_of(queue, user) : first_of(user, queue);
    int of = *queue || !*user ? JOB_QUEUE : JOB_USER;
    if (strlen(charged) > 128 || strlen(queue) > 128 || strlen(user) > 128)
        return csv_wrong(f, of, err, "a name has at most 128 bytes");
    j->queue = find_queue(t, charged);
    if (j->queue < 0 && t->queue_count >= CLUSTER_QUEUES_MAX - 1)
        return csv_wrong(f, of, err, "'%.64s' is one too many: at most %d queues are supported", charged, CLUSTER_QUEUES_MAX - 1);
    if (j->queue < 0)
        j->queue = add_queue(t, xstrdup(charged), 0, 1, f->line);
    j->group = find_name(&t->groups, first_of(queue, user));
    j->user = find_name(&t->users, user);
    return 0;
}

static int read_job(struct trace *t, const struct csv *f, double submit_scale, struct trace_job *j, struct error *err) {
    int64_t submit, gpus, priority;
    int rc;
    if ((rc = csv_seconds_ms(f, JOB_SUBMIT, -1, &submit, err)) || (rc = csv_seconds_ms(f, JOB_DURATION, -1, &j->duration_ms, err)) ||
        (rc = csv_int(f, JOB_GPUS, 0, TRACE_GPUS_MAX, -1, &gpus, err)) ||
        (rc = csv_seconds_ms(f, JOB_ESTIMATE, 0, &j->estimate_ms, err)) ||
        (rc = csv_int(f, JOB_PRIORITY, INT32_MIN, INT32_MAX, 0, &priority, err)))
        return rc;
    j->line = f->line;
    j->submit_ms = (int64_t)llround((double)submit * submit_scale);
    j->gpus = (int32_t)gpus;
    j->priority = (int32_t)priority;
    return set_owner(t, f, j, err);
}

static int add_job(struct trace *t, const struct csv *f, double submit_scale, size_t *capacity, struct error *err) {
    struct trace_job j = {0};
    int rc = read_job(t, f, submit_scale, &j, err);
    if (rc)
        return rc;
    if (t->job_count == TRACE_JOBS_MAX)
        return error_set(err, ERR_INVALID, "%s:%lld: more than %d jobs", f->path, (long long)f->line, TRACE_JOBS_MAX);
    if (j.gpus > (int64_t)t->nodes * t->gpus_per_node) {
        t->never_fit++;
        return 0;
    }
    t->jobs = xgrow(t->jobs, capacity, (size_t)t->job_count + 1, sizeof *t->jobs);
    t->jobs[t->job_count++] = j;
    return 0;
}

static int read_jobs(struct trace *t, const char *path, double submit_scale, struct error *err) {
    struct csv_column columns[] = {[JOB_USER] = {"user", true}, [JOB_QUEUE] = {"queue", true}, [JOB_SUBMIT] = {"submit_s"},
                                   [JOB_DURATION] = {"duration_s"}, [JOB_GPUS] = {"gpus"}, [JOB_PRIORITY] = {"priority", true},
                                   [JOB_ESTIMATE] = {"est_s", true}};
    struct csv f;
    size_t capacity = 0;
    int rc = csv_open(&f, path, columns, 7, err);
    if (rc)
        return rc;
    while ((rc = csv_next(&f, err)) > 0 && !(rc = add_job(t, &f, submit_scale, &capacity, err)))
        ;
    csv_close(&f);
    if (!rc && !t->job_count)
        return error_set(err, ERR_INVALID, "%s: no jobs that fit on %d nodes of %d GPUs", path, t->nodes, t->gpus_per_node);
    return rc;
}

/* ---- the order ---- */

struct sortable { uint64_t tie; struct trace_job job; };

static int by_submission(const void *a, const void *b) {
    const struct sortable *x = a, *y = b;
    if (x->job.submit_ms != y->job.submit_ms)
        return x->job.submit_ms < y->job.submit_ms ? -1 : 1;
    return x->tie < y->tie ? -1 : x->tie > y->tie;
}

/* splitmix64's finalizer: a bijection, so no two lines tie. */
static uint64_t shuffled(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void sort_jobs(struct trace *t, uint64_t seed) {
    struct sortable *all = xmalloc((size_t)t->job_count * sizeof *all);
    for (int64_t i = 0; i < t->job_count; i++) {
        uint64_t line = (uint64_t)t->jobs[i].line;
        all[i] = (struct sortable){seed ? shuffled(line + seed * 0x9e3779b97f4a7c15u) : line, t->jobs[i]};
    }
    qsort(all, (size_t)t->job_count, sizeof *all, by_submission);
    for (int64_t i = 0; i < t->job_count; i++)
        t->jobs[i] = all[i].job;
    free(all);
}

int trace_read(struct trace *t, const struct trace_paths *paths, double submit_scale, int64_t nodes, uint64_t seed, struct error *err) {
    int rc;
    memset(t, 0, sizeof *t);
    if ((rc = read_cluster(t, paths->cluster, nodes, err)) || (paths->quotas && (rc = read_quotas(t, paths->quotas, err))) ||
        (rc = read_jobs(t, paths->jobs, submit_scale, err))) {
        trace_release(t);
        return rc;
    }
    sort_jobs(t, seed);
    return 0;
}

void trace_release(struct trace *t) {
    for (int32_t i = 0; i < t->queue_count; i++)
        free(t->queues[i].name);
    free(t->queues);
    release_names(&t->users);
    release_names(&t->groups);
    free(t->jobs);
    memset(t, 0, sizeof *t);
}
