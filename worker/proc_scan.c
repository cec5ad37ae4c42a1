/* Containment without cgroups (a worker that isn't root): a task's processes are those whose environment names its socket, and all their
 * descendants. A program that clears its environment and double-forks escapes this; only a cgroup holds that one. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "worker/cgroup.h"

struct process {
    pid_t pid, parent;
    bool marked;
};

static bool environment_has(pid_t pid, const char *mark) {
    enum { ENVIRONMENT_MAX = 512 * 1024 };
    static char text[ENVIRONMENT_MAX + 1];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t size = 0;
    ssize_t n;
    while (size < ENVIRONMENT_MAX && (n = read(fd, text + size, ENVIRONMENT_MAX - size)) > 0)
        size += (size_t)n;
    close(fd);
    text[size] = '\0';
    for (size_t at = 0; at < size; at += strlen(text + at) + 1)
        if (strcmp(text + at, mark) == 0)
            return true;
    return false;
}

/* `PID (NAME) STATE PPID`: the name may hold anything, so the last parenthesis counts. A zombie is nobody any more. */
static bool read_parent(pid_t pid, pid_t *parent) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    char state;
    int ppid;
    if (!end || sscanf(end + 1, " %c %d", &state, &ppid) != 2 || state == 'Z' || state == 'X')
        return false;
    *parent = (pid_t)ppid;
    return true;
}

static size_t list_processes(struct process **all, const char *mark) {
    size_t count = 0, capacity = 0;
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    *all = NULL;
    while (dir && (entry = readdir(dir))) {
        pid_t pid = (pid_t)atol(entry->d_name), parent;
        if (pid <= 1 || pid == getpid() || !read_parent(pid, &parent))
            continue;
        *all = xgrow(*all, &capacity, count + 1, sizeof **all);
        (*all)[count++] = (struct process){pid, parent, environment_has(pid, mark)};
    }
    if (dir)
        closedir(dir);
    return count;
}

static void mark_descendants(struct process *all, size_t count) {
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count && !all[i].marked; j++)
                if (all[j].marked && all[j].pid == all[i].parent)
                    again = all[i].marked = true;
    }
}

size_t proc_scan_marked(const char *mark, pid_t *pids, size_t max) {
    struct process *all;
    size_t count = list_processes(&all, mark), found = 0;
    mark_descendants(all, count);
    for (size_t i = 0; i < count && found < max; i++)
        if (all[i].marked)
            pids[found++] = all[i].pid;
    free(all);
    return found;
}
