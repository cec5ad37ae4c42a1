/* Products of matrices by cuBLASLt, and the operations that are one: linear, head, dense.
 *
 * fp32 is fp32: CUBLAS_COMPUTE_32F without TF32, whose 10 bits a user who asked for fp32 didn't ask for. bf16 has bf16 operands and fp32
 * sums, to which a bias is added before they are rounded; weights are fp32 and copied to bf16 for each product, which costs 6 bytes a
 * parameter and pass, about 2% of a step of 16,384 tokens on an H100. Gradients of weights are added to in fp32 by the product itself.
 */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/cuda/device.h"

/* What cuBLAS needs on Hopper to choose freely (its documentation); 4 MiB do before. */
static const size_t WORKSPACE = 32 << 20;

/* What an algorithm is chosen by. Strides are those of the rows as they lie; addresses count by how they are aligned, up to what the
 * widest loads want, and a bias is read like the output. */
struct product_shape {
    int64_t rows, depth, a_stride, b_stride, out_stride;
    int columns, a_alignment, b_alignment, out_alignment;
    bool a_transposed, b_transposed, floats, adds, has_bias;
};

/* The first algorithm that cuBLASLt advises for a shape: the same one in every run. */
static struct product_plan {
    struct product_shape shape;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, out;
    cublasLtMatmulAlgo_t algorithm;
} *plans;
static size_t plan_count, plan_capacity;

static cublasLtHandle_t cublas;
static void *workspace;

bool device_open_products(struct error *err) {
    cublasStatus_t status = cublasLtCreate(&cublas);
    if (status == CUBLAS_STATUS_SUCCESS && cudaMalloc(&workspace, WORKSPACE) != cudaSuccess)
        status = CUBLAS_STATUS_ALLOC_FAILED;
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    error_set(err, ERR_IO, "cuBLAS can't be opened: %s", cublasLtGetStatusString(status));
    device_close_products();
    return false;
}

int device_products_version(void) { return (int)cublasLtGetVersion(); }

static void release_plan(struct product_plan *p) {
    cublasLtMatmulDescDestroy(p->product);
    cublasLtMatrixLayoutDestroy(p->a);
    cublasLtMatrixLayoutDestroy(p->b);
    cublasLtMatrixLayoutDestroy(p->out);
}

void device_close_products(void) {
    while (plan_count > 0)
        release_plan(&plans[--plan_count]);
    free(plans);
    plans = NULL;
    plan_capacity = 0;
    if (cublas)
        cublasLtDestroy(cublas);
    cudaFree(workspace);
    cublas = NULL;
    workspace = NULL;
}

/* ---- plans ---- */

static bool set(struct product_plan *p, cublasLtMatmulDescAttributes_t what, const void *value, size_t size) {
    return cublasLtMatmulDescSetAttribute(p->product, what, value, size) == CUBLAS_STATUS_SUCCESS;
}

/* cuBLAS counts columns first: a row-major matrix is its own transpose there, so it is asked for out^T = b^T a^T, and its first operand is
 * our second. */
static bool describe(struct product_plan *p) {
    const struct product_shape *s = &p->shape;
    cudaDataType_t operand = device_bf16() ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t first = s->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, second = s->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = s->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    uint64_t rows = (uint64_t)s->rows, columns = (uint64_t)s->columns, depth = (uint64_t)s->depth;
    cublasStatus_t status = cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutCreate(&p->b, operand, s->b_transposed ? depth : columns, s->b_transposed ? columns : depth,
                                            s->b_stride);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutCreate(&p->a, operand, s->a_transposed ? rows : depth, s->a_transposed ? depth : rows, s->a_stride);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutCreate(&p->out, s->floats ? CUDA_R_32F : operand, columns, rows, s->out_stride);
    return status == CUBLAS_STATUS_SUCCESS && set(p, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first) &&
           set(p, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second) && set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
}

static bool prefer(cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t what, const void *value, size_t size) {
    return cublasLtMatmulPreferenceSetAttribute(to, what, value, size) == CUBLAS_STATUS_SUCCESS;
}

/* Where a sum is split, its parts are added in fp32. */
static bool choose_algorithm(struct product_plan *p) {
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, a = (uint32_t)p->shape.a_alignment, b = (uint32_t)p->shape.b_alignment;
    uint32_t out = (uint32_t)p->shape.out_alignment;
    cublasLtMatmulPreference_t wanted;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    if (cublasLtMatmulPreferenceCreate(&wanted) != CUBLAS_STATUS_SUCCESS)
        return false;
    bool ok = prefer(wanted, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE, sizeof WORKSPACE) &&
              prefer(wanted, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction) &&
              prefer(wanted, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &b, sizeof b) &&
              prefer(wanted, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &a, sizeof a) &&
              prefer(wanted, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &out, sizeof out) &&
              prefer(wanted, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &out, sizeof out) &&
              cublasLtMatmulAlgoGetHeuristic(cublas, p->product, p->b, p->a, p->out, p->out, wanted, 1, &found, &count) ==
                  CUBLAS_STATUS_SUCCESS && count == 1;
    cublasLtMatmulPreferenceDestroy(wanted);
    if (ok)
        p->algorithm = found.algo;
    return ok;
}

