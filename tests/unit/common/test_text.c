#include "tests/unit/unit.h"

#include "common/text.h"
#include "common/utf8.h"

static void durations_are_read(void **state) {
    static const struct { const char *text; int64_t ms; } good[] = {
        {"90", 90000}, {"90s", 90000}, {"10m", 600000}, {"2h30m", 9000000}, {"1d", 86400000}, {"1:30:00", 5400000},
        {"1-00:00:00", 86400000}, {"0", 0}, {"850ms", 850}, {"1w", 604800000}, {"1m500ms", 60500}, {"100:00:00", 360000000}};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct error err;
        int64_t ms = -1;
        assert_ok(text_parse_duration_ms(good[i].text, &ms, &err), &err);
        assert_int_equal(ms, good[i].ms);
    }
}

static void bad_durations_are_refused(void **state) {
    static const char *const bad[] = {
        "", "h", "1x", "-1", "1h2", "30m2h", "1h1h", "1:30", "1:60:00", "1:00:60", "1-24:00:00", "1:2:3:4", " 1", "1 h",
        "9223372036854775808", "9223372036854775807", "99999999999999w", "1.5h", "1:00:00h"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct error err;
        int64_t ms = 7;
        assert_error(text_parse_duration_ms(bad[i], &ms, &err), ERR_INVALID, &err, "expected a duration");
        assert_int_equal(ms, 7);
    }
}

static void sizes_are_read(void **state) {
    static const struct { const char *text; int64_t mib; } good[] = {
        {"512", 512}, {"512M", 512}, {"16G", 16384}, {"1T", 1048576}, {"2GiB", 2048}, {"2gb", 2048}, {"0", 0}};
    static const char *const bad[] = {
        "", "G", "16K", "16GG", "1.5G", "-1G", "9223372036854775807T"};
    struct error err;
    int64_t mib;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_ok(text_parse_size_mib(good[i].text, &mib, &err), &err);
        assert_int_equal(mib, good[i].mib);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(text_parse_size_mib(bad[i], &mib, &err), ERR_INVALID, &err, "expected a size");
}

static void integers_have_bounds(void **state) {
    struct error err;
    int64_t value = 7;
    assert_ok(text_parse_int("-5", -10, 10, &value, &err), &err);
    assert_int_equal(value, -5);
    assert_error(text_parse_int("four", 0, 8, &value, &err), ERR_INVALID, &err, "expected an integer, got 'four'");
    assert_error(text_parse_int("4x", 0, 8, &value, &err), ERR_INVALID, &err, "got '4x'");
    assert_error(text_parse_int("9", 0, 8, &value, &err), ERR_INVALID, &err, "must be 0..8, not 9");
    assert_error(text_parse_int("99999999999999999999", 0, 8, &value, &err), ERR_INVALID, &err, "expected an integer");
    assert_int_equal(value, -5);
}

static void short_forms(void **state) {
    static const struct {
        int64_t ms; const char *text;
    } durations[] = {{0, "0ms"},         {850, "850ms"},       {12000, "12s"},      {200000, "3m20s"},
                     {7500000, "2h05m"}, {273600000, "3d04h"}, {-200000, "-3m20s"}, {INT64_MIN, "-106751991167d07h"}};
    char buffer[32];
    for (size_t i = 0; i < COUNT(durations); i++)
        assert_string_equal(text_duration(durations[i].ms, buffer, sizeof buffer), durations[i].text);
    assert_string_equal(text_size_mib(512, buffer, sizeof buffer), "512 MiB");
    assert_string_equal(text_size_mib(16384, buffer, sizeof buffer), "16.0 GiB");
    assert_string_equal(text_size_mib(3 << 20, buffer, sizeof buffer), "3.0 TiB");
}

static void copies_and_appends_never_overrun(void **state) {
    char small[4];
    assert_true(text_copy(small, sizeof small, "abc"));
    assert_false(text_copy(small, sizeof small, "abcd"));
    assert_string_equal(small, "abc");
    char buffer[8];
    size_t used = 0;
    text_append(buffer, sizeof buffer, &used, "%s", "12345");
    assert_int_equal(used, 5);
    text_append(buffer, sizeof buffer, &used, "%s", "6789");
    assert_int_equal(used, 7);
    text_append(buffer, sizeof buffer, &used, "%s", "x");
    assert_string_equal(buffer, "1234567");
}

static void names(void **state) {
    static const struct { const char *name, *part; } bad[] = {
        {"", "is empty"}, {"-x", "dash"}, {"a\nb", "control"}, {"a\x1b[31m", "control"}, {"\xc3", "UTF-8"}, {"a\xc2\x9b", "control"},
        {"12345678901234567", "at most 16"}, {"\xed\xa0\x80", "UTF-8"}, {"a\xe2\x80\xae", "control"}};
    struct error err;
    assert_ok(text_check_name("job name", "train-é.1", 16, &err), &err);
    assert_ok(text_check_node_name("--name", "gpu-01.dc_1", 16, &err), &err);
    assert_error(text_check_node_name("--name", "a,b", 16, &err), ERR_INVALID, &err, "(byte 2 is another)");
    assert_error(text_check_node_name("--name", "-a", 16, &err), ERR_INVALID, &err, "dash");
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(text_check_name("job name", bad[i].name, 16, &err), ERR_INVALID, &err, bad[i].part);
}

static void utf8_refuses_what_is_overlong_or_cut(void **state) {
    static const char *const bad[] = {
        "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\x80", "\xff", "\xe2\x82"};
    uint32_t point;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(utf8_next(bad[i], strlen(bad[i]), &point), 0);
    assert_int_equal(utf8_next("\xf0\x9f\x98\x80", 4, &point), 4);
    assert_int_equal(point, 0x1f600);
    assert_int_equal(utf8_next("", 0, &point), 0);
}

static const char *printed(void (*print)(FILE *)) {
    static char buffer[1024];
    FILE *f = fmemopen(buffer, sizeof buffer, "w");
    print(f);
    fclose(f);
    return buffer;
}

static void print_hostile(FILE *f) {
    static const char hostile[] = "a\x1b[2J\n\xff\xc3\xa9";
    text_write_safe(f, hostile, sizeof hostile - 1);
}

static void print_table(FILE *f) {
    static const char *const headings[] = {"ID", ">GPUS", "NAME"}, *const one[] = {"1", "16", "\xe6\x97\xa5"},
                             *const two[] = {"12[7]", NULL, "x"};
    struct table *t = table_new(headings, 3);
    table_add(t, one);
    table_add(t, two);
    table_print(t, f);
    table_free(t);
}

static void no_name_drives_a_terminal(void **state) { assert_string_equal(printed(print_hostile), "a\\x1b[2J\\x0a\\xff\xc3\xa9"); }

static void tables_are_aligned(void **state) {
    assert_string_equal(printed(print_table), "ID     GPUS  NAME\n"
                                              "1        16  \xe6\x97\xa5\n"
                                              "12[7]        x\n");
}

static void distances(void **state) {
    assert_int_equal(text_distance("gpus", "gpus"), 0);
    assert_int_equal(text_distance("gpu", "gpus"), 1);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read), cmocka_unit_test(bad_durations_are_refused), cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(integers_have_bounds), cmocka_unit_test(short_forms), cmocka_unit_test(copies_and_appends_never_overrun),
        cmocka_unit_test(names), cmocka_unit_test(utf8_refuses_what_is_overlong_or_cut), cmocka_unit_test(no_name_drives_a_terminal),
        cmocka_unit_test(tables_are_aligned), cmocka_unit_test(distances)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
