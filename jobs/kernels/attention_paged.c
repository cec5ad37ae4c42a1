/* Attention of new positions against a cache whose positions lie in blocks. All heads of a position lie side by side, so they are gone
 * through together, and the cache is read as it lies. A row's sums depend on nothing but its own sequence: not on the rows beside it, and
 * not on which blocks hold it.
 */
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

enum { LANES = 16, PARALLEL_FROM = 1 << 16 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(8 * sizeof(float))));
typedef float four __attribute__((vector_size(4 * sizeof(float))));

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

/* In LANES, then across them; what fills none comes last. */
static inline __attribute__((always_inline)) float dot(const float *a, const float *b, int D) {
    lanes sum = {0};
    int d = 0;
    for (; d + LANES <= D; d += LANES)
        sum += *(const lanes *)(a + d) * *(const lanes *)(b + d);
    eight x = __builtin_shufflevector(sum, sum, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(sum, sum, 8, 9, 10, 11, 12, 13, 14, 15);
    four y = __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
    float rest = 0;
    for (; d < D; d++)
        rest += a[d] * b[d];
    return (y[0] + y[1]) + (y[2] + y[3]) + rest;
}

/* scores [heads,positions] of one query. */
KERNEL_VERSIONS
static void score(float *scores, const float *q, const float *keys, const int *blocks, int positions, int C, int D, int heads) {
    for (int p = 0; p < positions; p++) {
        const float *k = keys + place(blocks, p, C);
        for (int h = 0; h < heads; h++)
            scores[(size_t)h * positions + p] = dot(q + h * D, k + h * D, D);
    }
}

/* out [heads,D] = the values, each head's by its weights. */
KERNEL_VERSIONS
static void mix(float *restrict out, const float *restrict weights, const float *restrict values, const int *blocks, int positions, int C,
                int D, int heads) {
    for (int i = 0; i < heads * D; i++)
        out[i] = 0;
    for (int p = 0; p < positions; p++) {
        const float *v = values + place(blocks, p, C);
        for (int h = 0; h < heads; h++) {
            float weight = weights[(size_t)h * positions + p];
            int d = h * D, end = d + D;
            for (; d + LANES <= end; d += LANES)
                *(lanes *)(out + d) += weight * *(const lanes *)(v + d);
            for (; d < end; d++)
                out[d] += weight * v[d];
        }
    }
}

KERNEL_VERSIONS
static void multiply(float *x, float factor, int count) {
    for (int i = 0; i < count; i++)
        x[i] *= factor;
}

/* Row n, of which out, qkv, keys and values begin at the first of these heads. */
static void attend(float *out, const float *q, const float *keys, const float *values, const struct cache_row *r, int C, int D, int heads,
                   float *scores) {
    score(scores, q, keys, r->blocks, r->positions, C, D, heads);
    for (int h = 0; h < heads; h++) {
        float sum = weigh(scores + (size_t)h * r->positions, r->positions, 1.0f / sqrtf((float)D));
        multiply(scores + (size_t)h * r->positions, 1.0f / sum, r->positions);
    }
    mix(out, scores, values, r->blocks, r->positions, C, D, heads);
}

void attention_paged(float *out, const float *qkv, const float *keys, const float *values, const struct cache_row *rows, int N, int C,
                     int H) {
    int D = C / H, most = 0;
    for (int n = 0; n < N; n++)
        most = rows[n].positions > most ? rows[n].positions : most;
    bool parallel = (int64_t)N * most * C > PARALLEL_FROM;
    int threads = parallel ? omp_get_max_threads() : 1, groups = N < threads ? (H < threads ? H : threads) : 1;   /* of heads */
#pragma omp parallel if (parallel)
    {
        float *scores = xmalloc((size_t)most * (size_t)H * sizeof *scores);
#pragma omp for collapse(2)
        for (int n = 0; n < N; n++)
            for (int g = 0; g < groups; g++) {
                int h = H * g / groups, heads = H * (g + 1) / groups - h;
                attend(out + (size_t)n * C + h * D, qkv + (size_t)n * 3 * C + h * D, keys + h * D, values + h * D, &rows[n], C, D, heads,
                       scores);
            }
        free(scores);
    }
}
