/* Layer normalisation, a row a warp, and the sums over rows that gradients of norms and biases are. */
#include "jobs/cuda/column_sums.h"

enum { ROWS = 8 /* a block; a warp each */, CHUNK = 128 /* rows of a partial sum */ };

/* W elements of a row at a time: 4 where C and the addresses divide by it, else 1. Loops are unrolled so that loads don't wait for each
 * other: in decoding a row is all there is. */
template <typename T, int W>
__global__ void layernorm_kernel(T *out, float *mean, float *rstd, const T *in, const float *weight, const float *bias, int N, int C) {
    int64_t n = (int64_t)blockIdx.x * ROWS + threadIdx.y;
    if (n >= N)
        return;
    const T *row = in + n * C;
    float x[W], w[W], b[W], sum = 0, squares = 0;
#pragma unroll 4
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        load(x, row + c);
        for (int i = 0; i < W; i++)
            sum += x[i];
    }
    float m = warp_sum(sum) / (float)C;
#pragma unroll 4
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        load(x, row + c);
        for (int i = 0; i < W; i++)
            squares += (x[i] - m) * (x[i] - m);
    }
    float r = 1 / sqrtf(warp_sum(squares) / (float)C + 1e-5f);
#pragma unroll 4
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        load(x, row + c);
        load(w, weight + c);
        load(b, bias + c);
        for (int i = 0; i < W; i++)
            x[i] = (x[i] - m) * r * w[i] + b[i];
        store(out + n * C + c, x);
    }
    if (threadIdx.x == 0) {
        mean[n] = m;
        rstd[n] = r;
    }
}

/* With x the normalised input and g = dout * weight: din += rstd * (g - average(g) - x * average(g * x)). */
template <typename T, int W>
__global__ void layernorm_backward_kernel(T *din, const T *dout, const T *in, const float *weight, const float *mean, const float *rstd,
                                          int N, int C) {
    int64_t n = (int64_t)blockIdx.x * ROWS + threadIdx.y;
    if (n >= N)
        return;
    float m = mean[n], r = rstd[n], x[W], d[W], w[W], to[W], g_sum = 0, gx_sum = 0;
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        load(x, in + n * C + c);
        load(d, dout + n * C + c);
        load(w, weight + c);
        for (int i = 0; i < W; i++) {
            g_sum += d[i] * w[i];
            gx_sum += d[i] * w[i] * (x[i] - m) * r;
        }
    }
    float g_average = warp_sum(g_sum) / (float)C, gx_average = warp_sum(gx_sum) / (float)C;
    for (int c = threadIdx.x * W; c < C; c += WARP * W) {
        load(x, in + n * C + c);
        load(d, dout + n * C + c);
        load(w, weight + c);
        load(to, din + n * C + c);
        for (int i = 0; i < W; i++)
            to[i] += r * (d[i] * w[i] - g_average - (x[i] - m) * r * gx_average);
        store(din + n * C + c, to);
    }
}

template <typename T>
static void layernorm_forward_of(void *to, float *mean, float *rstd, const void *from, const float *weight, const float *bias, int N,
                                 int C) {
    T *out = (T *)to;
    const T *in = (const T *)from;
    dim3 threads(WARP, ROWS);
    if (C % 4 == 0 && in_fours(out) && in_fours(in) && in_fours(weight) && in_fours(bias))
        LAUNCH((layernorm_kernel<T, 4>), parts(N, ROWS), threads, 0, out, mean, rstd, in, weight, bias, N, C);
    else
        LAUNCH((layernorm_kernel<T, 1>), parts(N, ROWS), threads, 0, out, mean, rstd, in, weight, bias, N, C);
}

