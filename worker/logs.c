/* Reads of a task's output. A follower that has read all waits here for at most a second; then it gets an empty answer and asks again. */
#include "worker/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/environment.h"
#include "worker/output_path.h"

enum { HOLD_MS = 1000, LOOK_MS = 50 };

int logs_open_as(const char *path, uid_t uid, gid_t gid) {
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (geteuid() != 0 || uid == 0)
        return open(path, flags);
    /* Supplementary groups would still be root's. */
    gid_t old[64];
    int count = getgroups(64, old);
    if (count < 0 || setgroups(0, NULL) != 0)
        return -1;
    setfsgid(gid);
    setfsuid(uid);
    int fd = open(path, flags);
    int saved = errno;
    setfsuid(0);
    setfsgid(0);
    if (setgroups((size_t)count, old) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    errno = saved;
    return fd;
}

static int open_output(const char *path, uid_t uid, gid_t gid, off_t *size) {
    struct stat st;
    int fd = logs_open_as(path, uid, gid);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        *size = st.st_size;
    return fd;
}

size_t logs_tail(const struct agent_task *t, char *into, size_t size) {
    off_t length;
    int fd = open_output(t->output_path, (uid_t)t->order->uid, (gid_t)t->order->gid, &length);
    if (fd < 0)
        return 0;
    ssize_t n = length > 0 ? pread(fd, into, size, length > (off_t)size ? length - (off_t)size : 0) : 0;
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* Where the asked-for output is. A finished task is known by its order file only. */
static int find_file(struct agent *a, const struct log_read *ask, bool *ended, struct error *err) {
    char path[PATH_MAX], name[64];
    off_t size;
    struct agent_task *held = agent_task_find(a, ask->job, ask->attempt);
    *ended = !held || held->task.state == TASK_EXITED;
    if (ask->rank >= 0) {
        snprintf(name, sizeof name, "rank.%" PRId64 ".log", ask->rank);
        paths_task(&a->paths, ask->job, ask->attempt, name, path);
        return open_output(path, 0, 0, &size);
    }
    if (held && (held->task.state == TASK_PREPARING || held->task.state == TASK_READY || held->task.state == TASK_STARTING))
        return -1;   /* a file of that name is an older job's, and about to be begun anew */
    if (held)
        return open_output(held->output_path, (uid_t)held->order->uid, (gid_t)held->order->gid, &size);
    size_t length;
    struct arena arena = {0};
    struct message m = {0};
    int fd = -1;
    paths_task(&a->paths, ask->job, ask->attempt, "order", path);
    char *bytes = paths_read_file(path, MESSAGE_MAX_BYTES, &length);
    if (bytes && message_decode(bytes, length, &m, &arena, err) == 0 && m.type == MESSAGE_START) {
        const struct start *order = m.record;
        output_path_expand(order, a->options.name, -1, order->spec.output, path);
        fd = open_output(path, (uid_t)order->uid, (gid_t)order->gid, &size);
    }
    message_release(&m);
    arena_release(&arena);
    free(bytes);
    return fd;
}

/* Where logs_trim_file has taken the middle out, the answer goes on after it. */
static int64_t skip_hole(int fd, int64_t offset) {
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    return data > (off_t)offset ? (int64_t)data : offset;
}

/* false: nothing new, and the task lives. */
static bool answer(struct agent *a, int64_t id, const struct log_read *ask, bool even_if_empty) {
    static char data[LOG_CHUNK_MAX_BYTES];
    struct error err;
    bool ended;
    int fd = find_file(a, ask, &ended, &err);
    size_t limit = ask->limit > 0 && ask->limit < LOG_CHUNK_MAX_BYTES ? (size_t)ask->limit : sizeof data;
    int64_t offset = ask->offset > 0 ? ask->offset : 0;
    if (fd >= 0 && ask->rank >= 0)
        offset = skip_hole(fd, offset);
    ssize_t n = fd >= 0 ? pread(fd, data, limit, (off_t)offset) : 0;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        n = 0;
    bool end = ended && (size_t)n < limit;   /* nobody writes any more, and this reached the last byte */
    if (n == 0 && !end && !even_if_empty)
        return false;
    struct log_data m = {.offset = offset, .data = {(size_t)n, data}, .end = end, .attempt = ask->attempt};
    agent_send(a, MESSAGE_LOG_DATA, 0, id, &m);
    return true;
}

void logs_take(struct agent *a, const struct message *m) {
    const struct log_read *ask = m->record;
    if (answer(a, m->id, ask, !ask->follow))
        return;
    for (size_t i = 0; i < LOG_WAITS_MAX; i++)
        if (!a->log_waits[i].used) {
            int64_t now = clock_boot_ms();
            a->log_waits[i] = (struct log_wait){.id = m->id, .due_ms = now + HOLD_MS, .retry_ms = now + LOOK_MS, .ask = *ask, .used = true};
            return;
        }
    answer(a, m->id, ask, true);
}

void logs_tick(struct agent *a, int64_t now_ms) {
    for (size_t i = 0; i < LOG_WAITS_MAX; i++) {
        struct log_wait *w = &a->log_waits[i];
        if (!w->used || now_ms < w->retry_ms)
            continue;
        w->retry_ms = now_ms + LOOK_MS;
        w->used = !answer(a, w->id, &w->ask, now_ms >= w->due_ms);
    }
}

void logs_trim_file(const char *path, int64_t limit_bytes) {
    enum { BLOCK = 4096 };
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_blocks * 512 > limit_bytes) {
        off_t keep = limit_bytes / 4 / BLOCK * BLOCK, end = st.st_size / BLOCK * BLOCK - keep;
        if (end > keep && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, keep, end - keep) != 0)
            log_warn("log_not_trimmed", "file=%s %s", path, strerror(errno));
    }
    close(fd);
}

/* A job that prints for ever must not fill the node's disk. */
void logs_trim(struct agent *a, int64_t now_ms) {
    enum { INTERVAL_MS = 10000 };
    const int64_t task_limit_bytes = (int64_t)1 << 30;
    if (now_ms < a->trim_due_ms)
        return;
    a->trim_due_ms = now_ms + INTERVAL_MS;
    for (const struct agent_task *t = a->tasks; t; t = t->next) {
        const struct gang_member *own = (const struct gang_member *)t->order->gang.items + t->order->node_rank;
        int64_t first = gang_ranks_before(t->order, (int)t->order->node_rank), ranks = own->ranks > 0 ? own->ranks : 1;
        for (int64_t rank = first; rank < first + ranks; rank++) {
            char path[PATH_MAX], name[64];
            snprintf(name, sizeof name, "rank.%" PRId64 ".log", rank);
            paths_task(&a->paths, t->task.job, t->task.attempt, name, path);
            logs_trim_file(path, task_limit_bytes / ranks);
        }
    }
}

int64_t logs_next_ms(const struct agent *a) {
    int64_t next = -1;
    for (size_t i = 0; i < LOG_WAITS_MAX; i++)
        if (a->log_waits[i].used && (next < 0 || a->log_waits[i].retry_ms < next))
            next = a->log_waits[i].retry_ms;
    return next;
}
