/* mpirun's way to the other nodes of its gang: the shim (rsh.c) hands {host, command} to its agent, musterd passes the command on to the
 * peer's agent, and the peer's launcher runs it inside the task that already waits there. */
#ifndef WORKER_RELAY_H
#define WORKER_RELAY_H

#include "worker/agent.h"

struct connection;

/* At the head. */
void relay_asked(struct agent *a, struct connection *c, const json_t *message);   /* the shim's request */
bool relay_answered(struct agent *a, const struct message *m);                    /* DONE, FAILURE or RELAYED; false: not ours */
void relay_resend(struct agent *a, int64_t now_ms);
void relay_asker_gone(struct agent_task *t, struct connection *c);
void relay_release(struct agent_task *t);

/* At the peer. */
void relay_take(struct agent *a, const struct message *m);
void relay_failed(struct agent *a, struct agent_task *t, int slot, const char *text);
void relay_ended(struct agent *a, struct agent_task *t, int slot, int status);

#endif
