/* From flags, job files and the environment to the job that is sent; and the numbers that people type. */
#include "tests/unit/cli/capture.h"

#include <unistd.h>

#include "scheduler/cli/ids.h"
#include "scheduler/cli/job_flags.h"

static struct arena arena;
static char folder[] = "/tmp/muster-cli-XXXXXX";
static const struct job_flags unset = JOB_FLAGS_UNSET;

static int enter_folder(void **state) { return !mkdtemp(folder) || chdir(folder); }

static int leave_folder(void **state) {
    arena_release(&arena);
    unlink("job.yaml");
    return chdir("/") || rmdir(folder);
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int build(const struct job_flags *flags, enum job_source source, char **operands, struct job_spec *spec, struct error *err) {
    int count = 0;
    while (operands[count])
        count++;
    return job_flags_build(flags, source, count, operands, spec, &arena, err);
}

static const char *variable(const struct job_spec *spec, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < spec->environment.count; i++)
        if (!strncmp(spec->environment.items[i], name, length) && spec->environment.items[i][length] == '=')
            return spec->environment.items[i] + length + 1;
    return NULL;
}

static void test_command(void **state) {
    struct job_flags flags = unset;
    struct job_spec spec;
    struct error err;
    flags.gpus = (struct text_range){4, 4};
    flags.ranks = 4;
    flags.priority = -3;
    flags.directory = "sub";
    flags.after = (struct option_list){2, {"ok:7,any:8,9", "ok:10"}};
    assert_ok(build(&flags, JOB_FROM_COMMAND, (char *[]){"/bin/sleep", "10", NULL}, &spec, &err), &err);
    assert_int_equal(spec.command.count, 2);
    assert_string_equal(spec.name, "sleep");
    assert_int_equal(spec.launcher, LAUNCHER_MPIRUN);
    assert_int_equal(spec.priority, -3);
    assert_int_equal(spec.after.count, 4);
    const struct job_after *after = spec.after.items;
    assert_true(after[0].job == 7 && after[0].ok && after[1].job == 8 && !after[1].ok && after[2].job == 9 && !after[2].ok && after[3].ok);
    assert_true(spec.directory[0] == '/' && strstr(spec.directory, "/sub"));
    assert_int_equal(strlen(spec.token), 32);
}

static void test_tokens_differ(void **state) {
    struct job_spec one, two;
    struct error err;
    assert_ok(build(&unset, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &one, &err), &err);
    assert_ok(build(&unset, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &two, &err), &err);
    assert_string_not_equal(one.token, two.token);
}

static void test_bad_job_file_names_its_member(void **state) {
    struct job_spec spec;
    struct error err;
    write_file("job.yaml", "gpus: 1\n");   /* nothing in it is wrong by itself */
    assert_error(build(&unset, JOB_FROM_FILE, (char *[]){"job.yaml", NULL}, &spec, &err), ERR_INVALID, &err,
                 "job.yaml:1:1: command: there is nothing to run");
}

static void test_bad_job_file_names_line_and_column(void **state) {
    struct job_spec spec;
    struct error err;
    write_file("job.yaml", "command: [sleep, 1]\ngpus: four\n");
    assert_error(build(&unset, JOB_FROM_FILE, (char *[]){"job.yaml", NULL}, &spec, &err), ERR_INVALID, &err,
                 "job.yaml:2:7: gpus: expected an integer");
    assert_error(build(&unset, JOB_FROM_FILE, (char *[]){"job.yaml", "x", NULL}, &spec, &err), ERR_INVALID, &err, "takes no arguments");
}

