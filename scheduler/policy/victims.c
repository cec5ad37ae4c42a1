#include "scheduler/policy/victims.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/type_limit.h"

enum {
    NODE_VICTIMS_MAX = 32,   /* tasks of a node that are looked at */
    SPARED_MAX = 16,         /* so many of the dearest are tried to be done without */
    TRIALS = 5,              /* of charging jobs that span nodes, */
    ROUNDS = 4,              /* after so many rounds each, */
    NEAR = 32,               /* until an outcome is known to be so near to the cheapest: one in NEAR */
    PRICE_SHIFT = 12,        /* a cost has the price above what decides between equals */
};

static const int64_t NO_COST = INT64_MAX;   /* it can't be served */

static struct runner *runner_at(const struct victims *v, int32_t runner) { return &v->p->standings.runners[runner]; }

struct runner *victims_at(const struct victims *v, int32_t i) { return runner_at(v, v->items[i]); }

void victims_init(struct victims *v, struct pass *p, const struct demand *d) {
    size_t runners = (size_t)p->standings.count, nodes = (size_t)p->c->node_count, tasks;
    standings_link_nodes(&p->standings, p->c->node_count, p->arena);
    tasks = (size_t)p->standings.node_tasks[nodes];
    if (!p->victims) {
        p->victims = arena_array(p->arena, 1, sizeof *p->victims);
        *p->victims = (struct victims){.p = p,
                                       .leaving = arena_array(p->arena, runners, sizeof *v->leaving),
                                       .taken = arena_array(p->arena, runners, sizeof *v->taken),
                                       .items = arena_array(p->arena, runners, sizeof *v->items),
                                       .priced = arena_array(p->arena, runners, sizeof *v->priced),
                                       .charge = arena_array(p->arena, tasks, sizeof *v->charge),
                                       .asked = arena_array(p->arena, tasks, sizeof *v->asked),
                                       .best = arena_array(p->arena, runners, sizeof *v->best),
                                       .first_cost = arena_array(p->arena, nodes, sizeof *v->first_cost),
                                       .is_spanned = arena_array(p->arena, nodes, sizeof *v->is_spanned),
                                       .node_cost = arena_array(p->arena, nodes, sizeof *v->node_cost),
                                       .sorted_cost = arena_array(p->arena, nodes, sizeof *v->sorted_cost),
                                       .cheapest = arena_array(p->arena, nodes, sizeof *v->cheapest),
                                       .node_used = arena_array(p->arena, nodes, sizeof *v->node_used)};
    }
    *v = *p->victims;
    v->demand = d;
    memset(v->leaving, 0, runners * sizeof *v->leaving);
    memset(v->taken, 0, runners * sizeof *v->taken);
    memset(v->node_used, 0, nodes * sizeof *v->node_used);
}

/* ---- one node ---- */

static bool may_use(const struct victims *v, int32_t node, const struct need *need) {
    const struct cluster *c = v->p->c;
    if (!node_filter_passes(c, v->demand->filter, node) || v->demand->barred >> c->shapes[c->nodes[node].shape].gpu_type & 1)
        return false;
    return !v->demand->exclusive || need->gpus == c->shapes[c->nodes[node].shape].count;
}

/* GPUs that it would leave to the gang. */
static uint32_t gpus_left_by(const struct victims *v, const struct task *t) {
    const struct room_node *n = &v->p->room.nodes[t->node];
    return t->gpus & ~(n->kept | n->ahead);
}

static const int64_t MOST = INT64_C(1) << 40;   /* no price counts more */

/* As it is compared: of one who shrinks, that of what it gives up; a queue's first job leaves last, jobs on a guarantee move last. */
static int64_t price_of(const struct victims *v, const struct runner *k) {
    int64_t price = k->price < MOST ? k->price : MOST;
    if (v->leaving[k - v->p->standings.runners] == SHRINKS)
        price = price * (k->gpus - k->gpus_min) / k->gpus;
    return runner_leaves_last(k) ? price + MOST : price;
}

