#include "scheduler/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/event_log.h"
#include "scheduler/sim/redecide.h"

void world_init(struct world *w) {
    memset(w, 0, sizeof *w);
    cluster_init(&w->c);
    w->now_ms = 1000;
}

void world_release(struct world *w) {
    cluster_release(&w->c);
    arena_release(&w->arena);
    buffer_release(&w->log);
    free(w->entries);
    free(w->idles);
}

static void breach(struct world *w, const struct event *e, const char *what) {
    if (!w->broken.code)
        error_set(&w->broken, ERR_FAILED, "%s of job %lld on node '%s': %s", event_type_name((int)e->type), (long long)e->job, e->node,
                  what);
}

static void log_event(struct world *w, const struct event *e) {
    w->entries = xgrow(w->entries, &w->entry_capacity, w->entry_count + 1, sizeof *w->entries);
    struct logged *entry = &w->entries[w->entry_count++];
    *entry = (struct logged){.now_ms = w->now_ms, .turn = w->c.turn, .from = w->log.size};
    record_encode(&event_schema, e, &w->log);
    entry->size = w->log.size - entry->from;
}

/* P8, where it is at stake: right after a start, no queue above it is over a limit that the start counts for. */
static void check_start(struct world *w, const struct event *e) {
    const struct job *j = cluster_job(&w->c, e->job);
    int64_t by_type[GPU_TYPES_MAX];
    placement_types(&w->c, &j->placement, by_type);
    for (int32_t i = j->queue; i >= 0; i = w->c.queues[i].parent) {
        const struct queue *q = &w->c.queues[i];
        if (j->gpus && queue_over(q, 0))
            breach(w, e, "a start above a limit");
        for (int32_t t = 1; t < w->c.gpu_type_count; t++)
            if (by_type[t] && queue_over(q, t))
                breach(w, e, "a start above a limit of a type of GPU");
        if (q->closed)
            breach(w, e, "a start in a drained queue");
        if (q->max_running_per_user && user_counts_of(&w->c.index.users, i, j->uid).running > q->max_running_per_user)
            breach(w, e, "a start above what a user may run");
    }
}

/* Which jobs changed their state? Ids are sorted in both lists; nobody leaves memory here. */
static void note_moves(struct world *w, const uint8_t *before, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        if (before[i] != w->c.jobs[i]->state)
            w->moves[before[i]] |= 1u << w->c.jobs[i]->state;
}

static void print_event(const struct world *w, const struct event *e, int rc, const struct error *err) {
    printf("%9lld %s%s job=%lld node=%s queue=%s cause=%s kind=%s other=%lld%s%s\n", (long long)w->now_ms,
           event_is_decision((int)e->type) ? "  -> " : "", event_type_name((int)e->type), (long long)e->job, e->node, e->queue,
           stop_cause_name((int)e->cause), exit_kind_name((int)e->kind), (long long)e->other, rc ? ": refused: " : *e->rule ? ": " : "",
           rc ? err->text : *e->rule ? e->text : "");
    const struct event_task *tasks = e->placement.tasks.items;
    for (size_t i = 0; i < e->placement.tasks.count; i++)
        printf("            %s gpus=%llx ranks=%lld\n", tasks[i].node, (unsigned long long)tasks[i].gpus, (long long)tasks[i].ranks);
}

static int apply_checked(struct world *w, const struct event *e, struct error *err) {
    int32_t count = w->c.job_count;
    uint8_t *before = xmalloc((size_t)count + 1);
    for (int32_t i = 0; i < count; i++)
        before[i] = (uint8_t)w->c.jobs[i]->state;
    uint64_t digest = cluster_digest(&w->c);
    struct error check;
    int rc = cluster_apply(&w->c, e, w->now_ms, err);
    if (w->verbose)
        print_event(w, e, rc, err);
    if (rc && cluster_digest(&w->c) != digest)
        breach(w, e, "it was refused and changed the cluster");
    if (cluster_check(&w->c, &check))
        breach(w, e, check.text);
    note_moves(w, before, count);
    free(before);
    if (!rc)
        log_event(w, e);
    return rc;
}

