/* Batch normalisation, pooling, and the unfolding of images for convolutions. Images have their channels last. */
#include "jobs/cuda/column_sums.h"

/* ---- batch normalisation: what kernels.h calls sums are chunks of one sample, in double ---- */

__device__ static float reciprocal_deviation(float variance) { return 1 / sqrtf(variance + 1e-5f); }

template <typename T> struct sample_sums {
    typedef double real;
    enum { sums = 2 };
    const T *in;
    int columns;
    __device__ void add(double (&sum)[2], int64_t row, int column) const {
        double x = to_float(in[row * columns + column]);
        sum[0] += x;
        sum[1] += x * x;
    }
};

template <typename T> struct gradient_sums {
    typedef double real;
    enum { sums = 2 };
    const T *dout, *in;
    const float *mean, *variance;
    int columns;
    __device__ void add(double (&sum)[2], int64_t row, int column) const {
        double d = to_float(dout[row * columns + column]);
        float x = (to_float(in[row * columns + column]) - mean[column]) * reciprocal_deviation(variance[column]);
        sum[0] += d;
        sum[1] += d * x;
    }
};

template <typename T> static void sums_of(double *sums, const void *in, int N, int pixels, int C) {
    sum_chunks(sample_sums<T>{(const T *)in, C}, sums, (int64_t)N * pixels, C, pixels);
}

template <typename T>
static void gradient_sums_of(double *sums, const void *dout, const void *in, const float *mean, const float *variance, int N, int pixels,
                             int C) {
    sum_chunks(gradient_sums<T>{(const T *)dout, (const T *)in, mean, variance, C}, sums, (int64_t)N * pixels, C, pixels);
}

__global__ void statistics_kernel(float *mean, float *variance, const double *sums, double count, int C) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C)
        return;
    double m = sums[c] / count, v = sums[C + c] / count - m * m;
    mean[c] = (float)m;
    variance[c] = v < 0 ? 0 : (float)v;   /* rounding may take it below zero; NaN stays */
}

template <typename T>
__global__ void batchnorm_kernel(T *out, const T *in, const float *weight, const float *bias, const float *mean, const float *variance,
                                 int64_t count, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    int c = (int)(i % C);
    if (i < count)
        set(out[i], (to_float(in[i]) - mean[c]) * (reciprocal_deviation(variance[c]) * weight[c]) + bias[c]);
}

template <typename T>
static void batchnorm_of(void *out, const void *in, const float *weight, const float *bias, const float *mean, const float *variance,
                         int64_t size, int C) {
    LAUNCH((batchnorm_kernel<T>), parts(size, THREADS), THREADS, 0, (T *)out, (const T *)in, weight, bias, mean, variance, size, C);
}

/* With x the normalised input: din = weight * rstd * (dout - average(dout) - x * average(dout * x)). In place of dout, maybe. */
template <typename T>
__global__ void batchnorm_backward_kernel(T *din, const T *dout, const T *in, const float *weight, const float *mean,
                                          const float *variance, const double *sums, double count, int64_t size, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    int c = (int)(i % C);
    if (i >= size)
        return;
    float rstd = reciprocal_deviation(variance[c]), x = (to_float(in[i]) - mean[c]) * rstd;
    float average = (float)(sums[c] / count), slope = (float)(sums[C + c] / count);
    set(din[i], weight[c] * rstd * (to_float(dout[i]) - average - x * slope));
}

template <typename T>
static void batchnorm_backward_of(void *din, const void *dout, const void *in, const float *weight, const float *mean,
                                  const float *variance, const double *sums, int64_t count, int64_t size, int C) {
    LAUNCH((batchnorm_backward_kernel<T>), parts(size, THREADS), THREADS, 0, (T *)din, (const T *)dout, (const T *)in, weight, mean,
           variance, sums, (double)count, size, C);
}

/* One level of the tree: row 2 * step * pair gets that which lies step rows further. */
__global__ void add_pairs_kernel(double *rows, int N, int count, int step) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int64_t n = (int64_t)blockIdx.y * 2 * step;
    if (i < count && n + step < N)
        rows[n * count + i] += rows[(n + step) * count + i];
}

void cuda_sum_pairwise(double *rows, int N, int count) {
    if (!device_begin(__func__))
        return;
    for (int step = 1; step < N; step *= 2)
        LAUNCH(add_pairs_kernel, dim3(parts(count, THREADS), parts(N, 2 * (int64_t)step)), THREADS, 0, rows, N, count, step);
}

void cuda_batchnorm_sums(double *sums, const void *in, int N, int pixels, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(sums_of, sums, in, N, pixels, C);
}

void cuda_batchnorm_statistics(float *mean, float *variance, const double *sums, int64_t count, int C) {
    if (device_begin(__func__))
        LAUNCH(statistics_kernel, parts(C, THREADS), THREADS, 0, mean, variance, sums, (double)count, C);
}

void cuda_batchnorm_forward(void *out, const void *in, const float *weight, const float *bias, const float *mean, const float *variance,
                            int N, int pixels, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(batchnorm_of, out, in, weight, bias, mean, variance, (int64_t)N * pixels * C, C);
}