/* Nodes that could serve the need if it left, and nobody else. */
static int32_t nodes_served_by(const struct victims *v, const struct need *need, const struct job *j) {
    int32_t count = 0;
    for (int32_t i = 0; i < j->placement.task_count; i++) {
        const struct task *t = &j->placement.tasks[i];
        uint32_t gpus = room_free_gpus(&v->p->room, t->node) | gpus_left_by(v, t);
        count += !v->node_used[t->node] && may_use(v, t->node, need) && __builtin_popcount(gpus) >= need->gpus;
    }
    return count;
}

static int64_t price_on_node(const struct victims *v, const struct need *need, int32_t task) {
    const struct runner *k = runner_at(v, v->p->standings.tasks[task].runner);
    int32_t nodes = 1;
    if (v->counting == CHARGED && k->nodes > 1)
        return v->charge[task];
    if (v->counting == BY_NODES && k->nodes > 1)
        nodes = nodes_served_by(v, need, k->job);
    nodes = nodes < need->count ? nodes : need->count;
    return price_of(v, k) / (nodes > 1 ? nodes : 1);
}

/* Compared in this order: price, outsiders (what was borrowed under the taker's own parents is settled before anybody outside is asked),
 * GPUs. */
static int64_t cost_at(const struct victims *v, const struct runner *k, int64_t price) {
    const struct cluster *c = v->p->c;
    bool outside = k->job->queue != v->demand->queue && c->queues[k->job->queue].parent != c->queues[v->demand->queue].parent;
    return price << PRICE_SHIFT | (int64_t)outside << 11 | (k->gpus < 2048 ? k->gpus : 2047);
}

struct choice { int64_t cost; uint32_t set; };   /* bit i: the i-th task that may leave */

/* The cheapest that free `missing` GPUs or more: best[m] is that for m. */
static struct choice cheapest_for(struct choice best[], const int64_t cost[], const int gpus[], int count, int missing) {
    best[0] = (struct choice){0};
    for (int m = 1; m <= missing; m++)
        best[m].cost = NO_COST;
    for (int i = 0; i < count; i++)
        for (int m = missing; m >= 1; m--) {
            const struct choice *without = &best[m > gpus[i] ? m - gpus[i] : 0];
            if (without->cost != NO_COST && without->cost + cost[i] < best[m].cost)
                best[m] = (struct choice){without->cost + cost[i], without->set | 1u << i};
        }
    return best[missing];
}

/* Those of a node's tasks that may leave. */
struct leavers {
    int count;
    int32_t at[NODE_VICTIMS_MAX];     /* of standings.tasks */
    int64_t cost[NODE_VICTIMS_MAX];
    uint32_t gpus[NODE_VICTIMS_MAX];  /* that they would leave to the gang, */
    int most[NODE_VICTIMS_MAX];       /* no more than so many of them */
};

/* GPUs alone decide which leave; where cpus or memory are still short, more do, as they come. */
static bool enough_beside_gpus(const struct victims *v, int32_t node, const struct need *need, const struct leavers *l,
                               struct choice *chosen) {
    const struct room_node *n = &v->p->room.nodes[node];
    int64_t cpus = n->cpus, memory_mib = n->memory_mib, asked_mib = v->demand->memory_mib;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < l->count; i++) {
            const struct task *t = v->p->standings.tasks[l->at[i]].task;
            bool in_set = chosen->set >> i & 1, short_of = cpus < need->cpus || memory_mib < asked_mib;
            if (pass ? in_set || !short_of : !in_set)
                continue;
            cpus += t->cpus;
            memory_mib += t->memory_mib;
            chosen->cost += pass ? l->cost[i] : 0;
            chosen->set |= 1u << i;
        }
    return cpus >= need->cpus && memory_mib >= asked_mib;
}

/* One that shrinks where it is gives up no more than it can spare. */
static int most_freed(const struct victims *v, int32_t runner) {
    const struct runner *k = runner_at(v, runner);
    return v->in_place && v->leaving[runner] == SHRINKS ? k->gpus - k->gpus_min : k->gpus;
}

static int least_of(int a, int b) { return a < b ? a : b; }

