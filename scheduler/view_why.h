/* What lies before jobs that wait, and before one that nobody has submitted. */
#ifndef SCHEDULER_VIEW_WHY_H
#define SCHEDULER_VIEW_WHY_H

#include "scheduler/musterd.h"

/* Puts the whole reason into the rows of those that wait. */
void view_why_complete(struct musterd *d, const struct peer *peer, json_t *rows);
/* {verdict, placement, reason, evicts, expected_start_ms, expected_start_basis}. newcomer: of cluster_try_submission. New reference. */
json_t *view_why_newcomer(struct musterd *d, const struct peer *peer, const struct job *newcomer);

#endif
