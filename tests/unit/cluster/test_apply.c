/* Events change the cluster as the tables say, or not at all. */
#include "common/text.h"
#include "scheduler/cluster/array.h"
#include "scheduler/cluster/index.h"
#include "tests/unit/cluster/world.h"

static int setup(void **state) {
    static struct world w;
    world_init(&w);
    assert_int_equal(world_node(&w, "node0", "rack0", 4, 4, "boot0"), 0);
    assert_int_equal(world_node(&w, "node1", "rack0", 4, 4, "boot1"), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world_release(*state);
    return 0;
}

/* A job of 2 nodes x 2 GPUs, running. */
static int64_t running(struct world *w, struct ask a) {
    if (!a.nodes && !a.gpus)
        a.nodes = 2, a.gpus = 4, a.ranks = 4;
    int64_t id = world_submit(w, a);
    assert_true(id > 0);
    world_decide(w);
    assert_state(w, id, STARTING);
    const struct job *j = cluster_job(&w->c, id);
    for (int32_t i = 0; i < j->placement.task_count; i++)
        assert_int_equal(world_started(w, id, w->c.nodes[j->placement.tasks[i].node].name), 0);
    assert_state(w, id, RUNNING);
    return id;
}

static void a_job_runs_and_completes(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.launcher = LAUNCHER_MPIRUN});
    assert_int_equal(w->c.queues[0].gpus_used, 4);
    assert_int_equal(world_exited(w, id, "node0", EXIT_CODE, 0), 0);
    assert_state(w, id, STOPPING);
    assert_int_equal(cluster_job(&w->c, id)->stop_cause, STOP_TASK_DONE);
    assert_int_equal(world_exited(w, id, "node1", EXIT_STOPPED, 15), 0);
    assert_state(w, id, COMPLETED);
    assert_int_equal(w->c.queues[0].gpus_used, 0);
    assert_int_equal(w->c.nodes[0].gpus_used | w->c.nodes[1].gpus_used, 0);
    cluster_forget_finished(&w->c, w->c.turn + 1);
    assert_null(cluster_job(&w->c, id));
    world_check(w);
}

static void direct_needs_all_to_start_and_all_to_end_well(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 4, .nodes = 2, .ranks = 4, .launcher = LAUNCHER_DIRECT});
    world_decide(w);
    world_started(w, id, "node0");
    assert_state(w, id, STARTING);
    world_started(w, id, "node1");
    assert_state(w, id, RUNNING);
    world_exited(w, id, "node1", EXIT_CODE, 0);
    assert_state(w, id, RUNNING);
    assert_int_equal(w->c.nodes[1].gpus_used, 0);
    world_exited(w, id, "node0", EXIT_CODE, 0);
    assert_state(w, id, COMPLETED);
}

static void first_abnormal_end_decides(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.launcher = LAUNCHER_MPIRUN});
    struct event e = task_event(w, EVENT_TASK_EXITED, id, "node1");
    e.kind = EXIT_SIGNAL;
    e.status = 9;
    e.rank = 3;
    assert_int_equal(world_apply(w, &e), 0);
    assert_state(w, id, STOPPING);
    assert_int_equal(world_exited(w, id, "node0", EXIT_CODE, 1), 0);
    assert_state(w, id, FAILED);
    const struct attempt_end *end = &cluster_job(&w->c, id)->end;
    assert_int_equal(end->cause, STOP_TASK_FAILED);
    assert_int_equal(end->kind, EXIT_SIGNAL);
    assert_int_equal(end->status, 9);
    assert_int_equal(end->rank, 3);
    assert_int_equal(end->node, 1);
}

static void failures_are_retried_with_a_cool_down(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1, .retries = 1});
    world_exited(w, id, "node0", EXIT_CODE, 3);
    assert_state(w, id, PENDING);
    assert_int_equal(cluster_job(&w->c, id)->failures, 1);
    assert_int_equal(cluster_job(&w->c, id)->not_before_ms, w->now_ms + 2000);
    world_decide(w);
    assert_state(w, id, PENDING);
    assert_int_equal(cluster_next_deadline_ms(&w->c), w->now_ms + 2000);
    w->now_ms += 2000;
    world_decide(w);
    assert_state(w, id, STARTING);
    world_started(w, id, "node0");
    world_exited(w, id, "node0", EXIT_CODE, 4);
    assert_state(w, id, FAILED);
    assert_int_equal(cluster_job(&w->c, id)->attempt, 2);
}

