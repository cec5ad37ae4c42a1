/* Places that are kept ahead: backfill for the first blocked jobs.
 *
 * Each gets the place that will be free first, going by the time limits and estimates of what runs (a day, where there is none), and
 * nobody is stopped for it. Idle GPUs there are not wasted until then: others start on them. But from the moment on when its job has been
 * passed over for long (an hour, or four times as long as it has run so far), they do so on loan: as soon as all else of the place is
 * free, they are called in, whatever they are, and so no stream of smaller or newer jobs can hold it up. The same holds for the limit of a
 * queue that it waits for, which others use up on any node. A job that can't be stopped again starts there, or on such a limit, only if it
 * will be gone in time, by its own limit or estimate; and one on better ground (a guarantee, an entitlement) is never held up.
 */
#ifndef SCHEDULER_POLICY_AHEAD_H
#define SCHEDULER_POLICY_AHEAD_H

#include "scheduler/policy/plan.h"

enum { AHEAD_MAX = 8 };

/* Those of the cluster. Lets go of those that a node's loss or time has made void: they are planned anew. */
void ahead_open(struct pass *p);
/* The places that are kept from such a job: bit i, as in pass.ahead. */
uint32_t ahead_kept_from(const struct pass *p, const struct demand *d, struct standing standing, const struct job *j);
/* The first of those whose job would have too little left of its queue's limit or guarantee when its place is free, if that one started: it
 * may run elsewhere, but not on what the other waits for. Where the other is due, too little of a limit now. 0: none. */
int64_t ahead_short_of_quota(struct pass *p, const struct demand *d, uint32_t kept);
void ahead_note_start(struct pass *p, const struct demand *d, uint32_t kept);   /* one started from whom these are kept */
/* From now on, until the next call, the room is as those see it from whom these are kept. Not between a mark and its rollback. */
void ahead_bind(struct pass *p, uint32_t kept);
/* The room as if nothing that is kept ahead were free, for whomever. As ahead_bind. */
void ahead_close(struct pass *p);
bool ahead_has(const struct pass *p, int64_t job);   /* is a place kept ahead for it? */
/* It has started, or has its place by a plan: nothing is kept ahead for it any more. */
void ahead_over(struct pass *p, int64_t job);
bool ahead_is_over(const struct pass *p, const struct job *j);   /* an array never is: only its elements are */
/* For whom one of these is kept; 0: there are none. */
int64_t ahead_keeper(const struct pass *p, uint32_t kept);
/* Will it keep less in the next decision? What this plan starts may hold some of the place, and bar the job from it, if it could start. */
bool ahead_keeper_may_let_go(const struct pass *p, uint32_t kept);
/* Which jobs could start on what is kept for them, now or when those have left that are leaving: nobody else starts there. */
void ahead_note_due(struct pass *p);
/* Stops what stands on loan, of a place or of a limit, where all else is free. */
void ahead_call_in(struct pass *p);
/* May this turn still keep one? They are for gangs. */
bool ahead_may_keep(const struct pass *p);
/* Keeps a place for a blocked job, if there is one to come. False: not yet, as nobody knows when those end that this very plan starts. */
bool ahead_keep(struct pass *p, const struct job *j, const struct demand *d);

#endif
