#include "scheduler/policy/share.h"

#include <string.h>

/* ---- as it is set ---- */

static bool only_default(const struct cluster *c) {
    for (int32_t i = 1; i < c->queue_count; i++)
        if (!c->queues[i].deleted)
            return false;
    return !c->queues[0].guarantee && c->queues[0].limit == NO_LIMIT;
}

int64_t share_guarantee(const struct cluster *c, int32_t queue) {
    return !queue && only_default(c) ? cluster_gpu_count(c) : c->queues[queue].guarantee;
}

int64_t share_limit(const struct cluster *c, int32_t queue) {
    int64_t least = INT64_MAX;
    for (int32_t q = queue; q >= 0; q = c->queues[q].parent)
        if (c->queues[q].limit != NO_LIMIT && c->queues[q].limit < least)
            least = c->queues[q].limit;
    return least;
}

int32_t share_over_limit(const struct cluster *c, const int64_t *used, int32_t queue, int64_t gpus) {
    for (int32_t q = queue; q >= 0 && gpus; q = c->queues[q].parent)
        if (c->queues[q].limit != NO_LIMIT && used[q] + gpus > c->queues[q].limit)
            return q;
    return -1;
}

int32_t share_over_guarantee(const struct cluster *c, const int64_t *used, int32_t queue, int64_t gpus) {
    for (int32_t q = queue; q >= 0 && gpus; q = c->queues[q].parent)
        if (used[q] + gpus > share_guarantee(c, q))
            return q;
    return -1;
}

bool share_admits(const struct room *r, int32_t queue, int64_t gpus, bool preemptible) {
    return share_over_limit(r->c, r->queue_used, queue, gpus) < 0 &&
           (preemptible || share_over_guarantee(r->c, r->queue_fixed, queue, gpus) < 0);
}

/* ---- dividing ---- */

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* What is left when everybody got his share rounded down goes, one each, to the largest remainders; of equals, to the first. */
static void divide_rest(int64_t rest, struct portion *p, int32_t count) {
    while (rest-- > 0) {
        struct portion *next = NULL;
        for (int32_t i = 0; i < count; i++)
            if (p[i].remainder >= 0 && p[i].got < p[i].most && (!next || p[i].remainder > next->remainder))
                next = &p[i];
        if (!next)
            return;
        next->got++;
        next->remainder = -1;
    }
}

/* One round among those that want more. What capped ones leave is for the next round. */
static int64_t divide_round(int64_t amount, struct portion *p, int32_t count, bool *capped) {
    int64_t weights = 0, given = 0;
    for (int32_t i = 0; i < count; i++)
        weights += p[i].got < p[i].most ? p[i].weight : 0;
    *capped = false;
    for (int32_t i = 0; i < count; i++) {
        p[i].remainder = -1;
        if (p[i].got >= p[i].most || !weights)
            continue;
        int64_t share = amount * p[i].weight / weights, more = least_of(share, p[i].most - p[i].got);
        p[i].got += more;
        p[i].remainder = amount * p[i].weight % weights;
        given += more;
        *capped |= more < share;
    }
    return given;
}

void share_divide(int64_t amount, struct portion *p, int32_t count) {
    bool capped = true;
    int64_t rest = amount;
    for (int32_t i = 0; i < count; i++)
        rest -= p[i].got = least_of(p[i].least, p[i].most);
    if (rest < 0) {   /* nodes were lost: what is guaranteed is divided in its own proportion */
        for (int32_t i = 0; i < count; i++)
            p[i] = (struct portion){.most = p[i].got, .weight = p[i].got};
        rest = amount;
    }
    while (capped && rest > 0) {
        int64_t given = divide_round(rest, p, count, &capped);
        rest -= given;
        capped &= given > 0;
    }
    divide_rest(rest, p, count);
}

/* ---- the tree ---- */

struct tree {
    const struct cluster *c;
    int32_t *first_child, *next_sibling;   /* by queue; -1. first_child[queue_count]: of the root */
    int64_t *demand;                       /* by queue, with its children, within its limit */
    struct portion *portions;              /* a stack: a queue's while its children are gone through */
    const int64_t *own_demand;
};

static void link_children(struct tree *t, struct arena *arena) {
    int32_t count = t->c->queue_count;
    t->first_child = arena_array(arena, (size_t)count + 1, sizeof *t->first_child);
    t->next_sibling = arena_array(arena, (size_t)count, sizeof *t->next_sibling);
    for (int32_t q = 0; q <= count; q++)
        t->first_child[q] = -1;
    for (int32_t q = count - 1; q >= 0; q--) {   /* backwards, so that children come by index */
        int32_t parent = t->c->queues[q].parent >= 0 ? t->c->queues[q].parent : count;
        if (t->c->queues[q].deleted)
            continue;
        t->next_sibling[q] = t->first_child[parent];
        t->first_child[parent] = q;
    }
}

static int64_t find_demand(struct tree *t, int32_t q) {
    int64_t demand = t->own_demand[q], limit = t->c->queues[q].limit;
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        demand += find_demand(t, k);
    return t->demand[q] = limit != NO_LIMIT ? least_of(demand, limit) : demand;
}

