#include "jobs/model/cnn.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/model/random.h"

enum { SIDE_MAX = 4096, CHANNELS_MAX = 65536, KERNEL_MAX = 31, ALIGNMENT = 256 };

const struct cnn_config cnn_config_mnist = {
    .height = 28, .width = 28, .channels = 1, .stages = 2, .outputs = {32, 64}, .kernel = 5, .hidden = 128, .classes = 10};

/* ---- the layout ---- */

static struct mlp_config dense_config(const struct cnn_config *c) {
    int64_t inputs = (int64_t)(c->height >> c->stages) * (c->width >> c->stages) * c->outputs[c->stages - 1];
    return (struct mlp_config){.layers = 2, .sizes = {inputs > INT32_MAX ? INT32_MAX : (int)inputs, c->hidden, c->classes}};
}

int cnn_config_check(const struct cnn_config *c, struct error *err) {
    if (c->stages < 1 || c->stages > CNN_STAGES_MAX)
        return error_set(err, ERR_INVALID, "stages must be 1..%d, not %d", CNN_STAGES_MAX, c->stages);
    int side = 1 << c->stages;
    if (c->height < side || c->height > SIDE_MAX || c->height % side || c->width < side || c->width > SIDE_MAX || c->width % side)
        return error_set(err, ERR_INVALID, "with %d stages the height and width of images must be multiples of %d up to %d, not %d x %d",
                         c->stages, side, SIDE_MAX, c->height, c->width);
    if (c->kernel < 1 || c->kernel > KERNEL_MAX || c->kernel % 2 == 0)
        return error_set(err, ERR_INVALID, "kernel must be odd and 1..%d, not %d", KERNEL_MAX, c->kernel);
    if (c->channels < 1 || c->channels > CHANNELS_MAX)
        return error_set(err, ERR_INVALID, "channels of an image must be 1..%d, not %d", CHANNELS_MAX, c->channels);
    for (int s = 0; s < c->stages; s++)
        if (c->outputs[s] < 1 || c->outputs[s] > CHANNELS_MAX)
            return error_set(err, ERR_INVALID, "channels of stage %d must be 1..%d, not %d", s, CHANNELS_MAX, c->outputs[s]);
    struct mlp_config dense = dense_config(c);
    return mlp_config_check(&dense, err);
}

static int64_t conv_count(const struct conv *s) { return (int64_t)s->kernel * s->kernel * s->inputs * s->outputs; }

/* A stage has its weights, then a bias; with a norm, whose mean takes a bias away, the norm's weight and bias instead. */
static int64_t stage_count(const struct cnn *c, int stage) {
    return conv_count(&c->convs[stage]) + (c->config.batch_norm ? 2 : 1) * (int64_t)c->convs[stage].outputs;
}

static int64_t stage_at(const struct cnn *c, int stage) {
    int64_t at = 0;
    for (int s = 0; s < stage; s++)
        at += stage_count(c, s);
    return at;
}

/* A stage's running mean, and behind it the variance. */
static int64_t statistics_at(const struct cnn *c, int stage) {
    int64_t at = c->trained;
    for (int s = 0; s < stage; s++)
        at += 2 * c->convs[s].outputs;
    return at;
}

void cnn_init(struct cnn *c, const struct cnn_config *config) {
    *c = (struct cnn){.config = *config};
    for (int s = 0; s < config->stages; s++)
        c->convs[s] = (struct conv){.height = config->height >> s, .width = config->width >> s,
                                    .inputs = s ? config->outputs[s - 1] : config->channels, .outputs = config->outputs[s],
                                    .kernel = config->kernel, .padding = config->kernel / 2};
    struct mlp_config dense = dense_config(config);
    mlp_init(&c->dense, &dense, stage_at(c, config->stages));
    c->trained = c->dense.first + c->dense.count;
    c->count = config->batch_norm ? statistics_at(c, config->stages) : c->trained;
}

static int tensors_of_a_stage(const struct cnn *c) { return c->config.batch_norm ? 3 : 2; }

