/* Causal self-attention, one (sequence, head) a thread at a time.
 *
 * A head goes in blocks of QUERIES rows: a block sees the keys up to its last row, so that masked products are skipped but for those in
 * the blocks of the diagonal, whose weights are stored as zeros. Only a block's weights are ever there; the backward gets them again from
 * lse: P = exp(scale * q.k - lse) (Dao, 2022). Rows of q, k, v are strided views of qkv.
 */
#include "jobs/kernels/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/gemm.h"
#include "jobs/kernels/vector_math.h"

enum { QUERIES = 64 };

/* What one thread works on: a head's slices. Rows of q, k, v are 3C apart, those of out and dout C. */
struct head {
    const float *q, *k, *v;
    int T, C, D;
    float scale;
};

/* A thread's own: the head's keys and values as the products read them, and the weights of a block of queries. */
struct scratch {
    float *by_key, *by_value;          /* [D,T]: q k^T and dout v^T */
    float *by_weight;                  /* forward [T,D] v; backward k */
    float *rows;                       /* [QUERIES,D] dout, then q */
    float *weights, *dweights;         /* [QUERIES,T] */
};

static struct head head_at(const float *qkv, int T, int C, int H, int bh) {
    int D = C / H;
    const float *q = qkv + (size_t)(bh / H) * T * 3 * C + (size_t)(bh % H) * D;
    return (struct head){.q = q, .k = q + C, .v = q + 2 * C, .T = T, .C = C, .D = D, .scale = 1.0f / sqrtf((float)D)};
}

static struct gemm_matrix rows_of(const float *at, int step) { return (struct gemm_matrix){at, step, 1}; }
static struct gemm_matrix transposed(const float *at, int step) { return (struct gemm_matrix){at, 1, step}; }

static struct scratch scratch_new(int T, int D, bool backward) {
    size_t block = sizeof(float) * QUERIES * (size_t)T;
    struct scratch s = {.by_key = gemm_new_packed(D, T),
                        .by_weight = gemm_new_packed(T, D),
                        .weights = xmalloc_aligned(64, block)};
    if (backward) {
        s.by_value = gemm_new_packed(D, T);
        s.rows = gemm_new_packed(QUERIES, D);
        s.dweights = xmalloc_aligned(64, block);
    }
    return s;
}

static void scratch_free(struct scratch *s) {
    float *arrays[] = {s->by_key, s->by_value, s->by_weight, s->rows, s->weights, s->dweights};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
}

/* Row t attends to 0..t; the rest of its `count` weights are zero. Turns its scores into weights and returns the logarithm of the
 * denominator. */
KERNEL_VERSIONS
static float softmax_row(float *row, int t, int count, float scale) {
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
    for (int i = t + 1; i < count; i++)
        row[i] = 0;
    return scale * max + logf(sum);
}

/* The queries first..first+count-1, which see the keys 0..seen-1. */
static void forward_block(float *out, float *lse, const struct head *h, const struct scratch *s, int first, int count) {
    int T = h->T, D = h->D, seen = first + count;
    gemm_packed(s->weights, seen, rows_of(h->q + (size_t)first * 3 * h->C, 3 * h->C), s->by_key, D, T, count, seen, D, GEMM_ZERO);
    for (int i = 0; i < count; i++)
        lse[first + i] = softmax_row(s->weights + (size_t)i * seen, first + i, seen, h->scale);
    gemm_packed(out + (size_t)first * h->C, h->C, rows_of(s->weights, seen), s->by_weight, T, D, count, D, seen, GEMM_ZERO);
}

static void forward_head(float *out, float *lse, const struct head *h, const struct scratch *s) {
    gemm_pack(s->by_key, transposed(h->k, 3 * h->C), h->D, h->T);
    gemm_pack(s->by_weight, rows_of(h->v, 3 * h->C), h->T, h->D);
    for (int first = 0; first < h->T; first += QUERIES)
        forward_block(out, lse, h, s, first, h->T - first < QUERIES ? h->T - first : QUERIES);
}

