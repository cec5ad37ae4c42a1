#include "jobs/kernels/instructions.h"

#include <stdio.h>

#include "jobs/kernels/gemm.h"
#include "jobs/kernels/kernels.h"
#include "jobs/kernels/vector_math.h"

static const char *version(void) {
#ifdef KERNELS_HAVE_VERSIONS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return "x86-64-v4";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "x86-64-v3";
#endif
    return "portable";
}

const char *kernels_instructions(char *buffer, unsigned long size) {
    snprintf(buffer, size, "%s kernels, %s%s products", version(), linear_uses_bf16() ? "bf16 " : "", gemm_instructions());
    return buffer;
}
