/* A queue's limit of running jobs by user, in the middle of a decision: what runs, what this plan starts, and what is promised to jobs that
 * have a place kept. */
#ifndef SCHEDULER_POLICY_USER_LIMIT_H
#define SCHEDULER_POLICY_USER_LIMIT_H

#include "scheduler/policy/plan.h"

void user_limit_open(struct pass *p);    /* counts the promises */
void user_limit_close(struct pass *p);
/* +1: the plan starts it, or keeps a place for it. Its array counts it too. */
void user_limit_count(struct pass *p, const struct job *j, int jobs);
int32_t user_limit_reached(const struct pass *p, const struct job *j);  /* the queue whose limit keeps the job waiting; -1 none */

#endif
