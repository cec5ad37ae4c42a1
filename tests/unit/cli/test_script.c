/* Scripts with #MUSTER lines: what they make of a job, and which line an error names. */
#include "tests/unit/cli/capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scheduler/cli/job_flags.h"
#include "scheduler/cli/script.h"

static struct arena arena;
static char folder[] = "/tmp/muster-script-XXXXXX";
static const struct job_flags unset = JOB_FLAGS_UNSET;

static int enter_folder(void **state) { return !mkdtemp(folder) || chdir(folder); }

static int leave_folder(void **state) {
    arena_release(&arena);
    unlink("job.sh");
    return chdir("/") || rmdir(folder);
}

static void write_bytes(const char *path, const char *text, size_t size) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
}

/* The job that `muster submit FLAGS ./job.sh one two` would make of this text. */
static int build(const char *text, const struct job_flags *flags, struct job_spec *spec, struct error *err) {
    char *operands[] = {"submit", "./job.sh", "one", "two"};
    write_bytes("job.sh", text, strlen(text));
    return job_flags_build(flags, JOB_FROM_FILE, 3, operands + 1, spec, &arena, err);
}

static int parse(const char *text, size_t size, struct script *script, struct error *err) {
    struct bytes bytes = {size, text};
    return script_parse("train.sh", &bytes, script, &arena, err);
}

static void test_lines_make_the_job(void **state) {
    static const char text[] = "#!/bin/sh\n"
                               "# a comment\n"
                               "#MUSTER --gpus 4 --nodes=2 -n4\n"
                               "\n"
                               "   #MUSTER -t 2h --name 'my job' \t\r\n"
                               "#MUSTER\n"
                               "#MUSTERED --gpus x\n"
                               "#MUSTER --output out#%j -e A=1 -e 'B=x y'\n"
                               "echo $1\n";
    struct job_spec spec;
    struct error err;
    assert_ok(build(text, &unset, &spec, &err), &err);
    assert_true(spec.gpus == 4 && spec.nodes == 2 && spec.ranks == 4 && spec.time_limit_ms == 7200000);
    assert_int_equal(spec.launcher, LAUNCHER_MPIRUN);
    assert_string_equal(spec.name, "my job");
    assert_string_equal(spec.output, "out#%j");
    assert_int_equal(spec.script.size, sizeof text - 1);
    assert_memory_equal(spec.script.data, text, sizeof text - 1);
    assert_int_equal(spec.command.count, 2);
    assert_string_equal(spec.command.items[1], "two");
    size_t found = 0;
    for (size_t i = 0; i < spec.environment.count; i++)
        found += !strcmp(spec.environment.items[i], "A=1") || !strcmp(spec.environment.items[i], "B=x y");
    assert_int_equal(found, 2);
}

static void test_the_file_names_the_job(void **state) {
    struct job_spec spec;
    struct error err;
    assert_ok(build("#!/bin/sh\n", &unset, &spec, &err), &err);
    assert_string_equal(spec.name, "job.sh");
}

static void test_the_command_line_goes_over_the_lines(void **state) {
    struct job_flags flags = unset;
    struct job_spec spec;
    struct error err;
    flags.gpus = (struct text_range){2, 2};
    flags.name = "mine";
    flags.export = "NONE";
    flags.env = (struct option_list){1, {"A=2"}};
    assert_ok(build("#!/bin/sh\n#MUSTER -g 4 -J theirs -e A=1 -e B=1 --cpus 3 --export ALL\n", &flags, &spec, &err), &err);
    assert_true(spec.gpus == 2 && spec.cpus == 3);
    assert_string_equal(spec.name, "mine");
    assert_int_equal(spec.environment.count, 2);
    assert_string_equal(spec.environment.items[0], "A=2");
}

/* As on the command line: of an option that is given twice the last one counts, and lists grow. */
static void test_later_lines_go_over_earlier_ones(void **state) {
    struct script script;
    struct error err;
    static const char text[] = "#MUSTER -g 4 -e A=1\n#MUSTER -g 2 -e B=2\n";
    assert_ok(parse(text, sizeof text - 1, &script, &err), &err);
    assert_int_equal(script.flags.gpus.most, 2);
    assert_int_equal(script.flags.env.count, 2);
    assert_int_equal(script.directives, 2);
}

static void test_lines_need_no_interpreter(void **state) {
    struct job_spec spec;
    struct error err;
    assert_ok(build("#MUSTER --gpus 1\necho\n", &unset, &spec, &err), &err);
    assert_int_equal(spec.gpus, 1);
    assert_ok(build("#!/usr/bin/python3\n#MUSTER -g 1\n\"\"\"doc\"\"\"", &unset, &spec, &err), &err);
}

