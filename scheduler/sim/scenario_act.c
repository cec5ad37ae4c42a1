/* What can happen in a scenario: a table of verbs, each a few lines that make an event of a line's words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/text.h"
#include "scheduler/sim/scenario.h"

static int number_of(const struct words *w, const char *key, int64_t absent, int64_t *value, struct error *err) {
    const char *text = words_value(w, key);
    *value = absent;
    return text ? text_parse_int(text, -1, INT32_MAX, value, err) : 0;
}

static int duration_of(const struct words *w, const char *key, int64_t absent, int64_t *value, struct error *err) {
    const char *text = words_value(w, key);
    *value = absent;
    return text ? text_parse_duration_ms(text, value, err) : 0;
}

static const char *first_operand(const struct words *w) { return w->count > 1 ? w->at[1] : ""; }

/* ---- nodes ---- */

static int node_index(const struct scenario *s, const char *name) {
    for (int i = 0; i < s->node_count; i++)
        if (!strcmp(s->nodes[i].name, name))
            return i;
    return -1;
}

static int send_up(struct scenario *s, int n, struct error *err) {
    struct event e;
    event_of_node_up(&e, s->nodes[n].name, s->nodes[n].rack, s->nodes[n].boot_id, &s->nodes[n].shape, &s->arena);
    return world_apply(&s->w, &e, err);
}

/* node NAME [rack=R] [gpus=PROFILE|N|NxM] [type=T] [cpus=N] [memory=SIZE] [nic=GBS] [features=A,B] */
static int act_node(struct scenario *s, const struct words *w, struct error *err) {
    const char *profile = words_value(w, "gpus"), *rack = words_value(w, "rack"), *memory = words_value(w, "memory");
    const char *type = words_value(w, "type"), *features = words_value(w, "features");
    int n = node_index(s, first_operand(w)), rc;
    if (n < 0) {
        n = s->node_count++;
        text_copy(s->nodes[n].name, sizeof s->nodes[n].name, first_operand(w));
        text_copy(s->nodes[n].boot_id, sizeof s->nodes[n].boot_id, "boot");
    }
    struct node_shape *shape = &s->nodes[n].shape;
    if ((rc = node_shape_of_profile(profile ? profile : "0", shape, err)) ||
        (rc = number_of(w, "cpus", shape->cpus, &shape->cpus, err)) || (rc = number_of(w, "nic", shape->nic_gbs, &shape->nic_gbs, err)) ||
        (memory && (rc = text_parse_size_mib(memory, &shape->memory_mib, err))))
        return rc;
    shape->type = type ? arena_copy(&s->arena, type, strlen(type)) : NULL;
    shape->features = features ? arena_copy(&s->arena, features, strlen(features)) : NULL;
    text_copy(s->nodes[n].rack, sizeof s->nodes[n].rack, rack ? rack : "rack0");
    return send_up(s, n, err);
}

static int act_up(struct scenario *s, const struct words *w, struct error *err) {
    int n = node_index(s, first_operand(w));
    if (n < 0)
        return error_set(err, ERR_NOT_FOUND, "no node '%s'", first_operand(w));
    if (!strcmp(w->at[0], "reboot"))
        snprintf(s->nodes[n].boot_id, sizeof s->nodes[n].boot_id, "boot%d", s->line);
    return send_up(s, n, err);
}

static int on_node(struct scenario *s, const struct words *w, enum event_type type, struct error *err) {
    struct event e;
    event_init(&e, type);
    e.node = first_operand(w);
    e.text = w->count > 2 ? w->at[2] : "";
    return world_apply(&s->w, &e, err);
}

static int act_lose(struct scenario *s, const struct words *w, struct error *err) { return on_node(s, w, EVENT_NODE_LOST, err); }
static int act_expire(struct scenario *s, const struct words *w, struct error *err) { return on_node(s, w, EVENT_NODE_EXPIRED, err); }
static int act_drain(struct scenario *s, const struct words *w, struct error *err) { return on_node(s, w, EVENT_NODE_DRAINED, err); }
static int act_resume(struct scenario *s, const struct words *w, struct error *err) { return on_node(s, w, EVENT_NODE_RESUMED, err); }

/* ---- queues: queue NAME [guarantee=N] [limit=N] [weight=N] [drain]; set NAME [type=T] [SETTING=VALUE]... [drain] [evict];
 * apply "NAME SETTING=VALUE ..." ... [drain] [evict]; rename OLD NEW; delete NAME [to=OTHER] ---- */

