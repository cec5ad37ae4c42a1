#include "tests/bench/bench_limits.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/clock.h"

enum { SPAN_US = 1000000, FSYNC_BYTES = 4096, ROUNDS = 5000, TRIAD_VALUES = 8 << 20 };

static char *const true_words[] = {"/bin/true", NULL};
extern char **environ;

double limit_fsync_per_s(const char *folder) {
    char path[512], block[FSYNC_BYTES] = {0};
    snprintf(path, sizeof path, "%s/fsync", folder);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600), count = 0;
    int64_t start_us = clock_boot_us(), spent_us = 0;
    for (; fd >= 0 && spent_us < SPAN_US; spent_us = clock_boot_us() - start_us, count++)
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) < 0)
            break;
    close(fd);
    unlink(path);
    return spent_us ? count * 1e6 / (double)spent_us : 0;
}

static bool spawn_true(void) {
    pid_t pid;
    int status;
    return posix_spawn(&pid, true_words[0], NULL, NULL, true_words, environ) == 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

double limit_spawn_per_s(void) {
    int count = 0;
    int64_t start_us = clock_boot_us(), spent_us = 0;
    for (; spent_us < SPAN_US && spawn_true(); spent_us = clock_boot_us() - start_us)
        count++;
    return spent_us ? count * 1e6 / (double)spent_us : 0;
}

/* The child moves itself before it execs, as the cheapest launcher without clone3 would do. */
static bool spawn_in_cgroup(const char *cgroup) {
    char path[600];
    int status;
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    if (mkdir(cgroup, 0700) < 0)
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    pid_t pid = fd < 0 ? -1 : vfork();
    if (pid == 0) {
        if (write(fd, "0", 1) == 1)
            execv(true_words[0], true_words);
        _exit(127);
    }
    close(fd);
    bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
    return rmdir(cgroup) == 0 && ok;
}

double limit_spawn_cgroup_per_s(const char *cgroup) {
    int count = 0;
    char path[512];
    int64_t start_us = clock_boot_us(), spent_us = 0;
    for (; cgroup && spent_us < SPAN_US; spent_us = clock_boot_us() - start_us, count++) {
        snprintf(path, sizeof path, "%s/bench-%d-%d", cgroup, (int)getpid(), count);
        if (!spawn_in_cgroup(path))
            return 0;
    }
    return spent_us ? count * 1e6 / (double)spent_us : 0;
}

static char mounted[512];

const char *limits_enter_cgroup(const char *folder) {
    snprintf(mounted, sizeof mounted, "%s/cgroup", folder);
    if (mkdir(mounted, 0700) == 0 && mount("none", mounted, "cgroup2", 0, NULL) == 0)
        return mounted;
    rmdir(mounted);
    mounted[0] = '\0';
    return NULL;
}

void limits_leave_cgroup(void) {
    if (!mounted[0])
        return;
    umount2(mounted, MNT_DETACH);
    rmdir(mounted);
    mounted[0] = '\0';
}

/* ---- the wire alone ---- */

static void echo_for_ever(const char *endpoint) {
    struct channel *c;
    struct error err;
    struct arena arena = {0};
    struct message m;
    struct peer from;
    if (channel_listen(&c, endpoint, NULL, 0600, 0, &err) < 0)
        _exit(1);
    for (;;) {
        m = (struct message){0};
        arena_reset(&arena);
        if (channel_receive(c, &from, &m, &arena, &err) == 1) {
            channel_send(c, &from, MESSAGE_DONE, 0, m.id, &(struct done){.text = ""});
            message_release(&m);
        } else if (!channel_pending(c)) {
            poll(&(struct pollfd){.fd = channel_fd(c), .events = POLLIN}, 1, 1000);
        }
    }
}

static double measure_roundtrip(const char *endpoint) {
    struct channel *c;
    struct error err;
    struct arena arena = {0};
    const struct quota_delete request = {.queue = "q"};
    double spent_us = 0;
    if (channel_connect(&c, endpoint, NULL, 0, &err) < 0)
        return 0;
    for (int i = -100; i < ROUNDS; i++) {   /* the first ones warm up */
        struct message answer = {0};
        int64_t start_us = clock_boot_us();
        arena_reset(&arena);
        if (channel_call(c, MESSAGE_QUOTA_DELETE, &request, MESSAGE_DONE, &answer, &arena, 5000, &err) < 0)
            break;
        message_release(&answer);
        spent_us += i < 0 ? 0 : (double)(clock_boot_us() - start_us);
    }
    channel_close(c);
    arena_release(&arena);
    return spent_us / ROUNDS;
}

double limit_zmq_roundtrip_us(const char *folder) {
    char endpoint[256];
    snprintf(endpoint, sizeof endpoint, "ipc://%s/echo.sock", folder);
    pid_t pid = fork();
    if (pid == 0)
        echo_for_ever(endpoint);
    double us = measure_roundtrip(endpoint);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(endpoint + 6);
    return us;
}

double limit_triad_gb_per_s(void) {
    double *a = malloc(3 * sizeof *a * TRIAD_VALUES);
    if (!a)
        return 0;
    for (size_t i = 0; i < 3 * (size_t)TRIAD_VALUES; i++)
        a[i] = 1;   /* pages that were never written are not memory yet */
    const double *b = a + TRIAD_VALUES, *c = b + TRIAD_VALUES;
    int64_t begin_us = clock_boot_us();
    for (size_t i = 0; i < TRIAD_VALUES; i++)
        a[i] = b[i] + 3 * c[i];
    __asm__ volatile("" : : "r"(a) : "memory");   /* it is wanted, though nobody reads it */
    int64_t spent_us = clock_boot_us() - begin_us;
    free(a);
    return spent_us ? 3.0 * sizeof *a * TRIAD_VALUES / 1e3 / (double)spent_us : 0;
}
