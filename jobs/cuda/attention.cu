/* Causal self-attention in tiles (FlashAttention: Dao, 2022), on CUDA cores in fp32: the way that goes on every GPU and for both
 * precisions, for heads of up to 128 channels. Tensor cores are several times faster where cuDNN has a kernel for the shape.
 *
 * A block has SIDE x SIDE threads and takes TILE queries (or keys) of one head. Tiles lie in shared memory, a row padded by one float, so
 * that the rows of a column are in different banks. A thread owns elements SIDE apart: rows threadIdx.y + SIDE * i, columns
 * threadIdx.x + SIDE * j. The backward goes over the keys for dk and dv and over the queries for dq, so each gradient has one owner; the
 * weights are computed again from lse, twice.
 */
#include "jobs/cuda/kernel.h"

#include <math.h>

enum { SIDE = 16 };

/* Shapes, and where a head's rows lie: those of q, k, v and their gradients 3C apart, those of out and dout C. */
struct heads {
    int T, C, H, depth;   /* depth: channels of a head */
    float scale;
};

struct head {
    int64_t q, out, lse;   /* offsets of its position 0; k lies C after q, and v C after k */
};

__device__ static struct head head_at(struct heads s, int bh) {
    int64_t b = bh / s.H, h = bh % s.H;
    return {b * s.T * 3 * s.C + h * s.depth, b * s.T * s.C + h * s.depth, (int64_t)bh * s.T};
}

/* ---- tiles ---- */

/* Rows first.. of `depth` of the `step` elements a row, zeros beyond T and depth. */
template <int D, int TILE, typename T>
__device__ static void load_tile(float *tile, const T *from, int64_t step, int first, struct heads s) {
    for (int i = threadIdx.y * SIDE + threadIdx.x; i < TILE * D; i += SIDE * SIDE) {
        int row = i / D, d = i % D;
        bool inside = first + row < s.T && d < s.depth;
        tile[row * (D + 1) + d] = inside ? to_float(from[(first + row) * step + d]) : 0;
    }
}

/* Adds a b^T of two tiles. */
template <int D, int R> __device__ static void add_dots(float (&sum)[R][R], const float *a, const float *b) {
#pragma unroll 8
    for (int d = 0; d < D; d++) {
        float x[R], y[R];
        for (int i = 0; i < R; i++) {
            x[i] = a[(threadIdx.y + SIDE * i) * (D + 1) + d];
            y[i] = b[(threadIdx.x + SIDE * i) * (D + 1) + d];
        }
        for (int i = 0; i < R; i++)
            for (int j = 0; j < R; j++)
                sum[i][j] += x[i] * y[j];
    }
}

/* Adds weights b, or weights^T b, of weights [TILE,TILE] and a tile. */
template <int D, int TILE, bool TRANSPOSED, int R, int K>
__device__ static void add_mix(float (&sum)[R][K], const float *weights, const float *b) {
#pragma unroll 4
    for (int s = 0; s < TILE; s++) {
        float x[R], y[K];
        for (int i = 0; i < R; i++) {
            int row = threadIdx.y + SIDE * i;
            x[i] = TRANSPOSED ? weights[s * (TILE + 1) + row] : weights[row * (TILE + 1) + s];
        }
        for (int k = 0; k < K; k++)
            y[k] = b[s * (D + 1) + threadIdx.x + SIDE * k];
        for (int i = 0; i < R; i++)
            for (int k = 0; k < K; k++)
                sum[i][k] += x[i] * y[k];
    }
}

template <int TILE, int R> __device__ static void store_weights(float *weights, const float (&from)[R][R]) {
    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++)
            weights[(threadIdx.y + SIDE * i) * (TILE + 1) + threadIdx.x + SIDE * j] = from[i][j];
}

