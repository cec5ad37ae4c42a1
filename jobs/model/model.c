#include "jobs/model/model.h"

#include <assert.h>
#include <stdlib.h>

#include "common/xmalloc.h"

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

void model_init(struct model *m, const struct model_config *config) {
    model_init_layout(m, config);
    m->weights = xcalloc((size_t)m->count, sizeof *m->weights);
    if (config->kind == MODEL_GPT)
        m->gpt.weights = m->weights;
}

void model_release(struct model *m) {
    free(m->weights);
    m->weights = NULL;
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

struct model_pass model_pass_new(const struct model *m, int samples) {
    struct model_pass p = {.kind = m->config.kind};
    switch (p.kind) {
    case MODEL_GPT: p.of = gpt_pass_new(&m->gpt, samples, m->config.gpt.context); break;
    case MODEL_CNN: p.of = cnn_pass_new(&m->cnn, samples); break;
    case MODEL_MLP: p.of = mlp_pass_new(&m->mlp, samples); break;
    case MODEL_KINDS: abort();
    }
    return p;
}

void model_pass_free(struct model_pass *p) {
    switch (p->kind) {
    case MODEL_GPT: gpt_pass_free(p->of); break;
    case MODEL_CNN: cnn_pass_free(p->of); break;
    case MODEL_MLP: mlp_pass_free(p->of); break;
    case MODEL_KINDS: abort();
    }
    p->of = NULL;
}

int64_t model_pass_bytes(const struct model *m, int samples) {
    switch (m->config.kind) {
    case MODEL_GPT: return gpt_pass_bytes(&m->config.gpt, samples, m->config.gpt.context);
    case MODEL_CNN: return cnn_pass_bytes(&m->cnn, samples);
    case MODEL_MLP: return mlp_pass_bytes(&m->mlp, samples);
    case MODEL_KINDS: break;
    }
    abort();
}

static struct model_result result_of(struct mlp_result r) { return (struct model_result){r.loss, r.correct}; }

struct model_result model_forward(const struct model *m, struct model_pass *p, const void *inputs, const int32_t *targets, int samples,
                                  float scale) {
    switch (m->config.kind) {
    case MODEL_GPT: return (struct model_result){.loss = gpt_forward(&m->gpt, p->of, inputs, targets, samples, scale)};
    case MODEL_CNN: return result_of(cnn_forward(&m->cnn, m->weights, p->of, inputs, targets, samples, scale));
    case MODEL_MLP: return result_of(mlp_forward(&m->mlp, m->weights, p->of, inputs, targets, samples, scale));
    case MODEL_KINDS: break;
    }
    abort();
}

const float *model_logits(const struct model *m, const struct model_pass *p) {
    assert(m->config.kind != MODEL_GPT);
    return m->config.kind == MODEL_CNN ? cnn_logits(&m->cnn, p->of) : mlp_logits(&m->mlp, p->of);
}

void model_backward(const struct model *m, struct model_pass *p, const void *inputs, float *gradient, model_ready_fn *ready,
                    void *context) {
    switch (m->config.kind) {
    case MODEL_GPT: gpt_backward(&m->gpt, p->of, inputs, gradient, ready, context); return;
    case MODEL_CNN: cnn_backward(&m->cnn, m->weights, p->of, inputs, gradient, ready, context); return;
    case MODEL_MLP: mlp_backward(&m->mlp, m->weights, p->of, inputs, gradient, NULL, ready, context); return;
    case MODEL_KINDS: abort();
    }
}

void model_update_statistics(struct model *m, const float *gradient) {
    if (m->config.kind == MODEL_CNN)
        cnn_update_statistics(&m->cnn, m->weights, gradient, STATISTICS_RATE);
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
