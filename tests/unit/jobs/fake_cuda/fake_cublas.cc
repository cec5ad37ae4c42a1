/* cuBLASLt as its documentation defines it, in plain loops. Strict: types that it doesn't support are refused, sizes and leading dimensions
 * are checked, addresses must be the GPU's and aligned as was said when the algorithm was asked for (a bias like the output), and where
 * beta is 0 the output isn't read. */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <string.h>

#include "fake_cuda.h"

struct fake_product {
    cublasOperation_t a, b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
struct fake_layout {
    cudaDataType_t type;
    size_t rows, columns, leading;
};
struct fake_preference {
    uint32_t alignment[4], reduction;
};

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = (cublasLtHandle_t)1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
size_t cublasLtGetVersion(void) { return 130000; }
const char *cublasLtGetStatusString(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS ? "success" : "failed"; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *product, cublasComputeType_t, cudaDataType_t) {
    *product = new fake_product{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
    delete product;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, cublasLtMatmulDescAttributes_t what, const void *value, size_t size) {
    struct { cublasLtMatmulDescAttributes_t what; void *to; size_t size; } all[] = {
        {CUBLASLT_MATMUL_DESC_TRANSA, &p->a, sizeof p->a}, {CUBLASLT_MATMUL_DESC_TRANSB, &p->b, sizeof p->b},
        {CUBLASLT_MATMUL_DESC_EPILOGUE, &p->epilogue, sizeof p->epilogue}, {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias}};
    for (auto &one : all)
        if (one.what == what && one.size == size) {
            memcpy(one.to, value, size);
            return CUBLAS_STATUS_SUCCESS;
        }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
                                          int64_t leading) {
    if (leading < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *layout = new fake_layout{type, (size_t)rows, (size_t)columns, (size_t)leading};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    *preference = new fake_preference{{256, 256, 256, 256}, 7};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *value, size_t size) {
    if (what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return size == sizeof(size_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    if (size != sizeof(uint32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    uint32_t *to = what == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK ? &p->reduction
                                                                      : &p->alignment[what - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- algorithms: what one remembers is the alignments that it was chosen for ---- */

static bool supported(const fake_layout *a, const fake_layout *b, const fake_layout *d) {
    return a->type == b->type && (d->type == CUDA_R_32F || a->type == CUDA_R_16BF);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p, int asked,
                                              cublasLtMatmulHeuristicResult_t found[], int *count) {
    *count = 0;
    if (asked < 1 || !supported(a, b, d))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(found, 0, sizeof *found);
    for (int i = 0; i < 4; i++)
        found->algo.data[i] = p->alignment[i];
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

static float element(const void *m, cudaDataType_t type, size_t at) {
    return type == CUDA_R_32F ? ((const float *)m)[at] : __bfloat162float(((const __nv_bfloat16 *)m)[at]);
}

static void set_element(void *m, cudaDataType_t type, size_t at, float x) {
    if (type == CUDA_R_32F)
        ((float *)m)[at] = x;
    else
        ((__nv_bfloat16 *)m)[at] = __float2bfloat16(x);
}

static float operand(const void *m, const fake_layout *l, cublasOperation_t operation, size_t row, size_t column) {
    return element(m, l->type, operation == CUBLAS_OP_T ? column + row * l->leading : row + column * l->leading);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t p, const void *alpha, const void *a, cublasLtMatrixLayout_t la,
                              const void *b, cublasLtMatrixLayout_t lb, const void *beta, const void *c, cublasLtMatrixLayout_t, void *d,
                              cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t, cudaStream_t) {
    float scale = *(const float *)alpha, keep = *(const float *)beta;
    bool a_turned = p->a == CUBLAS_OP_T, b_turned = p->b == CUBLAS_OP_T, with_bias = p->epilogue == CUBLASLT_EPILOGUE_BIAS;
    size_t m = ld->rows, n = ld->columns, k = a_turned ? la->rows : la->columns;
    const void *const at[] = {a, b, c, with_bias ? p->bias : d};
    if (m != (a_turned ? la->columns : la->rows) || n != (b_turned ? lb->rows : lb->columns) || k != (b_turned ? lb->columns : lb->rows) ||
        c != d)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)at[i] % algorithm->data[i] != 0)
            return CUBLAS_STATUS_INVALID_VALUE;
    for (const void *one : {a, b, (const void *)d, (const void *)workspace, at[3]})
        fake_must_be_device_memory(one);
    fake_open_memory(true);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            float sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += operand(a, la, p->a, i, l) * operand(b, lb, p->b, l, j);
            float old = keep == 0 ? 0 : keep * element(d, ld->type, i + j * ld->leading);
            float bias = with_bias ? element(p->bias, ld->type, i) : 0;
            set_element(d, ld->type, i + j * ld->leading, scale * sum + old + bias);
        }
    fake_open_memory(false);
    return CUBLAS_STATUS_SUCCESS;
}
