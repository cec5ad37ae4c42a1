/* The price of a plan: the work that its victims lose (job_price, summed).
 *
 * Small worlds, against brute force. Of all sets of those whom the waiting job may make leave, the cheapest that makes room and is right:
 * each by right as the job stands when all have gone, those of its own queue as it stands now, within the measure (each by itself as the
 * job stands now, too), no limit exceeded, and placed by place_gang. Those on a guarantee, and queues' first jobs, count more than any
 * price (P3). Like is compared with like: what can be spared, moves and repacking are rules that come before or after evictions, not
 * prices; a set that needs no packing comes before one that does; and a plan clears as few nodes as hold the gang, filled before evenly.
 * Expected:
 *   - a plan exactly where there is such a set, and no moves where evictions do. But for a job over its queue's limit, which takes nothing
 *     from others; and for one in two hundred, where what is cheapest is beyond the measure and only a set with somebody on a guarantee,
 *     of the job's own queue, is not;
 *   - exactly the cheapest.
 * Of five hundred one may miss that: where the cheapest set that makes room is not right, the others are not all tried.
 *
 * Large worlds, against a lower bound (price_bound.h), which on small ones is never above the best set. Where nobody spans nodes a plan
 * costs just that; where half of the jobs do, all plans together cost at most 1.03 times their bounds, and none more than 1.25 times.
 *
 * PRICE_WORLDS=N and PRICE_LARGE=N try more worlds of each kind than the floor of `make test`; PRICE_SHOW=1 prints what is dearer. */
#include <math.h>

#include "scheduler/cluster/index.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/plan.h"
#include "scheduler/policy/price_bound.h"
#include "scheduler/policy/right.h"
#include "tests/unit/cluster/world.h"

#ifdef __SANITIZE_ADDRESS__
enum { WORLDS = 700, LARGE_WORLDS = 60 };
#else
enum { WORLDS = 4000, LARGE_WORLDS = 240 };
#endif
enum { SMALL = 4, RUNNERS_MAX = 10, NODES_MAX = 400, SPAN_MAX = 6, QUEUES = 4, MINUTE_MS = 60000, LARGE_SIZE = 8 };

static const char *const queues[QUEUES] = {"a", "a/x", "b", "c"};
static const int64_t COUNTS_LAST = INT64_C(1) << 40;   /* more than any price here */

static uint64_t seed;

static int draw(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

static int count_of(const char *name, int floor) {
    const char *text = getenv(name);
    return text ? atoi(text) : floor;
}

static int worlds(void) { return count_of("PRICE_WORLDS", WORLDS); }
static int large_worlds(void) { return count_of("PRICE_LARGE", LARGE_WORLDS); }

/* What may be drawn beside jobs on one node each: it makes the search harder in a way of its own. */
struct kind { const char *name; bool wide, cpus, islands, limits, rest; };

/* ---- a world ---- */

/* Large ones are not checked after each event. */
static int apply(struct world *w, const struct event *e) {
    if (w->c.node_count <= SMALL)
        return world_apply(w, e);
    w->c.turn++;
    return cluster_apply(&w->c, e, w->now_ms, &w->err);
}

static void add_nodes(struct world *w, int count, int size, int island) {
    for (int i = 0; i < count; i++) {
        struct gpu_inventory gpus[16];
        int64_t links[16][16];
        char name[16], rack[16];
        struct event e = event_of(EVENT_NODE_UP);
        snprintf(name, sizeof name, "node%d", i);
        snprintf(rack, sizeof rack, "rack%d", count <= SMALL ? i / 2 : i / 16);
        gpus_fill(gpus, links, size, island, 450, 50);
        e.node = e.inventory.name = name;
        e.boot_id = "b";
        e.inventory.rack = rack;
        e.inventory.cpus = 64;
        e.inventory.nic_gbs = 25;
        e.inventory.gpus = (struct rows){(size_t)size, gpus};
        assert_ok(apply(w, &e), &w->err);
    }
}

static void random_quotas(struct world *w, const struct kind *k) {
    int64_t left = cluster_gpu_count(&w->c);
    for (int q = 0; q < QUEUES; q++) {
        struct event e = event_of(EVENT_QUOTA_SET);
        e.queue = queues[q];
        e.guarantee = q == 1 ? (w->c.queues[cluster_queue(&w->c, "a")].guarantee + 1) / 2 : draw((int)left + 1);
        e.limit = k->limits && draw(2) ? e.guarantee + draw(6) : NO_LIMIT;
        assert_ok(apply(w, &e), &w->err);
        left -= q == 1 ? 0 : e.guarantee;
    }
}

static int64_t submit(struct world *w, const struct job_submission *s) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    e.job = w->c.next_job;
    e.queue = queues[draw(QUEUES)];
    e.submission = *s;
    return apply(w, &e) ? 0 : e.job;
}

