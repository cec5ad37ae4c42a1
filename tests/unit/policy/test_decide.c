/* What the policy decides, on clusters that fit on a page. */
#include "scheduler/policy/place.h"
#include "tests/unit/cluster/world.h"

/* 4 nodes of 4 GPUs in 2 racks. */
static int setup(void **state) {
    static struct world w;
    world_init(&w);
    world_node(&w, "node0", "rack0", 4, 4, "b");
    world_node(&w, "node1", "rack0", 4, 4, "b");
    world_node(&w, "node2", "rack1", 4, 4, "b");
    world_node(&w, "node3", "rack1", 4, 4, "b");
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world_release(*state);
    return 0;
}

static void start_all_tasks(struct world *w, int64_t id) {
    const struct job *j = cluster_job(&w->c, id);
    for (int32_t i = 0; i < j->placement.task_count; i++)
        assert_int_equal(world_started(w, id, w->c.nodes[j->placement.tasks[i].node].name), 0);
}

static int64_t running(struct world *w, struct ask a) {
    int64_t id = world_submit(w, a);
    world_decide(w);
    assert_state(w, id, STARTING);
    start_all_tasks(w, id);
    return id;
}

static void end_all_tasks(struct world *w, int64_t id, enum exit_kind kind) {
    int nodes[16], count = 0;
    const struct job *j = cluster_job(&w->c, id);
    for (int32_t i = 0; i < j->placement.task_count; i++)
        nodes[count++] = j->placement.tasks[i].node;
    for (int i = 0; i < count; i++)
        world_exited(w, id, w->c.nodes[nodes[i]].name, i ? EXIT_STOPPED : kind, 0);
}

static enum wait_code why(struct world *w, int64_t id, const char *part) {
    struct wait_reason r;
    char text[512], remedy[512];
    policy_reason(&w->c, cluster_job(&w->c, id), &r);
    policy_reason_text(&w->c, cluster_job(&w->c, id), text, sizeof text);
    policy_reason_remedy(&w->c, cluster_job(&w->c, id), remedy, sizeof remedy);
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
    assert_true(strlen(remedy) > 10);
    return r.code;
}

static void a_gang_goes_into_one_rack(void **state) {
    struct world *w = *state;
    running(w, (struct ask){.gpus = 1});
    int64_t id = running(w, (struct ask){.gpus = 8, .nodes = 2, .ranks = 8});
    const struct placement *p = &cluster_job(&w->c, id)->placement;
    assert_int_equal(p->level, LEVEL_RACK);
    assert_int_equal(p->tasks[0].node, 2);
    assert_int_equal(p->tasks[1].node, 3);
    assert_int_equal(p->tasks[0].ranks, 4);
    assert_int_equal(p->tasks[0].cpus, 4);
    assert_int_equal(p->bottleneck_gbs, 25);
    assert_int_equal(p->tasks[0].ring_gbs, 450);
}

static void priority_then_submit_order(void **state) {
    struct world *w = *state;
    int64_t full = running(w, (struct ask){.gpus = 16});
    int64_t a = world_submit(w, (struct ask){.gpus = 16}), b = world_submit(w, (struct ask){.gpus = 16}),
            c = world_submit(w, (struct ask){.gpus = 16, .priority = 5});
    world_decide(w);
    int64_t expected[] = {c, a, b};
    for (int i = 0; i < 3; i++) {
        end_all_tasks(w, i ? expected[i - 1] : full, EXIT_CODE);
        world_decide(w);
        assert_state(w, expected[i], STARTING);
        start_all_tasks(w, expected[i]);
    }
}

