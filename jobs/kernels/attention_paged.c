/* Attention of new positions against a cache whose positions lie in blocks: one (row, head) a thread at a time. A row's sums depend on
 * nothing but its own sequence: not on the rows beside it, and not on which blocks hold it. */
#include <math.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

static inline size_t place(const int *blocks, int p, int C) {
    return ((size_t)blocks[p / CACHE_BLOCK] * CACHE_BLOCK + (size_t)(p % CACHE_BLOCK)) * (size_t)C;
}

/* The largest score is taken away first, so that no exp overflows. Returns the sum of the weights. */
KERNEL_VERSIONS
static float weigh(float *scores, int positions, float scale) {
    float max = scores[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int p = 0; p < positions; p++)
        max = scores[p] > max ? scores[p] : max;
#pragma omp simd reduction(+ : sum)
    for (int p = 0; p < positions; p++) {
        scores[p] = vector_exp(scale * (scores[p] - max));
        sum += scores[p];
    }
    return sum;
}

KERNEL_VERSIONS
static void score(float *scores, const float *q, const float *keys, const int *blocks, int positions, int C, int D) {
    for (int p = 0; p < positions; p++) {
        const float *k = keys + place(blocks, p, C);
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int d = 0; d < D; d++)
            dot += q[d] * k[d];
        scores[p] = dot;
    }
}

KERNEL_VERSIONS
static void mix(float *restrict out, const float *weights, const float *values, const int *blocks, int positions, int C, int D,
                float factor) {
    for (int d = 0; d < D; d++)
        out[d] = 0;
    for (int p = 0; p < positions; p++) {
        const float *restrict v = values + place(blocks, p, C);
        float weight = weights[p] * factor;
        for (int d = 0; d < D; d++)
            out[d] += weight * v[d];
    }
}

void attention_paged(float *out, const float *qkv, const float *keys, const float *values, const struct cache_row *rows, int N, int C,
                     int H) {
    int D = C / H, most = 0;
    for (int n = 0; n < N; n++)
        most = rows[n].positions > most ? rows[n].positions : most;
#pragma omp parallel if ((int64_t)N * most * C > 1 << 16)
    {
        float *scores = xmalloc((size_t)most * sizeof *scores);
#pragma omp for collapse(2)
        for (int n = 0; n < N; n++)
            for (int h = 0; h < H; h++) {
                const struct cache_row *r = &rows[n];
                score(scores, qkv + (size_t)n * 3 * C + h * D, keys + h * D, r->blocks, r->positions, C, D);
                float sum = weigh(scores, r->positions, 1.0f / sqrtf((float)D));
                mix(out + (size_t)n * C + h * D, scores, values + h * D, r->blocks, r->positions, C, D, 1.0f / sum);
            }
        free(scores);
    }
}
