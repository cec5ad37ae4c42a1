/* One run of a job: what it holds while it lives, and what becomes of the job when it is over.
 *
 * An attempt ends when its last task has. Why it ended is the first decisive thing that was known: the order that stopped it, or the
 * first task that ended abnormally, unless a loss turns out to be behind it. A head that exits with 0 without having yielded completes
 * the job even while an order to stop was under way.
 */
#include <stdlib.h>

#include "common/xmalloc.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/index.h"
#include "scheduler/cluster/queue.h"

enum { COOL_DOWN_MAX_MS = 60 * 1000 };

/* ---- what a task holds ---- */

static void charge(struct cluster *c, const struct job *j, const struct task *t, int sign, int64_t now_ms) {
    int32_t type = c->shapes[c->nodes[t->node].shape].gpu_type;
    int gpus = sign * __builtin_popcount(t->gpus);
    for (int32_t q = j->queue; q >= 0; q = c->queues[q].parent) {
        struct queue *over = &c->queues[q];
        usage_roll(&over->usage, over->gpus_used, now_ms);
        over->gpus_used += gpus;
        over->gpus_fixed += j->preemptible ? 0 : gpus;
        over->used_by_type[type] += gpus;
        over->draining = over->draining && queue_is_over(over);
        over->evicting &= over->draining;
        over->changed_turn = c->turn;
    }
    account_charge(c, j->account, gpus, now_ms);
}

static void task_charge(struct cluster *c, const struct job *j, const struct task *t, int64_t now_ms) {
    struct node *n = &c->nodes[t->node];
    n->gpus_used |= t->gpus;
    n->cpus_used += t->cpus;
    n->memory_used_mib += t->memory_mib;
    n->is_whole |= j->exclusive;
    n->changed_turn = c->turn;
    charge(c, j, t, 1, now_ms);
}

static void task_free(struct cluster *c, const struct job *j, const struct task *t, int64_t now_ms) {
    struct node *n = &c->nodes[t->node];
    n->gpus_used &= ~t->gpus;
    n->cpus_used -= t->cpus;
    n->memory_used_mib -= t->memory_mib;
    n->is_whole &= !j->exclusive;
    n->changed_turn = c->turn;
    charge(c, j, t, -1, now_ms);
    index_gain(c);
}

/* ---- start ---- */

int apply_job_start(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc)
        return rc;
    if (j->listed != LISTED_READY && j->listed != LISTED_COOLING)
        return error_set(err, ERR_CONFLICT, "job %lld is %s and not ready to start", (long long)j->id, job_state_name((int)j->state));
    const struct job_array *a = job_array_of(j);
    if (j->array)
        return error_set(err, ERR_CONFLICT, "job %lld is an array: its elements start", (long long)j->id);
    if (a && a->limit && a->running >= a->limit)
        return error_set(err, ERR_CONFLICT, "%d elements of array %lld run, and its limit is %d", a->running, (long long)j->array_id,
                         a->limit);
    if ((rc = placement_check(c, j, &e->placement, true, err)))
        return rc;
    struct placement where = placement_from_event(c, &e->placement);
    if ((rc = queue_check_start(c, j, &where, err))) {
        free(where.tasks);
        return rc;
    }
    reservation_drop(c, j->id);
    j->placement = where;
    for (int32_t i = 0; i < j->placement.task_count; i++)
        task_charge(c, j, &j->placement.tasks[i], now_ms);
    j->attempt++;
    j->lease = c->next_lease++;
    j->order_ms = now_ms;
    j->start_ms = -1;
    j->end_before = j->end;
    j->end = (struct attempt_end){.rank = -1, .node = -1};
    job_move(c, j, JOB_STARTING, now_ms);
    return 0;
}

/* ---- stop ---- */

void attempt_stop(struct cluster *c, struct job *j, enum stop_cause cause, int64_t kill_ms, int64_t now_ms) {
    bool ask = kill_ms > now_ms && j->state == JOB_RUNNING;   /* nobody is there to checkpoint before it runs */
    j->stop_cause = cause;
    j->stop_ms = now_ms;
    j->checkpoint_asked = ask;
    j->kill_ms = ask ? kill_ms : 0;
    if (ask)
        index_due(c, kill_ms);
    if (j->state != JOB_STOPPING)
        job_move(c, j, JOB_STOPPING, now_ms);
    job_touch(c, j);
    index_gain(c);   /* its GPUs will be free: plans may count on them */
}

int apply_job_stop(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    if (rc)
        return rc;
    if (j->state != JOB_STARTING && j->state != JOB_RUNNING)
        return error_set(err, ERR_CONFLICT, "job %lld is %s and can't be stopped", (long long)j->id, job_state_name((int)j->state));
    if (e->cause <= STOP_NONE || e->cause >= STOP_CAUSE_COUNT)
        return error_set(err, ERR_INVALID, "no stop has the cause %lld", (long long)e->cause);
    attempt_stop(c, j, (enum stop_cause)e->cause, e->deadline_ms, now_ms);
    j->stop_for = e->other;
    return 0;
}

int apply_job_kill(struct cluster *c, const struct event *e, int64_t now_ms, struct error *err) {
    struct job *j;
    int rc = find_job(c, e->job, &j, err);
    (void)now_ms;
    if (rc)
        return rc;
    if (j->state != JOB_STOPPING || !j->checkpoint_asked)
        return error_set(err, ERR_CONFLICT, "job %lld was not asked to checkpoint", (long long)j->id);
    j->checkpoint_asked = false;
    j->kill_ms = 0;
    job_touch(c, j);
    return 0;
}

/* ---- end ---- */

static bool any_task_lives(const struct job *j) {
    for (int32_t i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state != TASK_ENDED)
            return true;
    return false;
}

