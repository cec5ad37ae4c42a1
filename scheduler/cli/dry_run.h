/* muster submit --dry-run: a job as it would be submitted, whole and checked, without a daemon. */
#ifndef SCHEDULER_CLI_DRY_RUN_H
#define SCHEDULER_CLI_DRY_RUN_H

#include <stdio.h>

#include "common/job_spec.h"

void dry_run_print(const struct job_spec *spec, FILE *out);        /* the fields of `muster show`, and what was taken along */
void dry_run_print_json(const struct job_spec *spec, FILE *out);   /* {schema_version, job}: job as the message to musterd has it */

#endif
