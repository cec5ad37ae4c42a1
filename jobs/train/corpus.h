/* The text: read, split into what is trained on and what is held out, and drawn from. */
#ifndef JOBS_TRAIN_CORPUS_H
#define JOBS_TRAIN_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/tokens/tokenizer.h"

/* A text's tokens: its bytes, or those of a tokenizer. The whole text is cut into blocks, and every tenth block is held out (fewer of a
 * long text: about 512 KiB are enough): so that the held-out part is of the same kind as the rest, and no byte of it is trained on. Blocks
 * are counted in bytes of the text: whatever its tokens are, the same part of it is held out (to a token at the borders). */
struct corpus {
    void *train, *held;              /* tokens of `width` bytes: uint8_t, uint16_t or uint32_t */
    int width;
    int64_t train_size, held_size;   /* tokens */
    struct tokenizer *tokenizer;     /* NULL: tokens are bytes */
    uint32_t checksum;               /* of all tokens and of the tokenizer */
};

/* The vocabulary of what a training would read, from its first file: 256, or that of the file of tokens that it is. What is wrong with it,
 * loading it will tell. */
int corpus_vocabulary(const char *path);

/* Files are read one after the other: of text, or of tokens of one tokenizer, which lies beside the first as tokenizer.json. A text too
 * short for a held-out window of context + 1 tokens is an error with the numbers. */
int corpus_load(struct corpus *c, const char *const *paths, size_t count, int context, struct error *err);
void corpus_release(struct corpus *c);

/* The window of sample `index` of a step: a function of its arguments alone, so that the batch doesn't depend on the number of ranks.
 * tokens and targets get `context` each; targets are the tokens that follow. */
void corpus_sample(const struct corpus *c, uint64_t seed, int64_t step, int64_t index, int context, int32_t *tokens, int32_t *targets);

/* Held-out windows lie side by side. */
int64_t corpus_held_windows(const struct corpus *c, int context);
void corpus_held_window(const struct corpus *c, int64_t window, int context, int32_t *tokens, int32_t *targets);

/* The bytes that so many tokens spell, all of train or held from `first` on. Freed by the caller. */
uint8_t *corpus_spell(const struct corpus *c, const void *tokens, int64_t first, int64_t count, int64_t *size);

/* The files one after the other, as they are. Freed by the caller. */
int corpus_read_text(const char *const *paths, size_t count, uint8_t **text, size_t *size, struct error *err);

#endif
