/* Placements between events and the cluster: checked against what is true, and the places kept for preemptors. */
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/index.h"

/* ---- check ---- */

static int task_check(const struct cluster *c, int32_t node, const struct event_task *t, bool now_free, struct error *err) {
    const struct node *n = &c->nodes[node];
    int count = c->shapes[n->shape].count;
    if (t->gpus < 0 || t->gpus >> count || t->gpu_order.count != (size_t)__builtin_popcountll((unsigned long long)t->gpus))
        return error_set(err, ERR_INVALID, "node '%s' has %d GPUs; the placement names others", n->name, count);
    for (size_t i = 0; i < t->gpu_order.count; i++)
        if (t->gpu_order.items[i] < 0 || t->gpu_order.items[i] >= count || !(t->gpus >> t->gpu_order.items[i] & 1))
            return error_set(err, ERR_INVALID, "the GPU order on node '%s' is not of its GPUs", n->name);
    if (t->ranks < 0 || t->cpus < 0 || t->memory_mib < 0 || t->ranks > INT32_MAX || t->cpus > INT32_MAX)
        return error_set(err, ERR_INVALID, "the share of node '%s' is negative or absurd", n->name);
    if (n->state != NODE_UP || n->drained)
        return error_set(err, ERR_CONFLICT, "node '%s' is %s", n->name, n->drained ? "drained" : "not up");
    if (now_free &&
        (n->gpus_used & (uint32_t)t->gpus || n->cpus_used + t->cpus > n->cpus || n->memory_used_mib + t->memory_mib > n->memory_mib))
        return error_set(err, ERR_CONFLICT, "node '%s' has not that much free", n->name);
    return 0;
}

/* Is the node one that the job may use; and all of it the job's, if it takes whole nodes? */
static int wish_check(const struct cluster *c, const struct job *j, int32_t node, const struct event_task *t, bool now_free,
                      struct error *err) {
    const struct node *n = &c->nodes[node];
    if (!node_filter_passes(c, j->filter, node))
        return error_set(err, ERR_INVALID, "node '%s' is none that job %lld may use", n->name, (long long)j->id);
    if (now_free && (n->is_whole || (j->exclusive && (n->cpus_used || n->gpus_used))))
        return error_set(err, ERR_CONFLICT, "node '%s' has other jobs, and one of them takes whole nodes", n->name);
    if (j->exclusive && __builtin_popcountll((unsigned long long)t->gpus) != c->shapes[n->shape].count)
        return error_set(err, ERR_INVALID, "job %lld takes whole nodes, and not all GPUs of node '%s'", (long long)j->id, n->name);
    return 0;
}

static int reserved_check(const struct cluster *c, const struct job *j, int32_t node, uint32_t gpus, struct error *err) {
    for (int32_t i = 0; i < c->reservation_count; i++) {
        const struct reservation *r = &c->reservations[i];
        for (int32_t k = 0; k < r->placement.task_count && r->job != j->id && r->kind != KEPT_AHEAD; k++)
            if (r->placement.tasks[k].node == node && r->placement.tasks[k].gpus & gpus)
                return error_set(err, ERR_CONFLICT, "GPUs of node '%s' are kept for job %lld", c->nodes[node].name, (long long)r->job);
    }
    return 0;
}

int64_t event_placement_gpus(const struct event_placement *row) {
    const struct event_task *tasks = row->tasks.items;
    int64_t gpus = 0;
    for (size_t i = 0; i < row->tasks.count; i++)
        gpus += __builtin_popcountll((unsigned long long)tasks[i].gpus);
    return gpus;
}

int placement_check(const struct cluster *c, const struct job *j, const struct event_placement *row, bool now_free, struct error *err) {
    const struct event_task *tasks = row->tasks.items;
    int64_t gpus = event_placement_gpus(row);
    int rc = 0;
    if (!row->tasks.count || row->tasks.count > CLUSTER_GANG_NODES_MAX)
        return error_set(err, ERR_INVALID, "a placement has 1..%d nodes, not %zu", CLUSTER_GANG_NODES_MAX, row->tasks.count);
    int32_t *nodes = xcalloc(row->tasks.count, sizeof *nodes);
    for (size_t i = 0; i < row->tasks.count && !rc; i++) {
        if ((rc = find_node(c, tasks[i].node, &nodes[i], err)) || (rc = task_check(c, nodes[i], &tasks[i], now_free, err)) ||
            (rc = wish_check(c, j, nodes[i], &tasks[i], now_free, err)) ||
            (rc = reserved_check(c, j, nodes[i], (uint32_t)tasks[i].gpus, err)))
            break;
        for (size_t k = 0; k < i && !rc; k++)
            if (nodes[k] == nodes[i])
                rc = error_set(err, ERR_INVALID, "node '%s' is in the placement twice", tasks[i].node);
    }
    free(nodes);
    if (!rc && (!job_may_hold(j, gpus) || tasks[0].ranks < 1))
        rc = error_set(err, ERR_INVALID, "job %lld needs %d..%d GPUs and a rank on its head; the placement has %lld and %lld",
                       (long long)j->id, j->gpus_min, j->gpus, (long long)gpus, (long long)tasks[0].ranks);
    return rc;
}