void cuda_batchnorm_backward_sums(double *sums, const void *dout, const void *in, const float *mean, const float *variance, int N,
                                  int pixels, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(gradient_sums_of, sums, dout, in, mean, variance, N, pixels, C);
}

void cuda_batchnorm_backward(void *din, const void *dout, const void *in, const float *weight, const float *mean, const float *variance,
                             const double *sums, int64_t count, int N, int pixels, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(batchnorm_backward_of, din, dout, in, weight, mean, variance, sums, count, (int64_t)N * pixels * C, C);
}

/* ---- max pooling over 2x2 pixels: a thread an element of the pooled image ---- */

/* Where the upper left of the four that element i of the pooled image stands for lies; its row below is width * C further. */
__device__ static int64_t upper_left(int64_t i, int width, int C) {
    int64_t pixel = i / C, y = pixel / (width / 2), x = pixel % (width / 2);
    return (2 * y * width + 2 * x) * C + i % C;
}

template <typename T>
__global__ void max_pool_kernel(T *out, uint8_t *winner, const T *in, int64_t count, int width, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    const T *from = in + upper_left(i, width, C);
    float best = to_float(from[0]);
    int which = 0;
    for (int k = 1; k < 4; k++) {
        float x = to_float(from[(int64_t)(k / 2) * width * C + k % 2 * C]);
        if (x > best || x != x) {   /* NaN wins, so that it is seen in the loss */
            best = x;
            which = k;
        }
    }
    set(out[i], best);
    winner[i] = (uint8_t)which;
}

template <typename T> static void max_pool_of(void *out, uint8_t *winner, const void *in, int64_t count, int width, int C) {
    LAUNCH((max_pool_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)out, winner, (const T *)in, count, width, C);
}

template <typename T>
__global__ void max_pool_backward_kernel(T *din, const T *dout, const uint8_t *winner, int64_t count, int width, int C) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    T *to = din + upper_left(i, width, C);
    for (int k = 0; k < 4; k++)
        set(to[(int64_t)(k / 2) * width * C + k % 2 * C], winner[i] == k ? to_float(dout[i]) : 0);
}

template <typename T>
static void max_pool_backward_of(void *din, const void *dout, const uint8_t *winner, int64_t count, int width, int C) {
    LAUNCH((max_pool_backward_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)din, (const T *)dout, winner, count, width, C);
}

void cuda_max_pool_forward(void *out, uint8_t *winner, const void *in, int N, int height, int width, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(max_pool_of, out, winner, in, (int64_t)N * height / 2 * (width / 2) * C, width, C);
}

void cuda_max_pool_backward(void *din, const void *dout, const uint8_t *winner, int N, int height, int width, int C) {
    if (device_begin(__func__))
        BY_ELEMENT(max_pool_backward_of, din, dout, winner, (int64_t)N * height / 2 * (width / 2) * C, width, C);
}

/* ---- for convolutions ---- */

/* A thread an element of the unfolded rows: the input's at that place of the window, zero beyond the edge. */
template <typename T> __global__ void unfold_kernel(T *columns, const T *in, int64_t count, struct conv s, int out_height, int out_width) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    int c = (int)(i % s.inputs);
    int64_t rest = i / s.inputs;
    int kx = (int)(rest % s.kernel), ky = (int)((rest /= s.kernel) % s.kernel);
    int ox = (int)((rest /= s.kernel) % out_width), oy = (int)((rest /= out_width) % out_height);
    int64_t n = rest / out_height;
    int y = oy + ky - s.padding, x = ox + kx - s.padding;
    bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
    set(columns[i], inside ? to_float(in[((n * s.height + y) * s.width + x) * s.inputs + c]) : 0);
}

template <typename T> static void unfold(void *columns, const void *in, int N, const struct conv *s) {
    int height = s->height + 2 * s->padding - s->kernel + 1, width = s->width + 2 * s->padding - s->kernel + 1;
    int64_t count = (int64_t)N * height * width * s->kernel * s->kernel * s->inputs;
    LAUNCH((unfold_kernel<T>), parts(count, THREADS), THREADS, 0, (T *)columns, (const T *)in, count, *s, height, width);
}

void device_unfold(void *columns, const void *in, int N, const struct conv *s) { BY_ELEMENT(unfold, columns, in, N, s); }

__global__ void turn_weights_kernel(float *turned, const float *weight, int windows, int C, int M) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= windows * C * M)
        return;
    int c = i % C, m = i / C % M, w = i / C / M;
    turned[i] = weight[((int64_t)(windows - 1 - w) * C + c) * M + m];
}

void device_turn_weights(float *turned, const float *weight, const struct conv *s) {
    int windows = s->kernel * s->kernel;
    LAUNCH(turn_weights_kernel, parts((int64_t)windows * s->inputs * s->outputs, THREADS), THREADS, 0, turned, weight, windows, s->inputs,
           s->outputs);
}
