/* The checkpoints of a training: rank 0 copies what is to be kept and a thread of it writes, while all ranks train on. At most one is
 * under way. What became of it is rank 0's to know and rides on what the ranks exchange each step, so that all learn it at the same step. */
#ifndef JOBS_TRAIN_SAVE_H
#define JOBS_TRAIN_SAVE_H

#include "jobs/train/train.h"

enum save_outcome { SAVE_UNDER_WAY, SAVE_WRITTEN, SAVE_FAILED };   /* under way: or none is */

void save_init(struct trainer *t);
/* Waits for what is under way: nothing that was begun is lost, though this training may have failed. Tells of it where nobody has yet. */
void save_release(struct trainer *t);
int64_t save_bytes(const struct model *m);   /* of the copy, on rank 0 */

/* What rank 0 knows of the checkpoint under way; without waiting. The maximum over the ranks is given to save_learn, on every rank. */
int64_t save_outcome(struct trainer *t);
void save_learn(struct trainer *t, int64_t outcome);

/* All ranks. Begins the checkpoint of this step, after the end of the one before. A full disk is a warning: the next one may fit again. */
int save_begin(struct trainer *t, struct error *err);
/* All ranks. Waits until it is on disk or has failed: *written. request: that of harness_checkpoint_request, which it answers, or 0. */
int save_finish(struct trainer *t, int64_t request, bool *written, struct error *err);

#endif
