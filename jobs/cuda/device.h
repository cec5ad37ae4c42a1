/* The GPU that this process computes on: its memory, the products of its BLAS, scratch, and the first failure.
 *
 * One GPU a process, called from one thread, on one stream: the default one, so operations take effect in the order of their calls. Every
 * operation of the table begins with device_begin, and asks the functions below for what it needs; a failure sticks to the device with the
 * operation's name, and from then on nothing is begun or launched until cuda_finish has told of it.
 *
 * Tests run it on an emulation (tests/unit/jobs/fake_cuda), which tells right from wrong, but neither speed nor what a real memory system
 * does, and by `make test-gpu` on a GPU. docs/benchmarks.md has what was seen and measured on an H100.
 */
#ifndef JOBS_CUDA_DEVICE_H
#define JOBS_CUDA_DEVICE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "jobs/backend/backend.h"

int device_open(int local_rank, enum backend_precision precision, struct error *err);
const char *device_name(void);
void device_arithmetic(char *buffer, size_t size);
void device_close(void);

/* ---- what every operation begins with ---- */

/* function is "cuda_" and the operation's name: __func__. False: something failed before, so do nothing. */
bool device_begin(const char *function);
bool device_ready(void);                /* nothing has failed */
void device_check(cudaError_t code);    /* of a call into the runtime or a launch */
void device_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool device_bf16(void);                 /* activations are bf16, else fp32 */
/* Memory until the next device_begin, aligned to 256 bytes, not cleared. Never NULL; what can't be had is a failure. */
void *device_scratch(size_t bytes);

/* ---- products (products.c) ---- */

/* A row-major matrix as it lies, of activations or weights. As an operand it may be taken transposed. */
struct device_matrix {
    const void *at;
    bool transposed;
    int stride;          /* elements from row to row; 0: as many as there are columns */
};
/* Where a product goes: over what was there, or added to it. Elements are fp32 if `floats`, else those of activations. */
struct device_result {
    void *at;
    int stride;
    bool floats, adds;
    const void *bias;    /* for each row, as an operand; NULL: none */
};
/* out [rows,columns] = a [rows,depth] * b [depth,columns]. Sums are fp32, with the bias and what was there. They are rounded once, but
 * for small or odd shapes, whose product cuBLAS may round before it adds a bias. */
void device_product(struct device_result out, struct device_matrix a, struct device_matrix b, int64_t rows, int columns, int64_t depth);
bool device_open_products(struct error *err);
int device_products_version(void);   /* of cuBLAS, as it counts */
void device_close_products(void);

/* Weights as operands of a product: themselves, or a copy in bf16. NULL stays NULL. */
const void *device_operand(const float *weight, int64_t count);

/* ---- kernels that operations share ---- */

void device_add_column_sums(float *sums, const void *in, int64_t rows, int columns);    /* adds the sum over the rows */
void device_to_bf16(void *out, const float *in, int64_t count);
void device_transpose(void *out, const float *in, int rows, int columns);               /* activations, from in [rows,columns] */
void device_add_transposed(float *sums, const float *in, int rows, int columns);        /* to sums [rows,columns] */

/* ---- attention and convolution of our own (attention.cu, conv.cu), which go everywhere ---- */

void device_tiled_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H);
void device_tiled_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C,
                                     int H);
/* columns [N * height' * width', kernel * kernel * inputs]: the window of each pixel of the output. */
void device_unfold(void *columns, const void *in, int N, const struct conv *s);
/* turned [ky,kx,m,c] = weight [-ky,-kx,c,m]. */
void device_turn_weights(float *turned, const float *weight, const struct conv *s);

/* ---- the operations of the table, cuda_NAME each: the signatures are those of struct backend_operations ---- */

void *cuda_allocate(size_t bytes);
void *cuda_reserve(size_t bytes);
void cuda_release(void *memory);
void cuda_clear(void *memory, size_t bytes);
void cuda_upload(void *to, const void *host, size_t bytes);
void cuda_download(void *host, const void *from, size_t bytes);
void cuda_copy(void *to, const void *from, size_t bytes);
int cuda_finish(struct error *err);

void cuda_embedding_forward(void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C);
void cuda_embedding_backward(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T, int C);
void cuda_layernorm_forward(void *out, float *mean, float *rstd, const void *in, const float *weight, const float *bias, int N, int C);
void cuda_layernorm_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight,
                             const float *mean, const float *rstd, int N, int C);
void cuda_linear_forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
void cuda_linear_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                          int M);
void cuda_head_forward(void *logits, const void *in, const float *wte, int N, int C, int V, int stride);
void cuda_head_backward(void *din, float *dwte, const void *dlogits, const void *in, const float *wte, int N, int C, int V, int stride);
void cuda_gelu_forward(void *out, const void *in, int64_t count);
void cuda_gelu_backward(void *din, const void *dout, const void *in, int64_t count);
void cuda_add_to(void *out, const void *in, int64_t count);
void cuda_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H);
void cuda_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C, int H);

void cuda_decode_embedding(void *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe, int N,
                           int C);
void cuda_decode_linear(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
void cuda_decode_gelu(void *x, int N, int M);
void cuda_cache_append(void *keys, void *values, const void *qkv, const struct cache_row *rows, int N, int C);
void cuda_attention_paged(void *out, const void *qkv, const void *keys, const void *values, const struct cache_row *rows, int N, int C,
                          int H);
void cuda_head_decode(float *const *logits, const void *in, const float *wte, int N, int C, int V);

void cuda_dense_forward(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
void cuda_dense_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                         int M);
void cuda_conv_forward(void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s);
void cuda_conv_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N,
                        const struct conv *s);
void cuda_batchnorm_sums(double *sums, const void *in, int N, int pixels, int C);
void cuda_batchnorm_statistics(float *mean, float *variance, const double *sums, int64_t count, int C);
void cuda_batchnorm_forward(void *out, const void *in, const float *weight, const float *bias, const float *mean, const float *variance,
                            int N, int pixels, int C);
void cuda_batchnorm_backward_sums(double *sums, const void *dout, const void *in, const float *mean, const float *variance, int N,
                                  int pixels, int C);
void cuda_batchnorm_backward(void *din, const void *dout, const void *in, const float *weight, const float *mean, const float *variance,
                             const double *sums, int64_t count, int N, int pixels, int C);
void cuda_sum_pairwise(double *rows, int N, int count);
void cuda_max_pool_forward(void *out, uint8_t *winner, const void *in, int N, int height, int width, int C);
void cuda_max_pool_backward(void *din, const void *dout, const uint8_t *winner, int N, int height, int width, int C);
void cuda_relu_forward(void *x, int64_t count);
void cuda_relu_backward(void *d, const void *out, int64_t count);

void cuda_cross_entropy(float *losses, void *logits, const int32_t *targets, int N, int V, int stride, float scale);
void cuda_adamw_step(float *weight, float *momentum, float *variance, const float *gradient, int64_t count, const struct adamw *a);
void cuda_sum_of_squares(double *sum, const float *x, int64_t count);

void cuda_from_floats(void *out, const float *in, int64_t count);
void cuda_to_floats(float *out, const void *in, int64_t count);
void cuda_add_scaled(float *out, const float *in, float scale, int64_t count);
void cuda_add_doubles(float *out, const double *in, int64_t count);
void cuda_move_towards(float *out, const float *in, float rate, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