/* Who has ended is forgotten when something new comes in, and not before: until then it can be looked at. */
int world_apply(struct world *w, const struct event *e, struct error *err) {
    if (!w->turn_open || w->turn_ms != w->now_ms)
        cluster_forget_finished(&w->c, ++w->c.turn);
    w->turn_open = true;
    w->turn_ms = w->now_ms;
    return apply_checked(w, e, err);
}

static void print_waiting(const struct world *w) {
    char text[512];
    for (int32_t i = 0; i < w->c.job_count; i++)
        if (!job_state_holds_gpus((int)w->c.jobs[i]->state) && !job_state_is_final((int)w->c.jobs[i]->state))
            printf("            %lld (%s) %s\n", (long long)w->c.jobs[i]->id, w->c.queues[w->c.jobs[i]->queue].name,
                   policy_reason_text(&w->c, w->c.jobs[i], text, sizeof text));
}

static void note_idle(struct world *w, int64_t now_ms) {
    w->idles = xgrow(w->idles, &w->idle_capacity, w->idle_count + 1, sizeof *w->idles);
    w->idles[w->idle_count++] = (struct idle){w->entry_count, now_ms};
}

void world_forget_tried(struct world *w) {
    w->c.index.gain++;
    note_idle(w, FORGET_TRIED);
}

static void note_decided(struct world *w) {
    size_t first = w->entry_count;
    while (first && w->entries[first - 1].turn == w->c.turn)
        w->entries[--first].decided = true;
    if (first == w->entry_count)
        note_idle(w, w->now_ms);
}

size_t world_decide(struct world *w) {
    uint64_t digest = cluster_digest(&w->c);
    struct error err;
    w->c.turn += !w->turn_open || w->turn_ms != w->now_ms;
    w->turn_open = false;
    arena_reset(&w->arena);
    policy_decide(&w->c, w->now_ms, &w->arena, &w->plan);
    if (cluster_digest(&w->c) != digest)
        error_set(&w->broken, ERR_FAILED, "deciding changed the cluster");
    for (size_t i = 0; i < w->plan.count; i++) {
        const struct event *e = &w->plan.decisions[i];
        if (apply_checked(w, e, &err))
            breach(w, e, err.text);
        else if (e->type == EVENT_JOB_START)
            check_start(w, e);
    }
    note_decided(w);
    if (w->verbose && w->plan.count)
        print_waiting(w);
    return w->plan.count;
}

/* Does the plan for this job take from such as lose little: by a right among equals, or by a move? What a checkpoint gives so is seen
 * within a minute. What a guarantee is owed is seen at once. */
static bool is_of_the_fresh(const struct plan *plan, int64_t taker) {
    bool fresh = false;
    for (size_t i = 0; i < plan->count; i++) {
        const struct event *e = &plan->decisions[i];
        if (e->type != EVENT_JOB_STOP || e->other != taker)
            continue;
        if (!strcmp(e->rule, "reclaim"))
            return false;
        fresh |= !strcmp(e->rule, "rotate") || !strcmp(e->rule, "pack") || !strcmp(e->rule, "move");
    }
    return fresh;
}

/* A decision from scratch must find nothing more, but a place to come, which holds nobody up, and what may come late; what is decided after
 * that may follow from it. */
static void check_settled(struct world *w) {
    for (size_t i = 0; i < w->plan.count && !w->broken.code; i++) {
        const struct event *e = &w->plan.decisions[i];
        if (is_of_the_fresh(&w->plan, e->type == EVENT_JOB_STOP ? e->other : e->job))
            return;
        if (e->type != EVENT_RESERVE || e->kind != KEPT_AHEAD)
            error_set(&w->broken, ERR_FAILED, "%s of job %lld: seen only when all is tried again", event_type_name((int)e->type),
                      (long long)e->job);
    }
}

