/* P8 against a naive model: over random operations no start ever raises what is used above a limit (of GPUs, of a type of GPU, of a user's
 * jobs, in the queue or any above it), none happens in a drained queue, and none is refused for a limit that would have held. The model
 * knows queues by name and adds up all jobs anew for each start. OPERATIONS=N and SEED=N run others than the floor of `make test`. */
#include "tests/unit/cluster/world.h"

#include "scheduler/cluster/queue.h"

#ifdef __SANITIZE_ADDRESS__
enum { FLOOR = 200000 };
#else
enum { FLOOR = 1000000 };
#endif
enum { NODES = 6, QUEUES = 9, USERS = 4, JOBS_MAX = 200, TYPES = 3 };   /* types: none, H100, A100 */

static const char *const names[QUEUES] = {"default", "ml", "ml/a", "ml/a/x", "ml/b", "prod", "prod/a", "lab", "lab/a"};
static const char *const types[TYPES] = {"", "H100", "A100"};

struct naive_queue { bool is_there, closed; char name[QUEUE_NAME_MAX]; int64_t limit, type_limit[TYPES], per_user; };
struct naive_job { int64_t id, gpus[TYPES]; uint32_t uid; char queue[QUEUE_NAME_MAX]; bool running; };

struct model {
    struct world w;
    uint64_t random;
    struct naive_queue queues[64];
    int queue_count;
    struct naive_job jobs[JOBS_MAX];
    int job_count;
    long starts, over, closed, renames, moves;
};

static uint64_t draw(struct model *m) {
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t below(struct model *m, int64_t n) { return (int64_t)(draw(m) % (uint64_t)n); }
static bool chance(struct model *m, int percent) { return below(m, 100) < percent; }

/* ---- the model ---- */

static bool is_within(const char *name, const char *above) {
    size_t n = strlen(above);
    return !strncmp(name, above, n) && (!name[n] || name[n] == '/');
}

static struct naive_queue *queue_named(struct model *m, const char *name) {
    for (int i = 0; i < m->queue_count; i++)
        if (m->queues[i].is_there && !strcmp(m->queues[i].name, name))
            return &m->queues[i];
    return NULL;
}

/* Renames make names that are in no list: mostly one that is there. */
static const char *some_queue(struct model *m) {
    const struct naive_queue *q = &m->queues[below(m, m->queue_count)];
    return q->is_there && chance(m, 60) ? q->name : names[below(m, QUEUES)];
}

static int64_t used(const struct model *m, const char *queue, int type) {
    int64_t sum = 0;
    for (int i = 0; i < m->job_count; i++)
        for (int t = 0; t < TYPES && m->jobs[i].running && is_within(m->jobs[i].queue, queue); t++)
            sum += type < 0 || t == type ? m->jobs[i].gpus[t] : 0;
    return sum;
}

static int64_t running_of(const struct model *m, const char *queue, uint32_t uid) {
    int64_t sum = 0;
    for (int i = 0; i < m->job_count; i++)
        sum += m->jobs[i].running && m->jobs[i].uid == uid && is_within(m->jobs[i].queue, queue);
    return sum;
}

/* What the model says of a start: 0, ERR_OVER_QUOTA, or ERR_CONFLICT in a drained queue. */
static int judge(const struct model *m, const struct naive_job *j, const int64_t gpus[TYPES]) {
    bool over = false, closed = false;
    int64_t all = gpus[0] + gpus[1] + gpus[2];
    for (int i = 0; i < m->queue_count; i++) {
        const struct naive_queue *q = &m->queues[i];
        if (!q->is_there || !is_within(j->queue, q->name))
            continue;
        over |= all && q->limit != NO_LIMIT && used(m, q->name, -1) + all > q->limit;
        for (int t = 1; t < TYPES; t++)
            over |= gpus[t] && q->type_limit[t] != NO_LIMIT && used(m, q->name, t) + gpus[t] > q->type_limit[t];
        over |= q->per_user && running_of(m, q->name, j->uid) >= q->per_user;
        closed |= q->closed;
    }
    return over || closed ? over && !closed ? ERR_OVER_QUOTA : closed && !over ? ERR_CONFLICT : ERR_FAILED : 0;
}

/* ---- operations ---- */

static void add_nodes(struct model *m) {
    for (int n = 0; n < NODES; n++) {
        char name[16];
        struct gpu_inventory gpus[16];
        int64_t links[16][16];
        struct event e = event_of(EVENT_NODE_UP);
        int count = n / 2 ? 8 : 4;
        snprintf(name, sizeof name, "node%d", n);
        gpus_fill(gpus, links, count, 4, 450, 50);
        for (int g = 0; g < count; g++)
            gpus[g].type = types[n / 2];
        e.node = e.inventory.name = name;
        e.boot_id = "boot";
        e.inventory.cpus = 4096;
        e.inventory.gpus = (struct rows){(size_t)count, gpus};
        assert_int_equal(world_apply(&m->w, &e), 0);
    }
}

static int apply(struct model *m, const struct event *e) {
    cluster_forget_finished(&m->w.c, m->w.c.turn);
    m->w.c.turn++;
    return cluster_apply(&m->w.c, e, m->w.now_ms++, &m->w.err);
}

static void submit(struct model *m) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    if (m->job_count == JOBS_MAX)
        return;
    e.job = m->w.c.next_job;
    e.queue = some_queue(m);
    e.uid = below(m, USERS);
    e.submission.gpus = below(m, 8);
    int rc = apply(m, &e);
    const struct naive_queue *q = queue_named(m, e.queue);
    assert_true(rc || q);
    if (rc)
        return;
    struct naive_job *j = &m->jobs[m->job_count++];
    *j = (struct naive_job){.id = e.job, .uid = (uint32_t)e.uid};
    snprintf(j->queue, sizeof j->queue, "%s", e.queue);
}

