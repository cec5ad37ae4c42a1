#include "scheduler/policy/reason.h"

#include <stdio.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/text.h"
#include "scheduler/cluster/array.h"
#include "scheduler/policy/ahead.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/decide.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/share.h"
#include "scheduler/policy/type_limit.h"

/* ---- finding it ---- */

static bool fits_in(struct reason_probe *probe, const struct room *room, const struct demand *d, int view) {
    struct placement unused;
    room_vary(&probe->room, room, view);
    return place_gang(&probe->room, d, &unused);
}

static struct reason_room *room_in_view(struct reason_room *r, const struct room *from, int view) {
    if (r->room.nodes)
        return r;
    room_vary(&r->room, from, view);
    room_bound(&r->room, &r->bounds);
    r->counts = *room_index(&r->room);
    return r;
}

static bool fits_in_view(struct reason_room *r, const struct demand *d) {
    struct placement unused;
    return place_may_fit(&r->counts, &r->bounds, d) && place_gang(&r->room, d, &unused);
}

/* A node that the gang may use. */
static bool serves(const struct room *r, const struct demand *d, int32_t node) {
    return r->nodes[node].usable && node_filter_passes(r->c, d->filter, node);
}

static int64_t free_cpus(const struct room *r, const struct demand *d) {
    int64_t sum = 0;
    for (int32_t i = 0; i < r->c->node_count; i++)
        if (serves(r, d, i) && r->nodes[i].cpus > 0)
            sum += r->nodes[i].cpus;
    return sum;
}

static int64_t free_gpus(struct room *r, const struct demand *d) {
    int64_t sum = 0;
    if (d->filter == ALL_NODES)
        return room_index(r)->gpus;
    for (int32_t i = 0; i < r->c->node_count; i++)
        if (serves(r, d, i))
            sum += __builtin_popcount(room_free_gpus(r, i));
    return sum;
}

/* The most that is free on one node, among those with a GPU for the gang. */
static int64_t free_memory(const struct room *r, const struct demand *d) {
    int64_t most = 0;
    for (int32_t i = 0; i < r->c->node_count; i++)
        if (serves(r, d, i) && r->nodes[i].memory_mib > most && (!d->gpus || room_free_gpus(r, i)))
            most = r->nodes[i].memory_mib;
    return most;
}

static void count_nodes(const struct room *r, const struct demand *d, struct wait_reason *why) {
    why->nodes_asked = d->nodes;
    for (int32_t i = 0; i < r->c->node_count && d->nodes; i++)
        why->nodes_available += serves(r, d, i) && __builtin_popcount(room_free_gpus(r, i)) >= d->gpus / d->nodes;
}

static void ask_for_cpus(const struct room *r, const struct demand *d, struct wait_reason *why) {
    why->asked_cpus = true;
    why->asked = (int64_t)d->ranks * d->cpus_per_rank;
    why->available = free_cpus(r, d);
}

static void ask_for_memory(const struct room *r, const struct demand *d, struct wait_reason *why) {
    why->asked_memory = true;
    why->asked_cpus = false;
    why->asked = d->memory_mib;
    why->available = free_memory(r, d);
}

/* What is short beside GPUs: the one of cores and memory that would be enough to have more of; cores, if it takes both. */
static bool short_beside_gpus(struct reason_probe *probe, struct room *room, const struct demand *d, struct wait_reason *why) {
    if (d->memory_mib && fits_in(probe, room, d, ROOM_MEMORY_PLENTY))
        ask_for_memory(room, d, why);
    else if (!d->exclusive && fits_in(probe, room, d, ROOM_CPUS_PLENTY | ROOM_MEMORY_PLENTY))
        ask_for_cpus(room, d, why);   /* who takes whole nodes gets all of theirs */
    return why->asked_cpus || why->asked_memory;
}

/* Would it start now on nodes that it may not use, or beside others? */
static bool is_constrained(struct reason_probe *probe, struct room *room, const struct demand *d, struct wait_reason *why) {
    struct demand anywhere = *d, shared = *d;
    anywhere.filter = ALL_NODES;
    shared.exclusive = false;
    why->of_whole_nodes = d->exclusive && fits_in(probe, room, &shared, ROOM_NOW);
    if (why->of_whole_nodes || (d->filter != ALL_NODES && fits_in(probe, room, &anywhere, ROOM_NOW)))
        why->code = WAIT_CONSTRAINT;
    return why->code == WAIT_CONSTRAINT;
}

