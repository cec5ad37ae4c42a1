/* What a scenario expects of a job or a queue, word by word:
 *
 *     expect A RUNNING on node0:0-1 node1:0-1 attempt=2 level=rack bandwidth=25 step=120
 *     expect B PENDING QUEUE_LIMIT "may use 8 (its limit)"
 *     expect C STOPPING for A by reclaim
 *     expect A kept on node0:0-3; expect A kept ahead on node0:0-3; expect B kept nothing
 *     expect queue ml used=4 entitlement=8 draining evicting; expect queue ml used=4 type=H100
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/policy/outlook.h"
#include "scheduler/policy/share.h"
#include "scheduler/sim/scenario.h"

/* "node0:0-1 node1:0,2" of a placement, ranges as people write them. */
static void write_gpus(uint32_t gpus, char *buffer, size_t size, size_t *used) {
    for (int i = 0; i < 16; i++) {
        int last = i;
        if (!(gpus >> i & 1))
            continue;
        while (last < 15 && gpus >> (last + 1) & 1)
            last++;
        text_append(buffer, size, used, "%s", gpus & ((1u << i) - 1) ? "," : "");
        text_append(buffer, size, used, last > i ? "%d-%d" : "%d", i, last);
        i = last;
    }
}

static const char *write_placement(const struct cluster *c, const struct placement *p, char *buffer, size_t size) {
    size_t used = 0;
    *buffer = '\0';
    for (int32_t i = 0; i < p->task_count; i++) {
        text_append(buffer, size, &used, "%s%s:", i ? " " : "", c->nodes[p->tasks[i].node].name);
        write_gpus(p->tasks[i].gpus, buffer, size, &used);
    }
    return buffer;
}

static void expect_placement(struct scenario *s, const struct words *w, int from, const struct placement *p) {
    char expected[512] = "", actual[512];
    size_t used = 0;
    for (int i = from; i < w->count && strchr(w->at[i], ':'); i++)
        text_append(expected, sizeof expected, &used, "%s%s", i > from ? " " : "", w->at[i]);
    write_placement(&s->w.c, p, actual, sizeof actual);
    if (strcmp(expected, actual))
        scenario_fail(s, "%s is on '%s', not '%s'", w->at[1], actual, expected);
}

static void expect_number(struct scenario *s, const struct words *w, const char *key, int64_t actual) {
    const char *text = words_value(w, key);
    if (text && strtoll(text, NULL, 10) != actual)
        scenario_fail(s, "%s has %s=%lld, not %s", w->at[1], key, (long long)actual, text);
}

/* waiting=3-9 ("none": nothing waits with it any more) running=2 of an array that is in memory. */
static void expect_array(struct scenario *s, const struct words *w, const struct job *j) {
    const char *waiting = words_value(w, "waiting");
    if ((waiting || words_value(w, "running")) && (!j->array || !cluster_job(&s->w.c, j->id))) {
        scenario_fail(s, "%s is no array, or has ended", w->at[1]);
        return;
    }
    const char *actual = waiting ? array_set_text(&j->array->waiting, &s->arena) : "";
    if (waiting && strcmp(waiting, *actual ? actual : "none"))
        scenario_fail(s, "of %s wait %s, not %s", w->at[1], *actual ? actual : "none", waiting);
    if (j->array)
        expect_number(s, w, "running", j->array->running);
}

static bool is_wait_code(const char *word) {
    for (int i = 0; i < WAIT_CODE_COUNT; i++)
        if (!strcmp(word, wait_code_name(i)))
            return true;
    return false;
}

/* All that `muster why` says of a job, a line each: why it waits, what can be done, on what its start rests, what would let it go. */
static void write_outlook(struct scenario *s, const struct job *j, const struct outlook *o, char *out, size_t size) {
    char text[512];
    size_t used = 0;
    text_append(out, size, &used, "%s\n", reason_text(&s->w.c, j, &o->reason, text, sizeof text));
    text_append(out, size, &used, "%s\n", reason_remedy(&s->w.c, j, &o->reason, text, sizeof text));
    text_append(out, size, &used, "%s%s\n", *o->rule ? o->rule : "", o->expected.basis);
    for (int32_t i = 0; i < o->change_count; i++)
        text_append(out, size, &used, "%s: %s\n", o->changes[i].option, o->changes[i].effect);
}

