#include "tests/unit/unit.h"

#include "common/job_spec.h"

static struct arena arena;

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

static const char *argv_true[] = {"/bin/true"};

/* A spec that is complete but for its last touches. */
static struct job_spec plain(void) {
    struct job_spec s;
    job_spec_init(&s);
    s.command = (struct texts){1, argv_true};
    s.directory = "/tmp";
    return s;
}

static void defaults_are_what_users_expect(void **state) {
    struct job_spec s = plain();
    struct error err;
    assert_ok(job_spec_complete(&s, &arena, &err), &err);
    assert_string_equal(s.queue, "default");
    assert_string_equal(s.name, "true");
    assert_string_equal(s.output, "");
    assert_int_equal(s.cpus, 1);
    assert_int_equal(s.grace_ms, 60000);
    assert_int_equal(s.ranks, 0);
    assert_int_equal(s.launcher, LAUNCHER_NONE);
}

static void names_follow_the_command(void **state) {
    static const struct {
        const char *argv[3]; size_t count; const char *name;
    } cases[] = {{{"/opt/train.sh", "x"}, 2, "train.sh"},
                 {{"/bin/sh", "-c", " /usr/bin/python3 a.py|tee"}, 3, "python3"},
                 {{"/bin/sh", "x.sh"}, 2, "sh"},
                 {{"/bin/sh", "-c", "\n"}, 3, "job"},
                 {{"a\nb"}, 1, "job"},
                 {{"dir/"}, 1, "job"},
                 {{"/bin/sh", "-c", "-x"}, 3, "job"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job_spec s = plain();
        struct error err;
        s.command = (struct texts){cases[i].count, (const char **)cases[i].argv};
        assert_ok(job_spec_complete(&s, &arena, &err), &err);
        assert_string_equal(s.name, cases[i].name);
    }
    struct job_spec s = plain();
    s.command = (struct texts){0};
    s.script = (struct bytes){3, "#!x"};
    assert_ok(job_spec_complete(&s, &arena, NULL), &(struct error){0});
    assert_string_equal(s.name, "job");
}

static void ranks_and_launcher_follow_each_other(void **state) {
    static const struct {
        int64_t nodes, gpus, ranks, launcher, want_ranks, want_launcher;
    } cases[] = {{0, 8, 8, LAUNCHER_NONE, 8, LAUNCHER_MPIRUN},   {2, 8, 0, LAUNCHER_MPIRUN, 8, LAUNCHER_MPIRUN},
                 {2, 0, 0, LAUNCHER_DIRECT, 2, LAUNCHER_DIRECT}, {0, 0, 0, LAUNCHER_DIRECT, 1, LAUNCHER_DIRECT},
                 {2, 8, 0, LAUNCHER_NONE, 0, LAUNCHER_NONE},     {0, 8, 2, LAUNCHER_DIRECT, 2, LAUNCHER_DIRECT}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job_spec s = plain();
        struct error err;
        s.nodes = cases[i].nodes, s.gpus = cases[i].gpus, s.ranks = cases[i].ranks, s.launcher = cases[i].launcher;
        assert_ok(job_spec_complete(&s, &arena, &err), &err);
        assert_int_equal(s.ranks, cases[i].want_ranks);
        assert_int_equal(s.launcher, cases[i].want_launcher);
    }
}

static void elastic_jobs_have_sizes(void **state) {
    static const struct { int64_t most, least, nodes, gpus, want; } cases[] = {
        {16, 4, 0, 16, 16}, {16, 4, 0, 15, 8}, {16, 4, 0, 7, 4}, {16, 4, 0, 3, 0},  {12, 3, 0, 5, 4}, {12, 1, 0, 2, 2},
        {7, 1, 0, 6, 1},    {7, 2, 0, 6, 0},   {16, 1, 4, 7, 4}, {16, 1, 4, 3, 0}, {24, 2, 2, 9, 8}, {16, 4, 0, 99, 16}, {16, 4, 0, 0, 0}};
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(job_size_at_most(cases[i].most, cases[i].least, cases[i].nodes, cases[i].gpus), cases[i].want);
}

static void elastic_jobs_are_checked(void **state) {
    static const struct { int64_t least, most, nodes, ranks; bool fixed; const char *error; } bad[] = {
        {5, 16, 0, 0, false, "gpus: 5..16: an elastic job runs with its most or an equal part of it, the same on each node, and 5 is none: "
                             "ask for 4..16 or 8..16"},
        {4, 7, 0, 0, false, "ask for 1..7 or 7"},
        {1, 16, 2, 0, false, "ask for 2..16"},
        {65520, 65521, 0, 0, false, "ask for 1..65521 or 65521"},
        {9, 8, 0, 0, false, "gpus: the least, 9, is more than the most, 8"},
        {4, 8, 0, 2, false, "ranks: an elastic job has a rank for each GPU that it gets: leave ranks out, or ask for 8"},
        {4, 8, 0, 0, true, "gpus: 4..8: a job that can't be stopped can't be resized"}};
    struct job_spec s;
    struct error err;
    for (size_t i = 0; i < COUNT(bad); i++) {
        s = plain();
        s.gpus_min = bad[i].least, s.gpus = bad[i].most, s.nodes = bad[i].nodes, s.ranks = bad[i].ranks, s.not_preemptible = bad[i].fixed;
        assert_error(job_spec_complete(&s, &arena, &err), ERR_INVALID, &err, bad[i].error);
    }
    s = plain();
    s.gpus_min = 4, s.gpus = 16, s.launcher = LAUNCHER_DIRECT;
    assert_ok(job_spec_complete(&s, &arena, &err), &err);
    assert_true(s.ranks == 16 && s.gpus_min == 4);
    s = plain();
    s.gpus_min = s.gpus = 4, s.not_preemptible = true;   /* from 4 to 4: not elastic at all */
    assert_ok(job_spec_complete(&s, &arena, &err), &err);
    assert_int_equal(s.gpus_min, 0);
}

static void every_number_has_bounds(void **state) {
    for (const struct job_spec_bound *b = job_spec_bounds; b->member; b++)
        for (int low = 0; low < 2; low++) {
            struct job_spec s = plain(), before;
            struct error err;
            *(int64_t *)((char *)&s + b->offset) = low ? b->min - 1 : b->max + 1;
            before = s;
            assert_error(job_spec_complete(&s, &arena, &err), ERR_INVALID, &err, b->member);
            assert_non_null(strstr(err.text, ": must be "));
            assert_memory_equal(&s, &before, sizeof s);   /* a failed call changes nothing */
        }
}

static void nonsense_is_refused(void **state) {
    static const char *bad_env[] = {"A=1", "novalue"}, *empty_env[] = {"=x"}, *control_env[] = {"A\n=1"}, *empty_argv[] = {""};
    struct job_after self = {0, true}, many[JOB_AFTER_MAX + 1] = {{1, true}};
    struct error err;
    struct job_spec s;
#define REFUSED(change, part) \
    (s = plain(), (change), job_spec_complete(&s, &arena, &err)); \
    assert_error(job_spec_complete(&s, &arena, &err), ERR_INVALID, &err, part)
    REFUSED(s.command.count = 0, "command: there is nothing to run");
    REFUSED((s.command = (struct texts){1, empty_argv}), "command: there is nothing to run");
    REFUSED(s.directory = "", "directory: must be an absolute path");
    REFUSED(s.directory = "here", "directory: must be an absolute path, not 'here'");
    REFUSED(s.name = "a\x1b[2J", "name has a control character");
    REFUSED(s.name = "-rf", "name must not begin with a dash");
    REFUSED(s.queue = "", "queue is empty");
    REFUSED(s.output = "a\nb", "output has a control character");
    REFUSED((s.environment = (struct texts){2, bad_env}), "environment: expected NAME=value, got 'novalue'");
    REFUSED((s.environment = (struct texts){1, empty_env}), "environment: expected NAME=value, got '=x'");
    REFUSED((s.environment = (struct texts){1, control_env}), "environment: a control character");
    REFUSED((s.gpus = 7, s.nodes = 2), "gpus: 7 GPUs can't be shared equally by 2 nodes");
    REFUSED((s.ranks = 3, s.nodes = 2), "ranks: 3 ranks can't be shared equally by 2 nodes");
    REFUSED((s.ranks = 3, s.gpus = 2), "ranks: 3 ranks and 2 GPUs");
    REFUSED((s.topology = LEVEL_NODE, s.nodes = 2), "topology: node means within one node");
    REFUSED((s.after = (struct rows){1, &self}), "after: job ids begin at 1");
    REFUSED((s.after = (struct rows){JOB_AFTER_MAX + 1, many}), "after: 17 jobs; at most 16");
    REFUSED((s.script = (struct bytes){JOB_SCRIPT_MAX + 1, ""}), "script: 524289 bytes");
#undef REFUSED
}

static void a_submission_fits_into_a_message(void **state) {
    char *large = malloc(960 * 1024 + 1);
    memset(large, 'x', 960 * 1024);
    large[1] = '=', large[960 * 1024] = '\0';
    const char *environment[] = {large};
    struct job_spec s = plain();
    struct error err;
    s.environment = (struct texts){1, environment};
    assert_error(job_spec_complete(&s, &arena, &err), ERR_INVALID, &err, "at most 983040 are allowed");
    free(large);
}

static void ids_are_parsed(void **state) {
    static const struct { const char *text; int64_t job, element, attempt; } good[] = {
        {"12", 12, -1, -1}, {"12[7]", 12, 7, -1}, {"12.2", 12, -1, 2}, {"12[0].3", 12, 0, 3}};
    static const char *const bad[] = {
        "", "0", "-1", "12[", "12[]", "12.", "12.0", "12x", "x", "12[7", "12[7]x", "99999999999999999999", "12.2[7]"};
    int64_t job, element, attempt;
    struct error err;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_ok(job_id_parse(good[i].text, &job, &element, &attempt, &err), &err);
        assert_true(job == good[i].job && element == good[i].element && attempt == good[i].attempt);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(job_id_parse(bad[i], &job, &element, &attempt, &err), ERR_INVALID, &err, "is not a job id");
}

static void dependencies_are_parsed(void **state) {
    static const char *const bad[] = {"", "ok:", "ok", "all:3", "ok:0", "ok:1.2", "any:1[2]", "3,4"};
    struct job_after after;
    struct error err;
    assert_ok(job_after_parse("any:13", &after, &err), &err);
    assert_true(after.job == 13 && !after.ok);
    assert_ok(job_after_parse("ok:12", &after, &err), &err);
    assert_true(after.job == 12 && after.ok);
    assert_ok(job_after_parse("12", &after, &err), &err);
    assert_true(after.job == 12 && after.ok);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_error(job_after_parse(bad[i], &after, &err), ERR_INVALID, &err, "expected ok:ID or any:ID");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_are_what_users_expect),
                                       cmocka_unit_test(names_follow_the_command),
                                       cmocka_unit_test(ranks_and_launcher_follow_each_other),
                                       cmocka_unit_test(elastic_jobs_have_sizes),
        cmocka_unit_test(elastic_jobs_are_checked),
        cmocka_unit_test(every_number_has_bounds),
                                       cmocka_unit_test(nonsense_is_refused),
                                       cmocka_unit_test(a_submission_fits_into_a_message),
                                       cmocka_unit_test(ids_are_parsed),
                                       cmocka_unit_test(dependencies_are_parsed)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
