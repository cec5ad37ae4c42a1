/* The node's GPUs: real ones by NVML (gpu_nvml.c), or fake ones of a known topology (gpu_fake.c) so that a cluster can be tried without
 * any. */
#ifndef WORKER_GPU_H
#define WORKER_GPU_H

#include "common/message.h"

struct gpus {
    size_t count;
    struct gpu_inventory items[NODE_GPUS_MAX];
    bool fake;
    char profile[64];                  /* "" when measured */
    void *device[NODE_GPUS_MAX];       /* NVML's handles */
    struct nvml *nvml;                 /* NULL when fake */
};

/* choice: "none", "auto" (NVML, none where it isn't), "fake:N", "fake:PROFILE". The texts and links live in arena. */
int gpus_find(struct gpus *g, const char *choice, struct arena *arena, struct error *err);
/* held[i]: a running task has GPU i. A fake GPU has no meter: it shows 100% and 90% of its memory while held, and nothing when not. */
size_t gpus_sample(struct gpus *g, const bool held[NODE_GPUS_MAX], struct gpu_telemetry out[NODE_GPUS_MAX]);

int gpu_fake_find(struct gpus *g, const char *profile, struct arena *arena, struct error *err);
int gpu_nvml_find(struct gpus *g, struct arena *arena, struct error *err);   /* 0 with count 0: no driver here */
void gpu_nvml_sample(struct gpus *g, struct gpu_telemetry out[NODE_GPUS_MAX]);

#endif
