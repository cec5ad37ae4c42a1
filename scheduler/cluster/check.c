/* Every invariant of cluster.h, computed anew from the jobs and compared. Slow on purpose: for tests, simulation and fsck. */
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/cluster.h"
#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/ranking.h"

#define BREACH(...) error_set(err, ERR_FAILED, __VA_ARGS__)

struct sums {
    uint32_t *gpus;
    int64_t *cpus, *memory_mib, *queue_gpus, *queue_fixed, (*queue_types)[GPU_TYPES_MAX], *queue_waiting, *account_gpus;
    int32_t *queue_jobs, *queue_classes;
};

static int check_task(const struct cluster *c, const struct job *j, const struct task *t, struct sums *s, struct error *err) {
    if (t->node < 0 || t->node >= c->node_count)
        return BREACH("job %lld has a task on no node", (long long)j->id);
    if (t->state == TASK_ENDED)
        return 0;
    if (t->gpus >> c->shapes[c->nodes[t->node].shape].count)
        return BREACH("job %lld holds GPUs that node %s has not", (long long)j->id, c->nodes[t->node].name);
    if (s->gpus[t->node] & t->gpus)
        return BREACH("job %lld holds GPUs of node %s that another live task holds", (long long)j->id, c->nodes[t->node].name);
    s->gpus[t->node] |= t->gpus;
    s->cpus[t->node] += t->cpus;
    s->memory_mib[t->node] += t->memory_mib;
    for (int32_t q = j->queue; q >= 0; q = c->queues[q].parent) {
        s->queue_gpus[q] += __builtin_popcount(t->gpus);
        s->queue_fixed[q] += j->preemptible ? 0 : __builtin_popcount(t->gpus);
        s->queue_types[q][c->shapes[c->nodes[t->node].shape].gpu_type] += __builtin_popcount(t->gpus);
    }
    s->account_gpus[j->account] += __builtin_popcount(t->gpus);
    return 0;
}

/* Each element once: waiting with the array, a job of its own, or over. */
static int check_array(const struct cluster *c, const struct job *j, struct error *err) {
    const struct job_array *a = j->array;
    int32_t ended = 0, out = 0, running = 0;
    for (int i = 0; i < JOB_STATE_COUNT; i++)
        ended += a->ended[i];
    for (int32_t i = 0; i < c->job_count; i++) {
        const struct job *e = c->jobs[i];
        if (e->array_id != j->id || job_state_is_final((int)e->state))
            continue;
        out++;
        running += job_state_holds_gpus((int)e->state);
        if (array_set_has(&a->waiting, e->element))
            return BREACH("element %d waits with array %lld and is job %lld", e->element, (long long)j->id, (long long)e->id);
    }
    if (a->waiting_count != array_set_count(&a->waiting) || out != a->out.count || running != a->running ||
        a->waiting_count + out + ended != a->total)
        return BREACH("array %lld counts %d waiting, %d out, %d running of %d elements; there are %d, %d, %d, and %d ended",
                      (long long)j->id, a->waiting_count, a->out.count, a->running, a->total, array_set_count(&a->waiting), out, running,
                      ended);
    if (a->limit && running > a->limit)
        return BREACH("%d elements of array %lld run; its limit is %d", running, (long long)j->id, a->limit);
    if (job_state_is_final((int)j->state) != (a->waiting_count + out == 0))
        return BREACH("array %lld is %s with %d elements left", (long long)j->id, job_state_name((int)j->state), a->waiting_count + out);
    return 0;
}

