/* When a waiting job may be expected to start: the ends that are promised are replayed. A running job promises to end by its estimate, its
 * time limit, the grace that it was given, or the default time that an admin set for its queue; one that promises nothing is taken to run
 * on. As GPUs come free, the jobs that are before it in the order take theirs, for as long as they promise to run, then it takes its own.
 *
 * It says on what it rests, and does not guess: without a promise there is no time, but the name of the job that gives none. What comes
 * later (submissions, preemptions, a lost node) is not foreseen.
 *
 * Only when somebody asks. The work is bounded by the numbers below; beyond them the answer is that it is not known.
 */
#ifndef SCHEDULER_POLICY_FORECAST_H
#define SCHEDULER_POLICY_FORECAST_H

#include "scheduler/policy/plan.h"

enum {
    FORECAST_BEFORE = 1024,    /* so many of those before it are replayed, */
    FORECAST_CLASSES = 4096,   /* of so many different demands that may be before it */
    FORECAST_PLACES = 512,     /* so often a place is looked for */
};

struct forecast {
    int64_t at_ms;             /* INT64_MAX: unknown */
    char basis[512];           /* "if jobs 3 and 5 end by their time limits"; unknown: "job 7 has no time limit" */
};

/* Of a job that can't start at ready_ms (now, or when it is cooled down, or its dependencies have ended), because of `why`. It may be one
 * that is not in the cluster: then it is taken as the newest. The pass is left as it was. */
void forecast_start(struct pass *p, const struct job *j, const struct wait_reason *why, int64_t ready_ms, struct forecast *out);

/* When a job that holds GPUs is expected to end, and on what that rests. */
enum promise { PROMISE_NONE, PROMISE_LIMIT, PROMISE_ESTIMATE, PROMISE_QUEUE, PROMISE_GRACE };
struct promised { int64_t end_ms; enum promise by; };   /* INT64_MAX: it promises nothing */
struct promised forecast_end(const struct cluster *c, const struct job *j, int64_t now_ms);

/* Of a job whose place is kept: it has it when those that hold some of it have ended. */
void forecast_kept(const struct pass *p, const struct reservation *kept, struct forecast *out);

#endif