static void yielded_is_requeued_and_exit_0_completes_even_while_stopping(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1, .grace_ms = 5000});
    assert_int_equal(world_on_job(w, EVENT_JOB_REQUEUED, id), 0);
    assert_state(w, id, STOPPING);
    assert_true(cluster_job(&w->c, id)->checkpoint_asked);
    assert_int_equal(cluster_job(&w->c, id)->kill_ms, w->now_ms + 5000);
    struct event e = task_event(w, EVENT_TASK_EXITED, id, "node0");
    e.kind = EXIT_YIELDED;
    e.step = 77;
    assert_int_equal(world_apply(w, &e), 0);
    assert_state(w, id, PENDING);
    assert_int_equal(cluster_job(&w->c, id)->checkpoint_step, 77);
    world_decide(w);
    world_started(w, id, "node0");
    assert_int_equal(cluster_job(&w->c, id)->attempt, 2);
    world_on_job(w, EVENT_JOB_REQUEUED, id);
    world_exited(w, id, "node0", EXIT_CODE, 0);
    assert_state(w, id, COMPLETED);
}

static void the_grace_ends_in_a_kill(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1, .grace_ms = 5000});
    world_on_job(w, EVENT_JOB_REQUEUED, id);
    w->now_ms += 4999;
    world_decide(w);
    assert_true(cluster_job(&w->c, id)->checkpoint_asked);
    w->now_ms += 1;
    world_decide(w);
    assert_false(cluster_job(&w->c, id)->checkpoint_asked);
    assert_int_equal(cluster_job(&w->c, id)->kill_ms, 0);
    world_exited(w, id, "node0", EXIT_STOPPED, 9);
    assert_state(w, id, PENDING);
}

static void time_limit(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1, .time_limit_ms = 60000});
    w->now_ms += 59999;
    world_decide(w);
    assert_state(w, id, RUNNING);
    assert_int_equal(cluster_next_deadline_ms(&w->c), w->now_ms + 1);
    w->now_ms += 1;
    world_decide(w);
    assert_state(w, id, STOPPING);
    world_exited(w, id, "node0", EXIT_STOPPED, 15);
    assert_state(w, id, TIMEOUT);
}

static void cancel_wins_over_preemption_but_not_over_a_good_end(void **state) {
    struct world *w = *state;
    int64_t a = running(w, (struct ask){.gpus = 1, .grace_ms = 5000}), b = running(w, (struct ask){.gpus = 1});
    world_on_job(w, EVENT_JOB_REQUEUED, a);
    assert_int_equal(world_on_job(w, EVENT_JOB_CANCELLED, a), 0);
    assert_false(cluster_job(&w->c, a)->checkpoint_asked);
    assert_int_equal(world_on_job(w, EVENT_JOB_CANCELLED, a), 0);
    world_exited(w, a, "node0", EXIT_YIELDED, 0);
    assert_state(w, a, CANCELLED);
    assert_int_equal(world_on_job(w, EVENT_JOB_CANCELLED, a), 0);
    world_on_job(w, EVENT_JOB_CANCELLED, b);
    world_exited(w, b, "node0", EXIT_CODE, 0);
    assert_state(w, b, COMPLETED);
    assert_int_equal(world_on_job(w, EVENT_JOB_CANCELLED, b), ERR_CONFLICT);
}

static void hold_and_release(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 1, .hold = true});
    world_decide(w);
    assert_state(w, id, HELD);
    assert_int_equal(world_on_job(w, EVENT_JOB_HELD, id), ERR_CONFLICT);
    assert_int_equal(world_on_job(w, EVENT_JOB_RELEASED, id), 0);
    world_decide(w);
    assert_state(w, id, STARTING);
    assert_int_equal(world_on_job(w, EVENT_JOB_RELEASED, id), ERR_CONFLICT);
    assert_int_equal(world_on_job(w, EVENT_JOB_HELD, id), ERR_CONFLICT);
}

