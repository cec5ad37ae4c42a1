/* musterd --check: a whole store is whole, also when its log was cut or broken; and each thing that can be wrong with one is told. */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include "scheduler/check.h"
#include "scheduler/store_sql.h"
#include "tests/unit/scheduler/turns.h"

static int setup(void **state) {
    struct turns *t = calloc(1, sizeof *t);
    turns_open(t);
    turns_node(t, "node0", 8);
    for (int i = 0; i < 4; i++) {
        int64_t job = turns_submit(t, "", 2);
        t->store->digest_due_us = 0;   /* each turn has its digest */
        turns_report(t, EVENT_TASK_STARTED, job, "node0", 0, 0, 0);
        t->store->digest_due_us = 0;
        if (i < 2)
            turns_report(t, EVENT_TASK_EXITED, job, "node0", EXIT_CODE, 0, -1);
        t->store->digest_due_us = 0;
    }
    *state = t;
    return 0;
}

static int teardown(void **state) {
    turns_close(*state);
    free(*state);
    return 0;
}

static void spoil(struct turns *t, const char *sql) {
    char path[96];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/muster.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* What it prints to standard output; *code: what it exits with. To be freed. */
static char *check(const char *folder, bool json, int *code) {
    FILE *f = tmpfile();
    fflush(stdout);
    int saved = dup(1);
    dup2(fileno(f), 1);
    *code = check_store(folder, json);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    long size = ftell(f) < 0 ? 0 : lseek(fileno(f), 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    if (pread(fileno(f), text, (size_t)size, 0) != size)
        fail_msg("reading the report");
    fclose(f);
    return text;
}

static void expect(struct turns *t, int want, const char *part) {
    int code;
    char *text = check(t->folder, false, &code);
    if (code != want || !strstr(text, part))
        fail_msg("exit code %d, not %d, or no '%s' in:\n%s", code, want, part, text);
    free(text);
}

static void a_whole_store_is_whole(void **state) {
    struct turns *t = *state;
    turns_drop(t);
    expect(t, 0, "ok       the file is whole\nok       every row can be read and belongs to something: ");
    expect(t, 0, "ok       the state can be: 2 jobs that wait or run, 1 nodes, 1 queues; digest ");
    expect(t, 0, "ok       the log leads to that state: 11 turns with 15 events, up to turn 11\n");
    turns_load(t);
}

static void the_report_is_json_too(void **state) {
    struct turns *t = *state;
    int code;
    turns_drop(t);
    spoil(t, "UPDATE specs SET body=x'c1' WHERE job=2");
    char *text = check(t->folder, true, &code);
    json_t *report = json_loads(text, 0, NULL), *rows = json_array_get(json_object_get(report, "checks"), 1);
    assert_int_equal(code, 1);
    assert_false(json_is_true(json_object_get(report, "ok")));
    assert_string_equal(json_string_value(json_object_get(rows, "name")), "rows");
    assert_int_equal(json_array_size(json_object_get(rows, "problems")), 1);
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(report, "checks"), 3), "ok")));
    json_decref(report);
    free(text);
    turns_load(t);
}

static void a_broken_log_is_whole_all_the_same(void **state) {
    struct turns *t = *state;
    turns_drop(t);
    spoil(t, "UPDATE jobs SET record=x'c1' WHERE id=3");
    turns_load(t);            /* into quarantine, and a snapshot is taken */
    turns_submit(t, "", 1);
    turns_drop(t);
    expect(t, 1, "job 3: stored_job: ");   /* its row is still what it is */
    expect(t, 1, "ok       the log leads to that state: 12 turns with 17 events, up to turn 12; on the way the state was taken over");
    turns_load(t);
}

static const struct { const char *sql, *part; } spoils[] = {
    {"UPDATE jobs SET record=x'c1' WHERE id=1", "- job 1: stored_job: "},
    {"UPDATE jobs SET record=(SELECT record FROM jobs WHERE id=3) WHERE id=4", "- job 4: its record is of job 3"},
    {"UPDATE events SET body=x'91' WHERE turn=5 AND position=0", "- an event of turn 5: "},
    {"UPDATE events SET body=(SELECT body FROM events WHERE turn=3 AND position=0) WHERE turn=6 AND position=0", "- turn 6: "},
    {"DELETE FROM events WHERE turn=4", "- turn 4 has no events"},
    {"DELETE FROM turns WHERE turn=4", "- turn 4 is missing"},
    {"DELETE FROM turns WHERE turn=4", "- an event is kept of turn 4, which is not"},
    {"UPDATE turns SET now_ms=1 WHERE turn=6", "- turn 6 is of an earlier time"},
    {"DELETE FROM specs WHERE job=2", "- what was submitted as job 2 is missing"},
    {"DELETE FROM jobs WHERE id=1", "- an attempt is kept of job 1, which is not"},
    {"UPDATE nodes SET record=x'80'", "- node 0: "},
    {"UPDATE queues SET weight=7, record=NULL", "FAILED   the log leads to that state: 11 turns"},
    {"UPDATE queues SET weight=7, record=NULL", "- it leads to the digest "},
    {"UPDATE queues SET record=x'80'", "- queue 0: "},
    {"INSERT INTO usage VALUES (9, 1000, 5, 5)", "- usage 1000: its queue is 9"},
    {"DELETE FROM turns WHERE turn<3; DELETE FROM events WHERE turn<3", "and no snapshot says what was before"},
    {"INSERT OR REPLACE INTO meta VALUES ('reservations', x'93ffff')", "- reservations 0: "},
};

static void what_is_wrong_is_told(void **state) {
    struct turns *t = *state;
    char command[256];
    turns_drop(t);
    spoil(t, "PRAGMA wal_checkpoint(TRUNCATE)");   /* all is in the one file */
    snprintf(command, sizeof command, "cd %s && cp muster.db whole", t->folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < COUNT(spoils); i++) {
        snprintf(command, sizeof command, "cd %s && rm -f muster.db* && cp whole muster.db", t->folder);
        assert_int_equal(system(command), 0);
        spoil(t, spoils[i].sql);
        expect(t, 1, spoils[i].part);
    }
    assert_int_equal(system(command), 0);
    turns_load(t);
}

static void what_can_t_be_checked_says_why(void **state) {
    struct turns *t = *state;
    char path[96];
    int code;
    free(check("/nonexistent", false, &code));
    assert_int_equal(code, 3);
    free(check(t->folder, false, &code));   /* it is open: somebody runs on it */
    assert_int_equal(code, 5);
    turns_drop(t);
    spoil(t, "PRAGMA user_version=1");
    free(check(t->folder, false, &code));
    assert_int_equal(code, 5);
    spoil(t, "PRAGMA user_version=2");
    snprintf(path, sizeof path, "%s/store.lock", t->folder);
    unlink(path);
    expect(t, 0, "ok");                      /* a copy */
    turns_load(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(a_whole_store_is_whole, setup, teardown),
                                       cmocka_unit_test_setup_teardown(the_report_is_json_too, setup, teardown),
                                       cmocka_unit_test_setup_teardown(a_broken_log_is_whole_all_the_same, setup, teardown),
                                       cmocka_unit_test_setup_teardown(what_is_wrong_is_told, setup, teardown),
                                       cmocka_unit_test_setup_teardown(what_can_t_be_checked_says_why, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
