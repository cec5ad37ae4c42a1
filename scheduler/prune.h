/* The bound of history: turns, their events, and jobs that have ended are dropped when they are older than --history-days, a few at a time,
 * when nothing else is to do.
 *
 * The log must be able to begin where it is cut: so first the reader makes a snapshot of the facts after the last turn that goes, from the
 * log itself, and only when that is stored are turns dropped. Age is the cluster's time, which does not jump with the wall clock. A
 * sixteenth of the bound is slack, so that this is not done again for each turn.
 */
#ifndef SCHEDULER_PRUNE_H
#define SCHEDULER_PRUNE_H

#include "scheduler/musterd.h"

void prune_step(struct musterd *d, bool idle);       /* a little of what is due */
void prune_take(struct musterd *d, struct read *take_q);   /* the reader's answer */
int64_t prune_next_ms(const struct musterd *d);      /* boot clock: when there is something to do again */
void prune_release(struct musterd *d);

#endif
