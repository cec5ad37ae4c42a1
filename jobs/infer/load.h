/* The model of a training's newest whole checkpoint. */
#ifndef JOBS_INFER_LOAD_H
#define JOBS_INFER_LOAD_H

#include "common/error.h"
#include "jobs/model/checkpoint.h"
#include "jobs/tokens/tokenizer.h"

/* *trained: what the checkpoint says of itself. *tokenizer: NULL where tokens are bytes. ERR_NOT_FOUND: the folder has no
 * checkpoint. The caller releases both unless it failed. */
int load_model(struct model *m, struct tokenizer **tokenizer, const char *folder, struct checkpoint_state *trained, struct error *err);

#endif
