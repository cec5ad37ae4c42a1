/* musterd --check: is a store whole, and does its log lead to its state? */
#ifndef SCHEDULER_CHECK_H
#define SCHEDULER_CHECK_H

#include <stdbool.h>

/* Checks the store in a folder that no daemon runs on and prints the report. Returns the exit code: 0 whole, 1 not, others as errors have
 * them: nothing could be checked. */
int check_store(const char *folder, bool json);

#endif
