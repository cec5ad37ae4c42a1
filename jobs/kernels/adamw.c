/* The optimiser's step, and the sum of squares that clipping needs. */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/vector_math.h"

enum { BLOCK = SQUARES_BLOCK };   /* elements a thread takes at a time */

struct step {
    float learning_rate, beta1, beta2, epsilon, decay, scale, momentum_correction, variance_correction;
};

KERNEL_VERSIONS
static void step_block(float *restrict weight, float *restrict momentum, float *restrict variance, const float *restrict gradient,
                       int64_t count, struct step s) {
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] * s.scale;
        float m = s.beta1 * momentum[i] + (1.0f - s.beta1) * g;
        float v = s.beta2 * variance[i] + (1.0f - s.beta2) * g * g;
        momentum[i] = m;
        variance[i] = v;
        float direction = m * s.momentum_correction / (sqrtf(v * s.variance_correction) + s.epsilon);
        weight[i] -= s.learning_rate * (direction + s.decay * weight[i]);
    }
}

void adamw_step(float *weight, float *momentum, float *variance, const float *gradient, int64_t count, const struct adamw *a) {
    struct step s = {.learning_rate = a->learning_rate,
                     .beta1 = a->beta1,
                     .beta2 = a->beta2,
                     .epsilon = a->epsilon,
                     .decay = a->weight_decay,
                     .scale = a->gradient_scale,
                     .momentum_correction = (float)(1.0 / (1.0 - pow(a->beta1, (double)a->step))),
                     .variance_correction = (float)(1.0 / (1.0 - pow(a->beta2, (double)a->step)))};
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        step_block(weight + at, momentum + at, variance + at, gradient + at, count - at < BLOCK ? count - at : BLOCK, s);
}

KERNEL_VERSIONS
static double squares_block(const float *x, int64_t count) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

double sum_of_squares(const float *x, int64_t count) {
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
    double *partial = xcalloc((size_t)blocks + 1, sizeof *partial), sum = 0;
#pragma omp parallel for if (blocks > 4)
    for (int64_t b = 0; b < blocks; b++)
        partial[b] = squares_block(x + b * BLOCK, count - b * BLOCK < BLOCK ? count - b * BLOCK : BLOCK);
    for (int64_t b = 0; b < blocks; b++)
        sum += partial[b];
    free(partial);
    return sum;
}
