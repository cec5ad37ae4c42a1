/* A cluster to try things on: each call is one event, applied and checked whole; a refused one must leave the digest as it was. */
#ifndef TESTS_UNIT_CLUSTER_WORLD_H
#define TESTS_UNIT_CLUSTER_WORLD_H

#include "scheduler/policy/decide.h"
#include "tests/unit/unit.h"

struct world {
    struct cluster c;
    struct arena arena;
    struct plan plan;
    int64_t now_ms;
    struct error err;
};

static inline void world_check(struct world *w) {
    struct error err;
    if (cluster_check(&w->c, &err))
        fail_msg("%s", err.text);
}

static inline int world_apply(struct world *w, const struct event *e) {
    uint64_t before = cluster_digest(&w->c);
    w->err = (struct error){0};
    w->c.turn++;
    int rc = cluster_apply(&w->c, e, w->now_ms, &w->err);
    if (rc)
        assert_true(cluster_digest(&w->c) == before);
    world_check(w);
    return rc;
}

static inline void world_init(struct world *w) {
    memset(w, 0, sizeof *w);
    cluster_init(&w->c);
    w->now_ms = 1000;
}

static inline void world_release(struct world *w) {
    cluster_release(&w->c);
    arena_release(&w->arena);
}

static inline struct event event_of(enum event_type type) {
    struct event e;
    event_init(&e, type);
    return e;
}

/* Links: within an island `fast`, else `slow`; islands of `island` GPUs. */
static inline void gpus_fill(struct gpu_inventory gpus[16], int64_t links[16][16], int count, int island, int fast, int slow) {
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++)
            links[i][j] = i == j ? 0 : i / island == j / island ? fast : slow;
        gpus[i] = (struct gpu_inventory){
            .uuid = "FAKE", .type = "T", .memory_mib = 81920, .numa = i / island, .pci = "", .link_gbs = {(size_t)count, links[i]}};
    }
}

static inline int world_node_of(struct world *w, const char *type, const char *name, const char *rack, int gpu_count, int island,
                                const char *boot_id) {
    struct gpu_inventory gpus[16];
    int64_t links[16][16];
    struct event e = event_of(EVENT_NODE_UP);
    gpus_fill(gpus, links, gpu_count, island ? island : 1, 450, 50);
    for (int i = 0; i < gpu_count; i++)
        gpus[i].type = type;
    e.node = name;
    e.boot_id = boot_id;
    e.inventory.name = name;
    e.inventory.rack = rack;
    e.inventory.cpus = 64;
    e.inventory.memory_mib = 100000;
    e.inventory.nic_gbs = 25;
    e.inventory.gpus = (struct rows){(size_t)gpu_count, gpus};
    return world_apply(w, &e);
}

static inline int world_node(struct world *w, const char *name, const char *rack, int gpu_count, int island, const char *boot_id) {
    return world_node_of(w, "T", name, rack, gpu_count, island, boot_id);
}

struct ask {
    const char *queue;
    int gpus, gpus_min, nodes, ranks, cpus, priority, retries;
    int64_t time_limit_ms, grace_ms, memory_mib;
    int launcher, topology;
    bool not_preemptible, wait, hold;
    int64_t after;
    bool after_ok, exclusive;
    const char *array;
};

static inline int64_t world_submit(struct world *w, struct ask a) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    struct job_after_row after = {.job = a.after, .ok = a.after_ok};
    e.job = w->c.next_job;
    e.queue = a.queue ? a.queue : "default";
    e.submission = (struct job_submission){.priority = a.priority,
                                           .nodes = a.nodes,
                                           .gpus = a.gpus,
                                           .gpus_min = a.gpus_min,
                                           .ranks = a.ranks,
                                           .cpus_per_rank = a.cpus,
                                           .memory_mib = a.memory_mib,
                                           .time_limit_ms = a.time_limit_ms,
                                           .grace_ms = a.grace_ms,
                                           .retries = a.retries,
                                           .launcher = a.launcher,
                                           .topology = a.topology,
                                           .not_preemptible = a.not_preemptible,
                                           .on_lost_wait = a.wait,
                                           .hold = a.hold,
                                           .exclusive = a.exclusive,
                                           .array = a.array ? a.array : ""};
    if (a.after)
        e.submission.after = (struct rows){1, &after};
    int rc = world_apply(w, &e);
    return rc ? rc : e.job;
}

static inline int world_quota(struct world *w, const char *queue, int64_t guarantee, int64_t limit, bool drain) {
    struct event e = event_of(EVENT_QUOTA_SET);
    e.queue = queue;
    e.guarantee = guarantee;
    e.limit = limit;
    e.drain = drain;
    return world_apply(w, &e);
}

static inline int world_on_job(struct world *w, enum event_type type, int64_t job) {
    struct event e = event_of(type);
    e.job = job;
    return world_apply(w, &e);
}

/* elements: "5-9" of an array. */
static inline int world_on_elements(struct world *w, enum event_type type, int64_t job, const char *elements) {
    struct event e = event_of(type);
    e.job = job;
    e.elements = elements;
    return world_apply(w, &e);
}

static inline int world_on_node(struct world *w, enum event_type type, const char *node) {
    struct event e = event_of(type);
    e.node = node;
    return world_apply(w, &e);
}

static inline struct event task_event(struct world *w, enum event_type type, int64_t job, const char *node) {
    struct event e = event_of(type);
    const struct job *j = cluster_job(&w->c, job);
    e.job = job;
    e.attempt = j ? j->attempt : 0;
    e.lease = j ? j->lease : 0;
    e.node = node;
    e.rank = -1;
    return e;
}

static inline int world_started(struct world *w, int64_t job, const char *node) {
    struct event e = task_event(w, EVENT_TASK_STARTED, job, node);
    return world_apply(w, &e);
}

static inline int world_exited(struct world *w, int64_t job, const char *node, enum exit_kind kind, int status) {
    struct event e = task_event(w, EVENT_TASK_EXITED, job, node);
    e.kind = kind;
    e.status = status;
    e.step = -1;
    return world_apply(w, &e);
}

/* Decides, applies the plan, checks after each decision, and that a second look finds nothing more to do. */
static inline void world_decide(struct world *w) {
    arena_reset(&w->arena);
    for (int round = 0; round < 100; round++) {
        uint64_t before = cluster_digest(&w->c);
        policy_decide(&w->c, w->now_ms, &w->arena, &w->plan);
        assert_true(cluster_digest(&w->c) == before);
        for (size_t i = 0; i < w->plan.count; i++)
            if (world_apply(w, &w->plan.decisions[i]))
                fail_msg("decision %s of job %lld refused: %s", event_type_name((int)w->plan.decisions[i].type),
                         (long long)w->plan.decisions[i].job, w->err.text);
        if (!w->plan.count && cluster_next_deadline_ms(&w->c) > w->now_ms)
            return;
    }
    fail_msg("the policy finds no end");
}

static inline enum job_state state_of(const struct world *w, int64_t job) {
    const struct job *j = cluster_job(&w->c, job);
    return j ? j->state : JOB_STATE_COUNT;
}

#define assert_state(w, job, expected) assert_string_equal(job_state_name((int)state_of(w, job)), job_state_name(JOB_##expected))

#endif
