/* The optimiser's step, and the sum of squares that clipping needs. */
#include "jobs/cuda/kernel.h"

#include <math.h>

struct step {
    float learning_rate, beta1, beta2, epsilon, decay, scale, momentum_correction, variance_correction;
};

template <int W>
__global__ void adamw_kernel(float *weight, float *momentum, float *variance, const float *gradient, int64_t packs, struct step s) {
    int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * W;
    if (i >= packs * W)
        return;
    float w[W], m[W], v[W], g[W];
    load(w, weight + i);
    load(m, momentum + i);
    load(v, variance + i);
    load(g, gradient + i);
    for (int j = 0; j < W; j++) {
        float x = g[j] * s.scale;
        m[j] = s.beta1 * m[j] + (1 - s.beta1) * x;
        v[j] = s.beta2 * v[j] + (1 - s.beta2) * x * x;
        float direction = m[j] * s.momentum_correction / (sqrtf(v[j] * s.variance_correction) + s.epsilon);
        w[j] -= s.learning_rate * (direction + s.decay * w[j]);
    }
    store(weight + i, w);
    store(momentum + i, m);
    store(variance + i, v);
}

template <int W>
static void launch_step(float *weight, float *momentum, float *variance, const float *gradient, int64_t packs, struct step s) {
    if (packs > 0)
        LAUNCH((adamw_kernel<W>), parts(packs, THREADS), THREADS, 0, weight, momentum, variance, gradient, packs, s);
}

void cuda_adamw_step(float *weight, float *momentum, float *variance, const float *gradient, int64_t count, const struct adamw *a) {
    if (!device_begin(__func__))
        return;
    struct step s = {a->learning_rate, a->beta1, a->beta2, a->epsilon, a->weight_decay, a->gradient_scale,
                     (float)(1.0 / (1.0 - pow(a->beta1, (double)a->step))), (float)(1.0 / (1.0 - pow(a->beta2, (double)a->step)))};
    int64_t fours = in_fours(weight) && in_fours(momentum) && in_fours(variance) && in_fours(gradient) ? count / 4 : 0;
    launch_step<4>(weight, momentum, variance, gradient, fours, s);
    launch_step<1>(weight + 4 * fours, momentum + 4 * fours, variance + 4 * fours, gradient + 4 * fours, count - 4 * fours, s);
}

/* ---- a double for each SQUARES_BLOCK, in an order that depends on count alone ---- */

__global__ void squares_kernel(double *partial, const float *x, int64_t count) {
    int64_t first = (int64_t)blockIdx.x * SQUARES_BLOCK, last = first + SQUARES_BLOCK < count ? first + SQUARES_BLOCK : count;
    double squares = 0;
    for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x)
        squares += (double)x[i] * x[i];
    squares = block_sum(squares);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = squares;
}

__global__ void sum_doubles_kernel(double *sum, const double *x, int count) {
    double all = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        all += x[i];
    all = block_sum(all);
    if (threadIdx.x == 0)
        *sum = all;
}

void cuda_sum_of_squares(double *sum, const float *x, int64_t count) {
    if (!device_begin(__func__))
        return;
    unsigned blocks = parts(count, SQUARES_BLOCK);
    double *partial = (double *)device_scratch(blocks * sizeof *partial);
    LAUNCH(squares_kernel, blocks, THREADS, 0, partial, x, count);
    LAUNCH(sum_doubles_kernel, 1, THREADS, 0, sum, partial, (int)blocks);
}