template <typename T, int R, int K>
__device__ static void write_rows(T *to, int64_t step, int first, const float (&from)[R][K], struct heads s) {
    for (int i = 0; i < R; i++)
        for (int k = 0; k < K; k++) {
            int row = first + threadIdx.y + SIDE * i, d = threadIdx.x + SIDE * k;
            if (row < s.T && d < s.depth)
                set(to[row * step + d], from[i][k]);
        }
}

/* ---- forward ---- */

/* The softmax so far of R rows: the largest score, and the sum of exp(score - max). */
template <int R> struct running {
    float max[R], sum[R];
};

/* Turns scores of the keys `start`.. into weights relative to the new maximum, and rescales what was summed before. */
template <int R, int K>
__device__ static void take_scores(struct running<R> *run, float (&mixed)[R][K], float (&scores)[R][R], int first, int start, float scale) {
    for (int i = 0; i < R; i++) {
        int query = first + threadIdx.y + SIDE * i;
        float max = run->max[i], sum = 0;
        for (int j = 0; j < R; j++) {
            int key = start + threadIdx.x + SIDE * j;
            scores[i][j] = key <= query ? scores[i][j] * scale : -INFINITY;
            max = fmaxf(max, scores[i][j]);
        }
        max = lanes_max<SIDE>(max);
        for (int j = 0; j < R; j++) {
            scores[i][j] = expf(scores[i][j] - max);
            sum += scores[i][j];
        }
        float shrink = expf(run->max[i] - max);
        run->sum[i] = run->sum[i] * shrink + lanes_sum<SIDE>(sum);
        run->max[i] = max;
        for (int k = 0; k < K; k++)
            mixed[i][k] *= shrink;
    }
}

template <typename T, int D, int TILE> __global__ void attention_kernel(T *out, float *lse, const T *qkv, struct heads s) {
    enum { R = TILE / SIDE, K = D / SIDE };
    DYNAMIC_SHARED(float, shared);
    float *q = shared, *other = q + TILE * (D + 1), *weights = other + TILE * (D + 1);
    int first = (int)(gridDim.y - 1 - blockIdx.y) * TILE;   /* those with the most keys begin */
    struct head h = head_at(s, blockIdx.x);
    const T *from = qkv + h.q;
    struct running<R> run;
    float mixed[R][K] = {};
    for (int i = 0; i < R; i++) {
        run.max[i] = -INFINITY;
        run.sum[i] = 0;
    }
    load_tile<D, TILE>(q, from, 3 * s.C, first, s);
    for (int start = 0; start <= first; start += TILE) {
        float scores[R][R] = {};
        __syncthreads();
        load_tile<D, TILE>(other, from + s.C, 3 * s.C, start, s);
        __syncthreads();
        add_dots<D>(scores, q, other);
        take_scores(&run, mixed, scores, first, start, s.scale);
        store_weights<TILE>(weights, scores);
        __syncthreads();
        load_tile<D, TILE>(other, from + 2 * s.C, 3 * s.C, start, s);
        __syncthreads();
        add_mix<D, TILE, false>(mixed, weights, other);
    }
    for (int i = 0; i < R; i++) {
        int row = first + threadIdx.y + SIDE * i;
        for (int k = 0; k < K; k++)
            mixed[i][k] /= run.sum[i];
        if (threadIdx.x == 0 && row < s.T)
            lse[h.lse + row] = run.max[i] + logf(run.sum[i]);
    }
    write_rows(out + h.out, s.C, first, mixed, s);
}

/* ---- backward ---- */

/* dots [B,H,T]: out.dout of each head of each position, a warp each. */
template <typename T> __global__ void dots_kernel(float *dots, const T *dout, const T *out, struct heads s, int64_t count) {
    int64_t i = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (i >= count)
        return;
    int64_t row = i % s.T, at = head_at(s, (int)(i / s.T)).out + row * s.C;
    float sum = 0;
    for (int d = threadIdx.x; d < s.depth; d += WARP)
        sum += to_float(out[at + d]) * to_float(dout[at + d]);
    sum = warp_sum(sum);
    if (threadIdx.x == 0)
        dots[i] = sum;
}