/* Some of what is free on some nodes. Returns how many GPUs. */
static int random_tasks(const struct cluster *c, int most, int cpus, struct event_task tasks[], int64_t order[][16], int *count) {
    int gpus = 0, first = draw(c->node_count);
    *count = 0;
    for (int i = 0; i < c->node_count && i < 2 * SPAN_MAX && *count < most; i++) {
        const struct node *n = &c->nodes[(first + i) % c->node_count];
        int size = c->shapes[n->shape].count, want = 1 + draw(size);
        struct event_task *t = &tasks[*count];
        *t = (struct event_task){.node = n->name, .ranks = 1, .cpus = cpus, .gpu_order = {0, order[*count]}};
        for (int g = 0; g < size && t->gpu_order.count < (size_t)want; g++)
            if (!(n->gpus_used >> g & 1)) {
                t->gpus |= 1 << g;
                order[*count][t->gpu_order.count++] = g;
            }
        if (t->gpus && n->cpus - n->cpus_used >= cpus) {
            gpus += (int)t->gpu_order.count;
            ++*count;
        }
    }
    return gpus;
}

static void random_runner(struct world *w, const struct kind *k) {
    struct event_task tasks[SPAN_MAX];
    int64_t order[SPAN_MAX][16];
    struct event e = event_of(EVENT_JOB_START);
    int cpus = k->cpus ? 1 + draw(30) : 1, most = k->wide && draw(2) ? 1 + draw(w->c.node_count > SMALL ? SPAN_MAX : 3) : 1, count;
    int gpus = random_tasks(&w->c, most, cpus, tasks, order, &count);
    struct job_submission s = {.gpus = gpus, .cpus_per_rank = cpus, .not_preemptible = !draw(10)};
    if (!count || !(e.job = submit(w, &s)))
        return;
    e.placement.tasks = (struct rows){(size_t)count, tasks};
    if (apply(w, &e))
        return;   /* it would be beyond a limit */
    for (int i = 0, all = draw(20); i < count && all; i++) {   /* few are still starting */
        struct event started = task_event(w, EVENT_TASK_STARTED, e.job, tasks[i].node);
        assert_ok(apply(w, &started), &w->err);
    }
}

static void random_saves(struct world *w) {
    for (int32_t i = 0; i < w->c.job_count; i++) {
        const struct job *j = w->c.jobs[i];
        if (j->state != JOB_RUNNING || !draw(2))
            continue;
        struct event e = task_event(w, EVENT_CHECKPOINTED, j->id, w->c.nodes[j->placement.tasks[0].node].name);
        e.step = 1;
        assert_ok(apply(w, &e), &w->err);
        w->now_ms += w->c.node_count > SMALL ? draw(2000) : draw(4) * MINUTE_MS;
    }
}

