/* A job's story: which sentence each event makes, and what is told once. */
#include "scheduler/timeline.h"
#include "tests/unit/cluster/world.h"

static struct timeline line;
static int64_t turn;

static int setup(void **state) {
    timeline_begin(&line);
    turn = 0;
    return 0;
}

static int teardown(void **state) {
    json_decref(line.entries);
    return 0;
}

static const char *last_text(void) {
    size_t count = json_array_size(line.entries);
    return count ? json_string_value(json_object_get(json_array_get(line.entries, count - 1), "text")) : "";
}

static void tell(struct event e) {
    static const struct stored_task tasks[] = {{.node = "node0", .rack = "rack0", .gpus = 3},
                                               {.node = "node1", .rack = "rack0", .gpus = 3}};
    const struct stored_placement placement = {.tasks = {2, (void *)tasks}, .level = LEVEL_RACK, .bottleneck_gbs = 50};
    struct timeline_context context = {.user = "ada", .other = "7[2]", .other_queue = "prod", .placement = &placement};
    turn++;
    timeline_add_event(&line, (struct timeline_moment){1000 * turn, turn}, &e, &context);
}

static struct event checkpoint(int64_t step, int64_t request) {
    struct event e = event_of(EVENT_CHECKPOINTED);
    e.step = step;
    e.other = request;
    return e;
}

static void a_preempted_gang_tells_each_thing_once(void **state) {
    struct event submitted = event_of(EVENT_JOB_SUBMITTED), start = event_of(EVENT_JOB_START), started = event_of(EVENT_TASK_STARTED),
                 stop = event_of(EVENT_JOB_STOP), yielded = event_of(EVENT_TASK_EXITED);
    submitted.queue = "research";
    stop.cause = STOP_PREEMPTED;
    stop.other = 7;
    stop.text = "reclaim";
    yielded.kind = EXIT_YIELDED;
    yielded.node = "node0";
    yielded.step = 59;
    tell(submitted);
    assert_string_equal(last_text(), "submitted by ada, queued in research");
    tell(start);
    assert_string_equal(last_text(), "attempt 1 placed on node0,node1 (rack0, 50 GB/s at its narrowest link)");
    tell(started);
    tell(started);
    assert_int_equal(json_array_size(line.entries), 3);   /* the gang's first report speaks for it */
    tell(stop);
    assert_string_equal(last_text(), "asked to checkpoint and leave: its GPUs are owed to job 7[2] of queue prod (reclaim)");
    tell(checkpoint(59, 1));
    tell(checkpoint(59, 1));
    assert_int_equal(json_array_size(line.entries), 5);   /* as each node acknowledges */
    tell(yielded);
    struct stored_job end = {.end_cause = STOP_PREEMPTED, .end_kind = EXIT_YIELDED, .end_node = "node0"};
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &end, 1, "", "REQUEUED");
    assert_string_equal(last_text(), "attempt 1 ended: preempted; requeued, goes on from step 59");
    tell(start);
    tell(started);
    assert_string_equal(last_text(), "resumed at step 59 as attempt 2");
}

/* `quota set --evict` stops jobs for no other. */
static void an_eviction_for_nobody_names_nobody(void **state) {
    struct event stop = event_of(EVENT_JOB_STOP);
    stop.cause = STOP_PREEMPTED;
    stop.text = "evict: below what it uses";
    tell(stop);
    assert_string_equal(last_text(), "asked to checkpoint and leave (evict: below what it uses)");
}

static void periodic_checkpoints_are_one_line(void **state) {
    tell(checkpoint(10, 0));
    tell(checkpoint(20, 0));
    tell(checkpoint(30, 0));
    assert_int_equal(json_array_size(line.entries), 1);
    assert_string_equal(last_text(), "checkpoint at step 30");
    timeline_add_restart(&line, (struct timeline_moment){1, 1}, "1.0");
    tell(checkpoint(40, 0));
    assert_int_equal(json_array_size(line.entries), 3);
}

static void ends_name_what_happened(void **state) {
    struct stored_job killed = {.end_cause = STOP_TASK_FAILED, .end_kind = EXIT_SIGNAL, .end_status = 9, .end_node = "node1"},
                      lost = {.end_cause = STOP_NODE_LOST, .end_kind = EXIT_LOST, .end_node = "node1"},
                      done = {.end_cause = STOP_TASK_DONE, .end_kind = EXIT_CODE, .end_node = "node1"};
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &killed, 1, "", "FAILED");
    assert_string_equal(last_text(), "attempt 1 ended: killed by signal 9 (Killed) on node1");
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &killed, 1, "rank 3 on node1 was killed by SIGKILL", "FAILED");
    assert_string_equal(last_text(), "attempt 1 ended: rank 3 on node1 was killed by SIGKILL");
    struct event exit = event_of(EVENT_TASK_EXITED);
    exit.node = "node1";
    exit.kind = EXIT_SIGNAL;
    exit.status = 9;
    exit.text = "rank 3 on node1 was killed by SIGKILL";
    tell(exit);
    assert_string_equal(last_text(), "rank 3 on node1 was killed by SIGKILL");
    exit.kind = EXIT_LOST;
    exit.text = "the node's launcher died";
    tell(exit);
    assert_string_equal(last_text(), "lost on node1: the node's launcher died");
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &lost, 2, exit.text, "REQUEUED");
    assert_string_equal(last_text(), "attempt 2 ended: lost on node1: the node's launcher died; requeued");
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &lost, 2, "", "REQUEUED");
    assert_string_equal(last_text(), "attempt 2 ended: its node node1 was lost; requeued");
    timeline_add_end(&line, (struct timeline_moment){1, 1}, &done, 3, "", "COMPLETED");
    assert_string_equal(last_text(), "attempt 3 ended well");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(a_preempted_gang_tells_each_thing_once),
                                       TEST(an_eviction_for_nobody_names_nobody), TEST(periodic_checkpoints_are_one_line),
                                       TEST(ends_name_what_happened)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
