/* Decoding: a few rows, of several sequences, through all weights.
 *
 * A request's tokens must not depend on what else is in the batch, so each sum of a row has one order, given by the shapes of the weights
 * and by the row's own sequence. cuBLAS may choose its kernel, and with it the order, by the number of rows, so the products here are our
 * own: they read fp32 weights once for up to ROWS rows, which is what decoding waits for, and multiply by fmaf, so that no compiler chooses
 * where to round. More rows read the weights again, mostly from the L2 cache.
 */
#include "jobs/cuda/kernel.h"

#include <math.h>

enum { ROWS = 8 };

/* ---- embedding and cache: a thread an element ---- */

__device__ static int64_t place(const struct cache_row &row, int C) {
    int p = row.positions - 1;
    return ((int64_t)row.blocks[p / CACHE_BLOCK] * CACHE_BLOCK + p % CACHE_BLOCK) * C;
}

template <typename T>
__global__ void decode_embedding_kernel(T *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe,
                                        int64_t count, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, n = i / C, c = i % C;
    if (i < count)
        set(out[i], wte[(int64_t)tokens[n] * C + c] + wpe[(int64_t)(rows[n].positions - 1) * C + c]);
}

template <typename T>
__global__ void cache_append_kernel(T *keys, T *values, const T *qkv, const struct cache_row *rows, int64_t count, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, n = i / C, c = i % C;
    if (i >= count)
        return;
    int64_t to = place(rows[n], C) + c;
    keys[to] = qkv[(3 * n + 1) * C + c];
    values[to] = qkv[(3 * n + 2) * C + c];
}

/* ---- products ---- */

/* COLUMNS outputs of up to R rows a block: 32 bytes of each row of weights. DEEP threads share the inputs of an output, and their sums are
 * added in their order. Inputs come by way of shared memory, a CHUNK at a time; a thread asks for all its weights of a chunk at once, for
 * what takes long is until the first arrives. */
enum { COLUMNS = 8, DEEP = 64, AHEAD = 8, CHUNK = DEEP * AHEAD };

template <typename T, int R>
__global__ void decode_linear_kernel(T *out, const T *in, const float *weight, const float *bias, int N, int K, int M) {
    __shared__ float inputs[CHUNK][R], parts_of[R][DEEP][COLUMNS];
    int m = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * R, thread = threadIdx.y * COLUMNS + threadIdx.x;
    const float *column = weight + (m < M ? m : M - 1);
    float w[AHEAD], sum[R] = {};
    for (int chunk = 0; chunk < K; chunk += CHUNK) {
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            int k = chunk + j * DEEP + threadIdx.y;
            w[j] = k < K ? column[(int64_t)k * M] : 0;
        }
        __syncthreads();   /* the inputs of the chunk before have been read */
        for (int i = thread; i < CHUNK * R; i += COLUMNS * DEEP) {
            int r = i % R, k = chunk + i / R;   /* neighbours write to neighbouring banks */
            inputs[i / R][r] = k < K && first + r < N ? to_float(in[(int64_t)(first + r) * K + k]) : 0;
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            for (int r = 0; r < R; r++)
                sum[r] = fmaf(inputs[j * DEEP + threadIdx.y][r], w[j], sum[r]);
    }
    for (int r = 0; r < R; r++)
        parts_of[r][threadIdx.y][threadIdx.x] = sum[r];
    __syncthreads();
    int r = threadIdx.y;
    if (r >= R || first + r >= N || m >= M)
        return;
    float total = bias[m];
#pragma unroll 8
    for (int part = 0; part < DEEP; part++)
        total += parts_of[r][part][threadIdx.x];
    set(out[(int64_t)(first + r) * M + m], total);
}

template <typename T>
static void decode_linear_of(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    dim3 threads(COLUMNS, DEEP), blocks(parts(M, COLUMNS), parts(N, ROWS));
    if (N == 1)
        LAUNCH((decode_linear_kernel<T, 1>), blocks, threads, 0, (T *)out, (const T *)in, weight, bias, N, K, M);
    else
        LAUNCH((decode_linear_kernel<T, ROWS>), blocks, threads, 0, (T *)out, (const T *)in, weight, bias, N, K, M);
}

/* Rows of the input, chosen on the host. */
struct chosen {
    int row[ROWS], count;
};

