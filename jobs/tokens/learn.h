/* A tokenizer learned from a text: of all pairs of neighbours the most frequent becomes a token, again and again. */
#ifndef JOBS_TOKENS_LEARN_H
#define JOBS_TOKENS_LEARN_H

#include "jobs/tokens/tokenizer.h"

/* Now and then, with the tokens that there are so far. */
typedef void learn_told_fn(void *context, int tokens);

enum { LEARN_LEAST = 257 };   /* the bytes and an added token */

/* vocabulary: LEARN_LEAST..TOKENS_MAX; fewer come out where no pair occurs twice any more. The ids are the 256 bytes by their value, the
 * merges in the order in which they were learned, then <|endoftext|>. A function of text and vocabulary alone: of equally frequent pairs
 * the one with the lower ids is first. told may be NULL. The caller frees what it gets. */
struct tokenizer *tokenizer_learn(const uint8_t *text, size_t size, int vocabulary, learn_told_fn *told, void *context);

#endif
