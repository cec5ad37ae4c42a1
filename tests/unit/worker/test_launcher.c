/* A real launcher process, driven over its socket: what it starts, how it ends it, and what it knows after a death. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "worker/launcher.h"

static char folder[64], output[96];
static struct paths paths;
static struct wire_link link_;
static pid_t launcher;
static int64_t next_job = 1;

/* ---- the other end of launcher.sock ---- */

static void start_launcher(void) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    launcher = fork();
    if (launcher == 0) {
        close(ready[0]);
        int log = open("launcher.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(log, 2);
        struct launcher_options options = {.state = folder, .name = "test", .allow_root = true};
        _exit(launcher_run(&options, ready[1]));
    }
    close(ready[1]);
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    text_copy(address.sun_path, sizeof address.sun_path, paths.launcher_socket);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    wire_init(&link_, fd);
}

static void tell(enum wire_kind kind, int64_t job, const struct wire_message *more) {
    struct error err;
    struct wire_message m = more ? *more : (struct wire_message){0};
    m.kind = kind;
    m.job = job;
    m.attempt = 1;
    m.lease = job * 10;
    m.uid = geteuid();
    m.gid = getegid();
    assert_ok(wire_send(&link_, &m, NULL, 0, -1, &err), &err);
}

/* The next frame of this kind within ms; others are skipped. false: none came. */
static bool heard(uint32_t kind, int ms, struct wire_frame *f) {
    struct error err;
    int64_t until = clock_boot_ms() + ms;
    while (clock_boot_ms() < until) {
        int got = wire_next(&link_, f, &err);
        if (got > 0 && f->m.kind == kind)
            return true;
        if (got > 0) {
            wire_frame_release(f);
            continue;
        }
        struct pollfd p = {.fd = link_.fd, .events = POLLIN};
        poll(&p, 1, 10);
        if (wire_fill(&link_, &err) != 0)
            return false;
    }
    return false;
}

static void expect(uint32_t kind, struct wire_frame *f) {
    if (!heard(kind, 10000, f))
        fail_msg("no frame of kind %u within 10 s", kind);
}

static int64_t prepare(void) {
    struct wire_frame f;
    int64_t job = next_job++;
    tell(WIRE_PREPARE, job, NULL);
    expect(WIRE_PREPARED, &f);
    assert_int_equal(f.m.job, job);
    wire_frame_release(&f);
    return job;
}

static void spawn_slot(int64_t job, int slot, int flags, const char *const *argv) {
    struct error err;
    char mark[256], run[PATH_MAX];
    paths_run(&paths, job, 1, "socket", run);
    snprintf(mark, sizeof mark, "MUSTER_SOCKET=%.200s", run);
    const char *strings[16] = {folder, output, ""};
    uint32_t argc = 0;
    while (argv[argc]) {
        strings[3 + argc] = argv[argc];
        argc++;
    }
    strings[3 + argc] = "PATH=/usr/bin:/bin";
    strings[4 + argc] = mark;
    struct wire_message m = {.kind = WIRE_SPAWN, .job = job, .attempt = 1, .lease = job * 10, .slot = slot, .flags = flags, .argc = argc,
                             .envc = 2, .umask = 022};
    assert_ok(wire_send(&link_, &m, strings, 5 + argc, -1, &err), &err);
}

static int64_t run_script(const char *script) {
    const char *argv[] = {"sh", "-c", script, NULL};
    int64_t job = prepare();
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    return job;
}

static struct wire_message ended(int64_t job) {
    struct wire_frame f;
    struct wire_message m;
    do {
        expect(WIRE_ENDED, &f);
        m = f.m;
        wire_frame_release(&f);
    } while (m.job != job);
    return m;
}

/* How many processes carry this word in their command line. */
static int count_processes(const char *word) {
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir))) {
        char path[PATH_MAX], text[1024];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = atoi(entry->d_name) > 0 ? fopen(path, "r") : NULL;
        size_t n = file ? fread(text, 1, sizeof text, file) : 0;
        if (file)
            fclose(file);
        count += n > 0 && memmem(text, n, word, strlen(word)) != NULL;
    }
    closedir(dir);
    return count;
}

