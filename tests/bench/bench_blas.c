#include "tests/bench/bench_blas.h"

#include <cblas.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "jobs/kernels/gemm.h"

enum { SIDE = 1024 };

void blas_use_best(char *const *words) {
    const char *core = getenv("OPENBLAS_CORETYPE");
    if ((!core || strcmp(core, "SkylakeX") != 0) && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
        setenv("OMP_WAIT_POLICY", "passive", 0);   /* threads that spin for each other cost half the speed where others use the cores */
        execv("/proc/self/exe", words);
    }
}

const char *blas_core(void) { return openblas_get_corename(); }

static float *matrix(void) {
    float *x = xmalloc((size_t)SIDE * SIDE * sizeof *x);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = (float)(i % 17) - 8;
    return x;
}

struct blas_product blas_product_new(void) { return (struct blas_product){.a = matrix(), .b = matrix(), .c = matrix()}; }

void blas_product_free(struct blas_product *p) {
    free(p->a);
    free(p->b);
    free(p->c);
}

void blas_multiply(const struct blas_product *p) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, p->a, SIDE, p->b, SIDE, 0, p->c, SIDE);
}

void blas_multiply_in_bf16(const struct blas_product *p) {
    struct gemm_matrix a = {p->a, SIDE, 1}, b = {p->b, SIDE, 1};
    gemm_bf16(p->c, SIDE, a, b, SIDE, SIDE, SIDE, GEMM_ZERO, NULL);
}

double blas_gflops(double seconds) { return 2e-9 * SIDE * SIDE * SIDE / seconds; }