static int64_t backoff_ms(int32_t times) { return times >= 6 ? COOL_DOWN_MAX_MS : INT64_C(1000) << times; }

static void requeue(struct cluster *c, struct job *j, int64_t cool_down_ms, int64_t now_ms) {
    j->start_ms = j->order_ms = -1;
    j->queued_ms = now_ms;
    j->not_before_ms = now_ms + cool_down_ms;
    job_move(c, j, JOB_PENDING, now_ms);
}

static void end_by_failure(struct cluster *c, struct job *j, int64_t now_ms) {
    j->failures++;
    if (j->failures > j->retries)
        job_end(c, j, JOB_FAILED, now_ms);
    else
        requeue(c, j, backoff_ms(j->failures), now_ms);
}

/* The nodes' fault, unless it happens to this job again and again: then it is taken for the cause (and stops crashing nodes). */
static void end_by_loss(struct cluster *c, struct job *j, enum job_state at_last, int64_t now_ms) {
    int32_t before = j->lost_attempts++;
    if (j->lost_attempts > LOST_ATTEMPTS_MAX)
        job_end(c, j, at_last, now_ms);
    else
        requeue(c, j, before || at_last == JOB_FAILED ? backoff_ms(before) : 0, now_ms);
}

static void end_by_request(struct cluster *c, struct job *j, int64_t now_ms) {
    j->preemptions += j->end.cause == STOP_PREEMPTED;
    requeue(c, j, j->end.cause == STOP_PREEMPTED ? backoff_ms(j->preemptions - 1) : 0, now_ms);
}

static void attempt_finish(struct cluster *c, struct job *j, int64_t now_ms) {
    j->attained_gpu_ms = job_attained_gpu_ms(j, now_ms);
    if (j->end.cause == STOP_NONE)   /* direct: all ended well */
        j->end.cause = j->end.kind == EXIT_YIELDED && j->stop_cause ? j->stop_cause : STOP_TASK_DONE;
    free(j->placement.tasks);
    j->placement = (struct placement){0};
    j->stop_cause = STOP_NONE;
    j->stop_ms = j->kill_ms = j->stop_for = 0;
    j->checkpoint_asked = false;
    if (j->end.cause != STOP_NODE_LOST && j->end.cause != STOP_NOT_LAUNCHED)
        j->lost_attempts = 0;
    switch (j->end.cause) {
    case STOP_TASK_DONE:
        if (j->end.kind == EXIT_YIELDED)
            requeue(c, j, 0, now_ms);
        else
            job_end(c, j, JOB_COMPLETED, now_ms);
        return;
    case STOP_PREEMPTED:
    case STOP_REQUEUED:
    case STOP_MOVED:
    case STOP_RESIZED: end_by_request(c, j, now_ms); return;
    case STOP_CANCELLED: job_end(c, j, JOB_CANCELLED, now_ms); return;
    case STOP_TIMEOUT: job_end(c, j, JOB_TIMEOUT, now_ms); return;
    case STOP_NODE_LOST: end_by_loss(c, j, JOB_NODE_LOST, now_ms); return;
    case STOP_NOT_LAUNCHED:
        if (j->end.kind == EXIT_UNLAUNCHED)
            end_by_failure(c, j, now_ms);
        else
            end_by_loss(c, j, JOB_FAILED, now_ms);
        return;
    case STOP_TASK_FAILED:
    case STOP_NONE:
    case STOP_CAUSE_COUNT: break;
    }
    end_by_failure(c, j, now_ms);
}

static bool is_order(enum stop_cause cause) {
    return cause == STOP_PREEMPTED || cause == STOP_REQUEUED || cause == STOP_CANCELLED || cause == STOP_TIMEOUT || cause == STOP_MOVED ||
           cause == STOP_RESIZED;
}

/* Ranks die of the loss of their peers (SIGPIPE, an aborted all-reduce) before anybody has noticed the loss: then it is the cause. */
static bool is_loss_behind(const struct job *j, const struct attempt_end *how) {
    return how->kind == EXIT_LOST && j->end.cause == STOP_TASK_FAILED;
}

/* Takes in how a task ended. `how->cause` is TASK_DONE if it ended well; job.end keeps the first decisive end. */
static void judge(struct job *j, bool is_head, const struct attempt_end *how) {
    struct attempt_end end = *how;
    if (how->cause != STOP_TASK_DONE || how->kind == EXIT_YIELDED)
        end.cause = j->stop_cause != STOP_NONE ? j->stop_cause : how->cause;
    if (is_loss_behind(j, how)) {
        j->end = *how;
    } else if (how->cause != STOP_TASK_DONE) {
        if (j->end.cause == STOP_NONE)
            j->end = end;
    } else if (j->launcher == LAUNCHER_DIRECT) {
        if (j->end.cause == STOP_NONE && j->end.kind != EXIT_YIELDED) {
            j->end = end;
            j->end.cause = STOP_NONE;   /* decided when all have ended */
        }
    } else if (is_head) {
        if (j->end.cause == STOP_NONE || (how->kind != EXIT_YIELDED && is_order(j->end.cause)))
            j->end = end;
    }
}

void attempt_task_ended(struct cluster *c, struct job *j, struct task *t, const struct attempt_end *how, int64_t now_ms) {
    task_free(c, j, t, now_ms);
    t->state = TASK_ENDED;
    job_touch(c, j);
    judge(j, t == j->placement.tasks, how);
    if (!any_task_lives(j))
        attempt_finish(c, j, now_ms);
    else if (j->end.cause != STOP_NONE && (j->state != JOB_STOPPING || j->checkpoint_asked))   /* the whole gang at once */
        attempt_stop(c, j, j->stop_cause != STOP_NONE ? j->stop_cause : j->end.cause, 0, now_ms);
}