/* Divides what is q's (the root's: q is the number of queues) among its children and its own jobs. */
static void divide_below(const struct tree *t, int32_t q, int64_t amount, struct portion *stack, int64_t *own) {
    int32_t count = 0, at = 0;
    int64_t unpromised = q < t->c->queue_count ? share_guarantee(t->c, q) : 0;
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k]) {
        int64_t guarantee = share_guarantee(t->c, k);
        stack[count++] = (struct portion){.least = guarantee, .most = t->demand[k], .weight = t->c->queues[k].weight};
        unpromised -= guarantee;
    }
    if (q < t->c->queue_count)
        stack[count++] = (struct portion){.least = unpromised > 0 ? unpromised : 0, .most = t->own_demand[q], .weight = 1};
    share_divide(amount, stack, count);
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        divide_below(t, k, stack[at++].got, stack + count, own);
    if (q < t->c->queue_count)
        own[q] = stack[at].got;
}

static int32_t largest_node(const struct cluster *c) {
    int32_t size = 1;
    for (int32_t i = 0; i < c->node_count; i++)
        if (c->shapes[c->nodes[i].shape].count > size)
            size = c->shapes[c->nodes[i].shape].count;
    return size;
}

/* What elastic jobs hold beyond their least is lent to them: it is no demand. So a queue's demand is the same before and after a start, at
 * whatever size. */
static void leave_out_lent(struct shares *s, const struct cluster *c) {
    for (int32_t i = 0; i < c->index.run_count && c->index.lent_runs; i++) {
        const struct live_brief *r = &c->index.runs[i];
        int32_t lent = r->gpus > r->gpus_min ? job_held_gpus(r->job) - r->gpus_min : 0;
        s->demand[r->queue] -= lent > 0 ? lent : 0;
    }
}

static void find_own_demand(struct shares *s, const struct cluster *c) {
    for (int32_t q = 0; q < c->queue_count; q++)
        s->demand[q] += c->queues[q].gpus_used + c->queues[q].gpus_waiting;
    for (int32_t q = 0; q < c->queue_count; q++)
        if (c->queues[q].parent >= 0)
            s->demand[c->queues[q].parent] -= c->queues[q].gpus_used;   /* its children's use is theirs */
    leave_out_lent(s, c);
}

void shares_open(struct shares *s, const struct cluster *c, struct arena *arena) {
    size_t count = (size_t)c->queue_count;
    *s = (struct shares){.demand = arena_array(arena, count, sizeof *s->demand),
                         .guaranteed = arena_array(arena, count, sizeof *s->guaranteed),
                         .entitled = arena_array(arena, count, sizeof *s->entitled),
                         .node_size = largest_node(c)};
    struct tree t = {.c = c, .own_demand = s->demand, .demand = arena_array(arena, count, sizeof *t.demand)};
    struct portion *stack = arena_array(arena, 2 * count + 1, sizeof *stack);
    link_children(&t, arena);
    find_own_demand(s, c);
    for (int32_t q = t.first_child[count]; q >= 0; q = t.next_sibling[q])
        find_demand(&t, q);
    for (int32_t q = t.first_child[count]; q >= 0; q = t.next_sibling[q])
        divide_below(&t, q, least_of(share_guarantee(c, q), t.demand[q]), stack, s->guaranteed);
    divide_below(&t, c->queue_count, cluster_gpu_count(c), stack, s->entitled);
    for (int32_t q = 0; q < c->queue_count; q++)
        if (s->entitled[q] < s->guaranteed[q])
            s->entitled[q] = s->guaranteed[q];
}

const int64_t *share_entitlements(const struct cluster *c, struct arena *arena) {
    struct shares s;
    int64_t *whole = arena_array(arena, (size_t)c->queue_count, sizeof *whole);
    shares_open(&s, c, arena);
    for (int32_t own = 0; own < c->queue_count; own++)
        for (int32_t q = own; q >= 0; q = c->queues[q].parent)
            whole[q] += s.entitled[own];
    for (int32_t q = 0; q < c->queue_count; q++)
        if (whole[q] < share_guarantee(c, q))
            whole[q] = share_guarantee(c, q);
    return whole;
}

/* ---- shape ---- */

void packing_add(struct packing *p, int32_t gpus, int32_t node_size, int sign) {
    p->gpus += sign * gpus;
    p->whole += sign * (gpus / node_size);
    if (gpus % node_size)
        p->pieces[gpus % node_size] += sign;
}

bool packing_fits(const struct packing *p, int64_t guarantee, int32_t node_size) {
    int64_t free_of[PACKING_SIZES + 1] = {0};   /* nodes by what they have free */
    free_of[node_size] = guarantee / node_size - p->whole;
    if (free_of[node_size] < 0)
        return false;
    free_of[guarantee % node_size]++;
    for (int32_t size = node_size - 1; size >= 1; size--) {
        int64_t left = p->pieces[size];
        for (int32_t at = size; left > 0; at++) {   /* into the fullest that can take one */
            if (at > node_size)
                return false;
            int64_t nodes = left < free_of[at] ? left : free_of[at];
            free_of[at] -= nodes;
            free_of[at - size] += nodes;
            left -= nodes;
            if (nodes && at - size >= size)
                at = size - 1;   /* what is left of them can take another */
        }
    }
    return true;
}