static void find_leavers(const struct victims *v, int32_t node, const struct need *need, struct leavers *l) {
    const struct standings *all = &v->p->standings;
    l->count = 0;
    for (int32_t i = all->node_tasks[node]; i < all->node_tasks[node + 1] && l->count < NODE_VICTIMS_MAX; i++) {
        int32_t k = all->tasks[i].runner;
        if (v->leaving[k] == STAYS || v->taken[k])
            continue;
        l->cost[l->count] = cost_at(v, &all->runners[k], price_on_node(v, need, i));
        l->gpus[l->count] = gpus_left_by(v, all->tasks[i].task);
        l->most[l->count] = most_freed(v, k);
        l->at[l->count++] = i;
    }
}

/* The cheapest that serve the need on GPUs among these. */
static struct choice serve_among(const struct victims *v, int32_t node, const struct need *need, const struct leavers *l, uint32_t among) {
    int gpus[NODE_VICTIMS_MAX], missing = need->gpus - __builtin_popcount(room_free_gpus(&v->p->room, node) & among);
    for (int i = 0; i < l->count; i++)
        gpus[i] = least_of(__builtin_popcount(l->gpus[i] & among), l->most[i]);
    struct choice table[ROOM_GPUS_MAX + 1], best = cheapest_for(table, l->cost, gpus, l->count, missing > 0 ? missing : 0);
    if (best.cost != NO_COST && !enough_beside_gpus(v, node, need, l, &best))
        best.cost = NO_COST;
    return best;
}

/* What it costs to serve the need on the node, beside what is taken already; `chosen` gets the tasks that leave. A gang that has to lie
 * within an island does so in the cheapest. */
static int64_t serve_on_node(const struct victims *v, int32_t node, const struct need *asked, int32_t chosen[], int *chosen_count) {
    const struct gpu_shape *shape = &v->p->c->shapes[v->p->c->nodes[node].shape];
    bool in_island = v->demand->topology == LEVEL_ISLAND && asked->gpus;
    struct choice best = {.cost = NO_COST};
    struct need need = *asked;
    struct leavers l;
    *chosen_count = 0;
    if (!may_use(v, node, asked) || !v->p->room.nodes[node].usable || v->barred >> shape->gpu_type & 1)
        return NO_COST;
    if (v->demand->exclusive)
        need.cpus = v->p->c->nodes[node].cpus;   /* everybody on it has some */
    find_leavers(v, node, asked, &l);
    for (int32_t i = 0; i < (in_island ? shape->island_count : 1); i++) {
        struct choice k = serve_among(v, node, &need, &l, in_island ? shape->islands[i] : UINT32_MAX);
        if (k.cost < best.cost)
            best = k;
    }
    for (int i = 0; i < l.count && best.cost != NO_COST; i++)
        if (best.set >> i & 1)
            chosen[(*chosen_count)++] = l.at[i];
    return best.cost;
}

/* ---- the gang's nodes ---- */

void victims_take(struct victims *v, int32_t runner) {
    if (v->taken[runner])
        return;
    v->taken[runner] = true;
    v->items[v->count++] = runner;
    v->spans_nodes |= runner_at(v, runner)->nodes > 1;
    room_give(&v->p->room, runner_at(v, runner)->job);
}

/* Its rack, or its pod where the job has to lie within one of those. */
static bool in_domain(const struct victims *v, int32_t node, int32_t domain) {
    const struct cluster *c = v->p->c;
    int32_t rack = c->nodes[node].rack;
    return domain < 0 || (v->demand->topology == LEVEL_POD ? c->racks[rack].pod : rack) == domain;
}

static int64_t cost_on_node(const struct victims *v, int32_t node, const struct need *need, int32_t domain) {
    int32_t unused[NODE_VICTIMS_MAX];
    int unused_count;
    return in_domain(v, node, domain) && !v->node_used[node] ? serve_on_node(v, node, need, unused, &unused_count) : NO_COST;
}

static void find_costs(struct victims *v, const struct need *need, int32_t domain) {
    bool known = need == v->need && v->count == v->first_count;
    for (int32_t n = 0; n < v->p->c->node_count; n++)
        v->node_cost[n] = !known ? cost_on_node(v, n, need, domain) : v->node_used[n] ? NO_COST : v->first_cost[n];
}

/* Where nobody spans nodes it does not matter how that is counted. */
static void count_costs(struct victims *v, enum counting counting, int32_t domain, bool all) {
    v->counting = counting;
    for (int32_t n = 0; n < v->p->c->node_count; n++)
        if (all || v->is_spanned[n])
            v->first_cost[n] = cost_on_node(v, n, v->need, domain);
}

