#include "jobs/model/model.h"

#include <assert.h>
#include <stdlib.h>


static const float STATISTICS_RATE = 0.1f;

void model_init_layout(struct model *m, const struct model_config *config) {
    *m = (struct model){.config = *config};
    switch (config->kind) {
    case MODEL_GPT:
        gpt_init_layout(&m->gpt, &config->gpt);
        m->trained = m->count = m->gpt.count;
        return;
    case MODEL_CNN:
        cnn_init(&m->cnn, &config->cnn);
        m->trained = m->cnn.trained;
        m->count = m->cnn.count;
        return;
    case MODEL_MLP:
        mlp_init(&m->mlp, &config->mlp, 0);
        m->trained = m->count = m->mlp.count;
        return;
    case MODEL_KINDS: abort();
    }
}

static void set_weights(struct model *m, float *weights) {
    m->weights = weights;
    if (m->config.kind == MODEL_GPT)
        m->gpt.weights = weights;
}

void model_init(struct model *m, const struct model_config *config, const struct backend *backend) {
    model_init_layout(m, config);
    m->backend = backend;
    set_weights(m, backend->operations->allocate((size_t)m->count * sizeof(float)));
}

void model_release(struct model *m) {
    if (m->weights)
        m->backend->operations->release(m->weights);
    m->weights = NULL;
}

void model_move(struct model *m, const struct backend *backend) {
    assert(m->backend->kind == BACKEND_CPU);
    if (backend->kind != BACKEND_CPU) {
        float *here = m->weights;
        set_weights(m, backend->operations->reserve((size_t)m->count * sizeof *here));
        backend->operations->upload(m->weights, here, (size_t)m->count * sizeof *here);
        m->backend->operations->release(here);
    }
    m->backend = backend;
}

void model_init_view(struct model *view, const struct model *m, float *weights) {
    *view = *m;
    view->backend = &backend_cpu;
    set_weights(view, weights);
}

void model_randomize(struct model *m, uint64_t seed) {
    switch (m->config.kind) {
    case MODEL_GPT: gpt_randomize(&m->gpt, seed); return;
    case MODEL_CNN: cnn_randomize(&m->cnn, m->weights, seed); return;
    case MODEL_MLP: mlp_randomize(&m->mlp, m->weights, seed); return;
    case MODEL_KINDS: abort();
    }
}

int model_tensor_count(const struct model *m) {
    switch (m->config.kind) {
    case MODEL_GPT: return gpt_tensor_count(&m->gpt);
    case MODEL_CNN: return cnn_tensor_count(&m->cnn);
    case MODEL_MLP: return mlp_tensor_count(&m->mlp);
    case MODEL_KINDS: break;
    }
    abort();
}

struct model_tensor model_tensor_at(const struct model *m, int i) {
    switch (m->config.kind) {
    case MODEL_GPT: return gpt_tensor_at(&m->gpt, i);
    case MODEL_CNN: return cnn_tensor_at(&m->cnn, i);
    case MODEL_MLP: return mlp_tensor_at(&m->mlp, i);
    case MODEL_KINDS: break;
    }
    abort();
}

int64_t model_input_bytes(const struct model_config *c) {
    switch (c->kind) {
    case MODEL_GPT: return c->gpt.context * (int64_t)sizeof(int32_t);
    case MODEL_CNN: return (int64_t)c->cnn.height * c->cnn.width * c->cnn.channels * (int64_t)sizeof(float);
    case MODEL_MLP: return c->mlp.sizes[0] * (int64_t)sizeof(float);
    case MODEL_KINDS: break;
    }
    abort();
}

int64_t model_targets(const struct model_config *c) { return c->kind == MODEL_GPT ? c->gpt.context : 1; }

int model_classes(const struct model_config *c) {
    switch (c->kind) {
    case MODEL_GPT: return c->gpt.vocabulary;
    case MODEL_CNN: return c->cnn.classes;
    case MODEL_MLP: return c->mlp.sizes[c->mlp.layers];
    case MODEL_KINDS: break;
    }
    abort();
}

/* Images come as floats and are computed with as activations. */
static bool converts_inputs(const struct model *m, size_t element) { return m->config.kind != MODEL_GPT && element != sizeof(float); }

static size_t input_bytes(const struct model *m, int samples) { return (size_t)model_input_bytes(&m->config) * (size_t)samples; }

static size_t target_bytes(const struct model *m, int samples) {
    return (size_t)model_targets(&m->config) * (size_t)samples * sizeof(int32_t);
}

