/* Makes the plan of every graph of jobs/cuda/cudnn_graphs.h, without a GPU: for an A100 and an H100 as cuDNN describes them. A line each;
 * exits with 1 where one that must have a plan has none, or one that can't have any has one. For test_cudnn.sh. */
#include <stdio.h>
#include <string.h>

#include "jobs/cuda/cudnn_graphs.h"

#define DEVICE(name, capability, processors, shared, cache)                                                                         \
    "{\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, \"warpSize\": 32, " \
    "\"maxSharedMemoryPerBlock\": 49152, \"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536, "                    \
    "\"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, \"pciDeviceId\": 0, \"isTccDriver\": 0, "       \
    "\"supportCoopLaunch\": 1, \"totalGlobalMem\": 85029158912, \"smClockRateKHz\": 1410000, \"memClockRateKHz\": 1593000, "        \
    "\"cudaDeviceId\": 0, \"driverVer\": 13000, \"multiProcessorCount\": " processors                                               \
    ", \"maxSharedMemoryPerBlockOptin\": " shared ", \"l2CacheSize\": " cache ", \"deviceVer\": " capability                        \
    ", \"deviceName\": \"" name "\"}"

static const struct gpu {
    const char *name, *json;
} gpus[] = {{"A100", DEVICE("NVIDIA A100-SXM4-80GB", "800", "108", "166912", "41943040")},
            {"H100", DEVICE("NVIDIA H100 80GB HBM3", "900", "132", "232448", "52428800")}};

static struct cudnn_device device;
static const char *gpu;
static int failures;

static void try_plan(struct cudnn_graph *g, bool exact_fp32, bool expected, const char *shape) {
    struct error err;
    int rc = cudnn_graph_plan(g, &device, exact_fp32, &err);
    if (rc == 0)
        printf("%s %-24s %-36s %2d engines, number %2d taken, workspace %.1f MiB\n", gpu, cudnn_graph_name(g), shape,
               cudnn_graph_choices(g), (int)cudnn_graph_engine(g), (double)cudnn_graph_workspace(g) / (1 << 20));
    else
        printf("%s %-24s %-36s none: %s\n", gpu, cudnn_graph_name(g), shape, err.text);
    if ((rc == 0) != expected) {
        printf("not ok - %s\n", expected ? "it has no plan" : "it has a plan: is it of use now?");
        failures++;
    }
    cudnn_graph_free(g);
}

/* ---- attention ---- */

static void try_attention(int B, int T, int C, int H) {
    char shape[64];
    snprintf(shape, sizeof shape, "B=%d T=%d C=%d H=%d (%d a head)", B, T, C, H, C / H);
    try_plan(cudnn_attention_forward_graph(CUDNN_DATA_BFLOAT16, B, T, C, H), false, true, shape);
    try_plan(cudnn_attention_backward_graph(CUDNN_DATA_BFLOAT16, B, T, C, H), false, true, shape);
}

static void try_all_attention(void) {
    try_attention(4, 1024, 768, 12);   /* GPT-2 */
    try_attention(2, 200, 512, 4);
    try_attention(3, 65, 120, 5);      /* nothing divides anything */
    try_plan(cudnn_attention_forward_graph(CUDNN_DATA_FLOAT, 4, 256, 384, 6), true, false, "fp32");
    try_plan(cudnn_attention_backward_graph(CUDNN_DATA_FLOAT, 4, 256, 384, 6), true, false, "fp32");
}

/* ---- convolution ---- */

static void try_conv(int N, struct conv s) {
    for (int fp32 = 0; fp32 < 2; fp32++) {
        cudnnDataType_t type = fp32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
        char shape[64];
        snprintf(shape, sizeof shape, "%s %dx%d %d->%d kernel %d", fp32 ? "fp32" : "bf16", s.height, s.width, s.inputs, s.outputs,
                 s.kernel);
        try_plan(cudnn_conv_graph(CUDNN_CONV_FORWARD, type, false, N, &s), fp32, true, shape);
        try_plan(cudnn_conv_graph(CUDNN_CONV_DATA, type, false, N, &s), fp32, true, shape);
        try_plan(cudnn_conv_graph(CUDNN_CONV_WEIGHT, type, false, N, &s), fp32, fp32 || (s.inputs % 8 == 0 && s.outputs % 8 == 0), shape);
        strcat(shape, ", bias");
        try_plan(cudnn_conv_graph(CUDNN_CONV_FORWARD, type, true, N, &s), fp32, true, shape);
    }
}

static void try_all_conv(void) {
    try_conv(64, (struct conv){.height = 14, .width = 14, .inputs = 32, .outputs = 64, .kernel = 5, .padding = 2});
    try_conv(7, (struct conv){.height = 9, .width = 17, .inputs = 3, .outputs = 37, .kernel = 3, .padding = 0});
}

int main(void) {
    printf("cuDNN %zu\n", cudnnGetVersion());
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++) {
        struct error err;
        gpu = gpus[i].name;
        if (cudnn_describe_device(&device, gpus[i].json, &err) < 0) {
            printf("not ok - %s: %s\n", gpu, err.text);
            return 1;
        }
        try_all_attention();
        try_all_conv();
        cudnnBackendDestroyDescriptor(device.description);
    }
    printf("%s\n", failures ? "not ok" : "ok - every graph that should has a plan");
    return failures != 0;
}
