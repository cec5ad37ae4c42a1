/* The indexes of an array: read, shown, and read again. */
#include "common/array_set.h"
#include "tests/unit/unit.h"

static struct arena arena;

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

static void what_is_read_is_shown_in_its_shortest_form(void **state) {
    static const struct { const char *text, *shown; int64_t limit; int count; } rows[] = {
        {"0", "0", 0, 1}, {"0-99%8", "0-99", 8, 100}, {"1,3,5-9:2", "1-9:2", 0, 5}, {"7,5,6", "5-7", 0, 3}, {"0-9999", "0-9999", 0, 10000},
        {"3,6,9", "3,6,9", 0, 3}, {"1-2,4-5", "1-2,4-5", 0, 4}, {"0-9998:2%1", "0-9998:2", 1, 5000}, {"62-66,128", "62-66,128", 0, 6},
        {"5-6:9", "5", 0, 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct array_set set, again;
        struct error err;
        int64_t limit = -1;
        assert_ok(array_set_parse(rows[i].text, &set, &limit, &err), &err);
        assert_int_equal(limit, rows[i].limit);
        assert_int_equal(array_set_count(&set), rows[i].count);
        assert_string_equal(array_set_text(&set, &arena), rows[i].shown);
        assert_ok(array_set_parse(rows[i].shown, &again, NULL, &err), &err);
        assert_memory_equal(&set, &again, sizeof set);
    }
}

/* Whatever the set: the text of it is the same set. */
static void any_set_comes_back(void **state) {
    uint64_t random = 1;
    for (int round = 0; round < 300; round++) {
        struct array_set set = {0}, again;
        struct error err;
        for (int i = 0; i < 40; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            array_set_put(&set, (int32_t)(random >> 33) % (round % 2 ? 80 : ARRAY_INDEX_MAX + 1));
        }
        assert_ok(array_set_parse(array_set_text(&set, &arena), &again, NULL, &err), &err);
        assert_memory_equal(&set, &again, sizeof set);
    }
}

static void what_can_t_be_is_named(void **state) {
    static const char *const bad[][2] = {{"", "expected indexes"}, {"a", "expected indexes"}, {"1-", "expected indexes"},
                                         {"1,", "expected"},
                                         {"9-1", "the first index is the larger one"}, {"0-10000", "at most 9999"}, {"1-5:0", "expected"},
                                         {"0-9%0", "1 or more"}, {"0-9%", "1 or more"}, {"0-9%2x", "expected"}, {"1 2", "expected"},
                                         {"99999999999", "expected"}, {"-1", "expected"}, {"0-9%2,3", "expected"}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct array_set set;
        struct error err;
        int64_t limit;
        assert_error(array_set_parse(bad[i][0], &set, &limit, &err), ERR_INVALID, &err, bad[i][1]);
    }
    struct array_set set;
    struct error err;
    assert_error(array_set_parse("0-9%2", &set, NULL, &err), ERR_INVALID, &err, "expected indexes");   /* no limit is wanted here */
}

static void sets_are_walked_and_cut(void **state) {
    struct array_set set, other;
    array_set_parse("0,63-64,9999", &set, NULL, NULL);
    assert_int_equal(array_set_next(&set, 1), 63);
    assert_int_equal(array_set_next(&set, 65), 9999);
    assert_int_equal(array_set_next(&set, 10000), -1);
    assert_false(array_set_has(&set, -1) || array_set_has(&set, 1 << 20) || array_set_has(&set, 62));
    array_set_parse("63-100", &other, NULL, NULL);
    struct array_set both = set;
    array_set_keep(&both, &other);
    assert_string_equal(array_set_text(&both, &arena), "63-64");
    array_set_remove(&set, &other);
    assert_string_equal(array_set_text(&set, &arena), "0,9999");
    array_set_drop(&set, 0);
    array_set_drop(&set, 9999);
    assert_string_equal(array_set_text(&set, &arena), "");
    assert_int_equal(array_set_next(&set, 0), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_shown_in_its_shortest_form),
        cmocka_unit_test(any_set_comes_back),
        cmocka_unit_test(what_can_t_be_is_named),
        cmocka_unit_test(sets_are_walked_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
