/* The way back after a commit that failed. */
#ifndef SCHEDULER_RECOVER_H
#define SCHEDULER_RECOVER_H

#include "scheduler/musterd.h"

void recover_from_failed_commit(struct musterd *d, const struct error *why);
void recover_try_again(struct musterd *d);   /* once a second while nothing can be stored */

/* A submission that came while nothing can be stored. 0: it is answered, with the job that its token made before. ERR_STORE says whether
 * it is sure that nothing of it is stored. */
int recover_refuse_submission(struct musterd *d, const struct request *r, const struct job_spec *spec, struct error *err);
void recover_forget(struct musterd *d);

#endif
