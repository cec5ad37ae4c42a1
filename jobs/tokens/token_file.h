/* A text as tokens, on disk. Little-endian:
 *
 *      0   8  "MSTRTOKS"
 *      8   4  the version of this form, 1
 *     12   4  bytes of an id: 2 where the vocabulary is at most 65,536, and otherwise 4
 *     16   4  the vocabulary: ids are below it
 *     20   4  CRC-32 of the tokenizer's tokenizer.json
 *     24   8  how many ids follow
 *     32   4  their CRC-32
 *     36   4  0
 *     40      the ids
 *
 * The tokenizer lies beside it, as tokenizer.json.
 */
#ifndef JOBS_TOKENS_TOKEN_FILE_H
#define JOBS_TOKENS_TOKEN_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "jobs/tokens/tokenizer.h"

enum { TOKEN_FILE_HEADER = 40 };

struct token_header {
    int width;             /* bytes of an id */
    int vocabulary;
    uint32_t tokenizer;    /* its checksum */
    int64_t count;
    uint32_t checksum;
};

/* Does the file begin as one of tokens? *is false: it is something else, a text for one, or a pipe. *h is checked, and
 * against the file's size. */
int token_file_peek(const char *path, bool *is, struct token_header *h, struct error *err);

/* All of it: *ids has h->count ids of h->width bytes, in this machine's order; freed by the caller. Each is below the vocabulary. */
int token_file_read(const char *path, void **ids, struct token_header *h, struct error *err);

/* The same of a stream that can be sought in; it stays open. */
int token_stream_read(FILE *file, void **ids, struct token_header *h, struct error *err);

/* Writes the file anew. */
int token_file_write(const char *path, const struct tokenizer *t, const struct token_list *tokens, struct error *err);

#endif
