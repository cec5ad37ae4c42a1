/* Decisions of a log against decisions of now; see redecide.h. */
#include "scheduler/sim/redecide.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"

void redecide_init(struct redecide *r, int64_t most) { *r = (struct redecide){.most = most, .differences = json_array()}; }

void redecide_release(struct redecide *r) {
    arena_release(&r->arena);
    json_decref(r->differences);
}

/* ---- comparing ---- */

/* But for what is told of it: how a rule is worded is no decision. */
static void encode(const struct event *e, struct buffer *out) {
    struct event bare = *e;
    bare.text = bare.rule = bare.gpu_type = "";
    bare.gpus_asked = bare.gpus_taken = 0;
    buffer_clear(out);
    record_encode(&event_schema, &bare, out);
}

static bool all_equal(const struct event *a, size_t a_count, const struct event *b, size_t b_count) {
    struct buffer x = {0}, y = {0};
    bool equal = a_count == b_count;
    for (size_t i = 0; i < a_count && equal; i++) {
        encode(&a[i], &x);
        encode(&b[i], &y);
        equal = x.size == y.size && !memcmp(x.data, y.data, x.size);
    }
    buffer_release(&x);
    buffer_release(&y);
    return equal;
}

/* ---- telling ---- */

static void tell_placement(const struct event_placement *p, char *text, size_t size, size_t *used) {
    const struct event_task *tasks = p->tasks.items;
    for (size_t i = 0; i < p->tasks.count; i++) {
        text_append(text, size, used, "%s%s", i ? ", " : " on ", tasks[i].node);
        for (size_t g = 0; g < tasks[i].gpu_order.count; g++)
            text_append(text, size, used, "%s%lld", g ? "," : " gpus ", (long long)tasks[i].gpu_order.items[g]);
        text_append(text, size, used, " (%lld ranks)", (long long)tasks[i].ranks);
    }
}

static json_t *tell(const struct event *e) {
    char text[2048];
    size_t used = 0;
    text_append(text, sizeof text, &used, "%s job %lld", event_type_name((int)e->type), (long long)e->job);
    if (e->type == EVENT_JOB_STOP)
        text_append(text, sizeof text, &used, " %s", stop_cause_name((int)e->cause));
    if (e->other)
        text_append(text, sizeof text, &used, e->type == EVENT_JOB_FAIL ? " after job %lld" : " for job %lld", (long long)e->other);
    if (e->deadline_ms)
        text_append(text, sizeof text, &used, " until %lld ms", (long long)e->deadline_ms);
    tell_placement(&e->placement, text, sizeof text, &used);
    return json_string(text);
}

static json_t *tell_all(const struct event *events, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, tell(&events[i]));
    return list;
}

/* ---- asking ---- */

void redecide_ask(struct redecide *r, struct cluster *c, int64_t now_ms, const struct event *logged, size_t count) {
    struct plan plan;
    r->asked++;
    arena_reset(&r->arena);
    policy_decide(c, now_ms, &r->arena, &plan);
    if (all_equal(logged, count, plan.decisions, plan.count)) {
        r->same++;
        return;
    }
    if (r->asked - r->same <= r->most)
        json_array_append_new(r->differences, json_pack("{s:I, s:I, s:o, s:o}", "turn", (json_int_t)c->turn, "now_ms", (json_int_t)now_ms,
                                                        "logged", tell_all(logged, count), "now", tell_all(plan.decisions, plan.count)));
    cluster_reindex(c);   /* what it remembers is of decisions that were not followed */
}