static enum wait_code who_keeps(const struct pass *p, int64_t *blocker) {
    *blocker = ahead_keeper(p, p->ahead_bound);
    if (*blocker)
        return WAIT_PRIORITY;
    for (size_t i = 0; i < p->plan->count; i++)
        if (p->plan->decisions[i].type == EVENT_RESERVE && p->plan->decisions[i].kind != KEPT_AHEAD)
            *blocker = p->plan->decisions[i].job;
    for (int32_t i = 0; i < p->c->reservation_count && !*blocker; i++)
        if (p->c->reservations[i].kind != KEPT_AHEAD)
            *blocker = p->c->reservations[i].job;
    return *blocker ? WAIT_RESERVATION : WAIT_NO_FIT;
}

/* A queue's limit of a type of GPU is in the way if the gang would fit without it. */
static bool limited_by_type(struct reason_probe *probe, struct room *room, const struct demand *d, int view, struct wait_reason *why) {
    const struct cluster *c = room->c;
    uint32_t barred = type_limit_barred(room, d->queue, d->gpus);
    int32_t type = 0, queue = -1;
    if (!barred || !fits_in(probe, room, d, view | ROOM_ANY_TYPE))
        return false;
    type_limit_name(room, d->queue, barred, &queue, &type);
    int64_t limit = queue_quota_of_type(&c->queues[queue], type).limit;
    *why = (struct wait_reason){.code = WAIT_QUEUE_LIMIT, .queue = queue, .gpu_type = type, .asked = d->gpus, .limit = limit,
                                .available = limit - (room->type_used ? room->type_used[queue][type] : 0)};
    return true;
}

/* Likewise what it and others are guaranteed of it, where the gang can't be taken back. */
static bool guaranteed_by_type(struct reason_probe *probe, struct room *room, const struct demand *d, int view, struct wait_reason *why) {
    uint32_t barred = d->preemptible ? 0 : type_guarantee_barred(room, d->queue, d->gpus) & node_filter_types(room->c, d->filter);
    if (!barred || !fits_in(probe, room, d, view | ROOM_ANY_TYPE))
        return false;
    int32_t type = __builtin_ctz(barred);
    *why = (struct wait_reason){.code = WAIT_QUOTA, .queue = d->queue, .gpu_type = type, .asked = d->gpus,
                                .limit = queue_quota_of_type(&room->c->queues[d->queue], type).guarantee};
    return true;
}

enum { WHEN_EMPTY = ROOM_EMPTY | ROOM_WITHOUT_KEEPING };

bool reason_of_no_place(struct reason_probe *probe, struct pass *p, const struct demand *asked, struct wait_reason *why) {
    struct room *room = &p->room;
    struct demand least = place_sized(asked, asked->gpus_min), anywhere = least, *d = &least;
    int64_t keeper;
    *why = (struct wait_reason){.code = WAIT_NO_FIT, .queue = -1, .asked = d->gpus, .available = free_gpus(room, d)};
    count_nodes(room, d, why);
    if (!d->gpus && d->ranks)
        ask_for_cpus(room, d, why);
    struct reason_room *empty = room_in_view(&probe->empty, room, WHEN_EMPTY);
    if (place_may_fit(&empty->counts, &empty->bounds, d) && probe->budget-- <= 0)
        return false;
    anywhere.topology = LEVEL_ANY;
    if (!fits_in_view(empty, d)) {
        if (limited_by_type(probe, room, d, WHEN_EMPTY, why) || guaranteed_by_type(probe, room, d, WHEN_EMPTY, why))
            return true;
        struct reason_room *healthy = room_in_view(&probe->empty_and_healthy, room, WHEN_EMPTY | ROOM_ALL_HEALTHY);
        why->code = fits_in_view(healthy, d) ? WAIT_NODE_HEALTH : WAIT_NEVER_FITS;
        return true;
    }
    if (limited_by_type(probe, room, d, ROOM_NOW, why) || guaranteed_by_type(probe, room, d, ROOM_NOW, why))
        return false;
    if (why->available >= d->gpus && d->topology != LEVEL_ANY && fits_in(probe, room, &anywhere, ROOM_NOW))
        why->code = WAIT_TOPOLOGY;
    else if (why->available >= d->gpus && short_beside_gpus(probe, room, d, why))
        return false;
    else if (is_constrained(probe, room, d, why))
        return false;
    else if (who_keeps(p, &keeper) != WAIT_NO_FIT && fits_in(probe, room, d, ROOM_WITHOUT_KEEPING))
        why->code = who_keeps(p, &why->blocker);
    else if (room_index(room)->nodes < room->c->node_count && fits_in(probe, room, d, ROOM_ALL_HEALTHY))
        why->code = WAIT_NODE_HEALTH;
    return false;
}