/* A warp for each token of the vocabulary. logits [chosen.count, V]. */
template <typename T, int R>
__global__ void head_decode_kernel(float *logits, const T *in, struct chosen chosen, const float *wte, int C, int V) {
    int v = blockIdx.x * blockDim.y + threadIdx.y;
    if (v >= V)
        return;
    const float *column = wte + (int64_t)v * C;
    const T *row[R];
    float sum[R] = {};
    for (int r = 0; r < R; r++)
        row[r] = in + (int64_t)chosen.row[r < chosen.count ? r : 0] * C;
#pragma unroll 4
    for (int c = threadIdx.x; c < C; c += WARP) {
        float w = column[c];
        for (int r = 0; r < R; r++)
            sum[r] = fmaf(to_float(row[r][c]), w, sum[r]);
    }
    for (int r = 0; r < R; r++) {
        float total = warp_sum(sum[r]);
        if (threadIdx.x == 0 && r < chosen.count)
            logits[(int64_t)r * V + v] = total;
    }
}

template <typename T> static void head_of(float *logits, const void *in, struct chosen chosen, const float *wte, int C, int V) {
    dim3 threads(WARP, THREADS / WARP);
    if (chosen.count == 1)
        LAUNCH((head_decode_kernel<T, 1>), parts(V, THREADS / WARP), threads, 0, logits, (const T *)in, chosen, wte, C, V);
    else
        LAUNCH((head_decode_kernel<T, ROWS>), parts(V, THREADS / WARP), threads, 0, logits, (const T *)in, chosen, wte, C, V);
}

/* ---- attention: a block a row and head ---- */

/* The cache blocks of a sequence go round the warps; each warp has a softmax of its own (online: Milakov and Gimelshein, 2018), and these
 * are brought together in the order of the warps. A lane has every WARPth channel. */
enum { WARPS = 4, DEPTH_MAX = 128, A_LANE = DEPTH_MAX / WARP };

struct softmax {
    float max, sum, mixed[A_LANE];
};

/* x[p] = element d of position p, 0 beyond `count`: all asked for at once. */
template <typename T> __device__ static void load_positions(float (&x)[CACHE_BLOCK], const T *from, int count, int C, int d) {
#pragma unroll
    for (int p = 0; p < CACHE_BLOCK; p++)
        x[p] = p < count ? to_float(from[(int64_t)p * C + d]) : 0;
}

/* The positions of one block of the cache; keys and values are those of its first position. */
template <typename T>
__device__ static void take_block(struct softmax *s, const float (&q)[A_LANE], const T *keys, const T *values, int count, int C,
                                  int depth) {
    float x[CACHE_BLOCK], scores[CACHE_BLOCK] = {}, max = s->max;
#pragma unroll
    for (int j = 0; j < A_LANE; j++) {
        int d = threadIdx.x + WARP * j;
        if (d >= depth)
            break;
        load_positions(x, keys, count, C, d);
        for (int p = 0; p < CACHE_BLOCK; p++)
            scores[p] = fmaf(q[j], x[p], scores[p]);
    }
    for (int p = 0; p < CACHE_BLOCK; p++) {
        scores[p] = warp_sum(scores[p]);
        if (p < count)
            max = fmaxf(max, scores[p]);
    }
    float shrink = expf(s->max - max);   /* at first 0 */
    s->max = max;
    s->sum *= shrink;
    for (int p = 0; p < CACHE_BLOCK; p++) {
        scores[p] = p < count ? expf(scores[p] - max) : 0;
        s->sum += scores[p];
    }
#pragma unroll
    for (int j = 0; j < A_LANE; j++) {
        int d = threadIdx.x + WARP * j;
        s->mixed[j] *= shrink;
        if (d >= depth)
            continue;
        load_positions(x, values, count, C, d);
        for (int p = 0; p < CACHE_BLOCK; p++)
            s->mixed[j] = fmaf(scores[p], x[p], s->mixed[j]);
    }
}