static void a_limit_is_never_exceeded_and_says_so(void **state) {
    struct world *w = *state;
    world_quota(w, "ml", 0, 8, false);
    int64_t first = running(w, (struct ask){.queue = "ml", .gpus = 4}), second = running(w, (struct ask){.queue = "ml", .gpus = 2});
    int64_t third = world_submit(w, (struct ask){.queue = "ml", .gpus = 4}),
            fourth = world_submit(w, (struct ask){.queue = "ml", .gpus = 2});
    world_decide(w);
    assert_state(w, fourth, STARTING);   /* one that is blocked by the limit doesn't hold up the next */
    assert_int_equal(why(w, third, "waits for 4 GPUs: queue ml may use 8 (its limit) and uses 8; job 1 of queue ml holds 4 of them"),
                     WAIT_QUEUE_LIMIT);
    end_all_tasks(w, second, EXIT_CODE);
    world_decide(w);
    assert_state(w, third, PENDING);
    end_all_tasks(w, first, EXIT_CODE);
    world_decide(w);
    assert_state(w, third, STARTING);
}

static void a_guarantee_is_reclaimed(void **state) {
    struct world *w = *state;
    world_quota(w, "guar", 8, NO_LIMIT, false);
    int64_t borrower = running(w, (struct ask){.gpus = 16, .nodes = 4, .ranks = 4, .launcher = LAUNCHER_MPIRUN, .grace_ms = 10000});
    int64_t owed = world_submit(w, (struct ask){.queue = "guar", .gpus = 4, .nodes = 2, .ranks = 4});
    world_decide(w);
    assert_state(w, borrower, STOPPING);
    assert_true(cluster_job(&w->c, borrower)->checkpoint_asked);
    assert_int_equal(cluster_job(&w->c, borrower)->stop_for, owed);
    assert_non_null(cluster_reservation(&w->c, owed));
    assert_int_equal(why(w, owed, "its 4 GPUs are kept for it: 0 are free, job 1 is checkpointing"), WAIT_RESERVATION);
    int64_t greedy = world_submit(w, (struct ask){.gpus = 1});
    world_decide(w);
    assert_state(w, greedy, PENDING);
    end_all_tasks(w, borrower, EXIT_YIELDED);
    assert_state(w, borrower, PENDING);
    world_decide(w);
    assert_state(w, owed, STARTING);
    assert_state(w, greedy, STARTING);
    assert_int_equal(w->c.reservation_count, 0);
    w->now_ms += 1000;
    world_decide(w);
    assert_int_equal(
        why(w, borrower, "waits for 16 GPUs on 4 nodes with 4 each: 2 nodes have that many free; job 2 of queue guar holds 4"),
        WAIT_NO_FIT);
    end_all_tasks(w, owed, EXIT_CODE);
    end_all_tasks(w, greedy, EXIT_CODE);
    world_decide(w);
    assert_state(w, borrower, STARTING);
    assert_int_equal(cluster_job(&w->c, borrower)->attempt, 2);
    assert_int_equal(cluster_job(&w->c, borrower)->preemptions, 1);
}

static void only_what_is_needed_is_taken_the_cheapest_first(void **state) {
    struct world *w = *state;
    world_quota(w, "guar", 8, NO_LIMIT, false);
    int64_t jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = running(w, (struct ask){.gpus = 4, .nodes = 1, .grace_ms = 1000});
        w->now_ms += 100000;
    }
    struct event e = task_event(w, EVENT_CHECKPOINTED, jobs[0], "node0");   /* the oldest, but it has just saved its work */
    e.step = 5;
    assert_int_equal(world_apply(w, &e), 0);
    world_submit(w, (struct ask){.queue = "guar", .gpus = 4, .nodes = 1});
    world_decide(w);
    assert_state(w, jobs[0], STOPPING);
    for (int i = 1; i < 4; i++)
        assert_state(w, jobs[i], RUNNING);
    world_submit(w, (struct ask){.queue = "guar", .gpus = 1});
    world_decide(w);
    assert_state(w, jobs[3], STOPPING);
    assert_state(w, jobs[2], RUNNING);
    assert_state(w, jobs[1], RUNNING);
}

