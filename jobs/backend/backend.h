/* Where a model computes: a memory, and the operations of jobs/kernels/kernels.h in it. Two backends: `cpu` calls the kernels; `cuda` is a
 * library of its own (jobs/cuda), loaded at run time, so that the programs run where there is no CUDA.
 *
 * Pointers into a backend's memory are followed by its operations alone: others copy, with upload and download. Weights, gradients,
 * moments and statistics are fp32 everywhere. Activations, and gradients of activations, are `void *`: elements of `element` bytes, which
 * is fp32 or bf16 by the precision asked for. Shapes, letters and what is added or overwritten are as kernels.h says.
 *
 * An operation returns nothing and may still be under way when it returns; they take effect in the order in which they were called. A
 * failure sticks: what is called after it does nothing, and finish tells of it. download waits for what was called before it.
 */
#ifndef JOBS_BACKEND_BACKEND_H
#define JOBS_BACKEND_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/kernels/kernels.h"

enum backend_kind {
    BACKEND_AUTO,   /* cuda where real GPUs are allocated, else cpu */
    BACKEND_CPU,
    BACKEND_CUDA,
};

enum backend_precision {
    BACKEND_FP32,
    BACKEND_BF16,   /* the products' operands; with cuda, the activations too */
};

struct backend_operations {
    /* ---- memory ---- */
    void *(*allocate)(size_t bytes);   /* all zero; never NULL: what can't be had is a failure that sticks */
    void *(*reserve)(size_t bytes);    /* the same of any content: what is never written to costs the host no memory */
    void (*release)(void *memory);     /* NULL is fine */
    void (*clear)(void *memory, size_t bytes);
    void (*upload)(void *to, const void *host, size_t bytes);   /* host may be used again at once */
    void (*download)(void *host, const void *from, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes);     /* both in the backend's memory; they don't overlap */
    /* Waits for all operations. The first failure since the last finish, with the name of its operation. */
    int (*finish)(struct error *err);