/* NULL: it can't be done, which has been told. */
static struct product_plan *plan_for(const struct product_shape *shape) {
    for (size_t i = 0; i < plan_count; i++)
        if (!memcmp(&plans[i].shape, shape, sizeof *shape))
            return &plans[i];
    plans = xgrow(plans, &plan_capacity, plan_count + 1, sizeof *plans);
    struct product_plan *p = &plans[plan_count];
    memset(p, 0, sizeof *p);
    memcpy(&p->shape, shape, sizeof *shape);   /* what lies between its members, too */
    if (describe(p) && choose_algorithm(p)) {
        plan_count++;
        return p;
    }
    release_plan(p);
    device_fail(ERR_FAILED, "cuBLAS knows no way for a product of %d x %d by %d x %d", (int)shape->rows, (int)shape->depth,
                (int)shape->depth, shape->columns);
    return NULL;
}

/* ---- products ---- */

static int alignment(const void *at) {
    int bytes = 1;
    while (bytes < 16 && (uintptr_t)at % (uintptr_t)(2 * bytes) == 0)
        bytes *= 2;
    return bytes;
}

void device_product(struct device_result out, struct device_matrix a, struct device_matrix b, int64_t rows, int columns, int64_t depth) {
    const float one = 1, kept = out.adds ? 1 : 0;
    struct product_shape shape;
    if (!device_ready() || rows == 0)
        return;
    memset(&shape, 0, sizeof shape);   /* it is compared by its bytes */
    shape.rows = rows;
    shape.columns = columns;
    shape.depth = depth;
    shape.a_stride = a.stride ? a.stride : a.transposed ? rows : depth;
    shape.b_stride = b.stride ? b.stride : b.transposed ? depth : columns;
    shape.out_stride = out.stride ? out.stride : columns;
    shape.a_alignment = alignment(a.at);
    shape.b_alignment = alignment(b.at);
    shape.out_alignment = out.bias && alignment(out.bias) < alignment(out.at) ? alignment(out.bias) : alignment(out.at);
    shape.a_transposed = a.transposed;
    shape.b_transposed = b.transposed;
    shape.floats = out.floats;
    shape.adds = out.adds;
    shape.has_bias = out.bias;
    struct product_plan *p = plan_for(&shape);
    if (!p)
        return;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (out.bias)
        status = cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &out.bias, sizeof out.bias);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmul(cublas, p->product, &one, b.at, p->b, a.at, p->a, &kept, out.at, p->out, out.at, p->out, &p->algorithm,
                                workspace, WORKSPACE, NULL);
    if (status != CUBLAS_STATUS_SUCCESS)
        device_fail(ERR_FAILED, "cuBLAS: %s, a product of %d x %d by %d x %d", cublasLtGetStatusString(status), (int)rows, (int)depth,
                    (int)depth, columns);
}

const void *device_operand(const float *weight, int64_t count) {
    if (!device_bf16() || !weight)
        return weight;
    void *copy = device_scratch((size_t)count * 2);
    device_to_bf16(copy, weight, count);
    return copy;
}

static struct device_matrix as_is(const void *at) { return (struct device_matrix){.at = at}; }
static struct device_matrix transposed(const void *at) { return (struct device_matrix){.at = at, .transposed = true}; }
static struct device_result sum_at(float *at) { return (struct device_result){.at = at, .floats = true, .adds = true}; }

static void forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    int64_t count = (int64_t)K * M;
    bool together = bias == weight + count;   /* as a model lays them: one copy has both */
    const char *w = device_operand(weight, together ? count + M : count);
    const void *b = together ? w + count * (device_bf16() ? 2 : 4) : device_operand(bias, M);
    device_product((struct device_result){.at = out, .bias = b}, as_is(in), as_is(w), N, M, K);
}

static void backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K, int M) {
    if (din)
        device_product((struct device_result){.at = din}, as_is(dout), transposed(device_operand(weight, (int64_t)K * M)), N, K, M);
    device_product(sum_at(dweight), transposed(in), as_is(dout), K, M, N);
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

/* The embedding as an operand with as many rows as the logits have elements: a copy in bf16 has zeros where it ends. In fp32 it is read
 * where it lies, and has V. */
static int head_rows(int V, int stride) { return device_bf16() ? stride : V; }

static const void *head_operand(const float *wte, int C, int V, int stride) {
    int64_t count = (int64_t)V * C, all = (int64_t)stride * C;
    if (!device_bf16())
        return wte;
    char *copy = device_scratch((size_t)all * 2);
    device_to_bf16(copy, wte, count);
    if (device_ready() && all > count)
        device_check(cudaMemsetAsync(copy + 2 * count, 0, (size_t)(all - count) * 2, NULL));
    return copy;
}

void cuda_head_forward(void *logits, const void *in, const float *wte, int N, int C, int V, int stride) {
    if (device_begin(__func__))
        device_product((struct device_result){.at = logits, .stride = stride}, as_is(in), transposed(head_operand(wte, C, V, stride)), N,
                       head_rows(V, stride), C);
}

void cuda_head_backward(void *din, float *dwte, const void *dlogits, const void *in, const float *wte, int N, int C, int V, int stride) {
    if (!device_begin(__func__))
        return;
    device_product((struct device_result){.at = din}, (struct device_matrix){.at = dlogits, .stride = stride},
                   as_is(head_operand(wte, C, V, stride)), N, C, head_rows(V, stride));
    device_product(sum_at(dwte), (struct device_matrix){.at = dlogits, .transposed = true, .stride = stride}, as_is(in), V, C, N);
}
