/* Which document, made where, and when. A view with after_turn is parked until the cluster has changed after that turn, or until what is
 * soft in it (steps, telemetry) has changed for a second, but never longer than ten. */
#include "scheduler/view.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/version.h"
#include "common/xmalloc.h"
#include "scheduler/authorise.h"
#include "scheduler/element.h"
#include "scheduler/export.h"
#include "scheduler/prune.h"
#include "scheduler/view_why.h"

enum { PARK_MS = 10000, SOFT_MS = 1000, PAGE_ROWS = 1000, PARKED_OF_ONE = 4096, PARKED_MAX = 65536 };

/* Answers of a turn get this long; the rest waits for the next, so that many questions of some never keep the others waiting. */
enum { ANSWERS_US = 10000 };

/* ---- the cluster in one row ---- */

static json_t *view_cluster(const struct musterd *d, const struct peer *peer, unsigned roles) {
    const struct cluster *c = &d->cluster;
    struct passwd *pw = peer->kind == PEER_LOCAL_USER ? getpwuid(peer->uid) : NULL;
    int64_t up = 0, used = 0;
    for (int32_t i = 0; i < c->node_count; i++) {
        up += c->nodes[i].state == NODE_UP;
        used += __builtin_popcount(c->nodes[i].gpus_used);
    }
    int live = c->index.live.count;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:i, s:o, s:I, s:s, s:b}", "version", muster_version, "epoch",
                     (json_int_t)d->epoch, "turn", (json_int_t)(d->store ? store_turn(d->store) : 0), "cluster_ms",
                     (json_int_t)musterd_cluster_ms(d), "wall_ms", (json_int_t)clock_wall_ms(), "nodes_up", (json_int_t)up, "nodes_total",
                     c->node_count, "gpus_total", (json_int_t)cluster_gpu_count(c), "gpus_used", (json_int_t)used, "jobs_pending",
                     (json_int_t)c->index.waiting, "jobs_running", live, "store",
                     d->store_failure.code ? json_sprintf("failing: %s", d->store_failure.text) : json_string("ok"), "uid",
                     (json_int_t)(peer->kind == PEER_LOCAL_USER ? peer->uid : 0), "user", pw ? pw->pw_name : "", "admin",
                     (roles & ROLE_ADMIN) != 0);
}

/* ---- listings from memory ---- */

static json_t *jobs_in_memory(const struct musterd *d, const struct view *v) {
    if (v->jobs.count)
        return json_pack("{s:o}", "jobs", view_asked_rows(d, v));
    json_t *jobs = json_array();
    int64_t limit = v->limit > 0 && v->limit < PAGE_ROWS ? v->limit : PAGE_ROWS;
    for (int i = 0; i < d->cluster.job_count && (int64_t)json_array_size(jobs) < limit; i++)
        if (d->cluster.jobs[i]->id >= v->from && view_job_matches(d, v, d->cluster.jobs[i]))
            json_array_append_new(jobs, view_job_row(d, d->cluster.jobs[i]));
    return json_pack("{s:o}", "jobs", jobs);
}

static bool all_in_memory(const struct musterd *d, const struct view *v) {
    for (size_t i = 0; i < v->jobs.count; i++)
        if (!cluster_job(&d->cluster, job_ref_job(v->jobs.items[i])))
            return false;
    return v->jobs.count > 0;
}

/* Does this view tell of jobs that memory has forgotten, or more than memory knows of any? */
static bool needs_store(const struct musterd *d, const struct view *v) {
    if (!strcmp(v->what, "job") || !strcmp(v->what, "why") || !strcmp(v->what, "quota_history") || !strcmp(v->what, "events"))
        return true;
    if (strcmp(v->what, "jobs"))
        return false;
    if (v->jobs.count)
        return !all_in_memory(d, v);
    return *v->state ? job_state_is_final(job_state_from_name(v->state)) : v->all;
}

