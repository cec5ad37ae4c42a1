/* Job rows as text: the table, and the exit codes of run and wait. */
#include "tests/unit/cli/capture.h"

#include "scheduler/cli/job_text.h"

#define NOW_MS 1000000

static const char rows[] =
    "{\"jobs\": ["
    "{\"id\": 7, \"name\": \"train\", \"user\": \"ann\", \"queue\": \"ml\", \"state\": \"RUNNING\", \"gpus\": 4, \"nodes\": [\"n0\", "
    "\"n1\"],"
    " \"start_ms\": 800000, \"end_ms\": null, \"reason\": null, \"progress\": {\"step\": 50, \"total\": 100, \"loss\": 2.5, \"eta_s\": "
    "95}},"
    "{\"id\": 12, \"name\": \"evil\\u001b[31m\", \"user\": \"bob\", \"queue\": \"default\", \"state\": \"PENDING\", \"gpus\": 8, "
    "\"nodes\": [],"
    " \"start_ms\": null, \"reason\": {\"code\": \"NO_FIT\", \"text\": \"8 GPUs asked for, 4 free\"}, \"progress\": null}]}";

static void test_table(void **state) {
    json_t *document = parse_json(rows);
    char *text;
    CAPTURE(text, jobs_print(document, NOW_MS, out));
    assert_string_equal(text,
                        "ID  NAME          USER  QUEUE    STATE    GPUS  NODES   TIME  PROGRESS                                REASON\n"
                        " 7  train         ann   ml       RUNNING     4  n0,n1  3m20s  [#####.....] 50/100 loss 2.5 eta 1m35s  \n"
                        "12  evil\\x1b[31m  bob   default  PENDING     8                                                        8 GPUs "
                        "asked for, 4 free\n");
    free(text);
    json_decref(document);
}

static void test_empty_list_has_headings(void **state) {
    json_t *document = parse_json("{\"jobs\": []}");
    char *text;
    CAPTURE(text, jobs_print(document, NOW_MS, out));
    assert_contains(text, "ID  NAME");
    free(text);
    json_decref(document);
}

static void test_exit_codes(void **state) {
    static const struct {
        const char *row;
        int code;
    } cases[] = {
        {"{\"state\": \"COMPLETED\", \"start_ms\": 1, \"exit_code\": 0}", 0},
        {"{\"state\": \"FAILED\", \"start_ms\": 1, \"exit_code\": 3}", 3},
        {"{\"state\": \"FAILED\", \"start_ms\": 1, \"exit_code\": 256}", 1},
        {"{\"state\": \"FAILED\", \"start_ms\": 1, \"exit_code\": null, \"signal\": 9}", 137},
        {"{\"state\": \"FAILED\", \"start_ms\": null, \"exit_code\": null}", 125},
        {"{\"state\": \"TIMEOUT\", \"start_ms\": 1, \"signal\": 15}", 124},
        {"{\"state\": \"CANCELLED\", \"start_ms\": null}", 125},
        {"{\"state\": \"CANCELLED\", \"start_ms\": 1, \"exit_code\": 0}", 143},
        {"{\"state\": \"NODE_LOST\", \"start_ms\": 1}", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *row = parse_json(cases[i].row);
        if (job_exit_code(row) != cases[i].code)
            fail_msg("%s: %d, not %d", cases[i].row, job_exit_code(row), cases[i].code);
        json_decref(row);
    }
}

static void test_progress_without_total_or_loss(void **state) {
    json_t *row = parse_json("{\"state\": \"RUNNING\", \"progress\": {\"step\": 3, \"total\": 0, \"text\": \"loading\\n\"}}");
    char text[256];
    assert_string_equal(job_progress_text(row, 10, text, sizeof text), "step 3 loading\\x0a");
    json_decref(row);
}

static void test_end_line_names_the_cause(void **state) {
    json_t *row = parse_json("{\"id\": 4, \"name\": \"t\", \"state\": \"FAILED\", \"start_ms\": 1000, \"end_ms\": 4000, \"signal\": 9,"
                             " \"cause\": \"rank 3 on n1 was killed by SIGKILL\"}");
    char *text;
    CAPTURE(text, job_print_end(row, out));
    assert_string_equal(text, "job 4 (t) FAILED after 3s: rank 3 on n1 was killed by SIGKILL\n");
    free(text);
    json_decref(row);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_empty_list_has_headings),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_progress_without_total_or_loss),
        cmocka_unit_test(test_end_line_names_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
