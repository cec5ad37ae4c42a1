/* Orders are never remembered, they are derived: from the state of a live job and what its nodes have said, the one order that each task
 * needs now follows (order_of). That makes a resend, a restart and a reconnection the same thing.
 */
#include "scheduler/dispatch.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "scheduler/authorise.h"
#include "scheduler/crash_point.h"
#include "scheduler/progress.h"

enum { RESEND_MS = 1000, SWEEP_MS = 250, STOP_GRACE_MS = 5000, TIDY_GRACE_MS = 1000 };

/* ---- answers ---- */

static const struct error *first_error(const struct turn *t, const struct waiter *w) {
    for (size_t i = w->first; i < w->first + w->count; i++)
        if (t->errors[i].code)
            return &t->errors[i];
    return NULL;
}

static void answer_submit(struct musterd *d, const struct waiter *w) {
    struct error err = d->turn.errors[w->first];
    if (!err.code) {
        musterd_send(d, &w->peer, MESSAGE_SUBMITTED, w->id, &(struct submitted){.job = w->job, .existed = w->existed});
        return;
    }
    if (err.code == ERR_CONFLICT)   /* one before it in the same turn was refused, which moved the numbers */
        error_set(&err, ERR_BUSY, "submit again: the number meant for this job was not used");
    musterd_send_failure(d, &w->peer, w->id, &err);
}

/* One row a thing asked for, so that a client can say which of many failed. */
static void answer_action(struct musterd *d, const struct waiter *w) {
    const struct turn *t = &d->turn;
    struct done done = {.text = "", .rows = json_array()};
    const struct error *err = first_error(t, w);
    for (size_t i = w->first; i < w->first + w->count; i++) {
        const struct event *e = &t->events[i];
        json_t *row = e->job ? json_pack("{s:I}", "id", (json_int_t)e->job) : json_pack("{s:s}", "name", e->node);
        if (*e->elements)
            json_object_set_new(row, "elements", json_string(e->elements));
        if (t->errors[i].code)
            json_object_set_new(row, "error", json_string(t->errors[i].text));
        done.count += !t->errors[i].code;
        json_array_append_new(done.rows, row);
    }
    if (err && !done.count)
        musterd_send_failure(d, &w->peer, w->id, err);
    else
        musterd_send(d, &w->peer, MESSAGE_DONE, w->id, &done);
    json_decref(done.rows);
}

static void answer_quota(struct musterd *d, const struct waiter *w) {
    const struct error *err = &d->turn.errors[w->first];
    if (err->code)
        musterd_send_failure(d, &w->peer, w->id, err);
    else
        musterd_send(d, &w->peer, MESSAGE_DONE, w->id, &(struct done){.count = 1, .text = "", .rows = w->rows});
}

static void answer_hello(struct musterd *d, const struct waiter *w) {
    const struct error *err = &d->turn.errors[w->first];
    if (err->code)
        musterd_send_failure(d, &w->peer, w->id, err);
    else
        progress_welcome(d, &w->peer, w->id, w->hello);
}

/* A report of a lease that is over: its sender must stop repeating it, and end the task if it still has it. */
static void answer_report(struct musterd *d, const struct waiter *w) {
    struct error err = d->turn.errors[w->first];
    if (!err.code) {
        musterd_send(d, &w->peer, MESSAGE_DONE, w->id, &(struct done){.count = 1, .text = ""});
        return;
    }
    if (err.code == ERR_NOT_FOUND || err.code == ERR_CONFLICT)
        err.code = ERR_STALE;
    musterd_send_failure(d, &w->peer, w->id, &err);
}

static void answer(struct musterd *d, const struct waiter *w) {
    switch ((int)w->asked) {
    case MESSAGE_SUBMIT: answer_submit(d, w); break;
    case MESSAGE_HELLO: answer_hello(d, w); break;
    case MESSAGE_JOB_ACTION:
    case MESSAGE_NODE_ACTION: answer_action(d, w); break;
    case MESSAGE_QUOTA_SET:
    case MESSAGE_QUOTA_DELETE:
    case MESSAGE_QUOTA_RENAME: answer_quota(d, w); break;
    default: answer_report(d, w); break;
    }
}

