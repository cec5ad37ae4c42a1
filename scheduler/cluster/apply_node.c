/* Nodes: registered, silent, expired, back, drained. Silence ends nothing by itself: only a new boot, or the end of the leases, proves
 * that what ran there is over. A lost node keeps its tasks and its place in the sums until then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/index.h"

static const char *text_or_empty(const char *s) { return s ? s : ""; }

/* ---- inventory -> shape and rack ---- */

static int check_inventory(const char *name, const struct inventory *v, struct error *err) {
    const struct gpu_inventory *gpus = v->gpus.items;
    if (!*name || strlen(name) >= sizeof((struct node *)0)->name)
        return error_set(err, ERR_INVALID, "a node's name has 1..%zu bytes", sizeof((struct node *)0)->name - 1);
    if (v->gpus.count > NODE_GPUS_MAX)
        return error_set(err, ERR_INVALID, "node '%s' has %zu GPUs; at most %d are supported", name, v->gpus.count, NODE_GPUS_MAX);
    if (v->cpus < 1 || v->cpus > 1 << 20 || v->memory_mib < 0 || v->nic_gbs < 0 || v->nic_gbs > 1 << 20)
        return error_set(err, ERR_INVALID, "node '%s' has %lld cpus, %lld MiB, a NIC of %lld GB/s: can't be", name, (long long)v->cpus,
                         (long long)v->memory_mib, (long long)v->nic_gbs);
    if (text_check_list("features", text_or_empty(v->features), NODE_FEATURES_MAX - 1, text_check_node_name, err))
        return error_wrap(err, "node '%s'", name);
    for (size_t i = 0; i < v->gpus.count; i++)
        if (gpus[i].link_gbs.count != v->gpus.count)
            return error_set(err, ERR_INVALID, "node '%s': GPU %zu reports %zu links, to %zu GPUs", name, i, gpus[i].link_gbs.count,
                             v->gpus.count);
    return 0;
}

static void shape_from_inventory(const struct inventory *v, struct gpu_shape *s) {
    const struct gpu_inventory *gpus = v->gpus.items;
    *s = (struct gpu_shape){.count = (int32_t)v->gpus.count, .fake = v->fake};
    if (s->count) {
        text_copy(s->type, sizeof s->type, text_or_empty(gpus[0].type));
        s->memory_mib = gpus[0].memory_mib;
    }
    for (int i = 0; i < s->count; i++) {
        s->numa[i] = (int8_t)gpus[i].numa;
        text_copy(s->nic[i], sizeof s->nic[i], text_or_empty(gpus[i].nic));
        for (int j = 0; j < s->count; j++) {
            int64_t gbs = gpus[i].link_gbs.items[j];
            s->link_gbs[i][j] = i == j || gbs < 0 ? 0 : gbs >= UINT16_MAX ? UINT16_MAX - 1 : (uint16_t)gbs;
        }
    }
}

static bool shape_equal(const struct gpu_shape *a, const struct gpu_shape *b) {
    return a->count == b->count && a->fake == b->fake && a->memory_mib == b->memory_mib && !strcmp(a->type, b->type) &&
           !memcmp(a->link_gbs, b->link_gbs, sizeof a->link_gbs) && !memcmp(a->numa, b->numa, sizeof a->numa) &&
           !memcmp(a->nic, b->nic, sizeof a->nic);
}

static int32_t type_intern(struct cluster *c, const char *name) {
    int32_t type = cluster_gpu_type(c, name);
    if (type < 0 && c->gpu_type_count == GPU_TYPES_MAX)
        return 0;   /* its GPUs count, but can't be told apart */
    if (type < 0)
        text_copy(c->gpu_types[type = c->gpu_type_count++], sizeof c->gpu_types[0], name);
    return type;
}

static int32_t shape_intern(struct cluster *c, struct gpu_shape *s) {
    for (int32_t i = 0; i < c->shape_count; i++)
        if (shape_equal(&c->shapes[i], s))
            return i;
    size_t capacity = (size_t)c->shape_capacity;
    c->shapes = xgrow(c->shapes, &capacity, (size_t)c->shape_count + 1, sizeof *c->shapes);
    c->shape_capacity = (int32_t)capacity;
    gpu_shape_compute(s);
    s->gpu_type = type_intern(c, s->type);
    c->shapes[c->shape_count] = *s;
    return c->shape_count++;
}

