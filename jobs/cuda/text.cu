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

enum { SCATTER_WARPS = THREADS / WARP };

/* dwte: the block of position n adds all rows of n's token, for WARP channels, if no row before n has that token. So there is no need to
 * know how large the vocabulary is, and each sum has one owner. Its warps take WARP rows each in turn and are added in their order. */
template <typename T> __global__ void token_gradient_kernel(float *dwte, const T *dout, const int32_t *tokens, int N, int C) {
    __shared__ float of_warp[SCATTER_WARPS][WARP];
    int n = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, c = blockIdx.y * WARP + lane;
    int token = tokens[n];
    for (int first = 0; first < n; first += THREADS) {
        int i = first + threadIdx.x;
        if (__syncthreads_or(i < n && tokens[i] == token))
            return;
    }
    float sum = 0;
    for (int first = n + warp * WARP; first < N; first += THREADS) {
        unsigned found = __ballot_sync(ALL_LANES, first + lane < N && tokens[first + lane] == token);
        for (; found; found &= found - 1) {
            int row = first + __ffs((int)found) - 1;
            if (c < C)
                sum += to_float(dout[(int64_t)row * C + c]);
        }
    }
    of_warp[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || c >= C)
        return;
    for (int w = 1; w < SCATTER_WARPS; w++)
        sum += of_warp[w][lane];
    dwte[(int64_t)token * C + c] += sum;
}

template <typename T>
static void embedding_backward_of(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T_, int C) {
    int64_t size = (int64_t)T_ * C;
    dim3 blocks(N, parts(C, WARP));
    LAUNCH((position_gradient_kernel<T>), parts(size, THREADS), THREADS, 0, dwpe, (const T *)dout, size, (int64_t)N * C);
    LAUNCH((token_gradient_kernel<T>), blocks, THREADS, 0, dwte, (const T *)dout, tokens, N, C);
}

/* A row a block. */
template <typename T> __global__ void cross_entropy_kernel(float *losses, T *logits, const int32_t *targets, int V, float scale) {
    int64_t n = blockIdx.x;
    T *row = logits + n * V;
    int target = targets[n];
    float max = -INFINITY, sum = 0, at_target = to_float(row[target]);
    for (int v = threadIdx.x; v < V; v += blockDim.x)
        max = fmaxf(max, to_float(row[v]));
    max = block_max(max);
    for (int v = threadIdx.x; v < V; v += blockDim.x)
        sum += expf(to_float(row[v]) - max);
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        losses[n] = logf(sum) + max - at_target;
    for (int v = threadIdx.x; scale != 0 && v < V; v += blockDim.x)
        set(row[v], expf(to_float(row[v]) - max) * (scale / sum) - (v == target ? scale : 0));
}

template <typename T> static void cross_entropy_of(float *losses, void *logits, const int32_t *targets, int N, int V, float scale) {
    LAUNCH((cross_entropy_kernel<T>), N, THREADS, 0, losses, (T *)logits, targets, V, scale);
}

void cuda_embedding_forward(void *out, const int32_t *tokens, const float *wte, const float *wpe, int N, int T, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(embedding_forward_of, out, tokens, wte, wpe, N, T, C);
}

void cuda_embedding_backward(float *dwte, float *dwpe, const void *dout, const int32_t *tokens, int N, int T, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(embedding_backward_of, dwte, dwpe, dout, tokens, N, T, C);
}

void cuda_cross_entropy(float *losses, void *logits, const int32_t *targets, int N, int V, float scale) {
    if (device_begin(__func__))
        BY_ELEMENT(cross_entropy_of, losses, logits, targets, N, V, scale);
}
