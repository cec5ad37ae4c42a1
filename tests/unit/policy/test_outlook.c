/* What is foretold of jobs that wait: on which promises, within which bounds, and without a trace. */
#include <string.h>

#include "scheduler/policy/outlook.h"
#include "tests/unit/cluster/world.h"

enum { HOUR_MS = 3600 * 1000 };

/* 2 nodes of 4 GPUs. */
static int setup(void **state) {
    static struct world w;
    world_init(&w);
    world_node(&w, "node0", "rack0", 4, 4, "b");
    world_node(&w, "node1", "rack0", 4, 4, "b");
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world_release(*state);
    return 0;
}

static int64_t running(struct world *w, struct ask a) {
    int64_t id = world_submit(w, a);
    world_decide(w);
    assert_state(w, id, STARTING);
    const struct job *j = cluster_job(&w->c, id);
    for (int32_t i = 0; i < j->placement.task_count; i++)
        assert_int_equal(world_started(w, id, w->c.nodes[j->placement.tasks[i].node].name), 0);
    return id;
}

static int64_t waiting(struct world *w, struct ask a) {
    int64_t id = world_submit(w, a);
    world_decide(w);
    assert_state(w, id, PENDING);
    return id;
}

static struct outlook ask_of(struct world *w, int64_t id) {
    static struct outlook_asker a;
    struct outlook o;
    struct arena arena = {0};
    uint64_t before = cluster_digest(&w->c);
    outlook_open(&a, &w->c, w->now_ms, NULL, NULL, &arena);
    outlook_ask(&a, cluster_job(&w->c, id), &o);
    outlook_close(&a);
    arena_release(&arena);
    assert_true(before == cluster_digest(&w->c));
    return o;
}

static void assert_promise(struct world *w, int64_t id, enum promise by, int64_t in_ms) {
    struct promised end = forecast_end(&w->c, cluster_job(&w->c, id), w->now_ms);
    assert_int_equal(end.by, by);
    assert_int_equal(end.end_ms, by == PROMISE_NONE ? INT64_MAX : w->now_ms + in_ms);
}

static void a_job_promises_the_nearest_end_that_is_still_to_come(void **state) {
    struct world *w = *state;
    int64_t none = running(w, (struct ask){.gpus = 1}), limited = running(w, (struct ask){.gpus = 1, .time_limit_ms = 2 * HOUR_MS});
    assert_promise(w, none, PROMISE_NONE, 0);
    assert_promise(w, limited, PROMISE_LIMIT, 2 * HOUR_MS);
    cluster_job(&w->c, limited)->estimate_ms = HOUR_MS;
    assert_promise(w, limited, PROMISE_ESTIMATE, HOUR_MS);
    w->now_ms += HOUR_MS;   /* it has not kept to its estimate: the limit is left */
    assert_promise(w, limited, PROMISE_LIMIT, HOUR_MS);
    w->c.queues[0].default_time_ms = 3 * HOUR_MS;
    assert_promise(w, none, PROMISE_QUEUE, 2 * HOUR_MS);
}

static void nobody_is_taken_at_a_word_that_was_not_given(void **state) {
    struct world *w = *state;
    int64_t silent = running(w, (struct ask){.gpus = 4}), limited = running(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    struct outlook half = ask_of(w, waiting(w, (struct ask){.gpus = 4})), all = ask_of(w, waiting(w, (struct ask){.gpus = 8}));
    char text[64];
    assert_int_equal(half.expected.at_ms, w->now_ms + HOUR_MS);
    snprintf(text, sizeof text, "if job %lld ends by its time limit", (long long)limited);
    assert_string_equal(half.expected.basis, text);
    assert_int_equal(all.expected.at_ms, INT64_MAX);
    assert_true(silent < limited && strstr(all.expected.basis, "has no time limit"));
}

static void holders_are_named_the_largest_first_and_counted(void **state) {
    struct world *w = *state;
    int64_t small = running(w, (struct ask){.gpus = 2}), large = running(w, (struct ask){.gpus = 4});
    int64_t other = running(w, (struct ask){.gpus = 2});
    struct outlook o = ask_of(w, waiting(w, (struct ask){.gpus = 4}));
    assert_int_equal(o.holder_count, 3);
    assert_int_equal(o.holder_gpus, 8);
    assert_int_equal(o.holders[0], large);
    assert_int_equal(o.holders[1], small);
    assert_int_equal(o.holders[2], other);
}

static void too_many_before_it_are_not_replayed(void **state) {
    struct world *w = *state;
    running(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    running(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    for (int i = 0; i < FORECAST_BEFORE; i++)
        world_submit(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    int64_t last = waiting(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    int64_t beyond = waiting(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    struct outlook near = ask_of(w, last), far = ask_of(w, beyond);
    assert_int_equal(near.expected.at_ms, INT64_MAX);   /* 1,024 places to be looked for are too many */
    assert_non_null(strstr(near.expected.basis, "too much happens before it"));
    assert_int_equal(far.expected.at_ms, INT64_MAX);
    assert_string_equal(far.expected.basis, "more jobs are before it than are looked at");
}

static void a_newcomer_takes_its_place_in_the_order(void **state) {
    struct world *w = *state;
    struct event e = event_of(EVENT_JOB_SUBMITTED);
    struct outlook_asker a;
    struct outlook o;
    struct arena arena = {0};
    running(w, (struct ask){.gpus = 4, .time_limit_ms = HOUR_MS});
    running(w, (struct ask){.gpus = 4, .time_limit_ms = 2 * HOUR_MS});
    waiting(w, (struct ask){.gpus = 4, .time_limit_ms = 8 * HOUR_MS});
    for (int priority = 0; priority < 2; priority++) {
        e.job = w->c.next_job;
        e.submission = (struct job_submission){.gpus = 4, .ranks = 1, .cpus_per_rank = 1, .priority = priority};
        struct job *newcomer = cluster_try_submission(&w->c, &e, w->now_ms, NULL);
        assert_non_null(newcomer);
        outlook_open(&a, &w->c, w->now_ms, newcomer, NULL, &arena);
        outlook_ask(&a, newcomer, &o);
        outlook_close(&a);
        assert_int_equal(o.verdict, OUTLOOK_WAITS);
        assert_int_equal(o.expected.at_ms - w->now_ms, priority ? HOUR_MS : 2 * HOUR_MS);
        cluster_drop_tried(&w->c, newcomer);
    }
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_promises_the_nearest_end_that_is_still_to_come, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_taken_at_a_word_that_was_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(holders_are_named_the_largest_first_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_before_it_are_not_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newcomer_takes_its_place_in_the_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
