#include "scheduler/policy/place.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "scheduler/policy/type_limit.h"

static int bits(uint32_t mask) { return __builtin_popcount(mask); }

/* ---- inside a node: exhaustive ---- */

/* What islands keep: many GPUs left together are worth more than as many apart. */
static int left_together(const struct gpu_shape *s, uint32_t left) {
    int sum = 0;
    for (int i = 0; i < s->island_count; i++)
        sum += bits(left & s->islands[i]) * bits(left & s->islands[i]);
    return sum;
}

/* The k-subset with the next higher bits (Gosper's step). */
static uint32_t next_subset(uint32_t x) {
    uint32_t low = x & -x, carry = x + low;
    return carry | ((x ^ carry) >> 2) / low;
}

/* The bits of `index`, put where `mask` has its own. */
static uint32_t spread(uint32_t index, uint32_t mask) {
    uint32_t out = 0;
    for (; mask && index; mask &= mask - 1, index >>= 1)
        if (index & 1)
            out |= mask & -mask;
    return out;
}

uint32_t place_best_gpus(const struct gpu_shape *s, uint32_t free, int count, bool one_island) {
    int available = bits(free), best_left = -1;
    uint32_t best = 0;
    uint16_t best_ring = 0;
    if (count < 1 || count > available)
        return 0;
    for (uint32_t index = (1u << count) - 1; index < 1u << available; index = next_subset(index)) {
        uint32_t mask = spread(index, free);
        uint16_t ring = s->ring_gbs[mask];
        if ((best && ring < best_ring) || (one_island && gpu_shape_island(s, mask) < 0))
            continue;
        int left = left_together(s, free & ~mask);
        if (!best || ring > best_ring || left > best_left) {
            best = mask;
            best_ring = ring;
            best_left = left;
        }
    }
    return best;
}

/* ---- what a gang needs of each node ---- */

static int32_t share_of(int32_t total, int32_t nodes, int32_t i) { return total / nodes + (i < total % nodes); }

static struct need need_of(const struct demand *d, int32_t gpus, int32_t ranks) {
    struct need n = {.count = 1, .gpus = gpus, .ranks = ranks};
    if (!n.ranks && d->launcher == LAUNCHER_NONE)
        n.ranks = 1;   /* a script's own mpirun gets a slot on each node */
    n.cpus = (n.ranks ? n.ranks : 1) * d->cpus_per_rank;
    return n;
}

static void add_need(struct split *s, struct need n) {
    if (n.count < 1)
        return;
    s->nodes += n.count;
    s->need[s->groups++] = n;
}

/* Each node the same; where that does not divide, the first ones have one more. */
static struct split split_evenly(const struct demand *d, int32_t nodes) {
    struct split s = {0};
    int32_t steps[] = {0, d->gpus % nodes, d->ranks % nodes};
    if (steps[1] > steps[2])
        steps[1] = d->ranks % nodes, steps[2] = d->gpus % nodes;
    for (int k = 0; k < GROUPS_MAX; k++) {
        struct need n = need_of(d, share_of(d->gpus, nodes, steps[k]), share_of(d->ranks, nodes, steps[k]));
        n.count = (k + 1 < GROUPS_MAX ? steps[k + 1] : nodes) - steps[k];
        add_need(&s, n);
    }
    return s;
}

/* Ranks go with their GPUs: so many a GPU, or so many GPUs a rank. 0: they can't be dealt so. */
static int32_t ranks_with(const struct demand *d, int32_t gpus) {
    if (d->ranks % d->gpus == 0)
        return gpus * (d->ranks / d->gpus);
    return d->gpus % d->ranks == 0 && gpus % (d->gpus / d->ranks) == 0 ? gpus / (d->gpus / d->ranks) : 0;
}

/* Nodes of `size` GPUs filled, and one with the rest. No groups: there is no rest, or the ranks can't be dealt so. */
static struct split split_filling(const struct demand *d, int32_t size) {
    struct split s = {0};
    int32_t full = size ? d->gpus / size : 0, rest = size ? d->gpus % size : 0;
    if (!full || !rest)
        return s;
    int32_t of_full = ranks_with(d, size), of_rest = ranks_with(d, rest);
    if (d->ranks == 1)
        of_full = 0;   /* one rank for all: it is the head's */
    else if (!of_full || !of_rest)
        return s;
    struct need filled = need_of(d, size, of_full), last = need_of(d, rest, of_full ? of_rest : 0);
    filled.count = full;
    if (d->ranks == 1) {
        struct need head = need_of(d, size, 1);
        add_need(&s, head);
        filled.count--;
    }
    add_need(&s, filled);
    add_need(&s, last);
    return s;
}