/* The whole is looked at, and must leave no trace. */
static void look(struct scenario *s, const struct job *j, const struct job *newcomer, struct outlook *o, char *text, size_t size) {
    struct arena arena = {0};
    struct outlook_asker a;
    uint64_t before = cluster_digest(&s->w.c);
    bool *may_use = arena_array(&arena, (size_t)s->w.c.queue_count, sizeof *may_use);
    for (int32_t q = 0; q < s->w.c.queue_count; q++)
        may_use[q] = true;
    outlook_open(&a, &s->w.c, s->w.now_ms, newcomer, may_use, &arena);
    outlook_ask(&a, j, o);
    outlook_close(&a);
    if (cluster_digest(&s->w.c) != before)
        scenario_fail(s, "asking why has changed the cluster");
    write_outlook(s, j, o, text, size);
    if (o->where.task_count) {
        struct task *kept = arena_array(&s->arena, (size_t)o->where.task_count, sizeof *kept);
        memcpy(kept, o->where.tasks, (size_t)o->where.task_count * sizeof *kept);
        o->where.tasks = kept;
    }
    arena_release(&arena);
}

static void expect_reason(struct scenario *s, const struct words *w, const struct job *j, const char *word) {
    struct outlook o;
    char text[4096];
    look(s, j, NULL, &o, text, sizeof text);
    if (is_wait_code(word) ? strcmp(word, wait_code_name((int)o.reason.code)) : !strstr(text, word))
        scenario_fail(s, "%s waits by %s, not by this, or without \"%s\":\n%s", w->at[1], wait_code_name((int)o.reason.code), word, text);
}

/* starts=2h (after the beginning), starts=unknown */
static void expect_start(struct scenario *s, const struct words *w, const struct outlook *o, const char *said) {
    const char *text = words_value(w, "starts");
    int64_t expected_ms = INT64_MAX;
    struct error err;
    if (!text)
        return;
    if (strcmp(text, "unknown") && text_parse_duration_ms(text, &expected_ms, &err))
        scenario_fail(s, "starts=%s: %s", text, err.text);
    int64_t actual_ms = o->expected.at_ms == INT64_MAX ? INT64_MAX : o->expected.at_ms - s->start_ms;
    if (actual_ms == INT64_MAX && expected_ms != INT64_MAX)
        scenario_fail(s, "%s: nobody knows when it starts, not %s:\n%s", w->at[1], text, said);
    else if (actual_ms != expected_ms)
        scenario_fail(s, "%s is expected to start after %.1f s, not %s:\n%s", w->at[1], (double)actual_ms / 1000, text, said);
}

void scenario_expect_outlook(struct scenario *s, const struct words *w, const struct job *newcomer) {
    static const char *const verdicts[] = {[OUTLOOK_WAITS] = "waits", [OUTLOOK_STARTS] = "starts", [OUTLOOK_TAKES] = "takes"};
    struct outlook o;
    char text[4096];
    look(s, newcomer, newcomer, &o, text, sizeof text);
    if (w->count < 2 || strcmp(w->at[1], verdicts[o.verdict]))
        scenario_fail(s, "it %s, not %s:\n%s", verdicts[o.verdict], w->count < 2 ? "" : w->at[1], text);
    for (int i = 2; i < w->count; i++) {
        if (!strcmp(w->at[i], "on"))
            expect_placement(s, w, i + 1, &o.where);
        else if (is_wait_code(w->at[i]) ? strcmp(w->at[i], wait_code_name((int)o.reason.code))
                                        : strchr(w->at[i], ' ') && !strstr(text, w->at[i]))
            scenario_fail(s, "it waits by %s, not by this, or without \"%s\":\n%s", wait_code_name((int)o.reason.code), w->at[i], text);
    }
    expect_start(s, w, &o, text);
}

static int64_t ranks_of(const struct placement *p) {
    int64_t ranks = 0;
    for (int32_t i = 0; i < p->task_count; i++)
        ranks += p->tasks[i].ranks;
    return ranks;
}

/* The rule by which it had to leave. */
static void expect_rule(struct scenario *s, const struct words *w, const struct job *j, const char *rule) {
    const char *text = world_stop_text(&s->w, j->id, &s->arena);
    size_t length = strlen(rule);
    if (strncmp(text, rule, length) || text[length] != ':')
        scenario_fail(s, "%s was stopped by \"%s\", not by %s", w->at[1], text, rule);
}

