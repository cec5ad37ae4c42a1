/* What the agent says of its tasks. STARTED, CHECKPOINTED, EXITED and REFUSED are repeated every second, under the same number, until
 * musterd has answered: DONE is only said after a commit. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/agent.h"
#include "worker/logs.h"
#include "worker/report.h"
#include "worker/terminal.h"

enum { LAST_OUTPUT_MS = 2000 };

static void send_owed(struct agent *a, struct owed *o, enum message_type type, const void *record) {
    o->id = agent_send(a, type, o->id, 0, record);
    o->due_ms = clock_boot_ms() + RESEND_MS;
}

static void send_started(struct agent *a, struct agent_task *t) {
    struct started m = {t->task.job, t->task.attempt, t->task.lease, t->pid};
    send_owed(a, &t->started, MESSAGE_STARTED, &m);
}

static void send_checkpointed(struct agent *a, struct agent_task *t) {
    struct checkpointed m = {t->task.job, t->task.attempt, t->task.lease, t->task.checkpointed_step,
                             t->task.answered ? t->task.request : 0};
    send_owed(a, &t->checkpointed, MESSAGE_CHECKPOINTED, &m);
}

static void send_refused(struct agent *a, struct agent_task *t) {
    struct refused m = {t->task.job, t->task.attempt, t->task.lease, t->refused_text};
    send_owed(a, &t->refused, MESSAGE_REFUSED, &m);
}

static void signal_words(int number, char *out, size_t size) {
    const char *name = sigabbrev_np(number);
    if (name)
        snprintf(out, size, "SIG%s", name);
    else
        snprintf(out, size, "signal %d", number);
}

/* "rank 3 on node1 was killed by SIGKILL" */
static void exit_words(const struct agent *a, const struct agent_task *t, char *out, size_t size) {
    const struct task_exit *e = &t->task.exit;
    char who[100], how[32];
    if (e->rank >= 0)
        snprintf(who, sizeof who, "rank %d on %s", e->rank, a->options.name);
    else
        snprintf(who, sizeof who, "the job's process on %s", a->options.name);
    signal_words(e->status, how, sizeof how);
    switch (e->kind) {
    case EXIT_SIGNAL: snprintf(out, size, "%s was killed by %s", who, how); break;
    case EXIT_CODE: snprintf(out, size, e->status ? "%s exited with code %d" : "%s ended", who, e->status); break;
    case EXIT_YIELDED: snprintf(out, size, "checkpointed at step %" PRId64 " and left as asked", e->step); break;
    case EXIT_STOPPED: snprintf(out, size, "stopped on %s%s%s", a->options.name, *t->ended_text ? ": " : "", t->ended_text); break;
    case EXIT_LOST:
        snprintf(out, size, "%s", *t->ended_text ? t->ended_text : "nobody knows how it ended");
        break;
    case EXIT_UNLAUNCHED: snprintf(out, size, "%s", *t->failed_text ? t->failed_text : t->ended_text); break;
    case EXIT_NONE: case EXIT_KIND_COUNT: out[0] = '\0'; break;
    }
}

static void send_exited(struct agent *a, struct agent_task *t) {
    static char tail[LOG_CHUNK_MAX_BYTES];
    char text[512];
    const struct task_exit *e = &t->task.exit;
    exit_words(a, t, text, sizeof text);
    struct exited m = {.job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease, .kind = e->kind, .status = e->status,
                       .rank = e->rank,
                       .step = e->step, .text = text, .max_rss_mib = t->max_rss_mib, .cpu_ms = t->cpu_ms};
    m.log_tail.data = tail;
    m.log_tail.size = t->order->node_rank == 0 ? logs_tail(t, tail, sizeof tail) : 0;
    if (t->exited.due_ms == 0)
        log_info("task_exited", "task=%" PRId64 ".%" PRId64 " kind=%s status=%d %s", t->task.job, t->task.attempt, exit_kind_name(e->kind),
                 e->status, text);
    send_owed(a, &t->exited, MESSAGE_EXITED, &m);
}

static void send_ready(struct agent *a, struct agent_task *t) {
    agent_choose_port(a, t);
    struct ready m = {t->task.job, t->task.attempt, t->task.lease, t->master_port};
    agent_send(a, MESSAGE_READY, 0, 0, &m);
}

static void stop_at_launcher(struct agent *a, struct agent_task *t) {
    struct wire_message m = {.kind = WIRE_STOP, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease,
                             .grace_ms = t->task.stop_grace_ms};
    if (t->task.stopped)
        agent_task_note(a, t, "stopped\n");
    agent_launcher_send(a, &m, NULL, 0);
}