/* What is before the last '/' of a rack's name. */
static int32_t pod_intern(struct cluster *c, const char *rack) {
    const char *slash = strrchr(rack, '/');
    struct pod pod = {0};
    snprintf(pod.name, sizeof pod.name, "%.*s", slash ? (int)(slash - rack) : 0, rack);
    for (int32_t i = 0; i < c->pod_count; i++)
        if (!strcmp(c->pods[i].name, pod.name))
            return i;
    size_t capacity = (size_t)c->pod_capacity;
    c->pods = xgrow(c->pods, &capacity, (size_t)c->pod_count + 1, sizeof *c->pods);
    c->pod_capacity = (int32_t)capacity;
    c->pods[c->pod_count] = pod;
    return c->pod_count++;
}

static int32_t rack_intern(struct cluster *c, const char *name) {
    struct rack rack = {0};
    text_copy(rack.name, sizeof rack.name, name);
    for (int32_t i = 0; i < c->rack_count; i++)
        if (!strcmp(c->racks[i].name, rack.name))
            return i;
    size_t capacity = (size_t)c->rack_capacity;
    c->racks = xgrow(c->racks, &capacity, (size_t)c->rack_count + 1, sizeof *c->racks);
    c->rack_capacity = (int32_t)capacity;
    rack.pod = pod_intern(c, rack.name);
    c->racks[c->rack_count] = rack;
    return c->rack_count++;
}

/* ---- up ---- */

/* Ends as lost each task on the node that `wait` allows to. */
static void lose_tasks(struct cluster *c, int32_t node, bool also_waiting, int64_t now_ms) {
    struct attempt_end how = {.cause = STOP_NODE_LOST, .kind = EXIT_LOST, .rank = -1, .node = node};
    for (int32_t i = c->index.live.count - 1; i >= 0; i--) {   /* an attempt that ends leaves the list */
        struct job *j = c->index.live.items[i];
        struct task *t = job_task_on(j, node);
        if (t && t->state != TASK_ENDED && (also_waiting || !j->on_lost_wait))
            attempt_task_ended(c, j, t, &how, now_ms);
    }
}

static bool any_node_silent(const struct cluster *c, const struct job *j) {
    for (int32_t i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state != TASK_ENDED && c->nodes[j->placement.tasks[i].node].state != NODE_UP)
            return true;
    return false;
}

static void recover_unknown(struct cluster *c, int32_t node, int64_t now_ms) {
    for (int32_t i = 0; i < c->index.live.count; i++) {
        struct job *j = c->index.live.items[i];
        if (j->state != JOB_UNKNOWN || !job_task_on(j, node) || any_node_silent(c, j))
            continue;
        job_move(c, j, j->start_ms >= 0 ? JOB_RUNNING : JOB_STARTING, now_ms);
        index_due(c, now_ms);   /* its time limit may have passed meanwhile */
    }
}

/* What runs there without GPUs is beside others now. */
static void touch_jobs(struct cluster *c, int32_t node) {
    for (int32_t i = 0; i < c->index.live.count; i++)
        if (job_task_on(c->index.live.items[i], node))
            index_touch(c, c->index.live.items[i]);
}

