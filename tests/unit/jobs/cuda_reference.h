/* The definitions of a backend's operations in double, written out: what test_cuda.c holds the CUDA backend against. Letters and layouts
 * are those of jobs/kernels/kernels.h; what adds there adds here. */
#ifndef TESTS_UNIT_JOBS_CUDA_REFERENCE_H
#define TESTS_UNIT_JOBS_CUDA_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "jobs/kernels/kernels.h"

/* out [rows,columns] = keep * out + a [rows,depth] b [depth,columns]; a and b may be given transposed. */
void reference_product(double *out, double keep, const double *a, bool a_turned, const double *b, bool b_turned, int rows, int columns,
                       int depth);
void reference_add_bias(double *out, const double *bias, int rows, int columns);
void reference_add_columns(double *sums, const double *in, int rows, int columns);

void reference_embedding(double *out, const int32_t *tokens, const double *wte, const double *wpe, int N, int T, int C);
void reference_embedding_backward(double *dwte, double *dwpe, const double *dout, const int32_t *tokens, int N, int T, int C);
void reference_layernorm(double *out, double *mean, double *rstd, const double *in, const double *weight, const double *bias, int N, int C);
void reference_layernorm_backward(double *din, double *dweight, double *dbias, const double *dout, const double *in, const double *weight,
                                  int N, int C);
double reference_gelu(double x);
double reference_gelu_slope(double x);
void reference_attention(double *out, double *lse, const double *qkv, int B, int T, int C, int H);
void reference_attention_backward(double *dqkv, const double *dout, const double *out, const double *lse, const double *qkv, int B, int T,
                                  int C, int H);
void reference_cross_entropy(double *losses, double *gradient, const double *logits, const int32_t *targets, int N, int V, double scale);

void reference_conv(double *out, const double *in, const double *weight, const double *bias, int N, const struct conv *s);
void reference_conv_backward(double *din, double *dweight, double *dbias, const double *dout, const double *in, const double *weight,
                             int N, const struct conv *s);

#endif
