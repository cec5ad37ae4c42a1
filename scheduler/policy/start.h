/* Starting a waiting job on what is free: the three questions that a start has to pass, in their order. A turn asks them of the jobs that
 * wait (decide.c); whoever wants to know why a job waits, or what would let it go, asks them of a job that may be another one (outlook.c).
 */
#ifndef SCHEDULER_POLICY_START_H
#define SCHEDULER_POLICY_START_H

#include "scheduler/policy/plan.h"

/* A pass of its own, to ask and try in: as a turn opens it, but with nothing decided. Ends with user_limit_close. */
void pass_open(struct pass *p, struct cluster *c, int64_t now_ms, struct arena *arena, struct plan *plan);

/* The part of it that a turn begins with: what is free, who stands how, who runs how much. */
void pass_look_around(struct pass *p);

/* Something keeps it out that neither a free GPU nor one taken back would help: its queue is drained, its user runs enough. */
bool start_is_kept_out(const struct pass *p, const struct job *j, struct wait_reason *why);
/* Its queue, or one above it, would be over its limit. */
bool start_is_limited(const struct pass *p, const struct demand *d, struct wait_reason *why);
/* Its queue, and each one above it, may have so many GPUs more: by limits, and by guarantees for what can't be taken back. */
bool start_is_admitted(const struct pass *p, const struct demand *d, struct wait_reason *why);
/* There is a place for its gang, where it stands best of all that it may use; for an elastic job, the largest that its queue may have. */
bool start_find_place(struct pass *p, const struct demand *d, struct placement *where);

#endif
