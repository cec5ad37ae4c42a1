/* This terminal, joined to the terminal of a job. */
#ifndef SCHEDULER_CLI_TERMINAL_H
#define SCHEDULER_CLI_TERMINAL_H

#include "scheduler/cli/client.h"

bool terminal_here(void);   /* both standard input and output are one */
void terminal_size(int64_t *rows, int64_t *cols);

/* Keys go to the job and its output comes here until it ends. The terminal is raw meanwhile, and as it was afterwards, also when a signal
 * ends this program. */
int terminal_join(struct client *client, int64_t job, struct error *err);

#endif
