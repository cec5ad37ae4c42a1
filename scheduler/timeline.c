#include "scheduler/timeline.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/job_json.h"

void timeline_begin(struct timeline *t) { *t = (struct timeline){.entries = json_array(), .checkpoint_step = -1}; }

__attribute__((format(printf, 4, 5))) static void add(struct timeline *t, struct timeline_moment at, const char *event, const char *format,
                                                      ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    t->last_is_periodic = false;
    json_array_append_new(t->entries, json_pack("{s:I, s:I, s:s, s:s}", "ms", (json_int_t)at.wall_ms, "turn", (json_int_t)at.turn, "event",
                                                event, "text", text));
}

static const char *because(const char *text, char *buffer, size_t size) {
    snprintf(buffer, size, *text ? ": %s" : "%s", text);
    return buffer;
}

/* "node0,node1 (rack0, narrowest link 450 GB/s)" */
static void placed(const struct stored_placement *p, char *text, size_t size) {
    const struct stored_task *tasks = p->tasks.items;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < p->tasks.count; i++)
        text_append(text, size, &used, "%s%s", i ? "," : "", tasks[i].node);
    if (!p->tasks.count)
        return;
    const char *rack = tasks[0].rack, *slash = strrchr(rack, '/');
    if (p->level == LEVEL_POD && slash)
        text_append(text, size, &used, " (racks of %.*s", (int)(slash - rack), rack);
    else
        text_append(text, size, &used, " (%s", p->level == LEVEL_ANY ? "across racks" : *rack ? rack : "no rack");
    if (p->level == LEVEL_ISLAND && tasks[0].gpus)
        text_append(text, size, &used, ", one NVLink island");
    if (p->bottleneck_gbs)
        text_append(text, size, &used, ", %lld GB/s at its narrowest link", (long long)p->bottleneck_gbs);
    text_append(text, size, &used, ")");
}

static void add_start(struct timeline *t, struct timeline_moment at, const struct timeline_context *context) {
    char where[512] = "";
    t->attempt++;
    t->started = t->acknowledged = false;
    if (context->placement)
        placed(context->placement, where, sizeof where);
    add(t, at, "PLACED", "attempt %lld placed on %s", (long long)t->attempt, where);
}

static void add_stop(struct timeline *t, struct timeline_moment at, const struct event *e, const struct timeline_context *context) {
    char why[600];
    because(e->text, why, sizeof why);
    if (e->cause == STOP_PREEMPTED && !e->other)
        add(t, at, "PREEMPTED", "asked to checkpoint and leave%s%s%s", *e->text ? " (" : "", e->text, *e->text ? ")" : "");
    else if (e->cause == STOP_PREEMPTED)
        add(t, at, "PREEMPTED", "asked to checkpoint and leave: its GPUs are owed to job %s of queue %s%s%s%s", context->other,
            context->other_queue, *e->text ? " (" : "", e->text, *e->text ? ")" : "");
    else if (e->cause == STOP_RESIZED)
        add(t, at, "RESIZED", "asked to checkpoint and go on with another number of GPUs%s", why);
    else if (e->cause == STOP_TIMEOUT)
        add(t, at, "TIMEOUT", "its time limit is over: stopped%s", why);
    else
        add(t, at, "STOPPED", "stopped (%s)%s", stop_cause_name((int)e->cause), why);
}

static void add_started(struct timeline *t, struct timeline_moment at) {
    if (t->started)
        return;   /* the gang's first report speaks for it */
    t->started = true;
    if (t->attempt > 1 && t->checkpoint_step >= 0)
        add(t, at, "STARTED", "resumed at step %lld as attempt %lld", (long long)t->checkpoint_step, (long long)t->attempt);
    else
        add(t, at, "STARTED", "attempt %lld started", (long long)t->attempt);
}

static void add_checkpoint(struct timeline *t, struct timeline_moment at, const struct event *e) {
    bool again = e->step == t->checkpoint_step, follows = t->last_is_periodic;
    t->checkpoint_step = e->step > t->checkpoint_step ? e->step : t->checkpoint_step;
    if (e->other) {
        if (!t->acknowledged || !again)
            add(t, at, "CHECKPOINTED", "checkpoint at step %lld acknowledged", (long long)e->step);
        t->acknowledged = true;
    } else {
        if (follows)
            json_array_remove(t->entries, json_array_size(t->entries) - 1);
        add(t, at, "CHECKPOINTED", "checkpoint at step %lld", (long long)e->step);
        t->last_is_periodic = true;
    }
}

