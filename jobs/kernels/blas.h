/* Which BLAS the kernels stand on. */
#ifndef JOBS_KERNELS_BLAS_H
#define JOBS_KERNELS_BLAS_H

/* Prints a warning on stderr where the BLAS isn't the OpenMP build, which halves the speed beside OpenMP. */
void blas_check(void);

/* One line for people: "OpenBLAS 0.3.21 SkylakeX, 2 threads". */
/* What decides the bits of a result: the core that OpenBLAS has chosen its kernels for, and the version of our own. "SkylakeX, x86-64-v4". */
const char *blas_arithmetic(char *buffer, unsigned long size);

const char *blas_describe(char *buffer, unsigned long size);

#endif