static int act_queue(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    int rc;
    event_init(&e, EVENT_QUOTA_SET);
    e.queue = first_operand(w);
    e.drain = words_have(w, "drain");
    if ((rc = number_of(w, "guarantee", 0, &e.guarantee, err)) || (rc = number_of(w, "limit", NO_LIMIT, &e.limit, err)) ||
        (rc = number_of(w, "weight", 1, &e.weight, err)))
        return rc;
    return world_apply(&s->w, &e, err);
}

static int act_delete(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    const char *to = words_value(w, "to");
    event_init(&e, EVENT_QUOTA_DELETED);
    e.queue = first_operand(w);
    e.to = to ? to : "";
    return world_apply(&s->w, &e, err);
}

static int act_rename(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    event_init(&e, EVENT_QUOTA_RENAMED);
    e.queue = first_operand(w);
    e.to = w->count > 2 ? w->at[2] : "";
    return world_apply(&s->w, &e, err);
}

/* SETTING=VALUE: of the queue, or of the type of GPU that was named before it. */
static int read_setting(struct scenario *s, const char *word, struct queue_spec *spec, const char **type, struct error *err) {
    char name[32];
    const char *equals = strchr(word, '=');
    if (!equals || (size_t)(equals - word) >= sizeof name)
        return error_set(err, ERR_INVALID, "'%s': expected SETTING=VALUE", word);
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    int setting = queue_setting_from_name(name);
    if (!strcmp(name, "type"))
        *type = arena_copy(&s->arena, equals + 1, strlen(equals + 1));
    else if (setting < 0 || (*type && setting >= QUEUE_TYPED_COUNT))
        return error_set(err, ERR_INVALID, "'%s' is not a setting%s", name, *type ? " of a type of GPU" : "");
    else if (*type)
        return queue_typed_parse(queue_spec_typed(spec, *type, &s->arena), setting, equals + 1, err);
    else
        return queue_spec_parse(spec, setting, equals + 1, &s->arena, err);
    return 0;
}

static int act_set(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    struct queue_spec spec;
    const char *type = NULL;
    int rc = 0;
    event_init(&e, EVENT_QUOTA_SET);
    queue_spec_init(&spec, first_operand(w));
    for (int i = 2; i < w->count && !rc; i++)
        if (strcmp(w->at[i], "drain") && strcmp(w->at[i], "evict"))
            rc = read_setting(s, w->at[i], &spec, &type, err);
    e.drain = words_have(w, "drain");
    e.evict = words_have(w, "evict");
    e.queues = (struct rows){1, &spec};
    return rc ? rc : world_apply(&s->w, &e, err);
}

static int read_row(struct scenario *s, const char *text, struct queue_spec *spec, struct error *err) {
    char *rest = arena_copy(&s->arena, text, strlen(text)), *word;
    const char *type = NULL;
    int rc = 0;
    queue_spec_init(spec, strsep(&rest, " "));
    spec->whole = true;
    while (!rc && (word = strsep(&rest, " ")))
        if (!strcmp(word, "removed"))
            spec->removed = true;
        else
            rc = read_setting(s, word, spec, &type, err);
    return rc;
}

static int act_apply(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    struct queue_spec rows[WORDS_MAX];
    size_t count = 0;
    int rc = 0;
    event_init(&e, EVENT_QUOTA_SET);
    for (int i = 1; i < w->count && !rc; i++)
        if (strcmp(w->at[i], "drain") && strcmp(w->at[i], "evict"))
            rc = read_row(s, w->at[i], &rows[count++], err);
    e.drain = words_have(w, "drain");
    e.evict = words_have(w, "evict");
    e.queues = (struct rows){count, rows};
    return rc ? rc : world_apply(&s->w, &e, err);
}

/* ---- jobs ---- */

static int read_after(struct scenario *s, const char *text, struct job_submission *out, struct error *err) {
    struct job_after_row *row = arena_array(&s->arena, 1, sizeof *row);
    const char *colon = strchr(text, ':');
    row->job = colon ? scenario_job(s, colon + 1) : -1;
    row->ok = colon && !strncmp(text, "ok", 2);
    out->after = (struct rows){1, row};
    return row->job < 0 ? error_set(err, ERR_INVALID, "after=%s: expected ok:NAME or any:NAME", text) : 0;
}

static int name_in(const char *what, const char *text, int (*from_name)(const char *), int64_t *value, struct error *err) {
    *value = text ? from_name(text) : 0;
    return *value < 0 ? error_set(err, ERR_INVALID, "%s: no such %s", text, what) : 0;
}

/* gpus=8 or gpus=4..16 */
static int gpus_of(const struct words *w, struct job_submission *j, struct error *err) {
    const char *text = words_value(w, "gpus");
    struct text_range range = {0, 0};
    int rc = text ? text_parse_range(text, 0, JOB_GPUS_MAX, &range, err) : 0;
    j->gpus = range.most;
    j->gpus_min = range.least < range.most ? range.least : 0;
    return rc ? error_wrap(err, "gpus") : 0;
}

