/* Processes are chosen by the pids that this test made, never by name. The log of all starts is BASE/musterd.log. */
#include "tests/faults/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"

/* BIN/NAME; $MUSTERD names another musterd, for the build with crash points. */
static const char *program(const char *name) {
    static char path[2][512];
    static int turn;
    const char *bin = getenv("BIN"), *other = strcmp(name, "musterd") ? NULL : getenv("MUSTERD");
    char *into = path[turn++ % 2];
    if (other)
        return other;
    snprintf(into, sizeof path[0], "%s/%s", bin ? bin : "build/bin", name);
    return into;
}

void daemon_init(struct daemon *d, const char *where) {
    const char *folder = where ? where : getenv("TMPDIR");
    *d = (struct daemon){.pid = 0};
    if (access(program("musterd"), X_OK)) {
        printf("skipped: %s is not built\n", program("musterd"));
        exit(77);
    }
    snprintf(d->base, sizeof d->base, "%.40s/mf.XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(d->base) || chmod(d->base, 0755)) {
        perror(d->base);
        exit(1);
    }
    snprintf(d->state, sizeof d->state, "%s/musterd", d->base);
    snprintf(d->work, sizeof d->work, "%s/work", d->base);
    snprintf(d->database, sizeof d->database, "%s/muster.db", d->state);
    snprintf(d->endpoint, sizeof d->endpoint, "ipc://%s/run/musterd.sock", d->state);
    mkdir(d->state, 0755);
    mkdir(d->work, 0755);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk) { return remove(path); }

void daemon_remove(struct daemon *d) {
    daemon_stop_worker(d);
    if (d->pid)
        daemon_kill(d, SIGKILL);
    if (getenv("KEEP"))
        printf("kept: %s\n", d->base);
    else
        nftw(d->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static pid_t spawn(const struct daemon *d, const char *log, char *const *argv, bool with_environment) {
    char path[128];
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    snprintf(path, sizeof path, "%s/%s", d->base, log);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644), null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; with_environment && d->environment[i]; i++)
        putenv((char *)(uintptr_t)d->environment[i]);
    execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

void daemon_start(struct daemon *d) {
    char *state = d->state, *binary = (char *)(uintptr_t)program("musterd");
    char *argv[] = {binary,        "--state", state,          "--lease", "10s",
                    "--heartbeat", "500ms",   "--lost-after", "3s",      geteuid() ? NULL : "--allow-root",
                    NULL};
    d->pid = spawn(d, "musterd.log", argv, true);
}

bool daemon_has_ended(struct daemon *d, int *status) {
    int found;
    if (d->pid && waitpid(d->pid, &found, WNOHANG) == d->pid) {
        d->pid = 0;
        d->status = found;
    }
    if (!d->pid && status)
        *status = d->status;
    return !d->pid;
}

static bool socket_answers(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    bool yes = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address);
    if (fd >= 0)
        close(fd);
    return yes;
}

static bool answers_a_view(const char *endpoint, int timeout_ms) {
    struct channel *c;
    struct message answer;
    struct arena arena = {0};
    struct view question = {.what = "cluster", .user = "", .queue = "", .name = "", .state = ""};
    if (channel_connect(&c, endpoint, NULL, 1000, NULL))
        return false;
    bool yes = !channel_call(c, MESSAGE_VIEW, &question, MESSAGE_ROWS_REPLY, &answer, &arena, timeout_ms, NULL);
    if (yes)
        message_release(&answer);
    channel_close(c);
    arena_release(&arena);
    return yes;
}

int64_t daemon_wait_ready(struct daemon *d, int timeout_ms, int *status) {
    int64_t begin_ms = clock_boot_ms(), spent_ms = 0;
    for (; spent_ms < timeout_ms; spent_ms = clock_boot_ms() - begin_ms) {
        if (daemon_has_ended(d, status))
            return -1;
        if (socket_answers(d->endpoint + 6) && answers_a_view(d->endpoint, timeout_ms - (int)spent_ms))
            return clock_boot_ms() - begin_ms;
        clock_sleep_ms(2);
    }
    return -1;
}

int daemon_kill(struct daemon *d, int signal) {
    int status = 0;
    kill(d->pid, signal);
    for (int tenths = 0; tenths < 100 && !daemon_has_ended(d, &status); tenths++)
        clock_sleep_ms(signal == SIGKILL ? 2 : 100);
    if (d->pid) {
        fault_complain("musterd did not end after signal %d", signal);
        kill(d->pid, SIGKILL);
        waitpid(d->pid, &status, 0);
        d->pid = 0;
    }
    return status;
}

void daemon_check_store(struct daemon *d) {
    if (d->pid)
        daemon_kill(d, SIGKILL);
    char *binary = (char *)(uintptr_t)program("musterd"), *argv[] = {binary, "--check", "--state", d->state, NULL};
    int status = -1;
    waitpid(spawn(d, "musterd.log", argv, false), &status, 0);
    if (!status)
        return;
    fault_complain("musterd --check finds the store broken (wait status %d)", status);
    daemon_print_log(d, 20);
}

void daemon_print_log(const struct daemon *d, int lines) {
    char command[160];
    snprintf(command, sizeof command, "tail -n %d %s/*.log", lines, d->base);
    fflush(stdout);
    if (system(command))
        puts("(no log)");
}

/* ---- the worker ---- */

bool daemon_start_worker(struct daemon *d, const char *gpus) {
    char state[100];
    char *binary = (char *)(uintptr_t)program("muster-worker");
    if (access(binary, X_OK)) {
        printf("# no %s: jobs are submitted but not run\n", binary);
        return false;
    }
    snprintf(state, sizeof state, "%s/worker0", d->base);
    char *options = geteuid() ? NULL : "--allow-root", *what = (char *)(uintptr_t)gpus;
    char *argv[] = {binary, "--name", "worker0", "--state", state, "--connect", d->endpoint, "--gpus", what, "--cpus", "16",
                    "--address", "127.0.0.1", "--switch", "rack0", options, NULL};
    d->worker = spawn(d, "worker.log", argv, false);
    return true;
}

/* Ends the agent, then the launcher with all tasks, which outlives it. */
void daemon_stop_worker(struct daemon *d) {
    char state[100];
    int status;
    if (!d->worker)
        return;
    snprintf(state, sizeof state, "%s/worker0", d->base);
    kill(d->worker, SIGTERM);
    for (int i = 0; i < 50 && !waitpid(d->worker, &status, WNOHANG); i++)
        clock_sleep_ms(20);
    kill(d->worker, SIGKILL);
    waitpid(d->worker, &status, WNOHANG);
    d->worker = 0;
    char *argv[] = {(char *)(uintptr_t)program("muster-worker"), "--state", state, "--shutdown", NULL};
    waitpid(spawn(d, "worker.log", argv, false), &status, 0);
}

/* ---- verdicts ---- */

static int complaints;

void fault_complain(const char *format, ...) {
    va_list args;
    if (++complaints > 20)
        return;
    va_start(args, format);
    printf("  wrong: ");
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

int fault_complaints(void) { return complaints; }

int fault_verdict(const char *name, bool passed, uint64_t seed, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("%s %s: ", passed && !complaints ? "ok" : "FAILED", name);
    vprintf(format, args);
    printf("; seed %llu%s\n", (unsigned long long)seed,
           passed && !complaints ? "" : " (--seed runs it again; keep it in tests/faults/seeds.txt)");
    va_end(args);
    return passed && !complaints ? 0 : 1;
}

uint64_t fault_random(uint64_t *state) {
    *state = *state ? *state : 1;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull;
}
