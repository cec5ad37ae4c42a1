#include "scheduler/relay.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "scheduler/element.h"
#include "scheduler/authorise.h"
#include "scheduler/progress.h"

/* A node's agent answers at once, or within a second when it follows. A relayed orted lives as long as its attempt. */
enum { ANSWER_MS = 5000, QUIET_FOLLOW_MS = 500, SWEEP_MS = 250 };

struct forward {
    int64_t id;               /* ours: what the answer replies to */
    struct peer origin, target;   /* only the target's answer counts */
    int64_t origin_id, offset;
    enum message_type asked;
    int64_t job, attempt, lease;
    int64_t expires_ms;       /* boot clock; 0: with the attempt */
    struct forward *prev, *next;
};

static struct forward *forward_add(struct musterd *d, const struct request *r, int64_t job, int64_t attempt, int64_t expires_ms) {
    struct forward *f = xcalloc(1, sizeof *f);
    *f = (struct forward){.id = d->next_message_id++, .origin = r->peer, .origin_id = r->message->id, .asked = r->message->type, .job = job,
                          .attempt = attempt, .expires_ms = expires_ms};
    DL_APPEND(d->forwards, f);
    return f;
}

static void forward_end(struct musterd *d, struct forward *f) {
    DL_DELETE(d->forwards, f);
    free(f);
}

static bool same_peer(const struct peer *a, const struct peer *b) {
    return a->listener == b->listener && a->route_size == b->route_size && !memcmp(a->route, b->route, a->route_size);
}

static void pass_on(struct musterd *d, struct forward *f, const struct peer *to, enum message_type type, const void *record) {
    f->target = *to;
    channel_send(d->channels[to->listener], to, type, f->id, 0, record);
}

/* ---- a client asks a node ---- */

static void answer_log(struct musterd *d, const struct peer *to, int64_t id, struct bytes data, int64_t offset, bool end, int64_t attempt) {
    struct log_data answer = {.offset = offset, .data = data, .end = end, .attempt = attempt};
    musterd_send(d, to, MESSAGE_LOG_DATA, id, &answer);
}

/* The node is gone: what its last report brought along is all there is. Offsets then count from where that begins. */
static int answer_from_tail(struct musterd *d, const struct peer *to, int64_t id, int64_t job, int64_t attempt, int64_t offset,
                            struct error *err) {
    struct arena arena = {0};
    struct bytes tail;
    int rc = d->store ? store_read_tail(d->store, job, attempt, &tail, &arena, err)
                      : error_set(err, ERR_STORE, "the store can't be read now");
    if (!rc) {
        size_t from = offset < 0 || (size_t)offset > tail.size ? tail.size : (size_t)offset;
        answer_log(d, to, id, (struct bytes){tail.size - from, (const char *)tail.data + from}, (int64_t)from, true, attempt);
    }
    arena_release(&arena);
    return rc;
}

/* Job, owner and last attempt, wherever they are known. */
static int find_job(struct musterd *d, const struct request *r, int64_t id, struct store_job *out, struct error *err) {
    const struct job *j = cluster_job(&d->cluster, id);
    int rc = 0;
    if (j)
        *out = (struct store_job){.uid = j->uid, .state = (int)j->state, .attempt = j->attempt};
    else
        rc = d->store ? store_find_job(d->store, id, out, err) : error_set(err, ERR_STORE, "the store can't be read now");
    return rc ? rc : authorise_job(id, out->uid, &r->peer, r->roles, err);
}

static const struct soft_node *connected_node(struct musterd *d, const char *name) {
    int32_t node = cluster_node(&d->cluster, name);
    const struct soft_node *n = node >= 0 ? soft_node_at(&d->soft, node) : NULL;
    return n && n->connected && clock_boot_ms() - n->heard_ms < d->settings.lost_after_ms ? n : NULL;
}

/* Nothing has run yet. A follower is answered a little later, so that it doesn't ask in a circle. */
static int answer_not_started(struct musterd *d, const struct request *r, const struct log_read *read, const struct store_job *job) {
    if (read->follow && !job_state_is_final(job->state))
        forward_add(d, r, read->job, 0, clock_boot_ms() + QUIET_FOLLOW_MS);
    else
        answer_log(d, &r->peer, r->message->id, (struct bytes){0, ""}, 0, job_state_is_final(job->state), 0);
    return 0;
}

