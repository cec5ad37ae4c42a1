#include "jobs/kernels/blas.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>

#include "jobs/kernels/gemm.h"
#include "jobs/kernels/vector_math.h"

enum { PARALLEL_OPENMP = 2 };   /* what openblas_get_parallel() says of the OpenMP build */

void blas_check(void) {
    if (openblas_get_parallel() != PARALLEL_OPENMP)
        fprintf(stderr, "warning: this isn't OpenBLAS's OpenMP build and will be slow beside OpenMP (%s); install libopenblas0-openmp\n",
                openblas_get_config());
}

const char *blas_describe(char *buffer, unsigned long size) {
    char name[32] = "BLAS", version[32] = "";
    sscanf(openblas_get_config(), "%31s %31s", name, version);   /* "OpenBLAS 0.3.21 NO_LAPACKE ..." */
    snprintf(buffer, size, "%s %s %s, %d thread%s", name, version, openblas_get_corename(), omp_get_max_threads(),
             omp_get_max_threads() == 1 ? "" : "s");
    return buffer;
}

static const char *kernel_version(void) {
#ifdef KERNELS_HAVE_VERSIONS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return "x86-64-v4";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "x86-64-v3";
#endif
    return "portable";
}

const char *blas_arithmetic(char *buffer, unsigned long size) {
    snprintf(buffer, size, "%s kernels, %s products", kernel_version(), gemm_instructions());
    return buffer;
}
