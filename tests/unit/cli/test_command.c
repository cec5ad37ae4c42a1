/* The program from its arguments to its exit code and its words, without a daemon. */
#include "tests/unit/cli/capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scheduler/cli/command.h"

static char out_text[65536], err_text[65536];

static void read_back(int fd, char *text, size_t size) {
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
}

/* Runs `muster ...` in this process with its two streams caught. */
static int muster_words(char *const *given) {
    char *words[24] = {0};   /* operands are moved within it */
    int argc = 0, saved_out = dup(1), saved_err = dup(2);
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    for (; given[argc]; argc++)
        words[argc] = given[argc];
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    int code = command_main(argc, words);
    fflush(stdout);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    read_back(out, out_text, sizeof out_text);
    read_back(err, err_text, sizeof err_text);
    close(out), close(err), close(saved_out), close(saved_err);
    return code;
}
#define muster(...) muster_words((char *[]){"muster", __VA_ARGS__, NULL})

static void test_help(void **state) {
    assert_int_equal(muster("help"), 0);
    assert_contains(out_text, "  submit    Submit a job");
    assert_int_equal(muster("help", "jobs"), 0);
    assert_contains(out_text, "usage: muster jobs");
    assert_int_equal(muster("wait", "--help"), 0);
    assert_contains(out_text, "usage: muster wait");
    assert_int_equal(muster("--help"), 0);
}

/* Every command has a help page whose options parse: -h is among them. */
static void test_every_command_has_help(void **state) {
#define X(name)                                      \
    assert_int_equal(muster(#name, "-h"), 0);        \
    assert_contains(out_text, "usage: muster " #name);
    COMMANDS(X)
#undef X
}

static void test_unknown_words(void **state) {
    assert_int_equal(muster("jbos"), 2);
    assert_contains(err_text, "did you mean 'muster jobs'?");
    assert_int_equal(muster("xyzzy\033[2J"), 2);
    assert_contains(err_text, "xyzzy\\x1b[2J");
    assert_int_equal(muster("help", "xyzzy"), 2);
    assert_int_equal(muster("jobs", "--quue", "x"), 2);
    assert_contains(err_text, "muster jobs: unknown option --quue (did you mean --queue?)");
}

static void test_usage(void **state) {
    static char *const cases[][6] = {
        {"muster", "show", NULL},
        {"muster", "show", "x", NULL},
        {"muster", "cancel", NULL},
        {"muster", "cancel", "1", "-u", "ann", NULL},
        {"muster", "drain", "n0", NULL},
        {"muster", "quota", "chnage", NULL},
        {"muster", "quota", "set", NULL},
        {"muster", "quota", "set", "ml", "--limit=x", NULL},
        {"muster", "jobs", "--state", "SLEEPING", NULL},
        {"muster", "jobs", "--format", "{id", NULL},
        {"muster", "nodes", "--format", "{name", NULL},
        {"muster", "show", "--format", "{id", "1", NULL},
        {"muster", "why", "--format", "{id", "1", NULL},
        {"muster", "submit", NULL},
        {"muster", "submit", "--gpus", "-1", NULL},
        {"muster", "report", NULL},
        {"muster", "report", "--step", "1", NULL},
    };
    unsetenv("MUSTER_SOCKET");
    setenv("MUSTER_ENDPOINT", "ipc:///nonexistent/musterd.sock", 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        int code = muster_words(cases[i]);
        if (code != 2 || !*err_text || *out_text)
            fail_msg("%s %s: code %d, '%s'", cases[i][1], cases[i][2] ? cases[i][2] : "", code, err_text);
    }
}

static void test_no_daemon(void **state) {
    setenv("MUSTER_ENDPOINT", "ipc:///nonexistent/musterd.sock", 1);
    assert_int_equal(muster("nodes"), 6);
    assert_contains(err_text, "musterd at ipc:///nonexistent/musterd.sock does not answer");
    setenv("MUSTER_ENDPOINT", "http://x", 1);
    assert_int_equal(muster("nodes"), 2);
    assert_contains(err_text, "must be ipc://PATH or tcp://ADDRESS:PORT");
    unsetenv("MUSTER_ENDPOINT");
    if (access("/run/muster/musterd.sock", F_OK) < 0) {
        assert_int_equal(muster("nodes"), 6);
        assert_contains(err_text, "deploy/local-cluster start");
    }
}

static void test_version_needs_no_daemon(void **state) {
    setenv("MUSTER_ENDPOINT", "ipc:///nonexistent/musterd.sock", 1);
    assert_int_equal(muster("version", "--json"), 0);
    json_t *document = parse_json(out_text);
    assert_int_equal(json_integer_value(json_object_get(document, "schema_version")), 1);
    assert_true(json_is_null(json_object_get(document, "cluster")));
    json_decref(document);
}

static void test_dry_run_needs_no_daemon(void **state) {
    setenv("MUSTER_ENDPOINT", "ipc:///nonexistent/musterd.sock", 1);
    assert_int_equal(muster("submit", "--dry-run", "--json", "--ranks", "2", "--gpus", "2", "--", "true", "--gpus"), 0);
    json_t *document = parse_json(out_text), *job = json_object_get(document, "job");
    assert_int_equal(json_integer_value(json_object_get(document, "schema_version")), 1);
    assert_string_equal(json_string_value(json_object_get(job, "launcher")), "mpirun");
    assert_int_equal(json_array_size(json_object_get(job, "command")), 2);
    json_decref(document);
}

static void test_dry_run_as_text(void **state) {
    static const char *const parts[] = {
        "Not submitted: job true\n",
        "  queue       ml, priority 3\n",
        "  command     true x\n",
        "  directory   /tmp\n",
        "  output      muster-%j.out\n",
        "  launcher    mpirun\n",
        "  asked for   4 GPUs on 2 nodes, 4 ranks, 1 core a rank\n",
        "  after       ok:7\n",
        "  grace       1m00s\n",
        "  environment 1 variable\n",
    };
    assert_int_equal(muster("submit", "--dry-run", "-Qml", "-N2", "-n4", "-g4", "-p3", "-D/tmp", "--after=ok:7", "--export=A=1", "--",
                            "true", "x"),
                     0);
    for (size_t i = 0; i < COUNT(parts); i++)
        assert_contains(out_text, parts[i]);
    assert_string_equal(err_text, "");
}

static void test_dry_run_of_a_script(void **state) {
    char path[] = "/tmp/muster-dry-XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "#!/bin/sh -e\n#MUSTER --gpus 1 --hold\n#MUSTER --name gpt\necho\n");
    assert_int_equal(muster("submit", "--dry-run", path, "one", "two"), 0);
    assert_contains(out_text, "Not submitted: job gpt\n");
    assert_contains(out_text, "  script      61 bytes, run by /bin/sh -e\n  arguments   one two\n");
    assert_contains(out_text, "  hold        until `muster release`\n");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "#MUSTER\n", 8, 0), 8);
    assert_int_equal(muster("submit", "--dry-run", path), 0);
    assert_contains(out_text, "  script      8 bytes, run by /bin/sh\n");
    assert_int_equal(pwrite(fd, "#MUSTER --gpus four\n", 20, 0), 20);
    assert_int_equal(muster("submit", "--dry-run", path), 2);
    assert_contains(err_text, ":1: --gpus: expected an integer, got 'four'\n");
    assert_string_equal(out_text, "");
    close(fd);
    unlink(path);
}

static void test_run_joins_no_terminal_to_json(void **state) {
    assert_int_equal(muster("run", "--pty", "--json", "true"), 2);
    assert_contains(err_text, "--pty and --json");
}

/* A worker's end of MUSTER_SOCKET. */
static int listen_as_worker(char *path, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, size, "/tmp/muster-report-%d.sock", (int)getpid());
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    setenv("MUSTER_SOCKET", path, 1);
    return fd;
}

