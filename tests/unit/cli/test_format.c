/* --format: rows as the lines that a script asked for. */
#include "tests/unit/cli/capture.h"

#include "scheduler/cli/format.h"

static void assert_lines(const char *format, const char *expected) {
    static const char rows[] = "[{\"id\": 7, \"state\": \"RUNNING\", \"name\": \"train\", \"nodes\": [\"n0\", \"n1\"],"
                               "  \"loss\": 2.5, \"fake\": true, \"progress\": {\"step\": 50, \"deep\": {\"er\": 1}}},"
                               " {\"id\": 12, \"state\": \"PENDING\", \"name\": \"evil\\u001b[31m\", \"nodes\": [], \"progress\": null}]";
    json_t *document = parse_json(rows);
    struct error err;
    char *text;
    assert_ok(format_check(format, &err), &err);
    CAPTURE(text, format_rows(document, format, out));
    assert_string_equal(text, expected);
    free(text);
    json_decref(document);
}

static void test_members(void **state) {
    assert_lines("{id}", "7\n12\n");
    assert_lines("{id}\\t{state}\\n {nodes}", "7\tRUNNING\n n0,n1\n12\tPENDING\n \n");
    assert_lines("{progress.step} {progress.deep.er} {progress.deep}", "50 1 {\"er\":1}\n  \n");
    assert_lines("[{progress}]", "[{\"step\":50,\"deep\":{\"er\":1}}]\n[]\n");
    assert_lines("{loss} {fake}", "2.5 true\n \n");
}

static void test_members_that_are_not_there_are_empty(void **state) {
    assert_lines("<{nothing}{id.x}{progress.nothing.x}>", "<>\n<>\n");
}

static void test_empty_braces_are_the_whole_row(void **state) {
    struct error err;
    json_t *document = parse_json("[{\"id\": 7, \"nodes\": []}]");
    char *text;
    assert_ok(format_check("{}", &err), &err);
    CAPTURE(text, format_rows(document, "row: {}", out));
    assert_string_equal(text, "row: {\"id\":7,\"nodes\":[]}\n");
    free(text);
    json_decref(document);
}

static void test_other_text_stands_for_itself(void **state) { assert_lines("a } \\x 100%s \\", "a } \\x 100%s \\\na } \\x 100%s \\\n"); }

static void test_names_can_not_drive_a_terminal(void **state) { assert_lines("{name}", "train\nevil\\x1b[31m\n"); }

static void test_open_braces(void **state) {
    static const char *const open[] = {"{id", "{", "{id} {state", "a { b"};
    struct error err;
    for (size_t i = 0; i < COUNT(open); i++)
        assert_error(format_check(open[i], &err), ERR_INVALID, &err, "--format: '{' without '}' in '");
    assert_ok(format_check("", &err), &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_members_that_are_not_there_are_empty),
        cmocka_unit_test(test_empty_braces_are_the_whole_row),
        cmocka_unit_test(test_other_text_stands_for_itself),
        cmocka_unit_test(test_names_can_not_drive_a_terminal),
        cmocka_unit_test(test_open_braces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
