#include "scheduler/policy/room.h"

#include <limits.h>
#include <string.h>

#include "scheduler/cluster/queue.h"

/* What can't be stopped, by type. What is promised comes with the reservations. */
static void count_fixed(struct room *r) {
    const struct cluster *c = r->c;
    r->type_fixed = arena_array(r->arena, (size_t)c->queue_count, sizeof *r->type_fixed);
    for (int32_t i = 0; i < c->index.run_count; i++) {
        const struct job *j = c->index.runs[i].job;
        for (int32_t k = 0; k < j->placement.task_count && !j->preemptible; k++) {
            const struct task *t = &j->placement.tasks[k];
            int gpus = t->state == TASK_ENDED ? 0 : __builtin_popcount(t->gpus);
            for (int32_t q = j->queue; q >= 0; q = c->queues[q].parent)
                r->type_fixed[q][c->shapes[c->nodes[t->node].shape].gpu_type] += gpus;
        }
    }
}

void room_open(struct room *r, const struct cluster *c, struct arena *arena) {
    *r = (struct room){.c = c, .arena = arena};
    r->nodes = arena_raw(arena, (size_t)c->node_count, sizeof *r->nodes);
    r->queue_held = arena_array(arena, (size_t)c->queue_count, sizeof *r->queue_held);
    r->queue_used = arena_array(arena, (size_t)c->queue_count, sizeof *r->queue_used);
    for (int32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];
        const struct gpu_shape *shape = &c->shapes[n->shape];
        r->nodes[i] = (struct room_node){.held = n->gpus_used,
                                         .gpus = (1u << shape->count) - 1,
                                         .gpu_type = (uint8_t)shape->gpu_type,
                                         .cpus = n->is_whole ? 0 : n->cpus - n->cpus_used,
                                         .memory_mib = n->memory_mib - n->memory_used_mib,
                                         .usable = n->state == NODE_UP && !n->drained};
    }
    r->queue_fixed = arena_array(arena, (size_t)c->queue_count, sizeof *r->queue_fixed);
    for (int32_t q = 0; q < c->queue_count; q++) {
        r->queue_held[q] = r->queue_used[q] = c->queues[q].gpus_used;
        r->queue_fixed[q] = c->queues[q].gpus_fixed;
    }
    if (c->index.typed_limits || c->index.typed_shares) {
        r->type_held = arena_array(arena, (size_t)c->queue_count, sizeof *r->type_held);
        r->type_used = arena_array(arena, (size_t)c->queue_count, sizeof *r->type_used);
        for (int32_t q = 0; q < c->queue_count; q++) {
            memcpy(r->type_held[q], c->queues[q].used_by_type, sizeof *r->type_held);
            memcpy(r->type_used[q], c->queues[q].used_by_type, sizeof *r->type_used);
        }
    }
    if (c->index.typed_shares)
        count_fixed(r);
    for (int32_t i = 0; i < c->reservation_count; i++)
        room_reserve(r, &c->reservations[i]);
    r->journal_count = 0;
}

void room_vary(struct room *r, const struct room *from, int view) {
    const struct cluster *c = from->c;
    if (!r->nodes)
        *r = (struct room){.c = c, .arena = from->arena, .nodes = arena_raw(from->arena, (size_t)c->node_count, sizeof *r->nodes)};
    r->journal_count = 0;
    r->indexed = false;
    r->queue_fixed = from->queue_fixed;
    r->type_used = view & ROOM_EMPTY ? NULL : from->type_used;
    r->type_fixed = view & ROOM_EMPTY ? NULL : from->type_fixed;
    r->any_type = (view & ROOM_ANY_TYPE) != 0;
    for (int32_t i = 0; i < c->node_count; i++) {
        struct room_node n = from->nodes[i];
        if (view & ROOM_EMPTY) {
            n.held = 0;
            n.cpus = c->nodes[i].cpus - n.kept_cpus;
            n.memory_mib = c->nodes[i].memory_mib - n.kept_memory_mib;
        }
        if (view & ROOM_WITHOUT_KEEPING) {
            n.kept = n.ahead = 0;
            n.cpus += n.kept_cpus;
            n.memory_mib += n.kept_memory_mib;
        }
        if (view & ROOM_CPUS_PLENTY)
            n.cpus = INT_MAX / 2;
        if (view & ROOM_MEMORY_PLENTY)
            n.memory_mib = INT64_MAX / 2;
        n.usable |= (view & ROOM_ALL_HEALTHY) != 0;
        r->nodes[i] = n;
    }
}

void *room_scratch(struct room *r, size_t size) {
    if (size > r->scratch_size) {
        r->scratch = arena_raw(r->arena, 1, size);
        r->scratch_size = size;
    }
    return r->scratch;
}

bool room_is_open(const struct room *r, int32_t node) {
    return r->nodes[node].usable && !(r->barred >> r->nodes[node].gpu_type & 1);
}

uint32_t room_free_gpus(const struct room *r, int32_t node) {
    const struct room_node *n = &r->nodes[node];
    return room_is_open(r, node) ? n->gpus & ~(n->held | n->kept | n->ahead) : 0;
}

