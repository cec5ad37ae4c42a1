/* cuBLAS as its documentation defines it, in plain loops. Strict: types that it doesn't support are refused, leading dimensions are
 * checked, pointers must be the GPU's, and where beta is 0 the output isn't read. */
#include <cublas_v2.h>
#include <cuda_bf16.h>

#include "fake_cuda.h"

cublasStatus_t cublasCreate(cublasHandle_t *handle) {
    *handle = (cublasHandle_t)1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t, int *version) {
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *workspace, size_t) {
    fake_must_be_device_memory(workspace);
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS_NOT_SUPPORTED";
}

static float element(const void *at, cudaDataType_t type, size_t i) {
    return type == CUDA_R_16BF ? __bfloat162float(((const __nv_bfloat16 *)at)[i]) : ((const float *)at)[i];
}

static void set_element(void *at, cudaDataType_t type, size_t i, float x) {
    if (type == CUDA_R_16BF)
        ((__nv_bfloat16 *)at)[i] = __float2bfloat16(x);
    else
        ((float *)at)[i] = x;
}

cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t a_operation, cublasOperation_t b_operation, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType_t a_type, int lda, const void *b, cudaDataType_t b_type,
                            int ldb, const void *beta, void *c, cudaDataType_t c_type, int ldc, cublasComputeType_t,
                            cublasGemmAlgo_t) {
    float scale = *(const float *)alpha, keep = *(const float *)beta;
    bool a_turned = a_operation == CUBLAS_OP_T, b_turned = b_operation == CUBLAS_OP_T;
    if (m < 0 || n < 0 || k < 0 || lda < (a_turned ? k : m) || ldb < (b_turned ? n : k) || ldc < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a_type != b_type || (a_type == CUDA_R_32F && c_type != CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (const void *at : {a, b, (const void *)c})
        fake_must_be_device_memory(at);
    fake_open_memory(true);
    for (size_t j = 0; j < (size_t)n; j++)
        for (size_t i = 0; i < (size_t)m; i++) {
            float sum = 0;
            for (size_t l = 0; l < (size_t)k; l++)
                sum += element(a, a_type, a_turned ? l + i * lda : i + l * lda) * element(b, b_type, b_turned ? j + l * ldb : l + j * ldb);
            float old = keep == 0 ? 0 : keep * element(c, c_type, i + j * ldc);
            set_element(c, c_type, i + j * ldc, scale * sum + old);
        }
    fake_open_memory(false);
    return CUBLAS_STATUS_SUCCESS;
}
