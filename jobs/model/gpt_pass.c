/* One pass forward and backward over a batch. Invariant: a stretch of the gradient is handed to ready() once, after its last addition. */
#include <assert.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/model/gpt.h"

enum { ALIGNMENT = 256 };

/* What a block keeps of its forward: activations, and the statistics of its norms and of its softmax. */
struct block_pass {
    void *ln_1, *qkv, *mixed;
    void *middle;   /* the residual stream after attention */
    void *ln_2, *fc, *gelu;
    void *out;      /* the residual stream after the block */
    float *ln_1_mean, *ln_1_rstd, *lse, *ln_2_mean, *ln_2_rstd;
};

struct gpt_pass {
    const struct backend *backend;
    int sequences, positions;   /* as allocated */
    int rows;                   /* of the last forward */
    int stride;                 /* of the logits' rows */
    char *memory;
    void *embedded;
    struct block_pass *blocks;
    void *ln_f, *logits;
    float *ln_f_mean, *ln_f_rstd, *losses;
    void *d_stream, *d_branch, *d_wide;   /* gradients: [N,C], [N,C], [N,4C] */
    float *told;                          /* the losses, in host memory */
};

/* Lays the arrays one after the other; with p->memory NULL it only counts. */
static int64_t carve(struct gpt_pass *p, const struct gpt_config *config, size_t element, int64_t N) {
    int64_t C = config->channels, used = 0;
#define CARVE(field, count, size) \
    (field) = p->memory ? (void *)(p->memory + used) : NULL, used += ((count) * (int64_t)(size) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
    CARVE(p->embedded, N * C, element);
    for (int l = 0; l < config->layers; l++) {
        struct block_pass *b = &p->blocks[l];
        CARVE(b->ln_1, N * C, element);
        CARVE(b->ln_1_mean, N, sizeof(float));
        CARVE(b->ln_1_rstd, N, sizeof(float));
        CARVE(b->qkv, N * 3 * C, element);
        CARVE(b->lse, N * config->heads, sizeof(float));
        CARVE(b->mixed, N * C, element);
        CARVE(b->middle, N * C, element);
        CARVE(b->ln_2, N * C, element);
        CARVE(b->ln_2_mean, N, sizeof(float));
        CARVE(b->ln_2_rstd, N, sizeof(float));
        CARVE(b->fc, N * 4 * C, element);
        CARVE(b->gelu, N * 4 * C, element);
        CARVE(b->out, N * C, element);
    }
    CARVE(p->ln_f, N * C, element);
    CARVE(p->ln_f_mean, N, sizeof(float));
    CARVE(p->ln_f_rstd, N, sizeof(float));
    CARVE(p->logits, N * (config->vocabulary + LOGITS_MULTIPLE - 1), element);   /* whatever their stride */
    CARVE(p->losses, N, sizeof(float));
    CARVE(p->d_stream, N * C, element);
    CARVE(p->d_branch, N * C, element);
    CARVE(p->d_wide, N * 4 * C, element);
#undef CARVE
    return used;
}

int64_t gpt_pass_bytes(const struct gpt_config *config, size_t element, int sequences, int positions) {
    struct gpt_pass p = {.blocks = xcalloc((size_t)config->layers, sizeof(struct block_pass))};
    int64_t bytes = carve(&p, config, element, (int64_t)sequences * positions);
    free(p.blocks);
    return bytes;
}

struct gpt_pass *gpt_pass_new(const struct gpt *g, const struct backend *backend, int sequences, int positions) {
    assert(sequences > 0 && positions > 0 && positions <= g->config.context);
    struct gpt_pass *p = xcalloc(1, sizeof *p);
    int64_t rows = (int64_t)sequences * positions;
    p->backend = backend;
    p->sequences = sequences;
    p->positions = positions;
    p->stride = backend_logits_stride(backend, g->config.vocabulary);
    p->blocks = xcalloc((size_t)g->config.layers, sizeof *p->blocks);
    p->memory = backend->operations->allocate((size_t)gpt_pass_bytes(&g->config, backend->element, sequences, positions));
    p->told = xcalloc((size_t)rows, sizeof *p->told);
    carve(p, &g->config, backend->element, rows);
    return p;
}

void gpt_pass_free(struct gpt_pass *p) {
    if (!p)
        return;
    p->backend->operations->release(p->memory);
    free(p->told);
    free(p->blocks);
    free(p);
}

static const float *weight(const struct gpt *g, int layer, enum gpt_part part) {
    return g->weights + gpt_block_at(g, layer) + g->part_at[part];
}

static void block_forward(const struct gpt *g, const struct backend_operations *o, int l, struct block_pass *b, const void *in, int B,
                          int T) {
    int N = B * T, C = g->config.channels;
    int64_t size = (int64_t)N * C;
    o->layernorm_forward(b->ln_1, b->ln_1_mean, b->ln_1_rstd, in, weight(g, l, GPT_LN_1_WEIGHT), weight(g, l, GPT_LN_1_BIAS), N, C);
    o->linear_forward(b->qkv, b->ln_1, weight(g, l, GPT_ATTN_WEIGHT), weight(g, l, GPT_ATTN_BIAS), N, C, 3 * C);
    o->attention_forward(b->mixed, b->lse, b->qkv, B, T, C, g->config.heads);
    o->linear_forward(b->middle, b->mixed, weight(g, l, GPT_ATTN_PROJ_WEIGHT), weight(g, l, GPT_ATTN_PROJ_BIAS), N, C, C);
    o->add_to(b->middle, in, size);
    o->layernorm_forward(b->ln_2, b->ln_2_mean, b->ln_2_rstd, b->middle, weight(g, l, GPT_LN_2_WEIGHT), weight(g, l, GPT_LN_2_BIAS), N, C);
    o->linear_forward(b->fc, b->ln_2, weight(g, l, GPT_FC_WEIGHT), weight(g, l, GPT_FC_BIAS), N, C, 4 * C);
    o->gelu_forward(b->gelu, b->fc, 4 * size);
    o->linear_forward(b->out, b->gelu, weight(g, l, GPT_FC_PROJ_WEIGHT), weight(g, l, GPT_FC_PROJ_BIAS), N, 4 * C, C);
    o->add_to(b->out, b->middle, size);
}

double gpt_forward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, const int32_t *targets, int sequences, float scale) {
    assert(sequences <= p->sequences);
    const struct backend_operations *o = p->backend->operations;
    int T = p->positions, N = sequences * T, C = g->config.channels, V = g->config.vocabulary;
    const float *wte = g->weights, *wpe = wte + (int64_t)V * C, *final = g->weights + gpt_final_at(g);
    p->rows = N;
    o->embedding_forward(p->embedded, tokens, wte, wpe, N, T, C);
    const void *stream = p->embedded;
    for (int l = 0; l < g->config.layers; l++) {
        block_forward(g, o, l, &p->blocks[l], stream, sequences, T);
        stream = p->blocks[l].out;
    }
    o->layernorm_forward(p->ln_f, p->ln_f_mean, p->ln_f_rstd, stream, final, final + C, N, C);
    o->head_forward(p->logits, p->ln_f, wte, N, C, V, p->stride);
    o->cross_entropy(p->losses, p->logits, targets, N, V, p->stride, scale);
    double sum = 0;
    o->download(p->told, p->losses, (size_t)N * sizeof *p->told);
    for (int n = 0; n < N; n++)
        sum += p->told[n];
    return sum;
}