static void take_node(struct victims *v, int32_t node, const struct need *need, int32_t domain) {
    int32_t chosen[NODE_VICTIMS_MAX];
    int count;
    serve_on_node(v, node, need, chosen, &count);
    for (int i = 0; i < count; i++)
        victims_take(v, v->p->standings.tasks[chosen[i]].runner);
    v->node_used[node] = true;
    v->node_cost[node] = NO_COST;
    for (int i = 0; i < count; i++) {   /* other nodes that they leave have become cheaper */
        const struct job *j = runner_at(v, v->p->standings.tasks[chosen[i]].runner)->job;
        for (int32_t k = 0; k < j->placement.task_count; k++)
            v->node_cost[j->placement.tasks[k].node] = cost_on_node(v, j->placement.tasks[k].node, need, domain);
    }
}

static bool take_group(struct victims *v, const struct need *need, int32_t domain) {
    find_costs(v, need, domain);
    for (int32_t i = 0; i < need->count; i++) {
        int32_t cheapest = 0;
        for (int32_t n = 1; n < v->p->c->node_count; n++)
            if (v->node_cost[n] < v->node_cost[cheapest])
                cheapest = n;
        if (v->node_cost[cheapest] == NO_COST)
            return false;
        take_node(v, cheapest, need, domain);
    }
    return true;
}

struct victims_mark victims_mark(const struct victims *v) { return (struct victims_mark){room_mark(&v->p->room), v->count}; }

void victims_forget(struct victims *v, struct victims_mark mark) {
    for (int32_t i = mark.count; i < v->count; i++)
        v->taken[v->items[i]] = false;
    v->count = mark.count;
    memset(v->node_used, 0, (size_t)v->p->c->node_count * sizeof *v->node_used);
    room_rollback(&v->p->room, mark.room);
}

