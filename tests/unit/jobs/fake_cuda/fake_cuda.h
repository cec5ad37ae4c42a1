/* What the fake cuBLAS needs of the fake GPU. */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <cuda_runtime.h>

void fake_open_memory(bool open);   /* the host may touch the GPU's memory meanwhile */

#endif
