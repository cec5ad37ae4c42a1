/* The model of a training's newest whole checkpoint. */
#ifndef JOBS_INFER_LOAD_H
#define JOBS_INFER_LOAD_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/model/model.h"
#include "jobs/tokens/tokenizer.h"

/* *step: the steps that it was trained for. *tokenizer: NULL where tokens are bytes. ERR_NOT_FOUND: the folder has no
 * checkpoint. The caller releases both unless it failed. */
int load_model(struct model *m, struct tokenizer **tokenizer, const char *folder, int64_t *step, struct error *err);

#endif