/* Of a gang's ends only those tell something that are not the plain consequence of another. */
static void add_exit(struct timeline *t, struct timeline_moment at, const struct event *e) {
    char why[600];
    because(e->text, why, sizeof why);
    if (e->kind == EXIT_YIELDED)
        add(t, at, "YIELDED", "left %s after its checkpoint at step %lld", e->node,
            (long long)(e->step >= 0 ? e->step : t->checkpoint_step));
    else if (*e->text && ((e->kind == EXIT_CODE && e->status) || e->kind == EXIT_SIGNAL))
        add(t, at, "EXITED", "%s", e->text);   /* the agent names the node, and the rank */
    else if (e->kind == EXIT_CODE && e->status)
        add(t, at, "EXITED", "ended on %s with exit code %lld", e->node, (long long)e->status);
    else if (e->kind == EXIT_SIGNAL)
        add(t, at, "EXITED", "ended on %s by signal %lld (%s)", e->node, (long long)e->status, strsignal((int)e->status));
    else if (e->kind == EXIT_LOST || e->kind == EXIT_UNLAUNCHED)
        add(t, at, "EXITED", "%s on %s%s", e->kind == EXIT_LOST ? "lost" : "not launched", e->node, why);
    if (e->kind == EXIT_YIELDED && e->step > t->checkpoint_step)
        t->checkpoint_step = e->step;
}

static void add_reserved(struct timeline *t, struct timeline_moment at, const struct event *e) {
    char why[600];
    because(e->text, why, sizeof why);
    if (e->kind == KEPT_AS_SEAT)
        add(t, at, "RESERVED", "%lld GPUs are kept for it to go on with", (long long)event_placement_gpus(&e->placement));
    else
        add(t, at, "RESERVED", "GPUs are kept for it while the jobs on them stop%s", why);
}

void timeline_add_event(struct timeline *t, struct timeline_moment at, const struct event *e, const struct timeline_context *c) {
    char why[600], of_it[128] = "";
    because(e->text, why, sizeof why);
    if (*e->elements)
        snprintf(of_it, sizeof of_it, " (elements %.100s)", e->elements);
    switch ((enum event_type)e->type) {
    case EVENT_JOB_SUBMITTED: add(t, at, "SUBMITTED", "submitted by %s, queued in %s", c->user, e->queue); break;
    case EVENT_JOB_CANCELLED: add(t, at, "CANCELLED", "cancelled by %s%s%s", c->user, of_it, why); break;
    case EVENT_JOB_HELD: add(t, at, "HELD", "held by %s%s%s", c->user, of_it, why); break;
    case EVENT_JOB_RELEASED: add(t, at, "RELEASED", "released by %s%s", c->user, of_it); break;
    case EVENT_JOB_REQUEUED: add(t, at, "REQUEUE", "asked to checkpoint and leave: requeue asked for by %s%s%s", c->user, of_it,
                                  why); break;
    case EVENT_DEPENDENCY_ENDED: add(t, at, "DEPENDENCY", "job %lld had ended %s", (long long)e->other,
                                     e->ok ? "well" : "without success"); break;
    case EVENT_JOB_ELEMENT: add(t, at, "ELEMENT", "element %lld of job %lld is next", (long long)e->element, (long long)e->other); break;
    case EVENT_TASK_STARTED: add_started(t, at); break;
    case EVENT_TASK_EXITED: add_exit(t, at, e); break;
    case EVENT_TASK_REFUSED: add(t, at, "REFUSED", "%s could not take it%s", e->node, why); break;
    case EVENT_CHECKPOINTED: add_checkpoint(t, at, e); break;
    case EVENT_JOB_START: add_start(t, at, c); break;
    case EVENT_JOB_STOP: add_stop(t, at, e, c); break;
    case EVENT_JOB_KILL: add(t, at, "KILLED", "its grace is over: stopped without its checkpoint"); break;
    case EVENT_JOB_FAIL: add(t, at, "DEPENDENCY", "given up%s", why); break;
    case EVENT_RESERVE: add_reserved(t, at, e); break;
    case EVENT_UNRESERVE: add(t, at, "UNRESERVED", "the GPUs kept for it are given back%s", why); break;
    case EVENT_NODE_UP:
    case EVENT_NODE_LOST:
    case EVENT_NODE_EXPIRED:
    case EVENT_NODE_DRAINED:
    case EVENT_NODE_RESUMED:
    case EVENT_QUOTA_SET:
    case EVENT_QUOTA_DELETED:
    case EVENT_QUOTA_RENAMED:
    case EVENT_TYPE_COUNT: break;
    }
}

void timeline_add_restart(struct timeline *t, struct timeline_moment at, const char *version) {
    add(t, at, "RESTART", "the scheduler was restarted (version %s)", version);
}

void timeline_add_end(struct timeline *t, struct timeline_moment at, const struct stored_job *end, int64_t attempt, const char *said,
                      const char *next) {
    char text[512], why[600];
    because(job_end_text(end, said, text, sizeof text), why, sizeof why);
    if (!strcmp(next, "REQUEUED") && t->checkpoint_step >= 0)
        add(t, at, next, "attempt %lld ended%s; requeued, goes on from step %lld", (long long)attempt, why, (long long)t->checkpoint_step);
    else if (!strcmp(next, "REQUEUED"))
        add(t, at, next, "attempt %lld ended%s; requeued", (long long)attempt, why);
    else if (!strcmp(next, "COMPLETED"))
        add(t, at, next, "attempt %lld ended well", (long long)attempt);
    else
        add(t, at, next, "attempt %lld ended%s", (long long)attempt, why);
}
