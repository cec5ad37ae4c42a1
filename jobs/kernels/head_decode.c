/* The output head of decoding: dot products of few rows with very many. Tiles of ACROSS x DOWN of them go through the channels together, so
 * that what is loaded is used several times; every dot product is summed in the same order, whichever tile it falls into. */
#include <stddef.h>

#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

enum { LANES = 16, ACROSS = 4, DOWN = 4, BLOCK = 32, PARALLEL_FROM = 1 << 18 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(8 * sizeof(float))));
typedef float four __attribute__((vector_size(4 * sizeof(float)), aligned(4), may_alias));

static inline __attribute__((always_inline)) four fold(lanes x) {
    eight y = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(y, y, 0, 1, 2, 3) + __builtin_shufflevector(y, y, 4, 5, 6, 7);
}

/* The lanes' sums: (0 + 1) + (2 + 3) of each. */
static inline __attribute__((always_inline)) four fold_four(const lanes *x) {
    four a = fold(x[0]), b = fold(x[1]), c = fold(x[2]), d = fold(x[3]);
    four ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
    four cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* rows of `in` against `columns` rows of wte, both constant where this is inlined. */
static inline __attribute__((always_inline)) void tile(float *const *logits, const float *const *in, const float *wte, int C, int v,
                                                       const int rows, const int columns) {
    lanes sum[DOWN][ACROSS] = {0};
    int whole = C / LANES * LANES;
    if (rows == 1)   /* wte comes from memory, and is read as it lies there */
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            for (int c = 0; c < whole; c += LANES)
                sum[0][j] += *(const lanes *)(in[0] + c) * *(const lanes *)(wte + (size_t)(v + j) * C + c);
    else
        for (int c = 0; c < whole; c += LANES)
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
                for (int j = 0; j < columns; j++)
                    sum[i][j] += *(const lanes *)(in[i] + c) * *(const lanes *)(wte + (size_t)(v + j) * C + c);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        four sums = fold_four(sum[i]);
        for (int j = 0; j < columns; j++) {
            logits[i][v + j] = sums[j];
            for (int rest = whole; rest < C; rest++)
                logits[i][v + j] += in[i][rest] * wte[(size_t)(v + j) * C + rest];
        }
    }
}

static inline __attribute__((always_inline)) void strip(float *const *logits, const float *const *in, const float *wte, int C, int first,
                                                        int last, const int rows) {
    int v = first;
    for (; v + ACROSS <= last; v += ACROSS)
        tile(logits, in, wte, C, v, rows, ACROSS);
    for (; v < last; v++)
        tile(logits, in, wte, C, v, rows, 1);
}

/* The logits first..last of all rows that are wanted. */
KERNEL_VERSIONS
static void multiply(float *const *logits, const float *in, const float *wte, int N, int C, int first, int last) {
    const float *from[DOWN];
    float *to[DOWN];
    for (int n = 0; n < N;) {
        int rows = 0;
        for (; n < N && rows < DOWN; n++)
            if (logits[n]) {
                from[rows] = in + (size_t)n * C;
                to[rows++] = logits[n];
            }
        if (rows == DOWN)
            strip(to, from, wte, C, first, last, DOWN);
        else
            for (int i = 0; i < rows; i++)
                strip(to + i, from + i, wte, C, first, last, 1);
    }
}

void head_decode(float *const *logits, const float *in, const float *wte, int N, int C, int V) {
#pragma omp parallel for if ((int64_t)N * C * V > PARALLEL_FROM)
    for (int first = 0; first < V; first += BLOCK)
        multiply(logits, in, wte, N, C, first, first + BLOCK < V ? first + BLOCK : V);
}