    /* ---- text ---- */
    void (*embedding_forward)(void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C);
    void (*embedding_backward)(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T, int C);
    void (*layernorm_forward)(void *out, float *mean, float *rstd, const void *in, const float *weight, const float *bias, int N, int C);
    void (*layernorm_backward)(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight,
                               const float *mean, const float *rstd, int N, int C);
    void (*linear_forward)(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
    void (*linear_backward)(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                            int M);
    /* Rows of V logits lie `stride` elements apart (backend_logits_stride). What is between them is 0 in a gradient, which cross_entropy
     * leaves so, and nothing among the logits. */
    void (*head_forward)(void *logits, const void *in, const float *wte, int N, int C, int V, int stride);
    void (*head_backward)(void *din, float *dwte, const void *dlogits, const void *in, const float *wte, int N, int C, int V, int stride);
    void (*gelu_forward)(void *out, const void *in, int64_t count);
    void (*gelu_backward)(void *din, const void *dout, const void *in, int64_t count);
    void (*add_to)(void *out, const void *in, int64_t count);
    void (*attention_forward)(void *out, float *lse, const void *qkv, int B, int T, int C, int H);
    void (*attention_backward)(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C,
                               int H);

    /* ---- decoding: N new positions of some sequences, against a cache of what these had before (kernels.h: attention_paged) ----
     * A row's results depend on its own sequence alone, to the bit: not on the rows beside it, nor on their number. `rows`, and the blocks
     * that they point to, lie in the backend's memory; the position of row n is rows[n].positions - 1. */
    void (*decode_embedding)(void *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe, int N,
                             int C);
    void (*decode_linear)(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
    void (*decode_gelu)(void *x, int N, int M);   /* in place */
    /* Puts each row's key and value of qkv [N,3C] where its newest position lies. */
    void (*cache_append)(void *keys, void *values, const void *qkv, const struct cache_row *rows, int N, int C);
    void (*attention_paged)(void *out, const void *qkv, const void *keys, const void *values, const struct cache_row *rows, int N, int C,
                            int H);
    /* logits[n] [V] are in the host's memory, so this waits for them; NULL: not wanted. */
    void (*head_decode)(float *const *logits, const void *in, const float *wte, int N, int C, int V);

    /* ---- images ---- */
    void (*dense_forward)(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M);
    void (*dense_backward)(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N, int K,
                           int M);
    void (*conv_forward)(void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s);
    void (*conv_backward)(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight, int N,
                          const struct conv *s);
    void (*batchnorm_sums)(double *sums, const void *in, int N, int pixels, int C);
    void (*batchnorm_statistics)(float *mean, float *variance, const double *sums, int64_t count, int C);
    void (*batchnorm_forward)(void *out, const void *in, const float *weight, const float *bias, const float *mean, const float *variance,
                              int N, int pixels, int C);
    void (*batchnorm_backward_sums)(double *sums, const void *dout, const void *in, const float *mean, const float *variance, int N,
                                    int pixels, int C);
    void (*batchnorm_backward)(void *din, const void *dout, const void *in, const float *weight, const float *mean, const float *variance,
                               const double *sums, int64_t count, int N, int pixels, int C);
    void (*sum_pairwise)(double *rows, int N, int count);
    void (*max_pool_forward)(void *out, uint8_t *winner, const void *in, int N, int height, int width, int C);
    void (*max_pool_backward)(void *din, const void *dout, const uint8_t *winner, int N, int height, int width, int C);
    void (*relu_forward)(void *x, int64_t count);
    void (*relu_backward)(void *d, const void *out, int64_t count);

    /* ---- loss and optimiser ---- */
    void (*cross_entropy)(float *losses, void *logits, const int32_t *targets, int N, int V, int stride, float scale);
    void (*adamw_step)(float *weight, float *momentum, float *variance, const float *gradient, int64_t count, const struct adamw *a);
    void (*sum_of_squares)(double *sum, const float *x, int64_t count);   /* *sum lies in the backend's memory */

    /* ---- between the two ---- */
    void (*from_floats)(void *out, const float *in, int64_t count);       /* fp32 -> activations; both in the backend's memory */
    void (*to_floats)(float *out, const void *in, int64_t count);
    void (*add_scaled)(float *out, const float *in, float scale, int64_t count);         /* out += scale * in */
    void (*add_doubles)(float *out, const double *in, int64_t count);                    /* out += in */
    void (*move_towards)(float *out, const float *in, float rate, int64_t count);        /* out += rate * (in - out) */
};

struct backend {
    enum backend_kind kind;   /* cpu or cuda */
    enum backend_precision precision;
    size_t element;           /* bytes of an activation */
    const char *device;       /* what it is called: the instructions of a CPU, the model of a GPU */
    const struct backend_operations *operations;
};

/* The CPU in fp32: it needs no opening, and its memory is the host's. */
extern const struct backend backend_cpu;

/* "auto", "cpu", "cuda". */
int backend_parse_kind(const char *name, enum backend_kind *kind, struct error *err);
/* What `auto` means for this process; the others mean themselves. */
enum backend_kind backend_choose(enum backend_kind kind);
/* Bytes of an activation there, before anything is opened: for memory plans. */
size_t backend_element(enum backend_kind kind, enum backend_precision precision);
/* Elements from one row of V logits to the next. Tensor cores read rows of whole multiples of 16 bytes only, and published vocabularies
 * aren't: GPT-2's is 50,257. */
enum { LOGITS_MULTIPLE = 8 };
int backend_logits_stride(const struct backend *b, int V);

/* What its bits depend on: the instructions of a CPU; the model of a GPU, its size, and the versions of its libraries. */
const char *backend_arithmetic(const struct backend *b, char *buffer, size_t size);

/* Takes, with cuda, GPU number local_rank of the visible ones; once a process. Where a real GPU was allocated, auto never takes the cpu:
 * what is missing then is an error that names it. */
int backend_open(struct backend *b, enum backend_kind kind, enum backend_precision precision, int local_rank, struct error *err);
void backend_close(struct backend *b);   /* again is harmless, also after a failed open */

/* What muster-backend-cuda.so exports under the name `cuda_library`. */
enum { CUDA_LIBRARY_ABI = 4 };
struct cuda_library {
    int abi;
    int (*open)(int local_rank, enum backend_precision precision, struct error *err);
    void (*close)(void);
    const char *(*device)(void);   /* after open: "NVIDIA H100 80GB HBM3" */
    void (*arithmetic)(char *buffer, size_t size);   /* after open: what the bits of its results depend on, but for the precision */
    const struct backend_operations *operations;
};

#endif
