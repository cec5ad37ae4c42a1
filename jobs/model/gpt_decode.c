/* Decoding: tokens of several sequences at once, with the keys and values of earlier positions kept.
 *
 * All rows of a call go through a layer together, so that its weights are read once. Every kernel here sums a row in a fixed order that
 * doesn't depend on the rows beside it: a request gives the same tokens in any batch, on any number of ranks and threads.
 *
 * Positions are kept in blocks of CACHE_BLOCK, which a sequence takes from the pool as it grows and gives back when it is cleared. The pool
 * has room for all sequences at their longest, and the block given back last is taken first: memory is touched only for what sequences
 * hold at the same time.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"

struct gpt_decoder {
    int sequences, rows, context, channels;
    int blocks_each, blocks_all;   /* a sequence at most; in the pool */
    int *free_blocks, free_count;
    int *blocks, *positions;       /* [sequences, blocks_each], [sequences] */
    float *keys, *values;          /* [layers, blocks_all, CACHE_BLOCK, C] */
    struct cache_row *cache_rows;
    float **logits;                /* [rows] */
    float *stream, *norm, *qkv, *mixed, *branch, *wide;   /* [rows, ...] */
};

struct gpt_decoder *gpt_decoder_new(const struct gpt *g, int sequences, int rows) {
    struct gpt_decoder *d = xcalloc(1, sizeof *d);
    size_t C = (size_t)g->config.channels, N = (size_t)rows;
    d->sequences = sequences;
    d->rows = rows;
    d->context = g->config.context;
    d->channels = g->config.channels;
    d->blocks_each = (d->context + CACHE_BLOCK - 1) / CACHE_BLOCK;
    d->blocks_all = d->free_count = sequences * d->blocks_each;
    d->free_blocks = xcalloc((size_t)d->blocks_all, sizeof *d->free_blocks);
    d->blocks = xcalloc((size_t)d->blocks_all, sizeof *d->blocks);
    d->positions = xcalloc((size_t)sequences, sizeof *d->positions);
    for (int i = 0; i < d->blocks_all; i++)
        d->free_blocks[i] = d->blocks_all - 1 - i;
    size_t pool = (size_t)g->config.layers * (size_t)d->blocks_all * CACHE_BLOCK * C;
    d->keys = xmalloc_large(pool * sizeof *d->keys);
    d->values = xmalloc_large(pool * sizeof *d->values);
    d->cache_rows = xcalloc(N, sizeof *d->cache_rows);
    d->logits = xcalloc(N, sizeof *d->logits);
    d->stream = xcalloc(N * C, sizeof *d->stream);
    d->norm = xcalloc(N * C, sizeof *d->norm);
    d->qkv = xcalloc(N * 3 * C, sizeof *d->qkv);
    d->mixed = xcalloc(N * C, sizeof *d->mixed);
    d->branch = xcalloc(N * C, sizeof *d->branch);
    d->wide = xcalloc(N * 4 * C, sizeof *d->wide);
    return d;
}

void gpt_decoder_free(struct gpt_decoder *d) {
    if (!d)
        return;
    void *arrays[] = {d->free_blocks, d->blocks, d->positions, d->keys, d->values, d->cache_rows,
                      d->logits,      d->stream, d->norm,      d->qkv,  d->mixed,  d->branch, d->wide};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(d);
}

static int *blocks_of(const struct gpt_decoder *d, int sequence) { return d->blocks + (size_t)sequence * (size_t)d->blocks_each; }

void gpt_decoder_clear(struct gpt_decoder *d, int sequence) {
    int used = (d->positions[sequence] + CACHE_BLOCK - 1) / CACHE_BLOCK;
    for (int b = used - 1; b >= 0; b--)
        d->free_blocks[d->free_count++] = blocks_of(d, sequence)[b];
    d->positions[sequence] = 0;
}

int gpt_decoder_positions(const struct gpt_decoder *d, int sequence) { return d->positions[sequence]; }

