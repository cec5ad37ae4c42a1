#include "scheduler/policy/share.h"

#include <string.h>

#include "scheduler/cluster/queue.h"

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
    struct portion *stack;                 /* a queue's while its children are gone through */
    /* What is being divided: */
    int32_t type;                          /* whose limits and weights hold; 0: those of all types together */
    const int64_t *own_demand;             /* by queue, without its children */
    const int64_t *guarantee;              /* by queue, with its children */
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

static int64_t within(int64_t limit, int64_t demand) { return limit != NO_LIMIT ? least_of(demand, limit) : demand; }

static int64_t find_demand(struct tree *t, int32_t q) {
    int64_t demand = t->own_demand[q];
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        demand += find_demand(t, k);
    demand = within(t->c->queues[q].limit, demand);
    return t->demand[q] = t->type ? within(queue_quota_of_type(&t->c->queues[q], t->type).limit, demand) : demand;
}

static void tree_take(struct tree *t, int32_t type, const int64_t *guarantee, const int64_t *own_demand) {
    t->type = type;
    t->guarantee = guarantee;
    t->own_demand = own_demand;
    for (int32_t q = t->first_child[t->c->queue_count]; q >= 0; q = t->next_sibling[q])
        find_demand(t, q);
}

static int64_t weight_of(const struct tree *t, int32_t q) {
    return t->type ? queue_quota_of_type(&t->c->queues[q], t->type).weight : t->c->queues[q].weight;
}

/* What a queue's children leave of its guarantee is that of its own jobs. */
static int64_t left_by_children(const struct tree *t, int32_t q) {
    int64_t left = t->guarantee[q];
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        left -= t->guarantee[k];
    return left > 0 ? left : 0;
}

/* Divides what is q's (the root's: q is the number of queues) among its children and its own jobs. */
static void divide_below(const struct tree *t, int32_t q, int64_t amount, struct portion *stack, int64_t *own) {
    int32_t count = 0, at = 0;
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        stack[count++] = (struct portion){.least = t->guarantee[k], .most = t->demand[k], .weight = weight_of(t, k)};
    if (q < t->c->queue_count)
        stack[count++] = (struct portion){.least = left_by_children(t, q), .most = t->own_demand[q], .weight = 1};
    share_divide(amount, stack, count);
    for (int32_t k = t->first_child[q]; k >= 0; k = t->next_sibling[k])
        divide_below(t, k, stack[at++].got, stack + count, own);
    if (q < t->c->queue_count)
        own[q] = stack[at].got;
}

/* Of each top-level queue so much, as far as it asks for it. */
static void divide_each(const struct tree *t, const int64_t *amounts, int64_t *own) {
    for (int32_t q = t->first_child[t->c->queue_count]; q >= 0; q = t->next_sibling[q])
        divide_below(t, q, least_of(amounts[q], t->demand[q]), t->stack, own);
}

static void divide_whole(const struct tree *t, int64_t amount, int64_t *own) {
    divide_below(t, t->c->queue_count, amount, t->stack, own);
}

/* By queue, with its children, of what is by queue without them. */
static int64_t *sum_up(const struct cluster *c, const int64_t *own, struct arena *arena) {
    int64_t *whole = arena_array(arena, (size_t)c->queue_count, sizeof *whole);
    for (int32_t q = 0; q < c->queue_count; q++)
        for (int32_t up = q; up >= 0 && own[q]; up = c->queues[up].parent)
            whole[up] += own[q];
    return whole;
}

static void raise_to(int64_t *to, const int64_t *least, int32_t count) {
    for (int32_t q = 0; q < count; q++)
        if (to[q] < least[q])
            to[q] = least[q];
}

/* As large as the guarantee even where less is asked for. */
static void find_partitions(const struct tree *t, const struct share *of) {
    for (int32_t q = 0; q < t->c->queue_count; q++)
        of->partition[q] = left_by_children(t, q);
    raise_to(of->partition, of->guaranteed, t->c->queue_count);
}

/* ---- demand ---- */

/* What elastic jobs hold beyond their least is lent to them: it is no demand. So a queue's demand is the same before and after a start, at
 * whatever size. */
static void leave_out_lent(const struct share *all, const struct cluster *c) {
    for (int32_t i = 0; i < c->index.run_count && c->index.lent_runs; i++) {
        const struct live_brief *r = &c->index.runs[i];
        int32_t lent = r->gpus > r->gpus_min ? job_held_gpus(r->job) - r->gpus_min : 0;
        all->demand[r->queue] -= lent > 0 ? lent : 0;
    }
}

