#include "tests/bench/bench_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/xmalloc.h"
#include "scheduler/sim/world.h"

enum {
    NODE_GPUS = 8,
    RACK_NODES = 16,
    GIB = 1024,
    HOUR_MS = 3600 * 1000,
    BATCH = 4096,          /* submissions at once while filling */
    REST_TURNS = 200,      /* at most, until nothing but what was asked happens */
    REST_MS = 1000,
};

void load_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("bench_policy: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- chance: splitmix64 ---- */

static int64_t draw(struct load *l, int64_t n) {
    uint64_t z = l->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ z >> 31) % (uint64_t)n);
}

/* A value by its percentage; they add up to 100. */
struct weighted { int percent; int64_t value; };

static int64_t draw_weighted(struct load *l, const struct weighted *w) {
    int64_t at = draw(l, 100);
    while (at >= w->percent)
        at -= (w++)->percent;
    return w->value;
}

/* ---- nodes and queues ---- */

/* Guarantees and limits in thousandths of the cluster. `closed` is full for good: whoever waits there is over its limit. */
static const struct { const char *name; int guarantee, limit, weight, jobs_percent; } queues[] = {
    {"default", 0, NO_LIMIT, 1, 4},
    {"prod", 250, NO_LIMIT, 4, 0},
    {"prod/serve", 150, 300, 2, 8},
    {"prod/batch", 100, NO_LIMIT, 1, 8},
    {"research", 400, NO_LIMIT, 3, 2},
    {"research/vision", 100, 500, 2, 10},
    {"research/language", 150, NO_LIMIT, 3, 16},
    {"research/speech", 50, NO_LIMIT, 1, 8},
    {"research/robotics", 50, NO_LIMIT, 1, 6},
    {"labs", 200, 600, 2, 0},
    {"labs/a", 20, 100, 1, 4},
    {"labs/b", 20, 100, 1, 4},
    {"labs/c", 20, 100, 1, 4},
    {"labs/d", 20, 100, 1, 4},
    {"labs/e", 20, 100, 1, 3},
    {"labs/f", 20, 100, 1, 3},
    {"labs/g", 20, 100, 1, 3},
    {"labs/h", 20, 100, 1, 3},
    {"students", 0, 100, 1, 0},
    {"students/bachelor", 0, NO_LIMIT, 1, 5},
    {"students/master", 0, NO_LIMIT, 2, 5},
    {"closed", 1, 1, 1, 0},
};
enum { QUEUES = sizeof queues / sizeof *queues, CLOSED = QUEUES - 1 };

static const char *const gpu_types[2] = {"H100", "A100"};

static void set_up_nodes(struct load *l, int32_t nodes) {
    struct node_shape shape;
    struct error err;
    node_shape_of_profile("hgx-8xh100", &shape, &err);
    for (int32_t i = 0; i < nodes; i++) {
        char name[16], rack[16];
        struct event e;
        snprintf(name, sizeof name, "node%05d", i);
        snprintf(rack, sizeof rack, "rack%04d", i / RACK_NODES);
        if (l->typed)
            shape.type = gpu_types[i / RACK_NODES % 2];
        arena_reset(&l->arena);
        event_of_node_up(&e, name, rack, "boot", &shape, &l->arena);
        if (cluster_apply(&l->c, &e, l->now_ms, &err))
            load_fail("node %s: %s", name, err.text);
    }
}

static void set_up_queue(struct load *l, int i) {
    int64_t gpus = cluster_gpu_count(&l->c);
    struct event e;
    struct error err;
    struct queue_spec spec;
    arena_reset(&l->arena);
    event_init(&e, EVENT_QUOTA_SET);
    queue_spec_init(&spec, queues[i].name);
    spec.set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE) | QUEUE_BIT(QUEUE_SETTING_WEIGHT);
    spec.guarantee = gpus * queues[i].guarantee / 1000;
    spec.weight = queues[i].weight;
    if (queues[i].limit != NO_LIMIT) {
        spec.set |= QUEUE_BIT(QUEUE_SETTING_LIMIT);
        spec.limit = gpus * queues[i].limit / 1000;
    }
    for (int t = 0; t < 2 && l->typed; t++) {
        struct queue_typed *typed = queue_spec_typed(&spec, gpu_types[t], &l->arena);
        typed->set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
        typed->guarantee = spec.guarantee / 2;
    }
    e.queues = (struct rows){1, &spec};
    if (cluster_apply(&l->c, &e, l->now_ms, &err))
        load_fail("queue %s: %s", queues[i].name, err.text);
}

