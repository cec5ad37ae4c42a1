/* After the death of an earlier launcher: what ran is killed and LOST, what had ended is told again, what no record accounts for is
 * cleared away. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "worker/launcher.h"

enum { RECORDS_MAX = 16384 };

static void recover_one(struct launcher *l, const struct task_record *r) {
    struct error err;
    struct launch_task *t = launch_task_add(l, r->job, r->attempt, r->lease);
    t->uid = r->uid;
    t->flags = r->exited ? r->exit_flags : r->flags | WIRE_FLAG_RAN | WIRE_FLAG_LOST;
    t->status = r->status;
    t->record_fd = task_record_open(&l->paths, r->job, r->attempt, &err);
    t->held_group = true;
    t->group.memory = *l->root.v1[CGROUP_V1_MEMORY];   /* it may have one */
    t->group.cpu = *l->root.v1[CGROUP_V1_CPU];
    t->flags |= WIRE_FLAG_SHM;
    if (r->exited) {
        t->state = WIRE_TASK_ENDED;
        return;
    }
    bool same_boot = strcmp(r->boot_id, clock_boot_id()) == 0;
    const char *why = same_boot ? "the node's launcher died" : "the node was rebooted";
    snprintf(t->text, sizeof t->text, "%s while it ran; how it ended is not known", why);
    t->state = WIRE_TASK_RUNNING;
    launch_task_kill(l, t);
}

/* Groups that no record accounts for: of a task that was being prepared, or forgotten, when the launcher died. */
static void adopt_stray(struct launcher *l, int64_t job, int64_t attempt) {
    if (launch_task_find(l, job, attempt))
        return;
    struct launch_task *t = launch_task_add(l, job, attempt, 0);
    t->state = WIRE_TASK_ENDED;
    t->forgotten = t->held_group = true;
    t->group.memory = *l->root.v1[CGROUP_V1_MEMORY];
    t->group.cpu = *l->root.v1[CGROUP_V1_CPU];
    cgroup_kill(&l->root, &t->group);
    char path[PATH_MAX];
    paths_run(&l->paths, job, attempt, NULL, path);
    paths_remove_tree(path);
    paths_shm(&l->paths, job, attempt, path);
    paths_remove_tree(path);
}

static void adopt_strays(struct launcher *l, const char *folder) {
    int64_t job, attempt;
    struct dirent *entry;
    DIR *dir = *folder ? opendir(folder) : NULL;
    while (dir && (entry = readdir(dir)))
        if (sscanf(entry->d_name, "%" SCNd64 ".%" SCNd64, &job, &attempt) == 2)
            adopt_stray(l, job, attempt);
    if (dir)
        closedir(dir);
}

void launch_task_recover(struct launcher *l) {
    struct task_record *records = xcalloc(RECORDS_MAX, sizeof *records);
    size_t count = task_record_scan(&l->paths, records, RECORDS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (records[i].forgotten)
            continue;
        if (records[i].spawned || records[i].exited)
            recover_one(l, &records[i]);
    }
    free(records);
    adopt_strays(l, l->root.v2);
    adopt_strays(l, l->paths.run);
}
