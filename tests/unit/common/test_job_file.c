/* Job files as people write them, and as they get them wrong. Each test writes files into a folder of its own. */
#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/job_spec.h"

static char before[512];
static struct arena arena;

static int setup(void **state) {
    char folder[] = "/tmp/muster-test.XXXXXX";
    return !getcwd(before, sizeof before) || !mkdtemp(folder) || chdir(folder);
}

static int teardown(void **state) {
    char folder[512], command[600];
    arena_release(&arena);
    if (!getcwd(folder, sizeof folder) || chdir(before))
        return -1;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void write_file(const char *path, const void *text, size_t size) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
}

static int read_sized(const void *text, size_t size, struct job_spec *spec, struct error *err) {
    write_file("job.yaml", text, size);
    job_spec_init(spec);
    return job_file_read("job.yaml", spec, &arena, err);
}

static int read_text(const char *text, struct job_spec *spec, struct error *err) { return read_sized(text, strlen(text), spec, err); }

static void a_full_file_is_read(void **state) {
    struct job_spec s;
    struct error err;
    assert_ok(read_text("# everything\n"
                        "name: train-1\n"
                        "queue: ml/vision\n"
                        "command: [python3, train.py, '--lr', 0.1]\n"
                        "gpus: 8\nnodes: 2\nranks: 8\ncpus: 4\nmemory: 16G\n"
                        "launcher: mpirun\ntopology: rack\npriority: -5\narray: 0-9%3\n"
                        "time: 2h30m\ngrace: 90\nretries: 3\npreemptible: false\nhold: yes\non_lost: wait\n"
                        "after: ['ok:12', 'any:13']\n"
                        "environment:\n  LR: 0.1\n  EMPTY:\n  TEXT: \"a b\"\n"
                        "gpu_type: [h100, a100]\nfeatures: nvme,ib\nexclude: node3\nexclusive: true\nprefer: rack\n"
                        "directory: /home/me\noutput: out-%j.txt\nerror: err-%j.txt\n", &s, &err), &err);
    json_t *json = record_to_json(&job_spec_schema, &s);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(
        text,
        "{\"token\":\"\",\"name\":\"train-1\",\"queue\":\"ml/vision\",\"command\":[\"python3\",\"train.py\",\"--lr\",\"0.1\"],\"script\":0,"
        "\"environment\":[\"LR=0.1\",\"EMPTY=\",\"TEXT=a b\"],"
        "\"directory\":\"/home/me\",\"output\":\"out-%j.txt\",\"error\":\"err-%j.txt\","
        "\"nodes\":2,\"gpus\":8,\"ranks\":8,\"cpus\":4,\"memory_mib\":16384,\"launcher\":1,\"topology\":1,\"priority\":-5,"
        "\"time_limit_ms\":9000000,"
        "\"grace_ms\":90000,\"retries\":3,\"not_preemptible\":true,\"hold\":true,\"on_lost_wait\":true,\"pty\":false,"
        "\"after\":[{\"job\":12,\"ok\":true},{\"job\":13,\"ok\":false}],\"terminal_rows\":0,\"terminal_cols\":0,\"umask\":0,"
        "\"gpus_min\":0,\"estimate_ms\":0,\"compact\":false,\"queue_named\":true,\"gpu_type\":\"h100,a100\",\"features\":\"nvme,ib\","
        "\"nodelist\":\"\",\"exclude\":\"node3\",\"exclusive\":true,"
        "\"prefer\":1,\"array\":\"0-9%3\"}");
    free(text);
    json_decref(json);
    assert_ok(job_spec_complete(&s, &arena, &err), &err);
}

static void a_command_may_be_a_line_for_the_shell(void **state) {
    struct job_spec s;
    struct error err;
    assert_ok(read_text("command: |\n  echo a\n  echo b\nafter: 7\n", &s, &err), &err);
    assert_int_equal(s.command.count, 3);
    assert_string_equal(s.command.items[0], "/bin/sh");
    assert_string_equal(s.command.items[2], "echo a\necho b\n");
    assert_int_equal(((struct job_after *)s.after.items)->job, 7);
    assert_string_equal(s.queue, "default");
}

static void an_elastic_job_says_from_to(void **state) {
    struct job_spec s;
    struct error err;
    assert_ok(read_text("command: a\ngpus: 4..16\nestimate: 2h\ncompact: yes\n", &s, &err), &err);
    assert_true(s.gpus_min == 4 && s.gpus == 16 && s.estimate_ms == 7200000 && s.compact);
    assert_ok(read_text("command: a\ngpus: 4..4\n", &s, &err), &err);
    assert_true(s.gpus_min == 0 && s.gpus == 4);
}