void world_settle(struct world *w, int most) {
    int rounds = 0;
    while (rounds++ < most && (world_decide(w) || cluster_next_deadline_ms(&w->c) <= w->now_ms) && !w->broken.code)
        ;
    if (rounds > most && !w->broken.code)
        error_set(&w->broken, ERR_FAILED, "the policy finds no end after %d decisions", most);
    world_forget_tried(w);
    world_decide(w);
    check_settled(w);
}

static void complain(struct world *w, const struct error *err) {
    if (err->code && !w->broken.code)
        w->broken = *err;
}

/* All that the log has of the turn that begins at entry `first`. Returns the entry behind it. */
static size_t read_turn(const struct world *w, size_t first, struct arena *arena, struct event **events, size_t *facts) {
    size_t end = first;
    while (end < w->entry_count && w->entries[end].turn == w->entries[first].turn)
        end++;
    *events = arena_array(arena, end - first, sizeof **events);
    *facts = 0;
    for (size_t i = first; i < end; i++) {
        struct event *e = &(*events)[i - first];
        record_decode(&event_schema, w->log.data + w->entries[i].from, w->entries[i].size, e, arena, NULL);
        *facts += !event_is_decision((int)e->type);
    }
    return end;
}

const char *world_stop_text(const struct world *w, int64_t job, struct arena *arena) {
    for (size_t i = w->entry_count; i > 0; i--) {
        struct event e;
        record_decode(&event_schema, w->log.data + w->entries[i - 1].from, w->entries[i - 1].size, &e, arena, NULL);
        if (e.type == EVENT_JOB_STOP && e.job == job)
            return e.text;
    }
    return "";
}

struct again { struct cluster c; struct redecide re; struct arena arena; struct error err; size_t idle; };

static size_t replay_turn(const struct world *w, size_t first, struct again *a) {
    const struct logged *at = &w->entries[first];
    struct event *events;
    size_t facts;
    arena_reset(&a->arena);
    size_t end = read_turn(w, first, &a->arena, &events, &facts), count = end - first;
    for (; a->idle < w->idle_count && w->idles[a->idle].before <= first; a->idle++)
        if (w->idles[a->idle].now_ms == FORGET_TRIED)
            a->c.index.gain++;
        else
            redecide_ask(&a->re, &a->c, w->idles[a->idle].now_ms, NULL, 0);
    int rc = replay_turn_begin(&a->c, (int64_t)at->turn, at->now_ms, &a->err);
    for (size_t i = 0; i < facts && !rc; i++)
        rc = cluster_apply(&a->c, &events[i], at->now_ms, &a->err);
    if (at->decided && !rc)
        redecide_ask(&a->re, &a->c, at->now_ms, events + facts, count - facts);
    for (size_t i = facts; i < count && !rc; i++)
        rc = cluster_apply(&a->c, &events[i], at->now_ms, &a->err);
    return rc ? w->entry_count : end;
}

static int copy_by_snapshot(const struct cluster *from, struct cluster *into, struct error *err) {
    struct arena arena = {0};
    struct snapshot_head head = snapshot_head_from(from, &arena);
    struct snapshot_cursor at = {0};
    struct snapshot_intake in;
    union snapshot_row row;
    enum snapshot_kind kind;
    int rc = snapshot_begin(into, &in, &head, err);
    while (!rc && snapshot_next(from, &at, &row, &kind, &arena))
        rc = snapshot_take(into, &in, kind, &row, err);
    if (!rc)
        rc = snapshot_end(into, &in, &head, err);
    arena_release(&arena);
    return rc;
}

static void compare_snapshot(struct world *w, const struct cluster *c) {
    struct cluster copy;
    struct error err = {0};
    cluster_init(&copy);
    copy_by_snapshot(c, &copy, &err);
    complain(w, &err);
    cluster_release(&copy);
}

