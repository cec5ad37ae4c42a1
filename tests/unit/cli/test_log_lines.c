/* Output as JSON lines: where lines end, what comes in pieces, and bytes that are no text. */
#include "tests/unit/cli/capture.h"

#include "scheduler/cli/log_lines.h"

static struct log_lines lines;

static void begin(FILE *out, int64_t rank) { lines = (struct log_lines){.out = out, .job = 7, .rank = rank}; }
static void add(int64_t attempt, int64_t offset, const char *text) { log_lines_add(&lines, attempt, offset, text, strlen(text)); }

/* The texts of what was printed, one after the other; `count` of them. */
static char *joined(const char *printed, size_t *count) {
    char *whole = calloc(1, strlen(printed) + 1);
    *count = 0;
    for (const char *p = printed; *p; p = strchr(p, '\n') + 1) {
        json_t *row = json_loads(p, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(row);
        strcat(whole, json_string_value(json_object_get(row, "text")));
        json_decref(row);
        ++*count;
    }
    return whole;
}

static void test_a_row_a_line(void **state) {
    char *text;
    CAPTURE(text, {
        begin(out, -1);
        add(1, 0, "one\n\ntw");
        add(1, 7, "o\n");
        add(2, 9, "three\n");
        log_lines_flush(&lines, true);
    });
    assert_string_equal(text, "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":null,\"offset\":0,\"text\":\"one\\n\"}\n"
                              "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":null,\"offset\":4,\"text\":\"\\n\"}\n"
                              "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":null,\"offset\":5,\"text\":\"two\\n\"}\n"
                              "{\"schema_version\":1,\"job\":7,\"attempt\":2,\"rank\":null,\"offset\":9,\"text\":\"three\\n\"}\n");
    free(text);
}

static void test_what_is_held_comes_when_nothing_follows(void **state) {
    char *text;
    CAPTURE(text, {
        begin(out, 3);
        add(1, 100, "$ ");
        log_lines_flush(&lines, false);
        log_lines_flush(&lines, false);
        add(1, 102, "ls\n");
    });
    assert_string_equal(text, "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":3,\"offset\":100,\"text\":\"$ \"}\n"
                              "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":3,\"offset\":102,\"text\":\"ls\\n\"}\n");
    free(text);
}

/* The next attempt, or a hole in the file, does not make one line of two. */
static void test_other_places_begin_anew(void **state) {
    char *text;
    CAPTURE(text, {
        begin(out, -1);
        add(1, 0, "end");
        add(2, 0, "begin");
        add(2, 50, "after a hole");
        log_lines_flush(&lines, true);
    });
    assert_contains(text, "\"attempt\":1,\"rank\":null,\"offset\":0,\"text\":\"end\"}");
    assert_contains(text, "\"attempt\":2,\"rank\":null,\"offset\":0,\"text\":\"begin\"}");
    assert_contains(text, "\"attempt\":2,\"rank\":null,\"offset\":50,\"text\":\"after a hole\"}");
    free(text);
}

static void test_characters_are_not_cut(void **state) {
    static const char euro[] = "\xe2\x82\xac", clef[] = "\xf0\x9d\x84\x9e";
    char *text;
    CAPTURE(text, {
        begin(out, -1);
        for (int i = 0; i < 3; i++) {
            log_lines_add(&lines, 1, i, &euro[i], 1);
            log_lines_flush(&lines, false);
        }
        for (int i = 0; i < 4; i++) {
            log_lines_add(&lines, 1, 3 + i, &clef[i], 1);
            log_lines_flush(&lines, false);
        }
    });
    size_t count;
    char *whole = joined(text, &count);
    assert_string_equal(whole, "\xe2\x82\xac\xf0\x9d\x84\x9e");
    assert_int_equal(count, 2);
    free(whole);
    free(text);
}

static void test_bytes_that_are_no_text(void **state) {
    char *text;
    CAPTURE(text, {
        begin(out, -1);
        log_lines_add(&lines, 1, 0, "a\xff\0\x1b[31m\n\xe2\x82", 11);
        log_lines_flush(&lines, false);
        log_lines_flush(&lines, true);
    });
    assert_string_equal(text, "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":null,\"offset\":0,\"text\":\"a\xef\xbf\xbd\\u0000"
                              "\\u001B[31m\\n\"}\n"
                              "{\"schema_version\":1,\"job\":7,\"attempt\":1,\"rank\":null,\"offset\":9,\"text\":\"\xef\xbf\xbd"
                              "\xef\xbf\xbd\"}\n");
    free(text);
}

static void test_long_lines_come_in_pieces(void **state) {
    enum { LONG = 200000 };
    static char given[LONG + 2];
    char *text;
    for (size_t i = 0; i + 3 <= LONG; i += 3)
        memcpy(given + i, "\xe2\x82\xac", 3);
    given[strlen(given)] = '\n';
    CAPTURE(text, {
        begin(out, -1);
        for (size_t at = 0, length = strlen(given); at < length; at += 50001) {
            size_t size = length - at < 50001 ? length - at : 50001;
            log_lines_add(&lines, 1, (int64_t)at, given + at, size);
        }
        log_lines_flush(&lines, true);
    });
    size_t count;
    char *whole = joined(text, &count);
    assert_string_equal(whole, given);
    assert_int_equal(count, 4);
    free(whole);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_a_line),
        cmocka_unit_test(test_what_is_held_comes_when_nothing_follows),
        cmocka_unit_test(test_other_places_begin_anew),
        cmocka_unit_test(test_characters_are_not_cut),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_long_lines_come_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