/* ---- who is in the way ---- */

/* GPUs that it holds of those that another waits for: of the type whose limit binds, or, where none does, on nodes that the other may
 * use. */
static int32_t held_of(const struct cluster *c, const struct job *j, const struct job *waiting, const struct wait_reason *why) {
    int32_t filter = why->code == WAIT_NO_FIT ? waiting->filter : ALL_NODES, sum = 0;
    if (!why->gpu_type && filter == ALL_NODES)
        return job_held_gpus(j);
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        bool is_one = node_filter_passes(c, filter, t->node) &&
                      (!why->gpu_type || c->shapes[c->nodes[t->node].shape].gpu_type == why->gpu_type);
        sum += is_one && t->state != TASK_ENDED ? __builtin_popcount(t->gpus) : 0;
    }
    return sum;
}

static int64_t largest_holder(const struct cluster *c, int32_t queue, const struct job *but, const struct wait_reason *why) {
    int64_t largest = 0;
    int32_t most = 0;
    for (int32_t i = 0; i < c->index.live.count; i++) {
        const struct job *j = c->index.live.items[i];
        int32_t held = held_of(c, j, but, why);
        if (j != but && held > most && !(why->code == WAIT_QUOTA && j->preemptible) && queue_is_within(c, j->queue, queue)) {
            largest = j->id;
            most = held;
        }
    }
    return largest;
}

static int64_t first_of_user(const struct cluster *c, int32_t queue, uint32_t uid) {
    for (int32_t i = 0; i < c->index.live.count; i++) {
        const struct job *j = c->index.live.items[i];
        if (j->uid == uid && queue_is_within(c, j->queue, queue))
            return j->id;
    }
    return 0;
}

static int64_t first_stopping_for(const struct cluster *c, int64_t job) {
    for (int32_t i = 0; i < c->index.live.count; i++)
        if (c->index.live.items[i]->state == JOB_STOPPING && c->index.live.items[i]->stop_for == job)
            return c->index.live.items[i]->id;
    return 0;
}

static int64_t first_holder_of(const struct cluster *c, const struct placement *p) {
    for (int32_t i = 0; i < c->index.live.count; i++)
        for (int32_t k = 0; k < p->task_count; k++) {
            const struct task *t = job_task_on(c->index.live.items[i], p->tasks[k].node);
            if (t && t->state != TASK_ENDED && t->gpus & p->tasks[k].gpus)
                return c->index.live.items[i]->id;
        }
    return 0;
}

/* A job whose place is kept waits for those that hold it. */
static void reason_of_reserved(const struct cluster *c, const struct job *j, const struct reservation *r, struct wait_reason *out) {
    *out = (struct wait_reason){.code = WAIT_RESERVATION, .queue = j->queue, .asked = j->gpus_min, .limit = share_guarantee(c, j->queue)};
    for (int32_t i = 0; i < r->placement.task_count; i++)
        out->available += __builtin_popcount(r->placement.tasks[i].gpus & ~c->nodes[r->placement.tasks[i].node].gpus_used);
    out->blocker = first_stopping_for(c, j->id);
    if (!out->blocker)
        out->blocker = first_holder_of(c, &r->placement);
}

static bool is_array_full(const struct job *j) {
    const struct job_array *a = job_array_of(j);
    return a && a->limit && a->running >= a->limit && j->state == JOB_PENDING && array_waiting(j);
}

void policy_reason(const struct cluster *c, const struct job *j, struct wait_reason *out) {
    const struct reservation *kept = cluster_reservation(c, j->id);
    *out = (struct wait_reason){.code = WAIT_NONE, .queue = -1};
    if (j->state == JOB_HELD)
        out->code = WAIT_HELD;
    else if (j->listed == LISTED_AFTER)
        *out = (struct wait_reason){.code = WAIT_DEPENDENCY, .queue = -1, .blocker = j->after[0].job, .asked = j->after_count};
    else if (j->listed == LISTED_COOLING)
        *out = (struct wait_reason){.code = WAIT_COOL_DOWN, .queue = -1, .limit = j->not_before_ms};
    else if (kept && kept->kind != KEPT_AHEAD)
        reason_of_reserved(c, j, kept, out);
    else if (is_array_full(j))
        *out = (struct wait_reason){.code = WAIT_ARRAY_LIMIT, .queue = -1, .limit = job_array_of(j)->limit,
                                    .available = job_array_of(j)->running};
    else if (j->listed == LISTED_READY)
        *out = c->index.classes[j->wait_class].reason;
    reason_name_blocker(c, j, out);
}