static void wait_for_file(const char *name) {
    for (int i = 0; i < 500 && access(name, F_OK) != 0; i++)
        clock_sleep_ms(10);
    assert_int_equal(access(name, F_OK), 0);
}

static int setup(void **state) {
    struct error err;
    snprintf(folder, sizeof folder, "/tmp/muster-test.XXXXXX");
    if (!mkdtemp(folder) || chmod(folder, 0755) || chdir(folder) || paths_init(&paths, folder, "test", &err))
        return -1;
    snprintf(output, sizeof output, "%s/out", folder);
    start_launcher();
    return 0;
}

static int teardown(void **state) {
    struct wire_frame f;
    int status;
    kill(launcher, SIGTERM);
    while (link_.fd >= 0 && heard(0, 50, &f))
        ;
    waitpid(launcher, &status, 0);
    wire_close(&link_);
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || status;
}

/* ---- tests ---- */

static void a_program_runs_and_its_status_comes_back(void **state) {
    struct wire_frame f;
    int64_t job = run_script("echo hello; exit 3");
    expect(WIRE_STARTED, &f);
    assert_true(f.m.pid > 0);
    wire_frame_release(&f);
    struct wire_message m = ended(job);
    assert_int_equal(WEXITSTATUS(m.status), 3);
    assert_true(m.flags & WIRE_FLAG_RAN);
    size_t size;
    char *text = paths_read_file(output, 1000, &size);
    assert_string_equal(text, "hello\n");
    free(text);
}

static void what_cant_be_run_says_why(void **state) {
    static const char *const argv[] = {"/no/such/program", NULL};
    struct wire_frame f;
    int64_t job = prepare();
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    expect(WIRE_FAILED, &f);
    assert_string_equal(f.strings[0], "can't run /no/such/program: No such file or directory");
    wire_frame_release(&f);
    assert_false(ended(job).flags & WIRE_FLAG_RAN);
}

static void an_output_that_cant_be_opened_says_why(void **state) {
    static const char *const argv[] = {"true", NULL};
    struct wire_frame f;
    text_copy(output, sizeof output, "/proc/no/such");
    int64_t job = prepare();
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    expect(WIRE_FAILED, &f);
    assert_string_equal(f.strings[0], "can't open /proc/no/such: No such file or directory");
    wire_frame_release(&f);
    assert_false(ended(job).flags & WIRE_FLAG_RAN);
}

static void the_same_order_twice_runs_once(void **state) {
    static const char *const argv[] = {"sh", "-c", "echo x >> count; sleep 0.3", NULL};
    int64_t job = prepare();
    tell(WIRE_PREPARE, job, NULL);
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    ended(job);
    size_t size;
    char *text = paths_read_file("count", 1000, &size);
    assert_string_equal(text, "x\n");
    free(text);
}

static void another_lease_is_refused(void **state) {
    struct wire_frame f;
    struct error err;
    int64_t job = prepare();
    struct wire_message m = {.kind = WIRE_STOP, .job = job, .attempt = 1, .lease = job * 10 + 1};
    assert_ok(wire_send(&link_, &m, NULL, 0, -1, &err), &err);
    expect(WIRE_FAILED, &f);
    assert_non_null(strstr(f.strings[0], "isn't held here under lease"));
    wire_frame_release(&f);
}

static void orphans_of_orphans_die_with_the_task(void **state) {
    /* Double-forked, in sessions of their own, deaf to TERM: nothing but the group holds them. */
    int64_t job = run_script("(setsid sh -c 'trap \"\" TERM; setsid sleep 424242 & touch up; sleep 424242' &) ; sleep 0.2; exit 0");
    wait_for_file("up");
    assert_int_equal(WEXITSTATUS(ended(job).status), 0);
    assert_int_equal(count_processes("424242"), 0);
}

static void stop_is_term_then_kill(void **state) {
    int64_t job = run_script("trap 'echo got TERM >> stopped' TERM; touch up; while :; do sleep 0.05; done");
    wait_for_file("up");
    int64_t before = clock_boot_ms();
    tell(WIRE_STOP, job, &(struct wire_message){.grace_ms = 600});
    struct wire_message m = ended(job);
    int64_t took = clock_boot_ms() - before;
    assert_int_equal(access("stopped", F_OK), 0);
    assert_in_range(took, 600, 5000);
    assert_int_equal(WTERMSIG(m.status), SIGKILL);
    assert_true(m.flags & WIRE_FLAG_STOPPED);
}