static const char *text_of(const struct words *w, const char *key) { return words_value(w, key) ? words_value(w, key) : ""; }

/* submit NAME [user=UID] [queue=Q] [gpus=N or N..M] [nodes=N] [ranks=N] [cpus=N] [memory=SIZE] [priority=N] [time=D] [estimate=D]
 * [grace=D] [retries=N] [launcher=L] [topology=T] [prefer=T] [gpu-type=T] [features=A,B] [nodelist=A,B] [exclude=A,B] [exclusive]
 * [compact] [after=ok:NAME] [array=0-9%3] [hold] [not-preemptible] [on-lost-wait] */
static int read_submission(struct scenario *s, const struct words *w, struct event *e, struct error *err) {
    struct job_submission *j = &e->submission;
    const char *memory = words_value(w, "memory"), *after = words_value(w, "after"), *queue = words_value(w, "queue"),
               *array = words_value(w, "array");
    int rc;
    event_init(e, EVENT_JOB_SUBMITTED);
    e->job = s->w.c.next_job;
    e->queue = queue ? queue : "default";
    j->array = array ? array : "";
    j->hold = words_have(w, "hold");
    j->compact = words_have(w, "compact");
    j->not_preemptible = words_have(w, "not-preemptible");
    j->on_lost_wait = words_have(w, "on-lost-wait");
    j->exclusive = words_have(w, "exclusive");
    j->gpu_type = text_of(w, "gpu-type");
    j->features = text_of(w, "features");
    j->nodelist = text_of(w, "nodelist");
    j->exclude = text_of(w, "exclude");
    if ((rc = number_of(w, "user", 0, &e->uid, err)) || (rc = gpus_of(w, j, err)) ||
        (rc = number_of(w, "nodes", 0, &j->nodes, err)) ||
        (rc = number_of(w, "ranks", 0, &j->ranks, err)) || (rc = number_of(w, "cpus", 1, &j->cpus_per_rank, err)) ||
        (rc = number_of(w, "priority", 0, &j->priority, err)) || (rc = number_of(w, "retries", 0, &j->retries, err)) ||
        (rc = duration_of(w, "time", 0, &j->time_limit_ms, err)) ||
        (rc = duration_of(w, "estimate", 0, &j->estimate_ms, err)) || (rc = duration_of(w, "grace", 60000, &j->grace_ms, err)) ||
        (rc = name_in("launcher", words_value(w, "launcher"), job_launcher_from_name, &j->launcher, err)) ||
        (rc = name_in("topology", words_value(w, "topology"), topology_level_from_name, &j->topology, err)) ||
        (rc = name_in("preference", words_value(w, "prefer"), topology_level_from_name, &j->prefer, err)) ||
        (memory && (rc = text_parse_size_mib(memory, &j->memory_mib, err))) || (after && (rc = read_after(s, after, j, err))))
        return rc;
    int32_t q = cluster_queue(&s->w.c, e->queue);
    if ((rc = policy_take_whole_nodes(&s->w.c, j, err)))
        return rc;
    return q >= 0 ? policy_can_ever_fit(&s->w.c, j, q, err) : 0;   /* as the daemon does before it takes a job */
}

static int act_submit(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    int rc = read_submission(s, w, &e, err);
    if (rc)
        return rc;
    if (s->job_count == JOBS_MAX)
        return error_set(err, ERR_INVALID, "a scenario has at most %d jobs", JOBS_MAX);
    if ((rc = world_apply(&s->w, &e, err)))
        return rc;
    text_copy(s->jobs[s->job_count].name, sizeof s->jobs[0].name, first_operand(w));
    s->jobs[s->job_count++].id = e.job;
    return 0;
}

/* try starts|waits|takes [as of submit] [what is expected of it]: `muster submit --test-only` */
static int act_try(struct scenario *s, const struct words *w, struct error *err) {
    struct event e;
    int rc = read_submission(s, w, &e, err);
    struct job *j = rc ? NULL : cluster_try_submission(&s->w.c, &e, s->w.now_ms, err);
    if (!j)
        return (int)err->code;
    scenario_expect_outlook(s, w, j);
    cluster_drop_tried(&s->w.c, j);
    return 0;
}

static int on_job(struct scenario *s, const struct words *w, enum event_type type, struct error *err) {
    struct event e;
    const char *name = first_operand(w), *bracket = strchr(name, '[');
    char array[32], elements[256] = "";
    event_init(&e, type);
    snprintf(array, sizeof array, "%.*s", bracket ? (int)(bracket - name) : 31, name);
    if (bracket)
        snprintf(elements, sizeof elements, "%.*s", (int)strcspn(bracket + 1, "]"), bracket + 1);
    e.job = scenario_job(s, array);
    e.elements = elements;
    return world_apply(&s->w, &e, err);
}

