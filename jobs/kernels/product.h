/* The micro-kernel under the convolutions and the dense layers: a small tile of a matrix product whose operands are strided views, so that
 * windows of an image, transposes and dense matrices are all multiplied where they lie, without a copy.
 *
 * Every element of the result is one sum, taken in the order of the depth from `start` on: its bits depend neither on the tile that it
 * falls into nor on the number of threads, and are the same on every x86-64 CPU with fused multiply-add.
 */
#ifndef JOBS_KERNELS_PRODUCT_H
#define JOBS_KERNELS_PRODUCT_H

#include <stddef.h>

/* What product_tile does best, and the most rows that it takes. */
enum { PRODUCT_ROWS = 14, PRODUCT_COLUMNS = 32 };

/* The depth has two levels: `outer` stretches of `depth` each.
 * A[i][o,k] = a[i * a_row + o * a_outer + k * a_depth], B[o,k][j] = b[o * b_outer + k * b_depth + j]. */
struct product {
    const float *a;
    ptrdiff_t a_row, a_depth, a_outer;
    const float *b;
    ptrdiff_t b_depth, b_outer;
    int depth, outer;
};

/* out[i * out_row + j] = start[i * start_row + j] + the sum over (o,k) of A[i][o,k] * B[o,k][j], for i < rows and j < columns.
 * start may be NULL (zeros), a bias (start_row 0) or out itself (to add to it). */
void product_tile(float *out, ptrdiff_t out_row, const float *start, ptrdiff_t start_row, const struct product *p, int rows, int columns);

#endif
