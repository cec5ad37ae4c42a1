/* A multilayer perceptron that classifies: dense layers with ReLU between them, and softmax cross entropy at the end. Alone it takes images
 * as rows of numbers; in cnn.h it is what the features go to.
 *
 * As in gpt.h all parameters lie in one array, layer by layer, and a gradient and each of the optimiser's moments is an array of the same
 * layout. Results don't depend on the number of threads.
 */
#ifndef JOBS_MODEL_MLP_H
#define JOBS_MODEL_MLP_H

#include <stdint.h>

#include "common/error.h"
#include "jobs/backend/backend.h"
#include "jobs/model/tensor.h"

enum { MLP_LAYERS_MAX = 16 };

struct mlp_config {
    int layers;
    int sizes[MLP_LAYERS_MAX + 1];   /* inputs, hidden layers, classes (2..256) */
};

/* The layout: it owns nothing. */
struct mlp {
    struct mlp_config config;
    int64_t first;   /* where its parameters begin in the array: 0 but in a larger model */
    int64_t count;   /* of them */
};

/* What a batch came to: the sum of -log p(label) in nats, and how often the label was the likeliest class. */
struct mlp_result {
    double loss;
    int correct;
};

/* Fails with ERR_INVALID and a sentence that names the field. */
int mlp_config_check(const struct mlp_config *config, struct error *err);
void mlp_init(struct mlp *m, const struct mlp_config *config, int64_t first);

int mlp_tensor_count(const struct mlp *m);
struct model_tensor mlp_tensor_at(const struct mlp *m, int i);

/* By He (2015): weights normal with variance 2 / inputs, biases 0. A function of seed alone. */
void mlp_randomize(const struct mlp *m, float *weights, uint64_t seed);

/* The activations of one pass over at most `samples`. It computes in a backend's memory: there lie the weights, inputs, labels and
 * gradients that it is given. */
struct mlp_pass;
struct mlp_pass *mlp_pass_new(const struct mlp *m, const struct backend *backend, int samples);
void mlp_pass_free(struct mlp_pass *p);
int64_t mlp_pass_bytes(const struct mlp *m, size_t element, int samples);

/* in [samples, inputs]; each label is below the number of classes. scale != 0 prepares a backward of scale * the loss. */
struct mlp_result mlp_forward(const struct mlp *m, const float *weights, struct mlp_pass *p, const void *in, const int32_t *labels,
                              int samples, float scale);

/* [samples, classes], of the last forward, in host memory. */
const float *mlp_logits(const struct mlp_pass *p);

/* Adds the gradient of the last forward to `gradient`, and puts that of its input into din [samples, inputs] unless that is NULL.
 * ready(context, at, count), if it isn't NULL, is called as soon as a stretch is final: layer by layer, from the last to the first. */
void mlp_backward(const struct mlp *m, const float *weights, struct mlp_pass *p, const void *in, float *gradient, void *din,
                  model_ready_fn *ready, void *context);

/* Floating-point operations a sample of a training step, products only; with_din: where the gradient of the input is wanted too. */
double mlp_training_flops(const struct mlp *m, int with_din);

#endif
