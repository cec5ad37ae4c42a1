/* Effects of a committed turn: answers to who waited for it, and orders to nodes. */
#ifndef SCHEDULER_DISPATCH_H
#define SCHEDULER_DISPATCH_H

#include "scheduler/musterd.h"

void dispatch(struct musterd *d);                /* answers, then orders of what changed */
void dispatch_answers(struct musterd *d);
void dispatch_refusals(struct musterd *d, const struct error *why);   /* the turn did not commit: everybody who waited is told why */
void dispatch_again(struct musterd *d);          /* once a second: orders that are not answered yet */
int64_t dispatch_next_ms(const struct musterd *d);

/* Forgets what was sent to a node, so that its orders go out again at once: it has just connected. */
void dispatch_renew_node(struct musterd *d, int32_t node);
/* Orders an agent to end a task that is not, or no longer, one of its leases. */
void dispatch_stop_stale(struct musterd *d, const struct peer *to, int64_t job, int64_t attempt, int64_t lease);

#endif
