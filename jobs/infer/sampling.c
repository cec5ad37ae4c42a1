/* Temperature, top-k, and top-p (Holtzman, 2020), in this order: tokens are thought of from the likeliest to the unlikeliest, and a choice
 * is where so much of the probability lies before it.
 *
 * Among few, top-k's, that is what is done. Sorting a whole vocabulary would take longer than the model does. So, among all, the
 * weights are summed in buckets of tokens about equally likely, and only the bucket in which a choice falls is sorted.
 */
#include "jobs/infer/sampling.h"

#include <math.h>
#include <stdbool.h>
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
    qsort(best, (size_t)most, sizeof *best, likelier);
    for (int i = 0; i < most / 2; i++) {   /* sorted downwards is such a heap, turned round */
        struct candidate swapped = best[i];
        best[i] = best[most - 1 - i];
        best[most - 1 - i] = swapped;
    }
    for (int v = most; v < vocabulary; v++)
        if (logits[v] > best[0].logit)   /* of equal ones the lower is in already */
            sink(best, most, (struct candidate){.logit = logits[v], .token = v});
    qsort(best, (size_t)most, sizeof *best, likelier);
    return best;
}

static double weight(double logit, double most, double temperature) { return exp((logit - most) / temperature); }

/* Walks down from the likeliest, from what is passed already, until that much is passed. Returns the place where it ends. */
static int walk(const struct candidate *best, int count, double until, double *passed) {
    int i = 0;
    while ((*passed += best[i].weight) < until && i < count - 1)
        i++;
    return i;
}

/* `unit` is in [0, 1): where the choice falls in what top-p leaves. */
static int among_best(const float *logits, int vocabulary, const struct sampling *s, double unit) {
    struct candidate *best = choose(logits, vocabulary, s->top_k);
    double sum = 0, kept = 0, passed = 0;
    for (int n = 0; n < s->top_k; n++)
        sum += best[n].weight = weight(best[n].logit, best[0].logit, s->temperature);
    int count = 1 + walk(best, s->top_k, s->top_p * sum, &kept);
    int token = best[walk(best, count, unit * kept, &passed)].token;
    free(best);
    return token;
}

/* ---- among all ---- */

enum { BUCKETS = 1024, BUCKETS_A_STEP = 16 };   /* the last one is for all that is less than e^-64 times as likely as the likeliest */

struct crowd {
    const float *logits;
    int vocabulary;
    double most, temperature, buckets_a_unit;   /* of logits */
    double weights[BUCKETS];   /* sums */
};

static int bucket_of(const struct crowd *c, int token) {
    double at = (c->most - c->logits[token]) * c->buckets_a_unit;
    return at < BUCKETS - 1 ? (int)at : BUCKETS - 1;   /* what isn't a number comes last too */
}

static int likeliest(const float *logits, int vocabulary) {
    float most = logits[0];
    int best = 0;
    for (int v = 1; v < vocabulary; v++)
        if (logits[v] > most) {
            most = logits[v];
            best = v;
        }
    return best;
}

/* The tokens of a bucket, the likeliest first. */
static struct candidate *sort_bucket(const struct crowd *c, int bucket, int *count) {
    struct candidate *in = NULL;
    size_t capacity = 0;
    *count = 0;
    for (int v = 0; v < c->vocabulary; v++)
        if (bucket_of(c, v) == bucket) {
            in = xgrow(in, &capacity, (size_t)*count + 1, sizeof *in);
            in[(*count)++] = (struct candidate){c->logits[v], v, weight(c->logits[v], c->most, c->temperature)};
        }
    if (in)
        qsort(in, (size_t)*count, sizeof *in, likelier);
    return in;
}

/* The token at which that much of the weights is passed; *passed with it. */
static int walk_crowd(const struct crowd *c, double until, double *passed) {
    int bucket = 0, count;
    for (; bucket < BUCKETS - 1 && *passed + c->weights[bucket] < until; bucket++)
        *passed += c->weights[bucket];
    struct candidate *in = sort_bucket(c, bucket, &count);
    int token = count > 0 ? in[walk(in, count, until, passed)].token : 0;   /* none: the logits aren't numbers */
    free(in);
    return token;
}

static int among_all(const float *logits, int vocabulary, const struct sampling *s, double unit) {
    struct crowd c = {.logits = logits, .vocabulary = vocabulary, .temperature = s->temperature};
    c.buckets_a_unit = BUCKETS_A_STEP / c.temperature;
    double sum = 0, kept = 0, passed = 0;
    c.most = logits[likeliest(logits, vocabulary)];
    for (int v = 0; v < vocabulary; v++)
        c.weights[bucket_of(&c, v)] += weight(logits[v], c.most, c.temperature);
    for (int b = 0; b < BUCKETS; b++)
        sum += c.weights[b];
    if (s->top_p < 1)
        walk_crowd(&c, s->top_p * sum, &kept);
    else
        kept = sum;
    return walk_crowd(&c, unit * kept, &passed);
}

int sample_token(const float *logits, int vocabulary, const struct sampling *s, uint64_t position) {
    double unit = random_unit(s->seed, position, 0);
    if (s->temperature <= 0)
        return likeliest(logits, vocabulary);
    bool among_few = s->top_k > 0 && s->top_k < vocabulary;
    return among_few ? among_best(logits, vocabulary, s, unit) : among_all(logits, vocabulary, s, unit);
}
