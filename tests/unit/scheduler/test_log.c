/* The event log out of the store: walked to any turn it gives the state that memory had then; exported in pieces of any size it is the same
 * text; and it can be cut at any turn, at any moment of the cutting, and still leads to where memory is. */
#include "scheduler/log_export.h"
#include "scheduler/store_sql.h"
#include "tests/unit/scheduler/turns.h"

enum { TURNS_MAX = 400, STEP_US = 1000000 };

struct life {
    struct turns t;
    uint64_t digests[TURNS_MAX];   /* of memory, after each turn */
    int64_t last;
};

static void note(struct life *l) {
    l->last = store_turn(l->t.store);
    assert_true(l->last < TURNS_MAX);
    l->digests[l->last] = cluster_digest(&l->t.c);
    l->t.store->digest_due_us = 0;   /* at each turn, not now and then */
}

static int64_t submit(struct life *l, int gpus) {
    int64_t job = turns_submit(&l->t, "", gpus);
    note(l);
    return job;
}

static void report(struct life *l, enum event_type type, int64_t job, const char *node, enum exit_kind kind, int status, int64_t step) {
    turns_report(&l->t, type, job, node, kind, status, step);
    note(l);
}

/* One after another: submitted, started, checkpointed, ended; one in three fails. */
static void live(struct life *l, int jobs) {
    for (int i = 0; i < jobs; i++) {
        int64_t job = submit(l, 3);
        report(l, EVENT_TASK_STARTED, job, "node0", 0, 0, 0);
        report(l, EVENT_CHECKPOINTED, job, "node0", 0, 0, 10 + i);
        report(l, EVENT_TASK_EXITED, job, "node0", EXIT_CODE, i % 3 == 2, -1);
    }
}

static int setup(void **state) {
    struct life *l = calloc(1, sizeof *l);
    turns_open(&l->t);
    turns_node(&l->t, "node0", 8);
    note(l);
    *state = l;
    return 0;
}

static int teardown(void **state) {
    struct life *l = *state;
    turns_close(&l->t);
    free(l);
    return 0;
}

static struct log_store *open_log(struct life *l) {
    struct log_store *log;
    assert_ok(log_store_open(&log, l->t.folder, &l->t.err), &l->t.err);
    return log;
}

