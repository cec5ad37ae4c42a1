/* Layer normalisation. The backward goes over the rows for din, and over blocks of columns for the weights: so each sum has one owner and
 * one order, whatever the number of threads. */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stddef.h>

#include "jobs/kernels/vector_math.h"

enum { COLUMN_BLOCK = 256, PARALLEL_FROM = 1 << 15 };

KERNEL_VERSIONS
static void forward_row(float *out, float *mean, float *rstd, const float *in, const float *weight, const float *bias, int C) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < C; c++)
        sum += in[c];
    float m = sum / (float)C;
#pragma omp simd reduction(+ : squares)
    for (int c = 0; c < C; c++)
        squares += (in[c] - m) * (in[c] - m);
    float r = 1.0f / sqrtf(squares / (float)C + 1e-5f);
    for (int c = 0; c < C; c++)
        out[c] = (in[c] - m) * r * weight[c] + bias[c];
    *mean = m;
    *rstd = r;
}

void layernorm_forward(float *out, float *mean, float *rstd, const float *in, const float *weight, const float *bias, int N, int C) {
#pragma omp parallel for if ((int64_t)N * C > PARALLEL_FROM)
    for (int n = 0; n < N; n++)
        forward_row(out + (size_t)n * C, mean + n, rstd + n, in + (size_t)n * C, weight, bias, C);
}

/* With x the normalised input and g = dout * weight: din = rstd * (g - average(g) - x * average(g * x)). */
KERNEL_VERSIONS
static void backward_row(float *din, const float *dout, const float *in, const float *weight, float mean, float rstd, int C) {
    float g_sum = 0, gx_sum = 0;
#pragma omp simd reduction(+ : g_sum, gx_sum)
    for (int c = 0; c < C; c++) {
        float x = (in[c] - mean) * rstd, g = dout[c] * weight[c];
        g_sum += g;
        gx_sum += g * x;
    }
    float g_average = g_sum / (float)C, gx_average = gx_sum / (float)C;
    for (int c = 0; c < C; c++) {
        float x = (in[c] - mean) * rstd, g = dout[c] * weight[c];
        din[c] += rstd * (g - g_average - x * gx_average);
    }
}

KERNEL_VERSIONS
static void backward_columns(float *dweight, float *dbias, const float *dout, const float *in, const float *mean, const float *rstd, int N,
                             int C, int first, int last) {
    for (int n = 0; n < N; n++) {
        const float *d = dout + (size_t)n * C, *x = in + (size_t)n * C;
        for (int c = first; c < last; c++) {
            dweight[c] += d[c] * (x[c] - mean[n]) * rstd[n];
            dbias[c] += d[c];
        }
    }
}

void layernorm_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight,
                        const float *mean, const float *rstd, int N, int C) {
#pragma omp parallel for if ((int64_t)N * C > PARALLEL_FROM)
    for (int n = 0; n < N; n++)
        backward_row(din + (size_t)n * C, dout + (size_t)n * C, in + (size_t)n * C, weight, mean[n], rstd[n], C);
#pragma omp parallel for if ((int64_t)N * C > PARALLEL_FROM)
    for (int first = 0; first < C; first += COLUMN_BLOCK)
        backward_columns(dweight, dbias, dout, in, mean, rstd, N, C, first, first + COLUMN_BLOCK < C ? first + COLUMN_BLOCK : C);
}
