#include "jobs/backend/peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/kernels/kernels.h"

enum { SIDE = 384, FEWEST = 3, SPAN_US = 180 * 1000 };

static int64_t processor_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The best of its products, in the thread's own time: what else the machine does meanwhile is no limit. */
static double thread_flops(void) {
    float *in = xcalloc((size_t)SIDE * SIDE, sizeof *in), *weight = xcalloc((size_t)SIDE * SIDE, sizeof *weight);
    float *out = xcalloc((size_t)SIDE * SIDE, sizeof *out), bias[SIDE] = {0};
    int64_t begin_us = clock_boot_us(), least_us = INT64_MAX;
    for (int i = 0; i < FEWEST || clock_boot_us() - begin_us < SPAN_US; i++) {
        int64_t from_us = processor_us();
        linear_forward(out, in, weight, bias, SIDE, SIDE, SIDE);
        int64_t us = processor_us() - from_us;
        least_us = us < least_us ? us : least_us;
    }
    free(in);
    free(weight);
    free(out);
    return 2e6 * SIDE * SIDE * SIDE / (double)(least_us > 0 ? least_us : 1);
}

static double measure_threads(void) {
    double sum = 0;
#pragma omp parallel reduction(+ : sum)
    sum += thread_flops();
    return sum;
}

/* NVIDIA's data sheets. The first whose name is part of the device's counts. */
static const struct gpu_peak gpus[] = {
    {"GH200", 989e12, 67e12, 4.00e12},
    {"H200 NVL", 835e12, 60e12, 4.80e12},
    {"H200", 989e12, 67e12, 4.80e12},
    {"H100 NVL", 835e12, 60e12, 3.90e12},
    {"H100 PCIe", 756e12, 51e12, 2.00e12},
    {"H100", 989e12, 67e12, 3.35e12},
    {"A100-SXM4-80GB", 312e12, 19.5e12, 2.04e12},
    {"A100 80GB", 312e12, 19.5e12, 1.94e12},
    {"A100", 312e12, 19.5e12, 1.56e12},
};

const struct gpu_peak *gpu_peak_of(const char *device) {
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++)
        if (strstr(device, gpus[i].name))
            return &gpus[i];
    return NULL;
}

double peak_flops(const struct backend *b) {
    if (b->kind == BACKEND_CPU)
        return measure_threads();
    const struct gpu_peak *g = gpu_peak_of(b->device);
    return !g ? NAN : b->precision == BACKEND_BF16 ? g->bf16 : g->fp32;
}