static void find_own_demand(const struct share *all, const struct cluster *c) {
    for (int32_t q = 0; q < c->queue_count; q++)
        all->demand[q] += c->queues[q].gpus_used + c->queues[q].gpus_waiting;
    for (int32_t q = 0; q < c->queue_count; q++)
        if (c->queues[q].parent >= 0)
            all->demand[c->queues[q].parent] -= c->queues[q].gpus_used;   /* its children's use is theirs */
    if (c->index.newcomer)
        all->demand[c->index.newcomer->queue] += c->index.newcomer->gpus_min;
    leave_out_lent(all, c);
}

static void add_typed(const struct shares *s, const struct cluster *c, int32_t queue, int32_t filter, int64_t gpus) {
    uint32_t types = gpus ? node_filter_types(c, filter) : 0;
    for (uint32_t left = types & s->types; left; left &= left - 1) {
        int32_t t = __builtin_ctz(left);
        s->of[t].demand[queue] += gpus;
        s->of[t].only[queue] += types == 1u << t ? gpus : 0;
    }
}

/* A job asks for each type that it may use, whether it waits or runs, and wherever. */
static void find_typed_demand(const struct shares *s, const struct cluster *c) {
    const struct cluster_index *x = &c->index;
    for (int32_t i = 0; i < x->class_count; i++)
        if (x->briefs[i].jobs)
            add_typed(s, c, x->briefs[i].queue, x->classes[i].demand.filter, x->briefs[i].gpus);
    for (int32_t i = 0; i < c->reservation_count; i++) {
        const struct job *j = cluster_job(c, c->reservations[i].job);
        if (j->listed == LISTED_READY && j->is_placed)
            add_typed(s, c, j->queue, j->filter, j->gpus_asked);
    }
    for (int32_t i = 0; i < x->cooling.count; i++)
        add_typed(s, c, x->cooling.items[i]->queue, x->cooling.items[i]->filter, x->cooling.items[i]->gpus_asked);
    for (int32_t i = 0; i < x->run_count; i++)
        add_typed(s, c, x->runs[i].queue, x->runs[i].job->filter, least_of(x->runs[i].gpus, x->runs[i].gpus_min));
    if (x->newcomer)
        add_typed(s, c, x->newcomer->queue, x->newcomer->filter, x->newcomer->gpus_min);
}

/* ---- shares ---- */

static int64_t typed_guarantee(const struct cluster *c, int32_t q, int32_t type) {
    return queue_quota_of_type(&c->queues[q], type).guarantee;
}

/* Of one type. What some leave of a guarantee that they share goes to those first who can use nothing else. */
static void divide_type(struct shares *s, struct tree *t, int32_t type, struct arena *arena) {
    const struct cluster *c = t->c;
    struct share *of = &s->of[type];
    int64_t *guarantee = arena_array(arena, (size_t)c->queue_count, sizeof *guarantee);
    int64_t *first = arena_array(arena, (size_t)c->queue_count, sizeof *first);
    for (int32_t q = 0; q < c->queue_count; q++)
        guarantee[q] = typed_guarantee(c, q, type);
    t->guarantee = guarantee;
    for (int32_t q = 0; q < c->queue_count; q++) {
        int64_t own = least_of(left_by_children(t, q), of->demand[q]);
        first[q] = own > of->only[q] ? own : of->only[q];
    }
    tree_take(t, type, guarantee, first);
    divide_each(t, guarantee, of->guaranteed);
    tree_take(t, type, sum_up(c, of->guaranteed, arena), of->demand);
    divide_each(t, guarantee, of->guaranteed);
    t->guarantee = guarantee;
    find_partitions(t, of);
    tree_take(t, type, sum_up(c, of->guaranteed, arena), of->demand);
    divide_whole(t, c->index.gpus_by_type[type], of->entitled);
    raise_to(of->entitled, of->guaranteed, c->queue_count);
}

/* What each is guaranteed beyond its types, and what its jobs ask for that guarantees of types don't cover for them. */
static void take_rest(const struct shares *s, const struct cluster *c, int64_t *guarantee, int64_t *demand) {
    for (int32_t q = 0; q < c->queue_count; q++) {
        guarantee[q] = share_guarantee(c, q);
        demand[q] = s->of[0].demand[q];
        for (uint32_t left = s->types; left; left &= left - 1) {
            int32_t t = __builtin_ctz(left);
            guarantee[q] -= typed_guarantee(c, q, t);
            demand[q] -= least_of(s->of[t].guaranteed[q], s->of[t].only[q]);
        }
        guarantee[q] = guarantee[q] > 0 ? guarantee[q] : 0;
        demand[q] = demand[q] > 0 ? demand[q] : 0;
    }
}