static void dependencies(void **state) {
    struct world *w = *state;
    int64_t first = running(w, (struct ask){.gpus = 1});
    int64_t ok = world_submit(w, (struct ask){.after = first, .after_ok = true}), any = world_submit(w, (struct ask){.after = first});
    int64_t chain = world_submit(w, (struct ask){.after = ok, .after_ok = true});
    world_decide(w);
    assert_state(w, ok, PENDING);
    world_exited(w, first, "node0", EXIT_CODE, 1);
    world_decide(w);
    assert_state(w, ok, CANCELLED);
    assert_state(w, chain, CANCELLED);
    assert_state(w, any, STARTING);
    int64_t late = world_submit(w, (struct ask){.after = first, .after_ok = true});   /* still in memory: resolved at once */
    world_decide(w);
    assert_state(w, late, CANCELLED);
    cluster_forget_finished(&w->c, w->c.turn + 1);
    int64_t later = world_submit(w, (struct ask){.after = first, .after_ok = true});
    struct event e = event_of(EVENT_DEPENDENCY_ENDED);
    e.job = later;
    e.other = first;
    e.ok = true;
    assert_int_equal(world_apply(w, &e), 0);
    world_decide(w);
    assert_state(w, later, STARTING);
    assert_int_equal(world_submit(w, (struct ask){.after = 999}), ERR_NOT_FOUND);
}

static void stale_and_repeated_reports(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1});
    struct event e = task_event(w, EVENT_TASK_STARTED, id, "node0");
    uint64_t before = cluster_digest(&w->c);
    assert_int_equal(world_apply(w, &e), 0);
    assert_true(cluster_digest(&w->c) == before);
    e.lease++;
    assert_int_equal(world_apply(w, &e), ERR_STALE);
    e = task_event(w, EVENT_TASK_STARTED, id, "node1");
    assert_int_equal(world_apply(w, &e), ERR_STALE);
    e = task_event(w, EVENT_TASK_STARTED, id, "nowhere");
    assert_int_equal(world_apply(w, &e), ERR_NOT_FOUND);
    e = task_event(w, EVENT_TASK_STARTED, 99, "node0");
    assert_int_equal(world_apply(w, &e), ERR_NOT_FOUND);
    e = task_event(w, EVENT_TASK_EXITED, id, "node0");
    e.kind = EXIT_CODE;
    struct event old = e;
    assert_int_equal(world_apply(w, &e), 0);
    assert_state(w, id, COMPLETED);
    before = cluster_digest(&w->c);
    assert_int_equal(world_apply(w, &old), 0);
    assert_true(cluster_digest(&w->c) == before);
}

static void a_new_boot_ends_what_ran_there(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.launcher = LAUNCHER_MPIRUN, .wait = true});
    world_on_node(w, EVENT_NODE_LOST, "node1");
    assert_state(w, id, UNKNOWN);
    assert_int_equal(world_node(w, "node1", "rack0", 4, 4, "boot1"), 0);
    assert_state(w, id, RUNNING);
    world_on_node(w, EVENT_NODE_LOST, "node1");
    world_on_node(w, EVENT_NODE_EXPIRED, "node1");
    assert_state(w, id, UNKNOWN);   /* --on-lost wait: no proof yet */
    assert_int_equal(world_node(w, "node1", "rack0", 4, 4, "boot2"), 0);
    assert_state(w, id, STOPPING);
    world_exited(w, id, "node0", EXIT_STOPPED, 9);
    assert_state(w, id, PENDING);
    assert_int_equal(cluster_job(&w->c, id)->failures, 0);
    assert_int_equal(cluster_job(&w->c, id)->lost_attempts, 1);
}

static void expiry_requeues(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.gpus = 1});
    assert_int_equal(world_on_node(w, EVENT_NODE_EXPIRED, "node0"), ERR_CONFLICT);
    world_on_node(w, EVENT_NODE_LOST, "node0");
    assert_state(w, id, RUNNING);
    world_on_node(w, EVENT_NODE_EXPIRED, "node0");
    assert_state(w, id, PENDING);
    world_decide(w);
    assert_int_equal(cluster_job(&w->c, id)->placement.tasks[0].node, 1);
}

static void a_job_that_loses_its_nodes_again_and_again_is_stopped(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 1});
    for (int i = 0; i <= LOST_ATTEMPTS_MAX; i++) {
        w->now_ms += 60000;
        world_decide(w);
        assert_state(w, id, STARTING);
        world_started(w, id, "node0");
        world_exited(w, id, "node0", EXIT_LOST, 0);
    }
    assert_state(w, id, NODE_LOST);
}