static void test_report(void **state) {
    char path[108], line[1024] = "";
    int worker = listen_as_worker(path, sizeof path);
    assert_int_equal(
        muster("report", "--step", "5", "--total", "10", "--loss", "2.5", "--value", "mfu=0.5", "--checkpointed", "4", "--id", "7"), 0);
    int job = accept(worker, NULL, NULL);
    assert_true(read(job, line, sizeof line - 1) > 0);
    assert_string_equal(line, "{\"type\":\"progress\",\"step\":5,\"total\":10,\"loss\":2.5,\"mfu\":0.5}\n"
                              "{\"type\":\"checkpointed\",\"step\":4,\"id\":7}\n");
    close(job);
    assert_int_equal(muster("report", "--step", "5", "--loss", "nan"), 2);
    assert_int_equal(muster("report", "--wait-checkpoint", "--timeout", "0"), 7);
    close(worker);
    unlink(path);
    assert_int_equal(muster("report", "--step", "5"), 6);
    assert_contains(err_text, path);
}

static void test_report_acknowledges_in_json(void **state) {
    static const char asked[] = "{\"type\":\"other\"}\n{\"type\":\"checkpoint\",\"id\":7,\"grace_s\":60}\n";
    char path[108], line[1024] = "";
    int worker = listen_as_worker(path, sizeof path);
    assert_int_equal(muster("report", "--json", "--step", "5", "--checkpointed", "4", "--id", "7", "--yielding", "4"), 0);
    json_t *document = parse_json(out_text), *sent = json_object_get(document, "sent");
    assert_int_equal(json_integer_value(json_object_get(document, "schema_version")), 1);
    assert_int_equal(json_array_size(sent), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(sent, 2), "type")), "yielding");
    assert_true(json_is_null(json_object_get(document, "request")));
    char *lines[3] = {json_dumps(json_array_get(sent, 0), JSON_COMPACT), json_dumps(json_array_get(sent, 1), JSON_COMPACT),
                      json_dumps(json_array_get(sent, 2), JSON_COMPACT)};
    char expected[1024];
    snprintf(expected, sizeof expected, "%s\n%s\n%s\n", lines[0], lines[1], lines[2]);
    int job = accept(worker, NULL, NULL);
    assert_true(read(job, line, sizeof line - 1) > 0);
    assert_string_equal(line, expected);
    for (int i = 0; i < 3; i++)
        free(lines[i]);
    close(job);
    json_decref(document);

    pid_t child = fork();
    if (child == 0) {
        job = accept(worker, NULL, NULL);
        _exit(write(job, asked, sizeof asked - 1) < 0);
    }
    assert_int_equal(muster("report", "--json", "--wait-checkpoint"), 0);
    document = parse_json(out_text);
    assert_int_equal(json_integer_value(json_object_get(document, "request")), 7);
    assert_int_equal(json_array_size(json_object_get(document, "sent")), 0);
    json_decref(document);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(muster("report", "--json", "--step", "5", "--loss", "nan"), 2);
    assert_string_equal(out_text, "");
    close(worker);
    unlink(path);
    assert_int_equal(muster("report", "--json", "--step", "5"), 6);
    assert_string_equal(out_text, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_every_command_has_help),
        cmocka_unit_test(test_unknown_words),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_version_needs_no_daemon),
        cmocka_unit_test(test_dry_run_needs_no_daemon),
        cmocka_unit_test(test_dry_run_as_text),
        cmocka_unit_test(test_dry_run_of_a_script),
        cmocka_unit_test(test_no_daemon),
        cmocka_unit_test(test_run_joins_no_terminal_to_json),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_report_acknowledges_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
