#include "jobs/train/bigram.h"

#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"

enum { BYTES = 256 };

static double held_out_nats(const uint8_t *held, int64_t first, int64_t end, const double *pairs, const double *singles, double smoothing) {
    double sum = 0;
    for (int64_t i = first; i < end; i++)
        sum -= log((pairs[held[i - 1] * BYTES + held[i]] + smoothing) / (singles[held[i - 1]] + smoothing * BYTES));
    return sum / (double)(end - first);
}

static void count_pairs(const struct corpus *c, double *pairs, double *singles) {
    int64_t size;
    uint8_t *train = corpus_spell(c, c->train, 0, c->train_size, &size);
    for (int64_t i = 0; i + 1 < size; i++) {
        pairs[train[i] * BYTES + train[i + 1]]++;
        singles[train[i]]++;
    }
    free(train);
}

struct bigram bigram_measure(const struct corpus *c, int context) {
    static const double smoothings[] = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
    double *pairs = xcalloc(BYTES * BYTES, sizeof *pairs), *singles = xcalloc(BYTES, sizeof *singles);
    int64_t first, end;
    free(corpus_spell(c, c->held, 0, 1, &first));   /* the first token is nobody's target */
    uint8_t *held = corpus_spell(c, c->held, 0, 1 + corpus_held_windows(c, context) * context, &end);
    count_pairs(c, pairs, singles);
    struct bigram best = {.nats_per_byte = INFINITY};
    for (size_t i = 0; i < sizeof smoothings / sizeof *smoothings; i++) {
        double nats = held_out_nats(held, first, end, pairs, singles, smoothings[i]);
        if (nats < best.nats_per_byte)
            best = (struct bigram){.nats_per_byte = nats, .smoothing = smoothings[i]};
    }
    free(pairs);
    free(singles);
    free(held);
    return best;
}
