/* One text continued, byte by byte. */
#ifndef JOBS_INFER_GENERATE_H
#define JOBS_INFER_GENERATE_H

#include <stddef.h>
#include <stdint.h>

#include "jobs/model/gpt.h"

struct sampling {
    float temperature;   /* 0: the likeliest byte */
    int top_k;           /* 0: all */
    uint64_t seed;
    int64_t tokens;
};

/* The next byte from its logits; a function of the arguments alone. */
uint8_t sample_byte(const float *logits, const struct sampling *s, uint64_t request, uint64_t position);

/* Called after every byte. */
typedef void generate_told_fn(void *context, int64_t tokens_done);

/* Writes s->tokens bytes into `out`. An empty prompt starts at a new line. Where the text outgrows the model's context, the newest half of
 * the context is read again and the rest forgotten. */
void generate(const struct gpt *g, struct gpt_cache *cache, const struct sampling *s, uint64_t request, const char *prompt, uint8_t *out,
              generate_told_fn *told, void *context);

#endif
