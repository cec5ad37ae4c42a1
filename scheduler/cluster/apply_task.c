/* What nodes report of tasks. A report is about an attempt and its lease: another one is stale; the same one twice changes nothing. */
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/index.h"

/* *t is NULL with 0 if the attempt is over: then the report is a repeat. */
static int find_task(const struct cluster *c, const struct event *e, struct job **j, struct task **t, struct error *err) {
    int32_t node;
    int rc = find_job(c, e->job, j, err);
    *t = NULL;
    if (rc)
        return rc;
    if (e->attempt != (*j)->attempt || e->lease != (*j)->lease || !(*j)->attempt)
        return error_set(err, ERR_STALE, "job %lld is at attempt %d under lease %lld; the report is of attempt %lld under lease %lld",
                         (long long)e->job, (*j)->attempt, (long long)(*j)->lease, (long long)e->attempt, (long long)e->lease);
    if (!job_state_holds_gpus((int)(*j)->state))
        return 0;
    if ((rc = find_node(c, e->node, &node, err)))
        return rc;
    *t = job_task_on(*j, node);
    return *t ? 0 : error_set(err, ERR_STALE, "job %lld has no task on node '%s'", (long long)e->job, e->node);
}

static bool all_needed_started(const struct job *j) {
    if (j->launcher != LAUNCHER_DIRECT)
        return j->placement.tasks[0].state == TASK_STARTED;
    for (int32_t i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state != TASK_STARTED)
            return false;
    return true;
}

int apply_task_started(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    struct task *t;
    int rc = find_task(c, e, &j, &t, err);
    if (rc || !t || t->state != TASK_ORDERED)
        return rc;
    t->state = TASK_STARTED;
    job_touch(c, j);
    if (j->start_ms >= 0 || !all_needed_started(j))
        return 0;
    j->start_ms = now_ms;
    index_price(c);
    if (j->time_limit_ms)
        index_due(c, now_ms + j->time_limit_ms);
    if (j->state == JOB_STARTING)
        job_move(c, j, JOB_RUNNING, now_ms);
    return 0;
}

static void note_checkpoint(struct cluster *c, struct job *j, int64_t step, int64_t now_ms) {
    if (step < j->checkpoint_step)
        return;
    j->checkpoint_step = step;
    j->checkpoint_ms = now_ms;
    index_price(c);
    job_touch(c, j);
}

int apply_checkpointed(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    struct task *t;
    int rc = find_task(c, e, &j, &t, err);
    if (rc)
        return rc;
    if (e->step < 0)
        return error_set(err, ERR_INVALID, "a checkpoint's step is not negative: %lld", (long long)e->step);
    if (t && e->step > j->checkpoint_step)
        note_checkpoint(c, j, e->step, now_ms);
    return 0;
}

/* The stop cause that an end means while nothing else has been decided. */
static enum stop_cause cause_of(enum exit_kind kind, int64_t status) {
    switch (kind) {
    case EXIT_CODE: return status ? STOP_TASK_FAILED : STOP_TASK_DONE;
    case EXIT_YIELDED: return STOP_TASK_DONE;
    case EXIT_SIGNAL: return STOP_TASK_FAILED;
    case EXIT_UNLAUNCHED: return STOP_NOT_LAUNCHED;
    case EXIT_NONE:
    case EXIT_STOPPED:   /* by its agent without an order from here: its lease had run out */
    case EXIT_LOST:
    case EXIT_KIND_COUNT: break;
    }
    return STOP_NODE_LOST;
}

int apply_task_exited(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    struct task *t;
    int rc = find_task(c, e, &j, &t, err);
    if (rc)
        return rc;
    if (e->kind <= EXIT_NONE || e->kind >= EXIT_KIND_COUNT)
        return error_set(err, ERR_INVALID, "no task ends in the way %lld", (long long)e->kind);
    if (!t || t->state == TASK_ENDED)
        return 0;
    enum exit_kind kind = (enum exit_kind)e->kind;
    struct attempt_end how = {
        .cause = cause_of(kind, e->status), .kind = kind, .status = (int32_t)e->status, .rank = (int32_t)e->rank, .node = t->node};
    if (kind == EXIT_YIELDED && e->step >= 0)
        note_checkpoint(c, j, e->step, now_ms);
    attempt_task_ended(c, j, t, &how, now_ms);
    return 0;
}

int apply_task_refused(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    struct task *t;
    int rc = find_task(c, e, &j, &t, err);
    if (rc || !t || t->state == TASK_ENDED)
        return rc;
    if (t->state == TASK_STARTED)
        return error_set(err, ERR_CONFLICT, "job %lld has already started on node '%s'", (long long)e->job, e->node);
    struct attempt_end how = {.cause = STOP_NOT_LAUNCHED, .kind = EXIT_NONE, .rank = -1, .node = t->node};
    attempt_task_ended(c, j, t, &how, now_ms);
    return 0;
}
