/* Each row of the table is a kernel, behind a function of the row's type where that has void * for the kernel's float *. */
#include "jobs/backend/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

enum { PIECE = 1 << 20 /* bytes that are worth a thread */ };

/* ---- memory ---- */

static void clear(void *memory, size_t bytes) { memset(memory, 0, bytes); }

static void copy(void *to, const void *from, size_t bytes) {
#pragma omp parallel for if (bytes > 2 * PIECE)
    for (size_t at = 0; at < bytes; at += PIECE)
        memcpy((char *)to + at, (const char *)from + at, bytes - at < PIECE ? bytes - at : PIECE);
}

static int finish(struct error *err) { return 0; }

/* ---- kernels; rows of logits lie side by side (backend_logits_stride) ---- */

#define KERNEL(name, parameters, arguments) static void cpu_##name parameters { name arguments; }
KERNEL(embedding_forward, (void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C),
       (out, tokens, wte, wpe, N, T, C))
KERNEL(embedding_backward, (float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T, int C),
       (dwte, dwpe, dout, tokens, N, T, C))
KERNEL(layernorm_forward, (void *out, float *mean, float *rstd, const void *in, const float *weight, const float *bias, int N, int C),
       (out, mean, rstd, in, weight, bias, N, C))
KERNEL(layernorm_backward, (void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight,
                            const float *mean, const float *rstd, int N, int C), (din, dweight, dbias, dout, in, weight, mean, rstd, N, C))
KERNEL(linear_forward, (void *out, const void *in, const float *weight, const float *bias, int N, int K, int M),
       (out, in, weight, bias, N, K, M))
KERNEL(linear_backward, (void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                         int M), (din, dweight, dbias, dout, in, weight, N, K, M))
KERNEL(head_forward, (void *logits, const void *in, const float *wte, int N, int C, int V, int stride), (logits, in, wte, N, C, V))
KERNEL(head_backward, (void *din, float *dwte, const void *dlogits, const void *in, const float *wte, int N, int C, int V, int stride),
       (din, dwte, dlogits, in, wte, N, C, V))
KERNEL(gelu_forward, (void *out, const void *in, int64_t count), (out, in, count))
KERNEL(gelu_backward, (void *din, const void *dout, const void *in, int64_t count), (din, dout, in, count))
KERNEL(add_to, (void *out, const void *in, int64_t count), (out, in, count))
KERNEL(attention_forward, (void *out, float *lse, const void *qkv, int B, int T, int C, int H), (out, lse, qkv, B, T, C, H))
KERNEL(attention_backward, (void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C, int H),
       (dqkv, dout, out, lse, qkv, B, T, C, H))

KERNEL(dense_forward, (void *out, const void *in, const float *weight, const float *bias, int N, int K, int M),
       (out, in, weight, bias, N, K, M))
KERNEL(dense_backward, (void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                        int M), (din, dweight, dbias, dout, in, weight, N, K, M))
KERNEL(conv_forward, (void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s),
       (out, in, weight, bias, N, s))
KERNEL(conv_backward, (void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N,
                       const struct conv *s), (din, dweight, dbias, dout, in, weight, N, s))
KERNEL(batchnorm_sums, (double *sums, const void *in, int N, int pixels, int C), (sums, in, N, pixels, C))
KERNEL(batchnorm_forward, (void *out, const void *in, const float *weight, const float *bias, const float *mean, const float *variance,
                           int N, int pixels, int C), (out, in, weight, bias, mean, variance, N, pixels, C))
KERNEL(batchnorm_backward_sums, (double *sums, const void *dout, const void *in, const float *mean, const float *variance, int N,
                                 int pixels, int C), (sums, dout, in, mean, variance, N, pixels, C))
KERNEL(batchnorm_backward, (void *din, const void *dout, const void *in, const float *weight, const float *mean, const float *variance,
                            const double *sums, int64_t count, int N, int pixels, int C),
       (din, dout, in, weight, mean, variance, sums, count, N, pixels, C))
KERNEL(max_pool_forward, (void *out, uint8_t *winner, const void *in, int N, int height, int width, int C),
       (out, winner, in, N, height, width, C))
KERNEL(max_pool_backward, (void *din, const void *dout, const uint8_t *winner, int N, int height, int width, int C),
       (din, dout, winner, N, height, width, C))
KERNEL(relu_forward, (void *x, int64_t count), (x, count))
KERNEL(relu_backward, (void *d, const void *out, int64_t count), (d, out, count))

KERNEL(cross_entropy, (float *losses, void *logits, const int32_t *targets, int N, int V, int stride, float scale),
       (losses, logits, targets, N, V, scale))

