/* The launcher's memory of its tasks; see task_record.h for the lines. */
#include "worker/task_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

int task_record_open(const struct paths *paths, int64_t job, int64_t attempt, struct error *err) {
    char path[PATH_MAX];
    paths_task(paths, job, attempt, NULL, path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making %s", path);
    paths_task(paths, job, attempt, "record", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : error_set_errno(err, ERR_IO, "opening %s", path);
}

/* One write a line: a reader sees the line whole or not at all. */
static int __attribute__((format(printf, 3, 4))) append(int fd, struct error *err, const char *format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (write(fd, line, (size_t)n) != n)
        return error_set_errno(err, ERR_IO, "writing a task's record");
    return 0;
}

int task_record_intent(int fd, int64_t lease, uid_t uid, int flags, struct error *err) {
    return append(fd, err, "INTENT %" PRId64 " %u %d %s\n", lease, (unsigned)uid, flags, clock_boot_id());
}

int task_record_spawned(int fd, int slot, pid_t pid, int flags, struct error *err) {
    return append(fd, err, "SPAWNED %d %d %d\n", slot, (int)pid, flags);
}

int task_record_exit(int fd, int status, int flags, struct error *err) {
    return append(fd, err, "EXIT %d %d\n", status, flags);
}

int task_record_forgotten(int fd, struct error *err) {
    return append(fd, err, "FORGOTTEN\n");
}

static void read_line(const char *line, struct task_record *r) {
    int64_t lease;
    unsigned uid;
    int flags, status;
    char boot_id[40];
    if (sscanf(line, "INTENT %" SCNd64 " %u %d %39s", &lease, &uid, &flags, boot_id) == 4) {
        r->intent = true;
        r->spawned = r->exited = r->forgotten = false;   /* the same attempt, tried again: what was before is over */
        r->lease = lease;
        r->uid = (uid_t)uid;
        r->flags = flags;
        memcpy(r->boot_id, boot_id, sizeof boot_id);
    } else if (strncmp(line, "SPAWNED ", 8) == 0) {
        r->spawned = true;
    } else if (sscanf(line, "EXIT %d %d", &status, &flags) == 2) {
        r->exited = true;
        r->status = status;
        r->exit_flags = flags;
    } else if (strncmp(line, "FORGOTTEN", 9) == 0) {
        r->forgotten = true;
    }
}

static bool read_record(const struct paths *paths, const char *folder, struct task_record *r) {
    memset(r, 0, sizeof *r);
    if (sscanf(folder, "%" SCNd64 ".%" SCNd64, &r->job, &r->attempt) != 2)
        return false;
    char path[PATH_MAX];
    paths_task(paths, r->job, r->attempt, "record", path);
    size_t size;
    char *text = paths_read_file(path, 1024 * 1024, &size);
    for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
        read_line(line, r);
    free(text);
    return r->intent;
}

size_t task_record_scan(const struct paths *paths, struct task_record *records, size_t max) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tasks", paths->state);
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    while (dir && count < max && (entry = readdir(dir)))
        if (read_record(paths, entry->d_name, &records[count]))
            count++;
    if (dir)
        closedir(dir);
    return count;
}
