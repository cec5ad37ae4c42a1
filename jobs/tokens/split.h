/* GPT-2's cut of a text into pieces, within which tokens are made: words with the blank before them, numbers, signs, white space. */
#ifndef JOBS_TOKENS_SPLIT_H
#define JOBS_TOKENS_SPLIT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the first piece of a text; size > 0. It is what this regular expression matches there:
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * A byte that isn't UTF-8 counts as a sign. */
size_t split_piece(const uint8_t *text, size_t size);

#endif