/* Returns the waiting job; 0: it was refused. */
static int64_t small_world(struct world *w, const struct kind *k) {
    int size = 2 << draw(2), before = draw(RUNNERS_MAX);
    world_init(w);
    add_nodes(w, 1 + draw(SMALL), size, k->islands ? 2 : size);
    random_quotas(w, k);
    for (int i = 0; i < before; i++, w->now_ms += draw(40) * MINUTE_MS)
        random_runner(w, k);
    int nodes = draw(2) ? 1 + draw(w->c.node_count) : 0;
    struct job_submission s = {.nodes = nodes, .gpus = nodes ? nodes * (1 + draw(size)) : 1 + draw(2 * size),
                               .cpus_per_rank = k->cpus ? 1 + draw(12) : 1,
                               .topology = k->islands ? LEVEL_ISLAND : draw(3) ? LEVEL_ANY : draw(2) ? LEVEL_RACK : LEVEL_NODE};
    s.ranks = draw(2) ? s.gpus : 0;   /* else it is the head's alone, and that node is a group of its own */
    int64_t id = submit(w, &s);
    for (int i = before; i < RUNNERS_MAX; i++, w->now_ms += draw(40) * MINUTE_MS)
        random_runner(w, k);
    random_saves(w);
    w->now_ms += draw(draw(2) ? 90 : 5) * MINUTE_MS;
    return id;
}

static int64_t large_world(struct world *w, const struct kind *k) {
    world_init(w);
    add_nodes(w, 100 + draw(NODES_MAX - 100), LARGE_SIZE, 4);
    random_quotas(w, k);
    for (int i = 0; i < 4 * w->c.node_count; i++, w->now_ms += draw(20000))
        random_runner(w, k);
    random_saves(w);
    w->now_ms += (30 + draw(90)) * MINUTE_MS;
    int nodes = 1 + draw(32);
    struct job_submission even = {.nodes = nodes, .gpus = nodes * (1 + draw(LARGE_SIZE)), .cpus_per_rank = 1};
    struct job_submission filled = {.gpus = nodes * LARGE_SIZE + 1 + draw(LARGE_SIZE - 1), .cpus_per_rank = 1, .compact = true};
    even.ranks = draw(2) ? even.gpus : 0;
    return submit(w, k->rest ? &filled : &even);
}

/* ---- every set of victims ---- */

struct brute {
    struct pass p;
    struct taker taker;
    struct demand d;
    struct split split;         /* as the gang would be split first: on as few nodes as hold it */
    bool other_split;           /* or evenly on as many */
    uint32_t candidates;        /* bit i: the i-th runner may be looked at */
    int64_t best;               /* INT64_MAX: no set will do */
    uint32_t best_set;
};

static void brute_open(struct brute *b, struct world *w, int64_t id) {
    const struct job *j = cluster_job(&w->c, id);
    index_refresh(&w->c);
    *b = (struct brute){.p = {.c = &w->c, .now_ms = w->now_ms, .arena = &w->arena}, .d = job_demand(&w->c, j)};
    room_open(&b->p.room, &w->c, &w->arena);
    shares_open(&b->p.shares, &w->c, &w->arena);
    standings_open(&b->p.standings, &w->c, &b->p.shares, w->now_ms, &w->arena);
    b->taker = right_taker(&b->p.standings, j, &b->d, w->now_ms);
    b->split = place_split(&b->p.room, &b->d);
}

static struct runner *runner(const struct brute *b, int i) { return &b->p.standings.runners[i]; }

static int64_t price_of(const struct brute *b, uint32_t set) {
    int64_t price = 0;
    for (int i = 0; i < b->p.standings.count; i++)
        if (set >> i & 1)
            price += job_price(runner(b, i)->job, b->p.now_ms) + (runner_leaves_last(runner(b, i)) ? COUNTS_LAST : 0);
    return price;
}

/* How the job stands when they have gone. */
static struct standing standing_without(struct brute *b, uint32_t set) {
    struct standing after;
    for (int on = 1; on >= 0; on--) {
        for (int i = 0; i < b->p.standings.count; i++)
            if (set >> i & 1)
                runner(b, i)->going = on;
        if (on)
            for (int32_t q = 0; q < b->p.c->queue_count; q++)
                standings_update(&b->p.standings, q);
        after = on ? standing_of(&b->p.standings, &b->d) : after;
    }
    return after;
}

