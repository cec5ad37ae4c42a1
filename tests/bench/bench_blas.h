/* OpenBLAS's sgemm: the limit beside which training on CPUs is measured. */
#ifndef TESTS_BENCH_BLAS_H
#define TESTS_BENCH_BLAS_H

/* OpenBLAS takes CPUs that are newer than itself for old ones; the limit is what its best kernels do. It reads which when it is loaded, so
 * the program `words` is started again where that has to be told. */
void blas_use_best(char *const *words);
const char *blas_core(void);   /* whose kernels it uses */

/* Square matrices that fit the caches, and a product of them. */
struct blas_product { float *a, *b, *c; };
struct blas_product blas_product_new(void);
void blas_product_free(struct blas_product *p);
void blas_multiply(const struct blas_product *p);            /* on omp_get_max_threads() threads */
void blas_multiply_in_bf16(const struct blas_product *p);    /* by our own kernels: Debian's OpenBLAS has none */
double blas_gflops(double seconds);                          /* of one product */

#endif
