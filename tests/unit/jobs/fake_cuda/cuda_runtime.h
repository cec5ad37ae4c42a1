/* What kernels are written with, for a C++ compiler: fake_cuda.cc runs the threads of a block as fibers. */
#ifndef FAKE_CUDA_RUNTIME_H
#define FAKE_CUDA_RUNTIME_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include <cuda_runtime_api.h>

#define __global__ static
#define __device__
#define __shared__ static   /* blocks run one after another */

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- launches ---- */

void fake_run(const void *kernel, dim3 blocks, dim3 threads, size_t shared, const std::function<void()> &thread);
void fake_must_be_device_memory(const void *at);
void *fake_dynamic_shared(void);

/* A pointer that a kernel is given is one into the GPU's memory. */
template <typename A> inline void fake_check_argument(A) {}
template <typename A> inline void fake_check_argument(A *at) { fake_must_be_device_memory(at); }

template <typename... P, typename... A> void fake_launch(void (*kernel)(P...), dim3 blocks, dim3 threads, size_t shared, A... arguments) {
    (fake_check_argument(arguments), ...);
    fake_run((const void *)kernel, blocks, threads, shared, [=] { kernel(arguments...); });
}

/* ---- threads that wait for each other ---- */

int fake_block_or(int value);                                        /* __syncthreads, with an or over the block */
const uint64_t *fake_warp_exchange(uint64_t value, int operation);   /* what each of the 32 lanes gave */

inline void __syncthreads(void) { fake_block_or(0); }
inline int __syncthreads_or(int value) { return fake_block_or(value); }

inline unsigned __ballot_sync(unsigned mask, int value) {
    const uint64_t *of = fake_warp_exchange(value != 0, 1);
    unsigned bits = 0;
    for (int lane = 0; lane < 32; lane++)
        bits |= (unsigned)of[lane] << lane;
    return bits & mask;
}

inline int fake_lane(void) {
    return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}

template <typename V> inline V __shfl_xor_sync(unsigned, V value, int lanes, int width = 32) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    int lane = fake_lane(), other = lane ^ lanes;
    const uint64_t *of = fake_warp_exchange(bits, 2);
    bits = of[other / width == lane / width ? other : lane];
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __expf(float x) { return expf(x); }

#endif