/* ---- candidates ---- */

struct candidate {
    int32_t node, rack;
    int32_t group;        /* of the greatest need that it can serve */
    uint32_t mask;
    uint32_t width_gbs;   /* of its part of the job's ring */
    int64_t left;         /* less is a better fit */
};

/* Searches of the same node state come again and again on a uniform cluster: the last ones are remembered. */
struct memo { int32_t shape; uint32_t free, best; int count; bool one_island; };
enum { MEMO_SLOTS = 64 };

struct search {
    struct room *r;
    const struct room_index *index;
    const struct demand *d;
    const uint64_t *only;      /* nodes that it may use; NULL: all */
    struct split split;
    struct candidate *found;   /* [nodes of the cluster], and as much again to work in */
    int32_t found_count;
    struct memo memo[MEMO_SLOTS];
};

static uint32_t best_gpus(struct search *s, int32_t shape, uint32_t free, int count) {
    bool one_island = s->d->topology == LEVEL_ISLAND;
    struct memo *m = &s->memo[(free * 31u + (uint32_t)shape * 7u + (uint32_t)count) % MEMO_SLOTS];
    if (m->shape != shape + 1 || m->free != free || m->count != count || m->one_island != one_island)
        *m = (struct memo){shape + 1, free, place_best_gpus(&s->r->c->shapes[shape], free, count, one_island), count, one_island};
    return m->best;
}

/* Whole nodes: all of it is free, and the gang wants all of its GPUs. */
static bool is_whole(const struct search *s, int32_t node, const struct need *need) {
    const struct node *real = &s->r->c->nodes[node];
    int32_t count = s->r->c->shapes[real->shape].count;
    return need->gpus == count && bits(room_free_gpus(s->r, node)) == count && s->r->nodes[node].cpus >= real->cpus;
}

static bool node_serves(struct search *s, int32_t node, const struct need *need, struct candidate *out) {
    const struct room_node *n = &s->r->nodes[node];
    const struct node *real = &s->r->c->nodes[node];
    const struct gpu_shape *shape = &s->r->c->shapes[real->shape];
    uint32_t free = room_free_gpus(s->r, node);
    if (!n->usable || n->cpus < need->cpus || (s->d->memory_mib && n->memory_mib < s->d->memory_mib) || bits(free) < need->gpus)
        return false;
    if (s->d->exclusive && !is_whole(s, node, need))
        return false;
    uint32_t mask = need->gpus ? best_gpus(s, real->shape, free, need->gpus) : 0;
    if (need->gpus && !mask)
        return false;
    int64_t cpus_left = n->cpus - need->cpus;
    *out = (struct candidate){
        .node = node, .rack = real->rack, .mask = mask, .width_gbs = need->gpus > 1 ? shape->ring_gbs[mask] : UINT32_MAX};
    out->left = need->gpus ? (int64_t)(bits(free) - need->gpus) << 32 | cpus_left : (int64_t)shape->count << 32 | cpus_left;
    return true;
}

/* The nodes that can serve some need of the gang, each with the greatest that it can. */
static void find_candidates(struct search *s) {
    const struct need *least = &s->split.need[s->split.groups - 1];
    s->found_count = 0;
    for (int free = least->gpus; free <= ROOM_GPUS_MAX; free++)
        for (int32_t i = room_next_node(s->index, free, 0, s->only); i >= 0; i = room_next_node(s->index, free, i + 1, s->only))
            for (int g = 0; g < s->split.groups; g++)
                if (node_serves(s, i, &s->split.need[g], &s->found[s->found_count])) {
                    s->found[s->found_count++].group = g;
                    break;
                }
}

/* Who serves a need serves every lesser one; but a whole node only one of just its size. */
static bool serves_too(const struct search *s, int group, int lesser) {
    return group <= lesser && (!s->d->exclusive || s->split.need[group].gpus == s->split.need[lesser].gpus);
}

static bool enough(const struct search *s, const int32_t by_group[3]) {
    for (int g = 0; g < s->split.groups; g++) {
        int32_t have = 0, needed = 0;
        for (int k = 0; k <= g; k++)
            if (serves_too(s, k, g)) {
                have += by_group[k];
                needed += s->split.need[k].count;
            }
        if (have < needed)
            return false;
    }
    return true;
}

/* ---- one node ---- */