int apply_node_up(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    const struct inventory *v = &e->inventory;
    const char *name = e->node && *e->node ? e->node : text_or_empty(v->name), *boot_id = text_or_empty(e->boot_id);
    int32_t node = cluster_node(c, name);
    int rc = check_inventory(name, v, err);
    if (rc)
        return rc;
    if (node < 0 && c->node_count >= CLUSTER_NODES_MAX)
        return error_set(err, ERR_INVALID, "node '%s' is one too many: at most %d are supported", name, CLUSTER_NODES_MAX);
    struct gpu_shape shape;
    shape_from_inventory(v, &shape);
    bool rebooted = node >= 0 && strcmp(c->nodes[node].boot_id, boot_id);
    bool reshaped = node >= 0 && !shape_equal(&shape, &c->shapes[c->nodes[node].shape]);
    bool refitted = node >= 0 && (strcmp(c->nodes[node].features, text_or_empty(v->features)) ||
                                  strcmp(c->racks[c->nodes[node].rack].name, text_or_empty(v->rack)));
    if (reshaped && !rebooted && c->nodes[node].gpus_used)
        return error_set(err, ERR_CONFLICT,
                         "node '%s' had %d GPUs and now shows %d, or other links, while jobs hold some: drain it and register it again "
                         "when they have ended",
                         name, c->shapes[c->nodes[node].shape].count, shape.count);
    if (rebooted)
        lose_tasks(c, node, true, now_ms);
    if (reshaped || refitted)
        reservation_drop_on_node(c, node);
    if (node < 0)
        node = cluster_add_node(c, name);
    struct node *n = &c->nodes[node];
    if (n->shape >= 0)
        index_count_gpus(c, n->shape, -1);
    n->shape = shape_intern(c, &shape);
    index_count_gpus(c, n->shape, 1);
    n->rack = rack_intern(c, text_or_empty(v->rack));
    n->cpus = (int32_t)v->cpus;
    n->memory_mib = v->memory_mib;
    n->nic_gbs = (int32_t)v->nic_gbs;
    n->state = NODE_UP;
    n->changed_turn = c->turn;
    text_copy(n->address, sizeof n->address, text_or_empty(v->address));
    text_copy(n->boot_id, sizeof n->boot_id, boot_id);
    text_copy(n->features, sizeof n->features, text_or_empty(v->features));
    node_filters_update(c, node);
    if (reshaped)
        touch_jobs(c, node);
    recover_unknown(c, node, now_ms);
    index_gain_nodes(c);
    return 0;
}

/* ---- silent ---- */

int apply_node_lost(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    int32_t node;
    int rc = find_node(c, e->node, &node, err);
    if (rc || c->nodes[node].state != NODE_UP)
        return rc;
    c->nodes[node].state = NODE_LOST;
    c->nodes[node].changed_turn = c->turn;
    for (int32_t i = 0; i < c->index.live.count; i++) {
        struct job *j = c->index.live.items[i];
        const struct task *t = job_task_on(j, node);
        if (t && t->state != TASK_ENDED && j->on_lost_wait && (j->state == JOB_STARTING || j->state == JOB_RUNNING))
            job_move(c, j, JOB_UNKNOWN, now_ms);
    }
    index_gain_nodes(c);   /* not more room, but other reasons and void reservations */
    return 0;
}

int apply_node_expired(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    int32_t node;
    int rc = find_node(c, e->node, &node, err);
    if (rc || c->nodes[node].state == NODE_EXPIRED)
        return rc;
    if (c->nodes[node].state == NODE_UP)
        return error_set(err, ERR_CONFLICT, "node '%s' is up: its leases don't expire", e->node);
    c->nodes[node].state = NODE_EXPIRED;
    c->nodes[node].changed_turn = c->turn;
    lose_tasks(c, node, false, now_ms);
    return 0;
}

/* ---- drain ---- */

int apply_node_drained(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    int32_t node;
    int rc = find_node(c, e->node, &node, err);
    (void)now_ms;
    if (rc)
        return rc;
    c->nodes[node].drained = true;
    text_copy(c->nodes[node].drain_reason, sizeof c->nodes[node].drain_reason, text_or_empty(e->text));
    c->nodes[node].changed_turn = c->turn;
    index_gain_nodes(c);
    return 0;
}

int apply_node_resumed(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    int32_t node;
    int rc = find_node(c, e->node, &node, err);
    (void)now_ms;
    if (rc || !c->nodes[node].drained)
        return rc;
    c->nodes[node].drained = false;
    c->nodes[node].drain_reason[0] = '\0';
    c->nodes[node].changed_turn = c->turn;
    index_gain_nodes(c);
    return 0;
}
