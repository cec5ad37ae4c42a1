/* Products of matrices by cuBLAS, and the operations that are one: linear, head, dense.
 *
 * fp32 is fp32: CUBLAS_COMPUTE_32F without TF32, whose 10 bits a user who asked for fp32 didn't ask for. bf16 has bf16 operands and fp32
 * sums; weights are fp32 and copied to bf16 for each product, which costs 6 bytes a parameter and pass, about 2% of a step of 16,384
 * tokens on an H100. Gradients of weights are added to in fp32 by the product itself.
 */
#include <cublas_v2.h>

#include "jobs/cuda/device.h"

/* What cuBLAS needs on Hopper to choose freely (its documentation); 4 MiB do before. */
enum { WORKSPACE = 32 << 20 };

static cublasHandle_t cublas;
static void *workspace;

bool device_open_products(struct error *err) {
    cublasStatus_t status = cublasCreate(&cublas);
    if (status == CUBLAS_STATUS_SUCCESS && cudaMalloc(&workspace, WORKSPACE) != cudaSuccess)
        status = CUBLAS_STATUS_ALLOC_FAILED;
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasSetWorkspace(cublas, workspace, WORKSPACE);
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    error_set(err, ERR_IO, "cuBLAS can't be opened: %s", cublasGetStatusString(status));
    device_close_products();
    return false;
}

int device_products_version(void) {
    int version = 0;
    cublasGetVersion(cublas, &version);
    return version;
}

void device_close_products(void) {
    if (cublas)
        cublasDestroy(cublas);
    cudaFree(workspace);
    cublas = NULL;
    workspace = NULL;
}

/* cuBLAS counts columns first: a row-major matrix is its own transpose there, so it is asked for out^T = b^T a^T. */
void device_product(void *out, bool floats, float beta, struct device_matrix a, struct device_matrix b, int64_t rows, int columns,
                    int64_t depth) {
    const float one = 1;
    cudaDataType_t operand = device_bf16() ? CUDA_R_16BF : CUDA_R_32F;
    if (!device_ready() || rows == 0)
        return;
    cublasStatus_t status = cublasGemmEx(cublas, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                                         columns, (int)rows, (int)depth, &one, b.at, operand, b.transposed ? (int)depth : columns, a.at,
                                         operand, a.transposed ? (int)rows : (int)depth, &beta, out, floats ? CUDA_R_32F : operand,
                                         columns, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS)
        device_fail(ERR_FAILED, "cuBLAS: %s, a product of %d x %d by %d x %d", cublasGetStatusString(status), (int)rows, (int)depth,
                    (int)depth, columns);
}

const void *device_operand(const float *weight, int64_t count) {
    if (!device_bf16())
        return weight;
    void *copy = device_scratch((size_t)count * 2);
    device_to_bf16(copy, weight, count);
    return copy;
}

static struct device_matrix as_is(const void *at) { return (struct device_matrix){at, false}; }
static struct device_matrix transposed(const void *at) { return (struct device_matrix){at, true}; }

static void forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    device_fill_rows(out, bias, N, M);
    device_product(out, false, 1, as_is(in), as_is(device_operand(weight, (int64_t)K * M)), N, M, K);
}

static void backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K, int M) {
    if (din)
        device_product(din, false, 0, as_is(dout), transposed(device_operand(weight, (int64_t)K * M)), N, K, M);
    device_product(dweight, true, 1, transposed(in), as_is(dout), K, M, N);
    device_add_column_sums(dbias, dout, N, M);
}

void cuda_linear_forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    if (device_begin(__func__))
        forward(out, in, weight, bias, N, K, M);
}

void cuda_linear_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                          int M) {
    if (device_begin(__func__))
        backward(din, dweight, dbias, dout, in, weight, N, K, M);
}

void cuda_dense_forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    if (device_begin(__func__))
        forward(out, in, weight, bias, N, K, M);
}

void cuda_dense_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                         int M) {
    if (device_begin(__func__))
        backward(din, dweight, dbias, dout, in, weight, N, K, M);
}

void cuda_head_forward(void *logits, const void *in, const float *wte, int N, int C, int V) {
    if (device_begin(__func__))
        device_product(logits, false, 0, as_is(in), transposed(device_operand(wte, (int64_t)V * C)), N, V, C);
}

void cuda_head_backward(void *din, float *dwte, const void *dlogits, const void *in, const float *wte, int N, int C, int V) {
    if (!device_begin(__func__))
        return;
    device_product(din, false, 0, as_is(dlogits), as_is(device_operand(wte, (int64_t)V * C)), N, C, V);
    device_product(dwte, true, 1, transposed(dlogits), as_is(in), V, C, N);
}