static void a_script_is_read_beside_the_file(void **state) {
    struct job_spec s;
    struct error err;
    assert_int_equal(mkdir("sub", 0700), 0);
    write_file("sub/run.sh", "#!/bin/sh\ntrue\n", 15);
    write_file("sub/job.yaml", "script: run.sh\n", 15);
    job_spec_init(&s);
    assert_ok(job_file_read("sub/job.yaml", &s, &arena, &err), &err);
    assert_int_equal(s.script.size, 15);
    assert_memory_equal(s.script.data, "#!/bin/sh\ntrue\n", 15);
    assert_string_equal(s.name, "run.sh");
    assert_error(read_text("script: none.sh\n", &s, &err), ERR_INVALID, &err, "job.yaml:1:9: script: none.sh can't be read: No such file");
    assert_error(read_text("script: sub\n", &s, &err), ERR_INVALID, &err, "job.yaml:1:9: script: sub is not a regular file");
}

static void every_error_has_its_place(void **state) {
    static const struct { const char *text, *error; } bad[] = {
        {"name: a\n\n# where is it\ngpus:       four\n", "job.yaml:4:13: gpus: expected an integer, got 'four'"},
        {"name: a\ngpu: 4\n", "job.yaml:2:1: gpu: no such member (did you mean gpus?)"},
        {"zzzzzzzz: 4\n", "job.yaml:1:1: zzzzzzzz: no such member"},
        {"gpus: [4]\n", "job.yaml:1:7: gpus: expected an integer, got a list"},
        {"gpus: {a: 4}\n", "job.yaml:1:7: gpus: expected an integer, got a map"},
        {"gpus:\nname: a\n", "job.yaml:1:6: gpus: expected an integer, got nothing"},
        {"gpus: 70000\n", "job.yaml:1:7: gpus: must be 0..65536, not 70000"},
        {"gpus: 4..x\n", "job.yaml:1:7: gpus: expected an integer, got 'x'"},
        {"gpus: 4..\n", "job.yaml:1:7: gpus: expected a number, or the least and the most such as 4..16, got '4..'"},
        {"gpus: ..4\n", "job.yaml:1:7: gpus: expected a number, or the least and the most such as 4..16, got '..4'"},
        {"gpus: 0..8\n", "job.yaml:1:7: gpus: must be 1..65536, not 0"},
        {"gpus: 8..4\n", "job.yaml:1:7: gpus: the least comes first: 4..8"},
        {"estimate: soon\n", "job.yaml:1:11: estimate: expected a duration such as 90s, 10m, 2h30m, 1d, 1:30:00 or 1-00:00:00, got 'soon'"},
        {"compact: maybe\n", "job.yaml:1:10: compact: expected true or false, got 'maybe'"},
        {"cpus: 0\n", "job.yaml:1:7: cpus: must be 1..1024, not 0"},
        {"name: a\ntime: soon\n", "job.yaml:2:7: time: expected a duration such as 90s, 10m, 2h30m, 1d, 1:30:00 or 1-00:00:00, got 'soon'"},
        {"grace: 25h\n", "job.yaml:1:8: grace: must be 0 to 1d00h"},
        {"memory: lots\n", "job.yaml:1:9: memory: expected a size such as 512M, 16G or 1T (a bare number is MiB), got 'lots'"},
        {"hold: maybe\n", "job.yaml:1:7: hold: expected true or false, got 'maybe'"},
        {"launcher: mpi\n", "job.yaml:1:11: launcher: expected none, mpirun or direct, got 'mpi'"},
        {"topology: [rack]\n", "job.yaml:1:11: topology: expected any, pod, rack, node or island, got a list"},
        {"on_lost: cry\n", "job.yaml:1:10: on_lost: expected requeue or wait, got 'cry'"},
        {"name: a\nname: b\n", "job.yaml:2:1: name: given twice"},
        {"name: \"a\\e[2J\"\n", "job.yaml:1:7: name has a control character (byte 2)"},
        {"name: \"a\\0b\"\n", "job.yaml:1:7: name: has a zero byte"},
        {"queue: -x\n", "job.yaml:1:8: queue must not begin with a dash"},
        {"directory: here\n", "job.yaml:1:12: directory: must be an absolute path"},
        {"command: {a: b}\n", "job.yaml:1:10: command: expected a text or a list, got a map"},
        {"command: [a, [b]]\n", "job.yaml:1:14: command: expected a text, got a list"},
        {"after:\n  - ok:12\n  - all:13\n", "job.yaml:3:5: after: expected ok:ID or any:ID, got 'all:13'"},
        {"environment: A=1\n", "job.yaml:1:14: environment: expected a map, NAME: value"},
        {"environment:\n  A: [1]\n", "job.yaml:2:6: A: expected a text, got a list"},
        {"environment:\n  A=B: 1\n", "job.yaml:2:3: environment: a variable's name is not empty and has no '='"},
        {"name: a\n gpus: 4\n", "job.yaml:2:6: not YAML: mapping values are not allowed in this context"},
        {"name: [a\n", "job.yaml:2:1: not YAML: did not find expected ',' or ']' while parsing a flow sequence"},
        {"name: a\n\tgpus: 4\n", "job.yaml:2:1: not YAML: found a tab character that violates indentation while scanning a plain scalar"},
        {"name: *b\n", "job.yaml:1:7: not YAML: found undefined alias"},
        {"- name: a\n", "job.yaml:1:1: expected members such as 'command: ...', got a list"},
        {"just text\n", "job.yaml:1:1: expected members such as 'command: ...', got a text"},
        {"# only a comment\n", "job.yaml:1:1: there is nothing in it: expected members such as command"},
        {"name: a\n---\nname: b\n", "job.yaml:3:1: a second document: one file is one job"},
        {"name: a\xff\n", "job.yaml:1:8: not YAML: invalid leading UTF-8 octet"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct job_spec s;
        struct error err = {0};
        if (read_text(bad[i].text, &s, &err) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i].text);
        assert_string_equal(err.text, bad[i].error);
        assert_int_equal(s.gpus, 0);
        assert_string_equal(s.name, "");   /* a failed call changes nothing */
    }
}