static void not_launched(void **state) {
    struct world *w = *state;
    int64_t a = world_submit(w, (struct ask){.gpus = 1});
    world_decide(w);
    world_exited(w, a, "node0", EXIT_UNLAUNCHED, 2);
    assert_state(w, a, FAILED);
    assert_int_equal(cluster_job(&w->c, a)->end.cause, STOP_NOT_LAUNCHED);
    int64_t b = world_submit(w, (struct ask){.gpus = 1});
    world_decide(w);
    struct event e = task_event(w, EVENT_TASK_REFUSED, b, "node0");
    assert_int_equal(world_apply(w, &e), 0);
    assert_state(w, b, PENDING);
    assert_true(cluster_job(&w->c, b)->not_before_ms > w->now_ms);
    assert_int_equal(cluster_job(&w->c, b)->failures, 0);
}

static void inventory_must_not_change_under_jobs(void **state) {
    struct world *w = *state;
    running(w, (struct ask){.gpus = 1});
    assert_int_equal(world_node(w, "node0", "rack0", 2, 2, "boot0"), ERR_CONFLICT);
    assert_int_equal(world_node(w, "node1", "rack0", 2, 2, "boot1"), 0);
    assert_int_equal(cluster_gpu_count(&w->c), 6);
    assert_int_equal(world_node(w, "node0", "rack0", 2, 2, "other"), 0);
    assert_int_equal(world_node(w, "", "rack0", 2, 2, "x"), ERR_INVALID);
}

/* It holds cores alone: so its node may have other GPUs from now on, and the policy is to know which. */
static void a_job_is_looked_at_with_the_gpus_that_its_node_has_now(void **state) {
    struct world *w = *state;
    int64_t id = running(w, (struct ask){.nodes = 1, .cpus = 1});
    const struct node *n = &w->c.nodes[cluster_job(&w->c, id)->placement.tasks[0].node];
    char name[64], boot_id[40];
    text_copy(name, sizeof name, n->name);
    text_copy(boot_id, sizeof boot_id, n->boot_id);
    index_refresh(&w->c);
    assert_int_equal(world_node_of(w, "other", name, "rack0", 4, 4, boot_id), 0);
    index_refresh(&w->c);
    assert_state(w, id, RUNNING);
    assert_int_equal(w->c.index.runs[0].gpu_types, 1u << cluster_gpu_type(&w->c, "other"));
}