static json_t *from_memory(const struct musterd *d, const struct view *v, const struct peer *peer, unsigned roles) {
    if (!strcmp(v->what, "jobs"))
        return jobs_in_memory(d, v);
    if (!strcmp(v->what, "nodes"))
        return view_nodes(d);
    if (!strcmp(v->what, "top"))
        return view_top(d);
    if (!strcmp(v->what, "queues"))
        return view_queues(d, v);
    return view_cluster(d, peer, roles);
}

/* ---- answering ---- */

static void send_rows(struct musterd *d, const struct peer *to, int64_t id, json_t *document) {
    struct rows_reply reply = {.turn = d->store ? store_turn(d->store) : 0, .document = document};
    musterd_send(d, to, MESSAGE_ROWS_REPLY, id, &reply);
}

static int answer_now(struct musterd *d, const struct peer *peer, unsigned roles, int64_t id, const struct view *asked, struct error *err) {
    struct view resolved = *asked, *v = &resolved;
    v->jobs.items = arena_array(&d->turn.arena, v->jobs.count, sizeof *v->jobs.items);
    for (size_t i = 0; i < v->jobs.count; i++)
        v->jobs.items[i] = element_resolve(d, asked->jobs.items[i]);
    if (needs_store(d, v))
        return reader_ask(d->reader, read_new(peer, id, v), err);
    json_t *document = from_memory(d, v, peer, roles);
    send_rows(d, peer, id, document);
    json_decref(document);
    return 0;
}

static void send_read(struct musterd *d, struct read *q) {
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(q->document, "jobs"), i, row)
        view_job_complete(d, &q->view, row);
    if (!strcmp(q->view.what, "why"))
        view_why_complete(d, &q->peer, json_object_get(q->document, "jobs"));
    send_rows(d, &q->peer, q->id, q->document);
}

void view_take_answers(struct musterd *d) {
    int64_t until_us = clock_boot_us() + ANSWERS_US;
    struct read *q;
    while (clock_boot_us() < until_us && (q = reader_take(d->reader))) {
        if (q->kind == READ_SNAPSHOT)
            prune_take(d, q);
        else if (q->err.code)
            musterd_send_failure(d, &q->peer, q->id, &q->err);
        else if (q->kind == READ_EXPORT)
            export_send(d, q);
        else
            send_read(d, q);
        if (q->kind != READ_SNAPSHOT)
            read_free(q);
    }
}

/* ---- parked views ---- */

struct parked {
    struct read *asked;       /* only for its peer, id and copied view */
    unsigned roles;
    int64_t since_ms;         /* boot clock */
    struct parked *prev, *next;
};

/* Views of certain jobs care for those only: else every turn of a busy cluster would wake all who wait for one job. */
static bool facts_changed(const struct musterd *d, const struct view *v) {
    if (!d->store || store_turn(d->store) <= v->after_turn)
        return false;
    for (size_t i = 0; i < v->jobs.count; i++) {
        const struct job *j = element_in_memory(d, v->jobs.items[i]);
        if (!j || (int64_t)j->changed_turn > v->after_turn)
            return true;
    }
    return !v->jobs.count;
}

static bool soft_changed(const struct musterd *d, const struct parked *p, int64_t now_ms) {
    const struct view *v = &p->asked->view;
    bool shows_soft = !strcmp(v->what, "jobs") || !strcmp(v->what, "job") || !strcmp(v->what, "top");
    return shows_soft && d->soft.changed_ms >= p->since_ms && now_ms - p->since_ms >= SOFT_MS;
}

static bool parked_is_due(const struct musterd *d, const struct parked *p, int64_t now_ms) {
    return facts_changed(d, &p->asked->view) || soft_changed(d, p, now_ms) || now_ms - p->since_ms >= PARK_MS;
}

