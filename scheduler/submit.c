/* A submission becomes the event JOB_SUBMITTED, and one DEPENDENCY_ENDED for each dependency that memory has forgotten. The same token of
 * the same user gives the same job, whether that one is in the store or in this very turn. */
#include "scheduler/submit.h"

#include <string.h>

#include "scheduler/authorise.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/view_why.h"

/* The job's number if this token was taken a moment ago, in the turn that is not committed yet. */
static int64_t token_in_turn(const struct turn *t, uid_t uid, const char *token) {
    for (size_t i = t->submission_count; i-- > 0;)
        if (t->submissions[i].uid == uid && !strcmp(t->submissions[i].token, token))
            return t->events[t->submissions[i].event].job;
    return 0;
}

bool submit_answer_known_token(struct musterd *d, const struct request *r, const char *token) {
    if (!*token)
        return false;
    int64_t job = token_in_turn(&d->turn, r->peer.uid, token);
    if (job) {
        struct waiter *w = turn_waiter(&d->turn, &r->peer, MESSAGE_SUBMIT, r->message->id, d->turn.event_count);
        for (w->first = 0; d->turn.events[w->first].type != EVENT_JOB_SUBMITTED || d->turn.events[w->first].job != job; w->first++)
            ;
        w->count = 1;
        w->job = job;
        w->existed = true;
        return true;
    }
    job = store_find_token(d->store, r->peer.uid, token);
    if (job)
        musterd_send(d, &r->peer, MESSAGE_SUBMITTED, r->message->id, &(struct submitted){.job = job, .existed = true});
    return job != 0;
}

static int check_user(struct musterd *d, const struct request *r, struct error *err) {
    if (r->peer.uid != 0 || d->settings.allow_root)
        return 0;
    return error_set(err, ERR_DENIED, "jobs are not run as root: run muster as an ordinary user, or start musterd with --allow-root");
}

/* Where jobs of a user go that name no queue: the first by name that is the default of one of the user's groups. */
static const char *default_queue(const struct cluster *c, const struct known_user *u) {
    const char *first = NULL;
    for (int32_t i = 0; i < c->queue_count; i++) {
        const struct queue *q = &c->queues[i];
        if (!q->deleted && *q->default_for_groups && (!first || strcmp(q->name, first) < 0) && user_is_in_groups(u, q->default_for_groups))
            first = q->name;
    }
    return first ? first : "default";
}

/* How many jobs a spec that has been checked is. */
static int64_t jobs_of(const struct job_spec *spec) {
    struct array_set elements;
    int64_t limit;
    return *spec->array && !array_set_parse(spec->array, &elements, &limit, NULL) ? array_set_count(&elements) : 1;
}

static int check_queue(struct musterd *d, const struct request *r, struct job_spec *spec, struct error *err) {
    const struct known_user *u = users_find(d->users, r->peer.uid, r->peer.gid);
    if (!spec->queue_named && (!*spec->queue || !strcmp(spec->queue, "default"))) {
        const char *chosen = default_queue(&d->cluster, u);
        spec->queue = arena_copy(&d->turn.arena, chosen, strlen(chosen));
    }
    int32_t queue = cluster_queue(&d->cluster, spec->queue);
    if (queue < 0)
        return error_set(err, ERR_NOT_FOUND, "queue '%s': no such queue; `muster quota show` lists them, an admin makes one with `muster "
                         "quota set`", spec->queue);
    int rc = authorise_queue(&d->cluster, spec->queue, QUEUE_SUBMIT, u, r->roles, err);
    return rc ? rc : queue_check_submission(&d->cluster, queue, r->peer.uid, jobs_of(spec), spec->time_limit_ms, err);
}

/* Makes the spec whole by the same rules as the client, so that an old or hostile one gets no further. */
static int check_spec(struct musterd *d, const struct request *r, struct job_spec *spec, struct error *err) {
    int rc = job_spec_complete(spec, &d->turn.arena, err);
    if (!rc && !*spec->directory)
        rc = error_set(err, ERR_INVALID, "directory: it is not set");
    return rc ? rc : check_queue(d, r, spec, err);
}

static void fill_submission(const struct job_spec *spec, struct job_submission *s, struct arena *arena) {
    const struct job_after *after = spec->after.items;
    *s = (struct job_submission){
        .priority = spec->priority, .nodes = spec->nodes, .gpus = spec->gpus, .ranks = spec->ranks, .cpus_per_rank = spec->cpus,
        .memory_mib = spec->memory_mib, .time_limit_ms = spec->time_limit_ms, .grace_ms = spec->grace_ms, .retries = spec->retries,
        .launcher = spec->launcher, .topology = spec->topology, .not_preemptible = spec->not_preemptible,
        .on_lost_wait = spec->on_lost_wait, .hold = spec->hold, .gpus_min = spec->gpus_min, .estimate_ms = spec->estimate_ms,
        .compact = spec->compact, .exclusive = spec->exclusive, .prefer = spec->prefer, .gpu_type = spec->gpu_type,
        .features = spec->features, .nodelist = spec->nodelist, .exclude = spec->exclude,
        .array = spec->array};
    struct job_after_row *rows = arena_array(arena, spec->after.count, sizeof *rows);
    for (size_t i = 0; i < spec->after.count; i++)
        rows[i] = (struct job_after_row){.job = after[i].job, .ok = after[i].ok};
    s->after = (struct rows){spec->after.count, rows};
}