/* The kernel would look for an interpreter whose name ends in a carriage return, and say that there is no such file. */
static void test_lines_of_dos_are_refused(void **state) {
    struct script script;
    struct error err;
    static const char text[] = "#!/bin/sh\r\n#MUSTER -g 1\r\ntrue\r\n", plain[] = "#MUSTER -g 1\r\ntrue\n", bare[] = "#!\r\n";
    assert_error(parse(text, sizeof text - 1, &script, &err), ERR_INVALID, &err, ":1: its lines end as those of DOS, in a carriage return");
    assert_error(parse(bare, sizeof bare - 1, &script, &err), ERR_INVALID, &err, ":1: its lines end");
    assert_ok(parse(plain, sizeof plain - 1, &script, &err), &err);
}

static void test_late_lines_are_told(void **state) {
    struct script script;
    struct error err;
    static const char text[] = "#!/bin/sh\n#MUSTER -g 1\nset -e\n#MUSTER -g 9\n# more\n\t#MUSTER nonsense\nx #MUSTER -g 3\n";
    assert_ok(parse(text, sizeof text - 1, &script, &err), &err);
    assert_int_equal(script.flags.gpus.most, 1);
    assert_int_equal(script.late_count, 2);
    assert_true(script.late[0] == 4 && script.late[1] == 6);

    struct job_spec spec;
    char said[256] = "";
    int saved = dup(2), memory = memfd_create("err", MFD_CLOEXEC);
    dup2(memory, 2);
    int rc = build(text, &unset, &spec, &err);
    dup2(saved, 2);
    assert_ok(rc, &err);
    assert_true(pread(memory, said, sizeof said - 1, 0) > 0);
    close(saved), close(memory);
    assert_contains(said, "muster: ./job.sh: line 4: #MUSTER after the first command is ignored: move it up\n");
    assert_contains(said, "line 6");
}

static void test_errors_name_the_line(void **state) {
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"#!/bin/sh\n\n#MUSTER --gpus four\n", "./job.sh:3: --gpus: expected an integer, got 'four'"},
        {"#!/bin/sh\n#MUSTER --gpu 4\n", "./job.sh:2: unknown option --gpu (did you mean --gpus?)"},
        {"#!/bin/sh\n#MUSTER --gpus 1 --dry-run\n", "./job.sh:2: unknown option --dry-run"},
        {"#!/bin/sh\n#MUSTER -X\n", "./job.sh:2: unknown option -X"},
        {"#!/bin/sh\n#MUSTER --name\n", "./job.sh:2: --name needs a value"},
        {"#!/bin/sh\n#MUSTER --name 'open\n", "./job.sh:2: an open quote"},
        {"#!/bin/sh\n#MUSTER --name x\\\n", "./job.sh:2: a \\ at the end"},
        {"#!/bin/sh\n#MUSTER --gpus 1 train\n", "./job.sh:2: expected options only, got 'train'"},
        {"#!/bin/sh\n#MUSTER --gpus 1 -- train\n", "./job.sh:2: expected options only, got 'train'"},
        {"#!/bin/sh\n#MUSTER -g 1\n#MUSTER --gpus 900000\n", "./job.sh:3: --gpus: must be 0..65536, not 900000"},
        {"#!/bin/sh\n#MUSTER --time 9999d\n", "./job.sh:2: --time: must be 0 to 3650d00h"},
        {"#!/bin/sh\n#MUSTER --topology galaxy\n", "./job.sh:2: --topology: expected any, pod, rack, node or island, got 'galaxy'"},
        {"#!/bin/sh\n#MUSTER --after ok:1\n#MUSTER --after 7\n", "./job.sh:3: --after: expected ok:ID or any:ID, got '7'"},
        {"#!/bin/sh\n#MUSTER -e A=1\n#MUSTER -e A\n#MUSTER -e B=2\n", "./job.sh:3: --env: expected NAME=VALUE, got 'A'"},
        {"#!/bin/sh\n#MUSTER --export ,\n", "./job.sh:2: --export: expected ALL, NONE or names"},
        /* Found only in the whole job: the line that gave the member named. */
        {"#!/bin/sh\n#MUSTER -N 2\n#MUSTER -g 7\n#MUSTER -n 2\n", "./job.sh:3: gpus: 7 GPUs can't be shared equally by 2 nodes"},
        {"#!/bin/sh\n\n#MUSTER --queue ''\n", "./job.sh:3: queue is empty"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job_spec spec;
        struct error err = {0};
        assert_error(build(cases[i].text, &unset, &spec, &err), ERR_INVALID, &err, cases[i].part);
    }
}

/* The script is not to blame for what the command line said. */
static void test_errors_of_the_command_line_name_no_line(void **state) {
    struct job_flags flags = unset;
    struct job_spec spec;
    struct error err;
    flags.gpus = (struct text_range){7, 7};
    assert_error(build("#!/bin/sh\n#MUSTER -N 2 -g 4\n", &flags, &spec, &err), ERR_INVALID, &err, "./job.sh: gpus: 7 GPUs can't be shared");
    flags = unset;
    flags.topology = "galaxy";
    assert_error(build("#!/bin/sh\n#MUSTER --topology rack\n", &flags, &spec, &err), ERR_INVALID, &err, "--topology: expected any");
    assert_null(strstr(err.text, "job.sh"));
}

