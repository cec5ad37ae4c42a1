/* What the machine could do at most: model FLOPs utilisation (Chowdhery et al., 2022) is a training's share of it. */
#ifndef JOBS_BACKEND_PEAK_H
#define JOBS_BACKEND_PEAK_H

/* Operations a second of this process's threads, each at products of its own that fit into its cache; in bf16 where linear_use_bf16() says
 * so. Takes 0.2 s, or three products on a slow machine. */
double peak_flops(void);

#endif
