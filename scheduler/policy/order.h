/* Which waiting job is next. Jobs that stand on their queue's guarantee come first; then the queue that has used least for its weight, at
 * the highest level of the tree where two differ; inside a queue, as its policy says: by priority, the user who has used least of it, the
 * job that has been served least, the order of submission (a requeued job keeps its place). Usage is decayed GPU time.
 *
 * A line is a queue's classes that are worth trying. In a class, the user who has used least stands first; jobs of a class and a user are
 * equal but for their place in the line.
 */
#ifndef SCHEDULER_POLICY_ORDER_H
#define SCHEDULER_POLICY_ORDER_H

#include "scheduler/policy/plan.h"

/* What a class is looked at for: to start one of its jobs, and let it go where its shape fits nowhere; or whatever can be done for it. */
enum __attribute__((packed)) look { LOOK_NOT, LOOK_TO_START, LOOK_CLOSELY };   /* a turn goes through those of all classes */

/* A class with its job that is next: the one at `next` of the wait_line `line`. In a queue the least key comes first. */
struct line_entry { uint64_t key[3]; const struct ranked_class *of; int32_t line, next; };
struct line {
    int32_t queue;
    const struct ranking *ranking;   /* its classes; NULL: none */
    int32_t opened;                  /* so many of them have been entries, or were not worth it: the others are of a lower priority */
    struct line_entry *entries;      /* a heap: the first is the next; all of one priority */
    int32_t count, capacity;
    enum queue_policy policy;        /* STRICT: it ends at the first that can't start */
    bool is_guaranteed;              /* its head stands on the guarantee: as of this class and version of the standings */
    int32_t looked_at;
    uint64_t looked_version;
};
struct order {
    struct pass *p;
    bool only_asks;          /* reasons stay as they are */
    const enum look *looks;  /* by class */
    bool *unfit;             /* by shape: it fits nowhere any more, */
    int32_t *fit_at;         /* by shape: and by the counts, it might, as of so many starts; 0: not asked for yet */
    int32_t starts;          /* from 1 */
    int32_t bounded_at;      /* as of so many of them are the bounds */
    struct line *lines;      /* by queue */
    int64_t *usage;          /* by queue */
    int64_t *user_usage;     /* by account; -1: not asked for yet */
};

/* Takes up the classes that are to be looked at. */
void order_open(struct order *o, struct pass *p, const enum look *looks);
/* The line whose first job is next; NULL: none is left. Jobs for whom GPUs are being freed are stepped over: they have their place. */
struct line *order_next(struct order *o);
struct job *order_job(const struct order *o, const struct line *l);
void order_step(struct order *o, struct line *l);    /* its first job is dealt with: the next of its class takes its place */
void order_drop(struct order *o, struct line *l);    /* nor can any other job of that class do better */
/* Would a job that is in no line come before the next one of that line, which order_next has given? */
bool order_comes_first(const struct order *o, const struct job *j, const struct line *l);
void order_unfit(struct order *o, int32_t shape);    /* nor any job of another class of this shape: those to start are let go */

#endif