static void test_lengths_are_bounded(void **state) {
    struct script script;
    struct error err;
    static char text[1 << 20];
    int used = sprintf(text, "#!/bin/sh\n#MUSTER --name %04090d\n", 1);
    assert_error(parse(text, (size_t)used, &script, &err), ERR_INVALID, &err, "train.sh:2: more than 4096 bytes");
    used = sprintf(text, "#!/bin/sh\n#MUSTER --name %04080d\n", 1);
    assert_ok(parse(text, (size_t)used, &script, &err), &err);
    used = sprintf(text, "#!/bin/sh\n#MUSTER");
    for (int i = 0; i < 65; i++)
        used += sprintf(text + used, " -H");
    assert_error(parse(text, (size_t)used, &script, &err), ERR_INVALID, &err, "train.sh:2: more than 64 words");
    used = 0;
    for (int i = 0; i < 257; i++)
        used += sprintf(text + used, "#MUSTER -g %d\n", i);
    assert_error(parse(text, (size_t)used, &script, &err), ERR_INVALID, &err, "train.sh:257: more than 256 #MUSTER lines");
    used = 0;
    for (int i = 0; i < 65; i++)
        used += sprintf(text + used, "#MUSTER -e A=%d\n", i);
    assert_error(parse(text, (size_t)used, &script, &err), ERR_INVALID, &err, "train.sh:65: --env: given more than 64 times");
    memset(text, ' ', sizeof text);
    memcpy(text, "#!/bin/sh\n", 10);
    write_bytes("job.sh", text, sizeof text);
    struct job_spec spec;
    assert_error(job_flags_build(&unset, JOB_FROM_FILE, 1, (char *[]){"job.sh", NULL}, &spec, &arena, &err), ERR_INVALID, &err,
                 "job.sh: a script has at most 512 KiB");
}

/* A zero byte would hide the rest of its line; after the commands a script may carry anything. */
static void test_zero_bytes(void **state) {
    struct script script;
    struct error err;
    static const char within[] = "#!/bin/sh\n#MUSTER -g 1\0 --nonsense\n", after[] = "#!/bin/sh\nexit\n\0\0\n#MUSTER\n",
                      program[] = "\177ELF\0\n#MUSTER -g 1\n";
    assert_error(parse(within, sizeof within - 1, &script, &err), ERR_INVALID, &err, "train.sh:2: a zero byte");
    assert_ok(parse(after, sizeof after - 1, &script, &err), &err);
    assert_int_equal(script.late[0], 4);
    assert_error(parse(program, sizeof program - 1, &script, &err), ERR_INVALID, &err, "train.sh:1: a script begins with #!");
}

static void test_what_is_no_script(void **state) {
    static const char *const texts[] = {"", "echo\n", "\177ELF", "gpus: 4\ncommand: true\n", "#", " #!/bin/sh\n"};
    struct job_spec spec;
    struct error err;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_error(build(texts[i], &unset, &spec, &err), ERR_INVALID, &err, "./job.sh:1: a script begins with #! (such as #!/bin/sh)");
        assert_false(script_is_one("job.sh"));
    }
    assert_error(job_flags_build(&unset, JOB_FROM_FILE, 1, (char *[]){"none.sh", NULL}, &spec, &arena, &err), ERR_NOT_FOUND, &err,
                 "none.sh (a command is submitted as `-- none.sh`)");
    assert_false(script_is_one("none.sh"));
    assert_false(script_is_one("/"));
    unlink("job.sh");
    assert_int_equal(mkfifo("job.sh", 0600), 0);
    assert_false(script_is_one("job.sh"));   /* and does not wait for a writer */
    unlink("job.sh");
    write_bytes("job.sh", "#!/bin/sh\n", 10);
    assert_true(script_is_one("job.sh"));
    write_bytes("job.sh", "\n#MUSTER\n", 9);
    assert_true(script_is_one("./job.sh"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_make_the_job),
        cmocka_unit_test(test_the_file_names_the_job),
        cmocka_unit_test(test_the_command_line_goes_over_the_lines),
        cmocka_unit_test(test_later_lines_go_over_earlier_ones),
        cmocka_unit_test(test_lines_need_no_interpreter),
        cmocka_unit_test(test_lines_of_dos_are_refused),
        cmocka_unit_test(test_late_lines_are_told),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_errors_of_the_command_line_name_no_line),
        cmocka_unit_test(test_lengths_are_bounded),
        cmocka_unit_test(test_zero_bytes),
        cmocka_unit_test(test_what_is_no_script),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
