/* Fully connected layers: each element of out, din and dweight is one sum in the order of K, M and N.
 *
 * The forward is for few rows and weights that come from memory, as decoding has them. It takes the weight in blocks of some rows of K, one
 * after the other as they lie, and while it multiplies one it reads the next into the cache. For large matrices of many rows linear.c,
 * which packs them first, is faster. The backward multiplies by product.h.
 */
#include <omp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/product.h"

enum {
    PARALLEL_FROM = 1 << 20,   /* multiplications: about 10 microseconds */
    ACROSS = 3,                /* vectors side by side in a tile */
    ROWS = 64,                 /* of a pass over the weight, so that L2 holds what they read and write */
    SHARE_ROWS = 8,            /* a thread's share is a multiple of these: whole tiles */
    SHARE_COLUMNS = 48,
    BLOCK = 32 << 10,          /* floats of the weight: this block and the next are 256 KiB, of L2 */
    STREAM_COLUMNS = 4096,     /* of a single row's sums, in L1 */
    DEPTH_LEAST = 24,          /* of a block: fewer steps don't pay for loading and storing the sums */
    LINE = 16,                 /* floats of a line of the cache */
    INTO_L2 = 2,               /* as __builtin_prefetch has it */
};

static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }

/* ---- forward ---- */

/* out = start + in * weight for a tile of out and `depth` of K. */
struct tile {
    float *out;
    const float *start;    /* rows start_row apart: out itself, or the bias in every row */
    ptrdiff_t start_row;
    const float *in, *weight;
    int K, M, depth;
    const float *ahead;    /* to be read ahead, in panels of a tile's columns: */
    int ahead_left, ahead_panels, ahead_skip;   /* of this row; of the next ones; floats from a row to the next */
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("arch=x86-64-v4")))
#define WIDTH 16
#define DOWN 8
#include "jobs/kernels/dense_tile.h"

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("arch=x86-64-v3")))
#define WIDTH 8
#define DOWN 4
#include "jobs/kernels/dense_tile.h"
#endif

#define NAME(x) x##_plain
#define TARGET
#define WIDTH 4
#define DOWN 4
#include "jobs/kernels/dense_tile.h"

typedef void forward_fn(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M, int first, int last);

static forward_fn *forward(void) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("x86-64-v4"))
        return forward_avx512;
    if (__builtin_cpu_supports("x86-64-v3"))
        return forward_avx2;
#endif
    return forward_plain;
}

/* Where share number n of `shares` begins, in steps of `step` up to `count`. */
static int share_begins(int n, int shares, int step, int count) {
    return smaller(count, (int)((int64_t)n * ((count + step - 1) / step) / shares) * step);
}

void dense_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M) {
    int threads = (int64_t)N * K * M > PARALLEL_FROM ? omp_get_max_threads() : 1;
    int across = smaller(threads, (M + SHARE_COLUMNS - 1) / SHARE_COLUMNS);
    int down = smaller(threads / across, (N + SHARE_ROWS - 1) / SHARE_ROWS);
#pragma omp parallel for collapse(2) if (threads > 1)
    for (int i = 0; i < down; i++)
        for (int j = 0; j < across; j++) {
            int n = share_begins(i, down, SHARE_ROWS, N), rows = share_begins(i + 1, down, SHARE_ROWS, N) - n;
            forward()(out + (size_t)n * M, in + (size_t)n * K, weight, bias, rows, K, M, share_begins(j, across, SHARE_COLUMNS, M),
                      share_begins(j + 1, across, SHARE_COLUMNS, M));
        }
}

/* ---- backward ---- */

/* out [rows,columns] = start + p, where p describes the tile of the first row and column. b has its columns side by side. */
static void multiply(float *out, const float *start, int start_row, const struct product *p, int rows, int columns) {
#pragma omp parallel for collapse(2) if ((int64_t)p->depth * rows * columns > PARALLEL_FROM)
    for (int j = 0; j < columns; j += PRODUCT_COLUMNS)
        for (int i = 0; i < rows; i += PRODUCT_ROWS) {
            struct product tile = *p;
            tile.a += i * p->a_row;
            tile.b += j;
            product_tile(out + (size_t)i * columns + j, columns, start ? start + (size_t)i * start_row + j : NULL, start_row, &tile,
                         smaller(PRODUCT_ROWS, rows - i), smaller(PRODUCT_COLUMNS, columns - j));
        }
}

static float *transpose(const float *in, int rows, int columns) {
    enum { SIDE = 16 };
    float *out = xmalloc((size_t)rows * columns * sizeof *out);
#pragma omp parallel for if ((int64_t)rows * columns > PARALLEL_FROM / 4)
    for (int first = 0; first < rows; first += SIDE)
        for (int j = 0; j < columns; j++)
            for (int i = first; i < smaller(first + SIDE, rows); i++)
                out[(size_t)j * rows + i] = in[(size_t)i * columns + j];
    return out;
}

void dense_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N, int K,
                    int M) {
    if (din) {
        float *turned = transpose(weight, K, M);
        struct product p = {.a = dout, .a_row = M, .a_depth = 1, .b = turned, .b_depth = K, .depth = M, .outer = 1};
        multiply(din, NULL, 0, &p, N, K);
        free(turned);
    }
    struct product p = {.a = in, .a_row = 1, .a_depth = K, .b = dout, .b_depth = M, .depth = N, .outer = 1};
    multiply(dweight, dweight, M, &p, K, M);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++)
            dbias[m] += dout[(size_t)n * M + m];
}