static bool fits_better(const struct candidate *a, const struct candidate *b) {
    if (a->width_gbs != b->width_gbs)
        return a->width_gbs > b->width_gbs;
    return a->left != b->left ? a->left < b->left : a->node < b->node;
}

/* What no node can do better for so many GPUs. */
static uint32_t widest(const struct search *s, int32_t gpus) {
    uint32_t most = 0;
    if (gpus < 2)
        return UINT32_MAX;
    for (int32_t i = 0; i < s->r->c->shape_count; i++)
        if (s->r->c->shapes[i].widest_gbs[gpus] > most)
            most = s->r->c->shapes[i].widest_gbs[gpus];
    return most;
}

/* From the fullest nodes on: the first with the widest ring of all is the best. */
static bool best_single(struct search *s, struct candidate *best) {
    const struct need *need = &s->split.need[0];
    uint32_t most = widest(s, need->gpus);
    struct candidate k;
    best->node = -1;
    for (int free = need->gpus; free <= ROOM_GPUS_MAX && (best->node < 0 || best->width_gbs < most || !need->gpus); free++)
        for (int32_t i = room_next_node(s->index, free, 0, s->only); i >= 0; i = room_next_node(s->index, free, i + 1, s->only))
            if (node_serves(s, i, need, &k) && (best->node < 0 || fits_better(&k, best)))
                *best = k;
    return best->node >= 0;
}

/* ---- several nodes of one domain ---- */

static int by_width(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return x->width_gbs != y->width_gbs ? (x->width_gbs > y->width_gbs ? -1 : 1) : x->node < y->node ? -1 : x->node > y->node;
}

static int by_fit(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : x->node < y->node ? -1 : x->node > y->node;
}

static int by_place(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return x->rack != y->rack ? (x->rack < y->rack ? -1 : 1) : x->node < y->node ? -1 : x->node > y->node;
}

/* Takes from set[0..count) the `need->count` nodes with the widest bottleneck, among those the best fit. They come first in the set, by
 * place. */
static uint32_t pick(struct search *s, struct candidate *set, int32_t count, const struct need *need, int group) {
    for (int32_t i = 0; i < count; i++) {
        uint32_t nic = (uint32_t)s->r->c->nodes[set[i].node].nic_gbs;
        node_serves(s, set[i].node, need, &set[i]);
        set[i].group = group;
        set[i].width_gbs = set[i].width_gbs < nic ? set[i].width_gbs : nic;
    }
    qsort(set, (size_t)count, sizeof *set, by_width);
    uint32_t width = set[need->count - 1].width_gbs;
    int32_t wide = need->count;
    while (wide < count && set[wide].width_gbs >= width)
        wide++;
    qsort(set, (size_t)wide, sizeof *set, by_fit);
    qsort(set, (size_t)need->count, sizeof *set, by_place);
    return width;
}

/* Picks group by group, the greatest need first. set is reordered: the chosen ones first, in the order of the gang. */
static uint32_t pick_gang(struct search *s, struct candidate *set, int32_t count) {
    uint32_t width = UINT32_MAX;
    int32_t taken = 0;
    for (int g = 0; g < s->split.groups; g++) {
        int32_t able = taken;   /* those that can serve this need come to the front of the rest */
        for (int32_t i = taken; i < count; i++)
            if (serves_too(s, set[i].group, g)) {
                struct candidate moved = set[i];
                set[i] = set[able];
                set[able++] = moved;
            }
        uint32_t w = pick(s, set + taken, able - taken, &s->split.need[g], g);
        width = w < width ? w : width;
        taken += s->split.need[g].count;
    }
    return width;
}

/* The rack with the widest bottleneck; then the one with the fewest candidates to spare; then the first. */
static struct candidate *best_rack(struct search *s, uint32_t *width, struct candidate *scratch) {
    struct candidate *best = NULL;
    int32_t best_spare = 0;
    qsort(s->found, (size_t)s->found_count, sizeof *s->found, by_place);
    for (int32_t from = 0, to; from < s->found_count; from = to) {
        int32_t by_group[3] = {0};
        for (to = from; to < s->found_count && s->found[to].rack == s->found[from].rack; to++)
            by_group[s->found[to].group]++;
        if (!enough(s, by_group))
            continue;
        memcpy(scratch, s->found + from, (size_t)(to - from) * sizeof *scratch);
        uint32_t w = pick_gang(s, scratch, to - from);
        if (best && (w < *width || (w == *width && to - from - s->split.nodes >= best_spare)))
            continue;
        memcpy(s->found + from, scratch, (size_t)(to - from) * sizeof *scratch);
        best = s->found + from;
        *width = w;
        best_spare = to - from - s->split.nodes;
    }
    return best;
}

