/* Which change of a job, or of what an admin has set, would let it start at once. Each is tried before it is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/cluster/quota_trial.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/policy/outlook.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/start.h"

enum { SIZES_MAX = 24, QUEUES_MAX = 64, QUEUES_TOLD = 3, NODES_MAX = 32, MINUTE_MS = 60 * 1000 };

/* In a strict queue nobody starts before those that came first; whoever is submitted anew comes last. */
int64_t outlook_strictly_before(const struct cluster *c, const struct job *j) {
    int64_t first = 0;
    if (queue_policy(c, j->queue) != QUEUE_POLICY_STRICT)
        return 0;
    for (int32_t i = 0; i < c->index.class_count; i++) {
        const struct wait_class *k = &c->index.classes[i];
        for (int32_t l = 0; l < k->line_count && c->index.briefs[i].queue == j->queue && c->index.briefs[i].jobs; l++)
            for (int32_t n = 0; n < k->lines[l].jobs.count; n++) {
                const struct job *other = k->lines[l].jobs.items[n];
                if (!other->is_placed && other->id != j->id && (!first || other->id < first))
                    first = other->id;
            }
    }
    return first;
}

bool outlook_would_start(struct outlook_asker *a, const struct job *j, struct placement *where) {
    struct pass *p = &a->pass;
    struct demand d = job_demand(p->c, j);
    struct wait_reason unused;
    if (a->tries_left-- <= 0 || outlook_strictly_before(p->c, j) || start_is_kept_out(p, j, &unused) || !start_is_admitted(p, &d, &unused))
        return false;
    uint32_t kept = ahead_kept_from(p, &d, standing_of(&p->standings, &d), j);
    if (ahead_short_of_quota(p, &d, kept))
        return false;
    ahead_bind(p, kept);
    bool found = start_find_place(p, &d, where);
    ahead_bind(p, 0);
    return found;
}

/* ---- telling it ---- */

static struct outlook_change *add(struct outlook *out) {
    return out->change_count < OUTLOOK_CHANGES ? &out->changes[out->change_count++] : NULL;
}

static void tell_where(const struct cluster *c, const struct placement *where, char *buffer, size_t size) {
    enum { NAMED = 4 };
    int32_t gpus = placement_gpus(where), named = where->task_count > NAMED ? NAMED : where->task_count;
    size_t used = 0;
    if (gpus)
        text_append(buffer, size, &used, "%d GPU%s would start now on ", gpus, gpus == 1 ? "" : "s");
    else
        text_append(buffer, size, &used, "would start now on ");
    for (int32_t i = 0; i < named; i++)
        text_append(buffer, size, &used, "%s%s", i ? "," : "", c->nodes[where->tasks[i].node].name);
    if (where->task_count > named)
        text_append(buffer, size, &used, " and %d more", where->task_count - named);
}

__attribute__((format(printf, 5, 6))) static void tell(struct outlook_asker *a, struct outlook *out, bool of_admin,
                                                       const struct placement *where, const char *format, ...) {
    struct outlook_change *change = add(out);
    va_list args;
    if (!change)
        return;
    change->of_admin = of_admin;
    va_start(args, format);
    vsnprintf(change->option, sizeof change->option, format, args);
    va_end(args);
    tell_where(a->pass.c, where, change->effect, sizeof change->effect);
}

/* ---- what its user can say instead ---- */

/* The most GPUs that would start. Its ranks follow where there is one for each GPU; else the user has to say how many. */
static void try_fewer_gpus(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct demand d = job_demand(a->pass.c, j);
    int64_t most = room_index(&a->pass.room)->gpus;
    int32_t gpus = j->gpus_min - 1 < most ? j->gpus_min - 1 : (int32_t)most, tries = SIZES_MAX;
    for (; gpus > 0 && tries > 0; gpus--) {
        struct demand sized = place_sized(&d, gpus);
        struct job less = *j;
        struct placement where;
        if (!sized.ranks || (j->nodes && gpus % j->nodes))
            continue;
        less.gpus = less.gpus_min = gpus;
        less.ranks = sized.ranks;
        tries--;
        if (!outlook_would_start(a, &less, &where))
            continue;
        if (j->ranks > 1 && j->ranks != j->gpus)
            tell(a, out, false, &where, "--gpus %d --ranks %d", gpus, sized.ranks);
        else
            tell(a, out, false, &where, "--gpus %d", gpus);
        return;
    }
}

static void try_looser_topology(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job looser = *j;
    struct placement where;
    for (int level = (int)j->topology - 1; level >= LEVEL_ANY; level--) {
        looser.topology = (enum topology_level)level;
        if (!outlook_would_start(a, &looser, &where))
            continue;
        tell(a, out, false, &where, "--topology %s", topology_level_name(level));
        return;
    }
}

