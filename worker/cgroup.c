/* Chooses among the back ends, and what they share. */
#include "worker/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/text.h"

static void describe(struct cgroup_root *root) {
    size_t used = 0;
    char *d = root->description;
    const size_t size = sizeof root->description;
    text_append(d, size, &used, "%s", *root->v2 ? "v2" : "");
    if (root->v2_memory || root->v2_cpu)
        text_append(d, size, &used, ":%s%s%s", root->v2_memory ? "memory" : "", root->v2_memory && root->v2_cpu ? "," : "",
                    root->v2_cpu ? "cpu" : "");
    const bool memory = *root->v1[CGROUP_V1_MEMORY], cpu = *root->v1[CGROUP_V1_CPU];
    if (memory || cpu)
        text_append(d, size, &used, "%sv1:%s%s%s", used ? "+" : "", memory ? "memory" : "", memory && cpu ? "," : "", cpu ? "cpu" : "");
    if (used == 0)
        text_append(d, size, &used, "none");
}

int cgroup_root_open(struct cgroup_root *root, const char *folder, const char *state, const char *tag, struct error *err) {
    memset(root, 0, sizeof *root);
    cgroup_v2_find(root, folder, state, tag, err);
    if (folder && !*root->v2)
        return error_wrap(err, "--cgroup-root %s", folder);
    if (geteuid() == 0)
        cgroup_v1_find(root, tag);
    describe(root);
    return 0;
}

void cgroup_root_remove(struct cgroup_root *root) {
    for (int i = 0; i < CGROUP_V1_COUNT; i++)
        if (*root->v1[i])
            rmdir(root->v1[i]);
    if (*root->v2)
        rmdir(root->v2);
    if (*root->mounted && umount(root->mounted) == 0)
        rmdir(root->mounted);
}

int cgroup_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err) {
    group->fd = -1;
    group->memory = group->cpu = false;
    if (*root->v2 && cgroup_v2_create(root, group, memory_mib, cpus, err) != 0)
        return err->code;
    return cgroup_v1_create(root, group, memory_mib, cpus, err);
}

size_t cgroup_pids(const struct cgroup_root *root, const struct cgroup *group, pid_t *pids, size_t max) {
    if (!*root->v2)
        return proc_scan_marked(group->mark, pids, max);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/cgroup.procs", root->v2, group->name);
    FILE *file = fopen(path, "re");
    size_t count = 0;
    long pid;
    while (file && count < max && fscanf(file, "%ld", &pid) == 1)
        pids[count++] = (pid_t)pid;
    if (file)
        fclose(file);
    return count;
}

/* A scan that kills while it finds misses what is forked meanwhile; the caller repeats until nothing is populated. */
static void kill_each(const struct cgroup_root *root, const struct cgroup *group) {
    enum { AT_ONCE = 4096 };
    static pid_t pids[AT_ONCE];
    size_t count = cgroup_pids(root, group, pids, AT_ONCE);
    for (size_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
}

void cgroup_kill(const struct cgroup_root *root, const struct cgroup *group) {
    if (!*root->v2 || cgroup_write(root->v2, group->name, "cgroup.kill", "1") != 0)
        kill_each(root, group);   /* cgroup.kill is there since Linux 5.14 */
}

bool cgroup_populated(const struct cgroup_root *root, const struct cgroup *group) {
    pid_t one;
    if (!*root->v2)
        return proc_scan_marked(group->mark, &one, 1) > 0;
    char path[PATH_MAX], text[128];
    snprintf(path, sizeof path, "%s/%s/cgroup.events", root->v2, group->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "populated 1") != NULL;
}

bool cgroup_remove(const struct cgroup_root *root, struct cgroup *group) {
    char path[PATH_MAX];
    if (!cgroup_v1_remove(root, group))
        return false;
    if (*root->v2) {
        snprintf(path, sizeof path, "%s/%s", root->v2, group->name);
        if (rmdir(path) != 0 && errno != ENOENT)
            return false;
    }
    cgroup_close(group);
    return true;
}

void cgroup_close(struct cgroup *group) {
    if (group->fd >= 0)
        close(group->fd);
    group->fd = -1;
}

int cgroup_write(const char *folder, const char *name, const char *file, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/%s", folder, name, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

/* A line of mountinfo: `36 35 98:0 ROOT POINT OPTIONS ... - TYPE SOURCE SUPER`. */
bool cgroup_find_mount(const char *type, const char *option, char *path, size_t size) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[PATH_MAX + 512];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char point[PATH_MAX], kind[32], super[256];
        char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 || sscanf(tail, " - %31s %*s %255s", kind, super) != 2)
            continue;
        if (strcmp(kind, type) != 0)
            continue;
        for (char *save = NULL, *word = strtok_r(super, ",", &save); word || !option; word = strtok_r(NULL, ",", &save)) {
            if (option && strcmp(word, option) != 0)
                continue;
            found = text_copy(path, size, point);
            break;
        }
    }
    if (file)
        fclose(file);
    return found;
}

/* A line of /proc/self/cgroup: `4:memory:/path`, or `0::/path` for v2. */
bool cgroup_own_path(const char *controller, char *path, size_t size) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':'), *own = names ? strchr(names + 1, ':') : NULL;
        if (!own)
            continue;
        *own = '\0';
        char *save = NULL, *word = strtok_r(names + 1, ",", &save);
        if (!*controller && !word)
            found = text_copy(path, size, own + 1);
        for (; *controller && word && !found; word = strtok_r(NULL, ",", &save))
            if (strcmp(word, controller) == 0)
                found = text_copy(path, size, own + 1);
    }
    if (file)
        fclose(file);
    return found;
}
