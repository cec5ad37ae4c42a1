/* Replays a trace; see trace_replay.h. Job i of the trace is job i + 1 of the cluster. */
#include "scheduler/sim/trace_replay.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "scheduler/sim/trace_heap.h"
#include "scheduler/sim/trace_yardstick.h"
#include "scheduler/sim/world.h"

/* A run of a job: it restarts for a while, then it works. */
struct attempt { int64_t start_ms, work_from_ms, kept_ms /* work that a restart finds done */; };

struct replay {
    const struct trace *t;
    const struct trace_settings *settings;
    struct measure *m;
    struct cluster c;
    struct arena arena, event_arena;
    struct plan plan;
    struct yardstick yard;
    struct trace_heap heap;      /* by job: its next checkpoint or its end */
    struct attempt *attempts;
    int64_t submitted, finished, now_ms;
    bool tells_checkpoints;      /* the yardsticks evict nobody: then nobody asks when they were */
};

static int apply(struct replay *r, const struct event *e, struct error *err) {
    int rc = cluster_apply(&r->c, e, r->now_ms, err);
    return rc ? error_wrap(err, "at %lld s: %s of job %lld", (long long)(r->now_ms / 1000), event_type_name((int)e->type),
                           (long long)e->job)
              : 0;
}

/* ---- the cluster as it is before the first job ---- */

static int register_nodes(struct replay *r, struct error *err) {
    struct node_shape shape = {.gpus = r->t->gpus_per_node, .island = r->t->gpus_per_node, .fast_gbs = 450, .slow_gbs = 50,
                               .cpus = 1 << 20, .nic_gbs = 50};   /* only GPUs are scarce here */
    int rc = 0;
    for (int32_t i = 0; i < r->t->nodes && !rc; i++) {
        struct event e;
        char name[16];
        snprintf(name, sizeof name, "node%05d", i);
        arena_reset(&r->event_arena);
        event_of_node_up(&e, name, "rack0", "boot", &shape, &r->event_arena);
        rc = apply(r, &e, err);
    }
    return rc;
}

static int set_queue(struct replay *r, struct queue_spec *spec, int64_t guarantee, int64_t weight, enum queue_policy policy,
                     struct error *err) {
    struct event e;
    spec->set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE) | QUEUE_BIT(QUEUE_SETTING_WEIGHT) | QUEUE_BIT(QUEUE_SETTING_POLICY) |
                QUEUE_BIT(QUEUE_SETTING_DEFAULT_TIME);
    spec->guarantee = guarantee;
    spec->weight = weight;
    spec->policy = policy;
    spec->default_time_ms = r->settings->default_limit_ms;
    event_init(&e, EVENT_QUOTA_SET);
    e.queues = (struct rows){1, spec};
    return cluster_apply(&r->c, &e, r->now_ms, err);
}

static int set_queues(struct replay *r, struct error *err) {
    struct queue_spec spec;
    queue_spec_init(&spec, "default");
    if (r->settings->one_queue)
        return set_queue(r, &spec, cluster_gpu_count(&r->c), 1, r->settings->one_queue, err);
    for (int32_t i = 0; i < r->t->queue_count; i++) {
        const struct trace_queue *q = &r->t->queues[i];
        queue_spec_init(&spec, q->name);
        int rc = set_queue(r, &spec, q->guarantee, q->weight, QUEUE_POLICY_FAIR, err);
        if (rc)
            return error_wrap(err, "%s:%lld", r->t->quotas_path ? r->t->quotas_path : "jobs", (long long)q->line);
    }
    return 0;
}

/* ---- what happens to jobs ---- */

/* "1.5,start,7,,0:8 3:4": when, what, whose (by the line of the jobs' file), for whom, and how many GPUs of which node. */
static void note(const struct replay *r, const char *what, int32_t i) {
    const struct job *j = cluster_job(&r->c, i + 1);
    if (!r->settings->log)
        return;
    fprintf(r->settings->log, "%.3f,%s,%lld,", (double)r->now_ms / 1000, what, (long long)r->t->jobs[i].line);
    if (j->stop_for)
        fprintf(r->settings->log, "%lld", (long long)r->t->jobs[j->stop_for - 1].line);
    for (int32_t k = 0; k < j->placement.task_count; k++)
        fprintf(r->settings->log, "%c%d:%d", k ? ' ' : ',', j->placement.tasks[k].node, __builtin_popcount(j->placement.tasks[k].gpus));
    fputs(j->placement.task_count ? "\n" : ",\n", r->settings->log);
}

