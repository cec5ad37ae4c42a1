/* The store: what was committed is what a restart finds, to the digest; and what is broken is said, not died of. */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scheduler/store_sql.h"
#include "tests/unit/scheduler/turns.h"

static int setup(void **state) {
    struct turns *t = calloc(1, sizeof *t);
    turns_open(t);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    turns_close(*state);
    free(*state);
    return 0;
}

/* Both digests are of memories that have forgotten the jobs that are over. */
static void restart_and_compare(struct turns *t) {
    turns_begin(t);
    uint64_t before = cluster_digest(&t->c);
    int jobs = t->c.job_count;
    turns_restart(t);
    turns_begin(t);
    assert_int_equal(t->c.job_count, jobs);
    assert_true(cluster_digest(&t->c) == before);
    assert_ok(cluster_check(&t->c, &t->err), &t->err);
}

/* Runs SQL on the file from outside, while the store is closed. */
static void spoil(struct turns *t, const char *sql) {
    char path[96];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/muster.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int64_t ask(struct turns *t, const char *sql) {
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *st;
    snprintf(path, sizeof path, "%s/muster.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return value;
}

static void a_new_store_is_empty(void **state) {
    struct turns *t = *state;
    assert_int_equal(t->c.job_count, 0);
    assert_int_equal(store_turn(t->store), 0);
    restart_and_compare(t);
}

static void a_life_survives_restarts_at_each_step(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    turns_node(t, "node1", 4);
    restart_and_compare(t);
    int64_t job = turns_submit(t, "", 4), waiting = turns_submit(t, "", 8);
    restart_and_compare(t);
    const struct job *j = cluster_job(&t->c, job);
    assert_int_equal(j->state, JOB_STARTING);
    char node[NODE_NAME_MAX];
    strcpy(node, t->c.nodes[j->placement.tasks[0].node].name);
    turns_report(t, EVENT_TASK_STARTED, job, node, 0, 0, 0);
    restart_and_compare(t);
    assert_int_equal(cluster_job(&t->c, job)->state, JOB_RUNNING);
    turns_report(t, EVENT_CHECKPOINTED, job, node, 0, 0, 120);
    restart_and_compare(t);
    assert_int_equal(cluster_job(&t->c, job)->checkpoint_step, 120);
    turns_report(t, EVENT_TASK_EXITED, job, node, EXIT_CODE, 3, -1);
    assert_int_equal(cluster_job(&t->c, job)->state, JOB_FAILED);
    restart_and_compare(t);
    assert_null(cluster_job(&t->c, job));
    assert_int_equal(cluster_job(&t->c, waiting)->state, JOB_STARTING);
    struct store_job stored;
    assert_ok(store_find_job(t->store, job, &stored, &t->err), &t->err);
    assert_int_equal(stored.state, JOB_FAILED);
    assert_int_equal(stored.attempt, 1);
}

static void arrays_survive_restarts_at_each_step(void **state) {
    struct turns *t = *state;
    struct job_spec spec;
    struct arena arena = {0};
    turns_node(t, "node0", 8);
    turns_begin(t);
    int64_t array = turns_add_array(t, "", 4, 0, "3,5-9:2,20-29%3");
    assert_ok(turns_end(t), &t->err);
    restart_and_compare(t);
    const struct job *j = cluster_job(&t->c, array);
    assert_true(j->array->running == 2 && j->array->waiting_count == 12 && j->array->limit == 3);
    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_JOB_HELD);
    e->job = array;
    e->elements = "9,27-29";
    e = turn_event(&t->turn, EVENT_JOB_CANCELLED);
    e->job = array;
    e->elements = "24";
    assert_ok(turns_end(t), &t->err);
    restart_and_compare(t);
    int64_t held = store_find_element(t->store, array, 9), first = store_find_element(t->store, array, 3);
    assert_int_equal(cluster_job(&t->c, held)->state, JOB_HELD);
    assert_string_equal(soft_job(&t->soft, held)->name, "sleep");
    assert_int_equal(store_find_element(t->store, array, 24), 0);
    assert_ok(store_read_spec(t->store, held, &spec, &arena, &t->err), &t->err);   /* kept once, with the array */
    assert_string_equal(spec.array, "3,5-9:2,20-29%3");
    turns_report(t, EVENT_TASK_EXITED, first, "node0", EXIT_CODE, 3, -1);
    restart_and_compare(t);
    j = cluster_job(&t->c, array);
    assert_true(j->array->ended[JOB_FAILED] == 1 && j->array->ended[JOB_CANCELLED] == 1 && j->end.status == 3);
    turns_begin(t);
    turn_event(&t->turn, EVENT_JOB_CANCELLED)->job = array;
    assert_ok(turns_end(t), &t->err);
    while (cluster_job(&t->c, array)->array->out.count)
        turns_report(t, EVENT_TASK_EXITED, cluster_job(&t->c, array)->array->out.items[0]->id, "node0", EXIT_STOPPED, 15, -1);
    assert_int_equal(cluster_job(&t->c, array)->state, JOB_FAILED);
    restart_and_compare(t);
    assert_null(cluster_job(&t->c, array));
    arena_release(&arena);
}

static void queues_drains_and_dependencies_survive(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml";
    e->guarantee = 4;
    e->limit = 6;
    e->weight = 2;
    e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml/vision";
    e->guarantee = 2;
    e->limit = NO_LIMIT;
    turn_event(&t->turn, EVENT_NODE_DRAINED)->node = "node0";
    int64_t first = turns_add_job(t, "", 1, 0);
    turns_add_job(t, "", 1, first);
    assert_ok(turns_end(t), &t->err);
    for (size_t i = 0; i < t->turn.event_count; i++)
        assert_ok(t->turn.errors[i].code, &t->turn.errors[i]);
    restart_and_compare(t);
    assert_true(t->c.nodes[0].drained);
    assert_int_equal(t->c.queues[cluster_queue(&t->c, "ml/vision")].parent, cluster_queue(&t->c, "ml"));
    assert_int_equal(cluster_job(&t->c, first + 1)->after_count, 1);
}

/* Every setting, by type of GPU too; a rename with jobs inside; a drained queue, and one that is over its limit. */
static void the_whole_quota_tree_survives(void **state) {
    struct turns *t = *state;
    struct queue_spec spec;
    struct arena arena = {0};
    turns_node(t, "node0", 8);
    queue_spec_init(&spec, "default");
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        assert_ok(queue_spec_parse(&spec, i, queue_setting_kind(i) == QUEUE_KIND_DURATION ? "90s" : i == QUEUE_SETTING_POLICY ? "fifo"
                                   : queue_setting_kind(i) == QUEUE_KIND_NAMES ? "ada,bob" : i == QUEUE_SETTING_CLOSED ? "none" : "8",
                                   &arena, &t->err), &t->err);
    queue_typed_parse(queue_spec_typed(&spec, "T", &arena), QUEUE_SETTING_LIMIT, "7", &t->err);
    turns_begin(t);
    turn_event(&t->turn, EVENT_QUOTA_SET)->queues = (struct rows){1, &spec};
    assert_ok(turns_end(t), &t->err);
    assert_ok(t->turn.errors[0].code, &t->turn.errors[0]);
    restart_and_compare(t);
    assert_string_equal(t->c.queues[0].admins, "ada,bob");
    assert_int_equal(t->c.queues[0].typed[1].limit, 7);

    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml";
    e->limit = NO_LIMIT;
    int64_t job = turns_add_job(t, "", 4, 0);
    t->turn.events[1].queue = "ml";
    assert_ok(turns_end(t), &t->err);
    turns_begin(t);
    e = turn_event(&t->turn, EVENT_QUOTA_RENAMED);
    e->queue = "ml";
    e->to = "default/lab";
    e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "default/lab";
    e->limit = 2;
    e->drain = true;
    assert_ok(turns_end(t), &t->err);
    for (size_t i = 0; i < t->turn.event_count; i++)
        assert_ok(t->turn.errors[i].code, &t->turn.errors[i]);
    restart_and_compare(t);
    int32_t lab = cluster_queue(&t->c, "default/lab");
    assert_int_equal(cluster_job(&t->c, job)->queue, lab);
    assert_true(t->c.queues[lab].draining);
    assert_int_equal(ask(t, "SELECT count(*) FROM jobs WHERE queue = 'default/lab'"), 1);
    assert_int_equal(ask(t, "SELECT count(*) FROM queues WHERE name = 'ml'"), 0);
    arena_release(&arena);
}

/* What a store of version 1 knew of its queues holds, and is written in the new form when it next changes. */
/* What the first released schema had. */
static void as_of_version_1(struct turns *t) {
    spoil(t, "DROP TABLE usage; DROP INDEX events_of_queues; ALTER TABLE queues DROP COLUMN record;"
             "DROP INDEX jobs_by_array; ALTER TABLE jobs DROP COLUMN array; ALTER TABLE jobs DROP COLUMN element;"
             "DELETE FROM meta WHERE key = 'gpu_types';"
             "DROP TABLE snapshots; DROP TABLE snapshot_rows; DROP INDEX attempts_by_end; ALTER TABLE turns DROP COLUMN notes;"
             "PRAGMA user_version=1");
}

static void rows_of_queues_of_version_1_are_kept(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml";
    e->guarantee = 4;
    e->limit = 6;
    e->weight = 2;
    e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml/a";
    e->limit = NO_LIMIT;
    assert_ok(turns_end(t), &t->err);
    turns_begin(t);
    uint64_t before = cluster_digest(&t->c);
    turns_drop(t);
    as_of_version_1(t);
    turns_load(t);
    turns_begin(t);
    assert_true(cluster_digest(&t->c) == before);
    assert_int_equal(t->c.queues[cluster_queue(&t->c, "ml")].weight, 2);
    assert_int_equal(t->c.queues[cluster_queue(&t->c, "ml/a")].parent, cluster_queue(&t->c, "ml"));
    e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml";
    e->guarantee = 3;
    e->limit = 6;
    assert_ok(turns_end(t), &t->err);
    restart_and_compare(t);
    assert_int_equal(ask(t, "SELECT count(*) FROM queues WHERE record IS NOT NULL"), 1);
    assert_int_equal(ask(t, "SELECT count(*) FROM meta WHERE key = 'gpu_types'"), 1);
}

/* Its columns hold, and the daemon starts. */
static void an_unreadable_queue_falls_back_to_its_columns(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    turns_begin(t);
    struct event *e = turn_event(&t->turn, EVENT_QUOTA_SET);
    e->queue = "ml";
    e->guarantee = 4;
    e->limit = 6;
    assert_ok(turns_end(t), &t->err);
    turns_drop(t);
    spoil(t, "UPDATE queues SET record = x'c1c1' WHERE name = 'ml'");
    turns_load(t);
    assert_int_equal(t->c.queues[cluster_queue(&t->c, "ml")].limit, 6);
    assert_int_equal(ask(t, "SELECT count(*) FROM quarantine WHERE kind = 'queue'"), 1);
}

static void the_log_replays_to_the_same_cluster(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    int64_t a = turns_submit(t, "", 4), b = turns_submit(t, "", 8);
    turns_report(t, EVENT_TASK_STARTED, a, "node0", 0, 0, 0);
    turns_report(t, EVENT_TASK_EXITED, a, "node0", EXIT_CODE, 0, -1);
    turns_report(t, EVENT_TASK_STARTED, b, "node0", 0, 0, 0);
    turns_begin(t);
    struct cluster replayed;
    struct arena arena = {0};
    sqlite3 *db;
    sqlite3_stmt *st;
    char path[96];
    cluster_init(&replayed);
    snprintf(path, sizeof path, "%s/muster.db", t->folder);
    sqlite3_open(path, &db);
    sqlite3_prepare_v2(db, "SELECT t.turn, t.now_ms, e.body FROM events e JOIN turns t USING (turn) ORDER BY e.seq", -1, &st, NULL);
    int events = 0;
    for (; sqlite3_step(st) == SQLITE_ROW; events++) {
        struct event e;
        replayed.turn = (uint64_t)sqlite3_column_int64(st, 0);
        assert_ok(record_decode(&event_schema, sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2), &e, &arena, &t->err),
                  &t->err);
        assert_ok(cluster_apply(&replayed, &e, sqlite3_column_int64(st, 1), &t->err), &t->err);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    assert_true(events > 6);
    cluster_forget_finished(&replayed, t->c.turn);
    assert_true(cluster_digest(&replayed) == cluster_digest(&t->c));
    cluster_release(&replayed);
    arena_release(&arena);
}

static void a_token_finds_its_job_of_its_user(void **state) {
    struct turns *t = *state;
    int64_t job = turns_submit(t, "token-1", 0);
    turns_restart(t);
    assert_int_equal(store_find_token(t->store, 1000, "token-1"), job);
    assert_int_equal(store_find_token(t->store, 1001, "token-1"), 0);
    assert_int_equal(store_find_token(t->store, 1000, "token-2"), 0);
    assert_int_equal(store_find_token(t->store, 1000, ""), 0);
}

static void a_spec_comes_back_as_it_was(void **state) {
    struct turns *t = *state;
    struct job_spec spec;
    struct arena arena = {0};
    int64_t job = turns_submit(t, "", 0);
    turns_restart(t);
    assert_ok(store_read_spec(t->store, job, &spec, &arena, &t->err), &t->err);
    assert_string_equal(spec.command.items[1], "60");
    assert_error(store_read_spec(t->store, job + 1, &spec, &arena, &t->err), ERR_NOT_FOUND, &t->err, "not in the store");
    arena_release(&arena);
}

static void ids_are_not_given_twice(void **state) {
    struct turns *t = *state;
    turns_submit(t, "", 0);
    int64_t last = turns_submit(t, "", 0);
    turns_restart(t);
    assert_int_equal(turns_submit(t, "", 0), last + 1);
}

static void epochs_rise_at_each_start(void **state) {
    struct turns *t = *state;
    int64_t first, second;
    assert_ok(store_begin_epoch(t->store, &first, &t->err), &t->err);
    turns_restart(t);
    assert_ok(store_begin_epoch(t->store, &second, &t->err), &t->err);
    assert_true(second > first);
}

static void a_second_daemon_is_refused(void **state) {
    struct turns *t = *state;
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    struct store *other = NULL;
    struct error err;
    assert_error(store_open(&other, t->folder, &err), ERR_CONFLICT, &err, pid);
}

static void a_newer_schema_is_refused(void **state) {
    struct turns *t = *state;
    struct store *other = NULL;
    char back[64];
    turns_drop(t);
    snprintf(back, sizeof back, "PRAGMA user_version=%lld", (long long)ask(t, "PRAGMA user_version"));
    spoil(t, "PRAGMA user_version=99");
    assert_error(store_open(&other, t->folder, &t->err), ERR_CONFLICT, &t->err, "schema 99");
    spoil(t, back);
    turns_load(t);
}

/* As the first released schema left it: a turn, a job that waits, a queue. */
static void a_store_of_the_first_schema_is_migrated(void **state) {
    struct turns *t = *state;
    int64_t job = turns_submit(t, "token", 0);
    turns_drop(t);
    as_of_version_1(t);
    turns_load(t);
    assert_int_equal(store_find_token(t->store, 1000, "token"), job);
    assert_int_equal(turns_submit(t, "", 0), job + 1);
    restart_and_compare(t);
    assert_true(ask(t, "PRAGMA user_version") >= 2);
}

static void an_unreadable_job_is_put_aside(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    int64_t bad = turns_submit(t, "", 4), good = turns_submit(t, "", 4);
    turns_drop(t);
    spoil(t, "UPDATE jobs SET record = x'c1c1' WHERE id = 1");
    turns_load(t);
    assert_null(cluster_job(&t->c, bad));
    assert_int_equal(cluster_job(&t->c, good)->state, JOB_STARTING);
    assert_int_equal(ask(t, "SELECT count(*) FROM quarantine WHERE kind = 'job' AND id = 1 AND reason <> ''"), 1);
    assert_int_equal(ask(t, "SELECT final FROM jobs WHERE id = 1"), 1);
    assert_int_equal(__builtin_popcount(t->c.nodes[0].gpus_used), 4);
    assert_ok(cluster_check(&t->c, &t->err), &t->err);
    turns_restart(t);   /* and it is not found again */
    assert_int_equal(ask(t, "SELECT count(*) FROM quarantine"), 1);
}

static void a_record_of_another_job_is_put_aside(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    int64_t first = turns_submit(t, "", 4), second = turns_submit(t, "", 4);
    turns_drop(t);
    spoil(t, "UPDATE jobs SET record = (SELECT record FROM jobs WHERE id = 1) WHERE id = 2");
    turns_load(t);
    assert_non_null(cluster_job(&t->c, first));
    assert_null(cluster_job(&t->c, second));
    assert_int_equal(ask(t, "SELECT count(*) FROM quarantine WHERE id = 2"), 1);
}

/* The database may not grow any more: as a full disk answers. */
static void a_full_disk_loses_nothing_and_says_so(void **state) {
    struct turns *t = *state;
    turns_node(t, "node0", 8);
    int64_t kept = turns_submit(t, "", 1);
    sqlite3_exec(t->store->db, "PRAGMA max_page_count=1", NULL, NULL, NULL);   /* no page more than there are */
    int rc = 0;
    for (int i = 0; i < 200 && !rc; i++) {
        turns_begin(t);
        turns_add_job(t, "", 0, 0);
        rc = turns_end(t);
        kept += !rc;
    }
    assert_error(rc, ERR_STORE, &t->err, "full");
    turns_restart(t);   /* the way back is a restart */
    assert_int_equal(t->c.next_job, kept + 1);
    assert_int_equal(turns_submit(t, "", 1), kept + 1);
    assert_ok(cluster_check(&t->c, &t->err), &t->err);
}

static void commit_and_die(struct turns *t) {
    turns_begin(t);
    turns_add_job(t, "last-words", 0, 0);
    if (turns_end(t))
        _exit(1);
    kill(getpid(), SIGKILL);
}

static void a_kill_after_the_commit_keeps_the_turn(void **state) {
    struct turns *t = *state;
    turns_drop(t);
    pid_t child = fork();
    if (!child) {
        turns_load(t);
        commit_and_die(t);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    turns_load(t);
    assert_int_equal(store_find_token(t->store, 1000, "last-words"), 1);
    assert_int_equal(t->c.job_count, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_store_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(a_life_survives_restarts_at_each_step, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_survive_restarts_at_each_step, setup, teardown),
        cmocka_unit_test_setup_teardown(queues_drains_and_dependencies_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(the_log_replays_to_the_same_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_finds_its_job_of_its_user, setup, teardown),
        cmocka_unit_test_setup_teardown(a_spec_comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_are_not_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(epochs_rise_at_each_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_daemon_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_whole_quota_tree_survives, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_queues_of_version_1_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unreadable_queue_falls_back_to_its_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_schema_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_of_the_first_schema_is_migrated, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unreadable_job_is_put_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_of_another_job_is_put_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_after_the_commit_keeps_the_turn, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
