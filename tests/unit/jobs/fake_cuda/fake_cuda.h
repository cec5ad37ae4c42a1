/* What the fake cuBLAS and cuDNN need of the fake GPU. */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#ifdef __cplusplus
#include <cuda_runtime.h>
extern "C"
#else
#include <stdbool.h>
#endif
void fake_open_memory(bool open);   /* the host may touch the GPU's memory meanwhile */

#endif