void dispatch_answers(struct musterd *d) {
    for (size_t i = 0; i < d->turn.waiter_count; i++)
        answer(d, &d->turn.waiters[i]);
}

void dispatch_refusals(struct musterd *d, const struct error *why) {
    for (size_t i = 0; i < d->turn.waiter_count; i++) {
        const struct waiter *w = &d->turn.waiters[i];
        if (authorise_allowed(w->asked) & (ROLE_USER | ROLE_ADMIN))   /* nodes are not answered: they send again */
            musterd_send_failure(d, &w->peer, w->id, why);
    }
}

/* ---- orders ---- */

static bool all_ready(const struct job *j, const struct soft_job *s) {
    for (int i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state == TASK_ORDERED && !s->tasks[i].ready)
            return false;
    return true;
}

/* The one order that task i needs now; MESSAGE_DONE: none. */
static enum message_type order_of(const struct job *j, const struct soft_job *s, int i) {
    const struct task *t = &j->placement.tasks[i];
    if (t->state == TASK_ENDED)
        return MESSAGE_DONE;
    if (j->state == JOB_STOPPING)
        return !j->checkpoint_asked ? MESSAGE_STOP : s->tasks[i].checkpointed ? MESSAGE_DONE : MESSAGE_CHECKPOINT;
    if (t->state == TASK_STARTED)
        return MESSAGE_DONE;
    if (!s->tasks[i].ready)
        return MESSAGE_START;
    bool launches = i == 0 || j->launcher == LAUNCHER_DIRECT;
    return launches && j->placement.task_count > 1 && all_ready(j, s) ? MESSAGE_GO : MESSAGE_DONE;
}

static struct gang_member *gang_of(const struct cluster *c, const struct job *j, struct arena *arena) {
    struct gang_member *gang = arena_array(arena, (size_t)j->placement.task_count, sizeof *gang);
    for (int i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        const struct node *n = &c->nodes[t->node];
        gang[i] = (struct gang_member){n->name, n->address, t->ranks, __builtin_popcount(t->gpus)};
    }
    return gang;
}

static int64_t deadline_wall_ms(const struct musterd *d, const struct job *j) {
    if (!j->time_limit_ms)
        return 0;
    return clock_wall_ms() + j->time_limit_ms - (musterd_cluster_ms(d) - (j->start_ms >= 0 ? j->start_ms : j->order_ms));
}

static void send_start(struct musterd *d, const struct job *j, const struct soft_job *s, int i, const struct peer *to) {
    struct arena arena = {0};
    struct error err;
    const struct task *t = &j->placement.tasks[i];
    int count = __builtin_popcount(t->gpus);
    struct start order = {
        .epoch = d->epoch, .job = j->id, .attempt = j->attempt, .lease = j->lease, .node = d->cluster.nodes[t->node].name, .node_rank = i,
        .gang = {(size_t)j->placement.task_count, gang_of(&d->cluster, j, &arena)},
        .gpus = {(size_t)count, arena_array(&arena, 16, sizeof(int64_t))}, .uid = s->uid, .gid = s->gid, .user = s->user,
        .queue = d->cluster.queues[j->queue].name, .go = j->placement.task_count == 1, .deadline_wall_ms = deadline_wall_ms(d, j),
        .resume_step = j->checkpoint_step, .array = j->array_id, .element = j->array_id ? j->element : 0};
    for (int g = 0; g < count; g++)
        order.gpus.items[g] = t->gpu_order[g];
    if (store_read_spec(d->store, j->id, &order.spec, &arena, &err)) {
        log_error("start_not_sent", "job=%lld reason=\"%s\"", (long long)j->id, err.text);
    } else {
        order.spec.token = "";
        musterd_send(d, to, MESSAGE_START, 0, &order);
    }
    arena_release(&arena);
}