void attention_forward(float *out, float *lse, const float *qkv, int B, int T, int C, int H) {
#pragma omp parallel
    {
        struct scratch s = scratch_new(T, C / H, false);
#pragma omp for schedule(dynamic)
        for (int bh = 0; bh < B * H; bh++) {
            struct head h = head_at(qkv, T, C, H, bh);
            forward_head(out + (size_t)(bh / H) * T * C + (size_t)(bh % H) * h.D, lse + (size_t)bh * T, &h, &s);
        }
        scratch_free(&s);
    }
}

KERNEL_VERSIONS
static void weights_row(float *row, int t, int count, float scale, float lse) {
#pragma omp simd
    for (int i = 0; i <= t; i++)
        row[i] = vector_exp(scale * row[i] - lse);
    for (int i = t + 1; i < count; i++)
        row[i] = 0;
}

/* The gradient of the scores: scale * P * (dP - out.dout); the dot product is the sum over i of P * dP. */
KERNEL_VERSIONS
static void score_gradient_row(float *restrict dweights, const float *restrict weights, const float *out, const float *dout, int D,
                               int count, float scale) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int d = 0; d < D; d++)
        dot += out[d] * dout[d];
    for (int i = 0; i < count; i++)
        dweights[i] = scale * weights[i] * (dweights[i] - dot);
}

static void backward_block(float *dq, const float *dout, const float *out, const float *lse, const struct head *h, const struct scratch *s,
                           int first, int count) {
    int T = h->T, C = h->C, D = h->D, seen = first + count;
    const float *q = h->q + (size_t)first * 3 * C, *d = dout + (size_t)first * C;
    gemm_packed(s->weights, seen, rows_of(q, 3 * C), s->by_key, D, T, count, seen, D, GEMM_ZERO);
    gemm_packed(s->dweights, seen, rows_of(d, C), s->by_value, D, T, count, seen, D, GEMM_ZERO);
    for (int i = 0; i < count; i++) {
        float *weights = s->weights + (size_t)i * seen;
        size_t row = (size_t)(first + i) * C;
        weights_row(weights, first + i, seen, h->scale, lse[first + i]);
        score_gradient_row(s->dweights + (size_t)i * seen, weights, out + row, dout + row, D, seen, h->scale);
    }
    gemm_packed(dq + (size_t)first * 3 * C, 3 * C, rows_of(s->dweights, seen), s->by_weight, T, D, count, D, seen, GEMM_ZERO);
    gemm_pack(s->rows, rows_of(q, 3 * C), count, D);
    gemm_packed(dq + C, 3 * C, transposed(s->dweights, seen), s->rows, count, D, seen, D, count, GEMM_SUM);
    gemm_pack(s->rows, rows_of(d, C), count, D);
    gemm_packed(dq + 2 * C, 3 * C, transposed(s->weights, seen), s->rows, count, D, seen, D, count, GEMM_SUM);
}

static void backward_head(float *dq, const float *dout, const float *out, const float *lse, const struct head *h, const struct scratch *s) {
    int C = h->C, T = h->T;
    gemm_pack(s->by_key, transposed(h->k, 3 * C), h->D, T);
    gemm_pack(s->by_value, transposed(h->v, 3 * C), h->D, T);
    gemm_pack(s->by_weight, rows_of(h->k, 3 * C), T, h->D);
    for (int t = 0; t < T; t++)
        for (int part = 1; part <= 2; part++)   /* dk and dv, which the blocks add to */
            memset(dq + (size_t)t * 3 * C + part * C, 0, (size_t)h->D * sizeof *dq);
    for (int first = 0; first < T; first += QUERIES)
        backward_block(dq, dout, out, lse, h, s, first, T - first < QUERIES ? T - first : QUERIES);
}

void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse, const float *qkv, int B, int T, int C, int H) {
#pragma omp parallel
    {
        struct scratch s = scratch_new(T, C / H, true);
#pragma omp for schedule(dynamic)
        for (int bh = 0; bh < B * H; bh++) {
            struct head h = head_at(qkv, T, C, H, bh);
            size_t at = (size_t)(bh / H) * T * C + (size_t)(bh % H) * h.D;
            backward_head(dqkv + (h.q - qkv), dout + at, out + at, lse + (size_t)bh * T, &h, &s);
        }
        scratch_free(&s);
    }
}
