/* SUBMIT -> JOB_SUBMITTED. */
#ifndef SCHEDULER_SUBMIT_H
#define SCHEDULER_SUBMIT_H

#include "scheduler/musterd.h"

int submit_take(struct musterd *d, const struct request *r, const struct job_spec *spec, struct error *err);
/* Says what would become of it now, with the refusals of submit_take; submits nothing. */
int submit_test(struct musterd *d, const struct request *r, const struct job_spec *spec, struct error *err);
/* true: answered, or will be with this turn, with the job that the token made before. */
bool submit_answer_known_token(struct musterd *d, const struct request *r, const char *token);

#endif