/* Each part of its wish by itself. */
static void try_without_wish(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    static const struct { const char *option; size_t offset; } parts[] = {
        {"--gpu-type", offsetof(struct node_wish, gpu_type)}, {"--features", offsetof(struct node_wish, features)},
        {"--nodelist", offsetof(struct node_wish, nodelist)}, {"--exclude", offsetof(struct node_wish, exclude)}};
    struct cluster *c = a->pass.c;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct node_wish wish = node_filter_wish(c, j->filter);
        const char **part = (const char **)((char *)&wish + parts[i].offset);
        struct job freer = *j;
        struct placement where;
        if (!**part)
            continue;
        *part = "";
        if (node_filter_enter(c, &wish, &freer.filter, NULL))
            return;
        if (outlook_would_start(a, &freer, &where))
            tell(a, out, false, &where, "without %s", parts[i].option);
        node_filter_leave(c, freer.filter);
    }
}

static void try_beside_others(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job beside = *j;
    struct placement where;
    beside.exclusive = false;
    if (j->exclusive && outlook_would_start(a, &beside, &where))
        tell(a, out, false, &where, "without --exclusive");
}

static void try_any_nodes(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job anywhere = *j;
    struct placement where;
    anywhere.nodes = 0;
    if (j->nodes && outlook_would_start(a, &anywhere, &where))
        tell(a, out, false, &where, "without --nodes %d", j->nodes);
}

static void try_preemptible(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job preemptible = *j;
    struct placement where;
    preemptible.preemptible = true;
    if (!j->preemptible && outlook_would_start(a, &preemptible, &where))
        tell(a, out, false, &where, "without --no-preempt");
}

static void try_fewer_cpus(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job less = *j;
    struct placement where;
    for (int32_t eighths = 7; eighths >= 0; eighths--) {
        int32_t cpus = j->cpus_per_rank * eighths / 8 > 0 ? j->cpus_per_rank * eighths / 8 : 1;
        if (cpus == less.cpus_per_rank)
            continue;
        less.cpus_per_rank = cpus;
        if (!outlook_would_start(a, &less, &where))
            continue;
        tell(a, out, false, &where, "--cpus %d", cpus);
        return;
    }
}

static void try_less_memory(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct job less = *j;
    struct placement where;
    for (int eighths = 7; eighths > 0 && j->memory_mib >= 8; eighths--) {
        less.memory_mib = j->memory_mib * eighths / 8;
        if (!outlook_would_start(a, &less, &where))
            continue;
        tell(a, out, false, &where, "--memory %lldM", (long long)less.memory_mib);
        return;
    }
}

/* So short that it is gone before the first of the places is needed that are kept from it; and a little shorter, as time goes by. */
static void try_shorter(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct pass *p = &a->pass;
    struct job shorter = *j;
    struct placement where;
    int64_t first_ms = INT64_MAX;
    for (int32_t i = 0; i < p->ahead_count; i++)
        first_ms = p->ahead[i].expected_ms < first_ms ? p->ahead[i].expected_ms : first_ms;
    if (j->preemptible || first_ms == INT64_MAX)
        return;
    shorter.time_limit_ms = (first_ms - p->now_ms) * 19 / 20 / MINUTE_MS * MINUTE_MS;
    shorter.estimate_ms = 0;
    if (shorter.time_limit_ms > 0 && outlook_would_start(a, &shorter, &where))
        tell(a, out, false, &where, "--time %lldm", (long long)shorter.time_limit_ms / MINUTE_MS);
}

static void try_other_queues(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    const struct cluster *c = a->pass.c;
    struct job moved = *j;
    struct placement where;
    int tries = QUEUES_MAX, told = 0;
    for (int32_t q = 0; a->may_use && q < c->queue_count && tries > 0 && told < QUEUES_TOLD; q++) {
        if (q == j->queue || c->queues[q].deleted || !a->may_use[q] || queue_check_submission(c, q, j->uid, 1, j->time_limit_ms, NULL))
            continue;
        moved.queue = q;
        tries--;
        if (!outlook_would_start(a, &moved, &where))
            continue;
        tell(a, out, false, &where, "--queue %s", c->queues[q].name);
        told++;
    }
}

/* Nothing but their number at once holds up the elements of a full array. One that waits by itself has none to say. */
static void try_more_at_once(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct placement where;
    if (!j->array || !outlook_would_start(a, j, &where))
        return;
    const char *set = array_set_text(&j->array->waiting, a->pass.arena);
    tell(a, out, false, &where, "--array %s%%%d", strlen(set) < 64 ? set : "INDEXES", j->array->limit + 1);
}

/* ---- what an admin can do ---- */

/* With the queues as they would be after that very change; refused ones are none. */
static bool would_start_after(struct outlook_asker *a, const struct job *j, const struct queue_spec *spec, struct placement *where) {
    struct cluster *c = a->pass.c;
    struct queue *own = c->queues;
    struct quota_trial trial;
    struct event e;
    event_init(&e, EVENT_QUOTA_SET);
    e.queues = (struct rows){1, (void *)(uintptr_t)spec};
    if (quota_trial_open(&trial, c, &e, a->pass.now_ms, NULL))
        return false;
    bool starts = !quota_trial_check(&trial, c, NULL) && trial.count == c->queue_count;
    c->queues = trial.queues;
    starts = starts && outlook_would_start(a, j, where);
    c->queues = own;
    quota_trial_release(&trial);
    return starts;
}