/* A placement of `gpus` GPUs over at most two nodes, wherever some are free. False: no such place by this draw. */
static bool draw_place(struct model *m, int gpus, struct event_task tasks[2], int64_t order[2][16], size_t *count,
                       int64_t by_type[TYPES]) {
    int first = (int)below(m, NODES);
    *count = 0;
    memset(by_type, 0, TYPES * sizeof *by_type);
    for (int k = 0; k < NODES && *count < 2 && (gpus || !*count); k++) {
        int n = (first + k) % NODES;
        const struct node *node = &m->w.c.nodes[n];
        struct event_task *t = &tasks[*count];
        size_t got = 0;
        *t = (struct event_task){.node = node->name, .ranks = 1};
        for (int g = 0; g < m->w.c.shapes[node->shape].count && gpus; g++)
            if (!(node->gpus_used >> g & 1)) {
                t->gpus |= 1 << g;
                order[*count][got++] = g;
                gpus--;
            }
        t->gpu_order = (struct ints){got, order[*count]};
        by_type[n / 2] += (int64_t)got;
        *count += got || !gpus;
    }
    return !gpus;
}

static void start(struct model *m) {
    struct event e = event_of(EVENT_JOB_START);
    struct event_task tasks[2];
    int64_t order[2][16], by_type[TYPES];
    size_t count;
    if (!m->job_count)
        return;
    struct naive_job *j = &m->jobs[below(m, m->job_count)];
    const struct job *job = cluster_job(&m->w.c, j->id);
    if (j->running || !draw_place(m, job->gpus, tasks, order, &count, by_type))
        return;
    e.job = j->id;
    e.placement.tasks = (struct rows){count, tasks};
    int want = judge(m, j, by_type), rc = apply(m, &e);
    if (want ? !rc || (want != ERR_FAILED && rc != want) : rc)
        fail_msg("a start of job %lld in %s: %s (%s), but the model says %s", (long long)j->id, j->queue, error_name(rc),
                 rc ? m->w.err.text : "", error_name(want));
    m->starts += !rc;
    m->over += rc == ERR_OVER_QUOTA;
    m->closed += rc == ERR_CONFLICT;
    j->running = !rc;
    memcpy(j->gpus, by_type, sizeof j->gpus);
}

