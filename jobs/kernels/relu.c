/* max(x, 0) and its gradient: one pass over the elements each. */
#include "jobs/kernels/kernels.h"

#include "jobs/kernels/vector_math.h"

enum { BLOCK = 4096 };   /* elements a thread takes at a time */

KERNEL_VERSIONS
static void forward_block(float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        x[i] = x[i] < 0 ? 0 : x[i];   /* NaN stays: it must be seen in the loss */
}

KERNEL_VERSIONS
static void backward_block(float *restrict d, const float *restrict out, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        d[i] = out[i] > 0 ? d[i] : 0;
}

static int64_t block_size(int64_t at, int64_t count) { return count - at < BLOCK ? count - at : BLOCK; }

void relu_forward(float *x, int64_t count) {
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        forward_block(x + at, block_size(at, count));
}

void relu_backward(float *d, const float *out, int64_t count) {
#pragma omp parallel for if (count > 4 * BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        backward_block(d + at, out + at, block_size(at, count));
}
