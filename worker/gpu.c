/* Chooses where the GPUs come from. */
#include "worker/gpu.h"

#include <string.h>

int gpus_find(struct gpus *g, const char *choice, struct arena *arena, struct error *err) {
    memset(g, 0, sizeof *g);
    if (strcmp(choice, "none") == 0)
        return 0;
    if (strcmp(choice, "auto") == 0)
        return gpu_nvml_find(g, arena, err);
    if (strncmp(choice, "fake:", 5) == 0)
        return gpu_fake_find(g, choice + 5, arena, err);
    return error_set(err, ERR_INVALID, "--gpus %s: expected none, auto, fake:N or fake:PROFILE", choice);
}

static void sample_fake(const struct gpus *g, const bool held[NODE_GPUS_MAX], struct gpu_telemetry out[NODE_GPUS_MAX]) {
    for (size_t i = 0; i < g->count; i++)
        out[i] = held[i] ? (struct gpu_telemetry){100, g->items[i].memory_mib * 9 / 10, 500, 65} : (struct gpu_telemetry){0, 0, 60, 30};
}

size_t gpus_sample(struct gpus *g, const bool held[NODE_GPUS_MAX], struct gpu_telemetry out[NODE_GPUS_MAX]) {
    memset(out, 0, g->count * sizeof *out);
    if (g->fake)
        sample_fake(g, held, out);
    else if (g->count > 0)
        gpu_nvml_sample(g, out);
    return g->count;
}
