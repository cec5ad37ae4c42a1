/* The victims of a plan: the cheapest that make room for a gang, of those who may be made to leave. For each node the cheapest that serve
 * it are found, a knapsack over its few tasks; the gang takes the cheapest nodes, one after the other. What is taken is given back to the
 * room.
 *
 * A victim that spans nodes is paid for once. What it costs on each of them, before it is taken, is a guess: several are tried (enum
 * counting), and the cheapest outcome counts. Where nobody spans nodes there is nothing to guess, and the outcome is the cheapest there is.
 */
#ifndef SCHEDULER_POLICY_VICTIMS_H
#define SCHEDULER_POLICY_VICTIMS_H

#include "scheduler/policy/place.h"
#include "scheduler/policy/plan.h"

/* How a job is made to leave. */
enum leaving { STAYS, SHRINKS, IS_EVICTED, MOVES };

struct priced { int64_t price; int32_t at, runner; };

/* What a job that spans nodes costs on one of them. */
enum counting {
    WHOLE,      /* all of its price */
    BY_NODES,   /* its price, divided by the nodes that the gang would have by its leaving alone */
    CHARGED,    /* what its task there is charged */
};

struct victims {
    struct pass *p;
    const struct demand *demand;   /* the gang's */
    bool in_place;                 /* who shrinks frees what he can spare, and no more */
    uint32_t barred;               /* types of GPU whose nodes are not looked at */
    enum leaving *leaving;         /* by runner: how it would */
    int32_t *leavers, leaver_count;   /* those who may, in the order of runners */
    uint32_t *within_reach;        /* by node: GPUs that they would leave to the gang */
    int32_t *in_play, *domain_at;  /* nodes where it could be served if all of them left, domain by domain, in order; where each begins */
    const int32_t *nodes;          /* those of the domain that is looked at */
    int32_t node_count;
    bool *taken;                   /* by runner */
    int32_t *items, count;         /* the runners taken */
    struct priced *priced;         /* the same, to be sorted */
    enum counting counting;
    int64_t *charge;               /* by task, as standings.tasks: all tasks of a job together are charged its price */
    bool *asked;                   /* by task: it is to leave, by the cheapest nodes */
    int32_t *best, best_count;     /* the outcome that was the cheapest so far */
    const struct need *need;       /* the gang's, of most of its nodes; for that, while nobody is taken yet, */
    int32_t first_count;           /* (no more than those before) */
    int64_t *first_cost;           /* by node */
    int32_t *cheapest;             /* the nodes where that is least, in order */
    int64_t *node_cost;            /* by node, for the need that is being served */
    int64_t *sorted_cost;          /* the same costs, in order */
    bool *is_spanned;              /* by node: one of those who may leave holds others, too */
    bool *node_used;
    bool spans_nodes;              /* one that was taken has tasks on several */
};

static inline struct runner *victims_runner(const struct victims *v, int32_t runner) { return &v->p->standings.runners[runner]; }

/* Nobody may leave yet. One search at a time: its memory is the pass's. */
void victims_init(struct victims *v, struct pass *p, const struct demand *d);
struct runner *victims_at(const struct victims *v, int32_t i);                  /* the i-th that is taken */

void victims_ask_nobody(struct victims *v);
void victims_may_leave(struct victims *v, int32_t runner, enum leaving leaving);   /* runners in their order */

/* Those who have not been taken and hold so many GPUs or more stay. */
void victims_let_stay(struct victims *v, int32_t gpus);

/* Takes the cheapest that make room for the split; false: there are none, and nothing is taken. */
bool victims_take_cheapest(struct victims *v, const struct split *split);
void victims_take(struct victims *v, int32_t runner);
/* Of those taken, the dearest that a place on as many nodes can do without stay. *where: a place that was found, and then the new one. */
void victims_spare(struct victims *v, const struct split *split, struct placement *where);
/* Of those taken (all, or only those that go on elsewhere or with less), those that hold nothing which is wanted stay: no GPU that is kept
 * by now, nor cpus or memory that would be short, nor what the gang's queue needs to be within its limits when the gang is at `where`. The
 * dearest first. */
void victims_let_go(struct victims *v, const struct placement *where, bool but_evicted);
/* Takes, of those of a queue and below it, the cheapest that free so many GPUs, wherever they are; false: they would not. */
bool victims_take_within(struct victims *v, int32_t queue, int64_t gpus);

/* How far it has come: those taken since are forgotten, and the room is as it was. */
struct victims_mark { size_t room; int32_t count; };
struct victims_mark victims_mark(const struct victims *v);
void victims_forget(struct victims *v, struct victims_mark mark);
int64_t victims_price(const struct victims *v);        /* of all that are taken */

#endif
