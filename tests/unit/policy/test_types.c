/* Guarantees and shares of a type of GPU: a queue that is guaranteed 8 H100s gets H100s, from whoever holds them on no such guarantee, and
 * who stands on his own gives none up; in one world, and as a property of random ones. TYPE_WORLDS=100000 tries more than the floor. */
#include <stdlib.h>

#include "scheduler/cluster/index.h"
#include "scheduler/policy/share.h"
#include "scheduler/policy/standing.h"
#include "tests/unit/cluster/world.h"

enum { WORLDS = 300, ROUNDS = 12, QUEUES = 5, ROUND_MS = 11 * 60 * 1000 };

static const char *const names[QUEUES] = {"a", "b", "c", "d", "e"};
static const char *const types[] = {"H100", "A100"};

static void set_guarantee(struct world *w, const char *queue, int64_t guarantee, const char *type, int64_t of_type) {
    struct event e = event_of(EVENT_QUOTA_SET);
    struct queue_spec spec;
    queue_spec_init(&spec, queue);
    spec.set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
    spec.guarantee = guarantee;
    if (type)
        *queue_spec_typed(&spec, type, &w->arena) =
            (struct queue_typed){.gpu_type = type, .set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE), .guarantee = of_type};
    e.queues = (struct rows){1, &spec};
    assert_ok(world_apply(w, &e), &w->err);
}

static int64_t submit(struct world *w, const char *queue, int gpus, const char *type) {
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    e.job = w->c.next_job;
    e.queue = queue;
    e.submission = (struct job_submission){.gpus = gpus, .gpu_type = type};
    assert_ok(world_apply(w, &e), &w->err);
    return e.job;
}

static void nodes(struct world *w, int of_each) {
    for (size_t t = 0; t < 2; t++)
        for (int i = 0; i < of_each; i++) {
            char name[32];
            snprintf(name, sizeof name, "%s-%d", types[t], i);
            assert_ok(world_node_of(w, types[t], name, "rack0", 4, 4, "b"), &w->err);
        }
}

/* What is ordered starts, who is asked to leave does. Returns how many left. */
static int obey(struct world *w) {
    int left = 0;
    for (int32_t i = w->c.index.live.count - 1; i >= 0; i--) {
        const struct job *j = w->c.index.live.items[i];
        const char *node = w->c.nodes[j->placement.tasks[0].node].name;
        assert_int_equal(j->placement.task_count, 1);
        if (j->state == JOB_STARTING)
            world_started(w, j->id, node);
        else if (j->state == JOB_STOPPING)
            left += !world_exited(w, j->id, node, EXIT_YIELDED, 0);
    }
    return left;
}

static int64_t used(const struct world *w, const char *queue, const char *type) {
    return w->c.queues[cluster_queue(&w->c, queue)].used_by_type[cluster_gpu_type(&w->c, type)];
}

/* ---- one world ---- */

static void a_guarantee_of_a_type_is_given_back_in_that_type(void **state) {
    struct world w;
    (void)state;
    world_init(&w);
    nodes(&w, 2);
    set_guarantee(&w, "a", 8, "H100", 8);
    set_guarantee(&w, "b", 8, "A100", 8);
    int64_t borrowers[4];
    for (int i = 0; i < 4; i++)
        borrowers[i] = submit(&w, "b", 4, i < 2 ? "h100" : "a100");
    world_decide(&w);
    obey(&w);
    assert_int_equal(used(&w, "b", "H100"), 8);
    int64_t owner = submit(&w, "a", 8, "");
    policy_decide(&w.c, w.now_ms, &w.arena, &w.plan);
    int stopped = 0;
    for (size_t i = 0; i < w.plan.count; i++) {
        const struct event *e = &w.plan.decisions[i];
        assert_ok(world_apply(&w, e), &w.err);
        if (e->type != EVENT_JOB_STOP)
            continue;
        assert_true(e->job == borrowers[0] || e->job == borrowers[1]);
        assert_string_equal(e->rule, "reclaim");
        assert_string_equal(e->gpu_type, "H100");
        assert_non_null(strstr(e->text, "8 H100"));
        stopped++;
    }
    assert_int_equal(stopped, 2);
    obey(&w);
    world_decide(&w);
    assert_state(&w, owner, STARTING);
    assert_int_equal(used(&w, "a", "H100"), 8);
    assert_int_equal(used(&w, "b", "A100"), 8);
    world_release(&w);
}

static void with_eight_guaranteed(struct world *w) {
    world_init(w);
    nodes(w, 2);
    set_guarantee(w, "a", 8, "H100", 8);
}

static void what_a_family_shares_of_a_type_is_first_for_those_who_can_use_nothing_else(void **state) {
    struct world w;
    struct shares s;
    (void)state;
    with_eight_guaranteed(&w);
    set_guarantee(&w, "a/any", 0, NULL, 0);
    set_guarantee(&w, "a/only", 0, NULL, 0);
    int32_t any = cluster_queue(&w.c, "a/any"), only = cluster_queue(&w.c, "a/only"), h100 = cluster_gpu_type(&w.c, "H100");
    submit(&w, "a/any", 8, "");
    shares_open(&s, &w.c, &w.arena);
    assert_int_equal(s.of[h100].guaranteed[any], 8);
    submit(&w, "a/only", 6, "h100");
    shares_open(&s, &w.c, &w.arena);
    assert_int_equal(s.of[h100].guaranteed[only], 6);
    assert_int_equal(s.of[h100].guaranteed[any], 2);
    assert_int_equal(s.of[h100].partition[any], 2);
    assert_int_equal(s.of[0].guaranteed[any], 0);   /* nothing is guaranteed to them beyond the type */
    world_release(&w);
}

