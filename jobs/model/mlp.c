#include "jobs/model/mlp.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/model/random.h"

enum { SIZE_MAX_INPUTS = 1 << 24, CLASSES_MAX = 256, ALIGNMENT = 16 };

int mlp_config_check(const struct mlp_config *c, struct error *err) {
    if (c->layers < 1 || c->layers > MLP_LAYERS_MAX)
        return error_set(err, ERR_INVALID, "dense layers must be 1..%d, not %d", MLP_LAYERS_MAX, c->layers);
    for (int l = 0; l < c->layers; l++)
        if (c->sizes[l] < 1 || c->sizes[l] > SIZE_MAX_INPUTS)
            return error_set(err, ERR_INVALID, "the inputs of dense layer %d must be 1..%d, not %d", l, SIZE_MAX_INPUTS, c->sizes[l]);
    if (c->sizes[c->layers] < 2 || c->sizes[c->layers] > CLASSES_MAX)
        return error_set(err, ERR_INVALID, "classes must be 2..%d, not %d", CLASSES_MAX, c->sizes[c->layers]);
    return 0;
}

static int64_t layer_count(const struct mlp *m, int l) { return (m->config.sizes[l] + (int64_t)1) * m->config.sizes[l + 1]; }

static int64_t layer_at(const struct mlp *m, int l) {
    int64_t at = m->first;
    for (int before = 0; before < l; before++)
        at += layer_count(m, before);
    return at;
}

/* The bias lies behind the weights. */
static int64_t bias_at(const struct mlp *m, int l) { return layer_at(m, l + 1) - m->config.sizes[l + 1]; }

void mlp_init(struct mlp *m, const struct mlp_config *config, int64_t first) {
    *m = (struct mlp){.config = *config, .first = first};
    m->count = layer_at(m, config->layers) - first;
}

int mlp_tensor_count(const struct mlp *m) { return 2 * m->config.layers; }

struct model_tensor mlp_tensor_at(const struct mlp *m, int i) {
    int l = i / 2;
    int64_t K = m->config.sizes[l], M = m->config.sizes[l + 1];
    struct model_tensor t = {.dimensions = 2, .shape = {K, M}, .at = layer_at(m, l), .count = K * M};
    if (i % 2)
        t = (struct model_tensor){.dimensions = 1, .shape = {M}, .at = bias_at(m, l), .count = M};
    snprintf(t.name, sizeof t.name, "fc.%d.%s", l, i % 2 ? "bias" : "weight");
    return t;
}

void mlp_randomize(const struct mlp *m, float *weights, uint64_t seed) {
    for (int i = 0; i < mlp_tensor_count(m); i++) {
        struct model_tensor t = mlp_tensor_at(m, i);
        float deviation = t.dimensions == 2 ? sqrtf(2.0f / (float)t.shape[0]) : 0;
        for (int64_t k = 0; k < t.count; k++)
            weights[t.at + k] = deviation * random_normal(seed, (uint64_t)t.at, (uint64_t)k);
    }
}

struct mlp_pass {
    int samples;              /* as allocated */
    int used;                 /* by the last forward */
    float *memory;
    float *out[MLP_LAYERS_MAX];   /* of each layer, after ReLU; the last holds the logits, then their gradient */
    float *losses;
    float *d_out, *d_in;      /* gradients, as wide as the widest hidden layer */
};

/* Lays the arrays one after the other; with p->memory NULL it only counts. */
static int64_t carve(struct mlp_pass *p, const struct mlp *m, int64_t N) {
    int64_t used = 0, widest = 1;
#define CARVE(field, size) (field) = p->memory ? p->memory + used : NULL, used += ((size) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
    for (int l = 0; l < m->config.layers; l++) {
        CARVE(p->out[l], N * m->config.sizes[l + 1]);
        widest = l > 0 && m->config.sizes[l] > widest ? m->config.sizes[l] : widest;
    }
    CARVE(p->losses, N);
    CARVE(p->d_out, N * widest);
    CARVE(p->d_in, N * widest);
#undef CARVE
    return used;
}

int64_t mlp_pass_bytes(const struct mlp *m, int samples) {
    struct mlp_pass p = {0};
    return carve(&p, m, samples) * (int64_t)sizeof(float);
}

struct mlp_pass *mlp_pass_new(const struct mlp *m, int samples) {
    assert(samples > 0);
    struct mlp_pass *p = xcalloc(1, sizeof *p);
    p->samples = samples;
    p->memory = xmalloc((size_t)mlp_pass_bytes(m, samples));
    carve(p, m, samples);
    return p;
}

void mlp_pass_free(struct mlp_pass *p) {
    if (!p)
        return;
    free(p->memory);
    free(p);
}

static int count_correct(const float *logits, const int32_t *labels, int N, int classes) {
    int correct = 0;
    for (int n = 0; n < N; n++, logits += classes) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = logits[c] > logits[best] ? c : best;
        correct += best == labels[n];
    }
    return correct;
}

const float *mlp_logits(const struct mlp *m, const struct mlp_pass *p) { return p->out[m->config.layers - 1]; }

struct mlp_result mlp_forward(const struct mlp *m, const float *weights, struct mlp_pass *p, const float *in, const int32_t *labels,
                              int samples, float scale) {
    assert(samples <= p->samples);
    int last = m->config.layers - 1, classes = m->config.sizes[last + 1];
    p->used = samples;
    for (int l = 0; l <= last; l++) {
        int K = m->config.sizes[l], M = m->config.sizes[l + 1];
        dense_forward(p->out[l], in, weights + layer_at(m, l), weights + bias_at(m, l), samples, K, M);
        if (l < last)
            relu_forward(p->out[l], (int64_t)samples * M);
        in = p->out[l];
    }
    struct mlp_result r = {.correct = count_correct(p->out[last], labels, samples, classes)};
    cross_entropy(p->losses, p->out[last], labels, samples, classes, scale);
    for (int n = 0; n < samples; n++)
        r.loss += p->losses[n];
    return r;
}

void mlp_backward(const struct mlp *m, const float *weights, struct mlp_pass *p, const float *in, float *gradient, float *din,
                  model_ready_fn *ready, void *context) {
    int last = m->config.layers - 1;
    const float *d_out = p->out[last];
    for (int l = last; l >= 0; l--) {
        int K = m->config.sizes[l], M = m->config.sizes[l + 1];
        int64_t at = layer_at(m, l);
        float *d_in = l == 0 ? din : (last - l) % 2 ? p->d_out : p->d_in;   /* by turns */
        const float *layer_in = l == 0 ? in : p->out[l - 1];
        dense_backward(d_in, gradient + at, gradient + bias_at(m, l), d_out, layer_in, weights + at, p->used, K, M);
        if (l > 0)
            relu_backward(d_in, layer_in, (int64_t)p->used * K);
        if (ready)
            ready(context, at, layer_count(m, l));
        d_out = d_in;
    }
}

double mlp_training_flops(const struct mlp *m, int with_din) {
    double flops = 0;
    for (int l = 0; l < m->config.layers; l++)
        flops += (l > 0 || with_din ? 6.0 : 4.0) * m->config.sizes[l] * m->config.sizes[l + 1];
    return flops;
}
