/* How many GPUs an elastic job gets.
 *
 * It starts with the largest of its sizes (job_size_at_most) that has a place and that its queue may have. What it holds beyond its least
 * is lent to it: whoever has a right to it (right.h) gets it in a plan (preempt.h), by which the job goes on with less.
 *
 * It grows when nobody waits who could use the idle GPUs. That is a restart, so: not before it has run for its queue's least run time since
 * the last one, which is also how long what it grew by is left to it by all but a guarantee; only if it has saved its work in this attempt,
 * and a short while ago (a program that never does would lose all); and only onto as few nodes as hold it. Smallest part of its most first:
 * then everybody has something before anybody has all.
 *
 * Why resizes come to an end: a job that has just been resized is not resized again but for a guarantee, and growth takes from nobody.
 */
#ifndef SCHEDULER_POLICY_SCALE_H
#define SCHEDULER_POLICY_SCALE_H

#include "scheduler/policy/plan.h"

/* The largest size that its queue may have, as the room stands; at least the least. */
int64_t scale_most(const struct pass *p, const struct demand *d);

/* By counts alone: is there a job that may grow, and something for it? If only time or a checkpoint is missing, sees to it that the policy
 * looks again. Cheap. */
bool scale_may_grow(struct pass *p);
/* Plans it: JOB_STOP by RESIZED and a seat, for each that there is a place for. */
void scale_grow(struct pass *p);

#endif