static int check_job(const struct cluster *c, const struct job *j, struct sums *s, struct error *err) {
    bool live = job_state_holds_gpus((int)j->state), final = job_state_is_final((int)j->state);
    int gpus = 0, living = 0, rc;
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        if ((rc = check_task(c, j, &j->placement.tasks[i], s, err)))
            return rc;
        gpus += __builtin_popcount(j->placement.tasks[i].gpus);
        living += j->placement.tasks[i].state != TASK_ENDED;
    }
    if (j->account < 0 || j->account >= c->account_count || c->accounts[j->account].queue != j->queue ||
        c->accounts[j->account].uid != j->uid)
        return BREACH("job %lld is charged to another's account", (long long)j->id);
    s->queue_jobs[j->queue] += !final;
    s->queue_waiting[j->queue] += j->listed == LISTED_READY || j->listed == LISTED_COOLING ? (int64_t)j->gpus_min * array_startable(j) : 0;
    if (live != (living > 0) || (!live && j->placement.task_count))
        return BREACH("job %lld is %s with %d live tasks", (long long)j->id, job_state_name((int)j->state), living);
    if (live && !job_may_hold(j, gpus))
        return BREACH("job %lld asked for %d..%d GPUs and holds %d", (long long)j->id, j->gpus_min, j->gpus, gpus);
    if (j->lease >= c->next_lease || (live && !j->lease) || j->id >= c->next_job)
        return BREACH("job %lld has lease %lld, beyond what was given out", (long long)j->id, (long long)j->lease);
    if ((j->state == JOB_STOPPING) != (j->stop_cause != STOP_NONE))
        return BREACH("job %lld is %s with stop cause %s", (long long)j->id, job_state_name((int)j->state),
                      stop_cause_name((int)j->stop_cause));
    if (j->state == JOB_STOPPING && j->checkpoint_asked != (j->kill_ms > 0))
        return BREACH("job %lld was %sasked to checkpoint, until %lld", (long long)j->id, j->checkpoint_asked ? "" : "not ",
                      (long long)j->kill_ms);
    if (j->array && (rc = check_array(c, j, err)))
        return rc;
    if (j->array_id && !final && (!j->head || j->head->array == NULL || array_element(j->head, j->element) != j))
        return BREACH("job %lld is element %d of array %lld, which does not know it", (long long)j->id, j->element, (long long)j->array_id);
    if (final != (j->end_ms >= 0))
        return BREACH("job %lld is %s and ended at %lld", (long long)j->id, job_state_name((int)j->state), (long long)j->end_ms);
    return 0;
}

static int check_queue(const struct cluster *c, int32_t i, const struct sums *s, struct error *err) {
    const struct queue *q = &c->queues[i];
    if (q->gpus_fixed != s->queue_fixed[i])
        return BREACH("queue %s counts %lld GPUs of jobs that can't be stopped; they hold %lld", q->name, (long long)q->gpus_fixed,
                      (long long)s->queue_fixed[i]);
    if (q->gpus_used != s->queue_gpus[i] || q->jobs != s->queue_jobs[i])
        return BREACH("queue %s counts %lld GPUs and %d jobs; its jobs are %lld and %d", q->name, (long long)q->gpus_used, q->jobs,
                      (long long)s->queue_gpus[i], s->queue_jobs[i]);
    for (int32_t t = 0; t < GPU_TYPES_MAX; t++)
        if (q->used_by_type[t] != s->queue_types[i][t])
            return BREACH("queue %s counts %lld GPUs of type %d; its jobs hold %lld", q->name, (long long)q->used_by_type[t], t,
                          (long long)s->queue_types[i][t]);
    if (q->gpus_waiting != s->queue_waiting[i])
        return BREACH("queue %s counts %lld GPUs that its jobs wait for; they wait for %lld", q->name, (long long)q->gpus_waiting,
                      (long long)s->queue_waiting[i]);
    if (queue_is_over(q) != q->draining || (q->evicting && !q->draining))
        return BREACH("queue %s uses %lld GPUs, its limit is %lld, and it is %sdraining", q->name, (long long)q->gpus_used,
                      (long long)q->limit, q->draining ? "" : "not ");
    if (!q->deleted && q->parent >= 0 && (c->queues[q->parent].deleted || strncmp(q->name, c->queues[q->parent].name,
                                                                                  strlen(c->queues[q->parent].name))))
        return BREACH("queue %s is below %s, which is not its parent by name", q->name, c->queues[q->parent].name);
    return 0;
}

