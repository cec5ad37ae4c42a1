/* The pure machine of a task: every state with every event against an own picture of it, then the rules that a table can't say. */
#include "tests/unit/unit.h"

#include <signal.h>

#include "worker/task.h"

static struct task fresh(enum task_state state) {
    struct task t;
    task_init(&t, 7, 2, 40, false);
    t.state = state;
    return t;
}

static void every_move(void **state) {
    /* Rows: PREPARING READY STARTING RUNNING STOPPING EXITED; columns: prepared go started stop ended acknowledged; '.': stays, does
     * nothing. */
    static const char *const picture[TASK_STATE_COUNT] = {"R..SX.", ".TUSX.", "..USX.", "...SX.", "S..SX.", ".....F"};
    static const char letters[] = "PRTUSX";
    for (int s = 0; s < TASK_STATE_COUNT; s++)
        for (int e = 0; e < TASK_EVENT_COUNT; e++) {
            struct task t = fresh(s);
            unsigned actions = task_step(&t, e);
            char want = picture[s][e];
            if (want == '.') {
                assert_int_equal(actions, TASK_DO_NOTHING);
                assert_int_equal(t.state, s);
            } else if (want == 'F') {
                assert_int_equal(actions, TASK_DO_FORGET);
            } else {
                assert_int_not_equal(actions, TASK_DO_NOTHING);
                assert_int_equal(letters[t.state], want);
            }
        }
}

static void gang_of_one_launches_without_go(void **state) {
    struct task t;
    task_init(&t, 7, 1, 1, true);
    assert_int_equal(task_step(&t, TASK_EVENT_PREPARED), TASK_DO_LAUNCH);
    assert_int_equal(t.state, TASK_STARTING);
    assert_int_equal(task_step(&t, TASK_EVENT_PREPARED), TASK_DO_NOTHING);
}

static void stale_orders_are_refused(void **state) {
    struct task t = fresh(TASK_RUNNING);
    int64_t highest = 5;
    assert_int_equal(task_check_order(&t, 40, 4, &highest), TASK_STALE_EPOCH);
    assert_int_equal(task_check_order(&t, 39, 6, &highest), TASK_STALE_LEASE);
    assert_int_equal(highest, 5);
    assert_int_equal(task_check_order(&t, 40, 6, &highest), TASK_ACCEPT);
    assert_int_equal(highest, 6);
    assert_int_equal(task_check_order(NULL, 99, 6, &highest), TASK_ACCEPT);
}

static void stop_twice_is_once_unless_it_hurries(void **state) {
    struct task t = fresh(TASK_RUNNING);
    assert_int_equal(task_stop(&t, 5000), TASK_DO_STOP);
    assert_int_equal(task_stop(&t, 5000), TASK_DO_NOTHING);
    assert_int_equal(task_stop(&t, 0), TASK_DO_STOP);
    assert_int_equal(t.stop_grace_ms, 0);
}

static void checkpoint_is_asked_once_and_its_grace_ends_in_a_stop(void **state) {
    struct task t = fresh(TASK_RUNNING);
    assert_int_equal(task_ask_checkpoint(&t, 9, 1000, 100), TASK_DO_ASK_CHECKPOINT);
    assert_int_equal(task_ask_checkpoint(&t, 9, 1000, 500), TASK_DO_NOTHING);
    assert_int_equal(task_tick(&t, 1099), TASK_DO_NOTHING);
    assert_int_equal(task_tick(&t, 1100), TASK_DO_STOP);
    assert_int_equal(task_tick(&t, 1200), TASK_DO_NOTHING);
    assert_true(t.stopped);
}

static void an_answered_checkpoint_is_answered_again(void **state) {
    struct task t = fresh(TASK_RUNNING);
    task_ask_checkpoint(&t, 9, 1000, 0);
    assert_int_equal(task_checkpointed(&t, 9, 120), TASK_DO_REPORT_CHECKPOINTED);
    assert_int_equal(task_checkpointed(&t, 9, 120), TASK_DO_NOTHING);   /* another rank's word for the same */
    assert_int_equal(task_ask_checkpoint(&t, 9, 1000, 10), TASK_DO_REPORT_CHECKPOINTED);
    assert_int_equal(t.checkpointed_step, 120);
}

static void an_older_checkpoint_doesnt_replace_a_newer(void **state) {
    struct task t = fresh(TASK_RUNNING);
    assert_int_equal(task_checkpointed(&t, 0, 200), TASK_DO_REPORT_CHECKPOINTED);
    assert_int_equal(task_checkpointed(&t, 0, 100), TASK_DO_NOTHING);
    assert_int_equal(t.checkpointed_step, 200);
}

