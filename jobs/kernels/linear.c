/* The matrix products: fully connected layers and the tied head, by BLAS; a row of decoding by plain loops. */
#include "jobs/kernels/kernels.h"

#include <cblas.h>
#include <stddef.h>

#include "jobs/kernels/vector_math.h"

enum { COLUMN_BLOCK = 64, PARALLEL_FROM = 1 << 15 };

/* Every row starts as the bias, and the product is added to it: one pass over the output less. */
void linear_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M) {
#pragma omp parallel for if ((int64_t)N * M > PARALLEL_FROM)
    for (int n = 0; n < N; n++)
        memcpy(out + (size_t)n * M, bias, (size_t)M * sizeof *out);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, M, K, 1.0f, in, K, weight, M, 1.0f, out, M);
}

KERNEL_VERSIONS
static void add_columns(float *sum, const float *in, int N, int M, int first, int last) {
    for (int n = 0; n < N; n++)
        for (int m = first; m < last; m++)
            sum[m] += in[(size_t)n * M + m];
}

void linear_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N, int K,
                     int M) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, K, M, 1.0f, dout, M, weight, M, 0.0f, din, K);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, K, M, N, 1.0f, in, K, dout, M, 1.0f, dweight, M);
#pragma omp parallel for if ((int64_t)N * M > PARALLEL_FROM)
    for (int first = 0; first < M; first += COLUMN_BLOCK)
        add_columns(dbias, dout, N, M, first, first + COLUMN_BLOCK < M ? first + COLUMN_BLOCK : M);
}

void head_forward(float *logits, const float *in, const float *wte, int N, int C, int V) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, V, C, 1.0f, in, C, wte, C, 0.0f, logits, V);
}

void head_backward(float *din, float *dwte, const float *dlogits, const float *in, const float *wte, int N, int C, int V) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, C, V, 1.0f, dlogits, V, wte, C, 0.0f, din, C);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, V, C, N, 1.0f, dlogits, V, in, C, 1.0f, dwte, C);
}

KERNEL_VERSIONS
static float dot_product(const float *a, const float *b, int count) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

void head_decode(float *logits, const float *in, const float *wte, int C, int V) {
#pragma omp parallel for if ((int64_t)C * V > 8 * PARALLEL_FROM)
    for (int v = 0; v < V; v++)
        logits[v] = dot_product(in, wte + (size_t)v * C, C);
}
