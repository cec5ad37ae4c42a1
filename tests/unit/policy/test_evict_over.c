/* Who leaves a queue that an admin puts below what it uses: against what must be true of any choice, on random clusters. */
#include "common/job_spec.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/evict_over.h"
#include "tests/unit/cluster/world.h"

enum { WORLDS = 2000, NODES = 4, JOBS = 10 };

static uint64_t seed;

static int draw(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

static void fill(struct world *w) {
    char name[16];
    world_init(w);
    for (int n = 0; n < NODES; n++) {
        snprintf(name, sizeof name, "node%d", n);
        world_node(w, name, "rack0", 8, 4, "b");
    }
    assert_int_equal(world_quota(w, "ml", 0, NO_LIMIT, false), 0);
    for (int i = 0; i < JOBS; i++) {
        int most = 1 << draw(4);
        world_submit(w, (struct ask){.queue = "ml", .gpus = most, .gpus_min = draw(2) ? (most + 3) / 4 : 0, .grace_ms = 1000});
    }
    world_decide(w);
    for (int32_t i = 0; i < w->c.job_count; i++) {
        const struct job *j = w->c.jobs[i];
        w->now_ms += draw(100000);
        for (int32_t k = 0; k < j->placement.task_count; k++)
            world_started(w, j->id, w->c.nodes[j->placement.tasks[k].node].name);
    }
}

/* GPUs of the job that are free afterwards: all, none, or what it goes on without. */
static int64_t freed_of(const struct job *j, const struct eviction *chosen, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        if (chosen[i].job == j)
            return placement_gpus(&j->placement) - chosen[i].most;
    return 0;
}

static void check_choice(const struct world *w, const struct eviction *chosen, int32_t count, int64_t excess) {
    int64_t freed = 0, spare = 0;
    for (int32_t i = 0; i < w->c.index.live.count; i++) {
        const struct job *j = w->c.index.live.items[i];
        freed += freed_of(j, chosen, count);
        spare += placement_gpus(&j->placement) - j->gpus_min;
    }
    assert_true(freed >= excess);
    for (int32_t i = 0; i < count; i++) {
        const struct job *j = chosen[i].job;
        int64_t own = freed_of(j, chosen, count);
        assert_true(own > 0 && freed - own < excess);   /* nobody is stopped in vain */
        if (!chosen[i].most) {
            assert_true(spare < excess);                /* nor evicted while shrinking is enough */
            continue;
        }
        int64_t more = chosen[i].most + 1;              /* nor shrunk by more than is needed */
        while (!job_may_hold(j, more))
            more++;
        assert_true(freed - (more - chosen[i].most) < excess);
        assert_true(job_may_hold(j, chosen[i].most));
    }
}

static void leave(struct world *w, int64_t id) {
    const struct job *j = cluster_job(&w->c, id);
    int32_t attempt = j->attempt;
    while ((j = cluster_job(&w->c, id)) && j->attempt == attempt && j->placement.task_count) {
        int32_t k = 0;
        while (j->placement.tasks[k].state == TASK_ENDED)
            k++;
        assert_int_equal(world_exited(w, id, w->c.nodes[j->placement.tasks[k].node].name, EXIT_YIELDED, 0), 0);
    }
}

/* What was chosen comes so: who shrinks is not evicted, and all go on that may. */
static void check_course(struct world *w, const struct eviction *chosen, int32_t count) {
    int64_t ids[JOBS], most[JOBS];
    for (int32_t i = 0; i < count; i++) {
        ids[i] = chosen[i].job->id;
        most[i] = chosen[i].most;
    }
    world_decide(w);
    for (int32_t i = 0; i < count; i++) {
        assert_state(w, ids[i], STOPPING);
        assert_int_equal(cluster_job(&w->c, ids[i])->stop_cause, most[i] ? STOP_RESIZED : STOP_PREEMPTED);
    }
    for (int32_t i = 0; i < count; i++)
        leave(w, ids[i]);
    world_decide(w);
    int32_t ml = cluster_queue(&w->c, "ml");
    assert_false(queue_is_over(&w->c.queues[ml]));
    for (int32_t i = 0; i < count; i++)
        if (most[i]) {
            assert_state(w, ids[i], STARTING);
            assert_int_equal(placement_gpus(&cluster_job(&w->c, ids[i])->placement), most[i]);
        }
}

static void the_fewest_leave_and_shrinking_comes_first(void **state) {
    (void)state;
    int64_t shrunk = 0, evicted = 0;
    for (seed = 1; seed <= WORLDS; seed++) {
        struct world w;
        struct arena arena = {0};
        struct eviction *chosen;
        uint64_t this = seed;
        fill(&w);
        int32_t ml = cluster_queue(&w.c, "ml");
        struct event e = event_of(EVENT_QUOTA_SET);
        e.queue = "ml";
        e.evict = true;
        e.limit = draw((int)w.c.queues[ml].gpus_used);
        int64_t excess = w.c.queues[ml].gpus_used - e.limit;
        assert_int_equal(world_apply(&w, &e), 0);
        int32_t count = evict_over_choose(&w.c, NULL, w.now_ms, &arena, &chosen);
        check_choice(&w, chosen, count, excess);
        for (int32_t i = 0; i < count; i++) {
            shrunk += chosen[i].most > 0;
            evicted += !chosen[i].most;
        }
        check_course(&w, chosen, count);
        arena_release(&arena);
        world_release(&w);
        seed = this;
    }
    assert_true(shrunk > WORLDS / 4 && evicted > WORLDS / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_fewest_leave_and_shrinking_comes_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
