/* What is said of a queue: parsed, printed, checked and merged by one table. */
#include "tests/unit/unit.h"

#include "common/queue_spec.h"

static struct arena arena;
static struct error err;

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

static void parse(struct queue_spec *s, const char *name, const char *text) {
    assert_ok(queue_spec_parse(s, queue_setting_from_name(name), text, &arena, &err), &err);
}

static const char *shown(const struct queue_spec *s, const char *name) {
    static char buffer[64];
    return queue_setting_text(s, queue_setting_from_name(name), buffer, sizeof buffer);
}

/* Each setting once: what is written is what is shown, exactly, and "none" takes it back. */
static void every_setting_goes_in_and_out(void **state) {
    static const char *const values[][2] = {
        {"guarantee", "16"}, {"limit", "0"}, {"weight", "3"}, {"policy", "fifo"}, {"min_runtime", "90s"}, {"max_walltime", "36h"},
        {"default_time", "2d"}, {"max_running_per_user", "4"}, {"max_pending_per_user", "100"}, {"users", "ada,bob"},
        {"groups", "lab+ml,1001"}, {"admins", "AD\\eve"}, {"default_for_groups", "ml"}, {"closed", "true"}};
    struct queue_spec s;
    assert_int_equal(COUNT(values), QUEUE_SETTING_COUNT);
    queue_spec_init(&s, "q");
    for (size_t i = 0; i < COUNT(values); i++) {
        assert_string_equal(queue_setting_name((int)i), values[i][0]);
        assert_string_equal(shown(&s, values[i][0]), i == QUEUE_SETTING_CLOSED ? "false" : "none");
        parse(&s, values[i][0], values[i][1]);
        assert_string_equal(shown(&s, values[i][0]), values[i][1]);
    }
    assert_int_equal(s.set, QUEUE_BIT(QUEUE_SETTING_COUNT) - 1);
    assert_ok(queue_spec_check(&s, &err), &err);
    for (size_t i = 0; i < COUNT(values); i++)
        parse(&s, values[i][0], "none");
    assert_int_equal(s.set, 0);
    assert_int_equal(s.clear, QUEUE_BIT(QUEUE_SETTING_COUNT) - 1);
    assert_ok(queue_spec_check(&s, &err), &err);
}

static void what_is_wrong_is_said(void **state) {
    static const char *const wrong[][3] = {
        {"guarantee", "-1", "must be 0..10000000"}, {"guarantee", "four", "expected an integer, got 'four'"},
        {"limit", "10000001", "must be 0.."}, {"weight", "0", "must be 1..1000000"},
        {"policy", "fairest", "expected fair, fifo, priority or strict"},
        {"min_runtime", "0", "expected a duration of"}, {"max_walltime", "1y", "expected a duration such as"},
        {"users", "", "expected names"}, {"users", "ada,", "expected names"}, {"users", ",ada", "expected names"},
        {"groups", "a b", "expected names"}, {"admins", "-x", "expected names"}, {"admins", "a\nb", "expected names"},
        {"closed", "maybe", "expected true or false"}};
    struct queue_spec s;
    queue_spec_init(&s, "q");
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_error(queue_spec_parse(&s, queue_setting_from_name(wrong[i][0]), wrong[i][1], &arena, &err), ERR_INVALID, &err,
                     wrong[i][2]);
    assert_int_equal(s.set | s.clear, 0);
    assert_int_equal(queue_setting_from_name("guarantees"), -1);
    char many[QUEUE_NAMES_MAX + 1];
    memset(many, 'a', sizeof many);
    for (size_t i = 10; i < sizeof many; i += 10)
        many[i] = ',';
    many[sizeof many - 1] = '\0';
    assert_error(queue_spec_parse(&s, QUEUE_SETTING_USERS, many, &arena, &err), ERR_INVALID, &err, "name a group instead");
}

