/* A cluster under load, for the policy's benchmark: nodes in racks, a tree of queues, jobs of a mix that a shared cluster sees, and a world
 * that answers each decision in the next turn (tasks start; who is asked to stop yields). What happens is collected as facts; a turn
 * hands them to policy_step, which alone is timed. The same seed gives the same load for as long as the policy decides the same.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "scheduler/policy/decide.h"

struct load {
    struct cluster c;
    struct arena arena;             /* of one decision */
    struct plan plan;
    struct event *facts;            /* of the next turn */
    struct error *errors;
    size_t fact_count, fact_capacity, error_capacity;
    int64_t *running;               /* jobs that may end */
    size_t running_count, running_capacity;
    int64_t waiting, submitted;     /* with those whose submission is a fact of the next turn */
    int64_t pinned;                 /* a job that never ends */
    int64_t starts, evictions;      /* decided so far */
    int64_t now_ms;
    bool typed;
    uint64_t random;
    double wall_us, cpu_us;         /* of the last turn's policy_step */
    double forget_us;               /* of taking ended jobs out before it, which the daemon does too */
};

void load_init(struct load *l, int32_t nodes, uint64_t seed);   /* empty, its queues set */
/* Half of the racks have GPUs of another type, each queue has half of its guarantee of each, and all jobs take either. */
void load_init_typed(struct load *l, int32_t nodes, uint64_t seed);
void load_release(struct load *l);

/* Facts of the next turn. */
void load_submit(struct load *l);                        /* a job of the mix: it can run at some time */
void load_submit_hopeless(struct load *l, bool alike);   /* one that never can; alike: its demand is one of a few, else nobody else's */
void load_submit_gpus(struct load *l, int64_t gpus);     /* just so many, for one of the queues */
void load_end_one(struct load *l);                       /* a running job, drawn */
void load_checkpoint_one(struct load *l);

void load_turn(struct load *l, int64_t pass_ms);         /* after so much time; makes the next facts from what is decided */

/* Submits jobs of the mix, every tenth a hopeless one, until the cluster is full and so many wait, and comes to rest. */
void load_fill(struct load *l, int64_t waiting);
void load_refill(struct load *l, int64_t waiting);       /* submits as many as are missing: facts of the next turn */

int64_t load_gpus_used(const struct load *l);
double load_clock_us(void);
void load_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
