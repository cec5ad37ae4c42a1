/* VIEW: what users see. Documents are made from memory where memory knows, and by the reader where it has forgotten. */
#ifndef SCHEDULER_VIEW_H
#define SCHEDULER_VIEW_H

#include "scheduler/musterd.h"

int view_take(struct musterd *d, const struct request *r, const struct view *view, struct error *err);
void view_take_answers(struct musterd *d);            /* of the reader: each goes to whom it is for */
void view_answer_parked(struct musterd *d);           /* views that waited for a change */
int64_t view_next_ms(const struct musterd *d);        /* boot clock: when a parked view is due */

/* The documents, a file each: new references. */
json_t *view_job_row(const struct musterd *d, const struct job *j);                     /* view_job.c: the row, with reason and progress */
json_t *view_asked_rows(const struct musterd *d, const struct view *view);              /* of the jobs that it names, in their order */
/* a row from the store gets what memory knows better */
void view_job_complete(const struct musterd *d, const struct view *view, json_t *row);
bool view_job_matches(const struct musterd *d, const struct view *view, const struct job *j);   /* but for its numbers */
json_t *view_nodes(const struct musterd *d);                                            /* view_node.c */
json_t *view_top(const struct musterd *d);
json_t *view_queues(const struct musterd *d, const struct view *view);                  /* view_queue.c: a page */

#endif