/* From the wire: bits and values that no honest client sends. */
static void hostile_records_are_refused(void **state) {
    struct queue_typed typed[2] = {{.gpu_type = "H100", .set = 1, .guarantee = 1}, {.gpu_type = "H100", .set = 1, .guarantee = 1}};
    struct queue_spec good, s;
    queue_spec_init(&good, "q");
    s = good, s.set = QUEUE_BIT(QUEUE_SETTING_COUNT);
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "does not know");
    s = good, s.set = s.clear = 1;
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "at once");
    s = good, s.set = -1;
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "does not know");
    s = good, s.set = QUEUE_BIT(QUEUE_SETTING_LIMIT), s.limit = INT64_MAX;
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "limit: expected 0..10000000");
    s = good, s.set = QUEUE_BIT(QUEUE_SETTING_POLICY), s.policy = 7;
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "policy: expected fair, fifo, priority or strict");
    s = good, s.set = QUEUE_BIT(QUEUE_SETTING_ADMINS), s.admins = "a,,b";
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "admins: expected names");
    s = good, s.typed = (struct rows){2, typed};
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "given twice");
    typed[1].gpu_type = "A100", typed[1].guarantee = -4;
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "guarantee of A100: expected 0..");
    typed[1].gpu_type = "";
    assert_error(queue_spec_check(&s, &err), ERR_INVALID, &err, "type of GPU");
}

static void a_change_touches_only_what_it_names(void **state) {
    struct queue_spec whole, change;
    char buffer[32];
    queue_spec_init(&whole, "q");
    parse(&whole, "guarantee", "8");
    parse(&whole, "users", "ada");
    parse(&whole, "max_walltime", "1d");
    queue_typed_parse(queue_spec_typed(&whole, "H100", &arena), QUEUE_SETTING_LIMIT, "4", &err);
    queue_spec_init(&change, "q");
    parse(&change, "guarantee", "9");
    parse(&change, "max_walltime", "none");
    parse(&change, "closed", "true");
    queue_typed_parse(queue_spec_typed(&change, "A100", &arena), QUEUE_SETTING_GUARANTEE, "2", &err);
    queue_spec_merge(&whole, &change, &arena);
    assert_string_equal(shown(&whole, "guarantee"), "9");
    assert_string_equal(shown(&whole, "users"), "ada");
    assert_string_equal(shown(&whole, "max_walltime"), "none");
    assert_string_equal(shown(&whole, "closed"), "true");
    assert_int_equal(whole.typed.count, 2);
    const struct queue_typed *typed = whole.typed.items;
    assert_string_equal(queue_typed_text(&typed[0], QUEUE_SETTING_LIMIT, buffer, sizeof buffer), "4");
    assert_string_equal(queue_typed_text(&typed[1], QUEUE_SETTING_GUARANTEE, buffer, sizeof buffer), "2");
    assert_string_equal(queue_typed_text(&typed[1], QUEUE_SETTING_LIMIT, buffer, sizeof buffer), "none");

    /* the last value of a type goes, and the type with it */
    queue_spec_init(&change, "q");
    queue_typed_parse(queue_spec_typed(&change, "H100", &arena), QUEUE_SETTING_LIMIT, "none", &err);
    queue_spec_merge(&whole, &change, &arena);
    assert_int_equal(whole.typed.count, 1);

    /* a whole row unsets what it does not name */
    queue_spec_init(&change, "q");
    change.whole = true;
    parse(&change, "weight", "5");
    queue_spec_merge(&whole, &change, &arena);
    assert_int_equal(whole.set, QUEUE_BIT(QUEUE_SETTING_WEIGHT));
    assert_int_equal(whole.typed.count, 0);
    assert_string_equal(whole.users, "");
}

static void names_are_whole_words(void **state) {
    assert_true(queue_names_have("ada,bob", "ada"));
    assert_true(queue_names_have("ada,bob", "bob"));
    assert_false(queue_names_have("ada,bob", "bo"));
    assert_false(queue_names_have("adam", "ada"));
    assert_false(queue_names_have("", ""));
    assert_false(queue_names_have("a,,b", ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_setting_goes_in_and_out), cmocka_unit_test(what_is_wrong_is_said),
                                       cmocka_unit_test(hostile_records_are_refused), cmocka_unit_test(a_change_touches_only_what_it_names),
                                       cmocka_unit_test(names_are_whole_words)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