void view_answer_parked(struct musterd *d) {
    int64_t now_ms = clock_boot_ms(), until_us = clock_boot_us() + ANSWERS_US;
    struct parked *p, *next;
    d->parked_due = false;
    DL_FOREACH_SAFE(d->parked, p, next) {
        struct error err;
        if (!parked_is_due(d, p, now_ms))
            continue;
        if ((d->parked_due = clock_boot_us() >= until_us))
            return;
        int rc = answer_now(d, &p->asked->peer, p->roles, p->asked->id, &p->asked->view, &err);
        if (rc)
            musterd_send_failure(d, &p->asked->peer, p->asked->id, &err);
        DL_DELETE(d->parked, p);
        read_free(p->asked);
        free(p);
    }
}

int64_t view_next_ms(const struct musterd *d) {
    if (d->parked_due)
        return clock_boot_ms();
    return d->parked ? clock_boot_ms() + SOFT_MS / 4 : INT64_MAX;
}

static int park(struct musterd *d, const struct request *r, const struct view *view, struct error *err) {
    int of_one = 0, of_all = 0;
    struct parked *p;
    DL_FOREACH(d->parked, p) {
        of_one += authorise_same_user(&p->asked->peer, &r->peer);
        of_all++;
    }
    if (of_one >= PARKED_OF_ONE || of_all >= PARKED_MAX)
        return error_set(err, ERR_BUSY, "%d views wait for a change: ask again when some have been answered", of_one);
    p = xcalloc(1, sizeof *p);
    *p = (struct parked){.asked = read_new(&r->peer, r->message->id, view), .roles = r->roles, .since_ms = clock_boot_ms()};
    DL_APPEND(d->parked, p);
    return 0;
}

/* ---- asking ---- */

static int check_view(const struct view *v, struct error *err) {
    static const char *const known[] = {"jobs", "job", "why", "nodes", "top", "queues", "cluster", "quota_history", "events"};
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        found |= !strcmp(v->what, known[i]);
    if (!found)
        return error_set(err, ERR_INVALID, "'%s' is not a view: jobs, job, why, nodes, top, queues, cluster, quota_history or events",
                         v->what);
    if (*v->state && job_state_from_name(v->state) < 0)
        return error_set(err, ERR_INVALID, "'%s' is not a state of a job: PENDING, RUNNING, COMPLETED, ...", v->state);
    if ((!strcmp(v->what, "job") || !strcmp(v->what, "why")) && !v->jobs.count)
        return error_set(err, ERR_INVALID, "no job is named");
    if (!strcmp(v->what, "events") && v->jobs.count > 1)
        return error_set(err, ERR_INVALID, "events are of one job, or of all");
    return 0;
}

/* One that is deleted may still have jobs that are over. */
static int check_queue(const struct musterd *d, const struct view *v, struct error *err) {
    if (!*v->queue || strcmp(v->what, "jobs"))
        return 0;
    for (int32_t i = 0; i < d->cluster.queue_count; i++)
        if (!strcmp(d->cluster.queues[i].name, v->queue))
            return 0;
    return error_set(err, ERR_NOT_FOUND, "no such queue: '%.64s' (`muster quota show` lists them)", v->queue);
}

int view_take(struct musterd *d, const struct request *r, const struct view *view, struct error *err) {
    int rc = check_view(view, err);
    if (rc || (d->store && (rc = check_queue(d, view, err))))
        return rc;
    for (size_t i = 0; i < view->jobs.count && d->store; i++)
        if (job_ref_element(view->jobs.items[i]) >= 0 && (rc = element_check(d, view->jobs.items[i], err)))
            return rc;
    if (!d->store && strcmp(view->what, "cluster"))
        return error_set(err, ERR_STORE, "the store can't be read now: %.400s", d->store_failure.text);
    if (view->after_turn > 0 && !facts_changed(d, view))
        return park(d, r, view, err);
    return answer_now(d, &r->peer, r->roles, r->message->id, view, err);
}