/* Of all types together. */
static void divide_all(struct shares *s, struct tree *t, struct arena *arena) {
    const struct cluster *c = t->c;
    const struct share *all = &s->of[0];
    int64_t *guarantee = arena_array(arena, (size_t)c->queue_count, sizeof *guarantee);
    int64_t *demand = arena_array(arena, (size_t)c->queue_count, sizeof *demand);
    take_rest(s, c, guarantee, demand);
    tree_take(t, 0, guarantee, demand);
    divide_each(t, guarantee, all->guaranteed);
    find_partitions(t, all);
    int64_t *covered = demand;
    for (int32_t q = 0; q < c->queue_count; q++)
        covered[q] = share_covered(s, q);
    tree_take(t, 0, s->types ? sum_up(c, covered, arena) : guarantee, all->demand);
    divide_whole(t, cluster_gpu_count(c), all->entitled);
    raise_to(all->entitled, covered, c->queue_count);
}

static int32_t largest_node(const struct cluster *c, int32_t type) {
    int32_t size = 1;
    for (int32_t i = 0; i < c->node_count; i++) {
        const struct gpu_shape *shape = &c->shapes[c->nodes[i].shape];
        if (shape->count > size && (!type || shape->gpu_type == type))
            size = shape->count;
    }
    return size;
}

static void share_init(struct share *of, const struct cluster *c, int32_t type, struct arena *arena) {
    size_t count = (size_t)c->queue_count;
    *of = (struct share){.demand = arena_array(arena, count, sizeof *of->demand),
                         .only = type ? arena_array(arena, count, sizeof *of->only) : NULL,
                         .guaranteed = arena_array(arena, count, sizeof *of->guaranteed),
                         .partition = arena_array(arena, count, sizeof *of->partition),
                         .entitled = arena_array(arena, count, sizeof *of->entitled),
                         .node_size = largest_node(c, type)};
}

void shares_open(struct shares *s, const struct cluster *c, struct arena *arena) {
    size_t count = (size_t)c->queue_count;
    struct tree t = {.c = c, .demand = arena_array(arena, count, sizeof *t.demand),
                     .stack = arena_array(arena, 2 * count + 1, sizeof *t.stack)};
    s->types = c->index.typed_shares;
    for (uint32_t left = s->types | 1; left; left &= left - 1)
        share_init(&s->of[__builtin_ctz(left)], c, __builtin_ctz(left), arena);
    link_children(&t, arena);
    find_own_demand(&s->of[0], c);
    if (s->types)
        find_typed_demand(s, c);
    for (uint32_t left = s->types; left; left &= left - 1)
        divide_type(s, &t, __builtin_ctz(left), arena);
    divide_all(s, &t, arena);
}

int64_t share_covered(const struct shares *s, int32_t queue) {
    int64_t sum = s->of[0].guaranteed[queue];
    for (uint32_t left = s->types; left; left &= left - 1)
        sum += s->of[__builtin_ctz(left)].guaranteed[queue];
    return least_of(sum, s->of[0].demand[queue]);
}

int32_t share_type_of(const struct shares *s, const struct cluster *c, const struct placement *p) {
    int32_t type = s->types && p->task_count ? c->shapes[c->nodes[p->tasks[0].node].shape].gpu_type : 0;
    for (int32_t i = 1; i < p->task_count && type; i++)
        type = c->shapes[c->nodes[p->tasks[i].node].shape].gpu_type == type ? type : 0;
    return s->types >> type & 1 ? type : 0;
}

const int64_t *share_entitlements(const struct cluster *c, int32_t type, struct arena *arena) {
    struct shares s;
    if (type && !(c->index.typed_shares >> type & 1))
        return NULL;
    shares_open(&s, c, arena);
    int64_t *whole = sum_up(c, s.of[type].entitled, arena);
    for (int32_t q = 0; q < c->queue_count; q++) {
        int64_t guarantee = type ? typed_guarantee(c, q, type) : share_guarantee(c, q);
        whole[q] = whole[q] > guarantee ? whole[q] : guarantee;
    }
    return whole;
}

/* ---- shape ---- */

void packing_add(struct packing *p, int32_t gpus, int32_t node_size, int sign) {
    p->gpus += sign * gpus;
    p->whole += sign * (gpus / node_size);
    if (gpus % node_size)
        p->pieces[gpus % node_size] += sign;
}

bool packing_fits(const struct packing *p, int64_t partition, int32_t node_size) {
    int64_t free_of[PACKING_SIZES + 1] = {0};   /* nodes by what they have free */
    free_of[node_size] = partition / node_size - p->whole;
    if (free_of[node_size] < 0)
        return false;
    free_of[partition % node_size]++;
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