/* Dependencies that ended before: memory may have forgotten them, the store has not. */
static int resolve_after(struct musterd *d, const struct job_spec *spec, int64_t id, struct error *err) {
    const struct job_after *after = spec->after.items;
    for (size_t i = 0; i < spec->after.count; i++) {
        struct store_job other;
        if (after[i].job >= d->cluster.next_job ? after[i].job < id : cluster_job(&d->cluster, after[i].job) != NULL)
            continue;
        if (store_find_job(d->store, after[i].job, &other, err))
            return error_wrap(err, "--after");
        struct event *e = turn_event(&d->turn, EVENT_DEPENDENCY_ENDED);
        e->job = id;
        e->other = after[i].job;
        e->ok = other.state == JOB_COMPLETED;
    }
    return 0;
}

static struct bytes encode_spec(const struct job_spec *spec, struct arena *arena) {
    struct buffer b = {0};
    record_encode(&job_spec_schema, spec, &b);
    struct bytes bytes = {b.size, arena_copy(arena, b.data, b.size)};
    buffer_release(&b);
    return bytes;
}

static void add_submission(struct musterd *d, const struct request *r, const struct job_spec *spec, size_t event) {
    struct submission *s = turn_submission(&d->turn);
    const struct known_user *u = users_find(d->users, r->peer.uid, r->peer.gid);
    *s = (struct submission){.event = event, .token = spec->token, .name = spec->name, .uid = u->uid, .gid = u->gid};
    s->user = arena_copy(&d->turn.arena, u->name, strlen(u->name));
    s->spec = encode_spec(spec, &d->turn.arena);
}

int submit_take(struct musterd *d, const struct request *r, const struct job_spec *asked, struct error *err) {
    struct job_spec spec = *asked;
    struct job_submission submission;
    size_t first = d->turn.event_count;
    int rc = check_user(d, r, err);
    if (rc || submit_answer_known_token(d, r, spec.token))
        return rc;
    if ((rc = check_spec(d, r, &spec, err)))
        return rc;
    fill_submission(&spec, &submission, &d->turn.arena);
    if ((rc = policy_take_whole_nodes(&d->cluster, &submission, err)))
        return rc;
    spec.gpus = submission.gpus;
    spec.gpus_min = submission.gpus_min;
    if ((rc = policy_can_ever_fit(&d->cluster, &submission, cluster_queue(&d->cluster, spec.queue), err)))
        return rc;
    struct event *e = turn_event(&d->turn, EVENT_JOB_SUBMITTED);
    int64_t id = e->job = d->turn.next_job;
    e->uid = r->peer.uid;
    e->queue = spec.queue;
    e->submission = submission;
    if ((rc = resolve_after(d, &spec, id, err))) {
        d->turn.event_count = first;   /* nothing of it stays in the turn */
        return rc;
    }
    d->turn.next_job++;
    add_submission(d, r, &spec, first);
    turn_waiter(&d->turn, &r->peer, MESSAGE_SUBMIT, r->message->id, first)->job = id;
    return 0;
}

/* ---- only to test ---- */

/* Leaves in *s the dependencies that still have to end. One that ended otherwise than it was to means that the job would never run. */
static int keep_open_after(struct musterd *d, struct job_submission *s, struct error *err) {
    struct job_after_row *rows = (struct job_after_row *)s->after.items;
    size_t kept = 0;
    for (size_t i = 0; i < s->after.count; i++) {
        const struct job *other = cluster_job(&d->cluster, rows[i].job);
        struct store_job stored = {.state = other ? (int)other->state : 0};
        if (!other && store_find_job(d->store, rows[i].job, &stored, err))
            return error_wrap(err, "--after");
        if (!job_state_is_final(stored.state))
            rows[kept++] = rows[i];
        else if (rows[i].ok && stored.state != JOB_COMPLETED)
            return error_set(err, ERR_CONFLICT, "--after: job %lld was to complete before it, and did not (%s): it would be cancelled",
                             (long long)rows[i].job, job_state_name(stored.state));
    }
    s->after.count = kept;
    return 0;
}

int submit_test(struct musterd *d, const struct request *r, const struct job_spec *asked, struct error *err) {
    struct job_spec spec = *asked;
    struct event e;
    int rc = check_user(d, r, err);
    if (!rc && !d->store)
        rc = error_set(err, ERR_STORE, "the store can't be read now: %.400s", d->store_failure.text);
    if (rc || (rc = check_spec(d, r, &spec, err)))
        return rc;
    event_init(&e, EVENT_JOB_SUBMITTED);
    e.job = d->cluster.next_job;
    e.uid = r->peer.uid;
    e.queue = spec.queue;
    fill_submission(&spec, &e.submission, &d->turn.arena);
    if ((rc = policy_take_whole_nodes(&d->cluster, &e.submission, err)) ||
        (rc = policy_can_ever_fit(&d->cluster, &e.submission, cluster_queue(&d->cluster, spec.queue), err)) ||
        (rc = keep_open_after(d, &e.submission, err)))
        return rc;
    struct job *newcomer = cluster_try_submission(&d->cluster, &e, musterd_cluster_ms(d), err);
    if (!newcomer)
        return err->code;
    struct rows_reply reply = {.turn = store_turn(d->store), .document = view_why_newcomer(d, &r->peer, newcomer)};
    json_object_set_new(reply.document, "name", json_string(spec.name));
    json_object_set_new(reply.document, "queue", json_string(spec.queue));
    musterd_send(d, &r->peer, MESSAGE_ROWS_REPLY, r->message->id, &reply);
    json_decref(reply.document);
    cluster_drop_tried(&d->cluster, newcomer);
    return 0;
}
