/* What a trainer asks of a model, whichever it is: a GPT over text (gpt.h), or a CNN or an MLP that classifies images (cnn.h, mlp.h). */
#ifndef JOBS_MODEL_MODEL_H
#define JOBS_MODEL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/model/cnn.h"
#include "jobs/model/gpt.h"
#include "jobs/model/mlp.h"

enum model_kind { MODEL_GPT, MODEL_CNN, MODEL_MLP, MODEL_KINDS };

/* "gpt", "cnn", "mlp". ERR_INVALID: it is none of them. */
int model_parse_kind(const char *name, enum model_kind *kind, struct error *err);

struct model_config {
    enum model_kind kind;
    union {
        struct gpt_config gpt;
        struct cnn_config cnn;
        struct mlp_config mlp;
    };
};

int model_config_check(const struct model_config *c, struct error *err);
bool model_config_equal(const struct model_config *a, const struct model_config *b);
/* "a GPT of 4 layers, 4 heads, 128 channels, context 64". Returns buffer. */
const char *model_config_text(const struct model_config *c, char *buffer, size_t size);
/* As config.json has it; that of a GPT is Hugging Face's for GPT-2. A new reference. */
json_t *model_config_json(const struct model_config *c);
int model_config_read(const json_t *document, struct model_config *c, struct error *err);

struct model {
    struct model_config config;
    union {
        struct gpt gpt;
        struct cnn cnn;
        struct mlp mlp;
    };
    int64_t trained, count;   /* parameters that the optimiser steps, the first of them; all, with running statistics */
    const struct backend *backend;
    float *weights;           /* in the backend's memory */
};

void model_init_layout(struct model *m, const struct model_config *config);   /* weights NULL: for sizes */
void model_init(struct model *m, const struct model_config *config, const struct backend *backend);   /* weights all zero */
void model_release(struct model *m);
/* Weights in host memory, those of &backend_cpu, go where `backend` computes. */
void model_move(struct model *m, const struct backend *backend);
/* The model m with other weights, in host memory, which the caller owns: for files. Isn't released. */
void model_init_view(struct model *view, const struct model *m, float *weights);
void model_randomize(struct model *m, uint64_t seed);   /* weights in host memory */

int model_tensor_count(const struct model *m);
struct model_tensor model_tensor_at(const struct model *m, int i);

/* A sample is so many bytes of input, and so many targets. A GPT's: context tokens, and those that follow. Of images: floats, and one
 * label. Tokens and targets are int32_t. */
int64_t model_input_bytes(const struct model_config *c);
int64_t model_targets(const struct model_config *c);   /* a sample */
int model_classes(const struct model_config *c);       /* each target is below: of text the vocabulary */

/* The activations of one pass over at most `samples`, and what they are computed from. */
struct model_pass {
    enum model_kind kind;
    const struct backend *backend;
    void *of, *inputs, *targets;
    float *floats;   /* of images, where activations are no floats: on their way there; else NULL */
};
struct model_pass model_pass_new(const struct model *m, int samples);
void model_pass_free(struct model_pass *p);
int64_t model_pass_bytes(const struct model *m, size_t element, int samples);

struct model_result { double loss; int64_t correct; };   /* of -log p(target), the sum; targets that were the likeliest (not of a GPT) */

/* Inputs and targets are in host memory. scale != 0 prepares a backward of scale * the loss. */
struct model_result model_forward(const struct model *m, struct model_pass *p, const void *inputs, const int32_t *targets, int samples,
                                  float scale);
/* Of a model that classifies: [samples, classes] of the last forward, in host memory. */
const float *model_logits(const struct model_pass *p);
/* Adds the gradient of the last forward, in the backend's memory. ready may be NULL. */
void model_backward(const struct model *m, struct model_pass *p, float *gradient, model_ready_fn *ready, void *context);
/* What a step moves beside what the optimiser does: running statistics, towards those that lie in the gradient. */
void model_update_statistics(struct model *m, const float *gradient);

/* Floating-point operations a sample of a training step. */
double model_training_flops(const struct model *m);

#endif