/* Across racks, of one pod or of all (-1): as few pods and racks as possible, those with the most candidates first. How many there are
 * then, in scratch; 0: not enough. */
static int32_t gather(struct search *s, int32_t pod, struct candidate *scratch) {
    const struct rack *racks = s->r->c->racks;
    int32_t by_group[3] = {0}, kept = 0;
    int32_t *size = arena_array(s->r->arena, (size_t)s->r->c->rack_count, sizeof *size);
    int32_t *of_pod = arena_array(s->r->arena, (size_t)s->r->c->pod_count, sizeof *of_pod);
    for (int32_t i = 0; i < s->found_count; i++) {
        int32_t rack = s->found[i].rack;
        if (pod >= 0 && racks[rack].pod != pod)
            continue;
        by_group[s->found[i].group]++;
        size[rack]++;
        of_pod[racks[rack].pod]++;
    }
    if (!enough(s, by_group))
        return 0;
    memset(by_group, 0, sizeof by_group);
    while (!enough(s, by_group)) {
        int32_t rack = -1;
        for (int32_t k = 0; k < s->r->c->rack_count; k++)
            if (size[k] && (rack < 0 || of_pod[racks[k].pod] > of_pod[racks[rack].pod] ||
                            (racks[k].pod == racks[rack].pod && size[k] > size[rack])))
                rack = k;
        size[rack] = 0;
        for (int32_t i = 0; i < s->found_count; i++)
            if (s->found[i].rack == rack) {
                by_group[s->found[i].group]++;
                scratch[kept++] = s->found[i];
            }
    }
    return kept;
}

/* The pod with the widest bottleneck; then the one that gathers the fewest candidates to spare; then the first. -1: none. */
static int32_t best_pod(struct search *s, struct candidate *scratch) {
    int32_t best = -1, best_kept = 0;
    uint32_t width = 0;
    for (int32_t pod = 0; pod < s->r->c->pod_count; pod++) {
        int32_t kept = gather(s, pod, scratch);
        uint32_t w = kept ? pick_gang(s, scratch, kept) : 0;
        if (!kept || (best >= 0 && (w < width || (w == width && kept >= best_kept))))
            continue;
        best = pod;
        best_kept = kept;
        width = w;
    }
    return best;
}

/* ---- the placement ---- */

static void task_fill(const struct search *s, const struct candidate *k, const struct need *need, struct task *t) {
    const struct gpu_shape *shape = &s->r->c->shapes[s->r->c->nodes[k->node].shape];
    *t = (struct task){.node = k->node,
                       .gpus = k->mask,
                       .ranks = need->ranks,
                       .cpus = s->d->exclusive ? s->r->c->nodes[k->node].cpus : need->cpus,
                       .memory_mib = s->d->memory_mib,
                       .state = TASK_ORDERED,
                       .ring_gbs = bits(k->mask) > 1 ? shape->ring_gbs[k->mask] : 0};
    gpu_shape_ring_order(shape, k->mask, t->gpu_order);
}

static void placement_fill(const struct search *s, const struct candidate *chosen, uint32_t width, enum topology_level level,
                           struct placement *out) {
    *out = (struct placement){
        .task_count = s->split.nodes, .level = level, .bottleneck_gbs = s->d->gpus > 1 && width != UINT32_MAX ? width : 0};
    out->tasks = arena_array(s->r->arena, (size_t)s->split.nodes, sizeof *out->tasks);
    for (int32_t g = 0, i = 0; g < s->split.groups; g++)
        for (int32_t k = 0; k < s->split.need[g].count; k++, i++)
            task_fill(s, &chosen[i], &s->split.need[g], &out->tasks[i]);
}

static bool place_on_one(struct search *s, struct placement *out) {
    struct candidate k;
    if (!best_single(s, &k))
        return false;
    const struct gpu_shape *shape = &s->r->c->shapes[s->r->c->nodes[k.node].shape];
    placement_fill(s, &k, k.width_gbs, k.mask && gpu_shape_island(shape, k.mask) >= 0 ? LEVEL_ISLAND : LEVEL_NODE, out);
    return true;
}

