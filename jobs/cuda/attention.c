/* Which way attention goes: by cuDNN where it can, else by kernels of our own. */
#include "jobs/cuda/cudnn_ways.h"
#include "jobs/cuda/device.h"

void cuda_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H) {
    if (device_begin(__func__) && !cudnn_attention_forward(out, lse, qkv, B, T, C, H))
        device_tiled_attention_forward(out, lse, qkv, B, T, C, H);
}

void cuda_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C, int H) {
    if (device_begin(__func__) && !cudnn_attention_backward(dqkv, dout, out, lse, qkv, B, T, C, H))
        device_tiled_attention_backward(dqkv, dout, out, lse, qkv, B, T, C, H);
}
