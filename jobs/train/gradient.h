/* The gradient of a batch: the mean over all its samples, on every rank. Fast: each rank's share at once, summed by the collective while the
 * backward goes on. By shards: each in a pass of its own, of one shape whatever the ranks, and summed in a fixed tree (collective/tree.h), so
 * that the number of ranks changes no bit. */
#ifndef JOBS_TRAIN_GRADIENT_H
#define JOBS_TRAIN_GRADIENT_H

#include "jobs/train/train.h"

/* Into t->gradient. *loss: the mean over the batch, of nats a target. wait_ms: communication that no computation hid. */
int gradient_compute(struct trainer *t, double *loss, double *wait_ms, struct error *err);
/* The mean loss over all held-out windows, shared among the ranks. bytes: how many targets that were. */
int gradient_held_out(struct trainer *t, double *loss, int64_t *bytes, struct error *err);

#endif