static int by_cost(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Where the one node with the rest of the gang had best be: one that is among the cheapest to fill would have to be made up for by the
 * next. -1: nowhere. */
static int32_t node_of_rest(struct victims *v, const struct split *split, const struct need *rest, int32_t domain) {
    int32_t count = v->p->c->node_count, filled = split->nodes - 1, best = -1;
    int64_t best_cost = NO_COST;
    if (filled > count)
        return -1;
    find_costs(v, &split->need[0], domain);
    memcpy(v->sorted_cost, v->node_cost, (size_t)count * sizeof *v->sorted_cost);
    qsort(v->sorted_cost, (size_t)count, sizeof *v->sorted_cost, by_cost);
    int64_t last = v->sorted_cost[filled - 1], next = filled < count ? v->sorted_cost[filled] : NO_COST;
    for (int32_t n = 0; n < count && last != NO_COST; n++) {
        int64_t cost = cost_on_node(v, n, rest, domain), instead = v->node_cost[n] <= last ? next : v->node_cost[n];
        if (cost == NO_COST || (v->node_cost[n] <= last && next == NO_COST))
            continue;
        cost += instead - v->node_cost[n];
        if (cost < best_cost) {
            best = n;
            best_cost = cost;
        }
    }
    return best;
}

static bool take_groups(struct victims *v, const struct split *split, int32_t domain) {
    int groups = split->groups;
    if (groups > 1 && split->need[groups - 1].count == 1) {
        int32_t node = node_of_rest(v, split, &split->need[--groups], domain);
        if (node < 0)
            return false;
        take_node(v, node, &split->need[groups], domain);
    }
    for (int g = 0; g < groups; g++)
        if (!take_group(v, &split->need[g], domain))
            return false;
    return true;
}

static bool take_nodes(struct victims *v, const struct split *split, int32_t domain) {
    struct victims_mark mark = victims_mark(v);
    bool taken = take_groups(v, split, domain);
    if (!taken)
        victims_forget(v, mark);
    return taken;
}

int64_t victims_price(const struct victims *v) {
    int64_t sum = 0;
    for (int32_t i = 0; i < v->count; i++)
        sum += runner_at(v, v->items[i])->price;
    return sum;
}

/* ---- those who span nodes ---- */

/* The index of its task there, as standings.tasks; -1: it holds nothing there any more. */
static int32_t task_on(const struct victims *v, int32_t runner, int32_t node) {
    const struct standings *all = &v->p->standings;
    for (int32_t i = all->node_tasks[node]; i < all->node_tasks[node + 1]; i++)
        if (all->tasks[i].runner == runner)
            return i;
    return -1;
}

static bool may_leave_several(const struct victims *v, int32_t runner) {
    return runner_at(v, runner)->nodes > 1 && v->leaving[runner] != STAYS;
}

/* At first each task is charged by its GPUs. */
static void charge_by_gpus(struct victims *v) {
    for (int32_t r = 0; r < v->p->standings.count; r++) {
        const struct runner *k = runner_at(v, r);
        for (int32_t t = 0; may_leave_several(v, r) && t < k->nodes; t++) {
            int32_t i = task_on(v, r, k->job->placement.tasks[t].node);
            if (i >= 0)
                v->charge[i] = k->gpus ? price_of(v, k) * __builtin_popcount(k->job->placement.tasks[t].gpus) / k->gpus : price_of(v, k);
        }
    }
}

/* To v->cheapest as many nodes as the gang has, or as there are. */
static int32_t find_cheapest(struct victims *v) {
    int32_t count = 0, most = v->need->count;
    for (int32_t n = 0; n < v->p->c->node_count; n++) {
        int64_t cost = v->first_cost[n];
        if (cost == NO_COST || (count == most && cost >= v->first_cost[v->cheapest[count - 1]]))
            continue;
        int32_t at = count < most ? count++ : count - 1;
        for (; at > 0 && v->first_cost[v->cheapest[at - 1]] > cost; at--)
            v->cheapest[at] = v->cheapest[at - 1];
        v->cheapest[at] = n;
    }
    return count;
}

/* To those of its tasks that are asked to leave goes a part of what the others are charged. */
static void charge_anew(struct victims *v, int32_t runner, int part, int32_t domain) {
    const struct placement *p = &runner_at(v, runner)->job->placement;
    int64_t spare = 0;
    int32_t asked = 0;
    for (int32_t k = 0; k < p->task_count; k++) {
        int32_t i = task_on(v, runner, p->tasks[k].node);
        int64_t given = i >= 0 && !v->asked[i] ? v->charge[i] / part : 0;
        asked += i >= 0 && v->asked[i];
        spare += given;
        v->charge[i >= 0 ? i : 0] -= given;
    }
    for (int32_t k = 0; k < p->task_count; k++) {
        int32_t node = p->tasks[k].node, i = task_on(v, runner, node);
        if (i >= 0 && v->asked[i])
            v->charge[i] += spare / asked;
        if (i >= 0)
            v->asked[i] = false;
        if (spare)
            v->first_cost[node] = cost_on_node(v, node, v->need, domain);
    }
}

/* One round: the cheapest nodes ask tasks to leave, and those are charged for the others of their jobs. Returns what those nodes cost: for
 * less there is no room. */
static int64_t ask_and_charge(struct victims *v, int part, int32_t domain) {
    const struct standings *all = &v->p->standings;
    int32_t tasks[NODE_VICTIMS_MAX], nodes = find_cheapest(v);
    int64_t sum = 0;
    int count;
    for (int32_t n = 0; n < nodes; n++) {
        sum += v->first_cost[v->cheapest[n]] >> PRICE_SHIFT;
        serve_on_node(v, v->cheapest[n], v->need, tasks, &count);
        for (int i = 0; i < count; i++)
            v->asked[tasks[i]] = true;
    }
    for (int32_t n = 0; n < nodes; n++)
        for (int32_t i = all->node_tasks[v->cheapest[n]]; i < all->node_tasks[v->cheapest[n] + 1]; i++)
            if (v->asked[i])
                charge_anew(v, all->tasks[i].runner, part, domain);
    return sum;
}

/* ---- the cheapest of all ---- */

static bool try_taking(struct victims *v, const struct split *split, int32_t domain, int64_t *least) {
    struct victims_mark mark = victims_mark(v);
    bool taken = take_nodes(v, split, domain);
    int64_t price = 0;
    for (int32_t i = mark.count; i < v->count; i++)
        price += price_of(v, victims_at(v, i));
    if (taken && price < *least) {
        *least = price;
        v->best_count = v->count - mark.count;
        memcpy(v->best, v->items + mark.count, (size_t)v->best_count * sizeof *v->best);
    }
    victims_forget(v, mark);
    return taken;
}

/* Charges for which the cheapest nodes cost the most come near to telling the cheapest victims (a Lagrangian dual, as Beasley 1990 has it
 * for coverings). The first rounds do most; and as an outcome is not always better than the one before, each few rounds one is tried. */
static void try_charges(struct victims *v, const struct split *split, int32_t domain, int64_t *least) {
    charge_by_gpus(v);
    count_costs(v, CHARGED, domain, false);
    int64_t bound = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        for (int round = trial * ROUNDS; round < (trial + 1) * ROUNDS; round++) {
            int64_t cost = ask_and_charge(v, 2 + round / 8, domain);
            bound = cost > bound ? cost : bound;
            if (*least - bound <= *least / NEAR)
                return;
        }
        try_taking(v, split, domain, least);
    }
}

