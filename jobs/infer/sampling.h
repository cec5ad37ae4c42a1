/* The choice of the next token. */
#ifndef JOBS_INFER_SAMPLING_H
#define JOBS_INFER_SAMPLING_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/model/gpt.h"

struct sampling {
    float temperature;   /* 0: the likeliest token; 1: as the model has it; at most 100 */
    int top_k;           /* among the so many likeliest only; 0, or more than there are: among all */
    float top_p;         /* among the fewest likeliest that have this much of the probability; 1: among all */
    uint64_t seed;
};

/* ERR_INVALID and a sentence that names the field. */
int sampling_check(const struct sampling *s, struct error *err);

/* Below vocabulary; a function of the arguments alone. position counts the tokens that were generated before. */
int sample_token(const float *logits, int vocabulary, const struct sampling *s, uint64_t position);

#endif