static void the_partition_of_a_type_is_that_of_all_that_is_guaranteed(void **state) {
    struct world w;
    struct shares s;
    (void)state;
    with_eight_guaranteed(&w);
    int32_t a = cluster_queue(&w.c, "a"), h100 = cluster_gpu_type(&w.c, "H100");
    submit(&w, "a", 3, "h100");
    shares_open(&s, &w.c, &w.arena);
    assert_int_equal(s.of[h100].guaranteed[a], 3);
    assert_int_equal(s.of[h100].partition[a], 8);
    assert_int_equal(s.of[0].partition[a], 0);
    world_release(&w);
}

/* ---- random ones ---- */

static uint64_t seed;

static int draw(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (unsigned)n);
}

/* Guarantees of two types and of any; what is refused stays as it was. */
static void draw_guarantees(struct world *w) {
    for (int q = 0; q < QUEUES; q++) {
        struct event e = event_of(EVENT_QUOTA_SET);
        struct queue_spec spec;
        int64_t sum = 0;
        set_guarantee(w, names[q], 0, NULL, 0);
        queue_spec_init(&spec, names[q]);
        for (int t = 0; t < 2; t++) {
            struct queue_typed *of = queue_spec_typed(&spec, types[t], &w->arena);
            of->set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE) | (draw(4) ? 0 : QUEUE_BIT(QUEUE_SETTING_WEIGHT));
            of->weight = 1 + draw(3);
            sum += of->guarantee = draw(3) ? 0 : draw(5);
        }
        spec.set = QUEUE_BIT(QUEUE_SETTING_GUARANTEE);
        spec.guarantee = sum + (draw(2) ? 0 : draw(4));
        e.queues = (struct rows){1, &spec};
        world_apply(w, &e);
    }
}

/* The shares that give rights: no decision changes them. */
static void assert_same_shares(const struct shares *a, const struct shares *b, int32_t queues) {
    assert_int_equal(a->types, b->types);
    for (int t = 0; t < GPU_TYPES_MAX; t++)
        if (!t || a->types >> t & 1)
            for (int32_t q = 0; q < queues; q++) {
                assert_int_equal(a->of[t].demand[q], b->of[t].demand[q]);
                assert_int_equal(a->of[t].guaranteed[q], b->of[t].guaranteed[q]);
                assert_int_equal(a->of[t].partition[q], b->of[t].partition[q]);
                assert_int_equal(a->of[t].entitled[q], b->of[t].entitled[q]);
            }
}

/* Nobody whose job would stand on a guarantee of its type waits for it; nor for one of any type, who can use any. */
static void assert_nobody_is_owed(struct world *w) {
    struct shares s;
    struct standings at;
    index_refresh(&w->c);
    shares_open(&s, &w->c, &w->arena);
    standings_open(&at, &w->c, &s, w->now_ms, &w->arena);
    for (int32_t i = 0; i < w->c.job_count; i++) {
        const struct job *j = w->c.jobs[i];
        struct demand d = job_demand(&w->c, j);
        enum band band = standing_of(&at, &d).band;
        if (j->listed != LISTED_READY || cluster_reservation(&w->c, j->id))
            continue;
        if (band == BAND_OF_TYPE || (band == BAND_GUARANTEED && j->filter == ALL_NODES))
            fail_msg("seed %llu: job %lld of queue %s waits for what is guaranteed to it", (unsigned long long)seed, (long long)j->id,
                     w->c.queues[j->queue].name);
    }
}

static int one_world(struct world *w) {
    struct shares before, after;
    struct arena arena = {0};
    int evicted = 0;
    for (int i = 30 + draw(30); i > 0; i--)
        submit(w, names[draw(QUEUES)], 1, draw(3) ? (draw(2) ? "h100" : "a100") : "");
    shares_open(&before, &w->c, &arena);
    for (int round = 0; round < ROUNDS; round++) {
        world_decide(w);
        for (int step = 0, left; (left = obey(w)); step++) {
            evicted += left;
            assert_true(step < w->c.job_count);
            world_decide(w);
        }
        assert_nobody_is_owed(w);
        shares_open(&after, &w->c, &arena);
        assert_same_shares(&before, &after, w->c.queue_count);
        w->now_ms += ROUND_MS;
    }
    arena_release(&arena);
    return evicted;
}

static void nobody_waits_for_what_is_guaranteed_to_him_of_a_type(void **state) {
    int64_t worlds = getenv("TYPE_WORLDS") ? atoll(getenv("TYPE_WORLDS")) : WORLDS;
    long evicted = 0;
    (void)state;
    for (int64_t i = 0; i < worlds; i++) {
        struct world w;
        seed = (uint64_t)i + 1;
        world_init(&w);
        nodes(&w, 1 + draw(3));
        for (int q = draw(QUEUES); q > 0; q--)
            submit(&w, "default", 1, draw(2) ? "" : "h100");
        draw_guarantees(&w);
        evicted += one_world(&w);
        world_release(&w);
    }
    print_message("%lld worlds, %ld evictions\n", (long long)worlds, evicted);
    assert_true(evicted > worlds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guarantee_of_a_type_is_given_back_in_that_type),
        cmocka_unit_test(what_a_family_shares_of_a_type_is_first_for_those_who_can_use_nothing_else),
        cmocka_unit_test(the_partition_of_a_type_is_that_of_all_that_is_guaranteed),
        cmocka_unit_test(nobody_waits_for_what_is_guaranteed_to_him_of_a_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