static void try_quota(struct outlook_asker *a, const struct job *j, int setting, int64_t value, struct outlook *out) {
    const struct cluster *c = a->pass.c;
    const struct wait_reason *r = &out->reason;
    const char *type = c->gpu_types[r->gpu_type];
    struct queue_spec spec;
    struct placement where;
    char number[32], name[32];
    snprintf(number, sizeof number, "%lld", (long long)value);
    queue_spec_init(&spec, c->queues[r->queue].name);
    int rc = *type ? queue_typed_parse(queue_spec_typed(&spec, type, a->pass.arena), setting, number, NULL)
                   : queue_spec_parse(&spec, setting, number, a->pass.arena, NULL);
    if (rc || !would_start_after(a, j, &spec, &where))
        return;
    text_copy(name, sizeof name, queue_setting_name(setting));
    for (char *letter = name; *letter; letter++)
        *letter = *letter == '_' ? '-' : *letter;
    tell(a, out, true, &where, "muster quota set %s%s%s --%s %s", spec.queue, *type ? " --gpu-type " : "", type, name, number);
}

static void try_resumed_queue(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct queue *q = &a->pass.c->queues[out->reason.queue];
    struct placement where;
    bool was_closed = q->closed;
    q->closed = false;
    bool starts = outlook_would_start(a, j, &where);
    q->closed = was_closed;
    if (starts)
        tell(a, out, true, &where, "muster quota resume %s", q->name);
}

static void try_resumed_nodes(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    struct room *room = &a->pass.room;
    struct placement where;
    int tries = NODES_MAX;
    for (int32_t n = 0; n < room->c->node_count && tries > 0; n++) {
        const struct node *node = &room->c->nodes[n];
        if (node->state != NODE_UP || !node->drained)
            continue;
        tries--;
        room->nodes[n].usable = true;
        room->indexed = false;
        bool starts = outlook_would_start(a, j, &where);
        room->nodes[n].usable = false;
        room->indexed = false;
        if (!starts)
            continue;
        tell(a, out, true, &where, "muster resume %s", node->name);
        return;
    }
}

static void try_admin(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    const struct cluster *c = a->pass.c;
    const struct wait_reason *r = &out->reason;
    const struct queue *q = r->queue >= 0 ? &c->queues[r->queue] : NULL;
    if (r->code == WAIT_QUEUE_LIMIT && q)
        try_quota(a, j, QUEUE_SETTING_LIMIT, r->limit - r->available + r->asked, out);
    else if (r->code == WAIT_QUOTA && q)
        try_quota(a, j, QUEUE_SETTING_GUARANTEE, a->pass.room.queue_fixed[r->queue] + r->asked, out);
    else if (r->code == WAIT_USER_LIMIT && q)
        try_quota(a, j, QUEUE_SETTING_MAX_RUNNING_PER_USER, r->limit + 1, out);
    else if (r->code == WAIT_QUEUE_CLOSED && q)
        try_resumed_queue(a, j, out);
    else
        try_resumed_nodes(a, j, out);
}

/* ---- all of them ---- */

static bool can_be_changed(const struct outlook_asker *a, const struct job *j, enum wait_code code) {
    const struct reservation *kept = cluster_reservation(a->pass.c, j->id);
    return code != WAIT_NONE && code != WAIT_HELD && code != WAIT_DEPENDENCY && code != WAIT_COOL_DOWN &&
           !(kept && kept->kind != KEPT_AHEAD);
}

void outlook_find_changes(struct outlook_asker *a, const struct job *j, struct outlook *out) {
    enum wait_code code = out->reason.code;
    if (!can_be_changed(a, j, code))
        return;
    if (code == WAIT_ARRAY_LIMIT) {
        try_more_at_once(a, j, out);
        return;
    }
    bool of_user = code != WAIT_USER_LIMIT && code != WAIT_QUEUE_CLOSED;
    if (of_user && j->gpus && !j->exclusive)   /* those would be rounded up to whole nodes again */
        try_fewer_gpus(a, j, out);
    if (of_user)
        try_without_wish(a, j, out);
    if (of_user)
        try_beside_others(a, j, out);
    if (of_user)
        try_looser_topology(a, j, out);
    if (of_user)
        try_any_nodes(a, j, out);
    if (of_user)
        try_preemptible(a, j, out);
    if (out->reason.asked_cpus || code == WAIT_NO_FIT) {
        try_fewer_cpus(a, j, out);
        try_less_memory(a, j, out);
    }
    if (code == WAIT_PRIORITY)
        try_shorter(a, j, out);
    try_other_queues(a, j, out);
    try_admin(a, j, out);
}
