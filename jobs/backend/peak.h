/* What the machine could do at most: model FLOPs utilisation (Chowdhery et al., 2022) is a training's share of it. */
#ifndef JOBS_BACKEND_PEAK_H
#define JOBS_BACKEND_PEAK_H

#include "jobs/backend/backend.h"

/* What a GPU can do at most, by its data sheet: dense products, without what sparsity would add. */
struct gpu_peak {
    const char *name;       /* part of what the device is called */
    double bf16, fp32;      /* operations a second: tensor cores; CUDA cores (TF32 isn't fp32) */
    double bytes_per_s;     /* of its memory */
};
const struct gpu_peak *gpu_peak_of(const char *device);   /* NULL: it isn't known */

/* Operations a second that this process can do there. A GPU's are those of the table, NAN where it isn't in it. A CPU's are its threads',
 * each at products of its own that fit into its cache, in bf16 where linear_use_bf16() says so: measured in 0.2 s, or three products on a
 * slow machine. */
double peak_flops(const struct backend *b);

#endif