/* Turns scores into weights P = exp(scale * q.k - lse), and dout.v into the gradient of scores, scale * P * (dout.v - out.dout). */
template <int R>
__device__ static void take_gradients(float (&weights)[R][R], float (&gradients)[R][R], const float *lse, const float *dots, int first,
                                      int start, struct heads s) {
    for (int i = 0; i < R; i++) {
        int query = first + threadIdx.y + SIDE * i;
        float l = query < s.T ? lse[query] : 0, dot = query < s.T ? dots[query] : 0;
        for (int j = 0; j < R; j++) {
            int key = start + threadIdx.x + SIDE * j;
            weights[i][j] = key <= query && query < s.T ? expf(s.scale * weights[i][j] - l) : 0;
            gradients[i][j] = s.scale * weights[i][j] * (gradients[i][j] - dot);
        }
    }
}

/* dk and dv of TILE keys, over the tiles of queries that see them. */
template <typename T, int D, int TILE>
__global__ void attention_keys_kernel(T *dqkv, const T *dout, const float *lse, const float *dots, const T *qkv, struct heads s) {
    enum { R = TILE / SIDE, K = D / SIDE };
    DYNAMIC_SHARED(float, shared);
    float *k = shared, *v = k + TILE * (D + 1), *q = v + TILE * (D + 1), *d = q + TILE * (D + 1), *weights = d + TILE * (D + 1);
    int start = (int)blockIdx.y * TILE;
    struct head h = head_at(s, blockIdx.x);
    float dk[R][K] = {}, dv[R][K] = {};
    load_tile<D, TILE>(k, qkv + h.q + s.C, 3 * s.C, start, s);
    load_tile<D, TILE>(v, qkv + h.q + 2 * s.C, 3 * s.C, start, s);
    for (int first = start; first < s.T; first += TILE) {
        float p[R][R] = {}, dp[R][R] = {};
        __syncthreads();
        load_tile<D, TILE>(q, qkv + h.q, 3 * s.C, first, s);
        load_tile<D, TILE>(d, dout + h.out, s.C, first, s);
        __syncthreads();
        add_dots<D>(p, q, k);
        add_dots<D>(dp, d, v);
        take_gradients(p, dp, lse + h.lse, dots + h.lse, first, start, s);
        store_weights<TILE>(weights, p);
        __syncthreads();
        add_mix<D, TILE, true>(dv, weights, d);
        __syncthreads();
        store_weights<TILE>(weights, dp);
        __syncthreads();
        add_mix<D, TILE, true>(dk, weights, q);
    }
    write_rows(dqkv + h.q + s.C, 3 * s.C, start, dk, s);
    write_rows(dqkv + h.q + 2 * s.C, 3 * s.C, start, dv, s);
}

/* dq of TILE queries, over the tiles of keys that they see. */
template <typename T, int D, int TILE>
__global__ void attention_queries_kernel(T *dqkv, const T *dout, const float *lse, const float *dots, const T *qkv, struct heads s) {
    enum { R = TILE / SIDE, K = D / SIDE };
    DYNAMIC_SHARED(float, shared);
    float *k = shared, *v = k + TILE * (D + 1), *q = v + TILE * (D + 1), *d = q + TILE * (D + 1), *weights = d + TILE * (D + 1);
    int first = (int)(gridDim.y - 1 - blockIdx.y) * TILE;
    struct head h = head_at(s, blockIdx.x);
    float dq[R][K] = {};
    load_tile<D, TILE>(q, qkv + h.q, 3 * s.C, first, s);
    load_tile<D, TILE>(d, dout + h.out, s.C, first, s);
    for (int start = 0; start <= first; start += TILE) {
        float p[R][R] = {}, dp[R][R] = {};
        __syncthreads();
        load_tile<D, TILE>(k, qkv + h.q + s.C, 3 * s.C, start, s);
        load_tile<D, TILE>(v, qkv + h.q + 2 * s.C, 3 * s.C, start, s);
        __syncthreads();
        add_dots<D>(p, q, k);
        add_dots<D>(dp, d, v);
        take_gradients(p, dp, lse + h.lse, dots + h.lse, first, start, s);
        store_weights<TILE>(weights, dp);
        __syncthreads();
        add_mix<D, TILE, false>(dq, weights, k);
    }
    write_rows(dqkv + h.q, 3 * s.C, first, dq, s);
}