/* All of them by right, as the job then stands against other queues, and within the measure. */
static bool is_right(struct brute *b, uint32_t set) {
    struct taker then = b->taker;
    int64_t measured = 0, packed = 0;
    enum band bands[32];
    for (int i = 0; i < b->p.standings.count; i++)
        bands[i] = runner(b, i)->standing.band;
    then.standing = standing_without(b, set);
    for (int i = 0; i < b->p.standings.count; i++)
        runner(b, i)->standing.band = bands[i];   /* that of the victims is as it was, before anybody left */
    bool right = true;
    for (int i = 0; i < b->p.standings.count; i++) {
        const struct runner *k = runner(b, i);
        if (!(set >> i & 1))
            continue;
        enum right by = right_over(k->queue == b->d.queue ? &b->taker : &then, k);
        right = right && by != RIGHT_NONE && by != RIGHT_SPARE;
        measured += right_is_measured(&then, by) ? k->gpus : 0;
        packed += by == RIGHT_PACK ? k->gpus : 0;
    }
    for (int32_t q = 0; q < b->p.c->queue_count; q++)
        standings_update(&b->p.standings, q);
    return right && measured <= right_measure(&b->taker, b->p.shares.of[0].node_size) && packed <= right_pack_measure(&then);
}

/* anyhow: on any number of nodes. */
static bool makes_room(struct brute *b, uint32_t set, bool anyhow) {
    struct placement where;
    size_t mark = room_mark(&b->p.room);
    for (int i = 0; i < b->p.standings.count; i++)
        if (set >> i & 1)
            room_give(&b->p.room, runner(b, i)->job);
    bool found = share_admits(&b->p.room, b->d.queue, b->d.gpus, b->d.preemptible) && place_gang(&b->p.room, &b->d, &where) &&
                 (anyhow || (where.task_count == b->split.nodes &&
                             (b->other_split || __builtin_popcount(where.tasks[0].gpus) == b->split.need[0].gpus)));
    room_rollback(&b->p.room, mark);
    return found;
}

/* The cheapest set; with packing, also of those that may only be taken for its sake. */
static void brute_force(struct brute *b, bool packing, bool other_split) {
    b->other_split = other_split;
    b->candidates = 0;
    b->best = INT64_MAX;
    for (int i = 0; i < b->p.standings.count; i++) {
        enum right by = right_over(&b->taker, runner(b, i));
        bool within = !right_is_measured(&b->taker, by) || runner(b, i)->gpus <= right_measure(&b->taker, b->p.shares.of[0].node_size);
        if (by != RIGHT_NONE && by != RIGHT_SPARE && (packing || by != RIGHT_PACK) && within)
            b->candidates |= 1u << i;
    }
    for (uint32_t set = b->candidates;; set = (set - 1) & b->candidates) {
        int64_t price = price_of(b, set);
        if (price < b->best && makes_room(b, set, false) && is_right(b, set)) {
            b->best = price;
            b->best_set = set;
        }
        if (!set)
            return;
    }
}

/* ---- the plan ---- */

struct found { bool plan, others, moves, starts; uint32_t set; int64_t price; int victims; };

static struct found decide(struct world *w, int64_t id) {
    struct found f = {0};
    policy_decide(&w->c, w->now_ms, &w->arena, &w->plan);
    for (size_t n = 0; n < w->plan.count; n++) {
        const struct event *e = &w->plan.decisions[n];
        f.starts |= e->type == EVENT_JOB_START;
        f.plan |= e->type == EVENT_RESERVE && e->job == id && e->kind == KEPT_BY_PLAN;
        f.others |= e->type == EVENT_RESERVE && e->job != id && e->kind == KEPT_BY_PLAN;
        if (e->type != EVENT_JOB_STOP)
            continue;
        f.moves |= e->cause == STOP_MOVED;
        f.price += job_price(cluster_job(&w->c, e->job), w->now_ms);
        f.victims++;
    }
    return f;
}

/* Its victims, as bits. */
static uint32_t set_of(const struct world *w, const struct brute *b) {
    uint32_t set = 0;
    for (size_t n = 0; n < w->plan.count; n++)
        for (int i = 0; i < b->p.standings.count && w->plan.decisions[n].type == EVENT_JOB_STOP; i++)
            set |= (uint32_t)(runner(b, i)->job->id == w->plan.decisions[n].job) << i;
    return set;
}

