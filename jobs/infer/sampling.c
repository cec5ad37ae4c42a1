/* Temperature, top-k, and top-p (Holtzman, 2020), in this order. */
#include "jobs/infer/sampling.h"

#include <math.h>
#include <stdlib.h>

#include "jobs/model/random.h"

static const float temperature_max = 100;

struct candidate {
    float logit;
    int byte;
};

int sampling_check(const struct sampling *s, struct error *err) {
    if (!(s->temperature >= 0 && s->temperature <= temperature_max))
        return error_set(err, ERR_INVALID, "temperature must be 0..%g, not %g", temperature_max, s->temperature);
    if (s->top_k < 0 || s->top_k > GPT_VOCABULARY)
        return error_set(err, ERR_INVALID, "top_k must be 0..%d, not %d", GPT_VOCABULARY, s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return error_set(err, ERR_INVALID, "top_p must be above 0 and at most 1, not %g", s->top_p);
    return 0;
}

/* The likeliest first; equal ones by their value, so that the order is total. */
static int likelier(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->byte - y->byte;
}

uint8_t sample_byte(const float *logits, const struct sampling *s, uint64_t position) {
    struct candidate all[GPT_VOCABULARY];
    double weights[GPT_VOCABULARY], sum = 0, kept = 0;
    int most = s->top_k > 0 ? s->top_k : GPT_VOCABULARY, count = 0;
    for (int v = 0; v < GPT_VOCABULARY; v++)
        all[v] = (struct candidate){.logit = logits[v], .byte = v};
    qsort(all, GPT_VOCABULARY, sizeof *all, likelier);
    if (s->temperature <= 0)
        return (uint8_t)all[0].byte;
    for (int i = 0; i < most; i++)
        sum += weights[i] = exp(((double)all[i].logit - all[0].logit) / s->temperature);
    while (count < most && (count == 0 || kept < (double)s->top_p * sum))
        kept += weights[count++];
    double left = random_unit(s->seed, position, 0) * kept;
    for (int i = 0; i < count; i++)
        if ((left -= weights[i]) < 0)
            return (uint8_t)all[i].byte;
    return (uint8_t)all[count - 1].byte;
}
