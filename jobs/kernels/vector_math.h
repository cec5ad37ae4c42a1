/* What the kernels need to be vectorised by the compiler: an exp without branches or tables, and several versions of one function.
 *
 * vector_exp follows Cody and Waite: x = k*log(2) + r with |r| <= log(2)/2, a polynomial for exp(r), and k put into the exponent.
 * Its relative error is below 3e-7 in [-87, 88]; outside, x is clamped (the results are then 1e-38 and 1.6e38).
 */
#ifndef JOBS_KERNELS_VECTOR_MATH_H
#define JOBS_KERNELS_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* One source, one binary: the loader picks the widest version that the CPU runs. Not under sanitizers, whose runtime isn't ready when the
 * loader asks. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KERNELS_HAVE_VERSIONS
#define KERNEL_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define KERNEL_VERSIONS
#endif

static inline __attribute__((always_inline)) float vector_exp(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f;   /* 1.5 * 2^23: adding it rounds to the nearest integer */
    float shifted = x * 1.44269504f + magic;
    float k = shifted - magic;
    float r = x - k * 0.693145752f - k * 1.42860677e-6f;   /* log(2) in two parts, the first exact in few bits */
    float p = 1.98756915e-4f;
    p = p * r + 1.39819995e-3f;
    p = p * r + 8.33345176e-3f;
    p = p * r + 4.16657962e-2f;
    p = p * r + 1.66666657e-1f;
    p = p * r + 5.00000000e-1f;
    p = p * r * r + r + 1.0f;
    union {
        uint32_t bits;
        float value;
    } power = {.bits = (uint32_t)((int32_t)k + 127) << 23};
    return p * power.value;
}

static inline __attribute__((always_inline)) float vector_tanh(float x) {
    return 1.0f - 2.0f / (vector_exp(2.0f * x) + 1.0f);
}

#endif
