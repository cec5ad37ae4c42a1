/* What musterd orders. Orders of a past epoch or lease are refused; a repeated one is answered with the task's present state. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/agent.h"
#include "worker/logs.h"
#include "worker/relay.h"
#include "worker/terminal.h"

/* An order about a task that isn't held, or not under this lease. */
static void answer_stale(struct agent *a, const struct message *m, int64_t job, int64_t attempt, int64_t lease) {
    char text[256];
    snprintf(text, sizeof text, "task %" PRId64 ".%" PRId64 " isn't held on %s under lease %" PRId64, job, attempt, a->options.name, lease);
    struct failure f = {ERR_STALE, text};
    agent_send(a, MESSAGE_FAILURE, 0, m->id, &f);
}

/* ---- START ---- */

static void refuse_start(struct agent *a, const struct start *o, const char *text) {
    struct refused m = {o->job, o->attempt, o->lease, text};
    log_warn("start_refused", "task=%" PRId64 ".%" PRId64 " %s", o->job, o->attempt, text);
    agent_send(a, MESSAGE_REFUSED, 0, 0, &m);
}

static int check_start(const struct agent *a, const struct start *o, struct error *err) {
    if (strcmp(o->node, a->options.name) != 0)
        return error_set(err, ERR_INVALID, "this is node %s, not %s", a->options.name, o->node);
    if (o->lease < agent_highest_lease(a, o->job))
        return error_set(err, ERR_STALE, "lease %" PRId64 " of job %" PRId64 " is over", o->lease, o->job);
    if (o->gang.count == 0 || o->node_rank < 0 || (size_t)o->node_rank >= o->gang.count)
        return error_set(err, ERR_INVALID, "node rank %" PRId64 " of %zu nodes", o->node_rank, o->gang.count);
    for (size_t i = 0; i < o->gpus.count; i++)
        if (o->gpus.items[i] < 0 || (size_t)o->gpus.items[i] >= a->inventory.gpus.count)
            return error_set(err, ERR_INVALID, "GPU %" PRId64 " was ordered; this node has %zu", o->gpus.items[i], a->inventory.gpus.count);
    if (o->spec.command.count == 0 && o->spec.script.size == 0)
        return error_set(err, ERR_INVALID, "neither a command nor a script");
    return 0;
}

/* What an earlier attempt still holds here must be gone first: one live attempt of a job, one task on a GPU. musterd says START again in
 * a second. */
static bool must_wait(struct agent *a, const struct start *o) {
    bool wait = false;
    for (struct agent_task *t = a->tasks; t; t = t->next)
        if (t->task.job == o->job && t->task.state != TASK_EXITED) {
            agent_do(a, t, task_stop(&t->task, 0));
            wait = true;
        }
    for (size_t i = 0; i < o->gpus.count; i++)
        wait |= agent_task_holds_gpu(a, (int)o->gpus.items[i]);
    return wait;
}

static void take_start(struct agent *a, const struct message *m) {
    const struct start *o = m->record;
    struct error err;
    struct agent_task *t = agent_task_find(a, o->job, o->attempt);
    if (task_check_order(t ? &t->task : NULL, o->lease, o->epoch, &a->epoch) == TASK_STALE_EPOCH)
        return;
    if (t && t->task.lease == o->lease) {
        agent_report_state(a, t);
        return;
    }
    if (check_start(a, o, &err) != 0) {
        refuse_start(a, o, err.text);
        return;
    }
    if (must_wait(a, o)) {
        log_warn("start_waits", "task=%" PRId64 ".%" PRId64 " its GPUs or its job are still held here", o->job, o->attempt);
        return;
    }
    if (clock_boot_ms() >= a->lease_until_ms)
        return;   /* without a lease the launcher would end it at once; the heartbeat after WELCOME brings one */
    agent_lease_seen(a, o->job, o->lease);
    t = agent_task_add(a, o, &err);
    if (!t)
        refuse_start(a, o, err.text);
    else
        agent_prepare(a, t);
}

/* ---- the others ---- */

/* The task that an order means, if it may be obeyed. */
static struct agent_task *ordered_task(struct agent *a, const struct message *m, int64_t job, int64_t attempt, int64_t lease,
                                       int64_t epoch) {
    struct agent_task *t = agent_task_find(a, job, attempt);
    enum task_verdict verdict = task_check_order(t ? &t->task : NULL, lease, epoch, &a->epoch);
    if (verdict == TASK_STALE_EPOCH)
        return NULL;
    if (!t || verdict == TASK_STALE_LEASE) {
        answer_stale(a, m, job, attempt, lease);
        return NULL;
    }
    return t;
}

