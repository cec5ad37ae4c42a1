/* A convolutional network that classifies images: stages of convolution, batch normalisation if wanted, 2x2 max pooling and ReLU, and then
 * a hidden dense layer and the classes (mlp.h). Pooling before ReLU gives what the other order gives, for a quarter of the work.
 *
 * All parameters lie in one array: stage by stage, then the dense layers. With batch normalisation its running statistics follow, from
 * `trained` on. They are no parameters, and yet they lie there, so that they are reduced between ranks and written to checkpoints like
 * them: a backward adds the batch's statistics to that part of the gradient, and cnn_update_statistics takes the place of the optimiser.
 * Images have their channels last. Results don't depend on the number of threads.
 */
#ifndef JOBS_MODEL_CNN_H
#define JOBS_MODEL_CNN_H

#include <stdbool.h>

#include "jobs/model/mlp.h"

enum { CNN_STAGES_MAX = 8 };

struct cnn_config {
    int height, width, channels;   /* of an image; height and width divide by 2 once a stage */
    int stages;
    int outputs[CNN_STAGES_MAX];   /* channels of each stage */
    int kernel;                    /* odd; the padding keeps the size */
    bool batch_norm;
    int hidden, classes;
};

/* conv5x5 32, conv5x5 64, fc 128: for the 28 x 28 images and 10 classes of MNIST and its kin. */
extern const struct cnn_config cnn_config_mnist;

/* The layout: it owns nothing. */
struct cnn {
    struct cnn_config config;
    struct conv convs[CNN_STAGES_MAX];
    struct mlp dense;
    int64_t trained;   /* parameters that the optimiser steps: the first of the array, and all that count for the clip norm */
    int64_t count;     /* of all, with running statistics */
};

/* Fails with ERR_INVALID and a sentence that names the field. */
int cnn_config_check(const struct cnn_config *config, struct error *err);
void cnn_init(struct cnn *c, const struct cnn_config *config);

int cnn_tensor_count(const struct cnn *c);
struct model_tensor cnn_tensor_at(const struct cnn *c, int i);

/* As mlp_randomize; norms 1 and 0; running statistics those of numbers with mean 0 and variance 1. */
void cnn_randomize(const struct cnn *c, float *weights, uint64_t seed);

/* The activations of one pass over at most `samples`, and scratch; where, as in mlp.h. */
struct cnn_pass;
struct cnn_pass *cnn_pass_new(const struct cnn *c, const struct backend *backend, int samples);
void cnn_pass_free(struct cnn_pass *p);
int64_t cnn_pass_bytes(const struct cnn *c, size_t element, int samples);

/* images [samples, height, width, channels]. scale != 0 is training: norms use the batch's statistics, and a backward of scale * the loss
 * is prepared. scale 0 is evaluation, by the running statistics. */
struct mlp_result cnn_forward(const struct cnn *c, const float *weights, struct cnn_pass *p, const void *images, const int32_t *labels,
                              int samples, float scale);

/* As mlp_logits. */
const float *cnn_logits(const struct cnn_pass *p);

/* Adds the gradient of the last forward to `gradient`, and scale * samples times the batch's statistics (so with scale = 1 / the samples of
 * a step, a step's shares add up to an average). ready as in mlp_backward, from the array's end to its beginning. */
void cnn_backward(const struct cnn *c, const float *weights, struct cnn_pass *p, const void *images, float *gradient,
                  model_ready_fn *ready, void *context);

/* Moves the running statistics by `rate` (0.1 is usual) towards those in the gradient. The variance is the biased one. */
void cnn_update_statistics(const struct cnn *c, const struct backend *backend, float *weights, const float *gradient, float rate);

/* Floating-point operations a sample of a training step: forward and backward, products only. */
double cnn_training_flops(const struct cnn *c);

#endif
