/* Random clusters under random events: what users, nodes and admins do in any order, with repeats, stale reports, lost and rebooted
 * nodes, changes of the quota tree. After each event the invariants hold; deciding comes to rest, and from scratch finds nothing more;
 * no start exceeds a limit; the log applied again gives the same digest; and once everything is up and ends well, every job that can run
 * has run.
 *
 * A failing seed prints the command that shows it again; it then belongs into tests/sim/seeds.txt. */
#include "scheduler/sim/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/outlook.h"

static const char *const queue_names[QUEUES] = {"default", "ml", "ml/a", "ml/b", "prod", "prod/x", "lab", "lab/a"};
static const char *const gpu_types[] = {"H100", "A100", NULL};
static const char *const features[] = {NULL, "ib", "nvme,ib", "nvme"};

/* ---- chance: splitmix64 ---- */

static uint64_t draw(struct run *r) {
    uint64_t z = r->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t below(struct run *r, int64_t n) { return (int64_t)(draw(r) % (uint64_t)n); }
static bool chance(struct run *r, int percent) { return below(r, 100) < percent; }

/* ---- sending ---- */

static void remember(struct run *r, const struct event *e) {
    struct buffer *b = &r->past[r->past_count++ % MEMORY].bytes;
    buffer_clear(b);
    record_encode(&event_schema, e, b);
}

static int send(struct run *r, const struct event *e) {
    struct error err = {0};
    int rc = world_apply(&r->w, e, &err);
    r->refused[e->type] += rc != 0;
    remember(r, e);
    return rc;
}

static struct job *any_job(struct run *r) { return r->w.c.job_count ? r->w.c.jobs[below(r, r->w.c.job_count)] : NULL; }

static struct job *any_live(struct run *r) {
    const struct job_list *live = &r->w.c.index.live;
    return live->count ? live->items[below(r, live->count)] : NULL;
}

/* ---- what happens ---- */

/* The store knows how a job ended that has left memory, and tells those that were submitted to wait for it. */
static void tell_of_the_gone(struct run *r, int64_t job, const struct job_after_row *after, size_t count) {
    struct event e;
    for (size_t i = 0; i < count; i++) {
        if (cluster_job(&r->w.c, after[i].job) || chance(r, 5))
            continue;
        event_init(&e, EVENT_DEPENDENCY_ENDED);
        e.job = job;
        e.other = after[i].job;
        e.ok = chance(r, 70);
        send(r, &e);
    }
}

/* Mostly one that is there. */
static const char *some_queue(struct run *r) {
    const struct queue *q = &r->w.c.queues[below(r, r->w.c.queue_count)];
    return chance(r, 25) || q->deleted ? queue_names[below(r, QUEUES)] : arena_copy(&r->arena, q->name, strlen(q->name));
}

/* One that may be, and now and then one that may not. */
static void make_elastic(struct run *r, struct job_submission *s) {
    s->gpus = 2 * (1 + below(r, 8));
    s->gpus_min = job_size_at_most(s->gpus, 1, s->nodes, 1 + below(r, s->gpus - 1));
    if (chance(r, 5))
        s->gpus_min = below(r, s->gpus + 2);
    s->ranks = chance(r, 60) ? s->gpus : chance(r, 90) ? 0 : below(r, 6);
    s->not_preemptible = chance(r, 3);
    s->compact = chance(r, 20);
    s->estimate_ms = chance(r, 20) ? 1 + below(r, 1000000) : 0;
}

static void widen(struct run *r, struct event *e) {
    struct job_submission *s = &e->submission;
    if (chance(r, 80))
        e->queue = some_queue(r);
    if (chance(r, 20))
        s->priority = below(r, 9) - 4;
    if (r->elastic && chance(r, 60))
        make_elastic(r, s);
    if (r->crashing) {   /* gangs, so that one part of them is lost before another */
        s->gpus = s->ranks = s->nodes = 1 + below(r, 3);
        s->cpus_per_rank = 1;
        s->memory_mib = s->time_limit_ms = 0;
        s->topology = LEVEL_ANY;
        s->on_lost_wait = chance(r, 80);
    }
    struct job_after_row *after = s->after.items;
    for (size_t i = 0; i < s->after.count; i++)
        if (chance(r, 40))
            after[i].job = 1 + below(r, r->w.c.next_job);
}

static const char *const array_texts[] = {"0-9%2", "0-3", "1,3,5-9:2%3", "7", "0-40%4", "0-200"};
/* Which nodes, and how. */
static void constrain(struct run *r, struct job_submission *s) {
    static const char *const types[] = {"", "", "h100", "a100", "a100,h100"};
    static const char *const lists[] = {"", "", "node0", "node1,node2", "node0,node3"};
    s->gpu_type = types[below(r, 5)];
    s->features = chance(r, 30) ? features[1 + below(r, 3)] : "";
    s->nodelist = lists[below(r, 5)];
    s->exclude = chance(r, 20) ? lists[below(r, 5)] : "";
    s->exclusive = chance(r, 30);
    s->prefer = chance(r, 30) ? 1 + below(r, 4) : 0;
}

static void make_submission(struct run *r, struct event *e, struct job_after_row after[2]) {
    struct job_submission *s = &e->submission;
    event_init(e, EVENT_JOB_SUBMITTED);
    e->job = r->w.c.next_job + (chance(r, 2) ? 1 : 0);
    e->queue = queue_names[below(r, QUEUES)];
    e->uid = below(r, USERS);
    s->gpus = chance(r, 15) ? 0 : 1 + below(r, chance(r, 30) ? 12 : 4);
    s->nodes = chance(r, 30) ? 1 + below(r, 3) : 0;
    s->ranks = chance(r, 50) ? s->gpus : below(r, 6);
    s->cpus_per_rank = 1 + below(r, chance(r, 10) ? 16 : 2);
    s->memory_mib = chance(r, 20) ? below(r, 200000) : 0;
    s->priority = chance(r, 20) ? below(r, 5) : 0;
    s->time_limit_ms = chance(r, 30) ? 1 + below(r, 100000) : 0;
    s->grace_ms = below(r, 20000);
    s->retries = below(r, 3);
    s->launcher = below(r, 3);
    s->topology = chance(r, 25) ? below(r, 5) : 0;
    s->not_preemptible = chance(r, 15);
    s->on_lost_wait = chance(r, 25);
    s->hold = chance(r, 5);
    if (chance(r, 15) && r->w.c.next_job > 1)
        s->after.items = after, s->after.count = 1 + (size_t)below(r, 2);
    for (size_t i = 0; i < s->after.count; i++) {
        const struct job *other = any_job(r);
        after[i] = (struct job_after_row){.job = other ? other->id : r->w.c.next_job, .ok = chance(r, 50)};
    }
    widen(r, e);
    if (chance(r, 25))
        constrain(r, s);
    if (r->typed && chance(r, 50))
        s->gpu_type = chance(r, 50) ? "h100" : "a100";
    if (r->arrays && chance(r, 40))
        s->array = array_texts[below(r, (int64_t)(sizeof array_texts / sizeof *array_texts))];
}

static void submit(struct run *r) {
    struct event e;
    struct job_after_row after[2];
    make_submission(r, &e, after);
    if (!send(r, &e))
        tell_of_the_gone(r, e.job, after, e.submission.after.count);
}

static const char *const element_texts[] = {"0", "1-3", "5", "2-9", "0-200"};

static void on_some_job(struct run *r, enum event_type type) {
    struct event e;
    const struct job *j = any_job(r);
    event_init(&e, type);
    e.job = j ? j->id : below(r, 10);
    if (r->arrays && chance(r, 50))
        e.elements = element_texts[below(r, (int64_t)(sizeof element_texts / sizeof *element_texts))];
    send(r, &e);
}

/* Two pods of two racks and one of one. */
static void rack_of(int n, char rack[RACK_NAME_MAX]) { snprintf(rack, RACK_NAME_MAX, "pod%d/rack%d", n / 4, n / 2); }

static void node_up(struct run *r, int n, bool rebooted) {
    struct event e;
    char rack[RACK_NAME_MAX];
    struct node_shape s = r->shapes[n];
    if (rebooted)
        snprintf(r->boots[n], sizeof r->boots[n], "boot%lld", (long long)below(r, 1000000));
    if (chance(r, 3) && s.gpus > 1)
        s.gpus--;   /* a GPU fell off */
    if (chance(r, 5))
        s.features = features[below(r, 4)];
    if (chance(r, 3))
        s.cpus += 4;
    rack_of(n, rack);
    event_of_node_up(&e, r->names[n], rack, r->boots[n], &s, &r->arena);
    send(r, &e);
}

static void on_node(struct run *r, enum event_type type, int64_t n) {
    struct event e;
    event_init(&e, type);
    e.node = r->names[n];
    e.text = "random";
    send(r, &e);
}

static void on_some_node(struct run *r, enum event_type type) { on_node(r, type, below(r, r->node_count)); }

static void report(struct run *r, enum event_type type) {
    struct event e;
    const struct job *j = any_live(r);
    if (!j)
        return;
    event_of_task(&e, type, &r->w.c, j, &j->placement.tasks[below(r, j->placement.task_count)]);
    if (chance(r, 3))
        e.lease -= 1 + below(r, 2);
    if (chance(r, 2))
        e.node = r->names[below(r, r->node_count)];
    e.step = below(r, 1000) - 1;
    e.kind = chance(r, 2) ? below(r, 12) : chance(r, 50) ? (int)EXIT_CODE : 1 + below(r, EXIT_KIND_COUNT - 1);
    if (r->crashing && chance(r, 95))
        e.kind = EXIT_LOST;
    else if (j->state == JOB_STOPPING && chance(r, 60))
        e.kind = chance(r, 50) ? EXIT_YIELDED : EXIT_STOPPED;
    e.status = chance(r, 60) ? 0 : below(r, 20);
    e.rank = below(r, 4) - 1;
    send(r, &e);
}

/* What the daemon does about jobs that stop: sooner or later their tasks end. */
static void end_stopping(struct run *r) {
    const struct job_list *live = &r->w.c.index.live;
    struct event e;
    for (int32_t i = 0; i < live->count; i++) {
        const struct job *j = live->items[i];
        for (int32_t k = 0; k < j->placement.task_count && j->state == JOB_STOPPING; k++)
            if (j->placement.tasks[k].state != TASK_ENDED && chance(r, 70)) {
                event_of_task(&e, EVENT_TASK_EXITED, &r->w.c, j, &j->placement.tasks[k]);
                e.kind = r->crashing ? EXIT_LOST : chance(r, 60) ? EXIT_YIELDED : EXIT_STOPPED;
                send(r, &e);
                return;
            }
    }
}

static int64_t some_gpus(struct run *r) { return chance(r, 60) ? 0 : below(r, chance(r, 70) ? 4 : 12); }

static void give(struct run *r, int64_t *set, int64_t *clear, int setting, int percent) {
    if (chance(r, percent))
        *(chance(r, 70) ? set : clear) |= QUEUE_BIT(setting);
}

static void draw_typed(struct run *r, struct queue_spec *spec) {
    struct queue_typed *t = queue_spec_typed(spec, gpu_types[below(r, 2)], &r->arena);
    give(r, &t->set, &t->clear, QUEUE_SETTING_GUARANTEE, 40);
    give(r, &t->set, &t->clear, QUEUE_SETTING_LIMIT, 60);
    t->guarantee = some_gpus(r) / 2;
    t->limit = t->guarantee + below(r, 10);
    if (!r->typed)
        return;
    give(r, &t->set, &t->clear, QUEUE_SETTING_GUARANTEE, 80);
    give(r, &t->set, &t->clear, QUEUE_SETTING_WEIGHT, 30);
    t->weight = 1 + below(r, 4);
    t->guarantee = below(r, 4);
    t->limit = t->guarantee + below(r, 10);
    spec->set |= QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
    spec->clear &= ~QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
    spec->guarantee = t->guarantee + below(r, 4);
    spec->limit = spec->guarantee + below(r, 12);
}

/* Some settings of a queue, as an admin or a file would give them. */
static void draw_spec(struct run *r, struct queue_spec *spec) {
    queue_spec_init(spec, some_queue(r));
    spec->whole = chance(r, 15);
    spec->removed = chance(r, 3);
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        give(r, &spec->set, &spec->clear, i, i == QUEUE_SETTING_CLOSED ? 6 : queue_setting_kind(i) == QUEUE_KIND_NAMES ? 5 : 20);
    spec->guarantee = some_gpus(r);
    spec->limit = spec->guarantee + below(r, 12);
    spec->weight = 1 + below(r, 4);
    spec->policy = QUEUE_POLICY_FAIR + below(r, QUEUE_POLICY_COUNT - QUEUE_POLICY_FAIR);
    spec->min_runtime_ms = spec->default_time_ms = 1000 + below(r, 60000);
    spec->max_walltime_ms = 20000 + below(r, 100000);
    spec->max_running_per_user = 1 + below(r, 3);
    spec->max_pending_per_user = 2 + below(r, 10);
    spec->users = spec->groups = spec->admins = spec->default_for_groups = chance(r, 50) ? "ada" : "bob,eve";
    spec->closed = spec->set & QUEUE_BIT(QUEUE_SETTING_CLOSED) && chance(r, 60);
    if (chance(r, r->typed ? 80 : 30))
        draw_typed(r, spec);
}

static void quota_rows(struct run *r) {
    struct event e;
    struct queue_spec rows[3];
    event_init(&e, EVENT_QUOTA_SET);
    e.queues = (struct rows){chance(r, 70) ? 1 : 1 + (size_t)below(r, 3), rows};
    for (size_t i = 0; i < e.queues.count; i++)
        draw_spec(r, &rows[i]);
    e.drain = chance(r, 15);
    e.evict = chance(r, 40);
    send(r, &e);
}

static void quota_plain(struct run *r) {
    struct event e;
    event_init(&e, EVENT_QUOTA_SET);
    e.queue = some_queue(r);
    e.guarantee = some_gpus(r);
    e.limit = chance(r, 50) ? NO_LIMIT : e.guarantee + below(r, 12);
    e.weight = 1 + below(r, 4);
    e.drain = chance(r, 30);
    send(r, &e);
}

static void quota(struct run *r) {
    struct event e;
    int64_t what = below(r, 100);
    if (what < 35)
        quota_plain(r);
    else if (what < 80)
        quota_rows(r);
    if (what < 80)
        return;
    event_init(&e, what < 87 ? EVENT_QUOTA_DELETED : EVENT_QUOTA_RENAMED);
    e.queue = some_queue(r);
    e.to = what < 87 ? (chance(r, 40) ? "" : some_queue(r)) : queue_names[below(r, QUEUES)];
    send(r, &e);
}

/* A message that comes twice, or long after its time. */
static void send_again(struct run *r) {
    struct event e;
    struct error err;
    int count = r->past_count < MEMORY ? r->past_count : MEMORY;
    if (!count)
        return;
    const struct buffer *b = &r->past[below(r, count)].bytes;
    struct arena arena = {0};
    if (!record_decode(&event_schema, b->data, b->size, &e, &arena, &err))
        send(r, &e);
    arena_release(&arena);
}

/* Prices move with time, and with them which plan is found: what has come to rest did so for its moment. */
static void pass_time(struct run *r) {
    r->w.now_ms += chance(r, r->crashing ? 10 : 80) ? below(r, 5000) : below(r, 200000);
    world_forget_tried(&r->w);
}

/* Silence and a new boot, again and again, with time between for the jobs that cool down. */
static void crash(struct run *r) {
    int64_t n = below(r, r->node_count), what = below(r, 100);
    if (what < 30)
        pass_time(r);
    else if (what < 50)
        report(r, EVENT_TASK_STARTED);
    else if (what < 65)
        report(r, EVENT_TASK_EXITED);
    else
        on_node(r, EVENT_NODE_LOST, n);
    if (what >= 75)
        node_up(r, (int)n, true);
}

/* Work is saved, and time goes by in which idle GPUs are seen to. */
static void let_grow(struct run *r) {
    if (chance(r, 60))
        report(r, EVENT_CHECKPOINTED);
    else
        pass_time(r);
}

static void one_step(struct run *r) {
    arena_reset(&r->arena);
    if (r->elastic && chance(r, 25)) {
        let_grow(r);
        return;
    }
    if (r->crashing && chance(r, 80)) {
        crash(r);
        return;
    }
    int64_t what = below(r, 100);
    if (r->administered && chance(r, 30))
        quota(r);
    else if (what < 22)
        submit(r);
    else if (what < 44)
        report(r, EVENT_TASK_STARTED);
    else if (what < 58)
        report(r, EVENT_TASK_EXITED);
    else if (what < 66)
        end_stopping(r);
    else if (what < 69)
        report(r, EVENT_CHECKPOINTED);
    else if (what < 70)
        report(r, EVENT_TASK_REFUSED);
    else if (what < 73)
        on_some_job(r, EVENT_JOB_CANCELLED);
    else if (what < 76)
        on_some_job(r, chance(r, 50) ? EVENT_JOB_HELD : EVENT_JOB_RELEASED);
    else if (what < 78)
        on_some_job(r, EVENT_JOB_REQUEUED);
    else if (what < 81)
        quota(r);
    else if (what < 84)
        on_some_node(r, chance(r, 40) ? EVENT_NODE_DRAINED : EVENT_NODE_RESUMED);
    else if (what < 87)
        on_some_node(r, chance(r, 60) ? EVENT_NODE_LOST : EVENT_NODE_EXPIRED);
    else if (what < 92)
        node_up(r, (int)below(r, r->node_count), chance(r, 25));
    else if (what < 95)
        send_again(r);
    else
        pass_time(r);
}

/* ---- a run ---- */

static void let_queues_resize_soon(struct run *r) {
    static const char *const tops[] = {"default", "ml", "prod", "lab"};
    struct event e;
    struct queue_spec rows[sizeof tops / sizeof *tops];
    event_init(&e, EVENT_QUOTA_SET);
    e.queues = (struct rows){sizeof tops / sizeof *tops, rows};
    for (size_t i = 0; i < e.queues.count; i++) {
        queue_spec_init(&rows[i], tops[i]);
        rows[i].set = QUEUE_BIT(QUEUE_SETTING_MIN_RUNTIME);
        rows[i].min_runtime_ms = 1000 + below(r, 20000);
    }
    send(r, &e);
}

static void build(struct run *r) {
    r->node_count = 1 + (int)below(r, NODES_MAX);
    for (int n = 0; n < r->node_count; n++) {
        int64_t islands = 1 + below(r, 2), per_island = 1 + below(r, 4);
        r->shapes[n] = (struct node_shape){
            chance(r, 10) ? 0 : islands * per_island, per_island, 450, 50, 8 + below(r, 32), 100000, 10 + below(r, 40),
            gpu_types[below(r, 3)], features[below(r, 4)]};
        snprintf(r->names[n], sizeof r->names[n], "node%d", n);
        node_up(r, n, true);
    }
    if (r->elastic)
        let_queues_resize_soon(r);
    for (int64_t i = below(r, 6); i > 0; i--)
        quota(r);
}

static void bring_up(struct run *r) {
    struct event e;
    for (int n = 0; n < r->node_count; n++) {
        arena_reset(&r->arena);
        char rack[RACK_NAME_MAX];
        rack_of(n, rack);
        event_of_node_up(&e, r->names[n], rack, r->boots[n], &r->shapes[n], &r->arena);
        send(r, &e);
        event_init(&e, EVENT_NODE_RESUMED);
        e.node = r->names[n];
        send(r, &e);
    }
}

/* ---- no loops ---- */

/* All that are asked to leave do so, and what is ordered starts, in no time. */
static void obey(struct run *r) {
    struct cluster *c = &r->w.c;
    struct event e;
    for (int32_t i = c->index.live.count - 1; i >= 0; i--) {
        const struct job *j = c->index.live.items[i];
        int64_t id = j->id;
        int32_t attempt = j->attempt;
        for (int32_t k = 0; (j = cluster_job(c, id)) && j->attempt == attempt && k < j->placement.task_count; k++) {
            event_of_task(&e, j->state == JOB_STOPPING ? EVENT_TASK_EXITED : EVENT_TASK_STARTED, c, j, &j->placement.tasks[k]);
            e.kind = j->state == JOB_STOPPING ? EXIT_YIELDED : EXIT_NONE;
            send(r, &e);
        }
    }
}

static void note_evictions(struct run *r, int64_t evicted[], int *count) {
    for (size_t i = 0; i < r->w.plan.count; i++) {
        const struct event *e = &r->w.plan.decisions[i];
        if (e->type != EVENT_JOB_STOP || e->cause != STOP_PREEMPTED)
            continue;
        for (int k = 0; k < *count; k++)
            if (evicted[k] == e->job)
                error_set(&r->w.broken, ERR_FAILED, "job %lld is evicted twice while nothing else happens", (long long)e->job);
        if (*count < EVICTED_MAX)
            evicted[(*count)++] = e->job;
    }
}

/* While time stands still and nobody comes or ends, decisions and what follows from them come to an end: in at most so many steps as there
 * are jobs, elements twice, and nobody is evicted twice. */
static void freeze(struct run *r) {
    int64_t evicted[EVICTED_MAX];
    int count = 0, steps = 0, jobs = r->w.c.job_count + 2 * (int)r->w.c.index.waiting;
    obey(r);
    if (chance(r, 70))
        r->w.now_ms += 11 * 60 * 1000;   /* then what runs has run for long enough to be stopped */
    while (!r->w.broken.code && world_decide(&r->w)) {
        note_evictions(r, evicted, &count);
        obey(r);
        if (++steps > jobs + 1)
            error_set(&r->w.broken, ERR_FAILED, "%d decisions while nothing else happens, and there are %d jobs", steps, jobs);
    }
    r->frozen++;
    r->frozen_evictions += count;
}
/* A place kept ahead is void after an hour: till then it may keep others waiting. */
static bool anything_goes_on(const struct cluster *c) { return c->index.live.count || c->index.cooling.count || c->reservation_count; }

/* From here on nothing goes wrong: all nodes are up, tasks start and end with 0. */
static void end_well(struct run *r) {
    struct event e;
    bring_up(r);
    world_settle(&r->w, 1000);
    for (int round = 0; round < 2000 && anything_goes_on(&r->w.c) && !r->w.broken.code; round++) {
        while (r->w.c.index.live.count) {
            const struct job *j = r->w.c.index.live.items[0];
            int32_t k = 0;
            while (j->placement.tasks[k].state == TASK_ENDED)
                k++;
            event_of_task(&e, EVENT_TASK_EXITED, &r->w.c, j, &j->placement.tasks[k]);
            e.kind = EXIT_CODE;
            send(r, &e);
        }
        r->w.now_ms += 60000;
        bring_up(r);   /* one that had lost a GPU under a job is taken back only now */
        world_settle(&r->w, 1000);
    }
}

/* In a strict queue, behind one that waits as well, and is looked at itself. */
static bool is_held_up(const struct cluster *c, const struct wait_reason *why) {
    const struct job *first = why->code == WAIT_PRIORITY && why->queue >= 0 ? cluster_job(c, why->blocker) : NULL;
    return first && first->queue == why->queue && first->state == JOB_PENDING && queue_policy(c, why->queue) == QUEUE_POLICY_STRICT;
}

/* What still waits must have a reason that time alone does not cure. */
static void check_nobody_starved(struct run *r) {
    for (int32_t i = 0; i < r->w.c.job_count && !r->w.broken.code; i++) {
        const struct job *j = r->w.c.jobs[i];
        struct node_wish wish = node_filter_wish(&r->w.c, j->filter);
        struct job_submission s = {.nodes = j->nodes,
                                   .gpus = j->gpus,
                                   .gpus_min = j->gpus_min,
                                   .ranks = j->ranks,
                                   .cpus_per_rank = j->cpus_per_rank,
                                   .memory_mib = j->memory_mib,
                                   .launcher = j->launcher,
                                   .topology = j->topology,
                                   .compact = j->compact,
                                   .not_preemptible = !j->preemptible,
                                   .exclusive = j->exclusive,
                                   .gpu_type = wish.gpu_type,
                                   .features = wish.features,
                                   .nodelist = wish.nodelist,
                                   .exclude = wish.exclude};
        struct wait_reason why;
        struct error err;
        policy_reason(&r->w.c, j, &why);
        if (job_state_is_final((int)j->state) || j->state == JOB_HELD || why.code == WAIT_DEPENDENCY || why.code == WAIT_QUOTA ||
            queue_closed_by(&r->w.c, j->queue) >= 0 || is_held_up(&r->w.c, &why) || !array_startable(j))
            continue;
        if (!policy_can_ever_fit(&r->w.c, &s, j->queue, &err))
            error_set(&r->w.broken, ERR_FAILED, "job %lld is %s (%s) though everything is free and it would fit", (long long)j->id,
                      job_state_name((int)j->state), wait_code_name((int)why.code));
    }
}

/* ---- what is foretold ---- */

#define BREACH(r, j, what) error_set(&(r)->w.broken, ERR_FAILED, "outlook of job %lld: %s", (long long)(j)->id, what)

/* Asking changes nothing: the same digest, and (world_replay) the same decisions as by one who was never asked. */
static void ask(struct run *r, const struct job *j, const struct job *newcomer, struct outlook *o) {
    struct outlook_asker a;
    struct arena arena = {0};
    uint64_t before = cluster_digest(&r->w.c);
    bool all[QUEUES + 1];
    memset(all, true, sizeof all);
    outlook_open(&a, &r->w.c, r->w.now_ms, newcomer, r->w.c.queue_count <= QUEUES ? all : NULL, &arena);
    outlook_ask(&a, j, o);
    outlook_close(&a);
    o->where = (struct placement){0};   /* goes with the arena */
    arena_release(&arena);
    if (cluster_digest(&r->w.c) != before)
        BREACH(r, j, "asking changed the cluster");
    if (o->verdict == OUTLOOK_WAITS && o->expected.at_ms == INT64_MAX && !*o->expected.basis && o->reason.code != WAIT_NONE)
        BREACH(r, j, "no time, and no word why");
}

/* Its arrival may give others a right: then what was free has gone to them. */
static bool others_were_planned_for(const struct run *r, int64_t job) {
    for (size_t i = 0; i < r->w.plan.count; i++) {
        const struct event *e = &r->w.plan.decisions[i];
        if (e->type == EVENT_JOB_STOP || (e->job != job && (e->type == EVENT_RESERVE || e->type == EVENT_JOB_START)))
            return true;
    }
    return false;
}

/* In a cluster at rest, a job that comes now starts at once if that was said of it, and else not. */
static void check_newcomer(struct run *r) {
    struct event e;
    struct job_after_row after[2];
    struct outlook o;
    make_submission(r, &e, after);
    e.submission.after.count = 0;
    struct job *newcomer = cluster_try_submission(&r->w.c, &e, r->w.now_ms, NULL);
    if (!newcomer)
        return;
    ask(r, newcomer, newcomer, &o);
    cluster_drop_tried(&r->w.c, newcomer);
    bool refused = send(r, &e) != 0;
    if (refused)
        error_set(&r->w.broken, ERR_FAILED, "job %lld was let in only to test", (long long)e.job);
    else
        world_decide(&r->w);
    const struct job *j = refused ? NULL : cluster_job(&r->w.c, e.job);
    if (j && !others_were_planned_for(r, j->id) && (j->state == JOB_STARTING) != (o.verdict == OUTLOOK_STARTS))
        BREACH(r, j, o.verdict == OUTLOOK_STARTS ? "it was to start at once, and did not" : "it was not to start at once, and did");
}

static void check_outlook(struct run *r) {
    struct outlook o;
    const struct job *j = any_job(r);
    if (j && (j->state == JOB_PENDING || j->state == JOB_HELD))
        ask(r, j, NULL, &o);
    check_newcomer(r);
}

void random_run(struct run *r, int64_t seed, int64_t steps, bool verbose) {
    world_init(&r->w);
    r->w.verbose = verbose;
    r->random = (uint64_t)seed * 0x2545f4914f6cdd1du;
    r->past_count = 0;
    r->crashing = chance(r, 10);
    r->administered = !r->crashing && chance(r, 25);
    r->elastic = !r->crashing && chance(r, 40);
    r->arrays = seed % 2 && seed % 10 < 6;   /* the others are as they were when they found what seeds.txt tells */
    r->typed = seed % 20 == 10 || seed % 20 == 12;
    build(r);
    for (int64_t i = 0; i < steps && !r->w.broken.code; i++) {
        one_step(r);
        if (chance(r, 5))
            freeze(r);
        if (!chance(r, 60))
            continue;
        world_settle(&r->w, 20 + 4 * r->w.c.job_count);
        if (r->foretelling && chance(r, 20) && !r->w.broken.code)
            check_outlook(r);
    }
    if (!r->w.broken.code)
        world_replay(&r->w);   /* in the midst of it: at the end most of what differed would be over */
    if (!r->w.broken.code)
        end_well(r);
    if (!r->w.broken.code)
        check_nobody_starved(r);
    if (!r->w.broken.code)
        world_replay(&r->w);
}
