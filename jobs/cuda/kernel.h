/* What the kernels share: elements of activations as numbers, sums over a warp and a block, and how a kernel is launched.
 *
 * Kernels compute in fp32 (statistics in double) whatever the elements are. No gradient is summed by atomics: each sum has one owner and
 * one order, so a run repeated gives the same bits. Shapes of sums depend on the sizes alone, never on the GPU.
 */
#ifndef JOBS_CUDA_KERNEL_H
#define JOBS_CUDA_KERNEL_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "jobs/cuda/device.h"

typedef __nv_bfloat16 bf16;

enum { WARP = 32, THREADS = 256 };
#define ALL_LANES 0xffffffffu

/* kernel: with its arguments of templates in parentheses. shared: bytes of dynamic shared memory. Does nothing once something failed. */
#ifdef __CUDACC__
#define LAUNCH(kernel, blocks, threads, shared, ...)                \
    do {                                                            \
        if (device_ready()) {                                       \
            kernel<<<(blocks), (threads), (shared)>>>(__VA_ARGS__); \
            device_check(cudaGetLastError());                       \
        }                                                           \
    } while (0)
#define DYNAMIC_SHARED(type, name)                              \
    extern __shared__ __align__(16) unsigned char all_shared[]; \
    type *name = (type *)all_shared
#else
#define LAUNCH(kernel, blocks, threads, shared, ...)                         \
    do {                                                                     \
        if (device_ready()) {                                                \
            fake_launch(kernel, (blocks), (threads), (shared), __VA_ARGS__); \
            device_check(cudaGetLastError());                                \
        }                                                                    \
    } while (0)
#define DYNAMIC_SHARED(type, name) type *name = (type *)fake_dynamic_shared()
#endif

/* function<T>(...), T being the element of activations. */
#define BY_ELEMENT(function, ...) (device_bf16() ? function<bf16>(__VA_ARGS__) : function<float>(__VA_ARGS__))

static inline unsigned parts(int64_t count, int64_t size) { return count > 0 ? (unsigned)((count + size - 1) / size) : 1; }

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(double x) { return (float)x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline void set(float &to, float x) { to = x; }
__device__ inline void set(bf16 &to, float x) { to = __float2bfloat16(x); }

/* W elements side by side, read and written at once: their address divides by their size. */
template <typename T, int W> struct alignas(W * sizeof(T)) pack {
    T of[W];
};

template <int W, typename T> __device__ inline void load(float (&to)[W], const T *from) {
    pack<T, W> p = *(const pack<T, W> *)from;
    for (int i = 0; i < W; i++)
        to[i] = to_float(p.of[i]);
}

template <int W, typename T> __device__ inline void store(T *to, const float (&from)[W]) {
    pack<T, W> p;
    for (int i = 0; i < W; i++)
        set(p.of[i], from[i]);
    *(pack<T, W> *)to = p;
}

/* Whether packs of 4 lie at p; NULL is fine. */
template <typename T> static inline bool in_fours(const T *p) { return (uintptr_t)p % (4 * sizeof(T)) == 0; }

/* Over each N neighbours of a warp, a power of two. */
template <int N, typename S> __device__ inline S lanes_sum(S x) {
    for (int step = N / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

template <int N> __device__ inline float lanes_max(float x) {
    for (int step = N / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

template <typename S> __device__ inline S warp_sum(S x) { return lanes_sum<WARP>(x); }

__device__ inline float warp_max(float x) { return lanes_max<WARP>(x); }

/* Of all threads of the block, a multiple of WARP. Each once a kernel: nothing waits for of_warp to be read before it is written again. */
template <typename S> __device__ inline S block_sum(S x) {
    __shared__ S of_warp[WARP];
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_sum(threadIdx.x % WARP < blockDim.x / WARP ? of_warp[threadIdx.x % WARP] : (S)0);
}

__device__ inline float block_max(float x) {
    __shared__ float of_warp[WARP];
    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(threadIdx.x % WARP < blockDim.x / WARP ? of_warp[threadIdx.x % WARP] : -INFINITY);
}

#endif