void reason_name_blocker(const struct cluster *c, const struct job *j, struct wait_reason *out) {
    if (out->code == WAIT_QUEUE_LIMIT || out->code == WAIT_QUOTA)
        out->blocker = largest_holder(c, out->queue, j, out);
    else if (out->code == WAIT_USER_LIMIT)
        out->blocker = first_of_user(c, out->queue, j->uid);
    else if (out->code == WAIT_NO_FIT && !out->asked_cpus && !out->asked_memory)
        out->blocker = largest_holder(c, -1, j, out);
    else if (out->code == WAIT_PRIORITY && !out->blocker)
        out->code = WAIT_NO_FIT;
}

/* ---- telling it ---- */

struct sentence { char *buffer; size_t size, used; };
#define SAY(s, ...) text_append((s)->buffer, (s)->size, &(s)->used, __VA_ARGS__)

static const char *plural(int64_t n) { return n == 1 ? "" : "s"; }

static int64_t use_of(const struct queue *q, int32_t gpu_type) { return gpu_type ? q->used_by_type[gpu_type] : q->gpus_used; }

static void say_holder(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    const struct job *holder = cluster_job(c, r->blocker);
    int32_t held = holder ? held_of(c, holder, j, r) : 0;
    if (held)
        SAY(s, "; job %s of queue %s holds %d of them", job_name(c, holder->id).text, c->queues[holder->queue].name, held);
}

/* Of the one type that it may use: what its queue is guaranteed of it, and has. */
static void say_guarantee(struct sentence *s, const struct cluster *c, const struct job *j) {
    uint32_t types = c->index.typed_shares ? node_filter_types(c, j->filter) : 0;
    const struct queue *q = &c->queues[j->queue];
    if (!types || types & (types - 1) || !queue_quota_of_type(q, __builtin_ctz(types)).guarantee)
        return;
    int32_t type = __builtin_ctz(types);
    SAY(s, "; of type %s queue %s is guaranteed %lld and uses %lld", c->gpu_types[type], q->name,
        (long long)queue_quota_of_type(q, type).guarantee, (long long)q->used_by_type[type]);
}

static void say_limit(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    const struct queue *q = &c->queues[r->queue];
    const char *type = c->gpu_types[r->gpu_type];
    int64_t limit = r->gpu_type ? queue_quota_of_type(q, r->gpu_type).limit : q->limit, used = use_of(q, r->gpu_type);
    SAY(s, "waits for %d GPU%s: queue %s may use %lld%s%s (its limit) and uses %lld", j->gpus_min, plural(j->gpus_min), q->name,
        (long long)limit, *type ? " of type " : "", type, (long long)used);
    if (limit - used >= j->gpus_min)
        SAY(s, ", and the rest is promised to a job before it");
    say_holder(s, c, j, r);
}

static void say_user_limit(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    const struct queue *q = &c->queues[r->queue];
    int32_t running = user_counts_of(&c->index.users, r->queue, j->uid).running;
    SAY(s, "waits for another job of its user to end: queue %s runs %lld of a user at most (max_running_per_user), and %d run%s", q->name,
        (long long)q->max_running_per_user, running, running == 1 ? "s" : "");
    if (running < q->max_running_per_user)
        SAY(s, ", the rest being promised to a job before it");
    if (r->blocker)
        SAY(s, "; job %s is one", job_name(c, r->blocker).text);
}

static void say_quota(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    if (r->gpu_type) {
        SAY(s, "waits for %d GPU%s that can't be taken back from it: of type %s queue %s is guaranteed %lld, and others the rest",
            j->gpus_min, plural(j->gpus_min), c->gpu_types[r->gpu_type], c->queues[r->queue].name, (long long)r->limit);
        return;
    }
    SAY(s, "waits for %d GPU%s that can't be taken back from it: queue %s is guaranteed %lld, and uses %lld for such jobs", j->gpus_min,
        plural(j->gpus_min), c->queues[r->queue].name, (long long)r->limit, (long long)c->queues[r->queue].gpus_fixed);
    say_holder(s, c, j, r);
}

