#include "jobs/model/mlp.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

enum { SIZE_MAX_INPUTS = 1 << 24, CLASSES_MAX = 256, ALIGNMENT = 256 };

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
    const struct backend *backend;
    int samples;                  /* as allocated */
    int used;                     /* by the last forward */
    char *memory;
    void *out[MLP_LAYERS_MAX];    /* of each layer, after ReLU; the last holds the logits, then their gradient */
    float *logits, *losses;
    void *d_out, *d_in;           /* gradients, as wide as the widest hidden layer */
    float *told_logits, *told_losses;   /* in host memory */
    int32_t *told_labels;
};

/* Lays the arrays one after the other; with p->memory NULL it only counts. */
static int64_t carve(struct mlp_pass *p, const struct mlp *m, size_t element, int64_t N) {
    int64_t used = 0, widest = 1, classes = m->config.sizes[m->config.layers];
#define CARVE(field, count, size) \
    (field) = p->memory ? (void *)(p->memory + used) : NULL, used += ((count) * (int64_t)(size) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
    for (int l = 0; l < m->config.layers; l++) {
        CARVE(p->out[l], N * m->config.sizes[l + 1], element);
        widest = l > 0 && m->config.sizes[l] > widest ? m->config.sizes[l] : widest;
    }
    CARVE(p->logits, N * classes, sizeof(float));
    CARVE(p->losses, N, sizeof(float));
    CARVE(p->d_out, N * widest, element);
    CARVE(p->d_in, N * widest, element);
#undef CARVE
    return used;
}

int64_t mlp_pass_bytes(const struct mlp *m, size_t element, int samples) {
    struct mlp_pass p = {0};
    return carve(&p, m, element, samples);
}

struct mlp_pass *mlp_pass_new(const struct mlp *m, const struct backend *backend, int samples) {
    assert(samples > 0);
    struct mlp_pass *p = xcalloc(1, sizeof *p);
    size_t rows = (size_t)samples;
    p->backend = backend;
    p->samples = samples;
    p->memory = backend->operations->allocate((size_t)mlp_pass_bytes(m, backend->element, samples));
    carve(p, m, backend->element, samples);
    p->told_logits = xcalloc(rows * (size_t)m->config.sizes[m->config.layers], sizeof *p->told_logits);
    p->told_losses = xcalloc(rows, sizeof *p->told_losses);
    p->told_labels = xcalloc(rows, sizeof *p->told_labels);
    return p;
}

void mlp_pass_free(struct mlp_pass *p) {
    if (!p)
        return;
    p->backend->operations->release(p->memory);
    free(p->told_logits);
    free(p->told_losses);
    free(p->told_labels);
    free(p);
}

/* From what is in host memory. */
static struct mlp_result sum_up(const struct mlp_pass *p, int classes) {
    struct mlp_result r = {0};
    const float *logits = p->told_logits;
    for (int n = 0; n < p->used; n++, logits += classes) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = logits[c] > logits[best] ? c : best;
        r.correct += best == p->told_labels[n];
        r.loss += p->told_losses[n];
    }
    return r;
}

const float *mlp_logits(const struct mlp_pass *p) { return p->told_logits; }

struct mlp_result mlp_forward(const struct mlp *m, const float *weights, struct mlp_pass *p, const void *in, const int32_t *labels,
                              int samples, float scale) {
    assert(samples <= p->samples);
    const struct backend_operations *o = p->backend->operations;
    int last = m->config.layers - 1, classes = m->config.sizes[last + 1];
    p->used = samples;
    for (int l = 0; l <= last; l++) {
        int K = m->config.sizes[l], M = m->config.sizes[l + 1];
        o->dense_forward(p->out[l], in, weights + layer_at(m, l), weights + bias_at(m, l), samples, K, M);
        if (l < last)
            o->relu_forward(p->out[l], (int64_t)samples * M);
        in = p->out[l];
    }
    size_t rows = (size_t)samples;
    o->to_floats(p->logits, p->out[last], (int64_t)samples * classes);
    o->cross_entropy(p->losses, p->out[last], labels, samples, classes, classes, scale);
    o->download(p->told_logits, p->logits, rows * (size_t)classes * sizeof(float));
    o->download(p->told_losses, p->losses, rows * sizeof(float));
    o->download(p->told_labels, labels, rows * sizeof *labels);
    return sum_up(p, classes);
}

void mlp_backward(const struct mlp *m, const float *weights, struct mlp_pass *p, const void *in, float *gradient, void *din,
                  model_ready_fn *ready, void *context) {
    const struct backend_operations *o = p->backend->operations;
    int last = m->config.layers - 1;
    const void *d_out = p->out[last];
    for (int l = last; l >= 0; l--) {
        int K = m->config.sizes[l], M = m->config.sizes[l + 1];
        int64_t at = layer_at(m, l);
        void *d_in = l == 0 ? din : (last - l) % 2 ? p->d_out : p->d_in;   /* by turns */
        const void *layer_in = l == 0 ? in : p->out[l - 1];
        o->dense_backward(d_in, gradient + at, gradient + bias_at(m, l), d_out, layer_in, weights + at, p->used, K, M);
        if (l > 0)
            o->relu_backward(d_in, layer_in, (int64_t)p->used * K);
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
