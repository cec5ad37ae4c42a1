/* Fork and exec of one process of a task: the only place, beside the rank wrapper, where that happens. */
#ifndef WORKER_LAUNCH_CHILD_H
#define WORKER_LAUNCH_CHILD_H

#include <sys/resource.h>
#include <sys/types.h>

#include "worker/cgroup.h"

struct launch_request {
    const struct cgroup_root *root;
    const struct cgroup *group;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;          /* supplementary; used by root only */
    size_t group_count;
    mode_t umask;
    const char *directory, *output, *error;   /* error "": with output. Opened by the child, as the user */
    const char *const *argv, *const *environment;   /* NULL-terminated */
    bool pty, truncate;
    int rows, cols;
    rlim_t open_files;            /* soft limit to give the child */
};

struct launched {
    pid_t pid;
    int gate;       /* write one byte: it may exec. Then: end of file = it did; a sentence = it failed and why */
    int terminal;   /* the master end, or -1 */
};

/* The child waits at the gate, set up as far as can be, until launch_release: the caller has time to write down its pid. */
int launch_child(const struct launch_request *request, struct launched *out, struct error *err);
void launch_release(const struct launched *child);

#endif
