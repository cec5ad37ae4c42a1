/* The v1 controllers memory and cpu, for hosts whose v2 tree lacks them: a limit on memory and a share of the cores. Killing is v2's. */
#include "worker/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const controllers[CGROUP_V1_COUNT] = {"memory", "cpu"};

void cgroup_v1_find(struct cgroup_root *root, const char *tag) {
    for (int i = 0; i < CGROUP_V1_COUNT; i++) {
        char point[PATH_MAX / 8], own[PATH_MAX / 8], path[PATH_MAX / 2];
        bool in_v2 = i == CGROUP_V1_MEMORY ? root->v2_memory : root->v2_cpu;
        if (in_v2 || !cgroup_find_mount("cgroup", controllers[i], point, sizeof point) || !cgroup_own_path(controllers[i], own, sizeof own))
            continue;
        snprintf(path, sizeof path, "%s%s/muster.%s", point, strcmp(own, "/") == 0 ? "" : own, tag);
        if (mkdir(path, 0755) == 0 || errno == EEXIST)
            memcpy(root->v1[i], path, sizeof path);
    }
}

static int make(const struct cgroup_root *root, int which, const char *name, const char *file, int64_t value, struct error *err) {
    char path[PATH_MAX], text[32];
    snprintf(path, sizeof path, "%s/%s", root->v1[which], name);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making the cgroup %s", path);
    snprintf(text, sizeof text, "%" PRId64, value);
    if (cgroup_write(root->v1[which], name, file, text) != 0)
        return error_set_errno(err, ERR_IO, "setting %s/%s to %s", path, file, text);
    return 0;
}

int cgroup_v1_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err) {
    if (*root->v1[CGROUP_V1_MEMORY] && memory_mib > 0) {
        group->memory = true;
        if (make(root, CGROUP_V1_MEMORY, group->name, "memory.limit_in_bytes", memory_mib * 1024 * 1024, err) != 0)
            return err->code;
    }
    if (*root->v1[CGROUP_V1_CPU] && cpus > 0) {
        group->cpu = true;
        if (make(root, CGROUP_V1_CPU, group->name, "cpu.shares", cpus * 1024, err) != 0)
            return err->code;
    }
    return 0;
}

int cgroup_join_v1(const struct cgroup_root *root, const struct cgroup *group) {
    if (group->memory && cgroup_write(root->v1[CGROUP_V1_MEMORY], group->name, "cgroup.procs", "0") != 0)
        return -1;
    return group->cpu ? cgroup_write(root->v1[CGROUP_V1_CPU], group->name, "cgroup.procs", "0") : 0;
}

static bool remove_one(const char *root, const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return rmdir(path) == 0 || errno == ENOENT;
}

bool cgroup_v1_remove(const struct cgroup_root *root, struct cgroup *group) {
    if (group->memory && remove_one(root->v1[CGROUP_V1_MEMORY], group->name))
        group->memory = false;
    if (group->cpu && remove_one(root->v1[CGROUP_V1_CPU], group->name))
        group->cpu = false;
    return !group->memory && !group->cpu;
}
