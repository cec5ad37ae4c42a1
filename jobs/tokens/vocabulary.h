/* The inside of a tokenizer: what tokenizer.c reads and encode.c uses. */
#ifndef JOBS_TOKENS_VOCABULARY_H
#define JOBS_TOKENS_VOCABULARY_H

#include <stdbool.h>

#include "jobs/tokens/tokenizer.h"

struct merge {
    int32_t left, right, result;
    int32_t rank;   /* its place in the list */
};

struct tokenizer {
    int vocabulary;
    uint8_t *bytes;      /* of all tokens, one after the other */
    size_t *ends;        /* [vocabulary], in bytes */
    int32_t of_byte[256];

    struct merge *merges;    /* by left, then by right */
    size_t merge_count;
    size_t *merges_of;       /* [vocabulary + 1]: those with a token on the left are merges_of[t] .. merges_of[t + 1] */

    int32_t *added;          /* the longest first, so that the first that fits is the longest */
    size_t added_count;
    bool added_begins[256];  /* with this byte */

    char *json;
    size_t json_size;
    uint32_t checksum;
};

/* NULL: the two can't merge. */
const struct merge *merge_of(const struct tokenizer *t, int32_t left, int32_t right);

#endif