void room_bar(struct room *r, uint32_t types) {
    r->indexed &= r->barred == types;
    r->barred = types;
}

/* ---- the index ---- */

static int free_count(const struct room *r, int32_t node) { return __builtin_popcount(room_free_gpus(r, node)); }

static void index_node(struct room *r, int32_t node, int sign) {
    struct room_index *x = &r->index;
    int free = free_count(r, node);
    if (!room_is_open(r, node))
        return;
    x->bits[(size_t)free * (size_t)x->words + (size_t)node / 64] ^= UINT64_C(1) << node % 64;
    x->nodes_with[free] += sign;
    x->gpus += sign * free;
    if (r->nodes[node].cpus > x->node_cpus)
        x->node_cpus = r->nodes[node].cpus;
}

const struct room_index *room_index(struct room *r) {
    struct room_index *x = &r->index;
    if (r->indexed)
        return x;
    int32_t words = (r->c->node_count + 63) / 64;
    uint64_t *bits = x->bits ? x->bits : arena_array(r->arena, (size_t)words * (ROOM_GPUS_MAX + 1), sizeof *bits);
    memset(bits, 0, (size_t)words * (ROOM_GPUS_MAX + 1) * sizeof *bits);
    *x = (struct room_index){.bits = bits, .words = words};
    for (int32_t i = 0; i < r->c->node_count; i++) {
        int32_t size = __builtin_popcount(r->nodes[i].gpus);
        index_node(r, i, 1);
        x->nodes += room_is_open(r, i);
        if (room_is_open(r, i) && size > x->node_size)
            x->node_size = size;
    }
    r->indexed = true;
    return x;
}

int32_t room_next_node(const struct room_index *x, int free, int32_t from, const uint64_t *only) {
    const uint64_t *row = x->bits + (size_t)free * (size_t)x->words;
    if (!x->nodes_with[free])
        return -1;
    for (int32_t w = from / 64; w < x->words; w++) {
        uint64_t word = row[w] & (only ? only[w] : ~UINT64_C(0)) & (w == from / 64 ? ~UINT64_C(0) << from % 64 : ~UINT64_C(0));
        if (word)
            return w * 64 + __builtin_ctzll(word);
    }
    return -1;
}

int32_t room_nodes_with(const struct room_index *x, int gpus) {
    int32_t sum = 0;
    for (int f = gpus; f <= ROOM_GPUS_MAX; f++)
        sum += x->nodes_with[f];
    return sum;
}

void room_bound(struct room *r, struct room_bounds *b) {
    const struct room_index *x = room_index(r);
    int32_t cpus = 0;
    int64_t memory_mib = 0;
    for (int f = ROOM_GPUS_MAX; f > 0; f--) {
        for (int32_t n = room_next_node(x, f, 0, NULL); n >= 0; n = room_next_node(x, f, n + 1, NULL)) {
            cpus = r->nodes[n].cpus > cpus ? r->nodes[n].cpus : cpus;
            memory_mib = r->nodes[n].memory_mib > memory_mib ? r->nodes[n].memory_mib : memory_mib;
        }
        b->cpus[f] = cpus;
        b->memory_mib[f] = memory_mib;
    }
    b->cpus[0] = INT32_MAX;
    b->memory_mib[0] = INT64_MAX;
}

/* ---- journaled changes ---- */

static struct room_change *journal_add(struct room *r) {
    if (r->journal_count == r->journal_capacity) {
        size_t capacity = r->journal_capacity ? 2 * r->journal_capacity : 64;
        struct room_change *grown = arena_array(r->arena, capacity, sizeof *grown);
        if (r->journal_count)
            memcpy(grown, r->journal, r->journal_count * sizeof *grown);
        r->journal = grown;
        r->journal_capacity = capacity;
    }
    return &r->journal[r->journal_count++];
}

static void put_node(struct room *r, int32_t node, const struct room_node *now) {
    if (r->indexed)
        index_node(r, node, -1);
    r->nodes[node] = *now;
    if (r->indexed)
        index_node(r, node, 1);
}

static void change_node(struct room *r, int32_t node, const struct room_node *now) {
    *journal_add(r) = (struct room_change){.node = node, .queue = -1, .before = r->nodes[node]};
    put_node(r, node, now);
}

static void add_to_queues(struct room *r, const struct room_change *d, int sign) {
    for (int32_t q = d->queue; q >= 0; q = r->c->queues[q].parent) {
        r->queue_held[q] += sign * d->held;
        r->queue_used[q] += sign * d->used;
        r->queue_fixed[q] += sign * d->fixed;
        if (r->type_held) {
            r->type_held[q][d->type] += sign * d->held;
            r->type_used[q][d->type] += sign * d->used;
        }
        if (r->type_fixed)
            r->type_fixed[q][d->type] += sign * d->fixed;
    }
}

static void change_queues(struct room *r, const struct job *j, int32_t type, int64_t held, int64_t used) {
    struct room_change *change = journal_add(r);
    *change = (struct room_change){.node = -1, .queue = j->queue, .type = type, .held = held, .used = used,
                                   .fixed = j->preemptible ? 0 : used};
    add_to_queues(r, change, 1);
}