static int check_sums(const struct cluster *c, const struct sums *s, struct error *err) {
    int64_t gpus[GPU_TYPES_MAX] = {0}, sum = 0;
    for (int32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];
        if (cluster_node(c, n->name) != i)
            return BREACH("node %s is not found by its name", n->name);
        gpus[c->shapes[n->shape].gpu_type] += c->shapes[n->shape].count;
        sum += c->shapes[n->shape].count;
        if (n->gpus_used != s->gpus[i] || n->cpus_used != s->cpus[i] || n->memory_used_mib != s->memory_mib[i])
            return BREACH("node %s counts GPUs %x, %d cpus, %lld MiB in use; its tasks hold %x, %lld, %lld", n->name, n->gpus_used,
                          n->cpus_used, (long long)n->memory_used_mib, s->gpus[i], (long long)s->cpus[i], (long long)s->memory_mib[i]);
    }
    if (sum != cluster_gpu_count(c) || memcmp(gpus, c->index.gpus_by_type, sizeof gpus))
        return BREACH("%lld GPUs are registered, %lld are counted, or their types differ", (long long)sum,
                      (long long)cluster_gpu_count(c));
    int rc = 0;
    for (int32_t i = 0; i < c->queue_count && !rc; i++)
        rc = check_queue(c, i, s, err);
    for (int32_t i = 0; i < c->account_count && !rc; i++)
        if (c->accounts[i].gpus_used != s->account_gpus[i])
            rc = BREACH("user %u counts %lld GPUs in queue %s; the jobs hold %lld", c->accounts[i].uid,
                        (long long)c->accounts[i].gpus_used, c->queues[c->accounts[i].queue].name, (long long)s->account_gpus[i]);
    return rc;
}

/* Each user's jobs, counted anew at the first of them. */
static int check_users(const struct cluster *c, struct error *err) {
    struct user_counts again = {0};
    int64_t waiting = 0;
    int rc = 0;
    for (int32_t i = 0; i < c->job_count; i++) {
        const struct job *j = c->jobs[i];
        bool running = job_state_holds_gpus((int)j->state);
        waiting += running || job_state_is_final((int)j->state) ? 0 : array_waiting(j);
        for (int32_t q = j->queue; q >= 0 && !job_state_is_final((int)j->state); q = c->queues[q].parent)
            user_counts_add(&again, q, j->uid, running, running ? 0 : array_waiting(j));
    }
    for (int32_t i = 0; i < c->job_count && !rc; i++)
        for (int32_t q = c->jobs[i]->queue; q >= 0 && !rc; q = c->queues[q].parent) {
            struct user_count have = user_counts_of(&c->index.users, q, c->jobs[i]->uid), want = user_counts_of(&again, q, c->jobs[i]->uid);
            if (have.running != want.running || have.pending != want.pending)
                rc = BREACH("user %u has %d running and %d waiting jobs in queue %s; counted are %d and %d", want.uid, want.running,
                            want.pending, c->queues[q].name, have.running, have.pending);
        }
    user_counts_release(&again);
    if (!rc && waiting != c->index.waiting)
        rc = BREACH("%lld jobs wait; counted are %lld", (long long)waiting, (long long)c->index.waiting);
    return rc;
}

static int check_order(const struct cluster *c, struct error *err) {
    for (int32_t i = 1; i < c->job_count; i++)
        if (c->jobs[i - 1]->id >= c->jobs[i]->id)
            return BREACH("jobs %lld and %lld are out of order", (long long)c->jobs[i - 1]->id, (long long)c->jobs[i]->id);
    return 0;
}

static int check_reservations(const struct cluster *c, struct error *err) {
    uint32_t *kept = xcalloc((size_t)c->node_count + 1, sizeof *kept);
    int rc = 0;
    for (int32_t i = 0; i < c->reservation_count && !rc; i++) {
        const struct reservation *r = &c->reservations[i];
        const struct job *j = cluster_job(c, r->job);
        bool comes_back = j && j->state == JOB_STOPPING && r->kind == KEPT_AS_SEAT;
        if (!j || (j->state != JOB_PENDING && !comes_back) || (i && c->reservations[i - 1].job >= r->job))
            rc = BREACH("GPUs are kept for job %lld, which does not wait, or twice", (long long)r->job);
        for (int32_t k = 0; k < r->placement.task_count && r->kind != KEPT_AHEAD && !rc; k++) {
            const struct task *t = &r->placement.tasks[k];
            if (kept[t->node] & t->gpus)
                rc = BREACH("GPUs of node %s are kept for two jobs", c->nodes[t->node].name);
            kept[t->node] |= t->gpus;
        }
    }
    free(kept);
    return rc;
}

