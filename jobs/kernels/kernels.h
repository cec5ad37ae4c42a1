/* The operations of the models, on the CPU, in fp32. The kernels own no memory that outlives a call and know nothing of models, ranks or
 * files.
 *
 * Letters: B sequences, T positions a sequence, N = B*T rows, C channels, H heads, D = C/H channels a head, V vocabulary;
 * a linear layer has K inputs and M outputs.
 * All arrays are dense and row-major; [N,C] means N rows of C floats. Outputs never overlap inputs unless a comment says so.
 * A forward overwrites its output. A backward overwrites the gradient of its input (din) and ADDS to the gradients of weights, so that
 * a batch can be accumulated; the comment says where it differs.
 *
 * Each operation is one file whose plain C is its definition. Where the fast path goes in tiles, of gemm.h (linear, head, attention), of
 * product.h (conv) or of its own (dense, head_decode), the definition stands in reference.c, and tests/unit/jobs/test_kernels.c and
 * test_conv.c hold the two together.
 * The number of threads changes no bit of any result: tests/unit/jobs/test_threads.c.
 */
#ifndef JOBS_KERNELS_KERNELS_H
#define JOBS_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* out[n] = wte[tokens[n]] + wpe[n mod T]. tokens are below V; the caller checks. wte [V,C], wpe [>=T,C]. */
void embedding_forward(float *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C);
void embedding_backward(float *dwte, float *dwpe, const float *dout, const int32_t *tokens, int N, int T, int C);

/* Layer normalisation (Ba, 2016) over the channels of each row. mean and rstd [N] are kept for the backward. The backward ADDS to din,
 * because a residual stream meets its branch there. */
void layernorm_forward(float *out, float *mean, float *rstd, const float *in, const float *weight, const float *bias, int N, int C);
void layernorm_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight,
                        const float *mean, const float *rstd, int N, int C);

/* out [N,M] = in [N,K] * weight [K,M] + bias [M]: GPT-2's orientation, so that its checkpoints are read and written as they are. */
void linear_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M);
void linear_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N, int K,
                     int M);

/* logits [N,V] = in [N,C] * wte [V,C] transposed: the output head tied to the token embedding. */
void head_forward(float *logits, const float *in, const float *wte, int N, int C, int V);
void head_backward(float *din, float *dwte, const float *dlogits, const float *in, const float *wte, int N, int C, int V);

/* From here on linear_ and head_, forward and backward, round the operands of their products to bf16; false: not, as at the beginning.
 * Sums, outputs and weights stay fp32. Attention and decoding aren't touched. Not while kernels run. */
void linear_use_bf16(bool on);
bool linear_uses_bf16(void);

/* GELU by its tanh approximation (Hendrycks and Gimpel, 2016), as GPT-2 has it. Both may work in place. */
void gelu_forward(float *out, const float *in, int64_t count);
void gelu_backward(float *din, const float *dout, const float *in, int64_t count);

/* out += in, the residual connection. */
void add_to(float *out, const float *in, int64_t count);

/* Causal self-attention. qkv [B,T,3C] holds query, key and value side by side, heads in order within each; out [B,T,C]. Only the
 * logarithm of each softmax's denominator is kept, lse [B,H,T]: the backward computes the weights again. */
void attention_forward(float *out, float *lse, const float *qkv, int B, int T, int C, int H);
void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse, const float *qkv, int B, int T, int C, int H);

/* N new positions against a cache. Row n has its query in qkv [N,3C], and its sequence's first `positions` positions, the newest of them
 * its own, lie in blocks of CACHE_BLOCK: position p in row p % CACHE_BLOCK of block blocks[p / CACHE_BLOCK] of keys and of values
 * [blocks,CACHE_BLOCK,C]. out [N,C]; a row of it doesn't depend on the other rows. */
enum { CACHE_BLOCK = 16 };
struct cache_row {
    const int *blocks;
    int positions;   /* at least 1 */
};
void attention_paged(float *out, const float *qkv, const float *keys, const float *values, const struct cache_row *rows, int N, int C,
                     int H);

/* logits[n] [V] = in[n] * wte [V,C] transposed, for those of N rows whose logits aren't NULL. A row doesn't depend on the others. */
void head_decode(float *const *logits, const float *in, const float *wte, int N, int C, int V);

