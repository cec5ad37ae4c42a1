/* Embedding, and softmax with cross entropy. */
#include "jobs/cuda/kernel.h"

template <typename T>
__global__ void embedding_kernel(T *out, const int32_t *tokens, const float *wte, const float *wpe, int64_t count, int T_, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    int64_t n = i / C;
    int c = (int)(i % C);
    set(out[i], wte[(int64_t)tokens[n] * C + c] + wpe[n % T_ * C + c]);
}

template <typename T>
static void embedding_forward_of(void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T_, int C) {
    int64_t count = (int64_t)N * C;
    LAUNCH((embedding_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)out, tokens, wte, wpe, count, T_, C);
}

/* dwpe: a thread adds the sequences, in their order, for one channel of a position. */
template <typename T> __global__ void position_gradient_kernel(float *dwpe, const T *dout, int64_t size, int64_t count) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size)
        return;
    float sum = 0;
    for (int64_t at = i; at < count; at += size)
        sum += to_float(dout[at]);
    dwpe[i] += sum;
}

enum { SCATTER_THREADS = 1024, SCATTER_LANES = 256, SCATTER_GROUPS = SCATTER_THREADS / SCATTER_LANES };

/* dwte: the block of position n adds all rows of n's token, if no row before n has that token. So there is no need to know how large the
 * vocabulary is, and each sum has one owner. A lane has W channels; groups of lanes take the rows in turn and are added in their order. */
template <typename T, int W> __global__ void token_gradient_kernel(float *dwte, const T *dout, const int32_t *tokens, int N, int C) {
    __shared__ unsigned found[SCATTER_THREADS / WARP];
    __shared__ float of_group[SCATTER_GROUPS][SCATTER_LANES][W];
    int n = blockIdx.x, token = tokens[n], lane = threadIdx.x % SCATTER_LANES, group = threadIdx.x / SCATTER_LANES;
    int c = (blockIdx.y * SCATTER_LANES + lane) * W, turn = 0;
    for (int first = 0; first < n; first += SCATTER_THREADS) {
        int i = first + threadIdx.x;
        if (__syncthreads_or(i < n && tokens[i] == token))
            return;
    }
    float x[W], sum[W] = {};
    for (int first = n; first < N; first += SCATTER_THREADS) {
        int i = first + threadIdx.x, is_one = i < N && tokens[i] == token;
        unsigned ones = __ballot_sync(ALL_LANES, is_one);
        if (threadIdx.x % WARP == 0)
            found[threadIdx.x / WARP] = ones;
        if (!__syncthreads_or(is_one))
            continue;
        for (int word = 0; word < SCATTER_THREADS / WARP; word++)
            for (unsigned left = found[word]; left; left &= left - 1, turn++) {
                int row = first + word * WARP + __ffs((int)left) - 1;
                if (turn % SCATTER_GROUPS != group || c >= C)
                    continue;
                load(x, dout + (int64_t)row * C + c);
                for (int j = 0; j < W; j++)
                    sum[j] += x[j];
            }
        __syncthreads();   /* found is read before it is written again */
    }
    for (int j = 0; j < W; j++)
        of_group[group][lane][j] = sum[j];
    __syncthreads();
    if (group > 0 || c >= C)
        return;
    float *to = dwte + (int64_t)token * C + c;
    for (int j = 0; j < W; j++) {
        for (int g = 1; g < SCATTER_GROUPS; g++)
            sum[j] += of_group[g][lane][j];
        to[j] += sum[j];
    }
}

template <typename T, int W> static void add_token_gradient(float *dwte, const T *dout, const int32_t *tokens, int N, int C) {
    dim3 blocks(N, parts(C, SCATTER_LANES * W));
    LAUNCH((token_gradient_kernel<T, W>), blocks, SCATTER_THREADS, 0, dwte, dout, tokens, N, C);
}