static int submit(struct replay *r, int32_t i, struct error *err) {
    const struct trace_job *j = &r->t->jobs[i];
    struct event e;
    event_init(&e, EVENT_JOB_SUBMITTED);
    e.job = i + 1;
    e.queue = r->settings->one_queue ? "default" : r->t->queues[j->queue].name;
    e.uid = j->user;
    e.submission.gpus = j->gpus;
    e.submission.priority = j->priority;
    e.submission.estimate_ms = j->estimate_ms;
    e.submission.launcher = LAUNCHER_MPIRUN;
    e.submission.grace_ms = r->settings->grace_ms;
    e.submission.compact = true;   /* as the metrics have it */
    e.submission.not_preemptible = r->settings->one_queue;
    measure_submit(r->m, i);
    int rc = apply(r, &e, err);
    if (!rc)
        note(r, "submit", i);
    return rc;
}

static int report_tasks(struct replay *r, int32_t i, enum event_type type, enum exit_kind kind, int64_t step, struct error *err) {
    const struct job *j = cluster_job(&r->c, i + 1);
    int32_t attempt = j->attempt, count = j->placement.task_count;
    int rc = 0;
    for (int32_t k = 0; k < count && !rc; k++) {
        struct event e;
        if (j->attempt != attempt || !j->placement.task_count)   /* the last end of a gang ends its attempt */
            break;
        event_of_task(&e, type, &r->c, j, &j->placement.tasks[k]);
        e.kind = kind;
        e.step = step;
        rc = apply(r, &e, err);
    }
    return rc;
}

static int64_t end_of(const struct replay *r, int32_t i) {
    const struct attempt *a = &r->attempts[i];
    return a->work_from_ms + r->t->jobs[i].duration_ms - a->kept_ms;
}

static void set_next(struct replay *r, int32_t i, int64_t checkpoint_ms) {
    bool tell = r->tells_checkpoints && r->settings->checkpoint_interval_ms && checkpoint_ms < end_of(r, i);
    trace_heap_set(&r->heap, i, tell ? checkpoint_ms : end_of(r, i));
}

static int start(struct replay *r, int32_t i, struct error *err) {
    struct attempt *a = &r->attempts[i];
    bool again = cluster_job(&r->c, i + 1)->attempt > 1;
    a->start_ms = r->now_ms;
    a->work_from_ms = r->now_ms + (again ? r->settings->restart_cost_ms : 0);
    measure_start(r->m, i);
    note(r, "start", i);
    set_next(r, i, a->work_from_ms + r->settings->checkpoint_interval_ms);
    return report_tasks(r, i, EVENT_TASK_STARTED, EXIT_NONE, -1, err);
}

static int64_t work_of(const struct replay *r, int32_t i) {
    return r->now_ms > r->attempts[i].work_from_ms ? r->now_ms - r->attempts[i].work_from_ms : 0;
}

/* It yields with a checkpoint where it was asked to; else it is back where its last one was. */
static int stop(struct replay *r, int32_t i, struct error *err) {
    const struct job *j = cluster_job(&r->c, i + 1);
    struct attempt *a = &r->attempts[i];
    struct trace_fate *f = &r->m->fates[i];
    bool asked = j->checkpoint_asked;
    int64_t work = work_of(r, i), interval = r->settings->checkpoint_interval_ms;
    int64_t kept = asked ? work : interval ? work - work % interval : 0;
    f->rerun_ms += work - kept;
    f->restart_ms += (work ? a->work_from_ms : r->now_ms) - a->start_ms;
    a->kept_ms += kept;
    trace_heap_remove(&r->heap, i);
    note(r, j->stop_cause == STOP_PREEMPTED ? "evict" : "move", i);
    if (j->stop_cause == STOP_PREEMPTED)
        measure_evict(r->m, i);
    else
        measure_move(r->m, i);
    return report_tasks(r, i, EVENT_TASK_EXITED, asked ? EXIT_YIELDED : EXIT_STOPPED, asked ? a->kept_ms : -1, err);
}

static int finish(struct replay *r, int32_t i, struct error *err) {
    r->m->fates[i].restart_ms += r->attempts[i].work_from_ms - r->attempts[i].start_ms;
    trace_heap_remove(&r->heap, i);
    note(r, "finish", i);
    measure_finish(r->m, i);
    r->finished++;
    return report_tasks(r, i, EVENT_TASK_EXITED, EXIT_CODE, -1, err);
}

static int checkpoint(struct replay *r, int32_t i, struct error *err) {
    const struct job *j = cluster_job(&r->c, i + 1);
    struct event e;
    event_of_task(&e, EVENT_CHECKPOINTED, &r->c, j, &j->placement.tasks[0]);
    e.step = r->attempts[i].kept_ms + work_of(r, i);
    set_next(r, i, r->now_ms + r->settings->checkpoint_interval_ms);
    return apply(r, &e, err);
}

/* ---- one moment ---- */