int cnn_tensor_count(const struct cnn *c) {
    int stages = c->config.stages;
    return stages * tensors_of_a_stage(c) + mlp_tensor_count(&c->dense) + (c->config.batch_norm ? 2 * stages : 0);
}

static struct model_tensor vector_tensor(int64_t at, int64_t count, const char *of, int stage, const char *part) {
    struct model_tensor t = {.dimensions = 1, .shape = {count}, .at = at, .count = count};
    snprintf(t.name, sizeof t.name, "%s.%d.%s", of, stage, part);
    return t;
}

static struct model_tensor stage_tensor(const struct cnn *c, int stage, int part) {
    const struct conv *s = &c->convs[stage];
    int64_t at = stage_at(c, stage), after = at + conv_count(s), M = s->outputs;
    if (part == 0) {
        struct model_tensor t = {.dimensions = 4, .shape = {s->kernel, s->kernel, s->inputs, M}, .at = at, .count = after - at};
        snprintf(t.name, sizeof t.name, "conv.%d.weight", stage);
        return t;
    }
    if (!c->config.batch_norm)
        return vector_tensor(after, M, "conv", stage, "bias");
    return part == 1 ? vector_tensor(after, M, "bn", stage, "weight") : vector_tensor(after + M, M, "bn", stage, "bias");
}

struct model_tensor cnn_tensor_at(const struct cnn *c, int i) {
    int parts = tensors_of_a_stage(c), in_stages = c->config.stages * parts, in_dense = mlp_tensor_count(&c->dense);
    if (i < in_stages)
        return stage_tensor(c, i / parts, i % parts);
    i -= in_stages;
    if (i < in_dense)
        return mlp_tensor_at(&c->dense, i);
    i -= in_dense;
    int64_t M = c->convs[i / 2].outputs;
    return vector_tensor(statistics_at(c, i / 2) + i % 2 * M, M, "bn", i / 2, i % 2 ? "running_var" : "running_mean");
}

void cnn_randomize(const struct cnn *c, float *weights, uint64_t seed) {
    for (int i = 0; i < cnn_tensor_count(c); i++) {
        struct model_tensor t = cnn_tensor_at(c, i);
        float deviation = t.dimensions == 4 ? sqrtf(2.0f / (float)(t.shape[0] * t.shape[1] * t.shape[2])) : 0;
        float base = !strncmp(t.name, "bn.", 3) && (strstr(t.name, "weight") || strstr(t.name, "running_var")) ? 1 : 0;
        for (int64_t k = 0; k < t.count; k++)
            weights[t.at + k] = base + (deviation ? deviation * random_normal(seed, (uint64_t)t.at, (uint64_t)k) : 0);
    }
    mlp_randomize(&c->dense, weights, seed);
}

/* ---- a pass ---- */

struct stage_pass {
    void *conv;          /* out of the convolution */
    void *norm;          /* that, normalised; without batch normalisation it is conv itself */
    void *pooled;        /* out of the stage */
    uint8_t *winner;
    float *statistics;   /* mean, then variance, of the last training forward */
    double *sums;        /* [samples, 2, outputs] */
};

struct cnn_pass {
    const struct backend *backend;
    int samples;         /* as allocated */
    int used;            /* by the last forward */
    float scale;         /* of the last forward */
    char *memory;
    struct stage_pass stages[CNN_STAGES_MAX];
    void *d_pooled, *d_conv;    /* gradients, as large as the largest stage's */
    struct mlp_pass *dense;
};