/* ---- launches ---- */

static struct heads heads_of(int T, int C, int H) { return {T, C, H, C / H, 1 / sqrtf((float)(C / H))}; }

/* Bytes of so many tiles and one of weights; above 48 KiB a kernel must ask for them. */
template <typename F> static size_t shared_for(F *kernel, int tiles, int D, int TILE) {
    int bytes = (tiles * TILE * (D + 1) + TILE * (TILE + 1)) * (int)sizeof(float);
    device_check(cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    return (size_t)bytes;
}

template <typename T, int D, int TILE> static void forward(T *out, float *lse, const T *qkv, int B, struct heads s) {
    dim3 blocks(B * s.H, parts(s.T, TILE)), threads(SIDE, SIDE);
    size_t shared = shared_for(attention_kernel<T, D, TILE>, 2, D, TILE);
    LAUNCH((attention_kernel<T, D, TILE>), blocks, threads, shared, out, lse, qkv, s);
}

template <typename T, int D, int TILE>
static void backward(T *dqkv, const T *dout, const T *out, const float *lse, const T *qkv, int B, struct heads s) {
    int64_t rows = (int64_t)B * s.H * s.T;
    float *dots = (float *)device_scratch((size_t)rows * sizeof *dots);
    dim3 blocks(B * s.H, parts(s.T, TILE)), threads(SIDE, SIDE), warps(WARP, THREADS / WARP);
    LAUNCH((dots_kernel<T>), parts(rows, THREADS / WARP), warps, 0, dots, dout, out, s, rows);
    size_t shared = shared_for(attention_keys_kernel<T, D, TILE>, 4, D, TILE);
    LAUNCH((attention_keys_kernel<T, D, TILE>), blocks, threads, shared, dqkv, dout, lse, dots, qkv, s);
    shared = shared_for(attention_queries_kernel<T, D, TILE>, 4, D, TILE);
    LAUNCH((attention_queries_kernel<T, D, TILE>), blocks, threads, shared, dqkv, dout, lse, dots, qkv, s);
}

static bool depth_fits(struct heads s) {
    if (s.depth > 128)
        device_fail(ERR_INVALID, "heads of %d channels: 128 at most", s.depth);
    return s.depth <= 128;
}

template <typename T> static void forward_of(void *out, float *lse, const void *qkv, int B, struct heads s) {
    if (s.depth <= 64)
        forward<T, 64, 64>((T *)out, lse, (const T *)qkv, B, s);
    else
        forward<T, 128, 32>((T *)out, lse, (const T *)qkv, B, s);
}

template <typename T>
static void backward_of(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, struct heads s) {
    if (s.depth <= 64)
        backward<T, 64, 64>((T *)dqkv, (const T *)dout, (const T *)out, lse, (const T *)qkv, B, s);
    else
        backward<T, 128, 32>((T *)dqkv, (const T *)dout, (const T *)out, lse, (const T *)qkv, B, s);
}

void device_tiled_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H) {
    struct heads s = heads_of(T, C, H);
    if (depth_fits(s))
        BY_ELEMENT(forward_of, out, lse, qkv, B, s);
}

void device_tiled_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C,
                                     int H) {
    struct heads s = heads_of(T, C, H);
    if (depth_fits(s))
        BY_ELEMENT(backward_of, dqkv, dout, out, lse, qkv, B, s);
}