struct model_pass model_pass_new(const struct model *m, int samples) {
    struct model_pass p = {.kind = m->config.kind, .backend = m->backend};
    const struct backend_operations *o = m->backend->operations;
    p.inputs = o->allocate(input_bytes(m, samples));
    p.targets = o->allocate(target_bytes(m, samples));
    p.floats = converts_inputs(m, m->backend->element) ? o->allocate(input_bytes(m, samples)) : NULL;
    switch (p.kind) {
    case MODEL_GPT: p.of = gpt_pass_new(&m->gpt, m->backend, samples, m->config.gpt.context); break;
    case MODEL_CNN: p.of = cnn_pass_new(&m->cnn, m->backend, samples); break;
    case MODEL_MLP: p.of = mlp_pass_new(&m->mlp, m->backend, samples); break;
    case MODEL_KINDS: abort();
    }
    return p;
}

void model_pass_free(struct model_pass *p) {
    if (!p->of)
        return;
    switch (p->kind) {
    case MODEL_GPT: gpt_pass_free(p->of); break;
    case MODEL_CNN: cnn_pass_free(p->of); break;
    case MODEL_MLP: mlp_pass_free(p->of); break;
    case MODEL_KINDS: abort();
    }
    p->backend->operations->release(p->inputs);
    p->backend->operations->release(p->targets);
    p->backend->operations->release(p->floats);
    p->of = NULL;
}

int64_t model_pass_bytes(const struct model *m, size_t element, int samples) {
    switch (m->config.kind) {
    case MODEL_GPT: return gpt_pass_bytes(&m->config.gpt, element, samples, m->config.gpt.context);
    case MODEL_CNN: return cnn_pass_bytes(&m->cnn, element, samples);
    case MODEL_MLP: return mlp_pass_bytes(&m->mlp, element, samples);
    case MODEL_KINDS: break;
    }
    abort();
}

static void upload(const struct model *m, struct model_pass *p, const void *inputs, const int32_t *targets, int samples) {
    const struct backend_operations *o = p->backend->operations;
    o->upload(p->floats ? p->floats : p->inputs, inputs, input_bytes(m, samples));
    if (p->floats)
        o->from_floats(p->inputs, p->floats, (int64_t)(input_bytes(m, samples) / sizeof(float)));
    o->upload(p->targets, targets, target_bytes(m, samples));
}

static struct model_result result_of(struct mlp_result r) { return (struct model_result){r.loss, r.correct}; }

struct model_result model_forward(const struct model *m, struct model_pass *p, const void *inputs, const int32_t *targets, int samples,
                                  float scale) {
    upload(m, p, inputs, targets, samples);
    switch (m->config.kind) {
    case MODEL_GPT: return (struct model_result){.loss = gpt_forward(&m->gpt, p->of, p->inputs, p->targets, samples, scale)};
    case MODEL_CNN: return result_of(cnn_forward(&m->cnn, m->weights, p->of, p->inputs, p->targets, samples, scale));
    case MODEL_MLP: return result_of(mlp_forward(&m->mlp, m->weights, p->of, p->inputs, p->targets, samples, scale));
    case MODEL_KINDS: break;
    }
    abort();
}

const float *model_logits(const struct model_pass *p) {
    assert(p->kind != MODEL_GPT);
    return p->kind == MODEL_CNN ? cnn_logits(p->of) : mlp_logits(p->of);
}

void model_backward(const struct model *m, struct model_pass *p, float *gradient, model_ready_fn *ready, void *context) {
    switch (m->config.kind) {
    case MODEL_GPT: gpt_backward(&m->gpt, p->of, p->inputs, gradient, ready, context); return;
    case MODEL_CNN: cnn_backward(&m->cnn, m->weights, p->of, p->inputs, gradient, ready, context); return;
    case MODEL_MLP: mlp_backward(&m->mlp, m->weights, p->of, p->inputs, gradient, NULL, ready, context); return;
    case MODEL_KINDS: abort();
    }
}

void model_update_statistics(struct model *m, const float *gradient) {
    if (m->config.kind == MODEL_CNN)
        cnn_update_statistics(&m->cnn, m->backend, m->weights, gradient, STATISTICS_RATE);
}

double model_training_flops(const struct model *m) {
    switch (m->config.kind) {
    case MODEL_GPT: return gpt_training_flops_per_token(&m->config.gpt, m->config.gpt.context) * m->config.gpt.context;
    case MODEL_CNN: return cnn_training_flops(&m->cnn);
    case MODEL_MLP: return mlp_training_flops(&m->mlp, 0);
    case MODEL_KINDS: break;
    }
    abort();
}