static void no_plan_no_kill(void **state) {
    struct world *w = *state;
    world_quota(w, "guar", 8, NO_LIMIT, false);
    world_quota(w, "other", 8, NO_LIMIT, false);
    int64_t within = running(w, (struct ask){.queue = "other", .gpus = 8}), fixed;
    fixed = running(w, (struct ask){.queue = "guar", .gpus = 4, .not_preemptible = true});
    int64_t borrower = running(w, (struct ask){.gpus = 4, .nodes = 1});
    int64_t whole = world_submit(w, (struct ask){.queue = "guar", .gpus = 8, .nodes = 2});   /* beyond the guarantee */
    world_decide(w);
    assert_state(w, borrower, RUNNING);
    assert_state(w, within, RUNNING);
    assert_state(w, fixed, RUNNING);
    assert_int_equal(why(w, whole, "waits for 8 GPUs on 2 nodes with 4 each: 0 nodes have that many free"), WAIT_NO_FIT);
    assert_non_null(cluster_reservation(&w->c, whole));
    int64_t topo = world_submit(
        w, (struct ask){.queue = "guar", .gpus = 4, .nodes = 2, .topology = LEVEL_RACK}); /* owed, but one node can't be two */
    world_decide(w);
    assert_state(w, borrower, RUNNING);
    assert_state(w, topo, PENDING);
}

static void not_preemptible_needs_a_guarantee(void **state) {
    struct world *w = *state;
    world_quota(w, "guar", 4, NO_LIMIT, false);
    running(w, (struct ask){.queue = "guar", .gpus = 2, .not_preemptible = true});
    int64_t b = world_submit(w, (struct ask){.queue = "guar", .gpus = 4, .not_preemptible = true}),
            c = world_submit(w, (struct ask){.queue = "guar", .gpus = 4});
    world_decide(w);
    assert_state(w, b, PENDING);
    assert_state(w, c, STARTING);
    assert_int_equal(why(w, b, "can't be taken back from it: queue guar is guaranteed 4, and uses 2 for such jobs"), WAIT_QUOTA);
}

/* Small jobs keep coming; the gang that has waited for its hour starts all the same. */
static void small_jobs_do_not_starve_a_gang(void **state) {
    struct world *w = *state;
    int64_t small[64], count = 0;
    for (; count < 16; count++)
        small[count] = running(w, (struct ask){.gpus = 1});
    int64_t gang = world_submit(w, (struct ask){.gpus = 16});
    world_decide(w);
    w->now_ms += 61 * 60 * 1000;
    for (int i = 0; i < 16; i++) {
        int64_t next = world_submit(w, (struct ask){.gpus = 1});
        end_all_tasks(w, small[i], EXIT_CODE);
        world_decide(w);
        if (i == 15)
            assert_state(w, next, PENDING);   /* and those before it are called in */
        else
            start_all_tasks(w, next);
        small[16 + i] = next;
    }
    for (int i = 16; i < 31; i++) {
        assert_state(w, small[i], STOPPING);
        end_all_tasks(w, small[i], EXIT_YIELDED);
    }
    world_decide(w);
    assert_state(w, gang, STARTING);
}

static void what_is_kept_ahead_is_not_for_who_can_not_be_stopped(void **state) {
    struct world *w = *state;
    running(w, (struct ask){.gpus = 4, .nodes = 1, .time_limit_ms = 3600000});
    int64_t gang = world_submit(w, (struct ask){.gpus = 16}),
            late = world_submit(w, (struct ask){.gpus = 1, .not_preemptible = true}),
            short_one = world_submit(w, (struct ask){.gpus = 1, .not_preemptible = true, .time_limit_ms = 1800000}),
            other = world_submit(w, (struct ask){.gpus = 1});
    world_decide(w);
    assert_state(w, late, PENDING);
    assert_state(w, short_one, STARTING);   /* it will be gone in time */
    assert_state(w, other, STARTING);       /* it can be called in */
    assert_int_equal(why(w, late, "what is free is kept for job 2, which is before it in the order"), WAIT_PRIORITY);
    world_on_job(w, EVENT_JOB_CANCELLED, gang);
    world_decide(w);
    assert_state(w, late, STARTING);
}