static void init(struct load *l, int32_t nodes, uint64_t seed, bool typed) {
    *l = (struct load){.now_ms = 1000, .random = seed, .pinned = -1, .typed = typed};
    cluster_init(&l->c);
    set_up_nodes(l, nodes);
    for (int i = 0; i < QUEUES; i++)
        set_up_queue(l, i);
}

void load_init(struct load *l, int32_t nodes, uint64_t seed) { init(l, nodes, seed, false); }

void load_init_typed(struct load *l, int32_t nodes, uint64_t seed) { init(l, nodes, seed, true); }

void load_release(struct load *l) {
    cluster_release(&l->c);
    arena_release(&l->arena);
    free(l->facts);
    free(l->errors);
    free(l->running);
    *l = (struct load){0};
}

/* ---- submissions ---- */

static struct event *add_fact(struct load *l, enum event_type type) {
    l->facts = xgrow(l->facts, &l->fact_capacity, l->fact_count + 1, sizeof *l->facts);
    struct event *e = &l->facts[l->fact_count++];
    event_init(e, type);
    return e;
}

static struct job_submission *add_submission(struct load *l, int queue, int64_t gpus) {
    struct event *e = add_fact(l, EVENT_JOB_SUBMITTED);
    e->job = ++l->submitted;
    e->queue = queues[queue].name;
    e->uid = 1000 + draw(l, 200);
    e->submission.gpus = e->submission.ranks = gpus;
    e->submission.cpus_per_rank = 4;
    e->submission.launcher = LAUNCHER_MPIRUN;
    if (l->typed)
        e->submission.gpu_type = "h100,a100";
    l->waiting++;
    return &e->submission;
}

static int draw_queue(struct load *l) {
    int64_t at = draw(l, 100);
    int queue = 0;
    while (at >= queues[queue].jobs_percent)
        at -= queues[queue++].jobs_percent;
    return queue;
}

/* Sizes as in the published traces of shared clusters: half of the jobs ask for one GPU, and most of the GPU time goes to gangs. */
static const struct weighted sizes[] = {{50, 1}, {14, 2}, {14, 4}, {14, 8}, {5, 16}, {2, 32}, {1, 64}};
static const struct weighted cpus[] = {{40, 4}, {30, 8}, {15, 12}, {10, 24}, {5, 32}};
static const struct weighted memory_gib[] = {{50, 0}, {25, 64}, {15, 128}, {8, 256}, {2, 512}};
static const struct weighted priorities[] = {{90, 0}, {5, 5}, {3, 10}, {2, 100}};
static const struct weighted limit_hours[] = {{30, 0}, {20, 1}, {20, 4}, {20, 24}, {10, 72}};
static const struct weighted levels_of_few[] = {{70, LEVEL_ANY}, {20, LEVEL_NODE}, {10, LEVEL_ISLAND}};
static const struct weighted levels_of_many[] = {{85, LEVEL_ANY}, {15, LEVEL_RACK}};