static void send_stop(struct musterd *d, const struct job *j, const struct peer *to) {
    bool tidy = j->stop_cause == STOP_TASK_DONE || j->stop_cause == STOP_TASK_FAILED || j->stop_cause == STOP_NODE_LOST;
    struct stop order = {d->epoch, j->id, j->attempt, j->lease, j->stop_cause, tidy ? TIDY_GRACE_MS : STOP_GRACE_MS};
    musterd_send(d, to, MESSAGE_STOP, 0, &order);
}

static void send_checkpoint(struct musterd *d, const struct job *j, const struct peer *to) {
    int64_t left_ms = j->kill_ms - musterd_cluster_ms(d);
    struct checkpoint order = {d->epoch, j->id, j->attempt, j->lease, j->lease, left_ms > 0 ? left_ms : 0};
    musterd_send(d, to, MESSAGE_CHECKPOINT, 0, &order);
}

static void send_order(struct musterd *d, const struct job *j, struct soft_job *s, int i, enum message_type type, const struct peer *to) {
    struct go go = {d->epoch, j->id, j->attempt, j->lease, s->master_port};
    CRASH_POINT("before_order");
    if (type == MESSAGE_START)
        send_start(d, j, s, i, to);
    else if (type == MESSAGE_GO)
        musterd_send(d, to, MESSAGE_GO, 0, &go);
    else if (type == MESSAGE_STOP)
        send_stop(d, j, to);
    else
        send_checkpoint(d, j, to);
    CRASH_POINT("after_order");
    s->tasks[i].sent_type = (int16_t)type;
    s->tasks[i].sent_ms = clock_boot_ms();
}

static void order_job(struct musterd *d, const struct job *j, int64_t now_ms) {
    struct soft_job *s = soft_job(&d->soft, j->id);
    if (!s || s->lease != j->lease || s->task_count != j->placement.task_count)
        return;
    for (int i = 0; i < j->placement.task_count; i++) {
        const struct soft_node *n = soft_node_at(&d->soft, j->placement.tasks[i].node);
        enum message_type type = order_of(j, s, i);
        bool again = s->tasks[i].sent_type == (int16_t)type && s->tasks[i].sent_ms;
        if (type != MESSAGE_DONE && n->connected && (!again || now_ms - s->tasks[i].sent_ms >= RESEND_MS))
            send_order(d, j, s, i, type, &n->peer);
    }
}

static void order_live(struct musterd *d, bool changed_only) {
    const struct job_list *live = &d->cluster.index.live;
    int64_t now_ms = clock_boot_ms();
    if (!d->store)
        return;
    for (int i = 0; i < live->count; i++)
        if (!changed_only || live->items[i]->changed_turn == d->cluster.turn)
            order_job(d, live->items[i], now_ms);
}

void dispatch(struct musterd *d) {
    CRASH_POINT("before_acknowledge");
    dispatch_answers(d);
    CRASH_POINT("after_acknowledge");
    order_live(d, true);
}

void dispatch_again(struct musterd *d) {
    int64_t now_ms = clock_boot_ms();
    if (now_ms < d->orders_sweep_ms)
        return;
    d->orders_sweep_ms = now_ms + SWEEP_MS;
    order_live(d, false);
}

int64_t dispatch_next_ms(const struct musterd *d) { return d->cluster.index.live.count ? d->orders_sweep_ms : INT64_MAX; }

void dispatch_renew_node(struct musterd *d, int32_t node) {
    const struct job_list *live = &d->cluster.index.live;
    for (int i = 0; i < live->count; i++) {
        const struct job *j = live->items[i];
        struct soft_job *s = soft_job(&d->soft, j->id);
        for (int t = 0; s && t < j->placement.task_count && t < s->task_count; t++)
            if (j->placement.tasks[t].node == node)
                s->tasks[t] = (struct soft_task){0};
    }
    d->orders_sweep_ms = 0;
}

void dispatch_stop_stale(struct musterd *d, const struct peer *to, int64_t job, int64_t attempt, int64_t lease) {
    struct stop order = {d->epoch, job, attempt, lease, STOP_NODE_LOST, TIDY_GRACE_MS};
    log_info("stale_task_stopped", "job=%lld attempt=%lld lease=%lld", (long long)job, (long long)attempt, (long long)lease);
    musterd_send(d, to, MESSAGE_STOP, 0, &order);
}
