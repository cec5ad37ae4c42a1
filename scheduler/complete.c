#include "scheduler/complete.h"

#include "common/log.h"
#include "scheduler/progress.h"

int exited_take(struct musterd *d, const struct request *r, const struct exited *exited, struct error *err) {
    int32_t node = progress_node_of(d, &r->peer);
    size_t first = d->turn.event_count;
    if (node < 0)
        return error_set(err, ERR_BUSY, "say HELLO first");
    struct event *e = turn_event(&d->turn, EVENT_TASK_EXITED);
    e->job = exited->job;
    e->attempt = exited->attempt;
    e->lease = exited->lease;
    e->node = d->cluster.nodes[node].name;
    e->kind = exited->kind;
    e->status = exited->status;
    e->rank = exited->rank;
    e->step = exited->step;
    e->text = exited->text;
    const struct job *j = cluster_job(&d->cluster, exited->job);
    if (exited->log_tail.size && j && j->lease == exited->lease && job_task_on(j, node))
        turn_tail(&d->turn, exited->job, exited->attempt, exited->log_tail);
    turn_waiter(&d->turn, &r->peer, MESSAGE_EXITED, r->message->id, first);
    return 0;
}

int refused_take(struct musterd *d, const struct request *r, const struct refused *refused, struct error *err) {
    int32_t node = progress_node_of(d, &r->peer);
    size_t first = d->turn.event_count;
    if (node < 0)
        return error_set(err, ERR_BUSY, "say HELLO first");
    struct event *e = turn_event(&d->turn, EVENT_TASK_REFUSED);
    e->job = refused->job;
    e->attempt = refused->attempt;
    e->lease = refused->lease;
    e->node = d->cluster.nodes[node].name;
    e->text = refused->text;
    log_warn("task_refused", "job=%lld node=%s reason=\"%s\"", (long long)refused->job, e->node, refused->text);
    turn_waiter(&d->turn, &r->peer, MESSAGE_REFUSED, r->message->id, first);
    return 0;
}
