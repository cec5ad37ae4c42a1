/* What random runs have tried: how often each event was applied and refused, and in how many runs a job made each move that it may. */
#ifndef SCHEDULER_SIM_COVERAGE_H
#define SCHEDULER_SIM_COVERAGE_H

#include "scheduler/sim/world.h"

struct coverage {
    int64_t applied[EVENT_TYPE_COUNT], refused[EVENT_TYPE_COUNT];
    int64_t runs[JOB_STATE_COUNT][JOB_STATE_COUNT];   /* in which a job moved so */
    int64_t frozen, evictions;     /* states in which time stood still; who was evicted in them */
};

/* Takes in one run: what its log holds, and what it was refused. */
void coverage_add(struct coverage *v, const struct world *w, const int64_t refused[EVENT_TYPE_COUNT]);
void coverage_print_events(const struct coverage *v);
/* Returns how many legal moves were never made. all: prints each move, else those only. */
int coverage_print_moves(const struct coverage *v, bool all);

#endif
