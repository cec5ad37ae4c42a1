/* The model's shape: where each tensor lies, its name, and what it is before training. gpt_pass.c and gpt_decode.c compute with it. */
#include "jobs/model/gpt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

/* Shapes in channels: rows 0 is a vector. */
static const struct {
    const char *name;
    int rows, columns;
} parts[GPT_PART_COUNT] = {
    [GPT_LN_1_WEIGHT] = {"ln_1.weight", 0, 1},           [GPT_LN_1_BIAS] = {"ln_1.bias", 0, 1},
    [GPT_ATTN_WEIGHT] = {"attn.c_attn.weight", 1, 3},    [GPT_ATTN_BIAS] = {"attn.c_attn.bias", 0, 3},
    [GPT_ATTN_PROJ_WEIGHT] = {"attn.c_proj.weight", 1, 1}, [GPT_ATTN_PROJ_BIAS] = {"attn.c_proj.bias", 0, 1},
    [GPT_LN_2_WEIGHT] = {"ln_2.weight", 0, 1},           [GPT_LN_2_BIAS] = {"ln_2.bias", 0, 1},
    [GPT_FC_WEIGHT] = {"mlp.c_fc.weight", 1, 4},         [GPT_FC_BIAS] = {"mlp.c_fc.bias", 0, 4},
    [GPT_FC_PROJ_WEIGHT] = {"mlp.c_proj.weight", 4, 1},  [GPT_FC_PROJ_BIAS] = {"mlp.c_proj.bias", 0, 1},
};

int gpt_config_check(const struct gpt_config *c, struct error *err) {
    if (c->vocabulary < 2 || c->vocabulary > GPT_VOCABULARY_MAX)
        return error_set(err, ERR_INVALID, "the vocabulary must be 2..%d tokens, not %d", GPT_VOCABULARY_MAX, c->vocabulary);
    if (c->context < 2 || c->context > 65536)
        return error_set(err, ERR_INVALID, "context must be 2..65536 positions, not %d", c->context);
    if (c->layers < 1 || c->layers > 1024)
        return error_set(err, ERR_INVALID, "layers must be 1..1024, not %d", c->layers);
    if (c->channels < 1 || c->channels > 65536)
        return error_set(err, ERR_INVALID, "channels must be 1..65536, not %d", c->channels);
    if (c->heads < 1 || c->channels % c->heads != 0)
        return error_set(err, ERR_INVALID, "channels must be a multiple of heads; %d is not one of %d", c->channels, c->heads);
    return 0;
}

bool gpt_config_equal(const struct gpt_config *a, const struct gpt_config *b) {
    return a->vocabulary == b->vocabulary && a->context == b->context && a->layers == b->layers && a->heads == b->heads &&
           a->channels == b->channels;
}

static int64_t part_count(enum gpt_part part, int64_t channels) {
    int64_t columns = parts[part].columns * channels;
    return parts[part].rows ? parts[part].rows * channels * columns : columns;
}

void gpt_init_layout(struct gpt *g, const struct gpt_config *config) {
    *g = (struct gpt){.config = *config};
    for (int part = 0; part < GPT_PART_COUNT; part++) {
        g->part_at[part] = g->block_count;
        g->block_count += part_count(part, config->channels);
    }
    g->count = gpt_final_at(g) + 2 * config->channels;
}

void gpt_init(struct gpt *g, const struct gpt_config *config) {
    gpt_init_layout(g, config);
    g->weights = xcalloc_large((size_t)g->count * sizeof *g->weights);
}

void gpt_release(struct gpt *g) {
    free(g->weights);
    g->weights = NULL;
}

int64_t gpt_block_at(const struct gpt *g, int layer) {
    return ((int64_t)g->config.vocabulary + g->config.context) * g->config.channels + layer * g->block_count;
}

int64_t gpt_final_at(const struct gpt *g) { return gpt_block_at(g, g->config.layers); }

int gpt_tensor_count(const struct gpt *g) { return 2 + g->config.layers * GPT_PART_COUNT + 2; }

static struct model_tensor tensor(int64_t at, int64_t rows, int64_t columns) {
    if (rows == 0)
        return (struct model_tensor){.dimensions = 1, .shape = {columns}, .at = at, .count = columns};
    return (struct model_tensor){.dimensions = 2, .shape = {rows, columns}, .at = at, .count = rows * columns};
}

struct model_tensor gpt_tensor_at(const struct gpt *g, int i) {
    int64_t C = g->config.channels, V = g->config.vocabulary;
    struct model_tensor t;
    int after_blocks = i - 2 - g->config.layers * GPT_PART_COUNT;
    if (i < 2) {
        t = i == 0 ? tensor(0, V, C) : tensor(V * C, g->config.context, C);
        snprintf(t.name, sizeof t.name, "%s", i == 0 ? "wte.weight" : "wpe.weight");
    } else if (after_blocks >= 0) {
        t = tensor(gpt_final_at(g) + after_blocks * C, 0, C);
        snprintf(t.name, sizeof t.name, "%s", after_blocks == 0 ? "ln_f.weight" : "ln_f.bias");
    } else {
        int layer = (i - 2) / GPT_PART_COUNT, part = (i - 2) % GPT_PART_COUNT;
        t = tensor(gpt_block_at(g, layer) + g->part_at[part], parts[part].rows * C, parts[part].columns * C);
        snprintf(t.name, sizeof t.name, "h.%d.%s", layer, parts[part].name);
    }
    return t;
}

/* Matrices normal, with the deviation of GPT-2 (0.02 at 768 channels) carried to other widths by the root; the two that end a residual
 * branch smaller with depth; norms 1; biases 0. */
void gpt_randomize(struct gpt *g, uint64_t seed) {
    float base = 0.02f * sqrtf(768.0f / (float)g->config.channels);
    for (int i = 0; i < gpt_tensor_count(g); i++) {
        struct model_tensor t = gpt_tensor_at(g, i);
        bool norm = t.dimensions == 1 && strstr(t.name, "ln_") && strstr(t.name, "weight");
        float deviation = strstr(t.name, "c_proj") ? base / sqrtf(2.0f * (float)g->config.layers) : base;
        for (int64_t k = 0; k < t.count; k++)
            g->weights[t.at + k] = t.dimensions == 2 ? deviation * random_normal(seed, (uint64_t)i, (uint64_t)k) : norm ? 1.0f : 0.0f;
    }
}

double gpt_training_flops_per_token(const struct gpt_config *c, int positions) {
    double products = 12.0 * c->layers * c->channels * c->channels + (double)c->vocabulary * c->channels;
    double attention = (double)c->layers * positions * c->channels;   /* two products of T/2 * C on average, q.k and weights.v */
    return 6.0 * (products + attention);
}
