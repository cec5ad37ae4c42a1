/* Which operations go by cuDNN: one graph a shape, made when it is first met. */
#include "jobs/cuda/cudnn_ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "jobs/cuda/cudnn_graphs.h"
#include "jobs/cuda/device.h"

/* The deterministic backward of attention keeps a matrix a head: 2 bytes * B*H*T*T. So many sequences go together as keep this much, and
 * beyond the other number not even one. The fake GPU's is small, so that tests have several groups. */
#ifndef ATTENTION_TOGETHER_MAX
#define ATTENTION_TOGETHER_MAX (INT64_C(1) << 30)
#endif
static const size_t WORKSPACE_MAX = (size_t)8 << 30;

enum way { ATTENTION_FORWARD, ATTENTION_BACKWARD, CONV_FORWARD, CONV_FORWARD_BIAS, CONV_BACKWARD_INPUT, CONV_BACKWARD_WEIGHT };

enum { SIZES = 7 };
struct shape {
    enum way way;
    int sizes[SIZES];
};

static struct entry {
    struct shape shape;
    struct cudnn_graph *graph;   /* NULL: it goes another way */
} *entries;
static size_t entry_count, entry_capacity;
static struct cudnn_device gpu;
static bool broken;   /* there is no handle to be had */

/* ---- graphs by shape ---- */

static struct cudnn_graph *build(const struct shape *shape) {
    cudnnDataType_t type = device_bf16() ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const int *n = shape->sizes;
    struct conv s = {.height = n[1], .width = n[2], .inputs = n[3], .outputs = n[4], .kernel = n[5], .padding = n[6]};
    switch (shape->way) {
    case ATTENTION_FORWARD: return cudnn_attention_forward_graph(type, n[0], n[1], n[2], n[3]);
    case ATTENTION_BACKWARD: return cudnn_attention_backward_graph(type, n[0], n[1], n[2], n[3]);
    case CONV_FORWARD: return cudnn_conv_graph(CUDNN_CONV_FORWARD, type, false, n[0], &s);
    case CONV_FORWARD_BIAS: return cudnn_conv_graph(CUDNN_CONV_FORWARD, type, true, n[0], &s);
    case CONV_BACKWARD_INPUT: return cudnn_conv_graph(CUDNN_CONV_DATA, type, false, n[0], &s);
    case CONV_BACKWARD_WEIGHT: return cudnn_conv_graph(CUDNN_CONV_WEIGHT, type, false, n[0], &s);
    }
    abort();
}

/* With what its own ways cost, a GPU is of use without cuDNN: but nobody should wonder why it is slow. */
static bool open_handle(void) {
    const char *wanted = getenv("MUSTER_CUDNN");
    if (gpu.handle || broken)
        return !broken;
    if (wanted && !strcmp(wanted, "off"))
        return false;
    cudnnStatus_t status = cudnnCreate(&gpu.handle);
    broken = status != CUDNN_STATUS_SUCCESS;
    if (broken)
        fprintf(stderr, "muster-backend-cuda: cuDNN can't be used: %s; attention and convolution go without it, slower\n",
                cudnnGetErrorString(status));
    return !broken;
}

static int plan(struct cudnn_graph *g, struct error *err) {
    int rc = cudnn_graph_plan(g, &gpu, !device_bf16(), err);
    if (rc == 0 && cudnn_graph_workspace(g) > WORKSPACE_MAX)
        rc = error_set(err, ERR_NOT_FOUND, "it needs %zu MiB of workspace", cudnn_graph_workspace(g) >> 20);
    return rc;
}

