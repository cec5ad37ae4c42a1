#include "scheduler/policy/price_bound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 100, BRANCHES = 40, LEAVES = 2 * BRANCHES + 1, NODE_TASKS_MAX = 32 };

enum fate { UNDECIDED, LEAVES_IT, STAYS_THERE };

/* A case: as its parent, and with this runner's fate decided. */
struct leaf {
    double bound;
    int32_t parent, runner;
    enum fate fate;
    int32_t next;          /* whose fate to decide in it; -1: it is exact */
    bool split;            /* into two */
};

/* The cheapest tasks of a node that free so many of its GPUs. */
struct least { double cost; uint32_t set; int32_t node; };

struct bounding {
    const struct bound_question *q;
    double *charge;        /* by task, as standings.tasks */
    bool *asked;           /* by task: the bound asks it to leave */
    enum fate *fate;       /* by runner */
    double *spare;         /* by runner: what goes over from the tasks that are not asked */
    int32_t *asked_tasks;  /* by runner: so many */
    struct least *nodes;
    struct leaf leaves[LEAVES];
    int32_t leaf_count;
};

static int32_t task_count(const struct bounding *b) { return b->q->standings->node_tasks[b->q->room->c->node_count]; }

static const struct runner *runner_of(const struct bounding *b, int32_t task) {
    return &b->q->standings->runners[b->q->standings->tasks[task].runner];
}

/* INFINITY: there are not so many. */
static struct least least_on_node(const struct bounding *b, int32_t node, int gpus) {
    const struct standings *all = b->q->standings;
    struct least best[ROOM_GPUS_MAX + 1] = {{.node = node}};
    int32_t first = all->node_tasks[node];
    int missing = gpus - __builtin_popcount(room_free_gpus(b->q->room, node));
    for (int m = 1; m <= missing; m++)
        best[m] = (struct least){INFINITY, 0, node};
    for (int32_t i = first; i < all->node_tasks[node + 1] && i < first + NODE_TASKS_MAX; i++) {
        int32_t k = all->tasks[i].runner;
        int freed = __builtin_popcount(all->tasks[i].task->gpus);
        if (!b->q->may_leave[k] || b->fate[k] == STAYS_THERE)
            continue;
        for (int m = missing; m > 0; m--) {
            const struct least *rest = &best[m > freed ? m - freed : 0];
            if (rest->cost + b->charge[i] < best[m].cost)
                best[m] = (struct least){rest->cost + b->charge[i], rest->set | 1u << (i - first), node};
        }
    }
    return best[missing > 0 ? missing : 0];
}