static void end(struct model *m) {
    if (!m->job_count)
        return;
    int at = (int)below(m, m->job_count);
    const struct job *job = cluster_job(&m->w.c, m->jobs[at].id);
    if (!m->jobs[at].running) {
        struct event e = event_of(EVENT_JOB_CANCELLED);
        e.job = m->jobs[at].id;
        assert_int_equal(apply(m, &e), 0);
    } else {
        int32_t count = job->placement.task_count;
        struct event ends[2];
        for (int32_t i = 0; i < count; i++) {
            ends[i] = task_event(&m->w, EVENT_TASK_EXITED, job->id, m->w.c.nodes[job->placement.tasks[i].node].name);
            ends[i].kind = i ? EXIT_STOPPED : EXIT_CODE;
        }
        for (int32_t i = 0; i < count; i++)
            assert_int_equal(apply(m, &ends[i]), 0);
    }
    m->jobs[at] = m->jobs[--m->job_count];
}

/* ---- the tree ---- */

static void note_spec(struct model *m, const struct queue_spec *spec) {
    struct naive_queue *q = queue_named(m, spec->queue);
    const struct queue_typed *typed = spec->typed.items;
    if (!q) {
        assert_true(m->queue_count < 64);
        for (q = m->queues; q < m->queues + m->queue_count && q->is_there; q++)
            ;
        m->queue_count += q == m->queues + m->queue_count;
        *q = (struct naive_queue){.is_there = true, .limit = NO_LIMIT, .type_limit = {NO_LIMIT, NO_LIMIT, NO_LIMIT}};
        snprintf(q->name, sizeof q->name, "%s", spec->queue);
    }
    if (spec->set & QUEUE_BIT(QUEUE_SETTING_LIMIT))
        q->limit = spec->limit;
    else if (spec->clear & QUEUE_BIT(QUEUE_SETTING_LIMIT))
        q->limit = NO_LIMIT;
    if (spec->set & QUEUE_BIT(QUEUE_SETTING_MAX_RUNNING_PER_USER))
        q->per_user = spec->max_running_per_user;
    else if (spec->clear & QUEUE_BIT(QUEUE_SETTING_MAX_RUNNING_PER_USER))
        q->per_user = 0;
    if ((spec->set | spec->clear) & QUEUE_BIT(QUEUE_SETTING_CLOSED))
        q->closed = spec->set & QUEUE_BIT(QUEUE_SETTING_CLOSED);
    for (int t = 1; t < TYPES && spec->typed.count; t++)
        if (!strcmp(typed->gpu_type, types[t]))
            q->type_limit[t] = typed->set & QUEUE_BIT(QUEUE_SETTING_LIMIT) ? typed->limit : NO_LIMIT;
}

static void give(struct model *m, int64_t *set, int64_t *clear, int setting, int percent) {
    if (chance(m, percent))
        *(chance(m, 60) ? set : clear) |= QUEUE_BIT(setting);
}

static void set_quota(struct model *m) {
    struct event e = event_of(EVENT_QUOTA_SET);
    struct queue_typed typed = {.gpu_type = types[1 + below(m, 2)]};
    struct queue_spec spec;
    queue_spec_init(&spec, some_queue(m));
    give(m, &spec.set, &spec.clear, QUEUE_SETTING_LIMIT, 50);
    give(m, &spec.set, &spec.clear, QUEUE_SETTING_MAX_RUNNING_PER_USER, 30);
    give(m, &spec.set, &spec.clear, QUEUE_SETTING_CLOSED, 8);
    spec.limit = below(m, 30);
    spec.max_running_per_user = 1 + below(m, 5);
    spec.closed = spec.set & QUEUE_BIT(QUEUE_SETTING_CLOSED);
    if (chance(m, 50)) {
        *(chance(m, 60) ? &typed.set : &typed.clear) = QUEUE_BIT(QUEUE_SETTING_LIMIT);
        typed.limit = below(m, 14);
        spec.typed = (struct rows){1, &typed};
    }
    e.drain = chance(m, 30);
    e.evict = chance(m, 10);
    e.queues = (struct rows){1, &spec};
    if (!apply(m, &e))
        note_spec(m, &spec);
}