static void the_first_bad_rank_ends_the_task_and_is_named(void **state) {
    struct task t = fresh(TASK_RUNNING);
    assert_int_equal(task_rank_ended(&t, 1, 0, false), TASK_DO_NOTHING);
    assert_int_equal(task_rank_ended(&t, 2, 15, true), TASK_DO_NOTHING);      /* mpirun ended that one */
    assert_int_equal(task_rank_ended(&t, 3, 9, false), TASK_DO_STOP);
    assert_int_equal(task_rank_ended(&t, 0, 7 << 8, false), TASK_DO_NOTHING);
    assert_int_equal(task_ended(&t, true, false, true, 9, true), TASK_DO_REPORT_EXITED);
    assert_int_equal(t.exit.kind, EXIT_SIGNAL);
    assert_int_equal(t.exit.status, 9);
    assert_int_equal(t.exit.rank, 3);
}

static void how_it_ended(void **state) {
    static const struct {
        bool ran, lost, stopped_by_launcher, stopped, has_main;
        int status;
        int64_t yielding;
        enum exit_kind kind;
        int shown;
    } rows[] = {
        {.ran = true, .has_main = true, .status = 0, .yielding = -1, .kind = EXIT_CODE, .shown = 0},
        {.ran = true, .has_main = true, .status = 7 << 8, .yielding = -1, .kind = EXIT_CODE, .shown = 7},
        {.ran = true, .has_main = true, .status = SIGSEGV, .yielding = -1, .kind = EXIT_SIGNAL, .shown = SIGSEGV},
        /* with a core */
        {.ran = true, .has_main = true, .status = SIGSEGV | 0x80, .yielding = -1, .kind = EXIT_SIGNAL, .shown = SIGSEGV},
        {.ran = true, .has_main = true, .status = 0, .yielding = 120, .kind = EXIT_YIELDED, .shown = 0},
        /* said yielding, then failed */
        {.ran = true, .has_main = true, .status = 1 << 8, .yielding = 120, .kind = EXIT_CODE, .shown = 1},
        {.ran = true, .has_main = true, .stopped = true, .status = 0, .yielding = 120, .kind = EXIT_YIELDED, .shown = 0},
        {.ran = true, .has_main = true, .stopped = true, .status = 15, .yielding = -1, .kind = EXIT_STOPPED, .shown = 15},
        {.ran = true, .has_main = true, .stopped_by_launcher = true, .status = 9, .yielding = -1, .kind = EXIT_STOPPED, .shown = 9},
        {.ran = true, .lost = true, .has_main = true, .yielding = -1, .kind = EXIT_LOST},
        {.ran = false, .has_main = true, .status = 125 << 8, .yielding = -1, .kind = EXIT_UNLAUNCHED, .shown = 125},
        {.ran = false, .has_main = true, .stopped = true, .yielding = -1, .kind = EXIT_STOPPED},
        {.ran = false, .has_main = false, .yielding = -1, .kind = EXIT_CODE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct task t = fresh(TASK_RUNNING);
        t.stopped = rows[i].stopped;
        t.yielding_step = rows[i].yielding;
        task_ended(&t, rows[i].ran, rows[i].lost, rows[i].stopped_by_launcher, rows[i].status, rows[i].has_main);
        if (t.exit.kind != rows[i].kind || (rows[i].shown && t.exit.status != rows[i].shown))
            fail_msg("row %zu: %s %d", i, exit_kind_name(t.exit.kind), t.exit.status);
        assert_int_equal(t.state, TASK_EXITED);
    }
}

static void an_exited_task_takes_nothing_more(void **state) {
    struct task t = fresh(TASK_EXITED), before = t;
    assert_int_equal(task_stop(&t, 0), TASK_DO_NOTHING);
    assert_int_equal(task_ask_checkpoint(&t, 3, 10, 10), TASK_DO_NOTHING);
    assert_int_equal(task_checkpointed(&t, 3, 10), TASK_DO_NOTHING);
    assert_int_equal(task_rank_ended(&t, 0, 9, false), TASK_DO_NOTHING);
    assert_int_equal(task_ended(&t, true, false, false, 0, true), TASK_DO_NOTHING);
    task_yielding(&t, 5);
    assert_memory_equal(&t, &before, sizeof t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_move),
        cmocka_unit_test(gang_of_one_launches_without_go),
        cmocka_unit_test(stale_orders_are_refused),
        cmocka_unit_test(stop_twice_is_once_unless_it_hurries),
        cmocka_unit_test(checkpoint_is_asked_once_and_its_grace_ends_in_a_stop),
        cmocka_unit_test(an_answered_checkpoint_is_answered_again),
        cmocka_unit_test(an_older_checkpoint_doesnt_replace_a_newer),
        cmocka_unit_test(the_first_bad_rank_ends_the_task_and_is_named),
        cmocka_unit_test(how_it_ended),
        cmocka_unit_test(an_exited_task_takes_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