int log_read_take(struct musterd *d, const struct request *r, const struct log_read *asked, struct error *err) {
    struct log_read own = *asked, *read = &own;
    struct store_job job;
    const char *name;
    own.job = job_ref_job(element_resolve(d, asked->job));
    int rc = job_ref_element(asked->job) < 0 ? 0 : element_check(d, asked->job, err);
    rc = rc ? rc : find_job(d, r, read->job, &job, err);
    if (rc)
        return rc;
    struct log_read ask = *read;
    ask.attempt = read->attempt ? read->attempt : job.attempt;
    if (!ask.attempt)
        return answer_not_started(d, r, read, &job);
    rc = d->store ? store_find_attempt_node(d->store, ask.job, ask.attempt, ask.rank, &name, &d->turn.arena, err)
                  : error_set(err, ERR_STORE, "the store can't be read now");
    if (rc)
        return rc;
    if (!*name)
        return error_set(err, ERR_NOT_FOUND, "job %lld has no attempt %lld", (long long)ask.job, (long long)ask.attempt);
    const struct soft_node *n = connected_node(d, name);
    if (!n && answer_from_tail(d, &r->peer, r->message->id, ask.job, ask.attempt, ask.offset, NULL))
        return error_set(err, ERR_UNREACHABLE, "the output is on node '%s', which does not answer", name);
    if (n) {
        struct forward *f = forward_add(d, r, ask.job, ask.attempt, clock_boot_ms() + ANSWER_MS);
        f->offset = ask.offset;
        pass_on(d, f, &n->peer, MESSAGE_LOG_READ, &ask);
    }
    return 0;
}

int terminal_take(struct musterd *d, const struct request *r, const struct terminal *terminal, struct error *err) {
    struct store_job job;
    int rc = find_job(d, r, terminal->job, &job, err);
    if (rc)
        return rc;
    const struct job *j = cluster_job(&d->cluster, terminal->job);
    if (job_state_is_final(job.state)) {
        musterd_send(d, &r->peer, MESSAGE_TERMINAL_DATA, r->message->id, &(struct terminal_data){.data = {0, ""}, .end = true});
        return 0;
    }
    if (!j || !j->placement.task_count || j->placement.tasks[0].state != TASK_STARTED) {
        forward_add(d, r, terminal->job, 0, clock_boot_ms() + QUIET_FOLLOW_MS);
        return 0;
    }
    const struct soft_node *n = connected_node(d, d->cluster.nodes[j->placement.tasks[0].node].name);
    if (!n)
        return error_set(err, ERR_UNREACHABLE, "node '%s' does not answer", d->cluster.nodes[j->placement.tasks[0].node].name);
    pass_on(d, forward_add(d, r, terminal->job, j->attempt, clock_boot_ms() + ANSWER_MS), &n->peer, MESSAGE_TERMINAL, terminal);
    return 0;
}

/* ---- a node asks a peer of the same attempt ---- */

static struct forward *known_relay(struct musterd *d, const struct request *r) {
    struct forward *f;
    DL_FOREACH(d->forwards, f)
        if (f->asked == MESSAGE_RELAY && f->origin_id == r->message->id && same_peer(&f->origin, &r->peer))
            return f;
    return NULL;
}

int relay_take(struct musterd *d, const struct request *r, const struct relay *relay, struct error *err) {
    int32_t from = progress_node_of(d, &r->peer), to = cluster_node(&d->cluster, relay->node);
    const struct job *j = cluster_job(&d->cluster, relay->job);
    if (from < 0)
        return error_set(err, ERR_BUSY, "say HELLO first");
    if (!j || j->lease != relay->lease || j->attempt != relay->attempt || !job_task_on(j, from) || !job_state_holds_gpus((int)j->state))
        return error_set(err, ERR_STALE, "job %lld attempt %lld is not under lease %lld on this node", (long long)relay->job,
                         (long long)relay->attempt, (long long)relay->lease);
    if (to < 0 || !job_task_on(j, to))
        return error_set(err, ERR_DENIED, "node '%s' is not of job %lld", relay->node, (long long)relay->job);
    const struct soft_node *n = connected_node(d, relay->node);
    if (!n)
        return error_set(err, ERR_UNREACHABLE, "node '%s' does not answer", relay->node);
    struct forward *f = known_relay(d, r);
    if (!f)
        f = forward_add(d, r, relay->job, relay->attempt, 0);
    f->lease = relay->lease;
    struct relay order = *relay;
    order.epoch = d->epoch;
    pass_on(d, f, &n->peer, MESSAGE_RELAY, &order);
    return 0;
}

