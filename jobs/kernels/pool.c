/* Max pooling over 2x2 pixels; which of the four won is kept for the backward, the first where several did. */
#include <stddef.h>

#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

/* NaN wins, so that it is seen in the loss. */
static inline int wins(float x, float best) { return (x > best) | (x != x); }

/* One row of the output from two of the input. */
KERNEL_VERSIONS
static void forward_row(float *restrict out, uint8_t *restrict winner, const float *restrict upper, const float *restrict lower, int pairs,
                        int C) {
    for (int x = 0; x < pairs; x++, upper += 2 * C, lower += 2 * C, out += C, winner += C)
        for (int c = 0; c < C; c++) {
            float best = upper[c], right = upper[C + c], left_below = lower[c], right_below = lower[C + c];
            int which = 0;
            which = wins(right, best) ? 1 : which;
            best = wins(right, best) ? right : best;
            which = wins(left_below, best) ? 2 : which;
            best = wins(left_below, best) ? left_below : best;
            which = wins(right_below, best) ? 3 : which;
            best = wins(right_below, best) ? right_below : best;
            out[c] = best;
            winner[c] = (uint8_t)which;
        }
}

KERNEL_VERSIONS
static void backward_row(float *restrict upper, float *restrict lower, const float *restrict dout, const uint8_t *restrict winner,
                         int pairs, int C) {
    for (int x = 0; x < pairs; x++, upper += 2 * C, lower += 2 * C, dout += C, winner += C)
        for (int c = 0; c < C; c++) {
            upper[c] = winner[c] == 0 ? dout[c] : 0;
            upper[C + c] = winner[c] == 1 ? dout[c] : 0;
            lower[c] = winner[c] == 2 ? dout[c] : 0;
            lower[C + c] = winner[c] == 3 ? dout[c] : 0;
        }
}

void max_pool_forward(float *out, uint8_t *winner, const float *in, int N, int height, int width, int C) {
    size_t in_row = (size_t)width * C, out_row = in_row / 2;
#pragma omp parallel for
    for (int64_t y = 0; y < (int64_t)N * height / 2; y++)
        forward_row(out + y * out_row, winner + y * out_row, in + 2 * y * in_row, in + (2 * y + 1) * in_row, width / 2, C);
}

void max_pool_backward(float *din, const float *dout, const uint8_t *winner, int N, int height, int width, int C) {
    size_t in_row = (size_t)width * C, out_row = in_row / 2;
#pragma omp parallel for
    for (int64_t y = 0; y < (int64_t)N * height / 2; y++)
        backward_row(din + 2 * y * in_row, din + (2 * y + 1) * in_row, dout + y * out_row, winner + y * out_row, width / 2, C);
}
