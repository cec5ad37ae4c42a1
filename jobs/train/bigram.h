/* The mark that a trained model has to beat: how well the byte before tells the next one. */
#ifndef JOBS_TRAIN_BIGRAM_H
#define JOBS_TRAIN_BIGRAM_H

#include "jobs/train/corpus.h"

struct bigram {
    double nats_per_byte;   /* on the held-out windows */
    double smoothing;       /* added to each count */
};

/* Counts pairs of bytes in the training part, whatever its tokens are, and takes the mean of -log p(byte | the byte before) over the same
 * held-out bytes that the model is measured on. Of several smoothing constants the one that is best there is taken: chosen in the bigram's
 * favour. */
struct bigram bigram_measure(const struct corpus *c, int context);

#endif