static void rename_queue(struct model *m) {
    struct event e = event_of(EVENT_QUOTA_RENAMED);
    char old[QUEUE_NAME_MAX];
    snprintf(old, sizeof old, "%s", some_queue(m));   /* the model's own name changes below */
    e.queue = old;
    e.to = names[below(m, QUEUES)];
    if (apply(m, &e))
        return;
    m->renames++;
    for (int i = 0; i < m->queue_count; i++)
        if (m->queues[i].is_there && is_within(m->queues[i].name, e.queue)) {
            char rest[QUEUE_NAME_MAX];
            snprintf(rest, sizeof rest, "%s", m->queues[i].name + strlen(e.queue));
            snprintf(m->queues[i].name, sizeof m->queues[i].name, "%s%s", e.to, rest);
        }
    for (int i = 0; i < m->job_count; i++)
        if (is_within(m->jobs[i].queue, e.queue)) {
            char rest[QUEUE_NAME_MAX];
            snprintf(rest, sizeof rest, "%s", m->jobs[i].queue + strlen(e.queue));
            snprintf(m->jobs[i].queue, sizeof m->jobs[i].queue, "%s%s", e.to, rest);
        }
}

/* A move is no start, but raises what is used: never above a limit. */
static void delete_queue(struct model *m) {
    struct event e = event_of(EVENT_QUOTA_DELETED);
    e.queue = some_queue(m);
    e.to = chance(m, 70) ? some_queue(m) : "";
    int64_t before = *e.to ? used(m, e.to, -1) : 0;
    if (apply(m, &e))
        return;
    queue_named(m, e.queue)->is_there = false;
    for (int i = 0; i < m->job_count; i++)
        if (!strcmp(m->jobs[i].queue, e.queue)) {
            assert_true(*e.to);
            snprintf(m->jobs[i].queue, sizeof m->jobs[i].queue, "%s", e.to);
        }
    m->moves += *e.to != '\0';
    for (int i = 0; i < m->queue_count && *e.to; i++) {
        const struct naive_queue *q = &m->queues[i];
        if (q->is_there && is_within(e.to, q->name) && !is_within(e.queue, q->name) && used(m, e.to, -1) > before)
            assert_true(q->limit == NO_LIMIT || used(m, q->name, -1) <= q->limit);
    }
}

/* What the cluster keeps is what the model adds up. */
static void compare(struct model *m) {
    world_check(&m->w);
    for (int i = 0; i < m->queue_count; i++) {
        const struct naive_queue *q = &m->queues[i];
        int32_t at = q->is_there ? cluster_queue(&m->w.c, q->name) : -1;
        if (q->is_there && at < 0)
            fail_msg("there is no queue %s", q->name);
        for (int t = 0; t < TYPES && q->is_there; t++)
            assert_int_equal(m->w.c.queues[at].used_by_type[t], used(m, q->name, t));
    }
}

static void one_operation(struct model *m) {
    int64_t what = below(m, 100);
    if (what < 30)
        submit(m);
    else if (what < 65)
        start(m);
    else if (what < 88)
        end(m);
    else if (what < 95)
        set_quota(m);
    else if (what < 98)
        rename_queue(m);
    else
        delete_queue(m);
}

static void no_start_breaks_a_limit(void **state) {
    static struct model m;
    const char *operations = getenv("OPERATIONS"), *seed = getenv("SEED");
    long count = operations ? atol(operations) : FLOOR;
    m.random = seed ? strtoull(seed, NULL, 10) : 1;
    world_init(&m.w);
    add_nodes(&m);
    m.queues[m.queue_count++] =
        (struct naive_queue){.is_there = true, .name = "default", .limit = NO_LIMIT, .type_limit = {NO_LIMIT, NO_LIMIT, NO_LIMIT}};
    for (long i = 0; i < count; i++) {
        one_operation(&m);
        if (i % 512 == 0)
            compare(&m);
    }
    compare(&m);
    printf("%ld operations: %ld starts, %ld refused by a limit, %ld in drained queues; %ld renames, %ld moves\n", count, m.starts, m.over,
           m.closed, m.renames, m.moves);
    assert_true(m.starts > count / 50 && m.over > count / 100 && m.closed > count / 5000 && m.renames && m.moves);
    world_release(&m.w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_start_breaks_a_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