template <typename T>
__global__ void attention_paged_kernel(T *out, const T *qkv, const T *keys, const T *values, const struct cache_row *rows, int C, int depth,
                                       float scale) {
    __shared__ float max_of[WARPS], sum_of[WARPS], mixed_of[WARPS][DEPTH_MAX];
    int64_t n = blockIdx.x, head = (int64_t)blockIdx.y * depth;
    struct cache_row row = rows[n];
    struct softmax s = {-INFINITY, 0, {}};
    float q[A_LANE];
    for (int j = 0; j < A_LANE; j++) {
        int d = threadIdx.x + WARP * j;
        q[j] = d < depth ? to_float(qkv[3 * n * C + head + d]) * scale : 0;
    }
    for (int first = threadIdx.y * CACHE_BLOCK; first < row.positions; first += WARPS * CACHE_BLOCK) {
        int64_t at = (int64_t)row.blocks[first / CACHE_BLOCK] * CACHE_BLOCK * C + head;
        int left = row.positions - first;
        take_block(&s, q, keys + at, values + at, left < CACHE_BLOCK ? left : CACHE_BLOCK, C, depth);
    }
    for (int j = 0; j < A_LANE; j++)
        mixed_of[threadIdx.y][threadIdx.x + WARP * j] = s.mixed[j];
    if (threadIdx.x == 0) {
        max_of[threadIdx.y] = s.max;
        sum_of[threadIdx.y] = s.sum;
    }
    __syncthreads();
    int d = threadIdx.y * WARP + threadIdx.x;
    if (d >= depth)
        return;
    float max = -INFINITY, sum = 0, mixed = 0;
    for (int w = 0; w < WARPS; w++)
        max = fmaxf(max, max_of[w]);
    for (int w = 0; w < WARPS; w++) {
        float shrink = expf(max_of[w] - max);   /* 0 of a warp that had no block */
        sum = fmaf(shrink, sum_of[w], sum);
        mixed = fmaf(shrink, mixed_of[w][d], mixed);
    }
    set(out[n * C + head + d], mixed / sum);
}

/* ---- the operations ---- */

template <typename T>
static void decode_embedding_of(void *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe, int N,
                                int C) {
    int64_t count = (int64_t)N * C;
    LAUNCH((decode_embedding_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)out, tokens, rows, wte, wpe, count, C);
}

template <typename T>
static void cache_append_of(void *keys, void *values, const void *qkv, const struct cache_row *rows, int N, int C) {
    int64_t count = (int64_t)N * C;
    LAUNCH((cache_append_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)keys, (T *)values, (const T *)qkv, rows, count, C);
}

template <typename T>
static void attention_paged_of(void *out, const void *qkv, const void *keys, const void *values, const struct cache_row *rows, int N,
                               int C, int H) {
    dim3 blocks(N, H), threads(WARP, WARPS);
    LAUNCH((attention_paged_kernel<T>), blocks, threads, 0, (T *)out, (const T *)qkv, (const T *)keys, (const T *)values, rows, C, C / H,
           1 / sqrtf((float)(C / H)));
}

void cuda_decode_embedding(void *out, const int32_t *tokens, const struct cache_row *rows, const float *wte, const float *wpe, int N,
                           int C) {
    if (device_begin(__func__))
        BY_ELEMENT(decode_embedding_of, out, tokens, rows, wte, wpe, N, C);
}

void cuda_decode_linear(void *out, const void *in, const float *weight, const float *bias, int N, int K, int M) {
    if (device_begin(__func__))
        BY_ELEMENT(decode_linear_of, out, in, weight, bias, N, K, M);
}

void cuda_cache_append(void *keys, void *values, const void *qkv, const struct cache_row *rows, int N, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(cache_append_of, keys, values, qkv, rows, N, C);
}

void cuda_attention_paged(void *out, const void *qkv, const void *keys, const void *values, const struct cache_row *rows, int N, int C,
                          int H) {
    if (!device_begin(__func__))
        return;
    if (C / H > DEPTH_MAX)
        device_fail(ERR_INVALID, "heads of %d channels: %d at most", C / H, DEPTH_MAX);
    BY_ELEMENT(attention_paged_of, out, qkv, keys, values, rows, N, C, H);
}

/* The rows that are wanted, from *n on; moves it behind them. */
static struct chosen choose(float *const *logits, int *n, int N) {
    struct chosen chosen = {};
    for (; *n < N && chosen.count < ROWS; ++*n)
        if (logits[*n])
            chosen.row[chosen.count++] = *n;
    return chosen;
}

void cuda_head_decode(float *const *logits, const void *in, const float *wte, int N, int C, int V) {
    if (!device_begin(__func__))
        return;
    float *there = (float *)device_scratch((size_t)ROWS * V * sizeof *there);
    for (int n = 0; n < N;) {
        struct chosen chosen = choose(logits, &n, N);
        if (chosen.count == 0)
            return;
        BY_ELEMENT(head_of, there, in, chosen, wte, C, V);
        for (int i = 0; i < chosen.count && device_ready(); i++)
            device_check(cudaMemcpy(logits[chosen.row[i]], there + (int64_t)i * V, (size_t)V * sizeof *there, cudaMemcpyDeviceToHost));
    }
}
