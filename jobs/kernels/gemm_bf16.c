/* Operands of products in bf16: rounded to nearest, ties to even, and two neighbours along k in one word, as AVX512_BF16 multiplies them.
 * A matrix of such words is laid out, split and packed as one of floats; only the tile knows. */
#include "jobs/kernels/gemm_bf16.h"

#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/vector_math.h"

enum { PARALLEL_FROM = 1 << 15 };

static inline __attribute__((always_inline)) uint32_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t up = bits + 0x7fff + (bits >> 16 & 1);
    return (x != x ? bits | 0x400000 : up) & 0xffff0000u;   /* a NaN stays one */
}

/* A row and the one after it. */
KERNEL_VERSIONS
static void pair_rows(uint32_t *restrict out, const float *restrict low, const float *restrict high, int count) {
    for (int i = 0; i < count; i++)
        out[i] = rounded(low[i]) >> 16 | rounded(high[i]);
}

KERNEL_VERSIONS
static void pair_within(uint32_t *restrict out, const float *restrict row, int length) {
    for (int i = 0; i < length / 2; i++)
        out[i] = rounded(row[2 * i]) >> 16 | rounded(row[2 * i + 1]);
    if (length % 2)
        out[length / 2] = rounded(row[length - 1]) >> 16;
}

KERNEL_VERSIONS
static void pair_with_zeros(uint32_t *restrict out, const float *restrict row, int count) {
    for (int i = 0; i < count; i++)
        out[i] = rounded(row[i]) >> 16;
}

static void pair_rows_at(uint32_t *out, struct gemm_matrix m, int k, int M, int K) {
    if (k + 1 < K)
        pair_rows(out, m.at + k * m.column, m.at + (k + 1) * m.column, M);
    else
        pair_with_zeros(out, m.at + k * m.column, M);
}

struct gemm_matrix gemm_pairs(struct gemm_matrix m, int M, int K) {
    bool along = m.column == 1;   /* k is what lies together */
    int half = (K + 1) / 2, rows = along ? M : half, width = along ? half : M;
    uint32_t *words = xmalloc_aligned(64, sizeof *words * (size_t)rows * (size_t)width);
#pragma omp parallel for if ((int64_t)M * K > PARALLEL_FROM)
    for (int i = 0; i < rows; i++)
        if (along)
            pair_within(words + (int64_t)i * width, m.at + i * m.row, K);
        else
            pair_rows_at(words + (int64_t)i * width, m, 2 * i, M, K);
    return (struct gemm_matrix){(const float *)words, along ? width : 1, along ? 1 : width};
}
