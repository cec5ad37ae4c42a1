/* Writes checkpoints beside the training: what is to be kept is copied, which is all that the training waits for, and a thread writes the
 * copy by checkpoint.h's rules. One checkpoint at a time; used from one thread. */
#ifndef JOBS_MODEL_CHECKPOINT_WRITER_H
#define JOBS_MODEL_CHECKPOINT_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/model/checkpoint.h"

struct checkpoint_writer;

/* Holds the memory of a copy: checkpoint_writer_bytes. dir is borrowed. */
struct checkpoint_writer *checkpoint_writer_new(const char *dir, int64_t keep, const struct model_config *config);
void checkpoint_writer_free(struct checkpoint_writer *w);   /* after the end of what is being written; NULL is fine */
int64_t checkpoint_writer_bytes(const struct model *m);

/* Returns when everything is copied from the backend's memory. Where that failed nothing is written. The one before must have been waited
 * for. */
int checkpoint_writer_start(struct checkpoint_writer *w, const struct checkpoint_state *state, const struct model *m,
                            const float *momentum, const float *variance, struct error *err);
bool checkpoint_writer_done(const struct checkpoint_writer *w);   /* wait would return at once */
/* The result of checkpoint_write for the one that was started, and how long that took. */
int checkpoint_writer_wait(struct checkpoint_writer *w, int64_t *write_us, struct error *err);

#endif
