/* The environment of a task's processes: what the user's submission carried, with what docs/job-contract.md promises laid over it. */
#ifndef WORKER_ENVIRONMENT_H
#define WORKER_ENVIRONMENT_H

#include "common/message.h"
#include "worker/paths.h"

struct environment {
    struct arena *arena;
    const char **items;
    size_t count, capacity;
};

void environment_set(struct environment *e, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool environment_has(const struct environment *e, const char *name);

/* What is the same for every process of the task. gpus: UUIDs of the job's GPUs on this node, with commas. */
void environment_of_task(struct environment *e, const struct start *order, const struct paths *paths, const char *gpus, const char *script,
                         int64_t master_port);
/* A rank that Muster starts itself. */
void environment_of_rank(struct environment *e, const struct start *order, int local_rank);

int64_t gang_ranks(const struct start *order);                       /* of the whole gang */
int64_t gang_ranks_before(const struct start *order, int node);      /* the number of the node's first rank */

#endif
