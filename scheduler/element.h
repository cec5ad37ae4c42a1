/* Elements of arrays as messages name them (job_ref): which jobs are meant. */
#ifndef SCHEDULER_ELEMENT_H
#define SCHEDULER_ELEMENT_H

#include "scheduler/musterd.h"

/* The number of the job: of an element its own, if it has one. Else the reference as it is: the element waits with its array, was cancelled
 * with it, or there is none. */
int64_t element_resolve(const struct musterd *d, int64_t ref);
/* ERR_NOT_FOUND: the job is no array, or never had such an element. */
int element_check(const struct musterd *d, int64_t ref, struct error *err);
/* What memory has of it: the job, the element's, or its array's; NULL. */
const struct job *element_in_memory(const struct musterd *d, int64_t ref);

#endif