/* "of type h100", "on nodes with nvme,ib", "among node1,node2", ... */
static void say_wish(struct sentence *s, const struct cluster *c, const struct job *j) {
    struct node_wish w = node_filter_wish(c, j->filter);
    if (*w.gpu_type)
        SAY(s, " of type %s", w.gpu_type);
    if (*w.features)
        SAY(s, " on nodes with %s", w.features);
    if (*w.nodelist)
        SAY(s, " on %s", w.nodelist);
    if (*w.exclude)
        SAY(s, " not on %s", w.exclude);
}

static int64_t registered_gpus(const struct cluster *c, const struct job *j) {
    int64_t sum = 0;
    if (j->filter == ALL_NODES)
        return cluster_gpu_count(c);
    for (int32_t i = 0; i < c->node_count; i++)
        sum += node_filter_passes(c, j->filter, i) ? c->shapes[c->nodes[i].shape].count : 0;
    return sum;
}

static void say_gpus(struct sentence *s, const struct cluster *c, const struct job *j) {
    SAY(s, "waits for %d GPU%s", j->gpus_min, plural(j->gpus_min));
    say_wish(s, c, j);
    if (j->exclusive && !j->nodes)
        SAY(s, " on whole nodes");
}

static void say_no_fit(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    char size[32];
    if (r->asked_cpus) {
        SAY(s, "waits for %lld cpu%s%s", (long long)r->asked, plural(r->asked), j->gpus_min ? " beside its GPUs" : "");
        say_wish(s, c, j);
        SAY(s, ": %lld are free, and not so that the gang fits, with %d a rank on each node", (long long)r->available, j->cpus_per_rank);
        return;
    }
    if (r->asked_memory) {
        SAY(s, "waits for %s a node%s", text_size_mib(r->asked, size, sizeof size), j->gpus_min ? " beside its GPUs" : "");
        say_wish(s, c, j);
        SAY(s, ": the most that a node has free is %s", text_size_mib(r->available, size, sizeof size));
        return;
    }
    say_gpus(s, c, j);
    if (r->nodes_asked)
        SAY(s, " on %d %snode%s with %d each: %d node%s that many free", r->nodes_asked, j->exclusive ? "whole " : "",
            plural(r->nodes_asked), j->gpus_min / r->nodes_asked,
            r->nodes_available, r->nodes_available == 1 ? " has" : "s have");
    else
        SAY(s, ": %lld of %lld are free", (long long)r->available, (long long)registered_gpus(c, j));
    if (!r->nodes_asked && r->available >= r->asked)
        SAY(s, ", but not so that the gang fits: evenly over whole nodes");
    say_holder(s, c, j, r);
    say_guarantee(s, c, j);
}

static void say_constraint(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    say_gpus(s, c, j);
    if (j->exclusive && j->nodes)
        SAY(s, " on %d whole node%s", j->nodes, plural(j->nodes));
    SAY(s, ": %lld of %lld are free", (long long)r->available, (long long)registered_gpus(c, j));
    if (r->of_whole_nodes)
        SAY(s, ", enough of them, but others run beside them");
    else
        SAY(s, "; other nodes would hold it now");
}

static void say_health(struct sentence *s, const struct cluster *c, const struct job *j) {
    const char *separator = "";
    SAY(s, "waits for %d GPU%s that nodes would have which are lost or drained: ", j->gpus_min, plural(j->gpus_min));
    for (int32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];
        if (n->state == NODE_UP && !n->drained)
            continue;
        SAY(s, "%s%s (%s%s%s)", separator, n->name, n->drained ? "drained" : "lost", n->drained && *n->drain_reason ? ": " : "",
            n->drained ? n->drain_reason : "");
        separator = ", ";
    }
}

/* In a strict queue. */
static void say_line(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    SAY(s, "waits for %d GPU%s: job %s is before it in queue %s, which starts its jobs strictly in the order of their submission",
        j->gpus, plural(j->gpus), job_name(c, r->blocker).text, c->queues[r->queue].name);
}

