/* Limits against a naive model: random operations of users, nodes and admins on random trees of queues, decisions of the policy, and
 * starts that nobody decided. After each of them usage is counted anew from the jobs, by the queues' names alone:
 *   the cluster counts the same;
 *   where usage is above a limit it has not risen: only a lowered limit brings that about, never a start. So it is for limits of GPUs, of a
 *   type of GPU, and of a user's running jobs, of the queue and of each above it, down to three levels;
 *   a job that can't be stopped again was started by the policy only within the guarantee of each queue above it.
 *
 * LIMIT_OPERATIONS=10000000 tries more than the floor of `make test`. */
#include "tests/unit/cluster/world.h"

enum { OPERATIONS = 1000000, OPERATIONS_A_WORLD = 2000, JOBS_MAX = 40, NODES_MAX = 5, NAMES = 9, TYPES = 3, USERS = 3 };

static const char *const names[NAMES] = {"default", "a", "a/b", "a/b/c", "a/b/d", "a/e", "f", "f/g", "h"};
static const char *const types[TYPES] = {"", "H100", "A100"};   /* of a node's GPUs, by its number */

/* What is used, by queue with those below it. */
struct use {
    int64_t gpus[NAMES], lasting[NAMES];   /* GPUs; of those, of jobs that can't be stopped again */
    int64_t of_type[NAMES][TYPES];
    int64_t jobs[NAMES][USERS];            /* that run */
};

struct model {
    struct { bool exists; int64_t guarantee, limit, type_limit[TYPES], per_user; } queues[NAMES];
    struct use use;
};

struct run {
    struct world w;
    struct model m;
    int node_gpus[NODES_MAX];
    struct event_task tasks[NODES_MAX];    /* of a start that nobody decided */
    int64_t orders[NODES_MAX][16];
};

struct counts { int64_t starts, forged, refused, lowered, lasting, of_type, of_user; };   /* the last two: at a limit by type, by user */

static uint64_t seed;

static int draw(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

/* ---- the naive model ---- */

static bool is_within(const char *queue, const char *above) {
    size_t length = strlen(above);
    return !strncmp(queue, above, length) && (!queue[length] || queue[length] == '/');
}

static int type_of(const struct cluster *c, int32_t node) {
    const char *name = c->gpu_types[c->shapes[c->nodes[node].shape].gpu_type];
    return !strcmp(name, types[1]) ? 1 : !strcmp(name, types[2]) ? 2 : 0;
}

static void count_job(const struct cluster *c, const struct job *j, int q, struct use *u) {
    u->jobs[q][j->uid] += job_state_holds_gpus((int)j->state);
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        int64_t gpus = t->state != TASK_ENDED ? __builtin_popcount(t->gpus) : 0;
        u->gpus[q] += gpus;
        u->lasting[q] += j->preemptible ? 0 : gpus;
        u->of_type[q][type_of(c, t->node)] += gpus;
    }
}

static void count_used(const struct cluster *c, struct use *u) {
    *u = (struct use){0};
    for (int32_t i = 0; i < c->job_count; i++)
        for (int q = 0; q < NAMES; q++)
            if (is_within(c->queues[c->jobs[i]->queue].name, names[q]))
                count_job(c, c->jobs[i], q, u);
}

static void check_rise(int queue, const char *what, int64_t limit, int64_t before, int64_t now) {
    if (now > limit && now > before)
        fail_msg("'%s' rose from %lld to %lld %s above its limit of %lld", names[queue], (long long)before, (long long)now, what,
                 (long long)limit);
}

static void check(struct run *r) {
    struct model *m = &r->m;
    struct use before = m->use;
    count_used(&r->w.c, &m->use);
    for (int q = 0; q < NAMES; q++) {
        int32_t at = cluster_queue(&r->w.c, names[q]);
        assert_int_equal(at >= 0, m->queues[q].exists);
        assert_int_equal(m->use.gpus[q], at >= 0 ? r->w.c.queues[at].gpus_used : 0);
        if (m->queues[q].limit != NO_LIMIT)
            check_rise(q, "GPUs", m->queues[q].limit, before.gpus[q], m->use.gpus[q]);
        for (int t = 1; t < TYPES; t++)
            if (m->queues[q].type_limit[t] != NO_LIMIT)
                check_rise(q, types[t], m->queues[q].type_limit[t], before.of_type[q][t], m->use.of_type[q][t]);
        for (int u = 0; u < USERS && m->queues[q].per_user; u++)
            check_rise(q, "jobs of a user", m->queues[q].per_user, before.jobs[q][u], m->use.jobs[q][u]);
    }
}

