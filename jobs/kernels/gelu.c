/* GELU and the residual sum: one pass over the elements each. */
#include "jobs/kernels/kernels.h"

#include "jobs/kernels/vector_math.h"

enum { BLOCK = 4096 };   /* elements a thread takes at a time */

static const float root_2_over_pi = 0.797884561f, cubic = 0.044715f;

KERNEL_VERSIONS
static void forward_block(float *out, const float *in, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float x = in[i];
        out[i] = 0.5f * x * (1.0f + vector_tanh(root_2_over_pi * (x + cubic * x * x * x)));
    }
}

KERNEL_VERSIONS
static void backward_block(float *din, const float *dout, const float *restrict in, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float x = in[i], t = vector_tanh(root_2_over_pi * (x + cubic * x * x * x));
        float slope = root_2_over_pi * (1.0f + 3.0f * cubic * x * x);
        din[i] = dout[i] * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope);
    }
}

KERNEL_VERSIONS
static void add_block(float *restrict out, const float *restrict in, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        out[i] += in[i];
}

static int64_t block_size(int64_t at, int64_t count) { return count - at < BLOCK ? count - at : BLOCK; }

void gelu_forward(float *out, const float *in, int64_t count) {
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        forward_block(out + at, in + at, block_size(at, count));
}

void gelu_backward(float *din, const float *dout, const float *in, int64_t count) {
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        backward_block(din + at, dout + at, in + at, block_size(at, count));
}

void add_to(float *out, const float *in, int64_t count) {
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        add_block(out + at, in + at, block_size(at, count));
}
