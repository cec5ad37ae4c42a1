/* The launcher: parent and subreaper of every task of one state folder. It outlives its agent, opens no network and parses nothing that
 * comes from one. Its death is the end of its tasks: each direct child asked the kernel for SIGKILL then, and the next launcher kills
 * what is left.
 */
#ifndef WORKER_LAUNCHER_H
#define WORKER_LAUNCHER_H

#include "worker/launch_task.h"
#include "worker/paths.h"

enum { LAUNCHER_LINKS_MAX = 8 };

struct launcher {
    struct paths paths;
    struct cgroup_root root;
    bool allow_root;
    struct launch_task *tasks;
    struct wire_link links[LAUNCHER_LINKS_MAX];
    int64_t lease_until_ms;      /* 0: no agent has said yet */
    rlim_t job_open_files;       /* the soft limit that this process was started with */
    int epoll, listener, signals;
    bool shutting_down;
};

struct launcher_options {
    const char *state, *name, *cgroup_root;
    bool allow_root;
};

/* Runs until WIRE_SHUTDOWN or SIGTERM. ready_fd >= 0: gets one byte when the socket is open, or is closed without it. Returns an exit
 * code. */
int launcher_run(const struct launcher_options *options, int ready_fd);

/* To every connected agent. */
void launcher_tell(struct launcher *l, const struct wire_message *m, const char *text, int fd);
/* A message that says how a task is. */
struct wire_message launcher_describe(const struct launch_task *t, enum wire_kind kind);
void launcher_watch_gate(struct launcher *l, struct launch_process *p);

#endif