static void say_reservation(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    const struct job *other = cluster_job(c, r->blocker);
    if (r->code == WAIT_PRIORITY || !cluster_reservation(c, j->id))   /* a place ahead is not yet its own */
        SAY(s, "waits for %d GPU%s: what is %s is kept for job %s, %s", j->gpus_min, plural(j->gpus_min),
            r->of_quota ? "left of the quota" : "free", job_name(c, r->blocker).text,
            r->code == WAIT_RESERVATION ? "for which others are stopping" : "which is before it in the order");
    else if (other && other->state == JOB_STOPPING)
        SAY(s, "its %d GPU%s are kept for it: %lld are free, job %s is %s", j->gpus_min, plural(j->gpus_min), (long long)r->available,
            job_name(c, r->blocker).text, other->checkpoint_asked ? "checkpointing and then leaves" : "stopping");
    else
        SAY(s, "its %d GPU%s are kept for it: %lld are free, job %s holds others of them until it ends", j->gpus_min, plural(j->gpus_min),
            (long long)r->available, job_name(c, r->blocker).text);
}

static void say_dependency(struct sentence *s, const struct job *j) {
    for (int32_t i = 0; i < j->after_count; i++)
        SAY(s, "%sjob %lld to %s", i ? ", " : "waits for ", (long long)j->after[i].job, j->after[i].ok ? "complete" : "end");
}

static void say(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    char wait[32];
    switch (r->code) {
    case WAIT_DEPENDENCY: say_dependency(s, j); return;
    case WAIT_HELD: SAY(s, "is held"); return;
    case WAIT_ARRAY_LIMIT:
        SAY(s, "waits for another element of its array to end: %lld of them run%s, and the array was submitted with %lld at once",
            (long long)r->available, r->available == 1 ? "s" : "", (long long)r->limit);
        return;
    case WAIT_QUEUE_LIMIT: say_limit(s, c, j, r); return;
    case WAIT_QUOTA: say_quota(s, c, j, r); return;
    case WAIT_NO_FIT: say_no_fit(s, c, j, r); return;
    case WAIT_TOPOLOGY:
        SAY(s, "waits for %d GPU%s within one %s: %lld are free, but not within one", j->gpus_min, plural(j->gpus_min),
            topology_level_name((int)j->topology), (long long)r->available);
        return;
    case WAIT_CONSTRAINT: say_constraint(s, c, j, r); return;
    case WAIT_PRIORITY:
        if (r->queue >= 0) {
            say_line(s, c, j, r);
            return;
        }
        /* fall through */
    case WAIT_RESERVATION: say_reservation(s, c, j, r); return;
    case WAIT_NODE_HEALTH: say_health(s, c, j); return;
    case WAIT_COOL_DOWN:
        SAY(s, "was requeued after attempt %d and starts again in %s at the earliest", j->attempt,
            text_duration(r->limit > c->now_ms ? r->limit - c->now_ms : 0, wait, sizeof wait));
        return;
    case WAIT_NEVER_FITS:
        SAY(s, "asks for %d GPU%s in a form that the cluster, as it is now, can't hold even when empty", j->gpus_min, plural(j->gpus_min));
        return;
    case WAIT_USER_LIMIT: say_user_limit(s, c, j, r); return;
    case WAIT_QUEUE_CLOSED: SAY(s, "queue %s is drained: nothing starts in it", c->queues[r->queue].name); return;
    case WAIT_NONE:
    case WAIT_BEGIN_TIME:
    case WAIT_CODE_COUNT: break;
    }
    if (j->state == JOB_PENDING)
        SAY(s, "is new and has not been looked at yet");
}

const char *reason_text(const struct cluster *c, const struct job *j, const struct wait_reason *r, char *buffer, size_t size) {
    struct sentence s = {buffer, size, 0};
    if (size)
        *buffer = '\0';
    say(&s, c, j, r);
    return buffer;
}

const char *policy_reason_text(const struct cluster *c, const struct job *j, char *buffer, size_t size) {
    struct wait_reason r;
    policy_reason(c, j, &r);
    return reason_text(c, j, &r, buffer, size);
}

/* What to drop of a wish: the options that say it. */
static void advise_on_wish(struct sentence *s, const struct cluster *c, const struct job *j) {
    struct node_wish w = node_filter_wish(c, j->filter);
    const char *const parts[][2] = {{"--gpu-type", w.gpu_type}, {"--features", w.features}, {"--nodelist", w.nodelist},
                                    {"--exclude", w.exclude}};
    const char *separator = "drop ";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (*parts[i][1]) {
            SAY(s, "%s%s", separator, parts[i][0]);
            separator = " and ";   /* which of them is enough is for the changes to say (outlook_change.c) */
        }
    SAY(s, " to start now, or wait for those nodes");
}