static int64_t ask(struct life *l, const char *sql) {
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(l->t.store->db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return value;
}

static void walk(struct log_walk *w, struct log_store *log, int64_t to, struct error *err) {
    int rc = 0;
    assert_ok(log_walk_begin(w, log, to, err), err);
    while (!(rc = log_walk_step(w, log, STEP_US, err)))
        ;
    if (rc < 0)
        fail_msg("walking to turn %lld: %s", (long long)to, err->text);
}

/* To every turn from `first` on. */
static void walk_everywhere(struct life *l, int64_t first) {
    struct log_store *log = open_log(l);
    struct log_walk w;
    for (int64_t turn = first; turn <= l->last; turn++) {
        walk(&w, log, turn, &l->t.err);
        assert_int_equal(w.c.turn, turn);
        if (cluster_digest(&w.c) != l->digests[turn])
            fail_msg("after turn %lld the log leads elsewhere", (long long)turn);
        log_walk_release(&w);
    }
    log_store_close(log);
}

static char *export_text(struct life *l, int64_t from, size_t most) {
    struct log_store *log = open_log(l);
    struct log_export x;
    struct buffer out = {0};
    char digest[DIGEST_TEXT_MAX + 1];
    bool end = false;
    assert_ok(log_export_begin(&x, log, from, l->last, digest_text(l->digests[l->last], digest), &l->t.err), &l->t.err);
    while (!end) {
        size_t before = out.size;
        assert_ok(log_export_next(&x, most, &out, &end, &l->t.err), &l->t.err);
        assert_true(out.size - before <= most);
    }
    log_export_release(&x);
    log_store_close(log);
    buffer_append(&out, "", 1);
    return (char *)out.data;
}

static size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

static void the_log_leads_to_every_state_that_was(void **state) {
    struct life *l = *state;
    live(l, 6);
    submit(l, 8);
    submit(l, 8);
    walk_everywhere(l, 1);
}

static void pieces_of_any_size_are_the_same_text(void **state) {
    struct life *l = *state;
    live(l, 3);
    submit(l, 8);
    for (int64_t from = 0; from <= 7; from += 7) {
        char *whole = export_text(l, from, EXPORT_CHUNK_MAX_BYTES), *crumbs = export_text(l, from, 7);
        assert_string_equal(whole, crumbs);
        assert_int_equal(count_of(whole, "\"events\":["), from ? l->last - from + 1 : l->last);
        assert_int_equal(count_of(whole, "{\"node\":{"), from != 0);
        assert_int_equal(count_of(whole, "{\"snapshot\":null}\n"), from == 0);
        assert_int_equal(count_of(whole, "\"musterd\":"), 1);   /* once: memory was loaded before the first turn; or the snapshot's */
        free(whole);
        free(crumbs);
    }
}

static void an_export_knows_where_the_log_ends(void **state) {
    struct life *l = *state;
    struct log_store *log = open_log(l);
    struct log_export x;
    live(l, 1);
    assert_error(log_export_begin(&x, log, l->last + 2, l->last, "", &l->t.err), ERR_NOT_FOUND, &l->t.err, "the last turn is 5");
    char *text = export_text(l, l->last + 1, 1000);
    assert_int_equal(count_of(text, "\"events\":["), 0);
    assert_non_null(strstr(text, "{\"end\":{\"turn\":5,\"digest\""));
    free(text);
    log_store_close(log);
}

/* ---- cutting ---- */

/* As the reader and the loop do it. */
static void store_snapshot_at(struct life *l, int64_t turn) {
    struct log_store *log = open_log(l);
    struct log_walk w;
    struct arena arena = {0};
    struct snapshot_cursor at = {0};
    union snapshot_row row;
    enum snapshot_kind kind;
    struct buffer b = {0};
    int64_t position = 0;
    walk(&w, log, turn, &l->t.err);
    struct snapshot_head head = snapshot_head_from(&w.c, &arena);
    while (snapshot_next(&w.c, &at, &row, &kind, &arena)) {
        buffer_clear(&b);
        record_encode(snapshot_kind_schema((int)kind), &row, &b);
        struct snapshot_row_bytes one = {kind, {b.size, b.data}};
        const struct snapshot_head *with = position + 1 == head.rows ? &head : NULL;
        assert_ok(store_write_snapshot_part(l->t.store, turn, position++, &one, 1, with, &l->t.err), &l->t.err);
    }
    buffer_release(&b);
    arena_release(&arena);
    log_walk_release(&w);
    log_store_close(log);
}

/* True: all is gone. */
static bool drop_some(struct life *l, int64_t turn) {
    struct store_dropped dropped;
    assert_ok(store_drop_some(l->t.store, turn, &dropped, &l->t.err), &l->t.err);
    return dropped.all;
}

static void cut(struct life *l, int64_t turn) {
    store_snapshot_at(l, turn);
    while (!drop_some(l, turn))
        ;
}

static void compare_memory(struct life *l) {
    turns_restart(&l->t);
    assert_true(cluster_digest(&l->t.c) == l->digests[l->last]);
    assert_ok(cluster_check(&l->t.c, &l->t.err), &l->t.err);
}

static void a_cut_log_begins_with_a_snapshot_and_leads_to_the_same(void **state) {
    struct life *l = *state;
    int64_t early = submit(l, 1);   /* runs through it all */
    report(l, EVENT_TASK_STARTED, early, "node0", 0, 0, 0);
    live(l, 5);
    int64_t at = l->last - 6;       /* in the middle of the last job but one */
    int64_t jobs = ask(l, "SELECT count(*) FROM jobs");
    cut(l, at);
    assert_int_equal(ask(l, "SELECT min(turn) FROM turns"), at + 1);
    assert_int_equal(ask(l, "SELECT min(turn) FROM events"), at + 1);
    assert_int_equal(ask(l, "SELECT count(*) FROM jobs"), jobs - 3);
    assert_int_equal(ask(l, "SELECT count(*) FROM jobs j WHERE NOT EXISTS (SELECT 1 FROM specs WHERE job=j.id)"), 0);
    assert_int_equal(ask(l, "SELECT count(*) FROM specs WHERE job NOT IN (SELECT id FROM jobs)"), 0);
    assert_int_equal(ask(l, "SELECT count(*) FROM attempts WHERE job NOT IN (SELECT id FROM jobs)"), 0);
    compare_memory(l);
    walk_everywhere(l, at);
    char *text = export_text(l, 0, 1000);
    char begins[64];
    snprintf(begins, sizeof begins, "{\"snapshot\":{\"turn\":%lld,", (long long)at);
    assert_int_equal(strncmp(text, begins, strlen(begins)), 0);
    free(text);
    int64_t next = l->t.c.next_job;
    assert_int_equal(submit(l, 1), next);   /* numbers are not given again */
    cut(l, l->last - 1);                    /* and once more */
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshots"), 1);
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshot_rows WHERE turn NOT IN (SELECT turn FROM snapshots)"), 0);
    compare_memory(l);
    walk_everywhere(l, l->last - 1);
}

/* A kill at any moment: what is there is whole, and the cutting goes on. */
static void half_a_cut_harms_nothing(void **state) {
    struct life *l = *state;
    live(l, 60);   /* more turns than go at once */
    cut(l, 5);     /* an older snapshot is there as well */
    int64_t at = l->last - 10;
    store_snapshot_at(l, at);
    assert_false(drop_some(l, at));
    int64_t first = ask(l, "SELECT min(turn) FROM turns");
    assert_true(first > 1 && first < at);
    compare_memory(l);
    walk_everywhere(l, at);
    struct log_store *log = open_log(l);
    struct log_walk w;
    assert_ok(log_walk_begin(&w, log, first, &l->t.err), &l->t.err);
    assert_error(log_walk_step(&w, log, STEP_US, &l->t.err), ERR_NOT_FOUND, &l->t.err, "turn 6 is not in the log any more");
    log_walk_release(&w);
    assert_error(log_walk_begin(&w, log, 4, &l->t.err), ERR_NOT_FOUND, &l->t.err, "not kept any more");
    log_store_close(log);
    char *text = export_text(l, 0, 1000), begins[64];
    snprintf(begins, sizeof begins, "{\"snapshot\":{\"turn\":%lld,", (long long)at);
    assert_int_equal(strncmp(text, begins, strlen(begins)), 0);
    free(text);
    while (!drop_some(l, at))
        ;
    assert_int_equal(ask(l, "SELECT min(turn) FROM turns"), at + 1);
}

static void a_snapshot_without_its_head_is_none(void **state) {
    struct life *l = *state;
    struct snapshot_row_bytes row = {SNAPSHOT_node, {1, "\x80"}};
    live(l, 2);
    assert_ok(store_write_snapshot_part(l->t.store, 3, 0, &row, 1, NULL, &l->t.err), &l->t.err);
    walk_everywhere(l, 1);
    cut(l, 4);
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshot_rows WHERE turn=3"), 0);
    walk_everywhere(l, 4);
}

static void the_age_of_the_log_is_found(void **state) {
    struct life *l = *state;
    struct store_age age;
    live(l, 5);
    int64_t middle_ms = ask(l, "SELECT now_ms FROM turns WHERE turn=10");
    assert_ok(store_find_age(l->t.store, middle_ms, &age, &l->t.err), &l->t.err);
    assert_int_equal(age.last_before, 9);
    assert_int_equal(age.turns_before, 9);
    assert_false(age.has_snapshot);
    assert_int_equal(age.oldest_ms, ask(l, "SELECT min(now_ms) FROM turns"));
    assert_ok(store_find_age(l->t.store, 0, &age, &l->t.err), &l->t.err);
    assert_int_equal(age.turns_before, 0);
    assert_ok(store_find_age(l->t.store, INT64_MAX, &age, &l->t.err), &l->t.err);
    assert_int_equal(age.last_before, l->last - 1);   /* the last one has the numbers of what comes next */
    cut(l, 9);
    assert_ok(store_find_age(l->t.store, middle_ms, &age, &l->t.err), &l->t.err);
    assert_int_equal(age.turns_before, 0);
    assert_true(age.has_snapshot);
}

/* One whose node is given up ends without an event of its own: it is kept as long as the turn in which that was. */
static void a_job_stays_as_long_as_its_end(void **state) {
    struct life *l = *state;
    int64_t job = submit(l, 1), told = 0;
    for (int i = 0; i <= LOST_ATTEMPTS_MAX; i++) {   /* so often that it is not tried again */
        report(l, EVENT_TASK_STARTED, job, "node0", 0, 0, 0);
        told = l->last;
        turns_begin(&l->t);
        turn_event(&l->t.turn, EVENT_NODE_LOST)->node = "node0";
        turn_event(&l->t.turn, EVENT_NODE_EXPIRED)->node = "node0";
        assert_ok(turns_end(&l->t), &l->t.err);
        note(l);
        if (i == LOST_ATTEMPTS_MAX)
            break;
        turns_node(&l->t, "node0", 8);
        l->t.now_ms += 100000;   /* its cool-down is over */
        turns_begin(&l->t);
        assert_ok(turns_end(&l->t), &l->t.err);
        note(l);
    }
    assert_int_equal(ask(l, "SELECT final FROM jobs WHERE id=1"), 1);
    assert_int_equal(ask(l, "SELECT max(turn) FROM events WHERE job=1"), told);
    int64_t end = l->last;
    submit(l, 0);
    submit(l, 0);
    cut(l, told);
    assert_int_equal(ask(l, "SELECT count(*) FROM jobs WHERE id=1"), 1);
    cut(l, end);
    assert_int_equal(ask(l, "SELECT count(*) FROM jobs WHERE id=1"), 0);
    assert_int_equal(ask(l, "SELECT count(*) FROM attempts"), 0);
}

/* ---- what the log does not lead to ---- */

static void spoil(struct life *l, const char *sql) {
    char path[96];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/muster.db", l->t.folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void what_could_not_be_read_breaks_the_log(void **state) {
    struct life *l = *state;
    live(l, 1);
    submit(l, 8);
    int64_t before = l->last;
    turns_drop(&l->t);
    spoil(l, "UPDATE jobs SET record = x'c1' WHERE id = 2");
    turns_load(&l->t);
    assert_int_equal(ask(l, "SELECT turn FROM snapshots"), before);
    l->digests[before] = cluster_digest(&l->t.c);
    submit(l, 1);
    walk_everywhere(l, before);
    char *text = export_text(l, 0, 1000);
    assert_int_equal(count_of(text, "{\"snapshot\":"), 2);
    assert_non_null(strstr(text, "rows that could not be read were left out"));
    free(text);
    turns_restart(&l->t);   /* it is not found again */
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshots"), 1);
}

static void another_version_begins_anew(void **state) {
    struct life *l = *state;
    int64_t epoch;
    assert_ok(store_begin_epoch(l->t.store, &epoch, &l->t.err), &l->t.err);
    live(l, 1);
    turns_restart(&l->t);
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshots"), 0);
    turns_drop(&l->t);
    spoil(l, "UPDATE starts SET version = 'of old'");
    turns_load(&l->t);
    assert_int_equal(ask(l, "SELECT count(*) FROM snapshots"), 1);
    walk_everywhere(l, 1);
    char *text = export_text(l, 0, 1000);
    assert_non_null(strstr(text, ", after of old"));
    free(text);
}

static void a_wrong_turn_is_told(void **state) {
    struct life *l = *state;
    struct log_walk w;
    live(l, 3);
    assert_int_equal(ask(l, "SELECT count(*) FROM turns WHERE turn=13 AND length(notes) > 16"), 1);   /* its digest is there */
    turns_drop(&l->t);
    spoil(l, "UPDATE events SET body=(SELECT body FROM events WHERE turn=3 AND position=0) WHERE turn=7 AND position=0");
    turns_load(&l->t);
    struct log_store *log = open_log(l);
    assert_ok(log_walk_begin(&w, log, 13, &l->t.err), &l->t.err);
    assert_error(log_walk_step(&w, log, STEP_US, &l->t.err), ERR_FAILED, &l->t.err, "turn ");
    log_walk_release(&w);
    log_store_close(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_log_leads_to_every_state_that_was, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_of_any_size_are_the_same_text, setup, teardown),
        cmocka_unit_test_setup_teardown(an_export_knows_where_the_log_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_log_begins_with_a_snapshot_and_leads_to_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_cut_harms_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_without_its_head_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(the_age_of_the_log_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_stays_as_long_as_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(what_could_not_be_read_breaks_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(another_version_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_turn_is_told, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
