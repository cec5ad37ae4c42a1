/* Which BLAS the kernels stand on. */
#ifndef JOBS_KERNELS_BLAS_H
#define JOBS_KERNELS_BLAS_H

/* Prints a warning on stderr where the BLAS isn't the OpenMP build, which halves the speed beside OpenMP. */
void blas_check(void);

/* One line for people: "OpenBLAS 0.3.21 SkylakeX, 2 threads". */
/* What decides the bits of a result: the versions of the kernels that this CPU runs. "x86-64-v4 kernels, avx512 products". */
const char *blas_arithmetic(char *buffer, unsigned long size);

const char *blas_describe(char *buffer, unsigned long size);

#endif