static void expect_words(struct scenario *s, const struct words *w, const struct job *j) {
    for (int i = 3; i < w->count; i++) {
        if (!strcmp(w->at[i], "on")) {
            expect_placement(s, w, i + 1, &j->placement);
            while (i + 1 < w->count && strchr(w->at[i + 1], ':'))
                i++;
        } else if (!strcmp(w->at[i], "for") && i + 1 < w->count) {
            if (j->stop_for != scenario_job(s, w->at[++i]))
                scenario_fail(s, "%s stops for job %lld, not for %s", w->at[1], (long long)j->stop_for, w->at[i]);
        } else if (!strcmp(w->at[i], "by") && i + 1 < w->count) {
            expect_rule(s, w, j, w->at[++i]);
        } else if (!strncmp(w->at[i], "level=", 6)) {
            if (strcmp(w->at[i] + 6, topology_level_name((int)j->placement.level)))
                scenario_fail(s, "%s has level=%s, not %s", w->at[1], topology_level_name((int)j->placement.level), w->at[i] + 6);
        } else if (!strcmp(w->at[i], "checkpointing")) {
            if (!j->checkpoint_asked)
                scenario_fail(s, "%s was not asked to checkpoint", w->at[1]);
        } else if (!strncmp(w->at[i], "cause=", 6)) {
            if (strcmp(w->at[i] + 6, stop_cause_name((int)j->end.cause)))
                scenario_fail(s, "%s ended by %s, not %s", w->at[1], stop_cause_name((int)j->end.cause), w->at[i] + 6);
        } else if (is_wait_code(w->at[i]) || strchr(w->at[i], ' ')) {
            expect_reason(s, w, j, w->at[i]);
        } else if (!strchr(w->at[i], '=')) {
            scenario_fail(s, "expect: '%s' is not understood", w->at[i]);
        }
    }
    if (words_value(w, "starts")) {
        struct outlook o;
        char text[4096];
        look(s, j, NULL, &o, text, sizeof text);
        expect_start(s, w, &o, text);
    }
    expect_number(s, w, "attempt", j->attempt);
    expect_number(s, w, "bandwidth", j->placement.bottleneck_gbs);
    expect_number(s, w, "step", j->checkpoint_step);
    expect_number(s, w, "failures", j->failures);
    expect_number(s, w, "preemptions", j->preemptions);
    expect_number(s, w, "gpus", placement_gpus(&j->placement));
    expect_number(s, w, "ranks", ranks_of(&j->placement));
    expect_array(s, w, j);
}

static const struct job *find(const struct scenario *s, const char *name) {
    for (int i = s->job_count - 1; i >= 0; i--)
        if (!strcmp(s->jobs[i].name, name)) {
            const struct job *j = cluster_job(&s->w.c, s->jobs[i].id);
            return j ? j : &s->jobs[i].last;
        }
    return NULL;
}

static void expect_queue(struct scenario *s, const struct words *w) {
    int32_t q = w->count > 2 ? cluster_queue(&s->w.c, w->at[2]) : -1;
    if (q < 0) {
        scenario_fail(s, "there is no queue '%s'", w->count > 2 ? w->at[2] : "");
        return;
    }
    const struct queue *queue = &s->w.c.queues[q];
    const char *type = words_value(w, "type");
    int32_t of = type ? cluster_gpu_type(&s->w.c, type) : 0;
    expect_number(s, w, "used", of > 0 ? queue->used_by_type[of] : queue->gpus_used);
    struct arena arena = {0};
    const int64_t *entitled = share_entitlements(&s->w.c, of > 0 ? of : 0, &arena);
    expect_number(s, w, "entitlement", entitled ? entitled[q] : -1);
    arena_release(&arena);
    if (of < 0 || (words_have(w, "draining") && !queue->draining) || (words_have(w, "evicting") && !queue->evicting))
        scenario_fail(s, "queue %s is %sdraining, %sevicting", w->at[2], queue->draining ? "" : "not ", queue->evicting ? "" : "not ");
}

/* expect NAME kept [ahead] [on NODE:GPUS ...], or kept nothing. */
static void expect_kept(struct scenario *s, const struct words *w, const struct reservation *r) {
    bool nothing = words_have(w, "nothing"), ahead = words_have(w, "ahead");
    int on = ahead ? 4 : 3;
    if (nothing != !r)
        scenario_fail(s, "%s is kept for %s", r ? "something" : "nothing", w->at[1]);
    else if (r && ahead && r->kind != KEPT_AHEAD)
        scenario_fail(s, "the place of %s is not kept ahead: others are stopping for it", w->at[1]);
    else if (r && w->count > on + 1)
        expect_placement(s, w, on + 1, &r->placement);
}

void scenario_expect(struct scenario *s, const struct words *w) {
    const struct job *j;
    if (w->count < 3) {
        scenario_fail(s, "expect what of whom?");
    } else if (!strcmp(w->at[1], "queue")) {
        expect_queue(s, w);
    } else if (!(j = find(s, w->at[1]))) {
        scenario_fail(s, "there is no job '%s'", w->at[1]);
    } else if (!strcmp(w->at[2], "kept")) {
        expect_kept(s, w, cluster_reservation(&s->w.c, j->id));
    } else if (strcmp(w->at[2], job_state_name((int)j->state))) {
        scenario_fail(s, "%s is %s, not %s", w->at[1], job_state_name((int)j->state), w->at[2]);
    } else {
        expect_words(s, w, j);
    }
}