static int by_cost(const void *a, const void *b) {
    const struct least *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static int32_t node_count(const struct bounding *b) { return b->q->room->c->node_count; }

/* Takes the node where the rest of the gang had best be from those that are to be filled: where it is one of the cheapest, the next makes
 * up for it. */
static struct least take_rest(struct bounding *b, int32_t filled, int gpus) {
    double next = filled < node_count(b) ? b->nodes[filled].cost : INFINITY, lowest = INFINITY;
    struct least best = {.cost = INFINITY};
    int32_t at = 0;
    for (int32_t i = 0; i < node_count(b); i++) {
        struct least rest = least_on_node(b, b->nodes[i].node, gpus);
        double cost = rest.cost + (i < filled ? next - b->nodes[i].cost : 0);
        if (cost < lowest) {
            lowest = cost;
            best = rest;
            at = i;
        }
    }
    for (; at + 1 < node_count(b); at++)
        b->nodes[at] = b->nodes[at + 1];
    return best;
}

static void ask(struct bounding *b, const struct least *of) {
    for (uint32_t left = of->set; left; left &= left - 1)
        b->asked[b->q->standings->node_tasks[of->node] + __builtin_ctz(left)] = true;
}

/* On the cheapest nodes that serve so many with so many GPUs, and one more with the rest; notes whom they ask to leave. */
static double bound_of_nodes(struct bounding *b, int32_t count, int gpus, int rest) {
    if (count + (rest > 0) > node_count(b))
        return INFINITY;
    for (int32_t n = 0; n < node_count(b); n++)
        b->nodes[n] = least_on_node(b, n, gpus);
    qsort(b->nodes, (size_t)node_count(b), sizeof *b->nodes, by_cost);
    struct least last = rest ? take_rest(b, count, rest) : (struct least){0};
    double sum = last.cost;
    ask(b, &last);
    for (int32_t i = 0; i < count; i++) {
        sum += b->nodes[i].cost;
        ask(b, &b->nodes[i]);
    }
    return sum;
}

/* The GPUs of the one node that has not as many as the others; 0: there is none. */
static int rest_of(const int32_t *nodes_of) {
    int sizes = 0, rest = 0;
    for (int gpus = ROOM_GPUS_MAX; gpus > 0; gpus--) {
        sizes += nodes_of[gpus] > 0;
        rest = nodes_of[gpus] == 1 ? gpus : rest;
    }
    return sizes == 2 ? rest : 0;
}

static double bound_of_charges(struct bounding *b) {
    int rest = rest_of(b->q->nodes_of);
    double sum = 0;
    memset(b->asked, 0, (size_t)task_count(b) * sizeof *b->asked);
    for (int gpus = 1; gpus <= ROOM_GPUS_MAX; gpus++)
        if (b->q->nodes_of[gpus] && gpus != rest)
            sum += bound_of_nodes(b, b->q->nodes_of[gpus], gpus, rest);
    return sum;
}

/* Of whom one task is asked to leave and another is not, a part of the others' charge goes over to the first. Returns the dearest of those;
 * -1: there is nobody. */
static int32_t charge_anew(struct bounding *b, double part) {
    const struct standings *all = b->q->standings;
    int32_t dearest = -1;
    memset(b->spare, 0, (size_t)all->count * sizeof *b->spare);
    memset(b->asked_tasks, 0, (size_t)all->count * sizeof *b->asked_tasks);
    for (int32_t i = 0; i < task_count(b); i++)
        b->asked_tasks[all->tasks[i].runner] += b->asked[i];
    for (int32_t i = 0; i < task_count(b); i++) {
        int32_t k = all->tasks[i].runner;
        if (!b->asked_tasks[k] || b->asked[i] || b->fate[k] != UNDECIDED)
            continue;
        b->spare[k] += part * b->charge[i];
        b->charge[i] -= part * b->charge[i];
        if (dearest < 0 || all->runners[k].price > all->runners[dearest].price)
            dearest = k;
    }
    for (int32_t i = 0; i < task_count(b); i++)
        if (b->asked[i] && b->spare[all->tasks[i].runner] > 0)
            b->charge[i] += b->spare[all->tasks[i].runner] / b->asked_tasks[all->tasks[i].runner];
    return dearest;
}

/* At first each task is charged by its GPUs. What those cost whose leaving is decided. */
static double charge_by_gpus(struct bounding *b, const struct leaf *leaf) {
    double sum = 0;
    memset(b->fate, 0, (size_t)b->q->standings->count * sizeof *b->fate);
    for (; leaf->runner >= 0; leaf = &b->leaves[leaf->parent]) {
        b->fate[leaf->runner] = leaf->fate;
        sum += leaf->fate == LEAVES_IT ? (double)b->q->standings->runners[leaf->runner].price : 0;
    }
    for (int32_t i = 0; i < task_count(b); i++) {
        const struct runner *k = runner_of(b, i);
        int gpus = __builtin_popcount(b->q->standings->tasks[i].task->gpus);
        bool charged = gpus && b->fate[b->q->standings->tasks[i].runner] == UNDECIDED;
        b->charge[i] = charged ? (double)k->price * gpus / k->gpus : 0;
    }
    return sum;
}

static void bound_leaf(struct bounding *b, struct leaf *leaf) {
    double decided = charge_by_gpus(b, leaf);
    leaf->next = -1;
    for (int round = 0; round < ROUNDS && leaf->bound < b->q->enough; round++) {
        double bound = decided + bound_of_charges(b);
        leaf->bound = bound > leaf->bound ? bound : leaf->bound;
        if (bound == INFINITY || (leaf->next = charge_anew(b, 1.0 / (2 + round / 8))) < 0)
            return;
    }
}

static void add_leaf(struct bounding *b, double bound, int32_t parent, int32_t runner, enum fate fate) {
    b->leaves[b->leaf_count] = (struct leaf){.bound = bound, .parent = parent, .runner = runner, .fate = fate};
    bound_leaf(b, &b->leaves[b->leaf_count++]);
}

static int32_t lowest_leaf(const struct bounding *b) {
    int32_t lowest = -1;
    for (int32_t i = 0; i < b->leaf_count; i++)
        if (!b->leaves[i].split && (lowest < 0 || b->leaves[i].bound < b->leaves[lowest].bound))
            lowest = i;
    return lowest;
}

double price_bound(const struct bound_question *q) {
    size_t tasks = (size_t)q->standings->node_tasks[q->room->c->node_count], runners = (size_t)q->standings->count;
    struct bounding b = {.q = q,
                         .charge = arena_array(q->arena, tasks, sizeof *b.charge),
                         .asked = arena_array(q->arena, tasks, sizeof *b.asked),
                         .fate = arena_array(q->arena, runners, sizeof *b.fate),
                         .spare = arena_array(q->arena, runners, sizeof *b.spare),
                         .asked_tasks = arena_array(q->arena, runners, sizeof *b.asked_tasks),
                         .nodes = arena_array(q->arena, (size_t)q->room->c->node_count, sizeof *b.nodes)};
    add_leaf(&b, 0, -1, -1, UNDECIDED);
    int32_t lowest = 0;
    for (int branch = 0; branch < BRANCHES; branch++) {
        struct leaf *leaf = &b.leaves[lowest];
        if (leaf->next < 0 || leaf->bound >= q->enough)
            break;
        leaf->split = true;
        add_leaf(&b, leaf->bound, lowest, leaf->next, LEAVES_IT);
        add_leaf(&b, leaf->bound, lowest, leaf->next, STAYS_THERE);
        lowest = lowest_leaf(&b);
    }
    return b.leaves[lowest].bound;
}