/* Until an admin has set a quota, all is default's. */
static int64_t guarantee_of(const struct run *r, int queue) {
    bool set = r->m.queues[0].guarantee || r->m.queues[0].limit != NO_LIMIT;
    for (int q = 1; q < NAMES; q++)
        set |= r->m.queues[q].exists;
    return set ? r->m.queues[queue].guarantee : queue ? 0 : cluster_gpu_count(&r->w.c);
}

static void check_lasting(const struct run *r, const struct job *j) {
    for (int q = 0; q < NAMES; q++)
        if (is_within(r->w.c.queues[j->queue].name, names[q]) && r->m.use.lasting[q] > guarantee_of(r, q))
            fail_msg("job %lld can't be stopped again and was started beyond the guarantee of %lld GPUs of '%s'", (long long)j->id,
                     (long long)guarantee_of(r, q), names[q]);
}

/* ---- operations ---- */

static int apply_unchecked(struct run *r, const struct event *e) {
    struct cluster *c = &r->w.c;
    c->turn++;
    cluster_forget_finished(c, c->turn);
    return cluster_apply(c, e, r->w.now_ms, &r->w.err);
}

static int apply(struct run *r, const struct event *e) {
    int rc = apply_unchecked(r, e);
    check(r);
    return rc;
}

static struct job *some_job(struct run *r) { return r->w.c.job_count ? r->w.c.jobs[draw(r->w.c.job_count)] : NULL; }

static void on_some_job(struct run *r, enum event_type type) {
    struct event e = event_of(type);
    const struct job *j = some_job(r);
    e.job = j ? j->id : 1;
    apply(r, &e);
}

static void submit(struct run *r) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    if (r->w.c.job_count >= JOBS_MAX) {
        on_some_job(r, EVENT_JOB_CANCELLED);
        return;
    }
    e.job = r->w.c.next_job;
    int q = draw(NAMES);
    while (!r->m.queues[q].exists && draw(8))   /* seldom one that is not there */
        q = draw(NAMES);
    e.queue = names[q];
    e.uid = draw(USERS);
    e.submission = (struct job_submission){.gpus = draw(8), .priority = draw(3), .retries = draw(2), .not_preemptible = !draw(4),
                                           .hold = !draw(20), .grace_ms = draw(2) * 1000, .time_limit_ms = draw(4) ? 0 : 5000};
    apply(r, &e);
}

/* All its tasks say the same. */
static void report(struct run *r, const struct job *j, enum event_type type) {
    int64_t id = j->id;
    int32_t attempt = j->attempt;
    for (int32_t i = 0; (j = cluster_job(&r->w.c, id)) && j->attempt == attempt && i < j->placement.task_count; i++) {
        struct event e = task_event(&r->w, type, id, r->w.c.nodes[j->placement.tasks[i].node].name);
        e.kind = j->state == JOB_STOPPING ? EXIT_YIELDED : EXIT_CODE;
        e.status = draw(3) == 0;
        apply(r, &e);
    }
}

static void report_some(struct run *r, bool stopping) {
    for (int i = 0; i < 8; i++) {
        const struct job *j = some_job(r);
        if (j && j->placement.task_count && (!stopping || j->state == JOB_STOPPING)) {
            report(r, j, stopping || draw(2) ? EVENT_TASK_EXITED : EVENT_TASK_STARTED);
            return;
        }
    }
}

static void set_quota(struct run *r, struct counts *n) {
    struct event e = event_of(EVENT_QUOTA_SET);
    int q = draw(NAMES);
    e.queue = names[q];
    e.guarantee = draw(2) ? draw(8) : 0;
    e.limit = draw(3) ? e.guarantee + draw(12) : NO_LIMIT;
    e.weight = 1 + draw(3);
    e.drain = draw(2);
    if (!apply_unchecked(r, &e)) {
        r->m.queues[q].exists = true;
        r->m.queues[q].guarantee = e.guarantee;
        r->m.queues[q].limit = e.limit;
        n->lowered += e.limit != NO_LIMIT && e.limit < r->m.use.gpus[q];
    }
    check(r);
}