void world_replay(struct world *w) {
    struct again a = {.idle = 0};
    cluster_init(&a.c);
    redecide_init(&a.re, 1);
    for (size_t i = 0; i < w->entry_count;)
        i = replay_turn(w, i, &a);
    if (!a.err.code && cluster_digest(&a.c) != cluster_digest(&w->c))
        error_set(&a.err, ERR_FAILED, "replay arrives at another digest");
    if (!a.err.code && a.re.same < a.re.asked) {
        char *text = json_dumps(a.re.differences, JSON_COMPACT);
        error_set(&a.err, ERR_FAILED, "asked again, the policy decides otherwise: %.400s", text);
        free(text);
    }
    complain(w, &a.err);
    compare_snapshot(w, &a.c);
    cluster_reindex(&a.c);
    if ((cluster_digest(&a.c) != cluster_digest(&w->c) || cluster_check(&a.c, &a.err)) && !w->broken.code)
        error_set(&w->broken, ERR_FAILED, "the index built anew differs: %s", a.err.text);
    cluster_release(&a.c);
    redecide_release(&a.re);
    arena_release(&a.arena);
}

/* ---- events ---- */

int node_shape_of_profile(const char *profile, struct node_shape *s, struct error *err) {
    static const struct { const char *name; struct node_shape shape; } known[] = {
        {"hgx-8xh100", {8, 8, 450, 0, 192, 2048 * 1024, 50}},
        {"dgx1-v100", {8, 4, 50, 25, 80, 512 * 1024, 12}},
        {"pcie-2x4-numa", {8, 4, 32, 16, 64, 512 * 1024, 12}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, profile)) {
            *s = known[i].shape;
            return 0;
        }
    char *end;
    long first = strtol(profile, &end, 10), second = *end == 'x' ? strtol(end + 1, &end, 10) : 0;
    if (end == profile || *end || first < 0 || second < 0 || first > 16 || first * (second ? second : 1) > NODE_GPUS_MAX)
        return error_set(err, ERR_INVALID,
                         "'%s': expected hgx-8xh100, dgx1-v100, pcie-2x4-numa, N GPUs or NxM (N islands of M), at most 16 in all",
                         profile);
    *s = (struct node_shape){second ? first * second : first, second ? second : first, 450, 50, 64, 256 * 1024, 25};
    if (s->island < 1)
        s->island = 1;
    return 0;
}

void event_of_node_up(struct event *e, const char *name, const char *rack, const char *boot_id, const struct node_shape *s,
                      struct arena *arena) {
    struct gpu_inventory *gpus = arena_array(arena, (size_t)s->gpus, sizeof *gpus);
    event_init(e, EVENT_NODE_UP);
    for (int64_t i = 0; i < s->gpus; i++) {
        int64_t *links = arena_array(arena, (size_t)s->gpus, sizeof *links);
        for (int64_t k = 0; k < s->gpus; k++)
            links[k] = i == k ? 0 : i / s->island == k / s->island ? s->fast_gbs : s->slow_gbs;
        gpus[i] = (struct gpu_inventory){.uuid = "FAKE", .type = s->type ? s->type : "simulated", .memory_mib = 80 * 1024,
                                         .numa = i / s->island, .pci = "", .link_gbs = {(size_t)s->gpus, links}};
    }
    e->node = e->inventory.name = name;
    e->boot_id = boot_id;
    e->inventory.rack = rack;
    e->inventory.cpus = s->cpus;
    e->inventory.memory_mib = s->memory_mib;
    e->inventory.nic_gbs = s->nic_gbs;
    e->inventory.fake = true;
    e->inventory.features = s->features ? s->features : "";
    e->inventory.gpus = (struct rows){(size_t)s->gpus, gpus};
}

void event_of_task(struct event *e, enum event_type type, const struct cluster *c, const struct job *j, const struct task *t) {
    event_init(e, type);
    e->job = j->id;
    e->attempt = j->attempt;
    e->lease = j->lease;
    e->node = c->nodes[t->node].name;
    e->rank = e->step = -1;
}
