/* The tasks that the agent holds, and what it writes down of each: the START order as it came, and notes of what a task said that an
 * answer to musterd will depend on. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "worker/agent.h"
#include "worker/output_path.h"
#include "worker/relay.h"
#include "worker/report.h"

struct agent_task *agent_task_find(struct agent *a, int64_t job, int64_t attempt) {
    struct agent_task *t = a->tasks;
    while (t && (t->task.job != job || t->task.attempt != attempt))
        t = t->next;
    return t;
}

/* The order is decoded from its own copy, so that the task owns all of it. */
static struct agent_task *add_encoded(struct agent *a, const void *data, size_t size, struct error *err) {
    struct agent_task *t = xcalloc(1, sizeof *t);
    if (message_decode(data, size, &t->order_message, &t->arena, err) != 0 || t->order_message.type != MESSAGE_START) {
        arena_release(&t->arena);
        free(t);
        return NULL;
    }
    t->order = t->order_message.record;
    task_init(&t->task, t->order->job, t->order->attempt, t->order->lease, t->order->go);
    t->listener.fd = t->terminal.fd = -1;
    t->progress_rank = -1;
    t->progress = (struct task_progress){.job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease, .text = ""};
    output_path_expand(t->order, a->options.name, -1, t->order->spec.output, t->output_path);
    t->next = a->tasks;
    a->tasks = t;
    return t;
}

struct agent_task *agent_task_add(struct agent *a, const struct start *order, struct error *err) {
    char path[PATH_MAX];
    paths_task(&a->paths, order->job, order->attempt, NULL, path);
    mkdir(path, 0700);
    paths_task(&a->paths, order->job, order->attempt, "order", path);
    struct buffer bytes = {0};
    message_encode(MESSAGE_START, 0, 0, order, &bytes);
    struct agent_task *t = NULL;
    if (paths_write_file(path, bytes.data, bytes.size, 0600, err) == 0)
        t = add_encoded(a, bytes.data, bytes.size, err);
    buffer_release(&bytes);
    return t;
}

void agent_task_note(struct agent *a, struct agent_task *t, const char *format, ...) {
    char path[PATH_MAX], line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    paths_task(&a->paths, t->task.job, t->task.attempt, "notes", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        log_error("note_failed", "file=%s", path);
    if (fd >= 0)
        close(fd);
}

static void read_note(struct agent_task *t, const char *line) {
    int64_t x, y;
    int rank, status;
    if (sscanf(line, "yielding %" SCNd64, &x) == 1) {
        t->task.yielding_step = x;
    } else if (sscanf(line, "checkpointed %" SCNd64 " %" SCNd64, &x, &y) == 2) {
        t->task.checkpointed_step = x;
        t->task.request = y ? y : t->task.request;
        t->task.answered |= y != 0;
    } else if (sscanf(line, "rank %d %d", &rank, &status) == 2) {
        t->task.bad_rank = rank;
        t->task.bad_status = status;
    } else if (sscanf(line, "port %" SCNd64, &x) == 1) {
        t->master_port = x;
    } else if (strcmp(line, "stopped") == 0) {
        t->task.stopped = true;
    }
}

static void read_notes(struct agent *a, struct agent_task *t) {
    char path[PATH_MAX];
    paths_task(&a->paths, t->task.job, t->task.attempt, "notes", path);
    size_t size;
    char *text = paths_read_file(path, 1024 * 1024, &size);
    for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
        read_note(t, line);
    free(text);
}

struct agent_task *agent_task_load(struct agent *a, int64_t job, int64_t attempt, int64_t lease) {
    struct error err;
    char path[PATH_MAX];
    paths_task(&a->paths, job, attempt, "order", path);
    size_t size;
    char *bytes = paths_read_file(path, MESSAGE_MAX_BYTES, &size);
    struct agent_task *t = bytes ? add_encoded(a, bytes, size, &err) : NULL;
    free(bytes);
    if (t && t->task.lease != lease) {
        agent_task_drop(a, t);
        t = NULL;
    }
    if (t) {
        agent_lease_seen(a, job, lease);
        read_notes(a, t);
    }
    return t;
}

void agent_task_drop(struct agent *a, struct agent_task *t) {
    report_close(a, t);
    relay_release(t);
    if (t->terminal.fd >= 0)
        agent_unwatch(a, &t->terminal);
    struct agent_task **at = &a->tasks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    json_decref(t->progress.values);
    message_release(&t->order_message);
    arena_release(&t->arena);
    free(t);
}

static void keep_folder(struct agent *a, int64_t job, int64_t attempt) {
    size_t i = a->kept_next++ % KEPT_TASKS;
    if (a->kept[i].job) {
        char path[PATH_MAX];
        paths_task(&a->paths, a->kept[i].job, a->kept[i].attempt, NULL, path);
        paths_remove_tree(path);
    }
    a->kept[i].job = job;
    a->kept[i].attempt = attempt;
}

void agent_task_forget(struct agent *a, struct agent_task *t) {
    struct wire_message m = {.kind = WIRE_FORGET, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease};
    agent_launcher_send(a, &m, NULL, 0);
    keep_folder(a, t->task.job, t->task.attempt);
    agent_task_drop(a, t);
}

struct old_folder {
    int64_t job, attempt, changed;
};

static int by_age(const void *x, const void *y) {
    const struct old_folder *a = x, *b = y;
    return a->changed != b->changed ? (a->changed < b->changed ? -1 : 1) : a->job < b->job ? -1 : a->job > b->job;
}

/* After a start: the folders of tasks that nobody holds are old ones; the newest stay. Call when the launcher's tasks are known. */
void agent_task_keep_old_folders(struct agent *a) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tasks", a->paths.state);
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct old_folder *old = NULL, o;
    size_t count = 0, capacity = 0;
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        if (sscanf(entry->d_name, "%" SCNd64 ".%" SCNd64, &o.job, &o.attempt) != 2 || agent_task_find(a, o.job, o.attempt) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        o.changed = st.st_mtime;
        old = xgrow(old, &capacity, count + 1, sizeof *old);
        old[count++] = o;
    }
    if (dir)
        closedir(dir);
    if (count)
        qsort(old, count, sizeof *old, by_age);
    for (size_t i = 0; i < count; i++)
        keep_folder(a, old[i].job, old[i].attempt);
    free(old);
}

bool agent_task_holds_gpu(const struct agent *a, int gpu) {
    for (const struct agent_task *t = a->tasks; t; t = t->next)
        for (size_t i = 0; t->task.state != TASK_EXITED && i < t->order->gpus.count; i++)
            if (t->order->gpus.items[i] == gpu)
                return true;
    return false;
}

int64_t agent_highest_lease(const struct agent *a, int64_t job) {
    int64_t highest = 0;
    for (size_t i = 0; i < sizeof a->seen / sizeof *a->seen; i++)
        if (a->seen[i].job == job && a->seen[i].lease > highest)
            highest = a->seen[i].lease;
    return highest;
}

void agent_lease_seen(struct agent *a, int64_t job, int64_t lease) {
    size_t i = a->seen_next++ % (sizeof a->seen / sizeof *a->seen);
    a->seen[i].job = job;
    a->seen[i].lease = lease;
}