static const struct need *need_of_most(const struct split *split) {
    const struct need *most = &split->need[0];
    for (int g = 1; g < split->groups; g++)
        most = split->need[g].count > most->count ? &split->need[g] : most;
    return most;
}

static bool find_spanned(struct victims *v) {
    bool any = false;
    memset(v->is_spanned, 0, (size_t)v->p->c->node_count * sizeof *v->is_spanned);
    for (int32_t r = 0; r < v->p->standings.count; r++)
        for (int32_t t = 0; may_leave_several(v, r) && t < runner_at(v, r)->nodes; t++)
            any = v->is_spanned[runner_at(v, r)->job->placement.tasks[t].node] = true;
    return any;
}

/* Where the job has to lie within one rack or pod, in the cheapest. */
bool victims_take_cheapest(struct victims *v, const struct split *split) {
    enum topology_level level = v->demand->topology;
    bool one_domain = (level == LEVEL_RACK || level == LEVEL_POD) && split->nodes > 1;
    bool spans = split->nodes > 1 && find_spanned(v);   /* on one node each price is paid in whole */
    int32_t domains = !one_domain ? 0 : level == LEVEL_POD ? v->p->c->pod_count : v->p->c->rack_count;
    int64_t least = NO_COST;
    v->need = need_of_most(split);
    v->first_count = v->count;
    for (int32_t domain = one_domain ? 0 : -1; domain < domains; domain++) {
        count_costs(v, WHOLE, domain, true);
        if (!try_taking(v, split, domain, &least) || !spans)
            continue;
        count_costs(v, BY_NODES, domain, false);
        try_taking(v, split, domain, &least);
        try_charges(v, split, domain, &least);
    }
    for (int32_t i = 0; i < v->best_count && least != NO_COST; i++)
        victims_take(v, v->best[i]);
    return least != NO_COST;
}

/* ---- within a queue ---- */

enum { WINDOW = 32 };

struct offered { int32_t runner; int gpus; int64_t cost; };

/* The cheapest for a GPU first. */
static int by_cost_of_gpu(const void *a, const void *b) {
    const struct offered *x = a, *y = b;
    double of_x = (double)x->cost / x->gpus, of_y = (double)y->cost / y->gpus;
    if (of_x != of_y)
        return of_x < of_y ? -1 : 1;
    return x->runner < y->runner ? -1 : 1;
}

static int32_t offered_within(const struct victims *v, int32_t queue, struct offered *out) {
    int32_t count = 0;
    for (int32_t i = 0; i < v->p->standings.count; i++) {
        const struct runner *k = runner_at(v, i);
        if (v->leaving[i] == STAYS || v->taken[i] || !most_freed(v, i) || !queue_is_within(v->p->c, k->queue, queue))
            continue;
        out[count++] = (struct offered){i, most_freed(v, i), cost_at(v, k, price_of(v, k))};
    }
    qsort(out, (size_t)count, sizeof *out, by_cost_of_gpu);
    return count;
}