/* What only the whole job shows, once flags have gone over the file. */
static int complete(const char *text, struct job_spec *s, struct error *err) {
    assert_ok(read_text(text, s, err), err);
    s->directory = "/";
    assert_int_equal(job_spec_complete(s, &arena, err), ERR_INVALID);
    return job_file_place_error("job.yaml", err);
}

static void an_error_of_the_whole_points_at_its_member(void **state) {
    struct job_spec s;
    struct error err;
    assert_error(complete("command: [a]\nnodes: 5\ngpus: 12\n", &s, &err), ERR_INVALID, &err, "job.yaml:3:1: gpus: 12 GPUs");
    assert_error(complete("command: [a]\nranks: 3\nnodes: 2", &s, &err), ERR_INVALID, &err, "job.yaml:2:1: ranks: 3 ranks");
    assert_error(complete("gpus: 1\n", &s, &err), ERR_INVALID, &err, "job.yaml:1:1: command: there is nothing to run");
}

static void files_that_are_no_files_are_refused(void **state) {
    struct job_spec s;
    struct error err;
    assert_error(job_file_read("none.yaml", &s, &arena, &err), ERR_NOT_FOUND, &err, "none.yaml: can't be read: No such file or directory");
    assert_error(job_file_read(".", &s, &arena, &err), ERR_INVALID, &err, ".: is not a regular file");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_error(job_file_read("pipe", &s, &arena, &err), ERR_INVALID, &err, "pipe: is not a regular file");
    assert_error(read_text("", &s, &err), ERR_INVALID, &err, "job.yaml: is empty");
    assert_int_equal(truncate("job.yaml", 1024 * 1024 + 1), 0);
    assert_error(job_file_read("job.yaml", &s, &arena, &err), ERR_INVALID, &err, "job.yaml: has 1048577 bytes; at most 1048576");
}

static void aliases_do_not_multiply(void **state) {
    size_t used = 0, size = 200 * 1024;
    char *text = malloc(size);
    used += (size_t)snprintf(text + used, size - used, "command: [&a \"%0100000d\"", 0);
    for (int i = 0; i < 1000; i++)
        used += (size_t)snprintf(text + used, size - used, ", *a");
    used += (size_t)snprintf(text + used, size - used, "]\n");
    struct job_spec s;
    struct error err;
    assert_error(read_sized(text, used, &s, &err), ERR_INVALID, &err, "the file grows too long by its aliases");
    free(text);
}

/* docs/job-file.md shows a full example: it must be one. */
static void the_documented_example_is_valid(void **state) {
    char path[600], text[8192];
    snprintf(path, sizeof path, "%s/docs/job-file.md", before);
    FILE *f = fopen(path, "r");
    if (!f)
        skip();   /* not run from the top of the tree */
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *start = strstr(text, "```yaml\n"), *end = start ? strstr(start + 8, "```\n") : NULL;
    assert_non_null(end);
    *end = '\0';
    struct job_spec s;
    struct error err;
    assert_ok(read_text(start + 8, &s, &err), &err);
    assert_ok(job_spec_complete(&s, &arena, &err), &err);
    assert_int_equal(s.ranks, 16);
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_full_file_is_read),       T(a_command_may_be_a_line_for_the_shell), T(a_script_is_read_beside_the_file),
        T(an_elastic_job_says_from_to),
        T(every_error_has_its_place), T(files_that_are_no_files_are_refused),   T(aliases_do_not_multiply),
        T(the_documented_example_is_valid), T(an_error_of_the_whole_points_at_its_member)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
