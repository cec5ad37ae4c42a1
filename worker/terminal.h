/* `muster run --pty`: the master end of the head task's terminal. The launcher holds it too, so an agent that comes back gets it again. */
#ifndef WORKER_TERMINAL_H
#define WORKER_TERMINAL_H

#include "worker/agent.h"

void terminal_open(struct agent *a, struct agent_task *t, int fd);   /* takes fd */
void terminal_take(struct agent *a, const struct message *m);        /* TERMINAL: keys, size; its answer is what the terminal says next */
void terminal_task_ended(struct agent *a, struct agent_task *t);
bool terminal_holds_output(const struct agent_task *t);             /* nobody has read it to its end yet */
void terminal_tick(struct agent *a, int64_t now_ms);

#endif