static int act_cancel(struct scenario *s, const struct words *w, struct error *err) { return on_job(s, w, EVENT_JOB_CANCELLED, err); }
static int act_hold(struct scenario *s, const struct words *w, struct error *err) { return on_job(s, w, EVENT_JOB_HELD, err); }
static int act_release(struct scenario *s, const struct words *w, struct error *err) { return on_job(s, w, EVENT_JOB_RELEASED, err); }
static int act_requeue(struct scenario *s, const struct words *w, struct error *err) { return on_job(s, w, EVENT_JOB_REQUEUED, err); }

/* ---- what nodes report: start NAME, exit NAME [code=N], signal NAME [signal=N] [rank=N], yield NAME [step=N], stopped NAME, lost NAME,
 * fail-launch NAME, refuse NAME, checkpoint NAME step=N; each [on=NODE], else of all its tasks, the head first (checkpoint: of the head)
 * ---- */

static const struct report { const char *verb; enum event_type type; enum exit_kind kind; bool head_only; } reports[] = {
    {"start", EVENT_TASK_STARTED, EXIT_NONE, false},     {"exit", EVENT_TASK_EXITED, EXIT_CODE, false},
    {"signal", EVENT_TASK_EXITED, EXIT_SIGNAL, false},   {"yield", EVENT_TASK_EXITED, EXIT_YIELDED, false},
    {"stopped", EVENT_TASK_EXITED, EXIT_STOPPED, false}, {"lost", EVENT_TASK_EXITED, EXIT_LOST, false},
    {"fail-launch", EVENT_TASK_EXITED, EXIT_UNLAUNCHED, false},
    {"refuse", EVENT_TASK_REFUSED, EXIT_NONE, false},    {"checkpoint", EVENT_CHECKPOINTED, EXIT_NONE, true},
};

static int send_report(struct scenario *s, const struct words *w, const struct report *r, const struct event *of_task, bool head,
                       struct error *err) {
    struct event e = *of_task;
    int rc;
    e.kind = r->kind;
    if ((rc = number_of(w, r->kind == EXIT_SIGNAL ? "signal" : "code", r->kind == EXIT_SIGNAL ? 9 : 0, &e.status, err)) ||
        (rc = number_of(w, "rank", -1, &e.rank, err)) || (rc = number_of(w, "step", -1, &e.step, err)))
        return rc;
    if (!head && r->type == EVENT_TASK_EXITED && !words_value(w, "on"))
        e.kind = EXIT_STOPPED;   /* the others follow the head */
    return world_apply(&s->w, &e, err);
}

static int act_report(struct scenario *s, const struct words *w, struct error *err) {
    const struct job *j = cluster_job(&s->w.c, scenario_job(s, first_operand(w)));
    const char *on = words_value(w, "on");
    const struct report *r = reports;
    struct event events[64];
    int count = 0, rc = 0;
    while (strcmp(r->verb, w->at[0]))
        r++;
    for (int32_t i = 0; j && i < j->placement.task_count && count < 64; i++)
        if ((!on || !strcmp(on, s->w.c.nodes[j->placement.tasks[i].node].name)) && (!r->head_only || !i))
            event_of_task(&events[count++], r->type, &s->w.c, j, &j->placement.tasks[i]);
    if (!count)
        return error_set(err, ERR_NOT_FOUND, "job '%s' has no task%s%s", first_operand(w), on ? " on " : "", on ? on : "");
    for (int i = 0; i < count && !rc; i++)
        rc = send_report(s, w, r, &events[i], i == 0, err);
    return rc;
}

static const struct { const char *verb; int (*act)(struct scenario *s, const struct words *w, struct error *err); } verbs[] = {
    {"node", act_node},     {"up", act_up},           {"reboot", act_up},     {"lose", act_lose},       {"expire", act_expire},
    {"drain", act_drain},   {"resume", act_resume},   {"queue", act_queue},   {"delete", act_delete},   {"submit", act_submit},
    {"try", act_try},
    {"set", act_set},       {"apply", act_apply},     {"rename", act_rename},
    {"cancel", act_cancel}, {"hold", act_hold},       {"release", act_release}, {"requeue", act_requeue},
};

int scenario_act(struct scenario *s, const struct words *w, struct error *err) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].verb, w->at[0]))
            return verbs[i].act(s, w, err);
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        if (!strcmp(reports[i].verb, w->at[0]))
            return act_report(s, w, err);
    return error_set(err, ERR_INVALID, "no such verb; see tests/scenarios/README.md");
}
