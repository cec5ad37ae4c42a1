/* Hands a job over to musterd, exactly once. */
#ifndef SCHEDULER_CLI_SUBMIT_H
#define SCHEDULER_CLI_SUBMIT_H

#include "common/job_spec.h"
#include "scheduler/cli/client.h"

/* Resends for 10 s while musterd doesn't answer: the spec's token makes a repeat the same job. *existed: the token was known before. */
int submit_job(struct client *client, const struct job_spec *spec, int64_t *job, bool *existed, struct error *err);

#endif
