/* The text: read, split into what is trained on and what is held out, and drawn from. */
#ifndef JOBS_TRAIN_CORPUS_H
#define JOBS_TRAIN_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* The whole text is cut into blocks, and every tenth block is held out (fewer of a long text: about 512 KiB are enough): so that the
 * held-out part is of the same kind as the rest, and no byte of it is trained on. */
struct corpus {
    uint8_t *train, *held;
    int64_t train_size, held_size;
    uint32_t checksum;   /* of the whole text */
};

/* Files are read one after the other. A text too short for a held-out window of context + 1 bytes is an error with the numbers. */
int corpus_load(struct corpus *c, const char *const *paths, size_t count, int context, struct error *err);
void corpus_release(struct corpus *c);

/* The window of sample `index` of a step: a function of its arguments alone, so that the batch doesn't depend on the number of ranks.
 * tokens and targets get `context` bytes each; targets are the bytes that follow. */
void corpus_sample(const struct corpus *c, uint64_t seed, int64_t step, int64_t index, int context, uint8_t *tokens, uint8_t *targets);

/* Held-out windows lie side by side. */
int64_t corpus_held_windows(const struct corpus *c, int context);
void corpus_held_window(const struct corpus *c, int64_t window, int context, uint8_t *tokens, uint8_t *targets);

#endif