/* Over several racks, in one pod if there is room for it. Racks that name no pod hang on one spine: across them is LEVEL_ANY. */
static bool place_across(struct search *s, struct candidate *scratch, struct placement *out) {
    int32_t pod = s->r->c->pod_count == 1 ? 0 : best_pod(s, scratch);
    int32_t kept = pod >= 0 || s->d->topology == LEVEL_ANY ? gather(s, pod, scratch) : 0;
    if (!kept)
        return false;
    uint32_t width = pick_gang(s, scratch, kept) / SPINE_OVERSUBSCRIPTION / (pod < 0 ? SPINE_OVERSUBSCRIPTION : 1);
    placement_fill(s, scratch, width, pod >= 0 && *s->r->c->pods[pod].name ? LEVEL_POD : LEVEL_ANY, out);
    return true;
}

static bool place_on_some(struct search *s, struct placement *out) {
    struct candidate *scratch = s->found + s->r->c->node_count;
    uint32_t width = 0;
    find_candidates(s);
    const struct candidate *chosen = best_rack(s, &width, scratch);
    if (!chosen)
        return topology_depth((int)s->d->topology) < topology_depth(LEVEL_RACK) && place_across(s, scratch, out);
    placement_fill(s, chosen, width, LEVEL_RACK, out);
    return true;
}

/* By the counts alone: could there be nodes for it? */
static bool worth_trying(const struct search *s) {
    int32_t needed = 0;
    for (int g = 0; g < s->split.groups; g++) {
        needed += s->split.need[g].count;
        if (room_nodes_with(s->index, s->split.need[g].gpus) < needed || s->split.need[g].cpus > s->index->node_cpus)
            return false;
    }
    return s->split.groups > 0;
}

static bool try_split(struct search *s, struct split split, struct placement *out) {
    s->split = split;
    if (!worth_trying(s))
        return false;
    s->found = room_scratch(s->r, 2 * (size_t)s->r->c->node_count * sizeof *s->found);
    return split.nodes == 1 ? place_on_one(s, out) : place_on_some(s, out);
}

static bool divides(const struct demand *d, int32_t nodes) {
    if (d->gpus)
        return d->gpus % nodes == 0;
    return nodes == 1 || share_of(d->ranks, nodes, 0) < share_of(d->ranks, nodes - 1, 0);   /* no node without a use */
}

/* GPUs of the largest node that the gang may use. */
static int32_t largest_node(struct room *r, const struct demand *d) {
    int32_t largest = 0;
    if (d->filter == ALL_NODES)
        return room_index(r)->node_size;
    for (int32_t i = 0; i < r->c->node_count; i++) {
        int32_t size = r->c->shapes[r->c->nodes[i].shape].count;
        if (size > largest && node_filter_passes(r->c, d->filter, i) && room_is_open(r, i))
            largest = size;
    }
    return largest;
}

struct split place_split(struct room *r, const struct demand *d) {
    int32_t size = largest_node(r, d), nodes = d->nodes;
    struct split filling = split_filling(d, size);
    if (!nodes)
        nodes = d->gpus && size ? (d->gpus + size - 1) / size : 1;
    if (nodes > 1 && topology_is_one_node((int)d->topology))
        return (struct split){0};
    if (filling.nodes == nodes && (!d->nodes || d->gpus % nodes))
        return filling;
    return d->nodes || divides(d, nodes) ? split_evenly(d, nodes) : (struct split){0};
}

bool place_split_otherwise(const struct demand *d, struct split *split) {
    bool fills = split->groups > 1 && split->need[0].gpus > split->need[split->groups - 1].gpus;
    if (d->nodes || d->compact || !fills || !divides(d, split->nodes))
        return false;
    *split = split_evenly(d, split->nodes);
    return true;
}

/* As few nodes as hold it, those filled; else evenly on more of them. */
static bool place_freely(struct search *s, struct placement *out) {
    const struct demand *d = s->d;
    int32_t last = d->gpus ? d->gpus : d->ranks;
    struct split first = place_split(s->r, d);
    if (try_split(s, first, out))
        return true;
    if (d->compact)
        return false;
    if (topology_is_one_node((int)d->topology))
        last = 1;
    for (int32_t nodes = first.nodes ? first.nodes : 1; nodes <= last && nodes <= s->index->nodes; nodes++)
        if (divides(d, nodes) && try_split(s, split_evenly(d, nodes), out))
            return true;
    return false;
}

