#include "jobs/train/bigram.h"

#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"

enum { BYTES = 256 };

static double held_out_nats(const struct corpus *c, int64_t bytes, const double *pairs, const double *singles, double smoothing) {
    double sum = 0;
    for (int64_t i = 0; i < bytes; i++) {
        int before = c->held[i], byte = c->held[i + 1];
        sum -= log((pairs[before * BYTES + byte] + smoothing) / (singles[before] + smoothing * BYTES));
    }
    return sum / (double)bytes;
}

struct bigram bigram_measure(const struct corpus *c, int context) {
    static const double smoothings[] = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
    double *pairs = xcalloc(BYTES * BYTES, sizeof *pairs), *singles = xcalloc(BYTES, sizeof *singles);
    for (int64_t i = 0; i + 1 < c->train_size; i++) {
        pairs[c->train[i] * BYTES + c->train[i + 1]]++;
        singles[c->train[i]]++;
    }
    struct bigram best = {.nats_per_byte = INFINITY};
    int64_t bytes = corpus_held_windows(c, context) * context;
    for (size_t i = 0; i < sizeof smoothings / sizeof *smoothings; i++) {
        double nats = held_out_nats(c, bytes, pairs, singles, smoothings[i]);
        if (nats < best.nats_per_byte)
            best = (struct bigram){.nats_per_byte = nats, .smoothing = smoothings[i]};
    }
    free(pairs);
    free(singles);
    return best;
}
