/* What gemm.c needs for products in bf16. */
#ifndef JOBS_KERNELS_GEMM_BF16_H
#define JOBS_KERNELS_GEMM_BF16_H

#include "jobs/kernels/gemm.h"

/* m [M,K] in bf16: [M, half of K], each element two neighbours of a row, the first in the low bits. The caller frees `at`. */
struct gemm_matrix gemm_pairs(struct gemm_matrix m, int M, int K);

#endif
