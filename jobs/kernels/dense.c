/* Fully connected layers on product.h. linear.c has the same by BLAS, whose results change with the number of threads; here each element of
 * out, din and dweight is one sum in the order of K, M and N. */
#include <stdlib.h>

#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/product.h"

enum { PARALLEL_FROM = 1 << 20 };   /* multiplications: about 10 microseconds */

static int smaller(int a, int b) { return a < b ? a : b; }

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

void dense_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M) {
    struct product p = {.a = in, .a_row = K, .a_depth = 1, .b = weight, .b_depth = M, .depth = K, .outer = 1};
    multiply(out, bias, 0, &p, N, M);
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