/* ---- the bound ---- */

/* Of all that it may make leave; and what would be bound enough. */
static double lower_bound(struct brute *b, const struct split *split, double enough) {
    bool *may_leave = arena_array(b->p.arena, (size_t)b->p.standings.count, sizeof *may_leave);
    int32_t nodes_of[ROOM_GPUS_MAX + 1] = {0};
    for (int32_t i = 0; i < b->p.standings.count; i++) {
        enum right by = right_over(&b->taker, runner(b, i));
        may_leave[i] = by != RIGHT_NONE && by != RIGHT_SPARE;
    }
    for (int g = 0; g < split->groups; g++)
        nodes_of[split->need[g].gpus] += split->need[g].count;
    standings_link_nodes(&b->p.standings, b->p.c->node_count, b->p.arena);
    return price_bound(&(struct bound_question){&b->p.standings, &b->p.room, may_leave, nodes_of, enough, b->p.arena});
}

/* ---- one against the other ---- */

struct tally { int64_t plans, none, dearer, last, missed, by_right[RIGHT_PACK + 1]; double worst, price, best; };

static void show_set(const struct brute *b, const char *what, uint32_t set) {
    print_message("  %s:", what);
    for (int i = 0; i < b->p.standings.count; i++)
        if (set >> i & 1)
            print_message(" job %lld (%s, %d GPUs, %lld GPU-s, %s)", (long long)runner(b, i)->job->id,
                          b->p.c->queues[runner(b, i)->queue].name, runner(b, i)->gpus, (long long)runner(b, i)->price / 1000,
                          right_name(right_over(&b->taker, runner(b, i))));
    print_message("\n");
}

static void show(const struct brute *b, const char *what, uint32_t planned) {
    print_message("%s: a job of %s, %d GPUs, %d nodes, topology %d\n", what, b->p.c->queues[b->d.queue].name, b->d.gpus, b->d.nodes,
                  b->d.topology);
    show_set(b, "planned", planned);
    show_set(b, "best", b->best != INT64_MAX ? b->best_set : 0);
}

static void count_rights(struct tally *t, const struct brute *b, uint32_t set) {
    for (int i = 0; i < b->p.standings.count; i++)
        if (set >> i & 1)
            t->by_right[right_over(&b->taker, runner(b, i))]++;
}

/* It is not above the best set there is. */
static void assert_bound(struct brute *b) {
    struct split split = b->split;
    if (b->other_split)
        place_split_otherwise(&b->d, &split);
    if (b->best < COUNTS_LAST)
        assert_true(lower_bound(b, &split, INFINITY) <= (double)b->best * (1 + 1e-9));
}

static void compare_price(struct tally *t, struct brute *b, const struct found *f) {
    int64_t price = price_of(b, f->set);
    double ratio = (double)(price + 1) / (double)(b->best + 1);
    assert_true(price >= b->best);   /* else it is not right */
    t->plans++;
    t->price += (double)(price % COUNTS_LAST);
    t->best += (double)(b->best % COUNTS_LAST);
    t->dearer += price > b->best;
    t->worst = ratio > t->worst ? ratio : t->worst;
    count_rights(t, b, f->set);
    assert_bound(b);
    if (price > b->best && getenv("PRICE_SHOW"))
        show(b, "dearer", f->set);
}

static void compare(struct tally *t, struct world *w, int64_t id) {
    struct brute b;
    brute_open(&b, w, id);
    if (makes_room(&b, 0, true))
        return;   /* it just starts */
    b.best = INT64_MAX;
    for (int way = 0; way < 4 && b.best == INT64_MAX; way++)
        brute_force(&b, way / 2, way % 2);
    struct found f = decide(w, id);
    f.set = set_of(w, &b);
    if (f.starts || f.others)
        return;   /* on more nodes; beside plans for those who were submitted before it */
    if (!f.plan && b.best != INT64_MAX && b.best >= COUNTS_LAST) {
        t->last++;
        return;
    }
    if (!f.plan && b.best != INT64_MAX) {
        t->missed++;
        show(&b, "missed", f.set);
        return;
    }
    if (f.plan && b.best == INT64_MAX && !f.moves)
        show(&b, "no set is right", f.set);
    assert_true(!f.plan || f.moves == (b.best == INT64_MAX));
    t->none += !f.plan;
    if (f.plan && !f.moves)
        compare_price(t, &b, &f);
}