/* By type, or by user. */
static void set_other_limit(struct run *r) {
    struct event e = event_of(EVENT_QUOTA_SET);
    struct queue_typed typed = {.gpu_type = types[1 + draw(TYPES - 1)], .limit = draw(8)};
    struct queue_spec spec;
    int q = draw(NAMES), of_type = draw(2), clear = !draw(3);
    if (!r->m.queues[q].exists)
        return;
    queue_spec_init(&spec, names[q]);
    spec.max_running_per_user = 1 + draw(3);
    if (of_type) {
        *(clear ? &typed.clear : &typed.set) = QUEUE_BIT(QUEUE_SETTING_LIMIT);
        spec.typed = (struct rows){1, &typed};
    } else {
        *(clear ? &spec.clear : &spec.set) = QUEUE_BIT(QUEUE_SETTING_MAX_RUNNING_PER_USER);
    }
    e.drain = draw(2);
    e.queues = (struct rows){1, &spec};
    if (!apply_unchecked(r, &e)) {
        if (of_type)
            r->m.queues[q].type_limit[strcmp(typed.gpu_type, types[1]) ? 2 : 1] = clear ? NO_LIMIT : typed.limit;
        else
            r->m.queues[q].per_user = clear ? 0 : spec.max_running_per_user;
    }
    check(r);
}

static void forget_limits(struct model *m, int queue) {
    m->queues[queue].guarantee = m->queues[queue].per_user = 0;
    m->queues[queue].limit = NO_LIMIT;
    for (int t = 0; t < TYPES; t++)
        m->queues[queue].type_limit[t] = NO_LIMIT;
}

static void delete_quota(struct run *r) {
    struct event e = event_of(EVENT_QUOTA_DELETED);
    int q = draw(NAMES);
    e.queue = names[q];
    if (!apply_unchecked(r, &e)) {
        r->m.queues[q].exists = false;
        forget_limits(&r->m, q);
    }
    check(r);
}

static void node_up(struct run *r, int i) {
    struct gpu_inventory gpus[16];
    int64_t links[16][16];
    char name[16];
    struct event e = event_of(EVENT_NODE_UP);
    snprintf(name, sizeof name, "node%d", i);
    gpus_fill(gpus, links, r->node_gpus[i], 4, 450, 50);
    for (int g = 0; g < r->node_gpus[i]; g++)
        gpus[g].type = types[i % TYPES];
    e.node = e.inventory.name = name;
    e.boot_id = draw(4) ? "first" : "second";
    e.inventory.rack = "rack0";
    e.inventory.cpus = 64;
    e.inventory.memory_mib = 100000;
    e.inventory.nic_gbs = 25;
    e.inventory.gpus = (struct rows){(size_t)r->node_gpus[i], gpus};
    assert_ok(world_apply(&r->w, &e), &r->w.err);
    check(r);
}

static void on_some_node(struct run *r) {
    static const enum event_type events[] = {EVENT_NODE_DRAINED, EVENT_NODE_LOST, EVENT_NODE_EXPIRED, EVENT_NODE_RESUMED};
    int node = draw(r->w.c.node_count), what = draw(8);
    struct event e = event_of(events[what < 3 ? what : 3]);
    e.node = r->w.c.nodes[node].name;
    apply(r, &e);
    if (what >= 3)
        node_up(r, node);
}

/* ---- a start that nobody decided: the cluster itself must refuse it where it exceeds a limit ---- */

/* On the first GPUs that are free, from some node on. */
static bool place_somewhere(struct run *r, const struct job *j, struct event *e) {
    const struct cluster *c = &r->w.c;
    int first = draw(c->node_count), missing = j->gpus;
    size_t count = 0;
    for (int32_t i = 0; i < c->node_count && missing; i++) {
        const struct node *n = &c->nodes[(first + i) % c->node_count];
        struct event_task *t = &r->tasks[count];
        *t = (struct event_task){.node = n->name, .ranks = 1, .gpu_order = {0, r->orders[count]}};
        for (int g = 0; g < c->shapes[n->shape].count && missing; g++)
            if (!(n->gpus_used >> g & 1)) {
                t->gpus |= 1 << g;
                r->orders[count][t->gpu_order.count++] = g;
                missing--;
            }
        count += t->gpus != 0;
    }
    e->job = j->id;
    e->placement.tasks = (struct rows){count, r->tasks};
    return !missing && count;
}

