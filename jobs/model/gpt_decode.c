/* Decoding: tokens of several sequences at once, with the keys and values of earlier positions kept.
 *
 * All rows of a call go through a layer together, so that its weights are read once. Every operation here gives a row what doesn't depend
 * on the rows beside it: a request gives the same tokens in any batch, on any number of ranks and threads.
 *
 * Positions are kept in blocks of CACHE_BLOCK, which a sequence takes from the pool as it grows and gives back when it is cleared. The pool
 * has room for all sequences at their longest, and the block given back last is taken first: memory is touched only for what sequences
 * hold at the same time. Which blocks a sequence has is kept twice: here, and in the backend's memory, where attention looks.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/model/gpt.h"

struct gpt_decoder {
    const struct backend *backend;
    int sequences, rows, context, channels;
    int blocks_each, blocks_all;   /* a sequence at most; in the pool */
    int *free_blocks, free_count;
    int *blocks, *positions;       /* [sequences, blocks_each], [sequences] */
    struct cache_row *cache_rows;  /* of a call: [rows] each */
    int32_t *tokens;
    float **logits;

    /* In the backend's memory. The first three are what lies above. */
    struct cache_row *cache_rows_there;
    int32_t *tokens_there;
    int *blocks_there;
    char *keys, *values;           /* [layers, blocks_all, CACHE_BLOCK, C] */
    float *mean, *rstd;            /* [rows] */
    void *stream, *norm, *qkv, *mixed, *branch, *wide;   /* [rows, ...] */
};

static int64_t layer_positions(const struct gpt_decoder *d) { return (int64_t)d->blocks_all * CACHE_BLOCK; }

static void allocate_here(struct gpt_decoder *d) {
    d->free_blocks = xcalloc((size_t)d->blocks_all, sizeof *d->free_blocks);
    d->blocks = xcalloc((size_t)d->blocks_all, sizeof *d->blocks);
    d->positions = xcalloc((size_t)d->sequences, sizeof *d->positions);
    for (int i = 0; i < d->blocks_all; i++)
        d->free_blocks[i] = d->blocks_all - 1 - i;
    d->cache_rows = xcalloc((size_t)d->rows, sizeof *d->cache_rows);
    d->tokens = xcalloc((size_t)d->rows, sizeof *d->tokens);
    d->logits = xcalloc((size_t)d->rows, sizeof *d->logits);
}

static void allocate_there(struct gpt_decoder *d, int layers) {
    const struct backend_operations *o = d->backend->operations;
    size_t N = (size_t)d->rows, row = (size_t)d->channels * d->backend->element;
    size_t pool = (size_t)layers * (size_t)layer_positions(d) * row;
    d->cache_rows_there = o->allocate(N * sizeof *d->cache_rows);
    d->tokens_there = o->allocate(N * sizeof *d->tokens);
    d->blocks_there = o->allocate((size_t)d->blocks_all * sizeof *d->blocks);
    d->keys = o->reserve(pool);
    d->values = o->reserve(pool);
    d->mean = o->allocate(N * sizeof *d->mean);
    d->rstd = o->allocate(N * sizeof *d->rstd);
    d->stream = o->allocate(N * row);
    d->norm = o->allocate(N * row);
    d->qkv = o->allocate(N * 3 * row);
    d->mixed = o->allocate(N * row);
    d->branch = o->allocate(N * row);
    d->wide = o->allocate(N * 4 * row);
}

struct gpt_decoder *gpt_decoder_new(const struct gpt *g, const struct backend *backend, int sequences, int rows) {
    struct gpt_decoder *d = xcalloc(1, sizeof *d);
    d->backend = backend;
    d->sequences = sequences;
    d->rows = rows;
    d->context = g->config.context;
    d->channels = g->config.channels;
    d->blocks_each = (d->context + CACHE_BLOCK - 1) / CACHE_BLOCK;
    d->blocks_all = d->free_count = sequences * d->blocks_each;
    allocate_here(d);
    allocate_there(d, g->config.layers);
    return d;
}

void gpt_decoder_free(struct gpt_decoder *d) {
    if (!d)
        return;
    void *here[] = {d->free_blocks, d->blocks, d->positions, d->cache_rows, d->tokens, d->logits};
    void *there[] = {d->cache_rows_there, d->tokens_there, d->blocks_there, d->keys,  d->values, d->mean, d->rstd,
                     d->stream,           d->norm,         d->qkv,          d->mixed, d->branch, d->wide};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        free(here[i]);
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        d->backend->operations->release(there[i]);
    free(d);
}