static struct tally compare_worlds(const struct kind *k) {
    struct tally t = {.worst = 1};
    for (int i = 0; i < worlds(); i++) {
        struct world w;
        seed = 2 * (uint64_t)i + 1;
        int64_t id = small_world(&w, k);
        if (id)
            compare(&t, &w, id);
        world_release(&w);
    }
    print_message("%-8s %lld plans, %lld dearer than the best (at worst %.2f times; all together %.4f); %lld times none\n", k->name,
                  (long long)t.plans, (long long)t.dearer, t.worst, t.price / t.best, (long long)t.none);
    assert_true(t.last <= t.plans / 200 && t.missed + t.dearer <= t.plans / 500);
    return t;
}

static void a_plan_is_the_cheapest(void **state) {
    static const struct kind kinds[] = {{"plain"}, {"islands", .islands = true}, {"limits", .limits = true}, {"wide", .wide = true},
                                        {"cpus", .cpus = true}};
    struct tally all = {0};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct tally t = compare_worlds(&kinds[i]);
        assert_true(t.plans > worlds() / 20 && t.none > worlds() / 20);
        for (int r = 0; r <= RIGHT_PACK; r++)
            all.by_right[r] += t.by_right[r];
    }
    assert_true(all.by_right[RIGHT_RECLAIM] && all.by_right[RIGHT_SHARE] && all.by_right[RIGHT_ROTATE]);
}

static void a_plan_is_the_cheapest_of_all_that_binds(void **state) {
    (void)state;
    struct tally t = compare_worlds(&(struct kind){"all", true, true, false, true});
    assert_true(t.plans > worlds() / 20);
}

/* ---- large worlds ---- */

struct sums { int plans, victims; double price, bound, worst; };

static struct sums compare_large(const struct kind *k) {
    struct sums t = {.worst = 1};
    for (int i = 0; i < large_worlds(); i++) {
        struct world w;
        struct brute b;
        seed = 2 * (uint64_t)i + 1;
        int64_t id = large_world(&w, k);
        assert_true(id > 0);
        brute_open(&b, &w, id);
        struct found f = decide(&w, id);
        if (f.plan && !f.moves) {
            double price = (double)f.price, least = lower_bound(&b, &b.split, price);
            assert_true(price >= least * (1 - 1e-9));
            t.plans++;
            t.victims += f.victims;
            t.price += price;
            t.bound += least;
            t.worst = price > t.worst * least ? price / least : t.worst;
        }
        world_release(&w);
    }
    print_message("%-8s %d plans with %d victims: all together %.4f times the bound, at worst %.2f times\n", k->name, t.plans, t.victims,
                  t.price / t.bound, t.worst);
    return t;
}

static void large_plans_are_near_a_lower_bound(void **state) {
    static const struct kind narrow = {"large"}, rest = {"rest", .rest = true}, wide = {"wide", .wide = true};
    (void)state;
    struct sums t = compare_large(&narrow), r = compare_large(&rest), u = compare_large(&wide);
    assert_true(t.plans > large_worlds() / 6 && t.price <= 1.0001 * t.bound);
    assert_true(r.plans > large_worlds() / 6 && r.price <= 1.0001 * r.bound);
    assert_true(u.plans > large_worlds() / 6 && u.price <= 1.03 * u.bound && u.worst <= 1.25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_the_cheapest),
        cmocka_unit_test(a_plan_is_the_cheapest_of_all_that_binds),
        cmocka_unit_test(large_plans_are_near_a_lower_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
