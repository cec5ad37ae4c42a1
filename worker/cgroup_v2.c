/* The cgroup v2 tree: where it is, and one folder a task in it. Controllers are used where the tree has them; killing needs none. */
#include "worker/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

/* Root mounts a tree of its own in the state folder where the host has none (some containers). */
static bool mount_own(struct cgroup_root *root, const char *state, char *point, size_t size) {
    if (geteuid() != 0)
        return false;
    snprintf(point, size, "%s/cgroup2", state);
    if (mkdir(point, 0755) != 0 && errno != EEXIST)
        return false;
    char probe[PATH_MAX / 2];
    snprintf(probe, sizeof probe, "%s/cgroup.procs", point);
    if (access(probe, F_OK) == 0) {   /* left by a launcher that was killed: ours to undo */
        text_copy(root->mounted, sizeof root->mounted, point);
        return true;
    }
    if (mount("none", point, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        rmdir(point);
        return false;
    }
    text_copy(root->mounted, sizeof root->mounted, point);
    return true;
}

static bool has_word(const char *folder, const char *file, const char *word) {
    char path[PATH_MAX], text[512];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (char *save = NULL, *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
        if (strcmp(w, word) == 0)
            return true;
    return false;
}

/* A controller is ours if it reaches the task folders: it must be switched on in the parent's subtree and then in ours. */
static bool enable(const char *parent, const char *ours, const char *controller) {
    char request[32];
    snprintf(request, sizeof request, "+%s", controller);
    if (!has_word(parent, "cgroup.controllers", controller))
        return false;
    if (!has_word(parent, "cgroup.subtree_control", controller) && cgroup_write(parent, ".", "cgroup.subtree_control", request) != 0)
        return false;
    return cgroup_write(ours, ".", "cgroup.subtree_control", request) == 0;
}

/* A mount elsewhere may be another worker's own, and goes when that one ends. */
static bool find_system_mount(char *point, size_t size) {
    return cgroup_find_mount("cgroup2", NULL, point, size) && (geteuid() != 0 || strncmp(point, "/sys/", 5) == 0);
}

void cgroup_v2_find(struct cgroup_root *root, const char *folder, const char *state, const char *tag, struct error *err) {
    char parent[PATH_MAX], point[PATH_MAX / 4], own[PATH_MAX / 4];
    if (folder) {
        text_copy(parent, sizeof parent, folder);
    } else if (find_system_mount(point, sizeof point) || mount_own(root, state, point, sizeof point)) {
        /* Root takes the top of the tree; a user only what was delegated to it. */
        bool below = geteuid() != 0 && cgroup_own_path("", own, sizeof own);
        snprintf(parent, sizeof parent, "%s%s", point, below && strcmp(own, "/") != 0 ? own : "");
    } else {
        error_set(err, ERR_NOT_FOUND, "no cgroup v2 tree is mounted");
        return;
    }
    char path[PATH_MAX / 2];
    if ((size_t)snprintf(path, sizeof path, "%s/muster.%s", parent, tag) >= sizeof path)
        return;
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        error_set_errno(err, ERR_DENIED, "making %s", path);
        return;
    }
    char probe[PATH_MAX];
    snprintf(probe, sizeof probe, "%s/cgroup.procs", path);
    if (access(probe, F_OK) != 0) {
        rmdir(path);
        error_set(err, ERR_INVALID, "%s is not a folder of a cgroup v2 tree", parent);
        return;
    }
    text_copy(root->v2, sizeof root->v2, path);
    root->v2_memory = enable(parent, path, "memory");
    root->v2_cpu = enable(parent, path, "cpu");
}

static int set_limit(const struct cgroup_root *root, const struct cgroup *group, const char *file, int64_t value, struct error *err) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    if (cgroup_write(root->v2, group->name, file, text) != 0)
        return error_set_errno(err, ERR_IO, "setting %s of cgroup %s to %s", file, group->name, text);
    return 0;
}

int cgroup_v2_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root->v2, group->name);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making the cgroup %s", path);
    group->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group->fd < 0)
        return error_set_errno(err, ERR_IO, "opening the cgroup %s", path);
    if (root->v2_memory && memory_mib > 0 && set_limit(root, group, "memory.max", memory_mib * 1024 * 1024, err) != 0)
        return err->code;
    /* cpu.weight is 1..10000 around 100 for one core's worth. */
    int64_t weight = cpus > 100 ? 10000 : cpus * 100;
    return root->v2_cpu && cpus > 0 ? set_limit(root, group, "cpu.weight", weight, err) : 0;
}