static bool place_on_open(struct room *r, const struct demand *d, struct placement *out) {
    struct search s = {.r = r, .index = room_index(r), .d = d, .only = node_filter_bits(r->c, d->filter)};
    if (s.index->gpus < d->gpus || d->nodes > s.index->nodes || (d->nodes > 1 && topology_is_one_node((int)d->topology)))
        return false;
    return d->nodes ? try_split(&s, place_split(r, d), out) : place_freely(&s, out);
}

enum { SPREAD_LOOKED_AT = 256 };   /* a larger gang is taken for one that might */

static bool may_spread(const struct room_index *x, int32_t gpus) {
    int32_t size = x->node_size, full = size ? gpus / size : 0;
    for (int32_t nodes = 1; nodes <= gpus; nodes++)
        if (gpus % nodes == 0 && gpus / nodes <= ROOM_GPUS_MAX && room_nodes_with(x, gpus / nodes) >= nodes)
            return true;
    return !gpus || (full && room_nodes_with(x, size) >= full);
}

static bool may_have(const struct room_index *x, const struct demand *d) {
    int32_t gpus = d->gpus_min, size = x->node_size;
    int32_t nodes = d->nodes ? d->nodes : d->gpus_min && size ? (d->gpus_min + size - 1) / size : 1, each = gpus / nodes;
    if (gpus > x->gpus || nodes > x->nodes || d->cpus_per_rank > x->node_cpus)
        return false;
    if (d->nodes)
        return room_nodes_with(x, each) >= nodes;
    if (d->filter != ALL_NODES && !topology_is_one_node((int)d->topology))
        return true;   /* the nodes that it may use may be smaller than the largest */
    if (!d->compact && !topology_is_one_node((int)d->topology))
        return gpus > SPREAD_LOOKED_AT || may_spread(x, gpus);
    return nodes == 1 ? room_nodes_with(x, gpus) > 0 : room_nodes_with(x, size) >= gpus / size;
}

/* That node of the gang which has the most ranks. */
static bool may_serve(const struct room_bounds *b, const struct demand *d) {
    int32_t nodes = topology_is_one_node((int)d->topology) || d->gpus == 1 ? 1 : d->nodes, gpus = nodes ? d->gpus / nodes : d->gpus > 0;
    int32_t ranks = nodes ? (d->ranks + nodes - 1) / nodes : 1;
    return gpus > ROOM_GPUS_MAX || ((int64_t)ranks * d->cpus_per_rank <= b->cpus[gpus] && d->memory_mib <= b->memory_mib[gpus]);
}

bool place_may_fit(const struct room_index *x, const struct room_bounds *b, const struct demand *d) {
    if (!may_have(x, d))
        return false;
    struct demand least = place_sized(d, d->gpus_min);
    return may_serve(b, &least);
}

struct demand place_sized(const struct demand *d, int32_t gpus) {
    struct demand sized = *d;
    sized.gpus = gpus;
    if (gpus != d->gpus && d->ranks != 1)
        sized.ranks = ranks_with(d, gpus);
    return sized;
}

bool place_largest(struct room *r, const struct demand *d, int64_t most, struct placement *out) {
    int64_t free = room_index(r)->gpus, gpus = most < free ? most : free;
    if (d->gpus_min == d->gpus)
        return place_gang(r, d, out);
    while ((gpus = job_size_at_most(d->gpus, d->gpus_min, d->nodes, gpus)) > 0) {
        struct demand sized = place_sized(d, (int32_t)gpus--);
        if (sized.ranks && place_gang(r, &sized, out))
            return true;
    }
    return false;
}

bool place_gang(struct room *r, const struct demand *d, struct placement *out) {
    room_bar(r, d->barred | type_barred(r, d));
    bool found = false;
    if (topology_depth((int)d->prefer) > topology_depth((int)d->topology)) {
        struct demand near = *d;
        near.topology = d->prefer;
        found = place_on_open(r, &near, out);
    }
    found = found || place_on_open(r, d, out);
    room_bar(r, 0);
    return found;
}

bool place_is_whole(const struct cluster *c, const struct placement *p) {
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct node *n = &c->nodes[p->tasks[i].node];
        if (p->tasks[i].gpus != (1u << c->shapes[n->shape].count) - 1 || p->tasks[i].cpus != n->cpus)
            return false;
    }
    return true;
}

bool place_is_free(const struct room *r, const struct placement *p) {
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        const struct room_node *n = &r->nodes[t->node];
        if (!n->usable || t->gpus & ~room_free_gpus(r, t->node) || n->cpus < t->cpus || (t->memory_mib && n->memory_mib < t->memory_mib))
            return false;
    }
    return true;
}
