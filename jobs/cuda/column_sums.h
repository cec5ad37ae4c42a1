/* Sums over rows, one a column: the gradients of biases and norms, and the statistics of batch normalisation.
 *
 * Rows are cut into chunks of a fixed size. A block sums one chunk of WARP columns: its warps take the chunk's rows in turn and are added
 * in their order. That gives partial [chunks, F::sums, columns] of F::real; a second kernel adds the chunks in their order. F says what is
 * summed: f.add(sum, row, column) adds F::sums numbers for one element.
 */
#ifndef JOBS_CUDA_COLUMN_SUMS_H
#define JOBS_CUDA_COLUMN_SUMS_H

#include "jobs/cuda/kernel.h"

enum { SUM_WARPS = 8 };

template <typename F> __global__ void chunk_sums_kernel(typename F::real *partial, int64_t rows, int columns, int64_t chunk, F f) {
    typedef typename F::real real;
    __shared__ real of_warp[SUM_WARPS][F::sums][WARP];
    int column = blockIdx.y * WARP + threadIdx.x;
    int64_t first = blockIdx.x * chunk, last = first + chunk < rows ? first + chunk : rows;
    real sum[F::sums] = {};
    for (int64_t row = first + threadIdx.y; column < columns && row < last; row += SUM_WARPS)
        f.add(sum, row, column);
    for (int k = 0; k < F::sums; k++)
        of_warp[threadIdx.y][k][threadIdx.x] = sum[k];
    __syncthreads();
    int k = threadIdx.y;
    if (k >= F::sums || column >= columns)
        return;
    real all = 0;
    for (int w = 0; w < SUM_WARPS; w++)
        all += of_warp[w][k][threadIdx.x];
    partial[((int64_t)blockIdx.x * F::sums + k) * columns + column] = all;
}

/* Partial sums of each chunk of `chunk` rows. */
template <typename F> static void sum_chunks(F f, typename F::real *partial, int64_t rows, int columns, int64_t chunk) {
    dim3 blocks(parts(rows, chunk), parts(columns, WARP)), threads(WARP, SUM_WARPS);
    LAUNCH((chunk_sums_kernel<F>), blocks, threads, 0, partial, rows, columns, chunk, f);
}

#endif