/* ---- answers ---- */

/* A RELAYED whose number a restart has lost still knows its job: the head is who asked. */
static void answer_lost_relay(struct musterd *d, const struct peer *from, const struct relayed *relayed) {
    const struct job *j = cluster_job(&d->cluster, relayed->job);
    int32_t node = progress_node_of(d, from);
    if (!j || j->lease != relayed->lease || !j->placement.task_count || node < 0 || !job_task_on(j, node))
        return;
    const struct soft_node *head = soft_node_at(&d->soft, j->placement.tasks[0].node);
    if (head->connected)
        musterd_send(d, &head->peer, MESSAGE_RELAYED, 0, relayed);
}

int relay_answer_take(struct musterd *d, const struct request *r) {
    struct forward *f, *found = NULL;
    const struct message *m = r->message;
    DL_FOREACH(d->forwards, f)
        if (f->id == m->reply_to)
            found = f;
    if (found && !same_peer(&found->target, &r->peer))
        return 0;
    if (!found) {
        if (m->type == MESSAGE_RELAYED)
            answer_lost_relay(d, &r->peer, m->record);
        return 0;
    }
    if (m->type == MESSAGE_DONE && found->asked == MESSAGE_RELAY) {   /* taken, not ended */
        musterd_send(d, &found->origin, MESSAGE_DONE, found->origin_id, m->record);
        return 0;
    }
    bool no_log = m->type == MESSAGE_FAILURE && found->asked == MESSAGE_LOG_READ;   /* its folder is gone: what the store kept may do */
    if (no_log && !answer_from_tail(d, &found->origin, found->origin_id, found->job, found->attempt, found->offset, NULL))
        ;
    else if (m->type != MESSAGE_DONE)
        musterd_send(d, &found->origin, m->type, found->origin_id, m->record);
    forward_end(d, found);
    return 0;
}

/* ---- time ---- */

static void expire(struct musterd *d, struct forward *f) {
    struct error err;
    if (f->asked == MESSAGE_LOG_READ && !f->attempt)
        answer_log(d, &f->origin, f->origin_id, (struct bytes){0, ""}, 0, false, 0);
    else if (f->asked == MESSAGE_TERMINAL && !f->attempt)
        musterd_send(d, &f->origin, MESSAGE_TERMINAL_DATA, f->origin_id, &(struct terminal_data){.data = {0, ""}});
    else if (f->asked != MESSAGE_LOG_READ || answer_from_tail(d, &f->origin, f->origin_id, f->job, f->attempt, f->offset, &err)) {
        error_set(&err, ERR_UNREACHABLE, "the node of job %lld does not answer", (long long)f->job);
        musterd_send_failure(d, &f->origin, f->origin_id, &err);
    }
    forward_end(d, f);
}

static bool attempt_is_over(const struct musterd *d, const struct forward *f) {
    const struct job *j = cluster_job(&d->cluster, f->job);
    return !j || j->lease != f->lease || !job_state_holds_gpus((int)j->state);
}

void relay_expire(struct musterd *d) {
    int64_t now_ms = clock_boot_ms();
    struct forward *f, *next;
    if (now_ms < d->forwards_swept_ms + SWEEP_MS)
        return;
    d->forwards_swept_ms = now_ms;
    DL_FOREACH_SAFE(d->forwards, f, next) {
        if (f->expires_ms && now_ms >= f->expires_ms)
            expire(d, f);
        else if (!f->expires_ms && attempt_is_over(d, f))
            forward_end(d, f);
    }
}

int64_t relay_next_ms(const struct musterd *d) { return d->forwards ? d->forwards_swept_ms + SWEEP_MS : INT64_MAX; }
