/* One pass forward and backward over a batch. Invariant: a stretch of the gradient is handed to ready() once, after its last addition. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/gpt.h"

/* What a block keeps of its forward. */
struct block_pass {
    float *ln_1, *ln_1_mean, *ln_1_rstd;
    float *qkv, *lse, *mixed;
    float *middle;   /* the residual stream after attention */
    float *ln_2, *ln_2_mean, *ln_2_rstd;
    float *fc, *gelu;
    float *out;      /* the residual stream after the block */
};

struct gpt_pass {
    int sequences, positions;   /* as allocated */
    int rows;                   /* of the last forward */
    float *memory;
    float *embedded;
    struct block_pass *blocks;
    float *ln_f, *ln_f_mean, *ln_f_rstd, *logits, *losses;
    float *d_stream, *d_branch, *d_wide;   /* gradients: [N,C], [N,C], [N,4C] */
};

/* Lays the arrays one after the other; with p->memory NULL it only counts. */
static int64_t carve(struct gpt_pass *p, const struct gpt_config *config, int64_t N) {
    int64_t C = config->channels, used = 0;
#define CARVE(field, size) (field) = p->memory ? p->memory + used : NULL, used += ((size) + 15) / 16 * 16
    CARVE(p->embedded, N * C);
    for (int l = 0; l < config->layers; l++) {
        struct block_pass *b = &p->blocks[l];
        CARVE(b->ln_1, N * C);
        CARVE(b->ln_1_mean, N);
        CARVE(b->ln_1_rstd, N);
        CARVE(b->qkv, N * 3 * C);
        CARVE(b->lse, N * config->heads);
        CARVE(b->mixed, N * C);
        CARVE(b->middle, N * C);
        CARVE(b->ln_2, N * C);
        CARVE(b->ln_2_mean, N);
        CARVE(b->ln_2_rstd, N);
        CARVE(b->fc, N * 4 * C);
        CARVE(b->gelu, N * 4 * C);
        CARVE(b->out, N * C);
    }
    CARVE(p->ln_f, N * C);
    CARVE(p->ln_f_mean, N);
    CARVE(p->ln_f_rstd, N);
    CARVE(p->logits, N * config->vocabulary);
    CARVE(p->losses, N);
    CARVE(p->d_stream, N * C);
    CARVE(p->d_branch, N * C);
    CARVE(p->d_wide, N * 4 * C);
#undef CARVE
    return used;
}

int64_t gpt_pass_bytes(const struct gpt_config *config, int sequences, int positions) {
    struct gpt_pass p = {.blocks = xcalloc((size_t)config->layers, sizeof(struct block_pass))};
    int64_t bytes = carve(&p, config, (int64_t)sequences * positions) * (int64_t)sizeof(float);
    free(p.blocks);
    return bytes;
}

struct gpt_pass *gpt_pass_new(const struct gpt *g, int sequences, int positions) {
    assert(sequences > 0 && positions > 0 && positions <= g->config.context);
    struct gpt_pass *p = xcalloc(1, sizeof *p);
    p->sequences = sequences;
    p->positions = positions;
    p->blocks = xcalloc((size_t)g->config.layers, sizeof *p->blocks);
    p->memory = xmalloc((size_t)gpt_pass_bytes(&g->config, sequences, positions));
    carve(p, &g->config, (int64_t)sequences * positions);
    return p;
}

void gpt_pass_free(struct gpt_pass *p) {
    if (!p)
        return;
    free(p->memory);
    free(p->blocks);
    free(p);
}

static const float *weight(const struct gpt *g, int layer, enum gpt_part part) {
    return g->weights + gpt_block_at(g, layer) + g->part_at[part];
}

static void block_forward(const struct gpt *g, int l, struct block_pass *b, const float *in, int B, int T) {
    int N = B * T, C = g->config.channels;
    int64_t size = (int64_t)N * C;
    layernorm_forward(b->ln_1, b->ln_1_mean, b->ln_1_rstd, in, weight(g, l, GPT_LN_1_WEIGHT), weight(g, l, GPT_LN_1_BIAS), N, C);
    linear_forward(b->qkv, b->ln_1, weight(g, l, GPT_ATTN_WEIGHT), weight(g, l, GPT_ATTN_BIAS), N, C, 3 * C);
    attention_forward(b->mixed, b->lse, b->qkv, B, T, C, g->config.heads);
    linear_forward(b->middle, b->mixed, weight(g, l, GPT_ATTN_PROJ_WEIGHT), weight(g, l, GPT_ATTN_PROJ_BIAS), N, C, C);
    add_to(b->middle, in, size);
    layernorm_forward(b->ln_2, b->ln_2_mean, b->ln_2_rstd, b->middle, weight(g, l, GPT_LN_2_WEIGHT), weight(g, l, GPT_LN_2_BIAS), N, C);
    linear_forward(b->fc, b->ln_2, weight(g, l, GPT_FC_WEIGHT), weight(g, l, GPT_FC_BIAS), N, C, 4 * C);
    gelu_forward(b->gelu, b->fc, 4 * size);
    linear_forward(b->out, b->gelu, weight(g, l, GPT_FC_PROJ_WEIGHT), weight(g, l, GPT_FC_PROJ_BIAS), N, 4 * C, C);
    add_to(b->out, b->middle, size);
}

