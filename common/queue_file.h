/* A YAML file of queues, as `muster quota export` writes and `muster quota apply` reads it (docs/quotas.md). */
#ifndef COMMON_QUEUE_FILE_H
#define COMMON_QUEUE_FILE_H

#include "common/queue_spec.h"

/* *specs: whole rows, an array of struct queue_spec in the arena. Every error is `FILE:line:column: member: what is wrong`; unknown
 * members are refused. */
int queue_file_read(const char *path, struct rows *specs, struct arena *arena, struct error *err);

#endif