void load_submit(struct load *l) {
    int queue = draw_queue(l);
    int64_t gpus = draw_weighted(l, sizes);
    struct job_submission *s = add_submission(l, queue, gpus);
    s->cpus_per_rank = draw_weighted(l, cpus);
    s->memory_mib = draw_weighted(l, memory_gib) * GIB;
    s->priority = draw_weighted(l, priorities);
    s->time_limit_ms = draw_weighted(l, limit_hours) * HOUR_MS;
    s->grace_ms = draw(l, 4) ? 60 * 1000 : 0;
    s->not_preemptible = queues[queue].guarantee && !draw(l, 12);   /* elsewhere it could never run */
    if (gpus > 1)
        s->topology = draw_weighted(l, gpus > NODE_GPUS ? levels_of_many : levels_of_few);
    if (gpus > NODE_GPUS && s->cpus_per_rank <= 24 && draw(l, 2))
        s->nodes = gpus / NODE_GPUS;
    if (s->cpus_per_rank > 24 && s->topology >= LEVEL_NODE)
        s->topology = LEVEL_ANY;   /* eight such ranks are too much for one node */
}

void load_submit_hopeless(struct load *l, bool alike) {
    int64_t mark = alike ? draw(l, 8) * 4096 : l->submitted;   /* memory: what makes a demand another one */
    struct job_submission *s;
    switch (draw(l, 4)) {
    case 0:   /* over its queue's limit */
        s = add_submission(l, CLOSED, 1 + draw(l, 8));
        s->memory_mib = mark;
        break;
    case 1:   /* more memory than any node has */
        s = add_submission(l, draw_queue(l), 1 + draw(l, 8));
        s->memory_mib = 4096 * GIB + mark;
        break;
    case 2:   /* more GPUs within a node than a node has */
        s = add_submission(l, draw_queue(l), 2 * NODE_GPUS);
        s->topology = LEVEL_NODE;
        s->memory_mib = mark;
        break;
    default:   /* more nodes within a rack than a rack has */
        s = add_submission(l, draw_queue(l), (RACK_NODES + 1) * NODE_GPUS);
        s->nodes = RACK_NODES + 1;
        s->topology = LEVEL_RACK;
        s->memory_mib = mark % (2048 * GIB);
        break;
    }
}

void load_submit_gpus(struct load *l, int64_t gpus) {
    int queue;
    do
        queue = draw_queue(l);
    while (!queues[queue].guarantee || queues[queue].limit != NO_LIMIT);   /* all of the cluster is there for them */
    add_submission(l, queue, gpus);
}

/* ---- what the nodes say ---- */

static void report(struct load *l, enum event_type type, const struct job *j, enum exit_kind kind) {
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        if (j->placement.tasks[i].state == TASK_ENDED)
            continue;
        struct event *e = add_fact(l, type);
        event_of_task(e, type, &l->c, j, &j->placement.tasks[i]);
        e->kind = kind;
    }
}

static const struct job *draw_running(struct load *l, size_t *at) {
    if (!l->running_count)
        return NULL;
    *at = (size_t)draw(l, (int64_t)l->running_count);
    return cluster_job(&l->c, l->running[*at]);
}

void load_end_one(struct load *l) {
    size_t at;
    const struct job *j = draw_running(l, &at);
    if (!j)
        load_fail("nothing runs");
    l->running[at] = l->running[--l->running_count];
    report(l, EVENT_TASK_EXITED, j, EXIT_CODE);
}

void load_checkpoint_one(struct load *l) {
    size_t at;
    const struct job *j = draw_running(l, &at);
    if (!j || j->state != JOB_RUNNING)
        return;
    struct event *e = add_fact(l, EVENT_CHECKPOINTED);
    event_of_task(e, EVENT_CHECKPOINTED, &l->c, j, &j->placement.tasks[0]);
    e->step = j->checkpoint_step + 100;
}

/* ---- a turn ---- */

static double clock_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double load_clock_us(void) { return clock_of(CLOCK_MONOTONIC); }

static void step(struct load *l) {
    l->errors = xgrow(l->errors, &l->error_capacity, l->fact_count + 1, sizeof *l->errors);
    arena_reset(&l->arena);
    double cpu_us = clock_of(CLOCK_THREAD_CPUTIME_ID), wall_us = load_clock_us();
    policy_step(&l->c, l->facts, l->errors, l->fact_count, l->now_ms, &l->arena, &l->plan);
    l->wall_us = load_clock_us() - wall_us;
    l->cpu_us = clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu_us;
    for (size_t i = 0; i < l->fact_count; i++)
        if (l->errors[i].code)
            load_fail("%s of job %lld: %s", event_type_name((int)l->facts[i].type), (long long)l->facts[i].job, l->errors[i].text);
    l->fact_count = 0;
}

