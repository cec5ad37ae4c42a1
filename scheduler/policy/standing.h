/* How well a job stands: what it runs on, and for how long it has been served. Who stands better may take from who stands worse.
 *
 * The band says on what a queue's GPUs are held. A queue's jobs, those that can't be stopped before the others and else in the order in
 * which they started, fill first what is guaranteed to it, then what it is entitled to; the rest is borrowed, and so is what jobs without
 * GPUs hold. A job that would start comes last of its kind. The level is that of the GPU time that it has had (job_level).
 *
 * Where a type of GPU is divided by itself, those that hold it fill what is guaranteed to their queue of that type before what is
 * guaranteed to it of any; and beyond what it is entitled to of that type, a job is over its share of the type, and stands between those
 * within every share and those who borrow. A gang of several types is one of any type.
 *
 * Bands depend on demand, guarantees, limits and weights, and on who started before whom; never on what has been used. Demand is the same
 * before and after a start or an eviction, so no decision changes what a queue is guaranteed or entitled to, and that a job of a queue is
 * gone can only raise those which come after it.
 */
#ifndef SCHEDULER_POLICY_STANDING_H
#define SCHEDULER_POLICY_STANDING_H

#include "scheduler/policy/room.h"
#include "scheduler/policy/share.h"

enum band {
    BAND_OF_TYPE,      /* on a guarantee of the type of its GPUs */
    BAND_GUARANTEED,   /* on a guarantee of any type */
    BAND_ENTITLED,
    BAND_OVER_TYPE,    /* within the share of all types together, not of this one */
    BAND_BORROWED,
};
static inline bool band_is_guaranteed(enum band band) { return band <= BAND_GUARANTEED; }

struct standing {
    enum band band;
    int32_t level;
    int32_t type;      /* BAND_OF_TYPE: of which; else 0 */
};

/* A job that runs, as those see it who want its GPUs. */
struct runner {
    const struct job *job;
    int32_t queue, priority;
    struct standing standing;
    int32_t type;             /* of its GPUs, if that is divided by itself; else 0 */
    uint32_t types;           /* bit t: some are of type t */
    int32_t gpus, gpus_min, level;
    int64_t ran_ms;           /* since its attempt started; -1: it has not */
    int64_t price;            /* GPU-milliseconds that stopping it now would lose */
    bool fresh;               /* little of that is work: it has saved it a short while ago, or just begun */
    bool preemptible;         /* and known to run */
    bool fixed;               /* it can't be stopped */
    bool lends;               /* what it holds beyond its least is for jobs of other queues too: its own uses more than its guarantee */
    bool is_first;            /* its queue, which has used less than its guarantee of late, runs nothing before it; too large for that */
    bool going;               /* it is being stopped, by this plan or before */
    int32_t next_of_queue;    /* the one that comes after it; -1 */
    int32_t nodes;            /* that it has tasks on; filled by standings_link_nodes */
};

/* Only where nobody else makes room (P3). */
static inline bool runner_leaves_last(const struct runner *k) { return band_is_guaranteed(k->standing.band) || k->is_first; }

/* What a queue's runners hold, by what could be asked of it: a bound that tells when no search for victims can succeed. */
struct offer {
    int64_t unguaranteed;           /* on no guarantee */
    int64_t of_any_type;            /* on a guarantee, but of no type */
    int64_t borrowed[JOB_LEVELS];   /* borrowed, or over a type's share, and past their first minutes, by level */
    int64_t all[JOB_LEVELS];        /* whatever they stand on, past their first minutes */
    int64_t spare;                  /* beyond what elastic ones need */
};

/* A share of a runner on a node. */
struct runner_task { int32_t runner; const struct task *task; };

/* What a queue's guarantee of a type, or of any, has to bear. */
struct footing {
    struct packing stands;    /* what stands on it */
    struct packing fixed;     /* of that, what can't be stopped */
    struct packing promised;  /* what is kept for its jobs or started by this plan; of elastic ones, the least */
    int64_t in_use;           /* GPUs of that type of its own jobs, promised ones too, without what elastic ones hold beyond their least */
    bool all;                 /* all of that stands on it, or, of those of any type, on another */
};

struct standings {
    const struct cluster *c;
    struct runner *runners;       /* in the order in which they started */
    int32_t count;
    int64_t now_ms;
    int32_t *first_of_queue;      /* by queue; -1 */
    int32_t *node_tasks;          /* [node_count + 1]: where each node's tasks begin; NULL: not linked yet */
    struct runner_task *tasks;
    struct offer *offers;         /* by queue */
    struct offer offered;         /* of all together */
    int64_t going_gpus;           /* of those that were being stopped before */
    int32_t *going, going_count;  /* runners that are */
    const struct shares *shares;
    int64_t min_runtime_ms;       /* none is asked sooner, but for a guarantee */
    struct footing *on[GPU_TYPES_MAX];   /* by type and queue; [0]: guarantees of any type, and what is in use of all */
    uint64_t *versions;           /* by queue: grows with each change of those */
};

enum {
    RESTART_MS = 30 * 1000,              /* what a stopped job needs to be where it was: assumed until jobs report it */
    FRESH_MS = 15 * 60 * 1000,
};

/* GPU-milliseconds that stopping the job now would lose: the time since it saved its work, and that of a restart. */
int64_t job_price(const struct job *j, int64_t now_ms);

void standings_open(struct standings *s, const struct cluster *c, const struct shares *shares, int64_t now_ms, struct arena *arena);
/* Fills node_tasks, tasks and runners' nodes, which only a search for victims needs. */
void standings_link_nodes(struct standings *s, int32_t node_count, struct arena *arena);
/* This plan stops it. */
void standings_stop(struct standings *s, int32_t runner);
/* The bands of a queue's runners anew, after some were marked as going, or not going any more. */
void standings_update(struct standings *s, int32_t queue);
/* What the runners of a queue and of those below it hold. */
struct offer standings_offered_within(const struct standings *s, const struct cluster *c, int32_t queue);
/* A job of the queue will start, at its least on so many GPUs of that type (share_type_of). */
void standings_promise(struct standings *s, int32_t queue, int32_t gpus, int32_t type);
/* With what the queues hold in that room, some job lends that did not yet. */
bool standings_lend_more(const struct standings *s, const struct room *r);
/* At most so many GPUs that would start now in the queue, of jobs that can't be stopped or of others, could stand on its guarantees. */
int64_t standings_guarantee_left(const struct standings *s, int32_t queue, bool fixed);

/* That of a job which would start now, where it stands best; and wherever it starts. */
struct standing standing_of(const struct standings *s, const struct demand *d);
struct standing standing_anywhere(const struct standings *s, const struct demand *d);
/* The ways in which it may be placed, each as the types of GPU that it is kept from: where it stands better than anywhere, the best first;
 * last, anywhere. How many. */
enum { STANDING_WAYS_MAX = GPU_TYPES_MAX + 1 };
int standing_ways(const struct standings *s, const struct demand *d, uint32_t barred[STANDING_WAYS_MAX]);
/* May it be asked to go on elsewhere? It loses little, and a place for it is easily found. (standings_link_nodes comes first.) */
bool runner_is_movable(const struct standings *s, const struct runner *k);
/* Types of GPU on which a runner is not to go on, when it has to leave where it is. */
uint32_t runner_barred(const struct standings *s, const struct runner *k);

#endif