/* linear, with results that don't depend on the number of threads, nor a row's on the other rows. din may be NULL where it isn't wanted. */
void dense_forward(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M);
void dense_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N, int K, int M);

/* Convolution with stride 1. An image lies with its channels last: in [N,height,width,inputs], weight [kernel,kernel,inputs,outputs],
 * bias [outputs], out [N,height',width',outputs] where height' = height + 2*padding - kernel + 1 and width' likewise, both at least 1;
 * 0 <= padding < kernel. bias and dbias may be NULL (there is none), and din where it isn't wanted. The results don't depend on the number
 * of threads. */
struct conv {
    int height, width, inputs, outputs, kernel, padding;
};
void conv_forward(float *out, const float *in, const float *weight, const float *bias, int N, const struct conv *s);
void conv_backward(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N,
                   const struct conv *s);

/* Batch normalisation (Ioffe and Szegedy, 2015) of N samples of `pixels` rows of C channels. In training:
 *   sums [N,2,C] of the samples -> sum_pairwise: row 0 is the batch's -> statistics over count = N * pixels values a channel -> forward;
 *   backward_sums [N,2,C] -> sum_pairwise: row 0 is dbias [C], then dweight [C] -> backward.
 * Ranks that hold equal powers of two of the samples get the bits of one rank if they add their rows 0 by the same tree.
 * In evaluation: forward, with running statistics. variance is the biased one. backward may work in place of dout. */
void batchnorm_sums(double *sums, const float *in, int N, int pixels, int C);
void batchnorm_statistics(float *mean, float *variance, const double *sums, int64_t count, int C);
void batchnorm_forward(float *out, const float *in, const float *weight, const float *bias, const float *mean, const float *variance, int N,
                       int pixels, int C);
void batchnorm_backward_sums(double *sums, const float *dout, const float *in, const float *mean, const float *variance, int N, int pixels,
                             int C);
void batchnorm_backward(float *din, const float *dout, const float *in, const float *weight, const float *mean, const float *variance,
                        const double *sums, int64_t count, int N, int pixels, int C);

/* rows[0] becomes the sum of N rows of count numbers: neighbours first, then pairs of pairs. The other rows are used up. */
void sum_pairwise(double *rows, int N, int count);

/* Max pooling over 2x2 pixels of in [N,height,width,C]; height and width are even. winner [N,height/2,width/2,C] says which of the four it
 * was, for the backward. */
void max_pool_forward(float *out, uint8_t *winner, const float *in, int N, int height, int width, int C);
void max_pool_backward(float *din, const float *dout, const uint8_t *winner, int N, int height, int width, int C);

/* max(x, 0), in place. The backward takes the gradient d of the output to that of the input, in place. */
void relu_forward(float *x, int64_t count);
void relu_backward(float *d, const float *out, int64_t count);

/* losses[n] = -log softmax(logits[n])[targets[n]]. Where scale is not zero, logits become the gradient of scale * sum(losses). */
void cross_entropy(float *losses, float *logits, const int32_t *targets, int N, int V, float scale);

/* One step of AdamW (Loshchilov and Hutter, 2019) on count parameters. gradient is multiplied by gradient_scale first (clipping).
 * step counts from 1. */
struct adamw {
    float learning_rate, beta1, beta2, epsilon, weight_decay, gradient_scale;
    int64_t step;
};
void adamw_step(float *weight, float *momentum, float *variance, const float *gradient, int64_t count, const struct adamw *a);

/* In double: of each block by itself, and then of the blocks in order; so ranks that have a part each come to the bits of the whole. */
enum { SQUARES_BLOCK = 16384 };
double sum_of_squares(const float *x, int64_t count);

/* The definitions of what is computed in tiles elsewhere. */
void linear_forward_reference(float *out, const float *in, const float *weight, const float *bias, int N, int K, int M);
void head_forward_reference(float *logits, const float *in, const float *wte, int N, int C, int V);
void attention_forward_reference(float *out, float *lse, const float *qkv, int B, int T, int C, int H);
void conv_forward_reference(float *out, const float *in, const float *weight, const float *bias, int N, const struct conv *s);
void conv_backward_reference(float *din, float *dweight, float *dbias, const float *dout, const float *in, const float *weight, int N,
                             const struct conv *s);

#endif
