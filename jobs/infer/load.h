/* The model of a training's newest whole checkpoint. */
#ifndef JOBS_INFER_LOAD_H
#define JOBS_INFER_LOAD_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/model/model.h"

/* *step: the steps that it was trained for. ERR_NOT_FOUND: the folder has no checkpoint. The caller releases the model unless it failed. */
int load_model(struct model *m, const char *folder, int64_t *step, struct error *err);

#endif