/* A queue's classes that have jobs, each once, in their order. */
static int check_ranking(const struct cluster *c, int32_t queue, int32_t classes, struct error *err) {
    const struct cluster_index *x = &c->index;
    struct ranking none = {0}, r = queue < x->ranking_count ? x->rankings[queue] : none;
    int32_t fixed = 0;
    for (int32_t i = 0; i < r.count; i++) {
        const struct ranked_class *k = &r.items[i], *before = i ? k - 1 : NULL;
        const struct wait_brief *b = &x->briefs[k->class];
        const struct demand *d = &x->classes[k->class].demand;
        fixed += b->is_fixed;
        if (!b->jobs || b->queue != queue || b->shape != k->shape || b->level != k->level || b->is_gang != k->is_gang ||
            k->priority != ranking_priority(d) ||
            (before && (before->priority < k->priority || (before->priority == k->priority && before->class >= k->class))))
            return BREACH("a class of queue %s is not what it is ranked as, or out of order", c->queues[queue].name);
    }
    if (r.count != classes || r.fixed != fixed)
        return BREACH("queue %s has %d classes of waiting jobs, %d of them of jobs that can't be stopped, and counts %d and %d",
                      c->queues[queue].name, classes, fixed, r.count, r.fixed);
    return 0;
}

/* Each job is in the list that its facts say. */
static int check_index(const struct cluster *c, const struct sums *s, struct error *err) {
    int32_t ready = 0, listed = c->index.live.count + c->index.cooling.count + c->index.after.count + c->index.ended.count, nowhere = 0;
    for (int32_t i = 0; i < c->index.class_count; i++) {
        const struct wait_class *k = &c->index.classes[i];
        int32_t jobs = 0, placed = 0;
        int64_t gpus = 0;
        for (int32_t line = 0; line < k->line_count; line++)
            if (k->lines[line].first != job_place(k->lines[line].jobs.items[0]))
                return BREACH("a line of waiting jobs begins at %lld, not where its first stands", (long long)k->lines[line].first);
        for (int32_t line = 0; line < k->line_count; line++)
            for (int32_t n = 0; n < k->lines[line].jobs.count; n++, jobs++) {
                const struct job *j = k->lines[line].jobs.items[n];
                placed += j->is_placed;
                gpus += j->is_placed ? 0 : (int64_t)array_startable(j) * j->gpus_min;
            }
        const struct wait_brief *b = &c->index.briefs[i];
        s->queue_classes[b->queue] += jobs > 0;
        if (jobs != b->jobs || placed != b->placed || (c->index.heads[i].job && c->index.heads[i].job != k->lines[0].first))
            return BREACH("a class of waiting jobs has %d, %d of them placed, and counts %d and %d", jobs, placed, b->jobs, b->placed);
        if (gpus != b->gpus)
            return BREACH("a class of waiting jobs asks for %lld GPUs, and counts %lld", (long long)gpus, (long long)b->gpus);
        if (jobs && (c->index.marks[i].is_placed != (jobs == placed) || c->index.marks[i].some_placed != (placed > 0)))
            return BREACH("a class of %d waiting jobs, %d of them placed, is marked otherwise", jobs, placed);
        ready += jobs;
    }
    for (int32_t i = 0; i < c->index.run_count; i++)
        if (!index_run_is_right(c, &c->index.runs[i]))
            return BREACH("job %lld has changed, and what is looked at of it has not", (long long)c->index.runs[i].job->id);
    for (int32_t q = 0; q < c->queue_count; q++) {
        int rc = check_ranking(c, q, s->queue_classes[q], err);
        if (rc)
            return rc;
    }
    for (int32_t i = 0; i < c->job_count; i++) {
        const struct job *j = c->jobs[i];
        bool live = job_state_holds_gpus((int)j->state), final = job_state_is_final((int)j->state);
        nowhere += j->listed == LISTED_NOWHERE;
        if (live != (j->listed == LISTED_LIVE) || final != (j->listed == LISTED_ENDED) ||
            (j->listed == LISTED_READY) != (j->wait_class >= 0) || !index_is_in_class(c, j) ||
            (!live && !final && (j->after_count > 0) != (j->listed == LISTED_AFTER)))
            return BREACH("job %lld is %s and listed as %d", (long long)j->id, job_state_name((int)j->state), (int)j->listed);
    }
    if (ready + listed + nowhere != c->job_count || c->index.job_count != c->job_count)
        return BREACH("%d jobs, but %d in the lists", c->job_count, ready + listed + nowhere);
    return 0;
}