/* The first ones as they come, the last of them as it pays best. */
bool victims_take_within(struct victims *v, int32_t queue, int64_t gpus) {
    struct offered *of = arena_array(v->p->arena, (size_t)v->p->standings.count + 1, sizeof *of);
    int32_t count = offered_within(v, queue, of), i = 0;
    for (; count - i > WINDOW && gpus > of[i].gpus; i++) {
        victims_take(v, of[i].runner);
        gpus -= of[i].gpus;
    }
    int64_t cost[WINDOW] = {0};
    int sizes[WINDOW] = {0}, window = least_of(count - i, WINDOW);
    for (int k = 0; k < window; k++) {
        cost[k] = of[i + k].cost;
        sizes[k] = of[i + k].gpus;
    }
    struct choice *table = arena_array(v->p->arena, (size_t)gpus + 1, sizeof *table);
    struct choice best = cheapest_for(table, cost, sizes, window, (int)gpus);
    for (int k = 0; k < window && best.cost != NO_COST; k++)
        if (best.set >> k & 1)
            victims_take(v, of[i + k].runner);
    return best.cost != NO_COST;
}

/* ---- letting go ---- */

static bool is_within_limits(const struct victims *v, const struct placement *where) {
    const struct demand *d = v->demand;
    return share_admits(&v->p->room, d->queue, placement_gpus(where), d->preemptible) &&
           type_limit_admits_promised(&v->p->room, d->queue, where);
}

/* Takes it back, if nothing of it is wanted. */
static bool is_wanted(struct victims *v, const struct placement *where, const struct job *j) {
    bool wanted = false;
    room_take_back(&v->p->room, j);
    for (int32_t i = 0; i < j->placement.task_count && !wanted; i++) {
        const struct task *t = &j->placement.tasks[i];
        const struct room_node *n = &v->p->room.nodes[t->node];
        wanted = t->state != TASK_ENDED && (t->gpus & n->kept || n->cpus < 0 || n->memory_mib < 0);
    }
    wanted = wanted || !is_within_limits(v, where);
    if (wanted)
        room_give(&v->p->room, j);
    return wanted;
}

static int by_price(const void *a, const void *b) {
    const struct priced *x = a, *y = b;
    return x->price != y->price ? (x->price > y->price ? -1 : 1) : x->at < y->at ? -1 : x->at > y->at;
}

/* The dearest first; equals stay in their order. */
static void sort_by_price(struct victims *v) {
    for (int32_t i = 0; i < v->count; i++)
        v->priced[i] = (struct priced){runner_at(v, v->items[i])->price, i, v->items[i]};
    qsort(v->priced, (size_t)v->count, sizeof *v->priced, by_price);
    for (int32_t i = 0; i < v->count; i++)
        v->items[i] = v->priced[i].runner;
}

static bool is_placed(struct victims *v, const struct split *split, struct placement *where) {
    const struct demand *d = v->demand;
    return share_admits(&v->p->room, d->queue, d->gpus, d->preemptible) && place_gang(&v->p->room, d, where) &&
           where->task_count == split->nodes && __builtin_popcount(where->tasks[0].gpus) == split->need[0].gpus;
}

/* One that spans nodes may free those that others were taken for. Not at the price of a slower place. */
void victims_spare(struct victims *v, const struct split *split, struct placement *where) {
    int32_t kept = 0;
    sort_by_price(v);
    for (int32_t i = 0; i < v->count; i++) {
        int32_t victim = v->items[i];
        struct placement without;
        if (i < SPARED_MAX && v->spans_nodes) {
            room_take_back(&v->p->room, runner_at(v, victim)->job);
            if (is_placed(v, split, &without) && without.bottleneck_gbs >= where->bottleneck_gbs) {
                *where = without;
                v->taken[victim] = false;
                continue;
            }
            room_give(&v->p->room, runner_at(v, victim)->job);
        }
        v->items[kept++] = victim;
    }
    v->count = kept;
}

void victims_let_go(struct victims *v, const struct placement *where, bool but_evicted) {
    int32_t kept = 0;
    sort_by_price(v);
    for (int32_t i = 0; i < v->count; i++) {
        int32_t victim = v->items[i];
        bool stays = (!but_evicted || v->leaving[victim] != IS_EVICTED) && !is_wanted(v, where, runner_at(v, victim)->job);
        v->taken[victim] = !stays;
        if (!stays)
            v->items[kept++] = victim;
    }
    v->count = kept;
}
