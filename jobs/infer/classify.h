/* Images classified by a CNN or an MLP: how often it is right, and what it takes for what. */
#ifndef JOBS_INFER_CLASSIFY_H
#define JOBS_INFER_CLASSIFY_H

#include "jobs/collective/collective.h"
#include "jobs/infer/settings.h"
#include "jobs/model/model.h"

/* All ranks; each takes a stretch of the test images of s->images. Rank 0 prints the accuracy and the confusion matrix, and writes a line
 * an image to s->out: {"image":0,"label":7,"predicted":7}. */
int classify_run(const struct infer_settings *s, const struct model *m, struct collective *group, struct error *err);

#endif