static void quota_rules(void **state) {
    struct world *w = *state;
    assert_int_equal(world_quota(w, "a", 6, 8, false), 0);
    assert_int_equal(world_quota(w, "b", 3, NO_LIMIT, false), ERR_OVER_QUOTA);
    assert_non_null(strstr(w->err.text, "3 GPUs, and 6 of its siblings, exceed the 8 registered"));
    assert_int_equal(world_quota(w, "b", 2, 1, false), ERR_INVALID);
    assert_int_equal(world_quota(w, "a/x", 4, NO_LIMIT, false), 0);
    assert_int_equal(world_quota(w, "a/y", 3, NO_LIMIT, false), ERR_OVER_QUOTA);
    assert_int_equal(world_quota(w, "a", 3, 8, false), ERR_OVER_QUOTA);
    assert_int_equal(world_quota(w, "c/x", 1, NO_LIMIT, false), ERR_NOT_FOUND);
    const char *const bad[] = {"", "/", "a/", "/a", "a//b", "-a", "a/-b", "a b", "a\n", "\xc3\xa9", "a;b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(world_quota(w, bad[i], 0, NO_LIMIT, false), ERR_INVALID);
    running(w, (struct ask){.queue = "a/x", .gpus = 4});
    assert_int_equal(w->c.queues[cluster_queue(&w->c, "a")].gpus_used, 4);
    assert_int_equal(world_quota(w, "a/x", 0, 2, false), ERR_OVER_QUOTA);
    assert_int_equal(world_quota(w, "a/x", 0, 2, true), 0);
    assert_true(w->c.queues[cluster_queue(&w->c, "a/x")].draining);
    struct event e = event_of(EVENT_QUOTA_DELETED);
    e.queue = "a/x";
    assert_int_equal(world_apply(w, &e), ERR_CONFLICT);
    e.queue = "a";
    assert_int_equal(world_apply(w, &e), ERR_CONFLICT);
    e.queue = "default";
    assert_int_equal(world_apply(w, &e), ERR_CONFLICT);
    e.queue = "nope";
    assert_int_equal(world_apply(w, &e), ERR_NOT_FOUND);
    assert_int_equal(world_quota(w, "gone", 0, NO_LIMIT, false), 0);
    e.queue = "gone";
    assert_int_equal(world_apply(w, &e), 0);
    assert_int_equal(world_submit(w, (struct ask){.queue = "gone"}), ERR_NOT_FOUND);
}

static void bad_submissions(void **state) {
    struct world *w = *state;
    assert_int_equal(world_submit(w, (struct ask){.gpus = -1}), ERR_INVALID);
    assert_int_equal(world_submit(w, (struct ask){.topology = 99}), ERR_INVALID);
    assert_int_equal(world_submit(w, (struct ask){.queue = "nope"}), ERR_NOT_FOUND);
    assert_int_equal(world_submit(w, (struct ask){.gpus = 1, .nodes = 2}), ERR_INVALID);
    assert_int_equal(world_submit(w, (struct ask){.gpus = 2, .nodes = 2, .topology = LEVEL_NODE}), ERR_NEVER_FITS);
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    e.job = 7;
    assert_int_equal(world_apply(w, &e), ERR_CONFLICT);
    e.type = 99;
    assert_int_equal(world_apply(w, &e), ERR_INVALID);
}

/* Each event type against a job in each state: what is refused has changed nothing (world_apply sees to it), and the invariants hold. */
static void every_event_in_every_state(void **state) {
    struct world *w = *state;
    int64_t ids[8] = {running(w, (struct ask){.gpus = 1, .grace_ms = 1000}), running(w, (struct ask){.gpus = 1, .grace_ms = 1000}),
                      world_submit(w, (struct ask){.gpus = 1, .hold = true}), world_submit(w, (struct ask){.gpus = 100}), 0};
    world_on_job(w, EVENT_JOB_REQUEUED, ids[1]);
    for (int i = 0; ids[i]; i++)
        for (int type = 0; type < EVENT_TYPE_COUNT; type++)
            for (int variant = 0; variant < 3; variant++) {
                struct event e = task_event(w, (enum event_type)type, ids[i], variant == 1 ? "node1" : "node0");
                if (type == EVENT_JOB_CANCELLED || type == EVENT_NODE_UP || type == EVENT_QUOTA_SET)
                    continue;
                e.lease += variant == 2;
                e.kind = variant ? variant : 99;
                e.cause = variant;
                e.step = -1;
                world_apply(w, &e);
            }
}

static int64_t element(struct world *w, int64_t array, int index) {
    const struct job *j = array_element(cluster_job(&w->c, array), index);
    return j ? j->id : 0;
}

static void an_array_is_one_job_until_its_elements_start(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 1, .array = "0-9999%3", .retries = 1});
    assert_int_equal(w->c.job_count, 1);
    assert_int_equal(user_counts_of(&w->c.index.users, 0, 0).pending, 10000);
    assert_int_equal(w->c.queues[0].gpus_waiting, 3);   /* no more can run */
    world_decide(w);
    assert_int_equal(w->c.job_count, 4);
    assert_int_equal(cluster_job(&w->c, id)->array->waiting_count, 9997);
    assert_int_equal(w->c.queues[0].gpus_used, 3);
    assert_int_equal(w->c.queues[0].gpus_waiting, 0);
    int64_t first = element(w, id, 0);
    assert_true(first == id + 1 && !element(w, id, 3));
    struct event e = event_of(EVENT_JOB_START);
    e.job = id;
    assert_int_equal(world_apply(w, &e), ERR_CONFLICT);
    world_started(w, first, "node0");
    world_exited(w, first, "node0", EXIT_CODE, 1);
    assert_state(w, first, PENDING);   /* an element is retried by itself */
    world_decide(w);
    assert_true(element(w, id, 3) && array_startable(cluster_job(&w->c, id)) == 0);
    world_on_job(w, EVENT_JOB_CANCELLED, id);
    assert_state(w, first, CANCELLED);
    assert_state(w, id, PENDING);   /* as long as three are being stopped */
    for (int i = 1; i <= 3; i++)
        world_exited(w, element(w, id, i), "node0", EXIT_STOPPED, 15);
    assert_state(w, id, CANCELLED);
    assert_int_equal(user_counts_of(&w->c.index.users, 0, 0).pending, 0);
}

static void an_array_ends_as_its_worst_element(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 1, .array = "0-3"}), after = world_submit(w, (struct ask){.after = id, .cpus = 1});
    world_decide(w);
    const int codes[] = {0, 3, 9, 5};
    for (int i = 0; i < 4; i++) {
        assert_state(w, id, PENDING);
        world_exited(w, element(w, id, i), "node0", EXIT_CODE, codes[i]);
    }
    assert_state(w, id, FAILED);
    assert_int_equal(cluster_job(&w->c, id)->end.status, 9);
    assert_int_equal(cluster_job(&w->c, id)->array->ended[JOB_FAILED], 3);
    world_decide(w);
    assert_state(w, after, STARTING);   /* it was to end, however */
}