template <typename T>
static void layernorm_backward_input(T *din, const T *dout, const T *in, const float *weight, const float *mean, const float *rstd, int N,
                                     int C) {
    dim3 threads(WARP, ROWS);
    if (C % 4 == 0 && in_fours(din) && in_fours(dout) && in_fours(in) && in_fours(weight))
        LAUNCH((layernorm_backward_kernel<T, 4>), parts(N, ROWS), threads, 0, din, dout, in, weight, mean, rstd, N, C);
    else
        LAUNCH((layernorm_backward_kernel<T, 1>), parts(N, ROWS), threads, 0, din, dout, in, weight, mean, rstd, N, C);
}

/* ---- sums over rows, added to gradients ---- */

/* A block WARP columns of partial [chunks,SUMS,columns], like a block of rows: the sums are in an order of their own, and one. */
template <int SUMS> __global__ void add_chunks_kernel(float *first, float *second, const float *partial, int chunks, int columns) {
    __shared__ float of_warp[SUM_WARPS][SUMS][WARP];
    int column = blockIdx.x * WARP + threadIdx.x;
    float *to[2] = {first, second};
    for (int k = 0; k < SUMS; k++) {
        float sum = 0;
        for (int c = threadIdx.y; column < columns && c < chunks; c += SUM_WARPS)
            sum += partial[((int64_t)c * SUMS + k) * columns + column];
        of_warp[threadIdx.y][k][threadIdx.x] = sum;
    }
    __syncthreads();
    if (threadIdx.y >= SUMS || column >= columns)
        return;
    float sum = 0;
    for (int w = 0; w < SUM_WARPS; w++)
        sum += of_warp[w][threadIdx.y][threadIdx.x];
    to[threadIdx.y][column] += sum;
}

template <typename F> static void add_column_sums(F f, float *first, float *second, int64_t rows, int columns) {
    int chunks = (int)parts(rows, CHUNK);
    float *partial = (float *)device_scratch((size_t)chunks * F::sums * columns * sizeof *partial);
    sum_chunks(f, partial, rows, columns, CHUNK);
    dim3 threads(WARP, SUM_WARPS);
    LAUNCH((add_chunks_kernel<F::sums>), parts(columns, WARP), threads, 0, first, second, partial, chunks, columns);
}

template <typename T> struct norm_gradient {
    typedef float real;
    enum { sums = 2 };
    const T *dout, *in;
    const float *mean, *rstd;
    int columns;
    __device__ void add(float (&sum)[2], int64_t row, int column) const {
        float d = to_float(dout[row * columns + column]);
        sum[0] += d * (to_float(in[row * columns + column]) - mean[row]) * rstd[row];
        sum[1] += d;
    }
};

template <typename T> struct elements {
    typedef float real;
    enum { sums = 1 };
    const T *in;
    int columns;
    __device__ void add(float (&sum)[1], int64_t row, int column) const { sum[0] += to_float(in[row * columns + column]); }
};

template <typename T>
static void layernorm_backward_of(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight,
                                  const float *mean, const float *rstd, int N, int C) {
    norm_gradient<T> sums = {(const T *)dout, (const T *)in, mean, rstd, C};
    layernorm_backward_input((T *)din, (const T *)dout, (const T *)in, weight, mean, rstd, N, C);
    add_column_sums(sums, dweight, dbias, N, C);
}

template <typename T> static void column_sums(float *sums, const void *in, int64_t rows, int columns) {
    add_column_sums(elements<T>{(const T *)in, columns}, sums, (float *)NULL, rows, columns);
}

void cuda_layernorm_forward(void *out, float *mean, float *rstd, const void *in, const float *weight, const float *bias, int N, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(layernorm_forward_of, out, mean, rstd, in, weight, bias, N, C);
}

void cuda_layernorm_backward(void *din, float *dweight, float *dbias, const void *dout, const void *in, const float *weight,
                             const float *mean, const float *rstd, int N, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(layernorm_backward_of, din, dweight, dbias, dout, in, weight, mean, rstd, N, C);
}

void device_add_column_sums(float *sums, const void *in, int64_t rows, int columns) { BY_ELEMENT(column_sums, sums, in, rows, columns); }
