/* What contains a task, so that all of it can be found and killed: a cgroup v2 tree (cgroup.kill, populated; setsid'ed orphans are in it
 * too), v1 controllers beside it where v2 has none, or, without either, a scan of /proc. The three back ends are cgroup_v2.c,
 * cgroup_v1.c, proc_scan.c.
 *
 * Invariant: a process of a task is in the task's group before it runs a single instruction of the user's.
 */
#ifndef WORKER_CGROUP_H
#define WORKER_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

enum { CGROUP_V1_MEMORY, CGROUP_V1_CPU, CGROUP_V1_COUNT };

struct cgroup_root {
    char v2[PATH_MAX / 2];                      /* our folder in the v2 tree; "": none */
    bool v2_memory, v2_cpu;                     /* these controllers are v2's here */
    char v1[CGROUP_V1_COUNT][PATH_MAX / 2];     /* our folder in each v1 controller's tree; "": none */
    char mounted[PATH_MAX / 2];                 /* a cgroup2 mount that we made, to be undone; "": none */
    char description[64];                       /* "v2", "v2+v1:memory,cpu", "none" */
};

struct cgroup {
    char name[48];           /* "JOB.ATTEMPT" */
    int fd;                  /* the v2 folder, for clone3; -1: none */
    bool memory, cpu;        /* has v1 groups */
    char mark[PATH_MAX + 16];  /* without v2: "MUSTER_SOCKET=..." in the environment of each of its processes */
};

/* folder: --cgroup-root, an existing cgroup v2 folder, or NULL to look for one. Never fails for want of cgroups: says "none". */
int cgroup_root_open(struct cgroup_root *root, const char *folder, const char *state, const char *tag, struct error *err);
void cgroup_root_remove(struct cgroup_root *root);

/* memory_mib, cpus 0: not limited. A limit that can't be set is an error. */
int cgroup_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err);
/* the caller, in a new child before it drops root; errno */
int cgroup_join_v1(const struct cgroup_root *root, const struct cgroup *group);
void cgroup_kill(const struct cgroup_root *root, const struct cgroup *group);     /* SIGKILL to all of it; repeat until not populated */
bool cgroup_populated(const struct cgroup_root *root, const struct cgroup *group);
size_t cgroup_pids(const struct cgroup_root *root, const struct cgroup *group, pid_t *pids, size_t max);
bool cgroup_remove(const struct cgroup_root *root, struct cgroup *group);          /* false: still busy, try again in a moment */
void cgroup_close(struct cgroup *group);

/* The back ends. */
void cgroup_v2_find(struct cgroup_root *root, const char *folder, const char *state, const char *tag, struct error *err);
int cgroup_v2_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err);
void cgroup_v1_find(struct cgroup_root *root, const char *tag);
int cgroup_v1_create(const struct cgroup_root *root, struct cgroup *group, int64_t memory_mib, int64_t cpus, struct error *err);
bool cgroup_v1_remove(const struct cgroup_root *root, struct cgroup *group);
/* processes with `mark` in their environment, and their descendants */
size_t proc_scan_marked(const char *mark, pid_t *pids, size_t max);

/* Small files of /proc and /sys/fs/cgroup. */
int cgroup_write(const char *folder, const char *name, const char *file, const char *text);   /* 0 or -1, errno */
/* The mount point of the first mount of `type` (with `option` among its super options, NULL: any); false: none. */
bool cgroup_find_mount(const char *type, const char *option, char *path, size_t size);
/* This process's own path under a v1 controller, or (controller "") under v2. */
bool cgroup_own_path(const char *controller, char *path, size_t size);

#endif
