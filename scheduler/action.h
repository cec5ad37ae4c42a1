/* What users do to jobs and admins to nodes: cancel, hold, release, requeue; drain, resume. */
#ifndef SCHEDULER_ACTION_H
#define SCHEDULER_ACTION_H

#include "scheduler/musterd.h"

int job_action_take(struct musterd *d, const struct request *r, const struct job_action *action, struct error *err);
int node_action_take(struct musterd *d, const struct request *r, const struct node_action *action, struct error *err);

#endif
