/* Arrays in the middle of a decision: how many of its elements the plan may still start or keep places for, and the numbers that those get
 * for their own. */
#ifndef SCHEDULER_POLICY_ARRAY_LIMIT_H
#define SCHEDULER_POLICY_ARRAY_LIMIT_H

#include "scheduler/policy/plan.h"

/* How many more jobs stand here for the plan: 1 or 0 of a job by itself or an element, of an array those that its limit leaves. */
int32_t array_left(const struct pass *p, const struct job *j);
void array_count(struct pass *p, const struct job *j, int jobs);   /* +1: the plan starts one, or keeps a place for it */
/* The number of the job that is meant: its own or, of an array, that of its next element, which the plan makes a job of its own. */
int64_t array_job(struct pass *p, const struct job *j);

#endif
