#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/job_json.h"
#include "scheduler/view.h"

static const char *state_name(const struct node *n) {
    if (n->state != NODE_UP)
        return "LOST";
    return !n->drained ? "UP" : n->cpus_used || n->gpus_used ? "DRAINING" : "DRAINED";
}

/* The job that holds GPU `gpu` of a node; NULL: nobody. */
static const struct job *gpu_holder(const struct cluster *c, int32_t node, int gpu) {
    if (!(c->nodes[node].gpus_used & 1u << gpu))
        return NULL;
    for (int i = 0; i < c->index.live.count; i++) {
        const struct task *t = job_task_on(c->index.live.items[i], node);
        if (t && t->state != TASK_ENDED && (t->gpus & 1u << gpu))
            return c->index.live.items[i];
    }
    return NULL;
}

static void add_holder(json_t *gpu, const struct cluster *c, int32_t node, int index) {
    const struct job *j = gpu_holder(c, node, index);
    json_object_set_new(gpu, "job", j ? json_integer(j->id) : json_null());
    json_object_set_new(gpu, "holder", j ? job_called_json(j) : json_null());
}

static json_t *gpu_json(const struct cluster *c, int32_t node, int index, const struct gpu_inventory *g) {
    const struct gpu_shape *shape = &c->shapes[c->nodes[node].shape];
    json_t *gpu = json_pack("{s:i, s:s, s:s, s:I, s:I, s:i, s:s}", "index", index, "type", g->type, "uuid", g->uuid, "memory_mib",
                            (json_int_t)g->memory_mib, "numa", (json_int_t)g->numa, "island", gpu_shape_island(shape, 1u << index), "nic",
                            g->nic);
    add_holder(gpu, c, node, index);
    return gpu;
}

static void add_running(json_t *row, const struct cluster *c, int32_t node) {
    json_t *running = json_array(), *jobs = json_array();
    for (int i = 0; i < c->index.live.count; i++) {
        const struct task *t = job_task_on(c->index.live.items[i], node);
        if (!t || t->state == TASK_ENDED)
            continue;
        json_array_append_new(running, json_integer(c->index.live.items[i]->id));
        json_array_append_new(jobs, job_called_json(c->index.live.items[i]));
    }
    json_object_set_new(row, "running", running);
    json_object_set_new(row, "jobs", jobs);
}

static json_t *node_json(const struct musterd *d, int32_t i) {
    const struct cluster *c = &d->cluster;
    const struct node *n = &c->nodes[i];
    const struct soft_node *s = &d->soft.nodes[i];
    const struct inventory *v = &s->inventory;
    json_t *gpus = json_array();
    for (size_t g = 0; g < v->gpus.count && (int)g < c->shapes[n->shape].count; g++)
        json_array_append_new(gpus, gpu_json(c, i, (int)g, &((const struct gpu_inventory *)v->gpus.items)[g]));
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:s, s:o, s:s, s:s, s:s, s:o}", "name",
                            n->name, "state", state_name(n), "rack", c->racks[n->rack].name, "address", n->address, "profile", v->profile,
                            "fake", v->fake, "gpus", gpus, "gpus_total", c->shapes[n->shape].count, "gpus_used",
                            __builtin_popcount(n->gpus_used), "cpus_total", n->cpus, "cpus_used", n->cpus_used, "memory_mib",
                            (json_int_t)n->memory_mib, "memory_used_mib", (json_int_t)n->memory_used_mib, "reason", n->drain_reason,
                            "last_heard_ms", s->heard_wall_ms ? json_integer(s->heard_wall_ms) : json_null(), "cgroup", v->cgroup,
                            "version", v->version, "hostname", v->hostname, "features", names_json(n->features));
    add_running(out, c, i);
    return out;
}

static int by_name(const void *a, const void *b, void *cluster) {
    const struct cluster *c = cluster;
    return strverscmp(c->nodes[*(const int32_t *)a].name, c->nodes[*(const int32_t *)b].name);
}

/* One row a node, node2 before node10: nodes register in any order. */
static json_t *nodes_json(const struct musterd *d, json_t *row(const struct musterd *, int32_t)) {
    int32_t count = d->cluster.node_count, *order = xcalloc((size_t)count, sizeof *order);
    json_t *nodes = json_array();
    for (int32_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, (size_t)count, sizeof *order, by_name, (void *)&d->cluster);
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(nodes, row(d, order[i]));
    free(order);
    return nodes;
}

json_t *view_nodes(const struct musterd *d) { return json_pack("{s:o}", "nodes", nodes_json(d, node_json)); }

/* ---- top ---- */

static json_t *top_gpus(const struct musterd *d, int32_t node, const struct heartbeat *b) {
    json_t *gpus = json_array();
    const struct gpu_telemetry *g = b->gpus.items;
    for (size_t i = 0; i < b->gpus.count && i < NODE_GPUS_MAX; i++) {
        json_t *gpu = json_pack("{s:I, s:I, s:I, s:I}", "utilisation_pct", (json_int_t)g[i].utilisation_pct, "memory_used_mib",
                                (json_int_t)g[i].memory_used_mib, "power_w", (json_int_t)g[i].power_w, "temperature_c",
                                (json_int_t)g[i].temperature_c);
        add_holder(gpu, &d->cluster, node, (int)i);
        json_array_append_new(gpus, gpu);
    }
    return gpus;
}

static json_t *top_node(const struct musterd *d, int32_t i) {
    static const struct heartbeat nothing;
    const struct heartbeat *b = d->soft.nodes[i].has_beat ? &d->soft.nodes[i].beat : &nothing;
    const struct node *n = &d->cluster.nodes[i];
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "name", n->name, "state", state_name(n), "cpu_pct",
                     (json_int_t)b->cpu_pct, "mem_available_mib", (json_int_t)b->mem_available_mib, "mem_total_mib",
                     (json_int_t)b->mem_total_mib, "swap_used_mib", (json_int_t)b->swap_used_mib, "page_faults_per_s",
                     (json_int_t)b->page_faults_per_s, "load1", b->load1, "gpus", top_gpus(d, i, b));
}

json_t *view_top(const struct musterd *d) {
    json_t *jobs = json_array();
    for (int i = 0; i < d->cluster.index.live.count; i++)
        json_array_append_new(jobs, view_job_row(d, d->cluster.index.live.items[i]));
    return json_pack("{s:o, s:o}", "nodes", nodes_json(d, top_node), "jobs", jobs);
}
