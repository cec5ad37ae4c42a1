/* EXPORT: the event log, piece by piece, for admins. The reader makes the pieces. */
#ifndef SCHEDULER_EXPORT_H
#define SCHEDULER_EXPORT_H

#include "scheduler/musterd.h"

int export_take(struct musterd *d, const struct request *r, const struct export *e, struct error *err);
void export_send(struct musterd *d, const struct read *q);

#endif
