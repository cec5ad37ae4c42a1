/* Placement against brute force: on small clusters, built and used by events alone, every choice of nodes and GPUs is tried. A place is
 * found exactly if there is one; on the fewest nodes; in the smallest domain; with the best bottleneck; and it breaks no constraint.
 *
 * PLACE_WORLDS=100000 tries more than the floor of `make test`. */
#include "scheduler/policy/place.h"
#include "tests/unit/cluster/world.h"

enum { WORLDS = 15000, DEMANDS = 10, NODES_MAX = 4, GPUS_MAX = 8, RACKS = 3 };

static uint64_t seed;

static int draw(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

static int worlds(void) {
    const char *text = getenv("PLACE_WORLDS");
    return text ? atoi(text) : WORLDS;
}

/* ---- a cluster with links, racks, holes, kept places, lost and drained nodes ---- */

/* Islands; or any link between any two; or islands with one odd link. */
static void random_links(struct gpu_inventory gpus[16], int64_t links[16][16], int count) {
    static const int64_t speeds[] = {0, 12, 25, 50, 100, 450};
    int style = draw(3);
    gpus_fill(gpus, links, count, 1 + draw(4), speeds[3 + draw(3)], speeds[draw(4)]);
    for (int i = 0; i < count && style == 1; i++)
        for (int j = 0; j < i; j++)
            links[i][j] = links[j][i] = speeds[draw(6)];
    if (style == 2 && count > 1)
        links[0][count - 1] = links[count - 1][0] = speeds[draw(6)];
}

/* All racks on one spine without a name; or two pods of two racks and one; or a pod, and two racks in none. */
static void rack_name(int network, int rack, char name[16]) {
    static const char *const names[3][RACKS] = {
        {"rack0", "rack1", "rack2"}, {"pod0/rack0", "pod0/rack1", "pod1/rack2"}, {"pod0/rack0", "rack1", "rack2"}};
    snprintf(name, 16, "%s", names[network][rack]);
}

/* kind: the same seed makes the same GPUs; so do the nodes of a real cluster. */
static void random_node(struct world *w, int i, uint64_t kind, int network) {
    static const char *const features[] = {"", "ib", "nvme", "nvme,ib"};
    struct gpu_inventory gpus[16];
    int64_t links[16][16];
    char name[16], rack[16];
    struct event e = event_of(EVENT_NODE_UP);
    uint64_t next = seed;
    seed = kind;
    int count = draw(GPUS_MAX + 1);
    random_links(gpus, links, count);
    seed = next;
    snprintf(name, sizeof name, "node%d", i);
    rack_name(network, draw(RACKS), rack);
    for (int g = 0, type = draw(2); g < count; g++)
        gpus[g].type = type ? "H100-SXM" : "A100";
    e.inventory.features = features[draw(4)];
    e.node = e.inventory.name = name;
    e.boot_id = "b";
    e.inventory.rack = rack;
    e.inventory.cpus = 1 + draw(draw(2) ? 8 : 40);
    e.inventory.memory_mib = 1000 * draw(8);
    e.inventory.nic_gbs = 10 * draw(6);
    e.inventory.gpus = (struct rows){(size_t)count, gpus};
    assert_ok(world_apply(w, &e), &w->err);
}

/* Some GPUs, cpus and memory of one or two nodes, started there or only kept: whether they are free is the cluster's to say. */
static void random_holding(struct world *w) {
    struct event_task tasks[2] = {{0}};
    int64_t order[2][16];
    struct event e = event_of(draw(4) ? EVENT_JOB_START : EVENT_RESERVE);
    int count = 1 + draw(2), gpus = 0, first = draw(w->c.node_count);
    bool whole = e.type == EVENT_JOB_START && !draw(6);
    if (count > w->c.node_count)
        count = 1;
    for (int k = 0; k < count; k++) {
        const struct node *n = &w->c.nodes[(first + k) % w->c.node_count];
        uint32_t all = (1u << w->c.shapes[n->shape].count) - 1;
        uint32_t mask = (draw(2) ? (uint32_t)draw(1 << GPUS_MAX) : ~0u << draw(GPUS_MAX)) & all;   /* anywhere, or at the end */
        mask = whole ? all : mask;
        tasks[k] = (struct event_task){.node = n->name, .gpus = mask, .ranks = 1, .cpus = 1 + draw(5), .memory_mib = 500 * draw(4)};
        tasks[k].gpu_order.items = order[k];
        for (int g = 0; g < 16; g++)
            if (mask >> g & 1)
                order[k][tasks[k].gpu_order.count++] = g;
        gpus += __builtin_popcount(mask);
    }
    e.job = world_submit(w, (struct ask){.gpus = gpus, .exclusive = whole});
    e.placement.tasks = (struct rows){(size_t)count, tasks};
    world_apply(w, &e);
}

static void random_world(struct world *w) {
    uint64_t kind = seed;
    int network = draw(3);
    world_init(w);
    for (int i = 0, n = 1 + draw(NODES_MAX); i < n; i++)
        random_node(w, i, draw(2) ? kind : seed, network);
    for (int k = draw(6); k > 0; k--)
        random_holding(w);
    for (int32_t i = 0; i < w->c.node_count; i++)
        if (!draw(6))
            world_on_node(w, draw(2) ? EVENT_NODE_DRAINED : EVENT_NODE_LOST, w->c.nodes[i].name);
}

/* Which nodes a demand is for, in words. */
struct wanted { struct node_wish wish; char nodelist[160], exclude[160]; };

static void random_names(const struct cluster *c, char list[160]) {
    snprintf(list, 160, "%s", c->nodes[draw(c->node_count)].name);
    if (draw(2))
        snprintf(list + strlen(list), 160 - strlen(list), ",%s", c->nodes[draw(c->node_count)].name);
}

static void random_wish(const struct cluster *c, struct wanted *of) {
    static const char *const types[] = {"h100", "A100", "sxm", "a100,h100"}, *const features[] = {"ib", "nvme", "ib,nvme"};
    of->wish = (struct node_wish){draw(2) ? "" : types[draw(4)], draw(2) ? "" : features[draw(3)], of->nodelist, of->exclude};
    if (!draw(3))
        random_names(c, of->nodelist);
    if (!draw(3))
        random_names(c, of->exclude);
}

/* Whole nodes: as many GPUs as some have. */
static void take_whole_nodes(const struct cluster *c, struct demand *d) {
    int count = 1 + draw(c->node_count), first = draw(c->node_count);
    d->exclusive = true;
    d->gpus = 0;
    for (int i = 0; i < count; i++)
        d->gpus += c->shapes[c->nodes[(first + i) % c->node_count].shape].count;
    d->nodes = d->nodes && d->gpus ? count : 0;
}

static struct demand random_demand(struct cluster *c, struct wanted *of) {
    struct error err;
    struct demand d = {.gpus = draw(20), .cpus_per_rank = 1 + draw(4), .memory_mib = draw(3) ? 0 : 500 * draw(10), .preemptible = true,
                       .topology = draw(2) ? LEVEL_ANY : (enum topology_level)draw(5), .launcher = (enum job_launcher)draw(3),
                       .prefer = draw(4) ? LEVEL_ANY : (enum topology_level)draw(5)};
    d.nodes = draw(2) ? 0 : 1 + draw(topology_is_one_node((int)d.topology) ? 1 : NODES_MAX);
    if (d.nodes)
        d.gpus = d.nodes * draw(4);
    if (!draw(5))
        take_whole_nodes(c, &d);
    *of = (struct wanted){.wish = {"", "", "", ""}};
    if (!draw(4))
        random_wish(c, of);
    assert_ok(node_filter_enter(c, &of->wish, &d.filter, &err), &err);
    d.ranks = d.gpus && draw(2) ? d.gpus : (d.nodes ? d.nodes : 1) * (1 + draw(3));
    d.gpus_min = d.gpus;
    return d;
}

/* ---- what a node could give ---- */

struct offer {
    bool usable, is_empty;
    int32_t rack, pod, cpus, all_cpus, gpus;
    bool is_named;                    /* its pod */
    int64_t memory_mib;
    uint32_t free, nic_gbs;
    int64_t width[2][GPUS_MAX + 1];   /* of the best ring through so many GPUs, [1]: within one island; -1: there are not so many */
};

static void offer_gpus(struct offer *o, const struct gpu_shape *s) {
    memset(o->width, -1, sizeof o->width);
    for (uint32_t mask = 0; mask < 1u << s->count; mask++) {
        int count = __builtin_popcount(mask);
        int64_t width = count > 1 ? s->ring_gbs[mask] : UINT32_MAX;
        if (mask & ~o->free)
            continue;
        for (int one = 0; one < 2; one++)
            if (width > o->width[one][count] && (!one || !count || gpu_shape_island(s, mask) >= 0))
                o->width[one][count] = width;
    }
}

/* Now; or when all is up and empty. */
static struct offer offer_of(const struct cluster *c, int32_t node, bool now) {
    const struct node *n = &c->nodes[node];
    const struct gpu_shape *s = &c->shapes[n->shape];
    struct offer o = {.usable = !now || (n->state == NODE_UP && !n->drained), .rack = n->rack, .pod = c->racks[n->rack].pod,
                      .is_named = *c->pods[c->racks[n->rack].pod].name, .gpus = s->count, .all_cpus = n->cpus,
                      .nic_gbs = (uint32_t)n->nic_gbs,
                      .free = (1u << s->count) - 1, .cpus = n->cpus, .memory_mib = n->memory_mib};
    if (now) {
        o.free &= ~n->gpus_used;
        o.cpus = n->is_whole ? 0 : o.cpus - n->cpus_used;
        o.memory_mib -= n->memory_used_mib;
    }
    for (int32_t i = 0; i < c->reservation_count && now; i++)
        for (int32_t k = 0; k < c->reservations[i].placement.task_count; k++) {
            const struct task *t = &c->reservations[i].placement.tasks[k];
            if (t->node != node)
                continue;
            o.free &= ~t->gpus;
            o.cpus -= t->cpus;
            o.memory_mib -= t->memory_mib;
        }
    offer_gpus(&o, s);
    o.is_empty = o.cpus == o.all_cpus && o.free == (1u << o.gpus) - 1;
    return o;
}

/* ---- every choice ---- */

struct best { bool found; int depth; int64_t width; };   /* depth of the domain: 3 a node, 2 a rack, 1 a pod, 0 all */

struct choice {
    const struct cluster *c;
    const struct offer *offers;
    const struct wanted *wanted;
    enum topology_level within;
    int32_t offer_count;
    const struct demand *d;
    int nodes, taken[NODES_MAX];
    int gpus[NODES_MAX], ranks[NODES_MAX];   /* of each part */
    struct best best;
};

static int share_of(int total, int nodes, int i) { return total / nodes + (i < total % nodes); }

static bool has_word(const char *list, const char *word) {
    char with_commas[600], wanted[80];
    snprintf(with_commas, sizeof with_commas, ",%s,", list);
    snprintf(wanted, sizeof wanted, ",%s,", word);
    return strstr(with_commas, wanted) != NULL;
}

static bool is_wanted(const struct cluster *c, const struct wanted *of, int32_t node) {
    const struct node *n = &c->nodes[node];
    bool h100 = !strcmp(c->shapes[n->shape].type, "H100-SXM"), a100 = !strcmp(c->shapes[n->shape].type, "A100");
    const struct node_wish *w = &of->wish;
    bool type = !*w->gpu_type || (h100 && (strstr(w->gpu_type, "h100") || !strcmp(w->gpu_type, "sxm"))) ||
                (a100 && strcasestr(w->gpu_type, "a100"));
    bool features = (!strstr(w->features, "ib") || has_word(n->features, "ib")) &&
                    (!strstr(w->features, "nvme") || has_word(n->features, "nvme"));
    return type && features && (!*of->nodelist || has_word(of->nodelist, n->name)) && !has_word(of->exclude, n->name);
}

/* The width that the i-th part of the gang would have there; -1: it can't be there. */
static int64_t width_there(const struct choice *k, const struct offer *o, int i) {
    int gpus = k->gpus[i], ranks = k->ranks[i];
    if (!is_wanted(k->c, k->wanted, k->taken[i]) || (k->d->exclusive && (!o->is_empty || gpus != o->gpus)))
        return -1;
    if (!o->usable || gpus > GPUS_MAX || o->cpus < (ranks ? ranks : 1) * k->d->cpus_per_rank ||
        (k->d->memory_mib && o->memory_mib < k->d->memory_mib))
        return -1;
    int64_t width = o->width[k->within == LEVEL_ISLAND][gpus];
    return k->nodes > 1 && width > o->nic_gbs ? o->nic_gbs : width;
}

static int depth_of(enum topology_level level) { return level == LEVEL_ISLAND ? 3 : topology_depth((int)level); }

static void judge(struct choice *k) {
    int64_t width = UINT32_MAX;
    bool one_rack = true, one_pod = true;
    for (int i = 0; i < k->nodes; i++) {
        int64_t w = width_there(k, &k->offers[k->taken[i]], i);
        width = w < width ? w : width;
        one_rack &= k->offers[k->taken[i]].rack == k->offers[k->taken[0]].rack;
        one_pod &= k->offers[k->taken[i]].pod == k->offers[k->taken[0]].pod;
    }
    int depth = k->nodes == 1 ? 3 : one_rack ? 2 : one_pod ? 1 : 0;
    if (width < 0 || depth < depth_of(k->within))
        return;
    for (int level = depth; level < 2; level++)
        width /= SPINE_OVERSUBSCRIPTION;
    if (!k->best.found || depth > k->best.depth || (depth == k->best.depth && width > k->best.width))
        k->best = (struct best){true, depth, width};
}

static void choose(struct choice *k, int count, uint32_t used) {
    if (count == k->nodes) {
        judge(k);
        return;
    }
    for (int32_t n = 0; n < k->offer_count; n++)
        if (!(used >> n & 1)) {
            k->taken[count] = n;
            choose(k, count + 1, used | 1u << n);
        }
}

static bool try_evenly(struct choice *k, int nodes) {
    k->nodes = nodes;
    for (int i = 0; i < nodes && nodes <= NODES_MAX; i++) {
        k->gpus[i] = share_of(k->d->gpus, nodes, i);
        k->ranks[i] = share_of(k->d->ranks, nodes, i);
    }
    if (nodes <= k->offer_count)
        choose(k, 0, 0);
    return k->best.found;
}

/* Ranks go with their GPUs. -1: they can't. */
static int ranks_with(const struct demand *d, int gpus) {
    if (d->ranks % d->gpus == 0)
        return gpus * (d->ranks / d->gpus);
    return d->gpus % d->ranks == 0 && gpus % (d->gpus / d->ranks) == 0 ? gpus / (d->gpus / d->ranks) : -1;
}

static int filled_nodes(const struct demand *d, int size) { return size && d->gpus > size && d->gpus % size ? d->gpus / size + 1 : 0; }

/* Nodes of `size` GPUs filled, and one with the rest. False: the ranks can't be dealt so. */
static bool can_fill(struct choice *k, int size) {
    k->nodes = filled_nodes(k->d, size);
    for (int i = 0; i < k->nodes && k->nodes <= NODES_MAX; i++) {
        k->gpus[i] = i + 1 < k->nodes ? size : k->d->gpus % size;
        k->ranks[i] = k->d->ranks == 1 ? !i : ranks_with(k->d, k->gpus[i]);
        if (k->ranks[i] < 0)
            return false;
    }
    return k->nodes > 0;
}

static int largest(const struct cluster *c, const struct offer *offers, const struct wanted *of) {
    int size = 0;
    for (int32_t i = 0; i < c->node_count; i++)
        if (offers[i].usable && is_wanted(c, of, i) && c->shapes[c->nodes[i].shape].count > size)
            size = c->shapes[c->nodes[i].shape].count;
    return size;
}

/* The best place in the order of place.h: on as few nodes as hold it, those filled, else evenly on more; or on as many as it asks for. */
static struct best brute_force_within(const struct cluster *c, const struct offer *offers, const struct demand *d, const struct wanted *of,
                                      enum topology_level within, int *nodes) {
    struct choice k = {.c = c, .offers = offers, .wanted = of, .within = within, .offer_count = c->node_count, .d = d};
    int size = largest(c, offers, of), all = d->gpus ? d->gpus : d->ranks, least = d->gpus && size ? (d->gpus + size - 1) / size : 1;
    bool fill = can_fill(&k, size) && (!d->nodes || (d->gpus % d->nodes && k.nodes == d->nodes));
    if (fill && k.nodes <= c->node_count)
        choose(&k, 0, 0);
    if (d->nodes && !fill)
        try_evenly(&k, d->nodes);
    for (int n = least; !d->nodes && n <= all && n <= c->node_count && !k.best.found; n++)
        if (all % n == 0)
            try_evenly(&k, n);
    *nodes = k.nodes;
    return k.best;
}

/* What is preferred comes first. */
static struct best brute_force(const struct cluster *c, const struct offer *offers, const struct demand *d, const struct wanted *of,
                               int *nodes, enum topology_level *within) {
    struct best best = {.found = false};
    *within = d->prefer;
    if (topology_depth((int)d->prefer) > topology_depth((int)d->topology))
        best = brute_force_within(c, offers, d, of, d->prefer, nodes);
    if (best.found)
        return best;
    *within = d->topology;
    return brute_force_within(c, offers, d, of, d->topology, nodes);
}

/* ---- a placement is what it says, and keeps to what was asked ---- */

static void check_order(const struct gpu_shape *s, const struct task *t) {
    int count = __builtin_popcount(t->gpus);
    uint32_t mask = 0;
    for (int i = 0; i < count; i++) {
        mask |= 1u << t->gpu_order[i];
        if (count > 1)
            assert_true(s->link_gbs[t->gpu_order[i]][t->gpu_order[(i + 1) % count]] >= t->ring_gbs);
    }
    assert_int_equal(mask, t->gpus);
    assert_int_equal(t->ring_gbs, count > 1 ? s->ring_gbs[t->gpus] : 0);
}

static void check_task(const struct cluster *c, const struct offer *offers, const struct demand *d, const struct wanted *of,
                       const struct task *t) {
    const struct offer *o = &offers[t->node];
    assert_true(o->usable && is_wanted(c, of, t->node));
    assert_true(!d->exclusive || (o->is_empty && t->gpus == (1u << o->gpus) - 1));
    assert_int_equal(t->gpus & ~o->free, 0);
    assert_int_equal(t->cpus, d->exclusive ? o->all_cpus : (t->ranks ? t->ranks : 1) * d->cpus_per_rank);
    assert_true(t->cpus <= o->cpus);
    assert_int_equal(t->memory_mib, d->memory_mib);
    assert_true(!t->memory_mib || t->memory_mib <= o->memory_mib);
    assert_true(d->topology != LEVEL_ISLAND || !t->gpus || gpu_shape_island(&c->shapes[c->nodes[t->node].shape], t->gpus) >= 0);
    check_order(&c->shapes[c->nodes[t->node].shape], t);
}

/* Of the job's ring, and the smallest domain that holds it. */
static void check_span(const struct cluster *c, const struct offer *offers, const struct demand *d, const struct placement *p) {
    int64_t width = UINT32_MAX;
    bool one_rack = true, one_pod = true;
    for (int32_t i = 0; i < p->task_count; i++) {
        const struct task *t = &p->tasks[i];
        if (__builtin_popcount(t->gpus) > 1 && t->ring_gbs < width)
            width = t->ring_gbs;
        if (p->task_count > 1 && offers[t->node].nic_gbs < width)
            width = offers[t->node].nic_gbs;
        one_rack &= offers[t->node].rack == offers[p->tasks[0].node].rack;
        one_pod &= offers[t->node].pod == offers[p->tasks[0].node].pod;
    }
    const struct task *head = &p->tasks[0];
    bool island = head->gpus && gpu_shape_island(&c->shapes[c->nodes[head->node].shape], head->gpus) >= 0;
    enum topology_level level = p->task_count == 1 ? (island ? LEVEL_ISLAND : LEVEL_NODE) : one_rack ? LEVEL_RACK
                                : one_pod && offers[head->node].is_named ? LEVEL_POD : LEVEL_ANY;
    int depth = p->task_count == 1 ? 3 : one_rack ? 2 : one_pod;
    assert_int_equal(p->level, level);
    assert_true(depth >= depth_of(d->topology) && (d->topology != LEVEL_ISLAND || level == LEVEL_ISLAND || !d->gpus));
    for (; depth < 2; depth++)
        width /= SPINE_OVERSUBSCRIPTION;
    assert_int_equal(p->bottleneck_gbs, d->gpus > 1 ? width : 0);
}

static void check_is_real(const struct room *r, const struct offer *offers, const struct demand *d, const struct wanted *of,
                          const struct placement *p) {
    int gpus = 0, ranks = 0;
    uint32_t nodes = 0;
    assert_true(place_is_free(r, p));
    for (int32_t i = 0; i < p->task_count; i++) {
        assert_false(nodes >> p->tasks[i].node & 1);
        nodes |= 1u << p->tasks[i].node;
        check_task(r->c, offers, d, of, &p->tasks[i]);
        gpus += __builtin_popcount(p->tasks[i].gpus);
        ranks += p->tasks[i].ranks;
    }
    check_span(r->c, offers, d, p);
    assert_int_equal(gpus, d->gpus);
    assert_true(p->tasks[0].ranks >= 1);
    assert_true(ranks == d->ranks || (d->launcher == LAUNCHER_NONE && ranks > d->ranks));   /* a slot for its own mpirun */
}

/* ---- one against the other ---- */

/* Between more than two racks the policy may prefer few of them to wide ones; a pod has two at most here, where it has a name. */
static bool width_is_promised(const struct offer *offers, int32_t count, const struct placement *p) {
    uint32_t racks = 0;
    for (int32_t i = 0; i < count; i++)
        racks |= (uint32_t)offers[i].usable << offers[i].rack;
    return p->level != LEVEL_ANY || __builtin_popcount(racks) <= 2;
}

static void compare(struct room *r, const struct offer *offers, const struct demand *d, const struct wanted *of, struct placement *p,
                    bool found) {
    int nodes;
    enum topology_level within;
    struct best best = brute_force(r->c, offers, d, of, &nodes, &within);
    if (found)
        check_is_real(r, offers, d, of, p);
    if (!d->gpus && !d->nodes && !best.found)
        return;   /* ranks alone may be spread unevenly, too */
    assert_int_equal(found, best.found);
    if (!found || !d->gpus)
        return;
    assert_int_equal(p->task_count, nodes);
    if (p->level != LEVEL_ANY)
        assert_int_equal(depth_of(p->level), best.depth);
    if (d->gpus > 1 && width_is_promised(offers, r->c->node_count, p))
        assert_int_equal(p->bottleneck_gbs, best.width);
}

static void compare_ever(struct cluster *c, const struct demand *d, const struct wanted *of) {
    struct job_submission s = {.nodes = d->nodes, .gpus = d->gpus, .ranks = d->ranks, .cpus_per_rank = d->cpus_per_rank,
                               .memory_mib = d->memory_mib, .launcher = d->launcher, .topology = d->topology, .exclusive = d->exclusive,
                               .gpu_type = of->wish.gpu_type, .features = of->wish.features, .nodelist = of->nodelist,
                               .exclude = of->exclude};
    struct offer offers[NODES_MAX];
    struct error err;
    int nodes;
    for (int32_t i = 0; i < c->node_count; i++)
        offers[i] = offer_of(c, i, false);
    if (brute_force_within(c, offers, d, of, d->topology, &nodes).found && !strstr(of->wish.gpu_type, ","))
        assert_ok(policy_can_ever_fit(c, &s, 0, &err), &err);
    else if ((d->gpus || d->nodes) && !strstr(of->wish.gpu_type, ","))
        assert_int_equal(policy_can_ever_fit(c, &s, 0, &err), ERR_NEVER_FITS);
}

struct tally { int placed, exclusive, filtered, preferring; };

/* Adds the demands that found a place. */
static void compare_in(struct world *w, struct tally *t) {
    struct offer offers[NODES_MAX];
    struct room r;
    for (int32_t i = 0; i < w->c.node_count; i++)
        offers[i] = offer_of(&w->c, i, true);
    room_open(&r, &w->c, &w->arena);
    for (int k = 0; k < DEMANDS; k++) {
        struct wanted of;
        struct demand d = random_demand(&w->c, &of);
        struct placement p, again;
        bool found = place_gang(&r, &d, &p);
        t->placed += found;
        t->exclusive += found && d.exclusive && d.gpus;
        t->filtered += found && d.filter != ALL_NODES;
        t->preferring += found && d.prefer != LEVEL_ANY;
        compare(&r, offers, &d, &of, &p, found);
        assert_int_equal(place_gang(&r, &d, &again), found);   /* it left the room as it was */
        for (int32_t i = 0; found && i < p.task_count; i++)
            assert_memory_equal(&p.tasks[i], &again.tasks[i], sizeof p.tasks[i]);
        compare_ever(&w->c, &d, &of);
        node_filter_leave(&w->c, d.filter);
    }
}

static void placement_equals_brute_force(void **state) {
    (void)state;
    struct tally t = {0};
    for (int i = 0; i < worlds(); i++) {
        struct world w;
        seed = 2 * (uint64_t)i + 1;
        random_world(&w);
        compare_in(&w, &t);
        world_release(&w);
    }
    assert_true(t.placed > worlds() * DEMANDS / 8 && t.placed < worlds() * DEMANDS * 4 / 5);   /* both answers are tried */
    assert_true(t.exclusive > worlds() / 20 && t.filtered > worlds() / 20 && t.preferring > worlds() / 20);
}

/* Shares that don't divide: the head has the most, every node can hold its own, nothing is lost; and if no order of nodes can hold
 * them, there is no place. */
static void uneven_gangs_are_whole(void **state) {
    (void)state;
    for (int i = 0; i < worlds(); i++) {
        struct offer offers[NODES_MAX];
        struct world w;
        struct room r;
        int nodes;
        seed = 2 * (uint64_t)i + 1;
        random_world(&w);
        room_open(&r, &w.c, &w.arena);
        for (int32_t n = 0; n < w.c.node_count; n++)
            offers[n] = offer_of(&w.c, n, true);
        struct demand d = {.gpus = 2 + draw(9), .nodes = 1 + draw(3), .ranks = 1 + draw(9), .cpus_per_rank = 1,
                           .launcher = LAUNCHER_MPIRUN};
        struct wanted of = {.wish = {"", "", "", ""}};
        struct placement p;
        enum topology_level within;
        bool found = d.gpus >= d.nodes && place_gang(&r, &d, &p);
        if (d.gpus >= d.nodes)
            assert_int_equal(found, brute_force(&w.c, offers, &d, &of, &nodes, &within).found);
        if (found)
            check_is_real(&r, offers, &d, &of, &p);
        for (int32_t k = 1; found && k < p.task_count; k++)
            assert_true(__builtin_popcount(p.tasks[k].gpus) <= __builtin_popcount(p.tasks[0].gpus) &&
                        p.tasks[k].ranks <= p.tasks[0].ranks);
        world_release(&w);
    }
}

static void small_jobs_fill_broken_islands(void **state) {
    (void)state;
    struct gpu_shape s = {.count = 8};
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            s.link_gbs[i][j] = i == j ? 0 : i / 4 == j / 4 ? 32 : 16;
    gpu_shape_compute(&s);
    assert_int_equal(place_best_gpus(&s, 0xff, 2, false), 0x03);
    assert_int_equal(place_best_gpus(&s, 0xfc, 2, false), 0x0c);   /* leaves the other island whole */
    assert_int_equal(place_best_gpus(&s, 0xf8, 1, false), 0x08);
    assert_int_equal(place_best_gpus(&s, 0x88, 2, true), 0);
    assert_int_equal(place_best_gpus(&s, 0x88, 2, false), 0x88);
    gpu_shape_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placement_equals_brute_force),
        cmocka_unit_test(uneven_gangs_are_whole),
        cmocka_unit_test(small_jobs_fill_broken_islands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
