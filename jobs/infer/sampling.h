/* The choice of the next byte. */
#ifndef JOBS_INFER_SAMPLING_H
#define JOBS_INFER_SAMPLING_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/model/gpt.h"

struct sampling {
    float temperature;   /* 0: the likeliest byte; 1: as the model has it; at most 100 */
    int top_k;           /* among the so many likeliest only; 0: among all */
    float top_p;         /* among the fewest likeliest that have this much of the probability; 1: among all */
    uint64_t seed;
};

/* ERR_INVALID and a sentence that names the field. */
int sampling_check(const struct sampling *s, struct error *err);

/* A function of the arguments alone; position counts the bytes that were generated before. */
uint8_t sample_byte(const float *logits, const struct sampling *s, uint64_t position);

#endif
