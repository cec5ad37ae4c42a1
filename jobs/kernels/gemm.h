/* Matrix products in fp32, C = A * B, and what they are made of.
 *
 * An element of C is the sum over k in order, in stretches of GEMM_DEPTH, each a chain of fused multiply-adds (where the CPU has them) on
 * what is there already. So its bits are a function of its row of A, its column of B and K alone: not of the number of threads, of how the
 * work was split, of M or N, or of the width of the CPU's vectors.
 */
#ifndef JOBS_KERNELS_GEMM_H
#define JOBS_KERNELS_GEMM_H

#include <stdbool.h>
#include <stdint.h>

enum { GEMM_DEPTH = 384 };

/* A matrix as it lies: element (i, j) is at[i * row + j * column], and one of the two steps is 1. Transposing swaps the steps. */
struct gemm_matrix {
    const float *at;
    int64_t row, column;
};

/* What C starts from. */
enum gemm_start { GEMM_ZERO, GEMM_SUM, GEMM_BIAS };   /* nothing; what it holds; the row `bias` [N] */

/* c [M,N], rows c_row apart, from a [M,K] and b [K,N]; the threads share the work. bias is read for GEMM_BIAS only. */
void gemm(float *c, int64_t c_row, struct gemm_matrix a, struct gemm_matrix b, int M, int N, int K, enum gemm_start start,
          const float *bias);

/* The same with a and b rounded to bf16 first; sums and C stay fp32. The bits depend on the instructions too. */
void gemm_bf16(float *c, int64_t c_row, struct gemm_matrix a, struct gemm_matrix b, int M, int N, int K, enum gemm_start start,
               const float *bias);

/* For those who are a thread themselves, and multiply with one b many times: b [K,N] packed once, of which the first N columns and K rows
 * are used. packed_K is the K that it was packed for, packed_N likewise. */
float *gemm_new_packed(int K, int N);   /* the caller frees it */
void gemm_pack(float *packed, struct gemm_matrix b, int K, int N);
void gemm_packed(float *c, int64_t c_row, struct gemm_matrix a, const float *packed, int packed_K, int packed_N, int M, int N, int K,
                 enum gemm_start start);

/* The instructions that products are made of: the best of "avx512_bf16", "avx512", "avx2" and "plain" that the CPU has, until gemm_use() takes another,
 * so that machines agree: plain has no fused multiply-add, and so other bits. false: this CPU, or this program, hasn't got it. */
const char *gemm_instructions(void);
bool gemm_use(const char *name);

#endif
