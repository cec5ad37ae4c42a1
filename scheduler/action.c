#include "scheduler/action.h"

#include <pwd.h>
#include <string.h>

#include "scheduler/authorise.h"

static const struct { const char *verb; enum event_type event; } job_verbs[] = {
    {"cancel", EVENT_JOB_CANCELLED}, {"hold", EVENT_JOB_HELD}, {"release", EVENT_JOB_RELEASED}, {"requeue", EVENT_JOB_REQUEUED}};

static int find_verb(const char *verb, enum event_type *event, struct error *err) {
    for (size_t i = 0; i < sizeof job_verbs / sizeof *job_verbs; i++) {
        if (!strcmp(job_verbs[i].verb, verb)) {
            *event = job_verbs[i].event;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "'%s' is not something to do to a job: cancel, hold, release or requeue", verb);
}

/* An admin of the job's queue, or of one above it. */
static bool may_act_in(struct musterd *d, const struct request *r, const struct job *j) {
    const struct known_user *u = users_find(d->users, r->peer.uid, r->peer.gid);
    return r->peer.kind == PEER_LOCAL_USER &&
           !authorise_queue(&d->cluster, d->cluster.queues[j->queue].name, QUEUE_JOBS, u, r->roles, NULL);
}

/* May this peer, and is there anything to do it to? What memory has forgotten has ended. */
static int check_job(struct musterd *d, const struct request *r, int64_t id, struct error *err) {
    const struct job *j = cluster_job(&d->cluster, id);
    struct store_job stored;
    if (j && may_act_in(d, r, j))
        return 0;
    if (j)
        return authorise_job(id, j->uid, &r->peer, r->roles, err);
    int rc = store_find_job(d->store, id, &stored, err);
    if (!rc)
        rc = authorise_job(id, stored.uid, &r->peer, r->roles, err);
    return rc ? rc : error_set(err, ERR_CONFLICT, "job %lld has already ended: %s", (long long)id, job_state_name(stored.state));
}

static void add_event(struct musterd *d, const struct request *r, enum event_type type, int64_t job, const char *reason) {
    struct event *e = turn_event(&d->turn, type);
    e->job = job;
    e->uid = r->peer.uid;
    e->text = reason;
}

/* All active jobs of a user, or those with a name: nobody asks for what isn't his by leaving the user out. */
static int act_on_matching(struct musterd *d, const struct request *r, const struct job_action *a, enum event_type type,
                           struct error *err) {
    uid_t uid = r->peer.uid;
    if (*a->user) {
        struct passwd *pw = getpwnam(a->user);
        if (!pw)
            return error_set(err, ERR_NOT_FOUND, "user '%s': no such user", a->user);
        uid = pw->pw_uid;
    } else if (!*a->name) {
        return error_set(err, ERR_INVALID, "no job is named: give job numbers, a user, or --name");
    }
    bool others = uid != r->peer.uid && !(r->roles & ROLE_ADMIN), denied = others;
    for (int i = 0; i < d->cluster.job_count; i++) {
        const struct job *j = d->cluster.jobs[i];
        const struct soft_job *s = soft_job(&d->soft, j->id);
        if (j->uid != uid || job_state_is_final((int)j->state) || (*a->name && (!s || strcmp(s->name, a->name))) ||
            (others && !may_act_in(d, r, j)))
            continue;
        denied = false;
        if (j->head && !job_state_is_final((int)j->head->state))
            continue;   /* what is done to its array is done to it */
        add_event(d, r, type, j->id, a->reason);
    }
    return denied ? error_set(err, ERR_DENIED, "only an admin may do this to jobs of another user, and an admin of a queue to those in it")
                  : 0;
}

int job_action_take(struct musterd *d, const struct request *r, const struct job_action *a, struct error *err) {
    enum event_type type = EVENT_JOB_CANCELLED;
    size_t first = d->turn.event_count;
    int rc = find_verb(a->verb, &type, err);
    if (rc)
        return rc;
    if (!a->jobs.count) {
        if ((rc = act_on_matching(d, r, a, type, err)))
            return rc;
        if (d->turn.event_count == first) {   /* nothing matched: that is an answer, not an error */
            musterd_send(d, &r->peer, MESSAGE_DONE, r->message->id, &(struct done){.text = ""});
            return 0;
        }
    }
    for (size_t i = 0; i < a->jobs.count; i++) {
        struct error why;
        rc = check_job(d, r, a->jobs.items[i], &why);
        if (rc && a->jobs.count == 1)
            return error_set(err, rc, "%s", why.text);
        add_event(d, r, type, a->jobs.items[i], a->reason);
        if (i < a->elements.count)
            d->turn.events[d->turn.event_count - 1].elements = a->elements.items[i];
        if (rc)
            d->turn.errors[d->turn.event_count - 1] = why;
    }
    turn_waiter(&d->turn, &r->peer, MESSAGE_JOB_ACTION, r->message->id, first);
    return 0;
}

int node_action_take(struct musterd *d, const struct request *r, const struct node_action *a, struct error *err) {
    size_t first = d->turn.event_count;
    bool drain = !strcmp(a->verb, "drain");
    if (!drain && strcmp(a->verb, "resume"))
        return error_set(err, ERR_INVALID, "'%s' is not something to do to a node: drain or resume", a->verb);
    if (!a->nodes.count)
        return error_set(err, ERR_INVALID, "no node is named");
    for (size_t i = 0; i < a->nodes.count; i++) {
        struct event *e = turn_event(&d->turn, drain ? EVENT_NODE_DRAINED : EVENT_NODE_RESUMED);
        e->node = a->nodes.items[i];
        e->uid = r->peer.uid;
        e->text = a->reason;
    }
    turn_waiter(&d->turn, &r->peer, MESSAGE_NODE_ACTION, r->message->id, first);
    return 0;
}