static void forget_running(struct load *l, int64_t job) {
    for (size_t i = 0; i < l->running_count; i++)
        if (l->running[i] == job) {
            l->running[i] = l->running[--l->running_count];
            return;
        }
}

static void follow_start(struct load *l, const struct job *j) {
    l->starts++;
    l->waiting--;
    report(l, EVENT_TASK_STARTED, j, EXIT_NONE);
    if (j->id == l->pinned)
        return;
    l->running = xgrow(l->running, &l->running_capacity, l->running_count + 1, sizeof *l->running);
    l->running[l->running_count++] = j->id;
}

static void follow_stop(struct load *l, const struct job *j) {
    bool again = j->stop_cause == STOP_PREEMPTED;
    forget_running(l, j->id);
    report(l, EVENT_TASK_EXITED, j, j->checkpoint_asked ? EXIT_YIELDED : EXIT_STOPPED);
    l->evictions += again;
    l->waiting += again;
}

static void follow_plan(struct load *l) {
    for (size_t i = 0; i < l->plan.count; i++) {
        const struct event *e = &l->plan.decisions[i];
        const struct job *j = cluster_job(&l->c, e->job);
        if (e->type == EVENT_JOB_START && j->state == JOB_STARTING)
            follow_start(l, j);
        else if (e->type == EVENT_JOB_STOP && j->state == JOB_STOPPING)
            follow_stop(l, j);
    }
}

void load_turn(struct load *l, int64_t pass_ms) {
    l->now_ms += pass_ms;
    l->c.turn++;
    double begin_us = load_clock_us();
    cluster_forget_finished(&l->c, l->c.turn);
    l->forget_us = load_clock_us() - begin_us;
    step(l);
    follow_plan(l);
}

/* ---- a full cluster ---- */

static void close_queue(struct load *l) {
    l->pinned = l->submitted + 1;
    add_submission(l, CLOSED, cluster_gpu_count(&l->c) * queues[CLOSED].limit / 1000);
    load_turn(l, REST_MS);
    if (l->waiting)
        load_fail("the job that fills queue '%s' did not start", queues[CLOSED].name);
}

void load_refill(struct load *l, int64_t waiting) {
    while (l->waiting < waiting)
        if (draw(l, 10))
            load_submit(l);
        else
            load_submit_hopeless(l, true);
}

/* Two turns in a row in which nothing is decided. */
static void come_to_rest(struct load *l, int64_t waiting) {
    for (int i = 0, quiet = 0; i < REST_TURNS && quiet < 2; i++) {
        load_refill(l, waiting);
        load_turn(l, REST_MS);
        quiet = l->plan.count ? 0 : quiet + 1;
    }
}

/* What has happened, without a decision about it. */
static void apply_facts(struct load *l) {
    struct error err;
    for (size_t i = 0; i < l->fact_count; i++)
        if (cluster_apply(&l->c, &l->facts[i], l->now_ms, &err))
            load_fail("%s: %s", event_type_name((int)l->facts[i].type), err.text);
    l->fact_count = 0;
}

void load_fill(struct load *l, int64_t waiting) {
    close_queue(l);
    while (l->waiting < waiting) {
        int64_t missing = waiting - l->waiting;
        load_refill(l, l->waiting + (missing < BATCH ? missing : BATCH));
        apply_facts(l);
    }
    come_to_rest(l, waiting);
}

int64_t load_gpus_used(const struct load *l) {
    int64_t used = 0;
    for (int32_t i = 0; i < l->c.node_count; i++)
        used += __builtin_popcount(l->c.nodes[i].gpus_used);
    return used;
}