static void topology_health_and_cpu_reasons(void **state) {
    struct world *w = *state;
    running(w, (struct ask){.gpus = 3, .nodes = 1});
    running(w, (struct ask){.gpus = 3, .nodes = 1});
    world_on_node(w, EVENT_NODE_DRAINED, "node2");
    world_on_node(w, EVENT_NODE_LOST, "node3");
    world_quota(w, "free", 0, NO_LIMIT, false);   /* from here on default guarantees nothing: no earmarks */
    int64_t rack = world_submit(w, (struct ask){.gpus = 2, .topology = LEVEL_NODE});
    int64_t lost = world_submit(w, (struct ask){.gpus = 16});
    int64_t cpus = world_submit(w, (struct ask){.gpus = 1, .cpus = 64});
    world_decide(w);
    assert_int_equal(why(w, rack, "within one node: 2 are free, but not within one"), WAIT_TOPOLOGY);
    assert_int_equal(why(w, lost, "node2 (drained), node3 (lost)"), WAIT_NODE_HEALTH);
    assert_int_equal(why(w, cpus, "waits for 64 cpus beside its GPUs"), WAIT_NO_FIT);
    int64_t held = world_submit(w, (struct ask){.gpus = 1, .hold = true}),
            after = world_submit(w, (struct ask){.after = rack, .after_ok = true});
    world_decide(w);
    assert_int_equal(why(w, held, "is held"), WAIT_HELD);
    assert_int_equal(why(w, after, "waits for job 3 to complete"), WAIT_DEPENDENCY);
}

static void what_can_never_fit(void **state) {
    struct world *w = *state;
    struct error err;
    world_quota(w, "ml", 2, 8, false);
    int32_t ml = cluster_queue(&w->c, "ml");
    struct job_submission s = {.gpus = 12};
    assert_int_equal(policy_can_ever_fit(&w->c, &s, 0, &err), 0);
    assert_error(policy_can_ever_fit(&w->c, &s, ml, &err), ERR_NEVER_FITS, &err, "12 GPUs: queue ml may use at most 8");
    s = (struct job_submission){.gpus = 17};
    assert_error(policy_can_ever_fit(&w->c, &s, 0, &err), ERR_NEVER_FITS, &err, "17 GPUs: the cluster has 16");
    s = (struct job_submission){.gpus = 5, .nodes = 1};
    assert_error(policy_can_ever_fit(&w->c, &s, 0, &err), ERR_NEVER_FITS, &err, "the largest with 4 GPUs, 64 cpus, 100000 MiB");
    s = (struct job_submission){.gpus = 12, .topology = LEVEL_RACK};
    assert_error(policy_can_ever_fit(&w->c, &s, 0, &err), ERR_NEVER_FITS, &err, "within one rack");
    s = (struct job_submission){.ranks = 1, .cpus_per_rank = 65};
    assert_error(policy_can_ever_fit(&w->c, &s, 0, &err), ERR_NEVER_FITS, &err, "65 cpus");
    s = (struct job_submission){.gpus = 4, .not_preemptible = true};
    assert_error(policy_can_ever_fit(&w->c, &s, ml, &err), ERR_NEVER_FITS, &err, "is guaranteed 2");
    world_on_node(w, EVENT_NODE_LOST, "node0");
    s = (struct job_submission){.gpus = 16};
    assert_int_equal(policy_can_ever_fit(&w->c, &s, 0, &err), 0);   /* lost is not gone */
}

/* A borrower under the taker's own parent is taken from before anybody outside, and a parent within its guarantee shields its children. */
static void reclaim_respects_the_tree(void **state) {
    struct world *w = *state;
    world_quota(w, "a", 8, NO_LIMIT, false);
    world_quota(w, "a/x", 4, NO_LIMIT, false);
    world_quota(w, "a/y", 4, NO_LIMIT, false);
    world_quota(w, "b", 4, NO_LIMIT, false);
    int64_t ay = running(w, (struct ask){.queue = "a/y", .gpus = 8, .nodes = 2}),
            b = running(w, (struct ask){.queue = "b", .gpus = 8, .nodes = 2});
    int64_t ax = world_submit(w, (struct ask){.queue = "a/x", .gpus = 4, .nodes = 1});
    world_decide(w);
    assert_state(w, ay, STOPPING);
    assert_state(w, b, RUNNING);
    end_all_tasks(w, ay, EXIT_YIELDED);
    world_decide(w);
    assert_state(w, ax, STARTING);
}