template <typename T>
static void embedding_backward_of(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T_, int C) {
    int64_t size = (int64_t)T_ * C;
    LAUNCH((position_gradient_kernel<T>), parts(size, THREADS), THREADS, 0, dwpe, (const T *)dout, size, (int64_t)N * C);
    if (C % 4 == 0 && in_fours((const T *)dout))
        add_token_gradient<T, 4>(dwte, (const T *)dout, tokens, N, C);
    else
        add_token_gradient<T, 1>(dwte, (const T *)dout, tokens, N, C);
}

/* ---- softmax with cross entropy ---- */

enum { MANY_THREADS = 1024, MANY = 8192 /* logits a row: from here on a block has so many threads */ };

/* Below every logit that means something, and finite: so that exp(x - max) of what isn't there is 0, not NaN. */
#define LEAST -1e30f

/* The largest of a thread's logits and the sum of exp(x - max) over them (online: Milakov and Gimelshein, 2018). */
struct softmax {
    float max, sum;
};

template <int W> __device__ static void take(struct softmax *s, const float (&x)[W]) {
    float max = s->max, sum = 0;
    for (int j = 0; j < W; j++)
        max = fmaxf(max, x[j]);
    for (int j = 0; j < W; j++)
        sum += expf(x[j] - max);
    s->sum = s->sum * expf(s->max - max) + sum;
    s->max = max;
}

/* A row a block, W logits at a time and then those that are left. The gradient goes where the logits were, and 0 after it; the row is
 * read twice, the second time from the L2 cache. */
template <typename T, int W>
__global__ void cross_entropy_kernel(float *losses, T *logits, const int32_t *targets, int V, int stride, float scale) {
    int64_t n = blockIdx.x;
    T *row = logits + n * stride;
    int target = targets[n], packed = V - V % W;
    struct softmax s = {LEAST, 0};
    float x[W], one[1], at_target = to_float(row[target]);
    for (int v = threadIdx.x * W; v < packed; v += blockDim.x * W) {
        load(x, row + v);
        take(&s, x);
    }
    if (packed + (int)threadIdx.x < V) {
        load(one, row + packed + threadIdx.x);
        take(&s, one);
    }
    float max = block_max(s.max), sum = block_sum(s.sum * expf(s.max - max));
    if (threadIdx.x == 0)
        losses[n] = logf(sum) + max - at_target;
    if (scale == 0)
        return;
    float part = scale / sum;
    for (int v = threadIdx.x * W; v < packed; v += blockDim.x * W) {
        load(x, row + v);
        for (int j = 0; j < W; j++)
            x[j] = expf(x[j] - max) * part - (v + j == target ? scale : 0);
        store(row + v, x);
    }
    for (int v = packed + threadIdx.x; v < stride; v += blockDim.x)
        set(row[v], v < V ? expf(to_float(row[v]) - max) * part - (v == target ? scale : 0) : 0);
}

template <typename T> static void cross_entropy_of(float *losses, void *at, const int32_t *targets, int N, int V, int stride, float scale) {
    enum { W = 16 / sizeof(T) };
    T *logits = (T *)at;
    int threads = THREADS;
    if (V >= MANY)
        threads = MANY_THREADS;
    if (stride % W == 0 && (uintptr_t)at % 16 == 0)
        LAUNCH((cross_entropy_kernel<T, W>), N, threads, 0, losses, logits, targets, V, stride, scale);
    else
        LAUNCH((cross_entropy_kernel<T, 1>), N, threads, 0, losses, logits, targets, V, stride, scale);
}

void cuda_embedding_forward(void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(embedding_forward_of, out, tokens, wte, wpe, N, T, C);
}

void cuda_embedding_backward(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(embedding_backward_of, dwte, dwpe, dout, tokens, N, T, C);
}

void cuda_cross_entropy(float *losses, void *logits, const int32_t *targets, int N, int V, int stride, float scale) {
    if (device_begin(__func__))
        BY_ELEMENT(cross_entropy_of, losses, logits, targets, N, V, stride, scale);
}
