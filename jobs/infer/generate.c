#include "jobs/infer/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

struct candidate {
    float logit;
    int byte;
};

/* The likeliest first; equal ones by their value, so that the order is total. */
static int likelier(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->byte - y->byte;
}

uint8_t sample_byte(const float *logits, const struct sampling *s, uint64_t request, uint64_t position) {
    struct candidate all[GPT_VOCABULARY];
    double weights[GPT_VOCABULARY], sum = 0;
    int count = s->top_k > 0 ? s->top_k : GPT_VOCABULARY;
    for (int v = 0; v < GPT_VOCABULARY; v++)
        all[v] = (struct candidate){.logit = logits[v], .byte = v};
    qsort(all, GPT_VOCABULARY, sizeof *all, likelier);
    if (s->temperature <= 0)
        return (uint8_t)all[0].byte;
    for (int i = 0; i < count; i++)
        sum += weights[i] = exp(((double)all[i].logit - all[0].logit) / s->temperature);
    double left = random_unit(s->seed, request, position) * sum;
    for (int i = 0; i < count; i++)
        if ((left -= weights[i]) < 0)
            return (uint8_t)all[i].byte;
    return (uint8_t)all[count - 1].byte;
}

/* text[length - 1] is new, all before it was given earlier. */
static void append(const struct gpt *g, struct gpt_cache *cache, const uint8_t *text, int64_t length, float *logits) {
    if (gpt_cache_positions(cache) == g->config.context) {
        gpt_cache_clear(cache);
        for (int64_t i = length - g->config.context / 2; i < length - 1; i++)
            gpt_decode(g, cache, text[i], NULL);
    }
    gpt_decode(g, cache, text[length - 1], logits);
}

void generate(const struct gpt *g, struct gpt_cache *cache, const struct sampling *s, uint64_t request, const char *prompt, uint8_t *out,
              generate_told_fn *told, void *context) {
    if (prompt[0] == '\0')
        prompt = "\n";
    int64_t prompt_length = (int64_t)strlen(prompt), length = 0;
    uint8_t *text = xmalloc((size_t)(prompt_length + s->tokens));
    float logits[GPT_VOCABULARY];
    memcpy(text, prompt, (size_t)prompt_length);
    gpt_cache_clear(cache);
    while (length < prompt_length) {
        length++;
        append(g, cache, text, length, length == prompt_length ? logits : NULL);
    }
    for (int64_t done = 0; done < s->tokens; done++) {
        text[length++] = out[done] = sample_byte(logits, s, request, (uint64_t)done);
        if (told)
            told(context, done + 1);
        if (done + 1 < s->tokens)
            append(g, cache, text, length, logits);
    }
    free(text);
}
