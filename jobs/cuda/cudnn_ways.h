/* The operations that cuDNN does where it has an engine for their shape; cudnn_none.c where the library is built without it.
 *
 * Each returns whether it took the operation: false, and nothing has been done, where there is no such engine. The first time that a shape
 * is met takes seconds: an engine is looked for, and what was found is kept. A failure sticks to the device; device_begin has been called.
 * MUSTER_LOG=debug tells which way each shape goes; with MUSTER_CUDNN=off all go another.
 */
#ifndef JOBS_CUDA_CUDNN_WAYS_H
#define JOBS_CUDA_CUDNN_WAYS_H

#include <stdbool.h>
#include <stddef.h>

#include "jobs/kernels/kernels.h"

bool cudnn_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H);
bool cudnn_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C, int H);

bool cudnn_conv_forward(void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s);
bool cudnn_conv_backward_input(void *din, const void *dout, const float *weight, int N, const struct conv *s);
bool cudnn_conv_backward_weight(float *dweight, const void *dout, const void *in, int N, const struct conv *s);

size_t cudnn_version(void);   /* 0: no operation goes by it */
void cudnn_close(void);

#endif