static void the_first_failing_main_ends_the_others(void **state) {
    static const char *const waits[] = {"sleep", "434343", NULL}, *const fails[] = {"sh", "-c", "sleep 0.2; exit 9", NULL};
    int64_t job = prepare();
    spawn_slot(job, 0, WIRE_FLAG_MAIN, waits);
    spawn_slot(job, 1, WIRE_FLAG_MAIN, fails);
    assert_int_equal(WEXITSTATUS(ended(job).status), 9);
    assert_int_equal(count_processes("434343"), 0);
}

static void all_mains_are_waited_for(void **state) {
    static const char *const quick[] = {"true", NULL}, *const slow[] = {"sh", "-c", "sleep 0.4; touch slow", NULL};
    int64_t job = prepare();
    spawn_slot(job, 0, WIRE_FLAG_MAIN, quick);
    spawn_slot(job, 1, WIRE_FLAG_MAIN, slow);
    assert_int_equal(ended(job).status, 0);
    assert_int_equal(access("slow", F_OK), 0);
}

static void a_lease_that_nobody_renews_ends_the_task(void **state) {
    int64_t leased = run_script("sleep 444444");
    int64_t waits = prepare();
    (void)waits;
    struct wire_message m = {.until_ms = clock_boot_ms() + 300};
    tell(WIRE_LEASE, 0, &m);
    m = ended(leased);
    assert_true(m.flags & WIRE_FLAG_LEASE_ENDED);
    assert_int_equal(count_processes("444444"), 0);
}

static void a_task_that_waits_outlives_its_lease(void **state) {
    struct wire_frame f;
    int64_t job = next_job++;
    tell(WIRE_PREPARE, job, &(struct wire_message){.flags = WIRE_FLAG_WAIT});
    expect(WIRE_PREPARED, &f);
    wire_frame_release(&f);
    tell(WIRE_LEASE, 0, &(struct wire_message){.until_ms = clock_boot_ms() + 50});
    assert_false(heard(WIRE_ENDED, 400, &f));
}

static void an_agent_that_comes_back_is_told_of_every_task(void **state) {
    struct wire_frame f;
    int64_t ready = prepare(), over = run_script("exit 4"), runs;
    ended(over);
    runs = run_script("sleep 30");
    expect(WIRE_STARTED, &f);
    wire_frame_release(&f);
    int seen = 0;
    tell(WIRE_HELLO, 0, NULL);
    for (int i = 0; i < 3; i++) {
        expect(WIRE_TASK, &f);
        seen += f.m.job == ready && f.m.state == WIRE_TASK_PREPARED;
        seen += f.m.job == over && f.m.state == WIRE_TASK_ENDED && WEXITSTATUS(f.m.status) == 4;
        seen += f.m.job == runs && f.m.state == WIRE_TASK_RUNNING;
        wire_frame_release(&f);
    }
    assert_int_equal(seen, 3);
    expect(WIRE_LISTED, &f);
    if (geteuid() == 0)
        assert_non_null(strstr(f.strings[0], "v2"));   /* root has no excuse to scan /proc */
    wire_frame_release(&f);
}

static void a_killed_launchers_tasks_end_and_are_lost(void **state) {
    struct wire_frame f;
    int64_t runs = run_script("(setsid sleep 454545 &) ; touch up; sleep 454545"), over = run_script("exit 6");
    ended(over);
    wait_for_file("up");
    kill(launcher, SIGKILL);
    waitpid(launcher, NULL, 0);
    wire_close(&link_);
    start_launcher();
    tell(WIRE_HELLO, 0, NULL);
    bool lost = false, kept = false;
    for (int64_t until = clock_boot_ms() + 5000; clock_boot_ms() < until && !(lost && kept);) {
        if (!heard(WIRE_TASK, 300, &f) && !heard(WIRE_ENDED, 300, &f))
            tell(WIRE_HELLO, 0, NULL);
        else {
            lost |= f.m.job == runs && f.m.state == WIRE_TASK_ENDED && f.m.flags & WIRE_FLAG_LOST && strstr(f.strings[0], "launcher died");
            kept |= f.m.job == over && f.m.state == WIRE_TASK_ENDED && WEXITSTATUS(f.m.status) == 6;
            wire_frame_release(&f);
        }
    }
    assert_true(lost);
    assert_true(kept);
    assert_int_equal(count_processes("454545"), 0);
}