/* p->d_stream comes in as the gradient of the block's output and goes out as that of its input. */
static void block_backward(const struct gpt *g, int l, struct gpt_pass *p, const void *in, float *gradient) {
    const struct backend_operations *o = p->backend->operations;
    const struct block_pass *b = &p->blocks[l];
    int N = p->rows, T = p->positions, C = g->config.channels;
    float *grad = gradient + gpt_block_at(g, l);
    const int64_t *at = g->part_at;

    o->linear_backward(p->d_wide, grad + at[GPT_FC_PROJ_WEIGHT], grad + at[GPT_FC_PROJ_BIAS], p->d_stream, b->gelu,
                       weight(g, l, GPT_FC_PROJ_WEIGHT), N, 4 * C, C);
    o->gelu_backward(p->d_wide, p->d_wide, b->fc, (int64_t)N * 4 * C);
    o->linear_backward(p->d_branch, grad + at[GPT_FC_WEIGHT], grad + at[GPT_FC_BIAS], p->d_wide, b->ln_2, weight(g, l, GPT_FC_WEIGHT), N, C,
                       4 * C);
    o->layernorm_backward(p->d_stream, grad + at[GPT_LN_2_WEIGHT], grad + at[GPT_LN_2_BIAS], p->d_branch, b->middle,
                          weight(g, l, GPT_LN_2_WEIGHT), b->ln_2_mean, b->ln_2_rstd, N, C);

    o->linear_backward(p->d_branch, grad + at[GPT_ATTN_PROJ_WEIGHT], grad + at[GPT_ATTN_PROJ_BIAS], p->d_stream, b->mixed,
                       weight(g, l, GPT_ATTN_PROJ_WEIGHT), N, C, C);
    o->attention_backward(p->d_wide, p->d_branch, b->mixed, b->lse, b->qkv, N / T, T, C, g->config.heads);
    o->linear_backward(p->d_branch, grad + at[GPT_ATTN_WEIGHT], grad + at[GPT_ATTN_BIAS], p->d_wide, b->ln_1, weight(g, l, GPT_ATTN_WEIGHT),
                       N, C, 3 * C);
    o->layernorm_backward(p->d_stream, grad + at[GPT_LN_1_WEIGHT], grad + at[GPT_LN_1_BIAS], p->d_branch, in, weight(g, l, GPT_LN_1_WEIGHT),
                          b->ln_1_mean, b->ln_1_rstd, N, C);
}

void gpt_backward(const struct gpt *g, struct gpt_pass *p, const int32_t *tokens, float *gradient, model_ready_fn *ready, void *context) {
    const struct backend_operations *o = p->backend->operations;
    int N = p->rows, C = g->config.channels, V = g->config.vocabulary, last = g->config.layers - 1;
    int64_t final_at = gpt_final_at(g);
    o->head_backward(p->d_branch, gradient, p->logits, p->ln_f, g->weights, N, C, V, p->stride);
    o->clear(p->d_stream, (size_t)N * (size_t)C * p->backend->element);
    o->layernorm_backward(p->d_stream, gradient + final_at, gradient + final_at + C, p->d_branch, p->blocks[last].out,
                          g->weights + final_at, p->ln_f_mean, p->ln_f_rstd, N, C);
    for (int l = last; l >= 0; l--) {
        block_backward(g, l, p, l > 0 ? p->blocks[l - 1].out : p->embedded, gradient);
        if (ready)   /* the final norm goes with the last block: it is too small for a message of its own */
            ready(context, gpt_block_at(g, l), g->block_count + (l == last ? 2 * C : 0));
    }
    o->embedding_backward(gradient, gradient + (int64_t)V * C, p->d_stream, tokens, N, p->positions, C);
    if (ready)
        ready(context, 0, gpt_block_at(g, 0));
}
