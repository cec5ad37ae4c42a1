#include "scheduler/policy/victims_on_node.h"

#include "scheduler/cluster/queue.h"

static bool may_use(const struct victims *v, int32_t node, const struct need *need) {
    const struct cluster *c = v->p->c;
    if (!node_filter_passes(c, v->demand->filter, node) || v->demand->barred >> c->shapes[c->nodes[node].shape].gpu_type & 1)
        return false;
    return !v->demand->exclusive || need->gpus == c->shapes[c->nodes[node].shape].count;
}

uint32_t victims_gpus_left(const struct victims *v, const struct task *t) {
    const struct room_node *n = &v->p->room.nodes[t->node];
    return t->gpus & ~(n->kept | n->ahead);
}

static const int64_t MOST = INT64_C(1) << 40;   /* no price counts more */

int64_t victims_price_of(const struct victims *v, const struct runner *k) {
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
        uint32_t gpus = room_free_gpus(&v->p->room, t->node) | victims_gpus_left(v, t);
        count += !v->node_used[t->node] && may_use(v, t->node, need) && __builtin_popcount(gpus) >= need->gpus;
    }
    return count;
}

static int64_t price_on_node(const struct victims *v, const struct need *need, int32_t task) {
    const struct runner *k = victims_runner(v, v->p->standings.tasks[task].runner);
    int32_t nodes = 1;
    if (v->counting == CHARGED && k->nodes > 1)
        return v->charge[task];
    if (v->counting == BY_NODES && k->nodes > 1)
        nodes = nodes_served_by(v, need, k->job);
    nodes = nodes < need->count ? nodes : need->count;
    return victims_price_of(v, k) / (nodes > 1 ? nodes : 1);
}

int64_t victims_cost(const struct victims *v, const struct runner *k, int64_t price) {
    const struct cluster *c = v->p->c;
    bool outside = k->job->queue != v->demand->queue && c->queues[k->job->queue].parent != c->queues[v->demand->queue].parent;
    return price << PRICE_SHIFT | (int64_t)outside << 11 | (k->gpus < 2048 ? k->gpus : 2047);
}

struct choice cheapest_choice(struct choice best[], const int64_t cost[], const int gpus[], int count, int missing) {
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
struct node_leavers {
    int count;
    int32_t at[NODE_VICTIMS_MAX];     /* of standings.tasks */
    int64_t cost[NODE_VICTIMS_MAX];
    uint32_t gpus[NODE_VICTIMS_MAX];  /* that they would leave to the gang, */
    int most[NODE_VICTIMS_MAX];       /* no more than so many of them */
};

/* GPUs alone decide which leave; where cpus or memory are still short, more do, as they come. */
static bool enough_beside_gpus(const struct victims *v, int32_t node, const struct need *need, const struct node_leavers *l,
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

int victims_freed(const struct victims *v, int32_t runner) {
    const struct runner *k = victims_runner(v, runner);
    return v->in_place && v->leaving[runner] == SHRINKS ? k->gpus - k->gpus_min : k->gpus;
}

static void find_leavers(const struct victims *v, int32_t node, const struct need *need, struct node_leavers *l) {
    const struct standings *all = &v->p->standings;
    l->count = 0;
    for (int32_t i = all->node_tasks[node]; i < all->node_tasks[node + 1] && l->count < NODE_VICTIMS_MAX; i++) {
        int32_t k = all->tasks[i].runner;
        if (v->leaving[k] == STAYS || v->taken[k])
            continue;
        l->cost[l->count] = victims_cost(v, &all->runners[k], price_on_node(v, need, i));
        l->gpus[l->count] = victims_gpus_left(v, all->tasks[i].task);
        l->most[l->count] = victims_freed(v, k);
        l->at[l->count++] = i;
    }
}

static int least_of(int a, int b) { return a < b ? a : b; }

/* The cheapest that serve the need on GPUs among these. */
static struct choice serve_among(const struct victims *v, int32_t node, const struct need *need, const struct node_leavers *l,
                                 uint32_t among) {
    int gpus[NODE_VICTIMS_MAX], missing = need->gpus - __builtin_popcount(room_free_gpus(&v->p->room, node) & among);
    for (int i = 0; i < l->count; i++)
        gpus[i] = least_of(__builtin_popcount(l->gpus[i] & among), l->most[i]);
    struct choice table[ROOM_GPUS_MAX + 1], best = cheapest_choice(table, l->cost, gpus, l->count, missing > 0 ? missing : 0);
    if (best.cost != NO_COST && !enough_beside_gpus(v, node, need, l, &best))
        best.cost = NO_COST;
    return best;
}

int64_t victims_on_node(const struct victims *v, int32_t node, const struct need *asked, int32_t chosen[], int *chosen_count) {
    const struct gpu_shape *shape = &v->p->c->shapes[v->p->c->nodes[node].shape];
    bool in_island = v->demand->topology == LEVEL_ISLAND && asked->gpus;
    struct choice best = {.cost = NO_COST};
    struct need need = *asked;
    struct node_leavers l;
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
