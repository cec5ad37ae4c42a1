/* One seed of muster-sim random: a cluster under test, and what random.c remembers of it. */
#ifndef SCHEDULER_SIM_RANDOM_H
#define SCHEDULER_SIM_RANDOM_H

#include "scheduler/sim/world.h"

enum { NODES_MAX = 6, QUEUES = 8, MEMORY = 64, USERS = 3, RACK_NAME_MAX = 48, EVICTED_MAX = 256 };

struct run {
    struct world w;
    uint64_t random;
    struct arena arena;                /* of one event */
    int node_count;
    struct node_shape shapes[NODES_MAX];
    char names[NODES_MAX][16], boots[NODES_MAX][16];
    struct { struct buffer bytes; } past[MEMORY];   /* events sent before, to be sent again */
    int past_count;
    bool crashing;                     /* a seed in which nearly every task is lost: the crash limit is met */
    int64_t refused[EVENT_TYPE_COUNT];
    bool elastic;                      /* one in which most jobs are */
    bool arrays;                       /* one in which arrays are submitted too */
    bool foretelling;                  /* jobs are asked what lies before them, and it is compared with what comes */
    int64_t frozen, frozen_evictions;  /* how often time stood still, and who was evicted then */
    bool administered;                 /* one in which the quota tree changes all the time */
    bool typed;                        /* one in which most guarantees are of a type of GPU, and most jobs ask for one */
};

/* Runs the whole of it on a zeroed `r`. What went wrong is in r->w.broken. The caller releases past, arena and w. */
void random_run(struct run *r, int64_t seed, int64_t steps, bool verbose);

#endif
