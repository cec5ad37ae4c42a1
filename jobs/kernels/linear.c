/* The matrix products: fully connected layers and the tied head. */
#include "jobs/kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>

#include "jobs/kernels/gemm.h"
#include "jobs/kernels/vector_math.h"

enum { COLUMN_BLOCK = 256, PARALLEL_FROM = 1 << 15 };

typedef void multiply_fn(float *c, int64_t c_row, struct gemm_matrix a, struct gemm_matrix b, int M, int N, int K, enum gemm_start start,
                         const float *bias);
static multiply_fn *multiply = gemm;

void linear_use_bf16(bool on) { multiply = on ? gemm_bf16 : gemm; }

bool linear_uses_bf16(void) { return multiply == gemm_bf16; }

static struct gemm_matrix rows_of(const float *at, int columns) { return (struct gemm_matrix){at, columns, 1}; }
static struct gemm_matrix transposed(const float *at, int columns) { return (struct gemm_matrix){at, 1, columns}; }

void linear_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M) {
    multiply(out, M, rows_of(in, K), rows_of(weight, M), N, M, K, GEMM_BIAS, bias);
}

KERNEL_VERSIONS
static void add_columns(float *sum, const float *in, int N, int M, int first, int last) {
    for (int n = 0; n < N; n++)
        for (int m = first; m < last; m++)
            sum[m] += in[(size_t)n * M + m];
}

void linear_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N, int K,
                     int M) {
    multiply(din, K, rows_of(dout, M), transposed(weight, M), N, K, M, GEMM_ZERO, NULL);
    multiply(dweight, M, transposed(in, K), rows_of(dout, M), K, M, N, GEMM_SUM, NULL);
#pragma omp parallel for if ((int64_t)N * M > PARALLEL_FROM)
    for (int first = 0; first < M; first += COLUMN_BLOCK)
        add_columns(dbias, dout, N, M, first, first + COLUMN_BLOCK < M ? first + COLUMN_BLOCK : M);
}

void head_forward(float *logits, const float *in, const float *wte, int N, int C, int V) {
    multiply(logits, V, rows_of(in, C), transposed(wte, C), N, V, C, GEMM_ZERO, NULL);
}

void head_backward(float *din, float *dwte, const float *dlogits, const float *in, const float *wte, int N, int C, int V) {
    multiply(din, C, rows_of(dlogits, V), rows_of(wte, C), N, C, V, GEMM_ZERO, NULL);
    multiply(dwte, C, transposed(dlogits, V), rows_of(in, C), V, C, N, GEMM_SUM, NULL);
}