struct placement placement_from_event(const struct cluster *c, const struct event_placement *row) {
    const struct event_task *rows = row->tasks.items;
    struct placement p = {.task_count = (int32_t)row->tasks.count, .level = (enum topology_level)row->level,
                          .bottleneck_gbs = (uint32_t)row->bottleneck_gbs, .tasks = xcalloc(row->tasks.count, sizeof *p.tasks)};
    for (int32_t i = 0; i < p.task_count; i++) {
        p.tasks[i] = (struct task){.node = cluster_node(c, rows[i].node), .gpus = (uint32_t)rows[i].gpus, .ranks = (int32_t)rows[i].ranks,
                                   .cpus = (int32_t)rows[i].cpus, .memory_mib = rows[i].memory_mib, .state = TASK_ORDERED,
                                   .ring_gbs = (uint16_t)rows[i].ring_gbs};
        for (size_t g = 0; g < rows[i].gpu_order.count; g++)
            p.tasks[i].gpu_order[g] = (uint8_t)rows[i].gpu_order.items[g];
    }
    return p;
}

/* ---- reservations ---- */

static void reservation_remove_at(struct cluster *c, int32_t at) {
    struct job *j = cluster_job(c, c->reservations[at].job);
    if (j)
        index_place(c, j, false);
    free(c->reservations[at].placement.tasks);
    c->reservation_count--;
    memmove(c->reservations + at, c->reservations + at + 1, (size_t)(c->reservation_count - at) * sizeof *c->reservations);
    index_gain(c);
}

void reservation_drop(struct cluster *c, int64_t job) {
    const struct reservation *r = cluster_reservation(c, job);
    if (r)
        reservation_remove_at(c, (int32_t)(r - c->reservations));
}

void reservation_drop_on_node(struct cluster *c, int32_t node) {
    for (int32_t i = c->reservation_count - 1; i >= 0; i--)
        for (int32_t k = 0; k < c->reservations[i].placement.task_count; k++)
            if (c->reservations[i].placement.tasks[k].node == node) {
                reservation_remove_at(c, i);
                break;
            }
}

int apply_reserve(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc || (rc = placement_check(c, j, &e->placement, false, err)))
        return rc;
    if (e->kind < KEPT_BY_PLAN || e->kind > KEPT_AHEAD)
        return error_set(err, ERR_INVALID, "no place is kept in the way %lld", (long long)e->kind);
    bool comes_back = j->state == JOB_STOPPING && (j->stop_cause == STOP_MOVED || j->stop_cause == STOP_RESIZED);
    if (j->state != JOB_PENDING && !(comes_back && e->kind == KEPT_AS_SEAT))
        return error_set(err, ERR_CONFLICT, "job %lld is %s: GPUs are kept for waiting jobs", (long long)j->id,
                         job_state_name((int)j->state));
    reservation_drop(c, j->id);
    size_t capacity = (size_t)c->reservation_capacity;
    c->reservations = xgrow(c->reservations, &capacity, (size_t)c->reservation_count + 1, sizeof *c->reservations);
    c->reservation_capacity = (int32_t)capacity;
    int32_t at = c->reservation_count++;
    for (; at > 0 && c->reservations[at - 1].job > j->id; at--)
        c->reservations[at] = c->reservations[at - 1];
    c->reservations[at] = (struct reservation){.job = j->id, .kind = (enum keeping)e->kind, .since_ms = now_ms,
                                               .expected_ms = e->deadline_ms, .placement = placement_from_event(c, &e->placement)};
    index_place(c, j, e->kind != KEPT_AHEAD);
    job_touch(c, j);
    return 0;
}

int apply_unreserve(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    (void)now_ms;
    if (!cluster_reservation(c, e->job))
        return error_set(err, ERR_NOT_FOUND, "no GPUs are kept for job %lld", (long long)e->job);
    reservation_drop(c, e->job);
    return 0;
}
