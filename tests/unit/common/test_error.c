#include "tests/unit/unit.h"

#include <errno.h>

#include "common/states.h"

static void sentences_are_made_and_wrapped(void **state) {
    struct error err;
    assert_int_equal(error_set(&err, ERR_INVALID, "gpus must be 1..%d, not %d", 8, 9), ERR_INVALID);
    assert_int_equal(error_wrap(&err, "reading %s", "job.yaml"), ERR_INVALID);
    assert_string_equal(err.text, "reading job.yaml: gpus must be 1..8, not 9");
    errno = ENOENT;
    assert_int_equal(error_set_errno(&err, ERR_IO, "opening %s", "x"), ERR_IO);
    assert_string_equal(err.text, "opening x: No such file or directory");
}

static void nobody_need_listen(void **state) {
    assert_int_equal(error_set(NULL, ERR_STALE, "x"), ERR_STALE);
    assert_int_equal(error_set_errno(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(error_wrap(NULL, "x"), ERR_FAILED);
}

static void long_sentences_are_cut(void **state) {
    char text[2 * ERROR_TEXT_MAX];
    struct error err;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&err, ERR_FAILED, "%s", text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    errno = EACCES;
    error_set_errno(&err, ERR_FAILED, "%s", text);
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
}

/* The command line's contract: scripts read these. */
static void exit_codes_are_stable(void **state) {
    static const struct { int code, exit; } codes[] = {
        {0, 0}, {ERR_FAILED, 1}, {ERR_INVALID, 2}, {ERR_NOT_FOUND, 3}, {ERR_DENIED, 4}, {ERR_OVER_QUOTA, 4}, {ERR_NEVER_FITS, 4},
        {ERR_CONFLICT, 5}, {ERR_UNREACHABLE, 6}, {ERR_TIMEOUT, 7}, {ERR_STORE, 8}, {-1000, 1}, {7, 1}};
    for (size_t i = 0; i < COUNT(codes); i++)
        assert_int_equal(error_exit_code(codes[i].code), codes[i].exit);
    assert_string_equal(error_name(ERR_OVER_QUOTA), "OVER_QUOTA");
    assert_string_equal(error_code_text(ERR_OVER_QUOTA), "over quota");
}

static void states_have_names_both_ways(void **state) {
    for (int s = 0; s < JOB_STATE_COUNT; s++)
        assert_int_equal(job_state_from_name(job_state_name(s)), s);
    assert_int_equal(job_state_from_name("pending"), -1);
    assert_string_equal(job_state_name(-1), "?");
    assert_true(job_state_is_final(JOB_COMPLETED) && !job_state_is_final(JOB_UNKNOWN));
    assert_true(job_state_holds_gpus(JOB_STOPPING) && !job_state_holds_gpus(JOB_PENDING) && !job_state_holds_gpus(JOB_FAILED));
    assert_int_equal(job_launcher_from_name("mpirun"), LAUNCHER_MPIRUN);
    assert_int_equal(topology_level_from_name("island"), LEVEL_ISLAND);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentences_are_made_and_wrapped), cmocka_unit_test(nobody_need_listen),
                                       cmocka_unit_test(long_sentences_are_cut), cmocka_unit_test(exit_codes_are_stable),
                                       cmocka_unit_test(states_have_names_both_ways)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