static void void_reservations_are_given_up(void **state) {
    struct world *w = *state;
    int64_t first = running(w, (struct ask){.gpus = 8, .nodes = 2});
    int64_t gang = world_submit(w, (struct ask){.gpus = 12, .nodes = 3});
    world_decide(w);
    assert_non_null(cluster_reservation(&w->c, gang));
    world_on_node(w, EVENT_NODE_DRAINED, "node3");
    world_decide(w);
    const struct reservation *r = cluster_reservation(&w->c, gang);
    assert_non_null(r);
    for (int32_t i = 0; i < r->placement.task_count; i++)
        assert_true(r->placement.tasks[i].node != 3);
    world_on_node(w, EVENT_NODE_LOST, "node2");
    world_decide(w);
    assert_null(cluster_reservation(&w->c, gang));
    world_node(w, "node2", "rack1", 4, 4, "b");
    end_all_tasks(w, first, EXIT_CODE);
    world_decide(w);
    assert_state(w, gang, STARTING);
}

static void cpu_jobs_need_no_gpus(void **state) {
    struct world *w = *state;
    world_node(w, "login", "rack0", 0, 0, "b");
    int64_t a = running(w, (struct ask){.ranks = 3, .cpus = 20});
    assert_int_equal(cluster_job(&w->c, a)->placement.tasks[0].node, 4);   /* the node without GPUs first */
    int64_t b = running(w, (struct ask){.ranks = 5, .cpus = 20, .launcher = LAUNCHER_MPIRUN});
    assert_int_equal(cluster_job(&w->c, b)->placement.task_count, 2);
    assert_int_equal(cluster_job(&w->c, b)->placement.tasks[0].ranks, 3);
    assert_int_equal(cluster_job(&w->c, b)->placement.tasks[1].cpus, 40);
    int64_t c = world_submit(w, (struct ask){.ranks = 11, .cpus = 20});
    world_decide(w);
    assert_int_equal(why(w, c, "waits for 220 cpus"), WAIT_NO_FIT);
}

static void what_fits_on_no_node_is_left_alone_until_one_changes(void **state) {
    struct world *w = *state;
    int64_t small = running(w, (struct ask){.gpus = 1});
    world_on_node(w, EVENT_NODE_DRAINED, "node3");
    int64_t large = world_submit(w, (struct ask){.gpus = 16});
    world_decide(w);
    const struct wait_mark *mark = &w->c.index.marks[cluster_job(&w->c, large)->wait_class];
    assert_int_equal(why(w, large, "node3 (drained)"), WAIT_NODE_HEALTH);
    assert_true(mark->never_fits);
    end_all_tasks(w, small, EXIT_CODE);
    world_decide(w);
    assert_true(mark->never_fits && !mark->untried);
    world_on_node(w, EVENT_NODE_RESUMED, "node3");
    world_decide(w);
    assert_state(w, large, STARTING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_gang_goes_into_one_rack),
        T(priority_then_submit_order),
        T(a_limit_is_never_exceeded_and_says_so),
        T(a_guarantee_is_reclaimed),
        T(only_what_is_needed_is_taken_the_cheapest_first),
        T(no_plan_no_kill),
        T(not_preemptible_needs_a_guarantee),
        T(small_jobs_do_not_starve_a_gang),
        T(what_is_kept_ahead_is_not_for_who_can_not_be_stopped),
        T(topology_health_and_cpu_reasons),
        T(what_can_never_fit),
        T(what_fits_on_no_node_is_left_alone_until_one_changes),
        T(reclaim_respects_the_tree),
        T(void_reservations_are_given_up),
        T(cpu_jobs_need_no_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
