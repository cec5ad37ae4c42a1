/* Batch normalisation. What a sample gives to the statistics is summed by itself, in double, and the samples' sums are added in one fixed
 * tree: so the statistics of a batch have the same bits however its samples are spread over threads or, in powers of two, over ranks. */
#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

static const float epsilon = 1e-5f;

KERNEL_VERSIONS
static void sum_sample(double *restrict sum, double *restrict squares, const float *restrict in, int pixels, int C) {
    for (int c = 0; c < C; c++)
        sum[c] = squares[c] = 0;
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++) {
            double x = in[(size_t)i * C + c];
            sum[c] += x;
            squares[c] += x * x;
        }
}

void batchnorm_sums(double *sums, const float *in, int N, int pixels, int C) {
#pragma omp parallel for
    for (int n = 0; n < N; n++)
        sum_sample(sums + (size_t)n * 2 * C, sums + (size_t)n * 2 * C + C, in + (size_t)n * pixels * C, pixels, C);
}

void sum_pairwise(double *rows, int N, int count) {
    for (int step = 1; step < N; step *= 2)
        for (int n = 0; n + step < N; n += 2 * step)
            for (int i = 0; i < count; i++)
                rows[(size_t)n * count + i] += rows[(size_t)(n + step) * count + i];
}

void batchnorm_statistics(float *mean, float *variance, const double *sums, int64_t count, int C) {
    for (int c = 0; c < C; c++) {
        double m = sums[c] / (double)count, v = sums[C + c] / (double)count - m * m;
        mean[c] = (float)m;
        variance[c] = v > 0 ? (float)v : v == v ? 0 : NAN;   /* rounding may take it below zero */
    }
}

static void reciprocal_deviations(float *rstd, const float *variance, int C) {
    for (int c = 0; c < C; c++)
        rstd[c] = 1.0f / sqrtf(variance[c] + epsilon);
}

KERNEL_VERSIONS
static void forward_sample(float *restrict out, const float *restrict in, const float *restrict factor, const float *restrict bias,
                           const float *restrict mean, int pixels, int C) {
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++)
            out[(size_t)i * C + c] = (in[(size_t)i * C + c] - mean[c]) * factor[c] + bias[c];
}

void batchnorm_forward(float *out, const float *in, const float *weight, const float *bias, const float *mean, const float *variance, int N,
                       int pixels, int C) {
    float *factor = xmalloc((size_t)C * sizeof *factor);
    reciprocal_deviations(factor, variance, C);
    for (int c = 0; c < C; c++)
        factor[c] *= weight[c];
#pragma omp parallel for
    for (int n = 0; n < N; n++)
        forward_sample(out + (size_t)n * pixels * C, in + (size_t)n * pixels * C, factor, bias, mean, pixels, C);
    free(factor);
}

KERNEL_VERSIONS
static void sum_gradients(double *restrict sum, double *restrict product, const float *restrict dout, const float *restrict in,
                          const float *restrict mean, const float *restrict rstd, int pixels, int C) {
    for (int c = 0; c < C; c++)
        sum[c] = product[c] = 0;
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < C; c++) {
            double d = dout[(size_t)i * C + c];
            sum[c] += d;
            product[c] += d * ((in[(size_t)i * C + c] - mean[c]) * rstd[c]);
        }
}

void batchnorm_backward_sums(double *sums, const float *dout, const float *in, const float *mean, const float *variance, int N, int pixels,
                             int C) {
    float *rstd = xmalloc((size_t)C * sizeof *rstd);
    reciprocal_deviations(rstd, variance, C);
#pragma omp parallel for
    for (int n = 0; n < N; n++)
        sum_gradients(sums + (size_t)n * 2 * C, sums + (size_t)n * 2 * C + C, dout + (size_t)n * pixels * C, in + (size_t)n * pixels * C,
                      mean, rstd, pixels, C);
    free(rstd);
}

/* With x the normalised input: din = weight * rstd * (dout - average(dout) - x * average(dout * x)). */
KERNEL_VERSIONS
static void backward_sample(float *din, const float *dout, const float *restrict in, const float *restrict factor,
                            const float *restrict mean, const float *restrict rstd, const float *restrict average,
                            const float *restrict slope, int pixels, int C) {
    for (int i = 0; i < pixels; i++)
#pragma omp simd
        for (int c = 0; c < C; c++) {
            float x = (in[(size_t)i * C + c] - mean[c]) * rstd[c];
            din[(size_t)i * C + c] = factor[c] * (dout[(size_t)i * C + c] - average[c] - x * slope[c]);
        }
}

void batchnorm_backward(float *din, const float *dout, const float *in, const float *weight, const float *mean, const float *variance,
                        const double *sums, int64_t count, int N, int pixels, int C) {
    float *rstd = xmalloc(4 * (size_t)C * sizeof *rstd), *factor = rstd + C, *average = factor + C, *slope = average + C;
    reciprocal_deviations(rstd, variance, C);
    for (int c = 0; c < C; c++) {
        factor[c] = weight[c] * rstd[c];
        average[c] = (float)(sums[c] / (double)count);
        slope[c] = (float)(sums[C + c] / (double)count);
    }
#pragma omp parallel for
    for (int n = 0; n < N; n++)
        backward_sample(din + (size_t)n * pixels * C, dout + (size_t)n * pixels * C, in + (size_t)n * pixels * C, factor, mean, rstd,
                        average, slope, pixels, C);
    free(rstd);
}
