/* Messages in: each becomes events of the turn, soft state, or an answer at once. */
#ifndef SCHEDULER_COLLECT_H
#define SCHEDULER_COLLECT_H

#include "scheduler/musterd.h"

void collect_events(struct musterd *d);

#endif