static void tell(const struct cudnn_graph *g, const struct shape *shape, const char *why_not) {
    const char *level = getenv("MUSTER_LOG");
    const int *n = shape->sizes;
    if (!level || strcmp(level, "debug"))
        return;
    fprintf(stderr, "muster-backend-cuda: %s [%d %d %d %d %d %d %d]: ", cudnn_graph_name(g), n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
    if (why_not)
        fprintf(stderr, "own kernels (%s)\n", why_not);
    else
        fprintf(stderr, "cuDNN, engine %d, the first of %d, workspace %.1f MiB\n", (int)cudnn_graph_engine(g), cudnn_graph_choices(g),
                (double)cudnn_graph_workspace(g) / (1 << 20));
}

static struct cudnn_graph *make_graph(const struct shape *shape) {
    struct error err;
    if (!open_handle())
        return NULL;
    struct cudnn_graph *g = build(shape);
    int rc = plan(g, &err);
    tell(g, shape, rc < 0 ? err.text : NULL);
    if (rc == 0)
        return g;
    cudnn_graph_free(g);
    return NULL;
}

static struct cudnn_graph *graph_for(struct shape shape) {
    for (size_t i = 0; i < entry_count; i++)
        if (!memcmp(&entries[i].shape, &shape, sizeof shape))
            return entries[i].graph;
    entries = xgrow(entries, &entry_capacity, entry_count + 1, sizeof *entries);
    entries[entry_count] = (struct entry){.shape = shape, .graph = make_graph(&shape)};
    return entries[entry_count++].graph;
}

static void run_in(void *workspace, struct cudnn_graph *g, void *const *arguments) {
    struct error err;
    if (device_ready() && cudnn_graph_run(g, gpu.handle, arguments, workspace, &err) < 0)
        device_fail(ERR_FAILED, "%s", err.text);
}

static void run(struct cudnn_graph *g, void *const *arguments) { run_in(device_scratch(cudnn_graph_workspace(g)), g, arguments); }

size_t cudnn_version(void) { return open_handle() ? cudnnGetVersion() : 0; }

void cudnn_close(void) {
    while (entry_count > 0)
        cudnn_graph_free(entries[--entry_count].graph);
    free(entries);
    entries = NULL;
    entry_capacity = 0;
    if (gpu.handle)
        cudnnDestroy(gpu.handle);
    gpu.handle = NULL;
    broken = false;
}

static bool aligned(const void *p) { return (uintptr_t)p % 16 == 0; }
static void *writable(const void *p) { return (void *)(uintptr_t)p; }   /* a pack of arguments doesn't tell results from inputs */

/* ---- attention ---- */

/* In fp32 no engine keeps what fp32 promises, so it isn't asked. */
static struct cudnn_graph *attention_graph(enum way way, int B, int T, int C, int H) {
    if (!device_bf16() || T < 2 || C / H % 8 != 0)
        return NULL;
    return graph_for((struct shape){way, {B, T, C, H}});
}

static void *channel(const void *x, int64_t i) { return (uint16_t *)writable(x) + i; }

bool cudnn_attention_forward(void *out, float *lse, const void *qkv, int B, int T, int C, int H) {
    struct cudnn_graph *g = aligned(out) && aligned(qkv) ? attention_graph(ATTENTION_FORWARD, B, T, C, H) : NULL;
    if (g)
        run(g, (void *[]){channel(qkv, 0), channel(qkv, C), channel(qkv, 2 * C), out, lse});
    return g;
}

static int sequences_together(int B, int T, int H) {
    int n = B;
    while (n > 1 && (B % n != 0 || 2 * (int64_t)n * H * T * T > ATTENTION_TOGETHER_MAX))
        n--;
    return n;
}

bool cudnn_attention_backward(void *dqkv, const void *dout, const void *out, const float *lse, const void *qkv, int B, int T, int C,
                              int H) {
    bool fits = aligned(dqkv) && aligned(dout) && aligned(out) && aligned(qkv);
    int together = sequences_together(B, T, H);
    struct cudnn_graph *g = fits ? attention_graph(ATTENTION_BACKWARD, together, T, C, H) : NULL;
    if (!g)
        return false;
    void *workspace = device_scratch(cudnn_graph_workspace(g));
    for (int64_t b = 0; b < B; b += together) {
        int64_t at = b * T * C;
        run_in(workspace, g, (void *[]){channel(dqkv, 3 * at), channel(dqkv, 3 * at + C), channel(dqkv, 3 * at + 2 * C), channel(dout, at),
                                        channel(out, at), writable(lse + b * H * T), channel(qkv, 3 * at), channel(qkv, 3 * at + C),
                                        channel(qkv, 3 * at + 2 * C)});
    }
    return true;
}

/* ---- convolution ---- */

static int window(const struct conv *s) { return s->kernel * s->kernel * s->inputs; }

static struct cudnn_graph *conv_graph(enum way way, int N, const struct conv *s) {
    return graph_for((struct shape){way, {N, s->height, s->width, s->inputs, s->outputs, s->kernel, s->padding}});
}

static void *turned(const float *weight, const struct conv *s) {
    void *out = device_scratch((size_t)window(s) * (size_t)s->outputs * (device_bf16() ? 2 : 4));
    device_transpose(out, weight, window(s), s->outputs);
    return out;
}

bool cudnn_conv_forward(void *out, const void *in, const float *weight, const float *bias, int N, const struct conv *s) {
    struct cudnn_graph *g = aligned(out) && aligned(in) ? conv_graph(bias ? CONV_FORWARD_BIAS : CONV_FORWARD, N, s) : NULL;
    if (!g)
        return false;
    if (bias)
        run(g, (void *[]){writable(in), turned(weight, s), writable(bias), out});
    else
        run(g, (void *[]){writable(in), turned(weight, s), out});
    return true;
}

bool cudnn_conv_backward_input(void *din, const void *dout, const float *weight, int N, const struct conv *s) {
    struct cudnn_graph *g = aligned(din) && aligned(dout) ? conv_graph(CONV_BACKWARD_INPUT, N, s) : NULL;
    if (g)
        run(g, (void *[]){din, turned(weight, s), writable(dout)});
    return g;
}

bool cudnn_conv_backward_weight(float *dweight, const void *dout, const void *in, int N, const struct conv *s) {
    struct cudnn_graph *g = aligned(dout) && aligned(in) ? conv_graph(CONV_BACKWARD_WEIGHT, N, s) : NULL;
    if (!g)
        return false;
    float *sums = device_scratch((size_t)window(s) * (size_t)s->outputs * sizeof *sums);
    run(g, (void *[]){writable(in), writable(dout), sums});
    device_add_transposed(dweight, sums, window(s), s->outputs);
    return true;
}
