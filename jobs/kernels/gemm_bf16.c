/* Operands of products in bf16: rounded to nearest, ties to even, and two neighbours along k in one word, as AVX512_BF16 multiplies them.
 * A matrix of such words is laid out, split and packed as one of floats; only the tile knows. */
#include "jobs/kernels/gemm_bf16.h"

#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/vector_math.h"

static inline __attribute__((always_inline)) uint32_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t up = bits + 0x7fff + (bits >> 16 & 1);
    return (x != x ? bits | 0x400000 : up) & 0xffff0000u;   /* a NaN stays one */
}

KERNEL_VERSIONS
static void pair_rows(uint32_t *restrict out, const float *restrict low, const float *restrict high, int step, int count) {
    for (int i = 0; i < count; i++)
        out[i] = rounded(low[i * step]) >> 16 | rounded(high[i * step]);
}

/* One row of what lies together: pairs within it, or it and the next one. */
static void pair_row(uint32_t *out, struct gemm_matrix m, int i, int lines, int length, bool along) {
    static const float zero;
    if (!along && 2 * i + 1 < lines)
        pair_rows(out, m.at + 2 * i * m.column, m.at + (2 * i + 1) * m.column, 1, length);
    else if (!along)
        for (int j = 0; j < length; j++)
            pair_rows(out + j, m.at + 2 * i * m.column + j, &zero, 0, 1);
    else {
        pair_rows(out, m.at + i * m.row, m.at + i * m.row + 1, 2, length / 2);
        if (length % 2)
            pair_rows(out + length / 2, m.at + i * m.row + length - 1, &zero, 0, 1);
    }
}

struct gemm_matrix gemm_pairs(struct gemm_matrix m, int M, int K) {
    bool along = m.column == 1;   /* k is */
    int half = (K + 1) / 2, rows = along ? M : half, width = along ? half : M;
    uint32_t *words = xmalloc_aligned(64, sizeof *words * (size_t)rows * (size_t)width);
#pragma omp parallel for if ((int64_t)M * K > 1 << 15)
    for (int i = 0; i < rows; i++)
        pair_row(words + (int64_t)i * width, m, i, along ? M : K, along ? K : M, along);
    return (struct gemm_matrix){(const float *)words, along ? width : 1, along ? 1 : width};
}