/* Gives each row its position, with a block for it, and puts its embedding into the stream. */
static void enter(const struct gpt *g, struct gpt_decoder *d, const struct gpt_row *rows, int count) {
    int C = d->channels;
    const float *wte = g->weights, *wpe = wte + (int64_t)g->config.vocabulary * C;
    for (int n = 0; n < count; n++) {
        int s = rows[n].sequence, position = d->positions[s]++;
        assert(s >= 0 && s < d->sequences && position < d->context);
        if (position % CACHE_BLOCK == 0)
            blocks_of(d, s)[position / CACHE_BLOCK] = d->free_blocks[--d->free_count];
        d->cache_rows[n] = (struct cache_row){.blocks = blocks_of(d, s), .positions = position + 1};
        for (int i = 0; i < C; i++)
            d->stream[(size_t)n * C + i] = wte[(int64_t)rows[n].token * C + i] + wpe[(int64_t)position * C + i];
    }
}

static void normalize(struct gpt_decoder *d, const float *weight, const float *bias, int count) {
    int C = d->channels;
    float mean, rstd;
    for (int n = 0; n < count; n++)
        layernorm_forward(d->norm + (size_t)n * C, &mean, &rstd, d->stream + (size_t)n * C, weight, bias, 1, C);
}

static void keep(struct gpt_decoder *d, float *keys, float *values, int count) {
    size_t C = (size_t)d->channels, bytes = C * sizeof(float);
    for (int n = 0; n < count; n++) {
        int p = d->cache_rows[n].positions - 1;
        size_t at = ((size_t)d->cache_rows[n].blocks[p / CACHE_BLOCK] * CACHE_BLOCK + (size_t)(p % CACHE_BLOCK)) * C;
        memcpy(keys + at, d->qkv + (size_t)n * 3 * C + C, bytes);
        memcpy(values + at, d->qkv + (size_t)n * 3 * C + 2 * C, bytes);
    }
}

static void decode_block(const struct gpt *g, struct gpt_decoder *d, int layer, int count) {
    int C = d->channels;
    const float *w = g->weights + gpt_block_at(g, layer);
    const int64_t *at = g->part_at;
    size_t first = (size_t)layer * (size_t)d->blocks_all * CACHE_BLOCK * (size_t)C;

    normalize(d, w + at[GPT_LN_1_WEIGHT], w + at[GPT_LN_1_BIAS], count);
    dense_forward(d->qkv, d->norm, w + at[GPT_ATTN_WEIGHT], w + at[GPT_ATTN_BIAS], count, C, 3 * C);
    keep(d, d->keys + first, d->values + first, count);
    attention_paged(d->mixed, d->qkv, d->keys + first, d->values + first, d->cache_rows, count, C, g->config.heads);
    dense_forward(d->branch, d->mixed, w + at[GPT_ATTN_PROJ_WEIGHT], w + at[GPT_ATTN_PROJ_BIAS], count, C, C);
    add_to(d->stream, d->branch, (int64_t)count * C);

    normalize(d, w + at[GPT_LN_2_WEIGHT], w + at[GPT_LN_2_BIAS], count);
    dense_forward(d->wide, d->norm, w + at[GPT_FC_WEIGHT], w + at[GPT_FC_BIAS], count, C, 4 * C);
    for (int n = 0; n < count; n++)
        gelu_forward(d->wide + (size_t)n * 4 * C, d->wide + (size_t)n * 4 * C, 4 * (int64_t)C);
    dense_forward(d->branch, d->wide, w + at[GPT_FC_PROJ_WEIGHT], w + at[GPT_FC_PROJ_BIAS], count, 4 * C, C);
    add_to(d->stream, d->branch, (int64_t)count * C);
}

void gpt_decode(const struct gpt *g, struct gpt_decoder *d, const struct gpt_row *rows, int count) {
    assert(count <= d->rows);
    int C = d->channels;
    const float *final = g->weights + gpt_final_at(g);
    enter(g, d, rows, count);
    for (int layer = 0; layer < g->config.layers; layer++)
        decode_block(g, d, layer, count);
    normalize(d, final, final + C, count);
    for (int n = 0; n < count; n++)
        d->logits[n] = rows[n].logits;
    head_decode(d->logits, d->norm, g->weights, count, C, g->config.vocabulary);
}
