/* Between the files of `muster events`. */
#ifndef SCHEDULER_CLI_EVENTS_H
#define SCHEDULER_CLI_EVENTS_H

#include <stdint.h>

#include "common/error.h"

/* The whole log from a turn on (0: as far back as it goes) into a file, or to standard output by "-". */
int events_export(const char *path, int64_t from_turn, struct error *err);

#endif