static void a_forgotten_task_isnt_told_again(void **state) {
    struct wire_frame f;
    int64_t job = run_script("true");
    ended(job);
    tell(WIRE_FORGET, job, NULL);
    tell(WIRE_HELLO, 0, NULL);
    expect(WIRE_LISTED, &f);   /* it has read as far as that */
    wire_frame_release(&f);
    kill(launcher, SIGKILL);
    waitpid(launcher, NULL, 0);
    wire_close(&link_);
    start_launcher();
    tell(WIRE_HELLO, 0, NULL);
    assert_false(heard(WIRE_TASK, 300, &f));
}

static void what_a_dead_launcher_had_only_prepared_is_cleared_and_can_be_tried_again(void **state) {
    static const char *const argv[] = {"true", NULL};
    struct cgroup_root root;
    struct error err;
    struct wire_frame f;
    char path[PATH_MAX];
    int64_t job = prepare();
    kill(launcher, SIGKILL);
    waitpid(launcher, NULL, 0);
    wire_close(&link_);
    paths_run(&paths, job, 1, NULL, path);
    assert_int_equal(access(path, F_OK), 0);
    start_launcher();
    tell(WIRE_HELLO, 0, NULL);
    expect(WIRE_LISTED, &f);
    wire_frame_release(&f);
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(cgroup_root_open(&root, NULL, paths.state, paths.tag, &err), &err);
    snprintf(path, sizeof path, "%s/%d.1", root.v2, (int)job);
    if (*root.v2)
        assert_int_equal(access(path, F_OK), -1);
    next_job = job;
    assert_int_equal(prepare(), job);
    spawn_slot(job, 0, WIRE_FLAG_MAIN, argv);
    assert_int_equal(ended(job).status, 0);
}

static void two_launchers_dont_share_a_state(void **state) {
    pid_t second = fork();
    if (second == 0) {
        struct launcher_options options = {.state = folder, .name = "test", .allow_root = true};
        dup2(open("/dev/null", O_WRONLY), 2);
        _exit(launcher_run(&options, -1));
    }
    int status;
    waitpid(second, &status, 0);
    assert_int_equal(WEXITSTATUS(status), error_exit_code(ERR_CONFLICT));
}

static void shutdown_leaves_nothing(void **state) {
    struct cgroup_root root;
    struct error err;
    struct wire_frame f;
    run_script("setsid sleep 464646 & sleep 464646");
    expect(WIRE_STARTED, &f);
    wire_frame_release(&f);
    tell(WIRE_SHUTDOWN, 0, NULL);
    int status;
    waitpid(launcher, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(count_processes("464646"), 0);
    assert_int_equal(access(paths.launcher_socket, F_OK), -1);
    assert_ok(cgroup_root_open(&root, NULL, paths.state, paths.tag, &err), &err);
    cgroup_root_remove(&root);
    if (*root.v2)
        assert_int_equal(access(root.v2, F_OK), -1);   /* it was empty: no task's folder is left in it */
    wire_close(&link_);
    start_launcher();   /* for the teardown */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_program_runs_and_its_status_comes_back),
        TEST(what_cant_be_run_says_why),
        TEST(an_output_that_cant_be_opened_says_why),
        TEST(the_same_order_twice_runs_once),
        TEST(another_lease_is_refused),
        TEST(orphans_of_orphans_die_with_the_task),
        TEST(stop_is_term_then_kill),
        TEST(the_first_failing_main_ends_the_others),
        TEST(all_mains_are_waited_for),
        TEST(a_lease_that_nobody_renews_ends_the_task),
        TEST(a_task_that_waits_outlives_its_lease),
        TEST(an_agent_that_comes_back_is_told_of_every_task),
        TEST(a_killed_launchers_tasks_end_and_are_lost),
        TEST(a_forgotten_task_isnt_told_again),
        TEST(what_a_dead_launcher_had_only_prepared_is_cleared_and_can_be_tried_again),
        TEST(two_launchers_dont_share_a_state),
        TEST(shutdown_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