static void *carve(const struct cnn_pass *p, int64_t *used, int64_t bytes) {
    void *at = p->memory ? p->memory + *used : NULL;
    *used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

static int64_t stage_outputs(const struct conv *s) { return (int64_t)s->height * s->width * s->outputs; }

/* Lays the arrays one after the other; with p->memory NULL it only counts. */
static int64_t lay_out(struct cnn_pass *p, const struct cnn *c, size_t element, int64_t N) {
    int64_t used = 0, largest = 0, each = (int64_t)element;
    for (int i = 0; i < c->config.stages; i++) {
        struct stage_pass *s = &p->stages[i];
        int64_t M = c->convs[i].outputs, size = N * stage_outputs(&c->convs[i]);
        s->conv = carve(p, &used, size * each);
        s->norm = c->config.batch_norm ? carve(p, &used, size * each) : s->conv;
        s->pooled = carve(p, &used, size / 4 * each);
        s->winner = carve(p, &used, size / 4);
        if (c->config.batch_norm) {
            s->statistics = carve(p, &used, 2 * M * (int64_t)sizeof(float));
            s->sums = carve(p, &used, N * 2 * M * (int64_t)sizeof(double));
        }
        largest = size > largest ? size : largest;
    }
    p->d_pooled = carve(p, &used, largest / 4 * each);
    p->d_conv = carve(p, &used, largest * each);
    return used;
}

int64_t cnn_pass_bytes(const struct cnn *c, size_t element, int samples) {
    struct cnn_pass p = {0};
    return lay_out(&p, c, element, samples) + mlp_pass_bytes(&c->dense, element, samples);
}

struct cnn_pass *cnn_pass_new(const struct cnn *c, const struct backend *backend, int samples) {
    assert(samples > 0);
    struct cnn_pass *p = xcalloc(1, sizeof *p);
    p->backend = backend;
    p->samples = samples;
    p->memory = backend->operations->allocate((size_t)lay_out(p, c, backend->element, samples));
    lay_out(p, c, backend->element, samples);
    p->dense = mlp_pass_new(&c->dense, backend, samples);
    return p;
}

void cnn_pass_free(struct cnn_pass *p) {
    if (!p)
        return;
    mlp_pass_free(p->dense);
    p->backend->operations->release(p->memory);
    free(p);
}

/* ---- forward ---- */

static void normalize_stage(const struct cnn *c, int stage, const float *weights, struct cnn_pass *p) {
    const struct backend_operations *o = p->backend->operations;
    struct stage_pass *s = &p->stages[stage];
    int M = c->convs[stage].outputs, pixels = c->convs[stage].height * c->convs[stage].width;
    const float *norm = weights + stage_at(c, stage) + conv_count(&c->convs[stage]), *statistics = weights + statistics_at(c, stage);
    if (p->scale != 0) {
        o->batchnorm_sums(s->sums, s->conv, p->used, pixels, M);
        o->sum_pairwise(s->sums, p->used, 2 * M);
        o->batchnorm_statistics(s->statistics, s->statistics + M, s->sums, (int64_t)p->used * pixels, M);
        statistics = s->statistics;
    }
    o->batchnorm_forward(s->norm, s->conv, norm, norm + M, statistics, statistics + M, p->used, pixels, M);
}

static void forward_stage(const struct cnn *c, int stage, const float *weights, struct cnn_pass *p, const void *in) {
    const struct backend_operations *o = p->backend->operations;
    const struct conv *conv = &c->convs[stage];
    struct stage_pass *s = &p->stages[stage];
    const float *weight = weights + stage_at(c, stage);
    o->conv_forward(s->conv, in, weight, c->config.batch_norm ? NULL : weight + conv_count(conv), p->used, conv);
    if (c->config.batch_norm)
        normalize_stage(c, stage, weights, p);
    o->max_pool_forward(s->pooled, s->winner, s->norm, p->used, conv->height, conv->width, conv->outputs);
    o->relu_forward(s->pooled, p->used * stage_outputs(conv) / 4);
}

struct mlp_result cnn_forward(const struct cnn *c, const float *weights, struct cnn_pass *p, const void *images, const int32_t *labels,
                              int samples, float scale) {
    assert(samples <= p->samples);
    p->used = samples;
    p->scale = scale;
    const void *in = images;
    for (int s = 0; s < c->config.stages; s++) {
        forward_stage(c, s, weights, p, in);
        in = p->stages[s].pooled;
    }
    return mlp_forward(&c->dense, weights, p->dense, in, labels, samples, scale);
}

const float *cnn_logits(const struct cnn_pass *p) { return mlp_logits(p->dense); }

/* ---- backward ---- */

static void add_statistics(const struct cnn *c, const struct cnn_pass *p, float *gradient) {
    for (int stage = 0; stage < c->config.stages; stage++)
        p->backend->operations->add_scaled(gradient + statistics_at(c, stage), p->stages[stage].statistics, p->scale * (float)p->used,
                                           2 * c->convs[stage].outputs);
}

/* Turns p->d_conv from the gradient of the norm's output into that of its input. gradient is that of the norm's weight and bias. */
static void backward_norm(const struct cnn *c, int stage, const float *norm, struct cnn_pass *p, float *gradient) {
    const struct backend_operations *o = p->backend->operations;
    struct stage_pass *s = &p->stages[stage];
    int M = c->convs[stage].outputs, pixels = c->convs[stage].height * c->convs[stage].width;
    const float *mean = s->statistics, *variance = mean + M;
    o->batchnorm_backward_sums(s->sums, p->d_conv, s->conv, mean, variance, p->used, pixels, M);
    o->sum_pairwise(s->sums, p->used, 2 * M);
    o->add_doubles(gradient, s->sums + M, M);
    o->add_doubles(gradient + M, s->sums, M);
    o->batchnorm_backward(p->d_conv, p->d_conv, s->conv, norm, mean, variance, s->sums, (int64_t)p->used * pixels, p->used, pixels, M);
}

/* p->d_pooled comes in as the gradient of the stage's output and goes out as that of its input, but not of the images. */
static void backward_stage(const struct cnn *c, int stage, const float *weights, struct cnn_pass *p, const void *in, float *gradient) {
    const struct backend_operations *o = p->backend->operations;
    const struct conv *conv = &c->convs[stage];
    struct stage_pass *s = &p->stages[stage];
    int64_t at = stage_at(c, stage), after = at + conv_count(conv);
    o->relu_backward(p->d_pooled, s->pooled, p->used * stage_outputs(conv) / 4);
    o->max_pool_backward(p->d_conv, p->d_pooled, s->winner, p->used, conv->height, conv->width, conv->outputs);
    if (c->config.batch_norm)
        backward_norm(c, stage, weights + after, p, gradient + after);
    o->conv_backward(stage > 0 ? p->d_pooled : NULL, gradient + at, c->config.batch_norm ? NULL : gradient + after, p->d_conv, in,
                     weights + at, p->used, conv);
}

void cnn_backward(const struct cnn *c, const float *weights, struct cnn_pass *p, const void *images, float *gradient,
                  model_ready_fn *ready, void *context) {
    int last = c->config.stages - 1;
    assert(p->scale != 0);
    if (c->config.batch_norm) {
        add_statistics(c, p, gradient);
        if (ready)
            ready(context, c->trained, c->count - c->trained);
    }
    mlp_backward(&c->dense, weights, p->dense, p->stages[last].pooled, gradient, p->d_pooled, ready, context);
    for (int s = last; s >= 0; s--) {
        backward_stage(c, s, weights, p, s > 0 ? p->stages[s - 1].pooled : images, gradient);
        if (ready)
            ready(context, stage_at(c, s), stage_count(c, s));
    }
}

void cnn_update_statistics(const struct cnn *c, const struct backend *backend, float *weights, const float *gradient, float rate) {
    backend->operations->move_towards(weights + c->trained, gradient + c->trained, rate, c->count - c->trained);
}

double cnn_training_flops(const struct cnn *c) {
    double flops = mlp_training_flops(&c->dense, 1);
    for (int s = 0; s < c->config.stages; s++)
        flops += (s > 0 ? 6.0 : 4.0) * c->convs[s].height * c->convs[s].width * (double)conv_count(&c->convs[s]);
    return flops;
}
