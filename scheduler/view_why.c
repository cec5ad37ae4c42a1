/* Why jobs wait, whole: the reason, who is in the way, the expected start, and what would let them start. The same of a job that nobody has
 * submitted: `muster submit --test-only`.
 *
 * This is work of the loop, for it asks the policy's own questions of the very cluster. One opening of a pass, which costs about what a
 * decision does, serves all jobs of a question; each is bounded (forecast.h, outlook.h), and so is their number in time: the rest get
 * their reasons, and no outlook. */
#include "scheduler/view_why.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/authorise.h"
#include "scheduler/cluster/array.h"
#include "scheduler/job_json.h"
#include "scheduler/policy/outlook.h"

enum { LOOK_US = 10000, QUEUES_ASKED_MAX = 256 };

/* By queue; NULL where there are so many that asking would take long. */
static bool *queues_of(struct musterd *d, const struct peer *peer, struct arena *arena) {
    const struct cluster *c = &d->cluster;
    if (peer->kind != PEER_LOCAL_USER || c->queue_count > QUEUES_ASKED_MAX)
        return NULL;
    const struct known_user *u = users_find(d->users, peer->uid, peer->gid);
    unsigned roles = authorise_roles(peer, d->settings.admins);
    bool *may_use = arena_array(arena, (size_t)c->queue_count, sizeof *may_use);
    for (int32_t q = 0; q < c->queue_count; q++)
        may_use[q] = !c->queues[q].deleted && !authorise_queue(c, c->queues[q].name, QUEUE_SUBMIT, u, roles, NULL);
    return may_use;
}

/* ---- as JSON ---- */

static json_t *changes_json(const struct outlook *o) {
    json_t *changes = json_array();
    for (int32_t i = 0; i < o->change_count; i++)
        json_array_append_new(changes, json_pack("{s:s, s:s, s:s}", "option", o->changes[i].option, "effect", o->changes[i].effect, "by",
                                                 o->changes[i].of_admin ? "admin" : "user"));
    return changes;
}

/* Ids as users write them: a number, or of an element "12[7]". */
static json_t *holders_json(const struct cluster *c, const struct outlook *o) {
    json_t *holders = json_array();
    for (int32_t i = 0; i < o->holder_count && i < OUTLOOK_HOLDERS; i++) {
        struct job_name name = job_name(c, o->holders[i]);
        json_array_append_new(holders, strchr(name.text, '[') ? json_string(name.text) : json_integer(o->holders[i]));
    }
    return holders;
}

static void add_expected(const struct musterd *d, const struct forecast *f, json_t *out) {
    bool known = f->at_ms != INT64_MAX;
    int64_t wall_ms = known ? clock_wall_ms() + f->at_ms - musterd_cluster_ms(d) : 0;
    json_object_set_new(out, "expected_start_ms", known ? json_integer(wall_ms) : json_null());
    json_object_set_new(out, "expected_start_basis", json_string(f->basis));
}

static json_t *reason_json(const struct musterd *d, const struct job *j, const struct outlook *o) {
    const struct cluster *c = &d->cluster;
    char text[512], remedy[512];
    if (o->reason.code == WAIT_NONE)
        return json_null();
    json_t *out = json_pack("{s:s, s:s, s:s, s:o, s:i, s:I, s:o}", "code", wait_code_name((int)o->reason.code), "text",
                            reason_text(c, j, &o->reason, text, sizeof text), "remedy",
                            reason_remedy(c, j, &o->reason, remedy, sizeof remedy), "holders", holders_json(c, o), "holder_count",
                            o->holder_count, "holder_gpus", (json_int_t)o->holder_gpus, "changes", changes_json(o));
    add_expected(d, &o->expected, out);
    return out;
}

/* ---- jobs that wait ---- */

static void put_reason(const struct musterd *d, const struct job *j, struct outlook_asker *asker, bool in_time, json_t *row) {
    struct outlook o;
    if (in_time) {
        outlook_ask(asker, j, &o);
    } else {
        o = (struct outlook){.expected = {.at_ms = INT64_MAX, .basis = "too many jobs were asked for at once: ask for fewer"}, .rule = ""};
        policy_reason(&d->cluster, j, &o.reason);
    }
    json_object_set_new(row, "reason", reason_json(d, j, &o));
}

void view_why_complete(struct musterd *d, const struct peer *peer, json_t *rows) {
    int64_t until_us = clock_boot_us() + LOOK_US;
    struct outlook_asker asker;
    struct arena arena = {0};
    bool open = false;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const struct job *j = cluster_job(&d->cluster, json_integer_value(json_object_get(row, "number")));
        if (!j || (j->state != JOB_PENDING && j->state != JOB_HELD))
            continue;
        bool first = !open;   /* who asks for one job is always answered */
        if (first)
            outlook_open(&asker, &d->cluster, musterd_cluster_ms(d), NULL, queues_of(d, peer, &arena), &arena);
        open = true;
        put_reason(d, j, &asker, first || clock_boot_us() < until_us, row);
    }
    if (open)
        outlook_close(&asker);
    arena_release(&arena);
}

/* ---- one that nobody has submitted ---- */

static json_t *place_json(const struct musterd *d, const struct outlook *o, struct arena *arena) {
    struct stored_placement row;
    stored_placement_from(&d->cluster, &o->where, &row, arena);
    return placement_json(&row);
}

json_t *view_why_newcomer(struct musterd *d, const struct peer *peer, const struct job *newcomer) {
    static const char *const verdicts[] = {[OUTLOOK_WAITS] = "waits", [OUTLOOK_STARTS] = "starts", [OUTLOOK_TAKES] = "takes"};
    struct outlook_asker asker;
    struct outlook o;
    struct arena arena = {0};
    outlook_open(&asker, &d->cluster, musterd_cluster_ms(d), newcomer, queues_of(d, peer, &arena), &arena);
    outlook_ask(&asker, newcomer, &o);
    outlook_close(&asker);
    if (o.verdict == OUTLOOK_STARTS)
        o.expected.at_ms = musterd_cluster_ms(d);
    json_t *out = json_pack("{s:s, s:o, s:o}", "verdict", verdicts[o.verdict], "placement", place_json(d, &o, &arena), "reason",
                            o.verdict == OUTLOOK_WAITS ? reason_json(d, newcomer, &o) : json_null());
    json_object_set_new(out, "evicts", o.verdict == OUTLOOK_TAKES
                        ? json_pack("{s:o, s:i, s:I, s:s}", "jobs", holders_json(&d->cluster, &o), "count", o.holder_count, "gpus",
                                    (json_int_t)o.holder_gpus, "rule", o.rule) : json_null());
    add_expected(d, &o.expected, out);
    arena_release(&arena);
    return out;
}