static int take_facts(struct replay *r, struct error *err) {
    int rc = 0;
    while (!rc && trace_heap_first_ms(&r->heap) <= r->now_ms) {
        int32_t i = trace_heap_first(&r->heap);
        rc = r->now_ms >= end_of(r, i) ? finish(r, i, err) : checkpoint(r, i, err);
    }
    while (!rc && r->submitted < r->t->job_count && r->t->jobs[r->submitted].submit_ms <= r->now_ms)
        rc = submit(r, (int32_t)r->submitted++, err);
    return rc;
}

/* GPUs that were asked for: each job once, for whom this plan evicts others. What is stopped for one job stands together, moved ones among
 * them. */
static void count_asked(struct replay *r) {
    int64_t asked = 0;
    for (size_t k = 0; k < r->plan.count; k++) {
        const struct event *e = &r->plan.decisions[k];
        if (e->type != EVENT_JOB_STOP || e->cause != STOP_PREEMPTED || !e->other || e->other == asked)
            continue;
        asked = e->other;
        measure_asked(r->m, r->t->jobs[asked - 1].gpus);
    }
}

static int follow(struct replay *r, const struct event *e, struct error *err) {
    if (e->type == EVENT_JOB_START)
        return start(r, (int32_t)e->job - 1, err);
    if (e->type == EVENT_JOB_STOP && (e->cause == STOP_PREEMPTED || e->cause == STOP_MOVED))
        return stop(r, (int32_t)e->job - 1, err);
    if (e->type == EVENT_RESERVE || e->type == EVENT_UNRESERVE)
        return 0;
    return error_set(err, ERR_FAILED, "at %lld s: %s of job %lld: a trace has no cause for that", (long long)(r->now_ms / 1000),
                     event_type_name((int)e->type), (long long)e->job);
}

static int decide(struct replay *r, struct error *err) {
    int rc = 0;
    arena_reset(&r->arena);
    if (r->settings->decider == DECIDE_POLICY)
        policy_decide(&r->c, r->now_ms, &r->arena, &r->plan);
    else
        yardstick_decide(&r->yard, &r->c, r->submitted, r->now_ms, &r->arena, &r->plan);
    for (size_t k = 0; k < r->plan.count && !rc; k++) {
        price_count(&r->m->prices, &r->c, &r->plan, k, r->now_ms, &r->arena);
        rc = apply(r, &r->plan.decisions[k], err);
    }
    count_asked(r);
    for (size_t k = 0; k < r->plan.count && !rc; k++)
        rc = follow(r, &r->plan.decisions[k], err);
    return rc;
}

static bool wants_another(const struct replay *r) {
    return r->settings->decider == DECIDE_POLICY && (r->plan.count || cluster_next_deadline_ms(&r->c) <= r->now_ms);
}

static int one_moment(struct replay *r, struct error *err) {
    int64_t turns_left = 1000 + r->t->job_count;
    r->c.turn++;
    cluster_forget_finished(&r->c, r->c.turn);
    int rc = take_facts(r, err);
    do {
        if (!rc)
            rc = decide(r, err);
    } while (!rc && wants_another(r) && --turns_left);
    if (!rc && !turns_left)
        return error_set(err, ERR_FAILED, "at %lld s: the policy comes to no end", (long long)(r->now_ms / 1000));
    measure_settle(r->m, &r->c);
    return rc;
}

/* ---- the whole ---- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t next_moment(const struct replay *r) {
    int64_t next = trace_heap_first_ms(&r->heap);
    if (r->submitted < r->t->job_count)
        next = least(next, r->t->jobs[r->submitted].submit_ms);
    return r->settings->decider == DECIDE_POLICY ? least(next, cluster_next_deadline_ms(&r->c)) : next;
}

static int run(struct replay *r, struct error *err) {
    int rc = 0;
    while (!rc && r->finished < r->t->job_count) {
        int64_t next = next_moment(r);
        if (next == INT64_MAX)
            return error_set(err, ERR_FAILED, "at %lld s: %lld jobs wait and nothing will ever happen", (long long)(r->now_ms / 1000),
                             (long long)(r->submitted - r->finished));
        measure_advance(r->m, next);
        r->now_ms = next;
        rc = one_moment(r, err);
    }
    return rc;
}

int trace_replay(const struct trace *t, const struct trace_settings *s, struct measure *m, struct error *err) {
    struct replay r = {.t = t, .settings = s, .m = m, .tells_checkpoints = s->decider == DECIDE_POLICY};
    int rc;
    cluster_init(&r.c);
    trace_heap_init(&r.heap, (int32_t)t->job_count);
    r.attempts = xcalloc((size_t)t->job_count, sizeof *r.attempts);
    yardstick_init(&r.yard, t, s->decider == DECIDE_STATIC);
    if (!(rc = register_nodes(&r, err)) && !(rc = set_queues(&r, err)))
        rc = run(&r, err);
    yardstick_release(&r.yard);
    free(r.attempts);
    trace_heap_release(&r.heap);
    cluster_release(&r.c);
    arena_release(&r.arena);
    arena_release(&r.event_arena);
    return rc;
}