static size_t blocks_at(const struct gpt_decoder *d, int sequence) { return (size_t)sequence * (size_t)d->blocks_each; }

void gpt_decoder_clear(struct gpt_decoder *d, int sequence) {
    int used = (d->positions[sequence] + CACHE_BLOCK - 1) / CACHE_BLOCK;
    for (int b = used - 1; b >= 0; b--)
        d->free_blocks[d->free_count++] = d->blocks[blocks_at(d, sequence) + (size_t)b];
    d->positions[sequence] = 0;
}

int gpt_decoder_positions(const struct gpt_decoder *d, int sequence) { return d->positions[sequence]; }

static void take_block(struct gpt_decoder *d, size_t at) {
    d->blocks[at] = d->free_blocks[--d->free_count];
    d->backend->operations->upload(d->blocks_there + at, d->blocks + at, sizeof *d->blocks);
}

/* Gives each row its position, with a block for it, and puts its embedding into the stream. */
static void enter(const struct gpt *g, struct gpt_decoder *d, const struct gpt_row *rows, int count) {
    const struct backend_operations *o = d->backend->operations;
    const float *wte = g->weights, *wpe = wte + (int64_t)g->config.vocabulary * d->channels;
    for (int n = 0; n < count; n++) {
        int s = rows[n].sequence, position = d->positions[s]++;
        assert(s >= 0 && s < d->sequences && position < d->context);
        if (position % CACHE_BLOCK == 0)
            take_block(d, blocks_at(d, s) + (size_t)(position / CACHE_BLOCK));
        d->cache_rows[n] = (struct cache_row){.blocks = d->blocks_there + blocks_at(d, s), .positions = position + 1};
        d->tokens[n] = rows[n].token;
        d->logits[n] = rows[n].logits;
    }
    o->upload(d->cache_rows_there, d->cache_rows, (size_t)count * sizeof *d->cache_rows);
    o->upload(d->tokens_there, d->tokens, (size_t)count * sizeof *d->tokens);
    o->decode_embedding(d->stream, d->tokens_there, d->cache_rows_there, wte, wpe, count, d->channels);
}

static void normalize(struct gpt_decoder *d, const float *weight, const float *bias, int count) {
    d->backend->operations->layernorm_forward(d->norm, d->mean, d->rstd, d->stream, weight, bias, count, d->channels);
}

static void decode_block(const struct gpt *g, struct gpt_decoder *d, int layer, int count) {
    const struct backend_operations *o = d->backend->operations;
    int C = d->channels;
    const float *w = g->weights + gpt_block_at(g, layer);
    const int64_t *at = g->part_at;
    size_t first = (size_t)layer * (size_t)layer_positions(d) * (size_t)C * d->backend->element;
    char *keys = d->keys + first, *values = d->values + first;

    normalize(d, w + at[GPT_LN_1_WEIGHT], w + at[GPT_LN_1_BIAS], count);
    o->decode_linear(d->qkv, d->norm, w + at[GPT_ATTN_WEIGHT], w + at[GPT_ATTN_BIAS], count, C, 3 * C);
    o->cache_append(keys, values, d->qkv, d->cache_rows_there, count, C);
    o->attention_paged(d->mixed, d->qkv, keys, values, d->cache_rows_there, count, C, g->config.heads);
    o->decode_linear(d->branch, d->mixed, w + at[GPT_ATTN_PROJ_WEIGHT], w + at[GPT_ATTN_PROJ_BIAS], count, C, C);
    o->add_to(d->stream, d->branch, (int64_t)count * C);

    normalize(d, w + at[GPT_LN_2_WEIGHT], w + at[GPT_LN_2_BIAS], count);
    o->decode_linear(d->wide, d->norm, w + at[GPT_FC_WEIGHT], w + at[GPT_FC_BIAS], count, C, 4 * C);
    o->decode_gelu(d->wide, count, 4 * C);
    o->decode_linear(d->branch, d->wide, w + at[GPT_FC_PROJ_WEIGHT], w + at[GPT_FC_PROJ_BIAS], count, 4 * C, C);
    o->add_to(d->stream, d->branch, (int64_t)count * C);
}

void gpt_decode(const struct gpt *g, struct gpt_decoder *d, const struct gpt_row *rows, int count) {
    assert(count <= d->rows);
    const float *final = g->weights + gpt_final_at(g);
    enter(g, d, rows, count);
    for (int layer = 0; layer < g->config.layers; layer++)
        decode_block(g, d, layer, count);
    normalize(d, final, final + d->channels, count);
    d->backend->operations->head_decode(d->logits, d->norm, g->weights, count, d->channels, g->config.vocabulary);
}
