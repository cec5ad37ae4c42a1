/* The history of the quota tree, told from the event log of a real store. */
#include <sqlite3.h>

#include "common/text.h"
#include "scheduler/quota_history.h"
#include "tests/unit/cli/capture.h"
#include "tests/unit/scheduler/turns.h"

static struct arena arena;

static int setup(void **state) {
    struct turns *t = calloc(1, sizeof *t);
    turns_open(t);
    turns_node(t, "node0", 8);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    turns_close(*state);
    arena_release(&arena);
    free(*state);
    return 0;
}

static struct event *begin(struct turns *t, enum event_type type) {
    turns_begin(t);
    struct event *e = turn_event(&t->turn, type);
    e->uid = 0;
    return e;
}

static void end(struct turns *t) {
    assert_ok(turns_end(t), &t->err);
    assert_ok(t->turn.errors[0].code, &t->turn.errors[0]);
}

static void set(struct turns *t, const char *queue, int setting, const char *value) {
    struct queue_spec *spec = arena_alloc(&arena, sizeof *spec);
    queue_spec_init(spec, queue);
    assert_ok(queue_spec_parse(spec, setting, value, &arena, &t->err), &t->err);
    begin(t, EVENT_QUOTA_SET)->queues = (struct rows){1, spec};
    end(t);
}

static json_t *read_history(struct turns *t, const char *queue, int want) {
    struct history *h = NULL;
    struct view view = {.what = "quota_history", .user = "", .queue = queue, .name = "", .state = ""};
    json_t *document = NULL;
    assert_ok(history_open(&h, t->folder, &t->err), &t->err);
    int rc = quota_history(h, &view, &document, &t->err);
    history_close(h);
    assert_int_equal(rc, want);
    return document;
}

/* "user queue action>to setting:before->after,..." a row. */
static void tell(json_t *document, char *text, size_t size) {
    size_t used = 0, i, k;
    json_t *row, *change;
    text[0] = '\0';
    json_array_foreach(json_object_get(document, "changes"), i, row) {
        const char *to = json_string_value(json_object_get(row, "to"));
        text_append(text, size, &used, "%s %s %s%s%s", json_string_value(json_object_get(row, "user")),
                    json_string_value(json_object_get(row, "queue")), json_string_value(json_object_get(row, "action")), to ? ">" : "",
                    to ? to : "");
        json_array_foreach(json_object_get(row, "changes"), k, change) {
            const char *type = json_string_value(json_object_get(change, "gpu_type"));
            text_append(text, size, &used, " %s%s%s:%s->%s", json_string_value(json_object_get(change, "setting")), type ? "/" : "",
                        type ? type : "", json_string_value(json_object_get(change, "before")),
                        json_string_value(json_object_get(change, "after")));
        }
        text_append(text, size, &used, "\n");
    }
    json_decref(document);
}

static void every_change_is_told_with_before_and_after(void **state) {
    struct turns *t = *state;
    char text[4096];
    struct event *e = begin(t, EVENT_QUOTA_SET);   /* the form of old logs */
    e->queue = "ml";
    e->guarantee = 4;
    e->limit = 8;
    e->weight = 2;
    end(t);
    set(t, "ml", QUEUE_SETTING_LIMIT, "6");
    set(t, "ml", QUEUE_SETTING_LIMIT, "6");   /* changes nothing: not told */
    struct queue_spec rows[2];
    queue_spec_init(&rows[0], "ml/a");
    queue_typed_parse(queue_spec_typed(&rows[0], "T", &arena), QUEUE_SETTING_LIMIT, "3", NULL);
    queue_spec_init(&rows[1], "ml");
    rows[1].whole = true;
    queue_spec_parse(&rows[1], QUEUE_SETTING_USERS, "ada", &arena, NULL);
    begin(t, EVENT_QUOTA_SET)->queues = (struct rows){2, rows};
    end(t);
    e = begin(t, EVENT_QUOTA_RENAMED);
    e->queue = "ml";
    e->to = "lab";
    end(t);
    turns_restart(t);   /* the log goes on */
    set(t, "other", QUEUE_SETTING_WEIGHT, "3");
    e = begin(t, EVENT_QUOTA_DELETED);
    e->queue = "lab/a";
    e->to = "other";
    end(t);
    tell(read_history(t, "", 0), text, sizeof text);
    assert_string_equal(text, "root ml create guarantee:none->4 limit:none->8 weight:none->2\n"
                              "root ml change limit:8->6\n"
                              "root ml change guarantee:4->none limit:6->none weight:2->none users:none->ada\n"
                              "root ml/a create limit/T:none->3\n"
                              "root ml rename>lab\n"
                              "root ml/a rename>lab/a\n"
                              "root other create weight:none->3\n"
                              "root lab/a delete>other limit/T:3->none\n");

    /* a queue's own, and what is or was below it, under all its names */
    tell(read_history(t, "lab/a", 0), text, sizeof text);
    assert_string_equal(text, "root ml/a create limit/T:none->3\nroot ml/a rename>lab/a\nroot lab/a delete>other limit/T:3->none\n");
    tell(read_history(t, "lab", 0), text, sizeof text);
    assert_non_null(strstr(text, "root ml create"));
    assert_non_null(strstr(text, "root lab/a delete"));
    assert_null(strstr(text, "other create"));
    read_history(t, "never", ERR_NOT_FOUND);
    assert_string_equal(t->err.text, "there never was a queue 'never'");
}

static void what_was_refused_is_not_told(void **state) {
    struct turns *t = *state;
    char text[1024];
    set(t, "a", QUEUE_SETTING_GUARANTEE, "8");
    struct event *e = begin(t, EVENT_QUOTA_SET);
    e->queue = "b";
    e->guarantee = 1;
    e->limit = NO_LIMIT;
    assert_ok(turns_end(t), &t->err);
    assert_int_equal(t->turn.errors[0].code, ERR_OVER_QUOTA);
    tell(read_history(t, "", 0), text, sizeof text);
    assert_string_equal(text, "root a create guarantee:none->8\n");
}

static void only_the_last_thousand_are_told(void **state) {
    struct turns *t = *state;
    for (int i = 0; i < 1010; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i + 1);
        set(t, "a", QUEUE_SETTING_WEIGHT, value);
        arena_reset(&arena);
    }
    json_t *document = read_history(t, "", 0), *changes = json_object_get(document, "changes");
    assert_int_equal(json_array_size(changes), 1000);
    json_t *last = json_array_get(json_object_get(json_array_get(changes, 999), "changes"), 0);
    assert_string_equal(json_string_value(json_object_get(last, "after")), "1010");
    json_decref(document);
}

/* A log of years is not read from end to end for it. */
static void an_index_finds_them(void **state) {
    struct turns *t = *state;
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *st;
    snprintf(path, sizeof path, "%s/muster.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "EXPLAIN QUERY PLAN SELECT e.turn, t.wall_ms, e.body FROM events e JOIN turns t USING (turn) "
                                            "WHERE e.type IN (11, 12, 23) ORDER BY e.seq", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    const char *plan = (const char *)sqlite3_column_text(st, 3);
    if (!strstr(plan, "events_of_queues"))
        fail_msg("%s", plan);
    sqlite3_finalize(st);
    sqlite3_close(db);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {T(every_change_is_told_with_before_and_after), T(what_was_refused_is_not_told),
                                       T(only_the_last_thousand_are_told), T(an_index_finds_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
