/* Batch inference, on text or on images: the ranks share the requests, rank 0 gathers and prints the answers in order. */
#ifndef JOBS_INFER_INFER_H
#define JOBS_INFER_INFER_H

#include "jobs/backend/backend.h"
#include "jobs/collective/collective.h"
#include "jobs/harness/harness.h"
#include "jobs/infer/settings.h"

int infer_run(const struct infer_settings *s, struct harness *h, struct collective *group, const struct backend *backend,
              struct error *err);

#endif