double gpt_forward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, const int32_t *targets, int sequences, float scale) {
    assert(sequences <= p->sequences);
    int T = p->positions, N = sequences * T, C = g->config.channels, V = g->config.vocabulary;
    const float *wte = g->weights, *wpe = wte + (int64_t)V * C, *final = g->weights + gpt_final_at(g);
    p->rows = N;
    embedding_forward(p->embedded, tokens, wte, wpe, N, T, C);
    const float *stream = p->embedded;
    for (int l = 0; l < g->config.layers; l++) {
        block_forward(g, l, &p->blocks[l], stream, sequences, T);
        stream = p->blocks[l].out;
    }
    layernorm_forward(p->ln_f, p->ln_f_mean, p->ln_f_rstd, stream, final, final + C, N, C);
    head_forward(p->logits, p->ln_f, wte, N, C, V);
    cross_entropy(p->losses, p->logits, targets, N, V, scale);
    double sum = 0;
    for (int n = 0; n < N; n++)
        sum += p->losses[n];
    return sum;
}

/* p->d_stream comes in as the gradient of the block's output and goes out as that of its input. */
static void block_backward(const struct gpt *g, int l, struct gpt_pass *p, const float *in, float *gradient) {
    const struct block_pass *b = &p->blocks[l];
    int N = p->rows, T = p->positions, C = g->config.channels;
    float *grad = gradient + gpt_block_at(g, l);
    const int64_t *at = g->part_at;

    linear_backward(p->d_wide, grad + at[GPT_FC_PROJ_WEIGHT], grad + at[GPT_FC_PROJ_BIAS], p->d_stream, b->gelu,
                    weight(g, l, GPT_FC_PROJ_WEIGHT), N, 4 * C, C);
    gelu_backward(p->d_wide, p->d_wide, b->fc, (int64_t)N * 4 * C);
    linear_backward(p->d_branch, grad + at[GPT_FC_WEIGHT], grad + at[GPT_FC_BIAS], p->d_wide, b->ln_2, weight(g, l, GPT_FC_WEIGHT), N, C,
                    4 * C);
    layernorm_backward(p->d_stream, grad + at[GPT_LN_2_WEIGHT], grad + at[GPT_LN_2_BIAS], p->d_branch, b->middle,
                       weight(g, l, GPT_LN_2_WEIGHT), b->ln_2_mean, b->ln_2_rstd, N, C);

    linear_backward(p->d_branch, grad + at[GPT_ATTN_PROJ_WEIGHT], grad + at[GPT_ATTN_PROJ_BIAS], p->d_stream, b->mixed,
                    weight(g, l, GPT_ATTN_PROJ_WEIGHT), N, C, C);
    attention_backward(p->d_wide, p->d_branch, b->mixed, b->lse, b->qkv, N / T, T, C, g->config.heads);
    linear_backward(p->d_branch, grad + at[GPT_ATTN_WEIGHT], grad + at[GPT_ATTN_BIAS], p->d_wide, b->ln_1, weight(g, l, GPT_ATTN_WEIGHT),
                    N, C, 3 * C);
    layernorm_backward(p->d_stream, grad + at[GPT_LN_1_WEIGHT], grad + at[GPT_LN_1_BIAS], p->d_branch, in, weight(g, l, GPT_LN_1_WEIGHT),
                       b->ln_1_mean, b->ln_1_rstd, N, C);
}

void gpt_backward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, float *gradient, model_ready_fn *ready, void *context) {
    int N = p->rows, C = g->config.channels, V = g->config.vocabulary, last = g->config.layers - 1;
    int64_t final_at = gpt_final_at(g);
    head_backward(p->d_branch, gradient, p->logits, p->ln_f, g->weights, N, C, V);
    memset(p->d_stream, 0, (size_t)N * C * sizeof *p->d_stream);
    layernorm_backward(p->d_stream, gradient + final_at, gradient + final_at + C, p->d_branch, p->blocks[last].out, g->weights + final_at,
                       p->ln_f_mean, p->ln_f_rstd, N, C);
    for (int l = last; l >= 0; l--) {
        block_backward(g, l, p, l > 0 ? p->blocks[l - 1].out : p->embedded, gradient);
        if (ready)   /* the final norm goes with the last block: it is too small for a message of its own */
            ready(context, gpt_block_at(g, l), g->block_count + (l == last ? 2 * C : 0));
    }
    embedding_backward(gradient, gradient + (int64_t)V * C, p->d_stream, tokens, N, p->positions, C);
    if (ready)
        ready(context, 0, gpt_block_at(g, 0));
}