void agent_do(struct agent *a, struct agent_task *t, unsigned actions) {
    if (actions & TASK_DO_REPORT_READY)
        send_ready(a, t);
    if (actions & TASK_DO_LAUNCH)
        agent_launch(a, t);
    if (actions & TASK_DO_REPORT_STARTED)
        send_started(a, t);
    if (actions & TASK_DO_ASK_CHECKPOINT)
        report_ask_checkpoint(a, t);
    if (actions & TASK_DO_REPORT_CHECKPOINTED)
        send_checkpointed(a, t);
    if (actions & TASK_DO_STOP)
        stop_at_launcher(a, t);
    if (actions & TASK_DO_REPORT_EXITED) {
        t->started.due_ms = 0;
        agent_send_progress(a, clock_boot_ms());   /* the last word of a task comes before its end */
        if (terminal_holds_output(t))
            t->exited.due_ms = clock_boot_ms() + LAST_OUTPUT_MS;   /* its reader asks until EXITED is known */
        else
            send_exited(a, t);
    }
    if (actions & TASK_DO_FORGET)
        agent_task_forget(a, t);
}

/* It never ran and won't: musterd decides whether to try elsewhere. The task stays until that is acknowledged. */
void agent_refuse(struct agent *a, struct agent_task *t, const char *text) {
    text_copy(t->refused_text, sizeof t->refused_text, text);
    t->task.state = TASK_EXITED;
    log_warn("task_refused", "task=%" PRId64 ".%" PRId64 " %s", t->task.job, t->task.attempt, text);
    send_refused(a, t);
}

void agent_report_state(struct agent *a, struct agent_task *t) {
    if (t->refused.due_ms)
        send_refused(a, t);
    else if (t->task.state == TASK_READY)
        send_ready(a, t);
    else if (t->task.state == TASK_RUNNING)
        send_started(a, t);
    else if (t->task.state == TASK_EXITED)
        send_exited(a, t);
}

/* STALE: the attempt is over for musterd; there is nobody to repeat anything to, and the task must not live on. */
static void settle(struct agent *a, struct agent_task *t, struct owed *o, const struct failure *failure) {
    if (failure && failure->code != ERR_STALE)
        return;   /* it will be said again */
    o->due_ms = 0;
    o->id = 0;
    if (o == &t->refused)
        agent_task_forget(a, t);
    else if (o == &t->exited)
        agent_do(a, t, task_step(&t->task, TASK_EVENT_ACKNOWLEDGED));
    else if (failure)
        agent_do(a, t, task_stop(&t->task, 0));
}

bool agent_answered(struct agent *a, int64_t reply_to, const struct failure *failure) {
    if (reply_to == 0)
        return false;
    for (struct agent_task *t = a->tasks; t; t = t->next) {
        struct owed *all[] = {&t->started, &t->exited, &t->checkpointed, &t->refused};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (all[i]->due_ms && all[i]->id == reply_to) {
                settle(a, t, all[i], failure);
                return true;
            }
    }
    return false;
}

void agent_resend(struct agent *a, int64_t now_ms) {
    for (struct agent_task *t = a->tasks; t; t = t->next) {
        if (t->started.due_ms && now_ms >= t->started.due_ms)
            send_started(a, t);
        if (t->checkpointed.due_ms && now_ms >= t->checkpointed.due_ms)
            send_checkpointed(a, t);
        if (t->refused.due_ms && now_ms >= t->refused.due_ms)
            send_refused(a, t);
        if (t->exited.due_ms && now_ms >= t->exited.due_ms)
            send_exited(a, t);
    }
}

void agent_send_progress(struct agent *a, int64_t now_ms) {
    enum { AT_ONCE = 256, INTERVAL_MS = 1000 };
    static struct task_progress rows[AT_ONCE];
    size_t count = 0;
    for (struct agent_task *t = a->tasks; t && count < AT_ONCE; t = t->next) {
        if (!t->progress_changed || (now_ms - t->progress_sent_ms < INTERVAL_MS && t->task.state != TASK_EXITED))
            continue;
        rows[count++] = t->progress;
        t->progress_changed = false;
        t->progress_sent_ms = now_ms;
    }
    struct progress m = {a->options.name, {count, rows}};
    if (count > 0 && a->welcome)
        agent_send(a, MESSAGE_PROGRESS, 0, 0, &m);
}