/* ---- decoding: a row at a time where a kernel's vectors would go over the ends of rows ---- */

KERNEL(attention_paged, (void *out, const void *qkv, const void *keys, const void *values, const struct cache_row *rows, int N, int C,
                         int H), (out, qkv, keys, values, rows, N, C, H))
KERNEL(head_decode, (float *const *logits, const void *in, const float *wte, int N, int C, int V), (logits, in, wte, N, C, V))

static void decode_embedding(void *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe, int N,
                             int C) {
    for (int n = 0; n < N; n++)
        embedding_forward((float *)out + (size_t)n * C, tokens + n, wte, wpe + (size_t)(rows[n].positions - 1) * C, 1, 1, C);
}

static void decode_gelu(void *x, int N, int M) {
    for (int n = 0; n < N; n++)
        gelu_forward((float *)x + (size_t)n * M, (float *)x + (size_t)n * M, M);
}

static void cache_append(void *keys, void *values, const void *qkv, const struct cache_row *rows, int N, int C) {
    size_t bytes = (size_t)C * sizeof(float);
    for (int n = 0; n < N; n++) {
        const float *row = (const float *)qkv + (size_t)n * 3 * C;
        int p = rows[n].positions - 1;
        size_t at = ((size_t)rows[n].blocks[p / CACHE_BLOCK] * CACHE_BLOCK + (size_t)(p % CACHE_BLOCK)) * (size_t)C;
        memcpy((float *)keys + at, row + C, bytes);
        memcpy((float *)values + at, row + 2 * C, bytes);
    }
}

/* ---- between the two ---- */

static void sum_squares(double *sum, const float *x, int64_t count) { *sum = sum_of_squares(x, count); }

static void from_floats(void *out, const float *in, int64_t count) { copy(out, in, (size_t)count * sizeof *in); }
static void to_floats(float *out, const void *in, int64_t count) { copy(out, in, (size_t)count * sizeof *out); }

static void add_scaled(float *out, const float *in, float scale, int64_t count) {
#pragma omp parallel for simd if (count > PIECE)
    for (int64_t i = 0; i < count; i++)
        out[i] += scale * in[i];
}

static void add_doubles(float *out, const double *in, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        out[i] += (float)in[i];
}

static void move_towards(float *out, const float *in, float rate, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        out[i] += rate * (in[i] - out[i]);
}

const struct backend_operations cpu_operations = {
    .allocate = xcalloc_large,
    .reserve = xmalloc_large,
    .release = free,
    .clear = clear,
    .upload = copy,
    .download = copy,
    .copy = copy,
    .finish = finish,
    .embedding_forward = cpu_embedding_forward,
    .embedding_backward = cpu_embedding_backward,
    .layernorm_forward = cpu_layernorm_forward,
    .layernorm_backward = cpu_layernorm_backward,
    .linear_forward = cpu_linear_forward,
    .linear_backward = cpu_linear_backward,
    .head_forward = cpu_head_forward,
    .head_backward = cpu_head_backward,
    .gelu_forward = cpu_gelu_forward,
    .gelu_backward = cpu_gelu_backward,
    .add_to = cpu_add_to,
    .attention_forward = cpu_attention_forward,
    .attention_backward = cpu_attention_backward,
    .decode_embedding = decode_embedding,
    .decode_linear = cpu_dense_forward,
    .decode_gelu = decode_gelu,
    .cache_append = cache_append,
    .attention_paged = cpu_attention_paged,
    .head_decode = cpu_head_decode,
    .dense_forward = cpu_dense_forward,
    .dense_backward = cpu_dense_backward,
    .conv_forward = cpu_conv_forward,
    .conv_backward = cpu_conv_backward,
    .batchnorm_sums = cpu_batchnorm_sums,
    .batchnorm_statistics = batchnorm_statistics,
    .batchnorm_forward = cpu_batchnorm_forward,
    .batchnorm_backward_sums = cpu_batchnorm_backward_sums,
    .batchnorm_backward = cpu_batchnorm_backward,
    .sum_pairwise = sum_pairwise,
    .max_pool_forward = cpu_max_pool_forward,
    .max_pool_backward = cpu_max_pool_backward,
    .relu_forward = cpu_relu_forward,
    .relu_backward = cpu_relu_backward,
    .cross_entropy = cpu_cross_entropy,
    .adamw_step = adamw_step,
    .sum_of_squares = sum_squares,
    .from_floats = from_floats,
    .to_floats = to_floats,
    .add_scaled = add_scaled,
    .add_doubles = add_doubles,
    .move_towards = move_towards,
};
