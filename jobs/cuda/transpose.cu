/* Matrices transposed: weights of convolutions as cuDNN has them, and back. They are small; a thread an element will do. */
#include "jobs/cuda/kernel.h"

template <typename T> __global__ void transpose_kernel(T *out, const float *in, int rows, int columns) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < (int64_t)rows * columns)
        set(out[i], in[i % rows * columns + i / rows]);
}

template <typename T> static void transpose(void *out, const float *in, int rows, int columns) {
    LAUNCH((transpose_kernel<T>), parts((int64_t)rows * columns, THREADS), THREADS, 0, (T *)out, in, rows, columns);
}

void device_transpose(void *out, const float *in, int rows, int columns) { BY_ELEMENT(transpose, out, in, rows, columns); }

__global__ void add_transposed_kernel(float *sums, const float *in, int rows, int columns) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < (int64_t)rows * columns)
        sums[i] += in[i % columns * rows + i / columns];
}

void device_add_transposed(float *sums, const float *in, int rows, int columns) {
    LAUNCH(add_transposed_kernel, parts((int64_t)rows * columns, THREADS), THREADS, 0, sums, in, rows, columns);
}