/* Each filter counts the jobs that have it, and knows each node as it is. */
static int check_filters(const struct cluster *c, struct error *err) {
    int32_t *uses = xcalloc((size_t)c->filter_count + 1, sizeof *uses);
    int rc = 0;
    for (int32_t i = 0; i < c->job_count; i++)
        uses[c->jobs[i]->filter]++;
    for (int32_t f = 1; f < c->filter_count && !rc; f++) {
        const struct node_filter *filter = &c->filters[f];
        if (filter->uses != uses[f])
            rc = BREACH("%d jobs have filter %d, and it counts %d", uses[f], f, filter->uses);
        for (int32_t n = 0; n < c->node_count && !rc && filter->wish.features; n++)
            if (node_filter_passes(c, f, n) != (node_wish_misses(c, &filter->wish, n) == WISH_NONE))
                rc = BREACH("filter %d is wrong about node %s", f, c->nodes[n].name);
    }
    free(uses);
    return rc;
}

/* Where an exclusive job is, nobody else is. */
static int check_whole_nodes(const struct cluster *c, struct error *err) {
    int32_t *tasks = xcalloc((size_t)c->node_count + 1, sizeof *tasks);
    bool *whole = xcalloc((size_t)c->node_count + 1, sizeof *whole);
    int rc = 0;
    for (int32_t i = 0; i < c->index.live.count; i++) {
        const struct job *j = c->index.live.items[i];
        for (int32_t k = 0; k < j->placement.task_count; k++) {
            const struct task *t = &j->placement.tasks[k];
            tasks[t->node] += t->state != TASK_ENDED;
            whole[t->node] |= t->state != TASK_ENDED && j->exclusive;
        }
    }
    for (int32_t n = 0; n < c->node_count && !rc; n++)
        if (whole[n] != c->nodes[n].is_whole || (whole[n] && tasks[n] > 1))
            rc = BREACH("node %s has %d tasks, %s whole, and counts as%s whole", c->nodes[n].name, tasks[n],
                        whole[n] ? "one of them" : "none", c->nodes[n].is_whole ? "" : " not");
    free(tasks);
    free(whole);
    return rc;
}

int cluster_check(const struct cluster *c, struct error *err) {
    size_t nodes = (size_t)c->node_count + 1, queues = (size_t)c->queue_count;
    size_t accounts = (size_t)c->account_count + 1;
    struct sums s = {xcalloc(nodes, sizeof *s.gpus), xcalloc(nodes, sizeof *s.cpus), xcalloc(nodes, sizeof *s.memory_mib),
                     xcalloc(queues, sizeof *s.queue_gpus), xcalloc(queues, sizeof *s.queue_fixed),
                     xcalloc(queues, sizeof *s.queue_types), xcalloc(queues, sizeof *s.queue_waiting),
                     xcalloc(accounts, sizeof *s.account_gpus),
                     xcalloc(queues, sizeof *s.queue_jobs), xcalloc(queues, sizeof *s.queue_classes)};
    int rc = check_order(c, err);
    for (int32_t i = 0; i < c->job_count && !rc; i++)
        rc = check_job(c, c->jobs[i], &s, err);
    if (!rc)
        rc = check_sums(c, &s, err);
    if (!rc)
        rc = check_users(c, err);
    if (!rc)
        rc = check_reservations(c, err);
    if (!rc)
        rc = check_index(c, &s, err);
    if (!rc)
        rc = check_filters(c, err);
    if (!rc)
        rc = check_whole_nodes(c, err);
    free(s.gpus);
    free(s.cpus);
    free(s.memory_mib);
    free(s.queue_gpus);
    free(s.queue_fixed);
    free(s.queue_types);
    free(s.queue_waiting);
    free(s.account_gpus);
    free(s.queue_jobs);
    free(s.queue_classes);
    return rc;
}
