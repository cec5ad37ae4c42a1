/* A task's socket: where its processes report (docs/job-contract.md), and where our rank wrapper and mpirun's shim speak to the agent. */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/agent.h"

enum { LINE_MAX_BYTES = 64 * 1024, CONNECTIONS_MAX = 512 };

struct connection {
    struct connection *next;
    struct watch watch;
    struct agent_task *task;
    pid_t peer;
    char *line;                  /* what came of the next line */
    size_t size, capacity;
    bool skipping;               /* the line is too long: ignored to its end */
    bool internal;               /* our wrapper or shim: not a program that wants to be told of checkpoints */
    int rank;                    /* of the program; -1 unknown */
    pid_t child;                 /* of a wrapper */
};

int report_open(struct agent *a, struct agent_task *t, struct error *err);
void report_close(struct agent *a, struct agent_task *t);
void report_drain(struct agent *a, struct agent_task *t);   /* reads all that has been sent */
void report_ask_checkpoint(struct agent *a, struct agent_task *t);
/* One line to a connection; a peer that doesn't read loses it. */
void report_send(struct connection *c, json_t *message);    /* takes message */

#endif