static bool exceeds(const struct run *r, const struct job *j, const struct event *start, struct counts *n) {
    const struct event_task *tasks = start->placement.tasks.items;
    const struct use *use = &r->m.use;
    int64_t of_type[TYPES] = {0};
    bool over = false;
    for (size_t i = 0; i < start->placement.tasks.count; i++)
        of_type[type_of(&r->w.c, cluster_node(&r->w.c, tasks[i].node))] += __builtin_popcount((unsigned)tasks[i].gpus);
    for (int q = 0; q < NAMES; q++) {
        if (!is_within(r->w.c.queues[j->queue].name, names[q]))
            continue;
        over |= r->m.queues[q].limit != NO_LIMIT && use->gpus[q] + j->gpus > r->m.queues[q].limit;
        bool by_user = r->m.queues[q].per_user && use->jobs[q][j->uid] >= r->m.queues[q].per_user, by_type = false;
        for (int t = 1; t < TYPES; t++)
            by_type |= of_type[t] && r->m.queues[q].type_limit[t] != NO_LIMIT &&
                       use->of_type[q][t] + of_type[t] > r->m.queues[q].type_limit[t];
        n->of_user += by_user;
        n->of_type += by_type;
        over |= by_user || by_type;
    }
    return over;
}

static void forge_start(struct run *r, struct counts *n) {
    struct event e = event_of(EVENT_JOB_START);
    const struct job *j = some_job(r);
    if (!j || j->state != JOB_PENDING || !j->preemptible || !place_somewhere(r, j, &e))
        return;
    bool over = exceeds(r, j, &e, n);
    int rc = apply(r, &e);
    assert_true(!over || rc);
    n->refused += over && rc == ERR_OVER_QUOTA;
    n->forged += !rc;
}

/* ---- decisions ---- */

static void decide(struct run *r, struct counts *n) {
    struct world *w = &r->w;
    w->now_ms += draw(3000);
    w->c.turn++;
    cluster_forget_finished(&w->c, w->c.turn);
    arena_reset(&w->arena);
    policy_decide(&w->c, w->now_ms, &w->arena, &w->plan);
    for (size_t i = 0; i < w->plan.count; i++) {
        const struct event *e = &w->plan.decisions[i];
        if (cluster_apply(&w->c, e, w->now_ms, &w->err))
            fail_msg("%s of job %lld was decided and refused: %s", event_type_name((int)e->type), (long long)e->job, w->err.text);
        check(r);
        const struct job *j = cluster_job(&w->c, e->job);
        if (e->type != EVENT_JOB_START || !j->gpus)
            continue;
        n->starts++;
        n->lasting += !j->preemptible;
        if (!j->preemptible)
            check_lasting(r, j);
    }
}

/* ---- runs ---- */

static void operate(struct run *r, struct counts *n) {
    int what = draw(100);
    if (what < 25)
        submit(r);
    else if (what < 45)
        decide(r, n);
    else if (what < 55)
        forge_start(r, n);
    else if (what < 68)
        report_some(r, false);
    else if (what < 80)
        report_some(r, true);
    else if (what < 84)
        on_some_job(r, EVENT_JOB_CANCELLED);
    else if (what < 86)
        on_some_job(r, EVENT_JOB_REQUEUED);
    else if (what < 88)
        on_some_job(r, EVENT_JOB_RELEASED);
    else if (what < 93)
        set_quota(r, n);
    else if (what < 95)
        set_other_limit(r);
    else if (what < 97)
        delete_quota(r);
    else
        on_some_node(r);
}

static void begin(struct run *r) {
    *r = (struct run){.m.queues[0] = {.exists = true}};
    for (int q = 0; q < NAMES; q++)
        forget_limits(&r->m, q);
    world_init(&r->w);
    for (int i = 0, nodes = 1 + draw(NODES_MAX); i < nodes; i++) {
        r->node_gpus[i] = 1 + draw(8);
        node_up(r, i);
    }
}

static int64_t operations(void) {
    const char *text = getenv("LIMIT_OPERATIONS");
    return text ? atoll(text) : OPERATIONS;
}

static void no_start_exceeds_a_limit(void **state) {
    (void)state;
    struct counts n = {0};
    for (int64_t done = 0; done < operations();) {
        struct run r;
        seed = (uint64_t)done + 1;
        begin(&r);
        for (int i = 0; i < OPERATIONS_A_WORLD && done < operations(); i++, done++) {
            operate(&r, &n);
            if (i % 100 == 0)
                world_check(&r.w);
        }
        world_release(&r.w);
    }
    print_message("%lld operations: %lld starts decided, %lld of them for good; %lld forged and %lld refused; %lld limits set below use; "
                  "%lld and %lld starts would have been over a limit by type, by user\n",
                  (long long)operations(), (long long)n.starts, (long long)n.lasting, (long long)n.forged, (long long)n.refused,
                  (long long)n.lowered, (long long)n.of_type, (long long)n.of_user);
    assert_true(n.starts > operations() / 100 && n.lasting && n.forged && n.refused && n.lowered && n.of_type && n.of_user);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_start_exceeds_a_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
