/* The ends of tasks. */
#ifndef SCHEDULER_COMPLETE_H
#define SCHEDULER_COMPLETE_H

#include "scheduler/musterd.h"

int exited_take(struct musterd *d, const struct request *r, const struct exited *exited, struct error *err);
int refused_take(struct musterd *d, const struct request *r, const struct refused *refused, struct error *err);

#endif
