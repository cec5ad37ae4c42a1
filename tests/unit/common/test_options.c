#include "tests/unit/unit.h"

#include "common/options.h"

struct args {
    bool all, watch;
    int64_t gpus, time_ms, memory_mib, priority;
    double rate;
    const char *queue;
    struct option_list after;
};

static const struct option_row rows[] = {
    {"all", 'a', OPTION_FLAG, offsetof(struct args, all), NULL, "every job", 0, 0},
    {"watch", 'w', OPTION_FLAG, offsetof(struct args, watch), NULL, "go on", 0, 0},
    {"gpus", 'g', OPTION_INT, offsetof(struct args, gpus), "N", "GPUs of the whole gang", 0, 65536},
    {"priority", 0, OPTION_INT, offsetof(struct args, priority), "N", "larger is earlier", -100, 100},
    {"time", 't', OPTION_DURATION, offsetof(struct args, time_ms), "T", "limit", 1000, 86400000},
    {"memory", 0, OPTION_SIZE, offsetof(struct args, memory_mib), "SIZE", "memory", 0, 0},
    {"rate", 0, OPTION_REAL, offsetof(struct args, rate), "X", "rate", 0, 0},
    {"queue", 'q', OPTION_TEXT, offsetof(struct args, queue), "NAME", "queue to charge", 0, 0},
    {"after", 0, OPTION_LIST, offsetof(struct args, after), "ok:ID", "start after", 0, 0},
    {0}};

/* Splits `line` at blanks and parses it. The words stay valid until the next call. */
static char *word[32];
static int parse(const char *line, int permute, struct args *args, int *operands, struct error *err) {
    static char text[256];
    int argc = 0;
    snprintf(text, sizeof text, "muster %s", line);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        word[argc++] = p;
    word[argc] = NULL;
    *args = (struct args){.queue = "default"};
    return options_parse(rows, argc, word, permute, args, operands, err);
}

static void every_form_is_read(void **state) {
    struct args a;
    struct error err;
    int at;
    assert_ok(
        parse("--gpus 4 -q ml --memory=16G -t90 -aw --rate 0.5 --priority -5 --after ok:1 --after=any:2 job.yaml -x", 0, &a, &at, &err),
        &err);
    assert_int_equal(a.gpus, 4);
    assert_string_equal(a.queue, "ml");
    assert_int_equal(a.memory_mib, 16384);
    assert_int_equal(a.time_ms, 90000);
    assert_true(a.all && a.watch && a.rate == 0.5 && a.priority == -5);
    assert_int_equal(a.after.count, 2);
    assert_string_equal(a.after.items[1], "any:2");
    assert_string_equal(word[at], "job.yaml");
    assert_string_equal(word[at + 1], "-x");
}

static void operands_move_behind_options(void **state) {
    struct args a;
    struct error err;
    int at;
    assert_ok(parse("12 --gpus 4 13 -q ml -- -w 14", 1, &a, &at, &err), &err);
    static const char *const want[] = {"muster", "--gpus", "4", "-q", "ml", "--", "12", "13", "-w", "14"};
    assert_int_equal(at, 6);
    for (size_t i = 0; i < COUNT(want); i++)
        assert_string_equal(word[i], want[i]);
    assert_false(a.watch);
}

static void two_dashes_end_options(void **state) {
    struct args a;
    struct error err;
    int at;
    assert_ok(parse("-g2 -- --gpus 4", 0, &a, &at, &err), &err);
    assert_int_equal(a.gpus, 2);
    assert_int_equal(at, 3);
    assert_string_equal(word[at - 1], "--");
    assert_string_equal(word[at], "--gpus");
    assert_ok(parse("", 0, &a, &at, &err), &err);
    assert_int_equal(at, 1);
}

static void errors_name_the_option(void **state) {
    static const struct {
        const char *line, *part;
    } bad[] = {{"--gpu 4", "unknown option --gpu (did you mean --gpus?)"},
               {"--zebra", "unknown option --zebra"},
               {"-z", "unknown option -z"},
               {"--gpus", "--gpus needs a value: --gpus N"},
               {"-g", "-g needs a value"},
               {"--gpus four", "--gpus: expected an integer, got 'four'"},
               {"--gpus 65537", "--gpus: must be 0..65536, not 65537"},
               {"--gpus -1", "must be 0..65536, not -1"},
               {"--all=yes", "--all takes no value"},
               {"--time 0", "--time: must be 1s to 1d00h"},
               {"--time soon", "--time: expected a duration"},
               {"--memory x", "--memory: expected a size"},
               {"--rate nan", "--rate: expected a number"},
               {"-a=1", "unknown option -="}};
    struct args a;
    struct error err;
    int at;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(parse(bad[i].line, 0, &a, &at, &err), ERR_INVALID, &err, bad[i].part);
}

static void a_list_has_an_end(void **state) {
    char *argv[OPTION_LIST_MAX + 3] = {"muster"};
    struct args a = {0};
    struct error err;
    int at;
    for (int i = 1; i <= OPTION_LIST_MAX + 1; i++)
        argv[i] = "--after=ok:1";
    assert_error(options_parse(rows, OPTION_LIST_MAX + 2, argv, 0, &a, &at, &err), ERR_INVALID, &err, "more than 64 times");
}

static void help_has_two_columns(void **state) {
    char buffer[4096] = "";
    static const struct option_row few[] = {{"all", 'a', OPTION_FLAG, 0, NULL, "every job", 0, 0},
                                            {"queue", 0, OPTION_TEXT, 0, "NAME",
                                             "a sentence so long that it cannot stand on one line of one hundred columns, and goes on", 0,
                                             0},
                                            {0}};
    FILE *f = fmemopen(buffer, sizeof buffer, "w");
    options_help(few, f);
    fclose(f);
    assert_string_equal(buffer, "  -a, --all         every job\n"
                                "      --queue NAME  a sentence so long that it cannot stand on one line of one hundred columns, and\n"
                                "                    goes on\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form_is_read), cmocka_unit_test(operands_move_behind_options),
                                       cmocka_unit_test(two_dashes_end_options), cmocka_unit_test(errors_name_the_option),
                                       cmocka_unit_test(a_list_has_an_end), cmocka_unit_test(help_has_two_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