static void test_words(void **state) {
    static const struct {
        struct job_flags flags;
        const char *part;
    } cases[] = {
        {{.launcher = "srun"}, "--launcher: expected none, mpirun or direct, got 'srun'"},
        {{.topology = "galaxy"}, "--topology: expected any, pod, rack, node or island"},
        {{.on_lost = "cry"}, "--on-lost: expected requeue or wait"},
        {{.after = {1, {"7"}}}, "--after: expected ok:ID or any:ID, got '7'"},
        {{.after = {1, {"ok:7[2]"}}}, "--after: '7[2]': it waits for whole jobs and whole arrays only"},
        {{.after = {1, {"ok:x"}}}, "--after"},
        {{.array = ""}, "--array: expected indexes such as 0-99 or 1,3,5-9:2, got ''"},
        {{.token = ""}, "--token: is empty"},   /* "$UNSET": it would make a job each time */
        {{.env = {1, {"A"}}}, "--env: expected NAME=VALUE, got 'A'"},
        {{.export = "A,,B"}, "--export: expected ALL, NONE or names"},
        {{.export = "A,"}, "--export: expected ALL, NONE or names"},
        {{.export = "=A"}, "--export: expected ALL, NONE or names"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job_flags flags = unset;
        struct job_spec spec;
        struct error err = {0};
        flags.launcher = cases[i].flags.launcher;
        flags.topology = cases[i].flags.topology;
        flags.on_lost = cases[i].flags.on_lost;
        flags.after = cases[i].flags.after;
        flags.array = cases[i].flags.array;
        flags.token = cases[i].flags.token;
        flags.env = cases[i].flags.env;
        flags.export = cases[i].flags.export;
        assert_error(build(&flags, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &spec, &err), ERR_INVALID, &err, cases[i].part);
    }
}

/* What an option says that it takes is what a job may have. */
static void bounds_are_those_of_jobs(void **state) {
    struct words { struct job_flags job; };
    static const struct option_row rows[] = {JOB_FLAG_ROWS(struct words), {0}};
    int compared = 0;
    for (const struct option_row *row = rows; row->name; row++)
        for (const struct job_spec_bound *b = job_spec_bounds; b->member && (row->kind == OPTION_INT || row->kind == OPTION_RANGE); b++)
            if (!strcmp(b->member, row->name)) {
                if (row->min != b->min || row->max != b->max)
                    fail_msg("--%s takes %lld..%lld, a job %lld..%lld", row->name, (long long)row->min, (long long)row->max,
                             (long long)b->min, (long long)b->max);
                compared++;
            }
    assert_int_equal(compared, 6);
}

static void test_environment(void **state) {
    struct job_flags flags = unset;
    struct job_spec spec;
    struct error err;
    setenv("KEPT", "yes", 1);
    setenv("MUSTER_JOB_ID", "77", 1);
    setenv("MUSTER_SCRIPT", "/run/77.1/script", 1);
    setenv("PMIX_RANK", "0", 1);
    setenv("MUSTER_ENDPOINT", "ipc:///x", 1);
    flags.env = (struct option_list){2, {"KEPT=no", "NEW="}};
    assert_ok(build(&flags, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &spec, &err), &err);
    assert_string_equal(variable(&spec, "KEPT"), "no");
    assert_string_equal(variable(&spec, "NEW"), "");
    assert_string_equal(variable(&spec, "MUSTER_ENDPOINT"), "ipc:///x");
    assert_null(variable(&spec, "MUSTER_JOB_ID"));
    assert_null(variable(&spec, "MUSTER_SCRIPT"));
    assert_null(variable(&spec, "PMIX_RANK"));

    flags = unset;
    flags.export = "KEPT,OTHER=1,ABSENT";
    assert_ok(build(&flags, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &spec, &err), &err);
    assert_int_equal(spec.environment.count, 2);
    assert_string_equal(variable(&spec, "OTHER"), "1");

    flags.export = "NONE";
    assert_ok(build(&flags, JOB_FROM_COMMAND, (char *[]){"true", NULL}, &spec, &err), &err);
    assert_int_equal(spec.environment.count, 0);
}

static void test_ids(void **state) {
    struct ints ids;
    struct error err;
    assert_ok(ids_parse(2, (char *[]){"12-14,3", "9"}, &ids, &arena, &err), &err);
    assert_int_equal(ids.count, 5);
    assert_true(ids.items[0] == 12 && ids.items[2] == 14 && ids.items[3] == 3 && ids.items[4] == 9);
    assert_ok(ids_parse(1, (char *[]){"12[7],3"}, &ids, &arena, &err), &err);
    assert_true(ids.count == 2 && ids.items[0] == job_ref(12, 7) && ids.items[1] == 3);
    struct texts sets;
    assert_ok(ids_parse_sets(2, (char *[]){"12[5-9,11],13", "7[0]"}, &ids, &sets, &arena, &err), &err);
    assert_true(ids.count == 3 && ids.items[0] == 12 && ids.items[1] == 13 && ids.items[2] == 7);
    assert_string_equal(sets.items[0], "5-9,11");
    assert_string_equal(sets.items[1], "");
    assert_string_equal(sets.items[2], "0");
    static const char *const bad[] = {"14-12", "x", "", "1,,2", "1-", "-3", "1-99999", "12[7", "12[5-9]", "12[10000]",
                                      "12.2", "17592186044416", "99999999999999999999"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *operand = (char *)bad[i];
        if (ids_parse(1, &operand, &ids, &arena, &err) != ERR_INVALID)
            fail_msg("'%s' was taken", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_tokens_differ),
        cmocka_unit_test(test_bad_job_file_names_its_member),
        cmocka_unit_test(test_bad_job_file_names_line_and_column),
        cmocka_unit_test(test_words),
        cmocka_unit_test(bounds_are_those_of_jobs),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