static int32_t type_of(const struct room *r, const struct task *t) { return r->c->shapes[r->c->nodes[t->node].shape].gpu_type; }

static int gpus_of(const struct task *t) { return __builtin_popcount(t->gpus); }

void room_take(struct room *r, const struct job *j, const struct placement *p) {
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        struct room_node n = r->nodes[t->node];
        n.held |= t->gpus;
        n.cpus -= t->cpus;
        n.memory_mib -= t->memory_mib;
        change_node(r, t->node, &n);
        change_queues(r, j, type_of(r, t), gpus_of(t), gpus_of(t));
    }
}

/* One that is still leaving its old place is charged for what it holds there and for its seat: what it has in both, by type, only once. */
static void charge_once(struct room *r, const struct job *j, const struct placement *seat, int sign) {
    int64_t held[GPU_TYPES_MAX] = {0}, kept[GPU_TYPES_MAX];
    for (int32_t i = 0; i < j->placement.task_count; i++)
        if (j->placement.tasks[i].state != TASK_ENDED)
            held[type_of(r, &j->placement.tasks[i])] += gpus_of(&j->placement.tasks[i]);
    placement_types(r->c, seat, kept);
    for (int32_t t = 0; t < r->c->gpu_type_count; t++)
        if (held[t] && kept[t])
            change_queues(r, j, t, 0, -sign * (held[t] < kept[t] ? held[t] : kept[t]));
}

static void hold(struct room *r, const struct job *j, bool on) {
    const struct reservation *seat = j->state == JOB_STOPPING ? cluster_reservation(r->c, j->id) : NULL;
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        if (t->state == TASK_ENDED)
            continue;
        struct room_node n = r->nodes[t->node];
        n.held = on ? n.held | t->gpus : n.held & ~t->gpus;
        n.cpus += on ? -t->cpus : t->cpus;
        n.memory_mib += on ? -t->memory_mib : t->memory_mib;
        change_node(r, t->node, &n);
        change_queues(r, j, type_of(r, t), on ? gpus_of(t) : -gpus_of(t), on ? gpus_of(t) : -gpus_of(t));
    }
    if (seat)
        charge_once(r, j, &seat->placement, on ? 1 : -1);
}

void room_give(struct room *r, const struct job *j) { hold(r, j, false); }
void room_take_back(struct room *r, const struct job *j) { hold(r, j, true); }

static void take_beside_gpus(struct room_node *n, const struct task *t, int sign) {
    n->cpus -= sign * t->cpus;
    n->memory_mib -= sign * t->memory_mib;
    n->kept_cpus += sign * t->cpus;
    n->kept_memory_mib += sign * t->memory_mib;
}

static void keep(struct room *r, const struct placement *p, int on) {
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        struct room_node n = r->nodes[t->node];
        n.kept = on > 0 ? n.kept | t->gpus : n.kept & ~t->gpus;
        take_beside_gpus(&n, t, on);
        change_node(r, t->node, &n);
    }
}

void room_block(struct room *r, const struct placement *p) { keep(r, p, 1); }

void room_keep_ahead(struct room *r, const struct placement *p, bool on) {
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        struct room_node n = r->nodes[t->node];
        n.ahead = on ? n.ahead | t->gpus : n.ahead & ~t->gpus;
        take_beside_gpus(&n, t, on ? 1 : -1);
        change_node(r, t->node, &n);
    }
}

void room_promise(struct room *r, const struct job *j, const struct placement *p, int sign) {
    for (int32_t i = 0; i < p->task_count; i++)
        change_queues(r, j, type_of(r, &p->tasks[i]), 0, sign * gpus_of(&p->tasks[i]));
}

void room_keep(struct room *r, const struct job *j, const struct placement *p) {
    keep(r, p, 1);
    room_promise(r, j, p, 1);
}

void room_unkeep(struct room *r, const struct job *j, const struct placement *p) {
    keep(r, p, -1);
    room_promise(r, j, p, -1);
}

void room_reserve(struct room *r, const struct reservation *kept) {
    const struct job *j = cluster_job(r->c, kept->job);
    if (kept->kind == KEPT_AHEAD)
        return;
    room_keep(r, j, &kept->placement);
    charge_once(r, j, &kept->placement, 1);
}

void room_unreserve(struct room *r, const struct reservation *kept) {
    const struct job *j = cluster_job(r->c, kept->job);
    if (kept->kind == KEPT_AHEAD)
        return;
    charge_once(r, j, &kept->placement, -1);
    room_unkeep(r, j, &kept->placement);
}

size_t room_mark(const struct room *r) { return r->journal_count; }

void room_rollback(struct room *r, size_t mark) {
    while (r->journal_count > mark) {
        const struct room_change *change = &r->journal[--r->journal_count];
        if (change->node >= 0) {
            put_node(r, change->node, &change->before);
        } else {
            add_to_queues(r, change, -1);
        }
    }
}
