/* The gradient of a batch: the mean over all its samples, on every rank, or where the optimiser is sliced (optimizer.h) and it lies in host
 * memory, of each rank's slice. Fast: each rank's share at once, summed by the collective while
 * the backward goes on. By shards: each in a pass of its own, of one shape whatever the ranks, and summed in a fixed tree
 * (collective/tree.h), so that the number of ranks changes no bit. */
#ifndef JOBS_TRAIN_GRADIENT_H
#define JOBS_TRAIN_GRADIENT_H

#include "jobs/train/train.h"

/* Into t->gradient. *loss: the mean over the batch, of nats a target. wait_ms: communication that no computation hid. */
int gradient_compute(struct trainer *t, double *loss, double *wait_ms, struct error *err);
/* Of all that is trained, the same on every rank. */
int gradient_norm(struct trainer *t, double *norm, struct error *err);
/* Of all held-out samples, shared among the ranks: the mean loss of a target; of a text also of its bytes, whatever its
 * tokens are; and of images the share that is classified rightly. */
struct held_out { double loss, accuracy, nats_per_byte; int64_t targets, bytes; };
int gradient_held_out(struct trainer *t, struct held_out *out, struct error *err);

#endif
