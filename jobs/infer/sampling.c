/* Temperature, top-k, and top-p (Holtzman, 2020), in this order. */
#include "jobs/infer/sampling.h"

#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

static const float temperature_max = 100;

struct candidate {
    float logit;
    int token;
    double weight;
};

int sampling_check(const struct sampling *s, struct error *err) {
    if (!(s->temperature >= 0 && s->temperature <= temperature_max))
        return error_set(err, ERR_INVALID, "temperature must be 0..%g, not %g", temperature_max, s->temperature);
    if (s->top_k < 0 || s->top_k > GPT_VOCABULARY_MAX)
        return error_set(err, ERR_INVALID, "top_k must be 0..%d, not %d", GPT_VOCABULARY_MAX, s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return error_set(err, ERR_INVALID, "top_p must be above 0 and at most 1, not %g", s->top_p);
    return 0;
}

/* The likeliest first; equal ones by their value, so that the order is total. */
static int likelier(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->token - y->token;
}

/* Puts c in at the root of a heap with the unlikeliest on top, and lets it sink to its place. */
static void sink(struct candidate *heap, int count, struct candidate c) {
    int at = 0;
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && likelier(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (likelier(&c, &heap[child]) > 0)
            break;
        heap[at] = heap[child];
    }
    heap[at] = c;
}

/* The `most` likeliest, the likeliest first. */
static struct candidate *choose(const float *logits, int vocabulary, int most) {
    struct candidate *best = xmalloc((size_t)most * sizeof *best);
    for (int v = 0; v < most; v++)
        best[v] = (struct candidate){.logit = logits[v], .token = v};
    if (most < vocabulary) {   /* sorted downwards is such a heap, turned round */
        qsort(best, (size_t)most, sizeof *best, likelier);
        for (int i = 0; i < most / 2; i++) {
            struct candidate swapped = best[i];
            best[i] = best[most - 1 - i];
            best[most - 1 - i] = swapped;
        }
    }
    for (int v = most; v < vocabulary; v++)
        if (logits[v] > best[0].logit)   /* of equal ones the lower is in already */
            sink(best, most, (struct candidate){.logit = logits[v], .token = v});
    qsort(best, (size_t)most, sizeof *best, likelier);
    return best;
}

int sample_token(const float *logits, int vocabulary, const struct sampling *s, uint64_t position) {
    int most = s->temperature <= 0 ? 1 : s->top_k > 0 && s->top_k < vocabulary ? s->top_k : vocabulary, count = 0, i = 0;
    struct candidate *best = choose(logits, vocabulary, most);
    double sum = 0, kept = 0;
    for (int n = 0; n < most; n++)
        sum += best[n].weight = s->temperature > 0 ? exp(((double)best[n].logit - best[0].logit) / s->temperature) : 1;
    while (count < most && (count == 0 || kept < (double)s->top_p * sum))
        kept += best[count++].weight;
    double left = random_unit(s->seed, position, 0) * kept;
    while (i < count - 1 && (left -= best[i].weight) >= 0)
        i++;
    int token = best[i].token;
    free(best);
    return token;
}
