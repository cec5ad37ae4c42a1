/* Operations of one pass over the elements. */
#include "jobs/cuda/kernel.h"

/* ---- out = f(a) and out = f(a, b), four elements a thread where the addresses allow it. Both may work in place. ---- */

template <typename F, typename O, typename A> __global__ void map_kernel(O *out, const A *a, int64_t count, int64_t fours, F f) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < fours) {
        float x[4];
        load(x, a + 4 * i);
        for (int j = 0; j < 4; j++)
            x[j] = f(x[j]);
        store(out + 4 * i, x);
    } else if ((i += 3 * fours) < count)
        set(out[i], f(to_float(a[i])));
}

template <typename F, typename O, typename A, typename B>
__global__ void map_two_kernel(O *out, const A *a, const B *b, int64_t count, int64_t fours, F f) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < fours) {
        float x[4], y[4];
        load(x, a + 4 * i);
        load(y, b + 4 * i);
        for (int j = 0; j < 4; j++)
            x[j] = f(x[j], y[j]);
        store(out + 4 * i, x);
    } else if ((i += 3 * fours) < count)
        set(out[i], f(to_float(a[i]), to_float(b[i])));
}

/* A thread for each pack of four, then one for each element that is left: those of the tail, or all. */
template <typename F, typename O, typename A> static void map(F f, O *out, const A *a, int64_t count) {
    int64_t fours = in_fours(out) && in_fours(a) ? count / 4 : 0;
    LAUNCH((map_kernel<F, O, A>), parts(count - 3 * fours, THREADS), THREADS, 0, out, a, count, fours, f);
}

template <typename F, typename O, typename A, typename B> static void map_two(F f, O *out, const A *a, const B *b, int64_t count) {
    int64_t fours = in_fours(out) && in_fours(a) && in_fours(b) ? count / 4 : 0;
    LAUNCH((map_two_kernel<F, O, A, B>), parts(count - 3 * fours, THREADS), THREADS, 0, out, a, b, count, fours, f);
}

/* ---- what is done to an element ---- */

#define ROOT_2_OVER_PI 0.797884561f
#define CUBIC 0.044715f

__device__ static float gelu_tanh(float x) { return tanhf(ROOT_2_OVER_PI * (x + CUBIC * x * x * x)); }

struct gelu {
    __device__ float operator()(float x) const { return 0.5f * x * (1 + gelu_tanh(x)); }
};
struct gelu_gradient {
    __device__ float operator()(float d, float x) const {
        float t = gelu_tanh(x), slope = ROOT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
        return d * (0.5f * (1 + t) + 0.5f * x * (1 - t * t) * slope);
    }
};
struct relu {
    __device__ float operator()(float x) const { return x < 0 ? 0 : x; }   /* NaN stays: it must be seen in the loss */
};
struct relu_gradient {
    __device__ float operator()(float d, float out) const { return out > 0 ? d : 0; }
};
struct same {
    __device__ float operator()(float x) const { return x; }
};
struct sum {
    __device__ float operator()(float x, float y) const { return x + y; }
};
struct scaled_sum {
    float scale;
    __device__ float operator()(float x, float y) const { return x + scale * y; }
};
struct step_towards {
    float rate;
    __device__ float operator()(float x, float y) const { return x + rate * (y - x); }
};

/* ---- the operations ---- */

template <typename T> static void gelu_forward(void *out, const void *in, int64_t count) { map(gelu(), (T *)out, (const T *)in, count); }
template <typename T> static void gelu_backward(void *din, const void *dout, const void *in, int64_t count) {
    map_two(gelu_gradient(), (T *)din, (const T *)dout, (const T *)in, count);
}
template <typename T> static void relu_forward_of(void *x, int64_t count) { map(relu(), (T *)x, (const T *)x, count); }
template <typename T> static void relu_backward_of(void *d, const void *out, int64_t count) {
    map_two(relu_gradient(), (T *)d, (const T *)d, (const T *)out, count);
}
template <typename T> static void add(void *out, const void *in, int64_t count) {
    map_two(sum(), (T *)out, (const T *)out, (const T *)in, count);
}
template <typename T> static void from_floats(void *out, const float *in, int64_t count) { map(same(), (T *)out, in, count); }
template <typename T> static void to_floats(float *out, const void *in, int64_t count) { map(same(), out, (const T *)in, count); }

void cuda_gelu_forward(void *out, const void *in, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(gelu_forward, out, in, count);
}

void cuda_decode_gelu(void *x, int N, int M) {
    if (device_begin(__func__))
        BY_ELEMENT(gelu_forward, x, x, (int64_t)N * M);
}

void cuda_gelu_backward(void *din, const void *dout, const void *in, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(gelu_backward, din, dout, in, count);
}

void cuda_relu_forward(void *x, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(relu_forward_of, x, count);
}

void cuda_relu_backward(void *d, const void *out, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(relu_backward_of, d, out, count);
}

void cuda_add_to(void *out, const void *in, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(add, out, in, count);
}

void cuda_from_floats(void *out, const float *in, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(from_floats, out, in, count);
}

void cuda_to_floats(float *out, const void *in, int64_t count) {
    if (device_begin(__func__))
        BY_ELEMENT(to_floats, out, in, count);
}

void cuda_add_scaled(float *out, const float *in, float scale, int64_t count) {
    if (device_begin(__func__))
        map_two(scaled_sum{scale}, out, out, in, count);
}

void cuda_add_doubles(float *out, const double *in, int64_t count) {
    if (device_begin(__func__))
        map_two(sum(), out, out, in, count);
}

void cuda_move_towards(float *out, const float *in, float rate, int64_t count) {
    if (device_begin(__func__))
        map_two(step_towards{rate}, out, out, in, count);
}

void device_to_bf16(void *out, const float *in, int64_t count) { from_floats<bf16>(out, in, count); }
