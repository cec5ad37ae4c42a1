/* The environment that a job takes along from where it is submitted. */
#ifndef SCHEDULER_CLI_ENVIRONMENT_H
#define SCHEDULER_CLI_ENVIRONMENT_H

#include "common/options.h"
#include "common/record.h"

struct environment_request {
    const char *export;                  /* "ALL", "NONE", "NAME,NAME=VALUE,..."; ALL may be one of several. NULL: ALL */
    const struct option_list *set[2];    /* NAME=VALUE, the later ones over the earlier */
};

/* *variables holds what a job file set: it goes over what is captured, and under request->set. Names that describe the job that this
 * program itself runs in are left out: they would be lies in another job. */
int environment_capture(const struct environment_request *request, struct texts *variables, struct arena *arena, struct error *err);

/* Whether these can be read, without looking at what this environment has. export may be NULL. */
int environment_check(const char *export, const struct option_list *set, struct error *err);

#endif
