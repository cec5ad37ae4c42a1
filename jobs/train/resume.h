/* Where a training begins: at its checkpoint, at the weights of --init, or at random ones. */
#ifndef JOBS_TRAIN_RESUME_H
#define JOBS_TRAIN_RESUME_H

#include "jobs/model/checkpoint.h"
#include "jobs/train/train.h"

/* What a checkpoint records beside weights and moments. */
struct checkpoint_state resume_state(const struct trainer *t);

/* Rank 0 looks for the newest whole checkpoint and hands it to the others: so they agree on it, and only one of them needs the folder.
 * Sets step. A checkpoint of another model is an error; one of other settings or another text is told on stderr. */
int resume(struct trainer *t, struct error *err);

#endif