static void elements_are_held_let_go_and_cancelled_alone(void **state) {
    struct world *w = *state;
    int64_t id = world_submit(w, (struct ask){.gpus = 8, .array = "0-9", .hold = true});
    assert_int_equal(world_on_elements(w, EVENT_JOB_RELEASED, id, "4"), 0);
    assert_state(w, element(w, id, 4), PENDING);
    assert_int_equal(world_on_elements(w, EVENT_JOB_CANCELLED, id, "0-2,4"), 0);
    assert_int_equal(cluster_job(&w->c, id)->array->ended[JOB_CANCELLED], 4);
    assert_int_equal(world_on_elements(w, EVENT_JOB_CANCELLED, id, "0-2"), ERR_CONFLICT);
    assert_int_equal(world_on_elements(w, EVENT_JOB_CANCELLED, id, "2-"), ERR_INVALID);
    assert_int_equal(world_on_job(w, EVENT_JOB_RELEASED, id), 0);
    assert_int_equal(world_on_elements(w, EVENT_JOB_HELD, id, "9,3"), 0);
    assert_true(element(w, id, 3) < element(w, id, 9));
    world_decide(w);
    assert_state(w, element(w, id, 5), STARTING);
    assert_int_equal(world_on_elements(w, EVENT_JOB_REQUEUED, id, "3"), ERR_CONFLICT);
    assert_int_equal(world_on_elements(w, EVENT_JOB_REQUEUED, id, "5"), 0);
    int64_t alone = world_submit(w, (struct ask){.gpus = 1});
    assert_int_equal(world_on_elements(w, EVENT_JOB_HELD, alone, "0"), ERR_INVALID);
}

static void pending_jobs_of_a_user_are_counted_by_element(void **state) {
    struct world *w = *state;
    struct queue_spec row;
    struct event e = event_of(EVENT_QUOTA_SET);
    queue_spec_init(&row, "q");
    row.max_pending_per_user = 10;
    row.max_running_per_user = 2;
    row.set = QUEUE_BIT(QUEUE_SETTING_MAX_PENDING_PER_USER) | QUEUE_BIT(QUEUE_SETTING_MAX_RUNNING_PER_USER);
    e.queues = (struct rows){1, &row};
    assert_int_equal(world_apply(w, &e), 0);
    assert_int_equal(world_submit(w, (struct ask){.queue = "q", .gpus = 1, .array = "0-10"}), ERR_OVER_QUOTA);
    assert_true(world_submit(w, (struct ask){.queue = "q", .gpus = 1, .array = "0-9"}) > 0);
    assert_int_equal(world_submit(w, (struct ask){.queue = "q", .gpus = 1}), ERR_OVER_QUOTA);
    world_decide(w);
    assert_int_equal(w->c.queues[cluster_queue(&w->c, "q")].gpus_used, 2);
    assert_true(world_submit(w, (struct ask){.queue = "q", .gpus = 1, .array = "0-1"}) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_job_runs_and_completes),
        T(direct_needs_all_to_start_and_all_to_end_well),
        T(first_abnormal_end_decides),
        T(failures_are_retried_with_a_cool_down),
        T(yielded_is_requeued_and_exit_0_completes_even_while_stopping),
        T(the_grace_ends_in_a_kill),
        T(time_limit),
        T(cancel_wins_over_preemption_but_not_over_a_good_end),
        T(hold_and_release),
        T(dependencies),
        T(stale_and_repeated_reports),
        T(a_new_boot_ends_what_ran_there),
        T(expiry_requeues),
        T(a_job_that_loses_its_nodes_again_and_again_is_stopped),
        T(not_launched),
        T(inventory_must_not_change_under_jobs),
        T(a_job_is_looked_at_with_the_gpus_that_its_node_has_now),
        T(quota_rules),
        T(bad_submissions),
        T(an_array_is_one_job_until_its_elements_start),
        T(an_array_ends_as_its_worst_element),
        T(elements_are_held_let_go_and_cancelled_alone),
        T(pending_jobs_of_a_user_are_counted_by_element),
        T(every_event_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
