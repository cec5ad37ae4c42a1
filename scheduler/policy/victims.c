#include "scheduler/policy/victims.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/cluster/queue.h"
#include "scheduler/policy/type_limit.h"
#include "scheduler/policy/victims_on_node.h"

enum {
    NOT_COUNTED = -1,
    SPARED_MAX = 16,         /* so many of the dearest are tried to be done without */
    WIDE_MAX = 6,            /* of so many that span nodes all sets are tried */
    TRIALS = 5,              /* of charging jobs that span nodes, */
    ROUNDS = 4,              /* after so many rounds each, */
    NEAR = 32,               /* until an outcome is known to be so near to the cheapest: one in NEAR */
};

struct runner *victims_at(const struct victims *v, int32_t i) { return victims_runner(v, v->items[i]); }

void victims_init(struct victims *v, struct pass *p, const struct demand *d) {
    size_t runners = (size_t)p->standings.count, nodes = (size_t)p->c->node_count, tasks;
    standings_link_nodes(&p->standings, p->c->node_count, p->arena);
    tasks = (size_t)p->standings.node_tasks[nodes];
    if (!p->victims) {
        p->victims = arena_array(p->arena, 1, sizeof *p->victims);
        *p->victims = (struct victims){.p = p,
                                       .leaving = arena_array(p->arena, runners, sizeof *v->leaving),
                                       .leavers = arena_array(p->arena, runners, sizeof *v->leavers),
                                       .within_reach = arena_array(p->arena, nodes, sizeof *v->within_reach),
                                       .in_play = arena_array(p->arena, nodes, sizeof *v->in_play),
                                       .domain_at = arena_array(p->arena, (size_t)p->c->rack_count + 2, sizeof *v->domain_at),
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

void victims_ask_nobody(struct victims *v) {
    for (int32_t i = 0; i < v->leaver_count; i++)
        v->leaving[v->leavers[i]] = STAYS;
    v->leaver_count = 0;
}

void victims_may_leave(struct victims *v, int32_t runner, enum leaving leaving) {
    v->leaving[runner] = leaving;
    v->leavers[v->leaver_count++] = runner;
}

void victims_let_stay(struct victims *v, int32_t gpus) {
    int32_t kept = 0;
    for (int32_t i = 0; i < v->leaver_count; i++) {
        int32_t runner = v->leavers[i];
        if (v->taken[runner] || victims_runner(v, runner)->gpus < gpus)
            v->leavers[kept++] = runner;
        else
            v->leaving[runner] = STAYS;
    }
    v->leaver_count = kept;
}

static int least_of(int a, int b) { return a < b ? a : b; }

/* ---- the gang's nodes ---- */

void victims_take(struct victims *v, int32_t runner) {
    if (v->taken[runner])
        return;
    v->taken[runner] = true;
    v->items[v->count++] = runner;
    v->spans_nodes |= victims_runner(v, runner)->nodes > 1;
    room_give(&v->p->room, victims_runner(v, runner)->job);
}

static int64_t cost_on_node(const struct victims *v, int32_t node, const struct need *need) {
    int32_t unused[NODE_VICTIMS_MAX];
    int unused_count;
    return !v->node_used[node] ? victims_on_node(v, node, need, unused, &unused_count) : NO_COST;
}

static void find_costs(struct victims *v, const struct need *need) {
    bool known = need == v->need && v->count == v->first_count;
    for (int32_t i = 0; i < v->node_count; i++) {
        int32_t n = v->nodes[i];
        v->node_cost[n] = !known ? cost_on_node(v, n, need) : v->node_used[n] ? NO_COST : v->first_cost[n];
    }
}

/* Where nobody spans nodes it does not matter how that is counted. */
static void count_costs(struct victims *v, enum counting counting, bool all) {
    v->counting = counting;
    for (int32_t i = 0; i < v->node_count; i++)
        if (all || v->is_spanned[v->nodes[i]])
            v->first_cost[v->nodes[i]] = cost_on_node(v, v->nodes[i], v->need);
}

static void take_node(struct victims *v, int32_t node, const struct need *need) {
    int32_t chosen[NODE_VICTIMS_MAX];
    int count;
    victims_on_node(v, node, need, chosen, &count);
    for (int i = 0; i < count; i++)
        victims_take(v, v->p->standings.tasks[chosen[i]].runner);
    v->node_used[node] = true;
    v->node_cost[node] = NO_COST;
    for (int i = 0; i < count; i++) {   /* other nodes that they leave have become cheaper */
        const struct job *j = victims_runner(v, v->p->standings.tasks[chosen[i]].runner)->job;
        for (int32_t k = 0; k < j->placement.task_count; k++)
            v->node_cost[j->placement.tasks[k].node] = cost_on_node(v, j->placement.tasks[k].node, need);
    }
}

static bool take_group(struct victims *v, const struct need *need) {
    find_costs(v, need);
    for (int32_t i = 0; i < need->count; i++) {
        int32_t cheapest = v->nodes[0];
        for (int32_t n = 1; n < v->node_count; n++)
            if (v->node_cost[v->nodes[n]] < v->node_cost[cheapest])
                cheapest = v->nodes[n];
        if (v->node_cost[cheapest] == NO_COST)
            return false;
        take_node(v, cheapest, need);
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
static int32_t node_of_rest(struct victims *v, const struct split *split, const struct need *rest) {
    int32_t count = v->node_count, filled = split->nodes - 1, best = -1;
    int64_t best_cost = NO_COST;
    find_costs(v, &split->need[0]);
    for (int32_t i = 0; i < count; i++)
        v->sorted_cost[i] = v->node_cost[v->nodes[i]];
    qsort(v->sorted_cost, (size_t)count, sizeof *v->sorted_cost, by_cost);
    int64_t last = v->sorted_cost[filled - 1], next = filled < count ? v->sorted_cost[filled] : NO_COST;
    for (int32_t i = 0; i < count && last != NO_COST; i++) {
        int32_t n = v->nodes[i];
        int64_t cost = cost_on_node(v, n, rest), instead = v->node_cost[n] <= last ? next : v->node_cost[n];
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

static bool take_groups(struct victims *v, const struct split *split) {
    int groups = split->groups;
    if (groups > 1 && split->need[groups - 1].count == 1) {
        int32_t node = node_of_rest(v, split, &split->need[--groups]);
        if (node < 0)
            return false;
        take_node(v, node, &split->need[groups]);
    }
    for (int g = 0; g < groups; g++)
        if (!take_group(v, &split->need[g]))
            return false;
    return true;
}

int64_t victims_price(const struct victims *v) {
    int64_t sum = 0;
    for (int32_t i = 0; i < v->count; i++)
        sum += victims_runner(v, v->items[i])->price;
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

/* At first each task is charged by its GPUs. */
static void charge_by_gpus(struct victims *v) {
    for (int32_t r = 0; r < v->leaver_count; r++) {
        const struct runner *k = victims_runner(v, v->leavers[r]);
        int64_t price = victims_price_of(v, k);
        for (int32_t t = 0; k->nodes > 1 && t < k->nodes; t++) {
            int32_t i = task_on(v, v->leavers[r], k->job->placement.tasks[t].node);
            if (i >= 0)
                v->charge[i] = k->gpus ? price * __builtin_popcount(k->job->placement.tasks[t].gpus) / k->gpus : price;
        }
    }
}

/* To v->cheapest as many nodes as the gang has, or as there are. */
static int32_t find_cheapest(struct victims *v) {
    int32_t count = 0, most = v->need->count;
    for (int32_t i = 0; i < v->node_count; i++) {
        int32_t n = v->nodes[i];
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
static void charge_anew(struct victims *v, int32_t runner, int part) {
    const struct placement *p = &victims_runner(v, runner)->job->placement;
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
            v->first_cost[node] = cost_on_node(v, node, v->need);
    }
}

/* One round: the cheapest nodes ask tasks to leave, and those are charged for the others of their jobs. Returns what those nodes cost: for
 * less there is no room. */
static int64_t ask_and_charge(struct victims *v, int part) {
    const struct standings *all = &v->p->standings;
    int32_t tasks[NODE_VICTIMS_MAX], nodes = find_cheapest(v);
    int64_t sum = 0;
    int count;
    for (int32_t n = 0; n < nodes; n++) {
        sum += v->first_cost[v->cheapest[n]] >> PRICE_SHIFT;
        victims_on_node(v, v->cheapest[n], v->need, tasks, &count);
        for (int i = 0; i < count; i++)
            v->asked[tasks[i]] = true;
    }
    for (int32_t n = 0; n < nodes; n++)
        for (int32_t i = all->node_tasks[v->cheapest[n]]; i < all->node_tasks[v->cheapest[n] + 1]; i++)
            if (v->asked[i])
                charge_anew(v, all->tasks[i].runner, part);
    return sum;
}

/* ---- the cheapest of all ---- */

/* As they cost now. What has been taken since the mark counts, and is forgotten. */
static bool try_taking(struct victims *v, const struct split *split, struct victims_mark mark, int64_t *least) {
    bool taken = take_groups(v, split);
    int64_t price = 0;
    for (int32_t i = mark.count; i < v->count; i++)
        price += victims_price_of(v, victims_at(v, i));
    if (taken && price < *least) {
        *least = price;
        v->best_count = v->count - mark.count;
        memcpy(v->best, v->items + mark.count, (size_t)v->best_count * sizeof *v->best);
    }
    victims_forget(v, mark);
    return taken;
}

/* All of these leave, the others of those that span nodes stay: then what is left to be taken spans none. */
static void try_set(struct victims *v, const struct split *split, const int32_t wide[], int count, uint32_t set, int64_t *least) {
    struct victims_mark mark = victims_mark(v);
    enum leaving leaving[WIDE_MAX];
    int64_t price = 0;
    for (int i = 0; i < count; i++)
        price += set >> i & 1 ? victims_price_of(v, victims_runner(v, wide[i])) : 0;
    if (price >= *least)
        return;
    for (int i = 0; i < count; i++) {
        leaving[i] = v->leaving[wide[i]];
        if (set >> i & 1)
            victims_take(v, wide[i]);
        else
            v->leaving[wide[i]] = STAYS;
    }
    try_taking(v, split, mark, least);
    for (int i = 0; i < count; i++)
        v->leaving[wide[i]] = leaving[i];
}

/* Where few span nodes, all sets of them: the outcome is the cheapest there is. False: too many do, or it would not be known what those who
 * shrink in place give up. */
static bool try_sets(struct victims *v, const struct split *split, int64_t *least) {
    int32_t wide[WIDE_MAX];
    int count = 0;
    for (int32_t i = 0; i < v->leaver_count; i++)
        if (victims_runner(v, v->leavers[i])->nodes > 1 && !v->taken[v->leavers[i]]) {
            if (count == WIDE_MAX || v->in_place)
                return false;
            wide[count++] = v->leavers[i];
        }
    v->counting = WHOLE;
    v->first_count = NOT_COUNTED;   /* what the nodes cost depends on the set */
    for (uint32_t set = 0; set < 1u << count; set++)
        try_set(v, split, wide, count, set, least);
    v->first_count = v->count;
    return true;
}

/* Charges for which the cheapest nodes cost the most come near to telling the cheapest victims (a Lagrangian dual, as Beasley 1990 has it
 * for coverings). The first rounds do most; and as an outcome is not always better than the one before, each few rounds one is tried. */
static void try_charges(struct victims *v, const struct split *split, int64_t *least) {
    charge_by_gpus(v);
    count_costs(v, CHARGED, false);
    int64_t bound = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        for (int round = trial * ROUNDS; round < (trial + 1) * ROUNDS; round++) {
            int64_t cost = ask_and_charge(v, 2 + round / 8);
            bound = cost > bound ? cost : bound;
            if (*least - bound <= *least / NEAR)
                return;
        }
        try_taking(v, split, victims_mark(v), least);
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
    for (int32_t i = 0; i < v->leaver_count; i++) {
        const struct runner *k = victims_runner(v, v->leavers[i]);
        for (int32_t t = 0; k->nodes > 1 && t < k->nodes; t++)
            any = v->is_spanned[k->job->placement.tasks[t].node] = true;
    }
    return any;
}

/* ---- where ---- */

static int gpus_in_reach(const struct victims *v, int32_t node) {
    return __builtin_popcount(room_free_gpus(&v->p->room, node) | v->within_reach[node]);
}

static void find_reach(struct victims *v) {
    memset(v->within_reach, 0, (size_t)v->p->c->node_count * sizeof *v->within_reach);
    for (int32_t i = 0; i < v->leaver_count; i++) {
        const struct placement *p = &victims_runner(v, v->leavers[i])->job->placement;
        for (int32_t k = 0; k < p->task_count; k++)
            if (p->tasks[k].state != TASK_ENDED)
                v->within_reach[p->tasks[k].node] |= victims_gpus_left(v, &p->tasks[k]);
    }
}

/* The rack, or the pod, where the gang has to lie within one of those. */
static int32_t domain_of(const struct victims *v, enum topology_level level, int32_t node) {
    const struct cluster *c = v->p->c;
    int32_t rack = c->nodes[node].rack;
    return level == LEVEL_RACK ? rack : level == LEVEL_POD ? c->racks[rack].pod : 0;
}

/* Counts the nodes of each domain, then puts them where their domain's begin. */
static void find_nodes(struct victims *v, const struct split *split, enum topology_level level, int32_t domains) {
    int32_t nodes = v->p->c->node_count, sum = 0, least = split->need[split->groups - 1].gpus;
    find_reach(v);
    memset(v->domain_at, 0, ((size_t)domains + 2) * sizeof *v->domain_at);
    for (int32_t n = 0; n < nodes; n++)
        if (gpus_in_reach(v, n) >= least)
            v->domain_at[domain_of(v, level, n) + 2]++;
    for (int32_t d = 2; d < domains + 2; d++)
        sum = v->domain_at[d] += sum;
    for (int32_t n = 0; n < nodes; n++)
        if (gpus_in_reach(v, n) >= least)
            v->in_play[v->domain_at[domain_of(v, level, n) + 1]++] = n;
}

/* By counts alone: could the gang have its nodes there? */
static bool look_at_domain(struct victims *v, const struct split *split, int32_t domain) {
    int32_t first = 0;
    v->nodes = v->in_play + v->domain_at[domain];
    v->node_count = v->domain_at[domain + 1] - v->domain_at[domain];
    for (int32_t i = 0; i < v->node_count && v->node_count >= split->nodes && first < split->need[0].count; i++)
        first += gpus_in_reach(v, v->nodes[i]) >= split->need[0].gpus;
    return v->node_count >= split->nodes && first >= split->need[0].count;
}

/* Where the gang has to lie within one rack or pod, in the cheapest. */
bool victims_take_cheapest(struct victims *v, const struct split *split) {
    const struct cluster *c = v->p->c;
    enum topology_level level = split->nodes > 1 ? v->demand->topology : LEVEL_ANY;
    int32_t domains = level == LEVEL_RACK ? c->rack_count : level == LEVEL_POD ? c->pod_count : 1;
    int64_t least = NO_COST;
    if (!split->groups)
        return false;
    bool spans = split->nodes > 1 && find_spanned(v);   /* on one node each price is paid in whole */
    v->need = need_of_most(split);
    v->first_count = v->count;
    find_nodes(v, split, level, domains);
    for (int32_t domain = 0; domain < domains; domain++) {
        if (!look_at_domain(v, split, domain))
            continue;
        count_costs(v, WHOLE, true);
        if (!try_taking(v, split, victims_mark(v), &least) || !spans || try_sets(v, split, &least))
            continue;
        count_costs(v, BY_NODES, false);
        try_taking(v, split, victims_mark(v), &least);
        try_charges(v, split, &least);
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
    for (int32_t n = 0; n < v->leaver_count; n++) {
        int32_t i = v->leavers[n];
        const struct runner *k = victims_runner(v, i);
        if (v->taken[i] || !victims_freed(v, i) || !queue_is_within(v->p->c, k->queue, queue))
            continue;
        out[count++] = (struct offered){i, victims_freed(v, i), victims_cost(v, k, victims_price_of(v, k))};
    }
    qsort(out, (size_t)count, sizeof *out, by_cost_of_gpu);
    return count;
}

/* The first ones as they come, the last of them as it pays best. */
bool victims_take_within(struct victims *v, int32_t queue, int64_t gpus) {
    struct offered *of = arena_array(v->p->arena, (size_t)v->leaver_count + 1, sizeof *of);
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
    struct choice best = cheapest_choice(table, cost, sizes, window, (int)gpus);
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
        v->priced[i] = (struct priced){victims_runner(v, v->items[i])->price, i, v->items[i]};
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
            room_take_back(&v->p->room, victims_runner(v, victim)->job);
            if (is_placed(v, split, &without) && without.bottleneck_gbs >= where->bottleneck_gbs) {
                *where = without;
                v->taken[victim] = false;
                continue;
            }
            room_give(&v->p->room, victims_runner(v, victim)->job);
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
        bool stays = (!but_evicted || v->leaving[victim] != IS_EVICTED) && !is_wanted(v, where, victims_runner(v, victim)->job);
        v->taken[victim] = !stays;
        if (!stays)
            v->items[kept++] = victim;
    }
    v->count = kept;
}
