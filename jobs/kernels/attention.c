/* Causal self-attention, one (sequence, head) a thread at a time.
 *
 * The products of a head run on strided views of qkv through BLAS (leading dimension 3C), so nothing is transposed or copied. The T x T
 * weights live only in a thread's scratch; the backward gets them again from lse: P = exp(scale * q.k - lse). Masked weights are stored
 * as zeros, so that the products may run over whole rows.
 */
#include "jobs/kernels/kernels.h"

#include <cblas.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/vector_math.h"

/* What one thread works on: a head's slices. Rows of q, k, v are 3C apart, those of out and dout C. */
struct head {
    const float *q, *k, *v;
    int T, C, D;
    float scale;
};

static struct head head_at(const float *qkv, int T, int C, int H, int bh) {
    int D = C / H;
    const float *q = qkv + (size_t)(bh / H) * T * 3 * C + (size_t)(bh % H) * D;
    return (struct head){.q = q, .k = q + C, .v = q + 2 * C, .T = T, .C = C, .D = D, .scale = 1.0f / sqrtf((float)D)};
}

/* scores [T,T] = q k^T, unscaled. */
static void multiply_query_key(float *scores, const struct head *h) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, h->T, h->T, h->D, 1.0f, h->q, 3 * h->C, h->k, 3 * h->C, 0.0f, scores, h->T);
}

/* Row t attends to 0..t. Turns its scores into weights and returns the logarithm of the denominator. */
KERNEL_VERSIONS
static float softmax_row(float *row, int t, int T, float scale) {
    float max = row[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int i = 0; i <= t; i++)
        max = row[i] > max ? row[i] : max;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i <= t; i++) {
        row[i] = vector_exp(scale * (row[i] - max));
        sum += row[i];
    }
    float inverse = 1.0f / sum;
    for (int i = 0; i <= t; i++)
        row[i] *= inverse;
    for (int i = t + 1; i < T; i++)
        row[i] = 0;
    return scale * max + logf(sum);
}

static void forward_head(float *out, float *lse, const struct head *h, float *scores) {
    multiply_query_key(scores, h);
    for (int t = 0; t < h->T; t++)
        lse[t] = softmax_row(scores + (size_t)t * h->T, t, h->T, h->scale);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, h->T, h->D, h->T, 1.0f, scores, h->T, h->v, 3 * h->C, 0.0f, out, h->C);
}

void attention_forward(float *out, float *lse, const float *qkv, int B, int T, int C, int H) {
#pragma omp parallel
    {
        float *scores = xmalloc((size_t)T * T * sizeof *scores);
#pragma omp for
        for (int bh = 0; bh < B * H; bh++) {
            struct head h = head_at(qkv, T, C, H, bh);
            forward_head(out + (size_t)(bh / H) * T * C + (size_t)(bh % H) * h.D, lse + (size_t)bh * T, &h, scores);
        }
        free(scores);
    }
}

KERNEL_VERSIONS
static void weights_row(float *row, int t, int T, float scale, float lse) {
#pragma omp simd
    for (int i = 0; i <= t; i++)
        row[i] = vector_exp(scale * row[i] - lse);
    for (int i = t + 1; i < T; i++)
        row[i] = 0;
}

/* The gradient of the scores: scale * P * (dP - out.dout); the dot product is the sum over i of P * dP (Dao, 2022). */
KERNEL_VERSIONS
static void score_gradient_row(float *dweights, const float *weights, const float *out, const float *dout, int D, int T, float scale) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int d = 0; d < D; d++)
        dot += out[d] * dout[d];
    for (int i = 0; i < T; i++)
        dweights[i] = scale * weights[i] * (dweights[i] - dot);
}

static void backward_head(float *dq, const float *dout, const float *out, const float *lse, const struct head *h, float *scratch) {
    int T = h->T, C = h->C, D = h->D;
    float *weights = scratch, *dweights = scratch + (size_t)T * T;
    multiply_query_key(weights, h);
    for (int t = 0; t < T; t++)
        weights_row(weights + (size_t)t * T, t, T, h->scale, lse[t]);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, T, D, T, 1.0f, weights, T, dout, C, 0.0f, dq + 2 * C, 3 * C);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, T, T, D, 1.0f, dout, C, h->v, 3 * C, 0.0f, dweights, T);
    for (int t = 0; t < T; t++)
        score_gradient_row(dweights + (size_t)t * T, weights + (size_t)t * T, out + (size_t)t * C, dout + (size_t)t * C, D, T, h->scale);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, T, D, T, 1.0f, dweights, T, h->k, 3 * C, 0.0f, dq, 3 * C);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, T, D, T, 1.0f, dweights, T, h->q, 3 * C, 0.0f, dq + C, 3 * C);
}

void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse, const float *qkv, int B, int T, int C, int H) {
#pragma omp parallel
    {
        float *scratch = xmalloc((size_t)T * T * 2 * sizeof *scratch);
#pragma omp for
        for (int bh = 0; bh < B * H; bh++) {
            struct head h = head_at(qkv, T, C, H, bh);
            size_t at = (size_t)(bh / H) * T * C + (size_t)(bh % H) * h.D;
            backward_head(dqkv + (h.q - qkv), dout + at, out + at, lse + (size_t)bh * T, &h, scratch);
        }
        free(scratch);
    }
}
