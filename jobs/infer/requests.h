/* The texts to be continued, in the order in which they were asked for. */
#ifndef JOBS_INFER_REQUESTS_H
#define JOBS_INFER_REQUESTS_H

#include <stddef.h>
#include <stdint.h>

#include "jobs/infer/settings.h"

struct requests {
    char **prompts;
    size_t count;      /* of prompts */
    size_t samples;    /* of each: request i is sample i % samples of prompt i / samples */
};

/* From --prompt, then from --prompts; without either, one empty prompt. A line that isn't a prompt is an error with file and line. */
int requests_load(struct requests *r, const struct infer_settings *s, struct error *err);
void requests_release(struct requests *r);
size_t requests_total(const struct requests *r);
const char *requests_prompt(const struct requests *r, size_t request);

#endif
