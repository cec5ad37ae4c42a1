/* The optimiser's step and its state. Every rank holds both moments of all parameters; or, with --shard-optimizer, those of a slice, steps
 * that slice, and gets the others' weights: the first stage of ZeRO (Rajbhandari, 2020). The results are the same bits either way.
 * Checkpoints don't know of slices, so a training may go on with others, or without.
 *
 * Collective: each is called on all ranks. */
#ifndef JOBS_TRAIN_OPTIMIZER_H
#define JOBS_TRAIN_OPTIMIZER_H

#include "jobs/train/train.h"

/* After the model is there. t->momentum and t->variance become arrays of t->own_count, in the backend's memory. */
void optimizer_open(struct trainer *t);
void optimizer_close(struct trainer *t);   /* again is harmless */
int64_t optimizer_moments(int64_t parameters, int ranks, bool shard);   /* of each kind, the most that a rank holds */

/* The slices of all ranks, [ranks + 1]: where each begins, and the end of the last. They begin where blocks of the gradient's norm do. */
void optimizer_slices(int64_t parameters, int ranks, int64_t *slices);

/* One step of AdamW with the gradient of this rank's parameters, scaled to the clip, and its running statistics. wait_ms grows by what the
 * exchange of the weights takes. */
int optimizer_step(struct trainer *t, double gradient_norm, double learning_rate, double *wait_ms, struct error *err);

/* To and from rank 0's host memory, [parameters] each; elsewhere NULL. */
int optimizer_distribute(struct trainer *t, const float *momentum, const float *variance, struct error *err);
int optimizer_collect(struct trainer *t, float *momentum, float *variance, struct error *err);

#endif
