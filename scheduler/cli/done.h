/* The answer to an action on several things at once: some may have been done, and others not. */
#ifndef SCHEDULER_CLI_DONE_H
#define SCHEDULER_CLI_DONE_H

#include <stdbool.h>
#include <stdio.h>

#include "common/message.h"

/* The answer as a document {count, text, rows} on stdout. */
void done_print_json(const struct done *done);

/* With `json` that document first. Says "cancelled 2 jobs" and, a line each, what was not done and why, on `out`. Returns the exit
 * code: 1 when anything was not done. */
int done_print(const struct done *done, bool json, const char *past, const char *noun, FILE *out);

#endif