static void take_go(struct agent *a, const struct message *m) {
    const struct go *o = m->record;
    struct agent_task *t = ordered_task(a, m, o->job, o->attempt, o->lease, o->epoch);
    if (!t)
        return;
    if (t->task.state == TASK_RUNNING || t->task.state == TASK_EXITED)
        agent_report_state(a, t);
    if (t->order->node_rank != 0)
        t->master_port = o->master_port;
    agent_do(a, t, task_step(&t->task, TASK_EVENT_GO));
}

static void take_stop(struct agent *a, const struct message *m) {
    const struct stop *o = m->record;
    struct agent_task *t = ordered_task(a, m, o->job, o->attempt, o->lease, o->epoch);
    if (!t)
        return;
    unsigned actions = task_stop(&t->task, o->grace_ms);
    if (actions)
        log_info("task_stopping", "task=%" PRId64 ".%" PRId64 " cause=%s grace_ms=%" PRId64, o->job, o->attempt,
                 stop_cause_name((int)o->cause), o->grace_ms);
    agent_do(a, t, actions);
    if (t->task.state == TASK_EXITED)
        agent_report_state(a, t);
}

static void take_checkpoint(struct agent *a, const struct message *m) {
    const struct checkpoint *o = m->record;
    struct agent_task *t = ordered_task(a, m, o->job, o->attempt, o->lease, o->epoch);
    if (t)
        agent_do(a, t, task_ask_checkpoint(&t->task, o->request, o->grace_ms, clock_boot_ms()));
}

static void tell_lease(struct agent *a, int64_t until_ms) {
    struct wire_message m = {.kind = WIRE_LEASE, .until_ms = until_ms};
    agent_launcher_send(a, &m, NULL, 0);
}

static void take_welcome(struct agent *a, const struct message *m) {
    const struct welcome *w = m->record;
    if (w->epoch < a->epoch || m->reply_to != a->last_hello_id)
        return;
    a->epoch = w->epoch;
    a->heartbeat_ms = w->heartbeat_ms > 0 ? w->heartbeat_ms : 5000;
    a->lease_ms = w->lease_ms;
    a->welcome = true;
    a->lease_heard_ms = clock_boot_ms();
    a->heartbeat_due_ms = 0;
    log_info("welcome", "epoch=%" PRId64 " heartbeat_ms=%" PRId64 " lease_ms=%" PRId64, w->epoch, w->heartbeat_ms, w->lease_ms);
}

/* sent_ms is this host's own clock, from the heartbeat: how long the answer was under way takes away from the lease, never adds to it. */
static void take_lease(struct agent *a, const struct message *m) {
    const struct lease *l = m->record;
    int64_t now = clock_boot_ms();
    if (l->epoch < a->epoch || l->sent_ms <= 0 || l->sent_ms > now)
        return;
    a->lease_heard_ms = now;
    a->lease_until_ms = l->sent_ms + l->lease_ms;
    tell_lease(a, a->lease_until_ms);
}

/* BUSY to a heartbeat or a report: a daemon that was restarted doesn't know us. */
static void take_failure(struct agent *a, const struct message *m) {
    const struct failure *f = m->record;
    if (m->reply_to == a->last_hello_id) {
        log_error("hello_refused", "%s", f->text);
        return;
    }
    if (relay_answered(a, m) || agent_answered(a, m->reply_to, f)) {
        if (f->code != ERR_BUSY)
            return;
    }
    if (f->code == ERR_BUSY || f->code == ERR_NOT_FOUND) {
        a->welcome = false;
        a->hello_due_ms = 0;
    } else {
        log_warn("refused", "reply_to=%" PRId64 " %s", m->reply_to, f->text);
    }
}

void agent_take_message(struct agent *a, const struct message *m) {
    switch ((int)m->type) {
    case MESSAGE_WELCOME: take_welcome(a, m); break;
    case MESSAGE_LEASE: take_lease(a, m); break;
    case MESSAGE_START: take_start(a, m); break;
    case MESSAGE_GO: take_go(a, m); break;
    case MESSAGE_STOP: take_stop(a, m); break;
    case MESSAGE_CHECKPOINT: take_checkpoint(a, m); break;
    case MESSAGE_RELAY: relay_take(a, m); break;
    case MESSAGE_RELAYED: relay_answered(a, m); break;
    case MESSAGE_DONE:
        if (!relay_answered(a, m))
            agent_answered(a, m->reply_to, NULL);
        break;
    case MESSAGE_FAILURE: take_failure(a, m); break;
    case MESSAGE_LOG_READ: logs_take(a, m); break;
    case MESSAGE_TERMINAL: terminal_take(a, m); break;
    default: log_warn("unexpected", "%s isn't for a worker", message_type_name(m->type)); break;
    }
}