/* What the queue's limit would have to be: for what it uses, and for what is promised. */
static int64_t limit_for(const struct cluster *c, const struct wait_reason *r) {
    int64_t used = use_of(&c->queues[r->queue], r->gpu_type), promised = r->limit - r->available;
    return r->asked + (used > promised ? used : promised);
}

static void advise(struct sentence *s, const struct cluster *c, const struct job *j, const struct wait_reason *r) {
    switch (r->code) {
    case WAIT_DEPENDENCY: SAY(s, "`muster show %lld` tells how far that is", (long long)r->blocker); return;
    case WAIT_HELD:
        if (cluster_job(c, j->id))
            SAY(s, "`muster release %s` lets it go", job_name(c, j->id).text);
        else
            SAY(s, "submit it without --hold");   /* it has no number yet */
        return;
    case WAIT_QUEUE_LIMIT:
        SAY(s, "wait for a job of the queue to end, or let an admin raise the limit: muster quota set %s%s%s --limit %lld",
            c->queues[r->queue].name, r->gpu_type ? " --gpu-type " : "", c->gpu_types[r->gpu_type], (long long)limit_for(c, r));
        return;
    case WAIT_QUOTA:
        if (r->gpu_type)
            SAY(s, "submit it as preemptible, or let an admin raise the guarantee: muster quota set %s --gpu-type %s --guarantee %lld",
                c->queues[r->queue].name, c->gpu_types[r->gpu_type], (long long)(r->limit + r->asked));
        else
            SAY(s, "submit it as preemptible, or let an admin raise the guarantee: muster quota set %s --guarantee %lld",
                c->queues[r->queue].name, (long long)(c->queues[r->queue].gpus_fixed + r->asked));
        return;
    case WAIT_NO_FIT:
        SAY(s, "wait: it starts as soon as its gang fits");
        return;
    case WAIT_TOPOLOGY:
        SAY(s, "drop --topology %s to start now, across more of the network", topology_level_name((int)j->topology));
        return;
    case WAIT_CONSTRAINT:
        if (r->of_whole_nodes)
            SAY(s, "drop --exclusive to start now, beside others");
        else
            advise_on_wish(s, c, j);
        return;
    case WAIT_PRIORITY:
        if (r->queue >= 0) {
            SAY(s, "`muster why %s` tells what that one waits for; with the policy fifo others of the queue would start meanwhile",
                job_name(c, r->blocker).text);
            return;
        }
        SAY(s, "wait: when job %s has its GPUs, what is left is for others", job_name(c, r->blocker).text);
        return;
    case WAIT_RESERVATION:
        SAY(s, "nothing to do: this takes at most the grace of the jobs that are stopping, or the time that they still run");
        return;
    case WAIT_NODE_HEALTH: SAY(s, "`muster nodes` shows them; `muster resume NODE` takes a drained one back"); return;
    case WAIT_COOL_DOWN: SAY(s, "nothing to do; `muster show %s` tells why it was requeued", job_name(c, j->id).text); return;
    case WAIT_NEVER_FITS: SAY(s, "cancel it and ask for less, or bring the missing nodes back"); return;
    case WAIT_USER_LIMIT:
        SAY(s, "wait for one to end, or let an admin raise it: muster quota set %s --max-running-per-user %lld", c->queues[r->queue].name,
            (long long)r->limit + 1);
        return;
    case WAIT_QUEUE_CLOSED:
        SAY(s, "`muster quota resume %s` lets it go on; else submit it to another queue", c->queues[r->queue].name);
        return;
    case WAIT_ARRAY_LIMIT: SAY(s, "nothing to do: the next element starts when one that runs has ended"); return;
    case WAIT_NONE:
    case WAIT_BEGIN_TIME:
    case WAIT_CODE_COUNT: break;
    }
}

const char *reason_remedy(const struct cluster *c, const struct job *j, const struct wait_reason *r, char *buffer, size_t size) {
    struct sentence s = {buffer, size, 0};
    if (size)
        *buffer = '\0';
    advise(&s, c, j, r);
    return buffer;
}

const char *policy_reason_remedy(const struct cluster *c, const struct job *j, char *buffer, size_t size) {
    struct wait_reason r;
    policy_reason(c, j, &r);
    return reason_remedy(c, j, &r, buffer, size);
}
