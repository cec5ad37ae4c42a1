/* GPUs for a job that has a right to others'. No plan, no kill: what is taken is proven to hold the whole gang, every victim is taken by
 * right, and nothing is taken that is not needed. */
#ifndef SCHEDULER_POLICY_PREEMPT_H
#define SCHEDULER_POLICY_PREEMPT_H

#include "scheduler/policy/plan.h"

/* By sums alone: could preempt_for find something? Cheap. */
bool preempt_may(const struct pass *p, const struct demand *d);

/* Plans a place for the job on what is free, what is being freed anyway, and what others can be made to leave: RESERVE, JOB_STOP for each
 * victim, and RESERVE for each that is seated elsewhere or on less. False: there is no such place; nothing is planned. */
bool preempt_for(struct pass *p, const struct job *j, const struct demand *d);

/* What is being stopped anyway will be free: gives it in the room. To be rolled back. */
void preempt_give_what_goes(struct pass *p);

#endif
