/* Decoding: one token of one sequence at a time, with the keys and values of earlier positions kept. Every product is a row against a
 * matrix, summed in a fixed order: a request gives the same tokens on any number of ranks and threads. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"

struct gpt_cache {
    int positions, context, channels;
    float *keys, *values;   /* [layers, context, C] */
    float *stream, *norm, *qkv, *mixed, *branch, *wide;
};

struct gpt_cache *gpt_cache_new(const struct gpt *g) {
    size_t C = (size_t)g->config.channels, all = (size_t)g->config.layers * (size_t)g->config.context * C;
    struct gpt_cache *c = xcalloc(1, sizeof *c);
    c->context = g->config.context;
    c->channels = g->config.channels;
    c->keys = xcalloc(all, sizeof *c->keys);
    c->values = xcalloc(all, sizeof *c->values);
    c->stream = xcalloc(C, sizeof *c->stream);
    c->norm = xcalloc(C, sizeof *c->norm);
    c->qkv = xcalloc(3 * C, sizeof *c->qkv);
    c->mixed = xcalloc(C, sizeof *c->mixed);
    c->branch = xcalloc(C, sizeof *c->branch);
    c->wide = xcalloc(4 * C, sizeof *c->wide);
    return c;
}

void gpt_cache_free(struct gpt_cache *c) {
    if (!c)
        return;
    float *arrays[] = {c->keys, c->values, c->stream, c->norm, c->qkv, c->mixed, c->branch, c->wide};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(c);
}

void gpt_cache_clear(struct gpt_cache *c) { c->positions = 0; }

int gpt_cache_positions(const struct gpt_cache *c) { return c->positions; }

static void normalize(float *out, const float *in, const float *weight, const float *bias, int C) {
    float mean, rstd;
    layernorm_forward(out, &mean, &rstd, in, weight, bias, 1, C);
}

static void decode_block(const struct gpt *g, struct gpt_cache *c, int layer) {
    int C = c->channels;
    const float *w = g->weights + gpt_block_at(g, layer);
    const int64_t *at = g->part_at;
    float *keys = c->keys + (size_t)layer * (size_t)c->context * (size_t)C, *values = c->values + (keys - c->keys);
    size_t row = (size_t)c->positions * (size_t)C, bytes = (size_t)C * sizeof(float);

    normalize(c->norm, c->stream, w + at[GPT_LN_1_WEIGHT], w + at[GPT_LN_1_BIAS], C);
    linear_decode(c->qkv, c->norm, w + at[GPT_ATTN_WEIGHT], w + at[GPT_ATTN_BIAS], C, 3 * C);
    memcpy(keys + row, c->qkv + C, bytes);
    memcpy(values + row, c->qkv + 2 * C, bytes);
    attention_decode(c->mixed, c->qkv, keys, values, c->positions + 1, C, g->config.heads);
    linear_decode(c->branch, c->mixed, w + at[GPT_ATTN_PROJ_WEIGHT], w + at[GPT_ATTN_PROJ_BIAS], C, C);
    add_to(c->stream, c->branch, C);

    normalize(c->norm, c->stream, w + at[GPT_LN_2_WEIGHT], w + at[GPT_LN_2_BIAS], C);
    linear_decode(c->wide, c->norm, w + at[GPT_FC_WEIGHT], w + at[GPT_FC_BIAS], C, 4 * C);
    gelu_forward(c->wide, c->wide, 4 * (int64_t)C);
    linear_decode(c->branch, c->wide, w + at[GPT_FC_PROJ_WEIGHT], w + at[GPT_FC_PROJ_BIAS], 4 * C, C);
    add_to(c->stream, c->branch, C);
}

void gpt_decode(const struct gpt *g, struct gpt_cache *c, uint8_t token, float *logits) {
    assert(c->positions < c->context);
    int C = c->channels;
    const float *wte = g->weights, *wpe = wte + (int64_t)GPT_VOCABULARY * C, *final = g->weights + gpt_final_at(g);
    for (int i = 0; i < C; i++)
        c->stream[i] = wte[(int64_t)token * C + i] + wpe[(int64_t)c->positions * C + i];
    for (int layer = 0; layer < g->config.layers; layer++)
        decode_block(g, c, layer);
    c->positions++;
    if (!logits)
        return;
    normalize(c->norm, c->stream, final, final + C, C);
    head_decode(logits, c->norm, wte, C, GPT_VOCABULARY);
}
